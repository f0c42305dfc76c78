//! Files of an earlier version, and what is in no catalogue.

#![expect(
    clippy::unwrap_used,
    reason = "a test may end where its surroundings break"
)]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kstar_history::{Aggregate, History, Importer, Level, Retention, Settings};
use kstar_model::TimeZone;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use rusqlite::Connection;
use tempfile::TempDir;

/// 2026-11-22T00:00:00Z.
const BEGIN: i64 = 1_795_305_600_000;

struct Place(TempDir);

impl Place {
    fn path(&self) -> PathBuf {
        self.0.path().join("history.db")
    }

    fn importer(&self) -> Importer {
        let settings = Settings::new(TimeZone::UTC, Duration::from_secs(5));
        Importer::open(self.path(), &settings, Retention::default(), None).unwrap()
    }

    fn readings(&self) -> Vec<Arc<Reading>> {
        let mut readings = Vec::new();
        History::open(&self.path())
            .unwrap()
            .readings(
                "roof",
                UnixMillis(0)..UnixMillis(i64::MAX),
                &mut |reading| {
                    readings.push(Arc::new(reading));
                    ControlFlow::Continue(())
                },
            )
            .unwrap();
        readings
    }

    fn count(&self, query: &str) -> i64 {
        let connection = Connection::open(self.path()).unwrap();
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    }
}

fn reading(time: i64, values: &[(Quantity, i64)]) -> Arc<Reading> {
    let mut reading = Reading {
        time: UnixMillis(time),
        inverter: Inverter::named("roof"),
        values: Values::default(),
        counted: None,
    };
    for (quantity, raw) in values {
        reading.values.set_raw(*quantity, Some(*raw));
    }
    reading.values.derive();
    Arc::new(reading)
}

