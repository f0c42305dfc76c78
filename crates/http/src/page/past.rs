//! What was: a day, a week, a month, a year or all years, as a chart with the figures of `kstar report` beside it.

use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderMap, Response, Uri};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use kstar_common::tariff::Tariff;
use kstar_history::{History, StoredInverter};
use kstar_model::catalogue::Quantity;
use kstar_model::time::UnixMillis;
use kstar_reports::chart::day::Day;
use kstar_reports::chart::drawing::Drawing;
use kstar_reports::chart::{Look, Size, bars, day, gather, svg};
use kstar_reports::energy::gather::{self as energies, Question};
use kstar_reports::energy::{Report, Subject, show};
use kstar_reports::period::{Calendar, local};
use kstar_reports::titles::Titles;
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;

use super::choice;
use super::details;
use super::download::{self, File, Form};
use super::figures;
use super::frame::{Place, Visit};
use super::tips;
use super::words::Words;
use crate::answer::{self, Problem};
use crate::questions::{self, open};
use crate::state::State;

/// A chart on a phone, and one on a wide screen. The style sheet shows the one that fits.
pub(super) const SIZES: [(&str, Size); 2] = [
    (
        "chart narrow",
        Size {
            width: 330,
            height: 330,
        },
    ),
    (
        "chart wide",
        Size {
            width: 700,
            height: 380,
        },
    ),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Any day of the period, in place of the one in the path.
    date: Option<String>,
    inverter: Option<String>,
    /// The quantity to be shown by itself.
    quantity: Option<String>,
}

/// A period as somebody asks for it.
#[derive(Debug)]
struct Wanted {
    subject: Subject,
    date: Option<String>,
    inverter: Option<String>,
    quantity: Option<Quantity>,
    form: Option<Form>,
}

/// A period, and what the history knows of it.
pub(super) struct Period {
    pub(super) subject: Subject,
    pub(super) first: Date,
    pub(super) today: Date,
    /// Every inverter that the history knows.
    pub(super) names: Vec<String>,
    pub(super) inverter: Option<String>,
    /// The quantity that is shown by itself.
    pub(super) quantity: Option<Quantity>,
    found: Content,
}

/// What there is to see.
enum Content {
    Nothing,
    All(Box<Found>),
    One(Box<details::Found>),
}

struct Found {
    report: Report,
    charts: [String; 2],
    /// What a pointer on a chart is told, for the script.
    tips: String,
    /// The same time a year before, if there are readings of it.
    before: Option<Report>,
}

/// What comes of a question: a page, or a file.
enum Outcome {
    Page(Box<Period>),
    /// There is no history yet.
    TooEarly,
    File(Response<Body>),
}

impl Wanted {
    fn of(uri: &Uri) -> Result<Self, Problem> {
        let asked: Asked = answer::parameters(uri)?;
        let (path, form) = Form::split(uri.path());
        let mut parts = path.split('/').skip(1);
        let subject = match parts.next() {
            Some("day") => Subject::One(Calendar::Day),
            Some("week") => Subject::One(Calendar::Week),
            Some("month") => Subject::One(Calendar::Month),
            Some("year") => Subject::One(Calendar::Year),
            _ => Subject::Total,
        };
        let date = asked.date.or_else(|| parts.next().map(str::to_owned));
        let named = asked.quantity.filter(|name| !name.is_empty());
        Ok(Self {
            subject,
            quantity: named.as_deref().map(details::quantity).transpose()?,
            // An empty field of the form is one that is not filled in.
            date: date.filter(|date| !date.is_empty()),
            inverter: asked.inverter.filter(|name| !name.is_empty()),
            form,
        })
    }
}

