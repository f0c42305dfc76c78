//! The open file: readings go in, one transaction per batch, and with them the buckets that they close or change.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_common::sqlite_file::write_ahead;
use kstar_model::catalogue::Quantity;
use kstar_model::counted::AccountId;
use kstar_model::reading::Reading;
use kstar_model::time::UnixMillis;
use kstar_sink::TimeZone;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use crate::accounts::Origin;
use crate::columns::given;
use crate::failure::Failure;
use crate::known::{Inserted, KnownInverter};
use crate::level::Level;
use crate::moments::{self, Moments, SetBack};
use crate::place::{FileId, files, is_open_in_another_of_us, log_of};
use crate::recount;
use crate::retention::{KeepFor, Retention};
use crate::schema;
use crate::settings::Settings;
use crate::sums::{Source, Sums, mark_stale, newest as newest_before};
use crate::widen::{add_missing, inverters, refresh_views, widen};

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
    inverters: HashMap<Arc<str>, KnownInverter>,
    /// Changes when another program has written to the file.
    version: i64,
    /// Whether one has since this one was opened.
    is_shared: bool,
    origin: Origin,
    moments: Moments,
    /// The number of the last reading of each account: a lower one is late.
    sequences: HashMap<AccountId, u64>,
    rivals: Rivals,
    /// The inverters that readings of came since the file was opened, and from when on samples were set apart then.
    registered: HashSet<i64>,
    apart_at_open: i64,
}

/// What another collector has written last of each inverter, and since when that is so.
#[derive(Debug, Default)]
struct Rivals(HashMap<Arc<str>, (Option<i64>, Instant)>);

impl Rivals {
    /// Fails until nothing has come from the other collector for a while.
    fn wait_for(
        &mut self,
        inverter: &Arc<str>,
        newest: Option<i64>,
        settings: &Settings,
    ) -> Result<(), Failure> {
        let seen = self
            .0
            .entry(Arc::clone(inverter))
            .or_insert_with(|| (newest, Instant::now()));
        if seen.0 != newest {
            *seen = (newest, Instant::now());
        }
        if seen.1.elapsed() < settings.patience_with_rivals() {
            return Err(Failure::Rival(Arc::clone(inverter)));
        }
        Ok(())
    }
}

/// What became of readings.
#[derive(Debug, Default)]
pub(crate) struct Written<'a> {
    /// How many were not there yet.
    pub(crate) new: usize,
    /// Those whose time other readings had, and the time that each was written with; none if there was no free one near.
    pub(crate) moved: Vec<(&'a Reading, Option<UnixMillis>)>,
    /// Readings that are set apart since the clock has gone back.
    pub(crate) apart: Vec<SetApart>,
}

/// Readings of one inverter that came when the clock was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetApart {
    pub(crate) inverter: Arc<str>,
    pub(crate) readings: u64,
    /// The time of the first and of the last.
    pub(crate) span: (UnixMillis, UnixMillis),
}

