//! Finding out what an inverter speaks: every family is asked for its values once, in order, one after the other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kstar_model::catalogue::{Quantity, Values};
use kstar_source::counts::Counts;
use kstar_source::datagram;
use kstar_source::error::NoAnswer;
use kstar_source::exchange::Patience;
use kstar_source::greeting::{self, Module};
use kstar_source::lock::{Held, InverterLock};
use kstar_source::source::{AnySource, Context, Identity, Target};
use kstar_source::way::{Key, KeyValue, Way};
use tokio::time::sleep;

use super::{FAMILIES, Family};

/// In which order ways are tried, by family and `via`: first what one datagram tells, then what needs a connection. Ways
/// that are not here are not tried: nothing tells their answers from those of another device.
const ORDER: [(&str, Option<&str>); 7] = [
    ("kse", None),
    ("goodwe-et", Some("udp")),
    ("goodwe-dt", Some("udp")),
    ("goodwe-et", Some("modbus-tcp")),
    ("goodwe-dt", Some("modbus-tcp")),
    ("kstar-hybrid", Some("solarman")),
    ("kstar-hybrid", Some("modbus-tcp")),
];

/// What is tried first where a Solarman stick has answered the greeting.
const OF_A_STICK: [&str; 2] = ["solarman", "modbus-tcp"];

/// The pause between two attempts: as long as that between two requests to the slowest modules (PROTOCOL 1.4).
const PAUSE: Duration = Duration::from_millis(500);

/// How long the answer to the greeting is waited for.
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Stranger {
    /// Its name or address.
    pub host: String,
    /// Its port, if it is known.
    pub port: Option<u16>,
    /// Whether it is looked for at the usual ports as well, where its port is known.
    pub elsewhere: bool,
    /// How it was asked in vain already.
    pub tried: Option<AnySource>,
    /// The module that has answered a greeting there; it is greeted otherwise.
    pub module: Option<Module>,
    /// How long a reply may take; as long as usual with each family if absent.
    pub timeout: Option<Duration>,
    /// Whether it needs no pauses, as a simulated one does not.
    pub fast: bool,
}

/// An inverter that has answered.
#[derive(Clone, Debug)]
pub struct Acquaintance {
    /// Its family.
    pub family: Family,
    /// How it is reached: the source's own keys.
    pub keys: Vec<Key>,
    /// The value of the key `host` that leads to it.
    pub host: String,
    /// Its serial number, if it has told it.
    pub serial: Option<String>,
    /// Its model, if it has told it.
    pub model: Option<String>,
    /// The module in front of it, if that has answered a greeting.
    pub module: Option<Module>,
}

/// Why nothing is known of an inverter after it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// Another process polls it, so it was not asked.
    #[error("{0}")]
    Polled(Held),
    /// There is no way to it.
    #[error("{0}")]
    Unreachable(NoAnswer),
    /// It answered in no way that is known.
    #[error("no family of inverters that this program knows answers at {0}")]
    Silent(String),
}

impl Stranger {
    fn has_tried(&self, way: &Way<AnySource>) -> bool {
        self.tried.as_ref().is_some_and(|tried| {
            let port = self.port.unwrap_or(tried.port());
            *tried == way.config && port == way.port
        })
    }
}

impl Acquaintance {
    /// The keys that differ from what its family usually has: those that a configuration must name.
    pub fn unusual_keys(&self) -> Vec<Key> {
        let usual = self.family.usual_source().keys();
        let unusual = |key: &&Key| !usual.contains(key);
        self.keys.iter().filter(unusual).copied().collect()
    }

    /// What a section needs besides the name, as its lines.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.family != Family::default() {
            lines.push(format!("family = \"{}\"", self.family.name()));
        }
        lines.push(format!("host = \"{}\"", self.host));
        lines.extend(self.unusual_keys().iter().map(ToString::to_string));
        lines
    }

    /// The value of a key that its source has.
    pub fn key(&self, name: &str) -> Option<KeyValue> {
        value(&self.keys, name)
    }
}

impl std::fmt::Display for Acquaintance {
    /// `kstar-hybrid via solarman (model E10KT, serial number 1234)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.family.name())?;
        if let Some(KeyValue::Word(via)) = self.key("via") {
            write!(f, " via {via}")?;
        }
        if let Some(KeyValue::Number(unit)) = self.key("unit") {
            write!(f, ", unit {unit}")?;
        }
        let model = self.model.iter().map(|model| format!("model {model}"));
        let serial = self.serial.iter();
        let serial = serial.map(|serial| format!("serial number {serial}"));
        let told: Vec<String> = model.chain(serial).collect();
        if told.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", told.join(", "))
        }
    }
}

