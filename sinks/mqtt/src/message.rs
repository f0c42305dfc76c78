//! A message as it goes to the broker.

/// What is published, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// The payload; an empty one clears what is retained on the topic.
    pub payload: String,
    /// Whether the broker keeps it for those who come later.
    pub retain: bool,
}

impl Message {
    /// A message for those who listen now.
    pub(crate) fn live(topic: String, payload: String) -> Self {
        Self {
            topic,
            payload,
            retain: false,
        }
    }

    /// A message that the broker keeps.
    pub(crate) fn retained(topic: String, payload: String) -> Self {
        Self {
            topic,
            payload,
            retain: true,
        }
    }
}
