//! The section `[sinks.influxdb]`, and what may stand together in it.
//!
//! What one key says about another is checked while the file is read, so that `kstar check` finds it too. Secrets and
//! certificates are read only when the sink is opened.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kstar_sink::delivery::DeliverySettings;
use kstar_sink::setting::{Secret, duration};
use reqwest::Url;
use serde::Deserialize;

use crate::line::Layout;

/// The keys as they stand in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    /// The server: `http://HOST:8086` or `https://HOST`, with a path if a proxy has it below one.
    url: Address,
    /// The organization, with a bucket.
    #[serde(default)]
    org: Option<String>,
    /// The bucket: InfluxDB 2 and 3, and 1.8 (`DATABASE/RETENTION_POLICY`).
    #[serde(default)]
    bucket: Option<String>,
    /// The token that may write there: a text, `{ env = "NAME" }`, `{ file = "PATH" }` or `{ credential = "NAME" }`.
    #[serde(default)]
    token: Option<Secret>,
    /// The database: InfluxDB 1.
    #[serde(default)]
    database: Option<String>,
    /// The retention policy in the database; its default one where nothing is said.
    #[serde(default)]
    retention_policy: Option<String>,
    /// The user who may write there, if the server wants one.
    #[serde(default)]
    username: Option<String>,
    /// The user's password: a text, `{ env = "NAME" }`, `{ file = "PATH" }` or `{ credential = "NAME" }`.
    #[serde(default)]
    password: Option<Secret>,
    /// The measurement that the points belong to.
    #[serde(default = "default_measurement")]
    measurement: String,
    /// Tags for every point, beside the inverter's name.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// Whether what is sent is compressed.
    #[serde(default)]
    gzip: bool,
    /// The file with the certificates of those who may sign the server's; the system's where nothing is said.
    #[serde(default)]
    ca: Option<PathBuf>,
    /// How long readings are gathered before they are written together; `"0s"` for at once.
    #[serde(default, with = "duration")]
    flush_interval: Duration,
    /// How readings are delivered.
    #[serde(default)]
    delivery: DeliverySettings,
}

fn default_measurement() -> String {
    "inverter".to_owned()
}

/// The section `[sinks.influxdb]`: points in InfluxDB, or in a server that speaks its line protocol.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Section")]
pub struct InfluxdbConfig {
    pub(crate) address: Address,
    pub(crate) target: Target,
    pub(crate) credentials: Credentials,
    pub(crate) layout: Layout,
    pub(crate) gzip: bool,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) flush_interval: Duration,
    pub(crate) delivery: DeliverySettings,
}

/// Where in the server the points go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// Through `/api/v2/write`.
    Bucket { org: String, bucket: String },
    /// Through `/write`.
    Database {
        database: String,
        retention_policy: Option<String>,
    },
}

/// Who we say we are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Credentials {
    Nobody,
    Token(Secret),
    User { name: String, password: Secret },
}

impl TryFrom<Section> for InfluxdbConfig {
    type Error = String;

    fn try_from(section: Section) -> Result<Self, String> {
        let target = section.target()?;
        let credentials = section.credentials(&target)?;
        if section.ca.is_some() && !section.url.is_secure() {
            return Err(
                "`ca` is set, but `url` begins with http://, which is without TLS; write https://"
                    .to_owned(),
            );
        }
        Ok(Self {
            layout: Layout::new(&section.measurement, &section.tags)?,
            address: section.url,
            target,
            credentials,
            gzip: section.gzip,
            ca: section.ca,
            flush_interval: section.flush_interval,
            delivery: section.delivery,
        })
    }
}

