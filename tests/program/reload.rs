//! SIGHUP: another configuration takes the place of the one that runs, unit by unit, and what stays is not touched.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Command, Stdio};

use kstar_simulator::encode::{Figures, Request, running};
use kstar_simulator::replay::Replay;

use crate::mqtt::{Broker, messages};
use crate::process::{HEEDS_SIGNALS, Process, ended, kstar, program, service, wait_until};
use crate::world::{BOTH_SINKS, Folder, Roof, Row, assert_same, key, readings, rows};

/// The readings of an inverter by their keys; none is there twice.
#[track_caller]
fn of(inverter: &str, all: &[Row]) -> BTreeMap<(String, String), Row> {
    let mut found = BTreeMap::new();
    for reading in all.iter().filter(|reading| reading["inverter"] == inverter) {
        let twice = found.insert(key(reading), reading.clone());
        assert!(twice.is_none(), "twice: {twice:?}");
    }
    found
}

/// The section `[[inverter]]` of this number, without which a configuration has one inverter less.
fn without_inverter(config: &str, number: usize) -> String {
    let begin = config
        .find(&format!("[[inverter]]\nname = \"roof{number}\""))
        .expect("it is there");
    let rest = &config[begin + 2..];
    let end = rest
        .find("\n[")
        .map_or(config.len(), |end| begin + 2 + end + 1);
    format!("{}{}", &config[..begin], &config[end..])
}

#[test]
fn what_stays_loses_no_reading_whatever_changes_beside_it() {
    let (roof, broker) = (Roof::new(3), Broker::start());
    let mqtt = format!(
        "[sinks.mqtt]\nurl = \"{}\"\nclient_id = \"test\"\n",
        broker.url()
    );
    let all = roof.config(&format!("{BOTH_SINKS}{mqtt}"));
    let two = without_inverter(&all, 3);
    let folder = Folder::with_config(&two);
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"mqtt\"");
    run.wait_for_printed(10);
    let more = || run.wait_for_printed(run.printed().len() + 20);
    let change = |config: &str, expected: &[&str]| {
        folder.write("kstar.toml", config);
        let said = run.reload();
        for part in expected {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        more();
    };

    // A sink, an inverter more, an inverter less, and both sinks and inverters at once.
    let otherwise =
        |config: &str| config.replace("[sinks.mqtt]", "keep_raw = \"9d\"\n[sinks.mqtt]");
    change(
        &otherwise(&two),
        &[
            "replaced=\"sink sqlite\"",
            "kept=\"inverter roof1, inverter roof2, sink mqtt, sink stdout\"",
        ],
    );
    change(&two, &["replaced=\"sink sqlite\""]);
    // Who shows inverters must know them.
    change(
        &all,
        &[
            "started=\"inverter roof3\"",
            "replaced=\"sink mqtt\"",
            "kept=\"inverter roof1, inverter roof2, sink sqlite, sink stdout\"",
        ],
    );
    change(
        &without_inverter(&otherwise(&all), 2),
        &[
            "stopped=\"inverter roof2\"",
            "replaced=\"sink mqtt, sink sqlite\"",
            "kept=\"inverter roof1, inverter roof3, sink stdout\"",
        ],
    );
    let without_mqtt = all.replace(&mqtt, "");
    change(
        &without_mqtt,
        &["started=\"inverter roof2\"", "stopped=\"sink mqtt\""],
    );
    change(&all, &["started=\"sink mqtt\""]);
    for _ in 0..5 {
        change(&otherwise(&all), &["replaced=\"sink sqlite\""]);
        change(&all, &["replaced=\"sink sqlite\""]);
    }

    let ended = run.stop().expect_code(0);
    let printed = of("roof1", &readings(&ended.stdout));
    let kept = rows(&folder.history());
    let kept_of_roof1 = of("roof1", &kept);
    let count = printed.len() as u64;
    // The last poll may have been cut off by the end.
    assert!(
        (count..=count + 1).contains(&roof.polls(1)),
        "{} polls, {count} readings",
        roof.polls(1)
    );
    assert_eq!(
        printed.keys().collect::<Vec<_>>(),
        kept_of_roof1.keys().collect::<Vec<_>>()
    );
    for (key, reading) in &printed {
        assert_same(reading, &kept_of_roof1[key]);
    }
    for inverter in ["roof2", "roof3"] {
        let printed = of(inverter, &readings(&ended.stdout));
        assert!(!printed.is_empty());
        assert!(printed.keys().eq(of(inverter, &kept).keys()), "{inverter}");
    }
}

