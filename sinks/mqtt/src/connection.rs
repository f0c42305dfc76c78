//! One connection that is up: what is handed to it, and the task that exchanges packets with the broker.
//!
//! What is handed over at one stretch goes out in one write, as far as there is room in flight. Writing and reading go
//! on side by side, so that a broker that waits for us to read does not wait indefinitely.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rumqttc::{
    Connect, ConnectionError, LastWill, Packet, PubAck, PubRel, Publish, QoS, StateError,
    Subscribe, SubscribeReasonCode,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::flight::{Batch, Due, Flight, ID_OF_SUBSCRIPTION};
use crate::identity::Identity;
use crate::message::Message;
use crate::network::{LARGEST_OUTGOING, Network, Outgoing};
use crate::settings::Settings;
use crate::topics::{OFFLINE, ONLINE};

/// How often a connection is tried, in seconds; one that is dead is noticed within twice that.
const KEEP_ALIVE: u16 = 15;

/// How many requests may wait. There is one driver, and beside it only what Home Assistant is told again.
const REQUESTS: usize = 4;

/// How much may wait to be written before more is added: a reading in all forms is a tenth of it.
const STRETCH: usize = 64 * 1024;

/// How much may wait to be written before no more is heard, which would bring answers: what we say ourselves stays below.
const HEARD: usize = STRETCH + LARGEST_OUTGOING;

/// What a connection begins with: should it break, the broker tells that we are offline.
pub(crate) fn login(identity: &Identity, settings: &Settings) -> Connect {
    let Message {
        topic,
        payload,
        retain,
    } = settings.topics.collector(OFFLINE);
    let mut connect = identity.login();
    connect.last_will = Some(LastWill::new(topic, payload, QoS::AtLeastOnce, retain));
    connect.clean_session = true;
    connect.keep_alive = KEEP_ALIVE;
    connect
}

/// Why something was not delivered.
pub(crate) enum Undelivered {
    Lost,
    Refused(String),
}

/// The connection has ended, and with it everything that was not acknowledged.
#[derive(Debug)]
pub(crate) struct Lost;

impl From<Lost> for Undelivered {
    fn from(_: Lost) -> Self {
        Self::Lost
    }
}

/// What becomes ready when the broker has acknowledged every message of a batch.
pub(crate) struct Ack(oneshot::Receiver<()>);

impl Ack {
    pub(crate) async fn all(self) -> Result<(), Lost> {
        self.0.await.map_err(|_| Lost)
    }
}

/// What the task is to do.
pub(crate) enum Request {
    Send(Batch, oneshot::Sender<()>),
    Subscribe(String),
    Disconnect,
}

/// One connection that is up.
pub(crate) struct Connection {
    requests: mpsc::Sender<Request>,
    /// The topic and the size of each announcement that is not acknowledged.
    announcing: Mutex<VecDeque<(String, usize)>>,
    /// Home Assistant has started.
    pub(crate) birth: Notify,
    /// The broker has acknowledged every announcement.
    pub(crate) announced: Notify,
}

impl Connection {
    /// A connection, and what its task is to be given.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let connection = Self {
            requests,
            announcing: Mutex::default(),
            birth: Notify::new(),
            announced: Notify::new(),
        };
        (connection, receiver)
    }

    /// Hands a batch over, behind what was handed over before.
    pub(crate) async fn send(&self, batch: Batch) -> Result<Ack, Lost> {
        let place = self.requests.reserve().await.map_err(|_| Lost)?;
        let announcing = batch
            .announcements()
            .map(|message| (message.topic.clone(), message.packet_size()));
        self.under_way().extend(announcing);
        let (acknowledged, ack) = oneshot::channel();
        place.send(Request::Send(batch, acknowledged));
        Ok(Ack(ack))
    }

    pub(crate) async fn subscribe(&self, topic: String) -> Result<(), Lost> {
        self.request(Request::Subscribe(topic)).await
    }

    pub(crate) async fn disconnect(&self) -> Result<(), Lost> {
        self.request(Request::Disconnect).await
    }

    async fn request(&self, request: Request) -> Result<(), Lost> {
        self.requests.send(request).await.map_err(|_| Lost)
    }

    /// The largest announcement that is not acknowledged.
    pub(crate) fn announcing(&self) -> Option<(String, usize)> {
        let announcing = self.under_way();
        announcing.iter().max_by_key(|(_, size)| *size).cloned()
    }

    /// Takes note of an announcement that the broker has.
    fn announced(&self, topic: &str) {
        let mut announcing = self.under_way();
        // Brokers acknowledge in our order, so it stands in front.
        if let Some(place) = announcing.iter().position(|(other, _)| other == topic) {
            announcing.remove(place);
        }
        if announcing.is_empty() {
            self.announced.notify_one();
        }
    }

    fn under_way(&self) -> MutexGuard<'_, VecDeque<(String, usize)>> {
        // Nothing panics while it holds the lock.
        self.announcing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges packets until the farewell is written or the connection breaks. Everything that was not acknowledged
    /// by then has failed.
    pub(crate) async fn run(
        &self,
        mut requests: mpsc::Receiver<Request>,
        network: Network,
    ) -> Result<(), ConnectionError> {
        let Network {
            mut incoming,
            outgoing,
        } = network;
        let mut exchange = Exchange {
            connection: self,
            outgoing,
            flight: Flight::default(),
            tried: false,
            leaving: false,
        };
        let every = Duration::from_secs(KEEP_ALIVE.into());
        let mut keep_alive = interval_at(Instant::now() + every, every);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(packet) = incoming.next()? {
                exchange.heard(packet)?;
            }
            exchange.send()?;
            let outgoing = &mut exchange.outgoing;
            tokio::select! {
                biased;
                _ = keep_alive.tick() => exchange.try_it()?,
                written = outgoing.write(), if !outgoing.is_flushed() => {
                    written?;
                    if exchange.leaving {
                        return Ok(());
                    }
                    exchange.flight.written();
                }
                read = incoming.read(), if outgoing.waiting() < HEARD => read?,
                // The session waits for the end of the connection, and not the other way round.
                Some(request) = requests.recv(), if exchange.flight.has_begun_all() => {
                    exchange.asked(request)?;
                }
            }
        }
    }
}

