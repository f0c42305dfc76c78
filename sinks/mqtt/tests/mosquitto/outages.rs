//! The broker goes away and comes back.

use std::time::Duration;

use kstar_sink::event::Reachability;
use kstar_sink::testing::full_reading;
use tokio::time::{Instant, sleep};

use super::world::{Listener, Mosquitto, Running, context};

/// The collector's time of a state message.
fn time_of(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line["time"].as_str().unwrap().to_owned()
}

/// Ten deaths at random moments, with twenty readings a second; the seed is said if it fails.
async fn survives(persistence: bool) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let lines = if persistence {
        "allow_anonymous true\npersistence true\npersistence_location FOLDER/\nautosave_interval 1"
    } else {
        "allow_anonymous true"
    };
    let mut broker = Mosquitto::with(lines);
    let listener = Listener::at(broker.port).await;
    let config = broker.config("");
    let context = context(&["roof"], broker.folder.path());
    let running = Running::start(&config, &context);
    running.status("roof", Reachability::Online);
    let begin = 1_795_305_600_000;
    let mut sent = 0_i64;
    let mut send_for = async |duration: Duration| {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            sent += 1;
            running.send(full_reading("roof", begin + sent * 50));
            sleep(Duration::from_millis(50)).await;
        }
        sent
    };
    let (collector, roof) = ("kstar/collector/kstar-test/status", "kstar/roof/status");
    let config_topic = "homeassistant/device/";
    for death in 1..=10 {
        send_for(Duration::from_millis(random.u64(200..1200))).await;
        broker.kill();
        listener.forget();
        send_for(Duration::from_millis(random.u64(0..600))).await;
        broker.start();
        let back = Instant::now();
        listener.subscribed(death + 1).await;
        let sent = send_for(Duration::from_millis(50)).await;
        let newest = format!("{}", kstar_model::time::UnixMillis(begin + sent * 50));
        listener
            .until("the newest state is back", |heard| {
                heard.iter().any(|heard| {
                    heard.topic == "kstar/roof/state" && time_of(&heard.payload) >= newest
                })
            })
            .await;
        // Short-lived connections are renewed after four seconds and a quarter at the most.
        let took = back.elapsed();
        assert!(took < Duration::from_secs(7), "back only after {took:?}");
        listener.until_last(collector, "online").await;
        listener.until_last(roof, "online").await;
        listener
            .until("the announcement is back", |heard| {
                heard
                    .iter()
                    .any(|heard| heard.topic.starts_with(config_topic) && !heard.payload.is_empty())
            })
            .await;
        let times: Vec<String> = listener
            .on("kstar/roof/state")
            .iter()
            .map(|line| time_of(line))
            .collect();
        assert!(
            times.is_sorted(),
            "an older state after a newer one: {times:?}"
        );
    }
    let counts = running.now().counts;
    assert!(counts.queued <= 2, "one waits, one is under way: {counts}");
    assert_eq!((counts.dropped, counts.rejected, counts.missed), (0, 0, 0));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_forgets_everything_may_die_at_any_moment() {
    survives(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_remembers_may_die_at_any_moment() {
    survives(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_reading_of_each_inverter_is_told_after_an_outage() {
    let mut broker = Mosquitto::open();
    let running = Running::start(
        &broker.config("topics = 'json'"),
        &context(&["roof", "barn"], broker.folder.path()),
    );
    running.send(full_reading("roof", 1000));
    running.delivered(1).await;
    broker.kill();
    running.send(full_reading("roof", 2000));
    let reason = running.down().await;
    assert!(
        reason.contains(&format!("mqtt://127.0.0.1:{}", broker.port)),
        "{reason}"
    );
    for time in 3..100 {
        running.send(full_reading("roof", time * 1000));
        running.send(full_reading("barn", time * 1000 + 1));
    }
    let now = running
        .until("all is taken", |now| now.counts.taken == 196)
        .await;
    assert!(now.counts.queued <= 2, "{now:?}");
    broker.start();
    let listener = Listener::at(broker.port).await;
    for (inverter, time) in [
        ("roof", "1970-01-01T00:01:39.000Z"),
        ("barn", "1970-01-01T00:01:39.001Z"),
    ] {
        let topic = format!("kstar/{inverter}/state");
        listener.when(&topic).await;
        let times: Vec<String> = listener
            .on(&topic)
            .iter()
            .map(|line| time_of(line))
            .collect();
        assert_eq!(times.last().map(String::as_str), Some(time));
    }
    running.end().await;
}
