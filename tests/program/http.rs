//! HTTP: what it answers, to whom, and that nobody who asks can disturb polling.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use kstar_http::{LISTENERS, QUESTIONS, ROUTES};
use serde_json::Value;

use crate::past::Past;
use crate::process::{PATIENCE, Process, ended, kstar, service, wait_until};
use crate::schema::mistake;
use crate::world::{Folder, Roof};

/// Every sink that needs nobody else, and HTTP on a port that the system chooses.
const SECTIONS: &str =
    "[sinks.stdout]\n[sinks.sqlite]\npath = \"history.db\"\n[http]\nlisten = \"127.0.0.1:0\"\n";

/// A collector that serves HTTP.
pub(crate) struct Served {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    _folder: Folder,
}

impl Served {
    pub(crate) fn by(roof: &Roof, sections: &str) -> Self {
        Self::in_folder(Folder::with_config(&roof.config(sections)))
    }

    pub(crate) fn in_folder(folder: Folder) -> Self {
        let process = Process::start(&mut kstar(folder.path(), ["run"]));
        let line = process.wait_for_log("HTTP is listening");
        let (_, address) = line.split_once("address=").expect("an address");
        let address = address.split_whitespace().next().expect("an address");
        Self {
            process,
            address: address.parse().expect("an address"),
            _folder: folder,
        }
    }

    /// Polled so rarely that nothing changes after the first reading, whose inverter has told who it is.
    pub(crate) fn once(roof: &Roof, sections: &str) -> Self {
        let config = roof.config(sections).replace("\"50ms\"", "\"5m\"");
        let served = Self::in_folder(Folder::with_config(&config));
        served.process.wait_for_log("identified");
        served
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(path, &[])
    }

    pub(crate) fn ask(&self, path: &str, headers: &[&str]) -> Answer {
        let host = format!("Host: {}", self.address);
        Answer::to(
            self.address,
            "GET",
            path,
            &[&[host.as_str()], headers].concat(),
        )
    }

    /// How much memory of its own the process has, in KiB.
    fn heap(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.pid());
        let status = std::fs::read_to_string(status).expect("a process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.expect("its memory").parse().expect("a number")
    }

    /// Waits until an answer is as it should be.
    #[track_caller]
    fn wait_for(&self, path: &str, right: impl Fn(&Answer) -> bool) -> Answer {
        let mut answer = self.get(path);
        wait_until(&format!("the right answer to {path}"), || {
            answer = self.get(path);
            right(&answer)
        });
        answer
    }
}

/// What a client gets to see.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn to(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Self {
        let mut stream = connect(address);
        // By the old protocol, an answer in parts ends with its connection.
        let head = format!(
            "{method} {path} HTTP/1.0\r\n{}\r\n\r\n",
            headers.join("\r\n")
        );
        stream.write_all(head.as_bytes()).expect("written");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).expect("an answer in time");
        Self::read(&String::from_utf8(text).expect("text"))
    }

    /// One as it came.
    pub(crate) fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let mut lines = head.lines();
        let status = lines.next().expect("a status").split(' ').nth(1);
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Self {
            status: status.expect("a status").parse().expect("a number"),
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// That it is an error in our form, and what it says.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let json = self.json();
        let keys: Vec<_> = json.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["error"], "{self:?}");
        json["error"].as_str().expect("text").to_owned()
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

/// The values of a text of metrics, by series.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// Whether two numbers are the same, but for how they were computed.
fn same(one: f64, other: f64) -> bool {
    (one - other).abs() <= other.abs() * 1e-12
}

