//! From one driver to the next: nothing is lost between the two, and nothing comes twice.

use tokio::task::JoinHandle;

use super::*;
use crate::delivery::SpoolBounds;

struct First {
    events: broadcast::Sender<Event>,
    stop: oneshot::Sender<Parting>,
    health: Arc<Health>,
    log: Log,
    driver: JoinHandle<(Ended, Option<Handover>)>,
}

fn driver(
    script: impl FnMut(&[i64]) -> Reaction + Send + 'static,
    policy: Policy,
) -> (Driver, Arc<Health>, Log) {
    let health = Arc::new(Health::new("scripted"));
    let log = Log::default();
    let sink = Scripted {
        script,
        log: Arc::clone(&log),
    };
    let driver = Driver::new(Box::new(sink), policy, Arc::clone(&health));
    (driver, health, log)
}

fn start(
    script: impl FnMut(&[i64]) -> Reaction + Send + 'static,
    more: impl FnOnce(Driver) -> Driver,
) -> First {
    let (events, receiver) = broadcast::channel(64);
    let (stop, stopped) = oneshot::channel();
    let (driver, health, log) = driver(script, policy());
    let stopped = async { stopped.await.expect("an order") };
    First {
        events,
        stop,
        health,
        log,
        driver: tokio::spawn(more(driver).run_until(receiver, stopped)),
    }
}

fn send(events: &broadcast::Sender<Event>, times: impl IntoIterator<Item = i64>) {
    for time in times {
        events.send(Event::Reading(reading("a", time))).unwrap();
    }
}

fn times(log: &Log) -> Vec<i64> {
    let log = log.lock().unwrap();
    log.iter()
        .filter_map(|(_, given)| match given {
            Given::Batch(times) => Some(times.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

/// Runs the driver that follows until everything that was sent is delivered; gives what its sink was given.
async fn follow(handover: Handover, events: broadcast::Sender<Event>, policy: Policy) -> Vec<i64> {
    let (driver, health, log) = driver(super::first([]), policy);
    let driver = driver.with_waiting(handover.waiting);
    drop(events);
    let ended = driver.run(handover.events, std::future::pending()).await;
    assert_eq!(ended, Ended::Drained);
    let counts = health.snapshot().counts;
    assert_eq!(counts.taken, counts.delivered + counts.replaced);
    times(&log)
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_between_two_drivers_is_for_the_second_alone() {
    let first = start(super::first([]), |driver| driver);
    send(&first.events, 0..5);
    first.stop.send(Parting::HandOver).unwrap();
    let (ended, handover) = first.driver.await.unwrap();
    assert_eq!(ended, Ended::Drained);
    send(&first.events, 5..9);
    let before = times(&first.log);
    let after = follow(handover.unwrap(), first.events, policy()).await;
    assert_eq!([before, after].concat(), (0..9).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_a_far_side_that_is_away_has_not_taken_is_handed_over_without_a_wait() {
    let first = start(
        |_| Fail(DeliveryError::unreachable("away")),
        |driver| driver,
    );
    send(&first.events, 0..25);
    // Long enough for the waits between tries to be long.
    sleep(Duration::from_secs(60)).await;
    let begun = Instant::now();
    first.stop.send(Parting::HandOver).unwrap();
    let (_, handover) = first.driver.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(first.health.snapshot().counts.delivered, 0);
    let after = follow(handover.unwrap(), first.events, policy()).await;
    assert_eq!(after, (0..25).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_under_way_is_waited_for_and_not_repeated() {
    let first = start(|_| TakeAfter(Duration::from_secs(2)), |driver| driver);
    send(&first.events, 0..15);
    settle().await;
    first.stop.send(Parting::HandOver).unwrap();
    let (_, handover) = first.driver.await.unwrap();
    let before = times(&first.log);
    assert_eq!(before, (0..10).collect::<Vec<_>>(), "one batch");
    let after = follow(handover.unwrap(), first.events, policy()).await;
    assert_eq!(after, (10..15).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_handed_over_after_its_time_out() {
    let first = start(|_| Hang, |driver| driver);
    send(&first.events, 0..3);
    settle().await;
    first.stop.send(Parting::HandOver).unwrap();
    let (_, handover) = first.driver.await.unwrap();
    let after = follow(handover.unwrap(), first.events, policy()).await;
    assert_eq!(after, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_spool_keeps_what_waits_and_the_rest_goes_on_from_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let spool = || Spool::new(folder.path(), "scripted", SpoolBounds::default());
    let first = start(
        |_| Fail(DeliveryError::unreachable("away")),
        |driver| driver.with_spool(spool(), Duration::from_secs(5)),
    );
    send(&first.events, 0..12);
    settle().await;
    first.stop.send(Parting::HandOver).unwrap();
    let (_, handover) = first.driver.await.unwrap();
    let handover = handover.unwrap();
    assert!(handover.waiting.is_empty(), "{handover:?}");
    assert_eq!(first.health.snapshot().counts.spooled, 12);
    send(&first.events, 12..14);
    let (second, health, log) = driver(super::first([]), policy());
    let second = second.with_spool(spool(), Duration::from_secs(5));
    drop(first.events);
    second.run(handover.events, std::future::pending()).await;
    let mut after = times(&log);
    after.sort_unstable();
    assert_eq!(after, (0..14).collect::<Vec<_>>());
    assert_eq!(health.snapshot().counts.queued, 0);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_shows_the_present_takes_over_the_newest_and_tells_first_how_inverters_are() {
    let (events, receiver) = broadcast::channel(64);
    let newest = Policy {
        keep: Keep::NewestPerInverter,
        ..policy()
    };
    let (driver, health, log) = driver(super::first([]), newest);
    let status = InverterStatus::new(Inverter::named("a"), Reachability::Online);
    let mut before = Queue::new(Keep::Every, policy().queue);
    for (name, time) in [("a", 1), ("a", 2), ("b", 1)] {
        before.push(reading(name, time));
    }
    let driver = driver
        .with_waiting(before.leave())
        .with_statuses([Arc::new(status)]);
    drop::<broadcast::Sender<Event>>(events);
    driver.run(receiver, std::future::pending()).await;
    let given = given(&log.lock().unwrap());
    assert_eq!(
        given,
        [
            Given::Status("a".to_owned(), Reachability::Online),
            Given::Batch(vec![2, 1]),
            Given::Close
        ]
    );
    assert_eq!(health.snapshot().counts.replaced, 1);
}
