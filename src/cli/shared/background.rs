//! Work that blocks for long.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::failure::Failure;

/// Does something that blocks for long on a thread of its own; `stop` is set when `shutdown` is ready, and the work is
/// then to end soon and in order.
pub async fn in_background<T: Send + 'static>(
    shutdown: impl Future<Output = ()>,
    work: impl FnOnce(&AtomicBool) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut work = tokio::task::spawn_blocking(move || work(&stopped));
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = shutdown => {
            stop.store(true, Ordering::Relaxed);
            work.await
        }
    };
    ended.unwrap_or_else(|error| Err(Failure::Runtime(format!("the work has failed: {error}"))))
}

/// Whether to go on, for what asks that at each step.
pub fn flow(stop: &AtomicBool) -> ControlFlow<()> {
    if stop.load(Ordering::Relaxed) {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}
