//! Records: what an inverter tells once and that is shown, who it is and how it is set.
//!
//! Their entries go to no sink: an entry has a key for JSON, a label for people, and a value in a form of its own.

use std::fmt;

use kstar_model::units::Decimal;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// The value of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryValue {
    /// A text.
    Text(String),
    /// A number in the entry's unit.
    Number(Decimal),
}

impl fmt::Display for EntryValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.pad(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl Serialize for EntryValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => number.serialize(serializer),
        }
    }
}

/// An entry that is present.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key in JSON.
    pub key: &'static str,
    /// The name for people, with what is uncertain about it.
    pub label: &'static str,
    /// The unit's symbol, empty where there is none.
    pub unit: &'static str,
    /// Its value.
    pub value: EntryValue,
}

/// The entries that are present, in the order in which they are told.
#[derive(Clone, Debug, Default)]
pub struct Record(pub Vec<Entry>);

impl Record {
    /// The value of the entry with that key.
    pub fn get(&self, key: &str) -> Option<&EntryValue> {
        self.0
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }
}

/// As one flat object.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for entry in &self.0 {
            object.serialize_entry(entry.key, &entry.value)?;
        }
        object.end()
    }
}
