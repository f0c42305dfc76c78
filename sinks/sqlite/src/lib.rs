//! The sink of the history: puts it on a thread of its own, since a disk may take its time. What is in the file and how it
//! is written is `kstar-history`'s.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use kstar_common::finding::Finding;
use kstar_common::hold::Hold;
use kstar_common::key::KeyError;
use kstar_common::worker::{NoAnswer, Upkeep, Worker};
use kstar_history::{
    HistoryError, Importer, KeepFor, Note, Renamed, Retention, Settings, Store, may_be_file, probe,
    rename,
};
use kstar_sink::async_trait;
use kstar_sink::delivery::{DeliverySettings, Keep, Policy};
use kstar_sink::sink::{Batch, Context, DeliveryError, Sink, SinkConfig, Unavailable};
use serde::Deserialize;

/// A transaction of this size takes some ten milliseconds, so that catching up keeps no reader waiting.
const BATCH: NonZeroUsize = NonZeroUsize::new(500).unwrap();

/// How often a little of what is left to do is done.
const UPKEEP: Duration = Duration::from_secs(10);

/// The section `[sinks.sqlite]`: a history in one file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteConfig {
    /// The file; `history.db` in the state folder where nothing is said. A folder that is missing is made.
    pub path: Option<PathBuf>,
    /// How long each reading is kept; what came of them in five minutes, an hour and a day remains. Whole days, counted
    /// from the newest readings.
    pub keep_raw: KeepFor,
    /// How long the sums of five minutes are kept.
    pub keep_5min: KeepFor,
    /// How long the sums of hours are kept.
    pub keep_hours: KeepFor,
    /// How long the sums of days are kept.
    pub keep_days: KeepFor,
    /// How readings are delivered.
    pub delivery: DeliverySettings,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        let usual = Retention::default();
        Self {
            path: None,
            keep_raw: usual.samples,
            keep_5min: usual.five_minutes,
            keep_hours: usual.hours,
            keep_days: usual.days,
            delivery: DeliverySettings::default(),
        }
    }
}

impl SqliteConfig {
    fn retention(&self) -> Retention {
        Retention {
            samples: self.keep_raw,
            five_minutes: self.keep_5min,
            hours: self.keep_hours,
            days: self.keep_days,
        }
    }

    /// The file that this section means.
    pub fn file(&self, context: &Context) -> PathBuf {
        match &self.path {
            Some(path) => path.clone(),
            None => context.state_dir.join("history.db"),
        }
    }

    /// What writes readings of the past. Those that are further apart than the collector's own may cover the time between
    /// them if that is told.
    pub fn importer(
        &self,
        context: &Context,
        longest_gap: Option<Duration>,
    ) -> Result<Importer, HistoryError> {
        Importer::open(
            self.file(context),
            &settings(context),
            self.retention(),
            longest_gap,
        )
    }
}

#[async_trait]
impl SinkConfig for SqliteConfig {
    const NAME: &'static str = "sqlite";

    fn policy(&self) -> Policy {
        self.delivery.policy(Keep::Every, BATCH)
    }

    fn destination(&self, context: &Context) -> String {
        self.file(context).display().to_string()
    }

    fn validate(&self, _inverters: usize) -> Result<(), KeyError> {
        match &self.path {
            Some(path) if !may_be_file(path) => {
                let message = format!(
                    "`{}` is no path of a file; write one, like \"/var/lib/kstar/history.db\"",
                    path.display()
                );
                Err(KeyError::new("path", message))
            }
            _ => Ok(()),
        }
    }

    fn open(&self, context: &Context) -> Result<Box<dyn Sink>, Unavailable> {
        // A lock is waited for inside the delivery, so that its end has a reason and not just a time-out.
        let patience = self.policy().timeout.mul_f64(0.8);
        let store = Store::open(
            &self.file(context),
            patience,
            settings(context),
            self.retention(),
        )
        .map_err(|error| Unavailable(error.to_string()))?;
        let upkeep = Upkeep {
            every: UPKEEP,
            run: Store::upkeep,
        };
        let note = store.note();
        let worker = Worker::start("sqlite", store, Some(upkeep))
            .map_err(|error| Unavailable(no_thread(&error)))?;
        Ok(Box::new(SqliteSink { worker, note }))
    }

