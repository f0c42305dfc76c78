//! The framings against captured frames, figures of the protocol notes, somebody else's Modbus, and any bytes at all.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use kstar_source::error::Rejection;
use kstar_source::stream::{Dialogue, Split};
use modbus_core::{Data, RequestPdu, Response, ResponsePdu, rtu, tcp};
use proptest::prelude::*;

use super::modbus_tcp::ModbusTcp;
use super::rtu_in_udp;
use super::rtu_over_tcp::RtuOverTcp;
use super::solarman_v5::{Session, SolarmanV5};
use crate::families::Family;
use crate::families::goodwe_dt::GOODWE_DT;
use crate::families::goodwe_et::GOODWE_ET;
use crate::families::kstar_hybrid::KSTAR_HYBRID;
use crate::frame::Function::{self, ReadHolding, ReadInput};
use crate::frame::{Answer, Exception, Request};
use crate::reasons;

/// The logger's serial number in all captures.
const LOGGER: u32 = 2_712_847_316;

fn hex(text: &str) -> Vec<u8> {
    let text = text.trim();
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).expect("hex"))
        .collect()
}

/// A session whose last request had this sequence byte.
fn session(logger: u32, sequence: u8, request: Request) -> Session {
    let mut session = Session::new(Some(logger));
    for _ in 0..256 {
        let mut dialogue = SolarmanV5 {
            request,
            session: &mut session,
            speaks_modbus_tcp: false,
        };
        if dialogue.request()[5] == sequence {
            return session;
        }
    }
    panic!("no request has the sequence byte {sequence:02x}");
}

/// What a stream makes of all that came: the reply if there is one, and why the rest was passed over.
fn hear(
    dialogue: &mut impl Dialogue<Answer = Answer>,
    received: &[u8],
) -> (Option<Answer>, Vec<&'static str>) {
    let mut received = received.to_vec();
    let mut rejected = Vec::new();
    while !received.is_empty() {
        let (length, outcome) = match dialogue.split(&received) {
            Split::Incomplete => break,
            Split::Noise(length, rejection) => (length, Err(rejection)),
            Split::Frame(length) => (length, dialogue.accept(&received[..length])),
        };
        assert!(
            (1..=received.len()).contains(&length),
            "{length} of {}",
            received.len()
        );
        received.drain(..length);
        match outcome {
            Ok(answer) => return (Some(answer), rejected),
            Err(Rejection { reason, .. }) => rejected.push(reason),
        }
    }
    (None, rejected)
}

fn read(function: Function, first: u16, count: u16) -> Request {
    Request::new(1, function, first, count)
}

enum Ends {
    /// It is what we send for this request, with this logger and sequence byte.
    Sent(Request, u32, u8),
    /// It is the reply to this request with this sequence byte.
    Reply(Request, u8, Answer),
    /// It is passed over while this request with this sequence byte waits.
    PassedOver(Request, u8, &'static str),
    /// It is heard while a stick with this serial number is asked.
    OtherLogger(Request, u32, u8),
}

/// How each capture ends.
fn captures() -> Vec<(&'static str, Ends)> {
    use Ends::{OtherLogger, PassedOver, Reply, Sent};
    let serial: Vec<u16> = vec![0x3030; 5];
    let one = read(ReadHolding, 170, 1);
    let deye = read(ReadInput, 33022, 6);
    vec![
        ("deye-read-00aa-request", Sent(one, LOGGER, 0x97)),
        (
            "deye-read-00aa-reply",
            Reply(one, 0x97, Answer::Registers(vec![266])),
        ),
        (
            "heartbeat-in-place-of-reply",
            PassedOver(one, 0x98, reasons::HEARTBEAT),
        ),
        ("deye-read-00aa-request-d4", Sent(one, LOGGER, 0xd4)),
        (
            "late-reply-98-to-request-d4",
            PassedOver(one, 0xd4, reasons::OTHER_REQUEST),
        ),
        ("deye-read-input-80fe-request", Sent(deye, LOGGER, 0x0b)),
        (
            "short-exception-05",
            Reply(deye, 0x0b, Answer::Exception(Exception(5))),
        ),
        (
            "deye-read-serial-request",
            Sent(read(ReadHolding, 3, 5), LOGGER, 0),
        ),
        (
            "deye-read-serial-reply-double-crc",
            Reply(read(ReadHolding, 3, 5), 0, Answer::Registers(serial)),
        ),
        ("at-version-banner", PassedOver(one, 0x97, reasons::TEXT)),
        ("wrong-logger-serial-request", Sent(deye, 305_419_896, 0x2d)),
        (
            "wrong-logger-serial-reply-with-own-serial",
            OtherLogger(one, 305_419_896, 0x2d),
        ),
        ("request-to-a-modbus-tcp-logger", Sent(deye, 0x5e, 0)),
        (
            "modbus-tcp-loggers-answer-to-v5",
            PassedOver(one, 0x97, reasons::MODBUS_TCP),
        ),
        (
            "unasked-reply-sequence-00",
            PassedOver(read(ReadHolding, 0, 30), 0x97, reasons::OTHER_REQUEST),
        ),
    ]
}

#[test]
fn every_captured_frame_of_a_stick_ends_as_it_should() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/packets/solarman");
    let Ok(files) = fs::read_dir(&folder) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "{} is missing",
            folder.display()
        );
        let _ = writeln!(
            std::io::stderr(),
            "NOT TESTED: the captures in ../shared/packets/solarman are missing"
        );
        return;
    };
    let mut names: BTreeSet<String> = files
        .filter_map(|file| {
            let name = file.expect("a file").file_name().into_string().ok()?;
            name.strip_suffix(".hex").map(str::to_owned)
        })
        .collect();
    for (name, ends) in captures() {
        assert!(names.remove(name), "{name} is not in the folder");
        let bytes = hex(&fs::read_to_string(folder.join(format!("{name}.hex"))).expect("readable"));
        check(name, &bytes, ends);
    }
    assert!(names.is_empty(), "not tested: {names:?}");
}

