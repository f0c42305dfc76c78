//! `kstar run --demo`: an inverter that is not there, with a past in a history of its own.

use std::process::Command;

use serde_json::Value;

use crate::process::{Process, ended, kstar};
use crate::world::{Folder, open, readings};

const DATABASE: &str = "kstar-demo.db";

fn started(folder: &Folder, more: &[&str]) -> Process {
    Process::start(&mut kstar(
        folder.path(),
        [&["run", "--demo"], more].concat(),
    ))
}

fn asked(folder: &Folder, args: &[&str]) -> Value {
    let args = [args, &["--json", "--history", DATABASE]].concat();
    let answer = ended(&mut kstar(folder.path(), args)).expect_code(0);
    serde_json::from_str(&answer.out()).expect("JSON")
}

/// One number of the history.
fn number(folder: &Folder, query: &str) -> f64 {
    let history = open(&folder.join(DATABASE));
    history
        .query_row(query, [], |row| row.get(0))
        .expect("a number")
}

#[test]
fn a_demonstration_has_a_rich_year_behind_it_and_goes_on_from_it() {
    let folder = Folder::new();
    let demo = started(&folder, &[]);
    demo.wait_for_printed(2);
    let demo = demo.stop().expect_code(0);

    #[cfg(feature = "http")]
    {
        let first = demo.stderr.first().expect("a log");
        assert!(
            first.contains("the page is at http://127.0.0.1:8"),
            "{first}"
        );
    }
    assert_eq!(demo.logged("kstar report year --history kstar-demo.db"), 1);

    // A reading now is the sum of what was before and a few seconds more.
    let printed = readings(&demo.stdout);
    let begins = printed[0]["time"].as_str().expect("a time").to_owned();
    for total in [
        "pv_energy_total",
        "consumption_energy_total",
        "energy_total",
        "load_energy_total",
    ] {
        let now = printed[0][total].as_f64().expect("a total");
        let query = format!(
            "SELECT {total} FROM readings WHERE time_utc < '{begins}' ORDER BY time DESC LIMIT 1"
        );
        let before = number(&folder, &query);
        assert!(before > 1000.0, "{total}: {before}");
        assert!(
            (0.0..0.2).contains(&(now - before)),
            "{total}: {before} {now}"
        );
    }

    // Whatever the day is: a summer and a winter are in it.
    let last_year = number(
        &folder,
        "SELECT (max(time) - min(time)) / 86400e3 FROM readings",
    );
    assert!((390.0..400.0).contains(&last_year), "{last_year} days");
    let months: Vec<f64> = [2025, 2026, 2027, 2028]
        .iter()
        .flat_map(|year| {
            let answer = ended(&mut kstar(
                folder.path(),
                [
                    "report",
                    "year",
                    "--json",
                    "--history",
                    DATABASE,
                    "--date",
                    &year.to_string(),
                ],
            ));
            let report: Value = serde_json::from_str(&answer.out()).unwrap_or_default();
            let parts = report["parts"].as_array().cloned().unwrap_or_default();
            parts
                .into_iter()
                .filter_map(|part| part["production"].as_f64())
                .collect::<Vec<f64>>()
        })
        .filter(|energy| *energy > 0.0)
        .collect();
    assert!(months.len() >= 13, "{months:?}");
    let [least, most] =
        [f64::min, f64::max].map(|which| months[1..13].iter().copied().fold(300.0, which));
    assert!(most > 3.0 * least && least > 50.0, "{months:?}");
    let faults = number(
        &folder,
        "SELECT count(*) FROM readings WHERE errors != 'none'",
    );
    assert!(faults > 5.0, "{faults}");
    assert!(asked(&folder, &["report", "day", "--date", "yesterday"]).is_object());
}

#[test]
fn the_history_of_an_earlier_demonstration_is_replaced_and_nothing_else_is() {
    let folder = Folder::new();
    let mut days = Vec::new();
    for family in ["kse", "goodwe-dt"] {
        let demo = started(&folder, &["--family", family]);
        // No reading is waited for: a goodwe-dt has none at night.
        demo.wait_for_log("holds 13 months");
        demo.stop().expect_code(0);
        days.push(number(
            &folder,
            "SELECT count(DISTINCT time / 86400000) FROM readings",
        ));
        let inverters = number(&folder, "SELECT count(*) FROM inverter");
        assert!((inverters - 1.0).abs() < 0.5, "{inverters}");
        let history = open(&folder.join(DATABASE));
        let serial: String = history
            .query_row("SELECT serial FROM inverter", [], |row| row.get(0))
            .expect("a serial number");
        assert!(
            serial.starts_with(if family == "kse" { "KSE" } else { "9010KDTU" }),
            "{serial}"
        );
        let total = number(
            &folder,
            "SELECT pv_energy_total FROM readings ORDER BY time DESC LIMIT 1",
        );
        assert!(total > 1000.0, "{total}");
    }
    assert!((days[0] - days[1]).abs() < 3.0, "{days:?}");

    // One of a collector stays, as does what is no history at all.
    let history = open(&folder.join(DATABASE));
    history
        .execute("UPDATE inverter SET serial = 'KSE4000S00000001'", [])
        .expect("changed");
    drop(history);
    let refused = started(&folder, &[]).end().expect_code(2);
    assert!(
        refused.err().contains("has readings of the inverter"),
        "{refused:#?}"
    );
    folder.write("kstar-demo.db", "my notes");
    for name in ["kstar-demo.db-wal", "kstar-demo.db-shm"] {
        // They may have gone with the last who had it open.
        let _ = std::fs::remove_file(folder.join(name));
    }
    let refused = started(&folder, &[]).end().expect_code(2);
    assert!(refused.err().contains("Move the file away"), "{refused:#?}");
    assert_eq!(
        std::fs::read(folder.join(DATABASE)).expect("notes"),
        b"my notes"
    );
}

#[test]
fn what_is_for_a_demonstration_alone_needs_one() {
    let folder = Folder::new();
    for args in [&["run", "--json"][..], &["run", "--speed", "600"]] {
        let mut command: Command = kstar(folder.path(), args);
        let refused = ended(&mut command).expect_code(2);
        assert!(refused.err().contains("--demo"), "{refused:#?}");
    }
}
