use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::PathBuf;

use kstar_model::catalogue::Quantity;
use kstar_model::counted::{AccountId, Amounts, Counted};
use kstar_model::reading::Inverter;
use kstar_model::time::UnixMillis;
use kstar_model::time::Uptime;
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::store::Store;
use super::*;
use crate::testing::{full_reading, kse_reading, reading, readings};

/// A folder for a spool.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("spool-test.db")
    }

    fn open(&self, bounds: SpoolBounds) -> Result<Store, String> {
        open(self.0.path(), bounds)
    }

    fn store(&self) -> Store {
        self.open(SpoolBounds::default()).unwrap()
    }

    /// A store with readings of these times, closed.
    fn with(times: impl IntoIterator<Item = i64>) -> Self {
        let place = Self::new();
        let mut store = place.store();
        store.push(&at(times), 0).unwrap();
        store.close().unwrap();
        place
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn open(folder: &Path, bounds: SpoolBounds) -> Result<Store, String> {
    let mut store = Store::new(folder, "test", bounds);
    store.open().map(|()| store)
}

fn at(times: impl IntoIterator<Item = i64>) -> Vec<Arc<Reading>> {
    times
        .into_iter()
        .map(|time| reading("roof", time))
        .collect()
}

fn times(readings: &[Arc<Reading>]) -> Vec<i64> {
    readings.iter().map(|reading| reading.time.0).collect()
}

fn bounds(bytes: u64, readings: u64) -> SpoolBounds {
    SpoolBounds {
        bytes,
        readings: NonZeroU64::new(readings).unwrap(),
    }
}

/// Delivers everything, oldest first.
fn drain(store: &mut Store) -> Vec<i64> {
    let mut drained = Vec::new();
    loop {
        let Borrowed { ids, readings } = store.borrow(7).unwrap();
        if readings.is_empty() {
            return drained;
        }
        drained.extend(times(&readings));
        store.settle(&ids).unwrap();
    }
}

#[test]
fn readings_come_out_in_order_and_exactly_as_they_went_in() {
    let place = Place::new();
    let mut all = readings("roof", 300);
    all.extend(readings("barn", 300));
    let known = Arc::new(Inverter {
        name: "roof".into(),
        serial: Some("KSE1".into()),
        model: Some("KSE4000".into()),
    });
    all.push(Arc::new(Reading {
        inverter: known,
        ..(*full_reading("roof", -5)).clone()
    }));
    let mut store = place.store();
    for part in all.chunks(100) {
        store.push(part, 0).unwrap();
    }
    store.close().unwrap();
    let mut store = place.store();
    assert_eq!(store.waiting(), all.len() as u64);
    assert_eq!(store.borrow(10_000).unwrap().readings, all);
}

#[test]
fn without_anything_that_waits_there_is_no_file() {
    let place = Place::new();
    let mut store = place.store();
    assert!(place.files().is_empty(), "{:?}", place.files());
    store.push(&at([1]), 0).unwrap();
    assert!(place.path().exists());
    assert_eq!(drain(&mut store), [1]);
    store.close().unwrap();
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn a_large_file_goes_as_soon_as_it_is_empty() {
    let place = Place::new();
    let mut store = place.store();
    let all: Vec<_> = (0..3000).map(|time| full_reading("roof", time)).collect();
    store.push(&all, 0).unwrap();
    assert!(place.path().metadata().unwrap().len() + log_size(&place) > 300_000);
    let Borrowed { ids, .. } = store.borrow(3000).unwrap();
    store.settle(&ids).unwrap();
    assert!(place.files().is_empty(), "{:?}", place.files());
    store.push(&at([7]), 0).unwrap();
    assert_eq!(drain(&mut store), [7]);
}

fn log_size(place: &Place) -> u64 {
    let log = place.0.path().join("spool-test.db-wal");
    log.metadata().map_or(0, |metadata| metadata.len())
}

#[test]
fn a_reading_takes_less_than_a_quarter_of_a_kibibyte() {
    let place = Place::new();
    let mut store = place.store();
    let all: Vec<_> = (0..10_000).map(|time| kse_reading("roof", time)).collect();
    store.push(&all, 0).unwrap();
    store.close().unwrap();
    let each = place.path().metadata().unwrap().len() / 10_000;
    assert!(each < 256, "{each} bytes");
}

#[test]
fn beyond_the_number_the_oldest_go_and_are_counted() {
    let place = Place::new();
    let mut store = place.open(bounds(1 << 30, 5)).unwrap();
    store.push(&at(0..4), 0).unwrap();
    assert_eq!(store.take_dropped(), 0);
    store.push(&at(4..8), 0).unwrap();
    assert_eq!((store.take_dropped(), store.waiting()), (3, 5));
    store.push(&at(8..20), 0).unwrap();
    assert_eq!((store.take_dropped(), store.waiting()), (12, 5));
    assert_eq!(drain(&mut store), [15, 16, 17, 18, 19]);
}

#[test]
fn beyond_the_bytes_the_oldest_go_and_are_counted() {
    let place = Place::new();
    let mut store = place.open(bounds(SMALLEST, 1_000_000)).unwrap();
    let all: Vec<_> = (0..20_000).map(|time| kse_reading("roof", time)).collect();
    for part in all.chunks(256) {
        store.push(part, 0).unwrap();
    }
    let (dropped, waiting) = (store.take_dropped(), store.waiting());
    assert!(dropped > 0);
    assert_eq!(dropped + waiting, 20_000);
    // Some rows more than fit in one step, and the log, which is as large as it may be.
    let size = place.path().metadata().unwrap().len() + log_size(&place);
    assert!(size < SMALLEST * 3, "{size} bytes");
    store.close().unwrap();
    let size = place.path().metadata().unwrap().len();
    assert!(size < SMALLEST + SMALLEST / 8, "{size} bytes");
    let kept = drain(&mut place.store());
    assert_eq!(kept.len() as u64, waiting);
    assert_eq!(kept.last(), Some(&19_999), "the newest are kept");
    assert!(waiting > SMALLEST / 256, "{waiting} readings in a mebibyte");
}

#[test]
fn a_file_of_before_an_upgrade_of_the_catalogue_is_read() {
    let place = Place::new();
    let full = full_reading("roof", 1);
    let mut store = place.store();
    store.push(std::slice::from_ref(&full), 0).unwrap();
    store.close().unwrap();
    // As a version would have left it that knew `moon_power`, and `grid_frequency` under no name.
    Connection::open(place.path())
        .unwrap()
        .execute_batch("UPDATE quantity SET name = 'moon_power' WHERE name = 'grid_frequency'")
        .unwrap();
    let mut store = place.store();
    let mut expected = full.values.clone();
    expected.grid_frequency = None;
    assert_eq!(store.borrow(9).unwrap().readings[0].values, expected);
    store.push(std::slice::from_ref(&full), 0).unwrap();
    assert_eq!(store.borrow(9).unwrap().readings[1], full);
}

#[test]
fn a_later_versions_file_is_refused_and_left_alone() {
    let place = Place::with([1]);
    Connection::open(place.path())
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let before = std::fs::read(place.path()).unwrap();
    let Err(reason) = place.open(SpoolBounds::default()) else {
        panic!("not refused");
    };
    assert!(
        reason.contains("spool-test.db was written by a later version"),
        "{reason}"
    );
    assert!(reason.contains("schema 99, this one knows 2"), "{reason}");
    assert!(reason.contains("move the file away"), "{reason}");
    assert_eq!(place.files(), ["spool-test.db"]);
    assert!(before == std::fs::read(place.path()).unwrap());
}

#[test]
fn a_damaged_file_is_set_aside_whatever_the_damage() {
    let spoil = |how: fn(&mut Vec<u8>)| {
        let place = Place::with(0..2000);
        let mut bytes = std::fs::read(place.path()).unwrap();
        how(&mut bytes);
        std::fs::write(place.path(), &bytes).unwrap();
        (place, bytes)
    };
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.fill(b'x'),
        |bytes| bytes.truncate(5000),
        |bytes| bytes[100..].fill(0xA5),
        |bytes| bytes[4096..].fill(0),
    ];
    for damage in damages {
        let (place, bytes) = spoil(damage);
        let mut store = place.store();
        // Some damage shows only when it is read.
        while !store.borrow(100).unwrap().readings.is_empty() {
            let ids = store.borrow(100).unwrap().ids;
            store.settle(&ids).unwrap();
        }
        store.push(&at([7]), 0).unwrap();
        assert_eq!(drain(&mut store), [7]);
        let files = place.files();
        let aside = files
            .iter()
            .find(|name| name.starts_with("spool-test.db.damaged-"));
        let aside = aside.unwrap_or_else(|| panic!("{files:?}"));
        assert_eq!(
            std::fs::read(place.0.path().join(aside)).unwrap().len(),
            bytes.len()
        );
    }
}

#[test]
fn what_a_damaged_file_held_is_counted_as_dropped() {
    let place = Place::new();
    let all: Vec<_> = (0..2000).map(|time| full_reading("roof", time)).collect();
    let mut store = place.store();
    store.push(&all, 0).unwrap();
    store.close().unwrap();
    let mut spoilt = std::fs::read(place.path()).unwrap();
    // Everything but the tables' first pages.
    spoilt[8 * 4096..].fill(0xA5);
    std::fs::write(place.path(), &spoilt).unwrap();
    let mut store = place.store();
    assert_eq!(store.waiting(), 2000);
    assert!(store.borrow(100).unwrap().readings.is_empty());
    assert_eq!((store.take_dropped(), store.waiting()), (2000, 0));
}

#[test]
fn only_the_newest_damaged_files_are_kept() {
    let place = Place::new();
    for second in 1..=5 {
        std::fs::write(
            place
                .0
                .path()
                .join(format!("spool-test.db.damaged-{second}")),
            "",
        )
        .unwrap();
    }
    std::fs::write(place.path(), "dear diary\n".repeat(1000)).unwrap();
    place.store();
    let files = place.files();
    assert_eq!(files.len(), 3, "{files:?}");
    assert_eq!(
        files[1..],
        ["spool-test.db.damaged-4", "spool-test.db.damaged-5"].map(String::from)
    );
}

#[test]
fn a_row_that_nobody_can_read_is_lost_alone_and_counted() {
    let place = Place::with(1..=5);
    Connection::open(place.path())
        .unwrap()
        .execute_batch(
            "UPDATE reading SET row = x'81' WHERE id = 2; UPDATE reading SET inverter = 99 WHERE id = 4",
        )
        .unwrap();
    let mut store = place.store();
    assert_eq!(times(&store.borrow(9).unwrap().readings), [1, 3, 5]);
    assert_eq!((store.take_dropped(), store.waiting()), (2, 3));
}

#[cfg(unix)]
#[test]
fn what_was_borrowed_from_a_lost_file_settles_nothing_in_the_next() {
    let place = Place::new();
    let mut store = place.store();
    store.push(&at([1, 2]), 0).unwrap();
    let Borrowed { ids, .. } = store.borrow(9).unwrap();
    std::fs::remove_file(place.path()).unwrap();
    let pushed = store.push(&at([3, 4]), 0).unwrap();
    store.settle(&ids).unwrap();
    assert_eq!(store.waiting(), 2);
    store.settle(&pushed.first(1)).unwrap();
    assert_eq!(drain(&mut store), [4]);
}

#[cfg(unix)]
#[test]
fn a_file_that_vanishes_is_counted_and_a_new_one_begun() {
    let place = Place::new();
    let mut store = place.store();
    store.push(&at([1, 2]), 0).unwrap();
    std::fs::remove_file(place.path()).unwrap();
    store.push(&at([3]), 0).unwrap();
    assert_eq!((store.take_dropped(), store.waiting()), (2, 1));
    store.close().unwrap();
    assert_eq!(drain(&mut place.store()), [3]);
}

#[test]
fn another_programs_lock_is_a_reason_and_passes() {
    let place = Place::with([1]);
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut store = Store::new(place.0.path(), "test", SpoolBounds::default());
    let reason = store.open().unwrap_err();
    assert!(reason.contains("is locked by another program"), "{reason}");
    let reason = store.push(&at([2]), 0).unwrap_err();
    assert!(reason.contains("is locked by another program"), "{reason}");
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    store.push(&at([2]), 0).unwrap();
    assert_eq!(store.waiting(), 2);
    assert_eq!(drain(&mut store), [1, 2]);
}

#[cfg(unix)]
#[test]
fn a_folder_that_this_user_may_not_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let allow = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.0.path(), mode).unwrap();
    };
    allow(0o555);
    // Root may write everything, so that there is nothing to refuse.
    if std::fs::write(place.0.path().join("probe"), "").is_err() {
        let Err(reason) = place.open(SpoolBounds::default()) else {
            panic!("not refused");
        };
        assert!(
            reason.contains("let this user write to that folder"),
            "{reason}"
        );
    }
    allow(0o755);
    let under_a_file = place.path();
    std::fs::write(&under_a_file, "").unwrap();
    let Err(reason) = open(&under_a_file, SpoolBounds::default()) else {
        panic!("not refused");
    };
    assert!(reason.contains("`state_dir`"), "{reason}");
}

