//! What is logged while the page is up. Written across the page it would destroy it, so it stands on the page instead;
//! where standard error is no terminal, it goes there too, as always.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::tz::TimeZone;
use kstar_common::wrapping::without_colours;

/// How many lines are kept: several pages full.
const KEPT: usize = 200;

/// How many warnings are said again once the page is gone.
const REPEATED: usize = 10;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// Good to know.
    Note,
    /// Something went wrong for now.
    Warning,
    /// Something went wrong for good.
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, by the clock on the wall.
    pub time: String,
    /// How grave it is.
    pub gravity: Gravity,
    pub text: String,
}

#[derive(Debug)]
struct Log {
    /// Whether there is a page, or will be one.
    kept: bool,
    up: bool,
    lines: VecDeque<Line>,
    /// What would have been written, of the graver lines.
    unwritten: VecDeque<String>,
    version: u64,
    zone: TimeZone,
}

static LOG: Mutex<Log> = Mutex::new(Log {
    kept: false,
    up: false,
    lines: VecDeque::new(),
    unwritten: VecDeque::new(),
    version: 0,
    zone: TimeZone::UTC,
});

fn lock() -> MutexGuard<'static, Log> {
    // Nothing panics while it holds the lock.
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// There will be a page: what is said from now on will stand on it, with the time of its zone.
pub fn keep(zone: &TimeZone) {
    let mut log = lock();
    log.kept = true;
    log.zone = zone.clone();
}

/// The page is up: lines go to it only, unless standard error is elsewhere.
pub fn begin() {
    lock().up = true;
}

/// The page is gone: lines go to standard error again, first those that only the page has shown and that matter.
pub fn end() {
    let unwritten = {
        let mut log = lock();
        log.up = false;
        std::mem::take(&mut log.unwritten)
    };
    for line in unwritten {
        // Where standard error is closed there is nobody left to tell.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// The lines, oldest first, if there are new ones since that version.
pub fn news(since: u64) -> Option<(u64, Vec<Line>)> {
    let log = lock();
    (log.version != since).then(|| (log.version, log.lines.iter().cloned().collect()))
}

/// A thread has panicked: says so on the page, and again once that is gone. Whether that is where it belongs.
pub fn panicked(message: &str) -> bool {
    let mut log = lock();
    if !log.up {
        return false;
    }
    let text = message.replace('\n', " ");
    let hidden = io::stderr().is_terminal();
    if hidden {
        log.leave_unwritten(format!("{text}\n"));
    }
    let time = clock(jiff::Timestamp::now(), &log.zone);
    log.push(Line {
        time,
        gravity: Gravity::Error,
        text,
    });
    hidden
}

/// A moment by the clock on the wall.
fn clock(moment: jiff::Timestamp, zone: &TimeZone) -> String {
    let moment = moment.to_zoned(zone.clone());
    moment.strftime("%H:%M:%S").to_string()
}

impl Log {
    fn leave_unwritten(&mut self, line: String) {
        if self.unwritten.len() == REPEATED {
            self.unwritten.pop_front();
        }
        self.unwritten.push_back(line);
    }

    fn push(&mut self, line: Line) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        self.version = self.version.wrapping_add(1);
    }
}

/// Where the log is written: standard error, or the page while that is up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = lock();
        if log.kept {
            let hidden = log.up && io::stderr().is_terminal();
            let text = String::from_utf8_lossy(bytes);
            for line in text.lines() {
                let line = parse(line, &log.zone);
                if hidden && line.gravity != Gravity::Note {
                    log.leave_unwritten(text.clone().into_owned());
                }
                log.push(line);
            }
            if hidden {
                return Ok(bytes.len());
            }
        }
        drop(log);
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A written line in its parts: `2026-11-28T20:14:07.123456Z  WARN what happened`, or the same as JSON.
fn parse(line: &str, zone: &TimeZone) -> Line {
    let plain = without_colours(line);
    let (time, level, text) = json(&plain).unwrap_or_else(|| {
        let mut words = plain.trim_start().splitn(2, ' ');
        let time = words.next().unwrap_or_default().to_owned();
        let rest = words.next().unwrap_or_default().trim_start();
        let (level, text) = rest.split_once(' ').unwrap_or((rest, ""));
        (time, level.to_owned(), text.trim_start().to_owned())
    });
    let gravity = match level.as_str() {
        "ERROR" => Gravity::Error,
        "WARN" => Gravity::Warning,
        _ => Gravity::Note,
    };
    match time.parse::<jiff::Timestamp>() {
        Ok(moment) => Line {
            time: clock(moment, zone),
            gravity,
            text,
        },
        // No line of the log: somebody else wrote it.
        Err(_) => Line {
            time: String::new(),
            gravity: Gravity::Warning,
            text: plain,
        },
    }
}

/// Time, level and text of a line that is JSON.
fn json(line: &str) -> Option<(String, String, String)> {
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).ok()?;
    let mut take = |key| match fields.remove(key) {
        Some(serde_json::Value::String(text)) => text,
        _ => String::new(),
    };
    let (time, level, message) = (take("timestamp"), take("level"), take("message"));
    let others = fields.iter().map(|(key, value)| format!("{key}={value}"));
    let text: Vec<String> = [message].into_iter().chain(others).collect();
    Some((time, level, text.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_line_has_a_time_a_gravity_and_a_text() {
        let warning = Line {
            time: "20:14:07".to_owned(),
            gravity: Gravity::Warning,
            text: "the inverter is silent inverter=\"roof\"".to_owned(),
        };
        for written in [
            "2026-11-28T20:14:07.123456Z  WARN the inverter is silent inverter=\"roof\"",
            "\x1b[2m2026-11-28T20:14:07.123456Z\x1b[0m \x1b[33m WARN\x1b[0m the inverter is silent \x1b[3minverter\x1b[0m\x1b[2m=\x1b[0m\"roof\"",
            r#"{"timestamp":"2026-11-28T20:14:07.123456Z","level":"WARN","message":"the inverter is silent","inverter":"roof"}"#,
        ] {
            assert_eq!(parse(written, &TimeZone::UTC), warning, "{written}");
        }
        let strange = parse("something else", &TimeZone::UTC);
        assert_eq!(strange.text, "something else");
    }
}
