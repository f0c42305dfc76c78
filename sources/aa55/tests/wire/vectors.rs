//! Frames built from PROTOCOL's figures, and every value that must come out of them.

use kstar_model::catalogue::Quantity::{self, *};
use kstar_model::catalogue::Values;
use kstar_source_aa55::wire::device_info::DeviceInfo;
use kstar_source_aa55::wire::{ApAddress, Request, reply, running};

use super::asserted::Asserted;
use super::figures::{CAPTURES, CHECKSUMS, KSE_LENGTH, RUNNING, TO_B0, capture, frame, payload};

/// What the six captures say, computed from their figures by the scales of PROTOCOL 4 and the rules of 6.
/// What is not listed must be absent.
#[rustfmt::skip]
const EXPECTED: [(Quantity, [&str; 6]); 42] = [
    (pv1_voltage, ["162.1", "160.4", "167.3", "162.4", "164.4", "150"]),
    (pv1_current, ["0.7", "0.8", "0.6", "0.4", "0.7", "4.5"]),
    (pv1_power, ["113.47", "128.32", "100.38", "64.96", "115.08", "675"]),
    (pv1_mode, ["producing", "producing", "producing", "producing", "producing", "producing"]),
    (pv2_voltage, ["173.2", "176.5", "178.5", "176.9", "178.5", "156.9"]),
    (pv2_current, ["1.7", "1.6", "1.3", "1.1", "0.9", "6.6"]),
    (pv2_power, ["294.44", "282.4", "232.05", "194.59", "160.65", "1035.54"]),
    (pv2_mode, ["producing", "producing", "producing", "producing", "producing", "producing"]),
    (pv_power, ["407.91", "410.72", "332.43", "259.55", "275.73", "1710.54"]),
    (battery_voltage, ["50.6", "50.6", "49.3", "49.2", "49.2", "50.7"]),
    (battery_current, ["0.4", "0.4", "0", "0", "0", "-28.3"]),
    (battery_power, ["20.24", "20.24", "0", "0", "0", "-1434.81"]),
    (battery_charge_power, ["20.24", "20.24", "0", "0", "0", "0"]),
    (battery_discharge_power, ["0", "0", "0", "0", "0", "1434.81"]),
    (battery_soc, ["71", "71", "50", "50", "50", "76"]),
    (battery_mode, ["charging", "charging", "charging", "charging", "charging", "discharging"]),
    (bms_errors, ["no_bms_communication", "no_bms_communication", "no_bms_communication", "no_bms_communication", "no_bms_communication", "no_bms_communication"]),
    (battery_warnings, ["none", "none", "none", "none", "none", "none"]),
    (grid_voltage, ["235.1", "235.3", "236", "236.5", "236.9", "233.7"]),
    (grid_frequency, ["49.92", "49.93", "50.12", "50.12", "50.09", "50.03"]),
    (grid_power, ["0", "0", "303", "384", "360", "6746"]),
    (grid_import_power, ["0", "0", "303", "384", "360", "6746"]),
    (grid_export_power, ["0", "0", "0", "0", "0", "0"]),
    (grid_direction, ["idle", "idle", "importing", "importing", "importing", "importing"]),
    (load_power, ["315", "315", "594", "639", "591", "9304"]),
    (backup_voltage, ["235.1", "235.3", "236", "236.5", "236.9", "233.7"]),
    (backup_current, ["0.5", "0.5", "0.5", "0.5", "0.5", "0.5"]),
    (backup_frequency, ["49.92", "49.93", "50.12", "50.12", "50.09", "50.03"]),
    (backup_power, ["1", "1", "1", "1", "1", "3"]),
    (backup_mode, ["connected", "connected", "connected", "connected", "connected", "connected"]),
    (inverter_power, ["423", "418", "374", "329", "300", "2764"]),
    (inverter_current, ["1.8", "1.8", "1.6", "1.4", "1.3", "12"]),
    (inverter_temperature, ["30.1", "30.1", "25.2", "25.2", "25.2", "41.4"]),
    (inverter_state, ["on", "on", "on", "on", "on", "on"]),
    (work_mode, ["normal_on_grid", "normal_on_grid", "normal_on_grid", "normal_on_grid", "normal_on_grid", "normal_on_grid"]),
    (errors, ["none", "none", "none", "none", "none", "none"]),
    (error_bits, ["0", "0", "0", "0", "0", "0"]),
    (operating_hours, ["3911", "3911", "4078", "4078", "4078", "4239"]),
    (energy_today, ["5.7", "5.7", "3.5", "3.5", "3.5", "3.8"]),
    (energy_total, ["1347.5", "1347.5", "1398", "1398", "1398", "1468.2"]),
    (load_energy_today, ["5.8", "5.8", "6.8", "6.8", "6.8", "3.5"]),
    (load_energy_total, ["1665.6", "1665.6", "1744.6", "1744.6", "1744.6", "1813.4"]),];

