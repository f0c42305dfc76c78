//! The program on a machine whose clock is not set: what needs no date goes on, and the rest waits for one.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::mqtt::{Broker, messages};
use crate::process::{Process, kstar, wait_until};
use crate::world::{Folder, Roof, Row, key, readings, rows};

/// What the wall clock of a program is off by, which a test may change while it runs. Its own time runs on.
pub(crate) struct FakedClock(PathBuf);

impl FakedClock {
    /// A clock that is decades behind, as that of a machine without a battery.
    fn unset(folder: &Folder) -> Self {
        Self::off_by(folder, "-40y")
    }

    /// A clock that is off by so much.
    pub(crate) fn off_by(folder: &Folder, offset: &str) -> Self {
        let clock = Self(folder.join("clock"));
        clock.write(offset);
        clock
    }

    fn set(&self) {
        self.write("+0");
    }

    pub(crate) fn write(&self, offset: &str) {
        // At once: half a file is no offset.
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).expect("written");
        std::fs::rename(new, &self.0).expect("renamed");
    }

    pub(crate) fn start(&self, command: &mut Command) -> Process {
        let library = glob("faketime/libfaketimeMT.so.1");
        let command = command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.0)
            .env("FAKETIME_NO_CACHE", "1")
            .env("NO_FAKE_STAT", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Process::start(command)
    }
}

/// A library of this machine's architecture.
fn glob(library: &str) -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a folder");
    folders
        .map(|folder| folder.expect("a folder").path().join(library))
        .find(|path| path.is_file())
        .expect("faketime is installed; tests/all.sh does that")
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("a clock").as_millis()).expect("a time")
}

fn time(reading: &Row) -> i64 {
    let time: Timestamp = key(reading).1.parse().expect("a time");
    time.as_millisecond()
}

/// The states that a listener has heard, oldest first.
fn states(listener: &Process) -> Vec<Row> {
    let lines = listener.printed();
    let states = lines
        .iter()
        .filter_map(|line| messages(std::slice::from_ref(line)).remove("kstar/roof1/state"));
    states
        .map(|(_, _, payload)| serde_json::from_str(&payload).expect("JSON"))
        .collect()
}

fn wait_for_states(listener: &Process, count: usize) {
    wait_until("the broker hears of readings", || {
        states(listener).len() >= count
    });
}

#[test]
fn before_the_clock_is_set_readings_are_shown_without_a_time_and_stored_with_the_right_one_after() {
    let roof = Roof::new(1);
    let broker = Broker::start();
    let listener = broker.listen();
    let folder = Folder::with_config(&roof.config(&format!(
        "[sinks.stdout]\n[sinks.sqlite]\npath = \"history.db\"\n[sinks.mqtt]\nurl = \"{}\"\ntopics = \"json\"\n",
        broker.url()
    )));
    let clock = FakedClock::unset(&folder);
    let began = now();
    let run = clock.start(&mut kstar(folder.path(), ["run"]));
    wait_for_states(&listener, 10);
    let shown = now();
    for state in states(&listener) {
        assert!(!state.contains_key("time"), "{state:?}");
        assert!(state.contains_key("grid_import_energy_total"), "{state:?}");
        assert!(!state.contains_key("grid_import_energy_today"), "{state:?}");
    }
    run.wait_for_log("the clock is not set");
    assert_eq!(run.printed(), [""; 0]);
    assert_eq!(rows(&folder.history()).len(), 0);
    let before = states(&listener).len();
    clock.set();
    run.wait_for_printed(before + 5);
    let ended = run.stop().expect_code(0);
    let finished = now();
    let printed = readings(&ended.stdout);
    let times: Vec<i64> = printed.iter().map(time).collect();
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    // The first was shown before the tenth was, and none was taken before the program began.
    assert!(
        times[0] >= began && times[9] <= shown,
        "{began} {times:?} {shown}"
    );
    assert!(times[times.len() - 1] <= finished);
    let stored: Vec<_> = rows(&folder.history()).iter().map(key).collect();
    let printed: Vec<_> = printed.iter().map(key).collect();
    assert_eq!(stored, printed);
    // All that was shown without a time is among it.
    let undated = states(&listener)
        .iter()
        .filter(|state| !state.contains_key("time"))
        .count();
    assert!(undated >= before && printed.len() > undated);
}

#[test]
fn a_stop_before_the_clock_is_set_says_what_is_lost_and_a_spool_loses_nothing() {
    let roof = Roof::new(1);
    let broker = Broker::start();
    let listener = broker.listen();
    let config = roof.config(&format!(
        "[sinks.stdout]\n[sinks.sqlite]\npath = \"history.db\"\ndelivery.spool = true\n[sinks.mqtt]\nurl = \"{}\"\ntopics = \"json\"\n",
        broker.url()
    ));
    let folder = Folder::with_config(&config);
    let clock = FakedClock::unset(&folder);
    let began = now();
    let run = clock.start(&mut kstar(folder.path(), ["run"]));
    wait_for_states(&listener, 10);
    let ended = run.stop().expect_code(0);
    let stopped = now();
    assert!(ended.stdout.is_empty());
    let counts = ended.counts("stdout");
    let taken = counts.of("taken");
    assert!(
        taken >= 10 && counts.of("dropped") == taken,
        "{}",
        ended.err()
    );
    assert_eq!(
        ended.logged("the clock was never set"),
        1,
        "{}",
        ended.err()
    );
    assert!(
        ended.err().contains(&format!("lost={taken}")),
        "{}",
        ended.err()
    );
    assert_eq!(rows(&folder.history()).len(), 0);

    clock.set();
    let run = clock.start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(5);
    let ended = run.stop().expect_code(0);
    let live = ended.stdout.len();
    let stored = rows(&folder.history());
    assert_eq!(stored.len(), taken + live, "{}", ended.err());
    let old = stored
        .iter()
        .filter(|row| (began..=stopped).contains(&time(row)))
        .count();
    assert_eq!(old, taken);
}
