//! How power flows: the panels and the battery to the left of the inverter, the house and the grid to its right. An
//! arrow says which way, a word says it again.

use std::cmp::Ordering;

use kstar_model::catalogue::{Quantity, Values};
use ratatui::layout::Rect;

use super::pen::{Pen, columns, rows};
use super::words::{ABSENT, mode, power, value};
use crate::look::Ink;

/// The height of the picture: two boxes and a gap.
pub(super) const HEIGHT: u16 = 7;

/// The height with what stands behind the powers.
pub(super) const TALL: u16 = 11;

/// One of the four places that power comes from or goes to.
struct Place {
    title: String,
    watts: Option<f64>,
    /// Whether power comes from it; nothing where none flows.
    gives: Option<bool>,
    word: String,
    details: Vec<String>,
    ink: Ink,
}

impl Place {
    /// One that gives where its power is positive or where it is negative, with the words for giving, taking and neither.
    fn new(
        title: &str,
        watts: Option<f64>,
        positive_gives: bool,
        [giving, taking, idle]: [&str; 3],
        ink: Ink,
    ) -> Self {
        let gives = match watts.and_then(|watts| watts.partial_cmp(&0.0)) {
            Some(Ordering::Greater) => Some(positive_gives),
            Some(Ordering::Less) => Some(!positive_gives),
            Some(Ordering::Equal) | None => None,
        };
        let word = match gives {
            _ if watts.is_none() => "unknown",
            Some(true) => giving,
            Some(false) => taking,
            None => idle,
        };
        Self {
            title: title.to_owned(),
            watts,
            gives,
            word: word.to_owned(),
            details: Vec::new(),
            ink,
        }
    }

    /// The same where the word says which way, so that the number need not.
    fn with_word(self, told: Option<String>) -> Self {
        Self {
            watts: self.watts.map(f64::abs),
            word: told.unwrap_or(self.word),
            ..self
        }
    }
}

fn joined(values: &Values, quantities: &[Quantity]) -> String {
    let shown: Vec<String> = quantities
        .iter()
        .filter_map(|quantity| value(values, *quantity))
        .collect();
    shown.join("  ")
}

fn panels(values: &Values) -> Place {
    let string = |name: &str, quantities: &[Quantity]| {
        let shown = joined(values, quantities);
        (!shown.is_empty()).then(|| format!("{name}  {shown}"))
    };
    let strings = [
        string("1", &[Quantity::pv1_voltage, Quantity::pv1_current]),
        string("2", &[Quantity::pv2_voltage, Quantity::pv2_current]),
    ];
    let watts = values.number(Quantity::pv_power);
    let words = ["producing", "producing", "no power"];
    Place {
        details: strings.into_iter().flatten().collect(),
        ..Place::new("PV", watts, true, words, Ink::Pv)
    }
}

fn battery(values: &Values) -> Place {
    let charge = value(values, Quantity::battery_soc);
    let title = charge.map_or_else(|| "Battery".to_owned(), |soc| format!("Battery {soc}"));
    let watts = values.number(Quantity::battery_power);
    let words = ["discharging", "charging", "idle"];
    let electric = [Quantity::battery_voltage, Quantity::battery_current];
    let place = Place::new(&title, watts, false, words, Ink::Battery);
    Place {
        details: vec![
            joined(values, &electric),
            value(values, Quantity::battery_temperature).unwrap_or_default(),
        ],
        ..place.with_word(mode(values, Quantity::battery_mode))
    }
}

fn consumer(values: &Values, watts: Option<f64>) -> Place {
    let backup = value(values, Quantity::backup_power);
    let backup = backup.map(|watts| format!("back-up {watts}"));
    let words = ["giving", "using", "using nothing"];
    Place {
        details: vec![backup.unwrap_or_default()],
        ..Place::new("House", watts, false, words, Ink::House)
    }
}

fn grid(values: &Values) -> Place {
    let watts = values.number(Quantity::grid_power);
    let words = ["importing", "exporting", "idle"];
    let place = Place::new("Grid", watts, true, words, Ink::Grid);
    Place {
        details: vec![
            value(values, Quantity::grid_voltage).unwrap_or_default(),
            value(values, Quantity::grid_frequency).unwrap_or_default(),
        ],
        ..place.with_word(mode(values, Quantity::grid_direction))
    }
}

