//! One inverter's way from a poll to an event: stamped, judged by the gate, metered, remembered, told.
//!
//! The order is the promise: energy counters are remembered before anybody hears of them.

pub mod gate;
mod identity;
pub mod ledger;
pub mod meter;
mod silent_start;
pub mod stamp;
pub mod untold;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::{Counted, hundredths};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_model::time::{ClockSet, Uptime};
use kstar_sink::event::{Event, Reachability};
use kstar_source::datagram::Hex;
use kstar_source::error::NoAnswer;
use kstar_source::lock;
use kstar_source::poller::{Outcome, Poller, SILENT_AFTER};
use kstar_source::source::{Identity, Sample};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::board::{InverterEntry, Present};
use crate::night;
use crate::pipeline::gate::notices::{Notice, Notices};
use crate::pipeline::gate::{Fault, Gate, GateCounts, GateSettings, Judgement};
use crate::pipeline::identity::Told;
use crate::pipeline::ledger::Account;
use crate::pipeline::ledger::keeper::{Keeper, Remembered};
use crate::pipeline::ledger::quarantine::Refused;
use crate::pipeline::meter::{Meter, MeterSettings, Metered};
use crate::pipeline::stamp::{Stamper, WallClock};
use crate::unit::Metering;
use untold::Untold;

/// How often it is told that the clock is set.
const TELL_CLOCK_EVERY: Duration = Duration::from_secs(60);

/// What turns one inverter's polls into events.
pub struct Station {
    /// Where everybody may see how it is.
    entry: Arc<InverterEntry>,
    inverter: Arc<Inverter>,
    told: Told,
    reachability: Option<Reachability>,
    stamper: Stamper,
    clock_on_the_wall: WallClock,
    /// When it was said last that the clock is set, or that it is not.
    clock: Option<Clock>,
    watch: Watch,
    events: broadcast::Sender<Event>,
    /// Since when there was no answer.
    silent_since: Option<Instant>,
    /// Where it answers: its lock follows.
    address: watch::Sender<Option<SocketAddr>>,
}

/// What was said of the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Clock {
    Unset,
    Set(Uptime),
}

