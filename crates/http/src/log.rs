//! The latest lines of the log, for the page in a browser: some of them, in memory, of warnings and what has changed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use kstar_common::wrapping::without_colours;
use kstar_model::time::UnixMillis;

/// How many lines are kept: a page full, and some days of a collector that is well.
const KEPT: usize = 100;

/// How many characters of a line are kept.
const LONGEST: usize = 400;

static LINES: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());

/// A line of the log.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) time: UnixMillis,
    pub(super) level: &'static str,
    pub(super) text: String,
}

fn lock() -> MutexGuard<'static, VecDeque<Line>> {
    // Nothing panics while it holds the lock.
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a line of this level as it is written to the log.
pub fn keep(level: &'static str, written: &str) {
    let line = Line {
        time: SystemTime::now().into(),
        level,
        text: text(level, written),
    };
    let mut lines = lock();
    if lines.len() == KEPT {
        lines.pop_front();
    }
    lines.push_back(line);
}

/// The lines, newest first.
pub(super) fn newest() -> Vec<Line> {
    lock().iter().rev().cloned().collect()
}

/// What a line says, without its time and level where it is no JSON.
fn text(level: &str, written: &str) -> String {
    let plain = without_colours(written);
    let plain = plain.trim();
    let said = match plain.split_once(level) {
        Some((time, said)) if !plain.starts_with('{') && !time.trim().contains(' ') => said.trim(),
        _ => plain,
    };
    said.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_it_says() {
        for (written, said) in [
            (
                "2026-11-28T20:14:07.123456Z  WARN the inverter is silent inverter=\"roof\"\n",
                "the inverter is silent inverter=\"roof\"",
            ),
            (
                "\x1b[2m2026-11-28T20:14:07.123456Z\x1b[0m \x1b[33m WARN\x1b[0m the inverter is silent",
                "the inverter is silent",
            ),
            (" WARN the inverter is silent", "the inverter is silent"),
            (
                "{\"level\":\"WARN\",\"message\":\"silent\"}\n",
                "{\"level\":\"WARN\",\"message\":\"silent\"}",
            ),
            (
                "something else with WARN in it",
                "something else with WARN in it",
            ),
        ] {
            assert_eq!(text("WARN", written), said);
        }
        assert_eq!(text("WARN", &"ä".repeat(1000)).chars().count(), LONGEST);
    }

    #[test]
    fn only_the_latest_lines_are_kept() {
        for number in 0..KEPT + 10 {
            keep("INFO", &format!(" INFO line {number}"));
        }
        let lines = newest();
        assert_eq!(lines.len(), KEPT);
        assert_eq!(lines[0].text, format!("line {}", KEPT + 9));
    }
}
