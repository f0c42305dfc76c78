//! What a history comes to, for people.
//!
//! - [`energy`]: what a day, month or year comes to: definitions, and the buckets of a history made into figures;
//! - [`chart`]: the same as SVG and PNG;
//! - [`period`]: dates and spans of time as people write them;
//! - [`titles`]: what people call inverters;
//! - [`rows`]: rows of a history as files and the HTTP API have them;
//! - [`pushed`]: which of them were pushed to a sink already;
//! - [`kstar_sharp`]: the database of kstar.sharp as readings.
//!
//! This crate knows no configuration, no command line and no clock.

pub mod chart;
pub mod energy;
pub mod kstar_sharp;
pub mod period;
pub mod pushed;
pub mod rows;
pub mod titles;
