//! Home Assistant's words for a quantity: platform, classes, unit, and how its text becomes a state.
//!
//! Everything follows from the catalogue's unit, kind, group and role; no quantity is named here, so a new one is
//! announced rightly as soon as it stands in the catalogue. Which class goes with which unit and state class is
//! Home Assistant's rule (its page "Sensor entity"); the tests hold it as a table.

use std::borrow::Cow;
use std::fmt::Write;

use kstar_model::catalogue::{Description, Group, Quantity, Role};
use kstar_model::scalar::Kind;
use kstar_model::scalar::Labels;
use serde::{Deserialize, Serialize};

use super::set::Set;

/// The option for a mode's code that has no label: Home Assistant refuses a state that is not among the options,
/// and `unknown` is its own word for having no state at all.
pub(super) const OTHER: &str = "other";

/// The longest state that Home Assistant takes; the labels of many flags together may be longer.
const LONGEST_STATE: usize = 255;

/// Which of Home Assistant's platforms shows a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Platform {
    Sensor,
    BinarySensor,
}

impl Platform {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::BinarySensor => "binary_sensor",
        }
    }
}

/// One entity of an inverter: a quantity's value, or whether a set of flags tells of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) quantity: Quantity,
    pub(super) platform: Platform,
}

/// The entities of these quantities, in the catalogue's order.
pub(super) fn components(quantities: Set) -> impl Iterator<Item = Component> {
    quantities.iter().flat_map(|quantity| {
        let fault = matches!(quantity.description().role, Role::Fault { .. });
        let platforms: &[Platform] = if fault {
            &[Platform::Sensor, Platform::BinarySensor]
        } else {
            &[Platform::Sensor]
        };
        platforms.iter().map(move |platform| Component {
            quantity,
            platform: *platform,
        })
    })
}

/// Where a component's state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A topic of the quantity's own, with its value as text.
    Text,
    /// The JSON message of the whole reading.
    Json,
}

/// What Home Assistant must be told of a component beyond its names and topics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Classes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit_of_measurement: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) suggested_display_precision: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) options: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) icon: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) entity_category: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enabled_by_default: Option<bool>,
}

impl Component {
    /// What it is called within its inverter: in topics and ids. No two components share one.
    pub(super) fn key(self) -> String {
        match self.platform {
            Platform::Sensor => self.quantity.name().to_owned(),
            Platform::BinarySensor => format!("{}_problem", self.quantity.name()),
        }
    }

    /// Its part of entity ids, which a Home Assistant that does not know `default_entity_id` makes of the name.
    pub(super) fn object(self) -> String {
        let name = self.quantity.name();
        match self.platform {
            Platform::Sensor => name.to_owned(),
            Platform::BinarySensor => match name.rsplit_once('_') {
                Some((whose, _)) => format!("{whose}_fault"),
                None => "fault".to_owned(),
            },
        }
    }

    /// What it is called by people, without the inverter's name, which Home Assistant puts before it: for errors of the BMS
    /// that is the BMS fault.
    pub(super) fn name(self) -> String {
        let label = self.quantity.description().label;
        match self.platform {
            Platform::Sensor => label.to_owned(),
            Platform::BinarySensor => match label.rsplit_once(' ') {
                Some((whose, _)) => format!("{whose} fault"),
                None => "Fault".to_owned(),
            },
        }
    }

    /// Whether its state is worth nothing once it is old. A counter's last state stays true.
    pub(super) fn is_live(self) -> bool {
        self.quantity.description().kind != Kind::Counter
    }

    /// Its classes, unit and precision.
    pub(super) fn classes(self) -> Classes {
        let description = self.quantity.description();
        if self.platform == Platform::BinarySensor {
            return Classes {
                device_class: Some("problem"),
                ..Classes::default()
            };
        }
        let number = |device_class, state_class| Classes {
            device_class,
            state_class: Some(state_class),
            unit_of_measurement: Some(description.unit.into())
                .filter(|_| !description.unit.is_empty()),
            suggested_display_precision: Some(precision(description)),
            ..Classes::default()
        };
        let classes = match description.kind {
            Kind::Measurement => number(
                match (description.unit, description.role) {
                    ("%", Role::StateOfCharge) => Some("battery"),
                    (unit, _) => measured(unit),
                },
                "measurement",
            ),
            Kind::Counter => number(counted(description.unit), "total_increasing"),
            Kind::Mode(labels) => Classes {
                device_class: Some("enum"),
                options: Some(options(labels).collect()),
                ..Classes::default()
            },
            // The clock has no zone, so it is no timestamp; bits and flags are no quantities.
            Kind::Flags(_) | Kind::Bits | Kind::Clock => Classes::default(),
        };
        Classes {
            icon: icon(description.group).filter(|_| {
                // The others have one by their class, which tells more: how full a battery is.
                matches!(classes.device_class, None | Some("power" | "enum"))
            }),
            entity_category: is_diagnostic(description).then_some("diagnostic"),
            enabled_by_default: is_disabled(description).then_some(false),
            ..classes
        }
    }

