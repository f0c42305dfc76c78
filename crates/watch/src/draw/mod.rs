//! Drawing: what is known, as characters in a buffer. No terminal, no clock, no source; the same scene always gives the
//! same page.
//!
//! A page of 80 columns and 24 rows shows everything that matters. A larger one first gives the last hours more height,
//! then stands in two columns and shows every value.

mod chart;
mod flow;
mod lists;
mod pen;
#[cfg(test)]
mod tests;
mod words;

use std::time::Instant;

use jiff::Zoned;
use kstar_common::wrapping::wrapped;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::faults::faults;
use kstar_model::time::UnixMillis;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use self::chart::Chart;
pub use self::chart::Span;
use self::lists::ENERGY_ROWS;
use self::pen::{Pen, columns, rows, shortened, width};
use self::words::{age, mode, value};
use super::log::{Gravity, Line};
use super::look::{Ink, Look};
use super::page::{Page, Watched};
use kstar_engine::overview::InverterState;

/// The smallest terminal that shows a page; one of 80 by 24 may have lost a row to anyone who divides it.
const LEAST: (u16, u16) = (76, 20);

/// From this width and height on there are two columns.
const WIDE: (u16, u16) = (130, 32);

const SECOND: u16 = 78;

/// What anyone who watches has chosen to see.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The inverter that is shown, by its name; the first one if there is none of that name.
    pub selected: Option<String>,
    /// How much of the past is shown; what fits if nothing was chosen.
    pub span: Option<Span>,
    /// What lies over the page.
    pub over: Option<Over>,
}

/// What lies over the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Help,
    Log,
}

impl View {
    /// Which of the inverters is shown.
    pub fn index(&self, page: &Page) -> usize {
        let chosen = page
            .inverters
            .iter()
            .position(|watched| Some(&watched.overview.name) == self.selected.as_ref());
        chosen.unwrap_or_default()
    }