/// Asks in every known way, until one is answered with values that an inverter may have.
pub async fn identify(stranger: &Stranger) -> Result<Acquaintance, Unknown> {
    let port = stranger.port.unwrap_or(greeting::DATA_PORT);
    let found = datagram::resolve(&stranger.host, port).await;
    let address = found.map_err(Unknown::Unreachable)?;
    let module = if stranger.module.is_some() {
        stranger.module.clone()
    } else {
        let timeout = stranger.timeout.unwrap_or(GREETING_TIMEOUT);
        let timeout = timeout.min(GREETING_TIMEOUT);
        greeting::module_at(address.ip(), timeout, &Counts::default()).await
    };
    let is_stick = module.as_ref().and_then(Module::logger_serial).is_some();
    let mut ways = ways(is_stick, stranger.port);
    if stranger.elsewhere && stranger.port.is_some() {
        ways.extend(self::ways(is_stick, None));
    }
    let mut unreachable = BTreeSet::new();
    for (family, way) in ways {
        let place = SocketAddr::new(address.ip(), way.port);
        if stranger.has_tried(&way) || unreachable.contains(&(is_stream(&way.config), way.port)) {
            continue;
        }
        let _lock = InverterLock::take(place).await.map_err(Unknown::Polled)?;
        tracing::debug!(family = family.name(), %place, how = way.config.describe(), "trying a way");
        let counts = Arc::new(way.config.counts());
        let failure = match attempt(stranger, &way, place, Arc::clone(&counts)).await {
            Ok((keys, identity)) => {
                return Ok(Acquaintance {
                    host: host(stranger, way.port, family, &keys),
                    family,
                    keys,
                    serial: identity
                        .as_ref()
                        .and_then(|identity| identity.serial.clone()),
                    model: identity.and_then(|identity| identity.model),
                    module,
                });
            }
            Err(failure) => failure,
        };
        tracing::debug!(family = family.name(), %place, %failure, "no way");
        match failure {
            NoAnswer::CannotSend { .. } => return Err(Unknown::Unreachable(failure)),
            NoAnswer::PortClosed(_) => {
                unreachable.insert((is_stream(&way.config), way.port));
            }
            // No connection in all that time: there will be none for the next way either.
            _ if is_stream(&way.config) && counts.connections.load(Ordering::Relaxed) == 0 => {
                unreachable.insert((true, way.port));
            }
            _ if stranger.fast => {}
            _ => sleep(PAUSE).await,
        }
    }
    Err(Unknown::Silent(stranger.host.clone()))
}

/// One poll, and who answers it.
async fn attempt(
    stranger: &Stranger,
    way: &Way<AnySource>,
    place: SocketAddr,
    counts: Arc<Counts>,
) -> Result<(Vec<Key>, Option<Identity>), NoAnswer> {
    let usual = way.config.pace().patience.timeout;
    let patience = Patience {
        tries: 1,
        timeout: stranger.timeout.unwrap_or(usual),
    };
    let context = Context {
        target: Target::Host {
            host: place.ip().to_string(),
            port: place.port(),
        },
        patience,
        interval: patience.timeout,
        fast: stranger.fast,
    };
    let mut source = way.config.open(&context, counts);
    let sample = source.poll().await?;
    if !is_plausible(&sample.values) {
        return Err(NoAnswer::Unsupported("the values are no inverter's"));
    }
    let keys = source.turned_out().unwrap_or_else(|| way.config.keys());
    // A KSE may never tell who it is.
    Ok((keys, source.identify(patience).await.ok()))
}

/// The ways to try, in order; at one port where that is known.
fn ways(is_stick: bool, port: Option<u16>) -> Vec<(Family, Way<AnySource>)> {
    let all = FAMILIES.iter().flat_map(|known| {
        let ways = (known.ways)().into_iter();
        ways.map(move |way| (Family(known), way))
    });
    let mut ranked: Vec<_> = all
        .filter_map(|(family, way)| {
            let via = via(&way.config);
            let rank = ORDER.iter().position(|at| *at == (family.name(), via))?;
            let is_stick_s = is_stick
                && family.name() == "kstar-hybrid"
                && via.is_some_and(|via| OF_A_STICK.contains(&via));
            Some((!is_stick_s, rank, family, way))
        })
        .collect();
    ranked.sort_by_key(|(last, rank, ..)| (*last, *rank));
    let mut ways: Vec<(Family, Way<AnySource>)> = Vec::new();
    for (_, _, family, mut way) in ranked {
        way.port = port.unwrap_or(way.port);
        let is_known = |(_, other): &(Family, Way<AnySource>)| {
            other.port == way.port && other.config == way.config
        };
        if !ways.iter().any(is_known) {
            ways.push((family, way));
        }
    }
    ways
}