/// What may happen to a spool.
#[derive(Clone, Debug)]
enum Step {
    /// So many, the first of which were borrowed in memory.
    Push(usize, usize),
    Borrow(usize),
    Settle,
    /// Something that was pushed while it was under way is delivered before the rest.
    SettlePushed,
    Reopen,
    /// The process is killed and begins again: the file is as it was, its log too.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..6_usize, 0..3_usize).prop_map(|(count, known)| Step::Push(count, known)),
        3 => (1..6_usize).prop_map(Step::Borrow),
        3 => Just(Step::Settle),
        1 => Just(Step::SettlePushed),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ]
}

/// The folder as a killed process leaves it.
fn killed(place: &Place) -> Place {
    let copy = Place::new();
    for name in place.files() {
        std::fs::copy(place.0.path().join(&name), copy.0.path().join(&name)).unwrap();
    }
    copy
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_it_is_a_bounded_queue_that_outlives_the_process(
        steps in prop::collection::vec(step(), 1..40),
        room in 1..12_u64,
    ) {
        let mut place = Place::new();
        let mut store = place.open(bounds(1 << 30, room)).unwrap();
        // What should wait: numbers that grow, and what each has counted.
        let mut model: Vec<(i64, i64)> = Vec::new();
        // What was borrowed once, and what nobody there could take over.
        let mut offered = BTreeSet::new();
        let mut carried = 0;
        let mut next = 0;
        let mut dropped = 0;
        let mut borrowed: Option<(Ids, Vec<i64>)> = None;
        let mut pushed: Option<(Ids, Vec<i64>)> = None;
        for step in steps {
            match step {
                Step::Push(count, known) => {
                    let new: Vec<i64> = (next..).take(count).collect();
                    next += i64::try_from(count).unwrap();
                    let readings: Vec<_> = new.iter().map(|time| counting("roof", *time, 1)).collect();
                    let ids = store.push(&readings, known).unwrap();
                    model.extend(new.iter().map(|time| (*time, 1)));
                    offered.extend(new.iter().copied().take(known));
                    while model.len() as u64 > room {
                        dropped += 1;
                        let fresh = |(time, _): &(i64, i64)| !offered.contains(time);
                        let Some(oldest) = model.iter().position(fresh) else {
                            model.remove(0);
                            continue;
                        };
                        let (_, amount) = model.remove(oldest);
                        match model.iter().position(fresh) {
                            Some(next) => model[next].1 += amount,
                            None => carried += amount,
                        }
                    }
                    pushed = Some((ids, new));
                }
                Step::Borrow(limit) => {
                    let Borrowed { ids, readings } = store.borrow(limit).unwrap();
                    let expected: Vec<_> = model.iter().copied().take(limit).collect();
                    prop_assert_eq!(counted(&readings), some(&expected));
                    let times: Vec<i64> = expected.iter().map(|(time, _)| *time).collect();
                    offered.extend(times.iter().copied());
                    borrowed = (!times.is_empty()).then_some((ids, times));
                }
                Step::Settle => {
                    if let Some((ids, times)) = borrowed.take() {
                        store.settle(&ids).unwrap();
                        model.retain(|(time, _)| !times.contains(time));
                        pushed = None;
                    }
                }
                Step::SettlePushed => {
                    if let Some((ids, times)) = pushed.take() {
                        store.settle(&ids).unwrap();
                        model.retain(|(time, _)| !times.contains(time));
                        borrowed = None;
                    }
                }
                Step::Reopen | Step::Kill => {
                    if matches!(step, Step::Kill) {
                        place = killed(&place);
                    } else {
                        store.close().unwrap();
                    }
                    let before = store.take_dropped();
                    prop_assert_eq!(before, std::mem::take(&mut dropped));
                    prop_assert_eq!(amount(store.take_carried()), std::mem::take(&mut carried));
                    store = place.open(bounds(1 << 30, room)).unwrap();
                    (borrowed, pushed) = (None, None);
                }
            }
            prop_assert_eq!(store.waiting(), model.len() as u64);
        }
        prop_assert_eq!(store.take_dropped(), dropped);
        prop_assert_eq!(amount(store.take_carried()), carried);
        prop_assert_eq!(counted(&store.borrow(10_000).unwrap().readings), some(&model));
    }
}

