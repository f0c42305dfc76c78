//! The families against everything that is known of their registers: figures of the protocol notes, and captures.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test whose input is wrong has to stop"
)]

mod captures;
mod figures;

use std::collections::BTreeSet;

use kstar_model::catalogue::Quantity;
use kstar_source_modbus::families::Family;
use kstar_source_modbus::families::goodwe_dt::GOODWE_DT;
use kstar_source_modbus::families::goodwe_et::GOODWE_ET;
use kstar_source_modbus::families::kstar_hybrid::KSTAR_HYBRID;

/// The families.
const FAMILIES: [&Family; 3] = [&KSTAR_HYBRID, &GOODWE_ET, &GOODWE_DT];

#[test]
fn every_quantity_of_a_table_is_asserted_somewhere() {
    for family in FAMILIES {
        let asserted: BTreeSet<&str> = figures::check(family)
            .into_iter()
            .map(Quantity::name)
            .collect();
        for field in family.fields {
            assert!(
                asserted.contains(field.quantity.name()),
                "no test asserts {} of {}",
                field.quantity,
                family.name
            );
        }
    }
}

#[test]
fn every_register_of_a_block_has_one_meaning() {
    for family in FAMILIES {
        let mut known: Vec<(u16, u16, String)> = family
            .fields
            .iter()
            .map(|field| {
                (
                    field.register,
                    field.form.registers(),
                    field.quantity.to_string(),
                )
            })
            .chain(
                family
                    .notes
                    .iter()
                    .map(|(first, count, note)| (*first, *count, (*note).to_owned())),
            )
            .collect();
        known.sort();
        for pair in known.windows(2) {
            let ((first, count, one), (next, _, other)) = (&pair[0], &pair[1]);
            // KSTAR's back-up output has no frequency of its own.
            let is_shared = first == next && *next == 3125;
            assert!(
                first + count <= *next || is_shared,
                "{}: {first} is {one}, {next} is {other}",
                family.name
            );
        }
    }
}