impl Section {
    fn target(&self) -> Result<Target, String> {
        let named = |key: &str, name: &str| {
            if name.trim().is_empty() || name.chars().any(char::is_control) {
                return Err(format!(
                    "`{key}` is empty or holds a line break; write its name"
                ));
            }
            Ok(name.to_owned())
        };
        match (&self.bucket, &self.database) {
            (Some(_), Some(_)) => Err(
                "`bucket` and `database` exclude each other: `bucket` is for InfluxDB 2, 3 and 1.8, `database` for 1; delete one".to_owned(),
            ),
            (None, None) => Err(
                "it is not said where the points go: set `org` and `bucket` (InfluxDB 2 and 3), or `database` (InfluxDB 1)".to_owned(),
            ),
            (Some(bucket), None) => {
                if self.retention_policy.is_some() {
                    return Err("`retention_policy` goes with `database`; with `bucket` write `bucket = \"DATABASE/RETENTION_POLICY\"`".to_owned());
                }
                let Some(org) = &self.org else {
                    return Err("`bucket` needs `org`; where the server has no organizations (1.8, 3, VictoriaMetrics) any word will do".to_owned());
                };
                Ok(Target::Bucket {
                    org: named("org", org)?,
                    bucket: named("bucket", bucket)?,
                })
            }
            (None, Some(database)) => {
                if self.org.is_some() {
                    return Err("`org` goes with `bucket` and not with `database`; delete it".to_owned());
                }
                Ok(Target::Database {
                    database: named("database", database)?,
                    retention_policy: self
                        .retention_policy
                        .as_deref()
                        .map(|policy| named("retention_policy", policy))
                        .transpose()?,
                })
            }
        }
    }

    fn credentials(&self, target: &Target) -> Result<Credentials, String> {
        match (target, &self.token, &self.username, &self.password) {
            (_, None, None, None) => Ok(Credentials::Nobody),
            (Target::Bucket { .. }, Some(token), None, None) => {
                Ok(Credentials::Token(token.clone()))
            }
            (Target::Bucket { .. }, ..) => Err(
                "`username` and `password` go with `database`; with `bucket` set `token` (for InfluxDB 1.8 it is \"USER:PASSWORD\")".to_owned(),
            ),
            (Target::Database { .. }, Some(_), ..) => Err(
                "`token` goes with `bucket`; with `database` set `username` and `password`"
                    .to_owned(),
            ),
            (Target::Database { .. }, None, Some(name), Some(password)) => {
                if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
                    return Err("`username` is empty or holds a colon or a line break, which no user has".to_owned());
                }
                Ok(Credentials::User {
                    name: name.clone(),
                    password: password.clone(),
                })
            }
            (Target::Database { .. }, None, ..) => {
                Err("`username` and `password` belong together; set both".to_owned())
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket { org, bucket } => write!(f, "bucket {bucket} of {org}"),
            Self::Database {
                database,
                retention_policy: None,
            } => write!(f, "database {database}"),
            Self::Database {
                database,
                retention_policy: Some(policy),
            } => write!(f, "database {database}, retention policy {policy}"),
        }
    }
}

/// Where the server is: never with a secret in it, and without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Address(Url);

const ADVICE: &str = "write \"http://HOST:8086\", or with TLS \"https://HOST:8086\"";

impl TryFrom<String> for Address {
    type Error = String;

