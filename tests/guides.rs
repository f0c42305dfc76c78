//! The guides to a new source and a new sink, followed to the letter in a copy of the tree: what they add passes the
//! conformance suites and works in the program, and no other file of production code is touched.
//!
//! In a guide, a fenced block whose info string names a path after the language is a whole file, or with `diff` a change of
//! one: lines that are there, and lines that are added.

#![cfg(target_os = "linux")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::Value;
use tempfile::TempDir;

use common::wait_until;

/// The files of a tree by their paths.
type Tree = BTreeMap<String, Vec<u8>>;

/// What git keeps or would keep, as it is now.
fn tracked() -> Tree {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git")
        // In a container the files may be somebody else's.
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .args(["--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .expect("git is there");
    assert!(listed.status.success(), "{listed:?}");
    let paths = String::from_utf8(listed.stdout).expect("paths in UTF-8");
    let files = paths.split_terminator('\0').filter_map(|path| {
        // A file that was removed and not committed yet is listed too.
        let content = fs::read(root.join(path)).ok()?;
        Some((path.to_owned(), content))
    });
    files.collect()
}

/// Does to the tree what the guide says.
fn follow(guide: &str, tree: &mut Tree) {
    let text = String::from_utf8(tree[guide].clone()).expect("a text");
    let mut lines = text.lines();
    let mut steps = 0;
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match info.split_once(' ') {
            Some(("diff", path)) => {
                let file = tree.get_mut(path).expect("what is changed is there");
                *file = changed(file, &block, path).into_bytes();
            }
            Some((_, path)) => {
                let before = tree.insert(path.to_owned(), (block.join("\n") + "\n").into_bytes());
                assert_eq!(before, None, "{path} is there already");
            }
            None => continue,
        }
        steps += 1;
    }
    assert!(steps > 0, "{guide} has no files");
}

fn changed(file: &[u8], block: &[&str], path: &str) -> String {
    let of = |skipped: char| -> String {
        let kept = block.iter().filter(|line| !line.starts_with(skipped));
        kept.flat_map(|line| ["\n", &line[1..]]).collect()
    };
    // Each line with the break before it.
    let file = format!("\n{}", std::str::from_utf8(file).expect("a text"));
    let [before, after] = ['+', '-'].map(of);
    let places = file.matches(&(before.clone() + "\n")).count();
    assert_eq!(places, 1, "{path} must have these lines once:{before}");
    file.replacen(&(before + "\n"), &(after + "\n"), 1)
        .split_off(1)
}

/// Follows the guide, which may add files below that folder and otherwise change the two lists alone.
fn follow_alone(guide: &str, folder: &str, tree: &mut Tree) {
    let before = tree.clone();
    follow(guide, tree);
    let mut changes: Vec<&str> = tree
        .iter()
        .filter(|(path, content)| before.get(*path) != Some(content))
        .map(|(path, _)| path.as_str())
        .collect();
    let touched = changes.len();
    changes.retain(|path| !path.starts_with(folder));
    assert!(changes.len() < touched, "{guide} adds nothing to {folder}");
    assert_eq!(changes, ["Cargo.toml", "src/registry.rs"], "{guide}");
}

/// Makes a folder hold this tree. What has not changed is not written, so that cargo sees that it has not changed.
fn put(tree: &Tree, folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    while let Some(below) = folders.pop() {
        let Ok(entries) = fs::read_dir(&below) else {
            continue;
        };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            let name = path.strip_prefix(folder).expect("below the folder");
            if path.is_dir() {
                folders.push(path);
            } else if !tree.contains_key(name.to_str().expect("a path in UTF-8")) {
                fs::remove_file(&path).expect("removed");
            }
        }
    }
    for (name, content) in tree {
        let path = folder.join(name);
        if fs::read(&path).ok().as_ref() != Some(content) {
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, content).expect("written");
        }
    }
}

/// A copy of the tree on disk.
struct Copy(PathBuf);

impl Copy {
    fn cargo(&self, args: &[&str]) {
        let output = Command::new(env!("CARGO"))
            .args(args)
            .args(["--offline", "--quiet"])
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", self.0.with_file_name("target"))
            // It is built anew or not at all, and nobody looks at backtraces.
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env_remove("CARGO_BUILD_TARGET")
            .output()
            .expect("cargo is there");
        let [said, wrong] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "cargo {args:?}\n{said}\n{wrong}");
    }

    /// The program with these features alone.
    fn program(&self, features: &str) -> PathBuf {
        self.cargo(&["build", "--no-default-features", "--features", features]);
        self.0.with_file_name("target/debug/kstar")
    }
}

