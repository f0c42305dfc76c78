//! The collector's device, and what is told of an inverter beside its readings.

use kstar_sink::event::{InverterStatus, Nameplate, Reachability};
use serde_json::{Value, json};

use super::home::Home;
use super::*;

const POWER: Quantity = Quantity::pv_power;

const FORMS: [Form; 2] = [Form::Device, Form::Entity];

const PAGE: Option<&str> = Some("http://192.168.1.5:8099/");

fn payload(message: &crate::message::Message) -> Value {
    serde_json::from_str(&message.payload).expect("JSON")
}

/// Frozen: what Home Assistant has stored under these ids must be found again.
#[test]
fn a_collector_looks_like_this() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut discovery = start(Form::Device, &["roof"], folder.path());
    assert_eq!(discovery.price(&price(Some("EUR"))), []);
    let messages = discovery.collector(&collector(PAGE, &["mqtt"]));
    let [message] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(
        message.topic,
        "homeassistant/device/kstar-collector_one/config"
    );
    let available = json!([{ "topic": "kstar/collector/one/status" }]);
    let price = |name: &str, key: &str| {
        json!({
            "platform": "sensor",
            "name": name,
            "unique_id": format!("kstar-collector_one-{key}"),
            "default_entity_id": format!("sensor.kstar_collector_{key}"),
            "state_topic": format!("kstar/collector/one/{key}"),
            "value_template": "{{ value }}",
            "state_class": "measurement",
            "unit_of_measurement": "EUR/kWh",
            "suggested_display_precision": 4,
            "icon": "mdi:cash",
            "availability": available,
            "availability_mode": "all"
        })
    };
    assert_eq!(
        payload(message),
        json!({
            "device": {
                "identifiers": ["kstar-collector_one"],
                "name": "kstar-collector",
                "sw_version": "0.1.0",
                "configuration_url": "http://192.168.1.5:8099/"
            },
            "origin": { "name": "kstar-collector", "sw_version": "0.1.0" },
            "qos": 1,
            "components": {
                "connection": {
                    "platform": "binary_sensor",
                    "name": "Connection",
                    "unique_id": "kstar-collector_one-connection",
                    "default_entity_id": "binary_sensor.kstar_collector_connection",
                    "state_topic": "kstar/collector/one/status",
                    "value_template": "{{ value }}",
                    "payload_on": "online",
                    "payload_off": "offline",
                    "device_class": "connectivity",
                    "entity_category": "diagnostic"
                },
                "sink_mqtt": {
                    "platform": "sensor",
                    "name": "Sink mqtt",
                    "unique_id": "kstar-collector_one-sink_mqtt",
                    "default_entity_id": "sensor.kstar_collector_sink_mqtt",
                    "state_topic": "kstar/collector/one/sinks",
                    "value_template": "{{ value_json['mqtt'].state }}",
                    "json_attributes_topic": "kstar/collector/one/sinks",
                    "json_attributes_template": "{{ value_json['mqtt'] | tojson }}",
                    "device_class": "enum",
                    "options": ["opening", "up", "down", "ended"],
                    "icon": "mdi:database-arrow-right",
                    "entity_category": "diagnostic",
                    "availability": available,
                    "availability_mode": "all"
                },
                "price": price("Electricity price", "price"),
                "feed_in_price": price("Feed-in price", "feed_in_price")
            }
        })
    );
}

#[test]
fn the_collector_is_announced_before_the_inverters_that_are_reached_by_it() {
    let via = |message: &crate::message::Message| payload(message)["device"]["via_device"].clone();
    let there = json!("kstar-collector_one");
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut discovery = start(form, &["roof"], folder.path());
        let before = discovery.observe(&reading("roof", 0, &[POWER]));
        assert!(before.iter().all(|message| via(message).is_null()));
        let all = discovery.collector(&collector(PAGE, &["mqtt", "sqlite"]));
        assert_eq!(all, discovery.all());
        let of_inverter = |message: &&crate::message::Message| message.topic.contains("kstar_roof");
        let first = all.iter().position(|message| of_inverter(&message));
        let first = first.expect("it is announced again");
        assert!(first > 0 && all[first..].iter().all(|message| via(message) == there));
        assert!(all[..first].iter().all(|message| via(message).is_null()));
        // Nothing about the health of sinks is in what is announced.
        let mut status = collector(PAGE, &["mqtt", "sqlite"]);
        status.sinks.insert("sqlite", State::Opening);
        assert_eq!(discovery.collector(&status), []);
        // A later start knows that it was announced.
        let later = start(form, &["roof"], folder.path()).all();
        assert!(!later.is_empty() && later.iter().all(|message| via(message) == there));
    }
}

