//! The sockets of a Modbus machine: datagrams, or a listener with its connections.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::config::{Config, Via};
use super::framing::{LONGEST_REQUEST, Taken};
use super::lock;
use super::record::{Event, Record};
use super::respond::PAUSE_BETWEEN_PIECES;
use crate::{PAUSE_AFTER_FAILURE, bind};

/// Messages of all clients that wait to be looked at.
const MOST_INCOMING: usize = 64;
/// More connections than this are reset at once; real sticks have fewer.
const MOST_CONNECTIONS: usize = 64;
/// A client that takes nothing for so long is let go.
const LONGEST_WRITE: Duration = Duration::from_secs(2);

/// What came in.
pub(super) enum Came {
    Message(SocketAddr, Taken),
    Opened(SocketAddr, OwnedReadHalf, OwnedWriteHalf),
    Ended(SocketAddr),
}

pub(super) struct Links {
    via: Via,
    local: SocketAddr,
    kind: Kind,
}

enum Kind {
    Datagrams {
        data: UdpSocket,
        other: UdpSocket,
        buffer: Vec<u8>,
    },
    Streams {
        listener: TcpListener,
        connections: BTreeMap<SocketAddr, Connection>,
        sender: mpsc::Sender<Came>,
        incoming: mpsc::Receiver<Came>,
    },
}

struct Connection {
    half: OwnedWriteHalf,
    reader: AbortHandle,
}

impl Links {
    pub(super) async fn bind(config: &Config) -> io::Result<Self> {
        if config.via == Via::Udp {
            let data = bind(config.data).await?;
            let local = data.local_addr()?;
            let other = bind(SocketAddr::new(local.ip(), 0)).await?;
            let kind = Kind::Datagrams {
                data,
                other,
                buffer: vec![0; LONGEST_REQUEST],
            };
            return Ok(Self {
                via: config.via,
                local,
                kind,
            });
        }
        let address = config.data;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })?;
        let (sender, incoming) = mpsc::channel(MOST_INCOMING);
        Ok(Self {
            via: config.via,
            local: listener.local_addr()?,
            kind: Kind::Streams {
                listener,
                connections: BTreeMap::new(),
                sender,
                incoming,
            },
        })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// What comes next. Nothing is lost if the wait is given up.
    pub(super) async fn next(&mut self) -> Came {
        loop {
            match &mut self.kind {
                Kind::Datagrams { data, buffer, .. } => match data.recv_from(buffer).await {
                    Ok((length, from)) => {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        return Came::Message(from, Taken::datagram(datagram));
                    }
                    Err(_) => sleep(PAUSE_AFTER_FAILURE).await,
                },
                Kind::Streams {
                    listener, incoming, ..
                } => tokio::select! {
                    biased;
                    Some(came) = incoming.recv() => return came,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, peer)) => {
                            let (from, to) = stream.into_split();
                            return Came::Opened(peer, from, to);
                        }
                        Err(_) => sleep(PAUSE_AFTER_FAILURE).await,
                    },
                },
            }
        }
    }

    /// What has come of the connections that there are, without waiting for more.
    pub(super) fn waiting(&mut self) -> Option<Came> {
        match &mut self.kind {
            Kind::Datagrams { .. } => None,
            Kind::Streams { incoming, .. } => incoming.try_recv().ok(),
        }
    }

    /// Takes a connection on; `false` if it was reset instead.
    pub(super) fn open(
        &mut self,
        peer: SocketAddr,
        from: OwnedReadHalf,
        half: OwnedWriteHalf,
        welcome: bool,
    ) -> bool {
        let Kind::Streams {
            connections,
            sender,
            ..
        } = &mut self.kind
        else {
            return false;
        };
        // A frame goes out as it is written, or a torn one would be put together on the way.
        let at_once = half.as_ref().set_nodelay(true).is_ok();
        if !welcome || !at_once || connections.len() >= MOST_CONNECTIONS {
            reset_when_dropped(half);
            return false;
        }
        let reader = tokio::spawn(read(from, self.via, peer, sender.clone())).abort_handle();
        connections.insert(peer, Connection { half, reader });
        true
    }

    /// Everybody who is connected.
    pub(super) fn peers(&self) -> Vec<SocketAddr> {
        match &self.kind {
            Kind::Datagrams { .. } => Vec::new(),
            Kind::Streams { connections, .. } => connections.keys().copied().collect(),
        }
    }

    /// Ends a connection, with a reset or in order; `false` if there is none.
    pub(super) fn end(&mut self, peer: SocketAddr, reset: bool) -> bool {
        let Kind::Streams { connections, .. } = &mut self.kind else {
            return false;
        };
        let Some(connection) = connections.remove(&peer) else {
            return false;
        };
        connection.reader.abort();
        if reset {
            reset_when_dropped(connection.half);
        }
        true
    }

    /// Sends pieces with pauses between them. The record has them before anybody can have read them.
    pub(super) async fn send(
        &self,
        peer: SocketAddr,
        from_other_port: bool,
        pieces: &[Vec<u8>],
        record: &Mutex<Record>,
        event: Event,
    ) -> io::Result<()> {
        match &self.kind {
            Kind::Datagrams { data, other, .. } => {
                let socket = if from_other_port { other } else { data };
                let local = socket.local_addr()?;
                let bytes = pieces.concat();
                loop {
                    socket.writable().await?;
                    let mut record = lock(record);
                    match socket.try_send_to(&bytes, peer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                        Ok(_) => {
                            record.note(local, peer, event, &bytes);
                            return Ok(());
                        }
                    }
                }
            }
            Kind::Streams { connections, .. } => {
                let connection = connections.get(&peer).ok_or(io::ErrorKind::NotConnected)?;
                let mut unnoted = Some(pieces.concat());
                for (number, piece) in pieces.iter().enumerate() {
                    if number > 0 {
                        sleep(PAUSE_BETWEEN_PIECES).await;
                    }
                    let written = write(&connection.half, piece, || {
                        if let Some(whole) = unnoted.take() {
                            lock(record).note(self.local, peer, event, &whole);
                        }
                    });
                    timeout(LONGEST_WRITE, written).await??;
                }
                Ok(())
            }
        }
    }
}

/// The connection is reset as soon as its other half is gone too. Where the system cannot do that it ends in order.
fn reset_when_dropped(half: OwnedWriteHalf) {
    if half.as_ref().set_zero_linger().is_ok() {
        // Dropping it would end it in order first.
        half.forget();
    }
}

/// Writes all of it, and says so just before the first byte goes out.
async fn write(half: &OwnedWriteHalf, bytes: &[u8], mut note: impl FnMut()) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        half.writable().await?;
        note();
        match half.try_write(rest) {
            Ok(length) => rest = rest.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a connection until its end and passes on what came, cut into messages.
async fn read(from: OwnedReadHalf, via: Via, peer: SocketAddr, sender: mpsc::Sender<Came>) {
    let mut stream = Vec::new();
    let mut chunk = [0; LONGEST_REQUEST];
    loop {
        if from.readable().await.is_err() {
            break;
        }
        match from.try_read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => stream.extend(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        }
        while let Some(taken) = Taken::from_stream(via, &mut stream) {
            if sender.send(Came::Message(peer, taken)).await.is_err() {
                return;
            }
        }
    }
    if !stream.is_empty() {
        // Nobody is there to be told when the machine has stopped.
        let _ = sender
            .send(Came::Message(peer, Taken::Unexpected(stream)))
            .await;
    }
    let _ = sender.send(Came::Ended(peer)).await;
}
