//! The pages for browsers: what is now, what was, each inverter, the collector.
//!
//! They are made here, complete and right without a script; the script only brings the newest `now` and follows keys and
//! swipes. Nothing comes from elsewhere, all links are relative, and whatever stands in a page is escaped by the templates.
//!
//! - `words` and `language`: what is said, in the language of the browser;
//! - `frame`: what all pages have around them, and the headers that tell a browser what a page may do;
//! - `now`, `past`, `inverter`, `collector`: the pages; `figures`: energies and money as several of them show them, `today` of the
//!   present day;
//! - `details`: one quantity over a period; `flow`: the picture of power; `choice`: what is above a period; `tips`: the values below a pointer;
//! - `download`: a period as a file; `log_in`: the page with the one form that is sent;
//! - `assets`: style sheet, script, icon, manifest.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header::{ACCEPT, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::get;

use super::api;
use super::entrance::Entrance;
use super::state::State;
use frame::Visit;
pub(super) use today::Today;

mod assets;
mod choice;
mod collector;
mod details;
mod download;
mod figures;
mod flow;
mod frame;
mod inverter;
mod language;
mod log_in;
mod now;
mod past;
mod tips;
mod today;
mod words;

/// Where a browser logs in.
pub(super) const LOG_IN: &str = "/login";

/// The first parts of paths that are pages.
const PAGES: [&str; 9] = [
    "",
    "now",
    "day",
    "week",
    "month",
    "year",
    "total",
    "inverter",
    "collector",
];

/// What pages need beside the state.
#[derive(Clone)]
pub(super) struct Pages {
    /// Where browsers log in, if there is a token.
    pub(super) entrance: Option<Arc<Entrance>>,
}

/// Adds the pages to the API's paths.
pub(super) fn add(mut router: Router<State>, pages: Pages) -> Router<State> {
    for calendar in ["day", "week", "month", "year"] {
        router = router
            .route(&format!("/{calendar}"), get(page))
            .route(&format!("/{calendar}/{{date}}"), get(page));
    }
    for path in [
        "/",
        "/now",
        "/total",
        "/total.csv",
        "/total.svg",
        "/total.png",
        "/inverter/{name}",
        "/collector",
    ] {
        router = router.route(path, get(page));
    }
    for path in assets::PATHS {
        router = router.route(path, get(assets::asset));
    }
    if let Some(entrance) = pages.entrance {
        let form = get(log_in::page).post(log_in::log_in);
        router = router.route(LOG_IN, form.layer(axum::Extension(entrance)));
    }
    router.fallback(nowhere)
}

/// Every page, by the first part of its path: a handler for each would make the program larger for nothing.
async fn page(Shared(state): Shared<State>, headers: HeaderMap, uri: Uri) -> Response<Body> {
    match uri.path().split('/').nth(1) {
        Some("") => now::page(&state, &headers, &uri).await,
        Some("now") => now::fragment(&state, &headers, &uri).await,
        Some("inverter") => inverter::page(&state, &headers, &uri),
        Some("collector") => collector::page(&state, &headers, &uri).await,
        _ => past::page(&state, &headers, &uri).await,
    }
}

/// Whether a path belongs to a page, which a browser may log in for.
pub(super) fn is_page(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    PAGES.contains(&first) || first.starts_with("total.")
}

/// Whether everybody may have it: the form to log in, and what it looks like.
pub(super) fn is_public(path: &str) -> bool {
    path == LOG_IN || assets::PATHS.contains(&path)
}

/// Whether somebody asks for a page, as a browser does, and not for whatever there is.
pub(super) fn is_browser(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).map(|value| value.to_str());
    matches!(accepted, Some(Ok(types)) if types.contains("text/html"))
}

/// Sends a browser to log in and back.
pub(super) fn to_log_in(uri: &Uri) -> Response<Body> {
    let path = uri.path().trim_start_matches('/');
    let back = if log_in::is_way_back(path) { path } else { "" };
    let query = if back.is_empty() { "" } else { "?to=" };
    see_other(&format!("{}login{query}{back}", frame::root(uri)))
}

/// Sends a browser elsewhere.
fn see_other(relative: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    match HeaderValue::from_str(relative) {
        Ok(location) => {
            response.headers_mut().insert(LOCATION, location);
        }
        // Only what is checked is put together.
        Err(error) => tracing::error!(%error, "a browser cannot be sent on; please report this"),
    }
    frame::secure(&mut response);
    response
}

async fn nowhere(Shared(state): Shared<State>, headers: HeaderMap, uri: Uri) -> Response<Body> {
    let problem = api::nowhere(uri.clone()).await;
    if is_browser(&headers) {
        Visit::of(&state, &headers, &uri).failure(&problem)
    } else {
        problem.into_response()
    }
}
