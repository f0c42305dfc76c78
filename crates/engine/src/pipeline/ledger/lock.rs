//! The lock of a state folder: what is kept there has one writer.

use std::path::{Path, PathBuf};

use kstar_common::lock_file::{Holder, LockFile};

/// The lock of a state folder; dropping it gives it back.
#[derive(Debug)]
pub struct StateLock {
    _file: LockFile,
}

/// Another process collects with this state folder.
#[derive(Debug, thiserror::Error)]
#[error(
    "process {} runs with the state folder {} already; stop that one, or give this one a `state_dir` of its own",
    pid.as_deref().unwrap_or("(unknown)"),
    folder.display()
)]
pub struct StateHeld {
    /// The state folder.
    pub folder: PathBuf,
    /// The other process.
    pub pid: Option<String>,
}

impl StateLock {
    /// Takes the lock of this folder, which is made if it is missing. Where there can be none, nothing is kept there
    /// either: that is logged, and `None`. Blocks.
    pub fn take(folder: &Path) -> Result<Option<Self>, StateHeld> {
        // Anyone who reads the message may be somewhere else.
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        if let Err(error) = std::fs::create_dir_all(&folder) {
            tracing::debug!(folder = %folder.display(), %error, "no state folder; going on without");
            return Ok(None);
        }
        match LockFile::take(folder.join("kstar.lock")) {
            Ok(file) => Ok(file.map(|file| Self { _file: file })),
            Err(Holder { pid }) => Err(StateHeld { folder, pid }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_is_made_and_has_one_holder() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("a/state");
        let first = StateLock::take(&state).expect("free").expect("a lock");
        let held = StateLock::take(&state).expect_err("held").to_string();
        assert!(
            held.contains(&format!("process {}", std::process::id())),
            "{held}"
        );
        assert!(held.contains("a/state already"), "{held}");
        assert!(held.contains("`state_dir` of its own"), "{held}");
        assert!(StateLock::take(&folder.path().join("b")).is_ok());
        drop(first);
        assert!(StateLock::take(&state).expect("free again").is_some());
        assert!(matches!(
            StateLock::take(Path::new("/dev/null/x")),
            Ok(None)
        ));
    }
}
