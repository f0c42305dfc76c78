//! A day: where power came from above the line, where it went below it, and how full the battery was.
//!
//! Both sides stand against each other as they do in the house, so that a battery that charges is below the sun that
//! charges it. What is between two readings that are too far apart stays open.

use std::ops::Range;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use kstar_model::time::UnixMillis;

use super::drawing::{Anchor, Drawing, Frame};
use super::scale::{Scale, step, ticks};
use super::{Ink, Look, energy, percent};
use crate::energy::Flows;
use crate::period::local;

/// What a few minutes were like, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// From the panels, in W.
    pub production: Option<f64>,
    /// Into the house, in W.
    pub consumption: Option<f64>,
    /// From the grid, in W.
    pub import: Option<f64>,
    /// Into the grid, in W.
    pub export: Option<f64>,
    /// Into the battery, in W.
    pub stored: Option<f64>,
    /// Out of the battery, in W.
    pub drawn: Option<f64>,
    /// How full the battery was, in %.
    pub charge: Option<f64>,
}

impl Sample {
    /// Where power came from: the panels, the battery, the grid.
    fn sources(&self) -> [f64; 3] {
        [self.production, self.drawn, self.import].map(at_least_nothing)
    }

    /// Where it went: the house, the battery, the grid.
    fn uses(&self) -> [f64; 3] {
        [self.consumption, self.stored, self.export].map(at_least_nothing)
    }

    fn has_power(&self) -> bool {
        [self.production, self.consumption, self.import, self.export]
            .iter()
            .any(Option::is_some)
    }
}

/// An area cannot be less than nothing; what is absent has none.
fn at_least_nothing(watts: Option<f64>) -> f64 {
    watts.unwrap_or_default().max(0.0)
}

/// What a day's chart shows.
#[derive(Clone, Debug)]
pub struct Day {
    /// What stands above it.
    pub title: String,
    /// The inverters, and what else belongs to it.
    pub subtitle: String,
    /// From its first moment to the first of the next.
    pub span: Range<UnixMillis>,
    /// The zone of its hours.
    pub zone: TimeZone,
    /// Its samples with their times, in order.
    pub samples: Vec<(Range<UnixMillis>, Sample)>,
    pub sums: Flows,
}

pub fn draw(day: &Day, look: Look) -> Drawing {
    let mut drawing = Drawing::new(look, &format!("{}, {}", day.title, day.subtitle));
    let height = f64::from(look.size.height);
    let unit = super::unit(look);
    if !look.is_bare() {
        super::write_head(&mut drawing, &day.title, &day.subtitle);
        write_legend(&mut drawing, &day.sums);
    }

    let has_battery = day
        .samples
        .iter()
        .any(|(_, sample)| sample.charge.is_some());
    let top = super::top(look);
    let bottom = height - 2.4 * unit;
    let strip = if has_battery {
        (bottom - top) * 0.2
    } else {
        0.0
    };
    let gap = if has_battery { 1.6 * unit } else { 0.0 };
    let [left, right] = sides(look);
    let power = Frame {
        left,
        top,
        width: right - left,
        height: bottom - top - strip - gap,
    };
    let time = Scale::new(
        [position(day.span.start), position(day.span.end)],
        [power.left, power.right()],
    );
    let runs = runs(&day.samples);
    draw_power(&mut drawing, power, &time, &runs);
    if has_battery {
        let frame = Frame {
            top: bottom - strip,
            height: strip,
            ..power
        };
        draw_charge(&mut drawing, frame, &time, &runs);
    }
    write_hours(&mut drawing, day, &time, bottom);
    drawing
}

/// Where the day begins and ends, from the left of the chart.
pub fn sides(look: Look) -> [f64; 2] {
    let unit = super::unit(look);
    // A page has a margin of its own.
    let left = unit * if look.is_bare() { 2.4 } else { 3.4 };
    [left, f64::from(look.size.width) - 4.0 * unit]
}

