//! `kstar simulate`: inverters that are not there, for trying a configuration out before the real ones are.
//!
//! Each has a port of its own, counted up from the first: other loopback addresses would be nicer to look at, but
//! not every system has them.

use std::future::Future;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::civil::Time;
use kstar_common::setting::duration;
use kstar_simulator::encode::{DeviceInfo, Request, Variant};
use kstar_simulator::faults::Faults;
use kstar_simulator::modbus::config::Family;
use kstar_simulator::quirks::Quirks;
use kstar_simulator::record::{Counts, Sent, Withheld};
use kstar_simulator::replay::Replay;
use kstar_simulator::{Config, FASTEST, Running, start};

use super::shared::failure::Failure;

mod modbus;
mod recorded;

use modbus::ModbusArgs;
use recorded::Played;

const DATA_PORT: u16 = 8899;
const DISCOVERY_PORT: u16 = 48899;

/// What `kstar simulate` can be told.
#[derive(Args, Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct SimulateArgs {
    /// Which family they are of
    #[arg(long, value_enum, default_value_t)]
    pub family: FamilyName,
    /// Where the first inverter listens; port 0 for any
    #[arg(long, value_name = "ADDR[:PORT]", default_value = "127.0.0.1:8899", value_parser = parse_listen)]
    pub listen: SocketAddr,
    /// Where it answers greetings [default: port 48899 of the same address]
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "no_discovery")]
    pub discovery: Option<SocketAddr>,
    /// Do not answer greetings
    #[arg(long, conflicts_with = "asleep")]
    pub no_discovery: bool,
    /// How many inverters, each on the next port
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub inverters: u16,
    /// Simulated seconds in a second; 0 stops the clock. A collector goes by its own clock: it
    /// meters real seconds, and may reject counters that grow faster than any inverter's
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_speed)]
    pub speed: f64,
    /// Decides about weather, habits and faults; the second inverter has the next one
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Time of day at which it begins
    #[arg(long, value_name = "HH:MM", default_value = "12:00", value_parser = parse_time)]
    pub start: Time,
    /// Which running data it sends (kse)
    #[arg(long, value_enum, default_value_t)]
    pub variant: VariantName,
    /// What to send in place of what is simulated: a recording of `kstar record`, or files with a line of hex for each
    /// packet (kse)
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub replay: Vec<PathBuf>,
    /// Address recorded packets to who asks, instead of sending them as they are
    #[arg(long, requires = "replay")]
    pub readdress: bool,
    /// What goes wrong and how often, like drop=0.05,delay=0.02:3s; all=0.05 for each that the family and the way have
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true, value_parser = parse_faults)]
    pub faults: String,
    /// What is odd in what it says and how often, like modbus=0.01 (kse)
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true, value_parser = Quirks::parse)]
    pub quirks: Quirks,
    /// How long an answer takes
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = duration::parse)]
    pub latency: Duration,
    /// Never say who it is (kse)
    #[arg(long)]
    pub no_device_info: bool,
    /// Answer nothing until greeted, as newer modules do
    #[arg(long)]
    pub asleep: bool,
    /// What only the Modbus families have.
    #[command(flatten)]
    pub modbus: ModbusArgs,
}

/// The families as the command line has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FamilyName {
    /// KSTAR KSE, and GoodWe ES and EM: AA55
    #[default]
    Kse,
    /// KSTAR hybrids behind a Solarman stick: Modbus
    KstarHybrid,
    /// GoodWe ET, EH, BT and BH: Modbus
    GoodweEt,
    /// GoodWe string inverters, DT, MS and D-NS: Modbus
    GoodweDt,
}

impl FamilyName {
    /// The family of Modbus; `None` for the one that speaks AA55.
    pub(super) fn modbus(self) -> Option<Family> {
        match self {
            Self::Kse => None,
            Self::KstarHybrid => Some(Family::KstarHybrid),
            Self::GoodweEt => Some(Family::GoodweEt),
            Self::GoodweDt => Some(Family::GoodweDt),
        }
    }
}

