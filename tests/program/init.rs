//! `kstar init`: a first configuration, by questions at a terminal or without any.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kstar_simulator::faults::Faults;

use crate::modules::{Modules, free_ip};
use crate::process::{PATIENCE, ended, kstar};
use crate::world::Folder;

/// The names of what is in the folder.
fn files(folder: &Folder) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}

fn text(folder: &Folder, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect("a file")
}

/// `kstar check` takes it where the secrets that it names are there.
#[track_caller]
fn assert_right(folder: &Folder, name: &str) -> String {
    let mut check = kstar(folder.path(), ["check", "--config", name]);
    ended(check.env("MQTT_PASSWORD", "hunter2"))
        .expect_code(0)
        .out()
}

const EVERYTHING: [&str; 21] = [
    "--yes",
    "--host",
    "192.0.2.5",
    "--name",
    "roof",
    "--sqlite",
    "solar.db",
    "--mqtt",
    "homeassistant",
    "--mqtt-username",
    "me \"myself\"",
    "--mqtt-password-env",
    "MQTT_PASSWORD",
    "--influxdb",
    "http://localhost:8086",
    "--influxdb-org",
    "home",
    "--influxdb-bucket",
    "solar",
    "--influxdb-token-file",
    "token",
];

#[test]
fn without_questions_it_writes_what_the_arguments_say_and_check_takes_it() {
    let folder = Folder::new();
    let init = |path: &str| {
        let args = [&["init", path], &EVERYTHING[..]].concat();
        ended(&mut kstar(folder.path(), args)).expect_code(0)
    };
    let said = init("sub/my.toml");
    assert!(
        said.out()
            .contains("kstar check --connect --config sub/my.toml"),
        "{said:#?}"
    );
    folder.write("token", "hunter2\n");
    let plan = assert_right(&folder, "sub/my.toml");
    for words in [
        "inverter roof: 192.0.2.5,",
        "/solar.db;",
        "mqtt://homeassistant:1883 below kstar/",
        "http://localhost:8086",
    ] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    let written = text(&folder, "sub/my.toml");
    assert!(
        written.contains("password = { env = \"MQTT_PASSWORD\" }"),
        "{written}"
    );
    assert!(
        written.contains("username = \"me \\\"myself\\\"\""),
        "{written}"
    );
    assert_eq!(init("-").out(), written.trim_end());
    // Where it is found by itself, no command needs its name.
    let said = init("kstar.toml");
    assert!(
        said.stdout.contains(&"  kstar check --connect".to_owned()),
        "{said:#?}"
    );
    assert_eq!(files(&folder), ["kstar.toml", "sub", "token"]);
}

#[test]
fn the_defaults_are_a_history_and_an_inverter_that_is_looked_for() {
    let folder = Folder::new();
    let nobody = free_ip().to_string();
    let args = ["init", "--yes", "--address", &nobody, "kstar.toml"];
    let said = ended(&mut kstar(folder.path(), args)).expect_code(0);
    assert!(said.err().contains("None has answered"), "{said:#?}");
    let plan = assert_right(&folder, "kstar.toml");
    assert!(
        plan.contains("inverter inverter: discovered by broadcast"),
        "{plan}"
    );
    assert!(plan.contains("sink sqlite: "), "{plan}");
    assert!(!plan.contains("sink stdout"), "{plan}");
    let args = [
        "init",
        "--yes",
        "--host",
        "a",
        "--no-sqlite",
        "--force",
        "kstar.toml",
    ];
    ended(&mut kstar(folder.path(), args)).expect_code(0);
    let plan = assert_right(&folder, "kstar.toml");
    assert!(
        plan.contains("sink stdout"),
        "a reading must go somewhere: {plan}"
    );
}