fn some(counted: &[(i64, i64)]) -> Vec<(i64, Option<i64>)> {
    counted
        .iter()
        .map(|(time, amount)| (*time, Some(*amount)))
        .collect()
}

/// What of the inverter waits for its next reading.
fn amount(mut carried: Carried) -> i64 {
    let mut next = reading("roof", i64::MAX);
    carried.give(&mut next);
    counted(&[next])[0].1.unwrap_or(0)
}

/// A reading that has counted this much.
fn counting(inverter: &str, time: i64, amount: i64) -> Arc<Reading> {
    let mut reading = Arc::unwrap_or_clone(reading(inverter, time));
    let mut amounts = Amounts::default();
    amounts.set(Quantity::pv_energy_total, Some(amount));
    reading.counted = Some(Counted {
        account: AccountId(i64::MIN),
        sequence: time.unsigned_abs(),
        covers: Duration::from_millis(1),
        amounts,
        earlier: None,
    });
    Arc::new(reading)
}

/// When, and how much was counted.
fn counted(readings: &[Arc<Reading>]) -> Vec<(i64, Option<i64>)> {
    let amount = |reading: &Reading| {
        let counted = reading.counted.as_ref()?;
        counted.all().of(Quantity::pv_energy_total)
    };
    readings
        .iter()
        .map(|reading| (reading.time.0, amount(reading)))
        .collect()
}

