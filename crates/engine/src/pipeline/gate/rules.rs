//! The limits of the gate's rules, each with its reason.

use std::time::Duration;

use kstar_model::catalogue::{Quantity, Role};
pub use kstar_source::rule::Rule;
use kstar_source::source::Profile;

/// So many readings in a row that agree with each other are believed, whatever a counter showed before: a new mainboard,
/// a reset counter. A minute at the usual interval. They move what was estimated, never a [`Range`](super::ranges::Range).
pub const CONVINCED: u32 = 12;

/// One value may be hit by a slip of the meter or of the inverter's firmware, and two of one cause happen; three that
/// have nothing to do with each other mean that the bytes are not what they are taken for. A frame that is shifted by one
/// to four bytes breaks at least three ranges, whatever the inverter does (`tests/gate.rs`).
pub const MOST_DOUBTFUL: usize = 2;

/// Sound packets miss the balance of the AC side by up to 300 W (PROTOCOL 6.4).
pub const BALANCE_WATTS: i64 = 500;

/// The most power of an inverter, in watts, where neither its source nor the configuration tells it.
pub const MAX_POWER: u32 = 6000;

/// A counter of the inverter, and what bounds its growth.
#[derive(Clone, Copy, Debug)]
pub struct CounterLimit {
    /// Which.
    pub quantity: Quantity,
    /// Whether it counts for life. One that starts anew each day may fall at any time: the inverter's clock says
    /// when, and that may be hours off.
    pub lifetime: bool,
    /// What it may grow by in an hour, in its raw resolution.
    pub per_hour: i64,
    /// What it may grow by at once, in its raw resolution: its own steps, and what it still makes up for after an
    /// outage (0.4 kWh were seen).
    pub at_once: i64,
}

impl CounterLimit {
    /// Of a counter of energy, where so much power may flow.
    fn energy(quantity: Quantity, watts: i64) -> Self {
        let description = quantity.description();
        let kilowatt_hour = 10_i64.pow(description.decimals.into());
        Self {
            quantity,
            lifetime: !matches!(description.role, Role::Today { .. }),
            per_hour: watts * kilowatt_hour / 1000 + 1,
            at_once: kilowatt_hour,
        }
    }

    /// The most that it may grow by in this time.
    pub fn growth(&self, elapsed: Duration) -> i64 {
        let seconds = i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX);
        self.per_hour
            .saturating_mul(seconds)
            .checked_div(3600)
            .unwrap_or(i64::MAX)
            .saturating_add(self.at_once)
    }
}

/// The counters of such an inverter.
pub fn counters(profile: &Profile) -> Vec<CounterLimit> {
    let (inverter, house) = (profile.max_power.into(), profile.house_power.into());
    // The panels and the battery have the DC side, where more than the AC side's power may flow.
    let direct = 2 * i64::from(profile.max_power);
    let energies = [
        (Quantity::energy_total, inverter),
        (Quantity::load_energy_total, house),
        (Quantity::energy_today, inverter),
        (Quantity::load_energy_today, house),
        (Quantity::inverter_pv_energy_total, direct),
        (Quantity::inverter_pv_energy_today, direct),
        (Quantity::inverter_grid_import_energy_total, house),
        (Quantity::inverter_grid_import_energy_today, house),
        (Quantity::inverter_grid_export_energy_total, house),
        (Quantity::inverter_grid_export_energy_today, house),
        (Quantity::inverter_battery_charge_energy_total, direct),
        (Quantity::inverter_battery_charge_energy_today, direct),
        (Quantity::inverter_battery_discharge_energy_total, direct),
        (Quantity::inverter_battery_discharge_energy_today, direct),
    ];
    let hours = CounterLimit {
        quantity: Quantity::operating_hours,
        lifetime: true,
        per_hour: 1,
        at_once: 2,
    };
    let mut counters: Vec<CounterLimit> = energies
        .into_iter()
        .map(|(quantity, watts)| CounterLimit::energy(quantity, watts))
        .collect();
    counters.push(hours);
    counters
}
