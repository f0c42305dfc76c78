//! Writing readings of the past into a history, also while the collector writes the present.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kstar_model::reading::Reading;
use kstar_model::time::millis;
use rusqlite::OpenFlags;

use crate::accounts::Origin;
use crate::database::Database;
use crate::failure::{HistoryError, unreadable};
use crate::place::holders;
use crate::retention::Retention;
use crate::settings::Settings;

/// How long to wait for the collector, which holds the file for some milliseconds at a time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes readings of the past. SQLite has no queue for those who wait, so anyone who writes much while a
/// [collector](Self::is_shared) does should pause for some milliseconds between two calls, or that hardly ever finds the
/// file free.
pub struct Importer {
    database: Database,
    retention: Retention,
    path: PathBuf,
}

/// What became of readings that were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// They were not there yet.
    pub new: usize,
    /// They were there already.
    pub there: usize,
    /// Those of the new ones that are kept some milliseconds later, since another reading of the inverter has their time.
    pub moved: usize,
    /// They could not be kept, since a thousand others have their time.
    pub dropped: usize,
}

impl Importer {
    /// Opens the history, or makes it. Readings that are further apart than the collector's own may cover the time between
    /// them if that is told.
    pub fn open(
        path: PathBuf,
        settings: &Settings,
        retention: Retention,
        longest_gap: Option<Duration>,
    ) -> Result<Self, HistoryError> {
        let origin = Origin {
            imported: true,
            longest_gap: longest_gap.map(millis),
        };
        let create = OpenFlags::SQLITE_OPEN_CREATE;
        let database = Database::open(&path, PATIENCE, create, settings, origin)
            .map_err(|failure| unreadable(&path, failure))?;
        Ok(Self {
            database,
            retention,
            path,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another program has the file open; also where that cannot be known.
    pub fn is_shared(&self) -> bool {
        holders(&self.path).is_none_or(|holders| !holders.is_empty())
    }

    /// Writes readings in one transaction. Those that are there already are left as they are.
    pub fn add(&mut self, readings: &[Arc<Reading>]) -> Result<Imported, HistoryError> {
        let written = self
            .database
            .write(readings)
            .map_err(|failure| unreadable(&self.path, failure))?;
        let dropped = written.moved.iter().filter(|(_, time)| time.is_none());
        let dropped = dropped.count();
        Ok(Imported {
            new: written.new,
            there: readings.len() - written.new - dropped,
            moved: written.moved.len() - dropped,
            dropped,
        })
    }

    /// Sums up what was written and deletes what is older than the configuration wants to keep. `step` is called after
    /// each step of that, with how much of the time is still to be summed up.
    pub fn finish(mut self, step: &mut dyn FnMut(Duration)) -> Result<(), HistoryError> {
        let path = &self.path;
        while self
            .database
            .settle_some()
            .map_err(|error| unreadable(path, error))?
        {
            let left = self.database.stale();
            step(left.map_err(|error| unreadable(path, error))?);
        }
        // What was brought may be newer than all that a collector has written.
        self.database
            .trust_newest(SystemTime::now().into())
            .map_err(|error| unreadable(path, error))?;
        while self
            .database
            .delete_some(&self.retention)
            .map_err(|error| unreadable(path, error))?
        {
            step(Duration::ZERO);
        }
        Ok(())
    }
}
