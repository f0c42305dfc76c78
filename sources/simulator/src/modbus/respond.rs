//! What a Modbus machine sends for a request, each piece with its time. What happens depends on the seed, the
//! requests and their times alone.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::config::Config;
use super::faults::Fault;
use super::framing::{
    Control, DATAGRAM_HEADER, Envelope, Head, Request, StickClock, exception, modbus_tcp_frame,
    registers, reply_payload, rtu_frame, v5_frame,
};
use super::machine::{ILLEGAL_FUNCTION, Machine};
use super::record::{Read, Sent, Withheld};
use crate::faults::LONGEST_DELAY;

/// No answer came from the unit behind the gateway.
const GATEWAY_NO_RESPONSE: u8 = 0x0B;
const BUSY: u8 = 6;
/// What a stick sends in place of a frame when nothing came from the inverter.
const NO_FRAME: [u8; 2] = [5, 0];
/// What a stick sends to who has its serial number wrong.
const NOT_ME: [u8; 2] = [6, 0];
const AT_TEXT: &[u8] = b"AT+YZCMPVER=MW3_16U_5406_2.27\r\n\r\n";
/// How long after the request the reply comes when something was sent before it.
const A_MOMENT: Duration = Duration::from_millis(20);
/// Between the pieces of a torn reply.
pub(super) const PAUSE_BETWEEN_PIECES: Duration = Duration::from_millis(30);

/// Something on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) answers: Option<u64>,
    pub(super) sent: Sent,
    pub(super) to: SocketAddr,
    pub(super) from_other_port: bool,
    pub(super) due: Instant,
    /// Written one after the other, with pauses between them.
    pub(super) pieces: Vec<Vec<u8>>,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Send(Vec<Outgoing>),
    Withhold(Withheld),
    /// The reply is kept back, and the one that was before it is sent.
    KeepBack(Option<Outgoing>),
    /// The asker's connection is closed.
    Close,
    /// Every connection is reset.
    Reset,
}

/// A request with its number and who sent it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) serial: u64,
    pub(super) request: Request,
    pub(super) from: SocketAddr,
}

/// What would be sent if nothing went wrong.
#[derive(Clone, Copy)]
struct Right<'a> {
    asked: &'a Asked,
    read: Read,
    pdu: &'a [u8],
    sent: Sent,
    now: Instant,
}

pub(super) struct Responder {
    machine: Machine,
    random: fastrand::Rng,
    asleep: bool,
    began: Instant,
    /// Frames that the stick has sent.
    counter: u8,
    /// The last sequence byte that a client used: heartbeats repeat it.
    last_sequence: u8,
    /// A reply that is kept back until the next one, as unit and function with data.
    late: Option<(Asked, Vec<u8>)>,
}

