//! As much of MQTT 5 as it takes to ask a broker what MQTT 3.1.1 has no word for: how large a packet may be, and whether
//! we may publish on a topic.
//!
//! By the OASIS standard, version 5.0: packets in section 3, the encoding of properties in 2.2.2.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::identity::Identity;
use crate::message::Message;
use crate::network::{LARGEST_INCOMING, Stream, reach};
use crate::settings::Settings;

/// Kinds of packets, as the first byte has them.
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_ONCE_ACKNOWLEDGED: u8 = 0x32;
const PUBACK: u8 = 0x40;
const DISCONNECT: u8 = 0xE0;

/// In the first byte of a message: the broker keeps it.
const RETAIN: u8 = 0x01;

/// The broker need not hear from us for this long; asking takes a fraction of it.
const KEEP_ALIVE_SECONDS: u16 = 10;

/// The property that tells how large a packet may be.
const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// What the broker says to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It takes it.
    Taken,
    /// It throws it away.
    Rejected,
    /// It is larger than the broker takes.
    TooLarge,
}

impl Verdict {
    /// The meaning of an acknowledgement's reason code. Mosquitto tells of its `message_size_limit` by one that the
    /// standard has not foreseen there.
    fn of(reason: u8) -> Self {
        match reason {
            // With and without subscribers.
            0x00 | 0x10 => Self::Taken,
            0x95 => Self::TooLarge,
            _ => Self::Rejected,
        }
    }
}

/// A connection by MQTT 5 on which the broker has let us in.
pub(crate) struct Mqtt5 {
    stream: Box<dyn Stream>,
    received: BytesMut,
    largest: Option<usize>,
}

impl Mqtt5 {
    /// Connects and logs in; nothing if the broker cannot be reached so or does not speak MQTT 5.
    pub(crate) async fn connect(settings: &Settings, identity: &Identity) -> Option<Self> {
        let mut connection = Self {
            stream: reach(settings).await.ok()?,
            received: BytesMut::new(),
            largest: None,
        };
        connection.send(&log_in(identity)?).await.ok()?;
        let (kind, answer) = connection.receive().await?;
        let [_session, 0, properties @ ..] = answer.as_ref() else {
            return None;
        };
        if kind != CONNACK {
            return None;
        }
        connection.largest = maximum_packet_size(properties);
        Some(connection)
    }

    /// The largest packet that the broker takes, if it has told.
    pub(crate) fn largest(&self) -> Option<usize> {
        self.largest
    }

    /// Publishes a message, and waits for what the broker says to it.
    pub(crate) async fn publish(&mut self, message: &Message) -> Option<Verdict> {
        let mut rest = BytesMut::new();
        text(&mut rest, &message.topic)?;
        // The only one that is on its way, and no properties.
        rest.put_u16(1);
        rest.put_u8(0);
        rest.put_slice(message.payload.as_bytes());
        let retain = if message.retain { RETAIN } else { 0 };
        let packet = packet(PUBLISH_ONCE_ACKNOWLEDGED | retain, &rest)?;
        if self.largest.is_some_and(|largest| packet.len() > largest) {
            return Some(Verdict::TooLarge);
        }
        self.send(&packet).await.ok()?;
        loop {
            match self.receive().await? {
                (PUBACK, answer) => {
                    // Without a reason it is taken.
                    return Some(Verdict::of(answer.get(2).copied().unwrap_or(0)));
                }
                (DISCONNECT, _) => return None,
                _ => {}
            }
        }
    }

    /// Says goodbye; the broker may have gone by itself.
    pub(crate) async fn close(mut self) {
        let _ = self.send(&[DISCONNECT, 0]).await;
        let _ = self.stream.shutdown().await;
    }

    async fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.stream.write_all(packet).await?;
        self.stream.flush().await
    }

    /// The next packet: its kind, and what follows its length. Nothing at the end, or where this is not MQTT.
    async fn receive(&mut self) -> Option<(u8, BytesMut)> {
        loop {
            match next(&mut self.received) {
                Next::Packet(kind, rest) => return Some((kind, rest)),
                Next::Incomplete => {}
                Next::Wrong => return None,
            }
            if self.stream.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }
}

/// The request to be let in.
fn log_in(identity: &Identity) -> Option<BytesMut> {
    const CLEAN_START: u8 = 0x02;
    const PASSWORD: u8 = 0x40;
    const USER: u8 = 0x80;
    let mut rest = BytesMut::new();
    text(&mut rest, "MQTT")?;
    rest.put_u8(5);
    let credentials = identity.credentials();
    let with = if credentials.is_some() {
        USER | PASSWORD
    } else {
        0
    };
    rest.put_u8(CLEAN_START | with);
    rest.put_u16(KEEP_ALIVE_SECONDS);
    // No properties.
    rest.put_u8(0);
    // Another id: the broker may still be busy with the end of the connection before.
    text(&mut rest, &format!("{}-5", identity.id()))?;
    if let Some((user, password)) = credentials {
        text(&mut rest, user)?;
        text(&mut rest, password)?;
    }
    packet(CONNECT, &rest)
}

/// Adds text after its length.
fn text(to: &mut BytesMut, text: &str) -> Option<()> {
    to.put_u16(text.len().try_into().ok()?);
    to.put_slice(text.as_bytes());
    Some(())
}

