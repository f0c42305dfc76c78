//! `kstar export`: readings, or what they come to, as CSV or JSON lines.
//!
//! Nothing is held but the row at hand, so that ten years need no more memory than a day. Inverters follow one another,
//! each in the order of time.

use std::future::Future;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use kstar_history::{Aggregate, Bucket, HistoryError};
use kstar_model::catalogue::Quantity;
use kstar_model::reading::Reading;
use kstar_model::scalar::Kind;
use kstar_model::time::UnixMillis;
use kstar_reports::period::timestamp;
use kstar_reports::rows::{BucketAsJson, Resolution, narrow};

use super::shared::background::in_background;
use super::shared::failure::Failure;
use super::shared::output::NewFile;
use super::shared::progress::Progress;
use super::shared::stored::{SpanArgs, Stored, StoredArgs};

/// How many rows pass between two looks at the bar and at the order to stop.
const ROWS_AT_ONCE: u64 = 512;

/// What `kstar export` can be told.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    span: SpanArgs,
    /// Every reading, or means, extremes and growths of longer stretches
    #[arg(long, default_value = Resolution::default().name(), value_parser = resolutions())]
    resolution: Resolution,
    /// Some quantities by their names, with commas between; `kstar fields` lists them [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    quantities: Vec<String>,
    /// How rows are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Local time instead of UTC, in CSV
    #[arg(long)]
    local: bool,
    /// Where to; the file appears when it is complete [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    stored: StoredArgs,
}

fn resolutions() -> impl TypedValueParser<Value = Resolution> {
    let shown =
        |resolution: Resolution| PossibleValue::new(resolution.name()).help(resolution.label());
    PossibleValuesParser::new(Resolution::ALL.map(shown)).try_map(|name| {
        let named = Resolution::ALL.into_iter().find(|one| one.name() == name);
        named.ok_or("no resolution")
    })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A header and a row each
    #[default]
    Csv,
    /// A JSON object each; raw ones are those that the sink stdout prints
    Json,
}

/// Exports until it is done or `shutdown` is ready.
pub async fn run(args: ExportArgs, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    in_background(shutdown, move |stop| export(&args, stop)).await
}

fn export(args: &ExportArgs, stop: &AtomicBool) -> Result<(), Failure> {
    if args.local && args.format == Format::Json {
        let message = "times in JSON are always UTC; leave --local away, or use --format csv";
        return Err(Failure::Usage(message.to_owned()));
    }
    let names: Vec<&str> = args.quantities.iter().map(String::as_str).collect();
    let quantities = args
        .resolution
        .quantities(&names, "--resolution raw")
        .map_err(Failure::Usage)?;
    let stored = args.stored.open()?;
    let span = args.span.range(&stored.now)?;
    let form = Form {
        format: args.format,
        quantities,
        of_buckets: args.resolution != Resolution::Raw,
        local: args.local,
        stored: &stored,
    };
    match &args.output {
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            let bar = !io::stdout().is_terminal();
            let ended = write(args, &form, span, bar, stop, &mut out);
            ended.map_err(|ending| ending.failure(&stored, Failure::from))?;
            out.flush()?;
            Ok(())
        }
        Some(path) => {
            let mut file = NewFile::create(path)?;
            let ended = write(args, &form, span, true, stop, &mut file);
            ended.map_err(|ending| ending.failure(&stored, |error| file.failure(&error)))?;
            file.complete()
        }
    }
}

