//! GoodWe hybrids of the ET family (ET, EH, BT, BH, and ES and others of the second generation); one phase and three
//! (PROTOCOL-GOODWE-MODBUS 4 to 8).
//!
//! What the running data call export and import (35195, 35200) is what goes out of the inverter's AC side and into it, not the
//! grid's: so the first is `energy_total`, and the grid's energies come from the meter's block alone.
//!
//! The file is long because the tables name each of some 250 registers once.

use std::time::Duration;

#[cfg_attr(
    not(test),
    expect(clippy::enum_glob_use, reason = "a data sheet names quantities only")
)]
use kstar_model::catalogue::Quantity::{self, *};
use kstar_model::catalogue::Values;
use kstar_model::labels::{BatteryAlarms, BatteryMode, BmsWarnings, WorkMode};
use kstar_model::scalar::Scalar;
use kstar_model::units::Watts;
use kstar_source::record::EntryValue;
use kstar_source::rule::Rule;
use kstar_source::source::{Asked, Bound, Identity, Profile};

use super::{Family, Machine, Place, clear, direction, firmware_in, record};
use crate::frame::Function::ReadHolding;
use crate::registers::{
    Block, Field, Registers, begins_with_clock, can_begin_with_clock, can_hold_text, fields, read,
    translate,
};
use crate::via::Via;

/// The family.
pub static GOODWE_ET: Family = Family {
    name: "goodwe-et",
    unit: 247,
    ways: &[Via::Udp, Via::ModbusTcp, Via::RtuOverTcp],
    places: &[
        Place::at(Via::Udp, 8899, &[247]),
        // 245 was shipped on a WiFi/LAN kit 2.0.
        Place::at(Via::ModbusTcp, 502, &[247, 245]),
    ],
    timeout: Duration::from_secs(2),
    serial: SERIAL,
    blocks: BLOCKS,
    fields: FIELDS,
    notes: NOTES,
    interpret,
    identity,
    profile: Profile {
        house_power: 100_000,
        bounds: BOUNDS,
        // The load is computed by the machine and cut off at 0, so that 0 is usual.
        off: &[Rule::ZeroMeter],
        // GW29K9-ET, the largest that was captured.
        ..Profile::of(30_000)
    },
};

const SERIAL: (u16, u16) = (35003, 8);

/// Strings and batteries of high voltage.
#[rustfmt::skip]
const BOUNDS: &[Bound] = &[
    Bound::new(pv1_voltage, 0, 1_100),
    Bound::new(pv1_current, 0, 60),
    Bound::new(battery_voltage, 0, 1_000),
    Bound::new(battery_current, -250, 250),
    Bound::new(inverter_current, 0, 100),
    Bound::new(backup_current, 0, 100),
];

const BLOCKS: &[Block] = &[
    Block {
        fits: |words| can_begin_with_clock(words) && !is_meter(words),
        ..Block::new("running_data", ReadHolding, 35100, &[125], Asked::EachPoll)
    },
    Block {
        fits: |words| !begins_with_clock(words),
        ..Block::new(
            "meter",
            ReadHolding,
            36000,
            &[125, 58, 45],
            Asked::IfAvailable,
        )
    },
    Block {
        wanted: has_battery,
        fits: |words| is_share(words.get(7)) && is_share(words.get(8)),
        ..Block::new("battery", ReadHolding, 37000, &[24], Asked::IfAvailable)
    },
    Block {
        wanted: has_battery,
        fits: |words| {
            words
                .get(4)
                .is_some_and(|mode| *mode <= 15 || *mode == u16::MAX)
        },
        ..Block::new(
            "battery_2_power",
            ReadHolding,
            35262,
            &[6],
            Asked::IfAvailable,
        )
    },
    Block {
        wanted: has_battery,
        fits: |words| is_share(words.get(5)) && is_share(words.get(6)),
        ..Block::new("battery_2", ReadHolding, 39000, &[22], Asked::IfAvailable)
    },
    Block {
        fits: |words| can_hold_text(words, 3..11),
        ..Block::new("device_info", ReadHolding, 35000, &[33], Asked::ForIdentity)
    },
];