    /// How much of its past is shown.
    pub fn span(&self, watched: &Watched, now: &Zoned) -> Span {
        let now = UnixMillis(now.timestamp().as_millisecond());
        self.span
            .unwrap_or_else(|| Span::fitting(&watched.curve, now))
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What is known.
    pub page: &'a Page,
    /// What is wanted of it.
    pub view: &'a View,
    /// The newest lines of the log, oldest first.
    pub log: &'a [Line],
    /// What the terminal can show.
    pub look: Look,
    /// The present moment, for ages.
    pub now: Instant,
    /// The same moment by the clock on the wall.
    pub time: &'a Zoned,
}

/// Draws the scene over the whole buffer.
pub fn draw(scene: &Scene<'_>, buffer: &mut Buffer) {
    let area = buffer.area;
    let mut pen = Pen::new(buffer, scene.look);
    if area.width < LEAST.0 || area.height < LEAST.1 {
        draw_tiny(&mut pen, area);
        return;
    }
    draw_head(&mut pen, area, scene);
    let footer = rows(area, area.height - 1, 1);
    let selected = scene.view.index(scene.page);
    let log_is_shown = match (scene.view.over, scene.page.inverters.get(selected)) {
        (Some(Over::Log), _) => {
            lists::draw_log(&mut pen, rows(area, 1, area.height - 2), scene.log);
            true
        }
        (_, None) => {
            let waiting = scene
                .page
                .trouble
                .as_deref()
                .unwrap_or("waiting for the first answer");
            draw_wrapped(&mut pen, rows(area, 2, area.height - 4), waiting);
            false
        }
        (_, Some(watched)) => {
            let top = draw_state(&mut pen, rows(area, 1, area.height - 2), scene, watched);
            let body = rows(area, top + 1, area.height - 2 - top);
            if area.width >= WIDE.0 && area.height >= WIDE.1 {
                draw_wide(&mut pen, body, scene, watched);
                true
            } else {
                draw_narrow(&mut pen, body, scene, watched)
            }
        }
    };
    draw_footer(&mut pen, footer, scene, log_is_shown);
    if scene.view.over == Some(Over::Help) {
        draw_help(&mut pen, area);
    }
}

fn draw_tiny(pen: &mut Pen<'_>, area: Rect) {
    let message = format!(
        "This terminal is {} by {}; the page needs {} by {}. q quits.",
        area.width, area.height, LEAST.0, LEAST.1
    );
    draw_wrapped(pen, area, &message);
}

fn draw_wrapped(pen: &mut Pen<'_>, area: Rect, text: &str) {
    for (line, y) in wrapped(text, area.width.into()).iter().zip(0..) {
        pen.put(area, 0, y, line, Ink::Plain);
    }
}

/// How much of an inverter's title has room in the first row: any name has.
const TITLE: u16 = 32;

/// The program, what it shows and where that comes from, and the time.
fn draw_head(pen: &mut Pen<'_>, area: Rect, scene: &Scene<'_>) {
    let head = rows(area, 0, 1);
    let clock = scene.time.strftime("%a %d %b  %H:%M:%S").to_string();
    let mut x = pen.put(head, 0, 0, "kstar", Ink::Strong);
    let selected = scene.view.index(scene.page);
    let mut parts = Vec::new();
    if let Some(watched) = scene.page.inverters.get(selected) {
        let overview = &watched.overview;
        x = pen.put_short(head, x + 2, 0, watched.title(), TITLE, Ink::Strong);
        parts.extend(overview.model.clone());
        parts.extend(overview.serial.clone());
    }
    parts.push(scene.page.origin.clone());
    let room = area.width.saturating_sub(x + 4 + width(&clock));
    pen.put_short(head, x + 2, 0, &parts.join(" · "), room, Ink::Faint);
    pen.put_right(head, head.width, 0, &clock, Ink::Plain);
}

/// How the inverter is: a row, and one more for each thing that is wrong. Gives how many.
fn draw_state(pen: &mut Pen<'_>, area: Rect, scene: &Scene<'_>, watched: &Watched) -> u16 {
    let mut y = 0;
    if let Some(trouble) = &scene.page.trouble {
        pen.put(area, 0, y, "✗", Ink::Bad);
        pen.put_short(area, 2, y, trouble, area.width - 2, Ink::Strong);
        y += 1;
    }
    let stale = scene.page.is_stale(watched, scene.now);
    let (symbol, ink) = lists::mark(watched, stale);
    pen.put(area, 0, y, symbol, ink);
    let values = watched.reading.as_ref().map(|reading| &reading.values);
    let faults = values.map(faults).unwrap_or_default();
    let mut parts = Vec::new();
    let strong = match watched.overview.state {
        InverterState::Waiting => {
            format!("waiting for an answer of {}", watched.overview.host)
        }
        InverterState::Silent if watched.overview.asleep => {
            format!("asleep for {}", age(watched.state_age(scene.now)))
        }
        InverterState::Silent => format!("silent for {}", age(watched.state_age(scene.now))),
        InverterState::Online if scene.page.trouble.is_some() => "was online".to_owned(),
        InverterState::Online => "online".to_owned(),
    };
    if let Some(old) = watched.reading_age(scene.now) {
        parts.push(format!("read {} ago", age(old)));
    }
    if let (Some(values), false) = (values, stale) {
        parts.extend(mode(values, Quantity::work_mode));
        if let Some(state) = mode(values, Quantity::inverter_state) {
            parts.push(format!("inverter {state}"));
        }
        parts.extend(value(values, Quantity::inverter_temperature));
        if faults.is_empty() && values.errors.is_some() {
            parts.push("no faults".to_owned());
        }
    }
    let gate = watched.overview.quarantined;
    if gate > 0 {
        parts.push(format!("{gate} refused"));
    }
    let x = pen.put(area, 2, y, &strong, Ink::Strong);
    parts.insert(0, String::new());
    let rest = parts.join(" · ");
    pen.put_short(area, x, y, &rest, area.width.saturating_sub(x), Ink::Plain);
    y += 1;
    // Whole: it tells what to do.
    let reason = (watched.overview.no_answer.as_deref())
        .filter(|_| scene.page.trouble.is_none() && !watched.overview.asleep);
    let room = usize::from(area.width.saturating_sub(2));
    for line in reason.iter().flat_map(|reason| wrapped(reason, room)) {
        pen.put(area, 2, y, &line, Ink::Plain);
        y += 1;
    }
    for fault in faults.iter().take(3) {
        pen.put(area, 0, y, "▲", Ink::Bad);
        pen.put_short(area, 2, y, fault, area.width - 2, Ink::Strong);
        y += 1;
    }
    y
}

/// How high each part of the narrow page is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heights {
    inverters: u16,
    flow: u16,
    chart: u16,
    sinks: u16,
    log: u16,
}

