//! Looks at an inverter for a person, as `kstar check --connect` does: where it is, whether anybody else polls it, whether it
//! answers and how well, and what its silence points to.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use kstar_common::finding::{Finding, Verdict};
use kstar_source::counts::Counts;
use kstar_source::error::NoAnswer;
use kstar_source::exchange::Patience;
use kstar_source::lock::InverterLock;
use kstar_source::poller::SILENT_AFTER;
use kstar_source::source::{Context, Line, Source};

use crate::Settings;
use crate::families::Family;
use crate::inverter::Inverter;
use crate::reasons;
use crate::via::Via;

/// Looks at an inverter with so many polls; `force` asks it even while another process does.
pub(crate) async fn look(
    family: &'static Family,
    settings: Settings,
    context: &Context,
    polls: NonZeroU32,
    force: bool,
) -> Vec<Finding> {
    let counts = Arc::<Counts>::default();
    // A poll that is lost is to be seen, not retried.
    let once = Context {
        patience: Patience {
            tries: 1,
            ..context.patience
        },
        ..context.clone()
    };
    let mut inverter = Inverter::new(family, settings, &once, Arc::clone(&counts));
    let line = match inverter.locate().await {
        Ok(line) => line,
        Err(reason) => return vec![Finding::failed("address", &reason.to_string())],
    };
    let _lock = match InverterLock::take(line.address).await {
        Ok(lock) => lock,
        Err(_) if force => None,
        Err(held) => {
            return vec![Finding::note(
                "other pollers",
                format!(
                    "process {} polls {line}, so nothing was asked; it is most likely the collector itself",
                    held.pid.as_deref().unwrap_or("(unknown)")
                ),
                "stop it first, or use --force to ask all the same",
            )];
        }
    };
    let replies = replies(&mut inverter, settings, polls, line).await;
    let is_silent = replies.verdict == Verdict::Wrong;
    let mut findings = vec![replies];
    if inverter.via() != settings.via {
        findings.push(Finding::note(
            "via",
            format!("{line} speaks {}, not {}", inverter.via(), settings.via),
            other_way(inverter.via(), line.address),
        ));
    }
    // Of one that is silent it is said already what came in place of replies.
    findings.extend(strangers(&counts).filter(|_| !is_silent));
    findings
}

/// How to write the way that was found; its usual port is another one than the stick's.
fn other_way(via: Via, at: SocketAddr) -> String {
    if at.port() == via.port() {
        format!("write `via = \"{via}\"` for this inverter")
    } else {
        format!("write `via = \"{via}\"` and `host = \"{at}\"` for this inverter")
    }
}

/// Polls, and says how that went.
async fn replies(
    inverter: &mut Inverter,
    settings: Settings,
    polls: NonZeroU32,
    line: Line,
) -> Finding {
    let about = "replies";
    let mut times = Vec::new();
    let mut last_failure = None;
    for asked in 1..=polls.get() {
        match inverter.poll().await {
            Ok(sample) => times.push(sample.took),
            Err(failure) => last_failure = Some(failure),
        }
        if times.is_empty() && asked >= SILENT_AFTER {
            break;
        }
    }
    times.sort_unstable();
    let (Some(shortest), Some(middle), Some(longest)) =
        (times.first(), times.get(times.len() / 2), times.last())
    else {
        return match last_failure {
            Some(reason) => symptom(&reason, inverter, settings, line),
            None => Finding::wrong(
                about,
                format!("nothing was asked of {line}"),
                "check `host`",
            ),
        };
    };
    let [shortest, middle, longest] = [shortest, middle, longest].map(Duration::as_millis);
    let took = format!(
        "{line} answered {} of {polls} polls in {shortest} to {longest} ms, {middle} ms in the middle",
        times.len(),
    );
    match last_failure {
        None => Finding::good(about, took),
        Some(_) => Finding::note(
            about,
            took,
            "single lost polls are usual; if more are lost for long, give the stick or module better WiFi or raise `poll_interval`",
        ),
    }
}

