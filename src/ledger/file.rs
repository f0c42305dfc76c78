//! The ledger's file: written whole each time and put in place by renaming, with a sum over its content.
//!
//! Renaming is safe from a process that is killed, but not from a power cut. So once a minute, and at the end, a second
//! file is written and synced: it is what the next start falls back to.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Accounts;
use super::quarantine::{self, Refused};

/// The version of the file's form. It rises only when an older program must not write it.
const VERSION: u32 = 1;

const FILE: &str = "meter.json";
const FALLBACK: &str = "meter.fallback.json";

/// The form of the file. The sum is over the text of `content`, whatever its form.
#[derive(Deserialize, Serialize)]
struct Envelope<'a> {
    version: u32,
    crc32: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// What is in the file: who wrote last has the higher number.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Content {
    written: u64,
    inverters: Accounts,
}

/// Why a ledger cannot be used. What is in it would be lost if it were begun anew.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A later version wrote it.
    #[error(
        "{} was written by a later version of this program (form {version}, this one knows {VERSION}); use that version, \
         or move the file away to begin new counters",
        path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its form.
        version: u32,
    },
    /// It cannot be read.
    #[error("cannot read the counters in {}: {error}; make it readable, or set another `state_dir`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Why one of the two files does not count.
enum Unusable {
    Missing,
    Damaged(String),
    Fatal(LedgerError),
}

/// The ledger of a state folder. All of it blocks.
#[derive(Debug)]
pub struct LedgerFile {
    folder: PathBuf,
    accounts: Accounts,
    written: u64,
    /// What the fallback holds, by its number.
    synced: u64,
    /// What is wrong with the folder, since that was said.
    trouble: Option<String>,
}

impl LedgerFile {
    /// Opens the ledger of a folder, or begins one. A damaged file is said and kept aside, and the fallback used.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        let mut found: Vec<Content> = Vec::new();
        let mut lost = false;
        for name in [FILE, FALLBACK] {
            let path = folder.join(name);
            match read(&path) {
                Ok(content) => found.push(content),
                Err(Unusable::Missing) => {}
                Err(Unusable::Fatal(error)) => return Err(error),
                Err(Unusable::Damaged(reason)) => {
                    lost = true;
                    let aside = path.with_extension("damaged");
                    // If it cannot be moved it is overwritten, which is no worse.
                    let kept =
                        fs::rename(&path, &aside).map_or(path.display(), |()| aside.display());
                    tracing::error!(path = %path.display(), reason, %kept, "the energy counters in this file are damaged");
                }
            }
        }
        let latest = found.into_iter().max_by_key(|content| content.written);
        match &latest {
            Some(_) if lost => {
                tracing::warn!(
                    "going on with the other copy of the energy counters; they miss a minute at most"
                );
            }
            None if lost => {
                tracing::error!(
                    "no copy of the energy counters is left, they begin at 0; `kstar meter set` sets them"
                );
            }
            _ => {}
        }
        let (written, accounts) = latest.map_or_else(Default::default, |content| {
            (content.written, content.inverters)
        });
        Ok(Self {
            folder: folder.to_owned(),
            accounts,
            written,
            synced: 0,
            trouble: None,
        })
    }

    /// What is remembered.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// What is remembered, to be changed; [`write`](Self::write) makes it last.
    pub fn accounts_mut(&mut self) -> &mut Accounts {
        &mut self.accounts
    }

    /// Writes what is remembered. A folder that cannot be written to is said once, and when it can be again; the
    /// counters go on in memory meanwhile.
    pub fn write(&mut self) {
        self.written += 1;
        let outcome = self.text().and_then(|text| {
            fs::create_dir_all(&self.folder)?;
            replace(&self.folder.join(FILE), &text, false)
        });
        self.report(outcome);
    }

    /// Makes sure that what was written outlives a power cut.
    pub fn sync(&mut self) {
        if self.synced == self.written {
            return;
        }
        let outcome = self
            .text()
            .and_then(|text| replace(&self.folder.join(FALLBACK), &text, true));
        if outcome.is_ok() {
            self.synced = self.written;
        }
        self.report(outcome);
    }

    /// Why what was written last did not reach the disk, if it did not.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Keeps readings that were refused.
    pub fn quarantine(&mut self, refused: &[Refused]) {
        let outcome = quarantine::keep(&self.folder, refused);
        self.report(outcome);
    }

    fn text(&self) -> io::Result<String> {
        let content = Content {
            written: self.written,
            inverters: self.accounts.clone(),
        };
        let content = serde_json::value::to_raw_value(&content)?;
        let envelope = Envelope {
            version: VERSION,
            crc32: sum(&content),
            content: &content,
        };
        Ok(serde_json::to_string(&envelope)? + "\n")
    }

    fn report(&mut self, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    tracing::info!(folder = %self.folder.display(), "the state folder can be written to again; the energy counters are kept");
                }
            }
            Err(error) => {
                let trouble = error.to_string();
                if self.trouble.is_none() {
                    tracing::error!(
                        folder = %self.folder.display(),
                        error = trouble,
                        "cannot write to the state folder; energies are counted on, but are lost if the program ends. \
                         Make room, or make the folder writable"
                    );
                }
                self.trouble = Some(trouble);
            }
        }
    }
}