pub(super) async fn page(state: &State, headers: &HeaderMap, uri: &Uri) -> Response<Body> {
    let visit = Visit::of(state, headers, uri);
    let wanted = match Wanted::of(uri) {
        Ok(wanted) => wanted,
        Err(problem) => return visit.failure(&problem),
    };
    let words = visit.words;
    if state.0.sources.history.is_none() {
        let content = html! { p.card.message { (words.no_history) } };
        return visit.page(Place::History, words.history, &content);
    }
    let tariffs = state.0.sources.tariffs.clone();
    let titles = visit.titles.clone();
    let outcome = questions::ask(state, move |file| {
        look_up(file, wanted, &tariffs, titles, words)
    });
    match outcome.await {
        Ok(Outcome::File(file)) => file,
        Ok(Outcome::Page(period)) => {
            let title = words.title(period.subject, period.first);
            visit.page(Place::History, &title, &content(&visit, &title, &period))
        }
        Ok(Outcome::TooEarly) => {
            let content = html! { p.card.message { (words.no_history_yet) } };
            visit.page(Place::History, words.history, &content)
        }
        Err(problem) => visit.failure(&problem),
    }
}

/// Asks the history. It blocks.
fn look_up(
    file: &Path,
    wanted: Wanted,
    tariffs: &[Tariff],
    titles: Titles,
    words: &'static Words,
) -> Result<Outcome, Problem> {
    if !file.exists() {
        return Ok(Outcome::TooEarly);
    }
    let (history, mut inverters) = open(file, None)?;
    let names: Vec<String> = inverters.iter().map(|one| one.name.clone()).collect();
    if let Some(name) = &wanted.inverter {
        inverters.retain(|one| one.name == *name);
        if inverters.is_empty() {
            return Err(Problem::nothing(format!(
                "the history knows no inverter of this name, only: {}",
                names.join(", ")
            )));
        }
    }
    let now = Timestamp::now().to_zoned(history.zone().clone());
    let date = match (wanted.subject, &wanted.date) {
        (Subject::One(calendar), Some(text)) => {
            calendar.named(text, &now).map_err(Problem::wrong)?
        }
        (Subject::One(calendar), None) => calendar.first(now.date()),
        (Subject::Total, _) => now.date(),
    };
    let question = Question {
        subject: wanted.subject,
        date,
        inverters: &inverters,
        tariffs,
        now: UnixMillis(now.timestamp().as_millisecond()),
    };
    let outcome = |found| {
        Outcome::Page(Box::new(Period {
            subject: wanted.subject,
            first: date,
            today: now.date(),
            names,
            inverter: wanted.inverter,
            quantity: wanted.quantity,
            found,
        }))
    };
    if let Some(quantity) = wanted.quantity {
        let details = details::gather(&history, &inverters, &question, quantity)?;
        if let Some(form) = wanted.form {
            return details::file(form, &details).map(Outcome::File);
        }
        let title = words.title(wanted.subject, date);
        let found = details::found(words, details, &title);
        let found = found.map_or(Content::Nothing, |found| Content::One(Box::new(found)));
        return Ok(outcome(found));
    }
    let report = figures::report(&history, &question)?;
    let report = report.map(|report| Report { titles, ..report });
    match (report, wanted.form) {
        (None, None) => Ok(outcome(Content::Nothing)),
        (None, Some(_)) => Err(Problem::nothing("there is no reading in this period")),
        (Some(report), Some(form)) => {
            let day = day_of(&history, &inverters, &report)?;
            file_of(form, &report, day.as_ref()).map(Outcome::File)
        }
        (Some(report), None) => {
            let day = day_of(&history, &inverters, &report)?;
            let before = energies::year_before(&history, &question)
                .map_err(|error| questions::unasked(&error))?;
            let found = Found::of(words, report, day.as_ref(), before);
            Ok(outcome(Content::All(Box::new(found))))
        }
    }
}

fn picture(report: &Report, day: Option<&Day>, look: Look) -> Drawing {
    day.map_or_else(|| bars::draw(report, look), |day| day::draw(day, look))
}

