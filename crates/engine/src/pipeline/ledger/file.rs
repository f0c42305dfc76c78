//! The ledger's files: a base with everything, twice, and a log of what has changed since, line by line.
//!
//! What is written goes to the end of the log, which takes no new file and hardly wears a memory card. A process that is
//! killed loses nothing of it; once a minute, and at the end, it is synced, for the power may be cut. When the log has
//! become long, both copies of the base are written anew, one after the other and synced, and only then is it emptied.
//!
//! Each line and each copy has a number that rises, and a sum over its content. For every inverter what is right and has
//! the highest number counts, wherever it stands: so a torn end, a damaged copy or an old log that comes back costs what
//! was in it and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use kstar_common::collect::inserted;
use kstar_common::file::{FileId, file_id, replace, sync_folder};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::quarantine::{Refused, Waiting};
use super::{Account, Accounts};

/// The version of the files' form. It rises only when an older program must not write them: one that knew of no log would
/// take an old base for the newest, and one that knew of no accounts cannot read theirs.
const VERSION: u32 = 3;

/// The oldest form that is read: without accounts.
const OLDEST: u32 = 2;

/// The base, and its copy.
const BASES: [&str; 2] = ["meter.json", "meter.fallback.json"];

const LOG: &str = "meter.log";

/// From which length on the log is put into the base when it is synced: some hundred lines.
const LONG_LOG: u64 = 64 * 1024;

/// At which length it is not waited for that. Only fast polling comes so far in a minute.
const LONGEST_LOG: u64 = 1024 * 1024;

/// The form of a base, and of a line of the log. The sum is over the version and the text of `content`, whatever its form.
#[derive(Deserialize, Serialize)]
struct Envelope<'a> {
    version: u32,
    crc32: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// What is in it: who wrote last has the higher number. In a line of the log are only the inverters that have changed.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Content<A> {
    written: u64,
    inverters: A,
}

/// Why a ledger cannot be used. What is in it would be lost if it were begun anew.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A later version wrote it, or one that is no longer read.
    #[error(
        "{} was written by {} version of this program (form {version}, this one knows {VERSION}); use that version, \
         or move the file away to begin new counters",
        path.display(), if *version > VERSION { "a later" } else { "a much earlier" }
    )]
    OtherForm { path: PathBuf, version: u32 },
    /// It cannot be read.
    #[error(
        "cannot read the counters in {}: {error}; make it readable, move it away to begin new counters, or set another \
         `state_dir`",
        path.display()
    )]
    Unreadable {
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Why a copy of the base or a line of the log does not count.
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
    /// Whose accounts are not written yet.
    changed: BTreeSet<String>,
    written: u64,
    /// How far the log was synced, by the number of its last line.
    synced: u64,
    /// How long the log is, if it can be gone on with. Otherwise something is missing, damaged or of an old form, and the
    /// base is written first.
    log: Option<u64>,
    /// The log, as it was opened last, and which file that is.
    open: Option<(File, FileId)>,
    /// Readings that were refused and are not written yet.
    refused: Waiting,
    /// What is wrong with the folder, since that was said.
    trouble: Option<String>,
}

impl LedgerFile {
    /// Opens the ledger of a folder, or begins one. It changes nothing there, but for a damaged copy of the base, which is
    /// said and kept aside.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        // The log first: what a running collector moves from there to the base meanwhile is found in the base then.
        let Log { lines, mut length } = read_log(&folder.join(LOG))?;
        let mut found: Vec<Content<Accounts>> = Vec::new();
        let mut lost = false;
        for name in BASES {
            let path = folder.join(name);
            match read_base(&path) {
                Ok((version, content)) => {
                    found.push(content);
                    if version < VERSION {
                        length = None;
                    }
                }
                Err(Unusable::Missing) => length = None,
                Err(Unusable::Fatal(error)) => return Err(error),
                Err(Unusable::Damaged(reason)) => {
                    lost = true;
                    length = None;
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
                tracing::warn!("going on with the other copy of the energy counters");
            }
            None if lost && lines.is_empty() => {
                tracing::error!(
                    "no copy of the energy counters is left, they begin at 0; `kstar meter set` sets them"
                );
            }
            None if lost => {
                tracing::error!(
                    "no copy of the energy counters is left but what was written last; inverters that were silent then begin at 0"
                );
            }
            _ => {}
        }
        let (base, mut accounts) = latest.map_or_else(Default::default, |content| {
            (content.written, content.inverters)
        });
        let mut written = base;
        for line in lines {
            // An older one was put into the base before, or is a part of the file that was emptied.
            if line.written > written {
                written = line.written;
                accounts.extend(line.inverters);
            }
        }
        // Those of older forms have no number.
        accounts.values_mut().for_each(Account::complete);
        Ok(Self {
            folder: folder.to_owned(),
            accounts,
            changed: BTreeSet::new(),
            written,
            synced: 0,
            log: length,
            open: None,
            refused: Waiting::default(),
            trouble: None,
        })
    }

