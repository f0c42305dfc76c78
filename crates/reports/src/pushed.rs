//! What of a history was pushed to a sink already: spans of time for each inverter, in a file.
//!
//! A reading that was pushed twice does no harm, so the record may lag behind; it must only never run ahead. It knows
//! readings by their time alone: what is imported later into a span that was pushed before is pushed only on demand.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use kstar_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// The name of the file in the state folder.
const FILE: &str = "backfill.json";

/// What was pushed, of all histories to all sinks.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// What of one inverter in a history was pushed to one place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub history: PathBuf,
    /// Where it was pushed to.
    pub destination: String,
    pub inverter: String,
    /// What was pushed: spans in Unix milliseconds, in their order, none touching another.
    #[serde(default)]
    done: Vec<Range<i64>>,
}

impl Record {
    /// The record in this folder; an empty one if there is none.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no record, with what to do.
    pub fn load(folder: &Path) -> Result<Self, String> {
        let path = folder.join(FILE);
        let entries = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                format!(
                    "{} does not tell what was pushed before ({error}); delete it, and everything is pushed once more",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        Ok(Self { path, entries })
    }

    /// Where it is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As it stands in its file.
    pub fn to_json(&self) -> Vec<u8> {
        // Plain numbers and texts; there is nothing in it that JSON has no form for.
        serde_json::to_vec(&self.entries).unwrap_or_default()
    }

    /// What is recorded of one inverter in a history and one place.
    pub fn entry(&mut self, history: &Path, destination: &str, inverter: &str) -> &mut Entry {
        let is_it = |entry: &Entry| {
            entry.history == history
                && entry.destination == destination
                && entry.inverter == inverter
        };
        let place = self.entries.iter().position(is_it).unwrap_or_else(|| {
            self.entries.push(Entry {
                history: history.to_owned(),
                destination: destination.to_owned(),
                inverter: inverter.to_owned(),
                done: Vec::new(),
            });
            self.entries.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed just now")]
        &mut self.entries[place]
    }
}

impl Entry {
    /// That a span was pushed.
    pub fn add(&mut self, span: &Range<UnixMillis>) {
        let mut whole = span.start.0..span.end.0;
        if whole.is_empty() {
            return;
        }
        self.done.retain(|done| {
            let apart = done.end < whole.start || whole.end < done.start;
            if !apart {
                whole = whole.start.min(done.start)..whole.end.max(done.end);
            }
            apart
        });
        let place = self.done.partition_point(|done| done.end < whole.start);
        self.done.insert(place, whole);
    }

    /// Forgets that a span was pushed.
    pub fn forget(&mut self, span: &Range<UnixMillis>) {
        if span.is_empty() {
            return;
        }
        let outside = |done: &Range<i64>| {
            [
                done.start..done.end.min(span.start.0),
                done.start.max(span.end.0)..done.end,
            ]
        };
        self.done = self.done.iter().flat_map(outside).collect();
        self.done.retain(|done| !done.is_empty());
    }

    /// What of a span was not pushed yet, oldest first.
    pub fn missing(&self, span: &Range<UnixMillis>) -> Vec<Range<UnixMillis>> {
        let mut missing = Vec::new();
        let mut begin = span.start.0;
        for done in &self.done {
            missing.push(begin..done.start.min(span.end.0));
            begin = begin.max(done.end);
        }
        missing.push(begin..span.end.0);
        missing
            .into_iter()
            .filter(|missing| !missing.is_empty())
            .map(|missing| UnixMillis(missing.start)..UnixMillis(missing.end))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn span(range: &Range<i64>) -> Range<UnixMillis> {
        UnixMillis(range.start)..UnixMillis(range.end)
    }

    fn load(folder: &Path) -> Record {
        Record::load(folder).expect("a record")
    }

    #[test]
    fn what_was_pushed_is_remembered_by_history_place_and_inverter() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut record = load(folder.path());
        record
            .entry(Path::new("/a"), "x", "roof")
            .add(&span(&(5..9)));
        record
            .entry(Path::new("/a"), "y", "roof")
            .add(&span(&(0..2)));
        record
            .entry(Path::new("/b"), "x", "barn")
            .add(&span(&(1..2)));
        std::fs::write(record.path(), record.to_json()).expect("written");
        let mut record = load(folder.path());
        let mut missing = |history, place, inverter| {
            record
                .entry(Path::new(history), place, inverter)
                .missing(&span(&(0..9)))
        };
        assert_eq!(missing("/a", "x", "roof"), [span(&(0..5))]);
        assert_eq!(missing("/a", "y", "roof"), [span(&(2..9))]);
        assert_eq!(missing("/b", "x", "barn"), [span(&(0..1)), span(&(2..9))]);
        assert_eq!(missing("/b", "x", "roof"), [span(&(0..9))]);
    }

    #[test]
    fn a_file_that_is_no_record_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), "[{]").expect("written");
        let error = Record::load(folder.path()).expect_err("no record");
        assert!(
            error.contains(FILE) && error.contains("delete it"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn spans_are_as_good_as_sets_of_moments(
            steps in prop::collection::vec((any::<bool>(), 0..60_i64, 0..20_i64), 0..20),
            asked in (0..60_i64, 0..40_i64),
        ) {
            let mut record = load(Path::new("/no/such/folder"));
            let entry = record.entry(Path::new("/a"), "x", "roof");
            let mut moments = BTreeSet::new();
            for (adds, begin, length) in steps {
                let range = begin..begin + length;
                if adds {
                    entry.add(&span(&range));
                    moments.extend(range);
                } else {
                    entry.forget(&span(&range));
                    moments.retain(|moment| !range.contains(moment));
                }
                prop_assert!(entry.done.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
            let asked = asked.0..asked.0 + asked.1;
            let missing: Vec<i64> = entry
                .missing(&span(&asked))
                .into_iter()
                .flat_map(|range| range.start.0..range.end.0)
                .collect();
            let expected: Vec<i64> = asked.filter(|moment| !moments.contains(moment)).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}
