//! Kinds of settings that several sections of the configuration share: durations and sizes as text, and secrets.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

pub mod size;

/// Durations written as people write them: `"5s"`, `"500ms"`, `"1m 30s"`, `"2h"`, `"400d"`.
pub mod duration {
    use std::time::Duration;

    use serde::Deserializer;

    /// The duration that a text names; the error says how to write one.
    pub fn parse(text: &str) -> Result<Duration, String> {
        let advice = "write a number and a unit, like \"5s\", \"500ms\", \"2m\", \"1h\" or \"30d\"";
        let span: jiff::Span = text
            .trim()
            .parse()
            .map_err(|_| format!("`{text}` is no duration; {advice}"))?;
        if span.get_years() != 0 || span.get_months() != 0 {
            return Err(format!(
                "`{text}` has years or months, whose length varies; write days, like \"365d\""
            ));
        }
        let length = span
            .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
            .map_err(|_| format!("`{text}` is too long a duration"))?;
        Duration::try_from(length).map_err(|_| format!("`{text}` is a negative duration; {advice}"))
    }

    /// The shortest text that [`parse`] reads as this duration.
    pub fn text(duration: Duration) -> String {
        match (duration.as_secs(), duration.subsec_millis()) {
            (0, millis) => format!("{millis}ms"),
            (seconds, 0) if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
            (seconds, 0) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
            (seconds, 0) if seconds % 60 == 0 => format!("{}m", seconds / 60),
            (seconds, 0) => format!("{seconds}s"),
            (seconds, millis) => format!("{}ms", seconds * 1000 + u64::from(millis)),
        }
    }

    /// For `#[serde(with)]` on a `Duration`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let expected = "a duration as text, like \"5s\", \"500ms\" or \"2m\"";
        super::from_text(deserializer, expected, parse)
    }

    /// For `#[serde(with)]` on an `Option<Duration>` that is `None` where the key is missing.
    pub mod optional {
        use std::time::Duration;

        use serde::Deserializer;

        /// The duration of a key that is there.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }
    }
}

/// A value that is written as a text, which is what is expected of anything else.
pub fn from_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct Text<F>(&'static str, F);

    impl<T, F: FnOnce(&str) -> Result<T, String>> Visitor<'_> for Text<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.1)(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(expected, parse))
}

/// Where systemd puts what a unit's `LoadCredential=` names.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// A password or token: in the configuration itself, in an environment variable (`{ env = "NAME" }`), in a file of its
/// own (`{ file = "/run/secrets/mqtt" }`), or in a credential that systemd passes on (`{ credential = "NAME" }`). It
/// never shows in logs, errors or `Debug`.
///
/// Line breaks at the end of a variable, file or credential are not part of the secret: editors and `echo` put one
/// there, and no password has one. Spaces are part of it. One that is empty counts as missing.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The secret itself.
    Literal(String),
    /// The name of the environment variable that holds it.
    Env(String),
    /// The file that holds it.
    File(PathBuf),
    /// The name of the systemd credential that holds it.
    Credential(String),
}

impl Secret {
    /// The secret, if it stands in the configuration itself.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(secret) => Some(secret),
            Self::Env(_) | Self::File(_) | Self::Credential(_) => None,
        }
    }

    /// The file that it stands in, if it stands in one that there is.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Literal(_) | Self::Env(_) => None,
            Self::File(path) => Some(path.clone()),
            Self::Credential(name) => credential(credentials().as_deref(), name).ok(),
        }
    }

    /// Fetches the secret. The error names the place and what is wrong with it, never the content.
    pub fn reveal(&self) -> Result<String, String> {
        match self {
            Self::Literal(secret) => Ok(secret.clone()),
            Self::Env(name) => {
                let content = std::env::var(name).map_err(|error| match error {
                    std::env::VarError::NotPresent => format!(
                        "the environment variable {name}, which should hold a secret, is not set"
                    ),
                    std::env::VarError::NotUnicode(_) => {
                        format!("the environment variable {name} holds something that is not UTF-8")
                    }
                })?;
                trimmed(&content, || format!("the environment variable {name}"))
            }
            Self::File(path) => {
                let content = std::fs::read_to_string(path).map_err(|error| {
                    format!("cannot read the secret in {}: {error}", path.display())
                })?;
                trimmed(&content, || format!("the file {}", path.display()))
            }
            Self::Credential(name) => {
                let path = credential(credentials().as_deref(), name)?;
                let content = std::fs::read_to_string(&path).map_err(|error| {
                    format!(
                        "cannot read the credential `{name}` in {}: {error}; does the unit have a line LoadCredential={name}:PATH?",
                        path.display()
                    )
                })?;
                trimmed(&content, || format!("the credential `{name}`"))
            }
        }
    }
}

