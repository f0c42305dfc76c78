//! An inverter's buckets in the file: which of them are in order, and what the others come to.
//!
//! A bucket is written when it closes, and again when a late sample falls into it. Where that is not done yet, as in a
//! file of an earlier version, a span is `stale`; buckets there, and the one that is still open, are computed from the
//! samples when they are asked for. So an answer is always complete, and what is slow can be done bit by bit.
//!
//! A bucket from which retention has taken the samples is never computed again: what is left knows less.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use kstar_model::TimeZone;
use kstar_model::catalogue::Quantity;
use kstar_model::counted::is_counted;
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, Row, params_from_iter};

use crate::accounts::Accounts;
use crate::columns::{Columns, names};
use crate::level::Level;
use crate::rollup::{Cell, FromFiveMinutes, FromSamples, Rollup, Sample, Summing};
use crate::schema;
use crate::settings::Settings;
use crate::spread;
use crate::stale::{Source, kept};

/// Whether more buckets are wanted.
pub(crate) type Flow = Result<(), Halt>;

/// Why no more buckets are given.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Anyone who was given them has enough.
    Enough,
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Halt {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

impl Halt {
    /// To have enough is no failure.
    pub(crate) fn failure(self) -> rusqlite::Result<()> {
        match self {
            Self::Enough => Ok(()),
            Self::Failed(error) => Err(error),
        }
    }
}

/// An inverter's samples and buckets.
pub(crate) struct Sums<'a> {
    connection: &'a Connection,
    settings: &'a Settings,
    id: i64,
    newest: i64,
    /// The newest of all, also of those that are set apart.
    last: i64,
    stale: Vec<(Source, Range<i64>)>,
}

