//! Home Assistant: which entities there are, told over MQTT, so that nobody writes YAML by hand.
//!
//! This part knows what is to be announced and what is to be cleared, and nothing of a connection: it takes readings
//! and gives messages. A quantity is announced once the inverter has sent it. It is taken back when it has been
//! missing for a day, or when a new start never sees it again; see [`Discovery::observe`]. What was announced is
//! recorded in the state folder, one file per client id, and only what is recorded is ever cleared, so that several
//! collectors share a broker in peace. The sink's own retained topics are in the record too, and cleared when their
//! inverter, their prefix or they themselves are no longer there.
//!
//! Home Assistant knows an inverter by the name that it had first, which is in the record too once it is another one.

mod collector;
mod device;
mod names;
mod payload;
mod presence;
mod record;
mod set;
mod settings;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use kstar_common::collect::inserted;
use kstar_model::catalogue::Quantity;
use kstar_model::reading::Reading;
use kstar_model::scalar::Kind;
use kstar_model::time::Moment;
use kstar_sink::event::InverterStatus;
use kstar_sink::sink::Context;

use crate::message::Message;
pub use crate::topics::Topics;
use collector::Collector;
use device::Device;
use names::{Nodes, Slugs, collector_id, device_topic, entity_topic, entity_topics, node_id};
use payload::Writer;
pub(crate) use payload::is_migration;
pub(crate) use record::rename;
use record::{Announced, Leftover, Record, RecordFile};
use set::Set;
pub use settings::{Form, HomeAssistantSettings};
use vocabulary::{Platform, components};

/// What Home Assistant has been told, and what it is to be told next.
///
/// Whoever publishes sends [`all`](Self::all) after each connect and when Home Assistant says that it has started,
/// what [`observe`](Self::observe) gives for each reading, [`status`](Self::status) for each status, and so on, every message retained and in the order given, and calls
/// [`settled`](Self::settled) once the broker has acknowledged all of it.
#[derive(Debug)]
pub struct Discovery {
    writer: Writer,
    nodes: Nodes,
    slugs: Slugs,
    devices: BTreeMap<Arc<str>, Device>,
    collector: Collector,
    /// The sink's own topics that the broker keeps.
    retained: BTreeSet<String>,
    leftovers: Vec<Leftover>,
    file: RecordFile,
}

impl Discovery {
    /// Takes up what an earlier start has announced, if the record in `state_dir` knows of any. What the settings
    /// now ask for otherwise (another form or prefix, an inverter that is gone, none at all) is migrated or cleared
    /// by the messages of [`all`](Self::all). A record that cannot be read or written is logged and no error.
    pub fn new(settings: &HomeAssistantSettings, topics: Topics, context: &Context) -> Self {
        let (file, record) = RecordFile::open(&context.state_dir, &topics.client_id);
        let mut slugs = Slugs::default();
        let mut nodes = Nodes::of(&record.inverters);
        let mut devices = BTreeMap::new();
        for name in &context.inverters {
            devices.entry(Arc::clone(name)).or_insert_with(|| {
                let known = record.inverters.get(&**name);
                let node = known.map_or_else(|| nodes.choose(name), |known| known.node(name));
                Device::new(name, node, slugs.choose(name))
            });
        }
        let slug = slugs.choose_for_collector();
        let mut discovery = Self {
            writer: Writer::new(settings, topics, context),
            nodes,
            slugs,
            devices,
            collector: Collector::new(slug, record.collector),
            retained: BTreeSet::new(),
            leftovers: record.leftovers,
            file,
        };
        discovery.take_up_retained(record.retained);
        for (name, announced) in record.inverters {
            discovery.take_up(&name, announced);
        }
        if discovery.writer.form == Form::Off {
            discovery.take_up_collector();
        }
        discovery.keep_record();
        discovery
    }

