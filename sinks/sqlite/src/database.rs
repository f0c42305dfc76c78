//! The open file: readings go in, one transaction per batch, and with them the buckets that they close or change.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kstar_sink::TimeZone;
use kstar_sink::catalogue::Quantity;
use kstar_sink::reading::{Inverter, Reading};
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use crate::columns::{Columns, given};
use crate::failure::Failure;
use crate::level::Level;
use crate::place::{FileId, files, log_of};
use crate::retention::Retention;
use crate::schema;
use crate::settings::Settings;
use crate::sums::{LOOKED_BACK, Source, Sums, mark_stale, newest};
use crate::widen::{add_missing, check_owner, inverters, make_tables, refresh_views, widen};

/// The page cache, in KiB: all that appending touches, and little of the memory of a small machine.
const CACHE_KIB: i32 = 256;

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

/// A base that was new this recently is not replaced: a counter that makes no sense shall not fill the table.
const BASE_LASTS: i64 = 60 * 60 * 1000;

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

/// An inverter that has a table, with what is known of it as long as nobody else writes.
struct KnownInverter {
    inverter: Arc<Inverter>,
    id: i64,
    newest: Option<i64>,
    columns: Vec<Quantity>,
    bases: Vec<Base>,
    insert: String,
    all: Columns,
    counters: Columns,
}

/// What a total was when its counter of the day began.
struct Base {
    total: Quantity,
    today: Quantity,
    /// Since when, and how much.
    known: Option<(i64, i64)>,
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

/// Adds a span, as a part of the last one where they touch.
fn add_span(spans: &mut Vec<Range<i64>>, span: Range<i64>) {
    match spans.last_mut() {
        Some(last) if span.start <= last.end && last.start <= span.end => {
            *last = last.start.min(span.start)..last.end.max(span.end);
        }
        _ => spans.push(span),
    }
}

impl KnownInverter {
    /// Whether this is that inverter and there is nothing new about it.
    fn covers(&self, inverter: &Arc<Inverter>) -> bool {
        let old = &self.inverter;
        Arc::ptr_eq(old, inverter)
            || (old.name == inverter.name
                && (inverter.serial.is_none() || inverter.serial == old.serial)
                && (inverter.model.is_none() || inverter.model == old.model))
    }

    fn register(
        connection: &Connection,
        inverter: &Arc<Inverter>,
        columns: &[String],
    ) -> rusqlite::Result<Self> {
        let identity = params![inverter.name, inverter.serial, inverter.model];
        let id = connection
            .prepare(schema::NAME_INVERTER)?
            .query_row(identity, |row| row.get(0))?;
        make_tables(connection, id, columns)?;
        refresh_views(connection, &inverters(connection)?, columns)?;
        let is_there = |quantity: &Quantity| columns.iter().any(|name| name == quantity.name());
        let columns: Vec<Quantity> = Quantity::ALL.iter().copied().filter(is_there).collect();
        let mut bases = Vec::new();
        for total in &columns {
            if let Some(today) = schema::today(*total) {
                bases.push(Base {
                    total: *total,
                    today,
                    known: Base::at(connection, id, *total, i64::MAX)?,
                });
            }
        }
        Ok(Self {
            inverter: Arc::clone(inverter),
            id,
            newest: newest(connection, id)?,
            insert: schema::insert_sample(id, &columns),
            all: Columns::of(connection, id, Quantity::ALL)?,
            counters: Columns::of(connection, id, &schema::counters())?,
            columns,
            bases,
        })
    }

    /// Whether the row is new.
    fn insert(
        &mut self,
        transaction: &Transaction<'_>,
        reading: &Reading,
        given: &[(Quantity, i64)],
    ) -> rusqlite::Result<bool> {
        let time = reading.time.0;
        let is_newest = self.newest.is_none_or(|newest| time > newest);
        let mut statement = transaction.prepare_cached(&self.insert)?;
        statement.raw_bind_parameter(1, time)?;
        for (index, quantity) in (2..).zip(&self.columns) {
            let raw = if schema::follows(*quantity) {
                given
                    .iter()
                    .find(|(of, _)| of == quantity)
                    .map(|(_, raw)| *raw)
            } else {
                reading.values.raw(*quantity)
            };
            let base = self.bases.iter_mut().find(|base| base.total == *quantity);
            let stored = match (base, raw) {
                (Some(base), Some(raw)) => {
                    let today = reading.values.raw(base.today);
                    let follows =
                        base.follows(transaction, self.id, time, is_newest, raw, today)?;
                    Some(raw.wrapping_sub(follows))
                }
                _ => raw,
            };
            statement.raw_bind_parameter(index, stored)?;
        }
        Ok(statement.raw_execute()? == 1)
    }

