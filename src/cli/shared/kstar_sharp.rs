//! Started as kstar.sharp was: its environment and its arguments, so that a container can be swapped for this one.
//!
//! That program knew `IP` (the inverter), `MQTT` (the broker) and `SILENT`. It published seven topics and stored
//! nothing, with the user and password `mqtt` at a broker called `homeassistant` where nothing else was said.

use std::ffi::OsString;

use kstar_common::setting::Secret;

use super::environment::environment;

/// The broker where none is named: what the host of Home Assistant is called.
pub const BROKER: &str = "homeassistant";

/// What the environment says in the way of kstar.sharp.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The inverter; `0.0.0.0` is anywhere.
    pub host: Option<String>,
    /// The broker.
    pub broker: Option<String>,
}

impl Environment {
    /// What it says, if it says anything.
    pub fn read() -> Option<Self> {
        let text = |name| environment(name).map(|value| value.to_string_lossy().into_owned());
        let read = Self {
            host: text("IP"),
            broker: text("MQTT"),
        };
        (read.host.is_some() || read.broker.is_some()).then_some(read)
    }
}

/// The user and the password at the broker where no others are named.
pub fn user() -> (String, Option<Secret>) {
    ("mqtt".to_owned(), Some(Secret::Literal("mqtt".to_owned())))
}

/// Whether the environment asks for few words, whatever the variable holds.
pub fn silent() -> bool {
    std::env::var_os("SILENT").is_some()
}

/// Arguments with those of kstar.sharp in their present form: `--ip-192.168.1.50`, `--mqtt-broker`, `--silent-true`.
/// Only `run` understands them; `--mqtt-username` of another command is what it seems.
pub fn translate(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let arguments: Vec<OsString> = arguments.collect();
    if !arguments.iter().any(|argument| argument == "run") {
        return arguments;
    }
    let mut translated = Vec::new();
    for argument in arguments {
        let text = argument.to_str().unwrap_or_default();
        let old = [("--ip-", "--host"), ("--mqtt-", "--mqtt")];
        let value = old
            .into_iter()
            .find_map(|(prefix, option)| Some((option, text.strip_prefix(prefix)?)));
        if let Some((option, value)) = value {
            translated.push(format!("{option}={value}").into());
            translated.push("--kstar-sharp".into());
        } else if text.starts_with("--silent-") {
            translated.push("--silent".into());
        } else {
            translated.push(argument);
        }
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_arguments_are_understood_and_others_left_alone() {
        let old = [
            "kstar",
            "run",
            "--ip-10.0.0.9",
            "--mqtt-broker",
            "--silent-true",
            "--config",
            "a",
        ];
        let translated = translate(old.into_iter().map(OsString::from));
        assert_eq!(
            translated,
            [
                "kstar",
                "run",
                "--host=10.0.0.9",
                "--kstar-sharp",
                "--mqtt=broker",
                "--kstar-sharp",
                "--silent",
                "--config",
                "a"
            ]
        );
        let init = ["kstar", "init", "--mqtt-username", "me"].map(OsString::from);
        assert_eq!(translate(init.clone().into_iter()), init);
    }
}
