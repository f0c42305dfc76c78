//! Holds the tree to its own rules: what each part must not know, and where everything has its place.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder, with its text up to the tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a text");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                found.push((
                    path.strip_prefix(root())
                        .expect("below the root")
                        .display()
                        .to_string(),
                    code.to_owned(),
                ));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

/// The folders below this one, without these.
fn folders(folder: &str, without: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join(folder))
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .filter(|name| !without.contains(&name.as_str()))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

fn sink_folders() -> Vec<String> {
    folders("sinks", &["contract"])
}

/// Without the simulator, which plays what sources read.
fn source_folders() -> Vec<String> {
    folders("sources", &["contract", "simulator"])
}

/// Each source and sink has a README, a feature, and a place in README.md.
fn check_part(kind: &str, name: &str) {
    let folder = format!("{kind}s/{name}");
    assert!(
        root().join(&folder).join("README.md").is_file(),
        "{folder} has no README.md"
    );
    assert!(
        read("Cargo.toml").contains(&format!("\n{name} = [\"dep:kstar-{kind}-{name}\"]")),
        "{folder} has no feature"
    );
    assert!(
        read("README.md").contains(&format!("({folder}/README.md)")),
        "{folder} is not in README.md"
    );
}

#[test]
fn each_source_has_a_readme_an_example_a_feature_and_a_registry_line() {
    let [example, registry] = ["config.example.toml", "src/registry.rs"].map(read);
    let (before, _) = example
        .split_once("\n#family = ")
        .expect("config.example.toml has the key `family`");
    let (_, families) = before.rsplit_once("\n#name = ").expect("the key before it");
    for name in source_folders() {
        check_part("source", &name);
        let read_by = format!("\", \"{name}\": kstar_source_{name}::");
        let mut known = registry
            .lines()
            .filter_map(|line| line.split_once(&read_by)?.0.split_once('"'))
            .peekable();
        assert!(known.peek().is_some(), "{name} is not in the registry");
        for (_, family) in known {
            assert!(
                families.contains(&format!("\"{family}\"")),
                "the family {family} is not in config.example.toml"
            );
        }
    }
}

#[test]
fn each_sink_has_a_readme_an_example_a_feature_and_a_registry_line() {
    let [example, registry] = ["config.example.toml", "src/registry.rs"].map(read);
    for name in sink_folders() {
        check_part("sink", &name);
        assert!(
            // Commented out, if it needs something that only the user knows.
            example.contains(&format!("\n[sinks.{name}]"))
                || example.contains(&format!("\n#[sinks.{name}]")),
            "{name} is not in config.example.toml"
        );
        assert!(
            registry.contains(&format!("{name}, \"{name}\": kstar_sink_{name}::")),
            "{name} is not in the registry"
        );
    }
}

#[test]
fn only_the_registry_names_sinks() {
    let is_test = |path: &str| path.ends_with("/tests.rs");
    for (path, code) in sources("src")
        .into_iter()
        .filter(|(path, _)| !is_test(path))
    {
        for name in sink_folders() {
            if path != "src/registry.rs" {
                assert!(
                    !code.contains(&format!("kstar_sink_{name}")),
                    "{path} names the sink {name}"
                );
                assert!(
                    !code.contains(&format!("feature = \"{name}\"")),
                    "{path} has a cfg on the sink {name}"
                );
            }
        }
    }
}

/// What may build on what: the list of `docs/architecture.md`, each crate with those that it may build on.
fn arrows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, list) = page.split_once("\n```arrows\n").expect("the list");
    let (list, _) = list.split_once("```").expect("its end");
    let arrows = list.lines().map(|line| {
        let (from, to) = line.split_once("->").expect("an arrow");
        (from.trim(), to.split_whitespace().collect())
    });
    arrows.collect()
}

/// Whether this is the folder or, with `*`, stands for it.
fn stands_for(pattern: &str, place: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => place.starts_with(beginning),
        None => place == pattern,
    }
}