/// The secret in what was read from outside of the configuration.
fn trimmed(content: &str, place: impl Fn() -> String) -> Result<String, String> {
    match content.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{}, which should hold a secret, is empty", place())),
        secret => Ok(secret.to_owned()),
    }
}

/// Where this process has its credentials, if it has any.
fn credentials() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The file of a credential in that folder.
fn credential(folder: Option<&Path>, name: &str) -> Result<PathBuf, String> {
    let folder = folder.ok_or_else(|| {
        format!(
            "the credential `{name}` cannot be had: {CREDENTIALS} is not set, as it is in a systemd unit with LoadCredential={name}:PATH; outside of one use {{ file = \"PATH\" }} or {{ env = \"NAME\" }}"
        )
    })?;
    Ok(folder.join(name))
}

/// Whether the text that says where a secret is can say so.
fn check_place(secret: &Secret) -> Result<(), String> {
    match secret {
        Secret::Env(name) if name.is_empty() || name.contains(['=', '\0']) => Err(format!(
            "`{name}` cannot name an environment variable; write its name alone, like \"MQTT_PASSWORD\""
        )),
        Secret::File(path) if path.as_os_str().is_empty() => {
            Err("the path of the secret's file is empty; write it".to_owned())
        }
        Secret::Credential(name)
            if matches!(&**name, "" | "." | "..") || name.contains(['/', '\\', '\0']) =>
        {
            Err(format!(
                "`{name}` cannot name a credential; write its name alone, as in LoadCredential=NAME:PATH"
            ))
        }
        _ => Ok(()),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("(secret)"),
            Self::Env(name) => write!(f, "(secret in the environment variable {name})"),
            Self::File(path) => write!(f, "(secret in {})", path.display()),
            Self::Credential(name) => write!(f, "(secret in the credential {name})"),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;

        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a text, { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }",
                )
            }

            fn visit_str<E: de::Error>(self, secret: &str) -> Result<Secret, E> {
                Ok(Secret::Literal(secret.to_owned()))
            }

            // An unquoted number would otherwise be shown in the error, and it may be the password.
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
                Err(E::custom("a secret must be written in quotes"))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
                Err(E::custom("a secret must be written in quotes"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
                let secret = match map.next_key::<String>()?.as_deref() {
                    Some("env") => Secret::Env(map.next_value()?),
                    Some("file") => Secret::File(map.next_value()?),
                    Some("credential") => Secret::Credential(map.next_value()?),
                    Some(other) => {
                        let known = &["env", "file", "credential"];
                        return Err(de::Error::unknown_field(other, known));
                    }
                    None => return Err(de::Error::missing_field("env`, `file` or `credential")),
                };
                check_place(&secret).map_err(de::Error::custom)?;
                match map.next_key::<String>()? {
                    None => Ok(secret),
                    Some(_) => Err(de::Error::custom(
                        "a secret has one place: `env`, `file` or `credential`",
                    )),
                }
            }
        }

        deserializer.deserialize_any(SecretVisitor)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_duration_is_read_as_people_write_it() {
        for (text, millis) in [
            ("5s", 5000),
            ("500ms", 500),
            ("1m 30s", 90_000),
            ("2 hours", 7_200_000),
            ("400d", 34_560_000_000),
            ("0s", 0),
        ] {
            assert_eq!(
                duration::parse(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_duration_is_told_how_to_be_right() {
        for text in [
            "",
            "5",
            "s",
            "5 parsecs",
            "-5s",
            "1 year",
            "99999999999999d",
        ] {
            assert!(duration::parse(text).is_err(), "{text}");
        }
        assert!(duration::parse("5").unwrap_err().contains("\"5s\""));
    }

    #[test]
    fn a_duration_is_written_as_it_can_be_read() {
        for text in ["5s", "500ms", "1500ms", "2m", "1h", "400d", "0ms"] {
            assert_eq!(
                duration::text(duration::parse(text).expect("a duration")),
                text
            );
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Section {
        password: Secret,
    }

    fn section(text: &str) -> Result<Secret, String> {
        toml::from_str::<Section>(text)
            .map(|section| section.password)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_stands_in_the_file_the_environment_or_a_file_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "from a file\r\n").expect("written");
        let literal = section("password = 'hunter2'").expect("a literal");
        assert_eq!(literal.reveal().as_deref(), Ok("hunter2"));
        assert_eq!(literal.literal(), Some("hunter2"));
        let file =
            section(&format!("password = {{ file = '{}' }}", path.display())).expect("a file");
        assert_eq!(file.reveal().as_deref(), Ok("from a file"));
        assert_eq!(file.literal(), None);
        // Cargo sets this one for every test, so that the environment need not be changed.
        let env = section("password = { env = 'CARGO_PKG_NAME' }").expect("a variable");
        assert_eq!(env.reveal().as_deref(), Ok("kstar-common"));
    }

    #[test]
    fn line_breaks_at_the_end_are_not_part_of_a_secret_and_spaces_are() {
        let place = || "it".to_owned();
        for (content, secret) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n\n", "a"),
            (" a b \n", " a b "),
            ("a\nb", "a\nb"),
        ] {
            assert_eq!(trimmed(content, place).as_deref(), Ok(secret));
        }
        for nothing in ["", "\n", "\r\n"] {
            let error = trimmed(nothing, place).unwrap_err();
            assert!(error.contains("it, which should hold a secret, is empty"));
        }
    }

    #[test]
    fn a_credential_is_a_file_in_the_folder_that_systemd_names() {
        let path = credential(Some(Path::new("/run/credentials/kstar")), "mqtt");
        assert_eq!(path, Ok("/run/credentials/kstar/mqtt".into()));
        let nowhere = credential(None, "mqtt").unwrap_err();
        assert!(
            nowhere.contains("CREDENTIALS_DIRECTORY is not set") && nowhere.contains("mqtt"),
            "{nowhere}"
        );
        // Cargo's tests are no unit.
        let secret = section("password = { credential = 'mqtt' }").expect("a credential");
        assert!(secret.reveal().unwrap_err().contains("LoadCredential"));
        assert_eq!(secret.file(), None);
        assert!(format!("{secret:?}").contains("mqtt"));
    }

    #[test]
    fn a_missing_secret_is_named_by_its_place() {
        let env = section("password = { env = 'NO_SUCH_VARIABLE_HERE' }").expect("a variable");
        assert!(env.reveal().unwrap_err().contains("NO_SUCH_VARIABLE_HERE"));
        let file = section("password = { file = '/no/such/file' }").expect("a file");
        assert!(file.reveal().unwrap_err().contains("/no/such/file"));
    }

    #[test]
    fn a_secret_never_shows() {
        let shown = format!("{:?}", section("password = 'hunter2'"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_wrong_secret_is_refused_without_showing_it() {
        for text in [
            "password = { path = 'x' }",
            "password = {}",
            "password = { env = 'A', file = 'B' }",
            "password = { env = '' }",
            "password = { env = 'A=B' }",
            "password = { file = '' }",
            "password = { credential = '' }",
            "password = { credential = '..' }",
            "password = { credential = '../shadow' }",
            "password = { credential = '/etc/shadow' }",
        ] {
            assert!(section(text).is_err(), "{text}");
        }
        let error = section("password = ['a']").unwrap_err();
        assert!(error.contains("{ env"), "{error}");
    }
}
