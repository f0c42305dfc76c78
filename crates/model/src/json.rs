//! The JSON form of a reading: how it is written, read and described.
//!
//! One flat object: what tells which reading it is, then each value that is present.

use std::sync::Arc;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json, json};

use crate::catalogue::{Quantity, Value, Values};
use crate::reading::{Inverter, Reading, SCHEMA, Shown};
use crate::scalar::{BIT, Kind, Labels, UNKNOWN, set_flags};
use crate::time::{Moment, UnixMillis};

/// The schema of a line, to which the catalogue adds the quantities. It is part of the program, and a test reads it.
const WITHOUT_QUANTITIES: &str = include_str!("reading.schema.json");

const VERSION: &str = "schema";
const TIME: &str = "time";
const INVERTER: &str = "inverter";
const SERIAL: &str = "serial";
const MODEL: &str = "model";

/// Time if it has one, serial and model where known.
impl<Time: Moment> Serialize for Reading<Time> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry(VERSION, &SCHEMA)?;
        if let Some(time) = self.time.unix() {
            line.serialize_entry(TIME, &format_args!("{time}"))?;
        }
        line.serialize_entry(INVERTER, &*self.inverter.name)?;
        if let Some(serial) = &self.inverter.serial {
            line.serialize_entry(SERIAL, &**serial)?;
        }
        if let Some(model) = &self.inverter.model {
            line.serialize_entry(MODEL, &**model)?;
        }
        for (quantity, value) in self.values.present() {
            line.serialize_entry(quantity.name(), &value)?;
        }
        line.end()
    }
}

/// A number, a string, an array of strings for flags.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => number.serialize(serializer),
            Self::Mode(_) | Self::Clock(_) => serializer.collect_str(self),
            Self::Flags { labels, bits } => {
                let mut set = serializer.serialize_seq(None)?;
                for flag in set_flags(*labels, *bits) {
                    set.serialize_element(&format_args!("{flag}"))?;
                }
                set.end()
            }
        }
    }
}

/// The reading that a JSON object is; nothing if it is none. What is not known is left out: a newer collector may have
/// quantities that this program has not.
pub fn read(line: &Map<String, Json>) -> Option<Shown> {
    let text = |key: &str| line.get(key).and_then(Json::as_str);
    // Without a time while the collector's clock is not set.
    let time = match line.get(TIME) {
        Some(time) => {
            let time: jiff::Timestamp = time.as_str()?.parse().ok()?;
            Some(UnixMillis(time.as_millisecond()))
        }
        None => None,
    };
    let inverter = Inverter {
        name: text(INVERTER)?.into(),
        serial: text(SERIAL).map(Arc::from),
        model: text(MODEL).map(Arc::from),
    };
    let mut values = Values::default();
    for (key, value) in line {
        if let Some(quantity) = Quantity::from_name(key) {
            values.set_raw(quantity, raw(quantity, value));
        }
    }
    Some(Reading {
        time,
        inverter: Arc::new(inverter),
        values,
        counted: None,
    })
}

/// The raw value behind a written one.
#[expect(
    clippy::cast_possible_truncation,
    reason = "no quantity has values beyond 2^53, and a number that is none becomes an extreme one"
)]
fn raw(quantity: Quantity, value: &Json) -> Option<i64> {
    let description = quantity.description();
    match description.kind {
        Kind::Measurement | Kind::Counter | Kind::Bits => {
            let scale = 10f64.powi(description.decimals.into());
            Some((value.as_f64()? * scale).round() as i64)
        }
        Kind::Mode(labels) => labels.code(value.as_str()?, UNKNOWN),
        Kind::Flags(labels) => value.as_array()?.iter().try_fold(0, |bits, flag| {
            let bit = labels.code(flag.as_str()?, BIT)?;
            Some(bits | 1_i64.checked_shl(u32::try_from(bit).ok()?)?)
        }),
        Kind::Clock => {
            let moment: jiff::civil::DateTime = value.as_str()?.parse().ok()?;
            let moment = moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
            Some(moment.timestamp().as_second())
        }
    }
}

