//! Discovery topics and payloads, as the page "MQTT" of Home Assistant's documentation asks for them.
//!
//! An inverter's node id is the same in both forms, and a component's key in the device form is its object id in the
//! form per entity: Home Assistant then knows an entity again when the form is switched.

use std::collections::{BTreeMap, HashSet};

use kstar_model::catalogue::Quantity;
use kstar_model::reading::Inverter;
use kstar_sink::sink::Context;
use serde::Serialize;

use super::set::Set;
use super::settings::{Form, HomeAssistantSettings};
use super::vocabulary::{Classes, Component, Platform, Source, components};
use crate::message::Message;
use crate::topics::Topics;

/// What tells Home Assistant that an entity goes on in the other form.
const MIGRATE: &str = r#"{"migrate_discovery":true}"#;

/// Everything about a payload that does not depend on the inverter.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) prefix: String,
    pub(super) form: Form,
    pub(super) topics: Topics,
    /// In seconds; 0 for never.
    pub(super) expire_after: u64,
    pub(super) version: &'static str,
}

#[derive(Serialize)]
struct DeviceConfig<'a> {
    #[serde(flatten)]
    shared: Shared<'a>,
    components: BTreeMap<String, Listed>,
}

#[derive(Serialize)]
struct EntityConfig<'a> {
    #[serde(flatten)]
    entity: Entity,
    #[serde(flatten)]
    shared: Shared<'a>,
}

/// What the root of either payload says.
#[derive(Serialize)]
struct Shared<'a> {
    device: Device<'a>,
    origin: Origin,
    availability: [Availability; 2],
    availability_mode: &'static str,
    qos: u8,
}

#[derive(Serialize)]
struct Device<'a> {
    identifiers: [String; 1],
    name: String,
    manufacturer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<&'a str>,
}

#[derive(Serialize)]
struct Origin {
    name: &'static str,
    sw_version: &'static str,
}

/// A topic that says `online` or `offline`, which are Home Assistant's defaults.
#[derive(Serialize)]
struct Availability {
    topic: String,
}

/// A component of the device form.
#[derive(Serialize)]
struct Listed {
    platform: Platform,
    /// Absent for a component that is removed: only its platform is left.
    #[serde(flatten)]
    entity: Option<Entity>,
}

#[derive(Serialize)]
struct Entity {
    name: String,
    unique_id: String,
    default_entity_id: String,
    state_topic: String,
    value_template: String,
    #[serde(flatten)]
    classes: Classes,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_after: Option<u64>,
}

impl Writer {
    pub(super) fn new(settings: &HomeAssistantSettings, topics: Topics, context: &Context) -> Self {
        Self {
            prefix: settings.prefix.clone(),
            form: settings.discovery,
            topics,
            expire_after: settings.expire_seconds(context.poll_interval),
            version: context.version,
        }
    }

    /// The messages that announce these quantities of an inverter, all of them or (in the form per entity) some.
    /// Removed components are named once by their platform alone and then left out, as Home Assistant wants it.
    pub(super) fn announce(
        &self,
        inverter: &Inverter,
        slug: &str,
        quantities: Set,
        removed: &BTreeMap<String, Platform>,
    ) -> Vec<Message> {
        match self.form {
            Form::Off => Vec::new(),
            _ if quantities.is_empty() => Vec::new(),
            Form::Device => {
                let mut config = DeviceConfig {
                    shared: self.shared(inverter),
                    components: components(quantities)
                        .map(|component| {
                            let listed = Listed {
                                platform: component.platform,
                                entity: Some(self.entity(inverter, slug, component)),
                            };
                            (component.key(), listed)
                        })
                        .collect(),
                };
                let topic = device_topic(&self.prefix, &inverter.name);
                let last = message(topic.clone(), &config);
                if removed.is_empty() {
                    return vec![last];
                }
                for (key, platform) in removed {
                    config.components.entry(key.clone()).or_insert(Listed {
                        platform: *platform,
                        entity: None,
                    });
                }
                vec![message(topic, &config), last]
            }
            Form::Entity => components(quantities)
                .map(|component| {
                    let config = EntityConfig {
                        entity: self.entity(inverter, slug, component),
                        shared: self.shared(inverter),
                    };
                    let topic = entity_topic(
                        &self.prefix,
                        component.platform,
                        &inverter.name,
                        &component.key(),
                    );
                    message(topic, &config)
                })
                .collect(),
        }
    }

