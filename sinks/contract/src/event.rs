//! What goes over the broadcast channel, from the engine to every sink.

use std::sync::Arc;

use kstar_model::reading::{Inverter, Reading, Undated};
use kstar_model::time::ClockSet;
use serde::Serialize;

/// Whether an inverter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reachability {
    /// Its last poll was answered.
    Online,
    /// It has left several polls in a row without an answer.
    Silent,
}

/// What changed about an inverter: it answers or has fallen silent, or its serial and model became known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InverterStatus {
    /// Which inverter, with what is known of it now.
    pub inverter: Arc<Inverter>,
    /// Whether it answers.
    pub reachability: Reachability,
}

/// What goes over the broadcast channel.
#[derive(Clone, Debug)]
pub enum Event {
    /// A poll was answered.
    Reading(Arc<Reading>),
    /// A poll was answered while the clock is not set.
    Undated(Arc<Undated>),
    /// The clock is set: what came before has a time now. Told before the first reading with a time, and again each minute
    /// for those who listen since.
    Clock(ClockSet),
    /// Something about an inverter changed.
    Status(Arc<InverterStatus>),
}
