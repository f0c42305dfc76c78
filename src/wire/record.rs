//! Records: the replies that are read once and shown, device info and settings.
//!
//! They are small tables like the layout of running data, but their entries go to no sink: an entry has a key for
//! JSON, a label for people, and a value in a form of its own.

use std::fmt;

use kstar_sink::labels::{Labels, ModeLabel};
use kstar_sink::units::Decimal;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::field::Form;

/// One entry's place and meaning.
#[derive(Clone, Copy, Debug)]
pub struct EntryField {
    /// Bytes from the beginning of the payload.
    pub offset: usize,
    /// What stands there.
    pub form: EntryForm,
    /// The key in JSON.
    pub key: &'static str,
    /// The name for people, with what is uncertain about it.
    pub label: &'static str,
    /// The unit's symbol, empty where there is none.
    pub unit: &'static str,
}

/// The form of an entry.
#[derive(Clone, Copy, Debug)]
pub enum EntryForm {
    /// So many bytes of ASCII, padded with spaces or NULs.
    Text(usize),
    /// So many ASCII digits, with so many decimals.
    Digits(usize, u8),
    /// A number with so many decimals.
    Number(Form, u8),
    /// Hour and minute, a byte each; hour 48 means unset.
    TimeOfDay,
    /// A code with its words.
    Code(Form, &'static [(u8, &'static str)]),
}

impl EntryForm {
    /// How many bytes it takes.
    pub const fn width(self) -> usize {
        match self {
            Self::Text(width) | Self::Digits(width, _) => width,
            Self::Number(form, _) | Self::Code(form, _) => form.width(),
            Self::TimeOfDay => 2,
        }
    }
}

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
    /// Its place and meaning.
    pub field: &'static EntryField,
    /// Its value.
    pub value: EntryValue,
}

/// The entries of a reply that are present, in the order of the bytes.
#[derive(Clone, Debug)]
pub struct Record(Vec<Entry>);

impl Record {
    /// Reads what fits into the payload; an entry that is blank, unset or cut off is absent.
    pub(crate) fn read(fields: &'static [EntryField], payload: &[u8]) -> Self {
        let entries = fields.iter().filter_map(|field| {
            Some(Entry {
                field,
                value: field.read(payload)?,
            })
        });
        Self(entries.collect())
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The value of the entry with that key.
    pub fn get(&self, key: &str) -> Option<&EntryValue> {
        self.0
            .iter()
            .find(|entry| entry.field.key == key)
            .map(|entry| &entry.value)
    }
}

/// As one JSON object.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for entry in &self.0 {
            object.serialize_entry(entry.field.key, &entry.value)?;
        }
        object.end()
    }
}

impl EntryField {
    fn read(&self, payload: &[u8]) -> Option<EntryValue> {
        match self.form {
            EntryForm::Text(width) => text(payload, self.offset, width).map(EntryValue::Text),
            EntryForm::Digits(width, decimals) => {
                let raw = text(payload, self.offset, width)?.parse().ok()?;
                Some(EntryValue::Number(Decimal { raw, decimals }))
            }
            EntryForm::Number(form, decimals) => Some(EntryValue::Number(Decimal {
                raw: form.read(payload, self.offset)?,
                decimals,
            })),
            EntryForm::TimeOfDay => {
                let (hour, minute) = (
                    Form::U8.read(payload, self.offset)?,
                    Form::U8.read(payload, self.offset + 1)?,
                );
                (hour < 24 && minute < 60)
                    .then(|| EntryValue::Text(format!("{hour:02}:{minute:02}")))
            }
            EntryForm::Code(form, words) => {
                let code = form.read(payload, self.offset)?;
                let labels = Labels(words);
                Some(EntryValue::Text(ModeLabel { labels, code }.to_string()))
            }
        }
    }
}

/// The text at a place, if it is whole, ASCII and not blank.
fn text(payload: &[u8], offset: usize, width: usize) -> Option<String> {
    let bytes = payload.get(offset..offset + width)?;
    let text = std::str::from_utf8(bytes).ok()?.trim_matches(['\0', ' ']);
    (!text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~')))
        .then(|| text.to_owned())
}
