//! Readings to test with.

use std::sync::Arc;

use crate::reading::{Inverter, Reading, UnixMillis};

/// A reading of the inverter of that name at that time.
pub fn reading(inverter: &str, time: i64) -> Arc<Reading> {
    Arc::new(Reading {
        time: UnixMillis(time),
        inverter: Inverter::named(inverter),
        values: crate::catalogue::Values::default(),
    })
}
