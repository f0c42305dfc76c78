//! How long it takes from a datagram to values.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark whose input is wrong has nothing to measure"
)]

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use kstar_source_aa55::wire::{ApAddress, Request, reply, running};

#[path = "../tests/wire/figures.rs"]
#[expect(
    dead_code,
    reason = "names and sums of the captures are the tests' business"
)]
mod figures;

/// Shows beside the times that nothing is allocated.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// A KSE's payload, and that of GoodWe's longest machines.
#[divan::bench(args = [figures::KSE_LENGTH, 140])]
fn datagram_to_values(bencher: Bencher<'_, '_>, length: usize) {
    let mut payload = figures::capture(5);
    payload.resize(length, 0);
    if let Some(clock) = payload.get_mut(95..101) {
        // A real moment, which takes longer to read than none.
        clock.copy_from_slice(&[23, 3, 24, 18, 5, 20]);
    }
    let datagram = figures::frame(figures::TO_B0, figures::RUNNING, &payload);
    bencher
        .counter(BytesCount::new(datagram.len()))
        .bench_local(|| {
            reply(black_box(&datagram), Request::RunningData, ApAddress::B0)
                .and_then(running::decode)
                .expect("a whole frame")
        });
}

/// The part of finding and checking the frame.
#[divan::bench]
fn datagram_to_payload(bencher: Bencher<'_, '_>) {
    let datagram = figures::frame(figures::TO_B0, figures::RUNNING, &figures::capture(5));
    bencher.bench_local(|| {
        reply(black_box(&datagram), Request::RunningData, ApAddress::B0)
            .map(<[u8]>::len)
            .expect("a whole frame")
    });
}

/// A datagram full of headers that lead nowhere, the worst that can be sent.
#[divan::bench]
fn datagram_of_headers(bencher: Bencher<'_, '_>) {
    let datagram = [0xaa, 0x55].repeat(750);
    bencher.bench_local(|| {
        reply(black_box(&datagram), Request::RunningData, ApAddress::B0).expect_err("no frame")
    });
}
