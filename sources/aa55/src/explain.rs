//! What each byte of a datagram means, or why it means nothing.
//!
//! It is written for bug reports: whatever is given, also half a frame, is explained as far as it goes. Every byte
//! of the datagram stands in exactly one row.

use std::ops::Range;

use kstar_model::catalogue::{Quantity, Values};
use kstar_source::datagram::Hex;
use kstar_source::explain::{Explanation, Part, Row, Shown};

use crate::wire::frame::{Frame, HEADER_LENGTH, OVERHEAD, Refusal};
use crate::wire::record::{self, EntryField};
use crate::wire::running::{self, LAYOUT, Meaning};
use kstar_source::greeting::{self, Unreadable};

use crate::wire::{ApAddress, GREETING, Outgoing, Request, device_info, reply, settings};

/// Bytes that nobody knows are shown so many to a row.
const UNKNOWN_PER_ROW: usize = 8;

/// The rows of one part, in the order of the bytes.
struct Rows<'a> {
    datagram: &'a [u8],
    rows: Vec<Row>,
}

impl<'a> Rows<'a> {
    fn new(datagram: &'a [u8]) -> Self {
        Self {
            datagram,
            rows: Vec::new(),
        }
    }

    /// Adds a row for those bytes, unless they are beyond the end.
    fn push(&mut self, range: Range<usize>, field: &'static str, meaning: impl Into<String>) {
        let end = range.end.min(self.datagram.len());
        let Some(bytes) = self.datagram.get(range.start..end) else {
            return;
        };
        if bytes.is_empty() {
            return;
        }
        self.rows.push(Row {
            position: range.start,
            offset: None,
            hex: Hex(bytes).to_string(),
            field,
            raw: None,
            quantity: None,
            meaning: meaning.into(),
        });
    }

    /// Adds rows for bytes that nobody knows.
    fn push_unknown(&mut self, range: Range<usize>, meaning: &str) {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + UNKNOWN_PER_ROW);
            self.push(start..end, "", meaning);
            start = end;
        }
    }

    /// The byte at a position.
    fn byte(&self, position: usize) -> Option<u8> {
        self.datagram.get(position).copied()
    }
}

/// Explains a datagram.
pub fn explain(datagram: &[u8]) -> Explanation {
    let mut parts = Vec::new();
    let mut position = 0;
    while position < datagram.len() {
        let start = header_from(datagram, position);
        if start > position {
            parts.push(without_header(datagram, position..start));
        }
        if start < datagram.len() {
            let (part, end) = framed(datagram, start);
            parts.push(part);
            position = end;
        } else {
            position = start;
        }
    }
    Explanation {
        length: datagram.len(),
        parts,
    }
}

/// Where the next header begins, or the end.
fn header_from(datagram: &[u8], position: usize) -> usize {
    datagram
        .get(position..)
        .and_then(|rest| rest.windows(2).position(|pair| pair == [0xaa, 0x55]))
        .map_or(datagram.len(), |distance| position + distance)
}

