//! The file itself: its tables, and what is done with them, one transaction at a time.
//!
//! A row is a number that grows, the time, the inverter by reference and the values as a few bytes. What was committed
//! is with the operating system at once, so that a killed process loses none of it, and on the disk for good within a
//! minute. Only one process uses the file, which spares the index beside the write-ahead log.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::ffi::SQLITE_ERROR;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior,
    params,
};

use super::row;
use crate::catalogue::Quantity;
use crate::delivery::SpoolBounds;
use crate::reading::{Inverter, Reading, UnixMillis};

/// "kssp", so that `file` and this program can tell what it is.
const APPLICATION_ID: i32 = 0x6b73_7370;

/// Rises only when a version that knows the old form cannot read the new one.
const VERSION: i32 = 1;

const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS inverter (id INTEGER PRIMARY KEY, name TEXT NOT NULL, serial TEXT, model TEXT);
CREATE TABLE IF NOT EXISTS quantity (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS reading (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, inverter INTEGER NOT NULL, row BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS total (readings INTEGER NOT NULL);
INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM total);";

/// The page cache in KiB: readings come at one end and go at the other, so that a few pages are enough.
const CACHE_KIB: i32 = 64;

/// How many pages of 4 KiB the write-ahead log has before it goes into the file.
const LOG_PAGES: i32 = 256;

/// How often what was written is put on the disk for good while more is written: what a power cut may cost.
const SYNC: Duration = Duration::from_secs(60);

/// How many of the oldest readings go at once when there are too many bytes: some three pages of them.
const DROPPED_AT_ONCE: u64 = 64;

/// An open file.
pub(super) struct File {
    connection: Connection,
    numbers: HashMap<Quantity, u64>,
    quantities: HashMap<u64, Quantity>,
    inverters: HashMap<i64, Arc<Inverter>>,
    synced: Instant,
}

/// Why the file cannot be used.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// It is not a spool.
    Foreign,
    /// A later version has written it, with this schema.
    Newer(i32),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failure {
    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            Self::Foreign | Self::Newer(_) => None,
        }
    }

    /// Whether what the file holds is nothing that can be used.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                matches!(
                    error.code,
                    ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
                ) || error.extended_code == SQLITE_ERROR
            }
            // A table, a column or a row that is missing, or something else in it than should be.
            Self::Sqlite(_) | Self::Foreign => true,
            Self::Newer(_) => false,
        }
    }

    /// What happened to which file, and what to do about it.
    pub(super) fn explain(&self, path: &Path) -> String {
        let file = path.display();
        let error = match self {
            Self::Foreign => return format!("{file} is no spool; move it away"),
            Self::Newer(version) => {
                return format!(
                    "{file} was written by a later version of this program (schema {version}, this one knows {VERSION}) \
                     and may hold readings; install that version again, or move the file away"
                );
            }
            Self::Sqlite(error) => error,
        };
        match self.code() {
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
}

/// What was read.
pub(super) struct Read {
    pub(super) ids: RangeInclusive<i64>,
    pub(super) readings: Vec<Arc<Reading>>,
    /// The numbers of those that nobody can read.
    pub(super) unreadable: Vec<i64>,
}

/// What came of a push.
pub(super) struct Pushed {
    pub(super) ids: RangeInclusive<i64>,
    pub(super) waiting: u64,
    pub(super) dropped: u64,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::ZERO)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        check_owner(&connection)?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "journal_size_limit", LOG_PAGES * 4096)?;
        connection.query_row(
            &format!("PRAGMA wal_autocheckpoint = {LOG_PAGES}"),
            [],
            |_| Ok(()),
        )?;
        let (numbers, quantities) = number_quantities(&mut connection)?;
        Ok(Self {
            connection,
            numbers,
            quantities,
            inverters: HashMap::new(),
            synced: Instant::now(),
        })
    }

    /// How many readings wait.
    pub(super) fn total(&self) -> Result<u64, Failure> {
        Ok(total(&self.connection)?)
    }

    /// The size of the file.
    pub(super) fn bytes(&self) -> Result<u64, Failure> {
        Ok(number(&self.connection, "page_count")? * number(&self.connection, "page_size")?)
    }

    /// Puts everything into the one file and closes it.
    pub(super) fn close(self) -> Result<(), Failure> {
        Ok(self.connection.close().map_err(|(_, error)| error)?)
    }

    /// Removes what is done with; gives how many readings are left.
    pub(super) fn remove(&mut self, done: i64, ids: &RangeInclusive<i64>) -> Result<u64, Failure> {
        self.change(|transaction| {
            transaction
                .prepare_cached("DELETE FROM reading WHERE id <= ?1 OR id BETWEEN ?2 AND ?3")?
                .execute([done, *ids.start(), *ids.end()])
        })
    }

    /// Removes single readings; gives how many are left.
    pub(super) fn remove_each(&mut self, ids: &[i64]) -> Result<u64, Failure> {
        self.change(|transaction| {
            let mut remove = transaction.prepare_cached("DELETE FROM reading WHERE id = ?")?;
            ids.iter().map(|id| remove.execute([id])).sum()
        })
    }

    fn change(
        &mut self,
        remove: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<u64, Failure> {
        let transaction = immediate(&mut self.connection)?;
        let gone = remove(&transaction)? as u64;
        let left = total(&transaction)?.saturating_sub(gone);
        write_total(&transaction, left)?;
        transaction.commit()?;
        Ok(left)
    }

    /// Adds readings behind all others; then the oldest go until the bounds are kept.
    pub(super) fn push(
        &mut self,
        readings: &[Arc<Reading>],
        bounds: SpoolBounds,
        done: i64,
    ) -> Result<Pushed, Failure> {
        let mut dropped = 0;
        let Self {
            connection,
            numbers,
            inverters,
            ..
        } = self;
        let transaction = immediate(connection)?;
        let delivered = transaction.execute("DELETE FROM reading WHERE id <= ?", [done])? as u64;
        let mut waiting = total(&transaction)?.saturating_sub(delivered);
        let mut last = None;
        for reading in readings {
            let inverter = number_inverter(&transaction, inverters, &reading.inverter)?;
            let row = row::encode(&reading.values, |quantity| numbers.get(&quantity).copied());
            transaction
                .prepare_cached("INSERT INTO reading (time, inverter, row) VALUES (?, ?, ?)")?
                .execute(params![reading.time.0, inverter, row])?;
            last = Some(transaction.last_insert_rowid());
            waiting += 1;
        }
        loop {
            let surplus = match waiting.checked_sub(bounds.readings.get()) {
                None | Some(0) if used_bytes(&transaction)? <= bounds.bytes => break,
                None | Some(0) => DROPPED_AT_ONCE,
                Some(surplus) => surplus,
            };
            let gone = drop_oldest(&transaction, surplus)?;
            if gone == 0 {
                break;
            }
            waiting = waiting.saturating_sub(gone);
            dropped += gone;
        }
        write_total(&transaction, waiting)?;
        transaction.commit()?;
        if self.synced.elapsed() >= SYNC {
            self.synced = Instant::now();
            self.connection
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        let last = last.unwrap_or_default();
        let count = i64::try_from(readings.len()).unwrap_or(i64::MAX);
        Ok(Pushed {
            ids: last.saturating_sub(count).saturating_add(1)..=last,
            waiting,
            dropped,
        })
    }

    /// The oldest readings behind what is done with.
    pub(super) fn borrow(&mut self, limit: usize, done: i64) -> Result<Read, Failure> {
        let mut readings = Vec::new();
        let mut unreadable = Vec::new();
        let mut last = done;
        let mut statement = self.connection.prepare_cached(
            "SELECT id, time, inverter, row FROM reading WHERE id > ? ORDER BY id LIMIT ?",
        )?;
        let mut rows = statement.query(params![done, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            let time = UnixMillis(row.get(1)?);
            let inverter = inverter(&self.connection, &mut self.inverters, row.get(2)?)?;
            let values = row::decode(row.get_ref(3)?.as_blob().unwrap_or(&[0]), |number| {
                self.quantities.get(&number).copied()
            });
            match (inverter, values) {
                (Some(inverter), Some(values)) => readings.push(Arc::new(Reading {
                    time,
                    inverter,
                    values,
                    counted: None,
                })),
                _ => unreadable.push(last),
            }
        }
        let ids = done.saturating_add(1)..=last;
        Ok(Read {
            ids,
            readings,
            unreadable,
        })
    }
}

/// Refuses a file that is something else, or a later version's, before anything in it is changed.
fn check_owner(connection: &Connection) -> Result<(), Failure> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (owner, version) = (number("application_id")?, number("user_version")?);
    let is_empty: bool = connection.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)",
        [],
        |row| row.get(0),
    )?;
    if owner != APPLICATION_ID && !(owner == 0 && is_empty) {
        return Err(Failure::Foreign);
    }
    if version > VERSION {
        return Err(Failure::Newer(version));
    }
    Ok(())
}

