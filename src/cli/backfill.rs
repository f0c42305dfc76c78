//! `kstar backfill`: readings of the history, pushed to InfluxDB.
//!
//! The sink's own driver delivers, so that outages, refusals and bad readings are treated as they are live. A reading
//! counts as pushed when the driver has settled it. The history is asked anew for each chunk: a question that stays open
//! for hours would keep the collector from tidying up its file.

use std::future::Future;
use std::io::Write;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kstar_common::key::KeyError;
use kstar_common::worker::Worker;
use kstar_history::{History, HistoryError};
use kstar_model::reading::Reading;
use kstar_model::time::UnixMillis;
use kstar_reports::pushed::{Entry, Record};
use kstar_sink::delivery::Policy;
use kstar_sink::driver::{Driver, Ended};
use kstar_sink::event::Event;
use kstar_sink::health::{Counts, Health};
use kstar_sink::sink::Sink;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::shared::args::from_one_on;
use super::shared::failure::Failure;
use super::shared::output::NewFile;
use super::shared::progress::Progress;
use super::shared::stored::{SpanArgs, StoredArgs};

/// The sink that is pushed to.
const SINK: &str = "influxdb";

/// How often it is looked whether a chunk is settled: often enough not to slow things down.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How often the record is written: what is pushed once more after a SIGKILL.
const RECORD_EVERY: Duration = Duration::from_secs(1);

/// How long the sink may take to close. One whose server is away still has something to deliver, and is cut off.
const CLOSING: Duration = Duration::from_secs(1);

/// What `kstar backfill` can be told.
#[derive(Args, Clone, Debug)]
pub struct BackfillArgs {
    #[command(flatten)]
    span: SpanArgs,
    /// How many readings a second at the most, so that the server has time for those that come live
    #[arg(long, value_name = "NUMBER", default_value = "1000", value_parser = from_one_on::<NonZeroU32>)]
    rate: NonZeroU32,
    /// Push also what was pushed before
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    stored: StoredArgs,
}

/// What is to be pushed, and what is needed for that.
struct Job {
    history: History,
    file: PathBuf,
    record: Record,
    destination: String,
    sink: Box<dyn Sink>,
    policy: Policy,
    stretches: Vec<Stretch>,
}

/// A span of time of one inverter.
struct Stretch {
    inverter: Arc<str>,
    span: Range<UnixMillis>,
}

/// Pushes until it is done or `shutdown` is ready.
pub async fn run(
    args: BackfillArgs,
    out: &mut impl Write,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let rate = args.rate;
    let job = tokio::task::spawn_blocking(move || prepare(&args))
        .await
        .map_err(|error| broken(&error))??;
    let destination = job.destination.clone();
    if job.stretches.is_empty() {
        writeln!(
            out,
            "everything that was asked for is in {destination} already; --again pushes it once more"
        )?;
        return Ok(());
    }
    let mut push = Push::start(job, rate)?;
    let mut shutdown = std::pin::pin!(shutdown);
    let ended = push.all(shutdown.as_mut()).await;
    let counts = push.end().await?;
    ended?;
    write!(out, "{} readings pushed to {destination}", counts.delivered)?;
    if counts.rejected > 0 {
        write!(out, "; it rejected {}, see the log", counts.rejected)?;
    }
    writeln!(out)?;
    Ok(())
}

fn broken(error: &dyn std::fmt::Display) -> Failure {
    Failure::Runtime(format!("pushing has failed: {error}; please report this"))
}

fn prepare(args: &BackfillArgs) -> Result<Job, Failure> {
    let stored = args.stored.open()?;
    let sections = stored.sinks.enabled();
    let Some(section) = sections.into_iter().find(|section| section.name() == SINK) else {
        return Err(Failure::Usage(format!(
            "{}: there is no section [sinks.{SINK}], so it is not known where to push to; add it",
            stored.source.path().display()
        )));
    };
    let span = args.span.range(&stored.now)?;
    let place = |error: KeyError| error.within(SINK).within("sinks");
    let resolved = section.resolve().map_err(place);
    resolved.map_err(|error| stored.source.missing(&error))?;
    let sink = section
        .open(&stored.context)
        .map_err(|error| Failure::Runtime(format!("the sink {SINK} cannot be opened: {error}")))?;
    let destination = section.destination(&stored.context);
    let file = std::fs::canonicalize(&stored.file).unwrap_or_else(|_| stored.file.clone());
    let mut record = Record::load(&stored.context.state_dir).map_err(Failure::Runtime)?;
    let (mut stretches, mut has_readings) = (Vec::new(), false);
    for inverter in &stored.inverters {
        let Some((first, last)) = inverter.first.zip(inverter.last) else {
            continue;
        };
        let there = first.max(span.start)..UnixMillis(last.0.saturating_add(1)).min(span.end);
        has_readings |= !there.is_empty();
        let entry = record.entry(&file, &destination, &inverter.name);
        if args.again {
            entry.forget(&there);
        }
        stretches.extend(entry.missing(&there).into_iter().map(|span| Stretch {
            inverter: inverter.name.as_str().into(),
            span,
        }));
    }
    if !has_readings {
        return Err(stored.nothing("the time from --from to --to"));
    }
    Ok(Job {
        policy: section.policy(),
        history: stored.history,
        file,
        record,
        destination,
        sink,
        stretches,
    })
}

