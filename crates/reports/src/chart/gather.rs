//! A history's five minutes as a day's figures.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use kstar_history::{Aggregate, History, HistoryError, Level, StoredInverter};
use kstar_model::catalogue::Quantity;
use kstar_model::counted::Consumption;
use kstar_model::time::UnixMillis;

use super::day::Sample;

/// What five minutes are asked for. [`sample`] takes them in this order.
const QUANTITIES: [Quantity; 8] = [
    Quantity::pv_power,
    Quantity::load_power,
    Quantity::backup_power,
    Quantity::grid_import_power,
    Quantity::grid_export_power,
    Quantity::battery_charge_power,
    Quantity::battery_discharge_power,
    Quantity::battery_soc,
];

/// The five minutes of a span, in order: powers of all inverters together, and the mean of their charges.
pub fn samples(
    history: &History,
    inverters: &[StoredInverter],
    span: &Range<UnixMillis>,
) -> Result<Vec<(Range<UnixMillis>, Sample)>, HistoryError> {
    let mut samples: BTreeMap<UnixMillis, (UnixMillis, Sample, f64)> = BTreeMap::new();
    for inverter in inverters {
        let level = Level::FiveMinutes;
        let mut house = Consumption::default();
        history.buckets(
            &inverter.name,
            level,
            span.clone(),
            &QUANTITIES,
            &mut |bucket| {
                let (_, sum, batteries) =
                    samples
                        .entry(bucket.begin)
                        .or_insert((bucket.end, Sample::default(), 0.0));
                let one = sample(&bucket.values, &mut house);
                for (sum, more) in [
                    (&mut sum.production, one.production),
                    (&mut sum.consumption, one.consumption),
                    (&mut sum.import, one.import),
                    (&mut sum.export, one.export),
                    (&mut sum.charged, one.charged),
                    (&mut sum.discharged, one.discharged),
                    (&mut sum.charge, one.charge),
                ] {
                    if let Some(more) = more {
                        *sum.get_or_insert_default() += more;
                    }
                }
                if one.charge.is_some() {
                    *batteries += 1.0;
                }
                ControlFlow::Continue(())
            },
        )?;
    }
    Ok(samples
        .into_iter()
        .map(|(begin, (end, mut sample, batteries))| {
            sample.charge = sample.charge.map(|sum| sum / batteries);
            (begin..end, sample)
        })
        .collect())
}

fn sample(values: &[Option<Aggregate>], house: &mut Consumption) -> Sample {
    let mean = |value: Option<Aggregate>| match value {
        Some(Aggregate::Measured { mean, .. }) => Some(mean),
        _ => None,
    };
    let [pv, load, backup, import, export, charge, discharge, soc] = *values else {
        return Sample::default();
    };
    Sample {
        production: mean(pv),
        consumption: house.of(mean(load), mean(backup)),
        import: mean(import),
        export: mean(export),
        charged: mean(charge),
        discharged: mean(discharge),
        charge: mean(soc),
    }
}
