//! What buckets are computed from, and where in a file that is still to be done.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _};

use crate::level::Level;

/// What buckets are computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// What was counted, from the totals of a file of an earlier version; then all buckets.
    Uncounted,
    /// Those of five minutes, and with them all others.
    Samples,
    /// Hours and days.
    FiveMinutes,
}

impl Source {
    /// What it is called in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uncounted => "uncounted",
            Self::Samples => "samples",
            Self::FiveMinutes => "five_minutes",
        }
    }

    /// What is called so.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "uncounted" => Self::Uncounted,
            "samples" => Self::Samples,
            _ => Self::FiveMinutes,
        }
    }

    /// What buckets of a level are computed from.
    pub(crate) fn of(level: Level) -> Self {
        match level {
            Level::FiveMinutes => Self::Samples,
            Level::Hour | Level::Day => Self::FiveMinutes,
        }
    }
}

/// The moment before which retention has taken what buckets are made of.
pub(crate) fn kept(connection: &Connection, id: i64, source: Source) -> rusqlite::Result<i64> {
    let since = connection
        .prepare_cached("SELECT since FROM kept WHERE inverter = ? AND source = ?")?
        .query_row((id, source.name()), |row| row.get(0))
        .optional()?;
    Ok(since.unwrap_or(i64::MIN))
}

/// Notes that the buckets of a span are to be computed.
pub(crate) fn mark_stale(
    connection: &Connection,
    id: i64,
    source: Source,
    span: Range<i64>,
) -> rusqlite::Result<()> {
    let touching = "WHERE inverter = ?1 AND source = ?2 AND \"begin\" <= ?4 AND \"end\" >= ?3";
    let key = (id, source.name(), span.start, span.end);
    let union: (Option<i64>, Option<i64>) = connection
        .prepare_cached(&format!(
            "SELECT min(\"begin\"), max(\"end\") FROM stale {touching}"
        ))?
        .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection
        .prepare_cached(&format!("DELETE FROM stale {touching}"))?
        .execute(key)?;
    connection
        .prepare_cached(
            "INSERT INTO stale (inverter, source, \"begin\", \"end\") VALUES (?, ?, ?, ?)",
        )?
        .execute((
            id,
            source.name(),
            union.0.unwrap_or(span.start).min(span.start),
            union.1.unwrap_or(span.end).max(span.end),
        ))?;
    Ok(())
}
