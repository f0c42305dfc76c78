//! What a subscriber is to know at any time: who is there, and how it is. It sends nothing.
//!
//! Nobody is to take an old value for a new one, and a subscriber shows what it has as soon as an inverter is `online`. So
//! wherever an inverter comes back, its reading is told before its `online`, and that before the collector's. One that
//! answers and whose reading does not come is held back for a moment only: then its values are missing, which is true.
//!
//! What a topic holds is not published again, until all of them are because they would expire, or because nobody knows what
//! they hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kstar_common::collect::inserted;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::reading::Shown;
use kstar_model::scalar::Kind;
use kstar_sink::event::{CollectorStatus, Price, Reachability};
use kstar_sink::health::State;
use kstar_sink::sink::SinkConfig;
use rumqttc::QoS;
use tokio::time::Instant;

use crate::MqttConfig;
use crate::flight::Batch;
use crate::message::Message;
use crate::settings::Settings;
use crate::topics::{KSTAR_SHARP_QOS, OFFLINE, ONLINE, kstar_sharp};

/// How long an inverter that answers waits for its reading, which has come a moment before or comes a moment later.
const HELD: Duration = Duration::from_secs(2);

/// How much before its time a reading is published: polls do not come to the millisecond.
const EARLY: Duration = Duration::from_millis(250);

/// How often it is told when the last reading came: who wants to know it exactly looks at the readings.
const LAST_READING: Duration = Duration::from_secs(60);

/// How long Home Assistant may take to subscribe to what it did not know.
const SUBSCRIBING: Duration = Duration::from_secs(2);

/// When it is told after an announcement what it may not have heard.
const AGAIN: Duration = Duration::from_secs(3);

/// How things are.
#[derive(Default)]
pub(crate) struct Present {
    inverters: BTreeMap<Arc<str>, Inverter>,
    /// How the sinks are, as a message has it.
    sinks: Option<String>,
    /// What electricity costs and brings.
    price: Option<[f64; 2]>,
    /// When Home Assistant was told of something that it may not have known, unless it was told again since.
    announced: Option<Instant>,
}

/// How an inverter is.
#[derive(Default)]
struct Inverter {
    /// Whether it answers, once that was told.
    reachability: Option<Reachability>,
    /// Its newest reading, and when it came.
    newest: Option<(Instant, Arc<Shown>)>,
    /// The reading that was published last, and when.
    published: Option<(Instant, Arc<Shown>)>,
    /// The reading whose values its topics hold, as far as this connection knows, and when all of them were published.
    topics: Option<(Instant, Arc<Shown>)>,
    /// Whether its `online` was told on this connection.
    is_shown: bool,
    /// When it is told even without a reading.
    held_until: Option<Instant>,
    /// When it was told on this connection when its last reading came.
    last_told: Option<Instant>,
}

impl Inverter {
    fn answers(&self) -> bool {
        self.reachability == Some(Reachability::Online)
    }

    /// Its reading, if that is how it is now.
    fn fresh(&self, settings: &Settings) -> Option<&Arc<Shown>> {
        let (at, reading) = self.newest.as_ref()?;
        (self.answers() && at.elapsed() < settings.fresh).then_some(reading)
    }

    /// When its next reading is due, unless a mode or a flag changes before.
    fn next(&self, settings: &Settings) -> Option<Instant> {
        let (at, _) = self.published.as_ref()?;
        (!settings.interval.is_zero()).then(|| *at + settings.interval)
    }

    /// Whether a reading waits for the time at which the next one is due.
    fn may_wait(&self, settings: &Settings, reading: &Shown) -> bool {
        let is_early = self
            .next(settings)
            .is_some_and(|next| Instant::now() + EARLY < next);
        let unchanged = |(_, published): &(Instant, Arc<Shown>)| {
            notable(&published.values).eq(notable(&reading.values))
        };
        is_early && self.is_shown && self.published.as_ref().is_some_and(unchanged)
    }

    /// The newest reading, if it waits.
    fn waiting(&self) -> Option<&Arc<Shown>> {
        let (_, newest) = self.newest.as_ref()?;
        let (_, published) = self.published.as_ref()?;
        (!Arc::ptr_eq(newest, published)).then_some(newest)
    }

