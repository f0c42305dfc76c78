//! Any payload as device info and as settings: what is present fits, is printable, and is named once.
#![no_main]

use kstar_source::record::{EntryValue, Record};
use kstar_source_aa55::wire::device_info::{self, DeviceInfo};
use kstar_source_aa55::wire::record::EntryField;
use kstar_source_aa55::wire::settings;
use libfuzzer_sys::fuzz_target;

fn check(record: &Record, fields: &[EntryField], payload: &[u8]) {
    let mut end = 0;
    for entry in &record.0 {
        let field = fields.iter().find(|field| field.key == entry.key);
        let field = field.expect("an entry of the table");
        assert!(field.offset >= end, "{}", entry.key);
        end = field.offset + field.form.width();
        assert!(end <= payload.len(), "{} is beyond the end", entry.key);
        assert_eq!(record.get(entry.key), Some(&entry.value));
        if let EntryValue::Text(text) = &entry.value {
            assert!(!text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
        assert!(!entry.value.to_string().is_empty());
    }
}

fuzz_target!(|payload: &[u8]| {
    match DeviceInfo::decode(payload) {
        Ok(info) => {
            check(&info.record, device_info::ENTRIES, payload);
            assert!(info.serial().is_none_or(|serial| serial.len() <= 16));
            assert!(info.model().is_none_or(|model| model.len() <= 10));
        }
        Err(_) => assert!(payload.len() < 47),
    }
    match settings::decode(payload) {
        Ok(record) => check(&record, settings::ENTRIES, payload),
        Err(_) => assert!(payload.len() < 34),
    }
});
