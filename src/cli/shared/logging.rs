//! Logs: on standard error, as text for people or JSON for machines.
//!
//! Where standard error is the journal of systemd, every line begins with its priority, which the journal takes off, and
//! lines of text have no time of their own: the journal has one for each.

use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use clap::ValueEnum;
use kstar_model::time::UnixMillis;
use serde_json::json;
use tracing::Metadata;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

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
    /// Every datagram that was rejected, and why.
    Debug,
    /// The same, and in a debug build also what libraries do.
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
pub fn colours(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Starts logging. Called once.
pub fn start(level: Level, format: Format) {
    let colours = colours(io::stderr().is_terminal());
    let logs = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(level))
        .with_target(false)
        // A log that cannot be written (a full disk, a closed pipe) must not end the collecting: reporting that on
        // standard error, which is the log, would panic.
        .log_internal_errors(false)
        .with_ansi(colours);
    match (format, is_journal()) {
        (Format::Text, false) => logs.with_writer(Kept(writer)).init(),
        (Format::Text, true) => logs.with_writer(Kept(Journal)).without_time().init(),
        (Format::Json, false) => logs
            .with_writer(Kept(writer))
            .json()
            .flatten_event(true)
            .init(),
        (Format::Json, true) => logs
            .with_writer(Kept(Journal))
            .json()
            .flatten_event(true)
            .init(),
    }
}

/// Where logs go: standard error, or the live page while that is up.
#[cfg(feature = "watch")]
fn writer() -> kstar_watch::log::Writer {
    kstar_watch::log::Writer
}

#[cfg(not(feature = "watch"))]
fn writer() -> io::Stderr {
    io::stderr()
}

/// Writes what this writes, and keeps the latest lines for the page in a browser.
struct Kept<Made>(Made);

/// Writes one entry.
struct Keeping<Writer> {
    level: tracing::Level,
    writer: Writer,
}

impl<'a, Made: MakeWriter<'a>> MakeWriter<'a> for Kept<Made> {
    type Writer = Keeping<Made::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Keeping {
            level: tracing::Level::INFO,
            writer: self.0.make_writer(),
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        Keeping {
            level: *metadata.level(),
            writer: self.0.make_writer_for(metadata),
        }
    }
}

impl<Writer: Write> Write for Keeping<Writer> {
    /// An entry comes as a whole.
    fn write_all(&mut self, entry: &[u8]) -> io::Result<()> {
        keep(self.level, entry);
        self.writer.write_all(entry)
    }

    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.writer.write(entry)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Keeps what has changed and what went wrong.
#[cfg(feature = "http")]
fn keep(level: tracing::Level, entry: &[u8]) {
    if level <= tracing::Level::INFO {
        kstar_http::log::keep(level.as_str(), &String::from_utf8_lossy(entry));
    }
}

/// There is no page.
#[cfg(not(feature = "http"))]
fn keep(_level: tracing::Level, _entry: &[u8]) {}

/// Whether standard error is the journal: systemd names its device and inode, so that a program knows whether that is
/// still so behind a redirection.
#[cfg(unix)]
fn is_journal() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    let named = std::env::var("JOURNAL_STREAM").ok().and_then(|stream| {
        let (device, inode) = stream.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    let Some(named) = named else { return false };
    io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|stderr| std::fs::File::from(stderr).metadata())
        .is_ok_and(|stderr| (stderr.dev(), stderr.ino()) == named)
}

#[cfg(not(unix))]
fn is_journal() -> bool {
    false
}

/// Writes to the journal.
struct Journal;

/// Writes one entry to the journal.
struct Entry(tracing::Level);

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Entry;

    fn make_writer(&'a self) -> Entry {
        Entry(tracing::Level::INFO)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Entry {
        Entry(*metadata.level())
    }
}

impl Write for Entry {
    /// An entry comes as a whole, whatever lines it has.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(entry);
        io::stderr().write_all(with_priority(self.0, &text).as_bytes())?;
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The same with the priority of its level before every line.
fn with_priority(level: tracing::Level, text: &str) -> String {
    let priority = match level {
        tracing::Level::ERROR => "<3>",
        tracing::Level::WARN => "<4>",
        tracing::Level::INFO => "<6>",
        tracing::Level::DEBUG | tracing::Level::TRACE => "<7>",
    };
    let lines = text.trim_start().lines();
    lines.flat_map(|line| [priority, line, "\n"]).collect()
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
    let line = match level.parse() {
        Ok(level) if is_journal() => with_priority(level, &line),
        _ => line + "\n",
    };
    // Where standard error is closed too there is nobody left to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}
