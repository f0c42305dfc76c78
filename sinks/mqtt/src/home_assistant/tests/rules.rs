//! Payloads against Home Assistant's rules, held here as data with the page that states each.

use std::collections::{BTreeMap, HashSet};

use kstar_model::catalogue::Quantity;
use kstar_model::scalar::Kind;
use kstar_model::scalar::Labels;
use kstar_sink::testing::full_reading;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::presence;
use super::super::set::Set;
use super::super::vocabulary::{self, Component, Platform, Source};
use super::*;

/// Device class, its units, its state classes.
/// Source: home-assistant.io "Sensor" (Device class), developers.home-assistant.io "Sensor entity" (Available device
/// classes, Available state classes); in code `DEVICE_CLASS_UNITS` and `DEVICE_CLASS_STATE_CLASSES`.
const SENSOR_CLASSES: &[(&str, &[&str], &[&str])] = &[
    ("battery", &["%"], &["measurement"]),
    ("current", &["A", "mA"], &["measurement"]),
    (
        "duration",
        &["d", "h", "min", "s", "ms"],
        &["measurement", "total", "total_increasing"],
    ),
    (
        "energy",
        &["Wh", "kWh", "MWh"],
        &["total", "total_increasing"],
    ),
    ("frequency", &["Hz", "kHz", "MHz", "GHz"], &["measurement"]),
    ("power", &["W", "kW", "MW"], &["measurement"]),
    ("temperature", &["°C", "°F", "K"], &["measurement"]),
    ("timestamp", &[], &[]),
    ("voltage", &["V", "mV"], &["measurement"]),
    ("enum", &[], &[]),
];

/// Source: home-assistant.io "Binary sensor" (Device class).
const BINARY_SENSOR_CLASSES: &[&str] = &["connectivity", "problem"];

/// Source: home-assistant.io "MQTT sensor" and "MQTT binary sensor" (Configuration variables), without what is
/// deprecated there (`object_id`) and what only an MQTT topic's root may say.
const SENSOR_KEYS: &[&str] = &[
    "platform",
    "name",
    "unique_id",
    "default_entity_id",
    "state_topic",
    "value_template",
    "device_class",
    "state_class",
    "unit_of_measurement",
    "suggested_display_precision",
    "options",
    "icon",
    "entity_category",
    "enabled_by_default",
    "expire_after",
    "availability",
    "availability_mode",
    "json_attributes_topic",
    "json_attributes_template",
];

/// The same page, for binary sensors.
const BINARY_SENSOR_KEYS: &[&str] = &[
    "platform",
    "name",
    "unique_id",
    "default_entity_id",
    "state_topic",
    "value_template",
    "device_class",
    "payload_on",
    "payload_off",
    "icon",
    "entity_category",
    "enabled_by_default",
    "expire_after",
    "availability",
    "availability_mode",
];

/// Source: home-assistant.io "MQTT" (Device discovery payload: shared options).
const SHARED_KEYS: &[&str] = &[
    "device",
    "origin",
    "availability",
    "availability_mode",
    "qos",
];

/// Source: home-assistant.io "MQTT sensor" (Configuration variables, device).
const DEVICE_KEYS: &[&str] = &[
    "identifiers",
    "name",
    "manufacturer",
    "model",
    "serial_number",
    "sw_version",
    "configuration_url",
    "via_device",
];

