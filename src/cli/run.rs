//! `kstar run`: the program's main job, until it is stopped.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use kstar_common::setting::Secret;
use kstar_sink::event::Event;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::spawn_blocking;

use super::demo::Demonstration;
#[cfg(feature = "watch")]
use super::watch;
use super::{
    ConfigArgs, Failure, HOST_HELP, environment, host_of_environment, http_of_environment,
    kstar_sharp, serve,
};
use crate::config::{Config, ConfigFile, Host, InverterSection, ListenAddress};
use crate::registry::{Publish, SinkSections};
use crate::run::supervisor::{Read, Reloads};
use crate::run::{self, Order, Shown};

/// Where the history goes without a configuration.
pub(super) const BUILT_IN_DATABASE: &str = "kstar.db";

/// Who wants few words still wants to see that it works: a line every eight minutes at the usual interval.
const SUMMARY_EVERY: u64 = 100;

/// What a broker on the command line is for.
const MQTT_HELP: &str = "Publish to this MQTT broker, in place of the configuration's [env: KSTAR_MQTT, and for its user KSTAR_MQTT_USERNAME and KSTAR_MQTT_PASSWORD]";

/// What an address on the command line is for.
const HTTP_HELP: &str = "Serve metrics, health and the API here, in place of the configuration's address [env: KSTAR_HTTP, and for its token KSTAR_HTTP_TOKEN]";

/// What silence means.
const SILENT_HELP: &str =
    "Log only errors, and one line for a hundred readings [env: KSTAR_SILENT]";

/// What `kstar run` can be told.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[arg(long, value_name = "HOST[:PORT]", help = HOST_HELP)]
    host: Option<Host>,
    #[arg(long, value_name = "HOST|URL", help = MQTT_HELP)]
    mqtt: Option<String>,
    #[arg(long, value_name = "ADDRESS:PORT", help = HTTP_HELP)]
    http: Option<ListenAddress>,
    /// Publish the topics of kstar.sharp; set by its arguments --ip-…, --mqtt-… and by its environment
    #[arg(long, hide = true, action = clap::ArgAction::Count)]
    kstar_sharp: u8,
    #[arg(long, visible_alias = "quiet", help = SILENT_HELP)]
    silent: bool,
    /// Read a simulated inverter, whose day takes minutes: JSON lines, and a history in ./kstar-demo.db
    #[cfg_attr(
        feature = "demo",
        arg(long, conflicts_with_all = ["config", "host", "mqtt"])
    )]
    #[cfg_attr(not(feature = "demo"), arg(skip))]
    demo: bool,
}

impl RunArgs {
    /// Whether few words are wanted.
    pub(super) fn silent(&self) -> bool {
        self.silent
            || environment("KSTAR_SILENT").is_some()
            || (kstar_sharp::silent() && self.config.find().is_none())
    }

    /// What is said in place of the configuration.
    fn overrides(&self) -> Result<Overrides, Failure> {
        let overrides = Overrides::new(self.host.clone(), self.mqtt.clone(), self.kstar_sharp > 0)?;
        Ok(overrides.with_http(self.http))
    }

    /// What reads the configuration again, if it stands in a file: the same one, whatever is found elsewhere by then.
    fn read_again(&self, source: &ConfigFile) -> Option<Read> {
        if self.demo {
            return None;
        }
        self.config.find()?;
        let config = ConfigArgs {
            config: Some(source.path().to_owned()),
        };
        let args = Self {
            config,
            ..self.clone()
        };
        Some(Arc::new(move || {
            let read = || -> Result<_, Failure> {
                let (source, config) = load(&args.config, args.overrides()?)?;
                config.resolve(&source)?;
                Ok((source, config))
            };
            read().map_err(|failure| failure.to_string())
        }))
    }
}

/// What arguments and environment say in place of the configuration, in the order of their weight.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    host: Option<Host>,
    broker: Option<String>,
    kstar_sharp: bool,
    http: Option<ListenAddress>,
    /// Where nothing is configured, no lines are written: a page is shown in their place.
    page: bool,
}

impl Overrides {
    /// What the arguments say, and `KSTAR_*` where they say nothing.
    pub(super) fn new(
        host: Option<Host>,
        broker: Option<String>,
        kstar_sharp: bool,
    ) -> Result<Self, Failure> {
        let broker_of_environment =
            || environment("KSTAR_MQTT").map(|value| value.to_string_lossy().into_owned());
        Ok(Self {
            host: match host {
                Some(host) => Some(host),
                None => host_of_environment()?,
            },
            broker: broker.or_else(broker_of_environment),
            kstar_sharp,
            http: http_of_environment()?,
            page: false,
        })
    }

    /// Serves HTTP at this address.
    fn with_http(self, listen: Option<ListenAddress>) -> Self {
        Self {
            http: listen.or(self.http),
            ..self
        }
    }

    /// The same where a page may be shown.
    fn with_page(self, page: bool) -> Self {
        Self { page, ..self }
    }

