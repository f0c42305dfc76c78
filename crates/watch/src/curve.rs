//! The last hours of one inverter, as far as a page can show them.
//!
//! Readings are kept as means of short pieces of time: fine ones for the last hour, coarse ones for the last day. So
//! the memory is bounded whatever the poll interval, and a history's five minutes fit in between.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::time::UnixMillis;
use kstar_model::time::millis;

/// The longest time that is kept, and shown.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How long fine pieces are kept.
const FINE: Duration = Duration::from_secs(3600);

/// The shortest pieces: a quarter of an hour has ninety of them, about as many as a chart has columns.
const FINE_PIECE: Duration = Duration::from_secs(10);

/// The pieces of a whole day: 1440 of them.
const COARSE_PIECE: Duration = Duration::from_secs(60);

/// What is drawn over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// From the panels, in W.
    Pv,
    /// Into the house, in W.
    House,
    /// At the grid connection, in W; positive while importing.
    Grid,
    /// Of the battery, in W; positive while charging.
    Battery,
    /// How full the battery is, in %.
    Charge,
}

/// How many series there are.
const SERIES: usize = 5;

/// The values of all series at one time.
pub type Sample = [Option<f32>; SERIES];

/// What a time was like, on average.
#[derive(Clone, Debug)]
pub struct Piece {
    span: Range<i64>,
    sums: [f32; SERIES],
    counts: [u16; SERIES],
}

impl Piece {
    /// A piece of which the means are known.
    pub fn of_means(span: &Range<UnixMillis>, means: Sample) -> Self {
        let mut piece = Self::empty(span.start.0..span.end.0);
        piece.add(means);
        piece
    }

    fn empty(span: Range<i64>) -> Self {
        Self {
            span,
            sums: [0.0; SERIES],
            counts: [0; SERIES],
        }
    }

    fn add(&mut self, sample: Sample) {
        for ((sum, count), value) in self.sums.iter_mut().zip(&mut self.counts).zip(sample) {
            if let (Some(value), Some(more)) = (value, count.checked_add(1)) {
                *sum += value;
                *count = more;
            }
        }
    }

    fn means(&self) -> Sample {
        let mut means = [None; SERIES];
        for ((mean, sum), count) in means.iter_mut().zip(self.sums).zip(self.counts) {
            *mean = (count > 0).then(|| sum / f32::from(count));
        }
        means
    }
}

/// The values of all series in a reading of which this is what the house consumes.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a chart in a terminal shows two digits of them"
)]
pub fn sample(values: &Values, consumption: Option<f64>) -> Sample {
    let number = |quantity| values.number(quantity).map(|number| number as f32);
    [
        number(Quantity::pv_power),
        consumption.map(|watts| watts as f32),
        number(Quantity::grid_power),
        number(Quantity::battery_power),
        number(Quantity::battery_soc),
    ]
}

/// Pieces of about the same length, in order and without overlap.
#[derive(Clone, Debug)]
struct Ring {
    pieces: VecDeque<Piece>,
    piece_ms: i64,
    kept_ms: i64,
}

impl Ring {
    fn new(piece: Duration, kept: Duration) -> Self {
        Self {
            pieces: VecDeque::new(),
            piece_ms: millis(piece),
            kept_ms: millis(kept),
        }
    }

    fn push(&mut self, time: i64, sample: Sample) {
        let begin = time - time.rem_euclid(self.piece_ms);
        // Where the clock was set back, what it had said was wrong.
        while self
            .pieces
            .back()
            .is_some_and(|last| last.span.start > begin)
        {
            self.pieces.pop_back();
        }
        match self.pieces.back_mut() {
            Some(last) if last.span.start == begin => last.add(sample),
            last => {
                if let Some(last) = last {
                    // A history's open bucket ends in the future.
                    last.span.end = last.span.end.min(begin);
                }
                let mut piece = Piece::empty(begin..begin + self.piece_ms);
                piece.add(sample);
                self.pieces.push_back(piece);
            }
        }
        let oldest = time - self.kept_ms;
        while self
            .pieces
            .front()
            .is_some_and(|first| first.span.end <= oldest)
        {
            self.pieces.pop_front();
        }
    }
}