impl Heights {
    /// What fits below one another. What is needed most takes its rows first.
    fn new(rows: u16, inverters: u16, sinks: u16) -> Self {
        let mut left = rows;
        let mut take = |wanted: u16, spare: u16| {
            let height = if left >= wanted + spare { wanted } else { 0 };
            left -= height;
            height
        };
        let mut heights = Self {
            flow: take(flow::HEIGHT + 1, 0),
            // A title, the sun and the house, and the hours.
            chart: take(4, 0),
            ..Self::default()
        };
        if inverters > 1 {
            let all = (inverters + 1).min(9);
            // More can be reached than is shown.
            heights.inverters = (3..=all)
                .rev()
                .map(|height| take(height, 1))
                .find(|height| *height > 0)
                .unwrap_or_default();
        }
        // In one row, or a title and a row for each.
        heights.sinks = take(sinks.min(1), 0);
        // Grid, battery, charge.
        for more in [2, 2, 1] {
            heights.chart += take(more, 0);
        }
        if sinks > 0 {
            heights.sinks += take(sinks, 0);
        }
        // What stands behind the powers, and what is said.
        heights.flow += take(flow::TALL - flow::HEIGHT, 4);
        heights.log = take(4, 4);
        heights.log += take(rows / 8, 6);
        heights.chart += left;
        heights
    }
}

/// Everything below one another; the energies beside the flow. Says whether the log is among it.
fn draw_narrow(pen: &mut Pen<'_>, area: Rect, scene: &Scene<'_>, watched: &Watched) -> bool {
    let page = scene.page;
    let heights = Heights::new(
        area.height,
        count(page.inverters.len()),
        count(page.sinks.len()),
    );
    let mut y = 0;
    let mut part = |height: u16| {
        let part = rows(area, y, height);
        y += height;
        part
    };
    if heights.inverters > 0 {
        let (selected, list) = (scene.view.index(page), part(heights.inverters));
        lists::draw_inverters(pen, list, page, selected, scene.now);
    }
    draw_flow_and_energies(pen, part(heights.flow), scene, watched);
    draw_chart(pen, part(heights.chart), scene, watched);
    match heights.sinks {
        0 => {}
        1 => lists::draw_sinks_shortly(pen, part(1), &page.sinks),
        several => lists::draw_sinks(pen, part(several), &page.sinks),
    }
    if heights.log > 0 {
        lists::draw_log(pen, part(heights.log), scene.log);
    }
    heights.log > 0
}

fn draw_flow_and_energies(pen: &mut Pen<'_>, area: Rect, scene: &Scene<'_>, watched: &Watched) {
    const ENERGIES: u16 = 22;
    let flow_area = columns(area, 0, area.width.saturating_sub(ENERGIES + 2));
    draw_flow(pen, flow_area, scene, watched);
    let energies = columns(area, area.width.saturating_sub(ENERGIES), ENERGIES);
    draw_energies(pen, energies, scene, watched);
}

fn draw_energies(pen: &mut Pen<'_>, area: Rect, scene: &Scene<'_>, watched: &Watched) {
    let zone = scene.time.time_zone();
    let since = scene.page.counted_since.and_then(|since| {
        let since = jiff::Timestamp::from_millisecond(since.0).ok()?;
        Some(since.to_zoned(zone.clone()))
    });
    // From the next midnight on it is the whole day.
    let since = since.filter(|since| since.date() == scene.time.date());
    let values = watched.reading.as_ref().map(|reading| &reading.values);
    lists::draw_energies(pen, area, values, since.as_ref());
}

fn draw_flow(pen: &mut Pen<'_>, area: Rect, scene: &Scene<'_>, watched: &Watched) {
    pen.rule(area, 0, "Power");
    let nothing = Values::default();
    let values = watched
        .reading
        .as_ref()
        .map_or(&nothing, |reading| &reading.values);
    let stale = watched.reading.is_some() && scene.page.is_stale(watched, scene.now);
    let area = rows(area, 1, area.height);
    flow::draw(pen, area, values, watched.consumption(), stale);
}

