//! The last hours: one area for each series, so that each is told from the others without colour. What can flow both
//! ways has an area on either side of its line.

use std::ops::Range;
use std::time::Duration;

use jiff::Zoned;
use jiff::tz::TimeZone;
use kstar_model::time::UnixMillis;
use kstar_model::time::millis;
use ratatui::layout::Rect;

use super::pen::{Pen, columns, rows};
use super::words::power;
use crate::curve::{Curve, Sample, Series};
use crate::look::Ink;

/// How much of the past is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// A quarter of an hour.
    Quarter,
    /// An hour.
    Hour,
    /// Six hours.
    SixHours,
    /// A day.
    Day,
}

impl Span {
    const ALL: [Self; 4] = [Self::Quarter, Self::Hour, Self::SixHours, Self::Day];

    /// How long it is.
    pub fn length(self) -> Duration {
        match self {
            Self::Quarter => Duration::from_secs(900),
            Self::Hour => Duration::from_secs(3600),
            Self::SixHours => Duration::from_secs(6 * 3600),
            Self::Day => Duration::from_secs(24 * 3600),
        }
    }

    /// In words.
    pub fn label(self) -> &'static str {
        match self {
            Self::Quarter => "15 minutes",
            Self::Hour => "hour",
            Self::SixHours => "6 hours",
            Self::Day => "24 hours",
        }
    }

    /// What shows all that is known, up to six hours.
    pub fn fitting(curve: &Curve, now: UnixMillis) -> Self {
        let known = curve.begin().map_or(0, |begin| now.0 - begin.0);
        Self::ALL
            .into_iter()
            .find(|span| millis(span.length()) >= known)
            .unwrap_or(Self::SixHours)
            .min(Self::SixHours)
    }

    /// The next longer one.
    #[must_use]
    pub fn longer(self) -> Self {
        let mut longer = Self::ALL.into_iter().skip_while(|span| *span != self);
        longer.nth(1).unwrap_or(self)
    }

    /// The next shorter one.
    #[must_use]
    pub fn shorter(self) -> Self {
        let shorter = Self::ALL.into_iter().take_while(|span| *span != self);
        shorter.last().unwrap_or(self)
    }

    /// The distance of the hours and minutes that are written below.
    fn step_minutes(self, columns: u16) -> i64 {
        let most = i64::from(columns / 12).max(1);
        let minutes = millis(self.length()) / 60_000;
        [1, 5, 10, 15, 30, 60, 120, 180, 360, 720]
            .into_iter()
            .find(|step| minutes / step <= most)
            .unwrap_or(720)
    }
}

/// An area that is drawn.
struct Strip {
    series: Series,
    name: &'static str,
    /// What flows upwards and downwards, for a series that does both.
    ways: Option<[&'static str; 2]>,
    ink: Ink,
    /// How much of the height it gets.
    share: u16,
}

const STRIPS: [Strip; 5] = [
    Strip {
        series: Series::Pv,
        name: "PV",
        ways: None,
        ink: Ink::Pv,
        share: 2,
    },
    Strip {
        series: Series::House,
        name: "House",
        ways: None,
        ink: Ink::House,
        share: 2,
    },
    Strip {
        series: Series::Grid,
        name: "Grid",
        ways: Some(["import", "export"]),
        ink: Ink::Grid,
        share: 3,
    },
    Strip {
        series: Series::Battery,
        name: "Battery",
        ways: Some(["charge", "discharge"]),
        ink: Ink::Battery,
        share: 3,
    },
    Strip {
        series: Series::Charge,
        name: "Battery %",
        ways: None,
        ink: Ink::Battery,
        share: 1,
    },
];

/// The columns of names on the left, and of the highest values on the right.
const NAMES: u16 = 18;
const PEAKS: u16 = 9;

pub(super) struct Chart<'a> {
    pub(super) curve: &'a Curve,
    pub(super) span: Span,
    pub(super) now: &'a Zoned,
    /// Whether there is a battery to be drawn.
    pub(super) battery: bool,
}

/// Draws the series, and the hours in the last row.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, chart: &Chart<'_>) {
    let width = area.width.saturating_sub(NAMES + PEAKS);
    if area.height < 2 || width < 8 {
        return;
    }
    let span = shown_span(chart, width);
    let samples = chart.curve.columns(&span, width.into());
    let mut y = 0;
    for (strip, height) in heights(chart.battery, area.height - 1) {
        let part = rows(area, y, height);
        draw_strip(pen, part, strip, &samples);
        // Areas touch where there is no room between.
        y += height;
    }
    let hours = rows(columns(area, NAMES, width), y, 1);
    draw_hours(pen, hours, chart, &span);
}

