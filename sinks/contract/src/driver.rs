//! The driver: everything a sink needs around it, written once.
//!
//! Two loops that run side by side. *Take* empties the broadcast channel into a bounded queue and never waits for
//! the far side, so that a sink which hangs neither loses readings by lag nor holds up another. *Send* borrows a
//! batch, delivers it under a time-out and settles it. The end of the channel is the order to stop: what waits is
//! delivered, the sink is closed, and the driver returns. Whoever runs it ends it from outside if that takes too long.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, sleep_until, timeout};

use crate::delivery::Policy;
use crate::health::{Counts, Health};
use crate::queue::{Lost, Queue, Settlement};
use crate::reading::{Event, InverterStatus, Reading};
use crate::sink::{Batch, DeliveryError, Sink};

/// The first wait after a failed delivery; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest wait between two tries, so that a far side which comes back is noticed within a minute.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// The longest wait while draining at a stop: there may be time for several tries before the grace ends.
const LONGEST_DELAY_AT_STOP: Duration = Duration::from_secs(1);

/// The longest wait that a far side may ask for.
const LONGEST_DELAY_ASKED_FOR: Duration = Duration::from_secs(15 * 60);

/// How long a sink may take to close.
const CLOSING: Duration = Duration::from_secs(1);

/// How a driver came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The channel has ended and everything that was taken is settled.
    Drained,
    /// The far side ended in order (a closed pipe); the program should end too.
    FarSideClosed,
}

/// What runs a sink.
pub struct Driver {
    sink: Box<dyn Sink>,
    policy: Policy,
    health: Arc<Health>,
    shared: Shared,
}

/// What the two loops share.
struct Shared {
    inbox: Mutex<Inbox>,
    /// Something came into the inbox, or the channel has ended.
    news: Notify,
}

struct Inbox {
    readings: Queue,
    /// The newest status of each inverter that the sink was not told yet.
    statuses: BTreeMap<Arc<str>, Arc<InverterStatus>>,
    channel_ended: bool,
}

impl Driver {
    /// A driver for this sink, which counts into this health.
    pub fn new(sink: Box<dyn Sink>, policy: Policy, health: Arc<Health>) -> Self {
        let inbox = Inbox {
            readings: Queue::new(policy.keep, policy.queue),
            statuses: BTreeMap::new(),
            channel_ended: false,
        };
        Self {
            sink,
            policy,
            health,
            shared: Shared {
                inbox: Mutex::new(inbox),
                news: Notify::new(),
            },
        }
    }

    /// Runs the sink until the channel ends or `stop` is ready, or the far side ends in order.
    pub async fn run(
        self,
        events: broadcast::Receiver<Event>,
        stop: impl Future<Output = ()>,
    ) -> Ended {
        let Self {
            sink,
            policy,
            health,
            shared,
        } = self;
        let mut sending = Sending {
            sink,
            policy,
            health: &health,
            shared: &shared,
            failures: 0,
            limit: policy.batch.get(),
        };
        let ended = tokio::select! {
            ended = sending.run() => ended,
            never = take(events, stop, &health, &shared) => match never {},
        };
        let sink = sending.sink;
        match timeout(CLOSING, sink.close()).await {
            Ok(Ok(()) | Err(DeliveryError::Closed)) => {}
            Ok(Err(error)) => {
                tracing::warn!(sink = health.name(), %error, "did not close in order");
            }
            Err(_) => tracing::warn!(sink = health.name(), "did not close within {CLOSING:?}"),
        }
        health.ended();
        ended
    }
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // Nothing panics while it holds the lock.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Empties the channel into the inbox until it ends or `stop` is ready, and then waits for ever.
async fn take(
    mut events: broadcast::Receiver<Event>,
    stop: impl Future<Output = ()>,
    health: &Health,
    shared: &Shared,
) -> Infallible {
    let mut stop = std::pin::pin!(stop);
    let mut stopped = false;
    loop {
        let event = if stopped {
            // What was sent before the order to stop still counts.
            events.try_recv().map_err(|_| RecvError::Closed)
        } else {
            tokio::select! {
                biased;
                event = events.recv() => event,
                () = &mut stop => {
                    stopped = true;
                    continue;
                }
            }
        };
        let mut inbox = shared.inbox();
        match event {
            Ok(Event::Reading(reading)) => {
                let Lost { dropped, replaced } = inbox.readings.push(reading);
                let queued = inbox.readings.len() as u64;
                drop(inbox);
                health.count(|counts| {
                    counts.taken += 1;
                    counts.dropped += dropped;
                    counts.replaced += replaced;
                    counts.queued = queued;
                });
            }
            Ok(Event::Status(status)) => {
                inbox.statuses.insert(status.inverter.name.clone(), status);
            }
            Err(RecvError::Lagged(missed)) => {
                health.count(|counts| counts.missed += missed);
                tracing::warn!(
                    sink = health.name(),
                    missed,
                    "too busy to take readings from the channel; they are lost"
                );
            }
            Err(RecvError::Closed) => {
                inbox.channel_ended = true;
                break;
            }
        }
        shared.news.notify_one();
    }
    shared.news.notify_one();
    std::future::pending().await
}

/// The loop that delivers.
struct Sending<'a> {
    sink: Box<dyn Sink>,
    policy: Policy,
    health: &'a Health,
    shared: &'a Shared,
    /// How many deliveries in a row have failed.
    failures: u32,
    /// How many readings the next delivery holds at the most: halved to find a bad one, doubled when all is well.
    limit: usize,
}

/// What there is to do next.
enum Next {
    Status(Arc<InverterStatus>),
    Readings(Vec<Arc<Reading>>),
    Wait,
    End,
}