/// A moment as a number to be scaled.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 are far below 2^53"
)]
fn position(moment: UnixMillis) -> f64 {
    moment.0 as f64
}

/// Samples that follow one another without a gap.
fn runs(samples: &[(Range<UnixMillis>, Sample)]) -> Vec<&[(Range<UnixMillis>, Sample)]> {
    samples
        .chunk_by(|(before, one), (after, other)| {
            before.end == after.start && one.has_power() && other.has_power()
        })
        .filter(|run| run.iter().any(|(_, sample)| sample.has_power()))
        .collect()
}

/// The points of a value over a run: in the middle of each sample, and as far as the run's ends.
fn points(
    run: &[(Range<UnixMillis>, Sample)],
    time: &Scale,
    value: impl Fn(&Sample) -> f64,
) -> Vec<(f64, f64)> {
    let middle = |span: &Range<UnixMillis>| f64::midpoint(position(span.start), position(span.end));
    let mut points: Vec<(f64, f64)> = run
        .iter()
        .map(|(span, sample)| (time.at(middle(span)), value(sample)))
        .collect();
    if let (Some((first, one)), Some((last, other))) = (run.first(), run.last()) {
        points.insert(0, (time.at(position(first.start)), value(one)));
        points.push((time.at(position(last.end)), value(other)));
    }
    points
}

fn draw_power(
    drawing: &mut Drawing,
    frame: Frame,
    time: &Scale,
    runs: &[&[(Range<UnixMillis>, Sample)]],
) {
    let look = drawing.look();
    let colours = look.theme.colours();
    let unit = super::unit(look);
    let highest = |stack: fn(&Sample) -> [f64; 3]| {
        let sums = runs.iter().copied().flatten();
        let sums = sums.map(|(_, sample)| stack(sample).iter().sum::<f64>() / 1000.0);
        // Of a day without power the axis still has a line to show.
        sums.fold(0.1, f64::max)
    };
    let (above, below) = (highest(Sample::sources), highest(Sample::uses));
    let step = step(above + below, 8.0);
    // The highest point keeps a little distance from what stands above.
    let scale = Scale::new([above * 1.04, -below * 1.04], [frame.top, frame.bottom()]);

    let font = super::small(look, Anchor::End);
    let lines = ticks(above, step).chain(ticks(below, step).skip(1).map(|kw| -kw));
    for kw in lines {
        let y = scale.at(kw);
        super::draw_rule(drawing, frame, y, font, &super::label(kw.abs(), step, look));
    }
    drawing.text(
        (frame.left - 0.5 * unit, frame.top - 0.9 * unit),
        font,
        "kW",
    );

    let inks = [colours.pv, colours.battery, colours.grid];
    draw_stack(drawing, runs, time, &scale, 1.0, Sample::sources, inks);
    let inks = [colours.house, colours.battery, colours.grid];
    draw_stack(drawing, runs, time, &scale, -1.0, Sample::uses, inks);
    let zero = scale.at(0.0);
    drawing.line((frame.left, zero), (frame.right(), zero), colours.text, 1.2);
}

/// Three areas on top of each other, upwards or downwards from zero. The outer ones are drawn first and reach down to
/// zero too, so that no seam shows between two.
fn draw_stack(
    drawing: &mut Drawing,
    runs: &[&[(Range<UnixMillis>, Sample)]],
    time: &Scale,
    scale: &Scale,
    direction: f64,
    stack: fn(&Sample) -> [f64; 3],
    inks: [Ink; 3],
) {
    let zero = scale.at(0.0);
    for run in runs {
        for (count, ink) in [1, 2, 3].into_iter().zip(inks).rev() {
            let sum = |sample: &Sample, count: usize| -> f64 {
                stack(sample).iter().take(count).sum::<f64>() * direction / 1000.0
            };
            let outline: Vec<(f64, f64)> = points(run, time, |sample| scale.at(sum(sample, count)));
            let (Some((first, _)), Some((last, _))) = (outline.first(), outline.last()) else {
                continue;
            };
            let ground = [(*last, zero), (*first, zero)];
            drawing.area(outline.iter().copied().chain(ground), ink.fill);
            // An edge only where there is something of it, or empty areas would draw lines along their neighbours.
            let inner = points(run, time, |sample| scale.at(sum(sample, count - 1)));
            let edge: Vec<((f64, f64), f64)> = outline
                .into_iter()
                .zip(inner.into_iter().map(|(_, y)| y))
                .collect();
            let is_there = |((_, y), inner): &((f64, f64), f64)| (y - inner).abs() > 0.4;
            for piece in edge.chunk_by(|one, other| is_there(one) == is_there(other)) {
                if piece.first().is_some_and(is_there) {
                    drawing.curve(piece.iter().map(|(point, _)| *point), ink.edge, 1.2);
                }
            }
        }
    }
}

