//! How long to wait before connecting again.

use std::time::Duration;

use kstar_common::back_off::BackOff;

/// The doublings with which trouble begins that somebody must fix: brokers lock out who knocks too often.
const SLOW_BEGIN: u32 = 3;

/// A connection that lived shorter counts as a failure too: two clients with one id throw each other out indefinitely.
const SHORT_LIVED: Duration = Duration::from_secs(10);

/// The doublings that short-lived connections lead to at the most.
const SHORT_LIVED_LIMIT: u32 = 4;

/// How long to wait before connecting again.
#[derive(Default)]
pub(crate) struct Delays {
    /// Attempts in a row that failed.
    failed: u32,
    /// Connections in a row that lived only shortly.
    short_lived: u32,
}

impl Delays {
    /// The delay after an attempt that failed, or after a connection that lived so long.
    pub(crate) fn after(&mut self, lived: Option<Duration>, slow: bool) -> Duration {
        let doublings = match lived {
            None => {
                let begin = if slow { SLOW_BEGIN } else { 0 };
                let doublings = self.failed.saturating_add(begin);
                self.failed = self.failed.saturating_add(1);
                doublings
            }
            Some(lived) => {
                self.failed = 0;
                self.short_lived = match lived {
                    lived if lived < SHORT_LIVED => (self.short_lived + 1).min(SHORT_LIVED_LIMIT),
                    _ => 0,
                };
                self.short_lived.saturating_sub(1)
            }
        };
        BackOff::SERVER.spread(doublings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_and_stays_below_a_minute() {
        let mut delays = Delays::default();
        for doublings in 0..20 {
            let (delay, expected) = (delays.after(None, false), BackOff::SERVER.pause(doublings));
            assert!(delay >= expected.mul_f64(0.75) && delay <= expected.mul_f64(1.25));
            assert!(delay <= Duration::from_secs(60));
        }
    }

    #[test]
    fn what_somebody_must_mend_is_not_tried_in_a_hurry() {
        assert!(Delays::default().after(None, true) >= Duration::from_secs(3));
    }

    #[test]
    fn connections_that_live_shortly_are_not_renewed_at_once_for_ever() {
        let mut delays = Delays::default();
        let short = Some(Duration::from_secs(1));
        for _ in 0..5 {
            delays.after(short, false);
        }
        assert!(delays.after(short, false) >= Duration::from_millis(1500));
        assert!(delays.after(Some(SHORT_LIVED), false) < Duration::from_secs(1));
    }
}
