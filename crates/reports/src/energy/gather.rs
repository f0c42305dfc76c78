//! From a history's buckets to a report.
//!
//! An energy is what was counted in its time, as those told who did; nothing is found out by comparing readings. Only where
//! nobody has counted, power times the time in which it is known stands for it.
//!
//! Buckets are as long as the report allows: days for all but a day itself, shorter ones only where a tariff has prices
//! by the hour. So a report over ten years reads some thousand rows, and never a reading.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use kstar_common::tariff::{Step, Tariff};
use kstar_history::{Aggregate, Bucket, History, HistoryError, Level, SetApart, StoredInverter};
use kstar_model::catalogue::{Quantity, Value};
use kstar_model::counted::Consumption;
use kstar_model::time::UnixMillis;

use super::{Energy, Figures, Flows, Money, Origin, Part, Peak, Report, Subject, TimeUnknown};
use crate::period::{Calendar, day_of, local, midnight, timestamp};

const HOUR: i64 = 3_600_000;
const SECONDS_PER_HOUR: f64 = 3600.0;

/// The least by which two powers differ, in W.
const RESOLUTION: f64 = 0.01;

/// What a bucket is asked for. [`figures`] takes them in this order.
const QUANTITIES: [Quantity; 13] = [
    Quantity::pv_power,
    Quantity::load_power,
    Quantity::backup_power,
    Quantity::grid_import_power,
    Quantity::grid_export_power,
    Quantity::battery_charge_power,
    Quantity::battery_discharge_power,
    COUNTERS[0],
    COUNTERS[1],
    COUNTERS[2],
    COUNTERS[3],
    COUNTERS[4],
    COUNTERS[5],
];

/// The counters that energies are taken from.
const COUNTERS: [Quantity; 6] = [
    Quantity::pv_energy_total,
    Quantity::consumption_energy_total,
    Quantity::grid_import_energy_total,
    Quantity::grid_export_energy_total,
    Quantity::battery_charge_energy_total,
    Quantity::battery_discharge_energy_total,
];

#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub subject: Subject,
    /// A day of it; a total has all.
    pub date: Date,
    /// The inverters to add up.
    pub inverters: &'a [StoredInverter],
    /// What electricity costs.
    pub tariffs: &'a [Tariff],
    /// The present moment: what comes after it is not missing.
    pub now: UnixMillis,
}

/// The days that a question is about; none for a total over no readings.
pub fn days(question: &Question<'_>, zone: &TimeZone) -> Range<Date> {
    match question.subject {
        Subject::One(calendar) => calendar.first(question.date)..calendar.next(question.date),
        Subject::Total => {
            let year = |moment| day_of(moment, zone);
            let firsts = question.inverters.iter().filter_map(|one| one.first);
            let lasts = question.inverters.iter().filter_map(|one| one.last);
            match firsts.min().zip(lasts.max()) {
                Some((first, last)) => {
                    Calendar::Year.first(year(first))..Calendar::Year.next(year(last))
                }
                None => question.date..question.date,
            }
        }
    }
}

/// The report; none where there is no reading in its time.
pub fn report(history: &History, question: &Question<'_>) -> Result<Option<Report>, HistoryError> {
    let zone = history.zone();
    let days = days(question, zone);
    let span = midnight(days.start, zone)..midnight(days.end, zone);
    let mut parts: Vec<(Range<UnixMillis>, Figures)> = parts(question.subject, &days, zone)
        .into_iter()
        .map(|span| (span, Figures::default()))
        .collect();
    let level = level(question);
    let mut peaks = Vec::new();
    let mut has_samples = false;
    let mut unknown = Vec::new();
    for inverter in question.inverters {
        if let Some(apart) = history.set_apart(&inverter.name, &COUNTERS)? {
            unknown.push(TimeUnknown::of(&inverter.name, apart));
        }
        let mut highest: Option<(f64, Range<UnixMillis>)> = None;
        let mut house = Consumption::default();
        // Buckets come in the order of time, so the part of one is that of the one before or a later one.
        let mut later = parts.iter_mut().peekable();
        history.buckets(
            &inverter.name,
            level,
            span.clone(),
            &QUANTITIES,
            &mut |bucket| {
                has_samples = true;
                while later
                    .next_if(|(span, _)| span.end <= bucket.begin)
                    .is_some()
                {}
                let Some((_, sum)) = later.peek_mut() else {
                    return ControlFlow::Break(());
                };
                let mut figures = figures(bucket, &mut house);
                let clock = local(bucket.begin, zone);
                if let Some(tariff) = Tariff::of(question.tariffs, clock.date()) {
                    figures.money =
                        Money::of(&figures.flows, tariff.price_at(clock), tariff.feed_in);
                }
                if let Some(watts) = figures.peak_watts
                    && highest.as_ref().is_none_or(|(highest, _)| watts > *highest)
                {
                    highest = Some((watts, bucket.begin..bucket.end));
                }
                sum.add(&figures);
                ControlFlow::Continue(())
            },
        )?;
        if let Some((_, span)) = highest {
            peaks.extend(peak(history, &inverter.name, span)?);
        }
    }
    if !has_samples {
        return Ok(None);
    }

    let part = |span: Range<UnixMillis>, figures: Figures| {
        let until_now = span.end.min(question.now).0.saturating_sub(span.start.0);
        let inverters = u32::try_from(question.inverters.len()).unwrap_or(u32::MAX);
        let whole = in_seconds(until_now) * f64::from(inverters);
        Part {
            span,
            coverage: (whole > 0.0).then(|| (figures.covered / whole).min(1.0)),
            figures,
        }
    };
    let mut sum = Figures::default();
    for (_, figures) in &parts {
        sum.add(figures);
    }
    let tariff = question.tariffs.first();
    Ok(Some(Report {
        subject: question.subject,
        days,
        zone: zone.clone(),
        inverters: question
            .inverters
            .iter()
            .map(|inverter| Arc::from(inverter.name.as_str()))
            .collect(),
        currency: tariff.map(|tariff| tariff.currency.clone()),
        parts: parts
            .into_iter()
            .map(|(span, figures)| part(span, figures))
            .collect(),
        sum: part(span, sum),
        peaks,
        unknown,
    }))
}

