//! How the driver treats a sink: what it keeps while the server is away, how much, how long.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use kstar_common::setting::{duration, size};
use serde::Deserialize;

/// What is kept for a server that is away.
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
    /// What is kept while the server is away.
    pub keep: Keep,
    /// How many readings wait in memory at the most; beyond that the oldest is dropped and counted.
    pub queue: NonZeroUsize,
    /// How many readings one delivery holds at the most.
    pub batch: NonZeroUsize,
    /// How long one delivery may take before it counts as unanswered.
    pub timeout: Duration,
    /// How long new readings are gathered before they are delivered together; a full batch goes at once.
    pub linger: Duration,
    /// The bounds of the spool, for a sink that has one: what waits for longer than a second waits there.
    pub spool: Option<SpoolBounds>,
}

/// How much may wait in a spool; beyond either bound the oldest is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolBounds {
    /// The size of its file, in bytes.
    pub bytes: u64,
    /// The number of readings.
    pub readings: NonZeroU64,
}

impl Default for SpoolBounds {
    /// Some two months of one inverter at one poll in 5 s.
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            readings: const { NonZeroU64::new(1_000_000).unwrap() },
        }
    }
}

/// A reading takes some hundred bytes, so that a full queue stays below ten megabytes: 14 hours at one poll in 5 s.
const QUEUE: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// With a spool, what waits in memory is what came within a second or two; more only while the spool's disk fails.
const QUEUE_BEFORE_A_SPOOL: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// How long a delivery may take unless it is set: longer than anything on a home network takes, shorter than the grace at
/// a stop.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// The section `[sinks.NAME.delivery]`, the same for every sink; what it leaves out is the sink's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverySettings {
    /// How many readings wait in memory while the server is away; the oldest is dropped first.
    pub queue: Option<NonZeroUsize>,
    /// How many readings are delivered at once when several wait.
    pub batch: Option<NonZeroUsize>,
    /// How long the server may take for one delivery. Must be shorter than the grace of `[collector]`.
    #[serde(default, with = "duration::optional")]
    pub timeout: Option<Duration>,
    /// Whether readings wait on disk, in the state folder, so that they outlive the program.
    pub spool: Option<bool>,
    /// How large the spool may become, like `"256MiB"`; the oldest reading is dropped first.
    #[serde(default, with = "size::optional")]
    pub spool_max: Option<u64>,
    /// How many readings the spool may hold; the oldest is dropped first.
    pub spool_max_readings: Option<NonZeroU64>,
}

impl DeliverySettings {
    /// The policy with what the user set, and these defaults of the sink.
    pub fn policy(self, keep: Keep, batch: NonZeroUsize) -> Policy {
        let spool = self.spool.unwrap_or(false).then(|| {
            let usual = SpoolBounds::default();
            SpoolBounds {
                bytes: self.spool_max.unwrap_or(usual.bytes),
                readings: self.spool_max_readings.unwrap_or(usual.readings),
            }
        });
        let usual_queue = match spool {
            Some(_) => QUEUE_BEFORE_A_SPOOL,
            None => QUEUE,
        };
        Policy {
            keep,
            queue: self.queue.unwrap_or(usual_queue),
            batch: self.batch.unwrap_or(batch),
            timeout: self.timeout.unwrap_or(TIMEOUT),
            linger: Duration::ZERO,
            spool,
        }
    }

    /// The same for a sink that has a spool unless the user says otherwise.
    #[must_use]
    pub fn spooled_by_default(self) -> Self {
        Self {
            spool: self.spool.or(Some(true)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str, settle: fn(DeliverySettings) -> DeliverySettings) -> Policy {
        let settings = toml::from_str(text).unwrap();
        settle(settings).policy(Keep::Every, NonZeroUsize::MIN)
    }

    #[test]
    fn a_spool_is_there_where_user_or_sink_say_so_and_the_user_weighs_more() {
        let as_it_is = |settings| settings;
        let by_default = DeliverySettings::spooled_by_default;
        assert_eq!(policy("", as_it_is).spool, None);
        assert_eq!(policy("spool = false", by_default).spool, None);
        for spooled in [policy("spool = true", as_it_is), policy("", by_default)] {
            assert_eq!(spooled.spool, Some(SpoolBounds::default()));
        }
        let bounds = "spool_max = '2GiB'\nspool_max_readings = 7";
        assert_eq!(
            policy(bounds, by_default).spool,
            Some(SpoolBounds {
                bytes: 2 << 30,
                readings: NonZeroU64::new(7).unwrap(),
            })
        );
    }

    #[test]
    fn with_a_spool_little_waits_in_memory() {
        let by_default = DeliverySettings::spooled_by_default;
        assert_eq!(policy("", |settings| settings).queue.get(), 10_000);
        assert_eq!(policy("", by_default).queue.get(), 256);
        assert_eq!(policy("queue = 9", by_default).queue.get(), 9);
    }
}
