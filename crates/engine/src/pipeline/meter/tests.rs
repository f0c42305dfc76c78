//! The meter against energies that are known by arithmetic, and against everything that clocks and restarts may do.

use std::f64::consts::PI;

use jiff::civil::{Date, date};
use kstar_model::catalogue::Quantity;
use kstar_model::counted::MAX_GAP;
use kstar_model::scalar::Scalar;
use kstar_model::time::millis;
use kstar_model::units::Watts;
use proptest::prelude::*;

use super::counters::{Counters, Flow, Source};
use super::*;

const HOUR: u64 = 3600;

fn settings(zone: &str) -> MeterSettings {
    MeterSettings {
        zone: kstar_common::zone::named(zone).expect("it is built in"),
        max_gap: MAX_GAP,
    }
}

fn powers(pv: i32, grid: i32) -> Values {
    Values {
        pv_power: Some(Watts::new(pv * 100)),
        grid_power: Some(Watts::new(grid)),
        ..Values::default()
    }
}

/// A meter with both clocks in hand.
struct House {
    meter: Meter,
    at: Duration,
    time: i64,
    /// Whether the clock is not set.
    is_unset: bool,
    /// What was told so far.
    told: Amounts,
}

impl House {
    /// Begins at midnight of a day.
    fn new(zone: &str, day: Date) -> Self {
        let settings = settings(zone);
        let midnight = day.to_zoned(settings.zone.clone()).expect("a day");
        Self {
            meter: Meter::new(settings, Counters::default()),
            at: Duration::from_secs(1000),
            time: midnight.timestamp().as_millisecond(),
            is_unset: false,
            told: Amounts::default(),
        }
    }

    fn clock(&self) -> Option<UnixMillis> {
        (!self.is_unset).then_some(UnixMillis(self.time))
    }

    fn count(&mut self, values: &Values) -> Metered {
        let metered = self.meter.count(self.at, self.clock(), values);
        self.told.add(&metered.amounts);
        if let Some(earlier) = &metered.earlier {
            self.told.add(&earlier.amounts);
        }
        metered
    }

    /// Lets time pass on both clocks.
    fn pass(&mut self, seconds: u64) {
        self.at += Duration::from_secs(seconds);
        self.time += millis(Duration::from_secs(seconds));
    }

    /// A reading now and every so often, until so many seconds have passed.
    fn run(&mut self, seconds: u64, every: u64, values: &Values) {
        self.count(values);
        for _ in 0..seconds / every {
            self.pass(every);
            self.count(values);
        }
    }

    fn restart(&mut self) {
        let settings = self.meter.settings.clone();
        self.meter = Meter::new(settings, self.meter.counters().clone());
    }

    fn total(&self, flow: Flow) -> i64 {
        self.meter.counters().totals.of(flow).published()
    }

    fn today(&self, flow: Flow) -> i64 {
        self.meter.counters().today(flow)
    }

    fn shown(&self) -> Values {
        let mut values = Values::default();
        self.meter.counters().show(!self.is_unset, &mut values);
        values
    }
}

#[test]
fn what_is_counted_is_shown_and_what_was_never_known_is_absent() {
    let mut house = House::new("UTC", date(2026, 6, 21));
    assert_eq!(house.shown(), Values::default());
    house.run(HOUR, 5, &powers(1234, -500));
    let shown = house.shown();
    let raw = |quantity| shown.raw(quantity);
    assert_eq!(raw(Quantity::pv_energy_total), Some(1234));
    assert_eq!(raw(Quantity::pv_energy_today), Some(1234));
    assert_eq!(raw(Quantity::grid_import_energy_total), Some(0));
    assert_eq!(raw(Quantity::grid_export_energy_total), Some(500));
    assert_eq!(raw(Quantity::battery_charge_energy_total), None);
}

