//! Every code and every bit that PROTOCOL 4.2 to 4.5 names, written from there and not from our own lists.

use kstar_model::catalogue::Quantity::{self, *};

use super::asserted::Asserted;
use super::figures::payload;
use super::vectors::decode;

/// Offset, quantity, and its codes.
type Mode = (usize, Quantity, &'static [(u32, &'static str)]);

/// The codes of PROTOCOL 4.2.
#[rustfmt::skip]
const MODES: [Mode; 7] = [
    (4, pv1_mode, &[(0, "not_connected"), (1, "no_power"), (2, "producing")]),
    (9, pv2_mode, &[(0, "not_connected"), (1, "no_power"), (2, "producing")]),
    (30, battery_mode, &[
        (0, "no_battery"), (1, "standby"), (2, "discharging"), (3, "charging"),
        (4, "to_be_charged"), (5, "to_be_discharged"),
    ]),
    (42, inverter_state, &[(0, "standby"), (1, "on"), (2, "abnormal"), (3, "severe_fault")]),
    (51, backup_mode, &[(0, "disconnected"), (1, "connected")]),
    (52, work_mode, &[
        (0, "check"), (1, "wait"), (2, "normal_on_grid"), (4, "normal_off_grid"), (8, "updating"), (16, "fault"),
        (32, "battery_standby"), (64, "battery_charging"), (128, "battery_discharging"),
    ]),
    (80, grid_direction, &[(0, "idle"), (1, "exporting"), (2, "importing")]),
];

/// The bits of a BMS, from 0 up (PROTOCOL 4.3); 14 and 15 are reserved.
const BMS: [&str; 14] = [
    "over_temperature",
    "under_temperature",
    "cell_voltage_difference",
    "total_voltage_high",
    "discharge_current_high",
    "charge_current_high",
    "soc_low",
    "total_voltage_low",
    "no_bms_communication",
    "output_short_circuit",
    "soc_high",
    "bms_module_fault",
    "bms_system_fault",
    "bms_internal_fault",
];

/// The inverter's error bits, from 0 up (PROTOCOL 4.4); those without a text are numbered.
const ERRORS: [&str; 32] = [
    "gfci_device_check_failure",
    "ac_current_sensor_check_failure",
    "bit_2",
    "dc_injection_consistency_failure",
    "gfci_consistency_failure",
    "bit_5",
    "gfci_device_failure",
    "relay_device_failure",
    "ac_current_sensor_failure",
    "utility_loss",
    "ground_current_failure",
    "dc_bus_high",
    "internal_fan_failure",
    "over_temperature",
    "utility_phase_failure",
    "pv_over_voltage",
    "external_fan_failure",
    "ac_voltage_out_of_range",
    "isolation_failure",
    "dc_injection_high",
    "backup_overload",
    "bit_21",
    "ac_frequency_consistency_failure",
    "ac_voltage_consistency_failure",
    "bit_24",
    "relay_check_failure",
    "bit_26",
    "phase_angle_failure",
    "dsp_communication_failure",
    "ac_frequency_out_of_range",
    "eeprom_failure",
    "internal_communication_failure",
];

/// The diagnostic bits, from 0 up (PROTOCOL 4.5).
const DIAGNOSTICS: [&str; 32] = [
    "battery_voltage_low",
    "soc_low",
    "soc_recovered",
    "bms_forbids_discharge",
    "discharge_window_on",
    "charge_window_on",
    "discharge_driver_on",
    "bms_discharge_current_low",
    "app_discharge_current_low",
    "meter_communication_failure",
    "meter_reversed",
    "self_use_load_light",
    "ems_discharge_current_zero",
    "bus_high_from_pv_on_discharge",
    "battery_disconnected",
    "battery_overcharged",
    "bms_temperature_high",
    "bms_charge_high",
    "bms_forbids_charge",
    "self_use_off",
    "soc_volatile",
    "self_discharge_high",
    "soc_low_off_grid",
    "grid_wave_unstable",
    "export_limit_set",
    "power_factor_set",
    "real_power_limit_set",
    "dc_output_on",
    "soc_protection_off",
    "bit_29",
    "bms_emergency_charging",
    "bit_31",
];

/// Checks every code and bit.
pub(crate) fn check(asserted: &mut Asserted) {
    for (offset, quantity, codes) in MODES {
        for code in 0..=255 {
            let unknown = format!("unknown_{code}");
            let label = codes
                .iter()
                .find(|(known, _)| *known == code)
                .map_or(unknown.as_str(), |(_, label)| label);
            let values = decode(&payload(140, [(offset, 1, code)]));
            asserted.equal("a code", &values, quantity, Some(label));
        }
    }
    let bms: Vec<&str> = BMS.into_iter().chain(["bit_14", "bit_15"]).collect();
    let flags: [(usize, usize, Quantity, &[&str]); 4] = [
        (24, 2, bms_errors, &bms),
        (31, 2, battery_warnings, &bms),
        (55, 4, errors, &ERRORS),
        (89, 4, diagnostics, &DIAGNOSTICS),
    ];
    for (offset, width, quantity, labels) in flags {
        for (bit, label) in labels.iter().enumerate() {
            let values = decode(&payload(140, [(offset, width, 1 << bit)]));
            asserted.equal("one bit", &values, quantity, Some(label));
        }
        // All but the highest, since all bits together mean that there is no value.
        let (_, lower) = labels.split_last().expect("there are bits");
        let bits = (1 << lower.len()) - 1;
        let values = decode(&payload(140, [(offset, width, bits)]));
        asserted.equal("all bits", &values, quantity, Some(&lower.join(",")));
    }
}

#[test]
fn every_code_and_bit_of_the_protocol_has_its_label() {
    check(&mut Asserted::default());
}
