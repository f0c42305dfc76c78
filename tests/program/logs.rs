//! The log: on standard error, for people or for machines, and never what ends the program.

use std::fs::File;
use std::process::Stdio;

use serde_json::Value;

use crate::process::{Ended, Process, ended, kstar};
use crate::world::{BOTH_SINKS, Folder, Roof};

fn run_for_a_while(args: &[&str], environment: &[(&str, &str)]) -> Ended {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let mut command = kstar(folder.path(), args);
    command.envs(environment.iter().copied());
    let run = Process::start(&mut command);
    run.wait_for_printed(2);
    run.stop().expect_code(0)
}

fn levels(ended: &Ended) -> Vec<String> {
    ended
        .stderr
        .iter()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).expect(line);
            assert!(
                entry["timestamp"].is_string() && entry["message"].is_string(),
                "{line}"
            );
            entry["level"].as_str().expect("a level").to_owned()
        })
        .collect()
}

#[test]
fn a_log_for_machines_is_json_also_where_the_program_refuses_to_start() {
    for (args, environment) in [
        (&["run", "--log-format", "json"][..], &[][..]),
        (&["run"], &[("KSTAR_LOG_FORMAT", "json")]),
    ] {
        let ran = run_for_a_while(args, environment);
        assert!(levels(&ran).contains(&"INFO".to_owned()), "{ran:#?}");
    }
    let folder = Folder::with_config("[sinks.stdoutt]\n");
    for level in ["info", "off"] {
        let args = ["run", "--log-format", "json", "--log-level", level];
        let refused = ended(&mut kstar(folder.path(), args)).expect_code(2);
        assert_eq!(levels(&refused), ["ERROR"]);
        assert!(refused.err().contains("kstar.toml:1:8"), "{refused:#?}");
    }
}

#[test]
fn the_level_decides_what_is_logged() {
    let quiet = run_for_a_while(&["run", "--log-level", "warn"], &[]);
    assert_eq!(quiet.err(), "");
    let quiet = run_for_a_while(&["run"], &[("KSTAR_LOG", "error")]);
    assert_eq!(quiet.err(), "");
    let chatty = run_for_a_while(&["run"], &[]);
    assert!(chatty.logged(" INFO ") > 0, "{chatty:#?}");
    // An argument goes before the environment.
    let chatty = run_for_a_while(&["run", "--log-level", "info"], &[("KSTAR_LOG", "off")]);
    assert!(chatty.logged(" INFO ") > 0, "{chatty:#?}");
    // What refuses to start says so at any level.
    let folder = Folder::with_config("[sinks.stdoutt]\n");
    let refused = ended(&mut kstar(folder.path(), ["--log-level", "off", "run"])).expect_code(2);
    assert!(refused.err().contains("stdoutt"), "{refused:#?}");
}

#[test]
fn there_are_no_colours_where_nobody_sees_them() {
    for environment in [&[][..], &[("NO_COLOR", "1")], &[("TERM", "xterm-256color")]] {
        let ran = run_for_a_while(&["run", "--log-level", "debug"], environment);
        assert!(
            !ran.err().contains('\x1b') && !ran.out().contains('\x1b'),
            "{ran:#?}"
        );
        assert!(ran.logged(" INFO ") > 0);
    }
}

#[test]
fn a_log_that_cannot_be_written_does_not_end_the_collecting() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let full = || Stdio::from(File::create("/dev/full").expect("a device"));
    let closed = || {
        let (_, writer) = std::io::pipe().expect("a pipe");
        Stdio::from(writer)
    };
    for (format, log) in [("text", full()), ("json", closed()), ("text", closed())] {
        let mut command = kstar(folder.path(), ["run", "--log-format", format]);
        let run = Process::with_log(&mut command, log);
        run.wait_for_printed(5);
        run.stop().expect_code(0);
    }
}
