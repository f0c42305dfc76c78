//! Finding inverters on the local network: a greeting by broadcast, and who answers.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::link::{Greeted, LinkCounts, greet};
use crate::wire::discovery::MacAddress;

/// Where WiFi modules listen for the greeting.
pub const DISCOVERY_PORT: u16 = 48899;

/// Where inverters answer requests, behind their module.
pub const DATA_PORT: u16 = 8899;

/// A WiFi module that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its MAC address, if it told.
    pub mac: Option<MacAddress>,
    /// Where its inverter answers requests.
    pub address: SocketAddr,
    /// The module's name or model.
    pub name: Option<String>,
}

impl Module {
    /// The lines that put it into the configuration under that name.
    pub fn config_lines(&self, name: &str) -> String {
        let host = match self.address.port() {
            DATA_PORT => self.address.ip().to_string(),
            _ => self.address.to_string(),
        };
        format!("[[inverter]]\nname = \"{name}\"\nhost = \"{host}\"")
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address.ip())?;
        if let Some(mac) = self.mac {
            write!(f, " ({mac})")?;
        }
        Ok(())
    }
}

/// Greets, waits so long for answers, and returns who answered: the lowest MAC first, those without one last.
///
/// The datagram's source is more certain than the address that the module writes: it may know itself by another one
/// behind a router.
pub async fn discover(
    greeted: &[SocketAddr],
    patience: Duration,
    counts: &LinkCounts,
) -> io::Result<Vec<Module>> {
    let mut modules = BTreeMap::new();
    greet(greeted, patience, counts, |Greeted { from, answer }| {
        let address = SocketAddr::new(from.ip(), DATA_PORT);
        modules.insert(
            address,
            Module {
                mac: answer.mac,
                address,
                name: answer.name,
            },
        );
        false
    })
    .await?;
    let mut modules: Vec<Module> = modules.into_values().collect();
    modules.sort_by_key(|module| (module.mac.is_none(), module.mac, module.address));
    Ok(modules)
}

/// Where a greeting reaches everybody: the broadcast address of each interface, and the one of the whole network,
/// which on its own works only where there is a default route.
pub fn everybody() -> Vec<SocketAddr> {
    let mut addresses: Vec<Ipv4Addr> = if_addrs::get_if_addrs()
        .unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list the network interfaces; greeting only 255.255.255.255");
            Vec::new()
        })
        .into_iter()
        .filter(|interface| !interface.is_loopback())
        .filter_map(|interface| match interface.addr {
            if_addrs::IfAddr::V4(address) => address.broadcast,
            if_addrs::IfAddr::V6(_) => None,
        })
        .collect();
    addresses.push(Ipv4Addr::BROADCAST);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
        .into_iter()
        .map(|address| SocketAddr::new(IpAddr::V4(address), DISCOVERY_PORT))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_lines_name_the_port_only_where_it_is_another() {
        let module = |port| Module {
            mac: None,
            address: ([192, 168, 1, 50], port).into(),
            name: None,
        };
        assert_eq!(
            module(8899).config_lines("roof"),
            "[[inverter]]\nname = \"roof\"\nhost = \"192.168.1.50\""
        );
        assert!(
            module(9000)
                .config_lines("roof")
                .ends_with("host = \"192.168.1.50:9000\"")
        );
    }

    #[test]
    fn everybody_is_somebody() {
        assert!(everybody().contains(&([255, 255, 255, 255], DISCOVERY_PORT).into()));
    }
}
