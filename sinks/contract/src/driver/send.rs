//! Sending: from the lanes to the far side, batch by batch, as long as that takes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kstar_common::back_off::BackOff;
use kstar_model::reading::{Reading, Undated};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::lanes::Lanes;
use super::news::News;
use super::opening::Opening;
use super::{End, Ended, Parting};
use crate::queue::{Lost, Settlement};
use crate::sink::{Batch, DeliveryError, Sink};

/// The longest wait while draining at a stop: there may be time for several tries before the grace ends.
pub(super) const LONGEST_DELAY_AT_STOP: Duration = Duration::from_secs(1);

/// The longest wait that a far side may ask for.
pub(super) const LONGEST_DELAY_ASKED_FOR: Duration = Duration::from_secs(15 * 60);

/// The wait before a spool that could not be read is tried again.
const SPOOL_DELAY: Duration = Duration::from_secs(5);

/// The loop that delivers.
pub(super) struct Sending<'a> {
    sink: Box<dyn Sink>,
    is_open: bool,
    timeout: Duration,
    /// How long delivering goes on after the end of the channel, if there is a spool for the rest.
    draining: Option<Duration>,
    lanes: Lanes<'a>,
    /// How many tries in a row to open it or to deliver have failed.
    failures: u32,
    /// Whether the last one failed because the far side lets nothing in until somebody acts.
    refused: bool,
    /// Dropped last: with it the files are free for the sink that follows.
    opening: Opening,
}

/// In the place of a sink that is not open yet.
struct NotOpen;

#[async_trait]
impl Sink for NotOpen {
    async fn deliver(&mut self, _: &Batch<'_>) -> Result<(), DeliveryError> {
        Err(DeliveryError::unreachable("it is not open"))
    }

    async fn close(self: Box<Self>) -> Result<(), DeliveryError> {
        Ok(())
    }
}

/// What there is to do next.
enum Next {
    Open,
    News(News),
    Undated(Arc<Undated>),
    Readings(Vec<Arc<Reading>>),
    Wait,
    End,
}

/// Why sending cannot go on at once.
enum Stop {
    FarSideClosed,
    TryAgainAfter(Duration),
    /// The rest is for the spool.
    Leave,
}

impl<'a> Sending<'a> {
    pub(super) fn new(
        opening: Opening,
        timeout: Duration,
        draining: Option<Duration>,
        lanes: Lanes<'a>,
    ) -> Self {
        Self {
            sink: Box::new(NotOpen),
            is_open: false,
            timeout,
            draining,
            lanes,
            failures: 0,
            refused: false,
            opening,
        }
    }

    pub(super) fn into_parts(self) -> (Box<dyn Sink>, Lanes<'a>, Opening) {
        (self.sink, self.lanes, self.opening)
    }

