//! Asking a history file, also while the collector writes it.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kstar_model::TimeZone;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_model::units::Decimal;
use rusqlite::backup::StepResult;
use rusqlite::{Connection, OpenFlags};

use crate::columns::{Columns, names};
use crate::database::CACHE_KIB;
use crate::failure::{Failure, HistoryError, unreadable};
use crate::level::Level;
use crate::rollup::{Cell, MEAN_DECIMALS, Rollup};
use crate::schema;
use crate::settings::Settings;
use crate::spread;
use crate::sums::{Halt, Sums};

/// How long to wait while the file is being made or recovered; ordinary writing keeps no reader waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many pages are copied at once: a megabyte.
const COPIED_AT_ONCE: i32 = 256;

/// A history file that is only read.
pub struct History {
    path: PathBuf,
    connection: Connection,
    settings: Settings,
}

/// An inverter of which there are readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInverter {
    /// Its name in the configuration.
    pub name: String,
    /// The serial number that was known last.
    pub serial: Option<String>,
    /// The model that was known last.
    pub model: Option<String>,
    /// The time of its first reading that is there, or the begin of the first bucket if that is earlier.
    pub first: Option<UnixMillis>,
    /// The time of its last reading.
    pub last: Option<UnixMillis>,
}

/// What the readings of a span of time come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// When it begins.
    pub begin: UnixMillis,
    /// When the next one begins.
    pub end: UnixMillis,
    /// How many readings there were.
    pub samples: u32,
    /// The time in which readings followed one another closely: by at most a minute, or two and a half poll intervals
    /// where that is longer.
    pub covered: Duration,
    /// One for each quantity that was asked for, in that order; absent where no reading had it.
    pub values: Vec<Option<Aggregate>>,
}

/// Readings that came when the clock was wrong, more than a day ahead of what it says now: they are in no bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct SetApart {
    /// How many.
    pub readings: u64,
    /// The time that the first of them has.
    pub first: UnixMillis,
    /// The time that the last of them has.
    pub last: UnixMillis,
    /// What they have counted of each counter that was asked for, in its unit; absent where nobody has.
    pub counted: Vec<Option<f64>>,
}

/// What the values of one quantity come to, in its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aggregate {
    /// A measurement.
    Measured {
        /// The mean by time: times the covered time it is the integral. Where nothing is covered, that of the readings.
        mean: f64,
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
    },
    /// A counter.
    Counted {
        /// How much was counted, as those told who did; never negative.
        grown: f64,
    },
}

