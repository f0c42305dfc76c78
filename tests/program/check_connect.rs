//! `kstar check --connect`: each thing that can be wrong is told by its symptom with what fixes it, and is good once
//! it is fixed. What brokers do that refuse and misbehave is tested in `sinks/mqtt`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;

use kstar_simulator::encode::{DeviceInfo, Request, device_info, readdressed};
use kstar_simulator::faults::{Fault, Faults};
use serde_json::Value;

use crate::influxdb::Influxdb;
use crate::modules::{Modules, free_ip};
use crate::mqtt::Broker;
use crate::process::{Ended, Process, ended, kstar};
use crate::world::{BOTH_SINKS, Folder, Peer, SmallDisk, closed_port, kstar_without_privileges};

/// What `check --connect` has found.
#[derive(Debug)]
struct Found {
    ended: Ended,
    findings: Vec<Value>,
}

impl Found {
    fn by(command: &mut Command) -> Self {
        let ended = ended(command);
        let parse = |line: &String| serde_json::from_str(line).expect(line);
        let findings = ended.stdout.iter().map(parse).collect();
        Self { ended, findings }
    }

    #[track_caller]
    fn about(&self, part: &str, about: &str) -> &Value {
        self.findings
            .iter()
            .find(|finding| finding["part"] == part && finding["about"] == about)
            .unwrap_or_else(|| panic!("nothing about {part}: {about} in {self:#?}"))
    }

    #[track_caller]
    fn said(&self, verdict: &str, part: &str, about: &str, words: &str) -> &Value {
        let finding = self.about(part, about);
        assert_eq!(finding["verdict"], verdict, "{self:#?}");
        let said = finding["said"].as_str().expect("text");
        assert!(said.contains(words), "{words}: {said}");
        finding
    }

    #[track_caller]
    fn good(&self, part: &str, about: &str, words: &str) {
        self.said("good", part, about, words);
    }

    /// It says so, names a fix, and is explained in the documentation.
    #[track_caller]
    fn note(&self, part: &str, about: &str, words: &str, fix: &str) {
        let finding = self.said("note", part, about, words);
        assert_explained(finding, words, fix);
    }

    /// As [`Self::note`], and the exit code says it too.
    #[track_caller]
    fn wrong(&self, part: &str, about: &str, words: &str, fix: &str) {
        let finding = self.said("wrong", part, about, words);
        assert_explained(finding, words, fix);
        assert_eq!(self.ended.status.code(), Some(1), "{self:#?}");
    }

    #[track_caller]
    fn all_well(&self) {
        assert_eq!(self.ended.status.code(), Some(0), "{self:#?}");
    }
}

#[track_caller]
fn assert_explained(finding: &Value, words: &str, fix: &str) {
    let named = finding["fix"].as_str().expect("a fix");
    assert!(named.contains(fix), "{fix}: {named}");
    let page = include_str!("../../docs/troubleshooting.md");
    assert!(
        page.contains(words),
        "docs/troubleshooting.md lacks: {words}"
    );
}

const ARGS: [&str; 3] = ["check", "--connect", "--json"];

fn check(folder: &Folder) -> Found {
    Found::by(&mut kstar(folder.path(), ARGS))
}

/// A configuration whose polls take no time, for these inverters.
fn config(inverters: &[(&str, &str)], rest: &str) -> String {
    let mut text = "state_dir = \"state\"\n\
        [collector]\npoll_interval = \"1s\"\nallow_fast_polling = true\ntimeout = \"2s\"\n"
        .to_owned();
    for (name, host) in inverters {
        writeln!(text, "[[inverter]]\nname = \"{name}\"\nhost = \"{host}\"").expect("text");
    }
    text + rest
}

/// As [`config`], where many polls are lost: that must not take indefinitely.
fn impatient_config(inverters: &[(&str, &str)]) -> String {
    config(inverters, "[sinks.stdout]\n").replace("\"2s\"", "\"500ms\"")
}

const ROOF: &str = "inverter roof";
const HERE: &str = "this machine";

