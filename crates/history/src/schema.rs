//! The tables of the file, made from the catalogue; `views` shows them in physical units.
//!
//! Each inverter has a table of its own, `sample_<id>`, whose rowid is the time. That is the least that SQLite can
//! hold: each table grows only at its end, so that its pages are full, and neither the inverter nor an index costs a
//! byte per row. (Measured with readings of a KSE: 105 bytes a row; one table with the key (inverter, time) takes 117,
//! with an index beside it 125. A rowid made of time and inverter takes 106, but then a question about a time span
//! reads the whole history.)
//!
//! Stored is what was measured, as integers in the quantity's resolution; what follows from it is computed. A table gets a
//! column when its inverter first sends the quantity, for one that is always NULL costs a byte in every row; a table of
//! buckets gets its columns with it. A derived quantity has a column only where an inverter has told it itself, in samples in
//! which it does not follow from the others; what is told there takes precedence.
//!
//! What a counter has counted in all is what it has counted today and what it was at midnight. The latter stands in
//! `base`, a few rows a day, and the total's column holds by how much it differs from that: nearly always by 0 or 1, for
//! which SQLite needs no byte beyond the row's header. So totals are exact and cost next to nothing. The meter's totals do
//! not even have a column, unless one ever differs.
//!
//! Energy is what `..._counted` holds: how much anyone who counted has counted since the reading before. What of it belongs to
//! another time than the reading's stands in `spread`. Totals are only shown; nothing is computed from them.

use kstar_common::sqlite_file::Owner;
use kstar_model::catalogue::{Derivation, Group, Quantity, Role};
use kstar_model::counted::{COUNTERS, is_counted};

use crate::level::Level;
use crate::rollup::Summing;

/// "kstr", so that `file history.db` and this program can tell whose file it is. The version rises only when one that knows
/// the old form cannot write the new one; a new column is no such change.
/// 2: buckets, and totals as differences. 3: what was counted since the reading before.
pub(crate) const OWNER: Owner = Owner {
    application_id: 0x6b73_7472,
    version: 3,
};

/// In the column of a total that does without one as a rule: there is no total, though there is a counter of the day. As a
/// base: from then on there is none.
pub(crate) const NO_TOTAL: i64 = i64::MIN;

/// The column that tells which account has counted, in a table where more than one has.
pub(crate) const ACCOUNT: &str = "account";

