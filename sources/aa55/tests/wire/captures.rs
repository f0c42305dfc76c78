//! Captured packets against what two other decoders make of them: goodwe 0.4.10 and kstar.sharp.
//!
//! The captures are not ours to pass on, so they lie beside the repository. Without them these tests say so and
//! check nothing, except on CI, where that is a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use kstar_model::catalogue::Quantity::{self, *};
use kstar_model::catalogue::Values;
use kstar_source::greeting::{self, MacAddress, ModuleAnswer, Unreadable};
use kstar_source::record::Record;
use kstar_source_aa55::wire::device_info::DeviceInfo;
use kstar_source_aa55::wire::frame::Frame;
use kstar_source_aa55::wire::{ApAddress, Refusal, Request, reply, running, settings};
use serde_json::{Map, Value};

use super::asserted::Asserted;

/// What each capture is.
enum Kind {
    /// Running data for one who asked with that address, with the inverter's clock where there is one.
    Running(ApAddress, Option<&'static str>),
    /// Device info, with all that must be read from it.
    DeviceInfo(&'static [(&'static str, &'static str)]),
    /// Settings.
    Settings,
    /// No answer to this request, and why.
    Refused(Request, ApAddress, Refusal),
    /// An answer to the greeting: address, MAC, name.
    Answer([u8; 4], [u8; 6], &'static str),
    /// The greeting itself.
    Greeting,
}
use Kind::{Answer, Greeting, Refused, Running};

const B0: ApAddress = ApAddress::B0;
const C0: ApAddress = ApAddress::C0;

/// Every capture. One that lies in the folder and is missing here fails the tests.
#[rustfmt::skip]
const CAPTURES: &[(&str, Kind)] = &[
    ("kse4000-idle-charge-1", Running(B0, None)),
    ("kse4000-idle-charge-3", Running(B0, None)),
    ("kse4000-import-charge-1", Running(B0, None)),
    ("kse4000-import-charge-2", Running(B0, None)),
    ("kse4000-import-charge-4", Running(B0, None)),
    ("kse4000-import-discharge-heavy", Running(B0, None)),
    ("synthetic-kse-payload81", Running(B0, None)),
    ("synthetic-kse-reply-to-c0", Running(C0, None)),
    ("goodwe-gw5048d-es-running-data", Running(C0, None)),
    ("goodwe-gw5048-em-running-data", Running(C0, Some("2020-09-20T15:43:22"))),
    ("goodwe-mock-esa-running-data", Running(C0, Some("2024-05-26T14:14:18"))),
    ("issue5-gw5048es-running", Running(C0, Some("2020-09-21T14:38:15"))),
    ("issue20-gw5000sbp-stale-running-for-0102", Running(C0, Some("2022-10-22T13:14:37"))),
    ("issue164-gw5048des-running-1", Running(C0, Some("2023-03-24T18:05:20"))),
    ("goodwe-gw5048d-es-device-info", Kind::DeviceInfo(&[
        ("firmware", "2323G"), ("model", "GW5048D-ES"), ("manufacturer", "#10"), ("serial", "95048ESU227W0000"),
        ("nominal_pv_voltage", "360"), ("software_version", "410-04025-23"), ("safety_country", "unknown_33"),
        ("second_software_version", "410-02034-16"), ("code", "3"),
    ])),
    ("goodwe-mock-esa-device-info", Kind::DeviceInfo(&[
        ("firmware", "2525K"), ("model", "GW5048-ESA"), ("manufacturer", "#10"), ("serial", "95048ESA000W0000"),
        ("nominal_pv_voltage", "360"), ("software_version", "410-04025-25"), ("safety_country", "default_50_hz"),
        ("second_software_version", "410-02034-20"), ("code", "1"),
    ])),
    // The binary form of the second generation: only the serial number is text.
    ("goodwe-gw6000-es-20-device-info", Kind::DeviceInfo(&[
        ("serial", "56000ESN00AW0000"), ("safety_country", "south_africa"),
    ])),
    ("goodwe-gw5048d-es-settings-data", Kind::Settings),
    ("goodwe-mock-ack-03ac", Refused(Request::RunningData, C0, Refusal::OtherReply {
        position: 0, control: 0x03, function: 0xac, expected: 0x86,
    })),
    ("issue138-ack-039d-wrong-type", Refused(Request::Settings, C0, Refusal::OtherReply {
        position: 0, control: 0x03, function: 0x9d, expected: 0x89,
    })),
    ("issue280-gw3648em-truncated-50", Refused(Request::RunningData, C0, Refusal::Truncated {
        position: 0, expected: 149, found: 50,
    })),
    ("issue44-gw5000sbp-truncated-device-info-13", Refused(Request::DeviceInfo, C0, Refusal::Truncated {
        position: 0, expected: 86, found: 13,
    })),
    ("issue1-gw5048em-modbus-exception", Refused(Request::RunningData, C0, Refusal::Modbus { function: 0x83 })),
    ("synthetic-kse-bad-checksum", Refused(Request::RunningData, B0, Refusal::Checksum {
        position: 90, computed: 0x0ac4, carried: 0x0ac3,
    })),
    ("synthetic-discovery-reply", Answer([192, 168, 1, 50], [0xac, 0xcf, 0x23, 0, 0, 1], "HF-LPB1x000")),
    ("synthetic-discovery-reply-goodwe-style",
        Answer([192, 168, 1, 212], [0x98, 0xd8, 0x63, 0, 0, 1], "Solar-WiFi000W0000")),
    ("wifikit-discovery-request", Greeting),
];

/// How a field of another decoder becomes a value of ours.
enum How {
    /// The same number.
    Same,
    /// The same number, absent without a BMS, where goodwe gives the 0 that stands there (PROTOCOL 4, 8).
    WithBms,
    /// The same number, absent when it is 0, which batteries send that do not tell (PROTOCOL 4, offset 29).
    UnlessZero,
    /// The same bytes as a signed number; goodwe takes them as unsigned (PROTOCOL 4, offset 47).
    Signed16,
    /// The same number, absent in a payload shorter than that; goodwe invents a 0 (PROTOCOL 3).
    From(usize),
    /// The same code or bits, which stand in ours as a label.
    Raw,
    /// As [`How::Raw`], absent in a payload shorter than that.
    RawFrom(usize),
    /// Other words for the same.
    Words(&'static [(&'static str, &'static str)]),
    /// As [`How::Words`], several joined by commas, absent in a payload shorter than that.
    WordListFrom(usize, &'static [(&'static str, &'static str)]),
    /// Rounded to whole watts, half to even (PROTOCOL 6.1).
    Rounded,
    /// Both strings rounded, then added (PROTOCOL 6.1).
    RoundedStrings,
    /// The opposite sign, and 0 in every mode but charging and discharging (PROTOCOL 6.2).
    Battery,
    /// As [`How::Battery`] and rounded.
    BatteryRounded,
    /// As [`How::BatteryRounded`], what flows in.
    BatteryIn,
    /// As [`How::BatteryRounded`], what flows out.
    BatteryOut,
    /// The opposite sign, and 0 when idle, which goodwe counts as export (PROTOCOL 6.3).
    Grid,
    /// As [`How::Grid`], what flows in.
    GridIn,
    /// As [`How::Grid`], what flows out.
    GridOut,
}
use How::*;

const PV_WORDS: &[(&str, &str)] = &[
    ("PV panels not connected", "not_connected"),
    ("PV panels connected, no power", "no_power"),
    ("PV panels connected, producing power", "producing"),
];

/// Where each of goodwe's fields is found in ours.
const GOODWE: &[(&str, Quantity, How)] = &[
    ("vpv1", pv1_voltage, Same),
    ("ipv1", pv1_current, Same),
    ("ppv1", pv1_power, Rounded),
    ("pv1_mode", pv1_mode, Raw),
    ("pv1_mode_label", pv1_mode, Words(PV_WORDS)),
    ("vpv2", pv2_voltage, Same),
    ("ipv2", pv2_current, Same),
    ("ppv2", pv2_power, Rounded),
    ("pv2_mode", pv2_mode, Raw),
    ("pv2_mode_label", pv2_mode, Words(PV_WORDS)),
    ("ppv", pv_power, RoundedStrings),
    ("vbattery1", battery_voltage, Same),
    ("battery_temperature", battery_temperature, WithBms),
    ("ibattery1", battery_current, Battery),
    ("pbattery1", battery_power, BatteryRounded),
    ("pbattery1", battery_charge_power, BatteryIn),
    ("pbattery1", battery_discharge_power, BatteryOut),
    ("battery_charge_limit", battery_charge_limit, WithBms),
    ("battery_discharge_limit", battery_discharge_limit, WithBms),
    ("battery_error", bms_errors, Raw),
    ("battery_soc", battery_soc, Same),
    ("battery_soh", battery_soh, UnlessZero),
    ("battery_mode", battery_mode, Raw),
    (
        "battery_mode_label",
        battery_mode,
        Words(&[
            ("Standby", "standby"),
            ("Discharge", "discharging"),
            ("Charge", "charging"),
        ]),
    ),
    ("battery_warning", battery_warnings, Raw),
    ("vgrid", grid_voltage, Same),
    ("igrid", inverter_current, Same),
    ("pgrid", grid_power, Grid),
    ("pgrid", grid_import_power, GridIn),
    ("pgrid", grid_export_power, GridOut),
    ("fgrid", grid_frequency, Same),
    ("grid_mode", inverter_state, Raw),
    (
        "grid_mode_label",
        inverter_state,
        Words(&[("Inverter On", "on")]),
    ),
    ("vload", backup_voltage, Same),
    ("iload", backup_current, Same),
    ("pload", load_power, Signed16),
    ("fload", backup_frequency, Same),
    ("load_mode", backup_mode, Raw),
    (
        "load_mode_label",
        backup_mode,
        Words(&[
            ("Inverter and the load is disconnected", "disconnected"),
            ("The inverter is connected to a load", "connected"),
        ]),
    ),
    ("work_mode", work_mode, Raw),
    (
        "work_mode_label",
        work_mode,
        Words(&[("Normal (On-Grid)", "normal_on_grid")]),
    ),
    ("temperature", inverter_temperature, Same),
    ("error_codes", errors, Raw),
    ("error_codes", error_bits, Same),
    ("e_total", energy_total, Same),
    ("h_total", operating_hours, Same),
    ("e_day", energy_today, Same),
    ("e_load_day", load_energy_today, Same),
    ("e_load_total", load_energy_total, Same),
    ("total_power", inverter_power, Same),
    ("grid_in_out", grid_direction, Raw),
    (
        "grid_in_out_label",
        grid_direction,
        Words(&[
            ("Idle", "idle"),
            ("Exporting", "exporting"),
            ("Importing", "importing"),
        ]),
    ),
    ("pback_up", backup_power, From(83)),
    ("diagnose_result", diagnostics, RawFrom(93)),
    (
        "diagnose_result_label",
        diagnostics,
        WordListFrom(
            93,
            &[
                ("", "none"),
                ("Charge time on", "charge_window_on"),
                ("Discharge Driver On", "discharge_driver_on"),
                ("Self-use load light", "self_use_load_light"),
                ("Self-use off", "self_use_off"),
                ("Export power limit set", "export_limit_set"),
                ("PF value set", "power_factor_set"),
                ("Real power limit set", "real_power_limit_set"),
                ("SOC protect off", "soc_protection_off"),
            ],
        ),
    ),
];

/// goodwe's fields that are found nowhere in ours, each with its reason.
const GOODWE_NOT_COMPARED: [(&str, &str); 7] = [
    ("battery_status", "a code of unknown meaning"),
    ("meter_status", "0 on KSE although its meter works"),
    ("effective_work_mode", "a code of unknown meaning"),
    ("effective_relay_control", "bits of unknown meaning"),
    (
        "meter_power_factor",
        "1 in every capture, and invented where it is not sent",
    ),
    (
        "plant_power",
        "pload and pback_up added; who wants the sum adds them",
    ),
    (
        "house_consumption",
        "a balance of the DC side, 1 to 22 % above the load (PROTOCOL 6.4)",
    ),
];

/// Quantities that goodwe does not give.
const NOT_BY_GOODWE: [(Quantity, &str); 2] = [
    (
        inverter_clock,
        "goodwe takes its bytes for energies (PROTOCOL 4.1); asserted from the list of captures",
    ),
    (reply_time, "set by the poller"),
];

/// The captures' folder, if it is there.
fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/packets");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "the captures are missing: {}",
        folder.display()
    );
    None
}

/// The captures' folder; where it is missing, says that a test did not happen.
fn folder_or_say() -> Option<PathBuf> {
    let folder = folder();
    if folder.is_none() {
        // Not `eprintln!`, which the harness hides when a test passes.
        let said = writeln!(
            std::io::stderr(),
            "NOT TESTED: the captures in ../shared/packets are missing"
        );
        said.expect("somebody listens");
    }
    folder
}

/// The bytes of a capture.
fn bytes(name: &str) -> Vec<u8> {
    let path = folder()
        .expect("the caller has looked")
        .join(format!("{name}.hex"));
    let text = fs::read_to_string(&path).expect("a capture");
    let digits = text.trim().as_bytes();
    assert!(digits.len().is_multiple_of(2), "{name}: half a byte");
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        })
        .collect()
}

/// What another decoder makes of a capture.
fn other_decoder(name: &str, decoder: &str, key: &str) -> Map<String, Value> {
    let path = folder()
        .expect("the caller has looked")
        .join(format!("{name}.{decoder}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut whole: Map<String, Value> = serde_json::from_str(&text).expect("JSON");
    match whole.remove(key) {
        Some(Value::Object(fields)) => fields,
        other => panic!("{name}: {key} is {other:?}"),
    }
}

fn number(fields: &Map<String, Value>, field: &str) -> f64 {
    fields
        .get(field)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{field} is no number"))
}

/// A code, or bits.
fn code(fields: &Map<String, Value>, field: &str) -> i64 {
    fields
        .get(field)
        .and_then(Value::as_i64)
        .unwrap_or_else(|| panic!("{field} is no whole number"))
}

/// A number as we write it; `0.0 +` turns a negative zero into zero.
fn text(number: f64) -> String {
    (0.0 + number).to_string()
}

/// Our number of a quantity that must be there.
fn ours(values: &Values, quantity: Quantity) -> f64 {
    let value = values.get(quantity).expect("present");
    value.to_string().parse().expect("a number")
}

/// Asserts that one quantity is what goodwe's field says.
fn check_field(
    context: &str,
    (field, quantity, how): &(&str, Quantity, How),
    (goodwe, values, length): (&Map<String, Value>, &Values, usize),
    asserted: &mut Asserted,
) {
    let context = format!("{context}, goodwe's {field}");
    let quantity = *quantity;
    let word = |words: &[(&str, &'static str)], theirs: &str| {
        words
            .iter()
            .find(|(word, _)| *word == theirs)
            .unwrap_or_else(|| panic!("{context}: {theirs:?} is a new word"))
            .1
    };
    let words = || goodwe.get(*field).and_then(Value::as_str).expect("words");
    let theirs = || number(goodwe, field);
    // Without a direction that battery and grid agree on there is no power (PROTOCOL 6.2, 6.3).
    let moving = |mode: &str, idle: &[i64]| {
        if idle.contains(&code(goodwe, mode)) {
            0.0
        } else {
            1.0
        }
    };
    let battery = || -theirs() * moving("battery_mode", &[0, 1, 4, 5]);
    let grid = || -theirs() * moving("grid_in_out", &[0]);
    let expected = match how {
        Same => Some(text(theirs())),
        WithBms => (code(goodwe, "battery_error") != 1 << 8).then(|| text(theirs())),
        UnlessZero => (code(goodwe, field) != 0).then(|| text(theirs())),
        Signed16 => Some(text(if theirs() < 32_768.0 {
            theirs()
        } else {
            theirs() - 65_536.0
        })),
        From(shortest) => (length >= *shortest).then(|| text(theirs())),
        Battery => Some(text(battery())),
        Grid => Some(text(grid())),
        GridIn => Some(text(grid().max(0.0))),
        GridOut => Some(text((-grid()).max(0.0))),
        Words(list) => Some(word(list, words()).to_owned()),
        WordListFrom(shortest, list) => (length >= *shortest).then(|| {
            let labels: Vec<&str> = words()
                .split(", ")
                .map(|theirs| word(list, theirs))
                .collect();
            labels.join(",")
        }),
        Raw | RawFrom(_) => {
            let shortest = if let RawFrom(shortest) = how {
                *shortest
            } else {
                0
            };
            let expected = (length >= shortest).then(|| code(goodwe, field));
            assert_eq!(values.raw(quantity), expected, "{context}: {quantity}");
            return;
        }
        Rounded | RoundedStrings | BatteryRounded | BatteryIn | BatteryOut => {
            let rounded = |quantity| ours(values, quantity).round_ties_even();
            let (found, expected) = match how {
                RoundedStrings => (rounded(pv1_power) + rounded(pv2_power), theirs()),
                BatteryRounded => (rounded(quantity), battery()),
                BatteryIn => (rounded(quantity), battery().max(0.0)),
                BatteryOut => (rounded(quantity), (-battery()).max(0.0)),
                _ => (rounded(quantity), theirs()),
            };
            assert_eq!(text(found), text(expected), "{context}: {quantity}");
            return;
        }
    };
    asserted.equal(&context, values, quantity, expected.as_deref());
}

/// Asserts that running data is what goodwe says, and that nothing on either side is left over.
fn check_against_goodwe(
    name: &str,
    values: &Values,
    length: usize,
    clock: Option<&str>,
    asserted: &mut Asserted,
) {
    let goodwe = other_decoder(name, "goodwe", "fields");
    let known: BTreeSet<&str> = GOODWE
        .iter()
        .map(|(field, ..)| *field)
        .chain(GOODWE_NOT_COMPARED.map(|(field, _)| field))
        .collect();
    let given: BTreeSet<&str> = goodwe.keys().map(String::as_str).collect();
    assert_eq!(given, known, "{name}: goodwe's fields");
    for field in GOODWE {
        check_field(name, field, (&goodwe, values, length), asserted);
    }
    asserted.equal(name, values, inverter_clock, clock);
    for (quantity, value) in values.present() {
        assert!(
            GOODWE.iter().any(|(_, compared, _)| *compared == quantity)
                || NOT_BY_GOODWE.iter().any(|(other, _)| *other == quantity),
            "{name}: nothing asserts {quantity} = {value}"
        );
    }
}

/// The fields of kstar.sharp that are not compared, each with its reason.
const KSTAR_SHARP_NOT_COMPARED: [(&str, &str); 5] = [
    (
        "/raw_pv/pv1Mode_as_read_from_byte14",
        "read from the wrong byte (PROTOCOL 4, offset 4)",
    ),
    ("/Battery2", "offsets 12, 20 and 27 are no second battery"),
    ("/Battery3", "the state of charge again and two limits"),
    ("/Battery4", "its 25.6 A is bit 8 of the BMS errors"),
    ("/LifetimeDays", "hours divided by 24, cut off"),
];

/// Asserts that a KSE's running data is what kstar.sharp says, and that nothing there is left over.
fn check_against_kstar_sharp(name: &str, values: &Values) {
    let sharp = other_decoder(name, "kstarsharp", "formulas_applied_to_the_bytes");
    let mut given = BTreeMap::new();
    flatten(&Value::Object(sharp), "", &mut given);
    let exact = |quantity| text(ours(values, quantity));
    let whole = |quantity| text(ours(values, quantity).round_ties_even());
    let magnitude = |quantity| text(ours(values, quantity).abs());
    let raw = |quantity| values.raw(quantity).expect("present");
    // Ten times too high (PROTOCOL 4, offset 40).
    let tenfold = |quantity| {
        let hundredths = i32::try_from(raw(quantity)).expect("a frequency");
        text(f64::from(hundredths) / 10.0)
    };
    let word = |quantity, words: &[(i64, &str)]| {
        let found = words.iter().find(|(code, _)| *code == raw(quantity));
        found.expect("a known code").1.to_owned()
    };
    // The magnitude stands there in kW, also inside the dead band, where ours is 0 (PROTOCOL 6.3).
    let meter = given.remove("/raw_grid/Pgrid_kW").expect("a magnitude");
    let watts = meter.parse::<f64>().expect("a number") * 1000.0;
    if raw(grid_direction) == 0 {
        assert!(watts < 30.0, "{name}: {watts} W are not idle");
    } else {
        assert_eq!(text(watts.round()), magnitude(grid_power), "{name}");
    }
    #[rustfmt::skip]
    let expected = [
        ("/PVPower", exact(pv_power)),
        ("/PV1Volt", whole(pv1_voltage)),
        ("/PV2Volt", whole(pv2_voltage)),
        ("/raw_pv/vpv1", exact(pv1_voltage)),
        ("/raw_pv/ipv1", exact(pv1_current)),
        ("/raw_pv/vpv2", exact(pv2_voltage)),
        ("/raw_pv/ipv2", exact(pv2_current)),
        ("/raw_pv/pv2Mode", raw(pv2_mode).to_string()),
        ("/Battery1/Volt", exact(battery_voltage)),
        ("/Battery1/Amp", magnitude(battery_current)),
        ("/Battery1/Charge", exact(battery_soc)),
        ("/Battery1/Mode", raw(battery_mode).to_string()),
        ("/Battery1/ModeName", word(battery_mode, &[(2, "DISCHARGE"), (3, "CHARGE")])),
        ("/Battery1/Power", exact(battery_power)),
        ("/GridPower", exact(grid_power)),
        ("/gridMode", word(grid_direction, &[(0, "NONE"), (2, "IMPORT")])),
        ("/mqtt_grid_import", exact(grid_import_power)),
        ("/mqtt_grid_export", exact(grid_export_power)),
        ("/raw_grid/Vgrid", exact(grid_voltage)),
        ("/raw_grid/Igrid", exact(inverter_current)),
        ("/raw_grid/Fgrid_as_coded_div10", tenfold(grid_frequency)),
        ("/LoadPower", exact(load_power)),
        ("/raw_load/Vload", exact(backup_voltage)),
        ("/raw_load/Iload", exact(backup_current)),
        ("/raw_load/Fload_as_coded_div10", tenfold(backup_frequency)),
        ("/InverterTemperature", whole(inverter_temperature)),
        ("/EnergyTotal", exact(energy_total)),
        ("/EnergyToday", exact(energy_today)),
        ("/LifetimeHours", exact(operating_hours)),
    ];
    let expected: BTreeMap<String, String> = expected
        .map(|(pointer, text)| (pointer.to_owned(), text))
        .into();
    assert_eq!(given, expected, "{name}");
}

/// Everything in an object but what is not compared, by its pointer.
fn flatten(value: &Value, pointer: &str, flat: &mut BTreeMap<String, String>) {
    if KSTAR_SHARP_NOT_COMPARED
        .iter()
        .any(|(other, _)| *other == pointer)
    {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                flatten(value, &format!("{pointer}/{field}"), flat);
            }
        }
        Value::String(words) => {
            flat.insert(pointer.to_owned(), words.clone());
        }
        other => {
            let number = other.as_f64().expect("a number");
            flat.insert(pointer.to_owned(), text(number));
        }
    }
}

/// Checks all running data.
pub(crate) fn check(asserted: &mut Asserted) {
    let Some(_folder) = folder_or_say() else {
        return;
    };
    for (name, kind) in CAPTURES {
        let Running(ap, clock) = kind else { continue };
        let datagram = bytes(name);
        let payload = reply(&datagram, Request::RunningData, *ap)
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let values = running::decode(payload).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        check_against_goodwe(name, &values, payload.len(), *clock, asserted);
        if name.contains("kse") {
            check_against_kstar_sharp(name, &values);
        }
    }
}

#[test]
fn running_data_is_what_two_other_decoders_say() {
    check(&mut Asserted::default());
}

#[test]
fn every_capture_in_the_folder_is_tested() {
    let Some(folder) = folder_or_say() else {
        return;
    };
    let listed = |extension: &str, wanted: &dyn Fn(&str, &Kind) -> bool| -> BTreeSet<String> {
        CAPTURES
            .iter()
            .filter(|(name, kind)| wanted(name, kind))
            .map(|(name, _)| format!("{name}.{extension}"))
            .collect()
    };
    let found = |extension: &str| -> BTreeSet<String> {
        fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.into_string().expect("a name of ASCII"))
            .filter(|name| name.ends_with(&format!(".{extension}")))
            .collect()
    };
    assert_eq!(found("hex"), listed("hex", &|_, _| true));
    assert_eq!(
        found("goodwe.json"),
        listed("goodwe.json", &|_, kind| matches!(
            kind,
            Running(..) | Kind::Settings
        ))
    );
    // kstar.sharp refuses what is no KSE; its formulas mean nothing there.
    let kse = |name: &str, kind: &Kind| name.contains("kse") && matches!(kind, Running(..));
    assert!(listed("kstarsharp.json", &kse).is_subset(&found("kstarsharp.json")));
}

#[test]
fn a_record_is_read_to_its_last_entry() {
    if folder_or_say().is_none() {
        return;
    }
    let texts = |record: &Record| -> Vec<(&str, String)> {
        record
            .0
            .iter()
            .map(|entry| (entry.key, entry.value.to_string()))
            .collect()
    };
    for (name, kind) in CAPTURES {
        let Kind::DeviceInfo(expected) = kind else {
            continue;
        };
        let datagram = bytes(name);
        let payload = reply(&datagram, Request::DeviceInfo, C0).expect("a whole frame");
        let info = DeviceInfo::decode(payload).expect("long enough");
        let expected: Vec<(&str, String)> = expected
            .iter()
            .map(|(key, text)| (*key, (*text).to_owned()))
            .collect();
        assert_eq!(texts(&info.record), expected, "{name}");
        assert_eq!(
            info.serial(),
            expected
                .iter()
                .find(|(key, _)| *key == "serial")
                .map(|(_, text)| text.as_str())
        );
    }
}

type Setting = (&'static str, &'static str, fn(f64) -> String);

/// goodwe's names of the settings, ours, and what goodwe's number is in ours.
#[rustfmt::skip]
const SETTINGS: [Setting; 19] = [
    ("backup_supply", "backup_supply", off_on),
    ("off-grid_charge", "off_grid_charge", off_on),
    ("shadow_scan", "shadow_scan", off_on),
    ("grid_export", "backflow_raw", text),
    ("capacity", "battery_capacity", text),
    ("charge_v", "charge_voltage", text),
    ("charge_i", "charge_current_raw", text),
    ("discharge_i", "discharge_current_raw", text),
    ("discharge_v", "discharge_voltage", text),
    // What stands there is the lowest state of charge; the depth of discharge is what is above it (PROTOCOL 5.2).
    ("dod", "lowest_soc", |depth| text(100.0 - depth)),
    ("battery_activated", "battery_activated", text),
    ("bp_off_grid_charge", "bp_off_grid_charge", text),
    ("bp_pv_discharge", "bp_pv_discharge", text),
    ("bp_bms_protocol", "bp_bms_protocol", text),
    ("power_factor", "power_factor", text),
    ("grid_export_limit", "grid_export_limit", text),
    ("battery_soc_protection", "soc_protection", text),
    ("work_mode", "work_mode", work_mode_word),
    ("grid_quality_check", "grid_quality_check", text),
];

fn off_on(number: f64) -> String {
    if number == 0.0 { "off" } else { "on" }.to_owned()
}

/// The codes of offset 66 (PROTOCOL 5.2).
fn work_mode_word(number: f64) -> String {
    ["general", "off_grid", "backup", "eco"]
        .into_iter()
        .zip([0.0, 1.0, 2.0, 3.0])
        .find(|(_, code)| text(*code) == text(number))
        .map(|(word, _)| word.to_owned())
        .expect("a known code")
}

/// Settings that goodwe does not decode, as their bytes in the one capture say.
const SETTINGS_NOT_BY_GOODWE: [(&str, &str); 6] = [
    ("charge_window_start", "00:00"),
    ("charge_window_end", "00:00"),
    ("charge_power_limit", "0"),
    ("discharge_window_start", "00:00"),
    ("discharge_window_end", "00:00"),
    ("discharge_power_limit", "0"),
];

#[test]
fn settings_are_what_goodwe_says() {
    if folder_or_say().is_none() {
        return;
    }
    for (name, kind) in CAPTURES {
        let Kind::Settings = kind else { continue };
        let datagram = bytes(name);
        let payload = reply(&datagram, Request::Settings, C0).expect("a whole frame");
        let record = settings::decode(payload).expect("long enough");
        let goodwe = other_decoder(name, "goodwe", "fields");
        let given: BTreeSet<&str> = goodwe.keys().map(String::as_str).collect();
        assert_eq!(
            given,
            SETTINGS.iter().map(|(theirs, ..)| *theirs).collect(),
            "goodwe's fields"
        );
        let found: BTreeSet<(&str, String)> = record
            .0
            .iter()
            .map(|entry| (entry.key, entry.value.to_string()))
            .collect();
        let expected: BTreeSet<(&str, String)> = SETTINGS
            .iter()
            .map(|(theirs, ours, convert)| (*ours, convert(number(&goodwe, theirs))))
            .chain(SETTINGS_NOT_BY_GOODWE.map(|(key, text)| (key, text.to_owned())))
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_is_no_answer_is_refused_for_its_own_reason() {
    if folder_or_say().is_none() {
        return;
    }
    for (name, kind) in CAPTURES {
        if let Refused(request, ap, refusal) = kind {
            assert_eq!(reply(&bytes(name), *request, *ap), Err(*refusal), "{name}");
        }
    }
}

/// Among them the running data that once came as the answer to a request for device info.
#[test]
fn a_whole_frame_answers_nothing_but_its_own_request_and_address() {
    if folder_or_say().is_none() {
        return;
    }
    for (name, kind) in CAPTURES {
        let (right, right_ap, function) = match kind {
            Running(ap, _) => (Request::RunningData, *ap, 0x86),
            Kind::DeviceInfo(_) => (Request::DeviceInfo, C0, 0x82),
            Kind::Settings => (Request::Settings, C0, 0x89),
            _ => continue,
        };
        let datagram = bytes(name);
        for (request, expected) in [
            (Request::DeviceInfo, 0x82),
            (Request::RunningData, 0x86),
            (Request::Settings, 0x89),
        ] {
            for (ap, asked_as) in [(B0, 0xb0), (C0, 0xc0)] {
                let found = reply(&datagram, request, ap);
                if (request, ap) == (right, right_ap) {
                    assert!(found.is_ok(), "{name}");
                } else if ap == right_ap {
                    let refusal = Refusal::OtherReply {
                        position: 0,
                        control: 0x01,
                        function,
                        expected,
                    };
                    assert_eq!(found, Err(refusal), "{name}");
                } else {
                    let refusal = Refusal::OtherAddress {
                        position: 0,
                        source: 0x7f,
                        destination: if right_ap == B0 { 0xb0 } else { 0xc0 },
                        asked_as,
                    };
                    assert_eq!(found, Err(refusal), "{name}");
                }
            }
        }
    }
}

#[test]
fn a_capture_cut_off_anywhere_is_refused() {
    if folder_or_say().is_none() {
        return;
    }
    for (name, kind) in CAPTURES {
        if !matches!(kind, Running(..) | Kind::DeviceInfo(_) | Kind::Settings) {
            continue;
        }
        let datagram = bytes(name);
        for found in 7..datagram.len() {
            assert_eq!(
                Frame::check(&datagram[..found], 0),
                Err(Refusal::Truncated {
                    position: 0,
                    expected: datagram.len(),
                    found
                }),
                "{name}"
            );
        }
    }
}

#[test]
fn an_answer_to_the_greeting_is_read_and_is_no_frame() {
    if folder_or_say().is_none() {
        return;
    }
    for (name, kind) in CAPTURES {
        let datagram = bytes(name);
        let refusal = match kind {
            Answer(address, mac, module) => {
                let expected = ModuleAnswer {
                    address: Some(Ipv4Addr::from(*address)),
                    mac: Some(MacAddress(*mac)),
                    name: Some((*module).to_owned()),
                };
                assert_eq!(greeting::answer(&datagram), Ok(expected), "{name}");
                Refusal::Text
            }
            Greeting => {
                assert_eq!(greeting::answer(&datagram), Err(Unreadable::Greeting));
                Refusal::Echo
            }
            _ => {
                assert_eq!(greeting::answer(&datagram), Err(Unreadable::UnknownForm));
                continue;
            }
        };
        assert_eq!(
            reply(&datagram, Request::RunningData, B0),
            Err(refusal),
            "{name}"
        );
    }
}
