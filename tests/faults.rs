//! Everything goes wrong at once, and every datagram is accounted for.
//!
//! The simulator's log says what it sent, where, from where and when. From that alone follows what became of each
//! datagram: whether a socket of ours could see it, and if so whether it was taken or why not. The collector's own
//! counts and what its sinks hold must say the same.
//!
//! Simulator, collector and the watcher of stalls share one thread, and every delay is far from the time-out on one
//! side or the other. So it is beyond doubt what came in time, unless that thread stood still; requests during which
//! it did are a class of their own, which must stay small.

#![cfg(all(feature = "sqlite", feature = "stdout"))]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what helps a test may panic like the test itself"
)]

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kstar_engine::collector::Collector;
use kstar_engine::pipeline::gate::GateSettings;
use kstar_engine::pipeline::gate::rules::Rule;
use kstar_engine::pipeline::stamp::WallClock;
use kstar_engine::unit::{InverterPlan, SinkPlan};
use kstar_model::catalogue::{Group, Quantity, Values};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_simulator::encode::{Request, Variant};
use kstar_simulator::faults::{Fault, Faults};
use kstar_simulator::record::{Entry, Event, Sent, Withheld};
use kstar_simulator::{Config, Running};
use kstar_sink::event::Nameplate;
use kstar_sink::sink::{Context, SinkConfig};
use kstar_sink::testing::{Record, record, record_of_line};
use kstar_sink_sqlite::SqliteConfig;
use kstar_sink_stdout::{StdoutConfig, StdoutSink};
use kstar_source::poller::PollCounts;
use kstar_source::source::{AnySource, Context as Polling};
use kstar_source_aa55::Aa55Config;
use kstar_source_aa55::wire::device_info::DeviceInfo;
use kstar_source_aa55::wire::frame::{self, Refusal};
use kstar_source_aa55::wire::{self, ApAddress, running};

use common::{Place, context, metering, start_when_free, until};

/// Enough inverters for thousands of requests in half a minute: most requests wait for a time-out.
const INVERTERS: usize = 32;

/// How many requests there are in all, or a few more.
const REQUESTS: u64 = 3000;

const TIMEOUT: Duration = Duration::from_millis(250);

/// Delays of the inverters with an even number, and of the others.
const DELAYS: [&str; 2] = ["10ms..50ms", "450ms..500ms"];

/// What was sent this close to the time-out was perhaps seen and perhaps not. No delay comes near it by itself.
const DOUBT: Duration = Duration::from_millis(100);

/// A thread that stands still for so long in all during a request may mistake what is late for what is in time, or
/// the other way round: no delay is nearer to the time-out than 200 ms.
const STALLED: Duration = Duration::from_millis(150);

/// What counts as standing still; the watcher looks every 5 ms.
const STALL: Duration = Duration::from_millis(15);

/// At most so many requests in a hundred may be in doubt.
const DOUBTFUL_PERCENT: u64 = 3;