fn check(name: &str, bytes: &[u8], ends: Ends) {
    let hear_with = |request, logger, sequence| {
        let sequence = if sequence == 0 { bytes[5] } else { sequence };
        let mut session = session(logger, sequence, request);
        let mut dialogue = SolarmanV5 {
            request,
            session: &mut session,
            speaks_modbus_tcp: false,
        };
        let heard = hear(&mut dialogue, bytes);
        (heard, dialogue.speaks_modbus_tcp)
    };
    match ends {
        Ends::Sent(request, logger, sequence) => {
            let mut session = Session::new(Some(logger));
            let mut dialogue = SolarmanV5 {
                request: same_request(bytes),
                session: &mut session,
                speaks_modbus_tcp: false,
            };
            let sent = (0..256).map(|_| dialogue.request());
            let sequence = if sequence == 0 { bytes[5] } else { sequence };
            // 0 is never ours: then all but it and the checksum are the same.
            let mut expected = bytes.to_vec();
            if sequence == 0 {
                (expected[5], expected[34]) = (1, bytes[34].wrapping_add(1));
            }
            assert_eq!(
                same_request(bytes).bytes()[1..],
                request.bytes()[1..],
                "{name}"
            );
            let sent: Vec<_> = sent.filter(|sent| sent[5] == expected[5]).collect();
            assert_eq!(sent[0], expected, "{name}");
        }
        Ends::Reply(request, sequence, answer) => {
            assert_eq!(
                hear_with(request, LOGGER, sequence).0,
                (Some(answer), vec![]),
                "{name}"
            );
        }
        Ends::PassedOver(request, sequence, reason) => {
            let (heard, speaks_modbus_tcp) = hear_with(request, LOGGER, sequence);
            assert_eq!(heard, (None, vec![reason]), "{name}");
            assert_eq!(speaks_modbus_tcp, reason == reasons::MODBUS_TCP, "{name}");
        }
        Ends::OtherLogger(request, logger, sequence) => {
            let heard = hear_with(request, logger, sequence).0;
            assert_eq!(heard, (None, vec![reasons::OTHER_LOGGER]), "{name}");
        }
    }
}

/// The request that a captured frame carries.
fn same_request(frame: &[u8]) -> Request {
    let function = match frame[27] {
        3 => ReadHolding,
        _ => ReadInput,
    };
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    Request::new(frame[26], function, word(28), word(30))
}

#[test]
fn another_serial_number_counts_after_three_exchanges() {
    let reply = hex("a5100010152d55d4c3b2a102014fdc36006f130000528b706706004115");
    let request = read(ReadHolding, 170, 1);
    let mut stick = session(305_419_896, 0x2d, request);
    for times in 1..=3 {
        assert_ne!(stick.logger_serial, Some(LOGGER), "{times}");
        let mut dialogue = SolarmanV5 {
            request,
            session: &mut stick,
            speaks_modbus_tcp: false,
        };
        assert_eq!(hear(&mut dialogue, &reply).0, None);
    }
    assert_eq!(stick.logger_serial, Some(LOGGER));
    // One that is not known is learnt at once.
    let mut stick = session(LOGGER, 0x2d, request);
    stick.logger_serial = None;
    let mut dialogue = SolarmanV5 {
        request,
        session: &mut stick,
        speaks_modbus_tcp: false,
    };
    let busy = Some(Answer::Exception(Exception(6)));
    assert_eq!(hear(&mut dialogue, &reply).0, busy);
    assert_eq!(stick.logger_serial, Some(LOGGER));
}