/// The schema of a JSON line.
///
/// It allows properties that it does not name: the catalogue may grow without a new `schema` number, and a line
/// from a newer collector stays valid for anyone who holds an older copy of this. For the same reason a mode may be
/// `unknown_7` and a flag `bit_7`.
pub fn schema() -> Json {
    let mut schema: Json = serde_json::from_str(WITHOUT_QUANTITIES).unwrap_or_default();
    if let Some(version) = schema.pointer_mut("/properties/schema/const") {
        *version = SCHEMA.into();
    }
    if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        let known = Quantity::ALL.iter().copied();
        properties.extend(known.map(|quantity| (quantity.name().to_owned(), property(quantity))));
    }
    schema
}

/// The schema of a quantity's value.
fn property(quantity: Quantity) -> Json {
    let description = quantity.description();
    let known =
        |labels: Labels| -> Vec<&str> { labels.0.iter().map(|(_, label)| *label).collect() };
    let labelled = |labels: Labels, other: &str, digits: u8| {
        let other = format!("^{other}[0-9]{{1,{digits}}}$");
        let known = known(labels);
        // An `enum` of nothing is no schema.
        if known.is_empty() {
            json!({ "type": "string", "pattern": other })
        } else {
            json!({ "type": "string", "anyOf": [{ "enum": known }, { "pattern": other }] })
        }
    };
    let mut value = match description.kind {
        Kind::Measurement | Kind::Counter if description.decimals > 0 => {
            json!({ "type": "number" })
        }
        Kind::Measurement | Kind::Counter => json!({ "type": "integer" }),
        Kind::Bits => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Kind::Mode(labels) => labelled(labels, UNKNOWN, 3),
        Kind::Flags(labels) => json!({
            "type": "array",
            "items": labelled(labels, BIT, 2),
            "uniqueItems": true,
        }),
        Kind::Clock => json!({
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$",
        }),
    };
    if let Json::Object(object) = &mut value {
        object.insert("title".to_owned(), json!(description.label));
        object.insert("description".to_owned(), json!(description.meaning));
        if !description.unit.is_empty() {
            // An annotation of ours; validators pass over keywords that they do not know.
            object.insert("unit".to_owned(), json!(description.unit));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(reading: &Shown) -> Shown {
        let line = serde_json::to_string(reading).expect("a reading is plain data");
        let line = serde_json::from_str(&line).expect("an object");
        read(&line).expect("a reading")
    }

    proptest! {
        #[test]
        fn every_reading_comes_back_as_it_was(
            dated: bool,
            raws in prop::collection::vec(prop::option::of(0..200_i64), Quantity::ALL.len()),
        ) {
            let mut values = Values::default();
            for (quantity, raw) in Quantity::ALL.iter().zip(raws) {
                values.set_raw(*quantity, raw);
            }
            let reading = Shown {
                time: dated.then_some(UnixMillis(1_795_342_530_120)),
                inverter: Arc::new(Inverter { name: "roof".into(), serial: Some("1".into()), model: None }),
                values,
                counted: None,
            };
            prop_assert_eq!(again(&reading), reading);
        }
    }

    #[test]
    fn flags_that_nobody_has_named_come_back_too_and_have_a_schema() {
        let line = r#"{"schema":1,"inverter":"a","alarms":["bit_0","bit_31"],"kstar_errors":[]}"#;
        let reading = read(&serde_json::from_str(line).expect("an object")).expect("a reading");
        assert_eq!(serde_json::to_string(&reading).expect("a line"), line);
        let items = schema().pointer("/properties/alarms/items").cloned();
        assert_eq!(
            items,
            Some(json!({ "type": "string", "pattern": "^bit_[0-9]{1,2}$" }))
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let line = r#"{"schema":1,"time":"2026-11-22T10:15:30.123Z","inverter":"a","grid_power":-6746.0,
            "wind_power":3,"battery_mode":"dreaming","work_mode":"unknown_7","errors":["bit_2","made_up"]}"#;
        let line = serde_json::from_str(line).expect("an object");
        let reading = read(&line).expect("a reading");
        let shown: Vec<String> = reading
            .values
            .present()
            .map(|(quantity, value)| format!("{quantity}={value}"))
            .collect();
        assert_eq!(shown, ["grid_power=-6746", "work_mode=unknown_7"]);
        for nothing in ["{}", r#"{"time":"noon","inverter":"a"}"#] {
            let line = serde_json::from_str(nothing).expect("an object");
            assert!(read(&line).is_none(), "{nothing}");
        }
    }
}
