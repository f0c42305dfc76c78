//! The configuration: a TOML file as types, and every mistake in it with its place.
//!
//! No part goes through an untyped value on its way, so each error knows its line and column. What one key says about
//! another is checked afterwards; such a mistake names its key by path, and the place is looked up in the text.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kstar_sink::TimeZone;
use kstar_sink::counted::longest_gap;
use kstar_sink::delivery::{self, Keep, Policy};
use kstar_sink::host::{is_name, split_port, with_port};
use kstar_sink::key::{KeyError, Step};
use kstar_sink::setting::{duration, size};
use kstar_sink::spool;
use serde::{Deserialize, Deserializer, de};

use crate::discovery::{DATA_PORT, DISCOVERY_PORT};
use crate::gate::GateSettings;
use crate::gate::rules::{MAX_POWER, Rule};
use crate::meter::MeterSettings;
use crate::poll::Target;
use crate::sinks::SinkSections;
use crate::tariff::Tariff;
use crate::wire::ApAddress;
use crate::wrapping::visible;

mod http;

#[cfg(not(feature = "http"))]
pub use http::NOT_BUILT as HTTP_NOT_BUILT;
pub use http::{HttpSection, ListenAddress};

/// The shortest interval between polls of a real inverter.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// From a toy to more than any inverter of this protocol, in watts.
const POSSIBLE_POWER: std::ops::RangeInclusive<u32> = 100..=100_000;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder for what must outlive the process.
    pub state_dir: Option<PathBuf>,
    /// The zone whose midnights part the days; the system's if nothing is said.
    #[serde(deserialize_with = "time_zone")]
    pub timezone: Option<TimeZone>,
    /// How polling goes.
    pub collector: CollectorSection,
    /// Which readings are believed.
    pub gate: GateSection,
    /// How energy is counted.
    pub meter: MeterSection,
    /// The inverters; one that is discovered if there are none.
    #[serde(rename = "inverter")]
    pub inverters: Vec<InverterSection>,
    /// Where readings go.
    pub sinks: SinkSections,
    /// Metrics, health and the API; nobody listens without it.
    pub http: Option<HttpSection>,
    /// What electricity costs, the oldest prices first; nothing if reports need not tell.
    #[serde(rename = "tariff")]
    pub tariffs: Vec<Tariff>,
}

/// The section `[collector]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectorSection {
    /// The time from one poll to the next.
    #[serde(with = "duration")]
    pub poll_interval: Duration,
    /// How long a reply may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How often a poll asks before it gives up.
    pub tries: NonZeroU32,
    /// How long sinks may take to deliver what waits when the program is stopped.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// Whether polls may follow each other faster than inverters can take.
    pub allow_fast_polling: bool,
    /// Where an inverter without a host is looked for; everywhere if empty.
    pub discovery_addresses: Vec<DiscoveryAddress>,
}

impl Default for CollectorSection {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            tries: NonZeroU32::MIN.saturating_add(2),
            grace: Duration::from_secs(10),
            allow_fast_polling: false,
            discovery_addresses: Vec::new(),
        }
    }
}

/// The section `[gate]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateSection {
    /// The rules that are not applied.
    pub off: Vec<Rule>,
}

/// The section `[meter]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeterSection {
    /// The longest gap between two readings that is filled; a minute, or two and a half polls if that is longer.
    #[serde(with = "duration::optional")]
    pub max_gap: Option<Duration>,
}

/// A section `[[inverter]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InverterSection {
    /// What it is called everywhere.
    pub name: InverterName,
    /// Where it is; discovered if absent.
    pub host: Option<Host>,
    /// What we call ourselves when asking it.
    #[serde(deserialize_with = "ap_address")]
    pub ap_address: ApAddress,
    /// The most power that it can give or take on its AC side, in watts.
    pub max_power: u32,
}

impl Default for InverterSection {
    fn default() -> Self {
        Self {
            name: InverterName::default(),
            host: None,
            ap_address: ApAddress::default(),
            max_power: MAX_POWER,
        }
    }
}