#[test]
fn the_description_and_the_program_tell_the_same() {
    let roof = Roof::new(2);
    let served = Served::by(&roof, SECTIONS);
    served.process.wait_for_printed(20);
    let document = served.get("/api/v1/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    let routed: BTreeSet<&str> = ROUTES.iter().map(|(path, _)| *path).collect();
    assert_eq!(described, routed);
    let index = served.get("/").body;
    for path in &routed {
        assert!(index.contains(&format!("\n{path} ")), "{index}");
    }
    for (path, described) in paths {
        let described = &described["get"];
        // Asked for a parameter that does not exist, it lists those that do.
        let parameters: BTreeSet<String> = described["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| parameter["name"].as_str().expect("a name").to_owned())
            .collect();
        let asked = served.get(&format!("{path}?no_such_parameter=1"));
        if path.starts_with("/api/v1/") && path != "/api/v1/openapi.json" {
            let said = asked.error(400);
            let said = said.split_once("expected ").map(|(_, list)| list);
            let legal = said
                .into_iter()
                .flat_map(|list| list.split('`').skip(1).step_by(2));
            assert_eq!(parameters, legal.map(str::to_owned).collect(), "{path}");
        } else {
            assert!(parameters.is_empty(), "{path}");
            assert_eq!(asked.status, 200, "{path}");
        }
        if path == "/api/v1/stream" {
            continue;
        }
        let right = served.get(path);
        assert_eq!(right.status, 200, "{path} {right:?}");
        let media = described["responses"]["200"]["content"].as_object();
        let media = media.expect("a type of answer");
        let given = right.headers["content-type"].split(';').next();
        let schema = &media[given.expect("a type")]["schema"];
        if media.contains_key("application/json") {
            let wrong = mistake(&document, schema, &right.json());
            assert_eq!(wrong, None, "{path}");
        }
    }
    for question in [
        "/api/v1/readings?resolution=5min",
        "/api/v1/readings?resolution=hour&from=2d&inverter=roof1",
        "/api/v1/readings?resolution=day&from=2026&to=today&fields=pv_power,pv_energy_total",
        "/api/v1/readings?from=yesterday&to=today&fields=battery_mode,errors",
        "/api/v1/report?period=month&date=today",
        "/api/v1/report?period=total&inverter=roof2",
    ] {
        let (path, _) = question.split_once('?').expect("parameters");
        let answer = served.get(question);
        assert_eq!(answer.status, 200, "{question} {answer:?}");
        let schema =
            &paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let json = answer.json();
        assert_eq!(mistake(&document, schema, &json), None, "{question}");
        let rows = json.as_array().map(Vec::len);
        assert_ne!(rows, Some(0), "{question}");
    }
    served.process.stop().expect_code(0);
}

#[test]
fn what_is_asked_wrongly_is_answered_with_what_is_right() {
    let roof = Roof::new(1);
    let served = Served::by(&roof, SECTIONS);
    served.process.wait_for_log("delivering sink=\"sqlite\"");
    for (path, words) in [
        ("/api/v1/readings?from=tomorrow", "write a date like"),
        (
            "/api/v1/readings?from=2026-02&to=2026-01",
            "the end must be later",
        ),
        ("/api/v1/readings?from=2020", "more than the 7 days"),
        (
            "/api/v1/readings?from=2010&resolution=5min",
            "resolution=hour",
        ),
        ("/api/v1/readings?resolution=minute", "`5min`"),
        (
            "/api/v1/readings?fields=pv_powr",
            "no quantity is named `pv_powr`",
        ),
        (
            "/api/v1/readings?fields=battery_mode&resolution=day",
            "resolution=raw",
        ),
        ("/api/v1/readings?fields=", "no quantity is named ``"),
        ("/api/v1/readings?from=today&from=today", "duplicate field"),
        ("/api/v1/readings?from=%FF%00%0A", "no date"),
        ("/api/v1/report?period=decade", "`month`"),
        ("/api/v1/report?period=month&date=2026", "a whole year"),
        ("/api/v1/report?period=total&date=2026", "period=year"),
        ("/api/v1/report?period=total&compare=true", "period=year"),
    ] {
        let said = served.get(path).error(400);
        assert!(said.contains(words), "{path}: {said}");
    }
    for path in ["/api/v1/readings?inverter=shed", "/api/v1/report?inverter="] {
        let said = served.get(path).error(404);
        assert!(said.contains("only: roof1"), "{said}");
    }
    let said = served.get("/api/v1/report?date=1999-01-01").error(404);
    assert!(said.contains("Friday 1 January 1999"), "{said}");
    for path in ["/api", "/metrics/", "/../etc/passwd", "//", "/%2e%2e/"] {
        let said = served.get(path).error(404);
        assert!(said.contains("/ lists what there is"), "{said}");
    }
    let host = format!("Host: {}", served.address);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = Answer::to(served.address, method, "/metrics", &[&host]);
        answer.error(405);
        assert_eq!(answer.headers["allow"], "GET, HEAD");
    }
    served.ask("/", &["Content-Length: 9999999"]).error(413);
    let other = Answer::to(served.address, "GET", "/metrics", &["Host: evil.example"]);
    let said = other.error(421);
    assert!(said.contains("localhost"), "{said}");
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    let head = Answer::to(served.address, "HEAD", "/metrics", &[&host]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    // A head that never ends is not gathered for ever.
    let endless = format!("X-Long: {}", "x".repeat(64 * 1024));
    let mut stream = connect(served.address);
    // It may be cut off before all is written.
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\n{host}\r\n{endless}").as_bytes());
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 431 "),
        "{text}"
    );
    let log = served.process.stop().expect_code(0);
    assert_eq!(log.logged("panic"), 0, "{log:#?}");
    assert_eq!(log.logged("ERROR"), 0, "{log:#?}");
}

#[test]
fn readings_are_those_that_were_printed() {
    let roof = Roof::new(2);
    let served = Served::by(&roof, SECTIONS);
    served.process.wait_for_printed(10);
    let latest = served.get("/api/v1/readings/latest").json();
    let kept = served.wait_for("/api/v1/readings", |answer| {
        answer
            .json()
            .as_array()
            .is_some_and(|rows| rows.len() >= 10)
    });
    let kept = kept.json();
    let only = served
        .get("/api/v1/readings?inverter=roof2&fields=pv_power")
        .json();
    let printed: Vec<Value> = served
        .process
        .stop()
        .expect_code(0)
        .stdout
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let mut names = BTreeSet::new();
    for reading in latest.as_array().expect("a list") {
        assert!(printed.contains(reading), "{reading}");
        names.insert(reading["inverter"].as_str().expect("a name"));
    }
    assert_eq!(names, BTreeSet::from(["roof1", "roof2"]));
    // Serial and model are those that are known now.
    let bare = |reading: &Value| {
        let mut reading = reading.as_object().expect("an object").clone();
        reading.remove("serial");
        reading.remove("model");
        reading
    };
    let printed: Vec<_> = printed.iter().map(bare).collect();
    for reading in kept.as_array().expect("a list") {
        assert!(printed.contains(&bare(reading)), "{reading}");
    }
    for reading in only.as_array().expect("a list") {
        assert_eq!(reading["inverter"], "roof2");
        let known = ["schema", "time", "inverter", "serial", "model", "pv_power"];
        for key in reading.as_object().expect("an object").keys() {
            assert!(known.contains(&key.as_str()), "{reading}");
        }
    }
}

#[test]
fn a_day_is_sent_as_it_is_read_and_whoever_does_not_take_it_holds_up_nobody_for_long() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config(SECTIONS));
    let day = Past {
        zone: "UTC",
        every: Duration::from_secs(10),
        inverters: &["shed", "barn"],
        ..Past::default()
    };
    day.write(&folder.join("history.db"));
    let args = ["export", "--history", "history.db", "--format", "json"];
    let args = [&args[..], &["--from", "2026-06-12", "--to", "2026-06-12"]].concat();
    let exported = ended(&mut kstar(folder.path(), args)).expect_code(0).stdout;
    assert_eq!(exported.len(), 2 * 8640);
    let served = Served::in_folder(folder);
    served.process.wait_for_printed(1);
    let question = "/api/v1/readings?from=2026-06-12&to=2026-06-12";
    let before = served.heap();
    let answer = served.get(question);
    assert!(
        answer.body == format!("[{}]\n", exported.join(",")),
        "not what is exported"
    );
    // It has some ten megabytes, and none of them was kept.
    let growth = served.heap().saturating_sub(before);
    assert!(
        growth < 8 * 1024 && answer.body.len() > 8 * 1024 * 1024,
        "{growth} KiB"
    );
    let head = format!(
        "GET {question} HTTP/1.1\r\nHost: {}\r\n\r\n",
        served.address
    );
    let hanging: Vec<TcpStream> = (0..QUESTIONS)
        .map(|_| {
            let mut stream = connect(served.address);
            stream.write_all(head.as_bytes()).expect("written");
            // It has begun, and is not read any further.
            stream.read_exact(&mut [0; 12]).expect("a beginning");
            stream
        })
        .collect();
    let refused = served.get(question);
    assert!(
        refused.error(503).contains("ask again in a moment"),
        "{refused:?}"
    );
    assert_eq!(refused.headers["retry-after"], "5");
    assert_eq!(served.get("/api/v1/readings/latest").status, 200);
    drop(hanging);
    let answer = served.wait_for(question, |answer| answer.status == 200);
    assert!(answer.body.ends_with("]\n"), "not whole");
    let log = served.process.stop().expect_code(0);
    assert_eq!(log.logged("ERROR"), 0, "{log:#?}");
}

