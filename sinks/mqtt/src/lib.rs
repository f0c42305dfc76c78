//! Readings as MQTT topics, for everything in a house that listens to a broker.
//!
//! - `broker`, `tls`: where the broker is, and how it is known to be the right one;
//! - `topics`: what is published where, and what is retained; it sends nothing;
//! - `identity`: who we are there;
//! - `limit`: what is too large for it;
//! - `present`: what a subscriber is to know, and in which order; `session`: the connection, kept up; `connection`: one connection, and the exchange on it; `flight`: what the broker
//!   has acknowledged of it; `network`: bytes and packets; `delays`: when to try again; `settings`: what a session needs
//!   to know;
//! - `reason`: what went wrong, for people;
//! - `home_assistant`: what Home Assistant is told; `announcing`: that it is, as far as the broker takes it;
//! - `mqtt5`: what is asked by MQTT 5; `probe`: a look at the broker for `kstar check --connect`.
//!
//! A subscriber wants to know how things are now. So after an outage comes the newest state of each inverter, not
//! every one that was missed; those who need them all read the history.

mod announcing;
mod broker;
mod connection;
mod delays;
mod flight;
pub mod home_assistant;
mod identity;
mod limit;
pub mod message;
mod mqtt5;
mod network;
mod present;
mod probe;
mod reason;
mod session;
mod settings;
mod tls;
mod topics;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kstar_common::finding::Finding;
use kstar_common::key::KeyError;
use kstar_common::setting::{Secret, duration};
use kstar_model::reading::{Undated, fresh_for};
use kstar_sink::async_trait;
use kstar_sink::delivery::{DeliverySettings, Keep, Policy};
use kstar_sink::event::{CollectorStatus, InverterStatus, Price};
use kstar_sink::sink::{Batch, Context, DeliveryError, Legacy, Sink, SinkConfig, Unavailable};
use rumqttc::QoS;
use serde::{Deserialize, Deserializer, de};
use tokio::task::JoinError;

pub use crate::broker::Broker;
use crate::home_assistant::{Discovery, Form as DiscoveryForm, HomeAssistantSettings};
use crate::identity::{check_client_id, default_client_id};
use crate::message::Message;
use crate::session::{FAREWELL, Session, Task};
use crate::settings::{Settings, refresh};
pub use crate::topics::Form;
use crate::topics::{Topics, check_prefix};

/// At most one reading of each inverter waits, so this is a bound on inverters that are told at once.
const BATCH: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// The part of a delivery's time that the session itself may use: it must end first, since it knows the reason.
const PATIENCE: f64 = 0.8;

/// What is said where others may read the password on its way.
const EXPOSED: &str =
    "user and password go to the broker in the clear, and it is not in your own network";

/// The longest `interval`: beyond it nobody could tell a silent collector from one that waits.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The section `[sinks.mqtt]`: topics at a broker.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// The broker: `mqtt://HOST:1883`, or `mqtts://HOST:8883` for TLS.
    pub url: Broker,
    /// The user, if the broker wants one.
    #[serde(default)]
    pub username: Option<String>,
    /// The password: a text, `{ env = "NAME" }`, `{ file = "PATH" }` or `{ credential = "NAME" }`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// What the collector is called at the broker, where no two may have the same name; `kstar-` and the name of the
    /// machine where nothing is said.
    #[serde(default)]
    pub client_id: Option<String>,
    /// What all topics begin with.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// The quality of service: 0 sends and forgets, 1 sends until it is acknowledged, 2 exactly once.
    #[serde(default = "default_qos", deserialize_with = "qos")]
    pub qos: QoS,
    /// One topic for each quantity, one JSON message, or both.
    #[serde(default)]
    pub topics: Form,
    /// How often an inverter's readings are published at the most: the newest, and at once where a mode or a flag has
    /// changed; `"0s"` for every reading.
    #[serde(default, with = "duration")]
    pub interval: Duration,
    /// The seven topics of kstar.sharp as well; for one inverter only.
    #[serde(default)]
    pub kstar_sharp_topics: bool,
    /// What those begin with.
    #[serde(default = "default_kstar_sharp_prefix")]
    pub kstar_sharp_prefix: String,
    /// The file with the certificates of those who may sign the broker's; the system's where nothing is said.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The file with our own certificate, if the broker wants one.
    #[serde(default)]
    pub client_certificate: Option<PathBuf>,
    /// The file with the key of our own certificate.
    #[serde(default)]
    pub client_key: Option<PathBuf>,
    /// What Home Assistant is told.
    #[serde(default)]
    pub home_assistant: HomeAssistantSettings,
    /// How readings are delivered.
    #[serde(default)]
    pub delivery: DeliverySettings,
}

