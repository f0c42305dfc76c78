//! The tables of the file, made from the catalogue; `views` shows them in physical units.
//!
//! Each inverter has a table of its own, `sample_<id>`, whose rowid is the time. That is the least that SQLite can
//! hold: each table grows only at its end, so that its pages are full, and neither the inverter nor an index costs a
//! byte per row. (Measured with readings of a KSE: 105 bytes a row; one table with the key (inverter, time) takes 117,
//! with an index beside it 125. A rowid made of time and inverter takes 106, but then a question about a time span
//! reads the whole history.)
//!
//! Stored is what was measured, as integers in the quantity's resolution; what follows from it is computed. A derived
//! quantity has a column only in a file with samples in which it does not follow from the others.
//!
//! What a counter has counted in all is what it has counted today and what it was at midnight. The latter stands in
//! `base`, a few rows a day, and the total's column holds by how much it differs from that: nearly always by 0 or 1, for
//! which SQLite needs no byte beyond the row's header. So totals are exact and cost next to nothing.

use kstar_sink::catalogue::{Quantity, Role};

use crate::level::Level;
use crate::rollup::Summing;

/// "kstr", so that `file history.db` and this program can tell whose file it is.
pub(crate) const APPLICATION_ID: i32 = 0x6b73_7472;

/// Rises only when a version that knows the old form cannot write the new one. A new column is no such change.
/// 2: buckets, and totals as differences.
pub(crate) const VERSION: i32 = 2;

