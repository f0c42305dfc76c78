//! What several inverters come to together, in paused time.

use kstar_model::units::{KilowattHours, Percent, Volts, Watts};
use kstar_sink::event::Nameplate;
use kstar_source::exchange::Patience;
use kstar_source::source::{AnySource, Context, Target};
use kstar_source_aa55::Aa55Config;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::task::yield_now;
use tokio::time::advance;

use super::*;
use crate::pipeline::gate::GateSettings;
use crate::pipeline::ledger::keeper::Outage;
use crate::unit::InverterPlan;

/// 2026-11-22T10:15:30Z.
const NOW: UnixMillis = UnixMillis(1_795_342_530_000);

const DAY: i64 = 24 * 3600 * 1000;

fn clock() -> WallClock {
    WallClock(|| -> SystemTime { UNIX_EPOCH + Duration::from_millis(NOW.0.unsigned_abs()) })
}

fn settings(grid_from: Option<&str>) -> SiteSettings {
    SiteSettings {
        enabled: true,
        grid_from: grid_from.map(Arc::from),
        zone: TimeZone::UTC,
    }
}

fn inverter(name: &str) -> Arc<InverterEntry> {
    Arc::new(InverterEntry::new(&InverterPlan {
        name: name.into(),
        nameplate: Nameplate::default(),
        source: AnySource::new(Aa55Config::default()),
        context: Context {
            target: Target::Discovered {
                greeted: Vec::new(),
            },
            patience: Patience {
                tries: 3,
                timeout: Duration::from_secs(2),
            },
            interval: Duration::from_secs(5),
            fast: false,
        },
        gate: GateSettings::default(),
    }))
}

/// What comes from a machine that gives `pv`, takes `grid` from the grid and has counted as many kWh.
fn values(pv: i32, grid: i32, kwh: i32) -> Values {
    let mut values = Values {
        pv_power: Some(Watts::new(pv * 100)),
        grid_power: Some(Watts::new(grid)),
        load_power: Some(Watts::new(pv + grid)),
        grid_voltage: Some(Volts::new(2300)),
        battery_soc: Some(Percent::new(64)),
        pv_energy_today: Some(KilowattHours::new(kwh * 1000)),
        pv_energy_total: Some(KilowattHours::new(kwh * 1000)),
        grid_import_energy_total: Some(KilowattHours::new(kwh * 100)),
        grid_export_energy_total: Some(KilowattHours::new(0)),
        consumption_energy_total: Some(KilowattHours::new(kwh * 1000)),
        ..Values::default()
    };
    values.derive();
    values
}

fn read(entry: &InverterEntry, time: UnixMillis, values: &Values) {
    let inverter = Inverter::named(&entry.name);
    entry.change(inverter.clone(), Reachability::Online);
    entry.read(Arc::new(Reading {
        time: Some(time),
        inverter,
        values: values.clone(),
        counted: None,
    }));
}

fn sum(site: &mut Site, entries: &[&Arc<InverterEntry>]) -> Option<Values> {
    let seen: Vec<Seen> = entries
        .iter()
        .map(|entry| (Arc::clone(entry), entry.present()))
        .collect();
    site.sum(&seen, Some(NOW))
}

fn watts(values: &Values) -> [Option<f64>; 4] {
    [
        Quantity::pv_power,
        Quantity::grid_power,
        Quantity::grid_import_power,
        Quantity::load_power,
    ]
    .map(|quantity| values.number(quantity))
}

