//! Shapes and text as SVG.

use std::fmt::{self, Display, Write as _};

use super::{Ink, Look};

/// The font that is built in for PNG, then what other machines have.
const FONTS: &str = "'DejaVu Sans', Verdana, sans-serif";

/// A drawing in the making. Lengths are in pixels, from the upper left corner.
pub struct Drawing {
    look: Look,
    body: String,
}

/// On which side of its place a text stands.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// Its height.
    pub size: f64,
    /// Its colour.
    pub colour: &'static str,
    /// Whether it is bold.
    pub bold: bool,
    /// On which side of its place it stands.
    pub anchor: Anchor,
}

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Its left edge.
    pub left: f64,
    /// Its upper edge.
    pub top: f64,
    /// From left to right.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

impl Frame {
    /// Its right edge.
    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    /// Its lower edge.
    pub fn bottom(&self) -> f64 {
        self.top + self.height
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

impl Drawing {
    /// An empty ground. The title is for those who hear it read.
    pub fn new(look: Look, title: &str) -> Self {
        let mut drawing = Self {
            look,
            body: String::new(),
        };
        let (width, height) = (look.size.width, look.size.height);
        drawing.write(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"{FONTS}\">\n<title>{}</title>",
            Escaped(title)
        ));
        drawing.rectangle(
            Frame {
                left: 0.0,
                top: 0.0,
                width: f64::from(width),
                height: f64::from(height),
            },
            look.theme.colours().ground,
        );
        drawing
    }

    /// The text of the file.
    pub fn finish(mut self) -> String {
        self.body += "</svg>\n";
        self.body
    }

    /// A filled rectangle.
    pub fn rectangle(&mut self, frame: Frame, fill: &str) {
        let Frame {
            left,
            top,
            width,
            height,
        } = frame;
        self.write(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\"/>",
            Short(left),
            Short(top),
            Short(width),
            Short(height)
        ));
    }

    /// A rectangle of an ink with its edge.
    pub fn block(&mut self, frame: Frame, ink: Ink) {
        let Frame {
            left,
            top,
            width,
            height,
        } = frame;
        let (fill, edge) = (ink.fill, ink.edge);
        self.write(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\" stroke=\"{edge}\" stroke-width=\"0.8\"/>",
            Short(left),
            Short(top),
            Short(width),
            Short(height)
        ));
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        self.write(format_args!(
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"{}\"/>",
            Short(from.0),
            Short(from.1),
            Short(to.0),
            Short(to.1),
            Short(width)
        ));
    }

    /// An area without an edge, between its points.
    pub fn area(&mut self, points: impl IntoIterator<Item = (f64, f64)>, fill: &str) {
        let path = path(points);
        self.write(format_args!("<path d=\"{path}Z\" fill=\"{fill}\"/>"));
    }

    /// A line through points.
    pub fn curve(
        &mut self,
        points: impl IntoIterator<Item = (f64, f64)>,
        colour: &str,
        width: f64,
    ) {
        let path = path(points);
        self.write(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{}\" stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
            Short(width)
        ));
    }

    /// A text on its base line.
    pub fn text(&mut self, at: (f64, f64), look: Type, text: &str) {
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
        self.write(format_args!(
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{anchor}\"{weight}>{}</text>",
            Short(at.0),
            Short(at.1),
            Short(look.size),
            look.colour,
            Escaped(text)
        ));
    }

    /// How the drawing looks.
    pub fn look(&self) -> Look {
        self.look
    }

    fn write(&mut self, element: fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

fn path(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let command = if path.is_empty() { 'M' } else { 'L' };
        // Writing to a `String` cannot fail.
        let _ = write!(path, "{command}{} {}", Short(x), Short(y));
    }
    path
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plot::{Size, Theme};

    /// Whether a chart is well-formed and nothing of it stands outside; gives its texts.
    #[track_caller]
    pub(in crate::plot) fn assert_sound(svg: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(svg).expect("well-formed");
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
        let look = Look {
            theme: Theme::Light,
            size: Size::default(),
        };
        let mut drawing = Drawing::new(look, "a<b>&\"c\"\u{1}");
        let font = Type {
            size: 10.0,
            colour: "#000000",
            bold: true,
            anchor: Anchor::End,
        };
        drawing.text((1.0, 2.0), font, "</text><script>&amp;");
        let svg = drawing.finish();
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
