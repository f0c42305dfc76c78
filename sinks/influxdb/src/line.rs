//! Line protocol: one wide line per reading, made from the catalogue.
//!
//! Servers do not agree on every escape. What all of them read alike is written; what some of them cannot hold
//! (control characters, a backslash before a separator) is refused in the configuration by [`check_name`], and
//! replaced where it comes from elsewhere, so that nothing breaks a line or begins another one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kstar_common::key::KeyError;
use kstar_model::catalogue::{Quantity, Value};
use kstar_model::reading::Reading;

/// The tag that says which inverter it was.
const INVERTER: &str = "inverter";

/// The bytes of a line with every quantity, for a first guess.
const USUAL_LINE: usize = 1600;

/// What stands before the inverter's name and behind it in every line, escaped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    measurement: String,
    tags: String,
}

impl Layout {
    /// The layout of this measurement with these tags of the user's.
    pub(crate) fn new(
        measurement: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Self, KeyError> {
        let wrong = |message| KeyError::new("measurement", message);
        check_name("`measurement`", measurement).map_err(wrong)?;
        if measurement.starts_with('#') {
            let message = "`measurement` begins with `#`, which makes a comment of a line";
            return Err(wrong(message.to_owned()));
        }
        let mut text = String::new();
        for (key, value) in tags {
            check_tag(key, value)
                .map_err(|message| KeyError::new(&**key, message).within("tags"))?;
            text.push(',');
            escape(&mut text, key, &[',', '=', ' ']);
            text.push('=');
            escape(&mut text, value, &[',', '=', ' ']);
        }
        let mut escaped = String::new();
        escape(&mut escaped, measurement, &[',', ' ']);
        Ok(Self {
            measurement: escaped,
            tags: text,
        })
    }

    /// A line for each reading. One that has no values has no line: a point without fields does not exist.
    pub(crate) fn lines<'a>(&self, readings: impl ExactSizeIterator<Item = &'a Reading>) -> String {
        let mut text = String::with_capacity(readings.len() * USUAL_LINE);
        for reading in readings {
            self.line(&mut text, reading);
        }
        text
    }

    fn line(&self, text: &mut String, reading: &Reading) {
        let begin = text.len();
        text.push_str(&self.measurement);
        text.push_str(",inverter=");
        escape(text, &reading.inverter.name, &[',', '=', ' ']);
        text.push_str(&self.tags);
        let mut separator = ' ';
        for (quantity, value) in reading.values.present() {
            text.push(separator);
            separator = ',';
            text.push_str(quantity.name());
            text.push('=');
            match value {
                // Without an `i` behind it every number is a float, also 6746: a field keeps its type indefinitely.
                Value::Number(number) => write(text, number),
                Value::Mode(_) | Value::Flags { .. } | Value::Clock(_) => {
                    quote(text, &value.to_string());
                }
            }
        }
        if separator == ' ' {
            text.truncate(begin);
            return;
        }
        text.push(' ');
        write(text, reading.time.0);
        text.push('\n');
    }
}

fn write(text: &mut String, value: impl std::fmt::Display) {
    // Writing to memory cannot fail.
    let _ = write!(text, "{value}");
}

/// Whether a tag of the user's can stand beside what a line has of its own.
fn check_tag(key: &str, value: &str) -> Result<(), String> {
    check_name("the name of a tag", key)?;
    check_name(&format!("the tag `{key}`"), value)?;
    if key == INVERTER {
        return Err("`tags` has an `inverter`; that one is set to the inverter's name, so choose another name".to_owned());
    }
    if key == "time" || key.starts_with('_') {
        return Err(format!(
            "`tags` has `{key}`, and InfluxDB keeps `time` and names with `_` in front for itself; choose another name"
        ));
    }
    if Quantity::from_name(key).is_some() {
        return Err(format!(
            "`tags` has `{key}`, which is the name of a quantity; choose another name"
        ));
    }
    Ok(())
}

/// Whether every server can hold a text as a name or a tag.
fn check_name(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("{what} is empty; write something, or leave it out"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!(
            "{what} holds a line break or another control character, which InfluxDB cannot keep; leave it out"
        ));
    }
    if holdable(text).ne(text.chars()) {
        return Err(format!(
            "{what} has a backslash at its end or before a space, a comma, an equals sign or another backslash, which no two versions of InfluxDB read alike; write a slash, or nothing"
        ));
    }
    Ok(())
}

/// The text with what cannot be held replaced: control characters by spaces, a backslash that would escape by a slash.
fn holdable(text: &str) -> impl Iterator<Item = char> {
    let mut rest = text.chars();
    std::iter::from_fn(move || {
        let letter = rest.next()?;
        Some(match letter {
            '\\' => match rest.clone().next() {
                None | Some(',' | '=' | ' ' | '\\') => '/',
                Some(next) if next.is_control() => '/',
                Some(_) => letter,
            },
            _ if letter.is_control() => ' ',
            _ => letter,
        })
    })
}

fn escape(text: &mut String, name: &str, special: &[char]) {
    for letter in holdable(name) {
        if special.contains(&letter) {
            text.push('\\');
        }
        text.push(letter);
    }
}

