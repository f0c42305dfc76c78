//! What is under way on a connection: which packet ids wait for an acknowledgement, and how many messages are left of
//! each batch. It does no I/O.
//!
//! An acknowledgement counts for the message of its id alone, and for nothing but the step that is due: of quality of
//! service 2 there are two.

use std::collections::{BTreeMap, HashMap};

use rumqttc::{Publish, QoS, StateError};
use tokio::sync::oneshot;

use crate::message::Message;

/// How many messages may wait for their acknowledgement: more than a reading has, so that one goes out at a stretch.
const IN_FLIGHT: usize = 160;

/// What goes out at one stretch, in its order.
#[derive(Debug, Default)]
pub(crate) struct Batch(Vec<Item>);

#[derive(Debug)]
struct Item {
    message: Message,
    qos: QoS,
    announces: bool,
}

impl Batch {
    /// Messages that the broker is to have.
    pub(crate) fn publish(&mut self, messages: impl IntoIterator<Item = Message>, qos: QoS) {
        self.0.extend(messages.into_iter().map(|message| Item {
            message,
            qos,
            announces: false,
        }));
    }

    /// Announcements. That the broker has them is nobody's to wait for.
    pub(crate) fn announce(&mut self, messages: impl IntoIterator<Item = Message>) {
        self.0.extend(messages.into_iter().map(|message| Item {
            message,
            qos: QoS::AtLeastOnce,
            announces: true,
        }));
    }

    /// Its announcements.
    pub(crate) fn announcements(&self) -> impl Iterator<Item = &Message> {
        let announcing = self.0.iter().filter(|item| item.announces);
        announcing.map(|item| &item.message)
    }
}

/// Whose a message is.
#[derive(Debug)]
enum Whose {
    /// One of the batch of this number.
    Batch(u64),
    /// An announcement on this topic.
    Announcement(String),
}

/// The acknowledgement that is due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// PUBACK, the only one of quality of service 1.
    Acknowledged,
    /// PUBREC, the first one of quality of service 2.
    Received,
    /// PUBCOMP, the second one.
    Completed,
}

/// A batch of which messages are left.
#[derive(Debug)]
struct Waiter {
    left: usize,
    acknowledged: oneshot::Sender<()>,
}

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// What the newest batch has not sent.
    unsent: std::vec::IntoIter<Item>,
    /// The number of the newest batch.
    newest: u64,
    waiters: BTreeMap<u64, Waiter>,
    /// By packet id.
    sent: HashMap<u16, (Due, Whose)>,
    /// Without an acknowledgement to come; delivered when they are written.
    unwritten: Vec<u64>,
    last_id: u16,
}

impl Flight {
    /// Whether the next batch may begin.
    pub(crate) fn has_begun_all(&self) -> bool {
        self.unsent.len() == 0
    }

    /// Begins a batch.
    pub(crate) fn begin(&mut self, batch: Batch, acknowledged: oneshot::Sender<()>) {
        self.newest = self.newest.wrapping_add(1);
        let left = batch.0.iter().filter(|item| !item.announces).count();
        if left == 0 {
            // Whoever has given up waiting hears nothing.
            let _ = acknowledged.send(());
        } else {
            let waiter = Waiter { left, acknowledged };
            self.waiters.insert(self.newest, waiter);
        }
        self.unsent = batch.0.into_iter();
    }

    /// The next message to send, if there is one and room for it.
    pub(crate) fn next(&mut self) -> Option<Publish> {
        if self.sent.len() >= IN_FLIGHT {
            return None;
        }
        let Item {
            message,
            qos,
            announces,
        } = self.unsent.next()?;
        let whose = if announces {
            Whose::Announcement(message.topic.clone())
        } else {
            Whose::Batch(self.newest)
        };
        let mut publish = Publish::new(message.topic, qos, message.payload);
        publish.retain = message.retain;
        let due = match qos {
            QoS::AtMostOnce => {
                self.unwritten.push(self.newest);
                return Some(publish);
            }
            QoS::AtLeastOnce => Due::Acknowledged,
            QoS::ExactlyOnce => Due::Received,
        };
        publish.pkid = self.free_id();
        self.sent.insert(publish.pkid, (due, whose));
        Some(publish)
    }

    /// A packet id that is not under way. Ids go round, so that one is not used again soon.
    pub(crate) fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.sent.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Takes note that everything is written.
    pub(crate) fn written(&mut self) {
        for number in std::mem::take(&mut self.unwritten) {
            self.count(number);
        }
    }

    /// Takes note of an acknowledgement; returns the topic if it was the last one of an announcement.
    pub(crate) fn acknowledged(
        &mut self,
        id: u16,
        step: Due,
    ) -> Result<Option<String>, StateError> {
        let Some((due, _)) = self.sent.get_mut(&id).filter(|(due, _)| *due == step) else {
            return Err(StateError::Unsolicited(id));
        };
        if step == Due::Received {
            *due = Due::Completed;
            return Ok(None);
        }
        match self.sent.remove(&id) {
            Some((_, Whose::Announcement(topic))) => Ok(Some(topic)),
            Some((_, Whose::Batch(number))) => {
                self.count(number);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// One message less is left of a batch.
    fn count(&mut self, number: u64) {
        let Some(waiter) = self.waiters.get_mut(&number) else {
            return;
        };
        waiter.left = waiter.left.saturating_sub(1);
        if waiter.left == 0
            && let Some(waiter) = self.waiters.remove(&number)
        {
            // Whoever has given up waiting hears nothing.
            let _ = waiter.acknowledged.send(());
        }
    }
}
