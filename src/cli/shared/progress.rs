//! How far a long piece of work has come: a bar for anyone who watches, nothing for a log or a pipe.
//!
//! The bar stands on standard error, so that the output stays clean, and without colours, so that nobody need turn them
//! off. It is gone when the work is done, has failed or was given up.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is over sooner shows no bar, which would only flicker.
const SOON: Duration = Duration::from_millis(300);

/// The bar; it vanishes with this.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins a piece of work of `total` steps, whatever a step is.
    pub fn new(what: &str, total: u64) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {percent} %, {eta} left");
        bar.set_style(
            style
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> "),
        );
        bar.set_message(what.to_owned());
        Self { bar }
    }

    /// So many steps are done, since the beginning.
    pub fn advance_to(&self, done: u64) {
        if self.bar.elapsed() > SOON {
            self.bar.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
