//! A history of days that never were: a simulated household's readings, written by the sink itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use kstar_collector::registry::SinkSections;
use kstar_model::catalogue::Quantity;
use kstar_model::counted::{AccountId, Amounts, Counted};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::scalar::Scalar;
use kstar_model::time::UnixMillis;
use kstar_simulator::day::Household;
use kstar_simulator::encode::{self, Variant};
use kstar_sink::sink::{Batch, Context};
use kstar_source_aa55::wire::running;

/// What is to have happened.
pub(crate) struct Past<'a> {
    pub(crate) zone: &'a str,
    /// Its first day.
    pub(crate) first: Date,
    pub(crate) days: u32,
    /// The time between two readings.
    pub(crate) every: Duration,
    /// The inverters; each has a weather and a house of its own.
    pub(crate) inverters: &'a [&'a str],
    /// Whether a meter counts what the panels make.
    pub(crate) metered: bool,
    /// No readings from this local hour of each day to that one.
    pub(crate) pause: Option<[f64; 2]>,
}

impl Default for Past<'_> {
    fn default() -> Self {
        Self {
            zone: "Europe/Berlin",
            first: jiff::civil::date(2026, 6, 12),
            days: 1,
            every: Duration::from_secs(60),
            inverters: &["roof"],
            metered: false,
            pause: None,
        }
    }
}

impl Past<'_> {
    /// Writes it to a history of that name.
    pub(crate) fn write(&self, file: &Path) {
        let zone = kstar_common::zone::named(self.zone).expect("a zone");
        let inverters = (1..).zip(self.inverters);
        let readings = inverters.flat_map(|(seed, name)| self.readings(seed, name, &zone));
        self.write_readings(file, &readings.collect::<Vec<_>>());
    }

    /// Writes readings that are told elsewhere to a history of that name.
    pub(crate) fn write_readings(&self, file: &Path, readings: &[Arc<Reading>]) {
        let (sections, context) = self.sections(file, "");
        let section = sections.section("sqlite").expect("it is enabled");
        let mut sink = section.open(&context).expect("a history");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        for readings in readings.chunks(500) {
            let delivered = runtime.block_on(sink.deliver(&Batch::new(readings)));
            delivered.expect("stored");
        }
        runtime.block_on(sink.close()).expect("closed");
    }

    /// Sums up all of it, and deletes the readings of the days before the last one.
    pub(crate) fn sum_up(&self, file: &Path) {
        let (sections, context) = self.sections(file, "sqlite.keep_raw = \"1d\"");
        let importer = sections.importer(&context, None).expect("it is enabled");
        let done = importer.expect("a history").finish(&mut |_| ());
        done.expect("summed up");
    }

    fn sections(&self, file: &Path, more: &str) -> (SinkSections, Context) {
        let context = Context {
            inverters: self.inverters.iter().map(|name| Arc::from(*name)).collect(),
            poll_interval: self.every,
            state_dir: file.parent().expect("a folder").to_owned(),
            zone: kstar_common::zone::named(self.zone).expect("a zone"),
            version: "0",
        };
        let path = file.display().to_string();
        let sections = toml::from_str(&format!("sqlite.path = {path:?}\n{more}"));
        (sections.expect("a section"), context)
    }

    fn readings(&self, seed: u64, name: &str, zone: &TimeZone) -> Vec<Arc<Reading>> {
        let inverter = Inverter::named(name);
        let mut household = Household::new(seed, Variant::Kse, self.first);
        let midnight = |date: Date| date.to_zoned(zone.clone()).expect("a day").timestamp();
        let begin = midnight(self.first);
        let end = midnight(self.first + i64::from(self.days).days());
        // Where the clocks change, the household lives on by hours as long as ever.
        let mut readings = Vec::new();
        let (mut produced, mut told) = (0.0, 0);
        let mut moment = begin;
        let mut last: Option<(Timestamp, f64)> = None;
        while moment < end {
            let local = zone.to_datetime(moment).time();
            let hour = f64::from(local.hour()) + f64::from(local.minute()) / 60.0;
            let pauses = self
                .pause
                .is_some_and(|[from, to]| (from..to).contains(&hour));
            if !pauses {
                let seconds = moment.duration_since(begin).as_secs_f64();
                let figures = household.at(seconds);
                let payload = encode::running(&figures, Variant::Kse.payload_len());
                let mut values = running::decode(&payload).expect("running data");
                let power = values.pv_power.expect("there are panels").raw();
                let watts = f64::from(i32::try_from(power).expect("no power station")) / 100.0;
                let mut covers = Duration::ZERO;
                if let Some((before, watts_before)) = last {
                    covers = moment.duration_since(before).unsigned_abs();
                    let hours = covers.as_secs_f64() / 3600.0;
                    produced += f64::midpoint(watts, watts_before) * hours;
                }
                last = Some((moment, watts));
                let mut counted = None;
                if self.metered {
                    // Watt hours are the last decimal of the counter.
                    #[expect(clippy::cast_possible_truncation, reason = "whole watt hours")]
                    let raw = produced.round() as i64;
                    values.set_raw(Quantity::pv_energy_total, Some(raw));
                    let mut amounts = Amounts::default();
                    amounts.set(Quantity::pv_energy_total, Some(raw - told));
                    told = raw;
                    counted = Some(Counted {
                        account: AccountId(1),
                        sequence: readings.len() as u64,
                        covers,
                        amounts,
                        earlier: None,
                    });
                }
                readings.push(Arc::new(Reading {
                    time: UnixMillis(moment.as_millisecond()),
                    inverter: Arc::clone(&inverter),
                    values,
                    counted,
                }));
            }
            moment += self.every;
        }
        readings
    }
}
