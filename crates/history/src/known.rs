//! An inverter as the database knows it while nobody else writes: how its samples are stored, and which buckets a new one
//! changes.

use std::ops::Range;
use std::sync::Arc;

use kstar_model::TimeZone;
use kstar_model::catalogue::Quantity;
use kstar_model::counted::{Amounts, Counted};
use kstar_model::reading::{Inverter, Reading};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::accounts::{Accounts, Origin};
use crate::columns::{Columns, names};
use crate::level::{Level, add_span};
use crate::schema;
use crate::settings::Settings;
use crate::spread::Placed;
use crate::sums::newest;
use crate::widen::{make_tables, refresh_views};

/// A base that was new this recently is not replaced: a counter that makes no sense shall not fill the table.
const BASE_LASTS: i64 = 60 * 60 * 1000;

/// The same for the meter, whose base changes at midnight and when somebody sets it.
const METERED_BASE_LASTS: i64 = 60 * 1000;

/// How many readings of one millisecond are kept, each at the next one that is free.
const MOST_AT_ONCE: i64 = 1000;

/// An inverter that has a table, with what is known of it as long as nobody else writes.
pub(crate) struct KnownInverter {
    inverter: Arc<Inverter>,
    pub(crate) id: i64,
    newest: Option<i64>,
    /// The first sample that was set apart when this became known.
    apart: Option<i64>,
    columns: Vec<Quantity>,
    /// What is measured and has no column yet.
    absent: Vec<Quantity>,
    /// The counters of which the table has what was counted.
    counters: Vec<Quantity>,
    bases: Vec<Base>,
    insert: String,
    all: Columns,
    pub(crate) accounts: Accounts,
}

/// What a total was when its counter of the day began.
struct Base {
    total: Quantity,
    today: Quantity,
    /// Since when, and how much.
    known: Option<(i64, i64)>,
}

/// What became of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It is a row now, at this time.
    At(i64),
    /// It was there already.
    There,
    /// So many others have its time that it cannot be kept.
    Crowded,
    /// It needs columns that the table has not.
    Needs(Vec<String>),
}

impl KnownInverter {
    /// Whether this is that inverter and there is nothing new about it.
    pub(crate) fn covers(&self, inverter: &Arc<Inverter>) -> bool {
        let old = &self.inverter;
        Arc::ptr_eq(old, inverter)
            || (old.name == inverter.name
                && (inverter.serial.is_none() || inverter.serial == old.serial)
                && (inverter.model.is_none() || inverter.model == old.model))
    }

    pub(crate) fn register(
        connection: &Connection,
        inverter: &Arc<Inverter>,
        settings: &Settings,
    ) -> rusqlite::Result<Self> {
        let identity = params![inverter.name, inverter.serial, inverter.model];
        let id = connection
            .prepare(schema::NAME_INVERTER)?
            .query_row(identity, |row| row.get(0))?;
        make_tables(connection, id)?;
        refresh_views(connection)?;
        let there = names(connection, &schema::samples(id))?;
        let is_there = |quantity: &Quantity| there.iter().any(|name| name == quantity.name());
        let columns: Vec<Quantity> = Quantity::ALL.iter().copied().filter(is_there).collect();
        let absent = schema::stored()
            .filter(|quantity| !columns.contains(quantity))
            .collect();
        let counters = schema::counters(&there);
        let mut bases = Vec::new();
        for total in Quantity::ALL {
            if let Some(today) = schema::today(*total) {
                bases.push(Base {
                    total: *total,
                    today,
                    known: Base::at(connection, id, *total, settings.apart.saturating_sub(1))?,
                });
            }
        }
        let accounts = Accounts::load(connection, id, &there, settings)?;
        let account = accounts.has_column().then(|| schema::ACCOUNT.to_owned());
        let inserted = columns
            .iter()
            .map(|quantity| quantity.name().to_owned())
            .chain(counters.iter().map(|counter| schema::counted(*counter)))
            .chain(account);
        Ok(Self {
            inverter: Arc::clone(inverter),
            id,
            newest: newest(connection, id, settings.apart)?,
            apart: connection
                .prepare_cached(&format!(
                    "SELECT min(time) FROM {} WHERE time >= ?",
                    schema::samples(id)
                ))?
                .query_row([settings.apart], |row| row.get(0))?,
            insert: schema::insert_sample(id, inserted),
            all: Columns::of(connection, id, Quantity::ALL)?.with_counted(|_| true),
            columns,
            absent,
            counters,
            bases,
            accounts,
        })
    }

    /// Whether time has come so far that samples which were set apart are not any more.
    pub(crate) fn is_overtaken(&self, settings: &Settings) -> bool {
        self.apart.is_some_and(|apart| apart < settings.apart)
    }

