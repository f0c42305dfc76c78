//! `kstar simulate --family`: the machines that speak Modbus.

use std::future::Future;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clap::{Args, ValueEnum};
use kstar_common::setting::duration;
use kstar_simulator::modbus::config::{Config, Family, Meter, Via};
use kstar_simulator::modbus::faults::Faults;
use kstar_simulator::modbus::record::{Counts, Sent, Withheld};
use kstar_simulator::modbus::{Running, start};

use super::recorded::Machine;
use super::{Failure, SimulateArgs};

/// What only the Modbus families can be told.
#[derive(Args, Clone, Debug, Default)]
pub struct ModbusArgs {
    /// How they are reached [default: solarman for kstar-hybrid, udp for goodwe-et and goodwe-dt]
    #[arg(long, value_enum, help_heading = MODBUS)]
    pub via: Option<ViaName>,
    /// One phase or three [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=3), help_heading = MODBUS)]
    pub phases: Option<u8>,
    /// Their unit address [default: 1 for kstar-hybrid, 247 for goodwe-et, 127 for goodwe-dt]
    #[arg(long, value_name = "NUMBER", help_heading = MODBUS)]
    pub unit: Option<u8>,
    /// The serial number of the first one's Solarman stick; the next has the next
    #[arg(long, value_name = "NUMBER", help_heading = MODBUS)]
    pub logger_serial: Option<u32>,
    /// The meter at the grid; the numbers are the registers of a goodwe-et's meter block
    #[arg(long, value_enum, help_heading = MODBUS)]
    pub meter: Option<MeterName>,
    /// Without a battery
    #[arg(long, conflicts_with = "second_battery", help_heading = MODBUS)]
    pub no_battery: bool,
    /// With a second battery (goodwe-et)
    #[arg(long, help_heading = MODBUS)]
    pub second_battery: bool,
    /// How often the stick sends a heartbeat that nobody asked for
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, help_heading = MODBUS)]
    pub heartbeat: Option<Duration>,
    /// How often the stick sends a frame that is meant for the vendor's cloud
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, help_heading = MODBUS)]
    pub push: Option<Duration>,
    /// How often the stick resets its connections
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, help_heading = MODBUS)]
    pub reset: Option<Duration>,
}

const MODBUS: &str = "Options of the Modbus families";

impl ModbusArgs {
    /// Whether anything was told.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            via,
            phases,
            unit,
            logger_serial,
            meter,
            no_battery,
            second_battery,
            heartbeat,
            push,
            reset,
        } = self;
        let durations = [heartbeat, push, reset];
        via.is_none()
            && phases.is_none()
            && unit.is_none()
            && logger_serial.is_none()
            && meter.is_none()
            && durations.iter().all(|every| every.is_none())
            && !no_battery
            && !second_battery
    }
}

/// The ways as the command line has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ViaName {
    /// Modbus RTU in datagrams
    Udp,
    /// Solarman V5 over TCP
    Solarman,
    /// Modbus TCP
    ModbusTcp,
    /// Modbus RTU over TCP
    RtuOverTcp,
}

impl From<ViaName> for Via {
    fn from(name: ViaName) -> Self {
        match name {
            ViaName::Udp => Self::Udp,
            ViaName::Solarman => Self::Solarman,
            ViaName::ModbusTcp => Self::ModbusTcp,
            ViaName::RtuOverTcp => Self::RtuOverTcp,
        }
    }
}

fn via_name(via: Via) -> &'static str {
    match via {
        Via::Udp => "udp",
        Via::Solarman => "solarman",
        Via::ModbusTcp => "modbus-tcp",
        Via::RtuOverTcp => "rtu-over-tcp",
    }
}

/// The meters as the command line has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MeterName {
    /// No meter
    None,
    /// 45 registers
    #[value(name = "45")]
    Registers45,
    /// 58 registers
    #[value(name = "58")]
    Registers58,
    /// 125 registers
    #[value(name = "125")]
    Registers125,
}

impl From<MeterName> for Meter {
    fn from(name: MeterName) -> Self {
        match name {
            MeterName::None => Self::None,
            MeterName::Registers45 => Self::Registers45,
            MeterName::Registers58 => Self::Registers58,
            MeterName::Registers125 => Self::Registers125,
        }
    }
}

/// Simulates until `shutdown` ends, as [`super::run`] does.
pub(super) async fn run(
    args: &SimulateArgs,
    family: Family,
    recorded: Option<Machine>,
    out: &mut impl Write,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut running = Vec::new();
    for index in 0..args.inverters {
        let mut config = config(args, family, recorded.as_ref(), index)?;
        if let Some(machine) = &recorded {
            config.playback = Some(machine.playback.clone());
            // It answers as it did, whatever the time of day.
            config.off_at_night = false;
            config.aa55_device_info = false;
        }
        let machine = start(config).await;
        running.push(machine.map_err(|error| {
            let number = index + 1;
            Failure::Runtime(format!("cannot simulate inverter {number}: {error}"))
        })?);
    }
    for (index, machine) in running.iter().enumerate() {
        write_machine(out, index + 1, family, machine)?;
    }
    out.flush()?;

    shutdown.await;

    for (index, machine) in running.into_iter().enumerate() {
        let (counts, _) = machine.stop().await;
        write_counts(out, index + 1, &counts)?;
    }
    out.flush()?;
    Ok(())
}

