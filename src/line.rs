//! A JSON line as a reading: the other direction of what readings are written as.
//!
//! What is not known is left out: a newer collector may have quantities that this program has not.

use std::sync::Arc;

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::reading::{Inverter, Reading, Shown};
use kstar_model::scalar::Kind;
use kstar_model::scalar::Labels;
use kstar_model::time::UnixMillis;
use serde_json::{Map, Value};

/// The reading that a JSON object is; nothing if it is none.
pub fn reading(line: &Map<String, Value>) -> Option<Shown> {
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    // Without a time while the collector's clock is not set.
    let time = match line.get("time") {
        Some(time) => {
            let time: jiff::Timestamp = time.as_str()?.parse().ok()?;
            Some(UnixMillis(time.as_millisecond()))
        }
        None => None,
    };
    let inverter = Inverter {
        name: text("inverter")?.into(),
        serial: text("serial").map(Arc::from),
        model: text("model").map(Arc::from),
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
fn raw(quantity: Quantity, value: &Value) -> Option<i64> {
    let description = quantity.description();
    match description.kind {
        Kind::Measurement | Kind::Counter | Kind::Bits => {
            let scale = 10f64.powi(description.decimals.into());
            Some((value.as_f64()? * scale).round() as i64)
        }
        Kind::Mode(labels) => code(labels, value.as_str()?, "unknown_"),
        Kind::Flags(labels) => value.as_array()?.iter().try_fold(0, |bits, flag| {
            let bit = code(labels, flag.as_str()?, "bit_")?;
            Some(bits | 1_i64.checked_shl(u32::try_from(bit).ok()?)?)
        }),
        Kind::Clock => {
            let moment: jiff::civil::DateTime = value.as_str()?.parse().ok()?;
            let moment = moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
            Some(moment.timestamp().as_second())
        }
    }
}

/// The code or bit that a label stands for.
fn code(labels: Labels, label: &str, unknown: &str) -> Option<i64> {
    let known = labels.0.iter().find(|(_, known)| *known == label);
    match known {
        Some((code, _)) => Some((*code).into()),
        None => label.strip_prefix(unknown)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(reading: &Shown) -> Shown {
        let line = serde_json::to_string(reading).expect("a reading is plain data");
        let line = serde_json::from_str(&line).expect("an object");
        super::reading(&line).expect("a reading")
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
    fn what_is_not_known_is_left_out() {
        let line = r#"{"schema":1,"time":"2026-11-22T10:15:30.123Z","inverter":"a","grid_power":-6746.0,
            "wind_power":3,"battery_mode":"dreaming","work_mode":"unknown_7","errors":["bit_2","made_up"]}"#;
        let line = serde_json::from_str(line).expect("an object");
        let reading = super::reading(&line).expect("a reading");
        let shown: Vec<String> = reading
            .values
            .present()
            .map(|(quantity, value)| format!("{quantity}={value}"))
            .collect();
        assert_eq!(shown, ["grid_power=-6746", "work_mode=unknown_7"]);
        for nothing in ["{}", r#"{"time":"noon","inverter":"a"}"#] {
            let line = serde_json::from_str(nothing).expect("an object");
            assert!(super::reading(&line).is_none(), "{nothing}");
        }
    }
}
