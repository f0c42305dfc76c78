//! Gaps, restarts, counters that begin anew, and clocks that jump, against energies that are known.

use jiff::civil::date;
use kstar_model::counted::{Amounts, MAX_GAP};
use kstar_model::time::{UnixMillis, millis};
use kstar_model::units::{KilowattHours, Watts};
use proptest::prelude::*;

use super::super::counters::{Counters, Source};
use super::super::energy::{Sample, between};
use super::super::{Meter, MeterSettings, Metered};
use super::*;

const HOUR: u64 = 3600;
const MAX_POWER: u32 = 6000;
/// A tenth of a kWh.
const STEP: u64 = KILOWATT_HOUR / 10;
/// What a power is rounded by where an interval is parted at midnight: a hundredth of a watt for a minute, for each reading.
const SLACK: u64 = 80 * 600_000;

fn profile() -> Profile {
    Profile::of(MAX_POWER)
}

/// An inverter with panels and a counter of its own, and a meter that reads it.
struct House {
    meter: Meter,
    at: Duration,
    time: i64,
    is_unset: bool,
    /// The power of the panels in watts.
    watts: i64,
    /// What they have given in all, and what they had when the counter began.
    truth: u64,
    began: u64,
    /// Which counter is told, if any.
    counter: Option<Quantity>,
    last: Option<Sample>,
    told: Amounts,
}

impl House {
    /// Begins at noon.
    fn new(counter: Quantity) -> Self {
        let zone = kstar_common::zone::named("Europe/London").expect("it is built in");
        let noon = date(2026, 10, 24).at(12, 0, 0, 0).to_zoned(zone.clone());
        let settings = MeterSettings {
            zone,
            max_gap: MAX_GAP,
        };
        Self {
            meter: Meter::new(settings, Counters::default()).bridging(profile()),
            at: Duration::from_secs(1000),
            time: noon.expect("a day").timestamp().as_millisecond(),
            is_unset: false,
            watts: 3000,
            truth: 7 * STEP / 3,
            began: 0,
            counter: Some(counter),
            last: None,
            told: Amounts::default(),
        }
    }

    /// Begins with an hour of readings.
    fn counted(counter: Quantity) -> Self {
        let mut house = Self::new(counter);
        house.run(HOUR, 5);
        house
    }

    fn values(&self) -> Values {
        let mut values = Values {
            pv_power: i32::try_from(self.watts * 100).ok().map(Watts::new),
            ..Values::default()
        };
        if let Some(counter) = self.counter {
            let steps = i64::try_from((self.truth - self.began) / STEP).expect("small");
            values.set_raw(counter, Some(steps));
        }
        values
    }

    fn count(&mut self, values: &Values) -> Metered {
        let time = (!self.is_unset).then_some(UnixMillis(self.time));
        let metered = self.meter.count(self.at, time, values);
        self.told.add(&metered.amounts);
        if let Some(earlier) = &metered.earlier {
            self.told.add(&earlier.amounts);
        }
        self.last = Some(Sample {
            at: self.at,
            power: self.watts * 100,
        });
        metered
    }

    /// Lets time pass with this power, unseen.
    fn pass(&mut self, seconds: u64, watts: i64) {
        self.at += Duration::from_secs(seconds);
        self.time += millis(Duration::from_secs(seconds));
        self.truth += seconds * 1_000_000 * watts.unsigned_abs();
    }

    /// Readings with a steady power.
    fn run(&mut self, seconds: u64, every: u64) {
        self.count(&self.values());
        for _ in 0..seconds / every {
            self.pass(every, self.watts);
            self.count(&self.values());
        }
    }

    fn restart(&mut self) {
        let json = serde_json::to_string(self.meter.counters()).expect("JSON");
        let counters = serde_json::from_str(&json).expect("JSON");
        assert_eq!(&counters, self.meter.counters());
        self.meter = Meter::new(self.meter.settings.clone(), counters).bridging(profile());
        self.last = None;
    }

    fn total(&self) -> i64 {
        self.meter.counters().totals.of(Flow::Pv).published()
    }

    fn bridged(&self) -> i64 {
        self.meter.counters().bridged.of(Flow::Pv).published()
    }

    fn unmetered(&self) -> u64 {
        self.meter.counters().coverage.of(Source::Pv).unmetered_ms / 1000
    }
}

const TOTAL: Quantity = Quantity::inverter_pv_energy_total;
const TODAY: Quantity = Quantity::inverter_pv_energy_today;

/// That a total is as it is to be, but for less than a step of the counter.
#[track_caller]
fn check_about(found: i64, expected: i64) {
    assert!((found - expected).abs() < 100, "{found} for {expected}");
}

