//! One inverter's polling: it begins again after a panic, and is stopped in order or cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kstar_common::back_off::BackOff;
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};

use crate::board::InverterEntry;
use crate::unit::InverterPlan;

/// How long the polling of an inverter may take to stop: a reading that has come is remembered and told.
const STOPPING: Duration = Duration::from_secs(2);

/// The wait before polling that has panicked begins again.
pub(super) const RESTART: BackOff = BackOff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
};

/// A panic after so long a time has nothing to do with the one before.
const LONG_LIVED: Duration = Duration::from_secs(10 * 60);

pub(super) struct InverterUnit {
    pub(super) plan: InverterPlan,
    pub(super) entry: Arc<InverterEntry>,
    /// Dropped to make the polling stop.
    stop: oneshot::Sender<()>,
    abort: AbortHandle,
    /// Ends with the polling.
    ended: JoinHandle<()>,
    began: Instant,
    panicked: Arc<AtomicBool>,
    /// How often in a row it has panicked soon after it began.
    pub(super) panics: u32,
    /// When it is to be started again after a panic.
    pub(super) restart: Option<Instant>,
}

/// What is left of an inverter's polling.
pub(super) struct StoppedUnit {
    pub(super) plan: InverterPlan,
    pub(super) entry: Arc<InverterEntry>,
    pub(super) panics: u32,
}

impl InverterUnit {
    /// Runs an inverter's polling, and notes if it panics.
    pub(super) fn run(
        plan: InverterPlan,
        entry: Arc<InverterEntry>,
        stop: oneshot::Sender<()>,
        polling: impl Future<Output = ()> + Send + 'static,
        panics: u32,
        news: Arc<Notify>,
    ) -> Self {
        let polling = tokio::spawn(polling);
        let abort = polling.abort_handle();
        let panicked = Arc::new(AtomicBool::new(false));
        let noted = panicked.clone();
        let ended = tokio::spawn(async move {
            if polling.await.is_err_and(|error| error.is_panic()) {
                noted.store(true, Ordering::Relaxed);
                news.notify_one();
            }
        });
        Self {
            plan,
            entry,
            stop,
            abort,
            ended,
            began: Instant::now(),
            panicked,
            panics,
            restart: None,
        }
    }

    /// Decides when polling that has panicked begins again: soon, unless it panics again and again.
    pub(super) fn note_panic(&mut self) {
        if self.restart.is_some() || !self.panicked.load(Ordering::Relaxed) {
            return;
        }
        if self.began.elapsed() >= LONG_LIVED {
            self.panics = 0;
        }
        let delay = RESTART.pause(self.panics);
        self.panics = self.panics.saturating_add(1);
        self.restart = Some(Instant::now() + delay);
        tracing::error!(
            inverter = &*self.plan.name,
            again_in_seconds = delay.as_secs(),
            "polling has panicked; it begins again. Please report this"
        );
    }
}

/// Stops the polling of these inverters; gives what was stopped. A poll that is answered is told to the end.
pub(super) async fn stop(units: Vec<InverterUnit>) -> Vec<StoppedUnit> {
    let mut stopping = Vec::new();
    for unit in units {
        // Told to all before any is waited for.
        drop(unit.stop);
        if unit.restart.is_none() && unit.panicked.load(Ordering::Relaxed) {
            tracing::error!(
                inverter = &*unit.plan.name,
                "polling has panicked; please report this"
            );
        }
        stopping.push((
            unit.abort,
            unit.ended,
            StoppedUnit {
                plan: unit.plan,
                entry: unit.entry,
                panics: unit.panics,
            },
        ));
    }
    let deadline = Instant::now() + STOPPING;
    let mut stopped = Vec::new();
    for (abort, mut ended, unit) in stopping {
        if timeout_at(deadline, &mut ended).await.is_err() {
            tracing::warn!(
                inverter = &*unit.plan.name,
                "polling does not stop in order and is cut off"
            );
            abort.abort();
            let _ = ended.await;
        }
        report_inverter(&unit.entry);
        stopped.push(unit);
    }
    stopped
}

/// Says what came of an inverter's polling.
fn report_inverter(entry: &InverterEntry) {
    let (polls, gate) = (&entry.polls, &entry.gate);
    let refused = listed(polls.exchanges.occurred().into_iter());
    tracing::info!(
        inverter = &*entry.name,
        answered = polls.answered.load(Ordering::Relaxed),
        silent = polls.silent.load(Ordering::Relaxed),
        skipped = polls.skipped.load(Ordering::Relaxed),
        requests = polls.exchanges.requests.load(Ordering::Relaxed),
        refused,
        quarantined = gate.refused.load(Ordering::Relaxed),
        gate = listed(gate.struck()),
        "polling has stopped"
    );
}

/// Counts by their names, as one text.
fn listed(counts: impl Iterator<Item = (impl std::fmt::Display, u64)>) -> String {
    let counts: Vec<String> = counts
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join(", ")
    }
}