#[test]
fn crates_build_on_each_other_as_they_may() {
    let listed = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo is there");
    assert!(listed.status.success(), "{listed:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let packages = listed["packages"].as_array().expect("packages");
    let place = |path: &str| {
        let place = Path::new(path)
            .strip_prefix(root())
            .expect("below the root");
        place.display().to_string()
    };
    let page = read("docs/architecture.md");
    let arrows = arrows(&page);
    for package in packages {
        let manifest = package["manifest_path"].as_str().expect("a path");
        let crate_place = match place(manifest.trim_end_matches("Cargo.toml")) {
            root if root.is_empty() => "src".to_owned(),
            place => place,
        };
        // Its own line, or else the one for all of its folder.
        let own = arrows.iter().find(|(from, _)| *from == crate_place);
        let (_, may) = own
            .or_else(|| {
                let mut arrows = arrows.iter();
                arrows.find(|(from, _)| stands_for(from, &crate_place))
            })
            .unwrap_or_else(|| panic!("docs/architecture.md has no arrows of {crate_place}"));
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        for dependency in dependencies.iter().filter(|one| one["kind"].is_null()) {
            let Some(path) = dependency["path"].as_str() else {
                continue;
            };
            let on = place(path);
            let open = ["crates/model", "crates/common"];
            assert!(
                open.contains(&on.as_str()) || may.iter().any(|to| stands_for(to, &on)),
                "{crate_place} builds on {on}, which docs/architecture.md does not allow"
            );
        }
    }
}

/// What must not occur in a part that only computes.
const ARITHMETIC: &[&str] = &[
    "tokio",
    "tracing",
    "SystemTime",
    "Instant",
    "std::fs",
    "std::env",
    "ledger::",
];

/// A part of a crate, and what must not occur in it. What crates must not know of each other their manifests say.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("sources/aa55/src/wire", ARITHMETIC),
    (
        "sources/aa55/src/wire",
        &["std::net::Udp", "crate::discovery", "crate::probe"],
    ),
    ("crates/engine/src/pipeline/gate", ARITHMETIC),
    ("crates/engine/src/pipeline/meter", ARITHMETIC),
    ("crates/engine/src/pipeline/ledger", &["crate::collector"]),
    ("crates/engine/src/systemd", &["crate::collector"]),
    ("crates/reports/src", &["tokio", "::now()"]),
    ("crates/watch/src/draw", &["tokio", "crossterm", "tracing"]),
    ("src/run", &["crate::cli", "clap"]),
    ("src/config", &["crate::cli", "crate::run", "clap"]),
];

#[test]
fn each_part_knows_only_what_it_may() {
    for (folder, words) in FORBIDDEN {
        for (path, code) in sources(folder) {
            let is_test = path.ends_with("/tests.rs");
            for word in *words {
                assert!(
                    is_test || !code.contains(word),
                    "{path} must not know {word}"
                );
            }
        }
    }
}

#[test]
fn datagrams_and_requests_leave_the_program_in_one_place_each() {
    let (datagram, stream) = (
        "sources/contract/src/datagram.rs",
        "sources/contract/src/stream.rs",
    );
    for folder in ["src", "crates", "sinks", "sources"] {
        for (path, code) in sources(folder) {
            // The simulator is the other side, and a test may be it.
            let is_other_side = path.starts_with("sources/simulator")
                || path.ends_with("/tests.rs")
                || ["/tests/", "/testing/"]
                    .iter()
                    .any(|part| path.contains(part));
            for word in ["UdpSocket", ".send_to("] {
                let may = is_other_side || path == datagram;
                assert!(may || !code.contains(word), "{path} must not send: {word}");
            }
            // The client asks collectors; sinks have clients of their own.
            let may = is_other_side
                || path == stream
                || path == "crates/client/src/lib.rs"
                || folder == "sinks";
            assert!(
                may || !code.contains("TcpStream"),
                "{path} must not connect"
            );
        }
    }
    let code = read(datagram);
    assert_eq!(
        code.matches("socket.send(").count() + code.matches("socket.send_to(").count(),
        // Connected, and to whom a greeting is for.
        2,
        "one place, one way connected and one not"
    );
}

#[test]
fn the_page_of_readings_shows_the_catalogue() {
    let mut table = Vec::new();
    let args = kstar_collector::cli::fields::FieldsArgs {
        markdown: true,
        ..Default::default()
    };
    kstar_collector::cli::fields::run(args, &mut table).expect("written to memory");
    let table = String::from_utf8(table).expect("text");
    assert!(
        read("docs/readings.md").contains(&table),
        "put the output of `kstar fields --markdown` into docs/readings.md"
    );
}

#[test]
fn the_readme_has_a_row_for_each_command() {
    let readme = read("README.md");
    let command = <kstar_collector::cli::Cli as clap::CommandFactory>::command();
    for name in command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(clap::Command::get_name)
    {
        assert!(
            readme.contains(&format!("\n| `{name}` | ")),
            "{name} is not in the README's table of commands"
        );
    }
}
