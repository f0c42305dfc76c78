//! Recorded packets in place of the day's curve: files of hex, one datagram a line, repeated without end.
//!
//! Every line is sent as it is, also one that is no frame at all: broken answers that somebody met are the most
//! useful recordings. Only [`Replay::readdressed`] changes bytes, for a recording made with another master address.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::encode::{Request, readdressed};

/// What UDP can carry over an ordinary network without fragments; longer lines are a mistake.
const LONGEST_DATAGRAM: usize = 1472;
/// A day at one poll a second, and bounded.
const MOST_DATAGRAMS: usize = 100_000;
/// Room for as many of the longest frames in hex.
const LARGEST_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Datagrams in the order in which they answer requests for running data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    datagrams: Vec<Vec<u8>>,
    next: usize,
    readdressed: bool,
    /// What answers the other requests, in place of what is simulated.
    others: BTreeMap<Request, Vec<u8>>,
}

/// Why there is nothing to replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file that cannot be read.
    #[error("cannot read the recording {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file that is no recording by its size.
    #[error("the recording {} is larger than 64 MiB; split it", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// A line that is no hex text.
    #[error("{}:{line}: {problem}; write one datagram per line in hex, like aa557fb00186…", path.display())]
    NotHex {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// More than fits.
    #[error("{}:{line}: more than {MOST_DATAGRAMS} datagrams; replay fewer files", path.display())]
    TooMany {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// Files without a single datagram.
    #[error("the recordings hold no datagram; name at least one file with a line of hex")]
    Empty,
}

impl Replay {
    /// Reads files in the order given. Blank lines and lines that begin with `#` are passed over, and so is space
    /// between digits.
    pub fn read(paths: &[PathBuf]) -> Result<Self, ReplayError> {
        let mut datagrams = Vec::new();
        for path in paths {
            let unreadable = |error| ReplayError::Unreadable {
                path: path.clone(),
                error,
            };
            if std::fs::metadata(path).map_err(unreadable)?.len() > LARGEST_FILE_BYTES {
                return Err(ReplayError::TooLarge { path: path.clone() });
            }
            // What is not UTF-8 becomes a sign that is no hex digit, so that the error can name its line.
            let bytes = std::fs::read(path).map_err(unreadable)?;
            read_lines(path, &String::from_utf8_lossy(&bytes), &mut datagrams)?;
        }
        Self::of(datagrams).ok_or(ReplayError::Empty)
    }

    /// Replays these datagrams; `None` if there are none.
    pub fn of(datagrams: Vec<Vec<u8>>) -> Option<Self> {
        (!datagrams.is_empty()).then_some(Self {
            datagrams,
            next: 0,
            readdressed: false,
            others: BTreeMap::new(),
        })
    }

    /// The same, with each frame addressed to who asks, its checksum to match.
    #[must_use]
    pub fn readdressed(mut self) -> Self {
        self.readdressed = true;
        self
    }

    /// The same, with datagrams that answer other requests than the one for running data.
    #[must_use]
    pub fn with(mut self, others: impl IntoIterator<Item = (Request, Vec<u8>)>) -> Self {
        self.others.extend(others);
        self
    }

    /// How many datagrams there are before they repeat.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Never: a replay without datagrams cannot be made.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// The next datagram for a request from this master.
    pub(super) fn next(&mut self, master: u8) -> Vec<u8> {
        let datagram = self.datagrams.get(self.next).cloned().unwrap_or_default();
        self.next = (self.next + 1) % self.datagrams.len().max(1);
        self.addressed(datagram, master)
    }

    /// The datagram for another request, if one was recorded.
    pub(super) fn other(&self, request: Request, master: u8) -> Option<Vec<u8>> {
        let datagram = self.others.get(&request)?.clone();
        Some(self.addressed(datagram, master))
    }

    fn addressed(&self, datagram: Vec<u8>, master: u8) -> Vec<u8> {
        if self.readdressed {
            // What is no whole frame has no address to change.
            readdressed(&datagram, master).unwrap_or(datagram)
        } else {
            datagram
        }
    }
}

fn read_lines(path: &Path, text: &str, datagrams: &mut Vec<Vec<u8>>) -> Result<(), ReplayError> {
    for (index, content) in text.lines().enumerate() {
        let line = index + 1;
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if datagrams.len() == MOST_DATAGRAMS {
            let path = path.to_owned();
            return Err(ReplayError::TooMany { path, line });
        }
        let datagram = bytes_of(content).map_err(|problem| ReplayError::NotHex {
            path: path.to_owned(),
            line,
            problem,
        })?;
        datagrams.push(datagram);
    }
    Ok(())
}

fn bytes_of(content: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(content.len() / 2);
    let mut high = None;
    for sign in content.chars().filter(|sign| !sign.is_whitespace()) {
        let digit = sign
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
            .ok_or_else(|| format!("`{}` is no hex digit", sign.escape_default()))?;
        high = match high {
            None => Some(digit << 4),
            Some(high) => {
                bytes.push(high | digit);
                None
            }
        };
        if bytes.len() > LONGEST_DATAGRAM {
            return Err(format!("longer than {LONGEST_DATAGRAM} bytes"));
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err("an odd number of hex digits".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::{Figures, Request, running};
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("recorded.hex");
        std::fs::write(&path, content).expect("written");
        (folder, path)
    }

    fn error(content: &[u8]) -> String {
        let (_folder, path) = file(content);
        Replay::read(&[path]).unwrap_err().to_string()
    }

    #[test]
    fn recordings_are_replayed_in_order_and_again() {
        let (_first_folder, first) = file(b"# two of them\naa 55\n\n0102\r\n");
        let (_second_folder, second) = file(b"FF");
        let mut replay = Replay::read(&[first, second]).expect("a replay");
        assert_eq!(replay.len(), 3);
        let sent: Vec<_> = (0..4).map(|_| replay.next(0xB0)).collect();
        assert_eq!(
            sent,
            [vec![0xAA, 0x55], vec![1, 2], vec![0xFF], vec![0xAA, 0x55]]
        );
    }

    #[test]
    fn a_line_that_is_no_hex_is_named_with_its_file() {
        for (content, place, problem) in [
            (
                &b"aa55\n\nhello\n"[..],
                "recorded.hex:3: ",
                "`h` is no hex digit",
            ),
            (b"aa5\n", "recorded.hex:1: ", "odd number"),
            (b"aa55\n\xFF\xFE\n", "recorded.hex:2: ", "is no hex digit"),
            (&b"00".repeat(1473), "recorded.hex:1: ", "longer than 1472"),
        ] {
            let error = error(content);
            assert!(error.contains(place) && error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_recording_that_is_missing_or_empty_is_an_error() {
        assert!(error(b"# nothing\n").contains("no datagram"));
        let error = Replay::read(&[PathBuf::from("/no/such/recording")]).unwrap_err();
        assert!(error.to_string().contains("/no/such/recording"), "{error}");
    }

    #[test]
    fn only_a_readdressed_replay_changes_bytes() {
        let payload = running(&Figures::default(), 83);
        let to_b0 = Request::Running.reply(0xB0, &payload);
        let stump = to_b0[..40].to_vec();
        let replay = Replay::of(vec![to_b0.clone(), stump.clone()]).expect("a replay");
        assert_eq!(replay.clone().next(0xC0), to_b0);
        let mut replay = replay.readdressed();
        assert_eq!(replay.next(0xC0), Request::Running.reply(0xC0, &payload));
        assert_eq!(replay.next(0xC0), stump);
    }
}
