//! What stays the same is left out, and who needs all of it has it in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_model::catalogue::Quantity;
use kstar_model::reading::Reading;
use kstar_model::time::UnixMillis;
use kstar_model::units::Watts;
use kstar_sink::event::Reachability;
use kstar_sink::testing::full_reading;
use rumqttc::QoS;
use tokio::time::sleep;

use super::world::{Heard, Listener, Mosquitto, Running, context, retained};

const BIRTH: &str = "homeassistant/status";

/// 2026-11-22T00:00:00Z.
const BEGIN: i64 = 1_795_305_600_000;

/// A reading of which only the time and one power change.
fn reading(second: i64, watts: i32) -> Arc<Reading> {
    let mut reading = (*full_reading("roof", BEGIN)).clone();
    reading.time = UnixMillis(BEGIN + second * 1000);
    reading.values.load_power = Some(Watts::new(watts));
    Arc::new(reading)
}

/// The quantities whose topics were heard live, in their order.
fn quantities(heard: &[Heard]) -> Vec<&str> {
    let live = heard.iter().filter(|heard| !heard.retained);
    live.filter_map(|heard| heard.topic.strip_prefix("kstar/roof/"))
        .filter(|name| Quantity::from_name(name).is_some())
        .collect()
}

/// A broker, somebody who listens, and a sink that has published a reading.
async fn begin(lines: &str) -> (Mosquitto, Listener, Running) {
    let broker = Mosquitto::with("allow_anonymous true\nmax_inflight_messages 1000");
    let listener = Listener::at(broker.port).await;
    let mut context = context(&["roof"], broker.folder.path());
    context.poll_interval = Duration::from_secs(1);
    let running = Running::start(&broker.config(lines), &context);
    running.status("roof", Reachability::Online);
    running.send(reading(1, 500));
    running.delivered(1).await;
    listener.catch_up().await;
    (broker, listener, running)
}

/// Sends a reading; the quantities whose topics are heard because of it.
async fn told(listener: &Listener, running: &Running, reading: Arc<Reading>) -> Vec<String> {
    listener.forget();
    let delivered = running.now().counts.delivered;
    running.send(reading);
    running.delivered(delivered + 1).await;
    listener.catch_up().await;
    let heard = listener.heard();
    assert!(heard.iter().any(|heard| heard.topic == "kstar/roof/state"));
    quantities(&heard).into_iter().map(str::to_owned).collect()
}

const ALL: usize = Quantity::ALL.len();

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_stays_the_same_is_left_out_until_it_would_expire() {
    for qos in 0..=2 {
        let lines = format!(
            "qos = {qos}\nhome_assistant.discovery = 'off'\nhome_assistant.expire_after = '6s'"
        );
        let begun = Instant::now();
        let (_broker, listener, running) = begin(&lines).await;
        assert_eq!(quantities(&listener.heard()).len(), ALL);
        let changed = told(&listener, &running, reading(2, 501)).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "too slow to tell");
        assert_eq!(changed, ["load_power"]);
        assert_eq!(told(&listener, &running, reading(3, 501)).await, [""; 0]);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(told(&listener, &running, reading(4, 501)).await.len(), ALL);
        assert_eq!(told(&listener, &running, reading(5, 501)).await, [""; 0]);
        running.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_no_time_to_leave_anything_out_all_is_published() {
    let lines = "home_assistant.discovery = 'off'\nhome_assistant.expire_after = '2s'";
    let (_broker, listener, running) = begin(lines).await;
    for second in 2..5 {
        let told = told(&listener, &running, reading(second, 500)).await;
        assert_eq!(told.len(), ALL);
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topics_of_kstar_sharp_come_with_each_reading() {
    let lines = "kstar_sharp_topics = true\nhome_assistant.discovery = 'off'";
    let (_broker, listener, running) = begin(lines).await;
    for second in 2..5 {
        assert_eq!(
            told(&listener, &running, reading(second, 500)).await,
            [""; 0]
        );
        let heard = listener.heard();
        let theirs = heard
            .iter()
            .filter(|heard| heard.topic.starts_with("sensor/"));
        let theirs: Vec<_> = theirs.map(|heard| (heard.qos, heard.retained)).collect();
        assert_eq!(theirs, [(QoS::AtLeastOnce, false); 7]);
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_silence_all_values_come_again() {
    let (_broker, listener, running) = begin("home_assistant.discovery = 'off'").await;
    assert_eq!(told(&listener, &running, reading(2, 500)).await, [""; 0]);
    running.status("roof", Reachability::Silent);
    listener.until_last("kstar/roof/status", "offline").await;
    assert_eq!(told(&listener, &running, reading(3, 500)).await.len(), ALL);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_has_forgotten_everything_has_all_values_again() {
    let (mut broker, listener, running) = begin("home_assistant.discovery = 'off'").await;
    assert_eq!(told(&listener, &running, reading(2, 500)).await, [""; 0]);
    let before = retained(broker.port).await;
    broker.kill();
    broker.start();
    let listener = Listener::at(broker.port).await;
    listener
        .until_last("kstar/collector/kstar-test/status", "online")
        .await;
    assert_eq!(retained(broker.port).await, before);
    let told = told(&listener, &running, reading(3, 501)).await;
    assert_eq!(told, ["load_power"]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn home_assistant_has_all_values_when_it_has_started() {
    let (_broker, listener, running) = begin("interval = '1h'").await;
    listener
        .until("what was announced is told again", |heard| {
            quantities(heard).len() == 2 * ALL
        })
        .await;
    // It waits for its hour.
    assert!(running.now().counts.delivered == 1);
    running.send(reading(2, 501));
    running.delivered(2).await;
    listener.forget();
    listener.publish(BIRTH, "online").await;
    listener
        .until("all values", |heard| quantities(heard).len() == ALL)
        .await;
    let load_power = || listener.on("kstar/roof/load_power").last().cloned();
    assert_eq!(load_power().as_deref(), Some("501"));
    // The value is that of the reading that was published last, and not what the topic holds.
    let mut changed = (*reading(3, 500)).clone();
    changed.values.work_mode = Some(kstar_model::labels::WorkMode(2));
    running.send(Arc::new(changed));
    running.delivered(3).await;
    listener.until_last("kstar/roof/load_power", "500").await;
    running.end().await;
}
