//! Shapes and text; what every chart is drawn with, whatever becomes of it.

use super::look::{Ink, Look};

/// A drawing in the making. Lengths are in pixels, from the upper left corner.
#[derive(Clone, Debug)]
pub struct Drawing {
    look: Look,
    title: String,
    shapes: Vec<Shape>,
}

/// What a drawing consists of. Colours are written as in SVG: `#` and six digits.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Rectangle {
        frame: Frame,
        fill: &'static str,
        /// The colour and the width of its edge, if it has one.
        edge: Option<(&'static str, f64)>,
    },
    Line {
        /// Where it begins.
        from: Point,
        /// Where it ends.
        to: Point,
        colour: &'static str,
        width: f64,
    },
    /// An area without an edge, between its points.
    Area {
        points: Vec<Point>,
        fill: &'static str,
    },
    /// A line through points, with round corners and ends.
    Curve {
        points: Vec<Point>,
        colour: &'static str,
        width: f64,
    },
    /// A text on its base line.
    Text {
        /// Its place on the base line.
        at: Point,
        /// How it looks.
        look: Type,
        text: String,
    },
}

/// A place: from the left, and from the top.
pub type Point = (f64, f64);

/// On which side of its place a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Type {
    pub size: f64,
    pub colour: &'static str,
    /// Whether it is bold.
    pub bold: bool,
    /// On which side of its place it stands.
    pub anchor: Anchor,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    pub left: f64,
    /// Its upper edge.
    pub top: f64,
    /// From left to right.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

impl Frame {
    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    /// Its lower edge.
    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

impl Drawing {
    /// An empty ground. The title is for those who hear it read.
    pub fn new(look: Look, title: &str) -> Self {
        let mut drawing = Self {
            look,
            title: title.to_owned(),
            shapes: Vec::new(),
        };
        drawing.rectangle(
            Frame {
                left: 0.0,
                top: 0.0,
                width: f64::from(look.size.width),
                height: f64::from(look.size.height),
            },
            look.theme.colours().ground,
        );
        drawing
    }

    pub fn rectangle(&mut self, frame: Frame, fill: &'static str) {
        self.shapes.push(Shape::Rectangle {
            frame,
            fill,
            edge: None,
        });
    }

    /// A rectangle of an ink with its edge.
    pub fn block(&mut self, frame: Frame, ink: Ink) {
        self.shapes.push(Shape::Rectangle {
            frame,
            fill: ink.fill,
            edge: Some((ink.edge, 0.8)),
        });
    }

    pub fn line(&mut self, from: Point, to: Point, colour: &'static str, width: f64) {
        self.shapes.push(Shape::Line {
            from,
            to,
            colour,
            width,
        });
    }

    /// An area without an edge, between its points.
    pub fn area(&mut self, points: impl IntoIterator<Item = Point>, fill: &'static str) {
        self.shapes.push(Shape::Area {
            points: points.into_iter().collect(),
            fill,
        });
    }

    /// A line through points.
    pub fn curve(
        &mut self,
        points: impl IntoIterator<Item = Point>,
        colour: &'static str,
        width: f64,
    ) {
        self.shapes.push(Shape::Curve {
            points: points.into_iter().collect(),
            colour,
            width,
        });
    }

    /// A text on its base line.
    pub fn text(&mut self, at: Point, look: Type, text: &str) {
        self.shapes.push(Shape::Text {
            at,
            look,
            text: text.to_owned(),
        });
    }

    pub fn look(&self) -> Look {
        self.look
    }

    /// What it is of.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Everything on it; the later stand before the earlier.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }
}
