//! One inverter: every quantity with its unit and meaning, which machine it is, and how well it is reached.

use axum::body::Body;
use axum::http::{HeaderMap, Response, Uri};
use kstar_engine::board::InverterEntry;
use kstar_engine::overview::InverterOverview;
use kstar_model::catalogue::{Group, Quantity, Values};
use maud::{Markup, html};
use std::collections::BTreeMap;
use std::time::Duration;

use super::details;
use super::frame::{Place, Visit};
use super::language::MISSING;
use super::now::Condition;
use super::words::Words;
use crate::answer::Problem;
use crate::state::State;

/// In the order in which tables show them.
const GROUPS: [Group; 8] = [
    Group::Pv,
    Group::Battery,
    Group::Grid,
    Group::Load,
    Group::Inverter,
    Group::Energy,
    Group::Meter,
    Group::Link,
];

pub(super) fn page(state: &State, headers: &HeaderMap, uri: &Uri) -> Response<Body> {
    let visit = Visit::of(state, headers, uri);
    // Names have no letter that a path would write otherwise.
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let Some(entry) = state.0.sources.board.inverter(name) else {
        let known: Vec<&str> = visit.inverters.iter().map(|name| &**name).collect();
        return visit.failure(&Problem::nothing(format!(
            "no inverter of this name is polled, only: {}",
            known.join(", ")
        )));
    };
    let has_history = state.0.sources.history.is_some();
    let content = content(&visit, &entry, has_history);
    visit.page(Place::Inverter, &entry.name, &content)
}

fn content(visit: &Visit, entry: &InverterEntry, has_history: bool) -> Markup {
    let words = visit.words;
    let present = entry.present();
    let overview = InverterOverview::from(entry);
    let newest = present.newest.as_ref();
    let condition = Condition::of(entry, &present);
    html! {
        @if visit.inverters.len() > 1 {
            nav.choice aria-label=(words.inverter) {
                ul.tabs {
                    @for name in &visit.inverters {
                        li {
                            a href={ (visit.root) "inverter/" (name) }
                                aria-current=[(*name == entry.name).then_some("page")] { (visit.titles.of(name)) }
                        }
                    }
                }
            }
        }
        header.line.wide { h1 { (present.nameplate.title.as_deref().unwrap_or(&entry.name)) } (condition.pill(words)) }
        div.columns {
            section.card aria-labelledby="machine" {
                h2 #machine { (words.inverter) }
                dl.facts {
                    (fact(words.model, overview.model.as_deref()))
                    (fact(words.serial, overview.serial.as_deref()))
                    @if let Some(firmware) = &overview.firmware {
                        (fact(words.firmware, Some(firmware)))
                    }
                    (fact(words.address, Some(&overview.host)))
                    (fact(words.poll_interval, Some(&interval(words, entry.interval))))
                    @let age = newest.map(|(at, _)| words.ago(at.elapsed()));
                    (fact(words.last_reading, age.as_deref()))
                }
            }
            section.card aria-labelledby="link" {
                h2 #link { (words.link_quality) }
                (link_quality(words, entry, &overview))
            }
        }
        (counted(words, words.replies_rejected, &overview.polls.refused))
        (counted(words, words.readings_rejected, &overview.gate))
        @match newest {
            None => p.card.message { (words.no_reading) },
            Some((_, reading)) => {
                @let line = |quantity: Quantity| {
                    let query = format!("quantity={}&inverter={}", quantity.name(), entry.name);
                    let is_drawn = has_history && details::is_drawn(quantity);
                    is_drawn.then(|| format!("{}day?{query}", visit.root))
                };
                @for group in GROUPS { (quantities(words, group, &reading.values, &line)) }
            }
        }
    }
}

fn fact(name: &str, text: Option<&str>) -> Markup {
    html! { div { dt { (name) } dd { (text.unwrap_or(MISSING)) } } }
}

fn interval(words: &Words, interval: Duration) -> String {
    let seconds = interval.as_secs_f64();
    format!(
        "{} s",
        words.number(seconds, usize::from(seconds.fract() > 0.0))
    )
}

fn link_quality(words: &Words, entry: &InverterEntry, overview: &InverterOverview) -> Markup {
    let polls = &overview.polls;
    let all = polls.answered + polls.silent;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of counts need not be exact"
    )]
    let lost = (all > 0).then(|| polls.silent as f64 / all as f64);
    let newest = entry.present().newest;
    let reply = newest.and_then(|(_, reading)| words.value(&reading.values, Quantity::reply_time));
    let lost = match lost {
        Some(lost) => format!("{} ({} %)", polls.silent, words.number(lost * 100.0, 1)),
        None => polls.silent.to_string(),
    };
    html! {
        dl.facts {
            (fact(words.reply_time, reply.as_deref()))
            (fact(words.polls_answered, Some(&polls.answered.to_string())))
            (fact(words.polls_lost, Some(&lost)))
            (fact(words.polls_skipped, Some(&polls.skipped.to_string())))
            (fact(words.requests_unanswered, Some(&polls.unanswered.to_string())))
            (fact(words.readings_accepted, Some(&overview.accepted.to_string())))
            (fact(words.readings_rejected, Some(&overview.quarantined.to_string())))
        }
    }
}

/// How often each reason occurred, if any did.
fn counted(words: &Words, title: &str, counts: &BTreeMap<String, u64>) -> Markup {
    html! {
        @if !counts.is_empty() {
            section.card {
                h2 { (title) }
                table.plain {
                    thead { tr { th scope="col" { (words.reason) } th scope="col" { (words.count) } } }
                    tbody {
                        @for (reason, count) in counts {
                            tr { th scope="row" lang="en" { (reason.replace('_', " ")) } td { (count) } }
                        }
                    }
                }
            }
        }
    }
}

/// The quantities of a group that the newest reading holds.
fn quantities(
    words: &Words,
    group: Group,
    values: &Values,
    line: &dyn Fn(Quantity) -> Option<String>,
) -> Markup {
    let all = Quantity::ALL.iter().copied();
    let present: Vec<(Quantity, String)> = all
        .filter(|quantity| quantity.description().group == group)
        .filter_map(|quantity| Some((quantity, words.value(values, quantity)?)))
        .collect();
    html! {
        @if !present.is_empty() {
            section.card {
                h2 lang="en" { (group.label()) }
                table.quantities {
                    thead.hidden {
                        tr {
                            th scope="col" { (words.quantity) }
                            th scope="col" { (words.value) }
                        }
                    }
                    tbody {
                        @for (quantity, text) in present {
                            @let description = quantity.description();
                            tr {
                                th scope="row" lang="en" {
                                    @match line(quantity) {
                                        Some(path) => a href=(path) { (description.label) },
                                        None => (description.label),
                                    }
                                    small { (description.meaning) }
                                }
                                td.number[!description.unit.is_empty()] { @if text.is_empty() { (MISSING) } @else { (text) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
