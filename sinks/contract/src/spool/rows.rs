//! The rows of a spool: readings as the file has them, with what it has numbers for.

use std::collections::HashMap;
use std::sync::Arc;

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::Counted;
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::row;
use crate::carried::{Carried, taken_over};

/// What was let go of.
#[derive(Default)]
pub(super) struct Dropped {
    pub(super) readings: u64,
    /// What they have counted that no reading in the file could take over.
    pub(super) carried: Carried,
}

impl Dropped {
    pub(super) fn append(&mut self, other: Self) {
        self.readings += other.readings;
        self.carried.append(other.carried);
    }
}

/// What numbers in the rows stand for, and up to which row they were borrowed.
pub(super) struct Rows {
    numbers: HashMap<Quantity, u64>,
    quantities: HashMap<u64, Quantity>,
    inverters: HashMap<i64, Arc<Inverter>>,
    /// Everything up to this number was borrowed once.
    pub(super) offered: i64,
}

impl Rows {
    /// Gives each quantity a number, where the file has none for it yet.
    pub(super) fn new(transaction: &Transaction<'_>, offered: i64) -> rusqlite::Result<Self> {
        let mut numbers = HashMap::new();
        for quantity in Quantity::ALL {
            let select = "SELECT id FROM quantity WHERE name = ?";
            let number = transaction
                .prepare_cached(select)?
                .query_row([quantity.name()], |row| row.get(0))
                .optional()?;
            let number = match number {
                Some(number) => number,
                None => transaction
                    .prepare_cached("INSERT INTO quantity (name) VALUES (?) RETURNING id")?
                    .query_row([quantity.name()], |row| row.get(0))?,
            };
            numbers.insert(*quantity, number);
        }
        Ok(Self {
            quantities: numbers
                .iter()
                .map(|(quantity, number)| (*number, *quantity))
                .collect(),
            numbers,
            inverters: HashMap::new(),
            offered,
        })
    }

    /// A number that no reading had that was borrowed: one that is reused would pass for borrowed as well.
    pub(super) fn next_id(&self, transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
        let last: Option<i64> = transaction
            .prepare_cached("SELECT max(id) FROM reading")?
            .query_row([], |row| row.get(0))?;
        Ok(last.unwrap_or(0).max(self.offered).saturating_add(1))
    }

    /// The number of the inverter, the values and what was counted, as a row has them.
    pub(super) fn encode<Time>(
        &mut self,
        transaction: &Transaction<'_>,
        reading: &Reading<Time>,
    ) -> rusqlite::Result<(i64, Vec<u8>, Option<Vec<u8>>)> {
        let number = |quantity| self.numbers.get(&quantity).copied();
        let values = row::encode(&reading.values, number);
        let counted = reading.counted.as_ref();
        let counted = counted.map(|counted| row::encode_counted(counted, number));
        Ok((
            self.number(transaction, &reading.inverter)?,
            values,
            counted,
        ))
    }

    /// The values; `None` if nobody can read them.
    pub(super) fn values(&self, row: ValueRef<'_>) -> Option<Values> {
        row::decode(row.as_blob().ok()?, |number| {
            self.quantities.get(&number).copied()
        })
    }

    /// What a row has counted; what is damaged is lost.
    pub(super) fn counted(&self, counted: ValueRef<'_>) -> Option<Counted> {
        row::decode_counted(counted.as_blob().ok()?, |number| {
            self.quantities.get(&number).copied()
        })
    }

