//! The open file: readings go in, one transaction per batch, and with them the buckets that they close or change.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kstar_sink::catalogue::Quantity;
use kstar_sink::reading::Reading;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use crate::columns::given;
use crate::failure::Failure;
use crate::known::KnownInverter;
use crate::level::Level;
use crate::place::{FileId, files, log_of};
use crate::retention::Retention;
use crate::schema;
use crate::settings::Settings;
use crate::sums::{Source, Sums, mark_stale};
use crate::widen::{add_missing, check_owner, inverters, refresh_views, widen};

/// The page cache, in KiB: all that appending touches, and little of the memory of a small machine. Enough for reading too,
/// where rows are read once and in their order.
pub(crate) const CACHE_KIB: i32 = 256;

/// What the write-ahead log may keep of the disk after it was longer once.
const LOG_LIMIT: i32 = 4 << 20;

/// Enough for a few inverters' statements beside those of a transaction.
const STATEMENTS: usize = 64;

/// How much of the changed time is summed up at once within a delivery, which holds up whoever waits for it; the rest
/// is done bit by bit.
const AT_ONCE: i64 = 2 * 60 * 60 * 1000;

/// How much time is summed up in one step of the upkeep: some four thousand samples.
const STEP: i64 = 6 * 60 * 60 * 1000;

/// How much time is summed up in one step where buckets of five minutes are there.
const LONG_STEP: i64 = 7 * 24 * 60 * 60 * 1000;

pub(crate) struct Database {
    path: PathBuf,
    pub(crate) connection: Connection,
    settings: Settings,
    /// Which files these are, to notice when others stand at their place.
    files: [FileId; 2],
    columns: Vec<String>,
    inverters: HashMap<Arc<str>, KnownInverter>,
    /// Changes when another program has written to the file.
    version: i64,
}

/// What became of readings.
#[derive(Debug, Default)]
pub(crate) struct Written<'a> {
    /// How many were not there yet.
    pub(crate) new: usize,
    /// Those whose key has other values already.
    pub(crate) conflicts: Vec<&'a Reading>,
}