fn default_prefix() -> String {
    "kstar".to_owned()
}

fn default_kstar_sharp_prefix() -> String {
    "sensor/inverter".to_owned()
}

fn default_qos() -> QoS {
    QoS::AtLeastOnce
}

fn qos<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QoS, D::Error> {
    match u8::deserialize(deserializer)? {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => Err(de::Error::custom(format!(
            "there is no quality of service {other}; write 0, 1 or 2"
        ))),
    }
}

impl MqttConfig {
    /// The section with nothing set but the broker.
    pub fn new(url: Broker) -> Self {
        Self {
            url,
            username: None,
            password: None,
            client_id: None,
            prefix: default_prefix(),
            qos: default_qos(),
            topics: Form::default(),
            interval: Duration::ZERO,
            kstar_sharp_topics: false,
            kstar_sharp_prefix: default_kstar_sharp_prefix(),
            ca: None,
            client_certificate: None,
            client_key: None,
            home_assistant: HomeAssistantSettings::default(),
            delivery: DeliverySettings::default(),
        }
    }

    fn client_id(&self) -> String {
        let of_machine = || default_client_id(&gethostname::gethostname().to_string_lossy());
        self.client_id.clone().unwrap_or_else(of_machine)
    }

    /// What `open` and a probe need, of a section that is valid. Reads the certificates.
    fn settings(&self, poll_interval: Duration) -> Result<Settings, KeyError> {
        let client_id = self.client_id();
        let patience = self.policy().timeout.mul_f64(PATIENCE);
        let form = self.home_assistant.discovery;
        let topics = Topics {
            prefix: self.prefix.clone(),
            client_id,
            per_quantity: self.topics.has_quantities(),
            qos: self.qos as u8,
        };
        Ok(Settings {
            broker: self.url.clone(),
            username: self.username.clone(),
            password: self.password.clone(),
            tls: self.tls()?,
            qos: self.qos,
            topics,
            form: self.topics,
            interval: self.interval,
            refresh: refresh(poll_interval, self.interval, &self.home_assistant),
            fresh: fresh_for(poll_interval),
            kstar_sharp: self
                .kstar_sharp_topics
                .then(|| self.kstar_sharp_prefix.clone()),
            birth: (form != DiscoveryForm::Off)
                .then(|| format!("{}/status", self.home_assistant.prefix)),
            patience,
        })
    }

    /// The largest message that is made for Home Assistant.
    fn largest_announcement(&self, settings: &Settings, context: &Context) -> Option<Message> {
        let context = self.paced(context);
        Discovery::expected(&self.home_assistant, settings.topics.clone(), &context)
            .into_iter()
            .max_by_key(Message::packet_size)
    }

    /// The context with what is the poll interval for those who see the topics.
    fn paced(&self, context: &Context) -> Context {
        let mut context = context.clone();
        context.poll_interval = context.poll_interval.max(self.interval);
        context
    }

    fn check_interval(&self) -> Result<(), KeyError> {
        let interval = duration::text(self.interval);
        if self.interval > LONGEST_INTERVAL {
            let message = format!("`interval = \"{interval}\"` is too long; write at most \"1h\"");
            return Err(KeyError::new("interval", message));
        }
        let expire_after = self.home_assistant.expire_after.unwrap_or_default();
        if !expire_after.is_zero() && expire_after < self.interval * 2 {
            let message = format!(
                "values are published only every {interval} and expire after {}; make `home_assistant.expire_after` at \
                 least twice `interval`, or leave it out",
                duration::text(expire_after)
            );
            return Err(KeyError::new("interval", message));
        }
        Ok(())
    }

