//! The meter: adds up power to energy, where the inverter has no counter of its own (PROTOCOL 6.5).
//!
//! It is arithmetic alone: no files, and no clock. How long something lasted comes from a clock that only runs
//! forwards; the wall clock merely names the day. So whatever happens to the wall clock, energy is neither lost nor
//! counted twice. The inverter's clock is never asked: it may be hours off.
//!
//! A gap that is too long is bridged by the inverter's own counter of the same flow, where it has one. Else it is not
//! filled: an inverter of 83 bytes counts only its own AC energy and that of the load, and neither is PV, grid or battery
//! energy. Such a gap is time that is not metered, and that is counted too.

mod bridge;
pub mod counters;
pub mod energy;

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use kstar_model::TimeZone;
use kstar_model::catalogue::Values;
use kstar_model::counted::{Amounts, Earlier};
use kstar_model::time::UnixMillis;
use kstar_model::time::millis;
use kstar_source::source::Profile;

use bridge::{Own, Told, follow};
use counters::{Counters, Day, Energies, Flow, Source};
use energy::{Energy, Sample, between, on_the_way};

/// How a meter counts.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterSettings {
    /// The zone whose midnights part the days.
    pub zone: TimeZone,
    /// The longest gap between two readings that is filled.
    pub max_gap: Duration,
}

/// What a meter has counted up to a reading, in published steps: the totals have grown by just that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metered {
    /// How long that took. Across a restart only the wall clock knows.
    pub covers: Duration,
    /// Since midnight, if there was one since the reading before; else all of it.
    pub amounts: Amounts,
    /// Before that midnight.
    pub earlier: Option<Earlier>,
}

#[derive(Clone, Debug)]
pub struct Meter {
    settings: MeterSettings,
    counters: Counters,
    /// When the last reading came.
    last: Option<Duration>,
    /// When the last one came that has a time, by both clocks.
    dated: Option<(Duration, UnixMillis)>,
    /// When the first reading came, and what the totals were then, if no clock was set yet.
    undated: Option<(Duration, Energies)>,
    powers: [Power; Source::ALL.len()],
    /// What the machine can be, if its own counters bridge gaps.
    profile: Option<Profile>,
}

/// What is known of a power.
#[derive(Clone, Copy, Debug, Default)]
struct Power {
    last: Option<Sample>,
    /// When it was known last before the meter began, by the wall clock, until that tells how long ago it was.
    adrift: Option<i64>,
}

/// When a reading came.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Duration,
    time: Option<UnixMillis>,
    /// How long ago the day began.
    since_midnight: Option<Duration>,
}

impl Moment {
    /// When the day began, if this machine ran then.
    fn midnight(self) -> Option<Duration> {
        self.at.checked_sub(self.since_midnight?)
    }
}

impl Meter {
    /// Goes on from these counters. What happened since they were noted is not known.
    pub fn new(settings: MeterSettings, counters: Counters) -> Self {
        let power = |source| Power {
            last: None,
            adrift: counters.coverage.of(source).last_ms,
        };
        Self {
            settings,
            powers: Source::ALL.map(power),
            counters,
            last: None,
            dated: None,
            undated: None,
            profile: None,
        }
    }

