//! `kstar read`: one poll of one inverter, for people or as JSON.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use kstar_model::catalogue::Group;
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::{Moment, UnixMillis};
use kstar_source::error::NoAnswer;
use kstar_source::lock::{Held, InverterLock};
use kstar_source::record::Record;
use kstar_source::source::Source;
use serde::Serialize;

use super::shared::args::InverterArgs;
use super::shared::args::Opened;
use super::shared::columns::write_columns;
use super::shared::failure::Failure;
#[cfg(feature = "http")]
use super::shared::remote;

/// What `kstar read` can be told.
#[derive(Args, Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct ReadArgs {
    #[command(flatten)]
    inverter: InverterArgs,
    /// Write JSON, one line for each thing asked
    #[arg(long)]
    json: bool,
    /// Ask who the inverter is, instead of what it measures
    #[arg(long)]
    #[cfg_attr(any(feature = "http", feature = "watch"), arg(conflicts_with = "url"))]
    device: bool,
    /// Ask how the inverter is set, instead of what it measures
    #[arg(long)]
    #[cfg_attr(any(feature = "http", feature = "watch"), arg(conflicts_with = "url"))]
    settings: bool,
    /// Ask even though a running collector polls the inverter
    #[arg(long)]
    force: bool,
    #[cfg(any(feature = "http", feature = "watch"))]
    #[command(flatten)]
    remote: super::shared::remote::RemoteArgs,
}

/// Asks and shows.
pub async fn run(args: ReadArgs, out: &mut impl Write) -> Result<(), Failure> {
    #[cfg(any(feature = "http", feature = "watch"))]
    if let Some(client) = args.remote.client()? {
        let wanted = args.inverter.inverter.as_deref();
        return show_latest(&client, wanted, args.json, out).await;
    }
    let mut opened = args.inverter.open()?;
    let failed = |reason: NoAnswer| Failure::Runtime(reason.to_string());
    let address = opened.source.locate().await.map_err(failed)?.address;
    let _lock = if args.force {
        None
    } else {
        match InverterLock::take(address).await {
            Ok(lock) => lock,
            Err(held) => return show_what_is_known(&held, &opened, &args, out).await,
        }
    };
    let Opened {
        name,
        mut source,
        patience,
        ..
    } = opened;
    if args.device {
        let identity = source.identify(patience).await.map_err(failed)?;
        show_record(out, &identity.record, args.json)?;
    }
    if args.settings {
        let settings = source.settings().await.map_err(failed)?;
        show_record(out, &settings, args.json)?;
    }
    if !args.device && !args.settings {
        let reading = reading(name, &mut *source).await.map_err(failed)?;
        if args.json {
            write_json(out, &reading)?;
        } else {
            show_reading(out, &reading, address)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Shows what the collector has read that polls the inverter, where the configuration leads to it: asking as well would
/// disturb it.
#[cfg(feature = "http")]
async fn show_what_is_known(
    held: &Held,
    opened: &Opened,
    args: &ReadArgs,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let known = if args.device || args.settings {
        None
    } else {
        let known = remote::polling(&opened.config, &opened.host, &opened.name).await;
        known.map_err(|failure| {
            Failure::Runtime(format!(
                "{held}, and it cannot be asked over HTTP: {failure}; use --force to ask the inverter all the same"
            ))
        })?
    };
    match known {
        Some((client, name)) => show_latest(&client, Some(&name), args.json, out).await,
        None => Err(is_polled(held)),
    }
}

/// Where HTTP is not built no configuration leads to a collector.
#[cfg(not(feature = "http"))]
#[expect(clippy::unused_async, reason = "the same form as where it is built")]
async fn show_what_is_known(
    held: &Held,
    _: &Opened,
    _: &ReadArgs,
    _: &mut impl Write,
) -> Result<(), Failure> {
    Err(is_polled(held))
}

/// Shows the newest reading of each inverter of a running collector, or of the one that is named.
#[cfg(any(feature = "http", feature = "watch"))]
async fn show_latest(
    client: &kstar_client::Client,
    wanted: Option<&str>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    use kstar_model::reading::Shown;
    use serde_json::{Map, Value};

    let latest: Vec<Map<String, Value>> = client
        .fetch("/api/v1/readings/latest")
        .await
        .map_err(super::shared::remote::failed)?;
    let readings: Vec<Shown> = latest
        .iter()
        .filter_map(kstar_model::json::read)
        .filter(|reading| wanted.is_none_or(|name| *reading.inverter.name == *name))
        .collect();
    if readings.is_empty() {
        let of = wanted
            .map(|name| format!(" of `{name}`"))
            .unwrap_or_default();
        return Err(Failure::Runtime(format!(
            "{} has no reading{of} yet; `kstar watch --url {0}` shows how its inverters are",
            client.url()
        )));
    }
    for (reading, number) in readings.iter().zip(0..) {
        if json {
            write_json(out, reading)?;
        } else {
            if number > 0 {
                writeln!(out)?;
            }
            show_reading(out, reading, client.url())?;
        }
    }
    out.flush()?;
    Ok(())
}

pub(super) async fn lock(address: SocketAddr) -> Result<Option<InverterLock>, Failure> {
    let taken = InverterLock::take(address).await;
    taken.map_err(|held| is_polled(&held))
}

/// Another process polls the inverter, and how to see something all the same.
fn is_polled(held: &Held) -> Failure {
    let instead = if cfg!(any(feature = "http", feature = "watch")) {
        "use --url to see what that one has read (with its section [http]), or --force to ask all the same"
    } else {
        "use --force to ask all the same"
    };
    Failure::Runtime(format!("{held}; {instead}"))
}

async fn reading(name: Arc<str>, source: &mut dyn Source) -> Result<Reading, NoAnswer> {
    let sample = source.poll().await?;
    let inverter = Arc::new(Inverter {
        name,
        serial: None,
        model: None,
    });
    Ok(Reading {
        time: UnixMillis::from(SystemTime::now()),
        inverter,
        values: sample.values,
        counted: None,
    })
}

fn write_json(out: &mut impl Write, content: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, content)?;
    writeln!(out)
}

fn show_reading(
    out: &mut impl Write,
    reading: &Reading<impl Moment>,
    place: impl std::fmt::Display,
) -> std::io::Result<()> {
    let time = reading.time.unix().map_or_else(
        || "at no known time: the clock is not set".to_owned(),
        |time| time.to_string(),
    );
    writeln!(out, "{} at {place}, {time}", reading.inverter.name)?;
    let mut rows = Vec::new();
    let mut last: Option<Group> = None;
    for (quantity, value) in reading.values.present() {
        let description = quantity.description();
        let group = if last == Some(description.group) {
            ""
        } else {
            description.group.label()
        };
        last = Some(description.group);
        let cell = format!("{value} {}", description.unit);
        rows.push([
            group.to_owned(),
            quantity.name().to_owned(),
            cell.trim_end().to_owned(),
        ]);
    }
    write_columns(out, &rows)
}

fn show_record(out: &mut impl Write, record: &Record, json: bool) -> std::io::Result<()> {
    if json {
        return write_json(out, record);
    }
    let rows: Vec<[String; 2]> = record
        .0
        .iter()
        .map(|entry| {
            [
                entry.label.to_owned(),
                format!("{} {}", entry.value, entry.unit)
                    .trim_end()
                    .to_owned(),
            ]
        })
        .collect();
    write_columns(out, &rows)
}
