//! A household's day, as one inverter sees it: sun and clouds, what the house uses, a battery between them, and the
//! grid for the rest.
//!
//! Weather and household are functions of a seed and the simulated time alone; only the battery and the energy
//! counters have a past, and that is stepped through on a fixed grid of ten seconds since midnight of the first
//! day. So what an inverter says at a given moment does not depend on when, or how often, it was asked before.
//!
//! The figures fit together as a real inverter's should: voltages and currents are rounded first and every power
//! follows from them. Losses are [`STANDING_LOSS_WATTS`] and the share of [`CONVERSION`] that is missing to one;
//! on the AC side the balance holds to the watt: `total_power` + import - export = `pload` + `pback_up`.

use std::f64::consts::PI;

use jiff::civil::{Date, DateTime};

use super::encode::{Figures, Variant};
use super::surroundings::{
    DAY_SECONDS, Noise, SECONDS_PER_HOUR, Surroundings, hour_of_day, in_seconds, rounded,
    seconds_since, whole_seconds,
};

/// What becomes AC of each watt of DC.
pub const CONVERSION: f64 = 0.95;
/// What the inverter itself uses, off its DC side.
pub const STANDING_LOSS_WATTS: f64 = 20.0;
/// Below this, in either direction, the inverter calls the grid idle and yet sends the watts.
pub const DEAD_BAND_WATTS: i64 = 30;
/// The lowest state of charge that the battery is taken to, in percent.
pub const LOWEST_SOC: u8 = 20;

/// How far the past is stepped through at once, unless [`Household::step_by`] says otherwise.
pub const STEP_SECONDS: u64 = 10;

const AC_LIMIT_WATTS: f64 = 4000.0;
const STRING_PEAK_WATTS: [f64; 2] = [1900.0, 2050.0];
const BATTERY_WATT_HOURS: f64 = 9600.0;
const BATTERY_LIMIT_WATTS: f64 = 2400.0;
const CHARGING_EFFICIENCY: f64 = 0.95;
/// An empty battery is left alone until it is this much above its lowest state of charge, or it would be switched
/// on and off with every cloud.
const REST_UNTIL_SOC: f64 = 0.25;

const WATT_SECONDS_PER_TENTH_KWH: f64 = 360_000.0;

/// The days of one household, from the midnight of the first.
#[derive(Clone, Debug)]
pub struct Household {
    surroundings: Surroundings,
    variant: Variant,
    first_day: Date,
    /// How long a step is.
    step: u64,
    past: Past,
}

/// Everything that depends on what happened before, at the end of the last whole step.
#[derive(Clone, Debug)]
struct Past {
    seconds: u64,
    soc: f64,
    resting: bool,
    /// Watt seconds since midnight, and what is left of the day before below a tenth of a kWh.
    made_today: f64,
    used_today: f64,
    charged: f64,
    discharged: f64,
    /// Tenths of a kWh until last midnight.
    made_before: u32,
    used_before: u32,
}

/// What flows at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Flows {
    /// Tenths of a volt and of an ampere, per string.
    strings: [(u16, u16); 2],
    /// Tenths of a volt.
    battery_voltage: u16,
    /// Tenths of an ampere; positive while charging.
    battery_current: i32,
    /// AC watts of the inverter.
    inverter: i16,
    /// Watts of the house.
    load: i16,
}

impl Flows {
    fn battery_watts(&self) -> f64 {
        f64::from(self.battery_voltage) * f64::from(self.battery_current) / 100.0
    }
}

/// The back-up output has nothing on it but its own filter.
const BACK_UP_WATTS: i16 = 1;

