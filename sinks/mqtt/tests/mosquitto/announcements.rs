//! Home Assistant: announced on every connection, when it starts, and cleaned up; only what is ours.

use std::time::Duration;

use kstar_sink::event::Reachability;
use kstar_sink::testing::full_reading;

use super::world::{Heard, Listener, Mosquitto, Running, context, retained};

fn is_announcement(heard: &Heard) -> bool {
    heard.topic.starts_with("homeassistant/device/") && !heard.payload.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inverter_is_announced_before_its_first_state_and_again_when_home_assistant_starts() {
    let broker = Mosquitto::open();
    let listener = Listener::at(broker.port).await;
    let running = Running::start(
        &broker.config(""),
        &context(&["roof"], broker.folder.path()),
    );
    running.status("roof", Reachability::Online);
    running.send(full_reading("roof", 1));
    running.delivered(1).await;
    listener
        .until("the state", |heard| {
            heard.iter().any(|heard| heard.topic == "kstar/roof/state")
        })
        .await;
    let heard = listener.heard();
    let place = |test: &dyn Fn(&Heard) -> bool| heard.iter().position(test).unwrap();
    let announced = place(&is_announcement);
    assert!(place(&|heard| heard.topic == "kstar/collector/kstar-test/status") < announced);
    assert!(announced < place(&|heard| heard.topic == "kstar/roof/state"));
    assert_eq!(
        heard.iter().filter(|heard| is_announcement(heard)).count(),
        1
    );

    // The single quantities come after the state; the last of them may still be on their way.
    listener.catch_up().await;
    listener.forget();
    listener.publish("homeassistant/status", "offline").await;
    listener.publish("homeassistant/status", "online").await;
    listener
        .until("the state again", |heard| {
            heard.iter().any(|heard| heard.topic == "kstar/roof/state")
        })
        .await;
    let order: Vec<String> = listener
        .heard()
        .into_iter()
        .map(|heard| heard.topic)
        .filter(|topic| !topic.starts_with("homeassistant/status"))
        .collect();
    assert!(order[0].starts_with("homeassistant/device/"), "{order:?}");
    assert_eq!(order[1], "kstar/roof/state");
    listener
        .until_last("kstar/collector/kstar-test/status", "online")
        .await;
    // Nothing is shown that was before: the reading comes first, then its inverter, then the collector.
    let statuses: Vec<String> = listener
        .heard()
        .into_iter()
        .map(|heard| heard.topic)
        .filter(|topic| topic.starts_with("kstar/") && topic.ends_with("/status"))
        .collect();
    assert_eq!(
        statuses,
        ["kstar/roof/status", "kstar/collector/kstar-test/status"]
    );
    running.end().await;
}

/// Home Assistant clears what announced a device that is deleted there.
#[tokio::test]
async fn a_device_that_was_deleted_is_announced_again_within_an_hour() {
    let broker = Mosquitto::open();
    let listener = Listener::at(broker.port).await;
    let running = Running::start(
        &broker.config(""),
        &context(&["roof"], broker.folder.path()),
    );
    running.send(full_reading("roof", 1));
    running.delivered(1).await;
    listener
        .until("the announcement", |heard| {
            heard.iter().any(is_announcement)
        })
        .await;
    for hour in 1..=2 {
        listener.forget();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(60 * 60)).await;
        tokio::time::resume();
        listener
            .until(&format!("the announcement of hour {hour}"), |heard| {
                heard.iter().any(is_announcement)
            })
            .await;
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_from_before_is_announced_on_a_connection_without_any_reading() {
    let mut broker = Mosquitto::open();
    let folder = tempfile::tempdir().unwrap();
    let context = context(&["roof"], folder.path());
    let running = Running::start(&broker.config(""), &context);
    running.send(full_reading("roof", 1));
    running.delivered(1).await;
    running.end().await;
    broker.kill();
    broker.start();
    let running = Running::start(&broker.config(""), &context);
    running.status("roof", Reachability::Silent);
    let listener = Listener::at(broker.port).await;
    listener
        .until("the announcement", |heard| {
            heard.iter().any(is_announcement)
        })
        .await;
    running.end().await;
}

/// Everything of an inverter that Home Assistant is told of.
async fn announced(port: u16) -> Vec<String> {
    retained(port)
        .await
        .into_keys()
        .filter(|topic| topic.starts_with("homeassistant/"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_configuration_leaves_nothing_behind_and_takes_nothing_from_others() {
    let broker = Mosquitto::open();
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = broker.config("client_id = 'other'\nprefix = 'other'");
    let other = Running::start(&other, &context(&["shed"], theirs.path()));
    other.send(full_reading("shed", 1));
    other.delivered(1).await;

    let running = Running::start(&broker.config(""), &context(&["roof", "barn"], ours.path()));
    running.send(full_reading("roof", 1));
    running.send(full_reading("barn", 1));
    running.delivered(2).await;
    running.end().await;
    assert_eq!(announced(broker.port).await.len(), 3);

    for (inverters, lines, left) in [
        (&["roof"][..], "", 2),
        (&["roof"], "home_assistant.discovery = 'entity'", usize::MAX),
        (&["roof"], "home_assistant.discovery = 'off'", 1),
    ] {
        let running = Running::start(&broker.config(lines), &context(inverters, ours.path()));
        running.send(full_reading("roof", 2));
        running.delivered(1).await;
        running.end().await;
        let announced = announced(broker.port).await;
        assert!(
            announced.contains(&"homeassistant/device/kstar_shed/config".to_owned())
                || announced.iter().any(|topic| topic.contains("shed")),
            "{announced:?}"
        );
        assert!(
            !announced.iter().any(|topic| topic.contains("barn")),
            "{announced:?}"
        );
        let ours = retained(broker.port).await.into_keys();
        assert_eq!(ours.filter(|topic| topic.contains("barn")).count(), 0);
        if left == usize::MAX {
            assert!(announced.len() > 40, "{announced:?}");
            assert!(
                !announced
                    .iter()
                    .any(|topic| topic.starts_with("homeassistant/device/")
                        && topic.contains("roof"))
            );
        } else {
            assert_eq!(announced.len(), left, "{announced:?}");
        }
    }
    other.send(full_reading("shed", 2));
    other.delivered(2).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    other.end().await;
}