/// Source: home-assistant.io "MQTT" (Discovery topic): `[a-zA-Z0-9_-]` in node id and object id.
fn is_topic_id(id: &str) -> bool {
    !id.is_empty()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Source: developers.home-assistant.io "Entity" and home-assistant.io "Customizing entities": a domain and an object
/// id of lower-case letters, digits and underscores that neither begins nor ends with one, nor has two in a row.
fn is_entity_id(id: &str) -> bool {
    id.split_once('.').is_some_and(|(domain, object)| {
        matches!(domain, "sensor" | "binary_sensor")
            && object
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            && !object.starts_with('_')
            && !object.ends_with('_')
            && !object.contains("__")
    })
}

/// Whether it tells if somebody is there, and not how something is.
fn is_presence(key: &str) -> bool {
    presence::OF_INVERTER
        .iter()
        .any(|(known, ..)| *known == key)
}

/// A component's config with its platform, whichever form it came in, and the root that goes with it.
struct Announced {
    /// Its node.
    node: String,
    key: String,
    platform: String,
    config: Map<String, Value>,
    root: Map<String, Value>,
}

fn announced(messages: &[crate::message::Message]) -> Vec<Announced> {
    let mut found = Vec::new();
    for message in messages {
        let Value::Object(mut root) = serde_json::from_str(&message.payload).expect("JSON") else {
            panic!("{} is no object", message.payload);
        };
        let parts: Vec<&str> = message.topic.split('/').collect();
        match parts[..] {
            ["homeassistant", "device", node, "config"] => {
                assert!(is_topic_id(node), "{node}");
                let Some(Value::Object(components)) = root.remove("components") else {
                    panic!("no components");
                };
                for (key, component) in components {
                    let config = component.as_object().expect("an object").clone();
                    let platform = config["platform"].as_str().expect("a platform").to_owned();
                    found.push(Announced {
                        node: node.to_owned(),
                        key,
                        platform,
                        config,
                        root: root.clone(),
                    });
                }
            }
            ["homeassistant", platform, node, key, "config"] => {
                assert!(is_topic_id(node) && is_topic_id(key), "{node} {key}");
                // "MQTT sensor": `platform` belongs to device discovery only.
                assert!(!root.contains_key("platform"));
                let (shared, config) = root
                    .into_iter()
                    .partition(|(key, _)| SHARED_KEYS.contains(&key.as_str()));
                found.push(Announced {
                    node: node.to_owned(),
                    key: key.to_owned(),
                    platform: platform.to_owned(),
                    config,
                    root: shared,
                });
            }
            _ => panic!("{}", message.topic),
        }
    }
    found
}

fn check(announced: &Announced) {
    let Announced {
        node,
        key,
        platform,
        config,
        root,
    } = announced;
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    assert!(is_topic_id(key), "{key}");
    let allowed = match platform.as_str() {
        "sensor" => SENSOR_KEYS,
        "binary_sensor" => BINARY_SENSOR_KEYS,
        other => panic!("{key}: Home Assistant shows no {other} for a value that is only read"),
    };
    for found in config.keys() {
        assert!(allowed.contains(&found.as_str()), "{key}: {found}");
    }
    // The template: an update without one leaves the old one in place, which a real Home Assistant has shown.
    for required in [
        "unique_id",
        "state_topic",
        "value_template",
        "name",
        "default_entity_id",
    ] {
        assert!(text(required).is_some(), "{key} has no {required}");
    }
    assert!(
        is_entity_id(text("default_entity_id").unwrap_or_default()),
        "{config:?}"
    );
    let domain = text("default_entity_id").and_then(|id| id.split_once('.'));
    assert_eq!(
        domain.map(|(domain, _)| domain),
        Some(platform.as_str()),
        "{key}"
    );
    // "Entity" (Entity naming): the device's name is put before the entity's and not repeated in it.
    let name = text("name").unwrap_or_default();
    let device = root["device"]["name"].as_str().expect("a name");
    assert!(
        !name.to_lowercase().starts_with(&device.to_lowercase()),
        "{device}: {name}"
    );
    // "Sensor entity" (Entity category): a sensor that configures nothing may only be diagnostic.
    assert!(matches!(text("entity_category"), None | Some("diagnostic")));
    if platform == "sensor" {
        check_sensor(key, config);
    } else {
        assert!(
            text("device_class").is_some_and(|class| BINARY_SENSOR_CLASSES.contains(&class)),
            "{key}"
        );
    }
    check_root(node, root);
    let available = config.get("availability").or(root.get("availability"));
    assert_eq!(available, availability(node, key).as_ref(), "{key}");
}

fn check_sensor(key: &str, config: &Map<String, Value>) {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let (unit, state_class) = (text("unit_of_measurement"), text("state_class"));
    match text("device_class") {
        Some(class) => {
            let (_, units, state_classes) = SENSOR_CLASSES
                .iter()
                .find(|(known, _, _)| *known == class)
                .unwrap_or_else(|| panic!("{key}: {class} is not in the table"));
            match unit {
                Some(unit) => assert!(units.contains(&unit), "{key}: {class} in {unit}"),
                None => assert!(units.is_empty(), "{key}: {class} without a unit"),
            }
            match state_class {
                Some(state) => assert!(state_classes.contains(&state), "{key}: {class} {state}"),
                None => assert!(state_classes.is_empty(), "{key}: {class} has no statistics"),
            }
        }
        // "Sensor entity": a sensor with a state class is expected to be a number.
        None => assert_eq!(unit.is_some(), state_class.is_some(), "{key}"),
    }
    // "MQTT sensor" (options): only with device class enum, not with a state class or unit, and not empty.
    assert_eq!(
        config.contains_key("options"),
        text("device_class") == Some("enum"),
        "{key}"
    );
    if let Some(options) = config.get("options") {
        let options = options.as_array().expect("a list");
        let distinct: HashSet<&str> = options.iter().filter_map(Value::as_str).collect();
        assert!(
            !options.is_empty() && distinct.len() == options.len(),
            "{key}"
        );
        assert!(!distinct.contains("unknown") && !distinct.contains("unavailable"));
    }
    // "Sensor entity" (suggested display precision): makes the state a number, as unit and state class do.
    assert_eq!(
        config.contains_key("suggested_display_precision"),
        state_class.is_some(),
        "{key}"
    );
    // DESIGN 8: none on totals, nor on what the collector tells with each change.
    let of_quantity = Quantity::from_name(key).is_some();
    assert_eq!(
        config.contains_key("expire_after"),
        of_quantity && state_class != Some("total_increasing"),
        "{key}"
    );
}

fn check_root(node: &str, root: &Map<String, Value>) {
    for key in root.keys() {
        assert!(SHARED_KEYS.contains(&key.as_str()), "{key}");
    }
    let device = root["device"].as_object().expect("an object");
    for key in device.keys() {
        assert!(DEVICE_KEYS.contains(&key.as_str()), "{key}");
    }
    // "MQTT" (Device discovery payload): `device` needs identifiers or connections, `origin` needs a name.
    assert_eq!(device["identifiers"], json!([node]));
    assert!(root["origin"]["name"].is_string());
    // A link that leads nowhere is worse than none.
    assert_ne!(root["origin"].get("support_url"), Some(&json!("")));
    assert!(!root["origin"].to_string().contains(".invalid"));
    if root.contains_key("availability") {
        assert_eq!(root["availability_mode"], "all");
    }
}

/// Where it is told whether a state is worth anything.
/// "MQTT" (Using availability topics): a list of topics, and `all` of them must say `online`.
fn availability(node: &str, key: &str) -> Option<Value> {
    let collector = json!({ "topic": "kstar/collector/one/status" });
    match (node.strip_prefix("kstar_"), is_presence(key)) {
        (Some(inverter), false) => {
            let inverter = json!({ "topic": format!("kstar/{inverter}/status") });
            Some(json!([collector, inverter]))
        }
        (Some(_), true) | (None, false) => Some(json!([collector])),
        // Whether the collector is there is always known.
        (None, true) => None,
    }
}

/// "Entity registry": a unique id is unique per platform; a default entity id that is taken gets a number, which
/// depends on who came first.
fn check_unique(all: &[Announced]) {
    let mut unique_ids = HashSet::new();
    let mut entity_ids = HashSet::new();
    for Announced { config, .. } in all {
        assert!(
            unique_ids.insert(config["unique_id"].to_string()),
            "{config:?}"
        );
        assert!(
            entity_ids.insert(config["default_entity_id"].to_string()),
            "{config:?}"
        );
    }
}

#[test]
fn every_payload_keeps_home_assistants_rules() {
    let names = ["roof", "roof_load", "a-b", "a_b", "A-b", "-", "Battery"];
    for form in [Form::Device, Form::Entity] {
        for per_quantity in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let topics = Topics {
                per_quantity,
                ..topics("one")
            };
            let mut discovery =
                Discovery::new(&settings(form), topics, &context(&names, folder.path()));
            discovery.price(&price(Some("£")));
            let of_collector = discovery.collector(&collector(None, &["mqtt", "sqlite"]));
            let of_collector = announced(&of_collector).len();
            for name in names {
                discovery.observe(&full_reading(name, BEGIN));
            }
            let all = announced(&discovery.all());
            assert_eq!(
                all.len(),
                of_collector
                    + names.len()
                        * (components_of_everything().count() + presence::OF_INVERTER.len()),
                "everything is announced"
            );
            all.iter().for_each(check);
            check_unique(&all);
        }
    }
}