#[test]
fn what_was_counted_is_kept_and_what_is_dropped_hands_it_to_the_next_of_its_inverter() {
    let place = Place::new();
    let mut store = place.open(bounds(1 << 30, 3)).unwrap();
    let all = [
        ("a", 1, 1),
        ("b", 2, 10),
        ("a", 3, 2),
        ("a", 4, 4),
        ("a", 5, 8),
    ]
    .map(|(name, time, amount)| counting(name, time, amount));
    store.push(&all, 0).unwrap();
    store.close().unwrap();
    let mut store = place.open(bounds(1 << 30, 3)).unwrap();
    let borrowed = store.borrow(9).unwrap();
    assert_eq!(
        counted(&borrowed.readings),
        [(3, Some(3)), (4, Some(4)), (5, Some(8))]
    );
    store.settle(&borrowed.ids).unwrap();
    // Nobody here can take what b has counted.
    assert!(
        store.take_carried().is_empty(),
        "it was told when it happened"
    );

    let place = Place::new();
    let mut store = place.open(bounds(1 << 30, 3)).unwrap();
    store.push(&all, 0).unwrap();
    let mut carried = store.take_carried();
    let mut next = counting("b", 6, 20);
    carried.give(&mut next);
    assert_eq!(counted(&[next]), [(6, Some(30))]);
    assert!(carried.is_empty());
}

