//! What one key of a configuration says about another.

use std::collections::BTreeMap;
use std::time::Duration;

use kstar_common::host::with_port;
use kstar_common::key::KeyError;
use kstar_common::setting::{duration, size};
use kstar_common::tariff::Tariff;
use kstar_sink::delivery::{self, Keep, Policy};
use kstar_sink::spool;

use super::Config;

/// The shortest interval between polls of a real inverter.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// From a toy to more than any inverter of this protocol, in watts.
const POSSIBLE_POWER: std::ops::RangeInclusive<u32> = 100..=100_000;

impl Config {
    pub(super) fn check(&self) -> Result<(), KeyError> {
        if let Some(folder) = &self.state_dir
            && folder.as_os_str().as_encoded_bytes().contains(&0)
        {
            let message = "this is no path of a folder; write one, like \"/var/lib/kstar\"";
            return Err(KeyError::new("state_dir", message));
        }
        self.check_polling()
            .map_err(|error| error.within("collector"))?;
        let two_polls = self.collector.poll_interval.saturating_mul(2);
        if self.meter.max_gap.is_some_and(|gap| gap < two_polls) {
            let message = format!(
                "a gap must be at least two poll intervals long, {}, or a single lost poll is not metered",
                duration::text(two_polls)
            );
            return Err(KeyError::new("max_gap", message).within("meter"));
        }
        let inverters = self.inverters().len();
        for sink in self.sinks.enabled() {
            let in_sink = |error: KeyError| error.within(sink.name()).within("sinks");
            let policy = sink.policy();
            self.check_timeout(&policy, in_sink)?;
            check_spool(&policy)
                .map_err(|error| error.within("delivery"))
                .and_then(|()| sink.validate(inverters))
                .map_err(in_sink)?;
        }
        #[cfg(feature = "http")]
        if let Some(http) = &self.http {
            http.validate().map_err(|error| error.within("http"))?;
        }
        Tariff::check(&self.tariffs).map_err(|error| error.within("tariff"))?;
        self.check_inverters()
            .map_err(|error| error.within("inverter"))
    }

    fn check_polling(&self) -> Result<(), KeyError> {
        let collector = &self.collector;
        if collector.poll_interval.is_zero() {
            let message = "there must be some time between two polls";
            return Err(KeyError::new("poll_interval", message));
        }
        if collector.poll_interval < SHORTEST_INTERVAL && !collector.allow_fast_polling {
            let message = "inverters cannot take polls more often than once a second; \
                           set allow_fast_polling = true if yours is a simulated one";
            return Err(KeyError::new("poll_interval", message));
        }
        if collector.timeout.is_zero() {
            return Err(KeyError::new("timeout", "a reply needs some time"));
        }
        Ok(())
    }

    /// What is wrong between the time-out of a sink's deliveries and the grace: the one that was written.
    fn check_timeout(
        &self,
        policy: &Policy,
        in_sink: impl Fn(KeyError) -> KeyError,
    ) -> Result<(), KeyError> {
        let grace = self.collector.grace;
        if !policy.timeout.is_zero() && policy.timeout < grace {
            return Ok(());
        }
        let message = format!(
            "the time-out of a delivery, {}, must be shorter than the grace of {} at a stop, and not zero",
            duration::text(policy.timeout),
            duration::text(grace)
        );
        Err(if policy.timeout == delivery::TIMEOUT {
            KeyError::new("grace", message).within("collector")
        } else {
            in_sink(KeyError::new("timeout", message).within("delivery"))
        })
    }

    fn check_inverters(&self) -> Result<(), KeyError> {
        let mut names = BTreeMap::new();
        let mut hosts = BTreeMap::new();
        for (index, inverter) in self.inverters.iter().enumerate() {
            let wrong = |key: &str, message| Err(KeyError::new(key, message).within(index));
            if let Some(first) = names.insert(inverter.name.clone(), index + 1) {
                let message = format!(
                    "the inverters {first} and {} are both named `{}`; each needs a name of its own",
                    index + 1,
                    inverter.name.as_str()
                );
                return wrong("name", message);
            }
            if !POSSIBLE_POWER.contains(&inverter.max_power()) {
                let message = format!(
                    "{} W is no inverter's power; write its watts, like 4000",
                    inverter.max_power()
                );
                return wrong("max_power", message);
            }
            match inverter.place() {
                Some((host, port)) => {
                    if let Some(first) = hosts.insert((host, port), index + 1) {
                        let message = format!(
                            "the inverters {first} and {} are both at {}; two pollers disturb each other",
                            index + 1,
                            with_port(host, port)
                        );
                        return wrong("host", message);
                    }
                }
                None if self.inverters.len() > 1 => {
                    let message =
                        "with several inverters each needs a host; `kstar discover` lists them"
                            .to_owned();
                    return wrong("host", message);
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// What is wrong with what waits for a sink on disk.
fn check_spool(policy: &Policy) -> Result<(), KeyError> {
    let Some(bounds) = policy.spool else {
        return Ok(());
    };
    if policy.keep == Keep::NewestPerInverter {
        let message = "this sink shows the present, so that only the newest reading of each inverter waits; leave out `spool`";
        return Err(KeyError::new("spool", message));
    }
    if !spool::BUILT {
        let message = "the spool is not part of this build; build with `--features spool`";
        return Err(KeyError::new("spool", message));
    }
    if bounds.bytes < spool::SMALLEST {
        let message = format!(
            "a spool of {} would be mostly its own bookkeeping; allow at least {}",
            size::text(bounds.bytes),
            size::text(spool::SMALLEST)
        );
        return Err(KeyError::new("spool_max", message));
    }
    Ok(())
}
