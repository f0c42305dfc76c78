//! Which frames bytes hold, in whatever framing, and what those are made of: for recordings and explanations.

use std::ops::Range;

use kstar_source::recording::{Anatomy, Seal};

use crate::families::Family;
use crate::frame::{EXCEPTION, Request, crc};
use crate::framing::rtu_in_udp::MARK;
use crate::framing::{modbus_tcp, solarman_v5 as v5};

/// How many bytes unit, function, first register and count take.
const REQUEST_LENGTH: usize = 6;

/// What is put around a Modbus message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `AA 55` before the frame of a serial line.
    Datagram,
    /// The frame of a serial line.
    Rtu,
    /// Modbus TCP.
    ModbusTcp,
    /// Solarman V5, with what stands in it of its control code.
    V5([u8; 2]),
}

/// A frame that is whole, with checksums that are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) framing: Framing,
    /// All of it.
    pub(crate) whole: Range<usize>,
    /// Unit and what follows, without a CRC; absent where a stick has nothing from the inverter.
    pub(crate) message: Option<Range<usize>>,
}

/// The frames in bytes, in their order.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut position = 0;
    while position < bytes.len() {
        match at(bytes, position) {
            Some(frame) => {
                position = frame.whole.end;
                frames.push(frame);
            }
            None => position += 1,
        }
    }
    frames
}

/// The frame that begins there.
fn at(bytes: &[u8], position: usize) -> Option<Frame> {
    let rest = bytes.get(position..)?;
    if let Some(length) = v5::whole(rest) {
        return Some(in_v5(bytes, position..position + length));
    }
    if let Some(line) = rest.strip_prefix(&MARK) {
        let start = position + MARK.len();
        let length = rtu(line)?;
        return Some(Frame {
            framing: Framing::Datagram,
            whole: position..start + length + 2,
            message: Some(start..start + length),
        });
    }
    // These two have no mark of their own: in the middle of something nothing tells them from other bytes.
    if position > 0 {
        return None;
    }
    if let Some(length) = rtu(rest) {
        return Some(Frame {
            framing: Framing::Rtu,
            whole: 0..length + 2,
            message: Some(0..length),
        });
    }
    let length = in_modbus_tcp(rest)?;
    Some(Frame {
        framing: Framing::ModbusTcp,
        whole: 0..modbus_tcp::HEADER + length,
        message: Some(modbus_tcp::HEADER..modbus_tcp::HEADER + length),
    })
}

/// How long the message is with which the frame of a serial line begins, without its CRC.
fn rtu(bytes: &[u8]) -> Option<usize> {
    let sizes = [Request::reply_length(bytes), Some(REQUEST_LENGTH)];
    let is_right = |length: &usize| {
        let (body, rest) = bytes.split_at_checked(*length).unwrap_or_default();
        rest.first_chunk().copied().map(u16::from_le_bytes) == Some(crc(body))
    };
    let reads = is_reading(bytes);
    sizes
        .into_iter()
        .flatten()
        .find(|size| reads && is_right(size))
}

/// Whether the message is one of the functions that read.
fn is_reading(message: &[u8]) -> bool {
    matches!(message, [_, function, ..] if matches!(function & !EXCEPTION, 3 | 4))
}

/// How long the message behind a header of Modbus TCP is; its length field is wrong with some firmware, so that a reply
/// tells it by itself.
fn in_modbus_tcp(bytes: &[u8]) -> Option<usize> {
    let (header, message) = bytes.split_at_checked(modbus_tcp::HEADER)?;
    let &[_, _, 0, 0, _, told] = header else {
        return None;
    };
    let reply = Request::reply_length(message).filter(|length| *length <= message.len());
    let request = usize::from(told) == REQUEST_LENGTH && message.len() == REQUEST_LENGTH;
    let length = if request { Some(REQUEST_LENGTH) } else { reply };
    length.filter(|_| is_reading(message))
}

