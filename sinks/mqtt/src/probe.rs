//! A look at the broker for somebody who waits: step by step what the sink does at its start, and whether what is
//! published arrives.
//!
//! MQTT 3.1.1, which the sink speaks, acknowledges what the broker throws away for want of a right. So a message that
//! nobody retains is published below the prefix and waited for as a subscriber; where it does not come back, a broker
//! that speaks MQTT 5 is asked, which says why. The client has an id of its own, so that a collector is not thrown out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kstar_sink::finding::Finding;
use rumqttc::{
    AsyncClient, ConnectionError, Event, MqttOptions, Packet, QoS, SubscribeFilter,
    SubscribeReasonCode, TlsConfiguration, Transport, v5,
};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::reason;
use crate::session::Settings;

/// How long each step may take: a broker at home needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks at the broker, as far as one step after the other succeeds. `inverter` is one whose topics are ours.
pub(crate) async fn look(settings: &Settings, inverter: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(wrong) = look_at(settings, inverter, &mut findings).await {
        findings.push(wrong);
    }
    findings
}

async fn look_at(
    settings: &Settings,
    inverter: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), Finding> {
    findings.extend(find(settings).await?);
    let id = format!(
        "{}-check-{:08x}",
        settings.topics.client_id,
        fastrand::u32(..)
    );
    let identity = Identity::new(settings, id).await?;
    let (client, mut events) = AsyncClient::new(identity.options(settings), 10);
    match timeout(PATIENCE, events.poll()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(refused(&error, settings, findings)),
        Err(_) => {
            return Err(refused(
                &ConnectionError::NetworkTimeout,
                settings,
                findings,
            ));
        }
    }
    if settings.tls.is_some() {
        findings.push(Finding::good("TLS", "its certificate is the right one"));
    }
    let as_whom = match &settings.username {
        Some(user) => format!("the user `{user}` is let in"),
        None => "everybody is let in".to_owned(),
    };
    findings.push(Finding::good("login", as_whom));

    let attempts = attempts(settings, inverter);
    let echoes = listen(&client, &mut events, settings, &attempts).await?;
    drop(client);
    for attempt in &attempts {
        let told = if echoes.came.contains(&attempt.topic) {
            Told::Taken
        } else {
            ask_by_mqtt5(settings, &identity, &attempt.topic).await
        };
        findings.push(attempt.finding(&told, settings));
    }
    if let Some(topic) = &settings.birth {
        findings.push(home_assistant(topic, echoes.birth));
    }
    Ok(())
}

/// The way to the broker: its name, and whether anything listens.
async fn find(settings: &Settings) -> Result<Vec<Finding>, Finding> {
    let broker = &settings.broker;
    let because = |about, error| {
        let failure = reason::of_connecting(&ConnectionError::Io(error), settings);
        Finding::failed(about, &failure.reason)
    };
    let addresses: Vec<_> = timeout(PATIENCE, lookup_host((broker.host.as_str(), broker.port)))
        .await
        .unwrap_or_else(|_| {
            Err(std::io::Error::other(
                "failed to lookup address: no answer in time",
            ))
        })
        .map_err(|error| because("name", error))?
        .collect();
    let mut findings = Vec::new();
    if let Some(first) = addresses.first()
        && first.ip().to_string() != broker.host
    {
        let said = format!("{} is {}", broker.host, first.ip());
        findings.push(Finding::good("name", said));
    }
    timeout(PATIENCE, TcpStream::connect(&addresses[..]))
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|error| because("connection", error))?;
    findings.push(Finding::good("connection", format!("{broker} listens")));
    Ok(findings)
}

/// Why the broker does not let us in, and at which step.
fn refused(error: &ConnectionError, settings: &Settings, findings: &mut Vec<Finding>) -> Finding {
    let reason = reason::of_connecting(error, settings).reason;
    let about = match (error, settings.tls.is_some()) {
        (ConnectionError::ConnectionRefused(_), true) => {
            findings.push(Finding::good("TLS", "its certificate is the right one"));
            "login"
        }
        (ConnectionError::ConnectionRefused(_), false) => "login",
        (_, true) => "TLS",
        (_, false) => "protocol",
    };
    Finding::failed(about, &reason)
}

