//! What is deployed fits the program and itself: the unit, the package, the configuration that it brings, and the page
//! that tells how to install it.

#![cfg(all(unix, feature = "sqlite"))]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kstar_collector::config::SYSTEM_PLACE;
#[cfg(feature = "http")]
use kstar_collector::config::{Config, ConfigFile};
#[cfg(feature = "http")]
use kstar_sink::sink::Context;

use common::missing;

const UNIT: &str = "deploy/systemd/kstar.service";
const INSTALL: &str = "docs/install.md";
const STATE: &str = "/var/lib/kstar";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The settings of the unit; of one that stands several times the last.
fn unit() -> BTreeMap<String, String> {
    settings(UNIT)
}

fn settings(unit: &str) -> BTreeMap<String, String> {
    read(unit)
        .lines()
        .filter(|line| !line.starts_with(['#', '[']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The table `[package.metadata.deb]`.
fn package() -> toml::Table {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let steps = ["package", "metadata", "deb"];
    let found = steps.iter().try_fold(manifest, |table, step| {
        table.get(*step)?.as_table().cloned()
    });
    found.expect("metadata of the package")
}

/// Where the package puts this file.
fn installed(source: &str) -> String {
    let assets = package()["assets"].as_array().expect("a list").clone();
    let place = assets.iter().find_map(|asset| {
        let asset = asset.as_array()?;
        let [from, to, _mode] = &asset[..] else {
            return None;
        };
        (from.as_str()? == source).then(|| to.as_str().map(str::to_owned))?
    });
    let place = place.unwrap_or_else(|| panic!("{source} is not in the package"));
    match place.strip_suffix('/') {
        Some(folder) => {
            let name = Path::new(source).file_name().expect("a name");
            format!("/{folder}/{}", name.display())
        }
        None => format!("/{place}"),
    }
}

/// What systemd's own checker says; nothing where it is missing.
fn analyze(arguments: &[&str], unit: &Path) -> Option<Output> {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .env("SYSTEMD_PAGER", "")
        .output();
    if output.is_err() {
        missing("systemd-analyze");
    }
    output.ok()
}

#[test]
fn unit_package_program_and_page_mean_the_same_places() {
    let unit = unit();
    let binary = installed("target/release/kstar");
    assert_eq!(
        unit["ExecStart"],
        format!("{binary} run --config {SYSTEM_PLACE}")
    );
    assert_eq!(installed("deploy/debian/config.toml"), SYSTEM_PLACE);
    assert_eq!(format!("/var/lib/{}", unit["StateDirectory"]), STATE);
    assert_eq!(
        format!("/etc/{}/config.toml", unit["ConfigurationDirectory"]),
        SYSTEM_PLACE
    );
    assert_eq!(format!("/run/{}", unit["RuntimeDirectory"]), "/run/kstar");
    assert!(read("sources/contract/src/lock.rs").contains("\"/run/kstar\""));
    let [postinst, postrm] =
        ["postinst", "postrm"].map(|name| read(&format!("deploy/debian/{name}")));
    for words in [STATE, "/etc/kstar", &unit["User"]] {
        assert!(
            postinst.contains(words) && postrm.contains(words),
            "{words}"
        );
    }
    let page = read(INSTALL);
    let example = installed("config.example.toml");
    for words in [&binary, SYSTEM_PLACE, STATE, UNIT, &example] {
        assert!(page.contains(words), "{INSTALL} does not name {words}");
    }
    assert!(read("deploy/debian/config.toml").contains(&example));
    assert!(read("src/cli/man.roff").contains(&example));
}

#[test]
fn the_backup_runs_as_the_service_does_and_keeps_its_copies_in_its_folder() {
    let backup = settings("deploy/systemd/kstar-backup.service");
    let binary = installed("target/release/kstar");
    assert_eq!(
        backup["ExecStart"],
        format!("{binary} backup --config {SYSTEM_PLACE} --into {STATE}/backups --keep 14")
    );
    let service = unit();
    for key in ["User", "Group", "StateDirectory", "UMask"] {
        assert_eq!(backup[key], service[key], "{key}");
    }
    let [unit, timer] = ["service", "timer"].map(|kind| {
        let source = format!("deploy/systemd/kstar-backup.{kind}");
        if let Some(checked) = analyze(&["verify"], &root().join(&source)) {
            // Where the program is not installed, its absence is all that is said.
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            let wrong = said
                .lines()
                .find(|line| !line.contains("kstar is not executable"));
            assert_eq!(wrong, None, "{said}");
        }
        installed(&source)
    });
    assert!(unit.starts_with("/usr/lib/systemd/system/"), "{unit}");
    assert!(timer.starts_with("/usr/lib/systemd/system/"), "{timer}");
    // Nothing turns it on but its owner.
    let units = format!("{:?}", package()["systemd-units"]);
    assert!(!units.contains("backup"), "{units}");
    let page = read("docs/backup.md");
    for words in [
        "systemctl enable --now kstar-backup.timer",
        "kstar restore",
        "/var/lib/kstar/backups",
    ] {
        assert!(page.contains(words), "docs/backup.md does not have {words}");
    }
}

#[test]
#[cfg(feature = "http")]
fn the_packages_configuration_keeps_a_history_in_the_services_folder() {
    let text = read("deploy/debian/config.toml");
    let config = Config::parse(&ConfigFile::new(SYSTEM_PLACE, &text)).expect("it is right");
    assert_eq!(config.state_dir(), Path::new(STATE));
    let enabled: Vec<_> = config.sinks.enabled().collect();
    let [sqlite] = &enabled[..] else {
        panic!("one sink")
    };
    let context = Context {
        inverters: Vec::new(),
        poll_interval: config.poll_interval(),
        state_dir: config.state_dir(),
        zone: config.zone(),
        version: "",
    };
    assert_eq!(sqlite.name(), "sqlite");
    assert_eq!(sqlite.destination(&context), format!("{STATE}/history.db"));
}

#[test]
#[cfg(all(feature = "mqtt", feature = "influxdb", feature = "http"))]
fn what_the_packages_configuration_proposes_is_right_too() {
    let text: String = read("deploy/debian/config.toml")
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(['[', 'h', 'n', 'u', 'p', 'o', 'b', 't', 'l']) => key,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(text.matches("\n[").count(), 5, "{text}");
    Config::parse(&ConfigFile::new(SYSTEM_PLACE, &text)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_package_has_the_version_of_the_program() {
    let newest = read("deploy/debian/changelog");
    let version = concat!("kstar (", env!("CARGO_PKG_VERSION"), "-");
    assert!(newest.starts_with(version), "{newest}");
}

#[test]
fn systemd_takes_the_unit() {
    let folder = tempfile::tempdir().expect("a folder");
    // The program and its manual are not installed here.
    let text: String = read(UNIT)
        .replace("ExecStart=/usr/bin/kstar ", "ExecStart=/bin/sh ")
        .lines()
        .filter(|line| !line.starts_with("Documentation="))
        .flat_map(|line| [line, "\n"])
        .collect();
    let copy = folder.path().join("kstar.service");
    std::fs::write(&copy, text).expect("written");
    if let Some(output) = analyze(&["verify", "--recursive-errors=no"], &copy) {
        let said = String::from_utf8_lossy(&output.stderr);
        // Of other units of this machine it may say what it likes.
        let of_ours: Vec<_> = said.lines().filter(|line| line.contains("kstar")).collect();
        assert!(of_ours.is_empty(), "{of_ours:?}");
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn the_page_shows_the_score_that_systemd_gives_the_sandbox() {
    let Some(output) = analyze(&["security", "--offline=true"], &root().join(UNIT)) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let (_, score) = said
        .split_once("Overall exposure level for kstar.service: ")
        .expect("a score");
    let score = score.split_whitespace().next().expect("a figure");
    assert!(
        read(INSTALL).contains(&format!("`{score}`")),
        "{INSTALL} has another score than {score}"
    );
}
