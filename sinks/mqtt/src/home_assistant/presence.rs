//! The entities that are of no quantity: who is there, since when, and how the collector is.
//!
//! They tell of an absence, so they are available for as long as the collector is; its own connection always is.
//!
//! The collector has entities of both platforms, and is announced before the inverters: Home Assistant wants to know a
//! device that others are reached by first.

use std::collections::BTreeSet;

use super::payload::{Availabilities, Entity, Node, Placed};
use super::vocabulary::{Classes, Platform};
use crate::topics::{OFFLINE, ONLINE, Topics};

/// What an inverter has beside its quantities, by key.
pub(super) const OF_INVERTER: [(&str, &str, Platform); 2] = [
    (CONNECTION, "Connection", Platform::BinarySensor),
    ("last_reading", "Last reading", Platform::Sensor),
];

const CONNECTION: &str = "connection";

/// How many decimals of a price are shown at first.
const PRICE_DECIMALS: u8 = 4;

/// The states of a sink, as its health names them.
const STATES: [&str; 4] = ["opening", "up", "down", "ended"];

/// The entities about an inverter.
pub(super) fn of_inverter(topics: &Topics, node: &Node<'_>) -> Vec<Placed> {
    let place = |(key, name, platform): (&'static str, &'static str, Platform)| {
        let entity = match key {
            CONNECTION => connection(node, name, topics.inverter_status(node.name)),
            _ => Entity {
                // The topic is emptied when the inverter is taken out, which is no time.
                value_template: "{{ value or 'None' }}".to_owned(),
                classes: Classes {
                    device_class: Some("timestamp"),
                    ..diagnostic()
                },
                ..node.entity(key, name, platform, topics.last_reading(node.name))
            },
        };
        let entity = Entity {
            availability: Some(Availabilities::of([topics.collector_status()])),
            ..entity
        };
        Placed {
            key: key.to_owned(),
            platform,
            entity,
        }
    };
    OF_INVERTER.into_iter().map(place).collect()
}

/// The entities about a collector with these sinks, where electricity costs something in this currency.
pub(super) fn of_collector(
    topics: &Topics,
    node: &Node<'_>,
    sinks: &BTreeSet<String>,
    currency: Option<&str>,
) -> Vec<Placed> {
    let mut placed = vec![Placed {
        key: CONNECTION.to_owned(),
        platform: Platform::BinarySensor,
        entity: connection(node, "Connection", topics.collector_status()),
    }];
    let available = || Some(Availabilities::of([topics.collector_status()]));
    placed.extend(sinks.iter().map(|sink| {
        let key = format!("sink_{sink}");
        let name = format!("Sink {sink}");
        let health = format!("value_json['{sink}']");
        let entity = Entity {
            value_template: format!("{{{{ {health}.state }}}}"),
            json_attributes_topic: Some(topics.sinks()),
            json_attributes_template: Some(format!("{{{{ {health} | tojson }}}}")),
            classes: Classes {
                device_class: Some("enum"),
                options: Some(STATES.to_vec()),
                icon: Some("mdi:database-arrow-right"),
                ..diagnostic()
            },
            availability: available(),
            ..node.entity(&key, &name, Platform::Sensor, topics.sinks())
        };
        Placed {
            key,
            platform: Platform::Sensor,
            entity,
        }
    }));
    let prices = [
        ("price", "Electricity price", topics.price()),
        ("feed_in_price", "Feed-in price", topics.feed_in_price()),
    ];
    placed.extend(currency.into_iter().flat_map(|currency| {
        prices.clone().map(|(key, name, topic)| Placed {
            key: key.to_owned(),
            platform: Platform::Sensor,
            entity: Entity {
                classes: Classes {
                    state_class: Some("measurement"),
                    unit_of_measurement: Some(format!("{currency}/kWh").into()),
                    suggested_display_precision: Some(PRICE_DECIMALS),
                    icon: Some("mdi:cash"),
                    ..Classes::default()
                },
                availability: available(),
                ..node.entity(key, name, Platform::Sensor, topic)
            },
        })
    }));
    placed
}

/// Whether somebody is there, by a topic that says `online` or `offline`.
fn connection(node: &Node<'_>, name: &str, topic: String) -> Entity {
    Entity {
        payload_on: Some(ONLINE),
        payload_off: Some(OFFLINE),
        classes: Classes {
            device_class: Some("connectivity"),
            ..diagnostic()
        },
        ..node.entity(CONNECTION, name, Platform::BinarySensor, topic)
    }
}

fn diagnostic() -> Classes {
    Classes {
        entity_category: Some("diagnostic"),
        ..Classes::default()
    }
}