/// The variants as the command line has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum VariantName {
    /// KSTAR KSE4000
    #[default]
    Kse,
    /// Older KSTAR, 81 bytes
    #[value(name = "kse-81")]
    Kse81,
    /// GoodWe ES, 95 bytes
    #[value(name = "gw-95")]
    Gw95,
    /// GoodWe EM, 133 bytes
    #[value(name = "gw-133")]
    Gw133,
    /// GoodWe ES or EM, 140 bytes
    #[value(name = "gw-140")]
    Gw140,
}

impl From<VariantName> for Variant {
    fn from(name: VariantName) -> Self {
        match name {
            VariantName::Kse => Self::Kse,
            VariantName::Kse81 => Self::Kse81,
            VariantName::Gw95 => Self::Gw95,
            VariantName::Gw133 => Self::Gw133,
            VariantName::Gw140 => Self::Gw140,
        }
    }
}

/// Simulates until `shutdown` ends. The first lines written say where, as a piece of a configuration; the last
/// ones, what was asked and answered.
pub async fn run(
    args: SimulateArgs,
    out: &mut impl Write,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (family, machine, replay) = match recorded::read(&args)? {
        Played::Nothing => (args.family, None, None),
        Played::Aa55(replay) => (args.family, None, Some(replay)),
        Played::Modbus(machine) => (machine.family, Some(machine), None),
    };
    check_family(&args, family, replay.is_some())?;
    if let Some(family) = family.modbus() {
        return modbus::run(&args, family, machine, out, shutdown).await;
    }
    let mut running = Vec::new();
    for index in 0..args.inverters {
        let config = config(&args, index, replay.clone())?;
        let description = format!("{}, seed {}", config.serial, config.seed);
        let inverter = start(config).await.map_err(|error| {
            let number = index + 1;
            Failure::Runtime(format!("cannot simulate inverter {number}: {error}"))
        })?;
        running.push((description, inverter));
    }
    for (index, (description, inverter)) in running.iter().enumerate() {
        write_inverter(out, index + 1, description, inverter)?;
    }
    out.flush()?;

    shutdown.await;

    for (index, (_, inverter)) in running.into_iter().enumerate() {
        let (counts, _) = inverter.stop().await;
        write_counts(out, index + 1, &counts)?;
    }
    out.flush()?;
    Ok(())
}

/// What only one kind of family has is not told the other.
fn check_family(args: &SimulateArgs, family: FamilyName, replays: bool) -> Result<(), Failure> {
    let aa55 = args.variant == VariantName::default()
        && !replays
        && !args.readdress
        && args.quirks == Quirks::default()
        && !args.no_device_info;
    let problem = match family {
        FamilyName::Kse if !args.modbus.is_empty() => {
            "the options of the Modbus families need one; add --family kstar-hybrid, goodwe-et or goodwe-dt"
        }
        FamilyName::Kse => return Ok(()),
        _ if !aa55 => {
            "--variant, --quirks, --no-device-info and a --replay of packets are for --family kse; leave them out"
        }
        _ => return Ok(()),
    };
    Err(Failure::Usage(problem.to_owned()))
}

/// Where one inverter listens.
struct Addresses {
    data: SocketAddr,
    discovery: Option<SocketAddr>,
}

impl Addresses {
    /// Those of the inverter with this number, from 0.
    fn of(args: &SimulateArgs, index: u16) -> Result<Self, Failure> {
        let nth = |first: SocketAddr| {
            let port = match first.port() {
                0 => Some(0),
                port => port.checked_add(index),
            };
            port.map(|port| SocketAddr::new(first.ip(), port))
                .ok_or_else(|| {
                    Failure::Runtime(format!(
                        "{} inverters from port {} on go past 65535; begin at a lower port or at 0, for any free ones",
                        args.inverters,
                        first.port()
                    ))
                })
        };
        let discovery = match args.discovery {
            _ if args.no_discovery => None,
            Some(address) => Some(address),
            // Any port for the one, any port for the other.
            None if args.listen.port() == 0 => Some(args.listen),
            None => Some(SocketAddr::new(args.listen.ip(), DISCOVERY_PORT)),
        };
        Ok(Self {
            data: nth(args.listen)?,
            discovery: discovery.map(nth).transpose()?,
        })
    }
}