impl Household {
    /// A household; the seed decides about its weather, its habits and its age.
    pub fn new(seed: u64, variant: Variant, first_day: Date) -> Self {
        let surroundings = Surroundings::new(seed);
        let chance = |what| surroundings.chance(what);
        Self {
            surroundings,
            variant,
            first_day,
            step: STEP_SECONDS,
            past: Past {
                seconds: 0,
                soc: 0.35 + 0.3 * chance(Noise::Soc),
                resting: false,
                made_today: 0.0,
                used_today: 0.0,
                charged: 8e9 * (0.5 + chance(Noise::Age)),
                discharged: 7e9 * (0.5 + chance(Noise::Age)),
                made_before: rounded(10_000.0 + 20_000.0 * chance(Noise::Age)),
                used_before: rounded(12_000.0 + 30_000.0 * chance(Noise::Age)),
            },
        }
    }

    /// The same under a sun that follows the seasons.
    #[must_use]
    pub fn with_seasons(self) -> Self {
        Self {
            surroundings: self.surroundings.with_seasons(self.first_day),
            ..self
        }
    }

    /// Steps through what is to come this coarsely, in seconds, so that a year takes no longer than it must: a divisor of a
    /// day, from a multiple of it on. What is said of a moment depends on that; [`STEP_SECONDS`] is usual.
    pub fn step_by(&mut self, step: u64) {
        self.step = step.max(1);
    }

    /// How many seconds after the first midnight a clock on its wall says this.
    pub fn seconds_at(&self, clock: DateTime) -> f64 {
        seconds_since(self.first_day, clock)
    }

    /// Steps through the past up to this many seconds after the first midnight.
    pub fn advance_to(&mut self, seconds: f64) {
        // What is negative or no number at all becomes 0, so that time cannot run backwards.
        let steps = whole_seconds(seconds) / self.step;
        while self.past.seconds < steps * self.step {
            let flows = self.flows_of_step();
            self.past.add(&flows, in_seconds(self.step));
            self.past.seconds += self.step;
            if self.past.seconds.is_multiple_of(DAY_SECONDS) {
                self.past.end_day();
            }
        }
    }

    /// What the inverter says at this many seconds after the first midnight.
    pub fn at(&mut self, seconds: f64) -> Figures {
        self.advance_to(seconds);
        let seconds = seconds.max(in_seconds(self.past.seconds));
        let mut past = self.past.clone();
        let flows = self.flows(seconds);
        past.add(&self.flows_of_step(), seconds - in_seconds(past.seconds));
        self.figures(seconds, &flows, &past)
    }

    /// What the inverter says while it starts: counters, but no measurements.
    pub fn starting_at(&mut self, seconds: f64) -> Figures {
        const WAITING: u8 = 1;
        let figures = self.at(seconds);
        Figures {
            bms_error: figures.bms_error,
            work_mode: WAITING,
            e_total: figures.e_total,
            h_total: figures.h_total,
            e_day: figures.e_day,
            e_load_day: figures.e_load_day,
            e_load_total: figures.e_load_total,
            clock: figures.clock,
            e_battery_charge_total: figures.e_battery_charge_total,
            e_battery_discharge_total: figures.e_battery_discharge_total,
            ..Figures::default()
        }
    }

    /// What stands for the whole step that the past has come to.
    fn flows_of_step(&self) -> Flows {
        self.flows(
            self.surroundings
                .within(self.past.seconds, self.step, STEP_SECONDS),
        )
    }

    fn flows(&self, seconds: f64) -> Flows {
        let strings = [0, 1].map(|string| self.string(string, seconds));
        let pv = strings
            .iter()
            .map(|(volts, amps)| f64::from(*volts) * f64::from(*amps) / 100.0)
            .sum::<f64>();
        let load = self.surroundings.household_watts(seconds);
        let needed = load + f64::from(BACK_UP_WATTS);

        let surplus = pv - (needed + STANDING_LOSS_WATTS) / CONVERSION;
        let soc = self.past.soc;
        let wanted = if surplus > 0.0 {
            // The last tenth is charged ever more slowly.
            let taper = ((1.0 - soc) / 0.1).clamp(0.0, 1.0);
            surplus.min(BATTERY_LIMIT_WATTS * taper)
        } else if self.past.resting {
            0.0
        } else {
            let room = (AC_LIMIT_WATTS + STANDING_LOSS_WATTS) / CONVERSION - pv;
            -(-surplus).min(BATTERY_LIMIT_WATTS).min(room.max(0.0))
        };
        let at_rest = 48.5 + 4.5 * soc;
        let volts: u16 = rounded(10.0 * (at_rest + 0.015 * wanted / at_rest));
        let amps = 100.0 * wanted / f64::from(volts);
        let battery_current = if wanted > 0.0 {
            // Rounded down, or a watt more than there is would be charged.
            rounded::<i32>(amps.floor())
        } else {
            rounded(amps)
        };

        let mut flows = Flows {
            strings,
            battery_voltage: volts,
            battery_current,
            inverter: 0,
            load: rounded(load),
        };
        let direct = pv - flows.battery_watts();
        flows.inverter = rounded((CONVERSION * direct - STANDING_LOSS_WATTS).max(0.0));
        flows
    }

