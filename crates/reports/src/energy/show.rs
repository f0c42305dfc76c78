//! A report for people, as a table that fits a terminal of 80 columns, and for programs, as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use jiff::civil::Date;
use kstar_common::collect::inserted;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Part, Report, Subject};
use crate::period::{Calendar, day_of, local, timestamp};

/// What stands for a figure that is not known.
const ABSENT: &str = "-";

/// The columns after that of the parts: their head and unit.
const COLUMNS: [(&str, &str); 10] = [
    ("PV", "kWh"),
    ("Used", "kWh"),
    ("Import", "kWh"),
    ("Export", "kWh"),
    ("Charged", "kWh"),
    ("Disch.", "kWh"),
    ("Own", "%"),
    ("Suff.", "%"),
    ("Peak", "kW"),
    ("Data", "%"),
];

/// A report's name: `Sunday 22 November 2026`.
pub fn title(subject: Subject, first: Date) -> String {
    let format = match subject {
        Subject::One(Calendar::Day) => "%A %-d %B %Y",
        Subject::One(Calendar::Week) => "Week %-V of %G",
        Subject::One(Calendar::Month) => "%B %Y",
        Subject::One(Calendar::Year) => "%Y",
        Subject::Total => return "All years".to_owned(),
    };
    first.strftime(format).to_string()
}

/// The report as a table with its sums.
pub fn table(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let inverters = report.called();
    writeln!(
        out,
        "{}, {inverters}\n",
        title(report.subject, report.days.start)
    )?;
    let decimals = decimals(report);
    let head = |row: fn(&(&'static str, &'static str)) -> &'static str| {
        std::iter::once(String::new())
            .chain(COLUMNS.iter().map(|column| row(column).to_owned()))
            .collect()
    };
    let mut rows: Vec<Vec<String>> = vec![head(|(name, _)| name), head(|(_, unit)| unit)];
    // Where the clock is changed an hour may come twice, and is told apart by the name of its time.
    let named = report.subject.part().is_none() && report.parts.len() != 24;
    for part in report.parts.iter().filter(|part| part.coverage.is_some()) {
        rows.push(row(label(report, part, named), part, decimals));
    }
    rows.push(row("Sum".to_owned(), &report.sum, decimals));
    write_right(out, &rows)?;
    writeln!(out)?;
    if let Some(currency) = &report.currency {
        write_right(out, &money(report, currency, named))?;
        writeln!(out)?;
    }
    for line in remarks(report) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// What a report comes to beside the same time a year before.
pub fn comparison(report: &Report, before: &Report, out: &mut impl Write) -> io::Result<()> {
    let name = |report: &Report| title(report.subject, report.days.start);
    let decimals = decimals(report).min(decimals(before));
    let cells = |report: &Report| {
        row(String::new(), &report.sum, decimals)
            .into_iter()
            .skip(1)
    };
    let head = [
        String::new(),
        name(report),
        name(before),
        "Change".to_owned(),
    ];
    let [now, then] = [report, before].map(|report| report.sum.figures.flows.named());
    let mut changes = now.into_iter().zip(then).map(|((_, now), (_, then))| {
        let then = then?.kwh;
        Some((now?.kwh - then) / then * 100.0).filter(|change| change.is_finite())
    });
    let mut rows = vec![head.to_vec()];
    for (((name, unit), now), then) in COLUMNS.iter().zip(cells(report)).zip(cells(before)) {
        let change = changes.next().flatten();
        let change = change.map_or(ABSENT.to_owned(), |change| format!("{change:+.0} %"));
        rows.push(vec![format!("{name} {unit}"), now, then, change]);
    }
    writeln!(out)?;
    write_right(out, &rows)
}

/// With how many decimals a report shows its energies: below a hundred two, below ten thousand one: so that every energy has the same, and fits its column.
pub fn decimals(report: &Report) -> usize {
    let highest = report.sum.figures.flows.named();
    let highest = highest.iter().filter_map(|(_, energy)| *energy);
    match highest.map(|energy| energy.kwh).fold(0.0, f64::max) {
        ..100.0 => 2,
        ..10_000.0 => 1,
        _ => 0,
    }
}

