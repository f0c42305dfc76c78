//! Which language a browser wants, and how numbers, dates and ages are written in it.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use jiff::civil::{Date, DateTime};
use kstar_model::catalogue::{Quantity, Value, Values};
use kstar_reports::energy::{self, Subject};
use kstar_reports::period::Calendar;

use super::words::{ENGLISH, GERMAN, Words};

/// What stands where nothing is known.
pub(super) const MISSING: &str = "–";

static LANGUAGES: [&Words; 2] = [&ENGLISH, &GERMAN];

/// The language that a browser likes best of those that there are; English if it likes none.
pub(super) fn wanted(headers: &HeaderMap) -> &'static Words {
    let text = headers.get(ACCEPT_LANGUAGE).map(|value| value.to_str());
    let Some(Ok(text)) = text else {
        return &ENGLISH;
    };
    let mut best: (&'static Words, f64) = (&ENGLISH, 0.0);
    for entry in text.split(',') {
        let (tag, weight) = entry.split_once(';').unwrap_or((entry, "q=1"));
        let weight = weight.trim().strip_prefix("q=");
        let weight = weight.and_then(|weight| weight.trim().parse::<f64>().ok());
        let primary = tag.trim().split('-').next().unwrap_or_default();
        let known = LANGUAGES
            .iter()
            .find(|words| words.code.eq_ignore_ascii_case(primary));
        if let (Some(words), Some(weight)) = (known, weight)
            && weight > best.1
        {
            best = (words, weight);
        }
    }
    best.0
}

impl Words {
    /// A number with so many decimals, and without the minus of a zero.
    pub(super) fn number(&self, value: f64, decimals: usize) -> String {
        let text = format!("{value:.decimals$}");
        let text = match text.strip_prefix('-') {
            Some(rest) if rest.chars().all(|digit| matches!(digit, '0' | '.')) => rest.to_owned(),
            _ => text,
        };
        self.with_separator(text)
    }

    /// A text with a number, as the language writes it.
    pub(super) fn with_separator(&self, text: String) -> String {
        match self.chart.decimal {
            '.' => text,
            decimal => text.replace('.', decimal.encode_utf8(&mut [0; 4])),
        }
    }

    /// An energy with its unit.
    pub(super) fn energy(&self, kwh: Option<f64>, decimals: usize) -> String {
        kwh.map_or_else(
            || MISSING.to_owned(),
            |kwh| format!("{} kWh", self.number(kwh, decimals)),
        )
    }

    /// A power with its unit: whole watts, and kilowatts from ten on.
    pub(super) fn power(&self, watts: Option<f64>) -> String {
        match watts {
            None => MISSING.to_owned(),
            Some(watts) if watts.abs() < 9999.5 => format!("{} W", self.number(watts, 0)),
            Some(watts) => format!("{} kW", self.number(watts / 1000.0, 2)),
        }
    }

    pub(super) fn percent(&self, share: Option<f64>) -> String {
        share.map_or_else(
            || MISSING.to_owned(),
            |share| format!("{} %", self.number(energy::percent(share), 0)),
        )
    }

    /// A quantity of a reading with its unit, as exact as it is.
    pub(super) fn value(&self, values: &Values, quantity: Quantity) -> Option<String> {
        let unit = quantity.description().unit;
        let text = match values.get(quantity)? {
            value @ Value::Number(_) => self.with_separator(value.to_string()),
            value @ (Value::Mode(_) | Value::Flags { .. }) => value.to_string().replace('_', " "),
            value => value.to_string(),
        };
        Some(match unit {
            "" => text,
            unit => format!("{text} {unit}"),
        })
    }

    /// How long ago something was.
    pub(super) fn ago(&self, age: Duration) -> String {
        let seconds = age.as_secs();
        let (form, count) = match seconds {
            0..=119 => (self.seconds_ago, seconds),
            120..=7199 => (self.minutes_ago, seconds / 60),
            7200..=172_799 => (self.hours_ago, seconds / 3600),
            _ => (self.days_ago, seconds / 86_400),
        };
        form.replace("{}", &count.to_string())
    }