    /// The time of the newest sample that is not set apart.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// Writes a reading, unless it is there. If another one has its time, it gets the next one that is free.
    pub(crate) fn insert(
        &mut self,
        transaction: &Transaction<'_>,
        reading: &Reading,
        told: &[(Quantity, i64)],
        settings: &Settings,
        origin: Origin,
        spans: &mut Vec<Range<i64>>,
    ) -> rusqlite::Result<Inserted> {
        let first = reading.time.0;
        let mut time = first;
        while self.is_taken(transaction, time, settings)? {
            if self.has_same(transaction, time, reading)? {
                return Ok(Inserted::There);
            }
            time = time.saturating_add(1);
            if time - first > MOST_AT_ONCE {
                return Ok(Inserted::Crowded);
            }
        }
        let counted = reading.counted.as_ref();
        let account = match counted {
            Some(Counted { account, .. }) => {
                let row = self.accounts.row_of(transaction, self.id, *account, origin);
                Some(row?)
            }
            None => None,
        };
        let is_newest = self.newest.is_none_or(|newest| time > newest);
        let totals = self.totals(transaction, reading, time, is_newest)?;
        let missing = self.missing(reading, told, &totals, account);
        if !missing.is_empty() {
            return Ok(Inserted::Needs(missing));
        }
        let counts = match (counted, account) {
            (Some(counted), Some(account)) => self.accounts.claim(
                transaction,
                self.id,
                time,
                counted,
                account,
                is_newest,
                spans,
            )?,
            _ => true,
        };
        let placed = counted
            .filter(|_| counts)
            .map(|counted| Placed::new(counted, time, settings.longest_gap))
            .unwrap_or_default();
        let mut statement = transaction.prepare_cached(&self.insert)?;
        statement.raw_bind_parameter(1, time)?;
        let mut index = 2;
        for quantity in &self.columns {
            let total = totals.iter().find(|(total, _)| total == quantity);
            let raw = match total {
                Some((_, stored)) => *stored,
                None if schema::follows(*quantity) => told
                    .iter()
                    .find(|(of, _)| of == quantity)
                    .map(|(_, raw)| *raw),
                None => reading.values.raw(*quantity),
            };
            statement.raw_bind_parameter(index, raw)?;
            index += 1;
        }
        for counter in &self.counters {
            statement.raw_bind_parameter(index, placed.amounts.of(*counter))?;
            index += 1;
        }
        if self.accounts.has_column() {
            let told = account.filter(|account| !self.accounts.is_usual(*account));
            statement.raw_bind_parameter(index, told)?;
        }
        statement.raw_execute()?;
        placed.write(transaction, self.id, time)?;
        self.accounts.came(account, is_newest);
        self.note(transaction, time, settings, spans)?;
        for span in placed.spans() {
            let begin = Level::FiveMinutes.around(span.start, &TimeZone::UTC).start;
            let end = Level::FiveMinutes.around(span.end - 1, &TimeZone::UTC).end;
            add_span(spans, begin..end);
        }
        Ok(Inserted::At(time))
    }

