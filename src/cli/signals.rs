//! Signals: the first asks the program to end in order, the second ends it at once.

use std::time::Duration;

use tokio::sync::mpsc;

/// Wrappers like `timeout` pass on a signal that the process has got already; within this time it is the same one.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

/// Ready when the program is asked to end. A further signal after that ends the process with 128 and its number.
pub async fn first_signal() {
    let (heard, mut signals) = mpsc::channel(2);
    listen(&heard);
    drop(heard);
    if signals.recv().await.is_none() {
        // Where no signals are to be had, nobody asks.
        std::future::pending::<()>().await;
    }
    tracing::info!("stopping; a second signal stops at once");
    tokio::spawn(async move {
        tokio::time::sleep(SAME_SIGNAL).await;
        while signals.try_recv().is_ok() {}
        if let Some(number) = signals.recv().await {
            std::process::exit(128 + number);
        }
    });
}

#[cfg(unix)]
fn listen(heard: &mpsc::Sender<i32>) {
    use tokio::signal::unix::{SignalKind, signal};
    // A terminal that goes away should not cost what waits either.
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        match signal(kind) {
            Ok(mut signals) => {
                let heard = heard.clone();
                tokio::spawn(async move {
                    while signals.recv().await.is_some() {
                        // Two are enough; nobody needs to know of a third.
                        let _ = heard.try_send(kind.as_raw_value());
                    }
                });
            }
            Err(error) => {
                tracing::warn!(signal = kind.as_raw_value(), %error, "cannot listen for a signal");
            }
        }
    }
}

#[cfg(not(unix))]
fn listen(heard: &mpsc::Sender<i32>) {
    const INTERRUPT: i32 = 2;
    let heard = heard.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            let _ = heard.try_send(INTERRUPT);
        }
    });
}
