//! Discovery topics and payloads, as the page "MQTT" of Home Assistant's documentation asks for them.

use std::collections::BTreeMap;

use kstar_common::collect::inserted;
use kstar_sink::sink::Context;
use serde::Serialize;

use super::collector::Collector;
use super::device::Device;
use super::names::{
    COLLECTOR, collector_id, device_name, device_topic, entity_id, entity_topic, unique_id,
};
use super::presence;
use super::set::Set;
use super::settings::{Form, HomeAssistantSettings};
use super::vocabulary::{Classes, Component, Platform, Source, components};
use crate::message::Message;
use crate::topics::Topics;

/// What tells Home Assistant that an entity goes on in the other form.
const MIGRATE: &str = r#"{"migrate_discovery":true}"#;

/// Everything about a payload that does not depend on the device.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) prefix: String,
    pub(super) form: Form,
    pub(super) topics: Topics,
    /// In seconds; 0 for never.
    pub(super) expire_after: u64,
    pub(super) version: &'static str,
}

/// Who is announced: an inverter or the collector.
pub(super) struct Node<'a> {
    /// Its part of discovery topics and unique ids.
    pub(super) id: String,
    /// What we call it.
    pub(super) name: &'a str,
    /// Its part of entity ids.
    pub(super) slug: &'a str,
}

/// An entity and its place in its device.
pub(super) struct Placed {
    pub(super) key: String,
    pub(super) platform: Platform,
    pub(super) entity: Entity,
}

#[derive(Serialize)]
struct DeviceConfig<'a> {
    #[serde(flatten)]
    shared: &'a Shared<'a>,
    #[serde(flatten)]
    availability: Option<Availabilities>,
    components: BTreeMap<String, Listed>,
}

#[derive(Serialize)]
struct EntityConfig<'a> {
    #[serde(flatten)]
    entity: Entity,
    #[serde(flatten)]
    shared: &'a Shared<'a>,
    #[serde(flatten)]
    availability: Option<Availabilities>,
}

/// What the root of either payload says.
#[derive(Serialize)]
struct Shared<'a> {
    device: DeviceInfo<'a>,
    origin: Origin,
    qos: u8,
}

#[derive(Serialize)]
struct DeviceInfo<'a> {
    identifiers: [String; 1],
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    manufacturer: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sw_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via_device: Option<String>,
}

#[derive(Serialize)]
struct Origin {
    name: &'static str,
    sw_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    support_url: Option<&'static str>,
}

/// The topics that must all say `online`, which is Home Assistant's default.
#[derive(Clone, Serialize)]
pub(super) struct Availabilities {
    availability: Vec<Availability>,
    availability_mode: &'static str,
}

#[derive(Clone, Serialize)]
struct Availability {
    topic: String,
}

impl Availabilities {
    pub(super) fn of(topics: impl IntoIterator<Item = String>) -> Self {
        Self {
            availability: topics
                .into_iter()
                .map(|topic| Availability { topic })
                .collect(),
            availability_mode: "all",
        }
    }
}

/// A component of the device form.
#[derive(Serialize)]
struct Listed {
    platform: Platform,
    /// Absent for a component that is removed: only its platform is left.
    #[serde(flatten)]
    entity: Option<Entity>,
    #[serde(flatten)]
    availability: Option<Availabilities>,
}

#[derive(Serialize)]
pub(super) struct Entity {
    pub(super) name: String,
    pub(super) unique_id: String,
    pub(super) default_entity_id: String,
    pub(super) state_topic: String,
    pub(super) value_template: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload_on: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload_off: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) json_attributes_topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) json_attributes_template: Option<String>,
    #[serde(flatten)]
    pub(super) classes: Classes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expire_after: Option<u64>,
    /// Where it is told whether the state is worth anything, if that is not where it is told for all of the device.
    #[serde(skip)]
    pub(super) availability: Option<Availabilities>,
}

impl<'a> Node<'a> {
    /// An inverter, whose name has only characters that Home Assistant allows in a topic.
    pub(super) fn of_inverter(device: &'a Device) -> Self {
        Self {
            id: device.node.clone(),
            name: &device.inverter.name,
            slug: &device.slug,
        }
    }

    /// The collector of this client id.
    pub(super) fn of_collector(client_id: &'a str, slug: &'a str) -> Self {
        Self {
            id: collector_id(client_id),
            name: client_id,
            slug,
        }
    }

    /// An entity whose state is the text on a topic.
    pub(super) fn entity(
        &self,
        key: &str,
        name: &str,
        platform: Platform,
        state_topic: String,
    ) -> Entity {
        Entity {
            name: name.to_owned(),
            unique_id: unique_id(&self.id, key),
            default_entity_id: entity_id(platform, self.slug, key),
            state_topic,
            value_template: "{{ value }}".to_owned(),
            payload_on: None,
            payload_off: None,
            json_attributes_topic: None,
            json_attributes_template: None,
            classes: Classes::default(),
            expire_after: None,
            availability: None,
        }
    }
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

    /// The messages that announce these quantities of an inverter, all of them or (in the form per entity) some, and
    /// whether it is there. `via` says that the collector is announced as well.
    pub(super) fn announce(&self, device: &Device, quantities: Set, via: bool) -> Vec<Message> {
        if quantities.is_empty() {
            return Vec::new();
        }
        let inverter = &device.inverter;
        let node = Node::of_inverter(device);
        let mut placed = presence::of_inverter(&self.topics, &node);
        placed.extend(components(quantities).map(|component| Placed {
            key: component.key(),
            platform: component.platform,
            entity: self.entity(&node, component),
        }));
        let model = inverter.model.as_deref();
        let nameplate = &device.nameplate;
        let shared = self.shared(DeviceInfo {
            identifiers: [node.id.clone()],
            name: device_name(nameplate.title.as_deref().unwrap_or(&inverter.name)),
            manufacturer: Some(manufacturer(model, nameplate.family.as_deref())),
            model,
            serial_number: inverter.serial.as_deref(),
            sw_version: nameplate.firmware.as_deref(),
            configuration_url: None,
            via_device: via.then(|| collector_id(&self.topics.client_id)),
        });
        let available = Availabilities::of([
            self.topics.collector_status(),
            self.topics.inverter_status(&inverter.name),
        ]);
        self.write(&node, &shared, Some(&available), placed, &device.removed)
    }

