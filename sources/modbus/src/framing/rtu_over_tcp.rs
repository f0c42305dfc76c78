//! Modbus RTU over TCP, as gateways to a serial line speak it: the frames of the line as they are.

use kstar_source::error::Rejection;
use kstar_source::stream::{Dialogue, Split};

use crate::frame::{Answer, Request, crc};
use crate::reasons;

/// How many bytes the CRC takes.
const CRC: usize = 2;

/// The length of the frame with which bytes begin, if it is whole and right.
fn whole_frame(received: &[u8]) -> Option<usize> {
    let length = Request::reply_length(received)?;
    let (body, rest) = received.split_at_checked(length)?;
    let check = rest.first_chunk().copied().map(u16::from_le_bytes)?;
    (check == crc(body)).then_some(length + CRC)
}

/// A request that is under way.
#[derive(Debug)]
pub struct RtuOverTcp(pub Request);

impl RtuOverTcp {
    /// Whether the reply begins like this, as far as it is there.
    fn is_ours(&self, received: &[u8]) -> bool {
        let [unit, function, ..] = self.0.bytes();
        match received {
            [first] => *first == unit,
            [first, second, ..] => *first == unit && second & 0x7f == function,
            [] => false,
        }
    }

    /// Whether the reply may begin like this, and is not whole.
    fn may_begin(&self, received: &[u8]) -> bool {
        let length = Request::reply_length(received).map(|length| length + CRC);
        self.is_ours(received) && length.is_none_or(|length| received.len() < length)
    }
}

/// Bytes that are no frame, or one that has changed on its way.
fn noise(bytes: &[u8]) -> Rejection {
    let length = Request::reply_length(bytes).map(|length| length + CRC);
    if length == Some(bytes.len()) {
        reasons::crc()
    } else {
        reasons::no_frame(bytes)
    }
}

impl Dialogue for RtuOverTcp {
    type Answer = Answer;

    fn request(&mut self) -> Vec<u8> {
        self.0.rtu()
    }

    fn split(&self, received: &[u8]) -> Split {
        let from = |position: usize| received.get(position..).unwrap_or_default();
        if let Some(length) = whole_frame(received) {
            return Split::Frame(length);
        }
        // Nothing in a frame says where it begins; only its CRC shows that it does. That alone is not enough: FF FF 00 00 00 is
        // right as a frame, and stands in the middle of many replies.
        let is_reply = |bytes: &[u8]| self.is_ours(bytes) && whole_frame(bytes).is_some();
        let whole = (1..received.len()).find(|position| is_reply(from(*position)));
        let partial = || (0..received.len()).find(|position| self.may_begin(from(*position)));
        match whole.or_else(partial) {
            Some(0) => Split::Incomplete,
            Some(start) => Split::Noise(start, noise(received.get(..start).unwrap_or_default())),
            None => Split::Noise(received.len(), noise(received)),
        }
    }

    fn accept(&mut self, frame: &[u8]) -> Result<Answer, Rejection> {
        self.0.rtu_answer(frame).map(|(answer, _)| answer)
    }
}
