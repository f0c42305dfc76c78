//! Charts of a history: power over a day, energies by days and months.
//!
//! A chart is a pure function from figures to a drawing, and so are the SVG and the PNG that are made from it. The PNG has
//! letters that are built in, so that a picture looks the same on every machine.
//!
//! - [`look`]: colours and sizes;
//! - [`drawing`]: shapes and text; what every chart is drawn with;
//! - [`scale`]: where a value stands, and which values are worth a line;
//! - [`day`] and [`bars`]: the charts; [`mod@line`]: one quantity by itself;
//! - [`gather`]: a history's buckets as a day's figures;
//! - [`svg`]: a drawing as the text of an SVG;
//! - [`png`]: a drawing as pixels, with the [`letters`].

use drawing::{Anchor, Drawing, Frame, Type};
pub use look::{ChartWords, Colours, Ink, Look, Size, Theme};

pub mod bars;
pub mod day;
pub mod drawing;
pub mod gather;
pub mod letters;
pub mod line;
pub mod look;
pub mod png;
pub mod scale;
pub mod svg;

/// The size of ordinary words on a page, so that those of a scale can be read on a phone.
const PAGE_UNIT: f64 = 14.0;

/// The size of ordinary words, which all distances follow.
fn unit(look: Look) -> f64 {
    if look.is_bare() {
        // A page shows its charts at about the size that they are drawn for.
        return PAGE_UNIT;
    }
    let Size { width, height } = look.size;
    (f64::from(width) / 75.0).min(f64::from(height) / 42.0)
}

fn write_head(drawing: &mut Drawing, title: &str, subtitle: &str) {
    let colours = drawing.look().theme.colours();
    let unit = unit(drawing.look());
    let font = Type {
        size: 1.5 * unit,
        colour: colours.text,
        bold: true,
        anchor: Anchor::Start,
    };
    drawing.text((1.4 * unit, 2.5 * unit), font, title);
    let right = f64::from(drawing.look().size.width) - 1.4 * unit;
    let font = Type {
        size: unit,
        colour: colours.faint,
        bold: false,
        anchor: Anchor::End,
    };
    drawing.text((right, 2.5 * unit), font, subtitle);
}

/// Where the chart proper begins, below title and legend if it has them.
fn top(look: Look) -> f64 {
    unit(look) * if look.is_bare() { 1.9 } else { 9.0 }
}

/// How the numbers beside a chart are written.
fn small(look: Look, anchor: Anchor) -> Type {
    Type {
        size: unit(look) * 0.85,
        colour: look.theme.colours().faint,
        bold: false,
        anchor,
    }
}

/// A value of the scale as the chart's language writes it.
fn label(value: f64, step: f64, look: Look) -> String {
    let text = scale::label(value, step);
    match look.words.decimal {
        '.' => text,
        decimal => text.replace('.', decimal.encode_utf8(&mut [0; 4])),
    }
}

/// Draws a line across, and beside it what it stands for: on the left where the text ends there, else on the right.
fn draw_rule(drawing: &mut Drawing, frame: Frame, y: f64, font: Type, text: &str) {
    let unit = unit(drawing.look());
    let x = match font.anchor {
        Anchor::End => frame.left - 0.5 * unit,
        Anchor::Start | Anchor::Middle => frame.right() + 0.5 * unit,
    };
    let colour = drawing.look().theme.colours().line;
    drawing.line((frame.left, y), (frame.right(), y), colour, 1.0);
    drawing.text((x, y + 0.3 * unit), font, text);
}

/// A row of the legend: a name with a sum, then colours with their meaning and part, and a share at the end.
struct Legend {
    name: &'static str,
    sum: Option<String>,
    entries: Vec<(Ink, &'static str, String)>,
    share: (&'static str, String),
}

/// The legend below the title; its columns stand at fixed places, since no font is measured.
fn write_legend(drawing: &mut Drawing, rows: &[Legend]) {
    let look = drawing.look();
    let colours = look.theme.colours();
    let unit = unit(look);
    let plain = Type {
        size: unit,
        colour: colours.text,
        bold: false,
        anchor: Anchor::Start,
    };
    let bold = Type {
        bold: true,
        ..plain
    };
    let faint = Type {
        colour: colours.faint,
        ..plain
    };
    let right = f64::from(look.size.width) - 1.4 * unit;
    for (row, baseline) in rows.iter().zip([4.6 * unit, 6.3 * unit]) {
        drawing.text((1.4 * unit, baseline), faint, row.name);
        let (first, column, behind) = match &row.sum {
            None => (5.4, 19.0, 6.2),
            Some(sum) => {
                drawing.text((5.4 * unit, baseline), bold, sum);
                (14.0, 20.0, 9.8)
            }
        };
        // The columns share what the name and the share leave.
        let columns = if row.entries.len() > 2 { 3.0 } else { 2.0 };
        let column = (column * unit).min((right - (12.0 + first) * unit) / columns);
        let mut left = first * unit;
        for (ink, meaning, sum) in &row.entries {
            let swatch = Frame {
                left,
                top: baseline - 0.8 * unit,
                width: 0.9 * unit,
                height: 0.9 * unit,
            };
            drawing.block(swatch, *ink);
            drawing.text((left + 1.4 * unit, baseline), plain, meaning);
            drawing.text((left + behind * unit, baseline), bold, sum);
            left += column;
        }
        let (name, share) = &row.share;
        drawing.text((right - 11.2 * unit, baseline), faint, name);
        let bold = Type {
            anchor: Anchor::End,
            ..bold
        };
        drawing.text((right, baseline), bold, share);
    }
}

/// An energy in words: as many decimals as it is worth.
fn energy(kwh: Option<f64>) -> String {
    match kwh.map(f64::abs) {
        None => "–".to_owned(),
        Some(kwh @ ..10.0) => format!("{kwh:.2} kWh"),
        Some(kwh @ ..1000.0) => format!("{kwh:.1} kWh"),
        Some(kwh) => format!("{kwh:.0} kWh"),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(
        || "–".to_owned(),
        |share| format!("{:.0} %", crate::energy::percent(share)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_and_bounded() {
        let size = |width, height| Ok(Size { width, height });
        assert_eq!("1200x675".parse(), size(1200, 675));
        assert_eq!("480 X 300".parse(), size(480, 300));
        for wrong in [
            "",
            "1200",
            "100x100",
            "1200x99999",
            "ax5",
            "-5x5",
            "5000x800",
        ] {
            let error = wrong.parse::<Size>().expect_err(wrong);
            assert!(error.contains("480x300 to 4096x4096"), "{error}");
        }
    }

    /// Contrast as the guidelines for accessible content define it.
    fn contrast(one: &str, other: &str) -> f64 {
        let luminance = |colour: &str| {
            let part = |from: usize| {
                let byte = u8::from_str_radix(&colour[from..from + 2], 16).expect("a colour");
                let share = f64::from(byte) / 255.0;
                if share <= 0.04045 {
                    share / 12.92
                } else {
                    ((share + 0.055) / 1.055).powf(2.4)
                }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        };
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn words_and_edges_stand_out_from_their_ground() {
        for theme in [Theme::Light, Theme::Dark] {
            let colours = theme.colours();
            for text in [colours.text, colours.faint] {
                let contrast = contrast(text, colours.ground);
                assert!(contrast >= 4.5, "{text} {contrast}");
            }
            for ink in [
                colours.pv,
                colours.pv_surplus,
                colours.house,
                colours.battery,
                colours.grid,
            ] {
                let contrast = contrast(ink.edge, colours.ground);
                assert!(contrast >= 3.0, "{} {contrast}", ink.edge);
            }
        }
    }
}
