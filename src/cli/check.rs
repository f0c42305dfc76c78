//! `kstar check`: whether the configuration is right, and what would be done with it.

use std::io::Write;

use clap::Args;
use kstar_sink::delivery::Keep;
use kstar_sink::setting::{duration, size};

use super::{ConfigArgs, Failure, run};

/// What `kstar check` can be told.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Checks and shows the plan.
pub fn run(args: &CheckArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (source, config) = run::load(&args.config, run::Overrides::new(None, None, false)?)?;
    let context = run::context(&config);
    writeln!(out, "configuration: {}", source.path().display())?;
    writeln!(out, "state folder:  {}", context.state_dir.display())?;
    let zone = context.zone.iana_name().unwrap_or("the system's own");
    writeln!(out, "time zone:     {zone}")?;
    for plan in run::inverter_plans(&config) {
        writeln!(
            out,
            "inverter {}: {}, asked as 0x{:02X} every {}, {} tries of {} each",
            plan.name,
            plan.target,
            plan.manners.ap.byte(),
            duration::text(plan.interval),
            plan.manners.tries,
            duration::text(plan.manners.timeout),
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
        let destination = section.destination(&context);
        let timeout = duration::text(policy.timeout);
        writeln!(
            out,
            "sink {}: {destination}; {keep}, {timeout} for a delivery",
            section.name()
        )?;
    }
    writeln!(
        out,
        "the configuration is in order; nothing was asked, opened or written"
    )?;
    out.flush()?;
    Ok(())
}
