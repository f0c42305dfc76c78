//! What goes wrong between a Modbus machine and who asks it, each with a probability of its own.
//!
//! Most of it was seen in the wild. At most one fault strikes a request, so that a test can say of everything that
//! was sent which fault made it. Which faults there are depends on the way to the machine: [`Fault::of`].

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::config::Via;
use crate::faults::{FaultsError, LONGEST_DELAY, Listed, check_probabilities, parse_range};

/// One thing that can go wrong with the reply to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// No reply.
    Drop,
    /// The right reply, late.
    Delay,
    /// Cut off anywhere.
    Truncate,
    /// The CRC of the Modbus frame is wrong; every other checksum is right.
    Crc,
    /// An exception: the machine is busy (6).
    Exception,
    /// A well-formed reply of the same length with other values, before the right one or in its place: over V5 and
    /// Modbus TCP under another sequence or transaction number, over UDP another block.
    Foreign,
    /// Over UDP: the reply twice in one datagram.
    Double,
    /// Over UDP: the right reply from another port.
    Port,
    /// In pieces, with pauses between them.
    Torn,
    /// The connections are reset.
    Reset,
    /// The connection is closed without a word.
    Close,
    /// Over Modbus TCP: the length field is wrong.
    Length,
    /// Over V5: a heartbeat, and no reply.
    Heartbeat,
    /// Over V5: a heartbeat and the right reply in one piece.
    HeartbeatBefore,
    /// Over V5: the right reply and a heartbeat in one piece.
    HeartbeatAfter,
    /// Over V5: the reply is kept back and comes before the next request's reply, with its old sequence number.
    Late,
    /// Over V5: a foreign reply and the right one in one piece.
    Glued,
    /// Over V5: AT text, and then the right reply.
    Text,
    /// Over V5: raw Modbus RTU of the serial line, and the right reply behind it.
    Noise,
    /// Over V5: the two bytes 05 00 in place of a Modbus frame.
    Short,
    /// Over V5: 00 00 behind the Modbus frame. It is the right reply all the same.
    DoubleCrc,
    /// Over V5: the checksum of the V5 frame is wrong.
    Checksum,
}

impl Fault {
    /// Those that there are on a way.
    pub fn of(via: Via) -> &'static [Self] {
        match via {
            Via::Udp => &[
                Self::Drop,
                Self::Delay,
                Self::Truncate,
                Self::Crc,
                Self::Exception,
                Self::Foreign,
                Self::Double,
                Self::Port,
            ],
            Via::Solarman => &[
                Self::Drop,
                Self::Delay,
                Self::Truncate,
                Self::Crc,
                Self::Exception,
                Self::Foreign,
                Self::Torn,
                Self::Reset,
                Self::Close,
                Self::Heartbeat,
                Self::HeartbeatBefore,
                Self::HeartbeatAfter,
                Self::Late,
                Self::Glued,
                Self::Text,
                Self::Noise,
                Self::Short,
                Self::DoubleCrc,
                Self::Checksum,
            ],
            Via::ModbusTcp => &[
                Self::Drop,
                Self::Delay,
                Self::Truncate,
                Self::Exception,
                Self::Foreign,
                Self::Torn,
                Self::Reset,
                Self::Close,
                Self::Length,
            ],
            Via::RtuOverTcp => &[
                Self::Drop,
                Self::Delay,
                Self::Truncate,
                Self::Crc,
                Self::Exception,
                Self::Torn,
                Self::Reset,
                Self::Close,
            ],
        }
    }

    /// What it is called in a list of faults.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Delay => "delay",
            Self::Truncate => "truncate",
            Self::Crc => "crc",
            Self::Exception => "exception",
            Self::Foreign => "foreign",
            Self::Double => "double",
            Self::Port => "port",
            Self::Torn => "torn",
            Self::Reset => "reset",
            Self::Close => "close",
            Self::Length => "length",
            Self::Heartbeat => "heartbeat",
            Self::HeartbeatBefore => "heartbeat-before",
            Self::HeartbeatAfter => "heartbeat-after",
            Self::Late => "late",
            Self::Glued => "glued",
            Self::Text => "text",
            Self::Noise => "noise",
            Self::Short => "short",
            Self::DoubleCrc => "double-crc",
            Self::Checksum => "checksum",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which faults strike, and how often. By default none does.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    probabilities: Vec<(Fault, f64)>,
    /// How late a [`Fault::Delay`] is, at most a day. By default on both sides of usual time-outs.
    pub delay: RangeInclusive<Duration>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            probabilities: Vec::new(),
            delay: Duration::from_millis(500)..=Duration::from_secs(4),
        }
    }
}

impl Faults {
    /// One fault, always.
    pub fn always(fault: Fault) -> Self {
        let mut faults = Self::default();
        faults.set(fault, 1.0);
        faults
    }

