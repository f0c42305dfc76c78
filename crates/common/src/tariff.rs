//! What electricity costs: the sections `[[tariff]]` of the configuration, and the price at a given time.
//!
//! A household has one price, or a few by the time of day and week, and gets something for what it feeds in. When the
//! contract changes, another section says since when: what was before keeps its prices.

use jiff::Zoned;
use jiff::civil::{Date, DateTime, Time, Weekday};
use serde::{Deserialize, Deserializer, de};

pub use self::price_file::PriceFile;

use crate::key::KeyError;

mod price_file;

/// A section `[[tariff]]`: prices that are in force together.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// The first day of these prices; the first section needs none.
    #[serde(default)]
    pub since: Option<Day>,
    /// The currency, as reports show it.
    #[serde(deserialize_with = "currency")]
    pub currency: String,
    /// What a kWh from the grid costs at all times that no entry of `times` is about.
    #[serde(deserialize_with = "price")]
    pub price: f64,
    /// What a kWh that is fed into the grid brings in.
    #[serde(default, deserialize_with = "price")]
    pub feed_in: f64,
    /// What the connection costs for each day.
    #[serde(default, deserialize_with = "price")]
    pub standing_charge: f64,
    /// Times with a price of their own; where several fit, the first counts.
    #[serde(default)]
    pub times: Vec<Band>,
    /// A file with prices that change from hour to hour; where it has none, the others hold.
    #[serde(default)]
    pub file: Option<PriceFile>,
}

/// What a kWh costs and brings at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// What one from the grid costs.
    pub price: f64,
    /// What one that is fed into the grid brings in.
    pub feed_in: f64,
}

/// A time of the day with a price of its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends: on the next day, if that is earlier than its begin. "00:00" is the end of the day.
    pub to: TimeOfDay,
    /// What a kWh from the grid costs then.
    #[serde(deserialize_with = "price")]
    pub price: f64,
    /// What a kWh that is fed into the grid brings in then, where that is not the same at all times.
    #[serde(default, deserialize_with = "optional_price")]
    pub feed_in: Option<f64>,
    /// The days on which it begins; all if nothing is said.
    #[serde(default = "every_day")]
    pub weekdays: Vec<DayOfWeek>,
}

/// A date as `2026-11-22`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Day(pub Date);

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let date = if text.len() == 10 {
            text.parse().ok()
        } else {
            None
        };
        date.map(Self)
            .ok_or_else(|| format!("`{text}` is no date; write one like \"2026-11-22\""))
    }
}

/// A time of the day as `17:30`, in steps of five minutes: the history knows none that are shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeOfDay(pub Time);

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let time: Option<Time> = if text.len() == 5 {
            text.parse().ok()
        } else {
            None
        };
        let time = time
            .ok_or_else(|| format!("`{text}` is no time of the day; write one like \"17:30\""))?;
        if time.minute() % 5 == 0 {
            Ok(Self(time))
        } else {
            Err(format!(
                "`{text}` is between two steps of five minutes, and the history knows none that are shorter"
            ))
        }
    }
}

/// A day of the week, by the first three letters of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DayOfWeek {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl DayOfWeek {
    /// In their order.
    pub const ALL: [Self; 7] = [
        Self::Mon,
        Self::Tue,
        Self::Wed,
        Self::Thu,
        Self::Fri,
        Self::Sat,
        Self::Sun,
    ];

    fn is(self, weekday: Weekday) -> bool {
        weekday.to_monday_zero_offset() == self as i8
    }
}

fn every_day() -> Vec<DayOfWeek> {
    DayOfWeek::ALL.to_vec()
}

fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let price = f64::deserialize(deserializer)?;
    if price.is_finite() {
        Ok(price)
    } else {
        Err(de::Error::custom("a price is a number, like 0.32"))
    }
}

fn optional_price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    price(deserializer).map(Some)
}

fn currency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if (1..=8).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        Ok(name)
    } else {
        Err(de::Error::custom(
            "a currency has one to eight characters, like \"EUR\" or \"£\"",
        ))
    }
}

/// The shortest stretch for which one price holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Prices change at times that are no whole hours.
    FiveMinutes,
    /// Prices change at whole hours.
    Hour,
    /// Prices are the same all day.
    Day,
}