/// What became of one datagram.
#[derive(Clone, Debug)]
enum Fate {
    /// With its values, if it holds those.
    Accepted(Option<Box<Values>>),
    Refused(Refusal),
    Unseen(Unseen),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unseen {
    /// It came from another port.
    OtherPort,
    /// It was for the socket of an earlier request.
    OlderSocket,
    /// It came after the time-out.
    Late,
    /// It came after the reply that was taken.
    AfterReply,
}

/// Counts by reason, sure and perhaps.
#[derive(Debug, Default)]
struct Account {
    accepted: u64,
    refused: BTreeMap<&'static str, u64>,
    unseen: BTreeMap<Unseen, u64>,
    /// Datagrams that were perhaps accepted, and perhaps refused for that reason.
    doubtful: BTreeMap<&'static str, u64>,
    doubtful_requests: u64,
    asked: u64,
    sent: u64,
    /// The replies that make readings, in order, and whether they are in doubt.
    readings: Vec<(Values, bool)>,
    delayed_in_time: u64,
    struck: BTreeMap<Fault, u64>,
}

struct Open {
    request: Request,
    socket: SocketAddr,
    /// The system has given the new socket the port of the one before, one time in some 28,000: then a reply to the request
    /// before looks like one to this.
    has_port_of_before: bool,
    at: Instant,
    answered: bool,
    doubtful: bool,
}

fn audit(
    log: &[Entry],
    data: SocketAddr,
    other: SocketAddr,
    ap: ApAddress,
    stalls: Stalls,
) -> Account {
    let mut account = Account::default();
    let mut open: Option<Open> = None;
    for entry in log {
        match entry.event {
            Event::Unexpected => panic!("only requests are sent: {entry:?}"),
            Event::Greeted => assert_eq!(entry.bytes, b"WIFIKIT-214028-READ"),
            Event::Withheld { withheld, .. } => match withheld {
                Withheld::Faulty(fault) => *account.struck.entry(fault).or_default() += 1,
                Withheld::Stopped => {}
                other => panic!("this simulator always answers: {other:?}"),
            },
            Event::Asked { request, .. } => {
                account.asked += 1;
                open = Some(Open {
                    request,
                    has_port_of_before: open.is_some_and(|before| before.socket == entry.peer),
                    socket: entry.peer,
                    at: entry.at,
                    answered: false,
                    doubtful: false,
                });
            }
            Event::Sent {
                sent: Sent::Greeting,
                ..
            } => {}
            Event::Sent { sent, .. } => {
                account.sent += 1;
                if let Sent::Faulty(fault) = sent {
                    *account.struck.entry(fault).or_default() += 1;
                }
                let open = open.as_mut().expect("nothing is sent unasked");
                let is_for_it = entry.peer == open.socket && !open.answered;
                if is_for_it && !open.doubtful && stalls.cast_doubt(open, entry.at) {
                    open.doubtful = true;
                    account.doubtful_requests += 1;
                }
                let fate = fate(entry, open, (data, other), ap);
                if !(sent == Sent::Faulty(Fault::Stale) && open.has_port_of_before) {
                    check_kind(sent, &fate, &entry.bytes);
                }
                account.note(sent, fate, open);
            }
        }
    }
    account
}

/// When this thread stood still.
#[derive(Clone, Copy)]
struct Stalls<'a>(&'a [(Instant, Instant)]);

impl Stalls<'_> {
    /// Whether it is in doubt that a datagram sent at that moment came in time, or came late.
    fn cast_doubt(self, open: &Open, sent_at: Instant) -> bool {
        let waited = sent_at - open.at;
        // Until it was sent, a stall delays what should be in time: between the client and the simulator's note of
        // the request, too. After the time-out, a stall keeps the client from noticing that its time is up.
        let (from, grace) = if waited < TIMEOUT {
            (open.at, STALLED)
        } else {
            (open.at + TIMEOUT, Duration::ZERO)
        };
        let stood_still: Duration = self
            .0
            .iter()
            .filter(|(begin, end)| *begin < sent_at && *end + grace > from)
            .map(|(begin, end)| *end - *begin)
            .sum();
        waited.abs_diff(TIMEOUT) < DOUBT || stood_still >= STALLED
    }
}

/// What becomes of a datagram while this request is the latest.
fn fate(
    entry: &Entry,
    open: &Open,
    (data, other): (SocketAddr, SocketAddr),
    ap: ApAddress,
) -> Fate {
    if entry.local == other {
        return Fate::Unseen(Unseen::OtherPort);
    }
    assert_eq!(entry.local, data);
    if entry.peer != open.socket {
        // Nothing but a delay comes by itself so late that there is a newer request.
        return Fate::Unseen(match entry.event {
            Event::Sent {
                sent: Sent::Faulty(Fault::Delay),
                ..
            } => Unseen::Late,
            _ => Unseen::OlderSocket,
        });
    }
    if open.answered {
        return Fate::Unseen(Unseen::AfterReply);
    }
    if entry.at - open.at > TIMEOUT && !open.doubtful {
        return Fate::Unseen(Unseen::Late);
    }
    let decoded = match open.request {
        Request::Running => frame::reply(&entry.bytes, wire::Request::RunningData, ap)
            .and_then(running::decode)
            .map(|values| Some(Box::new(values))),
        Request::DeviceInfo => frame::reply(&entry.bytes, wire::Request::DeviceInfo, ap)
            .and_then(DeviceInfo::decode)
            .map(|_| None),
        Request::Settings => panic!("the collector does not ask for settings"),
    };
    match decoded {
        Ok(values) => Fate::Accepted(values),
        Err(refusal) => Fate::Refused(refusal),
    }
}