    /// What the environment says as it did for kstar.sharp, which weighs least: only where there is no file.
    fn or_kstar_sharp(
        mut self,
        environment: Option<kstar_sharp::Environment>,
    ) -> Result<Self, Failure> {
        if let Some(environment) = environment {
            self.kstar_sharp = true;
            self.broker = self.broker.or(environment.broker);
            if let (None, Some(host)) = (&self.host, environment.host) {
                self.host = Some(
                    host.parse()
                        .map_err(|error| Failure::Usage(format!("IP: {error}")))?,
                );
            }
        }
        if self.kstar_sharp {
            self.broker
                .get_or_insert_with(|| kstar_sharp::BROKER.to_owned());
        }
        Ok(self)
    }
}

/// Collects until `shutdown` is ready, and reads the configuration again with each of `reloads`. Where few words are
/// wanted, each hundredth reading is told to `summary`.
pub async fn run(
    args: RunArgs,
    summary: impl Fn(&str) + Send + 'static,
    shutdown: impl Future<Output = ()>,
    reloads: &Reloads,
) -> Result<(), Failure> {
    let demo = if args.demo {
        Some(Demonstration::start().await?)
    } else {
        None
    };
    let silent = args.silent();
    let page = !args.demo && !silent && page_is_possible();
    let (source, config) = match &demo {
        Some(inverter) => {
            let mut config = inverter.config();
            serve::at(&mut config, args.http.or(http_of_environment()?))?;
            (ConfigFile::new("demonstration", ""), config)
        }
        None => load(&args.config, args.overrides()?.with_page(page))?,
    };
    let (source, config) = resolved(source, config).await?;
    #[cfg(feature = "watch")]
    let page = page.then(|| watch::Plan::of_run(&config)).flatten();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %source.path().display(), "starting");
    let order = Order {
        read: args.read_again(&source),
        remembers: demo.is_none(),
        file: source,
        config,
    };
    let watch = |shown: Shown| {
        if silent {
            tokio::spawn(summarize(shown.events.resubscribe(), summary));
        }
        #[cfg(feature = "watch")]
        let shutdown = watch::beside(page, shown.board, shown.events, shutdown);
        shutdown
    };
    let ended = run::run(order, watch, reloads).await;
    if let Some(inverter) = demo {
        inverter.stop().await;
    }
    match ended {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Logged),
        Err(reason) => Err(Failure::Runtime(reason)),
    }
}

/// Whether standard output is a terminal that can show the live page.
fn page_is_possible() -> bool {
    #[cfg(feature = "watch")]
    return watch::is_possible();
    #[cfg(not(feature = "watch"))]
    false
}

/// Says one line for a hundred readings, for those who want few words.
async fn summarize(mut events: broadcast::Receiver<Event>, say: impl Fn(&str)) {
    let mut count = 0_u64;
    loop {
        match events.recv().await {
            Ok(Event::Reading(reading)) => {
                count += 1;
                if count.is_multiple_of(SUMMARY_EVERY) {
                    say(&format!(
                        "{count} readings, the last of {} at {}",
                        reading.inverter.name, reading.time
                    ));
                }
            }
            Ok(Event::Undated(reading)) => {
                count += 1;
                if count.is_multiple_of(SUMMARY_EVERY) {
                    say(&format!(
                        "{count} readings, the last of {}; the clock is not set",
                        reading.inverter.name
                    ));
                }
            }
            Ok(Event::Status(_) | Event::Clock(_)) => {}
            Err(RecvError::Lagged(missed)) => count += missed,
            Err(RecvError::Closed) => return,
        }
    }
}

/// The configuration to run with, and what is said in place of it.
pub(super) fn load(
    args: &ConfigArgs,
    overrides: Overrides,
) -> Result<(ConfigFile, Config), Failure> {
    let loaded = args.load()?;
    let environment = if loaded.is_none() {
        kstar_sharp::Environment::read()
    } else {
        None
    };
    let Overrides {
        host,
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
    if let Some(host) = host {
        match &mut config.inverters[..] {
            [] => config.inverters.push(InverterSection {
                host: Some(host),
                ..InverterSection::default()
            }),
            [only] => only.host = Some(host),
            several => {
                let message = format!(
                    "--host (or KSTAR_HOST) is for one inverter, and {} has {}; leave it away, or change the host there",
                    source.path().display(),
                    several.len()
                );
                return Err(Failure::Usage(message));
            }
        }
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

/// The same, where the secrets and certificates that are named are there: looked for on a thread that may block.
async fn resolved(source: ConfigFile, config: Config) -> Result<(ConfigFile, Config), Failure> {
    let resolving = spawn_blocking(move || config.resolve(&source).map(|()| (source, config)));
    match resolving.await {
        Ok(resolved) => Ok(resolved?),
        Err(error) => Err(Failure::Runtime(format!(
            "reading the secrets has failed: {error}; please report this"
        ))),
    }
}
