use kstar_engine::collector::Collector;
use kstar_engine::pipeline::gate::GateSettings;
use kstar_engine::pipeline::ledger::Account;
use kstar_engine::pipeline::ledger::file::LedgerFile;
use kstar_engine::pipeline::ledger::keeper::{Closing, Keeper, Remembered};
use kstar_engine::pipeline::meter::MeterSettings;
use kstar_engine::pipeline::stamp::WallClock;
use kstar_engine::pipeline::untold::Untold;
use kstar_engine::unit::InverterPlan;
use kstar_engine::unit::{Metering, SinkPlan};
use kstar_model::TimeZone;
use kstar_model::catalogue::Values;
use kstar_model::counted::MAX_GAP;
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_sink::async_trait;
use kstar_sink::delivery::{DeliverySettings, Keep};
use kstar_sink::event::{Event, Nameplate};
use kstar_sink::sink::{Batch, DeliveryError, Sink};
use kstar_source::exchange::Patience;
use kstar_source::source::{AnySource, Context, Target};
use kstar_source_aa55::Aa55Config;
use tokio::time::{advance, sleep};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn reading() -> Arc<Reading> {
    Arc::new(Reading {
        time: UnixMillis(0),
        inverter: Inverter::named("roof"),
        values: Values::default(),
        counted: None,
    })
}

/// A board with one inverter.
pub(crate) fn board() -> (Arc<Board>, Arc<InverterEntry>) {
    let board = Arc::new(Board::default());
    let source = AnySource::new(Aa55Config::default());
    let entry = Arc::new(InverterEntry::new(&InverterPlan {
        name: "roof".into(),
        nameplate: Nameplate::default(),
        source,
        context: Context {
            target: Target::Discovered {
                greeted: Vec::new(),
            },
            patience: Patience {
                tries: 3,
                timeout: Duration::from_secs(2),
            },
            interval: Duration::from_secs(5),
            fast: false,
        },
        gate: GateSettings::default(),
    }));
    board.put_inverter(entry.clone());
    (board, entry)
}

/// Polls in vain for so many minutes.
async fn poll_in_vain(watcher: &Watcher, entry: &InverterEntry, minutes: u32) {
    for _ in 0..minutes {
        entry.polls.silent.fetch_add(1, Ordering::Relaxed);
        watcher.look();
        advance(MINUTE).await;
    }
}

