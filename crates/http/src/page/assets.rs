//! What pages are shown with: style sheet, script, icon, manifest. All of it is built in.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::{Response, Uri};

use super::frame;
use crate::answer;

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");
const ICON: &str = include_str!("assets/icon.svg");
const MANIFEST: &str = include_str!("assets/manifest.webmanifest");

pub(super) const PATHS: [&str; 4] = [
    "/assets/page.css",
    "/assets/page.js",
    "/assets/icon.svg",
    "/manifest.webmanifest",
];

/// Changes with everything that is built in, so that a browser keeps it until then.
pub(super) static EDITION: LazyLock<String> = LazyLock::new(|| {
    // FNV-1a: nobody has to be kept from finding another text with the same hash.
    let bytes = [STYLE, SCRIPT, ICON, MANIFEST]
        .into_iter()
        .flat_map(str::bytes);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
});

pub(super) async fn asset(uri: Uri) -> Response<Body> {
    let (content_type, text) = match uri.path() {
        "/assets/page.css" => ("text/css; charset=utf-8", STYLE),
        "/assets/page.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "/assets/icon.svg" => ("image/svg+xml", ICON),
        // No other path leads here.
        _ => ("application/manifest+json", MANIFEST),
    };
    let mut response = answer::of(content_type, text);
    frame::secure(&mut response);
    let keep = if uri.query() == Some(EDITION.as_str()) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}
