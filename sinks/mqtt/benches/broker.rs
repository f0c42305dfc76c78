//! How long from a reading to its messages at a subscriber, and how many messages a second, over a real Mosquitto on
//! loopback at quality of service 1: `cargo bench -p kstar-sink-mqtt`. It needs Debian's `mosquitto`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "a measurement ends where its surroundings break, and uses a part of what tests need"
)]

#[path = "../tests/mosquitto/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use kstar_model::reading::Reading;
use kstar_sink::testing::kse_reading;
use tokio::time::{Instant, sleep};

use world::{Listener, Mosquitto, Running, context};

/// The same reading at another time.
fn at(reading: &Reading, time: i64) -> Arc<Reading> {
    let mut reading = reading.clone();
    reading.time.0 = time;
    Arc::new(reading)
}

/// Without Nagle's delay the figures are ours; with it, which is Mosquitto's default, they are what users have.
const BROKERS: [(&str, &str); 2] = [
    (
        "a broker without delay",
        "allow_anonymous true\nlog_type error\nset_tcp_nodelay true",
    ),
    (
        "a broker as it is by default",
        "allow_anonymous true\nlog_type error",
    ),
];

#[tokio::main]
async fn main() {
    for (name, lines) in BROKERS {
        println!("{name}:");
        all(lines).await;
    }
}

async fn all(broker_lines: &str) {
    for (what, lines, first) in [
        ("one JSON message", "topics = 'json'", "kstar/roof/state"),
        ("the JSON message of both forms", "", "kstar/roof/state"),
        (
            "one topic for each quantity, the last of them",
            "topics = 'quantities'",
            "kstar/roof/reply_time",
        ),
        (
            "the seven of kstar.sharp beside JSON, the last of them",
            "topics = 'json'\nkstar_sharp_topics = true",
            "sensor/inverter/etoday",
        ),
    ] {
        latency(broker_lines, what, lines, first).await;
    }
    throughput(broker_lines).await;
}

async fn latency(broker_lines: &str, what: &str, lines: &str, topic: &str) {
    let broker = Mosquitto::with(broker_lines);
    let listener = Listener::at(broker.port).await;
    let running = Running::start(
        &broker.config(lines),
        &context(&["roof"], broker.folder.path()),
    );
    running.send(kse_reading("roof", 1));
    running.delivered(1).await;
    let base = kse_reading("roof", 2);
    let mut took = Vec::new();
    for number in 0..300 {
        listener.forget();
        let sent = Instant::now();
        running.send(at(&base, 1000 + number));
        let when = listener.when(topic).await;
        took.push(when - sent);
        // Everything else of this reading has come too before the next one.
        sleep(Duration::from_millis(30)).await;
    }
    took.sort();
    println!(
        "{what}: median {:?}, 95 % {:?}, longest {:?}",
        took[took.len() / 2],
        took[took.len() * 95 / 100],
        took[took.len() - 1]
    );
    running.end().await;
}

/// As many readings as are acknowledged, one after the other, for five seconds.
async fn throughput(broker_lines: &str) {
    let broker = Mosquitto::with(broker_lines);
    let running = Running::start(
        &broker.config("topics = 'quantities'"),
        &context(&["roof"], broker.folder.path()),
    );
    let base = kse_reading("roof", 1);
    let messages = base.values.present().count();
    running.send(at(&base, 0));
    running.delivered(1).await;
    let begin = Instant::now();
    let before = running.now().counts.delivered;
    let mut time = 1;
    while begin.elapsed() < Duration::from_secs(5) {
        if running.now().counts.queued < 2 {
            running.send(at(&base, time));
            time += 1;
        }
        tokio::task::yield_now().await;
    }
    let counts = running.now().counts;
    let readings = counts.delivered - before;
    let millis = begin.elapsed().as_millis();
    println!(
        "{} messages a second in {} readings; waiting at the end: {}",
        u128::from(readings) * messages as u128 * 1000 / millis,
        u128::from(readings) * 1000 / millis,
        counts.queued
    );
    running.end().await;
}