type Numbers = (HashMap<Quantity, u64>, HashMap<u64, Quantity>);

/// Makes the tables and gives each quantity a number, where the file does not have them yet.
fn number_quantities(connection: &mut Connection) -> Result<Numbers, Failure> {
    let known: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'total')",
        [],
        |row| row.get(0),
    )?;
    let transaction = immediate(connection)?;
    if !known {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    let mut numbers = HashMap::new();
    for quantity in Quantity::ALL {
        let select = "SELECT id FROM quantity WHERE name = ?";
        let number = transaction
            .prepare_cached(select)?
            .query_row([quantity.name()], |row| row.get(0))
            .optional()?;
        let number = match number {
            Some(number) => number,
            None => transaction
                .prepare_cached("INSERT INTO quantity (name) VALUES (?) RETURNING id")?
                .query_row([quantity.name()], |row| row.get(0))?,
        };
        numbers.insert(*quantity, number);
    }
    transaction.commit()?;
    let quantities = numbers
        .iter()
        .map(|(quantity, number)| (*number, *quantity))
        .collect();
    Ok((numbers, quantities))
}

fn immediate(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// How many readings there are is written down: counting them would read the whole file at each start.
fn write_total(transaction: &Transaction<'_>, total: u64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE total SET readings = ?")?
        .execute([total])?;
    Ok(())
}

fn total(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT readings FROM total")?
        .query_row([], |row| row.get(0))
}

fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages =
        number(connection, "page_count")?.saturating_sub(number(connection, "freelist_count")?);
    Ok(pages * number(connection, "page_size")?)
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

fn drop_oldest(transaction: &Transaction<'_>, count: u64) -> rusqlite::Result<u64> {
    let gone = transaction
        .prepare_cached(
            "DELETE FROM reading WHERE id IN (SELECT id FROM reading ORDER BY id LIMIT ?)",
        )?
        .execute([count])?;
    Ok(gone as u64)
}

/// The number of an inverter with just this serial and model.
fn number_inverter(
    connection: &Connection,
    known: &mut HashMap<i64, Arc<Inverter>>,
    inverter: &Arc<Inverter>,
) -> rusqlite::Result<i64> {
    if let Some((number, _)) = known.iter().find(|(_, other)| *other == inverter) {
        return Ok(*number);
    }
    let identity = params![inverter.name, inverter.serial, inverter.model];
    let number = connection
        .prepare_cached("SELECT id FROM inverter WHERE name = ? AND serial IS ? AND model IS ?")?
        .query_row(identity, |row| row.get(0))
        .optional()?;
    let number = match number {
        Some(number) => number,
        None => connection
            .prepare_cached(
                "INSERT INTO inverter (name, serial, model) VALUES (?, ?, ?) RETURNING id",
            )?
            .query_row(identity, |row| row.get(0))?,
    };
    known.insert(number, Arc::clone(inverter));
    Ok(number)
}

/// The inverter of that number; all its readings share one.
fn inverter(
    connection: &Connection,
    known: &mut HashMap<i64, Arc<Inverter>>,
    number: i64,
) -> rusqlite::Result<Option<Arc<Inverter>>> {
    if let Some(inverter) = known.get(&number) {
        return Ok(Some(Arc::clone(inverter)));
    }
    let found = connection
        .prepare_cached("SELECT name, serial, model FROM inverter WHERE id = ?")?
        .query_row([number], |row| {
            Ok(Arc::new(Inverter {
                name: row.get(0)?,
                serial: row.get(1)?,
                model: row.get(2)?,
            }))
        })
        .optional()?;
    if let Some(inverter) = &found {
        known.insert(number, Arc::clone(inverter));
    }
    Ok(found)
}
