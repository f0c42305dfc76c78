//! Which announcements for Home Assistant are too large for the broker. They are its largest messages by far, and must
//! not keep readings from it.
//!
//! MQTT 3.1.1, which the session speaks, has no word for a limit: a broker that has one closes the connection. So an
//! announcement is suspected that was on its way when that happened. MQTT 5 tells the limit, and a broker that speaks
//! it is then asked; what is larger is not sent. One that does not tell is given the announcement once more, and not
//! again for a day if that ends the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::identity::Identity;
use crate::message::Message;
use crate::mqtt5::Mqtt5;
use crate::settings::Settings;

/// How long asking may take; a broker answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a broker may close the connection on an announcement before that is no accident.
const ACCIDENTS: u32 = 1;

/// When a broker that does not tell its limit is tried again: each time costs the connection, and all entities are
/// unavailable for a moment.
const TRIED_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// What fixes it, in the configuration and in Mosquitto's.
pub(crate) const REMEDY: &str = "set `discovery = \"entity\"` in [sinks.mqtt.home_assistant], which makes small messages, or raise the broker's limit (Mosquitto: max_packet_size, message_size_limit)";

/// What is known of the broker's limit.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    /// The largest packet that it takes, if it has told.
    told: Option<usize>,
    /// Announcements that were on their way when it closed the connection: how often, and when last.
    closed: BTreeMap<String, (u32, Instant)>,
    /// Announcements that are not sent.
    held: BTreeSet<String>,
}

impl Limit {
    /// Takes note of an announcement on whose way the broker has closed the connection.
    pub(crate) fn suspect(&mut self, topic: &str) {
        let now = Instant::now();
        let (times, last) = self.closed.entry(topic.to_owned()).or_insert((0, now));
        *times = times.saturating_add(1);
        *last = now;
    }

    /// Whether it is worth to ask the broker for its limit.
    pub(crate) fn is_suspected(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Takes note of what the broker has told.
    pub(crate) fn told(&mut self, limit: Option<usize>) {
        self.told = limit;
    }

    /// Whether the broker takes this announcement, as far as is known. That it does not is logged once.
    pub(crate) fn allows(&mut self, message: &Message) -> bool {
        let (topic, size) = (&message.topic, message.packet_size());
        let allowed = match self.told {
            Some(limit) => size <= limit,
            None => self
                .closed
                .get(topic)
                .is_none_or(|(times, last)| *times <= ACCIDENTS || last.elapsed() >= TRIED_AGAIN),
        };
        if allowed {
            self.held.remove(topic);
        } else if self.held.insert(topic.clone()) {
            let limit = match self.told {
                Some(limit) => format!("the broker takes packets of {limit} bytes at most"),
                None => "the broker closes the connection each time".to_owned(),
            };
            tracing::warn!(
                topic,
                size,
                limit,
                "Home Assistant is not told of this inverter, since the announcement is too large for the broker; readings go on; {REMEDY}"
            );
        }
        allowed
    }

    /// Whether anything is not sent.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes note that the broker has acknowledged every announcement that was sent.
    pub(crate) fn settled(&mut self) {
        self.closed.retain(|topic, _| self.held.contains(topic));
    }
}

/// The largest packet that the broker takes, if it speaks MQTT 5 and tells.
pub(crate) async fn ask(settings: &Settings, identity: &Identity) -> Option<usize> {
    let asking = async {
        let connection = Mqtt5::connect(settings, identity).await?;
        let largest = connection.largest();
        connection.close().await;
        largest
    };
    timeout(PATIENCE, asking).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(size: usize) -> Message {
        let message = |length| Message::retained("a/config".to_owned(), "x".repeat(length));
        let message = message(size - message(0).packet_size() - 1);
        assert_eq!(message.packet_size(), size);
        message
    }

    #[test]
    fn what_is_larger_than_the_broker_tells_is_held_back_until_it_tells_otherwise() {
        let mut limit = Limit::default();
        assert!(limit.allows(&announcement(2001)));
        limit.suspect("a/config");
        limit.told(Some(2000));
        assert!(limit.allows(&announcement(2000)) && !limit.holds());
        assert!(!limit.allows(&announcement(2001)) && limit.holds());
        limit.settled();
        assert!(limit.is_suspected());
        limit.told(Some(2001));
        assert!(limit.allows(&announcement(2001)) && !limit.holds());
        limit.settled();
        assert!(!limit.is_suspected());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_does_not_tell_is_tried_twice_and_then_once_a_day() {
        let mut limit = Limit::default();
        let message = announcement(1000);
        limit.suspect(&message.topic);
        assert!(limit.allows(&message), "an accident");
        limit.suspect(&message.topic);
        assert!(!limit.allows(&message));
        tokio::time::advance(Duration::from_secs(23 * 60 * 60)).await;
        assert!(!limit.allows(&message));
        tokio::time::advance(Duration::from_secs(60 * 60)).await;
        assert!(limit.allows(&message));
        limit.suspect(&message.topic);
        assert!(!limit.allows(&message));
        tokio::time::advance(TRIED_AGAIN).await;
        assert!(limit.allows(&message));
        limit.settled();
        limit.suspect(&message.topic);
        assert!(limit.allows(&message), "it was taken in between");
    }
}