/// A reply of 140 bytes in which every quantity has a value of its own: exporting, discharging, with a BMS.
#[rustfmt::skip]
const LONG_FIGURES: [(usize, usize, u32); 45] = [
    (0, 2, 3369), (2, 2, 13), (4, 1, 1),
    (5, 2, 3130), (7, 2, 9), (9, 1, 0),
    (10, 2, 533), (12, 2, 2), (14, 2, 0x50), (16, 2, 0xff9c), (18, 2, 12),
    (20, 2, 99), (22, 2, 205), (24, 2, 0b0000_0010_0000_0001), (26, 1, 98), (28, 1, 98), (29, 1, 97), (30, 1, 2),
    (31, 2, 0b0100_0000), (33, 1, 1),
    (34, 2, 2415), (36, 2, 43), (38, 2, 807), (40, 2, 4987), (42, 1, 3),
    (43, 2, 2401), (45, 2, 36), (47, 2, 0xfeea), (49, 2, 5005), (51, 1, 0), (52, 1, 128),
    (53, 2, 0xfffb), (55, 4, 0x8000_0204),
    (59, 4, 70_000), (63, 4, 5_011), (67, 2, 241), (69, 2, 176), (71, 4, 18_037),
    (75, 2, 0xfd76), (80, 1, 1), (81, 2, 0xffd3),
    (89, 4, 0x1000_0840), (95, 4, 0x1703_1812), (99, 2, 0x0514),
    (125, 4, 0x4df5),
];

#[rustfmt::skip]
const LONG_EXPECTED: [(Quantity, &str); 48] = [
    (pv1_voltage, "336.9"), (pv1_current, "1.3"), (pv1_power, "437.97"), (pv1_mode, "no_power"),
    (pv2_voltage, "313"), (pv2_current, "0.9"), (pv2_power, "281.7"), (pv2_mode, "not_connected"),
    (pv_power, "719.67"),
    (battery_voltage, "53.3"), (battery_current, "-1.2"), (battery_power, "-63.96"),
    (battery_charge_power, "0"), (battery_discharge_power, "63.96"),
    (battery_soc, "98"), (battery_soh, "97"), (battery_temperature, "-10"),
    (battery_charge_limit, "99"), (battery_discharge_limit, "205"), (battery_mode, "discharging"),
    (bms_errors, "over_temperature,output_short_circuit"), (battery_warnings, "soc_low"),
    (grid_voltage, "241.5"), (grid_frequency, "49.87"),
    (grid_power, "-807"), (grid_import_power, "0"), (grid_export_power, "807"), (grid_direction, "exporting"),
    (load_power, "-278"),
    (backup_voltage, "240.1"), (backup_current, "3.6"), (backup_frequency, "50.05"),
    (backup_power, "-45"), (backup_mode, "disconnected"),
    (inverter_power, "-650"), (inverter_current, "4.3"), (inverter_temperature, "-0.5"),
    (inverter_state, "severe_fault"), (work_mode, "battery_discharging"),
    (errors, "bit_2,utility_loss,internal_communication_failure"), (error_bits, "2147484164"),
    (diagnostics, "discharge_driver_on,self_use_load_light,soc_protection_off"),
    (inverter_clock, "2023-03-24T18:05:20"), (operating_hours, "5011"),
    (energy_today, "24.1"), (energy_total, "7000"), (load_energy_today, "17.6"), (load_energy_total, "1803.7"),
];

/// The values in a frame around a payload.
#[track_caller]
pub(crate) fn decode(payload: &[u8]) -> Values {
    let datagram = frame(TO_B0, RUNNING, payload);
    let found = reply(&datagram, Request::RunningData, ApAddress::B0).expect("a whole frame");
    running::decode(found).expect("long enough")
}

/// Checks every vector.
pub(crate) fn check(asserted: &mut Asserted) {
    for (column, name) in CAPTURES.iter().enumerate() {
        let expected = EXPECTED.map(|(quantity, texts)| (quantity, texts[column]));
        asserted.all_equal(name, &decode(&capture(column)), &expected);
    }
    asserted.all_equal("long", &decode(&payload(140, LONG_FIGURES)), &LONG_EXPECTED);
}

#[test]
fn the_figures_add_up_to_the_sums_of_the_captures() {
    for (column, name) in CAPTURES.iter().enumerate() {
        let datagram = frame(TO_B0, RUNNING, &capture(column));
        assert_eq!(datagram.len(), KSE_LENGTH + 9, "{name}");
        let (_, sum) = datagram.split_at(datagram.len() - 2);
        assert_eq!(sum, CHECKSUMS[column].to_be_bytes(), "{name}");
    }
}

#[test]
fn the_captures_figures_give_every_value_that_the_protocol_gives_them() {
    check(&mut Asserted::default());
}

#[test]
fn the_older_form_of_81_bytes_lacks_only_the_back_up_power() {
    for (column, name) in CAPTURES.iter().enumerate() {
        let expected: Vec<(Quantity, &str)> = EXPECTED
            .iter()
            .filter(|(quantity, _)| *quantity != backup_power)
            .map(|(quantity, texts)| (*quantity, texts[column]))
            .collect();
        let values = decode(&capture(column)[..81]);
        Asserted::default().all_equal(name, &values, &expected);
    }
}

