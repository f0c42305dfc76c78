//! The driver with a scripted sink, in paused time.

mod clock;
mod handover;
mod legacy;
mod news;
mod opening;
mod spool;

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use async_trait::async_trait;
use kstar_common::back_off::BackOff;
use kstar_model::reading::{Inverter, Reading, Undated};
use proptest::prelude::*;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::send::{LONGEST_DELAY_ASKED_FOR, LONGEST_DELAY_AT_STOP};
use super::*;
use crate::delivery::Keep;
use crate::event::Reachability;
use crate::health::{Counts, State};
use crate::sink::Batch;
use crate::testing::reading;

/// What the scripted sink does with what it is given.
enum Reaction {
    Take,
    TakeAfter(Duration),
    Fail(DeliveryError),
    Hang,
    Panic,
}

use Reaction::{Fail, Hang, Panic, Take, TakeAfter};

/// What the scripted sink was given, and when.
#[derive(Clone, Debug, PartialEq)]
enum Given {
    Batch(Vec<i64>),
    /// One without a time, and how long the machine had run.
    Shown(String, Duration),
    Status(String, Reachability),
    Collector(&'static str),
    Price(Option<String>),
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
            TakeAfter(delay) => {
                sleep(delay).await;
                Ok(())
            }
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

    async fn show(&mut self, undated: &Undated) -> Result<(), DeliveryError> {
        let name = undated.inverter.name.to_string();
        self.react(Given::Shown(name, undated.time.0)).await
    }

    async fn status(&mut self, status: &InverterStatus) -> Result<(), DeliveryError> {
        let name = status.inverter.name.to_string();
        self.react(Given::Status(name, status.reachability)).await
    }

    async fn collector(&mut self, status: &CollectorStatus) -> Result<(), DeliveryError> {
        self.react(Given::Collector(status.version)).await
    }

    async fn price(&mut self, price: &Price) -> Result<(), DeliveryError> {
        let price = price.0.as_ref().map(|rates| rates.price.to_string());
        self.react(Given::Price(price)).await
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
        linger: Duration::ZERO,
        spool: None,
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
    start_as(policy, script, |driver| driver)
}

fn start_as(
    policy: Policy,
    script: impl FnMut(&[i64]) -> Reaction + Send + 'static,
    more: impl FnOnce(Driver) -> Driver,
) -> Fixture {
    let health = Arc::new(Health::new("scripted"));
    let log = Log::default();
    let sink = Scripted {
        script,
        log: Arc::clone(&log),
    };
    let driver = more(Driver::new(Box::new(sink), policy, Arc::clone(&health)));
    run(driver, health, log)
}

fn run(driver: Driver, health: Arc<Health>, log: Log) -> Fixture {
    let (events, receiver) = broadcast::channel(64);
    let (stop, stopped) = oneshot::channel();
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
        let status = InverterStatus::new(Inverter::named(inverter), reachability);
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
        let middle = BackOff::SERVER
            .first
            .mul_f64(f64::from(1 << failures))
            .min(BackOff::SERVER.longest);
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
    let mut delays: Vec<_> = (0..100).map(|_| BackOff::SERVER.spread(2)).collect();
    delays.sort();
    delays.dedup();
    assert!(delays.len() > 90, "{} different delays", delays.len());
}

#[tokio::test(start_paused = true)]
async fn readings_are_gathered_for_as_long_as_the_policy_says() {
    let linger = Duration::from_secs(30);
    let fixture = start(Policy { linger, ..policy() }, first([Take, away()]));
    let begin = Instant::now();
    for time in 1..=3 {
        fixture.send([time]);
        sleep(Duration::from_secs(10)).await;
    }
    settle().await;
    // A full batch goes at once, and what is behind it waits for its own time.
    fixture.send(4..=15);
    settle().await;
    // Where the server was away, they have waited for long enough.
    sleep(Duration::from_secs(2)).await;
    let before_the_end = fixture.log.lock().unwrap().len();
    assert_eq!(before_the_end, 3);
    fixture.send([16]);
    // The end of the channel is waited for by nobody.
    let (log, counts) = fixture.drain().await;
    let batches: Vec<Given> = given(&log);
    let batch = |times: std::ops::RangeInclusive<i64>| Given::Batch(times.collect());
    assert_eq!(
        batches,
        [
            batch(1..=3),
            batch(4..=13),
            batch(4..=13),
            batch(14..=16),
            Given::Close
        ]
    );
    assert_eq!(log[0].0 - begin, linger);
    assert!(log[3].0 - begin < linger * 2);
    assert_eq!(counts.delivered, 16);
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
    assert!(last <= BackOff::SERVER.first.mul_f64(1.26), "{last:?}");
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
    let refused = || Fail(DeliveryError::refused("wrong token"));
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
async fn a_far_side_that_lets_nothing_in_holds_up_no_stop() {
    let fixture = start(policy(), |_| Fail(DeliveryError::refused("wrong token")));
    fixture.send([1, 2]);
    sleep(Duration::from_secs(10)).await;
    let begin = Instant::now();
    drop(fixture.events);
    assert_eq!(fixture.driver.await.unwrap(), Ended::Refused);
    assert!(begin.elapsed() < Duration::from_millis(10));
    let counts = fixture.health.snapshot().counts;
    assert_eq!((counts.delivered, counts.at_risk()), (0, 2));
    let closed = fixture.log.lock().unwrap().pop();
    assert_eq!(closed.map(|(_, given)| given), Some(Given::Close));
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
    // One was under way before, and three fit.
    assert_eq!((fixture.counts().dropped, fixture.counts().queued), (2, 4));
    let (log, counts) = fixture.drain().await;
    let batches = [1, 1, 4, 5, 6].map(|time| Given::Batch(vec![time]));
    assert_eq!(given(&log)[..5], batches);
    assert_eq!(
        (counts.taken, counts.delivered, counts.dropped),
        (6, 4, 2),
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
