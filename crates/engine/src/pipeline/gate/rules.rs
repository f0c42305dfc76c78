//! The gate's rules and all their limits, each with its reason.

use std::fmt;
use std::time::Duration;

use kstar_model::catalogue::Quantity;
use serde::{Deserialize, Serialize};

/// A reason to doubt a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A value that no such machine has is dropped, however often it comes.
    Range,
    /// Load and grid of 0 W at once, while the grid has voltage: the meter of a KSE says so for single samples
    /// (0.6 % of them). Both are dropped, unless it goes on: a house may live from its back-up output.
    ZeroMeter,
    /// A lifetime counter that is lower than before is dropped.
    CounterFall,
    /// A counter that has grown by more than the time since allows is dropped.
    CounterJump,
    /// A reading with more doubtful values than [`MOST_DOUBTFUL`] is refused: it is another frame, or a cut one.
    Nonsense,
    /// What flows in and what flows out differ by more than [`BALANCE_WATTS`]. Only a note: sound readings do that.
    PowerBalance,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Range,
        Self::ZeroMeter,
        Self::CounterFall,
        Self::CounterJump,
        Self::Nonsense,
        Self::PowerBalance,
    ];

    /// What it is called in the configuration and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::ZeroMeter => "zero_meter",
            Self::CounterFall => "counter_fall",
            Self::CounterJump => "counter_jump",
            Self::Nonsense => "nonsense",
            Self::PowerBalance => "power_balance",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// So many readings in a row that agree with each other are believed, whatever a counter showed before: a new mainboard,
/// a reset counter. A minute at the usual interval. They move what was estimated, never a [`Range`].
pub const CONVINCED: u32 = 12;

/// One value may be hit by a slip of the meter or of the inverter's firmware, and two of one cause happen; three that
/// have nothing to do with each other mean that the bytes are not what they are taken for. A frame that is shifted by one
/// to four bytes breaks at least three ranges, whatever the inverter does (`tests/gate.rs`).
pub const MOST_DOUBTFUL: usize = 2;

/// Sound packets miss the balance of the AC side by up to 300 W (PROTOCOL 6.4).
pub const BALANCE_WATTS: i64 = 500;

/// The most power of an inverter, in watts, where neither its source nor the configuration tells it.
pub const MAX_POWER: u32 = 6000;

/// The most that a house takes or gives on one phase, in watts (PROTOCOL 8). Captures come to 9304.
pub const HOUSE_POWER: i64 = 20_000;

/// The values of one quantity that some machine has.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Which.
    pub quantity: Quantity,
    /// The lowest, in the quantity's unit.
    pub lowest: i64,
    /// The highest, in the quantity's unit.
    pub highest: i64,
    /// Whether 0 is possible besides: nothing is connected.
    pub or_zero: bool,
    /// Whether the highest is what `max_power` allows.
    pub max_power: bool,
}

impl Range {
    /// Whether a raw value lies in it.
    pub fn holds(&self, raw: i64) -> bool {
        let scale = self.scale();
        (self.lowest * scale..=self.highest * scale).contains(&raw) || (self.or_zero && raw == 0)
    }

    fn scale(&self) -> i64 {
        10_i64.pow(self.quantity.description().decimals.into())
    }
}

/// The ranges for an inverter of this power. All captures and 2,620 samples of a KSE4000 pass (PROTOCOL 8); what the
/// notes have no range for is bounded by what its field could be taken for by mistake.
pub fn ranges(max_power: u32) -> Vec<Range> {
    let max_power = i64::from(max_power);
    let range = |quantity, lowest, highest| Range {
        quantity,
        lowest,
        highest,
        or_zero: false,
        max_power: false,
    };
    let or_zero = |range: Range| Range {
        or_zero: true,
        ..range
    };
    let by_max_power = |range: Range| Range {
        max_power: true,
        ..range
    };
    // A day has at most 25 hours, and the counters tenths of a kWh.
    let day = |watts: i64| watts * 25 / 1000 + 1;
    vec![
        // 580 V is the most that a string of these machines may have; a KSE has up to 200 V.
        range(Quantity::pv1_voltage, 0, 600),
        range(Quantity::pv1_current, 0, 30),
        range(Quantity::pv2_voltage, 0, 600),
        range(Quantity::pv2_current, 0, 30),
        // Banks of 48 V.
        range(Quantity::battery_voltage, 0, 65),
        range(Quantity::battery_current, -100, 100),
        range(Quantity::battery_soc, 0, 100),
        range(Quantity::battery_soh, 0, 100),
        range(Quantity::battery_temperature, -30, 100),
        // Captures have 0 to 205 A.
        range(Quantity::battery_charge_limit, 0, 500),
        range(Quantity::battery_discharge_limit, 0, 500),
        // 0 during a power cut, in which the inverter goes on.
        or_zero(range(Quantity::grid_voltage, 180, 270)),
        or_zero(range(Quantity::grid_frequency, 45, 65)),
        range(Quantity::grid_power, -HOUSE_POWER, HOUSE_POWER),
        range(Quantity::load_power, -HOUSE_POWER, HOUSE_POWER),
        // The back-up output fades away when it is switched off.
        range(Quantity::backup_voltage, 0, 270),
        range(Quantity::backup_current, 0, 60),
        or_zero(range(Quantity::backup_frequency, 45, 65)),
        range(Quantity::backup_power, -max_power, HOUSE_POWER),
        by_max_power(range(Quantity::inverter_power, -max_power, max_power)),
        range(Quantity::inverter_current, 0, 60),
        range(Quantity::inverter_temperature, -30, 100),
        by_max_power(range(Quantity::energy_today, 0, day(max_power))),
        range(Quantity::load_energy_today, 0, day(HOUSE_POWER)),
        // Fifty years.
        range(Quantity::operating_hours, 0, 438_300),
    ]
}

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

/// The counters of an inverter of this power.
pub fn counters(max_power: u32) -> [CounterLimit; 5] {
    // Tenths of a kWh.
    let energy = |quantity, lifetime, watts: i64| CounterLimit {
        quantity,
        lifetime,
        per_hour: watts / 100 + 1,
        at_once: 10,
    };
    [
        energy(Quantity::energy_total, true, max_power.into()),
        energy(Quantity::load_energy_total, true, HOUSE_POWER),
        energy(Quantity::energy_today, false, max_power.into()),
        energy(Quantity::load_energy_today, false, HOUSE_POWER),
        CounterLimit {
            quantity: Quantity::operating_hours,
            lifetime: true,
            per_hour: 1,
            at_once: 2,
        },
    ]
}
