//! The command line: one file per command, and what they share.

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
#[cfg(feature = "history")]
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Parser, Subcommand};
#[cfg(any(feature = "http", feature = "watch"))]
use kstar_common::setting::Secret;
use kstar_source::exchange::Patience;
use kstar_source::source::Source;

use crate::config::{
    Blame, Config, ConfigError, ConfigFile, Host, InverterSection, ListenAddress, SYSTEM_PLACE,
    usual_places,
};
use crate::run::supervisor::Reloads;
use kstar_common::wrapping::visible;

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
mod findings;
#[cfg(feature = "http")]
pub mod health;
#[cfg(feature = "history")]
pub mod history;
#[cfg(feature = "history")]
pub mod import;
pub mod init;
pub mod kstar_sharp;
pub mod logging;
pub mod man;
pub mod meter;
#[cfg(feature = "history")]
pub mod output;
#[cfg(feature = "history")]
pub mod plot;
#[cfg(feature = "history")]
pub mod progress;
pub mod read;
#[cfg(any(feature = "http", feature = "watch"))]
pub mod remote;
#[cfg(feature = "history")]
pub mod report;
pub mod run;
mod serve;
pub mod signals;
#[cfg(feature = "demo")]
pub mod simulate;
#[cfg(feature = "history")]
pub mod stored;
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
    /// Poll an inverter once and show what it says
    Read(read::ReadArgs),
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
        let mut out = io::stdout().lock();
        match self.command {
            Command::Run(args) => {
                // The sink for standard output has a thread of its own, which needs the lock.
                drop(out);
                let summary = move |message: &str| logging::say(self.log_format, "INFO", message);
                run::run(args, summary, shutdown, reloads).await
            }
            #[cfg(feature = "watch")]
            Command::Watch(args) => {
                // The page is drawn by a thread of its own, which needs the lock.
                drop(out);
                watch::run(args, shutdown).await
            }
            Command::Read(args) => read::run(args, &mut out).await,
            Command::Discover(args) => discover::run(args, &mut out).await,
            Command::Check(args) => check::run(args, &mut out).await,
            Command::Init(args) => init::run(args, &mut out, shutdown).await,
            #[cfg(feature = "http")]
            Command::Health(args) => health::run(args, &mut out).await,
            Command::Explain(args) => explain::run(&args, &mut out),
            Command::Meter(args) => meter::run(&args, &mut out),
            Command::Fields(args) => fields::run(args, &mut out),
            Command::Completions(args) => completions::run(args, &mut out),
            Command::Man(args) => man::run(&args, &mut out),
            #[cfg(feature = "history")]
            Command::Report(args) => report::run(&args, &mut out),
            #[cfg(feature = "history")]
            Command::Plot(args) => plot::run(&args, &mut out),
            #[cfg(feature = "history")]
            Command::Export(args) => {
                // It writes on a thread of its own, which needs the lock.
                drop(out);
                export::run(args, shutdown).await
            }
            #[cfg(feature = "history")]
            Command::Backfill(args) => backfill::run(args, &mut out, shutdown).await,
            #[cfg(feature = "history")]
            Command::Backup(args) => {
                drop(out);
                backup::run(args, shutdown).await
            }
            #[cfg(feature = "history")]
            Command::Import(args) => {
                drop(out);
                import::run(args, shutdown).await
            }
            #[cfg(feature = "history")]
            Command::History(args) => {
                drop(out);
                history::run(args, shutdown).await
            }
            #[cfg(feature = "demo")]
            Command::Simulate(args) => simulate::run(args, &mut out, shutdown)
                .await
                .map_err(Failure::from),
        }
    }
}

/// Does something that blocks for long on a thread of its own; `stop` is set when `shutdown` is ready, and the work is
/// then to end soon and in order.
#[cfg(feature = "history")]
async fn in_background(
    shutdown: impl Future<Output = ()>,
    work: impl FnOnce(&AtomicBool) -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut work = tokio::task::spawn_blocking(move || work(&stopped));
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = shutdown => {
            stop.store(true, Ordering::Relaxed);
            work.await
        }
    };
    ended.unwrap_or_else(|error| Err(Failure::Runtime(format!("the work has failed: {error}"))))
}

/// Why a command has failed, by what its exit code says.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was used or configured wrongly: code 2.
    #[error("{0}")]
    Usage(String),
    /// Something went wrong while it ran: code 1.
    #[error("{0}")]
    Runtime(String),
    /// It went wrong, and the log says what: code 1.
    #[error("see the log")]
    Logged,
    /// Something is wrong, and the output says what: code 1.
    #[error("see the output")]
    Shown,
    /// Whoever read the output has heard enough: code 0.
    #[error("nobody reads the output")]
    OutputClosed,
}

impl Failure {
    /// Says it on standard error, in the form of the log where that is for machines, and gives the exit code.
    pub fn report(self, format: logging::Format) -> ExitCode {
        if let Self::Usage(message) | Self::Runtime(message) = &self {
            logging::say(format, "ERROR", &visible(message));
        }
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Runtime(_) | Self::Logged | Self::Shown => ExitCode::FAILURE,
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error.blame {
            Blame::Text => Self::Usage(error.to_string()),
            Blame::Named => Self::Runtime(error.to_string()),
        }
    }
}

