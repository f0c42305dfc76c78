//! One inverter over UDP: ask, wait, try again, find it again.
//!
//! The way to an inverter is a WiFi module with one serial line behind it, so one request is under way at a time
//! and a pause lies between two. Polls keep a fixed schedule: a late one does not shift the next, and one that was
//! missed is skipped. Gaps of nine minutes are normal for these modules: polls become rarer, but never stop.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kstar_sink::catalogue::Values;
use kstar_sink::host::with_port;
use kstar_sink::units::Scalar;
use tokio::time::{Instant, sleep_until};

use crate::discovery::{DATA_PORT, DISCOVERY_PORT, Module, discover, everybody};
use crate::link::{LinkCounts, Reply, Silence, ask, greet};
use crate::wire::device_info::DeviceInfo;
use crate::wire::discovery::MacAddress;
use crate::wire::{ApAddress, Refusal, Request, running};

/// So many polls in a row without an answer make an inverter silent: single ones are lost all the time.
pub const SILENT_AFTER: u32 = 3;

/// The pause between two requests to an inverter: its vendor asks for half a second (PROTOCOL 1.4).
const PAUSE: Duration = Duration::from_millis(500);

/// A silent inverter is still asked this often, so that its return is noticed within a minute.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// How often device info is asked for after a start or a recovery. A KSE may never answer it.
const DEVICE_INFO_TRIES: u32 = 3;

/// How long answers to a broadcast are waited for.
pub const DISCOVERY_PATIENCE: Duration = Duration::from_secs(3);

/// How long the answer to a single module's greeting is waited for; the greeting works without it.
pub const GREETING_PATIENCE: Duration = Duration::from_secs(1);

/// Where an inverter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// At a name or address.
    Host {
        /// The name or address.
        host: String,
        /// The data port.
        port: u16,
    },
    /// Wherever an answer to the greeting comes from.
    Discovered {
        /// Where the greeting is sent; everybody if empty.
        greeted: Vec<SocketAddr>,
    },
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host {
                host,
                port: DATA_PORT,
            } => f.write_str(host),
            Self::Host { host, port } => f.write_str(&with_port(host, *port)),
            Self::Discovered { .. } => f.write_str("discovered by broadcast"),
        }
    }
}

/// How an inverter is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manners {
    /// What we call ourselves.
    pub ap: ApAddress,
    /// How long a reply may take.
    pub timeout: Duration,
    /// How often a poll asks before it gives up.
    pub tries: u32,
    /// The pause between two requests.
    pub pause: Duration,
}

impl Manners {
    /// The usual manners, with the pause that inverters need unless polling is to be fast.
    pub fn new(ap: ApAddress, timeout: Duration, tries: u32, fast: bool) -> Self {
        Self {
            ap,
            timeout,
            tries,
            pause: if fast { Duration::ZERO } else { PAUSE },
        }
    }
}

/// Why a poll has no values.
#[derive(Debug, thiserror::Error)]
pub enum NoReading {
    /// The inverter did not answer.
    #[error(transparent)]
    Silent(#[from] Silence),
    /// Its name leads nowhere.
    #[error("cannot resolve the host name `{host}`: {reason}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the system says.
        reason: String,
    },
    /// Nobody answered the greeting.
    #[error(
        "no inverter answered the broadcast; if it is on another network (a container's, a guest WiFi), \
         set its address with `host` or `--host`"
    )]
    NotFound,
    /// The greeting could not be sent.
    #[error("cannot broadcast to find an inverter: {0}; set its address with `host` or `--host`")]
    CannotBroadcast(std::io::Error),
}

/// What asks one inverter: where it is, how to ask, and when that was done last.
#[derive(Debug)]
pub struct Requester {
    target: Target,
    manners: Manners,
    counts: Arc<LinkCounts>,
    address: Option<SocketAddr>,
    /// The module that was found, so that another inverter's is not taken for it later.
    module: Option<MacAddress>,
    last_exchange: Option<Instant>,
}

impl Requester {
    /// For this inverter, counting into `counts`.
    pub fn new(target: Target, manners: Manners, counts: Arc<LinkCounts>) -> Self {
        Self {
            target,
            manners,
            counts,
            address: None,
            module: None,
            last_exchange: None,
        }
    }

