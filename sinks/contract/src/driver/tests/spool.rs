//! With a spool. Its file is a real one: the paused clock stands still while a thread is at work on it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::delivery::SpoolBounds;

/// How long the driver may deliver after the end of the channel.
const DRAINING: Duration = Duration::from_secs(5);

fn spooled(folder: &Path, script: impl FnMut(&[i64]) -> Reaction + Send + 'static) -> Fixture {
    spooled_as(folder, policy(), script)
}

fn spooled_as(
    folder: &Path,
    policy: Policy,
    script: impl FnMut(&[i64]) -> Reaction + Send + 'static,
) -> Fixture {
    let spool = Spool::new(folder, "scripted", SpoolBounds::default());
    start_as(policy, script, |driver| driver.with_spool(spool, DRAINING))
}

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

fn files(folder: &TempDir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

async fn millis(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}

fn away_for(seconds: u64) -> Reaction {
    Fail(DeliveryError::Unreachable {
        reason: "away".to_owned(),
        retry_after: Some(Duration::from_secs(seconds)),
    })
}

/// The times of each batch that the sink was given.
fn batches(log: &[(Instant, Given)]) -> Vec<Vec<i64>> {
    given(log)
        .into_iter()
        .filter_map(|given| match given {
            Given::Batch(times) => Some(times),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_well_has_no_file() {
    let folder = folder();
    let fixture = spooled(folder.path(), |_| TakeAfter(Duration::from_millis(900)));
    for time in 0..50 {
        fixture.send([time]);
        sleep(Duration::from_secs(5)).await;
        assert!(files(&folder).is_empty(), "{:?}", files(&folder));
    }
    let (_, counts) = fixture.drain().await;
    assert_eq!((counts.delivered, counts.spooled), (50, 0));
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[tokio::test(start_paused = true)]
async fn a_busy_sink_that_is_well_has_no_file_either() {
    let folder = folder();
    let fixture = spooled(folder.path(), |_| TakeAfter(Duration::from_millis(300)));
    for time in 0..100 {
        // There is always something that waits, but never the same for long.
        fixture.send([time]);
        millis(50).await;
        assert!(files(&folder).is_empty(), "{:?}", files(&folder));
    }
    assert_eq!(fixture.drain().await.1.delivered, 100);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_second_is_on_disk() {
    let folder = folder();
    let fixture = spooled(folder.path(), |_| Hang);
    fixture.send([1, 2]);
    millis(500).await;
    fixture.send([3]);
    millis(490).await;
    assert_eq!((fixture.counts().queued, fixture.counts().spooled), (3, 0));
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
    millis(20).await;
    assert_eq!((fixture.counts().queued, fixture.counts().spooled), (3, 3));
    millis(3000).await;
    fixture.send([4]);
    millis(990).await;
    assert_eq!((fixture.counts().queued, fixture.counts().spooled), (4, 3));
    millis(20).await;
    assert_eq!((fixture.counts().queued, fixture.counts().spooled), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn more_readings_in_a_second_than_memory_holds_are_on_disk_sooner() {
    let folder = folder();
    let small = Policy {
        queue: NonZeroUsize::new(20).unwrap(),
        ..policy()
    };
    let fixture = spooled_as(folder.path(), small, |_| Hang);
    for time in 0..200 {
        fixture.send([time]);
        millis(1).await;
    }
    let counts = fixture.counts();
    assert_eq!((counts.taken, counts.queued, counts.dropped), (200, 200, 0));
    assert!(counts.spooled >= 190, "{counts}");
}

#[tokio::test(start_paused = true)]
async fn what_is_on_disk_outlives_the_driver_and_comes_in_order() {
    let folder = folder();
    let fixture = spooled(folder.path(), |_| Hang);
    fixture.send(0..25);
    millis(1010).await;
    fixture.driver.abort();
    assert!(fixture.driver.await.unwrap_err().is_cancelled());

    let fixture = spooled(folder.path(), first([]));
    settle().await;
    let (log, counts) = fixture.drain().await;
    assert_eq!(batches(&log).concat(), (0..25).collect::<Vec<_>>());
    assert_eq!(
        (counts.delivered, counts.queued, counts.spooled),
        (25, 0, 0)
    );
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[tokio::test(start_paused = true)]
async fn a_late_yes_to_what_went_to_disk_meanwhile_settles_it() {
    let folder = folder();
    let fixture = spooled(folder.path(), |_| TakeAfter(Duration::from_secs(3)));
    fixture.send([1]);
    millis(500).await;
    fixture.send([2]);
    millis(1000).await;
    assert_eq!((fixture.counts().queued, fixture.counts().spooled), (2, 2));
    millis(2000).await;
    let counts = fixture.counts();
    assert_eq!((counts.delivered, counts.queued), (1, 1));
    let (log, counts) = fixture.drain().await;
    assert_eq!(batches(&log), [vec![1], vec![2]]);
    assert_eq!((counts.delivered, counts.queued), (2, 0));
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[tokio::test(start_paused = true)]
async fn new_readings_go_first_and_the_backlog_between_them_oldest_first() {
    let folder = folder();
    let mut answers = VecDeque::from([away_for(10)]);
    let fixture = spooled(folder.path(), move |_| {
        let slow = TakeAfter(Duration::from_millis(400));
        answers.pop_front().unwrap_or(slow)
    });
    fixture.send(0..35);
    millis(9500).await;
    assert_eq!(
        (fixture.counts().queued, fixture.counts().spooled),
        (35, 35)
    );
    fixture.send([100, 101]);
    millis(700).await;
    fixture.send([102]);
    millis(400).await;
    fixture.send([103]);
    let (log, counts) = fixture.drain().await;
    assert_eq!(
        batches(&log),
        [
            (0..10).collect(),
            vec![100, 101],
            (0..10).collect(),
            vec![102, 103],
            (10..20).collect(),
            (20..30).collect(),
            (30..35).collect(),
        ]
    );
    assert_eq!((counts.delivered, counts.queued), (39, 0));
}

#[tokio::test(start_paused = true)]
async fn a_bad_reading_in_the_backlog_is_found_and_slows_no_new_ones() {
    let folder = folder();
    let mut is_away = true;
    let fixture = spooled(folder.path(), move |times| {
        if std::mem::take(&mut is_away) {
            return away_for(3);
        }
        if times.contains(&7) {
            return Fail(DeliveryError::rejected("nonsense"));
        }
        Take
    });
    fixture.send(0..20);
    millis(2500).await;
    fixture.send(100..120);
    millis(1500).await;
    let (log, counts) = fixture.drain().await;
    let mut taken: Vec<i64> = batches(&log)[1..]
        .iter()
        .filter(|batch| !batch.contains(&7))
        .flatten()
        .copied()
        .collect();
    taken.sort_unstable();
    let expected: Vec<i64> = (0..20).chain(100..120).filter(|time| *time != 7).collect();
    assert_eq!(taken, expected);
    assert_eq!((counts.delivered, counts.rejected), (39, 1));
    let live = batches(&log)
        .into_iter()
        .filter(|batch| batch.first() >= Some(&100));
    assert_eq!(
        live.map(|batch| batch.len()).collect::<Vec<_>>(),
        [10, 10],
        "the live lane is not halved for the other's sake"
    );
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_what_cannot_be_delivered_stays_on_disk_and_costs_no_time() {
    for hangs in [false, true] {
        let folder = folder();
        let fixture = spooled(folder.path(), move |_| if hangs { Hang } else { away() });
        fixture.send(0..15);
        // The first time-out is over, and the second try hangs or waits.
        millis(6000).await;
        fixture.send([15, 16]);
        settle().await;
        let stopped = Instant::now();
        let (_, counts) = fixture.drain().await;
        assert!(stopped.elapsed() < Duration::from_millis(10));
        assert_eq!((counts.queued, counts.spooled), (17, 17));
        assert_eq!(counts.dropped, 0);

        let fixture = spooled(folder.path(), first([]));
        let (log, counts) = fixture.drain().await;
        assert_eq!(batches(&log).concat(), (0..17).collect::<Vec<_>>());
        assert_eq!(counts.delivered, 17);
    }
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_a_far_side_that_takes_is_given_its_time_and_the_rest_stays_on_disk() {
    let folder = folder();
    let fixture = spooled(folder.path(), |_| Hang);
    fixture.send(0..60);
    millis(1500).await;
    fixture.driver.abort();
    assert!(fixture.driver.await.unwrap_err().is_cancelled());

    let fixture = spooled(folder.path(), |_| TakeAfter(Duration::from_secs(2)));
    settle().await;
    let stopped = Instant::now();
    let (_, counts) = fixture.drain().await;
    let took = stopped.elapsed();
    assert!(
        (DRAINING..DRAINING + Duration::from_millis(10)).contains(&took),
        "{took:?}"
    );
    // The third was under way: the server may have it, and gets it again.
    assert_eq!(
        (counts.delivered, counts.spooled, counts.queued),
        (20, 40, 40)
    );

    let (log, _) = spooled(folder.path(), first([])).drain().await;
    assert_eq!(batches(&log).concat(), (20..60).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn without_its_disk_readings_wait_in_memory_until_there_is_one_again() {
    let folder = folder();
    let place = folder.path().join("disk");
    let small = Policy {
        queue: NonZeroUsize::new(10).unwrap(),
        ..policy()
    };
    let fixture = spooled_as(&place, small, |_| Hang);
    settle().await;
    std::fs::remove_dir(&place).unwrap();
    fixture.send(0..10);
    settle().await;
    fixture.send(10..15);
    millis(2500).await;
    let counts = fixture.counts();
    assert_eq!(
        (counts.queued, counts.spooled, counts.dropped),
        (15, 0, 0),
        "ten are under way"
    );
    fixture.send(15..22);
    millis(2500).await;
    let counts = fixture.counts();
    assert_eq!(
        (counts.queued, counts.spooled, counts.dropped),
        (20, 0, 2),
        "ten that were under way, and the newest ten"
    );
    std::fs::create_dir(&place).unwrap();
    millis(1010).await;
    assert_eq!(
        (fixture.counts().queued, fixture.counts().spooled),
        (20, 20)
    );
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_without_its_disk_the_far_side_is_tried_on() {
    let folder = folder();
    let place = folder.path().join("disk");
    let fixture = spooled(&place, first([away(), away(), away(), away()]));
    settle().await;
    std::fs::remove_dir(&place).unwrap();
    fixture.send([1, 2]);
    settle().await;
    let (log, counts) = fixture.drain().await;
    assert_eq!(batches(&log).last(), Some(&vec![1, 2]));
    assert_eq!((counts.delivered, counts.queued), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_far_side_that_ends_in_order_leaves_what_it_did_not_take_on_disk() {
    let folder = folder();
    let fixture = spooled(folder.path(), first([Fail(DeliveryError::Closed)]));
    fixture.send([1]);
    assert_eq!(fixture.driver.await.unwrap(), Ended::FarSideClosed);
    assert_eq!(fixture.health.snapshot().counts.spooled, 1);
}