/// From the first to the last column. They keep their places in time, so that the picture moves by whole columns.
fn shown_span(chart: &Chart<'_>, width: u16) -> Range<UnixMillis> {
    let column = (millis(chart.span.length()) / i64::from(width)).max(1);
    let now = chart.now.timestamp().as_millisecond();
    let end = now - now.rem_euclid(column) + column;
    UnixMillis(end - column * i64::from(width))..UnixMillis(end)
}

/// Which series are drawn in so much height, and how high each is.
fn heights(battery: bool, height: u16) -> Vec<(&'static Strip, u16)> {
    let needs = |strip: &Strip| if strip.ways.is_some() { 2 } else { 1 };
    let is_of_battery = |strip: &Strip| matches!(strip.series, Series::Battery | Series::Charge);
    // The last ones are left out first.
    let mut chosen: Vec<(&Strip, u16)> = Vec::new();
    let mut left = height;
    for strip in STRIPS
        .iter()
        .filter(|strip| battery || !is_of_battery(strip))
    {
        let needed = needs(strip);
        if needed <= left {
            left -= needed;
            chosen.push((strip, needed));
        }
    }
    // The rest goes to those that have least of their share.
    loop {
        let poorest = chosen
            .iter_mut()
            .filter(|(strip, height)| left > 0 && *height < 6 * strip.share)
            .min_by_key(|(strip, height)| *height * 12 / strip.share);
        let Some((_, height)) = poorest else {
            return chosen;
        };
        *height += 1;
        left -= 1;
    }
}

fn values(samples: &[Sample], series: Series) -> impl Iterator<Item = Option<f32>> {
    samples
        .iter()
        .map(move |sample| sample.get(series as usize).copied().flatten())
}

fn draw_strip(pen: &mut Pen<'_>, area: Rect, strip: &Strip, samples: &[Sample]) {
    let up = |value: f32| value.max(0.0);
    let down = |value: f32| (-value).max(0.0);
    let highest = |side: fn(f32) -> f32| {
        values(samples, strip.series)
            .flatten()
            .map(side)
            .fold(0.0, f32::max)
    };
    let peaks = [highest(up), highest(down)];
    let peak = |value: f32| {
        if value > 0.0 {
            power(value.into())
        } else {
            String::new()
        }
    };
    pen.put(area, 0, 0, strip.name, Ink::Plain);
    let inside = columns(area, NAMES, area.width.saturating_sub(NAMES + PEAKS));
    let right = columns(area, area.width.saturating_sub(PEAKS), PEAKS);
    let Some([one, other]) = strip.ways else {
        let full = if strip.series == Series::Charge {
            100.0
        } else {
            peaks[0]
        };
        let label = if strip.series == Series::Charge {
            values(samples, strip.series)
                .flatten()
                .last()
                .map_or_else(String::new, |charge| format!("{charge:.0} %"))
        } else {
            peak(peaks[0])
        };
        draw_side(pen, inside, strip, samples, full, true);
        pen.put_right(right, PEAKS, 0, &label, Ink::Faint);
        return;
    };
    // Both sides have the same scale, so the line between them stands where they leave it.
    let above = rows_above(peaks, area.height);
    let below = area.height - above;
    let row = (peaks[0] / f32::from(above)).max(peaks[1] / f32::from(below.max(1)));
    let part = rows(inside, 0, above);
    draw_side(pen, part, strip, samples, row * f32::from(above), true);
    let part = rows(inside, above, below);
    draw_side(pen, part, strip, samples, row * f32::from(below), false);
    pen.put(area, 8, 0, one, Ink::Faint);
    pen.put(area, 8, area.height - 1, other, Ink::Faint);
    pen.put_right(right, PEAKS, 0, &peak(peaks[0]), Ink::Faint);
    pen.put_right(right, PEAKS, area.height - 1, &peak(peaks[1]), Ink::Faint);
}

/// How many of the rows are above the line of what flows both ways; at least one on either side.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between nothing and the height of a terminal"
)]
fn rows_above([up, down]: [f32; 2], height: u16) -> u16 {
    let share = if up + down > 0.0 {
        up / (up + down)
    } else {
        0.5
    };
    let rows = (f32::from(height) * share).round() as u16;
    rows.clamp(1, height.saturating_sub(1).max(1))
}

const UPWARDS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// From above there are only an eighth and a half.
const DOWNWARDS: [&str; 9] = [" ", "▔", "▔", "▀", "▀", "▀", "▀", "█", "█"];

