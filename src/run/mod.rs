//! The program's main job from its beginning to its end: open, start, watch, reload, stop.

use std::future::Future;
use std::sync::Arc;

use kstar_engine::collector::Collector;
use kstar_engine::pipeline::ledger::Accounts;
use kstar_engine::pipeline::stamp::WallClock;
use kstar_engine::pipeline::untold::Untold;
use kstar_engine::systemd::Manager;
use kstar_engine::unit::Metering;

use crate::config::{Config, ConfigFile};
use plans::Plans;
use state::State;
use supervisor::Supervisor;
pub use supervisor::{Read, Reloads, Shown};

mod nights;
pub mod plans;
mod serving;
mod state;
mod supervisor;

/// What is to run.
pub struct Order {
    /// Where the configuration stands, for errors.
    pub file: ConfigFile,
    /// The configuration.
    pub config: Config,
    /// What reads it again, if it stands in a file.
    pub read: Option<Read>,
    /// Where energies are remembered.
    pub memory: Memory,
}

/// Where energies are remembered.
pub enum Memory {
    /// In the state folder.
    Folder,
    /// In the process alone, from these accounts on: a demonstration keeps nothing.
    Process(Accounts),
}

/// Collects until what `watch` makes of it is ready, and reads the configuration again with each of `reloads`. Says whether
/// no sink has broken and each has delivered what it had; the error says why it could not begin.
pub async fn run<Stop: Future<Output = ()>>(
    order: Order,
    watch: impl FnOnce(Shown) -> Stop,
    reloads: &Reloads,
) -> Result<bool, String> {
    let plans = Arc::new(Plans::new(order.file, order.config));
    // Held to the end: what is kept there has one writer.
    let state = State::open(order.memory, &plans.context.state_dir).await?;
    let metering = Metering {
        settings: plans.metering.clone(),
        keeper: state.keeper,
        closing: state.closing,
        untold: Untold::default(),
    };
    let collector = Collector::new(WallClock::default(), metering);
    let mut supervisor = Supervisor::new(collector, plans, Manager::of_environment());
    let stop = watch(supervisor.shown());
    supervisor.start().await;
    Ok(supervisor.run(stop, reloads, order.read).await)
}
