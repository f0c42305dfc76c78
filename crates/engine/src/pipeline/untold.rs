//! What was counted and is not told yet, because it is not remembered yet.
//!
//! It outlives the polling that has counted it, which may end by a reload or a panic: what is in the ledger then, and was
//! never told, goes out with the next reading of that inverter. It does not outlive the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstar_model::counted::Counted;

/// What waits to be told, of all inverters.
#[derive(Clone, Debug, Default)]
pub struct Untold(Arc<Mutex<BTreeMap<Arc<str>, Waiting>>>);

#[derive(Debug)]
struct Waiting {
    at: Duration,
    counted: Counted,
}

impl Untold {
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
