//! The collector itself: whether all is well, where readings go, which version it is, and how much room its disk has.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{HeaderMap, Response, Uri};
use kstar_common::disk;
use kstar_engine::overview::{SinkOverview, State as SinkState};
use kstar_model::time::UnixMillis;
use maud::{Markup, html};
use tokio::time::timeout;

use super::frame::{Place, Visit};
use super::language::MISSING;
use super::today;
use super::words::Words;
use crate::api::ROUTES;
use crate::health::{Reason, Verdict};
use crate::log;
use crate::questions;
use crate::state::State;

/// What is known of the disk that holds the history, in bytes.
struct Disk {
    room: Option<u64>,
    size: Option<u64>,
}

pub(super) async fn page(state: &State, headers: &HeaderMap, uri: &Uri) -> Response<Body> {
    let visit = Visit::of(state, headers, uri);
    let words = visit.words;
    let verdict = state.0.watcher.verdict();
    let healths = state.0.sources.board.sinks();
    let sinks: Vec<SinkOverview> = healths.iter().map(|health| (&**health).into()).collect();
    let disk = disk(state).await;
    let content = html! {
        h1.hidden { (words.collector) }
        div.columns {
            section.card aria-labelledby="health" { (health(words, &verdict)) }
            section.card aria-labelledby="program" { (program(words, disk.as_ref())) }
        }
        section.card aria-labelledby="sinks" { (sink_table(words, &sinks)) }
        section.card aria-labelledby="log" { (log_lines(words)) }
        section.card aria-labelledby="interfaces" {
            h2 #interfaces { (words.interfaces) }
            dl.links lang="en" {
                @for (path, what) in ROUTES.iter().filter(|(path, _)| *path != "/") {
                    @let relative = path.trim_start_matches('/');
                    div { dt { a href={ (visit.root) (relative) } { (path) } } dd { (what) } }
                }
            }
        }
    };
    visit.page(Place::Collector, words.collector, &content)
}

/// Asks the disk, which may block: nothing where it does not answer.
async fn disk(state: &State) -> Option<Disk> {
    let asked = questions::ask(state, |file| {
        Ok(Disk {
            room: disk::room(file).ok(),
            size: std::fs::metadata(file).ok().map(|metadata| metadata.len()),
        })
    });
    timeout(today::PATIENCE, asked).await.ok()?.ok()
}

fn health(words: &Words, verdict: &Verdict) -> Markup {
    let line = |one: &Reason| html! { li lang="en" { strong { (one.part) } ": " (one.reason) } };
    html! {
        header.line {
            h2 #health { (words.health) }
            @if verdict.healthy {
                span.pill.good { (words.all_well) }
            } @else {
                span.pill.bad { (words.attention) }
            }
        }
        @let reasons: Vec<&Reason> = verdict.reasons.iter().flatten().chain(&verdict.notes).collect();
        @if !reasons.is_empty() {
            ul.reasons { @for reason in reasons { (line(reason)) } }
        }
    }
}

fn program(words: &Words, disk: Option<&Disk>) -> Markup {
    let bytes = |bytes: Option<u64>| {
        let text = bytes.map(disk::text);
        text.map_or_else(|| MISSING.to_owned(), |text| words.with_separator(text))
    };
    html! {
        h2 #program { (words.program) }
        dl.facts {
            div { dt { (words.version) } dd { "kstar-collector " (env!("CARGO_PKG_VERSION")) } }
            @if let Some(disk) = disk {
                div { dt { (words.history_size) } dd { (bytes(disk.size)) } }
                div { dt { (words.disk_room) } dd { (bytes(disk.room)) } }
            }
        }
    }
}

fn sink_table(words: &Words, sinks: &[SinkOverview]) -> Markup {
    html! {
        h2 #sinks { (words.sinks) }
        @if sinks.is_empty() {
            p.faint { (words.no_sinks) }
        } @else {
            div.scroll tabindex="0" role="group" aria-labelledby="sinks" {
                table {
                    thead {
                        tr {
                            th scope="col" { (words.sink) }
                            th scope="col" { (words.state) }
                            @for name in [words.delivered, words.queued, words.dropped, words.rejected] {
                                th scope="col" { (name) }
                            }
                        }
                    }
                    tbody {
                        @for sink in sinks {
                            @let counts = &sink.counts;
                            tr {
                                th scope="row" { (sink.name) }
                                td { (state_of(words, &sink.state)) }
                                td { (counts.delivered) }
                                td { (counts.queued) }
                                td { (counts.dropped + counts.missed) }
                                td { (counts.rejected) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The latest lines of the log, the newest first.
fn log_lines(words: &Words) -> Markup {
    let now = UnixMillis::from(SystemTime::now());
    let age = |time: UnixMillis| {
        let millis = now.0.saturating_sub(time.0).max(0).unsigned_abs();
        words.ago(Duration::from_millis(millis))
    };
    html! {
        h2 #log { (words.log) }
        div.log.scroll tabindex="0" role="group" aria-labelledby="log" {
            ul {
                @for line in log::newest() {
                    li.bad[line.level != "INFO"] {
                        small title=(line.time) { (age(line.time)) } " "
                        span lang="en" { (line.text) }
                    }
                }
            }
        }
    }
}

fn state_of(words: &Words, state: &SinkState) -> Markup {
    let (class, word, reason) = match state {
        SinkState::Opening => ("calm", words.opening, None),
        SinkState::Up => ("good", words.up, None),
        SinkState::Down { reason } => ("bad", words.down, Some(reason)),
        SinkState::Ended => ("bad", words.ended, None),
    };
    html! {
        span class={ "pill " (class) } { (word) }
        @if let Some(reason) = reason { small lang="en" { (reason) } }
    }
}
