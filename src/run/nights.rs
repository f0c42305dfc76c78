//! When each inverter that sleeps at night does so, as its history shows it: looked at while everything runs.
//!
//! In a build that asks no history nobody knows it, and an inverter sleeps where it fell silent without sun.

#[cfg(feature = "history")]
use std::path::{Path, PathBuf};
#[cfg(feature = "history")]
use std::sync::Arc;
#[cfg(feature = "history")]
use std::time::{Duration, SystemTime};

#[cfg(feature = "history")]
use kstar_engine::board::Board;
use kstar_engine::collector::Collector;
#[cfg(feature = "history")]
use kstar_engine::night::{LOOKS_BACK, Night};
#[cfg(feature = "history")]
use kstar_history::{History, HistoryError, Level};
#[cfg(feature = "history")]
use kstar_model::time::{UnixMillis, millis};
#[cfg(feature = "history")]
use tokio::task::JoinSet;

use super::plans::Plans;

/// Dusk and dawn move by minutes in a day.
#[cfg(feature = "history")]
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// A history that cannot be read at the start may be brought up to date just then.
#[cfg(feature = "history")]
const LOOK_AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Nights {
    /// What looks, as long as this lives.
    #[cfg(feature = "history")]
    looking: JoinSet<()>,
}

#[cfg(feature = "history")]
impl Nights {
    /// Looks at the history of these plans from now on, in place of the one before.
    pub(super) fn follow(&mut self, plans: &Plans, collector: &Collector) {
        self.looking = JoinSet::new();
        if let Some(file) = plans.sinks.history_file(&plans.context) {
            self.looking.spawn(look(collector.board().clone(), file));
        }
    }
}

#[cfg(not(feature = "history"))]
impl Nights {
    /// Nothing to look at.
    #[expect(clippy::unused_self, reason = "the same form as where it is built")]
    pub(super) fn follow(&mut self, _: &Plans, _: &Collector) {}
}

#[cfg(feature = "history")]
async fn look(board: Arc<Board>, file: PathBuf) {
    loop {
        let mut pause = LOOK_EVERY;
        let sleepers = board.inverters().into_iter();
        for entry in sleepers.filter(|entry| entry.sleeps_at_night) {
            let (file, name) = (file.clone(), entry.name.clone());
            match tokio::task::spawn_blocking(move || night(&file, &name)).await {
                Ok(Ok(night)) => entry.sleeps_in(night),
                Ok(Err(error)) => {
                    tracing::debug!(inverter = &*entry.name, %error, "its history shows no nights");
                    pause = LOOK_AGAIN;
                }
                Err(error) => {
                    tracing::error!(%error, "looking for nights has failed; please report this");
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// When this inverter sleeps; blocks.
#[cfg(feature = "history")]
fn night(file: &Path, inverter: &str) -> Result<Option<Night>, HistoryError> {
    let now = UnixMillis::from(SystemTime::now());
    let begin = UnixMillis(now.0.saturating_sub(millis(LOOKS_BACK)));
    let mut answered = Vec::new();
    let history = History::open(file)?;
    history.buckets(
        inverter,
        Level::FiveMinutes,
        begin..now,
        &[],
        &mut |bucket| {
            answered.push(bucket.begin);
            std::ops::ControlFlow::Continue(())
        },
    )?;
    Ok(Night::of(answered))
}
