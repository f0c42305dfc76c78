//! One inverter, polled: schedule, silence, coming back; written once for all sources.
//!
//! Polls keep a fixed schedule: a late one does not shift the next, and one that was missed is skipped. Gaps of nine minutes
//! are normal for WiFi modules: polls become rarer, but never stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kstar_common::back_off::BackOff;
use tokio::time::{Instant, sleep_until};

use crate::counts::{Counts, increment};
use crate::error::NoAnswer;
use crate::exchange::Patience;
use crate::source::{Identity, Line, Sample, Source};

/// So many polls in a row without an answer make an inverter silent: single ones are lost all the time.
pub const SILENT_AFTER: u32 = 3;

/// A silent inverter is still asked this often, so that its return is noticed within a minute.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// How often it is asked who it is after a start or a recovery. A KSE may never answer that.
const IDENTITY_TRIES: u32 = 3;

/// What is left free before the next poll: the pauses around the question who it is.
const MARGIN: Duration = Duration::from_secs(1);

/// The longest time in which none of an inverter's counts moves while its polling is well: it waits for the next poll,
/// backs off from a silent inverter, and then a name may be slow to resolve and a disk slow to remember.
pub fn longest_pause(interval: Duration) -> Duration {
    const SLOW: Duration = Duration::from_secs(60);
    interval
        .saturating_add(LONGEST_BACK_OFF)
        .saturating_add(SLOW)
}

/// How polls went, counted since the start.
#[derive(Debug, Default)]
pub struct PollCounts {
    /// Requests out and replies in.
    pub exchanges: Arc<Counts>,
    /// Polls that were answered.
    pub answered: AtomicU64,
    /// Polls that were not.
    pub silent: AtomicU64,
    /// Polls that were left out because the one before took too long.
    pub skipped: AtomicU64,
}

impl PollCounts {
    /// Counts of a source with these counts of its own.
    pub fn new(exchanges: Counts) -> Self {
        Self {
            exchanges: Arc::new(exchanges),
            ..Self::default()
        }
    }

    /// A number that moves with whatever polling does.
    pub fn pulse(&self) -> u64 {
        let exchanges = &self.exchanges;
        [
            &self.answered,
            &self.silent,
            &exchanges.requests,
            &exchanges.greetings,
            &exchanges.unanswered,
        ]
        .into_iter()
        .map(|count| count.load(Ordering::Relaxed))
        .fold(0, u64::wrapping_add)
    }
}

/// What came of a poll.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the largest is the ordinary one, and it is moved once"
)]
pub enum Outcome {
    /// The inverter answered.
    Sample(Sample),
    /// It told who it is.
    Identity(Identity),
    /// It did not answer, so many polls in a row now.
    Silent {
        /// How many polls in a row.
        polls: u32,
        /// Why the last one failed.
        reason: NoAnswer,
    },
}

/// Polls one inverter indefinitely.
pub struct Poller {
    source: Box<dyn Source>,
    patience: Patience,
    counts: Arc<PollCounts>,
    schedule: Schedule,
    silent_polls: u32,
    /// The silence is to be told before the inverter is looked for, which takes seconds.
    look_again_due: bool,
    identity_tries: u32,
    /// Who the inverter is shall be asked once more after the next poll.
    identity_due: bool,
}

impl Poller {
    /// Polls the inverter of this source at this interval, from now on.
    pub fn new(
        source: Box<dyn Source>,
        patience: Patience,
        interval: Duration,
        counts: Arc<PollCounts>,
    ) -> Self {
        Self {
            source,
            patience,
            counts,
            schedule: Schedule {
                due: Instant::now(),
                interval,
            },
            silent_polls: 0,
            look_again_due: false,
            identity_tries: 0,
            identity_due: false,
        }
    }

    /// Has it asked after the next poll once more who the inverter is.
    pub fn identify_again(&mut self) {
        self.identity_due = true;
    }

    /// Where the inverter is, as far as it is known.
    pub fn line(&self) -> Option<Line> {
        self.source.line()
    }

