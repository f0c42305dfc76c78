//! The protocol, pure: bytes in, values out.
//!
//! This module does no I/O, reads no clock, logs nothing, and knows nothing of sockets or tasks. No function here
//! panics on any bytes, and decoding running data allocates nothing. A frame is [checked](frame) once; after that
//! its payload is read by offset, and a field that does not fit into the payload is absent. Facts and their
//! evidence: `PROTOCOL.md`, cited by section.

pub mod device_info;
mod field;
pub mod frame;
pub mod record;
pub mod request;
pub mod running;
pub mod settings;

pub use frame::{Frame, Refusal, reply};
pub use request::{ApAddress, Outgoing, Request};

pub use kstar_source::greeting::{DATA_PORT, GREETING};
