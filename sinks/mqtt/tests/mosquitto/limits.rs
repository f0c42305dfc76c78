//! Brokers to which the announcement for Home Assistant is too large: readings pass all the same, and the announcement in
//! small messages does too.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use kstar_sink::testing::kse_reading;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::world::{Listener, Mosquitto, Running, config, context, retained};

/// The limits that a broker may have, as Mosquitto writes them. The first closes the connection, the second throws away.
const LIMITS: [&str; 4] = [
    "max_packet_size 2000",
    "max_packet_size 8000",
    "message_size_limit 2000",
    "message_size_limit 8000",
];

const DEVICE: &str = "homeassistant/device/kstar_roof/config";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_pass_a_broker_to_which_the_announcement_is_too_large() {
    for limit in LIMITS {
        let broker = Mosquitto::with(&format!("allow_anonymous true\n{limit}"));
        let listener = Listener::at(broker.port).await;
        let running = Running::start(
            &broker.config(""),
            &context(&["roof"], broker.folder.path()),
        );
        for time in 1..=5 {
            running.send(kse_reading("roof", time));
            running.delivered(time.unsigned_abs()).await;
        }
        listener.catch_up().await;
        // The one on whose connection the announcement was may have come before that was closed, and again.
        let states = listener.on("kstar/roof/state").len();
        assert!((5..=6).contains(&states), "{limit}: {states}");
        assert_eq!(running.now().counts.dropped, 0);
        running.end().await;
        let log = broker.log();
        // One that tells its limit is asked for it, and not tried again.
        let connections = log.matches(" as kstar-test (").count();
        let expected = if limit.starts_with("max") { 2 } else { 1 };
        assert_eq!(connections, expected, "{limit}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_announcement_in_small_messages_passes_them() {
    for limit in LIMITS {
        let broker = Mosquitto::with(&format!("allow_anonymous true\n{limit}"));
        let running = Running::start(
            &broker.config("home_assistant.discovery = 'entity'"),
            &context(&["roof"], broker.folder.path()),
        );
        let reading = kse_reading("roof", 1);
        running.send(reading.clone());
        running.delivered(1).await;
        running.end().await;
        let announced = retained(broker.port).await.into_keys();
        let announced = announced.filter(|topic| topic.starts_with("homeassistant/"));
        let quantities = reading.values.present().count();
        assert!(announced.count() >= quantities, "{limit}");
    }
}

/// A broker that speaks MQTT 3.1.1 only, acknowledges, and closes the connection on a packet that is larger.
struct Small {
    port: u16,
    /// The topics of what was published, also of what was too large.
    published: Arc<Mutex<Vec<String>>>,
}

impl Small {
    async fn open(limit: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let small = Self {
            port: listener.local_addr().unwrap().port(),
            published: Arc::default(),
        };
        let published = Arc::clone(&small.published);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let published = Arc::clone(&published);
                // It ends with the connection.
                tokio::spawn(async move { serve(stream, limit, &published).await.ok() });
            }
        });
        small
    }

    fn count(&self, topic: &str) -> usize {
        let published = self.published.lock().unwrap();
        published.iter().filter(|other| *other == topic).count()
    }
}

async fn serve(
    mut stream: TcpStream,
    limit: usize,
    published: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    loop {
        let kind = stream.read_u8().await?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        let answer = match kind >> 4 {
            // CONNECT: the level of the protocol comes after its name.
            1 if rest[6] != 4 => vec![0x20, 2, 0, 1],
            1 => vec![0x20, 2, 0, 0],
            3 => {
                let name = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                let topic = String::from_utf8_lossy(&rest[2..name]).into_owned();
                published.lock().unwrap().push(topic);
                if length > limit {
                    return Ok(());
                }
                vec![0x40, 2, rest[name], rest[name + 1]]
            }
            8 => vec![0x90, 3, rest[0], rest[1], 1],
            12 => vec![0xd0, 0],
            _ => return Ok(()),
        };
        stream.write_all(&answer).await?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_does_not_tell_its_limit_is_given_the_announcement_twice() {
    let small = Small::open(2000).await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("mqtt://127.0.0.1:{}", small.port);
    let running = Running::start(&config(&url, ""), &context(&["roof"], folder.path()));
    for time in 1..=5 {
        running.send(kse_reading("roof", time));
        running.delivered(time.unsigned_abs()).await;
    }
    assert_eq!(small.count(DEVICE), 2);
    assert!(small.count("kstar/roof/state") >= 5);
    running.end().await;

    // The same broker takes it in small messages, and a larger one as it is.
    for (limit, lines, topic) in [
        (
            2000,
            "home_assistant.discovery = 'entity'",
            "homeassistant/sensor/kstar_roof/pv_power/config",
        ),
        (100_000, "", DEVICE),
    ] {
        let broker = Small::open(limit).await;
        let folder = tempfile::tempdir().unwrap();
        let url = format!("mqtt://127.0.0.1:{}", broker.port);
        let running = Running::start(&config(&url, lines), &context(&["roof"], folder.path()));
        running.send(kse_reading("roof", 1));
        running.delivered(1).await;
        running.end().await;
        assert_eq!(broker.count(topic), 1);
    }
}
