//! Who has counted the energy of an inverter, and whose amounts count where two have counted the same time.
//!
//! A collector has one account for an inverter, which outlives restarts and an exchange of the machine. Another one comes
//! with a lost state folder, a second collector, or an import. Where two cover the same time they have counted the same
//! energy twice: what was counted live counts before what was imported, else the account that began first.

use std::ops::Range;

use kstar_model::TimeZone;
use kstar_model::counted::{AccountId, Counted};
use kstar_model::time::millis;
use rusqlite::{Connection, Transaction};

use crate::level::{Level, add_span};
use crate::schema;
use crate::settings::Settings;
use crate::spread;

/// The accounts of an inverter.
pub(crate) struct Accounts {
    all: Vec<Account>,
    /// Whether the samples have a column that tells the account.
    has_column: bool,
    /// The columns with what was counted, for SQL.
    counted: Vec<String>,
    /// Samples further apart than this do not cover the time between them, anyone who told them.
    longest_gap: i64,
    /// The account of the newest sample.
    newest: Option<i64>,
}

struct Account {
    row: i64,
    id: AccountId,
    imported: bool,
    longest_gap: Option<i64>,
}

/// How readings come into the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// Whether they are brought from elsewhere, and not from a collector that has just read them.
    pub imported: bool,
    /// How far they may be apart and still cover the time between them, in milliseconds, where they are not the collector's.
    pub longest_gap: Option<i64>,
}

impl Origin {
    /// From a collector.
    pub(crate) const LIVE: Self = Self {
        imported: false,
        longest_gap: None,
    };
}

impl Accounts {
    pub(crate) fn load(
        connection: &Connection,
        id: i64,
        columns: &[String],
        settings: &Settings,
    ) -> rusqlite::Result<Self> {
        let all = connection
            .prepare_cached(
                "SELECT id, account, imported, longest_gap FROM account WHERE inverter = ? ORDER BY id",
            )?
            .query_map([id], |row| {
                Ok(Account {
                    row: row.get(0)?,
                    id: AccountId(row.get(1)?),
                    imported: row.get(2)?,
                    longest_gap: row.get(3)?,
                })
            })?
            .collect::<rusqlite::Result<Vec<Account>>>()?;
        let mut accounts = Self {
            all,
            counted: schema::counted_columns()
                .filter(|column| columns.contains(column))
                .map(|column| schema::quoted(&column))
                .collect(),
            has_column: columns.iter().any(|column| column == schema::ACCOUNT),
            longest_gap: settings.longest_gap,
            newest: None,
        };
        accounts.newest = accounts.of_newest(connection, id, settings.apart)?;
        Ok(accounts)
    }

    /// The account of the newest sample that tells what was counted.
    fn of_newest(
        &self,
        connection: &Connection,
        id: i64,
        apart: i64,
    ) -> rusqlite::Result<Option<i64>> {
        if !self.has_column {
            return Ok(self.usual());
        }
        let table = schema::samples(id);
        let mut select = connection.prepare_cached(&format!(
            "SELECT account FROM {table} WHERE time < ? ORDER BY time DESC LIMIT 1"
        ))?;
        let mut rows = select.query([apart])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        Ok(row.get::<_, Option<i64>>(0)?.or(self.usual()))
    }

    /// The account of samples that tell none.
    fn usual(&self) -> Option<i64> {
        let live = self.all.iter().find(|account| !account.imported);
        live.map(|account| account.row)
    }

    pub(crate) fn is_usual(&self, row: i64) -> bool {
        self.usual() == Some(row)
    }

    pub(crate) fn has_column(&self) -> bool {
        self.has_column
    }

    /// Whether samples of this account need a column to tell it.
    pub(crate) fn needs_column(&self, row: i64) -> bool {
        !self.has_column && !self.is_usual(row)
    }

    /// The number of an account in the file; makes it known if it is new.
    pub(crate) fn row_of(
        &mut self,
        connection: &Connection,
        inverter: i64,
        account: AccountId,
        origin: Origin,
    ) -> rusqlite::Result<i64> {
        if let Some(known) = self.all.iter().find(|known| known.id == account) {
            return Ok(known.row);
        }
        let row = connection
            .prepare_cached(
                "INSERT INTO account (inverter, account, imported, longest_gap) VALUES (?, ?, ?, ?) RETURNING id",
            )?
            .query_row(
                (inverter, account.0, origin.imported, origin.longest_gap),
                |row| row.get(0),
            )?;
        self.all.push(Account {
            row,
            id: account,
            imported: origin.imported,
            longest_gap: origin.longest_gap,
        });
        Ok(row)
    }