impl Database {
    pub(crate) fn open(
        path: &Path,
        patience: Duration,
        create: OpenFlags,
        settings: &Settings,
        origin: Origin,
    ) -> Result<Self, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(patience)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        schema::OWNER.check(&connection)?;
        if connection.is_readonly("main")? {
            return Err(Failure::read_only());
        }
        let journal = write_ahead(&connection, CACHE_KIB, LOG_LIMIT)?;
        if journal != "wal" {
            return Err(Failure::Unfit(format!(
                "cannot have a write-ahead log (only a journal of kind `{journal}`); put it on a local disk"
            )));
        }
        let moments = if connection.table_exists(None, "setting")? {
            Moments::read(&connection)?
        } else {
            Moments::default()
        };
        // What is brought from elsewhere says nothing of the present, and is judged when all of it is there.
        let apart = if origin.imported {
            i64::MAX
        } else {
            moments.apart()
        };
        let settings = Settings {
            apart,
            ..settings.clone()
        };
        widen(&mut connection, &settings)?;
        let moments = moments.or_trusted(shown_time(&connection)?);
        let version = connection.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            settings,
            files: files(path).ok_or(Failure::Replaced)?,
            inverters: HashMap::new(),
            version,
            is_shared: false,
            origin,
            moments,
            sequences: HashMap::new(),
            rivals: Rivals::default(),
            registered: HashSet::new(),
            apart_at_open: apart,
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
    ) -> Result<Written<'a>, Failure> {
        let (moments, apart) = (self.moments.clone(), self.settings.apart);
        let written = self.try_write(readings);
        if written.is_err() {
            // What was learnt in a transaction that did not happen.
            self.inverters.clear();
            (self.moments, self.settings.apart) = (moments, apart);
        } else {
            for counted in readings
                .iter()
                .filter_map(|reading| reading.counted.as_ref())
            {
                let last = self.sequences.entry(counted.account).or_default();
                *last = counted.sequence.max(*last);
            }
        }
        written
    }

    /// The samples that are set apart.
    pub(crate) fn apart(&self) -> rusqlite::Result<Vec<SetApart>> {
        let all = apart_of(&self.connection, self.settings.apart)?;
        Ok(all.into_iter().map(|(_, apart)| apart).collect())
    }

    /// Writes down what time it is, for those who ask the file and for the next start.
    pub(crate) fn keep_moments(&self) -> rusqlite::Result<()> {
        if self.origin.imported {
            return Ok(());
        }
        self.moments.write(&self.connection)
    }

    /// Notes how long samples are kept. If that is less than before, the newest sample that is not after the clock is taken
    /// for the present: somebody wants room.
    pub(crate) fn heed(
        &mut self,
        retention: &Retention,
        clock: UnixMillis,
    ) -> rusqlite::Result<()> {
        let keep = match retention.samples {
            KeepFor::Forever => i64::MAX,
            KeepFor::Span(span) => i64::try_from(span.as_millis()).unwrap_or(i64::MAX),
        };
        let before: Option<i64> = self
            .connection
            .query_row(
                "SELECT value FROM setting WHERE name = 'keep_raw'",
                [],
                |row| row.get(0),
            )
            .optional()?;
        if before == Some(keep) {
            return Ok(());
        }
        self.connection.execute(
            "INSERT INTO setting (name, value) VALUES ('keep_raw', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1",
            [keep],
        )?;
        if before.is_some_and(|before| keep < before) {
            self.trust_newest(clock)?;
        }
        Ok(())
    }

    /// Takes the newest sample that is not after the clock for the present.
    pub(crate) fn trust_newest(&mut self, clock: UnixMillis) -> rusqlite::Result<()> {
        let mut newest: Option<i64> = None;
        for id in inverters(&self.connection)? {
            let of_this = newest_before(&self.connection, id, clock.0.saturating_add(1))?;
            newest = newest.max(of_this);
        }
        let mut moments = Moments::read(&self.connection)?;
        if let Some(newest) = newest {
            moments.trust(newest);
            moments.write(&self.connection)?;
        }
        if !self.origin.imported {
            self.settings.apart = moments.apart();
            self.inverters.clear();
        }
        self.moments = moments;
        Ok(())
    }

    fn try_write<'a>(&mut self, readings: &'a [Arc<Reading>]) -> Result<Written<'a>, Failure> {
        let Self {
            connection,
            settings,
            inverters,
            version,
            origin,
            moments,
            sequences,
            rivals,
            registered,
            apart_at_open,
            path,
            is_shared,
            ..
        } = self;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let data_version = transaction.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        if data_version != *version {
            *is_shared = true;
            *version = data_version;
            inverters.clear();
        }
        let mut written = Written::default();
        let mut changed: HashMap<i64, Vec<Range<i64>>> = HashMap::new();
        for reading in readings {
            let is_late = reading.counted.as_ref().is_some_and(|counted| {
                sequences
                    .get(&counted.account)
                    .is_some_and(|last| counted.sequence <= *last)
            });
            if !origin.imported && !is_late {
                let before = settings.apart;
                let set_back = moments.follow(reading.time.0, Instant::now());
                settings.apart = moments.apart();
                if let Some(set_back) = set_back {
                    written.apart =
                        set_apart(&transaction, settings.apart, reading.time, set_back)?;
                }
                close_overtaken(&transaction, inverters, moments, settings, before)?;
            }
            let given = given(&reading.values);
            loop {
                let known = match inverters.entry(Arc::clone(&reading.inverter.name)) {
                    Entry::Occupied(known) if known.get().covers(&reading.inverter) => {
                        known.into_mut()
                    }
                    entry => {
                        let known =
                            KnownInverter::register(&transaction, &reading.inverter, settings)?;
                        if registered.insert(known.id) {
                            close_open(&transaction, known.id, *apart_at_open)?;
                        }
                        entry.insert_entry(known).into_mut()
                    }
                };
                if !origin.imported
                    && let Some(counted) = &reading.counted
                    && known.accounts.rival_of(counted.account)
                    && (*is_shared || is_open_in_another_of_us(path))
                {
                    rivals.wait_for(&reading.inverter.name, known.newest(), settings)?;
                }
                let spans = changed.entry(known.id).or_default();
                match known.insert(&transaction, reading, &given, settings, *origin, spans)? {
                    Inserted::Needs(columns) => {
                        add_missing(&transaction, &schema::samples(known.id), &columns)?;
                        refresh_views(&transaction)?;
                        inverters.remove(&reading.inverter.name);
                        continue;
                    }
                    Inserted::There => {}
                    Inserted::Crowded => written.moved.push((&**reading, None)),
                    Inserted::At(time) => {
                        written.new += 1;
                        if time != reading.time.0 {
                            written.moved.push((&**reading, Some(UnixMillis(time))));
                        }
                    }
                }
                break;
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
        let source = Source::named(&source);
        // What is empty is passed over at once.
        let (table, key, step) = match source {
            Source::Uncounted | Source::Samples => (schema::samples(id), "time", STEP),
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
        // What was counted elsewhere belongs to buckets without a sample, too.
        let spread: Option<i64> = match source {
            Source::Samples => transaction.query_row(
                "SELECT min(max(\"begin\", ?2)) FROM spread WHERE inverter = ?1 AND \"end\" > ?2",
                (id, begin),
                |row| row.get(0),
            )?,
            Source::Uncounted | Source::FiveMinutes => None,
        };
        let first = first.into_iter().chain(spread).min();
        let from = first.map(|first| {
            let level = match source {
                Source::Uncounted | Source::Samples => Level::FiveMinutes,
                Source::FiveMinutes => Level::Day,
            };
            level.around(first, &self.settings.zone).start.max(begin)
        });
        let until = from.map_or(end, |from| {
            let until = from.saturating_add(step).min(end);
            match source {
                Source::Uncounted | Source::Samples => until,
                Source::FiveMinutes => Level::Day
                    .around(until, &self.settings.zone)
                    .start
                    .max(Level::Day.around(from, &self.settings.zone).end),
            }
        });
        if source == Source::Uncounted {
            if let Some(from) = from.filter(|from| *from < end) {
                recount::count(&transaction, &self.settings, id, &(from..until))?;
                mark_stale(&transaction, id, Source::Samples, from..until)?;
            }
        } else if let Some(from) = from.filter(|from| *from < end)
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
        } else if source == Source::Uncounted {
            recount::finish(&transaction, id)?;
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
        let more = match self.moments.trusted() {
            Some(trusted) => retention.delete_some(&transaction, &self.settings.zone, trusted)?,
            None => false,
        };
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

/// Where time has come or gone so far that the newest sample is another one, what was open before is closed.
fn close_overtaken(
    connection: &Connection,
    known: &mut HashMap<Arc<str>, KnownInverter>,
    moments: &Moments,
    settings: &Settings,
    before: i64,
) -> rusqlite::Result<()> {
    if settings.apart.abs_diff(before) > moments::A_DAY.unsigned_abs() {
        moments.write(connection)?;
        known.clear();
        for id in inverters(connection)? {
            close_open(connection, id, before)?;
        }
    }
    let overtaken = |_: &Arc<str>, known: &mut KnownInverter| known.is_overtaken(settings);
    for (_, known) in known.extract_if(overtaken) {
        close_open(connection, known.id, before)?;
    }
    Ok(())
}

/// Has the bucket computed that was open while samples were set apart from then on, where it is not the open one any more.
fn close_open(connection: &Connection, id: i64, apart: i64) -> rusqlite::Result<()> {
    if let Some(newest) = newest_before(connection, id, apart)? {
        let open = Level::FiveMinutes.around(newest, &TimeZone::UTC);
        mark_stale(connection, id, Source::Samples, open)?;
    }
    Ok(())
}

/// The time that a file of an earlier version shows, which knows of no trusted moment: some samples that a wrong clock has
/// stamped do not change it.
fn shown_time(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    const NEWER: u32 = 1000;
    let mut shown: Option<i64> = None;
    for id in inverters(connection)? {
        let of_this = connection
            .query_row(
                &format!(
                    "SELECT time FROM {} ORDER BY time DESC LIMIT 1 OFFSET {NEWER}",
                    schema::samples(id)
                ),
                [],
                |row| row.get(0),
            )
            .optional()?;
        shown = shown.max(of_this);
    }
    Ok(shown)
}

/// The samples of each inverter that are set apart.
pub(crate) fn apart_of(
    connection: &Connection,
    apart: i64,
) -> rusqlite::Result<Vec<(i64, SetApart)>> {
    let mut all = Vec::new();
    for id in inverters(connection)? {
        let (readings, first, last): (i64, Option<i64>, Option<i64>) = connection.query_row(
            &format!(
                "SELECT count(*), min(time), max(time) FROM {} WHERE time >= ?",
                schema::samples(id)
            ),
            [apart],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let (Some(first), Some(last)) = (first, last) else {
            continue;
        };
        let name: Arc<str> =
            connection.query_row("SELECT name FROM inverter WHERE id = ?", [id], |row| {
                row.get(0)
            })?;
        let apart = SetApart {
            inverter: name,
            readings: readings.unsigned_abs(),
            span: (UnixMillis(first), UnixMillis(last)),
        };
        all.push((id, apart));
    }
    Ok(all)
}

/// Sets samples apart that come from a time when the clock was wrong, now that it has gone back: nothing is changed in them.
fn set_apart(
    transaction: &Transaction<'_>,
    apart: i64,
    since: UnixMillis,
    set_back: SetBack,
) -> rusqlite::Result<Vec<SetApart>> {
    let mut all = Vec::new();
    for (id, apart) in apart_of(transaction, apart)? {
        let first = apart.span.0.0;
        // Totals before them may begin anew from now on, and theirs must not change.
        transaction.execute(
            "INSERT OR IGNORE INTO base (inverter, quantity, since, base)
             SELECT inverter, quantity, ?2, base FROM base AS latest WHERE inverter = ?1 AND since =
             (SELECT max(since) FROM base WHERE inverter = ?1 AND quantity = latest.quantity AND since <= ?2)",
            (id, first),
        )?;
        for total in Quantity::ALL {
            if schema::today(*total).is_some() {
                transaction.execute(
                    "INSERT OR IGNORE INTO base (inverter, quantity, since, base) VALUES (?, ?, ?, ?)",
                    (id, total.name(), first, schema::NO_TOTAL),
                )?;
            }
        }
        let passed = set_back
            .passed
            .map(|passed| i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
        transaction.execute(
            "INSERT OR REPLACE INTO step (inverter, since, \"from\", passed) VALUES (?, ?, ?, ?)",
            (id, since.0, set_back.from, passed),
        )?;
        all.push(apart);
    }
    Ok(all)
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
