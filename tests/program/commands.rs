//! `discover`, `check`, `simulate`, and what every command has: help, and no patience with wrong words.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::process::{Process, ended, kstar};
use crate::world::{BOTH_SINKS, Folder, Roof, closed_port, readings};

#[test]
fn every_command_has_help_and_the_program_a_version() {
    let folder = Folder::new();
    let help = ended(&mut kstar(folder.path(), ["--help"])).expect_code(0);
    let commands: Vec<_> = help
        .stdout
        .iter()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for command in ["run", "read", "discover", "check", "simulate"] {
        assert!(commands.contains(&command), "{commands:?}");
    }
    for command in commands.iter().filter(|command| **command != "help") {
        for flag in ["--help", "-h"] {
            let help = ended(&mut kstar(folder.path(), [*command, flag])).expect_code(0);
            assert!(
                help.out().contains(&format!("Usage: kstar {command}")),
                "{help:#?}"
            );
        }
        let refused = ended(&mut kstar(folder.path(), [*command, "--frobnicate"])).expect_code(2);
        assert!(refused.err().contains("'--frobnicate'"), "{refused:#?}");
    }
    let version = ended(&mut kstar(folder.path(), ["--version"])).expect_code(0);
    assert_eq!(version.out(), concat!("kstar ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_environment_is_never_shown() {
    let folder = Folder::new();
    for command in ["run", "read", "check"] {
        let mut command = kstar(folder.path(), [command, "--help"]);
        command.env("KSTAR_CONFIG", "/secret/place");
        command.env("KSTAR_HOST", "secret.example");
        command.env("KSTAR_LOG", "error");
        let help = ended(&mut command).expect_code(0);
        assert!(help.out().contains("KSTAR_CONFIG"), "{help:#?}");
        assert!(!help.out().contains("secret"), "{help:#?}");
        assert!(!help.out().contains("KSTAR_LOG="), "{help:#?}");
    }
}

#[test]
fn a_wrong_word_is_wrong_use() {
    let folder = Folder::new();
    for args in [
        &[][..],
        &["frobnicate"],
        &["run", "now"],
        &["--log-level", "loud", "check"],
        &["--log-format", "xml", "check"],
        &["read", "--inverter", "a", "--host", "b"],
        &["discover", "--address", "nowhere"],
        &["discover", "--timeout", "5"],
        &["simulate", "--faults", "rain=1"],
    ] {
        let refused = ended(&mut kstar(folder.path(), args)).expect_code(2);
        assert_eq!(refused.out(), "", "{args:?}");
        assert!(
            refused.err().contains("Usage") || refused.err().contains("--help"),
            "{refused:#?}"
        );
    }
}

#[test]
fn who_answers_a_greeting_is_listed_with_lines_for_the_configuration() {
    let roof = Roof::new(1);
    let folder = Folder::new();
    let greeted = roof.greeted();
    let args = ["discover", "--timeout", "300ms", "--address", &greeted];
    let table = ended(&mut kstar(folder.path(), args)).expect_code(0);
    assert_eq!(
        table.stdout[0].split_whitespace().collect::<Vec<_>>(),
        ["address", "mac", "module"]
    );
    assert!(
        table.stdout[1].contains("127.0.0.1") && table.stdout[1].contains("AC:CF:23:"),
        "{table:#?}"
    );
    let (_, lines) = table.stdout.split_at(3);
    folder.write("kstar.toml", lines.join("\n") + "\n[sinks.stdout]\n");
    let plan = ended(&mut kstar(folder.path(), ["check"])).expect_code(0);
    assert!(
        plan.out().contains("inverter inverter: 127.0.0.1,"),
        "{plan:#?}"
    );

    let args = [&args[..], &["--json"]].concat();
    let json = readings(&ended(&mut kstar(folder.path(), args)).expect_code(0).stdout);
    assert_eq!(json.len(), 1);
    assert_eq!(json[0]["address"], "127.0.0.1:8899");
    assert_eq!(json[0]["name"], "HF-LPB1x000");
}

#[test]
fn where_nobody_answers_a_greeting_it_says_who_was_greeted_and_what_to_do() {
    let folder = Folder::new();
    let address = closed_port().to_string();
    let args = ["discover", "--timeout", "100ms", "--address", &address];
    let nobody = ended(&mut kstar(folder.path(), args)).expect_code(1);
    assert!(
        nobody.err().contains("no inverter answered within 100ms"),
        "{nobody:#?}"
    );
    assert!(nobody.err().contains(&address), "{nobody:#?}");
    assert!(nobody.err().contains("kstar read --host"), "{nobody:#?}");
    assert_eq!(nobody.out(), "");
}

#[test]
fn a_check_shows_the_plan_and_touches_nothing() {
    let roof = Roof::new(2);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let plan = ended(&mut kstar(folder.path(), ["check"])).expect_code(0);
    for words in [
        "configuration: kstar.toml",
        "inverter roof1: ",
        "inverter roof2: ",
        "every 50ms",
        "sink stdout: standard output",
        "sink sqlite: history.db",
        "the configuration is in order",
    ] {
        assert!(plan.out().contains(words), "{words}: {plan:#?}");
    }
    assert!(plan.out().contains(&roof.host()), "{plan:#?}");
    assert_eq!(plan.err(), "");
    assert_eq!(roof.requests(), 0);
    assert!(!folder.join("history.db").exists() && !folder.join("state").exists());
}

#[test]
fn what_a_simulation_prints_first_is_a_configuration_for_it() {
    let folder = Folder::new();
    let args = ["simulate", "--listen", "127.0.0.1:0", "--inverters", "2"];
    let simulation = Process::start(&mut kstar(folder.path(), args));
    let lines = simulation.wait_for_printed(10);
    folder.write("kstar.toml", lines.join("\n") + "\n[sinks.stdout]\n");
    ended(&mut kstar(folder.path(), ["check"])).expect_code(0);
    let args = ["read", "--json", "--inverter", "simulated2"];
    let read = ended(&mut kstar(folder.path(), args)).expect_code(0);
    assert_eq!(readings(&read.stdout)[0]["inverter"], "simulated2");
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_line("the first", |line| line.contains("simulated1"));
    run.wait_for_line("the second", |line| line.contains("simulated2"));
    run.stop().expect_code(0);

    simulation.signal("INT");
    let simulation = simulation.end().expect_code(0);
    assert!(
        simulation.out().contains("asked for running data"),
        "{simulation:#?}"
    );
    let gone = ended(&mut kstar(folder.path(), args)).expect_code(1);
    assert!(gone.err().contains("nobody listens at"), "{gone:#?}");
}

#[test]
fn a_simulated_stick_is_asked_over_v5_and_says_how_often() {
    let folder = Folder::new();
    let args = [
        "simulate",
        "--family",
        "kstar-hybrid",
        "--listen",
        "127.0.0.1:0",
        "--logger-serial",
        "2712847316",
    ];
    let simulation = Process::start(&mut kstar(folder.path(), args));
    let printed = simulation.wait_for_printed(7).join("\n");
    let table: toml::Table = printed.parse().expect("TOML");
    let inverter = &table["inverter"][0];
    assert_eq!(inverter["family"].as_str(), Some("kstar-hybrid"));
    assert_eq!(inverter["via"].as_str(), Some("solarman"));

    // Function 04, registers 3000 to 3124, sequence 1.
    let request = [
        &[0xA5, 0x17, 0, 0x10, 0x45, 1, 0, 0xD4, 0xC3, 0xB2, 0xA1, 2][..],
        &[0; 14],
        &[1, 4, 0x0B, 0xB8, 0, 0x7D, 0xB2, 0x2A, 0x7A, 0x15],
    ]
    .concat();
    let host = inverter["host"].as_str().expect("an address");
    let mut stick = TcpStream::connect(host).expect("a connection");
    stick.write_all(&request).expect("sent");
    let mut reply = [0; 282];
    stick.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply[..6], [0xA5, 0x0D, 1, 0x10, 0x15, 1]);

    simulation.signal("INT");
    let simulation = simulation.end().expect_code(0);
    assert!(
        simulation
            .out()
            .contains("asked for 04 3000, 125                       1\n"),
        "{simulation:#?}"
    );
}

#[test]
fn a_simulation_says_when_its_port_is_taken() {
    let roof = Roof::new(1);
    let folder = Folder::new();
    let args = ["simulate", "--no-discovery", "--listen", &roof.host()];
    let refused = ended(&mut kstar(folder.path(), args)).expect_code(1);
    assert!(
        refused
            .err()
            .contains("cannot simulate inverter 1: cannot listen on"),
        "{refused:#?}"
    );
    assert!(refused.err().contains(&roof.host()), "{refused:#?}");
}
