//! `interval`: the newest reading of each, and at once what matters at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_model::labels::WorkMode;
use kstar_model::reading::Reading;
use kstar_model::time::UnixMillis;
use kstar_sink::event::Reachability;
use kstar_sink::testing::full_reading;

use super::world::{Heard, Listener, Mosquitto, Running, context};

const STATE: &str = "kstar/roof/state";

/// A topic of kstar.sharp.
const SHARP: &str = "sensor/inverter/pvpower";

/// 2026-11-22T00:00:00Z.
const BEGIN: i64 = 1_795_305_600_000;

/// Readings that differ in nothing but time and mode.
fn reading(second: i64, mode: u16) -> Arc<Reading> {
    let mut reading = (*full_reading("roof", BEGIN)).clone();
    reading.time = UnixMillis(BEGIN + second * 1000);
    reading.values.work_mode = Some(WorkMode(mode));
    Arc::new(reading)
}

/// The seconds of the readings that were heard, and `offline` after the first.
fn told(heard: &[Heard]) -> Vec<String> {
    let told = heard.iter().filter_map(|heard| match heard.topic.as_str() {
        STATE => {
            let line: serde_json::Value = serde_json::from_str(&heard.payload).unwrap();
            Some(line["time"].as_str().unwrap()[17..19].to_owned())
        }
        "kstar/roof/status" if heard.payload == "offline" => Some(heard.payload.clone()),
        _ => None,
    });
    told.skip_while(|told| told == "offline").collect()
}

/// A broker, somebody who listens, and a sink with this interval to which an inverter is online.
async fn begin(interval: &str) -> (Mosquitto, Listener, Running) {
    let broker = Mosquitto::open();
    let listener = Listener::at(broker.port).await;
    let config = broker.config(&format!(
        "interval = '{interval}'\nkstar_sharp_topics = true\n[home_assistant]\ndiscovery = 'off'"
    ));
    let running = Running::start(&config, &context(&["roof"], broker.folder.path()));
    running.status("roof", Reachability::Online);
    (broker, listener, running)
}

async fn until_told(listener: &Listener, expected: &[&str]) {
    listener
        .until(&format!("{expected:?}"), |heard| {
            told(heard).len() >= expected.len()
        })
        .await;
    assert_eq!(told(&listener.heard()), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_reading_is_published_when_its_time_has_come() {
    let (_broker, listener, running) = begin("2s").await;
    running.send(reading(1, 1));
    until_told(&listener, &["01"]).await;
    let begin = Instant::now();
    running.send(reading(2, 1));
    running.delivered(2).await;
    running.send(reading(3, 1));
    running.delivered(3).await;
    until_told(&listener, &["01", "03"]).await;
    assert!(begin.elapsed() > Duration::from_secs(1));
    running.end().await;
    listener.catch_up().await;
    // In every form, and not once more at the end.
    let heard = listener.heard();
    assert_eq!(heard.iter().filter(|heard| heard.topic == SHARP).count(), 2);
    assert_eq!(told(&heard), ["01", "03", "offline"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_that_changes_and_a_silence_do_not_wait() {
    let (_broker, listener, running) = begin("1h").await;
    running.send(reading(1, 1));
    running.delivered(1).await;
    running.send(reading(2, 1));
    running.delivered(2).await;
    running.send(reading(3, 2));
    running.delivered(3).await;
    until_told(&listener, &["01", "03"]).await;
    // What waits is told before the inverter is silent.
    running.send(reading(4, 2));
    running.delivered(4).await;
    running.status("roof", Reachability::Silent);
    until_told(&listener, &["01", "03", "04", "offline"]).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_published_at_the_end_and_after_the_broker_was_away() {
    let (mut broker, listener, running) = begin("1h").await;
    running.send(reading(1, 1));
    running.delivered(1).await;
    running.send(reading(2, 1));
    running.delivered(2).await;
    until_told(&listener, &["01"]).await;
    broker.kill();
    broker.start();
    let listener = Listener::at(broker.port).await;
    listener
        .until("the newest reading", |heard| told(heard) == ["02"])
        .await;
    running.send(reading(3, 1));
    running.delivered(3).await;
    running.end().await;
    listener.catch_up().await;
    let told = told(&listener.heard());
    assert!(
        told.ends_with(&["03".to_owned(), "offline".to_owned()]),
        "{told:?}"
    );
}
