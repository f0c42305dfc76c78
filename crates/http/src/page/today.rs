//! What today comes to, for the page that is always open: asked once for all who look, and never waited for where the
//! history's disk does not answer.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kstar_model::time::UnixMillis;
use kstar_reports::energy::gather::Question;
use kstar_reports::energy::{Report, Subject};
use kstar_reports::period::Calendar;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::figures;
use crate::questions::{self, open};
use crate::state::State;

/// How long today's figures are shown as they are: every page asks at each reading, and one answer is enough for all.
const SHOWN: Duration = Duration::from_secs(2);

/// How long a page waits for them. What comes later is for the next one.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What the history has last said of today. Held by the one question that is asked at a time.
#[derive(Clone, Default)]
pub(crate) struct Today(Arc<Mutex<Option<Said>>>);

struct Said {
    at: Instant,
    report: Option<Arc<Report>>,
}

/// What the history knows of today; nothing without a history, or while it cannot be asked.
pub(super) async fn report(state: &State) -> Option<Arc<Report>> {
    state.0.sources.history.as_ref()?;
    let answer = async {
        let mut known = state.0.today.0.clone().lock_owned().await;
        if let Some(said) = &*known
            && said.at.elapsed() < SHOWN
        {
            return said.report.clone();
        }
        let state = state.clone();
        // It goes on where nobody waits any more.
        let asking = tokio::spawn(async move {
            let report = ask(&state).await.map(Arc::new);
            *known = Some(Said {
                at: Instant::now(),
                report: report.clone(),
            });
            report
        });
        asking.await.ok().flatten()
    };
    timeout(PATIENCE, answer).await.ok().flatten()
}

async fn ask(state: &State) -> Option<Report> {
    let tariffs = state.0.sources.tariffs.clone();
    let report = questions::ask(state, move |file| {
        if !file.exists() {
            // The first reading makes it.
            return Ok(None);
        }
        let (history, inverters) = open(file, None)?;
        let now = Timestamp::now().to_zoned(history.zone().clone());
        let question = Question {
            subject: Subject::One(Calendar::Day),
            date: now.date(),
            inverters: &inverters,
            tariffs: &tariffs,
            now: UnixMillis(now.timestamp().as_millisecond()),
        };
        figures::report(&history, &question)
    });
    match report.await {
        Ok(report) => report,
        Err(problem) => {
            tracing::debug!(
                reason = problem.message(),
                "the page shows today without the history"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{broadcast, watch};

    use super::*;
    use crate::health::tests::board;
    use crate::state::Sources;

    #[tokio::test(start_paused = true)]
    async fn a_history_that_does_not_answer_is_not_waited_for() {
        let events = broadcast::channel(1).0;
        let (_stop, stopping) = watch::channel(false);
        let sources = Sources {
            board: board().0,
            events: events.downgrade(),
            history: Some("history.db".into()),
            tariffs: Vec::new(),
        };
        let state = State::new(sources, stopping);
        // As by a question whose disk hangs.
        let asking = state.0.today.0.clone().lock_owned().await;
        let begin = Instant::now();
        assert!(report(&state).await.is_none());
        assert_eq!(begin.elapsed(), PATIENCE);
        // What comes later is there for the next one.
        drop(asking);
        assert!(report(&state).await.is_none());
        assert_eq!(begin.elapsed(), PATIENCE);
    }
}
