//! Answers that the history gives: readings, their means, and reports.
//!
//! SQLite blocks, so each question has a thread, of which there are few. What was asked for is written as it is read, so
//! that a week needs no more memory than a minute; a client that does not take it loses it, and a question that takes too
//! long ends, since it keeps SQLite from tidying up.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{Response, StatusCode, Uri};
use jiff::Timestamp;
use kstar_common::tariff::Tariff;
use kstar_history::{History, HistoryError, StoredInverter};
use kstar_model::catalogue::Quantity;
use kstar_model::time::UnixMillis;
use kstar_reports::energy::gather::{self, Question};
use kstar_reports::energy::{Subject, show};
use kstar_reports::period::{Calendar, range};
use kstar_reports::rows::{BucketAsJson, Resolution, narrow};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::answer::{self, BrokenOff, JSON, Parts, Problem};
use super::state::{QUESTIONS, State};

/// How long a question waits for others to end.
const TURN: Duration = Duration::from_secs(5);

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much of an answer is gathered before it is sent.
const PART: usize = 32 * 1024;

/// How many parts wait to be sent.
const WAITING: usize = 2;

const DAY: i64 = 86_400_000;

/// How many days of each resolution may be asked for at once: some 100,000 rows, which is what a question's time allows a
/// small machine.
fn longest(resolution: Resolution) -> i64 {
    match resolution {
        Resolution::Raw => 7,
        Resolution::FiveMinutes => 366,
        Resolution::Hour => 11 * 366,
        Resolution::Day => 274 * 366,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    resolution: Resolution,
    inverter: Option<String>,
    fields: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    period: Period,
    date: Option<String>,
    inverter: Option<String>,
    /// Whether the same time a year before is told as well.
    #[serde(default)]
    compare: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Period {
    #[default]
    Day,
    Week,
    Month,
    Year,
    Total,
}

/// Readings of the history, or what they come to.
pub(super) async fn readings(
    Shared(state): Shared<State>,
    uri: Uri,
) -> Result<Response<Body>, Problem> {
    let asked: Asked = answer::parameters(&uri)?;
    let names: Vec<&str> = asked
        .fields
        .iter()
        .flat_map(|names| names.split(','))
        .collect();
    let quantities = asked
        .resolution
        .quantities(&names, "resolution=raw")
        .map_err(Problem::wrong)?;
    let file = file(&state)?;
    let turn = turn(&state).await?;
    let (parts, taken) = mpsc::channel(WAITING);
    let (beginning, begun) = oneshot::channel();
    let writer = Writer {
        waiting: vec![b'['],
        rows: 0,
        deadline: Instant::now() + PATIENCE,
        parts,
        beginning: Some(beginning),
    };
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        write(&file, &asked, &quantities, writer);
    });
    // Without a word the thread has panicked; the runtime has said so.
    begun.await.unwrap_or_else(|_| Err(Problem::internal()))?;
    Ok(answer::of(JSON, Body::new(Parts(taken))))
}

/// What a day, a week, a month, a year or all years come to.
pub(super) async fn report(
    Shared(state): Shared<State>,
    uri: Uri,
) -> Result<Response<Body>, Problem> {
    let wanted: Wanted = answer::parameters(&uri)?;
    let tariffs = state.0.sources.tariffs.clone();
    let text = ask(&state, move |file| add_up(file, &wanted, &tariffs)).await?;
    Ok(answer::of(JSON, text))
}

/// What comes of a question to the history, on a thread of its own when it is its turn.
pub(super) async fn ask<T: Send + 'static>(
    state: &State,
    question: impl FnOnce(&Path) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let file = file(state)?;
    let turn = turn(state).await?;
    let answer = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        question(&file)
    });
    answer.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a question to the history has failed; please report this");
        Err(Problem::internal())
    })
}

/// The file with the history, if there is one.
fn file(state: &State) -> Result<PathBuf, Problem> {
    state.0.sources.history.clone().ok_or_else(|| {
        Problem::nothing(
            "this collector writes no history, so there is nothing to ask; add the section [sinks.sqlite] to its \
             configuration. /api/v1/readings/latest needs none",
        )
    })
}