#[test]
fn where_all_is_well_everything_is_good_and_nothing_is_left_behind() {
    let (broker, influxdb) = (Broker::start(), Influxdb::start(""));
    influxdb.query("CREATE DATABASE solar", &[]);
    let mut modules = Modules::new();
    let host = modules.add(&Faults::default()).to_string();
    let folder = Folder::with_config(&config(
        &[("roof", &host)],
        &format!(
            "{BOTH_SINKS}[sinks.mqtt]\nurl = \"{}\"\n{}",
            broker.url(),
            influxdb.section("")
        ),
    ));
    let listener = broker.listen();
    let found = check(&folder);
    found.all_well();
    for finding in &found.findings {
        assert_eq!(finding["verdict"], "good", "{finding}");
        assert_eq!(finding.get("fix"), None, "{finding}");
    }
    found.good(ROOF, "WiFi module", "answers the greeting");
    found.good(ROOF, "replies", "answered 5 of 5 polls in ");
    found.good("sink sqlite", "space", "left on its disk");
    found.good("sink mqtt", "publishing", "kstar/roof/check arrives");
    found.good("sink influxdb", "writing", "solar");
    found.good("sink influxdb", "clock", "agrees");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["kstar.toml"]);
    assert_eq!(influxdb.query("SHOW SERIES", &[]), Value::Null);
    broker.say("end", "of it");
    listener.wait_for_line("the end", |line| line.contains(" end "));
    let heard = listener.printed();
    let mut topics: Vec<_> = heard
        .iter()
        .filter_map(|line| Some((line.split(' ').nth(1)?, line.split(' ').nth(2)?)))
        .filter(|(_, topic)| !["ready", "end"].contains(topic))
        .collect();
    topics.sort_unstable();
    assert_eq!(
        topics,
        [
            // The largest announcement, and its removal.
            ("0", "homeassistant/device/kstar_roof/check"),
            ("0", "homeassistant/device/kstar_roof/check"),
            ("0", "kstar/roof/check")
        ]
    );

    // For people: a line for each finding, and a sum.
    let text = ended(&mut kstar(folder.path(), ["check", "--connect"])).expect_code(0);
    assert_eq!(text.stdout.len(), found.findings.len() + 1, "{text:#?}");
    assert_eq!(text.stdout.last().map(String::as_str), Some("all is well"));
}

/// What GoodWe's second generation answers to 0102, as one who asks as C0 hears it.
const SECOND_GENERATION: &str =
    include_str!("../../sources/aa55/tests/packets/second-generation-device-info.hex");

/// An inverter that answers 0102 alone.
fn only_device_info(reply: Vec<u8>) -> Peer {
    Peer::answering(move |datagram| match Request::parse(datagram)? {
        (Request::DeviceInfo, master) => readdressed(&reply, master),
        _ => None,
    })
}

#[test]
fn an_inverter_that_only_tells_who_it_is_is_named_with_what_can_be_done() {
    let packet: Vec<u8> = (0..SECOND_GENERATION.trim().len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&SECOND_GENERATION[at..at + 2], 16).expect("hex"))
        .collect();
    let known = device_info(DeviceInfo::Text77, "KSE4000S00000001", "KSE4000");
    let peers = [packet, Request::DeviceInfo.reply(0xB0, &known)]
        .map(|reply| only_device_info(reply).address.to_string());
    let folder = Folder::with_config(
        &impatient_config(&[("second", &peers[0]), ("stuck", &peers[1])]).replacen(
            "name = \"second\"",
            "name = \"second\"\nap_address = 0xC0",
            1,
        ),
    );
    let found = check(&folder);
    let modbus = "it tells its values by Modbus only";
    found.wrong("inverter second", "replies", modbus, "TCP port 502");
    let who = "second generation (ES, EM, BP G2), serial number 56000ESN000W0001";
    found.said("wrong", "inverter second", "replies", who);
    found.wrong(
        "inverter stuck",
        "replies",
        "but sends no running data",
        "ten seconds",
    );
    let who = "model KSE4000, serial number KSE4000S00000001";
    found.said("wrong", "inverter stuck", "replies", who);
}

