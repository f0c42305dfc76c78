//! What Home Assistant is told on a connection, but for what the broker does not take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kstar_model::reading::Shown;
use kstar_sink::event::{CollectorStatus, InverterStatus, Price};

use crate::connection::Connection;
use crate::home_assistant::Discovery;
use crate::limit::Limit;
use crate::message::Message;

/// What is announced, and how large it may be.
pub(crate) struct Announcing {
    /// It writes to a file now and then, so it is used where that may block.
    discovery: Arc<Mutex<Discovery>>,
    limit: Mutex<Limit>,
}

impl Announcing {
    pub(crate) fn new(discovery: Discovery) -> Self {
        Self {
            discovery: Arc::new(Mutex::new(discovery)),
            limit: Mutex::default(),
        }
    }

    /// Which announcements the broker does not take.
    pub(crate) fn limit(&self) -> MutexGuard<'_, Limit> {
        // Nothing panics while it holds the lock.
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that there is to tell.
    pub(crate) async fn all(&self) -> Vec<Message> {
        let messages = self.discovery(|discovery| discovery.all()).await;
        self.taken(messages)
    }

    /// Whether nothing must be told because of a reading.
    pub(crate) fn knows(&self, reading: &Shown) -> bool {
        let unlocked = self.discovery.try_lock();
        unlocked.is_ok_and(|discovery| discovery.knows_all_of(reading))
    }

    /// What must be told because of a reading: nothing, as a rule, and that is seen without a thread that may block.
    pub(crate) async fn because_of(&self, reading: &Arc<Shown>) -> Vec<Message> {
        if self.knows(reading) {
            return Vec::new();
        }
        let observed = Arc::clone(reading);
        let messages = self
            .discovery(move |discovery| discovery.observe(&observed))
            .await;
        self.taken(messages)
    }

    /// What must be told because of what is known of an inverter.
    pub(crate) async fn status(&self, status: &InverterStatus) -> Vec<Message> {
        let status = status.clone();
        let messages = self.discovery(move |discovery| discovery.status(&status));
        self.taken(messages.await)
    }

    /// What must be told because of how the collector is.
    pub(crate) async fn collector(&self, status: &CollectorStatus) -> Vec<Message> {
        let status = status.clone();
        let messages = self.discovery(move |discovery| discovery.collector(&status));
        self.taken(messages.await)
    }

    /// What must be told because of what electricity costs.
    pub(crate) async fn price(&self, price: &Price) -> Vec<Message> {
        let price = price.clone();
        let messages = self.discovery(move |discovery| discovery.price(&price));
        self.taken(messages.await)
    }

    /// Takes note of it once the broker has every announcement.
    pub(crate) async fn settle(&self, connection: &Connection) {
        if connection.announcing().is_some() {
            return;
        }
        self.limit().settled();
        if !self.limit().holds() {
            self.discovery(Discovery::settled).await;
        }
    }

    /// Those of the messages that the broker takes. Behind what it does not take nothing is cleared: an entity that has
    /// not found its new topic would be lost with the old one.
    fn taken(&self, mut messages: Vec<Message>) -> Vec<Message> {
        let mut held = false;
        messages.retain(|message| {
            if message.payload.is_empty() {
                return !held;
            }
            let allowed = self.limit().allows(message);
            held |= !allowed;
            allowed
        });
        messages
    }

    /// Asks or tells what Home Assistant knows of us, on a thread that may block.
    async fn discovery<T: Default + Send + 'static>(
        &self,
        act: impl FnOnce(&mut Discovery) -> T + Send + 'static,
    ) -> T {
        let discovery = Arc::clone(&self.discovery);
        let act = move || act(&mut discovery.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(act).await.unwrap_or_default()
    }
}