/// Polls until `stop` is ready; what has come by then is told. Meanwhile other commands are kept from polling the same
/// inverter.
pub async fn collect(poller: Poller, station: Station, stop: impl Future<Output = ()>) {
    let lock = lock::keep(station.inverter.name.clone(), station.address.subscribe());
    let entry = station.entry.clone();
    // With the station the last address is gone, and the lock is given back.
    let collecting = async { tokio::join!(poll(poller, station, stop), lock) };
    tokio::select! {
        biased;
        _ = collecting => {}
        () = silent_start::tell(&entry) => {}
    }
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
            Outcome::Sample(sample) => {
                let (uptime, time) = (
                    Uptime::of(sample.at.into_std()),
                    station.stamper.stamp(sample.at),
                );
                let name = &station.inverter.name;
                if let Some((values, counted)) = station.watch.admit(name, time, sample).await {
                    station.publish(uptime, time, values, counted);
                }
                station.online();
                let address = poller.line().map(|line| line.address);
                station.address.send_if_modified(|known| {
                    let moved = *known != address;
                    *known = address;
                    moved
                });
            }
            Outcome::Identity(identity) => {
                if !station.identify(&identity) {
                    poller.identify_again();
                }
            }
            Outcome::Silent { polls, reason } => station.silent(polls, &reason),
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
            told: Told::default(),
            reachability: None,
            stamper: Stamper::new(clock),
            clock_on_the_wall: clock,
            clock: None,
            events,
            silent_since: None,
            address: watch::Sender::new(None),
        }
    }

    fn publish(
        &mut self,
        uptime: Uptime,
        time: Option<UnixMillis>,
        values: Values,
        counted: Option<Counted>,
    ) {
        let undated = Reading {
            time: uptime,
            inverter: self.inverter.clone(),
            values,
            counted,
        };
        self.entry.read(Arc::new(undated.at(time)));
        let Some(time) = time else {
            if self.clock.replace(Clock::Unset) != Some(Clock::Unset) {
                tracing::warn!(
                    inverter = &*self.inverter.name,
                    "the clock is not set; readings go out without a time where none is needed, and wait elsewhere until it is"
                );
            }
            self.send(Event::Undated(Arc::new(undated)));
            return;
        };
        self.tell_clock(ClockSet { uptime, time });
        self.send(Event::Reading(Arc::new(undated.at(time))));
    }

    /// Tells that the clock is set, now and then, since sinks may have been opened meanwhile.
    fn tell_clock(&mut self, clock: ClockSet) {
        match self.clock {
            Some(Clock::Set(Uptime(told))) if clock.uptime.0 < told + TELL_CLOCK_EVERY => return,
            Some(Clock::Unset) => {
                tracing::info!(inverter = &*self.inverter.name, "the clock is set");
            }
            Some(Clock::Set(_)) | None => {}
        }
        self.clock = Some(Clock::Set(clock.uptime));
        self.send(Event::Clock(clock));
    }

    /// There was no answer, as to so many polls before.
    fn silent(&mut self, polls: u32, reason: &NoAnswer) {
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        let name = &*self.inverter.name;
        self.entry.polled(Some(reason.to_string().into()));
        let asleep = self.sleeps(since.elapsed());
        if polls == 1 {
            tracing::debug!(inverter = name, %reason, "no answer to a poll");
        } else if polls == SILENT_AFTER
            || (polls > SILENT_AFTER && self.entry.present().asleep != asleep)
        {
            if asleep {
                tracing::info!(
                    inverter = name,
                    "the inverter is asleep until it answers again"
                );
            } else {
                tracing::warn!(inverter = name, %reason, "the inverter is silent; asking on, up to once a minute");
            }
            self.change(Reachability::Silent, asleep);
        }
    }

    /// Whether a silence of this length is that of a night, where the inverter sleeps then.
    fn sleeps(&self, silent_for: Duration) -> bool {
        let profile = &self.watch.settings.0.profile;
        let Present { night, newest, .. } = self.entry.present();
        // Its panels gave next to nothing when it answered last.
        let was_dark = newest.is_some_and(|(_, reading)| {
            // A hundredth of its power in watts is that power in hundredths.
            hundredths(Quantity::pv_power, &reading.values)
                .is_none_or(|power| power < i64::from(profile.max_power))
        });
        let now = self.clock_on_the_wall.now();
        profile.sleeps_at_night && night::explains(night, now, was_dark, silent_for)
    }

    fn online(&mut self) {
        let silent_for = self.silent_since.take().map(|since| since.elapsed());
        self.entry.polled(None);
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
            self.change(Reachability::Online, false);
        }
    }

    fn change(&mut self, reachability: Reachability, asleep: bool) {
        self.reachability = Some(reachability);
        self.entry.change(self.inverter.clone(), reachability);
        self.entry.sleep(asleep);
        if let Some(status) = self.entry.status() {
            self.send(Event::Status(status));
        }
    }

    /// Takes note of who answers, and says whether that is settled. One that is known is told from another only by what
    /// several exchanges agree on; until then readings go on as before.
    fn identify(&mut self, identity: &Identity) -> bool {
        let told = Inverter {
            name: self.inverter.name.clone(),
            serial: identity
                .serial
                .as_deref()
                .map(Arc::from)
                .or_else(|| self.inverter.serial.clone()),
            model: identity
                .model
                .as_deref()
                .map(Arc::from)
                .or_else(|| self.inverter.model.clone()),
        };
        self.told.hear(&told);
        let known = self.watch.serial();
        let is_known = known == told.serial.as_deref()
            && (self.inverter.model.is_none() || self.inverter.model == told.model);
        let settled = is_known || self.told.is_sure();
        // Where none is known yet the first serial number is shown at once. It cannot take anything from another
        // inverter, and the counters are put under it only when it is settled.
        let is_first = known.is_none() && self.inverter.serial.is_none();
        if !settled && !is_first {
            if self.told.is_new() {
                tracing::info!(
                    inverter = &*told.name,
                    known = self.inverter.serial.as_deref().or(known).unwrap_or("?"),
                    told = told.serial.as_deref().unwrap_or("?"),
                    "the inverter tells another serial number or model than before; it counts once three replies agree"
                );
            }
            return false;
        }
        if let (true, Some(serial)) = (settled, &told.serial) {
            self.watch.identify(&told.name, serial);
        }
        let firmware = identity.firmware.as_deref();
        let mut is_news = firmware.is_some_and(|firmware| self.entry.learn_firmware(firmware));
        if told != *self.inverter {
            tracing::info!(
                inverter = &*told.name,
                serial = told.serial.as_deref().unwrap_or("?"),
                model = told.model.as_deref().unwrap_or("?"),
                firmware = firmware.unwrap_or("?"),
                "identified"
            );
            self.inverter = Arc::new(told);
            is_news = true;
        }
        if is_news {
            self.change(Reachability::Online, false);
        }
        settled
    }

    fn send(&self, event: Event) {
        // Without a receiver every sink has ended, and the collector is about to.
        let _ = self.events.send(event);
    }
}

/// What stands between a poll and those who hear of it: the gate, the meter, and the memory of both.
struct Watch {
    settings: (GateSettings, MeterSettings),
    gate: Gate,
    meter: Meter,
    account: Account,
    keeper: Keeper,
    untold: Untold,
    counts: Arc<GateCounts>,
    notices: Notices,
}

impl Watch {
    fn new(
        mut account: Account,
        gate: GateSettings,
        metering: &Metering,
        counts: Arc<GateCounts>,
    ) -> Self {
        let meter = metering.settings.clone();
        account.complete();
        Self {
            gate: Gate::new(&gate, account.current.baseline.clone()),
            meter: Meter::new(meter.clone(), account.current.meter.clone()).bridging(gate.profile),
            settings: (gate, meter),
            account,
            keeper: metering.keeper.clone(),
            untold: metering.untold.clone(),
            counts,
            notices: Notices::default(),
        }
    }

