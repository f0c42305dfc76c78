//! What many samples come to: the sums of five minutes from the samples, and those of longer buckets from these.
//!
//! All in integers, so that the same samples give the same sums whenever they are added up. A measurement is taken
//! to run straight from one sample to the next, unless they are too far apart; between those nothing is known.

use std::ops::Range;

use kstar_model::TimeZone;
use kstar_model::catalogue::Quantity;
use kstar_model::scalar::Kind;

use crate::level::Level;

/// A mean has two decimals more than its quantity.
pub(crate) const MEAN_DECIMALS: u8 = 2;

const MEAN_SCALE: i128 = 10_i128.pow(MEAN_DECIMALS as u32);

/// A bucket's sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rollup {
    pub bucket: Range<i64>,
    pub samples: u32,
    /// Milliseconds in which samples follow one another closely.
    pub covered: i64,
    /// One for each quantity that was asked for; absent if no sample had it.
    pub cells: Vec<Option<Cell>>,
}

/// What the samples of one quantity come to, in its resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The mean by time, with [`MEAN_DECIMALS`] more; the least and the most.
    Measured { mean: i64, min: i64, max: i64 },
    /// How much was counted.
    Counted { grown: i64 },
}

/// How a quantity is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summing {
    Measured,
    Counted,
}

impl Summing {
    /// Modes and flags have no sum.
    pub(crate) fn of(quantity: Quantity) -> Option<Self> {
        match quantity.description().kind {
            Kind::Measurement => Some(Self::Measured),
            Kind::Counter => Some(Self::Counted),
            Kind::Mode(_) | Kind::Flags(_) | Kind::Bits | Kind::Clock => None,
        }
    }
}

/// One quantity in the bucket that is being filled.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    /// The integral over the time in which the quantity is known, twice, by milliseconds.
    twice_integral: i128,
    /// That time.
    known: i64,
    total: i128,
    count: u32,
    least_and_most: Option<(i64, i64)>,
    /// The same of where the line between two samples enters and leaves the bucket: all there is in a bucket that
    /// has no sample, because polls are rarer than buckets.
    at_edges: Option<(i64, i64)>,
    grown: Option<i64>,
}

fn widen(bounds: &mut Option<(i64, i64)>, value: i64) {
    let (least, most) = bounds.unwrap_or((value, value));
    *bounds = Some((least.min(value), most.max(value)));
}

impl Sum {
    fn cell(&self, summing: Option<Summing>) -> Option<Cell> {
        match summing? {
            Summing::Counted => self.grown.map(|grown| Cell::Counted { grown }),
            Summing::Measured => {
                let (min, max) = self.least_and_most.or(self.at_edges)?;
                let mean = if self.known > 0 {
                    rounded(self.twice_integral * MEAN_SCALE, 2 * i128::from(self.known))
                } else {
                    rounded(self.total * MEAN_SCALE, i128::from(self.count))
                };
                Some(Cell::Measured { mean, min, max })
            }
        }
    }
}

/// A quotient to the nearest integer, half away from zero; 0 where nothing divides.
fn rounded(dividend: i128, divisor: i128) -> i64 {
    let half = divisor / 2 * dividend.signum();
    let quotient = (dividend + half).checked_div(divisor).unwrap_or(0);
    i64::try_from(quotient).unwrap_or(if quotient < 0 { i64::MIN } else { i64::MAX })
}

/// A sample as it is added up: for each quantity its value, or for a counter what was counted since the sample before.
pub(crate) struct Sample {
    pub time: i64,
    /// How far before it, in milliseconds, another sample may be for the time between them to be known.
    pub longest_gap: i64,
    pub values: Vec<Option<i64>>,
}

/// Adds up samples, oldest first, to buckets of five minutes.
pub(crate) struct FromSamples {
    summings: Vec<Option<Summing>>,
    previous: Option<(i64, Vec<Option<i64>>)>,
    open: Option<Open>,
}

struct Open {
    bucket: Range<i64>,
    samples: u32,
    covered: i64,
    sums: Vec<Sum>,
}

impl FromSamples {
    pub(crate) fn new(quantities: &[Quantity]) -> Self {
        Self {
            summings: quantities.iter().copied().map(Summing::of).collect(),
            previous: None,
            open: None,
        }
    }

