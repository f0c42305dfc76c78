//! What a simulated inverter was asked and what it sent, so that a test can account for every datagram.
//!
//! Each request has a serial number; it is followed either by at least one datagram that names it or by one reason
//! why there is none. The counts are always kept; the log, which holds bytes, only as far as its capacity.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::encode::Request;
use super::faults::Fault;

/// What a sent datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sent {
    /// The right answer, as it should be. Of a duplicate it is the first copy.
    Proper,
    /// A recorded datagram as it stands in its file, right or wrong.
    Replayed,
    /// What a fault made of the answer, or sent in its place.
    Faulty(Fault),
    /// The answer to a greeting.
    Greeting,
}

/// Why nothing was sent for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Withheld {
    /// A fault: dropped, silent or starting anew.
    Faulty(Fault),
    /// No greeting has come yet.
    Asleep,
    /// This inverter does not answer such requests.
    NotOffered,
    /// More answers wait for their time than there is room for.
    Overflow,
    /// The simulator was stopped before the answer's time came.
    Stopped,
    /// The system refused to send.
    Failed,
}

/// Numbers of everything since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests received, by what they ask.
    pub requests: BTreeMap<Request, u64>,
    /// Greetings received.
    pub greetings: u64,
    /// Datagrams received that are neither; they are never answered.
    pub unexpected: u64,
    /// Datagrams sent, by what they are.
    pub sent: BTreeMap<Sent, u64>,
    /// Datagrams that were not sent, by the reason.
    pub withheld: BTreeMap<Withheld, u64>,
}

impl Counts {
    /// Requests of one kind.
    pub fn requests(&self, request: Request) -> u64 {
        self.requests.get(&request).copied().unwrap_or_default()
    }

    /// Datagrams sent of one kind.
    pub fn sent(&self, sent: Sent) -> u64 {
        self.sent.get(&sent).copied().unwrap_or_default()
    }

    /// Datagrams withheld for one reason.
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
    /// The server's address.
    pub peer: SocketAddr,
    /// What happened.
    pub event: Event,
    /// The whole datagram; empty if none was sent.
    pub bytes: Vec<u8>,
}

/// What a line of the log is about. The serial numbers count requests from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request came.
    Asked {
        /// Its number.
        serial: u64,
        /// What it asks.
        request: Request,
    },
    /// A greeting came.
    Greeted,
    /// Something else came.
    Unexpected,
    /// A datagram went out.
    Sent {
        /// The request it answers; `None` for a greeting's answer.
        answers: Option<u64>,
        /// What it is.
        sent: Sent,
    },
    /// A datagram did not go out.
    Withheld {
        /// The request that it would have answered; `None` for a greeting's answer.
        answers: Option<u64>,
        /// Why.
        withheld: Withheld,
    },
}

/// Counts and log together, so that both always tell of the same datagrams.
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

    /// What comes after a full log is missed rather than what came first: an account from the beginning to some
    /// point is an account, one with its beginning cut off is none.
    pub(super) fn note(&mut self, local: SocketAddr, peer: SocketAddr, event: Event, bytes: &[u8]) {
        let counts = &mut self.counts;
        match event {
            Event::Asked { request, .. } => *counts.requests.entry(request).or_default() += 1,
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
    fn a_full_log_keeps_its_beginning_and_counts_the_rest() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut record = Record::new(2);
        for byte in 0..5 {
            record.note(address, address, Event::Unexpected, &[byte]);
        }
        let bytes: Vec<_> = record.log.iter().map(|entry| entry.bytes.clone()).collect();
        assert_eq!(bytes, [[0], [1]]);
        assert_eq!((record.missed, record.counts.unexpected), (3, 5));
    }
}
