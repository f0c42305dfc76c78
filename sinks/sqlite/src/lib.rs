//! A history of all readings in one SQLite file, readable with any SQLite tool while it is written.
//!
//! - `schema`: tables, columns and views, all made from the catalogue; it runs nothing;
//! - `store`: the file: opening, widening, writing, closing; it knows no async code;
//! - `probe`: a look at the file for `kstar check --connect`.
//!
//! The sink itself only puts the store on a thread of its own, since a disk may take its time. No quantity is named
//! anywhere in this crate.

mod probe;
mod schema;
mod store;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use kstar_sink::async_trait;
use kstar_sink::delivery::{DeliverySettings, Keep, Policy};
use kstar_sink::finding::Finding;
use kstar_sink::sink::{Batch, Context, DeliveryError, Misconfigured, Sink, SinkConfig};
use kstar_sink::worker::{NoAnswer, Upkeep, Worker};
use serde::Deserialize;

use crate::store::Store;

/// A transaction of this size takes some ten milliseconds, so that catching up keeps no reader waiting.
const BATCH: NonZeroUsize = NonZeroUsize::new(500).unwrap();

/// How often what was written is put on the disk for good: what a power cut may cost.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// The section `[sinks.sqlite]`: a history in one file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteConfig {
    /// The file; `history.db` in the state folder where nothing is said. A folder that is missing is made.
    pub path: Option<PathBuf>,
    /// How readings are delivered.
    pub delivery: DeliverySettings,
}

impl SqliteConfig {
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

    fn open(&self, context: &Context) -> Result<Box<dyn Sink>, Misconfigured> {
        // A lock is waited for inside the delivery, so that its end has a reason and not just a time-out.
        let patience = self.policy().timeout.mul_f64(0.8);
        let store = Store::open(&self.file(context), patience)?;
        let upkeep = Upkeep {
            every: CHECKPOINT,
            run: Store::checkpoint,
        };
        let worker = Worker::start("sqlite", store, Some(upkeep))
            .map_err(|error| Misconfigured(no_thread(&error)))?;
        Ok(Box::new(SqliteSink { worker }))
    }

    async fn probe(&self, context: &Context) -> Vec<Finding> {
        let (path, known) = (self.file(context), context.clone());
        let worker = match Worker::start("sqlite", (), None) {
            Ok(worker) => worker,
            Err(error) => return vec![Finding::failed("file", &no_thread(&error))],
        };
        worker
            .call(move |()| probe::look(&path, &known))
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
    fn an_unknown_key_is_refused() {
        let error = toml::from_str::<SqliteConfig>("file = 'a'").unwrap_err();
        assert!(error.message().contains("file"), "{error}");
    }
}
