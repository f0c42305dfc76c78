//! How much of the disk a year of history takes: readings as a KSE sends them, written one by one.

#![expect(
    clippy::unwrap_used,
    reason = "a test may end where its surroundings break"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_history::{Retention, Settings, Store};
use kstar_model::TimeZone;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::{AccountId, Amounts, Counted};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use tempfile::TempDir;

/// A sunny afternoon of a KSE, which is the most that it has to say: at night half of these are 0 and take no room.
/// Each value with how far it wanders up from there.
const AFTERNOON: &[(Quantity, i64, i64)] = &[
    (Quantity::pv1_voltage, 1500, 300),
    (Quantity::pv1_current, 45, 60),
    (Quantity::pv1_mode, 2, 1),
    (Quantity::pv2_voltage, 1569, 300),
    (Quantity::pv2_current, 66, 60),
    (Quantity::pv2_mode, 2, 1),
    (Quantity::battery_voltage, 507, 20),
    (Quantity::battery_current, -400, 380),
    (Quantity::battery_soc, 40, 50),
    (Quantity::battery_mode, 2, 2),
    (Quantity::bms_errors, 0x100, 1),
    (Quantity::battery_warnings, 0, 1),
    (Quantity::grid_voltage, 2300, 150),
    (Quantity::grid_frequency, 4990, 20),
    (Quantity::grid_power, -4000, 8000),
    (Quantity::grid_direction, 2, 1),
    (Quantity::load_power, 150, 8000),
    (Quantity::backup_voltage, 2300, 100),
    (Quantity::backup_current, 5, 3),
    (Quantity::backup_frequency, 4990, 20),
    (Quantity::backup_power, 0, 400),
    (Quantity::backup_mode, 1, 1),
    (Quantity::inverter_power, 150, 4000),
    (Quantity::inverter_current, 0, 160),
    (Quantity::inverter_temperature, 380, 60),
    (Quantity::inverter_state, 1, 1),
    (Quantity::work_mode, 2, 1),
    (Quantity::errors, 0, 1),
    (Quantity::operating_hours, 30_123, 20),
    (Quantity::reply_time, 40, 200),
];

/// Counters of a machine that has run for some years: what they count today, what in all, where that begins, and by
/// how much they grow from one reading to the next, by chance.
const COUNTERS: &[(Quantity, Quantity, i64, i64)] = &[
    (Quantity::energy_today, Quantity::energy_total, 140_791, 100),
    (
        Quantity::load_energy_today,
        Quantity::load_energy_total,
        190_791,
        100,
    ),
    (
        Quantity::pv_energy_today,
        Quantity::pv_energy_total,
        12_000_000,
        1,
    ),
    (
        Quantity::grid_import_energy_today,
        Quantity::grid_import_energy_total,
        9_000_000,
        1,
    ),
    (
        Quantity::grid_export_energy_today,
        Quantity::grid_export_energy_total,
        5_000_000,
        1,
    ),
    (
        Quantity::battery_charge_energy_today,
        Quantity::battery_charge_energy_total,
        6_000_000,
        1,
    ),
    (
        Quantity::battery_discharge_energy_today,
        Quantity::battery_discharge_energy_total,
        5_000_000,
        1,
    ),
    (
        Quantity::consumption_energy_today,
        Quantity::consumption_energy_total,
        20_000_000,
        1,
    ),
];

const DAY: i64 = 24 * 60 * 60 * 1000;

/// The next number of a fixed sequence, spread over all bits (Knuth's multiplicative generator).
fn next(state: &mut u64) -> i64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    i64::try_from(*state >> 33).unwrap()
}

/// What the counters have counted in finer steps than they show: on the day before, and in all.
type Totals = [(i64, i64); COUNTERS.len()];

fn kse(inverter: &Arc<Inverter>, time: i64, state: &mut u64, totals: &mut Totals) -> Arc<Reading> {
    let mut values = Values::default();
    let mut amounts = Amounts::default();
    amounts.set(Quantity::operating_hours, Some(0));
    for ((today, total, begin, rarely), (before, all)) in COUNTERS.iter().zip(totals) {
        if time % DAY < 5000 {
            *before = *all;
        }
        // Rounded on its own, as machines do.
        let steps = |count: i64| (count + 37) / rarely;
        let grown = -steps(*all);
        *all += next(state) % 10;
        values.set_raw(*today, Some((*all - *before) / rarely));
        values.set_raw(*total, Some(begin + steps(*all)));
        amounts.set(*total, Some(grown + steps(*all)));
    }
    for (quantity, least, range) in AFTERNOON {
        values.set_raw(*quantity, Some(least + next(state) % range));
    }
    values.derive();
    Arc::new(Reading {
        time: UnixMillis(time),
        inverter: Arc::clone(inverter),
        values,
        counted: Some(Counted {
            account: AccountId(i64::MAX / 3),
            sequence: 0,
            covers: Duration::from_secs(5),
            amounts,
            earlier: None,
        }),
    })
}

/// Bytes of the file per reading, and how long a delivery took in the middle.
fn fill(inverters: &[&str], count: usize) -> (f64, Duration) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("history.db");
    let settings = Settings::new(TimeZone::UTC, Duration::from_secs(5));
    let mut store = Store::open(
        &path,
        Duration::from_secs(4),
        settings,
        Retention::default(),
    )
    .unwrap();
    let inverters: Vec<_> = inverters.iter().map(|name| Inverter::named(name)).collect();
    let (mut state, mut time) = (1, 1_795_342_530_123);
    let mut counted: Vec<Totals> = inverters.iter().map(|_| Default::default()).collect();
    let mut took = Vec::with_capacity(count);
    for _ in 0..count / inverters.len() {
        time += 5000;
        for (inverter, counted) in inverters.iter().zip(&mut counted) {
            let reading = kse(inverter, time + next(&mut state) % 30, &mut state, counted);
            let begin = Instant::now();
            store.deliver(&[reading]).unwrap();
            took.push(begin.elapsed());
        }
    }
    store.close().unwrap();
    took.sort();
    let bytes = std::fs::metadata(&path).unwrap().len();
    #[expect(
        clippy::cast_precision_loss,
        reason = "a few megabytes in thousands of rows"
    )]
    let per_reading = bytes as f64 / took.len() as f64;
    (per_reading, took.get(took.len() / 2).copied().unwrap())
}

/// The limit that the design sets.
const LIMIT: f64 = 144.0;

#[test]
fn a_reading_of_one_inverter_takes_little_of_the_disk() {
    let (bytes, delivery) = fill(&["roof"], 20_000);
    println!("{bytes:.1} bytes per reading, {delivery:?} per delivery");
    assert!(bytes <= LIMIT, "{bytes:.1} bytes per reading");
}

#[test]
fn readings_of_several_inverters_take_no_more() {
    let (bytes, delivery) = fill(&["roof", "barn", "shed"], 20_000);
    println!("{bytes:.1} bytes per reading, {delivery:?} per delivery");
    assert!(bytes <= LIMIT, "{bytes:.1} bytes per reading");
}
