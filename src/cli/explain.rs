//! `kstar explain`: what each byte of a datagram means, or why it means nothing.
//!
//! It is written for bug reports: whatever is given, also half a frame, is explained as far as it goes. Every byte
//! of the datagram stands in exactly one row.

use std::io::{Read, Write};
use std::ops::Range;

use kstar_model::catalogue::{Group, Quantity, Values};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{ConfigArgs, Failure};
use crate::ledger::quarantine;
use crate::wire::discovery::{self, NoAnswer};
use crate::wire::frame::{Frame, HEADER_LENGTH, OVERHEAD, Refusal};
use crate::wire::record::{EntryField, Record};
use crate::wire::running::{self, LAYOUT, Meaning};
use crate::wire::{ApAddress, GREETING, Outgoing, Request, device_info, reply, settings};
use crate::wrapping::wrapped;

/// Terminals are at least that wide.
const WIDTH: usize = 100;

/// Bytes that nobody knows are shown so many to a row.
const UNKNOWN_PER_ROW: usize = 8;

/// Explain each byte of a datagram given in hexadecimal digits
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ExplainArgs {
    /// The bytes in hexadecimal; spaces, colons, commas, line breaks and 0x are passed over.
    /// Without any, or with "-", they are read from standard input
    #[arg(value_name = "HEX")]
    pub hex: Vec<String>,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show the readings that the gate has refused, the newest last, with their bytes
    #[arg(long, conflicts_with = "hex")]
    pub quarantine: bool,
    /// Where the configuration is, which says where those readings are kept.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Runs the command.
pub fn run(args: &ExplainArgs, out: &mut impl Write) -> Result<(), Failure> {
    if args.quarantine {
        return show_quarantine(args, out);
    }
    let text = match args.hex.as_slice() {
        [] => from_standard_input()?,
        [dash] if dash == "-" => from_standard_input()?,
        words => words.join(" "),
    };
    let datagram = bytes(&text)?;
    let explanation = explain(&datagram);
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &explanation)?;
        writeln!(out)?;
        Ok(())
    } else {
        write_text(&explanation, out)
    }
}

fn show_quarantine(args: &ExplainArgs, out: &mut impl Write) -> Result<(), Failure> {
    let config = args.config.load()?.map(|(_, config)| config);
    let folder = config.unwrap_or_default().state_dir();
    let path = quarantine::path(&folder);
    let kept = quarantine::read(&folder)
        .map_err(|error| Failure::Runtime(format!("cannot read {}: {error}", path.display())))?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &kept)?;
        writeln!(out)?;
        return Ok(());
    }
    if kept.is_empty() {
        writeln!(
            out,
            "no reading was refused, as far as {} knows",
            path.display()
        )?;
    }
    for refused in kept {
        writeln!(out, "{} {}", refused.time, refused.inverter)?;
        for line in wrapped(&refused.reason, WIDTH - 2) {
            writeln!(out, "  {line}")?;
        }
        writeln!(out, "  kstar explain {}", refused.datagram)?;
    }
    Ok(())
}

