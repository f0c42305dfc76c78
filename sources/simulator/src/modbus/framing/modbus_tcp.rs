//! Modbus TCP: transaction, protocol 0, length and unit in front of the function.

use super::{Envelope, LONGEST_REQUEST, Length, Request, solarman_v5};

const HEADER: usize = 6;

/// A unit, a function and its data behind a header.
pub fn modbus_tcp_frame(transaction: u16, content: &[u8]) -> Vec<u8> {
    let mut frame = transaction.to_be_bytes().to_vec();
    frame.extend([0, 0]);
    frame.extend(
        u16::try_from(content.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    frame.extend(content);
    frame
}

pub(super) fn request_len(stream: &[u8]) -> Length {
    match *stream {
        _ if is_v5(stream) => solarman_v5::request_len(stream),
        [_, _, 0, 0, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if (2..LONGEST_REQUEST - HEADER).contains(&length) {
                Length::Known(HEADER + length)
            } else {
                Length::Noise
            }
        }
        [_, _, _, _, _, _, ..] => Length::Noise,
        _ => Length::Unknown,
    }
}

/// Whether this begins a V5 request: its start could be half a transaction number, but it has a control code where the
/// protocol is 0.
pub(super) fn is_v5(stream: &[u8]) -> bool {
    matches!(*stream, [solarman_v5::START, _, _, control, ..] if control != 0)
}

pub(super) fn request(frame: &[u8]) -> Option<Request> {
    let &[high, low, 0, 0, _, _, unit, function, ref data @ ..] = frame else {
        return None;
    };
    Some(Request {
        envelope: Envelope::ModbusTcp {
            transaction: u16::from_be_bytes([high, low]),
        },
        unit,
        function,
        data: data.to_vec(),
    })
}

/// What such a stick makes of a V5 request: it takes it for Modbus TCP and says that there is no such address.
pub(in crate::modbus) fn answer_to_v5(frame: &[u8]) -> Option<Vec<u8>> {
    let (kept, rest) = frame.split_first_chunk::<5>()?;
    let &[_, unit, function, ..] = rest else {
        return None;
    };
    let mut answer = kept.to_vec();
    answer.extend([3, unit, function | 0x80, 2]);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::super::super::captures::{bytes, packet};
    use super::super::super::config::Via;
    use super::super::{Taken, registers};
    use super::*;

    #[test]
    fn a_frame_is_as_captured() {
        let Some(packet) = packet("modbus", "gw10k-ms-30-tcp-running-data") else {
            return;
        };
        let words: Vec<u16> = packet[9..]
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect();
        let mut content = vec![0x7F];
        content.extend(registers(3, &words));
        assert_eq!(modbus_tcp_frame(0x8103, &content), packet);
    }

    #[test]
    fn a_v5_request_is_answered_as_captured() {
        let (Some(mut asked), Some(answer)) = (
            packet("solarman", "request-to-a-modbus-tcp-logger"),
            packet("solarman", "modbus-tcp-loggers-answer-to-v5"),
        ) else {
            return;
        };
        assert_eq!(answer_to_v5(&asked), Some(answer));
        let taken = Taken::from_stream(Via::ModbusTcp, &mut asked);
        assert!(matches!(taken, Some(Taken::V5(Some(_), _))), "{taken:?}");
        assert_eq!(asked, []);
    }

    #[test]
    fn a_transaction_number_may_begin_like_v5() {
        let mut stream = bytes("a51700000006f703891c007d");
        let taken = Taken::from_stream(Via::ModbusTcp, &mut stream);
        assert!(matches!(taken, Some(Taken::Request(..))), "{taken:?}");
    }

    #[test]
    fn requests_are_cut_out_of_a_stream() {
        let read = "000700000006f703891c007d";
        let mut stream = bytes(&format!("{read}{read}0007"));
        for _ in 0..2 {
            let Some(Taken::Request(request, taken)) =
                Taken::from_stream(Via::ModbusTcp, &mut stream)
            else {
                panic!("a request");
            };
            assert_eq!(taken, bytes(read));
            assert_eq!(request.read().map(|read| read.first), Some(35100));
            assert_eq!(request.envelope, Envelope::ModbusTcp { transaction: 7 });
        }
        assert_eq!(Taken::from_stream(Via::ModbusTcp, &mut stream), None);
        let mut noise = b"GET / HTTP/1.1".to_vec();
        assert!(matches!(
            Taken::from_stream(Via::ModbusTcp, &mut noise),
            Some(Taken::Unexpected(_))
        ));
    }
}