/// Explains bytes in which no frame begins.
fn without_header(datagram: &[u8], range: Range<usize>) -> Part {
    let whole = range == (0..datagram.len());
    let bytes = datagram.get(range.clone()).unwrap_or_default();
    let mut rows = Rows::new(datagram);
    let mut part = Part {
        position: range.start,
        what: "bytes that belong to no frame; searched past".to_owned(),
        refusal: None,
        rows: Vec::new(),
        values: None,
    };
    match greeting::answer(bytes) {
        Err(Unreadable::Greeting) if bytes == GREETING => {
            "the greeting to WiFi modules, sent to port 48899".clone_into(&mut part.what);
            rows.push(range.clone(), "greeting", "makes a module tell its address");
        }
        Ok(answer) => {
            "a WiFi module's answer to the greeting".clone_into(&mut part.what);
            let absent = || "absent".to_owned();
            let address = answer.address.map(|address| address.to_string());
            let mac = answer.mac.map(|mac| mac.to_string());
            let meanings = [
                ("address", address.unwrap_or_else(absent)),
                ("mac", mac.unwrap_or_else(absent)),
                (
                    "name",
                    answer.name.unwrap_or_else(absent) + "; the module's, not the inverter's",
                ),
            ];
            let mut start = range.start;
            let mut pieces = bytes.splitn(3, |byte| *byte == b',');
            for (field, meaning) in meanings {
                let length = pieces.next().map_or(0, <[u8]>::len);
                // The comma behind it belongs to the row, so that no byte is left out.
                let end = (start + length + 1).min(range.end);
                rows.push(start..end, field, meaning);
                start = end;
            }
        }
        Err(_) => rows.push_unknown(range.clone(), &printable(bytes)),
    }
    part.refusal = whole
        .then(|| reply(bytes, Request::RunningData, ApAddress::B0).err())
        .flatten()
        .map(|refusal| refusal.to_string());
    part.rows = rows.rows;
    part
}

/// Text for people to recognise, if it is text.
fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => format!("text {text:?}"),
        _ => String::new(),
    }
}

/// Explains what begins with a header there, and tells where it ends.
fn framed(datagram: &[u8], start: usize) -> (Part, usize) {
    let checked = Frame::check(datagram, start);
    let at = |offset: usize| datagram.get(start + offset).copied();
    let claimed = at(6).map_or(datagram.len(), |length| {
        start + usize::from(length) + OVERHEAD
    });
    let end = match checked {
        Ok(frame) => start + frame.length(),
        // A whole frame may stand inside of a broken one: the module glues them together.
        Err(Refusal::Modbus { .. } | Refusal::TooShort { .. }) => next_frame(datagram, start + 2),
        Err(_) => claimed.min(next_frame(datagram, start + 2)),
    };
    let end = end.min(datagram.len());
    let own = datagram.get(..end).unwrap_or_default();
    let mut rows = Rows::new(own);
    rows.push(start..start + 2, "header", "every frame begins so");
    let mut part = Part {
        position: start,
        what: String::new(),
        refusal: checked.err().map(|refusal| refusal.to_string()),
        rows: Vec::new(),
        values: None,
    };
    if let Err(Refusal::Modbus { function }) = checked {
        "a Modbus reply in the header of AA55".clone_into(&mut part.what);
        modbus(&mut rows, start, end, function);
        part.rows = rows.rows;
        return (part, end);
    }
    part.what = frame_kind(own, start);
    head(&mut rows, start);
    let payload_start = start + HEADER_LENGTH;
    let payload_end = end.min(claimed.saturating_sub(2)).max(payload_start);
    let payload = own.get(payload_start..payload_end).unwrap_or_default();
    let first = rows.rows.len();
    match own.get(start + 2..start + 6) {
        Some([0x7f, _, 0x01, 0x86]) => {
            let decoded = running::decode(payload);
            running_rows(&mut rows, payload_start, payload, decoded.as_ref().ok());
            match (checked, decoded) {
                (Ok(_), Ok(values)) => part.values = Some(Shown(values)),
                (Ok(_), Err(refusal)) => part.refusal = Some(refusal.to_string()),
                // The values of a broken frame are not to be trusted: its rows have to do.
                (Err(_), _) => {}
            }
        }
        Some([0x7f, _, 0x01, 0x82]) => {
            record_rows(&mut rows, payload_start, payload, device_info::ENTRIES);
        }
        Some([0x7f, _, 0x01, 0x89]) => {
            record_rows(&mut rows, payload_start, payload, settings::ENTRIES);
        }
        Some([0x7f, _, 0x02 | 0x03, _]) if payload == [0x06] => {
            rows.push(payload_start..payload_end, "acknowledgement", "accepted");
        }
        _ => rows.push_unknown(payload_start..payload_end, "unknown"),
    }
    for row in rows.rows.iter_mut().skip(first) {
        row.offset = Some(row.position - payload_start);
    }
    let meaning = match checked {
        Ok(_) => "the sum of all bytes before, right".to_owned(),
        Err(Refusal::Checksum { computed, .. }) => {
            format!("the sum of all bytes before is {computed:04x}")
        }
        Err(_) => "cut off".to_owned(),
    };
    rows.push(payload_end..end, "checksum", meaning);
    part.rows = rows.rows;
    (part, end)
}