/// The name of an inverter: up to 32 letters, digits, `_` and `-`, so that it can be part of a topic or tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct InverterName(String);

impl InverterName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for InverterName {
    fn default() -> Self {
        Self("inverter".to_owned())
    }
}

impl TryFrom<String> for InverterName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if (1..=32).contains(&name.len()) && name.bytes().all(fits) {
            Ok(Self(name))
        } else {
            Err(format!(
                "`{name}` cannot name an inverter; use 1 to 32 of the characters A-Z a-z 0-9 _ -"
            ))
        }
    }
}

/// Where an inverter is: a name or address with or without a port, or nowhere in particular.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Host {
    /// `0.0.0.0`: it is discovered.
    Anywhere,
    /// At a name or address and a port.
    At {
        /// The name or address.
        host: String,
        /// The data port.
        port: u16,
    },
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = |host: &str, port| Self::At {
            host: host.to_owned(),
            port,
        };
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(if address.is_unspecified() {
                Self::Anywhere
            } else {
                at(text, DATA_PORT)
            });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(at(&address.ip().to_string(), address.port()));
        }
        let wrong = |what: &str| {
            format!(
                "`{text}` is no host: {what}; write a name or address, like \"192.168.1.50\" or \"inverter.lan:8899\""
            )
        };
        let (host, port) = split_port(text).map_err(wrong)?;
        if !is_name(host) {
            return Err(wrong("it holds something that no name has"));
        }
        Ok(at(host, port.unwrap_or(DATA_PORT)))
    }
}

/// An address to greet, with the discovery port if it names no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DiscoveryAddress(pub SocketAddr);

impl TryFrom<String> for DiscoveryAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for DiscoveryAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text
            .parse()
            .ok()
            .or_else(|| Some(SocketAddr::new(text.parse().ok()?, DISCOVERY_PORT)));
        address.filter(SocketAddr::is_ipv4).map(Self).ok_or_else(|| {
            format!("`{text}` is no address to greet; write an IPv4 address, like \"192.168.1.255\" or \"192.168.1.50:48899\"")
        })
    }
}

fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimeZone>, D::Error> {
    let name = String::deserialize(deserializer)?;
    TimeZone::get(&name).map(Some).map_err(|_| {
        de::Error::custom(format!(
            "`{name}` is no time zone; write one of the IANA names, like \"Europe/London\""
        ))
    })
}

fn ap_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ApAddress, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let known = u8::try_from(number).ok().and_then(ApAddress::from_byte);
    known.ok_or_else(|| {
        de::Error::custom(format!(
            "0x{number:02X} is no known address; use 0xB0 (KSTAR) or 0xC0 (GoodWe)"
        ))
    })
}

/// Something wrong with a configuration, and where.
#[derive(Debug)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// The place in its text.
    place: Option<Place>,
    /// Whether the text itself is wrong, or what it names.
    pub blame: Blame,
    /// What is wrong and how to mend it.
    message: String,
}

/// What has to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The text of the configuration: only editing it helps.
    Text,
    /// What the text names: a secret or a certificate that is not there or not right.
    Named,
}

#[derive(Debug)]
struct Place {
    line_number: usize,
    column: usize,
    /// As it is shown.
    line: String,
    /// How many characters of that stand before the mark, and how many are marked.
    indent: usize,
    width: usize,
}