    /// Adds a sample; gives the buckets that end before it.
    pub(crate) fn add(&mut self, sample: Sample) -> Vec<Rollup> {
        let Sample {
            time,
            longest_gap,
            values,
        } = sample;
        let mut closed = Vec::new();
        if let Some((since, from)) = self.previous.take()
            && time.saturating_sub(since) <= longest_gap
        {
            let line = Line {
                since,
                time,
                from: &from,
                to: &values,
            };
            let mut begin = since;
            while begin < time {
                let open = open_at(begin, &mut self.open, &self.summings, &mut closed);
                let end = time.min(open.bucket.end);
                open.cover(&line, begin..end);
                begin = end;
            }
        }
        let open = open_at(time, &mut self.open, &self.summings, &mut closed);
        open.take(&values, &self.summings);
        self.previous = Some((time, values));
        closed
    }

    /// The bucket that no sample has ended.
    pub(crate) fn finish(mut self) -> Option<Rollup> {
        let open = self.open.take()?;
        Some(open.close(&self.summings))
    }
}

/// The bucket around a moment; the one before is closed.
fn open_at<'a>(
    time: i64,
    open: &'a mut Option<Open>,
    summings: &[Option<Summing>],
    closed: &mut Vec<Rollup>,
) -> &'a mut Open {
    if let Some(open) = open.take_if(|open| !open.bucket.contains(&time)) {
        closed.push(open.close(summings));
    }
    open.get_or_insert_with(|| Open {
        bucket: Level::FiveMinutes.around(time, &TimeZone::UTC),
        samples: 0,
        covered: 0,
        sums: vec![Sum::default(); summings.len()],
    })
}

/// From one sample to the next.
struct Line<'a> {
    since: i64,
    time: i64,
    from: &'a [Option<i64>],
    to: &'a [Option<i64>],
}

impl Open {
    /// Adds the part of a line that lies in this bucket.
    fn cover(&mut self, line: &Line<'_>, part: Range<i64>) {
        let length = part.end - part.start;
        let whole = i128::from(line.time - line.since);
        let is_whole = i128::from(length) == whole;
        self.covered += length;
        for ((sum, from), to) in self.sums.iter_mut().zip(line.from).zip(line.to) {
            let (Some(from), Some(to)) = (*from, *to) else {
                continue;
            };
            sum.known += length;
            let (from, to) = (i128::from(from), i128::from(to));
            if is_whole {
                sum.twice_integral += (from + to) * i128::from(length);
                continue;
            }
            // Values at both ends, as many times too large as the line is long.
            let at = |moment: i64| from * whole + (to - from) * i128::from(moment - line.since);
            let (enters, leaves) = (at(part.start), at(part.end));
            sum.twice_integral += (enters + leaves) * i128::from(length) / whole;
            for edge in [enters, leaves] {
                widen(&mut sum.at_edges, rounded(edge, whole));
            }
        }
    }

    /// Adds a sample that lies in this bucket.
    fn take(&mut self, values: &[Option<i64>], summings: &[Option<Summing>]) {
        self.samples = self.samples.saturating_add(1);
        for ((sum, summing), value) in self.sums.iter_mut().zip(summings).zip(values) {
            let (Some(summing), Some(value)) = (summing, *value) else {
                continue;
            };
            match summing {
                Summing::Measured => {
                    sum.total += i128::from(value);
                    sum.count = sum.count.saturating_add(1);
                    widen(&mut sum.least_and_most, value);
                }
                Summing::Counted => {
                    sum.grown = Some(sum.grown.unwrap_or(0).saturating_add(value));
                }
            }
        }
    }

    fn close(self, summings: &[Option<Summing>]) -> Rollup {
        let cells = self.sums.iter().zip(summings);
        Rollup {
            cells: cells.map(|(sum, summing)| sum.cell(*summing)).collect(),
            bucket: self.bucket,
            samples: self.samples,
            covered: self.covered,
        }
    }
}

/// An amount that was counted evenly over a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub span: Range<i64>,
    pub amount: i64,
}

impl Spread {
    /// The part of the amount that falls into a bucket; the parts of all buckets together are the whole.
    pub(crate) fn share(&self, bucket: &Range<i64>) -> i64 {
        let length = i128::from(self.span.end) - i128::from(self.span.start);
        let until = |moment: i64| {
            let moment = moment.clamp(self.span.start, self.span.end);
            let passed = i128::from(moment) - i128::from(self.span.start);
            (i128::from(self.amount) * passed)
                .checked_div(length)
                .unwrap_or(0)
        };
        i64::try_from(until(bucket.end) - until(bucket.start)).unwrap_or(0)
    }
}

impl Rollup {
    /// A bucket without a sample.
    pub(crate) fn empty(bucket: Range<i64>, quantities: usize) -> Self {
        Self {
            bucket,
            samples: 0,
            covered: 0,
            cells: vec![None; quantities],
        }
    }