/// Who we are.
struct Identity {
    id: String,
    credentials: Option<(String, String)>,
}

impl Identity {
    async fn new(settings: &Settings, id: String) -> Result<Self, Finding> {
        let Some(user) = settings.username.clone() else {
            return Ok(Self {
                id,
                credentials: None,
            });
        };
        let password = match settings.password.clone() {
            None => String::new(),
            Some(secret) => tokio::task::spawn_blocking(move || secret.reveal())
                .await
                .map_err(|error| Finding::failed("login", &error.to_string()))?
                .map_err(|reason| Finding::failed("login", &reason))?,
        };
        Ok(Self {
            id,
            credentials: Some((user, password)),
        })
    }

    fn options(&self, settings: &Settings) -> MqttOptions {
        let mut options = MqttOptions::new(&self.id, &settings.broker.host, settings.broker.port);
        if let Some((user, password)) = &self.credentials {
            options.set_credentials(user, password);
        }
        if let Some(transport) = transport(settings) {
            options.set_transport(transport);
        }
        options
    }

    fn options_of_mqtt5(&self, settings: &Settings) -> v5::MqttOptions {
        // Another id: the broker may still be busy with the end of the connection before.
        let id = format!("{}-5", self.id);
        let mut options = v5::MqttOptions::new(id, &settings.broker.host, settings.broker.port);
        if let Some((user, password)) = &self.credentials {
            options.set_credentials(user, password);
        }
        if let Some(transport) = transport(settings) {
            options.set_transport(transport);
        }
        options
    }
}

fn transport(settings: &Settings) -> Option<Transport> {
    let config = Arc::clone(settings.tls.as_ref()?);
    Some(Transport::tls_with_config(TlsConfiguration::Rustls(config)))
}

/// A topic that we would publish on, or one beside it that nobody heeds.
struct Attempt {
    about: &'static str,
    topic: String,
    /// The topics that the broker must let us write to.
    rights: String,
}

fn attempts(settings: &Settings, inverter: &str) -> Vec<Attempt> {
    let prefix = &settings.topics.prefix;
    let mut attempts = vec![Attempt {
        about: "publishing",
        topic: settings.topics.quantity(inverter, "check"),
        rights: format!("{prefix}/#"),
    }];
    if let Some(birth) = &settings.birth {
        let prefix = birth.strip_suffix("/status").unwrap_or(birth);
        attempts.push(Attempt {
            about: "announcing",
            // Home Assistant heeds only topics that end with `config`.
            topic: format!("{prefix}/device/kstar/check"),
            rights: format!("{prefix}/#"),
        });
    }
    attempts
}

/// What the broker does with what is published.
enum Told {
    Taken,
    /// It takes it; why it does not come back does not matter.
    TakenUnheard,
    /// It throws it away.
    Refused,
    Nothing,
}

impl Attempt {
    fn finding(&self, told: &Told, settings: &Settings) -> Finding {
        let Self {
            about,
            topic,
            rights,
        } = self;
        let who = match &settings.username {
            Some(user) => format!("the user `{user}`"),
            None => "clients without a user".to_owned(),
        };
        match told {
            Told::Taken => Finding::good(about, format!("what is published on {topic} arrives")),
            Told::TakenUnheard => Finding::good(
                about,
                format!("the broker takes what is published on {topic}"),
            ),
            Told::Refused => Finding::wrong(
                about,
                format!("the broker throws away what is published on {topic}"),
                format!("let {who} write to {rights} in the broker's access rules"),
            ),
            Told::Nothing => Finding::note(
                about,
                format!(
                    "what is published on {topic} does not come back, and the broker does not tell why"
                ),
                format!(
                    "if nothing arrives from a collector, let {who} write to {rights} in the broker's access rules"
                ),
            ),
        }
    }
}

/// What came back.
#[derive(Default)]
struct Echoes {
    came: BTreeSet<String>,
    birth: Birth,
}

/// What Home Assistant's birth topic says.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Birth {
    #[default]
    Nothing,
    Online,
    Offline,
    /// We may not listen.
    Closed,
}