impl<'a> Sums<'a> {
    /// Nothing, if there is no sample.
    pub(crate) fn load(
        connection: &'a Connection,
        settings: &'a Settings,
        id: i64,
    ) -> rusqlite::Result<Option<Self>> {
        let Some(newest) = newest(connection, id, settings.apart)? else {
            return Ok(None);
        };
        let last = self::newest(connection, id, i64::MAX)?.unwrap_or(newest);
        let stale = connection
            .prepare_cached(
                "SELECT source = ?2, \"begin\", \"end\" FROM stale WHERE inverter = ?1 AND source != 'uncounted'",
            )?
            .query_map((id, Source::Samples.name()), |row| {
                let source = if row.get(0)? {
                    Source::Samples
                } else {
                    Source::FiveMinutes
                };
                Ok((source, row.get(1)?..row.get(2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Some(Self {
            connection,
            settings,
            id,
            newest,
            last,
            stale,
        }))
    }

    fn zone(&self) -> &TimeZone {
        &self.settings.zone
    }

    /// From the oldest sample or bucket to the newest sample.
    pub(crate) fn extent(&self) -> rusqlite::Result<Range<i64>> {
        let oldest = |table: &str, key: &str| {
            let query = format!("SELECT min(\"{key}\") FROM {table}");
            self.connection
                .query_row(&query, [], |row| row.get::<_, Option<i64>>(0))
        };
        let mut first = oldest(&schema::samples(self.id), "time")?;
        let spread: Option<i64> = self
            .connection
            .prepare_cached("SELECT min(\"begin\") FROM spread WHERE inverter = ?")?
            .query_row([self.id], |row| row.get(0))?;
        first = first.into_iter().chain(spread).min();
        for level in Level::ALL {
            let begin = oldest(&schema::buckets(level, self.id), "begin")?;
            first = first.into_iter().chain(begin).min();
        }
        Ok(first.unwrap_or(self.newest)..self.newest.saturating_add(1))
    }

    /// When the bucket begins that is still open.
    fn open(&self, level: Level) -> i64 {
        level.around(self.newest, self.zone()).start
    }

    /// When the last five minutes end that anybody is shown; what belongs to a later time is set apart.
    pub(crate) fn horizon(&self) -> i64 {
        Level::FiveMinutes.around(self.newest, &TimeZone::UTC).end
    }

    /// When the bucket begins that no sample has ended yet, be it one that is set apart.
    fn unended(&self, level: Level) -> i64 {
        level.around(self.last, self.zone()).start
    }

    /// A span widened to whole buckets.
    fn whole(&self, level: Level, span: &Range<i64>) -> Range<i64> {
        let last = level.around(span.end.saturating_sub(1), self.zone());
        level.around(span.start, self.zone()).start..last.end
    }

    /// The rows before it are those that retention has left or not, but no longer made of all that they were.
    fn kept(&self, source: Source) -> rusqlite::Result<i64> {
        kept(self.connection, self.id, source)
    }

    /// The buckets of a span, which consists of whole ones, oldest first.
    pub(crate) fn each(
        &self,
        level: Level,
        span: &Range<i64>,
        quantities: &[Quantity],
        give: &mut dyn FnMut(Rollup) -> Flow,
    ) -> Flow {
        let mut unsettled: Vec<Range<i64>> = self
            .stale
            .iter()
            .filter(|(source, _)| level != Level::FiveMinutes || *source == Source::Samples)
            .map(|(_, span)| self.whole(level, span))
            .collect();
        unsettled.push(self.open(level)..i64::MAX);
        unsettled.sort_unstable_by_key(|span| span.start);
        let mut from = span.start;
        for part in unsettled {
            let begin = part.start.clamp(from, span.end);
            let end = part.end.clamp(begin, span.end);
            self.settled(level, from..begin, quantities, give)?;
            self.unsettled(level, &(begin..end), quantities, give)?;
            from = end;
        }
        Ok(())
    }

    /// Buckets that are in order.
    fn settled(
        &self,
        level: Level,
        span: Range<i64>,
        quantities: &[Quantity],
        give: &mut dyn FnMut(Rollup) -> Flow,
    ) -> Flow {
        if span.is_empty() {
            return Ok(());
        }
        let mut statement = self.rows(level, quantities)?;
        let mut rows = statement.query([span.start, span.end])?;
        while let Some(row) = rows.next()? {
            give(self.read(level, row, quantities)?)?;
        }
        Ok(())
    }

    /// Buckets that are not: those that can only be as they are, and the others computed.
    fn unsettled(
        &self,
        level: Level,
        span: &Range<i64>,
        quantities: &[Quantity],
        give: &mut dyn FnMut(Rollup) -> Flow,
    ) -> Flow {
        if span.is_empty() {
            return Ok(());
        }
        let sealed = self.kept(Source::of(level))?;
        let mut statement = self.rows(level, quantities)?;
        let mut rows = statement.query([span.start, span.end.min(sealed)])?;
        let mut next = || match rows.next()? {
            Some(row) => self.read(level, row, quantities).map(Some),
            None => Ok(None),
        };
        let mut row = next()?;
        self.computed(level, span, quantities, &mut |rollup| {
            while let Some(old) = row.take_if(|row| row.bucket.start <= rollup.bucket.start) {
                let same = old.bucket.start == rollup.bucket.start;
                row = next()?;
                give(old)?;
                if same {
                    return Ok(());
                }
            }
            give(rollup)
        })?;
        while let Some(old) = row {
            give(old)?;
            row = next()?;
        }
        Ok(())
    }

    fn computed(
        &self,
        level: Level,
        span: &Range<i64>,
        quantities: &[Quantity],
        give: &mut dyn FnMut(Rollup) -> Flow,
    ) -> Flow {
        if level == Level::FiveMinutes {
            let shown = span.start..span.end.min(self.horizon());
            return self.add_up(&shown, quantities, self.settings.apart, give);
        }
        let mut longer = FromFiveMinutes::new(level, self.zone().clone());
        self.each(Level::FiveMinutes, span, quantities, &mut |part| {
            longer.add(part).map_or(Ok(()), &mut *give)
        })?;
        longer.finish().map_or(Ok(()), give)
    }

    /// Adds up samples to buckets of five minutes, but for those that are set apart.
    fn add_up(
        &self,
        span: &Range<i64>,
        quantities: &[Quantity],
        apart: i64,
        give: &mut dyn FnMut(Rollup) -> Flow,
    ) -> Flow {
        let (connection, id) = (self.connection, self.id);
        let counters: Vec<Quantity> = quantities
            .iter()
            .map(|quantity| schema::counter_of(*quantity))
            .collect();
        let columns = Columns::of(connection, id, quantities)?
            .with_counted(|counter| counters.contains(&counter));
        let there = names(connection, &schema::samples(id))?;
        let accounts = Accounts::load(connection, id, &there, self.settings)?;
        let before: Option<i64> = connection
            .prepare_cached(&format!(
                "SELECT max(time) FROM {} WHERE time < ?",
                schema::samples(id)
            ))?
            .query_row([span.start], |row| row.get(0))?;
        let mut elsewhere = self.elsewhere(span, &counters)?;
        let mut sums = FromSamples::new(quantities);
        let mut samples =
            columns.select(connection, "WHERE time >= ? AND time < ? ORDER BY time")?;
        let mut rows = samples.query([before.unwrap_or(span.start), apart])?;
        let mut pass = |rollup: Rollup, give: &mut dyn FnMut(Rollup) -> Flow| {
            if !span.contains(&rollup.bucket.start) {
                return Ok(());
            }
            while let Some(first) = elsewhere.first_entry()
                && *first.key() < rollup.bucket.start
            {
                give(first.remove())?;
            }
            match elsewhere.remove(&rollup.bucket.start) {
                Some(more) => give(rollup.with_counted(&more)),
                None => give(rollup),
            }
        };
        while let Some(row) = rows.next()? {
            let (time, values) = columns.read(row)?;
            let (amounts, account) = columns.counted(row)?;
            let value = |quantity: &Quantity| match schema::counter_of(*quantity) {
                counter if is_counted(counter) => amounts.of(counter),
                _ => values.raw(*quantity),
            };
            let sample = Sample {
                time,
                longest_gap: accounts.gap_of(account),
                values: quantities.iter().map(value).collect(),
            };
            for rollup in sums.add(sample) {
                pass(rollup, give)?;
            }
            if time >= span.end {
                break;
            }
        }
        if let Some(last) = sums.finish() {
            pass(last, give)?;
        }
        for (_, rollup) in elsewhere {
            give(rollup)?;
        }
        Ok(())
    }

    /// What belongs to the buckets of a span without being told by a sample in it.
    fn elsewhere(
        &self,
        span: &Range<i64>,
        counters: &[Quantity],
    ) -> rusqlite::Result<BTreeMap<i64, Rollup>> {
        let mut buckets: BTreeMap<i64, Rollup> = BTreeMap::new();
        let spreads = spread::within(self.connection, self.id, span)?;
        for (index, counter) in counters.iter().enumerate() {
            for spread in spreads.get(counter).into_iter().flatten() {
                let mut begin = spread.span.start.max(span.start);
                while begin < spread.span.end.min(span.end) {
                    let bucket = Level::FiveMinutes.around(begin, &TimeZone::UTC);
                    begin = bucket.end;
                    let share = spread.share(&bucket);
                    let rollup = buckets
                        .entry(bucket.start)
                        .or_insert_with(|| Rollup::empty(bucket, counters.len()));
                    rollup.count(index, share);
                }
            }
        }
        Ok(buckets)
    }

    /// Asks for rows from a begin to an end.
    fn rows(&self, level: Level, quantities: &[Quantity]) -> rusqlite::Result<CachedStatement<'a>> {
        let table = schema::buckets(level, self.id);
        let there = names(self.connection, &table)?;
        let mut columns = "\"begin\", samples, covered".to_owned();
        for column in quantities.iter().copied().flat_map(schema::sums) {
            columns += ", ";
            let value = there.contains(&column).then(|| schema::quoted(&column));
            columns += value.as_deref().unwrap_or("NULL");
        }
        self.connection.prepare_cached(&format!(
            "SELECT {columns} FROM {table} WHERE \"begin\" >= ? AND \"begin\" < ? ORDER BY \"begin\""
        ))
    }

    fn read(
        &self,
        level: Level,
        row: &Row<'_>,
        quantities: &[Quantity],
    ) -> rusqlite::Result<Rollup> {
        let begin: i64 = row.get(0)?;
        let mut index = 3;
        let mut next = || {
            index += 1;
            row.get::<_, Option<i64>>(index - 1)
        };
        let mut cells = Vec::with_capacity(quantities.len());
        for quantity in quantities {
            cells.push(match Summing::of(*quantity) {
                None => None,
                Some(Summing::Counted) => next()?.map(|grown| Cell::Counted { grown }),
                Some(Summing::Measured) => match (next()?, next()?, next()?) {
                    (Some(mean), Some(min), Some(max)) => Some(Cell::Measured { mean, min, max }),
                    _ => None,
                },
            });
        }
        Ok(Rollup {
            bucket: begin..level.around(begin, self.zone()).end,
            samples: row.get(1)?,
            covered: row.get(2)?,
            cells,
        })
    }

    /// Computes and writes the closed buckets of a span.
    pub(crate) fn settle(&self, source: Source, span: &Range<i64>) -> rusqlite::Result<()> {
        let there = names(self.connection, &schema::samples(self.id))?;
        let quantities = schema::summed(&there);
        if source == Source::Samples {
            let level = Level::FiveMinutes;
            let span = self.whole(level, span);
            let span = span.start..span.end.min(self.unended(level));
            let mut write = self.writer(level, &quantities)?;
            if !span.is_empty() {
                // One that nothing belongs to any more is not computed again.
                self.clear(level, &span)?;
                self.add_up(&span, &quantities, i64::MAX, &mut write)
                    .or_else(Halt::failure)?;
            }
        }
        for level in [Level::Hour, Level::Day] {
            let span = self.whole(level, span);
            // Hours and days of another zone begin elsewhere.
            self.clear(level, &span)?;
            let span = span.start..span.end.min(self.unended(level));
            if span.is_empty() {
                continue;
            }
            let mut write = self.writer(level, &quantities)?;
            let mut longer = FromFiveMinutes::new(level, self.zone().clone());
            let settled = self.settled(Level::FiveMinutes, span, &quantities, &mut |part| {
                longer.add(part).map_or(Ok(()), &mut write)
            });
            settled.or_else(Halt::failure)?;
            if let Some(rollup) = longer.finish() {
                write(rollup).or_else(Halt::failure)?;
            }
        }
        Ok(())
    }

    /// Deletes the buckets of a span that can be computed again.
    fn clear(&self, level: Level, span: &Range<i64>) -> rusqlite::Result<()> {
        let sealed = self.kept(Source::of(level))?;
        self.connection
            .prepare_cached(&format!(
                "DELETE FROM {} WHERE \"begin\" >= ? AND \"begin\" < ?",
                schema::buckets(level, self.id)
            ))?
            .execute([span.start.max(sealed), span.end])?;
        Ok(())
    }

    /// Writes buckets of a level; one whose parts are gone stays as it is.
    fn writer(
        &self,
        level: Level,
        quantities: &[Quantity],
    ) -> rusqlite::Result<impl FnMut(Rollup) -> Flow> {
        let sealed = self.kept(Source::of(level))?;
        let prepare = |replace| {
            self.connection
                .prepare_cached(&schema::write_bucket(level, self.id, quantities, replace))
        };
        let (mut replace, mut add) = (prepare(true)?, prepare(false)?);
        Ok(move |rollup: Rollup| {
            let begin = rollup.bucket.start;
            if rollup.bucket.contains(&self.newest) {
                // It is open, though what is set apart comes after it.
                return Ok(());
            }
            let offset = Timestamp::from_millisecond(begin)
                .map_or(0, |begin| self.zone().to_offset(begin).seconds());
            let mut row: Vec<Value> = vec![
                begin.into(),
                offset.into(),
                rollup.samples.into(),
                rollup.covered.into(),
            ];
            for (quantity, cell) in quantities.iter().zip(&rollup.cells) {
                match cell {
                    None => row.extend(schema::sums(*quantity).iter().map(|_| Value::Null)),
                    Some(Cell::Measured { mean, min, max }) => {
                        row.extend([mean, min, max].map(|raw| Value::from(*raw)));
                    }
                    Some(Cell::Counted { grown }) => row.push((*grown).into()),
                }
            }
            let statement = if begin < sealed {
                &mut add
            } else {
                &mut replace
            };
            statement.execute(params_from_iter(row))?;
            Ok(())
        })
    }
}

/// The time of an inverter's newest sample, but for those that are set apart.
pub(crate) fn newest(
    connection: &Connection,
    id: i64,
    apart: i64,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(&format!(
            "SELECT max(time) FROM {} WHERE time < ?",
            schema::samples(id)
        ))?
        .query_row([apart], |row| row.get(0))
}
