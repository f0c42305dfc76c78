//! `kstar init`: a first configuration, from what answers on the network and a few questions.
//!
//! Questions go to standard error, so that `kstar init -` can be piped. Nothing is written before everything is known,
//! and then whole or not at all.

use std::future::Future;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kstar_source::counts::Counts;
use kstar_source::greeting::{self, Module};

use self::asking::{Asking, say};
use self::file::{History, Influxdb, Inverter, Mqtt, Plan, Secret, is_root, quoted};
use super::shared::environment::environment;
use super::shared::failure::Failure;
use crate::config::{
    Config, ConfigFile, DiscoveryAddress, Host, InverterName, SYSTEM_PLACE, usual_places,
};
use crate::registry::{SinkSections, Stranger, identify};

mod asking;
mod file;

/// The folder of the service, which everybody who reads its configuration is to find.
const SERVICE_STATE: &str = "/var/lib/kstar";

/// The configuration that the Debian package brings; nobody's work, so it may be overwritten.
const PACKAGED: &str = include_str!("../../../deploy/debian/config.toml");

/// Where the unit of the service is, by a package or by hand.
const UNIT_PLACES: [&str; 3] = [
    "/etc/systemd/system/kstar.service",
    "/usr/lib/systemd/system/kstar.service",
    "/lib/systemd/system/kstar.service",
];

/// How long answers to a greeting are waited for.
const SEARCH: Duration = Duration::from_secs(3);

/// What `kstar init` can be told.
#[derive(Args, Clone, Debug)]
pub struct InitArgs {
    /// The file to write, or - for standard output [default: ~/.config/kstar/config.toml, for root
    /// /etc/kstar/config.toml]
    path: Option<PathBuf>,
    /// Ask nothing: take what is found, the other arguments, and the defaults
    #[arg(long)]
    yes: bool,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
    /// The inverter's name or address, instead of looking for it; several for several
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host)]
    host: Vec<String>,
    /// What the inverter is called, in the order of the hosts
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Vec<String>,
    /// Look for inverters here instead of everywhere, as with `kstar discover`
    #[arg(long, value_name = "ADDR[:PORT]", conflicts_with = "host")]
    address: Vec<DiscoveryAddress>,
    /// The file of the history [default: history.db in the state folder]
    #[arg(long, value_name = "PATH")]
    sqlite: Option<PathBuf>,
    /// Keep no history
    #[arg(long, conflicts_with = "sqlite")]
    no_sqlite: bool,
    /// Publish to this MQTT broker
    #[arg(long, value_name = "HOST|URL", value_parser = mqtt_url)]
    mqtt: Option<String>,
    /// The user at the broker
    #[arg(long, value_name = "NAME", requires = "mqtt")]
    mqtt_username: Option<String>,
    /// The file that holds the password at the broker
    #[arg(long, value_name = "FILE", requires = "mqtt_username")]
    mqtt_password_file: Option<PathBuf>,
    /// The environment variable that holds the password at the broker
    #[arg(
        long,
        value_name = "NAME",
        requires = "mqtt_username",
        conflicts_with = "mqtt_password_file"
    )]
    mqtt_password_env: Option<String>,
    /// Write to this InfluxDB
    #[arg(long, value_name = "URL", value_parser = influxdb_url, requires_all = ["influxdb_org", "influxdb_bucket"])]
    influxdb: Option<String>,
    /// The organisation in InfluxDB
    #[arg(long, value_name = "NAME", requires = "influxdb")]
    influxdb_org: Option<String>,
    /// The bucket in InfluxDB
    #[arg(long, value_name = "NAME", requires = "influxdb")]
    influxdb_bucket: Option<String>,
    /// The file that holds the token of InfluxDB
    #[arg(long, value_name = "FILE", requires = "influxdb")]
    influxdb_token_file: Option<PathBuf>,
    /// The environment variable that holds the token of InfluxDB
    #[arg(
        long,
        value_name = "NAME",
        requires = "influxdb",
        conflicts_with = "influxdb_token_file"
    )]
    influxdb_token_env: Option<String>,
}