fn file_of(form: Form, report: &Report, day: Option<&Day>) -> Result<Response<Body>, Problem> {
    let file = File {
        subject: report.subject,
        first: report.days.start,
        of: "",
    };
    let draw = |look| picture(report, day, look);
    download::file(form, &file, || download::csv(report), draw)
}

impl Found {
    fn of(
        words: &'static Words,
        report: Report,
        day: Option<&Day>,
        before: Option<Report>,
    ) -> Self {
        let title = words.title(report.subject, report.days.start);
        let charts = SIZES.map(|(class, size)| {
            let look = Look::of_page(size, &words.chart);
            let sides = day.map_or_else(|| bars::sides(look), |_| day::sides(look));
            svg::inline(&picture(&report, day, look), class, &title, sides)
        });
        let tips = match day {
            Some(day) => tips::of_day(words, day),
            None => tips::of_parts(words, &report),
        };
        Self {
            report,
            charts,
            tips,
            before,
        }
    }
}

/// What a day's chart shows; nothing of a longer period, whose report is enough.
fn day_of(
    history: &History,
    inverters: &[StoredInverter],
    report: &Report,
) -> Result<Option<Day>, Problem> {
    if report.subject != Subject::One(Calendar::Day) {
        return Ok(None);
    }
    let span = report.sum.span.clone();
    let samples = gather::samples(history, inverters, &span);
    Ok(Some(Day {
        title: show::title(report.subject, report.days.start),
        subtitle: report.called(),
        samples: samples.map_err(|error| questions::unasked(&error))?,
        span,
        zone: report.zone.clone(),
        sums: report.sum.figures.flows,
    }))
}

impl Period {
    /// The path of a period from `/`: of this kind or another, with the inverter that is shown.
    pub(super) fn path(&self, subject: Subject, date: Date, ending: &str) -> String {
        let date = match subject {
            Subject::One(Calendar::Day | Calendar::Week) => format!("/{date}"),
            Subject::One(Calendar::Month) => format!("/{}", date.strftime("%Y-%m")),
            Subject::One(Calendar::Year) => format!("/{}", date.strftime("%Y")),
            Subject::Total => String::new(),
        };
        let inverter = self
            .inverter
            .as_ref()
            .map(|name| format!("inverter={name}"));
        let quantity = self.quantity.map(|one| format!("quantity={}", one.name()));
        let query: Vec<String> = inverter.into_iter().chain(quantity).collect();
        let sign = if query.is_empty() { "" } else { "?" };
        let path = format!("{}{date}{ending}", subject.name());
        format!("{path}{sign}{}", query.join("&"))
    }

    /// The path of the same period with all energies.
    pub(super) fn overview(&self) -> String {
        let path = self.path(self.subject, self.first, "");
        let (path, _) = path.split_once('?').unwrap_or((&path, ""));
        let inverter = self.inverter.as_ref();
        let query = inverter.map_or_else(String::new, |name| format!("?inverter={name}"));
        format!("{path}{query}")
    }

    /// The first days of the periods before and after; none after the present one, or before all calendars.
    pub(super) fn neighbours(&self) -> [Option<Date>; 2] {
        let Subject::One(calendar) = self.subject else {
            return [None, None];
        };
        let before = calendar.first(self.first.saturating_sub(1.day()));
        let after = calendar.next(self.first);
        [
            Some(before).filter(|before| *before < self.first),
            Some(after).filter(|after| *after <= self.today),
        ]
    }
}

