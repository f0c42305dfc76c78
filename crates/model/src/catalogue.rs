//! The catalogue: each quantity named once, with its unit, resolution, label and meaning.
//!
//! From this one table come the struct of [`Values`], the keys of a JSON line, the columns of SQLite, the fields
//! and topics of other sinks, `kstar fields` and the table in `docs/readings.md`. A sink loops over
//! [`Quantity::ALL`] and never names a quantity. A name never changes its meaning or unit; a new meaning is a new name.
//! `pv_power + grid_power = load_power + backup_power + battery_power` and losses: sources left, uses right.

use std::fmt;

use crate::labels::{
    Alarms, BackupMode, BatteryAlarms, BatteryMode, BatteryType, BatteryWarnings, BmsErrors,
    BmsWarnings, Derating, Diagnostics, Errors, GridDirection, InverterState, KstarErrors,
    OperationStrategy, PvMode, WorkMode,
};
use crate::scalar::{Bits, Clock, Kind, Scalar};
use crate::scalar::{Labels, ModeLabel, set_flags};
use crate::units::{
    Amperes, Celsius, Decimal, Hertz, Hours, KilowattHours, Milliseconds, Percent, Volts, Watts,
};

/// Where in the house a quantity belongs; tables are ordered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The solar panels.
    Pv,
    /// The battery.
    Battery,
    /// The grid connection, where the meter sits.
    Grid,
    /// What the house uses.
    Load,
    /// The inverter itself.
    Inverter,
    /// The inverter's own counters.
    Energy,
    /// The collector's meter, which adds up what the inverter has no counters for.
    Meter,
    /// The way to the inverter.
    Link,
}

impl Group {
    /// The group's name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pv => "PV",
            Self::Battery => "Battery",
            Self::Grid => "Grid",
            Self::Load => "Load",
            Self::Inverter => "Inverter",
            Self::Energy => "Energy",
            Self::Meter => "Meter",
            Self::Link => "Link",
        }
    }
}

/// How a quantity follows from others. What follows is not stored: anyone who stores readings computes it again, but for what
/// an inverter has [`told`](Values::told) itself, which takes precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// One times the other; the decimals of both together.
    Product(Quantity, Quantity),
    /// One plus the other; absent if either is.
    Sum(Quantity, Quantity),
    /// The quantity where it is above zero, else 0.
    Positive(Quantity),
    /// The quantity's size where it is below zero, else 0.
    Negative(Quantity),
    /// The integer behind a set of flags.
    Bits(Quantity),
}

impl Derivation {
    /// What it follows from.
    pub fn sources(self) -> impl Iterator<Item = Quantity> {
        let (one, other) = match self {
            Self::Product(one, other) | Self::Sum(one, other) => (one, Some(other)),
            Self::Positive(of) | Self::Negative(of) | Self::Bits(of) => (of, None),
        };
        std::iter::once(one).chain(other)
    }

    #[inline]
    fn raw(self, values: &Values) -> Option<i64> {
        match self {
            Self::Product(one, other) => values.raw(one)?.checked_mul(values.raw(other)?),
            Self::Sum(one, other) => values.raw(one)?.checked_add(values.raw(other)?),
            Self::Positive(of) => Some(values.raw(of)?.max(0)),
            Self::Negative(of) => Some(values.raw(of)?.min(0).saturating_neg()),
            Self::Bits(of) => values.raw(of),
        }
    }
}

/// What a quantity means to anyone who looks after the house, where unit and kind alone do not tell. Servers with a
/// vocabulary of their own have words for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing beyond its unit and kind.
    Plain,
    /// How full a battery is.
    StateOfCharge,
    /// A set of flags of which one is enough for something to be wrong.
    Fault {
        /// The labels that alone are no fault.
        harmless: &'static [&'static str],
    },
    /// What another counter has counted since the day began. Where such a one falls, it counts from zero; where any
    /// other counter does, it is another counter.
    Today {
        /// The counter that does not start again; it has the same unit and decimals.
        of: Quantity,
    },
}

/// What there is to know about a quantity.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The name in configuration, JSON, columns and topics.
    pub name: &'static str,
    /// The name for people.
    pub label: &'static str,
    /// The meaning, with the sign where there is one.
    pub meaning: &'static str,
    /// Where it belongs.
    pub group: Group,
    /// The unit's symbol, empty where there is none.
    pub unit: &'static str,
    /// How many decimals a raw value carries.
    pub decimals: u8,
    /// What kind of quantity it is.
    pub kind: Kind,
    /// How it follows from others, if it does.
    pub derivation: Option<Derivation>,
    /// What it means beyond unit and kind.
    pub role: Role,
}

