//! Signals: the first one drains, the second one ends at once; what the grace did not suffice for is counted.

use std::io::{PipeReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, kstar, service, wait_until};
use crate::world::{BOTH_SINKS, Folder, Peer, Roof, rows};

/// Starts the program with its output into a pipe that is full and that nobody reads.
fn into_a_full_pipe(command: &mut Command) -> (Process, PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut filler = writer.try_clone().expect("a pipe");
    // Blocks until the reader is gone.
    std::thread::spawn(move || while filler.write_all(&[b'\n'; 512]).is_ok() {});
    (Process::with_stdout(command, writer), reader)
}

#[test]
fn a_signal_drains_what_was_taken_and_ends_well() {
    let roof = Roof::new(1);
    for signal in ["INT", "TERM"] {
        let folder = Folder::with_config(&roof.config(BOTH_SINKS));
        let run = Process::start(&mut kstar(folder.path(), ["run"]));
        run.wait_for_printed(5);
        run.signal(signal);
        let ended = run.end().expect_code(0);
        let kept = rows(&folder.history()).len();
        assert_eq!(kept, ended.stdout.len());
        for sink in ["stdout", "sqlite"] {
            let counts = ended.counts(sink);
            assert_eq!(counts.of("taken"), kept);
            assert_eq!(counts.of("delivered"), kept);
        }
        assert!(!folder.join("history.db-wal").exists());
    }
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(1);
    let twice = format!("kill -INT {0}; kill -INT {0}", run.pid());
    let sent = Command::new("sh").args(["-c", &twice]).status();
    assert!(sent.expect("a shell").success());
    run.end().expect_code(0);
}

#[test]
fn a_command_that_only_asks_ends_at_the_first_signal() {
    let silent = Peer::new(None);
    let folder = Folder::new();
    for signal in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let asked = silent.asked();
        let args = ["read", "--host", &silent.address.to_string()];
        let read = Process::start(&mut service(folder.path(), args));
        wait_until("it asks", || silent.asked() > asked);
        read.signal(signal.0);
        assert_eq!(read.end().status.signal(), Some(signal.1));
    }
}

/// Sends a signal as an impatient person does, until the program is gone.
#[track_caller]
fn insist(mut run: Process, signal: &str, code: i32) {
    run.signal(signal);
    run.wait_for_log("a second signal stops at once");
    wait_until("the end", || {
        std::thread::sleep(Duration::from_millis(50));
        let gone = run.has_ended();
        if !gone {
            run.signal(signal);
        }
        gone
    });
    run.end().expect_code(code);
}

/// A configuration with a grace that is longer than a test waits for the end.
fn patient(config: &str) -> Folder {
    Folder::with_config(&config.replace("\"8s\"", "\"1h\""))
}

#[test]
fn a_second_signal_ends_at_once_though_nobody_reads_the_output() {
    let roof = Roof::new(1);
    let config = roof.config("[sinks.stdout]\ndelivery.timeout = \"200ms\"\n");
    let folder = patient(&config);
    let (run, _reader) = into_a_full_pipe(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("cannot deliver");
    insist(run, "INT", 130);
}

#[test]
fn a_second_signal_ends_at_once_though_the_history_is_locked() {
    let roof = Roof::new(1);
    let config = roof.config(BOTH_SINKS);
    let folder = patient(&config);
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"sqlite\"");
    let other = folder.history();
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let down = run.wait_for_log("cannot deliver");
    assert!(down.contains("is locked by another program"), "{down}");
    insist(run, "TERM", 143);
}

#[test]
fn what_the_grace_did_not_suffice_for_is_counted_and_the_status_says_so() {
    let roof = Roof::new(1);
    let sinks = "[sinks.stdout]\ndelivery.timeout = \"200ms\"\n[sinks.sqlite]\npath = \"history.db\"\ndelivery.timeout = \"500ms\"\n";
    let folder = Folder::with_config(&roof.config(sinks).replace("\"8s\"", "\"2s\""));
    let (run, _reader) = into_a_full_pipe(&mut kstar(folder.path(), ["run"]));
    let down = run.wait_for_log("cannot deliver");
    assert!(down.contains("sink=\"stdout\""), "{down}");
    let ended = run.stop().expect_code(1);
    let lost = ended.counts("stdout");
    assert!(lost.of("waiting") > 0, "{ended:#?}");
    assert_eq!(lost.of("taken"), lost.of("delivered") + lost.of("waiting"));
    assert_eq!(
        ended.logged(&format!("lost={}", lost.of("waiting"))),
        1,
        "{ended:#?}"
    );
    // The other sink has nothing to do with it.
    assert_eq!(rows(&folder.history()).len(), lost.of("taken"));
    assert_eq!(ended.counts("sqlite").of("delivered"), lost.of("taken"));
}