/// A turn to ask the history.
async fn turn(state: &State) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = timeout(TURN, state.0.questions.clone().acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| {
        Problem::busy(format!(
            "{QUESTIONS} questions to the history are being answered already; ask again in a moment, or for less"
        ))
    })
}

/// A history, open, and the inverters that are asked for.
pub(super) fn open(
    file: &Path,
    inverter: Option<&str>,
) -> Result<(History, Vec<StoredInverter>), Problem> {
    let history = History::open(file).map_err(|error| unasked(&error))?;
    let mut inverters = history.inverters().map_err(|error| unasked(&error))?;
    if let Some(name) = inverter {
        let known: Vec<String> = inverters.iter().map(|one| one.name.clone()).collect();
        inverters.retain(|inverter| inverter.name == name);
        if inverters.is_empty() {
            return Err(Problem::nothing(format!(
                "the history knows no inverter `{name}`, only: {}",
                known.join(", ")
            )));
        }
    }
    Ok((history, inverters))
}

/// Why the history cannot be asked, for whoever reads the answer and whoever reads the log.
pub(super) fn unasked(error: &HistoryError) -> Problem {
    let (status, message) = match error {
        // The file may be missing for a moment after the first start, or for as long as its disk; and one of before may
        // have to be brought up to date.
        HistoryError::Missing(_) | HistoryError::Unopened(_) => (
            StatusCode::NOT_FOUND,
            "the history is not there yet; ask again when there are readings",
        ),
        HistoryError::UnknownInverter { .. } | HistoryError::Unreadable(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the history cannot be read; the collector's log says why",
        ),
    };
    tracing::warn!(%error, "a question to the history has no answer");
    Problem::new(status, message)
}

/// The time that is asked about: without a beginning the day before its end, and nothing that is still to come.
fn span(asked: &Asked, history: &History) -> Result<Range<UnixMillis>, Problem> {
    let now = Timestamp::now();
    let zoned = now.to_zoned(history.zone().clone());
    let written =
        range(asked.from.as_deref(), asked.to.as_deref(), &zoned).map_err(Problem::wrong)?;
    // The reading of this very moment belongs to it.
    let end = written.end.0.min(now.as_millisecond().saturating_add(1));
    let start = if asked.from.is_none() {
        end.saturating_sub(DAY)
    } else {
        written.start.0
    };
    let days = longest(asked.resolution);
    if end.saturating_sub(start) > days.saturating_mul(DAY) {
        let coarser = match asked.resolution {
            Resolution::Raw => "ask for less, for resolution=5min, or use `kstar export`",
            Resolution::FiveMinutes => "ask for less, or for resolution=hour",
            Resolution::Hour | Resolution::Day => "ask for less, or for resolution=day",
        };
        return Err(Problem::wrong(format!(
            "that is more than the {days} days which this resolution allows at once; {coarser}"
        )));
    }
    Ok(UnixMillis(start)..UnixMillis(end.max(start)))
}

/// Writes what is asked for as one JSON array.
fn write(file: &Path, asked: &Asked, quantities: &[Quantity], mut writer: Writer) {
    let opened = open(file, asked.inverter.as_deref());
    let prepared = opened.and_then(|(history, inverters)| {
        let span = span(asked, &history)?;
        Ok((history, inverters, span))
    });
    let (history, inverters, span) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => return writer.refuse(problem),
    };
    for inverter in inverters {
        let name = inverter.name.as_str();
        let mut broken = false;
        let mut each = |row: &dyn Fn(&mut Vec<u8>) -> serde_json::Result<()>| {
            if writer.row(row) {
                ControlFlow::Continue(())
            } else {
                broken = true;
                ControlFlow::Break(())
            }
        };
        let outcome = match asked.resolution.level() {
            None => history.readings(name, span.clone(), &mut |mut reading| {
                narrow(&mut reading, quantities);
                each(&|out| serde_json::to_writer(out, &reading))
            }),
            Some(level) => history.buckets(name, level, span.clone(), quantities, &mut |bucket| {
                let row = BucketAsJson {
                    inverter: name,
                    bucket,
                    quantities,
                };
                each(&|out| serde_json::to_writer(out, &row))
            }),
        };
        if let Err(error) = outcome {
            return writer.refuse(unasked(&error));
        }
        if broken {
            return;
        }
    }
    writer.end();
}

