//! What a day, a month or a year comes to: the definitions, as pure functions over plain figures.
//!
//! All energies are in kWh and positive. Where they come from:
//!
//! - production is what the panels gave (counted as `pv_energy_total`, else the integral of `pv_power`);
//! - import and export are what crossed the grid connection (`grid_import_energy_total`, `grid_export_energy_total`, else
//!   the integrals of `grid_import_power` and `grid_export_power`);
//! - charged and discharged are what went into the battery and came out of it (`battery_charge_energy_total`,
//!   `battery_discharge_energy_total`, else the integrals of `battery_charge_power` and `battery_discharge_power`);
//! - consumption is what the house used (`consumption_energy_total`, else the integral of `load_power + backup_power`).
//!
//! What follows from them:
//!
//! ```text
//! self-consumption = 1 − export / production        from 0 to 1, absent without production
//! self-sufficiency = 1 − import / consumption       from 0 to 1, absent without consumption
//! losses           = production + import + discharged − consumption − export − charged
//! cost             = Σ import × price               price, feed_in: those of the time
//! income           = Σ export × feed_in
//! savings          = Σ (consumption − import) × price
//! net              = cost + standing charge − income
//! ```
//!
//! Losses are what the inverter keeps, and every error of measurement; they are shown as they are, also below zero.
//! Savings are what the house used without buying it. While the battery is charged from the grid they are negative, and
//! what it gives back later makes up for it; so cost + savings is what the house would have paid without a plant.
//!
//! - [`gather`]: a history's buckets as a report;
//! - [`show`]: a report as a table and as JSON.

use std::ops::Range;
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kstar_common::tariff::Prices;
use kstar_model::time::UnixMillis;

use crate::period::Calendar;
use crate::titles::Titles;

pub mod gather;
pub mod show;

/// Where an energy was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A counter, which also knows what was made while nobody asked.
    Counter,
    /// Power, added up over the time in which it is known.
    Power,
    /// One for a part of the time and the other for the rest.
    Both,
}

impl Origin {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Power => "power",
            Self::Both => "both",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Energy {
    /// In kWh.
    pub kwh: f64,
    /// Where it was taken from.
    pub origin: Origin,
}

/// The energies of a stretch of time; absent where nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flows {
    /// From the panels.
    pub production: Option<Energy>,
    /// Into the house, its back-up output included.
    pub consumption: Option<Energy>,
    /// From the grid.
    pub import: Option<Energy>,
    /// Into the grid.
    pub export: Option<Energy>,
    /// Into the battery.
    pub charged: Option<Energy>,
    /// Out of the battery.
    pub discharged: Option<Energy>,
}

impl Flows {
    /// Each energy with its name in JSON.
    pub fn named(&self) -> [(&'static str, Option<Energy>); 6] {
        [
            ("production", self.production),
            ("consumption", self.consumption),
            ("import", self.import),
            ("export", self.export),
            ("charged", self.charged),
            ("discharged", self.discharged),
        ]
    }

    /// Adds another stretch of time, or another inverter. What only one of both knows is taken from that one; the
    /// coverage tells how much is missing.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.production, other.production),
            (&mut self.consumption, other.consumption),
            (&mut self.import, other.import),
            (&mut self.export, other.export),
            (&mut self.charged, other.charged),
            (&mut self.discharged, other.discharged),
        ] {
            *sum = either(*sum, more, |one, other| Energy {
                kwh: one.kwh + other.kwh,
                origin: if one.origin == other.origin {
                    one.origin
                } else {
                    Origin::Both
                },
            });
        }
    }

    /// The share of the production that was not fed into the grid, from 0 to 1.
    pub fn self_consumption(&self) -> Option<f64> {
        rest(self.export?.kwh, self.production?.kwh)
    }

    /// The share of the consumption that was not bought, from 0 to 1.
    pub fn self_sufficiency(&self) -> Option<f64> {
        rest(self.import?.kwh, self.consumption?.kwh)
    }

    /// What went in and did not come out, in kWh: the inverter's losses and the errors of measurement. Without a battery
    /// nothing went into one.
    pub fn losses(&self) -> Option<f64> {
        let battery = |energy: Option<Energy>| energy.map_or(0.0, |energy| energy.kwh);
        let sources = self.production?.kwh + self.import?.kwh + battery(self.discharged);
        let uses = self.consumption?.kwh + self.export?.kwh + battery(self.charged);
        Some(sources - uses)
    }

    /// Whether sources and uses fit together as well as an inverter's losses and its rounding let them: at least not
    /// 5 % more uses than sources, and not a third of the sources lost. Too little energy for a verdict fits.
    pub fn is_balanced(&self) -> bool {
        let Some(losses) = self.losses() else {
            return true;
        };
        let sources: f64 = [self.production, self.import, self.discharged]
            .iter()
            .flatten()
            .map(|energy| energy.kwh)
            .sum();
        sources < 1.0 || (-0.05..=0.34).contains(&(losses / sources))
    }
}

