//! Recordings: what `record` writes of each family, that it tells nobody's numbers, and that it can be played and explained.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use kstar_simulator::modbus::config::{Config, Family, Meter, Via};
use kstar_simulator::modbus::faults::Faults;
use kstar_source::lock::InverterLock;
use kstar_source_modbus::families;
use serde_json::Value;

use crate::modules::Modules;
use crate::process::{Ended, Process, ended, kstar};
use crate::world::{Folder, Row, readings};

/// So that a test need not wait as an inverter does.
const FAST: &str = "[collector]\npoll_interval = \"100ms\"\nallow_fast_polling = true\n";

/// A folder in which inverters are asked without pauses.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("fast.toml", FAST);
    folder
}

/// Records what stands at the port of a module, whatever is spoken there.
fn record(folder: &Folder, place: Ipv4Addr, file: &str, more: &[&str]) -> Ended {
    let place = format!("{place}:8899");
    let args = [
        "record",
        "--config",
        "fast.toml",
        "--host",
        &place,
        "-o",
        file,
        "--polls",
        "3",
    ];
    ended(&mut kstar(folder.path(), [&args, more].concat()))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a recording");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// A reading without what is of its moment.
fn read(folder: &Folder, args: &[&str]) -> Row {
    let args = [&["read", "--json"], args].concat();
    let read = ended(&mut kstar(folder.path(), args)).expect_code(0);
    let mut row = readings(&read.stdout).remove(0);
    for key in ["time", "inverter", "reply_time"] {
        row.remove(key);
    }
    row
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(|pair| byte(pair).expect("hex")).collect()
}

fn hex(bytes: &[u8]) -> String {
    kstar_source::datagram::Hex(bytes).to_string()
}

/// None of these stands in the file, neither as text nor as bytes, nor a part of eight signs of them.
fn assert_private(path: &Path, secrets: &[String], numbers: &[u32]) {
    let text = std::fs::read_to_string(path)
        .expect("a recording")
        .to_lowercase();
    for secret in secrets {
        for part in secret.as_bytes().windows(8.min(secret.len())) {
            // The letters of a serial number may stay.
            if part.iter().filter(|sign| sign.is_ascii_digit()).count() < 4 {
                continue;
            }
            let shown = String::from_utf8_lossy(part).to_lowercase();
            assert!(!text.contains(&shown), "{shown} of {secret}");
            for case in [secret.to_lowercase(), secret.to_uppercase()] {
                assert!(!text.contains(&hex(case.as_bytes())), "{secret}");
            }
            assert!(!text.contains(&hex(part)), "{shown} of {secret} as bytes");
        }
    }
    for number in numbers {
        for bytes in [number.to_le_bytes(), number.to_be_bytes()] {
            assert!(!text.contains(&hex(&bytes)), "{number}");
        }
    }
}

/// Plays a recording, and reads it.
fn played(folder: &Folder, file: &str, more: &[&str]) -> Row {
    let args = [
        &[
            "simulate",
            "--listen",
            "127.0.0.1:0",
            "--no-discovery",
            "--replay",
            file,
        ],
        more,
    ]
    .concat();
    let simulation = Process::start(&mut kstar(folder.path(), args));
    simulation.wait_for_line("the host", |line| line.starts_with("host = "));
    let config = FAST.to_owned() + &simulation.printed().join("\n");
    folder.write("played.toml", config);
    let row = read(folder, &["--config", "played.toml"]);
    simulation.stop().expect_code(0);
    row
}

/// Every machine that has all blocks, and every way.
fn machines() -> [(Config, &'static families::Family); 5] {
    let config = |family, via| {
        let mut config = Config::new(family, 5);
        config.via = via;
        config.speed = 0.0;
        config.plant.packs = 3;
        config.plant.second_battery = family == Family::GoodweEt;
        config.plant.meter = Meter::Registers125;
        config
    };
    [
        (
            config(Family::KstarHybrid, Via::Solarman),
            &families::kstar_hybrid::KSTAR_HYBRID,
        ),
        (
            config(Family::KstarHybrid, Via::ModbusTcp),
            &families::kstar_hybrid::KSTAR_HYBRID,
        ),
        (
            config(Family::GoodweEt, Via::Udp),
            &families::goodwe_et::GOODWE_ET,
        ),
        (
            config(Family::GoodweDt, Via::Udp),
            &families::goodwe_dt::GOODWE_DT,
        ),
        (
            config(Family::GoodweDt, Via::RtuOverTcp),
            &families::goodwe_dt::GOODWE_DT,
        ),
    ]
}

/// Identities are asked for once, so it takes several recordings until each fault has struck one.
#[test]
fn no_fault_brings_a_number_into_a_recording() {
    let mut modules = Modules::new();
    for seed in 1..=6 {
        for (family, via) in [
            (Family::KstarHybrid, Via::Solarman),
            (Family::GoodweEt, Via::Udp),
            (Family::GoodweDt, Via::ModbusTcp),
        ] {
            let mut config = Config::new(family, seed);
            config.via = via;
            config.faults = Faults::parse(via, "all=0.04,truncate=0.15,crc=0.1")
                .or_else(|_| Faults::parse(via, "all=0.04,truncate=0.2"))
                .expect("faults");
            config.stick.push_every = Some(Duration::from_millis(20));
            let place = modules.add_machine(&config);
            let folder = folder();
            folder.write("fast.toml", FAST.to_owned() + "timeout = \"150ms\"\n");
            let family = ["kstar-hybrid", "goodwe-et", "goodwe-dt"][family as usize];
            let how = ["--family", family, "--via", via_name(via)];
            let recorded = record(&folder, place, "faulty.jsonl", &how);
            if recorded.status.success() {
                let secrets = [config.serial, config.mac, place.to_string()];
                let number = (via == Via::Solarman).then_some(config.logger_serial);
                assert_private(&folder.join("faulty.jsonl"), &secrets, number.as_slice());
            }
        }
    }
}

fn via_name(via: Via) -> &'static str {
    match via {
        Via::Udp => "udp",
        Via::Solarman => "solarman",
        Via::ModbusTcp => "modbus-tcp",
        Via::RtuOverTcp => "rtu-over-tcp",
    }
}

#[test]
fn a_recording_of_each_family_tells_nobody_s_numbers_and_is_played_as_it_was() {
    let mut modules = Modules::new();
    for (config, family) in machines() {
        let place = modules.add_machine(&config);
        let folder = folder();
        let via = via_name(config.via);
        let how = ["--family", family.name, "--via", via];
        let file = "recording.jsonl";
        let recorded = record(&folder, place, file, &how).expect_code(0);
        let path = folder.join(file);
        let secrets = [config.serial.clone(), config.mac.clone(), place.to_string()];
        let number = (config.via == Via::Solarman).then_some(config.logger_serial);
        assert_private(&path, &secrets, number.as_slice());
        // To the owner alone.
        assert!(recorded.err().contains(&config.serial), "{recorded:#?}");

        let all = lines(&path);
        assert_eq!(all[0]["family"], family.name);
        assert_eq!(all[0]["via"], via);
        let asked: BTreeSet<&str> = all
            .iter()
            .filter_map(|line| line["block"].as_str())
            .collect();
        for line in all
            .iter()
            .filter(|line| line["block"].is_string() && line["block"] != "greeting")
        {
            // Only a frame whose checksums are right is explained as one.
            let frame = line["frame"].as_str().expect("nothing is lost here");
            let explained = kstar_source_modbus::explain::explain(&unhex(frame));
            assert!(explained.parts[0].what.contains("reply"), "{line}");
            assert_eq!(explained.parts.len(), 1, "{line}");
        }
        for block in family.blocks {
            assert!(asked.contains(block.name), "{} {asked:?}", block.name);
        }

        let place = format!("{place}:8899");
        let mut args = vec!["--config", "fast.toml", "--host", &place];
        args.extend(how);
        let real = read(&folder, &args);
        let again = played(&folder, file, &[]);
        assert_eq!(again, real);
    }
}

#[test]
fn each_field_of_each_family_is_named_in_the_explanation_of_a_recording() {
    let mut modules = Modules::new();
    for (config, family) in machines() {
        let place = modules.add_machine(&config);
        let folder = folder();
        let how = ["--family", family.name, "--via", via_name(config.via)];
        record(&folder, place, "all.jsonl", &how).expect_code(0);
        let explain = ["explain", "--recording", "all.jsonl"];
        let text = ended(&mut kstar(folder.path(), explain)).expect_code(0);
        for line in &text.stdout {
            assert!(line.chars().count() <= 100, "{line}");
        }
        let json = [&explain[..], &["--json"]].concat();
        let json = ended(&mut kstar(folder.path(), json)).expect_code(0);
        let json: Value = serde_json::from_str(&json.out()).expect("JSON");
        let blocks = json["blocks"].as_array().expect("blocks");
        let rows: Vec<&Value> = blocks
            .iter()
            .flat_map(|block| block["registers"].as_array().expect("registers"))
            .collect();
        for field in family.fields {
            let row = rows.iter().find(|row| row["register"] == field.register);
            let row = row.unwrap_or_else(|| panic!("{} {field:?}", family.name));
            let name = field.quantity.name();
            let quantities = row["quantities"].as_array().expect("quantities");
            assert!(quantities.iter().any(|told| told == name), "{row}");
            let meaning = row["meaning"].as_str().expect("a meaning");
            assert!(meaning.contains(name), "{row}");
            assert!(text.out().contains(name), "{name}");
        }
        for (register, _, what) in family.notes {
            let row = rows.iter().find(|row| row["register"] == *register);
            let told =
                row.is_none_or(|row| row["meaning"].as_str().is_some_and(|m| m.contains(what)));
            assert!(told, "{register} {what} {row:?}");
        }
    }
}

#[test]
fn a_recording_of_a_kse_is_played_with_its_device_info() {
    let mut modules = Modules::new();
    let place = modules.add(&kstar_simulator::faults::Faults::default());
    let folder = folder();
    let recorded = record(&folder, place, "kse.jsonl", &[]).expect_code(0);
    let config = kstar_simulator::Config::new(7);
    let path = folder.join("kse.jsonl");
    let secrets = [config.serial.clone(), config.mac, place.to_string()];
    assert_private(&path, &secrets, &[]);
    let all = lines(&path);
    assert_eq!(all[0]["family"], "kse");
    let asked: Vec<&str> = all
        .iter()
        .filter_map(|line| line["block"].as_str())
        .collect();
    let expected = [
        "greeting",
        "running_data",
        "device_info",
        "settings",
        "running_data",
        "running_data",
    ];
    assert_eq!(asked, expected);

    let shown = recorded.err();
    let new = shown
        .lines()
        .find_map(|line| line.split_once(&format!("{} -> ", config.serial)));
    let (_, serial) = new.expect("the serial number is replaced");
    let args = [
        "simulate",
        "--listen",
        "127.0.0.1:0",
        "--no-discovery",
        "--replay",
        "kse.jsonl",
    ];
    let simulation = Process::start(&mut kstar(folder.path(), args));
    simulation.wait_for_line("the host", |line| line.starts_with("host = "));
    folder.write(
        "played.toml",
        FAST.to_owned() + &simulation.printed().join("\n"),
    );
    let device = ["read", "--config", "played.toml", "--device", "--json"];
    let device = ended(&mut kstar(folder.path(), device)).expect_code(0);
    assert_eq!(readings(&device.stdout)[0]["serial"], serial);
    let row = read(&folder, &["--config", "played.toml"]);
    let first = all.iter().find(|line| line["block"] == "running_data");
    let frame = first.expect("running data")["reply"]
        .as_str()
        .expect("a reply");
    let explain = ["explain", "--json", frame];
    let explained = ended(&mut kstar(folder.path(), explain)).expect_code(0);
    let explained: Value = serde_json::from_str(&explained.out()).expect("JSON");
    let values = explained["parts"][0]["values"].as_object().expect("values");
    assert_eq!(values["pv1_voltage"], row["pv1_voltage"]);
    let text = ended(&mut kstar(
        folder.path(),
        ["explain", "--recording", "kse.jsonl"],
    ));
    let text = text.expect_code(0).out();
    assert!(text.contains("vpv1") && text.contains(serial), "{text}");
}

#[test]
fn a_family_that_is_not_said_is_found_out_and_nobody_is_said_so() {
    let mut modules = Modules::new();
    let config = Config::new(Family::GoodweEt, 2);
    let place = modules.add_machine(&config);
    let folder = folder();
    record(&folder, place, "et.jsonl", &[]).expect_code(0);
    assert_eq!(lines(&folder.join("et.jsonl"))[0]["family"], "goodwe-et");
    // Where a collector polls there is a way on.
    let lock = InverterLock::take((place, 8899).into());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let lock = runtime.expect("a runtime").block_on(lock);
    let polled = record(&folder, place, "polled.jsonl", &[]).expect_code(1);
    assert!(polled.err().contains("--force"), "{polled:#?}");
    let how = ["--force", "--family", "goodwe-et"];
    record(&folder, place, "polled.jsonl", &how).expect_code(0);
    drop(lock);
    // What was written is not written over.
    let again = record(&folder, place, "et.jsonl", &[]).expect_code(1);
    assert!(again.err().contains("cannot write et.jsonl"), "{again:#?}");
    let nobody = crate::modules::free_ip();
    let nobody = record(&folder, nobody, "none.jsonl", &[]).expect_code(1);
    assert!(nobody.err().contains("--family"), "{nobody:#?}");
    assert!(!folder.join("none.jsonl").exists());
}

#[test]
fn a_recording_is_played_by_another_way() {
    let mut modules = Modules::new();
    let mut config = Config::new(Family::GoodweDt, 3);
    config.speed = 0.0;
    let place = modules.add_machine(&config);
    let folder = folder();
    let how = ["--family", "goodwe-dt"];
    record(&folder, place, "dt.jsonl", &how).expect_code(0);
    let over_udp = played(&folder, "dt.jsonl", &[]);
    assert_eq!(
        played(&folder, "dt.jsonl", &["--via", "modbus-tcp"]),
        over_udp
    );
    let args = ["simulate", "--family", "goodwe-et", "--replay", "dt.jsonl"];
    let wrong = ended(&mut kstar(folder.path(), args)).expect_code(2);
    assert!(
        wrong.err().contains("of the family goodwe-dt"),
        "{wrong:#?}"
    );
}

#[test]
fn a_file_that_is_no_recording_is_refused_with_the_line() {
    let folder = folder();
    let header = r#"{"kstar_recording":1,"program":"0","family":"kse","time":"t"}"#;
    let exchange = r#"{"time":"t","block":"b","request":"aa55"}"#;
    for (content, said) in [
        (String::new(), "is empty"),
        ("aa55b07f\n".to_owned(), "line 1: no JSON object"),
        (
            format!("{exchange}\n"),
            "line 1: the first line of a recording has",
        ),
        (
            header.replace(":1", ":2") + "\n",
            "line 1: a recording of another version",
        ),
        (
            header.replace("kse", "elsewhere") + "\n",
            "line 1: `elsewhere` is no family",
        ),
        (
            format!("{header}\n{exchange}\n{{\"time\"}}\n"),
            "line 3: no JSON object",
        ),
        (
            format!("{header}\n{}", &exchange[..20]),
            "line 2: the file ends in the middle",
        ),
        (
            format!("{header}\n{}\n", exchange.replace("aa55", "aa5")),
            "line 2: `aa5` is no text of",
        ),
        (
            format!("{header}\n{}\n", exchange.replace("block", "blok")),
            "line 2: unknown field `blok`",
        ),
        (
            format!("{header}\n{}\n", "{".repeat(20_000)),
            "line 2: longer than 16384 bytes",
        ),
    ] {
        folder.write("wrong.jsonl", content);
        let explain = ["explain", "--recording", "wrong.jsonl"];
        let wrong = ended(&mut kstar(folder.path(), explain)).expect_code(1);
        assert!(wrong.err().contains(said), "{said}: {wrong:#?}");
        assert_eq!(wrong.out(), "");
    }
    folder.write("empty.jsonl", format!("{header}\n"));
    let args = ["simulate", "--replay", "empty.jsonl"];
    let empty = ended(&mut kstar(folder.path(), args)).expect_code(1);
    assert!(empty.err().contains("holds no running data"), "{empty:#?}");
}
