//! Polling over real sockets: schedule, tries, silence and coming back, and the units that start and stop by name.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what helps a test may panic like the test itself"
)]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kstar_common::hold::Hold;
use kstar_engine::collector::{Collector, Happening, SinkEnding};
use kstar_engine::pipeline::gate::GateSettings;
use kstar_engine::pipeline::stamp::WallClock;
use kstar_engine::unit::{InverterPlan, SinkPlan};
use kstar_model::scalar::Scalar;
use kstar_simulator::encode::{DeviceInfo, Request, device_info};
use kstar_simulator::record::Withheld;
use kstar_simulator::{Config, Running};
use kstar_sink::async_trait;
use kstar_sink::event::{Nameplate, Reachability};
use kstar_sink::health::State;
use kstar_sink::sink::{Batch, DeliveryError, Sink};
use kstar_source::error::NoAnswer;
use kstar_source::exchange::Patience;
use kstar_source::poller::{Outcome, PollCounts, Poller};
use kstar_source::source::{AnySource, Context, Target};
use kstar_source_aa55::Aa55Config;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use common::{Memory, PATIENCE, Place, metering, policy, start_when_free, until};

/// Short enough for many silent polls in a second; nothing here answers late by itself.
const TIMEOUT: Duration = Duration::from_millis(100);

const INTERVAL: Duration = Duration::from_millis(20);

fn at(address: SocketAddr) -> Target {
    Target::Host {
        host: address.ip().to_string(),
        port: address.port(),
    }
}

fn context(target: Target, timeout: Duration) -> Context {
    Context {
        target,
        patience: Patience { tries: 3, timeout },
        interval: INTERVAL,
        fast: true,
    }
}

fn poller(target: Target, timeout: Duration, interval: Duration) -> (Poller, Arc<PollCounts>) {
    let config = AnySource::new(Aa55Config::default());
    let counts = Arc::new(PollCounts::new(config.counts()));
    let context = context(target, timeout);
    let source = config.open(&context, counts.exchanges.clone());
    let poller = Poller::new(source, context.patience, interval, counts.clone());
    (poller, counts)
}

async fn next(poller: &mut Poller) -> Outcome {
    timeout(PATIENCE, poller.next())
        .await
        .expect("polling goes on")
}

/// Polls until values come; gives their grid voltage, by which peers can be told apart.
async fn next_values(poller: &mut Poller) -> Option<i64> {
    loop {
        if let Outcome::Sample(sample) = next(poller).await {
            return sample.values.grid_voltage.map(Scalar::raw);
        }
    }
}

/// A reply of running data with that grid voltage, in tenths of a volt.
fn reply(grid_voltage: u16) -> Vec<u8> {
    let mut payload = [0; 83];
    payload[34..36].copy_from_slice(&grid_voltage.to_be_bytes());
    Request::Running.reply(0xB0, &payload)
}

/// An inverter by hand: what comes in is noted, and what goes out is up to the script.
struct Peer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<(Instant, SocketAddr)>>>,
}

impl Peer {
    /// A peer that does this for its n-th request for running data, and says at once who it is.
    async fn new<F>(
        script: impl Fn(usize, Arc<UdpSocket>, SocketAddr) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a socket"));
        let address = socket.local_addr().expect("it is bound");
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let noted = requests.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 64];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.expect("it is open");
                match Request::parse(&buffer[..length]) {
                    Some((Request::Running, _)) => {
                        let number = {
                            let mut noted = noted.lock().expect("nobody panics here");
                            noted.push((Instant::now(), from));
                            noted.len() - 1
                        };
                        tokio::spawn(script(number, socket.clone(), from));
                    }
                    Some((Request::DeviceInfo, master)) => {
                        let info =
                            device_info(DeviceInfo::default(), "KSE4000S00000001", "KSE4000");
                        let reply = Request::DeviceInfo.reply(master, &info);
                        send(&socket, from, &reply).await;
                    }
                    other => panic!("{other:?} is not asked for"),
                }
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<(Instant, SocketAddr)> {
        self.requests.lock().expect("nobody panics here").clone()
    }
}

