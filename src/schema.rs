//! The JSON Schema of a reading, made from the catalogue alone: `kstar fields --json-schema` and the API's description.

use kstar_model::catalogue::Quantity;
use kstar_model::reading::SCHEMA;
use kstar_model::scalar::Kind;
use kstar_model::scalar::Labels;
use serde_json::{Map, Value, json};

/// The schema of a JSON line.
///
/// It allows properties that it does not name: the catalogue may grow without a new `schema` number, and a line
/// from a newer collector stays valid for whoever holds an older copy of this. For the same reason a mode may be
/// `unknown_7` and a flag `bit_7`.
pub fn json_schema() -> Value {
    let mut properties = Map::new();
    let mut insert = |key: &str, value: Value| properties.insert(key.to_owned(), value);
    insert(
        "schema",
        json!({
            "const": SCHEMA,
            "description": "Version of this form; it rises only when something must break for those who read it.",
        }),
    );
    insert(
        "time",
        json!({
            "type": "string",
            "format": "date-time",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
            "description": "When the reply came, by the collector's clock, in UTC. Only an MQTT message, the stream and the latest readings come without it, while that clock is not set.",
        }),
    );
    insert(
        "inverter",
        json!({
            "type": "string",
            "pattern": "^[A-Za-z0-9_-]{1,32}$",
            "description": "The inverter's name in the configuration.",
        }),
    );
    insert(
        "serial",
        json!({ "type": "string", "description": "The inverter's serial number, once it is known." }),
    );
    insert(
        "model",
        json!({ "type": "string", "description": "The inverter's model, once it is known." }),
    );
    for quantity in Quantity::ALL {
        insert(quantity.name(), property(*quantity));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A reading of kstar-collector",
        "description": "One poll of one inverter. A value that the inverter did not send is left out. \
            Properties that are not named here may be added without a new schema number: ignore them.",
        "type": "object",
        "required": ["schema", "inverter"],
        "properties": properties,
        "additionalProperties": true,
    })
}

/// The schema of a quantity's value.
fn property(quantity: Quantity) -> Value {
    let description = quantity.description();
    let known =
        |labels: Labels| -> Vec<&str> { labels.0.iter().map(|(_, label)| *label).collect() };
    let labelled = |labels: Labels, other: &str| json!({ "type": "string", "anyOf": [{ "enum": known(labels) }, { "pattern": other }] });
    let mut value = match description.kind {
        Kind::Measurement | Kind::Counter if description.decimals > 0 => {
            json!({ "type": "number" })
        }
        Kind::Measurement | Kind::Counter => json!({ "type": "integer" }),
        Kind::Bits => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Kind::Mode(labels) => labelled(labels, "^unknown_[0-9]{1,3}$"),
        Kind::Flags(labels) => json!({
            "type": "array",
            "items": labelled(labels, "^bit_[0-9]{1,2}$"),
            "uniqueItems": true,
        }),
        Kind::Clock => json!({
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$",
        }),
    };
    if let Value::Object(object) = &mut value {
        object.insert("title".to_owned(), json!(description.label));
        object.insert("description".to_owned(), json!(description.meaning));
        if !description.unit.is_empty() {
            // An annotation of ours; validators pass over keywords that they do not know.
            object.insert("unit".to_owned(), json!(description.unit));
        }
    }
    value
}
