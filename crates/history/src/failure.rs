//! Why the file cannot be used, and what to do about it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kstar_common::sqlite_file::Unusable;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

use crate::schema;

/// Why the file cannot be used.
#[derive(Debug)]
pub(crate) enum Failure {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// It is not ours, or a later version's; in words, with the way out.
    Unfit(String),
    /// Another file stands at its place, or none.
    Replaced,
    /// Another collector writes readings of the inverter of this name.
    Rival(Arc<str>),
}

impl From<Unusable> for Failure {
    fn from(reason: Unusable) -> Self {
        let known = schema::OWNER;
        match reason {
            Unusable::Sqlite(error) => Self::Sqlite(error),
            Unusable::Foreign(owner) => Self::Unfit(format!(
                "is another program's database (application id {owner:#x}, not {:#x}); set another `path`",
                known.application_id
            )),
            Unusable::Newer(version) => Self::Unfit(format!(
                "was written by a later version of this program (schema {version}, this one knows {}); \
                 install that version again, or set another `path`",
                known.version
            )),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failure {
    pub(crate) fn read_only() -> Self {
        Self::Unfit("is read-only; let this user write to it and to its folder".to_owned())
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            Self::Unfit(_) | Self::Replaced | Self::Rival(_) => None,
        }
    }

    /// Whether it may pass without anybody changing the configuration.
    pub(crate) fn is_outage(&self) -> bool {
        use ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure};
        matches!(
            self.code(),
            Some(DatabaseBusy | DatabaseLocked | DiskFull | SystemIoFailure)
        )
    }

    /// Whether the file is no longer what SQLite has written.
    pub(crate) fn is_damage(&self) -> bool {
        self.code() == Some(ErrorCode::DatabaseCorrupt)
    }

    /// Whether it is over once another program lets go of the file, or there is room again.
    pub(crate) fn passes(&self) -> bool {
        self.is_lock() || self.is_full() || matches!(self, Self::Rival(_))
    }

    pub(crate) fn is_lock(&self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
    }

    /// Whether there is no room, for the file or for the index of its write-ahead log.
    fn is_full(&self) -> bool {
        let Self::Sqlite(error) = self else {
            return false;
        };
        error.sqlite_error().is_some_and(|error| {
            error.code == ErrorCode::DiskFull || error.extended_code == SQLITE_IOERR_SHMSIZE
        })
    }

    /// What happened to which file, and what to do about it.
    pub(crate) fn explain(&self, path: &Path) -> String {
        let file = path.display();
        let error = match self {
            Self::Unfit(reason) => return format!("{file} {reason}"),
            Self::Replaced => {
                return format!(
                    "{file} is gone or was replaced; put it back, or restart to begin a new one"
                );
            }
            Self::Rival(inverter) => {
                return format!(
                    "another collector writes readings of {inverter} into {file}; stop one of the two, or give its inverter another name"
                );
            }
            Self::Sqlite(error) => error,
        };
        match error.sqlite_error_code() {
            _ if path.is_dir() => {
                format!("{file} is a folder; name a file in it, like {file}/history.db")
            }
            _ if self.is_lock() => {
                format!("{file} is locked by another program; end that program or wait for it")
            }
            _ if self.is_full() => format!("no room for {file}; make room on its disk"),
            Some(ErrorCode::ReadOnly) => format!(
                "{file} is read-only; let this user write to it and to its folder, where -wal and -shm stand beside it"
            ),
            Some(ErrorCode::CannotOpen) if !path.exists() => format!(
                "{file} is not there and cannot be made ({error}); put it back, or let this user write to its folder"
            ),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                format!(
                    "cannot open {file}: {error}; let this user read and write it and its folder"
                )
            }
            Some(ErrorCode::NotADatabase) => {
                format!("{file} is no SQLite database; move it away or set another `path`")
            }
            Some(ErrorCode::DatabaseCorrupt) => format!(
                "{file} is damaged: {error}; check its disk, and save what can be read with `sqlite3 {file} .recover`"
            ),
            Some(ErrorCode::SystemIoFailure) => {
                format!("cannot read or write {file}: {error}; check its disk")
            }
            _ => format!(
                "SQLite cannot use {file}: {error}; if it stays so, move the file away and restart"
            ),
        }
    }
}

/// Why a history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no such file.
    #[error(
        "there is no history at {}; `kstar run` with the section [sinks.sqlite] writes one", .0.display()
    )]
    Missing(PathBuf),
    /// The file is not in its present form, which the collector gives it when it opens it.
    #[error(
        "{} is new or of an earlier version, and no collector has written to it since; start `kstar run`", .0.display()
    )]
    Unopened(PathBuf),
    /// The history has no inverter of that name.
    #[error("the history {} knows no inverter `{name}`, only: {}", .path.display(), .known.join(", "))]
    UnknownInverter {
        /// The history.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
        /// The names that the history knows.
        known: Vec<String>,
    },
    /// The file cannot be read or written; the text says which, why, and what to do.
    #[error("{0}")]
    Unreadable(String),
}

/// That a history cannot be read or written, and why.
pub(crate) fn unreadable(path: &Path, failure: impl Into<Failure>) -> HistoryError {
    HistoryError::Unreadable(failure.into().explain(path))
}
