//! Opening a file brings it up to date: what is missing is made, and what that leaves to be computed is noted.
//!
//! All of it is quick, whatever the size of the file, so that readings are written at once.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use crate::columns::names;
use crate::failure::Failure;
use crate::level::Level;
use crate::schema;
use crate::settings::Settings;
use crate::sums::{Source, Sums, mark_stale};
use crate::views;

/// Refuses a file that is another program's, or a later version's, before anything in it is changed; gives the version
/// that has written it.
pub(crate) fn check_owner(connection: &Connection) -> Result<i32, Failure> {
    let owner = number(connection, "application_id")?;
    let version = number(connection, "user_version")?;
    let is_empty: bool = connection.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)",
        [],
        |row| row.get(0),
    )?;
    if owner != schema::APPLICATION_ID && !(owner == 0 && is_empty) {
        return Err(Failure::Unfit(format!(
            "is another program's database (application id {owner:#x}, not {:#x}); set another `path`",
            schema::APPLICATION_ID
        )));
    }
    if version > schema::VERSION {
        return Err(Failure::Unfit(format!(
            "was written by a later version of this program (schema {version}, this one knows {}); \
             install that version again, or set another `path`",
            schema::VERSION
        )));
    }
    Ok(version)
}

/// Makes what is missing in the file: all of it, or what has come with a version or the columns by which the catalogue
/// has grown. Gives the columns that every inverter's samples have now; a later version's, which this one does not
/// know, are among them.
pub(crate) fn widen(
    connection: &mut Connection,
    settings: &Settings,
) -> rusqlite::Result<Vec<String>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = number(&transaction, "user_version")?;
    transaction.execute_batch(schema::TABLES)?;
    let inverters = inverters(&transaction)?;
    let mut columns: Vec<String> = schema::stored()
        .map(|quantity| quantity.name().to_owned())
        .collect();
    for id in &inverters {
        for column in names(&transaction, &schema::samples(*id))? {
            if column != "time" && !columns.contains(&column) {
                columns.push(column);
            }
        }
    }
    for id in &inverters {
        make_tables(&transaction, *id, &columns)?;
    }
    let has_new_zone = settings.keep(&transaction)?;
    for id in &inverters {
        let source = match version {
            ..2 => Source::Samples,
            _ if has_new_zone => Source::FiveMinutes,
            _ => continue,
        };
        if let Some(sums) = Sums::load(&transaction, settings, *id)? {
            mark_stale(&transaction, *id, source, sums.extent()?)?;
        }
    }
    refresh_views(&transaction, &inverters, &columns)?;
    for (pragma, value) in [
        ("application_id", schema::APPLICATION_ID),
        ("user_version", schema::VERSION),
    ] {
        if number(&transaction, pragma)? != value {
            transaction.pragma_update(None, pragma, value)?;
        }
    }
    transaction.commit()?;
    Ok(columns)
}

/// Makes an inverter's tables, or the columns that they have not.
pub(crate) fn make_tables(
    connection: &Connection,
    id: i64,
    columns: &[String],
) -> rusqlite::Result<()> {
    connection.execute_batch(&schema::create_samples(id, columns))?;
    add_missing(connection, &schema::samples(id), columns)?;
    let columns = schema::bucket_columns();
    for level in Level::ALL {
        connection.execute_batch(&schema::create_buckets(level, id, &columns))?;
        add_missing(connection, &schema::buckets(level, id), &columns)?;
    }
    Ok(())
}

/// Adds the columns that a table has not.
pub(crate) fn add_missing(
    connection: &Connection,
    table: &str,
    columns: &[String],
) -> rusqlite::Result<()> {
    let there = names(connection, table)?;
    for column in columns.iter().filter(|column| !there.contains(column)) {
        connection.execute_batch(&schema::add_column(table, column))?;
    }
    Ok(())
}

/// The inverters that have tables.
pub(crate) fn inverters(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare("SELECT id FROM inverter ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Makes the views what they should be.
pub(crate) fn refresh_views(
    connection: &Connection,
    inverters: &[i64],
    columns: &[String],
) -> rusqlite::Result<()> {
    refresh(
        connection,
        "sample",
        &views::sample_view(inverters, columns),
    )?;
    // A later version's view shows more than this one could.
    let is_ours = columns.iter().all(|column| views::knows(column));
    if is_ours || view(connection, "readings")?.is_none() {
        refresh(connection, "readings", &views::readings_view(columns))?;
    }
    for level in Level::ALL {
        let name = views::buckets_view_name(level);
        refresh(connection, &name, &views::buckets_view(level, inverters))?;
    }
    Ok(())
}

/// Makes a view what it should be; a file where nothing has changed is not written to.
fn refresh(connection: &Connection, name: &str, sql: &str) -> rusqlite::Result<()> {
    if view(connection, name)?.as_deref() == Some(sql) {
        return Ok(());
    }
    connection.execute_batch(&format!("DROP VIEW IF EXISTS {name}; {sql}"))
}

/// The SQL of a view that is there.
fn view(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare("SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ?")?
        .query_row([name], |row| row.get(0))
        .optional()
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}
