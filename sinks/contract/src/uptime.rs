//! Time as it really passes, whatever the wall clock says: since the machine was started.
//!
//! What came before the clock was set is dated by it afterwards, also by a later process on the same machine, as long as that
//! is not started anew.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::reading::{UnixMillis, millis};

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
    pub fn of(moment: tokio::time::Instant) -> Self {
        let moment = moment.into_std();
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
