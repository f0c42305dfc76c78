//! HTTP as a unit that starts and stops with the configuration.
//!
//! An address that is not there yet and a port that another program has are outages like those of a sink: everything
//! else runs, and it is tried again. In a build without HTTP there is never anything to serve.

#[cfg(feature = "http")]
use kstar_client::Url;
#[cfg(feature = "http")]
use kstar_common::back_off::BackOff;
use kstar_engine::collector::Collector;
#[cfg(feature = "http")]
use kstar_http as http;
#[cfg(feature = "http")]
use tokio::sync::oneshot;
#[cfg(feature = "http")]
use tokio::task::JoinHandle;
#[cfg(feature = "http")]
use tokio::time::sleep;

use super::plans::ServingPlan;

#[derive(Debug, Default)]
pub(super) struct Serving {
    #[cfg(feature = "http")]
    unit: Option<Unit>,
}

/// HTTP that listens, or tries to.
#[cfg(feature = "http")]
#[derive(Debug)]
struct Unit {
    /// Dropped to make it stop.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

#[cfg(feature = "http")]
impl Serving {
    /// Starts what a plan says, where nothing runs. It listens by then, or is tried again.
    pub(super) async fn start(&mut self, plan: Option<&ServingPlan>, collector: &Collector) {
        let Some(plan) = plan else { return };
        let sources = http::Sources {
            board: collector.board().clone(),
            events: collector.events(),
            history: plan.history.clone(),
            tariffs: plan.tariffs.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        let settings = plan.settings.clone();
        let first = start(&settings, &sources).await;
        let task = tokio::spawn(serve(first, settings, sources, stopped));
        self.unit = Some(Unit { stop, task });
    }

    /// Ends it, if it is there.
    pub(super) async fn stop(&mut self) {
        if let Some(Unit { stop, task }) = self.unit.take() {
            drop(stop);
            // It ends in time by itself; if it has panicked, that was logged.
            let _ = task.await;
        }
    }
}

/// Listens, and logs where.
#[cfg(feature = "http")]
async fn start(
    settings: &http::Settings,
    sources: &http::Sources,
) -> Result<http::Running, String> {
    let running = http::start(settings.clone(), sources.clone()).await?;
    let address = running.address();
    if settings.dashboard {
        tracing::info!("the page is at {}/", Url::of_listener(address));
    }
    tracing::info!(%address, token = settings.token.is_some(), "HTTP is listening");
    Ok(running)
}

/// Serves until it is told to stop.
#[cfg(feature = "http")]
async fn serve(
    first: Result<http::Running, String>,
    settings: http::Settings,
    sources: http::Sources,
    mut stop: oneshot::Receiver<()>,
) {
    let running = tokio::select! {
        running = listening(first, settings, sources) => running,
        // Nobody sends; the sender's end is the order.
        _ = &mut stop => return,
    };
    let _ = stop.await;
    running.stop().await;
}

/// HTTP, as soon as it listens. What is in the way is logged once, and it is tried again with a growing delay.
#[cfg(feature = "http")]
async fn listening(
    mut started: Result<http::Running, String>,
    settings: http::Settings,
    sources: http::Sources,
) -> http::Running {
    let (mut logged, mut failures) = (None, 0_u32);
    loop {
        match started {
            Ok(running) => return running,
            Err(reason) if logged.as_ref() == Some(&reason) => {}
            Err(reason) => {
                tracing::error!(
                    reason,
                    "HTTP is down; it is tried again, and everything else goes on"
                );
                logged = Some(reason);
            }
        }
        sleep(BackOff::SERVER.spread(failures)).await;
        failures = failures.saturating_add(1);
        started = start(&settings, &sources).await;
    }
}

/// Where HTTP is not built there is nothing to do.
#[cfg(not(feature = "http"))]
#[expect(clippy::unused_async, reason = "the same form as where it is built")]
impl Serving {
    /// Starts nothing.
    pub(super) async fn start(&mut self, _plan: Option<&ServingPlan>, _collector: &Collector) {}

    /// Ends nothing.
    pub(super) async fn stop(&mut self) {}
}
