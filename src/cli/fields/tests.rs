use std::sync::Arc;

use kstar_model::catalogue::Values;
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_source_aa55::wire::running;
use proptest::prelude::*;

use super::*;

fn shown(args: FieldsArgs) -> String {
    let mut out = Vec::new();
    run(args, &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("text")
}

/// Whether a value is valid by a schema. It knows exactly the keywords that ours uses: any other one ends the
/// test, so that nothing is passed over.
fn valid(schema: &Value, value: &Value) -> bool {
    let Value::Object(keywords) = schema else {
        panic!("a schema is an object: {schema}");
    };
    keywords
        .iter()
        .all(|(keyword, rule)| match keyword.as_str() {
            "$schema" | "title" | "description" | "unit" | "format" => true,
            "additionalProperties" => {
                assert_eq!(rule, true);
                true
            }
            "type" => match rule.as_str().expect("a type's name") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "number" => value.is_number(),
                "integer" => value.is_i64() || value.is_u64(),
                other => panic!("type {other}"),
            },
            "const" => value == rule,
            "enum" => rule.as_array().expect("a list").contains(value),
            "pattern" => value.as_str().is_some_and(|text| {
                regex_lite::Regex::new(rule.as_str().expect("a pattern"))
                    .expect("a pattern")
                    .is_match(text)
            }),
            "minimum" => value.as_i64() >= rule.as_i64(),
            "maximum" => value.as_i64() <= rule.as_i64(),
            "anyOf" => rule
                .as_array()
                .expect("a list")
                .iter()
                .any(|schema| valid(schema, value)),
            "items" => value
                .as_array()
                .is_some_and(|items| items.iter().all(|item| valid(rule, item))),
            "uniqueItems" => value.as_array().is_some_and(|items| {
                (1..items.len()).all(|index| !items[..index].contains(&items[index]))
            }),
            "required" => rule
                .as_array()
                .expect("a list")
                .iter()
                .all(|name| value.get(name.as_str().expect("a name")).is_some()),
            "properties" => value.as_object().is_some_and(|object| {
                object
                    .iter()
                    .all(|(name, value)| rule.get(name).is_none_or(|schema| valid(schema, value)))
            }),
            other => panic!("the schema uses {other}"),
        })
}

fn line(time: i64, values: Values) -> Value {
    let reading = Reading {
        time: UnixMillis(time),
        inverter: Arc::new(Inverter {
            name: "roof".into(),
            serial: Some("KSE4000000000001".into()),
            model: None,
        }),
        values,
        counted: None,
    };
    let text = serde_json::to_string(&reading).expect("plain data");
    serde_json::from_str(&text).expect("JSON")
}

proptest! {
    #[test]
    fn every_json_line_is_valid_and_has_no_name_beside_the_schema(
        // As far as times can be written.
        time in 0..253_402_207_200_000_i64,
        payload in prop::collection::vec(any::<u8>(), 81..=255),
        reply_time in 0..10_000_i64,
    ) {
        let mut values = running::decode(&payload).expect("long enough");
        values.set_raw(Quantity::reply_time, Some(reply_time));
        let line = line(time, values);
        let schema = kstar_model::json::schema();
        prop_assert!(valid(&schema, &line), "{line}");
        for name in line.as_object().expect("an object").keys() {
            prop_assert!(schema["properties"].get(name).is_some(), "{}", name);
        }
    }
}

