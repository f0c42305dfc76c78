//! What earlier versions wrote is read as before: a configuration, state folders, histories and spools of theirs are kept in
//! `tests/kept`, beside what those versions told of them.
//!
//! - `kstar.toml` has every section; `check.txt` is what `kstar check` told of it.
//! - `form-3` (energy files of form 3, a history of form 3, a spool of form 2) is what the version before sources were
//!   plug-ins left behind when it was killed; `form-2` (forms 2, 2 and 1) is the same of commit 66a96fb.
//!
//! Both have read the same two simulated inverters, `roof1` and `roof2`; in between one counter was set to 1234.5 kWh.
//! InfluxDB was away all the time. `meter.json`, `report.json` and `export.jsonl` are what `kstar meter --json`, `kstar report
//! total --json` and the first line of `kstar export --format json` told then. SQLite's files are kept as SQL.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kstar_history::{Importer, KeepFor, Retention, Settings};
use rusqlite::Connection;
use serde_json::Value;

use crate::influxdb::Influxdb;
use crate::mqtt::Broker;
use crate::process::{Ended, Process, ended, kstar};
use crate::world::{Folder, Roof, Row, key, open, readings, rows};

/// What is kept below this name.
fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/kept")
        .join(name);
    fs::read_to_string(&path).expect("a file that is kept")
}

fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).expect("JSON")
}

/// The file that this SQL describes.
fn load(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("a database");
    connection.execute_batch(sql).expect("SQL");
}

/// A folder with the configuration and what the program of this form has left behind.
fn left_by(form: &str) -> Folder {
    let folder = Folder::with_config(&text("kstar.toml"));
    folder.write("http-token", "token");
    for name in [
        "meter.json",
        "meter.fallback.json",
        "meter.log",
        "mqtt-home-assistant-kept.json",
    ] {
        folder.write(
            &format!("state/{name}"),
            text(&format!("{form}/state/{name}")),
        );
    }
    load(
        &folder.join("state/spool-influxdb.db"),
        &text(&format!("{form}/state/spool-influxdb.sql")),
    );
    load(
        &folder.join("history.db"),
        &text(&format!("{form}/history.sql")),
    );
    folder
}

/// The program in this folder, with the environment that the configuration names.
fn program(folder: &Folder, args: &[&str]) -> Command {
    let mut command = kstar(folder.path(), args);
    command.env("KSTAR_KEPT_PASSWORD", "kept");
    command
}

fn asked(folder: &Folder, args: &[&str]) -> String {
    let ended = ended(&mut program(folder, args)).expect_code(0);
    ended.stdout.join("\n") + "\n"
}

fn report(folder: &Folder) -> Value {
    serde_json::from_str(&asked(folder, &["report", "total", "--json"])).expect("JSON")
}

/// Goes on from what is in the folder until there are a few readings and everything is delivered, with inverters, a broker and
/// an InfluxDB that are there.
fn go_on(folder: &Folder) -> (Ended, Influxdb) {
    let (roof, broker, influxdb) = (Roof::new(2), Broker::start(), Influxdb::start(""));
    influxdb.query("CREATE DATABASE solar", &[]);
    let [first, second] = roof.hosts()[..] else {
        panic!("two inverters");
    };
    let mut config = text("kstar.toml");
    for (kept, now) in [
        ("127.0.0.1:18899", first.to_string()),
        ("127.0.0.1:18900", second.to_string()),
        ("127.0.0.1:18099", "127.0.0.1:0".to_owned()),
        ("mqtt://127.0.0.1:11883", broker.url()),
        ("http://127.0.0.1:18086", influxdb.url()),
    ] {
        assert!(config.contains(kept), "{kept}");
        config = config.replace(kept, &now);
    }
    folder.write("kstar.toml", config);
    let run = Process::start(&mut program(folder, &["run"]));
    for sink in ["sqlite", "mqtt", "influxdb"] {
        run.wait_for_log(&format!("delivering sink=\"{sink}\""));
    }
    run.wait_for_printed(6);
    (run.stop().expect_code(0), influxdb)
}

/// When the readings in a spool were taken.
fn spooled(folder: &Folder) -> BTreeSet<i64> {
    let spool = open(&folder.join("state/spool-influxdb.db"));
    let mut statement = spool.prepare("SELECT time FROM reading").expect("a table");
    let times = statement.query_map([], |row| row.get(0)).expect("rows");
    times.map(|time| time.expect("a time")).collect()
}

