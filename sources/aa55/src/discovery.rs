//! Finding inverters on the local network: a greeting to their WiFi modules by broadcast, and who answers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use kstar_source::async_trait;
use kstar_source::counts::Counts;
use kstar_source::datagram::{Hex, everybody, greet};
use kstar_source::source::{Discover, Found, Search};

use crate::wire::discovery::{MacAddress, answer};
use crate::wire::{DATA_PORT, GREETING};

/// How long answers to a broadcast are waited for.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);

/// A WiFi module that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) mac: Option<MacAddress>,
    /// Where its inverter answers requests.
    pub(crate) address: SocketAddr,
    pub(crate) name: Option<String>,
}

impl Module {
    pub(crate) fn found(&self) -> Found {
        Found {
            address: self.address,
            mac: self.mac.map(|mac| mac.to_string()),
            name: self.name.clone(),
            host: match self.address.port() {
                DATA_PORT => self.address.ip().to_string(),
                _ => self.address.to_string(),
            },
        }
    }
}

/// Greets these addresses, everybody if there are none; waits so long for answers, and returns who was greeted and who
/// answered: the lowest MAC first, those without one last.
///
/// The datagram's source is more certain than the address that the module writes: it may know itself by another one
/// behind a router.
pub(crate) async fn modules(
    greeted: &[SocketAddr],
    timeout: Duration,
    counts: &Counts,
) -> io::Result<(Vec<SocketAddr>, Vec<Module>)> {
    let greeted = if greeted.is_empty() {
        everybody()
    } else {
        greeted.to_vec()
    };
    let mut modules = BTreeMap::new();
    greet(GREETING, &greeted, timeout, counts, |from, datagram| {
        if let Ok(answer) = answer(datagram) {
            let address = SocketAddr::new(from.ip(), DATA_PORT);
            let module = Module {
                mac: answer.mac,
                address,
                name: answer.name,
            };
            modules.insert(address, module);
        } else {
            tracing::debug!(%from, datagram = %Hex(datagram), "no answer to a greeting");
        }
        false
    })
    .await?;
    let mut modules: Vec<Module> = modules.into_values().collect();
    modules.sort_by_key(|module| (module.mac.is_none(), module.mac, module.address));
    Ok((greeted, modules))
}

/// Searches for inverters behind WiFi modules.
pub struct Modules;

#[async_trait]
impl Discover for Modules {
    async fn search(&self, greeted: &[SocketAddr], timeout: Duration) -> io::Result<Search> {
        let (greeted, modules) = modules(greeted, timeout, &Counts::default()).await?;
        Ok(Search {
            greeted,
            found: modules.iter().map(Module::found).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_lines_name_the_port_only_where_it_is_another() {
        let lines = |port| {
            let module = Module {
                mac: None,
                address: ([192, 168, 1, 50], port).into(),
                name: None,
            };
            module.found().config_lines("roof")
        };
        assert_eq!(
            lines(8899),
            "[[inverter]]\nname = \"roof\"\nhost = \"192.168.1.50\""
        );
        assert!(lines(9000).ends_with("host = \"192.168.1.50:9000\""));
    }
}
