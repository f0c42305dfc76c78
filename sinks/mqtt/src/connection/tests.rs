use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::BytesMut;
use rumqttc::{ConnAck, ConnectReturnCode, PubComp, PubRec};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::task::JoinHandle;

use super::*;

/// As much as a socket takes at once.
const SOCKET: usize = 64 * 1024;

/// A stream that counts how often something is written to it.
struct Counting(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A connection to a broker that the test plays.
struct Scene {
    connection: Arc<Connection>,
    broker: Broker,
    writes: Arc<AtomicUsize>,
    task: JoinHandle<Result<(), ConnectionError>>,
}

impl Scene {
    /// With this much room on the way to the broker.
    async fn with_room(room: usize) -> Self {
        let (ours, stream) = duplex(room);
        let writes = Arc::new(AtomicUsize::new(0));
        let mut broker = Broker {
            stream,
            bytes: BytesMut::new(),
        };
        let counting = Counting(ours, Arc::clone(&writes));
        let (network, ()) = tokio::join!(
            Network::over(Box::new(counting), Connect::new("kstar-test")),
            broker.let_in()
        );
        let network = network.unwrap();
        let (connection, requests) = Connection::new();
        let connection = Arc::new(connection);
        let running = Arc::clone(&connection);
        let task = tokio::spawn(async move { running.run(requests, network).await });
        writes.store(0, Ordering::Relaxed);
        Self {
            connection,
            broker,
            writes,
            task,
        }
    }

    async fn send(&self, count: usize, qos: QoS) -> Ack {
        let mut batch = Batch::default();
        batch.publish(messages(count), qos);
        self.connection.send(batch).await.unwrap()
    }
}

struct Broker {
    stream: DuplexStream,
    bytes: BytesMut,
}

impl Broker {
    async fn let_in(&mut self) {
        assert!(matches!(self.hear().await, Packet::Connect(_)));
        let welcome = ConnAck::new(ConnectReturnCode::Success, false);
        self.say(Packet::ConnAck(welcome)).await;
    }

    async fn hear(&mut self) -> Packet {
        loop {
            if let Ok(packet) = Packet::read(&mut self.bytes, 1 << 20) {
                return packet;
            }
            let count = self.stream.read_buf(&mut self.bytes).await.unwrap();
            assert!(count > 0, "the client has hung up");
        }
    }

    async fn hear_publish(&mut self) -> Publish {
        match self.hear().await {
            Packet::Publish(publish) => publish,
            other => panic!("no message: {other:?}"),
        }
    }

    async fn say(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, 1 << 20).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }
}

fn messages(count: usize) -> impl Iterator<Item = Message> {
    (0..count).map(|number| Message::live(format!("kstar/roof/{number}"), number.to_string()))
}