/// What is summed is power or energy, and every counter of energy is summed.
#[test]
fn the_table_holds_what_may_be_summed() {
    for (place, (quantity, _)) in QUANTITIES.iter().enumerate() {
        assert!(matches!(quantity.description().unit, "W" | "kWh"));
        assert_eq!(super::place(*quantity), Some(place), "named once");
    }
    for quantity in Quantity::ALL {
        if quantity.description().unit == "kWh" {
            assert!(super::place(*quantity).is_some(), "{}", quantity.name());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn powers_and_energies_are_summed_and_what_is_of_one_machine_is_not() {
    let (roof, barn) = (inverter("roof"), inverter("barn"));
    read(&roof, NOW, &values(3000, -1000, 7));
    read(&barn, NOW, &values(1500, 200, 3));
    let mut site = Site::new(settings(None));
    let sum = sum(&mut site, &[&roof, &barn]).expect("both tell");
    assert_eq!(
        watts(&sum),
        [Some(4500.0), Some(-800.0), Some(200.0), Some(3700.0)]
    );
    assert_eq!(sum.number(Quantity::pv_energy_today), Some(10.0));
    assert_eq!(sum.number(Quantity::pv_energy_total), Some(10.0));
    assert_eq!(sum.grid_voltage, None);
    assert_eq!(sum.battery_soc, None);
}

#[tokio::test(start_paused = true)]
async fn a_house_of_one_inverter_is_that_inverter() {
    let roof = inverter("roof");
    read(&roof, NOW, &values(3000, -1000, 7));
    for grid_from in [None, Some("roof")] {
        let mut site = Site::new(settings(grid_from));
        let sum = sum(&mut site, &[&roof]).expect("it tells");
        assert_eq!(
            watts(&sum),
            [Some(3000.0), Some(-1000.0), Some(0.0), Some(2000.0)]
        );
        assert_eq!(sum.number(Quantity::consumption_energy_total), Some(7.0));
    }
}

/// Both clamps see 500 W of import: the house uses what both inverters give, and that once.
#[tokio::test(start_paused = true)]
async fn one_clamp_counts_where_several_sit_at_one_grid_connection() {
    let (roof, barn) = (inverter("roof"), inverter("barn"));
    read(&roof, NOW, &values(3000, 500, 7));
    read(&barn, NOW, &values(1500, 500, 3));
    let mut site = Site::new(settings(Some("roof")));
    let made = sum(&mut site, &[&roof, &barn]).expect("both tell");
    assert_eq!(
        watts(&made),
        [Some(4500.0), Some(500.0), Some(500.0), Some(5000.0)]
    );
    let energy = |values: &Values, quantity| values.number(quantity);
    assert_eq!(energy(&made, Quantity::grid_import_energy_total), Some(0.7));
    // 7 and 3, less what the barn has imported: 0.3.
    let consumption = Quantity::consumption_energy_total;
    assert_eq!(energy(&made, consumption), Some(9.7));
    // The barn's clamp was read a little earlier than the rest.
    let mut early = values(1500, 500, 3);
    early.grid_import_energy_total = Some(KilowattHours::new(320));
    read(&barn, NOW, &early);
    let made = sum(&mut site, &[&roof, &barn]).expect("both tell");
    assert_eq!(energy(&made, consumption), Some(9.7), "it does not fall");
    roof.sleep(true);
    let made = sum(&mut site, &[&roof, &barn]).expect("one sleeps");
    assert_eq!(watts(&made), [Some(1500.0), None, None, None]);
}

#[tokio::test(start_paused = true)]
async fn it_is_missing_while_a_part_is() {
    let (roof, barn) = (inverter("roof"), inverter("barn"));
    let mut site = Site::new(settings(None));
    read(&roof, NOW, &values(3000, -1000, 7));
    assert_eq!(sum(&mut site, &[&roof, &barn]), None, "one was not heard");
    read(&barn, NOW, &values(1500, 200, 3));
    assert!(sum(&mut site, &[&roof, &barn]).is_some());
    // A value that it had.
    let without = Values {
        grid_power: None,
        ..values(1500, 200, 3)
    };
    read(&barn, NOW, &without);
    let made = sum(&mut site, &[&roof, &barn]).expect("both tell");
    assert_eq!(made.grid_power, None);
    assert_eq!(made.number(Quantity::pv_power), Some(4500.0));
    advance(roof.due).await;
    read(&barn, NOW, &values(1500, 200, 3));
    assert!(sum(&mut site, &[&roof, &barn]).is_some());
    advance(Duration::from_millis(1)).await;
    assert_eq!(sum(&mut site, &[&roof, &barn]), None, "one is too old");
}

#[tokio::test(start_paused = true)]
async fn what_one_machine_does_not_have_is_what_the_others_tell() {
    let (roof, panels) = (inverter("roof"), inverter("panels"));
    read(&roof, NOW, &values(3000, -1000, 7));
    let only_pv = Values {
        pv_power: Some(Watts::new(150_000)),
        ..Values::default()
    };
    read(&panels, NOW, &only_pv);
    let mut site = Site::new(settings(None));
    let made = sum(&mut site, &[&roof, &panels]).expect("both tell");
    assert_eq!(
        watts(&made),
        [Some(4500.0), Some(-1000.0), Some(0.0), Some(2000.0)]
    );
    // Its meter cannot remember at this moment what it has counted of that power.
    assert_eq!(made.pv_energy_total, None);
}

#[tokio::test(start_paused = true)]
async fn an_inverter_that_sleeps_gives_nothing_and_keeps_what_it_has_counted() {
    let (roof, barn) = (inverter("roof"), inverter("barn"));
    read(&roof, NOW, &values(3000, -1000, 7));
    read(&barn, UnixMillis(NOW.0 - DAY), &values(20, 30, 3));
    barn.change(Inverter::named("barn"), Reachability::Silent);
    barn.sleep(true);
    advance(Duration::from_secs(8)).await;
    let mut site = Site::new(settings(None));
    let made = sum(&mut site, &[&roof, &barn]).expect("it is night");
    assert_eq!(
        watts(&made),
        [Some(3000.0), Some(-1000.0), Some(0.0), Some(2000.0)]
    );
    assert_eq!(made.number(Quantity::pv_energy_total), Some(10.0));
    // What it has counted yesterday is not of today.
    assert_eq!(made.number(Quantity::pv_energy_today), Some(7.0));
}

/// What is told next of the sum.
async fn next(heard: &mut broadcast::Receiver<Event>) -> Event {
    loop {
        match heard.recv().await.expect("it goes on") {
            event @ Event::Site(_) => return event,
            Event::Status(status) if &*status.inverter.name == NAME => {
                return Event::Status(status);
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_told_after_each_reading_and_that_it_is_gone_once() {
    let board = Arc::new(Board::new(Outage::default()));
    let (roof, barn) = (inverter("roof"), inverter("barn"));
    board.put_inverter(roof.clone());
    board.put_inverter(barn.clone());
    board.begin_sum(true);
    let (events, mut heard) = broadcast::channel(64);
    let running = run(
        settings(None),
        clock(),
        board.clone(),
        events.subscribe(),
        events.downgrade(),
    );
    let running = tokio::spawn(running);
    let told = |entry: &Arc<InverterEntry>, values: &Values| {
        read(entry, NOW, values);
        let newest = entry.present().newest.expect("just read").1;
        let _ = events.send(Event::Reading(Arc::new(newest.at(NOW))));
    };
    told(&roof, &values(3000, -1000, 7));
    yield_now().await;
    assert!(board.site().is_none());
    told(&barn, &values(1500, 200, 3));
    let Event::Site(sum) = next(&mut heard).await else {
        panic!("first the sum")
    };
    assert_eq!((sum.time, &*sum.inverter.name), (Some(NOW), NAME));
    assert_eq!(sum.counted, None, "nobody sums it up again");
    let status = |event| match event {
        Event::Status(status) => status.reachability,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(next(&mut heard).await), Reachability::Online);
    told(&roof, &values(3100, -1000, 7));
    assert!(matches!(next(&mut heard).await, Event::Site(_)));
    assert_eq!(
        board
            .site()
            .map(|(_, sum)| sum.values.number(Quantity::pv_power)),
        Some(Some(4600.0))
    );
    barn.change(Inverter::named("barn"), Reachability::Silent);
    let _ = events.send(Event::Status(barn.status().expect("known")));
    advance(barn.due + Duration::from_secs(1)).await;
    assert!(board.site().is_none(), "also before anybody looks");
    told(&roof, &values(3000, -1000, 7));
    let gone = loop {
        if let Event::Status(status) = next(&mut heard).await {
            break status.reachability;
        }
    };
    assert_eq!(gone, Reachability::Silent);
    assert_eq!(
        board.site_status().map(|status| status.reachability),
        Some(Reachability::Silent)
    );
    drop(events);
    running.await.expect("it ends with the channel");
}
