//! The page where a browser logs in: the only one with something to send.

use std::sync::Arc;

use axum::Form;
use axum::body::Body;
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, State as Shared};
use axum::http::header::{HeaderValue, SET_COOKIE};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use maud::html;
use serde::Deserialize;

use super::frame::Visit;
use super::see_other;
use crate::answer::{self, Problem};
use crate::entrance::{COOKIE_NAME, Entrance, LIFETIME, Refusal};
use crate::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The path of the page to go back to.
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    token: String,
    to: Option<String>,
}

/// Whether it is a path of ours, relative to `/`: nothing that a browser would take for another place.
pub(super) fn is_way_back(path: &str) -> bool {
    let first_is_letter = path.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
    first_is_letter && path.len() <= 100 && path.bytes().all(plain)
}

pub(super) async fn page(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    uri: Uri,
) -> Response<Body> {
    let visit = Visit::of(&state, &headers, &uri);
    match answer::parameters::<Asked>(&uri) {
        Ok(Asked { to }) => form(&visit, StatusCode::OK, None, to.as_deref()),
        Err(problem) => visit.failure(&problem),
    }
}

pub(super) async fn log_in(
    Shared(state): Shared<State>,
    Extension(entrance): Extension<Arc<Entrance>>,
    headers: HeaderMap,
    uri: Uri,
    given: Result<Form<Given>, FormRejection>,
) -> Response<Body> {
    let visit = Visit::of(&state, &headers, &uri);
    let Ok(Form(given)) = given else {
        // What was sent may hold the token, so nothing of it is told.
        return visit.failure(&Problem::wrong(
            "the form has a field `token`, and no other",
        ));
    };
    let to = given.to.as_deref();
    let (status, said) = match entrance.log_in(given.token.trim()) {
        Ok(session) => {
            tracing::info!("a browser has logged in");
            return admitted(&visit, &headers, &session, to);
        }
        Err(Refusal::Wrong) => (StatusCode::UNAUTHORIZED, visit.words.token_wrong),
        Err(Refusal::TooManyTries) => (StatusCode::TOO_MANY_REQUESTS, visit.words.too_many_tries),
        Err(Refusal::Failed) => return visit.failure(&Problem::internal()),
    };
    tracing::warn!(%status, "a browser could not log in");
    form(&visit, status, Some(said), to)
}

fn form(visit: &Visit, status: StatusCode, said: Option<&str>, to: Option<&str>) -> Response<Body> {
    let words = visit.words;
    let to = to.filter(|to| is_way_back(to));
    let content = html! {
        section.card.message {
            h1 { (words.log_in) }
            form method="post" action="login" {
                @if let Some(to) = to {
                    input type="hidden" name="to" value=(to);
                }
                label for="token" { (words.token) }
                input #token type="password" name="token" required autofocus autocomplete="current-password"
                    aria-describedby="advice" aria-invalid=[said.map(|_| "true")];
                @if let Some(said) = said {
                    p.bad role="alert" { (said) }
                }
                p #advice .faint { (words.token_advice) }
                button { (words.log_in) }
            }
        }
    };
    visit.outside(status, words.log_in, &content)
}

/// Lets a browser in, and back to where it wanted to go.
fn admitted(visit: &Visit, headers: &HeaderMap, session: &str, to: Option<&str>) -> Response<Body> {
    let to = to.filter(|to| is_way_back(to)).unwrap_or_default();
    let mut response = see_other(&format!("./{to}"));
    // Without a path it holds for the folder of this page, also behind a proxy with a path of its own.
    let forwarded = headers.get("x-forwarded-proto");
    let secure = if forwarded.is_some_and(|scheme| scheme == "https") {
        "; Secure"
    } else {
        ""
    };
    let seconds = LIFETIME.as_secs();
    let cookie =
        format!("{COOKIE_NAME}={session}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    match HeaderValue::from_str(&cookie) {
        Ok(mut cookie) => {
            cookie.set_sensitive(true);
            response.headers_mut().insert(SET_COOKIE, cookie);
            response
        }
        Err(error) => {
            tracing::error!(%error, "a session cannot be told; please report this");
            visit.failure(&Problem::internal())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_nowhere_else() {
        for path in ["day", "day/2026-11-29", "inverter/roof_1", "total"] {
            assert!(is_way_back(path), "{path}");
        }
        for path in [
            "",
            "/",
            "//evil.example",
            "../x",
            "https://evil.example",
            "javascript:alert(1)",
            "day?x=1",
            "\\evil.example",
            "day/%2e%2e",
            "day\r\nset-cookie: x",
        ] {
            assert!(!is_way_back(path), "{path}");
        }
    }
}
