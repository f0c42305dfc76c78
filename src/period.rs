//! Dates and spans of time as people write them.
//!
//! Everything here is pure: the present moment, and with it the zone, is an argument. Every span is half-open: its end
//! is the first moment that no longer belongs to it. A day runs from one local midnight to the next, so that it has 23
//! or 25 hours where the clocks change.

use std::ops::Range;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};
use kstar_model::time::UnixMillis;

/// What may be written, for whoever wrote something else.
const ADVICE: &str =
    "write a date like 2026-11-22, a month like 2026-11, a year like 2026, `today` or `yesterday`";

/// What may be written where a time of day counts too.
const ADVICE_ON_MOMENTS: &str = "write a date like 2026-11-22 or 2026-11, a moment like 2026-11-22T10:15, \
     `today`, `yesterday`, or a time that has passed since, like 7d or 12h";

/// A stretch of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Calendar {
    /// From one midnight to the next.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first of a month to the last.
    Month,
    /// From January to December.
    Year,
}

impl Calendar {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The first day of the stretch that holds this day.
    pub fn first(self, date: Date) -> Date {
        match self {
            Self::Day => date,
            Self::Week => {
                let since = date.weekday().since(Weekday::Monday);
                date.saturating_sub(i64::from(since).days())
            }
            Self::Month => date.first_of_month(),
            Self::Year => date.first_of_year(),
        }
    }

    /// The first day of the next stretch.
    pub fn next(self, date: Date) -> Date {
        let first = self.first(date);
        first.saturating_add(match self {
            Self::Day => 1.day(),
            Self::Week => 7.days(),
            Self::Month => 1.month(),
            Self::Year => 1.year(),
        })
    }

    /// From the first moment of the stretch that holds this day to the first after it.
    pub fn range(self, date: Date, zone: &TimeZone) -> Range<UnixMillis> {
        midnight(self.first(date), zone)..midnight(self.next(date), zone)
    }

    /// The first days of all stretches of this kind that begin in a range of days.
    pub fn parts(self, days: Range<Date>) -> impl Iterator<Item = Date> {
        std::iter::successors(Some(days.start), move |date| {
            // At the end of all calendars the next day is the same one.
            Some(self.next(*date)).filter(|next| next > date)
        })
        .take_while(move |date| *date < days.end)
    }

    /// The stretch that a text names, by its first day. A text that names a shorter one means the one that holds it.
    ///
    /// # Errors
    ///
    /// A text that names no date, or a longer stretch, with advice on what to write.
    pub fn named(self, text: &str, now: &Zoned) -> Result<Date, String> {
        let (length, date) = stretch(text, now)?.ok_or_else(|| unreadable(text, ADVICE))?;
        // A week is not written by itself: any day of it names it.
        let longest = if self == Self::Week { Self::Day } else { self };
        if length > longest {
            return Err(format!(
                "`{text}` is a whole {}, and a {} is asked for; {ADVICE}",
                length.name(),
                self.name()
            ));
        }
        Ok(self.first(date))
    }
}

/// The first moment of a day.
pub fn midnight(date: Date, zone: &TimeZone) -> UnixMillis {
    // Where the clocks skip midnight, the day begins with the first moment behind the gap.
    let begin = date.to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
    UnixMillis(begin.map_or(i64::MAX, Timestamp::as_millisecond))
}

/// The local day of a moment.
pub fn day_of(moment: UnixMillis, zone: &TimeZone) -> Date {
    local(moment, zone).date()
}

/// What a clock on the wall shows at a moment.
pub fn local(moment: UnixMillis, zone: &TimeZone) -> DateTime {
    zone.to_datetime(timestamp(moment))
}

