//! Whatever happens to a history, its buckets are those that a plain computation from its samples gives.

#![expect(clippy::cast_precision_loss, reason = "test numbers are small")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kstar_model::TimeZone;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::{AccountId, Amounts, Counted, Earlier};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use proptest::prelude::*;
use rusqlite::OpenFlags;
use tempfile::TempDir;

use crate::accounts::Origin;
use crate::database::Database;
use crate::history::{Aggregate, Bucket, History};
use crate::level::Level;
use crate::retention::{KeepFor, Retention};
use crate::settings::Settings;

/// 2026-10-23T00:00:00Z: clocks in Europe are put back on the 25th.
const BEGIN: i64 = 1_792_713_600_000;
const DAY: i64 = 24 * 60 * 60 * 1000;
const FIVE_MINUTES: i64 = 5 * 60 * 1000;
const LONGEST_GAP: i64 = 60_000;
const ZONES: [&str; 4] = ["UTC", "Europe/London", "Asia/Kathmandu", "America/St_Johns"];

/// Two measurements, of which one follows from another quantity, a counter, and what it counts in a day.
const QUANTITIES: [Quantity; 4] = [
    Quantity::load_power,
    Quantity::grid_import_power,
    Quantity::energy_today,
    Quantity::energy_total,
];

/// A reading: load and grid power, what was counted, in so many seconds, and before a midnight so many seconds ago.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    powers: [Option<i64>; 2],
    counted: Option<i64>,
    covers: i64,
    earlier: Option<(i64, i64)>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Readings: from so many seconds after the begin, with so many between two.
    Write(i64, i64, Vec<Told>),
    /// The program ends and starts again, perhaps with another zone.
    Restart(usize),
    /// It is killed, and starts again with what is in the file and its log.
    Kill,
    /// A step of what is left to do.
    Settle,
    /// Samples older than so many days are deleted.
    Retain(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let power = prop_oneof![8 => (-5000..5000_i64).prop_map(Some), 1 => Just(None)];
    let counted = prop_oneof![8 => (0..40_i64).prop_map(Some), 1 => Just(None)];
    let covers = prop_oneof![8 => Just(5), 2 => 0..60_i64, 1 => 61..100_000_i64];
    let earlier = prop_oneof![9 => Just(None), 1 => (0..5_i64, 1..9_i64).prop_map(Some)];
    let values = (power.clone(), power, counted, covers, earlier).prop_map(
        |(load, grid, counted, covers, earlier)| Told {
            powers: [load, grid],
            counted,
            covers,
            earlier: earlier.filter(|_| counted.is_some()),
        },
    );
    let write = (
        // Whole numbers of half minutes, so that times repeat.
        (0..5 * 2880_i64).prop_map(|half| half * 30),
        prop_oneof![Just(5), Just(30), Just(60), Just(61), Just(900)],
        prop::collection::vec(values, 1..60),
    );
    prop_oneof![
        6 => write.prop_map(|(begin, apart, values)| Step::Write(begin, apart, values)),
        1 => (0..ZONES.len()).prop_map(Step::Restart),
        1 => Just(Step::Kill),
        1 => Just(Step::Settle),
        1 => (0..4_u64).prop_map(Step::Retain),
    ]
}

/// What the history should know.
#[derive(Default)]
struct Model {
    samples: BTreeMap<i64, Told>,
    /// Buckets before it are as they were when they were first computed.
    sealed: i64,
    kept: BTreeMap<i64, Sum>,
}

/// A bucket: samples, covered milliseconds, and for each quantity mean, least and most, or growth.
#[derive(Clone, Debug, PartialEq)]
struct Sum {
    samples: u32,
    covered: i64,
    values: [Option<[f64; 3]>; 4],
}

impl Model {
    /// What was counted, and over which time: all of it.
    fn counted(&self) -> Vec<(std::ops::Range<i64>, i64)> {
        let mut all = Vec::new();
        for (time, told) in &self.samples {
            let begin = time - told.covers * 1000;
            let mut since = begin;
            if let Some((ago, amount)) = told.earlier {
                let midnight = time - ago * 1000;
                if amount != 0 {
                    all.push((begin.min(midnight - 1)..midnight, amount));
                }
                since = begin.max(midnight);
            }
            if let Some(amount) = told.counted {
                // Nothing is not spread: it says nothing of other times.
                let spread = amount != 0 && told.covers * 1000 > LONGEST_GAP && since < *time;
                let from = if spread { since + 1 } else { *time };
                all.push((from..time + 1, amount));
            }
        }
        all
    }