/// Draws the four places and what flows between them. What is no longer so is shown without arrows.
pub(super) fn draw(
    pen: &mut Pen<'_>,
    area: Rect,
    values: &Values,
    consumption: Option<f64>,
    stale: bool,
) {
    let places = [
        panels(values),
        consumer(values, consumption),
        battery(values),
        grid(values),
    ];
    let height = if area.height >= TALL { 5 } else { 3 };
    // The middle is where all lines meet; what is left is halved between boxes and lines.
    let side = area.width.saturating_sub(3) / 2;
    let box_width = side.saturating_sub(7).clamp(16, 30).min(side);
    let line = side - box_width;
    let far = area.width.saturating_sub(box_width);
    let lower = area.height.min(if height == 5 { TALL } else { HEIGHT }) - height;
    for (index, place) in places.iter().enumerate() {
        let (left, upper) = (index % 2 == 0, index < 2);
        let x = if left { 0 } else { far };
        let y = if upper { 0 } else { lower };
        draw_place(
            pen,
            rows(columns(area, x, box_width), y, height),
            place,
            stale,
        );
        let gives = if stale { None } else { place.gives };
        let x = if left { box_width } else { far - line };
        let way = rows(columns(area, x, line), y + height / 2, 1);
        draw_line(pen, way, left, upper, gives, place.ink);
    }
    draw_middle(pen, area, box_width + line, height / 2, lower, far - line);
}

fn draw_place(pen: &mut Pen<'_>, area: Rect, place: &Place, stale: bool) {
    let inner = usize::from(area.width.saturating_sub(2));
    let last = area.height.saturating_sub(1);
    let edge = area.width.saturating_sub(1);
    pen.put(area, 0, 0, &format!("╭{}╮", "─".repeat(inner)), place.ink);
    for y in 1..last {
        pen.put(area, 0, y, "│", place.ink);
        pen.put(area, edge, y, "│", place.ink);
    }
    pen.put(
        area,
        0,
        last,
        &format!("╰{}╯", "─".repeat(inner)),
        place.ink,
    );
    pen.put(area, 2, 0, &format!(" {} ", place.title), Ink::Strong);
    let (number, ink) = match place.watts {
        Some(watts) => (power(watts), if stale { Ink::Faint } else { Ink::Strong }),
        None => (ABSENT.to_owned(), Ink::Faint),
    };
    pen.put_right(area, edge.saturating_sub(1), 1, &number, ink);
    let word = if stale { "was " } else { "" }.to_owned() + &place.word;
    if area.height > 3 {
        pen.put(area, 2, 1, &word, Ink::Plain);
        let inside = columns(area, 2, area.width.saturating_sub(4));
        for (detail, y) in place.details.iter().zip(2..last) {
            pen.put_short(inside, 0, y, detail, inside.width, Ink::Faint);
        }
    } else {
        pen.put(area, 2, last, &format!(" {word} "), Ink::Plain);
    }
}

/// The line from a place to the middle, with its corner.
fn draw_line(
    pen: &mut Pen<'_>,
    area: Rect,
    left: bool,
    upper: bool,
    gives: Option<bool>,
    ink: Ink,
) {
    let Some(length) = area.width.checked_sub(1) else {
        return;
    };
    let corner = match (left, upper, gives.is_some()) {
        (true, true, true) => '┓',
        (true, false, true) => '┛',
        (false, true, true) => '┏',
        (false, false, true) => '┗',
        (true, true, false) => '╮',
        (true, false, false) => '╯',
        (false, true, false) => '╭',
        (false, false, false) => '╰',
    };
    let mut line: Vec<char> = match gives {
        None => vec!['╌'; length.into()],
        Some(gives) => {
            let mut line = vec!['━'; length.into()];
            let arrow = if gives == left { '▶' } else { '◀' };
            // Two of them, since one is easily overlooked.
            for place in [length / 3, 2 * length / 3] {
                if let Some(part) = line.get_mut(usize::from(place)) {
                    *part = arrow;
                }
            }
            line
        }
    };
    if left {
        line.push(corner);
    } else {
        line.insert(0, corner);
    }
    let line: String = line.into_iter().collect();
    pen.put(
        area,
        0,
        0,
        &line,
        if gives.is_some() { ink } else { Ink::Faint },
    );
}

/// The inverter, where all lines meet.
fn draw_middle(pen: &mut Pen<'_>, area: Rect, left: u16, upper: u16, lower: u16, right: u16) {
    let (top, bottom) = (upper + 1, lower + upper);
    let middle = u16::midpoint(top, bottom - 1);
    let (from, to) = (left.saturating_sub(1), right);
    for y in top..bottom {
        let (one, other) = if y == middle {
            ("├", "┤")
        } else {
            ("│", "│")
        };
        pen.put(area, from, y, one, Ink::Faint);
        pen.put(area, to, y, other, Ink::Faint);
    }
    let gap = usize::from(to.saturating_sub(from).saturating_sub(1));
    pen.put(area, from + 1, middle, &"─".repeat(gap), Ink::Faint);
}
