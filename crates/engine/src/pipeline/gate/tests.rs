//! Each rule by itself, and that none of them locks anything out indefinitely.

use kstar_model::labels::{BatteryMode, GridDirection};
use kstar_model::units::{Amperes, Hertz, Hours, KilowattHours, Percent, Volts, Watts};
use proptest::prelude::*;

use kstar_source::source::Bound;

use super::rules::CONVINCED;
use super::*;

/// An evening of a KSE4000.
fn sane() -> Values {
    let mut values = Values {
        pv1_voltage: Some(Volts::new(1500)),
        pv1_current: Some(Amperes::new(10)),
        battery_voltage: Some(Volts::new(507)),
        battery_current: Some(Amperes::new(-20)),
        battery_soc: Some(Percent::new(76)),
        battery_mode: Some(BatteryMode::DISCHARGING),
        grid_voltage: Some(Volts::new(2337)),
        grid_frequency: Some(Hertz::new(5003)),
        grid_power: Some(Watts::new(300)),
        grid_direction: Some(GridDirection::IMPORTING),
        load_power: Some(Watts::new(520)),
        backup_power: Some(Watts::new(3)),
        inverter_power: Some(Watts::new(230)),
        energy_today: Some(KilowattHours::new(178)),
        energy_total: Some(KilowattHours::new(58_870)),
        load_energy_today: Some(KilowattHours::new(35)),
        load_energy_total: Some(KilowattHours::new(18_134)),
        operating_hours: Some(Hours::new(4239)),
        ..Values::default()
    };
    derive_anew(&mut values);
    values
}

/// A gate with both clocks in hand.
struct House {
    gate: Gate,
    at: Duration,
    time: i64,
}

impl House {
    /// One that has let a sane reading through.
    fn new(settings: &GateSettings) -> Self {
        let mut house = Self {
            gate: Gate::new(settings, Baseline::default()),
            at: Duration::from_secs(77),
            time: 1_795_305_600_000,
        };
        assert_eq!(house.after(0, sane()).1, Judgement::default());
        house
    }

    /// What becomes of a reading so many seconds later.
    fn after(&mut self, seconds: u64, mut values: Values) -> (Values, Judgement) {
        self.at += Duration::from_secs(seconds);
        self.time += i64::try_from(seconds * 1000).expect("small");
        let judgement = self
            .gate
            .judge(self.at, Some(UnixMillis(self.time)), &mut values);
        (values, judgement)
    }

    fn restart(&mut self) {
        let json = serde_json::to_string(self.gate.baseline()).expect("JSON");
        let baseline = serde_json::from_str(&json).expect("JSON");
        self.gate = Gate::new(&GateSettings::default(), baseline);
        self.at = Duration::ZERO;
    }
}

fn house() -> House {
    House::new(&GateSettings::default())
}

fn without(rule: Rule) -> House {
    House::new(&GateSettings {
        off: vec![rule],
        ..GateSettings::default()
    })
}

/// Computes all that follows from the other values, also where it is present.
fn derive_anew(values: &mut Values) {
    for quantity in Quantity::ALL.iter().copied() {
        if quantity.description().derivation.is_some() {
            values.set_raw(quantity, None);
        }
    }
    values.derive();
}

fn sane_but(quantity: Quantity, raw: i64) -> Values {
    let mut values = sane();
    values.set_raw(quantity, Some(raw));
    derive_anew(&mut values);
    values
}

/// That a value is dropped by a rule and no other, unless the rule is off.
#[track_caller]
fn check_absent(rule: Rule, quantity: Quantity, raw: i64) {
    let struck = sane_but(quantity, raw);
    let (values, judgement) = house().after(5, struck.clone());
    assert!(!judgement.refused);
    let rules: Vec<Rule> = judgement.rules().collect();
    assert_eq!(rules, [rule], "{judgement:?}");
    assert!(
        judgement.reason().contains(quantity.name()),
        "{judgement:?}"
    );
    let mut expected = struck.clone();
    expected.set_raw(quantity, None);
    derive_anew(&mut expected);
    assert_eq!(values, expected);
    assert_eq!(
        without(rule).after(5, struck.clone()),
        (struck, Judgement::default())
    );
}

