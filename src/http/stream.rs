//! `/api/v1/stream`: what happens, as it happens, as server-sent events.
//!
//! A listener that cannot keep up misses events and is told how many; it holds up nobody, and nothing is kept for it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use kstar_sink::reading::{Event, Reading};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio::time::{Instant, sleep_until};

use super::answer::{self, BrokenOff, Parts, Problem};
use super::server::until_stopped;
use super::{LISTENERS, State};
use crate::overview::InverterOverview;

/// How many events wait for a listener beyond what its connection holds.
const WAITING: usize = 16;

/// How long there may be nothing to say before something is said, so that proxies and listeners see that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Begins to tell what happens: first how everything is, then every change.
pub(super) fn begin(state: &State) -> Result<Response<Body>, Problem> {
    let shared = &state.0;
    let listener = shared.listeners.clone().try_acquire_owned().map_err(|_| {
        Problem::busy(format!(
            "{LISTENERS} listeners are the most, and there are as many; close one, or listen at an MQTT broker"
        ))
    })?;
    let ending = || Problem::busy("the collector is about to end");
    let events = shared.sources.events.upgrade().ok_or_else(ending)?;
    let events = events.subscribe();
    let (parts, taken) = mpsc::channel(WAITING);
    parts
        .try_send(Ok(present(state)))
        .map_err(|_| Problem::internal())?;
    tokio::spawn(tell(state.clone(), events, parts, listener));
    Ok(answer::of("text/event-stream", Body::new(Parts(taken))))
}

/// How everything is, as events.
fn present(state: &State) -> Bytes {
    let mut text = ": what follows is how everything is, then what happens\n\n".to_owned();
    for entry in state.0.sources.board.inverters() {
        text += &event("status", &InverterOverview::from(&*entry));
        if let Some((_, reading)) = entry.present().newest {
            text += &event::<Reading>("reading", &reading);
        }
    }
    text.into()
}

/// Tells events until the listener has gone or it is time to end.
async fn tell(
    state: State,
    mut events: broadcast::Receiver<Event>,
    parts: mpsc::Sender<Result<Bytes, BrokenOff>>,
    _listener: OwnedSemaphorePermit,
) {
    let mut stopping = state.0.stopping.clone();
    let mut missed = 0_u64;
    let mut last = Instant::now();
    loop {
        let text = tokio::select! {
            () = until_stopped(&mut stopping) => return,
            () = parts.closed() => return,
            () = sleep_until(last + KEEP_ALIVE) => ": still here\n\n".to_owned(),
            received = events.recv() => match received {
                Ok(Event::Reading(reading)) => event::<Reading>("reading", &reading),
                Ok(Event::Status(status)) => {
                    match state.0.sources.board.inverter(&status.inverter.name) {
                        Some(entry) => event("status", &InverterOverview::from(&*entry)),
                        // It is polled no longer.
                        None => continue,
                    }
                }
                Err(RecvError::Lagged(count)) => {
                    missed += count;
                    continue;
                }
                Err(RecvError::Closed) => return,
            },
        };
        last = Instant::now();
        let text = if missed > 0 {
            format!(": {missed} events were left out, since they were not taken in time\n\n{text}")
        } else {
            text
        };
        // An event is taken from the channel at once, so that it is not kept there for this one.
        match parts.try_send(Ok(text.into())) {
            Ok(()) => missed = 0,
            Err(TrySendError::Full(_)) => missed += 1,
            Err(TrySendError::Closed(_)) => return,
        }
    }
}

fn event<T: Serialize>(name: &str, value: &T) -> String {
    match serde_json::to_string(value) {
        // JSON has no line breaks.
        Ok(text) => format!("event: {name}\ndata: {text}\n\n"),
        Err(error) => {
            tracing::error!(%error, "an event cannot be written as JSON; please report this");
            String::new()
        }
    }
}