impl Database {
    pub(crate) fn open(
        path: &Path,
        patience: Duration,
        create: OpenFlags,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(patience)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        check_owner(&connection)?;
        if connection.is_readonly("main")? {
            return Err(Failure::read_only());
        }
        let journal: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if journal != "wal" {
            return Err(Failure::Unfit(format!(
                "cannot have a write-ahead log (only a journal of kind `{journal}`); put it on a local disk"
            )));
        }
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
        let columns = widen(&mut connection, settings)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            settings: settings.clone(),
            files: files(path).ok_or(Failure::Replaced)?,
            columns,
            inverters: HashMap::new(),
            version: 0,
        })
    }

    /// Whether the file is still where it was opened.
    pub(crate) fn is_in_place(&self) -> bool {
        files(&self.path) == Some(self.files)
    }

    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Writes readings and the buckets that they change.
    pub(crate) fn write<'a>(
        &mut self,
        readings: &'a [Arc<Reading>],
    ) -> rusqlite::Result<Written<'a>> {
        let written = self.try_write(readings);
        if written.is_err() {
            // What was learnt in a transaction that did not happen.
            self.inverters.clear();
        }
        written
    }

    fn try_write<'a>(&mut self, readings: &'a [Arc<Reading>]) -> rusqlite::Result<Written<'a>> {
        let Self {
            connection,
            settings,
            columns,
            inverters,
            version,
            ..
        } = self;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = transaction.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        if now != *version {
            *version = now;
            inverters.clear();
        }
        let mut written = Written::default();
        let mut changed: HashMap<i64, Vec<Range<i64>>> = HashMap::new();
        for reading in readings {
            let given = given(&reading.values);
            let missing = |(quantity, _): &&(Quantity, i64)| {
                !columns.iter().any(|column| column == quantity.name())
            };
            let missing: Vec<String> = given
                .iter()
                .filter(missing)
                .map(|(quantity, _)| quantity.name().to_owned())
                .collect();
            if !missing.is_empty() {
                columns.extend(missing);
                *columns = add_columns(&transaction, columns)?;
                inverters.clear();
            }
            let known = match inverters.entry(Arc::clone(&reading.inverter.name)) {
                Entry::Occupied(known) if known.get().covers(&reading.inverter) => known.into_mut(),
                entry => {
                    let known = KnownInverter::register(&transaction, &reading.inverter, columns)?;
                    entry.insert_entry(known).into_mut()
                }
            };
            let spans = changed.entry(known.id).or_default();
            if known.insert(&transaction, reading, &given)? {
                written.new += 1;
                known.note(&transaction, reading, settings, spans)?;
            } else if !known.has_same(&transaction, reading, &given)? {
                written.conflicts.push(&**reading);
            }
        }
        for (id, spans) in changed {
            sum_up(&transaction, settings, id, spans)?;
        }
        transaction.commit()?;
        Ok(written)
    }

    /// Does a part of what is left to sum up; says whether there was any.
    pub(crate) fn settle_some(&mut self) -> rusqlite::Result<bool> {
        let is_settled: bool =
            self.connection
                .query_row("SELECT NOT EXISTS (SELECT 1 FROM stale)", [], |row| {
                    row.get(0)
                })?;
        if is_settled {
            return Ok(false);
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let next = transaction
            .prepare_cached(
                "SELECT inverter, source, \"begin\", \"end\" FROM stale ORDER BY source DESC, \"begin\" LIMIT 1",
            )?
            .query_row([], |row| {
                Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let Some((id, source, begin, end)) = next else {
            return Ok(false);
        };
        let source = if source == Source::Samples.name() {
            Source::Samples
        } else {
            Source::FiveMinutes
        };
        // What is empty is passed over at once.
        let (table, key, step) = match source {
            Source::Samples => (schema::samples(id), "time", STEP),
            Source::FiveMinutes => (
                schema::buckets(Level::FiveMinutes, id),
                "\"begin\"",
                LONG_STEP,
            ),
        };
        let first: Option<i64> = transaction.query_row(
            &format!("SELECT min({key}) FROM {table} WHERE {key} >= ?"),
            [begin],
            |row| row.get(0),
        )?;
        let from = first.map(|first| {
            let level = match source {
                Source::Samples => Level::FiveMinutes,
                Source::FiveMinutes => Level::Day,
            };
            level.around(first, &self.settings.zone).start.max(begin)
        });
        let until = from.map_or(end, |from| {
            let until = from.saturating_add(step).min(end);
            match source {
                Source::Samples => until,
                Source::FiveMinutes => Level::Day
                    .around(until, &self.settings.zone)
                    .start
                    .max(Level::Day.around(from, &self.settings.zone).end),
            }
        });
        if let Some(from) = from.filter(|from| *from < end)
            && let Some(sums) = Sums::load(&transaction, &self.settings, id)?
        {
            // Before the first five minutes there may be a day of another zone that holds them.
            let from = if source == Source::Samples {
                from
            } else {
                begin
            };
            sums.settle(source, &(from..until))?;
        }
        transaction
            .prepare_cached(
                "DELETE FROM stale WHERE inverter = ? AND source = ? AND \"begin\" = ?",
            )?
            .execute(params![id, source.name(), begin])?;
        if until < end && from.is_some_and(|from| from < end) {
            mark_stale(&transaction, id, source, until..end)?;
        }
        transaction.commit()?;
        Ok(true)
    }

    /// How much time is left to sum up.
    pub(crate) fn stale(&self) -> rusqlite::Result<Duration> {
        let left: i64 = self.connection.query_row(
            "SELECT coalesce(sum(\"end\" - \"begin\"), 0) FROM stale",
            [],
            |row| row.get(0),
        )?;
        Ok(Duration::from_millis(left.unsigned_abs()))
    }

    /// Deletes a part of what need not be kept; says whether there may be more.
    pub(crate) fn delete_some(&mut self, retention: &Retention) -> rusqlite::Result<bool> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let more = retention.delete_some(&transaction, &self.settings.zone)?;
        transaction.commit()?;
        Ok(more)
    }

    /// Puts what was written on the disk for good.
    pub(crate) fn checkpoint(&self) -> Result<(), String> {
        let (log, done): (i64, i64) = self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(1)?, row.get(2)?))
            })
            .map_err(|error| error.to_string())?;
        if log == done {
            return Ok(());
        }
        // Somebody reads an older state for long, and SQLite puts nothing newer on the disk until they are done.
        std::fs::OpenOptions::new()
            .write(true)
            .open(log_of(&self.path))
            .and_then(|log| log.sync_data())
            .map_err(|error| error.to_string())
    }
}

/// Gives every table of samples the columns that it has not; gives the columns that all have then.
fn add_columns(transaction: &Transaction<'_>, columns: &[String]) -> rusqlite::Result<Vec<String>> {
    let ids = inverters(transaction)?;
    for id in &ids {
        let table = schema::samples(*id);
        add_missing(transaction, &table, columns)?;
    }
    refresh_views(transaction, &ids, columns)?;
    Ok(columns.to_vec())
}

/// Sums up what has changed, or notes that it is to be done where that is too much for now.
fn sum_up(
    transaction: &Transaction<'_>,
    settings: &Settings,
    id: i64,
    spans: Vec<Range<i64>>,
) -> rusqlite::Result<()> {
    let mut left = AT_ONCE;
    let mut now = Vec::new();
    for span in spans {
        let length = span.end - span.start;
        if length <= left {
            left -= length;
            now.push(span);
        } else {
            mark_stale(transaction, id, Source::Samples, span)?;
        }
    }
    if let Some(sums) = (!now.is_empty())
        .then(|| Sums::load(transaction, settings, id))
        .transpose()?
        .flatten()
    {
        for span in now {
            sums.settle(Source::Samples, &span)?;
        }
    }
    Ok(())
}
