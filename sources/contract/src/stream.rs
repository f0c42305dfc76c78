//! A request and its reply over TCP: one connection to an address, held open, with one request under way on it.
//!
//! Anyone who asks at the same address shares the connection: behind a gateway or a stick is one serial line. What comes is put
//! together to frames, and what is not the reply (somebody else's, an old one, a heartbeat) is counted and passed over. After
//! a request without a reply the connection is closed, so that a late reply dies with it, and opened anew for the next.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::counts::{Counts, increment};
use crate::datagram::{Hex, Reply};
use crate::error::{NoAnswer, Rejection};
use crate::exchange::Patience;
use crate::recording::What;

/// Far more than the longest frame of any framing; what is not read until then is noise, and is dropped.
const MOST_BYTES: usize = 4096;

/// A request that is under way, in the framing that it is sent in.
pub trait Dialogue {
    /// What the reply says.
    type Answer;

    /// The bytes of the next try.
    fn request(&mut self) -> Vec<u8>;

    /// What the bytes that came begin with.
    fn split(&self, received: &[u8]) -> Split;

    /// What a frame says, if it is the reply.
    fn accept(&mut self, frame: &[u8]) -> Result<Self::Answer, Rejection>;
}

/// What bytes begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// Something that is not complete.
    Incomplete,
    /// A frame of so many bytes.
    Frame(usize),
    /// So many bytes that are no frame, and why.
    Noise(usize, Rejection),
}

/// The way to an address over TCP; its copies share the connection.
#[derive(Clone, Debug)]
pub struct Stream {
    address: SocketAddr,
    connection: Arc<AsyncMutex<Connection>>,
}

#[derive(Debug, Default)]
struct Connection {
    /// Absent while there is none, and while a request is under way: one that was given up takes it along.
    open: Option<Open>,
    /// When the last request ended, or the last connection could not be opened.
    last: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    socket: TcpStream,
    received: Vec<u8>,
}

/// The connections of this process, by address.
static CONNECTIONS: LazyLock<Mutex<BTreeMap<SocketAddr, Weak<AsyncMutex<Connection>>>>> =
    LazyLock::new(Mutex::default);

impl Stream {
    /// The way to this address, which everybody in this process shares. Nothing is connected yet.
    pub fn to(address: SocketAddr) -> Self {
        // Nothing panics while it holds the lock.
        let mut connections = CONNECTIONS.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|_, connection| connection.strong_count() > 0);
        let shared = connections.get(&address).and_then(Weak::upgrade);
        let connection = shared.unwrap_or_else(|| {
            let fresh = Arc::default();
            connections.insert(address, Arc::downgrade(&fresh));
            fresh
        });
        Self {
            address,
            connection,
        }
    }

    /// Where it leads.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request, as often as patience allows, until there is a reply; with this pause between two requests.
    pub async fn request<D: Dialogue>(
        &self,
        dialogue: &mut D,
        pause: Duration,
        patience: Patience,
        counts: &Counts,
    ) -> Result<Reply<D::Answer>, NoAnswer> {
        let mut connection = self.connection.lock().await;
        let mut tries_left = patience.tries;
        loop {
            if let Some(last) = connection.last {
                sleep_until(last + pause).await;
            }
            let outcome = self
                .one_try(&mut connection, dialogue, patience.timeout, counts)
                .await;
            connection.last = Some(Instant::now());
            tries_left = tries_left.saturating_sub(1);
            if outcome.is_ok() || tries_left == 0 {
                return outcome;
            }
        }
    }

    async fn one_try<D: Dialogue>(
        &self,
        connection: &mut Connection,
        dialogue: &mut D,
        timeout: Duration,
        counts: &Counts,
    ) -> Result<Reply<D::Answer>, NoAnswer> {
        // Taken out: whether this fails or is dropped, the connection is closed.
        let open = connection.open.take();
        let deadline = Instant::now() + timeout;
        // One that was closed meanwhile, as sticks do every few hours, is opened anew.
        let mut open = match open.and_then(Open::drained) {
            Some(open) => open,
            None => self.connect(deadline, timeout, counts).await?,
        };
        let asked = Instant::now();
        let deadline = asked + timeout;
        let request = dialogue.request();
        increment(&counts.requests);
        counts.hear(What::Sent, &request);
        let mut rejected = None;
        let outcome = timeout_at(
            deadline,
            open.exchange(&request, |received| {
                next_reply(self.address, received, dialogue, counts, &mut rejected)
            }),
        )
        .await;
        match outcome {
            Ok(Ok((content, bytes))) => {
                increment(&counts.accepted);
                connection.open = Some(open);
                let at = Instant::now();
                Ok(Reply {
                    content,
                    at,
                    after: at - asked,
                    bytes,
                })
            }
            Ok(Err(error)) => {
                increment(&counts.unanswered);
                Err(NoAnswer::Disconnected {
                    from: self.address,
                    error,
                })
            }
            Err(_) => {
                increment(&counts.unanswered);
                Err(NoAnswer::NoReply {
                    from: self.address,
                    timeout,
                    rejected,
                })
            }
        }
    }

    async fn connect(
        &self,
        deadline: Instant,
        timeout: Duration,
        counts: &Counts,
    ) -> Result<Open, NoAnswer> {
        let connected = timeout_at(deadline, TcpStream::connect(self.address)).await;
        let socket = connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .and_then(|socket| {
                // A request is one small packet, and nothing follows it.
                socket.set_nodelay(true)?;
                Ok(socket)
            });
        match socket {
            Ok(socket) => {
                increment(&counts.connections);
                Ok(Open {
                    socket,
                    received: Vec::new(),
                })
            }
            Err(error) => {
                increment(&counts.unanswered);
                Err(match error.kind() {
                    io::ErrorKind::ConnectionRefused => NoAnswer::PortClosed(self.address),
                    io::ErrorKind::TimedOut => NoAnswer::NoReply {
                        from: self.address,
                        timeout,
                        rejected: None,
                    },
                    _ => NoAnswer::CannotSend {
                        to: self.address,
                        error,
                    },
                })
            }
        }
    }
}

