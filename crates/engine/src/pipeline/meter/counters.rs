//! What a meter must not forget: the counters of one inverter, and where its days began.

use std::time::Duration;

use jiff::civil::Date;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::{Amounts, Consumption, hundredths};
use kstar_model::time::millis;
use serde::{Deserialize, Serialize};

use super::bridge::Standing;
use super::energy::Energy;

/// One of the energies that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// From the panels.
    Pv,
    /// From the grid.
    GridImport,
    /// Into the grid.
    GridExport,
    /// Into the battery.
    BatteryCharge,
    /// Out of the battery.
    BatteryDischarge,
    /// To whatever the house uses.
    Consumption,
}

impl Flow {
    /// All of them, in the catalogue's order.
    pub const ALL: [Self; 6] = [
        Self::Pv,
        Self::GridImport,
        Self::GridExport,
        Self::BatteryCharge,
        Self::BatteryDischarge,
        Self::Consumption,
    ];

    /// The quantity that counts since the meter began.
    pub fn total(self) -> Quantity {
        match self {
            Self::Pv => Quantity::pv_energy_total,
            Self::GridImport => Quantity::grid_import_energy_total,
            Self::GridExport => Quantity::grid_export_energy_total,
            Self::BatteryCharge => Quantity::battery_charge_energy_total,
            Self::BatteryDischarge => Quantity::battery_discharge_energy_total,
            Self::Consumption => Quantity::consumption_energy_total,
        }
    }

    /// The quantity that counts since midnight.
    pub fn today(self) -> Quantity {
        match self {
            Self::Pv => Quantity::pv_energy_today,
            Self::GridImport => Quantity::grid_import_energy_today,
            Self::GridExport => Quantity::grid_export_energy_today,
            Self::BatteryCharge => Quantity::battery_charge_energy_today,
            Self::BatteryDischarge => Quantity::battery_discharge_energy_today,
            Self::Consumption => Quantity::consumption_energy_today,
        }
    }

    /// The power that is counted.
    pub fn source(self) -> Source {
        match self {
            Self::Pv => Source::Pv,
            Self::GridImport | Self::GridExport => Source::Grid,
            Self::BatteryCharge | Self::BatteryDischarge => Source::Battery,
            Self::Consumption => Source::Consumption,
        }
    }
}

/// A power whose energy is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Of the panels; never negative.
    Pv,
    /// At the grid connection.
    Grid,
    /// Of the battery.
    Battery,
    /// Of whatever the house uses: the load, and the back-up output where there is one.
    Consumption,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pv, Self::Grid, Self::Battery, Self::Consumption];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pv => Quantity::pv_power.name(),
            Self::Grid => Quantity::grid_power.name(),
            Self::Battery => Quantity::battery_power.name(),
            Self::Consumption => Consumption::NAME,
        }
    }

    /// The power in hundredths of a watt, if all that it is the sum of is known.
    pub(super) fn power(self, values: &Values, house: &mut Consumption) -> Option<i64> {
        match self {
            Self::Pv => hundredths(Quantity::pv_power, values),
            Self::Grid => hundredths(Quantity::grid_power, values),
            Self::Battery => hundredths(Quantity::battery_power, values),
            Self::Consumption => house.of_values(values),
        }
    }

    /// What a power above zero and one below are counted as.
    pub fn flows(self) -> (Flow, Option<Flow>) {
        match self {
            Self::Pv => (Flow::Pv, None),
            Self::Grid => (Flow::GridImport, Some(Flow::GridExport)),
            Self::Battery => (Flow::BatteryCharge, Some(Flow::BatteryDischarge)),
            Self::Consumption => (Flow::Consumption, None),
        }
    }
}

/// One energy for each flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Energies {
    pv: Energy,
    grid_import: Energy,
    grid_export: Energy,
    battery_charge: Energy,
    battery_discharge: Energy,
    /// Not in files of before it was counted.
    #[serde(default)]
    consumption: Energy,
}

impl Energies {
    pub fn of(mut self, flow: Flow) -> Energy {
        *self.of_mut(flow)
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, flow: Flow) -> &mut Energy {
        match flow {
            Flow::Pv => &mut self.pv,
            Flow::GridImport => &mut self.grid_import,
            Flow::GridExport => &mut self.grid_export,
            Flow::BatteryCharge => &mut self.battery_charge,
            Flow::BatteryDischarge => &mut self.battery_discharge,
            Flow::Consumption => &mut self.consumption,
        }
    }
}

/// Where a day's counting begins, and what the totals were then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Day {
    pub date: Date,
    /// Since when it is counted, by the clock as it is now set: Unix milliseconds. Its midnight, unless the meter
    /// began later.
    pub since_ms: i64,
    /// What the totals were then.
    pub totals: Energies,
}

/// How well a power is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// When the power was last known, by the clock: Unix milliseconds.
    pub last_ms: Option<i64>,
    /// How long it was not: gaps that were too long to be filled, in milliseconds.
    pub unmetered_ms: u64,
    /// Whether it was known before the clock was set for the first time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_known: bool,
    /// How much of what was not known the inverter's own counters may still tell, in milliseconds.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(super) waiting_ms: u64,
}

impl Coverage {
    /// A gap that was too long to be filled.
    pub(super) fn miss(&mut self, gap: Duration) {
        let gap = millis(gap).unsigned_abs();
        self.unmetered_ms = self.unmetered_ms.saturating_add(gap);
        self.waiting_ms = self.waiting_ms.saturating_add(gap);
    }

