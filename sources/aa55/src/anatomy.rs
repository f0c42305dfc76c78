//! What a datagram is made of, for a recording.

use kstar_source::recording::{Anatomy, Seal};

use crate::wire::Request;
use crate::wire::device_info;
use crate::wire::frame::{HEADER_LENGTH, INVERTER, frames};

/// Of every whole frame in a datagram that came after a request.
pub(crate) fn of(request: &[u8], bytes: &[u8]) -> Anatomy {
    let mut anatomy = Anatomy::default();
    for frame in frames(bytes).filter_map(Result::ok) {
        let whole = frame.position..frame.position + frame.length();
        let start = frame.position + HEADER_LENGTH;
        let end = start + frame.payload.len();
        let told = (frame.source, frame.function);
        if told == (INVERTER, Request::DeviceInfo.reply_function()) {
            let place = device_info::serial_place().into_iter();
            let serial = place.map(|place| start + place.start..(start + place.end).min(end));
            anatomy.serials.extend(serial);
        }
        anatomy.seals.push(Seal {
            body: frame.position..end,
            make: |body| {
                let add = |sum: u16, byte: &u8| sum.wrapping_add(u16::from(*byte));
                body.iter().fold(0, add).to_be_bytes().to_vec()
            },
        });
        let is_reply = request
            .get(5)
            .is_some_and(|asked| asked | 0x80 == frame.function);
        if is_reply && frame.source == INVERTER {
            anatomy.payload.get_or_insert(whole);
        }
    }
    anatomy
}