fn in_v5(bytes: &[u8], whole: Range<usize>) -> Frame {
    let frame = bytes.get(whole.clone()).unwrap_or_default();
    let control = match frame {
        [_, _, _, low, high, ..] => [*low, *high],
        _ => [0, 0],
    };
    let head = match control {
        v5::REPLY => Some(v5::REPLY_HEAD),
        v5::REQUEST => Some(v5::REQUEST_HEAD),
        _ => None,
    };
    let message = head.and_then(|head| {
        let start = whole.start + v5::HEADER + head;
        let length = rtu(bytes.get(start..whole.end - 2)?)?;
        Some(start..start + length)
    });
    Frame {
        framing: Framing::V5(control),
        whole,
        message,
    }
}

/// What bytes are made of that came after a request.
pub(crate) fn of(family: &Family, request: &[u8], bytes: &[u8]) -> Anatomy {
    let mut anatomy = Anatomy::default();
    for frame in frames(bytes) {
        let message = frame.message.clone();
        if let Some(message) = &message {
            let words = bytes.get(message.clone()).unwrap_or_default();
            anatomy
                .serials
                .extend(serial(family, request, words, message.start));
            if answers(request, words) {
                anatomy.payload.get_or_insert(message.clone());
            }
        }
        let is_line = frame.framing != Framing::ModbusTcp;
        anatomy
            .seals
            .extend(message.filter(|_| is_line).map(|body| Seal {
                body,
                make: |body| crc(body).to_le_bytes().to_vec(),
            }));
        if let Framing::V5(_) = frame.framing {
            anatomy.seals.push(Seal {
                body: frame.whole.start..frame.whole.end - 2,
                make: |body| vec![v5::checksum(body)],
            });
        }
    }
    anatomy.loggers = loggers(bytes);
    anatomy.blanks = blanks(bytes);
    anatomy
}

/// Whether a message is the reply to a request, as far as its first bytes tell.
fn answers(request: &[u8], reply: &[u8]) -> bool {
    match (request, reply) {
        (&[unit, function, _, _, high, low], &[by, told, length, ..]) => {
            let count = u16::from_be_bytes([high, low]);
            let tells = told == function && u16::from(length) == count * 2;
            by == unit && (tells || told == function | EXCEPTION)
        }
        _ => false,
    }
}

/// Where the inverter's serial number stands in a reply, if it was asked for.
fn serial(family: &Family, request: &[u8], reply: &[u8], start: usize) -> Option<Range<usize>> {
    let &[_, function, high, low, ..] = request else {
        return None;
    };
    let (register, count) = family.serial;
    let place = usize::from(register.checked_sub(u16::from_be_bytes([high, low]))?) * 2 + 3;
    let end = place + usize::from(count) * 2;
    let is_told = reply.get(1) == Some(&function) && reply.len() >= end;
    is_told.then_some(start + place..start + end)
}

/// Where the head of a V5 frame may begin, and its control code; also of one that is cut off or wrong.
pub(crate) fn heads(bytes: &[u8]) -> impl Iterator<Item = (usize, [u8; 2])> {
    let windows = bytes.windows(v5::HEADER).enumerate();
    windows.filter_map(|(position, head)| match head {
        [v5::START, _, _, 0x10, high, ..] if high & 0x0f <= 8 => Some((position, [0x10, *high])),
        _ => None,
    })
}

fn loggers(bytes: &[u8]) -> Vec<Range<usize>> {
    let places = heads(bytes).map(|(position, _)| position + 7..position + v5::HEADER);
    places.collect()
}

/// What a stick tells its vendor's cloud holds names and addresses of the network.
fn blanks(bytes: &[u8]) -> Vec<Range<usize>> {
    let own = heads(bytes)
        .filter(|(_, control)| ![v5::REPLY, v5::REQUEST, v5::HEARTBEAT].contains(control));
    let bodies = own.map(|(position, _)| {
        let rest = bytes.get(position..).unwrap_or_default();
        let end = v5::whole(rest).map_or(bytes.len(), |length| position + length - 2);
        position + v5::HEADER..end
    });
    bodies.collect()
}