#[test]
fn a_changed_interval_restarts_the_polling_and_its_energy_neither_falls_nor_doubles() {
    let mut roof = Roof::new(0);
    // A megawatt from the sun, so that energy moves with every reading.
    let figures = Figures {
        vpv1: 10_000,
        ipv1: 10_000,
        ..Figures::default()
    };
    let datagram = Request::Running.reply(0xB0, &running(&figures, 83));
    roof.add(kstar_simulator::Config {
        replay: Replay::of(vec![datagram]),
        ..kstar_simulator::Config::new(1)
    });
    let config = roof.config(&format!("[gate]\noff = ['range']\n{BOTH_SINKS}"));
    let folder = Folder::with_config(&config);
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_printed(20);
    for interval in ["20ms", "70ms", "50ms", "10ms"] {
        folder.write("kstar.toml", config.replace("50ms", interval));
        if interval != "50ms" {
            let said = run.reload();
            assert!(said.contains("replaced=\"inverter roof1\""), "{said}");
            assert!(said.contains("kept=\"sink sqlite, sink stdout\""), "{said}");
        }
        run.wait_for_printed(run.printed().len() + 30);
    }
    let ended = run.stop().expect_code(0);
    let printed = readings(&ended.stdout);
    let kept = rows(&folder.history());
    assert!(of("roof1", &printed).keys().eq(of("roof1", &kept).keys()));
    let numbers = |key: &str| -> Vec<f64> {
        let number = |reading: &Row| reading[key].as_f64().expect(key);
        printed.iter().map(number).collect()
    };
    let totals = numbers("pv_energy_total");
    assert!(totals.is_sorted(), "{totals:?}");
    let time = |reading: &Row| -> jiff::Timestamp {
        let time = reading["time"].as_str().expect("a time");
        time.parse().expect("a time")
    };
    let took = time(&printed[0]).duration_until(time(printed.last().expect("readings")));
    let hours = took.as_secs_f64() / 3600.0;
    let counted = totals.last().expect("readings") - totals[0];
    let possible = numbers("pv_power")[0] / 1000.0 * hours;
    assert!(
        counted > possible * 0.5 && counted < possible * 1.05,
        "{counted} kWh counted of {possible} kWh"
    );
}

#[test]
fn a_broken_file_changes_nothing_and_its_mistake_is_shown_with_line_and_caret() {
    let roof = Roof::new(1);
    let good = roof.config(BOTH_SINKS);
    let folder = Folder::with_config(&good);
    folder.write("secret", "hunter2");
    let unreadable = folder.join("unreadable");
    std::fs::create_dir(&unreadable).expect("a folder");
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_printed(5);
    let mqtt = "[sinks.mqtt]\nurl = \"mqtts://localhost\"\nusername = \"u\"\n";
    let line = good.lines().count() + 1;
    let cases = [
        (
            format!("{good}[sinks.stdout"),
            format!("kstar.toml:{line}:14"),
            "^",
        ),
        (
            good.replace("grace =", "grase ="),
            "kstar.toml:6:1: unknown field `grase`".to_owned(),
            "6 | grase",
        ),
        (
            good.replace("\"8s\"", "\"8 parsecs\""),
            "`8 parsecs` is no duration".to_owned(),
            "^^^",
        ),
        (
            format!("{good}{mqtt}ca = \"/no/such/ca.pem\"\n"),
            format!("kstar.toml:{}:6: ", line + 3),
            "/no/such/ca.pem",
        ),
        (
            format!("{good}{mqtt}client_id = \"a/b\"\n"),
            format!("kstar.toml:{}:13: ", line + 3),
            "A-Z a-z 0-9",
        ),
        (
            format!(
                "{good}{mqtt}password = {{ file = \"{}\" }}\n",
                unreadable.display()
            ),
            format!("kstar.toml:{}:12: ", line + 3),
            "cannot read the secret",
        ),
        (
            format!("{good}{mqtt}password = {{ credential = \"mqtt\" }}\n"),
            format!("kstar.toml:{}:12: ", line + 3),
            "CREDENTIALS_DIRECTORY is not set",
        ),
        (
            good.replace("state_dir = \"state\"", "state_dir = \"elsewhere\""),
            "kstar.toml:1:13: the state folder cannot change from state to elsewhere".to_owned(),
            "restart it",
        ),
        (
            good.replace("[sinks.", "#[sinks.")
                .replace("\npath", "\n#path")
                .replace("\ndelivery", "\n#delivery"),
            "no sink is enabled".to_owned(),
            "",
        ),
    ];
    for (text, first, second) in &cases {
        // What else the file says must not be taken either.
        folder.write("kstar.toml", text.replace("50ms", "60ms"));
        let refused = run.reload();
        assert!(refused.contains("ERROR"), "{refused}");
        run.wait_for_log(first);
        run.wait_for_log(second);
        run.wait_for_printed(run.printed().len() + 5);
    }
    std::fs::remove_file(folder.join("kstar.toml")).expect("removed");
    run.reload();
    run.wait_for_log("cannot read the configuration");
    // The last word is a good file.
    folder.write("kstar.toml", &good);
    let said = run.reload();
    assert!(
        said.contains("kept=\"inverter roof1, sink sqlite, sink stdout\""),
        "{said}"
    );
    let ended = run.stop().expect_code(0);
    assert_eq!(ended.logged("is not reloaded"), cases.len() + 1);
    assert_eq!(ended.logged("polling has stopped"), 1, "{ended:#?}");
    assert!(!ended.err().contains("hunter2"));
    let printed = of("roof1", &readings(&ended.stdout));
    assert!(
        printed
            .keys()
            .eq(of("roof1", &rows(&folder.history())).keys())
    );
    let count = printed.len() as u64;
    assert!((count..=count + 1).contains(&roof.polls(1)));
}

