//! Draft.

pub mod simulator;
