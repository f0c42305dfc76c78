//! How the driver treats a sink: what it keeps while the far side is away, how much, how long.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::duration;

/// What is kept for a far side that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Every reading, for those who store them.
    Every,
    /// The newest reading of each inverter, for those who show how things are now.
    NewestPerInverter,
}

/// How the driver treats a sink.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// What is kept while the far side is away.
    pub keep: Keep,
    /// How many readings wait at the most; beyond that the oldest is dropped and counted.
    pub queue: NonZeroUsize,
    /// How many readings one delivery holds at the most.
    pub batch: NonZeroUsize,
    /// How long one delivery may take before it counts as unanswered.
    pub timeout: Duration,
}

/// A reading takes some hundred bytes, so that a full queue stays below ten megabytes: 14 hours at one poll in 5 s.
const QUEUE: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Longer than any far side on a home network takes, shorter than the grace at a stop.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The section `[sinks.NAME.delivery]`, the same for every sink; what it leaves out is the sink's own default.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverySettings {
    /// How many readings wait in memory while the far side is away; the oldest is dropped first.
    pub queue: Option<NonZeroUsize>,
    /// How many readings are delivered at once when several wait.
    pub batch: Option<NonZeroUsize>,
    /// How long the far side may take for one delivery. Must be shorter than the grace of `[collector]`.
    #[serde(default, with = "duration::optional")]
    pub timeout: Option<Duration>,
}

impl DeliverySettings {
    /// The policy with what the user set, and these defaults of the sink.
    pub fn policy(self, keep: Keep, batch: NonZeroUsize) -> Policy {
        Policy {
            keep,
            queue: self.queue.unwrap_or(QUEUE),
            batch: self.batch.unwrap_or(batch),
            timeout: self.timeout.unwrap_or(TIMEOUT),
        }
    }
}
