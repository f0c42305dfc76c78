//! Arguments that several commands have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use kstar_source::exchange::Patience;
use kstar_source::source::{AnySource, Context, Source};

use super::environment::{environment, host_of_environment};
use super::failure::Failure;
use crate::config::{Config, ConfigFile, Host, InverterSection, SYSTEM_PLACE, usual_places};
use crate::registry::{Family, Stranger, Unknown, identify};

/// Where the configuration comes from; the same for every command that reads it.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The file that is named.
    #[arg(
        long,
        value_name = "FILE",
        help = "The configuration [env: KSTAR_CONFIG] [default: ./kstar.toml, ~/.config/kstar/config.toml, /etc/kstar/config.toml]"
    )]
    pub config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The file that is named, or the first that is found.
    pub fn find(&self) -> Option<PathBuf> {
        let named = self
            .config
            .clone()
            .or_else(|| environment("KSTAR_CONFIG").map(PathBuf::from));
        named.or_else(|| usual_places().into_iter().find(|place| is_there(place)))
    }

    /// The configuration that is named, or the first that is found.
    pub fn load(&self) -> Result<Option<(ConfigFile, Config)>, Failure> {
        let Some(path) = self.find() else {
            return Ok(None);
        };
        let source = ConfigFile::read(&path)?;
        let config = Config::parse(&source)?;
        Ok(Some((source, config)))
    }

    /// The same, or the defaults.
    pub fn config(&self) -> Result<Config, Failure> {
        Ok(self.load()?.map(|(_, config)| config).unwrap_or_default())
    }
}

/// A number that cannot be zero.
pub fn from_one_on<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "write a whole number from 1 on".to_owned())
}

/// Whether there is a configuration. The service's may be in a folder that is not for everybody: then there is one, and
/// that it cannot be read is to be said rather than to go on as if there were none.
pub fn is_there(place: &Path) -> bool {
    place
        .try_exists()
        .unwrap_or_else(|_| place == Path::new(SYSTEM_PLACE))
}

/// What a host on the command line is for.
pub const HOST_HELP: &str =
    "The inverter's name or address, in place of the configuration's [env: KSTAR_HOST]";

/// Where an inverter is and what it speaks, in place of what the configuration says; for every command with a host.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceArgs {
    #[arg(long, value_name = "HOST[:PORT]", help = HOST_HELP)]
    pub host: Option<Host>,
    /// What kind of inverter it is: `family` of the configuration
    #[arg(long, value_name = "FAMILY")]
    family: Option<Family>,
    /// The way to it, where its family has several: udp, solarman, modbus-tcp or rtu-over-tcp
    #[arg(long, value_name = "WAY")]
    via: Option<String>,
    /// Its Modbus unit address
    #[arg(long, value_name = "NUMBER")]
    unit: Option<u8>,
    /// The serial number of its Solarman stick, which is found out if it is not set
    #[arg(long, value_name = "NUMBER")]
    logger_serial: Option<u32>,
}

impl PlaceArgs {
    /// The same with this host where none is named.
    #[must_use]
    pub fn or_host(self, host: Option<Host>) -> Self {
        Self {
            host: self.host.or(host),
            ..self
        }
    }

    /// The same with the environment's host where none is named.
    pub fn or_environment(self) -> Result<Self, Failure> {
        Ok(match self.host {
            Some(_) => self,
            None => self.or_host(host_of_environment()?),
        })
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.host.is_none() && !self.says_how()
    }

    /// Whether it is said how the inverter is asked.
    fn says_how(&self) -> bool {
        self.family.is_some()
            || self.via.is_some()
            || self.unit.is_some()
            || self.logger_serial.is_some()
    }

    /// That inverter at the place that is said, asked as is said.
    pub fn put_on(&self, inverter: &mut InverterSection) -> Result<(), Failure> {
        if let Some(host) = &self.host {
            inverter.host = Some(host.clone());
        }
        if !self.says_how() {
            return Ok(());
        }
        let is_other = self.family.is_some_and(|family| family != inverter.family);
        inverter.family = self.family.unwrap_or(inverter.family);
        let mut lines = BTreeMap::new();
        if !is_other {
            let keys = inverter.source.keys().into_iter();
            lines.extend(keys.map(|key| (key.name, key.to_string())));
        }
        if let Some(via) = &self.via {
            lines.insert("via", format!("via = {}", serde_json::Value::from(&**via)));
            // The stick of another way.
            lines.remove("logger_serial");
        }
        let numbers = [
            ("unit", self.unit.map(u32::from)),
            ("logger_serial", self.logger_serial),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                lines.insert(name, format!("{name} = {number}"));
            }
        }
        let family = inverter.family;
        let text = lines.into_values().collect::<Vec<_>>().join("\n");
        inverter.source = family.with_keys(&text).map_err(|error| {
            let family = family.name();
            let message = format!(
                "--family, --via, --unit or --logger-serial is wrong for a {family}: {error}"
            );
            Failure::Usage(message)
        })?;
        Ok(())
    }
}
/// Which inverter a command asks, for commands that ask just one.
#[derive(Args, Clone, Debug)]
pub struct InverterArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
    /// The inverter's name in the configuration, if there are several
    #[arg(long, value_name = "NAME", conflicts_with = "host")]
    pub inverter: Option<String>,
}

