//! Frames: finding them in a datagram, checking them, and telling why a datagram holds none that was asked for.
//!
//! ```text
//! AA 55 | source | destination | control | function | N | N bytes of payload | sum of all before, 16 bits
//! ```
//!
//! The WiFi module behind the socket mixes things up: it cuts replies, glues two together, passes on what another
//! client asked for (PROTOCOL 1.6). So a datagram is searched for the frame that was asked for, and everything
//! else in it has a name.

use std::fmt;

use kstar_source::error::Rejection;

use super::GREETING;
use super::request::{ApAddress, Request};

const HEADER: [u8; 2] = [0xaa, 0x55];

/// Bytes before the payload.
pub const HEADER_LENGTH: usize = 7;

/// Bytes of a frame without its payload.
pub const OVERHEAD: usize = HEADER_LENGTH + 2;

/// The longest frame that there can be: the length is one byte.
pub const LONGEST: usize = OVERHEAD + 255;

/// The address of every inverter that has not been given another.
pub(crate) const INVERTER: u8 = 0x7f;

/// The unit address of GoodWe's Modbus machines, which answer in the same header (PROTOCOL 1.6).
const MODBUS_UNIT: u8 = 0xf7;

/// The control code of everything that reads.
const READ: u8 = 0x01;

/// A whole frame with the right checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where in the datagram it begins.
    pub position: usize,
    /// Who sent it.
    pub source: u8,
    /// Whom it is for.
    pub destination: u8,
    /// The control code: 01 where something is read.
    pub control: u8,
    /// The function code: of a reply that of the request plus 80.
    pub function: u8,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame that begins at a position of the datagram; what follows it is ignored.
    pub fn check(datagram: &'a [u8], position: usize) -> Result<Self, Refusal> {
        let bytes = datagram.get(position..).unwrap_or_default();
        let &[h0, h1, source, destination, control, function, length, ..] = bytes else {
            return Err(Refusal::TooShort { found: bytes.len() });
        };
        if [h0, h1] != HEADER {
            return Err(Refusal::NoFrame { found: bytes.len() });
        }
        if source == MODBUS_UNIT {
            return Err(Refusal::Modbus {
                function: destination,
            });
        }
        let (expected, end) = (
            usize::from(length) + OVERHEAD,
            usize::from(length) + HEADER_LENGTH,
        );
        let (Some(summed), Some(&[high, low])) = (bytes.get(..end), bytes.get(end..expected))
        else {
            return Err(Refusal::Truncated {
                position,
                expected,
                found: bytes.len(),
            });
        };
        let computed = summed
            .iter()
            .fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
        let carried = u16::from_be_bytes([high, low]);
        if computed != carried {
            return Err(Refusal::Checksum {
                position: position + end,
                computed,
                carried,
            });
        }
        let payload = summed.get(HEADER_LENGTH..).unwrap_or_default();
        Ok(Self {
            position,
            source,
            destination,
            control,
            function,
            payload,
        })
    }

    /// How many bytes it takes in the datagram.
    pub fn length(&self) -> usize {
        self.payload.len() + OVERHEAD
    }

    /// Whether it is the reply to this request.
    fn answers(&self, request: Request, ap: ApAddress) -> Result<(), Refusal> {
        if self.source == ap.byte() && self.destination == INVERTER {
            return Err(Refusal::Echo);
        }
        if (self.source, self.destination) != (INVERTER, ap.byte()) {
            return Err(Refusal::OtherAddress {
                position: self.position,
                source: self.source,
                destination: self.destination,
                asked_as: ap.byte(),
            });
        }
        if (self.control, self.function) != (READ, request.reply_function()) {
            return Err(Refusal::OtherReply {
                position: self.position,
                control: self.control,
                function: self.function,
                expected: request.reply_function(),
            });
        }
        Ok(())
    }
}

/// The payload of the reply to `request` in a datagram, or the first thing that is wrong with the datagram.
///
/// Bytes before a frame are searched past, and what follows a whole frame is looked at as the next one.
pub fn reply(datagram: &[u8], request: Request, ap: ApAddress) -> Result<&[u8], Refusal> {
    let mut first_refusal = None;
    for frame in frames(datagram) {
        match frame.and_then(|frame| frame.answers(request, ap).map(|()| frame.payload)) {
            Ok(payload) => return Ok(payload),
            Err(refusal) => first_refusal = first_refusal.or(Some(refusal)),
        }
    }
    Err(first_refusal.unwrap_or_else(|| without_header(datagram)))
}

/// Everything in a datagram that begins like a frame: whole frames, and what is wrong with others.
pub fn frames(datagram: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, Refusal>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let rest = datagram.get(position..)?;
        let start = position + rest.windows(HEADER.len()).position(|pair| pair == HEADER)?;
        let frame = Frame::check(datagram, start);
        // A broken frame may hide a whole one: another header may stand right behind its own.
        position = start + frame.as_ref().map_or(HEADER.len(), Frame::length);
        Some(frame)
    })
}