/// The last hours.
#[derive(Clone, Debug)]
pub struct Curve {
    fine: Ring,
    coarse: Ring,
}

impl Curve {
    /// An empty one, of an inverter that is polled at this interval.
    pub fn new(interval: Duration) -> Self {
        // Two polls fall into each piece, or one that comes late would leave a hole.
        let two_polls = interval.saturating_mul(2);
        Self {
            fine: Ring::new(FINE_PIECE.max(two_polls), FINE),
            coarse: Ring::new(COARSE_PIECE.max(two_polls), LONGEST),
        }
    }

    /// Takes what a reading says.
    pub fn push(&mut self, time: UnixMillis, sample: Sample) {
        self.fine.push(time.0, sample);
        self.coarse.push(time.0, sample);
    }

    /// Puts a history's pieces, oldest first, where nothing was read live.
    pub fn fill(&mut self, history: Vec<Piece>) {
        let live = std::mem::take(&mut self.coarse.pieces);
        let mut all: Vec<Piece> = Vec::new();
        for mut piece in history {
            if live
                .iter()
                .any(|other| other.span.contains(&piece.span.start))
            {
                continue;
            }
            let next = live
                .iter()
                .map(|other| other.span.start)
                .find(|start| *start >= piece.span.start);
            if let Some(next) = next {
                piece.span.end = piece.span.end.min(next);
            }
            if !piece.span.is_empty() {
                all.push(piece);
            }
        }
        all.extend(live);
        all.sort_by_key(|piece| piece.span.start);
        all.dedup_by_key(|piece| piece.span.start);
        self.coarse.pieces = all.into();
    }

    /// The beginning of the oldest piece.
    pub fn begin(&self) -> Option<UnixMillis> {
        self.coarse
            .pieces
            .front()
            .map(|piece| UnixMillis(piece.span.start))
    }

    /// The means of so many equal parts of a span of time.
    pub fn columns(&self, span: &Range<UnixMillis>, count: usize) -> Vec<Sample> {
        let mut columns = vec![Column::default(); count];
        spread(&self.fine, span, &mut columns);
        // What was before is known coarsely, if at all.
        let finely = self.fine.pieces.front().map(|first| first.span.start);
        let finely = finely.unwrap_or(i64::MAX);
        if finely > span.start.0 {
            let mut coarse = vec![Column::default(); count];
            spread(&self.coarse, span, &mut coarse);
            let begins = edges(span, count);
            for ((column, coarse), begin) in columns.iter_mut().zip(coarse).zip(begins) {
                if begin < finely && !column.is_known() {
                    *column = coarse;
                }
            }
        }
        columns.iter().map(Column::means).collect()
    }
}

/// A column of a chart: values and the time that each has.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    sums: [f32; SERIES],
    weights: [f32; SERIES],
}

impl Column {
    fn is_known(&self) -> bool {
        self.weights.iter().any(|weight| *weight > 0.0)
    }

    fn means(&self) -> Sample {
        let mut means = [None; SERIES];
        for ((mean, sum), weight) in means.iter_mut().zip(self.sums).zip(self.weights) {
            *mean = (weight > 0.0).then(|| sum / weight);
        }
        means
    }
}

/// Where each of so many columns begins.
fn edges(span: &Range<UnixMillis>, count: usize) -> impl Iterator<Item = i64> {
    let (begin, length) = (span.start.0, span.end.0 - span.start.0);
    let count = i64::try_from(count).unwrap_or(i64::MAX).max(1);
    (0..count).map(move |index| begin + length * index / count)
}

