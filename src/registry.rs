//! The registry: the one place that names every source and every sink, and the only one with their features.
//!
//! A new source is a folder under `sources/`, a feature in `Cargo.toml`, and one line here; a new sink the same under
//! `sinks/`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use kstar_common::finding::Finding;
use kstar_common::key::KeyError;
use kstar_common::setting::Secret;
use kstar_sink::async_trait;
use kstar_sink::delivery::Policy;
use kstar_sink::sink::{Context, Sink, SinkConfig, Unavailable};
use kstar_source::explain::Explanation;
use kstar_source::source::AnySource;
use kstar_source::way::Way;
use serde::{Deserialize, Deserializer, de};

pub use identify::{Acquaintance, Stranger, Unknown, identify};

mod identify;

macro_rules! families {
    ($($name:literal, $feature:literal: $config:path;)+) => {
        #[cfg(not(any($(feature = $feature),+)))]
        compile_error!("a collector without a source has nothing to collect: enable the feature of at least one source");

        /// The families of inverters that this build can read, with what reads a family's own keys.
        const FAMILIES: &[Known] = &[$(
            #[cfg(feature = $feature)]
            Known {
                name: $name,
                usual: || AnySource::new(<$config>::default()),
                ways: AnySource::ways::<$config>,
                read: |keys| Ok(AnySource::new(<$config>::deserialize(keys)?)),
            },
        )+];

        /// The families that need a feature which this build does not have.
        const NOT_BUILT: &[(&str, &str)] = &[$(
            #[cfg(not(feature = $feature))]
            ($name, $feature),
        )+];
    };
}

families! {
    "kse", "aa55": kstar_source_aa55::Aa55Config;
    "kstar-hybrid", "modbus": kstar_source_modbus::KstarHybridConfig;
    "goodwe-et", "modbus": kstar_source_modbus::GoodweEtConfig;
    "goodwe-dt", "modbus": kstar_source_modbus::GoodweDtConfig;
}

/// What explains datagrams.
const EXPLAINERS: &[fn(&[u8]) -> Explanation] = &[
    #[cfg(feature = "modbus")]
    kstar_source_modbus::explain::explain,
    // Last: where both know as much, it is this one's.
    #[cfg(feature = "aa55")]
    kstar_source_aa55::explain::explain,
];

/// A family of inverters, and what reads its own keys.
struct Known {
    name: &'static str,
    usual: fn() -> AnySource,
    ways: fn() -> Vec<Way<AnySource>>,
    read: fn(toml::Deserializer<'_>) -> Result<AnySource, toml::de::Error>,
}

/// A family of inverters, as the key `family` names it.
#[derive(Clone, Copy)]
pub struct Family(&'static Known);

/// What a family is where nothing is said.
#[expect(
    clippy::indexing_slicing,
    reason = "a build without a source does not compile"
)]
const USUAL: &Known = &FAMILIES[0];

impl Default for Family {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some(known) = FAMILIES.iter().find(|known| known.name == name) {
            return Ok(Self(known));
        }
        let not_built = NOT_BUILT.iter().find(|(missing, _)| *missing == name);
        Err(if let Some((_, feature)) = not_built {
            format!(
                "the family `{name}` is not part of this build; build with `--features {feature}`"
            )
        } else {
            let known: Vec<String> = FAMILIES
                .iter()
                .map(|known| format!("`{}`", known.name))
                .collect();
            format!(
                "`{name}` is no family of inverters; there are {}",
                known.join(", ")
            )
        })
    }
}

impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(de::Error::custom)
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl Family {
    /// The source of such an inverter, with the keys of its section that are the source's own.
    pub fn source(self, keys: toml::Deserializer<'_>) -> Result<AnySource, toml::de::Error> {
        (self.0.read)(keys)
    }

    /// What the configuration calls it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The source of such an inverter with these keys of its own, as the configuration writes them.
    pub fn with_keys(self, keys: &str) -> Result<AnySource, String> {
        let wrong = |error: toml::de::Error| error.message().to_owned();
        let keys = toml::Deserializer::parse(keys).map_err(wrong)?;
        self.source(keys).map_err(wrong)
    }

    /// The source of such an inverter of which nothing is said.
    pub fn usual_source(self) -> AnySource {
        (self.0.usual)()
    }
}

