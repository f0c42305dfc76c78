//! The section `[sinks.influxdb]`, and what may stand together in it.
//!
//! What one key says about another is checked as a whole, and what comes of it is a [`Plan`]. Secrets and certificates
//! are not read here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use kstar_common::key::KeyError;
use kstar_common::setting::{Secret, duration};
use kstar_common::tls;
use kstar_sink::delivery::DeliverySettings;
use rustls::ClientConfig;
use serde::Deserialize;
use url::Url;

use crate::line::Layout;

/// The section `[sinks.influxdb]`: points in InfluxDB, or in a server that speaks its line protocol.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfluxdbConfig {
    /// The server: `http://HOST:8086` or `https://HOST`, with a path if a proxy has it below one.
    pub(crate) url: Address,
    /// The organization, with a bucket.
    #[serde(default)]
    pub(crate) org: Option<String>,
    /// The bucket: InfluxDB 2 and 3, and 1.8 (`DATABASE/RETENTION_POLICY`).
    #[serde(default)]
    pub(crate) bucket: Option<String>,
    /// The token that may write there: a text, `{ env = "NAME" }`, `{ file = "PATH" }` or `{ credential = "NAME" }`.
    #[serde(default)]
    pub(crate) token: Option<Secret>,
    /// The database: InfluxDB 1.
    #[serde(default)]
    pub(crate) database: Option<String>,
    /// The retention policy in the database; its default one where nothing is said.
    #[serde(default)]
    pub(crate) retention_policy: Option<String>,
    /// The user who may write there, if the server wants one.
    #[serde(default)]
    pub(crate) username: Option<String>,
    /// The user's password: a text, `{ env = "NAME" }`, `{ file = "PATH" }` or `{ credential = "NAME" }`.
    #[serde(default)]
    pub(crate) password: Option<Secret>,
    /// The measurement that the points belong to.
    #[serde(default = "default_measurement")]
    pub(crate) measurement: String,
    /// Tags for every point, beside the inverter's name.
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    /// Whether what is sent is compressed.
    #[serde(default)]
    pub(crate) gzip: bool,
    /// The file with the certificates of those who may sign the server's; the system's where nothing is said.
    #[serde(default)]
    pub(crate) ca: Option<PathBuf>,
    /// How long readings are gathered before they are written together; `"0s"` for at once.
    #[serde(default, with = "duration")]
    pub(crate) flush_interval: Duration,
    /// How readings are delivered.
    #[serde(default)]
    pub(crate) delivery: DeliverySettings,
}

fn default_measurement() -> String {
    "inverter".to_owned()
}

/// What a section comes to, where all of it goes together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) address: Address,
    pub(crate) target: Target,
    pub(crate) credentials: Credentials,
    pub(crate) layout: Layout,
    pub(crate) gzip: bool,
    pub(crate) ca: Option<PathBuf>,
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

/// Something wrong with the value of a key.
fn wrong<T>(key: &str, message: impl Into<String>) -> Result<T, KeyError> {
    Err(KeyError::new(key, message))
}

impl InfluxdbConfig {
    /// What the section comes to; the error is at the key that is wrong, or that another one rules out.
    pub(crate) fn plan(&self) -> Result<Plan, KeyError> {
        let target = self.target()?;
        let credentials = self.credentials(&target)?;
        if self.ca.is_some() && !self.url.is_secure() {
            return wrong(
                "ca",
                "`ca` is set, but `url` begins with http://, which is without TLS; write https://",
            );
        }
        Ok(Plan {
            layout: Layout::new(&self.measurement, &self.tags)?,
            address: self.url.clone(),
            target,
            credentials,
            gzip: self.gzip,
            ca: self.ca.clone(),
        })
    }

