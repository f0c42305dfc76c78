//! Device info: the reply to 0102, who the inverter is (PROTOCOL 5.1).
//!
//! Seen with 77 bytes (text, GoodWe ES/EM/BP) and 76 (binary, second generation: such a machine speaks Modbus and
//! sends no running data); 64 bytes are known from the vendor's paper. No reply of a KSE was ever captured, so
//! whatever is there is taken and nothing depends on it.

use std::ops::Range;

use kstar_source::record::{EntryValue, Record};

use super::field::Form;
use super::frame::Refusal;
use super::record::{self, EntryField, EntryForm};

/// The serial number must fit.
const SHORTEST: usize = 47;

const SERIAL: &str = "serial";
const MODEL: &str = "model";
const FIRMWARE: &str = "firmware";

/// The families of GoodWe that answer 0102 but send their values by Modbus, with the letters that their serial numbers
/// hold (goodwe 0.4.10).
const MODBUS_FAMILIES: &[(&str, &[&str])] = &[
    (
        "a GoodWe hybrid of the second generation (ES, EM, BP G2)",
        &[
            "ESN", "EBN", "EMN", "SPN", "ERN", "ESC", "HLB", "HMB", "HBB", "EOA",
        ],
    ),
    (
        "a GoodWe hybrid of the ET family",
        &["ETU", "ETL", "ETR", "BHN", "EHU", "BHU", "EHR", "BTU"],
    ),
];

macro_rules! entry {
    ($offset:literal $form:expr, $key:expr, $label:literal $(, $unit:literal)?) => {
        EntryField { offset: $offset, form: $form, key: $key, label: $label, unit: concat!($($unit)?) }
    };
}
pub(super) use entry;

/// Every entry, in the order of the bytes.
pub const ENTRIES: &[EntryField] = &[
    entry!(0 EntryForm::Text(5), FIRMWARE, "Firmware"),
    entry!(5 EntryForm::Text(10), MODEL, "Model"),
    entry!(15 EntryForm::Text(16), "manufacturer", "Manufacturer"),
    entry!(31 EntryForm::Text(16), SERIAL, "Serial number"),
    entry!(47 EntryForm::Digits(4, 1), "nominal_pv_voltage", "Nominal PV voltage", "V"),
    entry!(51 EntryForm::Text(12), "software_version", "Software version"),
    entry!(63 EntryForm::Code(Form::U8, SAFETY_COUNTRIES), "safety_country", "Safety country"),
    entry!(64 EntryForm::Text(12), "second_software_version", "Second software version"),
    entry!(76 EntryForm::Number(Form::U8, 0), "code", "Code of unknown meaning"),
];

/// Where the serial number stands in the payload.
pub(crate) fn serial_place() -> Option<Range<usize>> {
    let entry = ENTRIES.iter().find(|entry| entry.key == SERIAL)?;
    Some(entry.offset..entry.offset + entry.form.width())
}

/// The grid rules that the inverter follows, as KSTAR's app numbers them.
const SAFETY_COUNTRIES: &[(u16, &str)] = &[
    (0, "italy"),
    (1, "czechia"),
    (2, "germany"),
    (3, "spain"),
    (4, "greece_mainland"),
    (5, "denmark"),
    (6, "belgium"),
    (7, "romania"),
    (8, "united_kingdom_g83"),
    (9, "australia"),
    (10, "france"),
    (11, "china"),
    (12, "default_60_hz"),
    (13, "poland"),
    (14, "south_africa"),
    (16, "brazil"),
    (17, "thailand_mea"),
    (18, "thailand_pea"),
    (19, "mauritius"),
    (20, "netherlands"),
    (21, "united_kingdom_g59_3"),
    (22, "china_special"),
    (23, "french_islands_50_hz"),
    (24, "french_islands_60_hz"),
    (25, "australia_ergon"),
    (26, "australia_energex"),
    (27, "netherlands_16_20_a"),
    (28, "korea"),
    (30, "austria"),
    (31, "india"),
    (32, "default_50_hz"),
    (34, "philippines"),
    (35, "ireland"),
];