    /// How far samples of an account may be apart and still cover the time between them.
    pub(crate) fn gap_of(&self, row: Option<i64>) -> i64 {
        let account = row.and_then(|row| self.all.iter().find(|account| account.row == row));
        account
            .and_then(|account| account.longest_gap)
            .unwrap_or(self.longest_gap)
    }

    /// The largest of these.
    pub(crate) fn longest_gap(&self) -> i64 {
        let gaps = self.all.iter().filter_map(|account| account.longest_gap);
        gaps.fold(self.longest_gap, i64::max)
    }

    /// Another collector's account that has the newest sample.
    pub(crate) fn rival_of(&self, account: AccountId) -> bool {
        self.all
            .iter()
            .any(|known| Some(known.row) == self.newest && known.id != account && !known.imported)
    }

    /// Notes that the sample of a time is there.
    pub(crate) fn came(&mut self, account: Option<i64>, is_newest: bool) {
        if is_newest && account.is_some() {
            self.newest = account;
        }
    }

    /// Whether what a reading tells is to count. Where another account that counts before it has counted some of the same
    /// time it does not; from one that counts after it, that is taken away.
    #[expect(
        clippy::too_many_arguments,
        reason = "a reading, its place, and where what changes is noted"
    )]
    pub(crate) fn claim(
        &self,
        transaction: &Transaction<'_>,
        id: i64,
        time: i64,
        counted: &Counted,
        account: i64,
        is_newest: bool,
        spans: &mut Vec<Range<i64>>,
    ) -> rusqlite::Result<bool> {
        if !self.has_column
            || self.counted.is_empty()
            || (is_newest && self.newest == Some(account))
        {
            return Ok(true);
        }
        let covers = millis(counted.covers);
        let begin = time.saturating_sub(covers);
        let mut taken = Vec::new();
        for other in self.all.iter().filter(|other| other.row != account) {
            let rows = self.covering(transaction, id, other, begin..time)?;
            if !rows.is_empty() && self.rank(other.row) < self.rank(account) {
                return Ok(false);
            }
            taken.extend(rows);
        }
        for row in taken {
            let none: Vec<String> = self
                .counted
                .iter()
                .map(|column| format!("{column} = NULL"))
                .collect();
            transaction
                .prepare_cached(&format!(
                    "UPDATE {} SET {} WHERE time = ?",
                    schema::samples(id),
                    none.join(", ")
                ))?
                .execute([row])?;
            let mut changed = spread::forget(transaction, id, row)?;
            changed.push(row..row.saturating_add(1));
            for span in changed {
                let around = |time| Level::FiveMinutes.around(time, &TimeZone::UTC);
                add_span(spans, around(span.start).start..around(span.end - 1).end);
            }
        }
        Ok(true)
    }

    /// Which account counts before another: the lower.
    fn rank(&self, row: i64) -> (bool, i64) {
        let imported = self
            .all
            .iter()
            .any(|account| account.row == row && account.imported);
        (imported, row)
    }

    /// The samples of an account that cover a part of a span.
    fn covering(
        &self,
        transaction: &Transaction<'_>,
        id: i64,
        account: &Account,
        span: Range<i64>,
    ) -> rusqlite::Result<Vec<i64>> {
        let gap = self.gap_of(Some(account.row));
        let told = (!self.is_usual(account.row)).then_some(account.row);
        let mut select = transaction.prepare_cached(&format!(
            "SELECT time FROM {} WHERE time > ? AND time <= ? AND account IS ? AND coalesce(NULL, {}) IS NOT NULL ORDER BY time",
            schema::samples(id),
            self.counted.join(", ")
        ))?;
        let mut rows = select.query((
            span.start.saturating_sub(gap),
            span.end.saturating_add(gap),
            told,
        ))?;
        let mut covering = Vec::new();
        let mut previous: Option<i64> = None;
        while let Some(row) = rows.next()? {
            let time: i64 = row.get(0)?;
            // Up to the sample before, unless that is too far away.
            let begin = previous
                .filter(|previous| time - previous <= gap)
                .unwrap_or(time - 1);
            if begin < span.end && time > span.start {
                covering.push(time);
            }
            previous = Some(time);
        }
        Ok(covering)
    }
}
