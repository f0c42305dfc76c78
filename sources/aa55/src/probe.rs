//! One inverter: where it is, whether anybody else polls it, whether its module and it answer, and how well.
//!
//! Requests are the usual ones with the usual pause between them. What went wrong is told by its symptom: a port that
//! is closed, a module without an inverter behind it, another network, replies for somebody else.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kstar_common::finding::{Finding, Verdict};
use kstar_source::counts::Counts;
use kstar_source::datagram::GREETING_PORT;
use kstar_source::error::NoAnswer;
use kstar_source::exchange::Patience;
use kstar_source::greeting::{self, Module};
use kstar_source::lock::InverterLock;
use kstar_source::poller::SILENT_AFTER;
use kstar_source::source::{Context, Source as _, Target};

use crate::inverter::{GREETING_TIMEOUT, Inverter, modules};
use crate::wire::device_info::DeviceInfo;
use crate::wire::{ApAddress, Request};

/// Looks at an inverter with so many polls; `force` asks it even while another process does.
pub(crate) async fn look(
    ap: ApAddress,
    context: &Context,
    polls: NonZeroU32,
    force: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(wrong) = look_at(ap, context, polls, force, &mut findings).await {
        findings.push(wrong);
    }
    findings
}

async fn look_at(
    ap: ApAddress,
    context: &Context,
    polls: NonZeroU32,
    force: bool,
    findings: &mut Vec<Finding>,
) -> Result<(), Finding> {
    let counts = Arc::<Counts>::default();
    let found = match &context.target {
        Target::Host { .. } => None,
        Target::Discovered { greeted } => Some(search(greeted, &counts, findings).await?),
    };
    let target = match &found {
        None => context.target.clone(),
        Some(Module { address, .. }) => Target::Host {
            host: address.ip().to_string(),
            port: address.port(),
        },
    };
    // A poll that is lost is to be seen, not retried.
    let once = Patience {
        tries: 1,
        ..context.patience
    };
    let asked = Context {
        target: target.clone(),
        patience: once,
        ..context.clone()
    };
    let mut inverter = Inverter::new(ap, &asked, Arc::clone(&counts));
    let address = inverter
        .locate()
        .await
        .map_err(|reason| unlocated(&reason))?
        .address;
    if let Target::Host { host, .. } = &target
        && *host != address.ip().to_string()
    {
        findings.push(Finding::good(
            "address",
            format!("{host} is {}", address.ip()),
        ));
    }
    let _lock = match InverterLock::take(address).await {
        Ok(lock) => lock,
        Err(_) if force => None,
        Err(held) => {
            findings.push(Finding::note(
                "other pollers",
                format!(
                    "process {} polls {address}, so nothing was asked; it is most likely the collector itself",
                    held.pid.as_deref().unwrap_or("(unknown)")
                ),
                "stop it first, or use --force to ask all the same",
            ));
            return Ok(());
        }
    };
    if context.fast && !address.ip().is_loopback() {
        findings.push(Finding::note(
            "polling",
            format!("{address} is asked without the pause that inverters need"),
            "leave out `allow_fast_polling`, which is for simulated ones",
        ));
    }
    let module = match found {
        Some(module) => Some(module),
        None => greeting::module_at(address.ip(), GREETING_TIMEOUT, &counts).await,
    };
    let replies = replies(&mut inverter, once, polls, address, module.as_ref()).await;
    if matches!(context.target, Target::Host { .. }) {
        findings.push(greeted(address, module.as_ref(), replies.verdict));
    }
    findings.push(replies);
    findings.extend(strangers(&counts));
    Ok(())
}

/// Finds the inverter as the collector would.
async fn search(
    greeted: &[SocketAddr],
    counts: &Counts,
    findings: &mut Vec<Finding>,
) -> Result<Module, Finding> {
    let (_, modules) = modules(greeted, counts)
        .await
        .map_err(|error| unlocated(&NoAnswer::CannotBroadcast(error)))?;
    let (number, first) = (modules.len(), modules.into_iter().next());
    let first = first.ok_or_else(|| unlocated(&NoAnswer::NotFound))?;
    findings.push(if number == 1 {
        Finding::good("address", format!("found {first} by broadcast"))
    } else {
        Finding::note(
            "address",
            format!("{number} inverters answered the broadcast; only {first} is read"),
            "put them all into the configuration: `kstar discover` shows the lines",
        )
    });
    Ok(first)
}

