//! What a sink is told beside readings.

use std::collections::BTreeMap;

use super::*;
use crate::event::Rates;

fn collector(version: &'static str) -> Arc<CollectorStatus> {
    Arc::new(CollectorStatus {
        version,
        page: None,
        sinks: BTreeMap::new(),
    })
}

fn price(price: f64) -> Arc<Price> {
    Arc::new(Price(Some(Rates {
        currency: "EUR".to_owned(),
        price,
        feed_in: 0.0,
    })))
}

#[tokio::test(start_paused = true)]
async fn a_sink_is_told_first_what_is_known_and_then_the_newest_of_what_changes() {
    let known = |driver: Driver| driver.with_present(Some(collector("1")), Some(price(0.5)));
    let fixture = start_as(policy(), first([Take, Take, away(), Take]), known);
    settle().await;
    for version in ["2", "3"] {
        let event = Event::Collector(collector(version));
        fixture.events.send(event).unwrap();
    }
    settle().await;
    let event = Event::Collector(collector("4"));
    fixture.events.send(event).unwrap();
    let event = Event::Price(Arc::new(Price(None)));
    fixture.events.send(event).unwrap();
    sleep(Duration::from_secs(60)).await;
    let (log, counts) = fixture.drain().await;
    let expected = [
        Given::Collector("1"),
        Given::Price(Some("0.5".to_owned())),
        // Fails, and something newer has come when it would be told again.
        Given::Collector("3"),
        Given::Collector("4"),
        Given::Price(None),
        Given::Close,
    ];
    assert_eq!(given(&log), expected);
    assert_eq!((counts.taken, counts.delivered), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn at_the_end_nobody_waits_to_be_told() {
    let fixture = start(policy(), |_| away());
    fixture
        .events
        .send(Event::Collector(collector("1")))
        .unwrap();
    fixture.events.send(Event::Price(price(0.5))).unwrap();
    sleep(Duration::from_secs(600)).await;
    let begin = Instant::now();
    fixture.drain().await;
    assert!(begin.elapsed() <= LONGEST_DELAY_AT_STOP);
}
