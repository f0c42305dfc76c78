//! Characters and colours. Nothing on the page depends on colour: it only repeats what words and shapes say.
//!
//! Only the sixteen colours that a terminal's own palette has are used, on its own ground, so that the page is legible
//! on light and dark ones alike. Text keeps the terminal's own colour; symbols, lines and areas have one.

use ratatui::style::{Color, Modifier, Style};

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// More than the characters of ASCII.
    pub unicode: bool,
    pub colour: bool,
}

/// What something on the page is about, each with a colour of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Text and numbers.
    Plain,
    /// What is read first.
    Strong,
    /// What only helps to read: lines, units, hints.
    Faint,
    Pv,
    House,
    Grid,
    Battery,
    Good,
    /// That something is not.
    Warning,
    /// That something is wrong.
    Bad,
}

impl Look {
    pub fn style(self, ink: Ink) -> Style {
        // Whatever was written there before.
        let plain = Style::reset();
        let coloured = |colour| {
            if self.colour { plain.fg(colour) } else { plain }
        };
        match ink {
            Ink::Plain => plain,
            Ink::Strong => plain.add_modifier(Modifier::BOLD),
            Ink::Faint => plain.add_modifier(Modifier::DIM),
            Ink::Pv | Ink::Warning => coloured(Color::Yellow),
            Ink::House => coloured(Color::Blue),
            Ink::Grid => coloured(Color::Magenta),
            Ink::Battery | Ink::Good => coloured(Color::Green),
            Ink::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    /// A text as this terminal can show it, one character for each.
    pub fn text(self, text: &str) -> String {
        let fits = |letter: char| match letter {
            letter if letter.is_control() => ' ',
            letter if self.unicode || letter.is_ascii() => letter,
            letter => ascii(letter),
        };
        text.chars().map(fits).collect()
    }
}

/// What stands for a character where there are only those of ASCII.
fn ascii(letter: char) -> char {
    match letter {
        '─' | '╌' | '–' | '−' | '·' => '-',
        '━' => '=',
        '│' | '┃' | '╵' => '|',
        '╭' | '╮' | '╰' | '╯' | '┏' | '┓' | '┗' | '┛' | '├' | '┤' | '▅' | '▆' | '▀' => {
            '+'
        }
        '▶' | '→' => '>',
        '◀' | '←' => '<',
        '↑' => '^',
        '↓' => 'v',
        '●' => '*',
        '○' => 'o',
        '✗' => 'x',
        '▲' => '!',
        '…' => '~',
        // Areas, from a little to all of a row; their middle is as dense as a corner.
        '▁' | '▂' => '.',
        '▃' | '▄' => ':',
        '▇' | '█' => '#',
        '▔' => '\'',
        '°' => ' ',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_only_ascii_can_be_shown_nothing_else_is() {
        let look = Look {
            unicode: false,
            colour: false,
        };
        assert_eq!(look.text("╭─ 41 °C ▶ ü\n"), "+- 41  C > ? ");
        let look = Look {
            unicode: true,
            ..look
        };
        assert_eq!(look.text("╭─ 41 °C ▶ ü\x1b["), "╭─ 41 °C ▶ ü [");
    }
}