#[test]
fn every_flow_has_its_counters_and_every_counter_its_flow() {
    use kstar_model::catalogue::Group;
    let counters: Vec<Quantity> = Flow::ALL
        .into_iter()
        .flat_map(|flow| [flow.today(), flow.total()])
        .collect();
    let catalogue: Vec<Quantity> = Quantity::ALL
        .iter()
        .copied()
        .filter(|quantity| quantity.description().group == Group::Meter)
        .collect();
    assert_eq!(counters, catalogue);
    for source in Source::ALL {
        let (forth, back) = source.flows();
        assert_eq!(forth.source(), source);
        assert!(back.is_none_or(|back| back.source() == source));
    }
}

/// The energy of a day of this curve (watts over hours), metered at this interval, in thousandths of a kWh.
fn metered(every: u64, curve: impl Fn(f64) -> f64) -> House {
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    for second in (0..24 * HOUR).step_by(usize::try_from(every).expect("small")) {
        #[expect(clippy::cast_precision_loss, reason = "seconds of a day")]
        let watts = curve(second as f64 / 3600.0);
        #[expect(clippy::cast_possible_truncation, reason = "a few kilowatts")]
        let power = watts.round() as i32;
        house.count(&powers(power.max(0), power));
        house.pass(every);
    }
    house
}

fn within(found: i64, expected_kwh: f64, share: f64) {
    #[expect(clippy::cast_precision_loss, reason = "a few kWh")]
    let found = found as f64 / 1000.0;
    assert!(
        (found - expected_kwh).abs() <= expected_kwh * share,
        "{found} kWh for {expected_kwh}"
    );
}

#[test]
fn a_day_whose_energy_is_known_is_metered_to_a_thousandth_at_5_s_and_a_hundredth_at_60_s() {
    // The sun from six to eight; the energy of half a sine is its peak times its length times two over pi.
    let sun = |hour: f64| {
        let risen = (hour - 6.0) / 14.0;
        if (0.0..=1.0).contains(&risen) {
            4000.0 * (PI * risen).sin()
        } else {
            0.0
        }
    };
    let expected = 4.0 * 14.0 * 2.0 / PI;
    within(metered(5, sun).total(Flow::Pv), expected, 0.001);
    within(metered(60, sun).total(Flow::Pv), expected, 0.01);

    // A grid that swings from import to export every ten minutes: each way half of a sine's mean.
    let swing = |hour: f64| 3000.0 * (2.0 * PI * hour * 3.0).sin();
    let expected = 3.0 * 24.0 / PI;
    for (every, share) in [(5, 0.001), (60, 0.01)] {
        let house = metered(every, swing);
        within(house.total(Flow::GridImport), expected, share);
        within(house.total(Flow::GridExport), expected, share);
    }

    // Switched on and off on the minute: the edges are smeared, but as much is gained as is lost.
    let switched = |hour: f64| {
        if (hour * 60.0).rem_euclid(20.0) < 7.0 {
            2000.0
        } else {
            100.0
        }
    };
    let expected = 24.0 * (2.0 * 7.0 + 0.1 * 13.0) / 20.0;
    within(
        metered(5, switched).total(Flow::GridImport),
        expected,
        0.001,
    );
    within(
        metered(60, switched).total(Flow::GridImport),
        expected,
        0.01,
    );
}

#[test]
fn a_simulated_evening_is_metered_as_with_a_reading_every_second() {
    use kstar_simulator::{day::Household, encode};
    let total = |every: usize| {
        let day = date(2026, 6, 21);
        let mut household = Household::new(7, encode::Variant::Kse, day);
        let mut house = House::new("Europe/London", day);
        // The evening: sun, battery and grid in turns.
        for second in (54_000..75_600_u32).step_by(every) {
            let figures = household.at(f64::from(second));
            let values = kstar_source_aa55::wire::running::decode(&encode::running(&figures, 83));
            house.count(&values.expect("a reply"));
            house.pass(every as u64);
        }
        Flow::ALL.map(|flow| house.total(flow))
    };
    let (exact, fine, coarse) = (total(1), total(5), total(60));
    let largest = exact.into_iter().max().expect("five");
    assert!(largest > 2000, "something flows: {exact:?}");
    for ((exact, fine), coarse) in exact.into_iter().zip(fine).zip(coarse) {
        assert!((exact - fine).abs() * 1000 <= largest, "{exact} {fine}");
        assert!((exact - coarse).abs() * 100 <= largest, "{exact} {coarse}");
    }
}

