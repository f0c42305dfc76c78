//! What is counted is told once, whatever the disk, a reload, another inverter or a restart does.

use std::fs;
use std::path::{Path, PathBuf};

use kstar_model::catalogue::Quantity;
use kstar_model::counted::Amounts;
use kstar_model::counted::MAX_GAP;
use kstar_model::units::{Amperes, KilowattHours, Volts, Watts};

use kstar_sink::event::Nameplate;
use kstar_source::exchange::Patience;
use kstar_source::source::{AnySource, Context, Profile, Target};
use kstar_source_aa55::Aa55Config;

use super::*;
use crate::pipeline::ledger::file::LedgerFile;
use crate::pipeline::meter::counters::Flow;
use crate::unit::InverterPlan;

/// An inverter whose polls the test answers, and a state folder that it can take away.
struct House {
    state: PathBuf,
    metering: Metering,
    name: Arc<str>,
    watch: Watch,
    at: Instant,
    time: i64,
    /// What was told, and what the totals have grown by as far as anybody remembers.
    told: Amounts,
    grown: Amounts,
}

fn metering(state: &Path) -> Metering {
    let ledger = LedgerFile::open(state).expect("a ledger");
    let (keeper, closing) = Keeper::start(ledger).expect("a thread");
    Metering {
        settings: MeterSettings {
            zone: kstar_common::zone::named("Europe/London").expect("it is built in"),
            max_gap: MAX_GAP,
        },
        keeper,
        closing,
        untold: Untold::default(),
    }
}

async fn watch(name: &Arc<str>, metering: &Metering) -> Watch {
    let account = metering.keeper.recall(name).await;
    Watch::new(account, GateSettings::default(), metering, Arc::default())
}

fn totals(watch: &Watch) -> Amounts {
    let mut totals = Amounts::default();
    for flow in Flow::ALL {
        let total = watch.meter.counters().totals.of(flow).published();
        totals.set(flow.total(), Some(total));
    }
    totals
}

impl House {
    async fn new(folder: &Path) -> Self {
        let state = folder.join("state");
        fs::create_dir_all(&state).expect("made");
        let metering = metering(&state);
        let name: Arc<str> = "roof".into();
        let watch = watch(&name, &metering).await;
        Self {
            state,
            metering,
            name,
            watch,
            at: Instant::now(),
            time: 1_793_836_800_000,
            told: Amounts::default(),
            grown: Amounts::default(),
        }
    }

    /// A poll is answered.
    async fn poll(&mut self, seconds: u64, content: Values) -> Option<(Values, Option<Counted>)> {
        self.at += Duration::from_secs(seconds);
        self.time += i64::try_from(seconds * 1000).expect("small");
        let before = totals(&self.watch);
        let sample = Sample {
            values: content,
            at: self.at,
            took: Duration::ZERO,
            raw: Vec::new(),
        };
        let admitted = self
            .watch
            .admit(&self.name, Some(UnixMillis(self.time)), sample)
            .await;
        let mut grown = totals(&self.watch);
        for (counter, amount) in before.iter() {
            let now = grown.of(counter).zip(amount);
            grown.set(counter, now.map(|(now, before)| now - before));
        }
        self.grown.add(&grown);
        if let Some((values, counted)) = &admitted {
            let shown = values.raw(Quantity::pv_energy_total).is_some();
            assert_eq!(shown, counted.is_some(), "both, or neither");
            if let Some(counted) = counted {
                self.told.add(&counted.all());
                assert_eq!(counted.account, self.watch.account.id);
            }
        }
        admitted
    }

    /// A reload, or a panic.
    async fn restart(&mut self) {
        self.watch = watch(&self.name, &self.metering).await;
    }

    /// The program ends in order and begins again.
    async fn restart_program(&mut self) {
        let (keeper, closing) = (&mut self.metering.keeper, &mut self.metering.closing);
        let (old, closing) = (std::mem::take(keeper), std::mem::take(closing));
        // The watch has a handle as well.
        self.watch.keeper = Keeper::default();
        drop(old);
        closing.closed().await;
        self.metering = metering(&self.state);
        self.restart().await;
    }

    fn break_disk(&self) {
        fs::rename(&self.state, self.state.with_extension("away")).expect("moved");
        fs::write(&self.state, "a file in its place").expect("written");
    }

    fn mend_disk(&self) {
        fs::remove_file(&self.state).expect("removed");
        fs::rename(self.state.with_extension("away"), &self.state).expect("moved");
    }

