//! Readings to test with: the same for the same arguments.

use std::sync::Arc;

use fastrand::Rng;
use kstar_model::catalogue::{Group, Quantity, Values};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::scalar::Kind;
use kstar_model::time::UnixMillis;

/// 2026-11-22T00:00:00Z, where the test readings begin.
pub(super) const BEGIN: i64 = 1_795_305_600_000;

/// The time between two of the test readings.
pub(super) const INTERVAL: i64 = 5000;

/// A reading without values of the inverter of that name at that time.
pub fn reading(inverter: &str, time: i64) -> Arc<Reading> {
    with_values(inverter, time, |_, _| None)
}

/// A reading in which every quantity is present, plausible, and the same for the same time.
pub fn full_reading(inverter: &str, time: i64) -> Arc<Reading> {
    with_values(inverter, time, |quantity, random| {
        let value = plausible(quantity, random);
        is_measured(quantity).then_some(value)
    })
}

fn is_measured(quantity: Quantity) -> bool {
    quantity.description().derivation.is_none()
}

/// The same with what an inverter sends that speaks AA55, like a KSE.
pub fn kse_reading(inverter: &str, time: i64) -> Arc<Reading> {
    with_values(inverter, time, |quantity, random| {
        let value = plausible(quantity, random);
        is_of_kse(quantity).then_some(value)
    })
}

/// Whether such an inverter sends a quantity, or the collector adds it.
fn is_of_kse(quantity: Quantity) -> bool {
    let group = quantity.description().group;
    KSE.contains(&quantity) || matches!(group, Group::Meter | Group::Link)
}

const KSE: &[Quantity] = &[
    Quantity::pv1_voltage,
    Quantity::pv1_current,
    Quantity::pv1_mode,
    Quantity::pv2_voltage,
    Quantity::pv2_current,
    Quantity::pv2_mode,
    Quantity::battery_voltage,
    Quantity::battery_current,
    Quantity::battery_soc,
    Quantity::battery_soh,
    Quantity::battery_temperature,
    Quantity::battery_charge_limit,
    Quantity::battery_discharge_limit,
    Quantity::battery_mode,
    Quantity::bms_errors,
    Quantity::battery_warnings,
    Quantity::grid_voltage,
    Quantity::grid_frequency,
    Quantity::grid_power,
    Quantity::grid_direction,
    Quantity::load_power,
    Quantity::backup_voltage,
    Quantity::backup_current,
    Quantity::backup_frequency,
    Quantity::backup_power,
    Quantity::backup_mode,
    Quantity::inverter_power,
    Quantity::inverter_current,
    Quantity::inverter_temperature,
    Quantity::inverter_state,
    Quantity::work_mode,
    Quantity::errors,
    Quantity::diagnostics,
    Quantity::inverter_clock,
    Quantity::operating_hours,
    Quantity::energy_today,
    Quantity::energy_total,
    Quantity::load_energy_today,
    Quantity::load_energy_total,
];

/// Readings of one inverter, five seconds apart, with everything that may occur: absent values, zeros, negative
/// numbers, codes that have no label, any set of flags, told what else follows from others. The same for the same arguments.
pub fn readings(inverter: &str, count: usize) -> Vec<Arc<Reading>> {
    (BEGIN..)
        .step_by(INTERVAL.unsigned_abs().try_into().unwrap_or(1))
        .take(count)
        .map(|time| with_values(inverter, time, possible))
        .collect()
}

fn with_values(
    inverter: &str,
    time: i64,
    value: impl Fn(Quantity, &mut Rng) -> Option<i64>,
) -> Arc<Reading> {
    let mut random = Rng::with_seed(time.unsigned_abs());
    let mut values = Values::default();
    for quantity in Quantity::ALL {
        values.set_raw(*quantity, value(*quantity, &mut random));
    }
    values.derive();
    Arc::new(Reading {
        time: UnixMillis(time),
        inverter: Inverter::named(inverter),
        values,
        counted: None,
    })
}

fn plausible(quantity: Quantity, random: &mut Rng) -> i64 {
    let description = quantity.description();
    match description.kind {
        Kind::Measurement | Kind::Counter => {
            let usual = match description.unit {
                "V" => 230,
                "A" => 12,
                "W" => 3000,
                "Hz" => 50,
                "°C" => 35,
                "%" => 80,
                "kWh" => 14_079,
                "h" => 30_000,
                _ => 60,
            };
            let whole = usual * 10_i64.pow(description.decimals.into());
            random.i64(whole * 9 / 10..=whole * 11 / 10)
        }
        Kind::Mode(labels) | Kind::Flags(labels) => {
            let known = random.choice(labels.0).map_or(0, |(code, _)| *code);
            match description.kind {
                Kind::Mode(_) => known.into(),
                _ => 1 << known,
            }
        }
        Kind::Bits => random.u32(..).into(),
        Kind::Clock => BEGIN / 1000 + random.i64(0..86_400),
    }
}

fn possible(quantity: Quantity, random: &mut Rng) -> Option<i64> {
    let chance = random.u8(..8);
    if chance > 2 && !is_measured(quantity) {
        return None;
    }
    match (chance, quantity.description().kind) {
        (0, _) => None,
        (1, _) => Some(0),
        // No more volts and amperes than make watts that can be held.
        (2, Kind::Measurement) => {
            let reach = match quantity.description().unit {
                "V" | "A" => 30_000,
                _ => 70_000,
            };
            Some(random.i64(-reach..reach))
        }
        (2..4, Kind::Mode(_)) => Some(random.u8(..).into()),
        (2..5, Kind::Flags(_)) => Some(random.u32(..).into()),
        _ => Some(plausible(quantity, random)),
    }
}