async fn send(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
    socket.send_to(bytes, to).await.expect("it can be sent");
}

fn simulator(place: &Place) -> Config {
    Config {
        data: place.data(),
        discovery: Some(place.discovery()),
        ..Config::new(1)
    }
}

async fn simulate(config: Config) -> Running {
    start_when_free(config).await
}

#[tokio::test]
async fn a_reply_that_is_late_does_not_shift_the_polls_after_it() {
    let interval = Duration::from_millis(400);
    let peer = Peer::new(move |_, socket, from| async move {
        tokio::time::sleep(interval / 2).await;
        send(&socket, from, &reply(2300)).await;
    })
    .await;
    let (mut poller, _) = poller(at(peer.address), interval, interval);
    for _ in 0..6 {
        next_values(&mut poller).await;
    }
    let requests = peer.requests();
    let five = requests[5].0 - requests[0].0;
    // Were each poll an interval after the reply before, this would be seven and a half intervals.
    assert!(five < interval * 6, "five intervals took {five:?}");
}

#[tokio::test]
async fn a_poll_that_is_missed_is_skipped_and_not_made_up_for() {
    let interval = Duration::from_millis(200);
    let peer = Peer::new(move |number, socket, from| async move {
        if number == 0 {
            tokio::time::sleep(interval * 5 / 2).await;
        }
        send(&socket, from, &reply(2300)).await;
    })
    .await;
    let (mut poller, counts) = poller(at(peer.address), interval * 20, interval);
    next_values(&mut poller).await;
    let skipped = counts.skipped.load(Ordering::Relaxed);
    assert!(skipped >= 2, "{skipped}");
    next_values(&mut poller).await;
    let requests = peer.requests();
    assert_eq!(requests.len(), 2, "one request for each of the two polls");
    let intervals = u32::try_from(skipped).expect("few") + 1;
    let apart = requests[1].0 - requests[0].0;
    assert!(
        apart + interval / 4 > interval * intervals,
        "{apart:?} with {skipped} skipped"
    );
}

#[tokio::test]
async fn a_poll_asks_three_times_each_time_from_a_new_socket() {
    let peer = Peer::new(|number, socket, from| async move {
        if number == 5 {
            send(&socket, from, &reply(2300)).await;
        }
    })
    .await;
    let (mut poller, counts) = poller(at(peer.address), TIMEOUT, INTERVAL);
    let silent = next(&mut poller).await;
    assert!(
        matches!(silent, Outcome::Silent { polls: 1, .. }),
        "{silent:?}"
    );
    assert_eq!(peer.requests().len(), 3);
    let heard = next(&mut poller).await;
    assert!(matches!(heard, Outcome::Sample(_)), "{heard:?}");
    let mut sockets: Vec<SocketAddr> = peer.requests().into_iter().map(|(_, from)| from).collect();
    sockets.sort_unstable();
    sockets.dedup();
    assert_eq!(sockets.len(), 6);
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    assert_eq!(
        [
            of(&counts.exchanges.requests),
            of(&counts.exchanges.unanswered),
            of(&counts.exchanges.accepted)
        ],
        [6, 5, 1]
    );
}

#[tokio::test]
async fn a_reply_from_another_address_or_port_is_never_taken() {
    let peer = Peer::new(|_, socket, from| async move {
        let port = socket.local_addr().expect("it is bound").port();
        let other_port = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let other_address = UdpSocket::bind(("127.0.0.2", port)).await;
        let other_address = other_address.expect("nobody else uses that port there");
        send(&other_port, from, &reply(1)).await;
        send(&other_address, from, &reply(2)).await;
        send(&socket, from, &reply(2300)).await;
    })
    .await;
    let (mut poller, counts) = poller(at(peer.address), PATIENCE, INTERVAL);
    for _ in 0..10 {
        assert_eq!(next_values(&mut poller).await, Some(2300));
    }
    assert_eq!(
        counts.exchanges.occurred().len(),
        0,
        "they are not even seen"
    );
}

