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
