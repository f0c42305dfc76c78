//! What the units of a [collector](crate::collector) are made from.

use std::sync::Arc;
use std::time::Duration;

use kstar_sink::delivery::Policy;
use kstar_sink::driver::Opener;
use kstar_sink::event::Nameplate;
use kstar_sink::spool::Spool;
use kstar_source::source::{AnySource, Context};

use crate::pipeline::gate::GateSettings;
use crate::pipeline::ledger::keeper::{Closing, Keeper};
use crate::pipeline::meter::MeterSettings;
use crate::pipeline::untold::Untold;

/// What is needed to poll an inverter.
#[derive(Clone, Debug, PartialEq)]
pub struct InverterPlan {
    pub name: Arc<str>,
    /// What the configuration tells of it for those who look.
    pub nameplate: Nameplate,
    /// What asks it.
    pub source: AnySource,
    /// Where it is, and how it is asked.
    pub context: Context,
    /// Which of its readings are believed.
    pub gate: GateSettings,
}

/// How energy is counted, and where that is remembered.
#[derive(Debug)]
pub struct Metering {
    /// How it is counted.
    pub settings: MeterSettings,
    /// Remembers it.
    pub keeper: Keeper,
    /// Ends that.
    pub closing: Closing,
    /// What was counted and waits to be told.
    pub untold: Untold,
}

/// What is needed to run a sink.
pub struct SinkPlan {
    pub name: &'static str,
    /// How its driver treats it.
    pub policy: Policy,
    /// Opens it, as often as that fails.
    pub open: Opener,
    /// Where what waits for it waits on disk.
    pub spool: Option<SpoolPlan>,
}

/// What is needed to run a sink with a spool.
pub struct SpoolPlan {
    pub spool: Spool,
    /// How long the sink is delivered to at a stop before the rest is left to the spool.
    pub draining: Duration,
}
