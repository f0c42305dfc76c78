//! What goes into the configuration, as its text, and onto the disk: whole or not at all.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What is to be in the file.
pub(super) struct Plan {
    /// The state folder, if not the usual one of the user that runs the program.
    pub(super) state_dir: Option<&'static str>,
    /// The time zone, if it is another than the system's.
    pub(super) timezone: Option<String>,
    pub(super) inverters: Vec<Inverter>,
    pub(super) tariff: Option<Tariff>,
    pub(super) page: Option<Page>,
    pub(super) sqlite: Option<History>,
    pub(super) mqtt: Option<Mqtt>,
    pub(super) influxdb: Option<Influxdb>,
}

pub(super) struct Inverter {
    pub(super) name: String,
    /// Where it is and what it speaks; looked for if there are none.
    pub(super) lines: Vec<String>,
}

pub(super) struct History {
    /// Where, if not at the usual place.
    pub(super) path: Option<PathBuf>,
}

pub(super) struct Mqtt {
    pub(super) url: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

/// What electricity costs.
pub(super) struct Tariff {
    pub(super) currency: String,
    pub(super) price: String,
    pub(super) feed_in: String,
}

/// Where the page for browsers is served.
#[cfg_attr(
    not(feature = "http"),
    expect(dead_code, reason = "a build without a page")
)]
pub(super) enum Page {
    /// For this machine alone.
    Local,
    /// For the networks of this machine, to anyone who has the token.
    Network(Secret),
}

pub(super) struct Influxdb {
    pub(super) url: String,
    pub(super) target: Target,
}

/// Where points go in InfluxDB.
pub(super) enum Target {
    Bucket {
        org: String,
        bucket: String,
        token: Option<Secret>,
    },
    /// Of InfluxDB 1.
    Database {
        name: String,
        username: Option<String>,
        password: Option<Secret>,
    },
}

/// Where a secret is; never in the configuration itself.
pub(super) enum Secret {
    /// In a file that somebody else has made.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
    /// Typed just now.
    Typed(Typed),
}

/// What a section is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The file.
    File,
    /// A trial before anything is written: what was typed stands in it, and nobody sees it.
    Trial,
}

/// A secret that is to be written to a file of its own.
pub(super) struct Typed {
    pub(super) path: PathBuf,
    pub(super) content: String,
}

impl Secret {
    /// One that the command line names.
    pub(super) fn named(file: Option<&PathBuf>, env: Option<&String>) -> Option<Self> {
        let file = file.cloned().map(Self::File);
        file.or_else(|| env.cloned().map(Self::Env))
    }

    fn text(&self, shape: Shape) -> String {
        match self {
            Self::Typed(Typed { content, .. }) if shape == Shape::Trial => quoted(content),
            Self::File(path) | Self::Typed(Typed { path, .. }) => {
                format!("{{ file = {} }}", quoted_path(path))
            }
            Self::Env(name) => format!("{{ env = {} }}", quoted(name)),
        }
    }
}

