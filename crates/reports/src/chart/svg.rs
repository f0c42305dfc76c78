//! A drawing as the text of an SVG.

use std::fmt::{self, Display, Write as _};

use super::drawing::{Anchor, Drawing, Frame, Point, Shape};
use super::look::Size;

/// The font that a PNG is written with, then what other machines have.
const FONTS: &str = "'DejaVu Sans', Verdana, sans-serif";

/// The text of the file.
pub fn write(drawing: &Drawing) -> String {
    let Size { width, height } = drawing.look().size;
    let title = Escaped(drawing.title());
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"{FONTS}\">\n<title>{title}</title>"
    );
    with_shapes(head, drawing)
}

/// The same as an element of a page, which fills the width that it is given and has the page's font and words. The page
/// learns where the chart proper begins and ends.
pub fn inline(drawing: &Drawing, class: &'static str, title: &str, sides: [f64; 2]) -> String {
    let Size { width, height } = drawing.look().size;
    let [from, to] = sides.map(Short);
    let title = Escaped(title);
    let head = format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\" \
         data-from=\"{from}\" data-to=\"{to}\">"
    );
    with_shapes(head, drawing)
}

fn with_shapes(head: String, drawing: &Drawing) -> String {
    let mut text = head;
    text.push('\n');
    for shape in drawing.shapes() {
        // Writing to a `String` cannot fail.
        let _ = write_shape(&mut text, shape);
    }
    text.push_str("</svg>\n");
    text
}

fn write_shape(text: &mut String, shape: &Shape) -> fmt::Result {
    match shape {
        Shape::Rectangle { frame, fill, edge } => {
            let Frame {
                left,
                top,
                width,
                height,
            } = *frame;
            write!(
                text,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\"",
                Short(left),
                Short(top),
                Short(width),
                Short(height)
            )?;
            if let Some((colour, width)) = edge {
                write!(
                    text,
                    " stroke=\"{colour}\" stroke-width=\"{}\"",
                    Short(*width)
                )?;
            }
            writeln!(text, "/>")
        }
        Shape::Line {
            from,
            to,
            colour,
            width,
        } => writeln!(
            text,
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"{}\"/>",
            Short(from.0),
            Short(from.1),
            Short(to.0),
            Short(to.1),
            Short(*width)
        ),
        Shape::Area { points, fill } => {
            writeln!(text, "<path d=\"{}Z\" fill=\"{fill}\"/>", Path(points))
        }
        Shape::Curve {
            points,
            colour,
            width,
        } => writeln!(
            text,
            "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{}\" stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
            Path(points),
            Short(*width)
        ),
        Shape::Text {
            at,
            look,
            text: words,
        } => {
            let anchor = match look.anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let weight = if look.bold {
                " font-weight=\"bold\""
            } else {
                ""
            };
            writeln!(
                text,
                "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{anchor}\"{weight}>{}</text>",
                Short(at.0),
                Short(at.1),
                Short(look.size),
                look.colour,
                Escaped(words)
            )
        }
    }
}

/// Points as the path from the first to the last.
struct Path<'a>(&'a [Point]);

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (x, y)) in self.0.iter().enumerate() {
            let command = if place == 0 { 'M' } else { 'L' };
            write!(f, "{command}{} {}", Short(*x), Short(*y))?;
        }
        Ok(())
    }
}

/// A number with a tenth of a pixel, as short as it can be written.
struct Short(f64);

impl Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() / 10.0;
        // A zero has no sign, and what is no number draws nothing wrong.
        if tenths == 0.0 || !tenths.is_finite() {
            return f.write_str("0");
        }
        write!(f, "{tenths}")
    }
}

/// Text that cannot end its element or begin another.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // XML has no way to write most of these.
                control if control.is_control() => f.write_char(' ')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::chart::drawing::Type;
    use crate::chart::{Look, Theme};

    /// Whether a chart is well-formed and nothing of it stands outside; gives its texts.
    #[track_caller]
    pub(in crate::chart) fn assert_sound(drawing: &Drawing) -> Vec<String> {
        let svg = write(drawing);
        let document = roxmltree::Document::parse(&svg).expect("well-formed");
        let root = document.root_element();
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let [width, height] =
            ["width", "height"].map(|name| number(root.attribute(name).expect(name)));
        let inside = |x: f64, y: f64, what: &str| {
            assert!((-0.5..=width + 0.5).contains(&x), "{x} {what}");
            assert!((-0.5..=height + 0.5).contains(&y), "{y} {what}");
        };
        let mut texts = Vec::new();
        for node in root.children().filter(roxmltree::Node::is_element) {
            let what = &svg[node.range()];
            let of = |name: &str| number(node.attribute(name).expect(name));
            match node.tag_name().name() {
                "title" => {}
                "rect" => {
                    assert!(of("width") >= 0.0 && of("height") >= 0.0, "{what}");
                    inside(of("x"), of("y"), what);
                    inside(of("x") + of("width"), of("y") + of("height"), what);
                }
                "line" => {
                    inside(of("x1"), of("y1"), what);
                    inside(of("x2"), of("y2"), what);
                }
                "path" => {
                    let points = node.attribute("d").expect("a path").trim_end_matches('Z');
                    for point in points.split(['M', 'L']).filter(|point| !point.is_empty()) {
                        let (x, y) = point.split_once(' ').expect("two numbers");
                        inside(number(x), number(y), point);
                    }
                }
                "text" => {
                    let text = node.text().unwrap_or_default();
                    // No letter of the font is wider on average.
                    let letters = u16::try_from(text.chars().count()).expect("a line");
                    let length = f64::from(letters) * of("font-size") * 0.62;
                    let left = match node.attribute("text-anchor") {
                        Some("start") => of("x"),
                        Some("middle") => of("x") - length / 2.0,
                        _ => of("x") - length,
                    };
                    inside(left, of("y"), what);
                    inside(left + length, of("y") - of("font-size"), what);
                    texts.push(text.to_owned());
                }
                other => panic!("{other} is drawn by nothing here"),
            }
        }
        texts
    }

    #[test]
    fn what_a_text_holds_cannot_spoil_the_drawing() {
        let look = Look::alone(Theme::Light, Size::default());
        let mut drawing = Drawing::new(look, "a<b>&\"c\"\u{1}");
        let font = Type {
            size: 10.0,
            colour: "#000000",
            bold: true,
            anchor: Anchor::End,
        };
        drawing.text((1.0, 2.0), font, "</text><script>&amp;");
        let svg = write(&drawing);
        let document = roxmltree::Document::parse(&svg).expect("well-formed");
        let texts: Vec<_> = document
            .descendants()
            .filter(|node| node.has_tag_name("text") || node.has_tag_name("title"))
            .filter_map(|node| node.text())
            .collect();
        assert_eq!(texts, ["a<b>&\"c\" ", "</text><script>&amp;"]);
    }

    #[test]
    fn numbers_are_short() {
        for (number, written) in [
            (1.04, "1"),
            (-0.04, "0"),
            (12.35, "12.4"),
            (-3.0, "-3"),
            (f64::NAN, "0"),
        ] {
            assert_eq!(Short(number).to_string(), written);
        }
    }
}
