//! An inverter that is not there: for trying the program out, for demonstrations and for tests.
//!
//! It answers on real sockets as the wireless module of an inverter does, and it knows nothing of the rest of the
//! program, above all not the decoder: bytes are put together from the protocol notes a second time, so that a
//! mistake in one of the two shows.
//!
//! - [`day`]: what a household's inverter measures at a given moment;
//! - [`replay`]: recorded packets in its place;
//! - [`encode`]: figures as bytes;
//! - [`quirks`]: what is odd in what the inverter says;
//! - [`faults`]: what goes wrong on the way;
//! - [`record`]: what was asked and sent;
//! - [`modbus`]: the same for machines that speak Modbus.
//!
//! One inverter is one [`Config`]; several of them, with different seeds and addresses, are a whole roof.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use encode::{ASSIST_GREETING, GREETING, Request};
use inverter::{Asked, Inverter, Outgoing};
use record::{Counts, Entry, Event, Record, Sent, Withheld};

mod config;
pub mod day;
pub mod encode;
pub mod faults;
mod inverter;
pub mod modbus;
pub mod quirks;
pub mod record;
pub mod replay;
mod surroundings;

pub use config::{Config, FASTEST};

/// Longer than any request; what is longer is unexpected in any case, and only its beginning is logged.
const LONGEST_REQUEST: usize = 2048;

/// Two seconds of answers at the highest rate of the benches.
const MOST_WAITING: usize = 4096;

/// How often the past is caught up with while nobody asks.
const KEEP_UP_EVERY: Duration = Duration::from_secs(1);

/// A socket that fails at once, again and again, must not take a whole core.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Starts an inverter: its sockets are bound when this returns.
pub async fn start(config: Config) -> io::Result<Running> {
    config.check()?;
    let data = bind(config.data).await?;
    let data_address = data.local_addr()?;
    let (discovery, discovery_address) = match config.discovery {
        Some(address) => {
            let socket = bind(address).await?;
            let address = socket.local_addr()?;
            (Some(socket), Some(address))
        }
        None => (None, None),
    };
    let other = bind(SocketAddr::new(data_address.ip(), 0)).await?;
    let other_address = other.local_addr()?;

    let record = Arc::new(Mutex::new(Record::new(config.log_capacity)));
    let (stop, stopped) = oneshot::channel();
    let service = Service {
        greeting: greeting_answer(data_address, &config.mac),
        inverter: Inverter::new(config, Instant::now()),
        data: (data, data_address),
        other: (other, other_address),
        discovery: discovery.zip(discovery_address),
        record: Arc::clone(&record),
        asked: 0,
        waiting: BTreeMap::new(),
        queued: 0,
    };
    Ok(Running {
        data: data_address,
        discovery: discovery_address,
        other: other_address,
        record,
        task: tokio::spawn(service.run(stopped)),
        stop,
    })
}

async fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

