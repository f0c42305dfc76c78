//! The live page in a real terminal: `kstar watch`, and `kstar run` where nobody wants lines. The terminal is tmux, which
//! keeps a screen that can be read, and types what it is told to.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

#[cfg(feature = "mqtt")]
use crate::mqtt::Broker;
use crate::process::{HEEDS_SIGNALS, PATIENCE, Process, ended, kstar, program, wait_until};
use crate::world::{Folder, Roof, open, rows};

/// A terminal with a shell in it, in a folder. It ends with this.
pub(crate) struct Terminal {
    folder: PathBuf,
    /// Where its server listens: it is nobody else's.
    socket: PathBuf,
}

impl Terminal {
    /// Without tmux this says so and there is none, unless a test must not be left out.
    pub(crate) fn open(folder: &Folder, width: u16, height: u16) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(
                std::env::var_os("CI").is_none(),
                "there is no tmux, and CI must not leave this test out"
            );
            // Not by a macro, whose output a test that passes does not show.
            let loud = b"NOT TRIED: this test needs tmux\n";
            std::io::Write::write_all(&mut std::io::stderr(), loud).expect("written");
            return None;
        }
        let terminal = Self {
            folder: folder.path().to_owned(),
            socket: folder.join("tmux"),
        };
        let mut command = terminal.tmux();
        command
            .args(["-f", "/dev/null", "new-session", "-d", "-s", "page"])
            .args(["-x", &width.to_string(), "-y", &height.to_string()])
            .arg("PS1='$ ' sh");
        assert!(command.status().expect("tmux").success());
        terminal.ask(&["set", "-g", "status", "off"]);
        terminal.resize(width, height);
        terminal.wait_for("$");
        Some(terminal)
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command
            .arg("-S")
            .arg(&self.socket)
            .current_dir(&self.folder)
            .env_clear()
            .env("HOME", &self.folder)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SHELL", "/bin/sh")
            .env("LC_ALL", "C.UTF-8")
            .env("TMPDIR", &self.folder);
        command
    }

    #[track_caller]
    fn ask(&self, args: &[&str]) -> String {
        let output = self.tmux().args(args).output().expect("tmux");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn resize(&self, width: u16, height: u16) {
        let (width, height) = (width.to_string(), height.to_string());
        self.ask(&["resize-window", "-t", "page", "-x", &width, "-y", &height]);
    }

    /// Presses keys, by the names that tmux has for them.
    fn press(&self, keys: &[&str]) {
        self.ask(&[&["send-keys", "-t", "page"], keys].concat());
    }

    /// Types a command into the shell. What it is to end with is written so that the typed line does not hold it.
    pub(crate) fn type_command(&self, command: &str) {
        self.ask(&["send-keys", "-t", "page", "-l", command]);
        self.press(&["Enter"]);
    }

    /// Makes the screen empty.
    fn clear(&self) {
        self.type_command("clear");
        self.wait_until("an empty screen", |screen| screen.trim() == "$");
    }

    /// What is on the screen.
    fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p", "-t", "page"])
    }

    /// The same with lines that were too long for it in one piece.
    fn unwrapped(&self) -> String {
        self.ask(&["capture-pane", "-p", "-J", "-t", "page"])
    }

    /// What tmux knows of the screen: whether another one lies over it, whether there is a cursor.
    fn state(&self) -> String {
        let format = "#{alternate_on} #{cursor_flag}";
        let state = self.ask(&["display-message", "-p", "-t", "page", format]);
        state.trim().to_owned()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    #[track_caller]
    fn wait_until(&self, what: &str, right: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if right(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "no {what} in\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process that a command in this terminal has written the id of.
    fn pid(&self) -> String {
        std::fs::read_to_string(self.folder.join("pid"))
            .expect("a process id")
            .trim()
            .to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.tmux().arg("kill-server").output();
    }
}

/// The program's command line, with the exit code on the screen behind it, and the terminal's settings in files.
fn watched(args: &str) -> String {
    let kstar = env!("CARGO_BIN_EXE_kstar");
    format!(
        "stty -a > before; echo said before; {kstar} {args}; echo code=$?=; stty -a > after; echo the en''d"
    )
}

fn assert_left_as_it_was(folder: &Folder) {
    let settings = |name| std::fs::read_to_string(folder.join(name)).expect("settings");
    assert_eq!(settings("before"), settings("after"));
}

/// A screen without its right ends, which a shorter line leaves.
fn has_page(screen: &str) -> bool {
    screen.starts_with("kstar") && screen.contains("producing") || screen.contains("no power")
}

#[test]
fn the_page_comes_and_goes_and_the_terminal_is_as_it_was() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(""));
    let Some(terminal) = Terminal::open(&folder, 80, 24) else {
        return;
    };
    for keys in [&["q"][..], &["C-c"], &["Escape"], &["?", "Escape", "q"]] {
        terminal.type_command(&watched("watch"));
        terminal.wait_until("a page", has_page);
        assert_eq!(terminal.state(), "1 0");
        terminal.press(keys);
        let screen = terminal.wait_for("the end");
        assert!(screen.contains("said before"), "{screen}");
        assert!(screen.contains("code=0="), "{screen}");
        assert!(!screen.contains("House"), "{screen}");
        assert_eq!(terminal.state(), "0 1");
        assert_left_as_it_was(&folder);
        terminal.clear();
    }
    // It kept nothing.
    assert!(!folder.join("state").exists());
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(""));
    let Some(terminal) = Terminal::open(&folder, 80, 24) else {
        return;
    };
    let kstar = env!("CARGO_BIN_EXE_kstar");
    for signal in ["TERM", "INT", "HUP"] {
        // The shell becomes the program, so that its process id is known.
        terminal.type_command(&format!(
            "stty -a > before; sh -c 'echo $$ > pid; exec {kstar} watch'; echo code=$?=; stty -a > after; echo the en''d"
        ));
        terminal.wait_until("a page", has_page);
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &terminal.pid()])
            .status();
        assert!(sent.expect("a shell tool `kill`").success());
        let screen = terminal.wait_for("the end");
        assert!(screen.contains("code=0="), "{screen}");
        assert_eq!(terminal.state(), "0 1");
        assert_left_as_it_was(&folder);
        terminal.clear();
    }
}

