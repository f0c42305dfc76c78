//! The paths, and the answers that need nothing but the board.
//!
//! `openapi.json` beside this file describes them; a test holds the two against each other.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State as Shared};
use axum::http::{Response, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use kstar_common::collect::inserted;
use kstar_engine::overview::{InverterOverview, SinkOverview};
use kstar_model::catalogue::Quantity;
use kstar_model::reading::{SCHEMA, Shown};
use kstar_model::scalar::Kind;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{self, Problem};
use super::exposition::CONTENT_TYPE;
use super::guard::Access;
use super::page::{self, Pages};
use super::state::State;
use super::{metrics, stream};

/// What there is, with what it is for.
pub const ROUTES: &[(&str, &str)] = &[
    ("/", "this list"),
    ("/metrics", "metrics for Prometheus"),
    (
        "/health",
        "whether all is well: 200 or 503, with the reasons",
    ),
    (
        "/api/v1/readings/latest",
        "the newest reading of each inverter",
    ),
    (
        "/api/v1/readings",
        "readings of the history, or their means: ?from&to&resolution&inverter&fields",
    ),
    (
        "/api/v1/report",
        "what a day, a week, a month, a year or all come to: ?period&date&inverter&compare",
    ),
    ("/api/v1/inverters", "how each inverter is"),
    ("/api/v1/sinks", "how each sink is"),
    (
        "/api/v1/stream",
        "readings and changes as they happen, as server-sent events",
    ),
    ("/api/v1/openapi.json", "the description of all this"),
];

/// The description without what is made of the catalogue.
const DESCRIPTION: &str = include_str!("openapi.json");

/// The paths with what answers them.
pub(super) fn router(state: State, pages: Option<Pages>) -> Router {
    let mut router = Router::new();
    for (path, _) in ROUTES {
        if pages.is_none() || *path != "/" {
            router = router.route(path, route(path));
        }
    }
    let router = match pages {
        Some(pages) => page::add(router, pages),
        None => router.fallback(nowhere),
    };
    router.with_state(state)
}

fn route(path: &str) -> MethodRouter<State> {
    match path {
        "/" => get(index),
        "/metrics" => get(exposition),
        "/health" => get(health),
        "/api/v1/readings/latest" => get(latest),
        "/api/v1/inverters" => get(inverters),
        "/api/v1/sinks" => get(sinks),
        "/api/v1/stream" => get(listen),
        "/api/v1/openapi.json" => get(openapi),
        "/api/v1/readings" => get(super::questions::readings),
        "/api/v1/report" => get(super::questions::report),
        // A test asks for every path.
        _ => get(nowhere),
    }
}

/// Of a path that has no parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn nothing_else(uri: &Uri) -> Result<(), Problem> {
    let Nothing {} = answer::parameters(uri)?;
    Ok(())
}

pub(super) async fn nowhere(uri: Uri) -> Problem {
    Problem::nothing(format!(
        "there is nothing at {}; / lists what there is",
        uri.path()
    ))
}

pub(super) async fn index() -> Response<Body> {
    let mut text = concat!("kstar-collector ", env!("CARGO_PKG_VERSION"), "\n\n").to_owned();
    for (path, what) in ROUTES {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{path:24} {what}");
    }
    answer::of("text/plain; charset=utf-8", text)
}

async fn exposition(Shared(state): Shared<State>) -> Response<Body> {
    answer::of(CONTENT_TYPE, metrics::all(&state))
}

async fn health(
    Shared(state): Shared<State>,
    Extension(access): Extension<Access>,
) -> Response<Body> {
    let verdict = state.0.watcher.verdict();
    let status = if verdict.healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = answer::json(&match access {
        Access::Full => verdict,
        Access::Verdict => verdict.bare(),
    });
    *response.status_mut() = status;
    response
}

async fn latest(Shared(state): Shared<State>, uri: Uri) -> Result<Response<Body>, Problem> {
    nothing_else(&uri)?;
    let board = &state.0.sources.board;
    let entries = board.inverters();
    let newest = entries.iter().filter_map(|entry| entry.present().newest);
    let readings: Vec<Arc<Shown>> = newest
        .chain(board.site())
        .map(|(_, reading)| reading)
        .collect();
    let readings: Vec<&Shown> = readings.iter().map(|reading| &**reading).collect();
    Ok(answer::json(&readings))
}

async fn inverters(Shared(state): Shared<State>, uri: Uri) -> Result<Response<Body>, Problem> {
    nothing_else(&uri)?;
    let entries = state.0.sources.board.inverters();
    let overviews: Vec<InverterOverview> = entries.iter().map(|entry| (&**entry).into()).collect();
    Ok(answer::json(&overviews))
}

async fn sinks(Shared(state): Shared<State>, uri: Uri) -> Result<Response<Body>, Problem> {
    nothing_else(&uri)?;
    let healths = state.0.sources.board.sinks();
    let overviews: Vec<SinkOverview> = healths.iter().map(|health| (&**health).into()).collect();
    Ok(answer::json(&overviews))
}

async fn listen(Shared(state): Shared<State>, uri: Uri) -> Result<Response<Body>, Problem> {
    nothing_else(&uri)?;
    stream::begin(&state)
}

async fn openapi() -> Response<Body> {
    match description() {
        Ok(description) => answer::json(&description),
        Err(error) => {
            tracing::error!(%error, "the API's description cannot be read; please report this");
            Problem::internal().into_response()
        }
    }
}

/// The description, with the schemas that follow from the catalogue.
fn description() -> serde_json::Result<Value> {
    let mut description: Value = serde_json::from_str(DESCRIPTION)?;
    let mut reading = kstar_model::json::schema();
    if let Some(reading) = reading.as_object_mut() {
        // The document says which one it is for all of its schemas.
        reading.remove("$schema");
    }
    if let Some(schemas) = description.pointer_mut("/components/schemas") {
        if let Some(properties) = schemas
            .pointer_mut("/Bucket/properties")
            .and_then(Value::as_object_mut)
        {
            properties.insert("schema".to_owned(), json!({ "const": SCHEMA }));
            properties.extend(aggregates());
        }
        if let Some(schemas) = schemas.as_object_mut() {
            schemas.insert("Reading".to_owned(), reading);
        }
    }
    if let Some(version) = description.pointer_mut("/info/version") {
        *version = json!(env!("CARGO_PKG_VERSION"));
    }
    Ok(description)
}

/// What each quantity comes to in a bucket.
fn aggregates() -> impl Iterator<Item = (String, Value)> {
    Quantity::ALL.iter().filter_map(|quantity| {
        let description = quantity.description();
        let keys = match description.kind {
            Kind::Measurement => &["mean", "min", "max"][..],
            Kind::Counter => &["grown"],
            Kind::Mode(_) | Kind::Flags(_) | Kind::Bits | Kind::Clock => return None,
        };
        let number = |key: &&str| ((*key).to_owned(), json!({ "type": "number" }));
        let schema = json!({
            "type": "object",
            "title": description.label,
            "required": keys,
            "properties": inserted::<Map<String, Value>, _>(keys.iter().map(number)),
            "unit": description.unit,
        });
        Some((quantity.name().to_owned(), schema))
    })
}