fn greeting_answer(data: SocketAddr, mac: &str) -> Vec<u8> {
    // Who listens everywhere is asked from here as a rule.
    let address = if data.ip().is_unspecified() {
        IpAddr::from(Ipv4Addr::LOCALHOST)
    } else {
        data.ip()
    };
    format!("{address},{mac},HF-LPB1x000").into_bytes()
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    // Every change is a whole one, so anyone who panicked has left nothing half done.
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A simulated inverter that answers until this is dropped.
#[derive(Debug)]
pub struct Running {
    data: SocketAddr,
    discovery: Option<SocketAddr>,
    other: SocketAddr,
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Running {
    /// Where it answers requests.
    pub fn data_address(&self) -> SocketAddr {
        self.data
    }

    /// Where it answers greetings.
    pub fn discovery_address(&self) -> Option<SocketAddr> {
        self.discovery
    }

    /// Where answers come from that come from the wrong port.
    pub fn other_address(&self) -> SocketAddr {
        self.other
    }

    /// What was asked and sent so far.
    pub fn counts(&self) -> Counts {
        lock(&self.record).counts.clone()
    }

    /// Every event from the start until the log was full.
    pub fn log(&self) -> Vec<Entry> {
        lock(&self.record).log.clone()
    }

    /// How many events came after the log was full.
    pub fn missed(&self) -> u64 {
        lock(&self.record).missed
    }

    /// Stops and says what was asked and sent in all, and the log. When this returns the sockets are closed.
    pub async fn stop(self) -> (Counts, Vec<Entry>) {
        drop(self.stop);
        // A task that panicked has been reported by the runtime; the record is good all the same.
        let _ = self.task.await;
        let mut record = lock(&self.record);
        (record.counts.clone(), std::mem::take(&mut record.log))
    }
}

/// The task behind a running inverter.
struct Service {
    inverter: Inverter,
    greeting: Vec<u8>,
    data: (UdpSocket, SocketAddr),
    other: (UdpSocket, SocketAddr),
    discovery: Option<(UdpSocket, SocketAddr)>,
    record: Arc<Mutex<Record>>,
    asked: u64,
    /// By time, and among those of the same time in the order in which they came.
    waiting: BTreeMap<(Instant, u64), Outgoing>,
    queued: u64,
}

impl Service {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut data_buffer = [0; LONGEST_REQUEST];
        let mut discovery_buffer = [0; LONGEST_REQUEST];
        let mut keep_up = interval(KEEP_UP_EVERY);
        keep_up.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.waiting.first_key_value().map(|((due, _), _)| *due);
            tokio::select! {
                // Ends when the handle is dropped.
                _ = &mut stopped => break,
                received = self.data.0.recv_from(&mut data_buffer) => match received {
                    Ok((length, from)) => {
                        let datagram = data_buffer.get(..length).unwrap_or_default();
                        self.take_request(datagram, from).await;
                    }
                    Err(_) => sleep(PAUSE_AFTER_FAILURE).await,
                },
                received = receive(self.discovery.as_ref(), &mut discovery_buffer) => match received {
                    Ok((length, from)) => {
                        let datagram = discovery_buffer.get(..length).unwrap_or_default();
                        self.take_greeting(datagram, from).await;
                    }
                    Err(_) => sleep(PAUSE_AFTER_FAILURE).await,
                },
                () = until(due) => self.send_due().await,
                _ = keep_up.tick() => self.inverter.keep_up(Instant::now()),
            }
        }
        for outgoing in std::mem::take(&mut self.waiting).into_values() {
            self.withhold(outgoing.answers, outgoing.to, Withheld::Stopped);
        }
    }

    async fn take_request(&mut self, datagram: &[u8], from: SocketAddr) {
        let Some((request, master)) = Request::parse(datagram) else {
            self.note(self.data.1, from, Event::Unexpected, datagram);
            return;
        };
        let serial = self.asked;
        self.asked += 1;
        self.note(
            self.data.1,
            from,
            Event::Asked { serial, request },
            datagram,
        );
        let asked = Asked {
            serial,
            request,
            master,
            from,
        };
        match self.inverter.answer(asked, Instant::now()) {
            Err(withheld) => self.withhold(Some(serial), from, withheld),
            Ok(answers) => {
                for outgoing in answers {
                    self.queue(outgoing);
                }
                self.send_due().await;
            }
        }
    }

    async fn take_greeting(&mut self, datagram: &[u8], from: SocketAddr) {
        let Some(local) = self.discovery.as_ref().map(|(_, address)| *address) else {
            return;
        };
        if datagram != GREETING && datagram != ASSIST_GREETING {
            self.note(local, from, Event::Unexpected, datagram);
            return;
        }
        self.note(local, from, Event::Greeted, datagram);
        self.inverter.wake();
        self.send(Outgoing {
            answers: None,
            sent: Sent::Greeting,
            to: from,
            from_other_port: false,
            due: Instant::now(),
            bytes: self.greeting.clone(),
        })
        .await;
    }

    fn queue(&mut self, outgoing: Outgoing) {
        if self.waiting.len() >= MOST_WAITING {
            self.withhold(outgoing.answers, outgoing.to, Withheld::Overflow);
            return;
        }
        self.waiting.insert((outgoing.due, self.queued), outgoing);
        self.queued += 1;
    }

    async fn send_due(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 > now {
                break;
            }
            let outgoing = first.remove();
            self.send(outgoing).await;
        }
    }

    async fn send(&mut self, outgoing: Outgoing) {
        let (socket, local) = match (&self.discovery, outgoing.sent) {
            (Some(discovery), Sent::Greeting) => discovery,
            _ if outgoing.from_other_port => &self.other,
            _ => &self.data,
        };
        let (answers, to) = (outgoing.answers, outgoing.to);
        let sent = outgoing.sent;
        loop {
            {
                // Sent under the lock: anyone who has the answer in hand finds it in the record.
                let mut record = lock(&self.record);
                match socket.try_send_to(&outgoing.bytes, to) {
                    Ok(_) => {
                        record.note(*local, to, Event::Sent { answers, sent }, &outgoing.bytes);
                        return;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            if socket.writable().await.is_err() {
                break;
            }
        }
        self.withhold(answers, to, Withheld::Failed);
    }

    fn withhold(&self, answers: Option<u64>, to: SocketAddr, withheld: Withheld) {
        let event = Event::Withheld { answers, withheld };
        self.note(self.data.1, to, event, &[]);
    }

    fn note(&self, local: SocketAddr, peer: SocketAddr, event: Event, bytes: &[u8]) {
        lock(&self.record).note(local, peer, event, bytes);
    }
}

/// The next datagram of a socket; of one that is not there, never.
async fn receive(
    socket: Option<&(UdpSocket, SocketAddr)>,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some((socket, _)) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