/// What is left of a whole without a part, as a share of it.
fn rest(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| (1.0 - part / whole).clamp(0.0, 1.0))
}

/// A share as a whole number of percent. What is nearly all is not all: 100 is only where nothing is missing.
pub fn percent(share: f64) -> f64 {
    let rounded = (share * 100.0).round_ties_even();
    if share < 1.0 {
        rounded.min(99.0)
    } else {
        rounded
    }
}

/// What a stretch of time has cost and brought, in the tariff's currency; absent where an energy for it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Money {
    /// For what was imported.
    pub cost: Option<f64>,
    /// For what was exported.
    pub income: Option<f64>,
    /// What the rest of the consumption would have cost.
    pub savings: Option<f64>,
    /// What the connection has cost, for days with readings.
    pub standing_charge: Option<f64>,
}

impl Money {
    /// What energies come to at these prices for a kWh.
    pub fn of(flows: &Flows, Prices { price, feed_in }: Prices) -> Self {
        let [consumption, import, export] =
            [flows.consumption, flows.import, flows.export].map(|energy| energy.map(|it| it.kwh));
        let saved = consumption.zip(import).map(|(used, bought)| used - bought);
        Self {
            cost: import.map(|kwh| kwh * price),
            income: export.map(|kwh| kwh * feed_in),
            savings: saved.map(|kwh| kwh * price),
            standing_charge: None,
        }
    }

    /// What is left to pay: negative where more came in.
    pub fn net(&self) -> Option<f64> {
        Some(self.cost? + self.standing_charge.unwrap_or(0.0) - self.income?)
    }

    /// Each amount with its name in JSON.
    pub fn named(&self) -> [(&'static str, Option<f64>); 5] {
        [
            ("cost", self.cost),
            ("income", self.income),
            ("savings", self.savings),
            ("standing_charge", self.standing_charge),
            ("net", self.net()),
        ]
    }

    /// Adds another stretch of time.
    pub fn add(&mut self, other: &Self) {
        self.cost = either(self.cost, other.cost, |one, other| one + other);
        self.income = either(self.income, other.income, |one, other| one + other);
        self.savings = either(self.savings, other.savings, |one, other| one + other);
        let charges = (self.standing_charge, other.standing_charge);
        self.standing_charge = either(charges.0, charges.1, |one, other| one + other);
    }
}

/// Both together, or the one that is there.
fn either<T>(one: Option<T>, other: Option<T>, both: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(both(one, other)),
        (one, other) => one.or(other),
    }
}

/// The highest power of an inverter's panels.
#[derive(Clone, Debug, PartialEq)]
pub struct Peak {
    /// In W.
    pub watts: f64,
    pub inverter: Arc<str>,
    /// The time of its reading; where that is not kept any more, the begin of the five minutes in which it was.
    pub time: UnixMillis,
    /// The end of those five minutes.
    pub until: Option<UnixMillis>,
}

/// What a stretch of time comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub flows: Flows,
    /// What they cost, with a tariff.
    pub money: Money,
    /// The highest power of the panels of one inverter, in W.
    pub peak_watts: Option<f64>,
    /// The time that readings cover, in seconds, of all inverters together.
    pub covered: f64,
}