/// Puts a text in the place of a file, so that there is always a whole one.
pub(super) fn replace(path: &Path, text: &str, sync: bool) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    if sync {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&new, path)?;
    if sync && let Some(folder) = path.parent() {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Elsewhere a folder cannot be opened to be synced, and the system sees to it.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn sum(content: &RawValue) -> String {
    format!("{:08x}", crc32fast::hash(content.get().as_bytes()))
}

fn read(path: &Path) -> Result<Content, Unusable> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::Fatal(LedgerError::Unreadable {
            path: path.to_owned(),
            error,
        }),
    })?;
    let damaged = |error: serde_json::Error| Unusable::Damaged(error.to_string());
    let envelope: Envelope = serde_json::from_slice(&bytes).map_err(damaged)?;
    if envelope.version > VERSION {
        return Err(Unusable::Fatal(LedgerError::TooNew {
            path: path.to_owned(),
            version: envelope.version,
        }));
    }
    if envelope.version < VERSION {
        let reason = format!("form {}, which there never was", envelope.version);
        return Err(Unusable::Damaged(reason));
    }
    let found = sum(envelope.content);
    if found != envelope.crc32 {
        return Err(Unusable::Damaged(format!(
            "checksum {found}, expected {}",
            envelope.crc32
        )));
    }
    serde_json::from_str(envelope.content.get()).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::super::Account;
    use super::*;
    use crate::meter::counters::Flow;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn open(folder: &tempfile::TempDir) -> LedgerFile {
        LedgerFile::open(folder.path()).expect("a ledger")
    }

    fn count(ledger: &mut LedgerFile, thousandths: u64) {
        let mut account = Account::default();
        account.current.meter.set(Flow::Pv, thousandths);
        ledger.accounts_mut().insert("roof".to_owned(), account);
        ledger.write();
    }

    fn counted(folder: &tempfile::TempDir) -> Option<i64> {
        let ledger = open(folder);
        let account = ledger.accounts().get("roof")?;
        Some(account.current.meter.totals.of(Flow::Pv).published())
    }

    #[test]
    fn what_was_written_is_found_again() {
        let folder = folder();
        assert_eq!(counted(&folder), None);
        let mut ledger = open(&folder);
        for thousandths in [1, 2, 3] {
            count(&mut ledger, thousandths);
            assert_eq!(
                counted(&folder),
                Some(i64::try_from(thousandths).expect("small"))
            );
        }
        count(&mut open(&folder), 4);
        assert_eq!(counted(&folder), Some(4));
    }

    #[test]
    fn whatever_is_damaged_the_fallback_takes_its_place_and_nothing_is_thrown_away() {
        let folder = folder();
        let mut ledger = open(&folder);
        count(&mut ledger, 5);
        ledger.sync();
        count(&mut ledger, 6);
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).expect("a file");
        for place in 0..whole.len() - 1 {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, &damaged).expect("written");
            assert_eq!(counted(&folder), Some(5), "byte {place}");
            let aside = fs::read(folder.path().join("meter.damaged")).expect("kept aside");
            assert_eq!(aside, damaged);
        }
        for length in [0, 1, whole.len() / 2, whole.len() - 3] {
            fs::write(&path, &whole[..length]).expect("written");
            assert_eq!(counted(&folder), Some(5), "cut to {length}");
        }
        fs::write(&path, &whole).expect("written");
        fs::write(folder.path().join(FALLBACK), "").expect("written");
        assert_eq!(counted(&folder), Some(6));
        fs::remove_file(&path).expect("removed");
        assert_eq!(counted(&folder), None);
    }

    #[test]
    fn after_a_power_cut_the_later_of_the_two_counts() {
        let folder = folder();
        let mut ledger = open(&folder);
        count(&mut ledger, 5);
        let old = fs::read(folder.path().join(FILE)).expect("a file");
        count(&mut ledger, 6);
        ledger.sync();
        // The renaming was not on the disk yet.
        fs::write(folder.path().join(FILE), old).expect("written");
        assert_eq!(counted(&folder), Some(6));
    }

    #[test]
    fn a_later_versions_file_is_refused_and_left_alone() {
        let folder = folder();
        count(&mut open(&folder), 5);
        let path = folder.path().join(FILE);
        let text = fs::read_to_string(&path).expect("a file");
        let later = text.replace("\"version\":1", "\"version\":2");
        assert_ne!(text, later);
        fs::write(&path, &later).expect("written");
        let error = LedgerFile::open(folder.path()).expect_err("too new");
        assert!(error.to_string().contains("later version"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("a file"), later);
    }

    #[test]
    fn a_folder_that_is_none_is_survived_and_comes_back() {
        let folder = folder();
        let place = folder.path().join("state");
        fs::write(&place, "a file in its place").expect("written");
        // Not there, as far as reading goes: nothing is lost by beginning.
        let Err(LedgerError::Unreadable { .. }) = LedgerFile::open(&place) else {
            panic!("a file is no folder");
        };
        fs::remove_file(&place).expect("removed");
        let mut ledger = LedgerFile::open(&place).expect("a ledger");
        fs::write(&place, "a file in its place").expect("written");
        count(&mut ledger, 7);
        assert!(ledger.trouble.is_some());
        fs::remove_file(&place).expect("removed");
        ledger.write();
        assert_eq!(ledger.trouble, None);
        assert!(place.join(FILE).is_file());
    }
}