/// The remedy for a broker with a limit: names as long as they may be, and nothing of an inverter left out.
#[test]
fn an_entity_alone_passes_a_broker_that_takes_two_thousand_bytes() {
    let name = "n".repeat(32);
    for per_quantity in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let topics = Topics {
            per_quantity,
            ..topics(&"c".repeat(64))
        };
        let context = context(&[name.as_str()], folder.path());
        let mut discovery = Discovery::new(&settings(Form::Entity), topics, &context);
        let mut reading = (*full_reading(&name, BEGIN)).clone();
        reading.inverter = Arc::new(Inverter {
            name: name.as_str().into(),
            serial: Some("S".repeat(16).into()),
            model: Some("M".repeat(16).into()),
        });
        discovery.observe(&reading);
        for message in discovery.all() {
            let size = message.packet_size();
            assert!(size <= 2000, "{size} bytes: {message:?}");
        }
    }
}

fn components_of_everything() -> impl Iterator<Item = Component> {
    vocabulary::components(Quantity::ALL.iter().copied().collect())
}

/// A unit that has no class here would be announced without one, and nobody would see it.
#[test]
fn every_unit_has_a_class() {
    let without_class: Vec<&str> = components_of_everything()
        .filter(|component| {
            let classes = component.classes();
            classes.unit_of_measurement.is_some() && classes.device_class.is_none()
        })
        .map(|component| component.quantity.name())
        .collect();
    // A share of a hundred that is no state of charge is no battery level to Home Assistant, and has no class.
    assert_eq!(without_class, ["battery_soh"]);
}

