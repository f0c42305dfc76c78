//! Opening: from a section of the configuration to a sink that takes readings, again and again for as long as that fails.
//! It happens on a thread that may block, and never twice at a time, however long a disk takes.

use std::sync::Arc;

use kstar_common::hold::{Hold, Holds};
use tokio::task::JoinHandle;

use crate::sink::{Legacy, Sink, Unavailable};
use crate::spool::Spool;

/// Makes a sink, on a thread that may block; called again after a failure.
pub type Opener = Arc<dyn Fn() -> Result<Box<dyn Sink>, Unavailable> + Send + Sync>;

/// A sink on its way to be open.
pub(super) struct Opening {
    opener: Opener,
    /// Begun, and not ended when it was last waited for.
    job: Option<JoinHandle<Result<Box<dyn Sink>, Unavailable>>>,
    /// Not open yet.
    pub(super) spool: Option<Spool>,
    holds: Holds,
    hold: Option<Hold>,
    /// What the sink before has left, until this one is open.
    pub(super) legacy: Option<Legacy>,
}

impl Opening {
    pub(super) fn new(
        opener: Opener,
        spool: Option<Spool>,
        holds: Holds,
        legacy: Option<Legacy>,
    ) -> Self {
        Self {
            opener,
            job: None,
            spool,
            holds,
            hold: None,
            legacy,
        }
    }

    /// Waits until the files are free. Safe to drop at any time.
    pub(super) async fn hold(&mut self) -> Hold {
        let hold = match self.hold.take() {
            Some(hold) => hold,
            None => self.holds.take().await,
        };
        self.hold.insert(hold).clone()
    }

    /// Opens the sink, whose files are free. Dropped, it goes on, and is waited for the next time.
    pub(super) async fn open(&mut self, hold: Hold) -> Result<Box<dyn Sink>, Unavailable> {
        let job = self.job.get_or_insert_with(|| {
            let opener = Arc::clone(&self.opener);
            tokio::task::spawn_blocking(move || {
                let sink = opener()?;
                sink.hold(hold);
                Ok(sink)
            })
        });
        let opened = job.await;
        self.job = None;
        match opened.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(opened) => opened,
            // As if it had panicked here, where that is noted.
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(cancelled)) => Err(Unavailable(cancelled.to_string())),
        }
    }

    /// What is said while it takes long.
    pub(super) fn is_slow(&self) -> &'static str {
        if self.hold.is_none() {
            "the one before it still writes; if that stays so, look for a failing disk and restart the program"
        } else {
            "opening it takes long; a history of many years may be brought up to date, or the disk does not answer"
        }
    }
}