#[cfg(feature = "demo")]
impl From<simulate::SimulateError> for Failure {
    fn from(error: simulate::SimulateError) -> Self {
        match error {
            simulate::SimulateError::Output(error) => error.into(),
            error => Self::Runtime(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Runtime(format!("cannot write to standard output: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}

/// Where the configuration comes from; the same for every command that reads it.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The file that is named.
    #[arg(
        long,
        value_name = "FILE",
        help = "The configuration [env: KSTAR_CONFIG] [default: ./kstar.toml, ~/.config/kstar/config.toml, /etc/kstar/config.toml]"
    )]
    pub config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The file that is named, or the first that is found.
    fn find(&self) -> Option<PathBuf> {
        let named = self
            .config
            .clone()
            .or_else(|| environment("KSTAR_CONFIG").map(PathBuf::from));
        named.or_else(|| usual_places().into_iter().find(|place| is_there(place)))
    }

    /// The configuration that is named, or the first that is found.
    fn load(&self) -> Result<Option<(ConfigFile, Config)>, Failure> {
        let Some(path) = self.find() else {
            return Ok(None);
        };
        let source = ConfigFile::read(&path)?;
        let config = Config::parse(&source)?;
        Ok(Some((source, config)))
    }
}

/// Whether there is a configuration. The service's may be in a folder that is not for everybody: then there is one, and
/// that it cannot be read is to be said rather than to go on as if there were none.
fn is_there(place: &Path) -> bool {
    place
        .try_exists()
        .unwrap_or_else(|_| place == Path::new(SYSTEM_PLACE))
}

/// What a host on the command line is for.
const HOST_HELP: &str =
    "The inverter's name or address, in place of the configuration's [env: KSTAR_HOST]";

/// What stands in an environment variable; one that is empty counts as none, as containers often have it.
///
/// Read here and not by clap, for which a variable is as good as an argument: it would then be in conflict with
/// arguments that rule it out.
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The host that the environment names.
fn host_of_environment() -> Result<Option<Host>, Failure> {
    environment("KSTAR_HOST")
        .map(|value| value.to_string_lossy().parse())
        .transpose()
        .map_err(|error: String| Failure::Usage(format!("KSTAR_HOST: {error}")))
}

/// The address that the environment names for HTTP.
fn http_of_environment() -> Result<Option<ListenAddress>, Failure> {
    environment("KSTAR_HTTP")
        .map(|value| value.to_string_lossy().parse())
        .transpose()
        .map_err(|error: String| Failure::Usage(format!("KSTAR_HTTP: {error}")))
}

/// The variable that may hold the token of HTTP.
#[cfg(any(feature = "http", feature = "watch"))]
const HTTP_TOKEN: &str = "KSTAR_HTTP_TOKEN";

/// The token of HTTP that the environment holds.
#[cfg(any(feature = "http", feature = "watch"))]
fn http_token_of_environment() -> Option<Secret> {
    environment(HTTP_TOKEN).map(|_| Secret::Env(HTTP_TOKEN.to_owned()))
}

/// Which inverter a command asks, for commands that ask just one.
#[derive(Args, Clone, Debug)]
pub struct InverterArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[arg(long, value_name = "HOST[:PORT]", help = HOST_HELP)]
    host: Option<Host>,
    /// The inverter's name in the configuration, if there are several
    #[arg(long, value_name = "NAME", conflicts_with = "host")]
    inverter: Option<String>,
}

/// An inverter that a command asks.
struct Opened {
    name: Arc<str>,
    source: Box<dyn Source>,
    patience: Patience,
}

impl InverterArgs {
    /// What asks it.
    fn open(&self) -> Result<Opened, Failure> {
        let config = self
            .config
            .load()?
            .map(|(_, config)| config)
            .unwrap_or_default();
        let inverters = config.inverters();
        let names = || {
            inverters
                .iter()
                .map(|inverter| inverter.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let host = match (&self.host, &self.inverter) {
            (None, None) => host_of_environment()?,
            (host, _) => host.clone(),
        };
        let chosen = match (host, &self.inverter) {
            (Some(host), _) => InverterSection {
                host: Some(host),
                ..match &inverters[..] {
                    [only] => only.clone(),
                    _ => InverterSection::default(),
                }
            },
            (None, Some(name)) => inverters
                .iter()
                .find(|inverter| inverter.name.as_str() == name)
                .cloned()
                .ok_or_else(|| {
                    Failure::Usage(format!(
                        "no inverter is named `{name}`; there are: {}",
                        names()
                    ))
                })?,
            (None, None) => match &inverters[..] {
                [only] => only.clone(),
                _ => {
                    return Err(Failure::Usage(format!(
                        "there are several inverters; choose one with --inverter: {}",
                        names()
                    )));
                }
            },
        };
        let context = chosen.context(&config.collector);
        let counts = Arc::new(chosen.source.counts());
        Ok(Opened {
            name: chosen.name.as_str().into(),
            source: chosen.source.open(&context, counts),
            patience: context.patience,
        })
    }
}

/// Writes rows of cells as columns, with two spaces between.
fn write_columns<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let line: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}
