//! Opening a file brings it up to date: what is missing is made, and what that leaves to be computed is noted.
//!
//! All of it is quick, whatever the size of the file, so that readings are written at once.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use crate::columns::names;
use crate::level::Level;
use crate::schema;
use crate::settings::Settings;
use crate::stale::{Source, mark_stale};
use crate::sums::Sums;
use crate::views;

/// Makes what is missing in the file: all of it, or what has come with a version.
pub(crate) fn widen(connection: &mut Connection, settings: &Settings) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    transaction.execute_batch(schema::TABLES)?;
    let inverters = inverters(&transaction)?;
    for id in &inverters {
        if version < schema::OWNER.version {
            let there = names(&transaction, &schema::samples(*id))?;
            make_samples(&transaction, *id, &schema::uncounted(&there))?;
        }
        make_tables(&transaction, *id)?;
    }
    let has_new_zone = settings.keep(&transaction)?;
    for id in &inverters {
        let Some(sums) = Sums::load(&transaction, settings, *id)? else {
            continue;
        };
        let extent = sums.extent()?;
        if version < schema::OWNER.version {
            mark_stale(&transaction, *id, Source::Uncounted, extent.clone())?;
        }
        if has_new_zone {
            mark_stale(&transaction, *id, Source::FiveMinutes, extent)?;
        }
    }
    refresh_views(&transaction)?;
    if version < schema::OWNER.version {
        transaction.pragma_update(None, "application_id", schema::OWNER.application_id)?;
        transaction.pragma_update(None, "user_version", schema::OWNER.version)?;
    }
    transaction.commit()
}

/// Makes an inverter's table of samples, or the columns that it has not.
pub(crate) fn make_samples(
    connection: &Connection,
    id: i64,
    columns: &[String],
) -> rusqlite::Result<()> {
    make_table(
        connection,
        &schema::samples(id),
        schema::SAMPLE_KEY,
        columns,
    )
}

/// Makes an inverter's tables, or the columns that those of its buckets have not.
pub(crate) fn make_tables(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    make_samples(connection, id, &[])?;
    let summed = schema::summed(&names(connection, &schema::samples(id))?);
    let columns = schema::bucket_columns(&summed);
    for level in Level::ALL {
        let table = schema::buckets(level, id);
        make_table(connection, &table, schema::BUCKET_KEY, &columns)?;
    }
    Ok(())
}

fn make_table(
    connection: &Connection,
    table: &str,
    key: &str,
    columns: &[String],
) -> rusqlite::Result<()> {
    let mut all = names(connection, table)?;
    let is_there = !all.is_empty();
    all.retain(|column| column != key);
    let missing: Vec<String> = columns
        .iter()
        .filter(|column| !all.contains(column))
        .cloned()
        .collect();
    if is_there && missing.is_empty() {
        return Ok(());
    }
    if is_there && !is_empty(connection, table)? {
        for column in &missing {
            connection.execute_batch(&schema::add_column(table, column))?;
        }
        return Ok(());
    }
    // SQLite reads its whole schema again for each column that is added, so a table without rows is made anew.
    all.extend(missing);
    connection.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))?;
    connection.execute_batch(&schema::create(table, key, &all))
}

fn is_empty(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        &format!("SELECT NOT EXISTS (SELECT 1 FROM {table})"),
        [],
        |row| row.get(0),
    )
}

/// The inverters that have tables.
pub(crate) fn inverters(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare("SELECT id FROM inverter ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Makes the views what they should be.
pub(crate) fn refresh_views(connection: &Connection) -> rusqlite::Result<()> {
    let inverters = inverters(connection)?;
    let mut tables = Vec::with_capacity(inverters.len());
    for id in &inverters {
        tables.push((*id, names(connection, &schema::samples(*id))?));
    }
    refresh(connection, "sample", &views::sample_view(&tables))?;
    // A later version's view shows more than this one could.
    let columns = views::sample_columns(&tables);
    let is_ours = columns.iter().all(|column| schema::knows(column));
    if is_ours || view(connection, "readings")?.is_none() {
        refresh(connection, "readings", &views::readings_view(&columns))?;
    }
    let mut tables = Vec::with_capacity(inverters.len());
    for id in &inverters {
        // Those of the longer buckets have the same columns.
        let buckets = schema::buckets(Level::FiveMinutes, *id);
        tables.push((*id, names(connection, &buckets)?));
    }
    for level in Level::ALL {
        let name = views::buckets_view_name(level);
        refresh(connection, &name, &views::buckets_view(level, &tables))?;
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
