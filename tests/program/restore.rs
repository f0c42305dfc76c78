//! Backups in a folder of their own, and a history that comes back from one.

use std::fs;
use std::path::Path;

use crate::process::{Process, ended, kstar};
use crate::world::{Folder, Roof, rows};

const HISTORY: &str = "[sinks.stdout]\n[sinks.sqlite]\npath = \"history.db\"\n";

/// The names in a folder, in their order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_folder_keeps_the_newest_backups_and_whatever_else_is_in_it() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(HISTORY));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(5);
    run.stop().expect_code(0);
    let backups = folder.join("backups");
    fs::create_dir(&backups).expect("a folder");
    let old = [
        "kstar-2024-01-01T020000Z.db",
        "kstar-2025-01-01T020000Z.db",
        "kstar-2026-01-01T020000Z.db",
        "kstar-of-somebody-else.db",
        "notes.txt",
    ];
    for name in old {
        fs::write(backups.join(name), "").expect("written");
    }
    let args = ["backup", "--into", "backups", "--keep", "2"];
    let copied = ended(&mut kstar(folder.path(), args)).expect_code(0);
    let left = names(&backups);
    assert_eq!(left.len(), 4, "{left:?}");
    assert_eq!(left[0], old[2], "{left:?}");
    assert_eq!(left[2..], old[3..], "{left:?}");
    assert!(
        copied
            .out()
            .contains(&format!("backups/{} deleted: 2 are kept", old[0]))
    );
    // The new one is whole.
    let newest = [
        "report",
        "total",
        "--history",
        &format!("backups/{}", left[1]),
    ]
    .map(str::to_owned);
    ended(&mut kstar(folder.path(), newest)).expect_code(0);
    let args = ["backup", "--into", "backups", "--keep", "0"];
    let refused = ended(&mut kstar(folder.path(), args)).expect_code(2);
    assert!(
        refused.err().contains("a whole number from 1 on"),
        "{refused:#?}"
    );
}

#[test]
fn a_backup_takes_the_place_of_the_history_once_no_collector_has_it_open() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(HISTORY));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(5);
    ended(&mut kstar(folder.path(), ["backup", "copy.db"])).expect_code(0);
    let restore = || ended(&mut kstar(folder.path(), ["restore", "copy.db"]));
    let held = restore().expect_code(1);
    assert!(held.err().contains("stop the collector first"), "{held:#?}");
    let printed = run.printed().len();
    run.wait_for_printed(printed + 5);
    run.stop().expect_code(0);
    let before = rows(&folder.history());

    let restored = restore().expect_code(0);
    assert!(
        restored
            .out()
            .contains("what was there is now history.db.replaced")
    );
    let after = rows(&folder.history());
    assert!(!after.is_empty() && after.len() < before.len());
    assert_eq!(after[..], before[..after.len()]);

    // What was there comes back by the same way, and the collector goes on with it.
    let back = ["restore", "history.db.replaced"];
    ended(&mut kstar(folder.path(), back)).expect_code(0);
    assert!(folder.join("history.db.replaced-2").exists());
    assert_eq!(rows(&folder.history()), before);
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(5);
    run.stop().expect_code(0);
    assert!(rows(&folder.history()).len() > before.len());
}

#[test]
fn what_is_no_backup_replaces_nothing_and_a_damaged_history_is_replaced() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(HISTORY));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(5);
    run.stop().expect_code(0);
    ended(&mut kstar(folder.path(), ["backup", "copy.db"])).expect_code(0);
    let there = rows(&folder.history());
    fs::write(folder.join("empty.db"), "").expect("written");
    fs::write(
        folder.join("text.db"),
        "no database at all, and longer than a header",
    )
    .expect("written");
    let damaged = fs::read(folder.join("copy.db")).expect("a copy");
    fs::write(folder.join("half.db"), &damaged[..damaged.len() / 2]).expect("written");
    for (name, code, words) in [
        ("no.db", 1, "there is no backup no.db"),
        ("empty.db", 1, "empty.db holds no history"),
        ("text.db", 1, "text.db is no SQLite database"),
        ("half.db", 1, "half.db"),
        ("history.db", 2, "is the history itself"),
        (".", 2, "is a folder; name a file in it"),
    ] {
        let refused = ended(&mut kstar(folder.path(), ["restore", name])).expect_code(code);
        assert!(refused.err().contains(words), "{name}: {refused:#?}");
        assert_eq!(rows(&folder.history()), there, "{name}");
        assert!(!folder.join("history.db.part").exists(), "{name}");
    }
    fs::write(folder.join("history.db"), "damaged beyond all reading").expect("written");
    ended(&mut kstar(folder.path(), ["restore", "copy.db"])).expect_code(0);
    assert_eq!(rows(&folder.history()), there);
}
