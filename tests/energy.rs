//! The energies of a history are what the meter has counted, whatever happens to clocks, counters, rows and the program.
//!
//! Each story is a collector's life: polls of a house whose powers jump, while the clock steps, drifts, freezes and is put
//! right, the program is stopped and killed, counters are set, inverters exchanged, the history away for a while, readings
//! dropped, delivered late and delivered again. At the end `kstar report` says what was metered, less what a kill has lost.
//! `KSTAR_TEST_STORIES=0..1000000` tells those, `KSTAR_TEST_STORIES=7..8` the seventh alone.

#![cfg(all(feature = "history", feature = "sqlite"))]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what helps a test may panic like the test itself"
)]

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kstar_engine::pipeline::ledger::Account;
use kstar_engine::pipeline::meter::counters::Flow;
use kstar_engine::pipeline::meter::{Meter, MeterSettings, Metered};
use kstar_history::History;
use kstar_model::TimeZone;
use kstar_model::catalogue::Values;
use kstar_model::counted::MAX_GAP;
use kstar_model::counted::{Counted, power};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_model::units::{Amperes, Volts, Watts};
use kstar_reports::energy::gather::{Question, report};
use kstar_reports::energy::{Flows, Subject};
use kstar_sink::sink::{Batch, Context, Sink, SinkConfig};
use kstar_sink::testing::Waiting;
use kstar_sink_sqlite::SqliteConfig;
use tempfile::TempDir;

/// How many stories are told where nobody asks for more.
const STORIES: u64 = 10_000;

/// 2026-10-24T21:00:00Z: the night in which clocks in Europe are put back.
const BEGIN: i64 = 1_792_875_600_000;

const HOUR: i64 = 3_600_000;

/// How far a clock may be set, in milliseconds.
const STEPS: [i64; 9] = [
    -10 * 365 * 24 * HOUR,
    -50 * HOUR,
    -HOUR,
    -30_000,
    1,
    30_000,
    HOUR,
    50 * HOUR,
    10 * 365 * 24 * HOUR,
];

/// What is summed up plainly, too: powers that are always known and never change their sign.
const PLAIN: [Flow; 2] = [Flow::Pv, Flow::Consumption];

/// An amount of each flow, in thousandths of a kWh.
type Sums = [i64; Flow::ALL.len()];

/// A collector, the house that it reads and the clock that it believes.
struct Story {
    random: Rng,
    folder: TempDir,
    zone: TimeZone,
    /// What outlives the program.
    account: Account,
    meter: Meter,
    sink: Box<dyn Sink>,
    queue: Waiting,
    is_away: bool,
    delivered_last: Vec<Arc<Reading>>,
    /// The time that has really passed.
    real: Duration,
    /// What the clock shows, and how much faster it runs than time.
    wall: f64,
    rate: f64,
    /// The times of readings, of which no two are the same.
    issued: BTreeSet<i64>,
    /// Up to which time powers are known, and which.
    last: Option<(Duration, Values)>,
    /// What was counted, what of it was delivered, and what kills have lost.
    metered: Sums,
    delivered: Sums,
    lost: Sums,
    /// The production and the consumption by a plain sum, in watt-hours.
    plain: [f64; PLAIN.len()],
    /// How many meters that was: each leaves less than a step uncounted.
    meters: u32,
}

fn context(folder: &TempDir, zone: &TimeZone) -> Context {
    Context {
        inverters: Vec::new(),
        poll_interval: Duration::from_secs(5),
        state_dir: folder.path().to_owned(),
        zone: zone.clone(),
        version: "0",
    }
}

fn open(folder: &TempDir, zone: &TimeZone) -> Box<dyn Sink> {
    SqliteConfig::default()
        .open(&context(folder, zone))
        .expect("a history")
}

fn sums(counted: &Counted) -> Sums {
    let all = counted.all();
    Flow::ALL.map(|flow| all.of(flow.total()).unwrap_or(0))
}

