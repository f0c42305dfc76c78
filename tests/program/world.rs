//! What is around the program: inverters, other hosts, a folder, disks, users.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kstar_simulator::Running;
use kstar_simulator::encode::Request;
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::process::program;

/// Inverters that are not there, in this process.
pub(crate) struct Roof {
    runtime: tokio::runtime::Runtime,
    inverters: Vec<Running>,
}

impl Roof {
    /// So many inverters, on ports that the system chooses.
    pub(crate) fn new(count: u64) -> Self {
        let mut roof = Self {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime"),
            inverters: Vec::new(),
        };
        for seed in 1..=count {
            roof.add(kstar_simulator::Config {
                speed: 3600.0,
                ..kstar_simulator::Config::new(seed)
            });
        }
        roof
    }

    /// One more.
    pub(crate) fn add(&mut self, config: kstar_simulator::Config) {
        let inverter = self.runtime.block_on(kstar_simulator::start(config));
        self.inverters.push(inverter.expect("an inverter"));
    }

    /// Takes the first one away.
    pub(crate) fn take_first(&mut self) {
        let inverter = self.inverters.remove(0);
        self.runtime.block_on(inverter.stop());
    }

    /// Where they answer requests.
    pub(crate) fn hosts(&self) -> Vec<SocketAddr> {
        self.inverters.iter().map(Running::data_address).collect()
    }

    /// Where the first one answers requests.
    pub(crate) fn host(&self) -> String {
        self.hosts()[0].to_string()
    }

    /// Where the first one answers greetings.
    pub(crate) fn greeted(&self) -> String {
        let address = self.inverters[0].discovery_address();
        address.expect("it answers greetings").to_string()
    }

    /// How many requests the first one has had.
    pub(crate) fn requests(&self) -> u64 {
        self.inverters[0].counts().requests.values().sum()
    }

    /// How many polls the one of this number was asked, beginning with 1.
    pub(crate) fn polls(&self, number: usize) -> u64 {
        self.inverters[number - 1]
            .counts()
            .requests(Request::Running)
    }

    /// A configuration that polls all of them twenty times a second; the sections of sinks follow.
    pub(crate) fn config(&self, sinks: &str) -> String {
        config(&self.hosts(), sinks)
    }
}

/// A configuration that polls these hosts twenty times a second.
pub(crate) fn config(hosts: &[SocketAddr], sinks: &str) -> String {
    let mut text = "state_dir = \"state\"\n\
        [collector]\npoll_interval = \"50ms\"\nallow_fast_polling = true\ntimeout = \"400ms\"\ngrace = \"8s\"\n"
        .to_owned();
    for (host, number) in hosts.iter().zip(1..) {
        writeln!(
            text,
            "[[inverter]]\nname = \"roof{number}\"\nhost = \"{host}\""
        )
        .expect("text");
    }
    text + sinks
}

/// Both sinks, with the history in `history.db`.
pub(crate) const BOTH_SINKS: &str =
    "[sinks.stdout]\n[sinks.sqlite]\npath = \"history.db\"\ndelivery.timeout = \"500ms\"\n";

/// A folder that vanishes with the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// With a file `kstar.toml` in it, where the program looks first.
    pub(crate) fn with_config(text: &str) -> Self {
        let folder = Self::new();
        folder.write("kstar.toml", text);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    /// The history, opened as any SQLite tool would.
    pub(crate) fn history(&self) -> Connection {
        open(&self.join("history.db"))
    }
}

/// A database, opened as any SQLite tool would.
pub(crate) fn open(path: &Path) -> Connection {
    Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)
        .expect("a database")
}

/// A reading as it was printed or as it is in the history: its keys and values as JSON has them.
pub(crate) type Row = Map<String, Value>;

/// Lines that were printed, as readings.
pub(crate) fn readings(lines: &[String]) -> Vec<Row> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// When a reading was taken, and of which inverter: what makes it that one.
pub(crate) fn key(reading: &Row) -> (String, String) {
    let text = |key: &str| reading[key].as_str().expect("text").to_owned();
    (text("inverter"), text("time"))
}

/// All that the view `readings` shows, in the order of time, as printed lines would have it: what is absent is left
/// out, flags are a list. Serial number and model are left out, since the view knows them for readings before.
pub(crate) fn rows(database: &Connection) -> Vec<Row> {
    let mut statement = database
        .prepare("SELECT * FROM readings ORDER BY time, inverter")
        .expect("the view");
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    statement
        .query_map([], |row| {
            let mut reading = Row::new();
            for (index, column) in columns.iter().enumerate() {
                let value = match row.get::<_, Cell>(index)? {
                    Cell::Null => continue,
                    Cell::Integer(number) => number.into(),
                    Cell::Real(number) => number.into(),
                    Cell::Text(text) => text.into(),
                    Cell::Blob(_) => panic!("a blob in {column}"),
                };
                reading.insert(column.clone(), value);
            }
            Ok(reading)
        })
        .expect("rows")
        .map(|row| {
            let mut row = row.expect("a row");
            row.remove("time");
            let time = row.remove("time_utc").expect("a time");
            row.insert("time".to_owned(), time);
            row
        })
        .collect()
}