/// Where the next whole frame begins, or the end.
fn next_frame(datagram: &[u8], position: usize) -> usize {
    let mut start = header_from(datagram, position);
    while start < datagram.len() && Frame::check(datagram, start).is_err() {
        start = header_from(datagram, start + 2);
    }
    start
}

/// What kind of frame begins there.
fn frame_kind(datagram: &[u8], start: usize) -> String {
    let bytes = datagram.get(start..).unwrap_or_default();
    let known = [Request::DeviceInfo, Request::RunningData, Request::Settings];
    let &[_, _, source, _, control, function, ..] = bytes else {
        return "the beginning of a frame".to_owned();
    };
    if source != 0x7f {
        let sent = known
            .into_iter()
            .flat_map(|request| [(request, ApAddress::B0), (request, ApAddress::C0)])
            .find(|(request, ap)| bytes.starts_with(Outgoing::Request(*request, *ap).bytes()));
        return match (sent, control) {
            (Some((request, _)), _) => format!("a request for {request}"),
            (None, 0x01) => {
                format!("a request {control:02x}{function:02x} that this program does not send")
            }
            _ => format!("a command {control:02x}{function:02x}; this program never sends one"),
        };
    }
    let replied = known
        .into_iter()
        .find(|request| control == 0x01 && request.reply_function() == function);
    match (replied, control) {
        (Some(request), _) => format!("a reply with {request}"),
        (None, 0x02 | 0x03) => format!(
            "a reply {control:02x}{function:02x} to the command {control:02x}{:02x} of another program",
            function & 0x7f
        ),
        _ => format!("a reply of the unknown type {control:02x}{function:02x}"),
    }
}

/// The rows of a frame's head behind its first two bytes.
fn head(rows: &mut Rows<'_>, start: usize) {
    let address = |byte: u8| match byte {
        0x7f => "the inverter".to_owned(),
        0xb0 => "one who asks as KSTAR's app does".to_owned(),
        0xc0 => "one who asks as GoodWe's tools do".to_owned(),
        0x80.. => "another one who asks".to_owned(),
        _ => "an inverter with an address of its own".to_owned(),
    };
    if let Some(source) = rows.byte(start + 2) {
        rows.push(
            start + 2..start + 3,
            "source",
            format!("from {}", address(source)),
        );
    }
    if let Some(destination) = rows.byte(start + 3) {
        let meaning = format!("for {}", address(destination));
        rows.push(start + 3..start + 4, "destination", meaning);
    }
    let control = match rows.byte(start + 4) {
        Some(0x00) => "register",
        Some(0x01) => "read",
        Some(0x02 | 0x03) => "write",
        _ => "unknown",
    };
    rows.push(start + 4..start + 5, "control", control);
    if let Some(function) = rows.byte(start + 5) {
        let meaning = if function >= 0x80 {
            format!("reply to {:02x}", function & 0x7f)
        } else {
            "request".to_owned()
        };
        rows.push(start + 5..start + 6, "function", meaning);
    }
    if let Some(length) = rows.byte(start + 6) {
        let meaning = format!(
            "{length} bytes of payload, {} in all",
            usize::from(length) + OVERHEAD
        );
        rows.push(start + 6..start + 7, "length", meaning);
    }
}