/// Pushing, under way.
struct Push {
    history: Worker<History>,
    file: PathBuf,
    record: Record,
    recorded: Instant,
    destination: String,
    stretches: Vec<Stretch>,
    events: broadcast::Sender<Event>,
    health: Arc<Health>,
    driver: JoinHandle<Ended>,
    sent: u64,
    /// How many readings are sent before it is waited for them.
    chunk: NonZeroUsize,
    rate: NonZeroU32,
}

impl Push {
    fn start(job: Job, rate: NonZeroU32) -> Result<Self, Failure> {
        // A second's worth at the most, so that a low rate is even.
        let a_second = NonZeroUsize::try_from(rate).unwrap_or(NonZeroUsize::MAX);
        let chunk = job.policy.batch.min(a_second);
        let (events, receiver) = broadcast::channel(chunk.get());
        let health = Arc::new(Health::new(SINK));
        // A chunk fits whole, whatever the queue of live readings is.
        let policy = Policy {
            queue: chunk,
            linger: Duration::ZERO,
            ..job.policy
        };
        let driver = Driver::new(job.sink, policy, Arc::clone(&health));
        Ok(Self {
            history: Worker::start("history", job.history, None).map_err(|error| broken(&error))?,
            file: job.file,
            record: job.record,
            recorded: Instant::now(),
            destination: job.destination,
            stretches: job.stretches,
            events,
            health,
            driver: tokio::spawn(driver.run(receiver, std::future::pending())),
            sent: 0,
            chunk,
            rate,
        })
    }

    async fn all(
        &mut self,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Failure> {
        let length = |span: &Range<UnixMillis>| span.end.0.abs_diff(span.start.0);
        let stretches = std::mem::take(&mut self.stretches);
        let total = stretches.iter().map(|stretch| length(&stretch.span)).sum();
        let progress = Progress::new("pushing", total);
        let mut passed = 0;
        for Stretch { inverter, span } in stretches {
            let mut rest = span.clone();
            while !rest.is_empty() {
                let begun = Instant::now();
                let chunk = self.read(&inverter, rest.clone()).await?;
                let end = match chunk.last() {
                    Some(last) => UnixMillis(last.time.0 + 1),
                    None => rest.end,
                };
                let due = begun + Duration::from_secs(chunk.len() as u64) / self.rate.get();
                tokio::select! {
                    settled = self.deliver(chunk) => settled?,
                    () = &mut shutdown => return Err(stopped()),
                }
                rest.start = end;
                self.entry(&inverter).add(&(span.start..end));
                progress.advance_to(passed + length(&(span.start..end)));
                if self.recorded.elapsed() >= RECORD_EVERY {
                    self.write_record().await?;
                }
                tokio::select! {
                    () = sleep_until(due) => {}
                    () = &mut shutdown => return Err(stopped()),
                }
            }
            passed += length(&span);
        }
        Ok(())
    }

    fn entry(&mut self, inverter: &str) -> &mut Entry {
        self.record.entry(&self.file, &self.destination, inverter)
    }

    /// The first readings of a span, at most a chunk.
    async fn read(
        &self,
        inverter: &Arc<str>,
        span: Range<UnixMillis>,
    ) -> Result<Vec<Arc<Reading>>, Failure> {
        let (inverter, limit) = (Arc::clone(inverter), self.chunk.get());
        let ask = move |history: &mut History| {
            let mut chunk = Vec::with_capacity(limit);
            history.readings(&inverter, span, &mut |reading| {
                chunk.push(Arc::new(reading));
                if chunk.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            Ok::<_, HistoryError>(chunk)
        };
        let answer = self.history.call(ask).await;
        Ok(answer.map_err(|error| broken(&error))??)
    }

    /// Has the driver deliver a chunk, and waits until nothing of it is left to do.
    async fn deliver(&mut self, chunk: Vec<Arc<Reading>>) -> Result<(), Failure> {
        self.sent += chunk.len() as u64;
        for reading in chunk {
            // The driver is the only one who listens; that it has ended is seen below.
            let _ = self.events.send(Event::Reading(reading));
        }
        loop {
            let counts = self.health.snapshot().counts;
            if counts.delivered + counts.rejected == self.sent {
                return Ok(());
            }
            if self.driver.is_finished() {
                return Err(broken(&"the sink has ended"));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn write_record(&mut self) -> Result<(), Failure> {
        self.recorded = Instant::now();
        let (path, json) = (self.record.path().to_owned(), self.record.to_json());
        tokio::task::spawn_blocking(move || write(&path, &json))
            .await
            .map_err(|error| broken(&error))?
    }

    /// Ends it: whatever was settled is in the record, and what was not comes again with the next try.
    async fn end(mut self) -> Result<Counts, Failure> {
        let recorded = self.write_record().await;
        drop(self.events);
        if timeout(CLOSING, &mut self.driver).await.is_err() {
            self.driver.abort();
        }
        recorded?;
        Ok(self.health.snapshot().counts)
    }
}

fn stopped() -> Failure {
    Failure::Runtime(
        "pushing was stopped before everything was there; the same command goes on where it was"
            .to_owned(),
    )
}

/// Replaces the record as a whole.
fn write(path: &Path, json: &[u8]) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::Runtime(format!(
                "cannot make the folder {}: {error}",
                folder.display()
            ))
        })?;
    }
    NewFile::whole(path, json)
}