/// The longest meter block, which has the length of the running data: a grid frequency, and what kind of meter it is. The
/// clock at the beginning of running data may never have been set, so that it alone tells nothing.
fn is_meter(words: &[u16]) -> bool {
    let at = |index: usize| words.get(index).copied();
    !begins_with_clock(words)
        && at(14).is_some_and(|hundredths| (4500..=6600).contains(&hundredths))
        && at(43).is_some_and(|kind| kind <= 3)
}

/// A state of charge or of health. Without a sequence number, somebody else's reply of the same length is told by such.
fn is_share(word: Option<&u16>) -> bool {
    word.is_some_and(|percent| *percent <= 100 || *percent == u16::MAX)
}

fn has_battery(registers: &Registers<'_>) -> bool {
    registers.word(BATTERY_MODE) != Some(NO_BATTERY)
}

const BATTERY_MODE: u16 = 35184;
const NO_BATTERY: u16 = 0;

#[rustfmt::skip]
const FIELDS: &[Field] = fields! {
    35100 DateTime          1     code + inverter_clock;
    35103 U16               0.1   V    + pv1_voltage;
    35104 U16               0.1   A    + pv1_current;
    35105 U32               1     W    + pv1_power;
    35107 U16               0.1   V    + pv2_voltage;
    35108 U16               0.1   A    + pv2_current;
    35109 U32               1     W    + pv2_power;
    35111 U16               0.1   V    + pv3_voltage;
    35112 U16               0.1   A    + pv3_current;
    35113 U32               1     W    + pv3_power;
    35115 U16               0.1   V    + pv4_voltage;
    35116 U16               0.1   A    + pv4_current;
    35117 U32               1     W    + pv4_power;
    35121 U16               0.1   V    + grid_voltage;
    35122 U16               0.1   A    + inverter_current;
    35123 U16               0.01  Hz   + grid_frequency;
    35126 U16               0.1   V    + grid_l2_voltage;
    35127 U16               0.1   A    + inverter_l2_current;
    35131 U16               0.1   V    + grid_l3_voltage;
    35132 U16               0.1   A    + inverter_l3_current;
    35145 U16               0.1   V    + backup_voltage;
    35146 U16               0.1   A    + backup_current;
    35147 U16               0.01  Hz   + backup_frequency;
    35148 U16               1     code + backup_mode;
    35151 U16               0.1   V    + backup_l2_voltage;
    35152 U16               0.1   A    + backup_l2_current;
    35157 U16               0.1   V    + backup_l3_voltage;
    35158 U16               0.1   A    + backup_l3_current;
    35174 GoodweTemperature 0.1   C    + air_temperature;
    35176 GoodweTemperature 0.1   C    + inverter_temperature;
    35178 U16               0.1   V    + bus_voltage;
    35180 U16               0.1   V    + battery_voltage;
    35181 I16               0.1   A    - battery_current;
    35182 I32               1     W    - battery_power;
    35184 U16               1     code + battery_mode;
    35189 U32               1     code + errors;
    35191 U32               0.1   kWh  + inverter_pv_energy_total;
    35193 U32               0.1   kWh  + inverter_pv_energy_today;
    35195 U32               0.1   kWh  + energy_total;
    35197 U32               1     h    + operating_hours;
    35199 U16               0.1   kWh  + energy_today;
    35203 U32               0.1   kWh  + load_energy_total;
    35205 U16               0.1   kWh  + load_energy_today;
    35206 U32               0.1   kWh  + inverter_battery_charge_energy_total;
    35208 U16               0.1   kWh  + inverter_battery_charge_energy_today;
    35209 U32               0.1   kWh  + inverter_battery_discharge_energy_total;
    35211 U16               0.1   kWh  + inverter_battery_discharge_energy_today;
    35220 U32               1     code + diagnostics;
    35262 U16               0.1   V    + battery2_voltage;
    35263 I16               0.1   A    - battery2_current;
    35264 I32               1     W    - battery2_power;
    35266 U16               1     code + battery2_mode;
    36019 I32               1     W    - grid_l1_power;
    36021 I32               1     W    - grid_l2_power;
    36023 I32               1     W    - grid_l3_power;
    37003 I16               0.1   C    + battery_temperature;
    37004 U16               1     A    + battery_charge_limit;
    37005 U16               1     A    + battery_discharge_limit;
    37007 U16               1     %    + battery_soc;
    37008 U16               1     %    + battery_soh;
    37020 I16               0.1   C    + battery_cell_temperature_max;
    37021 I16               0.1   C    + battery_cell_temperature_min;
    37022 U16               0.001 V    + battery_cell_voltage_max;
    37023 U16               0.001 V    + battery_cell_voltage_min;
    39005 U16               1     %    + battery2_soc;
};

