//! The file: opened, widened when the catalogue has grown, written one transaction per batch, closed.
//!
//! A write-ahead log lets others read while this writes, and spares the disk: what is committed is with the operating
//! system at once and on the disk for good each minute. Whatever goes wrong, a batch is in the file as a whole or not
//! at all, and an error says which file and what to do.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use kstar_common::sqlite_file::set_aside;
use kstar_model::reading::Reading;
use rusqlite::OpenFlags;

use crate::accounts::Origin;
use crate::apart::SetApart;
use crate::database::Database;
use crate::failure::{Failure, HistoryError, unreadable};
use crate::retention::Retention;
use crate::settings::Settings;

/// How often what was written is put on the disk for good: what a power cut may cost.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// How often is looked for what need not be kept, unless there is more of it.
const TIDYING: Duration = Duration::from_secs(60 * 60);

/// How long closing waits for others who read, within the second that a sink has.
const PATIENCE_AT_CLOSE: Duration = Duration::from_millis(300);

/// The file, and the way to it while it can be reached.
pub struct Store {
    path: PathBuf,
    /// How long to wait for another program's lock.
    patience: Duration,
    settings: Settings,
    retention: Retention,
    /// When the last checkpoint was.
    checkpoint: Instant,
    /// When nothing was found that need not be kept.
    tidied: Option<Instant>,
    /// Absent after a failure that only opening again can heal.
    database: Option<Database>,
    /// Whether a file that is not there is made. Not after it was open once: in the place of one that has vanished,
    /// perhaps with its disk, a new one would hide the loss.
    create: OpenFlags,
    /// Whether a damaged file was set aside. Twice within one life of the program is no accident but a broken disk.
    set_aside: bool,
    /// Whether it was said that the upkeep has met damage.
    said_damage: bool,
    /// How many readings had the key of another reading with other values, since the start.
    conflicts: u64,
    note: Note,
}

/// What a store has to say besides, for anyone who looks.
#[derive(Clone, Debug, Default)]
pub struct Note(Arc<Mutex<Option<String>>>);

impl Note {
    /// What is to be said at this moment.
    pub fn get(&self) -> Option<String> {
        self.text().clone()
    }

    fn text(&self) -> MutexGuard<'_, Option<String>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// What it has to say besides, also later.
    pub fn note(&self) -> Note {
        self.note.clone()
    }

    /// Notes which readings are set apart.
    fn note_apart(&mut self) -> rusqlite::Result<()> {
        let Some(database) = &self.database else {
            return Ok(());
        };
        let all: Vec<String> = database
            .apart()?
            .iter()
            .map(|apart| format!("{} readings of {}", apart.readings, apart.inverter))
            .collect();
        *self.note.text() = (!all.is_empty()).then(|| {
            format!(
                "{} came when the clock was wrong and are set apart; `kstar history repair` shows what can be done",
                all.join(", ")
            )
        });
        Ok(())
    }

