//! KSTAR hybrids: BluE-S, BluE-E, D22, and KSE with a Solarman stick; one phase and three (PROTOCOL-SOLARMAN 3 to 5).
//!
//! The map was never checked against a dump of a real machine: what owners have confirmed is listed in PROTOCOL-SOLARMAN 3.9.
//! The totals of the battery (3292, 3299) are not read, since nobody knows whether they count whole kWh or tenths.

use std::time::Duration;

#[cfg_attr(
    not(test),
    expect(clippy::enum_glob_use, reason = "a data sheet names quantities only")
)]
use kstar_model::catalogue::Quantity::{self, *};
use kstar_model::catalogue::Values;
use kstar_model::labels::{BatteryMode, InverterState, WorkMode};
use kstar_model::scalar::Scalar;
use kstar_source::record::EntryValue;
use kstar_source::rule::Rule;
use kstar_source::source::{Asked, Bound, Identity, Profile};

use super::{Family, Machine, Place, clear, direction, firmware_in, record, sum};
use crate::frame::Function::{ReadHolding, ReadInput};
use crate::registers::{Block, Field, Registers, fields, translate};
use crate::via::Via;

/// The family.
pub static KSTAR_HYBRID: Family = Family {
    name: "kstar-hybrid",
    unit: 1,
    ways: &[Via::Solarman, Via::ModbusTcp, Via::RtuOverTcp],
    places: &[
        Place::at(Via::Solarman, 8899, &[1]),
        // Sticks that speak Modbus TCP: a gateway's port, the data port of a stick, that of older LAN sticks.
        Place::at(Via::ModbusTcp, 502, &[1]),
        Place::at(Via::ModbusTcp, 8899, &[1]),
        Place::at(Via::ModbusTcp, 30003, &[1]),
    ],
    timeout: Duration::from_secs(3),
    serial: SERIAL,
    blocks: BLOCKS,
    fields: FIELDS,
    notes: NOTES,
    interpret,
    identity,
    profile: Profile {
        house_power: 60_000,
        bounds: BOUNDS,
        // A house may take nothing from the grid to the watt.
        off: &[Rule::ZeroMeter],
        // E12KT, the largest of the family.
        ..Profile::of(12_000)
    },
};

const SERIAL: (u16, u16) = (3228, 11);

/// Strings and batteries of high voltage; currents with a sign.
#[rustfmt::skip]
const BOUNDS: &[Bound] = &[
    Bound::new(pv1_voltage, 0, 1_100),
    Bound::new(pv1_current, -1, 60),
    Bound::new(battery_voltage, 0, 1_000),
    Bound::new(battery_current, -250, 250),
    Bound::new(inverter_current, -100, 100),
    Bound::new(backup_current, 0, 100),
];

#[rustfmt::skip]
const BLOCKS: &[Block] = &[
    Block::new("live_a",         ReadInput,   3000, &[125], Asked::EachPoll),
    Block::new("live_b",         ReadInput,   3125, &[29],  Asked::IfAvailable),
    Block::new("battery_energy", ReadInput,   3292, &[10],  Asked::EachMinute),
    Block::new("pack_1",         ReadInput,   3450, &[1],   Asked::EachMinute),
    Block::new("pack_2",         ReadInput,   3494, &[1],   Asked::EachMinute),
    Block::new("pack_3",         ReadInput,   3538, &[1],   Asked::EachMinute),
    Block::new("model",          ReadHolding, 3200, &[18],  Asked::ForIdentity),
    Block::new("serial",         ReadInput,   3228, &[11],  Asked::ForIdentity),
    Block::new("grid_standard",  ReadInput,   3193, &[1],   Asked::ForIdentity),
];

