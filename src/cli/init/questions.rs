//! The questions, in the order of the file; an argument is the answer to its own.

use std::path::Path;

#[cfg(feature = "http")]
use clap::ValueEnum as _;
use kstar_common::zone::system;
use kstar_model::TimeZone;

#[cfg(feature = "http")]
use super::Visitors;
use super::asking::Asking;
#[cfg(feature = "http")]
use super::file::Typed;
use super::file::{History, Influxdb, Mqtt, Page, Plan, Secret, Shape, Target, Tariff};
use super::inverters::inverters;
use super::words::{currency, influxdb_url, mqtt_url, price, zone};
use super::{InitArgs, SERVICE_STATE, is_for_service, trial};
use crate::cli::shared::failure::Failure;
use crate::registry::SinkSections;

/// Everything that is to be in the file.
pub(super) async fn gather(args: &InitArgs, path: Option<&Path>) -> Result<Plan, Failure> {
    let asking = Asking { silent: args.yes };
    let is_built = |sink| SinkSections::BUILT.contains(&sink);
    let inverters = inverters(args, &asking).await?;
    let timezone = timezone(args, &asking).await?;
    let sqlite = is_built("sqlite") && history(args, &asking).await?;
    let tariff = tariff(args, &asking).await?;
    let page = page(args, &asking, path).await?;
    let mqtt = if is_built("mqtt") {
        mqtt(args, &asking, path).await?
    } else {
        None
    };
    let influxdb = if is_built("influxdb") {
        influxdb(args, &asking, path).await?
    } else {
        None
    };
    Ok(Plan {
        state_dir: path
            .filter(|path| is_for_service(path))
            .map(|_| SERVICE_STATE),
        timezone,
        inverters,
        tariff,
        page,
        sqlite: sqlite.then(|| History {
            path: args.sqlite.clone(),
        }),
        mqtt,
        influxdb,
    })
}

/// The time zone: asked for where the system has none of its own, as fresh machines and containers do.
async fn timezone(args: &InitArgs, asking: &Asking) -> Result<Option<String>, Failure> {
    if args.timezone.is_some() {
        return Ok(args.timezone.clone());
    }
    let is_told = system().is_ok_and(|zone| {
        let name = zone.iana_name();
        zone != TimeZone::UTC && !matches!(name, Some("UTC" | "Etc/UTC" | "Etc/UCT" | "Universal"))
    });
    if is_told {
        return Ok(None);
    }
    let question = "Time zone, like Europe/London: its midnights part the days";
    let answer = asking.ask(question, "UTC", zone).await?;
    Ok((answer != "UTC").then_some(answer))
}

/// Whether there is to be a history.
async fn history(args: &InitArgs, asking: &Asking) -> Result<bool, Failure> {
    if args.no_sqlite {
        return Ok(false);
    }
    if args.sqlite.is_some() {
        return Ok(true);
    }
    asking
        .ask(
            "Keep a history in an SQLite file (yes, no)",
            "yes",
            yes_or_no,
        )
        .await
}

fn yes_or_no(answer: &str) -> Result<bool, String> {
    match answer.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("write yes or no".to_owned()),
    }
}

/// What electricity costs, if that is told.
async fn tariff(args: &InitArgs, asking: &Asking) -> Result<Option<Tariff>, Failure> {
    const CURRENCY: &str = "EUR";
    const FEED_IN: &str = "0.0";
    if let Some(price) = &args.price {
        let or = |given: &Option<String>, usual: &str| given.as_deref().unwrap_or(usual).to_owned();
        return Ok(Some(Tariff {
            currency: or(&args.currency, CURRENCY),
            price: price.clone(),
            feed_in: or(&args.feed_in, FEED_IN),
        }));
    }
    let question = "Price of a kWh from the grid, like 0.32, for reports (empty: none)";
    let answer = asking
        .ask(question, "", |answer| optional(answer, price))
        .await?;
    let Some(bought) = answer else {
        return Ok(None);
    };
    Ok(Some(Tariff {
        price: bought,
        feed_in: asking
            .ask("Paid for a kWh that is fed in", FEED_IN, price)
            .await?,
        currency: asking.ask("Currency", CURRENCY, currency).await?,
    }))
}

/// Who may see the page for browsers.
#[cfg(feature = "http")]
async fn page(
    args: &InitArgs,
    asking: &Asking,
    path: Option<&Path>,
) -> Result<Option<Page>, Failure> {
    let visitors = if let Some(visitors) = args.http {
        visitors
    } else {
        let question = "Page for browsers: local (for this machine), network (with a token), no";
        asking
            .ask(question, "local", |answer| Visitors::from_str(answer, true))
            .await?
    };
    Ok(match visitors {
        Visitors::No => None,
        Visitors::Local => Some(Page::Local),
        Visitors::Network => Some(Page::Network(token(path)?)),
    })
}