    /// Where the inverter is, as far as it is known.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Finds out where the inverter is, or where it is now. What was known before stays if nothing better is found.
    pub async fn locate(&mut self) -> Result<SocketAddr, NoReading> {
        let found = match &self.target {
            Target::Host { host, port } => resolve(host, *port).await,
            Target::Discovered { greeted } => self.discover(greeted).await.map(|module| {
                self.module = self.module.or(module.mac);
                module.address
            }),
        };
        match (found, self.address) {
            (Ok(address), _) => {
                self.address = Some(address);
                Ok(address)
            }
            (Err(_), Some(known)) => Ok(known),
            (Err(error), None) => Err(error),
        }
    }

    async fn discover(&self, greeted: &[SocketAddr]) -> Result<Module, NoReading> {
        let everybody = if greeted.is_empty() {
            everybody()
        } else {
            greeted.to_vec()
        };
        let modules = discover(&everybody, DISCOVERY_PATIENCE, &self.counts)
            .await
            .map_err(NoReading::CannotBroadcast)?;
        let chosen = match self.module {
            // A module that answers in place of the known one belongs to another inverter.
            Some(known) => modules.iter().find(|module| module.mac == Some(known)),
            None => modules.first(),
        };
        let Some(chosen) = chosen else {
            return Err(NoReading::NotFound);
        };
        if modules.len() > 1 && self.module.is_none() {
            let lines: Vec<String> = modules
                .iter()
                .zip(1..)
                .map(|(module, number)| module.config_lines(&format!("inverter{number}")))
                .collect();
            tracing::warn!(
                "{} inverters answered; only {chosen} is read. To read them all, put this into the configuration:\n{}",
                modules.len(),
                lines.join("\n")
            );
        }
        tracing::info!(address = %chosen.address, module = chosen.name.as_deref().unwrap_or("?"), "found an inverter");
        Ok(chosen.clone())
    }

    /// Greets the inverter's own module: some keep the data port closed until they hear it (PROTOCOL 1.3).
    async fn greet_module(&mut self) {
        let Some(address) = self.address else { return };
        let module = SocketAddr::new(address.ip(), DISCOVERY_PORT);
        // The answer is not needed, but its coming is the earliest moment to go on.
        if let Err(error) = greet(&[module], GREETING_PATIENCE, &self.counts, |_| true).await {
            tracing::debug!(%module, %error, "cannot greet the module");
        }
    }

    /// Asks as often as manners allow, until there is a reply.
    pub async fn ask<T>(
        &mut self,
        request: Request,
        decode: impl Fn(&[u8]) -> Result<T, Refusal> + Copy,
    ) -> Result<Reply<T>, NoReading> {
        let mut tries_left = self.manners.tries;
        loop {
            tries_left = tries_left.saturating_sub(1);
            match self.ask_once(request, self.manners.timeout, decode).await {
                Err(_) if tries_left > 0 => {}
                outcome => return outcome,
            }
        }
    }

    async fn ask_once<T>(
        &mut self,
        request: Request,
        patience: Duration,
        decode: impl Fn(&[u8]) -> Result<T, Refusal>,
    ) -> Result<Reply<T>, NoReading> {
        let address = match self.address {
            Some(address) => address,
            None => self.locate().await?,
        };
        if let Some(last) = self.last_exchange {
            sleep_until(last + self.manners.pause).await;
        }
        let outcome = ask(
            address,
            request,
            self.manners.ap,
            patience,
            &self.counts,
            decode,
        )
        .await;
        self.last_exchange = Some(Instant::now());
        Ok(outcome?)
    }

    /// Asks for running data; the time that the reply took is among the values.
    pub async fn running_data(&mut self) -> Result<Reply<Values>, NoReading> {
        let mut reply = self.ask(Request::RunningData, running::decode).await?;
        reply.content.reply_time = i64::try_from(reply.after.as_millis())
            .ok()
            .and_then(Scalar::from_raw);
        Ok(reply)
    }
}

async fn resolve(host: &str, port: u16) -> Result<SocketAddr, NoReading> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    let unresolved = |reason: String| NoReading::Unresolved {
        host: host.to_owned(),
        reason,
    };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| unresolved(error.to_string()))?
        .collect();
    // The modules speak IPv4; a name may have both.
    let best = addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first());
    best.copied()
        .ok_or_else(|| unresolved("it has no address".to_owned()))
}

