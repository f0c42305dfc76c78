//! Energy counters as users see them: kept over every end of the process, shown, and set.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use kstar_simulator::encode::{Figures, Request, running};
use kstar_simulator::quirks::{Quirk, Quirks};
use kstar_simulator::replay::Replay;
use serde_json::Value;

use crate::process::{PATIENCE, Process, ended, kstar, service, wait_until};
use crate::watch::Terminal;
use crate::world::{
    BOTH_SINKS, Folder, HangingFile, Roof, Row, SmallDisk, kstar_without_privileges, readings, rows,
};

const TOTALS: [&str; 6] = [
    "pv_energy_total",
    "grid_import_energy_total",
    "grid_export_energy_total",
    "battery_charge_energy_total",
    "battery_discharge_energy_total",
    "consumption_energy_total",
];

/// The kept totals of an inverter.
pub(crate) fn kept(folder: &Folder, inverter: &str) -> Row {
    let shown = ended(&mut kstar(folder.path(), ["meter", "--json"])).expect_code(0);
    let shown: Value = serde_json::from_str(&shown.out()).expect("JSON");
    let counters = &shown["inverters"][inverter]["counters"];
    counters.as_object().cloned().unwrap_or_default()
}

fn number(row: &Row, key: &str) -> f64 {
    row[key].as_f64().expect(key)
}

/// What the meter has counted, in a reading.
fn metered(reading: &Row) -> Vec<&String> {
    let of_meter = TOTALS.map(|total| (total, total.replace("_total", "_today")));
    reading
        .keys()
        .filter(|key| {
            of_meter
                .iter()
                .any(|(total, today)| key == total || *key == today)
        })
        .collect()
}

/// How often the process is killed: more often where somebody wants to be sure.
fn rounds() -> usize {
    let wanted = std::env::var("KSTAR_TEST_KILLS").ok();
    wanted.map_or(10, |wanted| wanted.parse().expect("a number"))
}

/// An inverter of megawatts, whose battery and grid turn at each poll: so every reading moves every counter by what
/// can be seen.
fn mighty(seed: u64) -> kstar_simulator::Config {
    let figures = |battery_mode, grid_in_out| Figures {
        // 20 MW: not much more can be held.
        vpv1: 45_000,
        ipv1: 45_000,
        vbattery1: 45_000,
        ibattery1: 45_000,
        battery_mode,
        vgrid: 2300,
        pgrid: 60_000,
        grid_in_out,
        pload: 30_000,
        ..Figures::default()
    };
    let datagrams = [figures(2, 1), figures(3, 2)]
        .map(|figures| Request::Running.reply(0xB0, &running(&figures, 83)));
    kstar_simulator::Config {
        replay: Replay::of(datagrams.into()),
        ..kstar_simulator::Config::new(seed)
    }
}

#[test]
fn no_published_total_ever_falls_however_often_the_process_is_killed() {
    let mut roof = Roof::new(0);
    for seed in 1..=3 {
        roof.add(mighty(seed));
    }
    let config = roof.config("[sinks.stdout]\n[gate]\noff = ['range']\n");
    let folder = Folder::with_config(&config.replace("50ms", "5ms"));
    let mut highest: BTreeMap<String, [f64; 6]> = BTreeMap::new();
    // A fast machine has polled in no time; then some rounds more let enough flow for a fall to be seen.
    let enough = |highest: &BTreeMap<String, [f64; 6]>| {
        highest.values().flatten().all(|total| *total > 0.002)
    };
    for round in 0..rounds() * 10 {
        if round >= rounds() && enough(&highest) {
            break;
        }
        let run = Process::start(&mut kstar(folder.path(), ["run"]));
        run.wait_for_printed(30 + round % 40);
        run.signal("KILL");
        // The last line may be cut off.
        let lines = run.end().stdout;
        let whole: Vec<String> = lines
            .into_iter()
            .filter(|line| line.ends_with('}'))
            .collect();
        for reading in &readings(&whole) {
            let name = reading["inverter"].as_str().expect("a name").to_owned();
            let now = TOTALS.map(|total| number(reading, total));
            let before = highest.entry(name).or_insert(now);
            for ((now, before), total) in now.into_iter().zip(before).zip(TOTALS) {
                assert!(now >= *before, "{total} fell from {before} to {now}");
                *before = now;
            }
        }
        // A power cut would leave half a line too.
        if round % 2 == 0 {
            let log = File::options()
                .append(true)
                .open(folder.join("state/meter.log"));
            let torn = "{\"version\":2,\"crc32\":\"0000";
            log.and_then(|mut log| log.write_all(torn.as_bytes()))
                .expect("written");
        }
        for (name, highest) in &highest {
            let kept = kept(&folder, name);
            for (total, highest) in TOTALS.into_iter().zip(highest) {
                assert!(number(&kept, total) >= *highest, "{total} of {name}");
            }
        }
    }
    assert_eq!(highest.len(), 3);
    assert!(
        enough(&highest),
        "too little has flowed to see it fall: {highest:?}"
    );
}

