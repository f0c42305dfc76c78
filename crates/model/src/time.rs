//! Moments: of the wall clock, and of the time as it really passes, whatever the wall clock says: since the machine was
//! started.
//!
//! What came before the clock was set is dated by the latter afterwards, also by a later process on the same machine, as
//! long as that is not started anew.

use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment of the collector's clock, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl From<SystemTime> for UnixMillis {
    fn from(time: SystemTime) -> Self {
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        })
    }
}

/// A duration as times are counted.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// As RFC 3339 in UTC with three decimals: `2026-11-22T10:15:30.123Z`.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// When a reading came, as far as that is known.
pub trait Moment {
    /// By the collector's clock, if that is set.
    fn unix(&self) -> Option<UnixMillis>;
}

impl Moment for UnixMillis {
    fn unix(&self) -> Option<UnixMillis> {
        Some(*self)
    }
}

impl Moment for Option<UnixMillis> {
    fn unix(&self) -> Option<UnixMillis> {
        *self
    }
}

impl Moment for Uptime {
    fn unix(&self) -> Option<UnixMillis> {
        None
    }
}

/// A moment, as the time since the machine was started; where the system does not tell that, since this process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(pub Duration);

/// Which run of the machine it is, and a moment of it on both clocks.
struct Boot {
    id: String,
    instant: Instant,
    uptime: Duration,
}

static BOOT: LazyLock<Boot> = LazyLock::new(|| {
    let told = |path| std::fs::read_to_string(path).ok();
    let instant = Instant::now();
    let uptime = told("/proc/uptime").and_then(|text| {
        let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    });
    let id = told("/proc/sys/kernel/random/boot_id");
    match (id, uptime) {
        (Some(id), Some(uptime)) => Boot {
            id: id.trim().to_owned(),
            instant,
            uptime,
        },
        // Nothing of this process means anything to another one.
        _ => Boot {
            id: format!("process {:x}", fastrand::u64(..)),
            instant,
            uptime: Duration::ZERO,
        },
    }
});

impl Uptime {
    /// When that was.
    pub fn of(moment: Instant) -> Self {
        Self(
            if let Some(since) = moment.checked_duration_since(BOOT.instant) {
                BOOT.uptime.saturating_add(since)
            } else {
                let before = BOOT.instant.saturating_duration_since(moment);
                BOOT.uptime.saturating_sub(before)
            },
        )
    }
}

/// Names this run of the machine.
pub fn boot() -> &'static str {
    &BOOT.id
}

/// That the clock is set: what time it was at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSet {
    /// The moment.
    pub uptime: Uptime,
    /// The time that the wall clock showed then.
    pub time: UnixMillis,
}

impl ClockSet {
    /// What time it was at another moment, had the clock been right.
    pub fn time_of(self, moment: Uptime) -> UnixMillis {
        let later = millis(moment.0).saturating_sub(millis(self.uptime.0));
        UnixMillis(self.time.0.saturating_add(later))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_the_clock_was_set_has_a_time_then() {
        let second = Duration::from_secs(1);
        let clock = ClockSet {
            uptime: Uptime(100 * second),
            time: UnixMillis(1_795_342_530_120),
        };
        assert_eq!(
            clock.time_of(Uptime(90 * second)),
            UnixMillis(1_795_342_520_120)
        );
    }

    #[test]
    fn a_clock_before_the_epoch_is_a_negative_number() {
        let before = UNIX_EPOCH - Duration::from_millis(1500);
        assert_eq!(UnixMillis::from(before), UnixMillis(-1500));
    }
}
