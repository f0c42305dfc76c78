use std::net::Ipv4Addr;

use super::super::config::{Family, Via};
use super::super::faults::Faults;
use super::super::framing::crc16;
use super::*;

const LIVE: Read = Read {
    function: 4,
    first: 3000,
    count: 125,
};
const RUNNING: Read = Read {
    function: 3,
    first: 35100,
    count: 125,
};

fn responder(family: Family, via: Via, faults: Faults) -> Responder {
    let config = Config {
        via,
        faults,
        speed: 0.0,
        ..Config::new(family, 1)
    };
    Responder::new(config, Instant::now())
}

fn asked(responder: &Responder, serial: u64, read: Read) -> Asked {
    let number = u8::try_from(serial % 200).expect("small");
    let envelope = match responder.config().via {
        Via::Udp => Envelope::Datagram,
        Via::RtuOverTcp => Envelope::Rtu,
        Via::ModbusTcp => Envelope::ModbusTcp {
            transaction: u16::from(number),
        },
        Via::Solarman => Envelope::V5 {
            sequence: number,
            serial: responder.config().logger_serial,
        },
    };
    let data = [read.first.to_be_bytes(), read.count.to_be_bytes()].concat();
    Asked {
        serial,
        request: Request {
            envelope,
            unit: responder.config().unit,
            function: read.function,
            data,
        },
        from: SocketAddr::from((Ipv4Addr::LOCALHOST, 20_000)),
    }
}

fn answer(responder: &mut Responder, serial: u64, read: Read) -> Outcome {
    let asked = asked(responder, serial, read);
    responder.answer(&asked, read, Instant::now())
}

fn all_sent(responder: &mut Responder, serial: u64, read: Read) -> Vec<Outgoing> {
    match answer(responder, serial, read) {
        Outcome::Send(all) => all,
        other => panic!("{other:?}"),
    }
}

/// What a fault sends for a hundred V5 requests.
fn by_v5(fault: Fault) -> Vec<Vec<Outgoing>> {
    let mut responder = responder(Family::KstarHybrid, Via::Solarman, Faults::always(fault));
    (0..100)
        .map(|serial| all_sent(&mut responder, serial, LIVE))
        .collect()
}

/// The V5 frames in some bytes; what is none ends the test.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[0], 0xA5, "{bytes:x?}");
        let length = usize::from(u16::from_le_bytes([bytes[1], bytes[2]])) + 13;
        let (frame, rest) = bytes.split_at(length);
        assert_eq!(frame[length - 1], 0x15);
        let counted = &frame[1..length - 2];
        let sum = counted
            .iter()
            .fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
        assert_eq!(frame[length - 2], sum);
        frames.push(frame);
        bytes = rest;
    }
    frames
}

fn is_heartbeat(frame: &[u8]) -> bool {
    frame.len() == 14 && frame[3..5] == [0x10, 0x47] && frame[11] == 0
}

/// Whether a V5 frame holds a right Modbus frame of 125 registers.
fn holds_registers(frame: &[u8]) -> bool {
    let rtu = &frame[25..frame.len() - 2];
    let (content, crc) = rtu.split_last_chunk::<2>().expect("long enough");
    rtu.len() == 255 && crc16(content).to_le_bytes() == *crc
}

fn sequence(serial: usize) -> u8 {
    u8::try_from(serial).expect("small")
}

#[test]
fn heartbeats_come_in_place_before_and_after_and_count() {
    for (fault, heartbeats, replies) in [
        (Fault::Heartbeat, vec![0], vec![]),
        (Fault::HeartbeatBefore, vec![0], vec![1]),
        (Fault::HeartbeatAfter, vec![1], vec![0]),
    ] {
        let mut counter = 0;
        for (serial, all) in by_v5(fault).iter().enumerate() {
            let [outgoing] = &all[..] else {
                panic!("one piece: {all:?}");
            };
            assert_eq!(outgoing.sent, Sent::Faulty(fault));
            let frames = frames(&outgoing.pieces[0]);
            assert_eq!(frames.len(), heartbeats.len() + replies.len());
            for frame in &frames {
                assert_eq!(frame[6], counter, "{fault}");
                counter = counter.wrapping_add(1);
            }
            assert!(heartbeats.iter().all(|at| is_heartbeat(frames[*at])));
            for at in &replies {
                assert_eq!(frames[*at][5], sequence(serial));
                assert!(holds_registers(frames[*at]));
            }
        }
    }
}

