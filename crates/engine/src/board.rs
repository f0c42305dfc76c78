//! The board: how every inverter and sink is at this moment, for whoever watches the collector run.
//!
//! Units are put up when they start and taken down when they stop; what stands there is written by the units themselves.
//! Nobody who reads it can hold them up: locks are held for as long as it takes to copy an `Arc`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstar_model::reading::{Inverter, Shown};
pub use kstar_sink::event::{Event, Reachability};
use kstar_sink::event::{InverterStatus, Nameplate};
use kstar_sink::health::Health;
use kstar_source::poller::{PollCounts, longest_pause};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::herald::Told;
use crate::night::Night;
use crate::pipeline::gate::GateCounts;
use crate::pipeline::ledger::keeper::Outage;
use crate::site::Made;
use crate::unit::InverterPlan;
use crate::vigil::{Polling, Vigil};

/// The inverters and sinks that run.
#[derive(Debug, Default)]
pub struct Board {
    inverters: Mutex<BTreeMap<Arc<str>, Arc<InverterEntry>>>,
    sinks: Mutex<BTreeMap<&'static str, Arc<Health>>>,
    outage: Outage,
    vigil: Mutex<Vigil>,
    told: Mutex<Told>,
    site: Mutex<Made>,
    /// Notified with each sink that comes or goes or changes its state.
    changed: Arc<Notify>,
}

#[derive(Debug)]
pub struct InverterEntry {
    pub name: Arc<str>,
    /// Where it is looked for, for people.
    pub host: String,
    /// How often it is asked.
    pub interval: Duration,
    /// How old its newest reading is at the most while it answers: two polls, and the time that a reply may take.
    pub due: Duration,
    /// How long its polling may go without any of its counts moving before something is wrong with it.
    pub patience: Duration,
    /// How polls went.
    pub polls: Arc<PollCounts>,
    /// What its gate has done.
    pub gate: Arc<GateCounts>,
    /// Whether it sleeps at night.
    pub sleeps_at_night: bool,
    present: Mutex<Present>,
}

/// How an inverter is at this moment.
#[derive(Clone, Debug)]
pub struct Present {
    /// Which one it is, with what is known of it by now.
    pub inverter: Arc<Inverter>,
    /// What else is known of it.
    pub nameplate: Arc<Nameplate>,
    /// Whether it answers; nothing before the first answer or the third silence.
    pub reachability: Option<Reachability>,
    /// Whether its silence is that of a night.
    pub asleep: bool,
    /// When it sleeps, as far as its history shows that.
    pub night: Option<Night>,
    /// Since when that is so.
    pub since: Instant,
    /// The newest reading, and when it came.
    pub newest: Option<(Instant, Arc<Shown>)>,
    /// Why the newest poll has had no answer; nothing where it had one.
    pub no_answer: Option<Arc<str>>,
}

impl Present {
    /// Whether it does not answer though it does not sleep.
    pub(crate) fn is_gone(&self) -> bool {
        !self.asleep && self.reachability == Some(Reachability::Silent)
    }
}

impl Board {
    /// A board with nothing on it but since when energies cannot be remembered.
    pub fn new(outage: Outage) -> Self {
        Self {
            outage,
            ..Self::default()
        }
    }

    /// Since when energies cannot be remembered, if they cannot.
    pub fn unremembered_since(&self) -> Option<Instant> {
        self.outage.since()
    }

    /// Puts up an inverter, in place of one of that name.
    pub fn put_inverter(&self, entry: Arc<InverterEntry>) {
        lock(&self.inverters).insert(entry.name.clone(), entry);
    }

    /// Takes an inverter down.
    pub fn take_inverter(&self, name: &str) {
        lock(&self.inverters).remove(name);
    }

    /// Puts up a sink, in place of one of that name.
    pub fn put_sink(&self, health: Arc<Health>) {
        lock(&self.sinks).insert(health.name(), health);
        self.changed.notify_one();
    }

    /// What is to be notified when a sink changes its state.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// What sinks were told last of the collector and of the price.
    pub fn told(&self) -> Told {
        lock(&self.told).clone()
    }

    /// Keeps what sinks are told, for those that are started later.
    pub(crate) fn tells(&self, event: &Event) {
        match event {
            Event::Collector(status) => lock(&self.told).collector = Some(status.clone()),
            Event::Price(price) => lock(&self.told).price = Some(price.clone()),
            Event::Reading(_)
            | Event::Undated(_)
            | Event::Site(_)
            | Event::Clock(_)
            | Event::Status(_) => {}
        }
    }

    /// Takes a sink down.
    pub fn take_sink(&self, name: &str) {
        lock(&self.sinks).remove(name);
    }

    /// The inverters, by name.
    pub fn inverters(&self) -> Vec<Arc<InverterEntry>> {
        lock(&self.inverters).values().cloned().collect()
    }

    pub fn inverter(&self, name: &str) -> Option<Arc<InverterEntry>> {
        lock(&self.inverters).get(name).cloned()
    }

