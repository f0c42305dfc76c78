//! What goes wrong between an inverter and who asks it, each with a probability of its own.
//!
//! All of it was seen in the wild (section 1.6 of the protocol notes) but for what merely could happen. At most one
//! fault strikes a request: so a test can say of every datagram which fault made it, and what must become of it.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use kstar_common::setting::duration;

/// One thing that can go wrong with the answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// No answer.
    Drop,
    /// The right answer, late.
    Delay,
    /// The right answer, twice.
    Duplicate,
    /// One bit or the sum itself is wrong.
    Checksum,
    /// Cut off anywhere; now and then a longer frame, so that the stump is longer than a whole one.
    Truncate,
    /// The right answer with bytes behind it.
    Overlong,
    /// Not AA 55; everything else, the checksum too, is right.
    Header,
    /// Addressed to another master.
    Address,
    /// A proper frame that is no answer to the request: an acknowledgement of a write, or settings.
    Function,
    /// The right answer from another port.
    Port,
    /// The answer to another request instead; or the last one again, to the socket that asked for it.
    Stale,
    /// Random bytes.
    Garbage,
    /// The request itself.
    Echo,
    /// A frame of another type and the right answer in one datagram.
    Glued,
    /// No answer to this request and those that follow, for a while.
    Silence,
    /// Silence, then answers without measurements, then all is well.
    Reboot,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Drop,
        Self::Delay,
        Self::Duplicate,
        Self::Checksum,
        Self::Truncate,
        Self::Overlong,
        Self::Header,
        Self::Address,
        Self::Function,
        Self::Port,
        Self::Stale,
        Self::Garbage,
        Self::Echo,
        Self::Glued,
        Self::Silence,
        Self::Reboot,
    ];

    /// What it is called in a list of faults.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Delay => "delay",
            Self::Duplicate => "duplicate",
            Self::Checksum => "checksum",
            Self::Truncate => "truncate",
            Self::Overlong => "overlong",
            Self::Header => "header",
            Self::Address => "address",
            Self::Function => "function",
            Self::Port => "port",
            Self::Stale => "stale",
            Self::Garbage => "garbage",
            Self::Echo => "echo",
            Self::Glued => "glued",
            Self::Silence => "silence",
            Self::Reboot => "reboot",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Later than this nobody waits for an answer.
pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(86_400);

/// How long a silence lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Until this much time has passed.
    For(Duration),
    /// For this many requests, the one that began it among them.
    Requests(u32),
}

/// Which faults strike, and how often. By default none does.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    probabilities: [f64; Fault::ALL.len()],
    /// How late a [`Fault::Delay`] is, at most a day. By default on both sides of a usual time-out of two seconds.
    pub delay: RangeInclusive<Duration>,
    /// How long a [`Fault::Silence`] lasts.
    pub silence: Silence,
    /// How long a [`Fault::Reboot`] takes until the first answer.
    pub reboot: Silence,
    /// How many answers after that are without measurements.
    pub reboot_answers: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            probabilities: [0.0; Fault::ALL.len()],
            delay: Duration::from_millis(500)..=Duration::from_secs(4),
            silence: Silence::Requests(5),
            reboot: Silence::Requests(5),
            reboot_answers: 3,
        }
    }
}

/// Why a list of faults is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// A name that no fault has.
    #[error("`{name}` is no fault; there are all, {names}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        names: String,
    },
    /// Not `NAME=PROBABILITY`.
    #[error("`{0}` is no fault with a probability; write, for example, drop=0.05 or all=0.05")]
    Malformed(String),
    /// Not a number from 0 to 1.
    #[error("`{0}` is no probability; write a number from 0 to 1, like 0.05 for one in twenty")]
    Probability(String),
    /// More than everything.
    #[error(
        "the probabilities add up to {0}, and at most one fault strikes a request; lower them to 1 in all"
    )]
    TooMany(String),
    /// A duration where none belongs, or one that cannot be read.
    #[error("`{entry}`: {problem}")]
    Span {
        /// The entry it stands in.
        entry: String,
        /// What is wrong.
        problem: String,
    },
}

/// An entry of a list of faults: `NAME=PROBABILITY` or `NAME=PROBABILITY:SPAN`.
pub(crate) struct Listed<'a> {
    pub(crate) name: &'a str,
    pub(crate) probability: f64,
    pub(crate) span: Option<&'a str>,
}

