//! `kstar run`: where it gets its configuration from, and that everything which it reads arrives.

use kstar_model::catalogue::Quantity;

use crate::modules::free_ip;
use crate::process::{Process, ended, kstar};
use crate::world::{BOTH_SINKS, Folder, Roof, assert_same, key, open, readings, rows};

#[test]
fn a_demonstration_prints_and_keeps_the_same_readings_with_all_their_quantities() {
    let folder = Folder::new();
    let demo = Process::start(&mut kstar(folder.path(), ["run", "--demo"]));
    demo.wait_for_printed(2);
    demo.signal("INT");
    let ended = demo.end().expect_code(0);

    let printed = readings(&ended.stdout);
    // Before them stands the past.
    let kept = rows(&open(&folder.join("kstar-demo.db")));
    assert!(printed.len() < kept.len());
    for (printed, kept) in printed.iter().rev().zip(kept.iter().rev()) {
        assert_same(printed, kept);
    }
    assert!(printed[1].contains_key("serial"), "{printed:#?}");
    // Those that only another inverter has are few.
    let known = Quantity::ALL.iter().map(|quantity| quantity.name());
    let shown = known.filter(|name| printed[0].contains_key(*name)).count();
    assert_eq!(
        shown,
        printed[0].len() - ["schema", "time", "inverter"].len()
    );
    assert!(shown > 40, "{printed:#?}");
    assert!(!folder.join("kstar.db").exists());
}

#[test]
fn a_demonstration_never_heeds_a_configuration() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.sqlite]\npath = \"real.db\"\n"));
    let mut command = kstar(folder.path(), ["run", "--demo"]);
    command.env("KSTAR_CONFIG", folder.join("kstar.toml"));
    command.env("KSTAR_HOST", roof.host());
    let demo = Process::start(&mut command);
    demo.wait_for_printed(1);
    demo.stop().expect_code(0);
    assert_eq!(roof.requests(), 0);
    assert!(!folder.join("real.db").exists());

    // Asked for in the same breath, they cannot both be meant.
    for args in [["--config", "kstar.toml"], ["--host", "192.0.2.1"]] {
        let args = [&["run", "--demo"], &args[..]].concat();
        let refused = ended(&mut kstar(folder.path(), args)).expect_code(2);
        assert!(refused.err().contains("--demo"), "{refused:#?}");
    }
}

