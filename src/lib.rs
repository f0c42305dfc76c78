//! Draft.

pub mod simulator;

/// Draft.
pub mod cli {
    pub mod simulate;
}
