//! What is now: how power flows, what today comes to, and how each inverter is.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use kstar_engine::board::{InverterEntry, Present, Reachability};
use kstar_model::catalogue::Quantity;
use kstar_model::faults::faults;
use kstar_model::reading::{Shown, fresh_for};
use maud::{Markup, html};

use super::flow::{self, Powers};
use super::frame::{Place, Visit, html_of};
use super::words::Words;
use super::{figures, is_browser, today};
use crate::api;
use crate::state::State;

/// How an inverter is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Online,
    Silent,
    Asleep,
    Waiting,
}

impl Condition {
    pub(super) fn of(entry: &InverterEntry, present: &Present) -> Self {
        let age = present.newest.as_ref().map(|(at, _)| at.elapsed());
        let old = age.is_some_and(|age| age > fresh_for(entry.interval));
        match present.reachability {
            _ if present.asleep => Self::Asleep,
            Some(Reachability::Silent) => Self::Silent,
            // It answers, but nothing that is believed, or nobody asks any more.
            Some(Reachability::Online) if old => Self::Silent,
            Some(Reachability::Online) => Self::Online,
            None => Self::Waiting,
        }
    }

    pub(super) fn pill(self, words: &Words) -> Markup {
        let (class, word) = match self {
            Self::Online => ("good", words.online),
            Self::Silent => ("bad", words.silent),
            Self::Asleep => ("calm", words.asleep),
            Self::Waiting => ("calm", words.waiting),
        };
        html! { span class={ "pill " (class) } { (word) } }
    }
}

/// An inverter as this page shows it.
struct Shot {
    entry: Arc<InverterEntry>,
    /// What its owner calls it, else its name.
    title: Arc<str>,
    condition: Condition,
    newest: Option<(Duration, Arc<Shown>)>,
}

impl Shot {
    fn of(entry: Arc<InverterEntry>) -> Self {
        let present = entry.present();
        Self {
            condition: Condition::of(&entry, &present),
            title: present
                .nameplate
                .title
                .clone()
                .unwrap_or_else(|| entry.name.clone()),
            newest: present.newest.map(|(at, reading)| (at.elapsed(), reading)),
            entry,
        }
    }

    fn powers(&self) -> Powers {
        match (&self.newest, self.condition) {
            (_, Condition::Asleep) => Powers::ASLEEP,
            (Some((_, reading)), _) => Powers::of(&reading.values),
            (None, _) => Powers::default(),
        }
    }

    fn is_stale(&self) -> bool {
        matches!(self.condition, Condition::Silent | Condition::Waiting)
    }
}

/// The page; a client that is no browser gets the list of what there is.
pub(super) async fn page(state: &State, headers: &HeaderMap, uri: &Uri) -> Response<Body> {
    if !is_browser(headers) {
        return api::index().await.into_response();
    }
    let visit = Visit::of(state, headers, uri);
    let content = html! {
        p #lost .banner role="status" hidden { (visit.words.connection_lost) }
        div #live data-stream={ (visit.root) "api/v1/stream" } data-now={ (visit.root) "now" } {
            (live(state, &visit).await)
        }
    };
    visit.page(Place::Now, visit.words.now, &content)
}

/// What changes of the page, for its script.
pub(super) async fn fragment(state: &State, headers: &HeaderMap, uri: &Uri) -> Response<Body> {
    let visit = Visit::of(state, headers, uri);
    html_of(StatusCode::OK, live(state, &visit).await)
}