    pub(super) fn month(&self, date: Date) -> &'static str {
        let index = usize::try_from(date.month() - 1).unwrap_or_default();
        self.months.get(index).copied().unwrap_or_default()
    }

    fn weekday(&self, date: Date) -> &'static str {
        let index = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or_default();
        self.weekdays.get(index).copied().unwrap_or_default()
    }

    /// A moment of a day, with the date where the day is not known from what it stands in.
    pub(super) fn moment(&self, moment: DateTime, subject: Subject) -> String {
        let time = moment.strftime("%H:%M");
        if subject == Subject::One(Calendar::Day) {
            return time.to_string();
        }
        format!("{} {time}", moment.strftime(self.date_form))
    }

    /// A period's name: `Sunday 22 November 2026`.
    pub(super) fn title(&self, subject: Subject, first: Date) -> String {
        let (day, month, year) = (first.day(), self.month(first), first.year());
        match subject {
            Subject::One(Calendar::Day) if self.code == "de" => {
                format!("{}, {day}. {month} {year}", self.weekday(first))
            }
            Subject::One(Calendar::Day) => {
                format!("{} {day} {month} {year}", self.weekday(first))
            }
            Subject::One(Calendar::Week) => {
                let week = first.iso_week_date();
                format!("{} {} / {}", self.week, week.week(), week.year())
            }
            Subject::One(Calendar::Month) => format!("{month} {year}"),
            Subject::One(Calendar::Year) => year.to_string(),
            Subject::Total => self.all_years.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_browser_gets_the_language_that_it_likes_best() {
        for (header, code) in [
            ("de-DE,de;q=0.9,en;q=0.8", "de"),
            ("en-US,en;q=0.9,de;q=0.8", "en"),
            ("fr,de;q=0.3,en;q=0.2", "de"),
            ("fr", "en"),
            ("DE", "de"),
            ("de;q=0", "en"),
            ("de;q=x, ;;, en;q=0.1", "en"),
            ("", "en"),
        ] {
            let headers =
                HeaderMap::from_iter([(ACCEPT_LANGUAGE, header.parse().expect("a header"))]);
            assert_eq!(wanted(&headers).code, code, "{header}");
        }
        assert_eq!(wanted(&HeaderMap::new()).code, "en");
    }

    #[test]
    fn numbers_have_the_separator_of_their_language() {
        assert_eq!(ENGLISH.energy(Some(3.456), 2), "3.46 kWh");
        assert_eq!(GERMAN.energy(Some(3.456), 2), "3,46 kWh");
        assert_eq!(GERMAN.power(Some(-0.3)), "0 W");
        assert_eq!(GERMAN.power(Some(12_345.0)), "12,35 kW");
        assert_eq!(ENGLISH.percent(None), MISSING);
    }

    #[test]
    fn periods_have_names_in_both_languages() {
        let sunday = date(2026, 11, 29);
        let day = Subject::One(Calendar::Day);
        assert_eq!(ENGLISH.title(day, sunday), "Sunday 29 November 2026");
        assert_eq!(GERMAN.title(day, sunday), "Sonntag, 29. November 2026");
        let week = Subject::One(Calendar::Week);
        assert_eq!(GERMAN.title(week, date(2026, 12, 28)), "Woche 53 / 2026");
        let month = Subject::One(Calendar::Month);
        assert_eq!(GERMAN.title(month, date(2026, 3, 1)), "März 2026");
    }

    #[test]
    fn ages_have_the_unit_that_matters() {
        for (seconds, text) in [
            (0, "0 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7200, "2 h ago"),
            (200_000, "2 d ago"),
        ] {
            assert_eq!(ENGLISH.ago(Duration::from_secs(seconds)), text);
        }
    }
}
