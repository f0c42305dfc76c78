//! `kstar history`: putting the history right.

use std::fs::OpenOptions;
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Subcommand};
use kstar_history::{History, Misplaced, Repair};
use kstar_model::reading::Reading;
use kstar_model::time::UnixMillis;
use kstar_reports::period::local;

use super::shared::background::in_background;
use super::shared::failure::Failure;
use super::shared::progress::Progress;
use super::shared::stored::HistoryArgs;

/// What `kstar history` can be told.
#[derive(Args, Clone, Debug)]
pub struct HistoryCommandArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Put readings right that came when the clock was wrong; only shows them unless told what to do
    Repair(RepairArgs),
}

/// What `kstar history repair` can be told.
#[derive(Args, Clone, Debug)]
struct RepairArgs {
    /// Move readings to where they belong, where that is known
    #[arg(long)]
    apply: bool,
    /// When the last of them really came, as 2026-11-29T12:05:00Z, where that is not known
    #[arg(long, value_name = "TIME", requires = "apply", conflicts_with = "out")]
    last_came: Option<jiff::Timestamp>,
    /// Take out those whose time is not known: write them to FILE, one JSON object per line, and delete them
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only those of the inverter of this name
    #[arg(long, value_name = "NAME")]
    inverter: Option<String>,
    #[command(flatten)]
    history: HistoryArgs,
}

/// Repairs until done or stopped.
pub async fn run(
    args: HistoryCommandArgs,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let Action::Repair(args) = args.action;
    in_background(shutdown, move |stop| repair(&args, stop)).await
}

fn repair(args: &RepairArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let file = args.history.file()?;
    let zone = History::open(&file)?.zone().clone();
    let mut repair = Repair::open(&file)?;
    let mut found = repair.find()?;
    if let Some(name) = &args.inverter {
        found.retain(|misplaced| *misplaced.inverter == **name);
    }
    let mut out = io::stdout().lock();
    if found.is_empty() {
        writeln!(
            out,
            "{}: no readings are set apart; there is nothing to repair",
            file.display()
        )?;
        return Ok(());
    }
    let given = args.last_came.map(|came| UnixMillis(came.as_millisecond()));
    let unknown = found.iter().filter(|misplaced| misplaced.came.is_none());
    if given.is_some() && unknown.count() > 1 {
        let message = "several runs of readings have no known time; name one inverter with --inverter, or take them out with --out FILE";
        return Err(Failure::Usage(message.to_owned()));
    }
    let date = |moment| local(moment, &zone).strftime("%Y-%m-%d %H:%M:%S");
    for misplaced in found {
        let Misplaced {
            inverter,
            readings,
            first,
            last,
            came,
        } = &misplaced;
        writeln!(
            out,
            "{readings} readings of {inverter}, {} to {} by a clock that was wrong",
            date(*first),
            date(*last)
        )?;
        let begin = |came: UnixMillis| UnixMillis(came.0 - (last.0 - first.0));
        match came.or(given) {
            Some(came) if args.apply => {
                let progress = Progress::new("moving", *readings);
                let mut done = 0;
                repair.put_right(&misplaced, came, &mut |moved| {
                    done += moved as u64;
                    progress.advance_to(done);
                })?;
                drop(progress);
                writeln!(out, "  moved to {} to {}", date(begin(came)), date(came))?;
            }
            Some(came) => writeln!(
                out,
                "  belong to {} to {}; --apply moves them there",
                date(begin(came)),
                date(came)
            )?,
            None if let Some(to) = &args.out => {
                take_out(&mut repair, &misplaced, to)?;
                writeln!(out, "  taken out of the history, to {}", to.display())?;
            }
            None => writeln!(
                out,
                "  nobody knows when they came, since the program was started anew before the clock was right;\n  \
                 --apply --last-came TIME moves them, --out FILE takes them out"
            )?,
        }
        if stop.load(Ordering::Relaxed) {
            let message = "stopped; what is done stays, and the same command does the rest";
            return Err(Failure::Runtime(message.to_owned()));
        }
    }
    out.flush()?;
    Ok(())
}

/// Writes readings to a file, and deletes them.
fn take_out(repair: &mut Repair, misplaced: &Misplaced, to: &Path) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::Runtime(format!("cannot write {}: {error}", to.display()));
    // Behind what is there: what is deleted stands nowhere else.
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(to)
        .map_err(failed)?;
    repair.take_out(misplaced, &mut |readings: &[Reading]| {
        let mut lines = Vec::new();
        for reading in readings {
            serde_json::to_writer(&mut lines, reading)?;
            lines.push(b'\n');
        }
        file.write_all(&lines)
            .and_then(|()| file.sync_data())
            .map_err(failed)
    })
}
