//! What is around an inverter and does not depend on it: sun, clouds, and what a household uses. All of it is a
//! function of a seed and the simulated time alone.

use std::f64::consts::PI;

use jiff::civil::{Date, DateTime};

pub(crate) const DAY_SECONDS: u64 = 86_400;
pub(crate) const SECONDS_PER_HOUR: f64 = 3600.0;

/// The latitude of a place with seasons, in degrees: that of Prague or Vancouver.
const LATITUDE: f64 = 50.0;
/// How far the sun's way through the year leads north and south, in degrees.
const OBLIQUITY: f64 = 23.44;
const DAYS_IN_YEAR: f64 = 365.25;
/// When the days of spring are as long as its nights, in days of the year.
const EQUINOX: f64 = 80.0;
/// When the sun stands highest, in hours of the clock: between those of winter and of daylight saving time.
const NOON: f64 = 12.75;
/// How much more a household uses in the middle of winter than in that of summer.
const WINTER_LOAD: f64 = 0.35;
/// How much cloudier winter is.
const WINTER_CLOUDS: f64 = 0.25;

/// The weather, the habits and the chance of one seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    seed: u64,
    /// The day of the year on which time begins, where there are seasons.
    first_day_of_year: Option<f64>,
}

impl Surroundings {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            first_day_of_year: None,
        }
    }

    /// The same with seasons, where time begins on this day.
    pub(crate) fn with_seasons(self, first_day: Date) -> Self {
        Self {
            first_day_of_year: Some(f64::from(first_day.day_of_year())),
            ..self
        }
    }

    /// The sun's way from the equator on a day, from -1 in midwinter to 1 in midsummer; nothing without seasons.
    fn season(self, seconds: f64) -> Option<f64> {
        let day = self.first_day_of_year? + seconds / in_seconds(DAY_SECONDS);
        Some((2.0 * PI * (day - EQUINOX) / DAYS_IN_YEAR).sin())
    }

    /// How wintry it is, 0 to 1.
    fn winter(self, seconds: f64) -> f64 {
        self.season(seconds)
            .map_or(0.0, |season| 0.5 - 0.5 * season)
    }

    /// What the modules get of a clear sky's light, 0 to 1. Without seasons from six to eight all the year round.
    pub(crate) fn sun(self, seconds: f64) -> f64 {
        let hour = hour_of_day(seconds);
        let Some(season) = self.season(seconds) else {
            let risen = (hour - 6.0) / 14.0;
            return if (0.0..=1.0).contains(&risen) {
                (PI * risen).sin().max(0.0).powf(1.3)
            } else {
                0.0
            };
        };
        let (latitude, declination) = (LATITUDE.to_radians(), (OBLIQUITY * season).to_radians());
        let turned = 2.0 * PI * (hour - NOON) / 24.0;
        let height =
            latitude.sin() * declination.sin() + latitude.cos() * declination.cos() * turned.cos();
        let highest = (latitude - OBLIQUITY.to_radians()).cos();
        (height / highest).clamp(0.0, 1.0)
    }

    /// A number from 0 up to 1 that stays what it is.
    pub(crate) fn chance(self, what: Noise) -> f64 {
        unit(self.seed, what, 0)
    }

    /// The moment that stands for a step: its middle, if it is as fine as usual. What a household switches on may be over
    /// sooner than a coarse one and begins with the quarter of an hour, so there it is any moment.
    pub(crate) fn within(self, begin: u64, step: u64, usual: u64) -> f64 {
        let share = if step == usual {
            0.5
        } else {
            unit(self.seed, Noise::Step, begin / step.max(1))
        };
        in_seconds(begin) + share * in_seconds(step)
    }

    /// The share of the sun that the clouds let through.
    pub(crate) fn clearness(self, seconds: f64) -> f64 {
        let cloudiness = 0.15
            + 0.75 * self.noise(Noise::Weather, seconds, 43_200.0)
            + WINTER_CLOUDS * self.winter(seconds);
        let clouds = 0.6 * self.noise(Noise::Cloud(0), seconds, 1800.0)
            + 0.3 * self.noise(Noise::Cloud(1), seconds, 420.0)
            + 0.1 * self.noise(Noise::Cloud(2), seconds, 75.0);
        1.0 - cloudiness.min(0.95) * ((clouds - 0.3) * 2.5).clamp(0.0, 1.0)
    }

    /// Watts that a household uses.
    pub(crate) fn household_watts(self, seconds: f64) -> f64 {
        let hour = hour_of_day(seconds);
        let around = |middle: f64, width: f64| (-((hour - middle) / width).powi(2)).exp();
        let base = 140.0 + 130.0 * self.noise(Noise::Base, seconds, 1200.0);
        let people =
            300.0 * around(7.25, 1.2) + 150.0 * around(12.5, 1.0) + 550.0 * around(19.5, 2.2);

        let turn = 2400.0;
        let fridge = seconds / turn + self.chance(Noise::Fridge);
        let fridge = if fridge.fract() < 0.35 { 85.0 } else { 0.0 };

        // Kettles, ovens, washing machines: at most one in each quarter of an hour, most of them around meals.
        let slot_seconds = 900.0;
        let slot = whole_seconds(seconds / slot_seconds);
        let chance = 0.03 + 0.3 * (around(7.25, 1.0) + around(12.5, 0.8) + around(19.0, 1.5));
        let in_slot = seconds - in_seconds(slot) * slot_seconds;
        let begins = 400.0 * unit(self.seed, Noise::ApplianceStart, slot);
        let lasts = 120.0 + 380.0 * unit(self.seed, Noise::ApplianceLength, slot);
        let on = unit(self.seed, Noise::Appliance, slot) < chance
            && (begins..begins + lasts).contains(&in_slot);
        let appliance = if on {
            900.0 + 1900.0 * unit(self.seed, Noise::AppliancePower, slot)
        } else {
            0.0
        };
        let season = 1.0 + WINTER_LOAD * self.winter(seconds);
        season * (base + people + fridge + appliance)
    }

    /// A smooth line through random points from 0 to 1, one every `period` seconds.
    pub(crate) fn noise(self, what: Noise, seconds: f64, period: f64) -> f64 {
        let point = whole_seconds(seconds / period);
        let between = (seconds / period - in_seconds(point)).clamp(0.0, 1.0);
        let eased = between * between * (3.0 - 2.0 * between);
        let from = unit(self.seed, what, point);
        let to = unit(self.seed, what, point + 1);
        from + (to - from) * eased
    }
}

