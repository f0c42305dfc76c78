//! kstar-collector.

pub mod wire;
