//! GoodWe string inverters of the DT family (DT, SDT, MS, D-NS, XS); one phase and three (PROTOCOL-GOODWE-MODBUS 9).
//!
//! They have no battery and measure no load. A string's power is its voltage times its current.

use std::time::Duration;

#[cfg_attr(
    not(test),
    expect(clippy::enum_glob_use, reason = "a data sheet names quantities only")
)]
use kstar_model::catalogue::Quantity::{self, *};
use kstar_model::catalogue::Values;
use kstar_model::labels::WorkMode;
use kstar_source::record::EntryValue;
use kstar_source::rule::Rule;
use kstar_source::source::{Asked, Bound, Identity, Profile};

use super::{Family, Machine, Place, clear, direction, record};
use crate::frame::Function::ReadHolding;
use crate::registers::{
    Block, Field, Registers, begins_with_clock, can_begin_with_clock, can_hold_text, fields, read,
    translate,
};
use crate::via::Via;

/// The family.
pub static GOODWE_DT: Family = Family {
    name: "goodwe-dt",
    unit: 127,
    ways: &[Via::Udp, Via::ModbusTcp, Via::RtuOverTcp],
    places: &[
        Place::at(Via::Udp, 8899, &[127]),
        Place::at(Via::ModbusTcp, 502, &[127, 245]),
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
        off: &[Rule::ZeroMeter],
        sleeps_at_night: true,
        // GW50KS-MT, the largest that was captured.
        ..Profile::of(50_000)
    },
};

const SERIAL: (u16, u16) = (30004, 8);

/// Strings of high voltage.
const BOUNDS: &[Bound] = &[
    Bound::new(pv1_voltage, 0, 1_100),
    Bound::new(pv1_current, 0, 60),
    Bound::new(inverter_current, 0, 150),
];

const BLOCKS: &[Block] = &[
    Block {
        fits: can_begin_with_clock,
        ..Block::new("running_data", ReadHolding, 30100, &[73], Asked::EachPoll)
    },
    Block {
        // Taken for a power, a date of this century is megawatts.
        fits: |words| !begins_with_clock(words),
        ..Block::new("meter", ReadHolding, 30195, &[15], Asked::IfAvailable)
    },
    Block {
        fits: |words| can_hold_text(words, 3..11),
        ..Block::new("device_info", ReadHolding, 30001, &[40], Asked::ForIdentity)
    },
    Block {
        fits: |words| can_hold_text(words, 0..8),
        wanted: |registers| registers.text(30012, 5).is_none(),
        ..Block::new("model_name", ReadHolding, 40173, &[8], Asked::ForIdentity)
    },
];

#[rustfmt::skip]
const FIELDS: &[Field] = fields! {
    30100 DateTime          1    code + inverter_clock;
    30103 U16               0.1  V    + pv1_voltage;
    30104 U16               0.1  A    + pv1_current;
    30105 U16               0.1  V    + pv2_voltage;
    30106 U16               0.1  A    + pv2_current;
    30107 U16               0.1  V    + pv3_voltage;
    30108 U16               0.1  A    + pv3_current;
    30109 U16               0.1  V    + pv4_voltage;
    30110 U16               0.1  A    + pv4_current;
    30118 U16               0.1  V    + grid_voltage;
    30119 U16               0.1  V    + grid_l2_voltage;
    30120 U16               0.1  V    + grid_l3_voltage;
    30121 U16               0.1  A    + inverter_current;
    30122 U16               0.1  A    + inverter_l2_current;
    30123 U16               0.1  A    + inverter_l3_current;
    30124 U16               0.01 Hz   + grid_frequency;
    30127 U32               1    W    + inverter_power;
    30130 U32               1    code + errors;
    30141 GoodweTemperature 0.1  C    + inverter_temperature;
    30144 U16               0.1  kWh  + energy_today;
    30145 U32               0.1  kWh  + energy_total;
    30147 U32               1    h    + operating_hours;
    30163 U16               0.1  V    + bus_voltage;
    30165 U32               1    code + derating;
};

