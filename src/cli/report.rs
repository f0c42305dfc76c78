//! `kstar report`: what a day, a week, a month, a year or all years come to.

use std::io::Write;

use clap::{Args, ValueEnum};
use kstar_reports::energy::Subject;
use kstar_reports::energy::show;
use kstar_reports::period::Calendar;

use super::shared::failure::Failure;
use super::shared::stored::StoredArgs;

/// What `kstar report` can be told.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// What to add up
    #[arg(value_enum)]
    what: What,
    /// Which one: 2026-11-22, 2026-11, 2026, today or yesterday [default: the present one]
    #[arg(long, value_name = "DATE")]
    date: Option<String>,
    /// Show the same time a year before beside it
    #[arg(long)]
    compare: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    csv: CsvArgs,
    #[command(flatten)]
    stored: StoredArgs,
}

#[derive(Args, Clone, Copy, Debug)]
struct CsvArgs {
    /// The parts as CSV, for a spreadsheet
    #[arg(long, conflicts_with_all = ["json", "compare"])]
    csv: bool,
    /// Decimal commas and semicolons in CSV, as spreadsheets of many countries read them
    #[arg(long, requires = "csv")]
    decimal_comma: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// A day, by its hours
    Day,
    /// A week, Monday to Sunday, by its days
    Week,
    /// A month, by its days
    Month,
    /// A year, by its months
    Year,
    /// All that there is, by years
    Total,
}

/// Adds up and shows it.
pub fn run(args: &ReportArgs, out: &mut impl Write) -> Result<(), Failure> {
    let stored = args.stored.open()?;
    let subject = match args.what {
        What::Day => Subject::One(Calendar::Day),
        What::Week => Subject::One(Calendar::Week),
        What::Month => Subject::One(Calendar::Month),
        What::Year => Subject::One(Calendar::Year),
        What::Total => Subject::Total,
    };
    let date = match (subject, &args.date) {
        (Subject::One(calendar), Some(text)) => {
            calendar.named(text, &stored.now).map_err(Failure::Usage)?
        }
        (Subject::Total, Some(_)) => {
            let message = "a total is over all years, so it takes no --date; ask for a year";
            return Err(Failure::Usage(message.to_owned()));
        }
        (_, None) => stored.now.date(),
    };
    if args.compare && subject == Subject::Total {
        let message =
            "a total is over all years, so there is none to compare it with; ask for a year";
        return Err(Failure::Usage(message.to_owned()));
    }
    let report = stored.report(subject, date, &stored.tariffs)?;
    let before = if args.compare {
        stored.year_before(subject, date)?
    } else {
        None
    };
    if args.csv.csv {
        let csv = show::Csv {
            decimal_comma: args.csv.decimal_comma,
        };
        show::csv(&report, csv, out)?;
    } else if args.json {
        show::json(&report, before.as_ref(), out)?;
    } else {
        show::table(&report, out)?;
        match &before {
            Some(before) => show::comparison(&report, before, out)?,
            None if args.compare => {
                writeln!(out, "There is no reading of the same time a year before.")?;
            }
            None => {}
        }
    }
    out.flush()?;
    Ok(())
}