impl Band {
    fn covers(&self, local: DateTime) -> bool {
        let begins_on = |weekday| self.weekdays.iter().any(|day| day.is(weekday));
        let (time, weekday) = (local.time(), local.date().weekday());
        let (from, to) = (self.from.0, self.to.0);
        if from < to {
            (from..to).contains(&time) && begins_on(weekday)
        } else {
            (time >= from && begins_on(weekday)) || (time < to && begins_on(weekday.previous()))
        }
    }
}

impl Tariff {
    /// What a kWh costs and brings at a time, in the zone of the house.
    pub fn prices_at(&self, moment: &Zoned) -> Prices {
        let local = moment.datetime();
        let band = self.times.iter().find(|band| band.covers(local));
        let usual = Prices {
            price: band.map_or(self.price, |band| band.price),
            feed_in: band.and_then(|band| band.feed_in).unwrap_or(self.feed_in),
        };
        let file = self.file.as_ref();
        file.and_then(|file| file.at(moment.timestamp(), usual.feed_in))
            .unwrap_or(usual)
    }

    /// Reads the files with prices that have changed since they were read, which blocks. Each file that is wrong has an error in words; its prices stay as they were.
    pub fn refresh(tariffs: &[Self]) -> Vec<String> {
        let files = tariffs.iter().filter_map(|tariff| tariff.file.as_ref());
        files.filter_map(|file| file.refresh().err()).collect()
    }

    /// The tariff of a day; there is none before the first one.
    pub fn of(tariffs: &[Self], date: Date) -> Option<&Self> {
        tariffs
            .iter()
            .rfind(|tariff| tariff.since.is_none_or(|since| since.0 <= date))
    }

    /// How finely time must be parted so that each part has one price.
    pub fn step(tariffs: &[Self]) -> Step {
        tariffs
            .iter()
            .flat_map(|tariff| &tariff.times)
            .flat_map(|band| [band.from, band.to])
            .map(|time| {
                if time.0.minute() == 0 {
                    Step::Hour
                } else {
                    Step::FiveMinutes
                }
            })
            .chain(
                tariffs
                    .iter()
                    .filter_map(|tariff| tariff.file.as_ref().map(PriceFile::step)),
            )
            .min()
            .unwrap_or(Step::Day)
    }

    /// What one section says about another.
    pub fn check(tariffs: &[Self]) -> Result<(), KeyError> {
        for (index, tariff) in tariffs.iter().enumerate() {
            tariff
                .check_after(index.checked_sub(1).and_then(|before| tariffs.get(before)))
                .map_err(|error| error.within(index))?;
        }
        Ok(())
    }