/// The way to an inverter, where its family has several.
fn via(config: &AnySource) -> Option<&'static str> {
    match value(&config.keys(), "via") {
        Some(KeyValue::Word(via)) => Some(via),
        _ => None,
    }
}

/// Whether it is asked over a connection.
fn is_stream(config: &AnySource) -> bool {
    via(config).is_some_and(|via| via != "udp")
}

/// The value of the key `host`: with the port only where such a configuration would use another, or where it was named.
fn host(stranger: &Stranger, port: u16, family: Family, keys: &[Key]) -> String {
    let host = &stranger.host;
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let usual = family.with_keys(&keys.join("\n"));
    let usual = usual.map(|source| source.port());
    if stranger.port != Some(port) && usual.is_ok_and(|usual| usual == port) {
        host.clone()
    } else {
        kstar_common::host::with_port(host, port)
    }
}

fn value(keys: &[Key], name: &str) -> Option<KeyValue> {
    let found = keys.iter().find(|key| key.name == name);
    found.map(|key| key.value)
}

/// Whether an inverter can have these values: something that answers in the same words, like a meter behind a gateway, has
/// registers with other things in them.
fn is_plausible(values: &Values) -> bool {
    // In tenths of a volt: from a battery of 12 V to a string of 1500 V.
    const VOLTAGE: std::ops::RangeInclusive<i64> = 100..=15_000;
    // In hundredths of a hertz.
    const FREQUENCY: std::ops::RangeInclusive<i64> = 4_000..=7_000;
    let voltages = [
        Quantity::pv1_voltage,
        Quantity::battery_voltage,
        Quantity::grid_voltage,
    ];
    let has_voltage = |quantity| {
        values
            .raw(quantity)
            .is_some_and(|raw| VOLTAGE.contains(&raw))
    };
    let frequency = values.raw(Quantity::grid_frequency).unwrap_or(0);
    voltages.into_iter().any(has_voltage) && (frequency == 0 || FREQUENCY.contains(&frequency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "modbus")]
    fn tried(is_stick: bool, port: Option<u16>) -> Vec<String> {
        let ways = ways(is_stick, port).into_iter();
        ways.map(|(family, way)| {
            let keys: Vec<String> = way.config.keys().iter().map(ToString::to_string).collect();
            format!("{} {} at {}", family.name(), keys.join(" "), way.port)
        })
        .collect()
    }

    #[cfg(all(feature = "aa55", feature = "modbus"))]
    #[test]
    fn a_stranger_is_asked_in_this_order() {
        let expected = [
            "kse ap_address = 0xB0 at 8899",
            "kse ap_address = 0xC0 at 8899",
            "goodwe-et via = \"udp\" unit = 247 at 8899",
            "goodwe-dt via = \"udp\" unit = 127 at 8899",
            "goodwe-et via = \"modbus-tcp\" unit = 247 at 502",
            "goodwe-et via = \"modbus-tcp\" unit = 245 at 502",
            "goodwe-dt via = \"modbus-tcp\" unit = 127 at 502",
            "goodwe-dt via = \"modbus-tcp\" unit = 245 at 502",
            "kstar-hybrid via = \"solarman\" unit = 1 at 8899",
            "kstar-hybrid via = \"modbus-tcp\" unit = 1 at 502",
            "kstar-hybrid via = \"modbus-tcp\" unit = 1 at 8899",
            "kstar-hybrid via = \"modbus-tcp\" unit = 1 at 30003",
        ];
        assert_eq!(tried(false, None), expected);
        let (others, of_a_stick) = expected.split_at(8);
        assert_eq!(tried(true, None), [of_a_stick, others].concat());
    }

    #[cfg(feature = "modbus")]
    #[test]
    fn a_port_that_is_named_is_the_only_one_and_each_way_is_tried_there_once() {
        let tried = tried(false, Some(9000));
        assert!(tried.iter().all(|way| way.ends_with("at 9000")));
        let kstar = tried.iter().filter(|way| way.starts_with("kstar-hybrid"));
        assert_eq!(kstar.count(), 2);
    }

    #[test]
    fn what_no_inverter_has_is_not_taken_for_one() {
        let mut values = Values::default();
        assert!(!is_plausible(&values));
        values.set_raw(Quantity::grid_voltage, Some(2_300));
        assert!(is_plausible(&values));
        values.set_raw(Quantity::grid_frequency, Some(12));
        assert!(!is_plausible(&values));
        values.set_raw(Quantity::grid_frequency, Some(5_001));
        assert!(is_plausible(&values));
        values.set_raw(Quantity::grid_voltage, Some(60_000));
        assert!(!is_plausible(&values));
    }
}
