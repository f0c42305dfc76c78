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
use kstar_engine::site::SiteSettings;
use kstar_model::TimeZone;
use kstar_model::counted::longest_gap;
#[cfg(feature = "history")]
use kstar_reports::titles::Titles;
use serde::{Deserialize, Deserializer, de};

use crate::registry::{Section, SinkSections};
use document::Document;

mod check;
mod collector;
mod document;
mod http;
mod inverter;
mod places;
mod site;
mod text;
mod words;

pub use collector::{CollectorSection, DiscoveryAddress};
#[cfg(not(feature = "http"))]
pub use http::NOT_BUILT as HTTP_NOT_BUILT;
pub use http::{HttpSection, ListenAddress};
pub use inverter::{Host, InverterName, InverterSection, Title};
pub use places::{SYSTEM_PLACE, usual_places};
pub use site::SiteSection;
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
    /// The house as one more inverter.
    pub site: SiteSection,
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
    /// Reads and checks a configuration; the error has all mistakes of the file.
    pub fn parse(source: &ConfigFile) -> Result<Self, ConfigError> {
        let mut document = Document::open(source);
        let config: Option<Self> = document.read(&[], &[], Self::deserialize);
        let Some(mut config) = config else {
            return document.finish(Self::default());
        };
        for (inverter, index) in config.inverters.iter_mut().zip(0_usize..) {
            let path = ["inverter".into(), index.into()];
            // What its keys mean depends on it.
            if document.lacks(&path, "family") {
                continue;
            }
            let family = inverter.family;
            let source = document.read(&path, &InverterSection::KEYS, |keys| family.source(keys));
            inverter.source = source.unwrap_or_else(|| family.usual_source());
        }
        document.note_checked(config.check());
        document.finish(config)
    }

    /// Whether its text is right: what one key says about another, and what a sink says about its section. The source
    /// is where it stands.
    pub fn validate(&self, source: &ConfigFile) -> Result<(), ConfigError> {
        let mistakes = self.check().into_iter().map(|error| source.mistake(&error));
        ConfigError::all(mistakes.collect()).map_or(Ok(()), Err)
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

    /// What people call the inverters.
    #[cfg(feature = "history")]
    pub fn titles(&self) -> Titles {
        let titled = self.inverters.iter().filter_map(|inverter| {
            let title = inverter.nameplate().title?;
            Some((inverter.name.as_str().to_owned(), title.to_string()))
        });
        titled.collect()
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

    /// How the sum of all inverters is made, and who is told of it.
    pub fn sum(&self) -> SiteSettings {
        let grid_from = self.site.grid_from.as_ref();
        SiteSettings {
            enabled: self.site.enabled,
            grid_from: grid_from.map(|name| name.as_str().into()),
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
