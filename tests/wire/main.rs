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

use kstar_sink::catalogue::Quantity;

use asserted::Asserted;

/// Quantities that no reply holds, and who sets them.
const NOT_ON_THE_WIRE: [(Quantity, &str); 1] = [(
    Quantity::reply_time,
    "the poller measures it; the wire knows no clock",
)];

#[test]
fn every_quantity_is_asserted_somewhere() {
    let mut asserted = Asserted::default();
    vectors::check(&mut asserted);
    labels::check(&mut asserted);
    captures::check(&mut asserted);
    for (quantity, reason) in NOT_ON_THE_WIRE {
        assert!(
            !asserted.contains(quantity),
            "{quantity} is asserted after all, although {reason}"
        );
    }
    let leftover: Vec<&Quantity> = Quantity::ALL
        .iter()
        .filter(|quantity| {
            !asserted.contains(**quantity)
                && NOT_ON_THE_WIRE.iter().all(|(other, _)| other != *quantity)
        })
        .collect();
    assert!(leftover.is_empty(), "no test asserts {leftover:?}");
}