#[test]
fn what_is_no_longer_there_is_taken_back_and_the_rest_of_an_earlier_start_stays() {
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let mut discovery = start(form, &["roof"], folder.path());
        home.take(&discovery.price(&price(Some("EUR"))));
        home.take(&discovery.collector(&collector(None, &["mqtt", "sqlite"])));
        discovery.settled();
        let everything = home.entities();
        assert_eq!(everything.len(), 4, "{everything:?}");

        let mut discovery = start(form, &["roof"], folder.path());
        home.take(&discovery.all());
        home.take(&discovery.collector(&collector(None, &["mqtt", "sqlite"])));
        assert_eq!(home.entities(), everything, "the price may still come");
        home.take(&discovery.price(&price(Some("EUR"))));
        assert_eq!(home.removals.len(), 0, "{form:?}");
        home.take(&discovery.collector(&collector(None, &["mqtt"])));
        let messages = discovery.price(&price(None));
        home.take(&messages);
        assert_eq!(
            home.entities(),
            ["sensor.kstar-collector_one.sink_mqtt"],
            "{form:?}"
        );
        let cleared = |topic: &str| {
            messages
                .iter()
                .any(|message| message.topic == topic && message.payload.is_empty())
        };
        assert!(
            cleared("kstar/collector/one/price") && cleared("kstar/collector/one/feed_in_price")
        );
    }
}

#[test]
fn another_form_keeps_the_entities_of_the_collector_and_none_takes_them_away() {
    for (from, to) in [(Form::Device, Form::Entity), (Form::Entity, Form::Device)] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut home = Home::default();
        let status = collector(PAGE, &["mqtt"]);
        let mut discovery = start(from, &[], folder.path());
        home.take(&discovery.price(&price(Some("EUR"))));
        home.take(&discovery.collector(&status));
        discovery.settled();
        let before = (home.entities(), home.presence());

        let mut discovery = start(to, &[], folder.path());
        home.take(&discovery.all());
        home.take(&discovery.collector(&status));
        discovery.settled();
        assert_eq!((home.entities(), home.presence()), before, "{to:?}");
        assert_eq!(home.removals.len(), 0, "{to:?}");

        home.take(&start(Form::Off, &[], folder.path()).all());
        assert_eq!(home.topics(), Vec::<&str>::new());
    }
}

#[test]
fn a_title_is_the_devices_name_and_firmware_is_kept_until_another_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut discovery = start(Form::Device, &["roof"], folder.path());
    let status = |title: Option<&str>, firmware: Option<&str>| InverterStatus {
        nameplate: Arc::new(Nameplate {
            title: title.map(Arc::from),
            family: Some("goodwe-dt".into()),
            firmware: firmware.map(Arc::from),
        }),
        ..InverterStatus::new(Inverter::named("roof"), Reachability::Online)
    };
    assert_eq!(
        discovery.status(&status(None, None)),
        [],
        "nothing is announced yet"
    );
    discovery.observe(&reading("roof", 0, &[POWER]));
    let told = discovery.status(&status(Some("South roof"), Some("04028")));
    let device = &payload(&told[0])["device"];
    assert_eq!(device["name"], "South roof");
    assert_eq!(device["sw_version"], "04028");
    assert_eq!(device["manufacturer"], "GoodWe");
    assert_eq!(device["identifiers"], json!(["kstar_roof"]));
    assert_eq!(discovery.status(&status(Some("South roof"), None)), []);
    assert_eq!(
        start(Form::Device, &["roof"], folder.path()).all(),
        told,
        "over a start too"
    );
    let untitled = discovery.status(&status(None, None));
    let device = &payload(&untitled[0])["device"];
    assert_eq!(
        (&device["name"], &device["sw_version"]),
        (&json!("roof"), &json!("04028"))
    );
}

#[test]
fn what_a_client_id_may_hold_and_a_topic_of_discovery_may_not_is_spelt_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut discovery = Discovery::new(
        &settings(Form::Device),
        topics("pi.lan:2"),
        &context(&[], folder.path()),
    );
    let messages = discovery.collector(&collector(None, &["mqtt"]));
    assert_eq!(
        messages[0].topic,
        "homeassistant/device/kstar-collector_pi-dot-lan-colon-2/config"
    );
}
