//! Signals: the first asks the program to end in order, the second ends it at once. SIGHUP asks a service to read its
//! configuration again.
//!
//! SIGHUP has two meanings: a terminal that goes away sends it to what runs there, which should then end; and anyone who
//! looks after services sends it for a reload. What tells them apart is whether the process has a terminal that could go
//! away, as it was started: with a controlling terminal SIGHUP ends the program, without one (under systemd, cron,
//! `setsid`, in a container without `-t`) it is an order to reload. What was started by `nohup` is to survive its
//! terminal, so that there SIGHUP reloads as well.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::run::Reloads;

/// Wrappers like `timeout` pass on a signal that the process has got already; within this time it is the same one.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

/// The number of SIGHUP.
const HANG_UP: i32 = 1;

/// What SIGHUP means to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// The end.
    Stops,
    /// The configuration is to be read again.
    Reloads,
}

impl HangUp {
    /// What it means to a process as it was started.
    pub fn of_this_process() -> Self {
        if is_ignored() || !has_terminal() {
            Self::Reloads
        } else {
            Self::Stops
        }
    }
}

/// Whether the process has a controlling terminal: only then does this name lead to one.
#[cfg(unix)]
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

#[cfg(not(unix))]
fn has_terminal() -> bool {
    false
}

/// Whether the one that has started the process wants it to hear nothing of SIGHUP, as `nohup` does.
#[cfg(target_os = "linux")]
fn is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is the first of them.
    ignored.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(not(target_os = "linux"))]
fn is_ignored() -> bool {
    false
}

/// Ready when the program is asked to end. A further signal after that ends the process with 128 and its number, but for
/// SIGHUP. Where SIGHUP reloads it is an order to `reloads`.
///
/// Signals are listened to once this is waited for: commands that never wait for it end at once, as without us.
pub async fn first_signal(hang_up: HangUp, reloads: Reloads) {
    let (heard, mut signals) = mpsc::channel(2);
    listen(&heard, hang_up, reloads);
    drop(heard);
    if signals.recv().await.is_none() {
        // Where no signals are to be had, nobody asks.
        std::future::pending::<()>().await;
    }
    tracing::info!("stopping; a second signal stops at once");
    tokio::spawn(async move {
        tokio::time::sleep(SAME_SIGNAL).await;
        while signals.try_recv().is_ok() {}
        while let Some(number) = signals.recv().await {
            // Nobody insists with SIGHUP: a terminal that goes away may send it more than once, and late.
            if number != HANG_UP {
                std::process::exit(128 + number);
            }
        }
    });
}

#[cfg(unix)]
fn listen(heard: &mpsc::Sender<i32>, hang_up: HangUp, reloads: Reloads) {
    use tokio::signal::unix::SignalKind;

    let stop = |kind: SignalKind| {
        let heard = heard.clone();
        on(kind, move || {
            // Two are enough; nobody needs to know of a third.
            let _ = heard.try_send(kind.as_raw_value());
        });
    };
    stop(SignalKind::interrupt());
    stop(SignalKind::terminate());
    match hang_up {
        // A terminal that goes away should not cost what waits either.
        HangUp::Stops => stop(SignalKind::hangup()),
        HangUp::Reloads => on(SignalKind::hangup(), move || reloads.order()),
    }
}

/// Does something with every signal of a kind.
#[cfg(unix)]
fn on(kind: tokio::signal::unix::SignalKind, act: impl Fn() + Send + 'static) {
    match tokio::signal::unix::signal(kind) {
        Ok(mut signals) => {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    act();
                }
            });
        }
        Err(error) => {
            tracing::warn!(signal = kind.as_raw_value(), %error, "cannot listen for a signal");
        }
    }
}

#[cfg(not(unix))]
fn listen(heard: &mpsc::Sender<i32>, _hang_up: HangUp, _reloads: Reloads) {
    const INTERRUPT: i32 = 2;
    let heard = heard.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            let _ = heard.try_send(INTERRUPT);
        }
    });
}
