//! What a reading tells to have been counted at another time than its own: before midnight, or over a longer while.

use std::collections::HashMap;
use std::ops::Range;

use kstar_model::catalogue::Quantity;
use kstar_model::counted::{Amounts, Counted, Earlier};
use kstar_model::time::millis;
use rusqlite::Connection;

use crate::rollup::Spread;

/// No reading is taken to cover more, in milliseconds: what is spread further is spread too thin to mean anything.
const LONGEST: i64 = 400 * 24 * 60 * 60 * 1000;

/// Where the amounts of a reading belong.
#[derive(Default)]
pub(crate) struct Placed {
    /// To the time of the reading.
    pub(crate) amounts: Amounts,
    /// To spans before it.
    spread: Vec<(Range<i64>, Amounts)>,
}

impl Placed {
    /// Amounts that took longer than `longest_gap` are spread over the time that they took. What was counted before
    /// midnight stays before it.
    pub(crate) fn new(counted: &Counted, time: i64, longest_gap: i64) -> Self {
        let covers = millis(counted.covers).min(LONGEST);
        let begin = time.saturating_sub(covers);
        let mut placed = Self {
            amounts: counted.amounts,
            spread: Vec::new(),
        };
        let mut since = begin;
        if let Some(Earlier { ago, amounts }) = &counted.earlier {
            let midnight = time.saturating_sub(millis(*ago));
            placed.add(begin.min(midnight.saturating_sub(1))..midnight, amounts);
            since = midnight.max(begin);
        }
        if covers > longest_gap && since < time {
            // Up to and with the moment of the reading.
            placed.add(
                since.saturating_add(1)..time.saturating_add(1),
                &counted.amounts,
            );
            for (counter, amount) in counted.amounts.iter() {
                placed.amounts.set(counter, amount.map(|_| 0));
            }
        }
        placed
    }

    fn add(&mut self, span: Range<i64>, amounts: &Amounts) {
        if amounts.iter().any(|(_, amount)| amount.unwrap_or(0) != 0) {
            self.spread.push((span, *amounts));
        }
    }

    /// The spans before the reading that something belongs to.
    pub(crate) fn spans(&self) -> impl Iterator<Item = &Range<i64>> {
        self.spread.iter().map(|(span, _)| span)
    }

    /// Writes what belongs to spans before the reading.
    pub(crate) fn write(
        &self,
        connection: &Connection,
        id: i64,
        time: i64,
    ) -> rusqlite::Result<()> {
        for (span, amounts) in &self.spread {
            let mut insert = connection.prepare_cached(
                "INSERT OR REPLACE INTO spread (inverter, \"end\", time, quantity, \"begin\", amount)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?;
            for (counter, amount) in amounts.iter() {
                if let Some(amount) = amount.filter(|amount| *amount != 0) {
                    insert.execute((id, span.end, time, counter.name(), span.start, amount))?;
                }
            }
        }
        Ok(())
    }
}

/// What the reading of a time tells to have been counted before.
pub(crate) fn of(connection: &Connection, id: i64, time: i64) -> rusqlite::Result<Amounts> {
    let mut amounts = Amounts::default();
    for (quantity, _, amount) in rows(connection, id, time)? {
        if let Some(counter) = Quantity::from_name(&quantity) {
            let mut more = Amounts::default();
            more.set(counter, Some(amount));
            amounts.add(&more);
        }
    }
    Ok(amounts)
}

/// The same as it stands in the file: counters, spans, amounts.
pub(crate) fn rows(
    connection: &Connection,
    id: i64,
    time: i64,
) -> rusqlite::Result<Vec<(String, Range<i64>, i64)>> {
    connection
        .prepare_cached(
            "SELECT quantity, \"begin\", \"end\", amount FROM spread WHERE inverter = ? AND time = ?",
        )?
        .query_map((id, time), |row| {
            Ok((row.get(0)?, row.get(1)?..row.get(2)?, row.get(3)?))
        })?
        .collect()
}

/// Forgets what the reading of a time tells to have been counted before; gives the spans that change by that.
pub(crate) fn forget(
    connection: &Connection,
    id: i64,
    time: i64,
) -> rusqlite::Result<Vec<Range<i64>>> {
    connection
        .prepare_cached(
            "DELETE FROM spread WHERE inverter = ? AND time = ? RETURNING \"begin\", \"end\"",
        )?
        .query_map((id, time), |row| Ok(row.get(0)?..row.get(1)?))?
        .collect()
}

/// What belongs to the buckets of a span without being told by a reading there.
pub(crate) fn within(
    connection: &Connection,
    id: i64,
    span: &Range<i64>,
) -> rusqlite::Result<HashMap<Quantity, Vec<Spread>>> {
    let mut spreads: HashMap<Quantity, Vec<Spread>> = HashMap::new();
    let mut select = connection.prepare_cached(
        "SELECT quantity, \"begin\", \"end\", amount FROM spread
         WHERE inverter = ? AND \"end\" > ? AND \"begin\" < ?",
    )?;
    let mut rows = select.query((id, span.start, span.end))?;
    while let Some(row) = rows.next()? {
        if let Some(counter) = Quantity::from_name(row.get_ref(0)?.as_str()?) {
            spreads.entry(counter).or_default().push(Spread {
                span: row.get(1)?..row.get(2)?,
                amount: row.get(3)?,
            });
        }
    }
    Ok(spreads)
}