#[test]
fn a_counter_is_set_while_no_collector_runs_and_goes_on_from_there() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let meter = |args: &[&str]| ended(&mut kstar(folder.path(), [&["meter"], args].concat()));
    let nothing = meter(&[]).expect_code(0);
    assert!(nothing.out().contains("nothing is counted"), "{nothing:#?}");

    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    // The counters are under the serial number once three replies agree, each after a reading.
    run.wait_for_printed(5);
    let refused = meter(&["set", "roof1", "pv_energy_total", "12.5", "--yes"]).expect_code(1);
    let pid = format!("process {}", run.pid());
    assert!(refused.err().contains(&pid), "{refused:#?}");
    run.stop().expect_code(0);

    let set = meter(&["set", "roof1", "pv_energy_total", "12345.678", "--yes"]).expect_code(0);
    assert!(set.out().contains("12345.678 kWh, before 0"), "{set:#?}");
    let shown = meter(&[]).expect_code(0);
    assert!(
        shown.out().contains("roof1, serial number KSE4000S"),
        "{shown:#?}"
    );
    assert!(shown.out().contains("pv_energy_total"), "{shown:#?}");
    assert!(shown.out().contains("12345.678"), "{shown:#?}");

    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(3);
    let printed = readings(&run.stop().expect_code(0).stdout);
    for reading in printed {
        let total = number(&reading, "pv_energy_total");
        assert!((12_345.678..12_346.0).contains(&total), "{total}");
        assert!(number(&reading, "pv_energy_today") < 1.0);
    }

    for (args, words) in [
        (["set", "barn", "pv_energy_total", "1"], "there are: roof1"),
        (
            ["set", "roof1", "pv_power", "1"],
            "grid_export_energy_total",
        ),
        (
            ["set", "roof1", "pv_energy_total", "1e9"],
            "from 0 to 1000000",
        ),
        (
            ["set", "roof1", "pv_energy_total", "nan"],
            "from 0 to 1000000",
        ),
    ] {
        let refused = meter(&args).expect_code(2);
        assert!(refused.err().contains(words), "{refused:#?}");
    }
}

#[test]
fn what_home_assistant_makes_of_a_counter_that_is_set_is_said_before_and_nothing_is_set_unasked() {
    let folder = Folder::with_config(&Roof::new(1).config("[sinks.stdout]\n"));
    let set = |reading: &str, more: &[&str]| {
        let args = [&["meter", "set", "roof1", "pv_energy_total", reading], more].concat();
        ended(&mut kstar(folder.path(), args))
    };
    let refused = set("5000", &[]).expect_code(2).err();
    for words in [
        "goes from 0 to 5000 kWh",
        "the rise for 5000 kWh of energy",
        "Developer tools, Statistics",
        "use --yes",
    ] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    assert!(kept(&folder, "roof1").is_empty());
    for (reading, consequence) in [
        ("5000", "the rise for 5000 kWh of energy"),
        ("4500.5", "the fall for -499.5 kWh of energy"),
        (
            "12.25",
            "a new meter that began at 0, which has counted 12.25 kWh",
        ),
    ] {
        let said = set(reading, &["--yes"]).expect_code(0);
        assert!(said.err().contains(consequence), "{said:#?}");
        assert!(said.out().contains(&format!("{reading} kWh")), "{said:#?}");
        let kept = kept(&folder, "roof1");
        let kept = kept.get("pv_energy_total").and_then(Value::as_f64);
        assert_eq!(kept, reading.parse().ok());
    }
    // Where nothing changes there is nothing to ask.
    assert_eq!(set("12.25", &[]).expect_code(0).err(), "");
}

#[test]
fn on_a_terminal_a_counter_is_set_once_somebody_says_yes() {
    let folder = Folder::with_config(&Roof::new(1).config("[sinks.stdout]\n"));
    let Some(terminal) = Terminal::open(&folder, 150, 30) else {
        return;
    };
    let program = env!("CARGO_BIN_EXE_kstar");
    for (number, (answer, code, reading)) in [
        ("", 1, None),
        ("n", 1, None),
        ("perhaps", 1, None),
        ("y", 0, Some(5000.0)),
    ]
    .into_iter()
    .enumerate()
    {
        terminal.type_command(&format!(
            "clear; {program} meter set roof1 pv_energy_total 5000; echo code=$?={number}="
        ));
        terminal.wait_for("Set it? [y/N]");
        terminal.type_command(answer);
        terminal.wait_for(&format!("code={code}={number}="));
        let kept = kept(&folder, "roof1");
        let kept = kept.get("pv_energy_total").and_then(Value::as_f64);
        assert_eq!(kept, reading, "{answer}");
    }
}

