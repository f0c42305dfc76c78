//! A broker and a Home Assistant, as far as discovery goes.
//!
//! The model follows the page "MQTT" of Home Assistant's documentation: sections "Device discovery payload"
//! (components, and how one of them is removed), "Single component discovery payload", and "Migration from single
//! component to device-based discovery" (in both directions, and what is lost without it).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::message::Message;

/// What a device has beside its quantities, while it has any.
const PRESENCE: [&str; 2] = ["connection", "last_reading"];

/// An entity as Home Assistant knows it: platform, node id and object id.
type Hash = (String, String, String);

#[derive(Debug, Default)]
pub(super) struct Home {
    /// What the broker has retained.
    pub(super) retained: BTreeMap<String, String>,
    /// The topic each entity was discovered on, or none while it waits for the other form.
    entities: BTreeMap<Hash, Option<String>>,
    /// How often an entity of a quantity was removed, and its settings with it.
    pub(super) removals: Vec<Hash>,
    /// The entities of which it logs that a topic is none of theirs.
    pub(super) conflicts: Vec<Hash>,
}

impl Home {
    pub(super) fn take(&mut self, messages: &[Message]) {
        for message in messages {
            assert!(message.retain, "{} is not retained", message.topic);
            if message.payload.is_empty() {
                self.retained.remove(&message.topic);
            } else {
                self.retained
                    .insert(message.topic.clone(), message.payload.clone());
            }
            self.hear(&message.topic, &message.payload);
        }
    }

    /// The entities of quantities that are there, as `platform.node.object`.
    pub(super) fn entities(&self) -> Vec<String> {
        self.of_objects(|object| !PRESENCE.contains(&object))
    }

    /// The others.
    pub(super) fn presence(&self) -> Vec<String> {
        self.of_objects(|object| PRESENCE.contains(&object))
    }

    fn of_objects(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.entities
            .iter()
            .filter(|((_, _, object), topic)| topic.is_some() && wanted(object))
            .map(|((platform, node, object), _)| format!("{platform}.{node}.{object}"))
            .collect()
    }

    /// The topics that announce something.
    pub(super) fn topics(&self) -> Vec<&str> {
        self.retained.keys().map(String::as_str).collect()
    }

    fn hear(&mut self, topic: &str, payload: &str) {
        if topic.starts_with("kstar/") {
            assert_eq!(
                payload, "",
                "{topic}: discovery only clears the sink's own topics"
            );
            return;
        }
        let parts: Vec<&str> = topic.split('/').collect();
        let payload: Option<Value> =
            (!payload.is_empty()).then(|| serde_json::from_str(payload).expect("JSON"));
        if payload
            .as_ref()
            .is_some_and(|payload| payload["migrate_discovery"] == true)
        {
            for source in self.entities.values_mut() {
                if source.as_deref() == Some(topic) {
                    *source = None;
                }
            }
            return;
        }
        match parts[..] {
            [_, "device", node, "config"] => {
                if payload.is_none() {
                    self.note_conflicts(topic, |hash| hash.1 == node);
                }
                let listed = payload
                    .map(|payload| payload["components"].as_object().expect("a map").clone())
                    .unwrap_or_default();
                let announced: Vec<Hash> = self.of(topic);
                let mut there = Vec::new();
                for (key, component) in listed {
                    let component = component.as_object().expect("a map");
                    let platform = component["platform"].as_str().expect("a platform");
                    if component.len() > 1 {
                        there.push((platform.to_owned(), node.to_owned(), key.clone()));
                    }
                }
                for hash in announced {
                    if !there.contains(&hash) {
                        self.remove(&hash);
                    }
                }
                for hash in &there {
                    self.discover(hash, topic);
                }
            }
            [_, platform, node, object, "config"] => {
                let hash = (platform.to_owned(), node.to_owned(), object.to_owned());
                match payload {
                    Some(_) => self.discover(&hash, topic),
                    None if self.of(topic).contains(&hash) => self.remove(&hash),
                    None => self.note_conflicts(topic, |other| *other == hash),
                }
            }
            _ => panic!("{topic} is no discovery topic"),
        }
    }

    fn of(&self, topic: &str) -> Vec<Hash> {
        self.entities
            .iter()
            .filter(|(_, source)| source.as_deref() == Some(topic))
            .map(|(hash, _)| hash.clone())
            .collect()
    }

    /// Takes note of what is cleared and announced elsewhere.
    fn note_conflicts(&mut self, topic: &str, cleared: impl Fn(&Hash) -> bool) {
        for (hash, source) in &self.entities {
            if cleared(hash) && source.as_deref().is_some_and(|source| source != topic) {
                self.conflicts.push(hash.clone());
            }
        }
    }

    fn discover(&mut self, hash: &Hash, topic: &str) {
        let source = self.entities.entry(hash.clone()).or_default();
        match source {
            Some(source) => assert_eq!(
                source, topic,
                "{hash:?} is announced on two topics: Home Assistant blocks the second"
            ),
            None => *source = Some(topic.to_owned()),
        }
    }

    fn remove(&mut self, hash: &Hash) {
        self.entities.remove(hash);
        if !PRESENCE.contains(&hash.2.as_str()) {
            self.removals.push(hash.clone());
        }
    }
}
