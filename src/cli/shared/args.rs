//! Arguments that several commands have.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use kstar_source::exchange::Patience;
use kstar_source::source::Source;

use super::environment::{environment, host_of_environment};
use super::failure::Failure;
use crate::config::{Config, ConfigFile, Host, InverterSection, SYSTEM_PLACE, usual_places};

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

/// Which inverter a command asks, for commands that ask just one.
#[derive(Args, Clone, Debug)]
pub struct InverterArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[arg(long, value_name = "HOST[:PORT]", help = HOST_HELP)]
    host: Option<Host>,
    /// The inverter's name in the configuration, if there are several
    #[arg(long, value_name = "NAME", conflicts_with = "host")]
    pub inverter: Option<String>,
}

/// An inverter that a command asks.
pub struct Opened {
    pub name: Arc<str>,
    pub source: Box<dyn Source>,
    pub patience: Patience,
}

impl InverterArgs {
    /// What asks it.
    pub fn open(&self) -> Result<Opened, Failure> {
        let config = self.config.config()?;
        let inverters = config.inverters();
        let host = match (&self.host, &self.inverter) {
            (None, None) => host_of_environment()?,
            (host, _) => host.clone(),
        };
        let chosen = if let Some(host) = host {
            at(host, &inverters)
        } else {
            let name = self.inverter.as_deref();
            choose(&inverters, name, "choose one with --inverter")?.clone()
        };
        let context = chosen.context(&config.collector);
        let counts = Arc::new(chosen.source.counts());
        Ok(Opened {
            name: chosen.name.as_str().into(),
            source: chosen.source.open(&context, counts),
            patience: context.patience,
        })
    }
}

/// What stands at a host: the inverter of the configuration at another place, if there is just one.
pub fn at(host: Host, inverters: &[InverterSection]) -> InverterSection {
    let known = match inverters {
        [only] => only.clone(),
        _ => InverterSection::default(),
    };
    InverterSection {
        host: Some(host),
        ..known
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
