//! What was counted from one reading of an inverter to the next.
//!
//! Anyone who counted says how much; nobody finds it out by comparing two readings. So a counter that is set, a clock that
//! is set, another inverter under the same name, and readings that overlap or come again add no energy. Only sinks that
//! keep sums read this; it is not among the values of a reading.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::catalogue::{Quantity, Role, Values};
use crate::scalar::Kind;
use crate::units::Decimal;

/// The counters whose growth is told: every one that does not start anew each day.
#[expect(
    clippy::indexing_slicing,
    reason = "below the length; evaluated by the compiler"
)]
pub const COUNTERS: [Quantity; COUNT] = {
    let mut counters = [Quantity::ALL[0]; COUNT];
    let (mut index, mut found) = (0, 0);
    while index < Quantity::ALL.len() {
        if is_counted(Quantity::ALL[index]) {
            counters[found] = Quantity::ALL[index];
            found += 1;
        }
        index += 1;
    }
    counters
};

#[expect(
    clippy::indexing_slicing,
    reason = "below the length; evaluated by the compiler"
)]
const COUNT: usize = {
    let (mut index, mut count) = (0, 0);
    while index < Quantity::ALL.len() {
        if is_counted(Quantity::ALL[index]) {
            count += 1;
        }
        index += 1;
    }
    count
};

/// Whether the growth of a quantity is told: it is a counter, and does not start anew each day.
pub const fn is_counted(quantity: Quantity) -> bool {
    let description = quantity.description();
    matches!(description.kind, Kind::Counter) && !matches!(description.role, Role::Today { .. })
}

/// A power of a reading in hundredths of a watt, the resolution in which all of them add up.
pub fn hundredths(power: Quantity, values: &Values) -> Option<i64> {
    let missing = 2_u8.saturating_sub(power.description().decimals);
    values.raw(power)?.checked_mul(10_i64.pow(missing.into()))
}

/// What the house consumes, the derived quantity `consumption_power`: `load_power + backup_power`, or `load_power` alone
/// where the machine has no back-up output. That it has one is known once it has told the power of it; from then on the
/// sum is missing where one of the two is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Consumption {
    has_backup: bool,
}

impl Consumption {
    /// What it is called.
    pub const NAME: &'static str = "consumption_power";

    /// The sum of these two, or of their means over the same time.
    pub fn of<Power: Add<Output = Power>>(
        &mut self,
        load: Option<Power>,
        backup: Option<Power>,
    ) -> Option<Power> {
        self.has_backup |= backup.is_some();
        match backup {
            Some(backup) => Some(load? + backup),
            None => load.filter(|_| !self.has_backup),
        }
    }

    /// That of a reading, in hundredths of a watt.
    pub fn of_values(&mut self, values: &Values) -> Option<i64> {
        let [load, backup] = [Quantity::load_power, Quantity::backup_power]
            .map(|power| hundredths(power, values).map(i128::from));
        self.of(load, backup).and_then(|sum| sum.try_into().ok())
    }

    /// The same in watts, by what is known of the house before that reading.
    pub fn watts(mut self, values: &Values) -> Option<f64> {
        let raw = self.of_values(values)?;
        Some(Decimal { raw, decimals: 2 }.to_f64())
    }
}

/// The longest time between two readings that belong together where one is due in each interval, unless somebody has set
/// another: a minute, or two and a half intervals if that is longer, since one may be lost and the next be late.
pub fn longest_gap(interval: Duration) -> Duration {
    const INTERVALS: f64 = 2.5;
    let interval = interval.min(Duration::from_secs(24 * 60 * 60));
    interval.mul_f64(INTERVALS).max(MAX_GAP)
}

/// Readings that follow one another so closely always belong together.
pub const MAX_GAP: Duration = Duration::from_secs(60);

/// The power whose energy a counter counts, in hundredths of a watt and never negative, as far as a reading tells it. The
/// inverter's own counters count what no single power tells.
pub fn power(counter: Quantity, values: &Values) -> Option<i64> {
    let power = match counter {
        Quantity::pv_energy_total => Quantity::pv_power,
        Quantity::grid_import_energy_total => Quantity::grid_import_power,
        Quantity::grid_export_energy_total => Quantity::grid_export_power,
        Quantity::battery_charge_energy_total => Quantity::battery_charge_power,
        Quantity::battery_discharge_energy_total => Quantity::battery_discharge_power,
        Quantity::consumption_energy_total => {
            return Some(Consumption::default().of_values(values)?.max(0));
        }
        _ => return None,
    };
    Some(hundredths(power, values)?.max(0))
}

/// The powers that [`power`] asks for.
pub const POWERS: [Quantity; 7] = [
    Quantity::pv_power,
    Quantity::grid_import_power,
    Quantity::grid_export_power,
    Quantity::battery_charge_power,
    Quantity::battery_discharge_power,
    Quantity::load_power,
    Quantity::backup_power,
];

/// How much was counted of each counter, in the counter's resolution. Absent for a counter that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts([Option<i64>; COUNT]);

impl Amounts {
    /// The amount of a counter; never negative. Absent for what is no counter.
    pub fn of(&self, counter: Quantity) -> Option<i64> {
        self.iter().find(|(known, _)| *known == counter)?.1
    }

    /// Sets the amount of a counter; what is no counter has none.
    pub fn set(&mut self, counter: Quantity, amount: Option<i64>) {
        for (known, place) in COUNTERS.into_iter().zip(&mut self.0) {
            if known == counter {
                *place = amount;
            }
        }
    }

