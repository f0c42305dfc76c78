//! Captured replies against what another decoder makes of them: goodwe 0.4.10.
//!
//! The captures are not ours to pass on, so they lie beside the repository. Without them these tests say so and check
//! nothing, except on CI, where that is a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use kstar_model::catalogue::Quantity::{self, *};
use kstar_model::catalogue::Values;
use kstar_source_modbus::families::goodwe_dt::GOODWE_DT;
use kstar_source_modbus::families::goodwe_et::GOODWE_ET;
use kstar_source_modbus::families::{Family, Machine};
use kstar_source_modbus::frame::{Answer, Request};
use kstar_source_modbus::framing::rtu_in_udp;
use kstar_source_modbus::registers::Registers;
use serde_json::{Map, Value};

/// Every capture, and what stands in it that goodwe shows otherwise, with the reason. One that lies in the folder and is
/// missing here fails the tests.
#[rustfmt::skip]
const CAPTURES: &[(&str, &[(&str, &str)])] = &[
    ("gw10k-et-running-data", &[]),
    ("gw10k-et-running-data-two-frames", &[]),
    ("gw6000-eh-running-data", &[
        ("pgrid", ONE_PHASE), ("backup_p1", ONE_PHASE), ("load_p1", ONE_PHASE),
        ("vbattery1", NO_BATTERY), ("ibattery1", NO_BATTERY), ("pbattery1", NO_BATTERY),
    ]),
    ("gw10k-et-battery-info", &[
        ("battery_max_cell_temp", UNKNOWN_AS_0), ("battery_min_cell_temp", UNKNOWN_AS_0),
        ("battery_max_cell_voltage", UNKNOWN_AS_0), ("battery_min_cell_voltage", UNKNOWN_AS_0),
    ]),
    ("gw10k-et-meter-data", &[]),
    ("gw25k-et-meter-data-extended", &[
        ("meter_e_total_exp", "0 in both means that this machine does not count (G 6)"),
        ("meter_e_total_imp", "0 in both means that this machine does not count (G 6)"),
    ]),
    ("gw5000d-ns-running-data", &[
        ("igrid2", ONE_PHASE), ("igrid3", ONE_PHASE), ("vgrid2", ONE_PHASE), ("vgrid3", ONE_PHASE),
        ("vpv3", MISSING_STRING), ("ipv3", MISSING_STRING), ("ppv3", MISSING_STRING),
        ("derating_mode", "FFFF in both registers; goodwe shows 0"),
    ]),
    ("gw10k-ms-30-tcp-running-data", &[
        ("vgrid2", ONE_PHASE), ("vgrid3", ONE_PHASE), ("igrid2", ONE_PHASE), ("igrid3", ONE_PHASE),
        ("derating_mode", "FFFF in both registers; goodwe shows 0"),
    ]),
    ("gw10k-et-device-info", &[]),
    ("gw20k-et-mppt-data", &[]),
];

const ONE_PHASE: &str = "a machine of one phase, whose phase is the whole";
const NO_BATTERY: &str = "there is no battery";
const UNKNOWN_AS_0: &str = "0 means unknown (G 7)";
const MISSING_STRING: &str = "FFFF in a string that the machine does not have; goodwe shows 0";

