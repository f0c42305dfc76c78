//! What waits for a sink: bounded, oldest dropped first, every drop counted.
//!
//! Three verbs: *push* a new reading, *borrow* the oldest ones, *settle* what became of them. Borrowed readings are
//! out of the way of dropping until they are settled, so the bound is `queue` waiting and one batch under way.
//! What has waited for too long may be *handed over* to the spool, and *taken back* if that cannot have it.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::time::Instant;

use crate::delivery::Keep;
use crate::reading::Reading;

/// The queue of one sink.
#[derive(Debug)]
pub(crate) struct Queue {
    keep: Keep,
    capacity: NonZeroUsize,
    waiting: VecDeque<Waiting>,
    borrowed: Vec<Waiting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    since: Instant,
    reading: Arc<Reading>,
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

    pub(crate) fn len(&self) -> usize {
        self.readings.len()
    }
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
        }
    }

    /// Adds a reading; says which old ones had to go for it.
    pub(crate) fn push(&mut self, reading: Arc<Reading>) -> Lost {
        let before = self.waiting.len();
        if self.keep == Keep::NewestPerInverter {
            self.waiting
                .retain(|waiting| waiting.reading.inverter.name != reading.inverter.name);
        }
        let replaced = (before - self.waiting.len()) as u64;
        self.waiting.push_back(Waiting {
            since: Instant::now(),
            reading,
        });
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
        self.waiting.len() + self.borrowed.len()
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
        let surplus = self.waiting.len().saturating_sub(self.capacity.get());
        self.waiting.drain(..surplus);
        surplus as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::reading;

    fn queue(keep: Keep, capacity: usize) -> Queue {
        Queue::new(keep, NonZeroUsize::new(capacity).expect("not zero"))
    }

    fn times(readings: &[Arc<Reading>]) -> Vec<i64> {
        readings.iter().map(|reading| reading.time.0).collect()
    }

    #[test]
    fn the_oldest_goes_first_and_is_counted() {
        let mut queue = queue(Keep::Every, 2);
        let dropped: Vec<u64> = (1..=4)
            .map(|time| queue.push(reading("a", time)).dropped)
            .collect();
        assert_eq!(dropped, [0, 0, 1, 1]);
        assert_eq!(times(&queue.borrow(9)), [3, 4]);
    }

    #[test]
    fn what_is_borrowed_is_not_dropped_and_comes_back_in_front() {
        let mut queue = queue(Keep::Every, 3);
        (1..=3).for_each(|time| assert_eq!(queue.push(reading("a", time)), Lost::default()));
        assert_eq!(times(&queue.borrow(2)), [1, 2]);
        queue.push(reading("a", 4));
        assert_eq!(queue.len(), 4);
        assert_eq!(
            queue.settle(Settlement::Kept).dropped,
            1,
            "four readings, room for three"
        );
        assert_eq!(times(&queue.borrow(9)), [2, 3, 4]);
        assert_eq!(queue.settle(Settlement::Done), Lost::default());
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_handed_over_comes_back_in_its_place_with_its_loan() {
        let mut queue = queue(Keep::Every, 3);
        (1..=4).for_each(|time| {
            queue.push(reading("a", time));
        });
        queue.borrow(1);
        queue.push(reading("a", 5));
        let handed_over = queue.hand_over();
        assert_eq!(times(&handed_over.readings()), [2, 3, 4, 5]);
        assert_eq!((queue.len(), queue.oldest()), (0, None));
        queue.push(reading("a", 6));
        assert_eq!(queue.take_back(handed_over).dropped, 1);
        assert_eq!(queue.settle(Settlement::Kept).dropped, 1);
        assert_eq!(times(&queue.borrow(9)), [4, 5, 6]);
    }

    #[test]
    fn only_the_newest_of_each_inverter_is_kept_where_that_is_asked() {
        let mut queue = queue(Keep::NewestPerInverter, 10);
        let replaced: Vec<u64> = [("a", 1), ("b", 1), ("a", 2)]
            .map(|(name, time)| queue.push(reading(name, time)).replaced)
            .into();
        assert_eq!(replaced, [0, 0, 1]);
        assert_eq!(times(&queue.borrow(9)), [1, 2]);
        queue.push(reading("b", 3));
        assert_eq!(
            queue.settle(Settlement::Kept),
            Lost {
                replaced: 1,
                dropped: 0
            }
        );
        let kept: Vec<(String, i64)> = queue
            .borrow(9)
            .iter()
            .map(|reading| (reading.inverter.name.to_string(), reading.time.0))
            .collect();
        assert_eq!(
            kept,
            [("a".to_owned(), 2), ("b".to_owned(), 3)],
            "an older state never comes after a newer one"
        );
    }
}
