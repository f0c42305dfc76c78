//! Asking a history, as reports and charts do.

#![expect(
    clippy::unwrap_used,
    reason = "a test may end where its surroundings break"
)]

use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kstar_history::{
    Aggregate, Bucket, History, HistoryError, Importer, Level, Repair, Retention, Settings, Store,
};
use kstar_model::catalogue::Quantity;
use kstar_model::counted::{AccountId, Amounts, Counted, Earlier};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use tempfile::TempDir;

/// 2026-11-22T00:00:00Z.
const BEGIN: i64 = 1_795_305_600_000;

const EVER: Range<UnixMillis> = UnixMillis(i64::MIN)..UnixMillis(i64::MAX);

struct Place {
    folder: TempDir,
    zone: &'static str,
}

impl Place {
    fn new(zone: &'static str) -> Self {
        let folder = TempDir::new().unwrap();
        Self { folder, zone }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("history.db")
    }

    fn settings(&self) -> Settings {
        Settings::new(
            kstar_common::zone::named(self.zone).unwrap(),
            Duration::from_secs(5),
        )
    }

    fn store(&self) -> Store {
        let patience = Duration::from_secs(4);
        Store::open(
            &self.path(),
            patience,
            self.settings(),
            Retention::default(),
        )
        .unwrap()
    }

    fn importer(&self) -> Importer {
        let usual = Retention::default();
        Importer::open(self.path(), &self.settings(), usual, None).unwrap()
    }

    fn readings(&self) -> usize {
        let mut count = 0;
        let mut each = |_| {
            count += 1;
            ControlFlow::Continue(())
        };
        self.history().readings("roof", EVER, &mut each).unwrap();
        count
    }

    fn write(&self, readings: &[Arc<Reading>]) {
        let mut store = self.store();
        for batch in readings.chunks(500) {
            store.deliver(batch).unwrap();
        }
        store.close().unwrap();
    }

    fn history(&self) -> History {
        History::open(&self.path()).unwrap()
    }

    fn buckets(
        &self,
        level: Level,
        span: Range<UnixMillis>,
        quantities: &[Quantity],
    ) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        let mut each = |bucket: &Bucket| {
            buckets.push(bucket.clone());
            ControlFlow::Continue(())
        };
        self.history()
            .buckets("roof", level, span, quantities, &mut each)
            .unwrap();
        buckets
    }
}

/// A reading of so many seconds after the begin, with these raw values.
fn reading(seconds: i64, values: &[(Quantity, i64)]) -> Arc<Reading> {
    let mut reading = Reading {
        time: UnixMillis(BEGIN + seconds * 1000),
        inverter: Inverter::named("roof"),
        values: kstar_model::catalogue::Values::default(),
        counted: None,
    };
    for (quantity, raw) in values {
        reading.values.set_raw(*quantity, Some(*raw));
    }
    reading.values.derive();
    Arc::new(reading)
}

fn measured(mean: f64, min: f64, max: f64) -> Aggregate {
    Aggregate::Measured { mean, min, max }
}

fn grown(grown: f64) -> Aggregate {
    Aggregate::Counted { grown }
}

#[test]
fn readings_come_back_as_they_were() {
    let place = Place::new("UTC");
    let written = kstar_sink::testing::readings("roof", 1200);
    place.write(&written);
    let mut read = Vec::new();
    let mut each = |reading| {
        read.push(Arc::new(reading));
        ControlFlow::Continue(())
    };
    place.history().readings("roof", EVER, &mut each).unwrap();
    assert!(read == written);
    let (first, last) = (written[0].time, written[1199].time);
    let inverters = place.history().inverters().unwrap();
    assert_eq!(inverters.len(), 1);
    assert_eq!(inverters[0].name, "roof");
    assert_eq!(
        (inverters[0].first, inverters[0].last),
        (Some(first), Some(last))
    );
}

