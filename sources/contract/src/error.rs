//! Why an inverter has not answered.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use kstar_common::setting::duration;

/// Why something that came is not the reply to a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// One of the source's [reasons](crate::source::SourceConfig::REASONS), for counts and metrics.
    pub reason: &'static str,
    /// What is wrong with it, for people.
    pub message: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nothing usable came in time.
    #[error("no reply within {} from {from}{}", duration::text(*timeout), describe(rejected.as_ref()))]
    NoReply {
        /// Where the request was sent.
        from: SocketAddr,
        /// How long was waited.
        timeout: Duration,
        /// What was wrong with the last thing that came, if anything came.
        rejected: Option<Rejection>,
    },
    /// The host at the address says that nobody listens there.
    #[error("nobody listens at {0}; is it the inverter's address, and its data port (8899)?")]
    PortClosed(SocketAddr),
    /// The connection was closed or lost before there was a reply.
    #[error("the connection to {from} ended without a reply: {error}")]
    Disconnected {
        /// Where the request was sent.
        from: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The inverter, or what stands before it, has answered that it will not tell.
    #[error("{from} answers {block} with {what}")]
    Exception {
        /// Where the request was sent.
        from: SocketAddr,
        /// What was asked for.
        block: &'static str,
        /// What was answered.
        what: String,
    },
    /// The request could not be sent.
    #[error("cannot send to {to}: {error}")]
    CannotSend {
        /// Where it was to be sent.
        to: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The host name has no address.
    #[error("cannot resolve the host name `{host}`: {reason}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the system says.
        reason: String,
    },
    /// No inverter answered the broadcast.
    #[error(
        "no inverter answered the broadcast; if it is on another network (a container's, a guest WiFi), \
         set its address with `host` or `--host`"
    )]
    NotFound,
    /// The broadcast could not be sent.
    #[error("cannot broadcast to find an inverter: {0}; set its address with `host` or `--host`")]
    CannotBroadcast(io::Error),
    /// The source cannot ask for that.
    #[error("{0}")]
    Unsupported(&'static str),
}

fn describe(rejected: Option<&Rejection>) -> String {
    rejected
        .map(|rejection| format!("; what came instead: {rejection}"))
        .unwrap_or_default()
}
