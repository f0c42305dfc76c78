//! What the meter could not see, from the inverter's own counter of the same flow.
//!
//! A counter moves in steps of 0.1 kWh or 0.01 kWh, so its growth alone would be a step wrong at either end of a gap. What
//! the meter has counted since the counter moved last is known, though, and is taken off: that ends the error at the
//! beginning. The part of a step that the counter does not show yet when the gap ends is made up for when it moves next.
//! What is left is less than a step for each gap. While nothing is missed, nothing is added, however the two differ.

use std::time::Duration;

use kstar_model::catalogue::{Quantity, Values};
use kstar_source::source::Profile;
use serde::{Deserialize, Serialize};

use super::counters::Flow;
use super::energy::Energy;

/// A kilowatt-hour in watt-microseconds.
const KILOWATT_HOUR: u64 = 3_600_000_000_000;

/// The inverter's counters of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    total: Quantity,
    /// What is taken where the other one is never told.
    today: Quantity,
    /// The most that may flow, in watts.
    watts: u32,
}

impl Own {
    /// Those of such a machine. `energy_total` is none of them: what it counts is no flow of ours.
    pub(super) fn of(flow: Flow, profile: &Profile) -> Option<Self> {
        // The panels and the battery have the DC side, where more than the AC side's power may flow.
        let direct = profile.max_power.saturating_mul(2);
        let house = profile.house_power;
        let (total, today, watts) = match flow {
            Flow::Pv => (
                Quantity::inverter_pv_energy_total,
                Quantity::inverter_pv_energy_today,
                direct,
            ),
            Flow::GridImport => (
                Quantity::inverter_grid_import_energy_total,
                Quantity::inverter_grid_import_energy_today,
                house,
            ),
            Flow::GridExport => (
                Quantity::inverter_grid_export_energy_total,
                Quantity::inverter_grid_export_energy_today,
                house,
            ),
            Flow::BatteryCharge => (
                Quantity::inverter_battery_charge_energy_total,
                Quantity::inverter_battery_charge_energy_today,
                direct,
            ),
            Flow::BatteryDischarge => (
                Quantity::inverter_battery_discharge_energy_total,
                Quantity::inverter_battery_discharge_energy_today,
                direct,
            ),
            Flow::Consumption if profile.load_energy_is_consumption => (
                Quantity::load_energy_total,
                Quantity::load_energy_today,
                house,
            ),
            Flow::Consumption => return None,
        };
        Some(Self {
            total,
            today,
            watts,
        })
    }

    /// The most that may have flowed in this time.
    pub(super) fn most(self, elapsed: Duration) -> Energy {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        Energy(micros.saturating_mul(self.watts.into())).min(Energy::MOST)
    }

    /// What a reading shows of them.
    pub(super) fn shown(self, values: &Values) -> Option<Standing> {
        let of = |counter: Quantity, of_day| {
            values.raw(counter).map(|shown| Standing {
                shown,
                of_day,
                metered: Energy(0),
                owed: Energy(0),
            })
        };
        of(self.total, false).or_else(|| of(self.today, true))
    }

    /// So much as a counter's raw value.
    fn energy(self, raw: i64) -> Energy {
        let step = KILOWATT_HOUR / 10_u64.pow(self.total.description().decimals.into());
        let energy = u64::try_from(raw).unwrap_or(0).saturating_mul(step);
        Energy(energy).min(Energy::MOST)
    }
}

/// How a counter of the inverter and the meter stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Standing {
    /// What it showed in the last reading in which its flow was counted, raw.
    shown: i64,
    /// Whether it is the one that begins anew each day.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    of_day: bool,
    /// What the meter has counted since it shows that.
    metered: Energy,
    /// The most that may have flowed and was neither metered nor is shown yet.
    owed: Energy,
}

/// What a reading tells of what the meter could not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// All of it: so much.
    All(Energy),
    /// So much at least: the counter began anew, or was never seen before.
    AtLeast(Energy),
    /// Nothing in this reading.
    Later,
}

impl Told {
    pub(super) fn energy(self) -> Energy {
        match self {
            Self::All(energy) | Self::AtLeast(energy) => energy,
            Self::Later => Energy(0),
        }
    }
}

/// Follows a counter to what it shows in the next reading in which its flow is counted: `metered` is what the meter has
/// counted since the one before, and `missed` what may have flowed besides, if there was a gap.
pub(super) fn follow(
    standing: &mut Option<Standing>,
    own: Own,
    shown: Option<Standing>,
    metered: Energy,
    missed: Option<Energy>,
) -> Told {
    let Some(before) = standing else {
        *standing = shown;
        return Told::AtLeast(Energy(0));
    };
    before.metered = before.metered.plus(metered);
    before.owed = before.owed.plus(missed.unwrap_or_default());
    let Some(shown) = shown.filter(|shown| before.of_day || !shown.of_day) else {
        return Told::Later;
    };
    if shown.of_day != before.of_day {
        *standing = Some(shown);
        return Told::AtLeast(Energy(0));
    }
    let step = own.energy(1);
    let fell = shown.shown < before.shown;
    if shown.shown == before.shown {
        // A counter that is right would have moved by more.
        before.metered = before.metered.min(step);
        before.owed = before.owed.min(step);
        return Told::All(Energy(0));
    }
    let grown = match (fell, shown.of_day) {
        (false, _) => own.energy(shown.shown.saturating_sub(before.shown)),
        (true, true) => own.energy(shown.shown),
        (true, false) => Energy(0),
    };
    let bridged = grown.minus(before.metered).min(before.owed);
    let left = before.owed.minus(bridged).min(step);
    *before = Standing {
        // When it moves while nothing is missed, it shows all that has flowed.
        owed: missed.filter(|_| !fell).map_or(Energy(0), |_| left),
        ..shown
    };
    if fell {
        Told::AtLeast(bridged)
    } else {
        Told::All(bridged)
    }
}

#[cfg(test)]
mod tests;
