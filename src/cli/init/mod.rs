//! `kstar init`: a first configuration, from what answers on the network and a few questions.
//!
//! Questions go to standard error, so that `kstar init -` can be piped. Nothing is written before everything is known,
//! and then whole or not at all.

use std::future::Future;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
#[cfg(feature = "http")]
use clap::ValueEnum;

use self::file::{Plan, is_root};
use self::questions::gather;
use self::words::{host, influxdb_url, mqtt_url, name, price, zone};
use super::shared::environment::environment;
use super::shared::failure::Failure;
use crate::config::{Config, ConfigFile, DiscoveryAddress, SYSTEM_PLACE, usual_places};

mod asking;
mod file;
mod inverters;
mod questions;
mod trial;
mod words;

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
    /// The time zone, like Europe/London [default: the system's]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    timezone: Option<String>,
    /// What a kWh from the grid costs, like 0.32
    #[arg(long, value_name = "NUMBER", value_parser = price)]
    price: Option<String>,
    /// What a kWh that is fed in brings [default: 0]
    #[arg(long, value_name = "NUMBER", value_parser = price, requires = "price")]
    feed_in: Option<String>,
    /// The currency of the prices [default: EUR]
    #[arg(long, value_name = "WORD", requires = "price")]
    currency: Option<String>,
    /// Who may see the page for browsers [default: local]
    #[cfg(feature = "http")]
    #[arg(long, value_enum, value_name = "WHO")]
    http: Option<Visitors>,
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
    #[arg(long, value_name = "URL", value_parser = influxdb_url)]
    influxdb: Option<String>,
    /// The organisation in InfluxDB
    #[arg(long, value_name = "NAME", requires = "influxdb")]
    influxdb_org: Option<String>,
    /// The bucket in InfluxDB
    #[arg(long, value_name = "NAME", requires = "influxdb")]
    influxdb_bucket: Option<String>,
    /// The database of InfluxDB 1, in place of organisation, bucket and token
    #[arg(long, value_name = "NAME", requires = "influxdb")]
    #[arg(conflicts_with_all = ["influxdb_org", "influxdb_bucket", "influxdb_token_file", "influxdb_token_env"])]
    influxdb_database: Option<String>,
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

/// Who may see the page for browsers.
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Visitors {
    /// Anyone at this machine
    Local,
    /// Anyone in its networks who has the token that is made for it
    Network,
    /// Nobody: there is no page
    No,
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
    args.check()?;
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
    tell(&plan, &path, out)
}

impl InitArgs {
    /// What cannot be told by the arguments one by one.
    fn check(&self) -> Result<(), Failure> {
        let has_bucket = self.influxdb_org.is_some() && self.influxdb_bucket.is_some();
        if self.influxdb.is_some() && self.influxdb_database.is_none() && !has_bucket {
            return Err(Failure::Usage(
                "--influxdb needs --influxdb-org and --influxdb-bucket, or --influxdb-database for InfluxDB 1"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Tells what was written, and how to go on.
fn tell(plan: &Plan, path: &Path, out: &mut impl Write) -> Result<(), Failure> {
    for secret in plan.typed() {
        writeln!(
            out,
            "wrote {} (not for others to read)",
            secret.path.display()
        )?;
    }
    writeln!(out, "wrote {}", path.display())?;
    for line in plan.summary() {
        writeln!(out, "  {line}")?;
    }
    let named = if found_without_a_name(path) {
        String::new()
    } else {
        format!(" --config {}", path.display())
    };
    let go = if is_for_service(path) && UNIT_PLACES.iter().any(|unit| Path::new(unit).exists()) {
        "systemctl restart kstar".to_owned()
    } else {
        format!("kstar run{named}")
    };
    writeln!(
        out,
        "next:\n  kstar check --connect{named}\n  {go}\n  kstar read{named}"
    )?;
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
