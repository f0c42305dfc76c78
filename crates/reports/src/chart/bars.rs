//! A week, a month or a year: for each part a bar of what was made and one of what was used.

use super::drawing::{Anchor, Drawing, Frame, Type};
use super::scale::{Scale, step, ticks};
use super::{Ink, Legend, Look, energy, percent};
use crate::energy::{Energy, Flows, Report, show};
use crate::period::{Calendar, day_of};

/// The share of a part's place that its two bars take.
const BARS: f64 = 0.74;

/// The widest bar, in units: a few of them need not fill the picture.
const WIDEST: f64 = 6.0;

/// What a bar is made of, in kWh: what stayed in the house, and what crossed the grid connection.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Split {
    own: f64,
    grid: f64,
}

impl Split {
    fn sum(self) -> f64 {
        self.own + self.grid
    }

    fn of(whole: Option<Energy>, grid: Option<Energy>) -> Option<Self> {
        let grid = grid.map_or(0.0, |energy| energy.kwh);
        Some(Self {
            own: (whole?.kwh - grid).max(0.0),
            grid,
        })
    }

    /// What was made: for the house, and for the grid.
    fn of_production(flows: &Flows) -> Option<Self> {
        Self::of(flows.production, flows.export)
    }

    /// What was used: from the panels and the battery, and from the grid.
    fn of_consumption(flows: &Flows) -> Option<Self> {
        Self::of(flows.consumption, flows.import)
    }
}

pub fn draw(report: &Report, look: Look) -> Drawing {
    let title = show::title(report.subject, report.days.start);
    let subtitle = report.inverters.join(", ");
    let mut drawing = Drawing::new(look, &format!("{title}, {subtitle}"));
    let height = f64::from(look.size.height);
    let unit = super::unit(look);
    if !look.is_bare() {
        super::write_head(&mut drawing, &title, &subtitle);
        write_legend(&mut drawing, &report.sum.figures.flows);
    }
    let [left, right] = sides(look);
    let frame = Frame {
        left,
        top: super::top(look),
        width: right - left,
        height: height - super::top(look) - 2.4 * unit,
    };
    draw_bars(&mut drawing, frame, report);
    drawing
}

/// Where the first part begins and the last one ends, from the left of the chart.
pub fn sides(look: Look) -> [f64; 2] {
    let unit = super::unit(look);
    // A page has a margin of its own.
    let (left, right) = if look.is_bare() {
        (3.0, 0.2)
    } else {
        (3.8, 1.4)
    };
    [left * unit, f64::from(look.size.width) - right * unit]
}

fn draw_bars(drawing: &mut Drawing, frame: Frame, report: &Report) {
    let look = drawing.look();
    let colours = look.theme.colours();
    let unit = super::unit(look);
    let splits: Vec<[Option<Split>; 2]> = report
        .parts
        .iter()
        .map(|part| {
            let flows = &part.figures.flows;
            [Split::of_production(flows), Split::of_consumption(flows)]
        })
        .collect();
    let all = splits.iter().flatten().flatten();
    // Of a time without energy the axis still has a line to show.
    let highest = all.map(|split| split.sum()).fold(0.1, f64::max);
    let step = step(highest, 6.0);
    // The highest bar keeps a little distance from what stands above.
    let scale = Scale::new([highest * 1.04, 0.0], [frame.top, frame.bottom()]);
    let font = super::small(look, Anchor::End);
    let beside = frame.left - 0.5 * unit;
    for kwh in ticks(highest, step) {
        let y = scale.at(kwh);
        super::draw_rule(drawing, frame, y, font, &super::label(kwh, step, look));
    }
    drawing.text((beside, frame.top - 0.9 * unit), font, "kWh");

    let inks = [
        [colours.pv, colours.pv_surplus],
        [colours.house, colours.grid],
    ];
    let count = u32::try_from(splits.len()).unwrap_or(u32::MAX).max(1);
    let place = frame.width / f64::from(count);
    let bar = (place * BARS / 2.0).min(WIDEST * unit);
    // Labels are some three letters wide.
    let every = (2.0 * unit / place).ceil().max(1.0);
    for ((number, splits), part) in (0..count).zip(splits).zip(&report.parts) {
        let left = frame.left + f64::from(number) * place;
        let mut x = left + (place - 2.0 * bar) / 2.0;
        for (split, inks) in splits.into_iter().zip(inks) {
            if let Some(split) = split {
                draw_bar(drawing, x, bar, &scale, split, inks);
            }
            x += bar;
        }
        if f64::from(number) % every < 0.5 {
            let date = day_of(part.span.start, &report.zone);
            let day = date.day();
            let text = match report.subject.part() {
                Some(Calendar::Month) => look.words.month(date).to_owned(),
                Some(Calendar::Year) => date.year().to_string(),
                _ if count <= 7 && place < 3.6 * unit => look.words.weekday(date).to_owned(),
                _ if count <= 7 => format!("{} {day}", look.words.weekday(date)),
                _ => day.to_string(),
            };
            let font = Type {
                anchor: Anchor::Middle,
                ..font
            };
            drawing.text(
                (left + place / 2.0, frame.bottom() + 1.5 * unit),
                font,
                &text,
            );
        }
    }
    let zero = frame.bottom();
    drawing.line((frame.left, zero), (frame.right(), zero), colours.text, 1.2);
}

