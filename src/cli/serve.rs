//! HTTP beside a collector: what a configuration says of it, and its start and stop. Where it is not built, it does nothing.

#[cfg(feature = "http")]
pub(super) use built::{Plan, at};
#[cfg(not(feature = "http"))]
pub(super) use missing::{Plan, at};

#[cfg(feature = "http")]
mod built {
    use kstar_sink::sink::Context;

    use crate::cli::{Failure, HTTP_TOKEN, http_token_of_environment};
    use crate::collector::Collector;
    use crate::config::{Config, HttpSection, ListenAddress, Source};
    use crate::http::{self, CannotStart, Running, Settings, Sources};
    use crate::tariff::Tariff;

    /// Serves HTTP at this address, if there is one, in place of the configuration's.
    pub(in crate::cli) fn at(
        config: &mut Config,
        listen: Option<ListenAddress>,
    ) -> Result<(), Failure> {
        let Some(listen) = listen else {
            return Ok(());
        };
        let section = config.http.get_or_insert_with(|| HttpSection::new(listen));
        section.listen = listen;
        if let Some(token) = http_token_of_environment() {
            section.token = Some(token);
        }
        section.check().map_err(|error| {
            Failure::Usage(format!(
                "--http or KSTAR_HTTP: {error}. The environment may hold the token, in {HTTP_TOKEN}"
            ))
        })
    }

    /// What is to be served.
    #[derive(Clone, Debug)]
    pub(in crate::cli) struct Plan {
        section: Option<HttpSection>,
        history: Option<std::path::PathBuf>,
        tariffs: Vec<Tariff>,
        source: Source,
    }

    /// What is served.
    pub(in crate::cli) struct Served(Option<Running>);

    impl Plan {
        /// As a configuration says.
        #[cfg_attr(
            not(feature = "history"),
            expect(unused_variables, reason = "a build that asks no history")
        )]
        pub(in crate::cli) fn of(config: &Config, context: &Context, source: &Source) -> Self {
            Self {
                section: config.http.clone(),
                #[cfg(feature = "history")]
                history: config.sinks.history_file(context),
                #[cfg(not(feature = "history"))]
                history: None,
                tariffs: config.tariffs.clone(),
                source: source.clone(),
            }
        }

        /// Starts to tell what this collector does.
        pub(in crate::cli) async fn start(self, collector: &Collector) -> Result<Served, Failure> {
            let Some(section) = self.section else {
                return Ok(Served(None));
            };
            let settings = Settings {
                listen: section.listen.0,
                token: section.token,
            };
            let sources = Sources {
                board: collector.board().clone(),
                events: collector.events(),
                history: self.history,
                tariffs: self.tariffs,
            };
            let started = http::start(settings, sources).await;
            let running = started.map_err(|CannotStart { key, message }| {
                self.source
                    .http_error(key, format!("HTTP cannot start: {message}"))
            })?;
            Ok(Served(Some(running)))
        }
    }

    impl Served {
        /// Ends it.
        pub(in crate::cli) async fn stop(self) {
            if let Some(running) = self.0 {
                running.stop().await;
            }
        }
    }
}

#[cfg(not(feature = "http"))]
mod missing {
    use kstar_sink::sink::Context;

    use crate::cli::Failure;
    use crate::collector::Collector;
    use crate::config::{Config, HTTP_NOT_BUILT, ListenAddress, Source};

    pub(in crate::cli) fn at(
        _config: &mut Config,
        listen: Option<ListenAddress>,
    ) -> Result<(), Failure> {
        match listen {
            None => Ok(()),
            Some(_) => Err(Failure::Usage(format!(
                "--http or KSTAR_HTTP: {HTTP_NOT_BUILT}"
            ))),
        }
    }

    pub(in crate::cli) struct Plan;

    pub(in crate::cli) struct Served;

    impl Plan {
        pub(in crate::cli) fn of(_config: &Config, _context: &Context, _source: &Source) -> Self {
            Self
        }

        #[expect(clippy::unused_async, reason = "as where it is built")]
        pub(in crate::cli) async fn start(self, _collector: &Collector) -> Result<Served, Failure> {
            Ok(Served)
        }
    }

    impl Served {
        #[expect(clippy::unused_async, reason = "as where it is built")]
        pub(in crate::cli) async fn stop(self) {}
    }
}
