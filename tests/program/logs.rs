//! The log: on standard error, for people or for machines, and never what ends the program.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use serde_json::Value;

use crate::process::{Ended, Process, ended, kstar, service, wait_until};
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

/// Runs for a while, is told to reload a broken file, and is stopped; gives the log, which is where `JOURNAL_STREAM`
/// says, or with another inode not.
fn log_of_a_service(args: &[&str], inode: u64) -> Vec<String> {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let log = File::create(folder.join("log")).expect("a file");
    let place = log.metadata().expect("a file");
    let stream = format!("{}:{}", place.dev(), place.ino() + inode);
    let mut command = service(folder.path(), args);
    command.env("JOURNAL_STREAM", stream);
    let run = Process::with_log(&mut command, log);
    run.wait_for_printed(2);
    folder.write("kstar.toml", "[sinks.stdoutt]\n");
    run.signal("HUP");
    let logged = || std::fs::read_to_string(folder.join("log")).expect("a log");
    wait_until("the refusal", || logged().contains("is not reloaded"));
    run.stop().expect_code(0);
    logged().lines().map(str::to_owned).collect()
}

#[test]
fn in_the_journal_every_line_has_its_priority_and_no_time_of_its_own() {
    let lines = log_of_a_service(&["run", "--log-level", "debug"], 0);
    assert!(
        lines
            .iter()
            .all(|line| matches!(line.get(..3), Some("<3>" | "<4>" | "<6>" | "<7>"))),
        "{lines:#?}"
    );
    assert!(
        lines[0].starts_with("<6>INFO starting version="),
        "{lines:#?}"
    );
    let refusal = lines
        .iter()
        .position(|line| line.starts_with("<3>ERROR the configuration is not reloaded"))
        .expect("the refusal");
    let rest: Vec<&str> = lines[refusal + 1..refusal + 5]
        .iter()
        .map(String::as_str)
        .collect();
    assert!(
        rest[0].starts_with("<3>kstar.toml:1:8: unknown field"),
        "{rest:#?}"
    );
    assert_eq!(
        rest[1..],
        ["<3>  |", "<3>1 | [sinks.stdoutt]", "<3>  |        ^^^^^^^"]
    );
    assert!(!lines.concat().contains('\x1b'));
}

#[test]
fn a_log_for_machines_keeps_its_form_behind_the_priority() {
    for line in log_of_a_service(&["run", "--log-format", "json"], 0) {
        let entry: Value = serde_json::from_str(&line[3..]).expect(&line);
        let priority = match entry["level"].as_str() {
            Some("ERROR") => "<3>",
            Some("WARN") => "<4>",
            _ => "<6>",
        };
        assert_eq!(&line[..3], priority);
    }
}

#[test]
fn a_log_that_was_led_away_from_the_journal_is_as_ever() {
    let lines = log_of_a_service(&["run"], 1);
    assert!(lines[0].contains("Z  INFO starting version="), "{lines:#?}");
}

#[test]
fn what_refuses_to_start_says_so_in_the_journal_too() {
    let folder = Folder::with_config("[sinks.stdoutt]\n");
    let log = File::create(folder.join("log")).expect("a file");
    let place = log.metadata().expect("a file");
    let mut command = service(folder.path(), ["run"]);
    command.env("JOURNAL_STREAM", format!("{}:{}", place.dev(), place.ino()));
    Process::with_log(&mut command, log).end().expect_code(2);
    let logged = std::fs::read_to_string(folder.join("log")).expect("a log");
    assert!(logged.starts_with("<3>error: kstar.toml:1:8: "), "{logged}");
    assert!(
        logged.lines().all(|line| line.starts_with("<3>")),
        "{logged}"
    );
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