/// Why an export has ended before its end.
enum Ending {
    Output(io::Error),
    History(HistoryError),
    Stopped,
    /// There is nothing in that time.
    Nothing {
        /// Whether readings were asked for, which are not kept as long as their means.
        raw: bool,
    },
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Ending {
    fn failure(self, stored: &Stored, of_output: impl FnOnce(io::Error) -> Failure) -> Failure {
        match self {
            Self::Output(error) => of_output(error),
            Self::History(error) => error.into(),
            Self::Stopped => {
                Failure::Runtime("the export was stopped before it was complete".to_owned())
            }
            Self::Nothing { raw } => match stored.nothing("the time from --from to --to") {
                Failure::Runtime(message) if raw => Failure::Runtime(format!(
                    "{message}, the oldest perhaps only as means: try --resolution 5min"
                )),
                failure => failure,
            },
        }
    }
}

fn write(
    args: &ExportArgs,
    form: &Form<'_>,
    span: Range<UnixMillis>,
    bar: bool,
    stop: &AtomicBool,
    out: &mut impl Write,
) -> Result<(), Ending> {
    let stretches: Vec<(&str, Range<UnixMillis>)> = form
        .stored
        .inverters
        .iter()
        .filter_map(|inverter| {
            let (first, last) = inverter.first.zip(inverter.last)?;
            let there = first.max(span.start)..last.min(span.end);
            Some((inverter.name.as_str(), there))
        })
        .collect();
    let length = |stretch: &Range<UnixMillis>| {
        u64::try_from(stretch.end.0.saturating_sub(stretch.start.0)).unwrap_or_default()
    };
    let total = stretches.iter().map(|(_, stretch)| length(stretch)).sum();
    let progress = bar.then(|| Progress::new("exporting", total));
    let mut done = 0;
    let mut rows = 0_u64;
    for (name, stretch) in stretches {
        let mut ending = None;
        let mut each = |time: UnixMillis, row: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>| {
            if rows.is_multiple_of(ROWS_AT_ONCE) {
                if stop.load(Ordering::Relaxed) {
                    ending = Some(Ending::Stopped);
                    return ControlFlow::Break(());
                }
                if let Some(progress) = &progress {
                    progress.advance_to(done + length(&(stretch.start..time)));
                }
            }
            let head = if rows == 0 { form.head(out) } else { Ok(()) };
            rows += 1;
            match head.and_then(|()| row(out)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    ending = Some(error.into());
                    ControlFlow::Break(())
                }
            }
        };
        let (history, span) = (&form.stored.history, span.clone());
        let asked = match args.resolution.level() {
            None => history.readings(name, span, &mut |mut reading| {
                each(reading.time, &mut |out| form.reading(&mut reading, out))
            }),
            Some(level) => history.buckets(name, level, span, &form.quantities, &mut |bucket| {
                each(bucket.begin, &mut |out| form.bucket(name, bucket, out))
            }),
        };
        asked.map_err(Ending::History)?;
        if let Some(ending) = ending {
            return Err(ending);
        }
        done += length(&stretch);
    }
    if rows == 0 {
        let raw = args.resolution == Resolution::Raw;
        return Err(Ending::Nothing { raw });
    }
    Ok(())
}

/// How rows are written.
struct Form<'a> {
    format: Format,
    quantities: Vec<Quantity>,
    of_buckets: bool,
    local: bool,
    stored: &'a Stored,
}

impl Form<'_> {
    /// The first row of CSV.
    fn head(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.format == Format::Json {
            return Ok(());
        }
        if !self.of_buckets {
            out.write_all(b"time,inverter")?;
            for quantity in &self.quantities {
                write!(out, ",{quantity}")?;
            }
            return writeln!(out);
        }
        out.write_all(b"begin,end,inverter,samples,covered")?;
        for quantity in &self.quantities {
            match quantity.description().kind {
                Kind::Measurement => {
                    write!(out, ",{quantity}_mean,{quantity}_min,{quantity}_max")?;
                }
                _ => write!(out, ",{quantity}_grown")?,
            }
        }
        writeln!(out)
    }

    fn reading(&self, reading: &mut Reading, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Json => {
                narrow(reading, &self.quantities);
                serde_json::to_writer(&mut *out, &reading)?;
            }
            Format::Csv => {
                self.time(reading.time, out)?;
                write!(out, ",{}", reading.inverter.name)?;
                for quantity in &self.quantities {
                    match reading.values.get(*quantity) {
                        Some(value) => write!(out, ",{}", quoted(value.to_string()))?,
                        None => out.write_all(b",")?,
                    }
                }
            }
        }
        writeln!(out)
    }

    fn bucket(&self, inverter: &str, bucket: &Bucket, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Json => {
                let line = BucketAsJson {
                    inverter,
                    bucket,
                    quantities: &self.quantities,
                };
                serde_json::to_writer(&mut *out, &line)?;
            }
            Format::Csv => {
                self.time(bucket.begin, out)?;
                out.write_all(b",")?;
                self.time(bucket.end, out)?;
                let covered = bucket.covered.as_secs_f64();
                write!(out, ",{inverter},{},{covered}", bucket.samples)?;
                for (quantity, value) in self.quantities.iter().zip(&bucket.values) {
                    match (value, quantity.description().kind) {
                        (Some(Aggregate::Measured { mean, min, max }), _) => {
                            write!(out, ",{mean},{min},{max}")?;
                        }
                        (Some(Aggregate::Counted { grown }), _) => write!(out, ",{grown}")?,
                        (None, Kind::Measurement) => out.write_all(b",,,")?,
                        (None, _) => out.write_all(b",")?,
                    }
                }
            }
        }
        writeln!(out)
    }

    fn time(&self, moment: UnixMillis, out: &mut dyn Write) -> io::Result<()> {
        if self.local {
            let local = timestamp(moment).to_zoned(self.stored.now.time_zone().clone());
            write!(out, "{}", local.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"))
        } else {
            write!(out, "{moment}")
        }
    }
}

/// A field of CSV: quoted where a comma, a quote or a line break would part it.
fn quoted(text: String) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_field_is_quoted_where_it_would_fall_apart() {
        for (field, written) in [
            ("231.7", "231.7"),
            ("fan,relay", "\"fan,relay\""),
            ("a \"b\"", "\"a \"\"b\"\"\""),
            ("a\nb", "\"a\nb\""),
            ("", ""),
        ] {
            assert_eq!(quoted(field.to_owned()), written);
        }
    }
}
