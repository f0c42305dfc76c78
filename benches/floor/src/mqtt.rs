//! As much of MQTT 3.1.1 as a publish with `QoS` 1 needs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::{Outcome, PATIENCE};

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
/// `QoS` 1 and retained, as the collector publishes.
const PUBLISH: u8 = 0x33;
const PUBACK: u8 = 0x40;

pub(crate) struct Broker {
    stream: TcpStream,
    packet: u16,
}

impl Broker {
    pub(crate) fn connect(address: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut broker = Self { stream, packet: 0 };
        let mut packet = text("MQTT")?;
        // Version 4 is MQTT 3.1.1; a clean session, no keep-alive.
        packet.extend([4, 0b10, 0, 0]);
        packet.extend(text("floor")?);
        broker.send(CONNECT, &packet)?;
        broker.expect([CONNACK, 2, 0, 0])?;
        Ok(broker)
    }

    /// Sends, and tells the packet's number.
    pub(crate) fn publish(&mut self, topic: &str, message: &str) -> Outcome<u16> {
        // 0 is no number of a packet.
        self.packet = self.packet.checked_add(1).unwrap_or(1);
        let mut packet = text(topic)?;
        packet.extend(self.packet.to_be_bytes());
        packet.extend(message.as_bytes());
        self.send(PUBLISH, &packet)?;
        Ok(self.packet)
    }

    pub(crate) fn acknowledged(&mut self, packet: u16) -> Outcome<()> {
        let [high, low] = packet.to_be_bytes();
        self.expect([PUBACK, 2, high, low])
    }

    fn send(&mut self, kind: u8, content: &[u8]) -> Outcome<()> {
        let mut packet = vec![kind];
        let mut length = content.len();
        while length >= 0x80 {
            packet.push(u8::try_from(length % 0x80)? | 0x80);
            length /= 0x80;
        }
        packet.push(u8::try_from(length)?);
        packet.extend(content);
        self.stream.write_all(&packet)?;
        Ok(())
    }

    fn expect(&mut self, wanted: [u8; 4]) -> Outcome<()> {
        let mut packet = [0; 4];
        self.stream.read_exact(&mut packet)?;
        if packet == wanted {
            Ok(())
        } else {
            Err(format!("the broker sent {packet:02x?}, expected {wanted:02x?}").into())
        }
    }
}

fn text(text: &str) -> Outcome<Vec<u8>> {
    let mut field = u16::try_from(text.len())?.to_be_bytes().to_vec();
    field.extend(text.as_bytes());
    Ok(field)
}
