//! Whether a value is valid by a JSON Schema.

use serde_json::Value;

/// What is wrong with a value by a schema of this document, whose definitions the schema may refer to. It knows exactly
/// the keywords that ours uses: any other one ends the test, so that nothing is passed over.
pub(crate) fn mistake(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let keywords = schema.as_object().expect("a schema is an object");
    keywords.iter().find_map(|(keyword, rule)| {
        let right = match keyword.as_str() {
            "title" | "description" | "unit" | "format" | "default" | "maxLength" => true,
            "$ref" => {
                let pointer = rule.as_str().expect("a reference").trim_start_matches('#');
                let referred = document.pointer(pointer).expect("it is there");
                return mistake(document, referred, value);
            }
            "type" => match rule.as_str().expect("a type's name") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "number" => value.is_number(),
                "integer" => value.is_i64() || value.is_u64(),
                "boolean" => value.is_boolean(),
                other => panic!("type {other}"),
            },
            "const" => value == rule,
            "enum" => rule.as_array().expect("a list").contains(value),
            "pattern" => value.as_str().is_some_and(|text| {
                let pattern = rule.as_str().expect("a pattern");
                regex_lite::Regex::new(pattern)
                    .expect("a pattern")
                    .is_match(text)
            }),
            "minimum" => value.as_f64() >= rule.as_f64(),
            "maximum" => value.as_f64() <= rule.as_f64(),
            "anyOf" => {
                let schemas = rule.as_array().expect("a list");
                schemas
                    .iter()
                    .any(|schema| mistake(document, schema, value).is_none())
            }
            "items" => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                return items.iter().find_map(|item| mistake(document, rule, item));
            }
            "uniqueItems" => value.as_array().is_some_and(|items| {
                (1..items.len()).all(|index| !items[..index].contains(&items[index]))
            }),
            "required" => {
                let mut names = rule.as_array().expect("a list").iter();
                names.all(|name| value.get(name.as_str().expect("a name")).is_some())
            }
            "properties" => {
                return value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .find_map(|(name, value)| mistake(document, rule.get(name)?, value));
            }
            "additionalProperties" => {
                let known = |name: &str| keywords["properties"].get(name).is_some();
                let others = value.as_object().into_iter().flatten();
                let mut others =
                    others.filter(|(name, _)| !keywords.contains_key("properties") || !known(name));
                match rule {
                    Value::Bool(true) => true,
                    Value::Bool(false) => others.next().is_none(),
                    schema => {
                        return others.find_map(|(_, value)| mistake(document, schema, value));
                    }
                }
            }
            other => panic!("the schema uses {other}"),
        };
        (!right).then(|| format!("{keyword} {rule} does not allow {value}"))
    })
}
