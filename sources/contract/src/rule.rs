//! The rules of the gate by their names: those that do not hold for a machine are named in its
//! [profile](crate::source::Profile), those that a user switches off in the configuration.

use std::fmt;

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
    /// A reading with more than two doubtful values is refused: it is another frame, or a cut one.
    Nonsense,
    /// What flows in and what flows out differ by much. Only a note: sound readings do that.
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
