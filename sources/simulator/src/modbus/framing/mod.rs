//! What is put around a Modbus request and its reply on each way, written down apart from any client.

mod modbus_tcp;
mod rtu;
mod solarman_v5;

use super::config::Via;
use super::record::Read;

pub use modbus_tcp::modbus_tcp_frame;
pub use rtu::{crc16, rtu_frame};
pub use solarman_v5::{Control, Head, StickClock, reply_payload, v5_frame};

pub(super) use modbus_tcp::answer_to_v5;

/// What is in front of a Modbus RTU reply over UDP.
pub const DATAGRAM_HEADER: [u8; 2] = [0xAA, 0x55];

/// Longer than any request: what a client may send before it is taken for noise.
pub(super) const LONGEST_REQUEST: usize = 1100;

/// How a reply is told to be the one to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    Datagram,
    Rtu,
    V5 { sequence: u8, serial: u32 },
    ModbusTcp { transaction: u16 },
}

/// A Modbus request without what was around it: a unit, a function and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) envelope: Envelope,
    pub(super) unit: u8,
    pub(super) function: u8,
    pub(super) data: Vec<u8>,
}

impl Request {
    /// What it reads, if it reads.
    pub(super) fn read(&self) -> Option<Read> {
        let &[a, b, c, d] = self.data.as_slice() else {
            return None;
        };
        matches!(self.function, 3 | 4).then_some(Read {
            function: self.function,
            first: u16::from_be_bytes([a, b]),
            count: u16::from_be_bytes([c, d]),
        })
    }
}

/// What was found at the beginning of what a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Request(Request, Vec<u8>),
    /// A V5 frame where Modbus TCP is spoken, and the request that it is.
    V5(Option<Request>, Vec<u8>),
    Unexpected(Vec<u8>),
}

impl Taken {
    /// A whole datagram.
    pub(super) fn datagram(bytes: &[u8]) -> Self {
        match rtu::request(Envelope::Datagram, bytes) {
            Some(request) => Self::Request(request, bytes.to_vec()),
            None => Self::Unexpected(bytes.to_vec()),
        }
    }

    /// The first message of a stream, which is taken out of it; `None` if it is not complete.
    pub(super) fn from_stream(via: Via, stream: &mut Vec<u8>) -> Option<Self> {
        if stream.is_empty() {
            return None;
        }
        let length = match via {
            Via::Solarman => solarman_v5::request_len(stream),
            Via::ModbusTcp => modbus_tcp::request_len(stream),
            Via::Udp | Via::RtuOverTcp => rtu::request_len(stream),
        };
        let length = match length {
            Length::Unknown if stream.len() < LONGEST_REQUEST => return None,
            Length::Known(length) if length > stream.len() => return None,
            Length::Known(length) => length,
            Length::Unknown | Length::Noise => stream.len(),
        };
        let bytes: Vec<u8> = stream.drain(..length).collect();
        let request = match via {
            Via::Solarman => solarman_v5::request(&bytes),
            Via::ModbusTcp if modbus_tcp::is_v5(&bytes) => {
                return Some(Self::V5(solarman_v5::request(&bytes), bytes));
            }
            Via::ModbusTcp => modbus_tcp::request(&bytes),
            Via::Udp | Via::RtuOverTcp => rtu::request(Envelope::Rtu, &bytes),
        };
        Some(match request {
            Some(request) => Self::Request(request, bytes),
            None => Self::Unexpected(bytes),
        })
    }
}

/// How long the first message of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    /// Not enough has come.
    Unknown,
    /// No message begins so.
    Noise,
}

/// The reply to a read: the function, the number of bytes and the registers.
pub fn registers(function: u8, words: &[u16]) -> Vec<u8> {
    let mut pdu = vec![function, u8::try_from(2 * words.len()).unwrap_or(u8::MAX)];
    pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    pdu
}

/// An exception.
pub fn exception(function: u8, code: u8) -> Vec<u8> {
    vec![function | 0x80, code]
}
