//! Why the spool's file cannot be used, and what to do about it.

use std::path::Path;

use kstar_common::sqlite_file::Unusable;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_ERROR;

use super::file::OWNER;

/// Whether what the file holds is nothing that can be used.
pub(super) fn is_damage(failure: &Unusable) -> bool {
    match failure {
        Unusable::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
            matches!(
                error.code,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
            ) || error.extended_code == SQLITE_ERROR
        }
        // A table, a column or a row that is missing, or something else in it than should be.
        Unusable::Sqlite(_) | Unusable::Foreign(_) => true,
        Unusable::Newer(_) => false,
    }
}

/// What happened to which file, and what to do about it.
pub(super) fn explain(failure: &Unusable, path: &Path) -> String {
    let file = path.display();
    let error = match failure {
        Unusable::Foreign(_) => return format!("{file} is no spool; move it away"),
        Unusable::Newer(version) => {
            return format!(
                "{file} was written by a later version of this program (schema {version}, this one knows {}) \
                 and may hold readings; install that version again, or move the file away",
                OWNER.version
            );
        }
        Unusable::Sqlite(error) => error,
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => format!("no room for {file}; make room on its disk"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("{file} is locked by another program; end that program")
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            format!("cannot write {file}: {error}; let this user write to it and to its folder")
        }
        _ => format!("cannot read or write {file}: {error}; check its disk"),
    }
}
