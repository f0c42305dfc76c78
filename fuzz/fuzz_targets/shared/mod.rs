//! What the targets of Modbus share: a stream that is taken apart, and a family that is decoded.
#![allow(dead_code, reason = "no target uses all of it")]

use kstar_model::catalogue::{Quantity, Values};
use kstar_source::stream::{Dialogue, Split};
use kstar_source_modbus::families::{Family, Machine};
use kstar_source_modbus::frame::{Answer, Request};
use kstar_source_modbus::reasons;
use kstar_source_modbus::registers::Registers;

/// All that a family is asked for.
pub fn requests(family: &'static Family) -> impl Iterator<Item = Request> {
    let blocks = family.blocks.iter();
    blocks.flat_map(|block| block.requests(family.unit))
}

/// How many registers a request asks for.
pub fn count(request: &Request) -> usize {
    let [.., high, low] = request.bytes();
    u16::from_be_bytes([high, low]).into()
}

/// Takes a stream apart as it is done with a connection: every step goes on, and nothing but a whole reply is taken.
pub fn hear(dialogue: &mut impl Dialogue<Answer = Answer>, request: &Request, stream: &[u8]) {
    let mut rest = stream;
    while !rest.is_empty() {
        let length = match dialogue.split(rest) {
            Split::Incomplete => return,
            Split::Noise(length, rejection) => {
                assert!(reasons::ALL.contains(&rejection.reason));
                length
            }
            Split::Frame(length) => {
                match dialogue.accept(&rest[..length]) {
                    Ok(answer) => check(&answer, request),
                    Err(rejection) => assert!(reasons::ALL.contains(&rejection.reason)),
                }
                length
            }
        };
        assert!((1..=rest.len()).contains(&length), "{length}");
        rest = &rest[length..];
    }
}

/// That an answer holds what was asked for.
pub fn check(answer: &Answer, request: &Request) {
    match answer {
        Answer::Registers(words) => assert_eq!(words.len(), count(request)),
        Answer::Exception(exception) => assert!(!exception.to_string().is_empty()),
    }
}

/// Decodes bytes as the registers of a family: the first two say which blocks there are.
pub fn decode(family: &'static Family, bytes: &[u8]) {
    let Some((which, mut rest)) = bytes.split_first_chunk() else {
        return;
    };
    let which = u16::from_le_bytes(*which);
    let mut blocks = Vec::new();
    for (number, request) in requests(family).enumerate() {
        let (block, after) = rest
            .split_at_checked(count(&request) * 2)
            .unwrap_or_default();
        if which >> number & 1 == 0 || block.is_empty() {
            continue;
        }
        rest = after;
        let [_, _, high, low, ..] = request.bytes();
        let (words, _) = block.as_chunks();
        let words: Vec<u16> = words.iter().copied().map(u16::from_be_bytes).collect();
        blocks.push((u16::from_be_bytes([high, low]), words));
    }
    let mut registers = Registers::default();
    for (first, words) in &blocks {
        registers.insert(*first, words);
    }
    let mut machine = Machine::default();
    // What was learnt of the machine at the first poll is known at the second.
    family.decode(&registers, &mut machine);
    let mut values = family.decode(&registers, &mut machine);
    check_values(&values);
    values.derive();
    check_values(&values);
}

/// That values keep the catalogue's promises.
fn check_values(values: &Values) {
    for (quantity, value) in values.present() {
        assert!(!value.to_string().is_empty(), "{quantity}");
        let raw = values.raw(quantity).expect("a present value has a raw one");
        let mut copy = values.clone();
        copy.set_raw(quantity, Some(raw));
        assert_eq!(copy, *values, "{quantity}: {raw} goes in as it came out");
    }
    let at_least_zero = [
        Quantity::battery_charge_power,
        Quantity::battery_discharge_power,
        Quantity::grid_import_power,
        Quantity::grid_export_power,
        Quantity::energy_today,
        Quantity::energy_total,
        Quantity::inverter_pv_energy_total,
        Quantity::inverter_grid_import_energy_total,
        Quantity::inverter_grid_export_energy_total,
    ];
    for quantity in at_least_zero {
        let raw = values.raw(quantity);
        assert!(raw.is_none_or(|raw| raw >= 0), "{quantity}: {raw:?}");
    }
    assert!(values.reply_time.is_none());
}
