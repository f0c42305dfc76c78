//! The spool: what waits for a history that another program holds outlives a stop, a kill and a full disk; and one
//! process at a time collects with a state folder.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rusqlite::Connection;

use crate::history::{fill, with_history};
use crate::process::{Process, ended, kstar, wait_until};
use crate::world::{BOTH_SINKS, Folder, Roof, SmallDisk, assert_same, key, open, readings, rows};

/// Both sinks, the history with a spool.
const SPOOLED: &str = "[sinks.stdout]\n[sinks.sqlite]\npath = \"history.db\"\n\
    [sinks.sqlite.delivery]\ntimeout = \"500ms\"\nspool = true\n";

/// A folder with a history, a spool in the configuration, and the other program that has locked the history.
fn locked(roof: &Roof) -> (Folder, Connection) {
    let folder = with_history(roof);
    folder.write("kstar.toml", roof.config(SPOOLED));
    let other = folder.history();
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    (folder, other)
}

fn spool(folder: &Folder) -> PathBuf {
    folder.join("state/spool-sqlite.db")
}

/// Runs until everything is in the history, and stops.
fn catch_up(folder: &Folder) -> Vec<String> {
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"sqlite\"");
    let ended = run.stop().expect_code(0);
    assert!(!spool(folder).exists(), "{ended:#?}");
    ended.stdout
}

#[test]
fn a_stop_during_an_outage_leaves_what_waits_to_the_next_start() {
    let roof = Roof::new(1);
    let (folder, other) = locked(&roof);
    let before = rows(&folder.history()).len();
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("cannot deliver");
    let count = run.printed().len();
    run.wait_for_printed(count + 5);
    let stopped = run.stop().expect_code(0);
    assert_eq!(
        stopped.logged("what waits in the spool is delivered after the next start"),
        1,
        "{stopped:#?}"
    );
    let counts = stopped.counts("sqlite");
    assert_eq!(counts.of("waiting"), stopped.stdout.len());
    assert_eq!(counts.of("of them in the spool"), stopped.stdout.len());
    assert!(spool(&folder).exists());

    other.execute_batch("ROLLBACK").expect("unlocked");
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let said = run.wait_for_log("readings from before wait in the spool");
    assert!(
        said.contains(&format!("waiting={}", stopped.stdout.len())),
        "{said}"
    );
    run.wait_for_log("delivering sink=\"sqlite\"");
    let resumed = run.stop().expect_code(0);
    let printed: Vec<_> = [stopped.stdout, resumed.stdout].concat();
    let kept = rows(&folder.history());
    assert_eq!(kept.len(), before + printed.len());
    for (printed, kept) in readings(&printed).iter().zip(&kept[before..]) {
        assert_same(printed, kept);
    }
    assert!(!spool(&folder).exists());
}

/// The milliseconds of a reading's time.
fn millis(reading: &crate::world::Row) -> i64 {
    let time: jiff::Timestamp = reading["time"]
        .as_str()
        .expect("text")
        .parse()
        .expect("a time");
    time.as_millisecond()
}

#[test]
fn a_process_that_is_killed_during_an_outage_loses_at_most_its_last_second() {
    let roof = Roof::new(1);
    let (folder, other) = locked(&roof);
    let mut lives = Vec::new();
    for _ in 0..5 {
        let run = Process::start(&mut kstar(folder.path(), ["run"]));
        run.wait_for_printed(1);
        let begin = millis(&readings(&run.printed())[0]);
        run.wait_for_line("a reading four seconds later", |line| {
            millis(&readings(&[line.to_owned()])[0]) > begin + 4000
        });
        run.signal("KILL");
        lives.push(readings(&run.end().stdout));
    }
    other.execute_batch("ROLLBACK").expect("unlocked");
    catch_up(&folder);

    let history = folder.history();
    let kept: BTreeSet<_> = rows(&history).iter().map(key).collect();
    for life in lives {
        let killed = millis(life.last().expect("readings"));
        // A second is promised; a busy machine may need another to write it.
        let safe = life
            .iter()
            .filter(|reading| millis(reading) < killed - 2000);
        for reading in safe {
            assert!(kept.contains(&key(reading)), "{:?} is lost", key(reading));
        }
    }
    let health: String = history
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("an answer");
    assert_eq!(health, "ok");
}

