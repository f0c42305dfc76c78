//! Finding out what an inverter speaks: `discover`, `init`, `check --connect`, and the arguments that say it.

use std::net::Ipv4Addr;

use kstar_simulator::faults::Faults;
use kstar_simulator::modbus::config::{Config, Family, Via};
use kstar_simulator::modbus::record::Counts;
use serde_json::Value;

use crate::modules::Modules;
use crate::process::{ended, kstar};
use crate::world::{Folder, readings};

const LOGGER: u32 = 2_712_847_316;

/// A KSTAR hybrid behind a stick.
fn hybrid() -> Config {
    Config {
        logger_serial: LOGGER,
        ..Config::new(Family::KstarHybrid, 1)
    }
}

/// A house with one of each: AA55, a stick, an ET, a DT, a stick that speaks Modbus TCP.
struct House {
    modules: Modules,
    kse: Ipv4Addr,
    hybrid: Ipv4Addr,
    et: Ipv4Addr,
    dt: Ipv4Addr,
    lan_stick: Ipv4Addr,
}

impl House {
    fn new() -> Self {
        let mut modules = Modules::new();
        let lan_stick = Config {
            via: Via::ModbusTcp,
            ..hybrid()
        };
        Self {
            kse: modules.add(&Faults::default()),
            hybrid: modules.add_machine(&hybrid()),
            et: modules.add_machine(&Config::new(Family::GoodweEt, 2)),
            dt: modules.add_machine(&Config::new(Family::GoodweDt, 3)),
            lan_stick: modules.add_machine(&lan_stick),
            modules,
        }
    }

    /// Family and way of each, at its address.
    fn all(&self) -> [(Ipv4Addr, &'static str, Option<&'static str>); 5] {
        [
            (self.kse, "kse", None),
            (self.hybrid, "kstar-hybrid", Some("solarman")),
            (self.et, "goodwe-et", Some("udp")),
            (self.dt, "goodwe-dt", Some("udp")),
            (self.lan_stick, "kstar-hybrid", Some("modbus-tcp")),
        ]
    }
}

#[test]
fn what_answers_a_greeting_is_asked_who_it_is_and_the_lines_for_it_work() {
    let house = House::new();
    let folder = Folder::new();
    let mut args = vec!["discover".to_owned(), "--timeout".into(), "500ms".into()];
    for (ip, ..) in house.all() {
        args.extend(["--address".to_owned(), ip.to_string()]);
    }
    let table = ended(&mut kstar(folder.path(), &args)).expect_code(0);
    let (_, lines) = table
        .out()
        .split_once("# for the configuration:\n")
        .map(|(table, lines)| (table.to_owned(), lines.to_owned()))
        .expect("lines");
    folder.write("kstar.toml", lines + "\n[sinks.stdout]\n");
    let connect = ["check", "--connect", "--polls", "1"];
    ended(&mut kstar(folder.path(), connect)).expect_code(0);
    for number in 1..=5 {
        let name = format!("inverter{number}");
        let read = ["read", "--json", "--inverter", &name];
        ended(&mut kstar(folder.path(), read)).expect_code(0);
    }

    args.push("--json".into());
    let json = readings(
        &ended(&mut kstar(folder.path(), &args))
            .expect_code(0)
            .stdout,
    );
    assert_eq!(json.len(), 5);
    for (ip, family, via) in house.all() {
        let one = json
            .iter()
            .find(|one| one["address"] == format!("{ip}:8899"))
            .expect("it is listed");
        assert_eq!(one["family"], family, "{one:?}");
        assert_eq!(one["via"], Value::from(via), "{one:?}");
        assert!(one["serial"].is_string(), "{one:?}");
        assert!(one["model"].is_string(), "{one:?}");
        assert!(one["mac"].is_string() && one["name"].is_string(), "{one:?}");
        let logger = (family == "kstar-hybrid").then_some(LOGGER);
        assert_eq!(one["logger_serial"], Value::from(logger), "{one:?}");
    }

    args.push("--greet-only".into());
    let before = house.modules.machine_counts();
    let json = readings(
        &ended(&mut kstar(folder.path(), &args))
            .expect_code(0)
            .stdout,
    );
    assert!(json.iter().all(|one| one["family"].is_null()), "{json:?}");
    let requests = |counts: &[Counts]| -> Vec<u64> {
        let each = counts.iter().map(Counts::requested);
        each.collect()
    };
    assert_eq!(requests(&before), requests(&house.modules.machine_counts()));
}