/// The moment; one beyond all calendars is their end.
pub fn timestamp(moment: UnixMillis) -> Timestamp {
    Timestamp::from_millisecond(moment.0).unwrap_or(if moment.0 < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// From one written moment up to another. A date stands for all of it: its first moment in `from`, and everything up to
/// its end in `to`. What is not said is open.
///
/// # Errors
///
/// A text that names no moment, or a range without a moment in it, with advice on what to write.
pub fn range(
    from: Option<&str>,
    to: Option<&str>,
    now: &Zoned,
) -> Result<Range<UnixMillis>, String> {
    let read = |text| written(text, now);
    let begin = from.map(read).transpose()?;
    let end = to.map(read).transpose()?;
    let range = begin.map_or(UnixMillis(i64::MIN), |range| range.start)
        ..end.map_or(UnixMillis(i64::MAX), |range| range.end);
    if range.is_empty() {
        let show = |moment| timestamp(moment).to_zoned(now.time_zone().clone());
        return Err(format!(
            "there is no time between {} and {}; the end must be later than the beginning",
            show(range.start).datetime(),
            show(range.end).datetime()
        ));
    }
    Ok(range)
}

/// The stretch of the calendar or the moment that a text names; a moment is a range that begins and ends with it.
fn written(text: &str, now: &Zoned) -> Result<Range<UnixMillis>, String> {
    if let Some((length, date)) = stretch(text, now)? {
        return Ok(length.range(date, now.time_zone()));
    }
    let moment = moment(text, now).ok_or_else(|| unreadable(text, ADVICE_ON_MOMENTS))?;
    let moment = UnixMillis(moment.as_millisecond());
    Ok(moment..moment)
}

/// A stretch of the calendar, if the text has the form of one.
fn stretch(text: &str, now: &Zoned) -> Result<Option<(Calendar, Date)>, String> {
    let text = text.trim();
    match text {
        "today" => return Ok(Some((Calendar::Day, now.date()))),
        "yesterday" => return Ok(Some((Calendar::Day, now.date().saturating_sub(1.day())))),
        _ => {}
    }
    let (length, whole) = match text.len() {
        4 => (Calendar::Year, format!("{text}-01-01")),
        7 => (Calendar::Month, format!("{text}-01")),
        10 => (Calendar::Day, text.to_owned()),
        _ => return Ok(None),
    };
    let has_form = whole.bytes().enumerate().all(|(place, byte)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if !has_form {
        return Ok(None);
    }
    let date = whole
        .parse()
        .map_err(|_| format!("there is no {} `{text}` in the calendar", length.name()))?;
    Ok(Some((length, date)))
}

/// A moment: with its offset, by the local clock, or by the time that has passed since.
fn moment(text: &str, now: &Zoned) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    if let Ok(moment) = text.parse::<DateTime>() {
        // An hour that the clocks skip is the one behind the gap; one that they repeat, the first of the two.
        let zoned = moment.to_zoned(now.time_zone().clone()).ok()?;
        return Some(zoned.timestamp());
    }
    // "ago" makes a span negative; nobody means the future.
    let ago: Span = text.parse().ok()?;
    let past = now.checked_sub(ago.abs()).ok()?;
    (!text.starts_with(['+', '-'])).then(|| past.timestamp())
}

fn unreadable(text: &str, advice: &str) -> String {
    format!("`{text}` is no date; {advice}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone")
    }

    /// A Sunday morning in Berlin.
    fn now() -> Zoned {
        "2026-11-22T10:15:30+01:00[Europe/Berlin]"
            .parse()
            .expect("a moment")
    }

    fn utc(range: &Range<UnixMillis>) -> [String; 2] {
        [range.start, range.end].map(|moment| timestamp(moment).to_string())
    }

    #[test]
    fn a_date_stands_for_all_of_it() {
        for (text, begin, end) in [
            ("today", "2026-11-21T23:00:00Z", "2026-11-22T23:00:00Z"),
            ("yesterday", "2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z"),
            ("2026-11-03", "2026-11-02T23:00:00Z", "2026-11-03T23:00:00Z"),
            (" 2026-07 ", "2026-06-30T22:00:00Z", "2026-07-31T22:00:00Z"),
            ("2024-02", "2024-01-31T23:00:00Z", "2024-02-29T23:00:00Z"),
            ("2026", "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z"),
        ] {
            let range = range(Some(text), Some(text), &now()).expect(text);
            assert_eq!(utc(&range), [begin, end], "{text}");
        }
    }

    #[test]
    fn a_moment_is_written_with_its_offset_by_the_local_clock_or_by_what_has_passed_since() {
        for (text, moment) in [
            ("2026-11-22T10:15", "2026-11-22T09:15:00Z"),
            ("2026-11-22 10:15:30", "2026-11-22T09:15:30Z"),
            ("2026-07-22T10:15", "2026-07-22T08:15:00Z"),
            ("2026-11-22T10:15Z", "2026-11-22T10:15:00Z"),
            ("2026-11-22T10:15:30.5-05:00", "2026-11-22T15:15:30.5Z"),
            ("12h", "2026-11-21T21:15:30Z"),
            ("12h ago", "2026-11-21T21:15:30Z"),
            ("1d 6h", "2026-11-21T03:15:30Z"),
            // Over the end of summer time: the same time of day, 169 hours ago.
            ("29d", "2026-10-24T08:15:30Z"),
            ("1mo", "2026-10-22T08:15:30Z"),
        ] {
            let range = range(Some(text), None, &now()).expect(text);
            assert_eq!(timestamp(range.start).to_string(), moment, "{text}");
            assert_eq!(range.end, UnixMillis(i64::MAX));
        }
    }

    #[test]
    fn a_moment_ends_a_range_where_it_stands_and_a_date_with_its_last_moment() {
        let until = |to| utc(&range(Some("2026-11-01"), Some(to), &now()).expect(to));
        assert_eq!(until("2026-11-01T12:00")[1], "2026-11-01T11:00:00Z");
        assert_eq!(until("2026-11-01")[1], "2026-11-01T23:00:00Z");
    }

    #[test]
    fn what_cannot_be_read_is_answered_with_what_can() {
        for (text, words) in [
            ("tomorrow", "`today`"),
            ("", "2026-11-22T10:15"),
            ("22.11.2026", "`22.11.2026` is no date"),
            ("2026-13", "there is no month `2026-13`"),
            ("2026-02-30", "there is no day `2026-02-30`"),
            ("2026-11-22T25:00", "no date"),
            ("-7d", "7d"),
            ("+7d", "7d"),
            ("7", "7d"),
            ("Ünïcödé", "no date"),
            ("99999999y", "no date"),
        ] {
            let error = range(Some(text), None, &now()).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn an_end_before_its_beginning_is_refused() {
        let error = range(Some("2026-11-22"), Some("2026-11-21"), &now()).expect_err("nothing");
        assert_eq!(
            error,
            "there is no time between 2026-11-22T00:00:00 and 2026-11-22T00:00:00; \
             the end must be later than the beginning"
        );
    }

    #[test]
    fn a_stretch_is_named_by_itself_or_by_a_day_of_it() {
        for (calendar, text, first) in [
            (Calendar::Day, "today", date(2026, 11, 22)),
            (Calendar::Week, "today", date(2026, 11, 16)),
            (Calendar::Week, "2026-11-23", date(2026, 11, 23)),
            (Calendar::Month, "yesterday", date(2026, 11, 1)),
            (Calendar::Month, "2026-02", date(2026, 2, 1)),
            (Calendar::Year, "2025-06-30", date(2025, 1, 1)),
            (Calendar::Year, "2025", date(2025, 1, 1)),
        ] {
            assert_eq!(calendar.named(text, &now()), Ok(first), "{text}");
        }
        for (calendar, text, words) in [
            (
                Calendar::Day,
                "2026-11",
                "`2026-11` is a whole month, and a day is asked for",
            ),
            (Calendar::Week, "2026", "a whole year, and a week"),
            (Calendar::Month, "2026", "a whole year, and a month"),
            (Calendar::Day, "7d", "no date"),
        ] {
            let error = calendar.named(text, &now()).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_day_has_the_hours_that_the_clocks_give_it() {
        for (name, day, hours) in [
            ("Europe/Berlin", date(2026, 3, 29), 23.0),
            ("Europe/Berlin", date(2026, 10, 25), 25.0),
            ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
            // The clocks go from 24:00 to 01:00 of the next day, so that this one has no midnight.
            ("America/Sao_Paulo", date(2018, 11, 4), 23.0),
            ("Asia/Kathmandu", date(2026, 11, 22), 24.0),
            // This day does not exist there.
            ("Pacific/Apia", date(2011, 12, 30), 0.0),
        ] {
            let range = Calendar::Day.range(day, &zone(name));
            let millis = Duration::from_millis(
                u64::try_from(range.end.0 - range.start.0).expect("forwards"),
            );
            assert!(
                (millis.as_secs_f64() / 3600.0 - hours).abs() < 1e-9,
                "{name} {millis:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn days_follow_each_other_without_gap_or_overlap(
            seconds in 0_i64..4_000_000_000,
            name in prop::sample::select(vec![
                "Europe/Berlin", "America/Havana", "Asia/Kolkata", "Pacific/Apia", "UTC", "Africa/Casablanca",
            ]),
        ) {
            let zone = zone(name);
            let moment = UnixMillis(seconds * 1000);
            let day = day_of(moment, &zone);
            for calendar in [Calendar::Day, Calendar::Week, Calendar::Month, Calendar::Year] {
                let range = calendar.range(day, &zone);
                prop_assert!(range.contains(&moment));
                let next = calendar.range(calendar.next(day), &zone);
                prop_assert_eq!(range.end, next.start);
            }
        }

        #[test]
        fn the_days_of_a_stretch_fill_it(
            day in 0_i32..40_000,
            calendar in prop::sample::select(vec![Calendar::Week, Calendar::Month, Calendar::Year]),
        ) {
            let day = date(1970, 1, 1).saturating_add(day.days());
            let days: Vec<Date> = Calendar::Day.parts(calendar.first(day)..calendar.next(day)).collect();
            prop_assert_eq!(days.first().copied(), Some(calendar.first(day)));
            prop_assert!(days.contains(&day));
            prop_assert_eq!(days.last().map(|last| Calendar::Day.next(*last)), Some(calendar.next(day)));
        }

        #[test]
        fn a_written_moment_is_that_moment(seconds in 0_i64..4_000_000_000) {
            let moment = UnixMillis(seconds * 1000);
            let text = timestamp(moment).to_string();
            let range = range(Some(&text), None, &now());
            prop_assert_eq!(range.map(|range| range.start), Ok(moment));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,24}", other in "[0-9dhTZ:+. -]{0,20}") {
            for text in [&text, &other] {
                let _ = range(Some(text), None, &now());
                let _ = Calendar::Month.named(text, &now());
            }
        }
    }
}