impl ConfigError {
    /// What is wrong and how to mend it, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `kstar.toml:3:1: what is wrong`, on one line.
    pub fn summary(&self) -> String {
        let path = self.path.display();
        match &self.place {
            None => format!("{path}: {}", self.message),
            Some(Place {
                line_number,
                column,
                ..
            }) => format!("{path}:{line_number}:{column}: {}", self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The summary, then the line with a caret below the place.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        let Some(Place {
            line_number,
            line,
            indent,
            width,
            ..
        }) = &self.place
        else {
            return Ok(());
        };
        let margin = " ".repeat(line_number.to_string().len());
        let indent = " ".repeat(*indent);
        let carets = "^".repeat((*width).max(1));
        write!(
            f,
            "\n{margin} |\n{line_number} | {line}\n{margin} | {indent}{carets}"
        )
    }
}

/// A configuration's text and where it came from, for errors that show later what else is wrong with it.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// A file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut source = Self {
            path: path.to_owned(),
            text: String::new(),
        };
        let bytes = std::fs::read(path).map_err(|error| {
            let way_out = match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "; use sudo, or join the group that may read it"
                }
                _ => "",
            };
            source.error(
                None,
                &format!("cannot read the configuration: {error}{way_out}"),
            )
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => {
                source.text = text;
                Ok(source)
            }
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                source.text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let message = "this is not UTF-8; save the file in that encoding";
                Err(source.error(Some(valid..valid), message))
            }
        }
    }

    /// A text that is no file; the name is for errors.
    pub fn new(name: &str, text: &str) -> Self {
        Self {
            path: name.into(),
            text: text.to_owned(),
        }
    }

    /// Where it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A mistake in the text, at the key whose value it is.
    pub fn mistake(&self, error: &KeyError) -> ConfigError {
        self.error(locate(&self.text, &error.path), &error.message)
    }

    /// Something that the value of a key names and that is not there or not right.
    pub fn missing(&self, error: &KeyError) -> ConfigError {
        ConfigError {
            blame: Blame::Named,
            ..self.mistake(error)
        }
    }

    fn error(&self, span: Option<Range<usize>>, message: &str) -> ConfigError {
        let place = span.and_then(|span| Place::find(&self.text, &span));
        ConfigError {
            path: self.path.clone(),
            place,
            blame: Blame::Text,
            message: visible(message),
        }
    }
}

impl Place {
    fn find(text: &str, span: &Range<usize>) -> Option<Self> {
        let before = text.get(..span.start)?;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = text.get(start..)?.lines().next().unwrap_or_default();
        let from = (span.start - start).min(line.len());
        let to = (span.end - start).clamp(from, line.len());
        let secrets = secrets_in(line);
        let shown = |part: Range<usize>| shown(line, part, &secrets);
        Some(Self {
            line_number: before.matches('\n').count() + 1,
            column: line.get(..from)?.chars().count() + 1,
            line: shown(0..line.len()),
            indent: shown(0..from).chars().count(),
            width: shown(from..to).chars().count(),
        })
    }
}

/// Where a line has secrets, as far as a line alone tells, which may be no TOML at all: the values of keys whose names
/// sound like one, and what stands before an `@` in a URL.
fn secrets_in(line: &str) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    let of_key = |(equals, _): (usize, &str)| {
        let before = line.get(..equals)?.trim_end();
        let before = before.trim_end_matches(['"', '\'']);
        let begin =
            before.rfind(|letter: char| !(letter.is_alphanumeric() || "_-".contains(letter)));
        let key = before.get(begin.map_or(0, |at| at + 1)..)?.to_lowercase();
        if !["pas", "token", "secret"]
            .iter()
            .any(|part| key.contains(part))
        {
            return None;
        }
        let value = line.get(equals + 1..)?;
        let from = line.len() - value.trim_start().len();
        let value = line.get(from..)?;
        let quote = value.chars().next()?;
        let length = match quote {
            // A table says where the secret is.
            '{' => return None,
            '"' | '\'' => value
                .get(1..)?
                .find(quote)
                .map_or(value.len(), |end| end + 2),
            _ => value.find([',', '}', '#']).unwrap_or(value.len()),
        };
        Some(from..from + value.get(..length)?.trim_end().len())
    };
    secrets.extend(line.match_indices('=').filter_map(of_key));
    let of_url = |(scheme, _): (usize, &str)| {
        let from = scheme + "://".len();
        let url = line.get(from..)?;
        let end = url.find(['"', '\'', ' ']).unwrap_or(url.len());
        let at = url.get(..end)?.rfind('@')?;
        Some(from..from + at)
    };
    secrets.extend(line.match_indices("://").filter_map(of_url));
    secrets
}