/// Asks and writes; `shutdown` ends it before anything is written.
pub async fn run(
    args: InitArgs,
    out: &mut impl Write,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    if !args.yes && !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "standard input is no terminal, so nobody can be asked; use --yes, with --host, --mqtt and the like for \
             what should not be the default"
                .to_owned(),
        ));
    }
    let path = match &args.path {
        Some(path) if path.as_os_str() == "-" => None,
        Some(path) => Some(path.clone()),
        None => Some(usual_place()?),
    };
    if let Some(path) = &path {
        refuse_to_overwrite(path, args.force)?;
    }
    let plan = tokio::select! {
        () = shutdown => {
            return Err(Failure::Runtime("stopped; nothing was written".to_owned()));
        }
        plan = gather(&args, path.as_deref()) => plan?,
    };
    let text = plan.text();
    let shown = path.as_deref().unwrap_or(Path::new("-"));
    Config::parse(&ConfigFile::new(&shown.to_string_lossy(), &text))?;
    let Some(path) = path else {
        out.write_all(text.as_bytes())?;
        out.flush()?;
        return Ok(());
    };
    for secret in plan.typed() {
        refuse_to_overwrite(&secret.path, args.force)?;
    }
    plan.write(&path, &text).map_err(|(path, error)| {
        Failure::Runtime(format!(
            "cannot write {}: {error}; name another place: `kstar init PATH`",
            path.display()
        ))
    })?;
    for secret in plan.typed() {
        writeln!(
            out,
            "wrote {} (not for others to read)",
            secret.path.display()
        )?;
    }
    writeln!(out, "wrote {}", path.display())?;
    let named = if found_without_a_name(&path) {
        String::new()
    } else {
        format!(" --config {}", path.display())
    };
    let go = if is_for_service(&path) && UNIT_PLACES.iter().any(|unit| Path::new(unit).exists()) {
        "systemctl restart kstar".to_owned()
    } else {
        format!("kstar run{named}")
    };
    writeln!(out, "next:\n  kstar check --connect{named}\n  {go}")?;
    out.flush()?;
    Ok(())
}

fn refuse_to_overwrite(path: &Path, force: bool) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure::Usage(format!(
            "{0} is a folder; name a file in it, like {0}/kstar.toml",
            path.display()
        )));
    }
    if !force && path.exists() && !is_packaged(path) {
        return Err(Failure::Usage(format!(
            "{} is there already; use --force to overwrite it, or name another place: `kstar init PATH`",
            path.display()
        )));
    }
    Ok(())
}

/// Whether it is as the package has brought it.
fn is_packaged(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes == PACKAGED.as_bytes())
}

fn is_for_service(path: &Path) -> bool {
    path == Path::new(SYSTEM_PLACE)
}

/// Where a configuration is found by every command: the user's own place, for root the system's.
fn usual_place() -> Result<PathBuf, Failure> {
    let mut places = usual_places()
        .into_iter()
        .filter(|place| place.is_absolute());
    let place = if is_root() {
        places.next_back()
    } else {
        places.next()
    };
    place.ok_or_else(|| Failure::Usage("name the file to write: `kstar init PATH`".to_owned()))
}

/// Whether commands find this file by themselves.
fn found_without_a_name(path: &Path) -> bool {
    let first = usual_places().into_iter().find(|place| place.exists());
    let same = |first: PathBuf| Some(first.canonicalize().ok()? == path.canonicalize().ok()?);
    environment("KSTAR_CONFIG").is_none() && first.and_then(same).unwrap_or(false)
}

/// Everything that is to be in the file.
async fn gather(args: &InitArgs, path: Option<&Path>) -> Result<Plan, Failure> {
    let asking = Asking { silent: args.yes };
    let inverters = inverters(args, &asking).await?;
    let sqlite = SinkSections::BUILT.contains(&"sqlite") && history(args, &asking).await?;
    let mqtt = if SinkSections::BUILT.contains(&"mqtt") {
        mqtt(args, &asking, path).await?
    } else {
        None
    };
    let influxdb = if SinkSections::BUILT.contains(&"influxdb") {
        influxdb(args, &asking, path).await?
    } else {
        None
    };
    Ok(Plan {
        state_dir: path
            .filter(|path| is_for_service(path))
            .map(|_| SERVICE_STATE),
        inverters,
        sqlite: sqlite.then(|| History {
            path: args.sqlite.clone(),
        }),
        mqtt,
        influxdb,
    })
}

async fn inverters(args: &InitArgs, asking: &Asking) -> Result<Vec<Inverter>, Failure> {
    let mut modules = Vec::new();
    let hosts = if args.host.is_empty() {
        modules = search(args).await;
        let found: Vec<String> = modules.iter().map(Module::host).collect();
        let question = if found.is_empty() {
            "Inverter's address (empty: it is looked for at each start)"
        } else {
            "Inverters to read, by address"
        };
        asking
            .ask(question, &found.join(" "), |answer| {
                answer.split_whitespace().map(host).collect()
            })
            .await?
    } else {
        args.host.clone()
    };
    let mut names = args.name.iter();
    let mut inverters = Vec::new();
    for (host, number) in hosts.iter().zip(1..) {
        let usual = match hosts.len() {
            1 => "inverter".to_owned(),
            _ => format!("inverter{number}"),
        };
        let name = match names.next() {
            Some(name) => name.clone(),
            None => asking.ask(&format!("Name of {host}"), &usual, name).await?,
        };
        let module = modules.iter().find(|module| module.host() == *host);
        inverters.push(Inverter {
            name,
            lines: lines(host, module).await,
        });
    }
    // One that is looked for can have a name too; more names than hosts are a mistake that shows.
    inverters.extend(names.map(|name| Inverter {
        name: name.clone(),
        lines: Vec::new(),
    }));
    Ok(inverters)
}