#[test]
fn a_gap_that_is_too_long_is_counted_and_not_filled() {
    let mut house = House::new("UTC", date(2026, 6, 21));
    house.run(HOUR, 5, &powers(1000, 0));
    house.pass(60);
    house.run(0, 5, &powers(1000, 0));
    assert_eq!(house.total(Flow::Pv), 1016, "a minute is filled");
    house.pass(61);
    house.run(HOUR, 5, &powers(1000, 0));
    assert_eq!(house.total(Flow::Pv), 2016, "more is not");
    let coverage = house.meter.counters().coverage;
    assert_eq!(coverage.of(Source::Pv).unmetered_ms, 61_000);
    assert_eq!(coverage.of(Source::Battery).unmetered_ms, 0);
}

#[test]
fn a_power_that_is_absent_for_one_reading_is_bridged_and_the_others_go_on() {
    let mut house = House::new("UTC", date(2026, 6, 21));
    let blind = Values {
        grid_power: None,
        ..powers(720, 720)
    };
    house.count(&powers(720, 720));
    house.pass(5);
    house.count(&blind);
    house.pass(5);
    house.count(&powers(720, 720));
    assert_eq!(house.total(Flow::Pv), 2);
    assert_eq!(house.total(Flow::GridImport), 2);
}

#[test]
fn what_is_counted_is_told_with_how_long_it_took() {
    let mut house = House::new("UTC", date(2026, 6, 21));
    let pv = |metered: &Metered| metered.amounts.of(Quantity::pv_energy_total);
    let first = house.count(&powers(720, 0));
    assert_eq!((first.covers, pv(&first)), (Duration::ZERO, Some(0)));
    assert_eq!(
        first.amounts.of(Quantity::battery_charge_energy_total),
        None
    );
    house.pass(5);
    let second = house.count(&powers(720, 0));
    assert_eq!(
        (second.covers, pv(&second)),
        (Duration::from_secs(5), Some(1))
    );
    // A gap adds nothing, and is covered.
    house.pass(61);
    let gap = house.count(&powers(720, 0));
    assert_eq!((gap.covers, pv(&gap)), (Duration::from_secs(61), Some(0)));
    // Across a restart only the wall clock knows, and one that was set back knows nothing.
    for (set, covers) in [(0, 600), (-601_000, 0)] {
        house.restart();
        house.pass(600);
        house.time += set;
        let after = house.count(&powers(720, 0));
        assert_eq!(
            (after.covers, pv(&after)),
            (Duration::from_secs(covers), Some(0))
        );
    }
}

#[test]
fn what_was_counted_before_midnight_is_told_as_such_and_with_what_comes_late() {
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    let of = |amounts: &Amounts| [Flow::Pv, Flow::GridImport].map(|flow| amounts.of(flow.total()));
    house.pass(24 * HOUR - 20);
    house.count(&powers(3600, 3600));
    house.pass(30);
    let blind = Values {
        grid_power: None,
        ..powers(3600, 0)
    };
    let after = house.count(&blind);
    assert_eq!(of(&after.amounts), [Some(10), Some(0)]);
    let earlier = after.earlier.expect("midnight lies between");
    assert_eq!(earlier.ago, Duration::from_secs(10));
    assert_eq!(of(&earlier.amounts), [Some(20), Some(0)]);
    house.pass(30);
    let late = house.count(&powers(3600, 3600));
    assert_eq!(of(&late.amounts), [Some(30), Some(40)]);
    let earlier = late.earlier.expect("a part comes late");
    assert_eq!(earlier.ago, Duration::from_secs(40));
    assert_eq!(of(&earlier.amounts), [Some(0), Some(20)]);
    house.pass(30);
    assert_eq!(house.count(&powers(3600, 3600)).earlier, None);
}

