//! Solarman V5: the frame that logger sticks put around Modbus RTU on TCP port 8899 (PROTOCOL-SOLARMAN 1, 2).
//!
//! A stick sends each reply to every open connection, its heartbeats too, and now and then text. What is ours tells the
//! sequence byte alone. Nothing but a reading request is ever sent: an answer to one of the stick's own frames might set its
//! clock.

use kstar_source::error::Rejection;
use kstar_source::stream::{Dialogue, Split};

use crate::frame::{Answer, Exception, Request};
use crate::reasons;

pub(crate) const START: u8 = 0xa5;
const END: u8 = 0x15;

/// Control codes, as they stand on the wire.
pub(crate) const REQUEST: [u8; 2] = [0x10, 0x45];
pub(crate) const REPLY: [u8; 2] = [0x10, 0x15];
pub(crate) const HEARTBEAT: [u8; 2] = [0x10, 0x47];

/// Frames to and from the inverter, not the stick.
const INVERTER: u8 = 2;

/// Start, length, control, sequence, serial number.
pub(crate) const HEADER: usize = 11;

/// What stands in a reply before the Modbus frame: type, status and three times.
pub(crate) const REPLY_HEAD: usize = 14;

/// The same in a request: one byte more.
pub(crate) const REQUEST_HEAD: usize = 15;

/// The header, and checksum and end.
pub(crate) const AROUND: usize = HEADER + 2;

/// More than the longest reply takes, 282 bytes; what claims to be longer is no frame.
const LONGEST: usize = 1024;

/// So many exchanges must tell the same serial number of a stick before it takes the place of a known one: the checksum does
/// not notice two bytes that changed places.
const CONVINCING: u8 = 3;

/// What is remembered of a stick from one request to the next.
#[derive(Clone, Debug)]
pub struct Session {
    /// The stick's serial number, if it is known.
    pub logger_serial: Option<u32>,
    /// The sequence byte of the last try, which the reply repeats.
    sequence: u8,
    /// Another serial number that replies had, and how many in a row.
    other: Option<(u32, u8)>,
}

impl Session {
    /// With a stick of this serial number, if it is known.
    pub fn new(logger_serial: Option<u32>) -> Self {
        Self {
            logger_serial,
            sequence: fastrand::u8(..),
            other: None,
        }
    }

    fn next_sequence(&mut self) -> u8 {
        // 0 marks replies to the vendor's cloud, and 3 could be taken for the length field of a Modbus TCP answer.
        self.sequence = match self.sequence.wrapping_add(1) {
            0 => 1,
            3 => 4,
            next => next,
        };
        self.sequence
    }

    /// Hears a serial number in a reply to our own request; whether it is that of our stick.
    fn hear(&mut self, serial: u32) -> bool {
        match self.logger_serial {
            Some(known) if known == serial => {
                self.other = None;
                return true;
            }
            None => {
                tracing::info!(logger_serial = serial, "learnt the stick's serial number");
                self.logger_serial = Some(serial);
                return true;
            }
            Some(_) => {}
        }
        let before = self.other.filter(|(other, _)| *other == serial);
        let times = before.map_or(0, |(_, times)| times) + 1;
        self.other = Some((serial, times));
        if times >= CONVINCING {
            tracing::warn!(
                logger_serial = serial,
                before = self.logger_serial,
                "the stick has another serial number than was known; using it: correct `logger_serial` if it is configured"
            );
            self.logger_serial = Some(serial);
            self.other = None;
        }
        false
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct SolarmanV5<'a> {
    /// What is asked.
    pub request: Request,
    /// With whom.
    pub session: &'a mut Session,
    /// What came is the answer of a stick that speaks Modbus TCP.
    pub speaks_modbus_tcp: bool,
}

impl Dialogue for SolarmanV5<'_> {
    type Answer = Answer;

    fn request(&mut self) -> Vec<u8> {
        let sequence = self.session.next_sequence();
        // Type, sensor type and three times, all of which a client leaves at 0.
        let mut payload = vec![INVERTER];
        payload.resize(REQUEST_HEAD, 0);
        payload.extend(self.request.rtu());
        let length = u16::try_from(payload.len()).unwrap_or_default();
        let mut frame = vec![START];
        frame.extend(length.to_le_bytes());
        frame.extend(REQUEST);
        frame.extend([sequence, 0]);
        frame.extend(self.session.logger_serial.unwrap_or_default().to_le_bytes());
        frame.extend(payload);
        frame.push(checksum(&frame));
        frame.push(END);
        frame
    }

    fn split(&self, received: &[u8]) -> Split {
        match length(received) {
            Length::Of(length) => Split::Frame(length),
            Length::Unknown if !follows_frame(received) => Split::Incomplete,
            Length::None if is_modbus_tcp(received) => Split::Frame(MODBUS_TCP_ANSWER),
            Length::None | Length::Unknown => {
                let end = next_start(received);
                let noise = received.get(..end).unwrap_or_default();
                let rejection = if noise.first() == Some(&START) {
                    reasons::rejection(
                        reasons::CHECKSUM,
                        "a V5 frame whose checksum does not fit".to_owned(),
                    )
                } else {
                    reasons::no_frame(noise)
                };
                Split::Noise(end, rejection)
            }
        }
    }