#[test]
fn a_sink_is_added_and_removed_and_the_other_never_notices() {
    let roof = Roof::new(1);
    let stdout = roof.config("[sinks.stdout]\n");
    let both = roof.config(BOTH_SINKS);
    let folder = Folder::with_config(&stdout);
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_printed(5);
    assert!(!folder.join("history.db").exists());
    let mut stored = 0;
    for round in 1..=3 {
        folder.write("kstar.toml", &both);
        let said = run.reload();
        assert!(said.contains("started=\"sink sqlite\""), "{said}");
        run.wait_for_logs("delivering sink=\"sqlite\"", round);
        wait_until("rows", || rows(&folder.history()).len() > stored + 10);
        folder.write("kstar.toml", &stdout);
        let said = run.reload();
        assert!(said.contains("stopped=\"sink sqlite\""), "{said}");
        // It has drained: nothing is written any more, and the file is closed.
        stored = rows(&folder.history()).len();
        run.wait_for_printed(run.printed().len() + 10);
        assert_eq!(rows(&folder.history()).len(), stored);
    }
    let ended = run.stop().expect_code(0);
    let printed = of("roof1", &readings(&ended.stdout));
    let kept = of("roof1", &rows(&folder.history()));
    assert!(kept.len() < printed.len());
    assert!(kept.keys().all(|key| printed.contains_key(key)));
    let count = printed.len() as u64;
    assert!((count..=count + 1).contains(&roof.polls(1)));
}

#[test]
fn what_a_sink_could_not_deliver_goes_to_the_one_that_follows() {
    let roof = Roof::new(1);
    let config = roof.config(BOTH_SINKS);
    let folder = Folder::with_config(&config);
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"sqlite\"");
    let other = folder.history();
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    run.wait_for_log("cannot deliver");
    run.wait_for_printed(run.printed().len() + 30);
    folder.write("kstar.toml", config.replace("history.db", "second.db"));
    let said = run.reload();
    assert!(said.contains("replaced=\"sink sqlite\""), "{said}");
    run.wait_for_log("stopped; what waits is handed over");
    run.wait_for_printed(run.printed().len() + 10);
    let ended = run.stop().expect_code(0);
    drop(other);
    let printed = of("roof1", &readings(&ended.stdout));
    let mut kept = of("roof1", &rows(&folder.history()));
    let second = of(
        "roof1",
        &rows(&crate::world::open(&folder.join("second.db"))),
    );
    assert!(second.len() > 40, "{}", second.len());
    kept.extend(second);
    assert!(printed.keys().eq(kept.keys()));
}

