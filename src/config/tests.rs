use std::path::Path;

use kstar_source::source::Target;

use super::*;

fn error(text: &str) -> String {
    Config::parse(&ConfigFile::new("kstar.toml", text))
        .expect_err(text)
        .to_string()
}

#[test]
fn an_unknown_key_is_shown_with_its_place_and_the_legal_ones() {
    let shown = error("[collector]\npol_interval = \"5s\"\n");
    assert_eq!(
        shown,
        "kstar.toml:2:1: unknown field `pol_interval`, did you mean `poll_interval`? Expected one of `poll_interval`, `timeout`, `tries`, \
         `grace`, `allow_fast_polling`, `discovery_addresses`\n  |\n2 | pol_interval = \"5s\"\n  | ^^^^^^^^^^^^"
    );
}

#[test]
#[cfg(feature = "stdout")]
fn a_mistake_in_a_delivery_has_its_place_too() {
    let shown = error("[sinks.stdout.delivery]\nqueue = 0");
    assert!(shown.starts_with("kstar.toml:2:9: "), "{shown}");
    let shown = error("[sinks.stdout.delivery]\ntimeout = '10s'");
    assert!(shown.starts_with("kstar.toml:2:11: "), "{shown}");
    assert!(shown.contains("shorter than the grace"), "{shown}");
}

#[test]
#[cfg(all(feature = "sqlite", feature = "mqtt"))]
fn a_spool_that_cannot_be_has_its_place() {
    let shown = error("[sinks.mqtt]\nurl = 'mqtt://b'\n[sinks.mqtt.delivery]\nspool = true");
    assert!(shown.starts_with("kstar.toml:4:9: "), "{shown}");
    assert!(shown.contains("shows the present"), "{shown}");
    let delivery = "[sinks.sqlite.delivery]\nspool = true\n";
    for (key, words) in [
        ("spool_max = '512KiB'", "at least 1MiB"),
        ("spool_max = '256MB'", "KiB, MiB, GiB, TiB"),
        ("spool_max = 256", "a size as text"),
        ("spool_max_readings = 0", "a whole number from 1 on"),
    ] {
        let shown = error(&format!("{delivery}{key}"));
        assert!(shown.starts_with("kstar.toml:3:"), "{shown}");
        assert!(shown.contains(words), "{shown}");
    }
}

#[test]
#[cfg(all(feature = "stdout", not(any(feature = "spool", feature = "sqlite"))))]
fn a_spool_that_is_not_built_is_said() {
    let shown = error("[sinks.stdout.delivery]\nspool = true");
    assert!(shown.starts_with("kstar.toml:2:9: "), "{shown}");
    assert!(shown.contains("--features spool"), "{shown}");
}

#[test]
#[cfg(feature = "aa55")]
fn a_mistake_about_all_inverters_together_has_its_place() {
    for (text, place, words) in [
        (
            "[[inverter]]\nname='site'\nhost='x'",
            "2:6",
            "`site` is the name of all inverters together",
        ),
        (
            "[[inverter]]\nname='a'\n[site]\nenabled = true\ngrid_from = 'b'",
            "5:13",
            "there is no inverter `b`; write the name of one: a",
        ),
        ("[site]\nenable = true", "2:1", "unknown field `enable`"),
    ] {
        let shown = error(text);
        let begin = format!("kstar.toml:{place}: ");
        assert!(shown.starts_with(&begin), "{text}\n{shown}");
        assert!(shown.contains(words), "{text}\n{shown}");
        assert!(shown.contains('^'), "{text}\n{shown}");
    }
}