#[test]
fn init_finds_out_what_a_host_speaks_and_writes_only_what_is_not_the_default() {
    let house = House::new();
    let folder = Folder::new();
    let expected = |family: &str, host: &str, via: Option<&str>| {
        let family = match family {
            "kse" => String::new(),
            family => format!("family = \"{family}\"\n"),
        };
        let via = via.map(|via| format!("via = \"{via}\"\n"));
        format!(
            "name = \"inverter\"\n{family}host = \"{host}\"\n{}\n",
            via.unwrap_or_default()
        )
    };
    for (ip, family, via) in house.all() {
        let args = ["init", "-", "--yes", "--host", &ip.to_string()];
        let text = ended(&mut kstar(folder.path(), args)).expect_code(0);
        let is_lan_stick = via == Some("modbus-tcp");
        let host = if is_lan_stick {
            format!("{ip}:8899")
        } else {
            ip.to_string()
        };
        let section = expected(family, &host, via.filter(|_| is_lan_stick));
        assert!(text.out().contains(&section), "{section}: {text:#?}");
        assert!(text.err().contains(family), "{text:#?}");
    }
}

#[test]
fn the_command_line_says_what_an_inverter_speaks() {
    let house = House::new();
    let folder = Folder::new();
    for (ip, family, via) in house.all() {
        let host = match via {
            Some("modbus-tcp") => format!("{ip}:8899"),
            _ => ip.to_string(),
        };
        let mut args = vec!["read", "--json", "--host", &host, "--family", family];
        args.extend(via.iter().flat_map(|via| ["--via", via]));
        let read = ended(&mut kstar(folder.path(), &args)).expect_code(0);
        assert!(
            readings(&read.stdout)[0]["grid_voltage"].is_number(),
            "{read:#?}"
        );
    }
    let host = house.hybrid.to_string();
    let read = ["read", "--host", &host, "--family", "kstar-hybrid"];
    let serial = LOGGER.to_string();
    let right = [&read[..], &["--unit", "1", "--logger-serial", &serial]].concat();
    ended(&mut kstar(folder.path(), right)).expect_code(0);
    for (more, words) in [
        (
            &["--via", "udp"][..],
            "`via = \"udp\"` is no way to a kstar-hybrid",
        ),
        (
            &["--via", "modbus-tcp", "--logger-serial", "7"],
            "leave it out",
        ),
        (&["--unit", "248"], "they go from 1 to 247"),
        (&["--unit", "0"], "they go from 1 to 247"),
    ] {
        let wrong = ended(&mut kstar(folder.path(), [&read[..], more].concat())).expect_code(2);
        assert!(wrong.err().contains(words), "{words}: {wrong:#?}");
    }
    let wrong = ["read", "--host", "a", "--family", "et"];
    let wrong = ended(&mut kstar(folder.path(), wrong)).expect_code(2);
    assert!(
        wrong.err().contains("there are `kse`, `kstar-hybrid`"),
        "{wrong:#?}"
    );
    let wrong = ["read", "--host", "a", "--via", "solarman"];
    let wrong = ended(&mut kstar(folder.path(), wrong)).expect_code(2);
    assert!(wrong.err().contains("is wrong for a kse"), "{wrong:#?}");

    // What the configuration says of the inverter is changed in the one point that is named.
    let section = format!(
        "[[inverter]]\nfamily = \"kstar-hybrid\"\nhost = \"{host}\"\nunit = 3\ntimeout = \"300ms\"\n[sinks.stdout]\n"
    );
    folder.write("kstar.toml", section);
    ended(&mut kstar(folder.path(), ["read"])).expect_code(1);
    ended(&mut kstar(folder.path(), ["read", "--unit", "1"])).expect_code(0);
    let family = ["read", "--family", "kstar-hybrid", "--via", "solarman"];
    ended(&mut kstar(folder.path(), family)).expect_code(1);
}

/// What `check --connect` says that is wrong, with its fix, by what it is about.
#[track_caller]
fn wrong(section: &str) -> Vec<(String, String, String)> {
    let folder = Folder::with_config(&format!(
        "[collector]\ntimeout = \"500ms\"\nallow_fast_polling = true\n\
         [[inverter]]\nname = \"roof\"\n{section}\n[sinks.stdout]\n"
    ));
    let args = ["check", "--connect", "--json"];
    let ended = ended(&mut kstar(folder.path(), args));
    let findings = readings(&ended.stdout).into_iter();
    let about_roof = findings.filter(|finding| finding["part"] == "inverter roof");
    let bad = about_roof.filter(|finding| finding["verdict"] != "good");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    bad.map(|finding| {
        let [about, said, fix] = ["about", "said", "fix"].map(|key| text(&finding[key]));
        (about, said, fix)
    })
    .collect()
}