fn add(sums: &mut Sums, more: Sums) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let names = ["UTC", "Europe/Berlin", "Asia/Kathmandu"];
        let name = random.choice(names).unwrap_or("UTC");
        let zone = kstar_common::zone::named(name).expect("a zone");
        let folder = TempDir::new().expect("a folder");
        let mut account = Account::default();
        account.complete();
        let settings = MeterSettings {
            zone: zone.clone(),
            max_gap: MAX_GAP,
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of this century are exact"
        )]
        let wall = (BEGIN + random.i64(0..6 * HOUR)) as f64;
        let capacity = NonZeroUsize::new(random.usize(1..6)).expect("not zero");
        Self {
            sink: open(&folder, &zone),
            meter: Meter::new(settings, account.current.meter.clone()),
            queue: Waiting::new(capacity),
            random,
            folder,
            zone,
            account,
            is_away: false,
            delivered_last: Vec::new(),
            real: Duration::ZERO,
            wall,
            rate: 1.0,
            issued: BTreeSet::new(),
            last: None,
            metered: Sums::default(),
            delivered: Sums::default(),
            lost: Sums::default(),
            plain: [0.0; PLAIN.len()],
            meters: 1,
        }
    }

    /// A meter that goes on from what the account remembers: after a restart, or for another inverter.
    fn begin_meter(&mut self) {
        let settings = MeterSettings {
            zone: self.zone.clone(),
            max_gap: MAX_GAP,
        };
        self.meter = Meter::new(settings, self.account.current.meter.clone());
        self.last = None;
        self.meters += 1;
    }

    fn pass(&mut self, millis: u64) {
        self.real += Duration::from_millis(millis);
        #[expect(clippy::cast_precision_loss, reason = "a few minutes are exact")]
        let shown = millis as f64 * self.rate;
        self.wall += shown;
    }

    fn poll(&mut self) {
        let pause = match self.random.u8(..20) {
            0 => self.random.u64(50_000..70_000),
            1 => self.random.u64(70_000..4_000_000),
            _ => self.random.u64(900..6000),
        };
        self.pass(pause);
        let random = &mut self.random;
        let mut values = Values {
            pv1_voltage: Some(Volts::new(random.i32(0..4000))),
            pv1_current: Some(Amperes::new(random.i32(0..90))),
            pv2_voltage: Some(Volts::new(0)),
            pv2_current: Some(Amperes::new(0)),
            battery_voltage: Some(Volts::new(500)),
            battery_current: Some(Amperes::new(random.i32(-800..800))),
            grid_power: (random.u8(..9) > 0).then(|| Watts::new(random.i32(-5000..5000))),
            load_power: Some(Watts::new(random.i32(0..6000))),
            backup_power: Some(Watts::new(random.i32(0..300))),
            ..Values::default()
        };
        values.derive();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "milliseconds of some centuries"
        )]
        let mut time = self.wall as i64;
        while !self.issued.insert(time) {
            time += 1;
        }
        let Metered {
            covers,
            amounts,
            earlier,
        } = self.meter.count(self.real, Some(UnixMillis(time)), &values);
        self.account.current.meter.clone_from(self.meter.counters());
        self.account.sequence += 1;
        let counted = Counted {
            account: self.account.id,
            sequence: self.account.sequence,
            covers,
            amounts,
            earlier,
        };
        self.count_plainly(&values);
        add(&mut self.metered, sums(&counted));
        self.meter.counters().show(true, &mut values);
        self.queue.push(Arc::new(Reading {
            time: UnixMillis(time),
            inverter: Inverter::named("roof"),
            values,
            counted: Some(counted),
        }));
    }

    /// The same from the definition: power runs straight from one reading to the next, if that is not too far away.
    fn count_plainly(&mut self, values: &Values) {
        let known = self.last.replace((self.real, values.clone()));
        let Some((at, before)) = known else {
            return;
        };
        let passed = self.real.saturating_sub(at);
        if passed > MAX_GAP {
            return;
        }
        let hours = passed.as_secs_f64() / 3600.0;
        for (flow, sum) in PLAIN.into_iter().zip(&mut self.plain) {
            let watts = |values| power(flow.total(), values).expect("always known");
            #[expect(clippy::cast_precision_loss, reason = "some kilowatts")]
            let mean = (watts(&before) + watts(values)) as f64 / 200.0;
            *sum += mean * hours;
        }
    }

    async fn deliver(&mut self) {
        if self.is_away {
            // It was tried and has failed, which keeps what was tried.
            if self.random.bool() && !self.queue.borrow(self.random.usize(1..4)).is_empty() {
                self.queue.settle(false);
            }
            return;
        }
        loop {
            let mut batch = self.queue.borrow(self.random.usize(1..5));
            if batch.is_empty() {
                return;
            }
            for reading in &batch {
                add(
                    &mut self.delivered,
                    sums(reading.counted.as_ref().expect("counted")),
                );
            }
            if self.random.u8(..5) == 0 {
                self.random.shuffle(&mut batch);
            }
            self.sink.deliver(&Batch::new(&batch)).await.expect("room");
            self.queue.settle(true);
            if self.random.u8(..4) == 0 {
                // The answer was lost, and it is delivered again.
                self.sink.deliver(&Batch::new(&batch)).await.expect("room");
            }
            self.delivered_last = batch;
        }
    }

    async fn step(&mut self) {
        match self.random.u8(..40) {
            0..3 => {
                let step = self.random.choice(STEPS).unwrap_or(1);
                #[expect(clippy::cast_precision_loss, reason = "some years")]
                let step = step as f64;
                self.wall += step;
            }
            3 => self.rate = self.random.choice([0.0, 0.5, 1.0, 2.0]).unwrap_or(1.0),
            4..6 => {
                #[expect(clippy::cast_precision_loss, reason = "some years")]
                let right = BEGIN as f64 + self.real.as_secs_f64() * 1000.0;
                (self.wall, self.rate) = (right, 1.0);
            }
            6 => {
                self.is_away = false;
                self.deliver().await;
                self.restart(true).await;
            }
            7 => {
                // What was counted and is not delivered is lost.
                self.restart(false).await;
                let counted = self.metered.iter().zip(self.delivered);
                for (lost, (metered, delivered)) in self.lost.iter_mut().zip(counted) {
                    *lost = metered - delivered;
                }
            }
            8 => {
                // Somebody sets a counter while the program is stopped.
                self.is_away = false;
                self.deliver().await;
                let flow = self.random.choice(Flow::ALL).unwrap_or(Flow::Pv);
                let to = self.random.u64(0..9_000_000);
                self.account.current.meter.set(flow, to);
                self.restart(true).await;
            }
            9 => {
                let serial = self.random.choice(["A", "B", "C"]).unwrap_or("A");
                if self.account.identify(serial) {
                    self.begin_meter();
                }
            }
            10..12 => self.is_away = !self.is_away,
            12 => {
                let late = self.delivered_last.clone();
                if !late.is_empty() {
                    self.sink.deliver(&Batch::new(&late)).await.expect("room");
                }
            }
            _ => {
                self.poll();
                self.deliver().await;
            }
        }
    }

    async fn restart(&mut self, in_order: bool) {
        let pause = self.random.u64(0..600_000);
        self.pass(pause);
        self.queue = Waiting::new(NonZeroUsize::new(self.random.usize(1..6)).expect("not zero"));
        // Dropped without being closed: what is committed is all that there is.
        let sink = std::mem::replace(&mut self.sink, Box::new(Nowhere));
        if in_order {
            sink.close().await.expect("closed");
        } else {
            drop(sink);
        }
        self.sink = open(&self.folder, &self.zone);
        self.begin_meter();
    }

    async fn end(mut self) {
        self.is_away = false;
        // The last reading takes over what was dropped before it.
        self.poll();
        self.deliver().await;
        let file = self.folder.path().join("history.db");
        let sink = std::mem::replace(&mut self.sink, Box::new(Nowhere));
        sink.close().await.expect("closed");
        let history = History::open(&file).expect("a history");
        let inverters = history.inverters().expect("an inverter");
        let question = Question {
            subject: Subject::Total,
            date: jiff::civil::date(2026, 1, 1),
            inverters: &inverters,
            tariffs: &[],
            now: UnixMillis(BEGIN),
        };
        let report = report(&history, &question)
            .expect("a report")
            .expect("readings");
        let mut told = flows(&report.sum.figures.flows);
        for unknown in &report.unknown {
            add(&mut told, flows(&unknown.flows));
        }
        let mut expected = self.metered;
        for (expected, lost) in expected.iter_mut().zip(self.lost) {
            *expected -= lost;
        }
        assert_eq!(told, expected, "lost: {:?}", self.lost);
        for (flow, plain) in PLAIN.into_iter().zip(self.plain) {
            let mut metered = Flow::ALL.into_iter().zip(self.metered);
            let metered = metered.find(|(known, _)| *known == flow);
            #[expect(clippy::cast_precision_loss, reason = "some kilowatt-hours")]
            let metered = metered.map_or(0, |(_, metered)| metered) as f64;
            assert!(
                (metered - plain).abs() <= f64::from(self.meters) + 1.0,
                "{flow:?}: {metered} Wh were metered, {plain} Wh by a plain sum"
            );
        }
    }
}

