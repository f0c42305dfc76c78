//! Text for people: in lines of a width, and with nothing in it that does not show.

/// Breaks a text into lines of at most so many characters; a longer word stands alone.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The text with what does not show by itself escaped, like `\u{200b}` for a zero-width space: such a character came
/// along when something was copied, and is what is wrong. Line breaks and tabs stay.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' | '"' | '\'' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

/// A text without the sequences that colour it.
pub fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            // To the letter that ends it: `ESC [ 33 m`.
            for letter in letters.by_ref() {
                if letter.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(letter);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{visible, wrapped};

    #[test]
    fn what_does_not_show_is_escaped() {
        for (text, shown) in [
            ("a \"b\" 'c' \\d\n\te°→", "a \"b\" 'c' \\d\n\te°→"),
            ("ho\u{200b}st", "ho\\u{200b}st"),
            ("a\u{a0}b", "a\\u{a0}b"),
            ("\u{feff}a\u{202e}", "\\u{feff}a\\u{202e}"),
            ("\x1b[31m\0", "\\u{1b}[31m\\0"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn a_text_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrapped("a longerthanthat b", 5),
            ["a", "longerthanthat", "b"]
        );
        assert!(wrapped(" ", 5).is_empty());
    }
}
