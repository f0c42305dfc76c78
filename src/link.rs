//! Datagrams out and in: the only file that sends any, and it can send only [`Outgoing`].
//!
//! Each request has a fresh socket, connected to the inverter: the kernel then drops datagrams from anybody else, a
//! late reply dies with the socket it was for, and the ports 8899 and 48899 stay free for others on this machine.
//! On some WiFi modules a fresh source port also makes cut replies rarer (PROTOCOL 1.2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout_at};

use crate::wire::discovery::{self, ModuleAnswer};
use crate::wire::{ApAddress, Outgoing, Refusal, Request, reply};

/// Longer than two of the longest frames; more than that in one datagram is nothing of ours.
const RECEIVE_BUFFER: usize = 2048;

/// A socket that fails at once, again and again, must not take a whole core until the time is up.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// A reply that was taken.
#[derive(Debug)]
pub struct Reply<T> {
    /// What it says.
    pub content: T,
    /// When it came.
    pub at: Instant,
    /// How long after the request that was.
    pub after: Duration,
    /// The datagram that it came in, for a bug report.
    pub datagram: Box<[u8]>,
}

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// Nothing usable came in time.
    #[error("no reply within {} from {from}{}", kstar_common::setting::duration::text(*patience), describe(.refused.as_ref()))]
    NoReply {
        /// Who was asked.
        from: SocketAddr,
        /// How long was waited.
        patience: Duration,
        /// What was wrong with the last datagram that came, if any came.
        refused: Option<Refusal>,
    },
    /// Something at the address says that nobody listens there.
    #[error("nobody listens at {0}; is it the inverter's address, and its data port (8899)?")]
    PortClosed(SocketAddr),
    /// The request could not be sent.
    #[error("cannot send to {to}: {error}")]
    CannotSend {
        /// Who was to be asked.
        to: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

fn describe(refused: Option<&Refusal>) -> String {
    refused
        .map(|refusal| format!("; what came instead: {refusal}"))
        .unwrap_or_default()
}

/// What was sent and what came, counted since the start.
#[derive(Debug, Default)]
pub struct LinkCounts {
    /// Requests sent.
    pub requests: AtomicU64,
    /// Greetings sent.
    pub greetings: AtomicU64,
    /// Datagrams that were taken.
    pub accepted: AtomicU64,
    /// Datagrams that were not, by the place of the reason in [`Refusal::NAMES`].
    pub refused: [AtomicU64; Refusal::REASONS],
    /// Requests that nobody answered in time.
    pub unanswered: AtomicU64,
}

impl LinkCounts {
    /// How many datagrams were refused, by reason, without the reasons that did not occur.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::NAMES
            .into_iter()
            .zip(
                self.refused
                    .iter()
                    .map(|count| count.load(Ordering::Relaxed)),
            )
            .filter(|(_, count)| *count > 0)
    }

    fn refuse(&self, refusal: Refusal) {
        if let Some(count) = self.refused.get(refusal.index()) {
            increment(count);
        }
    }
}

fn increment(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Asks an inverter once and waits for the right reply; everything else that comes is counted and passed over.
pub async fn ask<T>(
    inverter: SocketAddr,
    request: Request,
    ap: ApAddress,
    patience: Duration,
    counts: &LinkCounts,
    decode: impl Fn(&[u8]) -> Result<T, Refusal>,
) -> Result<Reply<T>, Silence> {
    let cannot_send = |error| Silence::CannotSend {
        to: inverter,
        error,
    };
    let socket = UdpSocket::bind(any_port(inverter.ip()))
        .await
        .map_err(cannot_send)?;
    socket.connect(inverter).await.map_err(cannot_send)?;
    let asked = Instant::now();
    send(&socket, Outgoing::Request(request, ap), None)
        .await
        .map_err(cannot_send)?;
    increment(&counts.requests);
    let mut buffer = [0; RECEIVE_BUFFER];
    let mut refused = None;
    loop {
        let length = match timeout_at(asked + patience, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => length,
            Ok(Err(error)) => {
                increment(&counts.unanswered);
                return Err(match error.kind() {
                    io::ErrorKind::ConnectionRefused => Silence::PortClosed(inverter),
                    _ => cannot_send(error),
                });
            }
            Err(_) => {
                increment(&counts.unanswered);
                return Err(Silence::NoReply {
                    from: inverter,
                    patience,
                    refused,
                });
            }
        };
        let at = Instant::now();
        let datagram = buffer.get(..length).unwrap_or_default();
        match reply(datagram, request, ap).and_then(&decode) {
            Ok(content) => {
                increment(&counts.accepted);
                return Ok(Reply {
                    content,
                    at,
                    after: at - asked,
                    datagram: datagram.into(),
                });
            }
            Err(refusal) => {
                counts.refuse(refusal);
                tracing::debug!(%inverter, reason = %refusal, datagram = %Hex(datagram), "datagram refused");
                refused = Some(refusal);
            }
        }
    }
}

/// An answer to the greeting, with where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeted {
    /// Where the answer came from.
    pub from: SocketAddr,
    /// What it says.
    pub answer: ModuleAnswer,
}

/// Greets the modules at these addresses, which may be broadcast addresses, and gives each answer to `heard` until
/// that says `true` or the time is up. It fails only if the greeting could be sent to none of them.
pub async fn greet(
    modules: &[SocketAddr],
    patience: Duration,
    counts: &LinkCounts,
    mut heard: impl FnMut(Greeted) -> bool,
) -> io::Result<()> {
    let socket = UdpSocket::bind(any_port(IpAddr::V4(Ipv4Addr::UNSPECIFIED))).await?;
    socket.set_broadcast(true)?;
    let mut sent = false;
    let mut failure = io::Error::new(
        io::ErrorKind::NotFound,
        "there is no network to send a greeting to",
    );
    for module in modules {
        match send(&socket, Outgoing::Greeting, Some(*module)).await {
            Ok(()) => {
                increment(&counts.greetings);
                sent = true;
            }
            Err(error) => {
                tracing::debug!(%module, %error, "cannot send a greeting");
                failure = error;
            }
        }
    }
    if !sent {
        return Err(failure);
    }
    let deadline = Instant::now() + patience;
    let mut buffer = [0; RECEIVE_BUFFER];
    loop {
        let (length, from) = match timeout_at(deadline, socket.recv_from(&mut buffer)).await {
            Ok(Ok(received)) => received,
            // What one address answers by ICMP says nothing of the others.
            Ok(Err(error)) => {
                tracing::debug!(%error, "an error came back for a greeting");
                sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
            Err(_) => return Ok(()),
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        let Ok(answer) = discovery::answer(datagram) else {
            tracing::debug!(%from, datagram = %Hex(datagram), "no answer to a greeting");
            continue;
        };
        if heard(Greeted { from, answer }) {
            return Ok(());
        }
    }
}

/// The one place where bytes leave the program.
async fn send(socket: &UdpSocket, datagram: Outgoing, to: Option<SocketAddr>) -> io::Result<()> {
    let bytes = datagram.bytes();
    match to {
        None => socket.send(bytes).await?,
        Some(to) => socket.send_to(bytes, to).await?,
    };
    Ok(())
}

/// Any free port of the same family of addresses.
fn any_port(family: IpAddr) -> SocketAddr {
    match family {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Bytes as hex, as `kstar explain` takes them.
pub struct Hex<'a>(pub &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
