//! A set of quantities as bits, so that a reading which brings nothing new costs a comparison.

use kstar_model::catalogue::{Quantity, Values};

/// Quantities, in the catalogue's order: one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set([u64; WORDS]);

const WORDS: usize = Quantity::ALL.len().div_ceil(u64::BITS as usize);

/// The word of a quantity's bit, and the bit in it.
fn place(quantity: Quantity) -> (usize, u64) {
    let index = quantity as usize;
    let bits = u64::BITS as usize;
    (index / bits, 1 << (index % bits))
}

impl Set {
    /// The quantities that are present.
    pub(super) fn present(values: &Values) -> Self {
        Quantity::ALL
            .iter()
            .copied()
            .filter(|quantity| values.raw(*quantity).is_some())
            .collect()
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    pub(super) fn contains(self, quantity: Quantity) -> bool {
        let (word, bit) = place(quantity);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(super) fn union(self, other: Self) -> Self {
        self.combine(other, |one, other| one | other)
    }

    pub(super) fn both(self, other: Self) -> Self {
        self.combine(other, |one, other| one & other)
    }

    pub(super) fn without(self, other: Self) -> Self {
        self.combine(other, |one, other| one & !other)
    }

    fn combine(mut self, other: Self, word: fn(u64, u64) -> u64) -> Self {
        for (one, other) in self.0.iter_mut().zip(other.0) {
            *one = word(*one, other);
        }
        self
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Quantity> {
        Quantity::ALL
            .iter()
            .copied()
            .filter(move |quantity| self.contains(*quantity))
    }
}

impl FromIterator<Quantity> for Set {
    fn from_iter<I: IntoIterator<Item = Quantity>>(quantities: I) -> Self {
        let mut set = Self::default();
        for quantity in quantities {
            let (word, bit) = place(quantity);
            if let Some(word) = set.0.get_mut(word) {
                *word |= bit;
            }
        }
        set
    }
}
