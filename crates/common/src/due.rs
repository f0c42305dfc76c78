//! Waiting for what may never be due.

use tokio::time::{Instant, sleep_until};

/// Ready at that time; never, if there is none.
pub async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
