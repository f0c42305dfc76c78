//! The program as a service: what its manager (systemd) is told, and whether polling makes progress.
//!
//! `manager` is the socket that systemd listens on, and the only part that knows it. Without a manager that listens
//! nothing is told, and whether polling goes on is looked at all the same: what hangs is logged.

mod manager;

use std::sync::Arc;
use std::time::Duration;

use kstar_sink::event::Reachability;
use kstar_sink::health::State;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

pub use self::manager::Manager;
use crate::board::Board;

/// How often the manager is told how things are, and how often polling is looked at.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// What is needed beyond the grace to come to an end.
const BEYOND_THE_GRACE: Duration = Duration::from_secs(10);

/// What tells the manager of this program how it is.
pub struct Service {
    manager: Manager,
    board: Arc<Board>,
    status: Interval,
    watchdog: Interval,
}

enum Due {
    Status,
    Watchdog,
}

impl Service {
    /// Tells this manager of what is on the board.
    pub fn new(manager: Manager, board: Arc<Board>) -> Self {
        let feeding = manager.watchdog().map(|time| time / 2);
        Self {
            manager,
            board,
            status: every(STATUS_EVERY),
            watchdog: every(
                feeding
                    .unwrap_or(STATUS_EVERY)
                    .max(Duration::from_millis(1)),
            ),
        }
    }

    /// Everything has begun.
    pub async fn ready(&mut self) {
        let status = status(&self.board);
        self.manager
            .tell(&["READY=1", &format!("STATUS={status}")])
            .await;
    }

    /// The configuration is read again; [`ready`](Self::ready) says when that is done.
    pub async fn reloading(&mut self) {
        let now = manager::monotonic();
        self.manager
            .tell(&["RELOADING=1", &now, "STATUS=reloading the configuration"])
            .await;
    }

    /// The end has begun, and sinks may take this long to drain.
    pub async fn stopping(&mut self, grace: Duration) {
        let patience = (grace + BEYOND_THE_GRACE).as_micros();
        self.manager
            .tell(&[
                "STOPPING=1",
                "STATUS=delivering what waits",
                &format!("EXTEND_TIMEOUT_USEC={patience}"),
                "WATCHDOG=1",
            ])
            .await;
    }

    /// Does what is due at the next beat: tells the manager how things are, and that polling makes progress if it does.
    /// Safe to drop at any time: then it is told at the beat after.
    pub async fn beat(&mut self) {
        let due = tokio::select! {
            _ = self.watchdog.tick() => Due::Watchdog,
            _ = self.status.tick() => Due::Status,
        };
        match due {
            Due::Watchdog => {
                if self.board.hanging().is_empty() {
                    self.manager.feed().await;
                }
            }
            Due::Status => {
                let status = status(&self.board);
                self.manager.tell(&[&format!("STATUS={status}")]).await;
            }
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// How everything is, in one line.
fn status(board: &Board) -> String {
    let inverters = board.inverters();
    let (mut online, mut newest) = (0, None::<Instant>);
    let (mut silent, mut asleep) = (Vec::new(), Vec::new());
    for entry in &inverters {
        let present = entry.present();
        match present.reachability {
            Some(Reachability::Online) => online += 1,
            Some(Reachability::Silent) if present.asleep => asleep.push(entry.name.to_string()),
            Some(Reachability::Silent) => silent.push(entry.name.to_string()),
            None => {}
        }
        newest = newest.max(present.newest.map(|(at, _)| at));
    }
    let mut parts = vec![format!(
        "{online} of {} {} online",
        inverters.len(),
        if inverters.len() == 1 {
            "inverter"
        } else {
            "inverters"
        }
    )];
    if !silent.is_empty() {
        parts.push(format!("silent: {}", silent.join(", ")));
    }
    if !asleep.is_empty() {
        parts.push(format!("asleep: {}", asleep.join(", ")));
    }
    parts.push(match newest {
        Some(at) => format!("last reading {} s ago", at.elapsed().as_secs()),
        None => "no reading yet".to_owned(),
    });
    let sinks = board.sinks();
    let down: Vec<&str> = sinks
        .iter()
        .filter(|health| matches!(health.snapshot().state, State::Down { .. }))
        .map(|health| health.name())
        .collect();
    if !down.is_empty() {
        parts.push(format!("sinks down: {}", down.join(", ")));
    }
    parts.join("; ")
}
