//! `kstar discover`: who answers a greeting on the local network.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use kstar_common::setting::duration;
use kstar_source::source::Found;
use serde_json::json;

use super::shared::columns::write_columns;
use super::shared::failure::Failure;
use crate::config::DiscoveryAddress;
use crate::registry::discover;

/// What `kstar discover` can be told.
#[derive(Args, Clone, Debug)]
pub struct DiscoverArgs {
    /// Greet this address instead of everybody: another network's broadcast address, or one module's
    #[arg(long, value_name = "ADDR[:PORT]")]
    address: Vec<DiscoveryAddress>,
    /// How long answers are waited for
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration::parse)]
    timeout: Duration,
    /// Write JSON, one line for each answer
    #[arg(long)]
    json: bool,
}

/// Greets and lists.
pub async fn run(args: DiscoverArgs, out: &mut impl Write) -> Result<(), Failure> {
    let greeted: Vec<SocketAddr> = args.address.iter().map(|address| address.0).collect();
    let search = discover(&greeted, args.timeout)
        .await
        .map_err(|error| Failure::Runtime(format!("cannot send a greeting: {error}")))?;
    let modules = search.found;
    if modules.is_empty() {
        let asked: Vec<String> = search.greeted.iter().map(ToString::to_string).collect();
        let advice = if args.address.is_empty() {
            "a broadcast does not leave this network, nor a container's: try --address with the inverter's own \
             address, or look into your router's list of devices"
        } else {
            "look into your router's list of devices whether the inverter is there; some modules answer no greetings \
             at all, so try `kstar read --host` with its address"
        };
        return Err(Failure::Runtime(format!(
            "no inverter answered within {} (greeted {}); {advice}",
            duration::text(args.timeout),
            asked.join(", ")
        )));
    }
    if args.json {
        for module in &modules {
            writeln!(
                out,
                "{}",
                json!({ "address": module.address, "mac": module.mac, "name": module.name })
            )?;
        }
    } else {
        show(out, &modules)?;
    }
    out.flush()?;
    Ok(())
}

fn show(out: &mut impl Write, modules: &[Found]) -> std::io::Result<()> {
    let mut rows = vec![["address", "mac", "module"].map(str::to_owned)];
    rows.extend(modules.iter().map(|module| {
        [
            module.address.ip().to_string(),
            module.mac.clone().unwrap_or_default(),
            module.name.clone().unwrap_or_default(),
        ]
    }));
    write_columns(out, &rows)?;
    writeln!(out, "\n# for the configuration:")?;
    for (module, number) in modules.iter().zip(1..) {
        let name = if modules.len() == 1 {
            "inverter".to_owned()
        } else {
            format!("inverter{number}")
        };
        writeln!(out, "{}", module.config_lines(&name))?;
    }
    Ok(())
}
