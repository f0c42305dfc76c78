//! The views: the file as people read it, in physical units and under the catalogue's names.

use std::fmt::Write as _;

use kstar_model::catalogue::{Derivation, Quantity};
use kstar_model::scalar::Kind;
use kstar_model::scalar::{FlagLabel, Labels, UNKNOWN};

use crate::level::Level;
use crate::rollup::{MEAN_DECIMALS, Summing};
use crate::schema::{
    buckets, counted_columns, is_metered, quoted, sample_value, samples, stored, sums,
};

/// Every column that the view `sample` shows: all that the catalogue has, and what else there is in the tables.
pub(crate) fn sample_columns(tables: &[(i64, Vec<String>)]) -> Vec<String> {
    let metered = Quantity::ALL
        .iter()
        .copied()
        .filter(|quantity| is_metered(*quantity));
    let mut shown: Vec<String> = stored()
        .chain(metered)
        .map(|quantity| quantity.name().to_owned())
        .chain(counted_columns())
        .collect();
    for column in tables.iter().flat_map(|(_, columns)| columns) {
        if column != "time" && !shown.contains(column) {
            shown.push(column.clone());
        }
    }
    shown
}

/// The view `sample`: the tables of all inverters as one, in integers.
pub(crate) fn sample_view(tables: &[(i64, Vec<String>)]) -> String {
    let shown = sample_columns(tables);
    let value = |id: i64, column: &String, there: &[String]| {
        let value = match Quantity::from_name(column) {
            Some(quantity) => sample_value(id, quantity, there),
            None => there.contains(column).then(|| quoted(column)),
        };
        value.unwrap_or_else(|| "NULL".to_owned())
    };
    let table = |(index, (id, there)): (usize, &(i64, Vec<String>))| {
        let values: Vec<String> = shown
            .iter()
            .map(|column| named(value(*id, column, there), column, index))
            .collect();
        let table = samples(*id);
        format!(
            "SELECT {id} AS inverter, time, {} FROM {table}",
            values.join(", ")
        )
    };
    let mut selects: Vec<String> = tables.iter().enumerate().map(table).collect();
    if selects.is_empty() {
        let columns: Vec<String> = shown
            .iter()
            .map(|column| format!("NULL AS {}", quoted(column)))
            .collect();
        selects.push(format!(
            "SELECT NULL AS inverter, NULL AS time, {} WHERE 0",
            columns.join(", ")
        ));
    }
    format!("CREATE VIEW sample AS\n{}", selects.join("\nUNION ALL "))
}

/// A column of a view of many tables. The first table names the columns; the others need not, which keeps the view short.
fn named(value: String, name: &str, table: usize) -> String {
    if table == 0 {
        format!("{value} AS {}", quoted(name))
    } else {
        value
    }
}

/// The view `readings`: every quantity in its unit, modes and flags as their labels.
pub(crate) fn readings_view(columns: &[String]) -> String {
    let mut view = "\
CREATE VIEW readings AS SELECT
  inverter.name AS inverter,
  inverter.serial AS serial,
  inverter.model AS model,
  sample.time AS time,
  strftime('%Y-%m-%dT%H:%M:%fZ', sample.time / 1000.0, 'unixepoch') AS time_utc"
        .to_owned();
    for quantity in Quantity::ALL {
        let name = quoted(quantity.name());
        // Writing to a `String` cannot fail.
        let _ = write!(view, ",\n  {} AS {name}", shown(*quantity, columns));
    }
    view + "\nFROM sample JOIN inverter ON inverter.id = sample.inverter"
}

/// A quantity as the view shows it.
fn shown(quantity: Quantity, columns: &[String]) -> String {
    let description = quantity.description();
    let raw = raw(quantity, columns);
    match description.kind {
        Kind::Measurement | Kind::Counter | Kind::Bits if description.decimals == 0 => raw,
        // Always a fraction, never an integer where it happens to be whole: SQL divides those differently.
        Kind::Measurement | Kind::Counter | Kind::Bits => {
            format!("{raw} / {}.0", 10_u64.pow(description.decimals.into()))
        }
        Kind::Mode(labels) => {
            let labels: Vec<String> = labels
                .0
                .iter()
                .map(|(code, label)| format!("WHEN {code} THEN '{label}'"))
                .collect();
            let labels = labels.join(" ");
            format!("CASE {raw} {labels} ELSE '{UNKNOWN}' || {raw} END")
        }
        Kind::Flags(labels) => flags(&raw, labels),
        Kind::Clock => format!("strftime('%Y-%m-%dT%H:%M:%S', {raw}, 'unixepoch')"),
    }
}

