//! What stands in rows: the inverters, the energies, everything measured, the sinks, the log.

use std::time::Instant;

use jiff::Zoned;
use kstar_engine::overview::State;
use kstar_engine::overview::{InverterState, SinkOverview};
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::faults::faults;
use kstar_model::scalar::Kind;
use ratatui::layout::Rect;

use super::pen::{Pen, columns, rows, shortened, width};
use super::words::{ABSENT, age, power, value};
use crate::log::{Gravity, Line};
use crate::look::Ink;
use crate::page::{Page, Watched};

/// The symbol and the ink of an inverter's state.
pub(super) fn mark(watched: &Watched, stale: bool) -> (&'static str, Ink) {
    match watched.overview.state {
        InverterState::Silent if watched.overview.asleep => ("○", Ink::Faint),
        InverterState::Silent => ("✗", Ink::Bad),
        _ if stale => ("▲", Ink::Warning),
        InverterState::Waiting => ("○", Ink::Faint),
        InverterState::Online => ("●", Ink::Good),
    }
}

/// Every inverter in a row, the selected one marked. Where there is no room for all, those around it.
pub(super) fn draw_inverters(
    pen: &mut Pen<'_>,
    area: Rect,
    page: &Page,
    selected: usize,
    now: Instant,
) {
    let columns: [(&str, u16); 5] = [
        ("PV", 37),
        ("house", 46),
        ("grid", 59),
        ("battery", 72),
        ("", 79),
    ];
    pen.rule(area, 0, "Inverters");
    // Over the numbers below, as far as they are there.
    for (title, end) in columns {
        if end <= area.width && !title.is_empty() {
            pen.put_right(area, end, 0, &format!(" {title} "), Ink::Faint);
        }
    }
    let inverters = &page.inverters;
    let room = usize::from(area.height.saturating_sub(1));
    let first = (selected + 1)
        .saturating_sub(room.div_ceil(2).max(1))
        .min(inverters.len().saturating_sub(room));
    let shown = inverters.iter().enumerate().skip(first).take(room);
    for ((index, watched), y) in shown.zip(1..) {
        let stale = page.is_stale(watched, now);
        let (symbol, ink) = mark(watched, stale);
        if index == selected {
            pen.put(area, 0, y, "▶", Ink::Strong);
        }
        pen.put(area, 2, y, symbol, ink);
        let name_ink = if index == selected {
            Ink::Strong
        } else {
            Ink::Plain
        };
        pen.put_short(area, 4, y, watched.title(), 11, name_ink);
        let told = match watched.overview.state {
            InverterState::Waiting => "waiting".to_owned(),
            InverterState::Silent if watched.overview.asleep => "asleep".to_owned(),
            InverterState::Silent => format!("silent {}", age(watched.state_age(now))),
            InverterState::Online => watched
                .reading_age(now)
                .map_or_else(|| "online".to_owned(), |old| format!("{} ago", age(old))),
        };
        pen.put_short(area, 16, y, &told, 14, Ink::Plain);
        let Some(reading) = &watched.reading else {
            continue;
        };
        let ink = if stale { Ink::Faint } else { Ink::Plain };
        let cells = cells(&reading.values, watched.consumption());
        for (cell, (_, end)) in cells.iter().zip(columns) {
            if end <= area.width {
                pen.put_right(area, end, y, cell, ink);
            }
        }
        if !faults(&reading.values).is_empty() {
            pen.put(area, 2, y, "▲", Ink::Bad);
        }
    }
    let (before, behind) = (first, inverters.len().saturating_sub(first + room));
    if before + behind > 0 {
        let more = format!(" {} of {} shown ", room, inverters.len());
        pen.put(area, 13, 0, &more, Ink::Faint);
    }
}

/// The powers of an inverter with their ways, and the charge.
fn cells(values: &Values, consumption: Option<f64>) -> [String; 5] {
    let way = |watts: f64, more: &str, less: &str| {
        let word = match watts {
            watts if watts > 0.0 => more,
            watts if watts < 0.0 => less,
            _ => "",
        };
        format!("{word} {}", power(watts.abs()))
    };
    let shown = |watts: Option<f64>, show: &dyn Fn(f64) -> String| {
        watts.map_or_else(|| ABSENT.to_owned(), show)
    };
    [
        shown(values.number(Quantity::pv_power), &power),
        shown(consumption, &power),
        shown(values.number(Quantity::grid_power), &|watts| {
            way(watts, "imp", "exp")
        }),
        shown(values.number(Quantity::battery_power), &|watts| {
            way(watts, "chg", "dis")
        }),
        value(values, Quantity::battery_soc).unwrap_or_default(),
    ]
}