    /// The state folder that it is in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// What is remembered under a name, to be changed; [`write`](Self::write) makes it last.
    pub fn account_mut(&mut self, inverter: &str) -> &mut Account {
        self.changed.insert(inverter.to_owned());
        self.accounts.entry(inverter.to_owned()).or_default()
    }

    /// Remembers under another name what is remembered under one, and writes it, with a sync. There must be nothing under the
    /// other one.
    pub fn rename(&mut self, old: &str, new: &str) -> io::Result<()> {
        if let Some(account) = self.accounts.remove(old) {
            self.accounts.insert(new.to_owned(), account);
        }
        self.written += 1;
        // The end of the log can say what is remembered, and not that it is gone.
        self.rebase()
    }

    /// Writes what has changed, and says whether that was possible. A folder that cannot be written to is logged once, and
    /// when it can be again; the counters go on in memory meanwhile.
    pub fn write(&mut self) -> bool {
        self.written += 1;
        let outcome = match self.log {
            Some(length) if length < LONGEST_LOG => self.append(length),
            _ => self.rebase(),
        };
        let written = outcome.is_ok();
        self.report(outcome);
        written
    }

    /// Makes sure that what was written outlives a power cut, and that nothing waits.
    pub fn sync(&mut self) {
        if !self.refused.is_empty() {
            self.write_refused();
        }
        if self.synced == self.written {
            return;
        }
        let outcome = match self.log {
            Some(length) if length < LONG_LOG => self.sync_log(),
            _ => self.rebase(),
        };
        self.report(outcome);
    }

    /// Writes what has changed to the end of the log.
    fn append(&mut self, length: u64) -> io::Result<()> {
        // Whatever goes wrong, nothing is written behind half a line.
        self.log = None;
        let accounts = &self.accounts;
        let changed = self.changed.iter();
        let changed = changed.filter_map(|name| Some((name.as_str(), accounts.get(name)?)));
        let changed: BTreeMap<&str, &Account> = inserted(changed);
        let line = self.text(&changed)?;
        match self.open_log() {
            Ok(mut log) => log.write_all(line.as_bytes())?,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.rebase(),
            Err(error) => return Err(error),
        }
        let written = u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.log = Some(length.saturating_add(written));
        self.changed.clear();
        Ok(())
    }

    /// The log that has the name now: in a file that somebody has removed nothing would be found again.
    fn open_log(&mut self) -> io::Result<&File> {
        let path = self.folder.join(LOG);
        let there = file_id(&path)?;
        let open = match self.open.take() {
            Some((log, id)) if id == there => (log, id),
            _ => (OpenOptions::new().append(true).open(path)?, there),
        };
        Ok(&self.open.insert(open).0)
    }

    fn sync_log(&mut self) -> io::Result<()> {
        self.open_log()?.sync_data()?;
        self.synced = self.written;
        Ok(())
    }

    /// Writes everything to both copies of the base, and empties the log.
    fn rebase(&mut self) -> io::Result<()> {
        self.log = None;
        let text = self.text(&self.accounts)?;
        fs::create_dir_all(&self.folder)?;
        for name in BASES {
            replace(&self.folder.join(name), text.as_bytes(), true)?;
        }
        File::create(self.folder.join(LOG))?;
        sync_folder(&self.folder)?;
        self.log = Some(0);
        self.synced = self.written;
        self.changed.clear();
        Ok(())
    }