    /// Bridges gaps by the own counters of such a machine.
    #[must_use]
    pub fn bridging(self, profile: Profile) -> Self {
        Self {
            profile: Some(profile),
            ..self
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts up to a reading, and tells what: `at` is the time of a clock that only runs forwards, `time` the wall
    /// clock's, if that is set. Without it the totals go on, and days neither begin nor end.
    pub fn count(&mut self, at: Duration, time: Option<UnixMillis>, values: &Values) -> Metered {
        let covers = self.since_last(at, time);
        let before = self.counters.totals;
        let since_midnight = if let Some(time) = time {
            self.follow_clock(at, time);
            let since_midnight = self.turn_day(at, time);
            (self.dated, self.undated) = (Some((at, time)), None);
            since_midnight
        } else {
            if self.last.is_none() {
                self.undated = Some((at, before));
            }
            None
        };
        let moment = Moment {
            at,
            time,
            since_midnight,
        };
        // The totals as they were at midnight, if that is what parts what is counted now.
        let mut parted = before;
        let mut powers = self.powers;
        for (source, power) in Source::ALL.into_iter().zip(&mut powers) {
            self.count_power(source, power, moment, values, &mut parted);
        }
        self.powers = powers;
        let midnight = moment.midnight();
        let is_parted = self.last.is_some_and(|last| midnight > Some(last)) || parted != before;
        self.last = Some(at);
        Metered {
            covers,
            amounts: self.counters.growth(&parted, &self.counters.totals),
            earlier: since_midnight.filter(|_| is_parted).map(|ago| Earlier {
                ago,
                amounts: self.counters.growth(&before, &parted),
            }),
        }
    }

    /// Counts what one power has moved, if a reading tells it.
    fn count_power(
        &mut self,
        source: Source,
        power: &mut Power,
        moment: Moment,
        values: &Values,
        parted: &mut Energies,
    ) {
        let Some(now) = source.power(values, &mut self.counters.house) else {
            return;
        };
        let Moment { at, time, .. } = moment;
        let sample = Sample { at, power: now };
        let before = self.counters.totals;
        let coverage = self.counters.coverage.of_mut(source);
        let gap = match power.last {
            Some(last) => at.saturating_sub(last.at),
            // Across a restart only the wall clock knows.
            None => between_ms(coverage.last_ms, time),
        };
        let mut missed = None;
        match power.last {
            Some(last) if gap <= self.settings.max_gap => {
                let midnight = moment.midnight();
                add(&mut self.counters, parted, source, last, sample, midnight);
            }
            _ => {
                coverage.miss(gap);
                missed = Some(gap);
            }
        }
        if let Some(since) = power.adrift.take_if(|_| time.is_some()) {
            missed = Some(between_ms(Some(since), time));
        }
        // While nobody knows how long the meter did not run, nobody knows what may have flowed.
        let shown = Some(values).filter(|_| power.adrift.is_none());
        self.bridge(source, shown, &before, missed, moment, parted);
        let coverage = self.counters.coverage.of_mut(source);
        match time {
            Some(time) => coverage.last_ms = Some(time.0),
            None => coverage.is_known = true,
        }
        power.last = Some(sample);
    }

    /// Adds what the inverter's own counters tell of what was missed, and follows them if nothing was: `before` are the
    /// totals before this reading was metered. What was missed before midnight belongs to the day before.
    fn bridge(
        &mut self,
        source: Source,
        values: Option<&Values>,
        before: &Energies,
        missed: Option<Duration>,
        moment: Moment,
        parted: &mut Energies,
    ) {
        let (forth, back) = source.flows();
        let mut is_waiting = false;
        let mut is_told = true;
        for flow in [Some(forth), back].into_iter().flatten() {
            let Some(own) = self.profile.and_then(|profile| Own::of(flow, &profile)) else {
                is_told = false;
                continue;
            };
            let metered = self.counters.totals.of(flow).minus(before.of(flow));
            let shown = values.and_then(|values| own.shown(values));
            let most = missed.map(|missed| own.most(missed));
            let told = follow(self.counters.own.of_mut(flow), own, shown, metered, most);
            is_waiting |= told == Told::Later;
            is_told &= matches!(told, Told::All(_));
            let bridged = told.energy();
            if bridged > Energy(0) {
                let early = missed
                    .zip(moment.since_midnight)
                    .and_then(|(missed, since)| {
                        let early = missed.checked_sub(since).filter(|early| !early.is_zero())?;
                        Some(bridged.share(early, missed))
                    });
                let late = bridged.minus(early.unwrap_or_default());
                credit(&mut self.counters, parted, flow, early, late);
                let sum = self.counters.bridged.of_mut(flow);
                *sum = sum.plus(bridged);
            }
        }
        if !is_waiting {
            self.counters.coverage.of_mut(source).settle(is_told);
        }
    }

    /// How long ago the reading before was. A wall clock that says it is still to come knows nothing.
    fn since_last(&self, at: Duration, time: Option<UnixMillis>) -> Duration {
        match self.last {
            Some(last) => at.saturating_sub(last),
            None => between_ms(self.counters.last_ms(), time),
        }
    }

    /// Moves along with a wall clock that was set, so that the days keep their beginnings.
    fn follow_clock(&mut self, at: Duration, time: UnixMillis) {
        let Some((last_at, last_time)) = self.dated else {
            return;
        };
        let passed = millis(at.saturating_sub(last_at));
        let moved = time.0.saturating_sub(last_time.0).saturating_sub(passed);
        let counters = &mut self.counters;
        for day in [&mut counters.day, &mut counters.day_before]
            .into_iter()
            .flatten()
        {
            day.since_ms = day.since_ms.saturating_add(moved);
        }
    }

    /// Begins a new day if this is one, and tells how long ago its midnight was.
    fn turn_day(&mut self, at: Duration, time: UnixMillis) -> Option<Duration> {
        let (date, midnight_ms) = day_of(time, &self.settings.zone)?;
        let since_midnight =
            Duration::from_millis(u64::try_from(time.0.saturating_sub(midnight_ms)).unwrap_or(0));
        let counters = &mut self.counters;
        if counters.day.as_ref().map(|day| day.date) != Some(date) {
            // Nothing was counted since the last reading: any moment since then will do for these totals.
            let since_last_ms = match self.last {
                Some(last_at) => time.0.saturating_sub(millis(at.saturating_sub(last_at))),
                None => counters.last_ms().unwrap_or(time.0).min(time.0),
            };
            let fresh = match self.undated {
                // All that was counted without a clock is of this day.
                Some((began, totals)) if at.saturating_sub(began) <= since_midnight => Day {
                    date,
                    since_ms: time.0.saturating_sub(millis(at.saturating_sub(began))),
                    totals,
                },
                _ => Day {
                    date,
                    since_ms: midnight_ms.max(since_last_ms),
                    totals: counters.totals,
                },
            };
            let distance = |day: &Day| day.since_ms.abs_diff(midnight_ms);
            let (day, before) = (counters.day.take(), counters.day_before.take());
            // After midnight a new day begins. After the clock was set, the day goes on whose beginning is nearest to
            // what is midnight now.
            let nearest = [&day, &before]
                .into_iter()
                .flatten()
                .min_by_key(|day| distance(day))
                .filter(|nearest| distance(nearest) < distance(&fresh))
                .map(|nearest| Day {
                    date,
                    ..nearest.clone()
                });
            if let Some(nearest) = nearest {
                counters.day_before = before.filter(|before| before.since_ms < nearest.since_ms);
                counters.day = Some(nearest);
            } else {
                counters.day = Some(fresh);
                counters.day_before = day;
            }
        }
        Some(since_midnight)
    }
}

/// Adds what was moved from one sample to the next; what was moved before midnight belongs to the day before, and is in
/// `parted` as well.
fn add(
    counters: &mut Counters,
    parted: &mut Energies,
    source: Source,
    from: Sample,
    to: Sample,
    midnight: Option<Duration>,
) {
    let (forth, back) = source.flows();
    let split = midnight
        .filter(|midnight| (from.at..=to.at).contains(midnight))
        .map(|midnight| on_the_way(from, to, midnight));
    let before = split.map(|split| between(from, split));
    let after = between(split.unwrap_or(from), to);
    credit(
        counters,
        parted,
        forth,
        before.map(|moved| moved.forth),
        after.forth,
    );
    if let Some(back) = back {
        credit(
            counters,
            parted,
            back,
            before.map(|moved| moved.back),
            after.back,
        );
    }
}

/// Adds energy to a total; what was moved before midnight belongs to the day before, and is in `parted` as well.
fn credit(
    counters: &mut Counters,
    parted: &mut Energies,
    flow: Flow,
    before: Option<Energy>,
    after: Energy,
) {
    if let Some(before) = before {
        let total = counters.totals.of_mut(flow);
        *total = total.plus(before);
        *parted.of_mut(flow) = *total;
        if let Some(day) = &mut counters.day {
            let since = day.totals.of_mut(flow);
            *since = since.plus(before);
        }
    }
    let total = counters.totals.of_mut(flow);
    *total = total.plus(after);
}

/// The day that a moment belongs to, and when it began.
fn day_of(time: UnixMillis, zone: &TimeZone) -> Option<(Date, i64)> {
    let moment = Timestamp::from_millisecond(time.0)
        .ok()?
        .to_zoned(zone.clone());
    let midnight = moment.start_of_day().ok()?;
    Some((moment.date(), midnight.timestamp().as_millisecond()))
}

/// The time between two moments of the wall clock. One that is not set, or was set back, knows nothing.
fn between_ms(before: Option<i64>, now: Option<UnixMillis>) -> Duration {
    before.zip(now).map_or(Duration::ZERO, |(before, now)| {
        Duration::from_millis(u64::try_from(now.0.saturating_sub(before)).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests;