impl Sending<'_> {
    async fn run(&mut self) -> Ended {
        loop {
            let outcome = match self.next() {
                Next::Status(status) => self.deliver_status(status).await,
                Next::Readings(readings) => self.deliver_readings(&readings).await,
                Next::Wait => {
                    self.shared.news.notified().await;
                    continue;
                }
                Next::End => return Ended::Drained,
            };
            match outcome {
                Ok(()) => {}
                Err(Stop::FarSideClosed) => return Ended::FarSideClosed,
                Err(Stop::TryAgainAfter(delay)) => self.wait(delay).await,
            }
        }
    }

    fn next(&self) -> Next {
        let mut inbox = self.shared.inbox();
        if let Some((_, status)) = inbox.statuses.pop_first() {
            return Next::Status(status);
        }
        let readings = inbox.readings.borrow(self.limit);
        match (readings.is_empty(), inbox.channel_ended) {
            (false, _) => Next::Readings(readings),
            (true, false) => Next::Wait,
            (true, true) => Next::End,
        }
    }

    async fn deliver_status(&mut self, status: Arc<InverterStatus>) -> Result<(), Stop> {
        match within(self.policy.timeout, self.sink.status(&status)).await {
            Ok(()) => Ok(()),
            Err(DeliveryError::Closed) => Err(Stop::FarSideClosed),
            Err(DeliveryError::Rejected { reason } | DeliveryError::TooLarge { reason }) => {
                tracing::warn!(
                    sink = self.health.name(),
                    inverter = &*status.inverter.name,
                    reason,
                    "status refused"
                );
                Ok(())
            }
            Err(DeliveryError::Unreachable {
                reason,
                retry_after,
            }) => {
                // Unless a newer one has come meanwhile.
                self.shared
                    .inbox()
                    .statuses
                    .entry(status.inverter.name.clone())
                    .or_insert(status);
                Err(self.unreachable(&reason, retry_after))
            }
        }
    }

    async fn deliver_readings(&mut self, readings: &[Arc<Reading>]) -> Result<(), Stop> {
        let outcome = within(
            self.policy.timeout,
            self.sink.deliver(&Batch::new(readings)),
        )
        .await;
        let count = readings.len() as u64;
        match (outcome, readings) {
            (Ok(()), _) => {
                self.settle(Settlement::Done, |counts| counts.delivered += count);
                self.failures = 0;
                self.limit = self.limit.saturating_mul(2).min(self.policy.batch.get());
                self.health.up();
                Ok(())
            }
            (
                Err(DeliveryError::Rejected { reason } | DeliveryError::TooLarge { reason }),
                [reading],
            ) => {
                self.settle(Settlement::Done, |counts| counts.rejected += 1);
                tracing::warn!(
                    sink = self.health.name(),
                    inverter = &*reading.inverter.name,
                    time = %reading.time,
                    reason,
                    "the far side refused this reading; it is dropped"
                );
                Ok(())
            }
            (Err(DeliveryError::Rejected { .. } | DeliveryError::TooLarge { .. }), _) => {
                self.settle(Settlement::Kept, |_| ());
                self.limit = readings.len().div_ceil(2);
                Ok(())
            }
            (
                Err(DeliveryError::Unreachable {
                    reason,
                    retry_after,
                }),
                _,
            ) => {
                self.settle(Settlement::Kept, |_| ());
                Err(self.unreachable(&reason, retry_after))
            }
            (Err(DeliveryError::Closed), _) => {
                self.settle(Settlement::Kept, |_| ());
                Err(Stop::FarSideClosed)
            }
        }
    }

    fn settle(&self, settlement: Settlement, count: impl FnOnce(&mut Counts)) {
        let mut inbox = self.shared.inbox();
        let Lost { dropped, replaced } = inbox.readings.settle(settlement);
        let queued = inbox.readings.len() as u64;
        drop(inbox);
        self.health.count(|counts| {
            counts.dropped += dropped;
            counts.replaced += replaced;
            counts.queued = queued;
            count(counts);
        });
    }

    fn unreachable(&mut self, reason: &str, retry_after: Option<Duration>) -> Stop {
        self.health.down(reason);
        self.failures = self.failures.saturating_add(1);
        Stop::TryAgainAfter(match retry_after {
            Some(asked_for) => asked_for.min(LONGEST_DELAY_ASKED_FOR),
            None => delay_after(self.failures),
        })
    }

    /// Waits that long, or shorter once the channel has ended.
    async fn wait(&self, delay: Duration) {
        let mut deadline = Instant::now() + delay;
        loop {
            if self.shared.inbox().channel_ended {
                deadline = deadline.min(Instant::now() + LONGEST_DELAY_AT_STOP);
                return sleep_until(deadline).await;
            }
            tokio::select! {
                () = sleep_until(deadline) => return,
                () = self.shared.news.notified() => {}
            }
        }
    }
}

/// Why sending cannot go on at once.
enum Stop {
    FarSideClosed,
    TryAgainAfter(Duration),
}

/// The outcome of a delivery, or that there was none in time.
async fn within(
    patience: Duration,
    delivery: impl Future<Output = Result<(), DeliveryError>>,
) -> Result<(), DeliveryError> {
    match timeout(patience, delivery).await {
        Ok(outcome) => outcome,
        Err(_) => Err(DeliveryError::unreachable(format!(
            "no answer within {}",
            crate::setting::duration::text(patience)
        ))),
    }
}

/// The wait after so many failures in a row: doubling, and spread by a quarter both ways, so that many collectors do
/// not come back to a restarted server all at once.
fn delay_after(failures: u32) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled
        .min(LONGEST_DELAY)
        .mul_f64(0.75 + fastrand::f64() / 2.0)
}
