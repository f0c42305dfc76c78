//! Readings as points in InfluxDB, or in a server that speaks its line protocol.
//!
//! - `config`: the section, and what may stand together in it;
//! - `line`: a reading as a line; it sends nothing;
//! - `server`: requests, the only part that knows influxdb2;
//! - `http`: the client for what influxdb2 cannot do;
//! - `answer`: what of an answer matters; `verdict`: what an answer means for the readings and for people;
//! - `probe`: a look at the server for `kstar check --connect`.
//!
//! A point's key is its measurement, its tags and its time, and all of them come from the reading and the section. So
//! a point that is written twice is one point, and a delivery whose answer was lost can be made again.

mod answer;
mod config;
mod http;
mod line;
mod probe;
mod server;
mod verdict;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use kstar_common::finding::Finding;
use kstar_common::host::is_private;
use kstar_common::key::KeyError;
use kstar_common::setting::Secret;
use kstar_sink::async_trait;
use kstar_sink::delivery::{Keep, Policy};
use kstar_sink::sink::{Batch, Context, DeliveryError, Sink, SinkConfig, Unavailable};
use tokio::task::JoinError;

pub use crate::config::InfluxdbConfig;
use crate::line::Layout;
use crate::server::{Server, Settings};

/// As much as stays below the megabyte at which proxies begin to say no.
const BATCH: NonZeroUsize = NonZeroUsize::new(500).unwrap();

/// The part of a delivery's time that a request may take: it must end first, since it knows the reason.
const PATIENCE: f64 = 0.8;

#[async_trait]
impl SinkConfig for InfluxdbConfig {
    const NAME: &'static str = "influxdb";

    fn policy(&self) -> Policy {
        Policy {
            linger: self.flush_interval,
            ..self
                .delivery
                .spooled_by_default()
                .policy(Keep::Every, BATCH)
        }
    }

    fn destination(&self, _context: &Context) -> String {
        match self.plan() {
            Ok(plan) => format!("{}, {}", plan.address, plan.target),
            Err(_) => self.url.to_string(),
        }
    }

    fn validate(&self, _inverters: usize) -> Result<(), KeyError> {
        self.plan().map(drop)
    }

    fn resolve(&self) -> Result<(), KeyError> {
        let plan = self.plan()?;
        plan.credentials.reveal()?;
        plan.tls().map(drop)
    }

    fn open(&self, context: &Context) -> Result<Box<dyn Sink>, Unavailable> {
        let settings = self
            .settings(context)
            .map_err(|error| Unavailable(error.message))?;
        if self.is_exposed() {
            tracing::warn!(server = %self.url, "{EXPOSED}; use https://");
        }
        Ok(Box::new(InfluxdbSink {
            layout: settings.plan.layout.clone(),
            server: Server::new(settings),
        }))
    }

    fn heeds(&self, before: &Context, after: &Context) -> bool {
        before.version != after.version
    }

    fn files(&self) -> Vec<PathBuf> {
        let secrets = [&self.token, &self.password].into_iter().flatten();
        secrets
            .filter_map(Secret::file)
            .chain(self.ca.clone())
            .collect()
    }

    async fn probe(&self, context: &Context) -> Vec<Finding> {
        let (section, known) = (self.clone(), context.clone());
        // Certificates are in files.
        let settings = tokio::task::spawn_blocking(move || section.settings(&known)).await;
        let broken = |error: JoinError| Err(KeyError::of_section(error.to_string()));
        let settings = match settings.unwrap_or_else(broken) {
            Ok(settings) => settings,
            Err(error) => return vec![Finding::failed("section", &error.message)],
        };
        let exposed = self
            .is_exposed()
            .then(|| Finding::note("secret", EXPOSED, "use https://"));
        let mut findings = Vec::from_iter(exposed);
        findings.extend(probe::look(&settings).await);
        findings
    }
}

/// What is said where others may read the secret on its way.
const EXPOSED: &str =
    "token or password go to the server in the clear, and it is not in your own network";

impl InfluxdbConfig {
    /// What `open` and a probe need. Reads the certificates.
    fn settings(&self, context: &Context) -> Result<Settings, KeyError> {
        let plan = self.plan()?;
        Ok(Settings {
            tls: plan.tls()?,
            plan,
            patience: self.policy().timeout.mul_f64(PATIENCE),
            version: context.version,
        })
    }

    /// Whether others may read the secret on its way.
    fn is_exposed(&self) -> bool {
        let has_secret = self.token.is_some() || self.password.is_some();
        has_secret && !self.url.is_secure() && !is_private(self.url.host())
    }
}

struct InfluxdbSink {
    layout: Layout,
    server: Server,
}

#[async_trait]
impl Sink for InfluxdbSink {
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<(), DeliveryError> {
        let lines = self.layout.lines(batch.iter());
        if lines.is_empty() {
            return Ok(());
        }
        self.server.write(lines).await
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        Ok(())
    }
}
