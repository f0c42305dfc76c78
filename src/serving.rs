//! HTTP as a unit that starts, changes and stops with the configuration.
//!
//! Where it is to listen elsewhere, the new one listens before the old one ends; where only something else changes, the
//! address has to be left for a moment. In a build without HTTP there is never anything to serve.

#[cfg(feature = "http")]
use std::path::PathBuf;

use kstar_sink::sink::Context;

use crate::collector::Collector;
use crate::config::{Config, ConfigError, Source};
#[cfg(feature = "http")]
use crate::http::{self, CannotStart};
#[cfg(feature = "http")]
use crate::tariff::Tariff;

/// What HTTP needs of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ServingPlan {
    #[cfg(feature = "http")]
    settings: http::Settings,
    /// What is in the token's file: only a hash, since that is a secret.
    #[cfg(feature = "http")]
    token: u64,
    #[cfg(feature = "http")]
    history: Option<PathBuf>,
    #[cfg(feature = "http")]
    tariffs: Vec<Tariff>,
}

impl ServingPlan {
    /// What this configuration asks for, if it does. Reads the token's file, so it blocks.
    #[cfg(feature = "http")]
    pub fn of(config: &Config, context: &Context) -> Option<Self> {
        let section = config.http.clone()?;
        #[cfg(feature = "history")]
        let history = config.sinks.history_file(context);
        #[cfg(not(feature = "history"))]
        let (history, _) = (None, context);
        let file = section
            .token
            .as_ref()
            .and_then(kstar_sink::setting::Secret::file);
        Some(Self {
            token: crate::setup::content(file),
            settings: http::Settings {
                listen: section.listen.0,
                token: section.token,
            },
            history,
            tariffs: config.tariffs.clone(),
        })
    }

    /// Nothing: this build has no HTTP.
    #[cfg(not(feature = "http"))]
    pub fn of(_config: &Config, _context: &Context) -> Option<Self> {
        None
    }
}

/// HTTP, if it is served.
#[derive(Debug, Default)]
pub struct Serving {
    #[cfg(feature = "http")]
    running: Option<http::Running>,
}

/// What is to become of HTTP; whatever could be wrong with it was found out already.
#[derive(Debug)]
pub enum NextServing {
    /// It stays as it is, or there is none.
    Kept,
    /// It ends.
    Stopped,
    /// Another one listens already.
    #[cfg(feature = "http")]
    Moved(http::Running),
    /// Another one takes the address that it has.
    #[cfg(feature = "http")]
    Replaced(ServingPlan),
}

#[cfg(feature = "http")]
impl Serving {
    /// Starts what a plan says.
    pub async fn start(
        &mut self,
        plan: Option<&ServingPlan>,
        collector: &Collector,
        source: &Source,
    ) -> Result<(), ConfigError> {
        if let Some(plan) = plan {
            let started = start(plan, collector).await;
            self.running = Some(started.map_err(|error| mistake(source, error))?);
        }
        Ok(())
    }

    /// Prepares to go from one plan to another; touches nothing that runs.
    pub async fn prepare(
        &self,
        before: Option<&ServingPlan>,
        after: Option<&ServingPlan>,
        collector: &Collector,
        source: &Source,
    ) -> Result<NextServing, ConfigError> {
        let runs = self.running.is_some();
        let Some(plan) = after else {
            return Ok(if runs {
                NextServing::Stopped
            } else {
                NextServing::Kept
            });
        };
        let here = before.filter(|_| runs);
        match here {
            Some(before) if before == plan => Ok(NextServing::Kept),
            Some(before) if before.settings.listen == plan.settings.listen => {
                if let Some(token) = plan.settings.token.clone() {
                    let wrong = |message| CannotStart {
                        key: "token",
                        message,
                    };
                    let revealed = http::revealed(token).await;
                    revealed.map_err(|message| mistake(source, wrong(message)))?;
                }
                Ok(NextServing::Replaced(plan.clone()))
            }
            _ => {
                let started = start(plan, collector).await;
                let started = started.map_err(|error| mistake(source, error))?;
                Ok(NextServing::Moved(started))
            }
        }
    }

    /// Goes to what was prepared.
    pub async fn change(&mut self, next: NextServing, collector: &Collector) {
        match next {
            NextServing::Kept => {}
            NextServing::Stopped => self.stop().await,
            NextServing::Moved(running) => {
                self.stop().await;
                self.running = Some(running);
            }
            NextServing::Replaced(plan) => {
                self.stop().await;
                match start(&plan, collector).await {
                    Ok(running) => self.running = Some(running),
                    Err(error) => tracing::error!(
                        key = error.key,
                        "HTTP is not served any more: {error}; reload again when that is mended"
                    ),
                }
            }
        }
    }

    /// Ends it, if it is there.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }
}

#[cfg(feature = "http")]
async fn start(plan: &ServingPlan, collector: &Collector) -> Result<http::Running, CannotStart> {
    let sources = http::Sources {
        board: collector.board().clone(),
        events: collector.events(),
        history: plan.history.clone(),
        tariffs: plan.tariffs.clone(),
    };
    http::start(plan.settings.clone(), sources).await
}

#[cfg(feature = "http")]
fn mistake(source: &Source, CannotStart { key, message }: CannotStart) -> ConfigError {
    source.http_error(
        key,
        format!("`{key}` of [http] (or --http, KSTAR_HTTP): {message}"),
    )
}

/// Where HTTP is not built there is nothing to do.
#[cfg(not(feature = "http"))]
#[expect(clippy::unused_async, reason = "the same form as where it is built")]
impl Serving {
    /// Starts nothing.
    pub async fn start(
        &mut self,
        _plan: Option<&ServingPlan>,
        _collector: &Collector,
        _source: &Source,
    ) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Prepares nothing.
    pub async fn prepare(
        &self,
        _before: Option<&ServingPlan>,
        _after: Option<&ServingPlan>,
        _collector: &Collector,
        _source: &Source,
    ) -> Result<NextServing, ConfigError> {
        Ok(NextServing::Kept)
    }

    /// Changes nothing.
    pub async fn change(&mut self, next: NextServing, _collector: &Collector) {
        match next {
            NextServing::Kept | NextServing::Stopped => {}
        }
    }

    /// Ends nothing.
    pub async fn stop(&mut self) {}
}
