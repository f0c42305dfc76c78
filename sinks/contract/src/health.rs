//! How a sink is: its state and its counts. Whoever asks gets a snapshot; only changes of state are logged.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// The state of a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum State {
    /// Nothing was delivered since it was opened, or begun to be.
    Opening,
    /// The last delivery arrived.
    Up,
    /// The last delivery failed, or it cannot be opened.
    Down {
        /// Why.
        reason: String,
    },
    /// It takes nothing more.
    Ended,
}

/// What became of readings, counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Taken from the channel.
    pub taken: u64,
    /// Delivered to the far side.
    pub delivered: u64,
    /// Replaced by a newer state of the same inverter before they were delivered (sinks that show the present).
    pub replaced: u64,
    /// Dropped because the queue or the spool was full, or the spool damaged.
    pub dropped: u64,
    /// Refused by the far side.
    pub rejected: u64,
    /// Lost on the way because the program was too busy to take them from the channel.
    pub missed: u64,
    /// Waiting now, in memory and in the spool.
    pub queued: u64,
    /// How many of those are in the spool, where they outlive the program.
    pub spooled: u64,
}

impl Counts {
    /// How many readings would be gone if the program ended now.
    pub fn at_risk(&self) -> u64 {
        self.queued.saturating_sub(self.spooled)
    }
}

/// A sink's state and counts at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The state.
    #[serde(flatten)]
    pub state: State,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The health of one sink, written by its driver and read by anybody.
#[derive(Debug)]
pub struct Health {
    name: &'static str,
    snapshot: Mutex<Snapshot>,
    /// Nothing will mend it.
    broken: AtomicBool,
}

impl Health {
    /// The health of a sink that is opening.
    pub fn new(name: &'static str) -> Self {
        let snapshot = Snapshot {
            state: State::Opening,
            counts: Counts::default(),
        };
        Self {
            name,
            snapshot: Mutex::new(snapshot),
            broken: AtomicBool::new(false),
        }
    }

    /// The sink's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How the sink is now.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock().counts);
    }

    /// It is open, and nothing was delivered yet.
    pub(crate) fn opened(&self) {
        let before = std::mem::replace(&mut self.lock().state, State::Opening);
        if let State::Down { reason } = before {
            tracing::info!(sink = self.name, was = reason, "open now");
        }
    }

    pub(crate) fn up(&self) {
        let before = std::mem::replace(&mut self.lock().state, State::Up);
        match before {
            State::Up => {}
            State::Down { reason } => {
                tracing::info!(sink = self.name, was = reason, "delivering again");
            }
            State::Opening | State::Ended => tracing::info!(sink = self.name, "delivering"),
        }
    }

    pub(crate) fn down(&self, reason: &str) {
        if let Some(queued) = self.goes_down(reason) {
            tracing::warn!(
                sink = self.name,
                reason,
                queued,
                "cannot deliver; readings are kept and it is tried again"
            );
        }
    }

    pub(crate) fn refused(&self, reason: &str) {
        if let Some(queued) = self.goes_down(reason) {
            tracing::error!(
                sink = self.name,
                reason,
                queued,
                "the far side lets nothing in until this is mended; readings are kept and it is tried again each minute"
            );
        }
    }

    /// Marks the sink as down; gives how many readings wait, if that is news.
    fn goes_down(&self, reason: &str) -> Option<u64> {
        let mut snapshot = self.lock();
        let was_down = matches!(&snapshot.state, State::Down { reason: known } if known == reason);
        snapshot.state = State::Down {
            reason: reason.to_owned(),
        };
        let queued = snapshot.counts.queued;
        (!was_down).then_some(queued)
    }

    /// Marks the sink as one that takes nothing more.
    pub fn ended(&self) {
        self.lock().state = State::Ended;
    }

    /// Marks the sink as broken for good.
    pub fn broken(&self, reason: &str) {
        self.broken.store(true, Ordering::Relaxed);
        self.lock().state = State::Down {
            reason: reason.to_owned(),
        };
    }

    /// Whether it is broken for good.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        // Nothing panics while it holds the lock, and counts stay readable even so.
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            taken,
            delivered,
            replaced,
            dropped,
            rejected,
            missed,
            queued,
            spooled,
        } = self;
        write!(f, "{taken} taken, {delivered} delivered, {queued} waiting")?;
        if *spooled > 0 {
            write!(f, ", {spooled} of them in the spool")?;
        }
        let rare = [
            (replaced, "replaced"),
            (dropped, "dropped"),
            (rejected, "rejected"),
            (missed, "missed"),
        ];
        for (count, name) in rare.into_iter().filter(|(count, _)| **count > 0) {
            write!(f, ", {count} {name}")?;
        }
        Ok(())
    }
}
