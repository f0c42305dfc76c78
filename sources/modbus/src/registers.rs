//! Registers: which blocks of them a family has, and how values stand in them.

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::scalar::{Clock, Kind, Scalar};
use kstar_source::source::Asked;

use crate::frame::{Function, Request};

/// Consecutive registers that are asked for together.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// What it holds.
    pub name: &'static str,
    pub(crate) function: Function,
    pub(crate) first: u16,
    /// How many registers; where machines differ the longest comes first, and the next is tried if one is refused.
    pub(crate) counts: &'static [u16],
    /// When it is asked for.
    pub asked: Asked,
    /// Whether these registers can be the block's: another of the same length has the same head.
    pub(crate) fits: fn(&[u16]) -> bool,
    /// Whether a machine that tells this can have it.
    pub(crate) wanted: fn(&Registers<'_>) -> bool,
}

impl Block {
    pub(crate) const fn new(
        name: &'static str,
        function: Function,
        first: u16,
        counts: &'static [u16],
        asked: Asked,
    ) -> Self {
        Self {
            name,
            function,
            first,
            counts,
            asked,
            fits: |_| true,
            wanted: |_| true,
        }
    }

    /// The requests for it to this unit, one for each length.
    pub fn requests(&self, unit: u8) -> impl Iterator<Item = Request> {
        let counts = self.counts.iter();
        counts.map(move |count| Request::new(unit, self.function, self.first, *count))
    }
}

/// What registers hold, as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct Registers<'a>(Vec<(u16, &'a [u16])>);

impl<'a> Registers<'a> {
    /// These registers, from the first one on.
    pub fn insert(&mut self, first: u16, words: &'a [u16]) {
        self.0.push((first, words));
    }

    /// Consecutive registers, if all of them are known.
    pub fn words(&self, first: u16, count: u16) -> Option<&'a [u16]> {
        self.0.iter().find_map(|(begin, words)| {
            let from = usize::from(first.checked_sub(*begin)?);
            words.get(from..from + usize::from(count))
        })
    }

    /// One register.
    pub fn word(&self, register: u16) -> Option<u16> {
        self.words(register, 1)?.first().copied()
    }

    fn array<const N: usize>(&self, first: u16) -> Option<[u16; N]> {
        let count = u16::try_from(N).ok()?;
        self.words(first, count)?.first_chunk().copied()
    }

    /// Two registers, the high word first.
    pub fn double_word(&self, first: u16) -> Option<u32> {
        let [high, low] = self.array(first)?.map(u32::from);
        Some(high << 16 | low)
    }

    /// A text of so many registers, without what fills it up; absent if nothing is left.
    pub fn text(&self, first: u16, count: u16) -> Option<String> {
        let bytes = self
            .words(first, count)?
            .iter()
            .flat_map(|word| word.to_be_bytes());
        let text: String = bytes
            .filter(|byte| byte.is_ascii_graphic() || *byte == b' ')
            .map(char::from)
            .collect();
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// The forms in which a value can stand in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One register without a sign; all bits set mean that there is no value.
    U16,
    /// One register with a sign.
    I16,
    /// Two registers without a sign, the high word first; all bits set mean that there is no value.
    U32,
    /// Two registers with a sign.
    I32,
    /// Four registers without a sign, the highest word first; all bits set mean that there is no value.
    U64,
    /// A float in two registers that counts something; below zero there is no value.
    F32,
    /// One register with a sign, where 0x7FFF means that there is no sensor.
    Temperature,
    /// The same, and 0xFFFF means it too.
    GoodweTemperature,
    /// Three registers: year since 2000, month, day, hour, minute, second.
    DateTime,
}

impl Form {
    /// How many registers it takes.
    pub const fn registers(self) -> u16 {
        match self {
            Self::U16 | Self::I16 | Self::Temperature | Self::GoodweTemperature => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::DateTime => 3,
            Self::U64 => 4,
        }
    }

    /// The value that stands there, with so many decimals more than the registers have by themselves; rounded where that
    /// is less than none.
    fn read(self, registers: &Registers<'_>, first: u16, more_decimals: i32) -> Option<i64> {
        let integer = match self {
            Self::U16 => registers
                .word(first)
                .filter(|word| *word != u16::MAX)?
                .into(),
            Self::I16 => registers.word(first)?.cast_signed().into(),
            Self::Temperature => registers
                .word(first)
                .map(u16::cast_signed)
                .filter(|raw| *raw != i16::MAX)?
                .into(),
            Self::GoodweTemperature => registers
                .word(first)
                .map(u16::cast_signed)
                .filter(|raw| *raw != i16::MAX && *raw != -1)?
                .into(),
            Self::U32 => registers
                .double_word(first)
                .filter(|raw| *raw != u32::MAX)?
                .into(),
            Self::I32 => registers.double_word(first)?.cast_signed().into(),
            Self::U64 => {
                let [a, b, c, d] = registers.array(first)?.map(u64::from);
                let raw = a << 48 | b << 32 | c << 16 | d;
                i64::try_from(raw).ok()?
            }
            Self::F32 => return float(registers.double_word(first)?, more_decimals),
            Self::DateTime => {
                let words: [u16; 3] = registers.array(first)?;
                return clock(words).map(Scalar::raw);
            }
        };
        scaled(integer, more_decimals)
    }
}