fn unlocated(reason: &NoAnswer) -> Finding {
    let (said, fix) = match reason {
        NoAnswer::NotFound => (
            "no inverter answered the broadcast".to_owned(),
            "set its address with `host`: a broadcast stays in this network, and a container, a guest WiFi or a mesh stops it",
        ),
        NoAnswer::CannotBroadcast(error) => (
            format!("cannot broadcast to find an inverter: {error}"),
            "check this machine's network, or set the inverter's address with `host`",
        ),
        _ => (
            reason.to_string(),
            "check `host`, or write the inverter's address there instead of its name",
        ),
    };
    Finding::wrong("address", said, fix)
}

/// Whether the module in front of the inverter answers a greeting. An error shows in the polls, and says more there.
fn greeted(address: SocketAddr, module: Option<&Module>, replies: Verdict) -> Finding {
    let about = "WiFi module";
    let place = format!("{}:{GREETING_PORT}", address.ip());
    match (module.is_some(), replies) {
        (true, _) => Finding::good(about, format!("answers the greeting at {place}")),
        (false, Verdict::Good | Verdict::Note) => Finding::good(
            about,
            format!("no answer to the greeting at {place}, which is not needed with `host`"),
        ),
        (false, Verdict::Wrong) => Finding::note(
            about,
            format!("no answer to the greeting at {place}"),
            "see what is said of its replies",
        ),
    }
}

/// Polls, and says how that went.
async fn replies(
    inverter: &mut Inverter,
    patience: Patience,
    polls: NonZeroU32,
    address: SocketAddr,
    module: Option<&Module>,
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
        let (said, fix) = match last_failure {
            Some(reason) => match identity(inverter, patience, &reason).await {
                Some(info) => silent_inverter(&info, address),
                None => symptom(&reason, address, module),
            },
            None => (format!("nothing was asked of {address}"), "check `host`"),
        };
        return Finding::wrong(about, said, fix);
    };
    let took = format!(
        "{address} answered {} of {polls} polls in {} to {} ms, {} ms in the middle",
        times.len(),
        millis(*shortest),
        millis(*longest),
        millis(*middle)
    );
    match last_failure {
        None => Finding::good(about, took),
        Some(_) => Finding::note(
            about,
            took,
            "one lost poll in 60 is usual; if more are lost for long, give the module better WiFi or raise `poll_interval`",
        ),
    }
}

fn millis(time: Duration) -> u128 {
    time.as_millis()
}

/// Who it is that sends no running data, if it tells: GoodWe's newer families answer 0102 and never 0106.
async fn identity(
    inverter: &mut Inverter,
    patience: Patience,
    reason: &NoAnswer,
) -> Option<DeviceInfo> {
    let NoAnswer::NoReply { rejected, .. } = reason else {
        return None;
    };
    if rejected.as_ref().is_some_and(|it| it.reason != "modbus") {
        return None;
    }
    let asked = inverter.ask(Request::DeviceInfo, patience, DeviceInfo::decode);
    Some(asked.await.ok()?.content)
}

/// What to make of an inverter that tells who it is, and nothing else.
fn silent_inverter(info: &DeviceInfo, address: SocketAddr) -> (String, &'static str) {
    let serial = info.serial().unwrap_or("unknown");
    match info.modbus_family() {
        Some(family) => (
            format!(
                "{address} is {family}, serial number {serial}: it tells its values by Modbus only"
            ),
            "write `family = \"goodwe-et\"` for this inverter; with a WiFi/LAN kit 2.0 `via = \"modbus-tcp\"` as well, which needs \
             TCP port 502, open once Modbus is switched on in the vendor's app",
        ),
        None => (
            format!(
                "{address} tells who it is (model {}, serial number {serial}), but sends no running data",
                info.model().unwrap_or("unknown")
            ),
            "take its module off the inverter for ten seconds and try again; if it stays so, report it with what \
             `kstar read --device --json` shows",
        ),
    }
}

