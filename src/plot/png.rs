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

/// The picture of a drawing.
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
mod tests {
    use super::*;
    use crate::plot::{Ink, Look, Size, Theme};

    const LOOK: Look = Look {
        theme: Theme::Light,
        size: Size {
            width: 480,
            height: 300,
        },
    };

    /// What another's decoder makes of a drawing.
    fn decoded(drawing: &Drawing) -> Vec<[u8; CHANNELS]> {
        let file = render(drawing).expect("a picture");
        let mut reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut pixels).expect("its pixels");
        assert_eq!(
            (info.width, info.height, info.color_type),
            (480, 300, png::ColorType::Rgb)
        );
        pixels.as_chunks::<CHANNELS>().0.to_vec()
    }

    fn at(pixels: &[[u8; CHANNELS]], x: usize, y: usize) -> [u8; CHANNELS] {
        pixels[y * 480 + x]
    }

    fn type_of(bold: bool, anchor: Anchor) -> Type {
        Type {
            size: 20.0,
            colour: "#000000",
            bold,
            anchor,
        }
    }

    /// The columns from the first to the last with something dark in it, and how much is dark.
    fn dark(pixels: &[[u8; CHANNELS]]) -> (Option<(usize, usize)>, usize) {
        let places = pixels
            .iter()
            .enumerate()
            .filter(|(_, pixel)| pixel[0] < 128)
            .map(|(place, _)| place % 480);
        let columns: Vec<usize> = places.collect();
        let ends = columns
            .iter()
            .copied()
            .min()
            .zip(columns.iter().copied().max());
        (ends, columns.len())
    }

    #[test]
    fn each_shape_covers_its_pixels_and_no_others() {
        let frame = |left, top, width, height| Frame {
            left,
            top,
            width,
            height,
        };
        let mut drawing = Drawing::new(LOOK, "");
        drawing.rectangle(frame(10.0, 10.0, 20.0, 10.0), "#ff0000");
        let ink = Ink {
            fill: "#00ff00",
            edge: "#0000ff",
        };
        drawing.block(frame(50.5, 10.5, 20.0, 10.0), ink);
        drawing.line((100.0, 10.5), (120.0, 10.5), "#123456", 1.0);
        drawing.area([(200.0, 10.0), (240.0, 10.0), (240.0, 50.0)], "#abcdef");
        drawing.curve(
            [(300.0, 20.5), (320.0, 20.5), (320.0, 40.0)],
            "#654321",
            3.0,
        );
        // What stands out is cut off.
        drawing.rectangle(frame(-10.0, 290.0, 20.0, 20.0), "#ff0000");
        drawing.rectangle(frame(470.0, -10.0, 20.0, 20.0), "#ff0000");
        let pixels = decoded(&drawing);
        let white = [255; 3];
        for (x, y, colour) in [
            (9, 9, white),
            (10, 10, [255, 0, 0]),
            (29, 19, [255, 0, 0]),
            (30, 20, white),
            (60, 15, [0, 255, 0]),
            // The area covers half of the pixel, the edge then 0.8 of it.
            (60, 10, [26, 51, 230]),
            (48, 15, white),
            (100, 10, [0x12, 0x34, 0x56]),
            (119, 10, [0x12, 0x34, 0x56]),
            (120, 10, white),
            (100, 11, white),
            (238, 12, [0xab, 0xcd, 0xef]),
            (202, 40, white),
            (310, 20, [0x65, 0x43, 0x21]),
            (310, 21, [0x65, 0x43, 0x21]),
            (320, 30, [0x65, 0x43, 0x21]),
            (310, 24, white),
            (0, 299, [255, 0, 0]),
            (479, 0, [255, 0, 0]),
            (479, 10, white),
        ] {
            let found = at(&pixels, x, y);
            let near = found
                .iter()
                .zip(colour)
                .all(|(one, other)| one.abs_diff(other) <= 3);
            assert!(near, "{x} {y}: {found:?} instead of {colour:?}");
        }
    }

    #[test]
    fn words_are_there_in_both_weights_and_on_their_side() {
        let picture = |look: Type, text: &str| {
            let mut drawing = Drawing::new(LOOK, "");
            drawing.text((240.0, 100.0), look, text);
            dark(&decoded(&drawing))
        };
        assert_eq!(picture(type_of(false, Anchor::Start), "  "), (None, 0));
        let text = "12.3 kWh – roof_1";
        let (start, plain) = picture(type_of(false, Anchor::Start), text);
        let (_, bold) = picture(type_of(true, Anchor::Start), text);
        assert!(plain > 300, "{plain}");
        assert!(bold > plain, "{bold} {plain}");
        let (start, middle, end) = (
            start.expect("words"),
            picture(type_of(false, Anchor::Middle), text)
                .0
                .expect("words"),
            picture(type_of(false, Anchor::End), text).0.expect("words"),
        );
        assert!(start.0 >= 240 && end.1 <= 240, "{start:?} {end:?}");
        let length = start.1 - start.0;
        assert!((165..185).contains(&length), "{length}");
        assert!(middle.0.abs_diff(240 - length / 2) <= 3, "{middle:?}");
    }

    #[test]
    fn what_is_no_number_does_no_harm() {
        let mut drawing = Drawing::new(LOOK, "");
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            drawing.line((0.0, wrong), (480.0, wrong), "#000000", 1.0);
            drawing.area([(wrong, 0.0), (1.0, wrong), (2.0, 2.0)], "#000000");
            drawing.curve([(wrong, wrong)], "#000000", wrong);
            drawing.area([], "#000000");
            drawing.curve([], "#000000", 1.0);
        }
        let pixels = decoded(&drawing);
        assert_eq!(at(&pixels, 240, 150), [255; 3]);
    }
}
