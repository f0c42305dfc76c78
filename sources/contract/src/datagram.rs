//! A request and its reply over UDP, and greetings by broadcast.
//!
//! Each request has a fresh socket, connected to the inverter: the kernel then drops datagrams from anybody else, a
//! late reply dies with the socket it was for, and the ports of the inverter stay free for others on this machine.
//! On some WiFi modules a fresh source port also makes cut replies rarer (PROTOCOL 1.2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout_at};

use crate::counts::{Counts, increment};
use crate::error::{NoAnswer, Rejection};
use crate::recording::What;

/// Where WiFi modules listen for the greeting.
pub const GREETING_PORT: u16 = 48899;

/// Longer than two of the longest frames; more than that in one datagram is no reply.
const RECEIVE_BUFFER: usize = 2048;

/// A socket that fails at once, again and again, must not take a whole core until the time is up.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// A reply that was accepted.
#[derive(Debug)]
pub struct Reply<T> {
    /// What it says.
    pub content: T,
    /// When it came.
    pub at: Instant,
    /// How long after the request that was.
    pub after: Duration,
    /// The bytes that it came in.
    pub bytes: Box<[u8]>,
}

/// Sends one request and waits for its reply; everything else that comes is counted and passed over.
pub async fn request<T>(
    inverter: SocketAddr,
    request: &[u8],
    timeout: Duration,
    counts: &Counts,
    accept: impl Fn(&[u8]) -> Result<T, Rejection>,
) -> Result<Reply<T>, NoAnswer> {
    let cannot_send = |error| NoAnswer::CannotSend {
        to: inverter,
        error,
    };
    let socket = UdpSocket::bind(any_port(inverter.ip()))
        .await
        .map_err(cannot_send)?;
    socket.connect(inverter).await.map_err(cannot_send)?;
    let asked = Instant::now();
    socket.send(request).await.map_err(cannot_send)?;
    increment(&counts.requests);
    counts.hear(What::Sent, request);
    let mut buffer = [0; RECEIVE_BUFFER];
    let mut rejected = None;
    loop {
        let length = match timeout_at(asked + timeout, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => length,
            Ok(Err(error)) => {
                increment(&counts.unanswered);
                return Err(match error.kind() {
                    io::ErrorKind::ConnectionRefused => NoAnswer::PortClosed(inverter),
                    _ => cannot_send(error),
                });
            }
            Err(_) => {
                increment(&counts.unanswered);
                return Err(NoAnswer::NoReply {
                    from: inverter,
                    timeout,
                    rejected,
                });
            }
        };
        let at = Instant::now();
        let bytes = buffer.get(..length).unwrap_or_default();
        match accept(bytes) {
            Ok(content) => {
                increment(&counts.accepted);
                counts.hear(What::Accepted, bytes);
                return Ok(Reply {
                    content,
                    at,
                    after: at - asked,
                    bytes: bytes.into(),
                });
            }
            Err(rejection) => {
                counts.reject(rejection.reason);
                counts.hear(What::Rejected(rejection.reason), bytes);
                tracing::debug!(%inverter, reason = %rejection, datagram = %Hex(bytes), "datagram rejected");
                rejected = Some(rejection);
            }
        }
    }
}

/// Sends greetings to these addresses, which may be broadcast addresses, and gives each answer to `heard` until
/// that says `true` or the time is up. It fails only if nothing could be sent to any of them.
pub async fn greet(
    greetings: &[&[u8]],
    modules: &[SocketAddr],
    timeout: Duration,
    counts: &Counts,
    mut heard: impl FnMut(SocketAddr, &[u8]) -> bool,
) -> io::Result<()> {
    let socket = UdpSocket::bind(any_port(IpAddr::V4(Ipv4Addr::UNSPECIFIED))).await?;
    socket.set_broadcast(true)?;
    let mut sent = false;
    let mut failure = io::Error::new(
        io::ErrorKind::NotFound,
        "there is no network to send a greeting to",
    );
    for module in modules {
        for greeting in greetings {
            match socket.send_to(greeting, *module).await {
                Ok(_) => {
                    increment(&counts.greetings);
                    counts.hear(What::Sent, greeting);
                    sent = true;
                }
                Err(error) => {
                    tracing::debug!(%module, %error, "cannot send a greeting");
                    failure = error;
                }
            }
        }
    }
    if !sent {
        return Err(failure);
    }
    let deadline = Instant::now() + timeout;
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
        let answer = buffer.get(..length).unwrap_or_default();
        counts.hear(What::Accepted, answer);
        if heard(from, answer) {
            return Ok(());
        }
    }
}

/// Where a greeting reaches every module: the broadcast address of each interface, and the one of the whole network,
/// which on its own works only where there is a default route.
pub fn everybody() -> Vec<SocketAddr> {
    let mut addresses: Vec<Ipv4Addr> = if_addrs::get_if_addrs()
        .unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list the network interfaces; greeting only 255.255.255.255");
            Vec::new()
        })
        .into_iter()
        .filter(|interface| !interface.is_loopback())
        .filter_map(|interface| match interface.addr {
            if_addrs::IfAddr::V4(address) => address.broadcast,
            if_addrs::IfAddr::V6(_) => None,
        })
        .collect();
    addresses.push(Ipv4Addr::BROADCAST);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
        .into_iter()
        .map(|address| SocketAddr::new(IpAddr::V4(address), GREETING_PORT))
        .collect()
}

/// The address of this machine in its network, by the way to addresses that are nobody's (RFC 5737, RFC 3849). Nothing is sent.
pub fn own_address() -> Option<IpAddr> {
    let ways: [(IpAddr, IpAddr); 2] = [
        (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ),
        (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    ];
    ways.into_iter().find_map(|(from, to)| {
        let socket = std::net::UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

/// The address of a host by its name; IPv4 if it has one, which is all that WiFi modules speak.
pub async fn resolve(host: &str, port: u16) -> Result<SocketAddr, NoAnswer> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    let unresolved = |reason: String| NoAnswer::Unresolved {
        host: host.to_owned(),
        reason,
    };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| unresolved(error.to_string()))?
        .collect();
    let best = addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first());
    best.copied()
        .ok_or_else(|| unresolved("it has no address".to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_somebody() {
        assert!(everybody().contains(&([255, 255, 255, 255], GREETING_PORT).into()));
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_named() {
        let error = resolve("no-such-host.invalid", 8899).await.unwrap_err();
        assert!(
            error.to_string().contains("no-such-host.invalid"),
            "{error}"
        );
    }
}
