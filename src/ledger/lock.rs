//! One collector per state folder: what is kept there has one writer.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The lock of a state folder; it goes with the process.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Another process collects with this state folder.
#[derive(Debug, thiserror::Error)]
#[error(
    "process {pid} runs with the state folder {} already; stop that one, or use a `state_dir` of its own",
    folder.display()
)]
pub struct StateHeld {
    /// The state folder.
    pub folder: PathBuf,
    /// The other process.
    pub pid: String,
}

impl StateLock {
    /// Takes the lock of this folder, which is made if it is missing. Where there can be none, nothing is kept there
    /// either: that is logged, and `None`. Blocks.
    pub fn take(folder: &Path) -> Result<Option<Self>, StateHeld> {
        let path = folder.join("kstar.lock");
        let opened = std::fs::create_dir_all(folder).and_then(|()| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
        });
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "no lock of the state folder; going on without");
                return Ok(None);
            }
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // It is only for the message.
                let _ = file.read_to_string(&mut pid);
                return Err(StateHeld {
                    folder: folder.to_owned(),
                    pid: pid.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => {
                tracing::debug!(path = %path.display(), %error, "no locks on this file system; going on without");
                return Ok(None);
            }
        }
        let written = file
            .set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::debug!(path = %path.display(), %error, "cannot write the process id into the lock file");
        }
        Ok(Some(Self { _file: file }))
    }
}