/// What each kind of datagram may come to, whatever the decoder says.
fn check_kind(sent: Sent, fate: &Fate, bytes: &[u8]) {
    let reasons: &[&str] = match sent {
        Sent::Proper | Sent::Faulty(Fault::Overlong | Fault::Glued | Fault::Delay) => &[],
        Sent::Faulty(Fault::Checksum) => &["checksum"],
        Sent::Faulty(Fault::Truncate) => &["truncated", "too_short"],
        Sent::Faulty(Fault::Header) => &["no_frame"],
        Sent::Faulty(Fault::Address) => &["other_address"],
        Sent::Faulty(Fault::Function | Fault::Stale) => &["other_reply"],
        Sent::Faulty(Fault::Garbage) => &["no_frame", "too_short", "text"],
        Sent::Faulty(Fault::Echo) => &["echo"],
        Sent::Faulty(Fault::Port | Fault::Duplicate) => &["never seen"],
        Sent::Greeting
        | Sent::Replayed
        | Sent::Faulty(Fault::Drop | Fault::Silence | Fault::Reboot) => {
            panic!("this is not sent: {sent:?}")
        }
    };
    match fate {
        Fate::Accepted(_) => assert!(reasons.is_empty(), "{sent:?} was accepted: {bytes:02x?}"),
        Fate::Refused(refusal) => assert!(
            // Where a measured figure happens to look like a header there is more to be said of it.
            reasons.contains(&refusal.name()) || contains_header(&bytes[2..]),
            "{sent:?} was refused as {refusal}: {bytes:02x?}"
        ),
        Fate::Unseen(Unseen::OtherPort) => assert_eq!(sent, Sent::Faulty(Fault::Port)),
        Fate::Unseen(Unseen::AfterReply) => assert_eq!(sent, Sent::Faulty(Fault::Duplicate)),
        Fate::Unseen(Unseen::OlderSocket) => assert_eq!(sent, Sent::Faulty(Fault::Stale)),
        Fate::Unseen(Unseen::Late) => assert_eq!(sent, Sent::Faulty(Fault::Delay)),
    }
}

fn contains_header(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == [0xaa, 0x55])
}

impl Account {
    fn note(&mut self, sent: Sent, fate: Fate, open: &mut Open) {
        let doubtful = open.doubtful;
        match fate {
            Fate::Unseen(unseen) => *self.unseen.entry(unseen).or_default() += 1,
            Fate::Accepted(values) => {
                open.answered = true;
                self.readings
                    .extend(values.map(|values| (*values, doubtful)));
                if doubtful {
                    *self.doubtful.entry("accepted").or_default() += 1;
                } else {
                    self.accepted += 1;
                    self.delayed_in_time += u64::from(sent == Sent::Faulty(Fault::Delay));
                }
            }
            Fate::Refused(refusal) => {
                let counts = if doubtful {
                    &mut self.doubtful
                } else {
                    &mut self.refused
                };
                *counts.entry(refusal.name()).or_default() += 1;
            }
        }
    }