    /// What inverters would be announced with, as far as can be told without a reading: what an earlier start has
    /// announced, else all that there may be. It changes nothing.
    pub fn expected(
        settings: &HomeAssistantSettings,
        topics: Topics,
        context: &Context,
    ) -> Vec<Message> {
        let (_, record) = RecordFile::open(&context.state_dir, &topics.client_id);
        let writer = Writer::new(settings, topics, context);
        let (mut nodes, mut slugs) = (Nodes::of(&record.inverters), Slugs::default());
        let mut messages = Vec::new();
        for name in &context.inverters {
            let recorded = record.inverters.get(&**name);
            let node = recorded.map_or_else(|| nodes.choose(name), |known| known.node(name));
            let mut device = Device::new(name, node, slugs.choose(name));
            device.announced = recorded.map_or_else(
                || Quantity::ALL.iter().copied().collect(),
                Announced::quantities,
            );
            if let Some(recorded) = recorded {
                device.inverter = recorded.inverter(name);
                device.nameplate = recorded.nameplate();
            }
            messages.extend(writer.announce(&device, device.announced, true));
        }
        messages
    }

    /// Takes up the sink's own topics. What the sink may still write to stays; the rest is to be cleared.
    fn take_up_retained(&mut self, recorded: BTreeSet<String>) {
        let topics = &self.writer.topics;
        let mut statuses = inserted::<BTreeSet<_>, _>([topics.collector_status()]);
        // What is told later stays until then.
        let mut totals = HashSet::from([topics.sinks(), topics.price(), topics.feed_in_price()]);
        for name in self.devices.keys() {
            statuses.insert(topics.inverter_status(name));
            if self.writer.form != Form::Off {
                totals.insert(topics.last_reading(name));
            }
            if topics.per_quantity {
                let counters = counters().iter();
                totals.extend(counters.map(|quantity| topics.quantity(name, quantity.name())));
            }
        }
        for topic in recorded {
            if totals.contains(&topic) {
                self.retained.insert(topic);
            } else if !statuses.contains(&topic) {
                self.leftovers.push(Leftover {
                    topic,
                    migrate: false,
                });
            }
        }
        self.retained.append(&mut statuses);
    }

    /// Takes up one inverter of the record.
    fn take_up(&mut self, name: &str, announced: Announced) {
        let node = announced.node(name);
        let same_prefix = announced.prefix == self.writer.prefix;
        let same_form = announced.form == self.writer.form;
        let mut carried = BTreeMap::new();
        if let Some(device) = self.devices.get_mut(name)
            && self.writer.form != Form::Off
        {
            device.inverter = announced.inverter(&device.inverter.name);
            device.nameplate = announced.nameplate();
            device.announced = announced.quantities();
            device.unconfirmed = device.announced;
            carried = device.components();
            if same_prefix && same_form && announced.form == Form::Device && !carried.is_empty() {
                device.removed = announced.removed;
                let lost = announced.components.into_iter();
                device
                    .removed
                    .extend(lost.filter(|(key, platform)| carried.get(key) != Some(platform)));
                return;
            }
        }
        let leftover = |topic: String, goes_on: bool| Leftover {
            topic,
            migrate: goes_on && same_prefix && !same_form,
        };
        match announced.form {
            Form::Off => {}
            Form::Device => self.leftovers.push(leftover(
                device_topic(&announced.prefix, &node),
                !carried.is_empty(),
            )),
            // In the same form and under the same prefix, what is carried on is no leftover; `keep_record` sorts
            // that out.
            Form::Entity => {
                for (key, platform) in &announced.components {
                    self.leftovers.push(leftover(
                        entity_topic(&announced.prefix, *platform, &node, key),
                        carried.get(key) == Some(platform),
                    ));
                }
            }
        }
    }

    /// Whether [`observe`](Self::observe) would find nothing new in this reading, as is the rule. It touches no file.
    pub fn knows_all_of<Time>(&self, reading: &Reading<Time>) -> bool {
        let Some(device) = self.devices.get(&reading.inverter.name) else {
            return false;
        };
        let seen = Set::present(&reading.values);
        let told = self.writer.form == Form::Off
            || (seen == device.announced
                && device.absences.is_empty()
                && device.unconfirmed.is_empty()
                && device.knows(&reading.inverter));
        told && seen.both(counters()).without(device.retained).is_empty()
    }

