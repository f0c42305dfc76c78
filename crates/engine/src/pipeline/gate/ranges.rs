//! Which values a machine can have: the usual ranges, and where a [`Profile`] differs from them.

use kstar_model::catalogue::Quantity;
use kstar_source::source::{Bound, Profile};

/// The values of one quantity that some machine has.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Which.
    pub quantity: Quantity,
    /// The lowest, in the quantity's unit.
    pub lowest: i64,
    /// The highest, in the quantity's unit.
    pub highest: i64,
    /// Whether 0 is possible besides: nothing is connected.
    pub or_zero: bool,
    /// Whether the highest is what `max_power` allows.
    pub max_power: bool,
}

impl Range {
    /// Whether a raw value lies in it.
    pub fn holds(&self, raw: i64) -> bool {
        let scale = self.scale();
        (self.lowest * scale..=self.highest * scale).contains(&raw) || (self.or_zero && raw == 0)
    }

    fn scale(&self) -> i64 {
        10_i64.pow(self.quantity.description().decimals.into())
    }
}

impl From<&Bound> for Range {
    fn from(bound: &Bound) -> Self {
        Self {
            quantity: bound.quantity,
            lowest: bound.lowest,
            highest: bound.highest,
            or_zero: bound.or_zero,
            max_power: false,
        }
    }
}

/// Quantities that have the range of the first, unless they have one of their own.
const ALIKE: [(Quantity, &[Quantity]); 12] = [
    (
        Quantity::pv1_voltage,
        &[
            Quantity::pv2_voltage,
            Quantity::pv3_voltage,
            Quantity::pv4_voltage,
        ],
    ),
    (
        Quantity::pv1_current,
        &[
            Quantity::pv2_current,
            Quantity::pv3_current,
            Quantity::pv4_current,
        ],
    ),
    (
        Quantity::pv1_power,
        &[
            Quantity::pv2_power,
            Quantity::pv3_power,
            Quantity::pv4_power,
        ],
    ),
    (Quantity::battery_voltage, &[Quantity::battery2_voltage]),
    (Quantity::battery_current, &[Quantity::battery2_current]),
    (Quantity::battery_power, &[Quantity::battery2_power]),
    (
        Quantity::battery_soc,
        &[
            Quantity::battery2_soc,
            Quantity::battery_pack1_soc,
            Quantity::battery_pack2_soc,
            Quantity::battery_pack3_soc,
        ],
    ),
    (
        Quantity::battery_temperature,
        &[
            Quantity::battery_cell_temperature_max,
            Quantity::battery_cell_temperature_min,
        ],
    ),
    (
        Quantity::battery_cell_voltage_max,
        &[Quantity::battery_cell_voltage_min],
    ),
    (
        Quantity::inverter_temperature,
        &[
            Quantity::battery_heatsink_temperature,
            Quantity::case_temperature,
            Quantity::air_temperature,
        ],
    ),
    (Quantity::backup_voltage, &[Quantity::inverter_voltage]),
    (Quantity::backup_frequency, &[Quantity::inverter_frequency]),
];

/// The phases of a quantity. They have its range, and break it for one reason: a grid that sags sags on all three.
const PHASES: [(Quantity, &[Quantity]); 10] = [
    (
        Quantity::grid_voltage,
        &[Quantity::grid_l2_voltage, Quantity::grid_l3_voltage],
    ),
    (
        Quantity::grid_power,
        &[
            Quantity::grid_l1_power,
            Quantity::grid_l2_power,
            Quantity::grid_l3_power,
        ],
    ),
    (
        Quantity::grid_l1_current,
        &[Quantity::grid_l2_current, Quantity::grid_l3_current],
    ),
    (
        Quantity::load_power,
        &[
            Quantity::load_l1_power,
            Quantity::load_l2_power,
            Quantity::load_l3_power,
        ],
    ),
    (
        Quantity::backup_power,
        &[
            Quantity::backup_l1_power,
            Quantity::backup_l2_power,
            Quantity::backup_l3_power,
        ],
    ),
    (
        Quantity::backup_voltage,
        &[Quantity::backup_l2_voltage, Quantity::backup_l3_voltage],
    ),
    (
        Quantity::backup_current,
        &[Quantity::backup_l2_current, Quantity::backup_l3_current],
    ),
    (
        Quantity::inverter_power,
        &[
            Quantity::inverter_l1_power,
            Quantity::inverter_l2_power,
            Quantity::inverter_l3_power,
        ],
    ),
    (
        Quantity::inverter_voltage,
        &[Quantity::inverter_l2_voltage, Quantity::inverter_l3_voltage],
    ),
    (
        Quantity::inverter_current,
        &[Quantity::inverter_l2_current, Quantity::inverter_l3_current],
    ),
];

/// The quantity whose phase this is, or itself: what is wrong with one phase and another has one reason.
pub fn whole(quantity: Quantity) -> Quantity {
    PHASES
        .iter()
        .find(|(_, phases)| phases.contains(&quantity))
        .map_or(quantity, |(whole, _)| *whole)
}

/// The ranges of what such a machine measures. All captures and 2,620 samples of a KSE4000 pass (PROTOCOL 8); what the
/// notes have no range for is bounded by what its field could be taken for by mistake.
pub fn ranges(profile: &Profile) -> Vec<Range> {
    let is_measured = |quantity: Quantity| quantity.description().derivation.is_none();
    complete(usual(profile), profile, is_measured)
}

/// The ranges of what follows from other quantities, for machines that tell it themselves.
pub fn told_ranges(profile: &Profile) -> Vec<Range> {
    let is_derived = |quantity: Quantity| quantity.description().derivation.is_some();
    complete(usual_told(profile), profile, is_derived)
}