/// The fields of running data: goodwe's name, ours, and the sign that brings its value to ours.
#[rustfmt::skip]
const ET: &[(&str, Quantity, f64)] = &[
    ("vpv1", pv1_voltage, 1.0), ("ipv1", pv1_current, 1.0), ("ppv1", pv1_power, 1.0), ("pv1_mode", pv1_mode, 1.0),
    ("vpv2", pv2_voltage, 1.0), ("ipv2", pv2_current, 1.0), ("ppv2", pv2_power, 1.0), ("pv2_mode", pv2_mode, 1.0),
    ("ppv", pv_power, 1.0),
    ("vgrid", grid_voltage, 1.0), ("igrid", inverter_current, 1.0), ("fgrid", grid_frequency, 1.0), ("pgrid", inverter_l1_power, 1.0),
    ("vgrid2", grid_l2_voltage, 1.0), ("igrid2", inverter_l2_current, 1.0), ("pgrid2", inverter_l2_power, 1.0),
    ("vgrid3", grid_l3_voltage, 1.0), ("igrid3", inverter_l3_current, 1.0), ("pgrid3", inverter_l3_power, 1.0),
    ("total_inverter_power", inverter_power, 1.0), ("active_power", grid_power, -1.0),
    ("backup_v1", backup_voltage, 1.0), ("backup_i1", backup_current, 1.0), ("backup_f1", backup_frequency, 1.0),
    ("load_mode1", backup_mode, 1.0), ("backup_p1", backup_l1_power, 1.0),
    ("backup_v2", backup_l2_voltage, 1.0), ("backup_i2", backup_l2_current, 1.0), ("backup_p2", backup_l2_power, 1.0),
    ("backup_v3", backup_l3_voltage, 1.0), ("backup_i3", backup_l3_current, 1.0), ("backup_p3", backup_l3_power, 1.0),
    ("load_p1", load_l1_power, 1.0), ("load_p2", load_l2_power, 1.0), ("load_p3", load_l3_power, 1.0),
    ("backup_ptotal", backup_power, 1.0), ("load_ptotal", load_power, 1.0),
    ("temperature_air", air_temperature, 1.0), ("temperature", inverter_temperature, 1.0), ("bus_voltage", bus_voltage, 1.0),
    ("vbattery1", battery_voltage, 1.0), ("ibattery1", battery_current, -1.0), ("pbattery1", battery_power, -1.0),
    ("battery_mode", battery_mode, 1.0), ("error_codes", error_bits, 1.0), ("diagnose_result", diagnostics, 1.0),
    ("e_total", inverter_pv_energy_total, 1.0), ("e_day", inverter_pv_energy_today, 1.0),
    ("e_total_exp", energy_total, 1.0), ("e_day_exp", energy_today, 1.0), ("h_total", operating_hours, 1.0),
    ("e_load_total", load_energy_total, 1.0), ("e_load_day", load_energy_today, 1.0),
    ("e_bat_charge_total", inverter_battery_charge_energy_total, 1.0), ("e_bat_charge_day", inverter_battery_charge_energy_today, 1.0),
    ("e_bat_discharge_total", inverter_battery_discharge_energy_total, 1.0),
    ("e_bat_discharge_day", inverter_battery_discharge_energy_today, 1.0),
    // The battery.
    ("battery_temperature", battery_temperature, 1.0), ("battery_charge_limit", battery_charge_limit, 1.0),
    ("battery_discharge_limit", battery_discharge_limit, 1.0), ("battery_soc", battery_soc, 1.0), ("battery_soh", battery_soh, 1.0),
    ("battery_max_cell_temp", battery_cell_temperature_max, 1.0), ("battery_min_cell_temp", battery_cell_temperature_min, 1.0),
    ("battery_max_cell_voltage", battery_cell_voltage_max, 1.0), ("battery_min_cell_voltage", battery_cell_voltage_min, 1.0),
    ("battery_error_l", battery_alarms, 1.0), ("battery_warning_l", bms_warnings, 1.0),
    // The meter.
    ("meter_active_power1", grid_l1_power, -1.0), ("meter_active_power2", grid_l2_power, -1.0), ("meter_active_power3", grid_l3_power, -1.0),
    ("meter_e_total_exp", inverter_grid_export_energy_total, 1.0), ("meter_e_total_imp", inverter_grid_import_energy_total, 1.0),
];

#[rustfmt::skip]
const DT: &[(&str, Quantity, f64)] = &[
    ("vpv1", pv1_voltage, 1.0), ("ipv1", pv1_current, 1.0), ("ppv1", pv1_power, 1.0),
    ("vpv2", pv2_voltage, 1.0), ("ipv2", pv2_current, 1.0), ("ppv2", pv2_power, 1.0),
    ("vpv3", pv3_voltage, 1.0), ("ipv3", pv3_current, 1.0), ("ppv3", pv3_power, 1.0),
    ("vgrid1", grid_voltage, 1.0), ("vgrid2", grid_l2_voltage, 1.0), ("vgrid3", grid_l3_voltage, 1.0),
    ("igrid1", inverter_current, 1.0), ("igrid2", inverter_l2_current, 1.0), ("igrid3", inverter_l3_current, 1.0),
    ("fgrid1", grid_frequency, 1.0), ("total_inverter_power", inverter_power, 1.0), ("error_codes", error_bits, 1.0),
    ("temperature", inverter_temperature, 1.0), ("e_day", energy_today, 1.0), ("e_total", energy_total, 1.0),
    ("h_total", operating_hours, 1.0), ("vbus", bus_voltage, 1.0), ("derating_mode", derating, 1.0),
];

