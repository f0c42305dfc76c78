//! What a Modbus machine is to be like.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::civil::DateTime;

use super::faults::Faults;
use super::house::House;
use super::playback::Playback;
use crate::config::FASTEST;

/// Which registers it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// KSTAR hybrids with a Solarman stick.
    KstarHybrid,
    /// GoodWe hybrids: ET, EH, BT, BH.
    GoodweEt,
    /// GoodWe string inverters: DT, MS, D-NS.
    GoodweDt,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::KstarHybrid, Self::GoodweEt, Self::GoodweDt];

    /// How it is reached as a rule.
    pub fn usual_via(self) -> Via {
        match self {
            Self::KstarHybrid => Via::Solarman,
            Self::GoodweEt | Self::GoodweDt => Via::Udp,
        }
    }

    /// The unit address as shipped.
    pub fn usual_unit(self) -> u8 {
        match self {
            Self::KstarHybrid => 1,
            Self::GoodweEt => 0xF7,
            Self::GoodweDt => 0x7F,
        }
    }
}

/// What is put around the registers on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// Modbus RTU in datagrams, replies behind `AA 55`.
    Udp,
    /// Solarman V5 over TCP.
    Solarman,
    /// Modbus TCP. It answers a V5 request as such sticks do.
    ModbusTcp,
    /// Modbus RTU over TCP.
    RtuOverTcp,
}

/// Which meter a plant has; the lengths are those of the meter block of an ET, other families have a meter or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meter {
    /// No meter: grid power and energies are not measured.
    None,
    /// 45 registers; 58 and 125 are an illegal address.
    Registers45,
    /// 58 registers; 125 are an illegal address. Its energies as floats are 0, as on large machines.
    Registers58,
    /// 125 registers.
    Registers125,
}

/// A battery, or two that share the work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Battery {
    /// What it holds.
    pub watt_hours: f64,
    /// The most it takes and gives.
    pub limit_watts: f64,
    /// Its nominal voltage.
    pub volts: f64,
}

/// What the machine is made of, and the house around it.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of the machine by itself"
)]
pub struct Plant {
    /// 1 or 3.
    pub phases: u8,
    /// The most that comes out of the inverter.
    pub rated_watts: i32,
    /// One for each string, at most four.
    pub string_peak_watts: Vec<f64>,
    /// None is an ordinary case for an ET, and the only one for a DT.
    pub battery: Option<Battery>,
    /// Whether the battery is two (ET).
    pub second_battery: bool,
    /// How many battery packs tell their state of charge (KSTAR), at most three.
    pub packs: u8,
    /// The meter at the grid.
    pub meter: Meter,
    /// Whether it has the block of strings (ET of 15 kW and more).
    pub strings_block: bool,
    /// Whether the totals of a KSTAR's battery count whole kWh instead of tenths: its documents disagree.
    pub battery_totals_in_whole_kwh: bool,
    /// What hangs on the back-up output of each phase.
    pub back_up_watts: i32,
    /// How much the house uses; 1 is a small one.
    pub household: f64,
    /// Whether the battery is charged from the grid from two to four o'clock.
    pub charges_at_night: bool,
}

impl Plant {
    /// An ordinary plant of a family with one or three phases.
    pub fn of(family: Family, phases: u8) -> Self {
        let three = phases == 3;
        let hybrid = family != Family::GoodweDt;
        let low_voltage = family == Family::KstarHybrid && !three;
        let battery = Battery {
            watt_hours: if three { 15_000.0 } else { 7_500.0 },
            limit_watts: if three { 5_000.0 } else { 2_500.0 },
            volts: if low_voltage { 51.2 } else { 256.0 },
        };
        Self {
            phases,
            rated_watts: if three { 10_000 } else { 5_000 },
            string_peak_watts: if three {
                vec![5_400.0, 4_600.0]
            } else {
                vec![2_700.0, 2_300.0]
            },
            battery: hybrid.then_some(battery),
            second_battery: false,
            packs: 0,
            meter: if family == Family::GoodweDt {
                Meter::None
            } else {
                Meter::Registers45
            },
            strings_block: false,
            battery_totals_in_whole_kwh: false,
            back_up_watts: match family {
                Family::KstarHybrid => 1,
                Family::GoodweEt => 64,
                Family::GoodweDt => 0,
            },
            household: if three { 3.5 } else { 1.5 },
            charges_at_night: false,
        }
    }

    /// The phases that the plant has; the others are 0.
    pub(super) fn by_phase<T: Default>(&self, [first, second, third]: [T; 3]) -> [T; 3] {
        if self.phases == 1 {
            [first, T::default(), T::default()]
        } else {
            [first, second, third]
        }
    }

    /// Watts spread over the phases, the odd ones on the first.
    pub(super) fn evenly(&self, watts: i32) -> [i32; 3] {
        let third = watts / 3;
        match self.phases {
            1 => [watts, 0, 0],
            _ => [watts - 2 * third, third, third],
        }
    }
}

/// What a Solarman stick does of its own accord.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stick {
    /// How often it sends a heartbeat.
    pub heartbeat_every: Option<Duration>,
    /// How often it sends a frame that is meant for the vendor's cloud.
    pub push_every: Option<Duration>,
    /// How often it resets its connections; real ones do so each three hours.
    pub reset_every: Option<Duration>,
}

