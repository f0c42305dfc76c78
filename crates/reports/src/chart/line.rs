//! One quantity over a period: a line of its means for each inverter, and in which values it lay.
//!
//! It is drawn from what the history sums up anyhow, so that a year is as quickly there as a day. Of a counter the line is
//! what it has counted since the period began.

use std::ops::{ControlFlow, Range};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use kstar_history::{Aggregate, History, HistoryError, Level, StoredInverter};
use kstar_model::catalogue::{Group, Quantity};
use kstar_model::time::UnixMillis;

use super::drawing::{Anchor, Drawing, Frame};
use super::scale::{Scale, step};
use super::{Ink, Look, bars, day};
use crate::energy::Subject;
use crate::period::{Calendar, midnight};

/// What a quantity was over a short time.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub span: Range<UnixMillis>,
    pub mean: f64,
    pub min: f64,
    pub max: f64,
}

/// What one inverter tells of it.
#[derive(Clone, Debug)]
pub struct Course {
    pub inverter: String,
    /// In the order of time.
    pub values: Vec<Value>,
}

/// What such a chart shows.
#[derive(Clone, Debug)]
pub struct Details {
    pub title: String,
    pub quantity: Quantity,
    pub subject: Subject,
    pub days: Range<Date>,
    pub zone: TimeZone,
    /// Those of the inverters that tell the quantity.
    pub courses: Vec<Course>,
}

/// How fine the values of a period are.
fn level(subject: Subject) -> Level {
    match subject {
        Subject::One(Calendar::Day) => Level::FiveMinutes,
        Subject::One(Calendar::Week | Calendar::Month) => Level::Hour,
        Subject::One(Calendar::Year) | Subject::Total => Level::Day,
    }
}

impl Details {
    /// What the history knows of a quantity on these days.
    pub fn gather(
        history: &History,
        inverters: &[StoredInverter],
        quantity: Quantity,
        subject: Subject,
        days: Range<Date>,
        title: String,
    ) -> Result<Self, HistoryError> {
        let zone = history.zone().clone();
        let span = midnight(days.start, &zone)..midnight(days.end, &zone);
        let mut courses = Vec::new();
        for inverter in inverters {
            let (mut values, mut counted) = (Vec::new(), 0.0);
            history.buckets(
                &inverter.name,
                level(subject),
                span.clone(),
                &[quantity],
                &mut |bucket| {
                    let span = bucket.begin..bucket.end;
                    let [mean, min, max] = match bucket.values[..] {
                        [Some(Aggregate::Measured { mean, min, max })] => [mean, min, max],
                        [Some(Aggregate::Counted { grown })] => {
                            counted += grown;
                            [counted; 3]
                        }
                        _ => return ControlFlow::Continue(()),
                    };
                    values.push(Value {
                        span,
                        mean,
                        min,
                        max,
                    });
                    ControlFlow::Continue(())
                },
            )?;
            if !values.is_empty() {
                let inverter = inverter.name.clone();
                courses.push(Course { inverter, values });
            }
        }
        Ok(Self {
            title,
            quantity,
            subject,
            days,
            zone,
            courses,
        })
    }

    /// From the first moment to the first that is not in it.
    pub fn span(&self) -> Range<UnixMillis> {
        midnight(self.days.start, &self.zone)..midnight(self.days.end, &self.zone)
    }

    /// The colours of the lines.
    fn inks(&self, look: Look) -> impl Iterator<Item = Ink> {
        let colours = look.theme.colours();
        let all = [colours.house, colours.pv, colours.battery, colours.grid];
        let first = usize::from(self.first_colour());
        all.into_iter().cycle().skip(first)
    }

    /// Which of the four colours the first line has: that of its place in the house.
    fn first_colour(&self) -> u8 {
        match self.quantity.description().group {
            Group::Pv => 1,
            Group::Battery => 2,
            Group::Grid => 3,
            Group::Load | Group::Inverter | Group::Energy | Group::Meter | Group::Link => 0,
        }
    }

