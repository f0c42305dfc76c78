//! What waits for a sink: bounded, oldest dropped first, every drop counted.
//!
//! Three verbs: *push* a new reading, *borrow* the oldest ones, *settle* what became of them.
//! What has waited for too long may be *handed over* to the spool, and *taken back* if that cannot have it.
//!
//! What is dropped hands what it has counted to the next reading of its inverter, or to the next one that is pushed.
//! A reading that was borrowed once may have been delivered, though nobody has confirmed it: what it has counted must
//! neither grow nor go to another one. So it is not dropped, but the oldest one that was never borrowed is. The bound is
//! `queue` of those, and one batch that was under way. Of states that a newer one replaces nobody keeps sums.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use kstar_model::reading::{Reading, Undated};
use kstar_model::time::UnixMillis;
use kstar_model::time::millis;
use kstar_model::time::{ClockSet, Uptime};
use tokio::time::Instant;

use crate::carried::Carried;
use crate::delivery::Keep;

/// The queue of one sink.
#[derive(Debug)]
pub(crate) struct Queue {
    keep: Keep,
    capacity: NonZeroUsize,
    waiting: VecDeque<Waiting>,
    borrowed: Vec<Waiting>,
    carried: Carried,
    undated: Unstamped,
}

/// Readings that wait until the clock is set, oldest first.
#[derive(Debug, Default)]
struct Unstamped {
    readings: VecDeque<Arc<Undated>>,
    /// What those have counted that were dropped, by the time that the machine had run.
    carried: Carried,
}

impl Unstamped {
    fn push(&mut self, mut reading: Arc<Undated>, capacity: usize) -> u64 {
        let time = running(reading.time);
        self.carried.give_at(&mut reading, time);
        self.readings.push_back(reading);
        let surplus = self.readings.len().saturating_sub(capacity);
        for dropped in self.readings.drain(..surplus) {
            self.carried.add_at(&dropped, running(dropped.time));
        }
        for reading in &mut self.readings {
            if self.carried.is_empty() {
                break;
            }
            let time = running(reading.time);
            self.carried.give_at(reading, time);
        }
        surplus as u64
    }
}

/// How long the machine had run, in the place of a time.
fn running(Uptime(uptime): Uptime) -> UnixMillis {
    UnixMillis(millis(uptime))
}

#[derive(Clone, Debug)]
struct Waiting {
    since: Instant,
    reading: Arc<Reading>,
    /// Whether it was borrowed once, and must stay as it is. Those are in front of all others.
    is_offered: bool,
}

/// What one queue leaves to the next.
#[derive(Debug, Default)]
pub struct Remainder {
    /// Oldest first.
    readings: Vec<Waiting>,
    carried: Carried,
    undated: Unstamped,
}

impl Remainder {
    /// Whether no reading is among it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many readings are among it.
    pub fn len(&self) -> usize {
        self.readings.len() + self.undated.readings.len()
    }

    /// The times of those that have one.
    #[cfg(test)]
    pub(crate) fn times(&self) -> Vec<i64> {
        let times = self.readings.iter();
        times.map(|waiting| waiting.reading.time.0).collect()
    }

    /// Leaves out the readings of which this says so.
    pub fn retain(&mut self, keep: impl Fn(&Reading) -> bool) {
        self.readings.retain(|waiting| keep(&waiting.reading));
    }
}

/// Everything that was in a queue, on its way to the spool.
#[derive(Debug)]
pub(crate) struct HandedOver {
    /// Oldest first.
    readings: Vec<Waiting>,
    /// How many of them were borrowed.
    pub(crate) borrowed: usize,
}

impl HandedOver {
    pub(crate) fn readings(&self) -> Vec<Arc<Reading>> {
        readings(&self.readings)
    }

    /// How many of them were borrowed before, and are in front.
    pub(crate) fn offered(&self) -> usize {
        offered(&self.readings)
    }

    pub(crate) fn len(&self) -> usize {
        self.readings.len()
    }
}

fn offered<'a>(waiting: impl IntoIterator<Item = &'a Waiting>) -> usize {
    waiting
        .into_iter()
        .take_while(|waiting| waiting.is_offered)
        .count()
}

fn readings(waiting: &[Waiting]) -> Vec<Arc<Reading>> {
    waiting
        .iter()
        .map(|waiting| Arc::clone(&waiting.reading))
        .collect()
}

