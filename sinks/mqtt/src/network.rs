//! The way to the broker: bytes in both directions, and the packets of MQTT 3.1.1 in them, by rumqttc's codec.
//!
//! rumqttc's own event loop writes each message to the network by itself, and a reading is some sixty messages. Here
//! what is to go out gathers in a buffer, and whatever has gathered goes in one write.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rumqttc::mqttbytes;
use rumqttc::tokio_rustls::TlsConnector;
use rumqttc::{Connect, ConnectReturnCode, ConnectionError, Packet, StateError, TlsError};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::settings::Settings;

/// Largest packet that is sent: the announcement of a device with all its entities stays well below.
pub(crate) const LARGEST_OUTGOING: usize = 1024 * 1024;

/// Largest packet that is read: the birth message of Home Assistant is one word.
pub(crate) const LARGEST_INCOMING: usize = 64 * 1024;

/// How much is read at a time: the acknowledgements of a reading have a quarter of that.
const READ: usize = 1024;

/// How long connecting may take, shorter than a delivery waits for it, so that its own reason is told.
const CONNECTING: Duration = Duration::from_secs(3);

/// How long the broker may take nothing of what is written.
const STUCK: Duration = Duration::from_secs(3);

/// What bytes go through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection on which the broker has let us in.
pub(crate) struct Network {
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
}

impl Network {
    /// Connects and logs in.
    pub(crate) async fn connect(
        settings: &Settings,
        login: Connect,
    ) -> Result<Self, ConnectionError> {
        let connecting = async { Self::over(reach(settings).await?, login).await };
        let connected = timeout(CONNECTING, connecting).await;
        connected.map_err(|_| ConnectionError::NetworkTimeout)?
    }

    /// Logs in over a stream.
    pub(crate) async fn over(
        stream: Box<dyn Stream>,
        login: Connect,
    ) -> Result<Self, ConnectionError> {
        let (reader, writer) = split(stream);
        let mut network = Self {
            incoming: Incoming {
                reader,
                bytes: BytesMut::new(),
            },
            outgoing: Outgoing {
                writer,
                bytes: BytesMut::new(),
                flushed: true,
                deadline: Instant::now(),
            },
        };
        network.outgoing.put(&Packet::Connect(login))?;
        network.outgoing.write().await?;
        let answer = loop {
            network.incoming.read().await?;
            if let Some(packet) = network.incoming.next()? {
                break packet;
            }
        };
        match answer {
            Packet::ConnAck(answer) if answer.code == ConnectReturnCode::Success => Ok(network),
            Packet::ConnAck(answer) => Err(ConnectionError::ConnectionRefused(answer.code)),
            other => Err(ConnectionError::NotConnAck(other)),
        }
    }
}

/// A stream of bytes to the broker, with TLS where that is set.
pub(crate) async fn reach(settings: &Settings) -> Result<Box<dyn Stream>, ConnectionError> {
    let broker = &settings.broker;
    let stream = TcpStream::connect((broker.host.as_str(), broker.port)).await?;
    stream.set_nodelay(true)?;
    let Some(config) = &settings.tls else {
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(broker.host.clone()).map_err(TlsError::DNSName)?;
    let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    Ok(Box::new(connecting.await.map_err(TlsError::Io)?))
}

/// What comes from the broker.
pub(crate) struct Incoming {
    reader: ReadHalf<Box<dyn Stream>>,
    bytes: BytesMut,
}

impl Incoming {
    /// Waits until more has come. Nothing is lost if that is given up.
    pub(crate) async fn read(&mut self) -> Result<(), ConnectionError> {
        self.bytes.reserve(READ);
        if self.reader.read_buf(&mut self.bytes).await? > 0 {
            return Ok(());
        }
        if self.bytes.is_empty() {
            return Err(StateError::ConnectionAborted.into());
        }
        // As rumqttc says it where it reads.
        Err(io::Error::other("bytes remaining on stream").into())
    }

    /// The next packet of what has come, if it is whole.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, StateError> {
        match Packet::read(&mut self.bytes, LARGEST_INCOMING) {
            Ok(packet) => Ok(Some(packet)),
            Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What goes to the broker.
pub(crate) struct Outgoing {
    writer: WriteHalf<Box<dyn Stream>>,
    bytes: BytesMut,
    /// Whether all of it is on its way.
    flushed: bool,
    /// When the broker must have taken some of it.
    deadline: Instant,
}

impl Outgoing {
    /// Adds a packet to what goes with the next write.
    pub(crate) fn put(&mut self, packet: &Packet) -> Result<(), StateError> {
        packet.write(&mut self.bytes, LARGEST_OUTGOING)?;
        if self.flushed {
            self.flushed = false;
            self.deadline = Instant::now() + STUCK;
        }
        Ok(())
    }

    /// Writes everything. If that is given up, it goes on where it was.
    pub(crate) async fn write(&mut self) -> Result<(), ConnectionError> {
        let stuck = |_| ConnectionError::FlushTimeout;
        while self.bytes.has_remaining() {
            let writing = self.writer.write_buf(&mut self.bytes);
            let written = timeout_at(self.deadline, writing).await.map_err(stuck)??;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.deadline = Instant::now() + STUCK;
        }
        let flushing = self.writer.flush();
        timeout_at(self.deadline, flushing).await.map_err(stuck)??;
        self.flushed = true;
        Ok(())
    }

    /// How many bytes wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// Whether everything is on its way.
    pub(crate) fn is_flushed(&self) -> bool {
        self.flushed
    }
}
