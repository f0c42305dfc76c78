//! The program and an MQTT broker: what a subscriber sees of captured packets, and how the program stops.
//!
//! What the sink does with brokers that die, refuse and misbehave is tested in `sinks/mqtt`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_model::catalogue::Quantity;
use kstar_model::reading::{Inverter, Reading};
use kstar_model::scalar::Kind;
use kstar_model::time::UnixMillis;
use kstar_sink::sink::{Batch, Context, SinkConfig};
use kstar_sink::testing::{record, record_of_line};
use kstar_sink_mqtt::MqttConfig;
use kstar_source_aa55::wire::{ApAddress, Request, reply, running};
use serde_json::Value;

use crate::modules::free_ip;
use crate::process::{Process, kstar, wait_until};
use crate::world::{Folder, Roof};

/// A Mosquitto on a free port, with nothing to remember.
pub(crate) struct Broker {
    child: Child,
    ip: Ipv4Addr,
    port: u16,
    folder: Folder,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// One with this line more in its configuration.
    fn with(line: &str) -> Self {
        // At an address of its own: a port of 127.0.0.1 may be one that another test has closed, whose collector tries it on.
        let ip = free_ip();
        let free = TcpListener::bind((ip, 0)).expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let folder = Folder::new();
        // It would give up its rights and then not read its own folder.
        let root = Command::new("id")
            .arg("-u")
            .output()
            .expect("a shell tool `id`");
        let user = if root.stdout == b"0\n" {
            "user root\n"
        } else {
            ""
        };
        folder.write(
            "conf",
            format!("{user}listener {port} {ip}\nallow_anonymous true\n{line}\n"),
        );
        // Debian keeps it where only root looks.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").expect("a path"));
        let child = Command::new("mosquitto")
            .env("PATH", path)
            .arg("-c")
            .arg(folder.join("conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed; tests/all.sh does that");
        let broker = Self {
            child,
            ip,
            port,
            folder,
        };
        wait_until("the broker listens", || {
            TcpStream::connect((ip, port)).is_ok()
        });
        broker
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}:{}", self.ip, self.port)
    }

    /// Someone who listens to everything: a line for each message with its quality of service, whether it was
    /// retained, its topic and its payload.
    pub(crate) fn listen(&self) -> Process {
        let listener = Process::start(
            Command::new("mosquitto_sub")
                .args(["-h", &self.ip.to_string(), "-q", "2", "-t", "#", "-p"])
                .arg(self.port.to_string())
                .args(["-F", "%q %r %t %p"])
                .stdin(Stdio::null()),
        );
        // It says nothing of its subscription, so it is asked until it hears: by what is acknowledged, which comes behind
        // everything that the broker has retained.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !listener
            .printed()
            .iter()
            .any(|line| line.contains(" ready "))
        {
            assert!(Instant::now() < deadline, "nobody listens");
            self.say("ready", "yes");
        }
        listener
    }

