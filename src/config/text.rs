//! The text of a configuration, and a mistake in it with its place.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use kstar_common::key::{KeyError, Step};
use kstar_common::wrapping::visible;
use toml::de::{DeTable, DeValue};

/// Something wrong with a configuration, and where.
#[derive(Debug)]
pub struct ConfigError {
    pub path: PathBuf,
    place: Option<Box<Place>>,
    /// Whether the text itself is wrong, or what it names.
    pub blame: Blame,
    /// What is wrong and how to fix it.
    message: String,
    /// What else is wrong in the same file, in its order.
    more: Vec<ConfigError>,
}

/// What has to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The text of the configuration: only editing it helps.
    Text,
    /// What the text names: a secret or a certificate that is not there or not right.
    Named,
}

#[derive(Debug)]
struct Place {
    line_number: usize,
    column: usize,
    /// As it is shown.
    line: String,
    /// How many characters of that stand before the mark, and how many are marked.
    indent: usize,
    width: usize,
}

impl ConfigError {
    /// All of them as one, in the order of the file, but what is missing last: a misspelled key is often the reason.
    /// Nothing if there are none.
    pub(super) fn all(mut mistakes: Vec<Self>) -> Option<Self> {
        let place = |mistake: &Self| {
            let place = mistake.place.as_ref();
            let is_missing = mistake.message.starts_with("missing field");
            (
                is_missing,
                place.map(|place| (place.line_number, place.column)),
            )
        };
        mistakes.sort_by_key(place);
        let mut mistakes = mistakes.into_iter();
        let first = mistakes.next()?;
        let more = mistakes.collect();
        Some(Self { more, ..first })
    }

    /// Whether both stand on the same line.
    pub(super) fn is_on_line_of(&self, other: &Self) -> bool {
        let line = |mistake: &Self| mistake.place.as_ref().map(|place| place.line_number);
        line(self).is_some() && line(self) == line(other)
    }

    /// What is wrong and how to fix it, without the place; the first, where several things are.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `kstar.toml:3:1: what is wrong`, on one line; the first, where several things are.
    pub fn summary(&self) -> String {
        let path = self.path.display();
        match self.place.as_deref() {
            None => format!("{path}: {}", self.message),
            Some(Place {
                line_number,
                column,
                ..
            }) => format!("{path}:{line_number}:{column}: {}", self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Each mistake as its summary, then the line with a caret below the place.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f)?;
        for mistake in &self.more {
            f.write_str("\n")?;
            mistake.show(f)?;
        }
        Ok(())
    }
}

impl ConfigError {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        let Some(Place {
            line_number,
            line,
            indent,
            width,
            ..
        }) = self.place.as_deref()
        else {
            return Ok(());
        };
        let margin = " ".repeat(line_number.to_string().len());
        let indent = " ".repeat(*indent);
        let carets = "^".repeat((*width).max(1));
        write!(
            f,
            "\n{margin} |\n{line_number} | {line}\n{margin} | {indent}{carets}"
        )
    }
}

/// A configuration's text and where it came from, for errors that show later what else is wrong with it.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
}

impl ConfigFile {
    /// A file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut source = Self {
            path: path.to_owned(),
            text: String::new(),
        };
        let bytes = std::fs::read(path).map_err(|error| {
            let way_out = match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "; use sudo, or join the group that may read it"
                }
                std::io::ErrorKind::IsADirectory => {
                    "; this is a folder, and the configuration is a file, like kstar.toml in it"
                }
                _ => "",
            };
            source.error(
                None,
                &format!("cannot read the configuration: {error}{way_out}"),
            )
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => {
                source.text = text;
                Ok(source)
            }
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                source.text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let message = "this is not UTF-8; save the file in that encoding";
                Err(source.error(Some(valid..valid), message))
            }
        }
    }

    /// A text that is no file; the name is for errors.
    pub fn new(name: &str, text: &str) -> Self {
        Self {
            path: name.into(),
            text: text.to_owned(),
        }
    }

    /// Where it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The line that names the inverter of this number so; nothing where none does.
    pub fn line_of_name(&self, index: usize, name: &str) -> Option<usize> {
        let path = [Step::from("inverter"), index.into(), "name".into()];
        let span = locate(&self.text, &path)?;
        let before = self.text.get(..span.start)?;
        // Without a name it is the place of the section.
        let value = self.text.get(span)?.trim_matches(['"', '\'']);
        (value == name).then(|| before.matches('\n').count() + 1)
    }

    /// A mistake in the text, at the key whose value it is.
    pub fn mistake(&self, error: &KeyError) -> ConfigError {
        self.error(locate(&self.text, &error.path), &error.message)
    }

    /// Something that the value of a key names and that is not there or not right.
    pub fn missing(&self, error: &KeyError) -> ConfigError {
        ConfigError {
            blame: Blame::Named,
            ..self.mistake(error)
        }
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The line of that place, as it is shown: without secrets.
    pub(super) fn line_at(&self, span: &Range<usize>) -> String {
        let place = Place::find(&self.text, span);
        place.map_or_else(String::new, |place| place.line)
    }

    /// A mistake at that place.
    pub(super) fn error(&self, span: Option<Range<usize>>, message: &str) -> ConfigError {
        let place = span.and_then(|span| Place::find(&self.text, &span));
        let place = place.map(Box::new);
        ConfigError {
            path: self.path.clone(),
            place,
            blame: Blame::Text,
            message: visible(message),
            more: Vec::new(),
        }
    }
}

