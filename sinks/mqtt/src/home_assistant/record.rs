//! What was announced, kept in a file: only what is recorded as ours is ever cleaned up.
//!
//! It is written before anything in it is published, so that no announcement outlives the memory of it; what is to
//! be cleared stays in it until the broker has acknowledged that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kstar_common::file::replace;
use kstar_model::catalogue::Quantity;
use kstar_model::reading::Inverter;
use kstar_sink::event::Nameplate;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::names::node_id;
use super::set::Set;
use super::settings::Form;
use super::vocabulary::Platform;

/// The version of the file's form; another one is begun anew.
const VERSION: u32 = 1;

/// Everything that one collector, known by its client id, has announced and not yet cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Record {
    version: u32,
    client_id: String,
    /// By the inverter's name.
    pub(super) inverters: BTreeMap<String, Announced>,
    /// The sink's own topics that the broker keeps: who is there, and totals.
    #[serde(default)]
    pub(super) retained: BTreeSet<String>,
    /// Topics to be cleared.
    pub(super) leftovers: Vec<Leftover>,
    #[serde(default)]
    pub(super) collector: Option<AnnouncedCollector>,
}

/// What was announced of one inverter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Announced {
    pub(super) prefix: String,
    pub(super) form: Form,
    /// What Home Assistant knows it by, if that is of another name than its own: of the one that it had first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) family: Option<String>,
    #[serde(default)]
    pub(super) firmware: Option<String>,
    /// Its components by key.
    pub(super) components: BTreeMap<String, Platform>,
    /// Components whose removal is not acknowledged yet; only in the form of one message per device.
    pub(super) removed: BTreeMap<String, Platform>,
}

impl Announced {
    /// What Home Assistant knows the inverter of this name by.
    pub(super) fn node(&self, name: &str) -> String {
        self.node.clone().unwrap_or_else(|| node_id(name))
    }

    /// The inverter of this name, as far as it was known.
    pub(super) fn inverter(&self, name: &Arc<str>) -> Inverter {
        Inverter {
            name: Arc::clone(name),
            serial: self.serial.as_deref().map(Arc::from),
            model: self.model.as_deref().map(Arc::from),
        }
    }

    /// What else was known of it.
    pub(super) fn nameplate(&self) -> Nameplate {
        let text = |text: &Option<String>| text.as_deref().map(Arc::from);
        Nameplate {
            title: text(&self.title),
            family: text(&self.family),
            firmware: text(&self.firmware),
        }
    }

    /// The quantities whose components these are, as far as they are still known.
    pub(super) fn quantities(&self) -> Set {
        let keys = self.components.keys();
        keys.filter_map(|key| Quantity::from_name(key)).collect()
    }
}

/// What was announced of the collector.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct AnnouncedCollector {
    pub(super) prefix: String,
    pub(super) form: Form,
    /// That of the prices, if there are any.
    pub(super) currency: Option<String>,
    /// Its components by key.
    pub(super) components: BTreeMap<String, Platform>,
    /// See [`Announced::removed`].
    pub(super) removed: BTreeMap<String, Platform>,
}

/// A topic of ours that is to be cleared.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Leftover {
    pub(super) topic: String,
    /// Whether its entities go on in the other form and must keep their settings and history.
    pub(super) migrate: bool,
}

/// The file that holds a [`Record`].
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    client_id: String,
    /// What the file holds, as far as is known.
    written: Option<Record>,
}

impl RecordFile {
    /// The file of this client id, and what is in it. A damaged one is said and begun anew.
    pub(super) fn open(state_dir: &Path, client_id: &str) -> (Self, Record) {
        let path = state_dir.join(file_name(client_id));
        let found = match read(&path) {
            Ok(found) => found.filter(|record| record.client_id == client_id),
            Err(error) => {
                warn!(
                    path = %path.display(),
                    %error,
                    "the record of what was announced to Home Assistant cannot be used and is begun anew; \
                     what it alone knew of stays on the broker"
                );
                None
            }
        };
        let file = Self {
            path,
            client_id: client_id.to_owned(),
            written: found.clone(),
        };
        (file, found.unwrap_or_default())
    }

    /// Writes the record if it differs from what the file holds. If it cannot be written that is said, and tried
    /// again at the next change.
    pub(super) fn save(&mut self, record: Record) {
        if let Err(error) = self.try_save(record) {
            warn!(
                path = %self.path.display(),
                %error,
                "cannot write the record of what was announced to Home Assistant; \
                 a later start may leave some of it on the broker"
            );
        }
    }

    fn try_save(&mut self, mut record: Record) -> io::Result<()> {
        record.version = VERSION;
        record.client_id.clone_from(&self.client_id);
        if self.written.as_ref() != Some(&record) {
            write(&self.path, &record)?;
            self.written = Some(record);
        }
        Ok(())
    }
}

/// Lets Home Assistant know an inverter again that has another name from now on; whether it knows it.
pub(crate) fn rename(
    state_dir: &Path,
    client_id: &str,
    old: &str,
    new: &str,
) -> Result<bool, String> {
    let (mut file, mut record) = RecordFile::open(state_dir, client_id);
    let Some(mut announced) = record.inverters.remove(old) else {
        return Ok(false);
    };
    if record.inverters.contains_key(new) {
        return Err(format!(
            "Home Assistant knows an inverter `{new}` already; run the collector without it once, so that it is taken out there"
        ));
    }
    announced.node.get_or_insert_with(|| node_id(old));
    announced.node.take_if(|node| *node == node_id(new));
    record.inverters.insert(new.to_owned(), announced);
    let path = file.path.clone();
    file.try_save(record)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(true)
}

/// A client id as a file's name: any other character as its bytes, capitals too, since some file systems do not
/// tell them from small letters.
fn file_name(client_id: &str) -> String {
    let mut name = String::from("mqtt-home-assistant-");
    for byte in client_id.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            other => {
                // Writing to a `String` does not fail.
                let _ = write!(name, "%{other:02x}");
            }
        }
    }
    name.push_str(".json");
    name
}

/// The record in the file, or `None` if there is no file.
fn read(path: &Path) -> io::Result<Option<Record>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let record: Record = serde_json::from_slice(&text)?;
    if record.version != VERSION {
        return Err(io::Error::other(format!(
            "version {}, expected {VERSION}",
            record.version
        )));
    }
    Ok(Some(record))
}

fn write(path: &Path, record: &Record) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    replace(path, &serde_json::to_vec_pretty(record)?, true)
}
