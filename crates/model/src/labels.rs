//! Modes and flags: codes of the inverter with their labels.
//!
//! A label is the field's usual word in lower snake case. A code nobody has a word for is `unknown_7`, a bit
//! `bit_7`: a new firmware must not make a reading fail. Sources of each list: `PROTOCOL.md` sections 4.2 to 4.5.
//!
//! The codes below 256 are those of AA55, which sends them as bytes. Other protocols have codes of their own, which their
//! sources translate to the codes here; labels that AA55 lacks have codes from 256 up.

use crate::scalar::{Kind, Labels, unsigned};

macro_rules! modes {
    ($($(#[doc = $doc:literal])+ $mode:ident { $($(#[doc = $code_doc:literal])* $constant:ident = $code:literal $label:literal,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $mode(pub u16);

        impl $mode {
            $(
                #[doc = concat!("Code ", $code, ", `", $label, "`.")]
                $(#[doc = $code_doc])*
                pub const $constant: Self = Self($code);
            )+
        }

        unsigned!($mode(u16), Kind::Mode(Labels(&[$(($code, $label)),+])));
    )+};
}

modes! {
    /// What a PV string does. May stay 0 on GoodWe machines while current flows, so nothing depends on it.
    PvMode {
        NOT_CONNECTED = 0 "not_connected",
        NO_POWER = 1 "no_power",
        PRODUCING = 2 "producing",
    }
    /// Which way the battery's current flows.
    BatteryMode {
        NO_BATTERY = 0 "no_battery",
        STANDBY = 1 "standby",
        DISCHARGING = 2 "discharging",
        CHARGING = 3 "charging",
        TO_BE_CHARGED = 4 "to_be_charged",
        TO_BE_DISCHARGED = 5 "to_be_discharged",
        /// Its converter is starting.
        SOFT_START = 256 "soft_start",
    }
    /// Which way the grid's power flows.
    GridDirection {
        /// Inside the meter's dead band of some 30 W.
        IDLE = 0 "idle",
        EXPORTING = 1 "exporting",
        IMPORTING = 2 "importing",
    }
    /// Whether the back-up output is switched on.
    BackupMode {
        DISCONNECTED = 0 "disconnected",
        CONNECTED = 1 "connected",
    }
    /// Whether the inverter runs.
    InverterState {
        STANDBY = 0 "standby",
        ON = 1 "on",
        /// Its output has stopped.
        ABNORMAL = 2 "abnormal",
        /// It starts again in about 20 s.
        SEVERE_FAULT = 3 "severe_fault",
        OFF_GRID = 256 "off_grid",
        ON_GRID = 257 "on_grid",
        GOING_ON_GRID = 258 "going_on_grid",
        GOING_OFF_GRID = 259 "going_off_grid",
    }
    /// How the inverter works with the grid and the battery.
    WorkMode {
        CHECK = 0 "check",
        WAIT = 1 "wait",
        NORMAL_ON_GRID = 2 "normal_on_grid",
        NORMAL_OFF_GRID = 4 "normal_off_grid",
        /// Its firmware is being written.
        UPDATING = 8 "updating",
        FAULT = 16 "fault",
        BATTERY_STANDBY = 32 "battery_standby",
        BATTERY_CHARGING = 64 "battery_charging",
        BATTERY_DISCHARGING = 128 "battery_discharging",
        INITIALIZING = 256 "initializing",
        STANDBY = 257 "standby",
        CHARGING_FROM_GRID = 258 "charging_from_grid",
        CHARGING_FROM_PV = 259 "charging_from_pv",
        /// The grid goes straight through to the back-up output.
        GRID_BYPASS = 260 "grid_bypass",
        DEBUG = 261 "debug",
        FORCED_CHARGE = 262 "forced_charge",
        SWITCHED_ON_SEPARATELY = 263 "switched_on_separately",
        PERMANENT_ERROR = 264 "permanent_error",
    }
    /// What kind of battery there is.
    BatteryType {
        LEAD_ACID = 1 "lead_acid",
        LITHIUM_IRON_PHOSPHATE = 6 "lithium_iron_phosphate",
    }
    /// By which plan a KSTAR hybrid uses its battery.
    OperationStrategy {
        SELF_USE = 0 "self_use",
        TIME_OF_USE = 1 "time_of_use",
        BATTERY_PRIORITY = 2 "battery_priority",
    }
}

macro_rules! flags {
    ($($(#[doc = $doc:literal])+ $set:ident = $labels:expr;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $set(pub u32);

        unsigned!($set(u32), Kind::Flags($labels));
    )+};
}

/// What a battery's management system reports, for errors and warnings alike (that the warnings use the same
/// list is likely, not proven: no capture has one).
const BMS: Labels = Labels(&[
    (0, "over_temperature"),
    (1, "under_temperature"),
    (2, "cell_voltage_difference"),
    (3, "total_voltage_high"),
    (4, "discharge_current_high"),
    (5, "charge_current_high"),
    (6, "soc_low"),
    (7, "total_voltage_low"),
    (BmsErrors::NO_COMMUNICATION_BIT, "no_bms_communication"),
    (9, "output_short_circuit"),
    (10, "soc_high"),
    (11, "bms_module_fault"),
    (12, "bms_system_fault"),
    (13, "bms_internal_fault"),
]);

impl BmsErrors {
    /// The bit of a battery without a management system, or with one that does not answer.
    const NO_COMMUNICATION_BIT: u16 = 8;

    /// Whether the battery has no management system that answers. On a lead-acid bank that is no fault.
    pub fn without_bms(self) -> bool {
        self.0 >> Self::NO_COMMUNICATION_BIT & 1 == 1
    }
}

flags! {
    /// Errors that the battery's management system reports.
    BmsErrors = BMS;
    /// Warnings that the battery's management system reports.
    BatteryWarnings = BMS;
    /// Errors of the inverter. The words are GoodWe's; KSTAR's own are not known, so the raw bits are kept beside.
    Errors = Labels(&[
        (0, "gfci_device_check_failure"),
        (1, "ac_current_sensor_check_failure"),
        (3, "dc_injection_consistency_failure"),
        (4, "gfci_consistency_failure"),
        (6, "gfci_device_failure"),
        (7, "relay_device_failure"),
        (8, "ac_current_sensor_failure"),
        (9, "utility_loss"),
        (10, "ground_current_failure"),
        (11, "dc_bus_high"),
        (12, "internal_fan_failure"),
        (13, "over_temperature"),
        (14, "utility_phase_failure"),
        (15, "pv_over_voltage"),
        (16, "external_fan_failure"),
        (17, "ac_voltage_out_of_range"),
        (18, "isolation_failure"),
        (19, "dc_injection_high"),
        (20, "backup_overload"),
        (22, "ac_frequency_consistency_failure"),
        (23, "ac_voltage_consistency_failure"),
        (25, "relay_check_failure"),
        (27, "phase_angle_failure"),
        (28, "dsp_communication_failure"),
        (29, "ac_frequency_out_of_range"),
        (30, "eeprom_failure"),
        (31, "internal_communication_failure"),
    ]);
    /// What the inverter says of its own decisions; only GoodWe machines with long replies send it.
    Diagnostics = Labels(&[
        (0, "battery_voltage_low"),
        (1, "soc_low"),
        (2, "soc_recovered"),
        (3, "bms_forbids_discharge"),
        (4, "discharge_window_on"),
        (5, "charge_window_on"),
        (6, "discharge_driver_on"),
        (7, "bms_discharge_current_low"),
        (8, "app_discharge_current_low"),
        (9, "meter_communication_failure"),
        (10, "meter_reversed"),
        (11, "self_use_load_light"),
        (12, "ems_discharge_current_zero"),
        (13, "bus_high_from_pv_on_discharge"),
        (14, "battery_disconnected"),
        (15, "battery_overcharged"),
        (16, "bms_temperature_high"),
        (17, "bms_charge_high"),
        (18, "bms_forbids_charge"),
        (19, "self_use_off"),
        (20, "soc_volatile"),
        (21, "self_discharge_high"),
        (22, "soc_low_off_grid"),
        (23, "grid_wave_unstable"),
        (24, "export_limit_set"),
        (25, "power_factor_set"),
        (26, "real_power_limit_set"),
        (27, "dc_output_on"),
        (28, "soc_protection_off"),
        (30, "bms_emergency_charging"),
    ]);
    /// Alarms of a KSTAR hybrid. That bit n is the display's W n is likely and not proven, so no bit has a word.
    Alarms = Labels(&[]);
    /// Errors of a KSTAR hybrid; no bit has a word.
    KstarErrors = Labels(&[]);
    /// Alarms of a battery at a GoodWe ET.
    BatteryAlarms = Labels(&[
        (0, "charge_over_voltage_2"),
        (1, "discharge_under_voltage_2"),
        (2, "cell_over_temperature_2"),
        (3, "cell_under_temperature_2"),
        (4, "charge_over_current_2"),
        (5, "discharge_over_current_2"),
        (6, "pre_charge_fault"),
        (7, "dc_bus_fault"),
        (8, "battery_break"),
        (9, "battery_lock"),
        (10, "discharge_circuit_failure"),
        (11, "charge_circuit_failure"),
        (12, "communication_failure_2"),
        (13, "cell_over_temperature_3"),
        (14, "discharge_under_voltage_3"),
        (15, "charge_over_voltage_3"),
    ]);
    /// Warnings of a battery at a GoodWe ET.
    BmsWarnings = Labels(&[
        (0, "charge_over_voltage_1"),
        (1, "discharge_under_voltage_1"),
        (2, "cell_over_temperature_1"),
        (3, "cell_under_temperature_1"),
        (4, "charge_over_current_1"),
        (5, "discharge_over_current_1"),
        (6, "communication_failure_1"),
        (7, "system_restart"),
        (8, "cell_imbalance"),
        (9, "system_under_temperature_1"),
        (10, "system_under_temperature_2"),
        (11, "system_over_temperature"),
    ]);
    /// Why a string inverter gives less than it could.
    Derating = Labels(&[
        (0, "over_temperature"),
        (1, "active_power"),
        (2, "reactive_power"),
        (3, "frequency"),
        (4, "voltage_curve"),
        (5, "export_limit"),
        (6, "demand_response"),
        (7, "power_start"),
        (8, "current"),
        (9, "over_voltage"),
        (10, "calibration"),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::{ModeLabel, Scalar, set_flags};

    fn labels(kind: Kind) -> Labels {
        match kind {
            Kind::Mode(labels) | Kind::Flags(labels) => labels,
            other => unreachable!("{other:?} has no labels"),
        }
    }

    #[test]
    fn an_unknown_code_is_named_and_no_error() {
        let name = |code| {
            ModeLabel {
                labels: labels(BatteryMode::KIND),
                code,
            }
            .to_string()
        };
        assert_eq!(name(3), "charging");
        assert_eq!(name(7), "unknown_7");
    }

    #[test]
    fn set_flags_come_lowest_first_and_a_bit_without_a_word_is_numbered() {
        let errors = 1 << 31 | 1 << 2 | 1 << 9;
        let named: Vec<String> = set_flags(labels(Errors::KIND), errors)
            .map(|flag| flag.to_string())
            .collect();
        assert_eq!(
            named,
            ["bit_2", "utility_loss", "internal_communication_failure"]
        );
    }

    #[test]
    fn bit_eight_of_the_bms_errors_means_that_there_is_no_bms() {
        assert!(BmsErrors(0x0100).without_bms());
        assert!(!BmsErrors(0x00ff).without_bms());
    }
}