impl Place {
    fn find(text: &str, span: &Range<usize>) -> Option<Self> {
        let before = text.get(..span.start)?;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = text.get(start..)?.lines().next().unwrap_or_default();
        let from = (span.start - start).min(line.len());
        let to = (span.end - start).clamp(from, line.len());
        let secrets = secrets_in(line);
        let shown = |part: Range<usize>| shown(line, part, &secrets);
        Some(Self {
            line_number: before.matches('\n').count() + 1,
            column: line.get(..from)?.chars().count() + 1,
            line: shown(0..line.len()),
            indent: shown(0..from).chars().count(),
            width: shown(from..to).chars().count(),
        })
    }
}

/// Where a line has secrets, as far as a line alone tells, which may be no TOML at all: the values of keys whose names
/// sound like one, and what stands before an `@` in a URL.
fn secrets_in(line: &str) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    let of_key = |(equals, _): (usize, &str)| {
        let before = line.get(..equals)?.trim_end();
        let before = before.trim_end_matches(['"', '\'']);
        let begin =
            before.rfind(|letter: char| !(letter.is_alphanumeric() || "_-".contains(letter)));
        let key = before.get(begin.map_or(0, |at| at + 1)..)?.to_lowercase();
        if !["pas", "token", "secret"]
            .iter()
            .any(|part| key.contains(part))
        {
            return None;
        }
        let value = line.get(equals + 1..)?;
        let from = line.len() - value.trim_start().len();
        let value = line.get(from..)?;
        let quote = value.chars().next()?;
        let length = match quote {
            // A table says where the secret is.
            '{' => return None,
            '"' | '\'' => value
                .get(1..)?
                .find(quote)
                .map_or(value.len(), |end| end + 2),
            _ => value.find([',', '}', '#']).unwrap_or(value.len()),
        };
        Some(from..from + value.get(..length)?.trim_end().len())
    };
    secrets.extend(line.match_indices('=').filter_map(of_key));
    let of_url = |(scheme, _): (usize, &str)| {
        let from = scheme + "://".len();
        let url = line.get(from..)?;
        let end = url.find(['"', '\'', ' ']).unwrap_or(url.len());
        let at = url.get(..end)?.rfind('@')?;
        Some(from..from + at)
    };
    secrets.extend(line.match_indices("://").filter_map(of_url));
    secrets
}

/// A part of a line as it is shown: without secrets, and with what does not show by itself.
fn shown(line: &str, part: Range<usize>, secrets: &[Range<usize>]) -> String {
    let mut text = String::new();
    for (at, letter) in line.char_indices().filter(|(at, _)| part.contains(at)) {
        match secrets.iter().find(|secret| secret.contains(&at)) {
            Some(secret) if secret.start == at => text.push_str("***"),
            Some(_) => {}
            // Escaped, it would be taken for what is wrong.
            None if letter == '\t' => text.push(' '),
            None => text.push_str(&visible(letter.encode_utf8(&mut [0; 4]))),
        }
    }
    text
}

/// Where the value at that path stands in the text.
fn locate(text: &str, path: &[Step]) -> Option<Range<usize>> {
    let (table, _) = DeTable::parse_recoverable(text);
    let root = DeValue::Table(table.into_inner());
    let mut value = &root;
    let mut span = None;
    for step in path {
        let next = match (step, value) {
            (Step::Key(key), DeValue::Table(table)) => table.get(&**key),
            (Step::Index(index), DeValue::Array(array)) => array.get(*index),
            _ => None,
        };
        // A key that is not there is looked for in vain in the section that should hold it.
        let Some(next) = next else { break };
        span = Some(next.span());
        value = next.get_ref();
    }
    span
}
