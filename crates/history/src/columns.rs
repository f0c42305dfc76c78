//! The columns of a table of samples that some quantities need, and rows as values.

use kstar_model::catalogue::{Derivation, Quantity, Values};
use kstar_model::counted::{Amounts, COUNTERS};
use rusqlite::{Connection, Row, Statement};

use crate::schema;

/// The columns that some quantities need, of those that the file has.
pub(crate) struct Columns {
    id: i64,
    /// What the file has.
    there: Vec<String>,
    quantities: Vec<Quantity>,
    /// The counters of which is read how much was counted.
    counters: Vec<Quantity>,
}

impl Columns {
    pub(crate) fn of(
        connection: &Connection,
        id: i64,
        quantities: &[Quantity],
    ) -> rusqlite::Result<Self> {
        let there = names(connection, &schema::samples(id))?;
        let mut needed = Vec::new();
        for quantity in quantities {
            sources(*quantity, &mut needed);
        }
        needed.retain(|quantity| schema::sample_value(id, *quantity, &there).is_some());
        Ok(Self {
            id,
            there,
            quantities: needed,
            counters: Vec::new(),
        })
    }

    /// The same, and what was counted of these counters: for [`counted`](Self::counted).
    pub(crate) fn with_counted(self, wanted: impl Fn(Quantity) -> bool) -> Self {
        let counters = COUNTERS.into_iter().filter(|counter| {
            let column = schema::counted(*counter);
            wanted(*counter) && self.there.contains(&column)
        });
        Self {
            counters: counters.collect(),
            ..self
        }
    }

    /// Asks for samples: the rows are for [`read`](Self::read).
    pub(crate) fn select<'a>(
        &self,
        connection: &'a Connection,
        condition: &str,
    ) -> rusqlite::Result<Statement<'a>> {
        connection.prepare(&self.query(condition))
    }

    /// The question behind [`select`](Self::select).
    pub(crate) fn query(&self, condition: &str) -> String {
        let mut values = "time".to_owned();
        for quantity in &self.quantities {
            values += ", ";
            values += &schema::sample_value(self.id, *quantity, &self.there)
                .unwrap_or_else(|| "NULL".to_owned());
        }
        for counter in &self.counters {
            values += ", ";
            values += &schema::quoted(&schema::counted(*counter));
        }
        values += if self.there.iter().any(|column| column == schema::ACCOUNT) {
            ", account"
        } else {
            ", NULL"
        };
        format!(
            "SELECT {values} FROM {} {condition}",
            schema::samples(self.id)
        )
    }

    /// The time and the values of a row, with what follows from them.
    pub(crate) fn read(&self, row: &Row<'_>) -> rusqlite::Result<(i64, Values)> {
        let mut values = Values::default();
        for (index, quantity) in (1..).zip(&self.quantities) {
            values.set_raw(*quantity, row.get(index)?);
        }
        values.derive();
        Ok((row.get(0)?, values))
    }

    /// What was counted since the reading before, and by which account where that is told.
    pub(crate) fn counted(&self, row: &Row<'_>) -> rusqlite::Result<(Amounts, Option<i64>)> {
        let mut amounts = Amounts::default();
        let first = 1 + self.quantities.len();
        for (index, counter) in (first..).zip(&self.counters) {
            amounts.set(*counter, row.get(index)?);
        }
        Ok((amounts, row.get(first + self.counters.len())?))
    }
}

/// A quantity, and those that it follows from.
fn sources(quantity: Quantity, needed: &mut Vec<Quantity>) {
    if needed.contains(&quantity) {
        return;
    }
    needed.push(quantity);
    match quantity.description().derivation {
        None => {}
        Some(Derivation::Product(one, other) | Derivation::Sum(one, other)) => {
            sources(one, needed);
            sources(other, needed);
        }
        Some(Derivation::Positive(of) | Derivation::Negative(of) | Derivation::Bits(of)) => {
            sources(of, needed);
        }
    }
}

/// The names of a table's columns; none if there is no such table.
pub(crate) fn names(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT name FROM pragma_table_info(?)")?
        .query_map([table], |row| row.get(0))?
        .collect()
}
