//! What was sent and what came, counted since the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use kstar_common::collect::inserted;
use tokio::time::Instant;

use crate::recording::{Heard, MOST_HEARD, What};

/// The counts of one inverter's requests and replies.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests sent.
    pub requests: AtomicU64,
    /// Connections opened; none with protocols that have none.
    pub connections: AtomicU64,
    /// Greetings sent.
    pub greetings: AtomicU64,
    /// Replies that were accepted.
    pub accepted: AtomicU64,
    /// Requests without a reply in time.
    pub unanswered: AtomicU64,
    rejected: Mutex<BTreeMap<&'static str, u64>>,
    missing: Mutex<BTreeMap<&'static str, u64>>,
    /// What was sent and came since somebody looked, if it is kept.
    heard: Option<Mutex<Vec<Heard>>>,
}

impl Counts {
    /// Counts that know the reasons for which a source rejects what comes, so that each is shown from the start.
    pub fn new(reasons: &[&'static str]) -> Self {
        Self {
            rejected: Mutex::new(inserted(reasons.iter().map(|reason| (*reason, 0)))),
            ..Self::default()
        }
    }

    /// The same, with the bytes of everything that is sent and comes from now on.
    #[must_use]
    pub fn with_bytes(self) -> Self {
        Self {
            heard: Some(Mutex::default()),
            ..self
        }
    }

    /// What was sent and came since this was called last, in its order.
    pub fn take_heard(&self) -> Vec<Heard> {
        let heard = self.heard.as_ref();
        heard.map_or_else(Vec::new, |heard| std::mem::take(&mut *locked(heard)))
    }

    /// Keeps bytes, if somebody wants them.
    pub(crate) fn hear(&self, what: What, bytes: &[u8]) {
        let Some(heard) = &self.heard else {
            return;
        };
        let mut heard = locked(heard);
        if heard.len() < MOST_HEARD {
            heard.push(Heard {
                at: Instant::now(),
                what,
                bytes: bytes.into(),
            });
        }
    }

    /// How much of what came was rejected, by reason, with the reasons that did not occur.
    pub fn rejected(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.rejected).clone()
    }

    /// The same without the reasons that did not occur.
    pub fn occurred(&self) -> BTreeMap<&'static str, u64> {
        let mut rejected = self.rejected();
        rejected.retain(|_, count| *count > 0);
        rejected
    }

    /// Counts a reply that was rejected for this reason.
    pub fn reject(&self, reason: &'static str) {
        *locked(&self.rejected).entry(reason).or_default() += 1;
    }

    /// How often each block that is not needed was asked for in vain; those that always came are not in it.
    pub fn missing(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.missing).clone()
    }

    /// Counts a block that was asked for in vain.
    pub fn miss(&self, block: &'static str) {
        *locked(&self.missing).entry(block).or_default() += 1;
    }
}

fn locked<T>(counts: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while it holds the lock.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn increment(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_only_where_somebody_wants_them_and_not_without_end() {
        let counts = Counts::default();
        counts.hear(What::Sent, &[1]);
        assert!(counts.take_heard().is_empty());
        let counts = Counts::default().with_bytes();
        for _ in 0..=MOST_HEARD {
            counts.hear(What::Rejected("text"), &[1]);
        }
        let heard = counts.take_heard();
        assert_eq!(heard.len(), MOST_HEARD);
        assert_eq!(
            (heard[0].what, &*heard[0].bytes),
            (What::Rejected("text"), &[1][..])
        );
        assert!(counts.take_heard().is_empty());
    }
}
