use std::time::Duration;

use kstar_model::catalogue::Quantity;
use kstar_model::counted::{AccountId, Amounts, Counted};

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
        0,
        "two that were under way, and room for three"
    );
    (5..=6).for_each(|time| {
        queue.push(reading("a", time));
    });
    assert_eq!(
        times(&queue.borrow(9)),
        [1, 2, 4, 5, 6],
        "the oldest that was never borrowed has gone"
    );
    assert_eq!(queue.settle(Settlement::Done), Lost::default());
    assert_eq!(queue.len(), 0);
}

/// A reading that has counted this much.
fn counting(inverter: &str, time: i64, amount: i64) -> Arc<Reading> {
    let mut reading = Arc::unwrap_or_clone(reading(inverter, time));
    let mut amounts = Amounts::default();
    amounts.set(Quantity::pv_energy_total, Some(amount));
    reading.counted = Some(Counted {
        account: AccountId(1),
        sequence: time.unsigned_abs(),
        covers: Duration::from_millis(1),
        amounts,
        earlier: None,
    });
    Arc::new(reading)
}

/// Which inverter, when, and how much it has counted.
fn counted(readings: &[Arc<Reading>]) -> Vec<(&str, i64, Option<i64>)> {
    let amount = |reading: &Reading| {
        let counted = reading.counted.as_ref()?;
        counted.all().of(Quantity::pv_energy_total)
    };
    readings
        .iter()
        .map(|reading| (&*reading.inverter.name, reading.time.0, amount(reading)))
        .collect()
}

#[test]
fn what_is_dropped_hands_what_it_counted_to_the_next_of_its_inverter() {
    let mut queue = queue(Keep::Every, 2);
    for (name, time, amount) in [("a", 1, 1), ("b", 2, 10), ("a", 3, 2), ("b", 4, 20)] {
        queue.push(counting(name, time, amount));
    }
    assert_eq!(
        counted(&queue.borrow(9)),
        [("a", 3, Some(3)), ("b", 4, Some(30))]
    );
    queue.settle(Settlement::Done);
    // Without a next one it waits for it; one that knows no count takes it as well.
    for (name, time, amount) in [("a", 5, 4), ("b", 6, 40), ("b", 7, 50)] {
        queue.push(counting(name, time, amount));
    }
    queue.push(reading("a", 8));
    assert_eq!(
        counted(&queue.borrow(9)),
        [("b", 7, Some(90)), ("a", 8, Some(4))]
    );
}

#[test]
fn what_was_borrowed_once_neither_takes_nor_gives_what_was_counted() {
    let mut queue = queue(Keep::Every, 1);
    queue.push(counting("a", 1, 1));
    queue.borrow(9);
    queue.settle(Settlement::Kept);
    (2..=5).for_each(|time| {
        queue.push(counting("a", time, time));
    });
    assert_eq!(
        counted(&queue.borrow(9)),
        [("a", 1, Some(1)), ("a", 5, Some(2 + 3 + 4 + 5))]
    );
}

#[test]
fn what_is_given_up_hands_on_what_it_counted_past_what_was_borrowed() {
    let mut queue = queue(Keep::Every, 5);
    (1..=4).for_each(|time| {
        queue.push(counting("a", time, 1));
    });
    queue.borrow(3);
    queue.settle(Settlement::Kept);
    let bad = queue.borrow(1).remove(0);
    queue.settle(Settlement::Done);
    queue.give_up(&bad);
    assert_eq!(
        counted(&queue.borrow(9)),
        [("a", 2, Some(1)), ("a", 3, Some(1)), ("a", 4, Some(2))]
    );
}

#[test]
fn what_is_left_to_the_next_queue_is_what_was_counted_and_what_was_borrowed() {
    let mut first = queue(Keep::Every, 2);
    first.push(counting("b", 1, 10));
    (2..=3).for_each(|time| {
        first.push(counting("a", time, 1));
    });
    first.borrow(1);
    let mut second = queue(Keep::Every, 1);
    assert_eq!(second.follow(first.leave()).dropped, 0);
    second.push(counting("a", 4, 1));
    second.push(counting("b", 5, 20));
    second.push(counting("a", 6, 1));
    assert_eq!(
        counted(&second.borrow(9)),
        [("a", 2, Some(1)), ("a", 6, Some(3))],
        "that of b waits for its next one"
    );
    second.settle(Settlement::Done);
    second.push(counting("b", 7, 40));
    assert_eq!(counted(&second.borrow(9)), [("b", 7, Some(70))]);
}

#[test]
fn states_that_are_replaced_hand_nothing_on() {
    let mut queue = queue(Keep::NewestPerInverter, 1);
    queue.push(counting("a", 1, 1));
    queue.push(counting("a", 2, 2));
    queue.push(counting("b", 3, 3));
    queue.push(counting("a", 4, 4));
    assert_eq!(counted(&queue.borrow(9)), [("a", 4, Some(4))]);
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
    assert_eq!(queue.settle(Settlement::Kept).dropped, 0);
    assert_eq!(times(&queue.borrow(9)), [2, 4, 5, 6]);
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
