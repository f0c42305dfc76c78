//! The section, and what follows from it alone.

use std::time::Duration;

use kstar_common::key::KeyError;
use kstar_common::setting::duration;
use kstar_model::reading::fresh_for;
use serde::{Deserialize, Serialize};

/// The section `[sinks.mqtt.home_assistant]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HomeAssistantSettings {
    /// How inverters are announced: `"device"` in one message each, `"entity"` in one message per value (for a
    /// Home Assistant from before 2025), or `"off"`.
    pub discovery: Form,
    /// The first part of discovery topics, as it is set in Home Assistant.
    pub prefix: String,
    /// How old a live value may become before Home Assistant shows it as unavailable; `"0s"` for never. Without it,
    /// four polls and at least a minute. Totals never expire.
    #[serde(with = "duration::optional")]
    pub expire_after: Option<Duration>,
}

impl Default for HomeAssistantSettings {
    fn default() -> Self {
        Self {
            discovery: Form::Device,
            prefix: "homeassistant".to_owned(),
            expire_after: None,
        }
    }
}

impl HomeAssistantSettings {
    /// Whether Home Assistant could find anything with these settings; the error says what to change.
    pub fn check(&self) -> Result<(), KeyError> {
        let prefix = &self.prefix;
        if prefix.is_empty()
            || prefix.starts_with(['/', '$'])
            || prefix.ends_with('/')
            || prefix.contains(['+', '#', '\0'])
        {
            let message = format!(
                "`home_assistant.prefix = {prefix:?}` is no prefix for discovery topics; write the one that is set in \
                 Home Assistant, usually \"homeassistant\""
            );
            return Err(KeyError::new("prefix", message));
        }
        Ok(())
    }

    /// In whole seconds, which is what Home Assistant takes.
    pub(crate) fn expire_seconds(&self, poll_interval: Duration) -> u64 {
        let expire_after = self
            .expire_after
            .unwrap_or_else(|| fresh_for(poll_interval));
        expire_after
            .as_secs()
            .saturating_add(u64::from(expire_after.subsec_nanos() > 0))
    }
}

/// How inverters are announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// One message per inverter, with all its entities.
    #[default]
    Device,
    /// One message per entity.
    Entity,
    /// Not at all; what was announced before is cleared.
    Off,
}
