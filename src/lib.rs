//! kstar-collector.

pub mod cli;
pub mod wire;
