//! Whatever happens, nothing leaves the program but two greetings, six requests of AA55 and the reads of Modbus that are listed
//! here.
//!
//! The built program runs under `strace`, in every command that sends, against a simulator with every fault, against
//! a peer that answers with whatever might be echoed or obeyed, and over silence and return. Two records are looked
//! at: what those peers received, and what the program handed to the system, whomever it was for.
//!
//! Two commands play an inverter as well: `simulate`, which is not run here, and `run --demo`, where the simulator's
//! only socket is told apart by its address: it is bound to loopback, and those that ask are bound to no address.

#![cfg(all(target_os = "linux", feature = "sqlite", feature = "stdout"))]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what helps a test may panic like the test itself"
)]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use kstar_simulator::encode::Request;
use kstar_simulator::faults::Faults;
use kstar_simulator::{Config, Running, modbus};

use common::{Place, bind_when_free, missing, start_when_free, until};

/// PROTOCOL 2.1 and 1.3, written down once more.
const REQUESTS: [&str; 6] = [
    "aa55b07f0102000231",
    "aa55b07f0106000235",
    "aa55b07f0109000238",
    "aa55c07f0102000241",
    "aa55c07f0106000245",
    "aa55c07f0109000248",
];
const GREETING: &str = "574946494b49542d3231343032382d52454144";
/// PROTOCOL-SOLARMAN 1.3: what a search sends as well.
const ASSIST_GREETING: &str = "48462d4131314153534953544852454144";
const GREETINGS: [&str; 2] = [GREETING, ASSIST_GREETING];

/// A read: function, first register, how many.
type Read = (u8, u16, u16);

/// PROTOCOL-SOLARMAN 2 and 3, written down once more.
const KSTAR: [Read; 9] = [
    (4, 3000, 125),
    (4, 3125, 29),
    (4, 3292, 10),
    (4, 3450, 1),
    (4, 3494, 1),
    (4, 3538, 1),
    (3, 3200, 18),
    (4, 3228, 11),
    (4, 3193, 1),
];

/// PROTOCOL-GOODWE-MODBUS 3, the same.
const ET: [Read; 8] = [
    (3, 35000, 33),
    (3, 35100, 125),
    (3, 36000, 125),
    (3, 36000, 58),
    (3, 36000, 45),
    (3, 37000, 24),
    (3, 39000, 22),
    (3, 35262, 6),
];
const DT: [Read; 4] = [
    (3, 30001, 40),
    (3, 30100, 73),
    (3, 30195, 15),
    (3, 40173, 8),
];

/// The reads that are allowed over datagrams, Modbus TCP and V5, by the unit address.
const OVER_UDP: [(u8, &[Read]); 2] = [(247, &ET), (127, &DT)];
const OVER_TCP: [(u8, &[Read]); 5] = [(1, &KSTAR), (247, &ET), (245, &ET), (127, &DT), (245, &DT)];
const OVER_V5: [(u8, &[Read]); 1] = [(1, &KSTAR)];

/// Whether these six bytes, a unit address and a read, are on the list.
fn is_listed(bytes: &[u8], list: &[(u8, &[Read])]) -> bool {
    let &[unit, function, a, b, c, d] = bytes else {
        return false;
    };
    let read = (
        function,
        u16::from_be_bytes([a, b]),
        u16::from_be_bytes([c, d]),
    );
    list.iter()
        .any(|(of, reads)| *of == unit && reads.contains(&read))
}

/// Whether it is a read that is on the list, with its CRC behind it.
fn is_rtu(bytes: &[u8], list: &[(u8, &[Read])]) -> bool {
    let Some((request, sum)) = bytes.split_last_chunk::<2>() else {
        return false;
    };
    let crc = request.iter().fold(0xffff_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xa001 } else { 0 }
        })
    });
    *sum == crc.to_le_bytes() && is_listed(request, list)
}

/// Whether it is a request of Modbus TCP, whatever its transaction number.
fn is_modbus_tcp(bytes: &[u8]) -> bool {
    bytes.len() == 12 && bytes[2..6] == [0, 0, 0, 6] && is_listed(&bytes[6..], &OVER_TCP)
}