    fn shared<'a>(&self, inverter: &'a Inverter) -> Shared<'a> {
        let model = inverter.model.as_deref();
        Shared {
            device: Device {
                identifiers: [node_id(&inverter.name)],
                name: device_name(&inverter.name),
                // The same frames are spoken by GoodWe's machines, whose models begin so.
                manufacturer: match model {
                    Some(model) if model.starts_with("GW") => "GoodWe",
                    _ => "KSTAR",
                },
                model,
                serial_number: inverter.serial.as_deref(),
            },
            origin: Origin {
                name: "kstar-collector",
                sw_version: self.version,
            },
            availability: [
                self.topics.collector_status(),
                self.topics.inverter_status(&inverter.name),
            ]
            .map(|topic| Availability { topic }),
            availability_mode: "all",
            qos: self.topics.qos,
        }
    }

    fn entity(&self, inverter: &Inverter, slug: &str, component: Component) -> Entity {
        let key = component.key();
        let source = if self.topics.per_quantity {
            Source::Text
        } else {
            Source::Json
        };
        Entity {
            name: component.name(),
            unique_id: unique_id(&inverter.name, &key),
            default_entity_id: entity_id(component.platform, slug, &key),
            state_topic: match source {
                Source::Text => self
                    .topics
                    .quantity(&inverter.name, component.quantity.name()),
                Source::Json => self.topics.state(&inverter.name),
            },
            value_template: component.template(source),
            classes: component.classes(),
            expire_after: Some(self.expire_after)
                .filter(|seconds| *seconds > 0 && component.is_live()),
        }
    }
}

/// The message that hands a topic's entities over to the other form.
pub(super) fn migrate(topic: &str) -> Message {
    Message::retained(topic.to_owned(), MIGRATE.to_owned())
}

/// The message that clears a topic, and with it what it announced.
pub(super) fn clear(topic: &str) -> Message {
    Message::retained(topic.to_owned(), String::new())
}

fn message(topic: String, config: &impl Serialize) -> Message {
    // A map of texts and numbers always serializes.
    Message::retained(topic, serde_json::to_string(config).unwrap_or_default())
}

/// Where the device form announces an inverter.
pub(super) fn device_topic(prefix: &str, inverter: &str) -> String {
    format!("{prefix}/device/{}/config", node_id(inverter))
}

/// Where the form per entity announces a component.
pub(super) fn entity_topic(prefix: &str, platform: Platform, inverter: &str, key: &str) -> String {
    format!(
        "{prefix}/{}/{}/{key}/config",
        platform.name(),
        node_id(inverter)
    )
}

/// An inverter's name has only characters that Home Assistant allows in a topic.
fn node_id(inverter: &str) -> String {
    format!("kstar_{inverter}")
}

/// No key holds a hyphen, so the last one parts inverter and key, and no two pairs make the same id: with an
/// underscore, `roof` and `load_energy_today` would be `roof_load` and `energy_today`.
fn unique_id(inverter: &str, key: &str) -> String {
    format!("kstar_{inverter}-{key}")
}

/// The entity id that is proposed when Home Assistant first meets an entity.
fn entity_id(platform: Platform, slug: &str, key: &str) -> String {
    format!("{}.{slug}_{key}", platform.name())
}

/// The inverter's name, unless a label begins with it: Home Assistant would cut it off the entity's name.
fn device_name(inverter: &str) -> String {
    let name = inverter.to_lowercase();
    let in_a_label = Quantity::ALL.iter().any(|quantity| {
        quantity
            .description()
            .label
            .to_lowercase()
            .starts_with(&name)
    });
    if in_a_label {
        format!("KSTAR {inverter}")
    } else {
        inverter.to_owned()
    }
}

/// The parts of entity ids that stand for inverters: lower case, digits and single underscores, and such that no
/// two inverters' entities share an id (`a-b` and `a_b`; `roof_load` with `energy_today` and `roof` with
/// `load_energy_today`). The inverter that comes first keeps the plain one.
#[derive(Debug, Default)]
pub(super) struct Slugs {
    taken: HashSet<String>,
}

impl Slugs {
    /// The slug of another inverter.
    pub(super) fn choose(&mut self, inverter: &str) -> String {
        let plain = slug(inverter);
        let mut candidate = plain.clone();
        let mut number = 2;
        loop {
            let ids: Vec<String> = components(Quantity::ALL.iter().copied().collect())
                .map(|component| entity_id(component.platform, &candidate, &component.key()))
                .collect();
            if ids.iter().all(|id| !self.taken.contains(id)) {
                self.taken.extend(ids);
                return candidate;
            }
            candidate = format!("{plain}_{number}");
            number += 1;
        }
    }
}

fn slug(inverter: &str) -> String {
    let words: Vec<String> = inverter
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    if words.is_empty() {
        return "inverter".to_owned();
    }
    words.join("_")
}
