//! The past of a demonstration: what a collector would have kept of the inverter in 13 months, as far as it is needed to
//! show them. The inverter's own model tells the figures and the family's decoder reads them; the older they are, the
//! further apart the readings, so that all of it takes a second or two.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time, time};
use jiff::{Timestamp, ToSpan as _, Zoned};
use kstar_engine::pipeline::ledger::{Account, Accounts};
use kstar_history::Importer;
use kstar_model::catalogue::Quantity;
use kstar_model::counted::longest_gap;
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_sink::sink::Context;

use super::machine::{Machine, Told};
use crate::cli::shared::counting::Counting;
use crate::cli::shared::failure::Failure;
use crate::cli::shared::progress::Progress;
use crate::cli::shared::stored::no_history;
use crate::config::Config;
use crate::run::plans;

const MONTHS: i64 = 13;

/// How far readings are apart, in seconds, up to so many days ago.
const SPACINGS: [(u64, u32); 2] = [(1, 60), (14, 300)];

/// The same for all that is older.
const COARSEST: u32 = 900;

/// Readings of a coarser spacing come at any time within it: a household begins things with the quarter of an hour.
const EVEN: u32 = 60;

/// How many days of readings may wait to be written.
const DAYS_WAITING: usize = 32;

/// How many readings are written together, at least: a day's may be few.
const BATCH: usize = 1000;

/// How long the replies took, in milliseconds.
const REPLY_TIMES: Range<i64> = 24..95;

/// What went wrong: how many days ago, when, and for how many minutes.
#[rustfmt::skip]
const INCIDENTS: &[Incident] = &[
    Incident { days_ago: 371, from: time(13,  5, 0, 0), minutes:   45, what: What::Errors(UTILITY_LOSS) },
    Incident { days_ago: 318, from: time( 9, 20, 0, 0), minutes:  400, what: What::Gap },
    Incident { days_ago: 262, from: time( 2, 10, 0, 0), minutes:   75, what: What::Gap },
    Incident { days_ago: 201, from: time(12, 40, 0, 0), minutes:   95, what: What::Errors(OVER_TEMPERATURE) },
    Incident { days_ago: 154, from: time( 0,  0, 0, 0), minutes: 1440, what: What::Gap },
    Incident { days_ago:  97, from: time(14, 15, 0, 0), minutes:   60, what: What::Errors(OVER_TEMPERATURE) },
    Incident { days_ago:  40, from: time(17, 30, 0, 0), minutes:   50, what: What::Gap },
    Incident { days_ago:  12, from: time(10, 50, 0, 0), minutes:   30, what: What::Errors(AC_VOLTAGE) },
    Incident { days_ago:   5, from: time(15,  5, 0, 0), minutes:  110, what: What::Gap },
    Incident { days_ago:   1, from: time( 8, 45, 0, 0), minutes:   12, what: What::Errors(AC_VOLTAGE) },
];

struct Incident {
    days_ago: i32,
    from: Time,
    minutes: i64,
    what: What,
}

impl Incident {
    /// When it was, by the clock on the wall.
    fn span(&self, now: &Zoned) -> (Range<DateTime>, What) {
        let day = now.date().saturating_sub(self.days_ago.days());
        let begin = day.to_datetime(self.from);
        let end = begin.saturating_add(self.minutes.minutes());
        (begin..end, self.what)
    }
}

#[derive(Clone, Copy)]
enum What {
    /// Nobody collected.
    Gap,
    /// The inverter reported errors, by the bits of a KSE.
    Errors(u32),
}

const UTILITY_LOSS: u32 = 1 << 9;
const OVER_TEMPERATURE: u32 = 1 << 13;
const AC_VOLTAGE: u32 = 1 << 17;

/// Puts the past into the history, and tells the machine as it is now and what its energies have come to; nothing if it
/// was stopped.
pub(super) fn make(
    config: &Config,
    stop: &AtomicBool,
) -> Result<Option<(Machine, Accounts)>, Failure> {
    // As a collector that polls so rarely would have: what its readings have counted is spread over no others' time.
    let context = Context {
        poll_interval: Duration::from_secs(COARSEST.into()),
        ..plans::context(config)
    };
    let inverters = config.inverters();
    let missing = || no_history("and start again");
    let section = inverters.first().ok_or_else(missing)?;
    let now = Zoned::now().with_time_zone(context.zone.clone());
    let first_day = now.date().saturating_sub(MONTHS.months());
    let gap = longest_gap(context.poll_interval);
    let importer = config.sinks.importer(&context, Some(gap));
    let importer = importer.ok_or_else(missing)??;
    let machine = Machine::new(section.family, first_day)?;
    let life = Life {
        inverter: machine.identity(section.name.as_str()),
        told: Told::new(section.source.clone()),
        machine,
        counting: Counting::new(context.zone, gap, &section.source.profile()),
        random: fastrand::Rng::with_seed(1),
        incidents: INCIDENTS
            .iter()
            .map(|incident| incident.span(&now))
            .collect(),
        now,
    };
    let progress = Progress::new(
        "making 13 months of history",
        2 * life.days_since(first_day),
    );
    let (sender, days) = sync_channel(DAYS_WAITING);
    let (life, written) = std::thread::scope(|scope| {
        let progress = &progress;
        let writing = scope.spawn(move || write(importer, &days, stop, progress));
        let life = life.live(first_day, &sender, stop);
        // The end of the channel is the end of the past.
        drop(sender);
        (life, writing.join())
    });
    written.unwrap_or_else(|_| {
        let message = "making the history has failed; please report this";
        Err(Failure::Runtime(message.to_owned()))
    })?;
    Ok((!stop.load(Ordering::Relaxed)).then(|| life.remembered(section.name.as_str())))
}