impl Plan {
    /// The configuration.
    pub(super) fn text(&self) -> String {
        let mut text = "\
# Configuration of kstar-collector, made by `kstar init`. `kstar check --connect` tries whether it works.
# What is not set here has a default; config.example.toml shows every key.
"
        .to_owned();
        if let Some(folder) = self.state_dir {
            let _ = write!(
                text,
                "
# The folder of the service: named here, every command finds what the service has stored.
state_dir = {}
",
                quoted(folder)
            );
        }
        if let Some(zone) = &self.timezone {
            let zone = quoted(zone);
            let _ = write!(
                text,
                "\n# The zone whose midnights part the days.\ntimezone = {zone}\n"
            );
        }
        text += "
# The time from one poll to the next: 5 s has proven itself, and nothing below 1 s is taken.
#[collector]
#poll_interval = \"5s\"
";
        if self.inverters.is_empty() {
            text += "
# An inverter is looked for at each start. Its address makes that quicker and works everywhere.
#[[inverter]]
#name = \"inverter\"
#host = \"192.168.1.50\"
";
        }
        for Inverter { name, lines } in &self.inverters {
            text += "\n# An inverter: what it is called in every sink, and where it is. Give it a fixed address in the router.\n";
            let lines = if lines.is_empty() {
                "#host = \"192.168.1.50\"".to_owned()
            } else {
                lines.join("\n")
            };
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "[[inverter]]\nname = {}\n{lines}", quoted(name));
        }
        let sections = [
            self.tariff.as_ref().map(Tariff::text),
            self.page.as_ref().map(Page::text),
            self.sqlite.as_ref().map(History::text),
            self.mqtt.as_ref().map(|mqtt| mqtt.text(Shape::File)),
            (self.influxdb.as_ref()).map(|influxdb| influxdb.text(Shape::File)),
        ];
        text.extend(sections.into_iter().flatten());
        if self.sqlite.is_none() && self.mqtt.is_none() && self.influxdb.is_none() {
            text += "\n# JSON lines on standard output.\n[sinks.stdout]\n";
        }
        text
    }

    /// What is in it, a line for each part.
    pub(super) fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Inverter { name, lines: place } in &self.inverters {
            let place = if place.is_empty() {
                "looked for at each start".to_owned()
            } else {
                place.join(", ")
            };
            lines.push(format!("inverter {name}: {place}"));
        }
        lines.extend((self.timezone.as_ref()).map(|zone| format!("time zone: {zone}")));
        lines.extend(self.tariff.as_ref().map(|tariff| {
            let Tariff {
                currency,
                price,
                feed_in,
            } = tariff;
            format!("prices: {price} {currency} for a kWh, {feed_in} for one that is fed in")
        }));
        lines.extend(self.page.as_ref().map(Page::summary));
        lines.extend(self.sqlite.as_ref().map(|history| match &history.path {
            Some(path) => format!("history: {}", path.display()),
            None => "history: history.db in the state folder".to_owned(),
        }));
        lines.extend((self.mqtt.as_ref()).map(|mqtt| format!("MQTT: {}", mqtt.url)));
        lines.extend((self.influxdb.as_ref()).map(|sink| format!("InfluxDB: {}", sink.url)));
        lines
    }

    /// The secrets that have a file still to be written.
    pub(super) fn typed(&self) -> impl Iterator<Item = &Typed> {
        let page = match &self.page {
            Some(Page::Network(token)) => Some(token),
            Some(Page::Local) | None => None,
        };
        let mqtt = (self.mqtt.as_ref()).and_then(|mqtt| mqtt.password.as_ref());
        let influxdb = (self.influxdb.as_ref()).and_then(|influxdb| influxdb.target.secret());
        let secrets = [page, mqtt, influxdb].into_iter().flatten();
        secrets.filter_map(|secret| match secret {
            Secret::Typed(typed) => Some(typed),
            Secret::File(_) | Secret::Env(_) => None,
        })
    }

    /// Writes the secrets, then the configuration that names them; the error tells which file it was.
    pub(super) fn write(&self, path: &Path, text: &str) -> Result<(), (PathBuf, io::Error)> {
        for Typed { path, content } in self.typed() {
            write(path, content, Readers::Owner).map_err(|error| (path.clone(), error))?;
        }
        write(path, text, Readers::Usual).map_err(|error| (path.to_owned(), error))
    }
}

impl History {
    fn text(&self) -> String {
        let path = match &self.path {
            Some(path) => format!("path = {}", quoted_path(path)),
            None => "# history.db in the state folder, where nothing else is said.\n#path = \"/var/lib/kstar/history.db\"".to_owned(),
        };
        format!("\n# A history in one SQLite file.\n[sinks.sqlite]\n{path}\n")
    }
}

