//! What the bytes of a datagram mean: the form in which each source explains its own.

use kstar_model::catalogue::Values;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// What a datagram is.
#[derive(Debug, Default, Serialize)]
pub struct Explanation {
    /// Its length in bytes.
    pub length: usize,
    /// Its parts, in the order of the bytes.
    pub parts: Vec<Part>,
}

impl Explanation {
    /// How many bytes have a known meaning.
    pub fn known_bytes(&self) -> usize {
        let rows = self.parts.iter().flat_map(|part| &part.rows);
        let known = rows.filter(|row| !row.field.is_empty());
        known.map(|row| row.hex.len() / 2).sum()
    }
}

/// A stretch of a datagram that belongs together.
#[derive(Debug, Serialize)]
pub struct Part {
    /// Where it begins.
    pub position: usize,
    /// What it is.
    pub what: String,
    /// Why it is not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Its bytes.
    pub rows: Vec<Row>,
    /// What a reading holds of it, if it is running data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Shown>,
}

/// A few bytes with one meaning.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Where in the datagram they stand.
    pub position: usize,
    /// Where in the payload they stand, if they are in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
    /// The bytes.
    pub hex: String,
    /// The name that decoders of this protocol give them.
    pub field: &'static str,
    /// The integer that stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<i64>,
    /// The quantity of the catalogue that is read from them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<&'static str>,
    /// What they mean.
    pub meaning: String,
}

/// Values as `read` shows them.
#[derive(Debug)]
pub struct Shown(pub Values);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (quantity, value) in self.0.present() {
            object.serialize_entry(quantity.name(), &value)?;
        }
        object.end()
    }
}

/// A reply of a recording, without its framing.
#[derive(Clone, Debug)]
pub struct RecordedReply {
    /// The block's name.
    pub block: String,
    /// The request, as [`Block::request`](crate::source::Block::request) has it.
    pub request: Vec<u8>,
    /// The reply; absent if there was none.
    pub reply: Option<Vec<u8>>,
}

/// What a recording has of a block.
#[derive(Debug, Serialize)]
pub struct RecordedBlock {
    /// The block's name.
    pub block: String,
    /// What was asked, for people.
    pub asked: String,
    /// How often it was asked for.
    pub requests: usize,
    /// How often it was told.
    pub replies: usize,
    /// Why it was not told, if that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// What stands in it.
    pub registers: Vec<Register>,
}

/// One register, or the few that hold one value.
#[derive(Debug, Serialize)]
pub struct Register {
    /// The number of the first.
    pub register: u16,
    /// What it held last.
    pub hex: String,
    /// The same as an integer, if it is one.
    pub raw: Option<i64>,
    /// The lowest integer in all replies.
    pub lowest: Option<i64>,
    /// The highest.
    pub highest: Option<i64>,
    /// The quantities of the catalogue that are read from it.
    pub quantities: Vec<&'static str>,
    /// What it means.
    pub meaning: String,
}
