//! What Home Assistant is told of us.

use serde::Deserialize;

/// In which form entities are announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiscoveryForm {
    /// One message for each inverter, with all its entities.
    #[default]
    Device,
    /// One message for each entity.
    Entity,
    /// Nothing is announced.
    Off,
}

/// The section `[sinks.mqtt.home_assistant]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HomeAssistantSettings {
    /// In which form entities are announced.
    pub discovery: DiscoveryForm,
    /// What Home Assistant's own topics begin with.
    pub prefix: String,
}

impl Default for HomeAssistantSettings {
    fn default() -> Self {
        Self {
            discovery: DiscoveryForm::default(),
            prefix: "homeassistant".to_owned(),
        }
    }
}
