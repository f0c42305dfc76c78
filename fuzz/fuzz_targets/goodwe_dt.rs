//! Any bytes as the registers of this family: what comes out keeps the catalogue's promises.
#![no_main]

mod shared;

use kstar_source_modbus::families::goodwe_dt::GOODWE_DT;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|registers: &[u8]| shared::decode(&GOODWE_DT, registers));
