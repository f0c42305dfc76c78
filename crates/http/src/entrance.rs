//! How a browser gets in where there is a token: once with the token, then with a cookie that holds the name of a session.
//!
//! Sessions live in memory alone, end after a while, and are few. The name of one is random and says nothing of the token.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use tokio::time::Instant;

use super::guard::same;

/// The cookie's name.
pub(super) const COOKIE_NAME: &str = "kstar_session";

/// How long a session lasts.
pub(super) const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many sessions there are at most: every device of a house. The oldest makes room.
const SESSIONS: usize = 64;

/// How many wrong tries there may be within [`WINDOW`].
const TRIES: usize = 10;

const WINDOW: Duration = Duration::from_secs(60);

/// How many random bytes a session's name has: as many as nobody guesses.
const NAME_BYTES: usize = 32;

/// Why somebody does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Wrong,
    /// There were too many wrong tries; not even the right token is looked at.
    TooManyTries,
    /// The system gives no random numbers.
    Failed,
}

/// Knows the token, and who is in.
pub(super) struct Entrance {
    token: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The names of sessions and when they end, oldest first.
    sessions: VecDeque<(String, Instant)>,
    /// When somebody tried a wrong token, oldest first.
    wrong: VecDeque<Instant>,
}

impl Entrance {
    pub(super) fn new(token: String) -> Self {
        Self {
            token,
            known: Mutex::default(),
        }
    }

    /// Begins a session for anyone who knows the token; gives its name.
    pub(super) fn log_in(&self, token: &str) -> Result<String, Refusal> {
        let now = Instant::now();
        let mut known = self.known();
        known.wrong.retain(|at| now.duration_since(*at) < WINDOW);
        if known.wrong.len() >= TRIES {
            return Err(Refusal::TooManyTries);
        }
        if !same(token.as_bytes(), self.token.as_bytes()) {
            known.wrong.push_back(now);
            return Err(Refusal::Wrong);
        }
        let name = random_name().ok_or(Refusal::Failed)?;
        known.sessions.retain(|(_, end)| *end > now);
        while known.sessions.len() >= SESSIONS {
            known.sessions.pop_front();
        }
        known.sessions.push_back((name.clone(), now + LIFETIME));
        Ok(name)
    }

    /// Whether one of the cookies is the name of a session that lasts.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let now = Instant::now();
        let known = self.known();
        let given = headers.get_all(COOKIE).iter().flat_map(|header| {
            header
                .as_bytes()
                .split(|byte| *byte == b';')
                .filter_map(|cookie| {
                    let value = cookie.trim_ascii().strip_prefix(COOKIE_NAME.as_bytes())?;
                    value.strip_prefix(b"=")
                })
        });
        for name in given {
            let is_one =
                |(session, end): &(String, Instant)| *end > now && same(name, session.as_bytes());
            if known.sessions.iter().any(is_one) {
                return true;
            }
        }
        false
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it holds the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random_name() -> Option<String> {
    let name = random_word();
    name.inspect_err(
        |error| tracing::error!(%error, "the system gives no random numbers, so that nobody can log in"),
    )
    .ok()
}

/// A word that nobody guesses, in ASCII letters and digits.
pub(super) fn random_word() -> Result<String, getrandom::Error> {
    let mut bytes = [0; NAME_BYTES];
    getrandom::getrandom(&mut bytes)?;
    let mut word = String::new();
    for byte in bytes {
        // Writing to a `String` cannot fail.
        let _ = write!(word, "{byte:02x}");
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn cookie(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, text.parse().expect("a header"))])
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_begun_with_the_token_and_ends() {
        let entrance = Entrance::new("hunter2".to_owned());
        let name = entrance.log_in("hunter2").expect("right");
        assert_ne!(name, entrance.log_in("hunter2").expect("right"));
        assert!(!name.contains("hunter2"));
        let right = cookie(&format!("other=1; {COOKIE_NAME}={name}"));
        assert!(entrance.admits(&right));
        for wrong in [
            String::new(),
            format!("{COOKIE_NAME}="),
            format!("{COOKIE_NAME}={}", "0".repeat(64)),
            format!("{COOKIE_NAME}x={name}"),
            format!("{COOKIE_NAME}=hunter2"),
            name.clone(),
        ] {
            assert!(!entrance.admits(&cookie(&wrong)), "{wrong}");
        }
        advance(LIFETIME).await;
        assert!(!entrance.admits(&right));
    }

    #[tokio::test(start_paused = true)]
    async fn ten_wrong_tries_a_minute_are_the_most() {
        let entrance = Entrance::new("hunter2".to_owned());
        for _ in 0..TRIES {
            assert_eq!(entrance.log_in("hunter"), Err(Refusal::Wrong));
        }
        assert_eq!(entrance.log_in("hunter"), Err(Refusal::TooManyTries));
        assert_eq!(entrance.log_in("hunter2"), Err(Refusal::TooManyTries));
        advance(WINDOW).await;
        assert!(entrance.log_in("hunter2").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_session_makes_room() {
        let entrance = Entrance::new("hunter2".to_owned());
        let names: Vec<String> = (0..=SESSIONS)
            .map(|_| entrance.log_in("hunter2").expect("right"))
            .collect();
        let admitted = |name: &String| entrance.admits(&cookie(&format!("{COOKIE_NAME}={name}")));
        assert!(!admitted(&names[0]));
        assert!(names[1..].iter().all(admitted));
    }
}