/// A file as the second version made it, as far as energy goes: totals as differences to the counter of the day.
const SECOND_VERSION: &str = "
    CREATE TABLE inverter (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, serial TEXT, model TEXT);
    INSERT INTO inverter (name, serial) VALUES ('roof', 'S1');
    CREATE TABLE setting (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
    INSERT INTO setting VALUES ('zone', 'UTC'), ('longest_gap', 60000);
    CREATE TABLE base (inverter INTEGER NOT NULL, quantity TEXT NOT NULL, since INTEGER NOT NULL, base INTEGER NOT NULL,
      PRIMARY KEY (inverter, quantity, since)) WITHOUT ROWID;
    CREATE TABLE sample_1 (time INTEGER PRIMARY KEY, \"pv1_voltage\" INTEGER, \"pv1_current\" INTEGER,
      \"pv2_voltage\" INTEGER, \"pv2_current\" INTEGER, \"load_power\" INTEGER, \"backup_power\" INTEGER,
      \"pv_energy_today\" INTEGER, \"pv_energy_total\" INTEGER);
    PRAGMA application_id = 0x6b737472;
    PRAGMA user_version = 2;
    PRAGMA journal_mode = WAL;
";

#[test]
fn a_counter_that_was_set_or_overlaps_counts_no_longer_in_a_history_of_the_second_version() {
    let place = Place(TempDir::new().unwrap());
    let old = Connection::open(place.path()).unwrap();
    old.execute_batch(SECOND_VERSION).unwrap();
    let mut insert = old
        .prepare("INSERT INTO sample_1 VALUES (?, 1000, 60, 1000, 60, 700, 20, ?, 0)")
        .unwrap();
    // 1200 W for an hour, a reading each minute: 20 Wh from one to the next.
    let mut write = |minute: i64, today: i64, milliseconds: i64| {
        insert
            .execute([BEGIN + minute * 60_000 + milliseconds, today])
            .unwrap();
    };
    let base = |since: i64, base: i64| {
        old.execute(
            "INSERT INTO base VALUES (1, 'pv_energy_total', ?, ?)",
            [BEGIN + since * 60_000, base],
        )
        .unwrap();
    };
    base(0, 1000);
    // `kstar meter set` to 5000 kWh.
    base(30, 5_000_000);
    for minute in 0..=60 {
        write(minute, minute * 20, 0);
    }
    // Ten minutes of an hour later, by a clock that was behind: they stand between the others.
    for minute in 40..50 {
        write(minute, (minute + 30) * 20, 500);
    }
    drop(insert);
    drop(old);

    let importer = place.importer();
    importer.finish(&mut |_| ()).unwrap();
    let quantities = [
        Quantity::pv_energy_total,
        Quantity::consumption_energy_total,
    ];
    let mut sums = Vec::new();
    History::open(&place.path())
        .unwrap()
        .buckets(
            "roof",
            Level::Day,
            UnixMillis(0)..UnixMillis(i64::MAX),
            &quantities,
            &mut |day| {
                sums.push(day.values.clone());
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    // An hour of 1200 W, and of 720 W: not 5000 kWh, and nothing twice.
    let [
        Some(Aggregate::Counted { grown: pv }),
        Some(Aggregate::Counted { grown: consumption }),
    ] = sums[0][..]
    else {
        panic!("{sums:?}");
    };
    assert!((pv - 1.2).abs() < 0.0015, "{pv}");
    assert!((consumption - 0.72).abs() < 0.0015, "{consumption}");
    assert_eq!(sums.len(), 1);
    // It is done once.
    place.importer().finish(&mut |_| ()).unwrap();
    assert_eq!(place.count("SELECT count(*) FROM recount"), 0);
    let counted = "SELECT sum(pv_energy_total_counted) FROM sample_1";
    assert!((1199..=1201).contains(&place.count(counted)));
}

#[test]
fn what_a_machine_has_told_itself_is_kept_beside_what_follows_from_others() {
    let place = Place(TempDir::new().unwrap());
    let follows = [
        (Quantity::battery_voltage, 500),
        (Quantity::battery_current, -100),
    ];
    let written = [
        reading(BEGIN, &follows),
        reading(BEGIN + 1000, &[(Quantity::pv_power, 123_456)]),
        reading(
            BEGIN + 2000,
            &[follows[0], follows[1], (Quantity::battery_power, -50_007)],
        ),
        reading(BEGIN + 3000, &follows),
    ];
    let mut importer = place.importer();
    assert_eq!(importer.add(&written).unwrap().new, 4);
    assert_eq!(importer.add(&written).unwrap().there, 4);
    importer.finish(&mut |_| ()).unwrap();
    assert!(place.readings() == written);
    let connection = Connection::open(place.path()).unwrap();
    let shown: Vec<(Option<f64>, Option<f64>)> = connection
        .prepare("SELECT pv_power, battery_discharge_power FROM readings ORDER BY time")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        shown,
        [
            (None, Some(500.0)),
            (Some(1234.56), None),
            (None, Some(500.07)),
            (None, Some(500.0))
        ]
    );
}

#[test]
fn totals_are_exact_however_they_and_their_counters_of_the_day_behave() {
    let place = Place(TempDir::new().unwrap());
    let mut random = fastrand::Rng::with_seed(7);
    let (mut today, mut total) = (0, 12_000_000);
    let mut written: Vec<Arc<Reading>> = Vec::new();
    for step in 0..2000 {
        let grown = random.i64(0..50);
        (today, total) = (today + grown, total + grown + random.i64(-1..=1));
        match random.u8(..) {
            0..3 => today = 0,
            3 => total = random.i64(0..1 << 40),
            4 => today = random.i64(0..1 << 40),
            _ => {}
        }
        let mut values = vec![
            (Quantity::pv_energy_today, today),
            (Quantity::pv_energy_total, total),
        ];
        match random.u8(..20) {
            0 => drop(values.remove(0)),
            1 => drop(values.remove(1)),
            _ => {}
        }
        written.push(reading(BEGIN + step * 100_000, &values));
    }
    let mut importer = place.importer();
    // A part of them late, and in another order.
    let (mut late, first): (Vec<_>, Vec<_>) =
        written.iter().cloned().partition(|_| random.u8(..) < 40);
    for batch in first.chunks(100) {
        importer.add(batch).unwrap();
    }
    random.shuffle(&mut late);
    for batch in late.chunks(10) {
        importer.add(batch).unwrap();
    }
    importer.finish(&mut |_| ()).unwrap();
    assert!(place.readings() == written);
}
