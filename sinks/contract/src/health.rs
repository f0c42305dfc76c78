//! How a sink is: its state and its counts. Anyone who asks gets a snapshot; only changes of state are logged.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

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
    /// Delivered to the server.
    pub delivered: u64,
    /// Replaced by a newer state of the same inverter before they were delivered (sinks that show the present).
    pub replaced: u64,
    /// Dropped because the queue or the spool was full, or the spool damaged.
    pub dropped: u64,
    /// Refused by the server.
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
    /// What somebody should know who looks, though the sink works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How many reasons for being down are remembered as logged: an outage has one to three.
const REASONS: usize = 8;

/// The health of one sink, written by its driver and read by anybody.
#[derive(Debug)]
pub struct Health {
    name: &'static str,
    snapshot: Mutex<Snapshot>,
    /// Why it is down, each reason as it was logged: where two of them take turns, that is no news.
    logged: Mutex<Vec<String>>,
    /// Nothing will fix it.
    broken: AtomicBool,
    /// Notified with each change of state.
    changed: Arc<Notify>,
}

impl Health {
    /// The health of a sink that is opening.
    pub fn new(name: &'static str) -> Self {
        let snapshot = Snapshot {
            state: State::Opening,
            counts: Counts::default(),
            note: None,
        };
        Self {
            name,
            snapshot: Mutex::new(snapshot),
            logged: Mutex::default(),
            broken: AtomicBool::new(false),
            changed: Arc::default(),
        }
    }

    /// The same, which tells of each change of its state here.
    #[must_use]
    pub fn telling(self, changed: Arc<Notify>) -> Self {
        Self { changed, ..self }
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

    /// Notes what the sink says besides.
    pub(crate) fn note(&self, note: Option<String>) {
        self.lock().note = note;
    }

    /// Takes on this state; gives the one before.
    fn becomes(&self, state: State) -> State {
        let mut snapshot = self.lock();
        if snapshot.state != state {
            self.changed.notify_one();
        }
        std::mem::replace(&mut snapshot.state, state)
    }

    /// It is open, and nothing was delivered yet.
    pub(crate) fn opened(&self) {
        let before = self.becomes(State::Opening);
        if let State::Down { reason } = before {
            tracing::info!(sink = self.name, was = reason, "open now");
        }
    }

    pub(crate) fn up(&self) {
        let before = self.becomes(State::Up);
        self.logged().clear();
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
                "the server lets nothing in until this is fixed; readings are kept, with a retry at least once a minute"
            );
        }
    }

    /// Marks the sink as down; gives how many readings wait, if the reason was not logged since it was up.
    fn goes_down(&self, reason: &str) -> Option<u64> {
        self.becomes(State::Down {
            reason: reason.to_owned(),
        });
        let queued = self.lock().counts.queued;
        let mut logged = self.logged();
        if logged.iter().any(|known| known == reason) {
            return None;
        }
        if logged.len() == REASONS {
            logged.remove(0);
        }
        logged.push(reason.to_owned());
        Some(queued)
    }

    /// Marks the sink as one that takes nothing more.
    pub fn ended(&self) {
        self.becomes(State::Ended);
    }

    /// Marks the sink as broken for good.
    pub fn broken(&self, reason: &str) {
        self.broken.store(true, Ordering::Relaxed);
        self.becomes(State::Down {
            reason: reason.to_owned(),
        });
    }

    /// Whether it is broken for good.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn logged(&self) -> MutexGuard<'_, Vec<String>> {
        // Nothing panics while it holds the lock.
        self.logged.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_take_turns_are_logged_once_until_it_was_up() {
        let health = Health::new("mqtt");
        let logs = |reason: &str| health.goes_down(reason).is_some();
        assert!(logs("closed") && logs("no answer"));
        for reason in ["closed", "closed", "no answer", "closed"] {
            assert!(!logs(reason));
            let shown = State::Down {
                reason: reason.to_owned(),
            };
            assert_eq!(health.snapshot().state, shown);
        }
        health.up();
        assert!(logs("closed"));
    }

    #[test]
    fn reasons_without_end_are_not_all_remembered() {
        let health = Health::new("mqtt");
        for number in 0..100 {
            assert!(health.goes_down(&number.to_string()).is_some());
        }
        assert_eq!(health.logged().len(), REASONS);
    }
}
