//! What waits for a sink, in two lanes: *live*, what has just come, in memory; and the *backlog*, what has waited for
//! longer than a second, in the spool.
//!
//! Where both wait they take turns, the live lane first: new readings are never behind more than one batch of old
//! ones, and the old ones get on however many new ones come. Without a spool there is the live lane alone.

use std::sync::Arc;
use std::time::Duration;

use kstar_common::hold::Hold;
use kstar_model::reading::Reading;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use crate::carried::Carried;
use crate::delivery::Policy;
use crate::health::{Counts, Health};
use crate::queue::{Lost, Settlement};
use crate::spool::{Borrowed, Ids, Spool};

/// How long a reading may wait in memory, once it is due, before it is put on disk: what a killed process may cost. A server that is
/// well takes a reading in a fraction of that, so that nothing is written then.
const IN_MEMORY: Duration = Duration::from_secs(1);

/// One of the two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Live,
    Backlog,
}

/// What is borrowed from a lane.
enum Loan {
    /// From memory; with these numbers it is in the spool as well, should it have taken too long.
    Live(Option<Ids>),
    /// From the spool.
    Backlog(Ids),
}

/// The lanes of one sink.
pub(super) struct Lanes<'a> {
    pub(super) shared: &'a Shared,
    pub(super) health: &'a Health,
    spool: Option<Spool>,
    /// The lane that goes first where both wait.
    turn: Lane,
    loan: Loan,
    /// Before this the spool, which has failed, is not asked to take anything.
    rest: Instant,
    batch: usize,
    /// How long new readings are gathered.
    linger: Duration,
    /// How many readings the next delivery holds at the most: halved to find a bad one, doubled when all is well.
    live_limit: usize,
    backlog_limit: usize,
}

impl<'a> Lanes<'a> {
    /// The lane in memory alone, until the spool is opened.
    pub(super) fn new(shared: &'a Shared, health: &'a Health, policy: &Policy) -> Self {
        let batch = policy.batch.get();
        let mut lanes = Self {
            shared,
            health,
            spool: None,
            turn: Lane::Live,
            loan: Loan::Live(None),
            rest: Instant::now(),
            batch,
            linger: policy.linger,
            live_limit: batch,
            backlog_limit: batch,
        };
        lanes.count(Lost::default(), |_| ());
        lanes
    }

    /// Opens the spool, whose file is free.
    pub(super) async fn open(&mut self, mut spool: Spool, hold: Hold) {
        spool.open(hold).await;
        self.spool = Some(spool);
        self.count(Lost::default(), |_| ());
    }

    /// Whether nothing waits, as far as is known.
    pub(super) fn is_empty(&self) -> bool {
        self.shared.inbox().queued() == 0
    }

    /// The oldest readings of the lane whose turn it is, to be settled before the next are borrowed. None, if nothing
    /// waits or what waits cannot be read now.
    pub(super) async fn borrow(&mut self) -> Vec<Arc<Reading>> {
        let live_is_due = self.live_due().is_some_and(|due| due <= Instant::now());
        if (!live_is_due || self.turn == Lane::Backlog)
            && let Some(spool) = &mut self.spool
            && spool.waiting() > 0
        {
            let borrowed = spool.borrow(self.backlog_limit).await;
            self.count(Lost::default(), |_| ());
            if let Some(Borrowed { ids, readings }) = borrowed
                && !readings.is_empty()
            {
                self.loan = Loan::Backlog(ids);
                return readings;
            }
        }
        self.loan = Loan::Live(None);
        if !live_is_due {
            return Vec::new();
        }
        self.shared.inbox().readings.borrow(self.live_limit)
    }

    /// When new readings have been gathered for long enough, if there are some. As many as one delivery holds are due
    /// at once, and so is everything when nothing comes any more or the oldest would soon have to go.
    pub(super) fn live_due(&self) -> Option<Instant> {
        let ended = self.shared.has_ended();
        let inbox = self.shared.inbox();
        let readings = &inbox.readings;
        let since = readings.oldest()?;
        let is_enough = readings.len() >= self.live_limit || readings.is_crowded() || ended;
        Some(if is_enough {
            since
        } else {
            since + self.linger
        })
    }

