//! What was counted and is not told yet, because it is not remembered yet.
//!
//! It outlives the polling that has counted it, which may end by a reload or a panic: what is in the ledger then, and was
//! never told, goes out with the next reading of that inverter. It does not outlive the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstar_sink::counted::Counted;
use tokio::time::Instant;

/// What waits to be told, of all inverters.
#[derive(Clone, Debug)]
pub struct Untold {
    /// Where the time that only runs forwards begins, for all inverters and as long as the process lives.
    began: Instant,
    inverters: Arc<Mutex<BTreeMap<Arc<str>, Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    at: Duration,
    counted: Counted,
}

impl Default for Untold {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            inverters: Arc::default(),
        }
    }
}

impl Untold {
    /// How long the process had run at a moment.
    pub fn running(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.began)
    }

    /// Adds what was counted up to a moment to what waits of that inverter.
    pub fn add(&self, inverter: &Arc<str>, at: Duration, mut counted: Counted) {
        let mut inverters = self.inverters();
        if let Some(before) = inverters.remove(inverter) {
            counted.take_over(&before.counted, at.saturating_sub(before.at));
        }
        inverters.insert(inverter.clone(), Waiting { at, counted });
    }

    /// What waits of an inverter, to be told now.
    pub fn take(&self, inverter: &str) -> Option<Counted> {
        Some(self.inverters().remove(inverter)?.counted)
    }

    fn inverters(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Waiting>> {
        // Nothing panics while it holds the lock.
        self.inverters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