async fn live(state: &State, visit: &Visit) -> Markup {
    let words = visit.words;
    let shots: Vec<Shot> = state
        .0
        .sources
        .board
        .inverters()
        .into_iter()
        .map(Shot::of)
        .collect();
    let today = today::report(state).await;
    let powers = match &shots[..] {
        [] => return html! { h1.hidden { (words.now) } p.card.message { (words.no_inverter) } },
        [one] => one.powers(),
        several => {
            let sum = state.0.sources.board.sum();
            let values = sum.as_ref().map(|(_, reading)| &reading.values);
            let fresh = several.iter().filter(|shot| !shot.is_stale());
            Powers::together(values, &fresh.map(Shot::powers).collect::<Vec<_>>())
        }
    };
    let alone = if let [one] = &shots[..] {
        Some(one)
    } else {
        None
    };
    let heading = alone.map_or(words.whole_house, |one| &*one.title);
    html! {
        h1.hidden { (words.now) }
        div.columns {
            section.card aria-labelledby="flow" {
                header.line {
                    h2 #flow { (heading) }
                    @if let Some(one) = alone { (one.condition.pill(words)) }
                }
                (flow::picture(words, &powers, alone.is_some_and(Shot::is_stale)))
                @if let Some(one) = alone { (remarks(words, one)) }
            }
            section.card aria-labelledby="today" {
                header.line { h2 #today { a href={ (visit.root) "day" } { (words.today) } } }
                @match &today {
                    Some(report) => (figures::tiles(words, report)),
                    None => (figures::tiles_of_readings(words, &newest(&shots))),
                }
            }
        }
        @if alone.is_none() {
            div.columns.inverters {
                @for shot in &shots { (one_of_several(visit, shot)) }
            }
        }
    }
}

fn newest(shots: &[Shot]) -> Vec<&Shown> {
    let readings = shots.iter().filter_map(|shot| shot.newest.as_ref());
    readings.map(|(_, reading)| &**reading).collect()
}

/// What there is to say below the picture: how old the reading is, what the inverter does, and what is wrong.
fn remarks(words: &Words, shot: &Shot) -> Markup {
    let Some((age, reading)) = &shot.newest else {
        return html! { p.faint { (words.no_reading) } };
    };
    let faults = faults(&reading.values);
    let mode = words.value(&reading.values, Quantity::work_mode);
    html! {
        dl.facts {
            div { dt { (words.last_reading) } dd { (words.ago(*age)) } }
            @if let Some(mode) = mode {
                div { dt { (words.mode) } dd lang="en" { (mode) } }
            }
            div {
                dt { (words.faults) }
                @if faults.is_empty() {
                    dd { (words.no_faults) }
                }
                @for fault in faults {
                    dd.bad lang="en" { (fault) }
                }
            }
        }
    }
}

/// An inverter beside others.
fn one_of_several(visit: &Visit, shot: &Shot) -> Markup {
    let words = visit.words;
    let powers = shot.powers();
    let name = &*shot.entry.name;
    html! {
        section.card {
            header.line {
                h2 { a href={ (visit.root) "inverter/" (name) } { (shot.title) } }
                (shot.condition.pill(words))
            }
            dl.tiles.stale[shot.is_stale()] {
                @for spot in flow::spots(words, &powers) {
                    div class=(spot.class) {
                        dt { (spot.name) " · " (spot.word) }
                        dd {
                            (words.power(spot.watts.map(f64::abs)))
                            @if let Some(charge) = powers.charge.filter(|_| spot.class == "battery") {
                                small { " · " (words.number(charge, 0)) " %" }
                            }
                        }
                    }
                }
            }
            (remarks(words, shot))
        }
    }
}

#[cfg(test)]
mod tests {
    use kstar_model::catalogue::Values;
    use kstar_model::reading::{Inverter, Reading};
    use tokio::time::advance;

    use super::*;
    use crate::health::tests::board;

    #[tokio::test(start_paused = true)]
    async fn an_inverter_is_online_silent_or_asleep_and_never_frozen() {
        let (_board, entry) = board();
        let condition = || Condition::of(&entry, &entry.present());
        assert_eq!(condition(), Condition::Waiting);
        let inverter = Inverter::named("roof");
        let reading = Reading {
            time: None,
            inverter: inverter.clone(),
            values: Values::default(),
            counted: None,
        };
        entry.change(inverter.clone(), Reachability::Online);
        entry.read(Arc::new(reading));
        assert_eq!(condition(), Condition::Online);
        // It answers, and nothing of it is believed.
        advance(fresh_for(entry.interval) + Duration::from_secs(1)).await;
        assert_eq!(condition(), Condition::Silent);
        entry.change(inverter.clone(), Reachability::Silent);
        assert_eq!(condition(), Condition::Silent);
        entry.sleep(true);
        assert_eq!(condition(), Condition::Asleep);
        assert_eq!(Shot::of(entry.clone()).powers(), Powers::ASLEEP);
        entry.change(inverter, Reachability::Online);
        assert_ne!(condition(), Condition::Asleep);
    }
}
