//! The spool: what waits for a sink on disk, so that it outlives the program.
//!
//! One small SQLite file per sink in the state folder, behind the same verbs as the queue in memory: *push*, *borrow*,
//! *settle*; and what it drops hands on what it has counted in the same way. While the sink is well there is no such file. It is written on threads that may block; whatever is wrong
//! with the disk is said once, and readings then wait in memory until it is over.

#[cfg(not(feature = "spool"))]
mod absent;
#[cfg(feature = "spool")]
mod failure;
#[cfg(feature = "spool")]
mod file;
#[cfg(feature = "spool")]
mod row;
#[cfg(feature = "spool")]
mod rows;
#[cfg(feature = "spool")]
mod store;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kstar_common::hold::Hold;
use kstar_model::reading::{Reading, Undated};
use kstar_model::time::ClockSet;
use tokio::sync::Mutex;
use tokio::time::timeout;

#[cfg(not(feature = "spool"))]
use self::absent::Store;
#[cfg(feature = "spool")]
use self::store::Store;
use crate::carried::Carried;
use crate::delivery::SpoolBounds;

/// Whether this build has the spool.
pub const BUILT: bool = cfg!(feature = "spool");

/// The smallest bound in bytes that makes sense: below it a file is mostly its own bookkeeping.
pub const SMALLEST: u64 = 1 << 20;

/// How long the disk may take. A card that is about to die must not keep the sink from delivering.
const PATIENCE: Duration = Duration::from_secs(5);

/// The spool of one sink.
pub struct Spool {
    sink: &'static str,
    /// Locked while a job is under way, also when nobody waits for it any more.
    store: Arc<Mutex<Store>>,
    waiting: u64,
    /// How many wait for the clock to be set.
    undated: u64,
    dropped: u64,
    /// What they have counted, where no later reading of their inverter waits here.
    carried: Carried,
    /// Whether it was said that the disk does not do as it should.
    in_trouble: bool,
    /// What a job holds as well, for as long as it runs.
    hold: Option<Hold>,
}

/// The numbers of readings, which settle them.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    /// Which file they count in: in the one that follows a damaged one they would mean other readings.
    file: u32,
    range: RangeInclusive<i64>,
}

impl Ids {
    /// Those of so many at the beginning.
    pub(crate) fn first(&self, count: usize) -> Self {
        let first = *self.range.start();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            file: self.file,
            range: first..=first.saturating_add(count).saturating_sub(1),
        }
    }
}

/// The oldest readings of a spool, and the numbers that settle them.
#[derive(Debug)]
pub(crate) struct Borrowed {
    pub(crate) ids: Ids,
    pub(crate) readings: Vec<Arc<Reading>>,
}

impl Spool {
    /// The spool of a sink in this folder, which its driver opens.
    pub fn new(folder: &Path, sink: &'static str, bounds: SpoolBounds) -> Self {
        Self {
            sink,
            store: Arc::new(Mutex::new(Store::new(folder, sink, bounds))),
            // As long as nobody knows better.
            waiting: 1,
            undated: 0,
            dropped: 0,
            carried: Carried::default(),
            in_trouble: false,
            hold: None,
        }
    }

    /// Looks for what waits, and says so. A damaged file is set aside; one that cannot be used now is tried again with each
    /// use.
    pub(crate) async fn open(&mut self, hold: Hold) {
        self.hold = Some(hold);
        let opened = self.call(Store::open).await;
        if opened.is_some() && self.waiting > 0 {
            tracing::info!(
                sink = self.sink,
                waiting = self.waiting,
                "readings from before wait in the spool; they are delivered between new ones"
            );
        }
    }

    /// How many readings wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// How many readings it let go of without a delivery since this was asked last.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// What they have counted that nobody here can take over, since this was asked last.
    pub(crate) fn take_carried(&mut self) -> Carried {
        std::mem::take(&mut self.carried)
    }

    /// Adds readings behind all others, as a whole or not at all; gives their numbers. The first `offered` of them were
    /// borrowed before.
    pub(crate) async fn push(
        &mut self,
        readings: Vec<Arc<Reading>>,
        offered: usize,
    ) -> Option<Ids> {
        let ids = self.call(move |store| store.push(&readings, offered)).await;
        self.written(ids)
    }

    /// How many readings wait for the clock to be set.
    pub(crate) fn undated(&self) -> u64 {
        self.undated
    }

    /// Adds readings that wait for the clock to be set, as a whole or not at all; says whether they are there.
    pub(crate) async fn push_undated(&mut self, readings: Vec<Arc<Undated>>) -> bool {
        let pushed = self.call(move |store| store.push_undated(&readings)).await;
        self.written(pushed).is_some()
    }

    /// The clock is set: what has waited for that waits behind all others now.
    pub(crate) async fn set_clock(&mut self, clock: ClockSet) {
        let dated = self.call(move |store| store.set_clock(clock)).await;
        self.written(dated);
    }

    /// The oldest readings, at most `limit`.
    pub(crate) async fn borrow(&mut self, limit: usize) -> Option<Borrowed> {
        self.call(move |store| store.borrow(limit)).await
    }

    /// Lets go of readings that are done with. Should the disk refuse, they may be delivered again.
    pub(crate) async fn settle(&mut self, ids: Ids) {
        let settled = self.call(move |store| store.settle(&ids)).await;
        self.written(settled);
    }

    /// Puts what waits on the disk for good. Without anything that waits no file is left.
    pub(crate) async fn close(mut self) {
        let _ = self.call(Store::close).await;
    }

    /// Says it if the disk does again as it should. What could be read does not tell that: a full disk is read as well.
    fn written<T>(&mut self, outcome: Option<T>) -> Option<T> {
        if outcome.is_some() && std::mem::take(&mut self.in_trouble) {
            tracing::info!(sink = self.sink, "the spool works again");
        }
        outcome
    }

    /// Has the store do something; `None` if it could not, which is said once.
    async fn call<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut Store) -> Result<T, String> + Send + 'static,
    ) -> Option<T> {
        let outcome = self.attempt(job).await;
        if let Err(reason) = &outcome
            && !std::mem::replace(&mut self.in_trouble, true)
        {
            tracing::error!(
                sink = self.sink,
                reason,
                "the spool cannot be used; readings wait in memory only, and it is tried again"
            );
        }
        outcome.ok()
    }

    async fn attempt<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut Store) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let Ok(mut store) = Arc::clone(&self.store).try_lock_owned() else {
            return Err("the disk is still busy with what it was given before; if that stays so, look for a failing disk".to_owned());
        };
        let hold = self.hold.clone();
        let job = tokio::task::spawn_blocking(move || {
            let outcome = job(&mut store);
            let waiting = (store.waiting(), store.undated());
            let dropped = (store.take_dropped(), store.take_carried());
            // If nobody waits any more, the file is closed now, and then it is free.
            drop(store);
            drop(hold);
            (outcome, waiting, dropped)
        });
        let (outcome, (waiting, undated), (dropped, carried)) = timeout(PATIENCE, job)
            .await
            .map_err(|_| {
                format!("the disk does not answer within {PATIENCE:?}; look for a failing disk")
            })?
            .map_err(|error| format!("{error}; please report this"))?;
        (self.waiting, self.undated) = (waiting, undated);
        self.dropped += dropped;
        self.carried.append(carried);
        outcome
    }
}
