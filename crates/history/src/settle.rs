//! Sums up what is left to sum up, bit by bit.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::level::Level;
use crate::recount;
use crate::schema;
use crate::settings::Settings;
use crate::stale::{Source, mark_stale};
use crate::sums::Sums;

/// How much of the changed time is summed up at once within a delivery, which holds up whoever waits for it; the rest
/// is done bit by bit.
const AT_ONCE: i64 = 2 * 60 * 60 * 1000;

/// How much time is summed up in one step of the upkeep: some four thousand samples of a collector.
const STEP: i64 = 6 * 60 * 60 * 1000;

/// How much time is summed up in one step where buckets of five minutes are there, and at most where samples are few.
const LONG_STEP: i64 = 7 * 24 * 60 * 60 * 1000;

/// How many samples are summed up in one step where they are few.
const SAMPLES: i64 = 4000;

/// Does a part of what is left to sum up; says whether there was any.
pub(crate) fn settle_some(
    connection: &mut Connection,
    settings: &Settings,
) -> rusqlite::Result<bool> {
    let is_settled: bool =
        connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM stale)", [], |row| {
            row.get(0)
        })?;
    if is_settled {
        return Ok(false);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
        level.around(first, &settings.zone).start.max(begin)
    });
    let step = match (source, from) {
        (Source::Samples, Some(from)) => reach(&transaction, id, from)?,
        _ => step,
    };
    let until = from.map_or(end, |from| {
        let until = from.saturating_add(step).min(end);
        match source {
            Source::Uncounted | Source::Samples => until,
            Source::FiveMinutes => Level::Day
                .around(until, &settings.zone)
                .start
                .max(Level::Day.around(from, &settings.zone).end),
        }
    });
    if source == Source::Uncounted {
        if let Some(from) = from.filter(|from| *from < end) {
            recount::count(&transaction, settings, id, &(from..until))?;
            mark_stale(&transaction, id, Source::Samples, from..until)?;
        }
    } else if let Some(from) = from.filter(|from| *from < end)
        && let Some(sums) = Sums::load(&transaction, settings, id)?
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
        .prepare_cached("DELETE FROM stale WHERE inverter = ? AND source = ? AND \"begin\" = ?")?
        .execute(params![id, source.name(), begin])?;
    if until < end && from.is_some_and(|from| from < end) {
        mark_stale(&transaction, id, source, until..end)?;
    } else if source == Source::Uncounted {
        recount::finish(&transaction, id)?;
    }
    transaction.commit()?;
    Ok(true)
}

/// How much time from a moment on holds as many samples as are summed up in one step, in whole steps.
fn reach(connection: &Connection, id: i64, from: i64) -> rusqlite::Result<i64> {
    let last: Option<i64> = connection
        .prepare_cached(&format!(
            "SELECT time FROM {} WHERE time >= ? ORDER BY time LIMIT 1 OFFSET ?",
            schema::samples(id)
        ))?
        .query_row((from, SAMPLES), |row| row.get(0))
        .optional()?;
    let reach = last.map_or(LONG_STEP, |last| last.saturating_sub(from));
    Ok((reach / STEP * STEP).clamp(STEP, LONG_STEP))
}

/// Sums up what has changed, or notes that it is to be done where that is too much for now.
pub(crate) fn sum_up(
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
