//! What must hold for any bytes at all.

use kstar_model::catalogue::Quantity::{self, *};
use kstar_source::greeting;
use kstar_source::record::{EntryValue, Record};
use kstar_source_aa55::wire::device_info::{self, DeviceInfo};
use kstar_source_aa55::wire::frame::{Frame, LONGEST, OVERHEAD, frames};
use kstar_source_aa55::wire::record::EntryField;
use kstar_source_aa55::wire::running::{self, SHORTEST};
use kstar_source_aa55::wire::{ApAddress, Refusal, Request, reply, settings};
use proptest::collection::vec;
use proptest::prelude::*;

use super::figures::{CAPTURES, RUNNING, TO_B0, capture, frame};

const REQUESTS: [Request; 3] = [Request::DeviceInfo, Request::RunningData, Request::Settings];

const APS: [ApAddress; 2] = [ApAddress::B0, ApAddress::C0];

/// Quantities that are magnitudes or counters, whatever the bytes.
const NEVER_NEGATIVE: [Quantity; 16] = [
    pv1_voltage,
    pv1_current,
    pv1_power,
    pv_power,
    battery_voltage,
    battery_charge_power,
    battery_discharge_power,
    battery_soc,
    grid_voltage,
    grid_frequency,
    grid_import_power,
    grid_export_power,
    operating_hours,
    energy_today,
    energy_total,
    load_energy_total,
];

/// Any bytes, often with something in them that begins like a frame or is one.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(vec![0xaa, 0x55]),
        Just(vec![0xaa, 0x55, 0x7f, 0xb0, 0x01, 0x86]),
        (0..CAPTURES.len()).prop_map(|column| frame(TO_B0, RUNNING, &capture(column))),
        (any::<[u8; 2]>(), any::<[u8; 2]>(), vec(any::<u8>(), 0..20))
            .prop_map(|(addresses, kind, payload)| frame(addresses, kind, &payload)),
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

/// Bytes in which no frame begins, and which do not make one begin with what follows them.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..60).prop_map(|mut bytes| {
        for at in 1..bytes.len() {
            if bytes[at - 1..=at] == [0xaa, 0x55] {
                bytes[at] = 0x54;
            }
        }
        bytes
    })
}