/// The grid's energies where the meter's block is the longest one.
#[rustfmt::skip]
const FINE_ENERGIES: &[Field] = fields! {
    36104 U64 0.01 kWh + inverter_grid_export_energy_total;
    36120 U64 0.01 kWh + inverter_grid_import_energy_total;
};

/// The same elsewhere, in Wh. Machines of 20 kW and more leave both at 0.
#[rustfmt::skip]
const COARSE_ENERGIES: &[Field] = fields! {
    36015 F32 0.001 kWh + inverter_grid_export_energy_total;
    36017 F32 0.001 kWh + inverter_grid_import_energy_total;
};

const NOTES: &[(u16, u16, &str)] = &[
    (35000, 1, "map version"),
    (35001, 1, "rated power, W"),
    (
        35002,
        1,
        "0 one phase, 1 three phases and four wires, 2 three wires; 254 not told",
    ),
    (35003, 8, "serial number, text"),
    (35011, 5, "model, text"),
    (35016, 5, "versions of DSP 1, DSP 2, DSP SVN, ARM, ARM SVN"),
    (35021, 6, "DSP firmware, text"),
    (35027, 6, "ARM firmware, text"),
    (35119, 1, "modes of PV4 and PV3"),
    (35120, 1, "modes of PV2 and PV1"),
    (
        35124,
        2,
        "power of the inverter on L1, W; read as inverter_l1_power",
    ),
    (35128, 1, "frequency of L2, 0.01 Hz"),
    (
        35129,
        2,
        "power of the inverter on L2, W; read as inverter_l2_power",
    ),
    (35133, 1, "frequency of L3, 0.01 Hz"),
    (
        35134,
        2,
        "power of the inverter on L3, W; read as inverter_l3_power",
    ),
    (35136, 1, "0 no grid, 1 grid, 2 fault"),
    (35137, 2, "power of the inverter, W; read as inverter_power"),
    (
        35139,
        2,
        "power of the meter, + export, W; read as grid_power",
    ),
    (35141, 2, "reactive power, var"),
    (35143, 2, "apparent power, VA"),
    (
        35149,
        2,
        "power of the back-up output on L1, W; read as backup_l1_power",
    ),
    (35153, 1, "frequency of the back-up output on L2, 0.01 Hz"),
    (35154, 1, "mode of the back-up output on L2"),
    (
        35155,
        2,
        "power of the back-up output on L2, W; read as backup_l2_power",
    ),
    (35159, 1, "frequency of the back-up output on L3, 0.01 Hz"),
    (35160, 1, "mode of the back-up output on L3"),
    (
        35161,
        2,
        "power of the back-up output on L3, W; read as backup_l3_power",
    ),
    (
        35163,
        2,
        "power of the load on L1, W; read as load_l1_power",
    ),
    (
        35165,
        2,
        "power of the load on L2, W; read as load_l2_power",
    ),
    (
        35167,
        2,
        "power of the load on L3, W; read as load_l3_power",
    ),
    (
        35169,
        2,
        "power of the back-up output, W; read as backup_power",
    ),
    (
        35171,
        2,
        "power of the load without the back-up output, W; read as load_power",
    ),
    (35173, 1, "load of the back-up output, %"),
    (35175, 1, "temperature of the module, 0.1 °C"),
    (35177, 1, "function bits"),
    (35179, 1, "voltage of the N bus, 0.1 V"),
    (35185, 1, "warning"),
    (35186, 1, "country code"),
    (35187, 1, "read as work_mode"),
    (35188, 1, "operation mode"),
    (
        35200,
        2,
        "energy into the inverter's AC side in all, 0.1 kWh",
    ),
    (
        35202,
        1,
        "energy into the inverter's AC side today, 0.1 kWh",
    ),
    (36000, 1, "how the meter is connected"),
    (36001, 1, "signal strength"),
    (36002, 1, "maker of the meter"),
    (
        36003,
        1,
        "connection test, a nibble for each phase: 0 not done, 1 right, 2 reversed, 3 wrong",
    ),
    (36004, 1, "1 while the meter answers"),
    (36005, 4, "powers of L1, L2, L3 and all, + export, W"),
    (36009, 1, "reactive power, var"),
    (36010, 4, "power factors"),
    (36014, 1, "grid frequency, 0.01 Hz"),
    (36025, 2, "power of all phases, + export, W"),
    (36027, 8, "reactive powers, var"),
    (36035, 8, "apparent powers, VA"),
    (36043, 1, "kind of meter"),
    (36044, 1, "software of the meter"),
    (37002, 1, "status of the battery"),
    (37006, 1, "alarms, low word; read as battery_alarms"),
    (37009, 1, "modules of the battery"),
    (37010, 1, "warnings, low word; read as bms_warnings"),
    (37012, 1, "alarms, high word; read as battery_alarms"),
    (37013, 1, "warnings, high word; read as bms_warnings"),
];