#[test]
fn consumption_is_load_and_backup_and_load_alone_where_there_is_no_backup() {
    let used = |load: Option<i32>, backup: Option<i32>| Values {
        load_power: load.map(Watts::new),
        backup_power: backup.map(Watts::new),
        ..Values::default()
    };
    let mut house = House::new("UTC", date(2026, 6, 21));
    house.run(HOUR, 5, &used(Some(1000), None));
    assert_eq!(house.total(Flow::Consumption), 1000);
    let mut house = House::new("UTC", date(2026, 6, 21));
    house.run(HOUR, 5, &used(Some(1000), Some(250)));
    assert_eq!(house.total(Flow::Consumption), 1250);
    // A part that is missing makes the sum missing, also after a restart.
    house.restart();
    house.run(HOUR, 5, &used(Some(1000), None));
    house.run(HOUR, 5, &used(None, Some(250)));
    assert_eq!(house.total(Flow::Consumption), 1250);
    let metered = house.meter.counters().coverage.of(Source::Consumption);
    house.run(0, 5, &used(Some(1000), Some(250)));
    let after = house.meter.counters().coverage.of(Source::Consumption);
    assert_eq!(after.unmetered_ms - metered.unmetered_ms, 2 * HOUR * 1000);
    // A load below nothing is made by something behind it, and is no consumption.
    let mut house = House::new("UTC", date(2026, 6, 21));
    house.run(HOUR, 5, &used(Some(-500), Some(100)));
    assert_eq!(house.total(Flow::Consumption), 0);
    assert_eq!(
        house.shown().raw(Quantity::consumption_energy_total),
        Some(0)
    );
}

#[test]
fn without_a_clock_totals_go_on_and_the_day_is_found_once_it_is_set() {
    let mut house = House::new("UTC", date(2026, 6, 21));
    house.is_unset = true;
    house.count(&powers(1000, 0));
    assert_eq!(
        house.shown().raw(Quantity::grid_import_energy_total),
        Some(0)
    );
    let mut house = House::new("UTC", date(2026, 6, 21));
    house.run(10 * HOUR, 5, &powers(1000, 0));
    // A power cut in the night, and two hours until somebody sets the clock.
    house.pass(24 * HOUR);
    house.restart();
    house.is_unset = true;
    house.run(2 * HOUR, 5, &powers(1000, 0));
    assert_eq!(house.total(Flow::Pv), 12_000);
    let shown = house.shown();
    assert_eq!(shown.raw(Quantity::pv_energy_total), Some(12_000));
    assert_eq!(shown.raw(Quantity::pv_energy_today), None);
    house.is_unset = false;
    house.run(HOUR, 5, &powers(1000, 0));
    assert_eq!(
        (house.total(Flow::Pv), house.today(Flow::Pv)),
        (13_000, 3000)
    );
    assert_eq!(house.told.of(Quantity::pv_energy_total), Some(13_000));
    // On the same day it goes on.
    house.pass(600);
    house.restart();
    house.is_unset = true;
    house.run(HOUR, 5, &powers(1000, 0));
    house.is_unset = false;
    house.run(0, 5, &powers(1000, 0));
    assert_eq!(
        (house.total(Flow::Pv), house.today(Flow::Pv)),
        (14_000, 4000)
    );
}