#[test]
fn what_was_borrowed_once_neither_takes_nor_gives_what_was_counted() {
    let place = Place::new();
    let mut store = place.open(bounds(1 << 30, 2)).unwrap();
    // One was borrowed in memory, and one from the spool; another process knows of both.
    store.push(&[counting("a", 1, 1)], 0).unwrap();
    store.borrow(1).unwrap();
    store
        .push(&[counting("a", 2, 2), counting("a", 3, 4)], 1)
        .unwrap();
    assert_eq!((store.take_dropped(), store.waiting()), (1, 2));
    store.close().unwrap();
    let mut store = place.open(bounds(1 << 30, 3)).unwrap();
    for (time, amount) in [(4, 8), (5, 16)] {
        store.push(&[counting("a", time, amount)], 0).unwrap();
    }
    let mut carried = store.take_carried();
    assert!(carried.is_empty());
    let Borrowed { ids, readings } = store.borrow(9).unwrap();
    assert_eq!(
        counted(&readings),
        [(1, Some(1)), (2, Some(2)), (5, Some(24))]
    );
    // Where all were borrowed they have to go all the same, and what they counted with them.
    store.push(&[counting("a", 6, 32)], 0).unwrap();
    assert_eq!(counted(&store.borrow(9).unwrap().readings).len(), 3);
    store.settle(&ids).unwrap();
    carried.append(store.take_carried());
    let mut next = counting("a", 7, 64);
    carried.give(&mut next);
    assert_eq!(counted(&[next]), [(7, Some(96))]);
    // Numbers of what was borrowed are not given again.
    store
        .push(&[counting("a", 8, 1), counting("a", 9, 2)], 0)
        .unwrap();
    store
        .push(&[counting("a", 10, 4), counting("a", 11, 8)], 0)
        .unwrap();
    let Borrowed { readings, .. } = store.borrow(9).unwrap();
    assert_eq!(
        counted(&readings),
        [(9, Some(3)), (10, Some(4)), (11, Some(8))]
    );
}

