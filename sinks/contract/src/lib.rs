//! What a sink of kstar-collector is.
//!
//! The layers, each knowing only those above it:
//!
//! - [`units`], [`labels`]: values as types;
//! - [`catalogue`]: every quantity, named once;
//! - [`counted`]: what was counted from one reading to the next;
//! - [`uptime`]: time as it really passes;
//! - [`reading`]: one poll of one inverter, and what goes over the channel;
//! - [`json`]: how a reading is written as JSON, read and described;
//! - [`sink`]: the contract; [`delivery`] and [`setting`]: what users may set; [`key`]: what is wrong with it, and where;
//! - [`host`]: which hosts are in the user's own network;
//! - [`back_off`]: pauses between tries;
//! - [`disk`]: whether a folder can be written to, and how much room there is;
//! - [`file`]: files that are replaced as a whole;
//! - [`finding`]: what a look at a far side has found;
//! - `sqlite_file`: what every SQLite file has;
//! - [`worker`]: a thread for sinks that block; [`hold`]: what keeps two sinks of one name apart;
//! - [`health`], the queue, the [`spool`] for what waits on disk, and the [`driver`] that every sink runs in.
//!
//! This crate knows no sink, no inverter protocol and no socket.

// Whoever writes a sink reads this; elsewhere a name that says it all needs no comment.
#![warn(missing_docs)]

pub mod back_off;
mod carried;
pub mod catalogue;
pub mod counted;
pub mod delivery;
pub mod disk;
pub mod driver;
pub mod file;
pub mod finding;
pub mod health;
pub mod hold;
pub mod host;
pub mod json;
pub mod key;
pub mod labels;
mod queue;
pub mod reading;
pub mod setting;
pub mod sink;
pub mod spool;
#[cfg(feature = "spool")]
pub mod sqlite_file;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod units;
pub mod uptime;
pub mod worker;

pub use async_trait::async_trait;
pub use jiff::tz::TimeZone;