macro_rules! catalogue {
    ($($group:ident {
        $($(#[doc = $meaning:literal])+ $name:ident: $scalar:ty, $label:literal $(= $derivation:ident($($of:ident),+))? $(, $role:expr)?;)+
    })+) => {
        /// A quantity of the catalogue.
        #[expect(non_camel_case_types, reason = "a quantity has one spelling everywhere, in code as in JSON")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Quantity {
            $($($(#[doc = $meaning])+ $name,)+)+
        }

        /// The values of one reading; what the inverter did not send is `None`, never 0.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Values {
            $($($(#[doc = $meaning])+ pub $name: Option<$scalar>,)+)+
        }

        impl Quantity {
            /// Every quantity, in the order in which tables show them.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)+)+];

            const DESCRIPTIONS: &'static [Description] = &[$($(Description {
                name: stringify!($name),
                label: $label,
                meaning: concat!($($meaning),+).trim_ascii(),
                group: Group::$group,
                unit: <$scalar as Scalar>::UNIT,
                decimals: <$scalar as Scalar>::DECIMALS,
                kind: <$scalar as Scalar>::KIND,
                derivation: catalogue!(@derivation $($derivation($($of),+))?),
                role: catalogue!(@role $($role)?),
            },)+)+];

            /// What there is to know about it.
            pub const fn description(self) -> &'static Description {
                #[expect(clippy::indexing_slicing, reason = "one description per variant, made by the same macro")]
                &Self::DESCRIPTIONS[self as usize]
            }
        }

        impl Values {
            /// The raw value of a quantity, if it is present.
            // A copy of so long a match at each call makes the program much larger, and not noticeably faster.
            #[inline(never)]
            pub fn raw(&self, quantity: Quantity) -> Option<i64> {
                match quantity {
                    $($(Quantity::$name => self.$name.map(Scalar::raw),)+)+
                }
            }

            /// Sets the raw value of a quantity; what its type cannot hold makes it absent.
            #[inline(never)]
            pub fn set_raw(&mut self, quantity: Quantity, raw: Option<i64>) {
                match quantity {
                    $($(Quantity::$name => self.$name = raw.and_then(Scalar::from_raw),)+)+
                }
            }

            /// Computes every quantity that follows from others, unless it is present: what a machine has told itself takes
            /// precedence.
            #[inline(never)]
            pub fn derive(&mut self) {
                $($($(
                    self.$name = self.$name.or_else(|| {
                        Derivation::$derivation($(Quantity::$of),+).raw(self).and_then(Scalar::from_raw)
                    });
                )?)+)+
            }
        }
    };
    (@role) => { Role::Plain };
    (@role $role:expr) => { $role };
    (@derivation) => { None };
    (@derivation $derivation:ident($($of:ident),+)) => { Some(Derivation::$derivation($(Quantity::$of),+)) };
}

catalogue! {
    Pv {
        /// Voltage of PV string 1. Up to 200 V may stand there at dawn and dusk without any power.
        pv1_voltage: Volts<1>, "PV1 voltage";
        /// Current of PV string 1.
        pv1_current: Amperes<1>, "PV1 current";
        /// Power of PV string 1: its voltage times its current, unless the inverter tells it.
        pv1_power: Watts<2>, "PV1 power" = Product(pv1_voltage, pv1_current);
        /// State of PV string 1.
        pv1_mode: PvMode, "PV1 mode";
        /// Voltage of PV string 2.
        pv2_voltage: Volts<1>, "PV2 voltage";
        /// Current of PV string 2.
        pv2_current: Amperes<1>, "PV2 current";
        /// Power of PV string 2: its voltage times its current, unless the inverter tells it.
        pv2_power: Watts<2>, "PV2 power" = Product(pv2_voltage, pv2_current);
        /// State of PV string 2.
        pv2_mode: PvMode, "PV2 mode";
        /// Voltage of PV string 3.
        pv3_voltage: Volts<1>, "PV3 voltage";
        /// Current of PV string 3.
        pv3_current: Amperes<1>, "PV3 current";
        /// Power of PV string 3: its voltage times its current, unless the inverter tells it.
        pv3_power: Watts<2>, "PV3 power" = Product(pv3_voltage, pv3_current);
        /// State of PV string 3.
        pv3_mode: PvMode, "PV3 mode";
        /// Voltage of PV string 4.
        pv4_voltage: Volts<1>, "PV4 voltage";
        /// Current of PV string 4.
        pv4_current: Amperes<1>, "PV4 current";
        /// Power of PV string 4: its voltage times its current, unless the inverter tells it.
        pv4_power: Watts<2>, "PV4 power" = Product(pv4_voltage, pv4_current);
        /// State of PV string 4.
        pv4_mode: PvMode, "PV4 mode";
        /// Power of all PV strings together, on the DC side.
        pv_power: Watts<2>, "PV power" = Sum(pv1_power, pv2_power);
    }
    Battery {
        /// Voltage of the battery.
        battery_voltage: Volts<1>, "Battery voltage";
        /// Current of the battery: positive while charging, negative while discharging, 0 in every other mode.
        battery_current: Amperes<1>, "Battery current";
        /// Power of the battery, of both where there are two: voltage times current, unless the inverter tells it; positive
        /// while charging, negative while discharging.
        battery_power: Watts<2>, "Battery power" = Product(battery_voltage, battery_current);
        /// Power into the battery, 0 while it is not charging.
        battery_charge_power: Watts<2>, "Battery charge power" = Positive(battery_power);
        /// Power out of the battery, 0 while it is not discharging.
        battery_discharge_power: Watts<2>, "Battery discharge power" = Negative(battery_power);
        /// State of charge. Without a BMS it is the inverter's own estimate and may jump.
        battery_soc: Percent<0>, "Battery state of charge", Role::StateOfCharge;
        /// State of health; absent while the battery does not tell.
        battery_soh: Percent<0>, "Battery state of health";
        /// Temperature of the battery; absent without a BMS.
        battery_temperature: Celsius<1>, "Battery temperature";
        /// Highest charge current that the BMS allows; absent without a BMS.
        battery_charge_limit: Amperes<0>, "Battery charge limit";
        /// Highest discharge current that the BMS allows; absent without a BMS.
        battery_discharge_limit: Amperes<0>, "Battery discharge limit";
        /// What the battery does.
        battery_mode: BatteryMode, "Battery mode";
        /// Errors of the BMS; `no_bms_communication` is no fault where there is no BMS.
        bms_errors: BmsErrors, "BMS errors", Role::Fault { harmless: &["no_bms_communication"] };
        /// Warnings of the battery.
        battery_warnings: BatteryWarnings, "Battery warnings";
        /// Alarms that the battery's management system reports to a GoodWe ET.
        battery_alarms: BatteryAlarms, "Battery alarms", Role::Fault { harmless: &[] };
        /// Warnings that the battery's management system reports to a GoodWe ET.
        bms_warnings: BmsWarnings, "BMS warnings";
        /// What kind of battery it is.
        battery_type: BatteryType, "Battery type";
        /// Temperature of the heat sink of the battery's converter.
        battery_heatsink_temperature: Celsius<1>, "Battery heat sink temperature";
        /// Voltage of the cell with the highest.
        battery_cell_voltage_max: Volts<3>, "Battery cell voltage maximum";
        /// Voltage of the cell with the lowest.
        battery_cell_voltage_min: Volts<3>, "Battery cell voltage minimum";
        /// Temperature of the warmest cell.
        battery_cell_temperature_max: Celsius<1>, "Battery cell temperature maximum";
        /// Temperature of the coldest cell.
        battery_cell_temperature_min: Celsius<1>, "Battery cell temperature minimum";
        /// State of charge of battery pack 1.
        battery_pack1_soc: Percent<0>, "Battery pack 1 state of charge", Role::StateOfCharge;
        /// State of charge of battery pack 2.
        battery_pack2_soc: Percent<0>, "Battery pack 2 state of charge", Role::StateOfCharge;
        /// State of charge of battery pack 3.
        battery_pack3_soc: Percent<0>, "Battery pack 3 state of charge", Role::StateOfCharge;
        /// Voltage of the second battery.
        battery2_voltage: Volts<1>, "Battery 2 voltage";
        /// Current of the second battery: positive while charging, negative while discharging.
        battery2_current: Amperes<1>, "Battery 2 current";
        /// Power of the second battery, a part of `battery_power`: positive while charging, negative while discharging.
        battery2_power: Watts<2>, "Battery 2 power" = Product(battery2_voltage, battery2_current);
        /// State of charge of the second battery.
        battery2_soc: Percent<0>, "Battery 2 state of charge", Role::StateOfCharge;
        /// What the second battery does.
        battery2_mode: BatteryMode, "Battery 2 mode";
    }
    Grid {
        /// Voltage of the grid; of phase L1 where there are three.
        grid_voltage: Volts<1>, "Grid voltage";
        /// Frequency of the grid.
        grid_frequency: Hertz<2>, "Grid frequency";
        /// Power at the grid connection: positive while importing, negative while exporting, 0 while idle.
        grid_power: Watts<0>, "Grid power";
        /// Power taken from the grid, 0 while there is none.
        grid_import_power: Watts<0>, "Grid import power" = Positive(grid_power);
        /// Power fed into the grid, 0 while there is none.
        grid_export_power: Watts<0>, "Grid export power" = Negative(grid_power);
        /// Which way the power at the grid connection flows.
        grid_direction: GridDirection, "Grid direction";
        /// Voltage of the grid's phase L2.
        grid_l2_voltage: Volts<1>, "Grid L2 voltage";
        /// Voltage of the grid's phase L3.
        grid_l3_voltage: Volts<1>, "Grid L3 voltage";
        /// Power at the grid connection on phase L1, a part of `grid_power`: positive while importing.
        grid_l1_power: Watts<0>, "Grid L1 power";
        /// Power at the grid connection on phase L2, a part of `grid_power`: positive while importing.
        grid_l2_power: Watts<0>, "Grid L2 power";
        /// Power at the grid connection on phase L3, a part of `grid_power`: positive while importing.
        grid_l3_power: Watts<0>, "Grid L3 power";
        /// Current at the grid connection on phase L1, as the inverter's meter measures it.
        grid_l1_current: Amperes<1>, "Grid L1 current";
        /// Current at the grid connection on phase L2, as the inverter's meter measures it.
        grid_l2_current: Amperes<1>, "Grid L2 current";
        /// Current at the grid connection on phase L3, as the inverter's meter measures it.
        grid_l3_current: Amperes<1>, "Grid L3 current";
    }
    Load {
        /// Power of the house without the back-up output, of all phases, as the inverter computes it; may be negative.
        load_power: Watts<0>, "Load power";
        /// Voltage of the back-up output; of phase L1 where there are three.
        backup_voltage: Volts<1>, "Back-up voltage";
        /// Current of the back-up output, of phase L1 where there are three; some 0.5 A flow through its filter without a load.
        backup_current: Amperes<1>, "Back-up current";
        /// Frequency of the back-up output.
        backup_frequency: Hertz<2>, "Back-up frequency";
        /// Power of the back-up output, of all its phases.
        backup_power: Watts<0>, "Back-up power";
        /// State of the back-up output.
        backup_mode: BackupMode, "Back-up mode";
        /// Power of the house without the back-up output on phase L1, a part of `load_power`.
        load_l1_power: Watts<0>, "Load L1 power";
        /// Power of the house without the back-up output on phase L2, a part of `load_power`.
        load_l2_power: Watts<0>, "Load L2 power";
        /// Power of the house without the back-up output on phase L3, a part of `load_power`.
        load_l3_power: Watts<0>, "Load L3 power";
        /// Power of the back-up output on phase L1, a part of `backup_power`.
        backup_l1_power: Watts<0>, "Back-up L1 power";
        /// Power of the back-up output on phase L2, a part of `backup_power`.
        backup_l2_power: Watts<0>, "Back-up L2 power";
        /// Power of the back-up output on phase L3, a part of `backup_power`.
        backup_l3_power: Watts<0>, "Back-up L3 power";
        /// Voltage of the back-up output on phase L2.
        backup_l2_voltage: Volts<1>, "Back-up L2 voltage";
        /// Current of the back-up output on phase L2.
        backup_l2_current: Amperes<1>, "Back-up L2 current";
        /// Voltage of the back-up output on phase L3.
        backup_l3_voltage: Volts<1>, "Back-up L3 voltage";
        /// Current of the back-up output on phase L3.
        backup_l3_current: Amperes<1>, "Back-up L3 current";
    }
    Inverter {
        /// AC power of the inverter, of all phases: positive out of it, negative while it charges the battery from AC.
        inverter_power: Watts<0>, "Inverter power";
        /// AC current of the inverter on its grid port, of phase L1 where there are three; without a sign on AA55 machines.
        inverter_current: Amperes<1>, "Inverter current";
        /// Temperature of the inverter.
        inverter_temperature: Celsius<1>, "Inverter temperature";
        /// Whether the inverter runs.
        inverter_state: InverterState, "Inverter state";
        /// How the inverter works with the grid and the battery.
        work_mode: WorkMode, "Work mode";
        /// Errors of the inverter that are present.
        errors: Errors, "Errors", Role::Fault { harmless: &[] };
        /// The integer behind `errors`, for a bit that has no label or another one on this machine.
        error_bits: Bits, "Error bits" = Bits(errors);
        /// What the inverter says of its own decisions; sent by newer GoodWe machines.
        diagnostics: Diagnostics, "Diagnostics";
        /// The inverter's own clock, without a zone; sent by newer GoodWe machines.
        inverter_clock: Clock, "Inverter clock";
        /// Hours that the inverter has run in its life.
        operating_hours: Hours<0>, "Operating hours";
        /// Alarms of a KSTAR hybrid, which its display numbers W00 and up; nobody has published their names.
        alarms: Alarms, "Alarms";
        /// The integer behind `alarms`.
        alarm_bits: Bits, "Alarm bits" = Bits(alarms);
        /// Errors of a KSTAR hybrid, which its display numbers E00 and up; nobody has published their names.
        kstar_errors: KstarErrors, "KSTAR errors", Role::Fault { harmless: &[] };
        /// The integer behind `kstar_errors`.
        kstar_error_bits: Bits, "KSTAR error bits" = Bits(kstar_errors);
        /// Why a string inverter gives less than it could.
        derating: Derating, "Derating";
        /// By which plan a KSTAR hybrid uses its battery.
        operation_strategy: OperationStrategy, "Operation strategy";
        /// Voltage of the inverter's output; of phase L1 where there are three.
        inverter_voltage: Volts<1>, "Inverter voltage";
        /// Frequency of the inverter's output.
        inverter_frequency: Hertz<2>, "Inverter frequency";
        /// Voltage of the inverter's output on phase L2.
        inverter_l2_voltage: Volts<1>, "Inverter L2 voltage";
        /// Current of the inverter's output on phase L2.
        inverter_l2_current: Amperes<1>, "Inverter L2 current";
        /// Voltage of the inverter's output on phase L3.
        inverter_l3_voltage: Volts<1>, "Inverter L3 voltage";
        /// Current of the inverter's output on phase L3.
        inverter_l3_current: Amperes<1>, "Inverter L3 current";
        /// AC power of the inverter on phase L1, a part of `inverter_power`.
        inverter_l1_power: Watts<0>, "Inverter L1 power";
        /// AC power of the inverter on phase L2, a part of `inverter_power`.
        inverter_l2_power: Watts<0>, "Inverter L2 power";
        /// AC power of the inverter on phase L3, a part of `inverter_power`.
        inverter_l3_power: Watts<0>, "Inverter L3 power";
        /// Temperature inside the inverter's case.
        case_temperature: Celsius<1>, "Case temperature";
        /// Temperature of the air inside the inverter.
        air_temperature: Celsius<1>, "Air temperature";
        /// Voltage of the inverter's DC bus.
        bus_voltage: Volts<1>, "Bus voltage";
    }
    Energy {
        /// AC energy of the inverter today, by its own clock; counts what the battery gives, so it is not PV.
        energy_today: KilowattHours<1>, "Energy today", Role::Today { of: Quantity::energy_total };
        /// AC energy of the inverter in its life; counts what the battery gives, so it is not PV.
        energy_total: KilowattHours<1>, "Energy total";
        /// Energy of the load today, by the inverter's clock.
        load_energy_today: KilowattHours<1>, "Load energy today", Role::Today { of: Quantity::load_energy_total };
        /// Energy of the load in the inverter's life.
        load_energy_total: KilowattHours<1>, "Load energy total";
        /// Energy from the panels today, by the inverter's own counter and clock.
        inverter_pv_energy_today: KilowattHours<1>, "Inverter PV energy today", Role::Today { of: Quantity::inverter_pv_energy_total };
        /// Energy from the panels in the inverter's life, by its own counter.
        inverter_pv_energy_total: KilowattHours<1>, "Inverter PV energy total";
        /// Energy taken from the grid today, by the inverter's own counter and clock.
        inverter_grid_import_energy_today: KilowattHours<2>, "Inverter grid import energy today", Role::Today { of: Quantity::inverter_grid_import_energy_total };
        /// Energy taken from the grid in the inverter's life, by its own counter.
        inverter_grid_import_energy_total: KilowattHours<2>, "Inverter grid import energy total";
        /// Energy fed into the grid today, by the inverter's own counter and clock.
        inverter_grid_export_energy_today: KilowattHours<2>, "Inverter grid export energy today", Role::Today { of: Quantity::inverter_grid_export_energy_total };
        /// Energy fed into the grid in the inverter's life, by its own counter.
        inverter_grid_export_energy_total: KilowattHours<2>, "Inverter grid export energy total";
        /// Energy into the battery today, by the inverter's own counter and clock.
        inverter_battery_charge_energy_today: KilowattHours<1>, "Inverter battery charge energy today", Role::Today { of: Quantity::inverter_battery_charge_energy_total };
        /// Energy into the battery in the inverter's life, by its own counter.
        inverter_battery_charge_energy_total: KilowattHours<1>, "Inverter battery charge energy total";
        /// Energy out of the battery today, by the inverter's own counter and clock.
        inverter_battery_discharge_energy_today: KilowattHours<1>, "Inverter battery discharge energy today", Role::Today { of: Quantity::inverter_battery_discharge_energy_total };
        /// Energy out of the battery in the inverter's life, by its own counter.
        inverter_battery_discharge_energy_total: KilowattHours<1>, "Inverter battery discharge energy total";
    }
    Meter {
        /// Energy from the panels, on the DC side, today, by the collector's clock and zone.
        pv_energy_today: KilowattHours<3>, "PV energy today", Role::Today { of: Quantity::pv_energy_total };
        /// Energy from the panels, on the DC side, since the meter began.
        pv_energy_total: KilowattHours<3>, "PV energy total";
        /// Energy taken from the grid today, by the collector's clock and zone.
        grid_import_energy_today: KilowattHours<3>, "Grid import energy today", Role::Today { of: Quantity::grid_import_energy_total };
        /// Energy taken from the grid since the meter began.
        grid_import_energy_total: KilowattHours<3>, "Grid import energy total";
        /// Energy fed into the grid today, by the collector's clock and zone.
        grid_export_energy_today: KilowattHours<3>, "Grid export energy today", Role::Today { of: Quantity::grid_export_energy_total };
        /// Energy fed into the grid since the meter began.
        grid_export_energy_total: KilowattHours<3>, "Grid export energy total";
        /// Energy into the battery today, by the collector's clock and zone.
        battery_charge_energy_today: KilowattHours<3>, "Battery charge energy today", Role::Today { of: Quantity::battery_charge_energy_total };
        /// Energy into the battery since the meter began.
        battery_charge_energy_total: KilowattHours<3>, "Battery charge energy total";
        /// Energy out of the battery today, by the collector's clock and zone.
        battery_discharge_energy_today: KilowattHours<3>, "Battery discharge energy today", Role::Today { of: Quantity::battery_discharge_energy_total };
        /// Energy out of the battery since the meter began.
        battery_discharge_energy_total: KilowattHours<3>, "Battery discharge energy total";
        /// Energy that the house used today, its back-up output included, by the collector's clock and zone.
        consumption_energy_today: KilowattHours<3>, "Consumption energy today", Role::Today { of: Quantity::consumption_energy_total };
        /// Energy that the house has used since the meter began, its back-up output included.
        consumption_energy_total: KilowattHours<3>, "Consumption energy total";
    }
    Link {
        /// Time from the request to its reply.
        reply_time: Milliseconds<0>, "Reply time";
    }
}

/// A derived quantity must carry exactly the decimals that its derivation gives, and follow its sources in the table.
const _: () = {
    let mut index = 0;
    while index < Quantity::ALL.len() {
        #[expect(
            clippy::indexing_slicing,
            reason = "below the length; evaluated by the compiler"
        )]
        let quantity = Quantity::ALL[index];
        let description = quantity.description();
        let (decimals, last) = match description.derivation {
            None => (description.decimals, quantity),
            Some(Derivation::Product(one, other)) => (
                one.description().decimals + other.description().decimals,
                other,
            ),
            Some(Derivation::Sum(one, other)) => {
                assert!(
                    one.description().decimals == other.description().decimals,
                    "a sum of different resolutions"
                );
                (one.description().decimals, other)
            }
            Some(Derivation::Positive(of) | Derivation::Negative(of) | Derivation::Bits(of)) => {
                (of.description().decimals, of)
            }
        };
        assert!(
            description.decimals == decimals,
            "a derived quantity has other decimals than its derivation gives"
        );
        assert!(
            last as usize <= index,
            "a derived quantity stands before its source"
        );
        index += 1;
    }
};

