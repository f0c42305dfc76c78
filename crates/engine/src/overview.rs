//! The board as data: what the HTTP API tells of inverters and sinks, and what the live page reads from it.

use kstar_common::collect::inserted;
use kstar_model::time::millis;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use kstar_sink::event::Reachability;
pub use kstar_sink::health::State;
use kstar_sink::health::{Counts, Health, Snapshot};
use serde::{Deserialize, Serialize};

use crate::board::InverterEntry;

/// Whether an inverter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InverterState {
    /// It was not heard yet, and not long enough for it to be called silent.
    Waiting,
    /// It answers.
    Online,
    /// It has left several polls in a row without an answer.
    Silent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InverterOverview {
    pub name: String,
    /// What people see in place of its name, if that is another text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it is looked for.
    pub host: String,
    /// Its serial number, once it has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its model, once it has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The versions of its firmware, once it has told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// How often it is asked, in milliseconds.
    pub poll_interval_ms: u64,
    /// Whether it answers.
    pub state: InverterState,
    /// Since when that is so, in milliseconds before now.
    pub state_age_ms: u64,
    /// Whether its silence is that of a night.
    #[serde(default, skip_serializing_if = "is_false")]
    pub asleep: bool,
    /// Why it has not answered last, where it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_answer: Option<String>,
    /// How old its newest reading is, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading_age_ms: Option<u64>,
    /// How polls went.
    pub polls: PollsOverview,
    /// Readings that the gate has let through.
    pub accepted: u64,
    /// Readings that the gate has refused.
    pub quarantined: u64,
    /// How often each rule of the gate has struck, without those that never did.
    pub gate: BTreeMap<String, u64>,
}

/// How polls went, counted since the inverter's polling began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollsOverview {
    /// Polls that were answered.
    pub answered: u64,
    /// Polls that were not.
    pub silent: u64,
    /// Polls that were left out because the one before took too long.
    pub skipped: u64,
    pub requests: u64,
    pub greetings: u64,
    /// Requests that nobody answered in time.
    pub unanswered: u64,
    /// Datagrams that were refused, by reason, without those that never occurred.
    pub refused: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkOverview {
    pub name: String,
    #[serde(flatten)]
    pub state: State,
    /// What became of its readings.
    #[serde(flatten)]
    pub counts: Counts,
}

impl From<&InverterEntry> for InverterOverview {
    fn from(entry: &InverterEntry) -> Self {
        let present = entry.present();
        let (polls, gate) = (&entry.polls, &entry.gate);
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let age = |since: tokio::time::Instant| millis(since.elapsed()).unsigned_abs();
        Self {
            name: entry.name.to_string(),
            title: present.nameplate.title.as_deref().map(str::to_owned),
            host: entry.host.clone(),
            serial: present.inverter.serial.as_deref().map(str::to_owned),
            model: present.inverter.model.as_deref().map(str::to_owned),
            firmware: present.nameplate.firmware.as_deref().map(str::to_owned),
            poll_interval_ms: millis(entry.interval).unsigned_abs(),
            state: match present.reachability {
                None => InverterState::Waiting,
                Some(Reachability::Online) => InverterState::Online,
                Some(Reachability::Silent) => InverterState::Silent,
            },
            state_age_ms: age(present.since),
            asleep: present.asleep,
            no_answer: (present.no_answer)
                .filter(|_| present.reachability != Some(Reachability::Online))
                .map(|reason| reason.to_string()),
            reading_age_ms: present.newest.map(|(at, _)| age(at)),
            polls: PollsOverview {
                answered: count(&polls.answered),
                silent: count(&polls.silent),
                skipped: count(&polls.skipped),
                requests: count(&polls.exchanges.requests),
                greetings: count(&polls.exchanges.greetings),
                unanswered: count(&polls.exchanges.unanswered),
                refused: named(polls.exchanges.occurred().into_iter()),
            },
            accepted: count(&gate.taken),
            quarantined: count(&gate.refused),
            gate: named(gate.struck()),
        }
    }
}

impl From<&Health> for SinkOverview {
    fn from(health: &Health) -> Self {
        let Snapshot { state, counts, .. } = health.snapshot();
        Self {
            name: health.name().to_owned(),
            state,
            counts,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde asks is given a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

fn named(counts: impl Iterator<Item = (impl ToString, u64)>) -> BTreeMap<String, u64> {
    inserted(counts.map(|(name, count)| (name.to_string(), count)))
}