    /// Reads a list like `drop=0.05,delay=0.02:1s..4s`. `all=0.05` sets every fault that there is on this way; what
    /// follows it changes single ones: `all=0.05,reset=0`.
    pub fn parse(via: Via, text: &str) -> Result<Self, FaultsError> {
        let mut faults = Self::default();
        for entry in text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            faults.parse_entry(via, entry)?;
        }
        faults.check(via)?;
        Ok(faults)
    }

    fn parse_entry(&mut self, via: Via, entry: &str) -> Result<(), FaultsError> {
        let listed = Listed::parse(entry)?;
        let known = Fault::of(via);
        let struck: Vec<Fault> = known
            .iter()
            .copied()
            .filter(|fault| listed.name == "all" || listed.name == fault.name())
            .collect();
        if struck.is_empty() {
            let names: Vec<_> = known.iter().map(|fault| fault.name()).collect();
            return Err(FaultsError::Unknown {
                name: listed.name.to_owned(),
                names: names.join(", "),
            });
        }
        for fault in &struck {
            self.set(*fault, listed.probability);
        }
        let Some(span) = listed.span else {
            return Ok(());
        };
        let range = match struck.as_slice() {
            [Fault::Delay] => parse_range(span),
            _ => Err("only delay takes a span; leave out the colon".to_owned()),
        };
        self.delay = range.map_err(|problem| FaultsError::Span {
            entry: entry.to_owned(),
            problem,
        })?;
        Ok(())
    }

    /// How often a fault strikes.
    pub fn probability(&self, fault: Fault) -> f64 {
        self.probabilities
            .iter()
            .find_map(|(known, probability)| (*known == fault).then_some(*probability))
            .unwrap_or_default()
    }

    /// Sets how often a fault strikes, from 0 to 1.
    pub fn set(&mut self, fault: Fault, probability: f64) {
        self.probabilities.retain(|(known, _)| *known != fault);
        self.probabilities.push((fault, probability));
    }

    /// That the probabilities are such, and of faults that there are on this way.
    pub fn check(&self, via: Via) -> Result<(), FaultsError> {
        let known = Fault::of(via);
        for (fault, _) in &self.probabilities {
            if !known.contains(fault) {
                let names: Vec<_> = known.iter().map(|fault| fault.name()).collect();
                return Err(FaultsError::Unknown {
                    name: fault.name().to_owned(),
                    names: names.join(", "),
                });
            }
        }
        let numbers: Vec<f64> = self
            .probabilities
            .iter()
            .map(|(_, number)| *number)
            .collect();
        check_probabilities(&numbers)
    }

    /// The fault that strikes the next request, if any. It takes one number from the sequence, whatever it says.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> Option<Fault> {
        let mut drawn = random.f64();
        for (fault, probability) in &self.probabilities {
            if drawn < *probability {
                return Some(*fault);
            }
            drawn -= probability;
        }
        None
    }

    /// How late the next late reply is.
    pub(super) fn draw_delay(&self, random: &mut fastrand::Rng) -> Duration {
        let [from, to] =
            [self.delay.start(), self.delay.end()].map(|end| (*end).min(LONGEST_DELAY));
        from + to.saturating_sub(from).mul_f64(random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_those_of_the_way() {
        for via in [Via::Udp, Via::Solarman, Via::ModbusTcp, Via::RtuOverTcp] {
            let faults = Faults::parse(via, "all=0.05,drop=0.01").expect("faults");
            for fault in Fault::of(via) {
                let expected = if *fault == Fault::Drop { 0.01 } else { 0.05 };
                assert!(
                    (faults.probability(*fault) - expected).abs() < 1e-12,
                    "{fault}"
                );
            }
        }
    }

    #[test]
    fn a_wrong_list_is_told_how_to_be_right() {
        for (via, text, advice) in [
            (Via::Udp, "heartbeat=0.1", "drop, delay, truncate"),
            (Via::Solarman, "drip=0.1", "heartbeat-before"),
            (Via::ModbusTcp, "length", "drop=0.05"),
            (Via::ModbusTcp, "length=0.1:1s", "leave out the colon"),
            (Via::Solarman, "delay=0.1:4s..1s", "shorter one first"),
            (Via::Solarman, "all=0.06", "add up to 1.140"),
        ] {
            let error = Faults::parse(via, text).unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
        assert!(Faults::always(Fault::Port).check(Via::Solarman).is_err());
    }

    #[test]
    fn faults_strike_as_often_as_they_should() {
        let faults = Faults::parse(Via::Udp, "drop=0.1,port=0.3").expect("faults");
        let mut random = fastrand::Rng::with_seed(1);
        let drawn: Vec<_> = (0..10_000).map(|_| faults.draw(&mut random)).collect();
        let count = |wanted| drawn.iter().filter(|fault| **fault == wanted).count();
        assert!((850..1150).contains(&count(Some(Fault::Drop))));
        assert!((2800..3200).contains(&count(Some(Fault::Port))));
    }
}
