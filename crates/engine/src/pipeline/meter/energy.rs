//! Energy as an exact integer, and what a power that runs straight from one value to the next has moved.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An amount of energy in microjoules (watt-microseconds): a year of polls rounds away less than ten joules, and
/// 64 bits hold five million kWh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Energy(pub u64);

/// A thousandth of a kWh, in which energies are published.
const PUBLISHED_STEP: u64 = 3_600_000_000;

impl Energy {
    /// The most that is counted, an inverter's life many times over: a million kWh.
    pub const MOST: Self = Self(1_000_000_000 * PUBLISHED_STEP);

    /// Whole thousandths of a kWh, as they are published.
    pub fn published(self) -> i64 {
        i64::try_from(self.0 / PUBLISHED_STEP).unwrap_or(i64::MAX)
    }

    /// The energy that is published as so many thousandths of a kWh, with the part below them of another one.
    #[must_use]
    pub fn with_published(self, thousandths: u64) -> Self {
        Self(
            thousandths
                .saturating_mul(PUBLISHED_STEP)
                .saturating_add(self.0 % PUBLISHED_STEP),
        )
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0)).min(Self::MOST)
    }

    /// The share of it that belongs to a part of a time.
    pub(super) fn share(self, part: Duration, whole: Duration) -> Self {
        let scaled = u128::from(self.0)
            .checked_mul(part.as_micros())
            .and_then(|scaled| scaled.checked_div(whole.as_micros()));
        let share = scaled.and_then(|share| u64::try_from(share).ok());
        share.map_or(self, Self).min(self)
    }

    /// What is left after taking the other away; nothing if that is more.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// A power at a moment; hundredths of a watt, and the time of a clock that only runs forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When, since any beginning.
    pub at: Duration,
    /// Hundredths of a watt, with a sign.
    pub power: i64,
}

/// What has flowed each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// While the power was above zero.
    pub forth: Energy,
    /// While it was below.
    pub back: Energy,
}

/// The energy between two samples, if the power runs straight from one to the other: the trapezoid. Where it crosses
/// zero on its way there are two triangles, so that import and export do not cancel.
pub fn between(from: Sample, to: Sample) -> Moved {
    let micros = i128::try_from(to.at.saturating_sub(from.at).as_micros()).unwrap_or(i128::MAX);
    let (first, last) = (i128::from(from.power), i128::from(to.power));
    // Hundredths of a watt times microseconds are hundredths of the unit, and the mean of two is half their sum.
    let scaled = |product: i128, divisor: i128| {
        let energy = product
            .checked_mul(micros)
            .map(|energy| energy / (200 * divisor));
        let energy = energy.and_then(|energy| u64::try_from(energy).ok());
        energy.map_or(Energy::MOST, Energy).min(Energy::MOST)
    };
    let (forth, back) = if first >= 0 && last >= 0 {
        (scaled(first + last, 1), Energy(0))
    } else if first <= 0 && last <= 0 {
        (Energy(0), scaled(-first - last, 1))
    } else {
        let swing = (last - first).abs();
        let (above, below) = (first.max(last), first.min(last));
        (scaled(above * above, swing), scaled(below * below, swing))
    };
    Moved { forth, back }
}

/// The sample on the straight line between two, at a moment between them.
pub fn on_the_way(from: Sample, to: Sample, at: Duration) -> Sample {
    let whole = to.at.saturating_sub(from.at).as_micros();
    let part = at.saturating_sub(from.at).as_micros().min(whole);
    let (Ok(whole), Ok(part)) = (i128::try_from(whole.max(1)), i128::try_from(part)) else {
        return from;
    };
    let rise = i128::from(to.power) - i128::from(from.power);
    let power = i128::from(from.power) + rise * part / whole;
    Sample {
        at,
        power: i64::try_from(power).unwrap_or(to.power),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, watts: i64) -> Sample {
        Sample {
            at: Duration::from_secs(seconds),
            power: watts * 100,
        }
    }

    fn joules(moved: Moved) -> (u64, u64) {
        (moved.forth.0 / 1_000_000, moved.back.0 / 1_000_000)
    }

    #[test]
    fn a_steady_power_moves_its_watts_times_the_seconds() {
        assert_eq!(joules(between(sample(0, 500), sample(10, 500))), (5000, 0));
        assert_eq!(
            joules(between(sample(0, -500), sample(10, -500))),
            (0, 5000)
        );
    }

    #[test]
    fn a_rising_power_moves_its_mean() {
        assert_eq!(joules(between(sample(5, 0), sample(15, 1000))), (5000, 0));
    }

    #[test]
    fn a_power_that_changes_its_sign_moves_something_each_way() {
        // From 300 W to -100 W in 8 s: 6 s above zero, 2 s below.
        assert_eq!(joules(between(sample(0, 300), sample(8, -100))), (900, 100));
        assert_eq!(joules(between(sample(0, -100), sample(8, 300))), (900, 100));
    }

    #[test]
    fn no_power_and_no_time_move_nothing() {
        assert_eq!(between(sample(0, 0), sample(9, 0)), Moved::default());
        assert_eq!(between(sample(9, 70), sample(9, 90)), Moved::default());
    }

    #[test]
    fn what_cannot_be_is_bounded_and_does_not_overflow() {
        let from = Sample {
            at: Duration::ZERO,
            power: i64::MAX,
        };
        let to = Sample {
            at: Duration::MAX,
            power: i64::MIN,
        };
        let moved = between(from, to);
        assert_eq!(Energy(1).plus(moved.forth), Energy::MOST);
    }

    #[test]
    fn a_moment_on_the_way_has_its_share_of_the_rise() {
        let (from, to) = (sample(0, 100), sample(10, -100));
        let middle = on_the_way(from, to, Duration::from_secs(5));
        assert_eq!(middle, sample(5, 0));
        assert_eq!(on_the_way(from, from, Duration::ZERO).power, from.power);
    }

    #[test]
    fn a_published_energy_is_cut_to_thousandths_of_a_kwh() {
        assert_eq!(Energy(PUBLISHED_STEP * 7 - 1).published(), 6);
        let set = Energy(PUBLISHED_STEP * 7 - 1).with_published(1_234_567);
        assert_eq!(set.published(), 1_234_567);
        assert_eq!(set.0 % PUBLISHED_STEP, PUBLISHED_STEP - 1);
    }
}
