//! Readings as MQTT messages, announced to Home Assistant.

pub mod home_assistant;
pub mod message;
