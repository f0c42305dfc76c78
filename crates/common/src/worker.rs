//! A thread that owns something blocking, for sinks that write to files: the async side hands it one job at a time
//! and waits for the answer without blocking anybody.
//!
//! A job whose caller has given up (a delivery that took too long) still runs to its end, and the next one waits
//! behind it. So whatever the thread owns is never used by two at once and never lost.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::hold::Hold;

type Job<R> = Box<dyn FnOnce(&mut R) + Send>;

/// Something to do with the resource every so often, busy or not.
pub struct Upkeep<R> {
    /// How often.
    pub every: Duration,
    /// What.
    pub run: fn(&mut R),
}

/// The async side's handle to the thread. The thread ends when the handle is dropped and its last job is done.
pub struct Worker<R> {
    jobs: SyncSender<Job<R>>,
    /// Goes when both the handle and the thread have.
    hold: Arc<OnceLock<Hold>>,
}

/// Why a job has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The job before it is not done yet.
    #[error("it is still busy with what it was given before")]
    Busy,
    /// The thread has panicked.
    #[error("its thread has ended")]
    Gone,
}

impl<R: Send + 'static> Worker<R> {
    /// Starts a thread of that name that owns the resource.
    pub fn start(name: &str, resource: R, upkeep: Option<Upkeep<R>>) -> std::io::Result<Self> {
        // One job runs and one waits: the driver delivers one batch at a time, and gives up on a time-out.
        let (jobs, inbox) = sync_channel(1);
        let hold = Arc::default();
        let kept = Arc::clone(&hold);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                work(resource, &inbox, upkeep.as_ref());
                // The resource is gone.
                drop(kept);
            })?;
        Ok(Self { jobs, hold })
    }

    /// Keeps this until the thread has ended. Only the first one is kept.
    pub fn hold(&self, hold: Hold) {
        drop(self.hold.set(hold));
    }

    /// Has the thread do something with the resource, and waits for what comes of it.
    pub async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut R) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        // A caller who has given up hears nothing; the work is done all the same.
        let job: Job<R> = Box::new(move |resource| drop(answer.send(job(resource))));
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => NoAnswer::Busy,
            TrySendError::Disconnected(_) => NoAnswer::Gone,
        })?;
        answered.await.map_err(|_| NoAnswer::Gone)
    }
}

fn work<R>(mut resource: R, inbox: &Receiver<Job<R>>, upkeep: Option<&Upkeep<R>>) {
    let mut last = Instant::now();
    loop {
        let next = match upkeep {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(upkeep) => inbox.recv_timeout(upkeep.every.saturating_sub(last.elapsed())),
        };
        match next {
            Ok(job) => job(&mut resource),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(upkeep) = upkeep
            && last.elapsed() >= upkeep.every
        {
            (upkeep.run)(&mut resource);
            last = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_run_in_their_order_on_one_resource() {
        let worker = Worker::start("test", Vec::new(), None).expect("a thread");
        for number in 0..3 {
            worker
                .call(move |list: &mut Vec<i32>| list.push(number))
                .await
                .expect("an answer");
        }
        assert_eq!(worker.call(|list| list.clone()).await, Ok(vec![0, 1, 2]));
    }

    #[tokio::test]
    async fn a_job_that_was_given_up_is_finished_and_the_queue_stays_bounded() {
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let (begin, running) = tokio::sync::oneshot::channel();
        let worker = Worker::start("test", 0, None).expect("a thread");
        let slow = worker.call(move |sum: &mut i32| {
            let _ = begin.send(());
            gate.recv().expect("released");
            *sum += 1;
        });
        // Given up once it runs, so that there is room for just one more.
        tokio::select! {
            biased;
            _ = slow => panic!("nothing has released it"),
            _ = running => {}
        }
        let waiting = worker.call(|sum| *sum += 10);
        assert!(
            tokio::time::timeout(Duration::from_millis(20), waiting)
                .await
                .is_err()
        );
        assert_eq!(worker.call(|sum| *sum).await, Err(NoAnswer::Busy));
        release.send(()).expect("the thread waits");
        let sum = loop {
            match worker.call(|sum| *sum).await {
                Ok(sum) => break sum,
                Err(NoAnswer::Busy) => tokio::task::yield_now().await,
                Err(NoAnswer::Gone) => panic!("the thread has ended"),
            }
        };
        assert_eq!(sum, 11);
    }

    #[tokio::test]
    async fn a_panic_in_the_thread_is_an_answer_and_not_a_wait() {
        let worker = Worker::start("test", (), None).expect("a thread");
        assert_eq!(
            worker.call(|()| panic!("on purpose")).await,
            Err::<(), _>(NoAnswer::Gone)
        );
        assert_eq!(worker.call(|()| ()).await, Err(NoAnswer::Gone));
    }

    #[tokio::test]
    async fn upkeep_runs_without_any_job() {
        let (ran, runs) = std::sync::mpsc::channel();
        let upkeep = Upkeep {
            every: Duration::from_millis(1),
            run: |ran: &mut std::sync::mpsc::Sender<()>| {
                let _ = ran.send(());
            },
        };
        let _worker = Worker::start("test", ran, Some(upkeep)).expect("a thread");
        runs.recv_timeout(Duration::from_secs(10))
            .expect("the upkeep ran");
    }
}