#[test]
#[cfg(feature = "http")]
fn what_matters_can_be_said_by_arguments_and_the_page_is_for_this_machine_unless_said() {
    let folder = Folder::new();
    let init = |args: &[&str]| {
        let args = [&["init", "--yes", "--force", "--host", "192.0.2.5"], args].concat();
        let done = ended(&mut kstar(
            folder.path(),
            [&args[..], &["kstar.toml"]].concat(),
        ));
        (
            done.expect_code(0).out(),
            assert_right(&folder, "kstar.toml"),
        )
    };
    let (told, plan) = init(&[]);
    assert!(
        told.contains("page: http://127.0.0.1:8099/, for this machine alone"),
        "{told}"
    );
    assert!(
        plan.contains("http: 127.0.0.1:8099; this machine may ask"),
        "{plan}"
    );
    assert!(!text(&folder, "kstar.toml").contains("timezone"));

    let (told, plan) = init(&[
        "--timezone",
        "Asia/Tokyo",
        "--price",
        "31,5",
        "--currency",
        "JPY",
        "--http",
        "no",
        "--influxdb",
        "http://localhost:8086",
        "--influxdb-database",
        "solar",
    ]);
    assert!(told.contains("time zone: Asia/Tokyo"), "{told}");
    assert!(told.contains("prices: 31.5 JPY"), "{told}");
    assert!(!plan.contains("http: "), "{plan}");
    assert!(plan.contains("sink influxdb: "), "{plan}");
    let written = text(&folder, "kstar.toml");
    assert!(written.contains("database = \"solar\"\n"), "{written}");

    let (told, _) = init(&["--http", "network"]);
    assert!(
        told.contains("http-token (not for others to read)"),
        "{told}"
    );
    let token = text(&folder, "http-token");
    assert!(!told.contains(&token), "{told}");
    let (told, _) = init(&["--http", "network"]);
    assert!(told.contains("http-token"), "{told}");
    assert_ne!(text(&folder, "http-token"), token);
}

#[test]
fn an_address_where_nothing_answers_can_be_typed_anew() {
    let mut modules = Modules::new();
    let ip = modules.add(&Faults::default());
    let (nobody, nowhere) = (free_ip(), free_ip());
    let folder = Folder::new();
    let line = format!(
        "\"$KSTAR\" init --address {nobody} --timezone UTC --no-sqlite --price 0.3 --name roof kstar.toml"
    );
    let mut dialogue = Dialogue::start(&folder, &line);
    dialogue.answer("Inverter's address", &format!("{nowhere}\n"));
    dialogue.answer(
        &format!("Another address (Enter keeps this one) [{nowhere}]"),
        &format!("{ip}\n"),
    );
    dialogue.wait_for("It is kse");
    if cfg!(feature = "http") {
        dialogue.answer("Page for browsers", "\n");
    }
    dialogue.answer("MQTT broker", "\n");
    dialogue.answer("InfluxDB, like http", "\n");
    dialogue.wait_for("kstar check --connect");
    let (code, shown) = dialogue.end();
    assert_eq!(code, Some(0), "{shown}");
    let plan = assert_right(&folder, "kstar.toml");
    assert!(
        plan.contains(&format!("inverter roof: {ip}, asked as")),
        "{plan}"
    );
}

#[test]
fn every_inverter_that_answers_is_taken() {
    let mut modules = Modules::new();
    let places = [(); 2].map(|()| modules.add(&Faults::default()));
    let folder = Folder::new();
    let mut command = kstar(folder.path(), ["init", "--yes", "kstar.toml"]);
    for ip in &places {
        command.args(["--address", &ip.to_string()]);
    }
    ended(&mut command).expect_code(0);
    let plan = assert_right(&folder, "kstar.toml");
    for ip in &places {
        assert!(plan.contains(&format!(": {ip}, asked as")), "{plan}");
    }
    assert!(plan.contains("inverter inverter1: ") && plan.contains("inverter inverter2: "));
}

