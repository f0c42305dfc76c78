//! Running data: the reply to 0106, what the inverter measures now (PROTOCOL 4).
//!
//! One table says where each value stands. A value whose unit or resolution differs from the catalogue's does not
//! compile. Every length from 81 bytes up is read by the same table: what does not fit is absent, so a firmware
//! that sends more or less than a known one is no stranger. What the table alone cannot say stands in `interpret`.

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::labels::{
    BackupMode, BatteryMode, BatteryWarnings, BmsErrors, Diagnostics, Errors, GridDirection,
    InverterState, PvMode, WorkMode,
};
use kstar_model::scalar::{Clock, Scalar};
use kstar_model::units::{Amperes, Celsius, Hertz, Hours, KilowattHours, Percent, Volts, Watts};

pub use super::field::Form;
use super::frame::Refusal;

/// The shortest payload of any known machine (PROTOCOL 7).
pub const SHORTEST: usize = 81;

/// What stands at a place of the payload.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Bytes from the beginning of the payload.
    pub offset: usize,
    /// Width and sign.
    pub form: Form,
    /// The name that decoders of this protocol give it.
    pub wire_name: &'static str,
    /// What it means.
    pub meaning: Meaning,
}

/// What a field means.
#[derive(Clone, Copy, Debug)]
pub enum Meaning {
    /// It is the source of this quantity.
    Quantity(Quantity),
    /// It is not read; this is all that is known of it.
    NotRead(&'static str),
}

macro_rules! layout {
    ($($offset:literal $form:ident $wire_name:ident $($quantity:ident: $scalar:ty)? $(= $note:literal)?;)+) => {
        /// Every known field, in the order of the bytes.
        pub const LAYOUT: &[Field] = &[$(Field {
            offset: $offset,
            form: Form::$form,
            wire_name: stringify!($wire_name),
            meaning: layout!(@meaning $($quantity)? $($note)?),
        },)+];

        /// Reads what stands in the table.
        #[inline]
        fn read(payload: &[u8], values: &mut Values) {
            $($(
                let value: Option<$scalar> = Form::$form.read(payload, $offset).and_then(Scalar::from_raw);
                values.$quantity = value;
            )?)+
        }
    };
    (@meaning $quantity:ident) => { Meaning::Quantity(Quantity::$quantity) };
    (@meaning $note:literal) => { Meaning::NotRead($note) };
}

layout! {
      0 U16 vpv1 pv1_voltage: Volts<1>;
      2 U16 ipv1 pv1_current: Amperes<1>;
      4 U8 pv1_mode pv1_mode: PvMode;
      5 U16 vpv2 pv2_voltage: Volts<1>;
      7 U16 ipv2 pv2_current: Amperes<1>;
      9 U8 pv2_mode pv2_mode: PvMode;
     10 U16 vbattery1 battery_voltage: Volts<1>;
     12 U16 vbattery2 = "unknown; 0 on KSE, 0 to 3 on GoodWe, 415 on one BP";
     14 U16 battery_status = "unknown code; 0x50 or 0x52 with a BMS, 0 without";
     16 Temperature battery_temperature battery_temperature: Celsius<1>;
     18 U16 ibattery1 battery_current: Amperes<1>;
     20 U16 battery_charge_limit battery_charge_limit: Amperes<0>;
     22 U16 battery_discharge_limit battery_discharge_limit: Amperes<0>;
     24 U16 bms_error bms_errors: BmsErrors;
     26 U8 battery_soc battery_soc: Percent<0>;
     27 U8 cbattery2 = "0 everywhere";
     28 U8 cbattery3 = "the state of charge again";
     29 U8 battery_soh battery_soh: Percent<0>;
     30 U8 battery_mode battery_mode: BatteryMode;
     31 U16 battery_warning battery_warnings: BatteryWarnings;
     33 U8 meter_status = "unknown code; 1 on GoodWe, 0 on KSE although its meter works";
     34 U16 vgrid grid_voltage: Volts<1>;
     36 U16 igrid inverter_current: Amperes<1>;
     38 U16 pgrid grid_power: Watts<0>;
     40 U16 fgrid grid_frequency: Hertz<2>;
     42 U8 grid_mode inverter_state: InverterState;
     43 U16 vload backup_voltage: Volts<1>;
     45 U16 iload backup_current: Amperes<1>;
     47 I16 pload load_power: Watts<0>;
     49 U16 fload backup_frequency: Hertz<2>;
     51 U8 load_mode backup_mode: BackupMode;
     52 U8 work_mode work_mode: WorkMode;
     53 Temperature temperature inverter_temperature: Celsius<1>;
     55 U32 error_codes errors: Errors;
     59 U32 e_total energy_total: KilowattHours<1>;
     63 U32 h_total operating_hours: Hours<0>;
     67 U16 e_day energy_today: KilowattHours<1>;
     69 U16 e_load_day load_energy_today: KilowattHours<1>;
     71 U32 e_load_total load_energy_total: KilowattHours<1>;
     75 I16 total_power inverter_power: Watts<0>;
     77 U8 effective_work_mode = "unknown code; 1 in every capture";
     78 U16 effective_relay_control = "unknown bits; 0x10 off-grid charge and 0x20 back-up supply are likely";
     80 U8 grid_in_out grid_direction: GridDirection;
     81 I16 pback_up backup_power: Watts<0>;
     83 U16 meter_power_factor = "1 in every capture, so of no use";
     87 I16 unknown_87 = "unknown, -443 to 997";
     89 U32 diagnose_result diagnostics: Diagnostics;
     95 DateTime clock inverter_clock: Clock;
    125 U32 e_battery_charge = "perhaps energy into the battery in 0.1 kWh; not proven";
    129 U32 e_battery_discharge = "perhaps energy out of the battery in 0.1 kWh; not proven";
    133 U8 unknown_133 = "unknown, 2 or 4";
}

/// The values in a payload of running data. Without allocation; [`Values::reply_time`] is left to the caller.
pub fn decode(payload: &[u8]) -> Result<Values, Refusal> {
    if payload.len() < SHORTEST {
        return Err(Refusal::UnsupportedLength {
            found: payload.len(),
            least: SHORTEST,
        });
    }
    let mut values = Values::default();
    read(payload, &mut values);
    interpret(&mut values);
    values.derive();
    Ok(values)
}

/// What one field says about another.
fn interpret(values: &mut Values) {
    // Currents and the meter's power come as magnitudes with the direction in a byte of its own (PROTOCOL 6.2, 6.3).
    let battery_sign = match values.battery_mode {
        Some(BatteryMode::CHARGING) => 1,
        Some(BatteryMode::DISCHARGING) => -1,
        _ => 0,
    };
    values.battery_current = times(values.battery_current, battery_sign);
    values.grid_power = match values.grid_direction {
        Some(GridDirection::IMPORTING) => values.grid_power,
        Some(GridDirection::EXPORTING) => times(values.grid_power, -1),
        // Inside the meter's dead band the magnitude is noise.
        Some(GridDirection::IDLE) => times(values.grid_power, 0),
        // A power whose direction nobody knows is no value.
        _ => None,
    };
    // Without a BMS these fields hold 0, which is not 0 °C and does not forbid charging (PROTOCOL 4, 8).
    if values.bms_errors.is_none_or(BmsErrors::without_bms) {
        values.battery_temperature = None;
        values.battery_charge_limit = None;
        values.battery_discharge_limit = None;
    }
    // 0 is also sent by batteries that do not tell, and a dead battery would not be running (PROTOCOL 4).
    values.battery_soh = values.battery_soh.filter(|health| health.raw() != 0);
}

fn times<T: Scalar>(value: Option<T>, factor: i64) -> Option<T> {
    T::from_raw(value?.raw() * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_bytes_without_overlap() {
        let mut end = 0;
        for field in LAYOUT {
            assert!(
                field.offset >= end,
                "{} at {} overlaps what is before it",
                field.wire_name,
                field.offset
            );
            end = field.offset + field.form.width();
        }
    }

    #[test]
    fn a_payload_shorter_than_any_known_form_is_refused() {
        assert_eq!(
            decode(&[0; 80]),
            Err(Refusal::UnsupportedLength {
                found: 80,
                least: 81
            })
        );
        assert!(decode(&[0; 81]).is_ok());
        assert!(decode(&[0; 255]).is_ok());
    }

    /// A payload of zeros with these bytes at these offsets.
    fn values(length: usize, fields: &[(usize, &[u8])]) -> Values {
        let mut payload = vec![0; length];
        for (offset, bytes) in fields {
            payload[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        decode(&payload).expect("long enough")
    }

    #[test]
    fn a_field_that_is_not_sent_is_absent() {
        assert_eq!(values(81, &[]).backup_power, None);
        assert_eq!(values(82, &[]).backup_power, None);
        assert_eq!(values(83, &[]).backup_power, Some(Watts::new(0)));
        assert_eq!(values(92, &[]).diagnostics, None);
        assert_eq!(values(93, &[]).diagnostics, Some(Diagnostics(0)));
        let clock: (usize, &[u8]) = (95, &[23, 3, 24, 18, 5, 20]);
        assert_eq!(
            values(101, &[clock]).inverter_clock,
            Clock::new([2023, 3, 24, 18, 5, 20])
        );
    }

    #[test]
    fn the_battery_s_direction_is_in_its_mode() {
        let with_mode = |mode| {
            let values = values(83, &[(10, &[1, 0xfb]), (18, &[1, 0x1b]), (30, &[mode])]);
            [
                values.battery_power,
                values.battery_charge_power,
                values.battery_discharge_power,
            ]
            .map(|power| power.map(Scalar::raw))
        };
        assert_eq!(with_mode(3), [Some(143_481), Some(143_481), Some(0)]);
        assert_eq!(with_mode(2), [Some(-143_481), Some(0), Some(143_481)]);
        for idle in [0, 1, 4, 5, 7] {
            assert_eq!(with_mode(idle), [Some(0); 3], "mode {idle}");
        }
    }

    #[test]
    fn the_grid_s_direction_is_in_its_byte_and_an_unknown_one_gives_no_power() {
        let with_direction = |direction| {
            let values = values(83, &[(38, &[0x1a, 0x5a]), (80, &[direction])]);
            [
                values.grid_power,
                values.grid_import_power,
                values.grid_export_power,
            ]
            .map(|power| power.map(Scalar::raw))
        };
        assert_eq!(with_direction(0), [Some(0); 3]);
        assert_eq!(with_direction(1), [Some(-6746), Some(0), Some(6746)]);
        assert_eq!(with_direction(2), [Some(6746), Some(6746), Some(0)]);
        assert_eq!(with_direction(3), [None; 3]);
    }

    #[test]
    fn without_a_bms_its_values_are_absent_and_with_one_a_limit_of_zero_is_real() {
        let without = values(83, &[(16, &[0, 150]), (24, &[1, 0])]);
        assert_eq!(
            (without.battery_temperature, without.battery_charge_limit),
            (None, None)
        );
        let with = values(83, &[(16, &[0, 150])]);
        assert_eq!(with.battery_temperature, Some(Celsius::new(150)));
        assert_eq!(
            (with.battery_charge_limit, with.battery_discharge_limit),
            (Some(Amperes::new(0)), Some(Amperes::new(0)))
        );
    }

    #[test]
    fn a_state_of_health_of_zero_is_unknown() {
        assert_eq!(values(83, &[]).battery_soh, None);
        assert_eq!(
            values(83, &[(29, &[98])]).battery_soh,
            Some(Percent::new(98))
        );
    }

    #[test]
    fn powers_may_be_negative() {
        let values = values(83, &[(47, &[0xfe, 0xea]), (75, &[0xfe, 0xea])]);
        assert_eq!(
            (values.load_power, values.inverter_power),
            (Some(Watts::new(-278)), Some(Watts::new(-278)))
        );
    }
}