fn draw_charge(
    drawing: &mut Drawing,
    frame: Frame,
    time: &Scale,
    runs: &[&[(Range<UnixMillis>, Sample)]],
) {
    let look = drawing.look();
    let colours = look.theme.colours();
    let unit = super::unit(look);
    let scale = Scale::new([100.0, 0.0], [frame.top, frame.bottom()]);
    let font = super::small(look, Anchor::Start);
    for percent in [0.0, 50.0, 100.0] {
        let y = scale.at(percent);
        super::draw_rule(drawing, frame, y, font, &format!("{percent:.0} %"));
    }
    for run in runs {
        let known = |sample: &Sample| sample.charge.is_some();
        for run in run.chunk_by(|(_, one), (_, other)| known(one) == known(other)) {
            if run.first().is_some_and(|(_, sample)| known(sample)) {
                let line = points(run, time, |sample| {
                    scale.at(sample.charge.unwrap_or_default())
                });
                if let (Some((first, _)), Some((last, _))) = (line.first(), line.last()) {
                    let empty = [(*last, frame.bottom()), (*first, frame.bottom())];
                    drawing.area(line.iter().copied().chain(empty), colours.charge);
                }
                drawing.curve(line, colours.battery.edge, 2.2);
            }
        }
    }
    drawing.text(
        (frame.left, frame.top - 0.45 * unit),
        font,
        look.words.state_of_charge,
    );
}

fn write_hours(drawing: &mut Drawing, day: &Day, time: &Scale, bottom: f64) {
    let look = drawing.look();
    let colours = look.theme.colours();
    let unit = super::unit(look);
    let font = super::small(look, Anchor::Middle);
    let mut tick = |moment, text: &str| {
        let x = time.at(position(moment));
        drawing.line((x, bottom), (x, bottom + 0.4 * unit), colours.faint, 1.0);
        drawing.text((x, bottom + 1.5 * unit), font, text);
    };
    let midnight = local(day.span.start, &day.zone).date();
    let room = time.at(position(day.span.end)) - time.at(position(day.span.start));
    // A label is some four units wide, and keeps its distance from the next.
    let hours = if room < 8.0 * 5.0 * unit { 6 } else { 3 };
    for hour in (0..24).step_by(hours) {
        let shown: DateTime = midnight.at(hour, 0, 0, 0);
        // An hour that the clock skips has no place; one that it repeats has that of the first.
        let Ok(moment) = shown.to_zoned(day.zone.clone()) else {
            continue;
        };
        if moment.datetime() != shown {
            continue;
        }
        let moment = UnixMillis(moment.timestamp().as_millisecond());
        tick(moment, &shown.strftime("%H:%M").to_string());
    }
    tick(day.span.end, "24:00");
}

