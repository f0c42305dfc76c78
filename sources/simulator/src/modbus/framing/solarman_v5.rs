//! Solarman V5: a frame of a stick around a Modbus RTU frame. Its own numbers have the low byte first.

use super::{Envelope, LONGEST_REQUEST, Length, Request, rtu};

pub(super) const START: u8 = 0xA5;
const END: u8 = 0x15;
/// The 11 bytes before the payload, the checksum and the end.
const AROUND_PAYLOAD: usize = 13;
/// Frame type 02 and zeros: what is in front of the RTU frame of a request.
const REQUEST_HEAD: [u8; 15] = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const REQUEST_CONTROL: u16 = 0x4510;

/// What a stick's frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The reply to a request.
    Reply,
    /// A sign of life.
    Heartbeat,
    /// To the cloud: hello.
    Hello,
    /// To the cloud: data.
    Data,
    /// To the cloud: about the stick.
    Information,
    /// To the cloud: a report.
    Report,
}

impl Control {
    fn code(self) -> u16 {
        match self {
            Self::Reply => 0x1510,
            Self::Heartbeat => 0x4710,
            Self::Hello => 0x4110,
            Self::Data => 0x4210,
            Self::Information => 0x4310,
            Self::Report => 0x4810,
        }
    }
}

/// What stands in front of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub control: Control,
    /// The request's byte.
    pub sequence: u8,
    /// The stick's byte: it counts every frame that it sends.
    pub counter: u8,
    /// The stick's serial number.
    pub serial: u32,
}

/// A stick's times in seconds; the first and the last add up to Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StickClock {
    /// Since it was made.
    pub working: u32,
    /// Since its start.
    pub power_on: u32,
    /// The rest.
    pub offset: u32,
}

/// The payload of a reply: frame type 02, status 01, the times, and the Modbus RTU frame.
pub fn reply_payload(clock: StickClock, rtu: &[u8]) -> Vec<u8> {
    let mut payload = vec![2, 1];
    for time in [clock.working, clock.power_on, clock.offset] {
        payload.extend(time.to_le_bytes());
    }
    payload.extend(rtu);
    payload
}

