//! Putting right what a wrong clock has done: readings that are set apart are moved to where they belong, where that is
//! known, or taken out.
//!
//! It is known where the collector ran on while its clock went back: then it has noted how much time had really passed
//! between the last reading before and the first one after.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kstar_model::catalogue::Quantity;
use kstar_model::counted::{AccountId, Counted};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use rusqlite::{Connection, OpenFlags, params};

use crate::accounts::Origin;
use crate::columns::Columns;
use crate::database::Database;
use crate::failure::{Failure, HistoryError, unreadable};
use crate::schema;
use crate::settings::Settings;
use crate::spread;
use crate::stale::{Source, mark_stale};

/// How long to wait for the collector, which holds the file for some milliseconds at a time.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many readings one transaction moves.
const AT_ONCE: usize = 200;

/// Readings of one inverter that came one after another while the clock was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// The inverter's name.
    pub inverter: Arc<str>,
    /// How many.
    pub readings: u64,
    /// The time that the first of them has.
    pub first: UnixMillis,
    /// The time that the last of them has.
    pub last: UnixMillis,
    /// When the last of them really came, if that is known.
    pub came: Option<UnixMillis>,
}

/// A history whose misplaced readings are put right.
pub struct Repair {
    path: PathBuf,
    database: Database,
}

