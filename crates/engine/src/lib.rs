//! From a poll to the broadcast channel.
//!
//! ```text
//! poll -> stamp -> gate -> meter -> reading -> broadcast channel -> the drivers of the sinks
//! ```
//!
//! - [`pipeline`]: one inverter's way from a poll to an event, with what it must not forget in the `ledger`;
//! - [`collector`]: inverters and sinks as units that start and stop by name, made from the plans of [`mod@unit`];
//! - [`herald`]: what sinks are told of the collector itself, and of the price of electricity;
//! - [`site`]: what all inverters come to together;
//! - [`board`]: how each of them is at this moment; [`overview`]: the same as data;
//! - [`systemd`]: what the service manager is told;
//! - [`probe`]: a look at the machine for a person who waits.
//!
//! Nothing flows back: a sink that hangs delays nobody, and the end of the channel is the sinks' order to stop. This crate
//! knows no configuration, no protocol, and neither a source nor a sink by name.

pub mod board;
pub mod collector;
pub mod herald;
pub mod night;
pub mod overview;
pub mod pipeline;
pub mod probe;
pub mod site;
pub mod systemd;
pub mod unit;
mod vigil;