/// A part of a line as it is shown: without secrets, and with what does not show by itself.
fn shown(line: &str, part: Range<usize>, secrets: &[Range<usize>]) -> String {
    let mut text = String::new();
    for (at, letter) in line.char_indices().filter(|(at, _)| part.contains(at)) {
        match secrets.iter().find(|secret| secret.contains(&at)) {
            Some(secret) if secret.start == at => text.push_str("***"),
            Some(_) => {}
            // Escaped, it would be taken for what is wrong.
            None if letter == '\t' => text.push(' '),
            None => text.push_str(&visible(letter.encode_utf8(&mut [0; 4]))),
        }
    }
    text
}

/// Where the value at that path stands in the text.
fn locate(text: &str, path: &[Step]) -> Option<Range<usize>> {
    use toml::de::DeValue;
    let (table, _) = toml::de::DeTable::parse_recoverable(text);
    let root = DeValue::Table(table.into_inner());
    let mut value = &root;
    let mut span = None;
    for step in path {
        let next = match (step, value) {
            (Step::Key(key), DeValue::Table(table)) => table.get(&**key),
            (Step::Index(index), DeValue::Array(array)) => array.get(*index),
            _ => None,
        };
        // A key that is not there is looked for in vain in the section that should hold it.
        let Some(next) = next else { break };
        span = Some(next.span());
        value = next.get_ref();
    }
    span
}

/// What the reader of a TOML file may not know from Rust.
fn in_plain_words(message: &str) -> String {
    ["a nonzero usize", "a nonzero u32", "a nonzero u64"]
        .iter()
        .fold(message.to_owned(), |message, rust| {
            message.replace(rust, "a whole number from 1 on")
        })
        .replace("expected u32", "expected a whole number")
}

