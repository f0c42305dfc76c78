//! What stands in the registers of each family: figures as the protocol notes have them, written down apart from
//! any decoder.

use jiff::civil::DateTime;

use super::config::{Config, Family};
use super::house::Moment;
use crate::surroundings::rounded;

mod goodwe_dt;
mod goodwe_et;
mod kstar_hybrid;

/// Read holding registers.
pub const HOLDING: u8 = 3;
/// Read input registers.
pub const INPUT: u8 = 4;

/// The units of counters, in watt seconds.
pub(super) const KILOWATT_HOUR: f64 = 3_600_000.0;
pub(super) const TENTH_KILOWATT_HOUR: f64 = 360_000.0;
pub(super) const WATT_HOUR: f64 = 3_600.0;

/// Everything that a machine has at a moment.
pub fn blocks(config: &Config, moment: &Moment) -> Vec<Block> {
    match config.family {
        Family::KstarHybrid => kstar_hybrid::blocks(config, moment),
        Family::GoodweEt => goodwe_et::blocks(config, moment),
        Family::GoodweDt => goodwe_dt::blocks(config, moment),
    }
}

/// Registers that follow one another. What is not put into one is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// [`HOLDING`] or [`INPUT`].
    pub function: u8,
    /// The number of the first.
    pub first: u16,
    /// What they hold.
    pub words: Vec<u16>,
}

impl Block {
    pub(super) fn new(function: u8, first: u16, count: u16) -> Self {
        Self {
            function,
            first,
            words: vec![0; usize::from(count)],
        }
    }

    /// A register's content.
    pub fn get(&self, register: u16) -> Option<u16> {
        let at = usize::from(register.checked_sub(self.first)?);
        self.words.get(at).copied()
    }

    /// What a number of registers hold, if all of them are here.
    pub fn range(&self, first: u16, count: u16) -> Option<&[u16]> {
        let from = usize::from(first.checked_sub(self.first)?);
        self.words.get(from..from + usize::from(count))
    }

    /// 16 bits. A register outside the block is a mistake in this crate, which the tests of the families find.
    fn put(&mut self, register: u16, word: u16) {
        debug_assert!(self.get(register).is_some(), "no register {register}");
        let at = usize::from(register.saturating_sub(self.first));
        if let Some(place) = self.words.get_mut(at) {
            *place = word;
        }
    }

    fn put_all(&mut self, first: u16, words: impl IntoIterator<Item = u16>) {
        for (register, word) in (first..).zip(words) {
            self.put(register, word);
        }
    }

    fn fill(&mut self, registers: std::ops::RangeInclusive<u16>, word: u16) {
        for register in registers {
            self.put(register, word);
        }
    }

    /// 16 bits with a sign.
    fn put_signed(&mut self, register: u16, number: i32) {
        let [_, _, high, low] = number.to_be_bytes();
        self.put(register, u16::from_be_bytes([high, low]));
    }

    /// 32 bits, the high word first.
    fn put_double(&mut self, register: u16, number: u32) {
        let [a, b, c, d] = number.to_be_bytes();
        self.put_all(
            register,
            [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])],
        );
    }

    /// 32 bits with a sign, the high word first.
    fn put_signed_double(&mut self, register: u16, number: i32) {
        self.put_double(register, u32::from_be_bytes(number.to_be_bytes()));
    }

    /// 64 bits, the high word first.
    fn put_quadruple(&mut self, register: u16, number: u64) {
        let words = number.to_be_bytes();
        for (register, word) in (register..).zip(words.chunks_exact(2)) {
            if let [high, low] = word {
                self.put(register, u16::from_be_bytes([*high, *low]));
            }
        }
    }

    /// A number with a fraction, in 32 bits.
    fn put_float(&mut self, register: u16, number: f32) {
        self.put_double(register, number.to_bits());
    }

    /// Text in this many registers, two letters in each, with blanks behind it.
    fn put_text(&mut self, register: u16, count: u16, text: &str) {
        let mut letters = text.bytes().chain(std::iter::repeat(b' '));
        for register in (register..).take(usize::from(count)) {
            let pair = [letters.next(), letters.next()].map(Option::unwrap_or_default);
            self.put(register, u16::from_be_bytes(pair));
        }
    }

    /// Year, month, day, hour, minute and second, a byte each.
    fn put_clock(&mut self, register: u16, clock: DateTime) {
        let byte = |number: i16| u16::try_from(number.rem_euclid(100)).unwrap_or_default();
        let pair = |high: i16, low: i16| byte(high) << 8 | byte(low);
        self.put_all(
            register,
            [
                pair(clock.year(), i16::from(clock.month())),
                pair(i16::from(clock.day()), i16::from(clock.hour())),
                pair(i16::from(clock.minute()), i16::from(clock.second())),
            ],
        );
    }
}

/// The current that a power is at a voltage in tenths, in units of this many of an ampere (10: tenths).
fn current(watts: i32, decivolts: u16, in_an_ampere: f64) -> i32 {
    if decivolts == 0 {
        return 0;
    }
    rounded(10.0 * in_an_ampere * f64::from(watts) / f64::from(decivolts))
}
