//! Standard output: a reader that leaves, one that pauses, a disk that is full.

use std::fs::File;
use std::io::{BufRead, BufReader};

use crate::process::{Process, kstar};
use crate::world::{BOTH_SINKS, Folder, Roof, assert_same, key, readings, rows};

#[test]
fn a_reader_that_has_heard_enough_ends_the_program_quietly() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let run = Process::with_stdout(&mut kstar(folder.path(), ["run"]), writer);
    let mut lines = BufReader::new(reader).lines();
    let printed: Vec<String> = lines
        .by_ref()
        .take(3)
        .map(|line| line.expect("text"))
        .collect();
    drop(lines);
    let ended = run.end().expect_code(0);
    assert_eq!(
        ended.logged(" WARN ") + ended.logged("ERROR"),
        0,
        "{ended:#?}"
    );
    let kept = rows(&folder.history());
    for (printed, kept) in readings(&printed).iter().zip(&kept) {
        assert_same(printed, kept);
    }
    // What was taken after that is kept too.
    assert_eq!(kept.len(), ended.counts("sqlite").of("taken"));
    assert!(kept.len() >= printed.len(), "{ended:#?}");
}

#[test]
fn a_command_whose_reader_has_left_ends_quietly() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let greeted = roof.greeted();
    for args in [
        &["read"][..],
        &["read", "--json"],
        &["read", "--device", "--settings"],
        &["check"],
        &["discover", "--timeout", "300ms", "--address", &greeted],
        &["simulate", "--listen", "127.0.0.1:0"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let quiet = Process::with_stdout(&mut kstar(folder.path(), args), writer)
            .end()
            .expect_code(0);
        assert_eq!(quiet.err(), "", "{args:?}");
    }
}

#[test]
fn a_command_that_cannot_write_says_so() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let full = File::create("/dev/full").expect("a device");
    let failed = Process::with_stdout(&mut kstar(folder.path(), ["read", "--json"]), full)
        .end()
        .expect_code(1);
    assert!(
        failed.err().contains("cannot write to standard output"),
        "{failed:#?}"
    );
}

#[test]
fn a_full_disk_under_the_output_is_said_and_counted_and_the_history_goes_on() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS).replace("\"8s\"", "\"6s\""));
    let full = File::create("/dev/full").expect("a device");
    let run = Process::with_stdout(&mut kstar(folder.path(), ["run"]), full);
    let down = run.wait_for_log("cannot deliver");
    assert!(down.contains("make room on the disk"), "{down}");
    run.wait_for_log("delivering sink=\"sqlite\"");
    let ended = run.stop().expect_code(1);
    assert_eq!(ended.logged("cannot deliver"), 1, "{ended:#?}");
    let lost = ended.counts("stdout");
    assert_eq!(lost.of("delivered"), 0);
    assert_eq!(lost.of("waiting"), lost.of("taken"));
    assert_eq!(rows(&folder.history()).len(), lost.of("taken"));
}

#[test]
fn a_reader_that_pauses_misses_nothing() {
    let roof = Roof::new(2);
    let sinks = BOTH_SINKS.replace(
        "[sinks.stdout]",
        "[sinks.stdout]\ndelivery.timeout = \"100ms\"",
    );
    let folder = Folder::with_config(&roof.config(&sinks));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let run = Process::with_stdout(&mut kstar(folder.path(), ["run"]), writer);
    // The pipe is full by then, and a line is cut in two.
    run.wait_for_log("cannot deliver");
    let lines = std::thread::spawn(move || -> Vec<String> {
        BufReader::new(reader)
            .lines()
            .map(|line| line.expect("text"))
            .collect()
    });
    run.wait_for_log("delivering again");
    let ended = run.stop().expect_code(0);
    let mut printed = readings(&lines.join().expect("lines"));
    printed.sort_by_key(|reading| {
        let (inverter, time) = key(reading);
        (time, inverter)
    });
    let kept = rows(&folder.history());
    assert_eq!(printed.len(), kept.len(), "{ended:#?}");
    for (printed, kept) in printed.iter().zip(&kept) {
        assert_same(printed, kept);
    }
}

#[test]
fn what_waits_for_a_sink_that_hangs_is_bounded_and_what_is_dropped_is_counted() {
    let roof = Roof::new(1);
    let sinks = BOTH_SINKS.to_owned() + "delivery.queue = 10\n";
    let folder = Folder::with_config(&roof.config(&sinks));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"sqlite\"");
    let other = folder.history();
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let before = run.printed().len();
    run.wait_for_printed(before + 40);
    other.execute_batch("ROLLBACK").expect("unlocked");
    run.wait_for_log("delivering again");
    let ended = run.stop().expect_code(0);
    let counts = ended.counts("sqlite");
    assert!(counts.of("dropped") >= 40 - 2 * 10, "{ended:#?}");
    assert_eq!(counts.of("taken"), ended.stdout.len());
    assert_eq!(
        counts.of("taken"),
        counts.of("delivered") + counts.of("dropped")
    );
    assert_eq!(rows(&folder.history()).len(), counts.of("delivered"));
    assert_eq!(
        ended.logged("not every reading was delivered"),
        1,
        "{ended:#?}"
    );
}

#[test]
fn a_closed_output_is_the_end_also_before_the_first_line() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    Process::with_stdout(&mut kstar(folder.path(), ["run"]), writer)
        .end()
        .expect_code(0);
}

#[test]
fn a_closed_output_is_nothing_to_a_run_that_prints_nothing() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.sqlite]\npath = \"history.db\"\n"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let run = Process::with_stdout(&mut kstar(folder.path(), ["run"]), writer);
    run.wait_for_log("identified");
    run.wait_for_log("delivering sink=\"sqlite\"");
    let ended = run.stop().expect_code(0);
    assert_eq!(
        rows(&folder.history()).len(),
        ended.counts("sqlite").of("taken")
    );
}
