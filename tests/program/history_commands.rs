//! The commands that ask a history: reports, exports, charts.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::date;
use jiff::tz::TimeZone;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use rusqlite::Connection;
use serde_json::Value;

use crate::past::Past;
use crate::process::{Ended, Process, ended, kstar};
use crate::world::{BOTH_SINKS, Folder, Roof, assert_same, open, readings};

/// A folder with a history of that past, where the configuration expects it.
fn with_past(past: &Past<'_>, more: &str) -> Folder {
    let folder = Folder::with_config(&format!("{more}\n[sinks.sqlite]\npath = \"history.db\"\n"));
    past.write(&folder.join("history.db"));
    folder
}

/// Runs a command in a folder.
fn ask(folder: &Folder, args: &[&str]) -> Ended {
    ended(&mut kstar(folder.path(), args))
}

/// A report as JSON.
fn report(folder: &Folder, args: &[&str]) -> Value {
    let args = [&["report"], args, &["--json"]].concat();
    let ended = ask(folder, &args).expect_code(0);
    serde_json::from_str(&ended.out()).expect("JSON")
}

/// A number of a report.
#[track_caller]
fn number(of: &Value, name: &str) -> f64 {
    of[name]
        .as_f64()
        .unwrap_or_else(|| panic!("no {name} in {of}"))
}

#[track_caller]
fn assert_near(found: f64, expected: f64, what: &str) {
    let far = 0.002 + 0.002 * expected.abs();
    assert!(
        (found - expected).abs() < far,
        "{what}: {found}, expected {expected}"
    );
}

/// Power over time by trapezoids, in kWh, as anybody would compute it from the view. Of two readings further apart than
/// this nothing is known.
fn by_sql(history: &Connection, power: &str, begin: &str, end: &str) -> f64 {
    let longest_ms = 150_000;
    history
        .query_row(
            &format!(
                "SELECT sum((one + other) / 2.0 * (until - time)) / 3.6e9 FROM (
                   SELECT time, {power} AS one,
                     lead({power}) OVER readings_of AS other, lead(time) OVER readings_of AS until
                   FROM readings WHERE time_utc >= ?1 AND time_utc <= ?2
                   WINDOW readings_of AS (PARTITION BY inverter ORDER BY time)
                 ) WHERE until - time <= {longest_ms}"
            ),
            [begin, end],
            |row| row.get(0),
        )
        .expect("a sum")
}

const POWERS: [(&str, &str); 6] = [
    ("production", "pv_power"),
    ("consumption", "(load_power + backup_power)"),
    ("import", "grid_import_power"),
    ("export", "grid_export_power"),
    ("charged", "battery_charge_power"),
    ("discharged", "battery_discharge_power"),
];

