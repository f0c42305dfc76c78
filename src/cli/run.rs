//! `kstar run`: the program's main job, until it is stopped.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kstar_sink::sink::Context;

use super::{ConfigArgs, Failure, HOST_HELP, host_of_environment};
use crate::clock::WallClock;
use crate::collector::{Collector, InverterPlan, SinkEnding, SinkPlan};
use crate::config::{Config, Host, InverterSection, Source};
use crate::poll::Manners;
use crate::simulator;
use crate::sinks::SinkSections;

/// Where the history goes without a configuration.
const BUILT_IN_DATABASE: &str = "kstar.db";

/// Where a demonstration's history goes.
const DEMO_DATABASE: &str = "kstar-demo.db";

/// A demonstration's day takes two and a half minutes.
const DEMO_SPEED: f64 = 600.0;

/// What `kstar run` can be told.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[arg(long, value_name = "HOST[:PORT]", help = HOST_HELP)]
    host: Option<Host>,
    /// Read a simulated inverter, whose day takes minutes: JSON lines, and a history in ./kstar-demo.db
    #[arg(long, conflicts_with_all = ["config", "host"])]
    demo: bool,
}

/// Collects until `shutdown` is ready.
pub async fn run(args: RunArgs, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    let demo = if args.demo {
        Some(start_demo().await?)
    } else {
        None
    };
    let (source, config) = match (&demo, args.host) {
        (Some(inverter), _) => (Source::new("demonstration", ""), demo_config(inverter)),
        (None, None) => load(&args.config, host_of_environment()?)?,
        (None, host) => load(&args.config, host)?,
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %source.path().display(), "starting");
    let grace = config.collector.grace;
    let inverters = inverter_plans(&config);
    let context = context(&config);
    let mut shutdown = std::pin::pin!(shutdown);
    let sinks = tokio::select! {
        // A locked history may take seconds to open.
        () = &mut shutdown => return Ok(()),
        sinks = open_sinks(config.sinks, context, source) => sinks?,
    };

    let mut collector = Collector::new(WallClock::default());
    for sink in sinks {
        collector.start_sink(sink);
    }
    for inverter in inverters {
        tracing::info!(inverter = &*inverter.name, host = %inverter.target, "polling");
        collector.start_inverter(inverter).await;
    }
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

/// The configuration to run with; `host` takes the place of its only inverter's.
pub(super) fn load(args: &ConfigArgs, host: Option<Host>) -> Result<(Source, Config), Failure> {
    let (source, mut config) = args.load()?.unwrap_or_else(|| {
        let config = Config {
            sinks: SinkSections::built_in(Path::new(BUILT_IN_DATABASE)),
            ..Config::default()
        };
        (Source::new("built-in defaults", ""), config)
    });
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
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// How each inverter is polled.
pub(super) fn inverter_plans(config: &Config) -> Vec<InverterPlan> {
    let collector = &config.collector;
    let plan = |inverter: InverterSection| InverterPlan {
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

/// Opens every sink on a thread that may block.
async fn open_sinks(
    sections: SinkSections,
    context: Context,
    source: Source,
) -> Result<Vec<SinkPlan>, Failure> {
    for section in sections.enabled() {
        tracing::info!(
            sink = section.name(),
            destination = section.destination(&context),
            "opening"
        );
    }
    let opened = tokio::task::spawn_blocking(move || sections.open(&context)).await;
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