    /// Opens the file, or makes it. With a lock that another program holds, a full disk and a failing one it is open as
    /// well: the first delivery tries again.
    pub fn open(
        path: &Path,
        patience: Duration,
        settings: Settings,
        retention: Retention,
    ) -> Result<Self, HistoryError> {
        let path = absolute(path)?;
        if path.is_dir() {
            return Err(HistoryError::Unreadable(format!(
                "{0} is a folder; name a file in it, like {0}/history.db",
                path.display()
            )));
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| {
                HistoryError::Unreadable(format!(
                    "cannot make the folder {}: {error}; make it for this user, or set another `path`",
                    folder.display()
                ))
            })?;
        }
        let mut store = Self {
            path,
            patience,
            settings,
            retention,
            checkpoint: Instant::now(),
            tidied: None,
            database: None,
            create: OpenFlags::SQLITE_OPEN_CREATE,
            set_aside: false,
            said_damage: false,
            conflicts: 0,
            note: Note::default(),
        };
        let opened = store.database().map(|_| ());
        let opened = match opened {
            Err(failure) if store.set_aside(&failure) => store.database().map(|_| ()),
            other => other,
        };
        match opened {
            // One that was set aside once is not set aside again: the store remembers that.
            Err(failure) if !failure.is_outage() && !store.set_aside => {
                Err(unreadable(&store.path, failure))
            }
            _ => Ok(store),
        }
    }

    fn database(&mut self) -> Result<&mut Database, Failure> {
        if self.database.is_none() {
            let mut database = Database::open(
                &self.path,
                self.patience,
                self.create,
                &self.settings,
                Origin::LIVE,
            )?;
            database.heed(&self.retention, SystemTime::now().into())?;
            self.database = Some(database);
            self.note_apart()?;
            self.create = OpenFlags::empty();
        }
        self.database.as_mut().ok_or(Failure::Replaced)
    }

    /// Writes readings in one transaction; one that is there already is left as it is.
    pub fn deliver(&mut self, readings: &[Arc<Reading>]) -> Result<(), HistoryError> {
        let written = match self.write(readings) {
            Err(failure) if self.set_aside(&failure) => self.write(readings),
            other => other,
        };
        written.map_err(|failure| {
            if !failure.passes() {
                self.database = None;
            }
            unreadable(&self.path, failure)
        })
    }

    fn write(&mut self, readings: &[Arc<Reading>]) -> Result<(), Failure> {
        let database = self.database()?;
        let written = database.write(readings)?;
        // Asked after the commit: what went into a file that nobody can find is not delivered.
        if !database.is_in_place() {
            return Err(Failure::Replaced);
        }
        for (reading, time) in written.moved {
            self.conflicts += 1;
            let (inverter, of) = (&*reading.inverter.name, reading.time);
            let conflicts = self.conflicts;
            if let Some(time) = time {
                tracing::warn!(
                    sink = "sqlite", inverter, time = %of, conflicts, kept_at = %time,
                    "another reading of this inverter has the same time; this one is kept at the next free millisecond"
                );
            } else {
                tracing::error!(
                    sink = "sqlite", inverter, time = %of, conflicts,
                    "a thousand other readings of this inverter have the same time; this one is dropped. Check the clock"
                );
            }
        }
        let is_apart = !written.apart.is_empty();
        for apart in written.apart {
            let SetApart {
                inverter,
                readings,
                span: (first, last),
            } = apart;
            tracing::error!(
                sink = "sqlite",
                inverter = &*inverter,
                readings,
                %first,
                %last,
                "the clock was wrong when these readings came, more than a day ahead; they are kept and set apart. \
                 `kstar history repair` shows what can be done"
            );
        }
        if is_apart {
            self.note_apart()?;
        }
        Ok(())
    }

    /// Sets a damaged file aside, so that a new one takes what comes: a reading that is not written is lost for good,
    /// while what can be read of the old file stays there for a person to save. Says whether it was done.
    fn set_aside(&mut self, failure: &Failure) -> bool {
        if !failure.is_damage() || self.set_aside {
            return false;
        }
        self.database = None;
        let file = self.path.display();
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let moved = set_aside(&self.path, &now.to_string());
        let reason = failure.explain(&self.path);
        match moved {
            Ok(aside) => {
                let aside = aside.display();
                tracing::error!(
                    sink = "sqlite",
                    reason,
                    "the history is damaged; it is now {aside}, and a new one begins at {file}. \
                     Save what can be read with `sqlite3 {aside} .recover`"
                );
                self.set_aside = true;
                self.create = OpenFlags::SQLITE_OPEN_CREATE;
                true
            }
            Err(error) => {
                tracing::error!(sink = "sqlite", reason, %error, "the damaged history cannot be set aside");
                false
            }
        }
    }

    /// Does what is to be done now and then: puts what was written on the disk for good, sums up and deletes a little.
    pub fn upkeep(&mut self) {
        let Some(database) = &mut self.database else {
            return;
        };
        if self.checkpoint.elapsed() >= CHECKPOINT {
            self.checkpoint = Instant::now();
            let kept = database.keep_moments().map_err(|error| error.to_string());
            let done = kept.and_then(|()| database.checkpoint());
            // They may have been repaired meanwhile.
            let noted = self.note_apart().map_err(|error| error.to_string());
            if let Err(error) = done.and(noted) {
                // The next delivery says it aloud, if it lasts.
                tracing::debug!(sink = "sqlite", error, "no checkpoint");
            }
        }
        let Some(database) = &mut self.database else {
            return;
        };
        let mut done = database.settle_some().map(drop);
        if done.is_ok() && self.tidied.is_none_or(|tidied| tidied.elapsed() >= TIDYING) {
            done = database
                .delete_some(&self.retention)
                .map(|more| self.tidied = (!more).then(Instant::now));
        }
        if let Err(error) = done {
            let failure = Failure::Sqlite(error);
            let reason = failure.explain(&self.path);
            // What is written now may well go to another part of the file, so nobody else would say it.
            if failure.is_damage() && !self.said_damage {
                self.said_damage = true;
                tracing::error!(
                    sink = "sqlite",
                    reason,
                    "cannot sum up or delete what is old"
                );
            } else {
                tracing::debug!(sink = "sqlite", reason, "nothing summed up or deleted");
            }
        }
    }

    /// Empties the write-ahead log into the file and closes it.
    pub fn close(&mut self) -> Result<(), HistoryError> {
        let Some(database) = self.database.take() else {
            return Ok(());
        };
        let kept = database.keep_moments();
        let connection = database.into_connection();
        connection
            .busy_timeout(PATIENCE_AT_CLOSE)
            .and(kept)
            // Somebody who reads just now keeps the log alive; nothing is lost by that.
            .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
            .and_then(|()| connection.close().map_err(|(_, error)| error))
            .map_err(|error| unreadable(&self.path, error))
    }
}

/// The place of a file, made absolute: SQLite would take an empty path or `:memory:` for a database that is gone at the
/// end.
fn absolute(path: &Path) -> Result<PathBuf, HistoryError> {
    std::path::absolute(path).map_err(|error| {
        HistoryError::Unreadable(format!(
            "`{}` is no path for a file: {error}",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests;
