//! Values and ages in words.

use std::time::Duration;

use kstar_model::catalogue::{Quantity, Value, Values};

/// What stands where a value is absent.
pub(super) const ABSENT: &str = "–";

/// A power: whole watts, and kilowatts from ten on.
pub(super) fn power(watts: f64) -> String {
    if watts.abs() < 9999.5 {
        // What rounds to zero has no sign.
        format!("{:.0} W", if watts.abs() < 0.5 { 0.0 } else { watts })
    } else {
        format!("{:.2} kW", watts / 1000.0)
    }
}

/// A quantity with its unit, as exact as it is.
pub(super) fn value(values: &Values, quantity: Quantity) -> Option<String> {
    let value = values.get(quantity)?;
    let unit = quantity.description().unit;
    let text = match value {
        Value::Mode(_) | Value::Flags { .. } => value.to_string().replace('_', " "),
        _ => value.to_string(),
    };
    Some(if unit.is_empty() {
        text
    } else {
        format!("{text} {unit}")
    })
}

pub(super) fn mode(values: &Values, quantity: Quantity) -> Option<String> {
    match values.get(quantity)? {
        mode @ Value::Mode(_) => Some(mode.to_string().replace('_', " ")),
        _ => None,
    }
}

/// A span of time in at most two units.
pub(super) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_short_and_nothing_has_no_sign() {
        let shown = [0.0, -0.3, 2350.54, -9999.4, 12_345.0].map(power);
        assert_eq!(shown, ["0 W", "0 W", "2351 W", "-9999 W", "12.35 kW"]);
    }

    #[test]
    fn ages_have_the_units_that_matter() {
        let shown = [0, 59, 60, 3599, 7500, 90_000].map(|age_s| age(Duration::from_secs(age_s)));
        assert_eq!(
            shown,
            ["0 s", "59 s", "1 min", "59 min", "2 h 5 min", "1 d 1 h"]
        );
    }
}
