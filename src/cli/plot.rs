//! `kstar plot`: a day's power, or the energies of a week, a month or a year, as a picture.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kstar_reports::chart::day::{self, Day};
use kstar_reports::chart::{Look, Size, Theme, bars, gather as samples, png, svg};
use kstar_reports::energy::{Report, Subject, show};
use kstar_reports::period::Calendar;

use super::shared::failure::Failure;
use super::shared::output::NewFile;
use super::shared::stored::{Stored, StoredArgs};

/// What `kstar plot` can be told.
#[derive(Args, Clone, Debug)]
pub struct PlotArgs {
    /// What to draw
    #[arg(value_enum)]
    what: What,
    /// Which one: 2026-11-22, 2026-11, 2026, today or yesterday [default: the present one]
    #[arg(long, value_name = "DATE")]
    date: Option<String>,
    /// Where to, by its ending as SVG or PNG [default: SVG on standard output]
    #[arg(short, long, value_name = "FILE.svg|FILE.png")]
    output: Option<PathBuf>,
    /// On which ground
    #[arg(long, value_enum, default_value_t)]
    theme: Ground,
    /// Width and height in pixels
    #[arg(long, value_name = "WxH", default_value_t)]
    size: Size,
    #[command(flatten)]
    stored: StoredArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// A day's power
    Day,
    /// A week, by its days
    Week,
    /// A month, by its days
    Month,
    /// A year, by its months
    Year,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Ground {
    #[default]
    Light,
    Dark,
}

/// What a file is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Svg,
    Png,
}

/// Draws and writes it.
pub fn run(args: &PlotArgs, out: &mut impl Write) -> Result<(), Failure> {
    let form = form(args)?;
    let stored = args.stored.open()?;
    let calendar = match args.what {
        What::Day => Calendar::Day,
        What::Week => Calendar::Week,
        What::Month => Calendar::Month,
        What::Year => Calendar::Year,
    };
    let date = match &args.date {
        Some(text) => calendar.named(text, &stored.now).map_err(Failure::Usage)?,
        None => calendar.first(stored.now.date()),
    };
    let subject = Subject::One(calendar);
    // A picture shows no money.
    let report = stored.report(subject, date, &[])?;
    let look = Look::alone(
        match args.theme {
            Ground::Light => Theme::Light,
            Ground::Dark => Theme::Dark,
        },
        args.size,
    );
    let drawing = if calendar == Calendar::Day {
        day::draw(&day_of(&stored, report)?, look)
    } else {
        bars::draw(&report, look)
    };
    let Some(path) = &args.output else {
        out.write_all(svg::write(&drawing).as_bytes())?;
        out.flush()?;
        return Ok(());
    };
    let bytes = match form {
        Form::Svg => svg::write(&drawing).into_bytes(),
        Form::Png => png::render(&drawing)
            .map_err(|error| Failure::Runtime(format!("cannot draw the picture: {error}")))?,
    };
    NewFile::whole(path, &bytes)
}

fn form(args: &PlotArgs) -> Result<Form, Failure> {
    let Some(path) = &args.output else {
        if std::io::stdout().is_terminal() {
            let message = "name a file for the picture with -o, like -o day.png or -o day.svg";
            return Err(Failure::Usage(message.to_owned()));
        }
        return Ok(Form::Svg);
    };
    let ending = path.extension().map(OsStr::to_ascii_lowercase);
    match ending.as_ref().and_then(|ending| ending.to_str()) {
        Some("svg") => Ok(Form::Svg),
        Some("png") => Ok(Form::Png),
        _ => Err(Failure::Usage(format!(
            "the ending of {} tells neither of the two forms; write .svg or .png",
            path.display()
        ))),
    }
}

/// A day's chart, from its report and its five minutes.
fn day_of(stored: &Stored, report: Report) -> Result<Day, Failure> {
    Ok(Day {
        title: show::title(report.subject, report.days.start),
        subtitle: report.called(),
        samples: samples::samples(&stored.history, &stored.inverters, &report.sum.span)?,
        span: report.sum.span,
        zone: report.zone,
        sums: report.sum.figures.flows,
    })
}
