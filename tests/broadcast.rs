//! Discovery by real broadcasts, from one network namespace to another over a cable that the test lays itself.
//!
//! Loopback has no broadcast, and the networks of the machine that runs the tests are nobody's to shout into.

#![cfg(all(target_os = "linux", feature = "sqlite", feature = "stdout"))]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what helps a test may panic like the test itself"
)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use common::{PATIENCE, missing, wait_until};

/// Two network namespaces and a cable between them.
struct Lan {
    number: u8,
    collector: String,
    inverter: String,
}

impl Lan {
    /// A network of its own; nothing where the system does not allow it.
    fn lay() -> Option<Self> {
        static LAID: AtomicU8 = AtomicU8::new(1);
        let number = LAID.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("kstar-{}-{number}-{side}", std::process::id());
        let lan = Self {
            number,
            collector: name("collector"),
            inverter: name("inverter"),
        };
        for namespace in [&lan.collector, &lan.inverter] {
            if !ip(&["netns", "add", namespace]) {
                missing("root and `ip netns`");
                return None;
            }
        }
        let Self {
            collector,
            inverter,
            ..
        } = &lan;
        let cable = ["link", "add", "lan0", "netns", collector, "type", "veth"];
        let far_end = ["peer", "name", "lan0", "netns", inverter];
        assert!(ip(&[&cable[..], &far_end].concat()), "a cable");
        for (namespace, host) in [(collector, 1), (inverter, 2)] {
            let address = format!("{}/24", lan.address(host));
            let namespace = ["-n", namespace];
            for command in [
                &["addr", "add", &address, "brd", "+", "dev", "lan0"][..],
                &["link", "set", "lo", "up"],
                &["link", "set", "lan0", "up"],
            ] {
                assert!(ip(&[&namespace, command].concat()), "{command:?}");
            }
        }
        Some(lan)
    }

    fn address(&self, host: u8) -> String {
        format!("10.77.{}.{host}", self.number)
    }

    fn add_default_route(&self) {
        let via = self.address(2);
        assert!(
            ip(&[
                "-n",
                &self.collector,
                "route",
                "add",
                "default",
                "via",
                &via
            ]),
            "a default route"
        );
    }

    /// The program in one of the namespaces.
    fn kstar(namespace: &str, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_kstar")])
            .args(arguments)
            .current_dir(folder)
            .env_remove("KSTAR_CONFIG")
            .env_remove("KSTAR_HOST")
            .env("XDG_CONFIG_HOME", folder)
            .env("STATE_DIRECTORY", folder)
            .stdin(Stdio::null());
        command
    }

    /// A simulator that listens.
    fn simulate(&self, folder: &Path) -> Running {
        let arguments = ["simulate", "--listen", "0.0.0.0:8899", "--asleep"];
        let mut simulator = Running::start(Self::kstar(&self.inverter, folder, &arguments));
        assert!(!simulator.line().is_empty(), "it says where it listens");
        simulator
    }

    fn discover(&self, folder: &Path, arguments: &[&str]) -> Output {
        let arguments = [&["discover", "--json", "--timeout", "1s"], arguments].concat();
        Self::kstar(&self.collector, folder, &arguments)
            .output()
            .expect("it runs")
    }

    /// That an inverter answers at its address.
    #[track_caller]
    fn check_found(&self, output: &Output) {
        let text = String::from_utf8_lossy(&output.stdout);
        let [line] = text.lines().collect::<Vec<_>>()[..] else {
            panic!("one inverter: {output:?}");
        };
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["address"], format!("{}:8899", self.address(2)));
        assert!(line["mac"].is_string(), "{line}");
        assert!(output.status.success());
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for namespace in [&self.collector, &self.inverter] {
            ip(&["netns", "delete", namespace]);
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A process with the lines that it writes.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (line, lines) = channel();
        std::thread::spawn(move || {
            // Read to the end, heard or not, so that the program never writes into a full pipe.
            for written in out.lines().map_while(Result::ok) {
                let _ = line.send(written);
            }
        });
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn discover_finds_an_inverter_without_a_default_route_by_the_broadcast_of_its_network() {
    let Some(lan) = Lan::lay() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let _simulator = lan.simulate(folder.path());
    lan.check_found(&lan.discover(folder.path(), &[]));

    let everywhere = lan.discover(folder.path(), &["--address", "255.255.255.255"]);
    assert_eq!(everywhere.status.code(), Some(1), "{everywhere:?}");
    assert!(String::from_utf8_lossy(&everywhere.stderr).contains("cannot send a greeting"));
}

#[test]
fn discover_finds_an_inverter_with_a_default_route_by_the_broadcast_to_everybody() {
    let Some(lan) = Lan::lay() else { return };
    lan.add_default_route();
    let folder = tempfile::tempdir().expect("a folder");
    let _simulator = lan.simulate(folder.path());
    lan.check_found(&lan.discover(folder.path(), &["--address", "255.255.255.255"]));
    lan.check_found(&lan.discover(folder.path(), &[]));
}

#[test]
fn run_without_a_host_finds_an_inverter_and_reads_it() {
    for default_route in [false, true] {
        let Some(lan) = Lan::lay() else { return };
        if default_route {
            lan.add_default_route();
        }
        let folder = tempfile::tempdir().expect("a folder");
        let _simulator = lan.simulate(folder.path());
        let mut program = Running::start(Lan::kstar(&lan.collector, folder.path(), &["run"]));
        let line: Value = serde_json::from_str(&program.line()).expect("a reading");
        assert_eq!(line["inverter"], "inverter");
        assert!(line["grid_voltage"].is_number(), "{line}");

        let pid = program.child.id().to_string();
        let stopped = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(stopped.is_ok_and(|status| status.success()));
        let mut status = None;
        wait_until("its end", || {
            status = program.child.try_wait().expect("it is ours");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
        assert!(folder.path().join("kstar.db").exists());
    }
}