/// A string field: there quotes and backslashes are escaped, and everything else stands for itself.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for letter in value.chars() {
        if matches!(letter, '"' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use influxdb_line_protocol::{FieldValue, ParsedLine, parse_lines};
    use kstar_sink::testing::{Record, full_reading, reading, readings, record};
    use proptest::prelude::*;

    fn layout(measurement: &str, tags: &[(&str, &str)]) -> Result<Layout, KeyError> {
        let tags = tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Layout::new(measurement, &tags)
    }

    fn parsed(text: &str) -> Vec<ParsedLine<'_>> {
        parse_lines(text).collect::<Result<_, _>>().unwrap()
    }

    /// What another's parser makes of a line, in the form in which tests compare readings.
    fn understood(line: &ParsedLine<'_>) -> Record {
        let mut record = Record::new();
        let tags = line.series.tag_set.as_ref().unwrap();
        record.insert("inverter".to_owned(), tags[0].1.to_string());
        record.insert("time".to_owned(), line.timestamp.unwrap().to_string());
        for (key, value) in &line.field_set {
            let value = match value {
                FieldValue::F64(number) => number.to_string(),
                FieldValue::String(text) => text.to_string(),
                other => panic!("{key} is neither float nor string: {other:?}"),
            };
            assert!(record.insert(key.to_string(), value).is_none(), "{key}");
        }
        record
    }

    #[test]
    fn a_line_has_the_measurement_the_tags_the_fields_and_the_time() {
        let layout = layout("inverter", &[("site", "home"), ("floor", "2")]).unwrap();
        let mut reading = (*reading("roof", 1_795_342_530_120)).clone();
        for (name, raw) in [
            ("pv1_voltage", 2317),
            ("grid_power", -6746),
            ("battery_mode", 2),
            ("errors", 0),
        ] {
            let quantity = Quantity::from_name(name).unwrap();
            reading.values.set_raw(quantity, Some(raw));
        }
        assert_eq!(
            layout.lines([&reading].into_iter()),
            "inverter,inverter=roof,floor=2,site=home pv1_voltage=231.7,battery_mode=\"discharging\",grid_power=-6746,errors=\"none\" 1795342530120\n"
        );
    }

    #[test]
    fn another_parser_understands_every_reading() {
        let layout = layout("inverter", &[]).unwrap();
        let mut readings = readings("roof", 500);
        readings.push(full_reading("barn", -1));
        let text = layout.lines(readings.iter().map(|reading| &**reading));
        let lines = parsed(&text);
        assert_eq!(lines.len(), readings.len());
        for (line, reading) in lines.iter().zip(&readings) {
            assert_eq!(understood(line), record(reading));
        }
    }

    #[test]
    fn a_reading_without_values_has_no_line() {
        let layout = layout("inverter", &[]).unwrap();
        let (empty, full) = (reading("roof", 1), full_reading("roof", 2));
        let text = layout.lines([&*empty, &*full, &*empty].into_iter());
        assert_eq!(text.lines().count(), 1);
        assert!(text.ends_with(" 2\n"), "{text}");
    }

    #[test]
    fn what_servers_read_differently_or_not_at_all_is_refused_with_what_to_do() {
        for (measurement, tags, part) in [
            ("", &[][..], "`measurement` is empty"),
            ("#a", &[], "comment"),
            ("a\nb", &[], "line break"),
            ("a", &[("", "x")], "is empty"),
            ("a", &[("site", "")], "`site` is empty"),
            ("a", &[("site", "x\r\ny")], "`site` holds a line break"),
            ("a", &[("site", "x\\")], "backslash"),
            ("a", &[("site", "x\\ y")], "backslash"),
            ("a", &[("site", "x\\\\y")], "backslash"),
            ("a", &[("inverter", "x")], "choose another name"),
            ("a", &[("time", "x")], "choose another name"),
            ("a", &[("_field", "x")], "choose another name"),
            ("a", &[("pv_power", "x")], "name of a quantity"),
        ] {
            let error = layout(measurement, tags).unwrap_err();
            assert!(
                error.message.contains(part),
                "{measurement:?} {tags:?}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_not_refused_comes_out_as_it_went_in(
            measurement in r#"[a-zé☀ ,="'\\]{1,8}"#,
            key in r#"[A-Zé☀ ,="'\\]{1,8}"#,
            value in r#"[a-zé☀ ,="'\\]{1,8}"#,
        ) {
            if let Ok(layout) = layout(&measurement, &[(&key, &value)]) {
                let text = layout.lines([&*full_reading("roof", 7)].into_iter());
                let lines = parsed(&text);
                prop_assert_eq!(lines.len(), 1);
                let series = &lines[0].series;
                prop_assert_eq!(series.measurement.to_string(), measurement);
                let tags = series.tag_set.as_ref().unwrap();
                prop_assert_eq!(tags[1].0.to_string(), key);
                prop_assert_eq!(tags[1].1.to_string(), value);
            }
        }

        #[test]
        fn no_name_of_an_inverter_breaks_a_line(name in r#"[a-z\\\n\r\t\x00 ,="é#]{1,12}"#) {
            let layout = layout("inverter", &[("site", "home")]).unwrap();
            let reading = full_reading(&name, 7);
            let text = layout.lines([&*reading, &*reading].into_iter());
            let lines = parsed(&text);
            prop_assert_eq!(lines.len(), 2);
            let mut expected = record(&reading);
            expected.insert("inverter".to_owned(), holdable(&name).collect());
            for line in &lines {
                prop_assert_eq!(understood(line), expected.clone());
                prop_assert_eq!(line.series.tag_set.as_ref().unwrap().len(), 2);
            }
        }

        #[test]
        fn a_string_comes_out_as_it_went_in(value in any::<String>()) {
            let mut text = "a b=".to_owned();
            quote(&mut text, &value);
            text.push_str(" 7\n");
            let lines = parsed(&text);
            prop_assert_eq!(lines.len(), 1);
            match &lines[0].field_set[0].1 {
                FieldValue::String(read) => prop_assert_eq!(read.to_string(), value),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
