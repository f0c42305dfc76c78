//! What a history is given and what it gives: the database of kstar.sharp, and copies.

use std::fmt::Write as _;

use rusqlite::Connection;

use crate::process::{Process, ended, kstar};
use crate::world::{BOTH_SINKS, Folder, Roof, open, rows};

/// The table of kstar.sharp, as its program makes it.
const OLD_TABLE: &str = "CREATE TABLE InverterDataGranular (
    Id INTEGER PRIMARY KEY AUTOINCREMENT, RecordedDateTime TEXT NOT NULL, TempCelcius REAL NOT NULL,
    ETotal REAL NOT NULL, EToday REAL NOT NULL, PVPower REAL NOT NULL, PV1Volt REAL NOT NULL, PV2Volt REAL NOT NULL,
    LoadPower REAL NOT NULL, Bat1Charge REAL NOT NULL, Bat1Power REAL NOT NULL, Bat1Voltage REAL NOT NULL,
    Bat1Amp REAL NOT NULL, GridPower REAL NOT NULL);";

/// A configuration with a history, whose inverter nobody polls.
const CONFIG: &str = "state_dir = \"state\"\ntimezone = \"Europe/London\"\n[[inverter]]\nname = \"roof\"\nhost = \"127.0.0.1\"\n\
    [sinks.sqlite]\npath = \"history.db\"\n";

/// A database with rows of these local times.
fn old_history(folder: &Folder, times: &[String]) {
    let mut sql = format!("BEGIN; {OLD_TABLE}\n");
    for (time, number) in times.iter().zip(0..) {
        writeln!(
            sql,
            "INSERT INTO InverterDataGranular VALUES (NULL, '{time}', 38.4, 14079.1, {}, 1710.54, 150, 156.9, 320, 87, \
             -1434.81, 50.7, 28.3, {});",
            f64::from(number) / 10.0,
            100 - number
        )
        .expect("text");
    }
    Connection::open(folder.join("old.db"))
        .and_then(|old| old.execute_batch(&(sql + "COMMIT")))
        .expect("an old history");
}

/// Half minutes from one time of the day to before another.
fn half_minutes(day: &str, minutes: std::ops::Range<u32>) -> Vec<String> {
    (minutes.start * 2..minutes.end * 2)
        .map(|half| {
            let (hour, minute, second) = (half / 120, half / 2 % 60, half % 2 * 30);
            format!("{day} {hour:02}:{minute:02}:{second:02}.5000000")
        })
        .collect()
}

fn times(folder: &Folder) -> Vec<String> {
    let history = folder.history();
    let mut query = history
        .prepare("SELECT time_utc FROM readings ORDER BY time")
        .expect("a history");
    let times = query.query_map([], |row| row.get(0)).expect("rows");
    times.map(|time| time.expect("text")).collect()
}

