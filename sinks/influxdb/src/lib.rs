//! Readings as points in InfluxDB, or in a server that speaks its line protocol.
//!
//! - `config`: the section, and what may stand together in it;
//! - `line`: a reading as a line; it sends nothing;
//! - `server`: requests, the only part that knows influxdb2 and the HTTP client below it;
//! - `verdict`: what an answer means for the readings and for people;
//! - `tls`: whom we trust.
//!
//! A point's key is its measurement, its tags and its time, and all of them come from the reading and the section. So
//! a point that is written twice is one point, and a delivery whose answer was lost can be made again.

mod config;
mod line;
mod server;
mod tls;
mod verdict;

use std::num::NonZeroUsize;

use kstar_sink::async_trait;
use kstar_sink::delivery::{Keep, Policy};
use kstar_sink::host::is_private;
use kstar_sink::sink::{Batch, Context, DeliveryError, Misconfigured, Sink, SinkConfig};

use crate::config::Credentials;
pub use crate::config::InfluxdbConfig;
use crate::line::Layout;
use crate::server::{Server, Settings};

/// As much as stays below the megabyte at which proxies begin to say no.
const BATCH: NonZeroUsize = NonZeroUsize::new(500).unwrap();

/// The part of a delivery's time that a request may take: it must end first, since it knows the reason.
const PATIENCE: f64 = 0.8;

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
        format!("{}, {}", self.address, self.target)
    }

    fn open(&self, context: &Context) -> Result<Box<dyn Sink>, Misconfigured> {
        // A secret that is missing now is a mistake; one that becomes wrong later is an outage.
        server::reveal(&self.credentials).map_err(Misconfigured)?;
        let tls = self
            .address
            .is_secure()
            .then(|| tls::configuration(self.ca.as_deref()));
        if !matches!(self.credentials, Credentials::Nobody)
            && !self.address.is_secure()
            && !is_private(self.address.host())
        {
            tracing::warn!(
                server = %self.address,
                "token or password go to the server in the clear, and it is not in your own network; use https://"
            );
        }
        Ok(Box::new(InfluxdbSink {
            layout: self.layout.clone(),
            server: Server::new(Settings {
                config: self.clone(),
                tls: tls.transpose().map_err(Misconfigured)?,
                patience: self.policy().timeout.mul_f64(PATIENCE),
                version: context.version,
            }),
        }))
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
