//! The open file: readings go in, one transaction per batch, and with them the buckets that they close or change.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_common::file::FileId;
use kstar_common::sqlite_file::write_ahead;
use kstar_model::counted::AccountId;
use kstar_model::reading::Reading;
use kstar_model::time::UnixMillis;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};

use crate::accounts::Origin;
use crate::apart::{SetApart, apart_of, close_open, close_overtaken, set_apart, shown_time};
use crate::failure::Failure;
use crate::known::{Inserted, KnownInverter};
use crate::moments::Moments;
use crate::place::{files, is_open_in_another_of_us, log_of};
use crate::retention::{KeepFor, Retention};
use crate::rivals::Rivals;
use crate::schema;
use crate::settings::Settings;
use crate::settle::{settle_some, sum_up};
use crate::sums::newest as newest_before;
use crate::widen::{inverters, make_samples, widen};

/// The page cache, in KiB: all that appending touches, and little of the memory of a small machine. Enough for reading too,
/// where rows are read once and in their order.
pub(crate) const CACHE_KIB: i32 = 256;

/// What the write-ahead log may keep of the disk after it was longer once.
const LOG_LIMIT: i32 = 4 << 20;

/// Enough for a few inverters' statements beside those of a transaction.
const STATEMENTS: usize = 64;

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
        let data_version = transaction
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
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
            let told: Vec<_> = reading.values.told().collect();
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
                match known.insert(&transaction, reading, &told, settings, *origin, spans)? {
                    Inserted::Needs(columns) => {
                        make_samples(&transaction, known.id, &columns)?;
                        // What else that changes is done where it is made known again.
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
        settle_some(&mut self.connection, &self.settings)
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
