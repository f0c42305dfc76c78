//! `kstar read`: one poll for people or as JSON, and the lock that keeps it from disturbing a running collector.

use kstar_model::catalogue::{Group, Quantity};

use crate::process::{Process, ended, kstar};
use crate::world::{BOTH_SINKS, Folder, Roof, Row, readings};

#[test]
fn a_reading_is_a_table_with_names_and_units() {
    let roof = Roof::new(1);
    let folder = Folder::new();
    let args = ["read", "--host", &roof.host()];
    let table = ended(&mut kstar(folder.path(), args)).expect_code(0);
    assert!(table.stdout[0].contains(&roof.host()), "{table:#?}");
    let mut shown = 0;
    for quantity in Quantity::ALL {
        let row = table
            .stdout
            .iter()
            .find(|row| row.split_whitespace().any(|word| word == quantity.name()));
        if let Some(row) = row {
            shown += 1;
            let unit = quantity.description().unit.to_string();
            assert!(row.ends_with(&unit), "{row}");
        }
    }
    assert_eq!(shown, table.stdout.len() - 1, "{table:#?}");
    assert!(shown > 40);
    assert_eq!(table.err(), "");
}

#[test]
fn as_json_a_reading_is_what_a_run_prints() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let once = ended(&mut kstar(folder.path(), ["read", "--json"])).expect_code(0);
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(1);
    let run = run.stop().expect_code(0);
    assert_eq!(once.stdout.len(), 1);
    let (once, run) = (&readings(&once.stdout)[0], &readings(&run.stdout)[0]);
    // Only who collects can add up energy.
    let is_metered = |name: &str| {
        Quantity::from_name(name)
            .is_some_and(|quantity| quantity.description().group == Group::Meter)
    };
    let names = |reading: &Row| reading.keys().cloned().collect::<Vec<_>>();
    let (metered, read): (Vec<_>, Vec<_>) =
        names(run).into_iter().partition(|name| is_metered(name));
    assert_eq!(names(once), read);
    assert_eq!(metered.len(), 12);
    for (key, value) in once {
        let same = std::mem::discriminant(value) == std::mem::discriminant(&run[key]);
        assert!(same, "{key}: {value} and {}", run[key]);
    }
    assert_eq!(once["inverter"], "roof1");
}

#[test]
fn device_and_settings_are_shown_alone_and_together() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let read = |args: &[&str]| {
        let command = &mut kstar(folder.path(), [&["read"], args].concat());
        ended(command).expect_code(0)
    };
    let device = read(&["--device"]);
    assert!(device.out().contains("Serial number"), "{device:#?}");
    assert!(device.out().contains("KSE4000S"), "{device:#?}");
    let settings = read(&["--settings"]);
    assert!(
        settings.out().contains("Lowest state of charge"),
        "{settings:#?}"
    );
    assert!(!settings.out().contains("Serial number"), "{settings:#?}");
    let both = read(&["--device", "--settings"]);
    assert!(both.out().contains("Serial number") && both.out().contains("Lowest state of charge"));

    let both = readings(&read(&["--device", "--settings", "--json"]).stdout);
    assert_eq!(both.len(), 2);
    assert_eq!(both[0]["model"], "KSE4000");
    assert_eq!(both[1]["lowest_soc"], 20);
    assert_eq!(readings(&read(&["--settings", "--json"]).stdout), both[1..]);
}

#[test]
fn one_of_several_inverters_is_chosen_by_name() {
    let roof = Roof::new(2);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let unclear = ended(&mut kstar(folder.path(), ["read"])).expect_code(2);
    assert!(
        unclear.err().contains("--inverter: roof1, roof2"),
        "{unclear:#?}"
    );
    let unknown = ended(&mut kstar(folder.path(), ["read", "--inverter", "barn"])).expect_code(2);
    assert!(
        unknown
            .err()
            .contains("no inverter is named `barn`; there are: roof1, roof2"),
        "{unknown:#?}"
    );
    let args = ["read", "--json", "--inverter", "roof2"];
    let mut command = kstar(folder.path(), args);
    // A name that is asked for goes before a host that is only in the environment.
    command.env("KSTAR_HOST", roof.host());
    let chosen = ended(&mut command).expect_code(0);
    assert_eq!(readings(&chosen.stdout)[0]["inverter"], "roof2");
    let mut command = kstar(folder.path(), ["read"]);
    command.env("KSTAR_HOST", roof.host());
    let chosen = ended(&mut command).expect_code(0);
    assert!(chosen.stdout[0].contains(&roof.host()), "{chosen:#?}");
}