/// Writes rows into the parts of an answer.
struct Writer {
    waiting: Vec<u8>,
    rows: u64,
    deadline: Instant,
    parts: mpsc::Sender<Result<Bytes, BrokenOff>>,
    /// Told when the answer begins, which is when it can no longer be an error.
    beginning: Option<oneshot::Sender<Result<(), Problem>>>,
}

impl Writer {
    /// Writes a row; says whether more are wanted.
    fn row(&mut self, row: &dyn Fn(&mut Vec<u8>) -> serde_json::Result<()>) -> bool {
        if self.rows > 0 {
            self.waiting.push(b',');
        }
        self.rows += 1;
        if let Err(error) = row(&mut self.waiting) {
            tracing::error!(%error, "a row cannot be written as JSON; please report this");
            self.break_off();
            return false;
        }
        self.waiting.len() < PART || self.send()
    }

    /// Sends what waits; says whether more is wanted.
    fn send(&mut self) -> bool {
        if Instant::now() > self.deadline {
            tracing::warn!(
                rows = self.rows,
                "a question to the history took too long and was broken off"
            );
            self.break_off();
            return false;
        }
        if let Some(beginning) = self.beginning.take() {
            // Whoever asked may be gone, which the next line finds out.
            let _ = beginning.send(Ok(()));
        }
        let part = std::mem::take(&mut self.waiting);
        self.parts.blocking_send(Ok(part.into())).is_ok()
    }

    /// There is no answer, or no rest of it.
    fn refuse(mut self, problem: Problem) {
        match self.beginning.take() {
            // Whoever asked may be gone.
            Some(beginning) => drop(beginning.send(Err(problem))),
            None => self.break_off(),
        }
    }

    fn break_off(&mut self) {
        match self.beginning.take() {
            Some(beginning) => drop(beginning.send(Err(Problem::busy(
                "that takes too long on this machine; ask for less",
            )))),
            // Whoever asked may be gone.
            None => drop(self.parts.blocking_send(Err(BrokenOff))),
        }
    }

    fn end(mut self) {
        self.waiting.extend_from_slice(b"]\n");
        self.send();
    }
}

/// A report as JSON.
fn add_up(file: &Path, wanted: &Wanted, tariffs: &[Tariff]) -> Result<Vec<u8>, Problem> {
    let (history, inverters) = open(file, wanted.inverter.as_deref())?;
    let now = Timestamp::now().to_zoned(history.zone().clone());
    let subject = match wanted.period {
        Period::Day => Subject::One(Calendar::Day),
        Period::Week => Subject::One(Calendar::Week),
        Period::Month => Subject::One(Calendar::Month),
        Period::Year => Subject::One(Calendar::Year),
        Period::Total => Subject::Total,
    };
    let date = match (subject, &wanted.date) {
        (Subject::One(calendar), Some(text)) => {
            calendar.named(text, &now).map_err(Problem::wrong)?
        }
        (Subject::Total, Some(_)) => {
            return Err(Problem::wrong(
                "a total is over all years, so it takes no `date`; ask for period=year",
            ));
        }
        (_, None) => now.date(),
    };
    if subject == Subject::Total && wanted.compare {
        return Err(Problem::wrong(
            "a total is over all years, so there is none to compare it with; ask for period=year",
        ));
    }
    let question = Question {
        subject,
        date,
        inverters: &inverters,
        tariffs,
        now: UnixMillis(now.timestamp().as_millisecond()),
    };
    let report = gather::report(&history, &question).map_err(|error| unasked(&error))?;
    let Some(report) = report else {
        return Err(Problem::nothing(format!(
            "there is no reading in {}",
            show::title(subject, date)
        )));
    };
    let before = if wanted.compare {
        gather::year_before(&history, &question).map_err(|error| unasked(&error))?
    } else {
        None
    };
    let mut text = Vec::new();
    match show::json(&report, before.as_ref(), &mut text) {
        Ok(()) => Ok(text),
        Err(error) => {
            tracing::error!(%error, "a report cannot be written as JSON; please report this");
            Err(Problem::internal())
        }
    }
}
