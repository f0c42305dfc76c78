//! Of the sinks of one name, one at a time has its files: a sink that is cut off in the middle of a delivery may leave a
//! thread behind that still writes, and the sink that follows must not write beside it.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// What the sinks of one name hold in turn.
#[derive(Clone, Debug, Default)]
pub struct Holds(Arc<Mutex<()>>);

/// Held by everything of a sink that may be at work; the next one waits until all of it is gone.
#[derive(Clone, Debug)]
pub struct Hold(#[expect(dead_code, reason = "held, not read")] Arc<OwnedMutexGuard<()>>);

impl Holds {
    /// Waits until nothing of the sink before is at work any more. Safe to drop at any time.
    pub async fn take(&self) -> Hold {
        Hold(Arc::new(Arc::clone(&self.0).lock_owned().await))
    }
}
