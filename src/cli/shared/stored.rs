//! What the commands that ask a history share: which file, which inverters, and what to say where there is nothing.

use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use jiff::civil::Date;
use jiff::{Timestamp, Zoned};
use kstar_common::tariff::Tariff;
use kstar_history::{History, HistoryError, StoredInverter};
use kstar_model::time::UnixMillis;
use kstar_reports::energy::gather::{self, Question};
use kstar_reports::energy::{Report, Subject, show};
use kstar_reports::period::{range, timestamp};
use kstar_reports::titles::Titles;
use kstar_sink::sink::Context;

use super::args::ConfigArgs;
use super::failure::Failure;
use super::load;
use crate::config::{Config, ConfigFile};
use crate::registry::SinkSections;
use crate::run::plans;

/// Which history file a command reads.
#[derive(Args, Clone, Debug)]
pub struct HistoryArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The history [default: that of the configuration's section sinks.sqlite, or ./kstar.db without a configuration]
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

impl HistoryArgs {
    /// The file.
    pub fn file(&self) -> Result<PathBuf, Failure> {
        Ok(self.load()?.2)
    }

    /// The configuration, where it comes from, and the file.
    fn load(&self) -> Result<(ConfigFile, Config, PathBuf), Failure> {
        let (source, config) = source_or_built_in(&self.config)?;
        let of_config = || config.sinks.history_file(&plans::context(&config));
        let Some(file) = self.history.clone().or_else(of_config) else {
            return Err(no_history("or name a file with --history"));
        };
        Ok((source, config, file))
    }
}

/// The configuration, or what is used without any.
pub fn config_or_built_in(args: &ConfigArgs) -> Result<Config, Failure> {
    Ok(source_or_built_in(args)?.1)
}

fn source_or_built_in(args: &ConfigArgs) -> Result<(ConfigFile, Config), Failure> {
    Ok(args.load()?.unwrap_or_else(|| {
        let config = Config {
            sinks: SinkSections::built_in(load::BUILT_IN_DATABASE.as_ref()),
            ..Config::default()
        };
        (ConfigFile::new("built-in defaults", ""), config)
    }))
}

/// Says that the configuration has no history, and what else there is to do.
pub fn no_history(or: &str) -> Failure {
    Failure::Usage(format!(
        "the configuration has no section [sinks.sqlite], so no history is written; add it, {or}"
    ))
}

/// Which time a command asks about.
#[derive(Args, Clone, Debug)]
pub struct SpanArgs {
    /// The first moment: 2026-11-22, 2026-11, 2026-11-22T10:15, today, yesterday, or 7d for seven days ago
    /// [default: the first reading]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The end; all of a day, a month or a year that is named belongs to it [default: the last reading]
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl SpanArgs {
    pub fn range(&self, now: &Zoned) -> Result<Range<UnixMillis>, Failure> {
        range(self.from.as_deref(), self.to.as_deref(), now).map_err(Failure::Usage)
    }
}

/// Which history a command asks, and about what.
#[derive(Args, Clone, Debug)]
pub struct StoredArgs {
    #[command(flatten)]
    history: HistoryArgs,
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
    /// What people call inverters.
    titles: Titles,
    /// What electricity costs.
    pub tariffs: Vec<Tariff>,
    /// The present moment, in the history's zone.
    pub now: Zoned,
    /// The history's file.
    pub file: PathBuf,
    /// Where the configuration comes from.
    pub source: ConfigFile,
    /// The sinks of the configuration.
    pub sinks: SinkSections,
    /// What sinks may know of it.
    pub context: Context,
}

impl StoredArgs {
    /// Opens the history.
    pub fn open(&self) -> Result<Stored, Failure> {
        let (source, config, file) = self.history.load()?;
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
        if let Some(wrong) = Tariff::refresh(&config.tariffs).into_iter().next() {
            return Err(Failure::Runtime(wrong));
        }
        let now = Timestamp::now().to_zoned(history.zone().clone());
        Ok(Stored {
            history,
            inverters,
            context: plans::context(&config),
            titles: config.titles(),
            tariffs: config.tariffs,
            now,
            file,
            source,
            sinks: config.sinks,
        })
    }
}

impl Stored {
    /// What a stretch of the calendar comes to.
    pub fn report(
        &self,
        subject: Subject,
        date: Date,
        tariffs: &[Tariff],
    ) -> Result<Report, Failure> {
        let question = self.question(subject, date, tariffs);
        let mut report = gather::report(&self.history, &question)?;
        if let Some(report) = &mut report {
            report.titles = self.titles.clone();
        }
        report.ok_or_else(|| self.nothing(&show::title(subject, date)))
    }

    /// What the same time a year before came to.
    pub fn year_before(&self, subject: Subject, date: Date) -> Result<Option<Report>, Failure> {
        let question = self.question(subject, date, &self.tariffs);
        Ok(gather::year_before(&self.history, &question)?)
    }

    fn question<'a>(&'a self, subject: Subject, date: Date, tariffs: &'a [Tariff]) -> Question<'a> {
        Question {
            subject,
            date,
            inverters: &self.inverters,
            tariffs,
            now: UnixMillis(self.now.timestamp().as_millisecond()),
        }
    }

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
            HistoryError::Missing(_) | HistoryError::Unopened(_) | HistoryError::Unreadable(_) => {
                Self::Runtime(message)
            }
        }
    }
}
