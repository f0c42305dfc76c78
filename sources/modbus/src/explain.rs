//! What each byte of a Modbus frame means, in whatever framing it came.
//!
//! Every byte stands in exactly one row. Which family a reply is of does not stand in it: registers are named by every
//! block of that function and length, and where there are several, each says what it would be.

use std::ops::Range;

use kstar_source::datagram::Hex;
use kstar_source::explain::{Explanation, Part, Row};

use crate::anatomy::{self, Frame, Framing, frames};
use crate::families::Family;
use crate::families::goodwe_dt::GOODWE_DT;
use crate::families::goodwe_et::GOODWE_ET;
use crate::families::kstar_hybrid::KSTAR_HYBRID;
use crate::frame::{EXCEPTION, Exception, Request};
use crate::framing::{modbus_tcp, solarman_v5 as v5};
use crate::recorded;
use crate::registers::Block;

/// All families.
const FAMILIES: [&Family; 3] = [&KSTAR_HYBRID, &GOODWE_ET, &GOODWE_DT];

/// Bytes that nobody knows are shown so many to a row.
const UNKNOWN_PER_ROW: usize = 8;

/// The rows of one part, in the order of the bytes.
struct Rows<'a> {
    bytes: &'a [u8],
    /// Where the next row begins.
    position: usize,
    done: Vec<Row>,
}

impl Rows<'_> {
    /// Adds a row of so many bytes.
    fn push(&mut self, count: usize, field: &'static str, meaning: impl Into<String>) {
        let start = self.position;
        let bytes = self.bytes.get(start..start + count).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        self.position += count;
        self.done.push(Row {
            position: start,
            offset: None,
            hex: Hex(bytes).to_string(),
            field,
            raw: None,
            quantity: None,
            meaning: meaning.into(),
        });
    }

    /// Adds rows of bytes that nobody knows.
    fn push_unknown(&mut self, end: usize, meaning: &str) {
        while self.position < end {
            let count = UNKNOWN_PER_ROW.min(end - self.position);
            self.push(count, "", meaning);
        }
    }

    /// The number in the next bytes, the lowest first.
    fn little(&self, count: usize) -> u32 {
        let bytes = self.bytes.get(self.position..self.position + count);
        let bytes = bytes.unwrap_or_default().iter().rev();
        bytes.fold(0, |number, byte| number << 8 | u32::from(*byte))
    }
}

/// Explains a frame, or several.
pub fn explain(bytes: &[u8]) -> Explanation {
    let mut parts = Vec::new();
    let mut position = 0;
    for frame in frames(bytes) {
        parts.extend(between(bytes, position..frame.whole.start));
        position = frame.whole.end;
        parts.push(part(bytes, &frame));
    }
    parts.extend(between(bytes, position..bytes.len()));
    Explanation {
        length: bytes.len(),
        parts,
    }
}

/// Bytes in which there is no whole frame.
fn between(bytes: &[u8], range: Range<usize>) -> Vec<Part> {
    let rest = bytes.get(range.clone()).unwrap_or_default();
    let mut parts = Vec::new();
    let head = anatomy::heads(rest).next();
    let end = head.map_or(range.end, |(position, _)| range.start + position);
    if range.start < end {
        let mut rows = rows(bytes, range.start);
        let what = if v5::is_modbus_tcp(rest) {
            rows.push(
                4,
                "header",
                "the first bytes of the V5 request, as a header of Modbus TCP",
            );
            rows.push(2, "length", "3 bytes follow");
            rows.push(1, "unit", "");
            rows.push(1, "function", "an exception");
            rows.push(1, "exception code", "");
            "the answer of a stick that speaks Modbus TCP to a Solarman V5 request"
        } else {
            "bytes that belong to no frame; searched past"
        };
        rows.push_unknown(end, "");
        parts.push(Part {
            position: range.start,
            what: what.to_owned(),
            refusal: None,
            rows: rows.done,
            values: None,
        });
    }
    parts.extend(head.map(|(_, control)| broken_v5(bytes, end..range.end, control)));
    parts
}

/// A V5 frame that is cut off or wrong.
fn broken_v5(bytes: &[u8], range: Range<usize>, control: [u8; 2]) -> Part {
    let mut rows = rows(bytes.get(..range.end).unwrap_or_default(), range.start);
    let found = range.len();
    rows.position += 1;
    let expected = usize::try_from(rows.little(2)).unwrap_or(usize::MAX) + v5::AROUND;
    rows.position = range.start;
    v5_head(&mut rows, control);
    rows.push_unknown(range.end, "");
    Part {
        position: range.start,
        what: v5_name(control).to_owned(),
        refusal: Some(if found < expected {
            format!("cut off: {found} bytes, expected {expected}")
        } else {
            "its checksum or its end is wrong".to_owned()
        }),
        rows: rows.done,
        values: None,
    }
}

