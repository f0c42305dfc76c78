//! Modbus RTU: unit, function, data, and a CRC whose low byte comes first.

use super::{Envelope, Length, Request};

/// Unit, function, register, count and CRC.
const READ_REQUEST: usize = 8;

/// The CRC of Modbus: each bit through the polynomial A001, from FFFF on.
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0xFFFF;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc >>= 1;
            if carry == 1 {
                crc ^= 0xA001;
            }
        }
    }
    crc
}

/// A function and its data as a frame of the serial line.
pub fn rtu_frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = vec![unit];
    frame.extend(pdu);
    frame.extend(crc16(&frame).to_le_bytes());
    frame
}

/// Reads, and writes of one register, have eight bytes. What is longer is told by its end: nothing follows it.
pub(super) fn request_len(stream: &[u8]) -> Length {
    match stream.get(1) {
        None => Length::Unknown,
        Some(1..=6) if stream.len() < READ_REQUEST => Length::Unknown,
        Some(1..=6) => Length::Known(READ_REQUEST),
        Some(_) => Length::Noise,
    }
}

/// The request that a frame is, if its CRC is right.
pub(super) fn request(envelope: Envelope, frame: &[u8]) -> Option<Request> {
    let (content, crc) = frame.split_last_chunk::<2>()?;
    let (unit, function, data) = match content {
        [unit, function, data @ ..] => (*unit, *function, data.to_vec()),
        _ => return None,
    };
    (crc16(content).to_le_bytes() == *crc).then_some(Request {
        envelope,
        unit,
        function,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::captures::{bytes, packet};
    use super::super::{Taken, exception};
    use super::*;

    #[test]
    fn the_crc_is_that_of_known_frames() {
        for frame in [
            "f70388b800213ac1",
            "f703891c007d7ae7",
            "f7038ca0007dbbcf",
            "7f0375940049d5c2",
            "01040bb8007db22a",
            "01040c35001d235d",
        ] {
            let bytes = bytes(frame);
            let (content, crc) = bytes.split_last_chunk::<2>().expect("long enough");
            assert_eq!(crc16(content).to_le_bytes(), *crc, "{frame}");
        }
    }

    #[test]
    fn an_exception_is_five_bytes() {
        assert_eq!(rtu_frame(0xF7, &exception(3, 2)), bytes("f7830220c3"));
        assert_eq!(rtu_frame(0x7F, &exception(3, 2)), bytes("7f8302a0e9"));
    }

    #[test]
    fn the_crc_of_captured_replies_is_right() {
        for name in [
            "gw10k-et-running-data",
            "gw10k-et-meter-data",
            "gw5000d-ns-running-data",
            "gw20k-et-mppt-data",
        ] {
            let Some(packet) = packet("modbus", name) else {
                return;
            };
            let (content, crc) = packet[2..].split_last_chunk::<2>().expect("long enough");
            assert_eq!(crc16(content).to_le_bytes(), *crc, "{name}");
        }
    }

    #[test]
    fn a_datagram_is_a_request_or_unexpected() {
        let frame = bytes("f703891c007d7ae7");
        let Taken::Request(request, _) = Taken::datagram(&frame) else {
            panic!("a request");
        };
        let read = request.read().expect("a read");
        assert_eq!((request.unit, read.first, read.count), (0xF7, 35100, 125));
        for wrong in ["f703891c007d7ae8", "aa55c07f0102000241", "f7", ""] {
            let wrong = bytes(wrong);
            assert_eq!(Taken::datagram(&wrong), Taken::Unexpected(wrong));
        }
    }
}