/// The state of the exchange with the broker.
struct Exchange<'a> {
    connection: &'a Connection,
    outgoing: Outgoing,
    flight: Flight,
    /// We wait for a sign of life.
    tried: bool,
    /// The farewell is said.
    leaving: bool,
}

impl Exchange<'_> {
    /// Adds to what is written next, as far as there is room.
    fn send(&mut self) -> Result<(), StateError> {
        while self.outgoing.waiting() < STRETCH
            && let Some(publish) = self.flight.next()
        {
            self.outgoing.put(&Packet::Publish(publish))?;
        }
        Ok(())
    }

    fn asked(&mut self, request: Request) -> Result<(), StateError> {
        match request {
            Request::Send(batch, acknowledged) => {
                self.flight.begin(batch, acknowledged);
                Ok(())
            }
            Request::Subscribe(topic) => {
                let mut subscribe = Subscribe::new(topic, QoS::AtLeastOnce);
                subscribe.pkid = ID_OF_SUBSCRIPTION;
                self.outgoing.put(&Packet::Subscribe(subscribe))
            }
            Request::Disconnect => {
                self.leaving = true;
                self.outgoing.put(&Packet::Disconnect)
            }
        }
    }

    /// Asks for a sign of life; the one before must have come.
    fn try_it(&mut self) -> Result<(), StateError> {
        if self.tried {
            return Err(StateError::AwaitPingResp);
        }
        self.tried = true;
        self.outgoing.put(&Packet::PingReq)
    }

    fn heard(&mut self, packet: Packet) -> Result<(), StateError> {
        match packet {
            Packet::PubAck(ack) => self.acknowledged(ack.pkid, Due::Acknowledged),
            Packet::PubRec(ack) => {
                self.acknowledged(ack.pkid, Due::Received)?;
                self.outgoing.put(&Packet::PubRel(PubRel::new(ack.pkid)))
            }
            Packet::PubComp(ack) => self.acknowledged(ack.pkid, Due::Completed),
            Packet::Publish(publish) => self.told(&publish),
            Packet::SubAck(ack) => {
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    tracing::warn!(
                        "the broker does not let us hear when Home Assistant starts; its entities may be unknown until the next reading"
                    );
                }
                Ok(())
            }
            Packet::PingResp => {
                self.tried = false;
                Ok(())
            }
            _ => Err(StateError::WrongPacket),
        }
    }

    fn acknowledged(&mut self, id: u16, step: Due) -> Result<(), StateError> {
        if let Some(topic) = self.flight.acknowledged(id, step)? {
            self.connection.announced(&topic);
        }
        Ok(())
    }

    /// The one topic that we listen to says something.
    fn told(&mut self, publish: &Publish) -> Result<(), StateError> {
        // What was retained was said before we came, and our greeting has answered it.
        if !publish.retain && publish.payload.as_ref() == ONLINE.as_bytes() {
            self.connection.birth.notify_one();
        }
        match publish.qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => self
                .outgoing
                .put(&Packet::PubAck(PubAck::new(publish.pkid))),
            // Nobody has subscribed for that.
            QoS::ExactlyOnce => Err(StateError::WrongPacket),
        }
    }
}

#[cfg(test)]
mod tests;
