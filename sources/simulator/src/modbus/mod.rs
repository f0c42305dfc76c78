//! Machines that speak Modbus: KSTAR hybrids behind Solarman sticks, GoodWe ET and DT.
//!
//! As the rest of this crate they know nothing of any decoder: registers, signs, scales and frames are written down
//! from the protocol notes a second time.
//!
//! - [`config`]: which machine, reached how, with what in it;
//! - [`house`]: what flows in the house behind it;
//! - [`energies`]: the true energies, and counters of them;
//! - [`families`]: what stands in which register;
//! - [`framing`]: what is put around it;
//! - [`faults`]: what goes wrong on the way;
//! - [`playback`]: a recorded machine in its place;
//! - [`record`]: what was asked and sent.
//!
//! ```
//! use kstar_simulator::modbus::config::{Config, Family, Meter};
//! use kstar_simulator::modbus::faults::Faults;
//! use kstar_simulator::modbus::energies::kilowatt_hours;
//! use kstar_simulator::modbus::start;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let mut config = Config::new(Family::KstarHybrid, 1);
//! config.plant.meter = Meter::Registers58; // the meter of an ET; any but `None` is a meter of the others
//! config.speed = 600.0; // ten simulated minutes in a second
//! config.log_capacity = 10_000;
//! config.faults = Faults::parse(config.via, "foreign=0.05,torn=0.05").expect("faults");
//! let machine = start(config).await?;
//! // The address is for a client to ask, and everything it does is recorded.
//! let _address = machine.data_address();
//! assert_eq!(machine.counts().unexpected, 0);
//! assert!(kilowatt_hours(machine.energies().pv) > 1.0); // since midnight, and it began at noon
//! let (counts, log) = machine.stop().await;
//! assert_eq!((counts.opened, log.len()), (0, 0));
//! # Ok(())
//! # }
//! ```
//!
//! A reply is accounted for by [`record::Event::Sent`]: [`record::Sent::Proper`] is right, what a fault made is
//! [`record::Sent::Faulty`]. Anything that a client sends and that is no read is [`record::Event::Unexpected`]; of
//! those that are well-formed requests all are answered with exception 01.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

#[cfg(test)]
mod captures;
pub mod config;
pub mod energies;
pub mod families;
pub mod faults;
pub mod framing;
pub mod house;
mod links;
mod machine;
pub mod playback;
pub mod record;
mod respond;
mod service;

use config::Config;
use energies::Energies;
use record::{Counts, Entry, Record};
use respond::Responder;
use service::Service;

/// Starts a machine: its sockets are bound when this returns.
pub async fn start(config: Config) -> io::Result<Running> {
    config.check()?;
    let links = links::Links::bind(&config).await?;
    let discovery = match config.discovery {
        Some(address) => Some(super::bind(address).await?),
        None => None,
    };
    let discovery_address = match &discovery {
        Some(socket) => Some(socket.local_addr()?),
        None => None,
    };
    let began = Instant::now();
    let record = Arc::new(Mutex::new(Record::new(config.log_capacity)));
    let (stop, stopped) = oneshot::channel();
    let (online, is_online) = watch::channel(true);
    let data = links.local();
    let service = Service::new(
        Responder::new(config.clone(), began),
        links,
        discovery.zip(discovery_address),
        Arc::clone(&record),
        is_online,
        began,
    );
    Ok(Running {
        config,
        began,
        data,
        discovery: discovery_address,
        record,
        task: tokio::spawn(service.run(stopped)),
        stop,
        online,
    })
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    // Every change is a whole one, so anyone who panicked has left nothing half done.
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A simulated machine that answers until this is dropped.
#[derive(Debug)]
pub struct Running {
    config: Config,
    began: Instant,
    data: SocketAddr,
    discovery: Option<SocketAddr>,
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    online: watch::Sender<bool>,
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

    /// What it is.
    pub fn config(&self) -> &Config {
        &self.config
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

    /// Takes it off the network or puts it back; its house goes on. Without the network there are no replies, and
    /// connections are reset.
    pub fn set_online(&self, online: bool) {
        self.online.send_replace(online);
    }

    /// The true energies of its house since the first midnight, in watt seconds, as of now.
    pub fn energies(&self) -> Energies {
        machine::energies_at(&self.config, self.began, Instant::now())
    }

    /// The same as of a moment since the start, like an entry of the log has one.
    pub fn energies_at(&self, at: std::time::Instant) -> Energies {
        machine::energies_at(&self.config, self.began, Instant::from_std(at))
    }

    /// What its clock says at a moment: simulated seconds since the first midnight.
    pub fn seconds_at(&self, at: std::time::Instant) -> f64 {
        machine::seconds_at(&self.config, self.began, Instant::from_std(at))
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
