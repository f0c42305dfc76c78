//! The hours in which an inverter never answers, since it sleeps while there is no sun.
//!
//! They are those of its own history: nobody has to say where it is and what shades its panels. They are kept by the
//! clock of UTC, where a day has 24 hours and nobody changes it.

use std::collections::BTreeSet;
use std::time::Duration;

use kstar_model::time::{UnixMillis, millis};

/// How far back its history is looked at: dusk and dawn have hardly moved since, and single dark days do not count.
pub const LOOKS_BACK: Duration = Duration::from_secs(10 * 24 * 3600);

/// What the day is parted into.
const PART: i64 = 15 * 60 * 1000;
const PARTS: usize = 96;
const DAY: i64 = 24 * 3600 * 1000;

/// On so few days it may have been silent for any reason.
const LEAST_DAYS: usize = 3;

/// A shorter silence at the same time of all days is none of a night, and a longer one leaves no day.
const NIGHTS: std::ops::RangeInclusive<usize> = 12..=80;

/// How much earlier than on the best day it may fall asleep, and how much later it may wake: clouds, and the season.
const MARGIN: usize = 4;

/// No night is longer where there are panels. Where a history shows none yet, an inverter that sleeps on is taken for one that
/// does not answer.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A night by the clock of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Night {
    /// When it begins, in milliseconds of the day.
    begin: i64,
    length: i64,
}

impl Night {
    /// The night that these moments leave, in each of which the inverter has answered; none where they show none.
    pub fn of(answered: impl IntoIterator<Item = UnixMillis>) -> Option<Self> {
        let (mut days, mut heard) = (BTreeSet::new(), [false; PARTS]);
        for UnixMillis(moment) in answered {
            days.insert(moment.div_euclid(DAY));
            let part = usize::try_from(moment.rem_euclid(DAY) / PART).ok()?;
            *heard.get_mut(part)? = true;
        }
        let silent = |begin: usize| (heard.iter().cycle().skip(begin)).take_while(|heard| !**heard);
        let lengths = (0..PARTS).map(|begin| (silent(begin).take(PARTS).count(), begin));
        let (length, begin) = lengths.max_by_key(|(length, _)| *length)?;
        if days.len() < LEAST_DAYS || !NIGHTS.contains(&length) {
            return None;
        }
        let parts = |count: usize| i64::try_from(count).unwrap_or_default() * PART;
        Some(Self {
            begin: parts((begin + PARTS - MARGIN) % PARTS),
            length: parts(length + 2 * MARGIN),
        })
    }

    /// Whether it is night at this moment.
    fn holds(self, now: UnixMillis) -> bool {
        self.into(now) < self.length
    }

    /// How long it has been since the last one ended, where it is not night.
    fn over_for(self, now: UnixMillis) -> i64 {
        self.into(now) - self.length
    }

    /// How long it has been since the last one began.
    fn into(self, UnixMillis(now): UnixMillis) -> i64 {
        (now - self.begin).rem_euclid(DAY)
    }
}

/// Whether a silence of this length is that of a night, where the inverter sleeps then: by its hours as far as they are
/// known, and where it fell silent without sun, until the night after that is over.
pub(crate) fn explains(
    night: Option<Night>,
    now: Option<UnixMillis>,
    was_dark: bool,
    silent_for: Duration,
) -> bool {
    let (Some(night), Some(now)) = (night, now) else {
        return was_dark && silent_for <= LONGEST;
    };
    night.holds(now) || (was_dark && millis(silent_for) < night.over_for(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1000;

    /// Every five minutes from one hour of a day to another, on so many days.
    fn answered(days: i64, from: i64, to: i64) -> Vec<UnixMillis> {
        let of_day = |day: i64| (from * 12..to * 12).map(move |step| day * DAY + step * HOUR / 12);
        (20_000..20_000 + days)
            .flat_map(of_day)
            .map(UnixMillis)
            .collect()
    }

    fn at(hour: i64) -> UnixMillis {
        UnixMillis(20_020 * DAY + hour * HOUR)
    }

    #[test]
    fn a_night_is_when_it_never_answers_and_an_hour_on_both_sides() {
        // In Europe, and where midnight UTC is at noon.
        for (from, to) in [(7, 17), (19, 29)] {
            let night = Night::of(answered(10, from, to));
            let is_night = |hour| explains(night, Some(at(hour)), false, Duration::ZERO);
            for hour in 0..24 {
                let by_day = (from + 1..to - 1).any(|day| day % 24 == hour);
                assert_eq!(is_night(hour), !by_day, "{from}..{to} at {hour}");
            }
        }
    }

    #[test]
    fn a_history_shows_no_night_where_it_is_short_or_the_inverter_answers_through_it() {
        for (days, from, to) in [
            (2, 7, 17),
            (10, 0, 24),
            (10, 2, 24),
            (10, 12, 13),
            (0, 0, 0),
        ] {
            assert_eq!(
                Night::of(answered(days, from, to)),
                None,
                "{days} {from} {to}"
            );
        }
    }

    #[test]
    fn an_outage_of_a_day_makes_no_night_longer() {
        let mut with_outage = answered(10, 7, 17);
        with_outage.retain(|moment| moment.0 / DAY != 20_004);
        assert_eq!(Night::of(with_outage), Night::of(answered(10, 7, 17)));
    }

    #[test]
    fn a_silence_without_sun_lasts_until_the_next_night_is_over() {
        let night = Night::of(answered(10, 7, 17));
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        // Since 13:00, before the night that ends at 8:00.
        assert!(explains(night, Some(at(14)), true, hours(1)));
        assert!(!explains(night, Some(at(14)), false, hours(1)));
        assert!(explains(night, Some(at(20)), false, hours(7)));
        assert!(!explains(night, Some(at(32)), true, hours(19)));
        // Where no history tells, the longest night counts.
        assert!(explains(None, Some(at(14)), true, LONGEST));
        assert!(!explains(None, Some(at(14)), true, LONGEST + hours(1)));
        assert!(!explains(None, Some(at(20)), false, hours(7)));
        assert!(explains(night, None, true, hours(1)));
    }
}