/// The longest buckets of which none belongs to two parts or has two prices.
fn level(question: &Question<'_>) -> Level {
    let by_parts = match question.subject.part() {
        None => Step::Hour,
        Some(_) => Step::Day,
    };
    match by_parts.min(Tariff::step(question.tariffs)) {
        Step::FiveMinutes => Level::FiveMinutes,
        Step::Hour => Level::Hour,
        Step::Day => Level::Day,
    }
}

fn parts(subject: Subject, days: &Range<Date>, zone: &TimeZone) -> Vec<Range<UnixMillis>> {
    match subject.part() {
        Some(calendar) => calendar
            .parts(days.clone())
            .map(|first| calendar.range(first, zone))
            .collect(),
        None => hours(midnight(days.start, zone)..midnight(days.end, zone), zone),
    }
}

/// The hours of the local clock, cut where that is changed.
fn hours(span: Range<UnixMillis>, zone: &TimeZone) -> Vec<Range<UnixMillis>> {
    let mut hours = Vec::new();
    let mut begin = span.start;
    while begin < span.end {
        let moment = timestamp(begin);
        let offset = i64::from(zone.to_offset(moment).seconds()) * 1000;
        let next_hour = ((begin.0 + offset).div_euclid(HOUR) + 1) * HOUR - offset;
        let change = zone.following(moment).next();
        let end = change
            .map_or(next_hour, |change| change.timestamp().as_millisecond())
            .min(next_hour)
            .min(span.end.0);
        hours.push(begin..UnixMillis(end));
        begin = UnixMillis(end);
    }
    hours
}