#[test]
#[cfg(feature = "aa55")]
fn a_mistake_has_line_and_column_wherever_it_is() {
    for (text, place, words) in [
        (
            "[collector]\npoll_interval = \"soon\"",
            "2:17",
            "no duration",
        ),
        ("[collector]\npoll_interval = 5", "2:17", "duration as text"),
        (
            "[collector]\npoll_interval = \"500ms\"",
            "2:17",
            "allow_fast_polling",
        ),
        ("[collector]\ntries = 0", "2:9", "a whole number from 1 on"),
        ("[collector]\ntimeout = \"0s\"", "2:11", "some time"),
        ("[[inverter]]\nname = \"my roof\"", "2:8", "cannot name"),
        ("[[inverter]]\nhost = \"a b\"", "2:8", "no host"),
        ("[[inverter]]\nhost = \"a:70000\"", "2:8", "port"),
        ("[[inverter]]\nap_address = 0x7F", "2:14", "0xB0"),
        ("[[inverter]]\nap_address = 300", "2:14", "300"),
        (
            "[[inverter]]\nname='a'\nhost='a'\n[[inverter]]\nname='a'\nhost='b'",
            "5:6",
            "both named `a`",
        ),
        (
            "[[inverter]]\nname='a'\nhost='x'\n[[inverter]]\nname='b'\nhost='x'",
            "6:6",
            "both at x:8899",
        ),
        (
            "[[inverter]]\nname='a'\nhost='x'\n[[inverter]]\nname='b'",
            "4:1",
            "each needs a host",
        ),
        ("[sinks.fax]", "1:8", "unknown field `fax`"),
        ("[[tariff]]\nprice = 0.3", "1:1", "`currency`"),
        (
            "[[tariff]]\ncurrency = 'EUR'\nprice = 'dear'",
            "3:9",
            "expected",
        ),
        (
            "[[tariff]]\ncurrency = 'EUR'\nprice = 1\ntimes = [{ from = '1 am', to = '02:00', price = 0 }]",
            "4:19",
            "no time of the day",
        ),
        (
            "[[tariff]]\ncurrency = 'EUR'\nprice = 1\ntimes = [\n{ from = '01:00', to = '01:00', price = 0 }]",
            "5:1",
            "no time between",
        ),
        (
            "[[tariff]]\ncurrency = 'EUR'\nprice = 1\n[[tariff]]\ncurrency = 'EUR'\nprice = 1",
            "4:1",
            "without `since`",
        ),
        (
            "[[tariff]]\nsince = '2026-01-01'\ncurrency = 'EUR'\nprice = 1\n\
             [[tariff]]\nsince = '2025-01-01'\ncurrency = 'EUR'\nprice = 1",
            "6:9",
            "put them in order",
        ),
        (
            "[[tariff]]\ncurrency = 'EUR'\nprice = 1\n\
             [[tariff]]\nsince = '2025-01-01'\ncurrency = 'USD'\nprice = 1",
            "6:12",
            "the same currency",
        ),
        ("state_dir = ", "1:13", ""),
        ("[[inverter]]\nmax_power = 'lots'", "2:13", "a whole number"),
        ("timezone = 'Mars/Base'", "1:12", "no time zone"),
        ("[gate]\noff = ['rang']", "2:8", "`zero_meter`"),
        (
            "[meter]\nmax_gap = '9s'",
            "2:11",
            "two poll intervals long, 10s",
        ),
        ("[[inverter]]\nmax_power = 4", "2:13", "like 4000"),
        (
            "[collector]\ndiscovery_addresses = ['fe80::1']",
            "2:23",
            "IPv4",
        ),
    ] {
        let shown = error(text);
        assert!(
            shown.starts_with(&format!("kstar.toml:{place}: ")),
            "{text}\n{shown}"
        );
        assert!(shown.contains(words), "{text}\n{shown}");
        assert!(shown.contains('^'), "{text}\n{shown}");
    }
}

#[test]
#[cfg(feature = "http")]
fn whoever_listens_beyond_this_machine_needs_a_token_or_says_that_none_is_needed() {
    for (text, place, words) in [
        ("[http]", "1:1", "missing field `listen`"),
        (
            "[http]\nlisten = '127.0.0.1'",
            "2:10",
            "like \"127.0.0.1:8099\"",
        ),
        ("[http]\nlisten = 8099", "2:10", "expected a string"),
        (
            "[http]\nlisten = '0.0.0.0:8099'",
            "2:10",
            "allow_without_token",
        ),
        ("[http]\nlisten = '[::]:8099'", "2:10", "needs a `token`"),
        (
            "[http]\nlisten = '127.0.0.1:1'\ntoken = 7",
            "3:9",
            "in quotes",
        ),
        (
            "[http]\nlisten = '127.0.0.1:1'\nport = 1",
            "3:1",
            "`allow_without_token`",
        ),
    ] {
        let shown = error(text);
        assert!(
            shown.starts_with(&format!("kstar.toml:{place}: ")),
            "{text}\n{shown}"
        );
        assert!(shown.contains(words), "{text}\n{shown}");
    }
    for text in [
        "[http]\nlisten = '127.9.9.9:0'",
        "[http]\nlisten = '[::1]:80'",
        "[http]\nlisten = '0.0.0.0:80'\ntoken = 'a'",
        "[http]\nlisten = '0.0.0.0:80'\nallow_without_token = true",
    ] {
        assert!(
            Config::parse(&ConfigFile::new("kstar.toml", text)).is_ok(),
            "{text}"
        );
    }
}

