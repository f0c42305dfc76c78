//! What sinks are told that no inverter brings: how the collector is, and what electricity costs now.
//!
//! Told is what differs from what was told last, so nothing comes of a look that finds all as it was. The health of a sink
//! may change because of what it was told; so changes of health that follow each other within a second are told together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kstar_common::tariff::Tariff;
use kstar_model::time::UnixMillis;
use kstar_sink::event::{CollectorStatus, Event, Price, Rates};
use kstar_sink::health::State;
use kstar_source::datagram::own_address;
use tokio::sync::broadcast;
use tokio::time::sleep;

use crate::board::Board;
use crate::pipeline::stamp::WallClock;

/// How long after a look the next one is that a change of health brings.
const PAUSE: Duration = Duration::from_secs(1);

/// How often is looked in any case: when a minute of the wall clock begins, since prices change at such times, and the clock
/// may be set and the machine's address change meanwhile.
const MINUTE: Duration = Duration::from_secs(60);

/// What there is to tell that does not change while the configuration stays the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The program's version.
    pub version: &'static str,
    /// Where HTTP is served, if it is.
    pub listen: Option<SocketAddr>,
    /// The sinks' names.
    pub sinks: BTreeSet<&'static str>,
    /// What electricity costs.
    pub tariffs: Vec<Tariff>,
    /// The zone of the tariffs' times.
    pub zone: TimeZone,
}

/// What was told last.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub collector: Option<Arc<CollectorStatus>>,
    pub price: Option<Arc<Price>>,
}

/// Tells what changes until nobody is left to tell.
pub(crate) async fn run(
    facts: Facts,
    clock: WallClock,
    board: Arc<Board>,
    events: broadcast::WeakSender<Event>,
) {
    let changed = board.changed();
    let next_news = async || {
        sleep(PAUSE).await;
        changed.notified().await;
    };
    let mut wrong = Vec::new();
    loop {
        wrong = read_prices(&facts.tariffs, wrong).await;
        // Held for as long as that takes: its end is the sinks' order to stop.
        let Some(sender) = events.upgrade() else {
            return;
        };
        tell(&facts, clock, &board, &sender);
        drop(sender);
        tokio::select! {
            () = sleep(until_next_minute(clock)) => {}
            () = next_news() => {}
        }
    }
}

/// Reads files with prices that have changed. What is wrong with them is logged once.
async fn read_prices(tariffs: &[Tariff], before: Vec<String>) -> Vec<String> {
    if tariffs.iter().all(|tariff| tariff.file.is_none()) {
        return before;
    }
    let tariffs = tariffs.to_vec();
    let reading = tokio::task::spawn_blocking(move || Tariff::refresh(&tariffs));
    // It has ended otherwise only where the program ends.
    let wrong = reading.await.unwrap_or_default();
    for error in wrong.iter().filter(|error| !before.contains(error)) {
        tracing::warn!(
            "{error}; until it is fixed, prices are the ones read before, and `price` of [[tariff]] where there are none"
        );
    }
    wrong
}

/// Tells what differs from what was told last.
pub(crate) fn tell(
    facts: &Facts,
    clock: WallClock,
    board: &Board,
    events: &broadcast::Sender<Event>,
) {
    let Told { collector, price } = board.told();
    let status = CollectorStatus {
        version: facts.version,
        page: facts.listen.and_then(page),
        sinks: states(&facts.sinks, board, collector.as_deref()),
    };
    let mut news = Vec::new();
    if collector.as_deref() != Some(&status) {
        news.push(Event::Collector(Arc::new(status)));
    }
    if let Some(present) = present_price(facts, clock.now())
        && price.as_deref() != Some(&present)
    {
        news.push(Event::Price(Arc::new(present)));
    }
    for event in news {
        // First on the board, so that a sink which is started now is told by either.
        board.tells(&event);
        // Without a receiver every sink has ended.
        let _ = events.send(event);
    }
}

/// How each of these sinks is. One that is just being replaced is as it was told last.
fn states(
    names: &BTreeSet<&'static str>,
    board: &Board,
    told: Option<&CollectorStatus>,
) -> BTreeMap<&'static str, State> {
    let sinks = board.sinks();
    let state = |name: &&'static str| {
        let present = sinks.iter().find(|health| health.name() == *name);
        let state = match present {
            Some(health) => health.snapshot().state,
            None => told
                .and_then(|told| told.sinks.get(name).cloned())
                .unwrap_or(State::Opening),
        };
        (*name, state)
    };
    names.iter().map(state).collect()
}

/// What electricity costs at this time; nothing while nobody knows the time.
fn present_price(facts: &Facts, now: Option<UnixMillis>) -> Option<Price> {
    if facts.tariffs.is_empty() {
        return Some(Price(None));
    }
    let timestamp = Timestamp::from_millisecond(now?.0).ok()?;
    let local = timestamp.to_zoned(facts.zone.clone());
    let tariff = Tariff::of(&facts.tariffs, local.date());
    Some(Price(tariff.map(|tariff| {
        let prices = tariff.prices_at(&local);
        Rates {
            currency: tariff.currency.clone(),
            price: prices.price,
            feed_in: prices.feed_in,
        }
    })))
}

fn until_next_minute(clock: WallClock) -> Duration {
    // Before 1970 any minute will do.
    let now = (clock.0)().duration_since(UNIX_EPOCH).unwrap_or_default();
    let into = Duration::new(now.as_secs() % MINUTE.as_secs(), now.subsec_nanos());
    MINUTE.saturating_sub(into)
}

/// The address of what is served there, as others reach it; none if they do not.
fn page(listen: SocketAddr) -> Option<String> {
    let ip = match listen.ip() {
        ip if ip.is_unspecified() => own_address()?,
        ip => ip,
    };
    (!ip.is_loopback()).then(|| format!("http://{}/", SocketAddr::new(ip, listen.port())))
}

#[cfg(test)]
mod tests;
