//! A report for people, as a table that fits a terminal of 80 columns, and for programs, as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use jiff::civil::Date;
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
    ("Stored", "kWh"),
    ("Drawn", "kWh"),
    ("Own", "%"),
    ("Autarky", "%"),
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
    let inverters = report.inverters.join(", ");
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
    for line in remarks(report) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Below a hundred two decimals, below ten thousand one: so that every energy has the same, and fits its column.
fn decimals(report: &Report) -> usize {
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

fn row(label: String, part: &Part, decimals: usize) -> Vec<String> {
    let figures = &part.figures;
    let energies = figures
        .flows
        .named()
        .map(|(_, energy)| energy.map_or(ABSENT.to_owned(), |energy| number(energy.kwh, decimals)));
    let percent =
        |share: Option<f64>| share.map_or(ABSENT.to_owned(), |share| number(share * 100.0, 0));
    let peak = figures.peak_watts;
    let mut cells = vec![label];
    cells.extend(energies);
    cells.extend([
        percent(figures.flows.self_consumption()),
        percent(figures.flows.autarky()),
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
            peak.inverter,
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
    if let Some(currency) = &report.currency {
        let money = &report.sum.figures.money;
        let mut line = "Money    ".to_owned();
        for (name, amount) in [
            ("cost", money.cost),
            ("income", money.income),
            ("savings", money.savings),
        ] {
            let amount = amount.map_or(ABSENT.to_owned(), |amount| number(amount, 2));
            let comma = if name == "cost" { "" } else { "," };
            // Writing to a `String` cannot fail.
            let _ = write!(line, "{comma} {name} {amount} {currency}");
        }
        remarks.push(line);
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

/// The report as one JSON object; what is absent is left out.
pub fn json(report: &Report, out: &mut impl Write) -> io::Result<()> {
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
                energies: unknown
                    .flows
                    .named()
                    .into_iter()
                    .filter_map(|(name, energy)| Some((name, rounded(energy?.kwh, 3))))
                    .collect(),
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
        let Part {
            span,
            figures,
            coverage,
        } = self.0;
        let flows = &figures.flows;
        let known = flows.named().into_iter().filter_map(|(name, energy)| {
            let energy = energy?;
            Some((name, energy))
        });
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("begin", &span.start.to_string())?;
        object.serialize_entry("end", &span.end.to_string())?;
        for (name, energy) in known.clone() {
            object.serialize_entry(name, &rounded(energy.kwh, 3))?;
        }
        for (name, value, decimals) in [
            ("self_consumption", flows.self_consumption(), 4),
            ("autarky", flows.autarky(), 4),
            ("losses", flows.losses(), 3),
            ("peak_power", figures.peak_watts, 2),
            ("coverage", *coverage, 4),
            ("cost", figures.money.cost, 4),
            ("income", figures.money.income, 4),
            ("savings", figures.money.savings, 4),
        ] {
            if let Some(value) = value {
                object.serialize_entry(name, &rounded(value, decimals))?;
            }
        }
        if flows.losses().is_some() {
            object.serialize_entry("balanced", &flows.is_balanced())?;
        }
        let origins: BTreeMap<&str, &str> = known
            .map(|(name, energy)| (name, energy.origin.name()))
            .collect();
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

/// With so many decimals.
fn rounded(value: f64, decimals: i32) -> Plain {
    let unit = 10_f64.powi(decimals);
    Plain((value * unit).round() / unit)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::civil::date;
    use jiff::tz::TimeZone;
    use kstar_model::time::UnixMillis;

    use super::*;
    use crate::report::{Energy, Figures, Flows, Money, Origin, Peak};

    fn figures(kwh: f64) -> Figures {
        let energy = |share: f64, origin| {
            Some(Energy {
                kwh: kwh * share,
                origin,
            })
        };
        Figures {
            flows: Flows {
                production: energy(1.0, Origin::Counter),
                consumption: energy(0.6, Origin::Power),
                import: energy(0.1, Origin::Both),
                export: energy(0.4, Origin::Counter),
                stored: energy(0.25, Origin::Counter),
                drawn: energy(0.2, Origin::Counter),
            },
            money: Money {
                cost: Some(kwh * 0.03),
                income: Some(kwh * 0.02),
                savings: Some(kwh * 0.15),
            },
            peak_watts: Some(3947.49),
            covered: 86_000.0,
        }
    }

    /// A report of these days, of which the second has no reading and all after the third are still to come.
    fn report(subject: Subject, days: [Date; 2], kwh: f64) -> Report {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let [first, end] = days;
        let parts: Vec<Part> = subject
            .part()
            .expect("parts of the calendar")
            .parts(first..end)
            .zip(0..)
            .map(|(day, number)| Part {
                span: subject.part().expect("as above").range(day, &zone),
                figures: match number {
                    0 | 2 => figures(kwh),
                    _ => Figures::default(),
                },
                coverage: match number {
                    0 | 2 => Some(0.998),
                    1 => Some(0.0),
                    _ => None,
                },
            })
            .collect();
        let mut sum = figures(kwh);
        sum.add(&figures(kwh));
        Report {
            subject,
            days: first..end,
            inverters: vec![Arc::from("roof")],
            currency: Some("EUR".to_owned()),
            sum: Part {
                span: crate::period::midnight(first, &zone)..crate::period::midnight(end, &zone),
                figures: sum,
                coverage: Some(0.665),
            },
            parts,
            unknown: Vec::new(),
            peaks: vec![
                Peak {
                    watts: 3947.49,
                    inverter: Arc::from("roof"),
                    time: UnixMillis(1_793_450_000_000),
                    until: None,
                },
                Peak {
                    watts: 3000.0,
                    inverter: Arc::from("garage"),
                    time: UnixMillis(1_793_449_800_000),
                    until: Some(UnixMillis(1_793_450_100_000)),
                },
            ],
            zone,
        }
    }

    fn month() -> Report {
        let days = [date(2026, 11, 1), date(2026, 12, 1)];
        report(Subject::One(Calendar::Month), days, 20.0)
    }

    fn as_table(report: &Report) -> String {
        let mut out = Vec::new();
        table(report, &mut out).expect("written to memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_table_shows_what_is_known_and_a_dash_for_what_is_not() {
        assert_eq!(
            as_table(&month()),
            "\
November 2026, roof

          PV  Used Import Export Stored Drawn   Own Autarky  Peak  Data
         kWh   kWh    kWh    kWh    kWh   kWh     %       %    kW     %
Sun  1 20.00 12.00   2.00   8.00   5.00  4.00    60      83  3.95   100
Mon  2     -     -      -      -      -     -     -       -     -     0
Tue  3 20.00 12.00   2.00   8.00   5.00  4.00    60      83  3.95   100
Sum    40.00 24.00   4.00  16.00  10.00  8.00    60      83  3.95    66

Peak      3.95 kW of roof at 2026-10-31 13:33
Peak      3.00 kW of garage between 2026-10-31 13:30 and 13:35
Losses    2.00 kWh
Money     cost 1.20 EUR, income 0.80 EUR, savings 6.00 EUR
"
        );
    }

    #[test]
    fn a_table_fits_a_terminal_however_much_there_is() {
        for kwh in [0.0, 1.0, 99.99, 5000.0, 99_999.9, 499_999.9] {
            for (subject, days) in [
                (Subject::Total, [date(2020, 1, 1), date(2027, 1, 1)]),
                (
                    Subject::One(Calendar::Year),
                    [date(2026, 1, 1), date(2027, 1, 1)],
                ),
            ] {
                let shown = as_table(&report(subject, days, kwh));
                for line in shown.lines() {
                    assert!(line.chars().count() <= 80, "{line}");
                }
            }
        }
    }

    #[test]
    fn energies_that_do_not_fit_together_are_remarked_on() {
        assert!(!as_table(&month()).contains("do not fit"));
        let mut report = month();
        report.sum.figures.flows.consumption = Some(Energy {
            kwh: 60.0,
            origin: Origin::Power,
        });
        let shown = as_table(&report);
        assert!(shown.contains("Losses    -34.00 kWh"), "{shown}");
        assert!(shown.contains("do not fit together"), "{shown}");
    }

    /// Other people's tools read this: what is there keeps its name and meaning.
    #[test]
    fn json_has_the_same_and_leaves_out_what_is_not_known() {
        let days = [date(2024, 1, 1), date(2026, 1, 1)];
        let mut out = Vec::new();
        json(&report(Subject::Total, days, 20.0), &mut out).expect("written to memory");
        let shown = String::from_utf8(out).expect("text");
        let compact: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(
            compact,
            serde_json::json!({
                "schema": 1,
                "report": "total",
                "begin": "2023-12-31T23:00:00.000Z",
                "end": "2025-12-31T23:00:00.000Z",
                "zone": "Europe/Berlin",
                "inverters": ["roof"],
                "currency": "EUR",
                "sum": {
                    "begin": "2023-12-31T23:00:00.000Z",
                    "end": "2025-12-31T23:00:00.000Z",
                    "production": 40, "consumption": 24, "import": 4, "export": 16, "stored": 10, "drawn": 8,
                    "self_consumption": 0.6, "autarky": 0.8333, "losses": 2, "peak_power": 3947.49,
                    "coverage": 0.665, "cost": 1.2, "income": 0.8, "savings": 6, "balanced": true,
                    "origin": {
                        "production": "counter", "consumption": "power", "import": "both", "export": "counter",
                        "stored": "counter", "drawn": "counter",
                    },
                },
                "peaks": [
                    { "inverter": "roof", "power": 3947.49, "time": "2026-10-31T12:33:20.000Z" },
                    {
                        "inverter": "garage", "power": 3000,
                        "time": "2026-10-31T12:30:00.000Z", "until": "2026-10-31T12:35:00.000Z",
                    },
                ],
                "parts": [
                    {
                        "begin": "2023-12-31T23:00:00.000Z",
                        "end": "2024-12-31T23:00:00.000Z",
                        "production": 20, "consumption": 12, "import": 2, "export": 8, "stored": 5, "drawn": 4,
                        "self_consumption": 0.6, "autarky": 0.8333, "losses": 1, "peak_power": 3947.49,
                        "coverage": 0.998, "cost": 0.6, "income": 0.4, "savings": 3, "balanced": true,
                        "origin": {
                            "production": "counter", "consumption": "power", "import": "both", "export": "counter",
                            "stored": "counter", "drawn": "counter",
                        },
                    },
                    {
                        "begin": "2024-12-31T23:00:00.000Z",
                        "end": "2025-12-31T23:00:00.000Z",
                        "coverage": 0,
                    },
                ],
            })
        );
        assert!(
            !shown.contains(".0,"),
            "whole numbers are written as such: {shown}"
        );
    }

    #[test]
    fn a_zero_has_no_minus() {
        assert_eq!(number(-0.001, 2), "0.00");
        assert_eq!(number(-0.2, 0), "0");
        assert_eq!(number(-0.006, 2), "-0.01");
    }
}
