//! The session with the broker: one task that connects, greets, and connects anew for as long as the sink lives.
//!
//! - A connection never outlives its state: each one is a fresh event loop of rumqttc. That one forgets what was not
//!   acknowledged when it reconnects to a broker without a session, and would send it late, behind something newer,
//!   to one with a session. So nothing is left to it: what was not acknowledged on one connection has failed, and the
//!   driver delivers it, or what is newer, on the next one.
//! - Delivered means: the broker's acknowledgement of that packet id on that connection.
//! - On every connection, first comes the greeting (we are here, who else is); only then are readings let through.
//! - Whatever waits is bounded: by the room of a connection, and by one entry for each inverter.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstar_sink::reading::{Reachability, Reading};
use kstar_sink::setting::Secret;
use kstar_sink::sink::DeliveryError;
use rumqttc::{
    AsyncClient, Event, LastWill, MqttOptions, NetworkOptions, Outgoing, Packet, QoS,
    SubscribeReasonCode, TlsConfiguration, Transport,
};
use rustls::ClientConfig;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::broker::Broker;
use crate::home_assistant::Discovery;
use crate::message::Message;
use crate::reason::{self, Failure};
use crate::topics::{Form, KSTAR_SHARP_QOS, OFFLINE, ONLINE, Topics, kstar_sharp};

/// How many messages may wait for their acknowledgement: more than a reading has, so that one goes out at a stretch.
const IN_FLIGHT: u16 = 100;

/// Room in rumqttc's queue beside the messages: for a subscription and the farewell.
const BESIDE: usize = 4;

/// How long connecting may take, shorter than a delivery waits for it, so that its own reason is told.
const CONNECTING_SECONDS: u64 = 3;

/// The part of a delivery's patience that the greeting may take, for the same reason.
const GREETING: f64 = 0.75;

/// How early timers may be.
const SLACK: Duration = Duration::from_millis(20);

/// How often an idle connection is tried; one that is dead is noticed within twice that.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Largest packet that is read: the birth message of Home Assistant is one word.
const LARGEST_INCOMING: usize = 64 * 1024;

/// Largest packet that is sent: the announcement of a device with all its entities stays well below.
const LARGEST_OUTGOING: usize = 1024 * 1024;

/// The first wait before connecting again; it doubles with each further failure.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest wait before it is spread by a quarter: a broker that is back is noticed within a minute.
const LONGEST_DELAY: Duration = Duration::from_secs(48);

/// The doublings with which trouble begins that somebody must mend: brokers lock out who knocks too often.
const SLOW_BEGIN: u32 = 3;

/// A connection that lived shorter counts as a failure too: two clients with one id throw each other out for ever.
const SHORT_LIVED: Duration = Duration::from_secs(10);

/// The doublings that short-lived connections lead to at the most.
const SHORT_LIVED_LIMIT: u32 = 4;

/// How long the answer to Home Assistant's birth is spread, so that not all its devices speak at once.
const BIRTH_SPREAD: Duration = Duration::from_secs(2);

/// What a session needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) broker: Broker,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) qos: QoS,
    pub(crate) topics: Topics,
    pub(crate) form: Form,
    /// What the topics of kstar.sharp begin with, if they are wanted.
    pub(crate) kstar_sharp: Option<String>,
    /// Where Home Assistant tells that it has started, if that matters.
    pub(crate) birth: Option<String>,
    /// How long a delivery may take.
    pub(crate) patience: Duration,
}

/// The session, shared by its task and the sink.
pub(crate) struct Session {
    settings: Settings,
    link: watch::Sender<Link>,
    /// Somebody wants a connection now.
    hurry: Notify,
    /// The connection is to be given up.
    reset: Notify,
    known: Mutex<Known>,
    /// What Home Assistant is told. It writes to a file now and then, so it is used where that may block.
    discovery: Arc<Mutex<Discovery>>,
    /// Held while messages of a reading are queued, so that an older state never comes after a newer one.
    order: tokio::sync::Mutex<()>,
}

/// What is told again on a new connection.
#[derive(Default)]
struct Known {
    inverters: BTreeMap<Arc<str>, Reachability>,
    newest: BTreeMap<Arc<str>, Arc<Reading>>,
    /// When the driver was asked to come again.
    told: Option<Instant>,
}

/// How the session is connected.
#[derive(Clone)]
enum Link {
    Connecting,
    Up(Arc<Connection>),
    Down { reason: String, until: Instant },
    Ended,
}

