//! The section `[[inverter]]`, and what inverters and their places are called.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use kstar_common::host::{is_name, split_port};
use kstar_common::setting::duration;
use kstar_engine::site;
use kstar_sink::event::Nameplate;
use kstar_source::exchange::Patience;
use kstar_source::source::{AnySource, Context, Profile, Target};
use kstar_source::way::{KeyValue, Pace};
use serde::Deserialize;

use super::collector::CollectorSection;
use crate::registry::Family;

/// A section `[[inverter]]`: what every inverter has, and what its source makes of the other keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct InverterSection {
    /// What it is called everywhere.
    pub name: InverterName,
    /// What people see in its place, if not its name.
    pub title: Option<Title>,
    /// What kind of inverter it is.
    pub family: Family,
    /// Where it is; discovered if absent.
    pub host: Option<Host>,
    /// The most power that it can give or take on its AC side, in watts; what its family can, if absent.
    pub max_power: Option<u32>,
    /// Whether it is silent by night; as its family is, if absent.
    pub sleeps_at_night: Option<bool>,
    /// The time from one poll to the next, in place of the collector's.
    #[serde(with = "duration::optional")]
    pub poll_interval: Option<Duration>,
    /// How long a reply may take, in place of the collector's.
    #[serde(with = "duration::optional")]
    pub timeout: Option<Duration>,
    /// How often a poll asks before it gives up, in place of the collector's.
    pub tries: Option<NonZeroU32>,
    /// What asks it.
    #[serde(skip)]
    pub source: AnySource,
}

impl Default for InverterSection {
    fn default() -> Self {
        let family = Family::default();
        Self {
            name: InverterName::default(),
            title: None,
            family,
            host: None,
            max_power: None,
            sleeps_at_night: None,
            poll_interval: None,
            timeout: None,
            tries: None,
            source: family.usual_source(),
        }
    }
}

impl InverterSection {
    /// The keys that are not the source's.
    pub(super) const KEYS: [&'static str; 9] = [
        "name",
        "title",
        "family",
        "host",
        "max_power",
        "sleeps_at_night",
        "poll_interval",
        "timeout",
        "tries",
    ];

    /// What is told of it to those who look.
    pub fn nameplate(&self) -> Nameplate {
        Nameplate {
            title: self.title.as_ref().map(|title| title.0.as_str().into()),
            family: Some(self.family.name().into()),
            firmware: None,
        }
    }

    /// Where it is, and how it is asked. Without a host it is whoever answers a greeting.
    pub fn context(&self, collector: &CollectorSection) -> Context {
        let pace = self.pace(collector);
        Context {
            target: match self.place() {
                Some((host, port)) => Target::Host {
                    host: host.to_owned(),
                    port,
                },
                None => Target::Discovered {
                    greeted: collector
                        .discovery_addresses
                        .iter()
                        .map(|address| address.0)
                        .collect(),
                },
            },
            patience: pace.patience,
            interval: pace.interval,
            fast: collector.allow_fast_polling,
        }
    }

    /// How often and how patiently it is asked: as its section says, else as the collector's does, else as its family needs.
    pub fn pace(&self, collector: &CollectorSection) -> Pace {
        let usual = self.source.pace();
        let tries = self.tries.or(collector.tries).map(NonZeroU32::get);
        let timeout = self.timeout.or(collector.timeout);
        let interval = self.poll_interval.or(collector.poll_interval);
        Pace {
            interval: interval.unwrap_or(usual.interval),
            patience: Patience {
                tries: tries.unwrap_or(usual.patience.tries),
                timeout: timeout.unwrap_or(usual.patience.timeout),
            },
        }
    }

    /// Its unit address, where several may be at one place.
    pub(super) fn unit(&self) -> Option<KeyValue> {
        let keys = self.source.keys().into_iter();
        let mut units = keys.filter(|key| key.name == "unit");
        units.next().map(|key| key.value)
    }

    /// The host and the port, if it is not to be discovered.
    pub(super) fn place(&self) -> Option<(&str, u16)> {
        match self.host.as_ref()? {
            Host::At { host, port } => Some((host, port.unwrap_or(self.source.port()))),
            Host::Anywhere => None,
        }
    }

    /// What such a machine can be, with what is said otherwise here.
    pub fn profile(&self) -> Profile {
        let family = self.source.profile();
        Profile {
            max_power: self.max_power.unwrap_or(family.max_power),
            sleeps_at_night: self.sleeps_at_night.unwrap_or(family.sleeps_at_night),
            ..family
        }
    }

    /// The most power that it can give or take on its AC side, in watts.
    pub fn max_power(&self) -> u32 {
        self.profile().max_power
    }
}

/// The name of an inverter: up to 32 letters, digits, `_` and `-`, so that it can be part of a topic or tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct InverterName(String);

impl InverterName {
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
        if name == site::NAME {
            return Err(format!(
                "`{name}` is the name of all inverters together (`[site]`); write another"
            ));
        }
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

/// What people call an inverter: any text that fits on a line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Title(String);

impl TryFrom<String> for Title {
    type Error = String;

    fn try_from(title: String) -> Result<Self, String> {
        let title = title.trim();
        if (1..=64).contains(&title.chars().count()) && !title.chars().any(char::is_control) {
            Ok(Self(title.to_owned()))
        } else {
            Err(format!(
                "`{}` cannot be a title; write 1 to 64 characters on one line",
                title.escape_debug()
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
        /// The port, if it is not the usual one.
        port: Option<u16>,
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
                at(text, None)
            });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(at(&address.ip().to_string(), Some(address.port())));
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
        Ok(at(host, port))
    }
}