/// An integer with so many more decimals, rounded to the nearest where they are fewer.
fn scaled(integer: i64, more_decimals: i32) -> Option<i64> {
    let factor = 10_i64.checked_pow(more_decimals.unsigned_abs())?;
    if more_decimals >= 0 {
        return integer.checked_mul(factor);
    }
    let half = factor / 2;
    Some((integer.checked_add(half * integer.signum())?) / factor)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float that is out of range saturates, and the type of the quantity then drops it"
)]
fn float(bits: u32, more_decimals: i32) -> Option<i64> {
    let number = f64::from(f32::from_bits(bits));
    let scaled = (number * 10_f64.powi(more_decimals)).round();
    (number.is_finite() && number >= 0.0).then_some(scaled as i64)
}

/// A clock in three registers: year and month, day and hour, minute and second.
pub(crate) fn clock(words: [u16; 3]) -> Option<Clock> {
    let [[year, month], [day, hour], [minute, second]] =
        words.map(|word| word.to_be_bytes().map(i16::from));
    Clock::new([2000 + year, month, day, hour, minute, second])
}

/// Whether registers begin with a date and a time.
pub(crate) fn begins_with_clock(words: &[u16]) -> bool {
    words.first_chunk().copied().and_then(clock).is_some()
}

/// Whether registers can begin with a clock, be it one that was never set or lost its date: each part is one that clocks show,
/// or all of its bits are set.
pub(crate) fn can_begin_with_clock(words: &[u16]) -> bool {
    const MOST: [[u8; 2]; 3] = [[99, 12], [31, 23], [59, 59]];
    words.first_chunk().is_some_and(|clock: &[u16; 3]| {
        let parts = clock.map(u16::to_be_bytes);
        let pairs = parts.as_flattened().iter().zip(MOST.as_flattened());
        pairs
            .into_iter()
            .all(|(part, most)| part <= most || *part == u8::MAX)
    })
}

/// Whether some of the registers, counted from the first, can hold a text: nothing but letters and what fills it up.
pub(crate) fn can_hold_text(words: &[u16], at: std::ops::Range<usize>) -> bool {
    let is_text = |byte: u8| byte.is_ascii_graphic() || matches!(byte, 0 | b' ' | u8::MAX);
    words.get(at).is_some_and(|text| {
        let mut bytes = text.iter().flat_map(|word| word.to_be_bytes());
        bytes.all(is_text)
    })
}

/// Where a quantity stands.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The register, or the first of them.
    pub register: u16,
    /// How it stands there.
    pub form: Form,
    /// How many decimals the registers carry, in the quantity's unit.
    pub decimals: u8,
    /// Whether the sign is the opposite of the catalogue's.
    pub is_turned: bool,
    /// What it is.
    pub quantity: Quantity,
}

impl Field {
    /// The raw value of the quantity, if the registers have one.
    pub fn read(&self, registers: &Registers<'_>) -> Option<i64> {
        let wanted = self.quantity.description().decimals;
        let more = i32::from(wanted) - i32::from(self.decimals);
        let raw = self.form.read(registers, self.register, more)?;
        if self.is_turned {
            raw.checked_neg()
        } else {
            Some(raw)
        }
    }
}

/// Reads what stands in a table.
pub(crate) fn read(fields: &[Field], registers: &Registers<'_>, values: &mut Values) {
    for field in fields {
        if let Some(raw) = field.read(registers) {
            values.set_raw(field.quantity, Some(raw));
        }
    }
}

