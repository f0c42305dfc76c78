//! `kstar run`: the program's main job, until it is stopped.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kstar_sink::reading::Event;
use kstar_sink::setting::Secret;
use kstar_sink::sink::Context;
use tokio::sync::broadcast::{self, error::RecvError};

#[cfg(feature = "watch")]
use super::watch;
use super::{ConfigArgs, Failure, HOST_HELP, environment, host_of_environment, kstar_sharp};
use crate::clock::WallClock;
use crate::collector::{Collector, InverterPlan, Metering, SinkEnding, SinkPlan};
use crate::config::{Config, Host, InverterSection, Source};
use crate::gate::rules::Rule;
use crate::ledger::file::LedgerFile;
use crate::ledger::keeper::{Closing, Keeper};
use crate::lock::StateLock;
use crate::poll::Manners;
use crate::simulator;
use crate::sinks::{Publish, SinkSections};

/// Where the history goes without a configuration.
pub(super) const BUILT_IN_DATABASE: &str = "kstar.db";

/// Where a demonstration's history goes.
const DEMO_DATABASE: &str = "kstar-demo.db";

/// A demonstration's day takes two and a half minutes.
const DEMO_SPEED: f64 = 600.0;

/// Who wants few words still wants to see that it works: a line every eight minutes at the usual interval.
const SUMMARY_EVERY: u64 = 100;

/// What a broker on the command line is for.
const MQTT_HELP: &str = "Publish to this MQTT broker, in place of the configuration's [env: KSTAR_MQTT, and for its user KSTAR_MQTT_USERNAME and KSTAR_MQTT_PASSWORD]";

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
    /// Publish the topics of kstar.sharp; set by its arguments --ip-…, --mqtt-… and by its environment
    #[arg(long, hide = true, action = clap::ArgAction::Count)]
    kstar_sharp: u8,
    #[arg(long, visible_alias = "quiet", help = SILENT_HELP)]
    silent: bool,
    /// Read a simulated inverter, whose day takes minutes: JSON lines, and a history in ./kstar-demo.db
    #[arg(long, conflicts_with_all = ["config", "host", "mqtt"])]
    demo: bool,
}

impl RunArgs {
    /// Whether few words are wanted.
    pub(super) fn silent(&self) -> bool {
        self.silent
            || environment("KSTAR_SILENT").is_some()
            || (kstar_sharp::silent() && self.config.find().is_none())
    }
}

/// What arguments and environment say in place of the configuration, in the order of their weight.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    host: Option<Host>,
    broker: Option<String>,
    kstar_sharp: bool,
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
            page: false,
        })
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

/// Collects until `shutdown` is ready. Where few words are wanted, each hundredth reading is told to `summary`.
pub async fn run(
    args: RunArgs,
    summary: impl Fn(&str) + Send + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let demo = if args.demo {
        Some(start_demo().await?)
    } else {
        None
    };
    let silent = args.silent();
    let page = !args.demo && !silent && page_is_possible();
    let (source, config) = match &demo {
        Some(inverter) => (Source::new("demonstration", ""), demo_config(inverter)),
        None => load(
            &args.config,
            Overrides::new(args.host, args.mqtt, args.kstar_sharp > 0)?.with_page(page),
        )?,
    };
    #[cfg(feature = "watch")]
    let page = page.then(|| watch::Plan::of_run(&config)).flatten();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %source.path().display(), "starting");
    let grace = config.collector.grace;
    let inverters = inverter_plans(&config);
    let context = context(&config);
    let settings = config.metering();
    // Held to the end. A demonstration keeps nothing.
    let _lock = if demo.is_none() {
        lock(context.state_dir.clone()).await?
    } else {
        None
    };
    let (keeper, closing) = if demo.is_none() {
        open_ledger(context.state_dir.clone()).await?
    } else {
        (Keeper::default(), Closing::default())
    };
    let metering = Metering {
        settings,
        keeper,
        closing,
    };
    let mut shutdown = std::pin::pin!(shutdown);
    let sinks = tokio::select! {
        // A locked history may take seconds to open.
        () = &mut shutdown => return Ok(()),
        sinks = open_sinks(config.sinks, context, grace / 2, source) => sinks?,
    };

    let mut collector = Collector::new(WallClock::default(), metering);
    for sink in sinks {
        collector.start_sink(sink);
    }
    if silent {
        tokio::spawn(summarize(collector.subscribe(), summary));
    }
    for inverter in inverters {
        tracing::info!(inverter = &*inverter.name, host = %inverter.target, "polling");
        collector.start_inverter(inverter).await;
    }
    #[cfg(feature = "watch")]
    let shutdown = std::pin::pin!(watch::beside(
        page,
        collector.board().clone(),
        collector.subscribe(),
        shutdown
    ));
    let all_well = collect(&mut collector, shutdown).await;
    let drained = collector.stop(grace).await;
    if let Some(inverter) = demo {
        inverter.stop().await;
    }
    if all_well && drained {
        Ok(())
    } else {
        Err(Failure::Logged)
    }
}

