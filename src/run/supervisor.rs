//! What runs plans until the end: starts it, puts another in its place when it is told to, ends it.
//!
//! A reload is prepared as a whole before anything is touched: the configuration is read and checked, and so is whether
//! the secrets are there that it names. Whatever is wrong up to there changes nothing. Then what differs is changed unit
//! by unit, and what stays the same is not touched:
//!
//! - a sink that is replaced hands over to the one that follows what waits and its place in the channel, so that no
//!   reading is lost or told twice; the one that follows is opened when the one before has let go of its files;
//! - what cannot be opened now, be it a sink or HTTP, is down and tried again, as at the start;
//! - an inverter that is replaced goes on from what is remembered under its name, as after a restart.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use kstar_common::due::at;
use kstar_common::key::KeyError;
use kstar_engine::board::Board;
use kstar_engine::collector::{Collector, Happening, Parted, SinkEnding};
use kstar_engine::systemd::{Manager, Service};
use kstar_engine::unit::SinkPlan;
use kstar_sink::driver::Parting;
use kstar_sink::event::Event;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use super::nights::Nights;
use super::plans::{Change, Changes, Plans};
use super::serving::Serving;
use crate::config::{Config, ConfigFile};
use crate::registry::Section;

/// Orders to read the configuration again. Those that come while one is under way are one.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Arc<Notify>);

impl Reloads {
    pub fn order(&self) {
        self.0.notify_one();
    }

    async fn ordered(&self) {
        self.0.notified().await;
    }
}

/// Reads the configuration again, from where it was read at the start, with what is said in place of it. It may block;
/// the error is for people.
pub type Read = Arc<dyn Fn() -> Result<(ConfigFile, Config), String> + Send + Sync>;

/// What runs plans.
/// What anyone who looks on is shown.
pub struct Shown {
    /// How every inverter and sink is.
    pub board: Arc<Board>,
    /// Everything that is told to sinks.
    pub events: broadcast::Receiver<Event>,
}

pub(super) struct Supervisor {
    collector: Collector,
    plans: Arc<Plans>,
    service: Service,
    serving: Serving,
    nights: Nights,
}

/// A reload that may go ahead.
struct Prepared {
    plans: Plans,
    changes: Changes,
}

/// How a reload came to its end.
enum Reloaded {
    /// In one way or another.
    Done,
    /// The order to stop came, and then it did not end within the grace.
    Abandoned,
}

impl Supervisor {
    /// A supervisor of a collector that nothing runs in yet.
    pub(super) fn new(collector: Collector, plans: Arc<Plans>, manager: Manager) -> Self {
        let service = Service::new(manager, collector.board().clone());
        Self {
            collector,
            plans,
            service,
            serving: Serving::default(),
            nights: Nights::default(),
        }
    }

    /// How every inverter and sink is, also while they are started and stopped, and what is told to sinks from now on.
    pub(super) fn shown(&self) -> Shown {
        Shown {
            board: self.collector.board().clone(),
            events: self.collector.subscribe(),
        }
    }

    /// Starts the plans. What cannot be opened now is down, and is opened as soon as that is possible.
    pub(super) async fn start(&mut self) {
        let Self {
            collector,
            plans,
            service,
            serving,
            nights,
        } = self;
        serving.start(plans.serving.as_ref(), collector).await;
        collector.tell(plans.facts.clone());
        collector.sum(plans.sum.clone());
        for section in plans.sinks.enabled() {
            collector.start_sink(sink_plan(plans, section));
        }
        start_inverters(collector, plans, &|_| true).await;
        nights.follow(plans, collector);
        service.ready().await;
    }

    /// Runs until the end: the order to stop, a far side that has ended in order, or no sink left. Reads the
    /// configuration again with each order to reload, if there is any to read. Then stops everything; says whether no sink
    /// has broken and every one has delivered what it had.
    pub(super) async fn run(
        mut self,
        shutdown: impl Future<Output = ()>,
        reloads: &Reloads,
        read: Option<Read>,
    ) -> bool {
        let mut shutdown = pin!(shutdown);
        let mut all_well = true;
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = self.service.beat() => {}
                happening = self.collector.happens() => match happening {
                    Happening::SinkEnded(_, SinkEnding::FarSideClosed) => break,
                    Happening::SinkEnded(..) => all_well = false,
                    Happening::RestartDue(name) => self.collector.restart_inverter(&name).await,
                },
                () = reloads.ordered() => match &read {
                    None => tracing::info!("there is no configuration file, so there is nothing to reload"),
                    Some(read) => {
                        let (reloaded, stop) = self.reload(read, shutdown.as_mut()).await;
                        all_well &= matches!(reloaded, Reloaded::Done);
                        if stop {
                            break;
                        }
                    }
                },
            }
            if !self.collector.has_sinks() {
                tracing::error!("no sink is left to collect for");
                all_well = false;
                break;
            }
        }
        self.service.stopping(self.plans.grace).await;
        self.serving.stop().await;
        let drained = self.collector.stop(self.plans.grace).await;
        all_well && drained
    }

    /// Reloads, while the manager is told that all goes on; says as well whether the order to stop came meanwhile.
    async fn reload(
        &mut self,
        read: &Read,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> (Reloaded, bool) {
        self.service.reloading().await;
        let Self {
            collector,
            plans,
            service,
            serving,
            nights,
        } = self;
        let grace = plans.grace;
        // Polled no more once it is ready.
        let mut stopping: Option<Instant> = None;
        let reloaded = {
            let mut reloading = pin!(reload(collector, serving, plans, read));
            loop {
                tokio::select! {
                    biased;
                    () = &mut reloading => break Reloaded::Done,
                    () = shutdown.as_mut(), if stopping.is_none() => {
                        stopping = Some(Instant::now() + grace);
                    }
                    () = at(stopping) => {
                        tracing::error!("stopped in the middle of a reload; what a sink has handed over may be lost");
                        break Reloaded::Abandoned;
                    }
                    () = service.beat() => {}
                }
            }
        };
        if stopping.is_none() {
            nights.follow(plans, collector);
            service.ready().await;
        }
        (reloaded, stopping.is_some())
    }
}

