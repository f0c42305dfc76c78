//! Modbus, as far as it reads: requests of functions 03 and 04, their replies, exceptions, and the CRC of a serial line.
//!
//! A [`Request`] can only be made from a [`Block`](crate::registers::Block) of a family's list, so that no other register is
//! ever asked for and nothing can be written:
//!
//! ```compile_fail
//! use kstar_source_modbus::frame::{Function, Request};
//! // Nobody outside can name a register or a count: the fields are private, and there is no constructor.
//! let request = Request { unit: 247, function: Function::ReadHolding, first: 47000, count: 1 };
//! ```
//!
//! ```compile_fail
//! // And there is no function that writes.
//! let function = kstar_source_modbus::frame::Function::WriteSingle;
//! ```
//!
//! ```
//! use kstar_source_modbus::families::goodwe_et::GOODWE_ET;
//! // This is the only way to a request.
//! let requests = GOODWE_ET.blocks[0].requests(247);
//! assert_eq!(requests.map(|request| request.bytes()).collect::<Vec<_>>(), [[247, 3, 0x89, 0x1c, 0, 125]]);
//! ```

use std::fmt;

use kstar_source::error::Rejection;

use crate::reasons;

/// The functions that are ever sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Read holding registers.
    ReadHolding,
    /// Read input registers.
    ReadInput,
}

impl Function {
    /// The code on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::ReadHolding => 0x03,
            Self::ReadInput => 0x04,
        }
    }
}

/// The bit that makes a function's code that of an exception.
pub(crate) const EXCEPTION: u8 = 0x80;

/// The most registers that one request may ask for.
pub const MOST_REGISTERS: u16 = 125;

/// A request for consecutive registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    unit: u8,
    function: Function,
    first: u16,
    count: u16,
}

/// What an inverter answers to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The registers that were asked for.
    Registers(Vec<u16>),
    /// It does not tell them.
    Exception(Exception),
}

/// Why registers are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception(pub u16);

impl Exception {
    /// The machine does not have these registers.
    pub const ILLEGAL_DATA_ADDRESS: Self = Self(2);
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self.0 {
            1 => "illegal function",
            2 => "illegal data address",
            3 => "illegal data value",
            4 => "device failure",
            5 => "acknowledge: there is no answer from the inverter yet",
            6 => "busy: there is no answer from the inverter",
            7 => "negative acknowledge",
            8 => "parity error",
            10 => "gateway path unavailable",
            11 => "gateway target does not respond: is the unit right?",
            _ => "unknown",
        };
        write!(f, "exception {} ({meaning})", self.0)
    }
}

/// `function 04, registers 3000 to 3124`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.first.saturating_add(self.count - 1);
        let function = self.function.code();
        write!(
            f,
            "function {function:02}, registers {} to {last}",
            self.first
        )
    }
}

impl Request {
    pub(crate) const fn new(unit: u8, function: Function, first: u16, count: u16) -> Self {
        assert!(count >= 1 && count <= MOST_REGISTERS, "1 to 125 registers");
        Self {
            unit,
            function,
            first,
            count,
        }
    }

    /// What a request says of itself, to explain it; one that is sent comes from a family's list.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[unit, function, first_high, first_low, count_high, count_low] = bytes else {
            return None;
        };
        let function = match function {
            0x03 => Function::ReadHolding,
            0x04 => Function::ReadInput,
            _ => return None,
        };
        let count = u16::from_be_bytes([count_high, count_low]);
        (1..=MOST_REGISTERS).contains(&count).then_some(Self {
            unit,
            function,
            first: u16::from_be_bytes([first_high, first_low]),
            count,
        })
    }

    /// The first of the registers.
    pub(crate) fn first(self) -> u16 {
        self.first
    }

    /// Whose registers are asked for.
    pub fn unit(&self) -> u8 {
        self.unit
    }

    /// Unit, function, first register and count: what every framing carries.
    pub fn bytes(&self) -> [u8; 6] {
        let [first_high, first_low] = self.first.to_be_bytes();
        let [count_high, count_low] = self.count.to_be_bytes();
        let function = self.function.code();
        [
            self.unit, function, first_high, first_low, count_high, count_low,
        ]
    }

    /// With the CRC of a serial line.
    pub fn rtu(&self) -> Vec<u8> {
        with_crc(&self.bytes())
    }

    /// What a reply says that begins with the unit: in its first bytes, and how many those are. There may be more behind it.
    pub fn answer(&self, reply: &[u8]) -> Result<(Answer, usize), Rejection> {
        let &[unit, function, length, ..] = reply else {
            return Err(reasons::truncated(reply.len()));
        };
        if unit != self.unit {
            return Err(reasons::rejection(
                reasons::OTHER_UNIT,
                format!("a reply of unit {unit} to a request to unit {}", self.unit),
            ));
        }
        if function == self.function.code() | EXCEPTION {
            return Ok((Answer::Exception(Exception(length.into())), 3));
        }
        if function != self.function.code() {
            return Err(reasons::rejection(
                reasons::OTHER_FUNCTION,
                format!("a reply of function 0x{function:02x}"),
            ));
        }
        if u16::from(length) != self.count * 2 {
            return Err(reasons::rejection(
                reasons::OTHER_LENGTH,
                format!(
                    "a reply of {} registers to a request for {}",
                    length / 2,
                    self.count
                ),
            ));
        }
        let end = 3 + usize::from(length);
        let data = reply
            .get(3..end)
            .ok_or_else(|| reasons::truncated(reply.len()))?;
        Ok((Answer::Registers(words(data)), end))
    }

    /// The same with the CRC of a serial line behind it.
    pub fn rtu_answer(&self, reply: &[u8]) -> Result<(Answer, usize), Rejection> {
        let (answer, length) = self.answer(reply)?;
        let (body, rest) = reply.split_at_checked(length).unwrap_or_default();
        let Some(check) = rest.first_chunk() else {
            return Err(reasons::truncated(reply.len()));
        };
        if u16::from_le_bytes(*check) != crc(body) {
            return Err(reasons::crc());
        }
        Ok((answer, length + 2))
    }

    /// How many bytes a reply of that kind takes that begins with the unit, without a checksum: by what it says of itself.
    pub(crate) fn reply_length(reply: &[u8]) -> Option<usize> {
        let &[_, function, length, ..] = reply else {
            return None;
        };
        Some(if function & EXCEPTION == 0 {
            3 + usize::from(length)
        } else {
            3
        })
    }
}

/// Big-endian words; what is left over is dropped.
pub(crate) fn words(data: &[u8]) -> Vec<u16> {
    let (words, _) = data.as_chunks();
    words.iter().copied().map(u16::from_be_bytes).collect()
}

/// Bytes with their CRC, the low byte first.
pub fn with_crc(bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    all.extend(crc(bytes).to_le_bytes());
    all
}

/// The CRC of a serial line: polynomial 0x8005 with its bits reversed, from 0xFFFF on.
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xa001
            } else {
                crc >> 1
            }
        })
    })
}
