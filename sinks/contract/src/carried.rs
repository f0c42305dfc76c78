//! What readings that were dropped have counted, on its way to the next reading of their inverter: no energy is lost with
//! a reading.
//!
//! It is at most one amount for each inverter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kstar_model::counted::{Amounts, Counted};
use kstar_model::reading::Reading;
use kstar_model::time::UnixMillis;

/// What was counted, by the names of the inverters, and the time of the latest reading that it is from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Carried(BTreeMap<Arc<str>, (UnixMillis, Counted)>);

impl Carried {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what a reading has counted that is dropped.
    pub(crate) fn add(&mut self, dropped: &Reading) {
        self.add_at(dropped, dropped.time);
    }

    /// The same for a reading of any kind of time, which was that one.
    pub(crate) fn add_at<Time>(&mut self, dropped: &Reading<Time>, time: UnixMillis) {
        if let Some(counted) = &dropped.counted {
            self.put(&dropped.inverter.name, time, counted.clone());
        }
    }

    /// Adds all that another one carries.
    pub(crate) fn append(&mut self, other: Self) {
        for (inverter, (time, counted)) in other.0 {
            self.put(&inverter, time, counted);
        }
    }

    /// Gives a reading what its inverter has counted.
    pub(crate) fn give(&mut self, reading: &mut Arc<Reading>) {
        self.give_at(reading, reading.time);
    }

    /// The same for a reading of any kind of time, which was that one.
    pub(crate) fn give_at<Time: Clone>(
        &mut self,
        reading: &mut Arc<Reading<Time>>,
        time: UnixMillis,
    ) {
        if let Some((before, counted)) = self.0.remove(&reading.inverter.name) {
            let reading = Arc::make_mut(reading);
            reading.counted = Some(taken_over(reading.counted.take(), time, &counted, before));
        }
    }

    #[cfg(feature = "spool")]
    /// Gives each inverter's amount away, where somebody has a use for it.
    pub(crate) fn try_give<E>(
        &mut self,
        mut give: impl FnMut(&str, UnixMillis, &Counted) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut kept = BTreeMap::new();
        for (inverter, (time, counted)) in std::mem::take(&mut self.0) {
            if !give(&inverter, time, &counted)? {
                kept.insert(inverter, (time, counted));
            }
        }
        self.0 = kept;
        Ok(())
    }

    pub(crate) fn put(&mut self, inverter: &Arc<str>, time: UnixMillis, counted: Counted) {
        let counted = match self.0.remove(inverter) {
            Some((before, earlier)) => taken_over(Some(counted), time, &earlier, before),
            None => counted,
        };
        self.0.insert(inverter.clone(), (time, counted));
    }
}

/// What a reading of that time has counted, with what one before it has that is dropped.
pub(crate) fn taken_over(
    own: Option<Counted>,
    time: UnixMillis,
    dropped: &Counted,
    before: UnixMillis,
) -> Counted {
    let mut all = own.unwrap_or(Counted {
        covers: Duration::ZERO,
        amounts: Amounts::default(),
        earlier: None,
        ..*dropped
    });
    // A clock that was set back says nothing of the time between.
    let apart = u64::try_from(time.0.saturating_sub(before.0)).unwrap_or(0);
    all.take_over(dropped, Duration::from_millis(apart));
    all
}