#[test]
fn an_interval_over_midnight_is_split() {
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    house.pass(24 * HOUR - 20);
    house.count(&powers(3600, 3600));
    house.pass(60);
    house.count(&powers(3600, 3600));
    assert_eq!(house.total(Flow::Pv), 60);
    assert_eq!(house.today(Flow::Pv), 40);

    // And where one power was absent at the reading after midnight, its share is found later.
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    house.pass(24 * HOUR - 20);
    house.count(&powers(3600, 3600));
    house.pass(30);
    let blind = Values {
        grid_power: None,
        ..powers(3600, 0)
    };
    house.count(&blind);
    house.pass(30);
    house.count(&powers(3600, 3600));
    for flow in [Flow::Pv, Flow::GridImport] {
        assert_eq!((house.total(flow), house.today(flow)), (60, 40), "{flow:?}");
    }
}

#[test]
fn days_of_23_and_25_hours_are_as_long_as_they_are() {
    for (day, hours) in [
        (date(2026, 3, 28), 24),
        (date(2026, 3, 29), 23),
        (date(2026, 10, 25), 25),
    ] {
        let mut house = House::new("Europe/London", day);
        house.run(hours * HOUR - 5, 5, &powers(1000, 1000));
        let before_midnight = house.today(Flow::Pv);
        assert_eq!(
            before_midnight,
            i64::try_from(hours * 1000 - 2).expect("small"),
            "{day}"
        );
        house.run(HOUR, 5, &powers(1000, 1000));
        assert!(house.today(Flow::Pv) < 1000, "{day}: a new day has begun");
    }
}

#[test]
fn a_day_without_midnight_begins_when_it_begins() {
    // In Santiago the clocks go from 24:00 to 01:00.
    let mut house = House::new("America/Santiago", date(2026, 9, 5));
    house.run(24 * HOUR - 5, 5, &powers(1000, 0));
    assert_eq!(house.today(Flow::Pv), 23_998);
    house.run(10, 5, &powers(1000, 0));
    assert_eq!(house.today(Flow::Pv), 1);
}

#[test]
fn a_night_without_readings_begins_its_day_with_nothing() {
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    house.run(22 * HOUR, 5, &powers(1000, 0));
    house.pass(9 * HOUR);
    house.run(HOUR, 5, &powers(500, 0));
    assert_eq!(
        (house.total(Flow::Pv), house.today(Flow::Pv)),
        (22_500, 500)
    );

    // The same with a restart, and with a day in between that nobody saw.
    for hours in [9, 25, 26, 47] {
        let mut house = House::new("Europe/London", date(2026, 6, 21));
        house.run(22 * HOUR, 5, &powers(1000, 0));
        house.pass(hours * HOUR);
        house.restart();
        house.run(HOUR / 2, 5, &powers(500, 0));
        assert_eq!(house.today(Flow::Pv), 250, "after {hours} hours");
        let unmetered = house.meter.counters().coverage.of(Source::Pv).unmetered_ms;
        assert_eq!(unmetered, hours * HOUR * 1000);
    }
}

#[test]
fn a_restart_within_a_day_goes_on_with_it() {
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    house.run(10 * HOUR, 5, &powers(1000, 0));
    house.pass(600);
    house.restart();
    house.run(HOUR, 5, &powers(1000, 0));
    assert_eq!(
        (house.total(Flow::Pv), house.today(Flow::Pv)),
        (11_000, 11_000)
    );
}

#[test]
fn a_clock_that_is_set_back_over_midnight_goes_on_with_the_day_it_comes_back_to() {
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    house.run(24 * HOUR + 300, 5, &powers(3600, 0));
    assert_eq!(house.today(Flow::Pv), 300);
    // Back to five to midnight.
    house.time -= 600_000;
    house.run(60, 5, &powers(3600, 0));
    assert_eq!(house.today(Flow::Pv), 86_760);
    house.run(300, 5, &powers(3600, 0));
    assert_eq!(house.today(Flow::Pv), 60);
    assert_eq!(house.total(Flow::Pv), 86_400 + 660);
}