#[test]
fn a_report_agrees_with_what_sql_says_of_the_readings() {
    // Over the end of summer time, in two inverters, with two hours a day without readings.
    let past = Past {
        first: date(2026, 10, 24),
        days: 3,
        inverters: &["roof", "garage"],
        pause: Some([13.0, 15.0]),
        ..Past::default()
    };
    let folder = with_past(&past, "");
    let history = folder.history();
    let [before, sunday, monday, after] = [
        "2026-10-23T22:00:00.000Z",
        "2026-10-24T22:00:00.000Z",
        "2026-10-25T23:00:00.000Z",
        "2026-10-26T23:00:00.000Z",
    ];
    let month = report(&folder, &["month", "--date", "2026-10"]);
    let total = report(&folder, &["total"]);
    let day = report(&folder, &["day", "--date", "2026-10-25"]);
    assert_eq!(day["parts"].as_array().map(Vec::len), Some(25));
    assert_eq!(month["parts"][24]["begin"], sunday);
    for (name, power) in POWERS {
        let all = by_sql(&history, power, before, after);
        let of_sunday = by_sql(&history, power, sunday, monday);
        assert_near(number(&month["sum"], name), all, name);
        assert_near(number(&total["sum"], name), all, name);
        assert_near(number(&day["sum"], name), of_sunday, name);
        assert_near(number(&month["parts"][24], name), of_sunday, name);
        let hours: f64 = day["parts"]
            .as_array()
            .expect("parts")
            .iter()
            .filter_map(|hour| hour[name].as_f64())
            .sum();
        assert_near(hours, of_sunday, name);
        assert_eq!(day["sum"]["origin"][name], "power");
    }
    // Of 25 hours.
    assert_near(number(&day["sum"], "coverage"), 23.0 / 25.0, "coverage");
    let one = report(
        &folder,
        &["day", "--date", "2026-10-25", "--inverter", "garage"],
    );
    assert!(number(&one["sum"], "production") < number(&day["sum"], "production"));
    let (highest, time): (f64, String) = history
        .query_row(
            "SELECT max(pv_power), time_utc FROM readings WHERE inverter = 'garage'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("a peak");
    let peak = report(&folder, &["total", "--inverter", "garage"])["peaks"][0].take();
    assert_near(number(&peak, "power"), highest, "peak");
    assert_eq!(peak["time"], time);
    assert_eq!(peak.get("until"), None);
    let hours_of_gap: Vec<bool> = one["parts"].as_array().expect("parts")[14..16]
        .iter()
        .map(|hour| hour.get("production").is_none())
        .collect();
    assert_eq!(
        hours_of_gap,
        [true, true],
        "13:00 and 14:00 are absent, not 0"
    );
}

#[test]
fn of_a_peak_whose_reading_is_not_kept_any_more_the_five_minutes_are_told() {
    let past = Past {
        days: 3,
        ..Past::default()
    };
    let folder = with_past(&past, "");
    let date = past.first.to_string();
    let peak = || report(&folder, &["day", "--date", &date])["peaks"][0].take();
    let before = peak();
    assert_eq!(before.get("until"), None);
    past.sum_up(&folder.join("history.db"));
    let after = peak();
    assert_eq!(after["power"], before["power"]);
    let [time, from, until] = [&before["time"], &after["time"], &after["until"]]
        .map(|time| time.as_str().expect("a time"));
    assert!((from..until).contains(&time), "{before} {after}");
}

#[test]
fn a_meter_that_counts_is_believed_also_where_no_reading_covers_the_time() {
    let past = Past {
        metered: true,
        pause: Some([11.0, 14.0]),
        ..Past::default()
    };
    let folder = with_past(&past, "");
    let (first, last): (f64, f64) = folder
        .history()
        .query_row(
            "SELECT min(pv_energy_total), max(pv_energy_total) FROM readings",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("a counter");
    let day = report(&folder, &["day", "--date", "2026-06-12"]);
    assert_near(
        number(&day["sum"], "production"),
        last - first,
        "production",
    );
    assert_eq!(day["sum"]["origin"]["production"], "counter");
    assert_eq!(day["sum"]["origin"]["export"], "power");
    let seen = by_sql(&folder.history(), "pv_power", "2026-06-11", "2026-06-13");
    assert!(number(&day["sum"], "production") > seen + 1.0, "{seen}");
}

#[test]
fn a_tariff_makes_money_of_energy_by_the_time_of_the_day() {
    const TARIFF: &str = "[[tariff]]\ncurrency = 'EUR'\nprice = 0.30\nfeed_in = 0.08\n\
        times = [{ from = '18:30', to = '06:00', price = 0.10 }]\n";
    let folder = with_past(&Past::default(), TARIFF);
    let history = folder.history();
    let dear = ["2026-06-12T04:00:00.000Z", "2026-06-12T16:30:00.000Z"];
    let all = ["2026-06-11T22:00:00.000Z", "2026-06-12T22:00:00.000Z"];
    let energy = |power, [begin, end]: [&str; 2]| by_sql(&history, power, begin, end);
    let price =
        |power| 0.30 * energy(power, dear) + 0.10 * (energy(power, all) - energy(power, dear));
    for args in [
        ["month", "--date", "2026-06"],
        ["day", "--date", "2026-06-12"],
    ] {
        let sum = &report(&folder, &args)["sum"];
        let cost = price("grid_import_power");
        assert_near(number(sum, "cost"), cost, "cost");
        assert_near(
            number(sum, "income"),
            0.08 * energy("grid_export_power", all),
            "income",
        );
        assert_near(
            number(sum, "savings"),
            price("(load_power + backup_power)") - cost,
            "savings",
        );
    }
    let table = ask(&folder, &["report", "month", "--date", "2026-06"]).expect_code(0);
    let heads = "Cost Income Savings";
    assert!(table.out().contains(heads), "{}", table.out());
    let args = [
        "report",
        "day",
        "--date",
        "2026-06-12",
        "--csv",
        "--decimal-comma",
    ];
    let csv = ask(&folder, &args).expect_code(0);
    let day = &report(&folder, &["day", "--date", "2026-06-12"])["parts"];
    let hours = day.as_array().expect("hours");
    assert_eq!(csv.out().lines().count(), 1 + hours.len());
    for (line, hour) in csv.out().lines().skip(1).zip(hours) {
        let cost = line.split(';').nth(12).expect("a column of costs");
        assert_near(
            cost.replace(',', ".").parse().expect(cost),
            number(hour, "cost"),
            line,
        );
    }
}

#[test]
fn prices_of_a_file_hold_at_its_times_and_what_is_wrong_in_it_is_told() {
    let tariff = "
        [[tariff]]
        currency = 'EUR'
        price = 0.30
        standing_charge = 0.5
        file = 'prices.csv'";
    let folder = with_past(&Past::default(), tariff);
    let history = folder.history();
    let prices = folder.path().join("prices.csv");
    let times = ["2026-06-12T04:00:00.000Z", "2026-06-12T04:15:00.000Z"];
    let all = ["2026-06-11T22:00:00.000Z", "2026-06-12T22:00:00.000Z"];
    std::fs::write(
        &prices,
        "time,price\n2026-06-12T06:00:00+02:00,1.5\n2026-06-12T04:15:00Z,0.3\n",
    )
    .expect("written");
    let import = |[begin, end]: [&str; 2]| by_sql(&history, "grid_import_power", begin, end);
    for args in [
        ["month", "--date", "2026-06"],
        ["day", "--date", "2026-06-12"],
    ] {
        let sum = &report(&folder, &args)["sum"];
        let cost = 0.3 * import(all) + 1.2 * import(times);
        assert_near(number(sum, "cost"), cost, "cost");
        assert_near(number(sum, "standing_charge"), 0.5, "standing charge");
        assert_near(number(sum, "net"), cost + 0.5, "net");
    }
    std::fs::write(&prices, "2026-06-12T06:00:00+02:00,cheap\n").expect("written");
    let wrong = ask(&folder, &["report", "month"]).expect_code(1);
    assert!(
        wrong
            .err()
            .contains("prices.csv:1: `cheap` is no price; write a number"),
        "{}",
        wrong.err()
    );
}

#[test]
fn raw_json_lines_are_those_of_the_sink_for_standard_output() {
    let roof = Roof::new(2);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    for name in ["roof1", "roof2"] {
        let name = format!("\"inverter\":\"{name}\",\"serial\"");
        run.wait_for_line("line with a serial number", |line| line.contains(&name));
    }
    let mut printed = run.stop().expect_code(0).stdout;
    let mut exported = ask(&folder, &["export", "--format", "json"])
        .expect_code(0)
        .stdout;
    // An export tells one inverter after the other.
    for lines in [&mut printed, &mut exported] {
        lines.sort_by_key(|line| line.contains("\"inverter\":\"roof2\""));
    }
    assert_eq!(exported.len(), printed.len());
    for (exported, printed) in exported.iter().zip(&printed) {
        // The history knows the serial number also for the time before it was told.
        if printed.contains("\"serial\"") {
            assert_eq!(exported, printed);
        } else {
            let [exported, printed] =
                [exported, printed].map(|line| readings(std::slice::from_ref(line)));
            assert_same(&printed[0], &exported[0]);
        }
    }
}

#[test]
fn what_an_inverter_tells_itself_is_exported_and_reported_and_no_part_of_a_total_twice() {
    let folder = Folder::with_config("[sinks.sqlite]\npath = \"history.db\"\n");
    // Four strings, two batteries, three phases; 2000 W and 1560 W by voltage and current.
    let told = [
        (Quantity::pv1_voltage, 4000),
        (Quantity::pv1_current, 50),
        (Quantity::pv1_power, 198_700),
        (Quantity::pv2_voltage, 3900),
        (Quantity::pv2_current, 40),
        (Quantity::pv3_power, 120_000),
        (Quantity::pv4_power, 80_000),
        (Quantity::pv_power, 554_700),
        (Quantity::battery_voltage, 2000),
        (Quantity::battery_current, -100),
        (Quantity::battery_power, -310_000),
        (Quantity::battery2_power, -110_500),
        (Quantity::grid_power, -1500),
        (Quantity::grid_l1_power, -700),
        (Quantity::grid_l2_power, -500),
        (Quantity::grid_l3_power, -300),
        (Quantity::load_power, 900),
        (Quantity::load_l1_power, 500),
        (Quantity::backup_power, 100),
        (Quantity::backup_l1_power, 60),
        (Quantity::inverter_pv_energy_total, 12_345),
        (Quantity::inverter_grid_export_energy_total, 2_345),
    ];
    let begin = Past::default()
        .first
        .to_zoned(TimeZone::UTC)
        .expect("a day");
    let begin = begin.timestamp().as_millisecond();
    let inverter = Inverter::named("roof");
    let written: Vec<_> = (0..121)
        .map(|minute| {
            let mut values = Values::default();
            for (quantity, raw) in told {
                values.set_raw(quantity, Some(raw));
            }
            values.derive();
            Arc::new(Reading {
                time: UnixMillis(begin + (12 * 60 + minute) * 60_000),
                inverter: Arc::clone(&inverter),
                values,
                counted: None,
            })
        })
        .collect();
    Past::default().write_readings(&folder.join("history.db"), &written);
    let exported = ask(&folder, &["export", "--format", "json"])
        .expect_code(0)
        .stdout;
    let lines: Vec<_> = written
        .iter()
        .map(|reading| serde_json::to_string(&**reading).expect("a line"))
        .collect();
    assert_eq!(exported, lines);
    let total = report(&folder, &["total"]);
    for (name, kwh) in [
        ("production", 11.094),
        ("discharged", 6.2),
        ("export", 3.0),
        ("consumption", 2.0),
    ] {
        assert_near(number(&total["sum"], name), kwh, name);
    }
}

#[test]
fn a_week_is_compared_with_that_of_a_year_before() {
    let folder = Folder::with_config("[sinks.sqlite]\npath = \"history.db\"\n");
    for (year, day) in [(2025, 9), (2026, 8)] {
        let past = Past {
            first: jiff::civil::date(year, 6, day),
            ..Past::default()
        };
        past.write(&folder.join("history.db"));
    }
    let week = |date: &str| report(&folder, &["week", "--date", date]);
    let compared = report(&folder, &["week", "--date", "2026-06-10", "--compare"]);
    assert_eq!(compared["begin"], "2026-06-07T22:00:00.000Z");
    assert_eq!(compared["sum"], week("2026-06-10")["sum"]);
    assert_eq!(compared["year_before"], week("2025-06-09")["sum"]);
    assert!(week("2026-06-10").get("year_before").is_none());
    let table = ask(
        &folder,
        &["report", "week", "--date", "2026-06-10", "--compare"],
    );
    let table = table.expect_code(0).out();
    assert!(
        table.contains("Week 24 of 2026 Week 24 of 2025 Change"),
        "{table}"
    );
    let first = ask(
        &folder,
        &["report", "week", "--date", "2025-06-10", "--compare"],
    );
    let first = first.expect_code(0).out();
    assert!(
        first.contains("There is no reading of the same time a year before."),
        "{first}"
    );
    ask(&folder, &["report", "total", "--compare"]).expect_code(2);
}

/// The rows of an export, each as its cells by their columns.
fn rows(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader
        .deserialize()
        .map(|row| row.expect("a row"))
        .collect()
}

#[test]
fn csv_can_be_read_back_and_has_every_value() {
    let past = Past {
        every: Duration::from_secs(600),
        ..Past::default()
    };
    let folder = with_past(&past, "");
    let to = folder.join("all.csv");
    let ended = ask(&folder, &["export", "-o", "all.csv"]).expect_code(0);
    assert_eq!(ended.err(), "", "nothing is said where nobody watches");
    let rows = rows(&std::fs::read_to_string(&to).expect("a file"));
    let lines = ask(&folder, &["export", "--format", "json"])
        .expect_code(0)
        .stdout;
    let readings = readings(&lines);
    assert_eq!(rows.len(), 144);
    assert_eq!(rows.len(), readings.len());
    for (row, reading) in rows.iter().zip(&readings) {
        for (column, cell) in row {
            let value = match reading.get(column) {
                None => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(flags)) if flags.is_empty() => "none".to_owned(),
                Some(Value::Array(flags)) => {
                    let flags: Vec<_> = flags.iter().filter_map(Value::as_str).collect();
                    flags.join(",")
                }
                Some(other) => other.to_string(),
            };
            assert_eq!(*cell, value, "{column}");
        }
    }
    assert_eq!(
        rows[0]["battery_temperature"], "",
        "what is absent is empty"
    );
}

#[test]
fn an_export_of_hours_has_means_extremes_and_growths_in_local_time() {
    let past = Past {
        first: date(2026, 10, 25),
        metered: true,
        ..Past::default()
    };
    let folder = with_past(&past, "");
    let args = [
        "export",
        "--resolution",
        "hour",
        "--quantities",
        "pv_power,pv_energy_total",
        "--local",
        "--from",
        "2026-10-25",
        "--to",
        "2026-10-25",
    ];
    let rows = rows(&(ask(&folder, &args).expect_code(0).out() + "\n"));
    assert_eq!(rows.len(), 25);
    assert_eq!(rows[0]["begin"], "2026-10-25T00:00:00.000+02:00");
    assert_eq!(
        rows[3]["begin"], "2026-10-25T02:00:00.000+01:00",
        "the second two o'clock"
    );
    assert_eq!(rows[24]["end"], "2026-10-26T00:00:00.000+01:00");
    let cell =
        |row: &BTreeMap<String, String>, name: &str| row[name].parse::<f64>().expect("a number");
    let counted: f64 = rows
        .iter()
        .map(|row| cell(row, "pv_energy_total_grown"))
        .sum();
    let added_up: f64 = rows
        .iter()
        .map(|row| cell(row, "pv_power_mean") * cell(row, "covered") / 3.6e6)
        .sum();
    assert_near(counted, added_up, "a counter and its power");
    assert!(
        rows.iter()
            .all(|row| cell(row, "pv_power_max") >= cell(row, "pv_power_mean"))
    );

    let days = ask(
        &folder,
        &["export", "--resolution", "day", "--format", "json"],
    )
    .expect_code(0);
    let day: Value = serde_json::from_str(&days.out()).expect("one line");
    assert_eq!(day["samples"], 25 * 60);
    assert_near(number(&day["pv_energy_total"], "grown"), counted, "the day");
}

#[test]
fn whoever_reads_only_the_beginning_of_an_export_hears_no_complaint() {
    let folder = with_past(&Past::default(), "");
    let script = format!("'{}' export | head -n 2", env!("CARGO_BIN_EXE_kstar"));
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", &script])
        .current_dir(folder.path())
        .stdin(Stdio::null());
    let ended = ended(&mut shell).expect_code(0);
    assert_eq!(ended.stdout.len(), 2);
    assert_eq!(ended.err(), "");
}

#[test]
fn what_cannot_be_answered_says_why_and_what_there_is() {
    let folder = with_past(&Past::default(), "");
    let there = "it has some from 2026-06-12 00:00 to 2026-06-12 23:59";
    for (args, code, words) in [
        (&["report", "day", "--date", "2026-06-13"][..], 1, there),
        (
            &["report", "month", "--date", "2025-06"],
            1,
            "no reading of roof for June 2025",
        ),
        (
            &["plot", "day", "--date", "2026-06-11", "-o", "a.png"],
            1,
            there,
        ),
        (&["export", "--from", "2027", "-o", "a.csv"], 1, there),
        (&["export", "--to", "2025"], 1, "try --resolution 5min"),
        (
            &["report", "day", "--inverter", "barn"],
            2,
            "no inverter `barn`, only: roof",
        ),
        (
            &["export", "--quantities", "pv_power,sun"],
            2,
            "no quantity is named `sun`; there are: pv1_voltage",
        ),
        (
            &[
                "export",
                "--quantities",
                "battery_mode",
                "--resolution",
                "day",
            ],
            2,
            "has no mean",
        ),
        (
            &["export", "--from", "2026-06-12", "--to", "2026-06-11"],
            2,
            "no time between",
        ),
        (&["export", "--format", "json", "--local"], 2, "always UTC"),
        (&["report", "day", "--date", "soon"], 2, "write a date like"),
        (
            &["report", "day", "--date", "2026-06"],
            2,
            "a whole month, and a day is asked for",
        ),
        (&["report", "total", "--date", "2026"], 2, "takes no --date"),
        (&["plot", "day", "-o", "a.gif"], 2, "write .svg or .png"),
        (
            &["plot", "day", "--size", "9x9", "-o", "a.svg"],
            2,
            "from 480x300 to 4096x4096",
        ),
        (
            &["report", "day", "--history", "no/such.db"],
            1,
            "no history at no/such.db",
        ),
    ] {
        let ended = ask(&folder, args).expect_code(code);
        assert!(ended.err().contains(words), "{args:?}: {}", ended.err());
        assert_eq!(ended.out(), "", "{args:?}");
    }
    for trace in ["a.png", "a.csv"] {
        assert!(!folder.join(trace).exists(), "{trace}");
    }

    open(&folder.join("history.db"))
        .pragma_update(None, "user_version", 99)
        .expect("a later version");
    for args in [&["report", "total"][..], &["export"], &["plot", "year"]] {
        let ended = ask(&folder, args).expect_code(1);
        assert!(ended.err().contains("later version"), "{}", ended.err());
    }
}

#[test]
fn a_history_is_asked_without_a_configuration_too() {
    let folder = Folder::new();
    let missing = ask(&folder, &["report", "total"]).expect_code(1);
    assert!(
        missing.err().contains("no history at kstar.db"),
        "{}",
        missing.err()
    );
    Past::default().write(&folder.join("kstar.db"));
    ask(&folder, &["report", "total"]).expect_code(0);
    folder.write("kstar.toml", "[sinks.stdout]\n");
    let unset = ask(&folder, &["report", "total"]).expect_code(2);
    assert!(
        unset.err().contains("no section [sinks.sqlite]"),
        "{}",
        unset.err()
    );
    ask(&folder, &["report", "total", "--history", "kstar.db"]).expect_code(0);
}

/// Width and height that a PNG says it has.
fn size_of_png(path: &Path) -> [u32; 2] {
    let bytes = std::fs::read(path).expect("a file");
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")))
}

#[test]
fn charts_are_written_as_svg_and_png() {
    let past = Past {
        days: 3,
        ..Past::default()
    };
    let folder = with_past(&past, "");
    for what in ["day", "week", "month", "year"] {
        let drawn = ask(&folder, &["plot", what, "--date", "2026-06-13"]).expect_code(0);
        roxmltree::Document::parse(&drawn.out()).expect("well-formed");
        assert!(drawn.out().contains(" kWh</text>"), "{what} tells its sums");
        let args = [
            "plot",
            what,
            "--date",
            "2026-06-13",
            "-o",
            "a.png",
            "--theme",
            "dark",
            "--size",
            "640x360",
        ];
        ask(&folder, &args).expect_code(0);
        assert_eq!(size_of_png(&folder.join("a.png")), [640, 360]);
    }
    ask(
        &folder,
        &["plot", "day", "--date", "2026-06-13", "-o", "a.SVG"],
    )
    .expect_code(0);
    let svg = std::fs::read_to_string(folder.join("a.SVG")).expect("a file");
    assert!(svg.contains("Saturday 13 June 2026"), "{svg}");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().contains(".part"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