    /// The names of those colours, for a legend outside.
    pub fn colours(&self) -> impl Iterator<Item = &'static str> {
        let all = ["house", "pv", "battery", "grid"];
        all.into_iter()
            .cycle()
            .skip(usize::from(self.first_colour()))
    }

    /// The lowest and the highest value, with room between them; from zero where that is not far.
    fn extent(&self) -> [f64; 2] {
        let values = || self.courses.iter().flat_map(|course| &course.values);
        let low = values()
            .map(|value| value.min)
            .fold(f64::INFINITY, f64::min);
        let high = values()
            .map(|value| value.max)
            .fold(f64::NEG_INFINITY, f64::max);
        match (low, high) {
            _ if low > high => [0.0, 1.0],
            _ if low >= 0.0 && low <= high / 2.0 => [0.0, high.max(0.1)],
            _ if low >= high => [low - 0.5, high + 0.5],
            extent => extent.into(),
        }
    }
}

/// Where the period begins and ends, from the left of the chart.
pub fn sides(look: Look) -> [f64; 2] {
    let unit = super::unit(look);
    let left = if look.is_bare() { 3.6 } else { 5.4 };
    [left * unit, f64::from(look.size.width) - 1.4 * unit]
}

pub fn draw(details: &Details, look: Look) -> Drawing {
    let description = details.quantity.description();
    let title = format!("{}, {}", description.label, details.title);
    let mut drawing = Drawing::new(look, &title);
    let unit = super::unit(look);
    if !look.is_bare() {
        super::write_head(&mut drawing, &title, description.name);
        write_legend(&mut drawing, details);
    }
    let [left, right] = sides(look);
    let frame = Frame {
        left,
        top: super::top(look),
        width: right - left,
        height: f64::from(look.size.height) - super::top(look) - 2.4 * unit,
    };
    let values = draw_scale(&mut drawing, details, frame);
    let span = details.span();
    let time = Scale::new(
        [day::position(span.start), day::position(span.end)],
        [frame.left, frame.right()],
    );
    for (course, ink) in details.courses.iter().zip(details.inks(look)) {
        let has_band = details.courses.len() == 1;
        draw_course(&mut drawing, &course.values, &time, &values, ink, has_band);
    }
    if details.subject.part().is_some() {
        write_parts(&mut drawing, details, &time, frame.bottom());
    } else {
        day::write_hours(&mut drawing, &span, &details.zone, &time, frame.bottom());
    }
    drawing
}

fn draw_scale(drawing: &mut Drawing, details: &Details, frame: Frame) -> Scale {
    let look = drawing.look();
    let unit = super::unit(look);
    let font = super::small(look, Anchor::End);
    let [low, high] = details.extent();
    let step = step(high - low, 6.0);
    let room = (high - low) * 0.04;
    let bottom = if low == 0.0 { low } else { low - room };
    let scale = Scale::new([high + room, bottom], [frame.top, frame.bottom()]);
    let first = (low / step).ceil() * step;
    for count in 0_u8..16 {
        let value = first + f64::from(count) * step;
        if value > high + step * 1e-6 {
            break;
        }
        // A sum of steps may miss zero by a hair.
        let shown = if value.abs() < step * 1e-6 {
            0.0
        } else {
            value
        };
        let text = super::label(shown, step, look);
        super::draw_rule(drawing, frame, scale.at(value), font, &text);
    }
    let at = (frame.left - 0.5 * unit, frame.top - 0.9 * unit);
    drawing.text(at, font, details.quantity.description().unit);
    scale
}

/// A line with a gap wherever the values have one.
fn draw_course(
    drawing: &mut Drawing,
    values: &[Value],
    time: &Scale,
    scale: &Scale,
    ink: Ink,
    has_band: bool,
) {
    let band = drawing.look().theme.colours().line;
    for run in values.chunk_by(|before, after| before.span.end == after.span.start) {
        let points = |of: fn(&Value) -> f64| {
            let middle = |span: &Range<UnixMillis>| {
                f64::midpoint(day::position(span.start), day::position(span.end))
            };
            let ends = run.first().zip(run.last());
            let first = ends.map(|(first, _)| (day::position(first.span.start), of(first)));
            let last = ends.map(|(_, last)| (day::position(last.span.end), of(last)));
            let inner = run.iter().map(|value| (middle(&value.span), of(value)));
            let all = first.into_iter().chain(inner).chain(last);
            all.map(|(at, value)| (time.at(at), scale.at(value)))
                .collect::<Vec<_>>()
        };
        if has_band && run.iter().any(|value| value.min < value.max) {
            let lower = points(|value| value.min);
            let upper = points(|value| value.max);
            drawing.area(upper.into_iter().chain(lower.into_iter().rev()), band);
        }
        drawing.curve(points(|value| value.mean), ink.edge, 1.8);
    }
}

