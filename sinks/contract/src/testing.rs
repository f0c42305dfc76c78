//! Readings to test with, and the conformance suite that every sink passes.
//!
//! The suite knows a sink only by the contract and its server only as [`FarSide`], so that what a new sink must
//! promise stands in one place and is checked against the real server. It waits for what it can see and never for
//! a time that should be enough.

mod readings;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, timeout};

use self::readings::{BEGIN, INTERVAL};
pub use self::readings::{full_reading, kse_reading, reading, readings};
use crate::delivery::{Keep, Policy, SpoolBounds};
use crate::driver::{Driver, Ended};
use crate::event::Event;
use crate::health::{Health, Snapshot, State};
use crate::sink::{Batch, Sink};
use crate::spool::Spool;
use kstar_model::reading::Reading;

/// What a server holds of one reading: `inverter`, `time` (Unix milliseconds), and each quantity that is present,
/// all as text.
pub type Record = BTreeMap<String, String>;

/// The record of a reading, each value written as [`Value`](kstar_model::catalogue::Value) writes it.
pub fn record(reading: &Reading) -> Record {
    let identity = [
        ("inverter".to_owned(), reading.inverter.name.to_string()),
        ("time".to_owned(), reading.time.0.to_string()),
    ];
    let values = reading
        .values
        .present()
        .map(|(quantity, value)| (quantity.name().to_owned(), value.to_string()));
    identity.into_iter().chain(values).collect()
}

/// The record of a JSON line, for servers that hold those.
///
/// # Panics
///
/// When the line is not a reading.
#[expect(clippy::panic, reason = "a test that reads something else has failed")]
pub fn record_of_line(line: &str) -> Record {
    use serde_json::Value;
    let Ok(Value::Object(entries)) = serde_json::from_str(line) else {
        panic!("no JSON object: {line:?}");
    };
    entries
        .into_iter()
        .filter(|(key, _)| !matches!(key.as_str(), "schema" | "serial" | "model"))
        .map(|(key, value)| {
            let text = match value {
                Value::String(time) if key == "time" => match time.parse::<jiff::Timestamp>() {
                    Ok(time) => time.as_millisecond().to_string(),
                    Err(error) => panic!("no time: {time:?}: {error}"),
                },
                Value::String(text) => text,
                Value::Array(flags) if flags.is_empty() => "none".to_owned(),
                Value::Array(flags) => {
                    let flags: Vec<_> = flags.iter().filter_map(Value::as_str).collect();
                    flags.join(",")
                }
                other => other.to_string(),
            };
            (key, text)
        })
        .collect()
}

/// A sink's server, as the suite needs it.
#[async_trait]
pub trait FarSide: Send {
    /// A sink for this server. Called again after the sink before was closed.
    fn sink(&mut self) -> Box<dyn Sink>;

    /// Everything that the server holds, in the order in which it came.
    async fn held(&mut self) -> Vec<Record>;

    /// Makes the server unable to take anything, as an outage would. What is under way may still arrive.
    async fn go_away(&mut self);

    /// Ends the outage.
    async fn come_back(&mut self);

    /// A reading that the server refuses for what it is; `None` if there is no such reading.
    fn nonsense(&self) -> Option<Arc<Reading>> {
        None
    }

    /// What the server should hold of a reading, where that is not all of it.
    fn expected(&self, reading: &Reading) -> Record {
        record(reading)
    }

    /// How the driver treats the sink in this suite: impatient, so that an outage is seen soon.
    fn policy(&self) -> Policy {
        Policy {
            keep: Keep::Every,
            queue: const { NonZeroUsize::new(1000).unwrap() },
            batch: const { NonZeroUsize::new(50).unwrap() },
            timeout: Duration::from_millis(500),
            linger: Duration::ZERO,
            spool: None,
        }
    }

    /// The folder for a spool, if the sink is to run with one in this suite: it then keeps the same promises, and what
    /// waits outlives the driver. New readings may then overtake old ones.
    fn spool_folder(&self) -> Option<&Path> {
        None
    }
}

/// How long the suite waits for something that must happen; reached only by a sink that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a sink may take to close.
const CLOSING: Duration = Duration::from_secs(1);

/// How many readings the suite offers to a server that is away until it must be noticed: more than the buffers
/// on the way (a pipe's 64 KiB) can hold.
const OFFERED: usize = 300;

