//! `kstar import`: the history of kstar.sharp, taken over.

use std::future::Future;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use kstar_sink::TimeZone;
use kstar_sink::reading::{Inverter, Reading};

use super::progress::Progress;
use super::stored::{config_or_built_in, no_history};
use super::{ConfigArgs, Failure, in_background, run};
use crate::config::Config;
use crate::old_history::{LeftOut, OldHistory, OldHistoryError, OldReading};
use crate::sinks::history::{Imported, Importer};

/// How many readings one transaction holds: some ten milliseconds. It ends where five minutes do, so that nobody sums up
/// a half of them.
const BATCH: usize = 500;

const FIVE_MINUTES: i64 = 5 * 60 * 1000;

/// What the collector is left between two transactions; see [`Importer`].
const PAUSE: Duration = Duration::from_millis(10);

/// What `kstar import` can be told.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// The database of kstar.sharp; it is only read
    #[arg(value_name = "OLD.db")]
    old: PathBuf,
    /// The time zone of the machine that wrote it, like Europe/London [default: that of the configuration]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<TimeZone>,
    /// The name of its inverter in the configuration, if there are several
    #[arg(long, value_name = "NAME")]
    inverter: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| "no time zone; write one of the IANA names, like Europe/London".to_owned())
}

/// Imports until done or stopped; what is done then need not be done again.
pub async fn run(args: ImportArgs, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    in_background(shutdown, move |stop| import(&args, stop)).await
}

fn import(args: &ImportArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let config = config_or_built_in(&args.config)?;
    let context = run::context(&config);
    let inverter = inverter(args, &config)?;
    let zone = args.zone.clone().unwrap_or_else(|| context.zone.clone());
    let old = OldHistory::open(&args.old, zone)?;
    let rows = old.rows()?;
    let mut importer = config
        .sinks
        .importer(&context, None)
        .ok_or_else(|| no_history("and import again"))??;
    let into = importer.path().display().to_string();

    let progress = Progress::new("importing", rows);
    let mut all = Imported::default();
    let mut batch: Vec<Arc<Reading>> = Vec::with_capacity(BATCH);
    let mut written = Ok(());
    let mut done = 0;
    let mut write = |importer: &mut Importer, batch: &mut Vec<Arc<Reading>>| {
        let part = importer.add(batch)?;
        all.new += part.new;
        all.there += part.there;
        all.moved += part.moved;
        all.dropped += part.dropped;
        batch.clear();
        std::thread::sleep(PAUSE);
        Ok::<_, Failure>(())
    };
    let left_out = old.each(&mut |OldReading { time, values }| {
        let begins_anew = |last: &Arc<Reading>| {
            last.time.0.div_euclid(FIVE_MINUTES) != time.0.div_euclid(FIVE_MINUTES)
        };
        if batch.len() >= BATCH && batch.last().is_some_and(begins_anew) {
            written = write(&mut importer, &mut batch);
            progress.advance_to(done);
        }
        batch.push(Arc::new(Reading {
            time,
            inverter: Arc::clone(&inverter),
            values,
            counted: None,
        }));
        done += 1;
        if written.is_err() || stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    written?;
    if !batch.is_empty() {
        write(&mut importer, &mut batch)?;
    }
    drop(progress);
    if stop.load(Ordering::Relaxed) {
        let message = "stopped; what is imported stays, and the same command does the rest";
        return Err(Failure::Runtime(message.to_owned()));
    }
    let mut progress: Option<(Progress, Duration)> = None;
    importer.finish(&mut |left| {
        let (progress, whole) =
            progress.get_or_insert_with(|| (Progress::new("summing up", left.as_secs()), left));
        progress.advance_to(whole.saturating_sub(left).as_secs());
        std::thread::sleep(PAUSE);
    })?;
    drop(progress);
    show(args, &inverter.name, &into, all, &left_out)
}

impl From<OldHistoryError> for Failure {
    fn from(error: OldHistoryError) -> Self {
        Self::Runtime(error.to_string())
    }
}

/// The inverter that the old history is of.
fn inverter(args: &ImportArgs, config: &Config) -> Result<Arc<Inverter>, Failure> {
    let inverters = config.inverters();
    let names: Vec<&str> = inverters
        .iter()
        .map(|inverter| inverter.name.as_str())
        .collect();
    match (&args.inverter, &names[..]) {
        (Some(name), names) if names.contains(&name.as_str()) => Ok(Inverter::named(name)),
        (None, [only]) => Ok(Inverter::named(only)),
        (Some(name), _) => Err(Failure::Usage(format!(
            "no inverter is named `{name}`; there are: {}",
            names.join(", ")
        ))),
        (None, _) => Err(Failure::Usage(format!(
            "there are several inverters; name the one that the old history is of with --inverter: {}",
            names.join(", ")
        ))),
    }
}

fn show(
    args: &ImportArgs,
    inverter: &str,
    into: &str,
    imported: Imported,
    left_out: &[LeftOut],
) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let Imported {
        new,
        there,
        moved,
        dropped,
    } = imported;
    writeln!(
        out,
        "{}: {new} readings of {inverter} written to {into}, {there} were there already",
        args.old.display()
    )?;
    if moved > 0 {
        writeln!(
            out,
            "{moved} of them stand some milliseconds later: another reading of their time was there"
        )?;
    }
    if dropped > 0 {
        writeln!(
            out,
            "{dropped} left out: a thousand other readings of their time were there"
        )?;
    }
    for LeftOut {
        why,
        count,
        examples,
    } in left_out
    {
        writeln!(out, "{count} left out: {why}: {}", examples.join(", "))?;
    }
    out.flush()?;
    Ok(())
}