    /// The inverters whose polling hangs, and for how long nothing was asked and nothing came. To be asked now and then.
    pub fn hanging(&self) -> BTreeMap<Arc<str>, Duration> {
        let polling = self.inverters().into_iter().map(|entry| Polling {
            name: entry.name.clone(),
            pulse: entry.polls.pulse(),
            patience: entry.patience,
        });
        lock(&self.vigil).hanging(&polling.collect::<Vec<_>>())
    }

    /// What all inverters come to together, and when that was found; nothing while one of them does not tell.
    pub fn sum(&self) -> Option<(Instant, Arc<Shown>)> {
        lock(&self.site).newest().filter(|_| self.is_whole())
    }

    /// The same, where it is to be shown as an inverter of its own.
    pub fn site(&self) -> Option<(Instant, Arc<Shown>)> {
        lock(&self.site).told().filter(|_| self.is_whole())
    }

    /// Whether no inverter has fallen silent, also before the sum is made anew.
    fn is_whole(&self) -> bool {
        let inverters = self.inverters();
        inverters.iter().all(|entry| !entry.present().is_gone())
    }

    /// Whether it is there, in the form in which sinks are told.
    pub(crate) fn site_status(&self) -> Option<Arc<InverterStatus>> {
        lock(&self.site).status()
    }

    /// Begins with no sum.
    pub(crate) fn begin_sum(&self, enabled: bool) {
        *lock(&self.site) = Made::nothing(enabled);
    }

    /// Puts up a sum in place of the one before; says whether it has come or gone since.
    pub(crate) fn put_sum(
        &self,
        sum: Option<Arc<Shown>>,
        until: Option<Instant>,
        reachability: Option<Reachability>,
    ) -> bool {
        lock(&self.site).put(sum, until, reachability)
    }

    /// The health of each sink, by name.
    pub fn sinks(&self) -> Vec<Arc<Health>> {
        lock(&self.sinks).values().cloned().collect()
    }
}

impl InverterEntry {
    /// An inverter of which nothing was heard yet.
    pub fn new(plan: &InverterPlan) -> Self {
        let present = Present {
            inverter: Inverter::named(&plan.name),
            nameplate: Arc::new(plan.nameplate.clone()),
            reachability: None,
            asleep: false,
            night: None,
            since: Instant::now(),
            newest: None,
            no_answer: None,
        };
        Self {
            name: plan.name.clone(),
            host: plan.context.target.text(plan.source.port()),
            interval: plan.context.interval,
            due: (plan.context.interval.saturating_mul(2))
                .saturating_add(plan.context.patience.timeout),
            patience: longest_pause(plan.context.interval) + plan.context.patience.timeout,
            polls: Arc::new(PollCounts::new(plan.source.counts())),
            gate: Arc::default(),
            sleeps_at_night: plan.gate.profile.sleeps_at_night,
            present: Mutex::new(present),
        }
    }

    /// The same, of which is known already what was known here.
    #[must_use]
    pub fn known_as(self, before: Present) -> Self {
        lock(&self.present).inverter = before.inverter;
        self.sleeps_in(before.night);
        if let Some(firmware) = &before.nameplate.firmware {
            self.learn_firmware(firmware);
        }
        self
    }

    /// It has told the versions of its firmware; whether they are new.
    pub fn learn_firmware(&self, firmware: &str) -> bool {
        let mut present = lock(&self.present);
        let is_new = present.nameplate.firmware.as_deref() != Some(firmware);
        if is_new {
            Arc::make_mut(&mut present.nameplate).firmware = Some(firmware.into());
        }
        is_new
    }

    /// Whether it answers, in the form in which sinks are told; nothing before that is known.
    pub fn status(&self) -> Option<Arc<InverterStatus>> {
        let present = self.present();
        Some(Arc::new(InverterStatus {
            inverter: present.inverter,
            nameplate: present.nameplate,
            reachability: present.reachability?,
        }))
    }

    pub fn present(&self) -> Present {
        lock(&self.present).clone()
    }

    /// A reading has come.
    pub fn read(&self, reading: Arc<Shown>) {
        lock(&self.present).newest = Some((Instant::now(), reading));
    }

    /// It answers now, or does not, or something became known of it.
    pub fn change(&self, inverter: Arc<Inverter>, reachability: Reachability) {
        let mut present = lock(&self.present);
        if present.reachability != Some(reachability) {
            present.reachability = Some(reachability);
            present.since = Instant::now();
        }
        present.inverter = inverter;
        present.asleep = false;
    }

    /// Its history shows when it sleeps, or shows nothing of that.
    pub fn sleeps_in(&self, night: Option<Night>) {
        lock(&self.present).night = night;
    }

    /// The newest poll has had an answer, or none for this reason.
    pub fn polled(&self, no_answer: Option<Arc<str>>) {
        lock(&self.present).no_answer = no_answer;
    }

    /// Its silence is that of a night, or that of a night no longer.
    pub fn sleep(&self, asleep: bool) {
        lock(&self.present).asleep = asleep;
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds the lock.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
