//! The spans of time that a history is summed up by.

use std::ops::Range;

use jiff::Timestamp;
use kstar_model::TimeZone;

const FIVE_MINUTES: i64 = 5 * 60 * 1000;
const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;

/// How long the buckets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Five minutes of the clock.
    FiveMinutes,
    /// An hour of the local clock.
    Hour,
    /// A day from one local midnight to the next: 23 or 25 hours where the clock is changed.
    Day,
}

impl Level {
    /// The shortest first, as each is made of the first.
    pub(crate) const ALL: [Self; 3] = [Self::FiveMinutes, Self::Hour, Self::Day];

    /// What tables and views of this level are called by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5min",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The bucket around a moment, in Unix milliseconds. The buckets of a level leave no gap and do not overlap.
    pub(crate) fn around(self, time: i64, zone: &TimeZone) -> Range<i64> {
        // jiff knows ten thousand years; beyond them all zones are UTC.
        let moment = Timestamp::from_millisecond(time).ok();
        let of_zone = match (self, moment) {
            (Self::Hour, Some(moment)) => Some(hour(moment, zone)),
            (Self::Day, Some(moment)) => day(moment, zone),
            (Self::FiveMinutes, _) | (_, None) => None,
        };
        of_zone.unwrap_or_else(|| match self {
            Self::FiveMinutes => floor(time, FIVE_MINUTES),
            Self::Hour => floor(time, HOUR),
            Self::Day => floor(time, DAY),
        })
    }
}

fn floor(time: i64, length: i64) -> Range<i64> {
    let begin = time.div_euclid(length).saturating_mul(length);
    begin..begin.saturating_add(length)
}

/// An hour by the local clock. Where that is changed by half an hour, the hours on both sides are cut there.
fn hour(moment: Timestamp, zone: &TimeZone) -> Range<i64> {
    let offset = i64::from(zone.to_offset(moment).seconds()) * 1000;
    let local = floor(moment.as_millisecond() + offset, HOUR);
    let (begin, end) = (local.start - offset, local.end - offset);
    // A transition at this very moment has happened; `preceding` means those before it.
    let since = moment.as_millisecond() + 1;
    let since = Timestamp::from_millisecond(since)
        .ok()
        .and_then(|since| zone.preceding(since).next())
        .map_or(begin, |change| change.timestamp().as_millisecond());
    let until = zone
        .following(moment)
        .next()
        .map_or(end, |change| change.timestamp().as_millisecond());
    begin.max(since)..end.min(until)
}

fn day(moment: Timestamp, zone: &TimeZone) -> Option<Range<i64>> {
    let begin = moment.to_zoned(zone.clone()).start_of_day().ok()?;
    let end = begin.tomorrow().ok()?.start_of_day().ok()?;
    Some(begin.timestamp().as_millisecond()..end.timestamp().as_millisecond())
}

/// Adds a span, as a part of the last one where they touch.
pub(crate) fn add_span(spans: &mut Vec<Range<i64>>, span: Range<i64>) {
    match spans.last_mut() {
        Some(last) if span.start <= last.end && last.start <= span.end => {
            *last = last.start.min(span.start)..last.end.max(span.end);
        }
        _ => spans.push(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        kstar_common::zone::named(name).unwrap()
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn days_have_23_and_25_hours_where_the_clock_is_changed() {
        let london = zone("Europe/London");
        let spring = Level::Day.around(at("2026-03-29T12:00:00Z"), &london);
        assert_eq!(
            spring,
            at("2026-03-29T00:00:00Z")..at("2026-03-29T23:00:00Z")
        );
        let autumn = Level::Day.around(at("2026-10-25T00:30:00Z"), &london);
        assert_eq!(
            autumn,
            at("2026-10-24T23:00:00Z")..at("2026-10-26T00:00:00Z")
        );
        // There is no midnight on this day in Beirut.
        let beirut = Level::Day.around(at("2026-03-29T12:00:00Z"), &zone("Asia/Beirut"));
        assert_eq!(beirut.end - beirut.start, 23 * HOUR);
    }

    #[test]
    fn an_hour_begins_when_the_local_clock_says_so() {
        let kathmandu = Level::Hour.around(at("2026-06-01T00:20:00Z"), &zone("Asia/Kathmandu"));
        assert_eq!(
            kathmandu,
            at("2026-06-01T00:15:00Z")..at("2026-06-01T01:15:00Z")
        );
    }

    #[test]
    fn buckets_leave_no_gap_and_do_not_overlap() {
        for name in [
            "UTC",
            "Europe/London",
            "Asia/Kathmandu",
            "Australia/Lord_Howe",
            "Asia/Beirut",
            "Pacific/Apia",
        ] {
            let zone = zone(name);
            for level in [Level::FiveMinutes, Level::Hour, Level::Day] {
                for begin in [
                    "2026-03-27T00:00:00Z",
                    "2026-10-02T00:00:00Z",
                    "2011-12-28T00:00:00Z",
                ] {
                    let mut expected = level.around(at(begin), &zone);
                    for step in 0..4 * 24 * 12 {
                        let moment = at(begin) + step * FIVE_MINUTES;
                        let bucket = level.around(moment, &zone);
                        assert!(bucket.contains(&moment), "{name} {level:?} {bucket:?}");
                        assert_eq!(bucket.start % FIVE_MINUTES, 0);
                        if bucket != expected {
                            assert_eq!(bucket.start, expected.end, "{name} {level:?}");
                            expected = bucket;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn no_number_is_too_large_for_a_clock() {
        for time in [i64::MIN, -1, i64::MAX] {
            for level in [Level::FiveMinutes, Level::Hour, Level::Day] {
                level.around(time, &zone("Europe/London"));
            }
        }
    }
}