/// Writes what comes, day by day, and sums it up.
fn write(
    mut importer: Importer,
    days: &Receiver<Vec<Arc<Reading>>>,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut written = 0;
    while let Ok(mut readings) = days.recv() {
        written += 1;
        // What waits is written with it.
        while readings.len() < BATCH
            && let Ok(more) = days.try_recv()
        {
            readings.extend(more);
            written += 1;
        }
        importer.add(&readings)?;
        progress.advance_to(written);
    }
    if stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut whole = None;
    importer.finish(&mut |left| {
        let whole = whole.get_or_insert(left).as_secs().max(1);
        let done = whole.saturating_sub(left.as_secs());
        progress.advance_to(written + written * done / whole);
    })?;
    Ok(())
}

/// An inverter whose days go by.
struct Life {
    machine: Machine,
    told: Told,
    counting: Counting,
    inverter: Arc<Inverter>,
    random: fastrand::Rng,
    incidents: Vec<(Range<DateTime>, What)>,
    /// When the past ends.
    now: Zoned,
}

impl Life {
    fn days_since(&self, day: Date) -> u64 {
        let days = day.until(self.now.date()).map_or(0, |span| span.get_days());
        u64::from(days.unsigned_abs())
    }

    /// Lives from the first day to the present and sends the readings of each, until it is stopped or nobody wants them.
    fn live(
        mut self,
        first_day: Date,
        readings: &SyncSender<Vec<Arc<Reading>>>,
        stop: &AtomicBool,
    ) -> Self {
        for date in first_day.series(1.day()) {
            let is_over = date > self.now.date() || stop.load(Ordering::Relaxed);
            if is_over || readings.send(self.day(date)).is_err() {
                break;
            }
        }
        self
    }

    /// The readings of a day, or of the part of it that is over.
    fn day(&mut self, date: Date) -> Vec<Arc<Reading>> {
        let ago = self.days_since(date);
        let spacings = SPACINGS.iter().find(|(days, _)| ago <= *days);
        let spacing = spacings.map_or(COARSEST, |(_, spacing)| *spacing);
        self.machine.step_by(spacing.into());
        let zone = self.now.time_zone().clone();
        let midnight = |date: Date| {
            date.to_zoned(zone.clone())
                .map(|midnight| midnight.timestamp())
        };
        let (Ok(begin), Ok(end)) = (midnight(date), date.tomorrow().and_then(midnight)) else {
            return Vec::new();
        };
        let end = end.min(self.now.timestamp());
        let mut readings = Vec::new();
        for second in (begin.as_second()..end.as_second()).step_by(spacing as usize) {
            let later = if spacing > EVEN {
                self.random.i64(0..1000 * i64::from(spacing))
            } else {
                self.random.i64(0..1000)
            };
            let time = Timestamp::from_millisecond(1000 * second + later);
            readings.extend(
                time.ok()
                    .filter(|time| *time < end)
                    .and_then(|time| self.reading(time)),
            );
        }
        // The present goes on right from the end.
        if end == self.now.timestamp() {
            readings.extend(self.reading(end));
        }
        readings
    }

    /// A reading of the past; nothing where there was none.
    fn reading(&mut self, time: Timestamp) -> Option<Arc<Reading>> {
        let clock = time.to_zoned(self.now.time_zone().clone()).datetime();
        let errors = match self.incident(clock) {
            Some(What::Gap) => return None,
            Some(What::Errors(errors)) => errors,
            None => 0,
        };
        let seconds = self.machine.seconds_at(clock);
        let mut values = self.told.values(&mut self.machine, seconds, errors)?;
        values.set_raw(Quantity::reply_time, Some(self.random.i64(REPLY_TIMES)));
        let time = UnixMillis(time.as_millisecond());
        let counted = self.counting.count(time, &values);
        self.counting.counters().show(true, &mut values);
        Some(Arc::new(Reading {
            time,
            inverter: Arc::clone(&self.inverter),
            values,
            counted: Some(counted),
        }))
    }

    fn incident(&self, clock: DateTime) -> Option<What> {
        let mut incidents = self.incidents.iter();
        let (_, what) = incidents.find(|(span, _)| span.contains(&clock))?;
        Some(*what)
    }

    /// What goes on in the present.
    fn remembered(self, name: &str) -> (Machine, Accounts) {
        let mut account = Account::default();
        account.current.serial = self.inverter.serial.as_deref().map(str::to_owned);
        account.current.meter = self.counting.counters().clone();
        (self.machine, Accounts::from([(name.to_owned(), account)]))
    }
}
