//! Modbus TCP: a header of transaction number, protocol 0, length and unit; no checksum (PROTOCOL-GOODWE-MODBUS 2.2).
//!
//! The length field is wrong with some GoodWe firmware, so the byte count of the reply decides.

use kstar_source::error::Rejection;
use kstar_source::stream::{Dialogue, Split};

use crate::frame::{Answer, Request};
use crate::reasons;

/// Transaction number, protocol and length: what stands before the unit.
pub(crate) const HEADER: usize = 6;

/// A request that is under way.
#[derive(Debug)]
pub struct ModbusTcp<'a> {
    /// What is asked.
    pub request: Request,
    /// The transaction number of the last try, which the reply repeats.
    pub transaction: &'a mut u16,
}

impl Dialogue for ModbusTcp<'_> {
    type Answer = Answer;

    fn request(&mut self) -> Vec<u8> {
        *self.transaction = self.transaction.wrapping_add(1);
        let bytes = self.request.bytes();
        let mut all = self.transaction.to_be_bytes().to_vec();
        all.extend([0, 0, 0, 6]);
        all.extend(bytes);
        all
    }

    fn split(&self, received: &[u8]) -> Split {
        let noise = || Split::Noise(received.len(), reasons::no_frame(received));
        if matches!(received, [_, _, protocol, ..] if *protocol != 0)
            || matches!(received, [_, _, _, protocol, ..] if *protocol != 0)
        {
            return noise();
        }
        let length = received.get(HEADER..).and_then(Request::reply_length);
        match length.map(|length| HEADER + length) {
            Some(length) if received.len() >= length => Split::Frame(length),
            _ => Split::Incomplete,
        }
    }

    fn accept(&mut self, frame: &[u8]) -> Result<Answer, Rejection> {
        let (header, reply) = frame.split_at_checked(HEADER).unwrap_or_default();
        let transaction = header.first_chunk().copied().map(u16::from_be_bytes);
        if transaction != Some(*self.transaction) {
            return Err(reasons::rejection(
                reasons::OTHER_REQUEST,
                format!(
                    "a reply to transaction {}, not to {}",
                    transaction.unwrap_or_default(),
                    self.transaction
                ),
            ));
        }
        self.request.answer(reply).map(|(answer, _)| answer)
    }
}