/// Readings that the queue let go of without a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The oldest, because there was no room.
    pub(crate) dropped: u64,
    /// Older states, because there is a newer one of the same inverter; nobody misses them.
    pub(crate) replaced: u64,
}

impl std::ops::AddAssign for Lost {
    fn add_assign(&mut self, more: Self) {
        self.dropped += more.dropped;
        self.replaced += more.replaced;
    }
}

/// What became of borrowed readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// They are done with: delivered, or given up.
    Done,
    /// They wait again, in front of everything newer.
    Kept,
}

impl Queue {
    pub(crate) fn new(keep: Keep, capacity: NonZeroUsize) -> Self {
        Self {
            keep,
            capacity,
            waiting: VecDeque::new(),
            borrowed: Vec::new(),
            carried: Carried::default(),
            undated: Unstamped::default(),
        }
    }

    /// Whether it is for a sink that shows how things are now.
    pub(crate) fn shows_the_present(&self) -> bool {
        self.keep == Keep::NewestPerInverter
    }

    /// Adds a reading without a time, which is borrowed once it has one; says which old ones had to go for it.
    pub(crate) fn push_undated(&mut self, reading: Arc<Undated>) -> Lost {
        if self.keep == Keep::NewestPerInverter {
            let replaced = self.forget_undated(&reading.inverter.name);
            self.undated.readings.push_back(reading);
            return Lost {
                replaced,
                dropped: 0,
            };
        }
        Lost {
            replaced: 0,
            dropped: self.undated.push(reading, self.capacity.get()),
        }
    }

    /// One of those that are shown as they are.
    pub(crate) fn take_shown(&mut self) -> Option<Arc<Undated>> {
        match self.keep {
            Keep::Every => None,
            Keep::NewestPerInverter => self.undated.readings.pop_front(),
        }
    }

    /// What waits for the clock to be set, to be put on disk.
    pub(crate) fn take_undated(&mut self) -> Vec<Arc<Undated>> {
        self.undated.readings.drain(..).collect()
    }

    /// Takes back what could be neither shown nor put on disk; newer ones may have come meanwhile.
    pub(crate) fn take_undated_back(&mut self, readings: Vec<Arc<Undated>>) -> Lost {
        let newer = self.take_undated();
        let mut lost = Lost::default();
        for reading in readings {
            let overtaken = self.keep == Keep::NewestPerInverter
                && self.has_newer(&reading.inverter.name, &newer);
            if overtaken {
                lost.replaced += 1;
            } else {
                lost += self.push_undated(reading);
            }
        }
        for reading in newer {
            lost += self.push_undated(reading);
        }
        lost
    }

    fn has_newer(&self, inverter: &str, undated: &[Arc<Undated>]) -> bool {
        let dated = self
            .waiting
            .iter()
            .map(|newer| &newer.reading.inverter.name);
        let undated = undated.iter().map(|newer| &newer.inverter.name);
        dated.chain(undated).any(|name| &**name == inverter)
    }

    /// How many readings wait for the clock to be set.
    pub(crate) fn undated(&self) -> usize {
        self.undated.readings.len()
    }

    /// The clock is set: what has waited for that is dated by it. Says which old ones had to go for it.
    pub(crate) fn set_clock(&mut self, clock: ClockSet) -> Lost {
        let Unstamped { readings, carried } = std::mem::take(&mut self.undated);
        let mut lost = Lost::default();
        for reading in readings {
            lost += self.push(Arc::new(reading.at(clock.time_of(reading.time))));
        }
        self.carry(carried);
        lost
    }

    fn forget_undated(&mut self, inverter: &str) -> u64 {
        let before = self.undated.readings.len();
        self.undated
            .readings
            .retain(|older| &*older.inverter.name != inverter);
        (before - self.undated.readings.len()) as u64
    }

    /// Adds a reading; says which old ones had to go for it.
    pub(crate) fn push(&mut self, mut reading: Arc<Reading>) -> Lost {
        self.carried.give(&mut reading);
        self.push_waiting(Waiting {
            since: Instant::now(),
            reading,
            is_offered: false,
        })
    }

    /// Goes on with what another queue has left; says which old ones had to go for it.
    pub(crate) fn follow(&mut self, remainder: Remainder) -> Lost {
        let mut lost = Lost::default();
        for waiting in remainder.readings {
            lost += self.push_waiting(waiting);
        }
        self.carry(remainder.carried);
        self.undated.carried.append(remainder.undated.carried);
        for reading in remainder.undated.readings {
            lost += self.push_undated(reading);
        }
        lost
    }