#[test]
fn without_a_history_it_says_so_and_tells_the_newest_readings() {
    let roof = Roof::new(1);
    let served = Served::by(&roof, "[sinks.stdout]\n[http]\nlisten = \"127.0.0.1:0\"\n");
    served.process.wait_for_printed(1);
    for path in ["/api/v1/readings", "/api/v1/report"] {
        let said = served.get(path).error(404);
        assert!(said.contains("[sinks.sqlite]"), "{said}");
    }
    let latest = served.get("/api/v1/readings/latest").json();
    assert_eq!(latest[0]["inverter"], "roof1");
    served.process.stop().expect_code(0);
}

/// A listener of the stream.
struct Listener(BufReader<TcpStream>);

impl Listener {
    fn of(served: &Served) -> Self {
        let mut stream = connect(served.address);
        let head = format!(
            "GET /api/v1/stream HTTP/1.0\r\nHost: {}\r\n\r\n",
            served.address
        );
        stream.write_all(head.as_bytes()).expect("written");
        Self(BufReader::new(stream))
    }

    /// The next line; none at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.0.read_line(&mut line).expect("a line in time");
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event's name and data.
    fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let line = self.line()?;
            if let Some(name) = line.strip_prefix("event: ") {
                let data = self.line().expect("its data");
                let data = data.strip_prefix("data: ").expect("data");
                return Some((name.to_owned(), serde_json::from_str(data).expect("JSON")));
            }
        }
    }
}