/// A part's name.
fn label(report: &Report, part: &Part, named: bool) -> String {
    let begin = part.span.start;
    let date = day_of(begin, &report.zone);
    match report.subject.part() {
        None if named => {
            let moment = timestamp(begin).to_zoned(report.zone.clone());
            moment.strftime("%H:%M %Z").to_string()
        }
        None => local(begin, &report.zone).strftime("%H:%M").to_string(),
        Some(Calendar::Month) => date.strftime("%B").to_string(),
        Some(Calendar::Year) => date.strftime("%Y").to_string(),
        Some(Calendar::Day | Calendar::Week) => date.strftime("%a %e").to_string(),
    }
}

/// What the parts cost and bring, as a table of its own.
fn money(report: &Report, currency: &str, named: bool) -> Vec<Vec<String>> {
    let cells = |label: String, part: &Part| {
        let money = &part.figures.money;
        let charge = report.sum.figures.money.standing_charge;
        let amounts = [money.cost, money.income, money.savings]
            .into_iter()
            .chain(charge.map(|_| money.standing_charge))
            .chain([money.net()]);
        std::iter::once(label)
            .chain(amounts.map(|amount| amount.map_or(ABSENT.to_owned(), |it| number(it, 2))))
            .collect::<Vec<_>>()
    };
    let heads = ["Cost", "Income", "Savings", "Standing", "Net"];
    let has_charge = report.sum.figures.money.standing_charge.is_some();
    let heads = heads
        .iter()
        .filter(|head| has_charge || **head != "Standing");
    let head: Vec<String> = std::iter::once("")
        .chain(heads.copied())
        .map(str::to_owned)
        .collect();
    let mut units = vec![currency.to_owned(); head.len()];
    if let Some(first) = units.first_mut() {
        first.clear();
    }
    let mut rows = vec![head, units];
    for part in report.parts.iter().filter(|part| part.coverage.is_some()) {
        rows.push(cells(label(report, part, named), part));
    }
    rows.push(cells("Sum".to_owned(), &report.sum));
    rows
}

fn row(label: String, part: &Part, decimals: usize) -> Vec<String> {
    let figures = &part.figures;
    let energies = figures
        .flows
        .named()
        .map(|(_, energy)| energy.map_or(ABSENT.to_owned(), |energy| number(energy.kwh, decimals)));
    let percent = |share: Option<f64>| {
        share.map_or(ABSENT.to_owned(), |share| number(super::percent(share), 0))
    };
    let peak = figures.peak_watts;
    let mut cells = vec![label];
    cells.extend(energies);
    cells.extend([
        percent(figures.flows.self_consumption()),
        percent(figures.flows.self_sufficiency()),
        peak.map_or(ABSENT.to_owned(), |watts| number(watts / 1000.0, 2)),
        percent(part.coverage),
    ]);
    cells
}

/// A number without the minus of a zero.
fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|digit| matches!(digit, '0' | '.')) => rest.to_owned(),
        _ => text,
    }
}

