//! Units as types, and numbers held as integers in a fixed resolution.
//!
//! `Volts<1>` is a voltage in tenths of a volt. The unit and the resolution are part of the type, so that a
//! value in the wrong unit or scale does not compile; the integer inside keeps JSON and SQLite exact.

use std::fmt;
use std::marker::PhantomData;

use serde::{Serialize, Serializer};

use crate::scalar::{Kind, Scalar};

/// A unit of measurement.
pub trait Unit: Copy + PartialEq {
    /// The integer that values of this unit are held in.
    type Raw: Copy + fmt::Debug + Into<i64> + TryFrom<i64> + PartialEq;
    /// The unit's symbol.
    const SYMBOL: &'static str;
    /// Whether numbers of this unit are measured or counted.
    const KIND: Kind;
}

/// A number of unit `U` with `DECIMALS` decimals.
#[derive(Clone, Copy, PartialEq)]
pub struct Fixed<U: Unit, const DECIMALS: u8> {
    raw: U::Raw,
    unit: PhantomData<U>,
}

impl<U: Unit, const DECIMALS: u8> Fixed<U, DECIMALS> {
    /// The number whose last decimal counts `raw`: `Volts::<1>::new(2317)` is 231.7 V.
    pub const fn new(raw: U::Raw) -> Self {
        Self {
            raw,
            unit: PhantomData,
        }
    }
}

impl<U: Unit, const DECIMALS: u8> fmt::Debug for Fixed<U, DECIMALS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            Decimal {
                raw: self.raw.into(),
                decimals: DECIMALS
            },
            U::SYMBOL
        )
    }
}

impl<U: Unit, const DECIMALS: u8> Scalar for Fixed<U, DECIMALS> {
    const UNIT: &'static str = U::SYMBOL;
    const DECIMALS: u8 = DECIMALS;
    const KIND: Kind = U::KIND;

    fn raw(self) -> i64 {
        self.raw.into()
    }

    fn from_raw(raw: i64) -> Option<Self> {
        Some(Self::new(U::Raw::try_from(raw).ok()?))
    }
}

macro_rules! units {
    ($($(#[$doc:meta])+ $unit:ident, $alias:ident: $raw:ty, $symbol:literal, $kind:ident;)+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum $unit {}

        impl Unit for $unit {
            type Raw = $raw;
            const SYMBOL: &'static str = $symbol;
            const KIND: Kind = Kind::$kind;
        }

        $(#[$doc])+
        pub type $alias<const DECIMALS: u8> = Fixed<$unit, DECIMALS>;
    )+};
}

units! {
    /// Electric tension.
    Volt, Volts: i32, "V", Measurement;
    /// Electric current.
    Ampere, Amperes: i32, "A", Measurement;
    /// Power; 32 bits hold 21 MW in hundredths of a watt.
    Watt, Watts: i32, "W", Measurement;
    /// Frequency.
    HertzUnit, Hertz: i32, "Hz", Measurement;
    /// Temperature.
    DegreeCelsius, Celsius: i32, "°C", Measurement;
    /// A share of a hundred.
    PercentUnit, Percent: i32, "%", Measurement;
    /// Energy that a counter has added up; 32 bits hold two million kWh in thousandths.
    KilowattHour, KilowattHours: i32, "kWh", Counter;
    /// Time that a counter has added up.
    Hour, Hours: i64, "h", Counter;
    /// A short span of time.
    Millisecond, Milliseconds: i32, "ms", Measurement;
}

/// An integer with a decimal point in it, written as the shortest decimal: 231.7, 6746, 407.91.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// The number without its point.
    pub raw: i64,
    /// How many of its digits stand behind the point.
    pub decimals: u8,
}

impl Decimal {
    /// The same number as a float, for sinks whose server knows nothing else.
    #[expect(clippy::cast_precision_loss, reason = "raw values stay far below 2^53")]
    pub fn to_f64(self) -> f64 {
        // A division by a power of ten is rounded once, so that 2317 / 10 prints as 231.7.
        self.raw as f64 / 10f64.powi(i32::from(self.decimals))
    }

    /// The number without trailing zeros behind its point.
    fn shortest(self) -> Self {
        let mut number = self;
        while number.decimals > 0 && number.raw % 10 == 0 {
            number = Self {
                raw: number.raw / 10,
                decimals: number.decimals - 1,
            };
        }
        number
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { raw, decimals } = self.shortest();
        if decimals == 0 {
            return f.pad(&raw.to_string());
        }
        let point = 10_u64.pow(u32::from(decimals));
        let sign = if raw < 0 { "-" } else { "" };
        let (whole, part) = (raw.unsigned_abs() / point, raw.unsigned_abs() % point);
        f.pad(&format!(
            "{sign}{whole}.{part:0width$}",
            width = usize::from(decimals)
        ))
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = self.shortest();
        if number.decimals == 0 {
            serializer.serialize_i64(number.raw)
        } else {
            serializer.serialize_f64(number.to_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_the_shortest_decimal() {
        let written = [
            (2317, 1),
            (67460, 1),
            (40791, 2),
            (-143_481, 2),
            (-5, 1),
            (0, 3),
            (7, 3),
            (50, 2),
        ]
        .map(|(raw, decimals)| Decimal { raw, decimals }.to_string());
        assert_eq!(
            written,
            [
                "231.7", "6746", "407.91", "-1434.81", "-0.5", "0", "0.007", "0.5"
            ]
        );
    }

    #[test]
    fn json_and_text_agree_on_every_number() {
        for raw in (-200_000..200_000)
            .step_by(37)
            .chain([i64::from(u32::MAX), -1, 0, 1])
        {
            for decimals in 0..=3 {
                let number = Decimal { raw, decimals };
                assert_eq!(
                    serde_json::to_string(&number).expect("a number"),
                    number.to_string()
                );
            }
        }
    }

    #[test]
    fn a_type_refuses_what_it_cannot_hold() {
        assert!(Volts::<1>::from_raw(i64::from(i32::MAX) + 1).is_none());
        assert_eq!(Volts::<1>::from_raw(-7), Some(Volts::new(-7)));
    }
}