fn content(visit: &Visit, title: &str, period: &Period) -> Markup {
    let words = visit.words;
    html! {
        (choice::choice(visit, period))
        (choice::steps(visit, title, period))
        @match &period.found {
            Content::Nothing => section.card.message {
                p { (words.nothing_then) }
                @if period.quantity.is_some() {
                    p { a href={ (visit.root) (period.overview()) } { (words.all_energies) } }
                }
            },
            Content::One(found) => (details::content(visit, period, found)),
            Content::All(found) => {
                div.columns.history {
                    section.card aria-labelledby="chart" {
                        h2 #chart .hidden { (words.chart_title) }
                        div.plot data-tips=(found.tips) {
                            @for chart in &found.charts { (PreEscaped(chart)) }
                        }
                        (legend(words, &found.report))
                    }
                    section.card aria-labelledby="figures" {
                        h2 #figures .hidden { (words.figures) }
                        (figures::tiles(words, &found.report))
                        (remarks(words, &found.report))
                        (downloads(visit, period))
                    }
                    @if let Some(before) = &found.before {
                        (comparison(visit, period, &found.report, before))
                    }
                }
                (figures::table(words, &found.report))
            }
        }
    }
}

/// What the colours of the chart stand for.
fn legend(words: &Words, report: &Report) -> Markup {
    let entries = if report.subject == Subject::One(Calendar::Day) {
        let mut entries = vec![("pv", words.pv), ("house", words.house)];
        let flows = &report.sum.figures.flows;
        if flows.charged.is_some() || flows.discharged.is_some() {
            entries.push(("battery", words.battery));
        }
        entries.push(("grid", words.grid));
        entries
    } else {
        vec![
            ("pv", words.from_pv),
            ("pv-surplus", words.to_grid),
            ("house", words.from_own),
            ("grid", words.from_grid),
        ]
    };
    html! {
        ul.legend {
            @for (class, name) in entries {
                li class=(class) { (name) }
            }
        }
        @if report.subject == Subject::One(Calendar::Day) {
            p.faint { (words.above_line) }
        }
    }
}

/// What is worth a sentence.
fn remarks(words: &Words, report: &Report) -> Markup {
    let flows = &report.sum.figures.flows;
    let told = |moment| words.moment(local(moment, &report.zone), report.subject);
    let is_one = report.peaks.len() == 1;
    html! {
        dl.facts {
            @for peak in &report.peaks {
                div {
                    dt { (words.peak) @if !is_one { " " (report.titles.of(&peak.inverter)) } }
                    dd { (words.power(Some(peak.watts))) " · " (told(peak.time)) }
                }
            }
            @if let Some(losses) = flows.losses() {
                div { dt { (words.losses) } dd { (words.energy(Some(losses), show::decimals(report))) } }
            }
            @if let Some(coverage) = report.sum.coverage {
                div { dt { (words.data) } dd { (words.percent(Some(coverage))) } }
            }
            @for unknown in &report.unknown {
                div { dt { (words.time_unknown) } dd { (unknown.inverter) ": " (unknown.readings) } }
            }
        }
        @if !flows.is_balanced() {
            p.bad { (words.balance_warning) }
        }
    }
}

/// The same time a year before, to be compared with.
fn comparison(visit: &Visit, period: &Period, report: &Report, before: &Report) -> Markup {
    let words = visit.words;
    let path = period.path(before.subject, before.days.start, "");
    html! {
        section.card aria-labelledby="before" {
            h2 #before { a href={ (visit.root) (path) } { (words.year_before) } }
            table.beside {
                thead {
                    tr {
                        th scope="col" { (words.period) }
                        th scope="col" { (words.title(period.subject, period.first)) }
                        th scope="col" { (words.title(before.subject, before.days.start)) }
                    }
                }
                tbody {
                    @for (name, now, then) in figures::beside(words, report, before) {
                        tr { th scope="row" { (name) } td { (now) } td { (then) } }
                    }
                }
            }
        }
    }
}

pub(super) fn downloads(visit: &Visit, period: &Period) -> Markup {
    html! {
        p.downloads {
            span.faint { (visit.words.download) " " }
            @for (ending, name) in [(".csv", "CSV"), (".svg", "SVG"), (".png", "PNG")] {
                a href={ (visit.root) (period.path(period.subject, period.first, ending)) } download { (name) }
            }
        }
    }
}
