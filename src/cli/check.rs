//! `kstar check`: whether the configuration is right, what would be done with it, and whether everything around works.

use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;

use clap::Args;
use kstar_common::finding::{Finding, Verdict};
use kstar_common::setting::{duration, size};
use kstar_engine::pipeline::stamp::WallClock;
use kstar_engine::probe;
use kstar_sink::delivery::Keep;
use kstar_sink::sink::Context;

use super::shared::args::{ConfigArgs, PlaceArgs, from_one_on};
use super::shared::failure::Failure;
use super::shared::findings::{Findings, Form};
use super::shared::load::{self, Overrides};
use crate::config::{Config, ConfigFile};
use crate::run::plans;

#[cfg(feature = "http")]
mod listener;
mod speaks;

/// What `kstar check` can be told.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Try everything as well: this machine, each inverter, each sink's server
    #[arg(long)]
    connect: bool,
    /// How often each inverter is asked
    #[arg(long, value_name = "NUMBER", default_value = "5", requires = "connect", value_parser = from_one_on::<NonZeroU32>)]
    polls: NonZeroU32,
    /// Ask an inverter even though a running collector polls it
    #[arg(long, requires = "connect")]
    force: bool,
    /// Write JSON, one line for each thing that was looked at
    #[arg(long, requires = "connect")]
    json: bool,
}

/// Checks and shows.
pub async fn run(args: CheckArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (source, config) = load::load(
        &args.config,
        Overrides::new(PlaceArgs::default(), None, false)?,
    )?;
    let context = plans::context(&config);
    if args.connect {
        connect(&args, &source, &config, &context, out).await
    } else {
        plan(source.path(), &config, &context, out)?;
        config.resolve(&source)?;
        writeln!(
            out,
            "the configuration is in order; nothing was asked, opened or written (--connect does that)"
        )?;
        out.flush()?;
        Ok(())
    }
}

fn plan(
    path: &Path,
    config: &Config,
    context: &Context,
    out: &mut impl Write,
) -> Result<(), Failure> {
    writeln!(out, "configuration: {}", path.display())?;
    writeln!(out, "state folder:  {}", context.state_dir.display())?;
    let zone = context.zone.iana_name().unwrap_or("the system's own");
    writeln!(out, "time zone:     {zone}")?;
    for plan in plans::inverter_plans(config) {
        writeln!(
            out,
            "inverter {}: {}, {} every {}, {} tries of {} each",
            plan.name,
            plan.context.target.text(plan.source.port()),
            plan.source.describe(),
            duration::text(plan.context.interval),
            plan.context.patience.tries,
            duration::text(plan.context.patience.timeout),
        )?;
    }
    for section in config.sinks.enabled() {
        let policy = section.policy();
        let keep = match (policy.keep, policy.spool) {
            (Keep::Every, None) => {
                format!("up to {} readings wait while it is away", policy.queue)
            }
            (Keep::Every, Some(bounds)) => format!(
                "up to {} readings in {} wait on disk while it is away",
                bounds.readings,
                size::text(bounds.bytes)
            ),
            (Keep::NewestPerInverter, _) => {
                "the newest reading of each inverter waits while it is away".to_owned()
            }
        };
        let destination = section.destination(context);
        let timeout = duration::text(policy.timeout);
        writeln!(
            out,
            "sink {}: {destination}; {keep}, {timeout} for a delivery",
            section.name()
        )?;
    }
    #[cfg(feature = "http")]
    if let Some(http) = &config.http {
        let who = match (&http.token, http.listen.0.ip().is_loopback()) {
            (Some(_), _) => "whoever has the token may ask",
            (None, true) => "this machine may ask, without a token",
            (None, false) => "everybody in its networks may ask, without a token",
        };
        writeln!(out, "http: {}; {who}", http.listen)?;
    }
    out.flush()?;
    Ok(())
}

/// Looks at everything, one part after the other: what is wrong with the first often explains the rest.
async fn connect(
    args: &CheckArgs,
    source: &ConfigFile,
    config: &Config,
    context: &Context,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut shown = Findings::new(out, Form::of_output(args.json));
    shown.begin("this machine".to_owned())?;
    let (folder, zone) = (context.state_dir.clone(), config.timezone.clone());
    let look = move || probe::look(&folder, zone.as_ref(), WallClock::default());
    let looked = tokio::task::spawn_blocking(look).await;
    let looked = looked
        .map_err(|error| Failure::Runtime(format!("cannot look at this machine: {error}")))?;
    shown.show(&[match config.resolve(source) {
        Ok(()) => Finding::good(
            "configuration",
            format!("{} is in order", source.path().display()),
        ),
        Err(error) => Finding::failed("configuration", &error.summary()),
    }])?;
    shown.show(&looked)?;
    let plans = plans::inverter_plans(config).into_iter();
    for (inverter, plan) in config.inverters().into_iter().zip(plans) {
        shown.begin(format!("inverter {}", plan.name))?;
        let probe = plan.source.probe(&plan.context, args.polls, args.force);
        let found = probe.await;
        shown.show(&found)?;
        let is_wrong = |finding: &Finding| finding.verdict == Verdict::Wrong;
        if found.iter().any(is_wrong) {
            shown.show(&speaks::look(&inverter, config).await)?;
        }
    }
    for section in config.sinks.enabled() {
        shown.begin(format!("sink {}", section.name()))?;
        let mut findings = section.probe(context).await;
        if findings.is_empty() {
            findings.push(Finding::good("server", "none that could be missing"));
        }
        shown.show(&findings)?;
    }
    #[cfg(feature = "http")]
    if let Some(http) = &config.http {
        shown.begin("http".to_owned())?;
        shown.show(&listener::look(http.listen.0, http.token.clone()).await)?;
    }
    shown.end()
}
