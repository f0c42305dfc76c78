//! The collector: every inverter and sink is a unit that starts and stops by name.
//!
//! Data flows one way: an inverter's [station](crate::pipeline) makes readings of polls, and they go over one broadcast
//! channel to the drivers of the sinks. Nothing flows back. The channel's end is the sinks' order to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kstar_common::collect::inserted;
use kstar_common::due::at;
use kstar_common::hold::Holds;
use kstar_sink::delivery::Keep;
use kstar_sink::driver::{Driver, Handover, Parting, Remainder};
use kstar_sink::event::Event;
use kstar_sink::health::Health;
use kstar_source::poller::Poller;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::board::{Board, InverterEntry, Present};
use crate::herald::{self, Facts, Told};
use crate::pipeline::ledger::keeper::Keeper;
use crate::pipeline::meter::MeterSettings;
use crate::pipeline::stamp::WallClock;
use crate::pipeline::{Station, collect};
use crate::site::{self, SiteSettings};
use crate::unit::{InverterPlan, Metering, SinkPlan, SpoolPlan};

mod inverter;
mod sink;

pub use self::sink::SinkEnding;

use self::inverter::{InverterUnit, StoppedUnit};
use self::sink::{SinkEnded, SinkUnit, report_parted, report_sink, take_unit};

/// How many events a sink's driver may lag behind: it does nothing but move them into its own queue.
const CHANNEL: usize = 1024;

/// A sink that was stopped.
#[derive(Debug)]
pub struct Parted {
    pub name: &'static str,
    /// How it came to its end.
    pub ending: SinkEnding,
    /// What one that follows goes on with: what this one has left, if it was told to and could; else what was sent since
    /// it was told.
    pub handover: Handover,
}

/// The running program.
pub struct Collector {
    events: broadcast::Sender<Event>,
    clock: WallClock,
    metering: Metering,
    board: Arc<Board>,
    inverters: BTreeMap<Arc<str>, InverterUnit>,
    sinks: BTreeMap<&'static str, SinkUnit>,
    endings: mpsc::Receiver<SinkEnded>,
    report_ending: mpsc::Sender<SinkEnded>,
    /// What the sinks of each name hold in turn.
    holds: BTreeMap<&'static str, Holds>,
    /// How many sinks were started so far.
    starts: u64,
    /// The polling of some inverter has panicked.
    panicked: Arc<Notify>,
    /// Tells sinks how the collector is; ends with it.
    herald: JoinSet<()>,
    /// Makes the sum of all inverters; ends with it.
    site: JoinSet<()>,
}

/// What happens without anybody's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A sink has ended. It stays on the board, so that everybody sees what became of it.
    SinkEnded(&'static str, SinkEnding),
    /// An inverter's polling has panicked some time ago and is now to be started again.
    RestartDue(Arc<str>),
}

impl Collector {
    /// A collector with nothing to collect yet.
    pub fn new(clock: WallClock, metering: Metering) -> Self {
        // Each sink ends once, and endings are looked at all the time.
        let (report_ending, endings) = mpsc::channel(16);
        let board = Board::new(metering.keeper.outage());
        Self {
            events: broadcast::Sender::new(CHANNEL),
            clock,
            metering,
            board: Arc::new(board),
            inverters: BTreeMap::new(),
            sinks: BTreeMap::new(),
            endings,
            report_ending,
            holds: BTreeMap::new(),
            starts: 0,
            panicked: Arc::default(),
            herald: JoinSet::new(),
            site: JoinSet::new(),
        }
    }

    /// Tells sinks this of the collector and of the price of electricity, now and with each change, in place of what was told
    /// of them before.
    pub fn tell(&mut self, facts: Facts) {
        self.herald = JoinSet::new();
        herald::tell(&facts, self.clock, &self.board, &self.events);
        let (board, events) = (self.board.clone(), self.events.downgrade());
        self.herald
            .spawn(herald::run(facts, self.clock, board, events));
    }