/// Holds a sink to the contract; panics with what it found.
///
/// # Panics
///
/// When the sink breaks a promise.
pub async fn conformance(far_side: impl FarSide) {
    let mut suite = Suite {
        far_side,
        expected: Vec::new(),
        time: BEGIN,
    };
    suite.a_batch_arrives_whole_and_in_order().await;
    suite.redelivery_is_harmless().await;
    suite.nothing_is_lost_over_a_restart_of_the_sink().await;
    suite.an_outage_is_noticed_and_loses_nothing().await;
    suite.nonsense_is_rejected_and_the_rest_is_kept().await;
    suite.what_waits_in_a_spool_outlives_the_driver().await;
}

struct Suite<F> {
    far_side: F,
    /// What the server should hold by now.
    expected: Vec<Record>,
    /// The time of the newest reading.
    time: i64,
}

/// A sink that runs in its driver.
struct Running {
    events: broadcast::Sender<Event>,
    sent: u64,
    health: Arc<Health>,
    driver: tokio::task::JoinHandle<Ended>,
}

impl<F: FarSide> Suite<F> {
    async fn a_batch_arrives_whole_and_in_order(&mut self) {
        let mut sink = self.far_side.sink();
        let batch = self.next_readings(5);
        deliver(&mut sink, &batch).await;
        self.holds_what_it_should("after one batch").await;
        close(sink).await;
    }

    async fn redelivery_is_harmless(&mut self) {
        let mut sink = self.far_side.sink();
        let batch = self.next_readings(4);
        deliver(&mut sink, &batch).await;
        deliver(&mut sink, &batch).await;
        self.holds_what_it_should("after the same batch twice")
            .await;
        let overlapping: Vec<_> = batch.into_iter().chain(self.next_readings(2)).collect();
        deliver(&mut sink, &overlapping).await;
        self.holds_what_it_should("after a batch that holds the one before")
            .await;
        close(sink).await;
    }

    async fn nothing_is_lost_over_a_restart_of_the_sink(&mut self) {
        for _ in 0..2 {
            let mut sink = self.far_side.sink();
            let batch = self.next_readings(3);
            deliver(&mut sink, &batch).await;
            close(sink).await;
        }
        self.holds_what_it_should("after the sink was closed and opened again")
            .await;
    }

    async fn an_outage_is_noticed_and_loses_nothing(&mut self) {
        let mut running = self.run();
        running.send(self.next_readings(1));
        running
            .until("the first reading is delivered", |now| {
                now.counts.delivered == 1
            })
            .await;

        self.far_side.go_away().await;
        let mut noticed = false;
        for _ in 0..OFFERED {
            let offered = Instant::now();
            running.send(self.next_readings(1));
            let now = running
                .until("a reading is delivered or the outage noticed", |now| {
                    now.counts.queued == 0 || matches!(now.state, State::Down { .. })
                })
                .await;
            noticed = matches!(now.state, State::Down { .. });
            if noticed {
                // Twice the time-out: a busy machine may be late, but not by as much again.
                let took = offered.elapsed();
                assert!(
                    took < self.far_side.policy().timeout * 2,
                    "the outage was noticed only after {took:?}"
                );
                break;
            }
        }
        assert!(
            noticed,
            "{OFFERED} readings were delivered to a server that is away"
        );
        running.send(self.next_readings(10));

        self.far_side.come_back().await;
        running
            .until("everything is delivered after the outage", |now| {
                now.counts.queued == 0 && now.state == State::Up
            })
            .await;
        running.end().await;
        self.holds_what_it_should("after an outage").await;
    }

    async fn nonsense_is_rejected_and_the_rest_is_kept(&mut self) {
        let Some(nonsense) = self.far_side.nonsense() else {
            return;
        };
        let mut running = self.run();
        running.send(self.next_readings(3));
        running.send([nonsense]);
        running.send(self.next_readings(3));
        let now = running
            .until("all but the nonsense is delivered", |now| {
                now.counts.delivered + now.counts.rejected == 7
            })
            .await;
        assert_eq!(now.counts.rejected, 1, "only the nonsense is rejected");
        running.end().await;
        self.holds_what_it_should("after a reading that it refuses")
            .await;
    }

    async fn what_waits_in_a_spool_outlives_the_driver(&mut self) {
        if self.far_side.spool_folder().is_none() {
            return;
        }
        self.far_side.go_away().await;
        let mut running = self.run();
        running.send(self.next_readings(20));
        running
            .until("the outage is noticed", |now| {
                matches!(now.state, State::Down { .. })
            })
            .await;
        let health = Arc::clone(&running.health);
        running.end().await;
        let counts = health.snapshot().counts;
        assert_eq!(
            (counts.spooled, counts.at_risk()),
            (20, 0),
            "what waits at a stop is in the spool: {counts}"
        );

        self.far_side.come_back().await;
        let running = self.run();
        running
            .until("what waited is delivered", |now| {
                now.counts.delivered == 20 && now.counts.queued == 0
            })
            .await;
        running.end().await;
        self.holds_what_it_should("after a stop during an outage")
            .await;
    }