#[cfg(not(feature = "http"))]
#[expect(clippy::unused_async, reason = "the same form as where it is built")]
async fn page(_: &InitArgs, _: &Asking, _: Option<&Path>) -> Result<Option<Page>, Failure> {
    Ok(None)
}

/// A new token in a file beside the configuration; one that is written to no file has it in the environment.
#[cfg(feature = "http")]
fn token(configuration: Option<&Path>) -> Result<Secret, Failure> {
    use crate::cli::shared::environment::HTTP_TOKEN;
    let folder = configuration
        .and_then(|path| std::path::absolute(path).ok())
        .and_then(|path| Some(path.parent()?.to_owned()));
    let Some(folder) = folder else {
        return Ok(Secret::Env(HTTP_TOKEN.to_owned()));
    };
    Ok(Secret::Typed(Typed {
        path: folder.join("http-token"),
        content: kstar_http::new_token().map_err(Failure::Runtime)?,
    }))
}

/// A broker that is named is taken as it is; one that is typed is tried.
async fn mqtt(
    args: &InitArgs,
    asking: &Asking,
    path: Option<&Path>,
) -> Result<Option<Mqtt>, Failure> {
    if let Some(url) = args.mqtt.clone() {
        return Ok(Some(Mqtt {
            url,
            username: args.mqtt_username.clone(),
            password: Secret::named(
                args.mqtt_password_file.as_ref(),
                args.mqtt_password_env.as_ref(),
            ),
        }));
    }
    let question =
        "MQTT broker, for Home Assistant and others, like homeassistant.local (empty: none)";
    loop {
        let url = asking
            .ask(question, "", |answer| optional(answer, mqtt_url))
            .await?;
        let Some(url) = url else { return Ok(None) };
        let username = asking
            .ask("User at the broker (empty: none)", "", anything)
            .await?;
        let question = "Password at the broker";
        let password = match &username {
            Some(_) => asking.secret(question, path, "mqtt-password").await?,
            None => None,
        };
        let section = Mqtt {
            url,
            username,
            password,
        };
        if is_wanted(&section.text(Shape::Trial), asking).await? {
            return Ok(Some(section));
        }
    }
}

/// Whether the section of a sink works, or is wanted though it does not.
async fn is_wanted(section: &str, asking: &Asking) -> Result<bool, Failure> {
    if asking.silent || trial::works(section).await {
        return Ok(true);
    }
    asking
        .ask("Keep it all the same (yes, no)", "no", yes_or_no)
        .await
}

/// A server that is named is taken as it is; one that is typed is tried.
async fn influxdb(
    args: &InitArgs,
    asking: &Asking,
    path: Option<&Path>,
) -> Result<Option<Influxdb>, Failure> {
    if let Some(url) = args.influxdb.clone() {
        return Ok(named_target(args).map(|target| Influxdb { url, target }));
    }
    let question = "InfluxDB, like http://localhost:8086 (empty: none)";
    loop {
        let url = asking
            .ask(question, "", |answer| optional(answer, influxdb_url))
            .await?;
        let Some(url) = url else { return Ok(None) };
        let target = target(asking, path).await?;
        let section = Influxdb { url, target };
        if is_wanted(&section.text(Shape::Trial), asking).await? {
            return Ok(Some(section));
        }
    }
}

/// Where the arguments say that points go.
fn named_target(args: &InitArgs) -> Option<Target> {
    if let Some(name) = args.influxdb_database.clone() {
        return Some(Target::Database {
            name,
            username: None,
            password: None,
        });
    }
    Some(Target::Bucket {
        org: args.influxdb_org.clone()?,
        bucket: args.influxdb_bucket.clone()?,
        token: Secret::named(
            args.influxdb_token_file.as_ref(),
            args.influxdb_token_env.as_ref(),
        ),
    })
}

async fn target(asking: &Asking, path: Option<&Path>) -> Result<Target, Failure> {
    let question =
        "Database, for InfluxDB 1 (empty: another version, with organisation and bucket)";
    let Some(name) = asking.ask(question, "", anything).await? else {
        return Ok(Target::Bucket {
            org: asking.ask("Organisation", "home", something).await?,
            bucket: asking.ask("Bucket", "solar", something).await?,
            token: asking.secret("Token", path, "influxdb-token").await?,
        });
    };
    let username = asking
        .ask("User at InfluxDB (empty: none)", "", anything)
        .await?;
    let question = "Password at InfluxDB";
    let password = match &username {
        Some(_) => asking.secret(question, path, "influxdb-password").await?,
        None => None,
    };
    Ok(Target::Database {
        name,
        username,
        password,
    })
}

fn something(answer: &str) -> Result<String, String> {
    match answer {
        "" => Err("it needs one".to_owned()),
        answer => Ok(answer.to_owned()),
    }
}

fn anything(answer: &str) -> Result<Option<String>, String> {
    optional(answer, |text| Ok(text.to_owned()))
}

fn optional<T>(
    answer: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match answer {
        "" => Ok(None),
        answer => parse(answer).map(Some),
    }
}