    /// Publishes the newest reading, if it waits.
    fn bring_waiting(&mut self, settings: &Settings, batch: &mut Batch) {
        let Some(reading) = self.waiting().cloned() else {
            return;
        };
        // What cannot be written was rejected when it came.
        let _ = self.bring(settings, &reading, false, batch);
    }

    /// Publishes a reading in every form that is wanted: all values of it, or those that its topics do not hold.
    fn bring(
        &mut self,
        settings: &Settings,
        reading: &Arc<Shown>,
        all: bool,
        batch: &mut Batch,
    ) -> Result<(), serde_json::Error> {
        let now = Instant::now();
        let held = self
            .topics
            .as_ref()
            .filter(|(whole, _)| !all && now + EARLY < *whole + settings.refresh);
        let values = held.map(|(_, reading)| &reading.values);
        let whole = held.map_or(now, |(whole, _)| *whole);
        let messages = settings.topics.reading(settings.form, reading, values)?;
        batch.publish(messages, settings.qos);
        if let Some(prefix) = &settings.kstar_sharp {
            batch.publish(kstar_sharp(prefix, reading), KSTAR_SHARP_QOS);
        }
        self.published = Some((now, Arc::clone(reading)));
        self.topics = Some((whole, Arc::clone(reading)));
        Ok(())
    }

    /// Publishes all of the newest reading in our own topics, if that is how it is now; whether it is.
    fn repeat(&mut self, settings: &Settings, batch: &mut Batch) -> bool {
        let Some(reading) = self.fresh(settings).cloned() else {
            return false;
        };
        // What cannot be written was rejected when it came.
        let messages = settings.topics.reading(settings.form, &reading, None);
        batch.publish(messages.unwrap_or_default(), settings.qos);
        self.topics = Some((Instant::now(), reading));
        true
    }

    /// What its status topic says.
    fn status(&self) -> Reachability {
        if self.is_shown {
            Reachability::Online
        } else {
            Reachability::Silent
        }
    }

    /// Shows it, if it answers and its reading is told, and holds it back else.
    fn show(&mut self, is_told: bool) -> Reachability {
        self.is_shown = self.answers() && is_told;
        self.held_until = (self.answers() && !is_told).then(|| Instant::now() + HELD);
        self.status()
    }

    /// When its last reading came, for those who are told by Home Assistant.
    fn last_reading(&mut self, settings: &Settings) -> Option<Message> {
        let (_, reading) = self.newest.as_ref()?;
        let time = reading.time?;
        settings.birth.as_ref()?;
        self.last_told = Some(Instant::now());
        let topic = settings.topics.last_reading(&reading.inverter.name);
        Some(Message::retained(topic, time.to_string()))
    }
}

/// The modes and flags, whose changes do not wait.
fn notable(values: &Values) -> impl Iterator<Item = (Quantity, Option<i64>)> {
    let kind = |quantity: &Quantity| quantity.description().kind;
    Quantity::ALL
        .iter()
        .filter(move |quantity| matches!(kind(quantity), Kind::Mode(_) | Kind::Flags(_)))
        .map(|quantity| (*quantity, values.raw(*quantity)))
}

impl Present {
    /// These inverters, of which nothing is known.
    pub(crate) fn new(inverters: &[Arc<str>]) -> Self {
        let unknown = |name: &Arc<str>| (Arc::clone(name), Inverter::default());
        Self {
            inverters: inserted(inverters.iter().map(unknown)),
            ..Self::default()
        }
    }

    /// Takes over what was known on an earlier session, of the inverters that are still there.
    pub(crate) fn follow(&mut self, before: Self) {
        for (name, inverter) in before.inverters {
            if let Some(own) = self.inverters.get_mut(&name) {
                *own = inverter;
            }
        }
        (self.sinks, self.price) = (before.sinks, before.price);
    }

