//! A configuration as what is to run, and what changes between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kstar_common::collect::inserted;
#[cfg(feature = "http")]
use kstar_common::tariff::Tariff;
use kstar_engine::herald::Facts;
use kstar_engine::pipeline::meter::MeterSettings;
use kstar_engine::site::{self, SiteSettings};
use kstar_engine::unit::{InverterPlan, SinkPlan, SpoolPlan};
#[cfg(feature = "http")]
use kstar_http as http;
use kstar_sink::sink::{Context, Unavailable};
use kstar_sink::spool::Spool;

use crate::config::{Config, ConfigFile, InverterSection};
use crate::registry::{Section, SinkSections};

/// What a configuration asks to run.
#[derive(Debug)]
pub struct Plans {
    /// Where it stands, for errors.
    pub source: ConfigFile,
    /// The inverters, by name.
    pub inverters: BTreeMap<Arc<str>, InverterPlan>,
    /// How the sum of all inverters is made.
    pub sum: SiteSettings,
    /// How energy is counted.
    pub metering: MeterSettings,
    /// Where readings go.
    pub sinks: SinkSections,
    /// What sinks may know.
    pub context: Context,
    /// What sinks are told of the collector itself.
    pub facts: Facts,
    /// Metrics, health and the API, if they are served.
    pub serving: Option<ServingPlan>,
    /// How long sinks may take to deliver what waits when they are stopped.
    pub grace: Duration,
    /// What is in the files that each sink reads when it is opened: only a hash, since they hold secrets.
    files: BTreeMap<&'static str, u64>,
}

/// What becomes of an inverter or a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is new.
    Started,
    /// It is gone.
    Stopped,
    /// It is another one now.
    Replaced,
    /// It stays as it is.
    Kept,
}

/// What becomes of everything that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The inverters, by name.
    pub inverters: BTreeMap<Arc<str>, Change>,
    /// The sinks, by name.
    pub sinks: BTreeMap<&'static str, Change>,
    /// HTTP, if it is or was served.
    pub serving: Option<Change>,
}

