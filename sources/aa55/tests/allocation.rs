//! Decoding running data allocates nothing: it happens for every poll, on small machines, for years.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test whose input is wrong has to stop"
)]

use std::hint::black_box;

use kstar_model::catalogue::Values;
use kstar_source_aa55::wire::{ApAddress, Refusal, Request, reply, running};

#[path = "wire/figures.rs"]
mod figures;

fn decode(datagram: &[u8]) -> Result<Values, Refusal> {
    reply(black_box(datagram), Request::RunningData, ApAddress::B0).and_then(running::decode)
}

#[track_caller]
fn check(datagram: &[u8]) {
    let mut decoded = None;
    let counted = allocation_counter::measure(|| decoded = Some(decode(datagram)));
    assert!(matches!(decoded, Some(Ok(_))), "{decoded:?}");
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

/// A capture's payload, made as long as that and with these bytes as the inverter's clock.
fn frame(length: usize, clock: [u8; 6]) -> Vec<u8> {
    let mut payload = figures::capture(5);
    payload.resize(length, 0);
    if let Some(place) = payload.get_mut(95..101) {
        place.copy_from_slice(&clock);
    }
    figures::frame(figures::TO_B0, figures::RUNNING, &payload)
}

#[test]
fn the_counter_sees_an_allocation() {
    let counted = allocation_counter::measure(|| drop(black_box(Box::new(7))));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn decoding_allocates_nothing() {
    for (column, name) in figures::CAPTURES.iter().enumerate() {
        let datagram = figures::frame(figures::TO_B0, figures::RUNNING, &figures::capture(column));
        assert_eq!(datagram.len(), 92, "{name}");
        assert_eq!(datagram[90..], figures::CHECKSUMS[column].to_be_bytes());
        check(&datagram);
    }
    let long = frame(140, [23, 3, 24, 18, 5, 20]);
    assert_eq!(long.len(), 149);
    check(&long);
}

#[test]
fn a_clock_that_shows_no_real_time_allocates_nothing_either() {
    for clock in [
        [0; 6],
        [0xff; 6],
        [23, 2, 29, 0, 0, 0],
        [23, 13, 1, 0, 0, 0],
        [23, 1, 1, 24, 0, 0],
        [23, 1, 1, 0, 60, 0],
        [23, 1, 1, 0, 0, 60],
    ] {
        let datagram = frame(140, clock);
        check(&datagram);
        assert_eq!(
            decode(&datagram).expect("a whole frame").inverter_clock,
            None,
            "{clock:?}"
        );
    }
}

#[test]
fn refusing_allocates_nothing() {
    let mut datagram = frame(83, [0; 6]);
    datagram[40] ^= 1;
    let mut refused = None;
    let counted = allocation_counter::measure(|| refused = Some(decode(&datagram)));
    assert!(
        matches!(refused, Some(Err(Refusal::Checksum { .. }))),
        "{refused:?}"
    );
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
