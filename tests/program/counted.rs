//! The energies of a history are what was metered: counters that are set, clocks that are wrong, readings in any order.

use serde_json::Value;

use crate::clock::FakedClock;
use crate::meter::kept;
use crate::process::{Process, ended, kstar};
use crate::world::{BOTH_SINKS, Folder, Roof};

const FLOWS: [(&str, &str); 6] = [
    ("production", "pv_energy_total"),
    ("consumption", "consumption_energy_total"),
    ("import", "grid_import_energy_total"),
    ("export", "grid_export_energy_total"),
    ("charged", "battery_charge_energy_total"),
    ("discharged", "battery_discharge_energy_total"),
];

fn report(folder: &Folder) -> Value {
    let report = ended(&mut kstar(folder.path(), ["report", "total", "--json"])).expect_code(0);
    serde_json::from_str(&report.out()).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// What the meter has counted, less what it was set to.
fn metered(folder: &Folder, total: &str) -> f64 {
    kept(folder, "roof1")
        .get(total)
        .and_then(Value::as_f64)
        .expect("metered")
}

#[track_caller]
fn assert_same(told: f64, metered: f64, what: &str) {
    assert!(
        (told - metered).abs() < 0.0005,
        "{what}: {told}, metered {metered}"
    );
}

#[test]
fn a_counter_that_is_set_is_no_energy() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let collect = || {
        let run = Process::start(&mut kstar(folder.path(), ["run"]));
        run.wait_for_printed(10);
        run.stop().expect_code(0);
    };
    collect();
    let first = metered(&folder, "pv_energy_total");
    let set = ["meter", "set", "roof1", "pv_energy_total", "5000", "--yes"];
    ended(&mut kstar(folder.path(), set)).expect_code(0);
    collect();
    let second = metered(&folder, "pv_energy_total") - 5000.0;
    let told = number(&report(&folder)["sum"]["production"]);
    assert_same(told, first + second, "production");
    assert!(told < 100.0, "{told}");
}

#[test]
fn a_clock_that_goes_back_and_forth_counts_nothing_twice_and_can_be_put_right() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let clock = FakedClock::off_by(&folder, "+0");
    let run = clock.start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(10);
    for offset in ["-30s", "+10y", "+0"] {
        clock.write(offset);
        let printed = run.printed().len();
        run.wait_for_printed(printed + 15);
    }
    run.wait_for_log("the clock was wrong when these readings came");
    let ended_run = run.stop().expect_code(0);
    let told = report(&folder);
    let unknown = &told["time_unknown"][0];
    assert!(number(&unknown["readings"]) >= 10.0, "{told}");
    for (flow, total) in FLOWS {
        let told = number(&told["sum"][flow]) + number(&unknown[flow]);
        assert_same(told, metered(&folder, total), flow);
    }
    let shown = ended(&mut kstar(folder.path(), ["report", "total"])).expect_code(0);
    assert!(shown.out().contains("Time unknown: "), "{}", shown.out());

    let repair = |more: &[&str]| {
        let args = [&["history", "repair"], more].concat();
        ended(&mut kstar(folder.path(), args)).expect_code(0).out()
    };
    let plan = repair(&[]);
    assert!(plan.contains("--apply moves them there"), "{plan}");
    assert_eq!(report(&folder), told, "a plan changes nothing");
    let done = repair(&["--apply"]);
    assert!(done.contains("moved to "), "{done}");
    assert!(repair(&[]).contains("there is nothing to repair"));
    let told = report(&folder);
    assert_eq!(told.get("time_unknown"), None, "{told}");
    for (flow, total) in FLOWS {
        assert_same(number(&told["sum"][flow]), metered(&folder, total), flow);
    }
    let rows: i64 = folder
        .history()
        .query_row("SELECT count(*) FROM readings", [], |row| row.get(0))
        .expect("a history");
    assert_eq!(rows, i64::try_from(ended_run.stdout.len()).expect("few"));
}

#[test]
fn a_machine_without_a_clock_that_starts_in_the_past_counts_nothing_twice() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let clock = FakedClock::off_by(&folder, "-2h");
    let run = |prints: usize| {
        let run = clock.start(&mut kstar(folder.path(), ["run"]));
        run.wait_for_printed(prints);
        run
    };
    // Killed, started anew with a clock that is behind, and put right while it runs.
    let first = run(20);
    first.signal("KILL");
    first.end();
    clock.write("-7203s");
    let second = run(20);
    clock.write("+0");
    let printed = second.printed().len();
    second.wait_for_printed(printed + 20);
    second.stop().expect_code(0);
    let told = report(&folder);
    for (flow, total) in FLOWS {
        let told = number(&told["sum"][flow]);
        let metered = metered(&folder, total);
        // A kill takes what was counted and not written yet: not more than the last readings.
        assert!(
            told <= metered + 0.0005,
            "{flow}: {told}, metered {metered}"
        );
        assert!(
            told >= metered * 0.8 - 0.002,
            "{flow}: {told}, metered {metered}"
        );
    }
}