/// "Energy" (home-assistant.io): sources are sensors of class energy in kWh with `total_increasing`.
#[test]
fn every_energy_counter_may_be_a_source_of_the_energy_dashboard() {
    for component in components_of_everything() {
        if component.quantity.description().unit == "kWh" {
            let classes = component.classes();
            assert_eq!(classes.device_class, Some("energy"));
            assert_eq!(classes.state_class, Some("total_increasing"));
            assert_eq!(classes.entity_category, None);
            assert!(!component.is_live());
        }
    }
}

/// "Energy" (home-assistant.io): its settings ask for solar production, grid consumption and return, and energy going
/// into and out of the battery.
#[test]
fn the_energy_dashboard_has_a_counter_for_each_thing_that_it_asks_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = full_reading("roof", BEGIN);
    let published = topics("one")
        .reading(crate::topics::Form::Both, &full, None)
        .expect("messages");
    let announced = announced(&start(Form::Device, &["roof"], folder.path()).observe(&full));
    for source in [
        "pv_energy_total",
        "grid_import_energy_total",
        "grid_export_energy_total",
        "battery_charge_energy_total",
        "battery_discharge_energy_total",
    ] {
        let found = announced.iter().find(|found| found.key == source);
        let config = &found.unwrap_or_else(|| panic!("{source}")).config;
        assert_eq!(config["device_class"], "energy", "{source}");
        assert_eq!(config["state_class"], "total_increasing", "{source}");
        assert_eq!(config["unit_of_measurement"], "kWh", "{source}");
        let state = published
            .iter()
            .find(|message| config["state_topic"] == message.topic);
        assert!(state.is_some_and(|message| message.retain), "{source}");
    }
}

