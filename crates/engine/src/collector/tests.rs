//! Polling that hangs or panics, in paused time, and what the service manager hears of it at a real socket.

use std::cell::RefCell;
use std::io;
use std::net::UdpSocket;
use std::sync::Once;
use std::sync::atomic::Ordering;

use kstar_model::TimeZone;
use kstar_sink::event::Nameplate;
use kstar_source::exchange::Patience;
use kstar_source::source::{AnySource, Context, Target};
use kstar_source_aa55::Aa55Config;
use tokio::time::sleep_until;

use super::inverter::RESTART;
use super::*;
use crate::pipeline::gate::GateSettings;
use crate::pipeline::ledger::keeper::Closing;
use crate::pipeline::meter::MeterSettings;
use crate::pipeline::untold::Untold;

thread_local! {
    /// What this thread has logged: each test has one of its own.
    static LOGGED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Logs into the thread's own text.
struct Logger;

impl io::Write for Logger {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        LOGGED.with_borrow_mut(|logged| logged.push_str(&text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Listens to what is logged. There is one listener for all tests: those of single threads get into each other's way.
fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(|| Logger)
            .init();
    });
}

/// How often this was logged.
fn logged(text: &str) -> usize {
    LOGGED.with_borrow(|logged| logged.matches(text).count())
}

fn collector() -> Collector {
    let metering = Metering {
        settings: MeterSettings {
            zone: TimeZone::UTC,
            max_gap: Duration::from_secs(60),
        },
        keeper: Keeper::default(),
        closing: Closing::default(),
        untold: Untold::default(),
    };
    Collector::new(WallClock::default(), metering)
}

/// An inverter that never answers, for as long as the socket lives.
fn silent(name: &str) -> (UdpSocket, InverterPlan) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let plan = InverterPlan {
        name: name.into(),
        nameplate: Nameplate::default(),
        source: AnySource::new(Aa55Config::default()),
        context: Context {
            target: Target::Host {
                host: "127.0.0.1".to_owned(),
                port: socket.local_addr().expect("an address").port(),
            },
            patience: Patience {
                tries: 3,
                timeout: Duration::from_secs(2),
            },
            interval: Duration::from_secs(5),
            fast: false,
        },
        gate: GateSettings::default(),
    };
    (socket, plan)
}

/// Runs this in place of an inverter's polling.
fn run(
    collector: &mut Collector,
    plan: InverterPlan,
    polling: impl Future<Output = ()> + Send + 'static,
) {
    let entry = InverterEntry::new(&plan);
    let (stop, _) = oneshot::channel();
    collector.run_polling(plan, Arc::new(entry), stop, polling, 0);
}

