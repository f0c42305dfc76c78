//! Readings that the gate has refused, kept for a bug report: the newest few, with their bytes and the reason.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::replace;

/// So many are kept; enough for any report, and some 100 KB at most.
pub const MOST: usize = 100;

/// A longer reason is cut: it names every value of a reading.
const LONGEST_REASON: usize = 400;

/// A reading that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Refused {
    /// When, as RFC 3339.
    pub time: String,
    /// The inverter's name.
    pub inverter: String,
    /// What was wrong.
    pub reason: String,
    /// The datagram in hexadecimal.
    pub datagram: String,
}

/// Where they are kept in a state folder.
pub fn path(folder: &Path) -> PathBuf {
    folder.join("quarantine.json")
}

/// Those that are kept, the newest last. A file that is not there holds none.
pub fn read(folder: &Path) -> io::Result<Vec<Refused>> {
    match fs::read(path(folder)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Keeps some more. What cannot be read is begun anew: it is worth no more than a bug report.
pub(super) fn keep(folder: &Path, refused: &[Refused]) -> io::Result<()> {
    let mut kept = read(folder).unwrap_or_default();
    kept.extend(refused.iter().cloned().map(|mut refused| {
        refused.reason = refused.reason.chars().take(LONGEST_REASON).collect();
        refused
    }));
    let oldest = kept.len().saturating_sub(MOST);
    kept.drain(..oldest);
    fs::create_dir_all(folder)?;
    replace(&path(folder), &serde_json::to_string_pretty(&kept)?, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(number: usize) -> Refused {
        Refused {
            time: number.to_string(),
            inverter: "roof".to_owned(),
            reason: "ä".repeat(LONGEST_REASON + 1),
            datagram: "aa55".repeat(40),
        }
    }

    #[test]
    fn the_newest_are_kept_and_the_file_stays_small() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()).expect("none"), []);
        for number in 0..130 {
            keep(folder.path(), &[refused(number)]).expect("kept");
        }
        let kept = read(folder.path()).expect("a list");
        let times: Vec<String> = kept.iter().map(|refused| refused.time.clone()).collect();
        let newest: Vec<String> = (30..130).map(|number| number.to_string()).collect();
        assert_eq!(times, newest);
        assert!(
            kept.iter()
                .all(|refused| refused.reason.chars().count() <= LONGEST_REASON)
        );
        let size = fs::metadata(path(folder.path())).expect("a file").len();
        assert!(size < 150_000, "{size}");
    }

    #[test]
    fn a_damaged_file_is_begun_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(path(folder.path()), "[{").expect("written");
        assert!(read(folder.path()).is_err());
        keep(folder.path(), &[refused(1)]).expect("kept");
        assert_eq!(read(folder.path()).expect("a list").len(), 1);
    }
}
