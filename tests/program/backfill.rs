//! `kstar backfill` pushes a history to InfluxDB: all of it, each reading once, and on from where it was.

use std::net::TcpListener;

use serde_json::Value;

use crate::influxdb::Influxdb;
use crate::process::{Ended, Process, ended, kstar, wait_until};
use crate::world::{Folder, Roof};

const HISTORY: &str = "[sinks.sqlite]\npath = \"history.db\"\n";

/// A folder with a history of two inverters that is no longer written, and how many readings are in it.
fn history() -> (Folder, u64) {
    let roof = Roof::new(2);
    let sinks = format!("[sinks.stdout]\n{HISTORY}");
    let folder = Folder::with_config(&roof.config(&sinks));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(100);
    run.stop().expect_code(0);
    let count = "SELECT count(*) FROM readings";
    let readings = folder
        .history()
        .query_row(count, [], |row| row.get::<_, u32>(0));
    (folder, readings.expect("a count").into())
}

fn backfill(folder: &Folder, args: &[&str]) -> Ended {
    let args = [&["backfill"], args].concat();
    ended(&mut kstar(folder.path(), args))
}

/// The configuration with this section as well.
fn configure(folder: &Folder, section: &str) {
    folder.write(
        "kstar.toml",
        format!("state_dir = \"state\"\n{HISTORY}{section}"),
    );
}

/// How many points there are.
fn points(influxdb: &Influxdb) -> u64 {
    let series = influxdb.query("SELECT count(reply_time) FROM inverter", &[]);
    series["values"][0][1].as_u64().unwrap_or_default()
}

#[test]
fn a_history_is_pushed_as_it_is_and_then_there_is_nothing_left() {
    let (folder, readings) = history();
    let influxdb = Influxdb::start("");
    influxdb.query("CREATE DATABASE solar", &[]);
    configure(&folder, &influxdb.section("tags = { site = \"home\" }"));

    let pushed = backfill(&folder, &["--inverter", "roof1"]).expect_code(0);
    let first = points(&influxdb);
    assert!(first > 0 && first < readings);
    assert!(
        pushed
            .out()
            .starts_with(&format!("{first} readings pushed to http://")),
        "{pushed:#?}"
    );
    assert_eq!(pushed.err(), "");
    let pushed = backfill(&folder, &[]).expect_code(0);
    let second = readings - first;
    assert!(
        pushed
            .out()
            .starts_with(&format!("{second} readings pushed")),
        "{pushed:#?}"
    );
    assert_eq!(points(&influxdb), readings);

    // What is in the one is in the other.
    let series = influxdb.query(
        "SELECT inverter, site, grid_voltage, battery_mode FROM inverter",
        &[],
    );
    let points_there: Vec<Value> = series["values"].as_array().expect("points").clone();
    let history = folder.history();
    let mut statement = history
        .prepare("SELECT grid_voltage, battery_mode FROM readings WHERE time = ? AND inverter = ?")
        .expect("a view");
    for point in &points_there {
        let (time, name) = (point[0].as_i64(), point[1].as_str());
        let (voltage, mode): (Option<f64>, Option<String>) = statement
            .query_row((time, name), |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("a reading");
        assert_eq!(point[2], "home");
        assert_eq!(point[3].as_f64(), voltage);
        assert_eq!(point[4].as_str(), mode.as_deref());
    }

    let nothing = backfill(&folder, &[]).expect_code(0);
    assert!(nothing.out().contains("already; --again"), "{nothing:#?}");
    let again = backfill(&folder, &["--again"]).expect_code(0);
    assert!(
        again
            .out()
            .starts_with(&format!("{readings} readings pushed")),
        "{again:#?}"
    );
    assert_eq!(points(&influxdb), readings);
}

#[test]
fn one_that_was_killed_goes_on_where_it_was() {
    let (folder, readings) = history();
    let influxdb = Influxdb::start("");
    influxdb.query("CREATE DATABASE solar", &[]);
    configure(&folder, &influxdb.section(""));
    let slow = Process::start(&mut kstar(folder.path(), ["backfill", "--rate", "20"]));
    let record = folder.join("state/backfill.json");
    wait_until("a record of what was pushed", || {
        std::fs::read_to_string(&record).is_ok_and(|text| text.contains("start"))
    });
    slow.signal("KILL");
    slow.end();
    let before = points(&influxdb);
    assert!(before >= 20 && before < readings, "{before} of {readings}");
    // What is gone from there tells what comes again.
    influxdb.query("DROP SERIES FROM inverter", &[]);
    let pushed = backfill(&folder, &[]).expect_code(0);
    let after = points(&influxdb);
    assert!(
        pushed.out().starts_with(&format!("{after} readings")),
        "{pushed:#?}"
    );
    assert!(after < readings, "it began anew");
    assert!(
        before + after >= readings,
        "{before} and {after} of {readings}"
    );
}

#[test]
fn one_that_is_stopped_says_so_and_a_server_that_is_away_is_waited_for() {
    let (folder, readings) = history();
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("an address").port()
    };
    configure(
        &folder,
        &format!("[sinks.influxdb]\nurl = \"http://127.0.0.1:{port}\"\ndatabase = \"solar\"\n"),
    );
    let push = Process::start(&mut kstar(folder.path(), ["backfill"]));
    let said = push.wait_for_log("cannot deliver");
    assert!(said.contains("refuses the connection"), "{said}");
    let stopped = push.stop().expect_code(1);
    assert!(
        stopped.err().contains("goes on where it was"),
        "{stopped:#?}"
    );

    let influxdb = Influxdb::start("");
    influxdb.query("CREATE DATABASE solar", &[]);
    configure(&folder, &influxdb.section(""));
    backfill(&folder, &[]).expect_code(0);
    assert_eq!(points(&influxdb), readings);
}

#[test]
fn what_cannot_be_pushed_is_told_with_what_to_do() {
    let (folder, _) = history();
    configure(&folder, "");
    let failed = backfill(&folder, &[]).expect_code(2);
    assert!(
        failed.err().contains("no section [sinks.influxdb]"),
        "{failed:#?}"
    );
    configure(
        &folder,
        "[sinks.influxdb]\nurl = \"http://127.0.0.1:1\"\ndatabase = \"solar\"\n",
    );
    for (args, code, words) in [
        (
            &["--from", "2020", "--to", "2021"][..],
            1,
            "no reading of roof",
        ),
        (&["--from", "soon"], 2, "is no date"),
        (&["--inverter", "barn"], 2, "knows no inverter `barn`"),
        (&["--rate", "0"], 2, "--rate"),
        (&["--history", "nowhere.db"], 1, "nowhere.db"),
    ] {
        let failed = backfill(&folder, args).expect_code(code);
        assert!(failed.err().contains(words), "{failed:#?}");
    }
    folder.write("state/backfill.json", "{");
    let failed = backfill(&folder, &[]).expect_code(1);
    assert!(
        failed.err().contains("backfill.json does not tell"),
        "{failed:#?}"
    );
}
