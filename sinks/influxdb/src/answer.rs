//! What the server answers, as far as it matters: status, text, and the headers that say where and when to try again.

use std::time::{Duration, SystemTime};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};

/// How much of an answer is read: it says what is wrong in its first words.
const LARGEST_ANSWER: usize = 16 * 1024;

/// What the server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    /// Where a redirect leads.
    pub(crate) location: Option<String>,
    /// How long it wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// The time by its clock.
    pub(crate) date: Option<SystemTime>,
}

impl Answer {
    /// What is left of an answer by influxdb2.
    pub(crate) fn without_headers(status: StatusCode, text: String) -> Self {
        Self {
            status,
            text,
            location: None,
            retry_after: None,
            date: None,
        }
    }

    /// Reads an answer, until then at the latest.
    pub(crate) async fn read(mut response: Response<Incoming>, deadline: Instant) -> Self {
        let headers = response.headers();
        let mut answer = Self {
            status: response.status(),
            text: String::new(),
            location: headers
                .get(header::LOCATION)
                .and_then(|location| location.to_str().ok())
                .map(str::to_owned),
            retry_after: retry_after(headers),
            date: date(headers),
        };
        let mut body = Vec::new();
        // A body that breaks off has said enough.
        while let Ok(Some(Ok(frame))) = timeout_at(deadline, response.frame()).await {
            body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
            if body.len() >= LARGEST_ANSWER {
                break;
            }
        }
        answer.text = String::from_utf8_lossy(&body).into_owned();
        answer
    }
}

/// The time by the server's clock.
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()
}

/// How long the server wants to be left alone: seconds, or a date, which is meant by the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let asked = text(header::RETRY_AFTER)?.trim();
    let wait = if let Ok(seconds) = asked.parse() {
        Duration::from_secs(seconds)
    } else {
        let until = httpdate::parse_http_date(asked).ok()?;
        until
            .duration_since(date(headers).unwrap_or_else(SystemTime::now))
            .ok()?
    };
    // At once is what has just failed.
    (!wait.is_zero()).then_some(wait)
}