impl History {
    /// Opens the history for reading.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        if !path.exists() {
            return Err(HistoryError::Missing(path.to_owned()));
        }
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(PATIENCE)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            if schema::OWNER.check(&connection)? < schema::OWNER.version {
                return Ok(None);
            }
            let settings = Settings::read(&connection)?;
            Ok(Some((connection, settings)))
        };
        let opened = open().map_err(|failure: Failure| unreadable(path, failure))?;
        let (connection, settings) =
            opened.ok_or_else(|| HistoryError::Unopened(path.to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            settings,
        })
    }

    /// The zone whose midnights part the days: that of the program that wrote last.
    pub fn zone(&self) -> &TimeZone {
        &self.settings.zone
    }

    /// The inverters of which there are readings.
    pub fn inverters(&self) -> Result<Vec<StoredInverter>, HistoryError> {
        self.ask(|| {
            let mut inverters = Vec::new();
            for (id, inverter) in self.named()? {
                let sums = Sums::load(&self.connection, &self.settings, id)?;
                let extent = sums.map(|sums| sums.extent()).transpose()?;
                inverters.push(StoredInverter {
                    name: inverter.name.to_string(),
                    serial: inverter.serial.as_deref().map(str::to_owned),
                    model: inverter.model.as_deref().map(str::to_owned),
                    first: extent.as_ref().map(|extent| UnixMillis(extent.start)),
                    last: extent.map(|extent| UnixMillis(extent.end - 1)),
                });
            }
            Ok(inverters)
        })
    }

    /// The readings of an inverter in a span of time, oldest first, until there are no more or `each` breaks off.
    pub fn readings(
        &self,
        inverter: &str,
        span: Range<UnixMillis>,
        each: &mut dyn FnMut(Reading) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let (id, inverter) = self.find(inverter)?;
        self.ask(|| {
            let columns = Columns::of(&self.connection, id, Quantity::ALL)?;
            let mut samples = columns.select(
                &self.connection,
                "WHERE time >= ? AND time < ? ORDER BY time",
            )?;
            let mut rows = samples.query([span.start.0, span.end.0])?;
            while let Some(row) = rows.next()? {
                let (time, values) = columns.read(row)?;
                let reading = Reading {
                    time: UnixMillis(time),
                    inverter: Arc::clone(&inverter),
                    values,
                    counted: None,
                };
                if each(reading).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The buckets that begin in a span of time and have readings, oldest first, until there are no more or `each`
    /// breaks off. The last one is made of the readings that are there already. Modes and flags have no aggregate.
    pub fn buckets(
        &self,
        inverter: &str,
        level: Level,
        span: Range<UnixMillis>,
        quantities: &[Quantity],
        each: &mut dyn FnMut(&Bucket) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let (id, _) = self.find(inverter)?;
        self.ask(|| {
            // One state of the file, whatever is written meanwhile.
            let transaction = self.connection.unchecked_transaction()?;
            let Some(sums) = Sums::load(&transaction, &self.settings, id)? else {
                return Ok(());
            };
            let zone = &self.settings.zone;
            let extent = sums.extent()?;
            let first = level.around(span.start.0.max(extent.start), zone);
            let begin = if first.start < span.start.0 {
                first.end
            } else {
                first.start
            };
            let end = span.end.0.min(extent.end);
            if begin < end {
                let whole = begin..level.around(end - 1, zone).end;
                let given = sums.each(level, &whole, quantities, &mut |rollup| match each(
                    &Bucket::of(&rollup, quantities),
                ) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Halt::Enough),
                });
                given.or_else(Halt::failure)?;
            }
            Ok(())
        })
    }

    /// The readings of an inverter that are set apart, if there are any, with what they have counted of some counters.
    pub fn set_apart(
        &self,
        inverter: &str,
        counters: &[Quantity],
    ) -> Result<Option<SetApart>, HistoryError> {
        let (id, _) = self.find(inverter)?;
        self.ask(|| {
            let transaction = self.connection.unchecked_transaction()?;
            let columns = names(&transaction, &schema::samples(id))?;
            let sum = |counter: Quantity| {
                let column = schema::counted(counter);
                if columns.contains(&column) {
                    format!("sum({})", schema::quoted(&column))
                } else {
                    "NULL".to_owned()
                }
            };
            let counters_of = counters.iter().copied().map(schema::counter_of);
            let selected: Vec<String> = ["count(*)", "min(time)", "max(time)"]
                .into_iter()
                .map(str::to_owned)
                .chain(counters_of.map(sum))
                .collect();
            let query = format!(
                "SELECT {} FROM {} WHERE time >= ?1",
                selected.join(", "),
                schema::samples(id)
            );
            let horizon = Sums::load(&transaction, &self.settings, id)?
                .map_or(i64::MIN, |sums| sums.horizon());
            let beyond = horizon..i64::MAX;
            let spreads = spread::within(&transaction, id, &beyond)?;
            transaction.query_row(&query, [self.settings.apart], |row| {
                let (Some(first), Some(last)) = (row.get(1)?, row.get(2)?) else {
                    return Ok(None);
                };
                let mut counted = Vec::with_capacity(counters.len());
                for (index, counter) in (3..).zip(counters) {
                    let decimals = counter.description().decimals;
                    let elsewhere = spreads.get(&schema::counter_of(*counter));
                    let elsewhere = elsewhere.into_iter().flatten();
                    let elsewhere: i64 = elsewhere.map(|spread| spread.share(&beyond)).sum();
                    let raw: Option<i64> = row.get(index)?;
                    counted.push(raw.map(|raw| {
                        let raw = raw.saturating_add(elsewhere);
                        Decimal { raw, decimals }.to_f64()
                    }));
                }
                Ok(Some(SetApart {
                    readings: row.get::<_, i64>(0)?.unsigned_abs(),
                    first: UnixMillis(first),
                    last: UnixMillis(last),
                    counted,
                }))
            })
        })
    }

    /// Whether readings are in the history already, at another time: of those given, how many are there with the same values
    /// that much later (in milliseconds, before where it is negative), for each of the differences.
    pub fn shifted(
        &self,
        inverter: &str,
        readings: &[(UnixMillis, Values)],
        differences: &[i64],
    ) -> Result<Vec<usize>, HistoryError> {
        let (id, _) = self.find(inverter)?;
        self.ask(|| {
            let columns = Columns::of(&self.connection, id, Quantity::ALL)?;
            let mut select = columns.select(&self.connection, "WHERE time = ?")?;
            let mut counts = Vec::with_capacity(differences.len());
            for difference in differences {
                let mut count = 0;
                for (time, values) in readings {
                    let mut rows = select.query([time.0.saturating_add(*difference)])?;
                    if let Some(row) = rows.next()? {
                        let (_, there) = columns.read(row)?;
                        let same = Quantity::ALL.iter().all(|quantity| {
                            let told = values.raw(*quantity);
                            told.is_none() || told == there.raw(*quantity)
                        });
                        count += usize::from(same);
                    }
                }
                counts.push(count);
            }
            Ok(counts)
        })
    }

    /// Copies the history as it is at this moment to a new file, also while the collector writes, and checks the copy.
    /// `step` is told how many pages are done, and of how many.
    pub fn backup(
        &self,
        to: &Path,
        step: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Backup, HistoryError> {
        // An open transaction holds on to one state; without it, each reading that comes would begin the copy anew.
        let transaction = self.connection.unchecked_transaction();
        let transaction = self.ask(|| {
            let transaction = transaction?;
            transaction.query_row("SELECT count(*) FROM inverter", [], |_| Ok(()))?;
            Ok(transaction)
        })?;
        let copied = copy(&transaction, to, step).map_err(|error| unreadable(to, error))?;
        match copied {
            None => Ok(Backup::BrokenOff),
            Some(health) if health == "ok" => Ok(Backup::Complete),
            Some(health) => Err(HistoryError::Unreadable(format!(
                "the copy of {0} is damaged, and so {0} may be: {health}; save what can be read with `sqlite3 {0} .recover`",
                self.path.display()
            ))),
        }
    }

    fn find(&self, name: &str) -> Result<(i64, Arc<Inverter>), HistoryError> {
        let named = self.ask(|| self.named())?;
        let known = named.iter().map(|(_, inverter)| inverter.name.to_string());
        let known = known.collect();
        named
            .into_iter()
            .find(|(_, inverter)| &*inverter.name == name)
            .ok_or_else(|| HistoryError::UnknownInverter {
                path: self.path.clone(),
                name: name.to_owned(),
                known,
            })
    }

    fn named(&self) -> rusqlite::Result<Vec<(i64, Arc<Inverter>)>> {
        self.connection
            .prepare("SELECT id, name, serial, model FROM inverter ORDER BY id")?
            .query_map([], |row| {
                let inverter = Inverter {
                    name: row.get(1)?,
                    serial: row.get(2)?,
                    model: row.get(3)?,
                };
                Ok((row.get(0)?, Arc::new(inverter)))
            })?
            .collect()
    }

    fn ask<T>(&self, question: impl FnOnce() -> rusqlite::Result<T>) -> Result<T, HistoryError> {
        question().map_err(|error| unreadable(&self.path, error))
    }
}

/// What became of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// The copy is whole.
    Complete,
    /// It was broken off; the file is of no use.
    BrokenOff,
}

/// Copies a database; gives what a check of the copy says, or nothing if it was broken off.
pub(crate) fn copy(
    from: &Connection,
    to: &Path,
    step: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> rusqlite::Result<Option<String>> {
    let mut copy = Connection::open(to)?;
    {
        let backup = rusqlite::backup::Backup::new(from, &mut copy)?;
        loop {
            let result = backup.step(COPIED_AT_ONCE)?;
            let progress = backup.progress();
            let pages = |count| u64::try_from(count).unwrap_or(0);
            let (total, left) = (pages(progress.pagecount), pages(progress.remaining));
            if step(total - left.min(total), total).is_break() {
                return Ok(None);
            }
            match result {
                StepResult::Done => break,
                StepResult::More => {}
                // Somebody else has opened the copy.
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
    // A single file, which can be read where nothing can be written.
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    let health = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    copy.close().map_err(|(_, error)| error)?;
    Ok(Some(health))
}

impl Bucket {
    fn of(rollup: &Rollup, quantities: &[Quantity]) -> Self {
        let values = quantities.iter().zip(&rollup.cells);
        Self {
            begin: UnixMillis(rollup.bucket.start),
            end: UnixMillis(rollup.bucket.end),
            samples: rollup.samples,
            covered: Duration::from_millis(rollup.covered.unsigned_abs()),
            values: values
                .map(|(quantity, cell)| cell.map(|cell| Aggregate::of(cell, *quantity)))
                .collect(),
        }
    }
}

impl Aggregate {
    fn of(cell: Cell, quantity: Quantity) -> Self {
        let decimals = quantity.description().decimals;
        let number = |raw| Decimal { raw, decimals }.to_f64();
        match cell {
            Cell::Counted { grown } => Self::Counted {
                grown: number(grown),
            },
            Cell::Measured { mean, min, max } => Self::Measured {
                mean: Decimal {
                    raw: mean,
                    decimals: decimals + MEAN_DECIMALS,
                }
                .to_f64(),
                min: number(min),
                max: number(max),
            },
        }
    }
}