fn draw_chart(pen: &mut Pen<'_>, area: Rect, scene: &Scene<'_>, watched: &Watched) {
    let span = scene.view.span(watched, scene.time);
    let end = pen.rule(area, 0, &format!("Last {}", span.label()));
    if area.width > end + 14 {
        pen.put_right(area, area.width, 0, " highest", Ink::Faint);
    }
    let battery = watched.reading.as_ref().is_none_or(|reading| {
        let mode = reading.values.battery_mode;
        mode != Some(kstar_model::labels::BatteryMode::NO_BATTERY)
    });
    let chart = Chart {
        curve: &watched.curve,
        span,
        now: scene.time,
        battery,
    };
    chart::draw(pen, rows(area, 1, area.height), &chart);
}

/// How many there are, as a height.
fn count(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Two columns: what moves on the left, what stands in rows on the right.
fn draw_wide(pen: &mut Pen<'_>, area: Rect, scene: &Scene<'_>, watched: &Watched) {
    let page = scene.page;
    let left = columns(area, 0, area.width.saturating_sub(SECOND + 2));
    let right = columns(area, area.width.saturating_sub(SECOND), SECOND);
    draw_flow(pen, rows(left, 0, flow::TALL + 1), scene, watched);
    draw_chart(pen, rows(left, flow::TALL + 2, left.height), scene, watched);

    let mut y = 0;
    let mut part = |height: u16| {
        let part = rows(right, y, height);
        y += height;
        part
    };
    let inverters = count(page.inverters.len());
    if inverters > 1 {
        let selected = scene.view.index(page);
        let list = part((inverters + 1).min(area.height / 4));
        lists::draw_inverters(pen, list, page, selected, scene.now);
        part(1);
    }
    draw_energies(pen, part(ENERGY_ROWS), scene, watched);
    let sinks = count(page.sinks.len());
    if sinks > 0 {
        part(1);
        lists::draw_sinks(pen, part(sinks + 1), &page.sinks);
    }
    // What is measured gets what it needs, and the log the rest.
    let rest = (right.y + right.height).saturating_sub(part(0).y);
    if let Some(reading) = &watched.reading {
        let needed = lists::value_rows(SECOND, &reading.values) + 1;
        part(1);
        let values = part(needed.min(rest.saturating_sub(5)));
        lists::draw_values(pen, values, &reading.values);
        part(1);
    }
    lists::draw_log(pen, part(right.height), scene.log);
}

/// The newest line of the log that warns, or else the newest, where none is shown above; and the keys.
fn draw_footer(pen: &mut Pen<'_>, area: Rect, scene: &Scene<'_>, log_is_shown: bool) {
    let mut keys = String::from("q quit  ? keys");
    if scene.page.inverters.len() > 1 {
        keys.insert_str(0, "↑ ↓ inverter  ");
    }
    pen.put_right(area, area.width, 0, &keys, Ink::Faint);
    let room = area.width.saturating_sub(width(&keys) + 2);
    let grave = scene
        .log
        .iter()
        .rfind(|line| line.gravity != Gravity::Note)
        .or(scene.log.last());
    if let (Some(line), false) = (grave, log_is_shown) {
        lists::draw_line(pen, area, line, room);
    }
}

/// The keys, over everything else.
fn draw_help(pen: &mut Pen<'_>, area: Rect) {
    const KEYS: [(&str, &str); 8] = [
        ("↑ ↓  1-9", "choose an inverter"),
        ("+ -", "show more or less of the past"),
        ("l", "the log"),
        ("?", "these keys"),
        ("Ctrl-L", "draw everything anew"),
        ("Ctrl-Z", "leave for now, come back with fg"),
        ("q  Ctrl-C", "quit"),
        ("Esc", "close this, or quit"),
    ];
    let (wide, high) = (50, count(KEYS.len()) + 4);
    let frame = rows(
        columns(area, area.width.saturating_sub(wide) / 2, wide),
        area.height.saturating_sub(high) / 2,
        high,
    );
    pen.clear(frame);
    let line = "─".repeat(usize::from(wide - 2));
    pen.put(frame, 0, 0, &format!("╭{line}╮"), Ink::Plain);
    for y in 1..high - 1 {
        pen.put(frame, 0, y, "│", Ink::Plain);
        pen.put(frame, wide - 1, y, "│", Ink::Plain);
    }
    pen.put(frame, 0, high - 1, &format!("╰{line}╯"), Ink::Plain);
    pen.put(frame, 2, 0, " Keys ", Ink::Strong);
    for ((key, meaning), y) in KEYS.into_iter().zip(2..) {
        pen.put(frame, 4, y, key, Ink::Strong);
        pen.put(frame, 15, y, &shortened(meaning, 32), Ink::Plain);
    }
}