#[test]
fn a_gap_and_a_restart_are_bridged_once_and_are_not_unmetered() {
    for counter in [TOTAL, TODAY] {
        for restarts in [false, true] {
            let mut house = House::counted(counter);
            assert_eq!((house.total(), house.bridged()), (3000, 0));
            house.pass(2 * HOUR, 4000);
            if restarts {
                house.restart();
            }
            house.run(HOUR, 5);
            check_about(house.total(), 3000 + 8000 + 3000);
            assert_eq!(house.total(), house.bridged() + 6000);
            assert_eq!(house.unmetered(), 0, "{counter}");
            assert_eq!(house.told.of(Flow::Pv.total()), Some(house.total()));
            house.run(HOUR, 5);
            check_about(house.total(), 3000 + 8000 + 6000);
        }
    }
}

#[test]
fn the_end_of_a_gap_is_made_up_for_when_the_counter_moves_next() {
    let mut house = House::counted(TOTAL);
    house.pass(2 * HOUR, 4000);
    house.run(HOUR, 5);
    // Both ends are known but for an interval of 5 s at 3 kW.
    assert!((house.total() - 14_000).abs() <= 5, "{}", house.total());
}

#[test]
fn while_nothing_is_missed_nothing_is_added_however_counter_and_meter_differ() {
    let mut house = House::counted(TOTAL);
    for _ in 0..100 {
        // The inverter counts more than it tells.
        house.truth += STEP;
        house.run(60, 5);
    }
    assert_eq!((house.total(), house.bridged()), (3000 + 5000, 0));
}

#[test]
fn nothing_is_bridged_where_there_is_no_counter_or_it_began_anew() {
    let mut without = House::counted(TOTAL);
    without.counter = None;
    let mut fallen = House::counted(TOTAL);
    let mut unknown = House::new(TOTAL);
    unknown.counter = None;
    unknown.run(HOUR, 5);
    for (house, appears) in [
        (&mut without, false),
        (&mut fallen, true),
        (&mut unknown, true),
    ] {
        house.pass(HOUR, 4000);
        if appears {
            (house.counter, house.began) = (Some(TOTAL), house.truth - STEP / 2);
        }
        house.run(HOUR, 5);
        assert_eq!((house.total(), house.bridged()), (6000, 0));
        assert_eq!(house.unmetered(), HOUR);
    }
}

#[test]
fn a_counter_of_the_day_that_began_anew_tells_what_it_shows() {
    let mut house = House::counted(TODAY);
    house.pass(9 * HOUR, 0);
    house.began = house.truth;
    house.pass(HOUR, 2000);
    house.run(0, 5);
    check_about(house.bridged(), 2000);
    assert!(house.bridged() <= 2000);
    assert_eq!(house.unmetered(), 10 * HOUR, "what was before is not known");
}

#[test]
fn no_more_is_bridged_than_may_have_flowed() {
    let mut house = House::counted(TOTAL);
    house.truth += 900 * STEP;
    house.pass(HOUR, 0);
    house.run(0, 5);
    assert_eq!(house.bridged(), 12_000, "twice its power");
    // A wall clock that was set back knows nothing of how long the meter did not run.
    house.pass(HOUR, 3000);
    house.time -= 4 * 3_600_000;
    house.restart();
    house.run(HOUR, 5);
    assert_eq!(house.bridged(), 12_000);
}

#[test]
fn a_restart_without_a_clock_is_bridged_once_it_is_set() {
    let mut house = House::counted(TOTAL);
    house.pass(HOUR, 4000);
    house.restart();
    house.is_unset = true;
    house.run(HOUR, 5);
    assert_eq!((house.total(), house.bridged()), (6000, 0));
    house.restart();
    house.run(600, 5);
    house.is_unset = false;
    house.run(5, 5);
    check_about(house.total(), 3000 + 4000 + 3000 + 500);
}

#[test]
fn a_counter_that_comes_after_the_power_is_waited_for() {
    let mut house = House::counted(TOTAL);
    house.pass(HOUR, 4000);
    house.counter = None;
    house.run(60, 5);
    assert_eq!((house.bridged(), house.unmetered()), (0, HOUR));
    // Also by another program, and that of the day is not taken in its place.
    house.restart();
    house.counter = Some(TODAY);
    house.run(60, 5);
    house.counter = Some(TOTAL);
    house.run(60, 5);
    check_about(house.total(), 3000 + 4000 + 150);
    assert_eq!(house.unmetered(), 0);
}

#[test]
fn a_power_that_was_missing_for_long_is_bridged() {
    let mut house = House::counted(TOTAL);
    for _ in 0..HOUR / 5 {
        house.pass(5, 4000);
        let blind = Values {
            pv_power: None,
            ..house.values()
        };
        house.count(&blind);
    }
    house.run(0, 5);
    check_about(house.total(), 7000);
    assert_eq!(house.unmetered(), 0);
}