    fn heeds(&self, before: &Context, after: &Context) -> bool {
        settings(before) != settings(after) || self.file(before) != self.file(after)
    }

    fn rename(&self, context: &Context, old: &str, new: &str) -> Result<Option<String>, String> {
        let file = self.file(context);
        let renamed = rename(&file, old, new).map_err(|error| error.to_string())?;
        match renamed {
            Renamed::Done => Ok(Some(format!("the history in {}", file.display()))),
            Renamed::Unknown => Ok(None),
            Renamed::Taken => Err(format!(
                "{} has readings of an inverter `{new}` already, and the two cannot be told apart afterwards",
                file.display()
            )),
        }
    }

    async fn probe(&self, context: &Context) -> Vec<Finding> {
        let (path, kept) = (self.file(context), self.keep_raw);
        let (inverters, interval) = (context.inverters.len(), context.poll_interval);
        let worker = match Worker::start("sqlite", (), None) {
            Ok(worker) => worker,
            Err(error) => return vec![Finding::failed("file", &no_thread(&error))],
        };
        worker
            .call(move |()| probe::look(&path, kept, inverters, interval))
            .await
            .unwrap_or_else(|no_answer| {
                let reason = format!("cannot look at it: {no_answer}; please report this");
                vec![Finding::failed("file", &reason)]
            })
    }
}

fn settings(context: &Context) -> Settings {
    Settings::new(context.zone.clone(), context.poll_interval)
}

fn no_thread(error: &std::io::Error) -> String {
    format!("cannot start a thread for SQLite: {error}; raise the limit of processes (ulimit -u)")
}

struct SqliteSink {
    worker: Worker<Store>,
    /// What is in the history that somebody should look at; the store keeps it true.
    note: Note,
}

impl SqliteSink {
    async fn call(
        &self,
        job: impl FnOnce(&mut Store) -> Result<(), HistoryError> + Send + 'static,
    ) -> Result<(), DeliveryError> {
        let done = self.worker.call(job).await.map_err(|no_answer| {
            DeliveryError::unreachable(match no_answer {
                NoAnswer::Busy => {
                    "the disk is still busy with the readings before; if that stays so, look for a failing disk"
                }
                NoAnswer::Gone => "the thread that writes the history has ended; restart the program",
            })
        })?;
        done.map_err(|error| DeliveryError::unreachable(error.to_string()))
    }
}

#[async_trait]
impl Sink for SqliteSink {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<(), DeliveryError> {
        let readings = batch.to_vec();
        self.call(move |store| store.deliver(&readings)).await
    }

    fn note(&self) -> Option<String> {
        self.note.get()
    }

    fn hold(&self, hold: Hold) {
        self.worker.hold(hold);
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        self.call(Store::close).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context {
            inverters: Vec::new(),
            poll_interval: Duration::from_secs(5),
            state_dir: "/var/lib/kstar".into(),
            zone: kstar_model::TimeZone::UTC,
            version: "0",
        }
    }

    #[test]
    fn the_file_is_in_the_state_folder_unless_it_is_set() {
        let config: SqliteConfig = toml::from_str("").unwrap();
        assert_eq!(config.destination(&context()), "/var/lib/kstar/history.db");
        let config: SqliteConfig = toml::from_str("path = '/mnt/solar.db'").unwrap();
        assert_eq!(config.destination(&context()), "/mnt/solar.db");
    }

    #[test]
    fn what_cannot_name_a_file_is_refused() {
        for wrong in ["", "/", "..", "history/", "a\\u0000b"] {
            let config: SqliteConfig = toml::from_str(&format!("path = \"{wrong}\"")).unwrap();
            let error = config.validate(1).unwrap_err();
            assert_eq!(error.path, ["path".into()], "{wrong}");
        }
        for right in ["history", "./history.db", "/mnt/a b/../solar.db"] {
            let config: SqliteConfig = toml::from_str(&format!("path = \"{right}\"")).unwrap();
            config.validate(1).unwrap();
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = toml::from_str::<SqliteConfig>("file = 'a'").unwrap_err();
        assert!(error.message().contains("file"), "{error}");
    }
}