impl Figures {
    /// Adds another stretch of time, or another inverter.
    pub fn add(&mut self, other: &Self) {
        self.flows.add(&other.flows);
        self.money.add(&other.money);
        self.peak_watts = either(self.peak_watts, other.peak_watts, f64::max);
        self.covered += other.covered;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    One(Calendar),
    /// All that there is, by years.
    Total,
}

impl Subject {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::One(calendar) => calendar.name(),
            Self::Total => "total",
        }
    }

    /// The first day of the same time a year before: of a week, the one of the same number or nearly so.
    pub fn year_before(self, date: Date) -> Option<Date> {
        let Self::One(calendar) = self else {
            return None;
        };
        let first = calendar.first(date);
        let before = match calendar {
            Calendar::Week => first.saturating_sub(52.weeks()),
            Calendar::Day | Calendar::Month | Calendar::Year => first.saturating_sub(1.year()),
        };
        Some(calendar.first(before)).filter(|before| *before < first)
    }

    /// What it is parted into; hours if there is no shorter stretch of the calendar.
    pub fn part(self) -> Option<Calendar> {
        match self {
            Self::One(Calendar::Day) => None,
            Self::One(Calendar::Week | Calendar::Month) => Some(Calendar::Day),
            Self::One(Calendar::Year) => Some(Calendar::Month),
            Self::Total => Some(Calendar::Year),
        }
    }
}

/// A part of a report's time, and what it comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// From its first moment to the first that is not in it.
    pub span: Range<UnixMillis>,
    pub figures: Figures,
    /// The share of the time until now that readings cover; absent for the future.
    pub coverage: Option<f64>,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub subject: Subject,
    pub days: Range<Date>,
    /// The zone whose midnights part them.
    pub zone: TimeZone,
    /// The inverters that it adds up.
    pub inverters: Vec<Arc<str>>,
    /// What people call them.
    pub titles: Titles,
    pub currency: Option<String>,
    /// The parts, in the order of time.
    pub parts: Vec<Part>,
    /// All parts together.
    pub sum: Part,
    /// The highest power of each inverter's panels.
    pub peaks: Vec<Peak>,
    /// What was counted at times that nobody knows, since the clock was wrong; it is in no part and not in the sum.
    pub unknown: Vec<TimeUnknown>,
}

/// What an inverter's readings have counted that are set apart.
#[derive(Clone, Debug)]
pub struct TimeUnknown {
    pub inverter: Arc<str>,
    /// How many readings.
    pub readings: u64,
    /// The times that the first and the last of them have.
    pub span: Range<UnixMillis>,
    /// What they have counted.
    pub flows: Flows,
}