#[test]
fn nothing_is_overwritten_unless_forced() {
    let folder = Folder::with_config("# precious\n");
    let args = ["init", "--yes", "--host", "192.0.2.5", "kstar.toml"];
    let refused = ended(&mut kstar(folder.path(), args)).expect_code(2);
    assert!(
        refused
            .err()
            .contains("kstar.toml is there already; use --force"),
        "{refused:#?}"
    );
    assert_eq!(text(&folder, "kstar.toml"), "# precious\n");
    ended(kstar(folder.path(), args).arg("--force")).expect_code(0);
    assert_right(&folder, "kstar.toml");
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_written() {
    let folder = Folder::new();
    folder.write("file", "");
    for (args, code, words) in [
        (&["kstar.toml"][..], 2, "standard input is no terminal"),
        (&["--yes", "--host", "a b", "kstar.toml"], 2, "is no host"),
        (
            &["--yes", "--host", "a", "--name", "my roof", "kstar.toml"],
            2,
            "cannot name",
        ),
        (
            &["--yes", "--host", "a", "--host", "a", "kstar.toml"],
            2,
            "are both at a:8899",
        ),
        (
            &[
                "--yes",
                "--host",
                "a",
                "--mqtt",
                "mqtt://me:hunter2@b",
                "kstar.toml",
            ],
            2,
            "do not belong into the URL",
        ),
        (
            &["--yes", "--host", "a", "--mqtt", "http://b", "kstar.toml"],
            2,
            "not spoken here",
        ),
        (
            &[
                "--yes",
                "--host",
                "a",
                "--influxdb",
                "http://b",
                "kstar.toml",
            ],
            2,
            "--influxdb-org",
        ),
        (
            &["--yes", "--host", "a", "file/kstar.toml"],
            1,
            "name another place",
        ),
    ] {
        let args = [&["init"], args].concat();
        let refused = ended(&mut kstar(folder.path(), args)).expect_code(code);
        assert!(refused.err().contains(words), "{words}: {refused:#?}");
        assert_eq!(refused.out(), "");
        assert_eq!(files(&folder), ["file"]);
    }
}

/// Somebody at a terminal.
struct Dialogue {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
    /// How much of what is shown was waited for.
    read: usize,
}

impl Dialogue {
    /// Runs a command line in a terminal of its own; `$KSTAR` is the program.
    fn start(folder: &Folder, line: &str) -> Self {
        let mut child = Command::new("script")
            .args(["-qec", line, "/dev/null"])
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SHELL", "/bin/sh")
            .env("TZ", "UTC")
            .env("KSTAR", env!("CARGO_BIN_EXE_kstar"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` of util-linux");
        let shown = Arc::<Mutex<String>>::default();
        let mut screen = child.stdout.take().expect("a pipe");
        let filled = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                filled.lock().expect("a lock").push_str(&text);
            }
        });
        let keys = child.stdin.take().expect("a pipe");
        Self {
            child,
            keys,
            shown,
            read: 0,
        }
    }

    /// Waits until this is shown, behind what was waited for before.
    #[track_caller]
    fn wait_for(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown.lock().expect("a lock").clone();
            if let Some(place) = shown[self.read..].find(words) {
                self.read += place + words.len();
                return;
            }
            assert!(Instant::now() < deadline, "no {words:?} in {shown}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a question and types the answer.
    #[track_caller]
    fn answer(&mut self, question: &str, keys: &str) {
        self.wait_for(question);
        // The prompt ends with a colon.
        self.wait_for(": ");
        self.keys.write_all(keys.as_bytes()).expect("typed");
    }

    #[track_caller]
    fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "no end: {}",
                self.shown.lock().expect("a lock")
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        let shown = self.shown.lock().expect("a lock").clone();
        (status.code(), shown)
    }
}

#[test]
fn at_a_terminal_a_few_questions_make_a_configuration() {
    let mut modules = Modules::new();
    let ip = modules.add(&Faults::default());
    let folder = Folder::new();
    let line = format!("\"$KSTAR\" init --address {ip} kstar.toml");
    let mut dialogue = Dialogue::start(&folder, &line);
    dialogue.answer(&format!("Inverters to read, by address [{ip}]"), "\n");
    dialogue.answer(&format!("Name of {ip} [inverter]"), "my roof\n");
    dialogue.wait_for("cannot name an inverter");
    dialogue.answer(&format!("Name of {ip}"), "roof\n");
    dialogue.answer("Time zone", "Europe/Atlantis\n");
    dialogue.wait_for("no time zone `Europe/Atlantis`");
    dialogue.answer("Time zone", "Europe/Lisbon\n");
    dialogue.answer("Keep a history", "\n");
    dialogue.answer("Price of a kWh", "0,32\n");
    dialogue.answer("fed in [0.0]", "0.08\n");
    dialogue.answer("Currency [EUR]", "\n");
    if cfg!(feature = "http") {
        dialogue.answer("Page for browsers", "network\n");
    }
    // What is typed is tried, and asked for again where it does not work.
    dialogue.answer("MQTT broker", "127.0.0.1:1\n");
    dialogue.answer("User at the broker", "\n");
    dialogue.wait_for("127.0.0.1:1");
    dialogue.answer("Keep it all the same (yes, no) [no]", "\n");
    dialogue.answer("MQTT broker", "homeassistant\n");
    dialogue.answer("User at the broker", "mqtt\n");
    dialogue.answer("Password at the broker", "hunter2\n");
    dialogue.answer("Keep it all the same", "yes\n");
    dialogue.answer("InfluxDB, like http", "http://127.0.0.1:1\n");
    dialogue.answer("Database, for InfluxDB 1", "\n");
    dialogue.answer("Organisation [home]", "\n");
    dialogue.answer("Bucket [solar]", "sun\n");
    dialogue.answer("Token", "sesame\n");
    dialogue.answer("Keep it all the same", "yes\n");
    for words in [
        "prices: 0.32 EUR for a kWh, 0.08 for one that is fed in",
        "kstar check --connect",
        "kstar run",
        "kstar read",
    ] {
        dialogue.wait_for(words);
    }
    let (code, shown) = dialogue.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("sesame"),
        "{shown}"
    );
    let plan = assert_right(&folder, "kstar.toml");
    assert!(
        plan.contains(&format!("inverter roof: {ip}, asked as")),
        "{plan}"
    );
    assert!(plan.contains("time zone:     Europe/Lisbon"), "{plan}");
    let mut secrets = vec!["mqtt-password", "influxdb-token"];
    if cfg!(feature = "http") {
        assert!(
            plan.contains("http: 0.0.0.0:8099; whoever has the token may ask"),
            "{plan}"
        );
        assert_eq!(text(&folder, "http-token").len(), 64);
        secrets.push("http-token");
    }
    let mut written = [&secrets[..], &["kstar.toml"]].concat();
    written.sort_unstable();
    assert_eq!(files(&folder), written);
    assert_eq!(text(&folder, "mqtt-password"), "hunter2");
    for secret in secrets {
        let mode = std::fs::metadata(folder.join(secret))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let written = text(&folder, "kstar.toml");
    assert!(
        !written.contains("hunter2") && written.contains("/mqtt-password\" }"),
        "{written}"
    );
}

#[test]
fn an_interrupt_leaves_nothing_behind_and_a_terminal_that_shows_what_is_typed() {
    let folder = Folder::new();
    let mut dialogue = Dialogue::start(
        &folder,
        "trap : INT; \"$KSTAR\" init --host a --name b --sqlite c.db kstar.toml; echo code $?; stty -a",
    );
    dialogue.answer("Time zone", "\n");
    dialogue.answer("Price of a kWh", "\n");
    if cfg!(feature = "http") {
        dialogue.answer("Page for browsers", "\n");
    }
    dialogue.answer("MQTT broker", "homeassistant\n");
    dialogue.answer("User at the broker", "mqtt\n");
    dialogue.answer("Password at the broker", "\x03");
    dialogue.wait_for("nothing was written");
    dialogue.wait_for("code 1");
    dialogue.wait_for("isig");
    let (_, shown) = dialogue.end();
    assert!(
        shown.contains(" echo ") && !shown.contains("-echo "),
        "{shown}"
    );
    assert_eq!(files(&folder), Vec::<String>::new());
}
