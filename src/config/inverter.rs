//! The section `[[inverter]]`, and what inverters and their places are called.

use std::net::{IpAddr, SocketAddr};

use kstar_sink::host::{is_name, split_port};
use serde::{Deserialize, Deserializer, de};

use crate::discovery::{DATA_PORT, DISCOVERY_PORT};
use crate::gate::rules::MAX_POWER;
use crate::poll::Target;
use crate::wire::ApAddress;

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

impl InverterSection {
    /// Where polls of it go; without a host, to whoever answers a greeting at one of these, or anywhere if there are none.
    pub fn target(&self, greeted: &[DiscoveryAddress]) -> Target {
        match &self.host {
            Some(Host::At { host, port }) => Target::Host {
                host: host.clone(),
                port: *port,
            },
            None | Some(Host::Anywhere) => Target::Discovered {
                greeted: greeted.iter().map(|address| address.0).collect(),
            },
        }
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

fn ap_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ApAddress, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let known = u8::try_from(number).ok().and_then(ApAddress::from_byte);
    known.ok_or_else(|| {
        de::Error::custom(format!(
            "0x{number:02X} is no known address; use 0xB0 (KSTAR) or 0xC0 (GoodWe)"
        ))
    })
}