/// A packet: its kind, the length of the rest, the rest.
fn packet(kind: u8, rest: &[u8]) -> Option<BytesMut> {
    /// What four bytes of length can say.
    const LARGEST: usize = 0x0FFF_FFFF;
    let mut packet = BytesMut::with_capacity(5 + rest.len());
    packet.put_u8(kind);
    let mut length = rest.len();
    if length > LARGEST {
        return None;
    }
    loop {
        let low = u8::try_from(length & 0x7F).ok()?;
        length >>= 7;
        packet.put_u8(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    packet.put_slice(rest);
    Some(packet)
}

/// What has come of a packet.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Packet(u8, BytesMut),
    Incomplete,
    /// It is not MQTT, or larger than anything that we are sent.
    Wrong,
}

fn next(received: &mut BytesMut) -> Next {
    let mut rest = received.as_ref();
    let Some(kind) = byte(&mut rest) else {
        return Next::Incomplete;
    };
    let length = match variable(&mut rest) {
        Some(length) if length > LARGEST_INCOMING => return Next::Wrong,
        Some(length) => length,
        // It has four bytes at most.
        None if received.len() < 5 => return Next::Incomplete,
        None => return Next::Wrong,
    };
    if rest.len() < length {
        return Next::Incomplete;
    }
    let header = received.len() - rest.len();
    received.advance(header);
    Next::Packet(kind, received.split_to(length))
}

/// Takes one byte.
fn byte(from: &mut &[u8]) -> Option<u8> {
    let (first, rest) = from.split_first()?;
    *from = rest;
    Some(*first)
}

/// Takes a number of one to four bytes, seven bits in each, the lowest first.
fn variable(from: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in [0, 7, 14, 21] {
        let byte = byte(from)?;
        number |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The largest packet that the broker takes, by the properties of its answer.
fn maximum_packet_size(mut answer: &[u8]) -> Option<usize> {
    let length = variable(&mut answer)?;
    let mut properties = answer.get(..length)?;
    while let Some(property) = byte(&mut properties) {
        let length = match property {
            MAXIMUM_PACKET_SIZE => {
                let size = properties.first_chunk()?;
                return usize::try_from(u32::from_be_bytes(*size)).ok();
            }
            // By the type of each, section 2.2.2.2: a byte, two, four,
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => 1,
            0x13 | 0x21..=0x23 => 2,
            0x02 | 0x11 | 0x18 => 4,
            // text or bytes after their length, and two of them.
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => prefixed(properties)?,
            0x26 => {
                let name = prefixed(properties)?;
                name + prefixed(properties.get(name..)?)?
            }
            _ => return None,
        };
        properties = properties.get(length..)?;
    }
    None
}

/// How many bytes text or bytes have with the two of their length.
fn prefixed(at: &[u8]) -> Option<usize> {
    let length = u16::from_be_bytes(*at.first_chunk()?);
    Some(2 + usize::from(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_packet_is_found_among_other_properties() {
        // A receive maximum, an assigned id, a user property, the size, and one behind it.
        let properties = [
            &[0x21, 0, 20][..],
            &[0x12, 0, 2, b'i', b'd'],
            &[0x26, 0, 1, b'a', 0, 2, b'b', b'c'],
            &[0x27, 0, 0, 0x07, 0xD0],
            &[0x2A, 1],
        ]
        .concat();
        let mut answer = vec![u8::try_from(properties.len()).unwrap()];
        answer.extend(&properties);
        assert_eq!(maximum_packet_size(&answer), Some(2000));
        assert_eq!(maximum_packet_size(&[3, 0x21, 0, 20]), None);
        assert_eq!(maximum_packet_size(&[0]), None);
    }

    #[test]
    fn a_packet_is_as_long_as_its_length_says() {
        for length in [0, 127, 128, 16_383, 16_384, 60_000] {
            let mut sent = packet(PUBACK, &vec![7; length]).unwrap();
            sent.put_u8(CONNACK);
            for end in 0..sent.len() - 1 {
                if end > 10 && end < sent.len() - 2 {
                    continue;
                }
                let mut part = BytesMut::from(&sent[..end]);
                assert_eq!(next(&mut part), Next::Incomplete, "{end} of {length}");
            }
            let Next::Packet(kind, rest) = next(&mut sent) else {
                panic!("{length}");
            };
            assert_eq!(
                (kind, rest.len(), sent.as_ref()),
                (PUBACK, length, &[CONNACK][..])
            );
        }
    }

    #[test]
    fn what_is_not_mqtt_is_given_up() {
        for wrong in ["HTTP/1.1 400 Bad Request\r\n", "\u{20}\u{7f}\u{7f}"] {
            let mut bytes = BytesMut::from(wrong);
            assert!(!matches!(next(&mut bytes), Next::Packet(..)), "{wrong}");
        }
        assert_eq!(
            next(&mut BytesMut::from(
                &[0x20, 0xFF, 0xFF, 0xFF, 0xFF, 0x01][..]
            )),
            Next::Wrong
        );
        assert_eq!(
            next(&mut BytesMut::from(&[0x20, 0xFF, 0xFF, 0xFF, 0x7F][..])),
            Next::Wrong
        );
        assert_eq!(
            next(&mut BytesMut::from(&[0x20, 0xFF, 0xFF][..])),
            Next::Incomplete
        );
    }

    proptest! {
        #[test]
        fn nothing_that_a_broker_sends_is_a_panic(bytes: Vec<u8>) {
            let _ = maximum_packet_size(&bytes);
            let mut received = BytesMut::from(&bytes[..]);
            while let Next::Packet(..) = next(&mut received) {}
        }
    }
}
