//! One connection that is up: what is queued on it, and what the broker has acknowledged.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, LastWill, MqttOptions, Outgoing, Packet, QoS, SubscribeReasonCode,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::identity::Identity;
use crate::message::Message;
use crate::settings::Settings;
use crate::topics::{OFFLINE, ONLINE};

/// How many messages may wait for their acknowledgement: more than a reading has, so that one goes out at a stretch.
pub(crate) const IN_FLIGHT: u16 = 160;

/// Largest packet that is sent: the announcement of a device with all its entities stays well below.
pub(crate) const LARGEST_OUTGOING: usize = 1024 * 1024;

/// How often an idle connection is tried; one that is dead is noticed within twice that.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Largest packet that is read: the birth message of Home Assistant is one word.
const LARGEST_INCOMING: usize = 64 * 1024;

/// What a connection begins with: should it break, the broker tells that we are offline.
pub(crate) fn options(identity: &Identity, settings: &Settings) -> MqttOptions {
    let mut options = identity.options(settings);
    let will = settings.topics.collector(OFFLINE);
    options
        .set_last_will(LastWill::new(
            will.topic,
            will.payload,
            QoS::AtLeastOnce,
            will.retain,
        ))
        .set_clean_session(true)
        .set_keep_alive(KEEP_ALIVE)
        .set_inflight(IN_FLIGHT)
        .set_max_packet_size(LARGEST_INCOMING, LARGEST_OUTGOING);
    options
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

/// What becomes ready when the broker has acknowledged a message.
pub(crate) type Ack = oneshot::Receiver<()>;

pub(crate) async fn all(acks: impl IntoIterator<Item = Ack>) -> Result<(), Lost> {
    for ack in acks {
        ack.await.map_err(|_| Lost)?;
    }
    Ok(())
}

/// One connection that is up.
pub(crate) struct Connection {
    client: AsyncClient,
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    /// Home Assistant has started.
    pub(crate) birth: Notify,
    /// The broker has acknowledged every announcement.
    pub(crate) announced: Notify,
}

/// Messages without an acknowledgement.
#[derive(Default)]
struct Waiting {
    /// Given to rumqttc, in the order in which it will send them; it has given them no packet id yet.
    queued: VecDeque<Waiter>,
    /// Sent, by packet id.
    sent: HashMap<u16, Waiter>,
    ended: bool,
}

impl Waiting {
    /// The topic and the size of the largest announcement among them.
    fn announcing(&self) -> Option<&(String, usize)> {
        self.queued
            .iter()
            .chain(self.sent.values())
            .filter_map(|waiter| waiter.announcing.as_ref())
            .max_by_key(|(_, size)| *size)
    }
}

struct Waiter {
    acknowledged: oneshot::Sender<()>,
    /// The topic and the size of an announcement.
    announcing: Option<(String, usize)>,
    _room: OwnedSemaphorePermit,
}

impl Waiter {
    fn acknowledge(self) {
        // Whoever has given up waiting hears nothing.
        let _ = self.acknowledged.send(());
    }
}

impl Connection {
    pub(crate) fn new(client: AsyncClient) -> Self {
        Self {
            client,
            room: Arc::new(Semaphore::new(IN_FLIGHT.into())),
            waiting: Mutex::default(),
            birth: Notify::new(),
            announced: Notify::new(),
        }
    }

    /// Queues a message, waiting for room; what it returns is ready when the broker has it.
    pub(crate) async fn publish(&self, message: Message, qos: QoS) -> Result<Ack, Lost> {
        self.queue(message, qos, None).await
    }

    /// Queues an announcement, waiting for room. That the broker has it is nobody's to wait for.
    pub(crate) async fn announce(&self, message: Message) -> Result<(), Lost> {
        let announcing = Some((message.topic.clone(), message.packet_size()));
        let queued = self.queue(message, QoS::AtLeastOnce, announcing).await;
        queued.map(drop)
    }

    /// The largest announcement that is not acknowledged.
    pub(crate) fn announcing(&self) -> Option<(String, usize)> {
        self.waiting().announcing().cloned()
    }

    async fn queue(
        &self,
        message: Message,
        qos: QoS,
        announcing: Option<(String, usize)>,
    ) -> Result<Ack, Lost> {
        let room = Arc::clone(&self.room).acquire_owned();
        let room = room.await.map_err(|_| Lost)?;
        let Message {
            topic,
            payload,
            retain,
        } = message;
        let (acknowledged, ack) = oneshot::channel();
        // Under one lock, so that our order is rumqttc's.
        let mut waiting = self.waiting();
        if waiting.ended {
            return Err(Lost);
        }
        self.client
            .try_publish(topic, qos, retain, payload)
            .map_err(|_| Lost)?;
        waiting.queued.push_back(Waiter {
            acknowledged,
            announcing,
            _room: room,
        });
        Ok(ack)
    }

    pub(crate) fn subscribe(&self, topic: &str) -> Result<(), Lost> {
        self.client
            .try_subscribe(topic, QoS::AtLeastOnce)
            .map_err(|_| Lost)
    }

    pub(crate) fn disconnect(&self) -> Result<(), Lost> {
        self.client.try_disconnect().map_err(|_| Lost)
    }

    /// Takes note of what the event loop has done; breaks after the farewell.
    pub(crate) fn saw(&self, event: Event) -> std::ops::ControlFlow<()> {
        let mut waiting = self.waiting();
        let acknowledged = match event {
            Event::Outgoing(Outgoing::Publish(id)) => {
                let waiter = waiting.queued.pop_front();
                match waiter {
                    // Without an acknowledgement to come, it is delivered when it is written.
                    waiter if id == 0 => waiter,
                    Some(waiter) => waiting.sent.insert(id, waiter).and(None),
                    None => None,
                }
            }
            Event::Incoming(Packet::PubAck(ack)) => waiting.sent.remove(&ack.pkid),
            Event::Incoming(Packet::PubComp(ack)) => waiting.sent.remove(&ack.pkid),
            Event::Incoming(Packet::Publish(publish)) => {
                // What was retained was said before we came, and our greeting has answered it.
                if !publish.retain && publish.payload.as_ref() == ONLINE.as_bytes() {
                    self.birth.notify_one();
                }
                None
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    tracing::warn!(
                        "the broker does not let us hear when Home Assistant starts; its entities may be unknown until the next reading"
                    );
                }
                None
            }
            Event::Outgoing(Outgoing::Disconnect) => return std::ops::ControlFlow::Break(()),
            _ => None,
        };
        let announced = acknowledged
            .as_ref()
            .is_some_and(|waiter| waiter.announcing.is_some())
            && waiting.announcing().is_none();
        drop(waiting);
        if let Some(waiter) = acknowledged {
            waiter.acknowledge();
        }
        if announced {
            self.announced.notify_one();
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Everything that was not acknowledged has failed.
    pub(crate) fn end(&self) {
        let mut waiting = self.waiting();
        waiting.ended = true;
        waiting.queued.clear();
        waiting.sent.clear();
        drop(waiting);
        self.room.close();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