/// A record's entries fit into the payload and can be shown.
fn check_record(record: &Record, fields: &[EntryField], payload: &[u8]) {
    for entry in &record.0 {
        let field = fields.iter().find(|field| field.key == entry.key);
        let field = field.expect("an entry of the table");
        let end = field.offset + field.form.width();
        assert!(end <= payload.len(), "{}", entry.key);
        let shown = entry.value.to_string();
        assert!(!shown.is_empty() && shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        if let EntryValue::Text(text) = &entry.value {
            assert_eq!(text.trim(), text, "{}", entry.key);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whole_frames_carry_their_sum_and_do_not_overlap(datagram in datagram()) {
        let mut end = 0;
        for found in frames(&datagram).flatten() {
            prop_assert!(found.position >= end);
            end = found.position + found.length();
            let bytes = &datagram[found.position..end];
            let (summed, sum) = bytes.split_at(bytes.len() - 2);
            let computed = summed.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 65_536;
            prop_assert_eq!(computed, u32::from(sum[0]) * 256 + u32::from(sum[1]));
        }
    }

    #[test]
    fn what_is_taken_is_a_whole_frame_that_was_asked_for(datagram in datagram()) {
        for request in REQUESTS {
            for ap in APS {
                let right = |found: &Frame<'_>| {
                    [found.source, found.destination, found.control, found.function]
                        == [0x7f, ap.byte(), 0x01, request.reply_function()]
                };
                let expected = frames(&datagram).flatten().find(right).map(|found| found.payload);
                let taken = reply(&datagram, request, ap);
                prop_assert_eq!(taken.ok(), expected);
                if let Err(refusal) = taken {
                    prop_assert!(!refusal.to_string().is_empty());
                }
            }
        }
    }

    #[test]
    fn a_frame_is_found_in_any_garbage(
        before in garbage(),
        after in vec(any::<u8>(), 0..60),
        payload in vec(any::<u8>(), 0..=255),
    ) {
        let right = frame(TO_B0, RUNNING, &payload);
        let datagram = [before, right, after].concat();
        prop_assert_eq!(reply(&datagram, Request::RunningData, ApAddress::B0), Ok(&payload[..]));
    }

    /// Bits of the length byte are left to the test below: they make other bytes the sum, which fits once in
    /// 65,536 times, and no decoder of this protocol can help that.
    #[test]
    fn one_flipped_bit_is_never_taken(
        payload in vec(any::<u8>(), 0..=255),
        byte in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut datagram = frame(TO_B0, RUNNING, &payload);
        let byte = byte.index(datagram.len());
        prop_assume!(byte != 6);
        datagram[byte] ^= 1 << bit;
        let found = Frame::check(&datagram, 0);
        if byte < 2 {
            prop_assert_eq!(found, Err(Refusal::NoFrame { found: datagram.len() }));
        } else {
            let at_its_end = matches!(
                found,
                Err(Refusal::Checksum { position, .. }) if position == payload.len() + 7
            );
            prop_assert!(at_its_end);
        }
        prop_assert!(reply(&datagram, Request::RunningData, ApAddress::B0).is_err());
    }

    #[test]
    fn a_frame_cut_off_anywhere_is_refused(
        payload in vec(any::<u8>(), 0..=255),
        end in any::<prop::sample::Index>(),
    ) {
        let datagram = frame(TO_B0, RUNNING, &payload);
        let end = end.index(datagram.len());
        prop_assert!(datagram.len() <= LONGEST);
        let refusal = if end < 7 {
            Refusal::TooShort { found: end }
        } else {
            Refusal::Truncated { position: 0, expected: payload.len() + OVERHEAD, found: end }
        };
        prop_assert_eq!(Frame::check(&datagram[..end], 0), Err(refusal));
        prop_assert!(reply(&datagram[..end], Request::RunningData, ApAddress::B0).is_err());
    }

    #[test]
    fn any_payload_gives_values_of_the_catalogue_or_is_too_short(payload in vec(any::<u8>(), 0..=255)) {
        let decoded = running::decode(&payload);
        if payload.len() < SHORTEST {
            let refusal = Refusal::UnsupportedLength { found: payload.len(), least: SHORTEST };
            prop_assert_eq!(decoded, Err(refusal));
            return Ok(());
        }
        let values = decoded.expect("long enough");
        for quantity in NEVER_NEGATIVE {
            prop_assert!(values.raw(quantity).is_none_or(|raw| raw >= 0), "{}", quantity);
        }
        prop_assert_eq!(values.reply_time, None);
        let difference = |one, other| Some(values.raw(one)? - values.raw(other)?);
        prop_assert_eq!(difference(grid_import_power, grid_export_power), values.raw(grid_power));
        prop_assert_eq!(difference(battery_charge_power, battery_discharge_power), values.raw(battery_power));
        for (quantity, value) in values.present() {
            prop_assert!(!value.to_string().is_empty());
            let mut copy = values.clone();
            copy.set_raw(quantity, values.raw(quantity));
            prop_assert_eq!(&copy, &values, "{}", quantity);
        }
    }

    /// A longer form is the shorter one and more (PROTOCOL 7).
    #[test]
    fn more_bytes_change_nothing_that_was_there(
        payload in vec(any::<u8>(), SHORTEST..=255),
        end in any::<prop::sample::Index>(),
    ) {
        let end = SHORTEST + end.index(payload.len() - SHORTEST + 1);
        let values = running::decode(&payload).expect("long enough");
        let shorter = running::decode(&payload[..end]).expect("long enough");
        for (offset, width, quantity) in [(81, 2, backup_power), (89, 4, diagnostics), (95, 6, inverter_clock)] {
            let expected = (offset + width <= end).then(|| values.raw(quantity)).flatten();
            prop_assert_eq!(shorter.raw(quantity), expected, "{}", quantity);
        }
        for quantity in Quantity::ALL {
            if ![backup_power, diagnostics, inverter_clock].contains(quantity) {
                prop_assert_eq!(shorter.raw(*quantity), values.raw(*quantity), "{}", quantity);
            }
        }
    }

    #[test]
    fn records_hold_only_what_fits_and_can_be_shown(payload in vec(any::<u8>(), 0..=255)) {
        match DeviceInfo::decode(&payload) {
            Ok(info) => check_record(&info.record, device_info::ENTRIES, &payload),
            Err(refusal) => {
                prop_assert_eq!(refusal, Refusal::UnsupportedLength { found: payload.len(), least: 47 });
                prop_assert!(payload.len() < 47);
            }
        }
        match settings::decode(&payload) {
            Ok(record) => check_record(&record, settings::ENTRIES, &payload),
            Err(refusal) => {
                prop_assert_eq!(refusal, Refusal::UnsupportedLength { found: payload.len(), least: 34 });
                prop_assert!(payload.len() < 34);
            }
        }
    }

    #[test]
    fn texts_of_device_info_come_out_as_they_were_padded(
        model in "[!-~]{1,10}",
        serial in "[!-~]{16}",
        padding in prop_oneof![Just(0_u8), Just(b' ')],
    ) {
        let mut payload = vec![padding; 77];
        payload[5..5 + model.len()].copy_from_slice(model.as_bytes());
        payload[31..47].copy_from_slice(serial.as_bytes());
        let info = DeviceInfo::decode(&payload).expect("long enough");
        prop_assert_eq!((info.model(), info.serial()), (Some(&model[..]), Some(&serial[..])));
    }

    #[test]
    fn no_bytes_on_the_discovery_port_do_harm(datagram in vec(any::<u8>(), 0..80)) {
        if let Ok(answer) = greeting::answer(&datagram) {
            prop_assert!(!answer.name.unwrap_or_default().chars().any(char::is_control));
        }
    }

    #[test]
    fn an_answer_of_any_length_is_read(
        address in any::<[u8; 4]>(),
        mac in any::<[u8; 6]>(),
        name in "[A-Za-z0-9_-]{1,30}",
        end in prop_oneof![Just(""), Just("\r\n"), Just("\0")],
    ) {
        let [a, b, c, d] = address;
        let digits = greeting::MacAddress(mac).to_string().replace(':', "");
        let text = format!("{a}.{b}.{c}.{d},{digits},{name}{end}");
        let answer = greeting::answer(text.as_bytes()).expect("an answer");
        prop_assert_eq!(answer.address, Some(address.into()));
        prop_assert_eq!(answer.mac, Some(greeting::MacAddress(mac)));
        prop_assert_eq!(answer.name, Some(name));
    }
}

/// The length byte included.
#[test]
fn no_single_bit_of_a_capture_can_flip_unnoticed() {
    for (column, name) in CAPTURES.iter().enumerate() {
        let right = frame(TO_B0, RUNNING, &capture(column));
        for byte in 0..right.len() {
            for bit in 0..8 {
                let mut datagram = right.clone();
                datagram[byte] ^= 1 << bit;
                let taken = reply(&datagram, Request::RunningData, ApAddress::B0);
                assert!(taken.is_err(), "{name}: bit {bit} of byte {byte}");
            }
        }
    }
}
