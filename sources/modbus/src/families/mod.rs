//! Families of inverters, each like a data sheet: its blocks, what stands where, and what a table cannot say.

pub mod goodwe_dt;
pub mod goodwe_et;
pub mod kstar_hybrid;

use std::time::Duration;

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::labels::GridDirection;
use kstar_model::scalar::Scalar;
use kstar_model::units::Watts;
use kstar_source::record::{Entry, EntryValue, Record};
use kstar_source::source::{Identity, Profile};

use crate::registers::{Block, Field, Registers};
use crate::via::Via;

/// What there is to know about a family.
#[derive(Debug)]
pub struct Family {
    /// What the configuration calls it.
    pub name: &'static str,
    /// The unit address as shipped.
    pub unit: u8,
    /// The ways to such an inverter, the usual one first.
    pub ways: &'static [Via],
    /// Where one of which nothing is known is looked for, the most likely place first.
    pub places: &'static [Place],
    /// How long a reply may take, unless the configuration says otherwise.
    pub timeout: Duration,
    /// Where its serial number stands: the first register, and how many.
    pub serial: (u16, u16),
    /// What is asked for, in this order.
    pub blocks: &'static [Block],
    /// What stands where.
    pub fields: &'static [Field],
    /// Registers of known meaning that are no quantity: the first, how many, and what they are.
    pub notes: &'static [(u16, u16, &'static str)],
    /// What the table of fields cannot say.
    pub(crate) interpret: fn(&Registers<'_>, &mut Machine, &mut Values),
    /// Who it is, by its identity blocks.
    pub(crate) identity: fn(&Registers<'_>, &mut Machine) -> Identity,
    /// What such a machine can be.
    pub profile: Profile,
}

/// Where an inverter may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The way.
    pub via: Via,
    /// The port.
    pub port: u16,
    /// The unit addresses that are known there.
    pub units: &'static [u8],
}

impl Place {
    const fn at(via: Via, port: u16, units: &'static [u8]) -> Self {
        Self { via, port, units }
    }
}

/// What was found out about one machine since the start.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Its model, once it has told.
    pub model: Option<String>,
    /// Its rated power in watts, once it has told.
    pub rated_power: Option<u32>,
    /// Whether strings 3 and 4 have ever had voltage: without them the registers are 0.
    has_string: [bool; 2],
}

impl Family {
    /// The values that registers hold.
    pub fn decode(&self, registers: &Registers<'_>, machine: &mut Machine) -> Values {
        let mut values = Values::default();
        crate::registers::read(self.fields, registers, &mut values);
        (self.interpret)(registers, machine, &mut values);
        values
    }
}

/// The quantities of each PV string.
const STRINGS: [[Quantity; 4]; 4] = [
    [
        Quantity::pv1_voltage,
        Quantity::pv1_current,
        Quantity::pv1_power,
        Quantity::pv1_mode,
    ],
    [
        Quantity::pv2_voltage,
        Quantity::pv2_current,
        Quantity::pv2_power,
        Quantity::pv2_mode,
    ],
    [
        Quantity::pv3_voltage,
        Quantity::pv3_current,
        Quantity::pv3_power,
        Quantity::pv3_mode,
    ],
    [
        Quantity::pv4_voltage,
        Quantity::pv4_current,
        Quantity::pv4_power,
        Quantity::pv4_mode,
    ],
];

impl Machine {
    /// Leaves out the strings that the machine does not have, and adds up the others: those told by their power, else by
    /// voltage and current; `more` is the power of strings beyond, in hundredths of a watt.
    fn sum_strings(&mut self, values: &mut Values, more: i64) {
        for (has, string) in self.has_string.iter_mut().zip(STRINGS.iter().skip(2)) {
            let [voltage, current, ..] = *string;
            let is_live = |quantity| values.raw(quantity).is_some_and(|raw| raw != 0);
            *has |= is_live(voltage) || is_live(current);
            if !*has {
                clear(values, string);
            }
        }
        let mut sum = Some(more);
        let mut any = more != 0;
        for [voltage, current, power, _] in STRINGS {
            if values.raw(voltage).is_none() && values.raw(power).is_none() {
                // FFFF in all registers of a string: the machine does not have it.
                continue;
            }
            any = true;
            let told = values.raw(power);
            let power = told.or_else(|| {
                values
                    .raw(voltage)
                    .zip(values.raw(current))
                    .map(|(volts, amperes)| volts * amperes)
            });
            sum = sum.zip(power).map(|(sum, power)| sum + power);
        }
        values.pv_power = sum.filter(|_| any).and_then(Watts::from_raw);
    }
}

/// Leaves out quantities.
fn clear(values: &mut Values, quantities: &[Quantity]) {
    for quantity in quantities {
        values.set_raw(*quantity, None);
    }
}

/// The sum of quantities, missing if one of them is.
fn sum(values: &Values, of: &[Quantity]) -> Option<i64> {
    of.iter().map(|quantity| values.raw(*quantity)).sum()
}

/// The direction that follows from a power at the grid connection; the machine tells none.
fn direction(power: Option<Watts<0>>) -> Option<GridDirection> {
    /// As wide as that of the meter of a KSE.
    const DEAD_BAND: i64 = 30;
    power.map(|power| match power.raw() {
        watts if watts > DEAD_BAND => GridDirection::IMPORTING,
        watts if watts < -DEAD_BAND => GridDirection::EXPORTING,
        _ => GridDirection::IDLE,
    })
}

/// The versions of a record's firmware in one text, for those who show one.
fn firmware_in(record: &Record) -> Option<String> {
    let parts = [("ARM", "arm_firmware"), ("DSP", "dsp_firmware")];
    let versions = parts
        .into_iter()
        .filter_map(|(part, key)| Some(format!("{part} {}", record.get(key)?)));
    let versions: Vec<String> = versions.collect();
    (!versions.is_empty()).then(|| versions.join(", "))
}

/// The entries that are there.
fn record<const N: usize>(
    entries: [(&'static str, &'static str, Option<EntryValue>); N],
) -> Record {
    let present = entries.into_iter().filter_map(|(key, label, value)| {
        Some(Entry {
            key,
            label,
            unit: "",
            value: value?,
        })
    });
    Record(present.collect())
}
