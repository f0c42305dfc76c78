//! `kstar rename`: an inverter gets another name, and what is kept under the one before goes on.
//!
//! Each part is carried over as a whole or not at all, and one that is carried over already is left alone: where something
//! fails, the same command does the rest.

use std::io::Write;

use clap::Args;
use kstar_engine::pipeline::ledger::file::LedgerFile;
use kstar_engine::pipeline::ledger::lock::StateLock;

use super::shared::args::{ConfigArgs, unknown_inverter};
use super::shared::failure::Failure;
use crate::config::{Config, InverterName};
use crate::run::plans;

/// What `kstar rename` can be told.
#[derive(Args, Clone, Debug)]
pub struct RenameArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The inverter's name until now
    old: String,
    /// Its name from now on
    new: String,
}

/// Renames, while no collector runs.
pub fn run(args: &RenameArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (old, new) = (args.old.as_str(), args.new.as_str());
    let Some((source, config)) = args.config.load()? else {
        let message = "there is no configuration, in which an inverter would have a name; `kstar init` writes one";
        return Err(Failure::Usage(message.to_owned()));
    };
    InverterName::try_from(args.new.clone()).map_err(Failure::Usage)?;
    if old == new {
        return Err(Failure::Usage(format!("`{old}` has that name already")));
    }
    let inverters = config.inverters();
    let names: Vec<&str> = inverters.iter().map(|one| one.name.as_str()).collect();
    let is_named = |name: &str| names.contains(&name);
    if is_named(old) && is_named(new) {
        return Err(Failure::Usage(format!(
            "another inverter is named `{new}` in the configuration"
        )));
    }
    // By hand somebody may have been faster.
    if !is_named(old) && !is_named(new) {
        return Err(unknown_inverter(old, &names));
    }
    let _lock = StateLock::take(&config.state_dir()).map_err(|held| {
        let pid = held.pid.as_deref().unwrap_or("(unknown)");
        let folder = held.folder.display();
        Failure::Runtime(format!(
            "a collector runs with {folder}, process {pid}; stop it, rename, and start it again. Nothing was changed"
        ))
    })?;
    let carried = carry_over(&config, old, new)?;
    if carried.is_empty() {
        writeln!(out, "nothing is kept under the name {old}")?;
    } else {
        writeln!(out, "from {old} to {new}: {}", carried.join(", "))?;
    }
    if let Some(place) = names.iter().position(|name| *name == old) {
        let path = source.path().display();
        let place = source.line_of_name(place, old).map_or_else(
            || "below [[inverter]]".to_owned(),
            |line| format!("line {line}"),
        );
        writeln!(
            out,
            "before the collector starts, change {path}, {place}, to: name = \"{new}\""
        )?;
    }
    out.flush()?;
    Ok(())
}

/// Carries over what is kept under the name; gives what that was.
fn carry_over(config: &Config, old: &str, new: &str) -> Result<Vec<String>, Failure> {
    let failed = |error: String| {
        Failure::Runtime(format!(
            "{error}. Not all is renamed; put that right, and the same command does the rest"
        ))
    };
    let folder = config.state_dir();
    let mut ledger =
        LedgerFile::open(&folder).map_err(|error| Failure::Runtime(error.to_string()))?;
    let is_counted = ledger.accounts().contains_key(old);
    if is_counted && ledger.accounts().contains_key(new) {
        return Err(Failure::Runtime(format!(
            "energies of an inverter `{new}` are counted already in {}, and the two cannot be told apart afterwards. Nothing was \
             changed",
            folder.display()
        )));
    }
    let context = plans::context(config);
    let mut carried = Vec::new();
    for section in config.sinks.enabled() {
        carried.extend(section.rename(&context, old, new).map_err(failed)?);
    }
    if is_counted {
        let written = ledger.rename(old, new);
        written.map_err(|error| {
            failed(format!(
                "cannot write the counters to {}: {error}",
                folder.display()
            ))
        })?;
        carried.insert(0, "the energy counters".to_owned());
    }
    Ok(carried)
}