    /// What is told on a connection before anything else.
    pub(crate) fn greeting(&mut self, settings: &Settings) -> Batch {
        let topics = &settings.topics;
        let mut batch = Batch::default();
        self.doubt();
        for inverter in self.inverters.values_mut() {
            if inverter.repeat(settings, &mut batch) {
                inverter.published.clone_from(&inverter.topics);
            }
        }
        for (name, inverter) in &mut self.inverters {
            inverter.last_told = None;
            let reachability = inverter.show(inverter.topics.is_some());
            batch.publish([topics.inverter(name, reachability)], QoS::AtLeastOnce);
            batch.publish(inverter.last_reading(settings), settings.qos);
        }
        batch.publish(self.of_collector(settings), QoS::AtLeastOnce);
        batch.publish([topics.collector(ONLINE)], QoS::AtLeastOnce);
        batch
    }

    /// What is told when Home Assistant has started, behind what is announced.
    pub(crate) fn repeat(&mut self, settings: &Settings, batch: &mut Batch) {
        let topics = &settings.topics;
        for inverter in self.inverters.values_mut() {
            inverter.repeat(settings, batch);
        }
        let statuses = self.inverters.iter();
        let statuses = statuses.map(|(name, inverter)| topics.inverter(name, inverter.status()));
        batch.publish(statuses, settings.qos);
        batch.publish([topics.collector(ONLINE)], settings.qos);
    }

    /// Takes note that nobody knows what the topics hold: the next reading of each inverter is published whole.
    pub(crate) fn doubt(&mut self) {
        for inverter in self.inverters.values_mut() {
            inverter.topics = None;
        }
    }

    /// Takes note of a reading that is to be told.
    pub(crate) fn keep(&mut self, reading: &Arc<Shown>) {
        let name = &reading.inverter.name;
        // One of an inverter whose status nobody has told.
        let unknown = || Inverter {
            reachability: Some(Reachability::Online),
            ..Inverter::default()
        };
        let inverter = self.inverters.entry(Arc::clone(name));
        inverter.or_insert_with(unknown).newest = Some((Instant::now(), Arc::clone(reading)));
    }

    /// Tells a reading, behind what is announced because of it.
    pub(crate) fn tell(
        &mut self,
        settings: &Settings,
        reading: &Arc<Shown>,
        announced: Vec<Message>,
        batch: &mut Batch,
    ) -> Result<(), serde_json::Error> {
        let name = &reading.inverter.name;
        let known = self.inverters.get(name);
        if announced.is_empty()
            && known.is_some_and(|inverter| inverter.may_wait(settings, reading))
        {
            self.keep(reading);
            return Ok(());
        }
        self.keep(reading);
        // Who has just been told of new entities has not heard what was published before.
        let all = self.announced.is_some();
        if let Some(inverter) = self.inverters.get_mut(name) {
            let mut brought = Batch::default();
            inverter.bring(settings, reading, all, &mut brought)?;
            batch.announce(announced);
            batch.append(brought);
            if inverter
                .last_told
                .is_none_or(|at| at.elapsed() >= LAST_READING)
            {
                batch.publish(inverter.last_reading(settings), settings.qos);
            }
            if inverter.answers() && !inverter.is_shown {
                let online = settings.topics.inverter(name, inverter.show(true));
                batch.publish([online], QoS::AtLeastOnce);
            }
        }
        Ok(())
    }

    /// Takes note of whether an inverter answers; gives what is told of that now.
    pub(crate) fn status(
        &mut self,
        settings: &Settings,
        name: &Arc<str>,
        reachability: Reachability,
    ) -> Batch {
        let inverter = self.inverters.entry(Arc::clone(name)).or_default();
        inverter.reachability = Some(reachability);
        let mut batch = Batch::default();
        if reachability == Reachability::Silent {
            inverter.bring_waiting(settings, &mut batch);
            batch.publish(inverter.last_reading(settings), QoS::AtLeastOnce);
            inverter.newest = None;
            // It comes back with all of its values, which have expired meanwhile.
            inverter.topics = None;
        }
        let was_shown = inverter.is_shown;
        let is_told = was_shown || inverter.fresh(settings).is_some();
        let shown = inverter.show(is_told);
        if inverter.held_until.is_none() {
            batch.publish([settings.topics.inverter(name, shown)], QoS::AtLeastOnce);
        }
        batch
    }