fn draw_bar(
    drawing: &mut Drawing,
    left: f64,
    width: f64,
    scale: &Scale,
    split: Split,
    inks: [Ink; 2],
) {
    let [own, grid] = inks;
    for (from, to, ink) in [
        (0.0, split.own, own),
        (split.own, split.own + split.grid, grid),
    ] {
        let (bottom, top) = (scale.at(from), scale.at(to));
        // Less than a hair would be all edge.
        if bottom - top > 0.3 {
            let frame = Frame {
                left,
                top,
                width,
                height: bottom - top,
            };
            drawing.block(frame, ink);
        }
    }
}

fn write_legend(drawing: &mut Drawing, sums: &Flows) {
    let colours = drawing.look().theme.colours();
    let kwh = |of: fn(&Flows) -> Option<Split>, part: fn(Split) -> f64| energy(of(sums).map(part));
    let own = |split: Split| split.own;
    let grid = |split: Split| split.grid;
    let (made, used) = (Split::of_production, Split::of_consumption);
    let rows = [
        Legend {
            name: "PV",
            sum: Some(energy(sums.production.map(|energy| energy.kwh))),
            entries: vec![
                (colours.pv, "used here", kwh(made, own)),
                (colours.pv_surplus, "to the grid", kwh(made, grid)),
            ],
            share: ("Own use", percent(sums.self_consumption())),
        },
        Legend {
            name: "House",
            sum: Some(energy(sums.consumption.map(|energy| energy.kwh))),
            entries: vec![
                (colours.house, "PV and battery", kwh(used, own)),
                (colours.grid, "from the grid", kwh(used, grid)),
            ],
            share: ("Autarky", percent(sums.autarky())),
        },
    ];
    super::write_legend(drawing, &rows);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::civil::{Date, date};

    use super::*;
    use crate::chart::svg::{self, tests::assert_sound};
    use crate::chart::{Size, Theme};
    use crate::energy::{Energy, Figures, Origin, Part, Subject};

    /// A report whose every second part has no readings.
    fn report(calendar: Calendar, first: Date, kwh: f64) -> Report {
        let zone = kstar_common::zone::named("Europe/Berlin").expect("a zone");
        let subject = Subject::One(calendar);
        let days = first..calendar.next(first);
        let part = subject.part().expect("parts of the calendar");
        let energy = |share: f64| {
            Some(Energy {
                kwh: kwh * share,
                origin: Origin::Power,
            })
        };
        let figures = Figures {
            flows: Flows {
                production: energy(1.0),
                consumption: energy(0.5),
                // More than was used: the battery was charged too.
                import: energy(0.8),
                export: energy(0.3),
                ..Flows::default()
            },
            ..Figures::default()
        };
        let parts = part.parts(days.clone()).zip(0..).map(|(day, number)| Part {
            span: part.range(day, &zone),
            figures: if number % 2 == 0 {
                figures.clone()
            } else {
                Figures::default()
            },
            coverage: Some(0.5),
        });
        Report {
            subject,
            parts: parts.collect(),
            sum: Part {
                span: calendar.range(first, &zone),
                figures: figures.clone(),
                coverage: Some(0.5),
            },
            days,
            zone,
            inverters: vec![Arc::from("roof"), Arc::from("garage")],
            currency: None,
            unknown: Vec::new(),
            peaks: Vec::new(),
        }
    }

    fn look(size: &str) -> Look {
        Look::alone(Theme::Light, size.parse::<Size>().expect("a size"))
    }

    #[test]
    fn everything_stands_inside_the_picture_whatever_the_energy_and_the_size() {
        for kwh in [0.0, 0.02, 31.7, 98_765.0] {
            for size in ["480x300", "1200x675", "4096x300", "480x4096"] {
                for calendar in [Calendar::Week, Calendar::Month, Calendar::Year] {
                    let first = calendar.first(date(2026, 10, 25));
                    assert_sound(&draw(&report(calendar, first, kwh), look(size)));
                }
            }
        }
    }

    #[test]
    fn each_part_has_its_name() {
        let texts = assert_sound(&draw(
            &report(Calendar::Week, date(2026, 10, 19), 10.0),
            look("1200x675"),
        ));
        for name in ["Mon 19", "Sun 25", "Week 43 of 2026", "roof, garage"] {
            assert!(texts.iter().any(|text| text == name), "{name}: {texts:?}");
        }
        let texts = assert_sound(&draw(
            &report(Calendar::Month, date(2026, 2, 1), 10.0),
            look("1200x675"),
        ));
        assert!(
            (1..=28).all(|day| texts.contains(&day.to_string())),
            "{texts:?}"
        );
    }

    #[test]
    fn a_bar_never_hides_what_crossed_the_grid_connection() {
        let report = report(Calendar::Week, date(2026, 10, 19), 10.0);
        let split = Split::of_consumption(&report.sum.figures.flows);
        assert_eq!(
            split,
            Some(Split {
                own: 0.0,
                grid: 8.0
            })
        );
    }

    #[test]
    fn a_part_without_readings_stays_open() {
        let svg = svg::write(&draw(
            &report(Calendar::Week, date(2026, 10, 19), 10.0),
            look("1200x675"),
        ));
        // Four days and the legend.
        assert_eq!(svg.matches(Theme::Light.colours().grid.fill).count(), 5);
    }
}
