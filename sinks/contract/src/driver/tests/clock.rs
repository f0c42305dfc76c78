//! Readings of before the clock is set: shown at once where the present is shown, and dated before anybody stores them.

use kstar_model::time::UnixMillis;
use kstar_model::time::{ClockSet, Uptime};

use super::*;
use crate::delivery::SpoolBounds;

fn undated(inverter: &str, seconds: u64) -> Event {
    let uptime = Uptime(Duration::from_secs(seconds));
    Event::Undated(Arc::new(reading(inverter, 0).at(uptime)))
}

/// It was 100,000 when the machine had run for so many seconds.
fn clock(seconds: u64) -> Event {
    Event::Clock(ClockSet {
        uptime: Uptime(Duration::from_secs(seconds)),
        time: UnixMillis(100_000),
    })
}

impl Fixture {
    fn tell(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.events.send(event).unwrap();
        }
    }
}

fn stored(log: &[(Instant, Given)]) -> Vec<i64> {
    given(log)
        .into_iter()
        .filter_map(|given| match given {
            Given::Batch(times) => Some(times),
            _ => None,
        })
        .flatten()
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_stores_gets_what_has_waited_by_its_age_once_the_clock_is_set() {
    let fixture = start(policy(), first([]));
    fixture.tell([undated("a", 10), undated("b", 11), undated("a", 15)]);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(given(&fixture.log.lock().unwrap()), []);
    assert_eq!((fixture.counts().taken, fixture.counts().queued), (3, 3));
    fixture.tell([clock(20)]);
    fixture.send([100_000]);
    let (log, counts) = fixture.drain().await;
    assert_eq!(stored(&log), [90_000, 91_000, 95_000, 100_000]);
    assert_eq!((counts.taken, counts.delivered, counts.queued), (4, 4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_shows_the_present_gets_it_at_once_and_only_the_newest_after_an_outage() {
    let newest = Policy {
        keep: Keep::NewestPerInverter,
        ..policy()
    };
    let fixture = start(newest, first([Take, away()]));
    fixture.tell([undated("a", 10)]);
    settle().await;
    fixture.tell([undated("a", 15)]);
    settle().await;
    // The one that could not be shown is overtaken by two.
    fixture.tell([undated("a", 20), undated("a", 25), undated("b", 25)]);
    sleep(Duration::from_secs(10)).await;
    let shown =
        |inverter: &str, seconds| Given::Shown(inverter.to_owned(), Duration::from_secs(seconds));
    assert_eq!(
        given(&fixture.log.lock().unwrap()),
        [
            shown("a", 10),
            shown("a", 15),
            shown("a", 25),
            shown("b", 25)
        ]
    );
    let (_, counts) = fixture.drain().await;
    assert_eq!((counts.taken, counts.delivered, counts.replaced), (5, 3, 2));
    assert_eq!((counts.dropped, counts.queued), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_spool_what_waits_for_the_clock_is_lost_and_counted_at_a_stop_and_bounded_before()
{
    let small = Policy {
        queue: NonZeroUsize::new(2).unwrap(),
        ..policy()
    };
    let fixture = start(small, first([]));
    fixture.tell((0..5).map(|second| undated("a", second)));
    settle().await;
    assert_eq!((fixture.counts().dropped, fixture.counts().queued), (3, 2));
    let (log, counts) = fixture.drain().await;
    assert!(stored(&log).is_empty());
    assert_eq!((counts.taken, counts.dropped, counts.queued), (5, 5, 0));
}

#[tokio::test(start_paused = true)]
async fn with_a_spool_what_waits_for_the_clock_is_dated_by_the_next_driver() {
    let folder = tempfile::tempdir().unwrap();
    let spooled = || {
        let spool = Spool::new(folder.path(), "scripted", SpoolBounds::default());
        start_as(policy(), first([]), |driver| {
            driver.with_spool(spool, Duration::from_secs(5))
        })
    };
    let fixture = spooled();
    fixture.tell([undated("a", 10), undated("a", 15)]);
    let (log, counts) = fixture.drain().await;
    assert!(stored(&log).is_empty());
    assert_eq!((counts.dropped, counts.spooled), (0, 2));
    let fixture = spooled();
    fixture.tell([undated("a", 18), clock(20)]);
    fixture.send([100_000]);
    sleep(Duration::from_secs(10)).await;
    let (log, counts) = fixture.drain().await;
    let mut stored = stored(&log);
    stored.sort_unstable();
    assert_eq!(stored, [90_000, 95_000, 98_000, 100_000]);
    assert_eq!((counts.queued, counts.dropped), (0, 0));
}
