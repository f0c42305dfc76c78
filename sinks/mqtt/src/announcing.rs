//! What Home Assistant is told on a connection, but for what the broker does not take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kstar_model::reading::Shown;
use kstar_sink::event::{CollectorStatus, InverterStatus, Price};

use crate::connection::Connection;
use crate::home_assistant::{Discovery, is_migration};
use crate::limit::Limit;
use crate::message::Message;

/// What is announced, and how large it may be.
pub(crate) struct Announcing {
    /// It writes to a file now and then, so it is used where that may block.
    discovery: Arc<Mutex<Changing>>,
    limit: Mutex<Limit>,
    /// How many of the changes were in what was told as a whole.
    told: AtomicU64,
}

/// What Home Assistant is to know, and how many changes of it there were: whoever tells all of it knows which are in it.
struct Changing {
    discovery: Discovery,
    changes: u64,
}

/// What must be told because of a change.
pub(crate) struct Announced {
    messages: Vec<Message>,
    change: u64,
}

impl Announced {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

impl Announcing {
    pub(crate) fn new(discovery: Discovery) -> Self {
        Self {
            discovery: Arc::new(Mutex::new(Changing {
                discovery,
                changes: 0,
            })),
            limit: Mutex::default(),
            told: AtomicU64::new(0),
        }
    }

    /// Which announcements the broker does not take.
    pub(crate) fn limit(&self) -> MutexGuard<'_, Limit> {
        // Nothing panics while it holds the lock.
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that there is to tell.
    pub(crate) async fn all(&self) -> Vec<Message> {
        let all = |known: &mut Changing| (known.discovery.all(), known.changes);
        let (messages, changes) = self.on_a_thread(all).await;
        self.told.fetch_max(changes, Ordering::Release);
        self.taken(messages)
    }

    /// What is still to be told because of a change: nothing if everything was told since. To be told twice that a device
    /// is gone would be a reason for Home Assistant to warn.
    pub(crate) fn untold(&self, announced: Announced) -> Vec<Message> {
        if announced.change <= self.told.load(Ordering::Acquire) {
            return Vec::new();
        }
        announced.messages
    }

    async fn changed(
        &self,
        change: impl FnOnce(&mut Discovery) -> Vec<Message> + Send + 'static,
    ) -> Announced {
        let changed = self.on_a_thread(move |known| {
            known.changes += 1;
            (change(&mut known.discovery), known.changes)
        });
        let (messages, change) = changed.await;
        Announced {
            messages: self.taken(messages),
            change,
        }
    }

    /// Whether nothing must be told because of a reading.
    pub(crate) fn knows(&self, reading: &Shown) -> bool {
        let unlocked = self.discovery.try_lock();
        unlocked.is_ok_and(|known| known.discovery.knows_all_of(reading))
    }

    /// What must be told because of a reading: nothing, as a rule, and that is seen without a thread that may block.
    pub(crate) async fn because_of(&self, reading: &Arc<Shown>) -> Vec<Message> {
        if self.knows(reading) {
            return Vec::new();
        }
        let observed = Arc::clone(reading);
        let messages = self
            .on_a_thread(move |known| known.discovery.observe(&observed))
            .await;
        self.taken(messages)
    }

    /// What must be told because of what is known of an inverter.
    pub(crate) async fn status(&self, status: &InverterStatus) -> Announced {
        let status = status.clone();
        self.changed(move |discovery| discovery.status(&status))
            .await
    }

    /// What must be told because of how the collector is.
    pub(crate) async fn collector(&self, status: &CollectorStatus) -> Announced {
        let status = status.clone();
        self.changed(move |discovery| discovery.collector(&status))
            .await
    }

    /// What must be told because of what electricity costs.
    pub(crate) async fn price(&self, price: &Price) -> Announced {
        let price = price.clone();
        self.changed(move |discovery| discovery.price(&price)).await
    }

    /// Takes note of it once the broker has every announcement.
    pub(crate) async fn settle(&self, connection: &Connection) {
        if connection.announcing().is_some() {
            return;
        }
        self.limit().settled();
        if !self.limit().holds() {
            self.on_a_thread(|known| known.discovery.settled()).await;
        }
    }

    /// Those of the messages that the broker takes. With what it does not take nothing is handed over to the other form, and
    /// behind it nothing is cleared: an entity that does not find its new topic would be lost with the old one.
    fn taken(&self, mut messages: Vec<Message>) -> Vec<Message> {
        let is_too_large =
            |message: &Message| !message.payload.is_empty() && !self.limit().allows(message);
        let hands_over = !messages.iter().any(is_too_large);
        let (mut migrating, mut held) = (false, false);
        messages.retain(|message| {
            migrating |= is_migration(message);
            if is_migration(message) || message.payload.is_empty() {
                return !held && (hands_over || !migrating);
            }
            let allowed = self.limit().allows(message);
            held |= !allowed;
            allowed
        });
        messages
    }

    /// Asks or tells what Home Assistant knows of us, on a thread that may block.
    async fn on_a_thread<T: Default + Send + 'static>(
        &self,
        act: impl FnOnce(&mut Changing) -> T + Send + 'static,
    ) -> T {
        let discovery = Arc::clone(&self.discovery);
        let act = move || act(&mut discovery.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(act).await.unwrap_or_default()
    }
}