#[test]
fn while_a_collector_polls_the_inverter_nobody_else_does_unless_forced() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("identified");
    for what in [&["--json"][..], &["--device"], &["--settings"]] {
        let args = [&["read"], what].concat();
        let refused = ended(&mut kstar(folder.path(), &args)).expect_code(1);
        let pid = format!("process {} polls {}", run.pid(), roof.host());
        assert!(refused.err().contains(&pid), "{refused:#?}");
        assert!(refused.err().contains("--force"), "{refused:#?}");
        let offers = cfg!(any(feature = "http", feature = "watch"));
        assert_eq!(refused.err().contains("--url"), offers, "{refused:#?}");
        assert_eq!(refused.out(), "");
        let forced = [&args[..], &["--force"]].concat();
        let forced = ended(&mut kstar(folder.path(), forced)).expect_code(0);
        assert_ne!(forced.out(), "");
    }
    run.stop().expect_code(0);
    ended(&mut kstar(folder.path(), ["read"])).expect_code(0);
}

#[test]
#[cfg(feature = "http")]
fn beside_a_collector_that_serves_http_its_newest_reading_is_shown() {
    let roof = Roof::new(2);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let http = format!(
        "[sinks.stdout]\n[http]\nlisten = \"127.0.0.1:{port}\"\ntoken = {{ file = \"token\" }}\n"
    );
    let folder = Folder::with_config(&roof.config(&http));
    folder.write("token", "open-sesame\n");
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(8);
    let read = |args: &[&str]| kstar(folder.path(), [&["read"], args].concat());
    let table = ended(&mut read(&["--inverter", "roof2"])).expect_code(0);
    let url = format!("roof2 at http://127.0.0.1:{port}");
    assert!(table.stdout[0].starts_with(&url), "{table:#?}");
    let line = ended(&mut read(&["--inverter", "roof2", "--json"])).expect_code(0);
    let line = &readings(&line.stdout)[0];
    assert_eq!(line["inverter"], "roof2");
    // Only who collects can add up energy.
    assert!(line.contains_key("pv_energy_total"), "{line:?}");
    // What it was not asked for it does not have.
    let refused = ended(&mut read(&["--inverter", "roof2", "--device"])).expect_code(1);
    assert!(refused.err().contains("--force"), "{refused:#?}");
    let mut wrong = read(&["--inverter", "roof2"]);
    let refused = ended(wrong.env("KSTAR_HTTP_TOKEN", "open-barley")).expect_code(1);
    for words in ["polls", "the token is wrong", "--force"] {
        assert!(refused.err().contains(words), "{words}: {refused:#?}");
    }
    run.stop().expect_code(0);
}

#[test]
fn a_lock_goes_with_its_process_however_that_ends() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("identified");
    run.signal("KILL");
    run.end();
    ended(&mut kstar(folder.path(), ["read"])).expect_code(0);
}

#[test]
fn two_collectors_of_one_inverter_go_on_and_the_second_says_it() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let first = Process::start(&mut kstar(folder.path(), ["run"]));
    first.wait_for_log("identified");
    let other = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let second = Process::start(&mut kstar(other.path(), ["run"]));
    let said = second.wait_for_log("two pollers disturb each other");
    assert!(
        said.contains(&format!("process {} polls", first.pid())),
        "{said}"
    );
    second.wait_for_printed(5);
    let second = second.stop().expect_code(0);
    assert_eq!(second.logged("two pollers"), 1, "{second:#?}");
    first.stop().expect_code(0);
}