impl<'a> Listed<'a> {
    pub(crate) fn parse(entry: &'a str) -> Result<Self, FaultsError> {
        let (name, value) = entry
            .split_once('=')
            .ok_or_else(|| FaultsError::Malformed(entry.to_owned()))?;
        let (probability, span) = match value.split_once(':') {
            Some((probability, span)) => (probability, Some(span.trim())),
            None => (value, None),
        };
        let probability = probability
            .trim()
            .parse()
            .ok()
            .filter(|number| (0.0..=1.0).contains(number))
            .ok_or_else(|| FaultsError::Probability(probability.to_owned()))?;
        Ok(Self {
            name: name.trim(),
            probability,
            span,
        })
    }
}

/// Reads `3s` or `1s..4s`.
pub(crate) fn parse_range(span: &str) -> Result<RangeInclusive<Duration>, String> {
    let (from, to) = span.split_once("..").unwrap_or((span, span));
    let (from, to) = (duration::parse(from)?, duration::parse(to)?);
    if from > to {
        return Err(format!(
            "{span} ends before it begins; write the shorter one first"
        ));
    }
    Ok(from..=to)
}

/// That each is a probability, and all together no more than always.
pub(crate) fn check_probabilities(probabilities: &[f64]) -> Result<(), FaultsError> {
    if let Some(wrong) = probabilities
        .iter()
        .find(|probability| !(0.0..=1.0).contains(*probability))
    {
        return Err(FaultsError::Probability(wrong.to_string()));
    }
    let sum: f64 = probabilities.iter().sum();
    // Ten tenths must not fail for the sake of the last bit.
    if sum > 1.0 + 1e-9 {
        return Err(FaultsError::TooMany(format!("{sum:.3}")));
    }
    Ok(())
}

impl Faults {
    /// One fault, always.
    pub fn always(fault: Fault) -> Self {
        let mut faults = Self::default();
        faults.set(fault, 1.0);
        faults
    }