/// What goodwe shows and we do not, or what is checked by itself.
fn is_not_ours(field: &str) -> bool {
    const OTHERS: &[&str] = &[
        "timestamp",
        "grid_mode",
        "grid_in_out",
        "reactive_power",
        "apparent_power",
        "ups_load",
        "temperature_module",
        "function_bit",
        "nbus_voltage",
        "warning_code",
        "safety_country",
        "work_mode",
        "operation_mode",
        "errors",
        "e_total_imp",
        "e_day_imp",
        "house_consumption",
        "load_mode2",
        "load_mode3",
        "backup_f2",
        "backup_f3",
        "fgrid2",
        "fgrid3",
    ];
    OTHERS.contains(&field) || field.ends_with("_label")
}

/// The values of a capture. What the meter and the battery tell only means something beside running data.
fn decode(folder: &Path, family: &'static Family, first: u16, words: &[u16]) -> Values {
    let base = registers_of(folder, &GOODWE_ET, "gw10k-et-running-data", 35100, 125);
    let mut registers = Registers::default();
    if matches!(first, 36000 | 37000) {
        registers.insert(35100, &base);
    }
    registers.insert(first, words);
    let mut values = family.decode(&registers, &mut Machine::default());
    values.derive();
    values
}

/// The registers that a capture holds.
fn registers_of(folder: &Path, family: &Family, name: &str, first: u16, count: u16) -> Vec<u16> {
    let bytes = hex(&fs::read_to_string(folder.join(format!("{name}.hex"))).expect("readable"));
    let request = request(family, first, count).expect("asked for");
    let answer = if name.contains("-tcp-") {
        request.answer(&bytes[6..]).map(|(answer, _)| answer)
    } else {
        rtu_in_udp::accept(&request, &bytes)
    };
    let Ok(Answer::Registers(words)) = answer else {
        panic!("{name}: {answer:?}");
    };
    words
}

fn number(values: &Values, quantity: Quantity) -> Option<f64> {
    let description = quantity.description();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let raw = values.raw(quantity)? as f64;
    Some(raw / 10_f64.powi(description.decimals.into()))
}

fn hex(text: &str) -> Vec<u8> {
    let text = text.trim();
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).expect("hex"))
        .collect()
}

/// The request of a family that asks for these registers.
fn request(family: &Family, first: u16, count: u16) -> Option<Request> {
    let asked = [first.to_be_bytes(), count.to_be_bytes()].concat();
    let mut requests = family
        .blocks
        .iter()
        .flat_map(|block| block.requests(family.unit));
    requests.find(|request| request.bytes()[2..] == asked)
}

#[test]
fn every_capture_decodes_to_what_goodwe_makes_of_it() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/packets/modbus");
    let Ok(files) = fs::read_dir(&folder) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "{} is missing",
            folder.display()
        );
        let _ = writeln!(
            std::io::stderr(),
            "NOT TESTED: the captures in ../shared/packets/modbus are missing"
        );
        return;
    };
    let mut names: BTreeSet<String> = files
        .filter_map(|file| {
            file.expect("a file")
                .file_name()
                .into_string()
                .ok()?
                .strip_suffix(".hex")
                .map(str::to_owned)
        })
        .collect();
    let mut asserted = 0;
    for (name, exceptions) in CAPTURES {
        assert!(names.remove(*name), "{name} is not in the folder");
        asserted += check(&folder, name, exceptions);
    }
    assert!(names.is_empty(), "not tested: {names:?}");
    assert!(asserted > 200, "only {asserted} values were compared");
}

