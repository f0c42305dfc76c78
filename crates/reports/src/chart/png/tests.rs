use super::*;
use crate::chart::{Ink, Look, Size, Theme};

const LOOK: Look = Look::alone(
    Theme::Light,
    Size {
        width: 480,
        height: 300,
    },
);

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