#[test]
fn a_foreign_reply_is_sound_but_for_sequence_and_values() {
    let mut right = responder(Family::KstarHybrid, Via::Solarman, Faults::default());
    let right = all_sent(&mut right, 0, LIVE).remove(0).pieces.concat();
    let (mut alone, mut clouds) = (0, 0);
    for fault in [Fault::Foreign, Fault::Glued] {
        for (serial, all) in by_v5(fault).iter().enumerate() {
            let frame = frames(&all[0].pieces[0])[0];
            assert_eq!(
                (frame.len(), all[0].sent),
                (right.len(), Sent::Faulty(fault))
            );
            assert!(holds_registers(frame));
            assert_ne!(frame[5], sequence(serial));
            assert_ne!(frame[28..278], right[28..278]);
            clouds += usize::from(frame[5] == 0);
            let reply = match &all[..] {
                [_, right] => {
                    assert_eq!(right.sent, Sent::Proper);
                    assert!(right.due > all[0].due);
                    Some(frames(&right.pieces[0])[0])
                }
                _ => frames(&all[0].pieces[0]).get(1).copied(),
            };
            alone += usize::from(reply.is_none());
            assert!(reply.is_none_or(|reply| reply[28..278] == right[28..278]));
        }
    }
    assert!((20..80).contains(&alone), "{alone}");
    assert!((50..150).contains(&clouds), "{clouds}");
}

#[test]
fn a_late_reply_comes_before_the_next_one_with_its_old_sequence() {
    let faults = Faults::always(Fault::Late);
    let mut responder = responder(Family::KstarHybrid, Via::Solarman, faults);
    assert_eq!(answer(&mut responder, 5, LIVE), Outcome::KeepBack(None));
    let Outcome::KeepBack(Some(late)) = answer(&mut responder, 6, LIVE) else {
        panic!("a late reply");
    };
    assert_eq!(late.answers, Some(5));
    assert_eq!(late.sent, Sent::Faulty(Fault::Late));
    assert_eq!(frames(&late.pieces[0])[0][5], 5);
}

#[test]
fn torn_replies_are_whole_together_and_text_and_noise_stand_before_frames() {
    for all in by_v5(Fault::Torn) {
        assert!(all[0].pieces.len() > 1 || all[0].pieces[0].len() == 282);
        assert_eq!(frames(&all[0].pieces.concat()).len(), 1);
    }
    for all in by_v5(Fault::Text) {
        let whole: Vec<u8> = all
            .iter()
            .flat_map(|outgoing| outgoing.pieces.concat())
            .collect();
        let frame = whole.strip_prefix(AT_TEXT).expect("text");
        assert!(holds_registers(frames(frame)[0]));
    }
    for all in by_v5(Fault::Noise) {
        let (noise, frame) = all[0].pieces[0].split_at(13);
        assert_eq!(noise[..3], [1, 4, 8]);
        assert!(holds_registers(frames(frame)[0]));
    }
}

#[test]
fn short_replies_double_crcs_and_wrong_sums_are_what_they_should_be() {
    for all in by_v5(Fault::Short) {
        let frame = frames(&all[0].pieces[0])[0];
        assert_eq!((frame.len(), &frame[25..27]), (29, &[5, 0][..]));
    }
    for all in by_v5(Fault::DoubleCrc) {
        let frame = frames(&all[0].pieces[0])[0];
        assert_eq!((frame.len(), &frame[280..282]), (284, &[0, 0][..]));
    }
    for all in by_v5(Fault::Crc) {
        let frame = frames(&all[0].pieces[0])[0];
        assert!(frame.len() == 282 && !holds_registers(frame));
    }
    for all in by_v5(Fault::Checksum) {
        let frame = &all[0].pieces[0];
        let counted = &frame[1..frame.len() - 2];
        let sum = counted
            .iter()
            .fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
        assert!(frame.len() == 282 && frame[280] != sum && frame[281] == 0x15);
    }
    for all in by_v5(Fault::Exception) {
        let frame = frames(&all[0].pieces[0])[0];
        assert_eq!(frame[25..28], [1, 0x84, 6]);
    }
    for all in by_v5(Fault::Truncate) {
        assert!((1..282).contains(&all[0].pieces[0].len()));
    }
}