fn config(args: &SimulateArgs, index: u16, replay: Option<Replay>) -> Result<Config, Failure> {
    let addresses = Addresses::of(args, index)?;
    let base = Config::new(args.seed.wrapping_add(u64::from(index)));
    Ok(Config {
        data: addresses.data,
        discovery: addresses.discovery,
        speed: args.speed,
        begins: today().to_datetime(args.start),
        variant: args.variant.into(),
        device_info: (!args.no_device_info).then_some(DeviceInfo::default()),
        asleep: args.asleep,
        latency: args.latency,
        faults: Faults::parse(&args.faults)
            .map_err(|error| Failure::Usage(format!("--faults: {error}")))?,
        quirks: args.quirks.clone(),
        replay,
        ..base
    })
}

fn today() -> jiff::civil::Date {
    jiff::tz::Offset::UTC
        .to_datetime(jiff::Timestamp::now())
        .date()
}

fn write_inverter(
    out: &mut impl Write,
    number: usize,
    description: &str,
    inverter: &Running,
) -> io::Result<()> {
    let mut host = inverter.data_address();
    if host.ip().is_unspecified() {
        host.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    match inverter.discovery_address() {
        Some(discovery) => writeln!(out, "# {description}; answers greetings on {discovery}")?,
        None => writeln!(out, "# {description}; answers no greetings")?,
    }
    writeln!(
        out,
        "[[inverter]]\nname = \"simulated{number}\"\nhost = \"{host}\"\n"
    )
}

fn write_counts(out: &mut impl Write, number: usize, counts: &Counts) -> io::Result<()> {
    writeln!(out, "simulated{number}")?;
    let mut row = |what: &str, count: u64| writeln!(out, "  {what:<28}{count:>10}");
    for (request, what) in [
        (Request::Running, "asked for running data"),
        (Request::DeviceInfo, "asked for device info"),
        (Request::Settings, "asked for settings"),
    ] {
        row(what, counts.requests(request))?;
    }
    row("greeted", counts.greetings)?;
    row("received something else", counts.unexpected)?;
    for (sent, count) in &counts.sent {
        let what = match sent {
            Sent::Proper => "sent as it should be".to_owned(),
            Sent::Replayed => "sent as recorded".to_owned(),
            Sent::Greeting => "sent to a greeting".to_owned(),
            Sent::Faulty(fault) => format!("sent with fault {fault}"),
        };
        row(&what, *count)?;
    }
    for (withheld, count) in &counts.withheld {
        let what = match withheld {
            Withheld::Faulty(fault) => format!("not sent: {fault}"),
            Withheld::Asleep => "not sent: asleep".to_owned(),
            Withheld::NotOffered => "not sent: not offered".to_owned(),
            Withheld::Overflow => "not sent: too many waiting".to_owned(),
            Withheld::Stopped => "not sent: stopped before".to_owned(),
            Withheld::Failed => "not sent: network error".to_owned(),
        };
        row(&what, *count)?;
    }
    Ok(())
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().or_else(|_| {
        let alone: Result<IpAddr, _> = text.parse();
        alone.map(|address| SocketAddr::new(address, DATA_PORT))
    });
    address.map_err(|_| "write an IP address, with or without a port, like 127.0.0.1:8899".into())
}

pub(super) fn parse_speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed| (0.0..=FASTEST).contains(speed))
        .ok_or_else(|| format!("write a number from 0 to {FASTEST}"))
}

fn parse_time(text: &str) -> Result<Time, String> {
    text.parse()
        .map_err(|_| "write a time of day, like 06:00".to_owned())
}

