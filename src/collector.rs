//! The collector: every inverter and sink is a unit that starts and stops by name.
//!
//! Data flows one way: an inverter's [station](crate::station) makes readings of polls, and they go over one broadcast
//! channel to the drivers of the sinks. Nothing flows back. The channel's end is the sinks' order to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kstar_sink::delivery::Policy;
use kstar_sink::driver::{Driver, Ended};
use kstar_sink::health::Health;
use kstar_sink::reading::Event;
use kstar_sink::sink::Sink;
use kstar_sink::spool::Spool;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};

use crate::board::{Board, InverterEntry};
use crate::clock::WallClock;
use crate::gate::GateSettings;
use crate::ledger::keeper::{Closing, Keeper};
use crate::meter::MeterSettings;
use crate::poll::{Manners, Poller, Target};
use crate::station::{Station, collect};

/// How many events a sink's driver may lag behind: it does nothing but move them into its own queue.
const CHANNEL: usize = 1024;

/// What is needed to poll an inverter.
#[derive(Clone, Debug)]
pub struct InverterPlan {
    /// What it is called.
    pub name: Arc<str>,
    /// Where it is.
    pub target: Target,
    /// How it is asked.
    pub manners: Manners,
    /// How often it is asked.
    pub interval: Duration,
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
}

/// What is needed to run a sink.
pub struct SinkPlan {
    /// What it is called.
    pub name: &'static str,
    /// How its driver treats it.
    pub policy: Policy,
    /// The sink, open.
    pub sink: Box<dyn Sink>,
    /// Where what waits for it waits on disk.
    pub spool: Option<SpoolPlan>,
}

/// What is needed to run a sink with a spool.
pub struct SpoolPlan {
    /// The spool, open.
    pub spool: Spool,
    /// How long the sink is delivered to at a stop before the rest is left to the spool.
    pub draining: Duration,
}

/// How a sink came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkEnding {
    /// It was told to stop and has delivered what it had, or has left it in its spool.
    Drained,
    /// Its far side has ended in order.
    FarSideClosed,
    /// It has panicked.
    Broken,
    /// It did not finish in time.
    CutOff,
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
    /// How many sinks were started so far.
    starts: u64,
}

/// That a sink has ended.
struct SinkEnded {
    name: &'static str,
    /// Which start of a sink of that name has come to its end: one that was cut off may end after the next began.
    start: u64,
    ending: SinkEnding,
}

struct InverterUnit {
    task: JoinHandle<()>,
    entry: Arc<InverterEntry>,
}

struct SinkUnit {
    start: u64,
    health: Arc<Health>,
    /// Dropped to make the sink stop.
    stop: oneshot::Sender<()>,
    abort: AbortHandle,
}

impl Collector {
    /// A collector with nothing to collect yet.
    pub fn new(clock: WallClock, metering: Metering) -> Self {
        // Each sink ends once, and endings are looked at all the time.
        let (report_ending, endings) = mpsc::channel(16);
        Self {
            events: broadcast::Sender::new(CHANNEL),
            clock,
            metering,
            board: Arc::default(),
            inverters: BTreeMap::new(),
            sinks: BTreeMap::new(),
            endings,
            report_ending,
            starts: 0,
        }
    }

