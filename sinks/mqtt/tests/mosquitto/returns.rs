//! The order in which everything comes back: no old value is shown, and what is new is not missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kstar_sink::event::{CollectorStatus, Event, Price, Rates, Reachability};
use kstar_sink::health::State;
use kstar_sink::testing::full_reading;
use tokio::time::sleep;

use super::world::{Heard, Listener, Mosquitto, Running, context, retained};

const COLLECTOR: &str = "kstar/collector/kstar-test/status";
const ROOF: &str = "kstar/roof/status";
const STATE: &str = "kstar/roof/state";

/// 2026-11-22T00:00:00Z.
const BEGIN: i64 = 1_795_305_600_000;

/// What was heard of these, each as `TOPIC=PAYLOAD`, the state by its time.
fn order(heard: &[Heard]) -> Vec<String> {
    let wanted = heard.iter().filter(|heard| !heard.retained);
    wanted
        .filter_map(|heard| match heard.topic.as_str() {
            COLLECTOR => Some(format!("collector {}", heard.payload)),
            ROOF => Some(format!("roof {}", heard.payload)),
            STATE => {
                let line: serde_json::Value = serde_json::from_str(&heard.payload).unwrap();
                Some(format!("state {}", &line["time"].as_str().unwrap()[17..19]))
            }
            _ => None,
        })
        .collect()
}

async fn until_order(listener: &Listener, expected: &[&str]) {
    let what = format!("{expected:?}");
    listener
        .until(&what, |heard| order(heard).len() >= expected.len())
        .await;
    listener.catch_up().await;
    assert_eq!(order(&listener.heard()), expected);
}

fn second(second: i64) -> Arc<kstar_model::reading::Reading> {
    full_reading("roof", BEGIN + second * 1000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_start_an_inverter_is_there_with_its_first_reading_and_not_before() {
    let broker = Mosquitto::open();
    let context = context(&["roof"], broker.folder.path());
    let running = Running::start(&broker.config(""), &context);
    running.status("roof", Reachability::Online);
    running.send(second(1));
    running.delivered(1).await;
    // As after a kill: nobody takes leave.
    running.kill().await;
    let listener = Listener::at(broker.port).await;
    listener.until_last(COLLECTOR, "offline").await;
    listener.forget();
    let running = Running::start(&broker.config(""), &context);
    running.status("roof", Reachability::Silent);
    listener.until_last(COLLECTOR, "online").await;
    until_order(
        &listener,
        &["roof offline", "collector online", "roof offline"],
    )
    .await;
    listener.forget();
    running.status("roof", Reachability::Online);
    running.send(second(2));
    until_order(&listener, &["state 02", "roof online"]).await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_silence_the_reading_comes_before_the_inverter() {
    let broker = Mosquitto::open();
    let context = context(&["roof"], broker.folder.path());
    let running = Running::start(&broker.config(""), &context);
    running.send(second(1));
    running.status("roof", Reachability::Online);
    running.delivered(1).await;
    let listener = Listener::at(broker.port).await;
    listener.until_last(ROOF, "online").await;
    listener.forget();
    running.status("roof", Reachability::Silent);
    until_order(&listener, &["roof offline"]).await;
    // When the last one came is told then at the latest.
    let last = listener.on("kstar/roof/last_reading");
    assert_eq!(last.last().unwrap(), "2026-11-22T00:00:01.000Z");
    // In either order; the engine's is the first.
    for (number, is_reading_first) in (2..).zip([true, false]) {
        listener.forget();
        if is_reading_first {
            running.send(second(number));
            running.status("roof", Reachability::Online);
        } else {
            running.status("roof", Reachability::Online);
            sleep(Duration::from_millis(50)).await;
            running.send(second(number));
        }
        until_order(&listener, &[&format!("state 0{number}"), "roof online"]).await;
        running.status("roof", Reachability::Silent);
        listener.until_last(ROOF, "offline").await;
    }
    // One that answers, and whose readings are all rejected.
    running.status("roof", Reachability::Online);
    listener.until_last(ROOF, "online").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_back_hears_the_newest_reading_first() {
    let mut broker = Mosquitto::open();
    let context = context(&["roof"], broker.folder.path());
    let running = Running::start(&broker.config(""), &context);
    running.status("roof", Reachability::Online);
    running.send(second(1));
    let listener = Listener::at(broker.port).await;
    listener.until_last(ROOF, "online").await;
    broker.kill();
    running.send(second(2));
    running.down().await;
    listener.forget();
    broker.start();
    // Sooner than the session, which has failed more than once by now.
    listener.subscribed(2).await;
    listener.until_last(COLLECTOR, "online").await;
    let heard = order(&listener.heard());
    assert_eq!(heard[..3], ["state 02", "roof online", "collector online"]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_home_assistant_did_not_know_it_hears_again_and_only_once() {
    let broker = Mosquitto::open();
    let context = context(&["roof"], broker.folder.path());
    let listener = Listener::at(broker.port).await;
    let running = Running::start(&broker.config(""), &context);
    running.status("roof", Reachability::Online);
    running.send(second(1));
    let expected = ["collector online", "state 01", "roof online"];
    listener
        .until("the first", |heard| order(heard).len() >= 4)
        .await;
    assert_eq!(order(&listener.heard())[1..], expected);
    listener.forget();
    until_order(&listener, &["state 01"]).await;
    listener.forget();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(order(&listener.heard()), Vec::<String>::new());
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_tells_of_its_sinks_and_of_the_price_and_again_to_a_broker_that_forgot() {
    let mut broker = Mosquitto::open();
    let context = context(&["roof"], broker.folder.path());
    let running = Running::start(&broker.config(""), &context);
    let down = State::Down {
        reason: "no route".to_owned(),
    };
    running.event(Event::Collector(Arc::new(CollectorStatus {
        version: "0.0.0",
        page: None,
        sinks: BTreeMap::from([("influxdb", down), ("mqtt", State::Opening)]),
    })));
    let rates = Rates {
        currency: "EUR".to_owned(),
        price: 0.325,
        feed_in: 0.08,
    };
    running.event(Event::Price(Arc::new(Price(Some(rates)))));
    let topic = |name: &str| format!("kstar/collector/kstar-test/{name}");
    let (sinks, price, feed_in) = (topic("sinks"), topic("price"), topic("feed_in_price"));
    for restart in [false, true] {
        if restart {
            broker.kill();
            broker.start();
        }
        let listener = Listener::at(broker.port).await;
        listener.until_last(&price, "0.325").await;
        listener.until_last(&feed_in, "0.08").await;
        let told = r#"{"influxdb":{"state":"down","reason":"no route"},"mqtt":{"state":"up"}}"#;
        listener.until_last(&sinks, told).await;
        listener
            .until("its device", |heard| {
                heard.iter().any(|heard| {
                    heard.topic == "homeassistant/device/kstar-collector_kstar-test/config"
                })
            })
            .await;
    }
    running.event(Event::Price(Arc::new(Price(None))));
    let listener = Listener::at(broker.port).await;
    listener.until_last(&price, "").await;
    let kept = retained(broker.port).await;
    assert!(kept.contains_key(&sinks));
    assert!(!kept.contains_key(&price) && !kept.contains_key(&feed_in));
    running.end().await;
}
