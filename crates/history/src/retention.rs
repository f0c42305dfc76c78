//! How long what is kept, and taking away what is older, a little at a time.
//!
//! Ages are counted from the trusted moment of the readings (`moments`) and not from the clock: a clock that has gone wrong
//! must not empty a history. The room of what is deleted is used again for what comes next, so that a file of several
//! years stays as large as it is; giving it back to the disk would mean to write the whole file anew.

use std::fmt;
use std::time::Duration;

use kstar_common::setting::{duration, from_text};
use kstar_model::TimeZone;
use kstar_model::time::millis;
use rusqlite::Connection;
use serde::{Deserialize, Deserializer};

use crate::level::Level;
use crate::schema;
use crate::stale::Source;
use crate::sums::newest;
use crate::widen::inverters;

/// How many rows are deleted in one step: some ten milliseconds.
const ROWS: u32 = if cfg!(test) { 50 } else { 2000 };

/// How long rows are kept, counted in whole local days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepFor {
    /// Nothing is deleted.
    Forever,
    /// At least this long.
    Span(Duration),
}

impl fmt::Display for KeepFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.pad("forever"),
            Self::Span(span) => f.pad(&duration::text(*span)),
        }
    }
}

impl<'de> Deserialize<'de> for KeepFor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "\"forever\", or a number of days as text, like \"400d\"";
        from_text(deserializer, expected, |text| match text {
            "forever" => Ok(Self::Forever),
            _ => match duration::parse(text) {
                Ok(span) if is_whole_days(span) => Ok(Self::Span(span)),
                Ok(_) => Err(format!(
                    "`{text}` is no number of whole days, and rows are kept by whole days; write one like \"400d\""
                )),
                Err(error) => Err(format!("{error}, or \"forever\"")),
            },
        })
    }
}

fn is_whole_days(span: Duration) -> bool {
    const DAY: u64 = 24 * 60 * 60;
    span.subsec_nanos() == 0 && span.as_secs() > 0 && span.as_secs().is_multiple_of(DAY)
}

/// How long the rows of each table are kept.
#[derive(Clone, Debug)]
pub struct Retention {
    pub samples: KeepFor,
    pub five_minutes: KeepFor,
    pub hours: KeepFor,
    pub days: KeepFor,
}

/// So that a file of many years stays at a few gigabytes.
impl Default for Retention {
    fn default() -> Self {
        Self {
            samples: KeepFor::Span(Duration::from_secs(400 * 24 * 60 * 60)),
            five_minutes: KeepFor::Forever,
            hours: KeepFor::Forever,
            days: KeepFor::Forever,
        }
    }
}

impl Retention {
    /// Deletes some rows that need not be kept; says whether there may be more.
    pub(crate) fn delete_some(
        &self,
        connection: &Connection,
        zone: &TimeZone,
        now: i64,
    ) -> rusqlite::Result<bool> {
        let mut more = false;
        for id in inverters(connection)? {
            for (keep, level) in [
                (self.samples, None),
                (self.five_minutes, Some(Level::FiveMinutes)),
                (self.hours, Some(Level::Hour)),
                (self.days, Some(Level::Day)),
            ] {
                let KeepFor::Span(span) = keep else { continue };
                let span = millis(span);
                let since = Level::Day.around(now.saturating_sub(span), zone).start;
                more |= match level {
                    None => delete_samples(connection, id, since)?,
                    Some(level) => delete_buckets(connection, id, level, since)?,
                };
            }
        }
        Ok(more)
    }
}

/// Deletes samples, but for the last one: the next bucket begins with it.
fn delete_samples(connection: &Connection, id: i64, since: i64) -> rusqlite::Result<bool> {
    let since = unless_stale(connection, id, Source::Samples, since)?;
    let table = schema::samples(id);
    let Some(last) = newest(connection, id, since)? else {
        return Ok(false);
    };
    let deleted = delete(connection, &table, "time", last)?;
    if deleted > 0 {
        keep_since(connection, id, Source::Samples, since)?;
        // A base that another one follows before the first sample that is left has nothing to say any more.
        connection
            .prepare_cached(
                "DELETE FROM base WHERE inverter = ?1 AND since < (SELECT max(since) FROM base AS later
                 WHERE later.inverter = ?1 AND later.quantity = base.quantity AND later.since <= ?2)",
            )?
            .execute([id, last])?;
        connection
            .prepare_cached("DELETE FROM spread WHERE inverter = ? AND \"end\" <= ?")?
            .execute([id, since])?;
    }
    Ok(deleted == ROWS as usize)
}

fn delete_buckets(
    connection: &Connection,
    id: i64,
    level: Level,
    since: i64,
) -> rusqlite::Result<bool> {
    let table = schema::buckets(level, id);
    let deleted = if level == Level::FiveMinutes {
        let since = unless_stale(connection, id, Source::FiveMinutes, since)?;
        let deleted = delete(connection, &table, "begin", since)?;
        if deleted > 0 {
            keep_since(connection, id, Source::FiveMinutes, since)?;
        }
        deleted
    } else {
        delete(connection, &table, "begin", since)?
    };
    Ok(deleted == ROWS as usize)
}

/// Deletes some rows before a moment; gives how many.
fn delete(connection: &Connection, table: &str, key: &str, before: i64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(&format!(
            "DELETE FROM {table} WHERE \"{key}\" IN
             (SELECT \"{key}\" FROM {table} WHERE \"{key}\" < ? ORDER BY \"{key}\" LIMIT {ROWS})"
        ))?
        .execute([before])
}

/// Not after the first moment for which rows are still needed.
fn unless_stale(
    connection: &Connection,
    id: i64,
    source: Source,
    since: i64,
) -> rusqlite::Result<i64> {
    let stale: Option<i64> = connection
        .prepare_cached(
            "SELECT min(\"begin\") FROM stale WHERE inverter = ? AND source IN (?, ?, ?)",
        )?
        .query_row(
            (
                id,
                source.name(),
                Source::Samples.name(),
                Source::Uncounted.name(),
            ),
            |row| row.get(0),
        )?;
    Ok(stale.map_or(since, |stale| stale.min(since)))
}

fn keep_since(
    connection: &Connection,
    id: i64,
    source: Source,
    since: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO kept (inverter, source, since) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET since = max(since, excluded.since)",
        )?
        .execute((id, source.name(), since))?;
    Ok(())
}
