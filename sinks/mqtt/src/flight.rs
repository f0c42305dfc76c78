//! What is under way on a connection: which packet ids wait for an acknowledgement, and how many messages are left of
//! each batch. It does no I/O.
//!
//! An acknowledgement counts for the message of its id alone, and for nothing but the step that is due: of quality of
//! service 2 there are two.

use std::collections::BTreeMap;

use rumqttc::{Publish, QoS, StateError};
use tokio::sync::oneshot;

use crate::message::Message;

/// How many messages may wait for their acknowledgement: more than a reading has, so that one goes out at a stretch. It
/// is also their largest packet id.
const IN_FLIGHT: u16 = 160;

/// The packet id of what is not a message: of the one subscription.
pub(crate) const ID_OF_SUBSCRIPTION: u16 = IN_FLIGHT + 1;

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

    /// What goes out behind it.
    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
#[derive(Debug)]
pub(crate) struct Flight {
    /// What the newest batch has not sent.
    unsent: std::vec::IntoIter<Item>,
    /// The number of the newest batch.
    newest: u64,
    waiters: BTreeMap<u64, Waiter>,
    /// What waits for an acknowledgement, by packet id; 0 is none.
    sent: Vec<Option<(Due, Whose)>>,
    /// How many of those are not free.
    awaited: u16,
    last_id: u16,
    /// Without an acknowledgement to come; delivered when they are written.
    unwritten: Vec<u64>,
}

