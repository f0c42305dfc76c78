//! `kstar import`: the history of kstar.sharp, taken over.

use std::future::Future;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use kstar_common::zone;
use kstar_history::{History, Imported, Importer};
use kstar_model::TimeZone;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::{MAX_GAP, longest_gap};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_reports::kstar_sharp::{LeftOut, OldHistory, OldHistoryError, OldReading};
use kstar_source::source::Profile;

use super::shared::args::{ConfigArgs, choose};
use super::shared::background::{flow, in_background};
use super::shared::counting::Counting;
use super::shared::failure::Failure;
use super::shared::progress::Progress;
use super::shared::stored::{config_or_built_in, no_history};
use crate::run::plans;

/// How many readings one transaction holds: some ten milliseconds. It ends where five minutes do, so that nobody sums up
/// a half of them.
const BATCH: usize = 500;

const FIVE_MINUTES: i64 = 5 * 60 * 1000;

/// What the collector is left between two transactions; see [`Importer`].
const PAUSE: Duration = Duration::from_millis(10);

/// However far readings of the past are apart, no more time than this lies between two that belong together.
const FARTHEST: Duration = Duration::from_secs(60 * 60);

/// How many times between two readings are looked at for the usual one.
const MOST_SPACINGS: u64 = 50_000;

/// How many readings are looked for in the history at other times.
const MOST_PROBES: u64 = 400;

/// So many of them are looked for together: an old history that is there in part is found, too.
const PROBES_TOGETHER: usize = 20;

/// Fewer that are there at another time may be so by chance.
const FEWEST_PROBES: usize = 5;

/// All zones differ by whole quarters of an hour, in milliseconds.
const QUARTER: i64 = 15 * 60 * 1000;

/// And by no more than so many, but for some islands that have another date. A day is left out: every day has a morning.
const FARTHEST_ZONES: i64 = 23 * 4;

/// What `kstar import` can be told.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// The database of kstar.sharp; it is only read
    #[arg(value_name = "OLD.db")]
    old: PathBuf,
    /// The time zone of the machine that wrote it, like Europe/London [default: that of the configuration]
    #[arg(long, value_name = "ZONE", value_parser = time_zone)]
    zone: Option<TimeZone>,
    /// The name of its inverter in the configuration, if there are several
    #[arg(long, value_name = "NAME")]
    inverter: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    zone::named(name)
        .ok_or_else(|| "no time zone; write one of the IANA names, like Europe/London".to_owned())
}

/// Imports until done or stopped; what is done then need not be done again.
pub async fn run(args: ImportArgs, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    in_background(shutdown, move |stop| import(&args, stop)).await
}

fn import(args: &ImportArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let config = config_or_built_in(&args.config)?;
    let context = plans::context(&config);
    let inverters = config.inverters();
    let advice = "name the one that the old history is of with --inverter";
    let section = choose(&inverters, args.inverter.as_deref(), advice)?;
    let inverter = Inverter::named(section.name.as_str());
    let zone = args.zone.clone().unwrap_or_else(|| context.zone.clone());
    let old = OldHistory::open(&args.old, zone)?;
    let rows = old.rows()?;
    let survey = Survey::of(&old, rows, stop)?;
    if let Some(file) = config.sinks.history_file(&context)
        && file.exists()
    {
        refuse_what_is_there(&file, &inverter, &survey)?;
    }
    let longest_gap = survey.longest_gap();
    let profile = Profile::of(section.max_power());
    let mut counting = Counting::new(context.zone.clone(), longest_gap, &profile);
    let mut importer = config
        .sinks
        .importer(&context, Some(longest_gap))
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
        pause(importer);
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
            counted: Some(counting.count(time, &values)),
            values,
        }));
        done += 1;
        if written.is_err() {
            return ControlFlow::Break(());
        }
        flow(stop)
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
    let shared = importer.is_shared();
    importer.finish(&mut |left| {
        let (progress, whole) =
            progress.get_or_insert_with(|| (Progress::new("summing up", left.as_secs()), left));
        progress.advance_to(whole.saturating_sub(left).as_secs());
        if shared {
            std::thread::sleep(PAUSE);
        }
    })?;
    drop(progress);
    show(args, &inverter.name, &into, all, &left_out, &survey)
}