#[test]
fn a_span_has_its_begin_and_not_its_end_and_can_be_broken_off() {
    let place = Place::new("UTC");
    place.write(&kstar_sink::testing::readings("roof", 100));
    let asked = |span: Range<i64>, most: usize| {
        let mut times = Vec::new();
        let mut each = |reading: Reading| {
            times.push(reading.time.0 - BEGIN);
            if times.len() == most {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let span = UnixMillis(BEGIN + span.start)..UnixMillis(BEGIN + span.end);
        place.history().readings("roof", span, &mut each).unwrap();
        times
    };
    assert_eq!(asked(5000..20_000, 9), [5000, 10_000, 15_000]);
    assert_eq!(asked(5000..20_000, 2), [5000, 10_000]);
}

#[test]
fn a_mean_weighs_by_time_and_its_interval_is_split_at_the_edge() {
    let place = Place::new("UTC");
    let load = Quantity::load_power;
    place.write(&[
        reading(0, &[(load, 100)]),
        reading(10, &[(load, 300)]),
        // Too far away for the time in between to be known.
        reading(280, &[(load, 0)]),
        reading(320, &[(load, 400)]),
    ]);
    let buckets = place.buckets(Level::FiveMinutes, EVER, &[load]);
    assert_eq!(buckets.len(), 2);
    assert_eq!(
        (buckets[0].begin.0, buckets[0].end.0),
        (BEGIN, BEGIN + 300_000)
    );
    assert_eq!(
        (buckets[0].samples, buckets[0].covered),
        (3, Duration::from_secs(30))
    );
    // 10 s of 200 W and 20 s of 100 W.
    assert_eq!(buckets[0].values, [Some(measured(133.33, 0.0, 300.0))]);
    assert_eq!(
        (buckets[1].samples, buckets[1].covered),
        (1, Duration::from_secs(20))
    );
    assert_eq!(buckets[1].values, [Some(measured(300.0, 400.0, 400.0))]);
    let hour = place.buckets(Level::Hour, EVER, &[load]);
    assert_eq!(
        (hour[0].samples, hour[0].covered),
        (4, Duration::from_secs(50))
    );
    assert_eq!(hour[0].values, [Some(measured(200.0, 0.0, 400.0))]);
}

#[test]
fn what_follows_from_others_is_computed_before_it_is_added_up() {
    let place = Place::new("UTC");
    let grid = Quantity::grid_power;
    place.write(&[reading(0, &[(grid, -1000)]), reading(10, &[(grid, 1000)])]);
    let quantities = [
        grid,
        Quantity::grid_import_power,
        Quantity::grid_export_power,
        Quantity::pv_power,
    ];
    let buckets = place.buckets(Level::Day, EVER, &quantities);
    assert_eq!(
        buckets[0].values,
        [
            Some(measured(0.0, -1000.0, 1000.0)),
            Some(measured(500.0, 0.0, 1000.0)),
            Some(measured(500.0, 0.0, 1000.0)),
            None
        ]
    );
}

/// How many readings have told what was counted.
static TOLD: AtomicU64 = AtomicU64::new(1);

/// The same, with what was counted of a counter in the seconds before.
fn counting(
    reading: &Reading,
    account: i64,
    counter: Quantity,
    amount: i64,
    seconds: u64,
) -> Arc<Reading> {
    let mut amounts = Amounts::default();
    amounts.set(counter, Some(amount));
    Arc::new(Reading {
        counted: Some(Counted {
            account: AccountId(account),
            sequence: TOLD.fetch_add(1, Ordering::Relaxed),
            covers: Duration::from_secs(seconds),
            amounts,
            earlier: None,
        }),
        ..reading.clone()
    })
}

#[test]
fn a_counter_grows_by_what_is_told_whatever_it_shows() {
    let place = Place::new("UTC");
    let (today, total) = (Quantity::energy_today, Quantity::energy_total);
    let at = |seconds, shows: i64, amount| {
        let shown = reading(seconds, &[(today, shows), (total, shows * 100)]);
        counting(&shown, 1, total, amount, 5)
    };
    place.write(&[
        at(0, 50, 1),
        // Nobody has counted.
        reading(290, &[(total, 99_999)]),
        at(400, 5000, 2),
        at(410, 1, 3),
        // The clock was set back.
        at(405, 2, 4),
        at(4000, 3, 5),
    ]);
    let quantities = [today, total];
    let buckets = place.buckets(Level::FiveMinutes, EVER, &quantities);
    let values: Vec<_> = buckets.iter().map(|bucket| bucket.values.clone()).collect();
    assert_eq!(
        values,
        [
            [Some(grown(0.1)), Some(grown(0.1))],
            [Some(grown(0.9)), Some(grown(0.9))],
            [Some(grown(0.5)), Some(grown(0.5))],
        ]
    );
    // Asked for alone, it is the same bucket.
    let second = UnixMillis(BEGIN + 300_000)..UnixMillis(BEGIN + 300_001);
    assert_eq!(
        place.buckets(Level::FiveMinutes, second, &quantities),
        buckets[1..2]
    );
    let hours = place.buckets(Level::Hour, EVER, &quantities);
    assert_eq!(hours[0].values, [Some(grown(1.0)), Some(grown(1.0))]);
}

#[test]
fn what_was_counted_before_midnight_or_for_long_belongs_to_its_own_time() {
    let place = Place::new("UTC");
    let total = Quantity::pv_energy_total;
    let told = |seconds, amount, covers| counting(&reading(seconds, &[]), 1, total, amount, covers);
    let mut split = Reading::clone(&told(86_400 + 2, 3, 5));
    if let Some(counted) = &mut split.counted {
        let mut amounts = Amounts::default();
        amounts.set(total, Some(7));
        counted.earlier = Some(Earlier {
            ago: Duration::from_secs(2),
            amounts,
        });
    }
    place.write(&[
        told(86_400 - 3, 10, 5),
        Arc::new(split),
        // Two hours that were handed on by readings that were dropped.
        told(86_400 + 4 * 3600, 7200, 7200),
    ]);
    let days = place.buckets(Level::Day, EVER, &[total]);
    let values: Vec<_> = days.iter().map(|day| day.values[0]).collect();
    assert_eq!(values, [Some(grown(0.017)), Some(grown(7.203))]);
    let hours = place.buckets(Level::Hour, EVER, &[total]);
    let hours: Vec<_> = hours
        .iter()
        .map(|hour| ((hour.begin.0 - BEGIN) / 3_600_000, hour.values[0]))
        .collect();
    assert_eq!(
        hours,
        [
            (23, Some(grown(0.017))),
            (24, Some(grown(0.003))),
            (26, Some(grown(3.599))),
            (27, Some(grown(3.6))),
            (28, Some(grown(0.001))),
        ]
    );
}

#[test]
fn of_two_accounts_that_cover_the_same_time_the_first_counts() {
    let place = Place::new("UTC");
    let total = Quantity::pv_energy_total;
    let told =
        |seconds, account, amount| counting(&reading(seconds, &[]), account, total, amount, 5);
    // Each account goes on for a minute; the second covers the last half of the first, and half a minute more.
    let first: Vec<_> = (0..12).map(|step| told(step * 5, 1, 10)).collect();
    let second: Vec<_> = (6..18).map(|step| told(step * 5 + 1, 2, 1000)).collect();
    place.write(&first);
    {
        // As an import, so that it is not taken for a second collector that runs; it comes after what is live.
        let mut importer = place.importer();
        importer.add(&second).unwrap();
        importer.finish(&mut |_| ()).unwrap();
    }
    let days = place.buckets(Level::Day, EVER, &[total]);
    // Of the second, what does not lie within the 55 s that the first has covered.
    assert_eq!(days[0].values, [Some(grown(6.12))]);
    assert_eq!(place.readings(), 24);
    // What is live counts before what was imported, also where it comes later.
    let third: Vec<_> = (14..18).map(|step| told(step * 5, 1, 10)).collect();
    place.write(&third);
    let days = place.buckets(Level::Day, EVER, &[total]);
    assert_eq!(days[0].values, [Some(grown(1.16))]);
}

#[test]
fn a_second_collector_that_writes_the_same_inverter_is_told_so() {
    let place = Place::new("UTC");
    let total = Quantity::pv_energy_total;
    let told = |seconds, account| counting(&reading(seconds, &[]), account, total, 1, 5);
    // What has gone on alone before it was opened is no rival: a state folder that was lost, a demonstration.
    place.write(&[told(-100, 3)]);
    let (mut one, mut other) = (place.store(), place.store());
    one.deliver(&[told(0, 1)]).unwrap();
    let error = other.deliver(&[told(1, 2)]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("another collector writes readings of roof into "),
        "{error}"
    );
    one.deliver(&[told(5, 1)]).unwrap();
    assert!(other.deliver(&[told(6, 2)]).is_err());
    // Another inverter is none of its business.
    let barn = Reading {
        inverter: Inverter::named("barn"),
        ..Reading::clone(&told(6, 2))
    };
    other.deliver(&[Arc::new(barn)]).unwrap();
}

#[test]
fn readings_of_a_wrong_clock_are_set_apart_and_can_be_put_right_or_taken_out() {
    const YEARS: i64 = 10 * 365 * 86_400;
    let place = Place::new("UTC");
    let total = Quantity::pv_energy_total;
    // No two are the same, wherever they are moved.
    let told = |seconds: i64| {
        let shown = reading(seconds, &[(Quantity::load_power, seconds % 9973)]);
        counting(&shown, 1, total, 10, 5)
    };
    let run = |from: i64| {
        (0..10)
            .map(move |step| told(from + step * 5))
            .collect::<Vec<_>>()
    };
    let mut store = place.store();
    for readings in [run(0), run(YEARS), run(1000)] {
        for reading in readings {
            store.deliver(&[reading]).unwrap();
        }
    }
    store.close().unwrap();
    let sum = |place: &Place| {
        let days = place.buckets(Level::Day, EVER, &[total]);
        assert!(days.iter().all(|day| day.begin.0 == BEGIN), "{days:?}");
        days[0].values[0]
    };
    assert_eq!(sum(&place), Some(grown(0.2)));
    let history = place.history();
    let apart = history.set_apart("roof", &[total]).unwrap().unwrap();
    assert_eq!((apart.readings, apart.counted), (10, vec![Some(0.1)]));
    assert_eq!(apart.first.0, BEGIN + YEARS * 1000);
    assert_eq!(place.readings(), 30);

    let file = place.path();
    let mut repair = Repair::open(&file).unwrap();
    let found = repair.find().unwrap();
    assert_eq!((found.len(), found[0].readings), (1, 10));
    // The collector ran on, and these readings came without a pause.
    let came = found[0].came.unwrap();
    assert!(
        (BEGIN + 990_000..=BEGIN + 1_000_000).contains(&came.0),
        "{came}"
    );
    repair.put_right(&found[0], came, &mut |_| ()).unwrap();
    assert_eq!(repair.find().unwrap(), []);
    drop(repair);
    assert_eq!(place.history().set_apart("roof", &[total]).unwrap(), None);
    assert_eq!(sum(&place), Some(grown(0.3)));
    assert_eq!(place.readings(), 30);

    // The same after a restart: nobody knows how long that took, so they are taken out.
    let mut store = place.store();
    for reading in run(2 * YEARS) {
        store.deliver(&[reading]).unwrap();
    }
    store.close().unwrap();
    let mut store = place.store();
    for reading in run(2000) {
        store.deliver(&[reading]).unwrap();
    }
    store.close().unwrap();
    let mut repair = Repair::open(&file).unwrap();
    let found = repair.find().unwrap();
    assert_eq!((found.len(), found[0].came), (1, None));
    let mut taken = 0;
    repair
        .take_out::<HistoryError>(&found[0], &mut |readings| {
            taken += readings.len();
            Ok(())
        })
        .unwrap();
    drop(repair);
    assert_eq!((taken, place.readings()), (10, 40));
    assert_eq!(sum(&place), Some(grown(0.4)));
}

#[test]
fn a_day_ends_at_midnight_in_the_collectors_zone() {
    let place = Place::new("Asia/Kathmandu");
    let load = Quantity::load_power;
    // Midnight in Kathmandu is at 18:15 UTC.
    let midnight = 18 * 3600 + 15 * 60;
    place.write(&[
        reading(midnight - 3600, &[(load, 1)]),
        reading(midnight - 1, &[(load, 3)]),
        reading(midnight, &[(load, 100)]),
    ]);
    let days = place.buckets(Level::Day, EVER, &[load]);
    let begins: Vec<_> = days
        .iter()
        .map(|day| (day.begin.0 - BEGIN) / 1000)
        .collect();
    assert_eq!(begins, [midnight - 86_400, midnight]);
    assert_eq!(days[0].samples, 2);
    assert_eq!(place.history().zone().iana_name(), Some("Asia/Kathmandu"));
    let of_the_second = UnixMillis(days[0].begin.0 + 1)..UnixMillis(days[1].begin.0 + 1);
    assert_eq!(place.buckets(Level::Day, of_the_second, &[load]), days[1..]);
}

#[test]
fn a_mode_has_no_aggregate_and_an_unknown_inverter_is_named() {
    let place = Place::new("UTC");
    place.write(&kstar_sink::testing::readings("roof", 3));
    let quantities = [
        Quantity::battery_mode,
        Quantity::errors,
        Quantity::error_bits,
    ];
    let buckets = place.buckets(Level::Day, EVER, &quantities);
    assert_eq!(buckets[0].values, [None, None, None]);
    let error = place
        .history()
        .readings("barn", EVER, &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(matches!(error, HistoryError::UnknownInverter { .. }));
    assert!(
        error
            .to_string()
            .ends_with("knows no inverter `barn`, only: roof"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_there_or_no_history_is_said() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("history.db");
    let reason = |path: &std::path::Path| match History::open(path) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert!(
        reason(&path).starts_with("there is no history at "),
        "{}",
        reason(&path)
    );
    assert!(!path.exists());
    std::fs::write(&path, "Dear Sir or Madam, ".repeat(100)).unwrap();
    assert!(
        reason(&path).contains("is no SQLite database"),
        "{}",
        reason(&path)
    );
}