#[rustfmt::skip]
const FIELDS: &[Field] = fields! {
    3000 U16         0.1   V    + pv1_voltage;
    3001 U16         0.1   V    + pv2_voltage;
    3002 U16         0.1   V    + pv3_voltage;
    3003 U16         0.1   V    + pv4_voltage;
    3012 I16         0.01  A    + pv1_current;
    3013 I16         0.01  A    + pv2_current;
    3014 I16         0.01  A    + pv3_current;
    3015 I16         0.01  A    + pv4_current;
    3024 I16         1     W    + pv1_power;
    3025 I16         1     W    + pv2_power;
    3026 I16         1     W    + pv3_power;
    3027 I16         1     W    + pv4_power;
    3036 U16         0.1   kWh  + inverter_pv_energy_today;
    3041 U32         0.1   kWh  + inverter_pv_energy_total;
    3044 U16         1     code + operation_strategy;
    3049 U32         1     code + alarms;
    3051 U32         1     code + kstar_errors;
    3053 U16         0.1   V    + bus_voltage;
    3055 Temperature 0.1   C    + inverter_temperature;
    3056 Temperature 0.1   C    + battery_heatsink_temperature;
    3057 Temperature 0.1   C    + case_temperature;
    3062 U16         1     code + battery_type;
    3063 U16         0.01  V    + battery_voltage;
    3064 I16         0.1   A    - battery_current;
    3065 I16         1     W    - battery_power;
    3066 U16         0.1   %    + battery_soc;
    3067 Temperature 0.1   C    + battery_temperature;
    3075 U16         0.1   %    + battery_soh;
    3097 U16         0.1   V    + grid_voltage;
    3098 U16         0.01  Hz   + grid_frequency;
    3099 I16         0.001 A    + grid_l1_current;
    3100 I16         1     W    - grid_l1_power;
    3101 U16         0.1   V    + grid_l2_voltage;
    3103 I16         0.001 A    + grid_l2_current;
    3104 I16         1     W    - grid_l2_power;
    3105 U16         0.1   V    + grid_l3_voltage;
    3107 I16         0.001 A    + grid_l3_current;
    3108 I16         1     W    - grid_l3_power;
    3109 U16         0.1   kWh  + inverter_grid_import_energy_today;
    3114 U32         0.1   kWh  + inverter_grid_import_energy_total;
    3116 U16         0.1   kWh  + inverter_grid_export_energy_today;
    3121 U32         0.1   kWh  + inverter_grid_export_energy_total;
    3123 U16         0.1   V    + inverter_voltage;
    3124 I16         0.01  A    + inverter_current;
    3125 U16         0.01  Hz   + inverter_frequency;
    3125 U16         0.01  Hz   + backup_frequency;
    3126 I16         1     W    + inverter_l1_power;
    3127 U16         0.1   V    + inverter_l2_voltage;
    3128 I16         0.01  A    + inverter_l2_current;
    3130 I16         1     W    + inverter_l2_power;
    3131 U16         0.1   V    + inverter_l3_voltage;
    3132 I16         0.01  A    + inverter_l3_current;
    3134 I16         1     W    + inverter_l3_power;
    3135 U16         0.1   V    + backup_voltage;
    3136 U16         0.01  A    + backup_current;
    3137 U16         1     W    + backup_l1_power;
    3138 U16         0.1   V    + backup_l2_voltage;
    3139 U16         0.01  A    + backup_l2_current;
    3140 U16         1     W    + backup_l2_power;
    3141 U16         0.1   V    + backup_l3_voltage;
    3142 U16         0.01  A    + backup_l3_current;
    3143 U16         1     W    + backup_l3_power;
    3144 U16         1     W    + load_l1_power;
    3145 U16         1     W    + load_l2_power;
    3146 U16         1     W    + load_l3_power;
    3147 U16         0.1   kWh  + load_energy_today;
    3152 U32         0.1   kWh  + load_energy_total;
    3294 U16         0.1   kWh  + inverter_battery_discharge_energy_today;
    3301 U16         0.1   kWh  + inverter_battery_charge_energy_today;
    3450 U16         1     %    + battery_pack1_soc;
    3494 U16         1     %    + battery_pack2_soc;
    3538 U16         1     %    + battery_pack3_soc;
};

