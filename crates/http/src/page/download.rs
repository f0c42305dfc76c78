//! A period as a file: its parts as CSV, its chart as SVG or PNG. The same in every language.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{CONTENT_DISPOSITION, HeaderValue};
use jiff::civil::Date;
use kstar_reports::chart::drawing::Drawing;
use kstar_reports::chart::{Look, Size, Theme, png, svg};
use kstar_reports::energy::{Part, Report, Subject};

use super::frame;
use crate::answer::{self, Problem};

/// What a file is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Csv,
    Svg,
    Png,
}

impl Form {
    /// A path without its ending, and the form that the ending names.
    pub(super) fn split(path: &str) -> (&str, Option<Self>) {
        for (ending, form) in [
            (".csv", Self::Csv),
            (".svg", Self::Svg),
            (".png", Self::Png),
        ] {
            if let Some(rest) = path.strip_suffix(ending) {
                return (rest, Some(form));
            }
        }
        (path, None)
    }
}

/// What a file is of.
pub(super) struct File {
    pub(super) subject: Subject,
    /// Its first day.
    pub(super) first: Date,
    /// The quantity, if it is of one.
    pub(super) of: &'static str,
}

/// The file. Drawing a picture takes its time.
pub(super) fn file(
    form: Form,
    file: &File,
    csv: impl FnOnce() -> String,
    draw: impl FnOnce(Look) -> Drawing,
) -> Result<Response<Body>, Problem> {
    let look = Look::alone(Theme::Light, Size::default());
    let mut response = match form {
        Form::Csv => answer::of("text/csv; charset=utf-8", csv()),
        Form::Svg => answer::of("image/svg+xml", svg::write(&draw(look))),
        Form::Png => {
            let picture = png::render(&draw(look)).map_err(|error| {
                tracing::error!(%error, "a chart cannot be written as PNG; please report this");
                Problem::internal()
            })?;
            answer::of("image/png", picture)
        }
    };
    frame::secure(&mut response);
    let ending = match form {
        Form::Csv => "csv",
        Form::Svg => "svg",
        Form::Png => "png",
    };
    let name = match file.subject {
        Subject::Total => "total".to_owned(),
        Subject::One(calendar) => format!("{}-{}", calendar.name(), file.first),
    };
    let dash = if file.of.is_empty() { "" } else { "-" };
    let disposition = format!(
        "attachment; filename=\"kstar-{name}{dash}{}.{ending}\"",
        file.of
    );
    match HeaderValue::from_str(&disposition) {
        Ok(disposition) => {
            response
                .headers_mut()
                .insert(CONTENT_DISPOSITION, disposition);
            Ok(response)
        }
        Err(error) => {
            tracing::error!(%error, "a file has no name; please report this");
            Err(Problem::internal())
        }
    }
}

/// The parts of a report in order; a report without parts is one.
pub(super) fn csv(report: &Report) -> String {
    let mut text = "begin,end,production_kwh,consumption_kwh,import_kwh,export_kwh,charged_kwh,discharged_kwh,\
        self_consumption,self_sufficiency,peak_w,coverage\r\n"
        .to_owned();
    for part in report.parts.iter().filter(|part| part.coverage.is_some()) {
        row(&mut text, part);
    }
    text
}

fn row(text: &mut String, part: &Part) {
    // Writing to a `String` cannot fail.
    let _ = write!(text, "{},{}", part.span.start, part.span.end);
    let mut cell = |value: Option<f64>, decimals: usize| {
        let _ = match value {
            Some(value) => write!(text, ",{value:.decimals$}"),
            None => write!(text, ","),
        };
    };
    let flows = &part.figures.flows;
    for (_, energy) in flows.named() {
        cell(energy.map(|energy| energy.kwh), 3);
    }
    cell(flows.self_consumption(), 4);
    cell(flows.self_sufficiency(), 4);
    cell(part.figures.peak_watts, 2);
    cell(part.coverage, 4);
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_path_names_the_form() {
        assert_eq!(Form::split("/total"), ("/total", None));
        assert_eq!(Form::split("/total.csv"), ("/total", Some(Form::Csv)));
        let split = Form::split("/day/2026-11-29.png");
        assert_eq!(split, ("/day/2026-11-29", Some(Form::Png)));
        assert_eq!(Form::split("/day/x.gif"), ("/day/x.gif", None));
    }
}
