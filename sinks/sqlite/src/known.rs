//! An inverter as the database knows it while nobody else writes: how its samples are stored, and which buckets a new one
//! changes.

use std::ops::Range;
use std::sync::Arc;

use kstar_sink::TimeZone;
use kstar_sink::catalogue::Quantity;
use kstar_sink::reading::{Inverter, Reading};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::columns::Columns;
use crate::level::Level;
use crate::schema;
use crate::settings::Settings;
use crate::sums::{LOOKED_BACK, newest};
use crate::widen::{inverters, make_tables, refresh_views};

/// A base that was new this recently is not replaced: a counter that makes no sense shall not fill the table.
const BASE_LASTS: i64 = 60 * 60 * 1000;

/// An inverter that has a table, with what is known of it as long as nobody else writes.
pub(crate) struct KnownInverter {
    inverter: Arc<Inverter>,
    pub(crate) id: i64,
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
    pub(crate) fn insert(
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
    pub(crate) fn has_same(
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
    pub(crate) fn note(
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
