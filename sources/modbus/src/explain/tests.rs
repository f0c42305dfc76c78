use kstar_source::stream::Dialogue;
use proptest::prelude::*;

use super::*;
use crate::frame::with_crc;
use crate::framing::modbus_tcp::ModbusTcp;
use crate::framing::solarman_v5::{Session, SolarmanV5};

/// A reply of a KSTAR hybrid with 3000 and those that follow, all of them 3271.
fn live_a() -> Vec<u8> {
    let mut reply = vec![1, 4, 250];
    reply.extend([0x0c, 0xc7].repeat(125));
    reply
}

fn request() -> Request {
    let block = &KSTAR_HYBRID.blocks[0];
    block.requests(1).next().expect("a request")
}

/// The frame of a stick around a message.
fn v5_frame(control: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short");
    let mut frame = vec![v5::START];
    frame.extend(length.to_le_bytes());
    frame.extend(control);
    frame.extend([7, 9]);
    frame.extend(2_712_847_316_u32.to_le_bytes());
    frame.extend(payload);
    frame.push(v5::checksum(&frame));
    frame.push(0x15);
    frame
}

fn v5_reply(message: &[u8]) -> Vec<u8> {
    let mut payload = vec![2, 1];
    for seconds in [1_000_000_u32, 600, 1_700_000_000] {
        payload.extend(seconds.to_le_bytes());
    }
    payload.extend(message);
    v5_frame(v5::REPLY, &payload)
}

#[track_caller]
fn row<'a>(explanation: &'a Explanation, field: &str) -> &'a Row {
    let mut rows = explanation.parts.iter().flat_map(|part| &part.rows);
    let row = rows.find(|row| row.field == field);
    row.unwrap_or_else(|| panic!("no {field} in {explanation:#?}"))
}

#[test]
fn a_reply_is_explained_in_every_framing() {
    let line = with_crc(&live_a());
    let tcp = [&[0, 5, 0, 0, 0, 253][..], &live_a()].concat();
    for (bytes, what) in [
        (
            [&[0xaa, 0x55][..], &line].concat(),
            "a Modbus reply in the header of AA55",
        ),
        (line.clone(), "a Modbus reply as on a serial line"),
        (tcp, "a Modbus TCP reply"),
        (v5_reply(&line), "a reply in a Solarman V5 frame"),
    ] {
        let explanation = explain(&bytes);
        assert_eq!(explanation.parts.len(), 1, "{explanation:#?}");
        assert_eq!(explanation.parts[0].what, what);
        assert!(
            row(&explanation, "byte_count")
                .meaning
                .contains("kstar-hybrid live_a")
        );
        let told = row(&explanation, "pv1_voltage");
        assert_eq!(told.meaning, "3000: pv1_voltage 327.1 V");
        assert_eq!((told.raw, told.offset), (Some(3271), Some(0)));
    }
}

#[test]
fn each_field_of_a_v5_header_is_explained() {
    let explanation = explain(&v5_reply(&with_crc(&live_a())));
    for (field, hex, meaning) in [
        ("control", "1015", "a reply in"),
        ("sequence", "07", "number 7 "),
        ("counter", "09", "number 9 "),
        ("logger_serial", "d4c3b2a1", "2712847316"),
        ("frame_type", "02", "the inverter"),
        ("status", "01", "all is well"),
        ("total_working_time", "40420f00", "1000000 seconds"),
        ("power_on_time", "58020000", "600 seconds"),
        ("offset_time", "00f15365", "1700000000 added"),
        ("checksum", "", "right"),
        ("end", "15", ""),
    ] {
        let row = row(&explanation, field);
        assert!(
            row.hex.ends_with(hex) && row.meaning.contains(meaning),
            "{row:?}"
        );
    }
}

