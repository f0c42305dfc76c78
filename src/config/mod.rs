//! The configuration: a TOML file as types, and every mistake in it with its place.
//!
//! No part goes through an untyped value on its way, so each error knows its line and column. What one key says about
//! another is checked afterwards; such a mistake names its key by path, and the place is looked up in the text.

use std::path::PathBuf;
use std::time::Duration;

use kstar_common::key::KeyError;
use kstar_common::setting::duration;
use kstar_common::tariff::Tariff;
use kstar_common::zone;
use kstar_engine::herald::Facts;
use kstar_engine::pipeline::gate::GateSettings;
use kstar_engine::pipeline::gate::rules::Rule;
use kstar_engine::pipeline::meter::MeterSettings;
use kstar_model::TimeZone;
use kstar_model::counted::longest_gap;
use serde::{Deserialize, Deserializer, de};

use crate::registry::{Section, SinkSections};

mod check;
mod collector;
mod http;
mod inverter;
mod places;
mod text;

pub use collector::{CollectorSection, DiscoveryAddress};
#[cfg(not(feature = "http"))]
pub use http::NOT_BUILT as HTTP_NOT_BUILT;
pub use http::{HttpSection, ListenAddress};
pub use inverter::{Host, InverterName, InverterSection, Title};
pub use places::{SYSTEM_PLACE, usual_places};
pub use text::{Blame, ConfigError, ConfigFile};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder for what must outlive the process.
    pub state_dir: Option<PathBuf>,
    /// The zone whose midnights part the days; the system's if nothing is said.
    #[serde(deserialize_with = "time_zone")]
    pub timezone: Option<TimeZone>,
    /// How polling goes.
    pub collector: CollectorSection,
    /// Which readings are believed.
    pub gate: GateSection,
    /// How energy is counted.
    pub meter: MeterSection,
    /// The inverters; one that is discovered if there are none.
    #[serde(rename = "inverter")]
    pub inverters: Vec<InverterSection>,
    /// Where readings go.
    pub sinks: SinkSections,
    /// Metrics, health and the API; nobody listens without it.
    pub http: Option<HttpSection>,
    /// What electricity costs, the oldest prices first; nothing if reports need not tell.
    #[serde(rename = "tariff")]
    pub tariffs: Vec<Tariff>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateSection {
    /// The rules that are not applied.
    pub off: Vec<Rule>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeterSection {
    /// The longest gap between two readings that is filled; a minute, or two and a half polls if that is longer.
    #[serde(with = "duration::optional")]
    pub max_gap: Option<Duration>,
}

fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimeZone>, D::Error> {
    let name = String::deserialize(deserializer)?;
    zone::named(&name).map(Some).ok_or_else(|| {
        de::Error::custom(format!(
            "`{name}` is no time zone; write one of the IANA names, like \"Europe/London\""
        ))
    })
}

impl Config {
    /// Reads and checks a configuration.
    pub fn parse(source: &ConfigFile) -> Result<Self, ConfigError> {
        let mut config: Self = source.parse()?;
        for (inverter, index) in config.inverters.iter_mut().zip(0_usize..) {
            let path = ["inverter".into(), index.into()];
            inverter.source = source.parse_rest(&path, &InverterSection::KEYS, |keys| {
                inverter.family.source(keys)
            })?;
        }
        config.validate(source)?;
        Ok(config)
    }

    /// Whether its text is right: what one key says about another, and what a sink says about its section. The source
    /// is where it stands.
    pub fn validate(&self, source: &ConfigFile) -> Result<(), ConfigError> {
        self.check().map_err(|error| source.mistake(&error))
    }

    /// Reads the secrets and certificates that it names. Blocks on files.
    pub fn resolve(&self, source: &ConfigFile) -> Result<(), ConfigError> {
        self.read_what_is_named()
            .map_err(|error| source.missing(&error))
    }

    fn read_what_is_named(&self) -> Result<(), KeyError> {
        for sink in self.sinks.enabled() {
            sink.resolve()
                .map_err(|error| error.within(sink.name()).within("sinks"))?;
        }
        #[cfg(feature = "http")]
        if let Some(http) = &self.http {
            http.resolve().map_err(|error| error.within("http"))?;
        }
        Ok(())
    }

    /// The inverters to poll: those of the file, or one that is discovered.
    pub fn inverters(&self) -> Vec<InverterSection> {
        if self.inverters.is_empty() {
            vec![InverterSection::default()]
        } else {
            self.inverters.clone()
        }
    }

    /// The longest time from one poll of an inverter to the next.
    pub fn poll_interval(&self) -> Duration {
        let inverters = self.inverters();
        let paces = inverters.iter().map(|one| one.pace(&self.collector));
        paces.map(|pace| pace.interval).max().unwrap_or_default()
    }

    /// The folder for what must outlive the process.
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir
            .clone()
            .unwrap_or_else(places::default_state_dir)
    }

    /// What sinks are told of the collector and of the price of electricity.
    pub fn facts(&self) -> Facts {
        #[cfg(feature = "http")]
        let listen = self.http.as_ref().map(|http| http.listen.0);
        #[cfg(not(feature = "http"))]
        let listen = None;
        Facts {
            version: env!("CARGO_PKG_VERSION"),
            listen,
            sinks: self.sinks.enabled().map(Section::name).collect(),
            tariffs: self.tariffs.clone(),
            zone: self.zone(),
        }
    }

    /// How energy is counted.
    pub fn metering(&self) -> MeterSettings {
        let longest = || longest_gap(self.poll_interval());
        MeterSettings {
            zone: self.zone(),
            max_gap: self.meter.max_gap.unwrap_or_else(longest),
        }
    }

    /// Which readings of an inverter are believed.
    pub fn gate(&self, inverter: &InverterSection) -> GateSettings {
        GateSettings {
            profile: inverter.profile(),
            off: self.gate.off.clone(),
        }
    }

    /// The zone whose midnights part the days.
    pub fn zone(&self) -> TimeZone {
        self.timezone.clone().unwrap_or_else(|| {
            zone::system().unwrap_or_else(|error| {
                tracing::warn!(%error, "the system does not tell its time zone; days end at midnight UTC. Set timezone in the configuration");
                TimeZone::UTC
            })
        })
    }
}

#[cfg(test)]
mod tests;