/// Draws one side: upwards from the lower edge, or downwards from the upper one.
fn draw_side(
    pen: &mut Pen<'_>,
    area: Rect,
    strip: &Strip,
    samples: &[Sample],
    full: f32,
    upwards: bool,
) {
    for (x, value) in (0..area.width).zip(values(samples, strip.series)) {
        let Some(value) = value else {
            continue;
        };
        let eighths = eighths(if upwards { value } else { -value }, full, area.height);
        for row in 0..area.height {
            let y = if upwards { area.height - 1 - row } else { row };
            let filled = eighths.saturating_sub(row * 8).min(8);
            let table = if upwards { UPWARDS } else { DOWNWARDS };
            let part = table.get(usize::from(filled)).copied().unwrap_or(" ");
            if part != " " {
                pen.put(area, x, y, part, strip.ink);
            } else if row == 0 && upwards {
                // Nothing was measured, which is not the same as nothing being known.
                pen.put(area, x, y, "·", Ink::Faint);
            }
        }
    }
}

/// How many eighths of a row a value fills; what is more than nothing is seen.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between nothing and the height of a terminal"
)]
fn eighths(value: f32, full: f32, height: u16) -> u16 {
    if value <= 0.0 || full <= 0.0 {
        return 0;
    }
    let most = f32::from(height) * 8.0;
    (value / full * most).round().clamp(1.0, most) as u16
}

/// Writes the hours below their columns.
fn draw_hours(pen: &mut Pen<'_>, area: Rect, chart: &Chart<'_>, span: &Range<UnixMillis>) {
    let zone: &TimeZone = chart.now.time_zone();
    let step = chart.span.step_minutes(area.width) * 60_000;
    let length = span.end.0 - span.start.0;
    // Round hours by the clock on the wall.
    let offset = i64::from(chart.now.offset().seconds()) * 1000;
    let first = (span.start.0 + offset).div_euclid(step) * step - offset;
    let mut free = 0;
    for tick in (0..).map(|index| first + index * step) {
        if tick >= span.end.0 {
            break;
        }
        if tick < span.start.0 {
            continue;
        }
        let Ok(x) = u16::try_from((tick - span.start.0) * i64::from(area.width) / length) else {
            continue;
        };
        let Ok(moment) = jiff::Timestamp::from_millisecond(tick) else {
            continue;
        };
        let text = moment.to_zoned(zone.clone()).strftime("%H:%M").to_string();
        if x >= free && x + 6 <= area.width {
            pen.put(area, x, 0, "╵", Ink::Faint);
            free = pen.put(area, x + 1, 0, &text, Ink::Faint) + 1;
        }
    }
    pen.put_right(area, area.width + PEAKS, 0, "", Ink::Faint);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(battery: bool, height: u16) -> String {
        heights(battery, height)
            .iter()
            .map(|(strip, height)| format!("{} {height}", strip.name))
            .collect::<Vec<_>>()
            .join(", ")
    }

    #[test]
    fn what_has_no_room_is_left_out_and_the_rest_shares_it() {
        assert_eq!(names(true, 2), "PV 1, House 1");
        assert_eq!(names(true, 4), "PV 1, House 1, Grid 2");
        assert_eq!(
            names(true, 7),
            "PV 1, House 1, Grid 2, Battery 2, Battery % 1"
        );
        assert_eq!(names(false, 7), "PV 2, House 2, Grid 3");
        for height in 0..100 {
            let sum: u16 = heights(true, height).iter().map(|(_, height)| height).sum();
            assert!(sum <= height, "{height}");
        }
    }

    #[test]
    fn the_line_stands_where_both_sides_leave_it() {
        assert_eq!(rows_above([0.0, 0.0], 2), 1);
        assert_eq!(rows_above([100.0, 300.0], 8), 2);
        assert_eq!(rows_above([100.0, 0.0], 8), 7);
        assert_eq!(rows_above([0.0, 100.0], 8), 1);
    }

    #[test]
    fn something_is_more_than_nothing_and_the_most_fills_all() {
        assert_eq!(eighths(0.0, 5000.0, 2), 0);
        assert_eq!(eighths(-1.0, 5000.0, 2), 0);
        assert_eq!(eighths(1.0, 5000.0, 2), 1);
        assert_eq!(eighths(2500.0, 5000.0, 2), 8);
        assert_eq!(eighths(5000.0, 5000.0, 2), 16);
        assert_eq!(eighths(1.0, 0.0, 2), 0);
    }
}