/// What a table has no column for.
fn remarks(report: &Report) -> Vec<String> {
    let mut remarks = Vec::new();
    for peak in &report.peaks {
        let time = timestamp(peak.time).to_zoned(report.zone.clone());
        let time = time.strftime("%Y-%m-%d %H:%M");
        let when = match peak.until {
            None => format!("at {time}"),
            Some(until) => {
                let until = timestamp(until).to_zoned(report.zone.clone());
                format!("between {time} and {}", until.strftime("%H:%M"))
            }
        };
        remarks.push(format!(
            "Peak      {} kW of {} {when}",
            number(peak.watts / 1000.0, 2),
            report.titles.of(&peak.inverter),
        ));
    }
    for unknown in &report.unknown {
        let energies: Vec<String> = unknown
            .flows
            .named()
            .into_iter()
            .filter_map(|(name, energy)| Some(format!("{name} {} kWh", number(energy?.kwh, 2))))
            .collect();
        let energies = match &energies[..] {
            [] => "no energy".to_owned(),
            energies => energies.join(", "),
        };
        let date = |moment| local(moment, &report.zone).strftime("%Y-%m-%d").to_string();
        remarks.push(format!(
            "Time unknown: {} readings of {} from when the clock was wrong ({} to {}), not in the sums: {energies}. \
             `kstar history repair` shows what can be done",
            unknown.readings,
            unknown.inverter,
            date(unknown.span.start),
            date(unknown.span.end),
        ));
    }
    let flows = &report.sum.figures.flows;
    if let Some(losses) = flows.losses() {
        remarks.push(format!("Losses    {} kWh", number(losses, 2)));
    }
    if !flows.is_balanced() {
        remarks.push(
            "Sources and uses do not fit together. Is the meter's clamp the right way round,\n\
             and are all loads behind it?"
                .to_owned(),
        );
    }
    remarks
}

/// Writes rows as columns: the first to the left, the others to the right.
fn write_right(out: &mut impl Write, rows: &[Vec<String>]) -> io::Result<()> {
    let width = |cell: &String| cell.chars().count();
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(row.len().max(widths.len()), 0);
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    for row in rows {
        let mut line = String::new();
        for (index, (cell, widest)) in row.iter().zip(&widths).enumerate() {
            // Writing to a `String` cannot fail.
            let _ = if index == 0 {
                write!(line, "{cell:widest$}")
            } else {
                write!(line, " {cell:>widest$}", widest = widest.max(&MINIMUM))
            };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// So that columns of short numbers do not run into one.
const MINIMUM: usize = 5;

/// The report as one JSON object, with what the same time a year before came to if that is there; what is absent is left
/// out.
pub fn json(report: &Report, before: Option<&Report>, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Whole<'a> {
        schema: u32,
        report: &'static str,
        begin: String,
        end: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        zone: Option<&'a str>,
        inverters: Vec<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        currency: Option<&'a str>,
        sum: PartAsJson<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        year_before: Option<PartAsJson<'a>>,
        peaks: Vec<Peak<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        time_unknown: Vec<Unknown<'a>>,
        parts: Vec<PartAsJson<'a>>,
    }
    #[derive(Serialize)]
    struct Unknown<'a> {
        inverter: &'a str,
        readings: u64,
        first: String,
        last: String,
        #[serde(flatten)]
        energies: BTreeMap<&'static str, Plain>,
    }
    #[derive(Serialize)]
    struct Peak<'a> {
        inverter: &'a str,
        power: Plain,
        time: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<String>,
    }
    let whole = Whole {
        schema: 1,
        report: report.subject.name(),
        begin: report.sum.span.start.to_string(),
        end: report.sum.span.end.to_string(),
        zone: report.zone.iana_name(),
        inverters: report.inverters.iter().map(|name| &**name).collect(),
        currency: report.currency.as_deref(),
        sum: PartAsJson(&report.sum),
        year_before: before.map(|before| PartAsJson(&before.sum)),
        peaks: report
            .peaks
            .iter()
            .map(|peak| Peak {
                inverter: &peak.inverter,
                power: rounded(peak.watts, 2),
                time: peak.time.to_string(),
                until: peak.until.map(|until| until.to_string()),
            })
            .collect(),
        time_unknown: report
            .unknown
            .iter()
            .map(|unknown| Unknown {
                inverter: &unknown.inverter,
                readings: unknown.readings,
                first: unknown.span.start.to_string(),
                last: unknown.span.end.to_string(),
                energies: inserted(
                    unknown
                        .flows
                        .named()
                        .into_iter()
                        .filter_map(|(name, energy)| Some((name, rounded(energy?.kwh, 3)))),
                ),
            })
            .collect(),
        parts: report.parts.iter().map(PartAsJson).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &whole)?;
    writeln!(out)
}

