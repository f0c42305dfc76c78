//! A small HTTP client for the API of a running collector: plain HTTP/1.1, one connection for each question.
//!
//! It is for loopback and the user's own network, so it has no TLS, no proxy and follows no redirect. Whatever is at the
//! other end cannot keep it waiting indefinitely or fill the memory: every step has a time-out and every answer a size.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kstar_common::host::{split_port, with_port};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long connecting may take, and how long an answer may take to begin or to go on.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a whole answer may take.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(30);

/// How long a stream of events may be without a word. The collector says one every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// The largest answer that is read: a day of readings of a few quantities is below it.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// The longest line and the longest event of a stream: a reading has some 2 KiB.
const LARGEST_EVENT: usize = 64 * 1024;

/// The largest head of an answer.
const LARGEST_HEAD: usize = 16 * 1024;

/// The port of `http://` where none is written.
const USUAL_PORT: u16 = 80;

/// Where a collector's API is: `http://HOST:PORT`, or with a path in front of it where a proxy has it below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    host: String,
    port: u16,
    /// Without a `/` at its end.
    path: String,
}

impl Url {
    /// The API of a collector that listens at this address: one that listens everywhere is asked on this machine.
    pub fn of_listener(address: SocketAddr) -> Self {
        let host = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V6(ip) if ip.is_unspecified() => "::1".to_owned(),
            ip => ip.to_string(),
        };
        Self {
            host,
            port: address.port(),
            path: String::new(),
        }
    }

    /// The host and the port, as a header has them.
    fn authority(&self) -> String {
        with_port(&self.host, self.port)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            // It may hold a password, which is not shown.
            format!(
                "this is no address of a collector: {what}; write one like \"http://127.0.0.1:8099\""
            )
        };
        let rest = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(
                    "https:// is not spoken here, only http://; give the collector's own address, or reach it \
                     through an SSH tunnel or a proxy on this machine that speaks TLS"
                        .to_owned(),
                );
            }
            Some((scheme, _)) => return Err(wrong(&format!("`{scheme}://` is not `http://`"))),
        };
        if rest.contains('@') {
            return Err(wrong("a user or a password does not belong into it"));
        }
        if rest.contains(['?', '#']) {
            return Err(wrong("it has a `?` or a `#`"));
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible(path) {
            return Err(wrong(
                "its path holds something that must be written as %20",
            ));
        }
        let (host, port) = split_port(authority).map_err(wrong)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(wrong("it names no host"));
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.unwrap_or(USUAL_PORT),
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error("cannot reach {url}: {reason}; is the collector running, with the section [http]?")]
    Unreachable {
        /// Where.
        url: Url,
        /// What the system says.
        reason: String,
    },
    /// It takes too long.
    #[error("{url} does not answer in time; is it a collector, and is its machine very busy?")]
    TooSlow {
        /// Where.
        url: Url,
    },
    /// What is said there is no HTTP, or breaks off.
    #[error("the answer of {url} cannot be read: {reason}")]
    Garbled {
        /// Where.
        url: Url,
        /// What is wrong with it.
        reason: String,
    },
    /// There is more of it than a collector has to say.
    #[error("the answer of {url} is longer than {LARGEST_ANSWER} bytes; ask for less")]
    TooLong {
        /// Where.
        url: Url,
    },
    /// It is asked for something that it does not give.
    #[error("{url} answers with {status}: {reason}")]
    Refused {
        /// Where.
        url: Url,
        /// The status.
        status: u16,
        /// What it says of it.
        reason: String,
    },
    /// The token cannot be sent.
    #[error("the token holds a character that no request can carry; write it anew")]
    Token,
}

/// What asks a collector.
#[derive(Clone, Debug)]
pub struct Client {
    url: Url,
    /// Marked as one that is not shown.
    authorization: Option<HeaderValue>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status: 200 and the like.
    pub status: u16,
    /// What it says.
    pub body: Vec<u8>,
}

impl Answer {
    /// What an answer that is an error says is wrong.
    pub fn error(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Said {
            error: String,
        }
        match serde_json::from_slice::<Said>(&self.body) {
            Ok(Said { error }) => error,
            Err(_) => "it does not say why; is this a collector?".to_owned(),
        }
    }
}