impl Open {
    /// Without what came before the request, which cannot be the reply and may be the end of something broken; nothing if
    /// the connection was closed.
    fn drained(mut self) -> Option<Self> {
        self.received.clear();
        let mut dropped = [0; MOST_BYTES];
        match self.socket.try_read(&mut dropped) {
            Ok(0) => None,
            Ok(length) => {
                let bytes = dropped.get(..length).unwrap_or_default();
                tracing::debug!(bytes = %Hex(bytes), "dropped what came between two requests");
                Some(self)
            }
            Err(error) => (error.kind() == io::ErrorKind::WouldBlock).then_some(self),
        }
    }

    /// Sends, and reads until what came holds the reply.
    async fn exchange<T>(
        &mut self,
        request: &[u8],
        mut reply: impl FnMut(&mut Vec<u8>) -> Option<T>,
    ) -> io::Result<T> {
        self.socket.write_all(request).await?;
        loop {
            if let Some(reply) = reply(&mut self.received) {
                return Ok(reply);
            }
            if self.received.len() >= MOST_BYTES {
                self.received.clear();
            }
            if self.socket.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Takes what is complete out of the bytes that came, up to the reply.
fn next_reply<D: Dialogue>(
    from: SocketAddr,
    received: &mut Vec<u8>,
    dialogue: &mut D,
    counts: &Counts,
    rejected: &mut Option<Rejection>,
) -> Option<(D::Answer, Box<[u8]>)> {
    loop {
        if received.is_empty() {
            return None;
        }
        let (length, rejection) = match dialogue.split(received) {
            Split::Incomplete => return None,
            Split::Noise(length, rejection) => (length, rejection),
            Split::Frame(length) => {
                let frame = received.get(..length).unwrap_or_default();
                match dialogue.accept(frame) {
                    Ok(content) => {
                        let bytes: Box<[u8]> =
                            received.drain(..length.min(received.len())).collect();
                        counts.hear(What::Accepted, &bytes);
                        return Some((content, bytes));
                    }
                    Err(rejection) => (length, rejection),
                }
            }
        };
        // At least one byte, so that this ends.
        let length = length.clamp(1, received.len());
        let bytes: Vec<u8> = received.drain(..length).collect();
        counts.reject(rejection.reason);
        counts.hear(What::Rejected(rejection.reason), &bytes);
        tracing::debug!(inverter = %from, reason = %rejection, bytes = %Hex(&bytes), "bytes rejected");
        *rejected = Some(rejection);
    }
}
