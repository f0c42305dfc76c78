//! Values, ages and faults in words.

use std::time::Duration;

use kstar_model::catalogue::{Quantity, Role, Value, Values};
use kstar_model::scalar::Kind;
use kstar_model::scalar::set_flags;

/// What stands where a value is absent.
pub(super) const ABSENT: &str = "–";

/// A quantity as a number in its unit.
pub(super) fn number(values: &Values, quantity: Quantity) -> Option<f64> {
    match quantity.value(values.raw(quantity)?) {
        Value::Number(number) => Some(number.to_f64()),
        _ => None,
    }
}

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

/// No faults yet, but somebody should know.
const WARNINGS: [Quantity; 3] = [
    Quantity::battery_warnings,
    Quantity::bms_warnings,
    Quantity::alarms,
];

/// What is wrong by the inverter's own words, each set of flags as one text.
pub(super) fn faults(values: &Values) -> Vec<String> {
    let mut faults = Vec::new();
    for quantity in Quantity::ALL {
        let description = quantity.description();
        let harmless = match description.role {
            Role::Fault { harmless } => harmless,
            _ if WARNINGS.contains(quantity) => &[],
            _ => continue,
        };
        let Kind::Flags(labels) = description.kind else {
            continue;
        };
        let set: Vec<String> = set_flags(labels, values.raw(*quantity).unwrap_or_default())
            .map(|flag| flag.to_string())
            .filter(|flag| !harmless.contains(&flag.as_str()))
            .map(|flag| flag.replace('_', " "))
            .collect();
        if !set.is_empty() {
            faults.push(format!("{}: {}", description.label, set.join(", ")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use kstar_model::labels::{Alarms, BmsErrors, Errors};

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

    #[test]
    fn a_battery_without_a_management_system_is_no_fault() {
        let mut values = Values {
            bms_errors: Some(BmsErrors(0x100)),
            ..Values::default()
        };
        assert!(faults(&values).is_empty());
        values.errors = Some(Errors(0x204));
        values.bms_errors = Some(BmsErrors(0x101));
        values.alarms = Some(Alarms(0x8));
        assert_eq!(
            faults(&values),
            [
                "BMS errors: over temperature",
                "Errors: bit 2, utility loss",
                "Alarms: bit 3"
            ]
        );
    }
}