    pub(super) async fn run(&mut self) -> Ended {
        loop {
            let outcome = match self.next().await {
                Next::Open => self.open().await,
                Next::News(news) => self.tell(news).await,
                Next::Readings(readings) => self.deliver_readings(&readings).await,
                Next::Undated(reading) => self.show(reading).await,
                Next::Wait => {
                    self.lanes.save_undated().await;
                    self.wait_for_news().await;
                    continue;
                }
                Next::End => return Ended::Drained,
            };
            let outcome = match outcome {
                Err(Stop::TryAgainAfter(delay)) => self.wait(delay).await,
                outcome => outcome,
            };
            match outcome {
                Ok(()) | Err(Stop::TryAgainAfter(_)) => {}
                Err(Stop::FarSideClosed) => return Ended::FarSideClosed,
                Err(Stop::Leave) => {
                    self.lanes.settle(Settlement::Kept, |_| ()).await;
                    if self.lanes.save().await {
                        return Ended::Drained;
                    }
                    if self.refused && !self.lanes.shared.is_handing_over() {
                        return Ended::Refused;
                    }
                    // The spool cannot have it, so the far side must: for as long as whoever runs this allows.
                    self.draining = None;
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        // Asked first: what was taken before the end is in the lanes by then.
        let ended = self.lanes.shared.has_ended();
        if ended && self.lanes.shared.is_handing_over() {
            return Next::End;
        }
        if !self.is_open {
            let may_have_more =
                || self.opening.spool.is_some() || !self.lanes.shared.inbox().statuses.is_empty();
            // What cannot be opened has to be open by the end for readings only.
            let is_needed = !self.lanes.is_empty() || (self.failures == 0 && may_have_more());
            return if ended && !is_needed {
                Next::End
            } else {
                Next::Open
            };
        }
        let news = self.lanes.shared.inbox().take_news(ended);
        if let Some(news) = news {
            return Next::News(news);
        }
        if let Some(undated) = self.lanes.shared.inbox().readings.take_shown() {
            return Next::Undated(undated);
        }
        self.lanes.date().await;
        let readings = self.lanes.borrow().await;
        match (readings.is_empty(), ended) {
            (false, _) => Next::Readings(readings),
            (true, false) => Next::Wait,
            (true, true) => Next::End,
        }
    }

    /// Opens the sink, and before it the spool, as soon as their files are free. One that is still being opened when the
    /// time-out is over is waited for, and never opened a second time beside that.
    async fn open(&mut self) -> Result<(), Stop> {
        let leave = self.leave();
        let free = timeout(self.timeout, self.opening.hold());
        let Ok(hold) = self.lanes.attend(unless(leave, free)).await? else {
            self.opens_slowly();
            return Ok(());
        };
        if let Some(spool) = self.opening.spool.take() {
            self.lanes.open(spool, hold.clone()).await;
        }
        let leave = self.leave();
        let opening = timeout(self.timeout, self.opening.open(hold));
        match self.lanes.attend(unless(leave, opening)).await? {
            Ok(Ok(mut sink)) => {
                self.failures = 0;
                if let Some(legacy) = self.opening.legacy.take() {
                    sink.follow(legacy);
                }
                (self.sink, self.is_open) = (sink, true);
                self.lanes.health.opened();
                Ok(())
            }
            Ok(Err(error)) => Err(self.unreachable(&error.to_string(), None)),
            Err(_) => {
                self.opens_slowly();
                Ok(())
            }
        }
    }

    fn opens_slowly(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.lanes.health.down(self.opening.is_slow());
    }

    async fn wait_for_news(&mut self) {
        let news = self.lanes.shared.news.notified();
        let backlog = self
            .lanes
            .has_backlog()
            .then(|| Instant::now() + SPOOL_DELAY);
        match self.lanes.live_due().into_iter().chain(backlog).min() {
            // Too long a wait is an answer as well.
            Some(due) => drop(timeout_at(due, news).await),
            None => news.await,
        }
    }

    async fn tell(&mut self, news: News) -> Result<(), Stop> {
        let leave = self.leave();
        let delivery = within(self.timeout, news.tell(&mut *self.sink));
        match self.lanes.attend(unless(leave, delivery)).await? {
            Ok(()) => {
                // Sinks that are told nothing else say `Ok` without asking anybody.
                self.refused &= !matches!(news, News::Status(_));
                Ok(())
            }
            Err(DeliveryError::Rejected { reason } | DeliveryError::TooLarge { reason }) => {
                tracing::warn!(
                    sink = self.lanes.health.name(),
                    about = news.about(),
                    reason,
                    "status rejected"
                );
                Ok(())
            }
            Err(error) => {
                self.lanes.shared.inbox().keep_news(news);
                Err(self.failed(error))
            }
        }
    }

    /// Shows a reading that has no time.
    async fn show(&mut self, reading: Arc<Undated>) -> Result<(), Stop> {
        let leave = self.leave();
        let delivery = within(self.timeout, self.sink.show(&reading));
        let outcome = match self.lanes.attend(unless(leave, delivery)).await {
            Ok(outcome) => outcome,
            Err(stop) => {
                self.keep_undated(reading);
                return Err(stop);
            }
        };
        match outcome {
            Ok(()) => {
                (self.failures, self.refused) = (0, false);
                self.lanes
                    .count(Lost::default(), |counts| counts.delivered += 1);
                self.lanes.health.up();
                Ok(())
            }
            Err(DeliveryError::Rejected { reason } | DeliveryError::TooLarge { reason }) => {
                self.failures = 0;
                self.lanes
                    .count(Lost::default(), |counts| counts.rejected += 1);
                tracing::warn!(
                    sink = self.lanes.health.name(),
                    inverter = &*reading.inverter.name,
                    reason,
                    "the server rejected this reading; it is dropped"
                );
                Ok(())
            }
            Err(error) => {
                self.keep_undated(reading);
                Err(self.failed(error))
            }
        }
    }

    /// Keeps a reading that could not be shown, unless a newer one has come meanwhile.
    fn keep_undated(&mut self, reading: Arc<Undated>) {
        let lost = self
            .lanes
            .shared
            .inbox()
            .readings
            .take_undated_back(vec![reading]);
        self.lanes.count(lost, |_| ());
    }

    async fn deliver_readings(&mut self, readings: &[Arc<Reading>]) -> Result<(), Stop> {
        let leave = self.leave();
        let batch = Batch::new(readings);
        let delivery = within(self.timeout, self.sink.deliver(&batch));
        let outcome = self.lanes.attend(unless(leave, delivery)).await?;
        let count = readings.len() as u64;
        match (outcome, readings) {
            (Ok(()), _) => {
                self.answered();
                self.lanes.widen();
                self.lanes
                    .settle(Settlement::Done, |counts| counts.delivered += count)
                    .await;
                self.lanes.health.note(self.sink.note());
                self.lanes.health.up();
                Ok(())
            }
            (
                Err(DeliveryError::Rejected { reason } | DeliveryError::TooLarge { reason }),
                [reading],
            ) => {
                self.answered();
                self.lanes
                    .settle(Settlement::Done, |counts| counts.rejected += 1)
                    .await;
                self.lanes.shared.inbox().readings.give_up(reading);
                tracing::warn!(
                    sink = self.lanes.health.name(),
                    inverter = &*reading.inverter.name,
                    time = %reading.time,
                    reason,
                    "the server rejected this reading; it is dropped"
                );
                Ok(())
            }
            (Err(DeliveryError::Rejected { .. } | DeliveryError::TooLarge { .. }), _) => {
                self.answered();
                *self.lanes.limit() = readings.len().div_ceil(2);
                self.lanes.settle(Settlement::Kept, |_| ()).await;
                Ok(())
            }
            (Err(error), _) => {
                self.lanes.settle(Settlement::Kept, |_| ()).await;
                Err(self.failed(error))
            }
        }
    }

    /// The far side is there and lets us in.
    fn answered(&mut self) {
        self.failures = 0;
        self.refused = false;
    }

    /// What to do after an error that is not about what was to be delivered.
    fn failed(&mut self, error: DeliveryError) -> Stop {
        match error {
            DeliveryError::Closed => Stop::FarSideClosed,
            DeliveryError::Refused {
                reason,
                retry_after,
            } => self.refused(&reason, retry_after),
            DeliveryError::Unreachable {
                reason,
                retry_after,
            } => self.unreachable(&reason, retry_after),
            // It is: whoever delivers has looked for these before.
            DeliveryError::Rejected { reason } | DeliveryError::TooLarge { reason } => {
                self.unreachable(&reason, None)
            }
        }
    }

    fn unreachable(&mut self, reason: &str, retry_after: Option<Duration>) -> Stop {
        self.lanes.health.down(reason);
        self.refused = false;
        self.failures = self.failures.saturating_add(1);
        Stop::TryAgainAfter(match retry_after {
            Some(asked_for) => asked_for.min(LONGEST_DELAY_ASKED_FOR),
            None => BackOff::SERVER.spread(self.failures - 1),
        })
    }

    fn refused(&mut self, reason: &str, retry_after: Option<Duration>) -> Stop {
        self.lanes.health.refused(reason);
        self.refused = true;
        self.failures = self.failures.saturating_add(1);
        Stop::TryAgainAfter(match retry_after {
            Some(asked_for) => asked_for.min(LONGEST_DELAY_ASKED_FOR),
            // The longest pause at once: only a change there or here can help.
            None => BackOff::SERVER.spread(u32::MAX),
        })
    }

    /// Ready when it is time to leave the rest to the spool, or to the driver that follows: at once at the end of the
    /// channel if the far side is known to be away, else after a while. Without either, when it lets nothing in: no
    /// trying on changes that within the grace, and somebody waits for the end.
    fn leave(&self) -> impl Future<Output = ()> + use<'a> {
        let (shared, draining) = (self.lanes.shared, self.draining);
        let (failures, refused) = (self.failures, self.refused);
        async move {
            let End { since, parting } = shared.ended().await;
            match (draining, parting) {
                (Some(_), _) | (None, Parting::HandOver | Parting::Renew) if failures > 0 => {}
                (None, Parting::Drain) if refused => {}
                (Some(draining), _) => sleep_until(since + draining).await,
                // The delivery under way has its time-out.
                (None, _) => std::future::pending().await,
            }
        }
    }

    /// Waits that long, or shorter once the channel has ended, and not at all where the rest is handed over.
    async fn wait(&mut self, delay: Duration) -> Result<(), Stop> {
        let leave = self.leave();
        let shared = self.lanes.shared;
        let wait = async {
            let deadline = Instant::now() + delay;
            tokio::select! {
                () = sleep_until(deadline) => {}
                end = shared.ended() => if end.parting == Parting::Drain {
                    sleep_until(deadline.min(Instant::now() + LONGEST_DELAY_AT_STOP)).await;
                }
            }
        };
        self.lanes.attend(unless(leave, wait)).await
    }
}

/// The outcome of something, unless it is time to leave before.
async fn unless<T>(
    leave: impl Future<Output = ()>,
    what: impl Future<Output = T>,
) -> Result<T, Stop> {
    tokio::select! {
        biased;
        done = what => Ok(done),
        () = leave => Err(Stop::Leave),
    }
}

/// The outcome of a delivery, or that there was none in time.
async fn within(
    patience: Duration,
    delivery: impl Future<Output = Result<(), DeliveryError>>,
) -> Result<(), DeliveryError> {
    match timeout(patience, delivery).await {
        Ok(outcome) => outcome,
        Err(_) => Err(DeliveryError::unreachable(format!(
            "no answer within {}",
            kstar_common::setting::duration::text(patience)
        ))),
    }
}
