//! The simulator as its clients see it: over sockets.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what helps a test may panic like the test itself"
)]

use std::net::SocketAddr;
use std::time::Duration;

use kstar_simulator::encode::{GREETING, Request};
use kstar_simulator::faults::{Fault, Faults, Silence};
use kstar_simulator::record::{Event, Sent, Withheld};
use kstar_simulator::replay::Replay;
use kstar_simulator::{Config, Running, start};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Longer than any answer takes here, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn config(seed: u64) -> Config {
    Config {
        log_capacity: 1000,
        ..Config::new(seed)
    }
}

async fn client(far_side: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(far_side).await.expect("connected");
    socket
}

async fn next(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let length = timeout(PATIENCE, socket.recv(&mut buffer))
        .await
        .expect("an answer in time")
        .expect("an answer");
    buffer[..length].to_vec()
}

async fn ask(inverter: &Running, request: Request) -> Vec<u8> {
    let socket = client(inverter.data_address()).await;
    socket.send(&request.frame(0xB0)).await.expect("sent");
    next(&socket).await
}

/// Waits until the inverter has taken in this many datagrams.
async fn settle(inverter: &Running, requests: u64) {
    timeout(PATIENCE, async {
        loop {
            let counts = inverter.counts();
            let seen: u64 = counts.requests.values().sum::<u64>() + counts.unexpected;
            if seen >= requests {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("all requests noted");
}

#[tokio::test]
async fn each_request_is_answered_to_its_own_socket() {
    let inverter = start(config(1)).await.expect("an inverter");
    for (request, function, length) in [
        (Request::Running, 0x86, 92),
        (Request::DeviceInfo, 0x82, 86),
        (Request::Settings, 0x89, 95),
    ] {
        let reply = ask(&inverter, request).await;
        assert_eq!(reply[..6], [0xAA, 0x55, 0x7F, 0xB0, 0x01, function]);
        assert_eq!(reply.len(), length);
    }
    let (counts, log) = inverter.stop().await;
    assert_eq!(counts.sent(Sent::Proper), 3);
    assert_eq!(counts.requests.values().sum::<u64>(), 3);
    assert_eq!(log.len(), 6);
}

#[tokio::test]
async fn a_greeting_is_answered_with_address_and_hardware_address() {
    let config = config(1);
    let mac = config.mac.clone();
    let inverter = start(config).await.expect("an inverter");
    let socket = client(inverter.discovery_address().expect("an address")).await;
    socket.send(GREETING).await.expect("sent");
    let reply = String::from_utf8(next(&socket).await).expect("text");
    assert_eq!(reply, format!("127.0.0.1,{mac},HF-LPB1x000"));
    assert_eq!(inverter.counts().greetings, 1);
}

#[tokio::test]
async fn anything_else_is_counted_and_not_answered() {
    let inverter = start(config(1)).await.expect("an inverter");
    let write = [0xAA, 0x55, 0xB0, 0x7F, 0x03, 0x59, 0x01, 0x01, 0x02, 0x8C];
    let socket = client(inverter.data_address()).await;
    for datagram in [&write[..], GREETING, b"", b"AT+Z\r"] {
        socket.send(datagram).await.expect("sent");
    }
    socket
        .send(&Request::Running.frame(0xC0))
        .await
        .expect("sent");
    // What comes first is the answer to what came last.
    assert_eq!(next(&socket).await.len(), 92);
    let counts = inverter.counts();
    assert_eq!((counts.unexpected, counts.sent(Sent::Proper)), (4, 1));
}

#[tokio::test]
async fn a_sleeping_inverter_answers_after_the_greeting() {
    let inverter = start(Config {
        asleep: true,
        ..config(1)
    })
    .await
    .expect("an inverter");
    let socket = client(inverter.data_address()).await;
    socket
        .send(&Request::Running.frame(0xB0))
        .await
        .expect("sent");
    settle(&inverter, 1).await;
    assert_eq!(inverter.counts().withheld(Withheld::Asleep), 1);
    let greeter = client(inverter.discovery_address().expect("an address")).await;
    greeter.send(GREETING).await.expect("sent");
    next(&greeter).await;
    assert_eq!(ask(&inverter, Request::Running).await.len(), 92);
}

#[tokio::test]
async fn two_inverters_differ() {
    let [one, two] = [1, 2].map(|seed| Config {
        speed: 0.0,
        ..config(seed)
    });
    let (one, two) = (
        start(one).await.expect("one"),
        start(two).await.expect("two"),
    );
    assert_ne!(one.data_address(), two.data_address());
    for request in [Request::Running, Request::DeviceInfo] {
        assert_ne!(ask(&one, request).await, ask(&two, request).await);
    }
}

#[tokio::test]
async fn the_same_seed_sends_the_same_bytes() {
    let frozen = || Config {
        speed: 0.0,
        ..config(9)
    };
    let (one, two) = (
        start(frozen()).await.expect("one"),
        start(frozen()).await.expect("two"),
    );
    for request in [Request::Running, Request::DeviceInfo, Request::Settings] {
        assert_eq!(ask(&one, request).await, ask(&two, request).await);
    }
}

#[tokio::test]
async fn the_log_tells_of_each_datagram_where_it_went_and_why() {
    let faults =
        Faults::parse("drop=0.2,duplicate=0.2,port=0.2,stale=0.2,checksum=0.2").expect("faults");
    let inverter = start(Config {
        faults,
        ..config(4)
    })
    .await
    .expect("an inverter");
    let mut sockets = Vec::new();
    for _ in 0..100 {
        let socket = client(inverter.data_address()).await;
        socket
            .send(&Request::Running.frame(0xB0))
            .await
            .expect("sent");
        sockets.push(socket);
    }
    settle(&inverter, 100).await;
    let (data, other) = (inverter.data_address(), inverter.other_address());
    let (counts, log) = inverter.stop().await;

    let mut asked = Vec::new();
    for entry in &log {
        match entry.event {
            Event::Asked { serial, .. } => {
                assert_eq!(usize::try_from(serial).expect("small"), asked.len());
                asked.push((entry.peer, 0, 0));
            }
            Event::Sent { answers, sent } => {
                let serial = usize::try_from(answers.expect("a request")).expect("small");
                let (peer, went_out, _) = &mut asked[serial];
                assert_eq!(entry.peer, *peer);
                let from_other = sent == Sent::Faulty(Fault::Port);
                assert_eq!(entry.local, if from_other { other } else { data });
                *went_out += 1;
            }
            Event::Withheld { answers, withheld } => {
                assert_eq!(withheld, Withheld::Faulty(Fault::Drop));
                asked[usize::try_from(answers.expect("a request")).expect("small")].2 += 1;
            }
            Event::Greeted | Event::Unexpected => panic!("{entry:?}"),
        }
    }
    assert_eq!(asked.len(), 100);
    assert!(
        asked
            .iter()
            .all(|(_, sent, withheld)| (*sent > 0) != (*withheld > 0))
    );
    for sent in [
        Sent::Proper,
        Sent::Faulty(Fault::Duplicate),
        Sent::Faulty(Fault::Port),
        Sent::Faulty(Fault::Stale),
        Sent::Faulty(Fault::Checksum),
    ] {
        assert!(counts.sent(sent) > 5, "{counts:?}");
    }
    let sent: u64 = counts.sent.values().sum();
    let noted = log
        .iter()
        .filter(|entry| matches!(entry.event, Event::Sent { .. }))
        .count();
    assert_eq!(sent, u64::try_from(noted).expect("few"));
}

#[tokio::test]
async fn a_connected_client_never_sees_an_answer_from_another_port() {
    let faults = Faults::always(Fault::Port);
    let inverter = start(Config {
        faults,
        ..config(1)
    })
    .await
    .expect("an inverter");
    let connected = client(inverter.data_address()).await;
    connected
        .send(&Request::Running.frame(0xB0))
        .await
        .expect("sent");
    let open = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    open.send_to(&Request::Running.frame(0xB0), inverter.data_address())
        .await
        .expect("sent");
    let mut buffer = [0; 200];
    let (_, from) = timeout(PATIENCE, open.recv_from(&mut buffer))
        .await
        .expect("in time")
        .expect("an answer");
    assert_eq!(from, inverter.other_address());
    assert!(connected.try_recv(&mut buffer).is_err());
}

#[tokio::test]
async fn answers_whose_time_has_not_come_are_withheld_at_the_stop() {
    let mut faults = Faults::always(Fault::Delay);
    let hour = Duration::from_secs(3600);
    faults.delay = hour..=hour;
    let inverter = start(Config {
        faults,
        ..config(1)
    })
    .await
    .expect("an inverter");
    for serial in 1..=3 {
        let socket = client(inverter.data_address()).await;
        socket
            .send(&Request::Running.frame(0xB0))
            .await
            .expect("sent");
        settle(&inverter, serial).await;
    }
    let (counts, _) = inverter.stop().await;
    assert_eq!(counts.withheld(Withheld::Stopped), 3);
    assert!(counts.sent.is_empty());
}

#[tokio::test]
async fn latency_is_the_least_time_an_answer_takes() {
    let latency = Duration::from_millis(60);
    let inverter = start(Config {
        latency,
        ..config(1)
    })
    .await
    .expect("an inverter");
    let asked = std::time::Instant::now();
    ask(&inverter, Request::Running).await;
    assert!(asked.elapsed() >= latency);
}

#[tokio::test]
async fn recordings_are_sent_as_they_are() {
    let replay = Replay::of(vec![vec![1, 2, 3], b"not a frame".to_vec()]);
    let inverter = start(Config {
        replay,
        ..config(1)
    })
    .await
    .expect("an inverter");
    for expected in [&[1, 2, 3][..], b"not a frame", &[1, 2, 3]] {
        assert_eq!(ask(&inverter, Request::Running).await, expected);
    }
    assert_eq!(inverter.counts().sent(Sent::Replayed), 3);
}

#[tokio::test]
async fn a_silence_of_some_requests_ends() {
    let mut faults = Faults::always(Fault::Silence);
    faults.silence = Silence::Requests(1);
    let inverter = start(Config {
        faults,
        ..config(1)
    })
    .await
    .expect("an inverter");
    let socket = client(inverter.data_address()).await;
    for _ in 0..5 {
        socket
            .send(&Request::Running.frame(0xB0))
            .await
            .expect("sent");
    }
    settle(&inverter, 5).await;
    assert_eq!(
        inverter.counts().withheld(Withheld::Faulty(Fault::Silence)),
        5
    );
}

#[tokio::test]
async fn a_stopped_inverter_frees_its_port() {
    let inverter = start(config(1)).await.expect("an inverter");
    let address = inverter.data_address();
    inverter.stop().await;
    UdpSocket::bind(address).await.expect("the port is free");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_the_reason() {
    for (wrong, reason) in [
        (
            Config {
                speed: f64::NAN,
                ..config(1)
            },
            "speed",
        ),
        (
            Config {
                serial: "KSE4000SIM0000001".into(),
                ..config(1)
            },
            "serial number",
        ),
        (
            Config {
                model: "roof nr. 1".into(),
                ..config(1)
            },
            "model",
        ),
        (
            Config {
                asleep: true,
                discovery: None,
                ..config(1)
            },
            "discovery",
        ),
        (
            Config {
                data: "192.0.2.1:0".parse().expect("an address"),
                ..config(1)
            },
            "192.0.2.1:0",
        ),
    ] {
        let error = start(wrong).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