impl Quantity {
    /// The name in configuration, JSON, columns and topics.
    pub const fn name(self) -> &'static str {
        self.description().name
    }

    /// The quantity of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|quantity| quantity.name() == name)
    }

    /// A raw value of this quantity as something to show or to write.
    pub fn value(self, raw: i64) -> Value {
        let description = self.description();
        match description.kind {
            Kind::Measurement | Kind::Counter | Kind::Bits => Value::Number(Decimal {
                raw,
                decimals: description.decimals,
            }),
            Kind::Mode(labels) => Value::Mode(ModeLabel { labels, code: raw }),
            Kind::Flags(labels) => Value::Flags { labels, bits: raw },
            Kind::Clock => Value::Clock(raw),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Values {
    /// The value of a quantity, if it is present.
    pub fn get(&self, quantity: Quantity) -> Option<Value> {
        self.raw(quantity).map(|raw| quantity.value(raw))
    }

    /// A quantity as a number in its unit, if it is present and one.
    pub fn number(&self, quantity: Quantity) -> Option<f64> {
        match self.get(quantity)? {
            Value::Number(number) => Some(number.to_f64()),
            Value::Mode(_) | Value::Flags { .. } | Value::Clock(_) => None,
        }
    }

    /// What follows from others and is not what they come to: the inverter has told it itself. In the catalogue's order, with
    /// raw values. All derived quantities are these, or what [`derive`](Self::derive) makes of the rest.
    pub fn told(&self) -> impl Iterator<Item = (Quantity, i64)> {
        Quantity::ALL.iter().filter_map(|quantity| {
            let derivation = quantity.description().derivation?;
            let raw = self.raw(*quantity)?;
            (derivation.raw(self) != Some(raw)).then_some((*quantity, raw))
        })
    }

    /// The quantities that are present, with their values, in the catalogue's order.
    pub fn present(&self) -> impl Iterator<Item = (Quantity, Value)> {
        Quantity::ALL
            .iter()
            .filter_map(|quantity| Some((*quantity, self.get(*quantity)?)))
    }
}

/// A value as people and servers see it.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// A number in the quantity's unit.
    Number(Decimal),
    /// A mode, shown as its label.
    Mode(ModeLabel),
    /// A set of flags.
    Flags {
        /// The labels of its bits.
        labels: Labels,
        /// The bits.
        bits: i64,
    },
    /// A clock's date and time: seconds since 1970-01-01T00:00:00 of that clock.
    Clock(i64),
}

/// As text: a number as the shortest decimal, a label, flags joined by commas or `none`, a clock as
/// `2023-03-24T18:05:20`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Mode(label) => label.fmt(f),
            Self::Flags { bits: 0, .. } => f.pad("none"),
            Self::Flags { labels, bits } => {
                let labels: Vec<String> = set_flags(*labels, *bits)
                    .map(|flag| flag.to_string())
                    .collect();
                f.pad(&labels.join(","))
            }
            Self::Clock(seconds) => match jiff::Timestamp::from_second(*seconds) {
                Ok(moment) => f.pad(
                    &moment
                        .to_zoned(jiff::tz::TimeZone::UTC)
                        .datetime()
                        .to_string(),
                ),
                Err(_) => f.pad(&seconds.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantity_is_described_and_spelt_as_a_name() {
        for quantity in Quantity::ALL {
            let description = quantity.description();
            assert!(
                description.meaning.ends_with('.'),
                "{quantity}: the meaning is a sentence"
            );
            assert!(
                quantity
                    .name()
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')),
                "{quantity}"
            );
            assert_eq!(Quantity::from_name(quantity.name()), Some(*quantity));
        }
    }

    #[test]
    fn a_fault_is_a_set_of_flags_and_what_is_harmless_is_one_of_them() {
        for quantity in Quantity::ALL {
            let description = quantity.description();
            if let Role::Fault { harmless } = description.role {
                let Kind::Flags(Labels(labels)) = description.kind else {
                    unreachable!("{quantity} is no set of flags");
                };
                for label in harmless {
                    assert!(
                        labels.iter().any(|(_, known)| known == label),
                        "{quantity}: {label}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_counted_today_is_counted_as_finely_as_in_all() {
        for quantity in Quantity::ALL {
            let description = quantity.description();
            if let Role::Today { of } = description.role {
                let total = of.description();
                assert_eq!(
                    (description.unit, description.decimals, total.kind),
                    (total.unit, total.decimals, Kind::Counter),
                    "{quantity}"
                );
            }
        }
    }

    #[test]
    fn what_is_there_already_is_kept_and_what_follows_from_it_computed() {
        let mut values = Values {
            battery_voltage: Some(Volts::new(500)),
            battery_current: Some(Amperes::new(100)),
            battery_power: Some(Watts::new(-7)),
            ..Values::default()
        };
        values.derive();
        assert_eq!(values.battery_power, Some(Watts::new(-7)));
        assert_eq!(values.battery_discharge_power, Some(Watts::new(7)));
        assert_eq!(values.pv_power, None);
    }

    #[test]
    fn what_is_told_is_what_does_not_follow_from_the_others() {
        let mut values = Values {
            pv1_power: Some(Watts::new(70_000)),
            pv2_voltage: Some(Volts::new(1500)),
            pv2_current: Some(Amperes::new(40)),
            pv3_power: Some(Watts::new(50_000)),
            pv_power: Some(Watts::new(180_000)),
            battery_power: Some(Watts::new(-7)),
            ..Values::default()
        };
        values.derive();
        assert_eq!(values.pv2_power, Some(Watts::new(60_000)));
        let told: Vec<_> = values.told().collect();
        assert_eq!(
            told,
            [
                (Quantity::pv1_power, 70_000),
                (Quantity::pv3_power, 50_000),
                (Quantity::pv_power, 180_000),
                (Quantity::battery_power, -7),
            ]
        );
        let mut kept = Values::default();
        for quantity in Quantity::ALL {
            if quantity.description().derivation.is_none() {
                kept.set_raw(*quantity, values.raw(*quantity));
            }
        }
        for (quantity, raw) in told {
            kept.set_raw(quantity, Some(raw));
        }
        kept.derive();
        assert_eq!(kept, values);
    }

    #[test]
    fn what_follows_from_others_is_computed_from_what_is_there() {
        let mut values = Values {
            pv1_voltage: Some(Volts::new(1500)),
            pv1_current: Some(Amperes::new(45)),
            pv2_voltage: Some(Volts::new(1569)),
            pv2_current: Some(Amperes::new(66)),
            battery_voltage: Some(Volts::new(507)),
            battery_current: Some(Amperes::new(-283)),
            errors: Some(Errors(0x200)),
            ..Values::default()
        };
        values.derive();
        let shown: Vec<String> = values
            .present()
            .map(|(quantity, value)| format!("{quantity}={value}"))
            .collect();
        assert_eq!(
            shown,
            [
                "pv1_voltage=150",
                "pv1_current=4.5",
                "pv1_power=675",
                "pv2_voltage=156.9",
                "pv2_current=6.6",
                "pv2_power=1035.54",
                "pv_power=1710.54",
                "battery_voltage=50.7",
                "battery_current=-28.3",
                "battery_power=-1434.81",
                "battery_charge_power=0",
                "battery_discharge_power=1434.81",
                "errors=utility_loss",
                "error_bits=512"
            ]
        );
    }

    #[test]
    fn what_misses_a_part_is_absent_and_not_zero() {
        let mut values = Values {
            pv1_voltage: Some(Volts::new(1500)),
            ..Values::default()
        };
        values.derive();
        assert_eq!(
            (values.pv1_power, values.pv_power, values.grid_import_power),
            (None, None, None)
        );
    }

    #[test]
    fn a_raw_value_goes_in_and_comes_out() {
        let mut values = Values::default();
        for quantity in Quantity::ALL {
            values.set_raw(*quantity, Some(7));
            assert_eq!(values.raw(*quantity), Some(7), "{quantity}");
        }
        values.set_raw(Quantity::pv1_mode, Some(65_536));
        assert_eq!(values.pv1_mode, None);
    }

    #[test]
    fn a_reading_stays_a_few_hundred_bytes() {
        assert!(size_of::<Values>() <= 1016, "{} bytes", size_of::<Values>());
    }
}