#[test]
fn a_clock_that_was_a_day_ahead_is_mended_without_a_new_day() {
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    house.time += 86_400_000;
    house.run(10 * HOUR, 5, &powers(1000, 0));
    house.time -= 86_400_000;
    house.run(HOUR, 5, &powers(1000, 0));
    assert_eq!(house.today(Flow::Pv), 11_000);
    // The day after it.
    house.run(13 * HOUR + 1800, 5, &powers(1000, 0));
    assert_eq!(house.today(Flow::Pv), 500);
}

#[test]
fn a_clock_that_jumps_for_a_moment_changes_no_day() {
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    house.run(12 * HOUR, 5, &powers(1000, 0));
    for days in [5, -3, 400] {
        house.time += days * 86_400_000;
        house.run(60, 5, &powers(0, 0));
        house.time -= days * 86_400_000;
        house.run(60, 5, &powers(0, 0));
        assert_eq!(house.today(Flow::Pv), 12_000, "{days} days");
    }
    assert_eq!(house.total(Flow::Pv), 12_000);
}

#[test]
fn another_zone_moves_midnight_and_counts_nothing_twice() {
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    house.run(10 * HOUR, 5, &powers(1000, 0));
    // It is the same day in Berlin, and goes on.
    house.meter = Meter::new(settings("Europe/Berlin"), house.meter.counters().clone());
    house.run(HOUR, 5, &powers(1000, 0));
    assert_eq!(house.today(Flow::Pv), 11_000);
    // Midnight comes an hour earlier there.
    house.run(12 * HOUR, 5, &powers(1000, 0));
    house.run(HOUR / 2, 5, &powers(1000, 0));
    assert_eq!(
        (house.total(Flow::Pv), house.today(Flow::Pv)),
        (23_500, 500)
    );
    // On the other side of the world the day before is still on.
    house.meter = Meter::new(settings("America/New_York"), house.meter.counters().clone());
    house.run(60, 5, &powers(0, 0));
    assert_eq!(
        (house.total(Flow::Pv), house.today(Flow::Pv)),
        (23_500, 23_500)
    );
}

#[test]
fn a_counter_that_is_set_goes_on_from_there_and_keeps_its_day() {
    let mut house = House::new("Europe/London", date(2026, 6, 21));
    house.run(24 * HOUR, 5, &powers(1000, 0));
    house.run(2 * HOUR, 7, &powers(1000, 0));
    let today = house.today(Flow::Pv);
    let mut counters = house.meter.counters().clone();
    counters.set(Flow::Pv, 12_345_678);
    house.meter = Meter::new(house.meter.settings.clone(), counters);
    assert_eq!(
        (house.total(Flow::Pv), house.today(Flow::Pv)),
        (12_345_678, today)
    );
    let mut counters = house.meter.counters().clone();
    counters.set(Flow::Pv, 5);
    assert_eq!(
        (
            counters.totals.of(Flow::Pv).published(),
            counters.today(Flow::Pv)
        ),
        (5, 5)
    );
    let mut untouched = Counters::default();
    untouched.set(Flow::BatteryCharge, 7);
    let mut values = Values::default();
    untouched.show(true, &mut values);
    assert_eq!(values.raw(Quantity::battery_charge_energy_total), Some(7));
}

/// What may happen between two readings.
#[derive(Clone, Debug)]
struct Step {
    seconds: u64,
    /// By how much the wall clock is set, besides.
    set_seconds: i64,
    pv: Option<i64>,
    grid: Option<i64>,
    load: Option<i64>,
    backup: Option<i64>,
    /// What somebody sets the counter of PV to, while the collector does not run.
    set: Option<u64>,
    restart: bool,
    /// Whether the clock is not set.
    unset: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let set = prop_oneof![9 => Just(0), 1 => -200_000..200_000_i64];
    let power = |range| proptest::option::weighted(0.9, range);
    (
        0..90_u64,
        set,
        power(0..6000_i64),
        power(-6000..6000_i64),
        power(-200..4000_i64),
        proptest::option::weighted(0.5, 0..2000_i64),
        proptest::option::weighted(0.05, 0..20_000_u64),
        (prop::bool::weighted(0.05), prop::bool::weighted(0.1)),
    )
        .prop_map(
            |(seconds, set_seconds, pv, grid, load, backup, set, (restart, unset))| Step {
                seconds,
                set_seconds,
                pv,
                grid,
                load,
                backup,
                set,
                restart,
                unset,
            },
        )
}

