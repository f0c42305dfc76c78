//! What goes into the configuration, as its text, and onto the disk: whole or not at all.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What is to be in the file.
pub(super) struct Plan {
    /// The state folder, if not the usual one of the user that runs the program.
    pub(super) state_dir: Option<&'static str>,
    pub(super) inverters: Vec<Inverter>,
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

pub(super) struct Influxdb {
    pub(super) url: String,
    pub(super) org: String,
    pub(super) bucket: String,
    pub(super) token: Option<Secret>,
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

    fn text(&self) -> String {
        match self {
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
        if let Some(history) = &self.sqlite {
            text += &history.text();
        }
        if let Some(mqtt) = &self.mqtt {
            text += &mqtt.text();
        }
        if let Some(influxdb) = &self.influxdb {
            text += &influxdb.text();
        }
        if self.sqlite.is_none() && self.mqtt.is_none() && self.influxdb.is_none() {
            text += "\n# JSON lines on standard output.\n[sinks.stdout]\n";
        }
        text
    }

    /// The secrets that have a file still to be written.
    pub(super) fn typed(&self) -> impl Iterator<Item = &Typed> {
        let mqtt = self.mqtt.iter().filter_map(|mqtt| mqtt.password.as_ref());
        let influxdb = self
            .influxdb
            .iter()
            .filter_map(|influxdb| influxdb.token.as_ref());
        mqtt.chain(influxdb).filter_map(|secret| match secret {
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

impl Mqtt {
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "\n# Topics at an MQTT broker, and Home Assistant, which finds the inverter by itself.\n[sinks.mqtt]\nurl = {}\n",
            quoted(&self.url)
        );
        if let Some(username) = &self.username {
            let _ = writeln!(text, "username = {}", quoted(username));
        }
        if let Some(password) = &self.password {
            let _ = writeln!(text, "password = {}", password.text());
        }
        text
    }
}

impl Influxdb {
    pub(super) fn text(&self) -> String {
        let Self {
            url,
            org,
            bucket,
            token,
        } = self;
        let mut text = format!(
            "\n# Points in InfluxDB.\n[sinks.influxdb]\nurl = {}\norg = {}\nbucket = {}\n",
            quoted(url),
            quoted(org),
            quoted(bucket)
        );
        if let Some(token) = token {
            let _ = writeln!(text, "token = {}", token.text());
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