/// Whether it is a request of Solarman V5, whatever its sequence number and the serial number of the stick.
fn is_v5(bytes: &[u8]) -> bool {
    let mut head = vec![0xa5, 23, 0, 0x10, 0x45];
    if bytes.len() != 36 || !bytes.starts_with(&head) || bytes[6] != 0 {
        return false;
    }
    head = vec![2];
    head.extend([0; 14]);
    let sum = bytes[1..34]
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[11..26] == head && is_rtu(&bytes[26..34], &OVER_V5) && bytes[34..] == [sum, 0x15]
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(|pair| byte(pair).expect("hex")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A frame of any kind, as the program must never send one.
fn frame(kind: [u8; 2], payload: &[u8], reply: bool) -> Vec<u8> {
    let addresses = if reply { [0x7f, 0xb0] } else { [0xb0, 0x7f] };
    let length = u8::try_from(payload.len()).expect("a short payload");
    let mut bytes = [&[0xaa, 0x55], &addresses, &kind, &[length][..], payload].concat();
    let sum = bytes
        .iter()
        .fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
    bytes.extend(sum.to_be_bytes());
    bytes
}

/// Everything that a careless program might send back, pass on or obey.
fn temptations() -> Vec<Vec<u8>> {
    let mut all = vec![
        frame([0x02, 0x39], &[0x05, 0x60, 0x00, 0x00, 0x01], false),
        frame([0x03, 0x02], &[26, 11, 22, 10, 15, 30], false),
        frame([0x03, 0x1d], &[], false),
        frame([0x03, 0x59], &[0x01], false),
        frame([0x00, 0x00], &[], false),
        frame([0x03, 0x9d], &[0x06], true),
        frame([0x01, 0x9a], &[0; 20], true),
        vec![0xf7, 0x06, 0xb7, 0x99, 0x00, 0x02, 0xff, 0xff],
        vec![0xf7, 0x10, 0xb9, 0x98, 0x00, 0x01, 0x02, 0, 1, 2, 3],
        vec![0xaa, 0x55, 0xf7, 0x83, 0x02, 0x20, 0xc3],
        b"AT+WSSSID=elsewhere\r".to_vec(),
        b"AT+INVDATA=8,0106b79900020000\r".to_vec(),
        b"+ok".to_vec(),
        b"WIFIKIT-214028-READ".to_vec(),
        b"10.255.255.255,FFFFFFFFFFFF,HF-LPB1x000".to_vec(),
        Vec::new(),
        b"\xaa\x55".repeat(30_000),
    ];
    for request in [Request::Running, Request::DeviceInfo, Request::Settings] {
        all.extend([0xB0, 0xC0].map(|master| request.frame(master)));
    }
    all
}

/// A frame of Solarman V5 with a right checksum, as a stick sends one.
fn v5(control: u16, sequence: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short payload");
    let mut bytes = vec![0xa5];
    bytes.extend(length.to_le_bytes());
    bytes.extend(control.to_le_bytes());
    bytes.extend(sequence);
    bytes.extend(2_712_847_316_u32.to_le_bytes());
    bytes.extend(payload);
    let sum = bytes
        .iter()
        .skip(1)
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes.extend([sum, 0x15]);
    bytes
}

/// The same over a connection, for somebody who has asked this.
fn temptations_of_a_stick(asked: &[u8]) -> Vec<u8> {
    let sequence = asked.get(5).copied().unwrap_or_default();
    let write = [1, 6, 0x0b, 0xe4, 0, 1, 0x8b, 0xc9];
    let mut reply = vec![2, 1];
    reply.extend([0; 12]);
    reply.extend(write);
    [
        v5(0x4710, [sequence, 1], &[0]),
        v5(0x4110, [sequence, 2], &[0; 20]),
        v5(
            0x4510,
            [sequence, 3],
            &[&[2][..], &[0; 14], &write].concat(),
        ),
        v5(0x1510, [sequence, 4], &reply),
        v5(
            0x1510,
            [sequence, 5],
            &[&[2, 1][..], &[0; 12], &[6, 0]].concat(),
        ),
        b"AT+YZCMPVER=MW3_16U_5406_2.27\r\n\r\n".to_vec(),
        write.to_vec(),
        asked.to_vec(),
    ]
    .concat()
}

/// What came, and to which port.
type Received = Arc<Mutex<Vec<(u16, Vec<u8>)>>>;

/// A peer on an inverter's ports that means ill, but gives a right answer now and then to hear more.
struct Hostile {
    place: Place,
    received: Received,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hostile {
    fn new() -> Self {
        let place = Place::free();
        let received = Received::default();
        let stop = Arc::<AtomicBool>::default();
        let mut threads: Vec<JoinHandle<()>> = [place.data(), place.discovery()]
            .map(|address| {
                let socket = bind_when_free(address);
                socket
                    .set_read_timeout(Some(Duration::from_millis(50)))
                    .expect("it is some time");
                let (received, stop) = (received.clone(), stop.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        tempt(&socket, &received);
                    }
                })
            })
            .into();
        let listener = TcpListener::bind(place.data()).expect("the port is free");
        listener
            .set_nonblocking(true)
            .expect("a listener that does not wait");
        let stopped = stop.clone();
        threads.push(std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => tempt_over(stream, &stopped),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        }));
        Self {
            place,
            received,
            stop,
            threads,
        }
    }

    fn received(&self) -> Vec<(u16, Vec<u8>)> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many datagrams came to that port.
    fn count(&self, address: SocketAddr) -> usize {
        let port = address.port();
        self.received().iter().filter(|(to, _)| *to == port).count()
    }

    fn requests(&self) -> usize {
        self.count(self.place.data())
    }

    fn greetings(&self) -> usize {
        self.count(self.place.discovery())
    }

    /// That it received nothing but what may be sent to its ports.
    fn check(&self) {
        for (port, bytes) in self.received() {
            let bytes = hex(&bytes);
            let is_right = if port == self.place.data().port() {
                REQUESTS.contains(&bytes.as_str()) || is_rtu(&unhex(&bytes), &OVER_UDP)
            } else {
                GREETINGS.contains(&bytes.as_str())
            };
            assert!(is_right, "port {port} received {bytes}");
        }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn tempt(socket: &UdpSocket, received: &Received) {
    let mut buffer = [0; 4096];
    let Ok((length, from)) = socket.recv_from(&mut buffer) else {
        return;
    };
    let bytes = &buffer[..length];
    let port = socket.local_addr().expect("it is bound").port();
    let number = {
        let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
        received.push((port, bytes.to_vec()));
        received.iter().filter(|(to, _)| *to == port).count()
    };
    if let Some((request, master)) = Request::parse(bytes)
        && number.is_multiple_of(10)
    {
        let _ = socket.send_to(&request.reply(master, &[0; 86]), from);
    }
    for temptation in temptations() {
        let _ = socket.send_to(&temptation, from);
    }
}

/// Answers whatever comes over a connection, until that ends; now and then as a stick does that speaks Modbus TCP.
fn tempt_over(mut stream: TcpStream, stop: &AtomicBool) {
    stream.set_nonblocking(false).expect("a stream that waits");
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("it is some time");
    let mut buffer = [0; 4096];
    let mut number = 0_usize;
    while !stop.load(Ordering::Relaxed) {
        let length = match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        number += 1;
        let answer = if number.is_multiple_of(3) {
            unhex("a5170010450300de02")
        } else {
            temptations_of_a_stick(&buffer[..length])
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// The program under `strace`.
struct Traced {
    child: Child,
    trace: PathBuf,
}

impl Traced {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let trace = folder.join(format!("trace{number}"));
        let child = Command::new("strace")
            // The program itself is the child, with `strace` beside it.
            .args(["-D", "-f", "-yy", "-xx", "-s", "200"])
            .args(["-e", "trace=network,write,writev,io_uring_setup", "-o"])
            .arg(&trace)
            .arg(env!("CARGO_BIN_EXE_kstar"))
            .args(arguments)
            .current_dir(folder)
            .env_remove("KSTAR_CONFIG")
            .env_remove("KSTAR_HOST")
            .env("XDG_CONFIG_HOME", folder)
            .env("STATE_DIRECTORY", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is there");
        Self { child, trace }
    }

    /// Asks it to stop; gives everything that it sent, whatever came of it.
    async fn stop(mut self) -> Vec<Sent> {
        let stopped = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(
            stopped.is_ok_and(|status| status.success()),
            "it still runs"
        );
        self.ended().await
    }

    /// Waits for its end.
    async fn end(mut self) -> Vec<Sent> {
        self.ended().await
    }

    async fn ended(&mut self) -> Vec<Sent> {
        until("its end", || self.child.try_wait().expect("it is ours")).await;
        let last = format!("{} +++", self.child.id());
        let is_last = |line: &str| {
            line.strip_prefix(&self.child.id().to_string())
                .is_some_and(|rest| rest.trim_start().starts_with("+++"))
        };
        let trace = until(&last, || {
            let trace = std::fs::read_to_string(&self.trace).ok()?;
            trace.lines().any(is_last).then_some(trace)
        })
        .await;
        trace.lines().filter_map(Sent::read).collect()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // Only after a failure is there anything left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One datagram or piece of a stream that went out.
#[derive(Debug)]
struct Sent {
    /// The socket, as `UDP:[0.0.0.0:40000]`.
    socket: String,
    /// What was sent, as hex.
    bytes: String,
}

impl Sent {
    /// What a line of the trace says of a datagram that went out, if it is about one.
    fn read(line: &str) -> Option<Self> {
        let (_, call) = line.split_once(' ')?;
        let (name, arguments) = call.trim_start().split_once('(')?;
        assert_ne!(
            name, "io_uring_setup",
            "what goes that way is not seen here"
        );
        if name == "socket" {
            let is_known = [
                "AF_INET, SOCK_DGRAM",
                "AF_INET6, SOCK_DGRAM",
                "AF_INET, SOCK_STREAM",
                "AF_UNIX",
                "AF_NETLINK",
            ]
            .iter()
            .any(|kind| arguments.starts_with(kind));
            assert!(is_known, "a socket of another kind: {line}");
        }
        if !["sendto", "sendmsg", "sendmmsg", "write", "writev"].contains(&name) {
            return None;
        }
        let (_, annotated) = arguments.split_once('<')?;
        // Files, pipes and the like have their name in hex.
        let stays_here = ["\\x", "UNIX", "NETLINK"]
            .iter()
            .any(|kind| annotated.starts_with(kind));
        if stays_here {
            return None;
        }
        assert!(
            ["sendto", "write"].contains(&name),
            "an unforeseen way out: {line}"
        );
        let (socket, rest) = annotated.split_once(">, \"").expect(line);
        let (bytes, rest) = rest.split_once('"').expect(line);
        assert!(!rest.starts_with("..."), "longer than anything: {line}");
        Some(Self {
            socket: socket.to_owned(),
            bytes: bytes.replace("\\x", ""),
        })
    }
}

/// That all of it may be sent to an inverter that speaks AA55; gives what occurred.
#[track_caller]
fn check(sent: &[Sent]) -> BTreeSet<&str> {
    for Sent { socket, bytes } in sent {
        let text = bytes.as_str();
        assert!(
            socket.starts_with("UDP:") && (REQUESTS.contains(&text) || GREETINGS.contains(&text)),
            "{socket} sent {bytes}"
        );
    }
    sent.iter().map(|sent| sent.bytes.as_str()).collect()
}

/// That all of it may be sent to an inverter of whatever family; gives what occurred.
#[track_caller]
fn check_all(sent: &[Sent]) -> BTreeSet<&str> {
    for Sent { socket, bytes } in sent {
        let text = bytes.as_str();
        let is_right = if socket.starts_with("TCP:") {
            is_v5(&unhex(text)) || is_modbus_tcp(&unhex(text))
        } else {
            REQUESTS.contains(&text) || GREETINGS.contains(&text) || is_rtu(&unhex(text), &OVER_UDP)
        };
        assert!(is_right, "{socket} sent {bytes}");
    }
    sent.iter().map(|sent| sent.bytes.as_str()).collect()
}

fn strace_works() -> bool {
    let works = Command::new("strace")
        .args(["-D", "-f", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    works || missing("strace, and leave to trace")
}

/// A configuration with quick tries, and with these inverters in the form of `host, AP address`.
fn write_config(folder: &Path, name: &str, top: &str, inverters: &[(&Place, u8)]) -> PathBuf {
    let mut text = format!(
        "[collector]\npoll_interval = '20ms'\ntimeout = '50ms'\nallow_fast_polling = true\n{top}\n\
         [sinks.sqlite]\npath = '{name}.db'\n"
    );
    for (number, (place, ap)) in inverters.iter().enumerate() {
        let _ = writeln!(
            text,
            "[[inverter]]\nname = 'roof{number}'\nhost = '{}'\nap_address = {ap}",
            place.0
        );
    }
    let path = folder.join(name).with_extension("toml");
    std::fs::write(&path, text).expect("a file can be written");
    path
}

async fn faulty(place: &Place, seed: u64) -> Running {
    let faults = "all=0.05,delay=0.05:5ms..100ms,silence=0.05:15,reboot=0.05:3";
    start_when_free(Config {
        data: place.data(),
        discovery: Some(place.discovery()),
        asleep: true,
        faults: Faults::parse(faults).expect("a list of faults"),
        ..Config::new(seed)
    })
    .await
}

fn asked(simulator: &Running, request: Request) -> u64 {
    simulator.counts().requests(request)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_sends_requests_and_greetings_and_nothing_else() {
    if !strace_works() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let places = [Place::free(), Place::free()];
    let simulators = [faulty(&places[0], 1).await, faulty(&places[1], 2).await];
    let hostile = [Hostile::new(), Hostile::new()];
    let inverters = [
        (&places[0], 0xB0),
        (&places[1], 0xC0),
        (&hostile[0].place, 0xB0),
        (&hostile[1].place, 0xC0),
    ];
    let config = write_config(folder.path(), "run", "", &inverters);
    let config = config.to_str().expect("a path of text");
    let traced = Traced::start(folder.path(), &["run", "--config", config]);
    until("faults, recoveries and greetings", || {
        let simulators = simulators.iter().all(|simulator| {
            asked(simulator, Request::Running) >= 100
                && asked(simulator, Request::DeviceInfo) >= 2
                && simulator.counts().greetings >= 2
        });
        let hostile = hostile
            .iter()
            .all(|hostile| hostile.requests() >= 50 && hostile.greetings() >= 1);
        (simulators && hostile).then_some(())
    })
    .await;
    let sent = traced.stop().await;
    let expected = [0, 1, 3, 4].map(|number: usize| REQUESTS[number]);
    let expected: BTreeSet<&str> = expected.into_iter().chain([GREETING]).collect();
    assert_eq!(check(&sent), expected);
    for simulator in &simulators {
        assert_eq!(simulator.counts().unexpected, 0);
    }
    hostile.iter().for_each(Hostile::check);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_with_discovery_sends_requests_and_greetings_and_nothing_else() {
    if !strace_works() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::free();
    let simulator = faulty(&place, 3).await;
    let hostile = Hostile::new();
    let greeted = format!(
        "discovery_addresses = ['{}', '{}']",
        place.0, hostile.place.0
    );
    let config = write_config(folder.path(), "discover", &greeted, &[]);
    let config = config.to_str().expect("a path of text");
    let traced = Traced::start(folder.path(), &["run", "--config", config]);
    until("readings", || {
        (asked(&simulator, Request::Running) >= 20).then_some(())
    })
    .await;
    let (before, _) = simulator.stop().await;
    let greetings = hostile.greetings();
    until("a search", || {
        (hostile.greetings() > greetings).then_some(())
    })
    .await;
    let simulator = faulty(&place, 3).await;
    until("its return", || {
        (asked(&simulator, Request::Running) >= 20).then_some(())
    })
    .await;
    let sent = traced.stop().await;
    let kinds = check(&sent);
    assert!(
        kinds.contains(GREETING) && kinds.contains(REQUESTS[1]),
        "{kinds:?}"
    );
    assert_eq!(before.unexpected + simulator.counts().unexpected, 0);
    hostile.check();
    assert_eq!(hostile.requests(), 0, "its MAC is the higher one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_with_a_host_read_discover_and_check_send_requests_and_greetings_and_nothing_else() {
    if !strace_works() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::free();
    let simulator = faulty(&place, 4).await;
    let hostile = Hostile::new();
    let host = hostile.place.0.to_string();

    let quick = write_config(folder.path(), "quick", "", &[(&place, 0xC0)]);
    let quick = quick.to_str().expect("a path of text");
    let traced = Traced::start(folder.path(), &["run", "--config", quick, "--host", &host]);
    until("requests", || (hostile.requests() >= 40).then_some(())).await;
    assert!(check(&traced.stop().await).contains(REQUESTS[4]));

    // Without a configuration, as most will begin.
    let before = hostile.requests();
    let traced = Traced::start(folder.path(), &["run", "--host", &host]);
    until("a request", || (hostile.requests() > before).then_some(())).await;
    assert!(check(&traced.stop().await).contains(REQUESTS[1]));

    let discover = |address: &str, more: &[&str]| {
        let greet = ["discover", "--timeout", "200ms", "--address", address];
        Traced::start(folder.path(), &[&greet, more].concat())
    };
    for address in [place.0.to_string(), host.clone()] {
        let sent = discover(&address, &["--greet-only"]).end().await;
        assert_eq!(check(&sent), GREETINGS.into());
    }
    let greetings = simulator.counts().greetings;
    assert_eq!(greetings, 2, "it is awake from here on");

    for ap in [0xB0, 0xC0] {
        let inverters = [(&place, ap), (&hostile.place, ap)];
        let config = write_config(folder.path(), "read", "", &inverters);
        let config = config.to_str().expect("a path of text");
        for inverter in ["roof0", "roof1"] {
            let read = ["read", "--config", config, "--inverter", inverter];
            for (more, requests) in [
                (&[][..], &[0x06][..]),
                (&["--json"], &[0x06]),
                (&["--device"], &[0x02]),
                (&["--settings"], &[0x09]),
                (&["--device", "--settings", "--json"], &[0x02, 0x09]),
            ] {
                let sent = Traced::start(folder.path(), &[&read, more].concat())
                    .end()
                    .await;
                let expected: BTreeSet<&str> = REQUESTS
                    .into_iter()
                    .filter(|request| request.starts_with(&hex(&[0xaa, 0x55, ap])))
                    .filter(|request| {
                        requests
                            .iter()
                            .any(|function| request[10..12] == hex(&[*function]))
                    })
                    .collect();
                let kinds = check(&sent);
                assert!(!kinds.is_empty(), "{more:?}");
                // With both, a silence after the first ends the command.
                assert!(kinds.is_subset(&expected), "{more:?}: {kinds:?}");
            }
        }
        let sent = Traced::start(folder.path(), &["check", "--config", config])
            .end()
            .await;
        assert!(sent.is_empty(), "check only looks at the file: {sent:?}");
    }
    assert_eq!(simulator.counts().unexpected, 0);

    // What does not answer as it should is asked in every other way as well.
    for ap in [0xB0, 0xC0] {
        let inverters = [(&place, ap), (&hostile.place, ap)];
        let config = write_config(folder.path(), "connect", "", &inverters);
        let config = config.to_str().expect("a path of text");
        let connect = ["check", "--config", config, "--connect", "--polls", "3"];
        let sent = Traced::start(folder.path(), &connect).end().await;
        let polls = REQUESTS.iter().filter(|request| {
            request.starts_with(&hex(&[0xaa, 0x55, ap])) && request[10..12] == *"06"
        });
        let expected: BTreeSet<&str> = polls.copied().chain(GREETINGS).collect();
        assert!(check_all(&sent).is_superset(&expected));
    }
    let sent = discover(&host, &[]).end().await;
    let expected = [REQUESTS[1], REQUESTS[4]].into_iter().chain(GREETINGS);
    let kinds = check_all(&sent);
    assert!(kinds.is_superset(&expected.collect()), "{kinds:?}");
    let sent = ["init", "-", "--yes", "--host", &host];
    let sent = Traced::start(folder.path(), &sent).end().await;
    assert!(check_all(&sent).contains(REQUESTS[1]));
    hostile.check();
}

/// Machines that speak Modbus with every fault of their way, each at a place of its own.
async fn machines() -> Vec<(Place, &'static str, modbus::Running)> {
    use modbus::config::{Config, Family, Via};
    let mut machines = Vec::new();
    for (family, via, section) in [
        (
            Family::KstarHybrid,
            Via::Solarman,
            "family = 'kstar-hybrid'",
        ),
        (Family::GoodweEt, Via::Udp, "family = 'goodwe-et'"),
        (Family::GoodweDt, Via::Udp, "family = 'goodwe-dt'"),
        (
            Family::GoodweEt,
            Via::ModbusTcp,
            "family = 'goodwe-et'\nvia = 'modbus-tcp'",
        ),
        // A stick that speaks Modbus TCP.
        (
            Family::KstarHybrid,
            Via::ModbusTcp,
            "family = 'kstar-hybrid'",
        ),
    ] {
        let place = Place::free();
        let config = Config {
            via,
            data: place.data(),
            discovery: Some(place.discovery()),
            faults: modbus::faults::Faults::parse(via, "all=0.02").expect("a list of faults"),
            ..Config::new(family, 5)
        };
        let running = modbus::start(config).await.expect("its ports are free");
        machines.push((place, section, running));
    }
    machines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_that_speak_modbus_are_sent_reads_and_greetings_and_nothing_else() {
    if !cfg!(feature = "modbus") || !strace_works() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let machines = machines().await;
    let hostile = Hostile::new();
    let mut text = "[collector]\npoll_interval = '50ms'\ntimeout = '100ms'\n\
                    allow_fast_polling = true\n[sinks.sqlite]\npath = 'modbus.db'\n"
        .to_owned();
    let hostile_one = "family = 'kstar-hybrid'";
    let all = machines.iter().map(|(place, section, _)| (place, *section));
    for (number, (place, section)) in all.chain([(&hostile.place, hostile_one)]).enumerate() {
        let host = place.data();
        let _ = writeln!(
            text,
            "[[inverter]]\nname = 'roof{number}'\nhost = '{host}'\n{section}"
        );
    }
    let config = folder.path().join("modbus.toml");
    std::fs::write(&config, text).expect("a file can be written");
    let config = config.to_str().expect("a path of text");
    let start = |arguments: &[&str]| Traced::start(folder.path(), arguments);

    let traced = start(&["run", "--config", config]);
    until("requests to all", || {
        let each = machines.iter().map(|(_, _, machine)| machine.counts());
        each.into_iter()
            .all(|counts| counts.requested() >= 60)
            .then_some(())
    })
    .await;
    let sent = traced.stop().await;
    let kinds = check_all(&sent);
    assert!(kinds.iter().any(|bytes| is_v5(&unhex(bytes))));
    assert!(kinds.iter().any(|bytes| is_modbus_tcp(&unhex(bytes))));
    assert!(
        kinds
            .iter()
            .any(|bytes| is_rtu(&unhex(bytes), &OVER_UDP[..1]))
    );
    assert!(
        kinds
            .iter()
            .any(|bytes| is_rtu(&unhex(bytes), &OVER_UDP[1..]))
    );
    for number in 0..=machines.len() {
        let name = format!("roof{number}");
        for more in ["--device", "--settings", "--json"] {
            let read = ["read", "--config", config, "--inverter", &name, more];
            check_all(&start(&read).end().await);
        }
    }
    for (_, _, machine) in &machines {
        assert_eq!(machine.counts().unexpected, 0);
    }
    let connect = ["check", "--config", config, "--connect", "--polls", "2"];
    check_all(&start(&connect).end().await);
    for (place, ..) in &machines {
        let address = place.0.to_string();
        let discover = ["discover", "--timeout", "200ms", "--address", &address];
        assert!(check_all(&start(&discover).end().await).is_superset(&GREETINGS.into()));
    }
    hostile.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demonstration_sends_requests_to_its_own_inverter_and_nothing_else() {
    if !strace_works() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let traced = Traced::start(folder.path(), &["run", "--demo"]);
    until("replies", || {
        let trace = std::fs::read_to_string(&traced.trace).ok()?;
        let sent = trace.lines().filter_map(Sent::read);
        let replies = sent.filter(|sent| sent.bytes.starts_with("aa557fb0"));
        (replies.count() >= 3).then_some(())
    })
    .await;
    let sent = traced.stop().await;
    let (asking, answering): (Vec<Sent>, Vec<Sent>) = sent
        .into_iter()
        .partition(|sent| sent.socket.starts_with("UDP:[0.0.0.0:"));
    assert_eq!(check(&asking), [REQUESTS[0], REQUESTS[1]].into());
    let inverters: BTreeSet<&str> = answering.iter().map(|sent| &*sent.socket).collect();
    assert_eq!(
        inverters.len(),
        1,
        "one inverter, one socket: {inverters:?}"
    );
    for reply in &answering {
        assert!(reply.socket.starts_with("UDP:[127.0.0.1:"), "{reply:?}");
        assert!(reply.bytes.starts_with("aa557fb0018"), "{reply:?}");
    }
}
