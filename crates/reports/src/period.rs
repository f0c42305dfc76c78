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

/// What may be written, for anyone who wrote something else.
const ADVICE: &str =
    "write a date like 2026-11-22, a month like 2026-11, a year like 2026, `today` or `yesterday`";

/// What may be written where a time of day counts too.
const ADVICE_ON_MOMENTS: &str = "write a date like 2026-11-22 or 2026-11, a moment like 2026-11-22T10:15, \
     `today`, `yesterday`, or a time that has passed since, like 7d or 12h";

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
mod tests;
