//! One inverter's way from a poll to an event: stamped, judged by the gate, metered, remembered, told.
//!
//! The order is the promise: energy counters are remembered before anybody hears of them.

use std::net::SocketAddr;
use std::sync::Arc;

use kstar_sink::catalogue::{Quantity, Values};
use kstar_sink::reading::{Event, Inverter, InverterStatus, Reachability, Reading, UnixMillis};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::board::InverterEntry;
use crate::clock::{Stamper, WallClock};
use crate::collector::Metering;
use crate::gate::rules::Rule;
use crate::gate::{Gate, GateCounts, GateSettings, Judgement};
use crate::ledger::Account;
use crate::ledger::keeper::Keeper;
use crate::ledger::quarantine::Refused;
use crate::link::{Hex, Reply};
use crate::lock;
use crate::meter::{Meter, MeterSettings};
use crate::poll::{Outcome, Poller, SILENT_AFTER};
use crate::wire::device_info::DeviceInfo;

/// What turns one inverter's polls into events.
pub struct Station {
    /// Where everybody may see how it is.
    entry: Arc<InverterEntry>,
    inverter: Arc<Inverter>,
    reachability: Option<Reachability>,
    stamper: Stamper<Reply<Values>>,
    watch: Watch,
    events: broadcast::Sender<Event>,
    /// Since when there was no answer.
    silent_since: Option<Instant>,
    /// Where it answers: its lock follows.
    address: watch::Sender<Option<SocketAddr>>,
}

/// Polls until `stop` is ready; what has come by then is told. Meanwhile other commands are kept from polling the same
/// inverter.
pub async fn collect(poller: Poller, station: Station, stop: impl Future<Output = ()>) {
    let lock = lock::keep(station.inverter.name.clone(), station.address.subscribe());
    // With the station the last address is gone, and the lock is given back.
    tokio::join!(poll(poller, station, stop), lock);
}

async fn poll(mut poller: Poller, mut station: Station, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    loop {
        let outcome = tokio::select! {
            biased;
            () = &mut stop => return,
            outcome = poller.next() => outcome,
        };
        match outcome {
            Outcome::Values(reply) => {
                let stamped: Vec<_> = station.stamper.stamp(reply.at, reply).collect();
                for (time, reply) in stamped {
                    let name = &station.inverter.name;
                    if let Some(values) = station.watch.admit(name, time, reply).await {
                        station.publish(time, values);
                    }
                }
                station.online();
                let address = poller.address();
                station.address.send_if_modified(|known| {
                    let moved = *known != address;
                    *known = address;
                    moved
                });
            }
            Outcome::DeviceInfo(info) => station.identify(&info),
            Outcome::Silent { polls, reason } => {
                station.silent_since.get_or_insert_with(Instant::now);
                if polls == 1 {
                    tracing::debug!(inverter = &*station.inverter.name, %reason, "no answer to a poll");
                } else if polls == SILENT_AFTER {
                    tracing::warn!(inverter = &*station.inverter.name, %reason, "the inverter is silent; asking on, up to once a minute");
                    station.change(Reachability::Silent);
                }
            }
        }
    }
}

impl Station {
    /// A station for the inverter of this entry, which goes on from what is remembered under its name.
    pub async fn new(
        entry: Arc<InverterEntry>,
        events: broadcast::Sender<Event>,
        clock: WallClock,
        gate: &GateSettings,
        metering: &Metering,
    ) -> Self {
        let account = metering.keeper.recall(&entry.name).await;
        Self {
            inverter: entry.present().inverter,
            watch: Watch::new(account, gate.clone(), metering, entry.gate.clone()),
            entry,
            reachability: None,
            stamper: Stamper::new(clock),
            events,
            silent_since: None,
            address: watch::Sender::new(None),
        }
    }

    fn publish(&self, time: UnixMillis, values: Values) {
        let reading = Arc::new(Reading {
            time,
            inverter: self.inverter.clone(),
            values,
            counted: None,
        });
        self.entry.read(reading.clone());
        self.send(Event::Reading(reading));
    }

    fn online(&mut self) {
        let silent_for = self.silent_since.take().map(|since| since.elapsed());
        if self.reachability != Some(Reachability::Online) {
            if let (Some(gap), true) = (silent_for, self.reachability.is_some()) {
                tracing::info!(
                    inverter = &*self.inverter.name,
                    silent_seconds = gap.as_secs(),
                    "the inverter answers again"
                );
            } else {
                tracing::info!(inverter = &*self.inverter.name, "the inverter answers");
            }
            self.change(Reachability::Online);
        }
    }

    fn change(&mut self, reachability: Reachability) {
        self.reachability = Some(reachability);
        self.entry.change(self.inverter.clone(), reachability);
        self.send(Event::Status(Arc::new(InverterStatus {
            inverter: self.inverter.clone(),
            reachability,
        })));
    }