#[test]
fn a_start_without_an_answer_tells_what_is_tried_and_where_the_address_is_set() {
    let nobody = free_ip().to_string();
    let folder = Folder::with_config(&format!(
        "[[inverter]]\nname = \"roof\"\nhost = \"{nobody}\"\n[sinks.stdout]\n"
    ));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let told = run.wait_for_log("no answer since the start");
    for words in [
        &*nobody,
        "nobody listens at",
        "`host` in [[inverter]]",
        "--host",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let stopped = run.stop().expect_code(0);
    assert_eq!(
        stopped.logged("no answer since the start"),
        1,
        "{stopped:#?}"
    );
}

#[test]
fn several_inverters_are_told_apart_by_name_everywhere() {
    let roof = Roof::new(3);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    for name in ["roof1", "roof2", "roof3"] {
        run.wait_for_line(name, |line| {
            line.contains(&format!("\"inverter\":\"{name}\"")) && line.contains("\"serial\"")
        });
    }
    let ended = run.stop().expect_code(0);

    let mut printed = readings(&ended.stdout);
    printed.sort_by_key(|reading| {
        let (inverter, time) = key(reading);
        (time, inverter)
    });
    let kept = rows(&folder.history());
    assert_eq!(printed.len(), kept.len());
    for (printed, kept) in printed.iter().zip(&kept) {
        assert_same(printed, kept);
    }
    let serials: i64 = folder
        .history()
        .query_row("SELECT count(DISTINCT serial) FROM inverter", [], |row| {
            row.get(0)
        })
        .expect("a number");
    assert_eq!(serials, 3);
}

#[test]
fn without_a_configuration_there_are_json_lines_and_a_history_in_this_folder() {
    let roof = Roof::new(1);
    let folder = Folder::new();
    for how in ["argument", "environment"] {
        let mut command = kstar(folder.path(), ["run"]);
        match how {
            "argument" => command.args(["--host", &roof.host()]),
            _ => command.env("KSTAR_HOST", roof.host()),
        };
        let run = Process::start(&mut command);
        let line = run.wait_for_printed(1).remove(0);
        assert!(line.contains("\"inverter\":\"inverter\""), "{line}");
        let ended = run.stop().expect_code(0);
        assert_eq!(ended.logged("built-in defaults"), 1, "{ended:#?}");
    }
    assert_eq!(rows(&open(&folder.join("kstar.db"))).len(), 2);
}

#[test]
fn an_inverter_is_found_by_greeting_where_no_host_is_set() {
    // Data on the usual port are expected of whoever answers, which no test can have for itself: the search is what
    // is seen here.
    let roof = Roof::new(1);
    let folder = Folder::with_config(&format!(
        "[collector]\npoll_interval = \"1s\"\ntimeout = \"100ms\"\ndiscovery_addresses = [\"{}\"]\n{BOTH_SINKS}",
        roof.greeted()
    ));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let found = run.wait_for_log("found an inverter");
    assert!(found.contains("address=127.0.0.1"), "{found}");
    run.stop().expect_code(0);
}

#[test]
fn the_configuration_is_the_named_one_or_the_first_that_is_found() {
    let folder = Folder::new();
    let text = |name: &str| {
        format!("[[inverter]]\nname = \"{name}\"\nhost = \"192.0.2.1\"\n[sinks.stdout]\n")
    };
    let check = |variable: Option<&str>, args: &[&str]| {
        let mut command = kstar(folder.path(), [&["check"], args].concat());
        if let Some(path) = variable {
            command.env("KSTAR_CONFIG", path);
        }
        ended(&mut command).expect_code(0).out()
    };
    // From the last place to the first: each goes before those that were there already.
    folder.write(".config/kstar/config.toml", text("home"));
    assert!(check(None, &[]).contains("inverter home:"));
    folder.write("kstar.toml", text("here"));
    assert!(check(None, &[]).contains("inverter here:"));
    assert!(check(Some(""), &[]).contains("inverter here:"));
    folder.write("environment.toml", text("environment"));
    let shown = check(Some("environment.toml"), &[]);
    assert!(shown.contains("inverter environment:"), "{shown}");
    folder.write("argument.toml", text("argument"));
    let shown = check(Some("environment.toml"), &["--config", "argument.toml"]);
    assert!(shown.contains("inverter argument:"), "{shown}");
    assert!(shown.contains("configuration: argument.toml"), "{shown}");
}

#[test]
fn a_host_takes_the_place_of_the_only_one_in_the_configuration() {
    let roof = Roof::new(1);
    let text = "[[inverter]]\nname = \"roof\"\nhost = \"192.0.2.1\"\n[sinks.stdout]\n";
    let folder = Folder::with_config(text);
    let run = Process::start(&mut kstar(folder.path(), ["run", "--host", &roof.host()]));
    let line = run.wait_for_printed(1).remove(0);
    assert!(line.contains("\"inverter\":\"roof\""), "{line}");
    run.stop().expect_code(0);
}

#[test]
fn a_host_is_refused_where_there_are_several_inverters() {
    let roof = Roof::new(2);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let refused = ended(&mut kstar(folder.path(), ["run", "--host", "192.0.2.1"])).expect_code(2);
    assert!(refused.err().contains("kstar.toml has 2"), "{refused:#?}");
    let mut command = kstar(folder.path(), ["run"]);
    command.env("KSTAR_HOST", "no host");
    let refused = ended(&mut command).expect_code(2);
    assert!(
        refused.err().contains("KSTAR_HOST: `no host`"),
        "{refused:#?}"
    );
    assert!(!folder.join("history.db").exists());
}