#[track_caller]
fn assert_says(found: &[(String, String, String)], about: &str, words: &str, fix: &str) {
    let is_said = |(a, said, f): &(String, String, String)| {
        a == about && said.contains(words) && f.contains(fix)
    };
    // What says more than the words of the message is explained by its form.
    let page = include_str!("../../docs/troubleshooting.md");
    let has_figures = words.contains(|letter: char| letter.is_ascii_digit());
    assert!(
        has_figures || page.contains(words),
        "docs/troubleshooting.md lacks: {words}"
    );
    assert!(
        found.iter().any(is_said),
        "{about}: {words}: {fix}: {found:#?}"
    );
}

#[test]
fn every_wrong_choice_has_its_own_message_with_the_fix() {
    let house = House::new();
    let host = |ip: Ipv4Addr| format!("host = \"{ip}\"\n");
    let hybrid = |ip| host(ip) + "family = \"kstar-hybrid\"\n";
    let v5_of_aa55 = wrong(&hybrid(house.kse));
    assert_says(
        &v5_of_aa55,
        "replies",
        "nobody listens at",
        "`family = \"kse\"`",
    );
    assert_says(
        &v5_of_aa55,
        "family",
        "is a kse",
        "write `family = \"kse\"`",
    );

    let aa55_of_stick = wrong(&host(house.hybrid));
    let stick = format!("is the Solarman stick {LOGGER}");
    assert_says(
        &aa55_of_stick,
        "replies",
        &stick,
        "`family = \"kstar-hybrid\"`",
    );
    let words = "behind a Solarman stick is a kstar-hybrid via solarman, unit 1";
    assert_says(
        &aa55_of_stick,
        "family",
        words,
        "write `family = \"kstar-hybrid\"` for",
    );

    let hybrid_asked_by_aa55 = wrong(&host(house.et));
    let words = "it tells its values by Modbus only";
    assert_says(
        &hybrid_asked_by_aa55,
        "replies",
        words,
        "`family = \"goodwe-et\"`",
    );
    assert_says(
        &hybrid_asked_by_aa55,
        "family",
        "is a goodwe-et via udp",
        "write `family = \"goodwe-et\"` for",
    );

    let string_inverter_asked_by_aa55 = wrong(&host(house.dt));
    assert_says(
        &string_inverter_asked_by_aa55,
        "family",
        "is a goodwe-dt via udp",
        "write `family = \"goodwe-dt\"` for",
    );

    let tcp_of_v5 = wrong(&(hybrid(house.hybrid) + "via = \"modbus-tcp\"\n"));
    assert_says(&tcp_of_v5, "replies", "nobody listens at", "`host`");
    assert_says(
        &tcp_of_v5,
        "via",
        "via solarman",
        "write `via = \"solarman\"` for",
    );

    let v5_of_tcp = wrong(&hybrid(house.lan_stick));
    let fix = format!(
        "write `via = \"modbus-tcp\"` and `host = \"{}:8899\"`",
        house.lan_stick
    );
    assert_says(&v5_of_tcp, "via", "speaks modbus-tcp, not solarman", &fix);

    let other_unit = wrong(&(hybrid(house.hybrid) + "unit = 3\n"));
    assert_says(&other_unit, "unit", "unit 1", "write `unit = 1` for");
    let other_unit = wrong(&(host(house.et) + "family = \"goodwe-et\"\nunit = 3\n"));
    assert_says(&other_unit, "unit", "unit 247", "write `unit = 247` for");

    let other_logger = wrong(&(hybrid(house.hybrid) + "logger_serial = 7\n"));
    let words = format!("has the serial number {LOGGER}, not 7");
    let fix = format!("write `logger_serial = {LOGGER}`, or leave it out");
    assert_says(&other_logger, "replies", &words, &fix);
    assert_eq!(other_logger.len(), 1, "{other_logger:#?}");
}

#[test]
fn a_string_inverter_that_sleeps_is_told_from_one_that_is_not_there() {
    let mut modules = Modules::new();
    let config = Config::new(Family::GoodweDt, 3);
    let night = Config {
        begins: config.begins.with().hour(1).build().expect("a time"),
        ..config
    };
    let ip = modules.add_machine(&night);
    let asleep = wrong(&format!("host = \"{ip}\"\nfamily = \"goodwe-dt\"\n"));
    let words = "a string inverter is off while there is no sun";
    assert_says(&asleep, "replies", words, "try again by day");
}