/// Each unsigned field of two or four bytes with all its bits set, and what that makes absent (PROTOCOL 8).
#[test]
fn a_field_with_all_bits_set_makes_absent_what_comes_from_it_and_nothing_else() {
    #[rustfmt::skip]
    let gone: [(usize, usize, &[Quantity]); 24] = [
        (0, 2, &[pv1_voltage, pv1_power, pv_power]),
        (2, 2, &[pv1_current, pv1_power, pv_power]),
        (5, 2, &[pv2_voltage, pv2_power, pv_power]),
        (7, 2, &[pv2_current, pv2_power, pv_power]),
        (10, 2, &[battery_voltage, battery_power, battery_charge_power, battery_discharge_power]),
        (18, 2, &[battery_current, battery_power, battery_charge_power, battery_discharge_power]),
        (20, 2, &[battery_charge_limit]),
        (22, 2, &[battery_discharge_limit]),
        // Nobody then knows whether there is a BMS.
        (24, 2, &[bms_errors, battery_temperature, battery_charge_limit, battery_discharge_limit]),
        (31, 2, &[battery_warnings]),
        (34, 2, &[grid_voltage]),
        (36, 2, &[inverter_current]),
        (38, 2, &[grid_power, grid_import_power, grid_export_power]),
        (40, 2, &[grid_frequency]),
        (43, 2, &[backup_voltage]),
        (45, 2, &[backup_current]),
        (49, 2, &[backup_frequency]),
        (55, 4, &[errors, error_bits]),
        (59, 4, &[energy_total]),
        (63, 4, &[operating_hours]),
        (67, 2, &[energy_today]),
        (69, 2, &[load_energy_today]),
        (71, 4, &[load_energy_total]),
        (89, 4, &[diagnostics]),
    ];
    for (offset, width, quantities) in gone {
        let mut bytes = payload(140, LONG_FIGURES);
        bytes[offset..offset + width].fill(0xff);
        let expected: Vec<(Quantity, &str)> = LONG_EXPECTED
            .into_iter()
            .filter(|(quantity, _)| !quantities.contains(quantity))
            .collect();
        let context = format!("offset {offset}");
        Asserted::default().all_equal(&context, &decode(&bytes), &expected);
    }
}

/// The same bits in a signed field are the value below 0; it would be missed at each crossing of it.
#[test]
fn minus_one_is_a_value_like_its_neighbours() {
    for (offset, quantity, texts) in [
        (16, battery_temperature, ["0", "-0.1", "-0.2"]),
        (47, load_power, ["0", "-1", "-2"]),
        (53, inverter_temperature, ["0", "-0.1", "-0.2"]),
        (75, inverter_power, ["0", "-1", "-2"]),
        (81, backup_power, ["0", "-1", "-2"]),
    ] {
        for (below, text) in (0_i16..).zip(texts) {
            let mut bytes = payload(140, LONG_FIGURES);
            bytes[offset..offset + 2].copy_from_slice(&(-below).to_be_bytes());
            Asserted::default().equal("", &decode(&bytes), quantity, Some(text));
        }
    }
    // No sensor.
    for (offset, quantity) in [(16, battery_temperature), (53, inverter_temperature)] {
        let mut bytes = payload(140, LONG_FIGURES);
        bytes[offset..offset + 2].copy_from_slice(&i16::MAX.to_be_bytes());
        Asserted::default().equal("", &decode(&bytes), quantity, None);
    }
}

/// The bytes of a packet in `sources/aa55/tests/packets`.
fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.trim();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect()
}

#[test]
fn a_state_of_charge_that_cannot_be_is_read_as_it_stands_and_left_to_the_gate() {
    let datagram = bytes(include_str!("../packets/soc-255.hex"));
    let payload = reply(&datagram, Request::RunningData, ApAddress::B0).expect("a whole frame");
    let values = running::decode(payload).expect("long enough");
    for (quantity, text) in [
        (pv1_voltage, "167.3"),
        (battery_soc, "255"),
        (grid_voltage, "236"),
        (load_power, "594"),
    ] {
        Asserted::default().equal("soc-255", &values, quantity, Some(text));
    }
}

#[test]
fn device_info_of_the_second_generation_tells_the_serial_number_and_that_it_speaks_modbus() {
    let datagram = bytes(include_str!("../packets/second-generation-device-info.hex"));
    let payload = reply(&datagram, Request::DeviceInfo, ApAddress::C0).expect("a whole frame");
    let info = DeviceInfo::decode(payload).expect("long enough");
    assert_eq!(
        (info.serial(), info.model()),
        (Some("56000ESN000W0001"), None)
    );
    assert!(
        info.modbus_family()
            .is_some_and(|family| family.contains("second generation"))
    );
}