/// Explains a datagram, by the protocol that knows most of its bytes.
pub fn explain(datagram: &[u8]) -> Explanation {
    let explanations = EXPLAINERS.iter().map(|explain| explain(datagram));
    explanations
        .max_by_key(Explanation::known_bytes)
        .unwrap_or_default()
}

macro_rules! registry {
    ($($name:ident, $feature:literal: $config:path;)+) => {
        #[cfg(not(any($(feature = $feature),+)))]
        compile_error!("a collector without a sink collects for nobody: enable the feature of at least one sink");

        /// The table `[sinks]` of the configuration: each section that is present enables its sink.
        #[derive(Debug, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct SinkSections {
            $(
                #[cfg(feature = $feature)]
                $name: Option<$config>,
                #[cfg(not(feature = $feature))]
                $name: Option<not_built::$name>,
            )+
        }

        impl SinkSections {
            /// The names of the sinks that are part of this build.
            pub const BUILT: &'static [&'static str] = &[$(
                #[cfg(feature = $feature)]
                $feature,
            )+];

            /// Whether the section of this name says the same in both.
            pub fn agree_on(&self, other: &Self, name: &str) -> bool {
                match name {
                    $($feature => self.$name == other.$name,)+
                    _ => true,
                }
            }

            /// The sections of the sinks that are enabled.
            pub fn enabled(&self) -> impl Iterator<Item = &dyn Section> {
                let sections: [Option<&dyn Section>; _] = [$(
                    #[cfg(feature = $feature)]
                    self.$name.as_ref().map(|section| section as &dyn Section),
                )+];
                sections.into_iter().flatten()
            }
        }

        /// What stands for the section of a sink that this build does not have.
        mod not_built {
            $(
                #[cfg(not(feature = $feature))]
                #[derive(Debug, PartialEq)]
                #[expect(non_camel_case_types, reason = "a sink has one spelling everywhere")]
                pub(super) enum $name {}

                #[cfg(not(feature = $feature))]
                impl<'de> serde::Deserialize<'de> for $name {
                    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                        Err(serde::de::Error::custom(concat!(
                            "the sink `", $feature, "` is not part of this build; build with `--features ", $feature, "`"
                        )))
                    }
                }
            )+
        }
    };
}

registry! {
    stdout, "stdout": kstar_sink_stdout::StdoutConfig;
    sqlite, "sqlite": kstar_sink_sqlite::SqliteConfig;
    mqtt, "mqtt": kstar_sink_mqtt::MqttConfig;
    influxdb, "influxdb": kstar_sink_influxdb::InfluxdbConfig;
}