    fn assert_all_told(&self) {
        for flow in Flow::ALL {
            let of = |amounts: &Amounts| amounts.of(flow.total()).unwrap_or(0);
            assert_eq!(of(&self.told), of(&self.grown), "{flow:?}");
        }
    }
}

fn values(pv: i32) -> Values {
    Values {
        pv1_voltage: Some(Volts::new(6000)),
        pv2_voltage: Some(Volts::new(0)),
        pv2_current: Some(Amperes::new(0)),
        pv1_current: Some(Amperes::new(pv / 60)),
        grid_power: Some(Watts::new(-pv / 2)),
        load_power: Some(Watts::new(700)),
        energy_total: Some(KilowattHours::new(1000)),
        ..Values::default()
    }
}

/// More than two values that cannot be.
fn nonsense() -> Values {
    let mut values = values(100);
    for quantity in [
        Quantity::battery_soc,
        Quantity::battery_soh,
        Quantity::inverter_temperature,
    ] {
        values.set_raw(quantity, Some(25_000));
    }
    values
}

#[tokio::test]
async fn what_cannot_be_remembered_is_told_with_the_first_reading_that_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut house = House::new(folder.path()).await;
    let pv = |counted: &Counted| counted.amounts.of(Quantity::pv_energy_total);
    house.poll(5, values(3600)).await;
    let (_, counted) = house.poll(5, values(3600)).await.expect("believed");
    let counted = counted.expect("remembered");
    assert_eq!((counted.covers.as_secs(), pv(&counted)), (5, Some(5)));
    house.break_disk();
    for _ in 0..3 {
        let (_, counted) = house.poll(5, values(3600)).await.expect("believed");
        assert_eq!(counted, None);
        assert!(house.poll(5, nonsense()).await.is_none());
        // Polling may end meanwhile, and begin again.
        house.restart().await;
    }
    house.mend_disk();
    assert!(house.poll(5, nonsense()).await.is_none());
    house.poll(5, values(3600)).await;
    let (_, after) = house.poll(5, values(3600)).await.expect("believed");
    assert_eq!(after.map(|after| after.covers.as_secs()), Some(5));
    house.assert_all_told();
}

#[tokio::test]
async fn counters_of_the_inverter_are_told_by_what_they_have_grown_within_one_serial_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut house = House::new(folder.path()).await;
    let mut told = Vec::new();
    let shows = |total| Values {
        energy_total: Some(KilowattHours::new(total)),
        ..values(0)
    };
    let name = house.name.clone();
    let steps = [
        ("A", 5000, 0),
        ("A", 5001, 1),
        // Another one, and the old one back: what either shows is nothing that the other one has counted.
        ("B", 70_000, 0),
        ("B", 70_001, 1),
        ("A", 5002, 1),
        ("B", 70_003, 2),
    ];
    for (serial, total, _) in steps {
        house.restart_program().await;
        house.watch.identify(&name, serial);
        let (_, counted) = house.poll(60, shows(total)).await.expect("believed");
        let counted = counted.expect("remembered");
        told.push(counted.amounts.of(Quantity::energy_total));
    }
    assert_eq!(told, steps.map(|(.., grown)| Some(grown)));
}

/// Random stories: whatever happens, what is told is what the totals have grown by.
#[tokio::test]
async fn whatever_happens_everything_that_is_counted_is_told_once() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().expect("a folder");
        let mut house = House::new(folder.path()).await;
        let (name, mut broken) = (house.name.clone(), false);
        let mut sequences = std::collections::BTreeMap::new();
        for _ in 0..60 {
            match random.u8(0..20) {
                0 if broken => house.mend_disk(),
                0 => house.break_disk(),
                1 => house.restart().await,
                2 if !broken => {
                    // What waits to be told does not outlive the process, so nothing may.
                    house.poll(5, values(900)).await;
                    house.restart_program().await;
                }
                3 => house
                    .watch
                    .identify(&name, if random.bool() { "A" } else { "B" }),
                4 => house.time += random.i64(-90_000_000..90_000_000),
                5 => assert!(house.poll(5, nonsense()).await.is_none()),
                _ => {}
            }
            broken = house.state.is_file();
            let polled = house
                .poll(random.u64(1..90), values(random.i32(0..6000)))
                .await;
            if let Some((_, Some(counted))) = polled {
                let before = sequences.insert(counted.account, counted.sequence);
                assert!(before < Some(counted.sequence), "seed {seed}: {counted:?}");
            }
        }
        if broken {
            house.mend_disk();
        }
        let polled = house.poll(5, values(900)).await;
        assert!(
            polled.is_some_and(|(_, counted)| counted.is_some()),
            "seed {seed}"
        );
        house.assert_all_told();
    }
}