/// An inverter that a command asks.
pub struct Opened {
    pub name: Arc<str>,
    /// Where it is, for people.
    pub host: String,
    /// The configuration that names it.
    pub config: Config,
    pub source: Box<dyn Source>,
    pub patience: Patience,
}

/// An inverter that is to be recorded.
pub struct OpenedToRecord {
    pub family: Family,
    pub config: AnySource,
    pub context: Context,
}

impl InverterArgs {
    /// What asks it.
    pub fn open(&self) -> Result<Opened, Failure> {
        let (chosen, config) = self.chosen()?;
        let context = chosen.context(&config.collector);
        let counts = Arc::new(chosen.source.counts());
        Ok(Opened {
            name: chosen.name.as_str().into(),
            host: context.target.text(chosen.source.port()),
            config,
            source: chosen.source.open(&context, counts),
            patience: context.patience,
        })
    }

    /// The same for a recording; at a host of which nothing else is said, every family is tried.
    pub async fn open_to_record(&self) -> Result<OpenedToRecord, Failure> {
        let (mut chosen, config) = self.chosen()?;
        let (inverters, collector) = (config.inverters(), config.collector);
        let is_configured = inverters.iter().any(|known| known.host == chosen.host);
        let is_told = is_configured || self.place.says_how();
        let host = match &chosen.host {
            Some(Host::At { host, port }) => Some((host.clone(), *port)),
            Some(Host::Anywhere) | None => None,
        };
        if let Some((host, port)) = host.filter(|_| !is_told) {
            let stranger = Stranger {
                host,
                port,
                elsewhere: false,
                tried: None,
                module: None,
                timeout: chosen.timeout.or(collector.timeout),
                fast: chosen.context(&collector).fast,
            };
            let found = identify(&stranger).await.map_err(|unknown| {
                let advice = match unknown {
                    Unknown::Polled(_) => {
                        "; stop it first, or say with --family and --via what the inverter is, and use --force"
                    }
                    Unknown::Silent(_) => {
                        "; say with --family and --via what it is, to record what it answers"
                    }
                    Unknown::Unreachable(_) => "",
                };
                Failure::Runtime(format!("{unknown}{advice}"))
            })?;
            let keys: Vec<String> = found.keys.iter().map(ToString::to_string).collect();
            let keys = keys.join("\n");
            chosen.source = found.family.with_keys(&keys).map_err(Failure::Runtime)?;
            chosen.family = found.family;
            chosen.host = Some(Host::try_from(found.host).map_err(Failure::Runtime)?);
        }
        Ok(OpenedToRecord {
            family: chosen.family,
            context: chosen.context(&collector),
            config: chosen.source,
        })
    }

    /// The inverter, and the configuration that it is from.
    fn chosen(&self) -> Result<(InverterSection, Config), Failure> {
        let config = self.config.config()?;
        let inverters = config.inverters();
        let place = match &self.inverter {
            Some(_) => self.place.clone(),
            None => self.place.clone().or_environment()?,
        };
        let mut chosen = if place.host.is_some() {
            known(&inverters)
        } else {
            let name = self.inverter.as_deref();
            choose(&inverters, name, "choose one with --inverter")?.clone()
        };
        place.put_on(&mut chosen)?;
        Ok((chosen, config))
    }
}

/// What stands at a host that the command line names: the inverter of the configuration at another place, if there is just
/// one.
pub fn known(inverters: &[InverterSection]) -> InverterSection {
    match inverters {
        [only] => only.clone(),
        _ => InverterSection::default(),
    }
}

/// The inverter of that name, or the only one there is.
pub fn choose<'a>(
    inverters: &'a [InverterSection],
    name: Option<&str>,
    advice: &str,
) -> Result<&'a InverterSection, Failure> {
    let names = inverters.iter().map(|inverter| inverter.name.as_str());
    let names: Vec<&str> = names.collect();
    match (name, inverters) {
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::Usage(format!(
            "there are several inverters; {advice}: {}",
            names.join(", ")
        ))),
        (Some(name), _) => {
            let found = inverters.iter().find(|one| one.name.as_str() == name);
            found.ok_or_else(|| unknown_inverter(name, &names))
        }
    }
}

pub fn unknown_inverter(name: &str, known: &[&str]) -> Failure {
    Failure::Usage(format!(
        "no inverter is named `{name}`; there are: {}",
        known.join(", ")
    ))
}
