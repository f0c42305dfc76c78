//! The session with the broker: one task that connects, greets, and connects anew for as long as the sink lives.
//!
//! - A connection never outlives its state: nothing of it is sent again on the next one, where it would come late, behind
//!   something newer. What was not acknowledged on one connection has failed, and the driver delivers it, or what is
//!   newer, on the next one.
//! - Delivered means: the broker's acknowledgement of that packet id on that connection.
//! - On every connection, first comes the greeting (who is here, and how it is), and what Home Assistant must know is on
//!   its way; only then are readings let through. They wait for no acknowledgement of an announcement: a broker to which
//!   it is too large still gets them.
//! - Whatever waits is bounded: by the room of a connection, and by one entry for each inverter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstar_common::due::at;
use kstar_model::reading::Shown;
use kstar_sink::event::{CollectorStatus, InverterStatus, Price};
use kstar_sink::sink::DeliveryError;
use rumqttc::ConnectionError;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval_at, sleep, sleep_until, timeout};

use crate::announcing::{Announced, Announcing};
use crate::connection::{Ack, Connection, Lost, Undelivered, login};
use crate::delays::Delays;
use crate::flight::Batch;
use crate::home_assistant::Discovery;
use crate::identity::Identity;
use crate::limit;
use crate::network::Network;
use crate::present::Present;
use crate::reason::{self, Failure};
use crate::settings::Settings;

mod parting;

pub(crate) use self::parting::{FAREWELL, Task};

use self::parting::Retired;

/// The part of a delivery's patience that the greeting may take, so that its own reason is told.
const GREETING: f64 = 0.75;

/// How early timers may be.
const SLACK: Duration = Duration::from_millis(20);

/// How long the answer to Home Assistant's birth is spread, so that not all its devices speak at once.
const BIRTH_SPREAD: Duration = Duration::from_secs(2);

/// How often Home Assistant is told again what it knows: a device that was deleted there comes back within that time.
const TOLD_AGAIN: Duration = Duration::from_secs(60 * 60);

/// The session, shared by its task and the sink.
pub(crate) struct Session {
    settings: Settings,
    link: watch::Sender<Link>,
    /// Somebody wants a connection now.
    hurry: Notify,
    /// The connection is to be given up.
    reset: Notify,
    known: Mutex<Known>,
    /// An inverter waits for its reading, or something was announced.
    news: Notify,
    announcing: Announcing,
    /// Held while messages of a reading are queued, so that an older state never comes after a newer one.
    order: Arc<tokio::sync::Mutex<()>>,
}

/// What is told again on a new connection.
struct Known {
    present: Present,
    /// The session whose place this one takes.
    before: Option<Retired>,
    /// When the driver was asked to come again.
    told: Option<Instant>,
    /// Why there was no connection the last time.
    failure: Option<Failure>,
}

/// How the session is connected.
#[derive(Clone)]
enum Link {
    Connecting,
    Up(Arc<Connection>),
    Down { failure: Failure, until: Instant },
    Ended,
}

impl Session {
    /// A session that these inverters are told in.
    pub(crate) fn new(settings: Settings, discovery: Discovery, inverters: &[Arc<str>]) -> Self {
        Self {
            settings,
            link: watch::Sender::new(Link::Connecting),
            hurry: Notify::new(),
            reset: Notify::new(),
            known: Mutex::new(Known {
                present: Present::new(inverters),
                before: None,
                told: None,
                failure: None,
            }),
            news: Notify::new(),
            announcing: Announcing::new(discovery),
            order: Arc::default(),
        }
    }

