//! One inverter, as Home Assistant knows it, and which of its quantities are gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use kstar_model::catalogue::Quantity;
use kstar_model::reading::Inverter;
use kstar_model::time::UnixMillis;
use kstar_sink::event::Nameplate;

use super::set::Set;
use super::vocabulary::Platform;
use super::{components_by_key, presence};

/// How many readings in a row must lack a quantity before it is taken back. One or two may lack it because a value
/// was not plausible; at the usual interval this is a minute.
const MISSED_READINGS: u32 = 12;

/// How long a quantity that this start has seen must be missing before it is taken back.
const MISSED_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// One inverter.
#[derive(Debug)]
pub(super) struct Device {
    /// As it was last announced.
    pub(super) inverter: Inverter,
    /// See [`inverter`](Self::inverter).
    pub(super) nameplate: Nameplate,
    /// What Home Assistant knows it by, in topics of discovery and unique ids.
    pub(super) node: String,
    /// Its part of entity ids.
    pub(super) slug: String,
    pub(super) announced: Set,
    /// Totals that the broker keeps, as far as this start knows.
    pub(super) retained: Set,
    /// Announced by an earlier start and not seen since this one.
    pub(super) unconfirmed: Set,
    pub(super) absences: Vec<Absence>,
    /// Components whose removal is not acknowledged yet, in the device form.
    pub(super) removed: BTreeMap<String, Platform>,
    /// When the last reading was taken, so that the same one twice counts once.
    pub(super) last: Option<UnixMillis>,
}

/// A quantity that is announced and was not in the last readings.
#[derive(Debug)]
pub(super) struct Absence {
    quantity: Quantity,
    since: UnixMillis,
    readings: u32,
}

impl Device {
    pub(super) fn new(name: &Arc<str>, node: String, slug: String) -> Self {
        Self {
            inverter: Inverter {
                name: Arc::clone(name),
                serial: None,
                model: None,
            },
            nameplate: Nameplate::default(),
            node,
            slug,
            announced: Set::default(),
            retained: Set::default(),
            unconfirmed: Set::default(),
            absences: Vec::new(),
            removed: BTreeMap::new(),
            last: None,
        }
    }

    /// All that is announced of it, by key.
    pub(super) fn components(&self) -> BTreeMap<String, Platform> {
        let mut components = components_by_key(self.announced);
        if !components.is_empty() {
            components.extend(presence());
        }
        components
    }

    /// Counts what is missing, and gives what has been missing for too long.
    pub(super) fn gone(&mut self, seen: Set, time: UnixMillis) -> Set {
        if self.last.replace(time) == Some(time) {
            return Set::default();
        }
        self.unconfirmed = self.unconfirmed.without(seen);
        let missing = self.announced.without(seen);
        self.absences
            .retain(|absence| missing.contains(absence.quantity));
        let known: Set = self
            .absences
            .iter()
            .map(|absence| absence.quantity)
            .collect();
        self.absences
            .extend(missing.without(known).iter().map(|quantity| Absence {
                quantity,
                since: time,
                readings: 0,
            }));
        let unconfirmed = self.unconfirmed;
        let mut gone = Vec::new();
        self.absences.retain_mut(|absence| {
            absence.readings = absence.readings.saturating_add(1);
            // The clock may have been set back.
            absence.since = absence.since.min(time);
            let long = time.0.saturating_sub(absence.since.0) >= MISSED_MILLIS;
            let too_long = absence.readings >= MISSED_READINGS
                && (long || unconfirmed.contains(absence.quantity));
            if too_long {
                gone.push(absence.quantity);
            }
            !too_long
        });
        gone.into_iter().collect()
    }

    /// Whether there is no serial or model in it that is new.
    pub(super) fn knows(&self, inverter: &Inverter) -> bool {
        let known =
            |ours: &Option<Arc<str>>, said: &Option<Arc<str>>| said.is_none() || ours == said;
        known(&self.inverter.serial, &inverter.serial)
            && known(&self.inverter.model, &inverter.model)
    }

    /// Takes over what a nameplate says; whether anything is new. Firmware that is not known again changes nothing.
    pub(super) fn read(&mut self, nameplate: &Nameplate) -> bool {
        let mut read = nameplate.clone();
        read.firmware = read.firmware.or_else(|| self.nameplate.firmware.clone());
        let is_new = self.nameplate != read;
        self.nameplate = read;
        is_new
    }

    /// Takes over a serial or model that is new; whether there was one.
    pub(super) fn learn(&mut self, inverter: &Inverter) -> bool {
        let mut learnt = false;
        for (known, said) in [
            (&mut self.inverter.serial, &inverter.serial),
            (&mut self.inverter.model, &inverter.model),
        ] {
            if said.is_some() && known != said {
                known.clone_from(said);
                learnt = true;
            }
        }
        learnt
    }
}