/// What the silence of an inverter points to: what was seen, and what to do.
fn symptom(
    reason: &NoAnswer,
    address: SocketAddr,
    module: Option<&Module>,
) -> (String, &'static str) {
    if let Some(serial) = module.and_then(Module::logger_serial) {
        return (
            format!(
                "at {} is the Solarman stick {serial}, which does not speak AA55",
                address.ip()
            ),
            "write `family = \"kstar-hybrid\"` for this inverter",
        );
    }
    let rejected = match reason {
        NoAnswer::NoReply { rejected, .. } => rejected.as_ref(),
        NoAnswer::PortClosed(address) => {
            return (
                format!("nobody listens at {address}"),
                "check that it is the inverter's address (`kstar discover` shows it), and the data port, 8899",
            );
        }
        NoAnswer::CannotSend { to, error } => {
            return match error.kind() {
                ErrorKind::PermissionDenied => (
                    format!("this machine lets no request out to {to}: {error}"),
                    "check `host`, and this machine's firewall: UDP to port 8899 must get out, and its answers in",
                ),
                _ => (
                    format!("there is no way to {to}: {error}"),
                    "check this machine's network, its route to the inverter, and `host`",
                ),
            };
        }
        other => return (other.to_string(), "check `host`"),
    };
    match rejected.map(|rejection| (rejection.reason, rejection)) {
        Some(("modbus", _)) => (
            format!("{address} answers by Modbus"),
            "write `family = \"goodwe-et\"` for this inverter, or `\"goodwe-dt\"` if it is a string inverter",
        ),
        Some(("other_reply" | "other_address", _)) => (
            format!("{address} sends replies to others' requests, and none to ours"),
            "stop the other poller: a second collector, or the phone app in the local network",
        ),
        Some(("echo", _)) => (
            format!("{address} sends our own request back"),
            "check `host`: it is not the inverter, perhaps this machine itself",
        ),
        Some((_, rejection)) => (
            format!("what {address} answers is no reply: {rejection}"),
            "check that `host` is the inverter; if it is, give its module better WiFi",
        ),
        None if module.is_some() => (
            format!(
                "the WiFi module at {} answers, the inverter behind it does not",
                address.ip()
            ),
            "check that the inverter is on (some sleep at night) and that nobody else polls it; then try `ap_address = 0xC0`",
        ),
        None => match networks(address.ip()) {
            Some(ours) => (
                format!(
                    "no answer from {address}, which is in another network than this machine ({ours})"
                ),
                "check `host`, and that the router passes UDP to port 8899 and back; else put both into one network",
            ),
            None => (
                format!("no answer from {address}"),
                "check that the module's light is on and the vendor's app reaches it; restart it; look for a firewall or a guest WiFi on the way, and check `host` (`kstar discover`)",
            ),
        },
    }
}

/// This machine's networks, unless the address is in one of them.
fn networks(address: IpAddr) -> Option<String> {
    let IpAddr::V4(address) = address else {
        return None;
    };
    let mut ours = Vec::new();
    for interface in if_addrs::get_if_addrs().ok()? {
        if let if_addrs::IfAddr::V4(network) = &interface.addr {
            let mask = network.netmask.to_bits();
            if address.to_bits() & mask == network.ip.to_bits() & mask {
                return None;
            }
            if !interface.is_loopback() {
                ours.push(format!("{}/{}", network.ip, network.prefixlen));
            }
        }
    }
    Some(if ours.is_empty() {
        "it has none".to_owned()
    } else {
        ours.join(", ")
    })
}

/// What came that was no reply to us, beside the replies.
fn strangers(counts: &Counts) -> Option<Finding> {
    let rejected = counts.occurred();
    if counts.accepted.load(Ordering::Relaxed) == 0 || rejected.is_empty() {
        return None;
    }
    let of_others: u64 = rejected
        .iter()
        .filter(|(reason, _)| matches!(**reason, "other_reply" | "other_address" | "modbus"))
        .map(|(_, count)| count)
        .sum();
    Some(if of_others > 0 {
        Finding::wrong(
            "other pollers",
            format!("{of_others} replies to others' requests came among ours"),
            "stop the other poller: a second collector, or the phone app in the local network",
        )
    } else {
        let reasons: Vec<String> = rejected
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        Finding::note(
            "datagrams",
            format!("some were broken and passed over: {}", reasons.join(", ")),
            "weak WiFi cuts them; if it goes on, give the module better WiFi",
        )
    })
}