/// The tables that every file has.
///
/// - `inverter`: who the inverters are; serial and model are the latest that are known;
/// - `setting`: what those who ask the file must know of the program that writes it;
/// - `base`: what a total was when its counter of the day began, for samples since a moment;
/// - `account`: who has counted, by a random number that is made with the energy counters, or by an import. Samples without
///   an account are of the first one that is no import;
/// - `spread`: what the reading of a time tells to have been counted in a span before it;
/// - `step`: where the clock went back by more than a day, and how much time really passed, if that is known;
/// - `stale`: where buckets have to be computed, from `samples` or, where these are in order, from `five_minutes`; and where
///   samples of an earlier version are still `uncounted`;
/// - `recount`: what that has come to so far, before and after;
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
CREATE TABLE IF NOT EXISTS account (
  id INTEGER PRIMARY KEY,
  inverter INTEGER NOT NULL,
  account INTEGER NOT NULL,
  imported INTEGER NOT NULL,
  longest_gap INTEGER,
  UNIQUE (inverter, account)
);
CREATE TABLE IF NOT EXISTS spread (
  inverter INTEGER NOT NULL,
  \"end\" INTEGER NOT NULL,
  time INTEGER NOT NULL,
  quantity TEXT NOT NULL,
  \"begin\" INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (inverter, \"end\", time, quantity)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS step (
  inverter INTEGER NOT NULL,
  since INTEGER NOT NULL,
  \"from\" INTEGER NOT NULL,
  passed INTEGER,
  PRIMARY KEY (inverter, since)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recount (
  inverter INTEGER NOT NULL,
  quantity TEXT NOT NULL,
  before INTEGER NOT NULL,
  after INTEGER NOT NULL,
  PRIMARY KEY (inverter, quantity)
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

/// The quantities that have a column where an inverter sends them.
pub(crate) fn stored() -> impl Iterator<Item = Quantity> {
    Quantity::ALL
        .iter()
        .copied()
        .filter(|quantity| !follows(*quantity) && !is_metered(*quantity))
}

/// Whether a quantity has a column only where it does not follow from others.
pub(crate) fn follows(quantity: Quantity) -> bool {
    quantity.description().derivation.is_some()
}

/// Whether a quantity is a total of the meter: it has a column only where it is not what its counter of the day and its
/// base come to, for the meter tells the two together.
pub(crate) fn is_metered(quantity: Quantity) -> bool {
    quantity.description().group == Group::Meter && is_counted(quantity)
}

/// The column with what was counted of a counter since the reading before.
pub(crate) fn counted(counter: Quantity) -> String {
    format!("{counter}_counted")
}

/// The columns with what was counted, one for each counter.
pub(crate) fn counted_columns() -> impl Iterator<Item = String> {
    COUNTERS.into_iter().map(counted)
}

/// The columns for what was counted that a table of an earlier version lacks: its counters and those of the meter, whose
/// totals may follow from powers.
pub(crate) fn uncounted(there: &[String]) -> Vec<String> {
    COUNTERS
        .into_iter()
        .filter(|counter| is_metered(*counter) || there.iter().any(|name| name == counter.name()))
        .map(counted)
        .collect()
}

/// The counters of which a table of samples with these columns has what was counted.
pub(crate) fn counters(there: &[String]) -> Vec<Quantity> {
    let has_counted = |counter: &Quantity| there.contains(&counted(*counter));
    COUNTERS.into_iter().filter(has_counted).collect()
}

/// Whether this version knows a column of samples.
pub(crate) fn knows(column: &str) -> bool {
    Quantity::from_name(column).is_some()
        || column == ACCOUNT
        || counted_columns().any(|counted| counted == column)
}

/// The counter that tells how much a quantity has counted: for a counter of the day, the one that does not start anew.
pub(crate) fn counter_of(quantity: Quantity) -> Quantity {
    match quantity.description().role {
        Role::Today { of } => of,
        _ => quantity,
    }
}

/// The name of the table with an inverter's samples.
pub(crate) fn samples(id: i64) -> String {
    format!("sample_{id}")
}

/// The name of the table with an inverter's buckets.
pub(crate) fn buckets(level: Level, id: i64) -> String {
    format!("bucket_{}_{id}", level.name())
}

/// The key of a table of samples; its other columns come with what the inverter sends.
pub(crate) const SAMPLE_KEY: &str = "time";

/// The key of a table of buckets.
pub(crate) const BUCKET_KEY: &str = "begin";

/// Makes a table.
pub(crate) fn create(table: &str, key: &str, columns: &[String]) -> String {
    let columns: Vec<String> = std::iter::once(format!("  {} INTEGER PRIMARY KEY", quoted(key)))
        .chain(
            columns
                .iter()
                .map(|column| format!("  {} INTEGER", quoted(column))),
        )
        .collect();
    format!("CREATE TABLE {table} (\n{}\n)", columns.join(",\n"))
}

/// Adds a column to a table.
pub(crate) fn add_column(table: &str, column: &str) -> String {
    format!("ALTER TABLE {table} ADD COLUMN {} INTEGER", quoted(column))
}

/// The columns of a table of buckets beside its key, where these quantities are summed up. The offset is that of the local
/// clock at the begin, in seconds east of UTC.
pub(crate) fn bucket_columns(summed: &[Quantity]) -> Vec<String> {
    ["utc_offset", "samples", "covered"]
        .into_iter()
        .map(str::to_owned)
        .chain(summed.iter().copied().flat_map(sums))
        .collect()
}

/// The quantities that have sums of their own, of those that a table of samples with these columns tells.
pub(crate) fn summed(there: &[String]) -> Vec<Quantity> {
    let has_sums = |quantity: &Quantity| {
        Summing::of(*quantity).is_some() && counter_of(*quantity) == *quantity
    };
    Quantity::ALL
        .iter()
        .copied()
        .filter(|quantity| has_sums(quantity) && tells(there, *quantity))
        .collect()
}

/// Whether a table of samples with these columns tells a quantity: by a column, or by those that it follows from.
fn tells(there: &[String], quantity: Quantity) -> bool {
    let has = |name: &str| there.iter().any(|column| column == name);
    let follows = match quantity.description().derivation {
        None => false,
        Some(Derivation::Product(one, other) | Derivation::Sum(one, other)) => {
            tells(there, one) && tells(there, other)
        }
        Some(Derivation::Positive(of) | Derivation::Negative(of) | Derivation::Bits(of)) => {
            tells(there, of)
        }
    };
    follows || has(quantity.name()) || is_counted(quantity) && has(&counted(quantity))
}

/// The columns of a quantity's sums: mean, least and most, or growth. None for modes and flags.
pub(crate) fn sums(quantity: Quantity) -> Vec<String> {
    let suffixes: &[&str] = match Summing::of(quantity) {
        Some(Summing::Measured) => &["mean", "min", "max"],
        Some(Summing::Counted) => &["growth"],
        None => &[],
    };
    let quantity = counter_of(quantity);
    suffixes
        .iter()
        .map(|suffix| format!("{quantity}_{suffix}"))
        .collect()
}

/// Adds a row, unless there is one of that time: first the time, then these columns.
pub(crate) fn insert_sample(id: i64, columns: impl IntoIterator<Item = String>) -> String {
    let (mut names, mut places) = ("time".to_owned(), "?".to_owned());
    for column in columns {
        names += ", ";
        names += &quoted(&column);
        places += ", ?";
    }
    format!(
        "INSERT INTO {} ({names}) VALUES ({places}) ON CONFLICT DO NOTHING",
        samples(id)
    )
}

/// Writes a bucket, in place of the one that is there or only if there is none: key, then [`bucket_columns`].
pub(crate) fn write_bucket(level: Level, id: i64, summed: &[Quantity], replace: bool) -> String {
    let columns: Vec<String> = bucket_columns(summed)
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

/// A quantity's raw integer in a row of an inverter's samples, as SQL; none if the table has nothing that tells it.
pub(crate) fn sample_value(id: i64, quantity: Quantity, columns: &[String]) -> Option<String> {
    let has = |quantity: Quantity| columns.iter().any(|column| column == quantity.name());
    let column = quoted(quantity.name());
    let Some(today) = today(quantity).filter(|today| has(*today)) else {
        return has(quantity).then_some(column);
    };
    let follows = format!(
        "{} + (SELECT nullif(base, {NO_TOTAL}) FROM base WHERE inverter = {id} AND quantity = '{quantity}' \
         AND since <= time ORDER BY since DESC LIMIT 1)",
        quoted(today.name())
    );
    match (has(quantity), is_metered(quantity)) {
        (true, false) => Some(format!("{column} + coalesce({follows}, 0)")),
        (true, true) => Some(format!(
            "CASE WHEN {column} IS NULL THEN {follows} WHEN {column} != {NO_TOTAL} \
             THEN {column} + coalesce({follows}, 0) END"
        )),
        (false, true) => Some(follows),
        (false, false) => None,
    }
}

/// A column's name that no keyword and no sign in it can spoil.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