    /// Takes what readings have counted that were dropped elsewhere.
    pub(crate) fn carry(&mut self, carried: Carried) {
        self.carried.append(carried);
        self.hand_on();
    }

    /// Takes what a reading has counted that is given up.
    pub(crate) fn give_up(&mut self, reading: &Reading) {
        if self.keep == Keep::Every {
            self.carried.add(reading);
            self.hand_on();
        }
    }

    fn push_waiting(&mut self, waiting: Waiting) -> Lost {
        let name = &waiting.reading.inverter.name;
        let before = self.waiting.len();
        let mut replaced = 0;
        if self.keep == Keep::NewestPerInverter {
            let name = name.clone();
            replaced = self.forget_undated(&name);
            self.waiting
                .retain(|older| older.reading.inverter.name != name);
        }
        replaced += (before - self.waiting.len()) as u64;
        self.waiting.push_back(waiting);
        Lost {
            replaced,
            dropped: self.drop_oldest(),
        }
    }

    /// The oldest readings, at most `limit`, to be settled before the next are borrowed.
    pub(crate) fn borrow(&mut self, limit: usize) -> Vec<Arc<Reading>> {
        debug_assert!(
            self.borrowed.is_empty(),
            "what was borrowed before is not settled"
        );
        self.borrowed
            .extend(self.waiting.drain(..limit.min(self.waiting.len())));
        for waiting in &mut self.borrowed {
            waiting.is_offered = self.keep == Keep::Every;
        }
        readings(&self.borrowed)
    }

    /// Ends the loan; says which readings had to go because newer ones have come meanwhile.
    pub(crate) fn settle(&mut self, settlement: Settlement) -> Lost {
        let mut replaced = 0;
        for waiting in self.borrowed.drain(..).rev() {
            let overtaken = self.keep == Keep::NewestPerInverter
                && self
                    .waiting
                    .iter()
                    .any(|newer| newer.reading.inverter.name == waiting.reading.inverter.name);
            match settlement {
                Settlement::Done => {}
                Settlement::Kept if overtaken => replaced += 1,
                Settlement::Kept => self.waiting.push_front(waiting),
            }
        }
        Lost {
            replaced,
            dropped: self.drop_oldest(),
        }
    }

    /// How many readings are not delivered yet.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.borrowed.len() + self.undated()
    }

    /// Since when the oldest reading is here.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let oldest = self.borrowed.first().or_else(|| self.waiting.front())?;
        Some(oldest.since)
    }

    /// Whether the oldest will soon have to go.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting.len() > self.capacity.get() / 2
    }

    /// Gives everything away, also what is borrowed: settling that loan then means nothing here.
    pub(crate) fn hand_over(&mut self) -> HandedOver {
        let borrowed = self.borrowed.len();
        let mut readings = std::mem::take(&mut self.borrowed);
        readings.extend(self.waiting.drain(..));
        HandedOver { readings, borrowed }
    }

    /// Gives everything to the queue that follows.
    pub(crate) fn leave(&mut self) -> Remainder {
        Remainder {
            readings: self.hand_over().readings,
            carried: std::mem::take(&mut self.carried),
            undated: std::mem::take(&mut self.undated),
        }
    }

    /// Takes everything back, with the same loan; says which old ones had to go.
    pub(crate) fn take_back(&mut self, handed_over: HandedOver) -> Lost {
        let HandedOver {
            mut readings,
            borrowed,
        } = handed_over;
        for waiting in readings.drain(borrowed.min(readings.len())..).rev() {
            self.waiting.push_front(waiting);
        }
        self.borrowed = readings;
        Lost {
            replaced: 0,
            dropped: self.drop_oldest(),
        }
    }

    fn drop_oldest(&mut self) -> u64 {
        let offered = offered(&self.waiting);
        let surplus = (self.waiting.len() - offered).saturating_sub(self.capacity.get());
        let dropped = self.waiting.drain(offered..offered + surplus);
        if self.keep == Keep::Every {
            dropped.for_each(|dropped| self.carried.add(&dropped.reading));
            self.hand_on();
        }
        surplus as u64
    }

    /// Gives what is carried to the oldest readings that may have it.
    fn hand_on(&mut self) {
        let fresh = self
            .waiting
            .iter_mut()
            .filter(|waiting| !waiting.is_offered);
        for waiting in fresh {
            if self.carried.is_empty() {
                return;
            }
            self.carried.give(&mut waiting.reading);
        }
    }
}

#[cfg(test)]
mod tests;
