//! The history: files that cannot be written, disks that are full, locks, and a process that is killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use crate::process::{Ended, Process, kstar, wait_until};
use crate::world::{
    BOTH_SINKS, Folder, Roof, Row, SmallDisk, assert_same, key, kstar_without_privileges, open,
    readings, rows,
};

/// A history of a few readings, as the program leaves it.
pub(crate) fn with_history(roof: &Roof) -> Folder {
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(3);
    run.stop().expect_code(0);
    folder
}

/// The history is down for a reason that names the file and says what to do, and everything else runs.
#[track_caller]
fn assert_down(run: &Process, words: &[&str]) {
    let down = run.wait_for_log("cannot deliver");
    for word in words {
        assert!(down.contains(word), "{word}: {down}");
    }
    run.wait_for_printed(run.printed().len() + 5);
}

/// However often it was tried. A disk that is merely busy may have been another reason.
#[track_caller]
fn assert_said_once(ended: &Ended, reason: &str) {
    let said = ended.stderr.iter();
    let said = said.filter(|line| line.contains("cannot deliver") && line.contains(reason));
    assert_eq!(said.count(), 1, "{ended:#?}");
}

/// Runs with a history that cannot be opened, fixes that, and finds every reading in it.
#[track_caller]
fn assert_nothing_lost(folder: &Folder, words: &[&str], mend: impl FnOnce()) {
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    assert_down(&run, words);
    mend();
    run.wait_for_log("open now sink=\"sqlite\" was=");
    let ended = run.stop().expect_code(0);
    assert_said_once(&ended, words[0]);
    assert_eq!(ended.counts("sqlite").of("delivered"), ended.stdout.len());
    assert_eq!(rows(&folder.history()).len(), ended.stdout.len());
}

#[test]
fn a_file_that_is_none_of_ours_is_left_alone_and_waited_for() {
    let roof = Roof::new(1);
    let folder = with_history(&roof);
    let path = folder.join("history.db");
    let remove = || std::fs::remove_file(&path).expect("removed");
    folder
        .history()
        .pragma_update(None, "user_version", 99)
        .expect("a later version");
    let words = [
        "history.db was written by a later version",
        "schema 99",
        "set another `path`",
    ];
    assert_nothing_lost(&folder, &words, remove);

    folder.write("history.db", "dear diary\n".repeat(1000));
    let words = [
        "history.db is no SQLite database",
        "move it away or set another `path`",
    ];
    assert_nothing_lost(&folder, &words, || {
        let kept = std::fs::read_to_string(&path).expect("text");
        assert!(kept.starts_with("dear diary"));
        remove();
    });

    remove();
    Connection::open(&path)
        .and_then(|other| other.execute_batch("CREATE TABLE photo (id INTEGER)"))
        .expect("another program's");
    let words = ["is another program's database", "set another `path`"];
    assert_nothing_lost(&folder, &words, remove);

    remove();
    std::fs::create_dir(&path).expect("a folder");
    let words = ["history.db is a folder", "name a file in it"];
    assert_nothing_lost(&folder, &words, || {
        std::fs::remove_dir(&path).expect("removed");
    });
}

/// As where a disk is mounted late: its place is there, or not even that.
#[test]
fn a_history_on_a_disk_that_is_not_there_yet_gets_what_came_meanwhile() {
    let roof = Roof::new(1);
    let sinks = BOTH_SINKS.replace("history.db", "disk/solar/history.db");
    let folder = Folder::with_config(&roof.config(&sinks));
    folder.write("disk", "in the place of the disk");
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    assert_down(&run, &["cannot make the folder", "disk/solar"]);
    std::fs::remove_file(folder.join("disk")).expect("removed");
    run.wait_for_log("open now sink=\"sqlite\" was=");
    let ended = run.stop().expect_code(0);
    assert_said_once(&ended, "cannot make the folder");
    let kept = rows(&open(&folder.join("disk/solar/history.db")));
    assert_eq!(kept.len(), ended.stdout.len());
    for (printed, kept) in readings(&ended.stdout).iter().zip(&kept) {
        assert_same(printed, kept);
    }
}

#[test]
fn a_history_that_this_user_may_not_write_is_down_and_says_who_must_let_it() {
    let roof = Roof::new(1);
    let folder = with_history(&roof);
    // Any user may look, none but the owner may write: not the file, and nothing new in its folder.
    let mut command = kstar_without_privileges(&folder, &["run"]);
    let read_only = std::os::unix::fs::PermissionsExt::from_mode(0o444);
    std::fs::set_permissions(folder.join("history.db"), read_only).expect("permissions");
    assert_down(
        &Process::start(&mut command),
        &[
            "history.db is read-only",
            "let this user write to it and to its folder",
        ],
    );

    for (path, words) in [
        (
            "new.db",
            [
                "new.db is not there and cannot be made",
                "let this user write to its folder",
            ],
        ),
        (
            "new/history.db",
            ["cannot make the folder", "set another `path`"],
        ),
    ] {
        let config = roof.config(&format!(
            "[sinks.stdout]\n[sinks.sqlite]\npath = \"{path}\"\n"
        ));
        let folder = Folder::with_config(&config);
        let mut command = kstar_without_privileges(&folder, &["run"]);
        assert_down(&Process::start(&mut command), &words);
    }
}

