//! `/api/v1/stream`: what happens, as it happens, as server-sent events.
//!
//! A listener that cannot keep up misses events and is told how many; it holds up nobody, and nothing is kept for it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use kstar_engine::overview::InverterOverview;
use kstar_model::reading::{Reading, Shown, Undated};
use kstar_sink::event::Event;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio::time::{Instant, sleep_until};

use super::answer::{self, BrokenOff, Parts, Problem};
use super::server::until_stopped;
use super::state::{LISTENERS, State};

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
            text += &event::<Shown>("reading", &reading);
        }
    }
    if let Some((_, sum)) = state.0.sources.board.site() {
        text += &event::<Shown>("reading", &sum);
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
                Ok(Event::Undated(reading)) => event::<Undated>("reading", &reading),
                Ok(Event::Site(reading)) => event::<Shown>("reading", &reading),
                Ok(Event::Clock(_) | Event::Collector(_) | Event::Price(_)) => continue,
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::Arc;

    use hyper::body::Body as _;
    use kstar_model::catalogue::Values;
    use kstar_model::reading::Inverter;
    use kstar_model::time::UnixMillis;
    use tokio::sync::watch;

    use super::*;
    use crate::Sources;
    use kstar_engine::board::Board;

    /// A stream's beginning, whoever tells events to it, and whoever may end it.
    fn started() -> (Body, broadcast::Sender<Event>, watch::Sender<bool>) {
        let events = broadcast::Sender::new(1024);
        let (stop, stopping) = watch::channel(false);
        let sources = Sources {
            board: Arc::new(Board::default()),
            events: events.downgrade(),
            history: None,
            tariffs: Vec::new(),
        };
        let response = begin(&State::new(sources, stopping)).expect("room");
        (response.into_body(), events, stop)
    }

    fn reading(time: i64) -> Event {
        Event::Reading(Arc::new(Reading {
            time: UnixMillis(time),
            inverter: Inverter::named("roof"),
            values: Values::default(),
            counted: None,
        }))
    }

    /// What is told next; nothing at the end.
    async fn next(body: &mut Body) -> Option<String> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        let bytes = frame.expect("a part").into_data().expect("data");
        Some(String::from_utf8(bytes.to_vec()).expect("text"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_is_too_slow_is_told_how_much_it_missed() {
        let (mut body, events, _stop) = started();
        for time in 0..100 {
            events.send(reading(time)).expect("a listener");
        }
        // The events are taken from the channel, though nobody takes them from there.
        while !events.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(next(&mut body).await.expect("a hello").starts_with(": "));
        let kept = WAITING - 1;
        for time in 0..kept {
            let told = next(&mut body).await.expect("an event");
            assert!(told.starts_with("event: reading\n"), "{told}");
            assert!(told.contains(&format!(".{time:03}Z")), "{told}");
        }
        events.send(reading(100)).expect("a listener");
        let told = next(&mut body).await.expect("an event");
        let missed = 100 - kept;
        assert!(
            told.starts_with(&format!(": {missed} events were left out")),
            "{told}"
        );
        assert!(told.contains(".100Z"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_news_shows_that_it_lives_and_ends_in_order() {
        let (mut body, events, stop) = started();
        next(&mut body).await.expect("a hello");
        let before = Instant::now();
        assert_eq!(next(&mut body).await.as_deref(), Some(": still here\n\n"));
        assert_eq!(before.elapsed(), KEEP_ALIVE);
        stop.send(true).expect("it runs");
        assert_eq!(next(&mut body).await, None);
        let (mut body, other, _stop) = started();
        next(&mut body).await.expect("a hello");
        drop((events, other));
        // With the collector the channel ends, which no listener keeps open.
        assert_eq!(next(&mut body).await, None);
    }
}
