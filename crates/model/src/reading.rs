//! A reading: one poll of one inverter. When, which, and the values.

use std::sync::Arc;
use std::time::Duration;

use crate::catalogue::Values;
use crate::counted::Counted;
use crate::time::{Moment, UnixMillis, Uptime};

/// The version of the form of a JSON line. It rises only when something must break for those who read it.
pub const SCHEMA: u32 = 1;

/// Which inverter. Its name in the configuration is its identity; serial and model are attributes that may
/// become known later, or never.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inverter {
    /// The name in the configuration: `[A-Za-z0-9_-]{1,32}`.
    pub name: Arc<str>,
    /// The serial number, once the device info has given it.
    pub serial: Option<Arc<str>>,
    /// The model, once the device info has given it.
    pub model: Option<Arc<str>>,
}

impl Inverter {
    /// An inverter of which only the name is known.
    pub fn named(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            serial: None,
            model: None,
        })
    }
}

/// One poll of one inverter. The pair of inverter name and time is its key.
///
/// A store sees no other than this one, with a time. Only who shows how things are now sees one [as it is](Shown), before
/// the clock is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<Time = UnixMillis> {
    /// When the reply came, by the collector's clock.
    pub time: Time,
    /// Which inverter replied.
    pub inverter: Arc<Inverter>,
    /// What it said.
    pub values: Values,
    /// What was counted since the reading before; not shown with the values. Absent where nobody counts.
    pub counted: Option<Counted>,
}

/// A reading that came before the clock was set: only how long the machine had run is known.
pub type Undated = Reading<Uptime>;

/// A reading as it is shown to anyone who wants to know how things are now, with its time if the clock is set.
pub type Shown = Reading<Option<UnixMillis>>;

impl<Time> Reading<Time> {
    /// The same of another time.
    #[must_use]
    pub fn at<Other>(&self, time: Other) -> Reading<Other> {
        Reading {
            time,
            inverter: self.inverter.clone(),
            values: self.values.clone(),
            counted: self.counted.clone(),
        }
    }
}

impl<Time: Moment> Reading<Time> {
    /// The same for anyone who wants to know how things are now.
    pub fn shown(&self) -> Shown {
        self.at(self.time.unix())
    }
}

/// How long the values of a reading are live, where an inverter is polled at this interval: a minute, or four polls if
/// that is longer. Older ones are stale, and so are those of an inverter that is silent, which three polls show: so this
/// is for when nobody is left to say that, and a short pause of a broker or collector is not seen in every history.
pub fn fresh_for(interval: Duration) -> Duration {
    interval.saturating_mul(4).max(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{BatteryMode, Errors};
    use crate::scalar::{Bits, Clock};
    use crate::units::Watts;

    /// Frozen: other people's tools read this. A change here is a change of [`SCHEMA`].
    #[test]
    fn a_json_line_keeps_its_form() {
        let reading = Reading {
            time: UnixMillis(1_795_342_530_120),
            inverter: Arc::new(Inverter {
                name: "roof".into(),
                serial: Some("KSE\"1".into()),
                model: Some("KSE4000".into()),
            }),
            values: Values {
                pv_power: Some(Watts::new(171_054)),
                grid_power: Some(Watts::new(-6746)),
                battery_mode: Some(BatteryMode::DISCHARGING),
                errors: Some(Errors(0x204)),
                error_bits: Some(Bits(0x204)),
                inverter_clock: Clock::new([2026, 11, 22, 10, 15, 29]),
                ..Values::default()
            },
            counted: None,
        };
        assert_eq!(
            serde_json::to_string(&reading).expect("a reading is plain data"),
            r#"{"schema":1,"time":"2026-11-22T10:15:30.120Z","inverter":"roof","serial":"KSE\"1","model":"KSE4000","pv_power":1710.54,"battery_mode":"discharging","grid_power":-6746,"errors":["bit_2","utility_loss"],"error_bits":516,"inverter_clock":"2026-11-22T10:15:29"}"#
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let reading = Reading {
            time: UnixMillis(0),
            inverter: Inverter::named("a"),
            values: Values::default(),
            counted: None,
        };
        assert_eq!(
            serde_json::to_string(&reading).expect("a reading is plain data"),
            r#"{"schema":1,"time":"1970-01-01T00:00:00.000Z","inverter":"a"}"#
        );
    }

    #[test]
    fn a_reading_without_a_time_says_none_until_the_clock_is_set() {
        let second = Duration::from_secs(1);
        let undated = Undated {
            time: Uptime(90 * second),
            inverter: Inverter::named("a"),
            values: Values::default(),
            counted: None,
        };
        let line = r#"{"schema":1,"inverter":"a"}"#;
        assert_eq!(serde_json::to_string(&undated).expect("plain data"), line);
        assert_eq!(
            serde_json::to_string(&undated.shown()).expect("plain data"),
            line
        );
    }
}