#[tokio::test(start_paused = true)]
async fn polling_that_panics_is_logged_and_begins_again() {
    listen();
    let (_socket, plan) = silent("roof");
    let mut collector = collector();
    run(&mut collector, plan, async { panic!("on purpose") });
    let begun = Instant::now();
    let due = collector.happens().await;
    assert_eq!(due, Happening::RestartDue("roof".into()));
    assert_eq!(begun.elapsed().as_secs(), RESTART.first.as_secs());
    assert_eq!(logged("polling has panicked; it begins again"), 1);
    collector.restart_inverter("roof").await;
    let entry = collector.board().inverter("roof").expect("it is back");
    while entry.polls.silent.load(Ordering::Relaxed) == 0 {
        sleep_until(Instant::now() + Duration::from_secs(1)).await;
    }
    // It is restarted once, and what was stopped meanwhile is not.
    collector.restart_inverter("roof").await;
    assert!(Arc::ptr_eq(
        &entry,
        &collector.board().inverter("roof").expect("still the same")
    ));
    assert!(collector.stop_inverter("roof").await);
    collector.restart_inverter("roof").await;
    assert!(collector.board().inverters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn polling_that_panics_again_and_again_begins_again_at_growing_intervals() {
    let (_socket, plan) = silent("roof");
    let mut collector = collector();
    let mut waits = Vec::new();
    let mut panics = 0;
    for _ in 0..9 {
        let entry = InverterEntry::new(&plan);
        let (stop, _) = oneshot::channel();
        let polling = async { panic!("on purpose") };
        collector.run_polling(plan.clone(), Arc::new(entry), stop, polling, panics);
        let begun = Instant::now();
        collector.happens().await;
        waits.push(begun.elapsed().as_secs());
        panics = collector.inverters["roof"].panics;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[tokio::test(start_paused = true)]
async fn what_neither_stops_nor_polls_is_cut_off() {
    listen();
    let (_socket, plan) = silent("roof");
    let mut collector = collector();
    run(&mut collector, plan, std::future::pending());
    assert!(collector.stop_inverter("roof").await);
    assert_eq!(logged("is cut off"), 1);
}

#[cfg(target_os = "linux")]
mod watched {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::systemd::{Manager, Service};

    /// Ticks every fifteen seconds.
    const WATCHDOG: Duration = Duration::from_secs(30);

    struct Watched {
        _folder: tempfile::TempDir,
        socket: UnixDatagram,
        service: Service,
    }

    impl Watched {
        fn new(collector: &Collector) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(&path).expect("a socket");
            socket.set_nonblocking(true).expect("nonblocking");
            let manager = Manager::at(path.as_os_str(), Some(WATCHDOG)).expect("a manager");
            Self {
                _folder: folder,
                socket,
                service: Service::new(manager, collector.board().clone()),
            }
        }

        /// Lets so many seconds pass; says how often the watchdog was fed.
        async fn fed_within(&mut self, seconds: u64) -> usize {
            let end = Instant::now() + Duration::from_secs(seconds);
            let mut fed = 0;
            let mut buffer = [0; 4096];
            while timeout_at(end, self.service.beat()).await.is_ok() {
                while let Ok(length) = self.socket.recv(&mut buffer) {
                    fed += usize::from(&buffer[..length] == b"WATCHDOG=1");
                }
            }
            fed
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_while_an_inverter_is_merely_silent() {
        listen();
        let (_socket, plan) = silent("roof");
        let mut collector = collector();
        collector.start_inverter(plan).await;
        let mut watched = Watched::new(&collector);
        for _ in 0..6 {
            let fed = watched.fed_within(30 * 60).await;
            assert!((119..=121).contains(&fed), "{fed} times in half an hour");
        }
        assert_eq!(logged("the inverter is silent"), 1);
        assert_eq!(logged("polling hangs"), 0);
        assert!(collector.stop_inverter("roof").await);
    }

    #[tokio::test(start_paused = true)]
    async fn polling_that_hangs_starves_the_watchdog_though_another_goes_on() {
        listen();
        let (_sockets, [roof, barn]) = {
            let (one, two) = (silent("roof"), silent("barn"));
            ([one.0, two.0], [one.1, two.1])
        };
        let mut collector = collector();
        collector.start_inverter(barn).await;
        run(&mut collector, roof, std::future::pending());
        let mut watched = Watched::new(&collector);
        assert!(watched.fed_within(120).await > 0, "it may just be slow");
        watched.fed_within(60).await;
        assert_eq!(watched.fed_within(600).await, 0);
        assert_eq!(logged("polling hangs"), 1);
        // With that one out of the way all is well again.
        assert!(collector.stop_inverter("roof").await);
        assert!(watched.fed_within(60).await > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn polling_that_panics_before_it_asks_anything_starves_the_watchdog_however_often_it_begins()
     {
        listen();
        let (_socket, plan) = silent("roof");
        let mut collector = collector();
        let mut watched = Watched::new(&collector);
        let mut fed = Vec::new();
        for _ in 0..20 {
            run(&mut collector, plan.clone(), async { panic!("on purpose") });
            collector.happens().await;
            fed.push(watched.fed_within(60).await);
        }
        assert!(fed[0] > 0, "{fed:?}");
        assert_eq!(fed.iter().rev().take(10).sum::<usize>(), 0, "{fed:?}");
        assert_eq!(logged("polling hangs"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_manager_hears_of_the_start_a_reload_and_the_end() {
        let (_socket, plan) = silent("roof");
        let mut collector = collector();
        collector.start_inverter(plan).await;
        let mut watched = Watched::new(&collector);
        let heard = |socket: &UnixDatagram| {
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).expect("a message");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        watched.service.ready().await;
        assert_eq!(
            heard(&watched.socket),
            "READY=1\nSTATUS=0 of 1 inverter online; no reading yet"
        );
        watched.service.reloading().await;
        let reloading = heard(&watched.socket);
        let microseconds = reloading
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .and_then(|rest| rest.split_once('\n'))
            .map(|(number, _)| number.parse::<u64>());
        assert!(matches!(microseconds, Some(Ok(1..))), "{reloading}");
        watched.service.stopping(Duration::from_secs(10)).await;
        let stopping = heard(&watched.socket);
        assert!(
            stopping.starts_with("STOPPING=1\n")
                && stopping.contains("EXTEND_TIMEOUT_USEC=20000000"),
            "{stopping}"
        );
    }

    #[tokio::test]
    async fn a_manager_that_does_not_listen_is_said_once_and_disturbs_nobody() {
        listen();
        let collector = collector();
        let folder = tempfile::tempdir().expect("a folder");
        let nobody = folder.path().join("nobody");
        let manager = Manager::at(nobody.as_os_str(), None).expect("a manager");
        let mut service = Service::new(manager, collector.board().clone());
        for _ in 0..3 {
            service.ready().await;
        }
        assert_eq!(logged("the service manager cannot be told"), 1);
    }

    #[tokio::test]
    async fn a_manager_may_have_a_name_that_is_in_no_folder() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("kstar-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        let manager = Manager::at(format!("@{name}").as_ref(), None).expect("a manager");
        let collector = collector();
        Service::new(manager, collector.board().clone())
            .ready()
            .await;
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).expect("a message");
        assert!(buffer[..length].starts_with(b"READY=1\n"));
    }
}