#[test]
fn the_stream_tells_how_everything_is_and_then_every_reading() {
    let roof = Roof::new(2);
    let served = Served::by(&roof, SECTIONS);
    served.process.wait_for_printed(4);
    let mut listener = Listener::of(&served);
    let mut heard: Vec<Value> = Vec::new();
    let mut statuses = BTreeSet::new();
    while heard.len() < 12 {
        let (name, data) = listener.event().expect("it goes on");
        match name.as_str() {
            "reading" => heard.push(data),
            "status" => {
                statuses.insert(data["name"].as_str().expect("a name").to_owned());
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(statuses.len(), 2);
    // With a listener the end is as quick as without.
    served.process.signal("TERM");
    while listener.event().is_some() {}
    let printed: Vec<Value> = served
        .process
        .end()
        .expect_code(0)
        .stdout
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    for reading in &heard {
        assert!(printed.contains(reading), "{reading}");
    }
    // None is left out between the first and the last of an inverter.
    for name in ["roof1", "roof2"] {
        let of = |all: &[Value]| -> Vec<Value> {
            let times = all.iter().filter(|one| one["inverter"] == name);
            times.map(|one| one["time"].clone()).collect()
        };
        let (mut heard, printed) = (of(&heard), of(&printed));
        // The newest one comes first in any case, and may come again.
        heard.dedup();
        let start = printed
            .iter()
            .position(|time| *time == heard[0])
            .expect("printed");
        assert_eq!(heard[..], printed[start..start + heard.len()], "{name}");
    }
}

#[test]
fn there_is_room_for_some_listeners_and_again_when_one_leaves() {
    let roof = Roof::new(1);
    let served = Served::by(&roof, SECTIONS);
    served.process.wait_for_printed(1);
    let mut listeners: Vec<Listener> = (0..LISTENERS).map(|_| Listener::of(&served)).collect();
    for listener in &mut listeners {
        listener.event().expect("an event");
    }
    let refused = served.get("/api/v1/stream");
    let said = refused.error(503);
    assert!(said.contains(&format!("{LISTENERS} listeners")), "{said}");
    assert_eq!(refused.headers["retry-after"], "5");
    drop(listeners.pop());
    wait_until("room for another", || {
        let mut one = Listener::of(&served);
        one.line().is_some_and(|status| status.contains(" 200 "))
    });
    served.process.stop().expect_code(0);
}

#[test]
fn clients_that_hang_do_not_disturb_polling() {
    let roof = Roof::new(1);
    let served = Served::by(&roof, SECTIONS);
    served.process.wait_for_printed(10);
    let host = format!("Host: {}", served.address);
    let mut clients = Vec::new();
    let half_requests = [
        String::new(),
        "GET".to_owned(),
        format!("GET /metrics HTTP/1.1\r\n{host}\r\n"),
        format!("GET /api/v1/readings HTTP/1.1\r\n{host}\r\n\r\n"),
        format!("GET /api/v1/stream HTTP/1.1\r\n{host}\r\n\r\n"),
        // As many answers as a connection holds, none of which is read.
        format!("GET /metrics HTTP/1.1\r\n{host}\r\n\r\n").repeat(100),
        "\0\u{1}\u{2}".repeat(1000),
    ];
    for request in half_requests.iter().cycle().take(100) {
        let mut stream = connect(served.address);
        stream.set_nonblocking(true).expect("a flag");
        // What it does not take at once is not waited for.
        let _ = stream.write(request.as_bytes());
        clients.push(stream);
    }
    let before = served.process.printed().len();
    served.process.wait_for_printed(before + 60);
    drop(clients);
    // It answers again, and no poll was left out or went unanswered meanwhile.
    let inverters = served.wait_for("/api/v1/inverters", |answer| answer.status == 200);
    let polls = inverters.json()[0]["polls"].clone();
    assert_eq!(polls["silent"], 0, "{polls}");
    assert_eq!(polls["unanswered"], 0, "{polls}");
    let log = served.process.stop().expect_code(0);
    assert_eq!(log.logged("ERROR"), 0, "{log:#?}");
    assert_eq!(log.counts("sqlite").of("missed"), 0);
}

#[test]
fn whoever_hangs_is_cut_off_and_others_get_their_turn() {
    let roof = Roof::new(1);
    let served = Served::by(&roof, SECTIONS);
    served.process.wait_for_printed(1);
    // More than there is room for.
    let clients: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = connect(served.address);
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: ")
                .expect("written");
            stream
        })
        .collect();
    served
        .process
        .wait_for_log("as many connections as it takes");
    assert_eq!(served.get("/health").status, 200);
    for mut client in clients {
        let mut said = String::new();
        client.read_to_string(&mut said).expect("its end in time");
        assert!(said.is_empty() || said.contains("408"), "{said}");
    }
    served.process.stop().expect_code(0);
}

#[test]
fn without_the_token_nothing_is_told_but_whether_all_is_well() {
    let roof = Roof::new(1);
    let sections = "[sinks.stdout]\n[http]\nlisten = \"0.0.0.0:0\"\ntoken = { file = \"token\" }\n";
    let folder = Folder::with_config(&roof.config(sections));
    folder.write("token", "correct-horse\n");
    let mut served = Served::in_folder(folder);
    served.address.set_ip([127, 0, 0, 1].into());
    served.process.wait_for_printed(1);
    for (path, _) in ROUTES.iter().filter(|(path, _)| *path != "/health") {
        let answer = served.get(path);
        let said = answer.error(401);
        assert!(said.contains("Bearer TOKEN"), "{said}");
        assert!(answer.headers["www-authenticate"].starts_with("Bearer"));
    }
    served.get("/nowhere").error(401);
    served
        .ask("/metrics", &["Authorization: Bearer correct-horsf"])
        .error(401);
    served
        .ask("/health", &["Authorization: Bearer correct-horsf"])
        .error(401);
    assert_eq!(served.get("/health").body, "{\"healthy\":true}");
    let told = served.ask("/health", &["Authorization: Bearer correct-horse"]);
    assert_eq!(told.json()["reasons"], Value::Array(Vec::new()));
    let metrics = served.ask("/metrics", &["Authorization: Bearer correct-horse"]);
    assert_eq!(metrics.status, 200);
    let log = served.process.stop().expect_code(0);
    assert_eq!(log.logged("correct-horse"), 0, "{log:#?}");
}

#[test]
fn an_address_that_another_program_has_is_taken_when_it_is_free() {
    let roof = Roof::new(1);
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address").to_string();
    let http = format!("[sinks.stdout]\n[http]\nlisten = \"{address}\"\n");
    let folder = Folder::with_config(&roof.config(&http));
    let run = Process::start(&mut kstar(folder.path(), ["run"]));
    let down = run.wait_for_log("HTTP is down");
    assert!(down.contains("another program listens there"), "{down}");
    assert!(down.contains(&address), "{down}");
    run.wait_for_printed(40);
    drop(other);
    run.wait_for_log("HTTP is listening");
    let ended = run.stop().expect_code(0);
    assert_eq!(ended.logged("HTTP is down"), 1, "{ended:#?}");

    // An address that this machine does not have, yet.
    let plain = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let args = ["run", "--http", "192.0.2.1:8099"];
    let run = Process::start(kstar(plain.path(), args).env("KSTAR_HTTP_TOKEN", "a"));
    let down = run.wait_for_log("HTTP is down");
    assert!(down.contains("192.0.2.1:8099"), "{down}");
    run.wait_for_printed(5);
    run.stop().expect_code(0);
}

#[test]
fn an_address_that_cannot_be_is_said_with_its_place() {
    let roof = Roof::new(1);
    let plain = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let refused = ended(kstar(plain.path(), ["run"]).env("KSTAR_HTTP", "0.0.0.0:0")).expect_code(2);
    assert!(refused.err().contains("KSTAR_HTTP_TOKEN"), "{refused:#?}");
    let refused = ended(kstar(plain.path(), ["run"]).env("KSTAR_HTTP", "8099")).expect_code(2);
    assert!(
        refused.err().contains("KSTAR_HTTP: `8099` is no address"),
        "{refused:#?}"
    );
    let secret =
        "[sinks.stdout]\n[http]\nlisten = \"127.0.0.1:0\"\ntoken = { file = \"/no/such/token\" }\n";
    let folder = Folder::with_config(&roof.config(secret));
    // Which may be there at the next start.
    let refused = ended(&mut kstar(folder.path(), ["run"])).expect_code(1);
    assert!(refused.err().contains("/no/such/token"), "{refused:#?}");
    assert!(refused.err().contains("kstar.toml:"), "{refused:#?}");
    assert!(refused.err().contains("^^^"), "{refused:#?}");
}

#[test]
fn the_environment_and_the_argument_switch_it_on() {
    let roof = Roof::new(1);
    let folder = Folder::with_config(&roof.config("[sinks.stdout]\n"));
    let mut command = kstar(folder.path(), ["run", "--http", "127.0.0.1:0"]);
    // The argument weighs more.
    let process = Process::start(command.env("KSTAR_HTTP", "192.0.2.1:1"));
    process.wait_for_log("HTTP is listening");
    process.wait_for_printed(1);
    process.stop().expect_code(0);
    let mut command = kstar(folder.path(), ["run"]);
    command.env("KSTAR_HTTP", "0.0.0.0:0");
    // As a file that sets variables may have it.
    let process = Process::start(command.env("KSTAR_HTTP_TOKEN", "correct-horse\n"));
    let line = process.wait_for_log("HTTP is listening");
    assert!(line.contains("token=true"), "{line}");
    process.wait_for_printed(1);
    process.stop().expect_code(0);
    let checked = ended(kstar(folder.path(), ["check"]).env("KSTAR_HTTP", "127.0.0.1:8099"));
    assert!(
        checked
            .expect_code(0)
            .out()
            .contains("http: 127.0.0.1:8099; ")
    );
}

#[test]
fn a_reload_changes_http_and_a_wrong_one_leaves_it_as_it_was_or_waits_for_its_address() {
    let roof = Roof::new(1);
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    };
    // Let go at once for the collector to take.
    let (first, second) = (free().1, free().1);
    let config = |http: &str| roof.config(&format!("[sinks.stdout]\n{http}"));
    let at = |address, more: &str| config(&format!("[http]\nlisten = \"{address}\"\n{more}"));
    let folder = Folder::with_config(&at(first, ""));
    let run = Process::start(&mut service(folder.path(), ["run"]));
    run.wait_for_printed(1);
    let status = |address: SocketAddr| {
        let host = format!("Host: {address}");
        Answer::to(address, "GET", "/metrics", &[&host]).status
    };
    assert_eq!(status(first), 200);
    folder.write("kstar.toml", at(first, "token = \"correct-horse\"\n"));
    run.reload();
    assert_eq!(status(first), 401);
    let (taken, address) = free();
    folder.write("kstar.toml", at(address, "token = \"two words\"\n"));
    let refused = run.reload();
    assert!(
        refused.contains("everything goes on as before"),
        "{refused}"
    );
    run.wait_for_log("a space or another character");
    assert_eq!(status(first), 401);
    folder.write("kstar.toml", at(address, ""));
    let said = run.reload();
    assert!(said.contains("replaced=\"HTTP\""), "{said}");
    let down = run.wait_for_log("HTTP is down");
    assert!(down.contains("another program listens there"), "{down}");
    drop(taken);
    run.wait_for_logs("HTTP is listening", 3);
    assert_eq!(status(address), 200);
    folder.write("kstar.toml", at(second, ""));
    run.reload();
    assert_eq!(status(second), 200);
    assert!(TcpStream::connect(first).is_err(), "{first} is left");
    folder.write("kstar.toml", config(""));
    run.reload();
    assert!(TcpStream::connect(second).is_err(), "{second} is left");
    run.stop().expect_code(0);
}