    pub(super) fn insert(
        &mut self,
        transaction: &Transaction<'_>,
        id: i64,
        reading: &Reading,
        offered: bool,
    ) -> rusqlite::Result<()> {
        let (inverter, values, counted) = self.encode(transaction, reading)?;
        transaction
            .prepare_cached(
                "INSERT INTO reading (id, time, inverter, row, counted, offered) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![id, reading.time.0, inverter, values, counted, offered])?;
        Ok(())
    }

    /// Drops the oldest readings that were never borrowed, and hands on what they have counted. Only where there are none
    /// others go, with what they have counted: it may have been delivered.
    pub(super) fn drop_oldest(
        &mut self,
        transaction: &Transaction<'_>,
        count: u64,
    ) -> rusqlite::Result<Dropped> {
        let select = |condition: &str| -> rusqlite::Result<Vec<i64>> {
            transaction
                .prepare_cached(&format!(
                    "SELECT id FROM reading WHERE {condition} ORDER BY id LIMIT ?2"
                ))?
                .query_map(params![self.offered, count], |row| row.get(0))?
                .collect()
        };
        let fresh = select("id > ?1 AND offered = 0")?;
        if !fresh.is_empty() {
            return self.drop(transaction, &fresh);
        }
        let offered = select("id <= ?1 OR offered <> 0")?;
        delete(transaction, &offered)?;
        Ok(Dropped {
            readings: offered.len() as u64,
            carried: Carried::default(),
        })
    }

    /// Drops readings, and hands on what they have counted to the next ones that were never borrowed; gives what is left
    /// for later ones.
    pub(super) fn drop(
        &mut self,
        transaction: &Transaction<'_>,
        ids: &[i64],
    ) -> rusqlite::Result<Dropped> {
        let mut carried = Carried::default();
        let mut select = transaction
            .prepare_cached("SELECT time, inverter, counted FROM reading WHERE id = ?")?;
        for id in ids {
            let (time, number, counted) = select.query_row([id], |row| {
                let counted = self.counted(row.get_ref(2)?);
                Ok((UnixMillis(row.get(0)?), row.get(1)?, counted))
            })?;
            if let Some(counted) = counted
                && let Some(inverter) = self.inverter(transaction, number)?
            {
                carried.put(&inverter.name, time, counted);
            }
        }
        delete(transaction, ids)?;
        let mut next = transaction.prepare_cached(
            "SELECT id, time, counted FROM reading WHERE id > ? AND offered = 0 \
             AND inverter IN (SELECT id FROM inverter WHERE name = ?) ORDER BY id LIMIT 1",
        )?;
        let mut update =
            transaction.prepare_cached("UPDATE reading SET counted = ? WHERE id = ?")?;
        let number = |quantity| self.numbers.get(&quantity).copied();
        carried.try_give(|inverter, before, dropped| {
            let next = next
                .query_row(params![self.offered, inverter], |row| {
                    let own = self.counted(row.get_ref(2)?);
                    Ok((row.get::<_, i64>(0)?, UnixMillis(row.get(1)?), own))
                })
                .optional()?;
            let Some((id, time, own)) = next else {
                return Ok(false);
            };
            let all = taken_over(own, time, dropped, before);
            update.execute(params![row::encode_counted(&all, number), id])?;
            Ok::<_, rusqlite::Error>(true)
        })?;
        Ok(Dropped {
            readings: ids.len() as u64,
            carried,
        })
    }

    /// The number of an inverter with just this serial and model.
    fn number(
        &mut self,
        connection: &Connection,
        inverter: &Arc<Inverter>,
    ) -> rusqlite::Result<i64> {
        let known = self.inverters.iter().find(|(_, other)| *other == inverter);
        if let Some((number, _)) = known {
            return Ok(*number);
        }
        let identity = params![inverter.name, inverter.serial, inverter.model];
        let number = connection
            .prepare_cached(
                "SELECT id FROM inverter WHERE name = ? AND serial IS ? AND model IS ?",
            )?
            .query_row(identity, |row| row.get(0))
            .optional()?;
        let number = match number {
            Some(number) => number,
            None => connection
                .prepare_cached(
                    "INSERT INTO inverter (name, serial, model) VALUES (?, ?, ?) RETURNING id",
                )?
                .query_row(identity, |row| row.get(0))?,
        };
        self.inverters.insert(number, Arc::clone(inverter));
        Ok(number)
    }

    /// The inverter of that number; all its readings share one.
    pub(super) fn inverter(
        &mut self,
        connection: &Connection,
        number: i64,
    ) -> rusqlite::Result<Option<Arc<Inverter>>> {
        if let Some(inverter) = self.inverters.get(&number) {
            return Ok(Some(Arc::clone(inverter)));
        }
        let found = connection
            .prepare_cached("SELECT name, serial, model FROM inverter WHERE id = ?")?
            .query_row([number], |row| {
                Ok(Arc::new(Inverter {
                    name: row.get(0)?,
                    serial: row.get(1)?,
                    model: row.get(2)?,
                }))
            })
            .optional()?;
        if let Some(inverter) = &found {
            self.inverters.insert(number, Arc::clone(inverter));
        }
        Ok(found)
    }
}

fn delete(transaction: &Transaction<'_>, ids: &[i64]) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM reading WHERE id = ?")?;
    for id in ids {
        delete.execute([id])?;
    }
    Ok(())
}
