//! Which inverters there are: those that answer, or those whose addresses are typed or named.

use std::time::Duration;

use kstar_source::counts::Counts;
use kstar_source::greeting::{self, Module};

use super::InitArgs;
use super::asking::{Asking, say};
use super::file::{Inverter, quoted};
use super::words::{host as word_of_host, name};
use crate::cli::shared::failure::Failure;
use crate::config::Host;
use crate::registry::{Stranger, identify};

/// How long answers to a greeting are waited for.
const SEARCH: Duration = Duration::from_secs(3);

/// Every inverter that is to be read.
pub(super) async fn inverters(args: &InitArgs, asking: &Asking) -> Result<Vec<Inverter>, Failure> {
    let mut modules = Vec::new();
    let hosts = if args.host.is_empty() {
        modules = search(args).await;
        let found: Vec<String> = modules.iter().map(Module::host).collect();
        let question = if found.is_empty() {
            "Inverter's address (empty: it is looked for at each start)"
        } else {
            "Inverters to read, by address"
        };
        asking
            .ask(question, &found.join(" "), |answer| {
                answer.split_whitespace().map(word_of_host).collect()
            })
            .await?
    } else {
        args.host.clone()
    };
    let mut names = args.name.iter();
    let mut inverters = Vec::new();
    for (host, number) in hosts.iter().zip(1..) {
        let usual = match hosts.len() {
            1 => "inverter".to_owned(),
            _ => format!("inverter{number}"),
        };
        let name = match names.next() {
            Some(name) => name.clone(),
            None => asking.ask(&format!("Name of {host}"), &usual, name).await?,
        };
        let module = modules.iter().find(|module| module.host() == *host);
        let lines = match module {
            None if args.host.is_empty() => typed(host, asking).await?,
            module => lines(host, module).await.unwrap_or_else(|lines| lines),
        };
        inverters.push(Inverter { name, lines });
    }
    // One that is looked for can have a name too; more names than hosts are a mistake that shows.
    inverters.extend(names.map(|name| Inverter {
        name: name.clone(),
        lines: Vec::new(),
    }));
    Ok(inverters)
}

/// The lines that lead to the inverter at an address that was typed: where nothing answers there, it may be mistyped.
async fn typed(host: &str, asking: &Asking) -> Result<Vec<String>, Failure> {
    let mut host = host.to_owned();
    loop {
        let lines = match lines(&host, None).await {
            Ok(lines) => return Ok(lines),
            Err(lines) => lines,
        };
        let other = asking
            .ask(
                "Another address (Enter keeps this one)",
                &host,
                word_of_host,
            )
            .await?;
        if asking.silent || other == host {
            return Ok(lines);
        }
        host = other;
    }
}

/// The lines that lead to the inverter at a host: what it speaks is found out by asking. The error is those lines that
/// nothing has answered for.
async fn lines(host: &str, module: Option<&Module>) -> Result<Vec<String>, Vec<String>> {
    say(&format!("Asking {host} what it speaks ..."));
    let place = host.parse().ok();
    let Some(Host::At { host: name, port }) = place else {
        return Err(vec![format!("host = {}", quoted(host))]);
    };
    let stranger = Stranger {
        host: name,
        port,
        module: module.cloned(),
        elsewhere: false,
        tried: None,
        timeout: None,
        fast: false,
    };
    match identify(&stranger).await {
        Ok(inverter) => {
            say(&format!("It is {inverter}."));
            Ok(inverter.lines())
        }
        Err(unknown) => {
            say(&format!(
                "{unknown}; `kstar check --connect` tells more, and finds out what it speaks once it is there."
            ));
            Err(vec![format!("host = {}", quoted(host))])
        }
    }
}

/// Those who answer a greeting.
async fn search(args: &InitArgs) -> Vec<Module> {
    let greeted: Vec<_> = args.address.iter().map(|address| address.0).collect();
    say("Looking for inverters ...");
    let modules = match greeting::search(&greeted, SEARCH, &Counts::default()).await {
        Ok((_, modules)) => modules,
        Err(error) => {
            say(&format!("Cannot look for inverters: {error}"));
            Vec::new()
        }
    };
    if modules.is_empty() {
        say("None has answered; a broadcast does not leave this network, nor a container's.");
    }
    modules
}
