//! `kstar run`: the program's main job, until it is stopped.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use clap::Args;
use kstar_sink::event::Event;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::spawn_blocking;

use super::demo::{Demonstration, Wishes};
use super::shared::args::{ConfigArgs, PlaceArgs};
use super::shared::environment::environment;
use super::shared::environment::http_of_environment;
use super::shared::failure::Failure;
use super::shared::kstar_sharp;
use super::shared::load::{Overrides, load};
#[cfg(feature = "watch")]
use super::watch;
use crate::config::{Config, ConfigFile, ListenAddress};
use crate::run::{self, Memory, Order, Shown};
use crate::run::{Read, Reloads};

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
    #[command(flatten)]
    place: PlaceArgs,
    #[arg(long, value_name = "HOST|URL", help = MQTT_HELP)]
    mqtt: Option<String>,
    #[arg(long, value_name = "ADDRESS:PORT", help = HTTP_HELP)]
    http: Option<ListenAddress>,
    /// Publish the topics of kstar.sharp; set by its arguments --ip-…, --mqtt-… and by its environment
    #[arg(long, hide = true, action = clap::ArgAction::Count)]
    kstar_sharp: u8,
    #[arg(long, visible_alias = "quiet", help = SILENT_HELP)]
    silent: bool,
    /// Read a simulated inverter with 13 months of history in ./kstar-demo.db; --family plays another one
    #[cfg_attr(
        feature = "demo",
        arg(long, conflicts_with_all = ["config", "host", "via", "unit", "logger_serial", "mqtt"])
    )]
    #[cfg_attr(not(feature = "demo"), arg(skip))]
    demo: bool,
    /// Simulated seconds in a second, for --demo: 600 makes a day pass in less than three minutes
    #[cfg_attr(
        feature = "demo",
        arg(long, value_name = "FACTOR", requires = "demo", value_parser = super::simulate::parse_speed)
    )]
    #[cfg_attr(not(feature = "demo"), arg(skip))]
    speed: Option<f64>,
    /// Write the readings of --demo as JSON lines also on a terminal
    #[cfg_attr(feature = "demo", arg(long, requires = "demo"))]
    #[cfg_attr(not(feature = "demo"), arg(skip))]
    json: bool,
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
        let overrides =
            Overrides::new(self.place.clone(), self.mqtt.clone(), self.kstar_sharp > 0)?;
        Ok(overrides.with_http(self.http))
    }

    /// What a demonstration is told, if one is wanted.
    fn wishes(&self, page: bool) -> Result<Option<Wishes>, Failure> {
        if !self.demo {
            return Ok(None);
        }
        Ok(Some(Wishes {
            place: self.place.clone(),
            speed: self.speed.unwrap_or(1.0),
            http: self.http.or(http_of_environment()?),
            lines: !page,
        }))
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

/// Collects until `shutdown` is ready, and reads the configuration again with each of `reloads`. Where few words are
/// wanted, each hundredth reading is told to `summary`.
pub async fn run(
    args: RunArgs,
    summary: impl Fn(&str) + Send + 'static,
    shutdown: impl Future<Output = ()>,
    reloads: &Reloads,
) -> Result<(), Failure> {
    let mut shutdown = pin!(shutdown);
    let silent = args.silent();
    let page = !args.json && !silent && page_is_possible();
    let mut demo = None;
    if let Some(wishes) = args.wishes(page)? {
        let started = Demonstration::start(wishes, shutdown.as_mut()).await?;
        // It may be stopped before there is anything to run.
        let Some(started) = started else {
            return Ok(());
        };
        demo = Some(started);
    }
    let (source, config) = match &mut demo {
        Some(demo) => (ConfigFile::new("demonstration", ""), demo.take_config()),
        None => load(&args.config, args.overrides()?.with_page(page))?,
    };
    let (source, config) = resolved(source, config).await?;
    #[cfg(feature = "watch")]
    let page = page.then(|| watch::Plan::of_run(&config)).flatten();
    if demo.is_none() {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %source.path().display(), "starting");
    }
    let order = Order {
        read: args.read_again(&source),
        memory: memory(demo.as_mut()),
        file: source,
        config,
    };
    let commands = demo.as_ref().map(Demonstration::commands);
    let watch = |shown: Shown| {
        if silent {
            tokio::spawn(summarize(shown.events.resubscribe(), summary));
        }
        async move {
            // Polled as soon as everything is started.
            if let Some(commands) = commands {
                tracing::info!("{commands}");
            }
            #[cfg(feature = "watch")]
            let shutdown = watch::beside(page, shown.board, shown.events, shutdown);
            shutdown.await;
        }
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

/// Where energies are remembered: a demonstration goes on from its past and keeps nothing.
fn memory(demo: Option<&mut Demonstration>) -> Memory {
    demo.map_or(Memory::Folder, |demo| Memory::Process(demo.take_accounts()))
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
            Ok(
                Event::Site(_)
                | Event::Status(_)
                | Event::Clock(_)
                | Event::Collector(_)
                | Event::Price(_),
            ) => {}
            Err(RecvError::Lagged(missed)) => count += missed,
            Err(RecvError::Closed) => return,
        }
    }
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