    /// The messages that announce the collector, once it has told of itself.
    pub(super) fn announce_collector(&self, collector: &Collector) -> Vec<Message> {
        let Some(known) = &collector.known else {
            return Vec::new();
        };
        let node = Node::of_collector(&self.topics.client_id, &collector.slug);
        let shared = self.shared(DeviceInfo {
            identifiers: [node.id.clone()],
            name: COLLECTOR.to_owned(),
            manufacturer: None,
            model: None,
            serial_number: None,
            sw_version: Some(self.version),
            configuration_url: known.page.as_deref(),
            via_device: None,
        });
        let placed = self.of_collector(collector);
        self.write(&node, &shared, None, placed, &collector.removed)
    }

    /// The entities about the collector, as far as it has told of itself.
    pub(super) fn of_collector(&self, collector: &Collector) -> Vec<Placed> {
        let node = Node::of_collector(&self.topics.client_id, &collector.slug);
        let currency = collector.currency.as_deref();
        let known = collector.known.as_ref();
        known.map_or_else(Vec::new, |known| {
            presence::of_collector(&self.topics, &node, &known.sinks, currency)
        })
    }

    /// The messages that announce these entities, which are available so, but for those that say otherwise. Removed components are named once by their platform alone and then left
    /// out, as Home Assistant wants it.
    fn write(
        &self,
        node: &Node<'_>,
        shared: &Shared<'_>,
        available: Option<&Availabilities>,
        placed: Vec<Placed>,
        removed: &BTreeMap<String, Platform>,
    ) -> Vec<Message> {
        match self.form {
            Form::Off => Vec::new(),
            Form::Device => {
                let listed = placed.into_iter().map(|placed| {
                    let Placed {
                        key,
                        platform,
                        mut entity,
                    } = placed;
                    let listed = Listed {
                        platform,
                        availability: entity.availability.take(),
                        entity: Some(entity),
                    };
                    (key, listed)
                });
                let mut config = DeviceConfig {
                    shared,
                    availability: available.cloned(),
                    components: inserted(listed),
                };
                let topic = device_topic(&self.prefix, &node.id);
                let last = message(topic.clone(), &config);
                if removed.is_empty() {
                    return vec![last];
                }
                for (key, platform) in removed {
                    config.components.entry(key.clone()).or_insert(Listed {
                        platform: *platform,
                        entity: None,
                        availability: None,
                    });
                }
                vec![message(topic, &config), last]
            }
            Form::Entity => {
                let messages = placed.into_iter().map(|placed| {
                    let Placed {
                        key,
                        platform,
                        mut entity,
                    } = placed;
                    let topic = entity_topic(&self.prefix, platform, &node.id, &key);
                    let own = entity.availability.take();
                    let config = EntityConfig {
                        shared,
                        availability: own.or_else(|| available.cloned()),
                        entity,
                    };
                    message(topic, &config)
                });
                messages.collect()
            }
        }
    }

    fn shared<'a>(&self, device: DeviceInfo<'a>) -> Shared<'a> {
        const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
        Shared {
            device,
            origin: Origin {
                name: COLLECTOR,
                sw_version: self.version,
                support_url: Some(REPOSITORY)
                    .filter(|url| !url.is_empty() && !url.ends_with(".invalid")),
            },
            qos: self.topics.qos,
        }
    }

    fn entity(&self, node: &Node<'_>, component: Component) -> Entity {
        let source = if self.topics.per_quantity {
            Source::Text
        } else {
            Source::Json
        };
        let topic = match source {
            Source::Text => self.topics.quantity(node.name, component.quantity.name()),
            Source::Json => self.topics.state(node.name),
        };
        let name = component.name();
        let object = component.object();
        Entity {
            default_entity_id: entity_id(component.platform, node.slug, &object),
            value_template: component.template(source),
            classes: component.classes(),
            expire_after: Some(self.expire_after)
                .filter(|seconds| *seconds > 0 && component.is_live()),
            ..node.entity(&component.key(), &name, component.platform, topic)
        }
    }
}

/// Who makes such an inverter. GoodWe's machines of the first generation speak as KSTAR's do, and their models begin so.
fn manufacturer(model: Option<&str>, family: Option<&str>) -> &'static str {
    let is_goodwe = model.is_some_and(|model| model.starts_with("GW"))
        || family.is_some_and(|family| family.starts_with("goodwe"));
    if is_goodwe { "GoodWe" } else { "KSTAR" }
}

/// The message that hands a topic's entities over to the other form.
pub(super) fn migrate(topic: &str) -> Message {
    Message::retained(topic.to_owned(), MIGRATE.to_owned())
}

/// Whether a message hands entities over to the other form.
pub(crate) fn is_migration(message: &Message) -> bool {
    message.payload == MIGRATE
}

/// The message that clears a topic, and with it what it announced.
pub(super) fn clear(topic: &str) -> Message {
    Message::retained(topic.to_owned(), String::new())
}

fn message(topic: String, config: &impl Serialize) -> Message {
    // A map of texts and numbers always serializes.
    Message::retained(topic, serde_json::to_string(config).unwrap_or_default())
}
