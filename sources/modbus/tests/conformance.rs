//! Each family keeps the contract of all sources, by each of its ways.
//!
//! The inverter's side of each framing is written here from its description, and shares nothing with the source.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test whose input is wrong has to stop"
)]

use kstar_source::source::SourceConfig;
use kstar_source::testing::{Link, Request, Wire, conformance_over};
use kstar_source_modbus::{GoodweDtConfig, GoodweEtConfig, KstarHybridConfig};

const LOGGER: [u8; 4] = [0xd4, 0xc3, 0xb2, 0xa1];

/// Registers that are plausible enough for every family: a date or letters where there may be some, ones elsewhere.
fn registers(first: u16, count: u16) -> Vec<u8> {
    let mut words = vec![1_u16; count.into()];
    if matches!(first, 35000 | 30001 | 40173) {
        words.fill(u16::from_be_bytes(*b"11"));
    }
    if matches!(first, 35100 | 30100) {
        words[..3].copy_from_slice(&[0x1a0b, 0x1e0c, 0x0102]);
    }
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The answer to unit, function, first register and count.
fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let &[unit, function, first_high, first_low, 0, count] = request else {
        return None;
    };
    assert!(matches!(function, 3 | 4), "function {function}");
    assert!((1..=125).contains(&count), "{count} registers");
    let data = registers(u16::from_be_bytes([first_high, first_low]), count.into());
    let mut answer = vec![unit, function, count * 2];
    answer.extend(data);
    Some(answer)
}

fn illegal_address(request: &Request) -> Vec<u8> {
    vec![request.request[0], request.request[1] | 0x80, 2]
}

/// Another answer of the same unit, function and length.
fn others(answer: &[u8]) -> Vec<u8> {
    let mut others = answer.to_vec();
    for byte in &mut others[3..] {
        *byte = 0x55;
    }
    others
}

fn crc(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xffff_u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xa001 } else { 0 };
        }
    }
    crc.to_le_bytes()
}

fn rtu(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc(bytes)].concat()
}

/// Takes a request of this many bytes, of which these are the Modbus request; nothing else may come.
fn take(received: &mut Vec<u8>, length: usize, modbus: std::ops::Range<usize>) -> Option<Request> {
    if received.len() < length {
        return None;
    }
    let whole: Vec<u8> = received.drain(..length).collect();
    Some(Request {
        request: whole[modbus].to_vec(),
        whole,
    })
}

/// Bare requests; replies behind `AA 55` in datagrams.
struct Rtu {
    mark: &'static [u8],
}

impl Wire for Rtu {
    fn take(&mut self, received: &mut Vec<u8>) -> Option<Request> {
        let request = take(received, 8, 0..6)?;
        assert_eq!(request.whole[6..], crc(&request.request));
        Some(request)
    }

    fn reply(&mut self, _request: &Request, answer: &[u8]) -> Vec<u8> {
        [self.mark, &rtu(answer)].concat()
    }

    fn strangers(&mut self, request: &Request, answer: &[u8]) -> Vec<Vec<u8>> {
        let mut other_unit = answer.to_vec();
        other_unit[0] ^= 1;
        let mut short = answer.to_vec();
        short[2] -= 2;
        short.truncate(short.len() - 2);
        let mut other_function = answer.to_vec();
        other_function[1] ^= 7;
        let mut torn = self.reply(request, answer);
        let end = torn.len() - 1;
        torn[end] ^= 1;
        let wrong = [other_unit, short, other_function].map(|wrong| self.reply(request, &wrong));
        wrong.into_iter().chain([torn]).collect()
    }

    fn lacking(&self, request: &Request) -> Option<Vec<u8>> {
        Some(illegal_address(request))
    }
}

/// Modbus TCP.
struct Tcp;

impl Wire for Tcp {
    fn take(&mut self, received: &mut Vec<u8>) -> Option<Request> {
        let request = take(received, 12, 6..12)?;
        assert_eq!(request.whole[2..6], [0, 0, 0, 6]);
        Some(request)
    }

    fn reply(&mut self, request: &Request, answer: &[u8]) -> Vec<u8> {
        // The length is wrong with some firmware.
        [&request.whole[..2], &[0, 0, 0, 99], answer].concat()
    }

    fn strangers(&mut self, request: &Request, answer: &[u8]) -> Vec<Vec<u8>> {
        let mut other = self.reply(request, &others(answer));
        other[1] = other[1].wrapping_add(1);
        let mut other_unit = self.reply(request, &others(answer));
        other_unit[6] ^= 1;
        vec![other, other_unit]
    }