#[test]
fn what_is_bridged_over_midnight_is_parted_by_time() {
    for restarts in [false, true] {
        let mut house = House::counted(TOTAL);
        // From eleven in the evening until two.
        house.pass(10 * HOUR, 0);
        house.run(0, 5);
        house.pass(3 * HOUR, 2000);
        if restarts {
            house.restart();
            // The machine was started after midnight, too.
            house.at = Duration::from_secs(60);
        }
        let metered = house.count(&house.values());
        let of = |amounts: &Amounts| amounts.of(Flow::Pv.total()).unwrap_or(0);
        let earlier = metered.earlier.expect("a midnight");
        assert_eq!(earlier.ago, Duration::from_secs(2 * HOUR));
        assert_eq!(metered.covers, Duration::from_secs(3 * HOUR));
        let bridged = house.bridged();
        check_about(bridged, 6000);
        assert!((of(&earlier.amounts) - bridged / 3).abs() <= 1);
        assert!((of(&metered.amounts) - bridged * 2 / 3).abs() <= 1);
        let today = house.meter.counters().today(Flow::Pv);
        assert_eq!(today, of(&metered.amounts));
    }
}

#[test]
fn grid_and_battery_are_bridged_each_way_and_in_finer_steps() {
    let mut house = House::new(TOTAL);
    let counters = |import: i32, discharge: i32| Values {
        grid_power: Some(Watts::new(500)),
        battery_power: Some(Watts::new(-50_000)),
        inverter_grid_import_energy_total: Some(KilowattHours::new(import)),
        inverter_grid_export_energy_total: Some(KilowattHours::new(77)),
        inverter_battery_charge_energy_today: Some(KilowattHours::new(3)),
        inverter_battery_discharge_energy_today: Some(KilowattHours::new(discharge)),
        ..Values::default()
    };
    house.count(&counters(1000, 50));
    house.pass(HOUR, 0);
    house.count(&counters(1234, 59));
    let counters = house.meter.counters();
    let bridged = Flow::ALL.map(|flow| counters.bridged.of(flow).published());
    assert_eq!(bridged, [0, 2340, 0, 0, 900, 0]);
    for source in [Source::Grid, Source::Battery] {
        assert_eq!(counters.coverage.of(source).unmetered_ms, 0);
    }
}

#[test]
fn consumption_is_bridged_only_where_the_profile_says_what_the_load_counts() {
    let load = |raw: i32| Values {
        load_power: Some(Watts::new(1000)),
        load_energy_total: Some(KilowattHours::new(raw)),
        energy_total: Some(KilowattHours::new(raw)),
        ..Values::default()
    };
    for (is_consumption, expected) in [(false, 0), (true, 1200)] {
        let mut house = House::new(TOTAL);
        let machine = Profile {
            load_energy_is_consumption: is_consumption,
            ..profile()
        };
        house.meter = house.meter.bridging(machine);
        house.count(&load(100));
        house.pass(HOUR, 0);
        house.count(&load(112));
        let bridged = house.meter.counters().bridged;
        assert_eq!(bridged.of(Flow::Consumption).published(), expected);
        assert_eq!(bridged.of(Flow::Pv), Energy(0));
    }
}

#[test]
fn another_inverter_is_not_compared_with_the_one_before() {
    let mut house = House::counted(TOTAL);
    let mut counters = house.meter.counters().clone();
    counters.forget_own();
    house.pass(HOUR, 4000);
    house.meter = Meter::new(house.meter.settings.clone(), counters).bridging(profile());
    house.run(HOUR, 5);
    assert_eq!((house.total(), house.bridged()), (6000, 0));
}

#[test]
fn what_is_remembered_of_an_inverter_without_counters_has_its_old_form() {
    let mut house = House::new(TOTAL);
    house.counter = None;
    house.run(HOUR, 5);
    house.pass(HOUR, 3000);
    house.run(HOUR, 5);
    let json = serde_json::to_value(house.meter.counters()).expect("JSON");
    let keys: Vec<&String> = json.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        ["coverage", "day", "day_before", "has_backup", "totals"]
    );
    let coverage = json["coverage"]["pv"].as_object().expect("an object");
    assert_eq!(
        coverage.keys().collect::<Vec<_>>(),
        ["last_ms", "unmetered_ms"]
    );
}