#[test]
fn a_page_that_was_stopped_for_a_while_comes_back() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(""));
    let Some(terminal) = Terminal::open(&folder, 80, 24) else {
        return;
    };
    terminal.type_command(&format!("set -m; {} watch", env!("CARGO_BIN_EXE_kstar")));
    terminal.wait_until("a page", has_page);
    for _ in 0..2 {
        terminal.press(&["C-z"]);
        terminal.wait_until("a shell", |screen| !has_page(screen));
        assert_eq!(terminal.state(), "0 1");
        terminal.type_command("echo still 'he're");
        terminal.wait_for("still here");
        terminal.type_command("fg");
        terminal.wait_until("a page", has_page);
        assert_eq!(terminal.state(), "1 0");
    }
    terminal.press(&["q"]);
    terminal.wait_for("still here");
    assert_eq!(terminal.state(), "0 1");
}

#[test]
fn the_page_follows_the_size_of_the_terminal_at_once() {
    let roof = Roof::new(3);
    let folder = Folder::with_config(&roof.config(""));
    let Some(terminal) = Terminal::open(&folder, 80, 24) else {
        return;
    };
    terminal.type_command(&watched("watch"));
    terminal.wait_for("roof3");
    terminal.resize(200, 60);
    terminal.wait_for("Operating hours");
    terminal.resize(40, 10);
    terminal.wait_for("This terminal is 40 by 10");
    terminal.resize(80, 24);
    let screen = terminal.wait_for("q quit");
    assert_eq!(screen.lines().count(), 24, "{screen}");
    // From one to the next and to one by its number.
    terminal.press(&["Down"]);
    terminal.wait_for("▶ ● roof2");
    terminal.press(&["3"]);
    terminal.wait_for("▶ ● roof3");
    terminal.press(&["+"]);
    terminal.wait_for("Last hour");
    terminal.press(&["q"]);
    terminal.wait_for("code=0=");
}