/// In the place of a sink that is closed.
struct Nowhere;

#[kstar_sink::async_trait]
impl Sink for Nowhere {
    async fn deliver(&mut self, _: &Batch<'_>) -> Result<(), kstar_sink::sink::DeliveryError> {
        Err(kstar_sink::sink::DeliveryError::unreachable("closed"))
    }

    async fn close(self: Box<Self>) -> Result<(), kstar_sink::sink::DeliveryError> {
        Ok(())
    }
}

/// The energies in the order of [`Flow::ALL`], in thousandths of a kWh.
fn flows(flows: &Flows) -> Sums {
    Flow::ALL.map(|flow| {
        let energy = match flow {
            Flow::Pv => flows.production,
            Flow::GridImport => flows.import,
            Flow::GridExport => flows.export,
            Flow::BatteryCharge => flows.stored,
            Flow::BatteryDischarge => flows.drawn,
            Flow::Consumption => flows.consumption,
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounded, and some kilowatt-hours"
        )]
        let thousandths = (energy.map_or(0.0, |energy| energy.kwh) * 1000.0).round() as i64;
        thousandths
    })
}

fn tell(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut story = Story::new(seed);
        for _ in 0..story.random.usize(5..45) {
            story.step().await;
        }
        story.end().await;
    });
}

/// The stories to tell, by their numbers.
fn stories() -> Range<u64> {
    let Ok(value) = std::env::var("KSTAR_TEST_STORIES") else {
        return 0..STORIES;
    };
    let parsed = value
        .split_once("..")
        .and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    parsed.unwrap_or_else(|| panic!("KSTAR_TEST_STORIES={value} is not like 0..1000"))
}

#[test]
fn a_report_tells_what_was_metered_whatever_happens() {
    let stories = stories();
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for offset in 0..threads as u64 {
            let stories = stories.clone();
            scope.spawn(move || {
                for seed in (stories.start + offset..stories.end).step_by(threads) {
                    assert!(
                        std::panic::catch_unwind(|| tell(seed)).is_ok(),
                        "story {seed} ends badly; KSTAR_TEST_STORIES={seed}..{} tells it alone",
                        seed + 1
                    );
                }
            });
        }
    });
}
