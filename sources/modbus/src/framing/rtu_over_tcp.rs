//! Modbus RTU over TCP, as gateways to a serial line speak it: the frames of the line as they are.

use kstar_source::error::Rejection;
use kstar_source::stream::{Dialogue, Split};

use crate::frame::{Answer, Request};
use crate::reasons;

/// A request that is under way.
#[derive(Debug)]
pub struct RtuOverTcp(pub Request);

impl Dialogue for RtuOverTcp {
    type Answer = Answer;

    fn request(&mut self) -> Vec<u8> {
        self.0.rtu()
    }

    fn split(&self, received: &[u8]) -> Split {
        match Request::reply_length(received) {
            Some(length) if received.len() >= length + 2 => Split::Frame(length + 2),
            // Nothing in a frame says where it begins: what does not begin with the unit is dropped as a whole.
            _ if received.first() != Some(&self.0.unit()) => {
                Split::Noise(received.len(), reasons::no_frame(received))
            }
            _ => Split::Incomplete,
        }
    }

    fn accept(&mut self, frame: &[u8]) -> Result<Answer, Rejection> {
        self.0.rtu_answer(frame).map(|(answer, _)| answer)
    }
}