/// Leaves a collector that writes to the history the time to do so.
fn pause(importer: &Importer) {
    if importer.is_shared() {
        std::thread::sleep(PAUSE);
    }
}

/// What the old history is like, before anything of it is written.
struct Survey {
    /// The usual time between two readings.
    spacing: Duration,
    /// Readings from all of its time, with values that hardly come twice.
    probes: Vec<(UnixMillis, Values)>,
}

impl Survey {
    fn of(old: &OldHistory, rows: u64, stop: &AtomicBool) -> Result<Self, Failure> {
        let progress = Progress::new("looking through it", rows);
        let (every, rarely) = (rows / MOST_SPACINGS + 1, rows / MOST_PROBES + 1);
        let mut spacings = Vec::new();
        let mut probes: Vec<(UnixMillis, Values)> = Vec::new();
        let (mut number, mut last, mut next_probe) = (0_u64, None, 0);
        old.each(&mut |OldReading { time, values }| {
            if number.is_multiple_of(every)
                && let Some(last) = last
                && time > last
            {
                spacings.push(time.0 - last.0);
            }
            let is_lively = [
                values.raw(Quantity::load_power),
                values.raw(Quantity::pv_power),
            ]
            .iter()
            .all(|power| power.is_some_and(|power| power != 0));
            if number >= next_probe && is_lively {
                probes.push((time, values));
                next_probe = number + rarely;
            }
            last = Some(time);
            number += 1;
            if number.is_multiple_of(10_000) {
                progress.advance_to(number);
            }
            flow(stop)
        })?;
        spacings.sort_unstable();
        let usual = spacings.get(spacings.len() / 2).copied().unwrap_or(0);
        Ok(Self {
            spacing: Duration::from_millis(usual.unsigned_abs()),
            probes,
        })
    }

    /// How far two readings may be apart for the energy between them to be known.
    fn longest_gap(&self) -> Duration {
        longest_gap(self.spacing).min(FARTHEST)
    }
}

/// Refuses readings that are in the history at another time: imported before with another zone, they would be there twice.
fn refuse_what_is_there(file: &Path, inverter: &Inverter, survey: &Survey) -> Result<(), Failure> {
    let Ok(history) = History::open(file) else {
        // It is opened to be written in a moment, which says more.
        return Ok(());
    };
    if !history
        .inverters()?
        .iter()
        .any(|known| *known.name == *inverter.name)
    {
        return Ok(());
    }
    let differences: Vec<i64> = (-FARTHEST_ZONES..=FARTHEST_ZONES)
        .filter(|quarters| *quarters != 0)
        .map(|quarters| quarters * QUARTER)
        .collect();
    for part in survey.probes.chunks(PROBES_TOGETHER) {
        let found = history.shifted(&inverter.name, part, &differences)?;
        for (difference, count) in differences.iter().zip(found) {
            if count * 10 < part.len() * 8 || count < FEWEST_PROBES.min(part.len()) {
                continue;
            }
            let minutes = difference.abs() / 60_000;
            let (hours, minutes) = (minutes / 60, minutes % 60);
            let way = if *difference < 0 { "earlier" } else { "later" };
            let first = part.first().map(|(time, _)| time.to_string());
            return Err(Failure::Usage(format!(
                "the readings from {} on are in {} already, {hours}:{minutes:02} h {way}: they were imported with another \
                 time zone. Nothing was written; give that zone with --zone, or take the others out first",
                first.unwrap_or_default(),
                file.display()
            )));
        }
    }
    Ok(())
}

impl From<OldHistoryError> for Failure {
    fn from(error: OldHistoryError) -> Self {
        Self::Runtime(error.to_string())
    }
}

fn show(
    args: &ImportArgs,
    inverter: &str,
    into: &str,
    imported: Imported,
    left_out: &[LeftOut],
    survey: &Survey,
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
    if survey.spacing > MAX_GAP {
        let apart = survey.spacing.as_secs() / 60;
        if survey.spacing > FARTHEST {
            writeln!(
                out,
                "readings are {apart} minutes apart, which is too far for their energy to be known"
            )?;
        } else {
            writeln!(
                out,
                "readings are {apart} minutes apart; energy is counted over up to {} minutes between two",
                survey.longest_gap().as_secs() / 60
            )?;
        }
    }
    out.flush()?;
    Ok(())
}
