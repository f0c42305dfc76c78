//! What a session needs to know of the section, made ready to use.

use std::sync::Arc;
use std::time::Duration;

use kstar_common::setting::Secret;
use rumqttc::QoS;
use rustls::ClientConfig;

use crate::broker::Broker;
use crate::topics::{Form, Topics};

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
    /// What the topics of kstar.sharp begin with, if they are wanted.
    pub(crate) kstar_sharp: Option<String>,
    /// Where Home Assistant tells that it has started, if that matters.
    pub(crate) birth: Option<String>,
    /// How long a delivery may take.
    pub(crate) patience: Duration,
}
