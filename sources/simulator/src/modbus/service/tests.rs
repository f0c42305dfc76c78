use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};

use super::super::captures::bytes;
use super::super::framing::{modbus_tcp_frame, rtu_frame};
use super::super::start;
use super::*;
use crate::modbus::Running;
use crate::modbus::faults::Faults;

const ET_RUNNING: &str = "f703891c007d7ae7";
const DT_RUNNING: &str = "7f0375940049d5c2";
const SECOND: Duration = Duration::from_secs(1);

fn frozen(family: Family, via: Via) -> Config {
    Config {
        via,
        speed: 0.0,
        log_capacity: 1000,
        ..Config::new(family, 1)
    }
}

fn udp() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.set_read_timeout(Some(SECOND)).expect("a time-out");
    socket
}

/// What comes for a datagram; nothing within a second is empty.
fn ask_udp(to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let socket = udp();
    socket.send_to(request, to).expect("sent");
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).unwrap_or(0);
    buffer[..length].to_vec()
}

fn tcp(machine: &Running) -> TcpStream {
    let stream = TcpStream::connect(machine.data_address()).expect("a connection");
    stream.set_read_timeout(Some(SECOND)).expect("a time-out");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// One read of what has come.
fn receive_some(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let length = stream.read(&mut buffer).unwrap_or(0);
    buffer[..length].to_vec()
}

fn ask_tcp(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).expect("sent");
    receive_some(stream)
}

