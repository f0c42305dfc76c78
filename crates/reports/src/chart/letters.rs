//! Letters as outlines.
//!
//! They are a part of `DejaVu` Sans: all that a chart of ours writes, ASCII and the dash, and which of them stand closer
//! to each other. `fonts/letters.py` made the two lists and tells their form; the font's licence stands beside them.
//! Fonts of the machine are not looked at, so that a picture looks the same on every one.

use std::collections::HashMap;

const PLAIN: &str = include_str!("fonts/DejaVuSans.letters");
const BOLD: &str = include_str!("fonts/DejaVuSans-Bold.letters");

/// What stands for a letter that is not there.
const UNKNOWN: char = '?';

#[derive(Debug, Default)]
pub struct Letters {
    /// How far the next one stands, and the outline as the path of an SVG, upwards.
    outlines: HashMap<char, (f32, &'static str)>,
    /// How much further two of them stand from each other.
    pairs: HashMap<(char, char), f32>,
}

impl Letters {
    /// The size of the font in its own units.
    pub const UNITS: f32 = 2048.0;

    /// For ordinary words.
    pub fn plain() -> Self {
        Self::read(PLAIN)
    }

    /// For figures that matter.
    pub fn bold() -> Self {
        Self::read(BOLD)
    }

    fn read(list: &'static str) -> Self {
        let mut letters = Self::default();
        let code = |text| char::from_u32(u32::from_str_radix(text, 16).ok()?);
        for line in list.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(letter), Some(second)) = (words.next().and_then(code), words.next()) else {
                continue;
            };
            let third = words.next().unwrap_or_default();
            if let (Some(next), Ok(distance)) = (code(second), third.parse()) {
                letters.pairs.insert((letter, next), distance);
            } else if let Ok(advance) = second.parse() {
                letters.outlines.insert(letter, (advance, third));
            }
        }
        letters
    }

    /// The outlines of a text, each with how far it is from the text's begin, and the length of all.
    pub fn set(&self, text: &str) -> (Vec<(&'static str, f32)>, f32) {
        let mut placed = Vec::with_capacity(text.len());
        let mut length = 0.0;
        let mut before = None;
        for letter in text.chars() {
            let known = self.outlines.get(&letter);
            let Some((advance, outline)) = known.or_else(|| self.outlines.get(&UNKNOWN)) else {
                continue;
            };
            if let Some(before) = before {
                length += self
                    .pairs
                    .get(&(before, letter))
                    .copied()
                    .unwrap_or_default();
            }
            placed.push((*outline, length));
            length += advance;
            before = Some(letter);
        }
        (placed, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_that_a_chart_can_write_is_there() {
        for letters in [Letters::plain(), Letters::bold()] {
            for letter in (' '..='~').chain(['–']) {
                let (advance, outline) = letters.outlines[&letter];
                assert!(advance > 500.0, "{letter}");
                assert_eq!(outline.starts_with('M'), letter != ' ', "{letter}");
                // An outline that breaks off would be drawn as far as it goes.
                assert_eq!(outline.ends_with('Z'), letter != ' ', "{letter}");
            }
            assert_eq!(letters.outlines.len(), 96);
            assert!(letters.pairs.len() > 100);
        }
    }

    #[test]
    fn letters_stand_behind_each_other_and_pairs_closer() {
        let letters = Letters::plain();
        let length = |text: &str| letters.set(text).1;
        assert!(length("AV") < length("A") + length("V"));
        assert!((length("nn") - 2.0 * length("n")).abs() < 0.5);
        let (placed, length) = letters.set("AVA");
        assert_eq!(placed.len(), 3);
        assert!(placed.windows(2).all(|two| two[0].1 < two[1].1));
        assert!(placed[2].1 < length);
    }

    #[test]
    fn a_letter_that_is_not_there_is_a_question_mark() {
        let letters = Letters::bold();
        assert_eq!(letters.set("aλ").0, letters.set("a?").0);
    }
}