    /// Whether others may read the password on its way.
    fn is_exposed(&self) -> bool {
        self.username.is_some() && !self.url.tls && !self.url.is_private()
    }

    fn check_user(&self) -> Result<(), KeyError> {
        match (&self.username, &self.password) {
            (None, Some(_)) => Err(KeyError::new(
                "password",
                "`password` without `username` is not allowed in MQTT; set both",
            )),
            (Some(name), _) if name.is_empty() => Err(KeyError::new(
                "username",
                "`username` is empty; leave it out if the broker wants none",
            )),
            (Some(name), _) if name.chars().any(char::is_control) => Err(KeyError::new(
                "username",
                "`username` holds a control character, which no user has; write it anew",
            )),
            _ => Ok(()),
        }
    }

    fn check_certificates(&self) -> Result<(), KeyError> {
        let without = |key: &str, other: &str| {
            let message = format!("`{key}` without `{other}` proves nothing; set both");
            Err(KeyError::new(key, message))
        };
        match (&self.client_certificate, &self.client_key) {
            (Some(_), None) => return without("client_certificate", "client_key"),
            (None, Some(_)) => return without("client_key", "client_certificate"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let of_tls = [
            ("ca", &self.ca),
            ("client_certificate", &self.client_certificate),
        ];
        match of_tls.iter().find(|(_, path)| path.is_some()) {
            Some((key, _)) if !self.url.tls => {
                let message = format!(
                    "`{key}` is set, but `url` begins with mqtt://, which is without TLS; write mqtts://"
                );
                Err(KeyError::new(*key, message))
            }
            _ => Ok(()),
        }
    }

    fn tls(&self) -> Result<Option<Arc<rustls::ClientConfig>>, KeyError> {
        let identity = self
            .client_certificate
            .as_deref()
            .zip(self.client_key.as_deref());
        self.url
            .tls
            .then(|| tls::configuration(self.ca.as_deref(), identity))
            .transpose()
    }
}

#[async_trait]
impl SinkConfig for MqttConfig {
    const NAME: &'static str = "mqtt";

    fn policy(&self) -> Policy {
        self.delivery.policy(Keep::NewestPerInverter, BATCH)
    }

    fn destination(&self, _context: &Context) -> String {
        format!("{} below {}/", self.url, self.prefix)
    }

    fn validate(&self, inverters: usize) -> Result<(), KeyError> {
        check_prefix("prefix", &self.prefix)?;
        self.home_assistant
            .check()
            .map_err(|error| error.within("home_assistant"))?;
        if self.kstar_sharp_topics {
            check_prefix("kstar_sharp_prefix", &self.kstar_sharp_prefix)?;
            if inverters > 1 {
                let message = format!(
                    "`kstar_sharp_topics` has no place for the name of an inverter, and there are {inverters}; it works with one"
                );
                return Err(KeyError::new("kstar_sharp_topics", message));
            }
        }
        self.check_interval()?;
        self.client_id.as_deref().map_or(Ok(()), check_client_id)?;
        self.check_user()?;
        self.check_certificates()
    }

    fn resolve(&self) -> Result<(), KeyError> {
        if let Some(password) = &self.password {
            password
                .reveal()
                .map_err(|reason| KeyError::new("password", reason))?;
        }
        self.tls().map(drop)
    }

    fn open(&self, context: &Context) -> Result<Box<dyn Sink>, Unavailable> {
        let settings = self
            .settings(context.poll_interval)
            .map_err(|error| Unavailable(error.message))?;
        if self.is_exposed() {
            tracing::warn!(broker = %self.url, "{EXPOSED}; use mqtts://");
        }
        let paced = self.paced(context);
        let discovery = Discovery::new(&self.home_assistant, settings.topics.clone(), &paced);
        let session = Session::new(settings, discovery, &context.inverters);
        Ok(Box::new(MqttSink {
            session: Arc::new(session),
            task: None,
        }))
    }

    fn heeds(&self, before: &Context, after: &Context) -> bool {
        let heeded = |context: &Context| {
            let fresh = fresh_for(context.poll_interval);
            let refresh = refresh(context.poll_interval, self.interval, &self.home_assistant);
            let context = self.paced(context);
            let expire_after = self.home_assistant.expire_seconds(context.poll_interval);
            let Context {
                inverters,
                state_dir,
                version,
                ..
            } = context;
            (inverters, state_dir, version, fresh, refresh, expire_after)
        };
        heeded(before) != heeded(after)
    }

    fn rename(&self, context: &Context, old: &str, new: &str) -> Result<Option<String>, String> {
        let is_known = home_assistant::rename(&context.state_dir, &self.client_id(), old, new)?;
        Ok(is_known.then(|| "what Home Assistant knows it by".to_owned()))
    }

    fn files(&self) -> Vec<PathBuf> {
        let password = self.password.as_ref().and_then(Secret::file);
        let certificates = [&self.ca, &self.client_certificate, &self.client_key];
        password
            .into_iter()
            .chain(certificates.into_iter().flatten().cloned())
            .collect()
    }

    async fn probe(&self, context: &Context) -> Vec<Finding> {
        let (section, known) = (self.clone(), context.clone());
        // Certificates and what was announced are in files.
        let settings = tokio::task::spawn_blocking(move || {
            let settings = section.settings(known.poll_interval)?;
            let announcement = section.largest_announcement(&settings, &known);
            Ok((settings, announcement))
        });
        let broken = |error: JoinError| Err(KeyError::of_section(error.to_string()));
        let (settings, announcement) = match settings.await.unwrap_or_else(broken) {
            Ok(settings) => settings,
            Err(error) => return vec![Finding::failed("section", &error.message)],
        };
        let exposed = self
            .is_exposed()
            .then(|| Finding::note("password", EXPOSED, "use mqtts://"));
        let inverter = context.inverters.first().map_or("inverter", |name| &**name);
        let mut findings = Vec::from_iter(exposed);
        findings.extend(probe::look(&settings, inverter, announcement).await);
        findings
    }
}

struct MqttSink {
    session: Arc<Session>,
    /// Begun with the first thing to tell: `open` must not touch the network, and may have no runtime around it.
    task: Option<Task>,
}

impl MqttSink {
    fn session(&mut self) -> &Session {
        if self.task.as_ref().is_none_or(|task| task.0.is_finished()) {
            let session = Arc::clone(&self.session);
            self.task = Some(Task(tokio::spawn(session.run())));
        }
        &self.session
    }
}

fn no_answer() -> DeliveryError {
    DeliveryError::unreachable(
        "the broker does not answer; its own time-out will tell that the collector is offline",
    )
}

#[async_trait]
impl Sink for MqttSink {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<(), DeliveryError> {
        let shown: Vec<_> = batch
            .iter()
            .map(|reading| Arc::new(reading.shown()))
            .collect();
        self.session().deliver(&shown).await
    }

    async fn show(&mut self, undated: &Undated) -> Result<(), DeliveryError> {
        self.session().deliver(&[Arc::new(undated.shown())]).await
    }

    async fn status(&mut self, status: &InverterStatus) -> Result<(), DeliveryError> {
        self.session().status(status).await
    }

    async fn collector(&mut self, status: &CollectorStatus) -> Result<(), DeliveryError> {
        self.session().collector(status).await
    }

    async fn price(&mut self, price: &Price) -> Result<(), DeliveryError> {
        self.session().price(price).await
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        match tokio::time::timeout(FAREWELL, self.session.farewell()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(no_answer()),
        }
    }

    async fn hand_over(self: Box<Self>) -> Result<Option<Legacy>, DeliveryError> {
        let Self { session, task } = *self;
        let retired = tokio::time::timeout(FAREWELL, session.retire(task)).await;
        let retired = retired.unwrap_or_else(|_| Err(no_answer()))?;
        Ok(Some(Box::new(retired)))
    }

    fn follow(&mut self, legacy: Legacy) {
        if let Ok(before) = legacy.downcast() {
            self.session.follow(*before);
        }
    }
}

#[cfg(test)]
mod tests;