fn rows(bytes: &[u8], position: usize) -> Rows<'_> {
    Rows {
        bytes,
        position,
        done: Vec::new(),
    }
}

fn part(bytes: &[u8], frame: &Frame) -> Part {
    let mut rows = rows(bytes, frame.whole.start);
    let mut part = Part {
        position: frame.whole.start,
        what: String::new(),
        refusal: None,
        rows: Vec::new(),
        values: None,
    };
    let message = frame.message.clone();
    let is_request = message.as_ref().is_some_and(|message| message.len() == 6);
    let kind = if is_request { "request" } else { "reply" };
    part.what = match frame.framing {
        Framing::Datagram => {
            rows.push(2, "header", "every frame begins so");
            format!("a Modbus {kind} in the header of AA55")
        }
        Framing::Rtu => format!("a Modbus {kind} as on a serial line"),
        Framing::ModbusTcp => {
            modbus_tcp_head(&mut rows);
            format!("a Modbus TCP {kind}")
        }
        Framing::V5(control) => {
            v5_head(&mut rows, control);
            v5_name(control).to_owned()
        }
    };
    if let Some(message) = message {
        let of_message = bytes.get(message.clone()).unwrap_or_default();
        match of_message {
            [_, function, code, ..] if function & EXCEPTION != 0 => {
                part.refusal = Some(Exception(u16::from(*code)).to_string());
            }
            _ => {}
        }
        modbus(&mut rows, of_message);
        rows.push_unknown(message.end, "");
        if frame.framing != Framing::ModbusTcp {
            rows.push(2, "crc", "the checksum of the serial line, right");
        }
    }
    if let Framing::V5(control) = frame.framing {
        let end = frame.whole.end - 2;
        if control == v5::REPLY && end - rows.position == 2 && frame.message.is_none() {
            let code = u16::try_from(rows.little(2)).unwrap_or_default();
            rows.push(2, "exception", "the stick has no answer from the inverter");
            part.refusal = Some(Exception(code).to_string());
        }
        if frame.message.is_some() && end - rows.position == 2 {
            rows.push(2, "crc", "a second, empty one, as some sticks send it");
        }
        rows.push_unknown(end, "");
        rows.push(1, "checksum", "the sum of the bytes before, right");
        rows.push(1, "end", "every V5 frame ends so");
    }
    part.rows = rows.done;
    part
}

fn modbus_tcp_head(rows: &mut Rows<'_>) {
    let big = |rows: &Rows<'_>| {
        u16::try_from(rows.little(2))
            .unwrap_or_default()
            .swap_bytes()
    };
    let number = big(rows);
    rows.push(2, "transaction", format!("number {number}"));
    rows.push(2, "protocol", "0: Modbus");
    let length = big(rows);
    rows.push(
        modbus_tcp::HEADER - 4,
        "length",
        format!("{length} bytes follow"),
    );
}

fn v5_name(control: [u8; 2]) -> &'static str {
    match control {
        v5::REQUEST => "a request in a Solarman V5 frame",
        v5::REPLY => "a reply in a Solarman V5 frame",
        v5::HEARTBEAT => "a heartbeat of a Solarman stick",
        [0x10, 0x41] => "a stick's hello to its vendor's cloud",
        [0x10, 0x42] => "a stick's data for its vendor's cloud",
        [0x10, 0x43] => "a stick's WiFi information for its vendor's cloud",
        [0x10, 0x48] => "a stick's report to its vendor's cloud",
        _ => "a Solarman V5 frame of an unknown kind",
    }
}

