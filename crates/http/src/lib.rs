//! The page for browsers, metrics, health and the API over HTTP: for reading only, and never in the way of polling.
//!
//! It reads the [board](kstar_engine::board), listens to events like a sink, and asks the history on threads of its own.
//! Everything that somebody else may do to it has a bound: connections, the size of a request, the time it may take to
//! send one and to take the answer, listeners of the stream, questions to the history, and how much one may ask for.
//!
//! - `server`: connections; `patience`: how long a client may take;
//! - `guard`: who may ask what; `answer`: the form of answers and errors;
//! - `api`: the paths and most answers; `questions`: those that the history gives; `stream`: events as they come;
//! - `page`: the pages for browsers; `entrance`: how a browser logs in;
//! - [`log`]: the latest lines of the log, for a page;
//! - `metrics` and `exposition`: `/metrics`; [`health`]: `/health`; `state`: what all answers are made from;
//! - `openapi.json`: the description of all of it.

use std::net::SocketAddr;
use std::sync::Arc;

use kstar_common::setting::Secret;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

mod answer;
mod api;
mod entrance;
mod exposition;
mod guard;
pub mod health;
pub mod log;
mod metrics;
mod page;
mod patience;
mod questions;
mod server;
mod state;
mod stream;

pub use api::ROUTES;
pub use server::cannot_listen;
pub use state::QUESTIONS;
pub use state::{LISTENERS, Sources};

use server::GRACE;
use state::State;

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub listen: SocketAddr,
    /// What whoever asks must know; everybody may ask without one.
    pub token: Option<Secret>,
    /// Whether there are pages for browsers.
    pub dashboard: bool,
}

/// HTTP while it runs. Dropped without a stop, it ends at once.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Starts to listen and to answer; else says what is in the way and what to do.
pub async fn start(settings: Settings, sources: Sources) -> Result<Running, String> {
    let Settings {
        listen,
        token,
        dashboard,
    } = settings;
    let token = match token {
        Some(secret) => Some(revealed(secret).await?),
        None => None,
    };
    let cannot_listen = |error: std::io::Error| cannot_listen(listen, &error);
    let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let (stop, stopping) = watch::channel(false);
    metrics::remember_start();
    let state = State::new(sources, stopping.clone());
    let entrance = token.clone().filter(|_| dashboard);
    let entrance = entrance.map(|token| Arc::new(entrance::Entrance::new(token)));
    let guard = guard::Guard::new(address, token).with_entrance(entrance.clone());
    let pages = dashboard.then_some(page::Pages { entrance });
    let router = api::router(state.clone(), pages);
    let service = Arc::new(server::Service::new(guard, router));
    let task = tokio::spawn(async move {
        tokio::select! {
            () = server::serve(listener, service, stopping) => {}
            () = state.0.watcher.run() => {}
        }
    });
    Ok(Running {
        address,
        stop,
        task,
    })
}

impl Running {
    /// Where it listens, with the port that the system chose if none was named.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: nobody new is let in, and answers that have begun are given a moment to end.
    pub async fn stop(mut self) {
        // Without anybody to hear it, it has ended.
        let _ = self.stop.send(true);
        if timeout(GRACE * 2, &mut self.task).await.is_err() {
            tracing::warn!("HTTP did not stop in time");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The token, fetched on a thread that may block.
pub async fn revealed(secret: Secret) -> Result<String, String> {
    tokio::task::spawn_blocking(move || token_in(&secret))
        .await
        .map_err(|error| format!("the token cannot be read: {error}"))?
}

/// The token. Blocks on its file.
pub fn token_in(secret: &Secret) -> Result<String, String> {
    let token = secret.reveal()?;
    check_token(&token)?;
    Ok(token)
}

/// A new token, from the system's random numbers.
pub fn new_token() -> Result<String, String> {
    entrance::random_word()
        .map_err(|error| format!("the system gives no random numbers for a token: {error}"))
}

/// Whether a request can carry a token.
pub fn check_token(token: &str) -> Result<(), String> {
    if token.is_empty() {
        return Err("the token is empty; write one, or leave the key out".to_owned());
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "the token holds a space or another character that a request cannot carry; write a word of ASCII letters, \
             digits and signs, like the output of `openssl rand -hex 24`"
                .to_owned(),
        );
    }
    Ok(())
}
