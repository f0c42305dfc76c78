//! Where each entry of a record stands: small tables, like the layout of running data.

use kstar_model::scalar::{Labels, ModeLabel};
use kstar_model::units::Decimal;
use kstar_source::record::{Entry, EntryValue, Record};

use super::field::Form;

/// Reads what fits into the payload; an entry that is blank, unset or cut off is absent.
pub(crate) fn read(fields: &'static [EntryField], payload: &[u8]) -> Record {
    let entries = fields.iter().filter_map(|field| {
        Some(Entry {
            key: field.key,
            label: field.label,
            unit: field.unit,
            value: field.read(payload)?,
        })
    });
    Record(entries.collect())
}

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
    Code(Form, &'static [(u16, &'static str)]),
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
