//! Metrics in Prometheus' text format 0.0.4, which every version of it reads, and whatever else reads metrics.

use std::fmt::{Display, Write as _};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of number a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// It goes up and down.
    Gauge,
    /// It only grows; its series end in `_total`.
    Counter,
    /// It is 1, and its labels tell; its series end in `_info`.
    Info,
}

impl Type {
    /// What the name of a series ends in.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Gauge => "",
            Self::Counter => "_total",
            Self::Info => "_info",
        }
    }
}

/// A value and its labels.
pub(super) type Sample<'a, V> = (Vec<(&'static str, &'a str)>, V);

/// A text that grows by families.
pub(super) struct Exposition(String);

impl Exposition {
    pub(super) fn new() -> Self {
        // As much as two inverters and four sinks come to.
        Self(String::with_capacity(64 * 1024))
    }

    /// Writes a family with all its series; without any it is left out. Its name is without the ending of its type.
    pub(super) fn family<'l, V: Display>(
        &mut self,
        kind: Type,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'l, V>>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let series = format!("{name}{}", kind.ending());
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge | Type::Info => "gauge",
        };
        let help = escaped(help, false);
        self.line(format_args!("# HELP {series} {help}"));
        self.line(format_args!("# TYPE {series} {kind}"));
        for (labels, value) in samples {
            self.0.push_str(&series);
            let mut before = '{';
            for (name, value) in &labels {
                self.0.push(before);
                before = ',';
                self.0.push_str(name);
                self.0.push_str("=\"");
                self.0.push_str(&escaped(value, true));
                self.0.push('"');
            }
            if !labels.is_empty() {
                self.0.push('}');
            }
            self.line(format_args!(" {value}"));
        }
    }

    pub(super) fn end(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = self.0.write_fmt(line);
        self.0.push('\n');
    }
}

/// A text as it stands in a line: without breaks, and without quotes where those would end it.
fn escaped(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_lines_that_nothing_in_them_ends() {
        let mut exposition = Exposition::new();
        let help = "A \"test\"\\of\nmine.";
        let sample = |label| [(vec![("name", label)], 7)];
        exposition.family(Type::Gauge, "a_watts", help, sample("x\"\\\n"));
        exposition.family(Type::Counter, "b_joules", help, sample("x"));
        exposition.family(Type::Info, "c", help, sample("x"));
        exposition.family(Type::Gauge, "d", help, [(vec![], 0.5)]);
        exposition.family(Type::Gauge, "e", help, Vec::<(_, i64)>::new());
        assert_eq!(
            exposition.end(),
            "# HELP a_watts A \"test\"\\\\of\\nmine.\n# TYPE a_watts gauge\na_watts{name=\"x\\\"\\\\\\n\"} 7\n\
             # HELP b_joules_total A \"test\"\\\\of\\nmine.\n# TYPE b_joules_total counter\nb_joules_total{name=\"x\"} 7\n\
             # HELP c_info A \"test\"\\\\of\\nmine.\n# TYPE c_info gauge\nc_info{name=\"x\"} 7\n\
             # HELP d A \"test\"\\\\of\\nmine.\n# TYPE d gauge\nd 0.5\n"
        );
    }
}
