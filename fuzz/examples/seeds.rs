//! Writes the seeds of every target into `corpus/`, made from PROTOCOL's figures and texts.
//!
//! Run it in this folder: `cargo run --example seeds`.

use std::fs;
use std::io;
use std::path::Path;

use kstar_source_aa55::wire::{ApAddress, GREETING, Request};

#[path = "../../sources/aa55/tests/wire/figures.rs"]
#[expect(
    dead_code,
    reason = "the sums that the figures end in are the tests' business"
)]
mod figures;

fn main() -> io::Result<()> {
    let mut frames = Vec::new();
    let mut running = Vec::new();
    for column in 0..figures::CAPTURES.len() {
        let payload = figures::capture(column);
        frames.push(figures::frame(figures::TO_B0, figures::RUNNING, &payload));
        for length in [81, 95, 133, 140] {
            let mut longer = payload.clone();
            longer.resize(length, 0);
            if let Some(clock) = longer.get_mut(95..101) {
                clock.copy_from_slice(&[23, 3, 24, 18, 5, 20]);
            }
            running.push(longer);
        }
        running.push(payload);
    }
    let device_info = [
        b"2323GKSE4000   KSTAR           KSE4000000000001".as_slice(),
        b"3600410-04025-23\x02410-02034-16\x03",
    ]
    .concat();
    let settings = figures::payload(
        86,
        [
            (0, 1, 48),
            (6, 1, 7),
            (7, 1, 30),
            (12, 2, 1),
            (22, 2, 74),
            (24, 2, 532),
            (32, 2, 20),
            (66, 2, 3),
        ],
    );
    let records = vec![
        device_info[..64].to_vec(),
        settings[..34].to_vec(),
        device_info,
        settings,
    ];

    for (kind, payload) in [([0x01, 0x82], &records[2]), ([0x01, 0x89], &records[3])] {
        frames.push(figures::frame([0x7f, 0xc0], kind, payload));
    }
    frames.push(figures::frame(figures::TO_B0, [0x03, 0x9d], &[0x06]));
    frames.push([&frames[8][..], &frames[0]].concat());
    frames.push([&[0x00, 0xaa][..], &frames[0]].concat());
    frames.push(frames[0][..50].to_vec());
    frames.push(vec![0xaa, 0x55, 0xf7, 0x83, 0x02, 0x20, 0xc3]);
    frames.push(Request::RunningData.frame(ApAddress::B0).to_vec());

    let discovery = [
        &b"192.168.1.50,ACCF23000001,HF-LPB1x000"[..],
        b"192.168.1.212,98D863000001,Solar-WiFi000W0000",
        b"dongle@sn,dtls_port:8899,95048ESU000W0000",
        GREETING,
    ]
    .map(<[u8]>::to_vec);

    write("frame", &frames)?;
    write("running", &running)?;
    write("records", &records)?;
    write("discovery", &discovery)
}

fn write(target: &str, seeds: &[Vec<u8>]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder)?;
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed)?;
    }
    Ok(())
}
