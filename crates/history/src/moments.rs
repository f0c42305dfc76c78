//! What time it is, as far as the readings of the collector tell: the history's own idea of the present.
//!
//! A clock may be wrong: years ahead or behind, for minutes or for days. Two moments are kept, so that it harms nothing:
//!
//! - the *latest* is the time of the reading that came last, whatever that says. Readings more than a day after it cannot
//!   be of the past that it looks back on: the clock was wrong when they came. They are set apart.
//! - the *trusted* one is what retention counts from: it goes back at once, and forward at most twice as fast as time really
//!   passes. So a clock that is years ahead for a night makes nothing look old.

use std::time::{Duration, Instant};

use kstar_model::time::millis;
use rusqlite::{Connection, OptionalExtension as _};

/// So far beyond the latest reading another one may be and still belong to the same clock.
pub(crate) const A_DAY: i64 = 24 * 60 * 60 * 1000;

/// The moments, and when they were true.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moments {
    latest: Option<i64>,
    trusted: Option<i64>,
    /// When the last reading came, by a clock that only runs forwards.
    seen: Option<Instant>,
}

/// The clock has gone back by more than a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetBack {
    /// The time of the last reading before.
    pub from: i64,
    /// How much time has really passed since then, if that is known.
    pub passed: Option<Duration>,
}

impl Moments {
    /// What a file says.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut select = connection.prepare_cached("SELECT value FROM setting WHERE name = ?")?;
        let mut read = |name: &str| select.query_row([name], |row| row.get(0)).optional();
        Ok(Self {
            latest: read("latest")?,
            trusted: read("trusted")?,
            seen: None,
        })
    }

    /// Writes them down.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut replace = connection.prepare_cached(
            "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2
             WHERE value IS NOT ?2",
        )?;
        for (name, moment) in [("latest", self.latest), ("trusted", self.trusted)] {
            if let Some(moment) = moment {
                replace.execute((name, moment))?;
            }
        }
        Ok(())
    }

    /// The same where nothing is trusted yet: a file of an earlier version.
    #[must_use]
    pub(crate) fn or_trusted(self, trusted: Option<i64>) -> Self {
        Self {
            trusted: self.trusted.or(trusted),
            ..self
        }
    }

    /// Follows a reading that has just come; says if the clock has gone back by more than a day.
    pub(crate) fn follow(&mut self, time: i64, now: Instant) -> Option<SetBack> {
        let passed = self.seen.map(|seen| now.saturating_duration_since(seen));
        let before = self.latest.replace(time);
        self.seen = Some(now);
        // Before the first reading of this run nobody knows how long the program was off.
        let most = millis(passed.unwrap_or_default()).saturating_mul(2);
        self.trusted = Some(match self.trusted {
            Some(trusted) => time.min(trusted.saturating_add(most)),
            None => time,
        });
        before
            .filter(|before| before.saturating_sub(time) > A_DAY)
            .map(|from| SetBack { from, passed })
    }

    /// Takes the newest reading that is there for the present, since somebody has brought or kept it on purpose.
    pub(crate) fn trust(&mut self, newest: i64) {
        self.trusted = Some(newest);
        self.latest = Some(self.latest.map_or(newest, |latest| latest.max(newest)));
    }

    /// The moment that retention counts from.
    pub(crate) fn trusted(&self) -> Option<i64> {
        self.trusted
    }

    /// From when on readings are set apart.
    pub(crate) fn apart(&self) -> i64 {
        self.latest
            .map_or(i64::MAX, |latest| latest.saturating_add(A_DAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * 60 * 1000;

    #[test]
    fn the_trusted_moment_goes_back_at_once_and_forward_twice_as_fast_as_time() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut moments = Moments::default();
        assert_eq!(moments.follow(1_000_000, at(0)), None);
        assert_eq!(moments.trusted(), Some(1_000_000));
        assert_eq!(moments.follow(1_000_000 + 400 * A_DAY, at(10)), None);
        assert_eq!(moments.trusted(), Some(1_020_000));
        assert_eq!(
            moments.follow(1_020_000, at(20)),
            Some(SetBack {
                from: 1_000_000 + 400 * A_DAY,
                passed: Some(Duration::from_secs(10))
            })
        );
        assert_eq!(moments.trusted(), Some(1_020_000));
        assert_eq!(moments.apart(), 1_020_000 + A_DAY);
        assert_eq!(moments.follow(1_020_000 - HOUR, at(30)), None);
        assert_eq!(moments.trusted(), Some(1_020_000 - HOUR));
    }

    #[test]
    fn after_weeks_without_power_nothing_is_set_apart_and_the_trusted_moment_follows_slowly() {
        let mut moments = Moments {
            latest: Some(0),
            trusted: Some(0),
            seen: None,
        };
        let began = Instant::now();
        assert_eq!(moments.follow(21 * A_DAY, began), None);
        assert_eq!(moments.trusted(), Some(0));
        assert_eq!(moments.apart(), 22 * A_DAY);
        moments.follow(21 * A_DAY, began + Duration::from_secs(3600));
        assert_eq!(moments.trusted(), Some(2 * HOUR));
    }
}
