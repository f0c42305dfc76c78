//! What a stranger gets of this repository: the package for crates.io, and one placeholder for its home.

#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output();
    let output = output.expect(program);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_package_holds_nothing_that_a_user_does_not_need() {
    let arguments = ["package", "--list", "--allow-dirty", "--offline"];
    let list = output(env!("CARGO"), &arguments);
    let is_needed = |path: &str| {
        let is_script = Path::new(path)
            .extension()
            .is_some_and(|extension| extension == "py");
        let is_page = path.starts_with("docs/") && !is_script;
        let top = [
            ".cargo_vcs_info.json",
            "CHANGELOG.md",
            "Cargo.lock",
            "Cargo.toml",
            "Cargo.toml.orig",
            "LICENSE",
            "README.md",
            "build.rs",
            "config.example.toml",
            // `kstar init` tells it from one that somebody has written.
            "deploy/debian/config.toml",
        ];
        path.starts_with("src/") || is_page || top.contains(&path)
    };
    let others: Vec<&str> = list.lines().filter(|path| !is_needed(path)).collect();
    assert_eq!(others, [""; 0]);
    assert!(list.lines().any(|path| path == "src/main.rs"), "{list}");
}

#[test]
fn the_repositorys_address_stands_in_one_place() {
    let address = env!("CARGO_PKG_REPOSITORY");
    let host = address.strip_prefix("https://").expect("an address");
    let found = Command::new("git")
        .args(["grep", "--fixed-strings", "--files-with-matches", host])
        .current_dir(root())
        .output();
    // A package is no clone.
    let Ok(found) = found else { return };
    let files = String::from_utf8_lossy(&found.stdout).into_owned();
    if found.status.success() {
        assert_eq!(files, "Cargo.toml\n");
    }
}
