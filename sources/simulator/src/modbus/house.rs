//! The house behind a Modbus machine: what flows at a moment, and the true energies since the first midnight.
//!
//! Everything stands still for ten seconds and then steps, so two blocks that are read within a step fit together,
//! and the energies are exactly the sum of the powers that could be read. Powers are whole watts, and on the AC
//! side they balance to the watt: inverter = load + back-up - grid, for each phase. Here the grid is positive while
//! importing and the battery while charging; the families turn the signs that their machines turn.

use jiff::civil::{Date, DateTime};

use super::config::Plant;
use super::energies::{Counter, Energies, WATT_SECONDS_PER_KWH, units};
use crate::surroundings::{
    DAY_SECONDS, Noise, SECONDS_PER_HOUR, Surroundings, hour_of_day, in_seconds, rounded,
    seconds_since, whole_seconds,
};

/// How long everything stands still.
pub const STEP_SECONDS: u64 = 10;

/// What becomes AC of each watt of DC, and DC of each watt of AC.
const CONVERSION: f64 = 0.96;
/// What the machine itself uses, off its DC side.
const STANDING_LOSS_WATTS: f64 = 20.0;
const CHARGING_EFFICIENCY: f64 = 0.97;
const LOWEST_SOC: f64 = 0.15;
/// An empty battery rests until it is this full, or it would be switched with every cloud.
const REST_UNTIL_SOC: f64 = 0.2;
/// When a plant that may do so charges from the grid, in hours of the day.
const NIGHT_CHARGING: std::ops::Range<f64> = 2.0..4.0;

/// One string of modules; its power is voltage times current, rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PvString {
    /// 0.1 V.
    pub decivolts: u16,
    /// 0.1 A.
    pub deciamps: u16,
    /// W.
    pub watts: i32,
}

/// What flows during a step, in watts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flows {
    /// As many as the plant has.
    pub strings: Vec<PvString>,
    /// All strings.
    pub pv: i32,
    /// Positive while charging; both batteries, if there are two.
    pub battery: i32,
    /// 0.1 V.
    pub battery_decivolts: u16,
    /// Out of the inverter, by phase; the phases that are not there are 0, here and below.
    pub inverter: [i32; 3],
    /// What the house uses, the back-up output apart.
    pub load: [i32; 3],
    /// What hangs on the back-up output.
    pub back_up: [i32; 3],
    /// Positive while importing.
    pub grid: [i32; 3],
    /// 0.1 V.
    pub grid_decivolts: [u16; 3],
    /// 0.01 Hz.
    pub centihertz: u16,
    /// 0.1 degrees.
    pub heat_sink_decidegrees: i16,
}

/// Everything that a machine can tell of a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// What its clock says.
    pub clock: DateTime,
    /// What flows.
    pub flows: Flows,
    /// Since the first midnight.
    pub energies: Energies,
    /// The same at the last midnight.
    pub at_midnight: Energies,
    /// From 0 to 1.
    pub soc: f64,
    /// Hours that the machine has run.
    pub hours: u32,
    /// PV energy before the first midnight, in kWh.
    pub kilowatt_hours_before: u32,
}

impl Moment {
    /// A counter in units of this many watt seconds, as it counts today.
    pub fn today(&self, counter: Counter, unit: f64) -> u32 {
        units(counter.watt_seconds(&self.energies), unit)
            .saturating_sub(units(counter.watt_seconds(&self.at_midnight), unit))
    }

    /// A counter in units of this many watt seconds, over the life of the machine. It steps together with today's.
    pub fn total(&self, counter: Counter, unit: f64) -> u32 {
        let before = f64::from(self.kilowatt_hours_before) * counter.share_before();
        units(before.floor() * WATT_SECONDS_PER_KWH, unit)
            .saturating_add(units(counter.watt_seconds(&self.energies), unit))
    }

    /// Whether the sun is up enough to feed a string inverter.
    pub fn is_day(&self) -> bool {
        self.flows.strings.iter().any(|string| string.decivolts > 0)
    }
}

