//! How long to wait before connecting again.

use std::time::Duration;

/// The first wait before connecting again; it doubles with each further failure.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest wait before it is spread by a quarter: a broker that is back is noticed within a minute.
const LONGEST_DELAY: Duration = Duration::from_secs(48);

/// The doublings with which trouble begins that somebody must mend: brokers lock out who knocks too often.
const SLOW_BEGIN: u32 = 3;

/// A connection that lived shorter counts as a failure too: two clients with one id throw each other out for ever.
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
                self.failed = self.failed.saturating_add(1);
                self.failed - 1 + begin.min(u32::MAX - self.failed)
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
        let delay = FIRST_DELAY
            .saturating_mul(1 << doublings.min(10))
            .min(LONGEST_DELAY);
        delay.mul_f64(0.75 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_and_stays_below_a_minute() {
        let mut delays = Delays::default();
        let mut expected = FIRST_DELAY;
        for _ in 0..20 {
            let delay = delays.after(None, false);
            assert!(delay >= expected.mul_f64(0.75) && delay <= expected.mul_f64(1.25));
            expected = (expected * 2).min(LONGEST_DELAY);
        }
        assert!(expected.mul_f64(1.25) <= Duration::from_secs(60));
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
