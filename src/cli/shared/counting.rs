//! What readings of the past have counted, for those who bring them into a history.

use std::collections::HashMap;
use std::time::Duration;

use kstar_engine::pipeline::gate::rules::{CounterLimit, counters};
use kstar_engine::pipeline::ledger::Account;
use kstar_engine::pipeline::meter::counters::Counters;
use kstar_engine::pipeline::meter::{Meter, MeterSettings, Metered};
use kstar_model::TimeZone;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::{AccountId, Counted};
use kstar_model::time::UnixMillis;
use kstar_source::source::Profile;

/// Counts what readings of the past tell: power times time, within one account.
pub struct Counting {
    meter: Meter,
    account: AccountId,
    sequence: u64,
    /// The first time and the latest.
    times: Option<(i64, i64)>,
    /// What the inverter's own counters showed last, and when.
    shown: HashMap<Quantity, (Duration, i64)>,
    /// What these may grow by.
    limits: Vec<CounterLimit>,
}

impl Counting {
    pub fn new(zone: TimeZone, max_gap: Duration, profile: &Profile) -> Self {
        let mut account = Account::default();
        account.complete();
        Self {
            meter: Meter::new(MeterSettings { zone, max_gap }, Counters::default()),
            account: account.id,
            sequence: 0,
            times: None,
            shown: HashMap::new(),
            limits: counters(profile)
                .into_iter()
                .filter(|limit| limit.lifetime)
                .collect(),
        }
    }

    /// Counts up to a reading.
    pub fn count(&mut self, time: UnixMillis, values: &Values) -> Counted {
        let (first, latest) = self.times.unwrap_or((time.0, time.0));
        // No time passes to a reading that is earlier than the one before.
        let latest = latest.max(time.0);
        self.times = Some((first, latest));
        self.sequence += 1;
        let at = Duration::from_millis(latest.abs_diff(first));
        let Metered {
            covers,
            mut amounts,
            earlier,
        } = self.meter.count(at, Some(time), values);
        // The inverter's own counters are taken at their word, as far as an inverter can be meant.
        for limit in &self.limits {
            if let Some(raw) = values.raw(limit.quantity) {
                let before = self.shown.insert(limit.quantity, (at, raw));
                let grown = before.map_or(0, |(since, before)| {
                    let most = limit.growth(at.saturating_sub(since));
                    raw.saturating_sub(before).clamp(0, most)
                });
                amounts.set(limit.quantity, Some(grown));
            }
        }
        Counted {
            account: self.account,
            sequence: self.sequence,
            covers,
            amounts,
            earlier,
        }
    }

    /// What the energies have come to.
    pub fn counters(&self) -> &Counters {
        self.meter.counters()
    }
}