#[test]
fn a_sink_that_cannot_be_opened_after_a_reload_is_down_until_it_can_and_loses_nothing() {
    let roof = Roof::new(1);
    let config = roof.config(BOTH_SINKS);
    let folder = Folder::with_config(&config);
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"sqlite\"");
    // What goes away by itself, and what another reload puts right.
    let second = folder.join("second.db");
    std::fs::create_dir(&second).expect("a folder");
    folder.write("kstar.toml", config.replace("history.db", "second.db"));
    let said = run.reload();
    assert!(said.contains("replaced=\"sink sqlite\""), "{said}");
    assert!(
        said.contains("kept=\"inverter roof1, sink stdout\""),
        "{said}"
    );
    let down = run.wait_for_log("cannot deliver");
    assert!(down.contains("second.db is a folder"), "{down}");
    run.wait_for_printed(run.printed().len() + 10);
    std::fs::remove_dir(&second).expect("removed");
    run.wait_for_log("open now sink=\"sqlite\" was=");

    folder.write("kstar.toml", config.replace("history.db", "kstar.toml"));
    let said = run.reload();
    assert!(said.contains("replaced=\"sink sqlite\""), "{said}");
    run.wait_for_log("kstar.toml is no SQLite database");
    run.wait_for_printed(run.printed().len() + 10);
    folder.write("kstar.toml", &config);
    let said = run.reload();
    assert!(said.contains("replaced=\"sink sqlite\""), "{said}");
    run.wait_for_printed(run.printed().len() + 5);

    let ended = run.stop().expect_code(0);
    let printed = of("roof1", &readings(&ended.stdout));
    let mut kept = of("roof1", &rows(&folder.history()));
    let second = of("roof1", &rows(&crate::world::open(&second)));
    assert!(second.len() >= 10, "{}", second.len());
    kept.extend(second);
    assert!(printed.keys().eq(kept.keys()));
}

#[test]
fn a_stop_in_the_middle_of_a_reload_is_heeded_within_the_grace() {
    let roof = Roof::new(1);
    let config = roof.config(BOTH_SINKS).replace("\"8s\"", "\"2s\"").replace(
        "[sinks.stdout]\n",
        "[sinks.stdout]\ndelivery.timeout = \"500ms\"\n",
    );
    let folder = Folder::with_config(&config);
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"sqlite\"");
    let other = folder.history();
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    run.wait_for_log("cannot deliver");
    // The history is to go, and cannot deliver what waits; beside it another sink is replaced before that.
    let (others, _) = config.split_once("[sinks.sqlite]").expect("it is there");
    folder.write("kstar.toml", format!("{others}delivery.queue = 99\n"));
    run.signal("HUP");
    run.wait_for_logs("opening sink=\"stdout\"", 2);
    let ended = run.stop();
    assert!(
        ended.logged("stopped without having delivered what was waiting") == 1,
        "{ended:#?}"
    );
    assert_eq!(ended.counts("stdout").of("waiting"), 0);
    let printed = of("roof1", &readings(&ended.stdout)).len() as u64;
    assert!((printed..=printed + 1).contains(&roof.polls(1)));
}