impl Session {
    /// A session that these inverters are told in.
    pub(crate) fn new(settings: Settings, discovery: Discovery, inverters: &[Arc<str>]) -> Self {
        let silent = |name: &Arc<str>| (Arc::clone(name), Reachability::Silent);
        Self {
            settings,
            link: watch::Sender::new(Link::Connecting),
            hurry: Notify::new(),
            reset: Notify::new(),
            known: Mutex::new(Known {
                inverters: inverters.iter().map(silent).collect(),
                newest: BTreeMap::new(),
                told: None,
            }),
            discovery: Arc::new(Mutex::new(discovery)),
            order: tokio::sync::Mutex::new(()),
        }
    }

    /// Keeps connected until a farewell is sent.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut delays = Delays::default();
        loop {
            self.link.send_replace(Link::Connecting);
            let begun = self.connection().await;
            let (lived, failure) = match begun {
                Ok((_, Ended::Farewell)) => break,
                Ok((lived, Ended::Lost(failure))) => (Some(lived), failure),
                Err(failure) => (None, failure),
            };
            let delay = delays.after(lived, failure.slow);
            tracing::debug!(
                reason = failure.reason,
                ?delay,
                "no connection to the broker"
            );
            let mut hurried = std::pin::pin!(self.hurry.notified());
            hurried.as_mut().enable();
            let until = Instant::now() + delay;
            self.link.send_replace(Link::Down {
                reason: failure.reason,
                until,
            });
            tokio::select! {
                () = sleep_until(until) => {}
                () = hurried => {}
            }
        }
        self.link.send_replace(Link::Ended);
    }

    /// One connection from its beginning to its end. `Ok` if it was up for some time.
    async fn connection(&self) -> Result<(Duration, Ended), Failure> {
        let options = self.options().await?;
        let capacity = usize::from(IN_FLIGHT) + BESIDE;
        let (client, mut events) = AsyncClient::new(options, capacity);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECTING_SECONDS);
        events.set_network_options(network);
        // The first event is the broker's answer to our request to connect.
        events
            .poll()
            .await
            .map_err(|error| reason::of_connecting(&error, &self.settings))?;
        let connection = Arc::new(Connection::new(client));
        let polling = async {
            loop {
                match events.poll().await {
                    Ok(event) => {
                        if connection.saw(event).is_break() {
                            return Ended::Farewell;
                        }
                    }
                    Err(error) => return Ended::Lost(reason::of_losing(&error, &self.settings)),
                }
            }
        };
        let mut up_since = None;
        let talking = async {
            let patience = self.settings.patience.mul_f64(GREETING);
            let Ok(greeted) = timeout(patience, self.greet(&connection)).await else {
                let reason = reason::no_longer_answers(&self.settings);
                return Ended::Lost(Failure::soon(reason));
            };
            if greeted.is_ok() {
                up_since = Some(Instant::now());
                self.link.send_replace(Link::Up(Arc::clone(&connection)));
                self.answer_births(&connection).await;
            }
            std::future::pending().await
        };
        let ended = tokio::select! {
            ended = polling => ended,
            ended = talking => ended,
            () = self.reset.notified() => {
                Ended::Lost(Failure::soon(reason::no_longer_answers(&self.settings)))
            }
        };
        connection.end();
        match (up_since, ended) {
            (Some(since), ended) => Ok((since.elapsed(), ended)),
            (None, Ended::Lost(failure)) => Err(failure),
            (None, Ended::Farewell) => Ok((Duration::ZERO, Ended::Farewell)),
        }
    }

    async fn options(&self) -> Result<MqttOptions, Failure> {
        let settings = &self.settings;
        let Broker { host, port, .. } = &settings.broker;
        let mut options = MqttOptions::new(&settings.topics.client_id, host, *port);
        if let Some(username) = &settings.username {
            let password = match &settings.password {
                None => String::new(),
                Some(secret) => {
                    // Fetched anew each time: whoever mends the file need not restart the program.
                    let secret = secret.clone();
                    tokio::task::spawn_blocking(move || secret.reveal())
                        .await
                        .map_err(|_| Failure::soon("cannot read the password".to_owned()))?
                        .map_err(Failure::slow)?
                }
            };
            options.set_credentials(username, password);
        }
        if let Some(config) = &settings.tls {
            let config = TlsConfiguration::Rustls(Arc::clone(config));
            options.set_transport(Transport::tls_with_config(config));
        }
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
        Ok(options)
    }

    /// Tells the broker who is here; ends when it has it all.
    async fn greet(&self, connection: &Connection) -> Result<(), Lost> {
        let mut acks = Vec::new();
        for message in self.on_connected().await {
            acks.push(connection.publish(message, QoS::AtLeastOnce).await?);
        }
        if let Some(topic) = &self.settings.birth {
            connection.subscribe(topic)?;
        }
        all(acks).await?;
        self.discovery(Discovery::settled).await;
        Ok(())
    }

    /// What is said on every connection before anything else, in this order.
    async fn on_connected(&self) -> Vec<Message> {
        let mut messages = self.availability();
        messages.extend(self.discovery(|discovery| discovery.all()).await);
        messages
    }

    /// What is said when Home Assistant has started: what there is, whether it is there, and how it is.
    async fn on_birth(&self) -> Vec<Message> {
        let Settings { topics, form, .. } = &self.settings;
        let mut messages = self.discovery(|discovery| discovery.all()).await;
        messages.extend(self.availability());
        for reading in self.known().newest.values() {
            messages.extend(topics.reading(*form, reading).unwrap_or_default());
        }
        messages
    }

    fn availability(&self) -> Vec<Message> {
        let topics = &self.settings.topics;
        let known = self.known();
        let inverters = known
            .inverters
            .iter()
            .map(|(name, reachability)| topics.inverter(name, *reachability));
        std::iter::once(topics.collector(ONLINE))
            .chain(inverters)
            .collect()
    }

    async fn answer_births(&self, connection: &Connection) {
        loop {
            connection.birth.notified().await;
            sleep(BIRTH_SPREAD.mul_f64(fastrand::f64())).await;
            let _order = self.order.lock().await;
            for message in self.on_birth().await {
                if connection
                    .publish(message, self.settings.qos)
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    }

    /// Delivers readings: ends when the broker has acknowledged every message of them.
    pub(crate) async fn deliver(&self, readings: &[Arc<Reading>]) -> Result<(), DeliveryError> {
        self.within_patience(async |connection| {
            let published = self.publish(connection, readings).await?;
            all(published.acks).await?;
            if published.announced {
                self.discovery(Discovery::settled).await;
            }
            Ok(())
        })
        .await
    }

    /// Tells whether an inverter answers.
    pub(crate) async fn status(
        &self,
        name: &Arc<str>,
        reachability: Reachability,
    ) -> Result<(), DeliveryError> {
        // Known first: a connection that is just coming up tells it too.
        self.known()
            .inverters
            .insert(Arc::clone(name), reachability);
        self.within_patience(async |connection| {
            let message = self.settings.topics.inverter(name, reachability);
            let ack = connection.publish(message, QoS::AtLeastOnce).await?;
            Ok(all([ack]).await?)
        })
        .await
    }

    /// Takes leave: everything of ours is offline, and the broker knows it.
    pub(crate) async fn farewell(&self) -> Result<(), DeliveryError> {
        // Without a connection the broker has told it already: that is what the will is for.
        let Link::Up(connection) = self.link.borrow().clone() else {
            return Ok(());
        };
        let lost = |_| DeliveryError::unreachable("the connection has broken off");
        let topics = &self.settings.topics;
        let mut messages: Vec<Message> = self
            .known()
            .inverters
            .keys()
            .map(|name| topics.inverter(name, Reachability::Silent))
            .collect();
        messages.push(topics.collector(OFFLINE));
        let mut acks = Vec::new();
        for message in messages {
            let ack = connection.publish(message, QoS::AtLeastOnce).await;
            acks.push(ack.map_err(lost)?);
        }
        all(acks).await.map_err(lost)?;
        let mut link = self.link.subscribe();
        connection.disconnect().map_err(lost)?;
        // However it ends now: everything is said.
        let _ = link.wait_for(|link| !matches!(link, Link::Up(_))).await;
        Ok(())
    }

    async fn publish(
        &self,
        connection: &Connection,
        readings: &[Arc<Reading>],
    ) -> Result<Published, Undelivered> {
        let settings = &self.settings;
        let mut published = Published::default();
        let acks = &mut published.acks;
        for reading in readings {
            let messages = settings
                .topics
                .reading(settings.form, reading)
                .map_err(|error| Undelivered::Refused(error.to_string()))?;
            let _order = self.order.lock().await;
            for message in self.on_reading(reading) {
                acks.push(connection.publish(message, QoS::AtLeastOnce).await?);
            }
            let announcements = self.announcements(reading).await;
            for message in announcements {
                published.announced = true;
                acks.push(connection.publish(message, QoS::AtLeastOnce).await?);
            }
            for message in messages {
                acks.push(connection.publish(message, settings.qos).await?);
            }
            if let Some(prefix) = &settings.kstar_sharp {
                for message in kstar_sharp(prefix, reading) {
                    acks.push(connection.publish(message, KSTAR_SHARP_QOS).await?);
                }
            }
        }
        Ok(published)
    }

    /// What Home Assistant must be told because of a reading: nothing, as a rule, and that is seen without a thread that
    /// may block.
    async fn announcements(&self, reading: &Arc<Reading>) -> Vec<Message> {
        let unlocked = self.discovery.try_lock();
        if unlocked.is_ok_and(|discovery| discovery.knows_all_of(reading)) {
            return Vec::new();
        }
        let observed = Arc::clone(reading);
        self.discovery(move |discovery| discovery.observe(&observed))
            .await
    }

    /// Asks or tells what Home Assistant knows of us, on a thread that may block.
    async fn discovery<T: Default + Send + 'static>(
        &self,
        act: impl FnOnce(&mut Discovery) -> T + Send + 'static,
    ) -> T {
        let discovery = Arc::clone(&self.discovery);
        let act = move || act(&mut discovery.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(act).await.unwrap_or_default()
    }

    /// What follows from a reading beside its values.
    fn on_reading(&self, reading: &Arc<Reading>) -> Vec<Message> {
        let name = &reading.inverter.name;
        let mut known = self.known();
        known.newest.insert(Arc::clone(name), Arc::clone(reading));
        let mut messages = Vec::new();
        if !known.inverters.contains_key(name) {
            // A reading of one whose status nobody has told.
            known
                .inverters
                .insert(Arc::clone(name), Reachability::Online);
            messages.push(self.settings.topics.inverter(name, Reachability::Online));
        }
        messages
    }

    /// Does something on a connection that is up, and gives the connection up if it takes too long.
    async fn within_patience(
        &self,
        act: impl AsyncFnOnce(&Connection) -> Result<(), Undelivered>,
    ) -> Result<(), DeliveryError> {
        let deadline = Instant::now() + self.settings.patience;
        let connection = tokio::select! {
            connection = self.up() => connection?,
            () = sleep_until(deadline) => {
                return Err(DeliveryError::unreachable(format!(
                    "no connection to {} yet",
                    self.settings.broker
                )));
            }
        };
        match tokio::time::timeout_at(deadline, act(&connection)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Undelivered::Refused(reason))) => Err(DeliveryError::rejected(reason)),
            Ok(Err(Undelivered::Lost)) => Err(self.why_lost(&connection).await),
            Err(_) => {
                self.reset.notify_waiters();
                Err(self.why_lost(&connection).await)
            }
        }
    }

    /// The connection, as soon as there is one, or the reason why there is none.
    async fn up(&self) -> Result<Arc<Connection>, DeliveryError> {
        let mut link = self.link.subscribe();
        let mut hurried = false;
        loop {
            let now = link.borrow_and_update().clone();
            match now {
                Link::Up(connection) => return Ok(connection),
                // Just about to try.
                Link::Connecting => {}
                Link::Down { until, .. } if until <= Instant::now() => {}
                // The driver comes when it was told to, or earlier if it is draining at a stop: worth a try at once.
                Link::Down { .. } if !hurried && self.is_early() => {
                    hurried = true;
                    self.hurry.notify_waiters();
                }
                Link::Down { reason, until } => return Err(self.unreachable(reason, until)),
                Link::Ended => return Err(DeliveryError::unreachable("the session has ended")),
            }
            if link.changed().await.is_err() {
                return Err(DeliveryError::unreachable("the session has ended"));
            }
        }
    }

    /// Whether it is too early for what we have told the driver last.
    fn is_early(&self) -> bool {
        let told = self.known().told;
        told.is_some_and(|told| Instant::now() + SLACK < told)
    }

    /// Why nothing can be delivered, and when to come again.
    fn unreachable(&self, reason: String, until: Instant) -> DeliveryError {
        self.known().told = Some(until);
        DeliveryError::Unreachable {
            reason,
            retry_after: Some(until.saturating_duration_since(Instant::now())),
        }
    }

    /// Why a connection was lost, once that is known.
    async fn why_lost(&self, connection: &Arc<Connection>) -> DeliveryError {
        let mut link = self.link.subscribe();
        loop {
            let now = link.borrow_and_update().clone();
            match now {
                Link::Down { reason, until } => return self.unreachable(reason, until),
                Link::Up(other) if Arc::ptr_eq(&other, connection) => {}
                Link::Up(_) | Link::Connecting | Link::Ended => {
                    return DeliveryError::unreachable("the connection to the broker was lost");
                }
            }
            if link.changed().await.is_err() {
                return DeliveryError::unreachable("the session has ended");
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it holds the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a connection ended.
enum Ended {
    /// We took leave.
    Farewell,
    /// It broke.
    Lost(Failure),
}

/// Messages that are under way.
#[derive(Default)]
struct Published {
    acks: Vec<Ack>,
    /// Whether Home Assistant was told of something new.
    announced: bool,
}

/// Why something was not delivered.
enum Undelivered {
    Lost,
    Refused(String),
}

/// The connection has ended, and with it everything that was not acknowledged.
#[derive(Debug)]
struct Lost;

impl From<Lost> for Undelivered {
    fn from(_: Lost) -> Self {
        Self::Lost
    }
}

/// What becomes ready when the broker has acknowledged a message.
type Ack = oneshot::Receiver<()>;

async fn all(acks: impl IntoIterator<Item = Ack>) -> Result<(), Lost> {
    for ack in acks {
        ack.await.map_err(|_| Lost)?;
    }
    Ok(())
}

/// One connection that is up.
struct Connection {
    client: AsyncClient,
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    /// Home Assistant has started.
    birth: Notify,
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

struct Waiter {
    acknowledged: oneshot::Sender<()>,
    _room: OwnedSemaphorePermit,
}

impl Waiter {
    fn acknowledge(self) {
        // Whoever has given up waiting hears nothing.
        let _ = self.acknowledged.send(());
    }
}

impl Connection {
    fn new(client: AsyncClient) -> Self {
        Self {
            client,
            room: Arc::new(Semaphore::new(IN_FLIGHT.into())),
            waiting: Mutex::default(),
            birth: Notify::new(),
        }
    }

    /// Queues a message, waiting for room; what it returns is ready when the broker has it.
    async fn publish(&self, message: Message, qos: QoS) -> Result<Ack, Lost> {
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
            _room: room,
        });
        Ok(ack)
    }

    fn subscribe(&self, topic: &str) -> Result<(), Lost> {
        self.client
            .try_subscribe(topic, QoS::AtLeastOnce)
            .map_err(|_| Lost)
    }

    fn disconnect(&self) -> Result<(), Lost> {
        self.client.try_disconnect().map_err(|_| Lost)
    }

    /// Takes note of what the event loop has done; breaks after the farewell.
    fn saw(&self, event: Event) -> std::ops::ControlFlow<()> {
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
        drop(waiting);
        if let Some(waiter) = acknowledged {
            waiter.acknowledge();
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Everything that was not acknowledged has failed.
    fn end(&self) {
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

/// How long to wait before connecting again.
#[derive(Default)]
struct Delays {
    /// Attempts in a row that failed.
    failed: u32,
    /// Connections in a row that lived only shortly.
    short_lived: u32,
}

impl Delays {
    /// The delay after an attempt that failed, or after a connection that lived so long.
    fn after(&mut self, lived: Option<Duration>, slow: bool) -> Duration {
        let doublings = match lived {
            None => {
                let begin = if slow { SLOW_BEGIN } else { 0 };
                self.failed = self.failed.saturating_add(1);
                self.failed - 1 + begin.min(u32::MAX - self.failed)
            }
            Some(lived) => {
                self.failed = 0;
                self.short_lived = match lived {
                    lived if lived < SHORT_LIVED => (self.short_lived + 1).min(SHORT_LIVED_LIMIT),
                    _ => 0,
                };
                self.short_lived.saturating_sub(1)
            }
        };
        let delay = FIRST_DELAY
            .saturating_mul(1 << doublings.min(10))
            .min(LONGEST_DELAY);
        delay.mul_f64(0.75 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_and_stays_below_a_minute() {
        let mut delays = Delays::default();
        let mut expected = FIRST_DELAY;
        for _ in 0..20 {
            let delay = delays.after(None, false);
            assert!(delay >= expected.mul_f64(0.75) && delay <= expected.mul_f64(1.25));
            expected = (expected * 2).min(LONGEST_DELAY);
        }
        assert!(expected.mul_f64(1.25) <= Duration::from_secs(60));
    }

    #[test]
    fn what_somebody_must_mend_is_not_tried_in_a_hurry() {
        assert!(Delays::default().after(None, true) >= Duration::from_secs(3));
    }

    #[test]
    fn connections_that_live_shortly_are_not_renewed_at_once_for_ever() {
        let mut delays = Delays::default();
        let short = Some(Duration::from_secs(1));
        for _ in 0..5 {
            delays.after(short, false);
        }
        assert!(delays.after(short, false) >= Duration::from_millis(1500));
        assert!(delays.after(Some(SHORT_LIVED), false) < Duration::from_secs(1));
    }
}