#[test]
fn no_key_is_used_twice_or_holds_what_parts_it_from_the_inverter() {
    let mut keys = HashSet::new();
    for component in components_of_everything() {
        let key = component.key();
        assert!(!key.contains('-'), "{key}");
        assert!(keys.insert(key.clone()), "{key}");
    }
}

#[test]
fn each_set_of_faults_has_a_fault_whose_id_is_made_of_its_name() {
    let faults = components_of_everything()
        .filter(|component| component.platform == Platform::BinarySensor)
        .map(|component| (component.name(), component.object()));
    let faults: Vec<(String, String)> = faults.collect();
    for (name, object) in &faults {
        assert_eq!(&name.to_lowercase().replace(' ', "_"), object);
    }
    let names: Vec<&str> = faults.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["BMS fault", "Battery fault", "Fault", "KSTAR fault"]
    );
}

#[test]
fn no_mode_has_a_label_that_stands_for_all_others() {
    for quantity in Quantity::ALL {
        if let Kind::Mode(Labels(labels)) = quantity.description().kind {
            assert!(
                labels.iter().all(|(_, label)| *label != vocabulary::OTHER),
                "{quantity}"
            );
        }
    }
}

fn connection() -> Value {
    json!({
        "platform": "binary_sensor",
        "name": "Connection",
        "unique_id": "kstar_inverter-connection",
        "default_entity_id": "binary_sensor.inverter_connection",
        "state_topic": "kstar/inverter/status",
        "value_template": "{{ value }}",
        "payload_on": "online",
        "payload_off": "offline",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "availability": [{ "topic": "kstar/collector/one/status" }],
        "availability_mode": "all"
    })
}

fn last_reading() -> Value {
    json!({
        "platform": "sensor",
        "name": "Last reading",
        "unique_id": "kstar_inverter-last_reading",
        "default_entity_id": "sensor.inverter_last_reading",
        "state_topic": "kstar/inverter/last_reading",
        "value_template": "{{ value or 'None' }}",
        "device_class": "timestamp",
        "entity_category": "diagnostic",
        "availability": [{ "topic": "kstar/collector/one/status" }],
        "availability_mode": "all"
    })
}

fn fault() -> Value {
    json!({
        "platform": "binary_sensor",
        "name": "BMS fault",
        "unique_id": "kstar_inverter-bms_errors_problem",
        "default_entity_id": "binary_sensor.inverter_bms_fault",
        "state_topic": "kstar/inverter/bms_errors",
        "value_template": "{{ 'ON' if value.split(',') | reject('in', ['none', 'no_bms_communication']) | list else 'OFF' }}",
        "device_class": "problem",
        "expire_after": 60
    })
}