    /// The next readings, which the server is from now on expected to hold.
    fn next_readings(&mut self, count: usize) -> Vec<Arc<Reading>> {
        let readings: Vec<_> = (0..count)
            .map(|_| {
                self.time += INTERVAL;
                full_reading("roof", self.time)
            })
            .collect();
        let records = readings
            .iter()
            .map(|reading| self.far_side.expected(reading));
        self.expected.extend(records);
        readings
    }

    async fn holds_what_it_should(&mut self, when: &str) {
        let mut held = self.far_side.held().await;
        let time = |record: &Record| record.get("time").cloned();
        if self.far_side.spool_folder().is_some() {
            held.sort_by_key(time);
        }
        assert_eq!(
            held.iter().map(time).collect::<Vec<_>>(),
            self.expected.iter().map(time).collect::<Vec<_>>(),
            "{when}: the times that the server holds, and those that it should"
        );
        for (held, expected) in held.iter().zip(&self.expected) {
            assert_eq!(held, expected, "{when}");
        }
    }

    fn run(&mut self) -> Running {
        let health = Arc::new(Health::new("conformance"));
        let (events, receiver) = broadcast::channel(1024);
        let mut driver = Driver::new(
            self.far_side.sink(),
            self.far_side.policy(),
            Arc::clone(&health),
        );
        if let Some(folder) = self.far_side.spool_folder() {
            let spool = Spool::new(folder, "conformance", SpoolBounds::default());
            driver = driver.with_spool(spool, PATIENCE);
        }
        Running {
            events,
            sent: 0,
            health,
            driver: tokio::spawn(driver.run(receiver, std::future::pending())),
        }
    }
}

impl Running {
    fn send(&mut self, readings: impl IntoIterator<Item = Arc<Reading>>) {
        for reading in readings {
            assert!(
                self.events.send(Event::Reading(reading)).is_ok(),
                "the driver has ended"
            );
            self.sent += 1;
        }
    }

    async fn until(&self, what: &str, reached: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let begin = Instant::now();
        loop {
            let now = self.health.snapshot();
            // Before the driver has seen everything, its counts say nothing.
            if now.counts.taken == self.sent && reached(&now) {
                return now;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "in vain for {PATIENCE:?}: {what}; {now:?}"
            );
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn end(self) {
        drop(self.events);
        let ended = timeout(PATIENCE, self.driver).await;
        assert!(
            matches!(ended, Ok(Ok(Ended::Drained))),
            "the driver ended with {ended:?}"
        );
    }
}

async fn deliver(sink: &mut Box<dyn Sink>, readings: &[Arc<Reading>]) {
    let outcome = timeout(PATIENCE, sink.deliver(&Batch::new(readings))).await;
    assert!(
        matches!(outcome, Ok(Ok(()))),
        "the delivery ended with {outcome:?}"
    );
}

async fn close(sink: Box<dyn Sink>) {
    let outcome = timeout(CLOSING, sink.close()).await;
    assert!(
        matches!(outcome, Ok(Ok(()))),
        "closing ended with {outcome:?}"
    );
}

/// The queue of a sink that keeps every reading, for a test that decides itself when something is delivered.
pub struct Waiting(crate::queue::Queue);

impl Waiting {
    /// For so many readings.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self(crate::queue::Queue::new(Keep::Every, capacity))
    }

    /// Adds a reading; the oldest goes if there is no room, and what it has counted is handed on.
    pub fn push(&mut self, reading: Arc<Reading>) {
        self.0.push(reading);
    }

    /// The oldest readings, at most `limit`, to be settled.
    pub fn borrow(&mut self, limit: usize) -> Vec<Arc<Reading>> {
        self.0.borrow(limit)
    }

    /// Settles what was borrowed: it was delivered, or is kept.
    pub fn settle(&mut self, delivered: bool) {
        self.0.settle(if delivered {
            crate::queue::Settlement::Done
        } else {
            crate::queue::Settlement::Kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstar_model::catalogue::Quantity;

    #[test]
    fn a_full_reading_has_every_quantity() {
        let reading = full_reading("roof", BEGIN);
        for quantity in Quantity::ALL {
            assert!(reading.values.raw(*quantity).is_some(), "{quantity}");
        }
        assert_eq!(reading, full_reading("roof", BEGIN));
    }

    #[test]
    fn a_record_is_the_same_whether_made_from_the_reading_or_from_its_json_line() {
        for reading in readings("roof", 500) {
            let line = serde_json::to_string(&*reading).unwrap();
            assert_eq!(record_of_line(&line), record(&reading));
        }
    }
}
