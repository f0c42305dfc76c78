//! A reading's values, and what was counted, as a few bytes: pairs of a quantity's number in the file and its raw value.
//!
//! Numbers stand for names by a table in the file and not by their place in the catalogue, so that a file outlives
//! an upgrade whose catalogue has grown. What follows from others is not there, but for what an inverter has told itself.

use std::time::Duration;

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::{AccountId, Amounts, Counted, Earlier};

/// The values that are present; a quantity without a number is left out.
pub(super) fn encode(values: &Values, number: impl Fn(Quantity) -> Option<u64>) -> Vec<u8> {
    let mut row = Vec::with_capacity(256);
    let measured = Quantity::ALL
        .iter()
        .filter(|quantity| quantity.description().derivation.is_none())
        .filter_map(|quantity| Some((*quantity, values.raw(*quantity)?)));
    for (quantity, raw) in measured.chain(values.told()) {
        if let Some(number) = number(quantity) {
            put(&mut row, number);
            put(&mut row, zigzag(raw));
        }
    }
    row
}

/// The values; those of a number that stands for no quantity known here are left out. `None` if the bytes are none
/// that [`encode`] makes.
pub(super) fn decode(mut row: &[u8], quantity: impl Fn(u64) -> Option<Quantity>) -> Option<Values> {
    let mut values = Values::default();
    while !row.is_empty() {
        let number = take(&mut row)?;
        let raw = unzigzag(take(&mut row)?);
        if let Some(quantity) = quantity(number) {
            values.set_raw(quantity, Some(raw));
        }
    }
    values.derive();
    Some(values)
}

/// What was counted; a counter without a number is left out.
pub(super) fn encode_counted(
    counted: &Counted,
    number: impl Fn(Quantity) -> Option<u64>,
) -> Vec<u8> {
    let mut row = Vec::with_capacity(64);
    let put_amounts = |row: &mut Vec<u8>, amounts: &Amounts| {
        let known: Vec<(u64, i64)> = amounts
            .iter()
            .filter_map(|(counter, amount)| Some((number(counter)?, amount?)))
            .collect();
        put(row, known.len() as u64);
        for (number, amount) in known {
            put(row, number);
            put(row, zigzag(amount));
        }
    };
    put(&mut row, zigzag(counted.account.0));
    put(&mut row, counted.sequence);
    put_duration(&mut row, counted.covers);
    put_amounts(&mut row, &counted.amounts);
    if let Some(earlier) = &counted.earlier {
        put_duration(&mut row, earlier.ago);
        put_amounts(&mut row, &earlier.amounts);
    }
    row
}

/// What was counted; counters of a number that stands for none known here are left out. `None` if the bytes are none that
/// [`encode_counted`] makes.
pub(super) fn decode_counted(
    mut row: &[u8],
    quantity: impl Fn(u64) -> Option<Quantity>,
) -> Option<Counted> {
    let row = &mut row;
    let take_amounts = |row: &mut &[u8]| {
        let mut amounts = Amounts::default();
        for _ in 0..take(row)? {
            let (number, amount) = (take(row)?, unzigzag(take(row)?));
            if let Some(counter) = quantity(number) {
                amounts.set(counter, Some(amount));
            }
        }
        Some(amounts)
    };
    Some(Counted {
        account: AccountId(unzigzag(take(row)?)),
        sequence: take(row)?,
        covers: Duration::from_nanos(take(row)?),
        amounts: take_amounts(row)?,
        earlier: if row.is_empty() {
            None
        } else {
            Some(Earlier {
                ago: Duration::from_nanos(take(row)?),
                amounts: take_amounts(row)?,
            })
        },
    })
}

fn put_duration(row: &mut Vec<u8>, duration: Duration) {
    put(row, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

/// Small numbers of either sign as small numbers.
fn zigzag(raw: i64) -> u64 {
    ((raw << 1) ^ (raw >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// Seven bits in each byte, the lowest first; the eighth says that more follow.
fn put(row: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return row.push(low & 0x7F);
        }
        row.push(low | 0x80);
    }
}

fn take(row: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = row.split_first()?;
        *row = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{full_reading, kse_reading, readings};
    use kstar_model::counted::COUNTERS;
    use proptest::prelude::*;

    fn number(quantity: Quantity) -> u64 {
        quantity as u64 + 1
    }

    fn quantity(number: u64) -> Option<Quantity> {
        Quantity::ALL
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
            .copied()
    }

    #[test]
    fn every_reading_comes_out_as_it_went_in_and_takes_few_bytes() {
        for reading in readings("roof", 500) {
            let row = encode(&reading.values, |quantity| Some(number(quantity)));
            assert_eq!(decode(&row, quantity), Some(reading.values.clone()));
        }
        let kse = kse_reading("roof", 1);
        let length = encode(&kse.values, |quantity| Some(number(quantity))).len();
        assert!(length < 210, "{length} bytes");
    }

    #[test]
    fn what_an_inverter_tells_itself_comes_out_as_it_told_it() {
        let mut values = full_reading("roof", 1).values.clone();
        for quantity in Quantity::ALL {
            if quantity.description().derivation.is_some() {
                values.set_raw(*quantity, Some(7));
            }
        }
        let row = encode(&values, |quantity| Some(number(quantity)));
        assert_eq!(decode(&row, quantity), Some(values));
    }

    #[test]
    fn what_one_side_does_not_know_is_left_out() {
        let values = full_reading("roof", 1).values.clone();
        let mut less = values.clone();
        less.set_raw(Quantity::grid_frequency, None);
        let known = |quantity| (quantity != Quantity::grid_frequency).then(|| number(quantity));
        assert_eq!(
            decode(&encode(&values, known), quantity),
            Some(less.clone())
        );
        let known =
            |number| quantity(number).filter(|quantity| *quantity != Quantity::grid_frequency);
        let row = encode(&values, |quantity| Some(number(quantity)));
        assert_eq!(decode(&row, known), Some(less));
    }

    proptest! {
        #[test]
        fn every_number_comes_out_as_it_went_in(raw: i64) {
            let mut row = Vec::new();
            put(&mut row, zigzag(raw));
            let mut rest = &row[..];
            prop_assert_eq!(take(&mut rest).map(unzigzag), Some(raw));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn what_was_counted_comes_out_as_it_went_in(
            account: i64,
            sequence: u64,
            covers: u64,
            amounts: [Option<i64>; 5],
            earlier: Option<(u64, [Option<i64>; 5])>,
        ) {
            let of = |raw: [Option<i64>; 5]| {
                let mut amounts = Amounts::default();
                for (counter, raw) in COUNTERS.into_iter().zip(raw) {
                    amounts.set(counter, raw);
                }
                amounts
            };
            let counted = Counted {
                account: AccountId(account),
                sequence,
                covers: Duration::from_nanos(covers),
                amounts: of(amounts),
                earlier: earlier.map(|(ago, amounts)| Earlier {
                    ago: Duration::from_nanos(ago),
                    amounts: of(amounts),
                }),
            };
            let row = encode_counted(&counted, |quantity| Some(number(quantity)));
            prop_assert_eq!(decode_counted(&row, quantity), Some(counted));
        }

        #[test]
        fn bytes_that_are_no_row_are_no_reading_and_no_panic(row: Vec<u8>) {
            let _ = decode(&row, quantity);
            let _ = decode_counted(&row, quantity);
        }
    }
}
