//! Any datagram as an answer to the greeting: what is taken is printable and can be shown.
#![no_main]

use kstar_source::greeting::{self, Unreadable};
use kstar_source_aa55::wire::{ApAddress, GREETING, Request, reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    match greeting::answer(datagram) {
        Ok(answer) => {
            assert!(!datagram.starts_with(GREETING));
            let name = answer.name.unwrap_or_default();
            assert!(!name.chars().any(char::is_control));
            if let Some(mac) = answer.mac {
                assert!(answer.address.is_some());
                assert_eq!(mac.to_string().len(), 17);
            }
            assert!(
                reply(datagram, Request::RunningData, ApAddress::B0).is_err(),
                "an answer to the greeting is no frame"
            );
        }
        Err(Unreadable::Greeting) => assert!(datagram.starts_with(GREETING)),
        Err(Unreadable::UnknownForm) => {}
    }
});
