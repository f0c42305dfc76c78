//! What a file of an earlier version comes to: it holds totals only, so what was counted is found out once, and written as
//! what was counted.
//!
//! A total that grows from one sample to the next counts, if that is not more than the power in between has given, by 5 %
//! and 0.01 kWh. Otherwise somebody has set it, the clock was set, or another inverter came: then the power times the time
//! counts. It is done bit by bit, and at the end it is said what the sums were before and what they are now.

use std::ops::Range;

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::{Amounts, COUNTERS, POWERS, power};
use rusqlite::{Connection, params_from_iter};

use crate::columns::{Columns, names};
use crate::level::Level;
use crate::rollup::MEAN_DECIMALS;
use crate::schema;
use crate::settings::Settings;
use crate::stale::{Source, kept, mark_stale};

/// How many samples are looked back at for the last value of a counter.
const LOOKED_BACK: u32 = 1000;

/// No more time than this, in milliseconds, lets a power bound what a counter has counted.
const LONGEST: i64 = 24 * 60 * 60 * 1000;

/// What a counter without a power of its own may grow by: as much as a house takes, and a kilowatt-hour at once.
const HOUSE_WATTS: f64 = 20_000.0;

/// Finds out what was counted in a span of samples.
pub(crate) fn count(
    connection: &Connection,
    settings: &Settings,
    id: i64,
    span: &Range<i64>,
) -> rusqlite::Result<()> {
    let quantities: Vec<Quantity> = COUNTERS.into_iter().chain(POWERS).collect();
    let columns = Columns::of(connection, id, &quantities)?;
    let mut counting = Counting::new(settings.longest_gap);
    let mut before = Vec::new();
    {
        let condition = format!("WHERE time < ? ORDER BY time DESC LIMIT {LOOKED_BACK}");
        let mut select = columns.select(connection, &condition)?;
        let mut rows = select.query([span.start])?;
        while let Some(row) = rows.next()? {
            before.push(columns.read(row)?);
        }
    }
    for (time, values) in before.into_iter().rev() {
        counting.begin(time, values);
    }
    let counters = schema::counters(&names(connection, &schema::samples(id))?);
    let told: Vec<String> = counters
        .iter()
        .map(|counter| schema::quoted(&schema::counted(*counter)))
        .collect();
    let changes: Vec<String> = told.iter().map(|column| format!("{column} = ?")).collect();
    // What has come since tells itself what was counted.
    let mut update = connection.prepare(&format!(
        "UPDATE {} SET {} WHERE time = ? AND coalesce({}) IS NULL",
        schema::samples(id),
        changes.join(", "),
        told.join(", ")
    ))?;
    let mut samples = Vec::new();
    {
        let mut select =
            columns.select(connection, "WHERE time >= ? AND time < ? ORDER BY time")?;
        let mut rows = select.query([span.start, span.end])?;
        while let Some(row) = rows.next()? {
            samples.push(columns.read(row)?);
        }
    }
    for (time, values) in samples {
        let counted = counting.add(time, values);
        let amounts = counters.iter().map(|counter| counted.of(*counter));
        let row = amounts.chain([Some(time)]);
        update.execute(params_from_iter(row))?;
    }
    let mut sums = connection.prepare(
        "INSERT INTO recount (inverter, quantity, before, after) VALUES (?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET before = before + excluded.before, after = after + excluded.after",
    )?;
    for ((counter, before), (_, after)) in counting.before.iter().zip(counting.after.iter()) {
        if before.is_some() || after.is_some() {
            let (before, after) = (before.unwrap_or(0), after.unwrap_or(0));
            sums.execute((id, counter.name(), before, after))?;
        }
    }
    Ok(())
}

/// Puts buckets right whose samples are gone, by the same rule, and says what the sums were and are.
pub(crate) fn finish(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    for level in Level::ALL {
        let source = Source::of(level);
        let sealed = kept(connection, id, source)?;
        let table = schema::buckets(level, id);
        let there = names(connection, &table)?;
        let mut changed = 0;
        for (counter, power) in bounded() {
            if ![power, counter]
                .into_iter()
                .flat_map(schema::sums)
                .all(|sum| there.contains(&sum))
            {
                continue;
            }
            let (mean, growth) = (
                schema::quoted(&format!("{power}_mean")),
                schema::quoted(&format!("{counter}_growth")),
            );
            let scale =
                f64::from(10_u32.pow((power.description().decimals + MEAN_DECIMALS).into()))
                    * 3_600_000.0
                    / watt_hours(counter);
            let allowed = format!("{mean} * covered / {scale:?}");
            changed += connection.execute(
                &format!(
                    "UPDATE {table} SET {growth} = CAST(round({allowed}) AS INTEGER)
                     WHERE \"begin\" < ? AND {growth} > {allowed} * 1.05 + ?"
                ),
                (sealed, 10.0 * watt_hours(counter)),
            )?;
        }
        if changed > 0 && level == Level::FiveMinutes {
            mark_stale(connection, id, Source::FiveMinutes, 0..sealed)?;
        }
    }
    let mut recounts = connection
        .prepare("DELETE FROM recount WHERE inverter = ? RETURNING quantity, before, after")?;
    let mut rows = recounts.query([id])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let (before, after): (i64, i64) = (row.get(1)?, row.get(2)?);
        let Some(quantity) = Quantity::from_name(&name) else {
            continue;
        };
        let unit = quantity.description().unit;
        if before != after {
            tracing::info!(
                sink = "sqlite",
                inverter = id,
                quantity = name,
                before = %format_args!("{} {unit}", quantity.value(before)),
                now = %format_args!("{} {unit}", quantity.value(after)),
                "the sums of this history were computed again: what a counter was set to, or jumped by, counts no longer"
            );
        }
    }
    Ok(())
}