fn modbus(rows: &mut Rows<'_>, start: usize, end: usize, function: u8) {
    rows.push(start + 2..start + 3, "unit", "a Modbus machine");
    let meaning = if function >= 0x80 {
        format!("exception to function {:02x}", function & 0x7f)
    } else {
        format!("function {function:02x}")
    };
    rows.push(start + 3..start + 4, "function", meaning);
    let sum = end.saturating_sub(2).max(start + 4);
    rows.push_unknown(
        start + 4..sum,
        if function >= 0x80 {
            "exception code"
        } else {
            "Modbus data"
        },
    );
    rows.push(sum..end, "crc", "Modbus checksum");
}

/// The rows of a table's fields, with the unknown bytes between them.
///
/// Each field is its offset, its width, and what makes its row out of the bytes' place.
fn field_rows<'a>(
    rows: &mut Rows<'_>,
    start: usize,
    payload: &[u8],
    fields: impl Iterator<Item = (usize, usize, &'static str, Meant<'a>)>,
) {
    let mut done = 0;
    for (offset, width, name, meant) in fields {
        if offset >= payload.len() {
            break;
        }
        rows.push_unknown(start + done..start + offset, "unknown");
        done = (offset + width).min(payload.len());
        if offset + width > payload.len() {
            rows.push(start + offset..start + done, name, "cut off");
            continue;
        }
        let (raw, quantity, meaning) = meant();
        rows.push(start + offset..start + done, name, meaning);
        if let Some(row) = rows.rows.last_mut() {
            row.raw = raw;
            row.quantity = quantity.map(Quantity::name);
        }
    }
    rows.push_unknown(start + done..start + payload.len(), "unknown");
}

/// What a whole field means: its integer, its quantity, its words.
type Meant<'a> = Box<dyn Fn() -> (Option<i64>, Option<Quantity>, String) + 'a>;

fn running_rows(rows: &mut Rows<'_>, start: usize, payload: &[u8], decoded: Option<&Values>) {
    let fields = LAYOUT.iter().map(|field| {
        let meant: Meant<'_> = Box::new(move || {
            let raw = field.form.read(payload, field.offset);
            match field.meaning {
                Meaning::NotRead(note) => (raw, None, format!("not read: {note}")),
                Meaning::Quantity(quantity) => (
                    raw,
                    Some(quantity),
                    quantity_meaning(quantity, raw, decoded),
                ),
            }
        });
        (field.offset, field.form.width(), field.wire_name, meant)
    });
    field_rows(rows, start, payload, fields);
}

/// What a field says of its quantity, and what becomes of it.
fn quantity_meaning(quantity: Quantity, raw: Option<i64>, decoded: Option<&Values>) -> String {
    let Some(raw) = raw else {
        return format!("{quantity}: these bytes mean that there is no value");
    };
    let in_unit = |raw| with_unit(quantity, raw);
    match decoded.map(|values| values.raw(quantity)) {
        Some(None) => format!("{quantity} absent, although {} stands here", in_unit(raw)),
        Some(Some(other)) if other != raw => {
            format!(
                "{quantity} {}, its size is {}",
                in_unit(other),
                in_unit(raw)
            )
        }
        _ => format!("{quantity} {}", in_unit(raw)),
    }
}

fn with_unit(quantity: Quantity, raw: i64) -> String {
    format!("{} {}", quantity.value(raw), quantity.description().unit)
        .trim_end()
        .to_owned()
}

fn record_rows(rows: &mut Rows<'_>, start: usize, payload: &[u8], entries: &'static [EntryField]) {
    let record = record::read(entries, payload);
    let fields = entries.iter().map(|field| {
        let value = record.get(field.key);
        let meant: Meant<'_> = Box::new(move || {
            let meaning = match value {
                Some(value) => format!("{}: {value} {}", field.label, field.unit),
                None => format!("{}: blank, unset or no text", field.label),
            };
            (None, None, meaning.trim_end().to_owned())
        });
        (field.offset, field.form.width(), field.key, meant)
    });
    field_rows(rows, start, payload, fields);
}