/// Adds each piece to the columns over which it lies.
#[expect(
    clippy::cast_precision_loss,
    reason = "a weight needs no more digits than a chart has"
)]
fn spread(ring: &Ring, span: &Range<UnixMillis>, columns: &mut [Column]) {
    let (begin, end) = (span.start.0, span.end.0);
    let Ok(count) = i64::try_from(columns.len()) else {
        return;
    };
    if count == 0 || end <= begin {
        return;
    }
    let length = end - begin;
    let edge = |index: i64| begin + length * index / count;
    for piece in &ring.pieces {
        if piece.span.end <= begin || piece.span.start >= end {
            continue;
        }
        let means = piece.means();
        let mut index = ((piece.span.start - begin).max(0) * count / length).min(count - 1);
        while index < count && edge(index) < piece.span.end {
            let overlap = piece.span.end.min(edge(index + 1)) - piece.span.start.max(edge(index));
            if let (true, Some(column)) = (
                overlap > 0,
                usize::try_from(index)
                    .ok()
                    .and_then(|index| columns.get_mut(index)),
            ) {
                let weight = overlap as f32;
                for ((sum, known), mean) in
                    column.sums.iter_mut().zip(&mut column.weights).zip(means)
                {
                    if let Some(mean) = mean {
                        *sum += mean * weight;
                        *known += weight;
                    }
                }
            }
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pv(watts: f32) -> Sample {
        [Some(watts), None, None, None, None]
    }

    fn shown(curve: &Curve, span: Range<i64>, count: usize) -> Vec<Option<f32>> {
        let columns = curve.columns(&(UnixMillis(span.start)..UnixMillis(span.end)), count);
        columns.into_iter().map(|[pv, ..]| pv).collect()
    }

    #[test]
    fn readings_become_means_and_what_nobody_read_stays_open() {
        let mut curve = Curve::new(Duration::from_secs(5));
        for second in [0, 5, 10, 15, 40] {
            curve.push(
                UnixMillis(second * 1000),
                pv(if second < 10 { 100.0 } else { 300.0 }),
            );
        }
        assert_eq!(
            shown(&curve, 0..50_000, 5),
            [Some(100.0), Some(300.0), None, None, Some(300.0)]
        );
        assert_eq!(shown(&curve, 0..20_000, 1), [Some(200.0)]);
    }

    #[test]
    fn slow_polls_leave_no_holes() {
        let mut curve = Curve::new(Duration::from_secs(300));
        for poll in 0..12 {
            curve.push(UnixMillis(poll * 300_000), pv(50.0));
        }
        assert!(
            shown(&curve, 0..3_600_000, 60).iter().all(Option::is_some),
            "{curve:#?}"
        );
    }

    #[test]
    fn a_day_is_kept_and_no_more() {
        let mut curve = Curve::new(Duration::from_secs(1));
        for second in (0..3 * 24 * 3600).step_by(5) {
            curve.push(UnixMillis(second * 1000), pv(1.0));
        }
        assert!(curve.coarse.pieces.len() <= 1442);
        assert!(curve.fine.pieces.len() <= 362);
    }

    #[test]
    fn a_history_fills_what_was_not_read_live() {
        let mut curve = Curve::new(Duration::from_secs(5));
        curve.push(UnixMillis(720_000), pv(900.0));
        let five_minutes = |begin: i64, watts| {
            let span = UnixMillis(begin * 1000)..UnixMillis((begin + 300) * 1000);
            Piece::of_means(&span, pv(watts))
        };
        let history = vec![
            five_minutes(0, 1.0),
            five_minutes(300, 2.0),
            five_minutes(600, 3.0),
        ];
        curve.fill(history.clone());
        // It may come again, after an outage.
        curve.fill(history);
        assert_eq!(
            shown(&curve, 0..900_000, 15),
            [
                [Some(1.0); 5].as_slice(),
                &[Some(2.0); 5],
                &[Some(3.0); 2],
                &[Some(900.0)],
                &[None; 2]
            ]
            .concat()
        );
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_no_future() {
        let mut curve = Curve::new(Duration::from_secs(5));
        curve.push(UnixMillis(9_000_000), pv(1.0));
        curve.push(UnixMillis(60_000), pv(2.0));
        assert_eq!(shown(&curve, 0..10_000_000, 1), [Some(2.0)]);
    }
}