/// A whole frame.
pub fn v5_frame(head: Head, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![START];
    frame.extend(
        u16::try_from(payload.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    frame.extend(head.control.code().to_le_bytes());
    frame.extend([head.sequence, head.counter]);
    frame.extend(head.serial.to_le_bytes());
    frame.extend(payload);
    frame.push(checksum(&frame));
    frame.push(END);
    frame
}

/// The sum of all bytes but the first.
fn checksum(frame: &[u8]) -> u8 {
    let counted = frame.iter().skip(1);
    counted.fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

pub(super) fn request_len(stream: &[u8]) -> Length {
    match *stream {
        [START, low, high, ..] => {
            let length = usize::from(u16::from_le_bytes([low, high])) + AROUND_PAYLOAD;
            if length < LONGEST_REQUEST {
                Length::Known(length)
            } else {
                Length::Noise
            }
        }
        [START, ..] | [] => Length::Unknown,
        _ => Length::Noise,
    }
}

/// The request that a frame is. Everything that a read-only client must leave alone is checked: control, second
/// sequence byte, frame type, sensor and times.
pub(super) fn request(frame: &[u8]) -> Option<Request> {
    let (counted, &[sum, END]) = frame.split_last_chunk::<2>()? else {
        return None;
    };
    let &[
        START,
        _,
        _,
        low,
        high,
        sequence,
        0,
        a,
        b,
        c,
        d,
        ref payload @ ..,
    ] = counted
    else {
        return None;
    };
    if sum != checksum(counted) || u16::from_le_bytes([low, high]) != REQUEST_CONTROL {
        return None;
    }
    let rtu = payload.strip_prefix(&REQUEST_HEAD)?;
    let envelope = Envelope::V5 {
        sequence,
        serial: u32::from_le_bytes([a, b, c, d]),
    };
    rtu::request(envelope, rtu)
}

#[cfg(test)]
mod tests {
    use super::super::super::captures::{bytes, packet};
    use super::super::super::config::Via;
    use super::super::{Taken, registers, rtu_frame};
    use super::*;

    const SERIAL: u32 = 2_712_847_316;

    fn clock(working: u32, power_on: u32, offset: u32) -> StickClock {
        StickClock {
            working,
            power_on,
            offset,
        }
    }

    fn reply(sequence: u8, counter: u8) -> Head {
        Head {
            control: Control::Reply,
            sequence,
            counter,
            serial: SERIAL,
        }
    }

    #[test]
    fn replies_are_as_captured() {
        let read = rtu_frame(1, &registers(3, &[266]));
        let sample = clock(0x000F_A6B6, 0x271B, 0x6307_7653);
        let busy = clock(0x0001_0FC2, 0x1358, 0x6584_EDBB);
        let wrong = clock(0x0036_DC4F, 0x136F, 0x6770_8B52);
        let late = clock(0x000F_A6D4, 0x273A, 0x6307_7653);
        let late_read = rtu_frame(1, &registers(3, &[298]));
        for (name, head, payload) in [
            (
                "deye-read-00aa-reply",
                reply(0x97, 0x6C),
                reply_payload(sample, &read),
            ),
            (
                "short-exception-05",
                reply(0x0B, 0x1E),
                reply_payload(busy, &[5, 0]),
            ),
            (
                "wrong-logger-serial-reply-with-own-serial",
                reply(0x2D, 0x55),
                reply_payload(wrong, &[6, 0]),
            ),
            (
                "late-reply-98-to-request-d4",
                reply(0x98, 0x6E),
                reply_payload(late, &late_read),
            ),
        ] {
            let Some(packet) = packet("solarman", name) else {
                return;
            };
            assert_eq!(v5_frame(head, &payload), packet, "{name}");
        }
    }

    #[test]
    fn a_double_crc_and_a_heartbeat_are_as_captured() {
        let mut read = rtu_frame(1, &registers(3, &[0x3030; 5]));
        read.extend([0, 0]);
        let sample = clock(0x00EE_17B0, 0x1AB4, 0x65B7_0E62);
        let heartbeat = Head {
            control: Control::Heartbeat,
            ..reply(0x97, 0x6D)
        };
        for (name, head, payload) in [
            (
                "deye-read-serial-reply-double-crc",
                reply(0xBB, 0x52),
                reply_payload(sample, &read),
            ),
            ("heartbeat-in-place-of-reply", heartbeat, vec![0]),
        ] {
            let Some(packet) = packet("solarman", name) else {
                return;
            };
            assert_eq!(v5_frame(head, &payload), packet, "{name}");
        }
    }

    #[test]
    fn captured_requests_are_requests_and_everything_else_is_not() {
        for (name, sequence, serial, first) in [
            ("deye-read-00aa-request", 0x97, SERIAL, 170),
            ("deye-read-00aa-request-d4", 0xD4, SERIAL, 170),
            ("deye-read-input-80fe-request", 0x0B, SERIAL, 33_022),
            ("wrong-logger-serial-request", 0x2D, 305_419_896, 33_022),
        ] {
            let Some(packet) = packet("solarman", name) else {
                return;
            };
            let request = request(&packet).expect("a request");
            assert_eq!(request.envelope, Envelope::V5 { sequence, serial });
            assert_eq!(request.read().map(|read| read.first), Some(first));
            for at in 0..packet.len() {
                let mut wrong = packet.clone();
                wrong[at] ^= 0x10;
                assert_eq!(super::request(&wrong), None, "{name}, byte {at}");
            }
        }
        for name in ["deye-read-00aa-reply", "heartbeat-in-place-of-reply"] {
            let Some(packet) = packet("solarman", name) else {
                return;
            };
            assert_eq!(request(&packet), None, "{name}");
        }
    }

    #[test]
    fn requests_are_cut_out_of_a_stream() {
        let read =
            bytes("a5170010450100d4c3b2a102000000000000000000000000000001040bb8007db22a7a15");
        let mut stream = [&read[..], &read[..], &read[..20]].concat();
        for _ in 0..2 {
            let taken = Taken::from_stream(Via::Solarman, &mut stream);
            assert!(matches!(taken, Some(Taken::Request(_, bytes)) if bytes == read));
        }
        assert_eq!(Taken::from_stream(Via::Solarman, &mut stream), None);
        assert_eq!(stream.len(), 20);
        let mut text = b"AT+H\n".to_vec();
        assert!(matches!(
            Taken::from_stream(Via::Solarman, &mut text),
            Some(Taken::Unexpected(_))
        ));
    }
}
