//! Doubt that does not last: what is said often enough, and consistently, is believed.

use kstar_model::catalogue::Quantity;

use super::rules::{CONVINCED, Rule};

/// What has come of a doubtful value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Doubted,
    /// It has just been said often enough.
    Convinced,
    /// It was said often enough before.
    Believed,
}

/// The values that are doubted, each by one rule.
#[derive(Clone, Debug)]
pub struct Doubts<T>(Vec<Doubt<T>>);

#[derive(Clone, Debug)]
struct Doubt<T> {
    rule: Rule,
    quantity: Quantity,
    last: T,
    count: u32,
}

impl<T> Default for Doubts<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Doubts<T> {
    /// Doubts a value once more; it counts on if it agrees with what was said last, else counting starts again.
    pub fn consider(
        &mut self,
        rule: Rule,
        quantity: Quantity,
        value: T,
        agree: impl FnOnce(&T) -> bool,
    ) -> Standing {
        let known = self
            .0
            .iter_mut()
            .find(|doubt| doubt.rule == rule && doubt.quantity == quantity);
        let mut count = 1;
        if let Some(doubt) = known {
            if agree(&doubt.last) {
                count = doubt.count.saturating_add(1);
            }
            doubt.count = count;
            doubt.last = value;
        } else {
            self.0.push(Doubt {
                rule,
                quantity,
                last: value,
                count,
            });
        }
        match count.cmp(&CONVINCED) {
            std::cmp::Ordering::Less => Standing::Doubted,
            std::cmp::Ordering::Equal => Standing::Convinced,
            std::cmp::Ordering::Greater => Standing::Believed,
        }
    }

    /// Gives up all doubt of a quantity by a rule.
    pub fn settle(&mut self, rule: Rule, quantity: Quantity) {
        self.0
            .retain(|doubt| doubt.rule != rule || doubt.quantity != quantity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agrees_a_dozen_times_in_a_row_is_believed() {
        let mut doubts = Doubts::default();
        let mut say = |value: i64| {
            doubts.consider(Rule::Range, Quantity::pv1_voltage, value, |last| {
                *last == value
            })
        };
        for _ in 1..CONVINCED {
            assert_eq!(say(7), Standing::Doubted);
        }
        assert_eq!(say(7), Standing::Convinced);
        assert_eq!(say(7), Standing::Believed);
        assert_eq!(say(8), Standing::Doubted, "that is another thing");
        for _ in 2..CONVINCED {
            assert_eq!(say(8), Standing::Doubted);
        }
        assert_eq!(say(8), Standing::Convinced);
    }

    #[test]
    fn each_rule_doubts_for_itself_and_a_settled_doubt_begins_anew() {
        let mut doubts = Doubts::default();
        let voltage = Quantity::pv1_voltage;
        for _ in 1..CONVINCED {
            doubts.consider(Rule::Range, voltage, (), |()| true);
        }
        doubts.consider(Rule::Range, Quantity::pv2_voltage, (), |()| true);
        doubts.settle(Rule::ZeroMeter, voltage);
        doubts.settle(Rule::Range, Quantity::pv2_voltage);
        assert_eq!(
            doubts.consider(Rule::Range, voltage, (), |()| true),
            Standing::Convinced
        );
        doubts.settle(Rule::Range, voltage);
        assert_eq!(
            doubts.consider(Rule::Range, voltage, (), |()| true),
            Standing::Doubted
        );
    }
}