impl Tariff {
    pub(super) fn text(&self) -> String {
        let Self {
            currency,
            price,
            feed_in,
        } = self;
        let currency = quoted(currency);
        format!(
            "\n# What a kWh from the grid costs, and what one that is fed in brings.\n[[tariff]]\ncurrency = {currency}\nprice = {price}\nfeed_in = {feed_in}\n"
        )
    }
}

impl Page {
    fn summary(&self) -> String {
        match self {
            Self::Local => "page: http://127.0.0.1:8099/, for this machine alone".to_owned(),
            Self::Network(token) => {
                let place = match token {
                    Secret::File(path) | Secret::Typed(Typed { path, .. }) => {
                        path.display().to_string()
                    }
                    Secret::Env(name) => format!("${name}"),
                };
                format!(
                    "page: port 8099 of this machine, like http://127.0.0.1:8099/; its token is in {place}"
                )
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Local => "
# The page for browsers, metrics, health and the API, for this machine alone.
[http]
listen = \"127.0.0.1:8099\"
"
            .to_owned(),
            Self::Network(token) => format!(
                "
# The page for browsers, metrics, health and the API, for anyone who has the token.
[http]
listen = \"0.0.0.0:8099\"
token = {}
",
                token.text(Shape::File)
            ),
        }
    }
}

impl Mqtt {
    pub(super) fn text(&self, shape: Shape) -> String {
        let mut text = format!(
            "\n# Topics at an MQTT broker, and Home Assistant, which finds the inverter by itself.\n[sinks.mqtt]\nurl = {}\n",
            quoted(&self.url)
        );
        if let Some(username) = &self.username {
            let _ = writeln!(text, "username = {}", quoted(username));
        }
        if let Some(password) = &self.password {
            let _ = writeln!(text, "password = {}", password.text(shape));
        }
        text
    }
}

impl Target {
    fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Bucket { token, .. } => token.as_ref(),
            Self::Database { password, .. } => password.as_ref(),
        }
    }

    /// The keys that name it, and their values.
    fn lines(&self, shape: Shape) -> Vec<(&'static str, Option<String>)> {
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.text(shape));
        match self {
            Self::Bucket { org, bucket, token } => vec![
                ("org", Some(quoted(org))),
                ("bucket", Some(quoted(bucket))),
                ("token", secret(token)),
            ],
            Self::Database {
                name,
                username,
                password,
            } => vec![
                ("database", Some(quoted(name))),
                ("username", username.as_deref().map(quoted)),
                ("password", secret(password)),
            ],
        }
    }
}

impl Influxdb {
    pub(super) fn text(&self, shape: Shape) -> String {
        let url = quoted(&self.url);
        let mut text = format!("\n# Points in InfluxDB.\n[sinks.influxdb]\nurl = {url}\n");
        for (key, value) in self.target.lines(shape) {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text
    }
}

/// A text as TOML writes it, which is as JSON does.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A path that means the same from every folder.
fn quoted_path(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    quoted(&path.to_string_lossy())
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readers {
    Owner,
    Usual,
}

/// Writes a file beside its place and puts it there when it is whole. A folder that is missing is made. What root writes
/// for a group, as the service's folder has one, that group may read, and nobody else.
fn write(path: &Path, content: &str, readers: Readers) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = readers;
    let mut file = options.open(&beside)?;
    let written = give_to_group(&file, folder)
        .and_then(|()| file.write_all(content.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(unix)]
fn give_to_group(file: &File, folder: Option<&Path>) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let Some(folder) = folder.filter(|_| is_root()) else {
        return Ok(());
    };
    let group = std::fs::metadata(folder)?.gid();
    if group == 0 {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, None, Some(group))?;
    file.set_permissions(std::fs::Permissions::from_mode(0o640))
}

#[cfg(not(unix))]
fn give_to_group(_file: &File, _folder: Option<&Path>) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
pub(super) fn is_root() -> bool {
    false
}
