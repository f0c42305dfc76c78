//! Prices that change from hour to hour, in a file that any script may write: one line for each time with its price.
//!
//! ```text
//! time,price,feed_in
//! 2026-11-30T13:00:00+01:00,0.2871,0.0790
//! 2026-11-30T13:15:00+01:00,0.2690,0.0790
//! ```
//!
//! A price holds until the next one, for an hour at most. The file is read anew when it has changed.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Prices, Step};

/// For how long a price holds, in seconds, where no other follows.
const LONGEST: i64 = 3600;

/// The largest file that is read: quarters of an hour of fifty years.
const LARGEST: u64 = 128 * 1024 * 1024;

/// A file with prices, and what it held when it was read last.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "PathBuf")]
pub struct PriceFile {
    path: PathBuf,
    held: Arc<Mutex<Held>>,
}

impl From<PathBuf> for PriceFile {
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            held: Arc::default(),
        }
    }
}

impl PartialEq for PriceFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

#[derive(Debug, Default)]
struct Held {
    /// When the file was written last, and how large it was.
    version: Option<(SystemTime, u64)>,
    /// In the order of their times.
    entries: Arc<[Entry]>,
}

/// What holds from a time on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    /// In seconds since 1970.
    from: i64,
    price: f64,
    feed_in: Option<f64>,
}

