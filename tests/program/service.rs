//! As a service: what its manager hears, and where its secrets come from.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::process::{PATIENCE, Process, kstar, service};
use crate::world::{BOTH_SINKS, Folder, Peer, Roof, config};

/// Who listens, as systemd does.
struct Manager {
    socket: UnixDatagram,
    /// A message that came when another was waited for.
    heard: Vec<String>,
}

impl Manager {
    fn listen(folder: &Folder) -> Self {
        let socket = UnixDatagram::bind(folder.join("notify")).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a time-out");
        Self {
            socket,
            heard: Vec::new(),
        }
    }

    /// The program as this manager starts it, to be told within this time that all is well.
    fn start(folder: &Folder, watchdog: Duration) -> Process {
        let mut command = service(folder.path(), ["run"]);
        command
            .env("NOTIFY_SOCKET", folder.join("notify"))
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        Process::start(&mut command)
    }

    /// Waits for a message that begins so.
    #[track_caller]
    fn wait_for(&mut self, begin: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        loop {
            assert!(Instant::now() < deadline, "no {begin} in {:#?}", self.heard);
            // Nothing yet is no failure.
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let message = String::from_utf8(buffer[..length].to_vec()).expect("text");
            if message.starts_with(begin) {
                return message;
            }
            self.heard.push(message);
        }
    }
}

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn the_manager_hears_when_it_is_ready_reloads_and_stops() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let mut manager = Manager::listen(&folder);
    let run = Manager::start(&folder, NEVER);
    let ready = manager.wait_for("READY=1\n");
    assert!(ready.contains("STATUS=0 of 1 inverter online"), "{ready}");
    assert!(manager.heard.is_empty(), "{:#?}", manager.heard);
    run.wait_for_printed(3);
    for text in [roof.config("[sinks.stdout]\n"), "nonsense".to_owned()] {
        folder.write("kstar.toml", text);
        run.signal("HUP");
        let reloading = manager.wait_for("RELOADING=1\n");
        let microseconds = reloading
            .lines()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let microseconds: u64 = microseconds.expect("a time").parse().expect("a number");
        assert!(microseconds > 0);
        // Also where the file is refused: the service goes on.
        let ready = manager.wait_for("READY=1\n");
        assert!(
            ready.contains("1 of 1 inverter online; last reading 0 s ago"),
            "{ready}"
        );
    }
    run.signal("TERM");
    let stopping = manager.wait_for("STOPPING=1\n");
    assert!(
        stopping.contains("EXTEND_TIMEOUT_USEC=18000000"),
        "{stopping}"
    );
    run.end().expect_code(0);
}

#[test]
fn the_watchdog_is_fed_also_while_an_inverter_is_silent_and_a_sink_is_down() {
    let nobody = Peer::new(None);
    let text = config(
        &[nobody.address],
        "[sinks.stdout]\n[sinks.influxdb]\nurl = \"http://127.0.0.1:9\"\norg = \"o\"\nbucket = \"b\"\n",
    );
    let folder = Folder::with_config(&text.replace("400ms", "50ms"));
    let mut manager = Manager::listen(&folder);
    let run = Manager::start(&folder, Duration::from_millis(400));
    manager.wait_for("READY=1\n");
    run.wait_for_log("the inverter is silent");
    for _ in 0..10 {
        manager.wait_for("WATCHDOG=1");
    }
    let status = manager.wait_for("STATUS=0 of 1 inverter online; silent: roof1; no reading yet");
    assert!(!status.contains('\n'), "{status}");
    run.stop().expect_code(0);
}

#[test]
fn a_watchdog_that_is_for_another_process_is_not_fed() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(BOTH_SINKS));
    let mut manager = Manager::listen(&folder);
    let mut command = service(folder.path(), ["run"]);
    command
        .env("NOTIFY_SOCKET", folder.join("notify"))
        .env("WATCHDOG_USEC", "20000")
        .env("WATCHDOG_PID", "1");
    let run = Process::start(&mut command);
    manager.wait_for("READY=1\n");
    run.wait_for_printed(20);
    run.signal("TERM");
    manager.wait_for("STOPPING=1\n");
    assert!(
        !manager.heard.iter().any(|message| message == "WATCHDOG=1"),
        "{:#?}",
        manager.heard
    );
    run.end().expect_code(0);
}

#[test]
fn a_credential_is_read_from_the_folder_that_systemd_names() {
    let nobody = Peer::new(None);
    let sink = "[sinks.mqtt]\nurl = \"mqtt://127.0.0.1\"\nusername = \"u\"\npassword = { credential = \"mqtt\" }\n";
    let folder = Folder::with_config(&config(&[nobody.address], sink));
    folder.write("credentials/mqtt", "hunter2\n");
    folder.write("empty/other", "");
    let start = |place: Option<&str>| {
        let mut command = kstar(folder.path(), ["run"]);
        command.envs(place.map(|place| ("CREDENTIALS_DIRECTORY", folder.join(place))));
        Process::start(&mut command)
    };
    let run = start(Some("credentials"));
    run.wait_for_log("polling inverter=");
    run.stop();
    let nowhere = start(None).end().expect_code(1);
    assert!(nowhere.err().contains("kstar.toml:13:12: "), "{nowhere:#?}");
    assert!(
        nowhere.err().contains("CREDENTIALS_DIRECTORY is not set"),
        "{nowhere:#?}"
    );
    let missing = start(Some("empty")).end().expect_code(1);
    assert!(
        missing.err().contains("LoadCredential=mqtt:PATH"),
        "{missing:#?}"
    );
    assert!(!missing.err().contains("hunter2"));
}
