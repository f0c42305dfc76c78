//! The driver: everything a sink needs around it, written once.
//!
//! Two loops that run side by side. *Take* empties the broadcast channel into a bounded queue and never waits for
//! the far side, so that a sink which hangs neither loses readings by lag nor holds up another. *Send* borrows a
//! batch, delivers it under a time-out and settles it. The end of the channel is the order to stop: what waits is
//! delivered, the sink is closed, and the driver returns. Whoever runs it ends it from outside if that takes too long.
//! A sink may also be told to hand over: then it ends after the delivery under way, and what waits goes to the driver
//! that follows, together with the place in the channel, so that nothing is lost or delivered twice between the two.
//!
//! A sink that cannot be opened is an outage like any other: it is opened again with a growing delay, and what comes
//! meanwhile waits.
//!
//! A sink may have a spool. Then whatever waits for longer than a second waits on disk, new readings are delivered
//! before those that waited, and at the order to stop what cannot be delivered stays in the spool.
//!
//! What comes before the clock is set is shown at once by a sink that shows the present; for a sink that stores it waits, in
//! memory or in the spool, until it has a time.

mod lanes;
mod news;
mod opening;
mod send;
mod take;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, timeout};

use self::lanes::Lanes;
pub use self::opening::Opener;
use self::opening::Opening;
use self::send::Sending;
use crate::delivery::{Keep, Policy};
use crate::event::{CollectorStatus, Event, InverterStatus, Price};
use crate::health::Health;
use crate::queue::Queue;
pub use crate::queue::Remainder;
use crate::sink::{DeliveryError, Legacy, Sink, Unavailable};
use crate::spool::Spool;
use kstar_common::hold::Holds;
use kstar_model::time::ClockSet;

/// How long a sink may take to close.
const CLOSING: Duration = Duration::from_secs(1);

/// How a driver came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The channel has ended and everything that was taken is settled, or waits in the spool.
    Drained,
    /// The channel has ended and the far side lets nothing in until somebody acts, so that what was taken is lost.
    Refused,
    /// The far side ended in order (a closed pipe); the program should end too.
    FarSideClosed,
}

/// What a sink is told to do with what waits when it is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// To deliver it.
    Drain,
    /// To leave it to the driver that follows.
    HandOver,
    /// The same, where the sink that follows is of the same section: the far side need not notice.
    Renew,
}

impl Parting {
    fn hands_over(self) -> bool {
        matches!(self, Self::HandOver | Self::Renew)
    }
}

/// What one driver leaves to the next.
#[derive(Debug)]
pub struct Handover {
    /// The channel, at the place where the one has stopped taking.
    pub events: broadcast::Receiver<Event>,
    /// What was taken and is not delivered. What waits in a spool is not among it.
    pub waiting: Remainder,
    /// What the sink leaves to the one that follows.
    pub legacy: Option<Legacy>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What runs a sink.
pub struct Driver {
    opener: Opener,
    holds: Holds,
    policy: Policy,
    health: Arc<Health>,
    spool: Option<Spool>,
    draining: Duration,
    legacy: Option<Legacy>,
    shared: Shared,
}

/// What the two loops share.
struct Shared {
    inbox: Mutex<Inbox>,
    /// Something came into the inbox, or the channel has ended.
    news: Notify,
    /// Since when the channel has ended, and what is to become of what waits.
    ended: watch::Sender<Option<End>>,
}

/// The end of the channel.
#[derive(Clone, Copy, Debug)]
struct End {
    since: Instant,
    parting: Parting,
}

struct Inbox {
    readings: Queue,
    /// How many readings wait in the spool or are on their way there.
    spooled: u64,
    /// That the clock is set, until what waits on disk for that knows it.
    clock: Option<ClockSet>,
    /// The newest status of each inverter that the sink was not told yet.
    statuses: BTreeMap<Arc<str>, Arc<InverterStatus>>,
    /// How the collector is, if the sink was not told yet.
    collector: Option<Arc<CollectorStatus>>,
    /// What electricity costs, if the sink was not told yet.
    price: Option<Arc<Price>>,
}

impl Driver {
    /// A driver for this sink, which is open and counts into this health.
    pub fn new(sink: Box<dyn Sink>, policy: Policy, health: Arc<Health>) -> Self {
        let sink = Mutex::new(Some(sink));
        let opener = move || {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            let is_gone = || Unavailable("it was open before".to_owned());
            sink.take().ok_or_else(is_gone)
        };
        Self::opening(Arc::new(opener), policy, health)
    }

    /// A driver for the sink that this makes.
    pub fn opening(opener: Opener, policy: Policy, health: Arc<Health>) -> Self {
        let inbox = Inbox {
            readings: Queue::new(policy.keep, policy.queue),
            spooled: 0,
            clock: None,
            statuses: BTreeMap::new(),
            collector: None,
            price: None,
        };
        Self {
            opener,
            holds: Holds::default(),
            policy,
            health,
            spool: None,
            draining: Duration::ZERO,
            legacy: None,
            shared: Shared {
                inbox: Mutex::new(inbox),
                news: Notify::new(),
                ended: watch::Sender::new(None),
            },
        }
    }

    /// The same with a spool. At the order to stop, a far side that can be reached is delivered to for as long as
    /// `draining` says; the rest stays in the spool.
    #[must_use]
    pub fn with_spool(self, spool: Spool, draining: Duration) -> Self {
        Self {
            spool: Some(spool),
            draining,
            ..self
        }
    }

    /// The same, opened when nothing of the sinks before it holds this any more.
    #[must_use]
    pub fn with_holds(self, holds: Holds) -> Self {
        Self { holds, ..self }
    }

