//! Each sink is a feature: a build has the sinks that it was built with, and says so of the others.

#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use std::process::{Command, Output};

/// `kstar check` of a configuration with that section.
fn check(section: &str, keys: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("kstar.toml");
    std::fs::write(&config, format!("[sinks.{section}]\n{keys}\n")).expect("written");
    let mut program = Command::new(env!("CARGO_BIN_EXE_kstar"));
    program
        .args(["check", "--config"])
        .arg(&config)
        .output()
        .expect("the program starts")
}

fn expect(section: &str, keys: &str, built: bool) {
    let Output {
        status,
        stdout,
        stderr,
    } = check(section, keys);
    let [said, wrong] = [stdout, stderr].map(|text| String::from_utf8(text).expect("text"));
    if built {
        assert_eq!(status.code(), Some(0), "{wrong}");
        assert!(said.contains(&format!("sink {section}: ")), "{said}");
    } else {
        assert_eq!(status.code(), Some(2), "{said}");
        let words = format!("the sink `{section}` is not part of this build");
        assert!(wrong.contains("kstar.toml:1:"), "{wrong}");
        assert!(wrong.contains(&words), "{wrong}");
    }
}

#[test]
fn http_works_if_it_is_built_and_says_so_otherwise() {
    let sink = ["stdout", "sqlite", "mqtt", "influxdb"]
        .into_iter()
        .zip([
            cfg!(feature = "stdout"),
            cfg!(feature = "sqlite"),
            cfg!(feature = "mqtt"),
            cfg!(feature = "influxdb"),
        ])
        .find_map(|(sink, built)| built.then_some(sink))
        .expect("some sink is built");
    let keys = match sink {
        "mqtt" => "url = \"mqtt://localhost\"",
        "influxdb" => "url = \"http://localhost:8086\"\ndatabase = \"solar\"",
        _ => "",
    };
    let keys = format!("{keys}\n[http]\nlisten = \"127.0.0.1:8099\"");
    let Output {
        status,
        stdout,
        stderr,
    } = check(sink, &keys);
    let [said, wrong] = [stdout, stderr].map(|text| String::from_utf8(text).expect("text"));
    if cfg!(feature = "http") {
        assert_eq!(status.code(), Some(0), "{wrong}");
        assert!(
            said.contains("http: 127.0.0.1:8099; this machine"),
            "{said}"
        );
    } else {
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(wrong.contains("HTTP is not part of this build"), "{wrong}");
    }
}

#[test]
fn a_section_works_if_its_sink_is_built_and_says_so_otherwise() {
    expect("stdout", "", cfg!(feature = "stdout"));
    expect("sqlite", "", cfg!(feature = "sqlite"));
    expect("mqtt", "url = \"mqtt://localhost\"", cfg!(feature = "mqtt"));
    expect(
        "influxdb",
        "url = \"http://localhost:8086\"\ndatabase = \"solar\"",
        cfg!(feature = "influxdb"),
    );
}