/// Reads the configuration again and changes what differs; or says why not, and changes nothing.
async fn reload(
    collector: &mut Collector,
    serving: &mut Serving,
    current: &mut Arc<Plans>,
    read: &Read,
) {
    let (read, before) = (read.clone(), current.clone());
    let running = collector.sink_names();
    let preparing = tokio::task::spawn_blocking(move || prepare(&read, &before, &running));
    let prepared = preparing.await.unwrap_or_else(|error| {
        Err(format!(
            "reading it has failed: {error}; please report this"
        ))
    });
    match prepared {
        Ok(Prepared { plans, changes }) => {
            let before = std::mem::replace(current, Arc::new(plans));
            if changes.serving != Some(Change::Kept) {
                serving.stop().await;
                serving.start(current.serving.as_ref(), collector).await;
            }
            apply(collector, &before, current, &changes).await;
        }
        Err(reason) => {
            tracing::error!(
                "the configuration is not reloaded, everything goes on as before\n{reason}"
            );
        }
    }
}

/// Everything about a reload that can go wrong: nothing that runs is touched. Blocks on files.
fn prepare(
    read: &Read,
    before: &Plans,
    running: &BTreeSet<&'static str>,
) -> Result<Prepared, String> {
    let (source, config) = read()?;
    let plans = Plans::new(source, config);
    let (old, new) = (&before.context.state_dir, &plans.context.state_dir);
    if old != new {
        let message = format!(
            "the state folder cannot change from {} to {} while the program runs; restart it",
            old.display(),
            new.display()
        );
        let error = KeyError::new("state_dir", message);
        return Err(plans.source.mistake(&error).to_string());
    }
    let changes = before.changes(&plans, running);
    Ok(Prepared { plans, changes })
}

/// Changes what differs. What goes wrong now is an outage of the one unit.
async fn apply(collector: &mut Collector, before: &Plans, after: &Arc<Plans>, changes: &Changes) {
    collector.meter(after.metering.clone());
    if before.sum != after.sum {
        collector.sum(after.sum.clone());
    }
    // First those that are gone, so that no sink which follows is told of them again.
    collector
        .change_inverters(&changes.inverters(Change::Stopped), Vec::new())
        .await;
    let replaced = changes.sinks(Change::Replaced);
    let parting = |name: &str| {
        if before.agrees_on(after, name) {
            Parting::Renew
        } else {
            Parting::HandOver
        }
    };
    let parted = collector.part_with(&replaced, parting, before.grace).await;
    for Parted { name, handover, .. } in parted {
        if let Some(section) = after.sinks.section(name) {
            collector.start_sink_with(sink_plan(after, section), handover);
        }
    }
    for name in changes.sinks(Change::Started) {
        if let Some(section) = after.sinks.section(name) {
            collector.start_sink(sink_plan(after, section));
        }
    }
    let stopped = changes.sinks(Change::Stopped);
    collector
        .part_with(&stopped, |_| Parting::Drain, before.grace)
        .await;
    // One that had ended on its own stands there still.
    for health in collector.board().sinks() {
        if after.sinks.section(health.name()).is_none() {
            collector.board().take_sink(health.name());
        }
    }
    collector.tell(after.facts.clone());
    start_inverters(collector, after, &|name| {
        matches!(
            changes.inverters.get(name),
            Some(Change::Started | Change::Replaced)
        )
    })
    .await;
    let listed = |change| changes.listed(change);
    tracing::info!(
        started = listed(Change::Started),
        stopped = listed(Change::Stopped),
        replaced = listed(Change::Replaced),
        kept = listed(Change::Kept),
        "the configuration is reloaded"
    );
}

/// What is needed to run a sink, whose opening is logged once however often it is tried.
fn sink_plan(plans: &Arc<Plans>, section: &dyn Section) -> SinkPlan {
    tracing::info!(
        sink = section.name(),
        destination = section.destination(&plans.context),
        "opening"
    );
    plans.sink_plan(section)
}

/// Starts those inverters of a plans, in place of others of their names.
async fn start_inverters(
    collector: &mut Collector,
    plans: &Plans,
    which: &(dyn Fn(&str) -> bool + Sync),
) {
    let plans: Vec<_> = plans
        .inverters
        .values()
        .filter(|plan| which(&plan.name))
        .cloned()
        .collect();
    for plan in &plans {
        tracing::info!(
            inverter = &*plan.name,
            host = plan.context.target.text(plan.source.port()),
            "polling"
        );
    }
    collector.change_inverters(&[], plans).await;
}