/// Whether a printed reading and a row of the history say the same. JSON has 231 where SQL has 231.0, and a list
/// where SQL has text.
#[track_caller]
pub(crate) fn assert_same(printed: &Row, row: &Row) {
    let plain = |key: &String, value: &Value| {
        let value = match value {
            Value::Number(number) => format!("{}", number.as_f64().expect("a number")),
            Value::Array(flags) if flags.is_empty() => "none".to_owned(),
            Value::Array(flags) => {
                let flags: Vec<_> = flags.iter().filter_map(Value::as_str).collect();
                flags.join(",")
            }
            Value::String(text) => text.clone(),
            other => panic!("{key} is {other}"),
        };
        (key.clone(), value)
    };
    let quantities = |reading: &Row| -> Vec<(String, String)> {
        let mut all: Vec<_> = reading
            .iter()
            .filter(|(key, _)| !["schema", "serial", "model"].contains(&key.as_str()))
            .map(|(key, value)| plain(key, value))
            .collect();
        all.sort();
        all
    };
    assert_eq!(quantities(printed), quantities(row));
    for key in ["serial", "model"] {
        if let Some(known) = printed.get(key) {
            assert_eq!(row.get(key), Some(known));
        }
    }
}

/// Another host: it answers every datagram with the same bytes, or not at all.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Peer {
    /// One that gives the same answer to everything.
    pub(crate) fn new(answer: Option<&'static [u8]>) -> Self {
        Self::answering(move |_| answer.map(<[u8]>::to_vec))
    }

    /// Ends with the test's process.
    pub(crate) fn answering(
        mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                count.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&buffer[..length]) {
                    // Anyone who asked may be gone.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// An address where nobody listens.
pub(crate) fn closed_port() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("an address")
}

/// The user "nobody" of all systems.
const NOBODY: u32 = 65534;

fn is_root(path: &Path) -> bool {
    std::fs::metadata(path).expect("a folder").uid() == 0
}

/// The program as a user whom permissions stop; root, whom they do not, becomes another one. The folder is that
/// user's to look into.
pub(crate) fn kstar_without_privileges(folder: &Folder, args: &[&str]) -> Command {
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    };
    let binary = folder.join("kstar");
    std::fs::copy(env!("CARGO_BIN_EXE_kstar"), &binary).expect("a copy");
    open(&binary, 0o755);
    if is_root(folder.path()) {
        open(folder.path(), 0o755);
        let mut command = program(&binary, folder.path(), args);
        command.uid(NOBODY).gid(NOBODY);
        command
    } else {
        open(folder.path(), 0o555);
        program(&binary, folder.path(), args)
    }
}

/// A disk that does not answer: a named pipe in the place of a file, which keeps anyone who opens it to write.
pub(crate) struct HangingFile {
    place: PathBuf,
    aside: PathBuf,
    /// Once it answers: what was waiting would fail if this were closed.
    reader: Option<std::fs::File>,
}

impl HangingFile {
    /// From now on this file hangs.
    pub(crate) fn new(place: PathBuf) -> Self {
        let (pipe, aside) = (place.with_extension("pipe"), place.with_extension("aside"));
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("a shell tool `mkfifo`").success());
        if place.exists() {
            std::fs::hard_link(&place, &aside).expect("a link");
        }
        // In one step: the program must not find nothing there.
        std::fs::rename(pipe, &place).expect("renamed");
        Self {
            place,
            aside,
            reader: None,
        }
    }

    /// The file is back as it was, and what hangs goes on.
    pub(crate) fn answer(&mut self) {
        let pipe = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&self.place);
        self.reader = Some(pipe.expect("a pipe"));
        std::fs::rename(&self.aside, &self.place).expect("renamed");
    }
}

/// A small disk, mounted in a folder for as long as this lives.
pub(crate) struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// Only root may mount: without that this says so and there is none, unless a test must not be left out.
    pub(crate) fn mount(place: &'a Path, kibibytes: u32) -> Option<Self> {
        std::fs::create_dir_all(place).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kibibytes}k"), "tmpfs"])
            .arg(place)
            .status()
            .is_ok_and(|status| status.success());
        if mounted {
            return Some(Self(place));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "cannot mount a small disk, and CI must not leave this test out"
        );
        // Not by a macro, whose output a test that passes does not show.
        let loud = b"NOT TRIED: only root may mount a small disk; run this test as root\n";
        std::io::stderr().write_all(loud).expect("written");
        None
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily, in case a test that has failed still has files open there.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}