/// Subscribes, publishes, and listens until everything has come back or the time is up.
async fn listen(
    client: &AsyncClient,
    events: &mut rumqttc::EventLoop,
    settings: &Settings,
    attempts: &[Attempt],
) -> Result<Echoes, Finding> {
    let deadline = Instant::now() + PATIENCE;
    let token = format!("kstar check {:016x}", fastrand::u64(..));
    let topics = attempts.iter().map(|attempt| attempt.topic.as_str());
    let filters = topics
        .clone()
        .chain(settings.birth.as_deref())
        .map(|topic| SubscribeFilter::new(topic.to_owned(), QoS::AtLeastOnce));
    let lost = |reason: String| Finding::failed("publishing", &reason);
    client
        .try_subscribe_many(filters)
        .map_err(|error| lost(error.to_string()))?;
    let mut echoes = Echoes::default();
    let mut waiting: BTreeSet<&str> = BTreeSet::new();
    let mut subscribed = false;
    while !subscribed || !waiting.is_empty() {
        let event = match timeout_at(deadline, events.poll()).await {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => return Err(lost(reason::of_losing(&error, settings).reason)),
            Err(_) if subscribed => break,
            Err(_) => return Err(lost(reason::no_longer_answers(settings))),
        };
        match event {
            Event::Incoming(Packet::SubAck(answer)) => {
                subscribed = true;
                let mut answers = answer.return_codes.iter();
                for topic in topics.clone() {
                    if let Some(SubscribeReasonCode::Success(_)) = answers.next() {
                        client
                            .try_publish(topic, QoS::AtLeastOnce, false, token.as_str())
                            .map_err(|error| lost(error.to_string()))?;
                        waiting.insert(topic);
                    }
                }
                if let Some(SubscribeReasonCode::Failure) = answers.next() {
                    echoes.birth = Birth::Closed;
                }
            }
            Event::Incoming(Packet::Publish(message)) => {
                if Some(&message.topic) == settings.birth.as_ref() {
                    echoes.birth = match &message.payload[..] {
                        b"online" => Birth::Online,
                        b"offline" => Birth::Offline,
                        _ => Birth::Nothing,
                    };
                } else if message.payload == token.as_bytes() {
                    waiting.remove(message.topic.as_str());
                    echoes.came.insert(message.topic);
                }
            }
            _ => {}
        }
    }
    // The acknowledgements of what came are still to be sent.
    let _ = client.try_disconnect();
    let _ = timeout(PATIENCE, async { while events.poll().await.is_ok() {} }).await;
    Ok(echoes)
}

/// Publishes by MQTT 5, whose acknowledgement says whether that was allowed.
async fn ask_by_mqtt5(settings: &Settings, identity: &Identity, topic: &str) -> Told {
    use v5::mqttbytes::QoS;
    use v5::mqttbytes::v5::{Packet, PubAckReason};
    let (client, mut events) = v5::AsyncClient::new(identity.options_of_mqtt5(settings), 10);
    if client
        .try_publish(topic, QoS::AtLeastOnce, false, "kstar check")
        .is_err()
    {
        return Told::Nothing;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match timeout_at(deadline, events.poll()).await {
            Ok(Ok(v5::Event::Incoming(Packet::PubAck(answer)))) => {
                let _ = client.try_disconnect();
                let _ = timeout(PATIENCE, async { while events.poll().await.is_ok() {} }).await;
                return match answer.reason {
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                        Told::TakenUnheard
                    }
                    _ => Told::Refused,
                };
            }
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Told::Nothing,
        }
    }
}

fn home_assistant(topic: &str, birth: Birth) -> Finding {
    let about = "Home Assistant";
    match birth {
        Birth::Online => Finding::good(about, format!("{topic} says that it is there")),
        Birth::Offline => Finding::note(
            about,
            format!("{topic} says that it is not there"),
            "start it, or its MQTT integration; nothing is lost meanwhile",
        ),
        Birth::Nothing => Finding::good(
            about,
            format!("{topic} says nothing yet; it is listened to"),
        ),
        Birth::Closed => Finding::note(
            about,
            format!("the broker does not let us listen to {topic}"),
            format!(
                "let us read {topic} in the broker's access rules, so that sensors are there at once when Home Assistant has started"
            ),
        ),
    }
}