    /// Reads a list like `drop=0.05,delay=0.02`. `all=0.05` sets every one of them, so that four requests in
    /// five are struck; what follows it changes single ones: `all=0.05,reboot=0`. Three take a span as well:
    /// `delay=0.02:3s` or `delay=0.02:1s..4s`; `silence` and `reboot` a duration or a number of requests,
    /// `silence=0.01:30s` or `silence=0.01:5`.
    pub fn parse(text: &str) -> Result<Self, FaultsError> {
        let mut faults = Self::default();
        for entry in text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            faults.parse_entry(entry)?;
        }
        faults.check()?;
        Ok(faults)
    }

    fn parse_entry(&mut self, entry: &str) -> Result<(), FaultsError> {
        let Listed {
            name,
            probability,
            span,
        } = Listed::parse(entry)?;
        let fault = match name {
            "all" => None,
            name => Some(
                Fault::ALL
                    .into_iter()
                    .find(|fault| fault.name() == name)
                    .ok_or_else(|| FaultsError::Unknown {
                        name: name.to_owned(),
                        names: Fault::ALL.map(Fault::name).join(", "),
                    })?,
            ),
        };
        match fault {
            Some(fault) => self.set(fault, probability),
            None => self.set_all(probability),
        }
        if let Some(span) = span {
            self.parse_span(fault, span)
                .map_err(|problem| FaultsError::Span {
                    entry: entry.to_owned(),
                    problem,
                })?;
        }
        Ok(())
    }

    fn parse_span(&mut self, fault: Option<Fault>, span: &str) -> Result<(), String> {
        let silence = || match span.parse() {
            Ok(requests) => Ok(Silence::Requests(requests)),
            Err(_) => duration::parse(span).map(Silence::For),
        };
        match fault {
            Some(Fault::Delay) => self.delay = parse_range(span)?,
            Some(Fault::Silence) => self.silence = silence()?,
            Some(Fault::Reboot) => self.reboot = silence()?,
            _ => {
                return Err(
                    "only delay, silence and reboot take a span; leave out the colon".into(),
                );
            }
        }
        Ok(())
    }

    /// How often a fault strikes.
    pub fn probability(&self, fault: Fault) -> f64 {
        Fault::ALL
            .into_iter()
            .zip(self.probabilities)
            .find_map(|(candidate, probability)| (candidate == fault).then_some(probability))
            .unwrap_or_default()
    }

    /// Sets how often a fault strikes, from 0 to 1.
    pub fn set(&mut self, fault: Fault, probability: f64) {
        for (candidate, place) in Fault::ALL.into_iter().zip(&mut self.probabilities) {
            if candidate == fault {
                *place = probability;
            }
        }
    }

    /// Sets how often each of the faults strikes; all together no more often than always, so 1/16 at the most.
    pub fn set_all(&mut self, probability: f64) {
        self.probabilities.fill(probability);
    }

    /// That the probabilities are such.
    pub fn check(&self) -> Result<(), FaultsError> {
        check_probabilities(&self.probabilities)
    }

    /// The fault that strikes the next request, if any. It takes one number from the sequence, whatever it says.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> Option<Fault> {
        let mut drawn = random.f64();
        for (fault, probability) in Fault::ALL.into_iter().zip(self.probabilities) {
            if drawn < probability {
                return Some(fault);
            }
            drawn -= probability;
        }
        None
    }

    /// How late the next late answer is.
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
    fn a_list_is_read_with_its_spans() {
        let faults = Faults::parse("drop=0.05, delay=0.02:1s..4s,silence=0.01:30s,reboot=0.25:7")
            .expect("faults");
        assert!((faults.probability(Fault::Drop) - 0.05).abs() < 1e-12);
        assert!((faults.probability(Fault::Reboot) - 0.25).abs() < 1e-12);
        assert!(faults.probability(Fault::Echo).abs() < 1e-12);
        assert_eq!(
            faults.delay,
            Duration::from_secs(1)..=Duration::from_secs(4)
        );
        assert_eq!(faults.silence, Silence::For(Duration::from_secs(30)));
        assert_eq!(faults.reboot, Silence::Requests(7));
        assert_eq!(Faults::parse(""), Ok(Faults::default()));
    }

    #[test]
    fn all_is_the_probability_of_each_fault() {
        let faults = Faults::parse("all=0.05,reboot=0").expect("faults");
        for fault in Fault::ALL {
            let expected = if fault == Fault::Reboot { 0.0 } else { 0.05 };
            assert!(
                (faults.probability(fault) - expected).abs() < 1e-12,
                "{fault}"
            );
        }
        assert!(matches!(
            Faults::parse("all=0.1"),
            Err(FaultsError::TooMany(_))
        ));
    }

    #[test]
    fn a_wrong_list_is_told_how_to_be_right() {
        for (text, advice) in [
            ("drip=0.1", "drop, delay, duplicate"),
            ("drop", "drop=0.05"),
            ("drop=2", "from 0 to 1"),
            ("drop=-0.1", "from 0 to 1"),
            ("drop=NaN", "from 0 to 1"),
            ("drop=0.6,delay=0.6", "add up to 1.200"),
            ("delay=0.1:soon", "\"5s\""),
            ("delay=0.1:4s..1s", "shorter one first"),
            ("drop=0.1:1s", "leave out the colon"),
        ] {
            let error = Faults::parse(text).unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    #[test]
    fn faults_strike_as_often_as_they_should() {
        let faults = Faults::parse("drop=0.1,reboot=0.3").expect("faults");
        let mut random = fastrand::Rng::with_seed(1);
        let drawn: Vec<_> = (0..10_000).map(|_| faults.draw(&mut random)).collect();
        let count = |wanted| drawn.iter().filter(|fault| **fault == wanted).count();
        assert!((850..1150).contains(&count(Some(Fault::Drop))));
        assert!((2800..3200).contains(&count(Some(Fault::Reboot))));
        assert_eq!(
            count(None) + count(Some(Fault::Drop)) + count(Some(Fault::Reboot)),
            10_000
        );
    }

    #[test]
    fn a_delay_lies_within_its_range() {
        let mut faults = Faults::default();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..100 {
            assert!(faults.delay.contains(&faults.draw_delay(&mut random)));
        }
        let fixed = Duration::from_millis(250);
        faults.delay = fixed..=fixed;
        assert_eq!(faults.draw_delay(&mut random), fixed);
    }
}