impl Responder {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        Self {
            // The weather must not be read from the same numbers as the faults.
            random: fastrand::Rng::with_seed(config.seed ^ 0x0F_A0_17_5E_ED),
            asleep: config.asleep,
            machine: Machine::new(config, now),
            began: now,
            counter: 0,
            last_sequence: 0,
            late: None,
        }
    }

    pub(super) fn config(&self) -> &Config {
        self.machine.config()
    }

    pub(super) fn keep_up(&mut self, now: Instant) {
        self.machine.keep_up(now);
    }

    /// Somebody has sent the greeting.
    pub(super) fn wake(&mut self) {
        self.asleep = false;
    }

    /// Why it answers nobody now, if it does not.
    pub(super) fn silence(&mut self, now: Instant) -> Option<Withheld> {
        if self.asleep {
            return Some(Withheld::Asleep);
        }
        self.machine.is_off(now).then_some(Withheld::Night)
    }

    /// Whether it is off for want of sun.
    pub(super) fn is_off(&mut self, now: Instant) -> bool {
        self.machine.is_off(now)
    }

    /// What is sent for a request that is a read. Nothing of it is due before `now`.
    pub(super) fn answer(&mut self, asked: &Asked, read: Read, now: Instant) -> Outcome {
        if let Some(withheld) = self.silence(now) {
            return Outcome::Withhold(withheld);
        }
        if let Some(outcome) = self.wrong_address(asked, now) {
            return outcome;
        }
        let fault = self.config().faults.clone().draw(&mut self.random);
        let (pdu, sent) = match self.machine.read(read, now) {
            Ok(words) => (registers(read.function, &words), Sent::Proper),
            Err(code) => (exception(read.function, code), Sent::Exception(code)),
        };
        match fault {
            Some(Fault::Drop) => Outcome::Withhold(Withheld::Faulty(Fault::Drop)),
            Some(Fault::Close) => Outcome::Close,
            Some(Fault::Reset) => Outcome::Reset,
            Some(Fault::Late) => {
                let kept = self.take_late(now);
                self.late = Some((asked.clone(), pdu));
                Outcome::KeepBack(kept)
            }
            fault => {
                let mut all: Vec<Outgoing> = self.take_late(now).into_iter().collect();
                let right = Right {
                    asked,
                    read,
                    pdu: &pdu,
                    sent,
                    now,
                };
                match fault {
                    Some(fault) => all.extend(self.strike(fault, right)),
                    None => all.push(self.right(right)),
                }
                Outcome::Send(all)
            }
        }
    }

    /// The answer to a request that is no read: there is no such function.
    pub(super) fn reject(&mut self, asked: &Asked, now: Instant) -> Outcome {
        if let Some(withheld) = self.silence(now) {
            return Outcome::Withhold(withheld);
        }
        if let Some(outcome) = self.wrong_address(asked, now) {
            return outcome;
        }
        let pdu = exception(asked.request.function, ILLEGAL_FUNCTION);
        let bytes = self.wrap(asked, &pdu, now);
        let sent = Sent::Exception(ILLEGAL_FUNCTION);
        Outcome::Send(vec![Outgoing {
            answers: None,
            ..self.outgoing(asked, sent, bytes, now)
        }])
    }

    /// What becomes of a request with the wrong serial number or the wrong unit.
    fn wrong_address(&mut self, asked: &Asked, now: Instant) -> Option<Outcome> {
        let logger = self.config().logger_serial;
        let wrong_unit = asked.request.unit != self.config().unit;
        let (sent, bytes) = match asked.request.envelope {
            Envelope::V5 { sequence, serial } if serial != logger => {
                (Sent::OwnSerial, self.v5(sequence, &NOT_ME, now))
            }
            _ if !wrong_unit => return None,
            Envelope::V5 { sequence, .. } => (Sent::NoInverter, self.v5(sequence, &NO_FRAME, now)),
            Envelope::ModbusTcp { .. } => {
                let pdu = exception(asked.request.function, GATEWAY_NO_RESPONSE);
                (
                    Sent::Exception(GATEWAY_NO_RESPONSE),
                    self.wrap(asked, &pdu, now),
                )
            }
            Envelope::Datagram | Envelope::Rtu => {
                return Some(Outcome::Withhold(Withheld::WrongUnit));
            }
        };
        Some(Outcome::Send(vec![self.outgoing(asked, sent, bytes, now)]))
    }

    fn outgoing(&self, asked: &Asked, sent: Sent, bytes: Vec<u8>, now: Instant) -> Outgoing {
        Outgoing {
            answers: Some(asked.serial),
            sent,
            to: asked.from,
            from_other_port: false,
            due: now + self.config().latency.min(LONGEST_DELAY),
            pieces: vec![bytes],
        }
    }

    fn take_late(&mut self, now: Instant) -> Option<Outgoing> {
        let (asked, pdu) = self.late.take()?;
        let bytes = self.wrap(&asked, &pdu, now);
        Some(self.outgoing(&asked, Sent::Faulty(Fault::Late), bytes, now))
    }

    /// The right reply as it should be.
    fn right(&mut self, right: Right) -> Outgoing {
        let bytes = self.wrap(right.asked, right.pdu, right.now);
        self.outgoing(right.asked, right.sent, bytes, right.now)
    }

    /// What a fault makes of the right reply.
    fn strike(&mut self, fault: Fault, right: Right) -> Vec<Outgoing> {
        let Right {
            asked, read, now, ..
        } = right;
        // A datagram that is taken for the reply ends the wait, so only a stream brings the right one after it.
        let stream = asked.request.envelope != Envelope::Datagram;
        let before = match fault {
            Fault::Text if self.random.bool() => Some(AT_TEXT.to_vec()),
            Fault::Foreign if stream && self.random.bool() => Some(self.foreign(asked, read, now)),
            _ => None,
        };
        let alone = before.is_none();
        let pieces = match before {
            Some(before) => vec![before],
            None => self.struck(fault, right),
        };
        let mut wrong = self.outgoing(asked, Sent::Faulty(fault), Vec::new(), now);
        wrong.pieces = pieces;
        wrong.from_other_port = fault == Fault::Port;
        if fault == Fault::Delay {
            let faults = self.config().faults.clone();
            wrong.due += faults.draw_delay(&mut self.random);
        }
        if alone {
            return vec![wrong];
        }
        let mut after = self.right(right);
        after.due += A_MOMENT;
        vec![wrong, after]
    }

    /// The pieces that a fault sends in the right reply's place.
    fn struck(&mut self, fault: Fault, right: Right) -> Vec<Vec<u8>> {
        let Right {
            asked,
            read,
            pdu,
            now,
            ..
        } = right;
        let before = match fault {
            Fault::HeartbeatBefore => self.heartbeat(),
            Fault::Glued => self.foreign(asked, read, now),
            Fault::Noise => self.serial_line(asked, read, now),
            Fault::Text => AT_TEXT.to_vec(),
            _ => Vec::new(),
        };
        let bytes = match fault {
            Fault::Foreign => self.foreign(asked, read, now),
            Fault::Crc => self.with_wrong_crc(asked, pdu, now),
            Fault::Exception => self.wrap(asked, &exception(read.function, BUSY), now),
            Fault::Short => self.wrap_inner(asked, &NO_FRAME, now),
            Fault::Heartbeat => self.heartbeat(),
            Fault::DoubleCrc => {
                let inner = [rtu_frame(asked.request.unit, pdu), vec![0, 0]].concat();
                self.wrap_inner(asked, &inner, now)
            }
            Fault::Torn => {
                let reply = self.wrap(asked, pdu, now);
                return self.pieces(&reply);
            }
            fault => {
                let reply = self.wrap(asked, pdu, now);
                match fault {
                    Fault::Truncate => self.cut(asked, pdu, reply, now),
                    Fault::Double => [reply.clone(), reply].concat(),
                    Fault::Length => self.with_wrong_length(reply),
                    Fault::Checksum => self.with_wrong_checksum(reply),
                    Fault::HeartbeatAfter => [reply, self.heartbeat()].concat(),
                    _ => reply,
                }
            }
        };
        vec![[before, bytes].concat()]
    }

    /// A well-formed reply with other values, and under another number where there is one.
    fn foreign(&mut self, asked: &Asked, read: Read, now: Instant) -> Vec<u8> {
        let mut other = asked.clone();
        let words = match &mut other.request.envelope {
            Envelope::Datagram | Envelope::Rtu => Some(self.machine.other_block(read, now)),
            Envelope::V5 { sequence, .. } => {
                // Half of them are the cloud's.
                let another = sequence.wrapping_add(self.random.u8(1..=255));
                *sequence = if *sequence != 0 && self.random.bool() {
                    0
                } else {
                    another
                };
                self.machine.read_neighbour(read, now)
            }
            Envelope::ModbusTcp { transaction } => {
                *transaction = transaction.wrapping_add(self.random.u16(1..=65_535));
                self.machine.read_neighbour(read, now)
            }
        };
        let count = usize::from(read.count.min(125));
        let words = words.unwrap_or_else(|| vec![0; count]);
        self.wrap(&other, &registers(read.function, &words), now)
    }

    /// What the serial line of the neighbour carries, without a V5 frame around it.
    fn serial_line(&mut self, asked: &Asked, read: Read, now: Instant) -> Vec<u8> {
        let words = self.machine.read_neighbour(read, now).unwrap_or_default();
        let few = words.get(..4).unwrap_or(&words);
        rtu_frame(asked.request.unit, &registers(read.function, few))
    }

    fn wrap(&mut self, asked: &Asked, pdu: &[u8], now: Instant) -> Vec<u8> {
        let inner = match asked.request.envelope {
            Envelope::ModbusTcp { .. } => [&[asked.request.unit], pdu].concat(),
            _ => rtu_frame(asked.request.unit, pdu),
        };
        self.wrap_inner(asked, &inner, now)
    }

    fn wrap_inner(&mut self, asked: &Asked, inner: &[u8], now: Instant) -> Vec<u8> {
        match asked.request.envelope {
            Envelope::Datagram => [&DATAGRAM_HEADER, inner].concat(),
            Envelope::Rtu => inner.to_vec(),
            Envelope::V5 { sequence, .. } => self.v5(sequence, inner, now),
            Envelope::ModbusTcp { transaction } => modbus_tcp_frame(transaction, inner),
        }
    }

    fn v5(&mut self, sequence: u8, inner: &[u8], now: Instant) -> Vec<u8> {
        self.last_sequence = sequence;
        let payload = reply_payload(self.stick_clock(now), inner);
        self.stick_frame(Control::Reply, sequence, &payload)
    }

    fn stick_clock(&mut self, now: Instant) -> StickClock {
        let moment = self.machine.moment(now);
        let unix = jiff::tz::Offset::UTC
            .to_timestamp(moment.clock)
            .map_or(0, jiff::Timestamp::as_second);
        let running = now.saturating_duration_since(self.began).as_secs();
        let power_on = u32::try_from(running).unwrap_or(u32::MAX);
        let working = power_on.saturating_add(1_000_000);
        StickClock {
            working,
            power_on,
            offset: u32::try_from(unix)
                .unwrap_or(u32::MAX)
                .saturating_sub(working),
        }
    }

    fn stick_frame(&mut self, control: Control, sequence: u8, payload: &[u8]) -> Vec<u8> {
        let head = Head {
            control,
            sequence,
            counter: self.counter,
            serial: self.config().logger_serial,
        };
        self.counter = self.counter.wrapping_add(1);
        v5_frame(head, payload)
    }

    pub(super) fn heartbeat(&mut self) -> Vec<u8> {
        self.stick_frame(Control::Heartbeat, self.last_sequence, &[0])
    }

    /// A frame that is meant for the vendor's cloud.
    pub(super) fn push(&mut self) -> Vec<u8> {
        let (control, length) = match self.random.u8(0..4) {
            0 => (Control::Hello, 99),
            1 => (Control::Data, 260),
            2 => (Control::Information, 60),
            _ => (Control::Report, 100),
        };
        let payload: Vec<u8> = std::iter::repeat_with(|| self.random.u8(..))
            .take(length)
            .collect();
        let sequence = self.random.u8(..);
        self.stick_frame(control, sequence, &payload)
    }

    fn pieces(&mut self, whole: &[u8]) -> Vec<Vec<u8>> {
        let mut cuts = [0, 1].map(|_| self.random.usize(1..whole.len().max(2)));
        cuts.sort_unstable();
        let [first, second] = cuts;
        [(0, first), (first, second), (second, whole.len())]
            .into_iter()
            .filter_map(|(from, to)| whole.get(from..to))
            .filter(|piece| !piece.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// Of a stream half the time the Modbus frame inside is cut, so that the frame around it is whole.
    fn cut(&mut self, asked: &Asked, pdu: &[u8], mut whole: Vec<u8>, now: Instant) -> Vec<u8> {
        let framed = matches!(
            asked.request.envelope,
            Envelope::V5 { .. } | Envelope::ModbusTcp { .. }
        );
        if framed && self.random.bool() {
            let mut inner = [&[asked.request.unit], pdu].concat();
            if matches!(asked.request.envelope, Envelope::V5 { .. }) {
                inner = rtu_frame(asked.request.unit, pdu);
            }
            let length = self.random.usize(3..inner.len().max(4));
            inner.truncate(length);
            return self.wrap_inner(asked, &inner, now);
        }
        whole.truncate(self.random.usize(1..whole.len().max(2)));
        whole
    }

    fn with_wrong_crc(&mut self, asked: &Asked, pdu: &[u8], now: Instant) -> Vec<u8> {
        let mut inner = rtu_frame(asked.request.unit, pdu);
        // Anywhere but in what says how long the reply is.
        let at = self.random.usize(3..inner.len().max(4));
        self.flip(&mut inner, at);
        self.wrap_inner(asked, &inner, now)
    }

    fn with_wrong_checksum(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        let at = self.random.usize(11..frame.len().max(13) - 1);
        self.flip(&mut frame, at);
        frame
    }

    fn with_wrong_length(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        let wrong = self
            .random
            .choice([0, 3, 6, 0x00FF, 0x0400])
            .unwrap_or(0_u16);
        if let Some(place) = frame.get_mut(4..6) {
            place.copy_from_slice(&wrong.to_be_bytes());
        }
        frame
    }

    fn flip(&mut self, bytes: &mut [u8], at: usize) {
        let bit = self.random.u8(0..8);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }
}

#[cfg(test)]
mod tests;
