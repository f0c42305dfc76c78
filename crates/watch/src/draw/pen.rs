//! Writing into a part of the buffer, never beyond it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::look::{Ink, Look};

pub(super) struct Pen<'a> {
    buffer: &'a mut Buffer,
    /// What the terminal can show.
    pub(super) look: Look,
}

impl<'a> Pen<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, look: Look) -> Self {
        Self { buffer, look }
    }

    /// Writes from a column of an area on; gives the column behind it.
    pub(super) fn put(&mut self, area: Rect, x: u16, y: u16, text: &str, ink: Ink) -> u16 {
        self.put_styled(area, x, y, text, self.look.style(ink))
    }

    pub(super) fn put_styled(
        &mut self,
        area: Rect,
        x: u16,
        y: u16,
        text: &str,
        style: Style,
    ) -> u16 {
        if x >= area.width || y >= area.height {
            return x;
        }
        let room = usize::from(area.width - x);
        let (end, _) =
            self.buffer
                .set_stringn(area.x + x, area.y + y, self.look.text(text), room, style);
        end.saturating_sub(area.x)
    }

    /// Writes a text that may be longer than its room, which then ends with dots.
    pub(super) fn put_short(
        &mut self,
        area: Rect,
        x: u16,
        y: u16,
        text: &str,
        width: u16,
        ink: Ink,
    ) -> u16 {
        self.put(area, x, y, &shortened(text, width.into()), ink)
    }

    /// Writes so that the text ends before a column.
    pub(super) fn put_right(&mut self, area: Rect, end: u16, y: u16, text: &str, ink: Ink) {
        let x = end.min(area.width).saturating_sub(width(text));
        self.put(area, x, y, text, ink);
    }

    /// A line over the whole width, with a title in it.
    pub(super) fn rule(&mut self, area: Rect, y: u16, title: &str) -> u16 {
        let line = "─".repeat(area.width.into());
        self.put(area, 0, y, &line, Ink::Faint);
        self.put(area, 3, y, &format!(" {title} "), Ink::Strong)
    }

    /// Makes an area empty.
    pub(super) fn clear(&mut self, area: Rect) {
        let spaces = " ".repeat(area.width.into());
        for y in 0..area.height {
            self.put_styled(area, 0, y, &spaces, Style::reset());
        }
    }
}

/// How many columns a text of single characters takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(text.chars().count()).unwrap_or(u16::MAX)
}

/// A text of at most so many characters.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// An area's part from a row on.
pub(super) fn rows(area: Rect, y: u16, height: u16) -> Rect {
    let y = y.min(area.height);
    Rect {
        y: area.y + y,
        height: height.min(area.height - y),
        ..area
    }
}

/// An area's part from a column on.
pub(super) fn columns(area: Rect, x: u16, width: u16) -> Rect {
    let x = x.min(area.width);
    Rect {
        x: area.x + x,
        width: width.min(area.width - x),
        ..area
    }
}