    /// Every counter with its amount, in the catalogue's order.
    pub fn iter(&self) -> impl Iterator<Item = (Quantity, Option<i64>)> {
        COUNTERS.into_iter().zip(self.0)
    }

    /// Adds what was counted at another time. What only one of both knows is taken from that one.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = match (*sum, more) {
                (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                (sum, more) => sum.or(more),
            };
        }
    }
}

/// Which account of energy has counted: a random number that is made with it. Amounts of two accounts that cover the
/// same time of one inverter are the same energy counted twice.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct AccountId(pub i64);

/// What was counted since the reading before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Who has counted.
    pub account: AccountId,
    /// The number of the reading among those of its account. It rises by time as it really passed, whatever the clock
    /// says; it may leave out numbers.
    pub sequence: u64,
    /// How long that took, up to the reading, by a clock that only runs forwards.
    pub covers: Duration,
    /// What was counted, less what [`earlier`](Self::earlier) holds.
    pub amounts: Amounts,
    /// What of it belongs to the day before, if a local midnight lies in between.
    pub earlier: Option<Earlier>,
}

/// What was counted before a local midnight that lies between two readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// How long before the reading the midnight was.
    pub ago: Duration,
    /// What was counted before.
    pub amounts: Amounts,
}

impl Counted {
    /// Takes over what a reading of the same inverter before this one has counted, since that one is dropped: no energy
    /// is lost with it. `apart` is the time between the two.
    pub fn take_over(&mut self, dropped: &Self, apart: Duration) {
        self.covers = self.covers.saturating_add(dropped.covers);
        match &mut self.earlier {
            // A midnight lies between the two.
            Some(earlier) if earlier.ago <= apart => earlier.amounts.add(&dropped.all()),
            Some(earlier) => {
                self.amounts.add(&dropped.amounts);
                if let Some(before) = &dropped.earlier {
                    earlier.amounts.add(&before.amounts);
                }
            }
            None => {
                self.amounts.add(&dropped.amounts);
                self.earlier = dropped.earlier.as_ref().map(|before| Earlier {
                    ago: before.ago.saturating_add(apart),
                    amounts: before.amounts,
                });
            }
        }
    }

    /// All that was counted, whichever day it belongs to.
    pub fn all(&self) -> Amounts {
        let mut all = self.amounts;
        if let Some(earlier) = &self.earlier {
            all.add(&earlier.amounts);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn counted(amount: i64, earlier: Option<Earlier>) -> Counted {
        let mut amounts = Amounts::default();
        amounts.set(Quantity::pv_energy_total, Some(amount));
        Counted {
            account: AccountId(1),
            sequence: 7,
            covers: 5 * SECOND,
            amounts,
            earlier,
        }
    }

    #[test]
    fn counters_are_what_counts_and_does_not_start_anew_each_day() {
        assert!(COUNTERS.contains(&Quantity::energy_total));
        assert!(COUNTERS.contains(&Quantity::pv_energy_total));
        assert!(!COUNTERS.contains(&Quantity::pv_energy_today));
        assert!(!COUNTERS.contains(&Quantity::pv_power));
    }

    #[test]
    fn energies_come_of_totals_and_of_no_part_of_them() {
        let mut totals = Values::default();
        for total in POWERS {
            totals.set_raw(total, Some(1000));
        }
        let mut all = totals.clone();
        for quantity in Quantity::ALL {
            if !POWERS.contains(quantity) {
                all.set_raw(*quantity, Some(77));
            }
        }
        for counter in COUNTERS {
            assert_eq!(power(counter, &all), power(counter, &totals), "{counter}");
        }
        assert_eq!(
            Consumption::default().of_values(&all),
            Consumption::default().of_values(&totals)
        );
    }

    #[test]
    fn consumption_is_missing_where_a_part_that_the_machine_has_is_missing() {
        let mut house = Consumption::default();
        assert_eq!(house.of(Some(3), None), Some(3));
        assert_eq!(house.of(Some(3), Some(4)), Some(7));
        assert_eq!(house.of(Some(3), None), None);
        assert_eq!(house.of(None, Some(4)), None);
    }

    #[test]
    fn readings_belong_together_where_one_is_lost_and_the_next_is_late() {
        let gaps = [5, 24, 60, u64::MAX].map(|seconds| longest_gap(Duration::from_secs(seconds)));
        assert_eq!(gaps.map(|gap| gap.as_secs()), [60, 60, 150, 216_000]);
    }

    #[test]
    fn what_a_dropped_reading_has_counted_goes_to_the_next_one_and_keeps_its_day() {
        let earlier = Earlier {
            ago: SECOND,
            amounts: counted(3, None).amounts,
        };
        let mut next = counted(4, None);
        next.take_over(&counted(2, Some(earlier.clone())), 5 * SECOND);
        assert_eq!(next.covers, 10 * SECOND);
        assert_eq!(next.amounts.of(Quantity::pv_energy_total), Some(6));
        assert_eq!(
            next.earlier.as_ref().map(|earlier| earlier.ago),
            Some(6 * SECOND)
        );
        assert_eq!(next.all().of(Quantity::pv_energy_total), Some(9));
        // That midnight is 6 s ago: what came 5 s ago was after it, and what came 7 s ago before.
        let pv = |amounts: &Amounts| amounts.of(Quantity::pv_energy_total);
        for (apart, today, all) in [(5, 8, 14), (7, 8, 19)] {
            next.take_over(&counted(2, Some(earlier.clone())), apart * SECOND);
            assert_eq!(
                (pv(&next.amounts), pv(&next.all())),
                (Some(today), Some(all))
            );
        }
        assert_eq!(next.amounts.of(Quantity::energy_total), None);
    }
}