/// Frozen: what Home Assistant has stored under these ids must be found again.
#[test]
fn a_small_device_looks_like_this() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut discovery = start(Form::Device, &["inverter"], folder.path());
    let mut reading = reading(
        "inverter",
        0,
        &[
            Quantity::battery_soc,
            Quantity::grid_direction,
            Quantity::bms_errors,
            Quantity::energy_total,
        ],
    );
    reading.inverter = Arc::new(Inverter {
        name: "inverter".into(),
        serial: Some("1234".into()),
        model: Some("KSE4000".into()),
    });
    let messages = discovery.observe(&reading);
    let [message] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(message.topic, "homeassistant/device/kstar_inverter/config");
    let payload: Value = serde_json::from_str(&message.payload).expect("JSON");
    assert_eq!(
        payload,
        json!({
            "device": {
                "identifiers": ["kstar_inverter"],
                "name": "KSTAR inverter",
                "manufacturer": "KSTAR",
                "model": "KSE4000",
                "serial_number": "1234"
            },
            "origin": { "name": "kstar-collector", "sw_version": "0.1.0" },
            "availability": [
                { "topic": "kstar/collector/one/status" },
                { "topic": "kstar/inverter/status" }
            ],
            "availability_mode": "all",
            "qos": 1,
            "components": {
                "connection": connection(),
                "last_reading": last_reading(),
                "battery_soc": {
                    "platform": "sensor",
                    "name": "Battery state of charge",
                    "unique_id": "kstar_inverter-battery_soc",
                    "default_entity_id": "sensor.inverter_battery_soc",
                    "state_topic": "kstar/inverter/battery_soc",
                    "value_template": "{{ value }}",
                    "device_class": "battery",
                    "state_class": "measurement",
                    "unit_of_measurement": "%",
                    "suggested_display_precision": 0,
                    "expire_after": 60
                },
                "grid_direction": {
                    "platform": "sensor",
                    "name": "Grid direction",
                    "unique_id": "kstar_inverter-grid_direction",
                    "default_entity_id": "sensor.inverter_grid_direction",
                    "state_topic": "kstar/inverter/grid_direction",
                    "value_template": "{{ value if value in ['idle', 'exporting', 'importing'] else 'other' }}",
                    "device_class": "enum",
                    "options": ["idle", "exporting", "importing", "other"],
                    "icon": "mdi:transmission-tower",
                    "entity_category": "diagnostic",
                    "expire_after": 60
                },
                "bms_errors": {
                    "platform": "sensor",
                    "name": "BMS errors",
                    "unique_id": "kstar_inverter-bms_errors",
                    "default_entity_id": "sensor.inverter_bms_errors",
                    "state_topic": "kstar/inverter/bms_errors",
                    "value_template": "{{ value[:255] }}",
                    "icon": "mdi:home-battery",
                    "entity_category": "diagnostic",
                    "expire_after": 60
                },
                "bms_errors_problem": fault(),
                "energy_total": {
                    "platform": "sensor",
                    "name": "Energy total",
                    "unique_id": "kstar_inverter-energy_total",
                    "default_entity_id": "sensor.inverter_energy_total",
                    "state_topic": "kstar/inverter/energy_total",
                    "value_template": "{{ value }}",
                    "device_class": "energy",
                    "state_class": "total_increasing",
                    "unit_of_measurement": "kWh",
                    "suggested_display_precision": 1
                }
            }
        })
    );
}

/// The same templates over JSON. That they give the right states was tried with Jinja 3.1.
#[test]
fn a_template_over_json_knows_what_is_not_there() {
    let template =
        |quantity: Quantity, platform| Component { quantity, platform }.template(Source::Json);
    let sensor = |quantity| template(quantity, Platform::Sensor);
    assert_eq!(
        sensor(Quantity::pv_power),
        "{{ value_json.pv_power | default('None') }}"
    );
    assert_eq!(
        sensor(Quantity::energy_total),
        "{{ value_json.energy_total | default('') }}"
    );
    assert_eq!(
        sensor(Quantity::backup_mode),
        "{% if value_json.backup_mode is defined %}\
         {{ value_json.backup_mode if value_json.backup_mode in ['disconnected', 'connected'] else 'other' }}\
         {% else %}None{% endif %}"
    );
    assert_eq!(
        sensor(Quantity::errors),
        "{% if value_json.errors is defined %}{{ (value_json.errors | join(',') or 'none')[:255] }}{% else %}None{% endif %}"
    );
    assert_eq!(
        template(Quantity::errors, Platform::BinarySensor),
        "{% if value_json.errors is defined %}\
         {{ 'ON' if value_json.errors | reject('in', []) | list else 'OFF' }}\
         {% else %}None{% endif %}"
    );
}

