//! A configuration that is read although parts of it are wrong: each mistake is noted and what is wrong left out, so
//! that one look at a file shows all of them.

use std::ops::Range;

use kstar_common::key::{KeyError, Step};
use toml::de::{DeTable, DeValue, Error};
use toml::{Deserializer, Spanned};

use super::text::{ConfigError, ConfigFile};
use super::words::{self, Around};

/// More than anybody fixes at once; what has more is another kind of file.
const MOST_MISTAKES: usize = 20;

pub(super) struct Document<'a> {
    file: &'a ConfigFile,
    table: Spanned<DeTable<'a>>,
    mistakes: Vec<ConfigError>,
    /// The ways to what was left out.
    left_out: Vec<Vec<Step>>,
}

impl<'a> Document<'a> {
    pub(super) fn open(file: &'a ConfigFile) -> Self {
        let (table, errors) = DeTable::parse_recoverable(file.text());
        let mut document = Self {
            file,
            table,
            mistakes: Vec::new(),
            left_out: Vec::new(),
        };
        for error in errors {
            let span = error.span().unwrap_or_default();
            let message = words::of_syntax(error.message(), &file.line_at(&span));
            document.note(&span, &message);
        }
        document
    }

    /// What the table at that path says beside these keys, which are not those of the one that reads it; nothing if it
    /// cannot be read even without what is wrong.
    pub(super) fn read<T>(
        &mut self,
        path: &[Step],
        keys: &[&'static str],
        read: impl Fn(Deserializer<'a>) -> Result<T, Error>,
    ) -> Option<T> {
        while self.mistakes.len() < MOST_MISTAKES {
            let mut table = table_at(&self.table, path);
            for key in keys {
                table.get_mut().remove(*key);
            }
            let error = match read(Deserializer::from(table)) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_default();
            let left_out = self.leave_out(&span);
            let place = left_out.clone().unwrap_or_default();
            // What was wrong and is left out is no second mistake.
            let missing = error.message().strip_prefix("missing field ");
            let follows =
                missing.is_some_and(|key| self.lacks_part_of(&place, key.trim_matches('`')));
            if !follows {
                let around = Around {
                    path: &place,
                    marked: self.file.text().get(span.clone()).unwrap_or_default(),
                    keys,
                };
                let message = words::of_meaning(error.message(), &around);
                self.note(&span, &message);
            }
            self.left_out.push(left_out?);
        }
        None
    }

    /// Whether the value at that path was left out.
    pub(super) fn lacks(&self, path: &[Step], key: &str) -> bool {
        let is_it = |left_out: &Vec<Step>| left_out.split_last() == Some((&Step::from(key), path));
        self.left_out.iter().any(is_it)
    }

    /// Notes what keys say about each other, where both are there.
    pub(super) fn note_checked(&mut self, errors: Vec<KeyError>) {
        let section = |path: &[Step]| {
            let depth = if path.first() == Some(&Step::from("sinks")) {
                2
            } else {
                1
            };
            path.iter().take(depth).cloned().collect::<Vec<_>>()
        };
        let lacking: Vec<_> = self.left_out.iter().map(|path| section(path)).collect();
        // Much is held against how often is polled.
        if lacking.contains(&vec![Step::from("collector")]) {
            return;
        }
        let counts = |error: &KeyError| !lacking.contains(&section(&error.path));
        let errors = errors.into_iter().filter(counts);
        self.mistakes
            .extend(errors.map(|error| self.file.mistake(&error)));
    }

    /// What was read, if nothing is wrong.
    pub(super) fn finish<T>(self, read: T) -> Result<T, ConfigError> {
        ConfigError::all(self.mistakes).map_or(Ok(read), Err)
    }

    /// One mistake a line: what follows it there is often its consequence.
    fn note(&mut self, span: &Range<usize>, message: &str) {
        let mistake = self.file.error(Some(span.clone()), message);
        if !self
            .mistakes
            .iter()
            .any(|other| other.is_on_line_of(&mistake))
        {
            self.mistakes.push(mistake);
        }
    }

    /// Whether a key was left out there that is this one, or a misspelling of it.
    fn lacks_part_of(&self, path: &[Step], key: &str) -> bool {
        let is_it = |name: &str| name == key || words::meant(name, &[key]).is_some();
        let is_part = |left_out: &Vec<Step>| match left_out.split_last() {
            Some((Step::Key(name), parent)) => parent == path && is_it(name),
            _ => false,
        };
        self.left_out.iter().any(is_part)
    }

    /// Leaves out the key or value at that place, and tells the way to it.
    fn leave_out(&mut self, span: &Range<usize>) -> Option<Vec<Step>> {
        let mut path = Vec::new();
        remove_from_table(self.table.get_mut(), span, &mut path).then_some(path)
    }
}

/// The innermost that is there: a section's own place may be that of the one around it too.
fn remove_from_table(table: &mut DeTable<'_>, span: &Range<usize>, path: &mut Vec<Step>) -> bool {
    for (key, value) in &mut *table {
        path.push(Step::from(&**key.get_ref()));
        if remove_from_value(value.get_mut(), span, path) {
            return true;
        }
        path.pop();
    }
    let is_it =
        |(key, value): &(&Spanned<_>, &Spanned<_>)| key.span() == *span || value.span() == *span;
    let Some((key, _)) = table.iter().find(is_it) else {
        return false;
    };
    let key = key.get_ref().to_string();
    table.remove(key.as_str());
    path.push(Step::Key(key));
    true
}

fn remove_from_value(value: &mut DeValue<'_>, span: &Range<usize>, path: &mut Vec<Step>) -> bool {
    match value {
        DeValue::Table(table) => remove_from_table(table, span, path),
        DeValue::Array(array) => {
            for (index, one) in array.iter_mut().enumerate() {
                path.push(Step::Index(index));
                if remove_from_value(one.get_mut(), span, path) {
                    return true;
                }
                path.pop();
            }
            let Some(index) = array.iter().position(|one| one.span() == *span) else {
                return false;
            };
            let others = array.iter().filter(|one| one.span() != *span);
            *array = others.cloned().collect();
            path.push(Step::Index(index));
            true
        }
        _ => false,
    }
}

/// The table at that path; empty if there is none.
fn table_at<'a>(root: &Spanned<DeTable<'a>>, path: &[Step]) -> Spanned<DeTable<'a>> {
    let empty = || Spanned::new(0..0, DeTable::new());
    let mut table = root.clone();
    let mut steps = path.iter();
    while let Some(Step::Key(key)) = steps.next() {
        let Some(value) = table.get_mut().remove(key.as_str()) else {
            return empty();
        };
        let (span, value) = match (value.span(), value.into_inner(), steps.clone().next()) {
            (_, DeValue::Array(array), Some(Step::Index(index))) => {
                steps.next();
                match array.into_iter().nth(*index) {
                    Some(one) => (one.span(), one.into_inner()),
                    None => return empty(),
                }
            }
            (span, value, _) => (span, value),
        };
        match value {
            DeValue::Table(inner) => table = Spanned::new(span, inner),
            _ => return empty(),
        }
    }
    table
}