/// Requests that the protocol notes have computed.
#[test]
fn requests_are_those_of_the_protocol_notes() {
    for (family, block, expected) in [
        (&GOODWE_ET, "device_info", vec!["f70388b800213ac1"]),
        (&GOODWE_ET, "running_data", vec!["f703891c007d7ae7"]),
        (
            &GOODWE_ET,
            "meter",
            vec!["f7038ca0007dbbcf", "f7038ca0003afbfd", "f7038ca0002dbbf3"],
        ),
        (&GOODWE_ET, "battery", vec!["f70390880018fc7c"]),
        (&GOODWE_ET, "battery_2", vec!["f703985800167e21"]),
        (&GOODWE_ET, "battery_2_power", vec!["f70389be00069b26"]),
        (&GOODWE_DT, "device_info", vec!["7f03753100280409"]),
        (&GOODWE_DT, "running_data", vec!["7f0375940049d5c2"]),
        (&GOODWE_DT, "meter", vec!["7f0375f3000fe5ef"]),
        (&GOODWE_DT, "model_name", vec!["7f039ced0008f077"]),
        (&KSTAR_HYBRID, "live_a", vec!["01040bb8007db22a"]),
        (&KSTAR_HYBRID, "live_b", vec!["01040c35001d235d"]),
        (&KSTAR_HYBRID, "battery_energy", vec!["01040cdc000ab2a7"]),
        (&KSTAR_HYBRID, "model", vec!["01030c800012c77f"]),
        (&KSTAR_HYBRID, "grid_standard", vec!["01040c790001e343"]),
    ] {
        let found = family.blocks.iter().find(|known| known.name == block);
        let found = found.expect("a block").requests(family.unit);
        let expected: Vec<Vec<u8>> = expected.into_iter().map(hex).collect();
        assert_eq!(
            found.map(|request| request.rtu()).collect::<Vec<_>>(),
            expected,
            "{block}"
        );
    }
    let live = read(ReadInput, 3000, 125);
    let mut stick = session(LOGGER, 0xff, live);
    let mut dialogue = SolarmanV5 {
        request: live,
        session: &mut stick,
        speaks_modbus_tcp: false,
    };
    assert_eq!(
        dialogue.request(),
        hex("a5170010450100d4c3b2a102000000000000000000000000000001040bb8007db22a7a15")
    );
}

#[test]
fn the_exceptions_of_the_protocol_notes_are_answers() {
    for (family, datagram) in [
        (&GOODWE_ET, "aa55f7830220c3"),
        (&GOODWE_DT, "aa557f8302a0e9"),
    ] {
        let request = family.blocks[0].requests(family.unit).next().expect("one");
        let answer = rtu_in_udp::accept(&request, &hex(datagram));
        assert_eq!(
            answer,
            Ok(Answer::Exception(Exception::ILLEGAL_DATA_ADDRESS))
        );
    }
}