#[test]
fn a_live_value_expires_after_what_is_set_or_four_polls_or_never() {
    let seconds = |expire_after, poll_interval| {
        HomeAssistantSettings {
            expire_after,
            ..HomeAssistantSettings::default()
        }
        .expire_seconds(poll_interval)
    };
    assert_eq!(seconds(None, Duration::from_secs(5)), 60);
    assert_eq!(seconds(None, Duration::from_secs(60)), 240);
    assert_eq!(
        seconds(Some(Duration::from_millis(1500)), Duration::from_secs(5)),
        2
    );
    let folder = tempfile::tempdir().expect("a folder");
    let never = HomeAssistantSettings {
        expire_after: Some(Duration::ZERO),
        ..HomeAssistantSettings::default()
    };
    let mut discovery = Discovery::new(&never, topics("one"), &context(&["roof"], folder.path()));
    let messages = discovery.observe(&full_reading("roof", BEGIN));
    assert!(!messages[0].payload.contains("expire_after"));
}

#[test]
fn the_section_is_read_with_its_defaults_and_refuses_what_it_does_not_know() {
    let read = |text: &str| toml::from_str::<HomeAssistantSettings>(text);
    assert_eq!(read("").expect("valid"), HomeAssistantSettings::default());
    let set = read("discovery = 'entity'\nprefix = 'ha'\nexpire_after = '2m'").expect("valid");
    assert_eq!(
        (set.discovery, set.expire_after),
        (Form::Entity, Some(Duration::from_secs(120)))
    );
    assert!(read("discovery = 'yaml'").is_err());
    assert!(read("discover = 'off'").is_err());
    for prefix in ["", "/", "a/", "a/#", "+", "$SYS"] {
        let settings = HomeAssistantSettings {
            prefix: prefix.to_owned(),
            ..HomeAssistantSettings::default()
        };
        assert!(settings.check().is_err(), "{prefix}");
    }
    assert_eq!(HomeAssistantSettings::default().check(), Ok(()));
}

fn sets() -> impl Strategy<Value = Vec<(bool, Vec<usize>)>> {
    let reading = (
        any::<bool>(),
        prop::collection::vec(0..Quantity::ALL.len(), 0..20),
    );
    prop::collection::vec(reading, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever two inverters send in whatever order: ids are unique, the rules are kept, Home Assistant has exactly
    /// what was sent, and when discovery is switched off nothing is left on the broker.
    #[test]
    fn any_readings_are_announced_once_and_leave_nothing(
        sets in sets(),
        one in "[A-Za-z0-9_-]{1,8}",
        other in "[A-Za-z0-9_-]{1,8}",
        device in any::<bool>(),
    ) {
        prop_assume!(one != other);
        let form = if device { Form::Device } else { Form::Entity };
        let folder = tempfile::tempdir().expect("a folder");
        let names = [one.as_str(), other.as_str()];
        let mut home = super::home::Home::default();
        let mut discovery = start(form, &names, folder.path());
        let mut sent: BTreeMap<&str, Set> = BTreeMap::new();
        for (index, (first, set)) in sets.iter().enumerate() {
            let name = if *first { names[0] } else { names[1] };
            let quantities: Vec<Quantity> = set.iter().map(|index| Quantity::ALL[*index]).collect();
            let seen = sent.entry(name).or_default();
            *seen = seen.union(quantities.iter().copied().collect());
            let after = i64::try_from(index).expect("small") * 5000;
            home.take(&discovery.observe(&reading(name, after, &quantities)));
        }
        let all = announced(&discovery.all());
        all.iter().for_each(check);
        check_unique(&all);
        let expected: usize = sent.values().map(|set| vocabulary::components(*set).count()).sum();
        prop_assert_eq!(home.entities().len(), expected);
        let inverters = sent.values().filter(|set| !set.is_empty()).count();
        let presence = inverters * presence::OF_INVERTER.len();
        prop_assert_eq!(home.presence().len(), presence);
        prop_assert_eq!(all.len(), expected + presence);
        drop(discovery);
        home.take(&start(Form::Off, &names, folder.path()).all());
        prop_assert_eq!(home.topics(), Vec::<&str>::new());
    }
}
