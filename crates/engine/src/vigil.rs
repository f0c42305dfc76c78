//! Whether every inverter's polling goes on: one rule, by which the watchdog is fed and `/health` answers.
//!
//! It is judged by what polling counts, and a count moves with every request, answer, silence and greeting. A silent
//! inverter is asked at least once a minute, so that silence is progress as well; how long nothing may move depends on
//! the inverter's own interval and never on how often somebody looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// One inverter's polling.
pub(crate) struct Polling {
    /// The inverter's name.
    pub(crate) name: Arc<str>,
    /// What moves with every request, answer, silence and greeting.
    pub(crate) pulse: u64,
    /// How long that may stand still.
    pub(crate) patience: Duration,
}

/// What was seen of every inverter.
#[derive(Debug, Default)]
pub(crate) struct Vigil {
    seen: BTreeMap<Arc<str>, Seen>,
}

#[derive(Debug)]
struct Seen {
    pulse: u64,
    since: Instant,
    /// Whether it was logged that nothing moves.
    logged: bool,
}

impl Vigil {
    /// Looks at every inverter; gives those whose polling hangs, and for how long. What hangs is logged once.
    pub(crate) fn hanging(&mut self, inverters: &[Polling]) -> BTreeMap<Arc<str>, Duration> {
        self.seen
            .retain(|name, _| inverters.iter().any(|entry| entry.name == *name));
        let now = Instant::now();
        let mut hanging = BTreeMap::new();
        for entry in inverters {
            let pulse = entry.pulse;
            let seen = self.seen.entry(entry.name.clone()).or_insert(Seen {
                pulse,
                since: now,
                logged: false,
            });
            // Polling that has only just begun anew counts from nothing: that alone is no progress, or one that ends
            // before it has asked anything would make some indefinitely.
            if pulse != seen.pulse && pulse != 0 {
                if std::mem::take(&mut seen.logged) {
                    tracing::warn!(inverter = &*entry.name, "polling goes on again");
                }
                (seen.pulse, seen.since) = (pulse, now);
            }
            let still = now.saturating_duration_since(seen.since);
            if still < entry.patience {
                continue;
            }
            if !std::mem::replace(&mut seen.logged, true) {
                tracing::error!(
                    inverter = &*entry.name,
                    seconds = still.as_secs(),
                    "polling hangs: nothing was asked and nothing came for longer than it ever waits. A watchdog is not fed until it goes on; please report this"
                );
            }
            hanging.insert(entry.name.clone(), still);
        }
        hanging
    }
}
