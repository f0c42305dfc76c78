//! Registers built from the figures of the protocol notes, one quantity at a time.

use kstar_model::catalogue::Quantity::{self, *};
use kstar_model::catalogue::Values;
use kstar_source_modbus::families::{Family, Machine};
use kstar_source_modbus::registers::Registers;

/// Registers, what they make, and how that is shown; nothing if it is missing.
type Figure = (Registered, Quantity, Option<&'static str>);

const LOW: u16 = 0xffff;

/// Registers and what they hold.
type Registered = &'static [(u16, u16)];

/// What machines hold besides the registers of a figure: blocks of zeros, and what makes a machine of three phases with two
/// batteries and a meter.
fn base(family: &Family) -> (&'static [(u16, usize)], Registered) {
    match family.name {
        "kstar-hybrid" => (
            &[
                (3000, 125),
                (3125, 29),
                (3292, 10),
                (3450, 1),
                (3494, 1),
                (3538, 1),
            ],
            &[(3045, 32), (3002, 1), (3003, 1)],
        ),
        "goodwe-et" => (
            &[
                (35100, 125),
                (36000, 125),
                (37000, 24),
                (39000, 22),
                (35262, 6),
            ],
            &[
                (35100, 0x1a0b),
                (35101, 0x1e0c),
                (35126, 2300),
                (35131, 2300),
                (35111, 1),
                (35115, 1),
                (35184, 1),
                (35266, 1),
                (36004, 1),
            ],
        ),
        "goodwe-dt" => (
            &[(30100, 73), (30195, 15)],
            &[
                (30100, 0x1a0b),
                (30101, 0x1e0c),
                (30107, 1),
                (30109, 1),
                (30119, 2300),
                (30120, 2300),
                (30209, 1),
            ],
        ),
        other => panic!("{other} has no base"),
    }
}

/// The values of such a machine with these registers.
fn decode(family: &'static Family, set: &[(u16, u16)]) -> Values {
    let (blocks, usual) = base(family);
    let mut blocks: Vec<(u16, Vec<u16>)> = blocks
        .iter()
        .map(|(first, count)| (*first, vec![0; *count]))
        .collect();
    for (register, word) in usual.iter().chain(set) {
        let place = blocks
            .iter_mut()
            .find_map(|(first, words)| words.get_mut(usize::from(register.checked_sub(*first)?)));
        *place.unwrap_or_else(|| panic!("{register} is in no block")) = *word;
    }
    let mut registers = Registers::default();
    for (first, words) in &blocks {
        registers.insert(*first, words);
    }
    let mut values = family.decode(&registers, &mut Machine::default());
    values.derive();
    values
}

/// Checks all figures of a family; the quantities that were asserted to be there.
pub(crate) fn check(family: &'static Family) -> Vec<Quantity> {
    let figures = match family.name {
        "kstar-hybrid" => KSTAR_HYBRID,
        "goodwe-et" => GOODWE_ET,
        _ => GOODWE_DT,
    };
    let mut asserted = Vec::new();
    for (set, quantity, expected) in figures {
        let values = decode(family, set);
        let found = values.get(*quantity).map(|value| value.to_string());
        assert_eq!(
            found.as_deref(),
            *expected,
            "{}: {quantity} from {set:?}",
            family.name
        );
        if expected.is_some() {
            asserted.push(*quantity);
        }
    }
    asserted
}

/// PROTOCOL-SOLARMAN 3.
#[rustfmt::skip]
const KSTAR_HYBRID: &[Figure] = &[
    // 3.1: V in tenths, A in hundredths, W.
    (&[(3000, 3521)], pv1_voltage, Some("352.1")),
    (&[(3001, 3000)], pv2_voltage, Some("300")),
    (&[(3002, 2500)], pv3_voltage, Some("250")),
    (&[(3003, 2501)], pv4_voltage, Some("250.1")),
    (&[(3012, 1234)], pv1_current, Some("12.3")),
    (&[(3013, 1235)], pv2_current, Some("12.4")),
    (&[(3014, 100)], pv3_current, Some("1")),
    (&[(3015, 104)], pv4_current, Some("1")),
    (&[(3024, 4321)], pv1_power, Some("4321")),
    (&[(3025, 1)], pv2_power, Some("1")),
    (&[(3026, 20)], pv3_power, Some("20")),
    (&[(3027, 30)], pv4_power, Some("30")),
    (&[(3024, 1000), (3025, 200), (3026, 30), (3027, 4)], pv_power, Some("1234")),
    (&[(3002, 0), (3003, 0), (3024, 1000), (3025, 200), (3026, 0), (3027, 0)], pv_power, Some("1200")),
    (&[(3002, 0)], pv3_voltage, None),
    (&[(3003, LOW)], pv4_voltage, None),
    (&[(3036, 287)], inverter_pv_energy_today, Some("28.7")),
    (&[(3041, 1), (3042, 2)], inverter_pv_energy_total, Some("6553.8")),
    // 3.2.
    (&[(3044, 1)], operation_strategy, Some("time_of_use")),
    (&[(3044, 9)], operation_strategy, Some("unknown_9")),
    (&[(3050, 0x80)], alarms, Some("bit_7")),
    (&[(3049, 0x10), (3050, 1)], alarm_bits, Some("1048577")),
    (&[(3049, 0x10), (3050, 1)], alarms, Some("bit_0,bit_20")),
    (&[(3052, 0x80)], kstar_errors, Some("bit_7")),
    (&[(3052, 0x80)], kstar_error_bits, Some("128")),
    (&[], kstar_errors, Some("none")),
    (&[(3053, 4012)], bus_voltage, Some("401.2")),
    (&[(3055, 415)], inverter_temperature, Some("41.5")),
    (&[(3055, 0x7fff)], inverter_temperature, None),
    (&[(3056, 0xfff6)], battery_heatsink_temperature, Some("-1")),
    (&[(3057, 333)], case_temperature, Some("33.3")),
    // 3.3: + discharging.
    (&[(3062, 6)], battery_type, Some("lithium_iron_phosphate")),
    (&[(3062, 1)], battery_type, Some("lead_acid")),
    (&[(3063, 5234)], battery_voltage, Some("52.3")),
    (&[(3064, 123)], battery_current, Some("-12.3")),
    (&[(3064, 0xff85)], battery_current, Some("12.3")),
    (&[(3065, 2500)], battery_power, Some("-2500")),
    (&[(3065, 0xf63c)], battery_power, Some("2500")),
    (&[(3065, 2500)], battery_discharge_power, Some("2500")),
    (&[(3066, 874)], battery_soc, Some("87")),
    (&[(3066, 875)], battery_soc, Some("88")),
    (&[(3067, 251)], battery_temperature, Some("25.1")),
    (&[(3062, 1), (3067, 0)], battery_temperature, None),
    (&[(3062, 6), (3067, 0)], battery_temperature, Some("0")),
    (&[(3075, 990)], battery_soh, Some("99")),
    (&[(3075, 0)], battery_soh, None),
    (&[(3294, 71)], inverter_battery_discharge_energy_today, Some("7.1")),
    (&[(3301, 82)], inverter_battery_charge_energy_today, Some("8.2")),
    (&[(3450, 91)], battery_pack1_soc, Some("91")),
    (&[(3494, 92)], battery_pack2_soc, Some("92")),
    (&[(3538, 93)], battery_pack3_soc, Some("93")),
    // 3.4: + export; the totals are sums over the phases.
    (&[(3097, 2317)], grid_voltage, Some("231.7")),
    (&[(3098, 4998)], grid_frequency, Some("49.98")),
    (&[(3099, 1234)], grid_l1_current, Some("1.2")),
    (&[(3100, 300)], grid_l1_power, Some("-300")),
    (&[(3101, 2301)], grid_l2_voltage, Some("230.1")),
    (&[(3103, 0xfb2e)], grid_l2_current, Some("-1.2")),
    (&[(3104, 0xfed4)], grid_l2_power, Some("300")),
    (&[(3105, 2302)], grid_l3_voltage, Some("230.2")),
    (&[(3107, 1250)], grid_l3_current, Some("1.3")),
    (&[(3108, 1)], grid_l3_power, Some("-1")),
    (&[(3100, 300), (3104, 0xff38), (3108, 50)], grid_power, Some("-150")),
    (&[(3100, 300), (3104, 0xff38), (3108, 50)], grid_export_power, Some("150")),
    (&[(3100, 300)], grid_direction, Some("exporting")),
    (&[(3100, 0xfed4)], grid_direction, Some("importing")),
    (&[(3100, 30)], grid_direction, Some("idle")),
    (&[(3109, 12)], inverter_grid_import_energy_today, Some("1.2")),
    (&[(3114, 0), (3115, 12345)], inverter_grid_import_energy_total, Some("1234.5")),
    (&[(3116, 34)], inverter_grid_export_energy_today, Some("3.4")),
    (&[(3121, 1), (3122, 0)], inverter_grid_export_energy_total, Some("6553.6")),
    (&[(3123, 2318)], inverter_voltage, Some("231.8")),
    (&[(3124, 0xff38)], inverter_current, Some("-2")),
    (&[(3125, 5001)], inverter_frequency, Some("50.01")),
    (&[(3125, 5001)], backup_frequency, Some("50.01")),
    (&[(3126, 1500)], inverter_l1_power, Some("1500")),
    (&[(3127, 2319)], inverter_l2_voltage, Some("231.9")),
    (&[(3128, 250)], inverter_l2_current, Some("2.5")),
    (&[(3130, 0xfffe)], inverter_l2_power, Some("-2")),
    (&[(3131, 2320)], inverter_l3_voltage, Some("232")),
    (&[(3132, 260)], inverter_l3_current, Some("2.6")),
    (&[(3134, 700)], inverter_l3_power, Some("700")),
    (&[(3126, 1500), (3130, 200), (3134, 700)], inverter_power, Some("2400")),
    (&[(3135, 2300)], backup_voltage, Some("230")),
    (&[(3136, 150)], backup_current, Some("1.5")),
    (&[(3137, 345)], backup_l1_power, Some("345")),
    (&[(3138, 2301)], backup_l2_voltage, Some("230.1")),
    (&[(3139, 160)], backup_l2_current, Some("1.6")),
    (&[(3140, 346)], backup_l2_power, Some("346")),
    (&[(3141, 2302)], backup_l3_voltage, Some("230.2")),
    (&[(3142, 170)], backup_l3_current, Some("1.7")),
    (&[(3143, 347)], backup_l3_power, Some("347")),
    (&[(3137, 1), (3140, 2), (3143, 3)], backup_power, Some("6")),
    (&[(3144, 500)], load_l1_power, Some("500")),
    (&[(3145, 501)], load_l2_power, Some("501")),
    (&[(3146, 502)], load_l3_power, Some("502")),
    (&[(3144, 500), (3145, 501), (3146, 502)], load_power, Some("1503")),
    (&[(3147, 71)], load_energy_today, Some("7.1")),
    (&[(3152, 0), (3153, 45678)], load_energy_total, Some("4567.8")),
    // 3.7, 3.2: codes of the machine's own.
    (&[(3046, 0)], work_mode, Some("initializing")),
    (&[(3046, 1)], work_mode, Some("standby")),
    (&[(3046, 2)], work_mode, Some("normal_on_grid")),
    (&[(3046, 3)], work_mode, Some("normal_off_grid")),
    (&[(3046, 4)], work_mode, Some("charging_from_grid")),
    (&[(3046, 5)], work_mode, Some("charging_from_pv")),
    (&[(3046, 6)], work_mode, Some("grid_bypass")),
    (&[(3046, 7)], work_mode, Some("fault")),
    (&[(3046, 8)], work_mode, Some("debug")),
    (&[(3046, 9)], work_mode, Some("forced_charge")),
    (&[(3046, 10)], work_mode, Some("switched_on_separately")),
    (&[(3046, 11)], work_mode, Some("updating")),
    (&[(3046, 12)], work_mode, Some("updating")),
    (&[(3046, 13)], work_mode, Some("permanent_error")),
    (&[(3046, 14)], work_mode, Some("unknown_14")),
    // Ours is `fault`.
    (&[(3046, 16)], work_mode, None),
    (&[(3047, 0)], inverter_state, Some("standby")),
    (&[(3047, 1)], inverter_state, Some("off_grid")),
    (&[(3047, 2)], inverter_state, Some("on_grid")),
    (&[(3047, 3)], inverter_state, Some("going_on_grid")),
    (&[(3047, 4)], inverter_state, Some("going_off_grid")),
    (&[(3048, 0)], battery_mode, Some("standby")),
    (&[(3048, 1)], battery_mode, Some("soft_start")),
    (&[(3048, 2)], battery_mode, Some("charging")),
    (&[(3048, 3)], battery_mode, Some("discharging")),
    // 3.8: a machine of one phase, whatever its other phases read.
    (&[(3045, 9), (3100, 300), (3104, 99), (3108, 99)], grid_power, Some("-300")),
    (&[(3045, 9), (3100, 300)], grid_l1_power, None),
    (&[(3045, 9), (3101, 2300)], grid_l2_voltage, None),
    (&[(3045, 9), (3144, 7), (3145, 99)], load_power, Some("7")),
    // A code that is in no list: by whether there is a second phase.
    (&[(3045, 77), (3101, 2300), (3100, 1), (3104, 2), (3108, 3)], grid_power, Some("-6")),
    (&[(3045, 77), (3101, 0), (3100, 1), (3104, 2), (3108, 3)], grid_power, Some("-1")),
];

/// PROTOCOL-GOODWE-MODBUS 5 to 7.
#[rustfmt::skip]
const GOODWE_ET: &[Figure] = &[
    (&[(35100, 0x1a0b), (35101, 0x1e0c), (35102, 0x2d3b)], inverter_clock, Some("2026-11-30T12:45:59")),
    (&[(35103, 3326)], pv1_voltage, Some("332.6")),
    (&[(35104, 51)], pv1_current, Some("5.1")),
    (&[(35105, 0), (35106, 1695)], pv1_power, Some("1695")),
    (&[(35107, 3327)], pv2_voltage, Some("332.7")),
    (&[(35108, 53)], pv2_current, Some("5.3")),
    (&[(35110, 1761)], pv2_power, Some("1761")),
    (&[(35111, 3328)], pv3_voltage, Some("332.8")),
    (&[(35112, 54)], pv3_current, Some("5.4")),
    (&[(35114, 1762)], pv3_power, Some("1762")),
    (&[(35115, 3329)], pv4_voltage, Some("332.9")),
    (&[(35116, 55)], pv4_current, Some("5.5")),
    (&[(35118, 1763)], pv4_power, Some("1763")),
    (&[(35119, 0x0102)], pv4_mode, Some("no_power")),
    (&[(35119, 0x0102)], pv3_mode, Some("producing")),
    (&[(35120, 0x0001)], pv2_mode, Some("not_connected")),
    (&[(35120, 0xff01)], pv2_mode, None),
    (&[(35120, 0x0001)], pv1_mode, Some("no_power")),
    (&[(35106, 1), (35110, 20), (35114, 300), (35118, 4000)], pv_power, Some("4321")),
    (&[(35107, LOW), (35108, LOW), (35109, LOW), (35110, LOW), (35111, 0), (35115, 0), (35106, 7)], pv_power, Some("7")),
    (&[(35121, 2393)], grid_voltage, Some("239.3")),
    (&[(35122, 15)], inverter_current, Some("1.5")),
    (&[(35123, 4999)], grid_frequency, Some("49.99")),
    (&[(35125, 336)], inverter_l1_power, Some("336")),
    (&[(35126, 2415)], grid_l2_voltage, Some("241.5")),
    (&[(35127, 13)], inverter_l2_current, Some("1.3")),
    (&[(35130, 287)], inverter_l2_power, Some("287")),
    (&[(35131, 2411)], grid_l3_voltage, Some("241.1")),
    (&[(35132, 11)], inverter_l3_current, Some("1.1")),
    (&[(35135, 206)], inverter_l3_power, Some("206")),
    (&[(35137, 0), (35138, 831)], inverter_power, Some("831")),
    (&[(35137, LOW), (35138, 0xfff0)], inverter_power, Some("-16")),
    (&[(35139, LOW), (35140, 0xfffd)], grid_power, Some("3")),
    // A high word of 0 beside a negative low one was captured.
    (&[(35139, 0), (35140, 0xff5c)], grid_power, Some("164")),
    (&[(35140, 500)], grid_export_power, Some("500")),
    (&[(35140, 500)], grid_direction, Some("exporting")),
    (&[(35145, 2390)], backup_voltage, Some("239")),
    (&[(35146, 6)], backup_current, Some("0.6")),
    (&[(35147, 4998)], backup_frequency, Some("49.98")),
    (&[(35148, 1)], backup_mode, Some("connected")),
    (&[(35150, 107)], backup_l1_power, Some("107")),
    (&[(35151, 2413)], backup_l2_voltage, Some("241.3")),
    (&[(35152, 9)], backup_l2_current, Some("0.9")),
    (&[(35156, 189)], backup_l2_power, Some("189")),
    (&[(35157, 2412)], backup_l3_voltage, Some("241.2")),
    (&[(35158, 2)], backup_l3_current, Some("0.2")),
    (&[(35162, 3)], backup_l3_power, Some("3")),
    (&[(35164, 224)], load_l1_power, Some("224")),
    (&[(35166, 80)], load_l2_power, Some("80")),
    (&[(35168, 233)], load_l3_power, Some("233")),
    (&[(35170, 312)], backup_power, Some("312")),
    (&[(35172, 522)], load_power, Some("522")),
    (&[(35174, 510)], air_temperature, Some("51")),
    (&[(35174, LOW)], air_temperature, None),
    (&[(35176, 587)], inverter_temperature, Some("58.7")),
    (&[(35176, 0x7fff)], inverter_temperature, None),
    (&[(35178, 8036)], bus_voltage, Some("803.6")),
    (&[(35180, 2542)], battery_voltage, Some("254.2")),
    (&[(35181, 0xff9e)], battery_current, Some("9.8")),
    (&[(35182, LOW), (35183, 0xf630), (35266, 0)], battery_power, Some("2512")),
    (&[(35182, LOW), (35183, 0xf630), (35264, LOW), (35265, 0xfb1a)], battery_power, Some("3766")),
    (&[(35184, 0), (35180, 1)], battery_voltage, None),
    (&[(35184, 3)], battery_mode, Some("charging")),
    (&[(35187, 0)], work_mode, Some("wait")),
    (&[(35187, 1)], work_mode, Some("normal_on_grid")),
    (&[(35187, 2)], work_mode, Some("normal_off_grid")),
    (&[(35187, 3)], work_mode, Some("fault")),
    (&[(35187, 4)], work_mode, Some("updating")),
    (&[(35187, 5)], work_mode, Some("check")),
    (&[(35190, 0x200)], errors, Some("utility_loss")),
    (&[(35190, 0x200)], error_bits, Some("512")),
    (&[(35191, 0), (35192, 60853)], inverter_pv_energy_total, Some("6085.3")),
    (&[(35194, 125)], inverter_pv_energy_today, Some("12.5")),
    (&[(35195, 0), (35196, 47186)], energy_total, Some("4718.6")),
    (&[(35198, 9246)], operating_hours, Some("9246")),
    (&[(35199, 98)], energy_today, Some("9.8")),
    (&[(35203, 1), (35204, 22666)], load_energy_total, Some("8820.2")),
    (&[(35205, 116)], load_energy_today, Some("11.6")),
    (&[(35207, 27581)], inverter_battery_charge_energy_total, Some("2758.1")),
    (&[(35208, 53)], inverter_battery_charge_energy_today, Some("5.3")),
    (&[(35210, 24421)], inverter_battery_discharge_energy_total, Some("2442.1")),
    (&[(35211, 29)], inverter_battery_discharge_energy_today, Some("2.9")),
    (&[(35220, 0), (35221, 2)], diagnostics, Some("soc_low")),
    (&[(35262, 4178)], battery2_voltage, Some("417.8")),
    (&[(35263, 0xffe2)], battery2_current, Some("3")),
    (&[(35264, LOW), (35265, 0xfb1a)], battery2_power, Some("1254")),
    (&[(35266, 3)], battery2_mode, Some("charging")),
    (&[(35266, 0), (35262, 4178)], battery2_voltage, None),
    (&[(36019, LOW), (36020, 0xffc7)], grid_l1_power, Some("57")),
    (&[(36022, 46)], grid_l2_power, Some("-46")),
    (&[(36024, 6)], grid_l3_power, Some("-6")),
    (&[(36004, 0), (36020, 57)], grid_l1_power, None),
    // 36104 and 36120 count hundredths of a kWh; the floats before them, Wh, only count where those are missing.
    (&[(36107, 3555)], inverter_grid_export_energy_total, Some("35.55")),
    (&[(36123, 15)], inverter_grid_import_energy_total, Some("0.15")),
    (&[(37003, 350)], battery_temperature, Some("35")),
    (&[(37004, 25)], battery_charge_limit, Some("25")),
    (&[(37005, 40)], battery_discharge_limit, Some("40")),
    (&[(37007, 68)], battery_soc, Some("68")),
    (&[(37008, 99)], battery_soh, Some("99")),
    (&[(37006, 0x1001)], battery_alarms, Some("charge_over_voltage_2,communication_failure_2")),
    (&[(37012, 1)], battery_alarms, Some("bit_16")),
    (&[(37010, 0x80)], bms_warnings, Some("system_restart")),
    (&[(37020, 281)], battery_cell_temperature_max, Some("28.1")),
    (&[(37021, 270)], battery_cell_temperature_min, Some("27")),
    (&[(37022, 3345)], battery_cell_voltage_max, Some("3.345")),
    (&[(37023, 3301)], battery_cell_voltage_min, Some("3.301")),
    (&[(37023, 0)], battery_cell_voltage_min, None),
    (&[(39005, 77)], battery2_soc, Some("77")),
    // One phase: FFFF in the others.
    (&[(35126, LOW), (35131, LOW), (35125, 5)], inverter_l1_power, None),
];

/// PROTOCOL-GOODWE-MODBUS 9.
#[rustfmt::skip]
const GOODWE_DT: &[Figure] = &[
    (&[(30100, 0x1806), (30101, 0x0209), (30102, 0x0711)], inverter_clock, Some("2024-06-02T09:07:17")),
    (&[(30103, 4006)], pv1_voltage, Some("400.6")),
    (&[(30104, 69)], pv1_current, Some("6.9")),
    (&[(30103, 4006), (30104, 69)], pv1_power, Some("2764.14")),
    (&[(30105, 3640)], pv2_voltage, Some("364")),
    (&[(30106, 36)], pv2_current, Some("3.6")),
    (&[(30107, 3337)], pv3_voltage, Some("333.7")),
    (&[(30108, 62)], pv3_current, Some("6.2")),
    (&[(30109, 3338)], pv4_voltage, Some("333.8")),
    (&[(30110, 63)], pv4_current, Some("6.3")),
    (&[(30103, 1000), (30104, 10), (30111, 2000), (30112, 10)], pv_power, Some("300")),
    (&[(30103, 1000), (30104, 10), (30111, LOW), (30112, LOW)], pv_power, Some("100")),
    (&[(30118, 2411)], grid_voltage, Some("241.1")),
    (&[(30119, 2412)], grid_l2_voltage, Some("241.2")),
    (&[(30120, 2413)], grid_l3_voltage, Some("241.3")),
    (&[(30119, LOW), (30120, LOW)], grid_l2_voltage, None),
    (&[(30119, 0), (30120, 0)], grid_l2_voltage, None),
    (&[(30121, 247)], inverter_current, Some("24.7")),
    (&[(30122, 248)], inverter_l2_current, Some("24.8")),
    (&[(30123, 249)], inverter_l3_current, Some("24.9")),
    (&[(30124, 4998)], grid_frequency, Some("49.98")),
    (&[(30128, 5914)], inverter_power, Some("5914")),
    (&[(30129, 0)], work_mode, Some("wait")),
    (&[(30129, 1)], work_mode, Some("normal_on_grid")),
    (&[(30129, 2)], work_mode, Some("fault")),
    (&[(30129, 4)], work_mode, Some("check")),
    (&[(30131, 0x200)], errors, Some("utility_loss")),
    (&[(30141, 360)], inverter_temperature, Some("36")),
    (&[(30144, 43)], energy_today, Some("4.3")),
    (&[(30144, LOW)], energy_today, None),
    (&[(30146, 9982)], energy_total, Some("998.2")),
    (&[(30145, LOW), (30146, LOW)], energy_total, None),
    (&[(30148, 246)], operating_hours, Some("246")),
    (&[(30163, 3973)], bus_voltage, Some("397.3")),
    (&[(30166, 256)], derating, Some("current")),
    (&[(30195, LOW), (30196, 0xff00)], grid_power, Some("256")),
    (&[(30197, 0), (30198, 12345)], inverter_grid_export_energy_total, Some("12.35")),
    (&[(30199, 1), (30200, 0)], inverter_grid_import_energy_total, Some("65.54")),
    (&[(30209, 2), (30196, 5)], grid_power, None),
];
