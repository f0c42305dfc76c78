//! The tables and views of the file, made from the catalogue.
//!
//! Each inverter has a table of its own, `sample_<id>`, whose rowid is the time. That is the least that SQLite can
//! hold: each table grows only at its end, so that its pages are full, and neither the inverter nor an index costs a
//! byte per row. (Measured with readings of a KSE: 105 bytes a row; one table with the key (inverter, time) takes 117,
//! with an index beside it 125. A rowid made of time and inverter takes 106, but then a question about a time span
//! reads the whole history.) The view `sample` shows them as one table, `readings` in physical units.
//!
//! Stored is what was measured, as integers in the quantity's resolution; what follows from it is computed in the view.

use std::fmt::Write as _;

use kstar_sink::catalogue::{Derivation, Quantity};
use kstar_sink::labels::{FlagLabel, Labels};
use kstar_sink::units::Kind;

/// "kstr", so that `file history.db` and this program can tell whose file it is.
pub(crate) const APPLICATION_ID: i32 = 0x6b73_7472;

/// Rises only when a version that knows the old form cannot write the new one. A new column is no such change.
pub(crate) const VERSION: i32 = 1;

/// Who the inverters are; serial and model are the latest that are known.
pub(crate) const INVERTER: &str = "\
CREATE TABLE IF NOT EXISTS inverter (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  serial TEXT,
  model TEXT
)";

/// What those who ask the file must know of the program that writes it.
pub(crate) const SETTING: &str = "\
CREATE TABLE IF NOT EXISTS setting (
  name TEXT PRIMARY KEY,
  value NOT NULL
) WITHOUT ROWID";

/// Makes an inverter known, or what is new about it; gives its id.
pub(crate) const NAME_INVERTER: &str = "\
INSERT INTO inverter (name, serial, model) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET serial = coalesce(excluded.serial, serial), model = coalesce(excluded.model, model)
RETURNING id";

/// The quantities that have a column.
pub(crate) fn stored() -> impl Iterator<Item = Quantity> {
    Quantity::ALL
        .iter()
        .copied()
        .filter(|quantity| quantity.description().derivation.is_none())
}

/// The name of an inverter's table.
pub(crate) fn table(id: i64) -> String {
    format!("sample_{id}")
}

/// Makes an inverter's table.
pub(crate) fn create_table(id: i64, columns: &[String]) -> String {
    let columns: Vec<String> = std::iter::once("  time INTEGER PRIMARY KEY".to_owned())
        .chain(
            columns
                .iter()
                .map(|column| format!("  {} INTEGER", quoted(column))),
        )
        .collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\n{}\n)",
        table(id),
        columns.join(",\n")
    )
}

/// Adds a column to an inverter's table.
pub(crate) fn add_column(id: i64, column: &str) -> String {
    format!(
        "ALTER TABLE {} ADD COLUMN {} INTEGER",
        table(id),
        quoted(column)
    )
}

/// Adds a row, unless there is one of that time: first the time, then what is [`stored`].
pub(crate) fn insert(id: i64) -> String {
    let (mut names, mut places) = ("time".to_owned(), "?".to_owned());
    for quantity in stored() {
        names += ", ";
        names += &quoted(quantity.name());
        places += ", ?";
    }
    format!(
        "INSERT INTO {} ({names}) VALUES ({places}) ON CONFLICT DO NOTHING",
        table(id)
    )
}

/// What is [`stored`] of one time.
pub(crate) fn select(id: i64) -> String {
    let names: Vec<String> = stored().map(|quantity| quoted(quantity.name())).collect();
    format!(
        "SELECT {} FROM {} WHERE time = ?",
        names.join(", "),
        table(id)
    )
}

/// The view `sample`: the tables of all inverters as one, in integers.
pub(crate) fn sample_view(inverters: &[i64], columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let mut tables: Vec<String> = inverters
        .iter()
        .map(|id| {
            format!(
                "SELECT {id} AS inverter, time, {} FROM {}",
                columns.join(", "),
                table(*id)
            )
        })
        .collect();
    if tables.is_empty() {
        let columns: Vec<String> = columns
            .iter()
            .map(|column| format!("NULL AS {column}"))
            .collect();
        tables.push(format!(
            "SELECT NULL AS inverter, NULL AS time, {} WHERE 0",
            columns.join(", ")
        ));
    }
    format!("CREATE VIEW sample AS\n{}", tables.join("\nUNION ALL "))
}

/// The view `readings`: every quantity in its unit, modes and flags as their labels.
pub(crate) fn readings_view() -> String {
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
        let _ = write!(view, ",\n  {} AS {name}", shown(*quantity));
    }
    view + "\nFROM sample JOIN inverter ON inverter.id = sample.inverter"
}

/// A quantity as the view shows it.
fn shown(quantity: Quantity) -> String {
    let description = quantity.description();
    let raw = raw(quantity);
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
            format!("CASE {raw} {labels} ELSE 'unknown_' || {raw} END")
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
fn raw(quantity: Quantity) -> String {
    match quantity.description().derivation {
        None => format!("sample.{}", quoted(quantity.name())),
        Some(Derivation::Product(one, other)) => format!("({} * {})", raw(one), raw(other)),
        Some(Derivation::Sum(one, other)) => format!("({} + {})", raw(one), raw(other)),
        Some(Derivation::Positive(of)) => format!("max({}, 0)", raw(of)),
        Some(Derivation::Negative(of)) => format!("(-min({}, 0))", raw(of)),
        Some(Derivation::Bits(of)) => raw(of),
    }
}

/// A column's name that no keyword and no sign in it can spoil.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