/// Compares every field that goodwe shows; how many.
fn check(folder: &Path, name: &str, exceptions: &[(&str, &str)]) -> usize {
    let text = fs::read_to_string(folder.join(format!("{name}.goodwe.json"))).expect("readable");
    let decoded: Map<String, Value> = serde_json::from_str(&text).expect("JSON");
    let get = |key: &str| {
        decoded[key]
            .as_u64()
            .and_then(|number| u16::try_from(number).ok())
    };
    let (first, count) = get("first_register")
        .zip(get("registers"))
        .expect("a block");
    let is_dt = first < 35000;
    let (family, fields): (&'static Family, _) = if is_dt {
        (&GOODWE_DT, DT)
    } else {
        (&GOODWE_ET, ET)
    };
    if request(family, first, count).is_none() {
        // Strings of the largest machines: G says that their order is not certain, so they are not asked for.
        assert_eq!(first, 35301, "{name} is not asked for");
        return 0;
    }
    let words = registers_of(folder, family, name, first, count);
    if first == 35000 {
        assert_eq!(
            Registers::text(&with(first, &words), 35003, 8).as_deref(),
            decoded["fields"]["serial_number"].as_str()
        );
        assert_eq!(
            Registers::text(&with(first, &words), 35011, 5).as_deref(),
            decoded["fields"]["model_name"].as_str()
        );
        return 2;
    }
    let values = decode(folder, family, first, &words);
    let by_name: BTreeMap<&str, (Quantity, f64)> = fields
        .iter()
        .map(|(theirs, ours, sign)| (*theirs, (*ours, *sign)))
        .collect();
    let mut compared = 0;
    for (field, value) in decoded["fields"].as_object().expect("fields") {
        if let Some(expected) = as_text(field, value, is_dt) {
            let quantity = Quantity::from_name(if field == "timestamp" {
                "inverter_clock"
            } else {
                "work_mode"
            });
            let found = values
                .get(quantity.expect("a quantity"))
                .map(|value| value.to_string());
            assert_eq!(found.as_deref(), Some(expected.as_str()), "{name}: {field}");
            compared += 1;
            continue;
        }
        let Some((quantity, sign)) = by_name.get(field.as_str()) else {
            let is_block = matches!(first, 36000 | 37000) || is_dt;
            assert!(
                is_not_ours(field) || is_block,
                "{name}: nobody reads {field}"
            );
            continue;
        };
        let found = number(&values, *quantity);
        if let Some((_, reason)) = exceptions.iter().find(|(known, _)| known == field) {
            assert_ne!(
                found,
                value.as_f64(),
                "{name}: {field} agrees although {reason}"
            );
            continue;
        }
        let expected = value.as_f64().map(|value| value * sign);
        let close = |(one, other): (f64, f64)| {
            // A resolution of 0.01 kWh is coarser than theirs of 1 Wh.
            let step = 10_f64.powi(-i32::from(quantity.description().decimals));
            // They round each string's power to whole watts.
            let rounded = if is_dt && field.starts_with("ppv") {
                1.5
            } else {
                0.0
            };
            (one - other).abs() <= step / 2.0 + rounded + 1e-9
        };
        assert!(
            found.zip(expected).is_some_and(close),
            "{name}: {quantity} is {found:?}, and {field} {expected:?}"
        );
        compared += 1;
    }
    for (field, _) in exceptions {
        assert!(
            decoded["fields"].get(*field).is_some(),
            "{name} has no {field}"
        );
    }
    compared
}

/// What we show as a text where they show a date or a code.
fn as_text(field: &str, value: &Value, is_dt: bool) -> Option<String> {
    match field {
        "timestamp" => value.as_str().map(str::to_owned),
        "work_mode" => {
            let labels: &[&str] = if is_dt {
                &["wait", "normal_on_grid", "fault", "unknown_3", "check"]
            } else {
                &[
                    "wait",
                    "normal_on_grid",
                    "normal_off_grid",
                    "fault",
                    "updating",
                    "check",
                ]
            };
            let code = usize::try_from(value.as_u64()?).ok()?;
            labels.get(code).map(|label| (*label).to_owned())
        }
        _ => None,
    }
}

fn with(first: u16, words: &[u16]) -> Registers<'_> {
    let mut registers = Registers::default();
    registers.insert(first, words);
    registers
}
