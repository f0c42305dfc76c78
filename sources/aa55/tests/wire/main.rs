//! The wire against everything that is known of the protocol: figures, captures, code lists, and any bytes at all.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test whose input is wrong has to stop"
)]

mod asserted;
mod captures;
mod figures;
mod labels;
mod properties;
mod vectors;

use kstar_model::catalogue::{Group, Quantity};

use asserted::Asserted;

/// Who sets a quantity that no reply holds, and why.
fn not_on_the_wire(quantity: Quantity) -> Option<&'static str> {
    match quantity.description().group {
        Group::Link => Some("the poller measures it; the wire knows no clock"),
        Group::Meter => Some("the collector's meter adds it up; an inverter has no such counter"),
        _ => None,
    }
}

#[test]
fn every_quantity_is_asserted_somewhere() {
    let mut asserted = Asserted::default();
    vectors::check(&mut asserted);
    labels::check(&mut asserted);
    captures::check(&mut asserted);
    for quantity in Quantity::ALL {
        match not_on_the_wire(*quantity) {
            Some(reason) => assert!(
                !asserted.contains(*quantity),
                "{quantity} is asserted after all, although {reason}"
            ),
            None => assert!(asserted.contains(*quantity), "no test asserts {quantity}"),
        }
    }
}