/// Whether standard output is a terminal that can show the live page.
fn page_is_possible() -> bool {
    #[cfg(feature = "watch")]
    return watch::is_possible();
    #[cfg(not(feature = "watch"))]
    false
}

/// Waits for the end: the order to stop, a far side that has ended in order, or no sink left. Says whether no sink
/// has broken.
async fn collect(
    collector: &mut Collector,
    mut shutdown: impl Future<Output = ()> + Unpin,
) -> bool {
    let mut all_well = true;
    loop {
        tokio::select! {
            () = &mut shutdown => return all_well,
            (_, ending) = collector.sink_ended() => match ending {
                SinkEnding::FarSideClosed => return all_well,
                _ => all_well = false,
            },
        }
        if !collector.has_sinks() {
            tracing::error!("no sink is left to collect for");
            return false;
        }
    }
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
            Ok(Event::Status(_)) => {}
            Err(RecvError::Lagged(missed)) => count += missed,
            Err(RecvError::Closed) => return,
        }
    }
}

/// The configuration to run with, and what is said in place of it.
pub(super) fn load(args: &ConfigArgs, overrides: Overrides) -> Result<(Source, Config), Failure> {
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
            Source::new("built-in defaults", ""),
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
    Ok((source, config))
}

/// The user at the broker that the environment names.
fn user_of_environment() -> Option<(String, Option<Secret>)> {
    const PASSWORD: &str = "KSTAR_MQTT_PASSWORD";
    let name = environment("KSTAR_MQTT_USERNAME")?;
    let password = environment(PASSWORD).map(|_| Secret::Env(PASSWORD.to_owned()));
    Some((name.to_string_lossy().into_owned(), password))
}

async fn start_demo() -> Result<simulator::Running, Failure> {
    let config = simulator::Config {
        speed: DEMO_SPEED,
        discovery: None,
        ..simulator::Config::new(1)
    };
    simulator::start(config)
        .await
        .map_err(|error| Failure::Runtime(error.to_string()))
}

fn demo_config(inverter: &simulator::Running) -> Config {
    let address = inverter.data_address();
    let host = Host::At {
        host: address.ip().to_string(),
        port: address.port(),
    };
    let mut config = Config {
        inverters: vec![InverterSection {
            host: Some(host),
            ..InverterSection::default()
        }],
        sinks: SinkSections::built_in(Path::new(DEMO_DATABASE)),
        ..Config::default()
    };
    config.collector.poll_interval = Duration::from_secs(1);
    // Its day takes minutes, so its counters do run faster than any inverter's.
    config.gate.off = vec![Rule::CounterJump];
    config
}

/// What sinks may know of a configuration.
pub(super) fn context(config: &Config) -> Context {
    Context {
        inverters: config
            .inverters()
            .iter()
            .map(|inverter| Arc::from(inverter.name.as_str()))
            .collect(),
        poll_interval: config.collector.poll_interval,
        state_dir: config.state_dir(),
        zone: config.zone(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// How each inverter is polled.
pub(super) fn inverter_plans(config: &Config) -> Vec<InverterPlan> {
    let collector = &config.collector;
    let plan = |inverter: InverterSection| InverterPlan {
        gate: config.gate(&inverter),
        name: inverter.name.as_str().into(),
        target: inverter.target(collector),
        manners: Manners::new(
            inverter.ap_address,
            collector.timeout,
            collector.tries.get(),
            collector.allow_fast_polling,
        ),
        interval: collector.poll_interval,
    };
    config.inverters().into_iter().map(plan).collect()
}

/// Takes the lock of the state folder, on a thread that may block.
async fn lock(state_dir: PathBuf) -> Result<Option<StateLock>, Failure> {
    match tokio::task::spawn_blocking(move || StateLock::take(&state_dir)).await {
        Ok(lock) => lock.map_err(|held| Failure::Usage(held.to_string())),
        Err(error) => Err(Failure::Runtime(format!(
            "locking the state folder has failed: {error}"
        ))),
    }
}

/// Opens the energy counters of the state folder, on a thread that may block, and starts to keep them.
async fn open_ledger(state_dir: PathBuf) -> Result<(Keeper, Closing), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Runtime(error.to_string());
    let opened = tokio::task::spawn_blocking(move || LedgerFile::open(&state_dir)).await;
    let ledger = opened
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))?;
    Keeper::start(ledger).map_err(|error| failed(&error))
}

/// Opens every sink on a thread that may block.
async fn open_sinks(
    sections: SinkSections,
    context: Context,
    draining: Duration,
    source: Source,
) -> Result<Vec<SinkPlan>, Failure> {
    for section in sections.enabled() {
        tracing::info!(
            sink = section.name(),
            destination = section.destination(&context),
            "opening"
        );
    }
    let opened = tokio::task::spawn_blocking(move || sections.open(&context, draining)).await;
    match opened {
        Ok(Ok(sinks)) => Ok(sinks),
        Ok(Err((name, error))) => Err(source
            .sink_error(name, format!("the sink {name} cannot work: {error}"))
            .into()),
        Err(error) => Err(Failure::Runtime(format!(
            "opening the sinks has failed: {error}"
        ))),
    }
}