/// A part as JSON has it.
struct PartAsJson<'a>(&'a Part);

impl Serialize for PartAsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Part { span, figures, .. } = self.0;
        let flows = &figures.flows;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("begin", &span.start.to_string())?;
        object.serialize_entry("end", &span.end.to_string())?;
        for (name, value, decimals) in columns(self.0) {
            if let Some(value) = value {
                object.serialize_entry(name, &rounded(value, decimals))?;
            }
        }
        if flows.losses().is_some() {
            object.serialize_entry("balanced", &flows.is_balanced())?;
        }
        let known = flows.named().into_iter();
        let origins: BTreeMap<&str, &str> =
            inserted(known.filter_map(|(name, energy)| Some((name, energy?.origin.name()))));
        if !origins.is_empty() {
            object.serialize_entry("origin", &origins)?;
        }
        object.end()
    }
}

/// A number that JSON writes as the shortest decimal, as readings are written: 6746 and not 6746.0.
#[derive(Clone, Copy, Debug)]
pub struct Plain(pub f64);

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Up to here every whole number has a float of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            #[expect(clippy::cast_possible_truncation, reason = "whole, and far below 2^63")]
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// How CSV is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Csv {
    /// Numbers with a decimal comma, and columns parted by semicolons, as spreadsheets of many countries read them.
    pub decimal_comma: bool,
}

/// The parts of a report that have begun as CSV: a header, and a row each. Energies are in kWh, shares from 0 to 1, the
/// peak in W, money in the tariff's currency. What is absent is an empty field.
pub fn csv(report: &Report, csv: Csv, out: &mut impl Write) -> io::Result<()> {
    let separator = if csv.decimal_comma { ";" } else { "," };
    let begin = if report.subject.part().is_none() {
        "%Y-%m-%d %H:%M"
    } else {
        "%Y-%m-%d"
    };
    let line =
        |out: &mut dyn Write, fields: Vec<String>| writeln!(out, "{}", fields.join(separator));
    let head = columns(&report.sum).map(|(name, _, _)| name.to_owned());
    line(
        out,
        std::iter::once("begin".to_owned()).chain(head).collect(),
    )?;
    for part in report.parts.iter().filter(|part| part.coverage.is_some()) {
        let begin = local(part.span.start, &report.zone)
            .strftime(begin)
            .to_string();
        let fields = columns(part).map(|(_, value, decimals)| match value {
            Some(value) => {
                let text = number(value, decimals);
                if csv.decimal_comma {
                    text.replace('.', ",")
                } else {
                    text
                }
            }
            None => String::new(),
        });
        line(out, std::iter::once(begin).chain(fields).collect())?;
    }
    Ok(())
}

/// What a part comes to: each figure with its name in JSON, and how many decimals it has.
fn columns(part: &Part) -> impl Iterator<Item = (&'static str, Option<f64>, usize)> {
    let figures = &part.figures;
    let flows = &figures.flows;
    let energies = flows
        .named()
        .map(|(name, energy)| (name, energy.map(|it| it.kwh), 3));
    let others = [
        ("self_consumption", flows.self_consumption(), 4),
        ("self_sufficiency", flows.self_sufficiency(), 4),
        ("losses", flows.losses(), 3),
        ("peak_power", figures.peak_watts, 2),
        ("coverage", part.coverage, 4),
    ];
    let money = figures
        .money
        .named()
        .map(|(name, amount)| (name, amount, 4));
    energies.into_iter().chain(others).chain(money)
}

/// With so many decimals.
fn rounded(value: f64, decimals: usize) -> Plain {
    let unit = 10_f64.powi(i32::try_from(decimals).unwrap_or(i32::MAX));
    Plain((value * unit).round() / unit)
}

#[cfg(test)]
mod tests;