fn flags(raw: &str, labels: Labels) -> String {
    let labels: Vec<String> = (0..u32::BITS)
        .zip(0..)
        .map(|(shift, bit)| {
            let (mask, label) = (1_u64 << shift, FlagLabel { labels, bit });
            format!("CASE WHEN {raw} & {mask} THEN '{label},' ELSE '' END")
        })
        .collect();
    let labels = labels.join(" || ");
    format!("CASE WHEN {raw} = 0 THEN 'none' WHEN {raw} THEN rtrim({labels}, ',') END")
}

/// A quantity's raw integer, from its column or from the columns that it follows from.
fn raw(quantity: Quantity, columns: &[String]) -> String {
    let raw = |quantity| raw(quantity, columns);
    let column = format!("sample.{}", quoted(quantity.name()));
    let following = match quantity.description().derivation {
        None => return column,
        Some(Derivation::Product(one, other)) => format!("({} * {})", raw(one), raw(other)),
        Some(Derivation::Sum(one, other)) => format!("({} + {})", raw(one), raw(other)),
        Some(Derivation::Positive(of)) => format!("max({}, 0)", raw(of)),
        Some(Derivation::Negative(of)) => format!("(-min({}, 0))", raw(of)),
        Some(Derivation::Bits(of)) => raw(of),
    };
    if columns.iter().any(|column| column == quantity.name()) {
        format!("coalesce({column}, {following})")
    } else {
        following
    }
}

/// The name of the view that shows the buckets of a level.
pub(crate) fn buckets_view_name(level: Level) -> String {
    format!("readings_{}", level.name())
}

/// The view of the buckets of a level: means, extremes and growth in the quantities' units.
pub(crate) fn buckets_view(level: Level, tables: &[(i64, Vec<String>)]) -> String {
    let name = buckets_view_name(level);
    let table = |(index, (id, there)): (usize, &(i64, Vec<String>))| {
        let columns: Vec<String> = bucket_columns(there)
            .into_iter()
            .map(|(name, value)| named(value, &name, index))
            .collect();
        format!(
            "SELECT (SELECT name FROM inverter WHERE id = {id}) AS inverter,\n  {}\nFROM {}",
            columns.join(",\n  "),
            buckets(level, *id)
        )
    };
    let mut selects: Vec<String> = tables.iter().enumerate().map(table).collect();
    if selects.is_empty() {
        selects.push("SELECT NULL AS inverter, NULL AS time WHERE 0".to_owned());
    }
    format!("CREATE VIEW {name} AS\n{}", selects.join("\nUNION ALL "))
}

/// The columns of that view after the inverter, each with its value in a table that has these columns.
fn bucket_columns(there: &[String]) -> Vec<(String, String)> {
    let mut columns: Vec<(String, String)> = [
        ("time", "\"begin\""),
        (
            "time_utc",
            "strftime('%Y-%m-%dT%H:%M:%SZ', \"begin\" / 1000, 'unixepoch')",
        ),
        (
            "time_local",
            "strftime('%Y-%m-%dT%H:%M:%S', \"begin\" / 1000 + utc_offset, 'unixepoch')",
        ),
        ("samples", "samples"),
        ("covered_seconds", "covered / 1000.0"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    for quantity in Quantity::ALL {
        let decimals = quantity.description().decimals;
        let shown: Vec<(&str, u8)> = match Summing::of(*quantity) {
            Some(Summing::Measured) => vec![
                ("mean", decimals + MEAN_DECIMALS),
                ("min", decimals),
                ("max", decimals),
            ],
            Some(Summing::Counted) => vec![("growth", decimals)],
            None => Vec::new(),
        };
        for (column, (suffix, decimals)) in sums(*quantity).iter().zip(shown) {
            let scale = 10_u64.pow(decimals.into());
            let value = match (there.contains(column), decimals) {
                (false, _) => "NULL".to_owned(),
                (true, 0) => quoted(column),
                (true, _) => format!("{} / {scale}.0", quoted(column)),
            };
            columns.push((format!("{quantity}_{suffix}"), value));
        }
    }
    columns
}