impl Default for Flight {
    fn default() -> Self {
        Self {
            unsent: Vec::new().into_iter(),
            newest: 0,
            waiters: BTreeMap::new(),
            sent: std::iter::repeat_with(|| None)
                .take(usize::from(IN_FLIGHT) + 1)
                .collect(),
            awaited: 0,
            last_id: 0,
            unwritten: Vec::new(),
        }
    }
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
            // Anyone who has given up waiting hears nothing.
            let _ = acknowledged.send(());
        } else {
            let waiter = Waiter { left, acknowledged };
            self.waiters.insert(self.newest, waiter);
        }
        self.unsent = batch.0.into_iter();
    }

    /// The next message to send, if there is one and room for it.
    pub(crate) fn next(&mut self) -> Option<Publish> {
        if self.awaited >= IN_FLIGHT {
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
        publish.pkid = self.depart(due, whose);
        Some(publish)
    }

    /// The packet id of a message for which there is room. Ids go round, since brokers acknowledge in our order.
    fn depart(&mut self, due: Due, whose: Whose) -> u16 {
        loop {
            self.last_id = self.last_id % IN_FLIGHT + 1;
            if let Some(free @ None) = self.sent.get_mut(usize::from(self.last_id)) {
                *free = Some((due, whose));
                self.awaited += 1;
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
        let departed = match self.sent.get_mut(usize::from(id)) {
            Some(Some((due @ Due::Received, _))) if step == Due::Received => {
                *due = Due::Completed;
                return Ok(None);
            }
            Some(place) => place.take_if(|(due, _)| *due == step),
            None => None,
        };
        let Some((_, whose)) = departed else {
            return Err(StateError::Unsolicited(id));
        };
        self.awaited -= 1;
        match whose {
            Whose::Announcement(topic) => Ok(Some(topic)),
            Whose::Batch(number) => {
                self.count(number);
                Ok(None)
            }
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
            // Anyone who has given up waiting hears nothing.
            let _ = waiter.acknowledged.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(count: usize) -> impl Iterator<Item = Message> {
        (0..count).map(|number| Message::live(format!("a/{number}"), number.to_string()))
    }

    /// Begins a batch of so many messages.
    fn begin(flight: &mut Flight, count: usize, qos: QoS) -> oneshot::Receiver<()> {
        let (acknowledged, ack) = oneshot::channel();
        let mut batch = Batch::default();
        batch.publish(messages(count), qos);
        flight.begin(batch, acknowledged);
        ack
    }

    /// Sends what there is room for; returns the packet ids.
    fn send(flight: &mut Flight) -> Vec<u16> {
        std::iter::from_fn(|| flight.next())
            .map(|publish| publish.pkid)
            .collect()
    }

    #[test]
    fn a_batch_is_acknowledged_with_its_last_message_in_whatever_order() {
        let mut flight = Flight::default();
        let mut acks = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..2 {
            assert!(flight.has_begun_all());
            acks.push(begin(&mut flight, 3, QoS::AtLeastOnce));
            ids.push(send(&mut flight));
        }
        let mut second = acks.pop().unwrap();
        let mut first = acks.pop().unwrap();
        for id in [ids[1][2], ids[0][1], ids[1][0], ids[0][0]] {
            flight.acknowledged(id, Due::Acknowledged).unwrap();
            assert!(first.try_recv().is_err() && second.try_recv().is_err());
        }
        flight.acknowledged(ids[1][1], Due::Acknowledged).unwrap();
        assert_eq!(second.try_recv(), Ok(()));
        assert!(first.try_recv().is_err());
        flight.acknowledged(ids[0][2], Due::Acknowledged).unwrap();
        assert_eq!(first.try_recv(), Ok(()));
    }

    #[test]
    fn a_batch_that_is_larger_than_the_room_goes_on_as_acknowledgements_come() {
        let mut flight = Flight::default();
        let mut ack = begin(
            &mut flight,
            2 * usize::from(IN_FLIGHT) + 1,
            QoS::AtLeastOnce,
        );
        let mut ids = send(&mut flight);
        assert_eq!(ids.len(), usize::from(IN_FLIGHT));
        assert!(!flight.has_begun_all());
        let mut rounds = 0;
        while !ids.is_empty() {
            assert!(ack.try_recv().is_err());
            for id in std::mem::take(&mut ids) {
                flight.acknowledged(id, Due::Acknowledged).unwrap();
            }
            ids = send(&mut flight);
            rounds += 1;
        }
        assert_eq!(rounds, 3);
        assert_eq!(ack.try_recv(), Ok(()));
        assert!(flight.has_begun_all());
    }

    #[test]
    fn a_packet_id_that_is_under_way_is_not_given_twice() {
        let mut flight = Flight::default();
        let _late = begin(&mut flight, 1, QoS::AtLeastOnce);
        let late = send(&mut flight);
        for _ in 0..1000 {
            let _ack = begin(&mut flight, 7, QoS::AtLeastOnce);
            let ids = send(&mut flight);
            assert!(ids.len() == 7 && !ids.contains(&late[0]));
            for id in ids {
                assert!((1..=IN_FLIGHT).contains(&id));
                flight.acknowledged(id, Due::Acknowledged).unwrap();
            }
        }
        for foreign in [0, IN_FLIGHT, IN_FLIGHT + 1, u16::MAX] {
            assert!(
                flight.acknowledged(foreign, Due::Acknowledged).is_err(),
                "{foreign}"
            );
        }
    }

    #[test]
    fn quality_of_service_2_has_two_steps_and_only_the_one_that_is_due_counts() {
        let mut flight = Flight::default();
        let mut ack = begin(&mut flight, 1, QoS::ExactlyOnce);
        let id = send(&mut flight)[0];
        assert!(flight.acknowledged(id, Due::Acknowledged).is_err());
        assert!(flight.acknowledged(id, Due::Completed).is_err());
        flight.acknowledged(id, Due::Received).unwrap();
        assert!(flight.acknowledged(id, Due::Received).is_err());
        assert!(ack.try_recv().is_err());
        flight.acknowledged(id, Due::Completed).unwrap();
        assert_eq!(ack.try_recv(), Ok(()));
        assert!(flight.acknowledged(id, Due::Completed).is_err());
    }

    #[test]
    fn without_an_acknowledgement_to_come_a_message_is_delivered_when_it_is_written() {
        let mut flight = Flight::default();
        let mut ack = begin(&mut flight, 3, QoS::AtMostOnce);
        assert_eq!(send(&mut flight), [0, 0, 0]);
        assert!(ack.try_recv().is_err());
        flight.written();
        assert_eq!(ack.try_recv(), Ok(()));
    }

    #[test]
    fn a_batch_does_not_wait_for_its_announcements() {
        let mut flight = Flight::default();
        let (acknowledged, mut ack) = oneshot::channel();
        let mut batch = Batch::default();
        batch.announce(messages(1));
        batch.publish(messages(1), QoS::AtLeastOnce);
        flight.begin(batch, acknowledged);
        let ids = send(&mut flight);
        let of_values = flight.acknowledged(ids[1], Due::Acknowledged);
        assert_eq!(of_values.unwrap(), None);
        assert_eq!(ack.try_recv(), Ok(()));
        let of_announcement = flight.acknowledged(ids[0], Due::Acknowledged);
        assert_eq!(of_announcement.unwrap().as_deref(), Some("a/0"));

        let (acknowledged, mut ack) = oneshot::channel();
        flight.begin(Batch::default(), acknowledged);
        assert_eq!(ack.try_recv(), Ok(()), "there is nothing to wait for");
    }
}