impl PriceFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file if it has changed since it was read. What is wrong with it leaves the prices as they were. It blocks.
    ///
    /// # Errors
    ///
    /// An error in words, with file and line, if the file cannot be read or a line is none of prices.
    pub fn refresh(&self) -> Result<(), String> {
        let wrong =
            |error: io::Error| format!("cannot read the prices {}: {error}", self.path.display());
        let metadata = fs::metadata(&self.path).map_err(wrong)?;
        if metadata.is_dir() {
            return Err(format!(
                "{} is a folder; `file` names a file with prices",
                self.path.display()
            ));
        }
        let version = (metadata.modified().map_err(wrong)?, metadata.len());
        if self.held().version == Some(version) {
            return Ok(());
        }
        if metadata.len() > LARGEST {
            return Err(format!(
                "{} is too large for prices: {} bytes",
                self.path.display(),
                metadata.len()
            ));
        }
        let file = BufReader::new(File::open(&self.path).map_err(wrong)?.take(LARGEST));
        let entries = entries(file).map_err(|error| match error {
            Wrong::Read(error) => wrong(error),
            Wrong::Line(number, why) => format!("{}:{number}: {why}", self.path.display()),
        })?;
        let mut held = self.held();
        held.version = Some(version);
        held.entries = entries.into();
        Ok(())
    }

    /// The prices at a time, as far as the file has them: `usual` is what a kWh that is fed in brings where it does not say.
    pub(super) fn at(&self, moment: Timestamp, usual: f64) -> Option<Prices> {
        let second = moment.as_second();
        let held = self.held();
        let after = held.entries.partition_point(|entry| entry.from <= second);
        let entry = held.entries.get(after.checked_sub(1)?)?;
        (second - entry.from < LONGEST).then(|| Prices {
            price: entry.price,
            feed_in: entry.feed_in.unwrap_or(usual),
        })
    }

    /// How finely time must be parted so that each part has one price.
    pub(super) fn step(&self) -> Step {
        let hours = self
            .held()
            .entries
            .iter()
            .all(|entry| entry.from % 3600 == 0);
        if hours { Step::Hour } else { Step::FiveMinutes }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        // Nothing panics while it holds the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
enum Wrong {
    Read(io::Error),
    /// The number of a line, from 1 on, and what is wrong with it.
    Line(usize, String),
}

fn entries(file: impl BufRead) -> Result<Vec<Entry>, Wrong> {
    let mut entries: Vec<Entry> = Vec::new();
    for (line, number) in file.lines().zip(1..) {
        let line = line.map_err(Wrong::Read)?;
        let text = line.trim_start_matches('\u{feff}').trim();
        let is_head = number == 1 && !text.starts_with(|first: char| first.is_ascii_digit());
        if text.is_empty() || text.starts_with('#') || is_head {
            continue;
        }
        let entry = entry(text).map_err(|why| Wrong::Line(number, why))?;
        if entries.last().is_some_and(|last| last.from >= entry.from) {
            let why = "this time is not after the one in the line before; put the lines in order"
                .to_owned();
            return Err(Wrong::Line(number, why));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(line: &str) -> Result<Entry, String> {
    let separator = if line.contains(';') { ';' } else { ',' };
    let mut fields = line.split(separator).map(str::trim);
    let mut next = || fields.next().filter(|field| !field.is_empty());
    let (Some(time), Some(price)) = (next(), next()) else {
        return Err(
            "a line has a time and a price, like 2026-11-30T13:00:00+01:00,0.2871".to_owned(),
        );
    };
    let feed_in = next().map(number).transpose()?;
    if next().is_some() {
        return Err("a line has no more than a time, a price and what a kWh that is fed in brings; decimals begin with a point, or columns are parted by semicolons".to_owned());
    }
    let from: Timestamp = time.parse().map_err(|_| {
        format!("`{time}` is no time with its offset from UTC; write one like 2026-11-30T13:00:00+01:00 or 2026-11-30T12:00:00Z")
    })?;
    Ok(Entry {
        from: from.as_second(),
        price: number(price)?,
        feed_in,
    })
}

fn number(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.replace(',', ".").parse().ok();
    number
        .filter(|number| number.is_finite())
        .ok_or_else(|| format!("`{text}` is no price; write a number like 0.2871"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Entry>, String> {
        entries(text.as_bytes()).map_err(|wrong| match wrong {
            Wrong::Read(error) => error.to_string(),
            Wrong::Line(number, why) => format!("{number}: {why}"),
        })
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    #[test]
    fn a_line_is_a_time_and_its_prices() {
        let comma = read("time,price\n2026-11-30T13:00:00+01:00,0.25\n\n# tomorrow\n2026-11-30T12:15:00Z,-0.01,0.08\n").unwrap();
        let semicolon =
            read("\u{feff}2026-11-30T12:00:00Z;0,25\r\n2026-11-30T12:15:00Z; -0,01; 0,08\r\n")
                .unwrap();
        assert_eq!(comma, semicolon);
        assert_eq!(comma.len(), 2);
        assert_eq!(comma[1].feed_in, Some(0.08));
    }

    #[test]
    fn what_is_no_price_is_told_with_its_line() {
        for (line, why) in [
            ("2026-11-30 13:00,0.25", "2: `2026-11-30 13:00` is no time"),
            ("2026-11-30T13:00:00Z", "2: a line has a time and a price"),
            ("2026-11-30T13:00:00Z,dear", "2: `dear` is no price"),
            ("2026-11-30T13:00:00Z,nan", "2: `nan` is no price"),
            ("2026-11-30T13:00:00Z,0,25,0,08", "2: a line has no more"),
            ("2026-11-30T12:00:00Z,0.25", "2: this time is not after"),
        ] {
            let error = read(&format!("2026-11-30T12:00:00Z,0.2\n{line}\n")).expect_err(line);
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn a_price_holds_until_the_next_for_an_hour_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.csv");
        fs::write(
            &path,
            "2026-11-30T12:00:00Z,0.1\n2026-11-30T12:15:00Z,0.2,0.07\n",
        )
        .unwrap();
        let file = PriceFile::from(path.clone());
        assert_eq!(
            file.at(at("2026-11-30T12:00:00Z"), 0.08),
            None,
            "it was not read"
        );
        file.refresh().unwrap();
        let price = |moment: &str| {
            let prices = file.at(at(moment), 0.08)?;
            Some((prices.price, prices.feed_in))
        };
        assert_eq!(price("2026-11-30T11:59:59Z"), None);
        assert_eq!(price("2026-11-30T12:00:00Z"), Some((0.1, 0.08)));
        assert_eq!(price("2026-11-30T12:14:59Z"), Some((0.1, 0.08)));
        assert_eq!(price("2026-11-30T13:14:59Z"), Some((0.2, 0.07)));
        assert_eq!(price("2026-11-30T13:15:00Z"), None);
        assert_eq!(file.step(), Step::FiveMinutes);
        fs::write(&path, "2026-11-30T12:00:00Z,0.1\nno price\n").unwrap();
        let error = file.refresh().unwrap_err();
        assert!(error.contains("prices.csv:2: "), "{error}");
        assert_eq!(
            price("2026-11-30T13:14:59Z"),
            Some((0.2, 0.07)),
            "as they were"
        );
        fs::write(&path, "2026-11-30T12:00:00Z,0.3\n").unwrap();
        file.refresh().unwrap();
        assert_eq!(price("2026-11-30T12:20:00Z"), Some((0.3, 0.08)));
        assert_eq!(file.step(), Step::Hour);
        fs::remove_file(&path).unwrap();
        assert!(
            file.refresh()
                .unwrap_err()
                .contains("cannot read the prices")
        );
        assert!(
            PriceFile::from(folder.path().to_owned())
                .refresh()
                .unwrap_err()
                .contains("is a folder")
        );
    }
}