fn checksum(counted: &[u8]) -> u8 {
    counted
        .iter()
        .fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// A V5 request as a client builds it.
fn v5_request(sequence: u8, serial: u32, rtu: &[u8]) -> Vec<u8> {
    let payload = [&[2][..], &[0; 14], rtu].concat();
    let mut frame = vec![
        0xA5,
        u8::try_from(payload.len()).expect("short"),
        0,
        0x10,
        0x45,
        sequence,
        0,
    ];
    frame.extend(serial.to_le_bytes());
    frame.extend(payload);
    frame.push(checksum(&frame[1..]));
    frame.push(0x15);
    frame
}

fn read_pdu(first: u16, count: u16) -> Vec<u8> {
    [&[4], &first.to_be_bytes()[..], &count.to_be_bytes()].concat()
}

fn live(sequence: u8, machine: &Running) -> Vec<u8> {
    let rtu = rtu_frame(1, &read_pdu(3000, 125));
    v5_request(sequence, machine.config().logger_serial, &rtu)
}

fn sent(machine: &Running) -> BTreeSet<Sent> {
    machine.counts().sent.into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_are_answered_behind_aa55() {
    for (family, request, head, length) in [
        (Family::GoodweEt, ET_RUNNING, "aa55f703fa", 257),
        (Family::GoodweDt, DT_RUNNING, "aa557f0392", 153),
    ] {
        let machine = start(frozen(family, Via::Udp)).await.expect("a machine");
        let reply = ask_udp(machine.data_address(), &bytes(request));
        assert_eq!((reply.len(), &reply[..5]), (length, &bytes(head)[..]));
        assert_eq!(machine.counts().sent(Sent::Proper), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_lacks_is_an_exception_and_what_is_no_read_is_recorded_too() {
    let config = frozen(Family::GoodweEt, Via::Udp);
    let machine = start(config).await.expect("a machine");
    let to = machine.data_address();
    assert_eq!(
        ask_udp(to, &bytes("f7038ca0007dbbcf")),
        bytes("aa55f7830220c3")
    );
    assert_eq!(machine.counts().unexpected, 0);
    let write = rtu_frame(0xF7, &[6, 0xB7, 0x98, 0, 1]);
    assert_eq!(ask_udp(to, &write)[..5], bytes("aa55f78601"));
    assert_eq!(machine.counts().unexpected, 1);
    let other_unit = rtu_frame(0x7F, &[3, 0x89, 0x1C, 0, 125]);
    assert_eq!(ask_udp(to, &other_unit), []);
    assert_eq!(ask_udp(to, &bytes("aa55c07f0106000245")), []);
    assert_eq!(machine.counts().withheld(Withheld::WrongUnit), 1);
    assert_eq!(machine.counts().unexpected, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_et_says_who_it_is_to_an_aa55_client_too_and_a_dt_does_not() {
    let question = bytes("aa55c07f0102000241");
    let et = start(frozen(Family::GoodweEt, Via::Udp)).await;
    let et = et.expect("a machine");
    let reply = ask_udp(et.data_address(), &question);
    // 76 bytes with the serial number from the 32nd on.
    assert_eq!(reply[..7], bytes("aa557fc001824c"));
    assert_eq!(&reply[38..54], et.config().serial.as_bytes());
    let counts = et.counts();
    assert_eq!((counts.aa55, counts.unexpected), (1, 0));
    assert_eq!(counts.sent(Sent::Aa55), 1);
    let dt = start(frozen(Family::GoodweDt, Via::Udp)).await;
    let dt = dt.expect("a machine");
    assert_eq!(ask_udp(dt.data_address(), &question), []);
    assert_eq!(dt.counts().unexpected, 1);
}

/// Asks under all faults at once and takes whatever comes.
fn ask_without_patience(machine: &Running, requests: u8) {
    let mut stream = tcp(machine);
    for sequence in 0..requests {
        let patience = Duration::from_millis(15);
        stream.set_read_timeout(Some(patience)).expect("a time-out");
        let written = stream.write_all(&live(sequence, machine));
        let read = stream.read(&mut [0; 4096]);
        if written.is_err() || matches!(read, Ok(0)) || read.is_err() {
            stream = tcp(machine);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_all_faults_every_request_is_answered_or_has_a_reason_why_not() {
    let mut config = frozen(Family::KstarHybrid, Via::Solarman);
    config.log_capacity = 10_000;
    config.faults = Faults::parse(Via::Solarman, "all=0.05,delay=0.05:10ms..60ms").expect("faults");
    let machine = start(config).await.expect("a machine");
    ask_without_patience(&machine, 250);
    let (counts, log) = machine.stop().await;
    let (mut asked, mut accounted) = (BTreeSet::new(), BTreeSet::new());
    for entry in log {
        match entry.event {
            Event::Asked { serial, .. } => assert!(asked.insert(serial)),
            Event::Sent { answers, .. } | Event::Withheld { answers, .. } => {
                accounted.extend(answers);
            }
            _ => {}
        }
    }
    assert_eq!(asked, accounted);
    assert!(asked.len() > 200, "{counts:?}");
    assert_eq!((counts.open, counts.unexpected), (0, 0), "{counts:?}");
    let faults = counts
        .sent
        .keys()
        .filter(|sent| matches!(sent, Sent::Faulty(_)));
    assert!(faults.count() > 8, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn greetings_are_answered_by_serial_number_or_name_and_wake_a_sleeper() {
    let stick = start(frozen(Family::KstarHybrid, Via::Solarman))
        .await
        .expect("a stick");
    for greeting in ["WIFIKIT-214028-READ", "HF-A11ASSISTHREAD"] {
        let answer = ask_udp(
            stick.discovery_address().expect("an address"),
            greeting.as_bytes(),
        );
        let text = String::from_utf8(answer).expect("text");
        let fields: Vec<_> = text.split(',').collect();
        assert_eq!(fields[2].parse(), Ok(stick.config().logger_serial));
    }
    let sleeper = Config {
        asleep: true,
        ..frozen(Family::GoodweEt, Via::Udp)
    };
    let sleeper = start(sleeper).await.expect("a sleeper");
    let to = sleeper.data_address();
    assert_eq!(ask_udp(to, &bytes(ET_RUNNING)), []);
    let discovery = sleeper.discovery_address().expect("an address");
    assert_eq!(ask_udp(discovery, b"+ok"), []);
    let answer = ask_udp(discovery, GREETING);
    assert!(answer.ends_with(b",Solar-WiFi226W0038"), "{answer:?}");
    assert_eq!(ask_udp(to, &bytes(ET_RUNNING)).len(), 257);
    let counts = sleeper.counts();
    assert_eq!((counts.greetings, counts.unexpected), (1, 1));
    assert_eq!(counts.withheld(Withheld::Asleep), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v5_reply_carries_sequence_serial_and_modbus() {
    let machine = start(frozen(Family::KstarHybrid, Via::Solarman))
        .await
        .expect("a machine");
    let mut stream = tcp(&machine);
    for (sequence, counter) in [(0x31, 0), (0x32, 1)] {
        let reply = ask_tcp(&mut stream, &live(sequence, &machine));
        assert_eq!(reply.len(), 282);
        assert_eq!(reply[..7], [0xA5, 0x0D, 1, 0x10, 0x15, sequence, counter]);
        let serial = machine.config().logger_serial.to_le_bytes();
        assert_eq!(reply[7..11], serial);
        assert_eq!(reply[11..13], [2, 1]);
        assert_eq!(reply[25..28], [1, 4, 250]);
        assert_eq!(reply[280], checksum(&reply[1..280]));
        let times: Vec<u32> = [13, 21]
            .map(|at| u32::from_le_bytes(reply[at..at + 4].try_into().expect("four")))
            .into();
        // 2026-06-21 12:00:00 UTC
        assert_eq!(times[0] + times[1], 1_782_043_200);
    }
    let counts = machine.counts();
    assert_eq!((counts.opened, counts.open, counts.unexpected), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stick_answers_wrong_serials_and_wrong_units_and_writes_in_its_own_way() {
    let machine = start(frozen(Family::KstarHybrid, Via::Solarman))
        .await
        .expect("a machine");
    let serial = machine.config().logger_serial;
    let mut stream = tcp(&machine);
    let read = read_pdu(3000, 125);
    for (request, ending) in [
        (v5_request(1, 0, &rtu_frame(1, &read)), vec![6, 0]),
        (v5_request(2, serial, &rtu_frame(9, &read)), vec![5, 0]),
        (
            v5_request(3, serial, &rtu_frame(1, &[6, 0x0B, 0xE4, 0, 1])),
            rtu_frame(1, &[0x86, 1]),
        ),
        (
            v5_request(4, serial, &rtu_frame(1, &read_pdu(4000, 1))),
            rtu_frame(1, &[0x84, 2]),
        ),
    ] {
        let reply = ask_tcp(&mut stream, &request);
        assert_eq!(reply[7..11], serial.to_le_bytes());
        assert_eq!(reply[25..reply.len() - 2], ending);
    }
    assert_eq!(machine.counts().unexpected, 1);
    // The answer to a heartbeat that some clients give.
    let heartbeat = bytes("a501001017010000000000003915");
    stream.write_all(&heartbeat).expect("sent");
    assert_eq!(receive_some(&mut stream), []);
    assert_eq!(machine.counts().unexpected, 2);
    let expected = [
        Sent::Exception(1),
        Sent::Exception(2),
        Sent::NoInverter,
        Sent::OwnSerial,
    ];
    assert_eq!(sent(&machine), BTreeSet::from(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sticks_reply_goes_to_every_connection_and_a_reset_ends_all() {
    let machine = start(frozen(Family::KstarHybrid, Via::Solarman))
        .await
        .expect("a machine");
    let (mut one, mut other) = (tcp(&machine), tcp(&machine));
    ask_tcp(&mut other, &live(7, &machine));
    assert_eq!(receive_some(&mut one)[5], 7);
    let heard = ask_tcp(&mut one, &live(8, &machine));
    assert_eq!((heard[5], receive_some(&mut other)[5]), (8, 8));
    assert_eq!(machine.counts().sent(Sent::Overheard), 2);
    drop(other);
    machine.set_online(false);
    let error = one.read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let counts = machine.counts();
    assert_eq!((counts.opened, counts.open, counts.most_open), (2, 0, 2));
    machine.set_online(true);
    let mut anew = tcp(&machine);
    assert_eq!(ask_tcp(&mut anew, &live(9, &machine)).len(), 282);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_closes_one_connection_before_the_next_never_has_two() {
    let machine = start(frozen(Family::KstarHybrid, Via::Solarman))
        .await
        .expect("a machine");
    for sequence in 0..50 {
        let mut stream = tcp(&machine);
        // Now and then it is gone before the reply.
        stream.write_all(&live(sequence, &machine)).expect("sent");
        if sequence % 3 > 0 {
            assert_eq!(receive_some(&mut stream).len(), 282);
        }
    }
    let (counts, _) = machine.stop().await;
    assert_eq!((counts.opened, counts.most_open), (50, 1), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stick_sends_heartbeats_and_pushes_and_resets_on_its_own() {
    let every = Some(Duration::from_millis(100));
    let mut config = frozen(Family::KstarHybrid, Via::Solarman);
    config.stick.heartbeat_every = every;
    config.stick.push_every = every;
    config.stick.reset_every = Some(Duration::from_millis(650));
    let machine = start(config).await.expect("a machine");
    let mut stream = tcp(&machine);
    let mut all = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => all.extend_from_slice(&buffer[..length]),
            _ => break,
        }
    }
    assert!(all.starts_with(&[0xA5, 1, 0, 0x10, 0x47]), "{all:x?}");
    assert!(sent(&machine).is_superset(&BTreeSet::from([Sent::Heartbeat, Sent::Push])));
    assert_eq!(machine.counts().open, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn modbus_tcp_has_a_transaction_and_a_gateway() {
    let machine = start(frozen(Family::GoodweEt, Via::ModbusTcp))
        .await
        .expect("a machine");
    let mut stream = tcp(&machine);
    let content = bytes("f703891c007d");
    let reply = ask_tcp(&mut stream, &modbus_tcp_frame(0x8103, &content));
    assert_eq!(reply[..9], bytes("8103000000fdf703fa"));
    assert_eq!(reply.len(), 259);
    let reply = ask_tcp(&mut stream, &modbus_tcp_frame(2, &bytes("01038ca0002d")));
    assert_eq!(reply, bytes("00020000000301830b"));
    let write = modbus_tcp_frame(3, &bytes("f710b79800010200010000"));
    assert_eq!(ask_tcp(&mut stream, &write), bytes("000300000003f79001"));
    let probe = v5_request(0, 0x5E, &rtu_frame(1, &read_pdu(3000, 125)));
    assert_eq!(ask_tcp(&mut stream, &probe), bytes("a5170010450300de02"));
    let counts = machine.counts();
    assert_eq!((counts.unexpected, counts.requested()), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn rtu_over_tcp_has_nothing_around_it() {
    let machine = start(frozen(Family::KstarHybrid, Via::RtuOverTcp))
        .await
        .expect("a machine");
    let mut stream = tcp(&machine);
    let reply = ask_tcp(&mut stream, &bytes("01040c790001e343"));
    assert_eq!(reply, rtu_frame(1, &[4, 2, 0, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_inverter_is_off_at_night() {
    let begins = jiff::civil::date(2026, 6, 21).at(23, 0, 0, 0);
    let machine = start(Config {
        begins,
        ..frozen(Family::GoodweDt, Via::Udp)
    })
    .await
    .expect("a machine");
    assert_eq!(ask_udp(machine.data_address(), &bytes(DT_RUNNING)), []);
    assert_eq!(machine.counts().withheld(Withheld::Night), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn torn_replies_come_whole_in_the_end_and_a_closed_connection_has_nothing() {
    let mut config = frozen(Family::KstarHybrid, Via::Solarman);
    config.faults = Faults::always(Fault::Torn);
    let machine = start(config.clone()).await.expect("a machine");
    let mut stream = tcp(&machine);
    stream.write_all(&live(1, &machine)).expect("sent");
    let mut reply = [0; 282];
    stream.read_exact(&mut reply).expect("a whole reply");
    assert_eq!(reply[280], checksum(&reply[1..280]));
    assert_eq!(machine.counts().sent(Sent::Faulty(Fault::Torn)), 1);

    config.faults = Faults::always(Fault::Close);
    let machine = start(config).await.expect("a machine");
    let mut stream = tcp(&machine);
    stream.write_all(&live(1, &machine)).expect("sent");
    assert_eq!(stream.read(&mut [0; 10]).expect("an end"), 0);
    let counts = machine.counts();
    assert_eq!(
        (counts.open, counts.withheld(Withheld::Faulty(Fault::Close))),
        (0, 1)
    );
}