    /// The same, going on with what the driver before has left.
    #[must_use]
    pub fn with_waiting(self, waiting: Remainder) -> Self {
        let taken = waiting.len() as u64;
        let lost = self.shared.inbox().readings.follow(waiting);
        self.health.count(|counts| {
            counts.taken += taken;
            counts.dropped += lost.dropped;
            counts.replaced += lost.replaced;
        });
        self
    }

    /// The same, where the sink goes on with what the one before has left to it.
    #[must_use]
    pub fn with_legacy(self, legacy: Option<Legacy>) -> Self {
        Self { legacy, ..self }
    }

    /// The same, telling the sink first how the inverters are.
    #[must_use]
    pub fn with_statuses(self, statuses: impl IntoIterator<Item = Arc<InverterStatus>>) -> Self {
        let named = |status: Arc<InverterStatus>| (status.inverter.name.clone(), status);
        self.shared
            .inbox()
            .statuses
            .extend(statuses.into_iter().map(named));
        self
    }

    /// The same, telling the sink first how the collector is and what electricity costs, as far as that is known.
    #[must_use]
    pub fn with_present(
        self,
        collector: Option<Arc<CollectorStatus>>,
        price: Option<Arc<Price>>,
    ) -> Self {
        let mut inbox = self.shared.inbox();
        (inbox.collector, inbox.price) = (collector, price);
        drop(inbox);
        self
    }

    /// Runs the sink until the channel ends or `stop` is ready, or the far side ends in order.
    pub async fn run(
        self,
        events: broadcast::Receiver<Event>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Ended {
        let drain = async {
            stop.await;
            Parting::Drain
        };
        self.run_until(events, drain).await.0
    }

    /// Runs the sink until the channel ends or `stop` says what is to become of what waits, or the far side ends in
    /// order. Told to hand over, it gives what is left.
    pub async fn run_until(
        self,
        events: broadcast::Receiver<Event>,
        stop: impl Future<Output = Parting> + Send + 'static,
    ) -> (Ended, Option<Handover>) {
        self.boxed(events, Box::pin(stop)).await
    }

    /// The same for whatever may stop it, made in this crate: else the program would hold all of it once for each.
    fn boxed(
        self,
        events: broadcast::Receiver<Event>,
        stop: Boxed<Parting>,
    ) -> Boxed<(Ended, Option<Handover>)> {
        Box::pin(self.until(events, stop))
    }

    async fn until(
        self,
        events: broadcast::Receiver<Event>,
        stop: Boxed<Parting>,
    ) -> (Ended, Option<Handover>) {
        let Self {
            opener,
            holds,
            policy,
            health,
            spool,
            draining,
            legacy,
            shared,
        } = self;
        let draining = spool.is_some().then_some(draining);
        let lanes = Lanes::new(&shared, &health, &policy);
        let opening = Opening::new(opener, spool, holds, legacy);
        let mut sending = Sending::new(opening, policy.timeout, draining, lanes);
        let mut left = None;
        let ended = tokio::select! {
            ended = sending.run() => ended,
            never = take::take(events, stop, &mut left, &health, &shared) => match never {},
        };
        // Until everything is closed, the files are held.
        let (sink, lanes, opening) = sending.into_parts();
        let legacy = close(sink, shared.is_renewed(), &health).await;
        lanes.close().await;
        if left.is_none() {
            let lost = shared.inbox().readings.take_undated().len() as u64;
            if lost > 0 && policy.keep == Keep::Every {
                tracing::error!(
                    sink = health.name(),
                    lost,
                    "the clock was never set; readings without a time are lost. A spool would have kept them until the machine is \
                     started anew"
                );
            }
            health.count(|counts| {
                counts.dropped += lost;
                counts.queued = counts.queued.saturating_sub(lost);
            });
        }
        health.ended();
        let handover = left.map(|events| Handover {
            events,
            waiting: shared.inbox().readings.leave(),
            // One that was never opened has its own from the one before.
            legacy: legacy.or(opening.legacy).filter(|_| shared.is_renewed()),
        });
        (ended, handover)
    }
}

/// Closes a sink in time; gives what it leaves to one that renews it.
async fn close(sink: Box<dyn Sink>, is_renewed: bool, health: &Health) -> Option<Legacy> {
    let closing = async {
        if is_renewed {
            return sink.hand_over().await;
        }
        sink.close().await.map(|()| None)
    };
    match timeout(CLOSING, closing).await {
        Ok(Ok(legacy)) => return legacy,
        Ok(Err(DeliveryError::Closed)) => {}
        Ok(Err(error)) => {
            tracing::warn!(sink = health.name(), %error, "did not close in order");
        }
        Err(_) => tracing::warn!(sink = health.name(), "did not close within {CLOSING:?}"),
    }
    None
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // Nothing panics while it holds the lock.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of the channel.
    async fn ended(&self) -> End {
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(end) = *ended.borrow_and_update() {
                return end;
            }
            if ended.changed().await.is_err() {
                // The sender is ours.
                std::future::pending::<()>().await;
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Whether what waits is for the driver that follows.
    fn is_handing_over(&self) -> bool {
        self.ended
            .borrow()
            .is_some_and(|end| end.parting.hands_over())
    }

    /// Whether the sink that follows is of the same section.
    fn is_renewed(&self) -> bool {
        self.ended
            .borrow()
            .is_some_and(|end| end.parting == Parting::Renew)
    }
}

impl Inbox {
    fn queued(&self) -> u64 {
        self.readings.len() as u64 + self.spooled
    }
}
