//! What all answers are made from.

use std::path::PathBuf;
use std::sync::Arc;

use kstar_common::tariff::Tariff;
use kstar_engine::board::Board;
use kstar_sink::event::Event;
use tokio::sync::{Semaphore, broadcast, watch};

use super::health;
use super::page::Today;

/// How many listeners of the stream there may be: a page on every screen of a house, and half of the connections are left.
pub const LISTENERS: usize = 16;

/// How many questions the history is asked at once. Each takes a thread and up to 2 MiB.
pub const QUESTIONS: usize = 2;

/// Where answers come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// How every inverter and sink is.
    pub board: Arc<Board>,
    pub events: broadcast::WeakSender<Event>,
    /// The file with the history, if one is written.
    pub history: Option<PathBuf>,
    /// What electricity costs.
    pub tariffs: Vec<Tariff>,
}

/// What all answers are made from.
#[derive(Clone)]
pub(super) struct State(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) sources: Sources,
    pub(super) watcher: health::Watcher,
    pub(super) listeners: Arc<Semaphore>,
    pub(super) questions: Arc<Semaphore>,
    /// What today comes to, as the page shows it.
    pub(super) today: Today,
    /// Changes when it is time to end.
    pub(super) stopping: watch::Receiver<bool>,
}

impl State {
    pub(super) fn new(sources: Sources, stopping: watch::Receiver<bool>) -> Self {
        Self(Arc::new(Shared {
            watcher: health::Watcher::new(sources.board.clone()),
            sources,
            listeners: Arc::new(Semaphore::new(LISTENERS)),
            today: Today::default(),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
            stopping,
        }))
    }
}