/// How many seconds after the midnight of a day a clock says this.
pub(crate) fn seconds_since(first_day: Date, clock: DateTime) -> f64 {
    clock.duration_since(first_day.at(0, 0, 0, 0)).as_secs_f64()
}

pub(crate) fn hour_of_day(seconds: f64) -> f64 {
    (seconds / SECONDS_PER_HOUR).rem_euclid(24.0)
}

/// What a random number is for; each has a sequence of its own.
#[derive(Clone, Copy)]
pub(crate) enum Noise {
    Age,
    Soc,
    Weather,
    Cloud(u8),
    Voltage(u8),
    Base,
    Step,
    Fridge,
    Appliance,
    ApplianceStart,
    ApplianceLength,
    AppliancePower,
    GridVoltage,
    Frequency,
    BatteryTemperature,
}

impl Noise {
    fn number(self) -> u64 {
        match self {
            Self::Age => 1,
            Self::Soc => 2,
            Self::Weather => 3,
            Self::Base => 4,
            Self::Fridge => 5,
            Self::Appliance => 6,
            Self::ApplianceStart => 7,
            Self::ApplianceLength => 8,
            Self::AppliancePower => 9,
            Self::Step => 13,
            Self::GridVoltage => 10,
            Self::Frequency => 11,
            Self::BatteryTemperature => 12,
            Self::Cloud(octave) => 0x100 + u64::from(octave),
            Self::Voltage(string) => 0x200 + u64::from(string),
        }
    }
}

/// A number from 0 up to 1 that depends on nothing but its arguments: the finalizer of `SplitMix64`, so that any
/// point of a sequence can be had without those before it.
fn unit(seed: u64, what: Noise, point: u64) -> f64 {
    let mix = |mut number: u64| {
        number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    };
    let mixed = mix(mix(mix(seed) ^ what.number()) ^ point);
    // 32 bits are plenty here, and exact.
    f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / 4_294_967_296.0
}

/// The nearest integer that the wire's field can hold.
pub(crate) fn rounded<T: TryFrom<i64> + Default>(value: f64) -> T {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, and takes what is no number for 0"
    )]
    let whole = value.round() as i64;
    T::try_from(whole).unwrap_or_default()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates at both ends, and takes what is no number for 0"
)]
pub(crate) fn whole_seconds(seconds: f64) -> u64 {
    seconds as u64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact for the first 285 million years"
)]
pub(crate) fn in_seconds(seconds: u64) -> f64 {
    seconds as f64
}
