//! Sinks that cannot be opened, or not yet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use kstar_common::hold::Hold;
use kstar_common::worker::Worker;

use super::*;
use crate::delivery::SpoolBounds;

/// How often a sink was opened, and the sink itself once it may be.
#[derive(Clone, Default)]
struct Door {
    tries: Arc<AtomicUsize>,
    is_locked: Arc<Mutex<Option<String>>>,
    log: Log,
}

impl Door {
    fn locked(reason: &str) -> Self {
        let door = Self::default();
        door.lock(Some(reason));
        door
    }

    fn lock(&self, reason: Option<&str>) {
        *self.is_locked.lock().unwrap() = reason.map(str::to_owned);
    }

    fn tries(&self) -> usize {
        self.tries.load(Ordering::SeqCst)
    }

    fn opener(&self) -> Opener {
        let door = self.clone();
        Arc::new(move || {
            door.tries.fetch_add(1, Ordering::SeqCst);
            match door.is_locked.lock().unwrap().clone() {
                Some(reason) => Err(Unavailable(reason)),
                None => Ok(Box::new(Scripted {
                    script: |_: &[i64]| Take,
                    log: Arc::clone(&door.log),
                })),
            }
        })
    }

    fn start(&self, policy: Policy, more: impl FnOnce(Driver) -> Driver) -> Fixture {
        start_opening(self.opener(), Arc::clone(&self.log), policy, more)
    }
}

fn start_opening(
    opener: Opener,
    log: Log,
    policy: Policy,
    more: impl FnOnce(Driver) -> Driver,
) -> Fixture {
    let health = Arc::new(Health::new("scripted"));
    let driver = more(Driver::opening(opener, policy, Arc::clone(&health)));
    run(driver, health, log)
}

fn delivered(log: &Log) -> Vec<i64> {
    let log = log.lock().unwrap();
    let batches = log.iter().filter_map(|(_, given)| match given {
        Given::Batch(times) => Some(times.clone()),
        _ => None,
    });
    batches.flatten().collect()
}

