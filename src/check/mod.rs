//! A look at everything that a configuration names, before anything depends on it: this machine and each inverter.
//! What sinks write to is looked at by the sinks themselves.
//!
//! Nothing is written to an inverter, and what is looked at is left as it was. Each finding says what mends it.

#[cfg(feature = "http")]
pub mod http;
pub mod machine;
