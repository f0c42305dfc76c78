//! What the end-to-end tests share: addresses of their own, waiting for a condition, and a sink that remembers.

#![allow(dead_code, reason = "no test crate uses all of it")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kstar_engine::pipeline::ledger::keeper::{Closing, Keeper};
use kstar_engine::pipeline::meter::MeterSettings;
use kstar_engine::pipeline::untold::Untold;
use kstar_engine::unit::{Metering, SinkPlan};
use kstar_model::counted::MAX_GAP;
use kstar_model::reading::Reading;
use kstar_simulator::{Config, Running};
use kstar_sink::async_trait;
use kstar_sink::delivery::{DeliverySettings, Keep, Policy};
use kstar_sink::event::InverterStatus;
use kstar_sink::sink::{Batch, DeliveryError, Sink};
use kstar_source::datagram::GREETING_PORT;
use kstar_source::exchange::Patience;
use kstar_source::source::{Context, Target};
use kstar_source_aa55::DATA_PORT;

/// Longer than anything takes here, even on a machine that does ten other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An inverter at this address, asked without pauses.
pub(crate) fn context(address: SocketAddr, timeout: Duration) -> Context {
    Context {
        target: Target::Host {
            host: address.ip().to_string(),
            port: address.port(),
        },
        patience: Patience { tries: 3, timeout },
        interval: Duration::from_secs(5),
        fast: true,
    }
}

/// A loopback address on which nobody has the two ports of an inverter.
pub(crate) struct Place(pub(crate) Ipv4Addr);

impl Place {
    /// One of the sixteen million that is free.
    pub(crate) fn free() -> Self {
        loop {
            let ip = Ipv4Addr::new(
                127,
                fastrand::u8(1..=254),
                fastrand::u8(..),
                fastrand::u8(1..=254),
            );
            let is_free = [DATA_PORT, GREETING_PORT]
                .into_iter()
                .all(|port| UdpSocket::bind((ip, port)).is_ok());
            if is_free {
                return Self(ip);
            }
        }
    }

    /// Where requests go.
    pub(crate) fn data(&self) -> SocketAddr {
        (self.0, DATA_PORT).into()
    }

    /// Where greetings go.
    pub(crate) fn discovery(&self) -> SocketAddr {
        (self.0, GREETING_PORT).into()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Anyone who polls leaves a lock file for each address, and these addresses are never used again.
        let name = format!("kstar-{}-{DATA_PORT}.lock", self.0);
        let _ = std::fs::remove_file(std::path::Path::new("/run/lock").join(name));
    }
}

/// Starts an inverter as soon as its ports are free: any socket on this machine may have one of them for a moment, as
/// the port that the system chose for it.
pub(crate) async fn start_when_free(config: Config) -> Running {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match kstar_simulator::start(config.clone()).await {
            Ok(inverter) => return inverter,
            Err(error) => assert!(Instant::now() < deadline, "never free: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A socket at an address, as soon as that is free.
pub(crate) fn bind_when_free(address: SocketAddr) -> UdpSocket {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UdpSocket::bind(address) {
            Ok(socket) => return socket,
            Err(error) => assert!(
                Instant::now() < deadline,
                "{address} is never free: {error}"
            ),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until there is something.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until it is so, without a runtime.
pub(crate) fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What this test needs is not there: a failure where everything should be, else said aloud. Gives `false`.
pub(crate) fn missing(what: &str) -> bool {
    assert!(
        std::env::var_os("CI").is_none_or(|value| value.is_empty()),
        "this test needs {what}"
    );
    let mut err = std::io::stderr().lock();
    // Standard error of the process, which the test harness does not capture.
    let _ = std::io::Write::write_all(
        &mut err,
        format!("\nSKIPPED, NOT PASSED: this test needs {what}\n").as_bytes(),
    );
    false
}

/// What a sink was told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Reading(Arc<Reading>),
    Status(InverterStatus),
}

/// A server that remembers everything, in order.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Vec<Told>>>);

impl Memory {
    /// A sink for it.
    pub(crate) fn sink(&self, name: &'static str) -> SinkPlan {
        let memory = self.clone();
        SinkPlan {
            name,
            policy: policy(),
            open: Arc::new(move || Ok(Box::new(Remembering(memory.clone())))),
            spool: None,
        }
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn readings(&self) -> Vec<Arc<Reading>> {
        self.told()
            .into_iter()
            .filter_map(|told| match told {
                Told::Reading(reading) => Some(reading),
                Told::Status(_) => None,
            })
            .collect()
    }

    /// How many readings there are of an inverter.
    pub(crate) fn count(&self, inverter: &str) -> usize {
        self.readings()
            .iter()
            .filter(|reading| &*reading.inverter.name == inverter)
            .count()
    }

    pub(crate) fn statuses(&self) -> Vec<InverterStatus> {
        self.told()
            .into_iter()
            .filter_map(|told| match told {
                Told::Status(status) => Some(status),
                Told::Reading(_) => None,
            })
            .collect()
    }

    fn push(&self, told: Told) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(told);
    }
}

/// A meter that forgets everything at its end.
pub(crate) fn metering() -> Metering {
    Metering {
        settings: MeterSettings {
            zone: kstar_model::TimeZone::UTC,
            max_gap: MAX_GAP,
        },
        keeper: Keeper::default(),
        closing: Closing::default(),
        untold: Untold::default(),
    }
}

/// The usual policy of a sink that stores.
pub(crate) fn policy() -> Policy {
    DeliverySettings::default().policy(Keep::Every, std::num::NonZeroUsize::MIN.saturating_add(99))
}

struct Remembering(Memory);

#[async_trait]
impl Sink for Remembering {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<(), DeliveryError> {
        for reading in batch.to_vec() {
            self.0.push(Told::Reading(reading));
        }
        Ok(())
    }

    async fn status(&mut self, status: &InverterStatus) -> Result<(), DeliveryError> {
        self.0.push(Told::Status(status.clone()));
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        Ok(())
    }
}
