//! Makes a history of many years, as a collector would have written it, and measures it.
//!
//! `cargo run --release -p kstar-history --example many_years -- FILE [YEARS [DAYS]]`; a file that is there is only
//! measured.
//!
//! What retention has left of the years before the last 400 days is their sums; so their samples are a minute apart,
//! which makes the same rows in a twelfth of the time. The last DAYS (400 where nothing is said) have all their samples,
//! 5 s apart.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a tool for developers, which ends where its surroundings break"
)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kstar_history::{History, Importer, Level, Retention, Settings};
use kstar_model::TimeZone;
use kstar_model::catalogue::{Quantity, Role, Values};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::scalar::Kind;
use kstar_model::time::UnixMillis;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// 2026-11-22T00:00:00Z, where the history ends.
const END: i64 = 1_795_305_600_000;

/// An inverter as far as sizes go: each number as large as a real one and never quite the same.
struct Machine {
    inverter: Arc<Inverter>,
    random: fastrand::Rng,
    total: i64,
    midnight: i64,
    day: i64,
}

impl Machine {
    fn reading(&mut self, time: i64) -> Arc<Reading> {
        let is_light = (6..18).contains(&(time % DAY / 3_600_000));
        if time / DAY != self.day {
            (self.day, self.midnight) = (time / DAY, self.total);
        }
        self.total += self.random.i64(0..8);
        let mut values = Values::default();
        for quantity in Quantity::ALL {
            let description = quantity.description();
            let scale = 10_i64.pow(description.decimals.into());
            let raw = match (description.kind, description.unit) {
                // A KSE does not send these.
                _ if [
                    "soh",
                    "limit",
                    "diagnostics",
                    "clock",
                    "battery_temperature",
                ]
                .iter()
                .any(|absent| quantity.name().contains(absent)) =>
                {
                    continue;
                }
                (Kind::Measurement, "V") => scale * 230 + self.random.i64(0..300),
                (Kind::Measurement, "W") if is_light => self.random.i64(-4000..4000) * scale,
                (Kind::Measurement, "A") if is_light => self.random.i64(0..150),
                (Kind::Measurement, "Hz") => scale * 50 + self.random.i64(-10..10),
                (Kind::Measurement, "A" | "W") | (Kind::Flags(_) | Kind::Bits | Kind::Clock, _) => {
                    0
                }
                (Kind::Measurement, _) => scale * 40 + self.random.i64(0..50),
                (Kind::Counter, "h") => 30_000 + time / 3_600_000 % 90_000,
                // In watt-hours, and as coarse as the counter is.
                (Kind::Counter, _) => {
                    let counted = match description.role {
                        Role::Today { .. } => self.total - self.midnight,
                        _ => self.total,
                    };
                    counted * scale / 1000
                }
                (Kind::Mode(_), _) => 2,
            };
            values.set_raw(*quantity, Some(raw));
        }
        values.derive();
        Arc::new(Reading {
            time: UnixMillis(time + self.random.i64(0..40)),
            inverter: Arc::clone(&self.inverter),
            values,
            counted: None,
        })
    }
}

fn importer(path: &Path) -> Importer {
    let settings = Settings::new(TimeZone::UTC, Duration::from_secs(5));
    Importer::open(path.to_owned(), &settings, Retention::default(), None).unwrap()
}

/// The median time that one reading in a transaction of its own takes.
fn one_by_one(path: &Path, machine: &mut Machine, begin: i64) -> Duration {
    let mut importer = importer(path);
    let mut took: Vec<Duration> = (0..3000)
        .map(|number| {
            let reading = machine.reading(begin + number * 5000);
            let begin = Instant::now();
            importer.add(&[reading]).unwrap();
            begin.elapsed()
        })
        .collect();
    took.sort();
    took[took.len() / 2]
}

/// How long it takes to ask for all buckets of a level in a span.
fn asked(path: &Path, level: Level, days: i64) {
    let begin = Instant::now();
    let span = UnixMillis(END - days * DAY)..UnixMillis(END);
    let quantities: Vec<Quantity> = Quantity::ALL.to_vec();
    let mut count = 0;
    History::open(path)
        .unwrap()
        .buckets("roof", level, span, &quantities, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    let took = begin.elapsed();
    println!("{count} buckets {level:?} of all quantities in {days} days: {took:.1?}");
}

fn write(path: &Path, machine: &mut Machine, years: i64, kept: i64) {
    let begin = Instant::now();
    let (mut time, mut count) = (END - years * 365 * DAY, 0_u64);
    while time < END {
        let mut importer = importer(path);
        let month = END.min(time + 30 * DAY);
        while time < month {
            let interval = if time < END - kept * DAY {
                60_000
            } else {
                5000
            };
            let readings: Vec<_> = (0..1440)
                .map(|number| machine.reading(time + number * interval))
                .collect();
            time += 1440 * interval;
            count += 1440;
            importer.add(&readings).unwrap();
        }
        importer.finish(&mut |_| ()).unwrap();
        eprintln!("{} days left", (END - time) / DAY);
    }
    println!("{count} readings written in {:.0?}", begin.elapsed());
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().unwrap());
    let years: i64 = arguments.next().map_or(10, |years| years.parse().unwrap());
    let kept: i64 = arguments.next().map_or(400, |days| days.parse().unwrap());
    let mut machine = Machine {
        inverter: Inverter::named("roof"),
        random: fastrand::Rng::with_seed(1),
        total: 12_000_000,
        midnight: 0,
        day: 0,
    };
    if !path.exists() {
        write(&path, &mut machine, years, kept);
    }
    println!("{} bytes", std::fs::metadata(&path).unwrap().len());
    asked(&path, Level::FiveMinutes, 1);
    asked(&path, Level::Hour, 30);
    asked(&path, Level::Day, years * 365);
    let empty = path.with_extension("empty.db");
    let first = one_by_one(&empty, &mut machine, END);
    std::fs::remove_file(&empty).unwrap();
    println!("a reading into an empty file: {first:.1?} (median of 3000)");
    let last = History::open(&path).unwrap().inverters().unwrap()[0]
        .last
        .unwrap()
        .0;
    let last = one_by_one(&path, &mut machine, last + 5000);
    println!("a reading into that file: {last:.1?} (median of 3000)");
}