#[test]
fn an_inverter_that_is_removed_is_offline_and_taken_out_of_home_assistant() {
    let (roof, broker) = (Roof::new(2), Broker::start());
    let both = roof.config(&format!(
        "[sinks.stdout]\n[sinks.mqtt]\nurl = \"{}\"\nclient_id = \"test\"\n",
        broker.url()
    ));
    let folder = Folder::with_config(&both);
    let listener = broker.listen();
    let run = Process::start(&mut service(folder.path(), ["run"]));
    for name in ["roof1", "roof2"] {
        listener.wait_for_line("a reading", |line| {
            line.contains(&format!(" kstar/{name}/pv_power "))
        });
    }
    let announced = |retained: &BTreeMap<String, (String, String, String)>, name: &str| {
        retained
            .iter()
            .filter(|(topic, (_, _, payload))| {
                topic.starts_with("homeassistant/") && topic.contains(name) && !payload.is_empty()
            })
            .count()
    };
    wait_until("announcements", || {
        let kept = messages(&broker.listen().printed());
        announced(&kept, "roof1") > 0 && announced(&kept, "roof2") > 0
    });
    let heard = listener.printed().len();
    folder.write("kstar.toml", without_inverter(&both, 2));
    let said = run.reload();
    assert!(said.contains("stopped=\"inverter roof2\""), "{said}");
    assert!(said.contains("replaced=\"sink mqtt\""), "{said}");
    wait_until("its announcement is withdrawn", || {
        let kept = messages(&broker.listen().printed());
        announced(&kept, "roof2") == 0 && announced(&kept, "roof1") > 0
    });
    run.wait_for_printed(run.printed().len() + 20);
    let kept = messages(&broker.listen().printed());
    assert!(
        kept.get("kstar/roof2/status")
            .is_none_or(|(_, _, payload)| payload == "offline"),
        "{kept:#?}"
    );
    // The sink that follows tells at once that the other answers.
    wait_until("the other is online", || {
        messages(&broker.listen().printed())
            .get("kstar/roof1/status")
            .is_some_and(|(_, _, payload)| payload == "online")
    });
    listener.wait_for_line("the greeting of the sink that follows", |line| {
        line.ends_with(" kstar/roof2/status ")
    });
    // One more does not disturb the others either.
    folder.write("kstar.toml", &both);
    let said = run.reload();
    assert!(said.contains("started=\"inverter roof2\""), "{said}");
    assert!(said.contains("replaced=\"sink mqtt\""), "{said}");
    let before = listener.printed().len();
    wait_until("it is back", || {
        let printed = listener.printed();
        printed[before..]
            .iter()
            .any(|line| line.ends_with(" kstar/roof2/status online"))
    });
    let after = &listener.printed()[heard..];
    let went = |topic: &str| {
        after
            .iter()
            .any(|line| line.ends_with(&format!(" {topic} offline")))
    };
    assert!(!went("kstar/roof1/status"), "{after:#?}");
    assert!(!went("kstar/collector/test/status"), "{after:#?}");
    let taken_out = after
        .iter()
        .position(|line| line.ends_with(" kstar/roof2/status "));
    let put_back = after
        .iter()
        .rposition(|line| line.ends_with(" kstar/roof2/status offline"));
    let after = &after[..put_back.expect("it is not there at once")];
    assert!(taken_out.is_some_and(|place| place < after.len()));
    let back = after
        .iter()
        .position(|line| line.ends_with("kstar/collector/test/status online"));
    let back = back.expect("it is back");
    assert!(
        !after[back..]
            .iter()
            .any(|line| line.contains(" kstar/roof2/pv_power ") && !line.ends_with("pv_power ")),
        "a removed inverter is shown again"
    );
    run.stop().expect_code(0);
}

#[test]
fn a_secret_that_was_edited_takes_effect() {
    let (roof, broker) = (Roof::new(1), Broker::start());
    let folder = Folder::with_config(&roof.config(&format!(
        "[sinks.stdout]\n[sinks.mqtt]\nurl = \"{}\"\nusername = \"u\"\npassword = {{ file = \"secret\" }}\n",
        broker.url()
    )));
    folder.write("secret", "one");
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"mqtt\"");
    let said = run.reload();
    assert!(said.contains("replaced=\"none\""), "{said}");
    folder.write("secret", "two");
    let said = run.reload();
    assert!(said.contains("replaced=\"sink mqtt\""), "{said}");
    run.wait_for_logs("delivering sink=\"mqtt\"", 2);
    std::fs::remove_file(folder.join("secret")).expect("removed");
    let refused = run.reload();
    assert!(refused.contains("is not reloaded"), "{refused}");
    run.wait_for_log("cannot read the secret in secret");
    run.stop().expect_code(0);
}

#[test]
fn signals_that_come_in_a_burst_end_with_the_last_file() {
    let roof = Roof::new(2);
    let both = roof.config(BOTH_SINKS);
    let one = without_inverter(&both, 2);
    let folder = Folder::with_config(&one);
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_printed(5);
    for round in 0..40 {
        // Never half a file.
        folder.write("next.toml", if round % 2 == 0 { &both } else { &one });
        std::fs::rename(folder.join("next.toml"), folder.join("kstar.toml")).expect("renamed");
        run.signal("HUP");
    }
    std::fs::write(folder.join("next.toml"), &both).expect("written");
    std::fs::rename(folder.join("next.toml"), folder.join("kstar.toml")).expect("renamed");
    run.signal("HUP");
    wait_until("the last file counts", || {
        let printed = run.printed();
        let last = &printed[printed.len().saturating_sub(4)..];
        last.iter().any(|line| line.contains("\"roof2\""))
    });
    let ended = run.stop().expect_code(0);
    let printed = of("roof1", &readings(&ended.stdout));
    assert!(
        printed
            .keys()
            .eq(of("roof1", &rows(&folder.history())).keys())
    );
    let count = printed.len() as u64;
    assert!((count..=count + 1).contains(&roof.polls(1)));
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    let mut roof = Roof::new(0);
    // So slow that five seconds later it is still the same hour.
    roof.add(kstar_simulator::Config::new(1));
    let folder = Folder::new();
    for args in [&["run", "--host", &roof.host()][..], &["run", "--demo"]] {
        let run = Process::start(&mut service(folder.path(), args));
        run.wait_for_printed(1);
        run.signal("HUP");
        run.wait_for_log("there is nothing to reload");
        run.wait_for_printed(run.printed().len() + 1);
        run.stop().expect_code(0);
    }
}