#[test]
fn an_inverter_that_does_not_answer_is_told_by_its_symptom() {
    let mut modules = Modules::new();
    let asleep = modules.add(&Faults::always(Fault::Drop)).to_string();
    let crossed = modules.add(&Faults::always(Fault::Function)).to_string();
    let mute = Peer::new(None).address.to_string();
    let web = Peer::new(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let modbus = Peer::new(Some(&[0xAA, 0x55, 0xF7, 0x83, 0x02, 0x20, 0xC3]));
    let mirror = Peer::new(Some(&[
        0xAA, 0x55, 0xB0, 0x7F, 0x01, 0x06, 0x00, 0x02, 0x35,
    ]));
    let peers = [&web, &modbus, &mirror].map(|peer| peer.address.to_string());
    let closed = closed_port();
    // In two parts: each of those that are silent is asked in every way that there is.
    let folder = Folder::with_config(&impatient_config(&[
        ("asleep", &asleep),
        ("crossed", &crossed),
        ("mute", &mute),
        ("web", &peers[0]),
    ]));
    let mut found = check(&folder);
    folder.write(
        "kstar.toml",
        impatient_config(&[
            ("modbus", &peers[1]),
            ("mirror", &peers[2]),
            ("closed", &closed.to_string()),
            ("everybody", "255.255.255.255"),
            ("nameless", "no-such-host.invalid"),
        ]),
    );
    found.findings.extend(check(&folder).findings);
    for (name, about, words, fix) in [
        (
            "asleep",
            "replies",
            "the inverter behind it does not",
            "sleep at night",
        ),
        (
            "crossed",
            "replies",
            "sends replies to others' requests",
            "stop the other poller",
        ),
        ("mute", "replies", "no answer from", "firewall"),
        (
            "web",
            "replies",
            "is no reply:",
            "check that `host` is the inverter",
        ),
        (
            "modbus",
            "replies",
            "answers by Modbus",
            "`family = \"goodwe-et\"`",
        ),
        ("mirror", "replies", "sends our own request back", "`host`"),
        ("closed", "replies", "nobody listens at", "kstar discover"),
        ("everybody", "replies", "lets no request out to", "firewall"),
        (
            "nameless",
            "address",
            "cannot resolve the host name",
            "`host`",
        ),
    ] {
        found.wrong(&format!("inverter {name}"), about, words, fix);
    }
    found.note(
        "inverter closed",
        "WiFi module",
        "no answer to the greeting",
        "its replies",
    );
    // Mended: an address that answers takes the place of each, and at the closed port something listens.
    modules.at(closed);
    let right: Vec<(&str, String)> = [
        "asleep",
        "crossed",
        "mute",
        "web",
        "modbus",
        "mirror",
        "everybody",
        "nameless",
    ]
    .map(|name| (name, modules.add(&Faults::default()).to_string()))
    .into_iter()
    .chain([("closed", closed.to_string())])
    .collect();
    let right: Vec<(&str, &str)> = right.iter().map(|(name, host)| (*name, &**host)).collect();
    folder.write("kstar.toml", config(&right, "[sinks.stdout]\n"));
    let found = check(&folder);
    found.all_well();
    found.good(
        "inverter closed",
        "WiFi module",
        "which is not needed with `host`",
    );
    for (name, _) in right {
        found.good(&format!("inverter {name}"), "replies", "answered 5 of 5");
    }
}

/// The program in a network of its own, which has these routes to itself. `None` where that is not to be had.
fn check_in_a_network(folder: &Folder, routes: &str) -> Option<Found> {
    let possible = Command::new("unshare").args(["-rn", "true"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        assert!(
            std::env::var_os("CI").is_none(),
            "no network of one's own here, and CI must not leave this test out"
        );
        let loud = b"NOT TRIED: a network of one's own is not to be had here\n";
        std::io::Write::write_all(&mut std::io::stderr(), loud).expect("written");
        return None;
    }
    let mut command = kstar(folder.path(), ARGS);
    let program = command.get_program().to_owned();
    let mut inside = Command::new("unshare");
    inside
        .args(["-rn", "sh", "-c"])
        .arg(format!("ip link set lo up; {routes} exec \"$0\" \"$@\""))
        .arg(program)
        .args(ARGS)
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env_remove("KSTAR_CONFIG");
    command = inside;
    Some(Found::by(&mut command))
}

#[test]
fn an_inverter_in_another_network_is_told_from_one_that_is_off() {
    let folder = Folder::with_config(&config(&[("roof", "192.0.2.1")], "[sinks.stdout]\n"));
    let there = "ip route add 192.0.2.0/24 dev lo;";
    if let Some(found) = check_in_a_network(&folder, there) {
        let words = "which is in another network than this machine";
        found.wrong(ROOF, "replies", words, "router");
        let words = "without the pause that inverters need";
        found.note(ROOF, "polling", words, "allow_fast_polling");
    }
    if let Some(found) = check_in_a_network(&folder, "") {
        found.wrong(ROOF, "replies", "there is no way to", "route");
    }
    let text = config(&[], "[sinks.stdout]\n");
    folder.write(
        "kstar.toml",
        text.replace(
            "timeout",
            "discovery_addresses = [\"192.0.2.255\"]\ntimeout",
        ),
    );
    if let Some(found) = check_in_a_network(&folder, "") {
        let words = "cannot broadcast to find an inverter";
        found.wrong("inverter inverter", "address", words, "`host`");
    }
}

#[test]
fn an_inverter_is_found_by_broadcast_or_it_is_said_why_not() {
    let mut modules = Modules::new();
    let discovered = |addresses: &[Ipv4Addr]| {
        let list: Vec<_> = addresses.iter().map(|ip| format!("\"{ip}\"")).collect();
        config(&[], "[sinks.stdout]\n").replace(
            "timeout",
            &format!("discovery_addresses = [{}]\ntimeout", list.join(", ")),
        )
    };
    let name = "inverter inverter";
    let folder = Folder::with_config(&discovered(&[free_ip()]));
    let found = check(&folder);
    found.wrong(
        name,
        "address",
        "no inverter answered the broadcast",
        "`host`",
    );
    let first = modules.add(&Faults::default());
    folder.write("kstar.toml", discovered(&[first]));
    let found = check(&folder);
    found.all_well();
    found.good(name, "address", &format!("found {first}"));
    found.good(name, "replies", "answered 5 of 5");
    let second = modules.add(&Faults::default());
    folder.write("kstar.toml", discovered(&[first, second]));
    let found = check(&folder);
    found.all_well();
    found.note(
        name,
        "address",
        "inverters answered the broadcast; only",
        "kstar discover",
    );
}

#[test]
fn loss_and_replies_for_others_are_seen() {
    let mut modules = Modules::new();
    let half = |fault| {
        let mut faults = Faults::default();
        faults.set(fault, 0.5);
        faults
    };
    let lossy = modules.add(&half(Fault::Drop)).to_string();
    let crossed = modules.add(&half(Fault::Function)).to_string();
    let cut = modules.add(&half(Fault::Checksum)).to_string();
    let inverters = [("lossy", &*lossy), ("crossed", &crossed), ("cut", &cut)];
    let folder = Folder::with_config(&impatient_config(&inverters));
    // Their faults follow from their seed, so that some of ten polls are answered and some are not.
    let mut command = kstar(folder.path(), ARGS);
    let found = Found::by(command.args(["--polls", "10"]));
    found.note("inverter lossy", "replies", "of 10 polls", "WiFi");
    found.wrong(
        "inverter crossed",
        "other pollers",
        "replies to others' requests came among ours",
        "stop the other poller",
    );
    found.note(
        "inverter cut",
        "datagrams",
        "broken and passed over:",
        "WiFi",
    );
}

#[test]
fn while_a_collector_polls_the_inverter_it_is_not_asked_unless_forced() {
    let mut modules = Modules::new();
    let host = modules.add(&Faults::default()).to_string();
    let slow = config(&[("roof", &host)], BOTH_SINKS).replace("\"1s\"", "\"1h\"");
    let folder = Folder::with_config(&slow);
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("identified");
    let before = modules.requests();
    let found = check(&folder);
    found.all_well();
    let process = format!("process {} ", run.pid());
    found.note(ROOF, "other pollers", "so nothing was asked", "--force");
    found.said("note", ROOF, "other pollers", &process);
    found.note(
        HERE,
        "collector",
        "runs with this state folder",
        "state_dir",
    );
    found.said("note", HERE, "collector", &process);
    found.said("good", "sink sqlite", "lock", &process);
    assert_eq!(modules.requests(), before);
    let mut forced = kstar(folder.path(), ARGS);
    let found = Found::by(forced.args(["--force", "--polls", "2"]));
    found.good(ROOF, "replies", "answered 2 of 2");
    assert_eq!(modules.requests(), before + 2);
    run.stop().expect_code(0);
    let found = check(&folder);
    found.good(ROOF, "replies", "answered 5 of 5");
    found.good("sink sqlite", "lock", "no other program");
    found.good("sink sqlite", "file", "of 1 inverter");
}

#[test]
fn this_machine_is_looked_at_first() {
    let mut modules = Modules::new();
    let host = modules.add(&Faults::default()).to_string();
    let text = config(&[("roof", &host)], "[sinks.stdout]\n");
    let folder = Folder::with_config(&text);
    folder.write("state", "a file where the folder should be");
    check(&folder).wrong(HERE, "state folder", "cannot be written to", "state_dir");
    std::fs::remove_file(folder.join("state")).expect("removed");
    check(&folder).good(HERE, "state folder", "/state is writable");

    folder.write("kstar.toml", format!("timezone = \"Asia/Tokyo\"\n{text}"));
    let mut command = kstar(folder.path(), ARGS);
    let found = Found::by(command.env("TZ", "Europe/London"));
    found.note(HERE, "time zone", "and the system's zone is", "`timezone`");
    let mut command = kstar(folder.path(), ARGS);
    let found = Found::by(command.env("TZ", "Asia/Tokyo"));
    found.good(HERE, "time zone", "days end at midnight of Asia/Tokyo");
    found.all_well();
}

#[test]
fn a_disk_that_is_nearly_full_is_said_in_time() {
    let mut modules = Modules::new();
    let host = modules.add(&Faults::default()).to_string();
    let text = config(
        &[("roof", &host)],
        "[sinks.sqlite]\npath = \"small/history.db\"\n",
    );
    let folder = Folder::with_config(&text.replace("\"state\"", "\"small\""));
    let place = folder.join("small");
    let Some(disk) = SmallDisk::mount(&place, 1024) else {
        return;
    };
    let found = check(&folder);
    found.note(HERE, "state folder", "left on the disk of", "make room");
    found.wrong("sink sqlite", "space", "left on its disk", "make room");
    std::fs::write(place.join("film"), vec![0; 2 << 20]).expect_err("it is full");
    check(&folder).wrong(
        HERE,
        "state folder",
        "cannot be written to",
        "make room on its disk",
    );
    drop(disk);
    let found = check(&folder);
    found.all_well();
    found.good("sink sqlite", "space", "left on its disk");
}

#[test]
fn a_history_that_cannot_be_written_is_told_with_the_way_out() {
    let mut modules = Modules::new();
    let host = modules.add(&Faults::default()).to_string();
    let folder = Folder::with_config(&config(
        &[("roof", &host)],
        "[sinks.sqlite]\npath = \"history.db\"\n",
    ));
    let path = folder.join("history.db");
    let sqlite = "sink sqlite";
    let again = |words: &str, fix: &str| {
        check(&folder).wrong(sqlite, "file", words, fix);
        std::fs::remove_file(&path).expect("removed");
    };

    std::fs::create_dir(&path).expect("a folder");
    check(&folder).wrong(sqlite, "file", "is a folder", "history.db/history.db");
    std::fs::remove_dir(&path).expect("removed");
    folder.write(
        "history.db",
        "not a database, but long enough to be taken for one at first",
    );
    again("is no SQLite database", "another `path`");
    let other = |sql: &str| {
        let database = rusqlite::Connection::open(&path).expect("a database");
        database.execute_batch(sql).expect("SQL");
    };
    other("CREATE TABLE songs (name TEXT)");
    again("is another program's database", "another `path`");
    other("PRAGMA application_id = 0x6b737472; PRAGMA user_version = 999; CREATE TABLE a (b)");
    again("was written by a later version", "install that version");

    // A real one, locked, damaged, and of another user.
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("delivering");
    run.stop().expect_code(0);
    check(&folder).good(sqlite, "file", "is writable and ours");
    let whole = std::fs::read(&path).expect("a file");
    let database = rusqlite::Connection::open(&path).expect("a database");
    database
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; CREATE TABLE x (y);")
        .expect("locked");
    let found = check(&folder);
    found.wrong(sqlite, "lock", "is locked by", "end that program");
    let holder = format!("process {} ", std::process::id());
    found.said("wrong", sqlite, "lock", &holder);
    drop(database);
    check(&folder).good(sqlite, "lock", "no other program");

    // The second page holds the root of some table.
    let mut damaged = whole.clone();
    let page = usize::from(u16::from_be_bytes([whole[16], whole[17]]));
    damaged[page..2 * page].fill(0x5A);
    folder.write("history.db", damaged);
    let found = check(&folder);
    assert_eq!(found.ended.status.code(), Some(1), "{found:#?}");
    let said = format!("{:?}", found.findings);
    assert!(
        said.contains("is damaged: ") && said.contains(".recover"),
        "{said}"
    );
    folder.write("history.db", whole);
    check(&folder).good(sqlite, "integrity", "no damage");

    let theirs = Found::by(&mut kstar_without_privileges(&folder, &ARGS));
    theirs.wrong(sqlite, "file", "is read-only", "let this user write");
}

#[test]
fn a_broker_that_is_not_there_and_one_that_is() {
    let mut modules = Modules::new();
    let host = modules.add(&Faults::default()).to_string();
    let broker = Broker::start();
    let section = |url: &str| {
        let sink = format!("[sinks.mqtt]\nurl = \"{url}\"\nhome_assistant.discovery = \"off\"\n");
        config(&[("roof", &host)], &sink)
    };
    let folder = Folder::with_config(&section("mqtt://no-such-broker.invalid"));
    let mqtt = "sink mqtt";
    check(&folder).wrong(mqtt, "name", "of the broker does not resolve", "`url`");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    folder.write("kstar.toml", section(&format!("mqtt://{address}")));
    check(&folder).wrong(mqtt, "connection", "refuses the connection", "broker runs");
    folder.write("kstar.toml", section(&broker.url()));
    let found = check(&folder);
    found.all_well();
    found.good(mqtt, "publishing", "arrives");
}

#[test]
fn an_influxdb_that_lets_nothing_in_and_one_that_does() {
    let influxdb = Influxdb::start("auth-enabled = true");
    influxdb.query(
        "CREATE USER admin WITH PASSWORD 'secret' WITH ALL PRIVILEGES",
        &[],
    );
    let admin = ["-username", "admin", "-password", "secret"];
    let mut modules = Modules::new();
    let host = modules.add(&Faults::default()).to_string();
    let section = |lines: &str| config(&[("roof", &host)], &influxdb.section(lines));
    let user = |password: &str| format!("username = \"admin\"\npassword = \"{password}\"");
    let name = "sink influxdb";
    let folder = Folder::with_config(&section(&user("hunter2")));
    let found = check(&folder);
    found.wrong(
        name,
        "writing",
        "does not know us",
        "`username` and `password`",
    );
    assert!(!format!("{found:?}").contains("hunter2"));
    folder.write("kstar.toml", section(&user("secret")));
    check(&folder).wrong(name, "writing", "has no database", "CREATE DATABASE");
    influxdb.query("CREATE DATABASE solar", &admin);
    let found = check(&folder);
    found.all_well();
    found.good(name, "writing", "we may write to the database");

    let nowhere = section("").replace("127.0.0.1", "no-such-server.invalid");
    folder.write("kstar.toml", nowhere);
    check(&folder).wrong(name, "name", "does not resolve", "`url`");
    let port = closed_port().port();
    let closed =
        format!("[sinks.influxdb]\nurl = \"http://127.0.0.1:{port}\"\ndatabase = \"solar\"\n");
    folder.write("kstar.toml", config(&[("roof", &host)], &closed));
    check(&folder).wrong(
        name,
        "connection",
        "refuses the connection",
        "InfluxDB runs",
    );
}