/// Who an inverter is.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// Everything it says.
    pub record: Record,
}

impl DeviceInfo {
    /// Reads a payload of device info.
    pub fn decode(payload: &[u8]) -> Result<Self, Refusal> {
        if payload.len() < SHORTEST {
            return Err(Refusal::UnsupportedLength {
                found: payload.len(),
                least: SHORTEST,
            });
        }
        Ok(Self {
            record: record::read(ENTRIES, payload),
        })
    }

    /// The serial number, if there is one.
    pub fn serial(&self) -> Option<&str> {
        self.text(SERIAL)
    }

    /// The model, if there is one; the second generation leaves it blank.
    pub fn model(&self) -> Option<&str> {
        self.text(MODEL)
    }

    /// The version of the firmware, if there is one.
    pub fn firmware(&self) -> Option<&str> {
        self.text(FIRMWARE)
    }

    /// What the inverter is, if it is of a family that speaks Modbus. The binary form alone says that too.
    pub fn modbus_family(&self) -> Option<&'static str> {
        let serial = self.serial()?;
        let known = MODBUS_FAMILIES
            .iter()
            .find(|(_, letters)| letters.iter().any(|letters| serial.contains(letters)));
        let binary = self.model().is_none() && self.record.get(FIRMWARE).is_none();
        match known {
            Some((family, _)) => Some(family),
            None => binary.then_some("an inverter of a newer generation"),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.record.get(key)? {
            EntryValue::Text(text) => Some(text),
            EntryValue::Number(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_form(length: usize) -> Vec<u8> {
        let mut payload = b"2323GKSE4000   ".to_vec();
        payload.extend(b"KSTAR           KSE4000000000001");
        payload.extend(b"3600410-04025-23!410-02034-16\x03");
        payload.truncate(length);
        payload
    }

    #[test]
    fn the_text_form_is_read_as_far_as_it_goes() {
        let long = DeviceInfo::decode(&text_form(77)).expect("long enough");
        assert_eq!(
            (long.model(), long.serial()),
            (Some("KSE4000"), Some("KSE4000000000001"))
        );
        let short = DeviceInfo::decode(&text_form(47)).expect("long enough");
        assert_eq!(short.serial(), long.serial());
        assert!(short.record.get("software_version").is_none());
        assert_eq!(
            DeviceInfo::decode(&text_form(46)).err(),
            Some(Refusal::UnsupportedLength {
                found: 46,
                least: 47
            })
        );
    }

    #[test]
    fn the_families_that_speak_modbus_are_known_by_serial_number_and_form() {
        let family = |serial: &[u8; 16], binary: bool| {
            let mut payload = text_form(76);
            payload[31..47].copy_from_slice(serial);
            if binary {
                payload[..15].copy_from_slice(&[0, 6, 0, 6, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            }
            let info = DeviceInfo::decode(&payload).expect("long enough");
            info.modbus_family()
        };
        assert_eq!(family(b"KSE4000S00000001", false), None);
        assert_eq!(family(b"95048ESU227W0000", false), None);
        let is =
            |family: Option<&str>, words: &str| family.is_some_and(|name| name.contains(words));
        assert!(is(family(b"56000ESN000W0001", true), "second generation"));
        assert!(is(family(b"9010KETU000W0000", false), "ET family"));
        assert!(is(family(b"0123456789012345", true), "newer generation"));
    }

    #[test]
    fn what_is_blank_or_no_text_is_absent() {
        let mut payload = text_form(64);
        payload[5..15].fill(b' ');
        payload[31..47].fill(0);
        payload[0] = 0xff;
        let info = DeviceInfo::decode(&payload).expect("long enough");
        assert_eq!((info.model(), info.serial()), (None, None));
        assert!(info.record.get("firmware").is_none());
        assert_eq!(
            info.record.get("safety_country"),
            Some(&EntryValue::Text("unknown_33".to_owned()))
        );
    }
}
