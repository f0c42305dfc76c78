//! Finding inverters on the local network: which of the WiFi modules that answer a greeting have one behind them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use kstar_source::async_trait;
use kstar_source::counts::Counts;
use kstar_source::greeting::{self, Module};
use kstar_source::source::{Discover, Found, Search};

use crate::wire::DATA_PORT;

/// How a module is shown, and put into a configuration.
pub(crate) fn found(module: &Module) -> Found {
    Found {
        address: module.address,
        mac: module.mac.map(|mac| mac.to_string()),
        name: module.name.clone(),
        host: match module.address.port() {
            DATA_PORT => module.address.ip().to_string(),
            _ => module.address.to_string(),
        },
    }
}

/// As [`greeting::search`], without the Solarman sticks: they speak another protocol.
pub(crate) async fn modules(
    greeted: &[SocketAddr],
    timeout: Duration,
    counts: &Counts,
) -> io::Result<(Vec<SocketAddr>, Vec<Module>)> {
    let (greeted, mut modules) = greeting::search(greeted, timeout, counts).await?;
    modules.retain(|module| module.logger_serial().is_none());
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
            found: modules.iter().map(found).collect(),
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
            found(&module).config_lines("roof")
        };
        assert_eq!(
            lines(8899),
            "[[inverter]]\nname = \"roof\"\nhost = \"192.168.1.50\""
        );
        assert!(lines(9000).ends_with("host = \"192.168.1.50:9000\""));
    }
}
