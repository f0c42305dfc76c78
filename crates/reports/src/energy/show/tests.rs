use std::sync::Arc;

use jiff::civil::date;
use kstar_model::time::UnixMillis;

use super::*;
use crate::energy::{Energy, Figures, Flows, Money, Origin, Peak};

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
    let zone = kstar_common::zone::named("Europe/Berlin").expect("a zone");
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
