//! What the tests need around the sink: servers that can be killed, and a driver.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kstar_model::reading::Reading;
use kstar_sink::driver::{Driver, Ended};
use kstar_sink::event::Event;
use kstar_sink::health::{Health, Snapshot, State};
use kstar_sink::sink::{Context, Sink, SinkConfig};
use kstar_sink::testing::Record;
use kstar_sink_influxdb::InfluxdbConfig;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A server's process with a folder of its own.
pub(crate) struct Server {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    program: &'static str,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    fn new(program: &'static str, folder: TempDir, port: u16, arguments: Vec<String>) -> Self {
        let mut server = Self {
            folder,
            port,
            program,
            arguments,
            child: None,
        };
        server.start();
        server
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let begin = std::time::Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(
                begin.elapsed() < PATIENCE,
                "{} does not listen: {}",
                self.program,
                log()
            );
            // It ends at once while its port is somebody else's for a moment.
            let ended = |child: &mut Child| child.try_wait().unwrap().is_some();
            if self.child.as_mut().is_none_or(ended) {
                self.child = Some(self.spawn());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn spawn(&self) -> Child {
        let log = fs::File::create(self.path("log")).unwrap();
        Command::new(self.program)
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; tests/all.sh installs it", self.program))
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// Stops it in order.
    pub(crate) fn stop(&mut self) {
        self.signal("INT");
        self.child.take().unwrap().wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An InfluxDB 1.6.
pub(crate) struct Influxdb {
    pub(crate) server: Server,
    scheme: &'static str,
    http: reqwest::Client,
}

impl Influxdb {
    /// One with a database `solar`.
    pub(crate) async fn start() -> Self {
        let influxdb = Self::with("", |_| ());
        influxdb.query("CREATE DATABASE solar").await;
        influxdb
    }

    /// One with these lines in its section `[http]`, where `FOLDER` stands for its folder, which is prepared before.
    pub(crate) fn with(lines: &str, prepare: impl FnOnce(&std::path::Path)) -> Self {
        let folder = TempDir::new().unwrap();
        prepare(folder.path());
        let (port, control) = (free_port(), free_port());
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{control}\"\n\
             [meta]\ndir = \"FOLDER/meta\"\n\
             [data]\ndir = \"FOLDER/data\"\nwal-dir = \"FOLDER/wal\"\n\
             [monitor]\nstore-enabled = false\n\
             [http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\n{lines}\n"
        )
        .replace("FOLDER", folder.path().to_str().unwrap());
        let path = folder.path().join("conf");
        fs::write(&path, config).unwrap();
        let arguments = vec!["-config".to_owned(), path.display().to_string()];
        Self {
            server: Server::new("influxd", folder, port, arguments),
            scheme: if lines.contains("https-enabled") {
                "https"
            } else {
                "http"
            },
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.server.port)
    }

    /// A configuration for its database `solar`, with these lines more.
    pub(crate) fn config(&self, lines: &str) -> InfluxdbConfig {
        config(&format!(
            "url = '{}'\ndatabase = 'solar'\n{lines}",
            self.url()
        ))
    }

    /// Writes a line as somebody else would.
    pub(crate) async fn write(&self, line: &str) {
        let url = format!("{}/write?db=solar", self.url());
        let written = self.http.post(url).body(line.to_owned()).send().await;
        assert_eq!(written.unwrap().status(), 204);
    }

    /// What it answers to a query, as soon as it answers; times are in milliseconds.
    pub(crate) async fn query(&self, query: &str) -> Value {
        self.query_as(query, &[]).await
    }

    pub(crate) async fn query_as(&self, query: &str, user: &[(&str, &str)]) -> Value {
        let begin = Instant::now();
        loop {
            let answered = match self.scheme {
                "https" => self.query_through_tls(query),
                _ => self.query_plainly(query, user).await,
            };
            let error = match answered {
                Ok(text) => {
                    let answer: Value = serde_json::from_str(&text).unwrap();
                    let failed = answer.get("error").or(answer["results"][0].get("error"));
                    match failed {
                        None => return answer,
                        Some(error) => error.to_string(),
                    }
                }
                Err(error) => error,
            };
            assert!(begin.elapsed() < PATIENCE, "{query}: {error}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn query_plainly(&self, query: &str, user: &[(&str, &str)]) -> Result<String, String> {
        let asked = self
            .http
            .post(format!("{}/query", self.url()))
            .query(&[("db", "solar"), ("epoch", "ms"), ("q", query)])
            .query(user)
            .send()
            .await;
        match asked {
            Ok(answer) => Ok(answer.text().await.unwrap()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Asks with InfluxDB's own client, whatever the certificate.
    fn query_through_tls(&self, query: &str) -> Result<String, String> {
        let asked = Command::new("influx")
            .args(["-ssl", "-unsafeSsl", "-host", "localhost", "-port"])
            .arg(self.server.port.to_string())
            .args(["-database", "solar", "-precision", "ms"])
            .args(["-format", "json", "-execute", query])
            .output()
            .unwrap_or_else(|error| panic!("influx: {error}; tests/all.sh installs it"));
        if !asked.status.success() {
            return Err(String::from_utf8_lossy(&asked.stderr).into_owned());
        }
        Ok(String::from_utf8(asked.stdout).unwrap())
    }

    /// The points of a measurement, by time: tags and fields as text.
    pub(crate) async fn points(&self, measurement: &str) -> Vec<Record> {
        let measurement = measurement.replace('\\', "\\\\").replace('"', "\\\"");
        let answer = self
            .query(&format!("SELECT * FROM \"{measurement}\" GROUP BY *"))
            .await;
        let mut points = Vec::new();
        for series in answer["results"][0]["series"]
            .as_array()
            .unwrap_or(&Vec::new())
        {
            let tags: BTreeMap<_, _> = (series["tags"].as_object().unwrap())
                .iter()
                .map(|(key, value)| (key.clone(), text(value)))
                .collect();
            for row in series["values"].as_array().unwrap() {
                let fields = series["columns"].as_array().unwrap().iter();
                let fields = fields
                    .zip(row.as_array().unwrap())
                    .filter(|(_, value)| !value.is_null())
                    .map(|(key, value)| (text(key), text(value)));
                points.push(tags.clone().into_iter().chain(fields).collect::<Record>());
            }
        }
        points.sort_by_key(|point| point["time"].parse::<i64>().unwrap());
        points
    }
}

/// A number or a string of JSON as text.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap().to_string(),
        other => other.to_string(),
    }
}

/// A VictoriaMetrics.
pub(crate) struct Victoria {
    pub(crate) server: Server,
    http: reqwest::Client,
}

impl Victoria {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let arguments = vec![
            format!("-storageDataPath={}", folder.path().join("data").display()),
            format!("-httpListenAddr=127.0.0.1:{port}"),
            "-retentionPeriod=100y".to_owned(),
            "-memory.allowedBytes=64MB".to_owned(),
        ];
        Self {
            server: Server::new("victoria-metrics", folder, port, arguments),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) fn config(&self, lines: &str) -> InfluxdbConfig {
        let port = self.server.port;
        config(&format!(
            "url = 'http://127.0.0.1:{port}'\norg = 'home'\nbucket = 'solar'\n{lines}"
        ))
    }

    async fn get(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.server.port);
        let begin = Instant::now();
        loop {
            if let Ok(answer) = self.http.get(&url).send().await
                && answer.status().is_success()
                && let Ok(text) = answer.text().await
            {
                return text;
            }
            assert!(begin.elapsed() < PATIENCE, "{path}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every sample that it holds, with the labels, as it is on its disk: name, inverter, time, value.
    pub(crate) async fn samples(&self) -> Vec<(String, String, i64, f64)> {
        self.get("/internal/force_flush").await;
        let export = self.get("/api/v1/export?match[]={__name__!=\"\"}").await;
        let mut samples = Vec::new();
        for line in export.lines() {
            let series: Value = serde_json::from_str(line).unwrap();
            let label = |name: &str| series["metric"][name].as_str().unwrap_or("").to_owned();
            let (values, times) = (&series["values"], &series["timestamps"]);
            for (value, time) in (values.as_array().unwrap().iter()).zip(times.as_array().unwrap())
            {
                samples.push((
                    label("__name__"),
                    label("inverter"),
                    time.as_i64().unwrap(),
                    value.as_f64().unwrap(),
                ));
            }
        }
        samples
    }
}

/// A section, written as in a file.
pub(crate) fn config(text: &str) -> InfluxdbConfig {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn context() -> Context {
    Context {
        inverters: vec!["roof".into()],
        poll_interval: Duration::from_secs(5),
        state_dir: "/nonexistent".into(),
        zone: kstar_model::TimeZone::UTC,
        version: "0.0.0",
    }
}

/// A sink in its driver.
pub(crate) struct Running {
    events: broadcast::Sender<Event>,
    health: Arc<Health>,
    driver: JoinHandle<Ended>,
}

impl Running {
    pub(crate) fn start(config: &InfluxdbConfig) -> Self {
        Self::of(config.open(&context()).unwrap(), config)
    }

    pub(crate) fn of(sink: Box<dyn Sink>, config: &InfluxdbConfig) -> Self {
        let (events, receiver) = broadcast::channel(1024);
        let health = Arc::new(Health::new("influxdb"));
        let driver = Driver::new(sink, config.policy(), Arc::clone(&health));
        Self {
            events,
            health,
            driver: tokio::spawn(driver.run(receiver, std::future::pending())),
        }
    }

    pub(crate) fn send(&self, readings: impl IntoIterator<Item = Arc<Reading>>) {
        for reading in readings {
            self.events.send(Event::Reading(reading)).unwrap();
        }
    }

    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let begin = Instant::now();
        loop {
            let now = self.health.snapshot();
            if reached(&now) {
                return now;
            }
            assert!(begin.elapsed() < PATIENCE, "in vain: {what}; {now:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until so many readings are delivered.
    pub(crate) async fn delivered(&self, count: u64) {
        self.until("readings are delivered", |now| {
            now.counts.delivered >= count && now.state == State::Up
        })
        .await;
    }

    /// The reason for which it is down, as soon as it is.
    pub(crate) async fn down(&self) -> String {
        let now = self
            .until("it is down", |now| matches!(now.state, State::Down { .. }))
            .await;
        match now.state {
            State::Down { reason } => reason,
            _ => unreachable!(),
        }
    }

    /// Ends it in order, and gives what became of its readings.
    pub(crate) async fn end(self) -> kstar_sink::health::Counts {
        drop(self.events);
        let ended = timeout(PATIENCE, self.driver).await;
        assert!(matches!(ended, Ok(Ok(Ended::Drained))), "{ended:?}");
        self.health.snapshot().counts
    }
}
