//! Any datagram as the answer to each request to GoodWe's families.
#![no_main]

mod shared;

use kstar_source_modbus::families::goodwe_dt::GOODWE_DT;
use kstar_source_modbus::families::goodwe_et::GOODWE_ET;
use kstar_source_modbus::framing::rtu_in_udp;
use kstar_source_modbus::reasons;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    for family in [&GOODWE_ET, &GOODWE_DT] {
        for request in shared::requests(family) {
            match rtu_in_udp::accept(&request, datagram) {
                Ok(answer) => shared::check(&answer, &request),
                Err(rejection) => assert!(reasons::ALL.contains(&rejection.reason)),
            }
        }
    }
});
