//! `/health`: whether somebody should look at the collector, and why.
//!
//! It is asked for years by programs that raise an alarm or start the collector anew, so it says no only for what does not
//! pass by itself. Gaps of nine minutes are normal for the WiFi modules of these inverters, and a broker or a database may
//! be started anew: neither is a reason. What is one stands at the constants.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstar_engine::board::{Board, InverterEntry};
use kstar_sink::event::Reachability;
use kstar_sink::health::{Snapshot, State as SinkState};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// An inverter without a reading for so long: longer than the gaps that pass by themselves.
pub const SILENT_TOO_LONG: Duration = Duration::from_secs(15 * 60);

/// A sink that has not delivered for so long, or a state folder that could not be written to: longer than a server takes to
/// be started anew.
pub const DOWN_TOO_LONG: Duration = Duration::from_secs(5 * 60);

/// How often the watcher looks.
const LOOKS: Duration = Duration::from_secs(5);

/// Whether all is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether it is.
    pub healthy: bool,
    /// Why not; absent for anyone who may not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<Reason>>,
    /// What somebody should know who looks, though it makes nothing unhealthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Reason>,
    /// The version of the collector; absent for anyone who may not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What it is about: `inverter roof`, `sink mqtt`, `collector`.
    pub part: String,
    pub reason: String,
}

/// Remembers since when things are as they are, where the board does not tell.
pub(super) struct Watcher {
    board: Arc<Board>,
    began: Instant,
    /// Since when each sink is down.
    down: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Watcher {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self {
            board,
            began: Instant::now(),
            down: Mutex::default(),
        }
    }

    /// Looks now and then, indefinitely.
    pub(super) async fn run(&self) {
        let mut looks = interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            drop(self.look());
        }
    }

    /// Gives the inverters whose polling hangs.
    fn look(&self) -> BTreeMap<Arc<str>, Duration> {
        let now = Instant::now();
        let sinks = self.board.sinks();
        let mut down = self.down();
        down.retain(|name, _| sinks.iter().any(|sink| sink.name() == *name));
        for sink in &sinks {
            if matches!(sink.snapshot().state, SinkState::Down { .. }) {
                down.entry(sink.name()).or_insert(now);
            } else {
                down.remove(sink.name());
            }
        }
        self.board.hanging()
    }

    /// Whether all is well at this moment, and everything that is not.
    pub(super) fn verdict(&self) -> Verdict {
        let hanging = self.look();
        let mut reasons = Vec::new();
        let mut reason = |part: String, reason: String| reasons.push(Reason { part, reason });
        let inverters = self.board.inverters();
        if inverters.is_empty() && self.began.elapsed() > SILENT_TOO_LONG {
            reason("collector".to_owned(), "no inverter is polled".to_owned());
        }
        let unremembered = self.board.unremembered_since().map(|since| since.elapsed());
        if let Some(unremembered) = unremembered
            && unremembered > DOWN_TOO_LONG
        {
            let said = format!(
                "the state folder could not be written to for {}, and readings go on without the meter's energies; see the log",
                minutes(unremembered)
            );
            reason("collector".to_owned(), said);
        }
        let mut notes = Vec::new();
        let is_undated = |entry: &Arc<InverterEntry>| {
            let newest = entry.present().newest;
            newest.is_some_and(|(_, reading)| reading.time.is_none())
        };
        if inverters.iter().any(is_undated) {
            notes.push(Reason {
                part: "clock".to_owned(),
                reason:
                    "this machine's clock is not set; what stores readings gets them once it is"
                        .to_owned(),
            });
        }
        for entry in &inverters {
            let part = || format!("inverter {}", entry.name);
            if let Some(still) = hanging.get(&entry.name) {
                let said = format!(
                    "polling hangs: nothing was asked and nothing came for {}; restart the collector, and please report this",
                    minutes(*still)
                );
                reason(part(), said);
            } else if entry.present().asleep {
                notes.push(Reason {
                    part: part(),
                    reason: "it is asleep until it answers again".to_owned(),
                });
            } else if let Some(said) = silence(entry) {
                reason(part(), said);
            }
        }
        let seen = self.down();
        for sink in self.board.sinks() {
            let part = || format!("sink {}", sink.name());
            let down = seen.get(sink.name()).map(Instant::elapsed);
            let Snapshot { state, note, .. } = sink.snapshot();
            notes.extend(note.map(|reason| Reason {
                part: part(),
                reason,
            }));
            match state {
                SinkState::Down { reason: why } if sink.is_broken() => reason(
                    part(),
                    format!("{why}; start the collector anew, and please report this"),
                ),
                SinkState::Down { reason: why } if down > Some(DOWN_TOO_LONG) => {
                    let down = minutes(down.unwrap_or_default());
                    reason(part(), format!("down for {down}: {why}"));
                }
                SinkState::Ended => reason(part(), "its other end has closed".to_owned()),
                SinkState::Opening | SinkState::Up | SinkState::Down { .. } => {}
            }
        }
        Verdict {
            healthy: reasons.is_empty(),
            reasons: Some(reasons),
            notes,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }
    }

    fn down(&self) -> MutexGuard<'_, BTreeMap<&'static str, Instant>> {
        // Nothing panics while it holds the lock.
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    /// What everybody may know.
    pub(super) fn bare(self) -> Self {
        Self {
            healthy: self.healthy,
            reasons: None,
            notes: Vec::new(),
            version: None,
        }
    }
}

/// What there is to say of an inverter without readings.
fn silence(entry: &InverterEntry) -> Option<String> {
    let present = entry.present();
    let without = match &present.newest {
        Some((at, _)) => at.elapsed(),
        // Nothing has changed since it was put up, or since it was called silent soon after.
        None => present.since.elapsed(),
    };
    if without <= SILENT_TOO_LONG {
        return None;
    }
    let without = minutes(without);
    Some(match (present.reachability, &present.newest) {
        (Some(Reachability::Online), _) => {
            let refused = entry.gate.refused.load(Ordering::Relaxed);
            format!(
                "it answers, but for {without} no reading was believed ({refused} were rejected so far); see the log"
            )
        }
        (_, Some(_)) => {
            format!("it has not answered for {without}; `kstar check --connect` tells why")
        }
        (_, None) => {
            format!("it has never answered in {without}; `kstar check --connect` tells why")
        }
    })
}

fn minutes(time: Duration) -> String {
    match time.as_secs() / 60 {
        0 => "less than a minute".to_owned(),
        1 => "a minute".to_owned(),
        minutes @ ..120 => format!("{minutes} minutes"),
        minutes => format!("{} hours", minutes / 60),
    }
}

#[cfg(test)]
pub(crate) mod tests;
