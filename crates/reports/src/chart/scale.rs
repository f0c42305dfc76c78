//! Where a value stands on an axis, and which values are worth a line.

/// A straight scale from values to pixels.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    from: f64,
    per_unit: f64,
    pixel: f64,
}

impl Scale {
    /// The scale on which the first value stands at the first pixel, and the second at the second.
    pub fn new(values: [f64; 2], pixels: [f64; 2]) -> Self {
        let [from, to] = values;
        let [first, last] = pixels;
        let length = to - from;
        Self {
            from,
            per_unit: if length == 0.0 {
                0.0
            } else {
                (last - first) / length
            },
            pixel: first,
        }
    }

    /// Where a value stands.
    pub fn at(&self, value: f64) -> f64 {
        self.pixel + (value - self.from) * self.per_unit
    }
}

/// The distance of lines so that there are at most `most` of them up to `length`: 1, 2 or 5 of some power of ten.
pub fn step(length: f64, most: f64) -> f64 {
    let least = (length / most).max(1e-9);
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        // The power may be rounded a little too low.
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// The multiples of a step from zero up to `length`.
pub fn ticks(length: f64, step: f64) -> impl Iterator<Item = f64> {
    (0_u16..)
        .map(move |count| f64::from(count) * step)
        .take_while(move |tick| *tick <= length * (1.0 + 1e-9))
}

/// A value at a line, with the decimals that the step needs.
pub fn label(value: f64, step: f64) -> String {
    let decimals = if step >= 1.0 {
        0
    } else if step >= 0.1 {
        1
    } else if step >= 0.01 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_stand_at_round_values() {
        for (length, lines) in [
            (3.95, vec!["0", "1", "2", "3"]),
            (0.9, vec!["0.0", "0.2", "0.4", "0.6", "0.8"]),
            (31.0, vec!["0", "10", "20", "30"]),
            (1000.0, vec!["0", "200", "400", "600", "800", "1000"]),
        ] {
            let step = step(length, 5.0);
            let labels: Vec<_> = ticks(length, step).map(|tick| label(tick, step)).collect();
            assert_eq!(labels, lines);
        }
    }

    proptest! {
        #[test]
        fn lines_are_few_and_none_is_beyond_the_highest_value(length in 0.001..100_000.0_f64) {
            let step = step(length, 5.0);
            let ticks: Vec<f64> = ticks(length, step).collect();
            prop_assert!((2..=6).contains(&ticks.len()), "{:?}", ticks);
            prop_assert!(ticks.iter().all(|tick| *tick <= length * 1.000_001));
            prop_assert!(ticks.last().is_some_and(|last| last + step > length));
        }
    }
}