#[test]
fn a_damaged_file_costs_a_minute_at_most_and_is_said() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let set = ["meter", "set", "--yes", "roof1", "pv_energy_total", "5000"];
    ended(&mut kstar(folder.path(), set)).expect_code(0);
    folder.write(
        "state/meter.json",
        "{\"version\":3,\"crc32\":\"0\",\"content\":{}}",
    );
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(1);
    let run = run.stop().expect_code(0);
    assert_eq!(run.logged("are damaged"), 1, "{run:#?}");
    let reading = &readings(&run.stdout)[0];
    assert!(number(reading, "pv_energy_total") >= 5000.0);
    assert!(folder.join("state/meter.damaged").is_file());

    let later = "{\"version\":9,\"crc32\":\"0\",\"content\":{}}";
    folder.write("state/meter.json", later);
    let refused = ended(&mut kstar(folder.path(), ["run"])).expect_code(1);
    assert!(refused.err().contains("later version"), "{refused:#?}");
    let kept = std::fs::read_to_string(folder.join("state/meter.json")).expect("a file");
    assert_eq!(kept, later);
}

#[test]
fn readings_go_on_in_a_folder_that_cannot_be_written_to() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    folder.write("state/other", "");
    let mut command = kstar_without_privileges(&folder, &["run"]);
    let run = Process::start(&mut command);
    run.wait_for_printed(20);
    let run = run.stop().expect_code(0);
    assert_eq!(
        run.logged("cannot write to the state folder"),
        1,
        "{run:#?}"
    );
    // What cannot be remembered would fall after a restart.
    for reading in readings(&run.stdout) {
        assert!(reading.contains_key("pv_power"), "{reading:?}");
        assert!(metered(&reading).is_empty(), "{reading:?}");
    }
}

#[test]
fn a_state_disk_that_hangs_costs_the_totals_until_it_answers_and_nothing_else() {
    let mut roof = Roof::new(2);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_printed(10);
    let mut disk = HangingFile::new(folder.join("state/meter.log"));
    run.wait_for_log("the state folder does not answer");
    let before = run.printed().len();
    run.wait_for_printed(before + 40);
    // What starts now goes on from what was counted, and waits for nothing.
    roof.add(kstar_simulator::Config::new(3));
    folder.write("kstar.toml", roof.config(BOTH_SINKS));
    let reloaded = run.reload();
    assert!(
        reloaded.contains("started=\"inverter roof3\""),
        "{reloaded}"
    );
    run.wait_for_line("reading of roof3", |line| line.contains("roof3"));
    let hung = run.printed().len();
    run.wait_for_printed(hung + 40);
    disk.answer();
    run.wait_for_log("the state folder answers again");
    let after = run.printed().len();
    run.wait_for_printed(after + 40);
    let run = run.stop().expect_code(0);

    assert_eq!(run.logged("does not answer"), 1, "{run:#?}");
    assert_eq!(run.logged("answers again"), 1, "{run:#?}");
    let printed = readings(&run.stdout);
    for name in ["roof1", "roof2", "roof3"] {
        let of_it = printed.iter().filter(|reading| reading["inverter"] == name);
        let with_totals: Vec<bool> = of_it
            .clone()
            .map(|reading| !metered(reading).is_empty())
            .collect();
        let mut turns = with_totals.clone();
        turns.dedup();
        let expected: &[bool] = if name == "roof3" {
            &[false, true]
        } else {
            &[true, false, true]
        };
        assert_eq!(turns, expected, "{name}: {with_totals:?}");
        let kept = kept(&folder, name);
        for total in TOTALS {
            let published: Vec<f64> = of_it
                .clone()
                .filter_map(|reading| reading.get(total)?.as_f64())
                .collect();
            assert!(published.is_sorted(), "{total} of {name}: {published:?}");
            assert!(
                published.last() <= Some(&number(&kept, total)),
                "{total} of {name}"
            );
        }
    }
    assert_eq!(rows(&folder.history()).len(), printed.len());
}

#[test]
fn a_state_disk_that_hangs_does_not_hold_up_the_end() {
    let roof = Roof::new(1);
    let sinks = BOTH_SINKS.replace(
        "[sinks.sqlite]",
        "delivery.timeout = \"500ms\"\n[sinks.sqlite]",
    );
    let config = roof.config(&sinks).replace("\"8s\"", "\"2s\"");
    let folder = Folder::with_config(&config);
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(10);
    let _disk = HangingFile::new(folder.join("state/meter.log"));
    run.wait_for_log("the state folder does not answer");
    let run = run.stop().expect_code(1);
    assert_eq!(run.logged("could not be synced"), 1, "{run:#?}");
    assert_eq!(run.logged("is cut off"), 0, "{run:#?}");
    for sink in ["stdout", "sqlite"] {
        assert_eq!(run.counts(sink).of("delivered"), run.stdout.len());
    }
}

