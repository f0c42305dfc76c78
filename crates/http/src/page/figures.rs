//! What a stretch of time comes to: tiles with a large figure each, and the table of its parts.

use kstar_history::History;
use kstar_model::catalogue::Quantity;
use kstar_model::reading::Shown;
use kstar_reports::energy::gather::{self, Question};
use kstar_reports::energy::{self, Energy, Figures, Flows, Origin, Part, Report, show};
use kstar_reports::period::{Calendar, day_of, local, timestamp};
use maud::{Markup, html};

use super::language::MISSING;
use super::words::Words;
use crate::answer::Problem;
use crate::questions;

/// One tile: its class, which gives the colour, its name, and what it says.
type Tile = (&'static str, &'static str, String);

/// The figures of a report's whole time as tiles.
pub(super) fn tiles(words: &Words, report: &Report) -> Markup {
    list(&all(words, report))
}

/// The figures of two times, by their names: those that the first has.
pub(super) fn beside(
    words: &Words,
    report: &Report,
    before: &Report,
) -> Vec<(&'static str, String, String)> {
    let then = all(words, before);
    let beside = |(_, name, now): Tile| {
        let then = then.iter().find(|(_, other, _)| *other == name);
        let then = then.map_or_else(|| MISSING.to_owned(), |(_, _, text)| text.clone());
        (name, now, then)
    };
    all(words, report).into_iter().map(beside).collect()
}

fn all(words: &Words, report: &Report) -> Vec<Tile> {
    let decimals = show::decimals(report);
    let mut tiles = energies(words, &report.sum.figures, decimals);
    if let Some(currency) = &report.currency {
        let money = &report.sum.figures.money;
        for (name, amount) in [
            (words.cost, money.cost),
            (words.income, money.income),
            (words.savings, money.savings),
        ] {
            let shown = amount.map(|amount| format!("{} {currency}", words.number(amount, 2)));
            tiles.extend(shown.map(|shown| ("money", name, shown)));
        }
    }
    tiles
}

/// The same of what the meters of readings have counted today, where there is no history.
pub(super) fn tiles_of_readings(words: &Words, readings: &[&Shown]) -> Markup {
    let sum = |quantity: Quantity| {
        let energies = readings
            .iter()
            .filter_map(|reading| reading.values.number(quantity));
        energies.reduce(|one, other| one + other).map(|kwh| Energy {
            kwh,
            origin: Origin::Counter,
        })
    };
    let flows = Flows {
        production: sum(Quantity::pv_energy_today),
        consumption: sum(Quantity::consumption_energy_today),
        import: sum(Quantity::grid_import_energy_today),
        export: sum(Quantity::grid_export_energy_today),
        charged: sum(Quantity::battery_charge_energy_today),
        discharged: sum(Quantity::battery_discharge_energy_today),
    };
    let figures = Figures {
        flows,
        ..Figures::default()
    };
    list(&energies(words, &figures, 2))
}

fn energies(words: &Words, figures: &Figures, decimals: usize) -> Vec<Tile> {
    let flows = &figures.flows;
    let energy = |energy: Option<Energy>| words.energy(energy.map(|energy| energy.kwh), decimals);
    let mut tiles = vec![
        ("pv", words.production, energy(flows.production)),
        ("house", words.consumption, energy(flows.consumption)),
        ("grid", words.import, energy(flows.import)),
        ("grid", words.export, energy(flows.export)),
    ];
    if flows.charged.is_some() || flows.discharged.is_some() {
        tiles.push(("battery", words.charged, energy(flows.charged)));
        tiles.push(("battery", words.discharged, energy(flows.discharged)));
    }
    let share = |share| words.percent(share);
    tiles.push((
        "own",
        words.self_sufficiency,
        share(flows.self_sufficiency()),
    ));
    tiles.push((
        "own",
        words.self_consumption,
        share(flows.self_consumption()),
    ));
    tiles
}

fn list(tiles: &[Tile]) -> Markup {
    html! {
        dl.tiles {
            @for (class, name, text) in tiles {
                div class=(class) {
                    dt { (name) }
                    dd { (text) }
                }
            }
        }
    }
}

/// The parts of the period, as `kstar report` lists them.
pub(super) fn table(words: &Words, report: &Report) -> Markup {
    let decimals = show::decimals(report);
    let heads = [
        words.production,
        words.consumption,
        words.import,
        words.export,
        words.charged,
        words.discharged,
        words.self_consumption,
        words.self_sufficiency,
        words.peak,
        words.data,
    ];
    let units = [
        "kWh", "kWh", "kWh", "kWh", "kWh", "kWh", "%", "%", "kW", "%",
    ];
    let parts = report.parts.iter().filter(|part| part.coverage.is_some());
    html! {
        section.card {
            div.scroll tabindex="0" role="group" aria-label=(words.figures) {
                table {
                    thead {
                        tr {
                            th scope="col" { (words.period) }
                            @for (head, unit) in heads.into_iter().zip(units) {
                                th scope="col" { (head) " " small { (unit) } }
                            }
                        }
                    }
                    tbody {
                        @for part in parts {
                            tr {
                                th scope="row" { (name(words, report, part)) }
                                @for cell in cells(words, part, decimals) { td { (cell) } }
                            }
                        }
                    }
                    tfoot {
                        tr {
                            th scope="row" { (words.sum) }
                            @for cell in cells(words, &report.sum, decimals) { td { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// A part's name.
pub(super) fn name(words: &Words, report: &Report, part: &Part) -> String {
    let date = day_of(part.span.start, &report.zone);
    match report.subject.part() {
        // Where the clock is changed an hour may come twice, and is told apart by the name of its time.
        None if report.parts.len() != 24 => {
            let moment = timestamp(part.span.start).to_zoned(report.zone.clone());
            moment.strftime("%H:%M %Z").to_string()
        }
        None => local(part.span.start, &report.zone)
            .strftime("%H:%M")
            .to_string(),
        Some(Calendar::Month) => words.month(date).to_owned(),
        Some(Calendar::Year) => date.year().to_string(),
        Some(Calendar::Day | Calendar::Week) => {
            format!("{} {}", words.chart.weekday(date), date.day())
        }
    }
}

fn cells(words: &Words, part: &Part, decimals: usize) -> Vec<String> {
    let flows: &Flows = &part.figures.flows;
    let missing = || MISSING.to_owned();
    let percent = |share: Option<f64>| {
        share.map_or_else(missing, |share| words.number(energy::percent(share), 0))
    };
    let mut cells: Vec<String> = flows
        .named()
        .into_iter()
        .map(|(_, energy)| energy.map_or_else(missing, |energy| words.number(energy.kwh, decimals)))
        .collect();
    let peak = part.figures.peak_watts;
    cells.extend([
        percent(flows.self_consumption()),
        percent(flows.self_sufficiency()),
        peak.map_or_else(missing, |watts| words.number(watts / 1000.0, 2)),
        percent(part.coverage),
    ]);
    cells
}

/// What a stretch of time comes to, by what the history knows up to now; nothing without a reading.
pub(super) fn report(
    history: &History,
    question: &Question<'_>,
) -> Result<Option<Report>, Problem> {
    gather::report(history, question).map_err(|error| questions::unasked(&error))
}
