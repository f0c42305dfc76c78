//! The blocks of one inverter: which are due at a poll, which the machine does not have, and what the slow ones told last.

use std::time::Duration;

use tokio::time::Instant;

use crate::source::Asked;

/// How often a block is asked for that changes slowly.
pub const SLOW: Duration = Duration::from_secs(60);

/// What a slow block told is used for three of its periods, then it is missing: never silently stale.
const SLOW_LASTS: Duration = SLOW.saturating_mul(3);

/// What is known of one block of an inverter.
#[derive(Clone, Debug)]
pub struct BlockState<T> {
    asked: Asked,
    /// The machine has said that it does not have the block.
    lacking: bool,
    /// What it told last, and when.
    told: Option<(Instant, T)>,
    /// How many times in a row there was no answer, and when the last time was.
    missed: (u32, Option<Instant>),
}

/// After so many times without an answer a block that is not needed is asked for each minute only, so that waiting for it
/// does not slow down all polls. That it lacks the block is not known by that.
const RARELY_AFTER: u32 = 3;

impl<T> BlockState<T> {
    /// Of a block of which nothing is known.
    pub fn new(asked: Asked) -> Self {
        Self {
            asked,
            lacking: false,
            told: None,
            missed: (0, None),
        }
    }

    /// Whether it is to be asked for at a poll now.
    pub fn is_due(&self, now: Instant) -> bool {
        let period = match self.asked {
            Asked::EachPoll | Asked::IfAvailable => Duration::ZERO,
            Asked::EachMinute => SLOW,
            Asked::ForIdentity | Asked::OnDemand => return false,
        };
        let (told, missed) = (self.told.as_ref().map(|(at, _)| *at), self.missed);
        let is_over = |at: Instant, period| now.saturating_duration_since(at) >= period;
        !self.lacking
            && told.is_none_or(|at| is_over(at, period))
            && (missed.0 < RARELY_AFTER || missed.1.is_none_or(|at| is_over(at, SLOW)))
    }

    /// Whether there is no sample without it.
    pub fn is_needed(&self) -> bool {
        self.asked == Asked::EachPoll
    }

    /// It has told something.
    pub fn told(&mut self, at: Instant, content: T) {
        self.told = Some((at, content));
        self.missed = (0, None);
    }

    /// There was no answer.
    pub fn missed(&mut self, now: Instant) {
        self.missed = (self.missed.0.saturating_add(1), Some(now));
    }

    /// The machine does not have it: it is not asked for again until the next start.
    pub fn lacks(&mut self) {
        self.lacking = true;
    }

    /// What it told last, however long ago.
    pub fn last(&self) -> Option<&T> {
        self.told.as_ref().map(|(_, content)| content)
    }

    /// What it told that still holds at a poll which began then.
    pub fn current(&self, began: Instant) -> Option<&T> {
        let lasts = match self.asked {
            Asked::EachMinute => SLOW_LASTS,
            _ => Duration::ZERO,
        };
        let (at, content) = self.told.as_ref()?;
        (*at + lasts >= began).then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_block_rides_along_for_three_of_its_periods() {
        let start = Instant::now();
        let seconds = |seconds| start + Duration::from_secs(seconds);
        let mut block = BlockState::new(Asked::EachMinute);
        assert!(block.is_due(start) && block.current(start).is_none());
        block.told(start, "told");
        for (now, is_due, current) in [
            (1, false, Some(&"told")),
            (60, true, Some(&"told")),
            (180, true, Some(&"told")),
            (181, true, None),
        ] {
            assert_eq!(block.is_due(seconds(now)), is_due, "{now}");
            assert_eq!(block.current(seconds(now)), current, "{now}");
        }
    }

    #[test]
    fn what_came_at_another_poll_is_missing_from_this_one() {
        let start = Instant::now();
        let mut block = BlockState::new(Asked::IfAvailable);
        block.told(start, "told");
        assert_eq!(block.current(start), Some(&"told"));
        let later = start + Duration::from_millis(1);
        assert_eq!(block.current(later), None);
        assert!(block.is_due(later));
    }

    #[test]
    fn what_was_not_answered_some_times_is_asked_for_less_often() {
        let start = Instant::now();
        let mut block = BlockState::<()>::new(Asked::IfAvailable);
        for _ in 0..RARELY_AFTER {
            assert!(block.is_due(start));
            block.missed(start);
        }
        assert!(!block.is_due(start + Duration::from_secs(59)));
        assert!(block.is_due(start + SLOW));
        block.told(start + SLOW, ());
        block.missed(start + SLOW);
        assert!(block.is_due(start + SLOW));
    }

    #[test]
    fn what_the_machine_does_not_have_is_not_asked_for() {
        let mut block = BlockState::<()>::new(Asked::IfAvailable);
        block.lacks();
        assert!(!block.is_due(Instant::now()));
    }
}