/// The energies that are shown, in the words of the house.
const ENERGIES: [(&str, Quantity, Quantity); 6] = [
    ("PV", Quantity::pv_energy_today, Quantity::pv_energy_total),
    (
        "house",
        Quantity::load_energy_today,
        Quantity::load_energy_total,
    ),
    (
        "imported",
        Quantity::grid_import_energy_today,
        Quantity::grid_import_energy_total,
    ),
    (
        "exported",
        Quantity::grid_export_energy_today,
        Quantity::grid_export_energy_total,
    ),
    (
        "charged",
        Quantity::battery_charge_energy_today,
        Quantity::battery_charge_energy_total,
    ),
    (
        "discharged",
        Quantity::battery_discharge_energy_today,
        Quantity::battery_discharge_energy_total,
    ),
];

/// How many rows the energies take, with their title.
pub(super) const ENERGY_ROWS: u16 = 7;

/// Today's energies; with the totals beside them where there is room.
pub(super) fn draw_energies(
    pen: &mut Pen<'_>,
    area: Rect,
    values: Option<&Values>,
    since: Option<&Zoned>,
) {
    let with_totals = area.width >= 44;
    let ends = if with_totals {
        [area.width - 16, area.width]
    } else {
        [area.width, 0]
    };
    let title = match since {
        // Of the house the inverter itself knows the whole day.
        Some(since) => format!("Since {}", since.strftime("%H:%M")),
        None => "Today".to_owned(),
    };
    pen.rule(area, 0, &title);
    if with_totals {
        pen.put_right(area, ends[1], 0, " in all", Ink::Faint);
    }
    let shown = |quantity| {
        let kwh = values.and_then(|values| values.number(quantity));
        kwh.map_or_else(|| ABSENT.to_owned(), |kwh| format!("{kwh:.2} kWh"))
    };
    for ((name, today, total), y) in ENERGIES.into_iter().zip(1..) {
        let whole_day = since.is_some() && today == Quantity::load_energy_today;
        let name = if whole_day { "house, day" } else { name };
        pen.put(area, 0, y, name, Ink::Plain);
        pen.put_right(area, ends[0], y, &shown(today), Ink::Strong);
        if with_totals {
            pen.put_right(area, ends[1], y, &shown(total), Ink::Plain);
        }
    }
}

/// The width of a column of values.
const COLUMN: u16 = 38;

/// The values that are shown with their names. Energies stand beside, and what is wrong above.
fn shown_values(values: &Values) -> Vec<(&'static str, String)> {
    Quantity::ALL
        .iter()
        .filter(|quantity| {
            let description = quantity.description();
            description.unit != "kWh" && description.kind != Kind::Bits
        })
        .filter_map(|quantity| Some((quantity.description().label, value(values, *quantity)?)))
        .collect()
}

/// How many rows everything that the inverter says takes in so much width, without the title.
pub(super) fn value_rows(width: u16, values: &Values) -> u16 {
    let columns = usize::from((width / COLUMN).max(1));
    u16::try_from(shown_values(values).len().div_ceil(columns)).unwrap_or(u16::MAX)
}

/// Everything that the inverter says, in as many columns as fit.
pub(super) fn draw_values(pen: &mut Pen<'_>, area: Rect, values: &Values) {
    pen.rule(area, 0, "Readings");
    let area = rows(area, 1, area.height);
    let count = (area.width / COLUMN).max(1);
    let each = area.width / count;
    let height = usize::from(value_rows(area.width, values).min(area.height).max(1));
    for (index, (label, text)) in shown_values(values).iter().enumerate() {
        let (Ok(column), Ok(y)) = (u16::try_from(index / height), u16::try_from(index % height))
        else {
            return;
        };
        if column >= count {
            return;
        }
        let place = columns(area, column * each, each.saturating_sub(2));
        pen.put(place, 0, y, label, Ink::Faint);
        let room = place.width.saturating_sub(width(label) + 1);
        pen.put_right(
            place,
            place.width,
            y,
            &shortened(text, room.into()),
            Ink::Plain,
        );
    }
}

fn sink_mark(state: &State) -> (&'static str, &'static str, Ink) {
    match state {
        State::Opening => ("○", "opening", Ink::Faint),
        State::Up => ("●", "up", Ink::Good),
        State::Down { .. } => ("✗", "down", Ink::Bad),
        State::Ended => ("○", "ended", Ink::Faint),
    }
}