/// The lines that lead to the inverter at a host: what it speaks is found out by asking.
async fn lines(host: &str, module: Option<&Module>) -> Vec<String> {
    say(&format!("Asking {host} what it speaks ..."));
    let place = host.parse().ok();
    let Some(Host::At { host: name, port }) = place else {
        return vec![format!("host = {}", quoted(host))];
    };
    let stranger = Stranger {
        host: name,
        port,
        module: module.cloned(),
        elsewhere: false,
        tried: None,
        timeout: None,
        fast: false,
    };
    match identify(&stranger).await {
        Ok(inverter) => {
            say(&format!("It is {inverter}."));
            inverter.lines()
        }
        Err(unknown) => {
            say(&format!(
                "{unknown}; `kstar check --connect` tells more, and finds out what it speaks once it is there."
            ));
            vec![format!("host = {}", quoted(host))]
        }
    }
}

/// Those who answer a greeting.
async fn search(args: &InitArgs) -> Vec<Module> {
    let greeted: Vec<_> = args.address.iter().map(|address| address.0).collect();
    say("Looking for inverters ...");
    let modules = match greeting::search(&greeted, SEARCH, &Counts::default()).await {
        Ok((_, modules)) => modules,
        Err(error) => {
            say(&format!("Cannot look for inverters: {error}"));
            Vec::new()
        }
    };
    if modules.is_empty() {
        say("None has answered; a broadcast does not leave this network, nor a container's.");
    }
    modules
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
            |answer| match answer.to_ascii_lowercase().as_str() {
                "y" | "yes" => Ok(true),
                "n" | "no" => Ok(false),
                _ => Err("write yes or no".to_owned()),
            },
        )
        .await
}

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
    let url = asking
        .ask(
            "MQTT broker, for Home Assistant and others (empty: none)",
            "",
            |answer| optional(answer, mqtt_url),
        )
        .await?;
    let Some(url) = url else { return Ok(None) };
    let anything = |answer: &str| optional(answer, |text| Ok(text.to_owned()));
    let username = asking
        .ask("User at the broker (empty: none)", "", anything)
        .await?;
    let password = match &username {
        Some(_) => {
            asking
                .secret("Password at the broker", path, "mqtt-password")
                .await?
        }
        None => None,
    };
    Ok(Some(Mqtt {
        url,
        username,
        password,
    }))
}

async fn influxdb(
    args: &InitArgs,
    asking: &Asking,
    path: Option<&Path>,
) -> Result<Option<Influxdb>, Failure> {
    if let (Some(url), Some(org), Some(bucket)) =
        (&args.influxdb, &args.influxdb_org, &args.influxdb_bucket)
    {
        return Ok(Some(Influxdb {
            url: url.clone(),
            org: org.clone(),
            bucket: bucket.clone(),
            token: Secret::named(
                args.influxdb_token_file.as_ref(),
                args.influxdb_token_env.as_ref(),
            ),
        }));
    }
    let url = asking
        .ask(
            "InfluxDB, like http://localhost:8086 (empty: none)",
            "",
            |answer| optional(answer, influxdb_url),
        )
        .await?;
    let Some(url) = url else { return Ok(None) };
    let something = |answer: &str| match answer {
        "" => Err("it needs one".to_owned()),
        answer => Ok(answer.to_owned()),
    };
    Ok(Some(Influxdb {
        url,
        org: asking.ask("Organisation", "home", something).await?,
        bucket: asking.ask("Bucket", "solar", something).await?,
        token: asking.secret("Token", path, "influxdb-token").await?,
    }))
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

fn host(text: &str) -> Result<String, String> {
    text.parse::<Host>().map(|_| text.to_owned())
}

fn name(text: &str) -> Result<String, String> {
    InverterName::try_from(text.to_owned()).map(|_| text.to_owned())
}

fn mqtt_url(text: &str) -> Result<String, String> {
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("mqtt://{text}")
    };
    let section = Mqtt {
        url: url.clone(),
        username: None,
        password: None,
    };
    fits(&url, &section.text())
}

fn influxdb_url(text: &str) -> Result<String, String> {
    let section = Influxdb {
        url: text.to_owned(),
        org: "home".to_owned(),
        bucket: "solar".to_owned(),
        token: Some(Secret::Env("TOKEN".to_owned())),
    };
    fits(text, &section.text())
}

/// The URL, if the sink's own section takes it.
fn fits(url: &str, section: &str) -> Result<String, String> {
    if url.contains('@') {
        return Err("user and password do not belong into the URL, where they show".to_owned());
    }
    match Config::parse(&ConfigFile::new("", section)) {
        Ok(_) => Ok(url.to_owned()),
        Err(error) => Err(error.message().to_owned()),
    }
}