const NOTES: &[(u16, u16, &str)] = &[
    (3004, 8, "voltages of PV strings 5 to 12, 0.1 V"),
    (3016, 8, "currents of PV strings 5 to 12, 0.01 A"),
    (3028, 8, "powers of PV strings 5 to 12, W"),
    (3037, 2, "PV energy this month, kWh"),
    (3039, 2, "PV energy this year, kWh"),
    (3045, 1, "model code"),
    (3046, 1, "state of the system; read as work_mode"),
    (3047, 1, "state of the inverter; read as inverter_state"),
    (
        3048,
        1,
        "state of the battery's converter; read as battery_mode",
    ),
    (3054, 1, "voltage of the DC bus, 0.1 V"),
    (3068, 1, "depth of discharge allowed, %"),
    (3078, 1, "highest discharge power, %"),
    (3079, 1, "highest charge power, %"),
    (3102, 1, "frequency of grid L2, 0.01 Hz"),
    (3106, 1, "frequency of grid L3, 0.01 Hz"),
    (3110, 2, "energy imported this month, kWh"),
    (3112, 2, "energy imported this year, kWh"),
    (3117, 2, "energy exported this month, kWh"),
    (3119, 2, "energy exported this year, kWh"),
    (3129, 1, "frequency of the inverter's L2, 0.01 Hz"),
    (3133, 1, "frequency of the inverter's L3, 0.01 Hz"),
    (3148, 2, "energy of the load this month, kWh"),
    (3150, 2, "energy of the load this year, kWh"),
    (3193, 1, "grid standard"),
    (3200, 8, "model, text"),
    (3208, 8, "name of the battery, text"),
    (
        3216,
        1,
        "firmware of the ARM: high byte in tenths, low byte",
    ),
    (
        3217,
        1,
        "firmware of the DSP: high byte in tenths, low byte",
    ),
    (3228, 11, "serial number, text"),
    (
        3292,
        2,
        "energy out of the battery in all; kWh or 0.1 kWh, not proven",
    ),
    (
        3299,
        2,
        "energy into the battery in all; kWh or 0.1 kWh, not proven",
    ),
];

/// What register 3048 says.
const CONVERTER: &[(u16, BatteryMode)] = &[
    (0, BatteryMode::STANDBY),
    (1, BatteryMode::SOFT_START),
    (2, BatteryMode::CHARGING),
    (3, BatteryMode::DISCHARGING),
];

/// What register 3047 says.
const INVERTER: &[(u16, InverterState)] = &[
    (0, InverterState::STANDBY),
    (1, InverterState::OFF_GRID),
    (2, InverterState::ON_GRID),
    (3, InverterState::GOING_ON_GRID),
    (4, InverterState::GOING_OFF_GRID),
];

/// What register 3046 says.
const SYSTEM: &[(u16, WorkMode)] = &[
    (0, WorkMode::INITIALIZING),
    (1, WorkMode::STANDBY),
    (2, WorkMode::NORMAL_ON_GRID),
    (3, WorkMode::NORMAL_OFF_GRID),
    (4, WorkMode::CHARGING_FROM_GRID),
    (5, WorkMode::CHARGING_FROM_PV),
    (6, WorkMode::GRID_BYPASS),
    (7, WorkMode::FAULT),
    (8, WorkMode::DEBUG),
    (9, WorkMode::FORCED_CHARGE),
    (10, WorkMode::SWITCHED_ON_SEPARATELY),
    (11, WorkMode::UPDATING),
    (12, WorkMode::UPDATING),
    (13, WorkMode::PERMANENT_ERROR),
];

/// The model codes that are known (register 3045), and how many phases those machines have.
const MODELS: &[(u16, &str, u8)] = &[
    (0, "KSE-2K-048S", 1),
    (1, "KSE-3K-048S", 1),
    (2, "KSE-3.6K-048S", 1),
    (3, "KSE-4.6K-048S", 1),
    (4, "KSE-5K-048S", 1),
    (5, "KSE-3.6K-048", 1),
    (6, "KSE-4.6K-048", 1),
    (7, "KSE-5K-048", 1),
    (8, "KSE-6K-048", 1),
    (9, "BluE-S 3680D", 1),
    (11, "BluE-S 5000D", 1),
    (12, "BluE-S 6000D", 1),
    (14, "KSE-3K-048S M1", 1),
    (15, "BluE-S 3680D M1", 1),
    (17, "BluE-S 5000D M1", 1),
    (18, "BluE-S 6000D M1", 1),
    (32, "E10KT", 3),
    (33, "E8KT", 3),
    (34, "E12KT", 3),
];

/// Grid standards, as register 3193 numbers them.
#[rustfmt::skip]
const GRID_STANDARDS: &[&str] = &[
    "China", "Germany", "Australia", "Italy", "Spain", "UK", "Hungary", "Belgium", "West Australia", "Greece", "France",
    "Bangkok", "Thailand", "South Africa", "EN 50549", "Brazil", "VDE 0126", "Ireland", "Israel", "Poland", "Chile", "local",
];

