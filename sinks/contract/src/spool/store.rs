//! The spool's file and the way to it: made when something has to wait, emptied as that is delivered, gone when nothing
//! waits any more; set aside if it is damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kstar_common::sqlite_file::{Unusable, beside, set_aside};
use kstar_model::reading::{Reading, Undated};
use kstar_model::time::ClockSet;

use super::failure::{explain, is_damage};
use super::file::{File, Pushed, Read};
use super::rows::Dropped;
use super::{Borrowed, Ids};
use crate::carried::Carried;
use crate::delivery::SpoolBounds;

/// An empty file of more bytes than this goes; a smaller one stays for the next time until the program ends.
const SMALL: u64 = 256 << 10;

/// How many damaged files are kept for a person to look into.
const DAMAGED_KEPT: usize = 3;

/// The file, and the way to it while it is open.
pub(super) struct Store {
    path: PathBuf,
    sink: &'static str,
    bounds: SpoolBounds,
    file: Option<File>,
    /// Whether the file or its folder was there once. Not in the place of one that has vanished, perhaps with its disk, a
    /// folder is made.
    is_known: bool,
    /// How many files were begun anew in the place of one that was lost.
    files: u32,
    /// Everything up to this number is done with, though the disk would not let go of it.
    done: i64,
    /// Everything up to this number was borrowed once.
    offered: i64,
    /// How many readings wait.
    waiting: u64,
    /// How many wait for the clock to be set.
    undated: u64,
    /// What was let go of without a delivery and is not reported yet.
    dropped: Dropped,
    /// Whether it was said that the oldest are dropped.
    full: bool,
}

impl Store {
    /// The store of a file that was not looked at yet.
    pub(super) fn new(folder: &Path, sink: &'static str, bounds: SpoolBounds) -> Self {
        Self {
            path: folder.join(format!("spool-{sink}.db")),
            sink,
            bounds,
            file: None,
            is_known: false,
            files: 0,
            done: 0,
            offered: 0,
            waiting: 0,
            undated: 0,
            dropped: Dropped::default(),
            full: false,
        }
    }

    /// Opens the file if there is one, in which something waits; else sees whether one can be made when it is needed,
    /// which may be in the middle of the first outage.
    pub(super) fn open(&mut self) -> Result<(), String> {
        if !self.path.exists() {
            self.try_folder()?;
            self.is_known = true;
            return Ok(());
        }
        self.waiting = 1;
        match self.attempt(|_, _| Ok(())) {
            Ok(()) => Ok(()),
            Err(failure) if is_damage(&failure) => self.set_aside(&failure),
            Err(failure) => Err(explain(&failure, &self.path)),
        }
    }

