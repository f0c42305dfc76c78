//! The section `[collector]`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use kstar_common::setting::duration;
use kstar_source::datagram::GREETING_PORT;
use serde::Deserialize;

/// What is not set here depends on the inverter: first its own section says it, then this one, then its family.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectorSection {
    /// The time from one poll to the next.
    #[serde(with = "duration::optional")]
    pub poll_interval: Option<Duration>,
    /// How long a reply may take.
    #[serde(with = "duration::optional")]
    pub timeout: Option<Duration>,
    /// How often a poll asks before it gives up.
    pub tries: Option<NonZeroU32>,
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
            poll_interval: None,
            timeout: None,
            tries: None,
            grace: Duration::from_secs(10),
            allow_fast_polling: false,
            discovery_addresses: Vec::new(),
        }
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
            .or_else(|| Some(SocketAddr::new(text.parse().ok()?, GREETING_PORT)));
        address.filter(SocketAddr::is_ipv4).map(Self).ok_or_else(|| {
            format!("`{text}` is no address to greet; write an IPv4 address, like \"192.168.1.255\" or \"192.168.1.50:48899\"")
        })
    }
}