/// The tables that every file has.
///
/// - `inverter`: who the inverters are; serial and model are the latest that are known;
/// - `setting`: what those who ask the file must know of the program that writes it;
/// - `base`: what a total was when its counter of the day began, for samples since a moment;
/// - `stale`: where buckets have to be computed, from `samples` or, where these are in order, from `five_minutes`;
/// - `kept`: since when retention has left the rows of a table alone.
pub(crate) const TABLES: &str = "\
CREATE TABLE IF NOT EXISTS inverter (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  serial TEXT,
  model TEXT
);
CREATE TABLE IF NOT EXISTS setting (
  name TEXT PRIMARY KEY,
  value NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS base (
  inverter INTEGER NOT NULL,
  quantity TEXT NOT NULL,
  since INTEGER NOT NULL,
  base INTEGER NOT NULL,
  PRIMARY KEY (inverter, quantity, since)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stale (
  inverter INTEGER NOT NULL,
  source TEXT NOT NULL,
  \"begin\" INTEGER NOT NULL,
  \"end\" INTEGER NOT NULL,
  PRIMARY KEY (inverter, source, \"begin\")
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (
  inverter INTEGER NOT NULL,
  source TEXT NOT NULL,
  since INTEGER NOT NULL,
  PRIMARY KEY (inverter, source)
) WITHOUT ROWID";

/// Makes an inverter known, or what is new about it; gives its id.
pub(crate) const NAME_INVERTER: &str = "\
INSERT INTO inverter (name, serial, model) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET serial = coalesce(excluded.serial, serial), model = coalesce(excluded.model, model)
RETURNING id";

/// The quantities that have a column in every file.
pub(crate) fn stored() -> impl Iterator<Item = Quantity> {
    Quantity::ALL
        .iter()
        .copied()
        .filter(|quantity| !follows(*quantity))
}

/// Whether a quantity has a column only where it does not follow from others.
pub(crate) fn follows(quantity: Quantity) -> bool {
    quantity.description().derivation.is_some()
}

/// The name of the table with an inverter's samples.
pub(crate) fn samples(id: i64) -> String {
    format!("sample_{id}")
}

/// The name of the table with an inverter's buckets.
pub(crate) fn buckets(level: Level, id: i64) -> String {
    format!("bucket_{}_{id}", level.name())
}

/// Makes an inverter's table of samples.
pub(crate) fn create_samples(id: i64, columns: &[String]) -> String {
    create(&samples(id), "time INTEGER PRIMARY KEY", columns)
}

/// Makes an inverter's table of buckets: the offset is that of the local clock at the begin, in seconds east of UTC.
pub(crate) fn create_buckets(level: Level, id: i64, columns: &[String]) -> String {
    create(
        &buckets(level, id),
        "\"begin\" INTEGER PRIMARY KEY",
        columns,
    )
}

fn create(table: &str, key: &str, columns: &[String]) -> String {
    let columns: Vec<String> = std::iter::once(format!("  {key}"))
        .chain(
            columns
                .iter()
                .map(|column| format!("  {} INTEGER", quoted(column))),
        )
        .collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (\n{}\n)",
        columns.join(",\n")
    )
}

/// Adds a column to a table.
pub(crate) fn add_column(table: &str, column: &str) -> String {
    format!("ALTER TABLE {table} ADD COLUMN {} INTEGER", quoted(column))
}

/// The columns of a table of buckets beside its key.
pub(crate) fn bucket_columns() -> Vec<String> {
    ["utc_offset", "samples", "covered"]
        .into_iter()
        .map(str::to_owned)
        .chain(summed().into_iter().flat_map(sums))
        .collect()
}

/// The quantities that have sums.
pub(crate) fn summed() -> Vec<Quantity> {
    Quantity::ALL
        .iter()
        .copied()
        .filter(|quantity| Summing::of(*quantity).is_some())
        .collect()
}

/// The quantities that are counted.
pub(crate) fn counters() -> Vec<Quantity> {
    let mut counters = summed();
    counters.retain(|quantity| Summing::of(*quantity) != Some(Summing::Measured));
    counters
}

/// The columns of a quantity's sums: mean, least and most, or growth. None for modes and flags.
pub(crate) fn sums(quantity: Quantity) -> Vec<String> {
    let suffixes: &[&str] = match Summing::of(quantity) {
        Some(Summing::Measured) => &["mean", "min", "max"],
        Some(Summing::Counted { .. }) => &["growth"],
        None => &[],
    };
    suffixes
        .iter()
        .map(|suffix| format!("{quantity}_{suffix}"))
        .collect()
}

/// Adds a row, unless there is one of that time: first the time, then these columns.
pub(crate) fn insert_sample(id: i64, columns: &[Quantity]) -> String {
    let (mut names, mut places) = ("time".to_owned(), "?".to_owned());
    for quantity in columns {
        names += ", ";
        names += &quoted(quantity.name());
        places += ", ?";
    }
    format!(
        "INSERT INTO {} ({names}) VALUES ({places}) ON CONFLICT DO NOTHING",
        samples(id)
    )
}

/// Writes a bucket, in place of the one that is there or only if there is none: key, then [`bucket_columns`].
pub(crate) fn write_bucket(level: Level, id: i64, replace: bool) -> String {
    let columns: Vec<String> = bucket_columns()
        .iter()
        .map(|column| quoted(column))
        .collect();
    let places = ", ?".repeat(columns.len());
    let replaced: Vec<String> = columns
        .iter()
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    let conflict = if replace {
        format!("UPDATE SET {}", replaced.join(", "))
    } else {
        "NOTHING".to_owned()
    };
    format!(
        "INSERT INTO {} (\"begin\", {}) VALUES (?{places}) ON CONFLICT (\"begin\") DO {conflict}",
        buckets(level, id),
        columns.join(", ")
    )
}

/// The counter of the day that goes with a total.
pub(crate) fn today(total: Quantity) -> Option<Quantity> {
    Quantity::ALL
        .iter()
        .copied()
        .find(|quantity| quantity.description().role == Role::Today { of: total })
}

/// A quantity's raw integer in a row of an inverter's samples, as SQL.
pub(crate) fn sample_value(id: i64, quantity: Quantity) -> String {
    let column = quoted(quantity.name());
    match today(quantity) {
        Some(today) => format!(
            "{column} + coalesce({} + (SELECT base FROM base WHERE inverter = {id} AND quantity = '{quantity}' \
             AND since <= time ORDER BY since DESC LIMIT 1), 0)",
            quoted(today.name())
        ),
        None => column,
    }
}

/// A column's name that no keyword and no sign in it can spoil.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