    fn try_folder(&self) -> Result<(), String> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::File::create_new(&self.path))
            .and_then(|_| std::fs::remove_file(&self.path))
            .map_err(|error| {
                format!(
                    "cannot make {}: {error}; let this user write to that folder, or set another `state_dir`",
                    self.path.display()
                )
            })
    }

    /// How many readings wait.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// How many readings were let go of without a delivery since this was asked last.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped.readings)
    }

    /// What readings that were let go of have counted and no reading here could take over, since this was asked last.
    pub(super) fn take_carried(&mut self) -> Carried {
        std::mem::take(&mut self.dropped.carried)
    }

    /// Adds readings behind all others, as a whole or not at all; gives their numbers. The first `offered` of them were
    /// borrowed before.
    pub(super) fn push(
        &mut self,
        readings: &[Arc<Reading>],
        offered: usize,
    ) -> Result<Ids, String> {
        let bounds = self.bounds;
        let Pushed {
            ids: range,
            waiting,
            dropped,
        } = self.use_file(|file, done| file.push(readings, offered, bounds, done))?;
        (self.waiting, self.done) = (waiting, 0);
        let is_full = dropped.readings > 0;
        self.dropped.append(dropped);
        if is_full && !self.full {
            tracing::warn!(
                sink = self.sink,
                waiting,
                "the spool is full; the oldest readings are dropped and counted. Raise spool_max or spool_max_readings if there is room"
            );
        }
        self.full |= is_full;
        Ok(Ids {
            file: self.files,
            range,
        })
    }

    /// How many readings wait for the clock to be set.
    pub(super) fn undated(&self) -> u64 {
        self.undated
    }

    /// Adds readings that wait for the clock to be set, as a whole or not at all.
    pub(super) fn push_undated(&mut self, readings: &[Arc<Undated>]) -> Result<(), String> {
        let bounds = self.bounds;
        let dropped = self.use_file(|file, _| file.push_undated(readings, bounds))?;
        self.dropped.append(dropped);
        Ok(())
    }

    /// Dates what waits for the clock to be set. What another run of the machine has left cannot be dated, and is dropped.
    pub(super) fn set_clock(&mut self, clock: ClockSet) -> Result<(), String> {
        let dropped = self.use_file(|file, _| file.set_clock(clock))?;
        if dropped.readings > 0 {
            tracing::warn!(
                sink = self.sink,
                lost = dropped.readings,
                "readings of before the machine was started anew are lost: the clock was not set when they came"
            );
        }
        self.dropped.append(dropped);
        self.waiting = self.use_file(|file, _| file.total())?;
        Ok(())
    }

    /// The oldest readings, at most `limit`.
    pub(super) fn borrow(&mut self, limit: usize) -> Result<Borrowed, String> {
        if self.file.is_none() && !self.path.exists() {
            self.waiting = 0;
        }
        loop {
            let Read {
                ids: range,
                readings,
                unreadable,
            } = self.use_file(|file, done| file.borrow(limit, done))?;
            if unreadable.is_empty() {
                if readings.is_empty() {
                    self.waiting = 0;
                }
                let file = self.files;
                let ids = Ids { file, range };
                return Ok(Borrowed { ids, readings });
            }
            tracing::error!(
                sink = self.sink,
                file = %self.path.display(),
                readings = unreadable.len(),
                "readings in the spool are damaged and lost"
            );
            let (waiting, dropped) = self.use_file(|file, _| file.remove_each(&unreadable))?;
            self.waiting = waiting;
            self.dropped.append(dropped);
        }
    }

    /// Lets go of readings that are done with.
    pub(super) fn settle(&mut self, ids: &Ids) -> Result<(), String> {
        if ids.file != self.files {
            return Ok(());
        }
        let settled = self.use_file(|file, done| file.remove(done, &ids.range));
        match settled {
            Ok(waiting) => {
                (self.waiting, self.done) = (waiting, 0);
                if waiting == 0 {
                    self.full = false;
                    self.shrink();
                }
                Ok(())
            }
            Err(reason) => {
                if ids.file == self.files && *ids.range.start() <= self.done.saturating_add(1) {
                    self.done = *ids.range.end();
                }
                Err(reason)
            }
        }
    }

    /// Puts what waits on the disk for good and closes the file; without anything that waits it goes.
    pub(super) fn close(&mut self) -> Result<(), String> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        file.close()
            .map_err(|failure| explain(&failure, &self.path))?;
        if self.waiting == 0 && self.undated == 0 {
            std::fs::remove_file(&self.path)
                .map_err(|error| format!("cannot remove {}: {error}", self.path.display()))?;
            self.offered = 0;
        }
        Ok(())
    }

    /// Gives the room of an emptied file back to the disk.
    fn shrink(&mut self) {
        let is_large = |file: &File| file.bytes().is_ok_and(|bytes| bytes > SMALL);
        if self.file.as_ref().is_some_and(is_large)
            && let Err(reason) = self.close()
        {
            tracing::debug!(sink = self.sink, reason, "the spool stays large");
        }
    }

    /// Does something with the file. One that is damaged is set aside, and it is done with a new one.
    fn use_file<T>(
        &mut self,
        job: impl Fn(&mut File, i64) -> Result<T, Unusable>,
    ) -> Result<T, String> {
        match self.attempt(&job) {
            Ok(done) => Ok(done),
            Err(failure) if is_damage(&failure) => {
                self.set_aside(&failure)?;
                self.attempt(&job)
                    .map_err(|failure| explain(&failure, &self.path))
            }
            Err(failure) => Err(explain(&failure, &self.path)),
        }
    }

    fn attempt<T>(
        &mut self,
        job: impl Fn(&mut File, i64) -> Result<T, Unusable>,
    ) -> Result<T, Unusable> {
        let done = self.done;
        let file = self.opened()?;
        let outcome = job(file, done);
        (self.offered, self.undated) = (file.offered(), file.undated());
        if outcome.is_err() {
            // What was learnt in a transaction that did not happen; and after a failing disk all begins anew.
            self.file = None;
        }
        outcome
    }

    /// The file, opened if it is not.
    fn opened(&mut self) -> Result<&mut File, Unusable> {
        if self.file.is_some() && !self.path.exists() {
            // Whatever is written into it now, nobody will find.
            tracing::error!(
                sink = self.sink,
                file = %self.path.display(),
                lost = self.waiting,
                "the spool is gone; a new one is begun"
            );
            self.lose_file();
        }
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                if !self.is_known {
                    // Where that fails, opening the file says why.
                    let _ = self.path.parent().map(std::fs::create_dir_all);
                }
                let file = File::open(&self.path, self.offered)?;
                self.is_known = true;
                self.waiting = file.total()?;
                Ok(none.insert(file))
            }
        }
    }

    /// Gives a damaged file another name, for a person to look into.
    fn set_aside(&mut self, failure: &Unusable) -> Result<(), String> {
        self.file = None;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since_epoch.unwrap_or_default().as_secs();
        let aside = set_aside(&self.path, &seconds.to_string()).map_err(|error| {
            format!(
                "{} is damaged and cannot be renamed: {error}; move it away",
                self.path.display()
            )
        })?;
        tracing::error!(
            sink = self.sink,
            reason = explain(failure, &self.path),
            set_aside = %aside.display(),
            lost = self.waiting,
            "the spool is damaged; it was set aside and a new one is begun. `sqlite3 FILE .recover` may save what it held"
        );
        self.lose_file();
        self.forget_old_damage();
        Ok(())
    }

    /// What it held is dropped, and the next one begins.
    fn lose_file(&mut self) {
        self.file = None;
        self.files = self.files.wrapping_add(1);
        self.dropped.readings += self.waiting + self.undated;
        self.undated = 0;
        (self.waiting, self.done, self.offered) = (0, 0, 0);
    }

    /// Removes all but the newest files that were set aside: a disk that fails for long must not be filled by them.
    fn forget_old_damage(&self) {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return;
        };
        let begin = format!("{}.damaged-", name.to_string_lossy());
        let is_aside = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&begin) && !name.ends_with("-wal")
        };
        let mut aside: Vec<PathBuf> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(is_aside)
            .collect();
        aside.sort_unstable();
        for old in aside.iter().rev().skip(DAMAGED_KEPT) {
            let _ = std::fs::remove_file(old);
            let _ = std::fs::remove_file(beside(old, "-wal"));
        }
    }
}