impl Client {
    /// Asks the collector there, with its token if it wants one.
    pub fn new(url: Url, token: Option<&str>) -> Result<Self, ClientError> {
        let authorization = token.map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            Ok::<_, hyper::header::InvalidHeaderValue>(value)
        });
        Ok(Self {
            url,
            authorization: authorization.transpose().map_err(|_| ClientError::Token)?,
        })
    }

    /// Where it asks.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Asks for a path like `/health`, and reads the whole answer, whatever its status.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        let ask = async {
            let Conversation {
                response,
                connection: _held,
            } = self.ask(path, "application/json").await?;
            self.read(response).await
        };
        self.in_time(PATIENCE_FOR_ALL, ask).await?
    }

    /// Asks for a path, and reads what the answer says as JSON; anything but success is an error.
    pub async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.get(path).await?;
        if answer.status != 200 {
            return Err(ClientError::Refused {
                url: self.url.clone(),
                status: answer.status,
                reason: answer.error(),
            });
        }
        serde_json::from_slice(&answer.body).map_err(|error| ClientError::Garbled {
            url: self.url.clone(),
            reason: error.to_string(),
        })
    }

    /// Asks for a stream of server-sent events; anything but one is an error.
    pub async fn events(&self, path: &str) -> Result<Events, ClientError> {
        let Conversation {
            response,
            connection,
        } = self.ask(path, "text/event-stream").await?;
        if response.status() != hyper::StatusCode::OK {
            let answer = self
                .in_time(PATIENCE_FOR_ALL, self.read(response))
                .await??;
            return Err(ClientError::Refused {
                url: self.url.clone(),
                status: answer.status,
                reason: answer.error(),
            });
        }
        Ok(Events {
            client: self.clone(),
            body: response.into_body(),
            _connection: connection,
            waiting: Vec::new(),
            read: 0,
            name: String::new(),
            data: String::new(),
        })
    }

    async fn ask(&self, path: &str, accepted: &'static str) -> Result<Conversation, ClientError> {
        let unreachable = |error: std::io::Error| ClientError::Unreachable {
            url: self.url.clone(),
            reason: error.to_string(),
        };
        let connect = TcpStream::connect((self.url.host.as_str(), self.url.port));
        let stream = self
            .in_time(PATIENCE, connect)
            .await?
            .map_err(unreachable)?;
        // Questions are small and somebody waits for them.
        stream.set_nodelay(true).map_err(unreachable)?;
        let garbled = |error: hyper::Error| self.garbled(&error);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(LARGEST_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(garbled)?;
        let connection = tokio::spawn(async move {
            // What goes wrong with it is seen by anyone who waits for the answer.
            let _ = connection.await;
        });
        let connection = Connection(connection.abort_handle());
        let mut request = Request::get(format!("{}{path}", self.url.path))
            .header(HOST, self.url.authority())
            .header(USER_AGENT, concat!("kstar/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, accepted);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(String::new())
            .map_err(|error| self.garbled(&error))?;
        let response = self
            .in_time(PATIENCE, sender.send_request(request))
            .await?
            .map_err(garbled)?;
        Ok(Conversation {
            response,
            connection,
        })
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Answer, ClientError> {
        let status = response.status().as_u16();
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while let Some(bytes) = self.in_time(PATIENCE, self.chunk(&mut incoming)).await?? {
            if body.len() + bytes.len() > LARGEST_ANSWER {
                return Err(ClientError::TooLong {
                    url: self.url.clone(),
                });
            }
            body.extend_from_slice(&bytes);
        }
        Ok(Answer { status, body })
    }

    /// The next part of an answer.
    async fn chunk(&self, body: &mut Incoming) -> Result<Option<Bytes>, ClientError> {
        loop {
            match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.garbled(&error)),
                // What follows a body is of no interest here.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    async fn in_time<T>(
        &self,
        patience: Duration,
        step: impl Future<Output = T>,
    ) -> Result<T, ClientError> {
        timeout(patience, step)
            .await
            .map_err(|_| ClientError::TooSlow {
                url: self.url.clone(),
            })
    }

    fn garbled(&self, error: &dyn std::error::Error) -> ClientError {
        // The cause, where there is one, says more than what it led to.
        let cause = error.source().map(|cause| format!(": {cause}"));
        ClientError::Garbled {
            url: self.url.clone(),
            reason: format!("{error}{}", cause.unwrap_or_default()),
        }
    }
}

/// An answer that has begun, and what brings the rest of it.
struct Conversation {
    response: Response<Incoming>,
    connection: Connection,
}

/// A connection that is closed when nobody needs it any more.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    /// What kind it is; `message` where the stream does not say.
    pub name: String,
    /// What it says.
    pub data: String,
}

/// A stream of server-sent events.
pub struct Events {
    client: Client,
    body: Incoming,
    _connection: Connection,
    /// What has come and is not read yet, from `read` on.
    waiting: Vec<u8>,
    read: usize,
    /// The event that is being read.
    name: String,
    data: String,
}

impl Events {
    /// The next event; none at the end of the stream. Safe to drop while it waits.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        loop {
            while let Some(line) = self.line()? {
                if let Some(event) = self.take(&line)? {
                    return Ok(Some(event));
                }
            }
            let chunk = self.client.chunk(&mut self.body);
            match self.client.in_time(SILENCE, chunk).await?? {
                Some(bytes) => self.waiting.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next whole line that has come.
    fn line(&mut self) -> Result<Option<String>, ClientError> {
        let unread = self.waiting.get(self.read..).unwrap_or_default();
        let Some(end) = unread.iter().position(|byte| *byte == b'\n') else {
            if unread.len() > LARGEST_EVENT {
                return Err(self.too_long());
            }
            self.waiting.drain(..self.read);
            self.read = 0;
            return Ok(None);
        };
        let line = unread.get(..end).unwrap_or_default();
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
        self.read += end + 1;
        Ok(Some(line))
    }

    /// Takes a line; an empty one ends an event.
    fn take(&mut self, line: &str) -> Result<Option<ServerEvent>, ClientError> {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = std::mem::take(&mut self.data);
            return Ok((!data.is_empty()).then(|| ServerEvent {
                name: if name.is_empty() {
                    "message".to_owned()
                } else {
                    name
                },
                data: data.strip_suffix('\n').unwrap_or(&data).to_owned(),
            }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.data.len() + value.len() > LARGEST_EVENT {
                    return Err(self.too_long());
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            // A comment, or a field that is not used here.
            _ => {}
        }
        Ok(None)
    }

    fn too_long(&self) -> ClientError {
        self.client.garbled(&std::io::Error::other(format!(
            "an event is longer than {LARGEST_EVENT} bytes"
        )))
    }
}

#[cfg(test)]
mod tests;