fn write_legend(drawing: &mut Drawing, sums: &Flows) {
    let look = drawing.look();
    let colours = look.theme.colours();
    let kwh = |energy: Option<crate::energy::Energy>| energy.map(|energy| energy.kwh);
    let rows = [
        super::Legend {
            name: "From",
            sum: None,
            entries: vec![
                (colours.pv, "PV", energy(kwh(sums.production))),
                (colours.battery, "battery", energy(kwh(sums.drawn))),
                (colours.grid, "grid", energy(kwh(sums.import))),
            ],
            share: ("Autarky", percent(sums.autarky())),
        },
        super::Legend {
            name: "To",
            sum: None,
            entries: vec![
                (colours.house, "house", energy(kwh(sums.consumption))),
                (colours.battery, "battery", energy(kwh(sums.stored))),
                (colours.grid, "grid", energy(kwh(sums.export))),
            ],
            share: ("Own use", percent(sums.self_consumption())),
        },
    ];
    super::write_legend(drawing, &rows);
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::chart::svg::{self, tests::assert_sound};
    use crate::chart::{Size, Theme};
    use crate::period::Calendar;

    const FIVE_MINUTES: i64 = 300_000;

    /// A day of that many watts of sun, without readings from the 100th to the 120th five minutes.
    fn day(date: jiff::civil::Date, watts: f64) -> Day {
        let zone = kstar_common::zone::named("Europe/Berlin").expect("a zone");
        let span = Calendar::Day.range(date, &zone);
        let count = (span.end.0 - span.start.0) / FIVE_MINUTES;
        let samples = (0..count).filter(|number| !(100..120).contains(number));
        let sample = Sample {
            production: Some(watts),
            consumption: Some(-12.0),
            import: Some(0.0),
            export: Some(watts * 0.7),
            stored: Some(watts * 0.2),
            drawn: None,
            charge: Some(55.0),
        };
        let samples = samples.map(|number| {
            let begin = span.start.0 + number * FIVE_MINUTES;
            (UnixMillis(begin)..UnixMillis(begin + FIVE_MINUTES), sample)
        });
        Day {
            title: "A <day>".to_owned(),
            subtitle: "roof & garage".to_owned(),
            samples: samples.collect(),
            sums: Flows::default(),
            span,
            zone,
        }
    }

    fn look(size: &str) -> Look {
        Look::alone(Theme::Dark, size.parse::<Size>().expect("a size"))
    }

    #[test]
    fn everything_stands_inside_the_picture_whatever_the_power_and_the_size() {
        for watts in [0.0, 0.4, 3900.0, 250_000.0] {
            for size in ["480x300", "1200x675", "4096x300", "480x4096"] {
                assert_sound(&draw(&day(date(2026, 6, 21), watts), look(size)));
            }
        }
    }

    #[test]
    fn a_day_has_the_hours_that_its_clock_shows() {
        let hours = |date| -> Vec<String> {
            let texts = assert_sound(&draw(&day(date, 100.0), look("1200x675")));
            texts
                .into_iter()
                .filter(|text| text.contains(':'))
                .collect()
        };
        let all = [
            "00:00", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00", "24:00",
        ];
        assert_eq!(hours(date(2026, 3, 29)), all);
        assert_eq!(hours(date(2026, 10, 25)), all);
    }

    #[test]
    fn what_no_reading_covers_stays_open() {
        let mut day = day(date(2026, 6, 21), 1000.0);
        let areas = |day: &Day| {
            let svg = svg::write(&draw(day, look("1200x675")));
            svg.matches(Theme::Dark.colours().charge).count()
        };
        assert_eq!(areas(&day), 2, "one before the gap and one behind it");
        day.samples
            .retain(|(span, _)| span.start < UnixMillis(day.span.start.0 + 100 * FIVE_MINUTES));
        assert_eq!(areas(&day), 1);
        day.samples.clear();
        assert_eq!(areas(&day), 0);
        assert_sound(&draw(&day, look("1200x675")));
    }

    #[test]
    fn a_house_without_a_battery_has_no_line_for_one() {
        let mut day = day(date(2026, 6, 21), 1000.0);
        for (_, sample) in &mut day.samples {
            sample.charge = None;
        }
        let svg = svg::write(&draw(&day, look("1200x675")));
        assert!(!svg.contains("state of charge"));
    }
}
