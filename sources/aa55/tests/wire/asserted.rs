//! Which quantities have been compared with a value that was expected.

use std::collections::HashSet;

use kstar_model::catalogue::{Quantity, Values};

/// The quantities whose presence and value some table has asserted.
#[derive(Default)]
pub(crate) struct Asserted(HashSet<Quantity>);

impl Asserted {
    /// Asserts one value, written as users see it; `None` where it must be absent.
    #[track_caller]
    pub(crate) fn equal(
        &mut self,
        context: &str,
        values: &Values,
        quantity: Quantity,
        expected: Option<&str>,
    ) {
        let found = values.get(quantity).map(|value| value.to_string());
        assert_eq!(found.as_deref(), expected, "{context}: {quantity}");
        // That something is absent says nothing of how it is read.
        if expected.is_some() {
            self.0.insert(quantity);
        }
    }

    /// Asserts all values: those that are listed, and that every other is absent.
    #[track_caller]
    pub(crate) fn all_equal(
        &mut self,
        context: &str,
        values: &Values,
        expected: &[(Quantity, &str)],
    ) {
        for quantity in Quantity::ALL {
            let text = expected
                .iter()
                .find(|(listed, _)| listed == quantity)
                .map(|(_, text)| *text);
            self.equal(context, values, *quantity, text);
        }
    }

    /// Whether a value of it has been asserted.
    pub(crate) fn contains(&self, quantity: Quantity) -> bool {
        self.0.contains(&quantity)
    }
}
