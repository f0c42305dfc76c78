//! Any bytes as the stream of a Solarman stick, after each request to a KSTAR hybrid.
#![no_main]

mod shared;

use kstar_source::stream::Dialogue;
use kstar_source_modbus::families::kstar_hybrid::KSTAR_HYBRID;
use kstar_source_modbus::framing::solarman_v5::{Session, SolarmanV5};
use libfuzzer_sys::fuzz_target;

/// The logger of the captures.
const LOGGER: u32 = 2_712_847_316;

fuzz_target!(|stream: &[u8]| {
    for logger in [Some(LOGGER), None] {
        for request in shared::requests(&KSTAR_HYBRID) {
            // The first request of each session has the same sequence byte.
            fastrand::seed(1);
            let mut session = Session::new(logger);
            let mut dialogue = SolarmanV5 {
                request,
                session: &mut session,
                speaks_modbus_tcp: false,
            };
            assert_eq!(dialogue.request().len(), 36);
            shared::hear(&mut dialogue, &request, stream);
        }
    }
});
