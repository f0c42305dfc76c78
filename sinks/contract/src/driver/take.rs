//! Taking: from the channel into the inbox, whatever the far side does.

use std::convert::Infallible;
use std::sync::{Arc, MutexGuard};

use kstar_model::time::Uptime;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use super::{End, Inbox, Parting, Shared};
use crate::event::Event;
use crate::health::Health;
use crate::queue::Lost;

/// Empties the channel into the inbox until it ends or `stop` is ready, and then waits for ever. Where the rest is to be
/// handed over, the channel is put into `left`, at the place where this has stopped.
pub(super) async fn take(
    mut events: broadcast::Receiver<Event>,
    stop: impl Future<Output = Parting>,
    left: &mut Option<broadcast::Receiver<Event>>,
    health: &Health,
    shared: &Shared,
) -> Infallible {
    let mut stop = std::pin::pin!(stop);
    let mut stopped = None;
    loop {
        let event = if stopped.is_some() {
            // What was sent before the order to stop still counts.
            events.try_recv().map_err(|error| match error {
                TryRecvError::Lagged(missed) => RecvError::Lagged(missed),
                TryRecvError::Empty | TryRecvError::Closed => RecvError::Closed,
            })
        } else {
            tokio::select! {
                biased;
                event = events.recv() => event,
                parting = &mut stop => {
                    stopped = Some(parting);
                    continue;
                }
            }
        };
        let mut inbox = shared.inbox();
        match event {
            Ok(Event::Reading(reading)) => {
                let lost = inbox.readings.push(reading);
                count(health, inbox, 1, lost);
            }
            Ok(Event::Undated(reading)) => {
                let lost = inbox.readings.push_undated(reading);
                count(health, inbox, 1, lost);
            }
            Ok(Event::Site(_)) if !inbox.readings.shows_the_present() => continue,
            Ok(Event::Site(sum)) => {
                let lost = match sum.time {
                    Some(time) => inbox.readings.push(Arc::new(sum.at(time))),
                    None => inbox
                        .readings
                        .push_undated(Arc::new(sum.at(Uptime::of(std::time::Instant::now())))),
                };
                count(health, inbox, 1, lost);
            }
            Ok(Event::Clock(clock)) => {
                inbox.clock = Some(clock);
                let lost = inbox.readings.set_clock(clock);
                count(health, inbox, 0, lost);
            }
            Ok(Event::Status(status)) => {
                inbox.statuses.insert(status.inverter.name.clone(), status);
            }
            Ok(Event::Collector(status)) => inbox.collector = Some(status),
            Ok(Event::Price(price)) => inbox.price = Some(price),
            Err(RecvError::Lagged(missed)) => {
                health.count(|counts| counts.missed += missed);
                tracing::warn!(
                    sink = health.name(),
                    missed,
                    "too busy to take readings from the channel; they are lost"
                );
            }
            Err(RecvError::Closed) => break,
        }
        shared.news.notify_one();
    }
    let parting = stopped.unwrap_or(Parting::Drain);
    if parting.hands_over() {
        *left = Some(events);
    }
    shared.ended.send_replace(Some(End {
        since: Instant::now(),
        parting,
    }));
    shared.news.notify_one();
    std::future::pending().await
}

fn count(health: &Health, inbox: MutexGuard<'_, Inbox>, taken: u64, lost: Lost) {
    let queued = inbox.queued();
    drop(inbox);
    health.count(|counts| {
        counts.taken += taken;
        counts.dropped += lost.dropped;
        counts.replaced += lost.replaced;
        counts.queued = queued;
    });
}