    /// The columns that a reading needs and the table has not.
    fn missing(
        &self,
        reading: &Reading,
        told: &[(Quantity, i64)],
        totals: &[(Quantity, Option<i64>)],
        account: Option<i64>,
    ) -> Vec<String> {
        let is_missing = |quantity: &Quantity| !self.columns.contains(quantity);
        let measured = self.absent.iter().copied();
        let measured = measured.filter(|quantity| reading.values.raw(*quantity).is_some());
        let told = told.iter().map(|(quantity, _)| *quantity);
        let totals = totals
            .iter()
            .filter(|(_, stored)| stored.is_some())
            .map(|(total, _)| *total);
        let columns = measured
            .chain(told.chain(totals).filter(is_missing))
            .map(|quantity| quantity.name().to_owned());
        let counted = reading.counted.as_ref().map(Counted::all);
        let counted = counted.iter().flat_map(Amounts::iter);
        let counted = counted
            .filter(|(counter, amount)| amount.is_some() && !self.counters.contains(counter))
            .map(|(counter, _)| schema::counted(counter));
        let account = account
            .filter(|account| self.accounts.needs_column(*account))
            .map(|_| schema::ACCOUNT.to_owned());
        let mut missing: Vec<String> = columns.chain(counted).chain(account).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    fn is_taken(
        &self,
        transaction: &Transaction<'_>,
        time: i64,
        settings: &Settings,
    ) -> rusqlite::Result<bool> {
        // Between the newest sample and those that are set apart there is none.
        if self.newest.is_none_or(|newest| time > newest) && time < settings.apart {
            return Ok(false);
        }
        let table = schema::samples(self.id);
        transaction
            .prepare_cached(&format!("SELECT 1 FROM {table} WHERE time = ?"))?
            .exists([time])
    }

    /// What is stored of the totals, and new bases where they need some.
    fn totals(
        &mut self,
        transaction: &Transaction<'_>,
        reading: &Reading,
        time: i64,
        is_newest: bool,
    ) -> rusqlite::Result<Vec<(Quantity, Option<i64>)>> {
        let id = self.id;
        let mut totals = Vec::with_capacity(self.bases.len());
        for base in &mut self.bases {
            let total = reading.values.raw(base.total);
            let today = reading.values.raw(base.today);
            let metered = schema::is_metered(base.total);
            let stored = match (total, today) {
                (Some(raw), today) => {
                    let follows = base.follows(transaction, id, time, is_newest, raw, today)?;
                    match follows {
                        Some(follows) if metered && follows == raw => None,
                        follows => Some(raw.wrapping_sub(follows.unwrap_or(0))),
                    }
                }
                (None, Some(_)) if metered => Some(schema::NO_TOTAL),
                (None, _) => None,
            };
            totals.push((base.total, stored));
        }
        Ok(totals)
    }

    /// Whether the row of that time is this reading.
    fn has_same(
        &self,
        transaction: &Transaction<'_>,
        time: i64,
        reading: &Reading,
    ) -> rusqlite::Result<bool> {
        let (there, counted) = transaction
            .prepare_cached(&self.all.query("WHERE time = ?"))?
            .query_row([time], |row| {
                Ok((self.all.read(row)?.1, self.all.counted(row)?.0))
            })?;
        let mut values = reading.values.clone();
        values.derive();
        // What counts for nothing, since another account has counted the same time, may have been anything.
        let nothing = Amounts::default();
        let amounts = reading.counted.as_ref().map_or(nothing, Counted::all);
        Ok(values == there
            && (counted == nothing
                || amounts == {
                    let mut all = counted;
                    all.add(&crate::spread::of(transaction, self.id, time)?);
                    all
                }))
    }

    /// Notes which buckets a new sample changes: its own, and where samples belong together those between it and its
    /// neighbours.
    fn note(
        &mut self,
        transaction: &Transaction<'_>,
        time: i64,
        settings: &Settings,
        spans: &mut Vec<Range<i64>>,
    ) -> rusqlite::Result<()> {
        let around = |time| Level::FiveMinutes.around(time, &TimeZone::UTC);
        let longest_gap = settings.longest_gap.max(self.accounts.longest_gap());
        let join = |spans: &mut Vec<Range<i64>>, earlier: i64, later: i64| {
            let (earlier_bucket, later_bucket) = (around(earlier), around(later));
            if later.saturating_sub(earlier) <= longest_gap {
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
        let neighbour = |query: String| -> rusqlite::Result<Option<i64>> {
            transaction
                .prepare_cached(&query)?
                .query_row([time], |row| row.get(0))
        };
        if let Some(previous) = neighbour(format!("SELECT max(time) FROM {table} WHERE time < ?"))?
        {
            join(spans, previous, time);
        }
        if let Some(next) = neighbour(format!("SELECT min(time) FROM {table} WHERE time > ?"))? {
            join(spans, time, next);
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
            .map(|base| base.filter(|(_, base)| *base != schema::NO_TOTAL))
    }

    /// What a total should be by its counter of the day, if that is there. A new day, or whatever else makes them differ, begins a new
    /// base, but only after all samples that are there: theirs must not change.
    fn follows(
        &mut self,
        transaction: &Transaction<'_>,
        id: i64,
        time: i64,
        is_newest: bool,
        raw: i64,
        today: Option<i64>,
    ) -> rusqlite::Result<Option<i64>> {
        let Some(today) = today else { return Ok(None) };
        if !is_newest {
            let base = Self::at(transaction, id, self.total, time)?;
            return Ok(base.map(|(_, base)| today.wrapping_add(base)));
        }
        // The meter tells both together, while a machine rounds each on its own.
        let (most, lasts) = if schema::is_metered(self.total) {
            (0, METERED_BASE_LASTS)
        } else {
            (1, BASE_LASTS)
        };
        if let Some((since, base)) = self.known {
            let follows = today.wrapping_add(base);
            let fits = (0..=most).contains(&raw.wrapping_sub(follows));
            if fits || time < since.saturating_add(lasts) {
                return Ok(Some(follows));
            }
        }
        let base = raw.wrapping_sub(today);
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO base (inverter, quantity, since, base) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![id, self.total.name(), time, base])?;
        self.known = Some((time, base));
        Ok(Some(raw))
    }
}
