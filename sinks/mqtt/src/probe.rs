//! A look at the broker for somebody who waits: step by step what the sink does at its start, and whether what is
//! published arrives.
//!
//! MQTT 3.1.1, which the sink speaks, acknowledges what the broker throws away for want of a right. So a message that
//! nobody retains is published below the prefix and waited for as a subscriber, and an announcement for Home Assistant
//! on a topic beside its own; where one does not come back, a broker that speaks MQTT 5 is asked, which says why. The
//! client has an id of its own, so that a collector is not thrown out.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use kstar_common::finding::Finding;
use rumqttc::{
    ConnectionError, Packet, PubAck, Publish, QoS, StateError, Subscribe, SubscribeFilter,
    SubscribeReasonCode,
};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::identity::Identity;
use crate::limit::{self, REMEDY};
use crate::message::Message;
use crate::mqtt5::{Mqtt5, Verdict};
use crate::network::Network;
use crate::reason;
use crate::settings::Settings;

/// How long each step may take: a broker at home needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks at the broker, as far as one step after the other succeeds. `inverter` is one whose topics are ours, and
/// `announcement` the largest that is made.
pub(crate) async fn look(
    settings: &Settings,
    inverter: &str,
    announcement: Option<Message>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(wrong) = look_at(settings, inverter, announcement, &mut findings).await {
        findings.push(wrong);
    }
    findings
}