#[test]
fn what_an_inverter_measured_goes_away_with_it_and_what_it_has_counted_stays() {
    let mut roof = Roof::new(2);
    let served = Served::by(&roof, SECTIONS);
    served.wait_for("/metrics", |answer| {
        let all = series(&answer.body);
        let seen = |series: &str| all.contains_key(series);
        seen("kstar_pv_power_watts{inverter=\"roof1\"}")
            && seen("kstar_pv_power_watts{inverter=\"roof2\"}")
    });
    roof.take_first();
    let silent = served.wait_for("/metrics", |answer| {
        !answer
            .body
            .contains("kstar_pv_power_watts{inverter=\"roof1\"}")
    });
    let all = series(&silent.body);
    assert!(same(all["kstar_inverter_up{inverter=\"roof1\"}"], 0.0));
    assert!(same(all["kstar_inverter_up{inverter=\"roof2\"}"], 1.0));
    assert!(all["kstar_polls_total{inverter=\"roof1\",outcome=\"silent\"}"] >= 3.0);
    assert!(all["kstar_reading_age_seconds{inverter=\"roof1\"}"] > 0.0);
    assert!(all.contains_key("kstar_pv_energy_joules_total{inverter=\"roof1\"}"));
    assert!(all.contains_key("kstar_pv_power_watts{inverter=\"roof2\"}"));
    let left: Vec<&String> = all
        .keys()
        .filter(|series| series.contains("roof1") && series.contains("_watts"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // A gap is no reason for an alarm.
    assert_eq!(served.get("/health").status, 200);
    served.process.stop().expect_code(0);
}

#[test]
fn metrics_are_the_newest_reading_in_the_text_format_of_prometheus() {
    let roof = Roof::new(1);
    let served = Served::once(&roof, SECTIONS);
    let reading = served.get("/api/v1/readings/latest").json()[0].clone();
    let plain = served.get("/metrics");
    assert_eq!(
        plain.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let all = series(&plain.body);
    let number = |name: &str| reading[name].as_f64().expect("a number");
    for (series, value) in [
        ("kstar_pv_power_watts", number("pv_power")),
        ("kstar_grid_voltage_volts", number("grid_voltage")),
        ("kstar_battery_soc_ratio", number("battery_soc") / 100.0),
        (
            "kstar_energy_joules_total",
            number("energy_total") * 3_600_000.0,
        ),
        (
            "kstar_operating_seconds_total",
            number("operating_hours") * 3600.0,
        ),
    ] {
        let told = all[&format!("{series}{{inverter=\"roof1\"}}")];
        assert!(same(told, value), "{series} {told} {value}");
    }
    let mode = reading["battery_mode"].as_str().expect("a label");
    let states: Vec<_> = all
        .iter()
        .filter(|(series, _)| series.starts_with("kstar_battery_mode{"))
        .collect();
    assert!(states.len() > 3, "{states:?}");
    for (series, value) in states {
        let this = series.contains(&format!("state=\"{mode}\""));
        assert!(same(*value, f64::from(u8::from(this))), "{series}");
    }
    let said = promtool(&["check", "metrics"], &plain.body);
    assert_eq!(said, "", "what promtool says");
    served.process.stop().expect_code(0);
}

/// What Prometheus' own checker says of a text, which it must find right.
#[track_caller]
fn promtool(args: &[&str], text: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("prometheus is installed; tests/all.sh does that");
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("written");
    drop(input);
    let ended = promtool.wait_with_output().expect("its end");
    let said = String::from_utf8([ended.stdout, ended.stderr].concat()).expect("text");
    assert!(ended.status.success(), "{said}");
    said
}

#[test]
fn what_the_documentation_tells_prometheus_to_do_is_right() {
    let page = include_str!("../../docs/prometheus.md");
    let blocks = |language: &str| -> Vec<String> {
        let begin = format!("```{language}\n");
        let parts = page.split(&begin).skip(1);
        let blocks = parts.map(|part| part.split("```").next().expect("a block").to_owned());
        blocks.collect()
    };
    let folder = Folder::new();
    let path = folder.join("checked.yml");
    let path = path.to_str().expect("text");
    let (mut configs, mut rules) = (0, 0);
    for block in blocks("yaml") {
        folder.write("checked.yml", &block);
        if block.starts_with("groups:") {
            let said = promtool(&["check", "rules", path], "");
            assert!(said.contains("SUCCESS: 7 rules found"), "{said}");
            rules += 1;
        } else {
            promtool(&["check", "config", "--syntax-only", path], "");
            configs += 1;
        }
    }
    assert_eq!((configs, rules), (2, 1));
    let mut queries = "groups:\n  - name: queries\n    rules:\n".to_owned();
    for (number, query) in blocks("promql")
        .iter()
        .flat_map(|block| block.lines())
        .enumerate()
    {
        let query = query.split(" #").next().expect("a query").trim();
        writeln!(
            queries,
            "      - record: query{number}\n        expr: '{query}'"
        )
        .expect("text");
    }
    folder.write("checked.yml", queries);
    promtool(&["check", "rules", path], "");
    // Every series that is named there is one of the program's.
    let roof = Roof::new(1);
    let served = Served::once(&roof, SECTIONS);
    let told = served.get("/metrics").body;
    let pattern = regex_lite::Regex::new("kstar_[a-z0-9_]*[a-z0-9]").expect("a pattern");
    let named: BTreeSet<&str> = pattern
        .find_iter(page)
        .map(|found| found.as_str())
        .collect();
    assert!(named.len() > 25, "{named:?}");
    // An inverter that speaks AA55 has no optional parts.
    let of_others = ["kstar_blocks_missing_total"];
    for name in named.into_iter().filter(|name| !of_others.contains(name)) {
        let is_told = told.lines().any(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        assert!(is_told, "{name} is not told");
    }
    served.process.stop().expect_code(0);
}

#[test]
fn health_is_told_in_one_line_and_by_the_exit_code() {
    let roof = Roof::new(1);
    let served = Served::by(&roof, SECTIONS);
    served.process.wait_for_printed(1);
    let folder = Folder::new();
    let url = format!("http://{}", served.address);
    let asked = ended(&mut kstar(folder.path(), ["health", "--url", &url])).expect_code(0);
    assert_eq!(asked.out(), "all is well");
    let by_environment = kstar(folder.path(), ["health", "--json"])
        .env("KSTAR_HTTP", served.address.to_string())
        .output()
        .expect("it starts");
    let verdict: Value = serde_json::from_slice(&by_environment.stdout).expect("JSON");
    assert_eq!(verdict["healthy"], true);
    served.process.stop().expect_code(0);
    let gone = ended(&mut kstar(folder.path(), ["health", "--url", &url])).expect_code(1);
    assert!(gone.err().contains("cannot reach"), "{gone:#?}");
    let nowhere = ended(&mut kstar(folder.path(), ["health"])).expect_code(2);
    assert!(nowhere.err().contains("[http]"), "{nowhere:#?}");
    let tls = ended(&mut kstar(folder.path(), ["health", "--url", "https://pi"])).expect_code(2);
    assert!(
        tls.err().contains("https:// is not spoken here"),
        "{tls:#?}"
    );
}

#[test]
fn read_shows_what_a_running_collector_has_read_and_polls_nothing() {
    let roof = Roof::new(2);
    let served = Served::by(&roof, SECTIONS);
    served.process.wait_for_printed(2);
    wait_until("both have answered", || {
        let both = ["roof1", "roof2"].map(|name| format!("\"inverter\":\"{name}\""));
        let printed = served.process.printed().join("\n");
        both.iter().all(|name| printed.contains(name))
    });
    let folder = Folder::new();
    let url = format!("http://{}", served.address);
    let read = |more: &[&str], code| {
        let args = [&["read", "--url", &url], more].concat();
        ended(&mut kstar(folder.path(), args)).expect_code(code)
    };
    let lines = read(&["--json"], 0).stdout;
    assert_eq!(lines.len(), 2);
    // As the collector itself has written them, sooner or later.
    wait_until("the lines", || {
        let printed = served.process.printed();
        lines.iter().all(|line| printed.contains(line))
    });
    let table = read(&["--inverter", "roof2"], 0).out();
    assert!(table.starts_with(&format!("roof2 at {url}, ")), "{table}");
    assert!(table.contains("pv_power"), "{table}");
    let unknown = read(&["--inverter", "cellar"], 1).err();
    assert!(unknown.contains("no reading of `cellar`"), "{unknown}");
    for impossible in ["--force", "--device", "--settings"] {
        let refused = read(&[impossible], 2).err();
        assert!(refused.contains("cannot be used with"), "{refused}");
    }
    served.process.stop().expect_code(0);
    let gone = read(&[], 1).err();
    assert!(gone.contains("cannot reach"), "{gone}");
}

#[test]
fn check_tells_whether_the_port_is_free_ours_or_somebody_elses() {
    let roof = Roof::new(1);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let sections =
        format!("[sinks.stdout]\n[http]\nlisten = \"{address}\"\ntoken = \"correct-horse\"\n");
    let folder = Folder::with_config(&roof.config(&sections));
    let look = |code| {
        let args = ["check", "--connect", "--polls", "1", "--force", "--json"];
        let checked = ended(&mut kstar(folder.path(), args)).expect_code(code);
        let findings = checked
            .stdout
            .iter()
            .map(|line| -> Value { serde_json::from_str(line).expect("JSON") });
        let of_http = findings.filter(|finding| finding["part"] == "http");
        let mut findings: Vec<Value> = of_http.collect();
        assert_eq!(findings.remove(0)["about"], "token");
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.remove(0)
    };
    // It never answers, so it is waited for in vain.
    let strange = look(1);
    assert_eq!(strange["verdict"], "wrong", "{strange}");
    assert!(
        strange["fix"].as_str().expect("a fix").contains("ss -ltnp"),
        "{strange}"
    );
    drop(listener);
    let free = look(0);
    assert!(
        free["said"].as_str().expect("text").ends_with("is free"),
        "{free}"
    );
    let process = Process::start(&mut kstar(folder.path(), ["run"]));
    process.wait_for_printed(1);
    let ours = look(0);
    assert_eq!(ours["verdict"], "good", "{ours}");
    assert!(
        ours["said"].as_str().expect("text").contains("is well"),
        "{ours}"
    );
    process.stop().expect_code(0);
}

#[test]
fn somebody_who_is_no_collector_is_told_from_one() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut head = [0; 512];
        assert!(stream.read(&mut head).expect("a request") > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
            .expect("written");
    });
    let folder = Folder::new();
    let asked = ended(&mut kstar(folder.path(), ["health", "--url", &url])).expect_code(1);
    assert!(
        asked.err().contains("no answer of a collector"),
        "{asked:#?}"
    );
    stranger.join().expect("asked");
}

#[test]
fn a_real_prometheus_scrapes_what_was_read() {
    let roof = Roof::new(1);
    let token = format!("{SECTIONS}token = \"correct-horse\"\n");
    let served = Served::once(&roof, &token);
    let authorized = ["Authorization: Bearer correct-horse"];
    let exposed = served.ask("/metrics", &authorized);
    assert_eq!(exposed.status, 200);
    let exposed = series(&exposed.body);
    let place = Folder::new();
    place.write(
        "prometheus.yml",
        format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: kstar\n    authorization:\n      credentials: correct-horse\n    static_configs:\n      - targets: [\"{}\"]\n",
            served.address
        ),
    );
    // Let go at once for Prometheus to take.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address");
    drop(listener);
    let mut command = Command::new("prometheus");
    command
        .current_dir(place.path())
        .arg("--config.file=prometheus.yml")
        .arg("--storage.tsdb.path=data")
        .arg(format!("--web.listen-address={port}"));
    // It is installed; tests/all.sh does that.
    let prometheus = Process::start(&mut command);
    prometheus.wait_for_log("Server is ready to receive web requests");
    let query = |query: &str| -> Value {
        let path = format!("/api/v1/query?query={query}");
        let host = format!("Host: {port}");
        let mut answer = Answer::to(port, "GET", &path, &[&host]);
        let json = std::mem::take(&mut answer.body);
        serde_json::from_str::<Value>(&json).expect("JSON")["data"]["result"].take()
    };
    wait_until("a scrape", || {
        query("up%7Bjob%3D%22kstar%22%7D")[0]["value"][1] == "1"
    });
    let scraped = query("%7Bjob%3D%22kstar%22%2C__name__%21~%22scrape_.%2A%7Cup%22%7D");
    let mut seen = 0;
    for result in scraped.as_array().expect("a list") {
        let metric = result["metric"].as_object().expect("labels");
        let name = metric["__name__"].as_str().expect("a name");
        let mut labels: Vec<String> = metric
            .iter()
            .filter(|(label, _)| !["__name__", "job", "instance"].contains(&label.as_str()))
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        labels.sort();
        let value: f64 = result["value"][1]
            .as_str()
            .and_then(|value| value.parse().ok())
            .expect("a number");
        let (told, was) = exposed
            .iter()
            .find(|(series, _)| {
                let (told, rest) = series.split_once('{').unwrap_or((series, ""));
                let mut rest: Vec<&str> = rest.trim_end_matches('}').split(',').collect();
                rest.retain(|label| !label.is_empty());
                rest.sort_unstable();
                told == name && rest == labels
            })
            .unwrap_or_else(|| panic!("{name} {labels:?} was never told"));
        let grows = ["_age_", "sink", "requests", "polls", "readings"];
        if grows.iter().all(|word| !told.contains(word)) {
            assert!(same(value, *was), "{told} {was} {value}");
        }
        seen += 1;
    }
    assert_eq!(seen, exposed.len(), "every series was scraped");
    drop(prometheus);
    served.process.stop().expect_code(0);
}
