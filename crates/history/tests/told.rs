//! What an inverter tells itself, beside one of which it is computed.

#![expect(
    clippy::unwrap_used,
    reason = "a test may end where its surroundings break"
)]

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kstar_history::{Aggregate, History, Level, Retention, Settings, Store};
use kstar_model::TimeZone;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_sink::testing::kse_reading;
use rusqlite::Connection;
use tempfile::TempDir;

/// 2026-11-22T00:00:00Z.
const BEGIN: i64 = 1_795_305_600_000;

const EVER: Range<UnixMillis> = UnixMillis(i64::MIN)..UnixMillis(i64::MAX);

/// What a three-phase hybrid with four strings and two batteries tells.
const HYBRID: &[(Quantity, i64)] = &[
    (Quantity::pv1_voltage, 4000),
    (Quantity::pv1_current, 50),
    // 2000 W by voltage and current.
    (Quantity::pv1_power, 198_700),
    (Quantity::pv2_voltage, 3900),
    (Quantity::pv2_current, 40),
    (Quantity::pv2_power, 155_000),
    (Quantity::pv3_power, 120_000),
    (Quantity::pv4_power, 80_000),
    // All four.
    (Quantity::pv_power, 553_700),
    (Quantity::battery_voltage, 2000),
    (Quantity::battery_current, -100),
    // Both batteries, and not the voltage times the current of one.
    (Quantity::battery_power, -310_000),
    (Quantity::battery2_voltage, 2000),
    (Quantity::battery2_current, -55),
    (Quantity::battery2_power, -110_500),
    (Quantity::grid_power, -1500),
    (Quantity::grid_l1_power, -700),
    (Quantity::grid_l2_power, -500),
    (Quantity::grid_l3_power, -300),
    (Quantity::inverter_pv_energy_total, 12_345),
];

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("history.db")
    }

    fn write(&self, readings: &[Arc<Reading>]) {
        let settings = Settings::new(TimeZone::UTC, Duration::from_secs(5));
        let patience = Duration::from_secs(4);
        let mut store =
            Store::open(&self.path(), patience, settings, Retention::default()).unwrap();
        for batch in readings.chunks(100) {
            store.deliver(batch).unwrap();
        }
        store.close().unwrap();
    }

    fn readings(&self, inverter: &str) -> Vec<Arc<Reading>> {
        let mut readings = Vec::new();
        let mut each = |reading| {
            readings.push(Arc::new(reading));
            ControlFlow::Continue(())
        };
        let history = History::open(&self.path()).unwrap();
        history.readings(inverter, EVER, &mut each).unwrap();
        readings
    }

    fn one<T: rusqlite::types::FromSql>(&self, query: &str) -> T {
        let other = Connection::open(self.path()).unwrap();
        other.query_row(query, [], |row| row.get(0)).unwrap()
    }

    fn columns(&self, table: &str) -> BTreeSet<String> {
        let other = Connection::open(self.path()).unwrap();
        let mut columns = other
            .prepare("SELECT name FROM pragma_table_info(?)")
            .unwrap();
        let names = columns.query_map([table], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    }

    fn means(&self, inverter: &str, level: Level, quantities: &[Quantity]) -> Vec<Option<f64>> {
        let mut means = Vec::new();
        let mut each = |bucket: &kstar_history::Bucket| {
            means = bucket
                .values
                .iter()
                .map(|value| match value {
                    Some(Aggregate::Measured { mean, min, max }) => {
                        assert_eq!((min, max), (mean, mean));
                        Some(*mean)
                    }
                    _ => None,
                })
                .collect();
            ControlFlow::Break(())
        };
        let history = History::open(&self.path()).unwrap();
        history
            .buckets(inverter, level, EVER, quantities, &mut each)
            .unwrap();
        means
    }
}

fn hybrid(time: i64, told: &[(Quantity, i64)]) -> Arc<Reading> {
    let mut values = Values::default();
    for (quantity, raw) in told {
        values.set_raw(*quantity, Some(*raw));
    }
    values.derive();
    Arc::new(Reading {
        time: UnixMillis(time),
        inverter: Inverter::named("hybrid"),
        values,
        counted: None,
    })
}

/// Two hours of a KSE and a hybrid, poll by poll.
fn both() -> [Vec<Arc<Reading>>; 2] {
    let times = || (BEGIN..BEGIN + 7_200_000).step_by(60_000);
    [
        times().map(|time| kse_reading("kse", time)).collect(),
        times().map(|time| hybrid(time, HYBRID)).collect(),
    ]
}

fn written(readings: &[Vec<Arc<Reading>>; 2]) -> Place {
    let [kse, hybrid] = readings;
    let place = Place::new();
    let in_turn = kse.iter().zip(hybrid).flat_map(|(a, b)| [a, b]);
    place.write(&in_turn.cloned().collect::<Vec<_>>());
    place
}

