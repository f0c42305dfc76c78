//! The gate: which readings are let through, which values in them are believed, and why.
//!
//! The protocol's checksum is weak and the inverter itself slips now and then (PROTOCOL 8). One bad value is dropped; a
//! reading with several is rejected. A bound that no such machine can break is never given up, however often it is
//! broken. What is only estimated from the past is: what the counters showed last is the baseline, and
//! [`CONVINCED`](rules::CONVINCED) readings in a row that agree with each other are the new one. It logs nothing and
//! touches no file.

pub mod doubt;
pub mod notices;
pub mod ranges;
pub mod rules;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::{Amounts, Consumption};
use kstar_model::scalar::Scalar;
use kstar_model::time::UnixMillis;
use kstar_source::source::Profile;
use serde::{Deserialize, Serialize};

use doubt::{Doubts, Standing};
use ranges::{Range, ranges, told_ranges, whole};
use rules::{BALANCE_WATTS, CounterLimit, MAX_POWER, MOST_DOUBTFUL, Rule, counters};

/// How strict a gate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// What such a machine can be, with what the configuration says otherwise.
    pub profile: Profile,
    /// The rules that are not applied, besides those that do not hold for the machine.
    pub off: Vec<Rule>,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            profile: Profile::of(MAX_POWER),
            off: Vec::new(),
        }
    }
}

/// What a counter showed when it was last believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    pub value: i64,
    /// When, by the wall clock: Unix milliseconds. Absent while that is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<i64>,
    /// When, by the clock that only runs forwards; that of another process is not known.
    #[serde(skip)]
    at: Option<Duration>,
}

impl Level {
    /// How long before another one it was. Of a wall clock that is not set or was set back nothing can be known.
    fn until(self, next: Self) -> Duration {
        match (self.at, next.at) {
            (Some(at), Some(next)) => next.saturating_sub(at),
            _ => self
                .time_ms
                .zip(next.time_ms)
                .map_or(Duration::ZERO, |(before, now)| {
                    Duration::from_millis(u64::try_from(now.saturating_sub(before)).unwrap_or(0))
                }),
        }
    }
}

/// What the inverter's counters showed when they were last believed, by their names. It survives restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baseline(BTreeMap<String, Level>);

impl Baseline {
    pub fn level(&self, counter: Quantity) -> Option<Level> {
        self.0.get(counter.name()).copied()
    }

    fn learn(&mut self, counter: Quantity, level: Level) {
        match self.0.get_mut(counter.name()) {
            Some(known) => *known = level,
            None => {
                self.0.insert(counter.name().to_owned(), level);
            }
        }
    }
}

/// Something wrong with a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub rule: Rule,
    /// The value that is doubted.
    pub quantity: Quantity,
    pub reason: String,
    /// Whether it is `max_power` that it breaks, which the configuration can raise.
    pub max_power: bool,
}

/// What the gate makes of a reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What was found wrong. The values are dropped, unless the reading is refused.
    pub faults: Vec<Fault>,
    /// Whether the reading is refused as a whole.
    pub refused: bool,
    /// What was doubted and is believed from now on.
    pub convinced: Vec<Fault>,
    /// By how many watts the power balance misses, if that is much.
    pub unbalanced: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct Gate {
    off: Vec<Rule>,
    ranges: Vec<Range>,
    counters: Vec<CounterLimit>,
    baseline: Baseline,
    doubtful_meter: Doubts<()>,
    doubtful_levels: Doubts<Level>,
}

impl Gate {
    /// Goes on from a baseline.
    pub fn new(settings: &GateSettings, baseline: Baseline) -> Self {
        let GateSettings { profile, off } = settings;
        let mut all = ranges(profile);
        all.extend(told_ranges(profile));
        Self {
            off: off.iter().chain(profile.off).copied().collect(),
            ranges: all,
            counters: counters(profile),
            baseline,
            doubtful_meter: Doubts::default(),
            doubtful_levels: Doubts::default(),
        }
    }

    /// What was believed last.
    pub fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    /// By how much the lifetime counters have grown since an earlier baseline of this gate: never less than nothing, and
    /// never more than the time between allows.
    pub fn growth(&self, since: &Baseline) -> Amounts {
        let mut amounts = Amounts::default();
        for counter in self.counters.iter().filter(|counter| counter.lifetime) {
            let Some(now) = self.baseline.level(counter.quantity) else {
                continue;
            };
            let grown = since.level(counter.quantity).map_or(0, |before| {
                let most = counter.growth(before.until(now));
                now.value.saturating_sub(before.value).clamp(0, most)
            });
            amounts.set(counter.quantity, Some(grown));
        }
        amounts
    }