#[tokio::test]
async fn what_a_reading_brings_leaves_in_one_write_and_in_its_order() {
    let mut scene = Scene::with_room(SOCKET).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        scene.writes.store(0, Ordering::Relaxed);
        let _ack = scene.send(60, qos).await;
        for expected in messages(60) {
            let publish = scene.broker.hear_publish().await;
            assert_eq!(publish.topic, expected.topic);
            assert_eq!(publish.payload, expected.payload.as_bytes());
            assert_eq!(publish.qos, qos);
        }
        assert_eq!(scene.writes.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn more_than_there_is_room_for_is_delivered_at_every_quality_of_service() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        // Less room than the messages have bytes, so that writing waits too.
        let mut scene = Scene::with_room(512).await;
        let ack = scene.send(1000, qos).await;
        let mut heard = 0;
        let broker = async {
            loop {
                match scene.broker.hear().await {
                    Packet::Publish(publish) => {
                        assert_eq!(publish.payload, heard.to_string().as_bytes());
                        heard += 1;
                        match qos {
                            QoS::AtMostOnce => {}
                            QoS::AtLeastOnce => {
                                let ack = PubAck::new(publish.pkid);
                                scene.broker.say(Packet::PubAck(ack)).await;
                            }
                            QoS::ExactlyOnce => {
                                let ack = PubRec::new(publish.pkid);
                                scene.broker.say(Packet::PubRec(ack)).await;
                            }
                        }
                    }
                    Packet::PubRel(release) => {
                        let ack = PubComp::new(release.pkid);
                        scene.broker.say(Packet::PubComp(ack)).await;
                    }
                    other => panic!("unexpected: {other:?}"),
                }
            }
        };
        tokio::select! {
            () = broker => {}
            acknowledged = ack.all() => acknowledged.unwrap(),
        }
        assert!(heard == 1000 || qos == QoS::AtMostOnce, "{heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stops_reading_is_given_up() {
    let mut scene = Scene::with_room(512).await;
    let begin = Instant::now();
    let ack = scene.send(1000, QoS::AtLeastOnce).await;
    // It goes on talking, which does not help.
    let talking = async {
        loop {
            scene.broker.say(Packet::PingResp).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ended = tokio::select! {
        () = talking => unreachable!(),
        ended = &mut scene.task => ended.unwrap(),
    };
    assert!(matches!(ended, Err(ConnectionError::FlushTimeout)));
    assert_eq!(begin.elapsed().as_secs(), 3);
    assert!(ack.all().await.is_err());
    assert!(scene.connection.send(Batch::default()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_lives_for_as_long_as_the_broker_answers() {
    let mut scene = Scene::with_room(SOCKET).await;
    let begin = Instant::now();
    for _ in 0..10 {
        assert_eq!(scene.broker.hear().await, Packet::PingReq);
        scene.broker.say(Packet::PingResp).await;
    }
    assert_eq!(begin.elapsed().as_secs(), 150);
    assert_eq!(scene.broker.hear().await, Packet::PingReq);
    let ended = scene.task.await.unwrap();
    let silent = ConnectionError::MqttState(StateError::AwaitPingResp);
    assert_eq!(ended.unwrap_err().to_string(), silent.to_string());
    assert_eq!(begin.elapsed().as_secs(), 180);
}

#[tokio::test]
async fn an_announcement_is_under_way_until_the_broker_has_it() {
    let mut scene = Scene::with_room(SOCKET).await;
    let mut batch = Batch::default();
    batch.announce(messages(2));
    scene.connection.send(batch).await.unwrap();
    let ids = [
        scene.broker.hear_publish().await.pkid,
        scene.broker.hear_publish().await.pkid,
    ];
    scene.broker.say(Packet::PubAck(PubAck::new(ids[0]))).await;
    // That we have heard what comes next shows that we have heard the acknowledgement.
    let mut birth = Publish::new("homeassistant/status", QoS::AtLeastOnce, ONLINE);
    birth.pkid = 7;
    scene.broker.say(Packet::Publish(birth)).await;
    assert_eq!(scene.broker.hear().await, Packet::PubAck(PubAck::new(7)));
    scene.connection.birth.notified().await;
    let (topic, _) = scene.connection.announcing().unwrap();
    assert_eq!(topic, "kstar/roof/1");
    scene.broker.say(Packet::PubAck(PubAck::new(ids[1]))).await;
    scene.connection.announced.notified().await;
    assert_eq!(scene.connection.announcing(), None);
}

#[tokio::test]
async fn the_farewell_is_the_last_word() {
    let mut scene = Scene::with_room(SOCKET).await;
    scene.connection.subscribe("a/b".to_owned()).await.unwrap();
    let ack = scene.send(200, QoS::AtMostOnce).await;
    scene.connection.disconnect().await.unwrap();
    assert!(matches!(scene.broker.hear().await, Packet::Subscribe(_)));
    for _ in 0..200 {
        scene.broker.hear_publish().await;
    }
    assert_eq!(scene.broker.hear().await, Packet::Disconnect);
    assert!(scene.task.await.unwrap().is_ok());
    assert!(ack.all().await.is_ok());
}