    /// Makes the sum of all inverters so from now on.
    pub fn sum(&mut self, settings: SiteSettings) {
        self.site = JoinSet::new();
        self.board.begin_sum(settings.enabled);
        let (heard, events) = (self.events.subscribe(), self.events.downgrade());
        let board = self.board.clone();
        self.site
            .spawn(site::run(settings, self.clock, board, heard, events));
    }

    /// Starts polling an inverter. One of the same name is stopped first.
    pub async fn start_inverter(&mut self, plan: InverterPlan) {
        self.change_inverters(&[], vec![plan]).await;
    }

    /// Stops polling an inverter; says whether there was one of that name.
    pub async fn stop_inverter(&mut self, name: &str) -> bool {
        let stopped = self.inverters.contains_key(name);
        self.change_inverters(&[name.into()], Vec::new()).await;
        stopped
    }

    /// Stops polling some inverters and starts polling others. One that is started in place of another of its name is
    /// stopped first; and all are stopped before the first is started, so that they may change places.
    pub async fn change_inverters(&mut self, stop: &[Arc<str>], start: Vec<InverterPlan>) {
        let names: Vec<Arc<str>> = start.iter().map(|plan| plan.name.clone()).collect();
        let stopped = self.stop_polling(stop.iter().chain(&names)).await;
        for plan in start {
            let before = stopped.iter().find(|unit| unit.plan.name == plan.name);
            // At another place it may be another inverter.
            let known = before
                .filter(|unit| unit.plan.context.target == plan.context.target)
                .map(|unit| unit.entry.present());
            self.start_polling(plan, known, 0).await;
        }
    }

    /// Starts the polling of an inverter again that has panicked, unless it was stopped meanwhile.
    pub async fn restart_inverter(&mut self, name: &str) {
        let due = |unit: &InverterUnit| unit.restart.is_some();
        if !self.inverters.get(name).is_some_and(due) {
            return;
        }
        for unit in self.stop_polling([&name.into()]).await {
            let known = Some(unit.entry.present());
            self.start_polling(unit.plan, known, unit.panics).await;
        }
    }

    async fn start_polling(&mut self, plan: InverterPlan, known: Option<Present>, panics: u32) {
        let mut entry = InverterEntry::new(&plan);
        if let Some(known) = known {
            entry = entry.known_as(known);
        }
        let entry = Arc::new(entry);
        let poller = Poller::new(
            plan.source
                .open(&plan.context, entry.polls.exchanges.clone()),
            plan.context.patience,
            plan.context.interval,
            entry.polls.clone(),
        );
        let station = Station::new(
            entry.clone(),
            self.events.clone(),
            self.clock,
            &plan.gate,
            &self.metering,
        )
        .await;
        let (stop, stopped) = oneshot::channel::<()>();
        let polling = collect(poller, station, async move {
            // Nobody sends; the sender's end is the order.
            let _ = stopped.await;
        });
        self.run_polling(plan, entry, stop, polling, panics);
    }

    /// Runs an inverter's polling, and notes if it panics.
    fn run_polling(
        &mut self,
        plan: InverterPlan,
        entry: Arc<InverterEntry>,
        stop: oneshot::Sender<()>,
        polling: impl Future<Output = ()> + Send + 'static,
        panics: u32,
    ) {
        self.board.put_inverter(entry.clone());
        let unit = InverterUnit::run(plan, entry, stop, polling, panics, self.panicked.clone());
        self.inverters.insert(unit.plan.name.clone(), unit);
    }

    /// Stops the polling of these inverters; gives what was stopped. A poll that is answered is told to the end.
    async fn stop_polling<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> Vec<StoppedUnit> {
        let mut units = Vec::new();
        for name in names {
            if let Some(unit) = self.inverters.remove(name) {
                self.board.take_inverter(name);
                units.push(unit);
            }
        }
        inverter::stop(units).await
    }

    /// From now on, for inverters that are started.
    pub fn meter(&mut self, settings: MeterSettings) {
        self.metering.settings = settings;
    }

