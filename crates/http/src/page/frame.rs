//! What all pages have around them, and the headers that tell a browser what a page may do: nothing but show what comes
//! from here.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, VARY, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use kstar_engine::board::InverterEntry;
use kstar_reports::titles::Titles;
use maud::{DOCTYPE, Markup, html};

use super::assets::EDITION;
use super::language;
use super::words::Words;
use crate::answer::{self, Problem};
use crate::state::State;

const HTML: &str = "text/html; charset=utf-8";

/// Home Assistant shows pages in a frame of its own address, so that is allowed.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'";

const PERMISSIONS: &str =
    "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

/// No page lies deeper; anyone who asks for such a path gets one that says so.
const DEEPEST: usize = 8;

/// Where in the menu a page belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Now,
    History,
    Inverter,
    Collector,
    Nowhere,
}

/// One look of a browser at a page.
pub(super) struct Visit {
    pub(super) words: &'static Words,
    /// What leads from the page to `/`, so that links hold behind a proxy with a path of its own.
    pub(super) root: String,
    /// The inverters, by name.
    pub(super) inverters: Vec<Arc<str>>,
    /// What people call them.
    pub(super) titles: Titles,
}

fn titles(entries: &[Arc<InverterEntry>]) -> Titles {
    let titled = entries.iter().filter_map(|entry| {
        let title = entry.present().nameplate.title.clone()?;
        Some((entry.name.to_string(), title.to_string()))
    });
    titled.collect()
}

impl Visit {
    pub(super) fn of(state: &State, headers: &HeaderMap, uri: &Uri) -> Self {
        let entries = state.0.sources.board.inverters();
        Self {
            words: language::wanted(headers),
            root: root(uri),
            titles: titles(&entries),
            inverters: entries.iter().map(|entry| entry.name.clone()).collect(),
        }
    }

    /// A whole page.
    pub(super) fn page(&self, place: Place, title: &str, content: &Markup) -> Response<Body> {
        let markup = self.around(Some(place), title, content);
        html_of(StatusCode::OK, markup)
    }

    /// A page for somebody who is not in yet.
    pub(super) fn outside(
        &self,
        status: StatusCode,
        title: &str,
        content: &Markup,
    ) -> Response<Body> {
        html_of(status, self.around(None, title, content))
    }

    /// A page that says why there is no other.
    pub(super) fn failure(&self, problem: &Problem) -> Response<Body> {
        let words = self.words;
        let title = if problem.status() == StatusCode::NOT_FOUND {
            words.not_found
        } else {
            words.failed
        };
        let content = html! {
            section.card.message {
                h1 { (title) }
                p lang="en" { (problem.message()) }
                p { a href=(self.root) { (words.to_now) } }
            }
        };
        let markup = self.around(Some(Place::Nowhere), title, &content);
        html_of(problem.status(), markup)
    }

    fn around(&self, place: Option<Place>, title: &str, content: &Markup) -> Markup {
        let (words, root, edition) = (self.words, &self.root, EDITION.as_str());
        html! {
            (DOCTYPE)
            html lang=(words.code) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="theme-color" media="(prefers-color-scheme: light)" content="#f3f5f8";
                    meta name="theme-color" media="(prefers-color-scheme: dark)" content="#0c0f14";
                    title { (title) " · kstar" }
                    link rel="stylesheet" href={ (root) "assets/page.css?" (edition) };
                    link rel="icon" type="image/svg+xml" href={ (root) "assets/icon.svg?" (edition) };
                    link rel="apple-touch-icon" href={ (root) "assets/icon.svg?" (edition) };
                    link rel="manifest" href={ (root) "manifest.webmanifest?" (edition) };
                    script type="module" src={ (root) "assets/page.js?" (edition) } {}
                }
                body {
                    a.skip href="#main" { (words.skip) }
                    @if let Some(place) = place {
                        (self.menu(place))
                    }
                    main #main tabindex="-1" { (content) }
                }
            }
        }
    }

    fn menu(&self, place: Place) -> Markup {
        let words = self.words;
        let mut entries = vec![
            (Place::Now, words.now, String::new()),
            (Place::History, words.history, "day".to_owned()),
        ];
        if let Some(name) = self.inverters.first() {
            entries.push((Place::Inverter, words.inverter, format!("inverter/{name}")));
        }
        entries.push((Place::Collector, words.collector, "collector".to_owned()));
        html! {
            header.top {
                nav aria-label=(words.main_menu) {
                    ul {
                        @for (one, name, path) in entries {
                            li {
                                a href={ (self.root) (path) } aria-current=[(one == place).then_some("page")] {
                                    (name)
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What leads from a path to `/`.
pub(super) fn root(uri: &Uri) -> String {
    let depth = uri.path().bytes().filter(|byte| *byte == b'/').count();
    match depth.saturating_sub(1).min(DEEPEST) {
        0 => "./".to_owned(),
        depth => "../".repeat(depth),
    }
}

/// An answer in HTML.
pub(super) fn html_of(status: StatusCode, markup: Markup) -> Response<Body> {
    let mut response = answer::of(HTML, markup.into_string());
    *response.status_mut() = status;
    secure(&mut response);
    response
}

/// Tells a browser what it may do with an answer.
pub(super) fn secure(response: &mut Response<Body>) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "SAMEORIGIN"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (VARY, "accept, accept-language"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_leads_back() {
        for (path, back) in [
            ("/", "./"),
            ("/day", "./"),
            ("/day/2026-11-29", "../"),
            ("/a/b/c", "../../"),
            ("//", "../"),
        ] {
            assert_eq!(root(&path.parse().expect("a path")), back, "{path}");
        }
        let deep = "/x".repeat(500).parse().expect("a path");
        assert_eq!(root(&deep).len(), 3 * DEEPEST);
    }
}