/// What became of a sink's readings, as far as it is worth saying.
fn sink_counts(sink: &SinkOverview) -> String {
    let counts = &sink.counts;
    let mut parts = vec![format!("{} delivered", counts.delivered)];
    for (count, word) in [
        (counts.queued, "waiting"),
        (counts.spooled, "in the spool"),
        (counts.dropped, "dropped"),
        (counts.rejected, "rejected"),
        (counts.missed, "missed"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    parts.join(", ")
}

/// Every sink in a row, with what became of its readings and why it is down.
pub(super) fn draw_sinks(pen: &mut Pen<'_>, area: Rect, sinks: &[SinkOverview]) {
    pen.rule(area, 0, "Sinks");
    for (sink, y) in sinks.iter().zip(1..) {
        let (symbol, word, ink) = sink_mark(&sink.state);
        pen.put(area, 0, y, symbol, ink);
        pen.put_short(area, 2, y, &sink.name, 10, Ink::Strong);
        pen.put(area, 12, y, word, Ink::Plain);
        let counts = sink_counts(sink);
        let end = pen.put(area, 20, y, &counts, Ink::Plain);
        if let State::Down { reason } = &sink.state {
            let room = area.width.saturating_sub(end + 2);
            pen.put_short(area, end + 2, y, reason, room, Ink::Bad);
        }
    }
}

pub(super) fn draw_sinks_shortly(pen: &mut Pen<'_>, area: Rect, sinks: &[SinkOverview]) {
    let is_down = |sink: &&SinkOverview| matches!(sink.state, State::Down { .. });
    let down = sinks.iter().filter(is_down).count();
    let told = |sink: &SinkOverview| match &sink.state {
        State::Down { reason } => format!("down, {} waiting: {reason}", sink.counts.queued),
        State::Up if down == 0 => sink.counts.delivered.to_string(),
        // Counts of those that are well are not what matters now.
        State::Up => String::new(),
        other => sink_mark(other).1.to_owned(),
    };
    let mut x = pen.put(area, 0, 0, "Sinks", Ink::Strong) + 2;
    // Reasons share what those leave that are well.
    let taken: u16 = sinks
        .iter()
        .map(|sink| {
            let words = if is_down(&sink) {
                0
            } else {
                width(&told(sink))
            };
            width(&sink.name) + words + 5
        })
        .sum();
    let left = area.width.saturating_sub(x + taken);
    let room = left / u16::try_from(down).unwrap_or(u16::MAX).max(1);
    // Those that are not well come first: they have something to say.
    let well = sinks.iter().filter(|sink| !is_down(sink));
    for sink in sinks.iter().filter(is_down).chain(well) {
        let (symbol, _, ink) = sink_mark(&sink.state);
        x = pen.put(area, x, 0, symbol, ink) + 1;
        x = pen.put(area, x, 0, &sink.name, Ink::Plain) + 1;
        let told = told(sink);
        let room = if is_down(&sink) { room } else { width(&told) };
        x = pen.put_short(area, x, 0, &told, room, Ink::Plain) + 2;
    }
}

/// The newest lines of the log, the last at the bottom. What warned before stays in sight above them.
pub(super) fn draw_log(pen: &mut Pen<'_>, area: Rect, log: &[Line]) {
    pen.rule(area, 0, "Log");
    let room = usize::from(area.height.saturating_sub(1));
    let (before, shown) = log.split_at(log.len().saturating_sub(room));
    let warns = |line: &&Line| line.gravity != Gravity::Note;
    let warning = if shown.iter().any(|line| warns(&line)) {
        None
    } else {
        before.iter().rfind(warns)
    };
    let shown = shown.iter().skip(usize::from(warning.is_some()));
    for (line, y) in warning.into_iter().chain(shown).zip(1..) {
        draw_line(pen, rows(area, y, 1), line, area.width);
    }
}

pub(super) fn draw_line(pen: &mut Pen<'_>, area: Rect, line: &Line, room: u16) {
    let (symbol, mark, ink) = match line.gravity {
        Gravity::Error => ("✗", Ink::Bad, Ink::Strong),
        Gravity::Warning => ("▲", Ink::Warning, Ink::Strong),
        Gravity::Note => (" ", Ink::Faint, Ink::Plain),
    };
    let x = pen.put(area, 0, 0, &line.time, Ink::Faint) + 1;
    let x = pen.put(area, x, 0, symbol, mark) + 1;
    pen.put_short(area, x, 0, &line.text, room.saturating_sub(x), ink);
}
