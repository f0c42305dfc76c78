//! Exchanges: a request with its reply, with tries, time-outs, and the pause that an inverter needs between two.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::counts::Counts;
use crate::datagram::{self, Reply};
use crate::error::{NoAnswer, Rejection};

/// How often and how long a reply is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often the request is sent before that is given up; at least once.
    pub tries: u32,
    /// How long a reply may take.
    pub timeout: Duration,
}

/// The exchanges with one inverter, one at a time.
#[derive(Debug)]
pub struct Exchange {
    counts: Arc<Counts>,
    pause: Duration,
    last: Option<Instant>,
}

impl Exchange {
    /// Exchanges with this pause between two of them.
    pub fn new(pause: Duration, counts: Arc<Counts>) -> Self {
        Self {
            counts,
            pause,
            last: None,
        }
    }

    /// What is counted of them.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Sends a request as a datagram, as often as patience allows, until there is a reply.
    pub async fn datagram<T>(
        &mut self,
        to: SocketAddr,
        request: &[u8],
        patience: Patience,
        accept: impl Fn(&[u8]) -> Result<T, Rejection>,
    ) -> Result<Reply<T>, NoAnswer> {
        let mut tries_left = patience.tries;
        loop {
            if let Some(last) = self.last {
                sleep_until(last + self.pause).await;
            }
            let outcome =
                datagram::request(to, request, patience.timeout, &self.counts, &accept).await;
            self.last = Some(Instant::now());
            tries_left = tries_left.saturating_sub(1);
            if outcome.is_ok() || tries_left == 0 {
                return outcome;
            }
        }
    }
}