#[test]
fn a_value_that_no_machine_has_is_dropped_with_what_follows_from_it() {
    check_absent(Rule::Range, Quantity::pv1_voltage, 6550);
    check_absent(Rule::Range, Quantity::battery_voltage, 1000);
    assert_eq!(
        house()
            .after(5, sane_but(Quantity::pv1_voltage, 6550))
            .0
            .pv1_power,
        None
    );
}

#[test]
fn both_ends_of_every_range_are_possible_and_what_is_beyond_is_not() {
    for range in ranges(&Profile::of(MAX_POWER)) {
        let scale = 10_i64.pow(range.quantity.description().decimals.into());
        let (lowest, highest) = (range.lowest * scale, range.highest * scale);
        assert!(range.holds(lowest) && range.holds(highest), "{range:?}");
        assert!(
            !range.holds(lowest - 1) && !range.holds(highest + 1),
            "{range:?}"
        );
        assert!(
            !range.or_zero || (range.holds(0) && !range.holds(1)),
            "{range:?}"
        );
        assert!(
            range.quantity.description().derivation.is_none(),
            "{range:?}"
        );
    }
}

#[test]
fn the_inverters_own_limit_is_the_configurations() {
    let strong = GateSettings {
        profile: Profile::of(10_000),
        ..GateSettings::default()
    };
    let reading = sane_but(Quantity::inverter_power, 9000);
    assert_eq!(house().after(5, reading.clone()).1.faults.len(), 1);
    assert_eq!(House::new(&strong).after(5, reading).1.faults.len(), 0);
}

#[test]
fn a_meter_that_says_nothing_for_a_moment_is_not_believed() {
    let mut zero = sane_but(Quantity::load_power, 0);
    zero.grid_power = Some(Watts::new(0));
    zero.grid_direction = Some(GridDirection::IDLE);
    derive_anew(&mut zero);
    let (values, judgement) = house().after(5, zero.clone());
    assert_eq!(judgement.rules().collect::<Vec<_>>(), [Rule::ZeroMeter]);
    let dropped = (
        values.load_power,
        values.grid_power,
        values.grid_import_power,
        values.grid_direction,
    );
    assert_eq!(dropped, (None, None, None, None));
    assert_eq!(values.pv_power, zero.pv_power);
    assert_eq!(without(Rule::ZeroMeter).after(5, zero.clone()).0, zero);

    // One of the two is possible, and so are both without a grid.
    for quantity in [Quantity::load_power, Quantity::grid_power] {
        assert!(house().after(5, sane_but(quantity, 0)).1.faults.is_empty());
    }
    zero.grid_voltage = Some(Volts::new(0));
    assert!(house().after(5, zero).1.faults.is_empty());
}

#[test]
fn a_lifetime_counter_that_falls_is_dropped() {
    check_absent(Rule::CounterFall, Quantity::energy_total, 58_869);
    check_absent(Rule::CounterFall, Quantity::load_energy_total, 0);
    check_absent(Rule::CounterFall, Quantity::operating_hours, 4238);
}

#[test]
fn a_counter_that_grows_faster_than_possible_is_dropped() {
    check_absent(Rule::CounterJump, Quantity::energy_total, 58_881);
    check_absent(Rule::CounterJump, Quantity::load_energy_today, 50);
    check_absent(Rule::CounterJump, Quantity::operating_hours, 4242);
}

#[test]
fn what_was_counted_during_an_outage_is_possible() {
    // 8.5 minutes, as modules drop out (PROTOCOL 8), and a night.
    for (seconds, tenths) in [(510, 4), (510, 18), (8 * 3600, 480)] {
        let reading = sane_but(Quantity::energy_total, 58_870 + tenths);
        let (_, judgement) = house().after(seconds, reading);
        assert_eq!(judgement.faults, [], "{tenths} in {seconds} s");
    }
}