    /// Takes note of a reading, and gives what Home Assistant must be told because of it: nothing in nearly all cases.
    ///
    /// What is there for the first time is announced. What is missing from twelve readings in a row is taken back if
    /// it was announced by an earlier start and not seen since, or if the first of these readings is a day older than
    /// the last. A serial or model that became known is told too; one that is not known again changes nothing.
    pub fn observe(&mut self, reading: &Reading<impl Moment>) -> Vec<Message> {
        let name = &reading.inverter.name;
        if !self.devices.contains_key(name) {
            let (node, slug) = (self.nodes.choose(name), self.slugs.choose(name));
            self.devices
                .insert(Arc::clone(name), Device::new(name, node, slug));
            self.retained
                .insert(self.writer.topics.inverter_status(name));
        }
        let Some(device) = self.devices.get_mut(name) else {
            return Vec::new();
        };
        let seen = Set::present(&reading.values);
        let own_topic = |quantity: Quantity| self.writer.topics.quantity(name, quantity.name());
        let totals = seen.both(counters()).without(device.retained);
        if !totals.is_empty() {
            device.retained = device.retained.union(totals);
            if self.writer.topics.per_quantity {
                self.retained.extend(totals.iter().map(own_topic));
            }
        }
        if self.writer.form == Form::Off {
            if !totals.is_empty() {
                self.keep_record();
            }
            return Vec::new();
        }
        let last_reading = self.writer.topics.last_reading(name);
        let is_first = self.retained.insert(last_reading);
        let appeared = seen.without(device.announced);
        // Before the clock is set nobody knows what is missing for a day, and the energies of today are.
        let gone = reading
            .time
            .unix()
            .map_or_else(Set::default, |time| device.gone(seen, time));
        let became_known = device.learn(&reading.inverter);
        if appeared.is_empty() && gone.is_empty() && !became_known {
            if is_first || !totals.is_empty() {
                self.keep_record();
            }
            return Vec::new();
        }
        device.announced = device.announced.union(appeared).without(gone);
        device.retained = device.retained.without(gone);
        let mut cleared: Vec<String> = gone
            .iter()
            .map(own_topic)
            .filter(|topic| self.retained.remove(topic))
            .collect();
        let (prefix, node) = (&self.writer.prefix, device.node.clone());
        match self.writer.form {
            Form::Device if device.announced.is_empty() => {
                device.removed.clear();
                cleared.push(device_topic(prefix, &node));
            }
            Form::Device => {
                device.removed.extend(components_by_key(gone));
                for key in components_by_key(appeared).keys() {
                    device.removed.remove(key);
                }
            }
            Form::Entity => {
                let mut gone = components_by_key(gone);
                if device.announced.is_empty() {
                    gone.extend(presence());
                }
                cleared.extend(entity_topics(prefix, &node, &gone));
            }
            Form::Off => {}
        }
        let told = match self.writer.form {
            Form::Entity if !became_known => appeared,
            _ => device.announced,
        };
        let via = self.collector.is_there();
        let mut messages = self.writer.announce(device, told, via);
        messages.extend(cleared.iter().map(|topic| payload::clear(topic)));
        self.leftovers
            .extend(cleared.into_iter().map(|topic| Leftover {
                topic,
                migrate: false,
            }));
        self.keep_record();
        messages
    }

    /// Takes note of what is known of an inverter, and gives what Home Assistant must be told because of it.
    pub fn status(&mut self, status: &InverterStatus) -> Vec<Message> {
        let Some(device) = self.devices.get_mut(&status.inverter.name) else {
            return Vec::new();
        };
        let (told, read) = (
            device.learn(&status.inverter),
            device.read(&status.nameplate),
        );
        if !told && !read {
            return Vec::new();
        }
        let via = self.collector.is_there();
        let messages = self.writer.announce(device, device.announced, via);
        self.keep_record();
        messages
    }