    /// Judges a reading and drops what is not believed: `at` is the time of a clock that only runs forwards,
    /// `time` the wall clock's if that is set. A reading that is refused is left as it came.
    pub fn judge(
        &mut self,
        at: Duration,
        time: Option<UnixMillis>,
        values: &mut Values,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        let told = told(values);
        let mut judged = told.clone();
        self.check_ranges(&told, &mut judged, &mut judgement);
        if self.is_nonsense(&judgement) {
            // Bytes that are not what they are taken for say nothing of a counter either, however often they come.
            judgement.refused = true;
            return judgement;
        }
        self.check_meter(&told, &mut judged, &mut judgement);
        let level = |value| Level {
            value,
            time_ms: time.map(|time| time.0),
            at: Some(at),
        };
        self.check_counters(level, &mut judged, &mut judgement);
        if self.is_nonsense(&judgement) {
            judgement.refused = true;
            return judgement;
        }
        for counter in &self.counters {
            if let Some(value) = judged.raw(counter.quantity) {
                self.baseline.learn(counter.quantity, level(value));
            }
        }
        let dropped = dropped(&told, &judged);
        judged.derive();
        for quantity in dropped {
            judged.set_raw(quantity, None);
        }
        if self.applies(Rule::PowerBalance) {
            judgement.unbalanced =
                imbalance(&judged).filter(|watts| watts.saturating_abs() > BALANCE_WATTS);
        }
        *values = judged;
        judgement
    }

    fn applies(&self, rule: Rule) -> bool {
        !self.off.contains(&rule)
    }

    fn is_nonsense(&self, judgement: &Judgement) -> bool {
        judgement.doubtful_values() > MOST_DOUBTFUL && self.applies(Rule::Nonsense)
    }

    fn check_ranges(&self, values: &Values, judged: &mut Values, judgement: &mut Judgement) {
        if !self.applies(Rule::Range) {
            return;
        }
        for range in &self.ranges {
            let quantity = range.quantity;
            let Some(raw) = values.raw(quantity).filter(|raw| !range.holds(*raw)) else {
                continue;
            };
            let unit = quantity.description().unit;
            let possible = if range.or_zero { ", or 0" } else { "" };
            judgement.faults.push(Fault {
                rule: Rule::Range,
                quantity,
                reason: format!(
                    "{quantity} is {} {unit}, and can be {} to {} {unit}{possible}",
                    quantity.value(raw),
                    range.lowest,
                    range.highest
                ),
                max_power: range.max_power,
            });
            judged.set_raw(quantity, None);
        }
    }

    fn check_meter(&mut self, values: &Values, judged: &mut Values, judgement: &mut Judgement) {
        let zero = |quantity| values.raw(quantity) == Some(0);
        let silent = zero(Quantity::load_power) && zero(Quantity::grid_power);
        let powered = values
            .raw(Quantity::grid_voltage)
            .is_some_and(|raw| raw > 0);
        if !self.applies(Rule::ZeroMeter) {
            return;
        }
        if !(silent && powered) {
            self.doubtful_meter
                .settle(Rule::ZeroMeter, Quantity::load_power);
            return;
        }
        let standing =
            self.doubtful_meter
                .consider(Rule::ZeroMeter, Quantity::load_power, (), |()| true);
        judgement.note(standing, || Fault {
            rule: Rule::ZeroMeter,
            quantity: Quantity::load_power,
            reason: "load_power and grid_power are both 0 W while the grid has voltage".to_owned(),
            max_power: false,
        });
        if standing == Standing::Doubted {
            judged.load_power = None;
            judged.grid_power = None;
            judged.grid_direction = None;
        }
    }

    fn check_counters(
        &mut self,
        level: impl Fn(i64) -> Level,
        judged: &mut Values,
        judgement: &mut Judgement,
    ) {
        for counter in &self.counters {
            let quantity = counter.quantity;
            // What no machine can show was dropped already, and is not to become a baseline.
            let (Some(value), Some(before)) = (judged.raw(quantity), self.baseline.level(quantity))
            else {
                continue;
            };
            let now = level(value);
            let broken = violated(counter, before, now).filter(|rule| !self.off.contains(rule));
            for rule in [Rule::CounterFall, Rule::CounterJump] {
                if broken != Some(rule) {
                    self.doubtful_levels.settle(rule, quantity);
                }
            }
            let Some(rule) = broken else {
                continue;
            };
            let agree = |last: &Level| violated(counter, *last, now).is_none();
            let standing = self.doubtful_levels.consider(rule, quantity, now, agree);
            let unit = quantity.description().unit;
            judgement.note(standing, || Fault {
                rule,
                quantity,
                reason: format!(
                    "{quantity} is {} {unit}, after {} {unit} {} s before",
                    quantity.value(value),
                    quantity.value(before.value),
                    before.until(now).as_secs()
                ),
                max_power: false,
            });
            if standing == Standing::Doubted {
                judged.set_raw(quantity, None);
            }
        }
    }
}