/// The longest time in which none of an inverter's counts moves while its polling is well: it waits for the next poll,
/// backs off from a silent inverter, and then a name may be slow to resolve and a disk slow to remember.
pub fn longest_pause(interval: Duration) -> Duration {
    const SLOW: Duration = Duration::from_secs(60);
    interval
        .saturating_add(LONGEST_BACK_OFF)
        .saturating_add(SLOW)
}

/// How polls went, counted since the start.
#[derive(Debug, Default)]
pub struct PollCounts {
    /// Datagrams out and in.
    pub link: Arc<LinkCounts>,
    /// Polls that were answered.
    pub answered: AtomicU64,
    /// Polls that were not.
    pub silent: AtomicU64,
    /// Polls that were left out because the one before took too long.
    pub skipped: AtomicU64,
}

impl PollCounts {
    /// A number that moves with whatever polling does.
    pub fn pulse(&self) -> u64 {
        let link = &self.link;
        [
            &self.answered,
            &self.silent,
            &link.requests,
            &link.greetings,
            &link.unanswered,
        ]
        .into_iter()
        .map(|count| count.load(Ordering::Relaxed))
        .fold(0, u64::wrapping_add)
    }
}

/// What came of a poll.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the largest is the ordinary one, and it is moved once"
)]
pub enum Outcome {
    /// The inverter answered.
    Values(Reply<Values>),
    /// It told who it is.
    DeviceInfo(DeviceInfo),
    /// It did not answer, so many polls in a row now.
    Silent {
        /// How many polls in a row.
        polls: u32,
        /// Why the last one failed.
        reason: NoReading,
    },
}

/// Polls one inverter for ever.
#[derive(Debug)]
pub struct Poller {
    requester: Requester,
    counts: Arc<PollCounts>,
    schedule: Schedule,
    silent_polls: u32,
    /// The silence is to be told before the inverter is looked for, which takes seconds.
    look_again_due: bool,
    device_info_tries: u32,
    /// Who the inverter is shall be asked once more after the next poll.
    device_info_due: bool,
}

impl Poller {
    /// Polls this inverter at this interval, from now on.
    pub fn new(
        target: Target,
        manners: Manners,
        interval: Duration,
        counts: Arc<PollCounts>,
    ) -> Self {
        Self {
            requester: Requester::new(target, manners, counts.link.clone()),
            counts,
            schedule: Schedule {
                due: Instant::now(),
                interval,
            },
            silent_polls: 0,
            look_again_due: false,
            device_info_tries: 0,
            device_info_due: false,
        }
    }

    /// Has it asked after the next poll once more who the inverter is.
    pub fn ask_for_device_info_again(&mut self) {
        self.device_info_due = true;
    }

    /// Where the inverter is, as far as it is known.
    pub fn address(&self) -> Option<SocketAddr> {
        self.requester.address()
    }

    /// Waits for the next thing that comes of polling. Safe to drop at any time; the poll under way is then lost.
    pub async fn next(&mut self) -> Outcome {
        if self.device_info_tries > 0
            && let Some(info) = self.device_info().await
        {
            return Outcome::DeviceInfo(info);
        }
        if std::mem::take(&mut self.look_again_due) {
            self.look_again().await;
        }
        sleep_until(self.schedule.due).await;
        let outcome = self.requester.running_data().await;
        let back_off = match &outcome {
            Ok(_) => Duration::ZERO,
            Err(_) => back_off(self.silent_polls + 1, self.schedule.interval),
        };
        let skipped = self.schedule.advance(Instant::now(), back_off);
        match outcome {
            Ok(reply) => {
                self.counts.answered.fetch_add(1, Ordering::Relaxed);
                self.counts.skipped.fetch_add(skipped, Ordering::Relaxed);
                if std::mem::take(&mut self.device_info_due)
                    || self.silent_polls >= SILENT_AFTER
                    || self.counts.answered.load(Ordering::Relaxed) == 1
                {
                    self.device_info_tries = DEVICE_INFO_TRIES;
                }
                self.silent_polls = 0;
                Outcome::Values(reply)
            }
            Err(reason) => {
                self.counts.silent.fetch_add(1, Ordering::Relaxed);
                self.silent_polls = self.silent_polls.saturating_add(1);
                self.look_again_due = self.silent_polls.is_multiple_of(SILENT_AFTER);
                Outcome::Silent {
                    polls: self.silent_polls,
                    reason,
                }
            }
        }
    }