#[test]
fn a_full_disk_under_the_spool_is_said_once_and_costs_nothing() {
    let roof = Roof::new(1);
    let (folder, other) = locked(&roof);
    let config = roof.config(SPOOLED).replace("\"state\"", "\"disk\"");
    // Enough memory for however long this takes on a busy machine.
    folder.write("kstar.toml", config + "queue = 10000\n");
    let place = folder.join("disk");
    let Some(_disk) = SmallDisk::mount(&place, 512) else {
        return;
    };
    let before = rows(&folder.history()).len();
    let ballast = place.join("ballast");
    fill(&ballast);
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let said = run.wait_for_log("the spool cannot be used");
    assert!(
        said.contains("no room for") && said.contains("disk/spool-sqlite.db"),
        "{said}"
    );
    assert!(said.contains("make room on its disk"), "{said}");
    let count = run.printed().len();
    run.wait_for_printed(count + 30);
    std::fs::remove_file(&ballast).expect("removed");
    run.wait_for_log("the spool works again");
    let stopped = run.stop().expect_code(0);
    assert_eq!(
        stopped.logged("the spool cannot be used"),
        1,
        "{stopped:#?}"
    );
    let counts = stopped.counts("sqlite");
    assert_eq!(counts.of("of them in the spool"), stopped.stdout.len());
    assert_eq!(counts.of("dropped"), 0);

    other.execute_batch("ROLLBACK").expect("unlocked");
    let resumed = catch_up(&folder);
    assert_eq!(
        rows(&folder.history()).len(),
        before + stopped.stdout.len() + resumed.len()
    );
}

#[test]
fn a_backlog_on_a_full_disk_is_delivered_once() {
    let roof = Roof::new(1);
    let (folder, other) = locked(&roof);
    let config = roof.config(SPOOLED).replace("\"state\"", "\"disk\"");
    folder.write("kstar.toml", config);
    let place = folder.join("disk");
    let Some(_disk) = SmallDisk::mount(&place, 512) else {
        return;
    };
    let before = rows(&folder.history()).len();
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(30);
    let waited = run.stop().expect_code(0).stdout.len();
    fill(&place.join("ballast"));
    other.execute_batch("ROLLBACK").expect("unlocked");

    // What is delivered cannot be deleted either.
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    wait_until("everything in the history", || {
        rows(&folder.history()).len() >= before + waited
    });
    let count = run.printed().len();
    run.wait_for_printed(count + 20);
    let resumed = run.stop().expect_code(0);
    assert_eq!(
        resumed.counts("sqlite").of("delivered"),
        waited + resumed.stdout.len(),
        "{resumed:#?}"
    );
    assert_eq!(
        resumed.logged("the spool cannot be used"),
        1,
        "{resumed:#?}"
    );
    assert_eq!(
        rows(&folder.history()).len(),
        before + waited + resumed.stdout.len()
    );
}