    /// That the collector counted the same.
    fn check(&self, inverter: &str, counts: &PollCounts) {
        let exchanges = &counts.exchanges;
        let accepted = exchanges.accepted.load(Ordering::Relaxed);
        let refused = counts.exchanges.rejected();
        assert_eq!(exchanges.requests.load(Ordering::Relaxed), self.asked);
        assert_eq!(
            accepted + exchanges.unanswered.load(Ordering::Relaxed),
            self.asked
        );
        let fits = |reason: &str, counted: u64, sure: u64| {
            let perhaps = self.doubtful.get(reason).copied().unwrap_or_default();
            assert!(
                (sure..=sure + perhaps).contains(&counted),
                "{inverter}: {reason} {counted}, expected {sure} and perhaps {perhaps} more"
            );
        };
        fits("accepted", accepted, self.accepted);
        for &reason in Refusal::NAMES {
            let of = |counts: &BTreeMap<&str, u64>| counts.get(reason).copied().unwrap_or_default();
            fits(reason, of(&refused), of(&self.refused));
        }
        let unseen: u64 = self.unseen.values().sum();
        let perhaps: u64 = self.doubtful.values().sum();
        let seen = accepted + refused.values().sum::<u64>();
        assert!(
            (seen + unseen..=seen + unseen + perhaps).contains(&self.sent),
            "{inverter}: {} sent, {seen} seen, {unseen} unseen, {perhaps} in doubt",
            self.sent
        );
    }

    /// That these are the readings, each once and in order; what is in doubt may be missing.
    fn check_readings<T: PartialEq + std::fmt::Debug>(
        &self,
        place: &str,
        held: &[T],
        expected: impl Fn(&Values) -> T,
    ) {
        let mut held = held.iter().peekable();
        for (number, (values, doubtful)) in self.readings.iter().enumerate() {
            let expected = expected(values);
            if held.next_if(|held| **held == expected).is_none() && !doubtful {
                assert_eq!(held.next(), Some(&expected), "{place}, reading {number}");
            }
        }
        assert_eq!(held.next(), None, "{place}: one too many");
    }
}

/// A writer whose content can be looked at.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("nobody panics here")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn lines(&self) -> Vec<String> {
        let text = self.0.lock().expect("nobody panics here").clone();
        String::from_utf8(text)
            .expect("JSON is text")
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// The stored integers of each reading of an inverter, in the order of time.
fn rows(database: &rusqlite::Connection, inverter: &str) -> Vec<BTreeMap<&'static str, i64>> {
    let mut statement = database
        .prepare(
            "SELECT sample.* FROM sample JOIN inverter ON inverter.id = sample.inverter \
             WHERE inverter.name = ? ORDER BY sample.time",
        )
        .expect("the view is there");
    let names: Vec<Option<Quantity>> = statement.column_names().map(Quantity::from_name).collect();
    statement
        .query_map([inverter], |row| {
            let mut values = BTreeMap::new();
            for (column, quantity) in names.iter().enumerate() {
                if let (Some(quantity), Some(raw)) = (quantity, row.get(column)?) {
                    values.insert(quantity.name(), raw);
                }
            }
            for quantity in ours() {
                values.remove(quantity.name());
            }
            Ok(values)
        })
        .expect("it can be read")
        .collect::<Result<_, _>>()
        .expect("it can be read")
}

fn stored(values: &Values) -> BTreeMap<&'static str, i64> {
    Quantity::ALL
        .iter()
        .filter(|quantity| quantity.description().derivation.is_none())
        .filter_map(|quantity| Some((quantity.name(), values.raw(*quantity)?)))
        .collect()
}

/// What the collector adds to the inverter's values: how long the reply took, and what its meter counts.
fn ours() -> impl Iterator<Item = Quantity> {
    let groups = [Group::Meter, Group::Link];
    let all = Quantity::ALL.iter().copied();
    all.filter(move |quantity| groups.contains(&quantity.description().group))
}

/// A reading's record without what the simulator cannot know.
fn comparable(mut record: Record) -> Record {
    record.remove("time");
    for quantity in ours() {
        record.remove(quantity.name());
    }
    record
}

fn expected_record(inverter: &str, values: &Values) -> Record {
    comparable(record(&Reading {
        time: UnixMillis(0),
        inverter: Inverter::named(inverter),
        values: values.clone(),
        counted: None,
    }))
}

struct Played {
    name: String,
    ap: ApAddress,
    simulator: Running,
    counts: Arc<PollCounts>,
    _place: Place,
}