impl Judgement {
    fn note(&mut self, standing: Standing, fault: impl FnOnce() -> Fault) {
        match standing {
            Standing::Doubted => self.faults.push(fault()),
            Standing::Convinced => self.convinced.push(fault()),
            Standing::Believed => {}
        }
    }

    /// How many values are doubted, each counted once whatever speaks against it; the phases of one are one.
    fn doubtful_values(&self) -> usize {
        let faults = self.faults.iter().enumerate();
        faults
            .filter(|(index, fault)| {
                let mut before = self.faults.iter().take(*index);
                before.all(|other| whole(other.quantity) != whole(fault.quantity))
            })
            .count()
    }

    /// The rules that have struck, a refusal's first.
    pub fn rules(&self) -> impl Iterator<Item = Rule> {
        self.refused
            .then_some(Rule::Nonsense)
            .into_iter()
            .chain(self.faults.iter().map(|fault| fault.rule))
            .chain(self.unbalanced.map(|_| Rule::PowerBalance))
    }

    /// All that was found wrong, as one text.
    pub fn reason(&self) -> String {
        let reasons: Vec<&str> = self
            .faults
            .iter()
            .map(|fault| fault.reason.as_str())
            .collect();
        reasons.join("; ")
    }
}

/// The values without those that follow from the others as they came: a source may have computed them, and once a part is
/// dropped they must not stay. What differs from what would follow was told by the machine.
fn told(values: &Values) -> Values {
    let mut told = values.clone();
    let all = Quantity::ALL.iter().copied();
    for quantity in all.filter(|quantity| quantity.description().derivation.is_some()) {
        told.set_raw(quantity, None);
    }
    for (quantity, raw) in values.told() {
        told.set_raw(quantity, Some(raw));
    }
    told
}

/// What the machine told itself although it follows from other values, and that was dropped, with all that follows from it.
/// It is not computed in its place: the machine may have more parts than the catalogue adds up.
fn dropped(told: &Values, judged: &Values) -> Vec<Quantity> {
    let mut dropped = Vec::new();
    for quantity in Quantity::ALL.iter().copied() {
        let Some(derivation) = quantity.description().derivation else {
            continue;
        };
        let was_told = told.raw(quantity).is_some() && judged.raw(quantity).is_none();
        if was_told || derivation.sources().any(|of| dropped.contains(&of)) {
            dropped.push(quantity);
        }
    }
    dropped
}

/// The rule that a counter's way from one level to the next breaks.
fn violated(counter: &CounterLimit, before: Level, now: Level) -> Option<Rule> {
    let growth = now.value.saturating_sub(before.value);
    if growth < 0 {
        return counter.lifetime.then_some(Rule::CounterFall);
    }
    (growth > counter.growth(before.until(now))).then_some(Rule::CounterJump)
}

/// What flows into the house's AC side, less what flows out of it, in watts.
fn imbalance(values: &Values) -> Option<i64> {
    let [load, backup, inverter, grid] = [
        values.load_power,
        values.backup_power,
        values.inverter_power,
        values.grid_power,
    ]
    .map(|power| power.map(|watts| i128::from(watts.raw())));
    let imbalance = inverter? + grid? - Consumption::default().of(load, backup)?;
    imbalance.try_into().ok()
}

/// What a gate has done, counted since the start.
#[derive(Debug, Default)]
pub struct GateCounts {
    /// Readings that were let through.
    pub taken: AtomicU64,
    /// Readings that were refused.
    pub refused: AtomicU64,
    /// How often each rule has struck, in the order of [`Rule::ALL`].
    pub struck: [AtomicU64; Rule::ALL.len()],
}

impl GateCounts {
    /// Counts what was made of a reading.
    pub fn count(&self, judgement: &Judgement) {
        let reading = if judgement.refused {
            &self.refused
        } else {
            &self.taken
        };
        reading.fetch_add(1, Ordering::Relaxed);
        for rule in judgement.rules() {
            for (known, count) in Rule::ALL.into_iter().zip(&self.struck) {
                if known == rule {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// How often each rule has struck, without those that have not.
    pub fn struck(&self) -> impl Iterator<Item = (Rule, u64)> {
        Rule::ALL
            .into_iter()
            .zip(
                self.struck
                    .iter()
                    .map(|count| count.load(Ordering::Relaxed)),
            )
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests;