    /// The template that makes a state of what arrives. A text that is the state already has one too: Home Assistant
    /// goes on with an entity's old template where an update has none, as after `topics = "json"`.
    ///
    /// From JSON, a value that is not there makes a live state unknown (`None`) and leaves a counter as it was
    /// (an empty text, which Home Assistant ignores where it expects a number).
    pub(super) fn template(self, source: Source) -> String {
        let description = self.quantity.description();
        let json = format!("value_json.{}", self.quantity.name());
        let guarded = |state: &str| {
            format!("{{% if {json} is defined %}}{{{{ {state} }}}}{{% else %}}None{{% endif %}}")
        };
        match (description.kind, description.role, source) {
            (Kind::Flags(_), Role::Fault { harmless }, source)
                if self.platform == Platform::BinarySensor =>
            {
                let fault = |flags: &str, harmless: &[&str]| {
                    format!(
                        "'ON' if {flags} | reject('in', {}) | list else 'OFF'",
                        list(harmless.iter().copied())
                    )
                };
                match source {
                    Source::Text => {
                        let harmless: Vec<&str> = ["none"]
                            .into_iter()
                            .chain(harmless.iter().copied())
                            .collect();
                        format!("{{{{ {} }}}}", fault("value.split(',')", &harmless))
                    }
                    Source::Json => guarded(&fault(&json, harmless)),
                }
            }
            (Kind::Flags(_), _, Source::Text) => format!("{{{{ value[:{LONGEST_STATE}] }}}}"),
            (Kind::Flags(_), _, Source::Json) => {
                guarded(&format!("({json} | join(',') or 'none')[:{LONGEST_STATE}]"))
            }
            (Kind::Mode(labels), _, source) => {
                let known = list(labels.0.iter().map(|(_, label)| *label));
                let state = |mode: &str| format!("{mode} if {mode} in {known} else '{OTHER}'");
                match source {
                    Source::Text => format!("{{{{ {} }}}}", state("value")),
                    Source::Json => guarded(&state(&json)),
                }
            }
            (Kind::Measurement | Kind::Counter | Kind::Bits | Kind::Clock, _, Source::Text) => {
                "{{ value }}".to_owned()
            }
            (Kind::Counter, _, Source::Json) => format!("{{{{ {json} | default('') }}}}"),
            (Kind::Measurement | Kind::Bits | Kind::Clock, _, Source::Json) => {
                format!("{{{{ {json} | default('None') }}}}")
            }
        }
    }
}

/// How many decimals are shown at first: what an inverter resolves, but no more than a person wants to read.
fn precision(description: &Description) -> u8 {
    match description.unit {
        "W" => 0,
        "kWh" => description.decimals.min(2),
        _ => description.decimals,
    }
}

/// The picture of what has none by its class.
fn icon(group: Group) -> Option<&'static str> {
    Some(match group {
        Group::Pv => "mdi:solar-panel",
        Group::Battery => "mdi:home-battery",
        Group::Grid => "mdi:transmission-tower",
        Group::Load => "mdi:home-lightning-bolt",
        Group::Inverter => "mdi:solar-power-variant",
        Group::Link => "mdi:lan",
        Group::Energy | Group::Meter => return None,
    })
}

/// Whether it serves to look after the machine rather than to know what the house does.
fn is_diagnostic(description: &Description) -> bool {
    match (description.kind, description.unit) {
        (Kind::Flags(_) | Kind::Bits | Kind::Clock | Kind::Mode(_), _) => true,
        (Kind::Counter, unit) => unit == "h",
        (Kind::Measurement, unit) => {
            matches!(unit, "V" | "A" | "Hz") || description.group == Group::Link
        }
    }
}

/// Whether it is hidden until somebody wants it: what is new with each poll, which fills the history, and seldom looked at.
fn is_disabled(description: &Description) -> bool {
    match (description.group, description.unit) {
        // String currents follow from power and voltage; on the back-up output voltage and frequency are those of the grid, as
        // long as there is one.
        (_, "ms") | (Group::Pv, "A") | (Group::Load, "V" | "A" | "Hz") => true,
        _ => description.kind == Kind::Clock,
    }
}

/// The device class of a measured unit.
fn measured(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "V" => "voltage",
        "A" => "current",
        "W" => "power",
        "Hz" => "frequency",
        "°C" => "temperature",
        "ms" => "duration",
        _ => return None,
    })
}

/// The device class of a counted unit.
fn counted(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "kWh" => "energy",
        "h" => "duration",
        _ => return None,
    })
}

/// Every state that a mode may have.
fn options(labels: Labels) -> impl Iterator<Item = &'static str> {
    labels.0.iter().map(|(_, label)| *label).chain([OTHER])
}

/// A list of texts as a template writes it. Labels are lower snake case and need no escape.
fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut list = String::from("[");
    for (index, text) in texts.enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        // Writing to a `String` does not fail.
        let _ = write!(list, "{comma}'{text}'");
    }
    list.push(']');
    list
}