#[track_caller]
fn reason(watcher: &Watcher) -> Option<String> {
    let verdict = watcher.verdict();
    let reasons = verdict.reasons.expect("all is told");
    assert_eq!(verdict.healthy, reasons.is_empty());
    assert!(reasons.len() <= 1, "{reasons:?}");
    let reason = reasons.into_iter().next();
    reason.map(|Reason { part, reason }| format!("{part}: {reason}"))
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_nine_minutes_is_normal_and_a_longer_one_is_not() {
    let (board, entry) = board();
    let watcher = Watcher::new(board);
    assert_eq!(reason(&watcher), None);
    entry.read(Arc::new(reading().shown()));
    entry.change(Inverter::named("roof"), Reachability::Online);
    entry.change(Inverter::named("roof"), Reachability::Silent);
    poll_in_vain(&watcher, &entry, 15).await;
    assert_eq!(reason(&watcher), None);
    poll_in_vain(&watcher, &entry, 1).await;
    let said = reason(&watcher).expect("a reason");
    assert!(
        said.starts_with("inverter roof: it has not answered for 16 minutes"),
        "{said}"
    );
    entry.read(Arc::new(reading().shown()));
    assert_eq!(reason(&watcher), None);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_not_set_is_noted_and_makes_nothing_unhealthy() {
    let (board, entry) = board();
    let watcher = Watcher::new(board);
    entry.read(Arc::new(reading().at(None)));
    let verdict = watcher.verdict();
    assert!(verdict.healthy);
    let parts: Vec<&str> = verdict.notes.iter().map(|note| &*note.part).collect();
    assert_eq!(parts, ["clock"]);
    assert_eq!(verdict.bare().notes, []);
    entry.read(Arc::new(reading().shown()));
    assert_eq!(watcher.verdict().notes, []);
}

#[tokio::test(start_paused = true)]
async fn an_inverter_that_never_answered_and_one_that_is_not_believed_are_told_apart() {
    let (board, entry) = board();
    let watcher = Watcher::new(board);
    poll_in_vain(&watcher, &entry, 16).await;
    let said = reason(&watcher).expect("a reason");
    assert!(
        said.contains("it has never answered in 16 minutes"),
        "{said}"
    );
    entry.change(Inverter::named("roof"), Reachability::Online);
    poll_in_vain(&watcher, &entry, 121).await;
    let said = reason(&watcher).expect("a reason");
    assert!(said.contains("it answers, but for 2 hours"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn polling_that_does_not_come_on_is_told() {
    let (board, entry) = board();
    let watcher = Watcher::new(board);
    entry.read(Arc::new(reading().shown()));
    entry.change(Inverter::named("roof"), Reachability::Online);
    watcher.look();
    // By the rule of the watchdog, and at the same moment.
    let second = Duration::from_secs(1);
    advance(entry.patience.saturating_sub(second)).await;
    assert_eq!(reason(&watcher), None);
    advance(second).await;
    let said = reason(&watcher).expect("a reason");
    assert!(
        said.contains("polling hangs: nothing was asked and nothing came for 2 minutes"),
        "{said}"
    );
    entry
        .polls
        .exchanges
        .requests
        .fetch_add(1, Ordering::Relaxed);
    assert_eq!(reason(&watcher), None);
}

/// A sink with a mood.
struct Moody(Mood);

#[derive(Clone, Copy)]
enum Mood {
    Away,
    Broken,
}

#[async_trait]
impl Sink for Moody {
    async fn deliver(&mut self, _: &Batch<'_>) -> Result<(), DeliveryError> {
        match self.0 {
            Mood::Away => Err(DeliveryError::unreachable("nobody is there")),
            Mood::Broken => panic!("a panic on purpose"),
        }
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        Ok(())
    }
}

/// A collector whose only sink has had a reading.
fn collector(mood: Mood) -> Collector {
    let metering = Metering {
        settings: MeterSettings {
            zone: TimeZone::UTC,
            max_gap: MAX_GAP,
        },
        keeper: Keeper::default(),
        closing: Closing::default(),
        untold: Untold::default(),
    };
    let mut collector = Collector::new(WallClock::default(), metering);
    let batch = std::num::NonZeroUsize::MIN;
    collector.start_sink(SinkPlan {
        name: "moody",
        policy: DeliverySettings::default().policy(Keep::Every, batch),
        open: Arc::new(move || Ok(Box::new(Moody(mood)))),
        spool: None,
    });
    let events = collector.events().upgrade().expect("it runs");
    events.send(Event::Reading(reading())).expect("a sink");
    collector
}

#[tokio::test(start_paused = true)]
async fn a_sink_may_be_away_for_some_minutes() {
    let collector = collector(Mood::Away);
    let watcher = Watcher::new(collector.board().clone());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(reason(&watcher), None);
    sleep(MINUTE * 4).await;
    assert_eq!(reason(&watcher), None);
    sleep(MINUTE * 2).await;
    let said = reason(&watcher).expect("a reason");
    assert_eq!(said, "sink moody: down for 6 minutes: nobody is there");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_has_panicked_is_told_at_once() {
    let collector = collector(Mood::Broken);
    let watcher = Watcher::new(collector.board().clone());
    sleep(Duration::from_secs(1)).await;
    let said = reason(&watcher).expect("a reason");
    assert!(
        said.starts_with("sink moody: it has panicked; start"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_state_folder_that_cannot_be_written_to_is_told_after_some_minutes() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("state");
    let ledger = LedgerFile::open(&place).expect("a ledger");
    let (keeper, _closing) = Keeper::start(ledger).expect("a thread");
    let board = Board::new(keeper.outage());
    let watcher = Watcher::new(Arc::new(board));
    std::fs::write(&place, "a file in its place").expect("written");
    let remember = || async {
        let (roof, account) = ("roof".into(), Account::default());
        keeper.remember(&roof, &account, None).await
    };
    while keeper.outage().since().is_none() {
        assert_eq!(remember().await, Remembered::NotYet);
    }
    assert_eq!(reason(&watcher), None);
    advance(MINUTE * 6).await;
    assert_eq!(remember().await, Remembered::NotYet);
    let said = reason(&watcher).expect("a reason");
    assert!(
        said.starts_with("collector: the state folder could not be written to for 6 minutes"),
        "{said}"
    );
    // A thread that writes takes its time, in which no other is to pass.
    tokio::time::resume();
    std::fs::remove_file(&place).expect("removed");
    while remember().await == Remembered::NotYet {}
    assert_eq!(reason(&watcher), None);
}