async fn simulate(number: usize) -> (Place, Running) {
    let place = Place::free();
    let variants = [
        Variant::Kse,
        Variant::Kse81,
        Variant::Gw95,
        Variant::Gw133,
        Variant::Gw140,
    ];
    let faults = format!(
        "all=0.05,delay=0.05:{},silence=0.05:3,reboot=0.05:3",
        DELAYS[number % 2]
    );
    let simulator = start_when_free(Config {
        data: place.data(),
        discovery: Some(place.discovery()),
        speed: 120.0,
        variant: variants[number % variants.len()],
        faults: Faults::parse(&faults).expect("a list of faults"),
        log_capacity: 100_000,
        ..Config::new(number as u64)
    })
    .await;
    (place, simulator)
}

async fn poll(
    number: usize,
    (place, simulator): (Place, Running),
    collector: &mut Collector,
) -> Played {
    let name = format!("roof{number}");
    let ap = [ApAddress::B0, ApAddress::C0][number / 2 % 2];
    collector
        .start_inverter(InverterPlan {
            name: name.as_str().into(),
            nameplate: Nameplate::default(),
            source: AnySource::new(Aa55Config { ap_address: ap }),
            context: Polling {
                interval: Duration::from_millis(20),
                ..context(place.data(), TIMEOUT)
            },
            // Days here take minutes.
            gate: GateSettings {
                off: vec![Rule::CounterJump],
                ..GateSettings::default()
            },
        })
        .await;
    let entry = collector.board().inverter(&name);
    let counts = entry.expect("it was started").polls.clone();
    Played {
        name,
        ap,
        simulator,
        counts,
        _place: place,
    }
}

fn sinks(database: &Path, page: &Page) -> [SinkPlan; 2] {
    let sqlite = SqliteConfig {
        path: Some(database.to_owned()),
        ..SqliteConfig::default()
    };
    let context = Context {
        inverters: Vec::new(),
        poll_interval: Duration::from_millis(20),
        state_dir: "/nonexistent".into(),
        zone: kstar_model::TimeZone::UTC,
        version: "0",
    };
    let page = page.clone();
    [
        SinkPlan {
            name: SqliteConfig::NAME,
            policy: sqlite.policy(),
            open: Arc::new(move || sqlite.open(&context)),
            spool: None,
        },
        SinkPlan {
            name: StdoutConfig::NAME,
            policy: StdoutConfig::default().policy(),
            open: Arc::new(move || Ok(Box::new(StdoutSink::to(page.clone())))),
            spool: None,
        },
    ]
}

/// Notes when this thread stood still.
async fn watch_for_stalls(stalls: Arc<Mutex<Vec<(Instant, Instant)>>>) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = Instant::now();
        if now - last > STALL {
            stalls.lock().expect("nobody panics here").push((last, now));
        }
        last = now;
    }
}

/// Waits until this thread has nothing to do.
async fn quiet() {
    let mut looked = Instant::now();
    let mut quiet_looks = 0;
    until("quiet", || {
        let since = looked.elapsed();
        looked = Instant::now();
        quiet_looks = if since < STALL { quiet_looks + 1 } else { 0 };
        (quiet_looks > 10).then_some(())
    })
    .await;
}

fn requests(counts: &PollCounts) -> u64 {
    counts.exchanges.requests.load(Ordering::Relaxed)
}

/// Whether no request is under way.
fn settled(counts: &PollCounts) -> bool {
    let exchanges = &counts.exchanges;
    let done =
        exchanges.accepted.load(Ordering::Relaxed) + exchanges.unanswered.load(Ordering::Relaxed);
    requests(counts) == done
}

