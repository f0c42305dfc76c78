//! Readings that the gate has refused, kept for a bug report: the newest few, with their bytes and the reason.
//!
//! The file is written whole, and an inverter may talk nonsense for months: so what was refused waits in memory for a
//! while. A kill costs what waits; a stop does not.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kstar_common::file::replace;
use serde::{Deserialize, Serialize};

/// So many are kept; enough for any report, and some 100 KB at most.
pub const MOST: usize = 100;

/// How long what is refused waits before the file is written again. It wears the memory card of a small computer.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// A longer reason is cut: it names every value of a reading.
const LONGEST_REASON: usize = 400;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Refused {
    /// When, as RFC 3339.
    pub time: String,
    /// The inverter's name.
    pub inverter: String,
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

#[derive(Debug, Default)]
pub(super) struct Waiting {
    refused: Vec<Refused>,
    /// When the file was last written, or could not be.
    tried: Option<Instant>,
}

impl Waiting {
    pub(super) fn add(&mut self, refused: &[Refused]) {
        self.refused.extend_from_slice(refused);
        let oldest = self.refused.len().saturating_sub(MOST);
        self.refused.drain(..oldest);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    /// Whether the file may be written already.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.tried
            .is_none_or(|tried| now.saturating_duration_since(tried) >= WRITE_EVERY)
    }

    /// Writes what waits; what cannot be written waits on.
    pub(super) fn write(&mut self, folder: &Path, now: Instant) -> io::Result<()> {
        self.tried = Some(now);
        keep(folder, &self.refused)?;
        self.refused.clear();
        Ok(())
    }
}

/// Keeps some more. What cannot be read is begun anew: it is worth no more than a bug report.
fn keep(folder: &Path, refused: &[Refused]) -> io::Result<()> {
    let mut kept = read(folder).unwrap_or_default();
    kept.extend(refused.iter().cloned().map(|mut refused| {
        refused.reason = refused.reason.chars().take(LONGEST_REASON).collect();
        refused
    }));
    let oldest = kept.len().saturating_sub(MOST);
    kept.drain(..oldest);
    fs::create_dir_all(folder)?;
    replace(&path(folder), &serde_json::to_vec_pretty(&kept)?, false)
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

    /// An inverter that talks nonsense for an hour, polled every five seconds: 720 writes of the whole file before.
    #[test]
    fn the_file_is_written_once_a_minute_at_most_and_holds_everything_in_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = || {
            let times = read(folder.path()).expect("a list").into_iter();
            times.map(|refused| refused.time).collect::<Vec<_>>()
        };
        let (begun, mut waiting) = (Instant::now(), Waiting::default());
        let (mut writes, mut bytes, mut before) = (0, 0, None);
        for number in 0..720_u32 {
            let now = begun + Duration::from_secs(5) * number;
            waiting.add(&[refused(number as usize)]);
            if waiting.is_due(now) {
                waiting.write(folder.path(), now).expect("written");
            }
            let newest = kept().pop();
            if newest != before {
                writes += 1;
                bytes += fs::metadata(path(folder.path())).expect("a file").len();
                before = newest;
            }
        }
        assert_eq!(writes, 60);
        assert!(bytes < 60 * 150_000, "{bytes}");
        assert!(!waiting.is_empty());
        waiting.write(folder.path(), begun).expect("written");
        assert!(waiting.is_empty());
        assert!(
            kept()
                .into_iter()
                .eq((620..720).map(|number| number.to_string()))
        );
    }

    #[test]
    fn what_cannot_be_written_waits_and_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let blocked = folder.path().join("file");
        fs::write(&blocked, "").expect("written");
        let mut waiting = Waiting::default();
        for number in 0..3 * MOST {
            waiting.add(&[refused(number)]);
            assert!(waiting.write(&blocked, Instant::now()).is_err());
        }
        waiting
            .write(folder.path(), Instant::now())
            .expect("written");
        assert_eq!(read(folder.path()).expect("a list").len(), MOST);
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
