//! What an inverter is to be like.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::civil::DateTime;

use crate::day::Household;
use crate::encode::{DeviceInfo, Variant};
use crate::faults::Faults;
use crate::quirks::Quirks;
use crate::replay::Replay;

/// A simulated day in a second; faster than that nothing could be seen.
pub const FASTEST: f64 = 86_400.0;

/// One inverter to be simulated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it answers requests; port 0 for any.
    pub data: SocketAddr,
    /// Where it answers greetings; port 0 for any.
    pub discovery: Option<SocketAddr>,
    /// Decides about weather, habits and faults.
    pub seed: u64,
    /// Simulated seconds in a real one, from 0 (time stands still) to [`FASTEST`].
    pub speed: f64,
    /// What its clock says at the start.
    pub begins: DateTime,
    /// The household that it goes on with, in place of a new one: not after `begins`.
    pub household: Option<Household>,
    /// Its serial number, at most 16 ASCII characters.
    pub serial: String,
    /// Its model, at most 10 ASCII characters.
    pub model: String,
    /// The hardware address of its wireless module, in a greeting's answer.
    pub mac: String,
    /// Which running data it sends.
    pub variant: Variant,
    /// How it says who it is, if it does.
    pub device_info: Option<DeviceInfo>,
    /// Whether it tells its settings.
    pub settings: bool,
    /// Whether it answers nothing until it is greeted, as newer modules do.
    pub asleep: bool,
    /// How long an answer takes.
    pub latency: Duration,
    /// What goes wrong.
    pub faults: Faults,
    /// What is odd in its running data.
    pub quirks: Quirks,
    /// Recorded running data in place of simulated ones.
    pub replay: Option<Replay>,
    /// How many events the log holds; with 0 there is none.
    pub log_capacity: usize,
}

impl Config {
    /// A KSE4000 at noon of a summer's day, on a free port of this machine, without faults and without a log.
    /// Serial number and hardware address follow from the seed.
    pub fn new(seed: u64) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut numbers = fastrand::Rng::with_seed(seed);
        Self {
            data: any_port,
            discovery: Some(any_port),
            seed,
            speed: 1.0,
            begins: jiff::civil::date(2026, 6, 21).at(12, 0, 0, 0),
            household: None,
            serial: format!("KSE4000S{:08}", numbers.u32(..100_000_000)),
            model: "KSE4000".to_owned(),
            mac: format!("ACCF23{:06X}", numbers.u32(..0x0100_0000)),
            variant: Variant::default(),
            device_info: Some(DeviceInfo::default()),
            settings: true,
            asleep: false,
            latency: Duration::ZERO,
            faults: Faults::default(),
            quirks: Quirks::default(),
            replay: None,
            log_capacity: 0,
        }
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        let wrong = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        if !(0.0..=FASTEST).contains(&self.speed) {
            return wrong(format!(
                "the speed {} is not between 0 and {FASTEST} simulated seconds a second",
                self.speed
            ));
        }
        for (what, text, most) in [
            ("serial number", &self.serial, 16),
            ("model", &self.model, 10),
            ("hardware address", &self.mac, 32),
        ] {
            if text.len() > most || !text.chars().all(|sign| sign.is_ascii_graphic()) {
                return wrong(format!(
                    "the {what} `{text}` does not fit; write at most {most} ASCII characters"
                ));
            }
        }
        if self.asleep && self.discovery.is_none() {
            return wrong(
                "an inverter that sleeps until it is greeted needs a discovery address".to_owned(),
            );
        }
        self.faults
            .check()
            .or_else(|error| wrong(error.to_string()))
    }
}