#[test]
fn a_locked_history_is_waited_for_and_nothing_is_lost() {
    let roof = Roof::new(1);
    let folder = with_history(&roof);
    let before = rows(&folder.history()).len();
    // Locked before the start and, after a while, in the middle.
    let other = folder.history();
    other.execute_batch("BEGIN EXCLUSIVE").expect("a lock");
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let down = run.wait_for_log("cannot deliver");
    assert!(
        down.contains("history.db is locked by another program"),
        "{down}"
    );
    assert!(down.contains("end that program or wait for it"), "{down}");
    other.execute_batch("ROLLBACK").expect("unlocked");
    run.wait_for_log("sink=\"sqlite\" was=");
    let ended = run.stop().expect_code(0);
    assert_eq!(ended.counts("sqlite").of("delivered"), ended.stdout.len());
    assert_eq!(rows(&folder.history()).len(), before + ended.stdout.len());
}

#[test]
fn a_full_disk_is_said_once_and_what_was_taken_meanwhile_is_kept() {
    let roof = Roof::new(1);
    let sinks = BOTH_SINKS.replace("history.db", "disk/history.db");
    let folder = Folder::with_config(&roof.config(&sinks));
    let place = folder.join("disk");
    let Some(_disk) = SmallDisk::mount(&place, 512) else {
        return;
    };
    let ballast = place.join("ballast");
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"sqlite\"");
    fill(&ballast);
    let down = run.wait_for_log("cannot deliver");
    assert!(
        down.contains("no room for") && down.contains("disk/history.db"),
        "{down}"
    );
    assert!(down.contains("make room on its disk"), "{down}");
    let before = run.printed().len();
    run.wait_for_printed(before + 10);
    std::fs::remove_file(&ballast).expect("removed");
    run.wait_for_log("delivering again");
    let ended = run.stop().expect_code(0);
    assert_eq!(ended.logged("cannot deliver"), 1, "{ended:#?}");

    let kept = rows(&open(&place.join("history.db")));
    let times: BTreeSet<_> = kept.iter().map(key).collect();
    assert_eq!(times.len(), ended.stdout.len());
    for (printed, kept) in readings(&ended.stdout).iter().zip(&kept) {
        assert_same(printed, kept);
    }
}

/// Leaves no room on the disk of this file.
pub(crate) fn fill(ballast: &Path) {
    let mut file = std::fs::File::create(ballast).expect("a file");
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
}

#[test]
fn a_disk_that_is_full_at_the_start_is_waited_for_and_nothing_is_lost() {
    let roof = Roof::new(1);
    let sinks = BOTH_SINKS.replace("history.db", "disk/history.db");
    let folder = Folder::with_config(&roof.config(&sinks));
    let place = folder.join("disk");
    let Some(_disk) = SmallDisk::mount(&place, 512) else {
        return;
    };
    let ballast = place.join("ballast");
    let mut lines = 0;
    // First where there is no history yet, then with the one of before.
    for _ in 0..2 {
        fill(&ballast);
        let run = Process::start(&mut kstar(folder.path(), ["run"]));
        let down = run.wait_for_log("cannot deliver");
        assert!(down.contains("no room for"), "{down}");
        assert!(down.contains("make room on its disk"), "{down}");
        std::fs::remove_file(&ballast).expect("removed");
        run.wait_for_log("sink=\"sqlite\" was=");
        lines += run.stop().expect_code(0).stdout.len();
        assert_eq!(rows(&open(&place.join("history.db"))).len(), lines);
    }
}

#[test]
fn others_may_read_all_the_time() {
    let roof = Roof::new(1);
    let folder = with_history(&roof);
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                // A fresh connection each time, as another program would: a state of its own, never a smaller one.
                let now = rows(&folder.history()).len();
                assert!(now >= seen, "{now} readings after {seen}");
                seen = now;
            }
            seen
        });
        run.wait_for_printed(40);
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().expect("no error of a lock") > 3);
    });
    let ended = run.stop().expect_code(0);
    assert_eq!(ended.logged("cannot deliver"), 0, "{ended:#?}");
    assert_eq!(ended.counts("sqlite").of("delivered"), ended.stdout.len());
}

/// What is promised: a reading that anybody has seen in the file stays there; readings have no gap, no repetition and
/// their own values; only the newest, which were still on their way, may be missing.
#[test]
fn a_process_that_is_killed_loses_nothing_that_was_committed() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let mut lives: Vec<Row> = Vec::new();
    for life in 0..10 {
        let before = lives.len();
        let run = Process::start(&mut kstar(folder.path(), ["run"]));
        run.wait_for_log("delivering sink=\"sqlite\"");
        run.wait_for_printed(3 + life % 4);
        wait_until("a reading in the file", || {
            rows(&folder.history()).len() > before
        });
        let seen = rows(&folder.history());
        run.signal("KILL");
        let printed = readings(&run.end().stdout);

        let history = folder.history();
        let health: String = history
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("an answer");
        assert_eq!(health, "ok");
        let kept = rows(&history);
        let without_identity = |reading: &Row| {
            let mut reading = reading.clone();
            reading.retain(|key, _| !["serial", "model"].contains(&key.as_str()));
            reading
        };
        for (seen, kept) in seen.iter().zip(&kept) {
            assert_eq!(without_identity(seen), without_identity(kept));
        }
        assert!(kept.len() >= seen.len());
        let times: BTreeSet<_> = kept.iter().map(key).collect();
        assert_eq!(times.len(), kept.len());
        // One of the two may be ahead of the other; as far as both go, they are the same.
        for (printed, kept) in printed.iter().zip(&kept[before..]) {
            assert_eq!(key(printed), key(kept));
            assert_eq!(printed["pv_power"].as_f64(), kept["pv_power"].as_f64());
        }
        lives = kept;
    }
}