#[test]
fn a_file_of_the_first_form_is_read_and_gone_on_with() {
    let place = Place::with([1, 2]);
    let connection = Connection::open(place.path()).unwrap();
    connection
        .execute_batch(
            "ALTER TABLE reading DROP COLUMN counted; ALTER TABLE reading DROP COLUMN offered; \
             ALTER TABLE total DROP COLUMN offered; DROP TABLE undated; PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);
    let mut store = place.store();
    store.push(&[counting("roof", 3, 7)], 0).unwrap();
    let readings = store.borrow(9).unwrap().readings;
    assert_eq!(counted(&readings), [(1, None), (2, None), (3, Some(7))]);
}

fn undated(inverter: &str, uptime: i64, amount: i64) -> Arc<Undated> {
    let uptime = Uptime(Duration::from_millis(uptime.unsigned_abs()));
    Arc::new(counting(inverter, 0, amount).at(uptime))
}

/// It was 5000 when the machine had run for so long.
fn clock(uptime: u64) -> ClockSet {
    ClockSet {
        uptime: Uptime(Duration::from_millis(uptime)),
        time: UnixMillis(5000),
    }
}

#[test]
fn what_waits_for_the_clock_outlives_the_process_and_is_dated_by_its_age() {
    let place = Place::new();
    let mut store = place.store();
    store.push(&[counting("a", 1, 1)], 0).unwrap();
    store
        .push_undated(&[undated("a", 10, 2), undated("b", 20, 4)])
        .unwrap();
    assert_eq!((store.waiting(), store.undated()), (1, 2));
    let Borrowed { ids, .. } = store.borrow(9).unwrap();
    store.settle(&ids).unwrap();
    store.close().unwrap();
    let mut store = place.store();
    assert_eq!((store.waiting(), store.undated()), (0, 2));
    store.push_undated(&[undated("a", 30, 8)]).unwrap();
    store.set_clock(clock(100)).unwrap();
    assert_eq!((store.waiting(), store.undated()), (3, 0));
    let readings = store.borrow(9).unwrap().readings;
    let expected = [(4910, Some(2)), (4920, Some(4)), (4930, Some(8))];
    assert_eq!(counted(&readings), expected);
    assert_eq!(store.take_dropped(), 0);
}

#[test]
fn what_an_earlier_run_of_the_machine_has_left_without_a_time_is_dropped_and_hands_on_what_it_counted()
 {
    let place = Place::new();
    let mut store = place.store();
    store
        .push_undated(&[undated("a", 10, 2), undated("a", 20, 4)])
        .unwrap();
    store.close().unwrap();
    Connection::open(place.path())
        .unwrap()
        .execute(
            "UPDATE undated SET boot = 'another' WHERE uptime_ms = 10",
            [],
        )
        .unwrap();
    let mut store = place.store();
    store.set_clock(clock(100)).unwrap();
    assert_eq!((store.waiting(), store.take_dropped()), (1, 1));
    assert_eq!(
        counted(&store.borrow(9).unwrap().readings),
        [(4920, Some(4))]
    );
    let mut next = counting("a", 6000, 8);
    store.take_carried().give(&mut next);
    assert_eq!(counted(&[next]), [(6000, Some(10))]);
}

#[test]
fn what_waits_for_the_clock_is_bounded_too() {
    let place = Place::new();
    let mut store = place.open(bounds(1 << 30, 2)).unwrap();
    for uptime in 1..=4 {
        store.push_undated(&[undated("a", uptime, uptime)]).unwrap();
    }
    assert_eq!((store.undated(), store.take_dropped()), (2, 2));
    let mut next = counting("a", 6000, 0);
    store.take_carried().give(&mut next);
    assert_eq!(counted(&[next]), [(6000, Some(1 + 2))]);
}
