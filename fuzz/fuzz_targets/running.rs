//! Any payload as running data: what comes out keeps the catalogue's promises, and more bytes change nothing.
#![no_main]

use kstar_source_aa55::wire::running::{self, SHORTEST};
use kstar_model::catalogue::Quantity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(values) = running::decode(payload) else {
        assert!(payload.len() < SHORTEST);
        return;
    };
    assert!(payload.len() >= SHORTEST);
    for (quantity, value) in values.present() {
        assert!(!value.to_string().is_empty(), "{quantity}");
        let raw = values.raw(quantity).expect("a present value has a raw one");
        let mut copy = values.clone();
        copy.set_raw(quantity, Some(raw));
        assert_eq!(copy, values, "{quantity}: {raw} goes in as it came out");
    }
    let at_least_zero = [
        Quantity::battery_charge_power,
        Quantity::battery_discharge_power,
        Quantity::grid_import_power,
        Quantity::grid_export_power,
        Quantity::energy_today,
        Quantity::energy_total,
    ];
    for quantity in at_least_zero {
        assert!(
            values.raw(quantity).is_none_or(|raw| raw >= 0),
            "{quantity}"
        );
    }
    assert!(values.reply_time.is_none());

    let shortest = running::decode(&payload[..SHORTEST]).expect("the shortest form");
    for quantity in Quantity::ALL {
        if let Some(raw) = shortest.raw(*quantity) {
            assert_eq!(
                values.raw(*quantity),
                Some(raw),
                "{quantity}: more bytes change nothing"
            );
        }
    }
});