#[test]
fn requests_and_what_is_no_reply_have_their_names() {
    let mut session = Session::new(Some(7));
    let over_v5 = SolarmanV5 {
        request: request(),
        session: &mut session,
        speaks_modbus_tcp: false,
    }
    .request();
    let over_tcp = ModbusTcp {
        request: request(),
        transaction: &mut 7,
    }
    .request();
    for (bytes, what) in [
        (request().rtu(), "a Modbus request as on a serial line"),
        (over_v5, "a request in a Solarman V5 frame"),
        (over_tcp, "a Modbus TCP request"),
    ] {
        let explanation = explain(&bytes);
        assert_eq!(explanation.parts[0].what, what);
        let register = row(&explanation, "register");
        let said = "function 04, registers 3000 to 3124: kstar-hybrid live_a";
        assert_eq!(register.meaning, said);
    }
    for (bytes, what, refusal) in [
        (
            v5_reply(&[5, 0]),
            "a reply in a Solarman V5 frame",
            Some("exception 5 "),
        ),
        (
            v5_frame(v5::HEARTBEAT, &[0]),
            "a heartbeat of a Solarman stick",
            None,
        ),
        (
            v5_frame([0x10, 0x42], &[1; 60]),
            "a stick's data for its vendor's cloud",
            None,
        ),
        (
            with_crc(&[1, 0x84, 2]),
            "a Modbus reply as on a serial line",
            Some("exception 2 "),
        ),
    ] {
        let explanation = explain(&bytes);
        let part = &explanation.parts[0];
        assert_eq!(part.what, what);
        let told = part.refusal.as_deref().unwrap_or_default();
        assert!(told.starts_with(refusal.unwrap_or_default()), "{told}");
        assert_eq!(part.refusal.is_some(), refusal.is_some(), "{part:?}");
    }
}

#[test]
fn registers_that_may_be_several_blocks_are_explained_by_each() {
    // 04, one register: a pack's charge, or the grid standard.
    let explanation = explain(&with_crc(&[1, 4, 2, 0, 55]));
    let told = row(&explanation, "register");
    for block in [
        "3193: grid standard",
        "3450: battery_pack1_soc 55 %",
        "3538: ",
    ] {
        assert!(told.meaning.contains(block), "{told:?}");
    }
    let nobody = explain(&with_crc(&[1, 4, 4, 0, 1, 0, 2]));
    assert!(
        row(&nobody, "byte_count")
            .meaning
            .contains("no block of a known family")
    );
}

#[test]
fn what_is_cut_off_or_wrong_is_explained_as_far_as_it_goes() {
    let whole = v5_reply(&with_crc(&live_a()));
    let cut = explain(&whole[..40]);
    assert_eq!(cut.parts[0].what, "a reply in a Solarman V5 frame");
    let refusal = cut.parts[0].refusal.as_deref();
    assert_eq!(refusal, Some("cut off: 40 bytes, expected 282"));
    assert!(row(&cut, "logger_serial").meaning.contains("2712847316"));
    let mut wrong = whole.clone();
    wrong[100] ^= 1;
    let wrong = explain(&[&wrong[..], &whole].concat());
    assert_eq!(wrong.parts.len(), 2, "{wrong:#?}");
    assert!(wrong.parts[0].refusal.is_some() && wrong.parts[1].refusal.is_none());
    let double_crc = explain(&v5_reply(&[&with_crc(&live_a())[..], &[0, 0]].concat()));
    let crcs = double_crc.parts[0].rows.iter();
    assert_eq!(crcs.filter(|row| row.field == "crc").count(), 2);
    let other = explain(&[0xa5, 23, 0, 0x10, 0x45, 3, 0, 0xde, 2]);
    assert!(
        other.parts[0].what.contains("speaks Modbus TCP"),
        "{other:#?}"
    );
}

proptest! {
    #[test]
    fn every_byte_stands_in_exactly_one_row(
        parts in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                Just(with_crc(&live_a())),
                Just(v5_reply(&with_crc(&live_a()))),
                Just(v5_reply(&with_crc(&[1, 0x84, 2]))),
                Just(v5_frame([0x10, 0x42], &[1; 60])),
                Just(vec![0xaa, 0x55]),
                Just(vec![0, 5, 0, 0, 0, 6, 1, 4]),
            ],
            0..4,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = parts.concat();
        bytes.truncate(cut.index(bytes.len() + 1));
        let explanation = explain(&bytes);
        let rows = explanation.parts.iter().flat_map(|part| &part.rows);
        let mut position = 0;
        let mut hex = String::new();
        for row in rows {
            prop_assert_eq!(row.position, position);
            position += row.hex.len() / 2;
            hex.push_str(&row.hex);
        }
        prop_assert_eq!(hex, Hex(&bytes).to_string());
    }
}