#[test]
#[cfg(not(feature = "http"))]
fn a_section_that_is_not_built_is_said() {
    let shown = error("[http]\nlisten = '127.0.0.1:8099'");
    assert!(shown.starts_with("kstar.toml:1:"), "{shown}");
    assert!(shown.contains("--features http"), "{shown}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = ConfigFile::read(Path::new("/no/such/kstar.toml"))
        .expect_err("no such file")
        .to_string();
    assert!(
        error.starts_with("/no/such/kstar.toml: cannot read"),
        "{error}"
    );
}

#[test]
fn an_empty_file_means_one_inverter_to_be_discovered() {
    let config = Config::parse(&ConfigFile::new("kstar.toml", "")).expect("nothing is wrong");
    let [inverter] = &config.inverters()[..] else {
        panic!("one inverter")
    };
    assert_eq!(inverter.name.as_str(), "inverter");
    assert_eq!(
        inverter.context(&config.collector).target,
        Target::Discovered {
            greeted: Vec::new()
        }
    );
}

#[test]
fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
    let at = |host: &str, port| {
        Ok(Host::At {
            host: host.to_owned(),
            port,
        })
    };
    assert_eq!("192.168.1.50".parse(), at("192.168.1.50", None));
    assert_eq!("192.168.1.50:9000".parse(), at("192.168.1.50", Some(9000)));
    assert_eq!("inverter.lan".parse(), at("inverter.lan", None));
    assert_eq!("inverter.lan:1".parse(), at("inverter.lan", Some(1)));
    assert_eq!("[fe80::1]:9000".parse(), at("fe80::1", Some(9000)));
    assert_eq!("fe80::1".parse(), at("fe80::1", None));
    assert_eq!("0.0.0.0".parse(), Ok(Host::Anywhere));
    for wrong in ["", ":8899", "a:", "a:0", "http://a", "a/b"] {
        assert!(wrong.parse::<Host>().is_err(), "{wrong}");
    }
}

#[test]
#[cfg(feature = "aa55")]
fn an_inverter_is_asked_as_its_section_says_else_the_collectors_else_as_its_family_needs() {
    let paces = |text: &str| {
        let config = Config::parse(&ConfigFile::new("kstar.toml", text)).expect("nothing is wrong");
        let inverters = config.inverters();
        let contexts = inverters.iter().map(|one| one.context(&config.collector));
        let paces: Vec<(u64, u64, u32)> = contexts
            .map(|context| {
                let patience = context.patience;
                (
                    context.interval.as_secs(),
                    patience.timeout.as_secs(),
                    patience.tries,
                )
            })
            .collect();
        (paces, config.poll_interval().as_secs())
    };
    assert_eq!(paces(""), (vec![(5, 2, 3)], 5));
    assert_eq!(
        paces("[collector]\ntimeout = \"4s\"\ntries = 1"),
        (vec![(5, 4, 1)], 5)
    );
    let own = "[collector]\npoll_interval = \"7s\"\n\
               [[inverter]]\nname = \"a\"\nhost = \"a\"\npoll_interval = \"1m\"\ntimeout = \"9s\"\ntries = 2\n\
               [[inverter]]\nname = \"b\"\nhost = \"b\"\n";
    assert_eq!(paces(own), (vec![(60, 9, 2), (7, 2, 3)], 60));
    #[cfg(feature = "modbus")]
    {
        let hybrid = "[[inverter]]\nfamily = \"kstar-hybrid\"\n";
        assert_eq!(paces(hybrid), (vec![(5, 3, 3)], 5));
        let collector = format!("[collector]\ntimeout = \"2s\"\n{hybrid}");
        assert_eq!(paces(&collector), (vec![(5, 2, 3)], 5));
    }
    let wrong = error("[[inverter]]\npoll_interval = \"500ms\"\n");
    assert!(wrong.contains("kstar.toml:2:17"), "{wrong}");
}

#[cfg(all(feature = "aa55", feature = "modbus"))]
#[test]
fn inverters_at_one_host_need_a_unit_each() {
    let two = |first: &str, second: &str| {
        format!(
            "[[inverter]]\nname = \"a\"\nhost = \"stick\"\n{first}\n\
             [[inverter]]\nname = \"b\"\nhost = \"stick\"\n{second}\n"
        )
    };
    let unit = |unit: u8| format!("family = \"kstar-hybrid\"\nunit = {unit}");
    let parse = |text: &str| Config::parse(&ConfigFile::new("kstar.toml", text));
    let right = parse(&two(&unit(1), &unit(2))).expect("one stick, two inverters");
    assert_eq!(right.inverters().len(), 2);
    let same = error(&two(&unit(2), &unit(2)));
    assert!(same.contains("need a `unit` each"), "{same}");
    let without = error(&two("", &unit(2)).replace("\"stick\"", "\"stick:8899\""));
    assert!(without.contains("are both at stick:8899"), "{without}");
}

#[test]
fn a_title_is_any_text_on_a_line_and_goes_to_those_who_look_with_the_family() {
    let config: Config =
        toml::from_str("[[inverter]]\nname = 'roof'\ntitle = ' Süddach \"A\" '").unwrap();
    let nameplate = config.inverters()[0].nameplate();
    assert_eq!(nameplate.title.as_deref(), Some("Süddach \"A\""));
    assert!(nameplate.family.is_some());
    for title in ["", "  ", "a\\nb", &"x".repeat(65)] {
        let text = error(&format!("[[inverter]]\ntitle = \"{title}\""));
        assert!(text.contains("cannot be a title"), "{text}");
        assert!(text.contains(":2:"), "{text}");
    }
}
