//! A set of quantities as bits, so that a reading which brings nothing new costs a comparison.

use kstar_model::catalogue::{Quantity, Values};

/// Quantities, in the catalogue's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(u128);

const _: () = assert!(
    Quantity::ALL.len() <= u128::BITS as usize,
    "more quantities than bits"
);

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
        self.0 == 0
    }

    pub(super) fn contains(self, quantity: Quantity) -> bool {
        self.0 >> (quantity as u32) & 1 == 1
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
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
        Self(
            quantities
                .into_iter()
                .fold(0, |bits, quantity| bits | 1 << (quantity as u32)),
        )
    }
}