    /// Waits for the next thing that comes of polling. Safe to drop at any time; the poll under way is then lost.
    pub async fn next(&mut self) -> Outcome {
        if self.identity_tries > 0
            && let Some(identity) = self.identify().await
        {
            return Outcome::Identity(identity);
        }
        if std::mem::take(&mut self.look_again_due) {
            self.look_again().await;
        }
        sleep_until(self.schedule.due).await;
        let outcome = self.source.poll().await;
        let back_off = match &outcome {
            Ok(_) => Duration::ZERO,
            Err(_) => back_off(self.silent_polls + 1, self.schedule.interval),
        };
        let skipped = self.schedule.advance(Instant::now(), back_off);
        match outcome {
            Ok(sample) => {
                increment(&self.counts.answered);
                self.counts.skipped.fetch_add(skipped, Ordering::Relaxed);
                if std::mem::take(&mut self.identity_due)
                    || self.silent_polls >= SILENT_AFTER
                    || self.counts.answered.load(Ordering::Relaxed) == 1
                {
                    self.identity_tries = IDENTITY_TRIES;
                }
                self.silent_polls = 0;
                Outcome::Sample(sample)
            }
            Err(reason) => {
                increment(&self.counts.silent);
                self.silent_polls = self.silent_polls.saturating_add(1);
                self.look_again_due = self.silent_polls.is_multiple_of(SILENT_AFTER);
                Outcome::Silent {
                    polls: self.silent_polls,
                    reason,
                }
            }
        }
    }

    /// Asks once who the inverter is. Without an answer there is another try after the next poll.
    async fn identify(&mut self) -> Option<Identity> {
        self.identity_tries -= 1;
        // The next poll should not wait for it, but a second must do for any inverter that answers at all.
        let free = self
            .schedule
            .due
            .saturating_duration_since(Instant::now())
            .saturating_sub(MARGIN);
        let timeout = self.patience.timeout;
        let patience = Patience {
            tries: 1,
            timeout: free.clamp(timeout.min(Duration::from_secs(1)), timeout),
        };
        match self.source.identify(patience).await {
            Ok(identity) => {
                self.identity_tries = 0;
                Some(identity)
            }
            Err(reason) => {
                tracing::debug!(%reason, tries_left = self.identity_tries, "no device info");
                None
            }
        }
    }

    /// After a while of silence: finds out whether the address has changed.
    async fn look_again(&mut self) {
        let before = self.source.line();
        match self.source.locate().await {
            Ok(line) if before.is_some_and(|before| before != line) => {
                tracing::info!(address = %line.address, "the inverter's address has changed");
            }
            Ok(_) => {}
            Err(reason) => tracing::debug!(%reason, "looked for the inverter again"),
        }
    }
}

/// The wait beyond the ordinary interval after so many silent polls.
fn back_off(silent_polls: u32, interval: Duration) -> Duration {
    let growing = BackOff {
        first: interval,
        longest: LONGEST_BACK_OFF,
    };
    silent_polls
        .checked_sub(SILENT_AFTER)
        .map_or(Duration::ZERO, |beyond| growing.pause(beyond))
}

/// The fixed schedule of polls: always a whole number of intervals after the first.
#[derive(Debug)]
struct Schedule {
    due: Instant,
    interval: Duration,
}

impl Schedule {
    /// Moves on to the first due time that is `back_off` or more beyond now; says how many were passed over.
    fn advance(&mut self, now: Instant, back_off: Duration) -> u64 {
        let late = (now + back_off).saturating_duration_since(self.due);
        let passed = late.as_nanos() / self.interval.as_nanos().max(1);
        let steps = u32::try_from(passed).unwrap_or(u32::MAX - 1) + 1;
        self.due += self.interval * steps;
        u64::from(steps - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_poll_does_not_shift_the_next_and_a_missed_one_is_skipped() {
        let start = Instant::now();
        let mut schedule = Schedule {
            due: start,
            interval: Duration::from_secs(5),
        };
        let seconds = |seconds| start + Duration::from_secs_f64(seconds);
        for (now, due, skipped) in [
            (0.3, 5.0, 0),
            (9.9, 10.0, 0),
            (11.0, 15.0, 0),
            (31.0, 35.0, 3),
            (36.0, 40.0, 0),
        ] {
            assert_eq!(
                schedule.advance(seconds(now), Duration::ZERO),
                skipped,
                "at {now}"
            );
            assert_eq!(schedule.due, seconds(due), "at {now}");
        }
        schedule.advance(seconds(41.0), Duration::from_secs(60));
        assert_eq!(schedule.due, seconds(105.0));
    }

    #[test]
    fn polls_become_rarer_up_to_once_a_minute() {
        let seconds: Vec<u64> = (1..=9)
            .map(|polls| back_off(polls, Duration::from_secs(5)).as_secs())
            .collect();
        assert_eq!(seconds, [0, 0, 5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(
            back_off(u32::MAX, Duration::from_secs(3600)),
            LONGEST_BACK_OFF
        );
    }
}