#[test]
fn a_daily_counter_may_fall_at_any_time() {
    for tenths in [0, 3, 90] {
        let reading = sane_but(Quantity::energy_today, tenths);
        assert_eq!(house().after(5, reading).1, Judgement::default());
    }
}

#[test]
fn a_reading_with_several_bad_values_is_refused_and_left_as_it_came() {
    let mut nonsense = sane_but(Quantity::pv1_voltage, 65_000);
    nonsense.battery_voltage = Some(Volts::new(2000));
    nonsense.energy_total = Some(KilowattHours::new(15_335_630));
    derive_anew(&mut nonsense);
    let (values, judgement) = house().after(5, nonsense.clone());
    assert!(judgement.refused);
    assert_eq!(judgement.faults.len(), 3);
    assert_eq!(judgement.rules().next(), Some(Rule::Nonsense));
    assert_eq!(values, nonsense);

    let (values, judgement) = without(Rule::Nonsense).after(5, nonsense);
    assert!(!judgement.refused);
    assert_eq!((values.pv1_voltage, values.energy_total), (None, None));
}

#[test]
fn a_payload_of_zeros_is_refused_once_counters_are_known() {
    let zeros = kstar_source_aa55::wire::running::decode(&[0; 83]).expect("values");
    assert!(house().after(5, zeros).1.refused);
}

#[test]
fn the_power_balance_is_only_a_note() {
    let (values, judgement) = house().after(5, sane_but(Quantity::load_power, 5000));
    assert_eq!(judgement.unbalanced, Some(230 + 300 - 5000 - 3));
    assert_eq!(judgement.rules().collect::<Vec<_>>(), [Rule::PowerBalance]);
    assert_eq!(values.load_power, Some(Watts::new(5000)));
    let quiet = without(Rule::PowerBalance)
        .after(5, sane_but(Quantity::load_power, 5000))
        .1;
    assert_eq!(quiet, Judgement::default());
}

/// That a reading is let through as it is after a dozen of its kind, which is said once.
#[track_caller]
fn check_convinced(house: &mut House, values: &Values) {
    for number in 1..CONVINCED {
        let (_, judgement) = house.after(5, values.clone());
        assert!(!judgement.faults.is_empty(), "reading {number}");
        assert_eq!(judgement.convinced, []);
    }
    let (through, judgement) = house.after(5, values.clone());
    assert!(!judgement.convinced.is_empty());
    assert_eq!((&through, &judgement.faults[..]), (values, &[][..]));
    let (through, judgement) = house.after(5, values.clone());
    assert_eq!(&through, values);
    assert!(judgement.faults.is_empty() && judgement.convinced.is_empty());
}

#[test]
fn a_dozen_readings_that_agree_are_the_new_baseline() {
    for (quantity, raw) in [
        (Quantity::energy_total, 0),
        (Quantity::energy_total, 999_999),
        (Quantity::operating_hours, 3),
    ] {
        check_convinced(&mut house(), &sane_but(quantity, raw));
    }
    // A house that takes nothing for a minute.
    let mut zero = sane_but(Quantity::load_power, 0);
    zero.grid_power = Some(Watts::new(0));
    zero.grid_direction = None;
    derive_anew(&mut zero);
    check_convinced(&mut house(), &zero);
    // A new mainboard: every counter begins anew, and readings are refused until then.
    let mut new = sane();
    for counter in counters(&Profile::of(MAX_POWER)) {
        new.set_raw(counter.quantity, Some(0));
    }
    assert!(house().after(5, new.clone()).1.refused);
    let mut house = house();
    check_convinced(&mut house, &new);
    // And the old counters would be as strange now.
    assert!(!house.after(5, sane()).1.faults.is_empty());
}

#[test]
fn what_does_not_agree_with_itself_is_never_believed() {
    let mut house = house();
    for number in 0..10 * i64::from(CONVINCED) {
        let wild = sane_but(Quantity::energy_total, (number % 2 + 1) * 1_000_000);
        assert!(!house.after(5, wild).1.faults.is_empty());
        let wild = sane_but(Quantity::battery_voltage, 700 + 5000 * (number % 2));
        assert!(!house.after(5, wild).1.faults.is_empty());
    }
}

