//! Any datagram, as the answer to every request: what is taken is a whole frame that was asked for.
#![no_main]

use kstar_source_aa55::wire::{ApAddress, Request, frame, reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let mut end = 0;
    for frame in frame::frames(datagram).flatten() {
        assert!(frame.position >= end, "whole frames do not overlap");
        end = frame.position + frame.length();
        let bytes = &datagram[frame.position..end];
        assert_eq!(&bytes[..2], [0xaa, 0x55]);
        assert_eq!(usize::from(bytes[6]), frame.payload.len());
        let (summed, sum) = bytes.split_at(bytes.len() - 2);
        let computed = summed.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 65_536;
        assert_eq!(computed, u32::from(sum[0]) * 256 + u32::from(sum[1]));
    }
    for request in [Request::DeviceInfo, Request::RunningData, Request::Settings] {
        for ap in [ApAddress::B0, ApAddress::C0] {
            match reply(datagram, request, ap) {
                Ok(payload) => {
                    let taken = frame::frames(datagram)
                        .flatten()
                        .find(|frame| std::ptr::eq(frame.payload, payload))
                        .expect("a payload belongs to a whole frame");
                    assert_eq!((taken.source, taken.destination), (0x7f, ap.byte()));
                    assert_eq!(
                        (taken.control, taken.function),
                        (0x01, request.reply_function())
                    );
                }
                Err(refusal) => {
                    assert!(frame::Refusal::NAMES.contains(&refusal.name()));
                    assert!(!refusal.to_string().is_empty());
                }
            }
        }
    }
});