fn config(
    args: &SimulateArgs,
    family: Family,
    recorded: Option<&Machine>,
    index: u16,
) -> Result<Config, Failure> {
    let modbus = &args.modbus;
    let phases = modbus.phases.unwrap_or(3);
    if phases == 2 {
        let problem = "no inverter has two phases; write --phases 1 or --phases 3";
        return Err(Failure::Usage(problem.to_owned()));
    }
    let seed = args.seed.wrapping_add(u64::from(index));
    let mut config = Config::with_phases(family, phases, seed);
    if let Some(via) = modbus.via.or(recorded.and_then(|machine| machine.via)) {
        config.via = via.into();
    }
    // The lines that are printed are for a configuration, which has no such way to the family.
    let missing = match family {
        Family::KstarHybrid => Via::Udp,
        Family::GoodweEt | Family::GoodweDt => Via::Solarman,
    };
    if config.via == missing {
        return Err(Failure::Usage(format!(
            "--via {}: there is no such way to a {}; leave --via out for the usual one",
            via_name(missing),
            family_name(family)
        )));
    }
    config.faults = Faults::parse(config.via, &args.faults)
        .map_err(|error| Failure::Usage(format!("--faults: {error}")))?;
    let addresses = super::Addresses::of(args, index)?;
    config.data = addresses.data;
    config.discovery = addresses.discovery;
    config.speed = args.speed;
    config.begins = super::today().to_datetime(args.start);
    config.latency = args.latency;
    config.asleep = args.asleep;
    let unit = modbus.unit.or(recorded.and_then(|machine| machine.unit));
    config.unit = unit.unwrap_or(config.unit);
    if let Some(first) = modbus.logger_serial {
        config.logger_serial = first.wrapping_add(u32::from(index));
    }
    if let Some(meter) = modbus.meter {
        config.plant.meter = meter.into();
    }
    if modbus.no_battery {
        config.plant.battery = None;
    }
    config.plant.second_battery = modbus.second_battery;
    config.stick.heartbeat_every = modbus.heartbeat;
    config.stick.push_every = modbus.push;
    config.stick.reset_every = modbus.reset;
    Ok(config)
}

fn write_machine(
    out: &mut impl Write,
    number: usize,
    family: Family,
    machine: &Running,
) -> io::Result<()> {
    let mut host = machine.data_address();
    if host.ip().is_unspecified() {
        host.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let config = machine.config();
    match &config.playback {
        Some(_) => write!(out, "# a recording, unit {}", config.unit)?,
        None => write!(
            out,
            "# {}, seed {}, unit {}",
            config.serial, config.seed, config.unit
        )?,
    }
    if config.via == Via::Solarman {
        write!(out, ", logger {}", config.logger_serial)?;
    }
    match machine.discovery_address() {
        Some(discovery) => writeln!(out, "; answers greetings on {discovery}")?,
        None => writeln!(out, "; answers no greetings")?,
    }
    writeln!(
        out,
        "[[inverter]]\nname = \"simulated{number}\"\nfamily = \"{}\"\nvia = \"{}\"\nhost = \"{host}\"",
        family_name(family),
        via_name(config.via)
    )?;
    if config.unit != family.usual_unit() {
        writeln!(out, "unit = {}", config.unit)?;
    }
    writeln!(out)
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::KstarHybrid => "kstar-hybrid",
        Family::GoodweEt => "goodwe-et",
        Family::GoodweDt => "goodwe-dt",
    }
}

fn write_counts(out: &mut impl Write, number: usize, counts: &Counts) -> io::Result<()> {
    writeln!(out, "simulated{number}")?;
    let mut row = |what: &str, count: u64| writeln!(out, "  {what:<36}{count:>10}");
    for (read, count) in &counts.requests {
        let what = format!(
            "asked for {:02} {}, {}",
            read.function, read.first, read.count
        );
        row(&what, *count)?;
    }
    row("asked in all", counts.requested())?;
    row("greeted", counts.greetings)?;
    row("received something else", counts.unexpected)?;
    if counts.opened > 0 {
        row("connections", counts.opened)?;
        row("connections at one time, at most", counts.most_open)?;
    }
    for (sent, count) in &counts.sent {
        row(&sent_name(*sent), *count)?;
    }
    for (withheld, count) in &counts.withheld {
        row(&withheld_name(*withheld), *count)?;
    }
    Ok(())
}

fn sent_name(sent: Sent) -> String {
    match sent {
        Sent::Proper => "sent as it should be".to_owned(),
        Sent::Exception(code) => format!("sent exception {code}"),
        Sent::NoInverter => "sent: no answer from that unit".to_owned(),
        Sent::OwnSerial => "sent the right logger serial".to_owned(),
        Sent::NoV5 => "sent: not a V5 stick".to_owned(),
        Sent::Faulty(fault) => format!("sent with fault {fault}"),
        Sent::Aa55 => "sent AA55 device info".to_owned(),
        Sent::Overheard => "sent to other connections".to_owned(),
        Sent::Greeting => "sent to a greeting".to_owned(),
        Sent::Heartbeat => "sent as a heartbeat".to_owned(),
        Sent::Push => "sent for the cloud".to_owned(),
    }
}

fn withheld_name(withheld: Withheld) -> String {
    let reason = match withheld {
        Withheld::Faulty(fault) => fault.name(),
        Withheld::Asleep => "asleep",
        Withheld::Night => "no sun",
        Withheld::Offline => "offline",
        Withheld::WrongUnit => "another unit was asked",
        Withheld::Overflow => "too many waiting",
        Withheld::Stopped => "stopped before",
        Withheld::Failed => "connection gone or network error",
    };
    format!("not sent: {reason}")
}

/// That a list of faults is one of some way at least; which one is known only with the family.
pub(super) fn check_faults(text: &str) -> bool {
    let ways = [Via::Udp, Via::Solarman, Via::ModbusTcp, Via::RtuOverTcp];
    ways.into_iter().any(|via| Faults::parse(via, text).is_ok())
}

#[cfg(test)]
mod tests;