impl Step {
    fn values(&self) -> Values {
        Values {
            pv_power: self.pv.and_then(|watts| Watts::from_raw(watts * 100)),
            grid_power: self.grid.and_then(Scalar::from_raw),
            load_power: self.load.and_then(Scalar::from_raw),
            backup_power: self.backup.and_then(Scalar::from_raw),
            ..Values::default()
        }
    }
}

fn all(counters: &Counters) -> [i64; Flow::ALL.len()] {
    Flow::ALL.map(|flow| counters.totals.of(flow).published())
}

proptest! {
    #[test]
    fn totals_never_fall_and_today_is_never_more(steps in prop::collection::vec(step(), 1..80)) {
        let mut house = House::new("Europe/London", date(2026, 10, 24));
        let mut before = [0; Flow::ALL.len()];
        for step in steps {
            house.pass(step.seconds);
            house.time += step.set_seconds * 1000;
            if step.restart {
                house.restart();
            }
            house.is_unset = step.unset;
            house.count(&step.values());
            let counters = house.meter.counters();
            let now = all(counters);
            for ((flow, before), now) in Flow::ALL.into_iter().zip(before).zip(now) {
                prop_assert!(now >= before);
                prop_assert!((0..=now).contains(&counters.today(flow)));
            }
            before = now;
        }
    }

    #[test]
    fn what_is_told_is_what_the_totals_have_grown_by_less_what_was_set(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut house = House::new("Europe/London", date(2026, 10, 24));
        // What a plain recomputation finds: each rise of a published total, and nothing for one that is set.
        let mut grown = [0; Flow::ALL.len()];
        for step in steps {
            house.pass(step.seconds);
            house.time += step.set_seconds * 1000;
            if let Some(thousandths) = step.set {
                house.meter.counters.set(Flow::Pv, thousandths);
            }
            if step.restart || step.set.is_some() {
                house.restart();
            }
            house.is_unset = step.unset;
            let before = all(house.meter.counters());
            let metered = house.count(&step.values());
            let now = all(house.meter.counters());
            for ((grown, before), now) in grown.iter_mut().zip(before).zip(now) {
                *grown += now - before;
            }
            for amounts in metered.earlier.iter().map(|earlier| &earlier.amounts).chain([&metered.amounts]) {
                prop_assert!(amounts.iter().all(|(_, amount)| amount.is_none_or(|amount| amount >= 0)));
            }
        }
        let told = Flow::ALL.map(|flow| house.told.of(flow.total()).unwrap_or(0));
        prop_assert_eq!(told, grown);
    }

    #[test]
    fn the_wall_clock_changes_no_total(steps in prop::collection::vec(step(), 1..80)) {
        let total = |set: bool| {
            let mut house = House::new("Europe/London", date(2026, 3, 28));
            for step in &steps {
                house.pass(step.seconds);
                house.time += if set { step.set_seconds * 1000 } else { 0 };
                house.count(&step.values());
            }
            all(house.meter.counters())
        };
        prop_assert_eq!(total(true), total(false));
    }

    #[test]
    fn a_mirrored_curve_is_metered_mirrored(steps in prop::collection::vec(step(), 1..80)) {
        let run = |sign: i64| {
            let mut house = House::new("UTC", date(2026, 6, 21));
            for step in &steps {
                house.pass(step.seconds);
                let grid = step.grid.map(|watts| watts * sign);
                house.count(&Step { grid, ..step.clone() }.values());
            }
            house.meter.counters().totals
        };
        let (there, mirrored) = (run(1), run(-1));
        prop_assert_eq!(there.of(Flow::GridImport), mirrored.of(Flow::GridExport));
        prop_assert_eq!(there.of(Flow::GridExport), mirrored.of(Flow::GridImport));
    }

    #[test]
    fn a_restart_costs_at_most_one_interval(
        steps in prop::collection::vec(step(), 2..60),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(steps.len());
        let total = |restarted: bool| {
            let mut house = House::new("UTC", date(2026, 6, 21));
            for (number, step) in steps.iter().enumerate() {
                if restarted && number == at {
                    house.restart();
                }
                house.pass(step.seconds);
                house.count(&step.values());
            }
            all(house.meter.counters())
        };
        // An interval is at most a minute at 6 kW: 100 Wh, and a thousandth for what was cut off.
        for (whole, restarted) in total(false).into_iter().zip(total(true)) {
            prop_assert!((whole - 101..=whole).contains(&restarted), "{} {}", whole, restarted);
        }
    }

    #[test]
    fn what_is_told_of_each_day_adds_up_to_it(
        powers_of_hours in prop::collection::vec(0..5000_i32, 30..72),
        every in 1..60_u64,
    ) {
        let mut house = House::new("Europe/London", date(2026, 10, 24));
        let pv = |amounts: &Amounts| amounts.of(Quantity::pv_energy_total).unwrap_or(0);
        let (mut told, mut midnights) = (0, 0);
        for watts in powers_of_hours {
            for _ in 0..HOUR / every {
                let today = house.today(Flow::Pv);
                let metered = house.count(&powers(watts, 0));
                if let Some(earlier) = &metered.earlier {
                    prop_assert_eq!(today, told);
                    prop_assert!(earlier.ago < Duration::from_secs(every));
                    (told, midnights) = (0, midnights + 1);
                }
                told += pv(&metered.amounts);
                prop_assert_eq!(house.today(Flow::Pv), told);
                house.pass(every);
            }
        }
        prop_assert!(midnights >= 1);
    }

    #[test]
    fn the_days_add_up_to_the_total(
        powers_of_hours in prop::collection::vec(0..5000_i32, 1..72),
        every in 1..60_u64,
    ) {
        let mut house = House::new("Europe/London", date(2026, 10, 24));
        let (mut days, mut last) = (0, 0);
        for watts in powers_of_hours {
            for _ in 0..HOUR / every {
                house.count(&powers(watts, 0));
                let today = house.today(Flow::Pv);
                let day_before = house.meter.counters().day_before.clone();
                if today < last {
                    // The last reading of a day is not its end: what came between is in the marks.
                    let counters = house.meter.counters();
                    let day = counters.day.clone().expect("a day");
                    let before = day_before.expect("the day before");
                    days += day.totals.of(Flow::Pv).published() - before.totals.of(Flow::Pv).published();
                }
                last = today;
                house.pass(every);
            }
        }
        prop_assert_eq!(days + last, house.total(Flow::Pv));
    }

    #[test]
    fn anything_at_all_is_survived(
        readings in prop::collection::vec((any::<u64>(), any::<Option<i64>>(), any::<Option<i32>>(), any::<Option<i32>>()), 1..40),
    ) {
        let mut meter = Meter::new(settings("Asia/Kathmandu"), Counters::default());
        let mut before = [0; Flow::ALL.len()];
        for (at, time, pv, grid) in readings {
            let values = Values {
                pv_power: pv.map(Watts::new),
                grid_power: grid.map(Watts::new),
                ..Values::default()
            };
            meter.count(Duration::from_millis(at), time.map(UnixMillis), &values);
            let now = all(meter.counters());
            prop_assert!(now.iter().zip(before).all(|(now, before)| *now >= before));
            before = now;
        }
    }
}