#[test]
fn an_inverter_that_falls_silent_is_said_to_be() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(""));
    let Some(terminal) = Terminal::open(&folder, 80, 24) else {
        return;
    };
    terminal.type_command(&watched("watch"));
    terminal.wait_until("a page", has_page);
    drop(roof);
    let screen = terminal.wait_for("silent for");
    assert!(screen.contains("the inverter is silent"), "{screen}");
    terminal.press(&["q"]);
    terminal.wait_for("code=0=");
}

#[test]
fn colours_and_characters_are_those_that_the_terminal_has() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(""));
    let Some(terminal) = Terminal::open(&folder, 80, 24) else {
        return;
    };
    let kstar = env!("CARGO_BIN_EXE_kstar");
    let coloured = "38;5;3m";
    for (variables, colours, ascii) in [
        ("", true, false),
        ("NO_COLOR=1", false, false),
        ("LC_ALL=C", true, true),
    ] {
        terminal.type_command(&format!("clear; {variables} {kstar} watch"));
        let screen = terminal.wait_until("a page", has_page);
        assert_eq!(screen.is_ascii(), ascii, "{variables}: {screen}");
        let painted = terminal.ask(&["capture-pane", "-p", "-e", "-t", "page"]);
        assert_eq!(painted.contains(coloured), colours, "{variables}");
        terminal.press(&["q"]);
        terminal.wait_until("a shell", |screen| !has_page(screen));
    }
    terminal.type_command(&format!("TERM=dumb {kstar} watch; echo code=$?="));
    let screen = terminal.wait_for("code=2=");
    assert!(screen.contains("can only print"), "{screen}");
    assert!(screen.contains("`kstar read`"), "{screen}");
}

#[test]
fn what_is_no_terminal_gets_no_page() {
    let folder = Folder::new();
    let refused = ended(&mut kstar(folder.path(), ["watch", "--host", "192.0.2.1"])).expect_code(2);
    for words in ["is no terminal", "`kstar read`", "[sinks.stdout]"] {
        assert!(refused.err().contains(words), "{refused:#?}");
    }
    assert_eq!(refused.out(), "");
}

#[test]
fn a_second_poller_is_not_started_by_accident() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.sqlite]\npath = \"history.db\"\n"));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("the inverter answers");
    let Some(terminal) = Terminal::open(&folder, 80, 24) else {
        return;
    };
    terminal.type_command(&watched("watch"));
    terminal.wait_for("code=1=");
    let screen = terminal.unwrapped();
    for words in [
        &format!("process {} polls {}", run.pid(), roof.host()),
        "--url",
        "--force",
        "[http]",
        "listen = \"127.0.0.1:8099\"",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    terminal.type_command(&watched("watch --force"));
    terminal.wait_until("a page", has_page);
    terminal.press(&["q"]);
    terminal.wait_for("code=0=");
    run.stop().expect_code(0);
}