/// What the silence of an inverter points to.
fn symptom(reason: &NoAnswer, inverter: &Inverter, settings: Settings, line: Line) -> Finding {
    let wrong = |said: String, fix: &str| Finding::wrong("replies", said, fix);
    let via = settings.via;
    match reason {
        NoAnswer::PortClosed(address) => wrong(
            format!("nobody listens at {address}"),
            match via {
                Via::Solarman => {
                    "check `host`; an AA55 module has no such TCP port (`family = \"kse\"`), some sticks speak `via = \"modbus-tcp\"` \
                     on port 502 or 30003, and some answer again after a restart"
                }
                _ => {
                    "check `host` and the port; Modbus TCP must be switched on in the vendor's app on some modules"
                }
            },
        ),
        NoAnswer::CannotSend { to, error } if error.kind() == ErrorKind::PermissionDenied => wrong(
            format!("this machine lets no request out to {to}: {error}"),
            "check `host`, and this machine's firewall",
        ),
        NoAnswer::CannotSend { to, error } => wrong(
            format!("there is no way to {to}: {error}"),
            "check this machine's network, its route to the inverter, and `host`",
        ),
        NoAnswer::Disconnected { from, .. } => wrong(
            format!("{from} closes the connection without a reply to {via}"),
            match via {
                Via::Solarman => {
                    "check that it is a Solarman stick; one that speaks Modbus TCP needs `via = \"modbus-tcp\"`"
                }
                _ => {
                    "check what it speaks: a Solarman stick needs `via = \"solarman\"` and port 8899"
                }
            },
        ),
        NoAnswer::Exception { .. } if via == Via::Solarman => wrong(
            format!("the stick answers, the inverter behind it does not: {reason}"),
            "check that the inverter is on, that its `unit` is the address that it shows in its menu, and its `family`",
        ),
        NoAnswer::Exception { .. } => wrong(
            reason.to_string(),
            "check that the inverter is on, its `unit` and its `family`",
        ),
        NoAnswer::NoReply { rejected: None, .. } if inverter.sleeps_at_night() => wrong(
            format!("no answer from {line}; a string inverter is off while there is no sun"),
            "try again by day; if it is silent then as well, check `host`, `unit` and `via`",
        ),
        NoAnswer::NoReply { rejected, .. } => {
            let rejected = rejected.as_ref().map(|rejection| rejection.reason);
            if rejected == Some(reasons::OTHER_LOGGER) {
                return other_stick(inverter, settings, line);
            }
            wrong(format!("{line}: {reason}"), silence(rejected, via))
        }
        other => Finding::failed("replies", &other.to_string()),
    }
}

/// What to do where no reply came, by what came instead.
fn silence(rejected: Option<&'static str>, via: Via) -> &'static str {
    match (rejected, via) {
        (Some(reasons::OTHER_REQUEST | reasons::OTHER_LENGTH), _) => {
            "stop the other poller: it gets replies to requests that are not ours"
        }
        (Some(reasons::OTHER_UNIT), _) => "set `unit` to that of the inverter",
        (Some(_), _) => "check that `host` is the inverter, and its `family` and `via`",
        (None, Via::Solarman) => {
            "check that the inverter is on and `unit` is right; one that speaks Modbus TCP needs `via = \"modbus-tcp\"`"
        }
        (None, Via::Udp) => {
            "check that the inverter is on, `host` and `unit`; a WiFi/LAN kit 2.0 needs `via = \"modbus-tcp\"`"
        }
        (None, _) => {
            "check `unit` and that the inverter is on; a Solarman stick needs `via = \"solarman\"` and port 8899"
        }
    }
}

/// The stick has another serial number than the configured one.
fn other_stick(inverter: &Inverter, settings: Settings, line: Line) -> Finding {
    let configured = settings.logger_serial.unwrap_or_default();
    let (said, fix) = match inverter.logger_serial() {
        Some(serial) if serial != configured => (
            format!("the stick at {line} has the serial number {serial}, not {configured}"),
            format!("write `logger_serial = {serial}`, or leave it out: it is learnt"),
        ),
        _ => (
            format!("the stick at {line} has another serial number than {configured}"),
            "leave out `logger_serial`: it is learnt".to_owned(),
        ),
    };
    Finding::wrong("replies", said, fix)
}

/// What came that was no reply to us, beside the replies.
fn strangers(counts: &Counts) -> Option<Finding> {
    let rejected = counts.occurred();
    if rejected.is_empty() {
        return None;
    }
    let reasons: Vec<String> = rejected
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    Some(Finding::note(
        "frames",
        format!("some were passed over: {}", reasons.join(", ")),
        "heartbeats and replies to other clients are usual; see docs/sources.md",
    ))
}