/// Every request that can be built.
fn requests() -> impl Iterator<Item = Request> {
    let families: [&'static Family; 3] = [&KSTAR_HYBRID, &GOODWE_ET, &GOODWE_DT];
    families.into_iter().flat_map(|family| {
        let blocks = family.blocks.iter();
        blocks.flat_map(|block| block.requests(family.unit))
    })
}

#[test]
fn somebody_elses_modbus_reads_our_requests_and_writes_replies_that_we_read() {
    for request in requests() {
        let [unit, function, ..] = request.bytes();
        let count = usize::from(request.bytes()[5]);
        let rtu = request.rtu();
        let decoded = rtu::server::decode_request(&rtu)
            .expect("decoded")
            .expect("whole");
        assert_eq!(decoded.hdr.slave, unit);
        let RequestPdu(theirs) = decoded.pdu;
        let (first, theirs_count) = match theirs {
            modbus_core::Request::ReadHoldingRegisters(first, count) if function == 3 => {
                (first, count)
            }
            modbus_core::Request::ReadInputRegisters(first, count) if function == 4 => {
                (first, count)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(request.bytes()[2..4], first.to_be_bytes());
        assert_eq!(usize::from(theirs_count), count);

        let words: Vec<u16> = (0..count)
            .map(|index| u16::try_from(index * 517 % 65536).expect("small"))
            .collect();
        let mut target = [0; 250];
        let data = Data::from_words(&words, &mut target).expect("it fits");
        let response = if function == 3 {
            Response::ReadHoldingRegisters(data)
        } else {
            Response::ReadInputRegisters(data)
        };
        let mut buffer = [0; 300];
        let adu = rtu::ResponseAdu {
            hdr: rtu::Header { slave: unit },
            pdu: ResponsePdu(Ok(response)),
        };
        let length = rtu::server::encode_response(adu, &mut buffer).expect("encoded");
        let answer = request.rtu_answer(&buffer[..length]).expect("read");
        assert_eq!(answer, (Answer::Registers(words.clone()), length));
        let mut over_tcp = RtuOverTcp(request);
        assert_eq!(
            hear(&mut over_tcp, &buffer[..length]).0,
            Some(Answer::Registers(words.clone()))
        );

        let mut transaction = 6;
        let mut dialogue = ModbusTcp {
            request,
            transaction: &mut transaction,
        };
        let sent = dialogue.request();
        let decoded = tcp::server::decode_request(&sent)
            .expect("decoded")
            .expect("whole");
        assert_eq!((decoded.hdr.transaction_id, decoded.hdr.unit_id), (7, unit));
        let adu = tcp::ResponseAdu {
            hdr: decoded.hdr,
            pdu: ResponsePdu(Ok(response)),
        };
        let length = tcp::server::encode_response(adu, &mut buffer).expect("encoded");
        assert_eq!(
            hear(&mut dialogue, &buffer[..length]).0,
            Some(Answer::Registers(words))
        );
    }
}

#[test]
fn registers_that_look_like_a_frame_do_not_end_a_reply_in_pieces() {
    let request = Request::new(0x7f, ReadHolding, 30195, 15);
    let mut reply = vec![0x7f, 3, 30];
    reply.extend([0xff, 0xff, 0, 0, 0]);
    reply.resize(33, 1);
    let reply = crate::frame::with_crc(&reply);
    let dialogue = RtuOverTcp(request);
    for length in 1..reply.len() {
        assert_eq!(dialogue.split(&reply[..length]), Split::Incomplete);
    }
    assert_eq!(dialogue.split(&reply), Split::Frame(35));
}

/// A reply of a stick to the first request of KSTAR hybrids.
fn stick_reply(sequence: u8, modbus: &[u8]) -> Vec<u8> {
    let length = u16::try_from(14 + modbus.len()).expect("short");
    let mut frame = vec![0xa5];
    frame.extend(length.to_le_bytes());
    frame.extend([0x10, 0x15, sequence, 9]);
    frame.extend(LOGGER.to_le_bytes());
    frame.extend([2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend(modbus);
    let sum = frame[1..]
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    frame.extend([sum, 0x15]);
    frame
}

proptest! {
    #[test]
    fn no_bytes_do_harm(received in prop::collection::vec(any::<u8>(), 0..400), starts in any::<bool>()) {
        let mut received = received;
        if starts && !received.is_empty() {
            received[0] = 0xa5;
        }
        for request in [read(ReadInput, 3000, 125), Request::new(247, ReadHolding, 35100, 125)] {
            let mut stick = Session::new(None);
            hear(&mut SolarmanV5 { request, session: &mut stick, speaks_modbus_tcp: false }, &received);
            hear(&mut RtuOverTcp(request), &received);
            hear(&mut ModbusTcp { request, transaction: &mut 7 }, &received);
            let _ = rtu_in_udp::accept(&request, &received);
        }
    }

    #[test]
    fn a_reply_is_found_behind_any_noise_and_not_before_it_is_whole(
        noise in prop::collection::vec(any::<u8>(), 0..60),
        words in prop::collection::vec(any::<u16>(), 29),
        cut in any::<prop::sample::Index>(),
    ) {
        let request = read(ReadInput, 3125, 29);
        let mut answer = vec![1, 4, 58];
        answer.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        let modbus = crate::frame::with_crc(&answer);
        let mut stick = session(LOGGER, 0x42, request);
        let mut dialogue = SolarmanV5 { request, session: &mut stick, speaks_modbus_tcp: false };
        let whole = [&noise[..], &stick_reply(0x42, &modbus)].concat();
        let (heard, _) = hear(&mut dialogue, &whole);
        prop_assert_eq!(heard, Some(Answer::Registers(words)));
        let part = &whole[..cut.index(whole.len())];
        prop_assert_eq!(hear(&mut dialogue, part).0, None);
    }

    #[test]
    fn one_bit_that_has_changed_is_noticed(
        words in prop::collection::vec(any::<u16>(), 29),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let request = read(ReadInput, 3125, 29);
        let mut answer = vec![1, 4, 58];
        answer.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        let modbus = crate::frame::with_crc(&answer);
        for mut frame in [stick_reply(0x42, &modbus), [&[0xaa, 0x55][..], &modbus].concat()] {
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
            let mut stick = session(LOGGER, 0x42, request);
            let mut dialogue = SolarmanV5 { request, session: &mut stick, speaks_modbus_tcp: false };
            prop_assert_eq!(hear(&mut dialogue, &frame).0, None);
            prop_assert!(rtu_in_udp::accept(&request, &frame).is_err());
        }
    }
}