/// A port of this machine that nobody has now.
#[cfg(feature = "http")]
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
#[cfg(feature = "http")]
fn a_running_collector_is_shown_through_its_http_api_also_when_it_comes_back() {
    let roof = Roof::new(2);
    let url = format!("http://127.0.0.1:{}", free_port());
    let folder = Folder::with_config(&roof.config(&format!(
        "[sinks.sqlite]\npath = \"history.db\"\n[http]\nlisten = \"{}\"\ntoken = {{ file = \"token\" }}\n",
        url.trim_start_matches("http://")
    )));
    folder.write("token", "open-sesame\n");
    folder.write("wrong", "open-barley\n");
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_log("delivering");
    let Some(terminal) = Terminal::open(&folder, 100, 40) else {
        return;
    };
    // The configuration leads to it.
    terminal.type_command(&watched("watch"));
    let screen = terminal.wait_until("a page", has_page);
    for words in [&url, "roof1", "roof2", "● sqlite"] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    terminal.press(&["q"]);
    terminal.wait_for("code=0=");
    let ready = format!("watch --url {url} --token-file token");
    for (arguments, words) in [
        (
            format!("watch --url {url} --token-file wrong"),
            "the token is wrong",
        ),
        (format!("watch --url {url}"), "a token is needed"),
    ] {
        terminal.clear();
        terminal.type_command(&watched(&arguments));
        terminal.wait_for("code=2=");
        let screen = terminal.unwrapped();
        assert!(
            screen.contains(words) && screen.contains("--token-file"),
            "{screen}"
        );
    }
    terminal.clear();
    terminal.type_command(&watched(&ready));
    let screen = terminal.wait_until("a page", has_page);
    for words in [&url, "roof1", "roof2", "● sqlite"] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    run.signal("KILL");
    assert_eq!(run.end().status.code(), None);
    terminal.wait_for("✗ trying again: cannot reach");
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    terminal.wait_until("the present", |screen| {
        has_page(screen) && !screen.contains("trying again") && screen.contains("● online")
    });
    terminal.press(&["q"]);
    terminal.wait_for("code=0=");
    terminal.wait_for("the end");
    assert_left_as_it_was(&folder);
    run.stop().expect_code(0);
}

/// Starts `kstar run` in a terminal; its log goes where it likes.
fn run_in(terminal: &Terminal, arguments: &str) {
    terminal.type_command(&watched(&format!("run {arguments}")));
}

#[test]
fn a_run_on_a_terminal_shows_the_page_and_collects() {
    let roof = Roof::new(1);
    let folder = Folder::new();
    let Some(terminal) = Terminal::open(&folder, 80, 24) else {
        return;
    };
    run_in(&terminal, &format!("--host {}", roof.host()));
    let screen = terminal.wait_until("a page", has_page);
    assert!(screen.contains("collecting"), "{screen}");
    assert!(!screen.contains("schema"), "{screen}");
    terminal.wait_for("● sqlite");
    terminal.press(&["q"]);
    let screen = terminal.wait_for("the end");
    assert!(screen.contains("code=0="), "{screen}");
    assert!(screen.contains("stopping; a second signal"), "{screen}");
    let screen = terminal.unwrapped();
    assert!(screen.contains("0 waiting"), "{screen}");
    assert_left_as_it_was(&folder);
    assert!(!rows(&open(&folder.join("kstar.db"))).is_empty());
}

/// A terminal with one program in it, which is lost as a connection is: whoever is at its other end is just not there.
struct Line {
    child: Child,
    shown: Arc<Mutex<String>>,
    /// Ends with the order to hang up, and the terminal with it.
    reader: Option<JoinHandle<()>>,
    hung_up: Arc<AtomicBool>,
}

impl Line {
    /// With a shell that does this and is told of the end of the terminal. The program is `$0` there.
    fn open(folder: &Folder, commands: &str) -> Self {
        // Nobody else may have it, least of all what runs in it.
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a terminal");
        grantpt(&master).expect("a terminal of ours");
        unlockpt(&master).expect("a terminal to use");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).expect("a size");
        let end = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().expect("text"))
            .expect("the terminal");
        let [env, heeds] = HEEDS_SIGNALS;
        let kstar = env!("CARGO_BIN_EXE_kstar");
        let words = [heeds, "setsid", "--ctty", "sh", "-c", commands, kstar];
        let child = program(Path::new(env), folder.path(), words)
            .env("TERM", "xterm")
            .stdin(end.try_clone().expect("the terminal"))
            .stdout(end.try_clone().expect("the terminal"))
            .stderr(end)
            .spawn()
            .expect("a shell");
        let (shown, hung_up) = (
            Arc::<Mutex<String>>::default(),
            Arc::new(AtomicBool::new(false)),
        );
        let (filled, order) = (Arc::clone(&shown), Arc::clone(&hung_up));
        let reader = std::thread::spawn(move || {
            let mut master = File::from(master);
            let mut buffer = [0; 4096];
            // A page tells the time: there is something to read each second.
            while !order.load(Ordering::Relaxed)
                && let Ok(length) = master.read(&mut buffer)
            {
                let text = String::from_utf8_lossy(&buffer[..length]);
                filled.lock().expect("a lock").push_str(&text);
            }
        });
        Self {
            child,
            shown,
            reader: Some(reader),
            hung_up,
        }
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        wait_until(text, || self.shown.lock().expect("a lock").contains(text));
    }

    /// The terminal is gone.
    fn hang_up(&mut self) {
        self.hung_up.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("text");
        }
    }

    /// Waits for the end of what was started in it.
    #[track_caller]
    fn end(&mut self) -> Option<i32> {
        wait_until("the end", || {
            self.child.try_wait().expect("a child").is_some()
        });
        self.child.wait().expect("a child").code()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The whole session; it may have ended.
        let session = format!("-{}", self.child.id());
        let _ = Command::new("kill")
            .args(["-KILL", "--", &session])
            .output();
        let _ = self.child.wait();
    }
}