#[test]
fn a_single_good_value_ends_the_doubt() {
    let mut house = house();
    let falls = sane_but(Quantity::energy_total, 7);
    for _ in 0..5 {
        for _ in 1..CONVINCED {
            assert_eq!(house.after(5, falls.clone()).1.convinced, []);
        }
        assert_eq!(house.after(5, sane()).1, Judgement::default());
    }
}

#[test]
fn the_baseline_survives_a_restart() {
    let mut house = house();
    house.restart();
    assert_eq!(
        house
            .after(60, sane_but(Quantity::energy_total, 58_869))
            .1
            .faults
            .len(),
        1
    );
    assert_eq!(house.after(0, sane()).1, Judgement::default());
    // How long the program was away tells the wall clock.
    house.restart();
    let after_a_day = sane_but(Quantity::energy_total, 58_870 + 1200);
    assert_eq!(house.after(86_400, after_a_day).1, Judgement::default());
    // One that was set back tells nothing, and little is allowed.
    house.restart();
    house.time -= 7 * 86_400_000;
    assert_eq!(
        house
            .after(5, sane_but(Quantity::energy_total, 60_100))
            .1
            .faults
            .len(),
        1
    );
}

#[test]
fn every_rule_has_a_name_of_its_own_that_is_read_back() {
    for rule in Rule::ALL {
        let read: Rule = serde_json::from_str(&format!("\"{rule}\"")).expect("a rule");
        assert_eq!(read, rule);
        let named = Rule::ALL.iter().filter(|other| other.name() == rule.name());
        assert_eq!(named.count(), 1);
    }
}

#[test]
fn what_a_gate_does_is_counted_by_rule() {
    let counts = GateCounts::default();
    let mut house = house();
    let judged = [
        house.after(5, sane()).1,
        house.after(5, sane_but(Quantity::battery_voltage, 1000)).1,
        house.after(5, sane_but(Quantity::battery_voltage, 1000)).1,
        Judgement {
            refused: true,
            ..Judgement::default()
        },
    ];
    for judgement in &judged {
        counts.count(judgement);
    }
    assert_eq!(counts.taken.load(Ordering::Relaxed), 3);
    assert_eq!(counts.refused.load(Ordering::Relaxed), 1);
    let struck: Vec<(Rule, u64)> = counts.struck().collect();
    assert_eq!(struck, [(Rule::Range, 2), (Rule::Nonsense, 1)]);
}

/// A KSE's reply in which the state of charge is 255 %, and all else is sound.
const SOC_255: &str = include_str!("../../../../../sources/aa55/tests/packets/soc-255.hex");

