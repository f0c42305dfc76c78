//! What a source of kstar-collector is: the way from an inverter to a sample of its values.
//!
//! - [`source`]: the contract; [`counts`]: what is counted of it, [`error`]: why there is no answer;
//! - [`datagram`]: a request and its reply over UDP; [`stream`]: over TCP; [`exchange`]: tries, time-outs and pauses;
//! - [`blocks`]: which parts of what an inverter tells are due, which it does not have, which are too old;
//! - [`greeting`]: finding WiFi modules and sticks by broadcast; [`way`]: how an inverter can be asked;
//! - [`poller`]: schedule, silence, back-off, coming back: written once for all sources;
//! - [`lock`]: one poller per inverter; [`rule`]: the rules by which readings are judged;
//! - [`record`]: what an inverter tells of itself, [`explain`]: what the bytes of a datagram mean.
//!
//! A source has no schedule, no back-off, no wall clock and no channel. This crate knows no protocol.

#![warn(missing_docs)]

pub mod blocks;
pub mod counts;
pub mod datagram;
pub mod error;
pub mod exchange;
pub mod explain;
pub mod greeting;
pub mod lock;
pub mod poller;
pub mod record;
pub mod rule;
pub mod source;
pub mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod way;

pub use async_trait::async_trait;
