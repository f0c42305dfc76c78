//! What of the gate's doings is worth a line in the log: each thing once, for what a machine does now and then it does
//! for years; and again each day what has not been right since.

use std::time::Duration;

use kstar_model::catalogue::Quantity;

use super::rules::Rule;
use super::{Fault, Judgement};

/// How often that is said which goes on.
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Something worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// A value was dropped, as never before.
    Dropped(&'a Fault),
    /// A value has been dropped from every reading for a day.
    StillDropped(&'a Fault),
    /// A reading was rejected, as never before.
    Rejected,
    /// Every reading has been rejected for a day.
    StillRejected,
}

/// What was said of an inverter.
#[derive(Clone, Debug, Default)]
pub struct Notices(Vec<Said>);

#[derive(Clone, Debug)]
struct Said {
    /// The rule that has struck, and what it has dropped; nothing if the whole reading was rejected.
    what: (Rule, Option<Quantity>),
    /// When it was said, or when it came again after it had been right.
    since: Duration,
    /// Whether it was so in every reading since then.
    lasts: bool,
}

impl Notices {
    /// What is to be said of a reading's judgement, at this time of a clock that only runs forwards.
    pub fn of<'a>(&mut self, at: Duration, judgement: &'a Judgement) -> Vec<Notice<'a>> {
        let dropped = |fault: &Fault| (fault.rule, Some(fault.quantity));
        self.0.retain(|said| {
            let mut convinced = judgement.convinced.iter();
            !convinced.any(|fault| dropped(fault) == said.what)
        });
        let rejected = (Rule::Nonsense, None);
        for said in &mut self.0 {
            said.lasts &= if judgement.refused {
                // That tells nothing of single values.
                true
            } else {
                judgement
                    .faults
                    .iter()
                    .any(|fault| dropped(fault) == said.what)
            };
        }
        if judgement.refused {
            let notice = |again| {
                if again {
                    Notice::StillRejected
                } else {
                    Notice::Rejected
                }
            };
            return self.due(at, rejected).map(notice).into_iter().collect();
        }
        let notice = |fault| {
            let again = self.due(at, dropped(fault))?;
            Some(if again {
                Notice::StillDropped(fault)
            } else {
                Notice::Dropped(fault)
            })
        };
        judgement.faults.iter().filter_map(notice).collect()
    }

    /// Whether this is to be said: for the first time (`false`) or again (`true`).
    fn due(&mut self, at: Duration, what: (Rule, Option<Quantity>)) -> Option<bool> {
        let Some(said) = self.0.iter_mut().find(|said| said.what == what) else {
            self.0.push(Said {
                what,
                since: at,
                lasts: true,
            });
            return Some(false);
        };
        let again = said.lasts && at.saturating_sub(said.since) >= AGAIN_AFTER;
        if again || !said.lasts {
            said.since = at;
        }
        said.lasts = true;
        again.then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(quantity: Quantity) -> Fault {
        Fault {
            rule: Rule::Range,
            quantity,
            reason: String::new(),
            max_power: false,
        }
    }

    fn with(faults: &[Fault]) -> Judgement {
        Judgement {
            faults: faults.to_vec(),
            ..Judgement::default()
        }
    }

    fn rejected() -> Judgement {
        Judgement {
            refused: true,
            ..Judgement::default()
        }
    }

    const HOUR: u32 = 3600;

    /// The hours at which something is said, of a judgement for each minute of five days.
    fn hours(judge: impl Fn(u32) -> Judgement, expected: &str) -> Vec<u32> {
        let mut notices = Notices::default();
        (0..5 * 24 * 60)
            .map(|minute| minute * 60)
            .filter(|second| {
                let judgement = judge(*second);
                let found = notices.of(Duration::from_secs((*second).into()), &judgement);
                assert!(found.len() <= 1, "{found:?}");
                found
                    .iter()
                    .any(|notice| format!("{notice:?}").starts_with(expected))
            })
            .map(|second| second / HOUR)
            .collect()
    }

    #[test]
    fn what_stays_wrong_is_said_once_and_again_each_day() {
        let soc = [fault(Quantity::battery_soc)];
        assert_eq!(hours(|_| with(&soc), "Dropped"), [0]);
        assert_eq!(hours(|_| with(&soc), "StillDropped"), [24, 48, 72, 96]);
        assert_eq!(hours(|_| rejected(), "Rejected"), [0]);
        assert_eq!(hours(|_| rejected(), "StillRejected"), [24, 48, 72, 96]);
    }

    #[test]
    fn what_comes_now_and_then_is_said_once() {
        let soc = [fault(Quantity::battery_soc)];
        let now_and_then = |second: u32| {
            let faults: &[Fault] = if second.is_multiple_of(23 * HOUR) {
                &[]
            } else {
                &soc
            };
            with(faults)
        };
        assert_eq!(hours(now_and_then, "Dropped"), [0]);
        assert!(hours(now_and_then, "StillDropped").is_empty());
    }

    #[test]
    fn a_reading_that_is_rejected_says_nothing_of_single_values() {
        let soc = [fault(Quantity::battery_soc)];
        let between = |second: u32| {
            if second.is_multiple_of(HOUR) && second > 0 {
                rejected()
            } else {
                with(&soc)
            }
        };
        assert_eq!(hours(between, "StillDropped"), [24, 48, 72, 96]);
        assert!(hours(between, "StillRejected").is_empty());
    }

    #[test]
    fn what_was_believed_after_all_is_said_anew_when_it_comes_again() {
        let total = fault(Quantity::energy_total);
        let judge = |second: u32| match second / 60 {
            5 => Judgement {
                convinced: vec![total.clone()],
                ..Judgement::default()
            },
            0..5 | 600 => with(std::slice::from_ref(&total)),
            _ => Judgement::default(),
        };
        assert_eq!(hours(judge, "Dropped"), [0, 10]);
    }
}
