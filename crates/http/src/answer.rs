//! The form of answers: JSON, or the text of the index and of metrics; errors are `{"error": "what to do"}`.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;
use hyper::body::{Body as HttpBody, Frame};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

/// The type of most answers.
pub(super) const JSON: &str = "application/json";

/// An error as anyone who asked sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Whether the token was missing or wrong.
    pub(super) fn needs_token(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// It is asked wrongly.
    pub(super) fn wrong(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// What is asked for is not there.
    pub(super) fn nothing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Something has failed here; the log says what.
    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "something went wrong in the collector, and its log says what; please report it",
        )
    }

    /// Too many ask at once.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        #[derive(Serialize)]
        struct Said<'a> {
            error: &'a str,
        }
        let mut response = json(&Said {
            error: &self.message,
        });
        *response.status_mut() = self.status;
        let extra: Option<(HeaderName, &'static str)> = match self.status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"kstar\"")),
            StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "GET, HEAD")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "5")),
            // What else such a client sends would be taken for a request.
            StatusCode::PAYLOAD_TOO_LARGE => Some((header::CONNECTION, "close")),
            _ => None,
        };
        if let Some((name, value)) = extra {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// An answer in JSON.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => of(JSON, text),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON; please report this");
            let mut response = of(JSON, r#"{"error":"see the log of the collector"}"#);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

/// An answer of this type, which nobody is to keep.
pub(super) fn of(content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// That an answer breaks off: the connection is closed, so that nobody takes a part for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer breaks off")]
pub(super) struct BrokenOff;

/// The body of an answer that comes in parts.
pub(super) struct Parts(pub(super) mpsc::Receiver<Result<Bytes, BrokenOff>>);

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.0
            .poll_recv(context)
            .map(|part| part.map(|part| part.map(Frame::data)))
    }
}

/// The parameters of a question. What is not among them is a mistake, and so is one that is there twice.
pub(super) fn parameters<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let Query(parameters) = Query::try_from_uri(uri).map_err(|rejection| {
        let text = rejection.body_text();
        let text = text
            .strip_prefix("Failed to deserialize query string: ")
            .unwrap_or(&text);
        Problem::wrong(format!("the parameters behind the `?` are wrong: {text}"))
    })?;
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_the_client_what_it_needs_to_go_on() {
        for (status, header, value) in [
            (401, header::WWW_AUTHENTICATE, "Bearer realm=\"kstar\""),
            (405, header::ALLOW, "GET, HEAD"),
            (503, header::RETRY_AFTER, "5"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let response = Problem::new(status, "no").into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().get(header).expect("a header"), value);
            assert_eq!(
                response
                    .headers()
                    .get(header::CONTENT_TYPE)
                    .expect("a type"),
                JSON
            );
        }
    }
}