    /// The inverter's counters have told what was missed, or cannot.
    pub(super) fn settle(&mut self, is_told: bool) {
        let waited = std::mem::take(&mut self.waiting_ms);
        if is_told {
            self.unmetered_ms = self.unmetered_ms.saturating_sub(waited);
        }
    }
}

fn is_nothing<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How well each power is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverages {
    pv: Coverage,
    grid: Coverage,
    battery: Coverage,
    #[serde(default)]
    consumption: Coverage,
}

impl Coverages {
    pub fn of(mut self, source: Source) -> Coverage {
        *self.of_mut(source)
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, source: Source) -> &mut Coverage {
        match source {
            Source::Pv => &mut self.pv,
            Source::Grid => &mut self.grid,
            Source::Battery => &mut self.battery,
            Source::Consumption => &mut self.consumption,
        }
    }
}

/// How the inverter's own counter of each flow stands to the meter, where it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Standings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pv: Option<Standing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grid_import: Option<Standing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grid_export: Option<Standing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    battery_charge: Option<Standing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    battery_discharge: Option<Standing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumption: Option<Standing>,
}

impl Standings {
    fn of(mut self, flow: Flow) -> Option<Standing> {
        *self.of_mut(flow)
    }

    pub(super) fn of_mut(&mut self, flow: Flow) -> &mut Option<Standing> {
        match flow {
            Flow::Pv => &mut self.pv,
            Flow::GridImport => &mut self.grid_import,
            Flow::GridExport => &mut self.grid_export,
            Flow::BatteryCharge => &mut self.battery_charge,
            Flow::BatteryDischarge => &mut self.battery_discharge,
            Flow::Consumption => &mut self.consumption,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Since the meter began.
    pub totals: Energies,
    /// What of them was not metered, but is what the inverter's own counters have grown by meanwhile.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub bridged: Energies,
    /// The day that is counted now.
    pub day: Option<Day>,
    /// The one before, which a clock that is set back may come to again.
    pub day_before: Option<Day>,
    /// How well each power is known.
    pub coverage: Coverages,
    /// What the house consumes, by what the inverter has.
    #[serde(default, rename = "has_backup")]
    pub house: Consumption,
    /// The inverter's own counters.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(super) own: Standings,
}

/// Where a total comes from, in thousandths of a kWh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origins {
    /// Power added up, and what the counter was set to.
    pub metered: i64,
    /// The growth of the inverter's own counter where the power was not known.
    pub bridged: i64,
}

impl Counters {
    /// Forgets how the inverter's own counters stood. What they do while nobody looks is then nothing that is missing.
    pub fn forget_own(&mut self) {
        self.own = Standings::default();
    }

    /// What was counted since midnight, in published thousandths of a kWh: the difference of two published totals, so
    /// that nobody who computes it from them finds another one.
    pub fn today(&self, flow: Flow) -> i64 {
        let since = self.day.as_ref().map_or(self.totals, |day| day.totals);
        self.totals.of(flow).published() - since.of(flow).published()
    }

    /// Where a total comes from, if the inverter has a counter of its own for it.
    pub fn origins(&self, flow: Flow) -> Option<Origins> {
        let bridged = self.bridged.of(flow).published();
        let is_followed = self.own.of(flow).is_some();
        (is_followed || bridged > 0).then(|| Origins {
            metered: self.totals.of(flow).published() - bridged,
            bridged,
        })
    }

    /// When the last reading was counted, by the wall clock: Unix milliseconds.
    pub(super) fn last_ms(&self) -> Option<i64> {
        let sources = Source::ALL.into_iter();
        sources
            .filter_map(|source| self.coverage.of(source).last_ms)
            .max()
    }

    /// What was counted from these totals to those, of each flow that is known: the differences of what is published.
    pub(super) fn growth(&self, from: &Energies, to: &Energies) -> Amounts {
        let mut amounts = Amounts::default();
        for flow in Flow::ALL.into_iter().filter(|flow| self.knows(*flow)) {
            let counted = to.of(flow).published() - from.of(flow).published();
            amounts.set(flow.total(), Some(counted));
        }
        amounts
    }

    /// Whether there is anything to show of a flow: its power has been known, or somebody has set its counter.
    pub fn knows(&self, flow: Flow) -> bool {
        let coverage = self.coverage.of(flow.source());
        coverage.last_ms.is_some() || coverage.is_known || self.totals.of(flow) > Energy(0)
    }

    /// Puts the counters into a reading: those that are known. Without a clock nobody knows which day it is.
    pub fn show(&self, is_dated: bool, values: &mut Values) {
        for flow in Flow::ALL {
            if self.knows(flow) {
                values.set_raw(flow.total(), Some(self.totals.of(flow).published()));
                let today = is_dated.then(|| self.today(flow));
                values.set_raw(flow.today(), today);
            }
        }
    }

    /// Goes on from another total, in thousandths of a kWh; what was counted today stays, as far as the total allows.
    pub fn set(&mut self, flow: Flow, thousandths: u64) {
        let before = self.totals.of(flow);
        let after = before.with_published(thousandths);
        *self.totals.of_mut(flow) = after;
        let bridged = self.bridged.of_mut(flow);
        *bridged = after.min(*bridged);
        for day in [&mut self.day, &mut self.day_before].into_iter().flatten() {
            let since = day.totals.of_mut(flow);
            *since = after.minus(before.minus(*since));
        }
    }
}