impl Config {
    /// Reads and checks a configuration.
    pub fn parse(source: &Source) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(&source.text)
            .map_err(|error| source.error(error.span(), &in_plain_words(error.message())))?;
        config.validate(source)?;
        Ok(config)
    }

    /// Whether its text is right: what one key says about another, and what a sink says about its section. The source
    /// is where it stands.
    pub fn validate(&self, source: &Source) -> Result<(), ConfigError> {
        self.check().map_err(|error| source.mistake(&error))
    }

    /// Reads the secrets and certificates that it names. Blocks on files.
    pub fn resolve(&self, source: &Source) -> Result<(), ConfigError> {
        self.read_what_is_named()
            .map_err(|error| source.missing(&error))
    }

    fn read_what_is_named(&self) -> Result<(), KeyError> {
        for sink in self.sinks.enabled() {
            sink.resolve()
                .map_err(|error| error.within(sink.name()).within("sinks"))?;
        }
        #[cfg(feature = "http")]
        if let Some(http) = &self.http {
            http.resolve().map_err(|error| error.within("http"))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), KeyError> {
        if let Some(folder) = &self.state_dir
            && folder.as_os_str().as_encoded_bytes().contains(&0)
        {
            let message = "this is no path of a folder; write one, like \"/var/lib/kstar\"";
            return Err(KeyError::new("state_dir", message));
        }
        self.check_polling()
            .map_err(|error| error.within("collector"))?;
        let two_polls = self.collector.poll_interval.saturating_mul(2);
        if self.meter.max_gap.is_some_and(|gap| gap < two_polls) {
            let message = format!(
                "a gap must be at least two poll intervals long, {}, or a single lost poll is not metered",
                duration::text(two_polls)
            );
            return Err(KeyError::new("max_gap", message).within("meter"));
        }
        let inverters = self.inverters().len();
        for sink in self.sinks.enabled() {
            let in_sink = |error: KeyError| error.within(sink.name()).within("sinks");
            let policy = sink.policy();
            self.check_timeout(&policy, in_sink)?;
            check_spool(&policy)
                .map_err(|error| error.within("delivery"))
                .and_then(|()| sink.validate(inverters))
                .map_err(in_sink)?;
        }
        #[cfg(feature = "http")]
        if let Some(http) = &self.http {
            http.validate().map_err(|error| error.within("http"))?;
        }
        Tariff::check(&self.tariffs).map_err(|error| error.within("tariff"))?;
        self.check_inverters()
            .map_err(|error| error.within("inverter"))
    }

    fn check_polling(&self) -> Result<(), KeyError> {
        let collector = &self.collector;
        if collector.poll_interval.is_zero() {
            let message = "there must be some time between two polls";
            return Err(KeyError::new("poll_interval", message));
        }
        if collector.poll_interval < SHORTEST_INTERVAL && !collector.allow_fast_polling {
            let message = "inverters cannot take polls more often than once a second; \
                           set allow_fast_polling = true if yours is a simulated one";
            return Err(KeyError::new("poll_interval", message));
        }
        if collector.timeout.is_zero() {
            return Err(KeyError::new("timeout", "a reply needs some time"));
        }
        Ok(())
    }

    /// What is wrong between the time-out of a sink's deliveries and the grace: the one that was written.
    fn check_timeout(
        &self,
        policy: &Policy,
        in_sink: impl Fn(KeyError) -> KeyError,
    ) -> Result<(), KeyError> {
        let grace = self.collector.grace;
        if !policy.timeout.is_zero() && policy.timeout < grace {
            return Ok(());
        }
        let message = format!(
            "the time-out of a delivery, {}, must be shorter than the grace of {} at a stop, and not zero",
            duration::text(policy.timeout),
            duration::text(grace)
        );
        Err(if policy.timeout == delivery::TIMEOUT {
            KeyError::new("grace", message).within("collector")
        } else {
            in_sink(KeyError::new("timeout", message).within("delivery"))
        })
    }

    fn check_inverters(&self) -> Result<(), KeyError> {
        let mut names = BTreeMap::new();
        let mut hosts = BTreeMap::new();
        for (index, inverter) in self.inverters.iter().enumerate() {
            let wrong = |key: &str, message| Err(KeyError::new(key, message).within(index));
            if let Some(first) = names.insert(inverter.name.clone(), index + 1) {
                let message = format!(
                    "the inverters {first} and {} are both named `{}`; each needs a name of its own",
                    index + 1,
                    inverter.name.0
                );
                return wrong("name", message);
            }
            if !POSSIBLE_POWER.contains(&inverter.max_power) {
                let message = format!(
                    "{} W is no inverter's power; write its watts, like 4000",
                    inverter.max_power
                );
                return wrong("max_power", message);
            }
            match &inverter.host {
                Some(Host::At { host, port }) => {
                    if let Some(first) = hosts.insert((host, port), index + 1) {
                        let message = format!(
                            "the inverters {first} and {} are both at {}; two pollers disturb each other",
                            index + 1,
                            with_port(host, *port)
                        );
                        return wrong("host", message);
                    }
                }
                None | Some(Host::Anywhere) if self.inverters.len() > 1 => {
                    let message =
                        "with several inverters each needs a host; `kstar discover` lists them"
                            .to_owned();
                    return wrong("host", message);
                }
                None | Some(Host::Anywhere) => {}
            }
        }
        Ok(())
    }

    /// The inverters to poll: those of the file, or one that is discovered.
    pub fn inverters(&self) -> Vec<InverterSection> {
        if self.inverters.is_empty() {
            vec![InverterSection::default()]
        } else {
            self.inverters.clone()
        }
    }

    /// The folder for what must outlive the process.
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(default_state_dir)
    }

    /// How energy is counted.
    pub fn metering(&self) -> MeterSettings {
        let longest = || longest_gap(self.collector.poll_interval);
        MeterSettings {
            zone: self.zone(),
            max_gap: self.meter.max_gap.unwrap_or_else(longest),
        }
    }

    /// Which readings of an inverter are believed.
    pub fn gate(&self, inverter: &InverterSection) -> GateSettings {
        GateSettings {
            max_power: inverter.max_power,
            off: self.gate.off.clone(),
        }
    }

    /// The zone whose midnights part the days.
    pub fn zone(&self) -> TimeZone {
        self.timezone.clone().unwrap_or_else(|| {
            TimeZone::try_system().unwrap_or_else(|error| {
                tracing::warn!(%error, "the system does not tell its time zone; days end at midnight UTC. Set timezone in the configuration");
                TimeZone::UTC
            })
        })
    }
}