    fn identify(&mut self, info: &DeviceInfo) {
        if let Some(serial) = info.serial() {
            self.watch.identify(&self.inverter.name, serial);
        }
        let inverter = Inverter {
            name: self.inverter.name.clone(),
            serial: info
                .serial()
                .map(Arc::from)
                .or_else(|| self.inverter.serial.clone()),
            model: info
                .model()
                .map(Arc::from)
                .or_else(|| self.inverter.model.clone()),
        };
        if inverter == *self.inverter {
            return;
        }
        let [before, now] = [&self.inverter.serial, &inverter.serial]
            .map(|serial| serial.as_deref().unwrap_or("?"));
        if self.inverter.serial.is_some() && before != now {
            tracing::warn!(
                inverter = &*inverter.name,
                before,
                now,
                "another inverter answers under this name; give it a name of its own if both histories matter"
            );
        } else {
            tracing::info!(
                inverter = &*inverter.name,
                serial = now,
                model = inverter.model.as_deref().unwrap_or("?"),
                "identified"
            );
        }
        self.inverter = Arc::new(inverter);
        self.change(Reachability::Online);
    }

    fn send(&self, event: Event) {
        // Without a receiver every sink has ended, and the collector is about to.
        let _ = self.events.send(event);
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let lost = self.stamper.unstamped();
        if lost > 0 {
            tracing::error!(
                inverter = &*self.inverter.name,
                lost,
                "the clock was never set; readings without a time are lost"
            );
        }
    }
}

/// What stands between a poll and those who hear of it: the gate, the meter, and the memory of both.
struct Watch {
    /// Where the time that only runs forwards begins.
    began: Instant,
    settings: (GateSettings, MeterSettings),
    gate: Gate,
    meter: Meter,
    account: Account,
    keeper: Keeper,
    counts: Arc<GateCounts>,
    /// What was said of the gate's doings; each thing is said once.
    said: Vec<(Rule, Option<Quantity>)>,
}

impl Watch {
    fn new(
        account: Account,
        gate: GateSettings,
        metering: &Metering,
        counts: Arc<GateCounts>,
    ) -> Self {
        let meter = metering.settings.clone();
        Self {
            began: Instant::now(),
            gate: Gate::new(&gate, account.current.baseline.clone()),
            meter: Meter::new(meter.clone(), account.current.meter.clone()),
            settings: (gate, meter),
            account,
            keeper: metering.keeper.clone(),
            counts,
            said: Vec::new(),
        }
    }

    /// The values of a reply as they may be told, with what the meter makes of them; `None` if it is refused.
    async fn admit(
        &mut self,
        name: &Arc<str>,
        time: UnixMillis,
        reply: Reply<Values>,
    ) -> Option<Values> {
        let at = reply.at.saturating_duration_since(self.began);
        let mut values = reply.content;
        let judgement = self.gate.judge(at, time, &mut values);
        self.counts.count(&judgement);
        self.say(name, &judgement);
        let refused = judgement.refused.then(|| Refused {
            time: time.to_string(),
            inverter: name.to_string(),
            reason: judgement.reason(),
            datagram: Hex(&reply.datagram).to_string(),
        });
        if refused.is_none() {
            self.meter.count(at, time, &values);
            self.meter.counters().show(&mut values);
        }
        self.account.current.meter.clone_from(self.meter.counters());
        self.account
            .current
            .baseline
            .clone_from(self.gate.baseline());
        let admitted = refused.is_none().then_some(values);
        self.keeper.remember(name, &self.account, refused).await;
        admitted
    }

    /// The inverter has told its serial number. Another one than before has counters of its own.
    fn identify(&mut self, name: &str, serial: &str) {
        if self.account.identify(serial) {
            tracing::warn!(
                inverter = name,
                serial,
                "this is another inverter than before; it has energy counters of its own, and those of the other are kept"
            );
            let (gate, meter) = &self.settings;
            let current = &self.account.current;
            self.gate = Gate::new(gate, current.baseline.clone());
            self.meter = Meter::new(meter.clone(), current.meter.clone());
        }
    }

    /// Says what the gate has found, each thing once: what a machine does now and then, it does for years.
    fn say(&mut self, inverter: &str, judgement: &Judgement) {
        for known in &judgement.convinced {
            tracing::warn!(
                inverter,
                rule = %known.rule,
                "{}; a dozen readings agree, so it is believed from now on",
                known.reason
            );
            self.said
                .retain(|said| *said != (known.rule, Some(known.quantity)));
        }
        if judgement.refused {
            if self.is_new(Rule::Nonsense, None) {
                tracing::warn!(
                    inverter,
                    reason = judgement.reason(),
                    "a reading is refused, as are more like it; `kstar explain --quarantine` shows them"
                );
            }
            return;
        }
        for fault in &judgement.faults {
            if self.is_new(fault.rule, Some(fault.quantity)) {
                tracing::info!(
                    inverter,
                    rule = %fault.rule,
                    "{}; it is made absent, as it is when this comes again",
                    fault.reason
                );
            }
        }
        if let Some(watts) = judgement.unbalanced {
            tracing::debug!(inverter, watts, "the power balance does not close");
        }
    }

    fn is_new(&mut self, rule: Rule, quantity: Option<Quantity>) -> bool {
        let new = !self.said.contains(&(rule, quantity));
        if new {
            self.said.push((rule, quantity));
        }
        new
    }
}