    /// What is wrong with this section, after another one.
    fn check_after(&self, before: Option<&Self>) -> Result<(), KeyError> {
        if let Some(before) = before {
            if self.since.is_none() {
                let message =
                    "only the first tariff can do without `since`; say which day this one begins";
                return Err(KeyError::new("since", message));
            }
            if self.since.map(|day| day.0) <= before.since.map(|day| day.0) {
                let message =
                    "this tariff begins no later than the one before it; put them in order";
                return Err(KeyError::new("since", message));
            }
            if self.currency != before.currency {
                let message =
                    "all tariffs need the same currency, or their costs could not be added up";
                return Err(KeyError::new("currency", message));
            }
        }
        for (number, band) in self.times.iter().enumerate() {
            let message = if band.from == band.to {
                "there is no time between `from` and `to`; a price for the whole day is the tariff's `price`"
            } else if band.weekdays.is_empty() {
                "there is no day on which this price begins; leave `weekdays` away for all"
            } else {
                continue;
            };
            return Err(KeyError::new(number, message).within("times"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[derive(Deserialize)]
    struct File {
        tariff: Vec<Tariff>,
    }

    fn tariffs(text: &str) -> Vec<Tariff> {
        toml::from_str::<File>(text).expect(text).tariff
    }

    fn at(text: &str) -> Zoned {
        let local: DateTime = text.parse().expect(text);
        local.in_tz("UTC").expect(text)
    }

    const NIGHTS: &str = "
        [[tariff]]
        currency = 'EUR'
        price = 0.32
        feed_in = 0.08
        times = [
            { from = '00:30', to = '04:30', price = 0.09 },
            { from = '22:00', to = '06:00', price = 0.2, weekdays = ['sat'] },
            { from = '22:00', to = '00:00', price = 0.25 },
        ]";

    #[test]
    #[expect(clippy::float_cmp, reason = "the very number of the file")]
    fn the_price_is_that_of_the_first_time_that_fits_or_else_the_usual_one() {
        let tariff = &tariffs(NIGHTS)[0];
        for (moment, price) in [
            ("2026-11-23T00:25", 0.32),
            ("2026-11-23T00:30", 0.09),
            ("2026-11-23T04:25", 0.09),
            ("2026-11-23T04:30", 0.32),
            ("2026-11-23T23:55", 0.25),
            // Saturday night, which goes on into Sunday.
            ("2026-11-21T22:00", 0.2),
            ("2026-11-22T00:00", 0.2),
            ("2026-11-22T01:00", 0.09),
            ("2026-11-22T05:55", 0.2),
            ("2026-11-22T06:00", 0.32),
            ("2026-11-21T05:00", 0.32),
        ] {
            assert_eq!(tariff.prices_at(&at(moment)).price, price, "{moment}");
        }
    }

    #[test]
    fn what_is_fed_in_may_bring_more_at_some_times() {
        let tariff = &tariffs(
            "[[tariff]]\ncurrency = '£'\nprice = 0.3\nfeed_in = 0.1\nstanding_charge = 0.6\ntimes = [\
             { from = '16:00', to = '19:00', price = 0.4, feed_in = 0.25 },\
             { from = '02:00', to = '05:00', price = 0.15 }]",
        )[0];
        for (moment, price, feed_in) in [
            ("2026-11-23T12:00", 0.3, 0.1),
            ("2026-11-23T16:00", 0.4, 0.25),
            ("2026-11-23T02:00", 0.15, 0.1),
        ] {
            let expected = Prices { price, feed_in };
            assert_eq!(tariff.prices_at(&at(moment)), expected, "{moment}");
        }
    }

    #[test]
    fn a_new_tariff_leaves_the_past_as_it_was() {
        let tariffs = tariffs(
            "[[tariff]]\nsince = '2025-01-01'\ncurrency = '£'\nprice = 0.3\n\
             [[tariff]]\nsince = '2026-01-01'\ncurrency = '£'\nprice = 1",
        );
        let price = |year, month, day| {
            Tariff::of(&tariffs, date(year, month, day)).map(|tariff| tariff.price)
        };
        assert_eq!(price(2024, 12, 31), None);
        assert_eq!(price(2025, 1, 1), Some(0.3));
        assert_eq!(price(2025, 12, 31), Some(0.3));
        assert_eq!(price(2026, 1, 1), Some(1.0));
    }

    #[test]
    fn prices_decide_how_finely_time_is_parted() {
        let step = |times: &str| {
            Tariff::step(&tariffs(&format!(
                "[[tariff]]\ncurrency = 'EUR'\nprice = 1\ntimes = [{times}]"
            )))
        };
        assert_eq!(step(""), Step::Day);
        assert_eq!(
            step("{ from = '22:00', to = '06:00', price = 0 }"),
            Step::Hour
        );
        assert_eq!(
            step("{ from = '22:00', to = '06:05', price = 0 }"),
            Step::FiveMinutes
        );
        assert_eq!(Tariff::step(&[]), Step::Day);
    }

    #[test]
    fn what_is_no_time_date_price_or_currency_is_refused() {
        for (key, value, words) in [
            ("since", "'1.1.2026'", "no date"),
            ("since", "'2026-02-30'", "no date"),
            ("price", "nan", "a price is a number"),
            ("currency", "''", "one to eight"),
            (
                "times",
                "[{ from = '25:00', to = '01:00', price = 1 }]",
                "no time of the day",
            ),
            (
                "times",
                "[{ from = '1:00', to = '02:00', price = 1 }]",
                "like \"17:30\"",
            ),
            (
                "times",
                "[{ from = '01:02', to = '02:00', price = 1 }]",
                "five minutes",
            ),
            (
                "times",
                "[{ from = '01:00', to = '02:00', price = 1, weekdays = ['monday'] }]",
                "`mon`",
            ),
        ] {
            let needed = [("currency", "'EUR'"), ("price", "1")];
            let lines: Vec<String> = std::iter::once((key, value))
                .chain(needed.into_iter().filter(|(needed, _)| *needed != key))
                .map(|(key, value)| format!("{key} = {value}"))
                .collect();
            let text = format!("[[tariff]]\n{}", lines.join("\n"));
            let error = toml::from_str::<File>(&text).err().expect(value);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
