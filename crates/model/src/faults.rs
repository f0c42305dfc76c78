//! What is wrong with an inverter by its own words, for people.

use crate::catalogue::{Quantity, Role, Values};
use crate::scalar::{Kind, set_flags};

/// No faults yet, but somebody should know.
const WARNINGS: [Quantity; 3] = [
    Quantity::battery_warnings,
    Quantity::bms_warnings,
    Quantity::alarms,
];

/// Each set of flags of which one is set that is not harmless, as one text.
pub fn faults(values: &Values) -> Vec<String> {
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
    use super::*;
    use crate::labels::{Alarms, BmsErrors, Errors};

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