/// The days of one house, from the midnight of the first.
#[derive(Clone, Debug)]
pub struct House {
    plant: Plant,
    surroundings: Surroundings,
    first_day: Date,
    /// How long a step is.
    step: u64,
    seconds: u64,
    soc: f64,
    resting: bool,
    energies: Energies,
    at_midnight: Energies,
}

impl House {
    /// A house; the seed decides about its weather and its habits.
    pub fn new(plant: Plant, seed: u64, first_day: Date) -> Self {
        let surroundings = Surroundings::new(seed);
        Self {
            plant,
            surroundings,
            first_day,
            step: STEP_SECONDS,
            seconds: 0,
            soc: 0.3 + 0.2 * surroundings.chance(Noise::Soc),
            resting: false,
            energies: Energies::default(),
            at_midnight: Energies::default(),
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

    /// What the house is like this many seconds after the first midnight. Time cannot run backwards: an earlier
    /// moment than the last one is the last step.
    pub fn at(&mut self, seconds: f64) -> Moment {
        self.advance_to(seconds);
        let begins = in_seconds(self.seconds);
        let flows = self.flows();
        let mut energies = self.energies;
        energies.add(&flows, (seconds - begins).max(0.0));
        let age = self.surroundings.chance(Noise::Age);
        Moment {
            clock: self.clock(seconds.max(begins)),
            flows,
            energies,
            at_midnight: self.at_midnight,
            soc: self.soc,
            hours: rounded(1000.0 + 9000.0 * age + begins / SECONDS_PER_HOUR),
            kilowatt_hours_before: rounded(2000.0 + 8000.0 * age),
        }
    }

    /// Steps through the past.
    pub fn advance_to(&mut self, seconds: f64) {
        let steps = whole_seconds(seconds) / self.step;
        while self.seconds < steps * self.step {
            let flows = self.flows();
            let length = in_seconds(self.step);
            self.energies.add(&flows, length);
            self.charge(f64::from(flows.battery) * length);
            self.seconds += self.step;
            if self.seconds.is_multiple_of(DAY_SECONDS) {
                self.at_midnight = self.energies;
            }
        }
    }

    fn charge(&mut self, joules: f64) {
        let Some(battery) = self.plant.battery else {
            return;
        };
        let capacity = battery.watt_hours * SECONDS_PER_HOUR;
        let kept = if joules > 0.0 {
            CHARGING_EFFICIENCY
        } else {
            1.0
        };
        self.soc = (self.soc + joules * kept / capacity).clamp(0.0, 1.0);
        self.resting = self.soc <= LOWEST_SOC || (self.resting && self.soc < REST_UNTIL_SOC);
    }

    /// What flows during the step that begins now.
    fn flows(&self) -> Flows {
        let seconds = self
            .surroundings
            .within(self.seconds, self.step, STEP_SECONDS);
        let strings: Vec<PvString> = (0..)
            .zip(&self.plant.string_peak_watts)
            .map(|(number, peak)| self.string(number, *peak, seconds))
            .collect();
        let pv: i32 = strings.iter().map(|string| string.watts).sum();
        let back_up = self.plant.by_phase([self.plant.back_up_watts; 3]);
        let load = self.load(seconds);
        let needed = f64::from(load.iter().chain(&back_up).sum::<i32>());
        let battery: i32 = rounded(self.battery(seconds, f64::from(pv), needed));

        let direct = f64::from(pv - battery);
        let running = pv != 0 || battery != 0;
        let output = match (running, direct > 0.0) {
            (false, _) => 0.0,
            (true, true) => (CONVERSION * direct - STANDING_LOSS_WATTS).max(0.0),
            (true, false) => direct / CONVERSION - STANDING_LOSS_WATTS,
        };
        let output: i32 = rounded(output.min(f64::from(self.plant.rated_watts)));
        let inverter = self.plant.evenly(output);
        let phase = |at: usize, of: &[i32; 3]| of.get(at).copied().unwrap_or_default();
        let grid =
            [0, 1, 2].map(|at| phase(at, &load) + phase(at, &back_up) - phase(at, &inverter));
        let volts = |number: f64| -> u16 {
            let noise = self.surroundings.noise(Noise::GridVoltage, seconds, 240.0);
            rounded(10.0 * (229.0 + 8.0 * noise) + 7.0 * number)
        };
        Flows {
            strings,
            pv,
            battery,
            battery_decivolts: self.battery_decivolts(battery),
            inverter,
            load,
            back_up,
            grid,
            grid_decivolts: self.plant.by_phase([0.0, 1.0, 2.0].map(volts)),
            centihertz: rounded(
                4993.0 + 14.0 * self.surroundings.noise(Noise::Frequency, seconds, 30.0),
            ),
            heat_sink_decidegrees: rounded(
                250.0 + 200.0 * f64::from(output.abs()) / f64::from(self.plant.rated_watts.max(1)),
            ),
        }
    }

    fn string(&self, number: u8, peak: f64, seconds: f64) -> PvString {
        // Each further roof looks a little further west.
        let light = self.surroundings.sun(seconds - 1500.0 * f64::from(number))
            * self.surroundings.clearness(seconds);
        if light <= 0.0 {
            return PvString::default();
        }
        let wobble = 4.0
            * self
                .surroundings
                .noise(Noise::Voltage(number), seconds, 90.0);
        let decivolts: u16 =
            rounded(10.0 * (180.0 + 160.0 * (light * 12.0).min(1.0) - 20.0 * light + wobble));
        let deciamps: u16 = rounded(100.0 * peak * light / f64::from(decivolts));
        PvString {
            decivolts,
            deciamps,
            watts: rounded(f64::from(decivolts) * f64::from(deciamps) / 100.0),
        }
    }

    /// The house by phase: half of it on the first, the rest in shares that change over the day.
    fn load(&self, seconds: f64) -> [i32; 3] {
        let all = self.plant.household * self.surroundings.household_watts(seconds);
        let second = 0.2 + 0.2 * self.surroundings.noise(Noise::Base, seconds, 3600.0);
        if self.plant.phases == 1 {
            return [rounded(all), 0, 0];
        }
        [
            rounded(0.5 * all),
            rounded(second * all),
            rounded((0.5 - second) * all),
        ]
    }

    /// Watts into the battery.
    fn battery(&self, seconds: f64, pv: f64, needed: f64) -> f64 {
        let Some(battery) = self.plant.battery else {
            return 0.0;
        };
        let limit = battery.limit_watts;
        // The last tenth is charged ever more slowly.
        let taper = ((1.0 - self.soc) / 0.1).clamp(0.0, 1.0);
        if self.plant.charges_at_night && NIGHT_CHARGING.contains(&hour_of_day(seconds)) {
            return limit * taper;
        }
        let surplus = pv - (needed + STANDING_LOSS_WATTS) / CONVERSION;
        if surplus > 0.0 {
            surplus.min(limit * taper)
        } else if self.resting {
            0.0
        } else {
            let room = f64::from(self.plant.rated_watts) / CONVERSION - pv;
            -(-surplus).min(limit).min(room.max(0.0))
        }
    }

    fn battery_decivolts(&self, watts: i32) -> u16 {
        let Some(battery) = self.plant.battery else {
            return 0;
        };
        let share = f64::from(watts) / battery.limit_watts;
        rounded(10.0 * battery.volts * (0.96 + 0.07 * self.soc + 0.02 * share))
    }

    fn clock(&self, seconds: f64) -> DateTime {
        let whole = i64::try_from(whole_seconds(seconds)).unwrap_or(i64::MAX);
        let span = jiff::SignedDuration::from_secs(whole);
        self.first_day.at(0, 0, 0, 0).saturating_add(span)
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Family;
    use super::super::energies::kilowatt_hours;
    use super::*;

    const SEEDS: [u64; 3] = [1, 2, 77];

    fn house(family: Family, phases: u8, seed: u64) -> House {
        let plant = Plant::of(family, phases);
        House::new(plant, seed, jiff::civil::date(2026, 6, 21))
    }

    fn each_plant() -> impl Iterator<Item = House> {
        Family::ALL.into_iter().flat_map(|family| {
            SEEDS.into_iter().flat_map(move |seed| {
                [1, 3]
                    .into_iter()
                    .map(move |phases| house(family, phases, seed))
            })
        })
    }

    #[test]
    fn the_powers_balance_to_the_watt_in_each_phase() {
        for mut house in each_plant() {
            for minute in 0..1440 {
                let moment = house.at(60.0 * f64::from(minute));
                let flows = moment.flows;
                for phase in 0..3 {
                    assert_eq!(
                        flows.inverter[phase] + flows.grid[phase],
                        flows.load[phase] + flows.back_up[phase]
                    );
                }
                let direct = flows.pv - flows.battery;
                let output: i32 = flows.inverter.iter().sum();
                assert!(output <= direct.max(0), "{output} of {direct}");
                assert!(flows.strings.iter().all(|string| string.watts >= 0));
            }
        }
    }

    #[test]
    fn the_energies_are_the_sum_of_the_powers() {
        for mut house in each_plant() {
            let (mut pv, mut import, mut charge) = (0.0, 0.0, 0.0);
            for step in 0..8640 {
                let flows = house.at(10.0 * f64::from(step) + 3.0).flows;
                pv += f64::from(flows.pv) * 10.0;
                import += f64::from(flows.grid.iter().sum::<i32>().max(0)) * 10.0;
                charge += f64::from(flows.battery.max(0)) * 10.0;
            }
            let truth = house.at(86_400.0).energies;
            for (sum, truth) in [
                (pv, truth.pv),
                (import, truth.import),
                (charge, truth.charge),
            ] {
                assert!((sum - truth).abs() < 1.0, "{sum} of {truth}");
            }
            assert!(kilowatt_hours(truth.pv) > 10.0, "{truth:?}");
            assert!(kilowatt_hours(truth.import) > 0.5, "{truth:?}");
        }
    }

    #[test]
    fn todays_counter_and_the_total_step_together() {
        let mut house = house(Family::KstarHybrid, 3, 1);
        let mut counters = |seconds| {
            let moment = house.at(seconds);
            let unit = 360_000.0;
            (
                moment.today(Counter::Pv, unit),
                moment.total(Counter::Pv, unit),
            )
        };
        let (dawn, noon) = (counters(0.0), counters(43_200.0));
        let (before, after) = (counters(86_399.0), counters(86_401.0));
        assert_eq!(dawn.0, 0);
        assert!(noon.0 > 10 && before.0 > noon.0);
        assert_eq!(noon.1 - dawn.1, noon.0);
        assert_eq!(after, (0, before.1));
    }

    #[test]
    fn a_moment_does_not_depend_on_what_was_asked_before() {
        let mut often = house(Family::GoodweEt, 3, 5);
        for second in 0..40_000 {
            often.at(f64::from(second) + 0.3);
        }
        let mut once = house(Family::GoodweEt, 3, 5);
        assert_eq!(often.at(40_000.7), once.at(40_000.7));
    }

    #[test]
    fn a_battery_that_is_charged_at_night_takes_it_from_the_grid() {
        let mut plant = Plant::of(Family::GoodweEt, 3);
        plant.charges_at_night = true;
        let mut house = House::new(plant, 1, jiff::civil::date(2026, 6, 21));
        let moment = house.at(3.0 * 3600.0);
        assert!(moment.flows.battery > 1000);
        assert!(moment.flows.inverter.iter().sum::<i32>() < -1000);
        assert!(moment.energies.inverter_in > 0.0);
    }
}