    fn five_minutes(&self) -> BTreeMap<i64, Sum> {
        let mut buckets: BTreeMap<i64, Sum> = BTreeMap::new();
        let begins = self.samples.keys().map(|time| time - time % FIVE_MINUTES);
        for begin in begins {
            buckets.entry(begin).or_insert_with(|| self.bucket(begin));
        }
        for (span, amount) in self.counted() {
            let length = span.end - span.start;
            let until =
                |moment: i64| amount * (moment.clamp(span.start, span.end) - span.start) / length;
            let mut begin = span.start - span.start % FIVE_MINUTES;
            while begin < span.end {
                // Where nothing is known of a time, an amount of 0 makes no bucket.
                if amount > 0
                    || self
                        .samples
                        .range(begin..begin + FIVE_MINUTES)
                        .next()
                        .is_some()
                {
                    let share = until(begin + FIVE_MINUTES) - until(begin);
                    let bucket = buckets.entry(begin).or_insert_with(|| self.bucket(begin));
                    let (_, counters) = bucket.values.split_at_mut(2);
                    for counter in counters {
                        // It has one decimal.
                        let before = counter.map_or(0.0, |[grown, ..]| grown);
                        *counter = Some([before + share as f64 / 10.0, 0.0, 0.0]);
                    }
                }
                begin += FIVE_MINUTES;
            }
        }
        for (begin, kept) in self.kept.range(..self.sealed) {
            buckets.insert(*begin, kept.clone());
        }
        buckets
    }

    fn bucket(&self, begin: i64) -> Sum {
        let end = begin + FIVE_MINUTES;
        let samples: Vec<(i64, [Option<i64>; 2])> = self
            .samples
            .iter()
            .map(|(time, told)| {
                let [load, grid] = told.powers;
                (*time, [load, grid.map(|power| power.max(0))])
            })
            .collect();
        let inside: Vec<_> = samples
            .iter()
            .filter(|(time, _)| (begin..end).contains(time))
            .collect();
        let mut covered = 0;
        let mut integrals = [(0.0, 0.0); 2];
        for pair in samples.windows(2) {
            let ((since, from), (time, to)) = (pair[0], pair[1]);
            let (enter, leave) = (since.max(begin), time.min(end));
            if time - since > LONGEST_GAP || enter >= leave {
                continue;
            }
            covered += leave - enter;
            for index in 0..2 {
                if let (Some(from), Some(to)) = (from[index], to[index]) {
                    let slope = (to - from) as f64 / (time - since) as f64;
                    let at = |moment: i64| from as f64 + slope * (moment - since) as f64;
                    let span = (leave - enter) as f64;
                    integrals[index].0 += f64::midpoint(at(enter), at(leave)) * span;
                    integrals[index].1 += span;
                }
            }
        }
        let values = std::array::from_fn(|index| {
            let present: Vec<i64> = inside
                .iter()
                .filter_map(|(_, values)| *values.get(index)?)
                .collect();
            let (least, most) = (*present.iter().min()?, *present.iter().max()?);
            let (integral, known) = integrals[index];
            let mean = if known > 0.0 {
                integral / known
            } else {
                present.iter().sum::<i64>() as f64 / present.len() as f64
            };
            Some([mean, least as f64, most as f64])
        });
        Sum {
            samples: inside.len().try_into().unwrap(),
            covered,
            values,
        }
    }

    /// Longer buckets, by their begin.
    fn longer(&self, level: Level, zone: &TimeZone) -> BTreeMap<i64, Sum> {
        let mut parts: BTreeMap<i64, Vec<Sum>> = BTreeMap::new();
        for (begin, sum) in self.five_minutes() {
            let of = level.around(begin, zone).start;
            parts.entry(of).or_default().push(sum);
        }
        let sum = |parts: Vec<Sum>| {
            let values = std::array::from_fn(|index| {
                let with: Vec<(&Sum, [f64; 3])> = parts
                    .iter()
                    .filter_map(|part| Some((part, part.values[index]?)))
                    .collect();
                if with.is_empty() {
                    return None;
                }
                if index >= 2 {
                    return Some([with.iter().map(|(_, [grown, ..])| grown).sum(), 0.0, 0.0]);
                }
                let covered: i64 = with.iter().map(|(part, _)| part.covered).sum();
                let weight = |part: &Sum| {
                    if covered > 0 {
                        part.covered as f64
                    } else {
                        f64::from(part.samples)
                    }
                };
                let whole: f64 = with.iter().map(|(part, _)| weight(part)).sum();
                let mean = with
                    .iter()
                    .map(|(part, [mean, ..])| mean * weight(part))
                    .sum::<f64>();
                let least = with
                    .iter()
                    .map(|(_, [_, least, _])| *least)
                    .fold(f64::MAX, f64::min);
                let most = with
                    .iter()
                    .map(|(_, [.., most])| *most)
                    .fold(f64::MIN, f64::max);
                Some([mean / whole, least, most])
            });
            Sum {
                samples: parts.iter().map(|part| part.samples).sum(),
                covered: parts.iter().map(|part| part.covered).sum(),
                values,
            }
        };
        parts
            .into_iter()
            .map(|(begin, parts)| (begin, sum(parts)))
            .collect()
    }