/// The parts of a period, in the middle of each.
fn write_parts(drawing: &mut Drawing, details: &Details, time: &Scale, bottom: f64) {
    let look = drawing.look();
    let unit = super::unit(look);
    let font = super::small(look, Anchor::Middle);
    let Some(calendar) = details.subject.part() else {
        return;
    };
    let parts: Vec<Date> = calendar.parts(details.days.clone()).collect();
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX).max(1);
    let [left, right] = sides(look);
    let place = (right - left) / f64::from(count);
    let every = bars::every(place, look);
    for (number, date) in (0..count).zip(parts) {
        if f64::from(number) % every < 0.5 {
            let span = calendar.range(date, &details.zone);
            let middle = f64::midpoint(day::position(span.start), day::position(span.end));
            let text = bars::name(details.subject, date, count, place, look);
            drawing.text((time.at(middle), bottom + 1.5 * unit), font, &text);
        }
    }
}

/// Whose line is whose.
fn write_legend(drawing: &mut Drawing, details: &Details) {
    let look = drawing.look();
    let unit = super::unit(look);
    let font = super::small(look, Anchor::Start);
    let mut left = 1.4 * unit;
    for (course, ink) in details.courses.iter().zip(details.inks(look)) {
        let swatch = Frame {
            left,
            top: 3.8 * unit,
            width: 0.9 * unit,
            height: 0.9 * unit,
        };
        drawing.block(swatch, ink);
        drawing.text((left + 1.4 * unit, 4.6 * unit), font, &course.inverter);
        left += 14.0 * unit;
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::chart::drawing::Shape;
    use crate::chart::{Size, Theme};

    const FIVE_MINUTES: i64 = 300_000;

    fn details(quantity: Quantity, values: &[Option<f64>]) -> Details {
        let days = date(2026, 6, 12)..date(2026, 6, 13);
        let begin = midnight(days.start, &TimeZone::UTC).0;
        let values = (0..).zip(values).filter_map(|(number, value)| {
            let start = begin + number * FIVE_MINUTES;
            let mean = (*value)?;
            Some(Value {
                span: UnixMillis(start)..UnixMillis(start + FIVE_MINUTES),
                mean,
                min: mean - 1.0,
                max: mean + 1.0,
            })
        });
        let course = Course {
            inverter: "roof".to_owned(),
            values: values.collect(),
        };
        Details {
            title: "Friday".to_owned(),
            quantity,
            subject: Subject::One(Calendar::Day),
            days,
            zone: TimeZone::UTC,
            courses: vec![course],
        }
    }

    fn look() -> Look {
        Look::alone(Theme::Light, Size::default())
    }

    fn texts(drawing: &Drawing) -> Vec<&str> {
        let texts = drawing.shapes().iter().map(|shape| match shape {
            Shape::Text { text, .. } => text.as_str(),
            _ => "",
        });
        texts.filter(|text| !text.is_empty()).collect()
    }

    fn curves(drawing: &Drawing) -> usize {
        let is_curve = |shape: &&Shape| matches!(shape, Shape::Curve { .. });
        drawing.shapes().iter().filter(is_curve).count()
    }

    #[test]
    fn a_line_has_its_unit_and_a_gap_where_nothing_is_known() {
        let details = details(
            Quantity::grid_voltage,
            &[Some(229.0), Some(231.0), None, Some(230.0)],
        );
        let drawing = draw(&details, look());
        assert_eq!(curves(&drawing), 2);
        let texts = texts(&drawing);
        for text in ["V", "229", "231", "06:00", "roof"] {
            assert!(texts.contains(&text), "{text} in {texts:?}");
        }
        assert!(
            !texts.contains(&"0"),
            "a voltage is far from zero: {texts:?}"
        );
    }

    #[test]
    fn a_scale_holds_every_value() {
        for (values, extent) in [
            (vec![], [0.0, 1.0]),
            (vec![Some(1.0), Some(3000.0)], [0.0, 3001.0]),
            (vec![Some(-500.0), Some(800.0)], [-501.0, 801.0]),
            (vec![Some(230.0)], [229.0, 231.0]),
        ] {
            let details = details(Quantity::grid_power, &values);
            let near = details.extent().into_iter().zip(extent);
            let near = near.map(|(found, expected)| (found - expected).abs());
            assert!(
                near.sum::<f64>() < 1e-9,
                "{:?} {extent:?}",
                details.extent()
            );
            draw(&details, look());
        }
    }
}