    /// Whether a backlog is left that could not be read.
    pub(super) fn has_backlog(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| spool.waiting() > 0)
    }

    /// Ends the loan.
    pub(super) async fn settle(&mut self, settlement: Settlement, count: impl FnOnce(&mut Counts)) {
        let lost = self.shared.inbox().readings.settle(settlement);
        let loan = std::mem::replace(&mut self.loan, Loan::Live(None));
        if settlement == Settlement::Done {
            self.turn = match loan {
                Loan::Live(_) => Lane::Backlog,
                Loan::Backlog(_) => Lane::Live,
            };
        }
        if let (Loan::Live(Some(ids)) | Loan::Backlog(ids), Settlement::Done, Some(spool)) =
            (loan, settlement, &mut self.spool)
        {
            spool.settle(ids).await;
        }
        self.count(lost, count);
    }

    /// How many readings the lane that was borrowed from may give at once.
    pub(super) fn limit(&mut self) -> &mut usize {
        match self.loan {
            Loan::Live(_) => &mut self.live_limit,
            Loan::Backlog(_) => &mut self.backlog_limit,
        }
    }

    /// Doubles what the lane that was borrowed from gives at once.
    pub(super) fn widen(&mut self) {
        let batch = self.batch;
        let limit = self.limit();
        *limit = limit.saturating_mul(2).min(batch);
    }

    /// Waits for something that takes its time. What has been in memory for too long meanwhile is put on disk.
    pub(super) async fn attend<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = std::pin::pin!(what);
        loop {
            tokio::select! {
                biased;
                done = &mut what => return done,
                () = self.overdue() => {
                    self.save().await;
                }
            }
        }
    }

    /// Waits until a reading has been in memory for too long, or too many are there.
    async fn overdue(&self) {
        if self.spool.is_none() {
            return std::future::pending().await;
        }
        loop {
            let due = {
                let inbox = self.shared.inbox();
                let oldest = inbox.readings.oldest();
                if inbox.readings.is_crowded() {
                    oldest
                } else {
                    oldest.map(|since| since + self.linger + IN_MEMORY)
                }
            };
            let news = self.shared.news.notified();
            match due.map(|due| due.max(self.rest)) {
                None => news.await,
                Some(due) => tokio::select! {
                    () = sleep_until(due) => return,
                    () = news => {}
                },
            }
        }
    }

    /// Puts everything that is in memory on disk. Says whether nothing is left in memory.
    pub(super) async fn save(&mut self) -> bool {
        let Some(spool) = &mut self.spool else {
            return false;
        };
        let saving = {
            let mut inbox = self.shared.inbox();
            let saving = inbox.readings.hand_over();
            inbox.spooled += saving.len() as u64;
            saving
        };
        if saving.len() == 0 {
            return true;
        }
        let saved = spool.push(saving.readings(), saving.offered()).await;
        let lost = if let Some(ids) = &saved {
            if let (Loan::Live(saved), 1..) = (&mut self.loan, saving.borrowed) {
                *saved = Some(ids.first(saving.borrowed));
            }
            Lost::default()
        } else {
            self.rest = Instant::now() + IN_MEMORY;
            self.shared.inbox().readings.take_back(saving)
        };
        self.count(lost, |_| ());
        saved.is_some()
    }

    /// Puts on disk what waits for the clock to be set: that may take indefinitely.
    pub(super) async fn save_undated(&mut self) {
        let Some(spool) = &mut self.spool else {
            return;
        };
        let saving = self.shared.inbox().readings.take_undated();
        if saving.is_empty() {
            return;
        }
        let lost = if spool.push_undated(saving.clone()).await {
            Lost::default()
        } else {
            self.shared.inbox().readings.take_undated_back(saving)
        };
        self.count(lost, |_| ());
    }

    /// Dates what waits on disk for the clock to be set, if it is.
    pub(super) async fn date(&mut self) {
        let Some(spool) = &mut self.spool else {
            return;
        };
        let Some(clock) = self.shared.inbox().clock.take() else {
            return;
        };
        if spool.undated() > 0 {
            spool.set_clock(clock).await;
            self.count(Lost::default(), |_| ());
        }
    }

    /// Puts what is left on disk and closes the spool.
    pub(super) async fn close(mut self) {
        self.save().await;
        if !self.shared.is_handing_over() {
            self.save_undated().await;
        }
        if let Some(spool) = self.spool.take() {
            spool.close().await;
        }
    }

    pub(super) fn count(&mut self, lost: Lost, count: impl FnOnce(&mut Counts)) {
        let (spooled, dropped, carried) = match &mut self.spool {
            Some(spool) => (
                spool.waiting() + spool.undated(),
                spool.take_dropped(),
                spool.take_carried(),
            ),
            None => (0, 0, Carried::default()),
        };
        let mut inbox = self.shared.inbox();
        inbox.readings.carry(carried);
        inbox.spooled = spooled;
        let queued = inbox.queued();
        drop(inbox);
        self.health.count(|counts| {
            counts.dropped += dropped + lost.dropped;
            counts.replaced += lost.replaced;
            counts.queued = queued;
            counts.spooled = spooled;
            count(counts);
        });
    }
}