    /// What is computed now stays, where samples are gone.
    fn seal(&mut self) {
        for (begin, sum) in self.five_minutes() {
            if begin < self.sealed {
                self.kept.entry(begin).or_insert(sum);
            }
        }
    }

    fn retain(&mut self, days: u64, zone: &TimeZone) {
        let Some((now, _)) = self.samples.iter().next_back() else {
            return;
        };
        let since = Level::Day
            .around(now - i64::try_from(days).unwrap() * DAY, zone)
            .start;
        // The next bucket begins with the last sample before.
        let Some((last, _)) = self.samples.range(..since).next_back() else {
            return;
        };
        let last = *last;
        let left = self.samples.split_off(&last);
        let deleted = std::mem::replace(&mut self.samples, left);
        if !deleted.is_empty() && since > self.sealed {
            // All that was there is summed up before it is deleted.
            let mut before = Self {
                samples: deleted.into_iter().chain(self.samples.clone()).collect(),
                sealed: self.sealed,
                kept: self.kept.clone(),
            };
            let computed = before.five_minutes();
            self.sealed = since;
            before.sealed = since;
            for (begin, sum) in computed.into_iter().filter(|(begin, _)| *begin < since) {
                self.kept.entry(begin).or_insert(sum);
            }
        }
    }
}

struct File {
    folder: TempDir,
    zone: TimeZone,
    database: Option<Database>,
}

impl File {
    fn path(&self) -> PathBuf {
        self.folder.path().join("history.db")
    }

    fn open(&mut self) -> &mut Database {
        let settings = Settings::new(self.zone.clone(), Duration::from_secs(5));
        let path = self.path();
        self.database.get_or_insert_with(|| {
            let create = OpenFlags::SQLITE_OPEN_CREATE;
            let origin = Origin {
                imported: true,
                longest_gap: None,
            };
            Database::open(&path, Duration::from_secs(5), create, &settings, origin)
                .ok()
                .unwrap()
        })
    }

    fn buckets(&self, level: Level) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        let ever = UnixMillis(i64::MIN)..UnixMillis(i64::MAX);
        let history = History::open(&self.path()).unwrap();
        if history.inverters().unwrap().is_empty() {
            return buckets;
        }
        history
            .buckets("roof", level, ever, &QUANTITIES, &mut |bucket| {
                buckets.push(bucket.clone());
                ControlFlow::Continue(())
            })
            .unwrap();
        buckets
    }

    /// Everything that the history says against the model.
    fn check(&self, model: &Model) {
        for level in Level::ALL {
            let expected = model.longer(level, &self.zone);
            let buckets = self.buckets(level);
            let begins: Vec<i64> = buckets.iter().map(|bucket| bucket.begin.0).collect();
            assert_eq!(
                begins,
                expected.keys().copied().collect::<Vec<_>>(),
                "{level:?}"
            );
            for (bucket, expected) in buckets.iter().zip(expected.values()) {
                assert_eq!(
                    bucket.samples, expected.samples,
                    "{level:?} {}",
                    bucket.begin
                );
                assert_eq!(
                    bucket.covered.as_millis(),
                    expected.covered.unsigned_abs().into()
                );
                for (value, expected) in bucket.values.iter().zip(expected.values) {
                    let value = value.map(|value| match value {
                        Aggregate::Measured { mean, min, max } => [mean, min, max],
                        Aggregate::Counted { grown } => [grown, 0.0, 0.0],
                    });
                    // A mean has two decimals more, and is rounded once for each level.
                    let same = match (value, expected) {
                        (Some(value), Some(expected)) => {
                            (value[0] - expected[0]).abs() < 0.016 && value[1..] == expected[1..]
                        }
                        (value, expected) => value == expected,
                    };
                    assert!(
                        same,
                        "{level:?} {}: {value:?}, expected {expected:?}",
                        bucket.begin
                    );
                }
            }
        }
    }
}

fn reading(time: i64, told: Told) -> Arc<Reading> {
    let [load, grid] = told.powers;
    let mut values = Values::default();
    for (quantity, raw) in [(Quantity::load_power, load), (Quantity::grid_power, grid)] {
        values.set_raw(quantity, raw);
    }
    values.derive();
    let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
    let amounts = |amount| {
        let mut amounts = Amounts::default();
        amounts.set(Quantity::energy_total, amount);
        amounts
    };
    Arc::new(Reading {
        time: UnixMillis(time),
        inverter: Inverter::named("roof"),
        values,
        counted: Some(Counted {
            account: AccountId(7),
            sequence: 0,
            covers: seconds(told.covers),
            amounts: amounts(told.counted),
            earlier: told.earlier.map(|(ago, amount)| Earlier {
                ago: seconds(ago),
                amounts: amounts(Some(amount)),
            }),
        }),
    })
}