impl Repair {
    /// Opens a history that is there.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        if !path.exists() {
            return Err(HistoryError::Missing(path.to_owned()));
        }
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let settings = Settings::read(&Connection::open_with_flags(path, flags)?)?;
            let origin = Origin {
                imported: true,
                longest_gap: None,
            };
            Database::open(path, PATIENCE, OpenFlags::empty(), &settings, origin)
        };
        Ok(Self {
            path: path.to_owned(),
            database: open().map_err(|failure: Failure| unreadable(path, failure))?,
        })
    }

    /// All that is misplaced, by inverter and time.
    pub fn find(&self) -> Result<Vec<Misplaced>, HistoryError> {
        self.find_all()
            .map_err(|error| unreadable(&self.path, error))
    }

    fn find_all(&self) -> rusqlite::Result<Vec<Misplaced>> {
        let connection = &self.database.connection;
        let apart = Settings::read(connection)?.apart;
        let mut all = Vec::new();
        let mut inverters = connection.prepare("SELECT id, name FROM inverter ORDER BY name")?;
        let mut rows = inverters.query([])?;
        while let Some(row) = rows.next()? {
            let (id, name): (i64, Arc<str>) = (row.get(0)?, row.get(1)?);
            // Each step ends a run of readings; what no step ends came before the program was ended.
            let mut steps = connection.prepare(
                "SELECT \"from\", since, passed FROM step WHERE inverter = ? AND \"from\" >= ? ORDER BY \"from\"",
            )?;
            let mut steps: Vec<(i64, Option<i64>)> = steps
                .query_map([id, apart], |row| {
                    let (since, passed): (i64, Option<i64>) = (row.get(1)?, row.get(2)?);
                    Ok((row.get(0)?, passed.map(|passed| since - passed)))
                })?
                .collect::<rusqlite::Result<_>>()?;
            steps.push((i64::MAX, None));
            let mut from = apart;
            for (to, came) in steps {
                let (readings, first, last): (i64, Option<i64>, Option<i64>) = connection.query_row(
                    &format!(
                        "SELECT count(*), min(time), max(time) FROM {} WHERE time >= ? AND time <= ?",
                        schema::samples(id)
                    ),
                    [from, to],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )?;
                from = to.saturating_add(1);
                if let (Some(first), Some(last)) = (first, last) {
                    all.push(Misplaced {
                        inverter: Arc::clone(&name),
                        readings: readings.unsigned_abs(),
                        first: UnixMillis(first),
                        last: UnixMillis(last),
                        came: came.map(UnixMillis),
                    });
                }
            }
        }
        Ok(all)
    }

    /// Moves readings so that the last of them has come at that time. `step` is told of some at a time.
    pub fn put_right(
        &mut self,
        misplaced: &Misplaced,
        came: UnixMillis,
        step: &mut dyn FnMut(usize),
    ) -> Result<(), HistoryError> {
        let by = came.0.saturating_sub(misplaced.last.0);
        loop {
            let moved = self
                .move_some(misplaced, by)
                .map_err(|failure| unreadable(&self.path, failure))?;
            step(moved);
            if moved < AT_ONCE {
                return self.settle();
            }
        }
    }

    /// Takes readings out of the history. Some at a time are given before they are deleted; an error of `each` leaves those
    /// that it was given then.
    pub fn take_out<E: From<HistoryError>>(
        &mut self,
        misplaced: &Misplaced,
        each: &mut dyn FnMut(&[Reading]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let Part { id, readings } = self
                .some(misplaced)
                .map_err(|error| unreadable(&self.path, error))?;
            each(&readings)?;
            let delete = || -> rusqlite::Result<()> {
                let transaction = self.database.connection.unchecked_transaction()?;
                for reading in &readings {
                    delete(&transaction, id, reading.time.0)?;
                }
                transaction.commit()
            };
            delete().map_err(|error| unreadable(&self.path, error))?;
            if readings.len() < AT_ONCE {
                return self.settle().map_err(E::from);
            }
        }
    }

    /// The first readings that are still there, with what they tell to have been counted.
    fn some(&self, misplaced: &Misplaced) -> rusqlite::Result<Part> {
        let connection = &self.database.connection;
        let (id, serial, model) = connection.query_row(
            "SELECT id, serial, model FROM inverter WHERE name = ?",
            [&misplaced.inverter],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let inverter = Arc::new(Inverter {
            name: Arc::clone(&misplaced.inverter),
            serial,
            model,
        });
        let columns = Columns::of(connection, id, Quantity::ALL)?.with_counted(|_| true);
        let condition = format!("WHERE time >= ? AND time <= ? ORDER BY time LIMIT {AT_ONCE}");
        let mut select = columns.select(connection, &condition)?;
        let mut rows = select.query([misplaced.first.0, misplaced.last.0])?;
        let mut readings = Vec::new();
        while let Some(row) = rows.next()? {
            let (time, values) = columns.read(row)?;
            let (amounts, account) = columns.counted(row)?;
            let account: Option<i64> = match account {
                Some(account) => Some(connection.query_row(
                    "SELECT account FROM account WHERE id = ?",
                    [account],
                    |row| row.get(0),
                )?),
                None => connection
                    .query_row(
                        "SELECT account FROM account WHERE id =
                     (SELECT min(id) FROM account WHERE inverter = ? AND NOT imported)",
                        [id],
                        |row| row.get(0),
                    )
                    .or_else(none_found)?,
            };
            readings.push(Reading {
                time: UnixMillis(time),
                inverter: Arc::clone(&inverter),
                values,
                counted: account.map(|account| Counted {
                    account: AccountId(account),
                    sequence: 0,
                    covers: Duration::ZERO,
                    amounts,
                    earlier: None,
                }),
            });
        }
        Ok(Part { id, readings })
    }

    fn move_some(&mut self, misplaced: &Misplaced, by: i64) -> Result<usize, Failure> {
        let Part { id, readings } = self.some(misplaced)?;
        let moved = readings.len();
        let from: Vec<i64> = readings.iter().map(|reading| reading.time.0).collect();
        let right: Vec<Arc<Reading>> = readings
            .into_iter()
            .map(|reading| {
                Arc::new(Reading {
                    time: UnixMillis(reading.time.0.saturating_add(by)),
                    ..reading
                })
            })
            .collect();
        // First where they belong, then away: if it is broken off in between, the next time finds them there.
        self.database.write(&right)?;
        let transaction = self.database.connection.unchecked_transaction()?;
        for time in from {
            for (quantity, span, amount) in spread::rows(&transaction, id, time)? {
                let span = span.start.saturating_add(by)..span.end.saturating_add(by);
                transaction.execute(
                    "INSERT OR REPLACE INTO spread (inverter, \"end\", time, quantity, \"begin\", amount)
                     VALUES (?, ?, ?, ?, ?, ?)",
                    params![
                        id,
                        span.end,
                        time.saturating_add(by),
                        quantity,
                        span.start,
                        amount
                    ],
                )?;
                mark_stale(&transaction, id, Source::Samples, span)?;
            }
            delete(&transaction, id, time)?;
        }
        transaction.commit()?;
        Ok(moved)
    }

    fn settle(&mut self) -> Result<(), HistoryError> {
        while self
            .database
            .settle_some()
            .map_err(|error| unreadable(&self.path, error))?
        {}
        Ok(())
    }
}

/// Some readings of an inverter.
struct Part {
    id: i64,
    readings: Vec<Reading>,
}

fn delete(connection: &Connection, id: i64, time: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(&format!(
            "DELETE FROM {} WHERE time = ?",
            schema::samples(id)
        ))?
        .execute([time])?;
    for span in spread::forget(connection, id, time)? {
        mark_stale(connection, id, Source::Samples, span)?;
    }
    // Their own buckets lie beyond those that anybody is shown; they go with them.
    mark_stale(
        connection,
        id,
        Source::Samples,
        time..time.saturating_add(1),
    )
}

fn none_found(error: rusqlite::Error) -> rusqlite::Result<Option<i64>> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(None),
        error => Err(error),
    }
}