/// A table of fields: register, form, scale, unit, sign (`-` where it is the opposite of the catalogue's), quantity. A
/// wrong unit does not compile.
macro_rules! fields {
    ($($register:literal $form:ident $scale:tt $unit:tt $sign:tt $quantity:ident;)+) => {
        &[$({
            const {
                assert!(
                    $crate::registers::is_unit(
                        kstar_model::catalogue::Quantity::$quantity.description().unit,
                        $crate::registers::fields!(@unit $unit),
                    ),
                    concat!("the unit of ", stringify!($quantity)),
                );
            };
            $crate::registers::Field {
                register: $register,
                form: $crate::registers::Form::$form,
                decimals: $crate::registers::fields!(@decimals $scale),
                is_turned: $crate::registers::fields!(@turned $sign),
                quantity: kstar_model::catalogue::Quantity::$quantity,
            }
        },)+]
    };
    (@decimals 1) => { 0 };
    (@decimals 0.1) => { 1 };
    (@decimals 0.01) => { 2 };
    (@decimals 0.001) => { 3 };
    (@turned +) => { false };
    (@turned -) => { true };
    (@unit V) => { "V" };
    (@unit A) => { "A" };
    (@unit W) => { "W" };
    (@unit Hz) => { "Hz" };
    (@unit C) => { "°C" };
    (@unit %) => { "%" };
    (@unit kWh) => { "kWh" };
    (@unit h) => { "h" };
    (@unit code) => { "" };
}
pub(crate) use fields;

/// Whether two symbols are the same, for the compiler.
pub(crate) const fn is_unit(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while let (Some((first, rest)), Some((second, others))) =
        (one.split_first(), other.split_first())
    {
        if *first != *second {
            return false;
        }
        (one, other) = (rest, others);
    }
    one.is_empty() && other.is_empty()
}

/// A mode by the code that this family has for it. A code that the table lacks keeps its number, so that it is shown as
/// unknown, unless that number is another mode's of ours.
pub(crate) fn translate<M: Scalar>(code: Option<u16>, table: &[(u16, M)]) -> Option<M> {
    let code = code?;
    if let Some((_, mode)) = table.iter().find(|(known, _)| *known == code) {
        return Some(*mode);
    }
    let is_ours = matches!(M::KIND, Kind::Mode(labels) if labels.find(code.into()).is_some());
    (!is_ours).then(|| M::from_raw(code.into())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_brought_to_the_resolution_of_the_catalogue() {
        for (integer, more, expected) in [
            (5231, 0, 5231),
            (52, 2, 5200),
            (1234, -1, 123),
            (1235, -1, 124),
            (-1234, -1, -123),
            (-1235, -1, -124),
            (-4, -1, 0),
        ] {
            assert_eq!(scaled(integer, more), Some(expected), "{integer} {more}");
        }
        assert_eq!(scaled(i64::MAX, 1), None);
    }

    #[test]
    fn what_is_not_there_is_absent() {
        let words = [0xffff, 0x7fff, 0xffff, 0xffff];
        let mut registers = Registers::default();
        registers.insert(100, &words);
        for (form, register, expected) in [
            (Form::U16, 100, None),
            (Form::I16, 100, Some(-1)),
            (Form::Temperature, 100, Some(-1)),
            (Form::GoodweTemperature, 100, None),
            (Form::Temperature, 101, None),
            (Form::GoodweTemperature, 101, None),
            (Form::U32, 102, None),
            (Form::I32, 102, Some(-1)),
            (Form::U64, 100, None),
            (Form::U16, 99, None),
            (Form::U32, 103, None),
            (Form::F32, 102, None),
        ] {
            assert_eq!(form.read(&registers, register, 0), expected, "{form:?}");
        }
        let floats = [12.5_f32, -12.5].map(f32::to_bits);
        assert_eq!(floats.map(|bits| float(bits, 1)), [Some(125), None]);
    }

    #[test]
    fn a_clock_that_was_never_set_is_no_other_blocks_beginning() {
        for (words, is_clock, can_be) in [
            ([0x1a0b, 0x1e0c, 0x0102], true, true),
            ([0, 0, 0x3b3b], false, true),
            ([0xffff, 0xffff, 0xffff], false, true),
            // Unit, rated power in hundreds of watts, phases.
            ([1, 100, 3], false, false),
            // The letters of a serial number.
            ([0x3930, 0x3130, 0x4b45], false, false),
        ] {
            assert_eq!(begins_with_clock(&words), is_clock, "{words:x?}");
            assert_eq!(can_begin_with_clock(&words), can_be, "{words:x?}");
        }
        assert!(!can_begin_with_clock(&[0, 0]));
    }

    #[test]
    fn a_text_is_freed_of_what_fills_it_up() {
        let words = [0x3047, 0x5700, 0xffff, 0x2020];
        let mut registers = Registers::default();
        registers.insert(1, &words);
        assert_eq!(registers.text(1, 4).as_deref(), Some("0GW"));
        assert!(can_hold_text(&words, 0..4));
        assert!(!can_hold_text(&words, 0..5) && !can_hold_text(&[0x3047, 0x0107], 0..2));
        assert_eq!(registers.text(3, 2), None);
        assert_eq!(registers.text(3, 3), None);
    }
}
