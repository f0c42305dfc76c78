//! The wall clock, and what to do while it is not set.
//!
//! A Raspberry Pi has no battery for its clock: after a power cut it starts years in the past and jumps when the
//! network answers. Readings of before have no time; those who store them date them by their age once the clock is right.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::SystemTime;

use kstar_model::time::UnixMillis;
use kstar_model::time::millis;
use tokio::time::Instant;

/// No clock that is set shows a time before this version was made: 2026-11-01T00:00:00Z.
const EARLIEST: UnixMillis = UnixMillis(1_793_491_200_000);

/// How many spans of times that were given are remembered: an hour at a poll each second. A time is given again only
/// if the clock comes back to the same millisecond after more than that.
const MOST_SPANS: usize = 3600;

/// Where the time comes from; a test brings its own.
#[derive(Clone, Copy, Debug)]
pub struct WallClock(pub fn() -> SystemTime);

impl Default for WallClock {
    fn default() -> Self {
        Self(SystemTime::now)
    }
}

impl WallClock {
    /// The time, unless the clock is plainly unset.
    pub fn now(self) -> Option<UnixMillis> {
        Some(UnixMillis::from((self.0)())).filter(|now| *now >= EARLIEST)
    }
}

/// Gives what comes the time at which it came, if that is known.
///
/// No two have the same time, for it is a reading's key: of two polls within a millisecond, or about a clock that is
/// set back or stands still, one would be lost.
#[derive(Debug)]
pub struct Stamper {
    clock: WallClock,
    given: Given,
}

impl Stamper {
    pub fn new(clock: WallClock) -> Self {
        Self {
            clock,
            given: Given::default(),
        }
    }

    /// The time of what came at that moment; none while the clock is not set.
    pub fn stamp(&mut self, at: Instant) -> Option<UnixMillis> {
        let now = self.clock.now()?;
        let age = millis(Instant::now().saturating_duration_since(at));
        Some(self.given.free(UnixMillis(now.0.saturating_sub(age))))
    }
}

/// The times that were given, in the order in which they were; those that follow each other are one span.
#[derive(Debug, Default)]
struct Given(VecDeque<RangeInclusive<i64>>);

impl Given {
    /// Gives this time, or the next one that was not given yet.
    fn free(&mut self, UnixMillis(mut time): UnixMillis) -> UnixMillis {
        let holding = |time: i64| self.0.iter().rev().find(move |span| span.contains(&time));
        // At the end of time there is none left.
        while let Some(next) = holding(time).and_then(|span| span.end().checked_add(1)) {
            time = next;
        }
        match self.0.back_mut() {
            Some(last) if last.end().checked_add(1) == Some(time) => {
                *last = *last.start()..=time;
            }
            _ => {
                if self.0.len() == MOST_SPANS {
                    self.0.pop_front();
                }
                self.0.push_back(time..=time);
            }
        }
        UnixMillis(time)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_has_the_time_at_which_it_came_if_the_clock_is_set() {
        let set = || UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let moment = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        let time = Stamper::new(WallClock(set)).stamp(moment);
        assert_eq!(time, Some(UnixMillis(1_799_999_995_000)));
        assert_eq!(Stamper::new(WallClock(|| UNIX_EPOCH)).stamp(moment), None);
    }

    #[tokio::test(start_paused = true)]
    async fn two_things_of_one_moment_have_two_times() {
        let mut stamper = Stamper::new(WallClock(|| {
            UNIX_EPOCH + Duration::from_secs(1_800_000_000)
        }));
        let moment = Instant::now();
        let times: Vec<i64> = (0..3)
            .filter_map(|_| stamper.stamp(moment))
            .map(|time| time.0 - 1_800_000_000_000)
            .collect();
        assert_eq!(times, [0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_stands_still_gives_each_reading_a_time_of_its_own() {
        let mut stamper = Stamper::new(WallClock(|| {
            UNIX_EPOCH + Duration::from_secs(1_800_000_000)
        }));
        let mut times = BTreeSet::new();
        for _ in 0..5000 {
            times.extend(stamper.stamp(Instant::now()).map(|time| time.0));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(times.len(), 5000);
        assert_eq!(times.last(), Some(&1_800_000_004_999));
        assert_eq!(stamper.given.0.len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_to_the_same_milliseconds_gives_the_next_free_ones() {
        let mut given = Given::default();
        let mut times = BTreeSet::new();
        // Three times over the same half minute, to the millisecond.
        for (round, begin) in (0..).zip([0_i64, 30, 30]) {
            for second in begin..60 {
                let UnixMillis(time) = given.free(UnixMillis(second * 1000));
                assert_eq!(time, second * 1000 + round);
                assert!(times.insert(time));
            }
        }
        for second in 60..10_000 {
            assert_eq!(given.free(UnixMillis(second * 1000)).0, second * 1000);
        }
        assert_eq!(given.0.len(), MOST_SPANS);
        for _ in 0..2 {
            assert_eq!(given.free(UnixMillis(i64::MAX)).0, i64::MAX);
        }
    }
}