fn from_standard_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Runtime(format!("cannot read standard input: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes that a text of hexadecimal digits stands for.
fn bytes(text: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut high: Option<u32> = None;
    let mut letters = text.chars().enumerate().peekable();
    while let Some((index, letter)) = letters.next() {
        let prefixed = matches!(letters.peek(), Some((_, 'x' | 'X')));
        if letter == '0' && high.is_none() && prefixed {
            letters.next();
        } else if let Some(digit) = letter.to_digit(16) {
            high = match high {
                None => Some(digit),
                Some(high) => {
                    bytes.extend(u8::try_from(high * 16 + digit));
                    None
                }
            };
        } else if !(letter.is_whitespace() || matches!(letter, ':' | ',')) {
            return Err(Failure::Usage(format!(
                "{letter:?} at character {} is no hexadecimal digit",
                index + 1
            )));
        }
    }
    if high.is_some() {
        return Err(Failure::Usage(format!(
            "an odd number of hexadecimal digits, {}, expected two for each byte",
            bytes.len() * 2 + 1
        )));
    }
    if bytes.is_empty() {
        return Err(Failure::Usage(
            "no bytes; give a datagram in hexadecimal digits, like aa55b07f0106000235".to_owned(),
        ));
    }
    Ok(bytes)
}

/// What a datagram is.
#[derive(Debug, Serialize)]
struct Explanation {
    /// Its length in bytes.
    length: usize,
    /// Its parts, in the order of the bytes.
    parts: Vec<Part>,
}

/// A stretch of a datagram that belongs together.
#[derive(Debug, Serialize)]
struct Part {
    /// Where it begins.
    position: usize,
    /// What it is.
    what: String,
    /// Why it is not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// Its bytes.
    rows: Vec<Row>,
    /// What a reading holds of it, if it is running data.
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Shown>,
}

/// A few bytes with one meaning.
#[derive(Debug, Serialize)]
struct Row {
    /// Where in the datagram they stand.
    position: usize,
    /// Where in the payload they stand, if they are in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
    /// The bytes.
    hex: String,
    /// The name that decoders of this protocol give them.
    field: &'static str,
    /// The integer that stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<i64>,
    /// The quantity of the catalogue that is read from them.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<&'static str>,
    /// What they mean.
    meaning: String,
}

/// Values as `read` shows them.
#[derive(Debug)]
struct Shown(Values);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (quantity, value) in self.0.present() {
            object.serialize_entry(quantity.name(), &value)?;
        }
        object.end()
    }
}

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
            hex: hex(bytes),
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

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Explains a datagram.
fn explain(datagram: &[u8]) -> Explanation {
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
    match discovery::answer(bytes) {
        Err(NoAnswer::Greeting) if bytes == GREETING => {
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
    let record = Record::read(entries, payload);
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

fn write_text(explanation: &Explanation, out: &mut impl Write) -> Result<(), Failure> {
    let columns = |row: &dyn Fn(&Row) -> usize, least: usize| {
        let rows = explanation.parts.iter().flat_map(|part| &part.rows);
        rows.map(row).max().unwrap_or(0).max(least)
    };
    let hex = columns(&|row| row.hex.len(), 5);
    let field = columns(&|row| row.field.len(), 5);
    let raw_text = |row: &Row| row.raw.map(|raw| raw.to_string()).unwrap_or_default();
    let raw = columns(&|row| raw_text(row).len(), 3);
    let indent = 4 + 1 + 6 + 2 + hex + 2 + field + 2 + raw + 2;
    writeln!(out, "{} bytes", explanation.length)?;
    for part in &explanation.parts {
        writeln!(out, "\nfrom byte {}: {}", part.position, part.what)?;
        if let Some(refusal) = &part.refusal {
            writeln!(out, "not taken: {refusal}")?;
        }
        writeln!(
            out,
            "{:>4} {:>6}  {:hex$}  {:field$}  {:>raw$}  meaning",
            "byte", "offset", "bytes", "field", "raw"
        )?;
        for row in &part.rows {
            let offset = row
                .offset
                .map(|offset| offset.to_string())
                .unwrap_or_default();
            let mut lines = wrapped(&row.meaning, WIDTH.saturating_sub(indent).max(30)).into_iter();
            let line = format!(
                "{:>4} {offset:>6}  {:hex$}  {:field$}  {:>raw$}  {}",
                row.position,
                row.hex,
                row.field,
                raw_text(row),
                lines.next().unwrap_or_default()
            );
            writeln!(out, "{}", line.trim_end())?;
            for line in lines {
                writeln!(out, "{:indent$}{line}", "")?;
            }
        }
        if let Some(Shown(values)) = &part.values {
            write_values(values, out)?;
        }
    }
    Ok(())
}

fn write_values(values: &Values, out: &mut impl Write) -> Result<(), Failure> {
    writeln!(out, "\na reading of it")?;
    for (quantity, value) in values.present() {
        let line = format!("  {quantity:<24} {value} {}", quantity.description().unit);
        writeln!(out, "{}", line.trim_end())?;
    }
    let of_a_reply =
        |quantity: Quantity| !matches!(quantity.description().group, Group::Meter | Group::Link);
    let absent: Vec<&str> = Quantity::ALL
        .iter()
        .filter(|quantity| of_a_reply(**quantity) && values.raw(**quantity).is_none())
        .map(|quantity| quantity.name())
        .collect();
    if !absent.is_empty() {
        let text = format!("absent: {}", absent.join(", "));
        for line in wrapped(&text, WIDTH - 2) {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The payload 0106 of PROTOCOL 10, column import-discharge-heavy.
    const RUNNING: &str = "aa557fb001865305dc002d02062100420201fb000000000000011b0000000001004c004c000200\
        0000092100781a5a138b01092100052458138b0102019e000000000000395a0000108f00260023000046d60acc010030020003\
        0d79";

    fn shown(hex: &str) -> String {
        let args = ExplainArgs {
            hex: vec![hex.to_owned()],
            json: false,
            ..ExplainArgs::default()
        };
        let mut out = Vec::new();
        run(&args, &mut out).expect("bytes");
        String::from_utf8(out).expect("text")
    }

    #[track_caller]
    fn check_row(text: &str, row: &str) {
        let row: Vec<&str> = row.split_whitespace().collect();
        let found = text
            .lines()
            .any(|line| line.split_whitespace().collect::<Vec<_>>() == row);
        assert!(found, "no row {row:?} in\n{text}");
    }

    #[test]
    fn digits_are_taken_in_every_usual_dress() {
        for text in [
            "aa557f",
            "AA 55 7F",
            "aa:55:7f\n",
            "0xAA,0x55, 0x7f",
            "0xaa557f",
            "a a557f",
        ] {
            assert_eq!(bytes(text).ok(), Some(vec![0xaa, 0x55, 0x7f]), "{text}");
        }
        assert_eq!(bytes("00 0x00").ok(), Some(vec![0, 0]));
    }

    #[test]
    fn what_is_no_digit_is_told_with_its_place() {
        let told = |text| bytes(text).expect_err("no bytes").to_string();
        assert_eq!(told("aa5g"), "'g' at character 4 is no hexadecimal digit");
        assert_eq!(told("ä"), "'ä' at character 1 is no hexadecimal digit");
        assert_eq!(
            told("aa5"),
            "an odd number of hexadecimal digits, 3, expected two for each byte"
        );
        assert!(told("").starts_with("no bytes"));
        assert!(matches!(bytes("xx"), Err(Failure::Usage(_))));
    }

    #[test]
    fn running_data_is_explained_byte_by_byte() {
        let text = shown(RUNNING);
        check_row(&text, "from byte 0: a reply with running data");
        check_row(&text, "0 aa55 header every frame begins so");
        check_row(&text, "6 53 length 83 bytes of payload, 92 in all");
        check_row(&text, "7 0 05dc vpv1 1500 pv1_voltage 150 V");
        check_row(
            &text,
            "36 29 00 battery_soh 0 battery_soh absent, although 0 % stands here",
        );
        check_row(&text, "34 27 00 cbattery2 0 not read: 0 everywhere");
        check_row(
            &text,
            "25 18 011b ibattery1 283 battery_current -28.3 A, its size is 28.3 A",
        );
        check_row(&text, "37 30 02 battery_mode 2 battery_mode discharging");
        check_row(
            &text,
            "31 24 0100 bms_error 256 bms_errors no_bms_communication",
        );
        check_row(&text, "90 0d79 checksum the sum of all bytes before, right");
        check_row(&text, "battery_power -1434.81 W");
        assert!(
            text.contains("absent: battery_soh, battery_temperature"),
            "{text}"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn a_cut_frame_is_explained_as_far_as_it_goes() {
        let text = shown(&RUNNING.replace(char::is_whitespace, "")[..100]);
        check_row(
            &text,
            "not taken: frame at byte 0 cut off: 50 bytes, expected 92",
        );
        check_row(&text, "7 0 05dc vpv1 1500 pv1_voltage 150 V");
        check_row(&text, "49 42 01 grid_mode 1 inverter_state on");
        assert!(!text.contains("a reading of it"), "{text}");
        let in_a_field = shown(&RUNNING[..16]);
        check_row(&in_a_field, "7 0 05 vpv1 cut off");
    }

    #[test]
    fn a_wrong_sum_is_told_with_the_right_one() {
        let wrong = RUNNING
            .replace(char::is_whitespace, "")
            .replace("0d79", "0d78");
        let text = shown(&wrong);
        check_row(
            &text,
            "not taken: checksum 0x0d78 at byte 90, expected 0x0d79",
        );
        check_row(
            &text,
            "90 0d78 checksum the sum of all bytes before is 0d79",
        );
        assert!(!text.contains("a reading of it"), "{text}");
    }

    #[test]
    fn other_datagrams_are_called_by_their_name() {
        for (hex, what) in [
            ("aa55b07f0106000235", "a request for running data"),
            ("aa55c07f0109000248", "a request for settings"),
            (
                "aa557fc0039d010602e5",
                "a reply 039d to the command 031d of another program",
            ),
            ("aa55f7830220c3", "a Modbus reply in the header of AA55"),
            (
                "aa55c07f031d0002",
                "a command 031d; this program never sends one",
            ),
            ("aa557fb001990000", "a reply of the unknown type 0199"),
            ("00000000", "bytes that belong to no frame; searched past"),
            (
                "3139322e3136382e312e35302c4143434632333030303030312c48462d4c50423178303030",
                "a WiFi module's answer to the greeting",
            ),
            (
                "574946494b49542d3231343032382d52454144",
                "the greeting to WiFi modules, sent to port 48899",
            ),
        ] {
            check_row(&shown(hex), &format!("from byte 0: {what}"));
        }
        let exception = shown("aa55f7830220c3");
        check_row(&exception, "3 83 function exception to function 03");
        check_row(&exception, "4 02 exception code");
    }

    #[test]
    fn each_part_of_a_datagram_is_explained() {
        let text = shown(&format!("0000 aa557fc0039d010602e5 {RUNNING} ffff"));
        for what in [
            "from byte 0: bytes that belong to no frame; searched past",
            "from byte 2: a reply 039d to the command 031d of another program",
            "from byte 12: a reply with running data",
            "from byte 104: bytes that belong to no frame; searched past",
        ] {
            check_row(&text, what);
        }
        check_row(&text, "9 0 06 acknowledgement accepted");
    }

    #[test]
    fn device_info_shows_its_texts() {
        let mut datagram = vec![0xaa, 0x55, 0x7f, 0xb0, 0x01, 0x82, 47];
        datagram.extend(b"2323GKSE4000   KSTAR           KSE4000000000001");
        let sum: u16 = datagram.iter().copied().map(u16::from).sum();
        datagram.extend(sum.to_be_bytes());
        let text = shown(&hex(&datagram));
        assert!(text.contains("Serial number: KSE4000000000001"), "{text}");
        assert!(text.contains("Model: KSE4000"), "{text}");
    }

    #[test]
    fn json_holds_the_same() {
        let args = ExplainArgs {
            hex: vec![RUNNING.to_owned()],
            json: true,
            ..ExplainArgs::default()
        };
        let mut out = Vec::new();
        run(&args, &mut out).expect("bytes");
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(json["length"], 92);
        assert_eq!(json["parts"][0]["values"]["pv_power"], 1710.54);
        let row = &json["parts"][0]["rows"][6];
        assert_eq!(
            *row,
            serde_json::json!({
                "position": 7, "offset": 0, "hex": "05dc", "field": "vpv1", "raw": 1500,
                "quantity": "pv1_voltage", "meaning": "pv1_voltage 150 V",
            })
        );
    }

    proptest! {
        #[test]
        fn every_byte_stands_in_exactly_one_row(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..30),
                    Just(vec![0xaa, 0x55]),
                    Just(vec![0xaa, 0x55, 0xf7]),
                    Just(vec![0xaa, 0x55, 0x7f, 0xb0, 0x01, 0x86, 0x53]),
                    Just(vec![0xaa, 0x55, 0x7f, 0xb0, 0x01, 0x82, 0x30]),
                    Just(bytes(RUNNING).expect("digits")),
                    Just(bytes("aa557fc0039d010602e5").expect("digits")),
                    Just(b"192.168.1.50,ACCF23000001,HF".to_vec()),
                ],
                1..6,
            ),
        ) {
            let datagram = parts.concat();
            let explanation = explain(&datagram);
            let rows = explanation.parts.iter().flat_map(|part| &part.rows);
            let all: String = rows.map(|row| row.hex.as_str()).collect();
            prop_assert_eq!(all, hex(&datagram));
            let mut out = Vec::new();
            write_text(&explanation, &mut out).expect("a vector takes everything");
        }
    }
}
