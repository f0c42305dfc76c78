//! Any bytes as the stream of a gateway to a serial line, after each request to every family.
#![no_main]

mod shared;

use kstar_source::stream::Dialogue;
use kstar_source_modbus::families::goodwe_dt::GOODWE_DT;
use kstar_source_modbus::families::goodwe_et::GOODWE_ET;
use kstar_source_modbus::families::kstar_hybrid::KSTAR_HYBRID;
use kstar_source_modbus::framing::rtu_over_tcp::RtuOverTcp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    for family in [&KSTAR_HYBRID, &GOODWE_ET, &GOODWE_DT] {
        for request in shared::requests(family) {
            let mut dialogue = RtuOverTcp(request);
            assert_eq!(dialogue.request().len(), 8);
            shared::hear(&mut dialogue, &request, stream);
        }
    }
});