    /// Why what was written last did not reach the disk, if it did not.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Keeps readings that were refused, with the next sync at the latest.
    pub fn quarantine(&mut self, refused: &[Refused]) {
        self.refused.add(refused);
        if self.refused.is_due(Instant::now()) {
            self.write_refused();
        }
    }

    fn write_refused(&mut self) {
        let outcome = self.refused.write(&self.folder, Instant::now());
        self.report(outcome);
    }

    fn text(&self, inverters: impl Serialize) -> io::Result<String> {
        let content = serde_json::value::to_raw_value(&Content {
            written: self.written,
            inverters,
        })?;
        let envelope = Envelope {
            version: VERSION,
            crc32: sum(VERSION, &content),
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
                        "cannot write to the state folder; readings go on without the meter's energies, which are counted on and \
                         come back when it can be written to, but are lost if the program ends before. Make room, or make the \
                         folder writable"
                    );
                }
                self.trouble = Some(trouble);
            }
        }
    }
}

/// The sum in an envelope. It covers the version, so that one byte that is wrong does not make a later form of this one.
fn sum(version: u32, content: &RawValue) -> String {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&version.to_be_bytes());
    sum.update(content.get().as_bytes());
    format!("{:08x}", sum.finalize())
}

/// The bytes of a file, if it is there. Anything but a file, a named pipe for one, might keep whoever reads it for ever.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    let read = fs::metadata(path).and_then(|metadata| {
        if metadata.is_file() {
            fs::read(path)
        } else {
            Err(io::Error::other("it is not a regular file"))
        }
    });
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::Unreadable {
            path: path.to_owned(),
            error,
        }),
    }
}

fn read_base(path: &Path) -> Result<(u32, Content<Accounts>), Unusable> {
    let bytes = bytes(path).map_err(Unusable::Fatal)?;
    content(path, &bytes.ok_or(Unusable::Missing)?)
}

struct Log {
    /// The lines that are whole, in the order in which they were written.
    lines: Vec<Content<Accounts>>,
    /// Its length, if every line is whole.
    length: Option<u64>,
}

fn read_log(path: &Path) -> Result<Log, LedgerError> {
    let Some(bytes) = bytes(path)? else {
        let (lines, length) = (Vec::new(), None);
        return Ok(Log { lines, length });
    };
    let mut lines = Vec::new();
    let (mut damaged, mut torn) = (0_usize, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match content(path, line) {
            Ok((_, content)) if line.ends_with(b"\n") => lines.push(content),
            Err(Unusable::Fatal(error)) => return Err(error),
            // A power cut or a full disk has torn it, or it is being written just now.
            _ if !line.ends_with(b"\n") => torn = true,
            _ => damaged += 1,
        }
    }
    if damaged > 0 {
        tracing::warn!(path = %path.display(), damaged, whole = lines.len(), "lines of the energy counters are damaged and passed over");
    }
    let whole = damaged == 0 && !torn;
    let length = u64::try_from(bytes.len()).ok().filter(|_| whole);
    Ok(Log { lines, length })
}

/// What is in an envelope, if it is whole.
fn content(path: &Path, text: &[u8]) -> Result<(u32, Content<Accounts>), Unusable> {
    let damaged = |error: serde_json::Error| Unusable::Damaged(error.to_string());
    let envelope: Envelope = serde_json::from_slice(text).map_err(damaged)?;
    let Envelope {
        version,
        crc32,
        content,
    } = &envelope;
    let fits = |version: u32| sum(version, content) == *crc32;
    let is_known = (OLDEST..=VERSION).contains(version);
    if !is_known && !(OLDEST..=VERSION).any(fits) {
        return Err(Unusable::Fatal(LedgerError::OtherForm {
            path: path.to_owned(),
            version: *version,
        }));
    }
    if !is_known || !fits(*version) {
        return Err(Unusable::Damaged(format!(
            "its checksum is {crc32}, which is not that of its content in form {version}"
        )));
    }
    let content = serde_json::from_str(content.get()).map_err(damaged)?;
    Ok((*version, content))
}

#[cfg(test)]
mod tests;
