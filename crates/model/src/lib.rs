//! What is measured: quantities, units, labels and readings. Sources make readings of them, the engine counts, sinks store
//! and show.
//!
//! The layers, each knowing only those above it:
//!
//! - [`time`]: moments of the wall clock, and of the time that really passes;
//! - [`scalar`]: values as integers, and the labels of codes and bits;
//! - [`units`], [`labels`]: the types of values;
//! - [`catalogue`]: every quantity, named once;
//! - [`faults`]: what is wrong, in words;
//! - [`counted`]: what was counted from one reading to the next;
//! - [`reading`]: one poll of one inverter;
//! - [`json`]: how a reading is written as JSON, read and described.

#![warn(missing_docs)]

pub mod catalogue;
pub mod counted;
pub mod faults;
pub mod json;
pub mod labels;
pub mod reading;
pub mod scalar;
pub mod time;
pub mod units;

pub use jiff::tz::TimeZone;
