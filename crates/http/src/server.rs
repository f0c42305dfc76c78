//! Connections: how many, how long, and what becomes of a request that panics.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::Problem;
use super::guard::{Guard, admitted};
use super::page;
use super::patience::Patient;

/// How long connections may take to end in order.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// How many connections there may be. The next ones wait in the system's queue until one ends.
const CONNECTIONS: usize = 32;

/// How long a client may take to send a request's head, and how long a connection may be without one.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The largest head of a request. hyper needs 8 KiB at least.
const LARGEST_HEAD: usize = 16 * 1024;

/// The largest body of a request to log in.
const LARGEST_BODY: usize = 4 * 1024;

/// The most headers of a request.
const HEADERS: usize = 64;

/// How long a client may take nothing of its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait after the system could give no connection.
const PAUSE: Duration = Duration::from_secs(1);

/// What answers requests.
pub(super) struct Service {
    guard: Guard,
    router: TowerToHyperService<Router>,
}

impl Service {
    pub(super) fn new(guard: Guard, router: Router) -> Self {
        Self {
            guard,
            router: TowerToHyperService::new(router),
        }
    }

    /// Answers a request, whatever happens.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let access = match self.guard.admit(&request) {
            Ok(access) => access,
            Err(problem) if problem.needs_token() && self.guard.may_log_in(&request) => {
                return page::to_log_in(request.uri());
            }
            Err(problem) => return problem.into_response(),
        };
        let path = request.uri().path().to_owned();
        let request = if self.guard.is_log_in(&request) {
            let (parts, body) = request.into_parts();
            match small_body(body).await {
                Ok(body) => admitted(Request::from_parts(parts, ()), access, body),
                Err(problem) => return problem.into_response(),
            }
        } else {
            admitted(request, access, Body::empty())
        };
        let answer = self.router.call(request);
        match unpanicked(answer).await {
            Ok(Ok(response)) => response,
            Err(said) => {
                tracing::error!(
                    path,
                    said,
                    "a request has made the program panic; please report this"
                );
                Problem::internal().into_response()
            }
        }
    }
}

/// The body of a request to log in.
async fn small_body<B>(body: B) -> Result<Body, Problem>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    match timeout(HEAD_TIME, to_bytes(Body::new(body), LARGEST_BODY)).await {
        Ok(Ok(bytes)) => Ok(Body::from(bytes)),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "a request to log in holds the token and no more",
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the request to log in did not come in time",
        )),
    }
}

/// Why it cannot listen there, and what to do.
pub fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there, perhaps another collector; stop it, or take another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; `127.0.0.1` is this machine alone, `0.0.0.0` all its networks"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are not for everybody; take a higher one"
        }
        _ => "take another address or port",
    };
    format!("cannot listen at {address}: {error}; {advice}")
}

/// Takes connections until it is told to stop.
pub(super) async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    mut stopping: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut crowded = false;
    let mut failing = false;
    let stop = stopping.clone();
    let mut stopped = pin!(until_stopped(&mut stopping));
    loop {
        while connections.try_join_next().is_some() {}
        if slots.available_permits() == 0 && !crowded {
            crowded = true;
            tracing::warn!(
                connections = CONNECTIONS,
                "HTTP has as many connections as it takes; more have to wait"
            );
        }
        let accepted = tokio::select! {
            () = &mut stopped => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                failing = false;
                crowded &= slots.available_permits() == 0;
                let (service, stop) = (service.clone(), stop.clone());
                connections.spawn(async move {
                    converse(stream, service, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "HTTP cannot take connections; trying on");
                }
                failing = true;
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, all).await.is_err() {
        connections.shutdown().await;
    }
}

/// Waits for the order to stop, or for the end of anyone who could give it.
pub(super) async fn until_stopped(stopping: &mut watch::Receiver<bool>) {
    // Either way it is time to stop.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

/// A connection, as soon as there is room for one.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(
    TokioIo<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>,
    tokio::sync::OwnedSemaphorePermit,
)> {
    let slot = slots
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are written at once, and somebody waits for them; anyone who has gone already does not.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection has broken");
                }
                return Ok((TokioIo::new(stream), slot));
            }
            // The one that it was has gone again, which says nothing of the next.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Answers what one client asks, until it has enough or it is time to stop.
async fn converse<T>(stream: TokioIo<T>, service: Arc<Service>, mut stopping: watch::Receiver<bool>)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(|request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(HEADERS)
        .serve_connection(Patient::new(stream, PATIENCE), answer);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = until_stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // What a client does wrong is no news for anyone who reads the log.
        tracing::debug!(%error, "a connection has broken");
    }
}

/// What comes of a future, or what it said when it panicked.
async fn unpanicked<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // It is not polled again after a panic, and the locks that it may have held are made for that.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(said(&*panic))),
        }
    })
    .await
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("nothing")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_that_tells_nothing_of_it() {
        async fn broken() -> &'static str {
            panic!("the secret of this test")
        }
        let guard = Guard::new("127.0.0.1:0".parse().expect("an address"), None);
        let service = Service::new(guard, Router::new().route("/", get(broken)));
        let request = Request::get("/").header("host", "localhost");
        let response = service
            .answer(request.body(Body::empty()).expect("a request"))
            .await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 4096)
            .await
            .expect("a body");
        let body = String::from_utf8(body.to_vec()).expect("text");
        assert!(
            body.starts_with("{\"error\":\"something went wrong"),
            "{body}"
        );
        assert!(!body.contains("secret"), "{body}");
    }
}
