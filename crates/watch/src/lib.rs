//! The live page in the terminal: how power flows, what today came to, the last hours, and how everything is.
//!
//! - [`page`]: what the page knows of inverters and sinks, wherever that comes from; [`curve`]: of the last hours;
//! - [`draw`]: a page as characters in a buffer, and nothing else: no terminal, no clock, no source;
//! - [`look`]: characters and colours, and what stands for them where a terminal has none;
//! - [`screen`]: the terminal: taken, drawn on, asked for keys, and given back as it was;
//! - [`log`]: what is logged while the page is up, which must not be written across it;
//! - [`board`], [`remote`]: the two sources, a collector in this process and one behind its HTTP API;
//! - `past`: the last hours from a history.
//!
//! Anyone who draws has a thread of its own: a terminal at the end of a slow line may block for long, and that must hold
//! up neither a poll nor a sink.

pub mod board;
pub mod curve;
pub mod draw;
pub mod log;
pub mod look;
pub mod page;
pub mod past;
pub mod remote;
pub mod screen;