    /// Keeps connected until a farewell is sent.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut delays = Delays::default();
        let before = self.known().before.take();
        if let Some(before) = before {
            before.leave().await;
        }
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
            self.known().failure = Some(failure.clone());
            self.link.send_replace(Link::Down { failure, until });
            tokio::select! {
                () = sleep_until(until) => {}
                () = hurried => {}
            }
        }
        self.link.send_replace(Link::Ended);
    }

    /// One connection from its beginning to its end. `Ok` if it was up for some time.
    async fn connection(&self) -> Result<(Duration, Ended), Failure> {
        let settings = &self.settings;
        let identity = Identity::fetch(settings, settings.topics.client_id.clone()).await?;
        if self.announcing.limit().is_suspected() {
            let told = limit::ask(settings, &identity).await;
            self.announcing.limit().told(told);
        }
        let network = Network::connect(settings, login(&identity, settings))
            .await
            .map_err(|error| reason::of_connecting(&error, settings))?;
        let (connection, requests) = Connection::new();
        let connection = Arc::new(connection);
        let exchanging = async {
            match connection.run(requests, network).await {
                Ok(()) => Ended::Farewell,
                Err(error) => Ended::Lost(self.lost(&error, &connection)),
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
                // It ends with the connection, and that has its reason.
                let _ = self.keep_told(&connection).await;
            }
            std::future::pending().await
        };
        let ended = tokio::select! {
            ended = exchanging => ended,
            ended = talking => ended,
            () = self.reset.notified() => {
                Ended::Lost(Failure::soon(reason::no_longer_answers(&self.settings)))
            }
        };
        match (up_since, ended) {
            (Some(since), ended) => Ok((since.elapsed(), ended)),
            (None, Ended::Lost(failure)) => Err(failure),
            (None, Ended::Farewell) => Ok((Duration::ZERO, Ended::Farewell)),
        }
    }

    /// Why a connection was lost; an announcement that was on its way is suspected.
    fn lost(&self, error: &ConnectionError, connection: &Connection) -> Failure {
        let announcing = connection.announcing().filter(|_| reason::is_closed(error));
        match announcing {
            Some((topic, size)) => {
                self.announcing.limit().suspect(&topic);
                reason::of_announcing(&topic, size, &self.settings)
            }
            None => reason::of_losing(error, &self.settings),
        }
    }

    /// What is said on every connection before anything else: who is here, which the broker then has, and what Home
    /// Assistant must know, which is on its way.
    async fn greet(&self, connection: &Connection) -> Result<(), Lost> {
        let greeting = self.known().present.greeting(&self.settings);
        let greeted = connection.send(greeting).await?;
        if let Some(topic) = &self.settings.birth {
            connection.subscribe(topic.clone()).await?;
        }
        greeted.all().await?;
        self.announce_again(connection).await?;
        self.announces();
        Ok(())
    }

    /// Takes note of it once the broker has every announcement.
    async fn settle(&self, connection: &Connection) {
        let _order = self.order.lock().await;
        self.announcing.settle(connection).await;
    }

    /// Tells Home Assistant again when it has started and once an hour, for as long as the connection lives.
    async fn keep_told(&self, connection: &Connection) -> Result<(), Lost> {
        let mut again = interval_at(Instant::now() + TOLD_AGAIN, TOLD_AGAIN);
        loop {
            tokio::select! {
                () = connection.announced.notified() => self.settle(connection).await,
                () = connection.birth.notified() => {
                    sleep(BIRTH_SPREAD.mul_f64(fastrand::f64())).await;
                    let _order = self.order.lock().await;
                    self.answer_birth(connection).await?;
                }
                _ = again.tick() => self.announce_again(connection).await?,
                () = self.due() => {
                    let _order = self.order.lock().await;
                    let due = self.known().present.take_due(&self.settings);
                    connection.send(due).await?;
                }
            }
        }
    }

    /// Hands over all that Home Assistant is to know.
    async fn announce_again(&self, connection: &Connection) -> Result<(), Lost> {
        let _order = self.order.lock().await;
        let mut batch = Batch::default();
        batch.announce(self.announcing.all().await);
        connection.send(batch).await.map(drop)
    }

    /// Says what there is, how it is, and whether it is there.
    async fn answer_birth(&self, connection: &Connection) -> Result<(), Lost> {
        let mut batch = Batch::default();
        batch.announce(self.announcing.all().await);
        self.known().present.repeat(&self.settings, &mut batch);
        self.announces();
        connection.send(batch).await.map(drop)
    }

    /// Home Assistant is told of what it may not have known.
    fn announces(&self) {
        if self.settings.birth.is_some() {
            self.known().present.announced();
            self.news.notify_one();
        }
    }

    /// Waits until something of what is known is due.
    async fn due(&self) {
        loop {
            let due = self.known().present.due(&self.settings);
            tokio::select! {
                () = at(due) => return,
                () = self.news.notified() => {}
            }
        }
    }

    /// Delivers readings: ends when the broker has acknowledged every message of them.
    pub(crate) async fn deliver(&self, readings: &[Arc<Shown>]) -> Result<(), DeliveryError> {
        // Known first: a connection that is just coming up tells them too, unless they bring something to announce before.
        for reading in readings.iter().filter(|one| self.announcing.knows(one)) {
            self.known().present.keep(reading);
        }
        let delivered = self
            .within_patience(async |connection| {
                Ok(self.publish(connection, readings).await?.all().await?)
            })
            .await;
        if delivered.is_err() {
            self.known().present.doubt();
        }
        delivered
    }

    /// Tells whether an inverter answers, and what is known of it.
    pub(crate) async fn status(&self, status: &InverterStatus) -> Result<(), DeliveryError> {
        let name = &status.inverter.name;
        let told = self
            .known()
            .present
            .status(&self.settings, name, status.reachability);
        let announced = self.announcing.status(status).await;
        self.news.notify_one();
        self.tell(announced, told).await
    }

    /// Tells how the collector is.
    pub(crate) async fn collector(&self, status: &CollectorStatus) -> Result<(), DeliveryError> {
        let told = self.known().present.collector(&self.settings, status);
        let told = told.map_err(|error| DeliveryError::rejected(error.to_string()))?;
        let announced = self.announcing.collector(status).await;
        self.tell(announced, told).await
    }

    /// Tells what electricity costs.
    pub(crate) async fn price(&self, price: &Price) -> Result<(), DeliveryError> {
        let told = self.known().present.price(&self.settings, price);
        let announced = self.announcing.price(price).await;
        self.tell(announced, told).await
    }

    /// Announces, and tells what is known already, so that a connection that is just coming up tells it too.
    async fn tell(&self, announced: Announced, told: Batch) -> Result<(), DeliveryError> {
        if announced.is_empty() && told.is_empty() {
            return Ok(());
        }
        self.within_patience(async |connection| {
            let _order = self.order.lock().await;
            let mut batch = Batch::default();
            batch.announce(self.announcing.untold(announced));
            batch.append(told);
            Ok(connection.send(batch).await?.all().await?)
        })
        .await
    }

    /// Hands readings over, all that each of them brings at one stretch.
    async fn publish(
        &self,
        connection: &Connection,
        readings: &[Arc<Shown>],
    ) -> Result<Ack, Undelivered> {
        let _order = self.order.lock().await;
        let mut batch = Batch::default();
        for reading in readings {
            let announced = self.announcing.because_of(reading).await;
            if !announced.is_empty() {
                self.announces();
            }
            self.known()
                .present
                .tell(&self.settings, reading, announced, &mut batch)
                .map_err(|error| Undelivered::Refused(error.to_string()))?;
        }
        if !self.settings.interval.is_zero() {
            // Something may wait now.
            self.news.notify_one();
        }
        Ok(connection.send(batch).await?)
    }

    /// Does something on a connection that is up, and gives the connection up if it takes too long.
    async fn within_patience(
        &self,
        act: impl AsyncFnOnce(&Connection) -> Result<(), Undelivered>,
    ) -> Result<(), DeliveryError> {
        let deadline = Instant::now() + self.settings.patience;
        let connection = tokio::select! {
            connection = self.up() => connection?,
            () = sleep_until(deadline) => return Err(self.still_down()),
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
                Link::Down { failure, until } => return Err(self.down(failure, until)),
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
    fn down(&self, failure: Failure, until: Instant) -> DeliveryError {
        self.known().told = Some(until);
        let retry_after = Some(until.saturating_duration_since(Instant::now()));
        let Failure { reason, slow } = failure;
        if slow {
            return DeliveryError::Refused {
                reason,
                retry_after,
            };
        }
        DeliveryError::Unreachable {
            reason,
            retry_after,
        }
    }

    /// Why there is no connection while the next one is on its way: as the last time.
    fn still_down(&self) -> DeliveryError {
        let failure = self.known().failure.clone();
        DeliveryError::unreachable(failure.map_or_else(
            || format!("no connection to {} yet", self.settings.broker),
            |failure| failure.reason,
        ))
    }

    /// Why a connection was lost, once that is known.
    async fn why_lost(&self, connection: &Arc<Connection>) -> DeliveryError {
        let mut link = self.link.subscribe();
        loop {
            let now = link.borrow_and_update().clone();
            match now {
                Link::Down { failure, until } => return self.down(failure, until),
                Link::Up(other) if Arc::ptr_eq(&other, connection) => {}
                Link::Up(_) | Link::Connecting | Link::Ended => return self.still_down(),
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
