//! A backup put in the place of the history.
//!
//! What was there is moved aside and never deleted: anyone who restores has often little else left. A copy that is checked
//! takes its place only when it is whole.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kstar_common::sqlite_file::beside;
use rusqlite::{Connection, OpenFlags};

use crate::failure::{Failure, HistoryError, unreadable};
use crate::history::copy;
use crate::schema;

/// How long is waited for a program that has the history open.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of a restore.
#[derive(Debug, PartialEq, Eq)]
pub enum Restored {
    /// The copy has taken the place; what was there is here, if anything was.
    Complete(Option<PathBuf>),
    /// It was broken off; everything is as it was.
    BrokenOff,
}

/// Puts a checked copy of a backup in the place of the history, which no program may have open.
pub fn restore(
    backup: &Path,
    history: &Path,
    step: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Restored, HistoryError> {
    let from = open_backup(backup)?;
    close(history)?;
    let part = beside(history, ".part");
    let failed = |path: &Path, error: &io::Error| {
        HistoryError::Unreadable(format!("cannot write {}: {error}", path.display()))
    };
    remove(&part).map_err(|error| failed(&part, &error))?;
    let copied = copy(&from, &part, step).map_err(|error| unreadable(&part, error));
    match copied {
        Ok(Some(health)) if health == "ok" => {}
        other => {
            remove(&part).map_err(|error| failed(&part, &error))?;
            return match other? {
                None => Ok(Restored::BrokenOff),
                Some(health) => Err(HistoryError::Unreadable(format!(
                    "the backup {} is damaged: {health}; take another one",
                    backup.display()
                ))),
            };
        }
    }
    let replaced = || {
        belong_as(&part, history)?;
        let aside = move_aside(history)?;
        fs::rename(&part, history)?;
        Ok(aside)
    };
    let aside = replaced().map_err(|error| failed(history, &error))?;
    Ok(Restored::Complete(aside))
}

/// A backup of this program: of this version or of an earlier one, whose form the collector widens when it starts.
fn open_backup(path: &Path) -> Result<Connection, HistoryError> {
    if !path.exists() {
        let message = format!("there is no backup {}", path.display());
        return Err(HistoryError::Unreadable(message));
    }
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        if schema::OWNER.check(&connection)? == 0 {
            return Err(Failure::Unfit("holds no history".to_owned()));
        }
        Ok(connection)
    };
    open().map_err(|failure: Failure| unreadable(path, failure))
}

/// Has what waits in the log written into the history, which only succeeds where no other program has it open. What
/// cannot be read at all is no reason to stop: it is what a backup is for.
fn close(history: &Path) -> Result<(), HistoryError> {
    if !history.exists() {
        return Ok(());
    }
    let close = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(history, flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)
    };
    match close().map_err(Failure::from) {
        Err(failure) if failure.is_lock() => Err(HistoryError::Unreadable(format!(
            "another program has {} open; stop the collector first, like with `sudo systemctl stop kstar`",
            history.display()
        ))),
        _ => Ok(()),
    }
}

/// Moves what is there, and what a broken end has left beside it, to a name that is free.
fn move_aside(history: &Path) -> io::Result<Option<PathBuf>> {
    if !history.exists() {
        return Ok(None);
    }
    let names = (1..).map(|number: u32| match number {
        1 => beside(history, ".replaced"),
        _ => beside(history, &format!(".replaced-{number}")),
    });
    let mut free = names.filter(|name| !name.exists());
    let aside = free
        .next()
        .ok_or_else(|| io::Error::other("no name is free for what was there"))?;
    for end in ["-wal", "-shm"] {
        match fs::rename(beside(history, end), beside(&aside, end)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(history, &aside)?;
    Ok(Some(aside))
}

/// Gives a file to whom the other one belongs, or its folder where there is none: the one that restores may be root, and
/// the collector is not.
#[cfg(unix)]
fn belong_as(part: &Path, history: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, chown};

    let folder = history.parent().filter(|folder| *folder != Path::new(""));
    let there = fs::metadata(history);
    if let Ok(there) = &there {
        fs::set_permissions(part, there.permissions())?;
    }
    let owner = there.or_else(|_| fs::metadata(folder.unwrap_or(Path::new("."))))?;
    let own = fs::metadata(part)?;
    if (own.uid(), own.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    chown(part, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(not(unix))]
fn belong_as(_part: &Path, _history: &Path) -> io::Result<()> {
    Ok(())
}

fn remove(part: &Path) -> io::Result<()> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
