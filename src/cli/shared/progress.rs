//! How far a long piece of work has come: a bar for anyone who watches, nothing for a log or a pipe.
//!
//! The bar stands on standard error, so that the output stays clean, and without colours, so that nobody need turn them
//! off. It is gone when the work is done, has failed or was given up.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Work that is over sooner shows no bar, which would only flicker.
const SOON: Duration = Duration::from_millis(300);

/// How long the bar is not drawn anew, in milliseconds.
const PAUSE: u64 = 100;

/// How many characters the bar has.
const WIDTH: usize = 30;

/// The bar; it vanishes with this.
#[derive(Debug)]
pub struct Progress {
    what: String,
    total: u64,
    begun: Instant,
    is_watched: bool,
    /// When it was drawn last, in milliseconds after the begin; 0 if it never was.
    drawn: AtomicU64,
}

impl Progress {
    /// Begins a piece of work of `total` steps, whatever a step is.
    pub fn new(what: &str, total: u64) -> Self {
        Self {
            what: what.to_owned(),
            total,
            begun: Instant::now(),
            is_watched: io::stderr().is_terminal(),
            drawn: AtomicU64::new(0),
        }
    }

    /// So many steps are done, since the beginning.
    pub fn advance_to(&self, done: u64) {
        let elapsed = self.begun.elapsed();
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let next = self.drawn.load(Ordering::Relaxed).saturating_add(PAUSE);
        if self.is_watched && elapsed > SOON && now >= next {
            self.drawn.store(now, Ordering::Relaxed);
            draw(&bar(&self.what, done, self.total, elapsed));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.load(Ordering::Relaxed) > 0 {
            draw("");
        }
    }
}

/// Writes a line over the one before. A terminal that has gone shows nothing, and the work goes on.
fn draw(line: &str) {
    let mut terminal = io::stderr().lock();
    let _ = write!(terminal, "\r{line}\u{1b}[K");
    let _ = terminal.flush();
}

/// The line: what is done, a bar, how much of it is done, and how long the rest takes if it goes on like this.
fn bar(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let share = |of: u64| of.saturating_mul(done.min(total)) / total.max(1);
    let full = usize::try_from(share(WIDTH as u64)).unwrap_or(WIDTH);
    let filled = "=".repeat(full) + if full < WIDTH { ">" } else { "" };
    let rest = u128::from(total.saturating_sub(done));
    let seconds = elapsed.as_millis() * rest / u128::from(done.max(1)) / 1000;
    let left = match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    };
    format!("{what} [{filled:WIDTH$}] {} %, {left} left", share(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_tells_how_much_is_done_and_what_is_left() {
        let bar = |done, seconds| bar("copying", done, 100, Duration::from_secs(seconds));
        let line = |filled: &str, rest| format!("copying [{filled:30}] {rest} left");
        assert_eq!(bar(0, 1), line(">", "0 %, 100 s"));
        assert_eq!(bar(50, 4), line("===============>", "50 %, 4 s"));
        assert_eq!(bar(50, 240), line("===============>", "50 %, 4 min"));
        assert_eq!(bar(100, 4), line(&"=".repeat(30), "100 %, 0 s"));
        assert_eq!(bar(300, 4), bar(100, 4));
    }
}