/// What the meter says, while it answers.
#[rustfmt::skip]
const METER: &[Field] = fields! {
    30195 I32 1     W   - grid_power;
    30197 U32 0.001 kWh + inverter_grid_export_energy_total;
    30199 U32 0.001 kWh + inverter_grid_import_energy_total;
};

const NOTES: &[(u16, u16, &str)] = &[
    (30001, 1, "map version"),
    (30002, 1, "rated power, 0.1 kW"),
    (30003, 1, "phases"),
    (30004, 8, "serial number, text"),
    (30012, 5, "model, text"),
    (30034, 5, "versions of DSP 1, DSP 2, ARM, DSP SVN, ARM SVN"),
    (
        30111,
        4,
        "voltages and currents of PV strings 5 and 6; added to pv_power",
    ),
    (30115, 3, "voltages between the phases, 0.1 V"),
    (30125, 2, "frequencies of L2 and L3, 0.01 Hz"),
    (30129, 1, "read as work_mode"),
    (30132, 1, "warning"),
    (30133, 2, "apparent power, VA"),
    (30135, 2, "reactive power, var"),
    (30139, 1, "power factor, 0.001"),
    (30142, 1, "temperature of the heat sink, 0.1 °C"),
    (30149, 1, "country code"),
    (30162, 1, "function bits"),
    (30164, 1, "voltage of the N bus, 0.1 V"),
    (30172, 1, "signal strength, %"),
    (
        30195,
        2,
        "power of the meter, + export, W; read as grid_power",
    ),
    (30197, 2, "energy exported, Wh"),
    (30199, 2, "energy imported, Wh"),
    (30209, 1, "1 while the meter answers, 2 while it does not"),
    (30210, 1, "leakage current, 0.1 mA"),
    (40173, 8, "model, text"),
];

/// What register 30129 says.
const WORK_MODES: &[(u16, WorkMode)] = &[
    (0, WorkMode::WAIT),
    (1, WorkMode::NORMAL_ON_GRID),
    (2, WorkMode::FAULT),
    (4, WorkMode::CHECK),
];

const OF_PHASES: &[Quantity] = &[
    grid_l2_voltage,
    grid_l3_voltage,
    inverter_l2_current,
    inverter_l3_current,
];

fn interpret(registers: &Registers<'_>, machine: &mut Machine, values: &mut Values) {
    let known = |register| registers.word(register).filter(|word| *word != u16::MAX);
    let product = |volts, amperes| Some(i64::from(known(volts)?) * i64::from(known(amperes)?));
    let more = [(30111, 30112), (30113, 30114)]
        .into_iter()
        .filter_map(|(volts, amperes)| product(volts, amperes))
        .sum();
    machine.sum_strings(values, more);
    // A machine of one phase has FFFF there, or 0.
    let has_voltage = |quantity| values.raw(quantity).is_some_and(|raw| raw != 0);
    if !has_voltage(grid_l2_voltage) && !has_voltage(grid_l3_voltage) {
        clear(values, OF_PHASES);
    }
    values.work_mode = translate(registers.word(30129), WORK_MODES);
    if registers.word(30209) == Some(1) {
        read(METER, registers, values);
        values.grid_direction = direction(values.grid_power);
    }
}

fn identity(registers: &Registers<'_>, machine: &mut Machine) -> Identity {
    let serial = registers.text(SERIAL.0, SERIAL.1);
    let model = registers
        .text(30012, 5)
        .or_else(|| registers.text(40173, 8));
    machine.model.clone_from(&model);
    // In tenths of a kW; MS machines leave it at FFFF, others at 0.
    let rated = registers.word(30002).map(u32::from);
    machine.rated_power = rated
        .filter(|tenths| (1..u32::from(u16::MAX)).contains(tenths))
        .map(|tenths| tenths * 100);
    let rated = machine
        .rated_power
        .map(|watts| EntryValue::Text(watts.to_string()));
    let entries = [
        (
            "serial",
            "Serial number",
            serial.clone().map(EntryValue::Text),
        ),
        ("model", "Model", model.clone().map(EntryValue::Text)),
        ("rated_power", "Rated power in W", rated),
    ];
    Identity {
        serial,
        model,
        firmware: None,
        record: record(entries),
    }
}
