//! The demonstration from its beginning to its end: a past is made, then the inverter goes on from it.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use jiff::Zoned;
use jiff::civil::Time;
use kstar_common::tariff::{Band, DayOfWeek, Tariff, TimeOfDay};
use kstar_engine::pipeline::gate::rules::Rule;
use kstar_engine::pipeline::ledger::Accounts;

use super::Wishes;
use super::machine::{Machine, Running};
#[cfg(feature = "http")]
use super::port::Reserved;
#[cfg(feature = "history")]
use super::{file, past};
#[cfg(feature = "history")]
use crate::cli::shared::background::in_background;
use crate::cli::shared::failure::Failure;
use crate::cli::shared::serve;
use crate::config::{Config, Host, InverterSection, ListenAddress};
use crate::registry::SinkSections;

/// Where its history goes.
const DATABASE: &str = "kstar-demo.db";

/// How often it is polled: a demonstration is looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A demonstration under way.
pub(in crate::cli) struct Demonstration {
    inverter: Running,
    config: Config,
    accounts: Accounts,
    commands: String,
    /// Where its page will be, until that listens.
    #[cfg(feature = "http")]
    port: Option<Reserved>,
}

impl Demonstration {
    /// Makes the past and starts the inverter; nothing if `shutdown` is ready before that is done.
    pub(in crate::cli) async fn start(
        wishes: Wishes,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Option<Self>, Failure> {
        let mut inverter = InverterSection::default();
        wishes.place.put_on(&mut inverter)?;
        #[cfg(feature = "http")]
        let port = wishes.http.is_none().then(Reserved::first);
        #[cfg(feature = "http")]
        let http = wishes.http.or(port.as_ref().map(Reserved::address));
        #[cfg(not(feature = "http"))]
        let http = wishes.http;
        let config = config(inverter, &wishes, http)?;
        let Some((mut config, machine, accounts)) = with_past(config, shutdown).await? else {
            return Ok(None);
        };
        let now = Zoned::now().with_time_zone(config.zone()).datetime();
        let inverter = machine.start(now, wishes.speed).await;
        let inverter = inverter.map_err(|error| Failure::Runtime(error.to_string()))?;
        let address = inverter.address();
        for section in &mut config.inverters {
            section.host = Some(Host::At {
                host: address.ip().to_string(),
                port: Some(address.port()),
            });
        }
        Ok(Some(Self {
            inverter,
            commands: commands(&config),
            config,
            accounts,
            #[cfg(feature = "http")]
            port,
        }))
    }

    /// What reads it, in a moment.
    pub(in crate::cli) fn take_config(&mut self) -> Config {
        #[cfg(feature = "http")]
        drop(self.port.take());
        std::mem::take(&mut self.config)
    }

    /// What its past has come to.
    pub(in crate::cli) fn take_accounts(&mut self) -> Accounts {
        std::mem::take(&mut self.accounts)
    }

    /// What to try besides, in a sentence.
    pub(in crate::cli) fn commands(&self) -> String {
        self.commands.clone()
    }

    pub(in crate::cli) async fn stop(self) {
        self.inverter.stop().await;
    }
}

/// What reads an inverter of this kind, but for its address.
fn config(
    inverter: InverterSection,
    wishes: &Wishes,
    http: Option<ListenAddress>,
) -> Result<Config, Failure> {
    let sinks = SinkSections::built_in(Path::new(DATABASE));
    let mut config = Config {
        inverters: vec![inverter],
        sinks: if wishes.lines {
            sinks
        } else {
            sinks.without_lines()
        },
        tariffs: vec![tariff()],
        ..Config::default()
    };
    config.collector.poll_interval = Some(POLL_INTERVAL);
    if wishes.speed > 1.0 {
        // Its counters do run faster than any inverter's then.
        config.gate.off = vec![Rule::CounterJump];
    }
    serve::at(&mut config, http)?;
    Ok(config)
}

/// What it is, and what to try besides.
#[cfg(feature = "history")]
fn commands(config: &Config) -> String {
    let report = format!("kstar report year --history {DATABASE}");
    let plot = format!("kstar plot month --history {DATABASE} -o month.png");
    format!(
        "a demonstration: {DATABASE} holds 13 months of a simulated inverter. Try in another terminal: {report} | {plot}{}",
        watch(config)
    )
}

#[cfg(not(feature = "history"))]
fn commands(_config: &Config) -> String {
    "a demonstration of a simulated inverter".to_owned()
}

/// What shows it from another terminal.
#[cfg(feature = "http")]
fn watch(config: &Config) -> String {
    let served = config.http.as_ref();
    let url = served.map(|http| kstar_client::Url::of_listener(http.listen.0));
    url.map_or_else(String::new, |url| format!(" | kstar watch --url {url}"))
}

#[cfg(all(feature = "history", not(feature = "http")))]
fn watch(_config: &Config) -> String {
    String::new()
}

/// A household's contract: nights are cheaper, and what is fed in brings in little.
fn tariff() -> Tariff {
    let at = |hour| TimeOfDay(Time::constant(hour, 0, 0, 0));
    Tariff {
        since: None,
        currency: "EUR".to_owned(),
        price: 0.32,
        feed_in: 0.08,
        times: vec![Band {
            from: at(22),
            to: at(6),
            price: 0.24,
            feed_in: None,
            weekdays: DayOfWeek::ALL.to_vec(),
        }],
        standing_charge: 0.0,
        file: None,
    }
}

/// A machine with a past that is in the history, and what its energies have come to; nothing if it was stopped.
#[cfg(feature = "history")]
async fn with_past(
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<(Config, Machine, Accounts)>, Failure> {
    in_background(shutdown, move |stop| {
        file::make_room(Path::new(DATABASE))?;
        let made = past::make(&config, stop)?;
        Ok(made.map(|(machine, accounts)| (config, machine, accounts)))
    })
    .await
}

/// Without a history there is none to be made.
#[cfg(not(feature = "history"))]
#[expect(clippy::unused_async, reason = "the same form as where it is made")]
async fn with_past(
    config: Config,
    _shutdown: impl Future<Output = ()>,
) -> Result<Option<(Config, Machine, Accounts)>, Failure> {
    let first_day = Zoned::now().with_time_zone(config.zone()).date();
    let family = config.inverters.first().map(|inverter| inverter.family);
    let machine = Machine::new(family.unwrap_or_default(), first_day)?;
    Ok(Some((config, machine, Accounts::default())))
}
