//! What a sink of kstar-collector is.
//!
//! - [`event`]: what goes over the channel;
//! - [`sink`]: the contract; [`delivery`]: what users may set of it;
//! - [`health`], the queue, the [`spool`] for what waits on disk, and the [`driver`] that every sink runs in.
//!
//! This crate knows no sink, no inverter protocol and no socket.

#![warn(missing_docs)]

mod carried;
pub mod delivery;
pub mod driver;
pub mod event;
pub mod health;
mod queue;
pub mod sink;
pub mod spool;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use async_trait::async_trait;
