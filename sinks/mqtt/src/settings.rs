//! What a session needs to know of the section, made ready to use.

use std::sync::Arc;
use std::time::Duration;

use kstar_common::setting::Secret;
use kstar_model::reading::fresh_for;
use rumqttc::QoS;
use rustls::ClientConfig;

use crate::broker::Broker;
use crate::home_assistant::HomeAssistantSettings;
use crate::topics::{Form, Topics};

/// The longest time for which topics are left out whose value stays the same: a subscriber that comes late waits so long.
const LONGEST_REFRESH: Duration = Duration::from_secs(60);

/// What a session needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) broker: Broker,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) qos: QoS,
    pub(crate) topics: Topics,
    pub(crate) form: Form,
    /// How often an inverter's readings are published at the most.
    pub(crate) interval: Duration,
    /// How long a reading is the present one of an inverter that answers.
    pub(crate) fresh: Duration,
    /// How long topics are left out whose value stays the same.
    pub(crate) refresh: Duration,
    /// What the topics of kstar.sharp begin with, if they are wanted.
    pub(crate) kstar_sharp: Option<String>,
    /// Where Home Assistant tells that it has started, if that matters.
    pub(crate) birth: Option<String>,
    /// How long a delivery may take.
    pub(crate) patience: Duration,
}

/// How long topics may be left out whose value stays the same. Nothing expires meanwhile, not even when two polls in a row
/// fail, after which the inverter is still online; where that leaves no time, nothing is left out.
pub(crate) fn refresh(
    poll_interval: Duration,
    interval: Duration,
    home_assistant: &HomeAssistantSettings,
) -> Duration {
    let pace = poll_interval.max(interval);
    let fresh = fresh_for(pace);
    let expire_after = match home_assistant.expire_seconds(pace) {
        0 => fresh,
        seconds => Duration::from_secs(seconds).min(fresh),
    };
    let missing = pace.saturating_add(poll_interval.saturating_mul(3));
    (expire_after / 3)
        .min(expire_after.saturating_sub(missing))
        .min(LONGEST_REFRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_expires_while_it_is_left_out() {
        // The poll interval, `interval`, `expire_after`, and how long the same value is left out, in seconds.
        let cases = [
            (5, 0, None, 20),
            (5, 0, Some(0), 20),
            (5, 0, Some(3600), 20),
            (5, 0, Some(10), 0),
            (5, 0, Some(30), 10),
            (1, 0, None, 20),
            (10, 0, None, 20),
            (15, 0, None, 0),
            (60, 0, None, 0),
            (5, 30, None, 40),
            (5, 3600, None, 60),
        ];
        for (poll_interval, interval, expire_after, expected) in cases {
            let home_assistant = HomeAssistantSettings {
                expire_after: expire_after.map(Duration::from_secs),
                ..HomeAssistantSettings::default()
            };
            let [poll, interval] = [poll_interval, interval].map(Duration::from_secs);
            let refresh = refresh(poll, interval, &home_assistant).as_secs();
            assert_eq!(refresh, expected, "{poll:?} {interval:?} {expire_after:?}");
        }
    }
}