/// A station of an inverter that sleeps at night, which has answered with this power of its panels.
async fn station(folder: &Path, pv_power: Option<i32>) -> Station {
    let plan = InverterPlan {
        name: "roof".into(),
        nameplate: Nameplate::default(),
        source: AnySource::new(Aa55Config::default()),
        context: Context {
            target: Target::Discovered {
                greeted: Vec::new(),
            },
            patience: Patience {
                tries: 1,
                timeout: Duration::from_secs(2),
            },
            interval: Duration::from_secs(5),
            fast: false,
        },
        gate: GateSettings {
            profile: Profile {
                sleeps_at_night: true,
                ..Profile::of(6000)
            },
            ..GateSettings::default()
        },
    };
    let entry = Arc::new(InverterEntry::new(&plan));
    let (events, _) = broadcast::channel(8);
    let metering = metering(folder);
    let mut station =
        Station::new(entry, events, WallClock::default(), &plan.gate, &metering).await;
    let values = Values {
        pv_power: pv_power.map(Watts::new),
        ..Values::default()
    };
    station.publish(Uptime(Duration::from_secs(5)), None, values, None);
    station.online();
    station
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_begins_without_sun_is_a_night_and_no_longer_than_one() {
    let folder = tempfile::tempdir().expect("a folder");
    // A hundredth of 6 kW, in hundredths of a watt.
    for (pv_power, asleep) in [(Some(5999), true), (None, true), (Some(6000), false)] {
        let mut station = station(folder.path(), pv_power).await;
        for polls in 1..=SILENT_AFTER {
            assert!(!station.entry.present().asleep);
            station.silent(polls, &NoAnswer::NotFound);
        }
        let present = station.entry.present();
        assert_eq!(present.reachability, Some(Reachability::Silent));
        assert_eq!(present.asleep, asleep, "{pv_power:?}");
        tokio::time::advance(night::LONGEST).await;
        station.silent(1000, &NoAnswer::NotFound);
        assert_eq!(station.entry.present().asleep, asleep);
        tokio::time::advance(Duration::from_secs(1)).await;
        station.silent(1001, &NoAnswer::NotFound);
        assert!(!station.entry.present().asleep);
        station.online();
        assert_eq!(
            station.entry.present().reachability,
            Some(Reachability::Online)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_inverter_that_does_not_sleep_is_silent_by_night_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut awake = station(folder.path(), Some(0)).await;
    awake.watch.settings.0.profile.sleeps_at_night = false;
    assert!(!awake.sleeps(Duration::ZERO));
}

#[tokio::test]
async fn a_gap_is_bridged_by_the_inverters_counter_over_a_restart_and_not_for_another_inverter() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut house = House::new(folder.path()).await;
    let name = house.name.clone();
    let told = |tenths: i32| Values {
        inverter_pv_energy_total: Some(KilowattHours::new(tenths)),
        ..values(3600)
    };
    let pv = |polled: Option<(Values, Option<Counted>)>| {
        let (_, counted) = polled.expect("a reading");
        let all = counted.expect("counted").all();
        (
            all.of(Quantity::pv_energy_total),
            all.of(Quantity::inverter_pv_energy_total),
        )
    };
    house.watch.identify(&name, "A");
    house.poll(5, told(1000)).await;
    // Two hours, and what was metered before them is taken off.
    assert_eq!(pv(house.poll(10, told(1000)).await), (Some(10), Some(0)));
    assert_eq!(
        pv(house.poll(7200, told(1072)).await),
        (Some(7190), Some(72))
    );
    house.restart_program().await;
    house.watch.identify(&name, "A");
    assert_eq!(
        pv(house.poll(3600, told(1108)).await),
        (Some(3600), Some(36))
    );
    // What another inverter has counted is not missing, nor what this one did meanwhile.
    house.watch.identify(&name, "B");
    assert_eq!(pv(house.poll(3600, told(5000)).await), (Some(0), Some(0)));
    house.watch.identify(&name, "A");
    let (bridged, counted) = pv(house.poll(3600, told(1180)).await);
    assert_eq!((bridged, counted), (Some(0), Some(72)));
    let counters = house.watch.meter.counters();
    assert_eq!(counters.bridged.of(Flow::Pv).published(), 7190 + 3600);
}
