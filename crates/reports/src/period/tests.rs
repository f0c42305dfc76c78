use std::time::Duration;

use jiff::civil::date;
use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> TimeZone {
    kstar_common::zone::named(name).expect("a zone")
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
        let millis =
            Duration::from_millis(u64::try_from(range.end.0 - range.start.0).expect("forwards"));
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