/// What register 35187 says.
const WORK_MODES: &[(u16, WorkMode)] = &[
    (0, WorkMode::WAIT),
    (1, WorkMode::NORMAL_ON_GRID),
    (2, WorkMode::NORMAL_OFF_GRID),
    (3, WorkMode::FAULT),
    (4, WorkMode::UPDATING),
    (5, WorkMode::CHECK),
];

/// Powers in two registers, by the second: most machines leave the first at 0 or repeat the sign in it, and those above
/// 30 kW need it.
#[rustfmt::skip]
const POWERS: &[(u16, bool, Quantity)] = &[
    (35125, false, inverter_l1_power),
    (35130, false, inverter_l2_power),
    (35135, false, inverter_l3_power),
    (35138, false, inverter_power),
    (35140, true,  grid_power),
    (35150, false, backup_l1_power),
    (35156, false, backup_l2_power),
    (35162, false, backup_l3_power),
    (35164, false, load_l1_power),
    (35166, false, load_l2_power),
    (35168, false, load_l3_power),
    (35170, false, backup_power),
    (35172, false, load_power),
];

/// Above this, in watts, a power does not fit into 16 bits with a sign.
const WIDE: u32 = 30_000;

#[rustfmt::skip]
const OF_PHASES: &[Quantity] = &[
    grid_l2_voltage, grid_l3_voltage, grid_l1_power, grid_l2_power, grid_l3_power,
    inverter_l2_current, inverter_l3_current, inverter_l1_power, inverter_l2_power, inverter_l3_power,
    backup_l2_voltage, backup_l3_voltage, backup_l2_current, backup_l3_current,
    backup_l1_power, backup_l2_power, backup_l3_power,
    load_l1_power, load_l2_power, load_l3_power,
];

const OF_BATTERY: &[Quantity] = &[battery_voltage, battery_current, battery_power];

const OF_BATTERY_2: &[Quantity] = &[
    battery2_voltage,
    battery2_current,
    battery2_power,
    battery2_soc,
    battery2_mode,
];

fn interpret(registers: &Registers<'_>, machine: &mut Machine, values: &mut Values) {
    let is_wide = machine.rated_power.is_some_and(|watts| watts > WIDE);
    for (register, is_turned, quantity) in POWERS {
        let narrow = || {
            registers
                .word(*register)
                .map(|word| i64::from(word.cast_signed()))
        };
        let wide = || {
            let both = registers.double_word(register - 1)?;
            Some(i64::from(both.cast_signed()))
        };
        let watts = if is_wide { wide() } else { narrow() };
        let watts = watts.map(|watts| if *is_turned { -watts } else { watts });
        values.set_raw(*quantity, watts);
    }
    strings(registers, machine, values);
    // Every register of a phase is FFFF where the machine does not have it, and so is its voltage.
    if values.grid_l2_voltage.is_none() && values.grid_l3_voltage.is_none() {
        clear(values, OF_PHASES);
    }
    grid(registers, values);
    battery(registers, values);
    values.work_mode = translate(registers.word(35187), WORK_MODES);
}

