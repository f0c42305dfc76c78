//! A process of the program, watched line by line.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything takes here, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program, to be started in this folder, with nothing of the user's own environment or configuration.
pub(crate) fn kstar<S: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = S>) -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_kstar")), folder, args)
}

/// What has the next word heed signals, also where anyone who runs the tests ignores some: `nohup` does SIGHUP, and a shell
/// without a terminal SIGINT for what it runs in the background.
pub(crate) const HEEDS_SIGNALS: [&str; 2] = ["env", "--default-signal"];

/// As [`kstar`], without a terminal that could go away, as a service is started.
pub(crate) fn service<S: AsRef<OsStr>>(
    folder: &Path,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let [env, heeds] = HEEDS_SIGNALS;
    let words = [heeds, "setsid", env!("CARGO_BIN_EXE_kstar")];
    let mut command = program(Path::new(env), folder, words);
    command.args(args);
    command
}

/// As [`kstar`], from a binary that stands elsewhere.
pub(crate) fn program<S: AsRef<OsStr>>(
    binary: &Path,
    folder: &Path,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(binary);
    command
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null());
    command
}

/// What a process that has ended left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Ended {
    /// The exit code; what is written to standard error is shown where it is another one.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    pub(crate) fn out(&self) -> String {
        self.stdout.join("\n")
    }

    pub(crate) fn err(&self) -> String {
        self.stderr.join("\n")
    }

    /// What the log says at the end became of a sink's readings, by the words that it has for it.
    #[track_caller]
    pub(crate) fn counts(&self, sink: &str) -> Counts {
        let name = format!("sink=\"{sink}\"");
        let line = self
            .stderr
            .iter()
            .rfind(|line| line.contains(&name) && line.contains("counts="));
        let line = line.unwrap_or_else(|| panic!("no counts of {sink} in {self:#?}"));
        let (_, counts) = line.split_once("counts=").expect("counts");
        let counts = counts.split(" lost=").next().expect("counts");
        Counts(
            counts
                .split(", ")
                .map(|count| {
                    let (number, word) = count.split_once(' ').expect("a number and a word");
                    (word.to_owned(), number.parse().expect("a number"))
                })
                .collect(),
        )
    }

    /// How many lines of the log hold this.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.stderr
            .iter()
            .filter(|line| line.contains(text))
            .count()
    }
}

/// What became of a sink's readings.
#[derive(Debug)]
pub(crate) struct Counts(BTreeMap<String, usize>);

impl Counts {
    /// How many were delivered, dropped and so on; those that are not mentioned are none.
    pub(crate) fn of(&self, word: &str) -> usize {
        self.0.get(word).copied().unwrap_or_default()
    }
}

/// Runs a command to its end.
pub(crate) fn ended(command: &mut Command) -> Ended {
    Process::start(command).end()
}

/// Lines that come in from a pipe.
#[derive(Default)]
struct Lines {
    lines: Mutex<Vec<String>>,
    news: Condvar,
}

impl Lines {
    fn read(from: impl Read + Send + 'static) -> (Arc<Self>, JoinHandle<()>) {
        let lines = Arc::new(Self::default());
        let filled = Arc::clone(&lines);
        let thread = std::thread::spawn(move || {
            for line in BufReader::new(from).lines() {
                let line = line.expect("text");
                filled.lines.lock().expect("a lock").push(line);
                filled.news.notify_all();
            }
        });
        (lines, thread)
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().expect("a lock").clone()
    }

    /// Waits until the lines are as they should be.
    #[track_caller]
    fn wait_until(&self, what: &str, right: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().expect("a lock");
        while !right(&lines) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} in {lines:#?}");
            lines = self.news.wait_timeout(lines, left).expect("a lock").0;
        }
        lines.clone()
    }
}

/// A running process. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Option<(Arc<Lines>, JoinHandle<()>)>,
    stderr: Option<(Arc<Lines>, JoinHandle<()>)>,
}

impl Process {
    /// Starts it and reads all that it writes.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::with_stdout(command, Stdio::piped())
    }

    /// Starts it with its output elsewhere.
    pub(crate) fn with_stdout(command: &mut Command, stdout: impl Into<Stdio>) -> Self {
        Self::spawn(command.stdout(stdout).stderr(Stdio::piped()))
    }

    /// Starts it with its log elsewhere.
    pub(crate) fn with_log(command: &mut Command, log: impl Into<Stdio>) -> Self {
        Self::spawn(command.stdout(Stdio::piped()).stderr(log))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        // What it was given is its own now: a pipe that is open here as well would never end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let stdout = child.stdout.take().map(Lines::read);
        let stderr = child.stderr.take().map(Lines::read);
        Self {
            child,
            stdout,
            stderr,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn printed(&self) -> Vec<String> {
        let (lines, _) = self.stdout.as_ref().expect("a pipe for its output");
        lines.all()
    }

    /// Waits until so many lines are printed.
    #[track_caller]
    pub(crate) fn wait_for_printed(&self, count: usize) -> Vec<String> {
        let (lines, _) = self.stdout.as_ref().expect("a pipe for its output");
        lines.wait_until(&format!("{count} lines"), |lines| lines.len() >= count)
    }

    /// Waits for a printed line that is as it should be.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, what: &str, right: impl Fn(&str) -> bool) {
        let (lines, _) = self.stdout.as_ref().expect("a pipe for its output");
        lines.wait_until(what, |lines| lines.iter().any(|line| right(line)));
    }

    /// Waits for a line of the log that holds this.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let (lines, _) = self.stderr.as_ref().expect("a pipe for its log");
        let lines = lines.wait_until(text, |lines| lines.iter().any(|line| line.contains(text)));
        lines
            .into_iter()
            .find(|line| line.contains(text))
            .expect("it was found")
    }

    /// Waits until so many lines of the log hold this.
    #[track_caller]
    pub(crate) fn wait_for_logs(&self, text: &str, count: usize) {
        let (lines, _) = self.stderr.as_ref().expect("a pipe for its log");
        lines.wait_until(text, |lines| {
            lines.iter().filter(|line| line.contains(text)).count() >= count
        });
    }

    /// Has the configuration read again, and waits until that is done or refused; gives what was said of it.
    #[track_caller]
    pub(crate) fn reload(&self) -> String {
        let (lines, _) = self.stderr.as_ref().expect("a pipe for its log");
        let said = |lines: &[String]| -> Vec<String> {
            let outcome = |line: &&String| {
                line.contains("the configuration is reloaded")
                    || line.contains("the configuration is not reloaded")
            };
            lines.iter().filter(outcome).cloned().collect()
        };
        let before = said(&lines.all()).len();
        self.signal("HUP");
        let lines = lines.wait_until("reload", |lines| said(lines).len() > before);
        said(&lines).pop().expect("it was found")
    }

    /// Sends a signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .expect("a shell tool `kill`");
        assert!(sent.success());
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() {
            assert!(
                Instant::now() < deadline,
                "no end; its log: {:#?}",
                self.stderr.as_ref().map(|(lines, _)| lines.all())
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.child.wait().expect("a child");
        let all = |pipe: Option<(Arc<Lines>, JoinHandle<()>)>| {
            pipe.map(|(lines, thread)| {
                thread.join().expect("all was text");
                lines.all()
            })
            .unwrap_or_default()
        };
        Ended {
            status,
            stdout: all(self.stdout.take()),
            stderr: all(self.stderr.take()),
        }
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.end()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
