//! A sink that takes the place of another of the same section: nobody notices.

use std::sync::Arc;

use kstar_model::reading::Inverter;
use kstar_sink::event::{InverterStatus, Reachability};
use kstar_sink::sink::{Batch, SinkConfig};
use kstar_sink::testing::full_reading;

use super::world::{Listener, Mosquitto, Running, context, retained};

const COLLECTOR: &str = "kstar/collector/kstar-test/status";
const ROOF: &str = "kstar/roof/status";
const BARN: &str = "kstar/barn/status";

/// 2026-11-22T00:00:00Z.
const BEGIN: i64 = 1_795_305_600_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_follows_goes_on_with_what_was_known() {
    let broker = Mosquitto::open();
    let listener = Listener::at(broker.port).await;
    let config = broker.config("");
    let both = context(&["barn", "roof"], broker.folder.path());
    let mut sink = config.open(&both).unwrap();
    for name in ["barn", "roof"] {
        let online = InverterStatus::new(Inverter::named(name), Reachability::Online);
        sink.status(&online).await.unwrap();
        let batch = [full_reading(name, BEGIN)];
        sink.deliver(&Batch::new(&batch)).await.unwrap();
    }
    listener.until_last(ROOF, "online").await;
    listener.until_last(BARN, "online").await;
    let legacy = sink.hand_over().await.unwrap().unwrap();
    listener.catch_up().await;
    listener.forget();
    let one = context(&["roof"], broker.folder.path());
    let mut follows = config.open(&one).unwrap();
    follows.follow(legacy);
    let running = Running::of(follows, &config);
    running.status("roof", Reachability::Online);
    // What is known is told before anything new comes, and who is gone is cleared.
    listener.until_last(COLLECTOR, "online").await;
    listener.until_last(BARN, "").await;
    assert!(!listener.on(ROOF).contains(&"offline".to_owned()));
    assert!(!listener.on(COLLECTOR).contains(&"offline".to_owned()));
    assert_eq!(listener.on("kstar/roof/pv_power").len(), 1);
    assert!(listener.on("kstar/barn/pv_power").is_empty());
    let log = broker.log();
    assert!(!log.contains("already connected"), "{log}");
    running.send(Arc::clone(&full_reading("roof", BEGIN + 1000)));
    running.delivered(1).await;
    running.end().await;
    assert_eq!(retained(broker.port).await[ROOF], "offline");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_none_follows_the_broker_tells_that_the_collector_is_offline() {
    let broker = Mosquitto::open();
    let listener = Listener::at(broker.port).await;
    let context = context(&["roof"], broker.folder.path());
    let mut sink = broker.config("").open(&context).unwrap();
    let batch = [full_reading("roof", BEGIN)];
    sink.deliver(&Batch::new(&batch)).await.unwrap();
    listener.until_last(COLLECTOR, "online").await;
    let legacy = sink.hand_over().await.unwrap();
    listener.catch_up().await;
    assert!(!listener.on(COLLECTOR).contains(&"offline".to_owned()));
    drop(legacy);
    listener.until_last(COLLECTOR, "offline").await;
}
