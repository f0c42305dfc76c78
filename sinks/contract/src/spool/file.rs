//! The file itself: its tables, and what is done with them, one transaction at a time.
//!
//! A row is a number that grows, the time, the inverter by reference, and the values and what was counted as a few bytes. What was committed
//! is with the operating system at once, so that a killed process loses none of it, and on the disk for good within a
//! minute. Only one process uses the file, which spares the index beside the write-ahead log.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_common::sqlite_file::{Owner, Unusable, write_ahead};
use kstar_model::counted::Counted;
use kstar_model::reading::{Reading, Undated};
use kstar_model::time::millis;
use kstar_model::time::{ClockSet, UnixMillis, Uptime, boot};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use super::rows::{Dropped, Rows};
use crate::delivery::SpoolBounds;

/// "kssp", so that `file` and this program can tell what it is. The version rises only when one that knows the old form
/// must not use the new one: the first would lose what was counted.
pub(super) const OWNER: Owner = Owner {
    application_id: 0x6b73_7370,
    version: 2,
};

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
    rows: Rows,
    /// How many readings wait for the clock to be set.
    undated: u64,
    synced: Instant,
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
    pub(super) dropped: Dropped,
}

impl File {
    /// Opens the file; what is known to have been borrowed may be more than it says.
    pub(super) fn open(path: &Path, offered: i64) -> Result<Self, Unusable> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::ZERO)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        let version = OWNER.check(&connection)?;
        write_ahead(&connection, CACHE_KIB, LOG_PAGES * 4096)?;
        connection.query_row(
            &format!("PRAGMA wal_autocheckpoint = {LOG_PAGES}"),
            [],
            |_| Ok(()),
        )?;
        let rows = prepare(&mut connection, version, offered)?;
        Ok(Self {
            undated: count_undated(&connection)?,
            connection,
            rows,
            synced: Instant::now(),
        })
    }

    /// Everything up to this number was borrowed once.
    pub(super) fn offered(&self) -> i64 {
        self.rows.offered
    }

    /// How many readings wait.
    pub(super) fn total(&self) -> Result<u64, Unusable> {
        Ok(total(&self.connection)?)
    }

    /// The size of the file.
    pub(super) fn bytes(&self) -> Result<u64, Unusable> {
        Ok(number(&self.connection, "page_count")? * number(&self.connection, "page_size")?)
    }

    /// Puts everything into the one file and closes it.
    pub(super) fn close(self) -> Result<(), Unusable> {
        Ok(self.connection.close().map_err(|(_, error)| error)?)
    }

    /// Removes what is done with; gives how many readings are left.
    pub(super) fn remove(&mut self, done: i64, ids: &RangeInclusive<i64>) -> Result<u64, Unusable> {
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
    pub(super) fn remove_each(&mut self, ids: &[i64]) -> Result<(u64, Dropped), Unusable> {
        let transaction = immediate(&mut self.connection)?;
        let dropped = self.rows.drop(&transaction, ids)?;
        let left = total(&transaction)?.saturating_sub(dropped.readings);
        write_total(&transaction, left)?;
        transaction.commit()?;
        Ok((left, dropped))
    }

    /// Adds readings behind all others, the first `offered` of which were borrowed before; then the oldest go until the
    /// bounds are kept.
    pub(super) fn push(
        &mut self,
        readings: &[Arc<Reading>],
        offered: usize,
        bounds: SpoolBounds,
        done: i64,
    ) -> Result<Pushed, Unusable> {
        let transaction = immediate(&mut self.connection)?;
        let delivered = transaction.execute("DELETE FROM reading WHERE id <= ?", [done])? as u64;
        let mut waiting = total(&transaction)?.saturating_sub(delivered);
        let first = self.rows.next_id(&transaction)?;
        let mut next = first;
        for (index, reading) in readings.iter().enumerate() {
            self.rows
                .insert(&transaction, next, reading, index < offered)?;
            next += 1;
            waiting += 1;
        }
        let mut dropped = Dropped::default();
        while let Some(surplus) = surplus(&transaction, waiting, bounds)? {
            let oldest = self.rows.drop_oldest(&transaction, surplus)?;
            if oldest.readings == 0 {
                break;
            }
            waiting = waiting.saturating_sub(oldest.readings);
            dropped.append(oldest);
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
    ) -> Result<Dropped, Unusable> {
        let transaction = immediate(&mut self.connection)?;
        for reading in readings {
            let (inverter, values, counted) = self.rows.encode(&transaction, reading)?;
            let uptime = millis(reading.time.0);
            transaction
                .prepare_cached(
                    "INSERT INTO undated (boot, uptime_ms, inverter, row, counted) VALUES (?, ?, ?, ?, ?)",
                )?
                .execute(params![boot(), uptime, inverter, values, counted])?;
        }
        let mut dropped = Dropped::default();
        let mut left = count_undated(&transaction)?;
        while let Some(surplus) = surplus(&transaction, left, bounds)? {
            let oldest: Vec<(i64, i64, Option<Counted>)> = transaction
                .prepare_cached(
                    "DELETE FROM undated WHERE id IN (SELECT id FROM undated ORDER BY id LIMIT ?) \
                     RETURNING uptime_ms, inverter, counted",
                )?
                .query_map([surplus], |row| {
                    Ok((row.get(0)?, row.get(1)?, self.rows.counted(row.get_ref(2)?)))
                })?
                .collect::<Result<_, _>>()?;
            if oldest.is_empty() {
                break;
            }
            dropped.readings += oldest.len() as u64;
            for (uptime, number, counted) in oldest {
                if let Some(counted) = counted
                    && let Some(inverter) = self.rows.inverter(&transaction, number)?
                {
                    dropped
                        .carried
                        .put(&inverter.name, UnixMillis(uptime), counted);
                }
            }
            left = count_undated(&transaction)?;
        }
        transaction.commit()?;
        self.undated = left;
        Ok(dropped)
    }

    /// Dates what waits for the clock to be set, behind all others. What another run of the machine has left has no time and
    /// is dropped.
    pub(super) fn set_clock(&mut self, clock: ClockSet) -> Result<Dropped, Unusable> {
        let transaction = immediate(&mut self.connection)?;
        let rows = &mut self.rows;
        let mut dropped = Dropped::default();
        let mut next = rows.next_id(&transaction)?;
        let mut waiting = total(&transaction)?;
        let mut select = transaction.prepare_cached(
            "SELECT boot, uptime_ms, inverter, row, counted FROM undated ORDER BY id",
        )?;
        let mut undated = select.query([])?;
        while let Some(row) = undated.next()? {
            let inverter = rows.inverter(&transaction, row.get(2)?)?;
            let values = rows.values(row.get_ref(3)?);
            let counted = rows.counted(row.get_ref(4)?);
            let is_ours = row.get_ref(0)?.as_str().is_ok_and(|of| of == boot());
            let uptime = Duration::from_millis(row.get(1)?);
            match (inverter, values) {
                (Some(inverter), Some(values)) if is_ours => {
                    let reading = Reading {
                        time: clock.time_of(Uptime(uptime)),
                        inverter,
                        values,
                        counted,
                    };
                    rows.insert(&transaction, next, &reading, false)?;
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
    pub(super) fn borrow(&mut self, limit: usize, done: i64) -> Result<Read, Unusable> {
        let mut readings = Vec::new();
        let mut unreadable = Vec::new();
        let mut last = done;
        let mut select = self.connection.prepare_cached(
            "SELECT id, time, inverter, row, counted FROM reading WHERE id > ? ORDER BY id LIMIT ?",
        )?;
        let mut oldest = select.query(params![done, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        while let Some(row) = oldest.next()? {
            last = row.get(0)?;
            let inverter = self.rows.inverter(&self.connection, row.get(2)?)?;
            match (inverter, self.rows.values(row.get_ref(3)?)) {
                (Some(inverter), Some(values)) => readings.push(Arc::new(Reading {
                    time: UnixMillis(row.get(1)?),
                    inverter,
                    values,
                    counted: self.rows.counted(row.get_ref(4)?),
                })),
                _ => unreadable.push(last),
            }
        }
        if last > self.rows.offered {
            self.rows.offered = last;
            // A full disk must not keep what waits from being delivered. Until the process ends it is known anyway.
            let _ = self
                .connection
                .execute("UPDATE total SET offered = ?", [last]);
        }
        Ok(Read {
            ids: done.saturating_add(1)..=last,
            readings,
            unreadable,
        })
    }
}

/// Makes the tables, or what a file of the first form has not.
fn prepare(connection: &mut Connection, version: i32, offered: i64) -> Result<Rows, Unusable> {
    let transaction = immediate(connection)?;
    if !transaction.table_exists(None, "total")? {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", OWNER.application_id)?;
    }
    if version < OWNER.version {
        transaction.execute_batch(SECOND)?;
        transaction.pragma_update(None, "user_version", OWNER.version)?;
    }
    let noted: i64 = transaction.query_row("SELECT offered FROM total", [], |row| row.get(0))?;
    let rows = Rows::new(&transaction, offered.max(noted))?;
    transaction.commit()?;
    Ok(rows)
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

/// How many of the oldest are too many, if any: they go at once.
fn surplus(
    connection: &Connection,
    waiting: u64,
    bounds: SpoolBounds,
) -> rusqlite::Result<Option<u64>> {
    Ok(match waiting.checked_sub(bounds.readings.get()) {
        None | Some(0) if used_bytes(connection)? <= bounds.bytes => None,
        None | Some(0) => Some(DROPPED_AT_ONCE),
        surplus => surplus,
    })
}

fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages =
        number(connection, "page_count")?.saturating_sub(number(connection, "freelist_count")?);
    Ok(pages * number(connection, "page_size")?)
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}
