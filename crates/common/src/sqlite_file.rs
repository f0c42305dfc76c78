//! What every SQLite file of this program has: an owner and a version, a write-ahead log, and another name if it is damaged.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

/// Whose file it is, and in which form: what `application_id` and `user_version` say.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// What the file is for.
    pub application_id: i32,
    /// The newest form that is known.
    pub version: i32,
}

/// Why a file is not used.
#[derive(Debug)]
pub enum Unusable {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// It is another program's, with this application id.
    Foreign(i32),
    /// A later version has written it, with this schema.
    Newer(i32),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Owner {
    /// Rejects a file that is another program's, or a later version's, before anything in it is changed; gives the version
    /// that has written it. An empty file is anybody's.
    pub fn check(self, connection: &Connection) -> Result<i32, Unusable> {
        let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
        let (owner, version): (i32, i32) = (number("application_id")?, number("user_version")?);
        let is_empty: bool = connection.query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)",
            [],
            |row| row.get(0),
        )?;
        if owner != self.application_id && !(owner == 0 && is_empty) {
            return Err(Unusable::Foreign(owner));
        }
        if version > self.version {
            return Err(Unusable::Newer(version));
        }
        Ok(version)
    }
}

/// Has the file written through a log, which is on the disk for good when the log is put into the file; gives the kind of
/// log that SQLite made of that. The page cache has so many KiB, and of a log that was longer so many bytes stay.
pub fn write_ahead(
    connection: &Connection,
    cache_kib: i32,
    log_bytes: i32,
) -> rusqlite::Result<String> {
    let kind = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "journal_size_limit", log_bytes)?;
    Ok(kind)
}

/// A file beside this one, whose name only ends otherwise.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Gives a damaged file another name, for a person to look into, and its log with it: SQLite looks for the log under the
/// file's new name.
pub fn set_aside(path: &Path, when: &str) -> io::Result<PathBuf> {
    let aside = beside(path, &format!(".damaged-{when}"));
    for end in ["", "-wal", "-shm"] {
        match std::fs::rename(beside(path, end), beside(&aside, end)) {
            // The last two may not be there.
            Err(error) if !end.is_empty() && error.kind() == ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(aside)
}