    /// The values of a reply as they may be told, with what the meter makes of them and what was counted; `None` if it is
    /// refused.
    async fn admit(
        &mut self,
        name: &Arc<str>,
        time: Option<UnixMillis>,
        sample: Sample,
    ) -> Option<(Values, Option<Counted>)> {
        let Uptime(at) = Uptime::of(sample.at.into_std());
        let mut values = sample.values;
        let judgement = self.gate.judge(at, time, &mut values);
        self.counts.count(&judgement);
        self.say(name, at, &judgement);
        let refused = judgement.refused.then(|| Refused {
            time: time.map_or_else(|| "clock not set".to_owned(), |time| time.to_string()),
            inverter: name.to_string(),
            reason: judgement.reason(),
            datagram: hex(&sample.raw),
        });
        let believed = refused.is_none();
        if believed {
            let counted = self.count(at, time, &values);
            self.untold.add(name, at, counted);
        }
        let remembered = self.keeper.remember(name, &self.account, refused).await;
        if !believed {
            return None;
        }
        // Not before: a total that was published and is not remembered would fall after a restart, and what was counted
        // would be counted again.
        let counted = match remembered {
            Remembered::Yes => {
                self.meter.counters().show(time.is_some(), &mut values);
                self.untold.take(name)
            }
            Remembered::NotYet => None,
        };
        Some((values, counted))
    }

    /// Counts up to a reading, and puts it down in the account.
    fn count(&mut self, at: Duration, time: Option<UnixMillis>, values: &Values) -> Counted {
        let Metered {
            covers,
            mut amounts,
            earlier,
        } = self.meter.count(at, time, values);
        let account = &mut self.account;
        amounts.add(&self.gate.growth(&account.current.baseline));
        account.current.meter.clone_from(self.meter.counters());
        account.current.baseline.clone_from(self.gate.baseline());
        account.sequence += 1;
        Counted {
            account: account.id,
            sequence: account.sequence,
            covers,
            amounts,
            earlier,
        }
    }

    /// The serial number under which it is counted, also from before a restart.
    fn serial(&self) -> Option<&str> {
        self.account.current.serial.as_deref()
    }

    /// The inverter has told its serial number. Another one than before has counters of its own.
    fn identify(&mut self, name: &str, serial: &str) {
        if self.account.identify(serial) {
            tracing::warn!(
                inverter = name,
                serial,
                "another inverter answers under this name; it has energy counters of its own, and those of the other are kept. \
                 Give it a name of its own if both histories matter"
            );
            let (gate, meter) = &self.settings;
            let current = &mut self.account.current;
            current.meter.forget_own();
            self.gate = Gate::new(gate, current.baseline.clone());
            self.meter = Meter::new(meter.clone(), current.meter.clone()).bridging(gate.profile);
        }
    }

    /// Logs what the gate has found.
    fn say(&mut self, inverter: &str, at: Duration, judgement: &Judgement) {
        for known in &judgement.convinced {
            tracing::warn!(
                inverter,
                rule = %known.rule,
                "{}; a dozen readings agree, so it is believed from now on",
                known.reason
            );
        }
        for notice in self.notices.of(at, judgement) {
            match notice {
                Notice::Dropped(fault) => tracing::info!(
                    inverter,
                    rule = %fault.rule,
                    "{}; the value is dropped, as it is when this comes again",
                    fault.reason
                ),
                Notice::StillDropped(fault) => tracing::warn!(
                    inverter,
                    rule = %fault.rule,
                    "{}; the value has been missing for a day. If it is right, {}",
                    fault.reason,
                    remedy(fault)
                ),
                Notice::Rejected => tracing::warn!(
                    inverter,
                    reason = judgement.reason(),
                    "a reading is rejected, as are more like it; `kstar explain --quarantine` shows them"
                ),
                Notice::StillRejected => tracing::warn!(
                    inverter,
                    reason = judgement.reason(),
                    "every reading has been rejected for a day; `kstar explain --quarantine` shows them, for a bug report"
                ),
            }
        }
        if let Some(watts) = judgement.unbalanced {
            tracing::debug!(inverter, watts, "the power balance does not close");
        }
    }
}

/// The bytes of a sample, a word for each block.
fn hex(raw: &[(&'static str, Box<[u8]>)]) -> String {
    let blocks: Vec<String> = raw
        .iter()
        .map(|(_, bytes)| Hex(bytes).to_string())
        .collect();
    blocks.join(" ")
}

/// The key that lets a value through.
fn remedy(fault: &Fault) -> String {
    if fault.max_power {
        "raise `max_power` of this inverter".to_owned()
    } else {
        format!("`[gate] off = [\"{}\"]` lets it through", fault.rule)
    }
}

#[cfg(test)]
mod tests;