    /// Everything that is told to sinks from now on, for whoever else wants to hear it.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// As [`subscribe`](Self::subscribe), for whoever subscribes later and more often: it does not keep the channel open.
    pub fn events(&self) -> broadcast::WeakSender<Event> {
        self.events.downgrade()
    }

    /// Starts a sink. One of the same name must have been stopped before.
    pub fn start_sink(&mut self, plan: SinkPlan) {
        let handover = Handover {
            events: self.events.subscribe(),
            waiting: Remainder::default(),
            legacy: None,
        };
        self.start_sink_with(plan, handover);
    }

    /// Starts a sink that goes on with what the one before has left.
    pub fn start_sink_with(&mut self, plan: SinkPlan, handover: Handover) {
        let name = plan.name;
        self.starts += 1;
        let start = self.starts;
        let health = Arc::new(Health::new(name).telling(self.board.changed()));
        self.board.put_sink(health.clone());
        let Handover {
            events,
            mut waiting,
            legacy,
        } = handover;
        if plan.policy.keep == Keep::NewestPerInverter {
            // An inverter that is gone is not to be shown once more.
            waiting.retain(|reading| self.is_told(&reading.inverter.name));
        }
        let entries = self.board.inverters();
        let statuses = entries.iter().filter_map(|entry| entry.status());
        let statuses = statuses.chain(self.board.site_status());
        let Told { collector, price } = self.board.told();
        let mut driver = Driver::opening(plan.open, plan.policy, health.clone())
            .with_holds(self.holds.entry(name).or_default().clone())
            .with_waiting(waiting)
            .with_legacy(legacy)
            .with_present(collector, price)
            .with_statuses(statuses);
        if let Some(SpoolPlan { spool, draining }) = plan.spool {
            driver = driver.with_spool(spool, draining);
        }
        let report = self.report_ending.clone();
        let unit = SinkUnit::run(name, start, health, driver, events, report);
        self.sinks.insert(name, unit);
    }

    /// Whether sinks are told of an inverter of that name, or of the sum.
    fn is_told(&self, name: &str) -> bool {
        let is_sum = name == site::NAME && self.board.site_status().is_some();
        is_sum || self.inverters.contains_key(name)
    }

    /// Stops a sink within `grace`: what it has taken is delivered first. `None` if there is none of that name.
    pub async fn stop_sink(&mut self, name: &str, grace: Duration) -> Option<SinkEnding> {
        self.part_with(&[name], |_| Parting::Drain, grace)
            .await
            .pop()
            .map(|parted| parted.ending)
    }

    /// Stops sinks within `grace`, all at the same time, and gives what became of those that there were. What they have
    /// taken is delivered first, or handed over: then whoever follows loses nothing that was sent meanwhile, not even if
    /// the one before has to be cut off.
    pub async fn part_with(
        &mut self,
        names: &[&str],
        parting: impl Fn(&str) -> Parting,
        grace: Duration,
    ) -> Vec<Parted> {
        let deadline = Instant::now() + grace;
        let mut units = Vec::new();
        for name in names {
            let Some((name, unit)) = self.sinks.remove_entry(*name) else {
                continue;
            };
            self.board.take_sink(name);
            let events = self.events.subscribe();
            // One that has ended already hears nothing.
            let _ = unit.stop.send(parting(name));
            units.push((name, unit.start, unit.health, unit.abort, events));
        }
        let mut others = Vec::new();
        let mut parted = Vec::new();
        for (name, start, health, abort, events) in units {
            let ended = self.wait_for(start, deadline, &abort, &mut others).await;
            let (ending, handover) = ended.unwrap_or((SinkEnding::CutOff, None));
            report_parted(&health, ending, parting(name));
            let waiting = Remainder::default();
            parted.push(Parted {
                name,
                ending,
                handover: handover.unwrap_or(Handover {
                    events,
                    waiting,
                    legacy: None,
                }),
            });
        }
        for other in others {
            // As many as there were before: they fit.
            let _ = self.report_ending.try_send(other);
        }
        parted
    }