/// The values of a datagram of running data.
fn of_datagram(hex: &str) -> Values {
    let bytes: Vec<u8> = (0..hex.trim().len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect();
    let payload = kstar_source_aa55::wire::reply(
        &bytes,
        kstar_source_aa55::wire::Request::RunningData,
        kstar_source_aa55::wire::ApAddress::B0,
    );
    kstar_source_aa55::wire::running::decode(payload.expect("a reply")).expect("values")
}

#[test]
fn a_percentage_above_100_is_never_believed_however_often_it_comes() {
    let told = of_datagram(SOC_255);
    assert_eq!(told.battery_soc, Some(Percent::new(255)));
    let mut expected = told.clone();
    expected.battery_soc = None;
    let mut gate = Gate::new(&GateSettings::default(), Baseline::default());
    for second in 0..10 * CONVINCED {
        let mut values = told.clone();
        let at = Duration::from_secs(u64::from(second) * 5);
        let judgement = gate.judge(at, Some(UnixMillis(0)), &mut values);
        assert_eq!(judgement.rules().collect::<Vec<_>>(), [Rule::Range]);
        assert_eq!(values, expected, "reading {second}");
    }
}

#[test]
fn what_is_outside_a_range_is_never_believed_and_max_power_is_named_where_it_would_help() {
    for range in ranges(&Profile::of(MAX_POWER)) {
        let scale = 10_i64.pow(range.quantity.description().decimals.into());
        let beyond = sane_but(range.quantity, (range.highest + 1) * scale);
        let mut house = house();
        for _ in 0..3 * CONVINCED {
            let (values, judgement) = house.after(5, beyond.clone());
            assert_eq!(values.raw(range.quantity), None, "{range:?}");
            let fault = &judgement.faults[0];
            assert_eq!((fault.rule, fault.quantity), (Rule::Range, range.quantity));
            let stronger = GateSettings {
                profile: Profile::of(100_000),
                ..GateSettings::default()
            };
            let allows = House::new(&stronger).after(5, beyond.clone()).1;
            let helps = !allows.faults.iter().any(|fault| fault.rule == Rule::Range);
            assert_eq!(fault.max_power, helps, "{range:?}");
            assert_eq!(judgement.convinced, []);
        }
    }
}

#[test]
fn readings_of_nonsense_do_not_move_a_counters_baseline() {
    let mut house = house();
    let mut nonsense = sane_but(Quantity::energy_total, 7);
    nonsense.pv1_voltage = Some(Volts::new(65_000));
    nonsense.battery_voltage = Some(Volts::new(2000));
    nonsense.battery_soc = Some(Percent::new(255));
    for _ in 0..3 * CONVINCED {
        let judgement = house.after(5, nonsense.clone()).1;
        assert!(judgement.refused && judgement.convinced.is_empty());
    }
    assert_eq!(house.after(5, sane()).1, Judgement::default());
}

proptest! {
    #[test]
    fn any_values_at_all_are_judged_and_what_comes_through_keeps_to_its_ranges(
        raws in prop::collection::vec(any::<Option<i64>>(), Quantity::ALL.len()),
        off in any::<bool>(),
    ) {
        let mut values = Values::default();
        for (quantity, raw) in Quantity::ALL.iter().zip(raws) {
            values.set_raw(*quantity, raw);
        }
        derive_anew(&mut values);
        let mut house = if off { without(Rule::Nonsense) } else { house() };
        for _ in 0..=CONVINCED {
            house.after(5, values.clone());
        }
        let (through, judgement) = house.after(5, values.clone());
        if judgement.refused {
            prop_assert_eq!(through, values);
            return Ok(());
        }
        for range in ranges(&Profile::of(MAX_POWER)) {
            prop_assert!(through.raw(range.quantity).is_none_or(|raw| range.holds(raw)), "{:?}", range);
        }
        // What was only estimated is believed by now.
        prop_assert!(judgement.faults.iter().all(|fault| fault.rule == Rule::Range));
    }
}

#[test]
fn a_counter_grows_by_what_it_shows_and_never_by_more_than_the_time_allows_or_less_than_nothing() {
    let shows = |total: i32| Values {
        energy_total: Some(KilowattHours::new(total)),
        ..sane()
    };
    let mut house = house();
    let mut before = house.gate.baseline().clone();
    let mut growth = |house: &mut House, seconds: u64, values: Values| {
        house.after(seconds, values);
        let growth = house.gate.growth(&before);
        before.clone_from(house.gate.baseline());
        growth.of(Quantity::energy_total)
    };
    assert_eq!(growth(&mut house, 5, shows(58_871)), Some(1));
    let absent = Values {
        energy_total: None,
        ..sane()
    };
    assert_eq!(growth(&mut house, 5, absent), Some(0));
    assert_eq!(growth(&mut house, 5, shows(58_873)), Some(2));
    // Another mainboard: lower, until that is believed, and then counted on from there.
    for _ in 0..CONVINCED {
        assert_eq!(growth(&mut house, 5, shows(10)), Some(0));
    }
    assert_eq!(growth(&mut house, 5, shows(13)), Some(3));
    // A jump that is believed in the end is counted as far as a minute allows: 6 kW, and 1 kWh.
    let mut grown: Vec<_> = (0..CONVINCED)
        .map(|_| growth(&mut house, 5, shows(90_000)))
        .collect();
    assert_eq!(grown.pop(), Some(Some(11)));
    assert!(grown.iter().all(|grown| *grown == Some(0)), "{grown:?}");
    assert_eq!(growth(&mut house, 5, shows(90_001)), Some(1));
    // Across a restart the wall clock says how long it was, unless it was set back.
    house.restart();
    assert_eq!(growth(&mut house, 3600, shows(90_041)), Some(40));
    house.restart();
    house.time -= 2 * 3_600_000;
    let mut grown: Vec<_> = (0..CONVINCED)
        .map(|_| growth(&mut house, 5, shows(90_081)))
        .collect();
    assert_eq!(grown.pop(), Some(Some(10)));
    // What was never seen before has not grown.
    let first = Gate::new(&GateSettings::default(), Baseline::default());
    assert_eq!(first.growth(&before), Amounts::default());
    house.gate = first;
    house.after(5, shows(7));
    let growth = house.gate.growth(&Baseline::default());
    assert_eq!(growth.of(Quantity::energy_total), Some(0));
    assert_eq!(growth.of(Quantity::energy_today), None);
}

/// A three-phase machine with a battery of high voltage, whose load is cut off at 0.
const HYBRID: Profile = Profile {
    house_power: 60_000,
    bounds: &[
        Bound {
            quantity: Quantity::battery_voltage,
            lowest: 0,
            highest: 1000,
            or_zero: false,
        },
        Bound {
            quantity: Quantity::pv1_voltage,
            lowest: 0,
            highest: 1100,
            or_zero: false,
        },
        Bound {
            quantity: Quantity::pv4_voltage,
            lowest: 0,
            highest: 900,
            or_zero: false,
        },
        Bound {
            quantity: Quantity::pv_power,
            lowest: 0,
            highest: 30_000,
            or_zero: false,
        },
    ],
    off: &[Rule::ZeroMeter],
    ..Profile::of(20_000)
};

fn hybrid() -> House {
    House::new(&GateSettings {
        profile: HYBRID,
        ..GateSettings::default()
    })
}

/// A reading in which the battery's power and that of the panels are told, as no product and sum of the others.
fn told_powers() -> Values {
    let mut values = Values {
        pv3_voltage: Some(Volts::new(1500)),
        pv3_current: Some(Amperes::new(20)),
        battery_power: Some(Watts::new(-98_765)),
        pv_power: Some(Watts::new(45_000)),
        ..sane()
    };
    (values.battery_charge_power, values.battery_discharge_power) = (None, None);
    values.derive();
    values
}

#[test]
fn what_a_machine_tells_itself_is_kept_and_what_follows_is_computed_from_it() {
    let told = told_powers();
    let (values, judgement) = hybrid().after(5, told.clone());
    assert_eq!(judgement, Judgement::default());
    assert_eq!(values, told);
    assert_eq!(values.battery_discharge_power, Some(Watts::new(98_765)));
    // It stays without a part that it does not follow from, and what did follow from that part goes.
    let broken = Values {
        pv1_voltage: Some(Volts::new(30_000)),
        ..told.clone()
    };
    let (values, judgement) = hybrid().after(
        5,
        Values {
            pv1_power: Some(Watts::new(30_000 * 10)),
            ..broken
        },
    );
    assert_eq!(judgement.faults.len(), 1);
    assert_eq!(
        (values.pv1_voltage, values.pv1_power, values.pv_power),
        (None, None, told.pv_power)
    );
}

#[test]
fn what_a_machine_tells_itself_has_a_range_as_well_and_is_then_not_made_up_from_parts() {
    let wild = Values {
        battery_power: Some(Watts::new(5_000_000)),
        pv_power: Some(Watts::new(3_100_000)),
        ..told_powers()
    };
    let (values, judgement) = hybrid().after(5, wild);
    let doubted: Vec<Quantity> = judgement
        .faults
        .iter()
        .map(|fault| fault.quantity)
        .collect();
    assert_eq!(doubted, [Quantity::pv_power, Quantity::battery_power]);
    assert_eq!(
        (values.pv_power, values.battery_power),
        (None, None),
        "there may be more strings and batteries than the sums know of"
    );
    assert_eq!(
        (values.battery_charge_power, values.battery_discharge_power),
        (None, None)
    );
}

#[test]
fn a_profile_widens_ranges_also_of_what_is_alike() {
    let highest = |quantity| {
        let ranges = ranges(&HYBRID);
        let range = ranges.iter().find(|range| range.quantity == quantity);
        range.map(|range| range.highest)
    };
    for (quantity, expected) in [
        (Quantity::battery_voltage, 1000),
        (Quantity::battery2_voltage, 1000),
        (Quantity::pv1_voltage, 1100),
        (Quantity::pv2_voltage, 1100),
        (Quantity::pv3_voltage, 1100),
        (Quantity::pv4_voltage, 900),
        (Quantity::pv3_current, 30),
        (Quantity::grid_power, 60_000),
        (Quantity::grid_l3_power, 60_000),
        (Quantity::inverter_l2_power, 20_000),
        (Quantity::inverter_l3_voltage, 270),
        (Quantity::bus_voltage, 1200),
    ] {
        assert_eq!(highest(quantity), Some(expected), "{quantity}");
    }
}

#[test]
fn every_measurement_but_the_link_and_the_meters_has_a_range() {
    use kstar_model::catalogue::Group;
    use kstar_model::scalar::Kind;
    let profile = Profile::of(MAX_POWER);
    let ranges: Vec<Range> = ranges(&profile)
        .into_iter()
        .chain(told_ranges(&profile))
        .collect();
    for quantity in Quantity::ALL {
        let found = ranges.iter().filter(|range| range.quantity == *quantity);
        let description = quantity.description();
        let expected =
            matches!(description.kind, Kind::Measurement) && description.group != Group::Link;
        let is_counter = matches!(description.kind, Kind::Counter);
        assert!(
            is_counter || found.count() == usize::from(expected),
            "{quantity}"
        );
    }
}

#[test]
fn a_load_of_nothing_is_normal_where_the_profile_says_so() {
    let mut zero = sane_but(Quantity::load_power, 0);
    zero.grid_power = Some(Watts::new(0));
    derive_anew(&mut zero);
    let (values, judgement) = hybrid().after(5, zero.clone());
    assert_eq!((values, judgement.faults), (zero, vec![]));
}

#[test]
fn a_grid_that_sags_on_three_phases_is_one_doubt_and_no_other_frame() {
    let sagging = Values {
        grid_voltage: Some(Volts::new(1700)),
        grid_l2_voltage: Some(Volts::new(1710)),
        grid_l3_voltage: Some(Volts::new(1690)),
        ..sane()
    };
    let (values, judgement) = hybrid().after(5, sagging);
    assert!(!judgement.refused);
    assert_eq!(judgement.faults.len(), 3);
    assert_eq!((values.grid_voltage, values.grid_l3_voltage), (None, None));
}

#[test]
fn the_inverters_own_counters_are_judged_and_grow_in_their_own_steps() {
    let counted = |hundredths| Values {
        inverter_grid_import_energy_total: Some(KilowattHours::new(hundredths)),
        ..sane()
    };
    let mut house = house();
    house.after(5, counted(123_456));
    let before = house.gate.baseline().clone();
    assert_eq!(house.after(5, counted(123_455)).1.faults.len(), 1);
    // 20 kW, and what may come at once.
    assert_eq!(house.after(360, counted(123_456 + 304)).1.faults.len(), 1);
    assert_eq!(house.after(0, counted(123_456 + 200)).1.faults.len(), 0);
    let grown = house.gate.growth(&before);
    assert_eq!(
        grown.of(Quantity::inverter_grid_import_energy_total),
        Some(200)
    );
}
