//! The section `[site]`: the house as one more inverter.

use kstar_common::key::KeyError;
use serde::Deserialize;

use super::inverter::{InverterName, InverterSection};

/// The section `[site]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SiteSection {
    /// Whether what all inverters come to together is published as one more.
    pub enabled: bool,
    /// The inverter whose clamp counts, where several sit at one grid connection.
    pub grid_from: Option<InverterName>,
}

impl SiteSection {
    /// Whether it fits these inverters.
    pub(super) fn check(&self, inverters: &[InverterSection]) -> Result<(), KeyError> {
        let Some(name) = &self.grid_from else {
            return Ok(());
        };
        if inverters.iter().any(|inverter| inverter.name == *name) {
            return Ok(());
        }
        let names: Vec<&str> = inverters
            .iter()
            .map(|inverter| inverter.name.as_str())
            .collect();
        let message = format!(
            "there is no inverter `{}`; write the name of one: {}",
            name.as_str(),
            names.join(", ")
        );
        Err(KeyError::new("grid_from", message))
    }
}
