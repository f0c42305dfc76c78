//! `config.example.toml` is right, complete, and shows the defaults.

#![cfg(all(
    feature = "stdout",
    feature = "sqlite",
    feature = "mqtt",
    feature = "influxdb",
    feature = "http"
))]
#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use kstar_collector::config::{CollectorSection, Config, ConfigFile};
use kstar_sink::sink::Context;

const EXAMPLE: &str = include_str!("../config.example.toml");

/// The example with every key in force: those that are commented out have no space after their `#`. Some of them are for TLS
/// and wrong without it, so all servers have that.
fn uncommented() -> String {
    let key = |line: &str| {
        line.strip_prefix('#')
            .filter(|rest| rest.starts_with(['[', '_']) || rest.starts_with(char::is_lowercase))
            .map(str::to_owned)
    };
    EXAMPLE
        .lines()
        .map(|line| key(line).unwrap_or_else(|| line.to_owned()) + "\n")
        .map(|line| {
            line.replace("\"mqtt://", "\"mqtts://")
                .replace("\"http://", "\"https://")
        })
        .collect()
}

fn parse(text: &str) -> Config {
    Config::parse(&ConfigFile::new("config.example.toml", text))
        .unwrap_or_else(|error| unreachable!("{error}"))
}

#[test]
fn the_example_is_right_as_it_is_and_with_every_key() {
    parse(EXAMPLE);
    let full = parse(&uncommented());
    assert_eq!(full.inverters().len(), 1);
    assert!(full.state_dir.is_some());
}

/// What the program says are the legal keys of a section: an unknown one makes it list them.
fn legal_keys(section: &str) -> Vec<String> {
    let text = format!("{section}\nno_such_key = 1\n");
    let error = Config::parse(&ConfigFile::new("", &text))
        .expect_err("an unknown key")
        .to_string();
    let (_, list) = error.split_once("expected ").expect("a list of legal keys");
    let list = list.split('\n').next().expect("a first line");
    list.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_legal_key_is_in_the_example() {
    let text = uncommented();
    for section in [
        "",
        "[collector]",
        "[gate]",
        "[meter]",
        "[[inverter]]",
        "[[tariff]]",
        "[http]",
        "[sinks]",
        "[sinks.stdout]",
        "[sinks.stdout.delivery]",
        "[sinks.sqlite]",
        "[sinks.sqlite.delivery]",
        "[sinks.mqtt]",
        "[sinks.mqtt.home_assistant]",
        "[sinks.mqtt.delivery]",
        "[sinks.influxdb]",
        "[sinks.influxdb.delivery]",
    ] {
        let keys = legal_keys(section);
        assert!(!keys.is_empty(), "{section}");
        let name = section.trim_matches(['[', ']']);
        let body = match section {
            "" => text.split("\n[").next().expect("a beginning"),
            _ => text
                .split_once(&format!("\n{section}\n"))
                .map_or("", |(_, rest)| rest.split("\n[").next().unwrap_or_default()),
        };
        for key in keys {
            let as_table = if name.is_empty() {
                key.clone()
            } else {
                format!("{name}.{key}")
            };
            // Keys that exclude others are comments for good, with a space after the `#`.
            let shown = body
                .lines()
                .map(|line| line.strip_prefix("# ").unwrap_or(line))
                .any(|line| line.starts_with(&format!("{key} =")))
                || text.contains(&format!("\n[{as_table}"))
                || text.contains(&format!("\n[[{as_table}]]"));
            assert!(shown, "{section} {key} is not in config.example.toml");
        }
    }
}

#[test]
fn the_example_shows_the_defaults() {
    let (full, default) = (
        parse(&uncommented()),
        parse(
            "[sinks.stdout]\n[sinks.sqlite]\n[sinks.mqtt]\nurl = \"mqtts://homeassistant:1883\"\n\
             [sinks.influxdb]\nurl = \"https://localhost:8086\"\norg = \"home\"\nbucket = \"solar\"",
        ),
    );
    let mut shown = full.collector.clone();
    shown.discovery_addresses.clear();
    // What these come to is compared below, since it depends on the inverter.
    (shown.poll_interval, shown.timeout, shown.tries) = (None, None, None);
    assert_eq!(format!("{shown:?}"), format!("{:?}", default.collector));
    let policies = |config: &Config| -> Vec<String> {
        config
            .sinks
            .enabled()
            .map(|section| format!("{} {:?}", section.name(), section.policy()))
            .collect()
    };
    assert_eq!(policies(&full), policies(&default));
    let inverter = |config: &Config| {
        config.inverters().first().map(|inverter| {
            let gate = config.gate(inverter);
            let name = inverter.name.clone();
            let pace = inverter.pace(&config.collector);
            let paces = (pace, inverter.pace(&CollectorSection::default()));
            (
                name,
                inverter.source.describe(),
                gate.profile,
                gate.off,
                paces,
            )
        })
    };
    assert_eq!(inverter(&full), inverter(&default));
    assert_eq!(full.metering().max_gap, default.metering().max_gap);
    let context = Context {
        inverters: Vec::new(),
        poll_interval: full.poll_interval(),
        state_dir: full.state_dir(),
        zone: kstar_model::TimeZone::UTC,
        version: "",
    };
    let destinations = |config: &Config| -> Vec<String> {
        config
            .sinks
            .enabled()
            .map(|section| section.destination(&context))
            .collect()
    };
    assert_eq!(destinations(&full), destinations(&default));
}