#[test]
fn the_file_of_the_start_is_read_again_and_arguments_still_go_before_it() {
    let roof = Roof::new(1);
    let wrong = roof.config(BOTH_SINKS).replace(&roof.host(), "192.0.2.1");
    let folder = Folder::new();
    folder.write("mine/solar.toml", &wrong);
    let args = ["run", "--config", "mine/solar.toml", "--host", &roof.host()];
    let run = Process::start(&mut service(folder.path(), args));
    run.wait_for_printed(5);
    // Where nothing is named, this one would be found first.
    folder.write("kstar.toml", "nonsense");
    let said = run.reload();
    assert!(
        said.contains("kept=\"inverter roof1, sink sqlite, sink stdout\""),
        "{said}"
    );
    folder.write("mine/solar.toml", wrong.replace("50ms", "40ms"));
    let said = run.reload();
    assert!(said.contains("replaced=\"inverter roof1\""), "{said}");
    run.wait_for_printed(run.printed().len() + 5);
    run.stop().expect_code(0);
}

#[test]
fn a_terminal_that_goes_away_ends_the_program_in_order() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.sqlite]\npath = \"history.db\"\n"));
    let log = File::create(folder.join("log")).expect("a file");
    // `script` is the terminal; what runs in it writes its pid and becomes the program.
    let line = format!(
        "echo $$ > pid; exec {} run 2> log",
        env!("CARGO_BIN_EXE_kstar")
    );
    let [env, heeds] = HEEDS_SIGNALS;
    let mut terminal = program(
        env.as_ref(),
        folder.path(),
        [heeds, "script", "-q", "-c", &line, "/dev/null"],
    )
    .stdin(Stdio::null())
    .stdout(Stdio::null())
    .spawn()
    .expect("a shell tool `script`");
    drop(log);
    let logged = |text: &str| {
        std::fs::read_to_string(folder.join("log")).is_ok_and(|log| log.contains(text))
    };
    wait_until("it delivers", || logged("delivering sink="));
    terminal.kill().expect("killed");
    terminal.wait().expect("ended");
    wait_until("it stops", || logged("stopped"));
    let pid = std::fs::read_to_string(folder.join("pid")).expect("a pid");
    wait_until("it is gone", || {
        let alive = Command::new("kill")
            .args(["-0", pid.trim()])
            .stderr(Stdio::null())
            .status();
        !alive.expect("a shell tool `kill`").success()
    });
    assert!(!folder.join("history.db-wal").exists());
    assert!(!logged("reload"));
}

#[test]
fn other_commands_end_with_their_session() {
    let folder = Folder::new();
    let simulate = Process::start(&mut service(
        folder.path(),
        ["simulate", "--listen", "127.0.0.1:0"],
    ));
    simulate.wait_for_line("a host", |line| line.starts_with("host = "));
    let printed = simulate.printed().join("\n");
    let (_, host) = printed.split_once("host = \"").expect("a host");
    let (host, _) = host.split_once('"').expect("a host");
    // It answers once it waits for its end.
    ended(&mut kstar(folder.path(), ["read", "--host", host])).expect_code(0);
    simulate.signal("HUP");
    simulate.end().expect_code(0);
}

#[test]
fn what_was_started_by_nohup_outlives_its_terminal() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let mut command = program(
        "nohup".as_ref(),
        folder.path(),
        [env!("CARGO_BIN_EXE_kstar"), "run"],
    );
    let run = Process::start(&mut command);
    run.wait_for_printed(1);
    let said = run.reload();
    assert!(
        said.contains("kept=\"inverter roof1, sink sqlite, sink stdout\""),
        "{said}"
    );
    run.wait_for_printed(run.printed().len() + 5);
    run.stop().expect_code(0);
}