    fn accept(&mut self, frame: &[u8]) -> Result<Answer, Rejection> {
        if frame.len() == MODBUS_TCP_ANSWER {
            self.speaks_modbus_tcp = true;
            return Err(reasons::rejection(
                reasons::MODBUS_TCP,
                "the stick speaks Modbus TCP, not Solarman V5: set `via = \"modbus-tcp\"`"
                    .to_owned(),
            ));
        }
        let (header, rest) = frame.split_at_checked(HEADER).unwrap_or_default();
        let &[
            _,
            _,
            _,
            control_low,
            control_high,
            sequence,
            _,
            s0,
            s1,
            s2,
            s3,
        ] = header
        else {
            return Err(reasons::truncated(frame.len()));
        };
        match [control_low, control_high] {
            REPLY => {}
            HEARTBEAT => {
                let message = "a heartbeat of the stick".to_owned();
                return Err(reasons::rejection(reasons::HEARTBEAT, message));
            }
            [low, high] => {
                let message = format!("a frame of the stick's own, control {high:02x}{low:02x}");
                return Err(reasons::rejection(reasons::PUSH, message));
            }
        }
        if sequence != self.session.sequence {
            return Err(reasons::rejection(
                reasons::OTHER_REQUEST,
                format!(
                    "a reply to request {sequence:02x}, not to {:02x}",
                    self.session.sequence
                ),
            ));
        }
        let serial = u32::from_le_bytes([s0, s1, s2, s3]);
        if !self.session.hear(serial) {
            return Err(reasons::rejection(
                reasons::OTHER_LOGGER,
                format!("a reply of the stick {serial}"),
            ));
        }
        let payload = rest.get(..rest.len().saturating_sub(2)).unwrap_or_default();
        let Some((&[kind, ..], modbus)) = payload.split_first_chunk::<REPLY_HEAD>() else {
            return Err(reasons::truncated(frame.len()));
        };
        if kind != INVERTER {
            let message = format!("a reply of type {kind}, which is not the inverter's");
            return Err(reasons::rejection(reasons::PUSH, message));
        }
        // The stick had no answer from the inverter.
        if let &[low, high] = modbus {
            let code = u16::from_le_bytes([low, high]);
            return Ok(Answer::Exception(Exception(code)));
        }
        let (answer, length) = self.request.rtu_answer(modbus)?;
        match modbus.get(length..).unwrap_or_default() {
            // Some sticks put a second, empty CRC behind it.
            [] | [0, 0] => Ok(answer),
            more => Err(reasons::rejection(
                reasons::OTHER_LENGTH,
                format!("{} bytes behind a whole reply", more.len()),
            )),
        }
    }
}

/// How long the frame is with which bytes begin.
enum Length {
    /// So many bytes, all of which are there and right.
    Of(usize),
    /// Not all of it is there.
    Unknown,
    /// There is none.
    None,
}

fn length(received: &[u8]) -> Length {
    if received.first() != Some(&START) {
        return Length::None;
    }
    let Some((&[_, low, high], _)) = received.split_first_chunk() else {
        return Length::Unknown;
    };
    if is_modbus_tcp(received) {
        return Length::None;
    }
    let length = usize::from(u16::from_le_bytes([low, high])) + AROUND;
    if length > LONGEST {
        return Length::None;
    }
    let Some(frame) = received.get(..length) else {
        return Length::Unknown;
    };
    match frame {
        [body @ .., check, END] if checksum(body) == *check => Length::Of(length),
        _ => Length::None,
    }
}

/// How long the whole frame is with which bytes begin, if one does.
pub(crate) fn whole(bytes: &[u8]) -> Option<usize> {
    match length(bytes) {
        Length::Of(length) => Some(length),
        Length::Unknown | Length::None => None,
    }
}

/// The sum of all bytes but the first.
pub(crate) fn checksum(frame: &[u8]) -> u8 {
    let body = frame.get(1..).unwrap_or_default();
    body.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Where the next frame may begin, behind the first byte.
fn next_start(received: &[u8]) -> usize {
    let rest = received.get(1..).unwrap_or_default();
    let next = rest.iter().position(|byte| *byte == START);
    next.map_or(received.len(), |next| next + 1)
}

/// Whether a whole frame stands behind the first byte: then that does not begin one.
fn follows_frame(received: &[u8]) -> bool {
    (1..received.len()).any(|position| {
        let rest = received.get(position..).unwrap_or_default();
        matches!(length(rest), Length::Of(_))
    })
}

/// How long the answer of a stick that speaks Modbus TCP is.
const MODBUS_TCP_ANSWER: usize = 9;

/// Whether this is the answer of a stick that speaks Modbus TCP and took our frame for that: an exception, with our first
/// four bytes as transaction number and protocol, and part of our serial number as the function (PROTOCOL-SOLARMAN 1.6).
pub(crate) fn is_modbus_tcp(received: &[u8]) -> bool {
    matches!(
        received,
        [START, 23, 0, control_low, control_high, 3, 0, function, _]
            if [*control_low, *control_high] == REQUEST && function & 0x80 != 0
    )
}
