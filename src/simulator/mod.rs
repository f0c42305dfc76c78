//! Draft.
pub mod day;
pub mod encode;