/// What is wrong with what waits for a sink on disk.
fn check_spool(policy: &Policy) -> Result<(), KeyError> {
    let Some(bounds) = policy.spool else {
        return Ok(());
    };
    if policy.keep == Keep::NewestPerInverter {
        let message = "this sink shows the present, so that only the newest reading of each inverter waits; leave out `spool`";
        return Err(KeyError::new("spool", message));
    }
    if !spool::BUILT {
        let message = "the spool is not part of this build; build with `--features spool`";
        return Err(KeyError::new("spool", message));
    }
    if bounds.bytes < spool::SMALLEST {
        let message = format!(
            "a spool of {} would be mostly its own bookkeeping; allow at least {}",
            size::text(bounds.bytes),
            size::text(spool::SMALLEST)
        );
        return Err(KeyError::new("spool_max", message));
    }
    Ok(())
}

impl InverterSection {
    /// Where polls of it go.
    pub fn target(&self, collector: &CollectorSection) -> Target {
        match &self.host {
            Some(Host::At { host, port }) => Target::Host {
                host: host.clone(),
                port: *port,
            },
            None | Some(Host::Anywhere) => Target::Discovered {
                greeted: collector
                    .discovery_addresses
                    .iter()
                    .map(|address| address.0)
                    .collect(),
            },
        }
    }
}

/// `$STATE_DIRECTORY` as systemd sets it, else the user's own place for such files.
fn default_state_dir() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let in_home = || Some(std::env::home_dir()?.join(".local/state"));
    if let Some(folder) = variable("STATE_DIRECTORY") {
        return folder;
    }
    let base = variable("XDG_STATE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(in_home);
    base.map_or_else(|| PathBuf::from("."), |base| base.join("kstar"))
}

/// The configuration of the service.
pub const SYSTEM_PLACE: &str = "/etc/kstar/config.toml";

