//! The page fed by a collector in this process, from its board and its events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_engine::board::Board;
use kstar_engine::board::Event;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::MissedTickBehavior;

use super::page::Page;
use super::screen::Shared;

/// How often counts are looked at that no event tells of.
const LOOK: Duration = Duration::from_secs(1);

/// Feeds the page until the collector's events end.
pub async fn feed(shared: Arc<Shared>, board: Arc<Board>, mut events: broadcast::Receiver<Event>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => shared.change(|page| refresh(page, &board)),
            event = events.recv() => match event {
                Ok(Event::Reading(reading)) => shared.change(|page| {
                    let now = Instant::now();
                    page.read(Arc::new(reading.shown()), now);
                }),
                Ok(Event::Undated(reading)) => shared.change(|page| {
                    let now = Instant::now();
                    page.read(Arc::new(reading.shown()), now);
                }),
                Ok(Event::Status(_)) => shared.change(|page| refresh(page, &board)),
                // The next reading shows how things are.
                Ok(Event::Site(_) | Event::Clock(_) | Event::Collector(_) | Event::Price(_)) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// Takes everything from the board.
pub fn refresh(page: &mut Page, board: &Board) {
    let now = Instant::now();
    let inverters = board.inverters();
    let overviews = inverters.iter().map(|entry| (&**entry).into()).collect();
    page.set_inverters(overviews, now);
    for entry in inverters {
        if let Some((_, reading)) = entry.present().newest {
            page.know(reading);
        }
    }
    page.sinks = board
        .sinks()
        .iter()
        .map(|health| (&**health).into())
        .collect();
}