#[test]
fn a_damaged_spool_is_set_aside_and_said_loudly() {
    let roof = Roof::new(1);
    let (folder, other) = locked(&roof);
    std::fs::write(spool(&folder), "dear diary\n".repeat(1000)).expect("written");
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let said = run.wait_for_log("the spool is damaged");
    assert!(
        said.contains("ERROR") && said.contains(".recover"),
        "{said}"
    );
    assert!(said.contains("spool-sqlite.db.damaged-"), "{said}");
    let stopped = run.stop().expect_code(0);
    let aside = std::fs::read_dir(folder.join("state"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.to_string_lossy().contains(".damaged-"))
        .expect("a file that was set aside");
    let kept = std::fs::read_to_string(aside).expect("text");
    assert!(kept.starts_with("dear diary"));
    other.execute_batch("ROLLBACK").expect("unlocked");
    let before = rows(&folder.history()).len();
    let resumed = catch_up(&folder);
    assert_eq!(
        rows(&folder.history()).len(),
        before + stopped.stdout.len() + resumed.len()
    );
}

#[test]
fn a_later_versions_spool_is_left_alone_and_readings_wait_in_memory() {
    let roof = Roof::new(1);
    let (folder, _other) = locked(&roof);
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(3);
    run.stop().expect_code(0);
    open(&spool(&folder))
        .pragma_update(None, "user_version", 99)
        .expect("a later version");
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let said = run.wait_for_log("the spool cannot be used");
    for words in [
        "spool-sqlite.db was written by a later version",
        "install that version again, or move the file away",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert!(spool(&folder).exists());
    run.wait_for_printed(5);
    // It is used as soon as it can be.
    std::fs::rename(spool(&folder), folder.join("moved")).expect("moved");
    run.wait_for_log("the spool works again");
    let stopped = run.stop().expect_code(0);
    assert_eq!(
        stopped.counts("sqlite").of("of them in the spool"),
        stopped.stdout.len()
    );
}

#[test]
fn a_history_that_is_well_leaves_no_spool() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(SPOOLED));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"sqlite\"");
    run.wait_for_printed(20);
    run.stop().expect_code(0);
    let left = std::fs::read_dir(folder.join("state"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string())
        .filter(|name| name.as_ref().is_ok_and(|name| name.starts_with("spool")))
        .count();
    assert_eq!(left, 0);
}

#[test]
fn one_process_at_a_time_collects_with_a_state_folder() {
    let roof = Roof::new(2);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let first = Process::start(&mut kstar(folder.path(), ["run"]));
    first.wait_for_printed(1);
    let second = ended(&mut kstar(folder.path(), ["run"])).expect_code(1);
    for words in [
        format!("process {} runs with the state folder", first.pid()),
        folder.join("state").display().to_string(),
        "stop that one, or give this one a `state_dir` of its own".to_owned(),
    ] {
        assert!(second.err().contains(&words), "{words}: {second:#?}");
    }
    assert_eq!(second.out(), "");
    // Anyone who only looks is not in the way.
    ended(&mut kstar(folder.path(), ["check"])).expect_code(0);

    let config = roof.config("[sinks.stdout]\n");
    folder.write("other.toml", config.replace("\"state\"", "\"another\""));
    let args = ["run", "--config", "other.toml"];
    let other = Process::start(&mut kstar(folder.path(), args));
    other.wait_for_printed(1);
    other.stop().expect_code(0);
    first.signal("KILL");
    first.end();
    // A killed process holds nothing, though its file is there.
    assert!(folder.join("state/kstar.lock").exists());
    let third = Process::start(&mut kstar(folder.path(), ["run"]));
    third.wait_for_printed(1);
    third.stop().expect_code(0);
    assert!(!folder.join("state/kstar.lock").exists());
}

#[test]
fn a_demonstration_has_nothing_to_do_with_the_users_state() {
    let folder = Folder::new();
    // Two at a time, each with a history of its own: of two that write one, the second would wait for the first.
    let places = [folder.path().to_owned(), folder.join("second")];
    std::fs::create_dir(&places[1]).expect("a folder");
    let demos = places.map(|place| {
        let mut demo = kstar(&place, ["run", "--demo"]);
        Process::start(demo.env("HOME", folder.path()))
    });
    for demo in demos {
        demo.wait_for_printed(1);
        demo.stop().expect_code(0);
    }
    assert!(!folder.join(".local").exists());
}

#[test]
fn the_plan_shows_the_spool_and_its_bounds() {
    let roof = Roof::new(1);
    let config = roof.config(SPOOLED) + "spool_max = \"64MiB\"\nspool_max_readings = 5000\n";
    let folder = Folder::with_config(&config);
    let plan = ended(&mut kstar(folder.path(), ["check"])).expect_code(0);
    assert!(
        plan.out()
            .contains("history.db; up to 5000 readings in 64MiB wait on disk while it is away"),
        "{plan:#?}"
    );
}