#[test]
fn the_schema_refuses_what_is_no_reading() {
    let schema = kstar_model::json::schema();
    let right = line(1_795_342_530_120, Values::default());
    assert!(valid(&schema, &right));
    for (name, wrong) in [
        ("schema", json!(2)),
        ("time", json!("2026-11-22 10:15:30")),
        ("inverter", json!("the roof")),
        ("pv_power", json!("1710.54")),
        ("grid_power", json!(0.5)),
        ("grid_power", json!(null)),
        ("battery_mode", json!("sleeping")),
        ("battery_mode", json!(3)),
        ("errors", json!("none")),
        ("errors", json!(["smoke"])),
        ("errors", json!(["bit_2", "bit_2"])),
        ("error_bits", json!(-1)),
        ("inverter_clock", json!("18:05:20")),
    ] {
        let mut line = right.clone();
        line[name] = wrong;
        assert!(!valid(&schema, &line), "{line}");
    }
    // While the clock is not set there is no time.
    for (name, allowed) in [("schema", false), ("time", true), ("inverter", false)] {
        let mut line = right.clone();
        line.as_object_mut().expect("an object").remove(name);
        assert_eq!(valid(&schema, &line), allowed, "without {name}");
    }
}

#[test]
fn the_schema_allows_what_a_newer_collector_or_inverter_adds() {
    let mut line = line(0, Values::default());
    line["battery_mode"] = json!("unknown_7");
    line["errors"] = json!(["bit_2", "utility_loss"]);
    line["some_new_power"] = json!(1);
    assert!(valid(&kstar_model::json::schema(), &line));
}

#[test]
fn json_tells_everything_about_every_quantity() {
    let args = FieldsArgs {
        json: true,
        ..FieldsArgs::default()
    };
    let all: Vec<Value> = serde_json::from_str(&shown(args)).expect("JSON");
    assert_eq!(all.len(), Quantity::ALL.len());
    let named = |name| {
        all.iter()
            .find(|entry| entry["name"] == name)
            .expect("a quantity")
    };
    assert_eq!(
        *named("pv_power"),
        json!({
            "name": "pv_power", "label": "PV power", "group": "PV", "kind": "measurement",
            "meaning": "Power of all PV strings together, on the DC side.",
            "unit": "W", "decimals": 2, "resolution": 0.01,
            "follows_from": { "rule": "sum", "of": ["pv1_power", "pv2_power"] },
        })
    );
    let direction = json!([
        { "code": 0, "label": "idle" },
        { "code": 1, "label": "exporting" },
        { "code": 2, "label": "importing" },
    ]);
    assert_eq!(named("grid_direction")["codes"], direction);
    let bit = json!({ "bit": 8, "label": "no_bms_communication" });
    assert_eq!(named("bms_errors")["flags"][8], bit);
}

#[test]
fn the_table_fits_a_terminal_and_names_everything_once() {
    let text = shown(FieldsArgs::default());
    assert!(text.bytes().all(|byte| byte != 0x1b), "no colours");
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "{line}");
        assert_eq!(line, line.trim_end());
    }
    for quantity in Quantity::ALL {
        let start = format!("  {quantity} ");
        let rows = text.lines().filter(|line| line.starts_with(&start));
        assert_eq!(rows.count(), 1, "{quantity}");
    }
    assert!(
        text.contains("codes: 0=idle, 1=exporting, 2=importing"),
        "{text}"
    );
    assert!(
        text.contains("  grid_frequency           Hz   0.01  measurement  Grid frequency"),
        "{text}"
    );
}

#[test]
fn markdown_is_one_table_with_a_row_for_each_quantity_and_group() {
    let args = FieldsArgs {
        markdown: true,
        ..FieldsArgs::default()
    };
    let text = shown(args);
    let groups = text.lines().filter(|line| line.starts_with("| **")).count();
    assert_eq!(groups, 8);
    assert_eq!(text.lines().count(), 2 + groups + Quantity::ALL.len());
    for line in text.lines() {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 4, "{line}");
    }
    assert!(
        text.contains("| `grid_frequency` | Hz | Frequency of the grid. |"),
        "{text}"
    );
}

#[test]
fn only_one_form_can_be_asked_for() {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: FieldsArgs,
    }
    use clap::Parser;
    let parsed = |words: &[&str]| Command::try_parse_from(words).map(|command| command.args);
    assert!(parsed(&["fields", "--json-schema"]).is_ok_and(|args| args.json_schema));
    assert!(parsed(&["fields", "--json", "--markdown"]).is_err());
}
