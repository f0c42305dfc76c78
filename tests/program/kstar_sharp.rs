//! The environment and the arguments of kstar.sharp, so that its container can be swapped for this program.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::process::{Process, ended, kstar, wait_until};
use crate::world::{BOTH_SINKS, Folder, Roof};

/// A broker that knows one user, as Home Assistant's does.
struct Broker {
    /// Where its passwords are; vanishes with it.
    _folder: TempDir,
    port: u16,
    process: Child,
    user: &'static str,
}

impl Broker {
    fn of(user: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let [config, passwords] = ["conf", "passwords"].map(|name| folder.path().join(name));
        let made = Command::new("mosquitto_passwd")
            .args(["-b", "-c"])
            .arg(&passwords)
            .args([user, user])
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("mosquitto_passwd").success());
        let lines = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\n",
            passwords.display()
        );
        std::fs::write(&config, lines).expect("written");
        let process = Command::new("mosquitto")
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto");
        wait_until("the broker", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            _folder: folder,
            port,
            process,
            user,
        }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// One of Mosquitto's own clients, as the user that the broker knows.
    fn client(&self, program: &str) -> Command {
        let mut client = Command::new(program);
        client
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-u", self.user, "-P", self.user]);
        client
    }

    /// Listens to what is published below a topic while `act` runs, until so many messages have come: as topic and
    /// payload.
    fn heard<T>(&self, topic: &str, count: usize, act: impl FnOnce() -> T) -> (Vec<String>, T) {
        let mut listener = self
            .client("mosquitto_sub")
            .args(["-t", topic, "-t", "ready", "-v", "-W", "30"])
            .args(["-C", &(count + 1).to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto_sub");
        // Retained, so that it is heard whenever the subscription is there; it is the first that is.
        let ready = self
            .client("mosquitto_pub")
            .args(["-t", "ready", "-m", "now", "-r"])
            .status();
        assert!(ready.expect("mosquitto_pub").success());
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(
            listener.stdout.take().expect("its output"),
        ));
        assert_eq!(lines.next().expect("a line").expect("text"), "ready now");
        let done = act();
        let heard = lines.map(|line| line.expect("text")).collect();
        listener.wait().expect("it ends");
        (heard, done)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const TOPICS: [&str; 7] = [
    "etoday",
    "grid",
    "grid/export",
    "grid/import",
    "load",
    "pvpower",
    "temp",
];

/// Runs until the seven topics were heard once; says which they were.
fn topics(broker: &Broker, command: &mut Command) -> Vec<String> {
    let (heard, run) = broker.heard("sensor/inverter/#", TOPICS.len(), || {
        Process::start(command)
    });
    run.signal("TERM");
    run.end().expect_code(0);
    let mut topics: Vec<String> = heard
        .iter()
        .map(|line| {
            let (topic, value) = line.split_once(' ').expect("a topic and a value");
            value.parse::<f64>().expect("a plain number");
            topic
                .strip_prefix("sensor/inverter/")
                .expect("the prefix")
                .to_owned()
        })
        .collect();
    topics.sort();
    topics
}

#[test]
fn its_environment_is_all_that_is_needed() {
    let (roof, broker, folder) = (Roof::new(1), Broker::of("mqtt"), Folder::new());
    let mut run = kstar(folder.path(), ["run"]);
    run.env("IP", roof.host())
        .env("MQTT", broker.address())
        .env("SILENT", "true");
    assert_eq!(topics(&broker, &mut run), TOPICS);
    assert!(
        !folder.join("kstar.db").exists(),
        "kstar.sharp stored nothing"
    );
}

#[test]
fn its_arguments_are_understood() {
    let (roof, broker, folder) = (Roof::new(1), Broker::of("mqtt"), Folder::new());
    let arguments = [
        "run".to_owned(),
        format!("--ip-{}", roof.host()),
        format!("--mqtt-{}", broker.address()),
        "--silent-true".to_owned(),
    ];
    assert_eq!(
        topics(&broker, &mut kstar(folder.path(), arguments)),
        TOPICS
    );
}

#[test]
fn our_own_environment_weighs_more_and_may_name_another_user() {
    let (roof, broker, folder) = (Roof::new(1), Broker::of("solar"), Folder::new());
    let mut run = kstar(folder.path(), ["run"]);
    run.env("IP", "127.0.0.1:1")
        .env("MQTT", "127.0.0.1:1")
        .env("KSTAR_HOST", roof.host())
        .env("KSTAR_MQTT", format!("mqtt://{}", broker.address()))
        .env("KSTAR_MQTT_USERNAME", "solar")
        .env("KSTAR_MQTT_PASSWORD", "solar");
    assert_eq!(topics(&broker, &mut run), TOPICS);
}

#[test]
fn our_own_environment_weighs_more_than_a_configuration_too() {
    let (roof, broker) = (Roof::new(1), Broker::of("solar"));
    let folder = Folder::with_config(&roof.config(
        "[sinks.mqtt]\nurl = \"mqtt://127.0.0.1:1\"\nusername = \"other\"\npassword = \"other\"\nkstar_sharp_topics = true\n",
    ));
    let mut run = kstar(folder.path(), ["run"]);
    run.env("KSTAR_MQTT", broker.address())
        .env("KSTAR_MQTT_USERNAME", "solar")
        .env("KSTAR_MQTT_PASSWORD", "solar");
    assert_eq!(topics(&broker, &mut run), TOPICS);
}

#[test]
fn where_there_is_a_configuration_its_environment_is_not_heeded() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let mut command = kstar(folder.path(), ["run"]);
    command
        .env("IP", "127.0.0.1:1")
        .env("MQTT", "127.0.0.1:1")
        .env("SILENT", "1");
    let run = Process::start(&mut command);
    run.wait_for_printed(1);
    let ended = run.stop();
    assert_eq!(ended.logged("the inverter answers"), 1, "{ended:?}");
    assert_eq!(ended.logged("mqtt"), 0, "{ended:?}");
}

#[test]
fn who_wants_few_words_gets_one_line_for_a_hundred_readings() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let run = Process::start(&mut kstar(folder.path(), ["run", "--silent"]));
    run.wait_for_log("200 readings, the last of roof1 at 20");
    let ended = run.stop();
    let words: Vec<&String> = ended
        .stderr
        .iter()
        .filter(|line| !line.contains("00 readings"))
        .collect();
    assert!(words.is_empty(), "{words:?}");
}

#[test]
fn a_broker_that_is_none_is_refused_without_showing_what_may_be_a_password() {
    for (url, advice) in [
        ("mqtt://user:geheim@broker", "username"),
        ("http://user:geheim@broker", "mqtt://"),
    ] {
        let folder = Folder::new();
        let mut command = kstar(folder.path(), ["run"]);
        command.env("IP", "127.0.0.1:1").env("MQTT", url);
        let refused = ended(&mut command).expect_code(2);
        assert!(!refused.err().contains("geheim"), "{refused:?}");
        assert!(refused.err().contains(advice), "{refused:?}");
    }
}