    /// The error never shows the URL, which may hold a password.
    fn try_from(text: String) -> Result<Self, String> {
        let mut url = Url::parse(text.trim())
            .map_err(|error| format!("this is no URL ({error}); {ADVICE}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{}:` is not spoken here; {ADVICE}", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "user and password do not belong into `url`, where they show; write `token`, or `username` and `password`"
                    .to_owned(),
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!(
                "nothing with `?` or `#` belongs into `url`; set `org` and `bucket`, or `database`. {ADVICE}"
            ));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        if path.ends_with("/write") {
            return Err(format!(
                "`url` ends before the path of the endpoint, which is put behind it; {ADVICE}"
            ));
        }
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl Address {
    /// Whether it is spoken to through TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether the server is not at the root of its host.
    pub(crate) fn has_path(&self) -> bool {
        self.0.path() != "/"
    }

    /// The host's name or address.
    pub(crate) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// An endpoint of the server, whose path begins with a slash.
    pub(crate) fn endpoint(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<InfluxdbConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    const BUCKET: &str = "url = 'http://h'\norg = 'o'\nbucket = 'b'\n";
    const DATABASE: &str = "url = 'http://h'\ndatabase = 'd'\n";

    #[test]
    fn what_may_stand_together_is_taken() {
        for text in [
            BUCKET.to_owned(),
            format!("{BUCKET}token = 't'"),
            DATABASE.to_owned(),
            format!("{DATABASE}username = 'u'\npassword = 'p'\nretention_policy = 'r'"),
            format!("{BUCKET}gzip = true\nmeasurement = 'solar'\ntags = {{ site = 'home' }}"),
            BUCKET.replace("http:", "https:") + "ca = '/no/such'",
        ] {
            config(&text).unwrap();
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do() {
        for (text, part) in [
            ("url = 'http://h'".to_owned(), "not said where"),
            (format!("{BUCKET}database = 'd'"), "exclude each other"),
            ("url = 'http://h'\nbucket = 'b'".to_owned(), "any word"),
            (format!("{BUCKET}retention_policy = 'r'"), "DATABASE/"),
            (
                format!("{BUCKET}username = 'u'\npassword = 'hunter2'"),
                "USER:PASSWORD",
            ),
            (
                format!("{BUCKET}token = 'hunter2'\nusername = 'u'"),
                "`token`",
            ),
            (format!("{DATABASE}token = 'hunter2'"), "`username`"),
            (format!("{DATABASE}org = 'o'"), "delete it"),
            (format!("{DATABASE}username = 'u'"), "set both"),
            (format!("{DATABASE}password = 'hunter2'"), "set both"),
            (
                format!("{DATABASE}username = 'a:b'\npassword = 'hunter2'"),
                "colon",
            ),
            (DATABASE.replace("'d'", "''"), "`database` is empty"),
            (format!("{BUCKET}ca = '/etc/ca.pem'"), "https://"),
            (
                format!("{BUCKET}tags = {{ inverter = 'a' }}"),
                "choose another",
            ),
            (format!("{BUCKET}measurement = ''"), "is empty"),
            (format!("{BUCKET}colour = 1"), "retention_policy"),
        ] {
            let error = config(&text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_wrong_url_is_told_how_to_be_right_and_its_password_is_not_shown() {
        let read = |url: &str| Address::try_from(url.to_owned());
        for url in [
            "",
            "localhost:8086",
            "localhost",
            "ftp://h",
            "http://",
            "http://h:99999",
            "http://h/api/v2/write",
            "http://h/write/",
            "http://h?db=hunter2",
            "http://h/#hunter2",
            "http://u:hunter2@h",
            "http://hunter2@h",
        ] {
            let error = read(url).unwrap_err();
            assert!(!error.contains("hunter2"), "{url}: {error}");
            assert!(error.contains("write "), "{url}: {error}");
        }
        for (url, shown, endpoint) in [
            ("http://h:8086", "http://h:8086", "http://h:8086/write"),
            ("http://h:8086/", "http://h:8086", "http://h:8086/write"),
            (
                "https://h/influx/",
                "https://h/influx",
                "https://h/influx/write",
            ),
            (
                "http://[::1]:8086",
                "http://[::1]:8086",
                "http://[::1]:8086/write",
            ),
        ] {
            let address = read(url).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.endpoint("/write").as_str(), endpoint);
            assert_eq!(address.has_path(), url.contains("/influx"));
        }
    }

    #[test]
    fn a_secret_never_shows() {
        let token = config(&format!("{BUCKET}token = 'hunter2'")).unwrap();
        let password = format!("{DATABASE}username = 'u'\npassword = 'hunter2'");
        for config in [token, config(&password).unwrap()] {
            let shown = format!("{config:?} {} {}", config.address, config.target);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