#[test]
fn what_is_no_file_among_the_counters_is_named_and_does_not_hold_up_the_start() {
    let roof = Roof::new(1);
    for name in ["meter.json", "meter.fallback.json", "meter.log"] {
        let folder = Folder::with_config(&roof.config("[sinks.stdout]\n"));
        std::fs::create_dir(folder.join("state")).expect("a folder");
        let _pipe = HangingFile::new(folder.join("state").join(name));
        for args in [&["run"][..], &["meter"]] {
            let refused = ended(&mut kstar(folder.path(), args)).expect_code(1);
            let said = format!("state/{name}: it is not a regular file");
            assert!(refused.err().contains(&said), "{refused:#?}");
        }
    }
}

#[test]
fn a_full_disk_is_said_once_and_so_is_its_end() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let state = folder.join("state");
    let Some(_disk) = SmallDisk::mount(&state, 64) else {
        return;
    };
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(3);
    let filler = state.join("filler");
    let full = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Until the last page is gone: the program frees one now and then.
        scope.spawn(|| {
            let mut file = File::create(&filler).expect("a file");
            let deadline = Instant::now() + PATIENCE;
            while !full.load(Ordering::Relaxed) && Instant::now() < deadline {
                let _ = file.write_all(&[1; 4096]);
            }
        });
        run.wait_for_log("cannot write to the state folder");
        full.store(true, Ordering::Relaxed);
    });
    let printed = readings(&run.printed()).len();
    run.wait_for_printed(printed + 20);
    std::fs::remove_file(&filler).expect("removed");
    run.wait_for_log("can be written to again");
    let run = run.stop().expect_code(0);
    assert_eq!(
        run.logged("cannot write to the state folder"),
        1,
        "{run:#?}"
    );
    let last = readings(&run.stdout).pop().expect("a reading");
    let kept = kept(&folder, "roof1");
    assert!(number(&kept, "pv_energy_total") >= number(&last, "pv_energy_total"));
}

#[test]
fn a_demonstration_begins_at_its_past_and_keeps_no_state() {
    let folder = Folder::new();
    let state = folder.join("state");
    let mut begins = Vec::new();
    for _ in 0..2 {
        let mut command = kstar(folder.path(), ["run", "--demo"]);
        command.env("STATE_DIRECTORY", &state);
        let demo = Process::start(&mut command);
        demo.wait_for_printed(1);
        let demo = demo.stop().expect_code(0);
        let first = &readings(&demo.stdout)[0];
        begins.push(TOTALS.map(|total| number(first, total)));
    }
    // The second one does not go on from the first: its past is the same, but for the time between them.
    for (first, second) in begins[0].iter().zip(begins[1]) {
        assert!(*first > 100.0 && (first - second).abs() < 1.0, "{begins:?}");
    }
    assert!(!state.exists());
}

#[test]
fn a_refused_reading_is_said_once_and_kept_for_a_bug_report() {
    let mut roof = Roof::new(0);
    roof.add(kstar_simulator::Config {
        quirks: Quirks::of(Quirk::WrongOffsets, 0.3),
        speed: 0.0,
        ..kstar_simulator::Config::new(5)
    });
    let folder = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let quarantine = |args: &[&str]| {
        let args = [&["explain", "--quarantine"], args].concat();
        ended(&mut kstar(folder.path(), args)).expect_code(0)
    };
    assert!(quarantine(&[]).out().contains("no reading was rejected"));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let kept = || {
        let list: Vec<Value> = serde_json::from_str(&quarantine(&["--json"]).out()).expect("JSON");
        list.len()
    };
    wait_until("the first is refused", || kept() > 0);
    // By then more were, with three in ten; they are written once a minute and at the stop.
    run.wait_for_printed(20);
    let run = run.stop().expect_code(0);
    assert!(kept() > 3, "{}", kept());
    assert_eq!(run.logged("a reading is rejected"), 1, "{run:#?}");
    assert_eq!(run.logged("nonsense "), 1, "the count at the end: {run:#?}");
    let shown = quarantine(&[]).out();
    assert!(shown.contains("grid_voltage is"), "{shown}");
    let explain = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("kstar explain "))
        .expect("the bytes");
    let explained = ended(&mut kstar(folder.path(), ["explain", explain])).expect_code(0);
    assert!(
        explained.out().contains("a reading of it"),
        "{explained:#?}"
    );
}
