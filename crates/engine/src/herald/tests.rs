use std::time::SystemTime;

use kstar_common::tariff::{Band, Day, TimeOfDay};
use kstar_sink::health::Health;
use tokio::time::Instant;

use super::*;

fn facts(sinks: &[&'static str], tariffs: Vec<Tariff>) -> Facts {
    Facts {
        version: "1.2.3",
        listen: None,
        sinks: sinks.iter().copied().collect(),
        tariffs,
        zone: kstar_common::zone::named("Europe/Berlin").expect("a zone"),
    }
}

fn time(text: &str) -> TimeOfDay {
    TimeOfDay(text.parse().expect("a time"))
}

/// Cheaper from two to three at night.
fn night(since: Option<&str>) -> Tariff {
    Tariff {
        since: since.map(|day| Day(day.parse().expect("a day"))),
        currency: "EUR".to_owned(),
        price: 0.32,
        feed_in: 0.08,
        times: vec![Band {
            from: time("02:00"),
            to: time("03:00"),
            price: 0.2,
            weekdays: kstar_common::tariff::DayOfWeek::ALL.to_vec(),
        }],
    }
}

fn price_at(tariffs: &[Tariff], utc: &str) -> Option<f64> {
    let at: Timestamp = utc.parse().expect("a time");
    let now = Some(UnixMillis(at.as_millisecond()));
    let price = present_price(&facts(&[], tariffs.to_vec()), now).expect("the time is known");
    price.0.map(|rates| rates.price)
}

#[test]
fn a_price_holds_from_the_very_minute_also_on_days_that_are_longer() {
    let tariffs = [night(Some("2026-10-25"))];
    for (utc, price) in [
        ("2026-10-24T21:59:59.999Z", None),
        ("2026-10-24T22:00:00Z", Some(0.32)),
        // From two to three, twice in that night.
        ("2026-10-24T23:59:59.999Z", Some(0.32)),
        ("2026-10-25T00:00:00Z", Some(0.2)),
        ("2026-10-25T01:59:59.999Z", Some(0.2)),
        ("2026-10-25T02:00:00Z", Some(0.32)),
        ("2026-10-26T01:00:00Z", Some(0.2)),
    ] {
        assert_eq!(price_at(&tariffs, utc), price, "{utc}");
    }
}

#[test]
fn without_a_tariff_there_is_no_price_and_while_the_clock_is_not_set_nobody_knows_it() {
    assert_eq!(
        present_price(&facts(&[], Vec::new()), None),
        Some(Price(None))
    );
    assert_eq!(present_price(&facts(&[], vec![night(None)]), None), None);
}

#[test]
fn a_page_has_an_address_where_others_than_this_machine_reach_it() {
    let page = |listen: &str| page(listen.parse().expect("an address"));
    assert_eq!(page("127.0.0.1:8099"), None);
    assert_eq!(page("[::1]:8099"), None);
    let there = Some("http://192.168.1.5:8099/".to_owned());
    assert_eq!(page("192.168.1.5:8099"), there);
    assert_eq!(
        page("[fd00::5]:8099"),
        Some("http://[fd00::5]:8099/".to_owned())
    );
    // Whatever the machine has; one without a network has none.
    if let Some(address) = page("0.0.0.0:8099") {
        assert!(address.ends_with(":8099/") && !address.contains("0.0.0.0"));
    }
}

/// Between two minutes, and long before any price changes.
fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn told(events: &mut broadcast::Receiver<Event>) -> Vec<BTreeMap<&'static str, State>> {
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Collector(status) = event {
            told.push(status.sinks.clone());
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn changes_of_health_are_told_at_most_once_a_second_and_only_if_something_is_new() {
    let (board, clock) = (Arc::new(Board::default()), WallClock(noon));
    let (sender, mut events) = broadcast::channel(16);
    let health = Arc::new(Health::new("mqtt").telling(board.changed()));
    board.put_sink(health.clone());
    let facts = facts(&["mqtt", "sqlite"], Vec::new());
    let herald = tokio::spawn(run(facts, clock, board.clone(), sender.downgrade()));
    sleep(Duration::from_millis(1)).await;
    let down = |reason: &str| State::Down {
        reason: reason.to_owned(),
    };
    let opening = BTreeMap::from([("mqtt", State::Opening), ("sqlite", State::Opening)]);
    assert_eq!(told(&mut events), [opening]);
    for reason in ["one", "two", "three"] {
        health.broken(reason);
    }
    sleep(PAUSE).await;
    let now = BTreeMap::from([("mqtt", down("three")), ("sqlite", State::Opening)]);
    assert_eq!(told(&mut events), std::slice::from_ref(&now));
    // There and back within the second.
    health.broken("four");
    health.broken("three");
    // Taken down to be replaced: as it was.
    board.take_sink("mqtt");
    sleep(MINUTE * 5).await;
    assert_eq!(told(&mut events), []);
    let kept = board.told().collector.map(|status| status.sinks.clone());
    assert_eq!(kept, Some(now));
    let begin = Instant::now();
    drop(sender);
    herald.await.expect("it ends with the channel");
    assert!(begin.elapsed() <= MINUTE);
}
