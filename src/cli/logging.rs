//! Logs: on standard error, as text for people or JSON for machines.

use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use clap::ValueEnum;
use kstar_sink::reading::UnixMillis;
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

/// What is logged: this and everything graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Nothing.
    Off,
    /// What went wrong for good.
    Error,
    /// What went wrong for now.
    Warn,
    /// What has changed.
    Info,
    /// Every datagram that was refused, and why.
    Debug,
    /// Everything.
    Trace,
}

/// How it is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Whether what goes to a terminal, or elsewhere, has colours.
pub(super) fn colours(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Starts logging. Called once.
pub fn start(level: Level, format: Format) {
    let colours = colours(io::stderr().is_terminal());
    let logs = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_max_level(LevelFilter::from(level))
        .with_target(false)
        // A log that cannot be written (a full disk, a closed pipe) must not end the collecting: reporting that on
        // standard error, which is the log, would panic.
        .log_internal_errors(false)
        .with_ansi(colours);
    match format {
        Format::Text => logs.init(),
        Format::Json => logs.json().flatten_event(true).init(),
    }
}

/// Where logs go: standard error, or the live page while that is up.
#[cfg(feature = "watch")]
fn writer() -> crate::watch::log::Writer {
    crate::watch::log::Writer
}

#[cfg(not(feature = "watch"))]
fn writer() -> io::Stderr {
    io::stderr()
}

/// Says something on standard error whatever is logged: in the form of the log where that is for machines.
pub fn say(format: Format, level: &str, message: &str) {
    let line = match format {
        Format::Text if level == "ERROR" => format!("error: {message}"),
        Format::Text => message.to_owned(),
        Format::Json => {
            let timestamp = UnixMillis::from(SystemTime::now()).to_string();
            json!({ "timestamp": timestamp, "level": level, "message": message }).to_string()
        }
    };
    // Where standard error is closed too there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{line}");
}
