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
use kstar_sink::TimeZone;
use kstar_sink::catalogue::{Quantity, Values};
use kstar_sink::reading::UnixMillis;

use counters::{Counters, Day, Source};
use energy::{Sample, between, on_the_way};

/// Gaps up to this long are filled unless something else is set: a dozen polls at the usual interval.
pub const MAX_GAP: Duration = Duration::from_secs(60);

/// How a meter counts.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterSettings {
    /// The zone whose midnights part the days.
    pub zone: TimeZone,
    /// The longest gap between two readings that is filled.
    pub max_gap: Duration,
}

/// The meter of one inverter.
#[derive(Clone, Debug)]
pub struct Meter {
    settings: MeterSettings,
    counters: Counters,
    /// When the last reading came, by both clocks.
    last: Option<(Duration, UnixMillis)>,
    samples: [Option<Sample>; Source::ALL.len()],
}

impl Meter {
    /// Goes on from these counters. What happened since they were noted is not known.
    pub fn new(settings: MeterSettings, counters: Counters) -> Self {
        Self {
            settings,
            counters,
            last: None,
            samples: [None; Source::ALL.len()],
        }
    }

    /// The counters as they are.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts up to a reading: `at` is the time of a clock that only runs forwards, `time` the wall clock's.
    pub fn count(&mut self, at: Duration, time: UnixMillis, values: &Values) {
        self.follow_clock(at, time);
        let midnight = self.turn_day(at, time);
        for (source, last) in Source::ALL.into_iter().zip(&mut self.samples) {
            let Some(power) = hundredths(values, source.power()) else {
                continue;
            };
            let sample = Sample { at, power };
            let coverage = self.counters.coverage.of_mut(source);
            let gap = match *last {
                Some(last) => at.saturating_sub(last.at),
                // Across a restart only the wall clock knows, which is good enough for what is not counted.
                None => coverage.last_ms.map_or(Duration::ZERO, |last| {
                    Duration::from_millis(u64::try_from(time.0.saturating_sub(last)).unwrap_or(0))
                }),
            };
            match *last {
                Some(last) if gap <= self.settings.max_gap => {
                    add(&mut self.counters, source, last, sample, midnight);
                }
                _ => {
                    let millis = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                    coverage.unmetered_ms = coverage.unmetered_ms.saturating_add(millis);
                }
            }
            self.counters.coverage.of_mut(source).last_ms = Some(time.0);
            *last = Some(sample);
        }
        self.last = Some((at, time));
    }

    /// Moves along with a wall clock that was set, so that the days keep their beginnings.
    fn follow_clock(&mut self, at: Duration, time: UnixMillis) {
        let Some((last_at, last_time)) = self.last else {
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
                Some((last_at, _)) => time.0.saturating_sub(millis(at.saturating_sub(last_at))),
                None => Source::ALL
                    .into_iter()
                    .filter_map(|source| counters.coverage.of(source).last_ms)
                    .max()
                    .unwrap_or(time.0)
                    .min(time.0),
            };
            let fresh = Day {
                date,
                since_ms: midnight_ms.max(since_last_ms),
                totals: counters.totals,
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

/// Adds what was moved from one sample to the next; what was moved before midnight belongs to the day before.
fn add(
    counters: &mut Counters,
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

/// A power in hundredths of a watt, whatever its resolution.
fn hundredths(values: &Values, power: Quantity) -> Option<i64> {
    let raw = values.raw(power)?;
    match power.description().decimals {
        0 => raw.checked_mul(100),
        1 => raw.checked_mul(10),
        _ => Some(raw),
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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
