//! The wire against everything that is known of the protocol: figures, captures, code lists, and any bytes at all.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test whose input is wrong has to stop"
)]

mod asserted;
mod captures;
mod figures;
mod labels;
mod properties;
mod vectors;

use kstar_model::catalogue::Group;
use kstar_model::catalogue::Quantity::{self, *};

use asserted::Asserted;

/// What inverters of other protocols send.
#[rustfmt::skip]
const OF_OTHERS: &[Quantity] = &[
    pv3_voltage, pv3_current, pv3_power, pv3_mode,
    pv4_voltage, pv4_current, pv4_power, pv4_mode,
    battery_alarms, bms_warnings, battery_type, battery_heatsink_temperature,
    battery_cell_voltage_max, battery_cell_voltage_min, battery_cell_temperature_max, battery_cell_temperature_min,
    battery_pack1_soc, battery_pack2_soc, battery_pack3_soc, battery2_voltage,
    battery2_current, battery2_power, battery2_soc, battery2_mode,
    grid_l2_voltage, grid_l3_voltage, grid_l1_power, grid_l2_power,
    grid_l3_power, grid_l1_current, grid_l2_current, grid_l3_current,
    load_l1_power, load_l2_power, load_l3_power, backup_l1_power,
    backup_l2_power, backup_l3_power, backup_l2_voltage, backup_l2_current,
    backup_l3_voltage, backup_l3_current, alarms, alarm_bits,
    kstar_errors, kstar_error_bits, derating, operation_strategy,
    inverter_voltage, inverter_frequency, inverter_l2_voltage, inverter_l2_current,
    inverter_l3_voltage, inverter_l3_current, inverter_l1_power, inverter_l2_power,
    inverter_l3_power, case_temperature, air_temperature, bus_voltage,
    inverter_pv_energy_today, inverter_pv_energy_total, inverter_grid_import_energy_today, inverter_grid_import_energy_total,
    inverter_grid_export_energy_today, inverter_grid_export_energy_total, inverter_battery_charge_energy_today, inverter_battery_charge_energy_total,
    inverter_battery_discharge_energy_today, inverter_battery_discharge_energy_total,
];

/// Who sets a quantity that no reply holds, and why.
fn not_on_the_wire(quantity: Quantity) -> Option<&'static str> {
    if OF_OTHERS.contains(&quantity) {
        return Some("only inverters of other protocols send it");
    }
    match quantity.description().group {
        Group::Link => Some("the poller measures it; the wire knows no clock"),
        Group::Meter => Some("the collector's meter adds it up; an inverter has no such counter"),
        _ => None,
    }
}

#[test]
fn every_quantity_is_asserted_somewhere() {
    let mut asserted = Asserted::default();
    vectors::check(&mut asserted);
    labels::check(&mut asserted);
    captures::check(&mut asserted);
    for quantity in Quantity::ALL {
        match not_on_the_wire(*quantity) {
            Some(reason) => assert!(
                !asserted.contains(*quantity),
                "{quantity} is asserted after all, although {reason}"
            ),
            None => assert!(asserted.contains(*quantity), "no test asserts {quantity}"),
        }
    }
}
