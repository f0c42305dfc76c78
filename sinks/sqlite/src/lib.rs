//! A history of all readings in one SQLite file, readable with any SQLite tool while it is written.
//!
//! - `accounts`, `spread`: who has counted what, and for which time; `rivals`: another collector that counts it too;
//! - `moments`: what time it is, as readings tell; `apart`: samples from when the clock was wrong;
//! - `recount`, `repair`: what earlier versions and wrong clocks have left is put right;
//! - `schema`: tables and columns, all made from the catalogue; it runs nothing;
//! - `views`: the same for people, in physical units;
//! - `level`, `rollup`: spans of time, and what the samples in them come to; both know no file;
//! - `settings`, `columns`, `sums`: what the file says of the program that writes it, of samples, and of their sums;
//! - `stale`, `settle`: which sums are to be computed, and that it is done bit by bit;
//! - `widen`, `database` with `known`, `retention`: a file is brought up to date, written, and relieved of what is old;
//! - `store`: the file as the sink has it, with its outages; it knows no async code;
//! - [`history`]: the file for those who ask it; `importer`: for those who bring readings of the past;
//! - `failure`, `place`: why a file cannot be used, in words, and whether it is still where it was;
//! - `probe`: a look at the file for `kstar check --connect`.
//!
//! The sink itself only puts the store on a thread of its own, since a disk may take its time. No quantity is named
//! anywhere in this crate.

mod accounts;
mod apart;
mod columns;
mod database;
mod failure;
pub mod history;
mod importer;
mod known;
mod level;
mod moments;
mod place;
mod probe;
#[cfg(test)]
mod properties;
mod recount;
mod repair;
mod retention;
mod rivals;
mod rollup;
mod schema;
mod settings;
mod settle;
mod spread;
mod stale;
mod store;
mod sums;
mod views;
mod widen;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use kstar_common::finding::Finding;
use kstar_common::hold::Hold;
use kstar_common::key::KeyError;
use kstar_common::worker::{NoAnswer, Upkeep, Worker};
use kstar_sink::async_trait;
use kstar_sink::delivery::{DeliverySettings, Keep, Policy};
use kstar_sink::sink::{Batch, Context, DeliveryError, OpenError, Sink, SinkConfig};
use serde::Deserialize;

pub use crate::retention::KeepFor;
use crate::retention::Retention;
use crate::settings::Settings;
use crate::store::{Note, Store};

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

/// So that a file of many years stays at a few gigabytes.
const KEEP_RAW: KeepFor = KeepFor::Span(Duration::from_secs(400 * 24 * 60 * 60));

impl Default for SqliteConfig {
    fn default() -> Self {
        Self {
            path: None,
            keep_raw: KEEP_RAW,
            keep_5min: KeepFor::Forever,
            keep_hours: KeepFor::Forever,
            keep_days: KeepFor::Forever,
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
            Some(path) if !place::may_be_file(path) => {
                let message = format!(
                    "`{}` is no path of a file; write one, like \"/var/lib/kstar/history.db\"",
                    path.display()
                );
                Err(KeyError::new("path", message))
            }
            _ => Ok(()),
        }
    }

    fn open(&self, context: &Context) -> Result<Box<dyn Sink>, OpenError> {
        // A lock is waited for inside the delivery, so that its end has a reason and not just a time-out.
        let patience = self.policy().timeout.mul_f64(0.8);
        let settings = Settings::new(context.zone.clone(), context.poll_interval);
        let store = Store::open(&self.file(context), patience, settings, self.retention())?;
        let upkeep = Upkeep {
            every: UPKEEP,
            run: Store::upkeep,
        };
        let note = store.note();
        let worker = Worker::start("sqlite", store, Some(upkeep))
            .map_err(|error| OpenError(no_thread(&error)))?;
        Ok(Box::new(SqliteSink { worker, note }))
    }

    fn heeds(&self, before: &Context, after: &Context) -> bool {
        let settings =
            |context: &Context| Settings::new(context.zone.clone(), context.poll_interval);
        settings(before) != settings(after) || self.file(before) != self.file(after)
    }

    async fn probe(&self, context: &Context) -> Vec<Finding> {
        let (path, kept, known) = (self.file(context), self.keep_raw, context.clone());
        let worker = match Worker::start("sqlite", (), None) {
            Ok(worker) => worker,
            Err(error) => return vec![Finding::failed("file", &no_thread(&error))],
        };
        worker
            .call(move |()| probe::look(&path, kept, &known))
            .await
            .unwrap_or_else(|no_answer| {
                let reason = format!("cannot look at it: {no_answer}; please report this");
                vec![Finding::failed("file", &reason)]
            })
    }
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
        job: impl FnOnce(&mut Store) -> Result<(), DeliveryError> + Send + 'static,
    ) -> Result<(), DeliveryError> {
        self.worker.call(job).await.unwrap_or_else(|no_answer| {
            Err(DeliveryError::unreachable(match no_answer {
                NoAnswer::Busy => {
                    "the disk is still busy with the readings before; if that stays so, look for a failing disk"
                }
                NoAnswer::Gone => "the thread that writes the history has ended; restart the program",
            }))
        })
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
            zone: kstar_sink::TimeZone::UTC,
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
