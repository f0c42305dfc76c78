//! Settings: the reply to 0109, how the inverter is set (PROTOCOL 5.2). Only ever read.
//!
//! The first 34 bytes are confirmed for KSTAR by its own app, the rest is known from GoodWe. Where the two disagree
//! about a scale or a polarity, the number is shown as it stands and its label says so.

use kstar_source::record::Record;

use super::device_info::entry;
use super::field::Form::{U8, U16};
use super::frame::Refusal;
use super::record::{self, EntryField, EntryForm};

/// What KSTAR's app reads.
const SHORTEST: usize = 34;

const OFF_ON: &[(u16, &str)] = &[(0, "off"), (1, "on")];

/// Every entry, in the order of the bytes.
pub const ENTRIES: &[EntryField] = &[
    entry!(0 EntryForm::TimeOfDay, "charge_window_start", "Charge window start"),
    entry!(2 EntryForm::TimeOfDay, "charge_window_end", "Charge window end"),
    entry!(4 EntryForm::Number(U16, 0), "charge_power_limit", "Charge power limit", "%"),
    entry!(6 EntryForm::TimeOfDay, "discharge_window_start", "Discharge window start"),
    entry!(8 EntryForm::TimeOfDay, "discharge_window_end", "Discharge window end"),
    entry!(10 EntryForm::Number(U16, 0), "discharge_power_limit", "Discharge power limit", "%"),
    entry!(13 EntryForm::Code(U8, OFF_ON), "backup_supply", "Back-up supply"),
    entry!(15 EntryForm::Code(U8, OFF_ON), "off_grid_charge", "Off-grid charge"),
    entry!(17 EntryForm::Code(U8, OFF_ON), "shadow_scan", "Shadow scan"),
    entry!(18 EntryForm::Number(U16, 0), "backflow_raw", "Backflow prevention or export limit (1 or 0, polarity unknown)"),
    entry!(22 EntryForm::Number(U16, 0), "battery_capacity", "Battery capacity", "Ah"),
    entry!(24 EntryForm::Number(U16, 1), "charge_voltage", "Charge voltage", "V"),
    entry!(26 EntryForm::Number(U16, 0), "charge_current_raw", "Charge current (scale unknown)"),
    entry!(28 EntryForm::Number(U16, 0), "discharge_current_raw", "Discharge current (scale unknown)"),
    entry!(30 EntryForm::Number(U16, 1), "discharge_voltage", "Discharge voltage", "V"),
    entry!(32 EntryForm::Number(U16, 0), "lowest_soc", "Lowest state of charge", "%"),
    entry!(34 EntryForm::Number(U16, 0), "battery_activated", "Battery activated (GoodWe)"),
    entry!(36 EntryForm::Number(U16, 0), "bp_off_grid_charge", "BP off-grid charge (GoodWe)"),
    entry!(38 EntryForm::Number(U16, 0), "bp_pv_discharge", "BP PV discharge (GoodWe)"),
    entry!(40 EntryForm::Number(U16, 0), "bp_bms_protocol", "BP BMS protocol (GoodWe)"),
    entry!(42 EntryForm::Number(U16, 0), "power_factor", "Power factor (GoodWe)"),
    entry!(52 EntryForm::Number(U16, 0), "grid_export_limit", "Grid export limit (GoodWe)", "W"),
    entry!(56 EntryForm::Number(U16, 0), "soc_protection", "SOC protection (GoodWe)"),
    entry!(66 EntryForm::Code(U16, WORK_MODES), "work_mode", "Work mode (GoodWe)"),
    entry!(68 EntryForm::Number(U16, 0), "grid_quality_check", "Grid quality check (GoodWe)"),
];

const WORK_MODES: &[(u16, &str)] = &[(0, "general"), (1, "off_grid"), (2, "backup"), (3, "eco")];

/// Reads a payload of settings.
pub fn decode(payload: &[u8]) -> Result<Record, Refusal> {
    if payload.len() < SHORTEST {
        return Err(Refusal::UnsupportedLength {
            found: payload.len(),
            least: SHORTEST,
        });
    }
    Ok(record::read(ENTRIES, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstar_source::record::EntryValue;

    #[test]
    fn an_unset_window_is_absent() {
        let mut payload = [0; 86];
        payload[..4].copy_from_slice(&[48, 0, 7, 30]);
        let settings = decode(&payload).expect("long enough");
        assert!(settings.get("charge_window_start").is_none());
        assert_eq!(
            settings.get("charge_window_end"),
            Some(&EntryValue::Text("07:30".to_owned()))
        );
    }

    #[test]
    fn the_short_form_of_the_app_is_enough() {
        assert!(decode(&[0; 34]).is_ok());
        assert_eq!(
            decode(&[0; 33]).err(),
            Some(Refusal::UnsupportedLength {
                found: 33,
                least: 34
            })
        );
    }

    #[test]
    fn the_table_follows_the_bytes_without_overlap() {
        for fields in [ENTRIES, crate::wire::device_info::ENTRIES] {
            let mut end = 0;
            for field in fields {
                assert!(
                    field.offset >= end,
                    "{} overlaps what is before it",
                    field.key
                );
                end = field.offset + field.form.width();
            }
        }
    }
}