/// What a datagram without any header is.
fn without_header(datagram: &[u8]) -> Refusal {
    if datagram == GREETING {
        Refusal::Echo
    } else if !datagram.is_empty()
        && datagram
            .iter()
            .all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n'))
    {
        Refusal::Text
    } else if datagram.len() < OVERHEAD {
        Refusal::TooShort {
            found: datagram.len(),
        }
    } else {
        Refusal::NoFrame {
            found: datagram.len(),
        }
    }
}

/// Why a datagram, or a part of it, was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is shorter than any frame.
    TooShort {
        /// Its length.
        found: usize,
    },
    /// There is no frame's header in it.
    NoFrame {
        /// Its length.
        found: usize,
    },
    /// It is text, like a reply to the greeting.
    Text,
    /// It is a request or the greeting come back.
    Echo,
    /// It is a Modbus reply: the machine speaks another protocol, or another client asked it something.
    Modbus {
        /// Its function code; from 80 up it is an exception.
        function: u8,
    },
    /// The frame is longer than what came.
    Truncated {
        /// Where in the datagram it begins.
        position: usize,
        /// How long its length byte says that it is.
        expected: usize,
        /// How much came.
        found: usize,
    },
    /// The sum of its bytes is not the one that it carries.
    Checksum {
        /// Where in the datagram the sum stands.
        position: usize,
        /// The sum.
        computed: u16,
        /// What stands at its end.
        carried: u16,
    },
    /// It is from or for somebody else.
    OtherAddress {
        /// Where in the datagram it begins.
        position: usize,
        /// Who sent it.
        source: u8,
        /// Whom it is for.
        destination: u8,
        /// What we called ourselves when asking.
        asked_as: u8,
    },
    /// It is a whole frame of another type, like a late reply to an earlier request or one for another client.
    OtherReply {
        /// Where in the datagram it begins.
        position: usize,
        /// Its control code.
        control: u8,
        /// Its function code.
        function: u8,
        /// The function code that was waited for.
        expected: u8,
    },
    /// It is the right reply but too short to be of any known form.
    UnsupportedLength {
        /// The length of its payload.
        found: usize,
        /// The shortest known form.
        least: usize,
    },
}