fn run(steps: Vec<Step>) {
    let mut file = File {
        folder: TempDir::new().unwrap(),
        zone: kstar_common::zone::named(ZONES[0]).unwrap(),
        database: None,
    };
    let mut model = Model {
        sealed: i64::MIN,
        ..Model::default()
    };
    for step in steps {
        match step {
            Step::Write(begin, apart, values) => {
                let times = (0..).map(|number| BEGIN + (begin + number * apart) * 1000);
                let readings: Vec<_> = times
                    .zip(&values)
                    .map(|(time, told)| {
                        // Another reading of the same time is kept beside it.
                        let mut free = time;
                        while model.samples.get(&free).is_some_and(|there| there != told) {
                            free += 1;
                        }
                        model.samples.insert(free, *told);
                        reading(time, *told)
                    })
                    .collect();
                file.open().write(&readings).unwrap();
                file.open().trust_newest(UnixMillis(i64::MAX - 1)).unwrap();
                // Where samples are gone, what is computed first counts: it is computed at once here.
                while model.sealed > i64::MIN && file.open().settle_some().unwrap() {}
                model.seal();
            }
            Step::Restart(zone) => {
                file.database = None;
                file.zone = kstar_common::zone::named(ZONES[zone]).unwrap();
                file.open();
            }
            Step::Kill => {
                file.open();
                let left = TempDir::new().unwrap();
                for name in ["history.db", "history.db-wal"] {
                    std::fs::copy(file.folder.path().join(name), left.path().join(name)).unwrap();
                }
                file.database = None;
                file.folder = left;
            }
            Step::Settle => {
                file.open().settle_some().unwrap();
            }
            Step::Retain(days) => {
                while file.open().settle_some().unwrap() {}
                let retention = Retention {
                    samples: KeepFor::Span(Duration::from_secs(days * 86_400)),
                    ..Retention::default()
                };
                while file.open().delete_some(&retention).unwrap() {}
                model.retain(days, &file.zone);
            }
        }
        file.open();
        file.check(&model);
    }
    while file.open().settle_some().unwrap() {}
    file.check(&model);
}

#[test]
fn sums_outlive_what_they_are_made_of() {
    let mut file = File {
        folder: TempDir::new().unwrap(),
        zone: kstar_common::zone::named("Europe/London").unwrap(),
        database: None,
    };
    let told = |load, grid, counted| Told {
        powers: [Some(load), Some(grid)],
        counted: Some(counted),
        covers: 600,
        earlier: None,
    };
    let readings: Vec<_> = (0..6 * 144)
        .map(|step| reading(BEGIN + step * 600_000, told(step, -step, step % 144)))
        .collect();
    file.open().write(&readings).unwrap();
    file.open().trust_newest(UnixMillis(i64::MAX - 1)).unwrap();
    while file.open().settle_some().unwrap() {}
    let [five_minutes, hours, days] = Level::ALL.map(|level| file.buckets(level));
    let day = KeepFor::Span(Duration::from_secs(86_400));
    let retention = Retention {
        samples: day,
        five_minutes: KeepFor::Span(Duration::from_secs(3 * 86_400)),
        ..Retention::default()
    };
    while file.open().delete_some(&retention).unwrap() {}
    let left = file.buckets(Level::FiveMinutes);
    assert!(
        left.len() < five_minutes.len()
            && left[..] == five_minutes[five_minutes.len() - left.len()..]
    );
    // Late samples, where samples are gone and where five minutes are gone as well.
    for late in [BEGIN + 3 * DAY + 1000, BEGIN + 1000] {
        file.open()
            .write(&[reading(
                late,
                Told {
                    covers: 5,
                    ..told(9999, 9999, 0)
                },
            )])
            .unwrap();
        while file.open().settle_some().unwrap() {}
    }
    assert!(file.buckets(Level::Hour) == hours);
    assert!(file.buckets(Level::Day) == days);
    // Another zone moves the days that can be moved, and loses no energy.
    file.database = None;
    file.zone = kstar_common::zone::named("Asia/Kathmandu").unwrap();
    while file.open().settle_some().unwrap() {}
    let grown = |buckets: &[Bucket]| -> f64 {
        let grown = buckets.iter().filter_map(|bucket| match bucket.values[3] {
            Some(Aggregate::Counted { grown }) => Some(grown),
            _ => None,
        });
        grown.sum()
    };
    let moved = file.buckets(Level::Day);
    assert!(moved != days);
    assert!((grown(&moved) - grown(&days)).abs() < 1e-6, "{moved:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn buckets_are_those_of_the_samples_whatever_happens(
        steps in prop::collection::vec(step(), 1..12),
    ) {
        run(steps);
    }
}
