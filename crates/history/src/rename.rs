//! An inverter gets another name. Its tables have a number, so that nothing else changes.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};

use crate::failure::{Failure, HistoryError, unreadable};
use crate::schema;

/// How long to wait for whoever else has the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renamed {
    Done,
    /// There are no readings under the old one, or there is no file.
    Unknown,
    /// There are readings under both.
    Taken,
}

/// Gives an inverter another name, unless there is one that has it.
pub fn rename(path: &Path, old: &str, new: &str) -> Result<Renamed, HistoryError> {
    if !path.exists() {
        return Ok(Renamed::Unknown);
    }
    try_rename(path, old, new).map_err(|failure| unreadable(path, failure))
}

fn try_rename(path: &Path, old: &str, new: &str) -> Result<Renamed, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    schema::OWNER.check(&connection)?;
    if !connection.table_exists(None, "inverter")? {
        return Ok(Renamed::Unknown);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let id_of = |name: &str| {
        let query = "SELECT id FROM inverter WHERE name = ?";
        let id = transaction.query_row(query, [name], |row| row.get::<_, i64>(0));
        id.optional()
    };
    let Some(id) = id_of(old)? else {
        return Ok(Renamed::Unknown);
    };
    if id_of(new)?.is_some() {
        return Ok(Renamed::Taken);
    }
    transaction.execute(
        "UPDATE inverter SET name = ? WHERE id = ?",
        rusqlite::params![new, id],
    )?;
    transaction.commit()?;
    Ok(Renamed::Done)
}
