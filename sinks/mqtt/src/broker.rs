//! The broker's address: read from a URL, and whether it lies in the user's own network.

use std::fmt;

use kstar_common::host::{is_name, is_private, split_port, with_port};
use serde::{Deserialize, Deserializer, de};

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is spoken to through TLS.
    pub tls: bool,
}

const ADVICE: &str = "write \"mqtt://HOST\" or, with TLS, \"mqtts://HOST\", and a port behind it if it is not 1883 or 8883: \"mqtt://192.168.1.10:1884\"";

impl Broker {
    /// The broker that a URL names; the error says how to write one. It never shows the URL, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| format!("the scheme is missing; {ADVICE}"))?;
        let tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            other if other.chars().all(|c| c.is_ascii_alphanumeric()) => {
                return Err(format!("`{other}://` is not spoken here; {ADVICE}"));
            }
            _ => return Err(format!("the scheme is wrong; {ADVICE}")),
        };
        if rest.contains('@') {
            return Err(
                "user and password do not belong into the address, where they show; set `username` and `password`"
                    .to_owned(),
            );
        }
        let place = rest.strip_suffix('/').unwrap_or(rest);
        if place.contains(['/', '?', '#']) {
            return Err(format!(
                "nothing can follow the host and the port; {ADVICE}"
            ));
        }
        // No port behind a colon is the usual one.
        let (host, port) = split_port(place.strip_suffix(':').unwrap_or(place))
            .map_err(|what| format!("{what}; {ADVICE}"))?;
        // Only an IPv6 address has colons by now.
        if !host.contains(':') && !is_name(host) {
            return Err(format!(
                "the host is missing, or holds something that no name has, like a space or a sign that does not show; {ADVICE}"
            ));
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.unwrap_or(if tls { 8883 } else { 1883 }),
            tls,
        })
    }

    /// Whether what is sent there stays in the user's own network, as far as the name tells.
    pub fn is_private(&self) -> bool {
        is_private(&self.host)
    }
}

/// As a URL, without user and password.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls } = self;
        let scheme = if *tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}", with_port(host, *port))
    }
}

impl<'de> Deserialize<'de> for Broker {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_and_port() {
        for (url, shown) in [
            ("mqtt://homeassistant", "mqtt://homeassistant:1883"),
            ("mqtts://a.example.org", "mqtts://a.example.org:8883"),
            ("mqtt://192.168.1.10:1884/", "mqtt://192.168.1.10:1884"),
            ("mqtt://[fd00::1]:1884", "mqtt://[fd00::1]:1884"),
            ("mqtts://[::1]", "mqtts://[::1]:8883"),
        ] {
            assert_eq!(Broker::parse(url).unwrap().to_string(), shown);
        }
        for url in [
            "mqtt://u:hunter2@host",
            "mqtt://hunter2@host",
            "mqtt://u:hunter2@h@b",
        ] {
            let error = Broker::parse(url).unwrap_err();
            assert!(error.contains("`username`"), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_wrong_url_is_told_how_to_be_right_and_not_shown() {
        for url in [
            "hunter2",
            "http://hunter2",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://host:port",
            "mqtt://host:0",
            "mqtt://host:99999",
            "mqtt://host/hunter2",
            "mqtt://fd00::1",
            "mqtt://[hunter2]",
            "mqtt://[::1]x",
            "mqtt://a b",
            "mqtt://bro\u{200b}ker",
            "mqtt://broker\u{a0}",
            "hunter2@b://c",
        ] {
            let error = Broker::parse(url).unwrap_err();
            assert!(error.contains("\"mqtt://"), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }
}
