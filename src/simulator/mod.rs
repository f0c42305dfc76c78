//! Draft.
pub mod encode;