    /// Whether the row of that time has the same values.
    fn has_same(
        &self,
        transaction: &Transaction<'_>,
        reading: &Reading,
        given: &[(Quantity, i64)],
    ) -> rusqlite::Result<bool> {
        let (_, there) = transaction
            .prepare_cached(&self.all.query("WHERE time = ?"))?
            .query_row([reading.time.0], |row| self.all.read(row))?;
        let same = |quantity| there.raw(quantity) == reading.values.raw(quantity);
        Ok(schema::stored().all(same) && given.iter().all(|(quantity, _)| same(*quantity)))
    }

    /// Notes which buckets a new sample changes: its own, where samples belong together those between it and its
    /// neighbours, and those of the next samples with its counters, which have grown since this one now.
    fn note(
        &mut self,
        transaction: &Transaction<'_>,
        reading: &Reading,
        settings: &Settings,
        spans: &mut Vec<Range<i64>>,
    ) -> rusqlite::Result<()> {
        let time = reading.time.0;
        let around = |time| Level::FiveMinutes.around(time, &TimeZone::UTC);
        let join = |spans: &mut Vec<Range<i64>>, earlier: i64, later: i64| {
            let (earlier_bucket, later_bucket) = (around(earlier), around(later));
            if later.saturating_sub(earlier) <= settings.longest_gap {
                add_span(spans, earlier_bucket.start..later_bucket.end);
            } else {
                add_span(spans, earlier_bucket);
                add_span(spans, later_bucket);
            }
        };
        if self.newest.is_none_or(|newest| time > newest) {
            let previous = self.newest.replace(time);
            // As long as samples fall into the bucket that is open, there is nothing to do.
            if let Some(previous) = previous.filter(|previous| around(*previous) != around(time)) {
                join(spans, previous, time);
            }
            return Ok(());
        }
        let table = schema::samples(self.id);
        let previous: Option<i64> = transaction
            .prepare_cached(&format!("SELECT max(time) FROM {table} WHERE time < ?"))?
            .query_row([time], |row| row.get(0))?;
        if let Some(previous) = previous {
            join(spans, previous, time);
        }
        let mut counters = schema::counters();
        counters.retain(|counter| reading.values.raw(*counter).is_some());
        let condition = format!("WHERE time > ? ORDER BY time LIMIT {LOOKED_BACK}");
        let mut later = transaction.prepare_cached(&self.counters.query(&condition))?;
        let mut rows = later.query([time])?;
        let mut is_first = true;
        while (is_first || !counters.is_empty())
            && let Some(row) = rows.next()?
        {
            let (next, values) = self.counters.read(row)?;
            if is_first {
                join(spans, time, next);
                is_first = false;
            }
            let wanted = counters.len();
            counters.retain(|counter| values.raw(*counter).is_none());
            if counters.len() < wanted {
                add_span(spans, around(next));
            }
        }
        Ok(())
    }
}

impl Base {
    /// The base that is in force at a time.
    fn at(
        connection: &Connection,
        id: i64,
        total: Quantity,
        time: i64,
    ) -> rusqlite::Result<Option<(i64, i64)>> {
        connection
            .prepare_cached(
                "SELECT since, base FROM base WHERE inverter = ? AND quantity = ? AND since <= ?
                 ORDER BY since DESC LIMIT 1",
            )?
            .query_row(params![id, total.name(), time], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
    }

    /// What a total should be by its counter of the day. A new day, or whatever else makes them differ, begins a new
    /// base, but only after all samples that are there: theirs must not change.
    fn follows(
        &mut self,
        transaction: &Transaction<'_>,
        id: i64,
        time: i64,
        is_newest: bool,
        raw: i64,
        today: Option<i64>,
    ) -> rusqlite::Result<i64> {
        let Some(today) = today else { return Ok(0) };
        if !is_newest {
            let base = Self::at(transaction, id, self.total, time)?;
            return Ok(base.map_or(0, |(_, base)| today.wrapping_add(base)));
        }
        if let Some((since, base)) = self.known {
            let follows = today.wrapping_add(base);
            let fits = (0..=1).contains(&raw.wrapping_sub(follows));
            if fits || time < since.saturating_add(BASE_LASTS) {
                return Ok(follows);
            }
        }
        let base = raw.wrapping_sub(today);
        transaction
            .prepare_cached(
                "INSERT INTO base (inverter, quantity, since, base) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![id, self.total.name(), time, base])?;
        self.known = Some((time, base));
        Ok(raw)
    }
}
