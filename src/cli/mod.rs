//! The command line: one file per command, and what they share.

use std::future::Future;
use std::io::{self};

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::run::Reloads;
use shared::failure::Failure;
use shared::{logging, signals};

#[cfg(feature = "history")]
pub mod backfill;
#[cfg(feature = "history")]
pub mod backup;
pub mod check;
pub mod completions;
mod demo;
pub mod discover;
pub mod explain;
#[cfg(feature = "history")]
pub mod export;
pub mod fields;
#[cfg(feature = "http")]
pub mod health;
#[cfg(feature = "history")]
pub mod history;
#[cfg(feature = "history")]
pub mod import;
pub mod init;
pub mod man;
pub mod meter;
#[cfg(feature = "history")]
pub mod plot;
pub mod read;
pub mod record;
pub mod rename;
#[cfg(feature = "history")]
pub mod report;
#[cfg(feature = "history")]
pub mod restore;
pub mod run;
pub mod shared;
#[cfg(feature = "demo")]
pub mod simulate;
#[cfg(feature = "watch")]
pub mod watch;

/// Collects readings from KSTAR hybrid inverters (and GoodWe ES/EM/BP) over the local network.
///
/// It only ever reads: nothing is written to an inverter.
#[derive(Debug, Parser)]
#[command(name = "kstar", version, max_term_width = 100)]
pub struct Cli {
    /// What is logged, on standard error [default: info for run, else warn]
    #[arg(
        long,
        global = true,
        help_heading = "Logging",
        value_name = "LEVEL",
        env = "KSTAR_LOG",
        hide_env_values = true
    )]
    log_level: Option<logging::Level>,
    /// How it is logged
    #[arg(
        long,
        global = true,
        help_heading = "Logging",
        value_name = "FORMAT",
        env = "KSTAR_LOG_FORMAT",
        hide_env_values = true
    )]
    #[arg(default_value_t, value_enum)]
    pub log_format: logging::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one of it, for as long as the program runs"
)]
enum Command {
    /// Collect until stopped: poll every inverter and pass the readings on
    Run(run::RunArgs),
    /// Poll an inverter once and show its values
    Read(read::ReadArgs),
    /// Write a file with everything that an inverter tells, for a bug report or a new model
    Record(record::RecordArgs),
    /// Show a live page in the terminal: power, energies, the last hours, faults
    #[cfg(feature = "watch")]
    Watch(watch::WatchArgs),
    /// Find inverters on the local network
    Discover(discover::DiscoverArgs),
    /// Check the configuration and show what would be done; --connect tries everything
    Check(check::CheckArgs),
    /// Write a first configuration: find inverters, ask a few questions
    Init(init::InitArgs),
    /// Ask a running collector whether all is well, as a container's health check does
    #[cfg(feature = "http")]
    Health(health::HealthArgs),
    /// Explain the bytes of a datagram
    Explain(explain::ExplainArgs),
    /// Show the energy counters, or let them go on from other readings
    Meter(meter::MeterArgs),
    /// Give an inverter another name; what is kept of it goes on. Stop the collector first
    Rename(rename::RenameArgs),
    /// Simulate inverters, to try things out
    #[cfg(feature = "demo")]
    Simulate(simulate::SimulateArgs),
    /// List every quantity that a reading may hold
    Fields(fields::FieldsArgs),
    /// Write what a shell completes after `kstar`
    Completions(completions::CompletionsArgs),
    /// Show the manual, or write all its pages into a folder
    Man(man::ManArgs),
    /// Tell what a day, a month, a year or all years come to
    #[cfg(feature = "history")]
    Report(report::ReportArgs),
    /// Draw a day's power, or the energies of a week, a month or a year
    #[cfg(feature = "history")]
    Plot(plot::PlotArgs),
    /// Write readings, or their means, to a file
    #[cfg(feature = "history")]
    Export(export::ExportArgs),
    /// Push readings of the history to InfluxDB
    #[cfg(feature = "history")]
    Backfill(backfill::BackfillArgs),
    /// Copy the history, also while a collector writes it
    #[cfg(feature = "history")]
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the history
    #[cfg(feature = "history")]
    Restore(restore::RestoreArgs),
    /// Take over the history of kstar.sharp
    #[cfg(feature = "history")]
    Import(import::ImportArgs),
    /// Put the history right after the clock was wrong
    #[cfg(feature = "history")]
    History(history::HistoryCommandArgs),
}

impl Cli {
    /// What is logged: as asked for, else more where nobody watches and less where somebody waits for an answer.
    pub fn log_level(&self) -> logging::Level {
        let usual = match &self.command {
            Command::Run(args) if args.silent() => logging::Level::Error,
            Command::Run(_) => logging::Level::Info,
            _ => logging::Level::Warn,
        };
        self.log_level.unwrap_or(usual)
    }

    /// What SIGHUP means: only `run` has something to reload.
    pub fn hang_up(&self) -> signals::HangUp {
        match &self.command {
            Command::Run(_) => signals::HangUp::of_this_process(),
            _ => signals::HangUp::Stops,
        }
    }

    /// Runs the command; those that run for long end when `shutdown` does.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()>,
        reloads: &Reloads,
    ) -> Result<(), Failure> {
        // Not locked: the sink for standard output, the page and an export have threads of their own.
        let mut out = io::stdout();
        match self.command {
            Command::Run(args) => {
                let summary = move |message: &str| logging::say(self.log_format, "INFO", message);
                run::run(args, summary, shutdown, reloads).await
            }
            #[cfg(feature = "watch")]
            Command::Watch(args) => watch::run(args, shutdown).await,
            Command::Read(args) => read::run(args, &mut out).await,
            Command::Record(args) => record::run(args, &mut io::stderr(), shutdown).await,
            Command::Discover(args) => discover::run(args, &mut out).await,
            Command::Check(args) => check::run(args, &mut out).await,
            Command::Init(args) => init::run(args, &mut out, shutdown).await,
            #[cfg(feature = "http")]
            Command::Health(args) => health::run(args, &mut out).await,
            Command::Explain(args) => explain::run(&args, &mut out),
            Command::Meter(args) => meter::run(&args, &mut out),
            Command::Rename(args) => rename::run(&args, &mut out),
            Command::Fields(args) => fields::run(args, &mut out),
            Command::Completions(args) => completions::run(args, &Self::command(), &mut out),
            Command::Man(args) => man::run(&args, Self::command(), &mut out),
            #[cfg(feature = "history")]
            Command::Report(args) => report::run(&args, &mut out),
            #[cfg(feature = "history")]
            Command::Plot(args) => plot::run(&args, &mut out),
            #[cfg(feature = "history")]
            Command::Export(args) => export::run(args, shutdown).await,
            #[cfg(feature = "history")]
            Command::Backfill(args) => backfill::run(args, &mut out, shutdown).await,
            #[cfg(feature = "history")]
            Command::Backup(args) => backup::run(args, shutdown).await,
            #[cfg(feature = "history")]
            Command::Restore(args) => restore::run(args, shutdown).await,
            #[cfg(feature = "history")]
            Command::Import(args) => import::run(args, shutdown).await,
            #[cfg(feature = "history")]
            Command::History(args) => history::run(args, shutdown).await,
            #[cfg(feature = "demo")]
            Command::Simulate(args) => simulate::run(args, &mut out, shutdown).await,
        }
    }
}
