//! The meter: adds up power to energy, where the inverter has no counter of its own (PROTOCOL 6.5).
//!
//! It is arithmetic alone: no files, and no clock. How long something lasted comes from a clock that only runs
//! forwards; the wall clock merely names the day. So whatever happens to the wall clock, energy is neither lost nor
//! counted twice. The inverter's clock is never asked: it may be hours off.
//!
//! A gap that is too long is not filled: an inverter of 83 bytes counts only its own AC energy and that of the load,
//! and neither is PV, grid or battery energy. Such a gap is time that is not metered, and that is counted too.

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

use counters::{Counters, Day, Energies, Source};
use energy::{Sample, between, on_the_way};

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
    samples: [Option<Sample>; Source::ALL.len()],
}

impl Meter {
    /// Goes on from these counters. What happened since they were noted is not known.
    pub fn new(settings: MeterSettings, counters: Counters) -> Self {
        Self {
            settings,
            counters,
            last: None,
            dated: None,
            undated: None,
            samples: [None; Source::ALL.len()],
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
        let midnight = if let Some(time) = time {
            self.follow_clock(at, time);
            let midnight = self.turn_day(at, time);
            (self.dated, self.undated) = (Some((at, time)), None);
            midnight
        } else {
            if self.last.is_none() {
                self.undated = Some((at, before));
            }
            None
        };
        // The totals as they were at midnight, if that is what parts what is counted now.
        let mut parted = before;
        for (source, last) in Source::ALL.into_iter().zip(&mut self.samples) {
            let Some(power) = source.power(values, &mut self.counters.house) else {
                continue;
            };
            let sample = Sample { at, power };
            let coverage = self.counters.coverage.of_mut(source);
            let gap = match *last {
                Some(last) => at.saturating_sub(last.at),
                // Across a restart only the wall clock knows, which is good enough for what is not counted.
                None => between_ms(coverage.last_ms, time),
            };
            match *last {
                Some(last) if gap <= self.settings.max_gap => {
                    add(
                        &mut self.counters,
                        &mut parted,
                        source,
                        last,
                        sample,
                        midnight,
                    );
                }
                _ => {
                    let gap = millis(gap).unsigned_abs();
                    coverage.unmetered_ms = coverage.unmetered_ms.saturating_add(gap);
                }
            }
            let coverage = self.counters.coverage.of_mut(source);
            match time {
                Some(time) => coverage.last_ms = Some(time.0),
                None => coverage.is_known = true,
            }
            *last = Some(sample);
        }
        let is_parted = self.last.is_some_and(|last| midnight > Some(last)) || parted != before;
        self.last = Some(at);
        Metered {
            covers,
            amounts: self.counters.growth(&parted, &self.counters.totals),
            earlier: midnight.filter(|_| is_parted).map(|midnight| Earlier {
                ago: at.saturating_sub(midnight),
                amounts: self.counters.growth(&before, &parted),
            }),
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

    /// Begins a new day if this is one, and tells when its midnight was by the clock that only runs forwards, if that
    /// is not before its beginning.
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
        at.checked_sub(since_midnight)
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
    let mut count = |flow, before: Option<energy::Energy>, after| {
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
    };
    count(forth, before.map(|moved| moved.forth), after.forth);
    if let Some(back) = back {
        count(back, before.map(|moved| moved.back), after.back);
    }
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