/// The fields of a V5 header, and those before the Modbus frame.
fn v5_head(rows: &mut Rows<'_>, control: [u8; 2]) {
    rows.push(1, "start", "every V5 frame begins so");
    let length = rows.little(2);
    rows.push(2, "length", format!("{length} bytes of payload"));
    rows.push(2, "control", v5_name(control));
    let sequence = rows.little(1);
    rows.push(
        1,
        "sequence",
        format!("number {sequence} of the request; a reply repeats it"),
    );
    let counter = rows.little(1);
    rows.push(
        1,
        "counter",
        format!("number {counter} of the stick's frames"),
    );
    let serial = rows.little(4);
    rows.push(
        4,
        "logger_serial",
        format!("the stick's serial number, {serial}"),
    );
    if ![v5::REQUEST, v5::REPLY].contains(&control) {
        return;
    }
    let kind = match rows.little(1) {
        2 => "2: the inverter",
        1 => "1: the stick",
        0 => "0: the cloud's keep-alive",
        _ => "unknown",
    };
    rows.push(1, "frame_type", kind);
    if control == v5::REQUEST {
        rows.push(2, "sensor_type", "0 from a client");
    } else {
        rows.push(1, "status", "1 where all is well");
    }
    for (field, what) in [
        (
            "total_working_time",
            "seconds that the stick has worked in all",
        ),
        ("power_on_time", "seconds since the stick was switched on"),
        (
            "offset_time",
            "added to the total it is the time of day, in seconds since 1970",
        ),
    ] {
        let seconds = rows.little(4);
        rows.push(4, field, format!("{seconds} {what}"));
    }
}

/// Unit, function, and what follows.
fn modbus(rows: &mut Rows<'_>, message: &[u8]) {
    rows.push(1, "unit", "a Modbus machine");
    let &[_, function, ..] = message else {
        return;
    };
    if function & EXCEPTION != 0 {
        let asked = function & !EXCEPTION;
        rows.push(1, "function", format!("exception to function {asked:02x}"));
        rows.push(1, "exception code", "");
        return;
    }
    rows.push(1, "function", format!("function {function:02x}"));
    if let Some(request) = Request::parse(message) {
        let names: Vec<String> = blocks(|block, count| {
            block.function.code() == function
                && block.first == request.first()
                && count
                    == request
                        .bytes()
                        .last_chunk()
                        .map_or(0, |c| u16::from_be_bytes(*c))
        })
        .map(|(family, block)| format!("{} {}", family.name, block.name))
        .collect();
        let known = if names.is_empty() {
            "no block of a known family".to_owned()
        } else {
            names.join(", ")
        };
        rows.push(2, "register", format!("{request}: {known}"));
        rows.push(2, "count", "registers");
        return;
    }
    registers(rows, function, message);
}

/// The blocks with one of their lengths for which this is so.
fn blocks(
    is: impl Fn(&Block, u16) -> bool,
) -> impl Iterator<Item = (&'static Family, &'static Block)> {
    FAMILIES.into_iter().flat_map(move |family| {
        let found = family
            .blocks
            .iter()
            .filter(|block| block.counts.iter().any(|count| is(block, *count)));
        let found: Vec<_> = found.map(|block| (family, block)).collect();
        found
    })
}

/// The registers of a reply, by every block that they may be.
fn registers(rows: &mut Rows<'_>, function: u8, message: &[u8]) {
    let words = recorded::of_reply(message).unwrap_or_default();
    let candidates: Vec<_> = blocks(|block, count| {
        block.function.code() == function
            && usize::from(count) == words.len()
            && (block.fits)(&words)
    })
    .collect();
    let names: Vec<String> = candidates
        .iter()
        .map(|(family, block)| format!("{} {}", family.name, block.name))
        .collect();
    let told = if names.is_empty() {
        "no block of a known family".to_owned()
    } else {
        names.join(" or ")
    };
    rows.push(
        1,
        "byte_count",
        format!("{} registers: {told}", words.len()),
    );
    let start = rows.position;
    if let [(family, block)] = candidates.as_slice() {
        let replies = [words];
        for register in recorded::registers(family, block.first, &replies, None) {
            let name = register.quantities.first().copied();
            let is_known = register.meaning != "unknown";
            let field = name.unwrap_or(if is_known { "note" } else { "" });
            let count = register.hex.len() / 2;
            let meaning = format!("{}: {}", register.register, register.meaning);
            rows.push(count, field, meaning);
            if let Some(row) = rows.done.last_mut() {
                row.raw = register.raw;
                row.quantity = name;
                row.offset = Some(row.position - start);
            }
        }
        return;
    }
    for (index, word) in (0..).zip(&words) {
        let explained = candidates.iter().filter_map(|(family, block)| {
            let register = block.first.checked_add(index)?;
            let one = recorded::registers(family, register, &[vec![*word]], None);
            let meaning = &one.first()?.meaning;
            Some(format!("{} {register}: {meaning}", family.name))
        });
        let explained: Vec<String> = explained.collect();
        let field = if explained.is_empty() { "" } else { "register" };
        rows.push(2, field, explained.join("; or "));
        if let Some(row) = rows.done.last_mut() {
            row.raw = Some(i64::from(*word));
            row.offset = Some(row.position - start);
        }
    }
}

#[cfg(test)]
mod tests;
