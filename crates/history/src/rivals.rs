//! Other collectors that write readings of the same inverters.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::failure::Failure;
use crate::settings::Settings;

/// What another collector has written last of each inverter, and since when that is so.
#[derive(Debug, Default)]
pub(crate) struct Rivals(HashMap<Arc<str>, (Option<i64>, Instant)>);

impl Rivals {
    /// Fails until nothing has come from the other collector for a while.
    pub(crate) fn wait_for(
        &mut self,
        inverter: &Arc<str>,
        newest: Option<i64>,
        settings: &Settings,
    ) -> Result<(), Failure> {
        let seen = self
            .0
            .entry(Arc::clone(inverter))
            .or_insert_with(|| (newest, Instant::now()));
        if seen.0 != newest {
            *seen = (newest, Instant::now());
        }
        if seen.1.elapsed() < settings.patience_with_rivals() {
            return Err(Failure::Rival(Arc::clone(inverter)));
        }
        Ok(())
    }
}
