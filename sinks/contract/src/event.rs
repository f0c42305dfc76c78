//! What goes over the broadcast channel, from the engine to every sink.

use std::collections::BTreeMap;
use std::sync::Arc;

use kstar_model::reading::{Inverter, Reading, Shown, Undated};
use kstar_model::time::ClockSet;
use serde::Serialize;

use crate::health::State;

/// Whether an inverter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reachability {
    /// Its last poll was answered.
    Online,
    /// It has left several polls in a row without an answer.
    Silent,
}

/// What is known of an inverter beside what each of its readings carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nameplate {
    /// What its owner calls it, for people; its name is for machines.
    pub title: Option<Arc<str>>,
    /// What kind of inverter it is, as the configuration names it.
    pub family: Option<Arc<str>>,
    /// The versions of its firmware, once the device info has given them.
    pub firmware: Option<Arc<str>>,
}

/// What changed about an inverter: it answers or has fallen silent, or more became known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InverterStatus {
    /// Which inverter, with what is known of it now.
    pub inverter: Arc<Inverter>,
    /// What else is known of it now.
    pub nameplate: Arc<Nameplate>,
    /// Whether it answers.
    pub reachability: Reachability,
}

impl InverterStatus {
    /// That of an inverter of which nothing else is known.
    pub fn new(inverter: Arc<Inverter>, reachability: Reachability) -> Self {
        Self {
            inverter,
            nameplate: Arc::default(),
            reachability,
        }
    }
}

/// How the collector is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorStatus {
    /// Its version.
    pub version: &'static str,
    /// The address of its page, if others than this machine can reach it.
    pub page: Option<String>,
    /// How each sink is, by name.
    pub sinks: BTreeMap<&'static str, State>,
}

/// What electricity costs now; nothing where no tariff is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Price(pub Option<Rates>);

/// The prices of a tariff at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// The currency, as the tariff names it.
    pub currency: String,
    /// What a kWh from the grid costs.
    pub price: f64,
    /// What a kWh that is fed into the grid brings in.
    pub feed_in: f64,
}

/// What goes over the broadcast channel.
#[derive(Clone, Debug)]
pub enum Event {
    /// A poll was answered.
    Reading(Arc<Reading>),
    /// A poll was answered while the clock is not set.
    Undated(Arc<Undated>),
    /// What all inverters come to together. Only for sinks that show how things are now: a store has each inverter.
    Site(Arc<Shown>),
    /// The clock is set: what came before has a time now. Told before the first reading with a time, and again each minute
    /// for those who listen since.
    Clock(ClockSet),
    /// Something about an inverter changed.
    Status(Arc<InverterStatus>),
    /// Something about the collector changed. A sink that is started later is told what was sent last.
    Collector(Arc<CollectorStatus>),
    /// What electricity costs has changed, or the time came at which it does. A sink that is started later is told what was
    /// sent last.
    Price(Arc<Price>),
}