#[test]
fn both_come_back_as_they_were_told() {
    let readings = both();
    let place = written(&readings);
    let [kse, hybrid] = &readings;
    assert_eq!(place.readings("kse"), *kse);
    assert_eq!(place.readings("hybrid"), *hybrid);
    // Once more, as after a delivery whose answer was lost.
    place.write(hybrid);
    assert_eq!(place.readings("hybrid"), *hybrid);
}

#[test]
fn the_view_shows_what_was_told_and_computes_the_rest() {
    let place = written(&both());
    let shown = |column: &str| -> f64 {
        place.one(&format!(
            "SELECT {column} + 0.0 FROM readings WHERE inverter = 'hybrid' ORDER BY time LIMIT 1"
        ))
    };
    for (column, watts) in [
        ("pv1_power", 1987.0),
        ("pv4_power", 800.0),
        ("pv_power", 5537.0),
        ("battery_power", -3100.0),
        ("battery_discharge_power", 3100.0),
        ("battery2_power", -1105.0),
        ("grid_export_power", 1500.0),
    ] {
        assert!((shown(column) - watts).abs() < 1e-9, "{column}");
    }
    let computed: i64 = place.one(
        "SELECT count(*) FROM readings WHERE inverter = 'kse'
         AND abs(battery_power - battery_voltage * battery_current) < 1e-6
         AND abs(pv_power - pv1_voltage * pv1_current - pv2_voltage * pv2_current) < 1e-6",
    );
    assert_eq!(computed, 120);
}

#[test]
fn sums_are_over_what_was_told() {
    let place = written(&both());
    let quantities = [
        Quantity::pv1_power,
        Quantity::pv_power,
        Quantity::battery_power,
        Quantity::battery_discharge_power,
        Quantity::battery2_power,
        Quantity::grid_l1_power,
        Quantity::pv3_voltage,
    ];
    let expected = [
        Some(1987.0),
        Some(5537.0),
        Some(-3100.0),
        Some(3100.0),
        Some(-1105.0),
        Some(-700.0),
        None,
    ];
    for level in [Level::FiveMinutes, Level::Hour, Level::Day] {
        assert_eq!(place.means("hybrid", level, &quantities), expected);
    }
    let mean: f64 = place.one(
        "SELECT pv_power_mean FROM readings_hour WHERE inverter = 'hybrid' ORDER BY time LIMIT 1",
    );
    assert!((mean - 5537.0).abs() < 1e-9, "{mean}");
    let none: Option<f64> =
        place.one("SELECT max(grid_l1_power_mean) FROM readings_hour WHERE inverter = 'kse'");
    assert_eq!(none, None);
}

#[test]
fn a_kse_has_no_columns_of_what_only_others_send() {
    let readings = both();
    let beside = written(&readings);
    let alone = Place::new();
    alone.write(&readings[0]);
    let sample: BTreeSet<String> = Quantity::ALL
        .iter()
        .filter(|quantity| {
            let is_total = matches!(
                quantity.description().group,
                kstar_model::catalogue::Group::Meter
            ) && quantity.name().ends_with("_total");
            readings[0][0].values.raw(**quantity).is_some()
                && quantity.description().derivation.is_none()
                && !is_total
        })
        .map(|quantity| quantity.name().to_owned())
        .chain(["time".to_owned()])
        .collect();
    assert_eq!(alone.columns("sample_1"), sample);
    for table in ["sample_1", "bucket_5min_1", "bucket_hour_1", "bucket_day_1"] {
        let columns = alone.columns(table);
        assert_eq!(beside.columns(table), columns, "{table}");
        let foreign = [
            "_l1_",
            "_l2_",
            "_l3_",
            "pv3_",
            "pv4_",
            "battery2_",
            "inverter_pv_",
        ];
        assert!(
            !columns
                .iter()
                .any(|column| foreign.iter().any(|part| column.contains(part))),
            "{table}: {columns:?}"
        );
    }
}

#[test]
fn an_inverter_that_begins_to_tell_changes_nothing_of_before() {
    let place = Place::new();
    let computed = [
        (Quantity::pv1_voltage, 4000),
        (Quantity::pv1_current, 50),
        (Quantity::pv2_voltage, 3900),
        (Quantity::pv2_current, 0),
    ];
    let mut readings: Vec<_> = (0..20)
        .map(|minute| hybrid(BEGIN + minute * 60_000, &computed))
        .collect();
    place.write(&readings);
    assert!(!place.columns("sample_1").contains("pv1_power"));
    let more: Vec<_> = (20..40)
        .map(|minute| hybrid(BEGIN + minute * 60_000, HYBRID))
        .collect();
    place.write(&more);
    readings.extend(more);
    assert_eq!(place.readings("hybrid"), readings);
    // The same values but for what was told: another reading.
    let other = hybrid(
        BEGIN,
        &[&computed[..], &[(Quantity::pv1_power, 1)]].concat(),
    );
    place.write(std::slice::from_ref(&other));
    assert_eq!(place.readings("hybrid")[1].values, other.values);
    let mean: Option<f64> = place.means("hybrid", Level::FiveMinutes, &[Quantity::pv3_power])[0];
    assert_eq!(mean, None);
}