    fn lacking(&self, request: &Request) -> Option<Vec<u8>> {
        Some(illegal_address(request))
    }
}

/// A Solarman stick.
#[derive(Default)]
struct Stick {
    sent: u8,
}

impl Stick {
    fn frame(&mut self, control: [u8; 2], sequence: u8, payload: &[u8]) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        let length = u16::try_from(payload.len()).expect("short");
        let mut frame = vec![0xa5];
        frame.extend(length.to_le_bytes());
        frame.extend(control);
        frame.extend([sequence, self.sent]);
        frame.extend(LOGGER);
        frame.extend(payload);
        let sum = frame[1..]
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        frame.extend([sum, 0x15]);
        frame
    }

    fn modbus(&mut self, sequence: u8, modbus: &[u8]) -> Vec<u8> {
        let mut payload = vec![2, 1];
        payload.extend([7; 12]);
        payload.extend(modbus);
        self.frame([0x10, 0x15], sequence, &payload)
    }
}

impl Wire for Stick {
    fn take(&mut self, received: &mut Vec<u8>) -> Option<Request> {
        let request = take(received, 36, 26..32)?;
        let whole = &request.whole;
        assert_eq!(
            whole[..5],
            [0xa5, 23, 0, 0x10, 0x45],
            "start, length, control"
        );
        assert_eq!(whole[6], 0, "the stick's sequence byte");
        assert!(
            whole[7..11] == LOGGER || whole[7..11] == [0; 4],
            "the stick's number"
        );
        assert_eq!(whole[11..26], [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(whole[32..34], crc(&request.request), "CRC");
        let sum = whole[1..34]
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!(whole[34..], [sum, 0x15], "checksum and end");
        Some(request)
    }

    fn reply(&mut self, request: &Request, answer: &[u8]) -> Vec<u8> {
        let sequence = request.whole[5];
        if request.whole[7..11] != LOGGER {
            return self.modbus(sequence, &[6, 0]);
        }
        // Some sticks put a second CRC behind it, which is empty.
        self.modbus(sequence, &[&rtu(answer)[..], &[0, 0]].concat())
    }

    fn strangers(&mut self, request: &Request, answer: &[u8]) -> Vec<Vec<u8>> {
        let sequence = request.whole[5];
        let others = rtu(&others(answer));
        let mut broken = self.modbus(sequence, &others);
        broken[30] ^= 1;
        vec![
            self.frame([0x10, 0x47], sequence, &[0]),
            self.modbus(sequence.wrapping_sub(1), &others),
            self.modbus(0, &others),
            b"AT+YZCMPVER=MW3_16U_5406_2.27\r\n\r\n".to_vec(),
            others.clone(),
            self.frame([0x10, 0x42], sequence, &[0x55; 260]),
            broken,
            vec![0xa5, 0x00, 0x01],
        ]
    }

    fn lacking(&self, request: &Request) -> Option<Vec<u8>> {
        Some(illegal_address(request))
    }
}

async fn check<C: SourceConfig>(text: &str) {
    let config: C = toml::from_str(text).expect("a configuration");
    let description = config.describe();
    let way = |name: &str| description.contains(&format!("via {name},"));
    if way("udp") {
        conformance_over(
            &config,
            Link::Datagrams,
            Rtu {
                mark: &[0xaa, 0x55],
            },
            answer,
        )
        .await;
    } else if way("rtu-over-tcp") {
        conformance_over(&config, Link::Stream, Rtu { mark: &[] }, answer).await;
    } else if way("modbus-tcp") {
        conformance_over(&config, Link::Stream, Tcp, answer).await;
    } else if way("solarman") {
        conformance_over(&config, Link::Stream, Stick::default(), answer).await;
    } else {
        panic!("by which way: {description}");
    }
}

#[tokio::test]
async fn kstar_hybrids_keep_the_contract() {
    for text in [
        "",
        "logger_serial = 2712847316",
        "unit = 3",
        "via = \"modbus-tcp\"",
        "via = \"rtu-over-tcp\"",
    ] {
        check::<KstarHybridConfig>(text).await;
    }
}

#[tokio::test]
async fn goodwe_et_keep_the_contract() {
    for text in [
        "",
        "via = \"modbus-tcp\"\nunit = 245",
        "via = \"rtu-over-tcp\"",
    ] {
        check::<GoodweEtConfig>(text).await;
    }
}

#[tokio::test]
async fn goodwe_dt_keep_the_contract() {
    for text in ["", "via = \"modbus-tcp\"", "via = \"rtu-over-tcp\""] {
        check::<GoodweDtConfig>(text).await;
    }
}
