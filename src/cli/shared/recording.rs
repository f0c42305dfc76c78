//! Recordings: a text file of JSON lines, the first of which says of what it is one, each other one an exchange or what
//! was passed over.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use kstar_source::datagram::Hex;
use kstar_source::explain::RecordedReply;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use super::failure::Failure;

/// The version of the form.
const VERSION: u64 = 1;

/// Far more than the longest frame takes.
const LONGEST_LINE: u64 = 16 * 1024;

/// Far more than the longest recording has.
const MOST_LINES: usize = 1_000_000;

/// What a recording is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The version of the form.
    pub kstar_recording: u64,
    /// The program's version.
    pub program: String,
    /// The family of the inverter.
    pub family: String,
    /// The way to it, where its family has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Its unit address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<u8>,
    /// The address that it was asked from, with AA55.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ap_address: Option<u8>,
    /// When it began.
    pub time: String,
}

impl Header {
    /// The version that is written.
    pub const VERSION: u64 = VERSION;
}

/// Bytes, as hexadecimal digits in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("`{text}` is no text of hexadecimal digits"));
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let digit = |sign: u8| char::from(sign).to_digit(16);
        let byte = |[high, low]: &[u8; 2]| {
            let (high, low) = digit(*high).zip(digit(*low))?;
            u8::try_from(high << 4 | low).ok()
        };
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        bytes
            .filter(|_| rest.is_empty())
            .map(Self)
            .ok_or_else(wrong)
    }
}

/// A request and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// When it was asked.
    pub time: String,
    /// The block that was asked for.
    pub block: String,
    /// The request without its framing.
    pub request: Bytes,
    /// The reply without its framing; absent if there was none, or none of the inverter's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Bytes>,
    /// The reply as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<Bytes>,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took: Option<u64>,
}

/// Something that came and was no reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassedOver {
    /// When it came.
    pub time: String,
    /// Why it was passed over.
    pub passed_over: String,
    /// What it was.
    pub bytes: Bytes,
}

/// A recording.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What it is of.
    pub header: Header,
    /// What was asked and told.
    pub exchanges: Vec<Exchange>,
    /// What was passed over.
    pub passed_over: Vec<PassedOver>,
}

impl Recording {
    /// Whether a file is one, by its first byte: files of hexadecimal digits are the other kind that can be replayed.
    #[cfg(feature = "demo")]
    pub fn is_one(path: &Path) -> bool {
        let mut first = [0];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut first));
        read.is_ok() && first == *b"{"
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let place = path.display();
        let unreadable = |error| Failure::Runtime(format!("cannot read {place}: {error}"));
        let mut reader = BufReader::new(std::fs::File::open(path).map_err(unreadable)?);
        let mut recording: Option<Self> = None;
        for number in 1.. {
            let wrong = |said: String| Failure::Runtime(format!("{place}, line {number}: {said}"));
            let mut line = Vec::new();
            let mut limited = reader.by_ref().take(LONGEST_LINE);
            limited.read_until(b'\n', &mut line).map_err(unreadable)?;
            if line.is_empty() {
                break;
            }
            let is_whole = line.ends_with(b"\n");
            if !is_whole && u64::try_from(line.len()).is_ok_and(|length| length == LONGEST_LINE) {
                return Err(wrong(format!(
                    "longer than {LONGEST_LINE} bytes; no line of a recording is"
                )));
            }
            if number > MOST_LINES {
                return Err(wrong("more lines than a recording has".to_owned()));
            }
            let told = match &mut recording {
                None => header(&line).map(|header| {
                    recording = Some(Self {
                        header,
                        exchanges: Vec::new(),
                        passed_over: Vec::new(),
                    });
                }),
                Some(recording) => recording.take(&line),
            };
            told.map_err(|said| {
                wrong(if is_whole {
                    said
                } else {
                    format!("the file ends in the middle of it: {said}")
                })
            })?;
        }
        recording.ok_or_else(|| Failure::Runtime(format!("{place} is empty; it is no recording")))
    }

    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let object = object(line)?;
        let is_passed_over = object.contains_key("passed_over");
        let value = Value::Object(object);
        let taken = if is_passed_over {
            serde_json::from_value(value).map(|line| self.passed_over.push(line))
        } else {
            serde_json::from_value(value).map(|line| self.exchanges.push(line))
        };
        taken.map_err(|error| error.to_string())
    }

    /// The replies to what the family asks; not the answer to the greeting.
    pub fn replies(&self) -> Vec<RecordedReply> {
        let replies = self.exchanges.iter().map(|exchange| RecordedReply {
            block: exchange.block.clone(),
            request: exchange.request.0.clone(),
            reply: exchange.reply.as_ref().map(|reply| reply.0.clone()),
        });
        replies.collect()
    }
}

fn object(line: &[u8]) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(line).map_err(|error| format!("no JSON object: {error}"))
}

fn header(line: &[u8]) -> Result<Header, String> {
    let object = object(line)?;
    match object.get("kstar_recording").map(Value::as_u64) {
        None => Err("the first line of a recording has the key `kstar_recording`".to_owned()),
        Some(Some(VERSION)) => {
            serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())
        }
        Some(_) => Err(format!(
            "a recording of another version; this program reads version {VERSION}, so use the program that wrote it"
        )),
    }
}
