//! kstar-collector.

pub mod clock;
pub mod collector;
pub mod config;
pub mod discovery;
pub mod link;
pub mod lock;
pub mod poll;
pub mod sinks;
pub mod wire;