    /// What is told at the end: what waits, and that everything of ours is offline.
    pub(crate) fn farewell(&mut self, settings: &Settings) -> Batch {
        let topics = &settings.topics;
        let mut batch = Batch::default();
        for (name, inverter) in &mut self.inverters {
            inverter.bring_waiting(settings, &mut batch);
            let silent = topics.inverter(name, Reachability::Silent);
            batch.publish([silent], QoS::AtLeastOnce);
        }
        batch.publish([topics.collector(OFFLINE)], QoS::AtLeastOnce);
        batch
    }

    /// Takes note that Home Assistant is told of something that it may not have known. It subscribes to that only then, so
    /// what is told at the same time is lost to it.
    pub(crate) fn announced(&mut self) {
        self.announced = Some(Instant::now());
    }

    /// When there is something to tell without anything new.
    pub(crate) fn due(&self, settings: &Settings) -> Option<Instant> {
        let inverters = self.inverters.values();
        let due = inverters.flat_map(|inverter| {
            let waiting = inverter.waiting().and_then(|_| inverter.next(settings));
            [inverter.held_until, waiting]
        });
        due.flatten()
            .chain(self.announced.map(|at| at + AGAIN))
            .min()
    }

    /// What is due: inverters that are held back no longer, and the readings that Home Assistant has not heard.
    pub(crate) fn take_due(&mut self, settings: &Settings) -> Batch {
        let now = Instant::now();
        let mut batch = Batch::default();
        if let Some(announced) = self.announced.take_if(|at| *at + AGAIN <= now) {
            for inverter in self.inverters.values_mut() {
                let newest = inverter.newest.as_ref();
                if newest.is_some_and(|(at, _)| *at < announced + SUBSCRIBING) {
                    inverter.repeat(settings, &mut batch);
                }
            }
        }
        for (name, inverter) in &mut self.inverters {
            if inverter.next(settings).is_some_and(|next| next <= now) {
                inverter.bring_waiting(settings, &mut batch);
            }
            if inverter.held_until.is_some_and(|until| until <= now) {
                let online = settings.topics.inverter(name, inverter.show(true));
                batch.publish([online], QoS::AtLeastOnce);
            }
        }
        batch
    }

    /// Takes note of how the collector is; gives what is told of that.
    pub(crate) fn collector(
        &mut self,
        settings: &Settings,
        status: &CollectorStatus,
    ) -> Result<Batch, serde_json::Error> {
        let mut sinks = status.sinks.clone();
        // What arrives is delivered.
        if let Some(own) = sinks.get_mut(MqttConfig::NAME) {
            *own = State::Up;
        }
        let sinks = Some(serde_json::to_string(&sinks)?);
        let is_new = self.sinks != sinks;
        self.sinks = sinks;
        let mut batch = Batch::default();
        let message = self.sinks_message(settings).filter(|_| is_new);
        batch.publish(message, QoS::AtLeastOnce);
        Ok(batch)
    }

    /// Takes note of what electricity costs; gives what is told of that.
    pub(crate) fn price(&mut self, settings: &Settings, price: &Price) -> Batch {
        let rates = price.0.as_ref();
        self.price = rates.map(|rates| [rates.price, rates.feed_in]);
        let mut batch = Batch::default();
        batch.publish(self.price_messages(settings), QoS::AtLeastOnce);
        batch
    }

    fn of_collector(&self, settings: &Settings) -> Vec<Message> {
        let mut messages = self.price_messages(settings);
        messages.extend(self.sinks_message(settings));
        messages
    }

    fn sinks_message(&self, settings: &Settings) -> Option<Message> {
        let sinks = self.sinks.clone()?;
        Some(Message::retained(settings.topics.sinks(), sinks))
    }

    fn price_messages(&self, settings: &Settings) -> Vec<Message> {
        let topics = [settings.topics.price(), settings.topics.feed_in_price()];
        let messages = self.price.into_iter().flat_map(|prices| {
            let pairs = topics.clone().into_iter().zip(prices);
            pairs.map(|(topic, price)| Message::retained(topic, price.to_string()))
        });
        messages.collect()
    }
}