/// The counters whose growth a power bounds. One that is made of two powers did not exist in such a file: there is no growth
/// of it that is too large.
fn bounded() -> impl Iterator<Item = (Quantity, Quantity)> {
    COUNTERS.into_iter().filter_map(|counter| {
        let bounds = |quantity: &Quantity| {
            let mut values = Values::default();
            values.set_raw(*quantity, Some(1));
            power(counter, &values).is_some()
        };
        Some((counter, POWERS.into_iter().find(bounds)?))
    })
}

/// How many steps of a counter's resolution are a watt-hour.
fn watt_hours(counter: Quantity) -> f64 {
    10_f64.powi(i32::from(counter.description().decimals) - 3)
}

/// What was counted from one sample to the next.
struct Counting {
    longest_gap: i64,
    last: Option<(i64, Values)>,
    /// The last total of each counter, and when that was.
    totals: [Option<(i64, i64)>; COUNTERS.len()],
    /// What power times time has given beyond whole steps of a counter.
    rests: [f64; COUNTERS.len()],
    before: Amounts,
    after: Amounts,
}

impl Counting {
    fn new(longest_gap: i64) -> Self {
        Self {
            longest_gap,
            last: None,
            totals: [None; COUNTERS.len()],
            rests: [0.0; COUNTERS.len()],
            before: Amounts::default(),
            after: Amounts::default(),
        }
    }

    /// Takes a sample for what was before.
    fn begin(&mut self, time: i64, values: Values) {
        for (counter, total) in COUNTERS.into_iter().zip(&mut self.totals) {
            *total = values.raw(counter).map(|raw| (time, raw)).or(*total);
        }
        self.last = Some((time, values));
    }

    fn add(&mut self, time: i64, values: Values) -> Amounts {
        let mut counted = Amounts::default();
        for (index, counter) in COUNTERS.into_iter().enumerate() {
            let (Some(total), Some(rest)) = (self.totals.get(index), self.rests.get_mut(index))
            else {
                continue;
            };
            let energy = self.last.as_ref().and_then(|(since, last)| {
                let powers = (power(counter, last)?, power(counter, &values)?);
                let passed = (time - since).clamp(0, LONGEST);
                Some((energy(counter, powers, passed), time - since))
            });
            let growth = values.raw(counter).zip(*total).map(|(raw, (since, last))| {
                (raw.saturating_sub(last), (time - since).clamp(0, LONGEST))
            });
            let (mut old, amount) = (
                Amounts::default(),
                match (growth, energy) {
                    (Some((growth, passed)), energy) => {
                        let most = match energy {
                            Some((energy, _)) => energy * 1.05 + 10.0 * watt_hours(counter),
                            None => house(counter, passed),
                        };
                        if growth >= 0 && as_float(growth) <= most {
                            Some(growth)
                        } else {
                            Some(energy.map_or(0, |(energy, _)| whole(energy, rest)))
                        }
                    }
                    (None, Some((energy, passed))) if passed <= self.longest_gap => {
                        Some(whole(energy, rest))
                    }
                    // A first value of a counter, or a first power.
                    (None, _) => {
                        let known =
                            values.raw(counter).is_some() || power(counter, &values).is_some();
                        known.then_some(0)
                    }
                },
            );
            old.set(counter, growth.map(|(growth, _)| growth.max(0)));
            self.before.add(&old);
            counted.set(counter, amount);
        }
        self.after.add(&counted);
        self.begin(time, values);
        counted
    }
}

/// Power times time in steps of a counter's resolution; the powers are in hundredths of a watt.
fn energy(counter: Quantity, (from, to): (i64, i64), millis: i64) -> f64 {
    let watts = (as_float(from) + as_float(to)) / 200.0;
    watts * as_float(millis) / 3_600_000.0 * watt_hours(counter)
}

/// The most that a counter without a power grows by.
fn house(counter: Quantity, millis: i64) -> f64 {
    let hours = as_float(millis) / 3_600_000.0;
    if counter.description().unit == "kWh" {
        (HOUSE_WATTS * hours + 1000.0) * watt_hours(counter)
    } else {
        hours + 2.0
    }
}

/// Whole steps; what is left is for the next time.
fn whole(energy: f64, rest: &mut f64) -> i64 {
    let sum = energy + *rest;
    *rest = sum.fract();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, which is far beyond any energy"
    )]
    let whole = sum.trunc() as i64;
    whole
}

#[expect(
    clippy::cast_precision_loss,
    reason = "powers, times and energies are far below 2^53"
)]
fn as_float(number: i64) -> f64 {
    number as f64
}