    /// Asks once who the inverter is. Without an answer there is another try after the next poll.
    async fn device_info(&mut self) -> Option<DeviceInfo> {
        self.device_info_tries -= 1;
        let manners = &self.requester.manners;
        // The next poll should not wait for it, but a second must do for any inverter that answers at all.
        let free = self
            .schedule
            .due
            .saturating_duration_since(Instant::now())
            .saturating_sub(manners.pause * 2);
        let patience = free.clamp(manners.timeout.min(Duration::from_secs(1)), manners.timeout);
        let reply = self
            .requester
            .ask_once(Request::DeviceInfo, patience, DeviceInfo::decode)
            .await;
        match reply {
            Ok(reply) => {
                self.device_info_tries = 0;
                Some(reply.content)
            }
            Err(reason) => {
                tracing::debug!(%reason, tries_left = self.device_info_tries, "no device info");
                None
            }
        }
    }

    /// After a while of silence: wakes the module, and finds out whether the address has changed.
    async fn look_again(&mut self) {
        self.requester.greet_module().await;
        let before = self.requester.address();
        match self.requester.locate().await {
            Ok(address) if before.is_some_and(|before| before != address) => {
                tracing::info!(%address, "the inverter's address has changed");
            }
            Ok(_) => {}
            Err(reason) => tracing::debug!(%reason, "looked for the inverter again"),
        }
    }
}

/// The wait beyond the ordinary interval after so many silent polls.
fn back_off(silent_polls: u32, interval: Duration) -> Duration {
    match silent_polls.checked_sub(SILENT_AFTER) {
        None => Duration::ZERO,
        Some(beyond) => interval
            .saturating_mul(1 << beyond.min(16))
            .min(LONGEST_BACK_OFF),
    }
}

/// The fixed schedule of polls: always a whole number of intervals after the first.
#[derive(Debug)]
struct Schedule {
    due: Instant,
    interval: Duration,
}

impl Schedule {
    /// Moves on to the first due time that is `back_off` or more beyond now; says how many were passed over.
    fn advance(&mut self, now: Instant, back_off: Duration) -> u64 {
        let late = (now + back_off).saturating_duration_since(self.due);
        let passed = late.as_nanos() / self.interval.as_nanos().max(1);
        let steps = u32::try_from(passed).unwrap_or(u32::MAX - 1) + 1;
        self.due += self.interval * steps;
        u64::from(steps - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_poll_does_not_shift_the_next_and_a_missed_one_is_skipped() {
        let start = Instant::now();
        let mut schedule = Schedule {
            due: start,
            interval: Duration::from_secs(5),
        };
        let seconds = |seconds| start + Duration::from_secs_f64(seconds);
        for (now, due, skipped) in [
            (0.3, 5.0, 0),
            (9.9, 10.0, 0),
            (11.0, 15.0, 0),
            (31.0, 35.0, 3),
            (36.0, 40.0, 0),
        ] {
            assert_eq!(
                schedule.advance(seconds(now), Duration::ZERO),
                skipped,
                "at {now}"
            );
            assert_eq!(schedule.due, seconds(due), "at {now}");
        }
        schedule.advance(seconds(41.0), Duration::from_secs(60));
        assert_eq!(schedule.due, seconds(105.0));
    }

    #[test]
    fn polls_become_rarer_up_to_once_a_minute() {
        let seconds: Vec<u64> = (1..=9)
            .map(|polls| back_off(polls, Duration::from_secs(5)).as_secs())
            .collect();
        assert_eq!(seconds, [0, 0, 5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(
            back_off(u32::MAX, Duration::from_secs(3600)),
            LONGEST_BACK_OFF
        );
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_named() {
        let error = resolve("no-such-host.invalid", 8899).await.unwrap_err();
        assert!(
            error.to_string().contains("no-such-host.invalid"),
            "{error}"
        );
    }
}