    /// Waits for the end of the sink that was started then, and cuts it off at the deadline.
    async fn wait_for(
        &mut self,
        start: u64,
        deadline: Instant,
        abort: &AbortHandle,
        others: &mut Vec<SinkEnded>,
    ) -> Option<(SinkEnding, Option<Handover>)> {
        if let Some(place) = others.iter().position(|other| other.start == start) {
            let ended = others.swap_remove(place);
            return Some((ended.ending, ended.handover));
        }
        let mut aborted = false;
        loop {
            match timeout_at(deadline, self.endings.recv()).await {
                Ok(Some(ended)) if ended.start == start => {
                    return Some((ended.ending, ended.handover));
                }
                Ok(Some(other)) => others.push(other),
                Ok(None) => return None,
                Err(_) if aborted => return None,
                Err(_) => {
                    abort.abort();
                    aborted = true;
                }
            }
        }
    }

    /// The next thing that happens without anybody's order. Safe to drop at any time.
    pub async fn happens(&mut self) -> Happening {
        loop {
            let restart = self
                .inverters
                .values()
                .filter_map(|unit| Some((unit.restart?, unit.plan.name.clone())))
                .min();
            let due = restart.as_ref().map(|(due, _)| *due);
            tokio::select! {
                ended = self.endings.recv() => {
                    if let Some(SinkEnded { name, start, ending, .. }) = ended
                        && let Some(unit) = take_unit(&mut self.sinks, name, start)
                    {
                        report_sink(&unit.health, ending);
                        return Happening::SinkEnded(name, ending);
                    }
                }
                () = self.panicked.notified() => {
                    self.inverters.values_mut().for_each(InverterUnit::note_panic);
                }
                () = at(due) => if let Some((_, name)) = restart {
                    return Happening::RestartDue(name);
                },
            }
        }
    }

    pub fn sink_names(&self) -> BTreeSet<&'static str> {
        inserted(self.sinks.keys().copied())
    }

    /// Whether any sink is left to collect for.
    pub fn has_sinks(&self) -> bool {
        !self.sinks.is_empty()
    }

    /// How every inverter and sink is, also while they are started and stopped.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Stops everything: polling first, then the sinks, which deliver what they have within `grace`. Says whether
    /// all of them did.
    pub async fn stop(mut self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        let names: Vec<Arc<str>> = self.inverters.keys().cloned().collect();
        self.stop_polling(&names).await;
        let Self {
            events,
            sinks,
            endings,
            report_ending,
            metering,
            ..
        } = &mut self;
        // The last sender of events and the last senders of orders to stop: the channel ends.
        *events = broadcast::Sender::new(1);
        drop(std::mem::replace(report_ending, mpsc::channel(1).0));
        metering.keeper = Keeper::default();
        let closing = std::mem::take(&mut metering.closing);
        let mut all_well = true;
        if timeout_at(deadline, closing.closed()).await.is_err() {
            tracing::error!("the energy counters could not be synced to the disk in time");
            all_well = false;
        }
        let mut left = std::mem::take(sinks);
        while !left.is_empty() {
            match timeout_at(deadline, endings.recv()).await {
                Ok(Some(SinkEnded {
                    name,
                    start,
                    ending,
                    ..
                })) => {
                    let Some(unit) = take_unit(&mut left, name, start) else {
                        continue;
                    };
                    report_sink(&unit.health, ending);
                    all_well &= matches!(ending, SinkEnding::Drained | SinkEnding::FarSideClosed);
                }
                Ok(None) => break,
                Err(_) => {
                    all_well = false;
                    for unit in std::mem::take(&mut left).into_values() {
                        unit.abort.abort();
                        report_sink(&unit.health, SinkEnding::CutOff);
                    }
                }
            }
        }
        all_well
    }
}

#[cfg(test)]
mod tests;
