//! What inverters, the collector and their entities are called at Home Assistant: topics, ids, names.
//!
//! A node id is the same in both forms, and a component's key in the device form is its object id in the form per entity: Home
//! Assistant then knows an entity again when the form is switched.

use std::collections::{BTreeMap, HashSet};

use kstar_model::catalogue::Quantity;

use super::presence;
use super::record::Announced;
use super::vocabulary::{Component, Platform, components};

/// What the collector is called; by its device the inverters are reached.
pub(super) const COLLECTOR: &str = "kstar-collector";

/// Where the device form announces a node.
pub(super) fn device_topic(prefix: &str, node: &str) -> String {
    format!("{prefix}/device/{node}/config")
}

/// Where the form per entity announces a component of a node.
pub(super) fn entity_topic(prefix: &str, platform: Platform, node: &str, key: &str) -> String {
    format!("{prefix}/{}/{node}/{key}/config", platform.name())
}

/// Where the form per entity announces these components of a node.
pub(super) fn entity_topics(
    prefix: &str,
    node: &str,
    components: &BTreeMap<String, Platform>,
) -> Vec<String> {
    let components = components.iter();
    components
        .map(|(key, platform)| entity_topic(prefix, *platform, node, key))
        .collect()
}

/// The node of an inverter that has had no other name.
pub(super) fn node_id(inverter: &str) -> String {
    format!("kstar_{inverter}")
}

/// The nodes of inverters. One that is renamed keeps its own, by which Home Assistant knows it again; another one that then
/// gets the old name needs one of its own.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    taken: HashSet<String>,
}

impl Nodes {
    /// What these inverters are known by.
    pub(super) fn of(announced: &BTreeMap<String, Announced>) -> Self {
        let nodes = announced
            .iter()
            .map(|(name, announced)| announced.node(name));
        Self {
            taken: nodes.collect(),
        }
    }

    /// The node of an inverter that was not announced before.
    pub(super) fn choose(&mut self, inverter: &str) -> String {
        let plain = node_id(inverter);
        let others = (2..).map(|number: u32| format!("{plain}_{number}"));
        let mut candidates = std::iter::once(plain.clone()).chain(others);
        let free = candidates.find(|node| !self.taken.contains(node));
        // There is always one.
        let node = free.unwrap_or(plain);
        self.taken.insert(node.clone());
        node
    }
}

/// The node of a collector, which no inverter's begins like. A client id may hold what topics of discovery may not.
pub(super) fn collector_id(client_id: &str) -> String {
    let mut id = format!("{COLLECTOR}_");
    for character in client_id.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => id.push(character),
            '.' => id.push_str("-dot-"),
            _ => id.push_str("-colon-"),
        }
    }
    id
}

/// No key holds a hyphen, so the last one parts node and key, and no two pairs make the same id: with an
/// underscore, `roof` and `load_energy_today` would be `roof_load` and `energy_today`.
pub(super) fn unique_id(node: &str, key: &str) -> String {
    format!("{node}-{key}")
}

/// The entity id that is proposed when Home Assistant first meets an entity.
pub(super) fn entity_id(platform: Platform, slug: &str, key: &str) -> String {
    format!("{}.{slug}_{key}", platform.name())
}

/// The inverter's name or title, unless the name of an entity begins with it: Home Assistant would cut it off there.
pub(super) fn device_name(inverter: &str) -> String {
    let of_quantities = components(Quantity::ALL.iter().copied().collect()).map(Component::name);
    let fixed = presence::OF_INVERTER
        .iter()
        .map(|(_, name, _)| (*name).to_owned());
    let names: Vec<String> = of_quantities
        .chain(fixed)
        .map(|name| name.to_lowercase())
        .collect();
    let begins_none = |device: &String| {
        let device = device.to_lowercase();
        !names.iter().any(|name| name.starts_with(&device))
    };
    // There are names of entities that begin with the brand as well.
    [inverter.to_owned(), format!("KSTAR {inverter}")]
        .into_iter()
        .find(begins_none)
        .unwrap_or_else(|| format!("KSTAR inverter {inverter}"))
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
        let keys = components(Quantity::ALL.iter().copied().collect())
            .map(|component| (component.platform, component.object()))
            .chain(of_presence())
            .collect::<Vec<_>>();
        self.take(&slug(inverter), &keys)
    }

    /// The slug of the collector.
    pub(super) fn choose_for_collector(&mut self) -> String {
        self.take(&slug(COLLECTOR), &of_presence().collect::<Vec<_>>())
    }

    fn take(&mut self, plain: &str, keys: &[(Platform, String)]) -> String {
        let mut candidate = plain.to_owned();
        let mut number = 2;
        loop {
            let ids: Vec<String> = keys
                .iter()
                .map(|(platform, key)| entity_id(*platform, &candidate, key))
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

/// The keys of what is of no quantity.
fn of_presence() -> impl Iterator<Item = (Platform, String)> {
    presence::OF_INVERTER
        .iter()
        .map(|(key, _, platform)| (*platform, (*key).to_owned()))
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
