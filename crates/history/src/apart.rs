//! Samples that are set apart: the clock was wrong when they came.

use std::collections::HashMap;
use std::sync::Arc;

use kstar_model::TimeZone;
use kstar_model::catalogue::Quantity;
use kstar_model::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use crate::known::KnownInverter;
use crate::level::Level;
use crate::moments::{self, Moments, SetBack};
use crate::schema;
use crate::settings::Settings;
use crate::stale::{Source, mark_stale};
use crate::sums::newest;
use crate::widen::inverters;

/// Readings of one inverter that came when the clock was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetApart {
    pub(crate) inverter: Arc<str>,
    pub(crate) readings: u64,
    /// The time of the first and of the last.
    pub(crate) span: (UnixMillis, UnixMillis),
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
pub(crate) fn set_apart(
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

/// Where time has come or gone so far that the newest sample is another one, what was open before is closed.
pub(crate) fn close_overtaken(
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
pub(crate) fn close_open(connection: &Connection, id: i64, apart: i64) -> rusqlite::Result<()> {
    if let Some(newest) = newest(connection, id, apart)? {
        let open = Level::FiveMinutes.around(newest, &TimeZone::UTC);
        mark_stale(connection, id, Source::Samples, open)?;
    }
    Ok(())
}

/// The time that a file of an earlier version shows, which knows of no trusted moment: some samples that a wrong clock has
/// stamped do not change it.
pub(crate) fn shown_time(connection: &Connection) -> rusqlite::Result<Option<i64>> {
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
