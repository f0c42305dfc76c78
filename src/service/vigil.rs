//! Whether every inverter's polling goes on.
//!
//! It is judged by what polling counts, and a count moves with every request, answer, silence and greeting. A silent
//! inverter is asked at least once a minute, so that silence is progress as well; how long nothing may move depends on
//! the inverter's own interval and never on how often somebody looks.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::board::Board;

/// What was seen of every inverter.
#[derive(Debug, Default)]
pub(super) struct Vigil {
    seen: BTreeMap<Arc<str>, Seen>,
}

#[derive(Debug)]
struct Seen {
    pulse: u64,
    since: Instant,
    /// Whether it was said that nothing moves.
    said: bool,
}

impl Vigil {
    /// Looks at every inverter; says whether none of them hangs. What hangs is logged once.
    pub(super) fn all_is_well(&mut self, board: &Board) -> bool {
        let inverters = board.inverters();
        self.seen
            .retain(|name, _| inverters.iter().any(|entry| entry.name == *name));
        let now = Instant::now();
        let mut all_is_well = true;
        for entry in inverters {
            let pulse = entry.polls.pulse();
            let seen = self.seen.entry(entry.name.clone()).or_insert(Seen {
                pulse,
                since: now,
                said: false,
            });
            // Polling that has only just begun anew counts from nothing: that alone is no progress, or one that ends
            // before it has asked anything would make some for ever.
            if pulse != seen.pulse && pulse != 0 {
                if std::mem::take(&mut seen.said) {
                    tracing::warn!(inverter = &*entry.name, "polling goes on again");
                }
                (seen.pulse, seen.since) = (pulse, now);
            }
            let still = now.saturating_duration_since(seen.since);
            if still < entry.patience {
                continue;
            }
            all_is_well = false;
            if !std::mem::replace(&mut seen.said, true) {
                tracing::error!(
                    inverter = &*entry.name,
                    seconds = still.as_secs(),
                    "polling hangs: nothing was asked and nothing came for longer than it ever waits. A watchdog is not fed until it goes on; please report this"
                );
            }
        }
        all_is_well
    }
}
