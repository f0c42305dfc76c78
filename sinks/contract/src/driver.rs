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

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, sleep_until, timeout};

use crate::delivery::Policy;
use crate::health::{Counts, Health};
use crate::queue::{Lost, Queue, Settlement};
use crate::reading::{Event, InverterStatus, Reading};
use crate::sink::{Batch, DeliveryError, Sink};

/// The first wait after a failed delivery; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest wait between two tries before it is spread: with a quarter more, a far side which comes back is still
/// noticed within a minute.
const LONGEST_DELAY: Duration = Duration::from_secs(48);

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
            events.try_recv().map_err(|error| match error {
                TryRecvError::Lagged(missed) => RecvError::Lagged(missed),
                TryRecvError::Empty | TryRecvError::Closed => RecvError::Closed,
            })
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
                self.keep_status(status);
                Err(self.unreachable(&reason, retry_after))
            }
            Err(DeliveryError::Refused { reason }) => {
                self.keep_status(status);
                Err(self.refused(&reason))
            }
        }
    }

    /// Keeps a status that could not be told, unless a newer one has come meanwhile.
    fn keep_status(&self, status: Arc<InverterStatus>) {
        self.shared
            .inbox()
            .statuses
            .entry(status.inverter.name.clone())
            .or_insert(status);
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
                self.failures = 0;
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
                self.failures = 0;
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
            (Err(DeliveryError::Refused { reason }), _) => {
                self.settle(Settlement::Kept, |_| ());
                Err(self.refused(&reason))
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

    fn refused(&mut self, reason: &str) -> Stop {
        self.health.refused(reason);
        self.failures = self.failures.saturating_add(1);
        Stop::TryAgainAfter(spread(LONGEST_DELAY))
    }

    /// Waits that long, or shorter once the channel has ended.
    async fn wait(&mut self, delay: Duration) {
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
    spread(doubled.min(LONGEST_DELAY))
}

fn spread(delay: Duration) -> Duration {
    delay.mul_f64(0.75 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::num::NonZeroUsize;

    use async_trait::async_trait;
    use proptest::prelude::*;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    use crate::delivery::Keep;
    use crate::health::State;
    use crate::reading::{Inverter, Reachability};
    use crate::testing::reading;

    /// What the scripted sink does with what it is given.
    enum Reaction {
        Take,
        Fail(DeliveryError),
        Hang,
        Panic,
    }

    use Reaction::{Fail, Hang, Panic, Take};

    /// What the scripted sink was given, and when.
    #[derive(Clone, Debug, PartialEq)]
    enum Given {
        Batch(Vec<i64>),
        Status(String, Reachability),
        Close,
    }

    type Log = Arc<Mutex<Vec<(Instant, Given)>>>;

    /// A sink that does as it is told: the script sees each batch's times (none for a status) and says what happens.
    struct Scripted<F> {
        script: F,
        log: Log,
    }

    impl<F: FnMut(&[i64]) -> Reaction + Send> Scripted<F> {
        async fn react(&mut self, given: Given) -> Result<(), DeliveryError> {
            let reaction = match &given {
                Given::Batch(times) => (self.script)(times),
                _ => (self.script)(&[]),
            };
            self.log.lock().unwrap().push((Instant::now(), given));
            match reaction {
                Take => Ok(()),
                Fail(error) => Err(error),
                Hang => std::future::pending().await,
                Panic => panic!("on purpose"),
            }
        }
    }

    #[async_trait]
    impl<F: FnMut(&[i64]) -> Reaction + Send> Sink for Scripted<F> {
        async fn deliver(&mut self, batch: &Batch<'_>) -> Result<(), DeliveryError> {
            let times = batch.iter().map(|reading| reading.time.0).collect();
            self.react(Given::Batch(times)).await
        }

        async fn status(&mut self, status: &InverterStatus) -> Result<(), DeliveryError> {
            let name = status.inverter.name.to_string();
            self.react(Given::Status(name, status.reachability)).await
        }

        async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
            self.log
                .lock()
                .unwrap()
                .push((Instant::now(), Given::Close));
            Ok(())
        }
    }

    fn policy() -> Policy {
        Policy {
            keep: Keep::Every,
            queue: NonZeroUsize::new(100).unwrap(),
            batch: NonZeroUsize::new(10).unwrap(),
            timeout: Duration::from_secs(5),
        }
    }

    struct Fixture {
        events: broadcast::Sender<Event>,
        stop: oneshot::Sender<()>,
        health: Arc<Health>,
        log: Log,
        driver: JoinHandle<Ended>,
    }

    fn start(policy: Policy, script: impl FnMut(&[i64]) -> Reaction + Send + 'static) -> Fixture {
        let (events, receiver) = broadcast::channel(64);
        let (stop, stopped) = oneshot::channel();
        let health = Arc::new(Health::new("scripted"));
        let log = Log::default();
        let sink = Scripted {
            script,
            log: Arc::clone(&log),
        };
        let driver = Driver::new(Box::new(sink), policy, Arc::clone(&health));
        Fixture {
            events,
            stop,
            health,
            log,
            driver: tokio::spawn(driver.run(receiver, async {
                // A fixture that is taken apart gives no order to stop.
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            })),
        }
    }

    /// Reacts in this order, and then takes everything.
    fn first(
        reactions: impl IntoIterator<Item = Reaction>,
    ) -> impl FnMut(&[i64]) -> Reaction + Send + 'static {
        let mut reactions: VecDeque<_> = reactions.into_iter().collect();
        move |_| reactions.pop_front().unwrap_or(Take)
    }

    fn away() -> Reaction {
        Fail(DeliveryError::unreachable("away"))
    }

    impl Fixture {
        fn send(&self, times: impl IntoIterator<Item = i64>) {
            for time in times {
                self.send_reading(reading("a", time));
            }
        }

        fn send_reading(&self, reading: Arc<Reading>) {
            self.events.send(Event::Reading(reading)).unwrap();
        }

        fn send_status(&self, inverter: &str, reachability: Reachability) {
            let status = InverterStatus {
                inverter: Inverter::named(inverter),
                reachability,
            };
            self.events.send(Event::Status(Arc::new(status))).unwrap();
        }

        fn counts(&self) -> Counts {
            self.health.snapshot().counts
        }

        /// Ends the channel and waits for the driver.
        async fn drain(self) -> (Vec<(Instant, Given)>, Counts) {
            drop(self.events);
            assert_eq!(self.driver.await.unwrap(), Ended::Drained);
            assert_eq!(self.health.snapshot().state, State::Ended);
            let log = self.log.lock().unwrap().clone();
            (log, self.health.snapshot().counts)
        }
    }

    fn given(log: &[(Instant, Given)]) -> Vec<Given> {
        log.iter().map(|(_, given)| given.clone()).collect()
    }

    /// The times between one call of the sink and the next.
    fn waits(log: &[(Instant, Given)]) -> Vec<Duration> {
        log.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    /// Lets every other task run until it waits for something; the paused clock moves only then.
    async fn settle() {
        sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_hangs_neither_stops_the_taking_nor_loses_anything_by_lag() {
        let fixture = start(policy(), |_| Hang);
        for time in 0..100 {
            // The channel holds 64: without the taking, the first 36 would be lost.
            fixture.send([time]);
            settle().await;
        }
        let counts = fixture.counts();
        assert_eq!(
            (counts.taken, counts.queued, counts.missed, counts.dropped),
            (100, 100, 0, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_hangs_is_down_after_the_time_out() {
        let fixture = start(policy(), |_| Hang);
        fixture.send([1]);
        sleep(Duration::from_millis(5001)).await;
        let State::Down { reason } = fixture.health.snapshot().state else {
            panic!("not down");
        };
        assert_eq!(reason, "no answer within 5s");
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_doubles_up_to_a_minute_and_is_spread() {
        let fixture = start(policy(), first((0..12).map(|_| away())));
        fixture.send([1]);
        sleep(Duration::from_secs(3600)).await;
        let waits = waits(&fixture.log.lock().unwrap());
        assert_eq!(waits.len(), 12);
        for (failures, wait) in waits.iter().enumerate() {
            let middle = FIRST_DELAY
                .mul_f64(f64::from(1 << failures))
                .min(LONGEST_DELAY);
            // The paused clock counts whole milliseconds.
            let bounds = middle.mul_f64(0.75)..=middle.mul_f64(1.25) + Duration::from_millis(1);
            assert!(
                bounds.contains(wait),
                "wait {failures}: {wait:?} is not in {bounds:?}"
            );
            assert!(*wait <= Duration::from_secs(60) + Duration::from_millis(1));
        }
    }

    #[test]
    fn two_collectors_seldom_wait_equally_long() {
        let mut delays: Vec<_> = (0..100).map(|_| delay_after(3)).collect();
        delays.sort();
        delays.dedup();
        assert!(delays.len() > 90, "{} different delays", delays.len());
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_begins_anew_after_a_success() {
        let fixture = start(policy(), first([away(), away(), away(), Take, away()]));
        fixture.send([1]);
        sleep(Duration::from_secs(60)).await;
        fixture.send([2]);
        sleep(Duration::from_secs(60)).await;
        let (log, _) = fixture.drain().await;
        let last = waits(&log[4..6])[0];
        assert!(last <= FIRST_DELAY.mul_f64(1.26), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_the_far_side_asks_for_is_kept() {
        let asking = |seconds| {
            Fail(DeliveryError::Unreachable {
                reason: "too many requests".to_owned(),
                retry_after: Some(Duration::from_secs(seconds)),
            })
        };
        let fixture = start(policy(), first([asking(7), asking(100_000)]));
        fixture.send([1]);
        sleep(Duration::from_secs(3600)).await;
        let waits: Vec<u64> = waits(&fixture.log.lock().unwrap())
            .iter()
            .map(Duration::as_secs)
            .collect();
        assert_eq!(waits, [7, LONGEST_DELAY_ASKED_FOR.as_secs()]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_far_side_that_lets_nothing_in_is_asked_once_a_minute_and_gets_everything_then() {
        let refused = || {
            Fail(DeliveryError::Refused {
                reason: "wrong token".to_owned(),
            })
        };
        let fixture = start(policy(), first([refused(), refused()]));
        fixture.send([1, 2]);
        sleep(Duration::from_secs(10)).await;
        assert!(
            matches!(fixture.health.snapshot().state, State::Down { reason } if reason == "wrong token")
        );
        sleep(Duration::from_secs(3600)).await;
        for wait in waits(&fixture.log.lock().unwrap()) {
            assert!((36..=60).contains(&wait.as_secs()), "{wait:?}");
        }
        let (_, counts) = fixture.drain().await;
        assert_eq!((counts.delivered, counts.rejected), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_is_too_large_is_halved_until_it_fits() {
        let fixture = start(policy(), |times| match times.len() {
            0..=3 => Take,
            _ => Fail(DeliveryError::TooLarge {
                reason: "413".to_owned(),
            }),
        });
        fixture.send(0..10);
        let (log, counts) = fixture.drain().await;
        let taken: Vec<i64> = given(&log)
            .into_iter()
            .filter_map(|given| match given {
                Given::Batch(times) if times.len() <= 3 => Some(times),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
        assert_eq!((counts.delivered, counts.rejected), (10, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_reading_that_is_too_large_is_given_up() {
        let fixture = start(policy(), |_| {
            Fail(DeliveryError::TooLarge {
                reason: "413".to_owned(),
            })
        });
        fixture.send([1]);
        let (_, counts) = fixture.drain().await;
        assert_eq!((counts.delivered, counts.rejected), (0, 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn exactly_the_readings_that_are_refused_are_lost(
            bad in prop::collection::btree_set(0..40_i64, 0..6),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let arrived = Arc::new(Mutex::new(Vec::new()));
            let (refused, arriving) = (bad.clone(), Arc::clone(&arrived));
            let counts = runtime.block_on(async move {
                let fixture = start(policy(), move |times| {
                    if times.iter().any(|time| refused.contains(time)) {
                        return Fail(DeliveryError::rejected("nonsense"));
                    }
                    arriving.lock().unwrap().extend_from_slice(times);
                    Take
                });
                fixture.send(0..40);
                fixture.drain().await.1
            });
            let good: Vec<i64> = (0..40).filter(|time| !bad.contains(time)).collect();
            prop_assert_eq!(&*arrived.lock().unwrap(), &good);
            prop_assert_eq!(counts.rejected, bad.len() as u64);
            prop_assert_eq!(counts.delivered, good.len() as u64);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_drops_the_oldest_and_counts_it() {
        let small = Policy {
            queue: NonZeroUsize::new(3).unwrap(),
            batch: NonZeroUsize::new(1).unwrap(),
            ..policy()
        };
        let fixture = start(small, first([away()]));
        fixture.send([1]);
        settle().await;
        fixture.send(2..=6);
        settle().await;
        assert_eq!((fixture.counts().dropped, fixture.counts().queued), (3, 3));
        let (log, counts) = fixture.drain().await;
        let batches = [1, 4, 5, 6].map(|time| Given::Batch(vec![time]));
        assert_eq!(given(&log)[..4], batches);
        assert_eq!(
            (counts.taken, counts.delivered, counts.dropped),
            (6, 3, 3),
            "every reading is accounted for"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_of_the_present_gets_the_newest_of_each_inverter() {
        let present = Policy {
            keep: Keep::NewestPerInverter,
            ..policy()
        };
        let fixture = start(present, first([away()]));
        fixture.send_reading(reading("a", 1));
        settle().await;
        for (inverter, time) in [("b", 2), ("a", 3), ("a", 4)] {
            fixture.send_reading(reading(inverter, time));
        }
        let (log, counts) = fixture.drain().await;
        assert_eq!(
            given(&log),
            [
                Given::Batch(vec![1]),
                Given::Batch(vec![2, 4]),
                Given::Close
            ]
        );
        assert_eq!(
            (counts.delivered, counts.replaced, counts.dropped),
            (2, 2, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn readings_that_the_channel_lost_are_counted_and_the_rest_goes_on() {
        let fixture = start(policy(), first([]));
        fixture.send(0..80);
        let (_, counts) = fixture.drain().await;
        assert_eq!((counts.missed, counts.delivered), (16, 64));
    }

    #[tokio::test(start_paused = true)]
    async fn a_far_side_that_ends_in_order_ends_the_driver() {
        let fixture = start(policy(), first([Fail(DeliveryError::Closed)]));
        fixture.send([1]);
        assert_eq!(fixture.driver.await.unwrap(), Ended::FarSideClosed);
        assert_eq!(
            given(&fixture.log.lock().unwrap()),
            [Given::Batch(vec![1]), Given::Close]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_the_order_to_stop_is_delivered() {
        let fixture = start(policy(), first([]));
        fixture.send(0..30);
        fixture.stop.send(()).unwrap();
        assert_eq!(fixture.driver.await.unwrap(), Ended::Drained);
        assert_eq!(fixture.health.snapshot().counts.delivered, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lag_at_the_order_to_stop_loses_only_what_the_channel_lost() {
        let (events, receiver) = broadcast::channel(64);
        let health = Arc::new(Health::new("scripted"));
        let sink = Scripted {
            script: first([]),
            log: Log::default(),
        };
        let driver = Driver::new(Box::new(sink), policy(), Arc::clone(&health));
        let (busy, sender) = (Mutex::new(0), events.clone());
        let stop = std::future::poll_fn(move |_| {
            // The order comes, and between it and the next look at the channel, too many readings.
            let mut sent = busy.lock().unwrap();
            for time in *sent..80 {
                sender.send(Event::Reading(reading("a", time))).unwrap();
                *sent = time + 1;
            }
            std::task::Poll::Ready(())
        });
        assert_eq!(driver.run(receiver, stop).await, Ended::Drained);
        let counts = health.snapshot().counts;
        assert_eq!((counts.missed, counts.delivered), (16, 64));
        drop(events);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_channel_drains_and_then_closes() {
        let fixture = start(policy(), first([]));
        fixture.send(0..15);
        let (log, counts) = fixture.drain().await;
        assert_eq!(
            given(&log),
            [
                Given::Batch((0..10).collect()),
                Given::Batch((10..15).collect()),
                Given::Close
            ]
        );
        assert_eq!((counts.delivered, counts.queued), (15, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_short_once_the_channel_has_ended() {
        let fixture = start(policy(), first((0..12).map(|_| away())));
        fixture.send([1]);
        sleep(Duration::from_secs(60)).await;
        let ended = Instant::now();
        let before = fixture.log.lock().unwrap().len();
        let (log, counts) = fixture.drain().await;
        let after = &log[before..];
        assert!(after[0].0 - ended <= LONGEST_DELAY_AT_STOP + Duration::from_millis(1));
        for wait in waits(after) {
            assert!(
                wait <= LONGEST_DELAY_AT_STOP + Duration::from_millis(1),
                "{wait:?}"
            );
        }
        assert_eq!(counts.delivered, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_newest_status_of_each_inverter_is_told() {
        let fixture = start(policy(), first([]));
        fixture.send_status("a", Reachability::Silent);
        fixture.send_status("b", Reachability::Online);
        fixture.send_status("a", Reachability::Online);
        let (log, _) = fixture.drain().await;
        assert_eq!(
            given(&log),
            [
                Given::Status("a".to_owned(), Reachability::Online),
                Given::Status("b".to_owned(), Reachability::Online),
                Given::Close
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_did_not_arrive_is_told_again_unless_there_is_a_newer_one() {
        let fixture = start(policy(), first([away(), away()]));
        fixture.send_status("a", Reachability::Online);
        sleep(Duration::from_millis(900)).await;
        fixture.send_status("a", Reachability::Silent);
        let (log, _) = fixture.drain().await;
        let told = |reachability| Given::Status("a".to_owned(), reachability);
        assert_eq!(
            given(&log),
            [
                told(Reachability::Online),
                told(Reachability::Online),
                told(Reachability::Silent),
                Given::Close
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_is_refused_is_not_told_again() {
        let fixture = start(policy(), first([Fail(DeliveryError::rejected("no"))]));
        fixture.send_status("a", Reachability::Online);
        fixture.send([1]);
        let (log, counts) = fixture.drain().await;
        assert_eq!(log.len(), 3, "the status, the reading, the end: {log:?}");
        assert_eq!((counts.delivered, counts.rejected), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_sink_is_seen_by_whoever_runs_the_driver() {
        let fixture = start(policy(), first([Panic]));
        fixture.send([1]);
        assert!(fixture.driver.await.unwrap_err().is_panic());
    }
}
