//! Any payload as device info and as settings: what is present fits, is printable, and is named once.
#![no_main]

use kstar_collector::wire::device_info::DeviceInfo;
use kstar_collector::wire::record::{EntryValue, Record};
use kstar_collector::wire::settings;
use libfuzzer_sys::fuzz_target;

fn check(record: &Record, payload: &[u8]) {
    let mut end = 0;
    for entry in record.entries() {
        assert!(entry.field.offset >= end, "{}", entry.field.key);
        end = entry.field.offset + entry.field.form.width();
        assert!(
            end <= payload.len(),
            "{} is beyond the end",
            entry.field.key
        );
        assert_eq!(record.get(entry.field.key), Some(&entry.value));
        if let EntryValue::Text(text) = &entry.value {
            assert!(!text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
        assert!(!entry.value.to_string().is_empty());
    }
}

fuzz_target!(|payload: &[u8]| {
    match DeviceInfo::decode(payload) {
        Ok(info) => {
            check(&info.record, payload);
            assert!(info.serial().is_none_or(|serial| serial.len() <= 16));
            assert!(info.model().is_none_or(|model| model.len() <= 10));
        }
        Err(_) => assert!(payload.len() < 47),
    }
    match settings::decode(payload) {
        Ok(record) => check(&record, payload),
        Err(_) => assert!(payload.len() < 34),
    }
});