    fn target(&self) -> Result<Target, KeyError> {
        let named = |key: &str, name: &str| {
            if name.trim().is_empty() || name.chars().any(char::is_control) {
                return wrong(
                    key,
                    format!("`{key}` is empty or holds a line break; write its name"),
                );
            }
            Ok(name.to_owned())
        };
        match (&self.bucket, &self.database) {
            (Some(_), Some(_)) => wrong(
                "database",
                "`bucket` and `database` exclude each other: `bucket` is for InfluxDB 2, 3 and 1.8, `database` for 1; delete one",
            ),
            (None, None) => Err(KeyError::of_section(
                "it is not said where the points go: set `org` and `bucket` (InfluxDB 2 and 3), or `database` (InfluxDB 1)",
            )),
            (Some(bucket), None) => {
                if self.retention_policy.is_some() {
                    return wrong(
                        "retention_policy",
                        "`retention_policy` goes with `database`; with `bucket` write `bucket = \"DATABASE/RETENTION_POLICY\"`",
                    );
                }
                let Some(org) = &self.org else {
                    return wrong(
                        "bucket",
                        "`bucket` needs `org`; where the server has no organizations (1.8, 3, VictoriaMetrics) any word will do",
                    );
                };
                Ok(Target::Bucket {
                    org: named("org", org)?,
                    bucket: named("bucket", bucket)?,
                })
            }
            (None, Some(database)) => {
                if self.org.is_some() {
                    return wrong(
                        "org",
                        "`org` goes with `bucket` and not with `database`; delete it",
                    );
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

    fn credentials(&self, target: &Target) -> Result<Credentials, KeyError> {
        let credentials = match (target, &self.token, &self.username, &self.password) {
            (_, None, None, None) => Credentials::Nobody,
            (Target::Bucket { .. }, Some(token), None, None) => Credentials::Token(token.clone()),
            (Target::Bucket { .. }, _, username, _) => {
                let key = match username {
                    Some(_) => "username",
                    None => "password",
                };
                return wrong(
                    key,
                    "`username` and `password` go with `database`; with `bucket` set `token` (for InfluxDB 1.8 it is \"USER:PASSWORD\")",
                );
            }
            (Target::Database { .. }, Some(_), ..) => {
                return wrong(
                    "token",
                    "`token` goes with `bucket`; with `database` set `username` and `password`",
                );
            }
            (Target::Database { .. }, None, Some(name), Some(password)) => {
                if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
                    return wrong(
                        "username",
                        "`username` is empty or holds a colon or a line break, which no user has",
                    );
                }
                Credentials::User {
                    name: name.clone(),
                    password: password.clone(),
                }
            }
            (Target::Database { .. }, None, username, _) => {
                let key = match username {
                    Some(_) => "username",
                    None => "password",
                };
                return wrong(key, "`username` and `password` belong together; set both");
            }
        };
        if let Some((key, secret)) = credentials.secret()
            && let Some(literal) = secret.literal()
        {
            check_secret(key, literal)?;
        }
        Ok(credentials)
    }
}

impl Plan {
    /// How the server is known to be the right one, with TLS. Reads the certificates.
    pub(crate) fn tls(&self) -> Result<Option<Arc<ClientConfig>>, KeyError> {
        if !self.address.is_secure() {
            return Ok(None);
        }
        let client = tls::client(self.ca.as_deref())?;
        Ok(Some(Arc::new(client.with_no_client_auth())))
    }
}

impl Credentials {
    /// The secret, and the key that has it.
    pub(crate) fn secret(&self) -> Option<(&'static str, &Secret)> {
        match self {
            Self::Nobody => None,
            Self::Token(token) => Some(("token", token)),
            Self::User { password, .. } => Some(("password", password)),
        }
    }

    /// The secret itself, if there is one and a request can carry it.
    pub(crate) fn reveal(&self) -> Result<Option<String>, KeyError> {
        let Some((key, secret)) = self.secret() else {
            return Ok(None);
        };
        let secret = secret
            .reveal()
            .map_err(|reason| KeyError::new(key, reason))?;
        check_secret(key, &secret)?;
        Ok(Some(secret))
    }
}

/// Whether a request can carry a secret.
fn check_secret(key: &str, secret: &str) -> Result<(), KeyError> {
    if secret.is_empty() {
        return wrong(
            key,
            format!("`{key}` is empty; write it, or leave the key out"),
        );
    }
    if HeaderValue::from_str(secret).is_err() {
        return wrong(
            key,
            format!(
                "`{key}` holds a line break or another control character, which no request can carry; write it anew"
            ),
        );
    }
    Ok(())
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
        let mut url = Url::parse(text.trim()).map_err(|error| {
            if text.is_ascii() {
                format!("this is no URL ({error}); {ADVICE}")
            } else {
                format!("a host's name has ASCII letters; write it as DNS has it, \"xn--…\", or its IP address. {ADVICE}")
            }
        })?;
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

    /// The same as the system wants it: an IPv6 address without its brackets.
    pub(crate) fn bare_host(&self) -> &str {
        self.host().trim_matches(['[', ']'])
    }

    /// The port, also where it is the usual one and not written.
    pub(crate) fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
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
mod tests;