    /// Adds an amount to the quantity of that place.
    pub(crate) fn count(&mut self, place: usize, amount: i64) {
        if let Some(cell) = self.cells.get_mut(place) {
            let before = match cell {
                Some(Cell::Counted { grown }) => *grown,
                _ => 0,
            };
            *cell = Some(Cell::Counted {
                grown: before.saturating_add(amount),
            });
        }
    }

    /// The same with what was counted besides.
    #[must_use]
    pub(crate) fn with_counted(mut self, more: &Self) -> Self {
        for (place, cell) in more.cells.iter().enumerate() {
            if let Some(Cell::Counted { grown }) = cell {
                self.count(place, *grown);
            }
        }
        self
    }
}

/// Adds up buckets of five minutes, oldest first, to those of a level.
///
/// A mean weighs by the covered time of those of its parts that have the quantity, or by their samples where nothing
/// is covered.
pub(crate) struct FromFiveMinutes {
    level: Level,
    zone: TimeZone,
    open: Option<Composed>,
}

struct Composed {
    bucket: Range<i64>,
    samples: u32,
    covered: i64,
    sums: Vec<Option<ComposedCell>>,
}

enum ComposedCell {
    Measured {
        by_time: (i128, i128),
        by_samples: (i128, i128),
        min: i64,
        max: i64,
    },
    Counted(i64),
}

impl FromFiveMinutes {
    pub(crate) fn new(level: Level, zone: TimeZone) -> Self {
        Self {
            level,
            zone,
            open: None,
        }
    }

    /// Adds five minutes; gives the bucket that ended before them.
    pub(crate) fn add(&mut self, part: Rollup) -> Option<Rollup> {
        if self.level == Level::FiveMinutes {
            return Some(part);
        }
        let begin = part.bucket.start;
        let closed = self
            .open
            .take_if(|open| !open.bucket.contains(&begin))
            .map(Composed::close);
        self.open
            .get_or_insert_with(|| Composed {
                bucket: self.level.around(begin, &self.zone),
                samples: 0,
                covered: 0,
                sums: part.cells.iter().map(|_| None).collect(),
            })
            .add(&part);
        closed
    }

    /// The bucket that nothing has ended.
    pub(crate) fn finish(self) -> Option<Rollup> {
        self.open.map(Composed::close)
    }
}

impl Composed {
    fn add(&mut self, part: &Rollup) {
        self.samples = self.samples.saturating_add(part.samples);
        self.covered += part.covered;
        for (sum, cell) in self.sums.iter_mut().zip(&part.cells) {
            let weigh = |mean: i64, weight: i128| (i128::from(mean) * weight, weight);
            *sum = match (sum.take(), cell) {
                (sum, None) => sum,
                (Some(ComposedCell::Counted(sum)), Some(Cell::Counted { grown })) => {
                    Some(ComposedCell::Counted(sum.saturating_add(*grown)))
                }
                (_, Some(Cell::Counted { grown })) => Some(ComposedCell::Counted(*grown)),
                (sum, Some(Cell::Measured { mean, min, max })) => {
                    let mut by_time = weigh(*mean, part.covered.into());
                    let mut by_samples = weigh(*mean, part.samples.into());
                    let (mut least, mut most) = (*min, *max);
                    if let Some(ComposedCell::Measured {
                        by_time: time,
                        by_samples: samples,
                        min,
                        max,
                    }) = sum
                    {
                        by_time = (by_time.0 + time.0, by_time.1 + time.1);
                        by_samples = (by_samples.0 + samples.0, by_samples.1 + samples.1);
                        (least, most) = (least.min(min), most.max(max));
                    }
                    Some(ComposedCell::Measured {
                        by_time,
                        by_samples,
                        min: least,
                        max: most,
                    })
                }
            };
        }
    }

    fn close(self) -> Rollup {
        let cell = |sum| match sum {
            ComposedCell::Counted(grown) => Cell::Counted { grown },
            ComposedCell::Measured {
                by_time,
                by_samples,
                min,
                max,
            } => {
                let (sum, weight) = if by_time.1 > 0 { by_time } else { by_samples };
                Cell::Measured {
                    mean: rounded(sum, weight),
                    min,
                    max,
                }
            }
        };
        Rollup {
            bucket: self.bucket,
            samples: self.samples,
            covered: self.covered,
            cells: self.sums.into_iter().map(|sum| sum.map(cell)).collect(),
        }
    }
}
