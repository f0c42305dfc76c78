//! Metrics as text, in the two forms that Prometheus reads: its own, and `OpenMetrics`.
//!
//! Names, labels and values are the same in both, so that a series stays the same whichever is asked for.

use std::fmt::{Display, Write as _};

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Text format 0.0.4.
    Prometheus,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Form {
    /// What the header `Accept` asks for.
    pub(super) fn accepted(accept: Option<&str>) -> Self {
        let weight = |wanted: &str| -> Option<u16> {
            let ranges = accept?.split(',');
            let weights = ranges.filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                parts
                    .next()
                    .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
                    .then(|| {
                        let weight = parts.find_map(|part| part.strip_prefix("q="));
                        thousandths(weight.unwrap_or("1"))
                    })
            });
            weights.max()
        };
        let open = weight("application/openmetrics-text").unwrap_or(0);
        // Where both are as welcome, the newer one is meant.
        if open > 0 && open >= weight("text/plain").unwrap_or(0) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The type of an answer in it.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A weight of a header like `0.75`; nothing that can be read is no weight.
fn thousandths(text: &str) -> u16 {
    match text.parse::<f32>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to 1000"
        )]
        Ok(weight) => (weight.clamp(0.0, 1.0) * 1000.0) as u16,
        Err(_) => 0,
    }
}

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

/// A family of series, before what a form makes of it.
#[derive(Clone, Debug)]
pub(super) struct Family<'a> {
    /// The name without the ending that its type has.
    pub(super) name: &'a str,
    /// The type.
    pub(super) kind: Type,
    /// The unit, with which the name ends.
    pub(super) unit: &'a str,
    /// What it means.
    pub(super) help: &'a str,
}

impl Family<'_> {
    /// The name of its series.
    pub(super) fn series(&self) -> String {
        let ending = match self.kind {
            Type::Gauge => "",
            Type::Counter => "_total",
            Type::Info => "_info",
        };
        format!("{}{ending}", self.name)
    }
}

/// A text that grows by families.
pub(super) struct Exposition {
    form: Form,
    text: String,
}

impl Exposition {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            // As much as two inverters and four sinks come to.
            text: String::with_capacity(64 * 1024),
        }
    }

    /// Writes a family with all its series; without any it is left out.
    pub(super) fn family<'l, V: Display>(
        &mut self,
        family: &Family<'_>,
        samples: impl IntoIterator<Item = (Vec<(&'static str, &'l str)>, V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let series = family.series();
        let (head, kind) = match (self.form, family.kind) {
            (_, Type::Gauge) => (family.name, "gauge"),
            (Form::OpenMetrics, Type::Counter) => (family.name, "counter"),
            (Form::OpenMetrics, Type::Info) => (family.name, "info"),
            (Form::Prometheus, Type::Counter) => (series.as_str(), "counter"),
            (Form::Prometheus, Type::Info) => (series.as_str(), "gauge"),
        };
        let help = escaped(family.help, self.form == Form::OpenMetrics);
        self.line(format_args!("# HELP {head} {help}"));
        self.line(format_args!("# TYPE {head} {kind}"));
        if self.form == Form::OpenMetrics && !family.unit.is_empty() {
            self.line(format_args!("# UNIT {head} {}", family.unit));
        }
        for (labels, value) in samples {
            self.text.push_str(&series);
            let mut before = '{';
            for (name, value) in &labels {
                self.text.push(before);
                before = ',';
                self.text.push_str(name);
                self.text.push_str("=\"");
                self.text.push_str(&escaped(value, true));
                self.text.push('"');
            }
            if !labels.is_empty() {
                self.text.push('}');
            }
            self.line(format_args!(" {value}"));
        }
    }

    /// The whole text.
    pub(super) fn end(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
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
    fn the_form_is_the_one_that_is_asked_for() {
        for (accept, form) in [
            (None, Form::Prometheus),
            (Some("*/*"), Form::Prometheus),
            (Some("text/html,*/*;q=0.8"), Form::Prometheus),
            (
                // Prometheus 2.42.
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                     text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                Form::OpenMetrics,
            ),
            (
                Some("text/plain, application/openmetrics-text; q=0.5"),
                Form::Prometheus,
            ),
            (Some("application/openmetrics-text; q=0"), Form::Prometheus),
            (
                Some("application/openmetrics-text; q=nonsense"),
                Form::Prometheus,
            ),
        ] {
            assert_eq!(Form::accepted(accept), form, "{accept:?}");
        }
    }

    #[test]
    fn both_forms_name_the_same_series() {
        let written = |form| {
            let mut exposition = Exposition::new(form);
            let of = |name, kind, unit| Family {
                name,
                kind,
                unit,
                help: "A \"test\"\\of\nmine.",
            };
            let sample = |label| [(vec![("name", label)], 7)];
            exposition.family(&of("a_watts", Type::Gauge, "watts"), sample("x\"\\\n"));
            exposition.family(&of("b_joules", Type::Counter, "joules"), sample("x"));
            exposition.family(&of("c", Type::Info, ""), sample("x"));
            exposition.family(&of("d", Type::Gauge, ""), [(vec![], 0.5)]);
            exposition.family(&of("e", Type::Gauge, ""), Vec::<(_, i64)>::new());
            exposition.end()
        };
        assert_eq!(
            written(Form::Prometheus),
            "# HELP a_watts A \"test\"\\\\of\\nmine.\n# TYPE a_watts gauge\na_watts{name=\"x\\\"\\\\\\n\"} 7\n\
             # HELP b_joules_total A \"test\"\\\\of\\nmine.\n# TYPE b_joules_total counter\nb_joules_total{name=\"x\"} 7\n\
             # HELP c_info A \"test\"\\\\of\\nmine.\n# TYPE c_info gauge\nc_info{name=\"x\"} 7\n\
             # HELP d A \"test\"\\\\of\\nmine.\n# TYPE d gauge\nd 0.5\n"
        );
        assert_eq!(
            written(Form::OpenMetrics),
            "# HELP a_watts A \\\"test\\\"\\\\of\\nmine.\n# TYPE a_watts gauge\n# UNIT a_watts watts\n\
             a_watts{name=\"x\\\"\\\\\\n\"} 7\n\
             # HELP b_joules A \\\"test\\\"\\\\of\\nmine.\n# TYPE b_joules counter\n# UNIT b_joules joules\n\
             b_joules_total{name=\"x\"} 7\n\
             # HELP c A \\\"test\\\"\\\\of\\nmine.\n# TYPE c info\nc_info{name=\"x\"} 7\n\
             # HELP d A \\\"test\\\"\\\\of\\nmine.\n# TYPE d gauge\nd 0.5\n# EOF\n"
        );
    }
}
