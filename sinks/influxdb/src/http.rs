//! A small HTTP client: HTTP/1.1 over TCP or TLS, one connection that is kept for the next request, no redirect and no
//! proxy. Connecting has a time limit, and so has the whole of a request and its answer.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::answer::Answer;
use crate::config::Address;

/// The part of a request's time that connecting may take.
pub(crate) const CONNECTING: f64 = 0.5;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There was no connection in time.
    NotConnected,
    /// There was no answer in time.
    NotAnswered,
    /// Something broke; what it was is among the sources of the error.
    Broken(Box<dyn Error + Send + Sync>),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::TimedOut => Self::NotConnected,
            _ => Self::Broken(error.into()),
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        match (error.is_timeout(), error.is_connect()) {
            (true, true) => Self::NotConnected,
            (true, false) => Self::NotAnswered,
            (false, _) => Self::Broken(error.into()),
        }
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error.into())
    }
}

/// The client of one server.
pub(crate) struct Http {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    /// How long a request may take.
    patience: Duration,
    kept: Option<Connection>,
}

impl Http {
    pub(crate) fn new(
        address: Address,
        tls: Option<Arc<ClientConfig>>,
        patience: Duration,
    ) -> Self {
        Self {
            address,
            tls,
            patience,
            kept: None,
        }
    }

    /// Sends a request, and reads what matters of the answer.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.patience;
        let response = timeout_at(deadline, self.send(request))
            .await
            .map_err(|_| Failure::NotAnswered)??;
        Ok(Answer::read(response, deadline).await)
    }

    /// Sends a request. A server closes a connection that was idle for a while: what went into such a one is sent
    /// once more, as every request here may be.
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        if let Some(mut kept) = self.kept.take()
            && let Ok(response) = kept.send(request.clone()).await
        {
            self.kept = Some(kept);
            return Ok(response);
        }
        let mut fresh = timeout(self.patience.mul_f64(CONNECTING), self.connect())
            .await
            .map_err(|_| Failure::NotConnected)??;
        let response = fresh.send(request).await?;
        self.kept = Some(fresh);
        Ok(response)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let tcp = self.reach().await?;
        // Requests are made in one piece, and somebody waits for the answer.
        tcp.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Connection::over(Box::new(tcp)).await;
        };
        let name = ServerName::try_from(self.address.bare_host().to_owned())
            .map_err(|error| Failure::Broken(error.into()))?;
        let tls = TlsConnector::from(Arc::clone(tls));
        Connection::over(Box::new(tls.connect(name, tcp).await?)).await
    }

    /// Tries one address of the host after the other; each has its share of the time, so that one that swallows
    /// everything leaves some for the next.
    async fn reach(&self) -> Result<TcpStream, Failure> {
        let host = (self.address.bare_host(), self.address.port());
        let addresses: Vec<_> = lookup_host(host).await?.collect();
        let shares = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let share = self.patience.mul_f64(CONNECTING) / shares;
        let mut failure = Failure::NotConnected;
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error.into(),
                Err(_) => failure = Failure::NotConnected,
            }
        }
        Err(failure)
    }
}

/// What a connection goes over: one type for both, so that the program holds hyper's part once.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection, which is closed when it is dropped.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Connection {
    async fn over(stream: Box<dyn Stream>) -> Result<Self, Failure> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(async move {
            // What goes wrong with it is seen by anyone who waits for the answer.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            task: task.abort_handle(),
        })
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}