/// Where a configuration is looked for when none is named, in this order.
pub fn usual_places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("kstar.toml")];
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    places.extend(home.map(|home| home.join("kstar/config.toml")));
    places.push(PathBuf::from(SYSTEM_PLACE));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(&Source::new("kstar.toml", text))
            .expect_err(text)
            .to_string()
    }

    #[test]
    fn an_unknown_key_is_shown_with_its_place_and_the_legal_ones() {
        let shown = error("[collector]\npol_interval = \"5s\"\n");
        assert_eq!(
            shown,
            "kstar.toml:2:1: unknown field `pol_interval`, expected one of `poll_interval`, `timeout`, `tries`, \
             `grace`, `allow_fast_polling`, `discovery_addresses`\n  |\n2 | pol_interval = \"5s\"\n  | ^^^^^^^^^^^^"
        );
    }

    #[test]
    #[cfg(feature = "stdout")]
    fn a_mistake_in_a_delivery_has_its_place_too() {
        let shown = error("[sinks.stdout.delivery]\nqueue = 0");
        assert!(shown.starts_with("kstar.toml:2:9: "), "{shown}");
        let shown = error("[sinks.stdout.delivery]\ntimeout = '10s'");
        assert!(shown.starts_with("kstar.toml:2:11: "), "{shown}");
        assert!(shown.contains("shorter than the grace"), "{shown}");
    }

    #[test]
    #[cfg(all(feature = "sqlite", feature = "mqtt"))]
    fn a_spool_that_cannot_be_has_its_place() {
        let shown = error("[sinks.mqtt]\nurl = 'mqtt://b'\n[sinks.mqtt.delivery]\nspool = true");
        assert!(shown.starts_with("kstar.toml:4:9: "), "{shown}");
        assert!(shown.contains("shows the present"), "{shown}");
        let delivery = "[sinks.sqlite.delivery]\nspool = true\n";
        for (key, words) in [
            ("spool_max = '512KiB'", "at least 1MiB"),
            ("spool_max = '256MB'", "KiB, MiB, GiB, TiB"),
            ("spool_max = 256", "a size as text"),
            ("spool_max_readings = 0", "a whole number from 1 on"),
        ] {
            let shown = error(&format!("{delivery}{key}"));
            assert!(shown.starts_with("kstar.toml:3:"), "{shown}");
            assert!(shown.contains(words), "{shown}");
        }
    }

    #[test]
    #[cfg(all(feature = "stdout", not(any(feature = "spool", feature = "sqlite"))))]
    fn a_spool_that_is_not_built_is_said() {
        let shown = error("[sinks.stdout.delivery]\nspool = true");
        assert!(shown.starts_with("kstar.toml:2:9: "), "{shown}");
        assert!(shown.contains("--features spool"), "{shown}");
    }

    #[test]
    fn a_mistake_has_line_and_column_wherever_it_is() {
        for (text, place, words) in [
            (
                "[collector]\npoll_interval = \"soon\"",
                "2:17",
                "no duration",
            ),
            ("[collector]\npoll_interval = 5", "2:17", "duration as text"),
            (
                "[collector]\npoll_interval = \"500ms\"",
                "2:17",
                "allow_fast_polling",
            ),
            ("[collector]\ntries = 0", "2:9", "a whole number from 1 on"),
            ("[collector]\ntimeout = \"0s\"", "2:11", "some time"),
            ("[[inverter]]\nname = \"my roof\"", "2:8", "cannot name"),
            ("[[inverter]]\nhost = \"a b\"", "2:8", "no host"),
            ("[[inverter]]\nhost = \"a:70000\"", "2:8", "port"),
            ("[[inverter]]\nap_address = 0x7F", "2:14", "0xB0"),
            ("[[inverter]]\nap_address = 300", "2:14", "300"),
            (
                "[[inverter]]\nname='a'\nhost='a'\n[[inverter]]\nname='a'\nhost='b'",
                "5:6",
                "both named `a`",
            ),
            (
                "[[inverter]]\nname='a'\nhost='x'\n[[inverter]]\nname='b'\nhost='x'",
                "6:6",
                "both at x:8899",
            ),
            (
                "[[inverter]]\nname='a'\nhost='x'\n[[inverter]]\nname='b'",
                "4:1",
                "each needs a host",
            ),
            ("[sinks.fax]", "1:8", "unknown field `fax`"),
            ("[[tariff]]\nprice = 0.3", "1:1", "`currency`"),
            (
                "[[tariff]]\ncurrency = 'EUR'\nprice = 'dear'",
                "3:9",
                "expected",
            ),
            (
                "[[tariff]]\ncurrency = 'EUR'\nprice = 1\ntimes = [{ from = '1 am', to = '02:00', price = 0 }]",
                "4:19",
                "no time of the day",
            ),
            (
                "[[tariff]]\ncurrency = 'EUR'\nprice = 1\ntimes = [\n{ from = '01:00', to = '01:00', price = 0 }]",
                "5:1",
                "no time between",
            ),
            (
                "[[tariff]]\ncurrency = 'EUR'\nprice = 1\n[[tariff]]\ncurrency = 'EUR'\nprice = 1",
                "4:1",
                "without `since`",
            ),
            (
                "[[tariff]]\nsince = '2026-01-01'\ncurrency = 'EUR'\nprice = 1\n\
                 [[tariff]]\nsince = '2025-01-01'\ncurrency = 'EUR'\nprice = 1",
                "6:9",
                "put them in order",
            ),
            (
                "[[tariff]]\ncurrency = 'EUR'\nprice = 1\n\
                 [[tariff]]\nsince = '2025-01-01'\ncurrency = 'USD'\nprice = 1",
                "6:12",
                "the same currency",
            ),
            ("state_dir = ", "1:13", ""),
            ("[[inverter]]\nmax_power = 'lots'", "2:13", "a whole number"),
            ("timezone = 'Mars/Base'", "1:12", "no time zone"),
            ("[gate]\noff = ['rang']", "2:8", "`zero_meter`"),
            (
                "[meter]\nmax_gap = '9s'",
                "2:11",
                "two poll intervals long, 10s",
            ),
            ("[[inverter]]\nmax_power = 4", "2:13", "like 4000"),
            (
                "[collector]\ndiscovery_addresses = ['fe80::1']",
                "2:23",
                "IPv4",
            ),
        ] {
            let shown = error(text);
            assert!(
                shown.starts_with(&format!("kstar.toml:{place}: ")),
                "{text}\n{shown}"
            );
            assert!(shown.contains(words), "{text}\n{shown}");
            assert!(shown.contains('^'), "{text}\n{shown}");
        }
    }

    #[test]
    #[cfg(feature = "http")]
    fn whoever_listens_beyond_this_machine_needs_a_token_or_says_that_none_is_needed() {
        for (text, place, words) in [
            ("[http]", "1:1", "missing field `listen`"),
            (
                "[http]\nlisten = '127.0.0.1'",
                "2:10",
                "like \"127.0.0.1:8099\"",
            ),
            ("[http]\nlisten = 8099", "2:10", "expected a string"),
            (
                "[http]\nlisten = '0.0.0.0:8099'",
                "2:10",
                "allow_without_token",
            ),
            ("[http]\nlisten = '[::]:8099'", "2:10", "needs a `token`"),
            (
                "[http]\nlisten = '127.0.0.1:1'\ntoken = 7",
                "3:9",
                "in quotes",
            ),
            (
                "[http]\nlisten = '127.0.0.1:1'\nport = 1",
                "3:1",
                "`allow_without_token`",
            ),
        ] {
            let shown = error(text);
            assert!(
                shown.starts_with(&format!("kstar.toml:{place}: ")),
                "{text}\n{shown}"
            );
            assert!(shown.contains(words), "{text}\n{shown}");
        }
        for text in [
            "[http]\nlisten = '127.9.9.9:0'",
            "[http]\nlisten = '[::1]:80'",
            "[http]\nlisten = '0.0.0.0:80'\ntoken = 'a'",
            "[http]\nlisten = '0.0.0.0:80'\nallow_without_token = true",
        ] {
            assert!(
                Config::parse(&Source::new("kstar.toml", text)).is_ok(),
                "{text}"
            );
        }
    }

    #[test]
    #[cfg(not(feature = "http"))]
    fn a_section_that_is_not_built_is_said() {
        let shown = error("[http]\nlisten = '127.0.0.1:8099'");
        assert!(shown.starts_with("kstar.toml:1:"), "{shown}");
        assert!(shown.contains("--features http"), "{shown}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Source::read(Path::new("/no/such/kstar.toml"))
            .expect_err("no such file")
            .to_string();
        assert!(
            error.starts_with("/no/such/kstar.toml: cannot read"),
            "{error}"
        );
    }

    #[test]
    fn an_empty_file_means_one_inverter_to_be_discovered() {
        let config = Config::parse(&Source::new("kstar.toml", "")).expect("nothing is wrong");
        let [inverter] = &config.inverters()[..] else {
            panic!("one inverter")
        };
        assert_eq!(inverter.name.as_str(), "inverter");
        assert_eq!(
            inverter.target(&config.collector),
            Target::Discovered {
                greeted: Vec::new()
            }
        );
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        let at = |host: &str, port| {
            Ok(Host::At {
                host: host.to_owned(),
                port,
            })
        };
        assert_eq!("192.168.1.50".parse(), at("192.168.1.50", 8899));
        assert_eq!("192.168.1.50:9000".parse(), at("192.168.1.50", 9000));
        assert_eq!("inverter.lan".parse(), at("inverter.lan", 8899));
        assert_eq!("inverter.lan:1".parse(), at("inverter.lan", 1));
        assert_eq!("[fe80::1]:9000".parse(), at("fe80::1", 9000));
        assert_eq!("fe80::1".parse(), at("fe80::1", 8899));
        assert_eq!("0.0.0.0".parse(), Ok(Host::Anywhere));
        for wrong in ["", ":8899", "a:", "a:0", "http://a", "a/b"] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
    }
}
