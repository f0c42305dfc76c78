//! `kstar discover`: who answers a greeting on the local network, and what stands behind it.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use kstar_common::setting::duration;
use kstar_source::counts::Counts;
use kstar_source::greeting::{self, Module};
use kstar_source::way::KeyValue;
use serde_json::json;
use tokio::task::JoinSet;

use super::shared::columns::write_columns;
use super::shared::failure::Failure;
use crate::config::DiscoveryAddress;
use crate::registry::{Acquaintance, Stranger, Unknown, identify};

/// What `kstar discover` can be told.
#[derive(Args, Clone, Debug)]
pub struct DiscoverArgs {
    /// Greet this address instead of everybody: another network's broadcast address, or one module's
    #[arg(long, value_name = "ADDR[:PORT]")]
    address: Vec<DiscoveryAddress>,
    /// How long answers are waited for
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration::parse)]
    timeout: Duration,
    /// Only greet: do not ask what answers which inverter it is
    #[arg(long)]
    greet_only: bool,
    /// Write JSON, one line for each answer
    #[arg(long)]
    json: bool,
}

/// A module, and the inverter behind it if it was asked.
struct Answered {
    module: Module,
    inverter: Option<Result<Acquaintance, Unknown>>,
}

/// Greets, asks and lists.
pub async fn run(args: DiscoverArgs, out: &mut impl Write) -> Result<(), Failure> {
    let greeted: Vec<SocketAddr> = args.address.iter().map(|address| address.0).collect();
    let (greeted, modules) = greeting::search(&greeted, args.timeout, &Counts::default())
        .await
        .map_err(|error| Failure::Runtime(format!("cannot send a greeting: {error}")))?;
    if modules.is_empty() {
        return Err(nobody(&args, &greeted));
    }
    let answered = if args.greet_only {
        let unasked = |module| Answered {
            module,
            inverter: None,
        };
        modules.into_iter().map(unasked).collect()
    } else {
        ask(modules).await?
    };
    if args.json {
        for answered in &answered {
            writeln!(out, "{}", answered.json())?;
        }
    } else {
        show(out, &answered)?;
    }
    out.flush()?;
    Ok(())
}

fn nobody(args: &DiscoverArgs, greeted: &[SocketAddr]) -> Failure {
    let greeted: Vec<String> = greeted.iter().map(ToString::to_string).collect();
    let advice = if args.address.is_empty() {
        "a broadcast does not leave this network, nor a container's: try --address with the inverter's own \
         address, or look into your router's list of devices"
    } else {
        "look into your router's list of devices whether the inverter is there; some modules answer no greetings \
         at all, so try `kstar read --host` with its address"
    };
    Failure::Runtime(format!(
        "no inverter answered within {} (greeted {}); {advice}",
        duration::text(args.timeout),
        greeted.join(", ")
    ))
}

/// Asks what is behind each module: all of them at once, each in one way after the other.
async fn ask(modules: Vec<Module>) -> Result<Vec<Answered>, Failure> {
    let mut asking = JoinSet::new();
    for (index, module) in modules.into_iter().enumerate() {
        asking.spawn(async move {
            let stranger = Stranger {
                host: module.address.ip().to_string(),
                port: None,
                module: Some(module.clone()),
                elsewhere: false,
                tried: None,
                timeout: None,
                fast: false,
            };
            let inverter = Some(identify(&stranger).await);
            (index, Answered { module, inverter })
        });
    }
    let mut answered = Vec::new();
    while let Some(asked) = asking.join_next().await {
        answered.push(asked.map_err(|error| {
            Failure::Runtime(format!("asking has failed: {error}; please report this"))
        })?);
    }
    answered.sort_unstable_by_key(|(index, _)| *index);
    Ok(answered.into_iter().map(|(_, answered)| answered).collect())
}

impl Answered {
    fn inverter(&self) -> Option<&Acquaintance> {
        self.inverter.as_ref()?.as_ref().ok()
    }

    fn json(&self) -> serde_json::Value {
        let (module, inverter) = (&self.module, self.inverter());
        let key = |name| inverter.and_then(|inverter: &Acquaintance| inverter.key(name));
        json!({
            "address": module.address,
            "mac": module.mac.map(|mac| mac.to_string()),
            "name": module.name,
            "module": module.kind.label(),
            "logger_serial": module.logger_serial(),
            "family": inverter.map(|inverter| inverter.family.name()),
            "via": key("via"),
            "unit": key("unit"),
            "host": inverter.map(|inverter| &inverter.host),
            "model": inverter.and_then(|inverter| inverter.model.as_ref()),
            "serial": inverter.and_then(|inverter| inverter.serial.as_ref()),
        })
    }

    /// What the table has of it: its module, then the inverter.
    fn row(&self) -> [String; 7] {
        let (module, inverter) = (&self.module, self.inverter());
        let via = inverter.and_then(|inverter| inverter.key("via"));
        let cells = [
            Some(module.address.ip().to_string()),
            module.mac.map(|mac| mac.to_string()),
            module.name.clone(),
            inverter.map(|inverter| inverter.family.name().to_owned()),
            match via {
                Some(KeyValue::Word(via)) => Some(via.to_owned()),
                _ => None,
            },
            inverter.and_then(|inverter| inverter.model.clone()),
            inverter.and_then(|inverter| inverter.serial.clone()),
        ];
        cells.map(Option::unwrap_or_default)
    }

    /// The section for the configuration.
    fn section(&self, name: &str) -> String {
        let head = format!("[[inverter]]\nname = \"{name}\"");
        match &self.inverter {
            Some(Ok(inverter)) => format!("{head}\n{}", inverter.lines().join("\n")),
            Some(Err(unknown)) => {
                let kind = self.module.kind.label();
                let host = self.module.host();
                format!("# a {kind}: {unknown}\n{head}\nhost = \"{host}\"")
            }
            None => format!("{head}\nhost = \"{}\"", self.module.host()),
        }
    }
}

fn show(out: &mut impl Write, all: &[Answered]) -> std::io::Result<()> {
    let head = [
        "address", "mac", "module", "family", "via", "model", "serial",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(all.iter().map(Answered::row));
    if all.iter().any(|answered| answered.inverter().is_some()) {
        write_columns(out, &rows)?;
    } else {
        let rows = rows
            .into_iter()
            .map(|[address, mac, module, ..]| [address, mac, module]);
        write_columns(out, &rows.collect::<Vec<_>>())?;
    }
    writeln!(out, "\n# for the configuration:")?;
    for (answered, number) in all.iter().zip(1..) {
        let name = if all.len() == 1 {
            "inverter".to_owned()
        } else {
            format!("inverter{number}")
        };
        writeln!(out, "{}", answered.section(&name))?;
    }
    Ok(())
}