#[test]
fn what_ends_a_connection_sends_nothing() {
    for (fault, outcome) in [
        (Fault::Reset, Outcome::Reset),
        (Fault::Close, Outcome::Close),
        (
            Fault::Drop,
            Outcome::Withhold(Withheld::Faulty(Fault::Drop)),
        ),
    ] {
        let faults = Faults::always(fault);
        let mut responder = responder(Family::KstarHybrid, Via::Solarman, faults);
        assert_eq!(answer(&mut responder, 0, LIVE), outcome);
    }
}

#[test]
fn datagrams_are_doubled_cut_foreign_late_or_from_another_port() {
    let by = |fault| {
        let mut responder = responder(Family::GoodweEt, Via::Udp, Faults::always(fault));
        all_sent(&mut responder, 0, RUNNING).remove(0)
    };
    let mut right = responder(Family::GoodweEt, Via::Udp, Faults::default());
    let right = all_sent(&mut right, 0, RUNNING).remove(0).pieces.concat();
    let whole = |fault| by(fault).pieces.concat();
    assert_eq!(
        whole(Fault::Double),
        [right.clone(), right.clone()].concat()
    );
    assert!(right.starts_with(&whole(Fault::Truncate)));
    assert!(by(Fault::Port).from_other_port);
    assert_eq!(whole(Fault::Port), right);
    assert_eq!(whole(Fault::Exception)[..5], [0xAA, 0x55, 0xF7, 0x83, 6]);
    let crc = whole(Fault::Crc);
    assert_ne!(crc16(&crc[2..255]).to_le_bytes(), crc[255..257]);
    let foreign = whole(Fault::Foreign);
    assert_eq!((foreign.len(), &foreign[..5]), (right.len(), &right[..5]));
    assert_eq!(crc16(&foreign[2..255]).to_le_bytes(), foreign[255..257]);
    // It is the meter's and begins with no date.
    assert_eq!(foreign[5..9], [0, 1, 0, 35]);
    let faults = Faults::default();
    let late = by(Fault::Delay).due - Instant::now();
    assert!(late <= *faults.delay.end() && late + A_MOMENT >= *faults.delay.start());
}

#[test]
fn modbus_tcp_has_wrong_lengths_and_foreign_transactions() {
    let by = |fault| {
        let mut responder = responder(Family::GoodweEt, Via::ModbusTcp, Faults::always(fault));
        all_sent(&mut responder, 7, RUNNING)
    };
    let right = {
        let mut responder = responder(Family::GoodweEt, Via::ModbusTcp, Faults::default());
        all_sent(&mut responder, 7, RUNNING)
            .remove(0)
            .pieces
            .concat()
    };
    assert_eq!(right[..8], [0, 7, 0, 0, 0, 253, 0xF7, 3]);
    let wrong = by(Fault::Length)[0].pieces.concat();
    assert_ne!(wrong[4..6], right[4..6]);
    assert_eq!((&wrong[..4], &wrong[6..]), (&right[..4], &right[6..]));
    let foreign = by(Fault::Foreign)[0].pieces.concat();
    assert_eq!((foreign.len(), &foreign[4..9]), (right.len(), &right[4..9]));
    assert_ne!(foreign[..2], right[..2]);
    assert_ne!(foreign[9..], right[9..]);
    assert!((1..259).contains(&by(Fault::Truncate)[0].pieces.concat().len()));
}

#[test]
fn the_same_seed_sends_the_same_bytes() {
    let sent = || {
        let faults = Faults::parse(Via::Solarman, "all=0.05").expect("faults");
        let mut responder = responder(Family::KstarHybrid, Via::Solarman, faults);
        let outcomes = (0..300).map(|serial| answer(&mut responder, serial, LIVE));
        outcomes
            .map(|outcome| match outcome {
                Outcome::Send(all) => all
                    .into_iter()
                    .map(|outgoing| (outgoing.sent, outgoing.pieces))
                    .collect(),
                _ => Vec::new(),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(), sent());
}
