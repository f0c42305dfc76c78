//! What a subscriber sees: topics, values, what is retained, quality of service, and who is online.

use std::collections::BTreeMap;

use kstar_model::catalogue::Quantity;
use kstar_model::scalar::Kind;
use kstar_sink::event::Reachability;
use kstar_sink::testing::{full_reading, readings, record, record_of_line};
use rumqttc::QoS;

use super::world::{Heard, Listener, Mosquitto, Running, context, retained};

fn values_of(heard: &[Heard], inverter: &str) -> BTreeMap<String, String> {
    let prefix = format!("kstar/{inverter}/");
    heard
        .iter()
        .filter(|heard| !heard.retained)
        .filter_map(|heard| {
            let name = heard.topic.strip_prefix(&prefix)?;
            Quantity::from_name(name)?;
            Some((name.to_owned(), heard.payload.clone()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_value_arrives_as_it_is_at_every_quality_of_service() {
    // Mosquitto 2.0.11 forgets to go on with subscribers of quality 2 when more than these have waited.
    let broker = Mosquitto::with("allow_anonymous true\nmax_inflight_messages 1000");
    for (number, qos) in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
        .into_iter()
        .enumerate()
    {
        let listener = Listener::at(broker.port).await;
        let config = broker.config(&format!("qos = {number}"));
        let context = context(&["roof"], broker.folder.path());
        let running = Running::start(&config, &context);
        // What the topics hold: a value that stays the same is not published again.
        let mut held = BTreeMap::new();
        for (count, reading) in (1..).zip(readings("roof", 20)) {
            listener.forget();
            running.send(reading.clone());
            running.delivered(count).await;
            let expected = record(&reading);
            let mut values = expected.clone();
            values.remove("inverter");
            values.remove("time");
            listener
                .until("the reading is there", |heard| {
                    let mut held: BTreeMap<String, String> = held.clone();
                    held.extend(values_of(heard, "roof"));
                    values
                        .iter()
                        .all(|(name, value)| held.get(name) == Some(value))
                        && heard.iter().any(|heard| heard.topic == "kstar/roof/state")
                })
                .await;
            let heard = listener.heard();
            let told = values_of(&heard, "roof");
            assert!(
                told.iter()
                    .all(|(name, value)| values.get(name) == Some(value))
            );
            held.extend(told);
            let state = listener.on("kstar/roof/state");
            assert_eq!(record_of_line(&state[0]), expected);
            for message in heard.iter().filter(|heard| {
                !heard.retained
                    && heard.topic.starts_with("kstar/roof/")
                    && heard.topic != "kstar/roof/status"
            }) {
                assert_eq!(message.qos, qos, "{message:?}");
            }
        }
        running.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_json_message_of_a_reading_comes_before_its_topics() {
    let broker = Mosquitto::with("allow_anonymous true\nmax_inflight_messages 1000");
    let listener = Listener::at(broker.port).await;
    let config = broker.config("kstar_sharp_topics = true");
    let running = Running::start(&config, &context(&["roof"], broker.folder.path()));
    for (count, reading) in (1..).zip(readings("roof", 5)) {
        listener.forget();
        running.send(reading);
        running.delivered(count).await;
        listener.catch_up().await;
        let heard = listener.heard();
        let of_reading = |heard: &&Heard| {
            heard.topic.starts_with("kstar/roof/") && !heard.topic.ends_with("/status")
                || heard.topic.starts_with("sensor/inverter/")
        };
        let topics: Vec<&str> = heard
            .iter()
            .filter(of_reading)
            .map(|heard| heard.topic.as_str())
            .collect();
        assert_eq!(topics.first(), Some(&"kstar/roof/state"), "{topics:?}");
        assert!(topics.len() > 1, "{topics:?}");
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_and_statuses_are_retained_and_live_values_are_not() {
    let broker = Mosquitto::open();
    let config = broker.config("home_assistant.discovery = 'off'");
    let context = context(&["roof", "barn"], broker.folder.path());
    let running = Running::start(&config, &context);
    running.status("roof", Reachability::Online);
    running.send(full_reading("roof", 1_795_305_600_000));
    running.delivered(1).await;
    let kept = retained(broker.port).await;
    let counters = Quantity::ALL
        .iter()
        .filter(|quantity| quantity.description().kind == Kind::Counter)
        .map(|quantity| format!("kstar/roof/{quantity}"));
    let statuses = [
        "kstar/collector/kstar-test/status",
        "kstar/roof/status",
        "kstar/barn/status",
    ]
    .map(str::to_owned);
    let mut expected: Vec<String> = counters.chain(statuses).collect();
    expected.sort();
    assert_eq!(kept.keys().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(kept["kstar/collector/kstar-test/status"], "online");
    assert_eq!(kept["kstar/roof/status"], "online");
    assert_eq!(kept["kstar/barn/status"], "offline", "nobody has seen it");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_form_is_chosen_and_so_is_the_prefix() {
    let broker = Mosquitto::open();
    for (form, has_state, has_quantities) in [
        ("json", true, false),
        ("quantities", false, true),
        ("both", true, true),
    ] {
        let listener = Listener::at(broker.port).await;
        let config = broker.config(&format!("topics = '{form}'\nprefix = 'home/{form}'"));
        let running = Running::start(&config, &context(&["roof"], broker.folder.path()));
        running.send(full_reading("roof", 1));
        running.delivered(1).await;
        running.end().await;
        let status = format!("home/{form}/collector/kstar-test/status");
        listener.until_last(&status, "offline").await;
        let state = format!("home/{form}/roof/state");
        let power = format!("home/{form}/roof/pv_power");
        assert_eq!(!listener.on(&state).is_empty(), has_state, "{form}");
        assert_eq!(!listener.on(&power).is_empty(), has_quantities, "{form}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topics_of_kstar_sharp_come_once_each_live_and_with_its_own_quality() {
    let broker = Mosquitto::open();
    let listener = Listener::at(broker.port).await;
    let config = broker.config("qos = 0\nkstar_sharp_topics = true");
    let running = Running::start(&config, &context(&["roof"], broker.folder.path()));
    let reading = full_reading("roof", 1);
    running.send(reading);
    running.delivered(1).await;
    running.end().await;
    listener
        .until_last("kstar/collector/kstar-test/status", "offline")
        .await;
    let theirs: Vec<Heard> = listener
        .heard()
        .into_iter()
        .filter(|heard| heard.topic.starts_with("sensor/"))
        .collect();
    let topics: Vec<&str> = theirs.iter().map(|heard| &*heard.topic).collect();
    assert_eq!(
        topics,
        [
            "pvpower",
            "grid",
            "grid/import",
            "grid/export",
            "load",
            "temp",
            "etoday"
        ]
        .map(|name| format!("sensor/inverter/{name}"))
    );
    assert!(theirs.iter().all(|heard| heard.qos == QoS::AtLeastOnce));
    let kept = retained(broker.port).await;
    assert!(!kept.keys().any(|topic| topic.starts_with("sensor/")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_leaves_offline_and_so_does_a_kill() {
    let broker = Mosquitto::open();
    let config = broker.config("");
    let context = context(&["roof"], broker.folder.path());
    let listener = Listener::at(broker.port).await;
    let (collector, roof) = ("kstar/collector/kstar-test/status", "kstar/roof/status");

    let running = Running::start(&config, &context);
    running.status("roof", Reachability::Online);
    listener.until_last(roof, "online").await;
    assert_eq!(listener.on(collector), ["online"]);
    running.status("roof", Reachability::Silent);
    listener.until_last(roof, "offline").await;
    running.status("roof", Reachability::Online);
    listener.until_last(roof, "online").await;
    running.end().await;
    let kept = retained(broker.port).await;
    assert_eq!((&*kept[collector], &*kept[roof]), ("offline", "offline"));

    let running = Running::start(&config, &context);
    running.status("roof", Reachability::Online);
    listener.until_last(collector, "online").await;
    running.kill().await;
    listener.until_last(collector, "offline").await;
    assert_eq!(retained(broker.port).await[collector], "offline");
}
