//! What the values of a chart are where a pointer is, for the page's script: for each part from where to where it goes,
//! in thousandths of the chart's width, its name and its lines. They are written here, so that the script computes nothing.

use std::ops::Range;

use kstar_model::time::UnixMillis;
use kstar_reports::chart::day::{Day, Sample};
use kstar_reports::energy::{Energy, Report, show};
use kstar_reports::period::local;
use serde::Serialize;

use super::figures;
use super::words::Words;

/// One part of a chart.
#[derive(Serialize)]
pub(super) struct Tip<'a> {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) name: String,
    pub(super) lines: Vec<(&'a str, String)>,
}

/// Where a moment is in a span, in thousandths of it.
pub(super) fn place(span: &Range<UnixMillis>, moment: UnixMillis) -> i64 {
    let length = (span.end.0 - span.start.0).max(1);
    (moment.0 - span.start.0) * 1000 / length
}

pub(super) fn written(tips: &[Tip<'_>]) -> String {
    serde_json::to_string(tips).unwrap_or_else(|error| {
        tracing::error!(%error, "the values of a chart cannot be written as JSON; please report this");
        "[]".to_owned()
    })
}

/// Those of a day: the mean powers of each five minutes.
pub(super) fn of_day(words: &Words, day: &Day) -> String {
    let tips = day.samples.iter().map(|(span, sample)| Tip {
        from: place(&day.span, span.start),
        to: place(&day.span, span.end),
        name: local(span.start, &day.zone).strftime("%H:%M").to_string(),
        lines: lines(words, sample),
    });
    written(&tips.collect::<Vec<_>>())
}

fn lines(words: &Words, sample: &Sample) -> Vec<(&'static str, String)> {
    let power = |name, watts: Option<f64>| Some((name, words.power(Some(watts?))));
    let flowing = |watts: Option<f64>| watts.filter(|watts| *watts >= 0.5);
    let charge = |charge| (words.battery, format!("{} %", words.number(charge, 0)));
    [
        power(words.pv, sample.production),
        power(words.house, sample.consumption),
        power(words.charging, flowing(sample.charged)),
        power(words.discharging, flowing(sample.discharged)),
        power(words.importing, flowing(sample.import)),
        power(words.exporting, flowing(sample.export)),
        sample.charge.map(charge),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Those of a longer period: the energies of each of its parts.
pub(super) fn of_parts(words: &Words, report: &Report) -> String {
    let decimals = show::decimals(report);
    let count = i64::try_from(report.parts.len()).unwrap_or(i64::MAX).max(1);
    let tips = (0..).zip(&report.parts).filter_map(|(number, part)| {
        part.coverage?;
        let flows = &part.figures.flows;
        let energy =
            |name, energy: Option<Energy>| Some((name, words.energy(Some(energy?.kwh), decimals)));
        let lines = [
            energy(words.production, flows.production),
            energy(words.consumption, flows.consumption),
            energy(words.import, flows.import),
            energy(words.export, flows.export),
        ];
        Some(Tip {
            from: number * 1000 / count,
            to: (number + 1) * 1000 / count,
            name: figures::name(words, report, part),
            lines: lines.into_iter().flatten().collect(),
        })
    });
    written(&tips.collect::<Vec<_>>())
}
