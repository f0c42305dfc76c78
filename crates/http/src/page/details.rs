//! One quantity over a period: its line, what it means, and between which values it was.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::body::Body;
use axum::http::Response;
use jiff::civil::DateTime;
use kstar_history::{History, StoredInverter};
use kstar_model::catalogue::Quantity;
use kstar_model::scalar::Kind;
use kstar_model::time::UnixMillis;
use kstar_reports::chart::line::{self, Course, Details, Value};
use kstar_reports::chart::{Look, svg};
use kstar_reports::energy::Subject;
use kstar_reports::energy::gather::{Question, days};
use kstar_reports::energy::show;
use kstar_reports::period::{Calendar, local};
use maud::{Markup, PreEscaped, html};

use super::download::{self, File, Form};
use super::frame::Visit;
use super::past::{Period, SIZES};
use super::tips::{self, Tip};
use super::words::Words;
use crate::answer::Problem;
use crate::questions;

/// More values than this would be more than a pointer can tell apart, and half of the page.
const MOST_TIPS: usize = 1000;

/// What the history knows of a quantity in a period.
pub(super) struct Found {
    details: Details,
    charts: [String; 2],
    tips: String,
}

/// The quantity of that name, if there can be a line of it.
pub(super) fn quantity(name: &str) -> Result<Quantity, Problem> {
    let quantity = Quantity::from_name(name).filter(|quantity| is_drawn(*quantity));
    quantity.ok_or_else(|| {
        Problem::nothing("there is no line of a quantity of this name; `kstar fields` lists all")
    })
}

/// Whether there can be a line of it: it is a number that the history sums up.
pub(super) fn is_drawn(quantity: Quantity) -> bool {
    match quantity.description().kind {
        Kind::Measurement | Kind::Counter => true,
        Kind::Mode(_) | Kind::Flags(_) | Kind::Bits | Kind::Clock => false,
    }
}

/// What the history knows of it. It blocks.
pub(super) fn gather(
    history: &History,
    inverters: &[StoredInverter],
    question: &Question<'_>,
    quantity: Quantity,
) -> Result<Details, Problem> {
    let days = days(question, history.zone());
    let title = show::title(question.subject, days.start);
    Details::gather(history, inverters, quantity, question.subject, days, title)
        .map_err(|error| questions::unasked(&error))
}

/// The same as a page shows it; nothing without a value.
pub(super) fn found(words: &'static Words, details: Details, title: &str) -> Option<Found> {
    if details.courses.is_empty() {
        return None;
    }
    let name = format!("{}, {title}", details.quantity.description().label);
    let charts = SIZES.map(|(class, size)| {
        let look = Look::of_page(size, &words.chart);
        svg::inline(&line::draw(&details, look), class, &name, line::sides(look))
    });
    let tips = tips(words, &details);
    Some(Found {
        details,
        charts,
        tips,
    })
}

pub(super) fn file(form: Form, details: &Details) -> Result<Response<Body>, Problem> {
    let file = File {
        subject: details.subject,
        first: details.days.start,
        of: details.quantity.name(),
    };
    let draw = |look| line::draw(details, look);
    download::file(form, &file, || csv(details), draw)
}

fn csv(details: &Details) -> String {
    let mut text = "begin,end,inverter,mean,min,max\r\n".to_owned();
    for Course { inverter, values } in &details.courses {
        for Value {
            span,
            mean,
            min,
            max,
        } in values
        {
            // Writing to a `String` cannot fail.
            let _ = write!(
                text,
                "{},{},{inverter},{mean:.3},{min:.3},{max:.3}\r\n",
                span.start, span.end
            );
        }
    }
    text
}

fn value(words: &Words, quantity: Quantity, value: f64) -> String {
    let description = quantity.description();
    let number = words.number(value, description.decimals.into());
    format!("{number} {}", description.unit)
}

fn tips(words: &Words, details: &Details) -> String {
    let count: usize = details
        .courses
        .iter()
        .map(|course| course.values.len())
        .sum();
    if count > MOST_TIPS {
        return tips::written(&[]);
    }
    let mut values: BTreeMap<UnixMillis, Vec<(&str, &Value)>> = BTreeMap::new();
    for course in &details.courses {
        for value in &course.values {
            let beside = values.entry(value.span.start).or_default();
            beside.push((&course.inverter, value));
        }
    }
    let name = |begin: DateTime| match details.subject {
        Subject::One(Calendar::Year) | Subject::Total => {
            begin.strftime(words.date_form).to_string()
        }
        subject @ Subject::One(_) => words.moment(begin, subject),
    };
    let span = details.span();
    let tips = values.into_iter().filter_map(|(begin, values)| {
        let (_, first) = values.first()?;
        let text = |number| value(words, details.quantity, number);
        let lines = match values[..] {
            [(_, Value { mean, min, max, .. })] if min < max => vec![
                (words.mean, text(*mean)),
                (words.lowest, text(*min)),
                (words.highest, text(*max)),
            ],
            _ => {
                let each = values.iter().map(|(name, value)| (*name, text(value.mean)));
                each.collect()
            }
        };
        Some(Tip {
            from: tips::place(&span, begin),
            to: tips::place(&span, first.span.end),
            name: name(local(begin, &details.zone)),
            lines,
        })
    });
    tips::written(&tips.collect::<Vec<_>>())
}

pub(super) fn content(visit: &Visit, period: &Period, found: &Found) -> Markup {
    let words = visit.words;
    let details = &found.details;
    let description = details.quantity.description();
    let is_counter = description.kind == Kind::Counter;
    let is_one = details.courses.len() == 1;
    html! {
        div.columns.history {
            section.card aria-labelledby="chart" {
                h2 #chart lang="en" { (description.label) " " small { (description.unit) } }
                p.faint lang="en" { (description.meaning) }
                div.plot data-tips=(found.tips) {
                    @for chart in &found.charts { (PreEscaped(chart)) }
                }
                ul.legend {
                    @for (course, class) in details.courses.iter().zip(details.colours()) {
                        li class=(class) { (visit.titles.of(&course.inverter)) }
                    }
                }
            }
            section.card aria-labelledby="figures" {
                h2 #figures .hidden { (words.figures) }
                dl.facts {
                    @for course in &details.courses {
                        @for (name, number) in extremes(words, course, is_counter) {
                            div {
                                dt { (name) @if !is_one { " " (visit.titles.of(&course.inverter)) } }
                                dd { (value(words, details.quantity, number)) }
                            }
                        }
                    }
                }
                p { a href={ (visit.root) (period.overview()) } { (words.all_energies) } }
                (super::past::downloads(visit, period))
            }
        }
    }
}

/// Between which values it was; of a counter what it has counted.
fn extremes(words: &Words, course: &Course, is_counter: bool) -> Vec<(&'static str, f64)> {
    if is_counter {
        let last = course.values.last();
        return last
            .map(|value| (words.sum, value.mean))
            .into_iter()
            .collect();
    }
    let values = || course.values.iter();
    let lowest = values().map(|value| value.min).reduce(f64::min);
    let highest = values().map(|value| value.max).reduce(f64::max);
    let named = [(words.lowest, lowest), (words.highest, highest)];
    named
        .into_iter()
        .filter_map(|(name, number)| Some((name, number?)))
        .collect()
}