/// What may happen up to the next reading.
#[derive(Clone, Debug)]
struct Step {
    seconds: u64,
    watts: i64,
    /// What flows while nobody looks.
    unseen: i64,
    restart: bool,
    /// By how much the wall clock is set while the meter runs; absent while it is not set at all.
    set_seconds: Option<i64>,
    /// Whether the counter is told.
    told: bool,
    /// Whether it begins anew.
    reset: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let most = i64::from(2 * MAX_POWER);
    let rarely = |share| prop::bool::weighted(share);
    (
        prop_oneof![8 => 1..60_u64, 1 => 61..2000_u64, 1 => 2000..100_000_u64],
        0..=most,
        0..=most,
        (rarely(0.1), rarely(0.9), rarely(0.05)),
        prop_oneof![8 => Just(Some(0)), 1 => Just(None), 1 => (-200_000..200_000_i64).prop_map(Some)],
    )
        .prop_map(
            |(seconds, watts, unseen, (restart, told, reset), set_seconds)| Step {
                seconds,
                watts,
                unseen,
                restart,
                set_seconds,
                told,
                reset,
            },
        )
}

/// Plays these steps, and holds each reading against the truth: no total falls, and none is more or less than is true but
/// for a step of the counter for each gap. Less only where the counter is told and has not begun anew.
fn play(counter: Quantity, steps: &[Step], resets: bool) -> Result<(), TestCaseError> {
    let mut house = House::new(counter);
    house.count(&house.values());
    let begun = house.truth;
    let (mut gaps, mut before, mut waits) = (0, 0, false);
    for step in steps {
        let is_gap = step.restart || step.seconds > 60;
        let last = house.last;
        if step.restart {
            house.restart();
        }
        house.pass(step.seconds, 0);
        house.watts = step.watts;
        let now = Sample {
            at: house.at,
            power: step.watts * 100,
        };
        house.truth += match last {
            Some(last) if !is_gap => between(last, now).forth.0,
            _ => step.seconds * 1_000_000 * step.unseen.unsigned_abs(),
        };
        let is_unset = step.set_seconds.is_none();
        if !step.restart && !house.is_unset {
            house.time += step.set_seconds.unwrap_or(0) * 1000;
        }
        if resets && step.reset {
            house.began = house.truth - step.unseen.unsigned_abs() * 1000;
        }
        house.is_unset = is_unset;
        house.counter = step.told.then_some(counter);
        gaps += u64::from(is_gap);
        // A restart without a clock waits for it.
        waits = is_unset && (waits || step.restart);
        let values = house.values();
        house.count(&values);
        let total = house.meter.counters().totals.of(Flow::Pv).0;
        prop_assert!(total >= before, "it fell");
        before = total;
        let (truth, slack) = (house.truth - begun, STEP * gaps + SLACK);
        prop_assert!(total <= truth + slack, "{total} for {truth}, {gaps} gaps");
        if step.told && !waits && !resets {
            prop_assert!(total + slack >= truth, "{total} for {truth}, {gaps} gaps");
        }
    }
    let told = house.told.of(Flow::Pv.total()).unwrap_or(0);
    prop_assert_eq!(told, house.total());
    Ok(())
}

proptest! {
    #[test]
    fn what_is_bridged_is_true_but_for_a_step_for_each_gap(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        play(TOTAL, &steps, false)?;
        play(TODAY, &steps, false)?;
    }

    #[test]
    fn a_counter_that_begins_anew_adds_nothing_that_did_not_flow(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        play(TOTAL, &steps, true)?;
        play(TODAY, &steps, true)?;
    }

    #[test]
    fn without_counters_all_is_as_without_bridging(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let run = |is_bridging: bool| {
            let mut house = House::new(TOTAL);
            if !is_bridging {
                house.meter = Meter::new(house.meter.settings.clone(), Counters::default());
            }
            house.counter = None;
            let mut metered = Vec::new();
            for step in &steps {
                house.pass(step.seconds, 0);
                house.time += step.set_seconds.unwrap_or(0) * 1000;
                (house.watts, house.is_unset) = (step.watts, step.set_seconds.is_none());
                metered.push(house.count(&house.values()));
            }
            (metered, house.meter.counters().clone())
        };
        prop_assert_eq!(run(true), run(false));
    }

    #[test]
    fn any_counters_at_all_are_survived(
        readings in prop::collection::vec(
            (any::<u64>(), any::<Option<i64>>(), any::<Option<i32>>(), any::<Option<i32>>(), any::<Option<i32>>()),
            1..40,
        ),
    ) {
        let mut house = House::new(TOTAL);
        let mut before = 0;
        for (at, time, pv, total, today) in readings {
            let values = Values {
                pv_power: pv.map(Watts::new),
                inverter_pv_energy_total: total.map(KilowattHours::new),
                inverter_pv_energy_today: today.map(KilowattHours::new),
                ..Values::default()
            };
            house.meter.count(Duration::from_millis(at), time.map(UnixMillis), &values);
            prop_assert!(house.total() >= before);
            before = house.total();
        }
    }
}