impl Report {
    /// What its inverters are called, as one text.
    pub fn called(&self) -> String {
        self.titles.listed(&self.inverters)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as it stands among the flows")]
    fn energy(kwh: f64) -> Option<Energy> {
        Some(Energy {
            kwh,
            origin: Origin::Power,
        })
    }

    #[test]
    fn a_year_before_is_the_same_kind_of_time() {
        for (calendar, first, before) in [
            (Calendar::Day, date(2026, 11, 29), date(2025, 11, 29)),
            (Calendar::Day, date(2024, 2, 29), date(2023, 2, 28)),
            (Calendar::Week, date(2026, 11, 23), date(2025, 11, 24)),
            (Calendar::Month, date(2026, 2, 1), date(2025, 2, 1)),
            (Calendar::Month, date(2026, 2, 28), date(2025, 2, 1)),
            (Calendar::Year, date(2026, 1, 1), date(2025, 1, 1)),
        ] {
            assert_eq!(Subject::One(calendar).year_before(first), Some(before));
        }
        assert_eq!(Subject::Total.year_before(date(2026, 1, 1)), None);
        assert_eq!(Subject::One(Calendar::Day).year_before(Date::MIN), None);
    }

    /// A summer's day, in kWh.
    fn day() -> Flows {
        Flows {
            production: energy(20.0),
            consumption: energy(10.0),
            import: energy(1.0),
            export: energy(8.0),
            charged: energy(6.0),
            discharged: energy(5.0),
        }
    }

    fn prices(price: f64, feed_in: f64) -> Prices {
        Prices { price, feed_in }
    }

    fn assert_near(value: Option<f64>, expected: f64) {
        assert!(
            value.is_some_and(|value| (value - expected).abs() < 1e-9),
            "{value:?}, expected {expected}"
        );
    }

    #[test]
    fn the_definitions_hold() {
        assert_near(day().self_consumption(), 0.6);
        assert_near(day().self_sufficiency(), 0.9);
        assert_near(day().losses(), 2.0);
        assert!(day().is_balanced());
    }

    #[test]
    fn a_share_stays_between_nothing_and_all() {
        // At night the battery feeds the grid, or the grid the battery.
        let flows = Flows {
            production: energy(1.0),
            export: energy(3.0),
            import: energy(9.0),
            consumption: energy(2.0),
            ..Flows::default()
        };
        assert_near(flows.self_consumption(), 0.0);
        assert_near(flows.self_sufficiency(), 0.0);
    }

    #[test]
    fn there_is_no_share_of_nothing() {
        let none = Flows {
            production: energy(0.0),
            consumption: energy(-0.1),
            import: energy(1.0),
            export: energy(0.0),
            ..Flows::default()
        };
        assert_eq!(none.self_consumption(), None);
        assert_eq!(none.self_sufficiency(), None);
        assert_eq!(Flows::default().self_sufficiency(), None);
        assert_eq!(Flows::default().losses(), None);
    }

    #[test]
    fn energies_that_do_not_fit_together_are_noticed() {
        let mut flows = day();
        flows.consumption = energy(14.0);
        assert!(!flows.is_balanced(), "more used than there was");
        flows.consumption = energy(1.0);
        assert!(!flows.is_balanced(), "too much lost");
    }

    #[test]
    fn a_sum_tells_where_its_parts_come_from() {
        let mut sum = Flows {
            production: Some(Energy {
                kwh: 1.0,
                origin: Origin::Counter,
            }),
            ..Flows::default()
        };
        sum.add(&day());
        assert_eq!(
            sum.production,
            Some(Energy {
                kwh: 21.0,
                origin: Origin::Both
            })
        );
        assert_eq!(sum.import, energy(1.0));
    }

    #[test]
    fn money_is_what_was_bought_sold_and_not_bought() {
        let money = Money::of(&day(), prices(0.3, 0.08));
        assert_near(money.cost, 0.3);
        assert_near(money.income, 0.64);
        assert_near(money.savings, 2.7);
        assert_near(money.net(), -0.34);
        let charged = Money {
            standing_charge: Some(0.5),
            ..money
        };
        assert_near(charged.net(), 0.16);
        assert_eq!(
            Money::of(&Flows::default(), prices(0.3, 0.08)),
            Money::default()
        );
    }

    #[test]
    fn nearly_all_is_not_all() {
        let shown = [1.0, 0.9994, 0.995, 0.994, 0.5, 0.0].map(|share| percent(share).to_string());
        assert_eq!(shown, ["100", "99", "99", "99", "50", "0"]);
    }

    proptest! {
        /// However prices change over the day: what was paid and what was saved is what all of it would have cost.
        #[test]
        fn cost_and_savings_are_the_price_of_the_consumption(
            hours in prop::collection::vec((0.0..5.0, 0.0..5.0, 0.0..1.0), 1..24),
        ) {
            let mut all = Money::default();
            let mut without = 0.0;
            for (consumption, import, price) in hours {
                let flows = Flows { consumption: energy(consumption), import: energy(import), ..Flows::default() };
                all.add(&Money::of(&flows, prices(price, 0.0)));
                without += consumption * price;
            }
            let with = all.cost.zip(all.savings).map(|(cost, savings)| cost + savings);
            prop_assert!(with.is_some_and(|with| (with - without).abs() < 1e-9));
        }
    }
}