impl Refusal {
    /// Every reason, as counts and metrics name it.
    pub const NAMES: &'static [&'static str] = &[
        "too_short",
        "no_frame",
        "text",
        "echo",
        "modbus",
        "truncated",
        "checksum",
        "other_address",
        "other_reply",
        "unsupported_length",
    ];

    /// This reason, as counts and metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::NoFrame { .. } => "no_frame",
            Self::Text => "text",
            Self::Echo => "echo",
            Self::Modbus { .. } => "modbus",
            Self::Truncated { .. } => "truncated",
            Self::Checksum { .. } => "checksum",
            Self::OtherAddress { .. } => "other_address",
            Self::OtherReply { .. } => "other_reply",
            Self::UnsupportedLength { .. } => "unsupported_length",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { found } => write!(f, "{found} bytes, expected at least {OVERHEAD}"),
            Self::NoFrame { found } => write!(f, "no frame header aa55 in {found} bytes"),
            Self::Text => f.write_str("text, expected a frame; is the port that of discovery (48899) instead of data (8899)?"),
            Self::Echo => f.write_str("a request or greeting came back, expected a reply; is the host this machine itself?"),
            Self::Modbus { function } => write!(
                f,
                "a Modbus reply with function 0x{function:02x}, expected an AA55 frame; newer machines speak only Modbus"
            ),
            Self::Truncated { position, expected, found } => {
                write!(f, "frame at byte {position} cut off: {found} bytes, expected {expected}")
            }
            Self::Checksum { position, computed, carried } => {
                write!(f, "checksum 0x{carried:04x} at byte {position}, expected 0x{computed:04x}")
            }
            Self::OtherAddress { position, source, destination, asked_as } => write!(
                f,
                "frame at byte {position} from 0x{source:02x} for 0x{destination:02x}, expected from 0x{INVERTER:02x} for 0x{asked_as:02x}"
            ),
            Self::OtherReply { position, control, function, expected } => write!(
                f,
                "frame at byte {position} of type {control:02x}{function:02x}, expected {READ:02x}{expected:02x}; \
                 does another program or app ask the same inverter?"
            ),
            Self::UnsupportedLength { found, least } => {
                write!(f, "payload of {found} bytes, expected at least {least}")
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.name(),
            message: refusal.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of that type around a payload.
    fn frame(addresses: [u8; 2], kind: [u8; 2], payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).expect("a payload is shorter than 256 bytes");
        let mut bytes = [&HEADER, &addresses, &kind, &[length][..], payload].concat();
        let sum = bytes
            .iter()
            .fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
        bytes.extend(sum.to_be_bytes());
        bytes
    }

    fn running(payload: &[u8]) -> Vec<u8> {
        frame([0x7f, 0xb0], [0x01, 0x86], payload)
    }

    #[track_caller]
    fn check(datagram: &[u8], expected: Result<&[u8], Refusal>) {
        assert_eq!(
            reply(datagram, Request::RunningData, ApAddress::B0),
            expected
        );
    }

    #[test]
    fn a_whole_frame_is_taken_wherever_it_stands() {
        let other = frame([0x7f, 0xb0], [0x03, 0x9d], &[0x06]);
        let right = running(&[1, 2, 3]);
        check(&right, Ok(&[1, 2, 3]));
        check(&[&[0x00, 0xaa, 0x17], &right[..]].concat(), Ok(&[1, 2, 3]));
        check(&[&right[..], &[0xff; 30]].concat(), Ok(&[1, 2, 3]));
        check(&[&other[..], &right[..]].concat(), Ok(&[1, 2, 3]));
        check(&[&right[..5], &right[..]].concat(), Ok(&[1, 2, 3]));
        check(&running(&[]), Ok(&[]));
        check(&running(&[0xff; 255]), Ok(&[0xff; 255]));
    }

    #[test]
    fn everything_else_is_called_by_its_name() {
        let right = running(&[1, 2, 3]);
        let mut wrong_sum = right.clone();
        wrong_sum[8] ^= 1;
        let carried = u16::from_be_bytes([right[10], right[11]]);
        check(&[], Err(Refusal::TooShort { found: 0 }));
        check(&[0; 4], Err(Refusal::TooShort { found: 4 }));
        check(&[0; 40], Err(Refusal::NoFrame { found: 40 }));
        check(b"192.168.1.50,ACCF23000001,HF-LPB1x000", Err(Refusal::Text));
        check(GREETING, Err(Refusal::Echo));
        check(
            Request::RunningData.frame(ApAddress::B0),
            Err(Refusal::Echo),
        );
        check(
            &[0xaa, 0x55, 0xf7, 0x83, 0x02, 0x20, 0xc3],
            Err(Refusal::Modbus { function: 0x83 }),
        );
        check(
            &right[..11],
            Err(Refusal::Truncated {
                position: 0,
                expected: 12,
                found: 11,
            }),
        );
        check(
            &wrong_sum,
            Err(Refusal::Checksum {
                position: 10,
                computed: carried + 1,
                carried,
            }),
        );
        check(
            &frame([0x7f, 0xc0], [0x01, 0x86], &[0]),
            Err(Refusal::OtherAddress {
                position: 0,
                source: 0x7f,
                destination: 0xc0,
                asked_as: 0xb0,
            }),
        );
        check(
            &frame([0x7f, 0xb0], [0x01, 0x82], &[0]),
            Err(Refusal::OtherReply {
                position: 0,
                control: 0x01,
                function: 0x82,
                expected: 0x86,
            }),
        );
        check(
            &frame([0x7f, 0xb0], [0x03, 0x86], &[0]),
            Err(Refusal::OtherReply {
                position: 0,
                control: 0x03,
                function: 0x86,
                expected: 0x86,
            }),
        );
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_told() {
        let other = frame([0x7f, 0xb0], [0x03, 0x9d], &[0x06]);
        let cut = &running(&[1; 60])[..30];
        check(
            &[&other[..], cut].concat(),
            Err(Refusal::OtherReply {
                position: 0,
                control: 0x03,
                function: 0x9d,
                expected: 0x86,
            }),
        );
    }

    #[test]
    fn the_sum_wraps_as_an_unsigned_number_of_sixteen_bits() {
        let bytes = running(&[0xff; 255]);
        // 65,973 in full.
        assert_eq!(bytes[262..], 437_u16.to_be_bytes());
        assert!(Frame::check(&bytes, 0).is_ok());
    }

    #[test]
    fn each_reason_has_a_name_of_its_own() {
        let position = 0;
        let (found, expected) = (0, 0);
        let named: std::collections::BTreeSet<&str> = [
            Refusal::TooShort { found },
            Refusal::NoFrame { found },
            Refusal::Text,
            Refusal::Echo,
            Refusal::Modbus { function: 3 },
            Refusal::Truncated {
                position,
                expected,
                found,
            },
            Refusal::Checksum {
                position,
                computed: 0,
                carried: 1,
            },
            Refusal::OtherAddress {
                position,
                source: 0,
                destination: 0,
                asked_as: 0,
            },
            Refusal::OtherReply {
                position,
                control: 0,
                function: 0,
                expected: 0,
            },
            Refusal::UnsupportedLength { found, least: 81 },
        ]
        .map(Refusal::name)
        .into();
        assert_eq!(named, Refusal::NAMES.iter().copied().collect());
        assert_eq!(named.len(), Refusal::NAMES.len());
    }
}
