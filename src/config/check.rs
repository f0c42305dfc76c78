//! What one key of a configuration says about another.

use std::collections::BTreeMap;
use std::time::Duration;

use kstar_common::host::with_port;
use kstar_common::key::KeyError;
use kstar_common::setting::{duration, size};
use kstar_common::tariff::Tariff;
use kstar_sink::delivery::{self, Keep, Policy};
use kstar_sink::spool;
use kstar_source::way::KeyValue;

use super::Config;

/// The shortest interval between polls of a real inverter.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// From a toy to more than any inverter of this protocol, in watts.
const POSSIBLE_POWER: std::ops::RangeInclusive<u32> = 100..=100_000;

impl Config {
    /// What is wrong, at most one mistake for each section.
    pub(super) fn check(&self) -> Vec<KeyError> {
        // What all come to together is told as one more.
        let inverters = self.inverters().len() + usize::from(self.site.enabled);
        let mut checks = vec![
            self.check_state_dir(),
            self.check_polling(self.collector.poll_interval, self.collector.timeout)
                .map_err(|error| error.within("collector")),
            self.check_max_gap(),
            self.site
                .check(&self.inverters())
                .map_err(|error| error.within("site")),
        ];
        checks.extend(self.sinks.enabled().map(|sink| {
            let in_sink = |error: KeyError| error.within(sink.name()).within("sinks");
            let policy = sink.policy();
            self.check_timeout(&policy, in_sink)?;
            check_spool(&policy)
                .map_err(|error| error.within("delivery"))
                .and_then(|()| sink.validate(inverters))
                .map_err(in_sink)
        }));
        #[cfg(feature = "http")]
        if let Some(http) = &self.http {
            checks.push(http.validate().map_err(|error| error.within("http")));
        }
        checks.push(Tariff::check(&self.tariffs).map_err(|error| error.within("tariff")));
        let inverters = self.check_inverters();
        checks.push(inverters.map_err(|error| error.within("inverter")));
        checks.into_iter().filter_map(Result::err).collect()
    }

    fn check_state_dir(&self) -> Result<(), KeyError> {
        let folder = self.state_dir.as_ref();
        if folder.is_some_and(|folder| folder.as_os_str().as_encoded_bytes().contains(&0)) {
            let message = "this is no path of a folder; write one, like \"/var/lib/kstar\"";
            return Err(KeyError::new("state_dir", message));
        }
        Ok(())
    }

    fn check_max_gap(&self) -> Result<(), KeyError> {
        let two_polls = self.poll_interval().saturating_mul(2);
        if self.meter.max_gap.is_some_and(|gap| gap < two_polls) {
            let message = format!(
                "a gap must be at least two poll intervals long, {}, or a single lost poll is not metered",
                duration::text(two_polls)
            );
            return Err(KeyError::new("max_gap", message).within("meter"));
        }
        Ok(())
    }

    /// What is wrong with how often and how patiently inverters are asked, by the collector's section or one's own.
    fn check_polling(
        &self,
        poll_interval: Option<Duration>,
        timeout: Option<Duration>,
    ) -> Result<(), KeyError> {
        if poll_interval.is_some_and(|interval| interval.is_zero()) {
            let message = "there must be some time between two polls";
            return Err(KeyError::new("poll_interval", message));
        }
        if poll_interval.is_some_and(|interval| interval < SHORTEST_INTERVAL)
            && !self.collector.allow_fast_polling
        {
            let message = "inverters cannot take polls more often than once a second; \
                           set allow_fast_polling = true if yours is a simulated one";
            return Err(KeyError::new("poll_interval", message));
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
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
        let mut hosts: BTreeMap<_, Vec<(usize, Option<KeyValue>)>> = BTreeMap::new();
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
            self.check_polling(inverter.poll_interval, inverter.timeout)
                .map_err(|error| error.within(index))?;
            match inverter.place() {
                Some((host, port)) => {
                    let there = hosts.entry((host, port)).or_default();
                    let unit = inverter.unit();
                    let is_same = |(_, other): &&(usize, _)| {
                        unit.is_none() || unit == *other || other.is_none()
                    };
                    if let Some((first, _)) = there.iter().find(is_same) {
                        let message = format!(
                            "the inverters {first} and {} are both at {}; {}",
                            index + 1,
                            with_port(host, port),
                            match unit {
                                None => "two pollers disturb each other",
                                Some(_) => "several behind one stick or gateway need a `unit` each",
                            }
                        );
                        return wrong("host", message);
                    }
                    there.push((index + 1, unit));
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
