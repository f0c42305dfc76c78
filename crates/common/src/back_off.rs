//! Pauses between tries: they double with each failure, up to a bound.

use std::time::Duration;

/// How pauses grow.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    /// The pause after the first failure.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl BackOff {
    /// For a server that is away: with a quarter more, one that comes back is still noticed within a minute.
    pub const SERVER: Self = Self {
        first: Duration::from_millis(500),
        longest: Duration::from_secs(48),
    };

    /// The pause after so many doublings.
    pub fn pause(self, doublings: u32) -> Duration {
        self.first
            .saturating_mul(1 << doublings.min(31))
            .min(self.longest)
    }

    /// The same, spread by a quarter both ways, so that many collectors do not come back to a restarted server all at
    /// once.
    pub fn spread(self, doublings: u32) -> Duration {
        self.pause(doublings).mul_f64(0.75 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let back_off = BackOff {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(60),
        };
        let seconds: Vec<u64> = [0, 1, 2, 3, 4, 31, 32, u32::MAX]
            .map(|doublings| back_off.pause(doublings).as_secs())
            .to_vec();
        assert_eq!(seconds, [5, 10, 20, 40, 60, 60, 60, 60]);
    }

    #[test]
    fn spread_pauses_stay_within_a_quarter_and_a_minute() {
        for doublings in 0..20 {
            let (pause, spread) = (
                BackOff::SERVER.pause(doublings),
                BackOff::SERVER.spread(doublings),
            );
            assert!(spread >= pause.mul_f64(0.75) && spread <= pause.mul_f64(1.25));
            assert!(spread <= Duration::from_secs(60));
        }
    }
}
