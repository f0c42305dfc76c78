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

    /// How many bytes it has on its way, which is what a broker's limit on packets counts.
    pub(crate) fn packet_size(&self) -> usize {
        // The length of the topic, and the packet id.
        let rest = 2 + self.topic.len() + 2 + self.payload.len();
        // The kind of packet, and seven bits of the rest's length in each byte.
        let length = match rest {
            0..0x80 => 1,
            0x80..0x4000 => 2,
            0x4000..0x20_0000 => 3,
            _ => 4,
        };
        1 + length + rest
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
