//! The configuration to run with: the file, or what is built in, and what arguments and environment say in place of it.

use std::path::Path;

use kstar_common::setting::Secret;

use super::args::{ConfigArgs, PlaceArgs};
use super::environment::{environment, http_of_environment};
use super::failure::Failure;
use super::{kstar_sharp, serve};
use crate::config::{Config, ConfigFile, InverterSection, ListenAddress};
use crate::registry::{Publish, SinkSections};

/// Where the history goes without a configuration.
pub const BUILT_IN_DATABASE: &str = "kstar.db";

/// What arguments and environment say in place of the configuration, in the order of their precedence.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    place: PlaceArgs,
    broker: Option<String>,
    kstar_sharp: bool,
    http: Option<ListenAddress>,
    /// Where nothing is configured, no lines are written: a page is shown in their place.
    page: bool,
}

impl Overrides {
    /// What the arguments say, and `KSTAR_*` where they say nothing.
    pub fn new(
        place: PlaceArgs,
        broker: Option<String>,
        kstar_sharp: bool,
    ) -> Result<Self, Failure> {
        let broker_of_environment =
            || environment("KSTAR_MQTT").map(|value| value.to_string_lossy().into_owned());
        Ok(Self {
            place: place.or_environment()?,
            broker: broker.or_else(broker_of_environment),
            kstar_sharp,
            http: http_of_environment()?,
            page: false,
        })
    }

    /// Serves HTTP at this address.
    #[must_use]
    pub fn with_http(self, listen: Option<ListenAddress>) -> Self {
        Self {
            http: listen.or(self.http),
            ..self
        }
    }

    /// The same where a page may be shown.
    #[must_use]
    pub fn with_page(self, page: bool) -> Self {
        Self { page, ..self }
    }

    /// What the environment says as it did for kstar.sharp, which all else takes precedence over: only where there is no file.
    pub fn or_kstar_sharp(
        mut self,
        environment: Option<kstar_sharp::Environment>,
    ) -> Result<Self, Failure> {
        if let Some(environment) = environment {
            self.kstar_sharp = true;
            self.broker = self.broker.or(environment.broker);
            if let (None, Some(host)) = (&self.place.host, environment.host) {
                let host = host.parse();
                let host = host.map_err(|error| Failure::Usage(format!("IP: {error}")))?;
                self.place.host = Some(host);
            }
        }
        if self.kstar_sharp {
            self.broker
                .get_or_insert_with(|| kstar_sharp::BROKER.to_owned());
        }
        Ok(self)
    }
}

/// The configuration to run with, and what is said in place of it.
pub fn load(args: &ConfigArgs, overrides: Overrides) -> Result<(ConfigFile, Config), Failure> {
    let loaded = args.load()?;
    let environment = if loaded.is_none() {
        kstar_sharp::Environment::read()
    } else {
        None
    };
    let Overrides {
        place,
        broker,
        kstar_sharp,
        http,
        page,
    } = overrides.or_kstar_sharp(environment)?;
    let (source, mut config) = loaded.unwrap_or_else(|| {
        // kstar.sharp stored nothing, and its containers may have no place to.
        let sinks = if kstar_sharp {
            SinkSections::default()
        } else {
            let built_in = SinkSections::built_in(Path::new(BUILT_IN_DATABASE));
            if page {
                built_in.without_lines()
            } else {
                built_in
            }
        };
        (
            ConfigFile::new("built-in defaults", ""),
            Config {
                sinks,
                ..Config::default()
            },
        )
    });
    if let Some(broker) = broker {
        let publish = Publish {
            broker,
            user: user_of_environment(),
            usual_user: kstar_sharp.then(kstar_sharp::user),
            kstar_sharp_topics: kstar_sharp,
        };
        config.sinks.publish(publish).map_err(|error| {
            Failure::Usage(format!(
                "the broker that --mqtt, KSTAR_MQTT or MQTT names is wrong: {error}"
            ))
        })?;
    }
    serve::at(&mut config, http)?;
    if config.sinks.enabled().next().is_none() {
        let message = "no sink is enabled, so readings would go nowhere; add a section like [sinks.sqlite] or [sinks.stdout]";
        return Err(Failure::Usage(format!(
            "{}: {message}",
            source.path().display()
        )));
    }
    if !place.is_empty() {
        if config.inverters.is_empty() {
            config.inverters.push(InverterSection::default());
        }
        let [only] = &mut config.inverters[..] else {
            let message = format!(
                "--host (or KSTAR_HOST), --family and the like are for one inverter, and {} has {}; leave them out, or \
                 change them there",
                source.path().display(),
                config.inverters.len()
            );
            return Err(Failure::Usage(message));
        };
        place.put_on(only)?;
    }
    // What is said in its place must go with the rest.
    config.validate(&source)?;
    Ok((source, config))
}

/// The user at the broker that the environment names.
fn user_of_environment() -> Option<(String, Option<Secret>)> {
    const PASSWORD: &str = "KSTAR_MQTT_PASSWORD";
    let name = environment("KSTAR_MQTT_USERNAME")?;
    let password = environment(PASSWORD).map(|_| Secret::Env(PASSWORD.to_owned()));
    Some((name.to_string_lossy().into_owned(), password))
}