#[test]
fn the_history_of_kstar_sharp_is_taken_over_once() {
    let folder = Folder::with_config(CONFIG);
    // The night in which clocks are put back: an hour comes twice.
    let night = "2025-10-26";
    let recorded = [
        half_minutes(night, 50..120),
        half_minutes(night, 60..125),
        // In no zone of Europe's, and no time at all.
        vec!["2025-03-30 01:30:00".to_owned(), "yesterday".to_owned()],
        // Alone in the hour that comes twice a year later.
        vec!["2024-10-27 01:30:00".to_owned()],
    ]
    .concat();
    old_history(&folder, &recorded);
    let command = ["import", "old.db", "--zone", "Europe/London"];
    let first = ended(&mut kstar(folder.path(), command)).expect_code(0);
    let shown = first.out();
    assert!(
        shown.contains("270 readings of roof written to "),
        "{shown}"
    );
    assert!(
        shown.contains("1 left out: there is no such local time"),
        "{shown}"
    );
    assert!(
        shown.contains("1 left out: the time cannot be read: yesterday"),
        "{shown}"
    );
    assert!(
        shown.contains("1 left out: the local time came twice, and no row beside it tells which it is: 2024-10-27 01:30:00"),
        "{shown}"
    );
    // 00:50 in summer time, without a gap to 01:05 in winter time.
    let taken = times(&folder);
    assert_eq!(taken.len(), 270);
    assert_eq!(
        taken.first().map(String::as_str),
        Some("2025-10-25T23:50:00.500Z")
    );
    assert_eq!(
        taken.last().map(String::as_str),
        Some("2025-10-26T02:04:30.500Z")
    );

    let history = folder.history();
    let row = |query: &str| -> Vec<f64> {
        history
            .query_row(query, [], |row| {
                (0..row.as_ref().column_count())
                    .map(|index| row.get(index))
                    .collect()
            })
            .expect("a row")
    };
    assert_eq!(
        row("SELECT pv_power, battery_power, battery_discharge_power, battery_current, energy_today, grid_power * 1.0,
             inverter_temperature, battery_soc * 1.0 FROM readings ORDER BY time LIMIT 1 OFFSET 5"),
        [1710.54, -1434.81, 1434.81, -28.3, 0.5, 95.0, 38.4, 87.0]
    );
    let sums = "SELECT sum(samples) * 1.0, sum(covered_seconds), max(pv_power_max), sum(energy_today_growth) FROM readings_5min";
    let before = row(sums);
    assert_eq!(
        before.first(),
        Some(&260.0),
        "all but the last five minutes, which are open"
    );
    assert_eq!(row("SELECT count(*) * 1.0 FROM stale"), [0.0]);

    let second = ended(&mut kstar(folder.path(), command)).expect_code(0);
    assert!(
        second.out().contains("0 readings of roof written"),
        "{}",
        second.out()
    );
    assert!(
        second.out().contains("270 were there already"),
        "{}",
        second.out()
    );
    assert_eq!(times(&folder), taken);
    assert_eq!(row(sums), before);
}

#[test]
fn what_is_no_history_of_kstar_sharp_is_said() {
    let folder = Folder::with_config(CONFIG);
    let import = |arguments: &[&str]| ended(&mut kstar(folder.path(), arguments));
    let missing = import(&["import", "old.db"]).expect_code(1);
    assert!(
        missing.err().contains("there is no old.db"),
        "{}",
        missing.err()
    );
    folder.write("old.db", "dear diary\n".repeat(1000));
    let other = import(&["import", "old.db"]).expect_code(1);
    assert!(
        other
            .err()
            .contains("cannot read old.db as a database of kstar.sharp"),
        "{}",
        other.err()
    );
    let zone = import(&["import", "old.db", "--zone", "Mars/Base"]).expect_code(2);
    assert!(zone.err().contains("Europe/London"), "{}", zone.err());
    let inverter = import(&["import", "old.db", "--inverter", "barn"]).expect_code(2);
    assert!(
        inverter.err().contains("there are: roof"),
        "{}",
        inverter.err()
    );
}

#[test]
fn an_import_with_another_zone_is_refused_where_its_readings_are_there_already() {
    let folder = Folder::with_config(CONFIG);
    old_history(&folder, &half_minutes("2025-06-01", 0..120));
    let import = |zone: &str| {
        ended(&mut kstar(
            folder.path(),
            ["import", "old.db", "--zone", zone],
        ))
    };
    import("UTC").expect_code(0);
    let there = times(&folder);
    let refused = import("Asia/Kathmandu").expect_code(2);
    assert!(
        refused
            .err()
            .contains("in history.db already, 5:45 h later")
            && refused.err().contains("give that zone with --zone"),
        "{}",
        refused.err()
    );
    assert_eq!(times(&folder), there);
    let again = import("UTC").expect_code(0);
    assert!(
        again.out().contains("240 were there already"),
        "{}",
        again.out()
    );
}

#[test]
fn readings_that_are_far_apart_have_energies_too_and_it_is_said() {
    let folder = Folder::with_config(CONFIG);
    let quarters: Vec<String> = (0..48)
        .map(|quarter| format!("2025-06-01 {:02}:{:02}:00", quarter / 4, quarter % 4 * 15))
        .collect();
    old_history(&folder, &quarters);
    let command = ["import", "old.db", "--zone", "Europe/London"];
    let said = ended(&mut kstar(folder.path(), command)).expect_code(0);
    assert!(
        said.out()
            .contains("readings are 15 minutes apart; energy is counted over up to 37 minutes"),
        "{}",
        said.out()
    );
    let command = ["report", "day", "--date", "2025-06-01", "--json"];
    let report = ended(&mut kstar(folder.path(), command)).expect_code(0);
    let report: serde_json::Value = serde_json::from_str(&report.out()).expect("JSON");
    let sum = &report["sum"];
    // 47 quarters of an hour of 1710.54 W, and of 320 W.
    for (name, watts) in [("production", 1710.54), ("consumption", 320.0)] {
        let energy = sum[name].as_f64().expect("a number");
        assert!(
            (energy - watts * 11.75 / 1000.0).abs() < 0.002,
            "{name}: {energy}"
        );
    }
    let coverage = sum["coverage"].as_f64().expect("a number");
    assert!((coverage - 11.75 / 24.0).abs() < 0.001, "{coverage}");
}

#[test]
fn an_import_and_a_collector_write_to_one_history() {
    let roof = Roof::new(1);
    // All of it is kept, however old.
    let sinks = BOTH_SINKS.replace("path =", "keep_raw = \"forever\"\npath =");
    let folder = Folder::with_config(&roof.config(&sinks));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(1);
    old_history(&folder, &half_minutes("2025-06-01", 0..1440));
    let command = ["import", "old.db", "--zone", "UTC", "--inverter", "roof1"];
    ended(&mut kstar(folder.path(), command)).expect_code(0);
    let printed = run.printed().len();
    run.wait_for_printed(printed + 3);
    // Anyone who finds the file locked for too long tries again.
    let run = run.stop().expect_code(0);
    assert_eq!(rows(&folder.history()).len(), 2880 + run.stdout.len());
}

#[test]
fn a_copy_is_whole_while_the_collector_writes_and_replaces_nothing_unasked() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(20);
    let backup = |arguments: &[&str]| ended(&mut kstar(folder.path(), arguments));
    let copied = backup(&["backup", "copy.db"]).expect_code(0);
    assert!(
        copied.out().contains("copied to copy.db"),
        "{}",
        copied.out()
    );
    let first = rows(&open(&folder.join("copy.db"))).len();
    assert!(first > 0);
    let refused = backup(&["backup", "copy.db"]).expect_code(2);
    assert!(
        refused.err().contains("replace it with --force"),
        "{}",
        refused.err()
    );
    let itself = backup(&["backup", "--force", "history.db"]).expect_code(2);
    assert!(
        itself.err().contains("is the history itself"),
        "{}",
        itself.err()
    );
    let printed = run.printed().len();
    run.wait_for_printed(printed + 10);
    backup(&["backup", "--force", "copy.db"]).expect_code(0);
    let run = run.stop().expect_code(0);
    let copy = rows(&open(&folder.join("copy.db")));
    assert!(copy.len() > first && copy.len() <= run.stdout.len());
    assert_eq!(copy[..], rows(&folder.history())[..copy.len()]);
    assert!(!folder.join("copy.db.part").exists());
    assert!(!folder.join("copy.db-wal").exists());
}
