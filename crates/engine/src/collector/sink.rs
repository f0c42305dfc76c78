//! One sink's driver, and what is said when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use kstar_sink::driver::{Driver, Ended, Handover, Parting};
use kstar_sink::event::Event;
use kstar_sink::health::Health;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::AbortHandle;

/// How a sink came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkEnding {
    /// It was told to stop and has delivered what it had, or has left it in its spool.
    Drained,
    /// Its far side has ended in order.
    FarSideClosed,
    /// It has panicked.
    Broken,
    /// It did not finish in time, or its far side lets nothing in.
    CutOff,
}

pub(super) struct SinkEnded {
    pub(super) name: &'static str,
    /// Which start of a sink of that name has come to its end: one that was cut off may end after the next began.
    pub(super) start: u64,
    pub(super) ending: SinkEnding,
    /// What it has left, if it was told to hand over.
    pub(super) handover: Option<Handover>,
}

pub(super) struct SinkUnit {
    pub(super) start: u64,
    pub(super) health: Arc<Health>,
    /// Says what is to become of what waits when the sink is to stop; dropped to have it delivered.
    pub(super) stop: oneshot::Sender<Parting>,
    pub(super) abort: AbortHandle,
}

impl SinkUnit {
    /// Runs a sink, and reports when it ends.
    pub(super) fn run(
        name: &'static str,
        start: u64,
        health: Arc<Health>,
        driver: Driver,
        events: broadcast::Receiver<Event>,
        report: mpsc::Sender<SinkEnded>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(driver.run_until(events, async move {
            // A sender that is gone is an order as well.
            stopped.await.unwrap_or(Parting::Drain)
        }));
        let abort = task.abort_handle();
        let observed = health.clone();
        tokio::spawn(async move {
            let (ending, handover) = match task.await {
                Ok((Ended::Drained, handover)) => (SinkEnding::Drained, handover),
                Ok((Ended::FarSideClosed, handover)) => (SinkEnding::FarSideClosed, handover),
                Ok((Ended::Refused, handover)) => (SinkEnding::CutOff, handover),
                Err(error) if error.is_panic() => {
                    observed.broken("it has panicked");
                    tracing::error!(
                        sink = name,
                        "the sink has panicked; the others go on. Please report this"
                    );
                    (SinkEnding::Broken, None)
                }
                Err(_) => (SinkEnding::CutOff, None),
            };
            // Without a collector nobody needs to know.
            let ended = SinkEnded {
                name,
                start,
                ending,
                handover,
            };
            let _ = report.send(ended).await;
        });
        Self {
            start,
            health,
            stop,
            abort,
        }
    }
}

/// Takes out the sink that was started then, if it is still there.
pub(super) fn take_unit(
    sinks: &mut BTreeMap<&'static str, SinkUnit>,
    name: &str,
    start: u64,
) -> Option<SinkUnit> {
    sinks
        .get(name)
        .is_some_and(|unit| unit.start == start)
        .then(|| sinks.remove(name))?
}

/// Says what became of the readings of a sink that was told to stop.
pub(super) fn report_parted(health: &Health, ending: SinkEnding, parting: Parting) {
    match (ending, parting) {
        (SinkEnding::Drained, Parting::HandOver | Parting::Renew) => {
            let counts = health.snapshot().counts;
            tracing::info!(sink = health.name(), %counts, "stopped; what waits is handed over");
        }
        _ => report_sink(health, ending),
    }
}

/// Says what became of a sink's readings.
pub(super) fn report_sink(health: &Health, ending: SinkEnding) {
    let snapshot = health.snapshot();
    let counts = snapshot.counts;
    let sink = health.name();
    match ending {
        SinkEnding::FarSideClosed => tracing::info!(sink, %counts, "the other end has closed"),
        SinkEnding::Drained if counts.dropped + counts.rejected + counts.missed > 0 => {
            tracing::warn!(sink, %counts, "stopped; not every reading was delivered");
        }
        SinkEnding::Drained if counts.spooled > 0 => {
            tracing::info!(sink, %counts, "stopped; what waits in the spool is delivered after the next start");
        }
        SinkEnding::Drained => tracing::info!(sink, %counts, "stopped"),
        SinkEnding::Broken | SinkEnding::CutOff => {
            tracing::error!(sink, %counts, lost = counts.at_risk(), "stopped without having delivered what was waiting");
        }
    }
}