/// One machine to be simulated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which registers it has.
    pub family: Family,
    /// How it is reached.
    pub via: Via,
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
    /// The house that it goes on with, in place of a new one: not after `begins`.
    pub house: Option<House>,
    /// What it is made of.
    pub plant: Plant,
    /// Its unit address.
    pub unit: u8,
    /// Its serial number: at most 22 ASCII characters of a KSTAR, 16 of a GoodWe.
    pub serial: String,
    /// Its model: at most 16 ASCII characters of a KSTAR, 10 of a GoodWe.
    pub model: String,
    /// The model code of a KSTAR (3045); those from 32 on have three phases.
    pub model_code: u16,
    /// The serial number of its Solarman stick.
    pub logger_serial: u32,
    /// The hardware address of its wireless module, in a greeting's answer.
    pub mac: String,
    /// Whether it answers nothing until it is greeted, as newer modules do (over UDP).
    pub asleep: bool,
    /// Whether it answers the AA55 request for its device info too, as an ET does (over UDP).
    pub aa55_device_info: bool,
    /// Whether it is off while there is no sun, as string inverters are.
    pub off_at_night: bool,
    /// How long an answer takes.
    pub latency: Duration,
    /// What its stick does of its own accord.
    pub stick: Stick,
    /// The machine that is played, if its registers are not simulated.
    pub playback: Option<Playback>,
    /// What goes wrong.
    pub faults: Faults,
    /// How many events the log holds; with 0 there is none.
    pub log_capacity: usize,
}

impl Config {
    /// A machine with three phases at noon of a summer's day, on a free port of this machine, reached as its family
    /// usually is, without faults and without a log. Serial numbers and hardware address follow from the seed.
    pub fn new(family: Family, seed: u64) -> Self {
        Self::with_phases(family, 3, seed)
    }

    /// The same with one or three phases.
    pub fn with_phases(family: Family, phases: u8, seed: u64) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut numbers = fastrand::Rng::with_seed(seed);
        let number = numbers.u32(..100_000_000);
        let three = phases == 3;
        // The letters in a GoodWe's serial number say what it is.
        let (serial, model) = match (family, three) {
            (Family::KstarHybrid, true) => (format!("KS10KT20240{number:08}"), "E10KT"),
            (Family::KstarHybrid, false) => (format!("KS5000D2024{number:08}"), "BluE-S 5000D"),
            (Family::GoodweEt, true) => (format!("9010KETU{number:08}"), "GW10K-ET"),
            (Family::GoodweEt, false) => (format!("95000EHU{number:08}"), "GW5000-EH"),
            (Family::GoodweDt, true) => (format!("9010KDTU{number:08}"), "GW10K-DT"),
            (Family::GoodweDt, false) => (format!("95000DSN{number:08}"), "GW5000D-NS"),
        };
        Self {
            family,
            via: family.usual_via(),
            data: any_port,
            discovery: Some(any_port),
            seed,
            speed: 1.0,
            begins: jiff::civil::date(2026, 6, 21).at(12, 0, 0, 0),
            house: None,
            plant: Plant::of(family, phases),
            unit: family.usual_unit(),
            serial,
            model: model.to_owned(),
            model_code: if three { 32 } else { 11 },
            logger_serial: 2_700_000_000 + numbers.u32(..100_000_000),
            mac: format!("34EAE7{:06X}", numbers.u32(..0x0100_0000)),
            asleep: false,
            aa55_device_info: family == Family::GoodweEt,
            off_at_night: family == Family::GoodweDt,
            latency: Duration::ZERO,
            stick: Stick::default(),
            playback: None,
            faults: Faults::default(),
            log_capacity: 0,
        }
    }

    pub(super) fn check(&self) -> io::Result<()> {
        let wrong = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        if !(0.0..=FASTEST).contains(&self.speed) {
            return wrong(format!(
                "the speed {} is not between 0 and {FASTEST} simulated seconds a second",
                self.speed
            ));
        }
        let plant = &self.plant;
        if !matches!(plant.phases, 1 | 3) {
            return wrong(format!("{} phases; write 1 or 3", plant.phases));
        }
        if !(1..=4).contains(&plant.string_peak_watts.len()) || plant.packs > 3 {
            return wrong("there are one to four strings and at most three packs".to_owned());
        }
        let (serial, model) = match self.family {
            Family::KstarHybrid => (22, 16),
            Family::GoodweEt | Family::GoodweDt => (16, 10),
        };
        for (what, text, most) in [
            ("serial number", &self.serial, serial),
            ("model", &self.model, model),
            ("hardware address", &self.mac, 32),
        ] {
            let fits = |sign: char| sign.is_ascii_graphic() || sign == ' ';
            if text.len() > most || !text.chars().all(fits) {
                return wrong(format!(
                    "the {what} `{text}` does not fit; write at most {most} ASCII characters"
                ));
            }
        }
        if self.asleep && (self.discovery.is_none() || self.via != Via::Udp) {
            return wrong(
                "a machine that sleeps until it is greeted is reached over UDP and needs a discovery address"
                    .to_owned(),
            );
        }
        self.faults
            .check(self.via)
            .or_else(|error| wrong(error.to_string()))
    }
}