/// The machine of the guide to a source.
fn toy() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).expect("a request");
            let reply = match &buffer[..length] {
                b"toy values?" => "toy values 2301 -450 87;",
                b"toy identity?" => "toy identity T0042;",
                other => panic!("not in the guide: {}", other.escape_ascii()),
            };
            // Who asked may be gone.
            let _ = socket.send_to(reply.as_bytes(), from);
        }
    });
    address
}

/// A folder with a configuration: a toy, and this sink.
fn configured(sink: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let text = format!(
        "state_dir = '{}'\n[[inverter]]\nname = 'roof'\nfamily = 'toy'\nhost = '{}'\n{sink}",
        folder.path().join("state").display(),
        toy(),
    );
    fs::write(folder.path().join("kstar.toml"), text).expect("written");
    folder
}

fn kstar(program: &Path, folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .arg("--config")
        .arg(folder.path().join("kstar.toml"))
        .env_clear();
    command
}

/// What is said of the configuration must be among what `check` shows.
fn expect_checked(program: &Path, folder: &TempDir, args: &[&str], said: &str) {
    let output = kstar(program, folder, args).output().expect("it starts");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains(said),
        "{output:?}"
    );
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the program, whose standard output goes to this file, until there is a reading.
fn reading_of_a_run(
    program: &Path,
    folder: &TempDir,
    output: &Path,
    mut look: impl FnMut() -> Option<String>,
) -> Value {
    let mut command = kstar(program, folder, &["--log-level", "error", "run"]);
    command.stdout(fs::File::create(output).expect("a file"));
    let _running = Running(command.spawn().expect("it starts"));
    let mut found = None;
    wait_until("a reading", || {
        found = look();
        found.is_some()
    });
    serde_json::from_str(&found.expect("it came")).expect("JSON")
}

/// The toy's values must be in the reading.
fn expect_toy(reading: &Value) {
    assert_eq!(reading["inverter"], "roof", "{reading}");
    assert_eq!(reading["grid_voltage"], 230.1, "{reading}");
    assert_eq!(reading["grid_export_power"], 450, "{reading}");
    assert_eq!(reading["battery_soc"], 87, "{reading}");
}

#[test]
fn a_source_and_a_sink_are_a_folder_a_feature_and_a_registry_line() {
    let mut tree = tracked();
    follow_alone("docs/writing-a-source.md", "sources/toy/", &mut tree);
    follow_alone("docs/writing-a-sink.md", "sinks/files/", &mut tree);
    let copy = Copy(Path::new(env!("CARGO_TARGET_TMPDIR")).join("guides/tree"));
    put(&tree, &copy.0);
    copy.cargo(&["test", "-p", "kstar-source-toy", "-p", "kstar-sink-files"]);

    let program = copy.program("toy,stdout");
    let folder = configured("[sinks.stdout]\n");
    expect_checked(&program, &folder, &["check"], "asked as a toy");
    let answered = "replies: 127.0.0.1:";
    expect_checked(&program, &folder, &["check", "--connect"], answered);
    let output = folder.path().join("output");
    let line = reading_of_a_run(&program, &folder, &output, || {
        let text = fs::read_to_string(&output).expect("a text");
        text.split_once('\n').map(|(line, _)| line.to_owned())
    });
    expect_toy(&line);

    let program = copy.program("toy,files");
    let readings = TempDir::new().expect("a folder");
    let folder = configured(&format!(
        "[sinks.files]\nfolder = '{}'\n",
        readings.path().display()
    ));
    let shown = format!("sink files: {}", readings.path().display());
    expect_checked(&program, &folder, &["check"], &shown);
    let output = folder.path().join("output");
    let file = reading_of_a_run(&program, &folder, &output, || {
        let mut entries = fs::read_dir(readings.path()).expect("a folder");
        let path = entries.find_map(|entry| {
            let path = entry.expect("an entry").path();
            path.extension()
                .is_some_and(|end| end == "json")
                .then_some(path)
        })?;
        Some(fs::read_to_string(path).expect("a text"))
    });
    expect_toy(&file);
}