/// What sinks may know of a configuration.
pub fn context(config: &Config) -> Context {
    Context {
        inverters: config
            .inverters()
            .iter()
            .map(|inverter| Arc::from(inverter.name.as_str()))
            .chain(config.site.enabled.then(|| Arc::from(site::NAME)))
            .collect(),
        poll_interval: config.poll_interval(),
        state_dir: config.state_dir(),
        zone: config.zone(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// How each inverter is polled.
pub fn inverter_plans(config: &Config) -> Vec<InverterPlan> {
    let plan = |inverter: InverterSection| InverterPlan {
        gate: config.gate(&inverter),
        nameplate: inverter.nameplate(),
        name: inverter.name.as_str().into(),
        context: inverter.context(&config.collector),
        source: inverter.source,
    };
    config.inverters().into_iter().map(plan).collect()
}

impl Plans {
    /// What this configuration asks to run. Reads the files that sinks read, so it blocks.
    pub fn new(source: ConfigFile, config: Config) -> Self {
        let plans = inverter_plans(&config);
        let context = context(&config);
        Self {
            source,
            inverters: inserted(plans.into_iter().map(|plan| (plan.name.clone(), plan))),
            sum: config.sum(),
            metering: config.metering(),
            facts: config.facts(),
            serving: ServingPlan::of(&config, &context),
            context,
            grace: config.collector.grace,
            files: inserted(
                config
                    .sinks
                    .enabled()
                    .map(|section| (section.name(), content(section.files()))),
            ),
            sinks: config.sinks,
        }
    }

    /// What is needed to run a sink.
    pub fn sink_plan(self: &Arc<Self>, section: &dyn Section) -> SinkPlan {
        let (name, policy) = (section.name(), section.policy());
        let plans = Arc::clone(self);
        let gone = move || Unavailable(format!("there is no section for {name}"));
        SinkPlan {
            name,
            policy,
            open: Arc::new(move || {
                let section = plans.sinks.section(name).ok_or_else(&gone)?;
                section.open(&plans.context)
            }),
            spool: policy.spool.map(|bounds| SpoolPlan {
                spool: Spool::new(&self.context.state_dir, name, bounds),
                draining: self.grace / 2,
            }),
        }
    }

    fn sink_names(&self) -> BTreeSet<&'static str> {
        inserted(self.sinks.enabled().map(Section::name))
    }

    /// Whether a sink's section and the files that it names are the same in both.
    pub fn agrees_on(&self, after: &Self, name: &str) -> bool {
        self.sinks.agree_on(&after.sinks, name) && self.files.get(name) == after.files.get(name)
    }

    /// What changes from this plans to another, where only these of its sinks still run.
    pub fn changes(&self, after: &Self, running: &BTreeSet<&'static str>) -> Changes {
        let same_inverter = |name: &Arc<str>| {
            self.metering == after.metering && self.inverters.get(name) == after.inverters.get(name)
        };
        let same_sink = |name: &&'static str| {
            let heeds = |section: &dyn Section| section.heeds(&self.context, &after.context);
            self.agrees_on(after, name) && !after.sinks.section(name).is_some_and(heeds)
        };
        let serving = match (&self.serving, &after.serving) {
            (None, None) => None,
            (None, Some(_)) => Some(Change::Started),
            (Some(_), None) => Some(Change::Stopped),
            (before, after) if before == after => Some(Change::Kept),
            (Some(_), Some(_)) => Some(Change::Replaced),
        };
        let running = inserted(self.sink_names().intersection(running).copied());
        Changes {
            inverters: changes(
                &inserted(self.inverters.keys().cloned()),
                &inserted(after.inverters.keys().cloned()),
                same_inverter,
            ),
            sinks: changes(&running, &after.sink_names(), same_sink),
            serving,
        }
    }
}

/// What becomes of each name on the way from one set of them to another.
fn changes<T: Ord + Clone>(
    before: &BTreeSet<T>,
    after: &BTreeSet<T>,
    same: impl Fn(&T) -> bool,
) -> BTreeMap<T, Change> {
    inserted(before.union(after).map(|name| {
        let change = match (before.contains(name), after.contains(name)) {
            (true, false) => Change::Stopped,
            (true, true) if same(name) => Change::Kept,
            (true, true) => Change::Replaced,
            (false, _) => Change::Started,
        };
        (name.clone(), change)
    }))
}

/// What HTTP needs of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ServingPlan {
    #[cfg(feature = "http")]
    pub(crate) settings: http::Settings,
    /// What is in the token's file: only a hash, since that is a secret.
    #[cfg(feature = "http")]
    token: u64,
    #[cfg(feature = "http")]
    pub(crate) history: Option<PathBuf>,
    #[cfg(feature = "http")]
    pub(crate) tariffs: Vec<Tariff>,
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
            .and_then(kstar_common::setting::Secret::file);
        Some(Self {
            token: content(file),
            settings: http::Settings {
                listen: section.listen.0,
                token: section.token,
                dashboard: section.dashboard,
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

/// What is in these files, as a hash.
fn content(files: impl IntoIterator<Item = PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        // One that cannot be read is refused when what needs it is checked.
        std::fs::read(&file).ok().hash(&mut hasher);
    }
    hasher.finish()
}

impl Changes {
    /// The inverters that this becomes of.
    pub fn inverters(&self, change: Change) -> Vec<Arc<str>> {
        of(&self.inverters, change)
    }

    /// The sinks that this becomes of.
    pub fn sinks(&self, change: Change) -> Vec<&'static str> {
        of(&self.sinks, change)
    }

    /// All that this becomes of, in words.
    pub fn listed(&self, change: Change) -> String {
        let inverters = self.inverters(change);
        let inverters = inverters.iter().map(|name| format!("inverter {name}"));
        let sinks = self.sinks(change);
        let sinks = sinks.iter().map(|name| format!("sink {name}"));
        let serving = (self.serving == Some(change)).then(|| "HTTP".to_owned());
        let all: Vec<String> = inverters.chain(sinks).chain(serving).collect();
        if all.is_empty() {
            "none".to_owned()
        } else {
            all.join(", ")
        }
    }
}

fn of<T: Clone>(changes: &BTreeMap<T, Change>, wanted: Change) -> Vec<T> {
    changes
        .iter()
        .filter(|(_, change)| **change == wanted)
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests;
