//! The last hours from a history.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use kstar_history::{Aggregate, History, HistoryError, Level};
use kstar_model::catalogue::Quantity;
use kstar_model::counted::Consumption;
use kstar_model::time::UnixMillis;
use kstar_model::time::millis;

use super::curve::{LONGEST, Piece};

/// What five minutes are asked for. [`means`] takes them in this order.
const QUANTITIES: [Quantity; 6] = [
    Quantity::pv_power,
    Quantity::load_power,
    Quantity::backup_power,
    Quantity::grid_power,
    Quantity::battery_power,
    Quantity::battery_soc,
];

/// The last day of each inverter of a history, by its name. Blocks.
pub fn load(file: &Path, now: UnixMillis) -> Result<Vec<(String, Vec<Piece>)>, HistoryError> {
    let history = History::open(file)?;
    let span = UnixMillis(now.0 - millis(LONGEST))..now;
    history
        .inverters()?
        .into_iter()
        .map(|inverter| {
            let pieces = pieces(&history, &inverter.name, &span)?;
            Ok((inverter.name, pieces))
        })
        .collect()
}

fn pieces(
    history: &History,
    inverter: &str,
    span: &Range<UnixMillis>,
) -> Result<Vec<Piece>, HistoryError> {
    let mut pieces = Vec::new();
    let mut house = Consumption::default();
    history.buckets(
        inverter,
        Level::FiveMinutes,
        span.clone(),
        &QUANTITIES,
        &mut |bucket| {
            pieces.push(Piece::of_means(
                &(bucket.begin..bucket.end),
                means(&bucket.values, &mut house),
            ));
            ControlFlow::Continue(())
        },
    )?;
    Ok(pieces)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a chart in a terminal shows two digits of them"
)]
fn means(values: &[Option<Aggregate>], house: &mut Consumption) -> super::curve::Sample {
    let mean = |value: Option<Aggregate>| match value {
        Some(Aggregate::Measured { mean, .. }) => Some(mean as f32),
        _ => None,
    };
    let [pv, load, backup, grid, battery, soc] = *values else {
        return super::curve::Sample::default();
    };
    [
        mean(pv),
        house.of(mean(load), mean(backup)),
        mean(grid),
        mean(battery),
        mean(soc),
    ]
}