/// What the shell writes behind the end of the program: the terminal is gone.
const KEEP_CODE: &str = "\"$0\" run; echo $? > code";

#[test]
#[cfg(feature = "mqtt")]
fn a_terminal_that_goes_away_ends_the_run_in_order() {
    // With ssh the program may be all there is in the terminal, which tells it of the end by SIGHUP. A shell that wants to go
    // on itself gets that signal in its place.
    for (commands, is_told) in [
        ("exec \"$0\" run".to_owned(), true),
        (format!("trap : HUP; {KEEP_CODE}"), false),
    ] {
        let (roof, broker) = (Roof::new(1), Broker::start());
        let folder = Folder::with_config(&roof.config(&format!(
            "[sinks.sqlite]\npath = \"history.db\"\n[sinks.mqtt]\nurl = \"{}\"\nclient_id = \"page\"\n",
            broker.url()
        )));
        let listener = broker.listen();
        let mut line = Line::open(&folder, &commands);
        listener.wait_for_line("a run that is online", |line| {
            line.ends_with("kstar/collector/page/status online")
        });
        line.wait_for("collecting");
        line.wait_for("sqlite");
        line.hang_up();
        let ended = line.end();
        let code = if is_told {
            ended
        } else {
            let code = std::fs::read_to_string(folder.join("code")).expect("a code");
            code.trim().parse().ok()
        };
        assert_eq!(code, Some(0), "{commands}");
        assert!(!rows(&folder.history()).is_empty());
        // What a subscriber is told that comes later.
        broker
            .listen()
            .wait_for_line("a run that is offline", |line| {
                line.ends_with("1 kstar/collector/page/status offline")
            });
    }
}

#[test]
fn a_terminal_that_says_more_than_once_that_it_goes_away_does_not_cut_off_the_end() {
    let roof = Roof::new(1);
    let sinks = "[sinks.sqlite]\npath = \"history.db\"\ndelivery.timeout = \"500ms\"\n";
    let folder = Folder::with_config(&roof.config(sinks));
    let mut line = Line::open(&folder, "exec \"$0\" run 2> log");
    line.wait_for("collecting");
    line.wait_for("sqlite");
    let log = || std::fs::read_to_string(folder.join("log")).expect("a log");
    // What waits cannot be delivered, so that the program takes its time to end.
    let other = folder.history();
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    wait_until("an outage", || {
        log().contains("is locked by another program")
    });
    let pid = line.child.id().to_string();
    let hang_up = || {
        Command::new("kill")
            .args(["-HUP", &pid])
            .status()
            .expect("a shell tool `kill`")
    };
    assert!(hang_up().success());
    wait_until("the order to stop", || {
        log().contains("a second signal stops at once")
    });
    for _ in 0..10 {
        assert!(hang_up().success());
        std::thread::sleep(Duration::from_millis(50));
    }
    other.execute_batch("COMMIT").expect("unlocked");
    line.hang_up();
    assert_eq!(line.end(), Some(0));
}

