//! The program and InfluxDB: what a query gives back, what is said of a refusal, and that nobody else waits for it.
//!
//! What the sink does with servers that die, refuse and misbehave is tested in `sinks/influxdb`.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::mqtt::Broker;
use crate::process::{Process, kstar, wait_until};
use crate::world::{BOTH_SINKS, Folder, Roof, key, readings, rows};

/// Longer than the driver waits before it tries again where somebody must act.
const A_MINUTE_AND_MORE: Duration = Duration::from_secs(150);

/// An InfluxDB on a free port.
pub(crate) struct Influxdb {
    child: Child,
    port: u16,
    _folder: Folder,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Influxdb {
    /// One with these lines in its section `[http]`.
    pub(crate) fn start(lines: &str) -> Self {
        let folder = Folder::new();
        let (port, control) = (free_port(), free_port());
        let path = folder.path().display();
        folder.write(
            "conf",
            format!(
                "reporting-disabled = true\nbind-address = \"127.0.0.1:{control}\"\n\
                 [meta]\ndir = \"{path}/meta\"\n\
                 [data]\ndir = \"{path}/data\"\nwal-dir = \"{path}/wal\"\n\
                 [monitor]\nstore-enabled = false\n\
                 [http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n{lines}\n"
            ),
        );
        let child = Command::new("influxd")
            .arg("-config")
            .arg(folder.join("conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("influxd is installed; tests/all.sh does that");
        let influxdb = Self {
            child,
            port,
            _folder: folder,
        };
        wait_until("InfluxDB listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        influxdb
    }

    /// What its own client answers to a query: the first series.
    pub(crate) fn query(&self, query: &str, user: &[&str]) -> Value {
        let output = Command::new("influx")
            .args([
                "-host",
                "127.0.0.1",
                "-database",
                "solar",
                "-format",
                "json",
            ])
            .args(["-precision", "ms", "-port", &self.port.to_string()])
            .args(user)
            .args(["-execute", query])
            .stdin(Stdio::null())
            .output()
            .expect("influxdb-client is installed; tests/all.sh does that");
        assert!(output.status.success(), "{query}: {output:?}");
        serde_json::from_slice(&output.stdout)
            .map(|answer: Value| answer["results"][0]["series"][0].clone())
            .unwrap_or_default()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn section(&self, lines: &str) -> String {
        let url = self.url();
        format!("[sinks.influxdb]\nurl = \"{url}\"\ndatabase = \"solar\"\n{lines}\n")
    }
}

impl Drop for Influxdb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_query_gives_back_what_was_printed() {
    let influxdb = Influxdb::start("");
    influxdb.query("CREATE DATABASE solar", &[]);
    let roof = Roof::new(2);
    let section = influxdb.section("tags = { site = \"home\" }");
    let folder = Folder::with_config(&roof.config(&format!("[sinks.stdout]\n{section}")));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    run.wait_for_printed(40);
    let ended = run.stop().expect_code(0);
    let printed = readings(&ended.stdout);
    let series = influxdb.query("SELECT * FROM inverter", &[]);
    let columns = series["columns"].as_array().expect("columns");
    let values = series["values"].as_array().expect("values");
    assert_eq!(values.len(), printed.len());
    for row in values {
        let cell = |name: &str| {
            let place = columns.iter().position(|column| column == name);
            &row[place.expect("a column")]
        };
        let time = cell("time").as_i64().expect("milliseconds");
        let time = kstar_model::time::UnixMillis(time).to_string();
        let reading = printed
            .iter()
            .find(|reading| reading["time"] == *time && reading["inverter"] == *cell("inverter"))
            .expect("it was printed");
        assert_eq!(cell("site"), "home");
        for (name, value) in reading {
            match value {
                Value::Number(number) if name != "schema" => {
                    assert_eq!(cell(name).as_f64(), number.as_f64(), "{name}");
                }
                Value::String(text) if !["time", "serial", "model"].contains(&&**name) => {
                    assert_eq!(cell(name), text, "{name}");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_wrong_password_is_said_once_and_what_waited_arrives_when_it_is_mended() {
    let influxdb = Influxdb::start("auth-enabled = true");
    influxdb.query(
        "CREATE USER admin WITH PASSWORD 'secret' WITH ALL PRIVILEGES",
        &[],
    );
    let admin = ["-username", "admin", "-password", "secret"];
    for query in [
        "CREATE DATABASE solar",
        "CREATE USER kstar WITH PASSWORD 'old'",
        "GRANT ALL ON solar TO kstar",
    ] {
        influxdb.query(query, &admin);
    }
    let roof = Roof::new(1);
    let section = influxdb.section("username = \"kstar\"\npassword = \"hunter2\"");
    let folder = Folder::with_config(&roof.config(&format!("[sinks.stdout]\n{section}")));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let said = run.wait_for_log("lets nothing in");
    assert!(said.contains("`username` and `password`"), "{said}");
    influxdb.query("SET PASSWORD FOR kstar = 'hunter2'", &admin);
    let count = || {
        let series = influxdb.query("SELECT count(grid_voltage) FROM inverter", &admin);
        series["values"][0][1].as_u64().unwrap_or_default()
    };
    let deadline = Instant::now() + A_MINUTE_AND_MORE;
    while count() == 0 {
        assert!(Instant::now() < deadline, "it was not tried again");
        std::thread::sleep(Duration::from_millis(200));
    }
    run.wait_for_log("delivering again");
    let ended = run.stop().expect_code(0);
    assert_eq!(ended.logged("lets nothing in"), 1, "{ended:#?}");
    assert!(!ended.err().contains("hunter2"), "{ended:#?}");
    assert_eq!(count(), readings(&ended.stdout).len() as u64);
}

#[test]
fn while_influxdb_hangs_every_other_sink_gets_every_reading() {
    // It takes connections and never says a word.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", deaf.local_addr().expect("an address"));
    let (roof, broker) = (Roof::new(1), Broker::start());
    let config = roof.config(&format!(
        "{BOTH_SINKS}[sinks.mqtt]\nurl = \"{}\"\nclient_id = \"test\"\n\
         [sinks.influxdb]\nurl = \"{url}\"\norg = \"home\"\nbucket = \"solar\"\ndelivery.timeout = \"500ms\"\n",
        broker.url()
    ));
    let folder = Folder::with_config(&config.replace("grace = \"8s\"", "grace = \"6s\""));
    let listener = broker.listen();
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let said = run.wait_for_log("cannot deliver");
    assert!(said.contains(&url), "{said}");
    run.wait_for_printed(run.printed().len() + 40);
    let ended = run.stop();
    // What waits for InfluxDB waits on disk.
    let ended = ended.expect_code(0);
    let printed = readings(&ended.stdout);
    assert_eq!(rows(&folder.history()).len(), printed.len());
    assert_eq!(ended.counts("influxdb").of("delivered"), 0);
    // At the broker only the newest state counts; what was sent while another came is replaced.
    let mqtt = ended.counts("mqtt");
    assert_eq!(mqtt.of("taken"), printed.len());
    assert_eq!(mqtt.of("delivered") + mqtt.of("replaced"), printed.len());
    let newest = key(printed.last().expect("a reading"));
    listener.wait_for_line("the newest reading", |line| {
        line.contains(" kstar/roof1/state ") && line.contains(&newest.1)
    });
}
