//! Values as integers: what can be known of a type of value without a quantity's name, and the labels of codes and bits.

use std::fmt;

/// What kind of quantity a value is; sinks derive their own vocabulary from it and from the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that goes up and down.
    Measurement,
    /// A number that only grows, except where it starts again at zero (a new day, a new machine).
    Counter,
    /// One code out of a list, shown as its label.
    Mode(Labels),
    /// A set of bits, shown as the labels of those that are set.
    Flags(Labels),
    /// The raw integer behind a set of flags.
    Bits,
    /// A date and time of day without a zone, as a machine's own clock shows it.
    Clock,
}

/// A type of value: everything that can be known of it without a quantity's name.
///
/// A raw value is the integer that is stored: tenths of a volt, a mode's code, a set's bits,
/// seconds since 1970-01-01T00:00:00 of a clock.
pub trait Scalar: Copy {
    /// The unit's symbol, empty where there is none.
    const UNIT: &'static str;
    /// How many decimals the raw integer carries.
    const DECIMALS: u8;
    /// What kind of quantity it makes.
    const KIND: Kind;

    /// The raw integer.
    fn raw(self) -> i64;

    /// The value with that raw integer, or `None` if the type cannot hold it.
    fn from_raw(raw: i64) -> Option<Self>;
}

/// The labels of a mode (by code) or of a set of flags (by bit number).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels(pub &'static [(u16, &'static str)]);

impl Labels {
    /// The label of a code or bit, if there is one.
    pub fn find(self, code: i64) -> Option<&'static str> {
        self.0
            .iter()
            .find(|(known, _)| i64::from(*known) == code)
            .map(|(_, label)| *label)
    }

    /// The code or bit that a label stands for; `other` is what stands before one that has no word.
    pub fn code(self, label: &str, other: &str) -> Option<i64> {
        match self.0.iter().find(|(_, known)| *known == label) {
            Some((code, _)) => Some((*code).into()),
            None => label.strip_prefix(other)?.parse().ok(),
        }
    }
}

/// What stands before the code of a mode that has no word.
pub const UNKNOWN: &str = "unknown_";

/// What stands before the number of a bit that has no word.
pub const BIT: &str = "bit_";

/// A mode's label: the word for its code, or `unknown_` and the code.
#[derive(Clone, Copy, Debug)]
pub struct ModeLabel {
    /// The list of labels.
    pub labels: Labels,
    /// The code to name.
    pub code: i64,
}

impl fmt::Display for ModeLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.labels.find(self.code) {
            Some(label) => f.pad(label),
            None => f.pad(&format!("{UNKNOWN}{}", self.code)),
        }
    }
}

/// One flag's label: the word for its bit, or `bit_` and the number.
#[derive(Clone, Copy, Debug)]
pub struct FlagLabel {
    /// The list of labels.
    pub labels: Labels,
    /// The bit to name, 0 for the lowest.
    pub bit: u8,
}

impl fmt::Display for FlagLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.labels.find(self.bit.into()) {
            Some(label) => f.pad(label),
            None => f.pad(&format!("{BIT}{}", self.bit)),
        }
    }
}

/// The flags that are set in `bits`, lowest bit first.
pub fn set_flags(labels: Labels, bits: i64) -> impl Iterator<Item = FlagLabel> {
    (0..32)
        .filter(move |bit| bits >> bit & 1 == 1)
        .map(move |bit| FlagLabel { labels, bit })
}

/// A scalar that is the number it holds.
macro_rules! unsigned {
    ($scalar:ident($number:ty), $kind:expr) => {
        impl $crate::scalar::Scalar for $scalar {
            const UNIT: &'static str = "";
            const DECIMALS: u8 = 0;
            const KIND: $crate::scalar::Kind = $kind;

            fn raw(self) -> i64 {
                self.0.into()
            }

            fn from_raw(raw: i64) -> Option<Self> {
                <$number>::try_from(raw).ok().map(Self)
            }
        }
    };
}
pub(crate) use unsigned;

/// The raw integer behind a set of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits(pub u32);

unsigned!(Bits(u32), Kind::Bits);

/// A date and time of day without a zone: seconds since 1970-01-01T00:00:00 of the same clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock(i64);

impl Clock {
    /// The moment that the clock shows, or `None` if there is no such day or time.
    pub fn new(date_time: [i16; 6]) -> Option<Self> {
        let [year, month, day, hour, minute, second] = date_time;
        let small = |number: i16| i8::try_from(number).ok();
        let (month, day) = (small(month)?, small(day)?);
        let (hour, minute, second) = (small(hour)?, small(minute)?, small(second)?);
        // Asked first, because jiff allocates its errors and decoding a reply allocates nothing.
        if !(1..=12).contains(&month)
            || !(0..24).contains(&hour)
            || !(0..60).contains(&minute)
            || !(0..60).contains(&second)
        {
            return None;
        }
        let first_of_month = jiff::civil::Date::new(year, month, 1).ok()?;
        if !(1..=first_of_month.days_in_month()).contains(&day) {
            return None;
        }
        let moment = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        Some(Self(
            moment
                .to_zoned(jiff::tz::TimeZone::UTC)
                .ok()?
                .timestamp()
                .as_second(),
        ))
    }
}

impl Scalar for Clock {
    const UNIT: &'static str = "";
    const DECIMALS: u8 = 0;
    const KIND: Kind = Kind::Clock;

    fn raw(self) -> i64 {
        self.0
    }

    fn from_raw(raw: i64) -> Option<Self> {
        jiff::Timestamp::from_second(raw).ok().map(|_| Self(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_knows_which_days_exist() {
        let moment = Clock::new([2023, 3, 24, 18, 5, 20]).expect("a real day");
        assert_eq!(moment.raw(), 1_679_681_120);
        assert_eq!(Clock::new([2023, 2, 30, 0, 0, 0]), None);
        assert_eq!(Clock::new([2000, 0, 0, 0, 0, 0]), None);
        assert_eq!(Clock::new([2023, 1, 1, 24, 0, 0]), None);
    }

    #[test]
    fn bits_are_not_negative() {
        assert!(Bits::from_raw(-1).is_none());
    }
}
