//! The file of a demonstration's history: one of an earlier demonstration makes room, and nothing else does.

use std::io;
use std::path::Path;

use kstar_common::sqlite_file::beside;
use kstar_history::{History, holders};

use super::machine::serials;
use crate::cli::shared::failure::Failure;

/// Removes the history of an earlier demonstration: one of no other inverters than those that a demonstration plays.
pub(super) fn make_room(path: &Path) -> Result<(), Failure> {
    match path.symlink_metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let message = format!("cannot look at {}: {error}", path.display());
            return Err(Failure::Runtime(message));
        }
    }
    check(path).map_err(|reason| {
        Failure::Usage(format!(
            "{} is there already and {reason}; a demonstration replaces nothing but its own history. Move the file away, \
             or start the demonstration in another folder",
            path.display()
        ))
    })?;
    let others = holders(path).unwrap_or_default();
    if !others.is_empty() {
        return Err(Failure::Runtime(format!(
            "{} is in use by {}; stop it, or start this demonstration in another folder",
            path.display(),
            others.join(", ")
        )));
    }
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!("cannot remove {}: {error}", file.display());
                return Err(Failure::Runtime(message));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Whether it is the history of a demonstration, or the reason why it is not.
fn check(path: &Path) -> Result<(), String> {
    if !path.symlink_metadata().is_ok_and(|file| file.is_file()) {
        return Err("is no file".to_owned());
    }
    let unfit = |error| format!("is not the history of a demonstration: {error}");
    let history = History::open(path).map_err(unfit)?;
    let known = serials();
    for inverter in history.inverters().map_err(unfit)? {
        let is_played = match &inverter.serial {
            Some(serial) => known.contains(serial),
            // It was stopped before the inverter had told it, and has kept nothing.
            None => inverter.first.is_none(),
        };
        if !is_played {
            return Err(format!("has readings of the inverter {}", inverter.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_history_of_a_demonstration_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kstar-demo.db");
        assert!(make_room(&path).is_ok());
        std::fs::write(&path, "my own notes").expect("written");
        let said = make_room(&path).expect_err("no history").to_string();
        assert!(
            said.contains("not the history of a demonstration"),
            "{said}"
        );
        assert_eq!(std::fs::read(&path).expect("still there"), b"my own notes");
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("a folder");
        let said = make_room(&path).expect_err("a folder").to_string();
        assert!(said.contains("is no file"), "{said}");
    }
}