/// Each total with its parts, and the further quantities of the phases, which a machine of one phase does not have.
const SUMS: [(Quantity, [Quantity; 3]); 4] = [
    (grid_power, [grid_l1_power, grid_l2_power, grid_l3_power]),
    (load_power, [load_l1_power, load_l2_power, load_l3_power]),
    (
        backup_power,
        [backup_l1_power, backup_l2_power, backup_l3_power],
    ),
    (
        inverter_power,
        [inverter_l1_power, inverter_l2_power, inverter_l3_power],
    ),
];

#[rustfmt::skip]
const OF_PHASES: &[Quantity] = &[
    grid_l2_voltage, grid_l3_voltage, grid_l2_current, grid_l3_current,
    inverter_l2_voltage, inverter_l3_voltage, inverter_l2_current, inverter_l3_current,
    backup_l2_voltage, backup_l3_voltage, backup_l2_current, backup_l3_current,
];

/// Whether the machine has three phases: by its model code, else by the model's name (…KT), else by whether L2 has voltage.
fn has_three_phases(registers: &Registers<'_>, machine: &Machine) -> bool {
    let code = registers.word(3045);
    if let Some((_, _, phases)) = MODELS.iter().find(|(known, ..)| Some(*known) == code) {
        return *phases == 3;
    }
    match &machine.model {
        Some(model) => model.to_ascii_uppercase().contains("KT"),
        None => registers
            .word(3101)
            .is_some_and(|tenths| tenths != u16::MAX && tenths > 500),
    }
}

fn interpret(registers: &Registers<'_>, machine: &mut Machine, values: &mut Values) {
    let code = |register| registers.word(register);
    values.battery_mode = translate(code(3048), CONVERTER);
    values.inverter_state = translate(code(3047), INVERTER);
    values.work_mode = translate(code(3046), SYSTEM);
    machine.sum_strings(values, 0);
    let phases = if has_three_phases(registers, machine) {
        3
    } else {
        1
    };
    for (total, parts) in SUMS {
        let parts_there = parts.get(..phases).unwrap_or_default();
        let power = sum(values, parts_there);
        values.set_raw(total, power);
        if phases == 1 {
            clear(values, &parts);
        }
    }
    if phases == 1 {
        clear(values, OF_PHASES);
    }
    values.grid_direction = direction(values.grid_power);
    // A lead-acid battery has no sensor that is told from one at 0 °C.
    let is_lead_acid = code(3062) == Some(1);
    if is_lead_acid && code(3067) == Some(0) {
        values.battery_temperature = None;
    }
    values.battery_soh = values.battery_soh.filter(|health| health.raw() != 0);
}

fn firmware(word: u16) -> EntryValue {
    let [high, low] = word.to_be_bytes();
    EntryValue::Text(format!("{}.{}.{low:02}", high / 10, high % 10))
}

fn identity(registers: &Registers<'_>, machine: &mut Machine) -> Identity {
    let code = registers.word(3045);
    let known = MODELS.iter().find(|(known, ..)| Some(*known) == code);
    let told = registers.text(3200, 8);
    if told.is_some() {
        machine.model.clone_from(&told);
    }
    let model = told.or_else(|| known.map(|(_, name, _)| (*name).to_owned()));
    let serial = registers.text(SERIAL.0, SERIAL.1);
    let standard = registers.word(3193).map(|number| {
        let name = GRID_STANDARDS.get(usize::from(number));
        name.map_or_else(|| format!("unknown_{number}"), |name| (*name).to_owned())
    });
    let texts = [
        (
            "serial",
            "Serial number",
            serial.clone().map(EntryValue::Text),
        ),
        ("model", "Model", model.clone().map(EntryValue::Text)),
        (
            "battery",
            "Battery",
            registers.text(3208, 8).map(EntryValue::Text),
        ),
        (
            "arm_firmware",
            "ARM firmware",
            registers.word(3216).map(firmware),
        ),
        (
            "dsp_firmware",
            "DSP firmware",
            registers.word(3217).map(firmware),
        ),
        (
            "grid_standard",
            "Grid standard",
            standard.map(EntryValue::Text),
        ),
    ];
    let record = record(texts);
    Identity {
        serial,
        model,
        firmware: firmware_in(&record),
        record,
    }
}