    pub(crate) fn say(&self, topic: &str, payload: &str) {
        let said = Command::new("mosquitto_pub")
            .args([
                "-h",
                &self.ip.to_string(),
                "-q",
                "1",
                "-t",
                topic,
                "-m",
                payload,
                "-p",
            ])
            .arg(self.port.to_string())
            .status();
        assert!(said.expect("mosquitto-clients is installed").success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Messages by topic: quality of service, whether retained, payload.
pub(crate) fn messages(lines: &[String]) -> BTreeMap<String, (String, String, String)> {
    lines
        .iter()
        .map(|line| {
            let mut parts = line.splitn(4, ' ').map(str::to_owned);
            let mut next = || parts.next().unwrap_or_default();
            let (qos, retained, topic) = (next(), next(), next());
            (topic, (qos, retained, next()))
        })
        .collect()
}

/// Captures of running data whose bytes and figures lie beside the repository; none without it, but on CI.
fn captures() -> Vec<(String, Arc<Reading>, Option<Value>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/packets");
    if !folder.is_dir() {
        assert!(
            std::env::var_os("CI").is_none_or(|value| value != "true"),
            "the captures are missing: {}",
            folder.display()
        );
        return Vec::new();
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "hex") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a capture");
        let bytes: Vec<u8> = (0..text.trim().len() / 2)
            .filter_map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok())
            .collect();
        let values = [ApAddress::B0, ApAddress::C0].into_iter().find_map(|ap| {
            let payload = reply(&bytes, Request::RunningData, ap).ok()?;
            running::decode(payload).ok()
        });
        let Some(values) = values else { continue };
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let reading = Reading {
            time: UnixMillis(1_795_305_600_000),
            inverter: Inverter::named("roof"),
            values,
            counted: None,
        };
        let sharp = std::fs::read_to_string(path.with_extension("kstarsharp.json"));
        let sharp = sharp
            .ok()
            .filter(|_| name.contains("kse"))
            .map(|text| serde_json::from_str(&text).expect("JSON"));
        found.push((name, Arc::new(reading), sharp));
    }
    assert!(found.len() >= 10, "only {} captures", found.len());
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_sees_each_capture_as_it_is_and_as_kstar_sharp_says_it() {
    for (name, reading, sharp) in captures() {
        let broker = Broker::start();
        let listener = broker.listen();
        let config = format!(
            "url = \"{}\"\nclient_id = \"test\"\nkstar_sharp_topics = true",
            broker.url()
        );
        let config: MqttConfig = toml::from_str(&config).expect("a section");
        let context = Context {
            inverters: vec!["roof".into()],
            poll_interval: Duration::from_secs(5),
            state_dir: broker.folder.join("state"),
            zone: kstar_model::TimeZone::UTC,
            version: "0.0.0",
        };
        let mut sink = config.open(&context).expect("a sink");
        let batch = [Arc::clone(&reading)];
        sink.deliver(&Batch::new(&batch)).await.expect("delivered");
        sink.close().await.expect("closed");
        listener.wait_for_line("farewell", |line| {
            line.ends_with("kstar/collector/test/status offline")
        });

        let live = messages(&listener.printed());
        let late = broker.listen();
        let kept = messages(&late.printed());
        let mut expected = record(&reading);
        assert_eq!(
            record_of_line(&live["kstar/roof/state"].2),
            expected,
            "{name}"
        );
        expected.retain(|key, _| !matches!(&**key, "inverter" | "time"));
        for quantity in Quantity::ALL {
            let topic = format!("kstar/roof/{quantity}");
            let Some(value) = expected.get(quantity.name()) else {
                assert!(!live.contains_key(&topic), "{name}: {topic}");
                continue;
            };
            assert_eq!(
                (&*live[&topic].0, &live[&topic].2),
                ("1", value),
                "{name}: {topic}"
            );
            let counted = quantity.description().kind == Kind::Counter;
            assert_eq!(kept.contains_key(&topic), counted, "{name}: {topic}");
        }
        assert!(!kept.contains_key("kstar/roof/state"));
        assert!(!kept.keys().any(|topic| topic.starts_with("sensor/")));
        for topic in ["kstar/roof/status", "kstar/collector/test/status"] {
            assert_eq!(
                (&*kept[topic].1, &*kept[topic].2),
                ("1", "offline"),
                "{name}"
            );
        }
        let Some(sharp) = sharp else { continue };
        for (topic, field) in [
            ("pvpower", "PVPower"),
            ("grid", "GridPower"),
            ("grid/import", "mqtt_grid_import"),
            ("grid/export", "mqtt_grid_export"),
            ("load", "LoadPower"),
            ("temp", "InverterTemperature"),
            ("etoday", "EnergyToday"),
        ] {
            let (qos, _, value) = &live[&format!("sensor/inverter/{topic}")];
            let theirs = sharp["formulas_applied_to_the_bytes"][field].as_f64();
            assert_eq!(value.parse().ok(), theirs, "{name}: {topic}");
            assert_eq!(qos, "1", "{name}: {topic}");
        }
    }
}

fn section(url: &str) -> String {
    format!("[sinks.stdout]\n[sinks.mqtt]\nurl = \"{url}\"\nclient_id = \"test\"\n")
}

#[test]
fn a_stop_in_peace_leaves_offline_retained() {
    let (roof, broker) = (Roof::new(1), Broker::start());
    let folder = Folder::with_config(&roof.config(&section(&broker.url())));
    let listener = broker.listen();
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    listener.wait_for_line("a reading", |line| line.contains(" kstar/roof1/pv_power "));
    let online = messages(&broker.listen().printed());
    for topic in ["kstar/collector/test/status", "kstar/roof1/status"] {
        assert_eq!(online[topic].2, "online", "{topic}");
    }
    run.signal("TERM");
    run.end().expect_code(0);
    let kept = messages(&broker.listen().printed());
    for topic in ["kstar/collector/test/status", "kstar/roof1/status"] {
        assert_eq!(
            (&*kept[topic].1, &*kept[topic].2),
            ("1", "offline"),
            "{topic}"
        );
    }
}

#[test]
fn an_announcement_that_is_too_large_for_the_broker_is_named_with_what_to_do() {
    let (roof, broker) = (Roof::new(1), Broker::with("max_packet_size 2000"));
    let folder = Folder::with_config(&roof.config(&section(&broker.url())));
    let listener = broker.listen();
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    listener.wait_for_line("a reading", |line| line.contains(" kstar/roof1/pv_power "));
    let ended = run.stop().expect_code(0);
    let log = ended.err();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("Home Assistant is not told"))
        .collect();
    let [line] = said[..] else {
        panic!("{ended:#?}");
    };
    for words in [
        "topic=\"homeassistant/device/kstar_roof1/config\"",
        "size=",
        "packets of 2000 bytes at most",
        "discovery = \"entity\"",
    ] {
        assert!(line.contains(words), "{words}: {line}");
    }
}

#[test]
fn a_stop_in_an_outage_ends_within_the_grace_and_other_sinks_never_notice() {
    let roof = Roof::new(1);
    let mut broker = Broker::start();
    let config = roof
        .config(&section(&broker.url()))
        .replace("grace = \"8s\"", "grace = \"6s\"");
    let folder = Folder::with_config(&config);
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("delivering sink=\"mqtt\"");
    broker.child.kill().expect("killed");
    let reason = run.wait_for_log("cannot deliver");
    assert!(reason.contains(&broker.url()), "{reason}");
    let printed = run.printed().len();
    run.wait_for_printed(printed + 40);
    let begun = Instant::now();
    run.signal("TERM");
    let ended = run.end();
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    // What waited was not delivered, and that is said.
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    let stdout = ended.counts("stdout");
    assert_eq!(stdout.of("taken"), stdout.of("delivered"));
}