    /// Everything that Home Assistant must be told, whatever it was told before: what goes on in another form, what
    /// there is, and what is to be cleared.
    ///
    /// An entity may be announced on one topic at a time, so what does not go on is cleared first. What goes on is cleared
    /// once it is told to, before it is announced elsewhere: Home Assistant would log each entity whose old topic says
    /// something after that.
    pub fn all(&self) -> Vec<Message> {
        let (migrated, ended): (Vec<&Leftover>, Vec<&Leftover>) =
            self.leftovers.iter().partition(|leftover| leftover.migrate);
        let clear = |leftover: &&Leftover| payload::clear(&leftover.topic);
        let mut messages: Vec<Message> = ended.iter().map(clear).collect();
        messages.extend(
            migrated
                .iter()
                .map(|leftover| payload::migrate(&leftover.topic)),
        );
        messages.extend(migrated.iter().map(clear));
        // First: Home Assistant wants to know what the others are reached by.
        messages.extend(self.writer.announce_collector(&self.collector));
        let via = self.collector.is_there();
        for device in self.devices.values() {
            messages.extend(self.writer.announce(device, device.announced, via));
        }
        messages
    }

    /// Says that the broker has acknowledged every message that was given so far: what was cleared is forgotten.
    pub fn settled(&mut self) {
        self.leftovers.clear();
        for device in self.devices.values_mut() {
            device.removed.clear();
        }
        self.collector.removed.clear();
        self.keep_record();
    }

    /// Writes down what is announced. A topic that is in use is no leftover, whatever it was before.
    fn keep_record(&mut self) {
        let mut in_use: HashSet<String> = self.retained.iter().cloned().collect();
        let mut record = Record::default();
        record.retained.clone_from(&self.retained);
        let Writer { prefix, form, .. } = &self.writer;
        for (name, device) in &self.devices {
            let components = device.components();
            if components.is_empty() {
                continue;
            }
            in_use.extend(discovery_topics(prefix, *form, &device.node, &components));
            let announced = Announced {
                prefix: prefix.clone(),
                form: *form,
                node: Some(device.node.clone()).filter(|node| *node != node_id(name)),
                serial: device.inverter.serial.as_deref().map(str::to_owned),
                model: device.inverter.model.as_deref().map(str::to_owned),
                title: device.nameplate.title.as_deref().map(str::to_owned),
                family: device.nameplate.family.as_deref().map(str::to_owned),
                firmware: device.nameplate.firmware.as_deref().map(str::to_owned),
                components,
                removed: device.removed.clone(),
            };
            record.inverters.insert(name.to_string(), announced);
        }
        in_use.extend(discovery_topics(
            prefix,
            *form,
            &collector_id(&self.writer.topics.client_id),
            self.collector.announced(),
        ));
        record.collector = self.collector.record(prefix, *form);
        let mut seen = HashSet::new();
        self.leftovers.retain(|leftover| {
            !in_use.contains(&leftover.topic) && seen.insert(leftover.topic.clone())
        });
        record.leftovers.clone_from(&self.leftovers);
        self.file.save(record);
    }
}

/// Where a form announces these components of a node, if there are any.
fn discovery_topics(
    prefix: &str,
    form: Form,
    node: &str,
    components: &BTreeMap<String, Platform>,
) -> Vec<String> {
    match form {
        Form::Off => Vec::new(),
        Form::Device if components.is_empty() => Vec::new(),
        Form::Device => vec![device_topic(prefix, node)],
        Form::Entity => entity_topics(prefix, node, components),
    }
}

/// The quantities whose topics the broker keeps.
fn counters() -> Set {
    let counters = Quantity::ALL.iter().copied();
    counters
        .filter(|quantity| quantity.description().kind == Kind::Counter)
        .collect()
}

/// The components of these quantities, by key.
fn components_by_key(quantities: Set) -> BTreeMap<String, Platform> {
    inserted(components(quantities).map(|component| (component.key(), component.platform)))
}

/// The components that an inverter has beside those of its quantities, by key.
fn presence() -> impl Iterator<Item = (String, Platform)> {
    let fixed = presence::OF_INVERTER.iter();
    fixed.map(|(key, _, platform)| ((*key).to_owned(), *platform))
}
