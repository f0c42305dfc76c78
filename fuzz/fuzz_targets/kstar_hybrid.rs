//! Any bytes as the registers of this family: what comes out keeps the catalogue's promises.
#![no_main]

mod shared;

use kstar_source_modbus::families::kstar_hybrid::KSTAR_HYBRID;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|registers: &[u8]| shared::decode(&KSTAR_HYBRID, registers));
