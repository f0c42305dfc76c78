//! The commands, one file each: arguments as a clap type, and a `run` that writes to whatever it is given.
//!
//! No command here knows the terminal or the exit status: `main` turns a [`Failure`] into the latter.

use std::io;

pub mod explain;
pub mod fields;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command was used in a wrong way; exit status 2.
    #[error("{0}")]
    Usage(String),
    /// What it was to read could not be read.
    #[error("standard input: {0}")]
    Input(#[source] io::Error),
    /// What it had to say could not be written.
    #[error("output: {0}")]
    Output(#[from] io::Error),
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}

/// Breaks a text into lines of at most so many characters; a longer word stands alone.
fn wrapped(text: &str, width: usize) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::wrapped;

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
