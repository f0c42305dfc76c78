//! The state folder: locked, and the energy counters in it opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kstar_engine::pipeline::ledger::file::LedgerFile;
use kstar_engine::pipeline::ledger::keeper::{Closing, Keeper};
use kstar_engine::pipeline::ledger::lock::StateLock;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Memory;

/// How long the state folder may take to be locked and read; a network drive that is gone never answers.
const OPENING: Duration = Duration::from_secs(30);

/// What is kept in the state folder while the program runs.
#[derive(Default)]
pub(super) struct State {
    pub(super) keeper: Keeper,
    pub(super) closing: Closing,
    _lock: Option<StateLock>,
}

impl State {
    /// Locks the folder and opens what is in it; nothing of that where it is not used.
    pub(super) async fn open(memory: Memory, folder: &Path) -> Result<Self, String> {
        if let Memory::Process(accounts) = memory {
            return Ok(Self {
                keeper: Keeper::in_memory(accounts),
                ..Self::default()
            });
        }
        let lock = in_folder(folder, StateLock::take).await?;
        let lock = lock.map_err(|held| held.to_string())?;
        let ledger = in_folder(folder, LedgerFile::open).await?;
        let started = Keeper::start(ledger.map_err(|error| error.to_string())?);
        let (keeper, closing) = started.map_err(|error| error.to_string())?;
        Ok(Self {
            keeper,
            closing,
            _lock: lock,
        })
    }
}

/// Does something in the folder on a thread that may block, and does not wait indefinitely.
async fn in_folder<T: Send + 'static>(
    folder: &Path,
    task: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, String> {
    let own: PathBuf = folder.to_owned();
    match timeout(OPENING, spawn_blocking(move || task(&own))).await {
        Ok(done) => done.map_err(|error| {
            format!("opening the state folder has failed: {error}; please report this")
        }),
        Err(_) => Err(format!(
            "the state folder {} has not answered for {} s; check the disk or the network drive that it is on",
            folder.display(),
            OPENING.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_does_not_answer_ends_the_start() {
        let (answer, answered) = std::sync::mpsc::channel::<()>();
        let opening = in_folder(Path::new("/gone"), move |_| answered.recv());
        let mut opening = std::pin::pin!(opening);
        tokio::select! {
            biased;
            _ = &mut opening => panic!("nothing answers"),
            () = std::future::ready(()) => {}
        }
        advance(OPENING).await;
        let said = opening.await.expect_err("nothing answers");
        assert!(said.contains("/gone has not answered for 30 s"), "{said}");
        drop(answer);
    }
}