fn strings(registers: &Registers<'_>, machine: &mut Machine, values: &mut Values) {
    let bytes = |register| registers.word(register).map(u16::to_be_bytes);
    // FF: the machine does not have the string.
    let mode = |byte: u8| (byte != u8::MAX).then_some(i64::from(byte));
    for (register, high, low) in [(35119, pv4_mode, pv3_mode), (35120, pv2_mode, pv1_mode)] {
        if let Some([first, second]) = bytes(register) {
            values.set_raw(high, mode(first));
            values.set_raw(low, mode(second));
        }
    }
    machine.sum_strings(values, 0);
}

fn grid(registers: &Registers<'_>, values: &mut Values) {
    values.grid_direction = direction(values.grid_power);
    // 0: the meter does not answer, and what its registers hold is old.
    if registers.word(36004) == Some(0) {
        clear(values, &[grid_l1_power, grid_l2_power, grid_l3_power]);
        return;
    }
    read(FINE_ENERGIES, registers, values);
    let is_fine = values.inverter_grid_export_energy_total.is_some();
    let coarse = [36015, 36017].map(|register| registers.double_word(register));
    if !is_fine && coarse != [Some(0), Some(0)] {
        read(COARSE_ENERGIES, registers, values);
    }
}

fn battery(registers: &Registers<'_>, values: &mut Values) {
    if values.battery_mode == Some(BatteryMode::NO_BATTERY) {
        clear(values, OF_BATTERY);
    }
    let known = |register| registers.word(register).filter(|word| *word != u16::MAX);
    let both = |high, low| Some(u32::from(known(high)?) << 16 | u32::from(known(low)?));
    values.battery_alarms = both(37012, 37006).map(BatteryAlarms);
    values.bms_warnings = both(37013, 37010).map(BmsWarnings);
    values.battery_soh = values.battery_soh.filter(|health| health.raw() != 0);
    // 0: unknown.
    for quantity in [
        battery_cell_voltage_max,
        battery_cell_voltage_min,
        battery_cell_temperature_max,
        battery_cell_temperature_min,
    ] {
        let raw = values.raw(quantity).filter(|raw| *raw != 0);
        values.set_raw(quantity, raw);
    }
    let second = values
        .battery2_mode
        .filter(|mode| *mode != BatteryMode::NO_BATTERY);
    if second.is_none() {
        clear(values, OF_BATTERY_2);
    } else {
        // The battery of the house is both together.
        let both = values.battery_power.zip(values.battery2_power);
        values.battery_power =
            both.and_then(|(one, other)| Watts::from_raw(one.raw() + other.raw()));
    }
}

fn identity(registers: &Registers<'_>, machine: &mut Machine) -> Identity {
    let serial = registers.text(SERIAL.0, SERIAL.1);
    let model = registers.text(35011, 5);
    machine.model.clone_from(&model);
    machine.rated_power = registers.word(35001).map(u32::from);
    let number = |register| {
        registers
            .word(register)
            .map(|word| EntryValue::Text(word.to_string()))
    };
    let entries = [
        (
            "serial",
            "Serial number",
            serial.clone().map(EntryValue::Text),
        ),
        ("model", "Model", model.clone().map(EntryValue::Text)),
        ("rated_power", "Rated power in W", number(35001)),
        (
            "dsp_firmware",
            "DSP firmware",
            registers.text(35021, 6).map(EntryValue::Text),
        ),
        (
            "arm_firmware",
            "ARM firmware",
            registers.text(35027, 6).map(EntryValue::Text),
        ),
    ];
    let record = record(entries);
    Identity {
        serial,
        model,
        firmware: firmware_in(&record),
        record,
    }
}
