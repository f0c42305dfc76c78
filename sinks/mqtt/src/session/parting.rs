//! The end of a session: with a farewell, or so that another may take its place unnoticed.

use std::sync::Arc;
use std::time::Duration;

use kstar_sink::sink::DeliveryError;
use rumqttc::QoS;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Link, Session};
use crate::connection::Lost;
use crate::flight::Batch;
use crate::present::Present;
use crate::topics::ONLINE;

/// How long a farewell may take: within the second that a sink has to close.
pub(crate) const FAREWELL: Duration = Duration::from_millis(900);

/// A session that says nothing more. It stays connected until its place is taken; if nobody takes it, the connection breaks
/// with it, and the broker tells that we are offline.
pub(crate) struct Retired {
    session: Arc<Session>,
    present: Present,
    /// Whoever wants to say something waits for it.
    _order: OwnedMutexGuard<()>,
    _task: Option<Task>,
}

/// A task that ends with its owner.
pub(crate) struct Task(pub(crate) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Retired {
    /// Leaves its place. At a broker that does not answer it is left to its time-out.
    pub(super) async fn leave(self) {
        let _ = timeout(FAREWELL, self.session.leave()).await;
    }
}

impl Session {
    /// Says nothing more, for a session that follows.
    pub(crate) async fn retire(
        self: Arc<Self>,
        task: Option<Task>,
    ) -> Result<Retired, DeliveryError> {
        let link = self.link.borrow().clone();
        if let Link::Up(connection) = link {
            // With it the broker has acknowledged what was announced before.
            let mut online = Batch::default();
            online.publish([self.settings.topics.collector(ONLINE)], QoS::AtLeastOnce);
            let told = connection.send(online).await.map_err(broken_off)?;
            told.all().await.map_err(broken_off)?;
            self.settle(&connection).await;
        }
        let order = Arc::clone(&self.order).lock_owned().await;
        let present = std::mem::take(&mut self.known().present);
        Ok(Retired {
            session: self,
            present,
            _order: order,
            _task: task,
        })
    }

    /// Takes the place of a session of the same settings.
    pub(crate) fn follow(&self, mut before: Retired) {
        let mut known = self.known();
        known.present.follow(std::mem::take(&mut before.present));
        known.before = Some(before);
    }

    /// Ends the connection, so that the broker has nobody to miss.
    async fn leave(&self) -> Result<(), Lost> {
        let Link::Up(connection) = self.link.borrow().clone() else {
            return Ok(());
        };
        let mut link = self.link.subscribe();
        connection.disconnect().await?;
        // However it ends now: everything is said.
        let _ = link.wait_for(|link| !matches!(link, Link::Up(_))).await;
        Ok(())
    }

    /// Takes leave: everything of ours is offline, and the broker knows it.
    pub(crate) async fn farewell(&self) -> Result<(), DeliveryError> {
        // Without a connection the broker has told it already: that is what the will is for.
        let Link::Up(connection) = self.link.borrow().clone() else {
            return Ok(());
        };
        let farewell = self.known().present.farewell(&self.settings);
        let told = connection.send(farewell).await.map_err(broken_off)?;
        told.all().await.map_err(broken_off)?;
        // What was announced before is acknowledged before.
        self.settle(&connection).await;
        self.leave().await.map_err(broken_off)
    }
}

fn broken_off(_: Lost) -> DeliveryError {
    DeliveryError::unreachable("the connection has broken off")
}