/// The quantity whose range another one has, unless it has one of its own.
fn model(quantity: Quantity) -> Option<Quantity> {
    let mut tables = ALIKE.iter().chain(&PHASES);
    let (model, _) = tables.find(|(_, alike)| alike.contains(&quantity))?;
    Some(*model)
}

/// What a machine says of a quantity, or of the one that it is like.
fn bound(profile: &Profile, quantity: Quantity) -> Option<&'static Bound> {
    let mut bounds = profile.bounds.iter();
    bounds
        .find(|bound| bound.quantity == quantity)
        .or_else(|| bound(profile, model(quantity)?))
}

/// The range of the quantity that another one is like.
fn like(ranges: &[Range], quantity: Quantity) -> Option<Range> {
    let model = model(quantity)?;
    let range = ranges.iter().find(|range| range.quantity == model);
    let range = range.copied().or_else(|| like(ranges, model))?;
    Some(Range { quantity, ..range })
}

/// The usual ranges with those of what is alike, and the machine's own in their place.
fn complete(
    usual: Vec<Range>,
    profile: &Profile,
    belongs: impl Fn(Quantity) -> bool,
) -> Vec<Range> {
    let mut ranges = usual;
    for quantity in Quantity::ALL
        .iter()
        .copied()
        .filter(|quantity| belongs(*quantity))
    {
        let own = bound(profile, quantity).map(|bound| Range {
            quantity,
            ..Range::from(bound)
        });
        let known = ranges.iter_mut().find(|range| range.quantity == quantity);
        if let Some(known) = known {
            *known = own.unwrap_or(*known);
        } else {
            let more = own.or_else(|| like(&ranges, quantity));
            ranges.extend(more);
        }
    }
    ranges
}

fn range(quantity: Quantity, lowest: i64, highest: i64) -> Range {
    Range {
        quantity,
        lowest,
        highest,
        or_zero: false,
        max_power: false,
    }
}

fn or_zero(range: Range) -> Range {
    Range {
        or_zero: true,
        ..range
    }
}

fn by_max_power(range: Range) -> Range {
    Range {
        max_power: true,
        ..range
    }
}

fn usual(profile: &Profile) -> Vec<Range> {
    let (max_power, house_power) = (i64::from(profile.max_power), i64::from(profile.house_power));
    // The panels and the battery have the DC side, where more than the AC side's power may flow.
    let direct = 2 * max_power;
    // A day has at most 25 hours, and the counters tenths of a kWh.
    let day = |watts: i64| watts * 25 / 1000 + 1;
    vec![
        // 580 V is the most that a string of these machines may have; a KSE has up to 200 V.
        range(Quantity::pv1_voltage, 0, 600),
        range(Quantity::pv1_current, 0, 30),
        range(Quantity::pv2_voltage, 0, 600),
        range(Quantity::pv2_current, 0, 30),
        // Banks of 48 V.
        range(Quantity::battery_voltage, 0, 65),
        range(Quantity::battery_current, -100, 100),
        range(Quantity::battery_soc, 0, 100),
        range(Quantity::battery_soh, 0, 100),
        range(Quantity::battery_temperature, -30, 100),
        // Captures have 0 to 205 A.
        range(Quantity::battery_charge_limit, 0, 500),
        range(Quantity::battery_discharge_limit, 0, 500),
        // 0 during a power cut, in which the inverter goes on.
        or_zero(range(Quantity::grid_voltage, 180, 270)),
        or_zero(range(Quantity::grid_frequency, 45, 65)),
        range(Quantity::grid_power, -house_power, house_power),
        range(Quantity::load_power, -house_power, house_power),
        // The back-up output fades away when it is switched off.
        range(Quantity::backup_voltage, 0, 270),
        range(Quantity::backup_current, 0, 60),
        or_zero(range(Quantity::backup_frequency, 45, 65)),
        range(Quantity::backup_power, -max_power, house_power),
        by_max_power(range(Quantity::inverter_power, -max_power, max_power)),
        range(Quantity::inverter_current, 0, 60),
        range(Quantity::inverter_temperature, -30, 100),
        by_max_power(range(Quantity::energy_today, 0, day(max_power))),
        range(Quantity::load_energy_today, 0, day(house_power)),
        by_max_power(range(Quantity::inverter_pv_energy_today, 0, day(direct))),
        range(
            Quantity::inverter_grid_import_energy_today,
            0,
            day(house_power),
        ),
        range(
            Quantity::inverter_grid_export_energy_today,
            0,
            day(house_power),
        ),
        by_max_power(range(
            Quantity::inverter_battery_charge_energy_today,
            0,
            day(direct),
        )),
        by_max_power(range(
            Quantity::inverter_battery_discharge_energy_today,
            0,
            day(direct),
        )),
        range(Quantity::battery_cell_voltage_max, 0, 5),
        range(Quantity::grid_l1_current, -100, 100),
        range(Quantity::bus_voltage, 0, 1200),
        // Fifty years.
        range(Quantity::operating_hours, 0, 438_300),
    ]
}

fn usual_told(profile: &Profile) -> Vec<Range> {
    let house_power = i64::from(profile.house_power);
    let direct = 2 * i64::from(profile.max_power);
    vec![
        by_max_power(range(Quantity::pv1_power, 0, direct)),
        by_max_power(range(Quantity::pv_power, 0, direct)),
        by_max_power(range(Quantity::battery_power, -direct, direct)),
        by_max_power(range(Quantity::battery_charge_power, 0, direct)),
        by_max_power(range(Quantity::battery_discharge_power, 0, direct)),
        range(Quantity::grid_import_power, 0, house_power),
        range(Quantity::grid_export_power, 0, house_power),
    ]
}
