//! The true energies of a house, and the counters that a machine makes of them.

use super::house::Flows;
use crate::surroundings::rounded;

pub(super) const WATT_SECONDS_PER_KWH: f64 = 3_600_000.0;

/// Energies in watt seconds, each of them never falling.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Energies {
    /// Of all strings, DC.
    pub pv: f64,
    /// From the grid, all phases balanced.
    pub import: f64,
    /// To the grid, all phases balanced.
    pub export: f64,
    /// Into the battery.
    pub charge: f64,
    /// Out of the battery.
    pub discharge: f64,
    /// Used by the house, the back-up output apart.
    pub load: f64,
    /// Used at the back-up output.
    pub back_up: f64,
    /// Out of the inverter's AC port.
    pub inverter_out: f64,
    /// Into the inverter's AC port.
    pub inverter_in: f64,
    /// From the grid, each phase for itself.
    pub phase_import: [f64; 3],
    /// To the grid, each phase for itself.
    pub phase_export: [f64; 3],
}

/// Kilowatt hours of watt seconds.
pub fn kilowatt_hours(watt_seconds: f64) -> f64 {
    watt_seconds / WATT_SECONDS_PER_KWH
}

impl Energies {
    pub(super) fn add(&mut self, flows: &Flows, seconds: f64) {
        let split = |watts: i32| {
            let joules = f64::from(watts) * seconds;
            (joules.max(0.0), (-joules).max(0.0))
        };
        let (import, export) = split(flows.grid.iter().sum());
        let (charge, discharge) = split(flows.battery);
        let (inverter_out, inverter_in) = split(flows.inverter.iter().sum());
        self.pv += split(flows.pv).0;
        self.import += import;
        self.export += export;
        self.charge += charge;
        self.discharge += discharge;
        self.load += split(flows.load.iter().sum()).0;
        self.back_up += split(flows.back_up.iter().sum()).0;
        self.inverter_out += inverter_out;
        self.inverter_in += inverter_in;
        for (watts, (import, export)) in flows
            .grid
            .iter()
            .zip(self.phase_import.iter_mut().zip(&mut self.phase_export))
        {
            let (imported, exported) = split(*watts);
            *import += imported;
            *export += exported;
        }
    }

    /// What was added since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let added = |counter: Counter| counter.watt_seconds(self) - counter.watt_seconds(earlier);
        let phases = [0, 1, 2];
        Self {
            pv: added(Counter::Pv),
            import: added(Counter::Import),
            export: added(Counter::Export),
            charge: added(Counter::Charge),
            discharge: added(Counter::Discharge),
            load: added(Counter::Load),
            back_up: self.back_up - earlier.back_up,
            inverter_out: added(Counter::InverterOut),
            inverter_in: added(Counter::InverterIn),
            phase_import: phases.map(|phase| added(Counter::PhaseImport(phase))),
            phase_export: phases.map(|phase| added(Counter::PhaseExport(phase))),
        }
    }
}

/// What a machine counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// [`Energies::pv`].
    Pv,
    /// [`Energies::import`].
    Import,
    /// [`Energies::export`].
    Export,
    /// [`Energies::charge`].
    Charge,
    /// [`Energies::discharge`].
    Discharge,
    /// [`Energies::load`].
    Load,
    /// [`Energies::inverter_out`].
    InverterOut,
    /// [`Energies::inverter_in`].
    InverterIn,
    /// [`Energies::phase_import`] of a phase, from 0.
    PhaseImport(usize),
    /// [`Energies::phase_export`] of a phase, from 0.
    PhaseExport(usize),
}

impl Counter {
    pub(super) fn watt_seconds(self, energies: &Energies) -> f64 {
        let phase = |of: &[f64; 3], at: usize| of.get(at).copied().unwrap_or_default();
        match self {
            Self::Pv => energies.pv,
            Self::Import => energies.import,
            Self::Export => energies.export,
            Self::Charge => energies.charge,
            Self::Discharge => energies.discharge,
            Self::Load => energies.load,
            Self::InverterOut => energies.inverter_out,
            Self::InverterIn => energies.inverter_in,
            Self::PhaseImport(at) => phase(&energies.phase_import, at),
            Self::PhaseExport(at) => phase(&energies.phase_export, at),
        }
    }

    /// How much of it there was before the first midnight, for each kWh of PV.
    pub(super) fn share_before(self) -> f64 {
        match self {
            Self::Pv => 1.0,
            Self::InverterOut => 0.95,
            Self::Load => 0.8,
            Self::Export => 0.5,
            Self::Import => 0.4,
            Self::Charge => 0.3,
            Self::Discharge => 0.28,
            Self::PhaseImport(_) => 0.2,
            Self::PhaseExport(_) => 0.18,
            Self::InverterIn => 0.01,
        }
    }
}

/// How many whole units there are.
pub(super) fn units(watt_seconds: f64, unit: f64) -> u32 {
    rounded((watt_seconds / unit).floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_the_difference() {
        let flows = Flows {
            pv: 3000,
            battery: -600,
            inverter: [1200, 1200, 1200],
            load: [2000, 500, 100],
            back_up: [10, 10, 10],
            grid: [810, -690, -1090],
            ..Flows::default()
        };
        let mut energies = Energies::default();
        energies.add(&flows, 1800.0);
        let earlier = energies;
        energies.add(&flows, 3600.0);
        let hour = energies.since(&earlier);
        for (watt_seconds, expected) in [
            (hour.pv, 3.0),
            (hour.import, 0.0),
            (hour.export, 0.97),
            (hour.charge, 0.0),
            (hour.discharge, 0.6),
            (hour.load, 2.6),
            (hour.back_up, 0.03),
            (hour.inverter_out, 3.6),
            (hour.inverter_in, 0.0),
            (hour.phase_import[0], 0.81),
            (hour.phase_export[0], 0.0),
            (hour.phase_export[2], 1.09),
        ] {
            assert!(
                (kilowatt_hours(watt_seconds) - expected).abs() < 1e-9,
                "{expected}"
            );
        }
    }
}
