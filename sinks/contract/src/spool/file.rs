//! The file itself: its tables, and what is done with them, one transaction at a time.
//!
//! A row is a number that grows, the time, the inverter by reference, and the values and what was counted as a few bytes. What was committed
//! is with the operating system at once, so that a killed process loses none of it, and on the disk for good within a
//! minute. Only one process uses the file, which spares the index beside the write-ahead log.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::ffi::SQLITE_ERROR;
use rusqlite::types::ValueRef;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior,
    params,
};

use super::row;
use crate::carried::{Carried, taken_over};
use crate::delivery::SpoolBounds;
use kstar_model::catalogue::Quantity;
use kstar_model::counted::Counted;
use kstar_model::reading::{Inverter, Reading, Undated};
use kstar_model::time::UnixMillis;
use kstar_model::time::{ClockSet, Uptime, boot};

/// "kssp", so that `file` and this program can tell what it is.
const APPLICATION_ID: i32 = 0x6b73_7370;

/// Rises only when a version that knows the old form must not use the new one: the first would lose what was counted.
const VERSION: i32 = 2;

const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS inverter (id INTEGER PRIMARY KEY, name TEXT NOT NULL, serial TEXT, model TEXT);
CREATE TABLE IF NOT EXISTS quantity (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS reading (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, inverter INTEGER NOT NULL, row BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS total (readings INTEGER NOT NULL);
INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM total);";

/// From the first form to the second: what was counted; which readings were borrowed, each by itself or all up to a number;
/// and what waits for the clock to be set, with how many milliseconds which run of the machine had lasted.
const SECOND: &str = "\
ALTER TABLE reading ADD COLUMN counted BLOB;
ALTER TABLE reading ADD COLUMN offered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE total ADD COLUMN offered INTEGER NOT NULL DEFAULT 0;
CREATE TABLE undated (id INTEGER PRIMARY KEY, boot TEXT NOT NULL, uptime_ms INTEGER NOT NULL, inverter INTEGER NOT NULL, row BLOB NOT NULL, counted BLOB);";

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
    /// Everything up to this number was borrowed once.
    offered: i64,
    /// How many readings wait for the clock to be set.
    undated: u64,
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

/// What was let go of.
#[derive(Default)]
pub(super) struct Dropped {
    pub(super) readings: u64,
    /// What they have counted that no reading in the file could take over.
    pub(super) carried: Carried,
}

/// What came of a push.
pub(super) struct Pushed {
    pub(super) ids: RangeInclusive<i64>,
    pub(super) waiting: u64,
    pub(super) dropped: u64,
    /// What they have counted that no reading in the file could take over.
    pub(super) carried: Carried,
}

impl File {
    /// Opens the file; what is known to have been borrowed may be more than it says.
    pub(super) fn open(path: &Path, offered: i64) -> Result<Self, Failure> {
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
        let noted: i64 = connection.query_row("SELECT offered FROM total", [], |row| row.get(0))?;
        Ok(Self {
            undated: count_undated(&connection)?,
            connection,
            numbers,
            quantities,
            inverters: HashMap::new(),
            offered: offered.max(noted),
            synced: Instant::now(),
        })
    }

    /// Everything up to this number was borrowed once.
    pub(super) fn offered(&self) -> i64 {
        self.offered
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
        let transaction = immediate(&mut self.connection)?;
        let gone = transaction
            .prepare_cached("DELETE FROM reading WHERE id <= ?1 OR id BETWEEN ?2 AND ?3")?
            .execute([done, *ids.start(), *ids.end()])? as u64;
        let left = total(&transaction)?.saturating_sub(gone);
        write_total(&transaction, left)?;
        transaction.commit()?;
        Ok(left)
    }

    /// Removes single readings that nobody can read; gives how many are left, and what they have counted that no other one
    /// could take over.
    pub(super) fn remove_each(&mut self, ids: &[i64]) -> Result<(u64, Carried), Failure> {
        let transaction = immediate(&mut self.connection)?;
        let mut rows = Rows {
            transaction: &transaction,
            numbers: &self.numbers,
            quantities: &self.quantities,
            inverters: &mut self.inverters,
            offered: self.offered,
        };
        let carried = rows.drop(ids)?;
        let left = total(&transaction)?.saturating_sub(ids.len() as u64);
        write_total(&transaction, left)?;
        transaction.commit()?;
        Ok((left, carried))
    }

    /// Adds readings behind all others, the first `offered` of which were borrowed before; then the oldest go until the
    /// bounds are kept.
    pub(super) fn push(
        &mut self,
        readings: &[Arc<Reading>],
        offered: usize,
        bounds: SpoolBounds,
        done: i64,
    ) -> Result<Pushed, Failure> {
        let (mut dropped, mut carried) = (0, Carried::default());
        let transaction = immediate(&mut self.connection)?;
        let delivered = transaction.execute("DELETE FROM reading WHERE id <= ?", [done])? as u64;
        let mut waiting = total(&transaction)?.saturating_sub(delivered);
        let mut rows = Rows {
            transaction: &transaction,
            numbers: &self.numbers,
            quantities: &self.quantities,
            inverters: &mut self.inverters,
            offered: self.offered,
        };
        let first = rows.next_id()?;
        let mut next = first;
        for (index, reading) in readings.iter().enumerate() {
            rows.insert(next, reading, index < offered)?;
            next += 1;
            waiting += 1;
        }
        loop {
            let surplus = match waiting.checked_sub(bounds.readings.get()) {
                None | Some(0) if used_bytes(&transaction)? <= bounds.bytes => break,
                None | Some(0) => DROPPED_AT_ONCE,
                Some(surplus) => surplus,
            };
            let (gone, counted) = rows.drop_oldest(surplus)?;
            if gone == 0 {
                break;
            }
            waiting = waiting.saturating_sub(gone);
            dropped += gone;
            carried.append(counted);
        }
        write_total(&transaction, waiting)?;
        transaction.commit()?;
        if self.synced.elapsed() >= SYNC {
            self.synced = Instant::now();
            self.connection
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(Pushed {
            ids: first..=next - 1,
            waiting,
            dropped,
            carried,
        })
    }

    /// How many readings wait for the clock to be set.
    pub(super) fn undated(&self) -> u64 {
        self.undated
    }

    /// Adds readings that wait for the clock to be set; the oldest go until the bounds are kept.
    pub(super) fn push_undated(
        &mut self,
        readings: &[Arc<Undated>],
        bounds: SpoolBounds,
    ) -> Result<Dropped, Failure> {
        let transaction = immediate(&mut self.connection)?;
        let number = |quantity| self.numbers.get(&quantity).copied();
        for reading in readings {
            let inverter = number_inverter(&transaction, &mut self.inverters, &reading.inverter)?;
            let uptime = i64::try_from(reading.time.0.as_millis()).unwrap_or(i64::MAX);
            let counted = reading
                .counted
                .as_ref()
                .map(|counted| row::encode_counted(counted, number));
            transaction
                .prepare_cached(
                    "INSERT INTO undated (boot, uptime_ms, inverter, row, counted) VALUES (?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    boot(),
                    uptime,
                    inverter,
                    row::encode(&reading.values, number),
                    counted
                ])?;
        }
        let mut dropped = Dropped::default();
        loop {
            let left = count_undated(&transaction)?;
            let surplus = match left.checked_sub(bounds.readings.get()) {
                None | Some(0) if used_bytes(&transaction)? <= bounds.bytes => break,
                None | Some(0) => DROPPED_AT_ONCE,
                Some(surplus) => surplus,
            };
            let oldest: Vec<(i64, i64, i64, Option<Counted>)> = transaction
                .prepare_cached(
                    "DELETE FROM undated WHERE id IN (SELECT id FROM undated ORDER BY id LIMIT ?) \
                     RETURNING id, uptime_ms, inverter, counted",
                )?
                .query_map([surplus], |row| {
                    let counted = counted(row.get_ref(3)?, &self.quantities);
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, counted))
                })?
                .collect::<Result<_, _>>()?;
            if oldest.is_empty() {
                break;
            }
            dropped.readings += oldest.len() as u64;
            for (_, uptime, number, counted) in oldest {
                if let Some(counted) = counted
                    && let Some(inverter) = inverter(&transaction, &mut self.inverters, number)?
                {
                    dropped
                        .carried
                        .put(&inverter.name, UnixMillis(uptime), counted);
                }
            }
        }
        let left = count_undated(&transaction)?;
        transaction.commit()?;
        self.undated = left;
        Ok(dropped)
    }

    /// Dates what waits for the clock to be set, behind all others. What another run of the machine has left has no time and
    /// is dropped.
    pub(super) fn set_clock(&mut self, clock: ClockSet) -> Result<Dropped, Failure> {
        let transaction = immediate(&mut self.connection)?;
        let mut rows = Rows {
            transaction: &transaction,
            numbers: &self.numbers,
            quantities: &self.quantities,
            inverters: &mut self.inverters,
            offered: self.offered,
        };
        let mut dropped = Dropped::default();
        let mut next = rows.next_id()?;
        let mut waiting = total(&transaction)?;
        let mut select = transaction.prepare_cached(
            "SELECT boot, uptime_ms, inverter, row, counted FROM undated ORDER BY id",
        )?;
        let mut undated = select.query([])?;
        while let Some(row) = undated.next()? {
            let inverter = inverter(&transaction, rows.inverters, row.get(2)?)?;
            let counted = counted(row.get_ref(4)?, &self.quantities);
            let values = row::decode(row.get_ref(3)?.as_blob().unwrap_or(&[0]), |number| {
                self.quantities.get(&number).copied()
            });
            let is_ours = row.get_ref(0)?.as_str().is_ok_and(|of| of == boot());
            let uptime = Duration::from_millis(row.get(1)?);
            match (inverter, values) {
                (Some(inverter), Some(values)) if is_ours => {
                    let time = clock.time_of(Uptime(uptime));
                    let reading = Reading {
                        time,
                        inverter,
                        values,
                        counted,
                    };
                    rows.insert(next, &reading, false)?;
                    next += 1;
                    waiting += 1;
                }
                (inverter, _) => {
                    dropped.readings += 1;
                    if let (Some(inverter), Some(counted)) = (inverter, counted) {
                        dropped.carried.put(&inverter.name, clock.time, counted);
                    }
                }
            }
        }
        drop(undated);
        drop(select);
        transaction.execute("DELETE FROM undated", [])?;
        write_total(&transaction, waiting)?;
        transaction.commit()?;
        self.undated = 0;
        Ok(dropped)
    }

    /// The oldest readings behind what is done with.
    pub(super) fn borrow(&mut self, limit: usize, done: i64) -> Result<Read, Failure> {
        let mut readings = Vec::new();
        let mut unreadable = Vec::new();
        let mut last = done;
        let mut statement = self.connection.prepare_cached(
            "SELECT id, time, inverter, row, counted FROM reading WHERE id > ? ORDER BY id LIMIT ?",
        )?;
        let mut rows = statement.query(params![done, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            let time = UnixMillis(row.get(1)?);
            let inverter = inverter(&self.connection, &mut self.inverters, row.get(2)?)?;
            let values = row::decode(row.get_ref(3)?.as_blob().unwrap_or(&[0]), |number| {
                self.quantities.get(&number).copied()
            });
            let counted = counted(row.get_ref(4)?, &self.quantities);
            match (inverter, values) {
                (Some(inverter), Some(values)) => readings.push(Arc::new(Reading {
                    time,
                    inverter,
                    values,
                    counted,
                })),
                _ => unreadable.push(last),
            }
        }
        drop(rows);
        drop(statement);
        if last > self.offered {
            self.offered = last;
            // A full disk must not keep what waits from being delivered. Until the process ends it is known anyway.
            let _ = self
                .connection
                .execute("UPDATE total SET offered = ?", [last]);
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
    }
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version < VERSION {
        transaction.execute_batch(SECOND)?;
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

fn count_undated(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM undated")?
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

/// The rows, within a transaction.
struct Rows<'a> {
    transaction: &'a Transaction<'a>,
    numbers: &'a HashMap<Quantity, u64>,
    quantities: &'a HashMap<u64, Quantity>,
    inverters: &'a mut HashMap<i64, Arc<Inverter>>,
    offered: i64,
}

impl Rows<'_> {
    /// A number that no reading had that was borrowed: one that is reused would pass for borrowed as well.
    fn next_id(&self) -> rusqlite::Result<i64> {
        let last: Option<i64> = self
            .transaction
            .prepare_cached("SELECT max(id) FROM reading")?
            .query_row([], |row| row.get(0))?;
        Ok(last.unwrap_or(0).max(self.offered).saturating_add(1))
    }

    fn insert(&mut self, id: i64, reading: &Reading, offered: bool) -> rusqlite::Result<()> {
        let inverter = number_inverter(self.transaction, self.inverters, &reading.inverter)?;
        let number = |quantity| self.numbers.get(&quantity).copied();
        let row = row::encode(&reading.values, number);
        let counted = reading
            .counted
            .as_ref()
            .map(|counted| row::encode_counted(counted, number));
        self.transaction
            .prepare_cached(
                "INSERT INTO reading (id, time, inverter, row, counted, offered) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![id, reading.time.0, inverter, row, counted, offered])?;
        Ok(())
    }

    /// Drops the oldest readings that were never borrowed, and hands on what they have counted. Only where there are none
    /// others go, with what they have counted: it may have been delivered.
    fn drop_oldest(&mut self, count: u64) -> rusqlite::Result<(u64, Carried)> {
        let select = |condition: &str| -> rusqlite::Result<Vec<i64>> {
            self.transaction
                .prepare_cached(&format!(
                    "SELECT id FROM reading WHERE {condition} ORDER BY id LIMIT ?2"
                ))?
                .query_map(params![self.offered, count], |row| row.get(0))?
                .collect()
        };
        let fresh = select("id > ?1 AND offered = 0")?;
        if !fresh.is_empty() {
            return Ok((fresh.len() as u64, self.drop(&fresh)?));
        }
        let offered = select("id <= ?1 OR offered <> 0")?;
        self.delete(&offered)?;
        Ok((offered.len() as u64, Carried::default()))
    }

    /// Drops readings, and hands on what they have counted to the next ones that were never borrowed; gives what is left
    /// for later ones.
    fn drop(&mut self, ids: &[i64]) -> rusqlite::Result<Carried> {
        let mut carried = Carried::default();
        let mut select = self
            .transaction
            .prepare_cached("SELECT time, inverter, counted FROM reading WHERE id = ?")?;
        for id in ids {
            let (time, number, counted) = select.query_row([id], |row| {
                let counted = counted(row.get_ref(2)?, self.quantities);
                Ok((UnixMillis(row.get(0)?), row.get(1)?, counted))
            })?;
            if let Some(counted) = counted
                && let Some(inverter) = inverter(self.transaction, self.inverters, number)?
            {
                carried.put(&inverter.name, time, counted);
            }
        }
        self.delete(ids)?;
        let number = |quantity| self.numbers.get(&quantity).copied();
        let mut next = self.transaction.prepare_cached(
            "SELECT id, time, counted FROM reading WHERE id > ? AND offered = 0 \
             AND inverter IN (SELECT id FROM inverter WHERE name = ?) ORDER BY id LIMIT 1",
        )?;
        let mut update = self
            .transaction
            .prepare_cached("UPDATE reading SET counted = ? WHERE id = ?")?;
        carried.try_give(|inverter, before, dropped| {
            let next = next
                .query_row(params![self.offered, inverter], |row| {
                    let own = counted(row.get_ref(2)?, self.quantities);
                    Ok((row.get::<_, i64>(0)?, UnixMillis(row.get(1)?), own))
                })
                .optional()?;
            let Some((id, time, own)) = next else {
                return Ok(false);
            };
            let all = taken_over(own, time, dropped, before);
            update.execute(params![row::encode_counted(&all, number), id])?;
            Ok::<_, rusqlite::Error>(true)
        })?;
        Ok(carried)
    }

    fn delete(&self, ids: &[i64]) -> rusqlite::Result<()> {
        let mut delete = self
            .transaction
            .prepare_cached("DELETE FROM reading WHERE id = ?")?;
        for id in ids {
            delete.execute([id])?;
        }
        Ok(())
    }
}

/// What a row has counted; what is damaged is lost.
fn counted(counted: ValueRef<'_>, quantities: &HashMap<u64, Quantity>) -> Option<Counted> {
    row::decode_counted(counted.as_blob().ok()?, |number| {
        quantities.get(&number).copied()
    })
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
