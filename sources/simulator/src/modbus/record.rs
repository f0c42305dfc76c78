//! What a Modbus machine was asked and what it sent, so that a test can account for every byte.
//!
//! Each request has a serial number; it is followed either by at least one piece that names it or by one reason why
//! there is none. The counts are always kept; the log, which holds bytes, only as far as its capacity.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::faults::Fault;

/// What may be asked: registers that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// 3 or 4.
    pub function: u8,
    /// The first register.
    pub first: u16,
    /// How many.
    pub count: u16,
}

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sent {
    /// The right reply, as it should be.
    Proper,
    /// An exception with this code, as it should be.
    Exception(u8),
    /// A stick's answer when it gets none from the inverter: the unit was wrong.
    NoInverter,
    /// A stick's answer to who asks with a wrong serial number: its own.
    OwnSerial,
    /// What a Modbus TCP stick says to a V5 request.
    NoV5,
    /// What a fault made of the reply, or sent in its place.
    Faulty(Fault),
    /// The device info of AA55.
    Aa55,
    /// A copy of a reply on a connection that did not ask.
    Overheard,
    /// The answer to a greeting.
    Greeting,
    /// A heartbeat that a stick sends of its own accord.
    Heartbeat,
    /// A frame for the vendor's cloud.
    Push,
}

/// Why nothing was sent for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Withheld {
    /// A fault: dropped, kept back, or the connection ended.
    Faulty(Fault),
    /// No greeting has come yet.
    Asleep,
    /// There is no sun.
    Night,
    /// It was taken off the network.
    Offline,
    /// The unit was wrong, and there is nobody who says so.
    WrongUnit,
    /// More replies wait for their time than there is room for.
    Overflow,
    /// The simulator was stopped before the reply's time came.
    Stopped,
    /// The connection was gone, or the system rejected it.
    Failed,
}

/// Numbers of everything since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests received, by what they ask.
    pub requests: BTreeMap<Read, u64>,
    /// Requests for the device info of AA55 received by a machine that answers them.
    pub aa55: u64,
    /// Greetings received.
    pub greetings: u64,
    /// Everything received that is neither: writes, answers to heartbeats, noise.
    pub unexpected: u64,
    /// What was sent, by what it is.
    pub sent: BTreeMap<Sent, u64>,
    /// What was not sent, by the reason.
    pub withheld: BTreeMap<Withheld, u64>,
    /// Connections opened since the start.
    pub opened: u64,
    /// Connections open now.
    pub open: u64,
    /// The most that were open at one time.
    pub most_open: u64,
}

impl Counts {
    /// Requests in all.
    pub fn requested(&self) -> u64 {
        self.requests.values().sum()
    }

    /// Pieces sent of one kind.
    pub fn sent(&self, sent: Sent) -> u64 {
        self.sent.get(&sent).copied().unwrap_or_default()
    }

    /// Replies withheld for one reason.
    pub fn withheld(&self, withheld: Withheld) -> u64 {
        self.withheld.get(&withheld).copied().unwrap_or_default()
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// The simulator's own address: where it came in, or went out.
    pub local: SocketAddr,
    /// The client's address.
    pub peer: SocketAddr,
    /// What happened.
    pub event: Event,
    /// What came or went, whole; empty if nothing did.
    pub bytes: Vec<u8>,
}

/// What a line of the log is about. The serial numbers count requests from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection was opened.
    Opened,
    /// A connection ended, by either side.
    Closed,
    /// A request came.
    Asked {
        /// Its number.
        serial: u64,
        /// What it asks.
        read: Read,
    },
    /// A request for the device info of AA55 came, and the machine is one that answers it.
    AskedAa55,
    /// A greeting came.
    Greeted,
    /// Something else came. Of a read-only client there is none.
    Unexpected,
    /// A datagram or a piece of a stream went out.
    Sent {
        /// The request it answers; `None` for what answers none.
        answers: Option<u64>,
        /// What it is.
        sent: Sent,
    },
    /// Something did not go out.
    Withheld {
        /// The request that it would have answered.
        answers: Option<u64>,
        /// Why.
        withheld: Withheld,
    },
}

/// Counts and log together, so that both always tell of the same events.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) counts: Counts,
    pub(super) log: Vec<Entry>,
    pub(super) missed: u64,
    capacity: usize,
}

impl Record {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            counts: Counts::default(),
            log: Vec::new(),
            missed: 0,
            capacity,
        }
    }

    /// What comes after a full log is missed rather than what came first.
    pub(super) fn note(&mut self, local: SocketAddr, peer: SocketAddr, event: Event, bytes: &[u8]) {
        let counts = &mut self.counts;
        match event {
            Event::Opened => {
                counts.opened += 1;
                counts.open += 1;
                counts.most_open = counts.most_open.max(counts.open);
            }
            Event::Closed => counts.open = counts.open.saturating_sub(1),
            Event::Asked { read, .. } => *counts.requests.entry(read).or_default() += 1,
            Event::AskedAa55 => counts.aa55 += 1,
            Event::Greeted => counts.greetings += 1,
            Event::Unexpected => counts.unexpected += 1,
            Event::Sent { sent, .. } => *counts.sent.entry(sent).or_default() += 1,
            Event::Withheld { withheld, .. } => {
                *counts.withheld.entry(withheld).or_default() += 1;
            }
        }
        if self.log.len() < self.capacity {
            self.log.push(Entry {
                at: tokio::time::Instant::now().into_std(),
                local,
                peer,
                event,
                bytes: bytes.to_vec(),
            });
        } else if self.capacity > 0 {
            self.missed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_connections_are_counted_and_a_full_log_keeps_its_beginning() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut record = Record::new(2);
        for event in [Event::Opened, Event::Opened, Event::Closed, Event::Opened] {
            record.note(address, address, event, &[]);
        }
        let counts = &record.counts;
        assert_eq!((counts.opened, counts.open, counts.most_open), (3, 2, 2));
        assert_eq!((record.log.len(), record.missed), (2, 2));
    }
}