#[test]
fn a_run_that_is_to_survive_its_terminal_goes_on_without_the_page() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.sqlite]\npath = \"history.db\"\n"));
    let mut line = Line::open(&folder, "trap '' HUP; exec \"$0\" run 2> log");
    line.wait_for("collecting");
    line.wait_for("sqlite");
    line.hang_up();
    wait_until("a word of it", || {
        let log = std::fs::read_to_string(folder.join("log")).expect("a log");
        log.contains("the terminal is gone; collecting goes on")
    });
    let before = rows(&folder.history()).len();
    wait_until("more readings", || {
        rows(&folder.history()).len() > before + 20
    });
    let pid = line.child.id().to_string();
    let sent = Command::new("kill").arg(pid).status();
    assert!(sent.expect("a shell tool `kill`").success());
    assert_eq!(line.end(), Some(0));
}

#[test]
fn the_log_of_a_run_stands_on_the_page_and_where_it_is_sent() {
    let roof = Roof::new(1);
    let sinks = "[sinks.sqlite]\npath = \"history.db\"\n[sinks.influxdb]\nurl = \"http://127.0.0.1:1\"\norg = \"o\"\nbucket = \"b\"\ntoken = \"t\"\n";
    let folder = Folder::with_config(&roof.config(sinks));
    let Some(terminal) = Terminal::open(&folder, 100, 40) else {
        return;
    };
    run_in(&terminal, "2> log");
    terminal.wait_for("▲ cannot deliver");
    terminal.wait_for("✗ influxdb");
    terminal.press(&["q"]);
    let screen = terminal.wait_for("the end");
    assert!(!screen.contains("cannot deliver"), "{screen}");
    let log = std::fs::read_to_string(folder.join("log")).expect("a log");
    assert!(
        log.contains("starting") && log.contains("cannot deliver"),
        "{log}"
    );
    // Without a place of its own, what matters is said again when the page is gone.
    run_in(&terminal, "");
    terminal.wait_for("▲ cannot deliver");
    terminal.press(&["q"]);
    let screen = terminal.wait_until("the end", |screen| screen.matches("the end").count() == 2);
    assert!(screen.contains("WARN cannot deliver"), "{screen}");
}

#[cfg(feature = "demo")]
#[test]
fn a_demonstration_on_a_terminal_shows_the_page_and_where_the_other_one_is() {
    let folder = Folder::new();
    let Some(terminal) = Terminal::open(&folder, 120, 40) else {
        return;
    };
    run_in(&terminal, "--demo");
    let screen = terminal.wait_for("KSE4000");
    assert!(screen.contains("Power"), "{screen}");
    #[cfg(feature = "http")]
    assert!(screen.contains("http://127.0.0.1:8"), "{screen}");
    terminal.press(&["q"]);
    let screen = terminal.wait_for("the end");
    assert!(!screen.contains("\"schema\""), "{screen}");
    assert!(Path::exists(&folder.join("kstar-demo.db")));
}

#[test]
fn who_wants_lines_or_few_words_gets_no_page() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let Some(terminal) = Terminal::open(&folder, 200, 50) else {
        return;
    };
    let lines = "{\"schema\":1";
    run_in(&terminal, "");
    terminal.wait_for(lines);
    terminal.press(&["C-c"]);
    terminal.wait_for("code=0=");
    terminal.clear();
    run_in(&terminal, "--demo --json");
    terminal.wait_for(lines);
    terminal.press(&["C-c"]);
    terminal.wait_for("code=0=");
    assert!(Path::exists(&folder.join("kstar-demo.db")));
    let quiet = roof.config("[sinks.sqlite]\npath = \"history.db\"\n");
    folder.write("quiet.toml", quiet);
    for arguments in [
        "--config quiet.toml --quiet",
        "--config quiet.toml --silent",
    ] {
        terminal.clear();
        run_in(&terminal, arguments);
        terminal.wait_for("100 readings, the last of roof1");
        assert_eq!(terminal.state(), "0 1");
        terminal.press(&["C-c"]);
        terminal.wait_for("code=0=");
    }
}