    /// Voltage and current of a string, in tenths.
    fn string(&self, string: u8, seconds: f64) -> (u16, u16) {
        // The second roof looks further west.
        let late = 2400.0 * f64::from(string);
        let light = self.surroundings.sun(seconds - late) * self.surroundings.clearness(seconds);
        if light <= 0.0 {
            return (0, 0);
        }
        let [first, second] = STRING_PEAK_WATTS;
        let peak = if string == 0 { first } else { second };
        // At dawn there is voltage long before there is a current that shows.
        let wobble = 3.0
            * self
                .surroundings
                .noise(Noise::Voltage(string), seconds, 90.0);
        let volts = 62.0 + 110.0 * (light * 12.0).min(1.0) - 12.0 * light + wobble;
        let volts: u16 = rounded(10.0 * volts);
        (volts, rounded(100.0 * peak * light / f64::from(volts)))
    }

    fn figures(&self, seconds: f64, flows: &Flows, past: &Past) -> Figures {
        const CHARGING: u8 = 3;
        const DISCHARGING: u8 = 2;
        const STANDBY: u8 = 1;
        let bms = self.variant.has_bms();
        let [(vpv1, ipv1), (vpv2, ipv2)] = flows.strings;
        let grid = i64::from(flows.load) + i64::from(BACK_UP_WATTS) - i64::from(flows.inverter);
        let grid_voltage =
            229.0 + 8.0 * self.surroundings.noise(Noise::GridVoltage, seconds, 240.0);
        let frequency =
            rounded(4993.0 + 14.0 * self.surroundings.noise(Noise::Frequency, seconds, 30.0));
        let made = tenths(past.made_today);
        let used = tenths(past.used_today);
        let warmth = 17.0
            + 7.0 * (0.5 - 0.5 * (2.0 * PI * (hour_of_day(seconds) - 3.0) / 24.0).cos())
            + 14.0 * f64::from(flows.inverter) / AC_LIMIT_WATTS;
        Figures {
            vpv1,
            ipv1,
            pv1_mode: pv_mode(vpv1, ipv1),
            vpv2,
            ipv2,
            pv2_mode: pv_mode(vpv2, ipv2),
            vbattery1: flows.battery_voltage,
            battery_status: if bms { 80 } else { 0 },
            battery_temperature: if bms {
                rounded(
                    180.0
                        + 60.0
                            * self
                                .surroundings
                                .noise(Noise::BatteryTemperature, seconds, 14_400.0),
                )
            } else {
                0
            },
            ibattery1: rounded(f64::from(flows.battery_current.abs())),
            battery_charge_limit: match bms {
                true if past.soc >= 0.999 => 0,
                true => 50,
                false => 0,
            },
            battery_discharge_limit: if bms { 50 } else { 0 },
            bms_error: if bms { 0 } else { 0x0100 },
            battery_soc: rounded(100.0 * past.soc),
            battery_soh: if bms { 99 } else { 0 },
            battery_mode: match flows.battery_current {
                current if current < 0 => DISCHARGING,
                // A KSE at rest says that it charges, with 0.0 A: four captures.
                0 if bms => STANDBY,
                _ => CHARGING,
            },
            meter_status: u8::from(bms),
            vgrid: rounded(10.0 * grid_voltage),
            igrid: rounded(10.0 * f64::from(flows.inverter) / grid_voltage),
            pgrid: u16::try_from(grid.unsigned_abs()).unwrap_or(u16::MAX),
            fgrid: frequency,
            grid_mode: 1,
            vload: rounded(10.0 * grid_voltage),
            iload: 5,
            pload: flows.load,
            fload: frequency,
            load_mode: 1,
            work_mode: 2,
            temperature: rounded(10.0 * warmth),
            error_codes: 0,
            e_total: past.made_before.saturating_add(made),
            h_total: rounded(
                1000.0
                    + 30_000.0 * self.surroundings.chance(Noise::Age)
                    + seconds / SECONDS_PER_HOUR,
            ),
            e_day: u16::try_from(made).unwrap_or(u16::MAX),
            e_load_day: u16::try_from(used).unwrap_or(u16::MAX),
            e_load_total: past.used_before.saturating_add(used),
            total_power: flows.inverter,
            effective_work_mode: 1,
            effective_relay_control: 0x0030,
            grid_in_out: match grid {
                watts if watts <= -DEAD_BAND_WATTS => 1,
                watts if watts >= DEAD_BAND_WATTS => 2,
                _ => 0,
            },
            pback_up: BACK_UP_WATTS,
            diagnostics: 0,
            clock: self.clock(seconds),
            e_battery_charge_total: tenths(past.charged),
            e_battery_discharge_total: tenths(past.discharged),
        }
    }