/// Which faults there are depends on the family and the way, so the text is kept until they are known.
fn parse_faults(text: &str) -> Result<String, String> {
    match Faults::parse(text) {
        Err(error) if !modbus::check_faults(text) => Err(error.to_string()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parse(words: &[&str]) -> Result<SimulateArgs, String> {
        Command::try_parse_from([&["simulate"], words].concat())
            .map(|command| command.args)
            .map_err(|error| error.to_string())
    }

    async fn output_of(words: &[&str]) -> String {
        let mut out = Vec::new();
        let args = parse(words).expect("arguments");
        run(args, &mut out, std::future::ready(()))
            .await
            .expect("a simulation");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn without_arguments_there_is_one_inverter_where_a_real_one_listens() {
        let args = parse(&[]).expect("arguments");
        let config = config(&args, 0, None).expect("a config");
        assert_eq!(config.data, SocketAddr::from(([127, 0, 0, 1], 8899)));
        assert_eq!(
            config.discovery,
            Some(SocketAddr::from(([127, 0, 0, 1], 48899)))
        );
        assert_eq!(config.begins.time(), jiff::civil::time(12, 0, 0, 0));
    }

    #[test]
    fn each_inverter_has_the_next_port_and_a_seed_of_its_own() {
        let args = parse(&["--inverters", "3", "--listen", "127.0.0.2", "--seed", "7"])
            .expect("arguments");
        let third = config(&args, 2, None).expect("a config");
        assert_eq!(third.data, SocketAddr::from(([127, 0, 0, 2], 8901)));
        assert_eq!(
            third.discovery,
            Some(SocketAddr::from(([127, 0, 0, 2], 48901)))
        );
        let first = config(&args, 0, None).expect("a config");
        assert_eq!((first.seed, third.seed), (7, 9));
        assert_ne!((first.serial, first.mac), (third.serial, third.mac));
    }

    #[test]
    fn every_argument_reaches_the_inverter() {
        let args = parse(&[
            "--no-discovery",
            "--speed",
            "60",
            "--start",
            "06:30",
            "--variant",
            "gw-140",
            "--faults",
            "drop=0.5",
            "--latency",
            "150ms",
            "--no-device-info",
        ])
        .expect("arguments");
        let config = config(&args, 0, None).expect("a config");
        assert_eq!(config.discovery, None);
        assert_eq!(config.begins.time(), jiff::civil::time(6, 30, 0, 0));
        assert_eq!(config.variant, Variant::Gw140);
        assert_eq!(config.faults, Faults::parse("drop=0.5").expect("faults"));
        assert_eq!(config.latency, Duration::from_millis(150));
        assert_eq!(config.device_info, None);
    }

    #[test]
    fn a_wrong_argument_is_told_how_to_be_right() {
        for (words, advice) in [
            (["--listen", "roof"], "127.0.0.1:8899"),
            (["--speed", "-1"], "from 0 to 86400"),
            (["--start", "soon"], "06:00"),
            (["--faults", "drip=1"], "duplicate"),
            (["--latency", "5"], "\"5s\""),
            (["--variant", "gw"], "gw-140"),
            (["--inverters", "0"], "1..=64"),
        ] {
            let error = parse(&[&words.join("=")]).unwrap_err();
            assert!(error.contains(advice), "{error}");
        }
        assert!(parse(&["--asleep", "--no-discovery"]).is_err());
        assert!(parse(&["--readdress"]).is_err());
    }

    #[test]
    fn ports_do_not_wrap() {
        let args = parse(&["--inverters", "2", "--listen", "127.0.0.1:65535"]).expect("arguments");
        let error = config(&args, 1, None).unwrap_err().to_string();
        assert!(error.contains("65535"), "{error}");
    }

    #[tokio::test]
    async fn the_output_begins_with_a_configuration_and_ends_with_the_counts() {
        let output = output_of(&["--listen", "127.0.0.1:0", "--inverters", "2"]).await;
        assert!(output.starts_with("# KSE4000S"), "{output}");
        let (configuration, counts) = output.split_once("\nsimulated1\n").expect("two parts");
        let table: toml::Table = configuration.parse().expect("TOML");
        let inverters = table["inverter"].as_array().expect("a list");
        assert_eq!(inverters.len(), 2);
        assert_eq!(inverters[1]["name"].as_str(), Some("simulated2"));
        let host: SocketAddr = inverters[0]["host"]
            .as_str()
            .expect("a host")
            .parse()
            .expect("an address");
        assert_ne!(host.port(), 0);
        assert!(
            counts.contains("  asked for running data               0\n"),
            "{counts}"
        );
    }

    #[tokio::test]
    async fn a_recording_that_is_missing_is_named() {
        let args =
            parse(&["--listen=127.0.0.1:0", "--replay", "/no/such/recording"]).expect("arguments");
        let error = run(args, &mut Vec::new(), std::future::ready(()))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("/no/such/recording"), "{error}");
    }
}
