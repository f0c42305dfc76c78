//! A drawing as pixels, in a PNG.
//!
//! Only what charts consist of is drawn: areas and lines without transparency, and the letters of `letters`. A whole
//! renderer of SVG with its shaping of scripts was a tenth of the program.

use png::{ColorType, Compression, Encoder, EncodingError, Filter};
use zeno::{Cap, Command, Fill, Join, Mask, PathData, Stroke, Style, Transform, Vector};

use super::drawing::{Anchor, Drawing, Frame, Point, Shape, Type};
use super::letters::Letters;

/// Red, green, blue.
const CHANNELS: usize = 3;

pub fn render(drawing: &Drawing) -> Result<Vec<u8>, EncodingError> {
    let size = drawing.look().size;
    let mut picture = Picture::new(size.width.into(), size.height.into());
    let (plain, bold) = (Letters::plain(), Letters::bold());
    for shape in drawing.shapes() {
        picture.draw(shape, &plain, &bold);
    }
    picture.encode()
}

/// Rows of pixels, from the top.
struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Picture {
    fn new(width: u32, height: u32) -> Self {
        let pixels = usize::try_from(width * height).unwrap_or_default();
        Self {
            width,
            height,
            pixels: vec![0; pixels * CHANNELS],
        }
    }

    fn draw(&mut self, shape: &Shape, plain: &Letters, bold: &Letters) {
        match shape {
            Shape::Rectangle { frame, fill, edge } => {
                let outline = closed(&corners(frame));
                self.fill(&outline, Fill::NonZero, fill);
                if let Some((colour, width)) = edge {
                    self.fill(&outline, Stroke::new(short(*width)), colour);
                }
            }
            Shape::Line {
                from,
                to,
                colour,
                width,
            } => self.fill(&open(&[*from, *to]), Stroke::new(short(*width)), colour),
            Shape::Area { points, fill } => self.fill(&closed(points), Fill::NonZero, fill),
            Shape::Curve {
                points,
                colour,
                width,
            } => {
                let mut pen = Stroke::new(short(*width));
                pen.join(Join::Round).cap(Cap::Round);
                self.fill(&open(points), pen, colour);
            }
            Shape::Text { at, look, text } => {
                let letters = if look.bold { bold } else { plain };
                self.write(*at, *look, text, letters);
            }
        }
    }

    fn write(&mut self, (x, y): Point, look: Type, text: &str, letters: &Letters) {
        let scale = short(look.size) / Letters::UNITS;
        let (placed, length) = letters.set(text);
        let behind = match look.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => length / 2.0,
            Anchor::End => length,
        };
        for (outline, place) in placed {
            let left = short(x) + (place - behind) * scale;
            // Letters are drawn upwards, pictures downwards.
            let transform = Transform::new(scale, 0.0, 0.0, -scale, left, short(y));
            let outline: Vec<Command> = outline.commands().collect();
            self.paint(&outline, Fill::NonZero.into(), Some(transform), look.colour);
        }
    }

    fn fill<'a>(&mut self, path: &[Command], style: impl Into<Style<'a>>, colour: &str) {
        self.paint(path, style.into(), None, colour);
    }

    /// Lays a colour over the pixels, as far as the path covers each.
    fn paint(
        &mut self,
        path: &[Command],
        style: Style<'_>,
        transform: Option<Transform>,
        colour: &str,
    ) {
        let ink = rgb(colour);
        let (coverage, place) = Mask::new(path).style(style).transform(transform).render();
        let (Ok(row), Ok(width)) = (
            usize::try_from(place.width.max(1)),
            usize::try_from(self.width),
        ) else {
            return;
        };
        for (y, coverage) in (i64::from(place.top)..).zip(coverage.chunks_exact(row)) {
            let Some(pixels) = usize::try_from(y)
                .ok()
                .and_then(|y| self.pixels.chunks_exact_mut(width * CHANNELS).nth(y))
            else {
                continue;
            };
            // What stands out on the left is passed over; what does on the right has no pixels.
            let hidden = usize::try_from(-i64::from(place.left)).unwrap_or_default();
            let first = usize::try_from(place.left).unwrap_or_default();
            let pixels = pixels.chunks_exact_mut(CHANNELS).skip(first);
            for (pixel, covered) in pixels.zip(coverage.iter().skip(hidden)) {
                for (ground, ink) in pixel.iter_mut().zip(ink) {
                    *ground = mix(*ground, ink, *covered);
                }
            }
        }
    }

    fn encode(self) -> Result<Vec<u8>, EncodingError> {
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(ColorType::Rgb);
        encoder.set_compression(Compression::High);
        // Charts are flat: differences between neighbours would be more to write.
        encoder.set_filter(Filter::NoFilter);
        encoder.write_header()?.write_image_data(&self.pixels)?;
        Ok(file)
    }
}

fn corners(frame: &Frame) -> [Point; 4] {
    let (right, bottom) = (frame.right(), frame.bottom());
    [
        (frame.left, frame.top),
        (right, frame.top),
        (right, bottom),
        (frame.left, bottom),
    ]
}

fn open(points: &[Point]) -> Vec<Command> {
    let mut path = Vec::with_capacity(points.len() + 1);
    for (x, y) in points {
        let to = Vector::new(short(*x), short(*y));
        path.push(if path.is_empty() {
            Command::MoveTo(to)
        } else {
            Command::LineTo(to)
        });
    }
    path
}

fn closed(points: &[Point]) -> Vec<Command> {
    let mut path = open(points);
    path.push(Command::Close);
    path
}

/// A length as precise as a pixel needs; what is no number draws nothing wrong.
#[expect(
    clippy::cast_possible_truncation,
    reason = "pictures have some thousand pixels, which leaves a thousandth of one"
)]
fn short(length: f64) -> f32 {
    if length.is_finite() {
        length as f32
    } else {
        0.0
    }
}

/// The channels of a colour that is written `#12abef`.
fn rgb(colour: &str) -> [u8; CHANNELS] {
    let number = u32::from_str_radix(colour.trim_start_matches('#'), 16).unwrap_or_default();
    let [_, red, green, blue] = number.to_be_bytes();
    [red, green, blue]
}

/// A channel of a pixel that is covered so far, of 255.
fn mix(ground: u8, ink: u8, covered: u8) -> u8 {
    let [ground, ink, covered] = [ground, ink, covered].map(u16::from);
    let sum = ink * covered + ground * (255 - covered);
    u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