/// When in a longer bucket the highest power was: at the time of its reading, or in which five minutes where the
/// readings of that time are not kept any more.
fn peak(
    history: &History,
    inverter: &str,
    span: Range<UnixMillis>,
) -> Result<Option<Peak>, HistoryError> {
    let mut highest: Option<(f64, Range<UnixMillis>)> = None;
    let level = Level::FiveMinutes;
    history.buckets(
        inverter,
        level,
        span,
        &[Quantity::pv_power],
        &mut |bucket| {
            if let [Some(Aggregate::Measured { max, .. })] = bucket.values[..]
                && highest.as_ref().is_none_or(|(watts, _)| max > *watts)
            {
                highest = Some((max, bucket.begin..bucket.end));
            }
            ControlFlow::Continue(())
        },
    )?;
    let Some((watts, five_minutes)) = highest else {
        return Ok(None);
    };
    let mut own = None;
    history.readings(inverter, five_minutes.clone(), &mut |reading| match reading
        .values
        .get(Quantity::pv_power)
    {
        Some(Value::Number(power)) if power.to_f64() > watts - RESOLUTION / 2.0 => {
            own = Some(reading.time);
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })?;
    Ok(Some(Peak {
        watts,
        inverter: Arc::from(inverter),
        time: own.unwrap_or(five_minutes.start),
        until: own.is_none().then_some(five_minutes.end),
    }))
}

impl TimeUnknown {
    fn of(inverter: &str, apart: SetApart) -> Self {
        let mut energies = apart.counted.into_iter().map(|kwh| {
            kwh.map(|kwh| Energy {
                kwh,
                origin: Origin::Counter,
            })
        });
        let mut next = || energies.next().flatten();
        Self {
            inverter: Arc::from(inverter),
            readings: apart.readings,
            span: apart.first..apart.last,
            flows: Flows {
                production: next(),
                consumption: next(),
                import: next(),
                export: next(),
                stored: next(),
                drawn: next(),
            },
        }
    }
}

/// What a bucket with [`QUANTITIES`] comes to, without money.
fn figures(bucket: &Bucket, house: &mut Consumption) -> Figures {
    let covered = bucket.covered.as_secs_f64();
    let [
        pv,
        load,
        backup,
        import,
        export,
        charge,
        discharge,
        ref counters @ ..,
    ] = bucket.values[..]
    else {
        return Figures::default();
    };
    let [
        pv_counter,
        consumption_counter,
        import_counter,
        export_counter,
        charge_counter,
        discharge_counter,
    ] = *counters
    else {
        return Figures::default();
    };
    let energy = |counter, power| {
        let (kwh, origin) = match counted(counter) {
            Some(counted) => (counted, Origin::Counter),
            None => (power?, Origin::Power),
        };
        Some(Energy { kwh, origin })
    };
    let power = |power| added_up(power, covered);
    let used = house.of(power(load), power(backup));
    Figures {
        flows: Flows {
            production: energy(pv_counter, power(pv)),
            consumption: energy(consumption_counter, used),
            import: energy(import_counter, power(import)),
            export: energy(export_counter, power(export)),
            stored: energy(charge_counter, power(charge)),
            drawn: energy(discharge_counter, power(discharge)),
        },
        money: Money::default(),
        peak_watts: match pv {
            Some(Aggregate::Measured { max, .. }) => Some(max),
            _ => None,
        },
        covered,
    }
}

/// What a counter has grown, in kWh.
fn counted(counter: Option<Aggregate>) -> Option<f64> {
    match counter {
        Some(Aggregate::Counted { grown }) => Some(grown),
        _ => None,
    }
}

/// Power over the time that is covered, in kWh; absent if that is none.
fn added_up(power: Option<Aggregate>, covered: f64) -> Option<f64> {
    match power {
        Some(Aggregate::Measured { mean, .. }) if covered > 0.0 => {
            Some(mean * covered / SECONDS_PER_HOUR / 1000.0)
        }
        _ => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a duration in milliseconds is far below 2^53"
)]
fn in_seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::civil::date;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        kstar_common::zone::named(name).expect("a zone")
    }

    #[test]
    fn a_day_has_the_hours_of_its_clock() {
        for (name, day, lengths) in [
            ("Europe/Berlin", date(2026, 3, 29), 23),
            ("Europe/Berlin", date(2026, 10, 25), 25),
            ("Asia/Kolkata", date(2026, 10, 25), 24),
            // The clock is set back by half an hour at two: the hour before and the hour of the change are cut there.
            ("Australia/Lord_Howe", date(2026, 4, 5), 25),
        ] {
            let zone = zone(name);
            let hours = parts(
                Subject::One(Calendar::Day),
                &(day..day.tomorrow().expect("a day")),
                &zone,
            );
            assert_eq!(hours.len(), lengths, "{name}");
            assert_eq!(
                hours[0].start..hours[lengths - 1].end,
                Calendar::Day.range(day, &zone)
            );
            assert!(hours.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as it stands in a bucket")]
    fn measured(mean: f64) -> Option<Aggregate> {
        Some(Aggregate::Measured {
            mean,
            min: mean,
            max: mean * 2.0,
        })
    }

    fn bucket(values: Vec<Option<Aggregate>>) -> Bucket {
        Bucket {
            begin: UnixMillis(0),
            end: UnixMillis(HOUR),
            samples: 360,
            covered: Duration::from_secs(1800),
            values,
        }
    }

    #[test]
    fn an_energy_is_what_its_counter_says_or_else_power_times_the_time_that_is_covered() {
        let mut values = vec![measured(1000.0); 7];
        values.extend([
            Some(Aggregate::Counted { grown: 0.75 }),
            None,
            Some(Aggregate::Counted { grown: 0.2 }),
            None,
            None,
            None,
        ]);
        let flows = figures(&bucket(values), &mut Consumption::default()).flows;
        let of = |kwh, origin| Some(Energy { kwh, origin });
        assert_eq!(flows.production, of(0.75, Origin::Counter));
        assert_eq!(
            flows.import,
            of(0.2, Origin::Counter),
            "what was counted, whatever power and time come to: a clock may be wrong"
        );
        assert_eq!(flows.export, of(0.5, Origin::Power));
        assert_eq!(flows.consumption, of(1.0, Origin::Power));
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let mut values = vec![None; 13];
        values[1] = measured(600.0);
        let figures = figures(&bucket(values), &mut Consumption::default());
        assert_eq!(figures.flows.production, None);
        assert_eq!(figures.peak_watts, None);
        assert_eq!(
            figures.flows.consumption.map(|energy| energy.kwh),
            Some(0.3),
            "without a back-up output, the load alone"
        );
    }
}