/// The counters go on from what an earlier version told, the history from its readings, and what was in the spool is in
/// InfluxDB.
#[track_caller]
fn assert_goes_on(folder: &Folder, form: &str) {
    let shown = json(&format!("{form}/meter.json"));
    let waiting = spooled(folder);
    assert!(waiting.len() > 10, "{waiting:?}");
    let before = rows(&folder.history());
    let (ended, influxdb) = go_on(folder);

    let printed = readings(&ended.stdout);
    for inverter in ["roof1", "roof2"] {
        let counters = shown["inverters"][inverter]["counters"].as_object();
        let goes_on = |reading: &Row| {
            counters.expect("counters").iter().all(|(name, value)| {
                // Another day has begun since.
                name.ends_with("_today")
                    || (reading[name].as_f64() >= value.as_f64()
                        && reading[name].as_f64() < value.as_f64().map(|value| value + 0.1))
            })
        };
        let own: Vec<&Row> = printed
            .iter()
            .filter(|reading| reading["inverter"] == inverter)
            .collect();
        assert!(!own.is_empty(), "{printed:?}");
        assert!(own.into_iter().all(goes_on), "{shown} {printed:?}");
    }

    let after = rows(&folder.history());
    assert_eq!(after.len(), before.len() + printed.len());
    let keys = |rows: &[Row]| -> BTreeSet<_> { rows.iter().map(key).collect() };
    assert!(keys(&after).is_superset(&keys(&before)));
    assert!(keys(&after).is_superset(&keys(&printed)));

    let series = influxdb.query("SELECT pv1_voltage FROM inverter", &[]);
    let points = series["values"].as_array().expect("points");
    let arrived: BTreeSet<i64> = points
        .iter()
        .map(|point| point[0].as_i64().expect("milliseconds"))
        .collect();
    assert!(arrived.is_superset(&waiting));
    assert!(!folder.join("state/spool-influxdb.db").exists());
}

#[test]
fn a_configuration_of_an_earlier_version_means_the_same() {
    let folder = Folder::with_config(&text("kstar.toml"));
    folder.write("http-token", "token");
    assert_eq!(asked(&folder, &["check"]), text("check.txt"));
}

#[test]
fn what_the_version_before_has_written_is_told_the_same_and_goes_on() {
    let folder = left_by("form-3");
    assert_eq!(
        asked(&folder, &["meter", "--json"]),
        text("form-3/meter.json")
    );
    assert_eq!(report(&folder), json("form-3/report.json"));
    let exported = asked(&folder, &["export", "--format", "json"]);
    assert!(exported.starts_with(&text("form-3/export.jsonl")));
    assert_goes_on(&folder, "form-3");
}

#[test]
fn what_66a96fb_has_written_goes_on_and_its_history_is_counted_once() {
    let folder = left_by("form-2");
    let shown: Value = serde_json::from_str(&asked(&folder, &["meter", "--json"])).expect("JSON");
    let told = json("form-2/meter.json");
    for inverter in ["roof1", "roof2"] {
        let counters = told["inverters"][inverter]["counters"].as_object();
        for (name, value) in counters.expect("counters") {
            assert_eq!(&shown["inverters"][inverter]["counters"][name], value);
        }
    }
    // A collector does that bit by bit while it is idle.
    let zone = kstar_common::zone::named("Europe/London").expect("a zone");
    let settings = Settings::new(zone, Duration::from_millis(500));
    let retention = Retention {
        samples: KeepFor::Forever,
        ..Retention::default()
    };
    let history = Importer::open(folder.join("history.db"), &settings, retention, None);
    let counted = history.expect("a history").finish(&mut |_| ());
    counted.expect("counted");
    let sum = report(&folder)["sum"].take();
    // What the meter had counted, and not what the counter was set to; the moments of the restart are counted as well.
    for (name, total) in [
        ("production", "pv_energy_today"),
        ("import", "grid_import_energy_today"),
        ("export", "grid_export_energy_today"),
        ("stored", "battery_charge_energy_today"),
        ("drawn", "battery_discharge_energy_today"),
    ] {
        let of = |inverter| told["inverters"][inverter]["counters"][total].as_f64();
        let metered = of("roof1").expect(total) + of("roof2").expect(total);
        let counted = sum[name].as_f64().expect(name);
        assert!(
            (metered - 0.001..metered + 0.02).contains(&counted),
            "{name}: {metered} {counted}"
        );
    }
    let before = &json("form-2/report.json")["sum"]["consumption"];
    let difference = sum["consumption"].as_f64().zip(before.as_f64());
    assert!(difference.is_some_and(|(now, before)| (now - before).abs() < 0.002));
    assert_eq!(sum["origin"]["consumption"], "counter");
    let line = asked(&folder, &["export", "--format", "json"]);
    let (line, _) = line.split_once('\n').expect("a line");
    let now: Row = serde_json::from_str(line).expect("JSON");
    for (name, value) in json("form-2/export.jsonl").as_object().expect("a reading") {
        assert_eq!(&now[name], value, "{name}");
    }
    assert_goes_on(&folder, "form-2");
}