fn down(fixture: &Fixture) -> Option<String> {
    match fixture.health.snapshot().state {
        State::Down { reason } => Some(reason),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_cannot_be_opened_is_down_and_tried_again_and_nothing_is_lost() {
    let door = Door::locked("the disk is not mounted");
    let fixture = door.start(policy(), |driver| driver);
    fixture.send(0..3);
    settle().await;
    assert_eq!(down(&fixture).as_deref(), Some("the disk is not mounted"));
    fixture.send(3..5);
    sleep(Duration::from_secs(3600)).await;
    // As after a failed delivery: half a second, doubled up to a minute.
    assert!((60..100).contains(&door.tries()), "{}", door.tries());
    assert_eq!(fixture.counts().queued, 5);
    door.lock(None);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(delivered(&door.log), [0, 1, 2, 3, 4]);
    assert_eq!(fixture.health.snapshot().state, State::Up);
    let tries = door.tries();
    let (_, counts) = fixture.drain().await;
    assert_eq!((counts.delivered, counts.dropped), (5, 0));
    assert_eq!(door.tries(), tries, "once open it is not opened again");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_open_again_is_not_down_although_nothing_comes() {
    let door = Door::locked("locked");
    let fixture = door.start(policy(), |driver| driver);
    settle().await;
    assert_eq!(down(&fixture).as_deref(), Some("locked"));
    door.lock(None);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.health.snapshot().state, State::Opening);
}

#[tokio::test(start_paused = true)]
async fn what_comes_for_a_sink_that_is_not_open_waits_on_disk_if_it_has_a_spool() {
    let folder = tempfile::tempdir().unwrap();
    let spool = || Spool::new(folder.path(), "scripted", SpoolBounds::default());
    let door = Door::locked("not mounted");
    let fixture = door.start(policy(), |driver| {
        driver.with_spool(spool(), Duration::from_secs(5))
    });
    fixture.send(0..3);
    sleep(Duration::from_millis(1100)).await;
    assert_eq!((fixture.counts().queued, fixture.counts().spooled), (3, 3));
    fixture.send(3..5);
    settle().await;
    let stopped = Instant::now();
    let (_, counts) = fixture.drain().await;
    assert!(stopped.elapsed() < Duration::from_millis(10));
    assert_eq!((counts.queued, counts.spooled), (5, 5));

    door.lock(None);
    let fixture = door.start(policy(), |driver| {
        driver.with_spool(spool(), Duration::from_secs(5))
    });
    let (_, counts) = fixture.drain().await;
    assert_eq!(counts.delivered, 5);
    assert_eq!(delivered(&door.log), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_what_cannot_be_opened_is_tried_for_readings_only() {
    let door = Door::locked("locked");
    let fixture = door.start(policy(), |driver| driver);
    fixture.send_status("a", Reachability::Online);
    settle().await;
    let stopped = Instant::now();
    fixture.drain().await;
    assert!(stopped.elapsed() <= LONGEST_DELAY_AT_STOP);

    let fixture = door.start(policy(), |driver| driver);
    fixture.send([1]);
    settle().await;
    let opens = async {
        sleep(Duration::from_secs(3)).await;
        door.lock(None);
    };
    let ((_, counts), ()) = tokio::join!(fixture.drain(), opens);
    assert_eq!((counts.delivered, counts.queued), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_sink_that_is_not_open_is_handed_over() {
    let door = Door::locked("locked");
    let (events, receiver) = broadcast::channel(64);
    let (stop, stopped) = oneshot::channel();
    let health = Arc::new(Health::new("scripted"));
    let driver = Driver::opening(door.opener(), policy(), health);
    let stopped = async { stopped.await.expect("an order") };
    let driver = tokio::spawn(driver.run_until(receiver, stopped));
    for time in 0..3 {
        events.send(Event::Reading(reading("a", time))).unwrap();
    }
    settle().await;
    stop.send(Parting::HandOver).unwrap();
    let (_, handover) = driver.await.unwrap();
    let waiting = handover.unwrap().waiting;
    assert_eq!(waiting.times(), [0, 1, 2]);
}

/// The paused clock stands still while a thread is at work, so these wait for what happens and not for a time.
async fn until(what: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(30), async {
        while !what() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it happens");
}

#[tokio::test]
async fn what_takes_long_to_open_is_down_and_is_never_opened_twice_at_a_time() {
    let (release, gate) = mpsc::channel::<()>();
    let (gate, door) = (Mutex::new(gate), Door::default());
    let open = door.opener();
    let opener: Opener = Arc::new(move || {
        gate.lock().unwrap().recv().expect("released");
        open()
    });
    let short = Policy {
        timeout: Duration::from_millis(20),
        ..policy()
    };
    let fixture = start_opening(opener, Arc::clone(&door.log), short, |driver| driver);
    fixture.send(0..3);
    until(|| down(&fixture).is_some_and(|reason| reason.contains("opening it takes long"))).await;
    sleep(Duration::from_millis(100)).await;
    release.send(()).unwrap();
    until(|| delivered(&door.log) == [0, 1, 2]).await;
    assert_eq!(door.tries(), 1);
}

/// A sink whose thread is busy until it is released.
struct Busy {
    worker: Worker<mpsc::Receiver<()>>,
}

#[async_trait]
impl Sink for Busy {
    async fn deliver(&mut self, _: &Batch<'_>) -> Result<(), DeliveryError> {
        let written = self.worker.call(|gate| gate.recv()).await;
        written
            .map(drop)
            .map_err(|error| DeliveryError::unreachable(error.to_string()))
    }

    fn hold(&self, hold: Hold) {
        self.worker.hold(hold);
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_sink_is_opened_when_the_thread_of_the_one_that_was_cut_off_has_ended() {
    let holds = Holds::default();
    let (release, gate) = mpsc::channel();
    let gate = Mutex::new(Some(gate));
    let first = start_opening(
        Arc::new(move || {
            let gate = gate.lock().unwrap().take().unwrap();
            let worker = Worker::start("busy", gate, None).unwrap();
            Ok(Box::new(Busy { worker }))
        }),
        Log::default(),
        policy(),
        |driver| driver.with_holds(holds.clone()),
    );
    first.send([1]);
    until(|| first.counts().taken == 1).await;
    sleep(Duration::from_millis(20)).await;
    first.driver.abort();
    assert!(first.driver.await.unwrap_err().is_cancelled());

    let door = Door::default();
    let short = Policy {
        timeout: Duration::from_millis(20),
        ..policy()
    };
    let second = door.start(short, |driver| driver.with_holds(holds.clone()));
    second.send([2]);
    until(|| down(&second).is_some_and(|reason| reason.contains("still writes"))).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(door.tries(), 0);
    // One that is cut off while it waits is not in the way of the next.
    second.driver.abort();
    let third = door.start(policy(), |driver| driver.with_holds(holds));
    third.send([3]);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(door.tries(), 0);
    release.send(()).unwrap();
    until(|| delivered(&door.log) == [3]).await;
    assert_eq!(door.tries(), 1);
}
