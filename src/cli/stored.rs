//! What the commands that ask a history share: which file, which inverters, and what to say where there is nothing.

use std::path::PathBuf;

use clap::Args;
use jiff::{Timestamp, Zoned};

use super::{ConfigArgs, Failure, run};
use crate::config::Config;
use crate::period::timestamp;
use crate::sinks::SinkSections;
use crate::sinks::history::{History, HistoryError, StoredInverter};
use crate::tariff::Tariff;

/// Which history a command asks.
#[derive(Args, Clone, Debug)]
pub struct StoredArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The history [default: that of the configuration's section sinks.sqlite, or ./kstar.db without a configuration]
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// One inverter, by its name [default: all together]
    #[arg(long, value_name = "NAME")]
    inverter: Option<String>,
}

/// A history, and what was asked of it.
pub struct Stored {
    /// The history.
    pub history: History,
    /// The inverters that were asked for.
    pub inverters: Vec<StoredInverter>,
    /// What electricity costs.
    pub tariffs: Vec<Tariff>,
    /// The present moment, in the history's zone.
    pub now: Zoned,
}

impl StoredArgs {
    /// Opens the history.
    pub fn open(&self) -> Result<Stored, Failure> {
        let config = match self.config.load()? {
            Some((_, config)) => config,
            None => Config {
                sinks: SinkSections::built_in(run::BUILT_IN_DATABASE.as_ref()),
                ..Config::default()
            },
        };
        let of_config = || config.sinks.history_file(&run::context(&config));
        let Some(file) = self.history.clone().or_else(of_config) else {
            let message = "the configuration has no section [sinks.sqlite], so no history is written; \
                           add it, or name a file with --history";
            return Err(Failure::Usage(message.to_owned()));
        };
        let history = History::open(&file)?;
        let all = history.inverters()?;
        let inverters = match &self.inverter {
            None => all,
            Some(name) => match all.iter().find(|inverter| inverter.name == *name) {
                Some(inverter) => vec![inverter.clone()],
                None => {
                    return Err(HistoryError::UnknownInverter {
                        path: file,
                        name: name.clone(),
                        known: all.into_iter().map(|inverter| inverter.name).collect(),
                    }
                    .into());
                }
            },
        };
        let now = Timestamp::now().to_zoned(history.zone().clone());
        Ok(Stored {
            history,
            inverters,
            tariffs: config.tariffs,
            now,
        })
    }
}

impl Stored {
    /// Says that there is no reading in the time that was asked for, and where there are some.
    pub fn nothing(&self, when: &str) -> Failure {
        let names: Vec<&str> = self
            .inverters
            .iter()
            .map(|inverter| inverter.name.as_str())
            .collect();
        let first = self.inverters.iter().filter_map(|one| one.first).min();
        let last = self.inverters.iter().filter_map(|one| one.last).max();
        let Some((first, last)) = first.zip(last) else {
            return Failure::Runtime("the history has no readings yet".to_owned());
        };
        let show = |moment| {
            let local = timestamp(moment).to_zoned(self.now.time_zone().clone());
            local.strftime("%Y-%m-%d %H:%M").to_string()
        };
        Failure::Runtime(format!(
            "the history has no reading of {} for {when}; it has some from {} to {}",
            names.join(", "),
            show(first),
            show(last)
        ))
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let message = error.to_string();
        match error {
            HistoryError::UnknownInverter { .. } => Self::Usage(message),
            HistoryError::Missing(_) | HistoryError::Unreadable(_) => Self::Runtime(message),
        }
    }
}
