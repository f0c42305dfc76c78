//! An SVG of ours as a PNG.
//!
//! The font is a part of `DejaVu` Sans: all that a chart of ours writes, ASCII and the dash. It was made from Debian's
//! fonts-dejavu-core 2.37 by `pyftsubset --unicodes=U+0020-007E,U+2013 --layout-features=kern --no-hinting
//! --notdef-outline`; its licence stands beside it. Fonts of the machine are not looked at.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

const REGULAR: &[u8] = include_bytes!("fonts/DejaVuSans.ttf");
const BOLD: &[u8] = include_bytes!("fonts/DejaVuSans-Bold.ttf");

/// The picture; the error says what of the SVG could not be drawn.
pub fn render(svg: &str) -> Result<Vec<u8>, String> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(REGULAR.to_vec());
    fonts.load_font_data(BOLD.to_vec());
    let options = Options {
        fontdb: Arc::new(fonts),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).map_err(|error| error.to_string())?;
    let size = tree.size().to_int_size();
    let mut pixels = Pixmap::new(size.width(), size.height())
        .ok_or_else(|| format!("no picture has {size:?}"))?;
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::svg::{Anchor, Drawing, Type};
    use crate::plot::{Look, Size, Theme};

    /// The picture of a text in a look, and how large it is.
    fn picture(text: &str, bold: bool) -> Pixmap {
        let size = Size {
            width: 480,
            height: 300,
        };
        let theme = Theme::Light;
        let mut drawing = Drawing::new(Look { theme, size }, "");
        let font = Type {
            size: 20.0,
            colour: "#000000",
            bold,
            anchor: Anchor::Start,
        };
        drawing.text((10.0, 100.0), font, text);
        let png = render(&drawing.finish()).expect("a picture");
        Pixmap::decode_png(&png).expect("a PNG")
    }

    #[test]
    fn a_picture_has_the_size_of_its_drawing_and_its_words_in_both_weights() {
        let dark = |picture: &Pixmap| {
            picture
                .pixels()
                .iter()
                .filter(|pixel| pixel.red() < 128)
                .count()
        };
        let empty = picture("", false);
        assert_eq!((empty.width(), empty.height()), (480, 300));
        assert_eq!(dark(&empty), 0);
        let [plain, bold] = [false, true].map(|bold| dark(&picture("12.3 kWh – roof_1", bold)));
        assert!(plain > 300, "{plain}");
        assert!(bold > plain, "{bold} {plain}");
    }
}
