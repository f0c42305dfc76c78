//! Writes the seeds of every target into `corpus/`, made from PROTOCOL's figures and texts.
//!
//! Run it in this folder: `cargo run --example seeds`.

use std::fs;
use std::io;
use std::path::Path;

use kstar_source::stream::Dialogue as _;
use kstar_source_aa55::wire::{ApAddress, GREETING, Request};
use kstar_source_modbus::families::goodwe_dt::GOODWE_DT;
use kstar_source_modbus::families::goodwe_et::GOODWE_ET;
use kstar_source_modbus::families::kstar_hybrid::KSTAR_HYBRID;
use kstar_source_modbus::frame::with_crc;
use kstar_source_modbus::framing::solarman_v5::{Session, SolarmanV5};

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
    write("discovery", &discovery)?;
    write_modbus()
}

/// Replies to every request of the Modbus families, in each framing, and registers of each family.
fn write_modbus() -> io::Result<()> {
    let (mut udp, mut rtu, mut tcp, mut v5) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for family in [&KSTAR_HYBRID, &GOODWE_ET, &GOODWE_DT] {
        let mut registers = vec![0xff, 0xff];
        for block in family.blocks {
            for request in block.requests(family.unit) {
                let [unit, function, first_high, first_low, high, low] = request.bytes();
                let first = u16::from_be_bytes([first_high, first_low]);
                let words = words(first, u16::from_be_bytes([high, low]));
                registers.extend(&words);
                let reply = [&[unit, function, low * 2][..], &words].concat();
                let line = with_crc(&reply);
                udp.push([&[0xaa, 0x55][..], &line].concat());
                v5.push(stick_frame(&line));
                tcp.push([&[0, 7, 0, 0, 0, low * 2 + 3][..], &reply].concat());
                rtu.push(line);
            }
        }
        write(&family.name.replace('-', "_"), &[registers])?;
    }
    v5.push(stick_frame(&[6, 0]));
    v5.push(b"AT+YZCMPVER=MW3_16U_5406_2.27\r\n\r\n".to_vec());
    tcp.push(vec![0, 7, 0, 0, 0, 3, 0xf7, 0x83, 2]);
    write("rtu_in_udp", &udp)?;
    write("rtu_over_tcp", &rtu)?;
    write("mbap", &tcp)?;
    write("v5", &v5)
}

/// Registers of a block: a date where there is one, else voltages.
fn words(first: u16, count: u16) -> Vec<u8> {
    let mut words = vec![2310_u16; count.into()];
    if let (35100 | 30100, Some(clock)) = (first, words.first_chunk_mut()) {
        *clock = [0x1a0b, 0x1e0c, 0x0102];
    }
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A reply of the stick whose serial number the target knows, to its first request.
fn stick_frame(modbus: &[u8]) -> Vec<u8> {
    const LOGGER: u32 = 2_712_847_316;
    fastrand::seed(1);
    let mut session = Session::new(Some(LOGGER));
    let request = SolarmanV5 {
        request: KSTAR_HYBRID.blocks[0].requests(1).next().expect("one"),
        session: &mut session,
        speaks_modbus_tcp: false,
    }
    .request();
    let length = u16::try_from(14 + modbus.len()).expect("short");
    let mut frame = vec![0xa5];
    frame.extend(length.to_le_bytes());
    frame.extend([0x10, 0x15, request[5], 1]);
    frame.extend(LOGGER.to_le_bytes());
    frame.extend([2, 1]);
    frame.extend([0; 12]);
    frame.extend(modbus);
    let sum = frame[1..]
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    frame.extend([sum, 0x15]);
    frame
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