impl SinkSections {
    /// What is used without a configuration: a history in this file, and JSON lines.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(unused_variables, reason = "a build without the history")
    )]
    pub fn built_in(database: &Path) -> Self {
        Self {
            #[cfg(feature = "stdout")]
            stdout: Some(kstar_sink_stdout::StdoutConfig::default()),
            #[cfg(feature = "sqlite")]
            sqlite: Some(kstar_sink_sqlite::SqliteConfig {
                path: Some(database.to_owned()),
                ..Default::default()
            }),
            ..Self::default()
        }
    }

    /// Whether readings are written to standard output.
    pub fn writes_lines(&self) -> bool {
        self.enabled().any(|section| section.name() == "stdout")
    }

    /// Writes nothing to standard output.
    #[must_use]
    pub fn without_lines(self) -> Self {
        Self {
            stdout: None,
            ..self
        }
    }

    /// The file with the history, if one is written.
    #[cfg(feature = "history")]
    pub fn history_file(&self, context: &Context) -> Option<PathBuf> {
        Some(self.sqlite.as_ref()?.file(context))
    }

    /// What writes readings of the past to the history, if there is one.
    #[cfg(feature = "history")]
    pub fn importer(
        &self,
        context: &Context,
        longest_gap: Option<std::time::Duration>,
    ) -> Option<Result<kstar_history::Importer, kstar_history::HistoryError>> {
        Some(self.sqlite.as_ref()?.importer(context, longest_gap))
    }

    /// Publishes to an MQTT broker: in place of the configuration's, or as a sink of its own. The error never shows the
    /// address, which may hold a password.
    #[cfg(feature = "mqtt")]
    pub fn publish(&mut self, to: Publish) -> Result<(), String> {
        use kstar_sink_mqtt::{Broker, MqttConfig};

        let url = if to.broker.contains("://") {
            to.broker
        } else {
            format!("mqtt://{}", to.broker)
        };
        let url = Broker::parse(&url)?;
        let user = match &self.mqtt {
            None => to.user.or(to.usual_user),
            Some(_) => to.user,
        };
        let section = self
            .mqtt
            .get_or_insert_with(|| MqttConfig::new(url.clone()));
        section.url = url;
        if let Some((name, password)) = user {
            section.username = Some(name);
            section.password = password;
        }
        section.kstar_sharp_topics |= to.kstar_sharp_topics;
        Ok(())
    }

    /// Says that this build has no sink for MQTT.
    #[cfg(not(feature = "mqtt"))]
    pub fn publish(&mut self, _to: Publish) -> Result<(), String> {
        Err("the sink `mqtt` is not part of this build; build with `--features mqtt`".to_owned())
    }

    /// The section of this sink, if it is enabled.
    pub fn section(&self, name: &str) -> Option<&dyn Section> {
        self.enabled().find(|section| section.name() == name)
    }
}

/// An MQTT broker that the command line or the environment names.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Its name, address or URL.
    pub broker: String,
    /// The user and the password, in place of the configuration's.
    pub user: Option<(String, Option<Secret>)>,
    /// The user and the password where nobody names any.
    pub usual_user: Option<(String, Option<Secret>)>,
    /// Whether the topics of kstar.sharp are wanted.
    pub kstar_sharp_topics: bool,
}

/// A sink's section, whatever its type.
#[async_trait]
pub trait Section {
    fn name(&self) -> &'static str;
    /// How the driver treats the sink.
    fn policy(&self) -> Policy;
    /// Where its readings go.
    fn destination(&self, context: &Context) -> String;
    /// Whether the text of the section is right.
    fn validate(&self, inverters: usize) -> Result<(), KeyError>;
    /// Reads the secrets and certificates that the section names.
    fn resolve(&self) -> Result<(), KeyError>;
    fn open(&self, context: &Context) -> Result<Box<dyn Sink>, Unavailable>;
    /// Whether an open sink must be opened anew because of what is around it.
    fn heeds(&self, before: &Context, after: &Context) -> bool;
    /// The files that are read when it is opened.
    fn files(&self) -> Vec<PathBuf>;
    /// Carries over what is kept under an inverter's name.
    fn rename(&self, context: &Context, old: &str, new: &str) -> Result<Option<String>, String>;
    /// Looks at the far side.
    async fn probe(&self, context: &Context) -> Vec<Finding>;
}

#[async_trait]
impl<T: SinkConfig> Section for T {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn policy(&self) -> Policy {
        SinkConfig::policy(self)
    }

    fn destination(&self, context: &Context) -> String {
        SinkConfig::destination(self, context)
    }

    fn validate(&self, inverters: usize) -> Result<(), KeyError> {
        SinkConfig::validate(self, inverters)
    }

    fn resolve(&self) -> Result<(), KeyError> {
        SinkConfig::resolve(self)
    }

    fn open(&self, context: &Context) -> Result<Box<dyn Sink>, Unavailable> {
        SinkConfig::open(self, context)
    }

    fn heeds(&self, before: &Context, after: &Context) -> bool {
        SinkConfig::heeds(self, before, after)
    }

    fn files(&self) -> Vec<PathBuf> {
        SinkConfig::files(self)
    }

    fn rename(&self, context: &Context, old: &str, new: &str) -> Result<Option<String>, String> {
        SinkConfig::rename(self, context, old, new)
    }

    async fn probe(&self, context: &Context) -> Vec<Finding> {
        SinkConfig::probe(self, context).await
    }
}
