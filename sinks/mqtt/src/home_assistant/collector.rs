//! The collector, as Home Assistant knows it: a device of its own, which the inverters are reached by.

use std::collections::{BTreeMap, BTreeSet};

use kstar_common::collect::inserted;
use kstar_sink::event::{CollectorStatus, Price};

use super::names::{collector_id, entity_topics};
use super::payload::{self, Writer};
use super::record::{AnnouncedCollector, Leftover};
use super::vocabulary::Platform;
use super::{Discovery, Form, discovery_topics};
use crate::message::Message;

/// The collector's device.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// Its part of entity ids.
    pub(super) slug: String,
    /// What an earlier start has announced, until the collector has told of itself.
    recorded: Option<AnnouncedCollector>,
    /// What the collector has told of itself; before that nothing is announced.
    pub(super) known: Option<Known>,
    /// The currency, where there are prices. One that an earlier start has announced stays until another is told.
    pub(super) currency: Option<String>,
    /// Its components as they were last announced.
    announced: BTreeMap<String, Platform>,
    /// Components whose removal is not acknowledged yet, in the device form.
    pub(super) removed: BTreeMap<String, Platform>,
}

/// What the collector has told of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The address of its page.
    pub(super) page: Option<String>,
    /// Its sinks.
    pub(super) sinks: BTreeSet<String>,
}

impl Collector {
    /// One that is announced from what an earlier start has announced.
    pub(super) fn new(slug: String, recorded: Option<AnnouncedCollector>) -> Self {
        let currency = recorded
            .as_ref()
            .and_then(|recorded| recorded.currency.clone());
        Self {
            slug,
            recorded,
            currency,
            ..Self::default()
        }
    }

    /// Whether Home Assistant has been told of it, or is to be.
    pub(super) fn is_there(&self) -> bool {
        self.known.is_some() || self.recorded.is_some()
    }

    /// The components of a form, or of none, as they are recorded.
    pub(super) fn record(&self, prefix: &str, form: Form) -> Option<AnnouncedCollector> {
        let announced = || AnnouncedCollector {
            prefix: prefix.to_owned(),
            form,
            currency: self.currency.clone(),
            components: self.announced.clone(),
            removed: self.removed.clone(),
        };
        let recorded = self.recorded.clone();
        recorded.or_else(|| (!self.announced.is_empty()).then(announced))
    }

    /// The keys of what is announced.
    pub(super) fn announced(&self) -> &BTreeMap<String, Platform> {
        &self.announced
    }

    /// Takes note of what is announced now; gives the components that are there no more.
    fn announces(&mut self, components: BTreeMap<String, Platform>) -> BTreeMap<String, Platform> {
        let mut gone = std::mem::replace(&mut self.announced, components);
        gone.retain(|key, _| !self.announced.contains_key(key));
        self.removed.extend(gone.clone());
        self.removed
            .retain(|key, _| !self.announced.contains_key(key));
        gone
    }
}

impl Discovery {
    /// Takes note of how the collector is, and gives what Home Assistant must be told because of it.
    pub fn collector(&mut self, status: &CollectorStatus) -> Vec<Message> {
        let known = Known {
            page: status.page.clone(),
            sinks: inserted(status.sinks.keys().map(|name| (*name).to_owned())),
        };
        if self.collector.known.as_ref() == Some(&known) {
            return Vec::new();
        }
        let is_first = self.collector.known.replace(known).is_none();
        self.retained.insert(self.writer.topics.sinks());
        if !is_first {
            return self.announce_collector(Vec::new());
        }
        self.take_up_collector();
        self.announce_collector(Vec::new());
        // The inverters are reached by it from now on.
        self.all()
    }

    /// Takes note of what electricity costs, and gives what Home Assistant must be told because of it.
    pub fn price(&mut self, price: &Price) -> Vec<Message> {
        let currency = price.0.as_ref().map(|rates| rates.currency.clone());
        let topics = [
            self.writer.topics.price(),
            self.writer.topics.feed_in_price(),
        ];
        let mut cleared = Vec::new();
        if currency.is_some() {
            self.retained.extend(topics);
        } else {
            cleared.extend(
                topics
                    .into_iter()
                    .filter(|topic| self.retained.remove(topic)),
            );
        }
        let is_new = self.collector.currency != currency;
        self.collector.currency = currency;
        if is_new || !cleared.is_empty() {
            self.announce_collector(cleared)
        } else {
            Vec::new()
        }
    }

    /// Takes up what an earlier start has announced of the collector.
    pub(super) fn take_up_collector(&mut self) {
        let Some(recorded) = self.collector.recorded.take() else {
            return;
        };
        let Writer { prefix, form, .. } = &self.writer;
        let goes_on = *form != Form::Off && recorded.prefix == *prefix;
        if goes_on && recorded.form == *form {
            self.collector.announced = recorded.components;
            self.collector.removed = recorded.removed;
            return;
        }
        let node = collector_id(&self.writer.topics.client_id);
        let topics = discovery_topics(&recorded.prefix, recorded.form, &node, &recorded.components);
        self.leftovers
            .extend(topics.into_iter().map(|topic| Leftover {
                topic,
                migrate: goes_on,
            }));
    }

    /// Announces the collector as it is known now, and clears these topics.
    fn announce_collector(&mut self, mut cleared: Vec<String>) -> Vec<Message> {
        let mut messages = Vec::new();
        if self.writer.form != Form::Off {
            let placed = self.writer.of_collector(&self.collector).into_iter();
            let components = inserted(placed.map(|placed| (placed.key, placed.platform)));
            let gone = self.collector.announces(components);
            if self.writer.form == Form::Entity {
                let node = collector_id(&self.writer.topics.client_id);
                cleared.extend(entity_topics(&self.writer.prefix, &node, &gone));
            }
            messages = self.writer.announce_collector(&self.collector);
        }
        messages.extend(cleared.iter().map(|topic| payload::clear(topic)));
        let leftover = |topic| Leftover {
            topic,
            migrate: false,
        };
        self.leftovers.extend(cleared.into_iter().map(leftover));
        self.keep_record();
        messages
    }
}
