//! A small HTTP server that passes writes on to an InfluxDB, or does something else as it is told.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, sleep};
use url::Url;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// How many lines it holds, if they are not compressed.
    pub(crate) fn lines(&self) -> usize {
        String::from_utf8_lossy(&self.body).lines().count()
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reaction {
    /// It passes it on and gives back the answer.
    Forward,
    /// It passes it on, gives back the answer and closes the connection.
    ForwardOnce,
    /// It passes it on and hangs up.
    LoseAnswer,
    /// It passes it on and gives back the answer byte by byte.
    Slow,
    /// It says nothing until the other side leaves.
    Hang,
    /// It resets the connection.
    Reset,
    /// It answers, and then adds to the answer indefinitely.
    Endless(u16),
    /// It answers with this status, these header lines and this body.
    Answer(u16, &'static str, String),
}

impl Reaction {
    pub(crate) fn answer(status: u16, body: &str) -> Self {
        Self::Answer(status, "", body.to_owned())
    }
}

type Script = dyn FnMut(&Request) -> Reaction + Send;

/// The server. It ends with the test's runtime.
pub(crate) struct Gate {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    script: Arc<Mutex<Box<Script>>>,
}

impl Gate {
    /// A server in front of the InfluxDB on that port.
    pub(crate) async fn start(
        influxdb: u16,
        script: impl FnMut(&Request) -> Reaction + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let gate = Self {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            connections: Arc::default(),
            script: Arc::new(Mutex::new(Box::new(script))),
        };
        let (requests, script) = (Arc::clone(&gate.requests), Arc::clone(&gate.script));
        let connections = Arc::clone(&gate.connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::Relaxed);
                let (requests, script) = (Arc::clone(&requests), Arc::clone(&script));
                tokio::spawn(serve(stream, influxdb, requests, script));
            }
        });
        gate
    }

    /// What it does from now on.
    pub(crate) fn now(&self, script: impl FnMut(&Request) -> Reaction + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Every request that came.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn serve(
    mut stream: TcpStream,
    influxdb: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    script: Arc<Mutex<Box<Script>>>,
) {
    while let Some(mut request) = head(&mut stream).await {
        let length = request.headers.get("content-length");
        let length = length.map_or(0, |length| length.parse().unwrap());
        request.body = vec![0; length];
        if stream.read_exact(&mut request.body).await.is_err() {
            return;
        }
        let reaction = script.lock().unwrap()(&request);
        requests.lock().unwrap().push(request.clone());
        match reaction {
            Reaction::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Reaction::Forward => {
                let answer = forward(influxdb, &request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            Reaction::ForwardOnce => {
                let answer = forward(influxdb, &request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                return;
            }
            Reaction::LoseAnswer => {
                forward(influxdb, &request).await;
                return;
            }
            Reaction::Slow => {
                for byte in forward(influxdb, &request).await.bytes() {
                    let _ = stream.write_all(&[byte]).await;
                    sleep(Duration::from_millis(1)).await;
                }
            }
            Reaction::Hang => {
                let mut rest = [0; 64];
                while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
                return;
            }
            Reaction::Endless(status) => {
                let head = format!("HTTP/1.1 {status} Any\r\nTransfer-Encoding: chunked\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(b"4\r\nmore\r\n").await.is_ok() {}
                return;
            }
            Reaction::Answer(status, headers, body) => {
                let answer = answer(status, headers, &body);
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    }
}

async fn head(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let target = lines.next().unwrap().split(' ').nth(1).unwrap();
    let url = Url::parse(&format!("http://host{target}")).unwrap();
    Some(Request {
        path: url.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(key, value)| (key.to_lowercase(), value.to_owned()))
            .collect(),
        body: Vec::new(),
    })
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = if status == 204 {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    format!("HTTP/1.1 {status} Any\r\n{headers}{length}\r\n{body}")
}

/// Has an InfluxDB 1 do what the request wants, whichever endpoint it came to; gives the answer.
async fn forward(influxdb: u16, request: &Request) -> String {
    let of = |key: &str| request.query.get(key).cloned();
    let database = of("bucket").or(of("db")).unwrap();
    let mut write = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(format!("http://127.0.0.1:{influxdb}/write"))
        .query(&[("db", database), ("precision", of("precision").unwrap())])
        .body(request.body.clone());
    if let Some(encoding) = request.headers.get("content-encoding") {
        write = write.header("Content-Encoding", encoding);
    }
    let answered = write.send().await.unwrap();
    let status = answered.status().as_u16();
    answer(status, "", &answered.text().await.unwrap())
}