    fn clock(&self, seconds: f64) -> [u8; 6] {
        let seconds = whole_seconds(seconds);
        let days = i64::try_from(seconds / DAY_SECONDS).unwrap_or(i64::MAX);
        let date = self
            .first_day
            .saturating_add(jiff::Span::new().try_days(days).unwrap_or_default());
        let second = seconds % DAY_SECONDS;
        let byte = |number: u64| u8::try_from(number).unwrap_or(0);
        [
            u8::try_from(date.year().rem_euclid(100)).unwrap_or(0),
            date.month().unsigned_abs(),
            date.day().unsigned_abs(),
            byte(second / 3600),
            byte(second / 60 % 60),
            byte(second % 60),
        ]
    }
}

impl Past {
    fn add(&mut self, flows: &Flows, seconds: f64) {
        self.made_today += f64::from(flows.inverter) * seconds;
        self.used_today += f64::from(flows.load) * seconds;
        let joules = flows.battery_watts() * seconds;
        let capacity = BATTERY_WATT_HOURS * SECONDS_PER_HOUR;
        if joules > 0.0 {
            self.charged += joules;
            self.soc += joules * CHARGING_EFFICIENCY / capacity;
        } else {
            self.discharged -= joules;
            self.soc += joules / capacity;
        }
        self.soc = self.soc.clamp(0.0, 1.0);
        let lowest = f64::from(LOWEST_SOC) / 100.0;
        self.resting = self.soc <= lowest || (self.resting && self.soc < REST_UNTIL_SOC);
    }

    /// Day and lifetime counters step together: what the day has not made a tenth of is the next day's.
    fn end_day(&mut self) {
        for (today, before) in [
            (&mut self.made_today, &mut self.made_before),
            (&mut self.used_today, &mut self.used_before),
        ] {
            let full = tenths(*today);
            *before = before.saturating_add(full);
            *today -= f64::from(full) * WATT_SECONDS_PER_TENTH_KWH;
        }
    }
}

fn pv_mode(volts: u16, amps: u16) -> u8 {
    match (volts, amps) {
        (0, _) => 0,
        (_, 0) => 1,
        _ => 2,
    }
}

fn tenths(watt_seconds: f64) -> u32 {
    rounded((watt_seconds / WATT_SECONDS_PER_TENTH_KWH).floor())
}

#[cfg(test)]
mod tests;