async fn look_at(
    settings: &Settings,
    inverter: &str,
    announcement: Option<Message>,
    findings: &mut Vec<Finding>,
) -> Result<(), Finding> {
    findings.extend(find(settings).await?);
    let id = format!(
        "{}-check-{:08x}",
        settings.topics.client_id,
        fastrand::u32(..)
    );
    let identity = Identity::fetch(settings, id)
        .await
        .map_err(|failure| Finding::failed("login", &failure.reason))?;
    let mut network = Network::connect(settings, identity.login())
        .await
        .map_err(|error| refused(&error, settings, findings))?;
    if settings.tls.is_some() {
        findings.push(Finding::good("TLS", "its certificate is the right one"));
    }
    let as_whom = match &settings.username {
        Some(user) => format!("the user `{user}` is let in"),
        None => "everybody is let in".to_owned(),
    };
    findings.push(Finding::good("login", as_whom));

    let attempts = attempts(settings, inverter, announcement);
    let echoes = listen(&mut network, settings, &attempts).await?;
    drop(network);
    for attempt in &attempts {
        let topic = &attempt.message.topic;
        let told = if echoes.came.contains(topic) {
            Told::Taken
        } else if echoes.closed.as_ref() == Some(topic) {
            Told::TooLarge(limit::ask(settings, &identity).await)
        } else {
            ask_by_mqtt5(settings, &identity, attempt).await
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

/// A message like one that we would publish, on its topic or on one beside it that nobody heeds.
struct Attempt {
    about: &'static str,
    message: Message,
    /// The topics that the broker must let us write to.
    rights: String,
}

fn attempts(settings: &Settings, inverter: &str, announcement: Option<Message>) -> Vec<Attempt> {
    let token = format!("kstar check {:016x}", fastrand::u64(..));
    let prefix = &settings.topics.prefix;
    let mut attempts = vec![Attempt {
        about: "publishing",
        message: Message::live(settings.topics.quantity(inverter, "check"), token),
        rights: format!("{prefix}/#"),
    }];
    if let (Some(birth), Some(announcement)) = (&settings.birth, announcement) {
        let prefix = birth.strip_suffix("/status").unwrap_or(birth);
        // Home Assistant heeds only topics that end with `config`; this one is as long.
        let beside = announcement.topic.strip_suffix("config");
        attempts.push(Attempt {
            about: "announcing",
            message: Message {
                topic: format!("{}check", beside.unwrap_or_default()),
                ..announcement
            },
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
    /// It is larger than the broker takes, which may have told how much that is.
    TooLarge(Option<usize>),
    Nothing,
}

impl Attempt {
    fn finding(&self, told: &Told, settings: &Settings) -> Finding {
        let Self {
            about,
            message,
            rights,
        } = self;
        let topic = &message.topic;
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
            Told::TooLarge(limit) => {
                let size = message.packet_size();
                let limit = limit.map_or_else(String::new, |limit| format!(", which is {limit}"));
                Finding::wrong(
                    about,
                    format!(
                        "what is published on {topic} is larger than the broker takes: it has {size} bytes, more than its limit{limit}"
                    ),
                    REMEDY,
                )
            }
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
    /// The topic on whose message the broker has closed the connection.
    closed: Option<String>,
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

impl Birth {
    fn of(payload: &[u8]) -> Self {
        match payload {
            b"online" => Self::Online,
            b"offline" => Self::Offline,
            _ => Self::Nothing,
        }
    }
}

/// Subscribes, publishes, and listens until everything has come back or the time is up.
async fn listen(
    network: &mut Network,
    settings: &Settings,
    attempts: &[Attempt],
) -> Result<Echoes, Finding> {
    let deadline = Instant::now() + PATIENCE;
    let lost = |reason: String| Finding::failed("publishing", &reason);
    let broken = |error: StateError| lost(reason::of_losing(&error.into(), settings).reason);
    let mut packet_ids = 1..;
    let mut subscribe = subscription(settings, attempts);
    subscribe.pkid = packet_ids.next().unwrap_or_default();
    network
        .outgoing
        .put(&Packet::Subscribe(subscribe))
        .map_err(broken)?;
    let mut echoes = Echoes::default();
    let mut subscribed = false;
    // One after the other, so that it is known at which one the broker closes the connection.
    let mut unsent: VecDeque<&Attempt> = VecDeque::new();
    let mut unacknowledged: Option<&Attempt> = None;
    let mut unheard: BTreeSet<&str> = BTreeSet::new();
    while !subscribed || !unsent.is_empty() || !unheard.is_empty() {
        let packet = match timeout_at(deadline, exchange(network)).await {
            Ok(Ok(packet)) => packet,
            Ok(Err(error)) => match unacknowledged.filter(|_| reason::is_closed(&error)) {
                Some(attempt) => {
                    echoes.closed = Some(attempt.message.topic.clone());
                    return Ok(echoes);
                }
                None => return Err(lost(reason::of_losing(&error, settings).reason)),
            },
            Err(_) if subscribed => break,
            Err(_) => return Err(lost(reason::no_longer_answers(settings))),
        };
        match packet {
            Packet::SubAck(answer) => {
                subscribed = true;
                let mut answers = answer.return_codes.iter();
                for attempt in attempts {
                    if let Some(SubscribeReasonCode::Success(_)) = answers.next() {
                        unheard.insert(&attempt.message.topic);
                        unsent.push_back(attempt);
                    }
                }
                if let Some(SubscribeReasonCode::Failure) = answers.next() {
                    echoes.birth = Birth::Closed;
                }
            }
            Packet::PubAck(_) => unacknowledged = None,
            Packet::Publish(message) => {
                if message.qos == QoS::AtLeastOnce {
                    let acknowledgement = Packet::PubAck(PubAck::new(message.pkid));
                    network.outgoing.put(&acknowledgement).map_err(broken)?;
                }
                if Some(&message.topic) == settings.birth.as_ref() {
                    echoes.birth = Birth::of(&message.payload);
                } else if attempts.iter().any(|Attempt { message: ours, .. }| {
                    ours.topic == message.topic && ours.payload.as_bytes() == message.payload
                }) {
                    unheard.remove(message.topic.as_str());
                    echoes.came.insert(message.topic);
                }
            }
            _ => {}
        }
        if unacknowledged.is_none()
            && let Some(attempt) = unsent.pop_front()
        {
            let publish = publish(&attempt.message, packet_ids.next());
            network.outgoing.put(&publish).map_err(broken)?;
            unacknowledged = Some(attempt);
        }
    }
    for attempt in attempts.iter().filter(|attempt| attempt.message.retain) {
        let clear = Message::retained(attempt.message.topic.clone(), String::new());
        let clear = publish(&clear, packet_ids.next());
        network.outgoing.put(&clear).map_err(broken)?;
    }
    // The acknowledgements of what came are still to be sent.
    network.outgoing.put(&Packet::Disconnect).map_err(broken)?;
    let _ = timeout(PATIENCE, async { while exchange(network).await.is_ok() {} }).await;
    Ok(echoes)
}

/// To what is listened: what we publish, and whether Home Assistant is there.
fn subscription(settings: &Settings, attempts: &[Attempt]) -> Subscribe {
    let topics = attempts
        .iter()
        .map(|attempt| attempt.message.topic.as_str())
        .chain(settings.birth.as_deref());
    Subscribe::new_many(
        topics.map(|topic| SubscribeFilter::new(topic.to_owned(), QoS::AtLeastOnce)),
    )
}

fn publish(message: &Message, packet_id: Option<u16>) -> Packet {
    let mut publish = Publish::new(&message.topic, QoS::AtLeastOnce, message.payload.as_bytes());
    publish.retain = message.retain;
    publish.pkid = packet_id.unwrap_or_default();
    Packet::Publish(publish)
}

/// Sends what waits, and waits for the next packet.
async fn exchange(network: &mut Network) -> Result<Packet, ConnectionError> {
    network.outgoing.write().await?;
    loop {
        if let Some(packet) = network.incoming.next()? {
            return Ok(packet);
        }
        network.incoming.read().await?;
    }
}

/// Publishes by MQTT 5, whose acknowledgement says whether that was allowed.
async fn ask_by_mqtt5(settings: &Settings, identity: &Identity, attempt: &Attempt) -> Told {
    let asking = async {
        let mut connection = Mqtt5::connect(settings, identity).await?;
        let largest = connection.largest();
        let verdict = connection.publish(&attempt.message).await;
        if attempt.message.retain && verdict.is_some() {
            let clear = Message::retained(attempt.message.topic.clone(), String::new());
            connection.publish(&clear).await;
        }
        connection.close().await;
        Some((verdict?, largest))
    };
    match timeout(PATIENCE, asking).await {
        Ok(Some((Verdict::Taken, _))) => Told::TakenUnheard,
        Ok(Some((Verdict::Rejected, _))) => Told::Refused,
        Ok(Some((Verdict::TooLarge, largest))) => Told::TooLarge(largest),
        Ok(None) | Err(_) => Told::Nothing,
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
            format!(
                "{topic} holds nothing, as is usual: Home Assistant publishes there when it starts, and does not retain that. So \
                 nobody can tell from here whether it is connected; Settings, Devices & services, MQTT shows what it has found"
            ),
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