#[tokio::test]
async fn a_module_that_sleeps_is_greeted_once_after_three_silent_polls_and_then_read() {
    let place = Place::free();
    let inverter = simulate(Config {
        asleep: true,
        ..simulator(&place)
    })
    .await;
    let (mut poller, counts) = poller(at(place.data()), TIMEOUT, INTERVAL);
    for expected in 1..=3 {
        let outcome = next(&mut poller).await;
        let Outcome::Silent { polls, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(polls, expected);
    }
    assert!(matches!(next(&mut poller).await, Outcome::Sample(_)));
    let seen = inverter.counts();
    assert_eq!((seen.greetings, seen.withheld(Withheld::Asleep)), (1, 9));
    assert_eq!(counts.exchanges.greetings.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_inverter_is_found_at_its_new_address_and_another_one_is_not_taken_for_it() {
    let [before, after, other, lower] = [(); 4].map(|()| Place::free());
    let with_mac = |place: &Place, mac: &str| Config {
        mac: mac.to_owned(),
        ..simulator(place)
    };
    let greeted = [&before, &after, &other, &lower]
        .map(Place::discovery)
        .into();
    let (mut poller, _) = poller(Target::Discovered { greeted }, TIMEOUT, INTERVAL);
    let inverter = simulate(with_mac(&before, "ACCF23000001")).await;
    let others = [simulate(with_mac(&other, "ACCF23000002")).await];
    next_values(&mut poller).await;
    assert_eq!(
        poller.line().map(|line| line.address),
        Some(before.data()),
        "of several the one with the lowest MAC"
    );

    inverter.stop().await;
    let inverter = simulate(with_mac(&after, "ACCF23000001")).await;
    let lower_one = simulate(with_mac(&lower, "ACCF23000000")).await;
    next_values(&mut poller).await;
    assert_eq!(poller.line().map(|line| line.address), Some(after.data()));
    assert!(inverter.counts().requests(Request::Running) > 0);
    for other in others.iter().chain([&lower_one]) {
        assert!(
            other.counts().greetings > 0,
            "it was among those who answered"
        );
        assert_eq!(other.counts().requests(Request::Running), 0);
    }
}

/// The program runs with a file of host names of its own, which then says something else.
#[cfg(all(target_os = "linux", feature = "sqlite"))]
#[tokio::test]
async fn a_host_name_that_leads_elsewhere_is_followed_after_three_silent_polls() {
    use std::process::{Command, Stdio};
    let own_mounts = Command::new("unshare")
        .args(["--mount", "true"])
        .stderr(Stdio::null())
        .status();
    if !own_mounts.is_ok_and(|status| status.success()) {
        common::missing("root and `unshare`");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let hosts = folder.path().join("hosts");
    let places = [Place::free(), Place::free()];
    let point_to = |place: &Place| {
        // Written into, not replaced: it is the file itself that stands in for the system's.
        std::fs::write(&hosts, format!("{} inverter.test\n", place.0)).expect("it can be written");
    };
    let config = "[collector]\npoll_interval = '20ms'\ntimeout = '100ms'\nallow_fast_polling = true\n\
                  [[inverter]]\nhost = 'inverter.test'\n[sinks.sqlite]\npath = 'history.db'\n";
    std::fs::write(folder.path().join("kstar.toml"), config).expect("it can be written");
    point_to(&places[0]);
    let before = simulate(simulator(&places[0])).await;
    let mut program = tokio::process::Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind hosts /etc/hosts && exec \"$0\" run --config kstar.toml")
        .arg(env!("CARGO_BIN_EXE_kstar"))
        .current_dir(folder.path())
        .env("STATE_DIRECTORY", folder.path())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    let asked = |inverter: &Running| inverter.counts().requests(Request::Running);
    until("requests", || (asked(&before) >= 5).then_some(())).await;
    before.stop().await;
    let after = simulate(simulator(&places[1])).await;
    point_to(&places[1]);
    until("requests elsewhere", || (asked(&after) >= 5).then_some(())).await;
    program.kill().await.expect("it ran until now");
}

#[tokio::test]
async fn a_port_where_nobody_listens_counts_as_silence() {
    let place = Place::free();
    let (mut poller, counts) = poller(at(place.data()), PATIENCE, INTERVAL);
    for expected in 1..=2 {
        let outcome = next(&mut poller).await;
        let Outcome::Silent { polls, reason } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(polls, expected);
        assert!(matches!(reason, NoAnswer::PortClosed(_)), "{reason}");
    }
    assert_eq!(counts.exchanges.unanswered.load(Ordering::Relaxed), 6);
    let inverter = simulate(simulator(&place)).await;
    next_values(&mut poller).await;
    assert_eq!(inverter.counts().requests(Request::Running), 1);
}

#[tokio::test]
async fn an_inverter_that_never_says_who_it_is_delays_no_poll() {
    let place = Place::free();
    let inverter = simulate(Config {
        device_info: None,
        log_capacity: 100,
        ..simulator(&place)
    })
    .await;
    let (mut poller, counts) = poller(at(place.data()), TIMEOUT, Duration::from_millis(700));
    for _ in 0..6 {
        next_values(&mut poller).await;
    }
    assert_eq!(counts.skipped.load(Ordering::Relaxed), 0);
    assert_eq!(counts.silent.load(Ordering::Relaxed), 0);
    let seen = inverter.counts();
    assert_eq!(
        (
            seen.requests(Request::Running),
            seen.requests(Request::DeviceInfo)
        ),
        (6, 3),
        "it is asked three times, then not again"
    );
    assert_eq!(
        Request::parse(&inverter.log()[0].bytes),
        Some((Request::Running, 0xB0)),
        "running data first"
    );
}

#[tokio::test]
async fn who_the_inverter_is_is_asked_again_after_the_next_poll_if_that_is_wanted() {
    use Request::{DeviceInfo, Running};
    let place = Place::free();
    let inverter = simulate(Config {
        log_capacity: 100,
        ..simulator(&place)
    })
    .await;
    let (mut poller, _) = poller(at(place.data()), PATIENCE, INTERVAL);
    for again in [true, true, false] {
        assert!(matches!(next(&mut poller).await, Outcome::Sample(_)));
        assert!(matches!(next(&mut poller).await, Outcome::Identity(_)));
        if again {
            poller.identify_again();
        }
    }
    for _ in 0..3 {
        assert!(matches!(next(&mut poller).await, Outcome::Sample(_)));
    }
    let asked: Vec<Request> = inverter
        .log()
        .iter()
        .filter_map(|entry| Some(Request::parse(&entry.bytes)?.0))
        .collect();
    let expected = [
        Running, DeviceInfo, Running, DeviceInfo, Running, DeviceInfo, Running, Running, Running,
    ];
    assert_eq!(asked, expected);
}

/// A collector that polls inverters at these places, named `roof0` and so on.
async fn collector(places: &[&Place], sinks: impl IntoIterator<Item = SinkPlan>) -> Collector {
    let mut collector = Collector::new(WallClock::default(), metering());
    for sink in sinks {
        collector.start_sink(sink);
    }
    for (number, place) in places.iter().enumerate() {
        collector.start_inverter(plan(number, place)).await;
    }
    collector
}

fn plan(number: usize, place: &Place) -> InverterPlan {
    InverterPlan {
        name: format!("roof{number}").into(),
        nameplate: Nameplate::default(),
        source: AnySource::new(Aa55Config::default()),
        context: context(at(place.data()), TIMEOUT),
        gate: GateSettings::default(),
    }
}

/// Waits for so many more readings of an inverter.
async fn more(memory: &Memory, inverter: &str, readings: usize) {
    let goal = memory.count(inverter) + readings;
    until("more readings", || {
        (memory.count(inverter) >= goal).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sinks_hear_when_an_inverter_answers_falls_silent_and_is_back_and_who_it_is() {
    use Reachability::{Online, Silent};
    let place = Place::free();
    let memory = Memory::default();
    let heard = || {
        memory
            .statuses()
            .into_iter()
            .map(|status| (status.reachability, status.inverter.serial.clone()))
            .collect::<Vec<_>>()
    };
    let config = simulator(&place);
    let serial: Option<Arc<str>> = Some(config.serial.as_str().into());
    let inverter = simulate(config.clone()).await;
    let collector = collector(&[&place], [memory.sink("memory")]).await;
    until("a serial number", || {
        heard().contains(&(Online, serial.clone())).then_some(())
    })
    .await;
    more(&memory, "roof0", 10).await;
    let readings = memory.readings();
    assert_eq!(readings[0].inverter.serial, None);
    assert_eq!(readings[readings.len() - 1].inverter.serial, serial);
    assert_eq!(
        inverter.stop().await.0.requests(Request::DeviceInfo),
        3,
        "at the start until three replies agree, and no more"
    );

    until("silence", || {
        (heard().last() == Some(&(Silent, serial.clone()))).then_some(())
    })
    .await;
    let inverter = simulate(config).await;
    until("the return", || {
        (heard().last() == Some(&(Online, serial.clone()))).then_some(())
    })
    .await;
    more(&memory, "roof0", 10).await;
    assert_eq!(
        inverter.counts().requests(Request::DeviceInfo),
        1,
        "once after the recovery, as it is known"
    );
    let mut kinds: Vec<Reachability> = heard().into_iter().map(|(kind, _)| kind).collect();
    // The first is without the serial number, unless both came before the sink was ready for one.
    kinds.dedup();
    assert_eq!(kinds, [Online, Silent, Online]);
    assert!(collector.stop(PATIENCE).await);
}

#[tokio::test]
async fn inverters_and_sinks_start_and_stop_by_name_while_the_others_go_on() {
    let places = [Place::free(), Place::free()];
    let mut inverters = Vec::new();
    for place in &places {
        inverters.push(simulate(simulator(place)).await);
    }
    let memories = [Memory::default(), Memory::default()];
    let mut collector = collector(
        &[&places[0], &places[1]],
        [memories[0].sink("first"), memories[1].sink("second")],
    )
    .await;
    for memory in &memories {
        more(memory, "roof0", 5).await;
        more(memory, "roof1", 5).await;
    }

    assert!(collector.stop_inverter("roof0").await);
    assert!(!collector.stop_inverter("roof0").await, "it is gone");
    let asked = inverters[0].counts().requests(Request::Running);
    more(&memories[0], "roof1", 5).await;
    assert_eq!(inverters[0].counts().requests(Request::Running), asked);

    let ending = collector.stop_sink("first", PATIENCE).await;
    assert_eq!(ending, Some(SinkEnding::Drained));
    assert_eq!(collector.stop_sink("first", PATIENCE).await, None);
    let kept = memories[0].readings().len();
    collector.start_inverter(plan(0, &places[0])).await;
    more(&memories[1], "roof0", 5).await;
    more(&memories[1], "roof1", 5).await;
    assert_eq!(memories[0].readings().len(), kept);

    collector.start_sink(memories[0].sink("first"));
    more(&memories[0], "roof0", 5).await;
    more(&memories[0], "roof1", 5).await;
    assert!(collector.stop(PATIENCE).await);
    let delivered = memories[1].readings().len() as u64;
    let answered: u64 = inverters
        .iter()
        .map(|inverter| inverter.counts().requests(Request::Running))
        .sum();
    // A stop may cut off the poll under way: one for each of the three times an inverter was stopped.
    assert!(
        (delivered..=delivered + 3).contains(&answered),
        "{answered} answered, {delivered} delivered"
    );
}

/// A sink that does the same with every batch.
struct Always(Does);

#[derive(Clone, Copy)]
enum Does {
    Panic,
    Close,
    Hang,
}

impl Always {
    fn plan(name: &'static str, does: Does) -> SinkPlan {
        SinkPlan {
            name,
            policy: policy(),
            open: Arc::new(move || Ok(Box::new(Self(does)))),
            spool: None,
        }
    }
}

#[async_trait]
impl Sink for Always {
    async fn deliver(&mut self, _batch: &Batch<'_>) -> Result<(), DeliveryError> {
        match self.0 {
            Does::Panic => panic!("on purpose"),
            Does::Close => Err(DeliveryError::Closed),
            Does::Hang => std::future::pending().await,
        }
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_sink_that_panics_or_whose_far_side_ends_does_not_end_the_others() {
    let place = Place::free();
    let _inverter = simulate(simulator(&place)).await;
    let memory = Memory::default();
    let mut collector = collector(
        &[&place],
        [
            memory.sink("memory"),
            Always::plan("panics", Does::Panic),
            Always::plan("closes", Does::Close),
        ],
    )
    .await;
    let mut ended = Vec::new();
    for _ in 0..2 {
        let next = timeout(PATIENCE, collector.happens()).await;
        ended.push(next.expect("both end"));
    }
    ended.sort_unstable_by_key(|happening| format!("{happening:?}"));
    assert_eq!(
        ended,
        [
            Happening::SinkEnded("closes", SinkEnding::FarSideClosed),
            Happening::SinkEnded("panics", SinkEnding::Broken)
        ]
    );
    more(&memory, "roof0", 10).await;
    let states: Vec<_> = collector
        .board()
        .sinks()
        .iter()
        .map(|health| (health.name(), health.snapshot().state))
        .collect();
    let reason = "it has panicked".to_owned();
    assert_eq!(
        states,
        [
            ("closes", State::Ended),
            ("memory", State::Up),
            ("panics", State::Down { reason })
        ]
    );
    assert!(collector.stop(PATIENCE).await);
}

#[tokio::test]
async fn a_sink_that_hangs_is_cut_off_at_the_end_of_the_grace_and_the_others_drain() {
    let place = Place::free();
    let _inverter = simulate(simulator(&place)).await;
    let memory = Memory::default();
    let collector = collector(
        &[&place],
        [memory.sink("memory"), Always::plan("hangs", Does::Hang)],
    )
    .await;
    more(&memory, "roof0", 5).await;
    let health = collector.board().sinks();
    assert!(!collector.stop(TIMEOUT).await, "not every sink has drained");
    let [hangs, drained] = [0, 1].map(|number: usize| health[number].snapshot().counts);
    assert_eq!((hangs.delivered, hangs.queued), (0, hangs.taken));
    assert_eq!(drained.delivered, memory.readings().len() as u64);
    assert_eq!((drained.queued, drained.taken), (0, hangs.taken));
}

/// A sink that leaves something at work behind, as a thread that hangs in its disk.
struct Lingers(Arc<Mutex<Option<Hold>>>);

#[async_trait]
impl Sink for Lingers {
    async fn deliver(&mut self, _batch: &Batch<'_>) -> Result<(), DeliveryError> {
        std::future::pending().await
    }

    fn hold(&self, hold: Hold) {
        *self.0.lock().expect("nobody panics here") = Some(hold);
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_sink_that_follows_one_that_was_cut_off_waits_until_its_files_are_free() {
    let place = Place::free();
    let _inverter = simulate(simulator(&place)).await;
    let (memory, left) = (Memory::default(), Arc::default());
    let lingers = Arc::clone(&left);
    let first = SinkPlan {
        open: Arc::new(move || Ok(Box::new(Lingers(Arc::clone(&lingers))))),
        ..Always::plan("sink", Does::Hang)
    };
    let mut collector = collector(&[&place], [first]).await;
    let health = collector.board().sinks().remove(0);
    until("something to deliver", || {
        (health.snapshot().counts.queued > 0).then_some(())
    })
    .await;
    let ending = collector.stop_sink("sink", TIMEOUT).await;
    assert_eq!(ending, Some(SinkEnding::CutOff));
    collector.start_sink(memory.sink("sink"));
    let health = collector.board().sinks().remove(0);
    until("some that wait", || {
        (health.snapshot().counts.taken > 5).then_some(())
    })
    .await;
    assert!(memory.told().is_empty());
    assert_eq!(
        health.snapshot().counts.queued,
        health.snapshot().counts.taken
    );
    drop(left.lock().expect("nobody panics here").take());
    more(&memory, "roof0", 10).await;
    assert!(collector.stop(PATIENCE).await);
    let counts = health.snapshot().counts;
    assert_eq!((counts.delivered, counts.dropped), (counts.taken, 0));
}

#[tokio::test]
async fn a_sink_that_was_cut_off_can_be_started_again() {
    let place = Place::free();
    let _inverter = simulate(simulator(&place)).await;
    let memory = Memory::default();
    let mut collector = collector(&[&place], [Always::plan("sink", Does::Hang)]).await;
    let health = collector.board().sinks().remove(0);
    until("something to deliver", || {
        (health.snapshot().counts.queued > 0).then_some(())
    })
    .await;
    let ending = collector.stop_sink("sink", TIMEOUT).await;
    assert_eq!(ending, Some(SinkEnding::CutOff));
    collector.start_sink(memory.sink("sink"));
    tokio::select! {
        ended = collector.happens() => panic!("{ended:?} is not the one that runs"),
        () = more(&memory, "roof0", 10) => {}
    }
    assert!(collector.has_sinks());
    assert!(collector.stop(PATIENCE).await);
}

/// Whether the clock of the next test is set, and what it then says.
static CLOCK_IS_SET: AtomicBool = AtomicBool::new(false);
const SET: i64 = 1_800_000_000_000;

fn clock() -> SystemTime {
    let seconds = if CLOCK_IS_SET.load(Ordering::Relaxed) {
        SET.unsigned_abs() / 1000
    } else {
        0
    };
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[tokio::test]
async fn readings_wait_for_a_clock_that_is_not_set_and_are_stamped_by_their_age() {
    let place = Place::free();
    let _inverter = simulate(simulator(&place)).await;
    let memory = Memory::default();
    let mut collector = Collector::new(WallClock(clock), metering());
    collector.start_sink(memory.sink("memory"));
    collector.start_inverter(plan(0, &place)).await;
    let counts = collector.board().inverters().remove(0).polls.clone();
    let answered = || counts.answered.load(Ordering::Relaxed);
    until("answers", || (answered() >= 10).then_some(())).await;
    until("a status", || (!memory.statuses().is_empty()).then_some(())).await;
    assert_eq!(memory.readings().len(), 0, "none has a time");

    let waited = answered();
    CLOCK_IS_SET.store(true, Ordering::Relaxed);
    until("all of them", || {
        (memory.readings().len() as u64 > waited).then_some(())
    })
    .await;
    let times: Vec<i64> = memory
        .readings()
        .iter()
        .map(|reading| reading.time.0 - SET)
        .collect();
    // The tenth and the first were at least nine intervals apart, less what the first was late: both were noted on
    // the same schedule.
    assert!(times[0] <= -8 * 20, "{times:?}");
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    assert!(collector.stop(PATIENCE).await);
}