/// Stops polling each inverter while no request to it is under way, so that none is left half counted.
async fn stop_between_requests(collector: &mut Collector, inverters: &[Played]) {
    let mut left: Vec<&Played> = inverters.iter().collect();
    while !left.is_empty() {
        let mut unsettled = Vec::new();
        for played in left {
            // Nothing else runs on this thread between the look and the stop.
            if settled(&played.counts) {
                assert!(collector.stop_inverter(&played.name).await);
            } else {
                unsettled.push(played);
            }
        }
        left = unsettled;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn with_every_fault_at_once_each_datagram_is_accounted_for_and_each_reading_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("history.db");
    let page = Page::default();
    let mut collector = Collector::new(WallClock::default(), metering());
    for sink in sinks(&database, &page) {
        collector.start_sink(sink);
    }
    let mut inverters = Vec::new();
    // All the weather is made before anybody asks: that takes the thread for a while.
    let mut simulators = Vec::new();
    for number in 0..INVERTERS {
        simulators.push(simulate(number).await);
    }
    quiet().await;
    let stalls = Arc::new(Mutex::new(Vec::new()));
    let watcher = tokio::spawn(watch_for_stalls(stalls.clone()));
    for (number, simulator) in simulators.into_iter().enumerate() {
        inverters.push(poll(number, simulator, &mut collector).await);
    }

    until("enough requests", || {
        let all: u64 = inverters
            .iter()
            .map(|played| requests(&played.counts))
            .sum();
        (all >= REQUESTS).then_some(())
    })
    .await;
    stop_between_requests(&mut collector, &inverters).await;
    let health = collector.board().sinks();
    assert!(
        collector.stop(Duration::from_secs(30)).await,
        "every sink drains"
    );
    watcher.abort();
    let stalls = stalls.lock().expect("nobody panics here").clone();

    let database = rusqlite::Connection::open(&database).expect("a database");
    let lines: Vec<Record> = page
        .lines()
        .iter()
        .map(|line| record_of_line(line))
        .collect();
    let mut sum = Account::default();
    for Played {
        name,
        ap,
        simulator,
        counts,
        ..
    } in inverters
    {
        assert_eq!(simulator.missed(), 0, "the log is whole");
        let (data, other) = (simulator.data_address(), simulator.other_address());
        until("every request in the log", || {
            let asked: u64 = simulator.counts().requests.values().sum();
            (asked == requests(&counts)).then_some(())
        })
        .await;
        let (_, log) = simulator.stop().await;
        let account = audit(&log, data, other, ap, Stalls(&stalls));
        account.check(&name, &counts);

        account.check_readings(
            &format!("{name} in SQLite"),
            &rows(&database, &name),
            stored,
        );
        let written: Vec<Record> = lines
            .iter()
            .filter(|line| line["inverter"] == name)
            .cloned()
            .map(comparable)
            .collect();
        account.check_readings(&format!("{name} in JSON"), &written, |values| {
            expected_record(&name, values)
        });
        sum.add(account);
    }
    for health in health {
        let counts = health.snapshot().counts;
        assert_eq!(counts.delivered, lines.len() as u64, "{}", health.name());
        assert_eq!(counts.taken, counts.delivered, "{}", health.name());
    }

    sum.check_coverage();
    println!("{sum}");
}

impl Account {
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.doubtful_requests += other.doubtful_requests;
        self.asked += other.asked;
        self.sent += other.sent;
        self.delayed_in_time += other.delayed_in_time;
        add(&mut self.refused, other.refused);
        add(&mut self.unseen, other.unseen);
        add(&mut self.doubtful, other.doubtful);
        add(&mut self.struck, other.struck);
        self.readings.extend(other.readings);
    }

    /// That everything has happened, and that little is in doubt.
    fn check_coverage(&self) {
        for fault in Fault::ALL {
            assert!(self.struck.contains_key(&fault), "{fault} never struck");
        }
        assert!(self.delayed_in_time > 0, "no delay below the time-out");
        for unseen in [
            Unseen::OtherPort,
            Unseen::OlderSocket,
            Unseen::Late,
            Unseen::AfterReply,
        ] {
            assert!(self.unseen.contains_key(&unseen), "none was {unseen:?}");
        }
        assert!(
            self.doubtful_requests * 100 <= self.asked * DOUBTFUL_PERCENT,
            "{self}: this machine stands still too often for this test"
        );
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} datagrams: {} accepted ({} of them readings), refused {:?}, unseen {:?}; \
             {} requests in doubt with {:?}",
            self.asked,
            self.sent,
            self.accepted,
            self.readings.len(),
            self.refused,
            self.unseen,
            self.doubtful_requests,
            self.doubtful,
        )
    }
}

fn add<K: Ord>(sum: &mut BTreeMap<K, u64>, other: BTreeMap<K, u64>) {
    for (key, count) in other {
        *sum.entry(key).or_default() += count;
    }
}