    /// Starts polling an inverter. One of the same name is stopped first.
    pub async fn start_inverter(&mut self, plan: InverterPlan) {
        self.stop_inverter(&plan.name).await;
        let entry = InverterEntry::new(&plan.name, plan.target.clone(), plan.interval);
        let entry = Arc::new(entry);
        let poller = Poller::new(
            plan.target,
            plan.manners,
            plan.interval,
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
        self.board.put_inverter(entry.clone());
        let task = tokio::spawn(collect(poller, station));
        let unit = InverterUnit { task, entry };
        self.inverters.insert(plan.name, unit);
    }

    /// Stops polling an inverter; says whether there was one of that name.
    pub async fn stop_inverter(&mut self, name: &str) -> bool {
        let Some(InverterUnit { task, entry }) = self.inverters.remove(name) else {
            return false;
        };
        self.board.take_inverter(name);
        task.abort();
        if let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!(inverter = name, "polling has panicked; please report this");
        }
        let (polls, gate) = (&entry.polls, &entry.gate);
        let refused = listed(polls.link.refused());
        tracing::info!(
            inverter = name,
            answered = polls.answered.load(Ordering::Relaxed),
            silent = polls.silent.load(Ordering::Relaxed),
            skipped = polls.skipped.load(Ordering::Relaxed),
            requests = polls.link.requests.load(Ordering::Relaxed),
            refused,
            quarantined = gate.refused.load(Ordering::Relaxed),
            gate = listed(gate.struck()),
            "polling has stopped"
        );
        true
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
        let name = plan.name;
        self.starts += 1;
        let start = self.starts;
        let health = Arc::new(Health::new(name));
        self.board.put_sink(health.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let mut driver = Driver::new(plan.sink, plan.policy, health.clone());
        if let Some(SpoolPlan { spool, draining }) = plan.spool {
            driver = driver.with_spool(spool, draining);
        }
        let events = self.events.subscribe();
        let task = tokio::spawn(driver.run(events, async move {
            // Nobody sends; the sender's end is the order.
            let _ = stopped.await;
        }));
        let abort = task.abort_handle();
        let report = self.report_ending.clone();
        let observed = health.clone();
        tokio::spawn(async move {
            let ending = match task.await {
                Ok(Ended::Drained) => SinkEnding::Drained,
                Ok(Ended::FarSideClosed) => SinkEnding::FarSideClosed,
                Err(error) if error.is_panic() => {
                    observed.broken("it has panicked");
                    tracing::error!(
                        sink = name,
                        "the sink has panicked; the others go on. Please report this"
                    );
                    SinkEnding::Broken
                }
                Err(_) => SinkEnding::CutOff,
            };
            // Without a collector nobody needs to know.
            let ended = SinkEnded {
                name,
                start,
                ending,
            };
            let _ = report.send(ended).await;
        });
        self.sinks.insert(
            name,
            SinkUnit {
                start,
                health,
                stop,
                abort,
            },
        );
    }

    /// Stops a sink within `grace`: what it has taken is delivered first. `None` if there is none of that name.
    pub async fn stop_sink(&mut self, name: &str, grace: Duration) -> Option<SinkEnding> {
        let SinkUnit {
            start,
            health,
            stop,
            abort,
        } = self.sinks.remove(name)?;
        self.board.take_sink(name);
        drop(stop);
        let mut others = Vec::new();
        let ending = self
            .wait_for(start, Instant::now() + grace, &abort, &mut others)
            .await;
        for other in others {
            // As many as there were before: they fit.
            let _ = self.report_ending.try_send(other);
        }
        report_sink(&health, ending);
        Some(ending)
    }

    async fn wait_for(
        &mut self,
        start: u64,
        deadline: Instant,
        abort: &AbortHandle,
        others: &mut Vec<SinkEnded>,
    ) -> SinkEnding {
        let mut aborted = false;
        loop {
            match timeout_at(deadline, self.endings.recv()).await {
                Ok(Some(ended)) if ended.start == start => return ended.ending,
                Ok(Some(other)) => others.push(other),
                Ok(None) => return SinkEnding::Broken,
                Err(_) if aborted => return SinkEnding::CutOff,
                Err(_) => {
                    abort.abort();
                    aborted = true;
                }
            }
        }
    }

    /// The next sink that ends on its own. It stays on the board, so that everybody sees what became of it.
    pub async fn sink_ended(&mut self) -> (&'static str, SinkEnding) {
        loop {
            if let Some(SinkEnded {
                name,
                start,
                ending,
            }) = self.endings.recv().await
                && let Some(unit) = take_unit(&mut self.sinks, name, start)
            {
                report_sink(&unit.health, ending);
                return (name, ending);
            }
        }
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
        let names: Vec<Arc<str>> = self.inverters.keys().cloned().collect();
        for name in names {
            self.stop_inverter(&name).await;
        }
        let deadline = Instant::now() + grace;
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

/// Counts by their names, as one text.
fn listed(counts: impl Iterator<Item = (impl std::fmt::Display, u64)>) -> String {
    let counts: Vec<String> = counts
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join(", ")
    }
}

/// Takes out the sink that was started then, if it is still there.
fn take_unit(
    sinks: &mut BTreeMap<&'static str, SinkUnit>,
    name: &str,
    start: u64,
) -> Option<SinkUnit> {
    sinks
        .get(name)
        .is_some_and(|unit| unit.start == start)
        .then(|| sinks.remove(name))?
}

/// Says what became of a sink's readings.
fn report_sink(health: &Health, ending: SinkEnding) {
    let snapshot = health.snapshot();
    let counts = snapshot.counts;
    let sink = health.name();
    match ending {
        SinkEnding::FarSideClosed => tracing::info!(sink, %counts, "the far side has ended"),
        SinkEnding::Drained if counts.dropped + counts.rejected + counts.missed > 0 => {
            tracing::warn!(sink, %counts, "stopped; not every reading was delivered");
        }
        SinkEnding::Drained if counts.spooled > 0 => {
            tracing::info!(sink, %counts, "stopped; what waits in the spool is delivered after the next start");
        }
        SinkEnding::Drained => tracing::info!(sink, %counts, "stopped"),
        SinkEnding::Broken | SinkEnding::CutOff => {
            tracing::error!(sink, %counts, lost = counts.at_risk(), "stopped without having delivered what was waiting");
        }
    }
}
