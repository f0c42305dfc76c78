//! KSTAR hybrids: input registers 3000 to 3301, to 3792 with packs, and holding registers 3200 to 3246.
//!
//! Battery power is positive while discharging and meter power while exporting. What the second and third phase of
//! a machine with one phase hold is not known; they are 0 here.

use super::{Block, HOLDING, INPUT, KILOWATT_HOUR, TENTH_KILOWATT_HOUR, current};
use crate::modbus::config::{Config, Meter};
use crate::modbus::energies::Counter;
use crate::modbus::house::Moment;
use crate::surroundings::rounded;

pub(super) fn blocks(config: &Config, moment: &Moment) -> Vec<Block> {
    let count = if config.plant.packs > 0 { 793 } else { 302 };
    let mut input = Block::new(INPUT, 3000, count);
    put_pv(&mut input, moment);
    put_state(&mut input, config, moment);
    put_battery(&mut input, config, moment);
    put_grid(&mut input, config, moment);
    put_output(&mut input, moment);
    put_identity(&mut input, config);
    vec![input, holding(config)]
}

fn put_pv(block: &mut Block, moment: &Moment) {
    for (number, string) in (0..).zip(&moment.flows.strings) {
        block.put(3000 + number, string.decivolts);
        block.put(3012 + number, string.deciamps * 10);
        block.put_signed(3024 + number, string.watts);
    }
    put_counters(block, 3036, moment, Counter::Pv);
}

/// Today in tenths, the month and the year in whole kWh, and in all in tenths.
fn put_counters(block: &mut Block, first: u16, moment: &Moment, counter: Counter) {
    let all = moment.total(counter, KILOWATT_HOUR);
    put_today(block, first, moment, counter);
    block.put_double(first + 1, all % 1_000);
    block.put_double(first + 3, all % 10_000);
    block.put_double(first + 5, moment.total(counter, TENTH_KILOWATT_HOUR));
}

fn put_today(block: &mut Block, register: u16, moment: &Moment, counter: Counter) {
    let tenths = moment.today(counter, TENTH_KILOWATT_HOUR);
    block.put(register, u16::try_from(tenths).unwrap_or(u16::MAX));
}

fn put_state(block: &mut Block, config: &Config, moment: &Moment) {
    const ON_GRID: u16 = 2;
    let flows = &moment.flows;
    let (stand_by, charging, discharging) = (0, 2, 3);
    block.put(3045, config.model_code);
    block.put(3046, ON_GRID);
    block.put(3047, ON_GRID);
    block.put(
        3048,
        match flows.battery {
            0 => stand_by,
            1.. => charging,
            _ => discharging,
        },
    );
    block.put(3053, 7600);
    block.put(3054, 3800);
    block.put_signed(3055, i32::from(flows.heat_sink_decidegrees));
    block.put_signed(3056, i32::from(flows.heat_sink_decidegrees) - 20);
    block.put_signed(3057, i32::from(flows.heat_sink_decidegrees) - 40);
}

fn put_battery(block: &mut Block, config: &Config, moment: &Moment) {
    const LITHIUM: u16 = 6;
    let plant = &config.plant;
    if plant.battery.is_none() {
        return;
    }
    let flows = &moment.flows;
    block.put(3062, LITHIUM);
    block.put(3063, flows.battery_decivolts.saturating_mul(10));
    block.put_signed(3064, -current(flows.battery, flows.battery_decivolts, 10.0));
    block.put_signed(3065, -flows.battery);
    block.put(3066, rounded(1000.0 * moment.soc));
    block.put_signed(3067, 231);
    block.put(3068, 85);
    block.put(3075, 990);
    block.put(3078, 100);
    block.put(3079, 100);
    let unit = if plant.battery_totals_in_whole_kwh {
        KILOWATT_HOUR
    } else {
        TENTH_KILOWATT_HOUR
    };
    block.put_double(3292, moment.total(Counter::Discharge, unit));
    put_today(block, 3294, moment, Counter::Discharge);
    block.put_double(3299, moment.total(Counter::Charge, unit));
    put_today(block, 3301, moment, Counter::Charge);
    for pack in 0..u16::from(plant.packs) {
        block.put(3450 + 44 * pack, rounded(100.0 * moment.soc));
    }
}

fn put_grid(block: &mut Block, config: &Config, moment: &Moment) {
    let flows = &moment.flows;
    let metered = config.plant.meter != Meter::None;
    for (first, (decivolts, import)) in [3097, 3101, 3105]
        .into_iter()
        .zip(flows.grid_decivolts.into_iter().zip(flows.grid))
    {
        if decivolts == 0 {
            continue;
        }
        block.put(first, decivolts);
        block.put(first + 1, flows.centihertz);
        if metered {
            block.put_signed(first + 2, -current(import, decivolts, 1000.0));
            block.put_signed(first + 3, -import);
        }
    }
    if metered {
        put_counters(block, 3109, moment, Counter::Import);
        put_counters(block, 3116, moment, Counter::Export);
    }
}

fn put_output(block: &mut Block, moment: &Moment) {
    let flows = &moment.flows;
    let phases = flows
        .grid_decivolts
        .into_iter()
        .zip(flows.inverter)
        .zip(flows.back_up.into_iter().zip(flows.load));
    for (phase, ((decivolts, out), (back_up, load))) in (0..).zip(phases) {
        if decivolts == 0 {
            continue;
        }
        let inverter = 3123 + 4 * phase;
        block.put(inverter, decivolts);
        block.put_signed(inverter + 1, current(out, decivolts, 100.0));
        block.put(inverter + 2, flows.centihertz);
        block.put_signed(inverter + 3, out);
        let output = 3135 + 3 * phase;
        block.put(output, decivolts);
        block.put_signed(output + 1, current(back_up, decivolts, 100.0));
        block.put_signed(output + 2, back_up);
        block.put_signed(3144 + phase, load);
    }
    put_counters(block, 3147, moment, Counter::Load);
}

fn put_identity(block: &mut Block, config: &Config) {
    const GERMANY: u16 = 1;
    block.put_text(3160, 16, "00000000000000000000000000000000");
    block.put(3193, GERMANY);
    block.put_text(3228, 11, &config.serial);
}

fn holding(config: &Config) -> Block {
    let mut block = Block::new(HOLDING, 3200, 47);
    block.put_text(3200, 8, &config.model);
    block.put_text(3208, 8, "LFP");
    // Versions 1.3.00 and 2.1.04: the high byte is ten times the first two figures.
    block.put(3216, 0x0D00);
    block.put(3217, 0x1504);
    block
}

#[cfg(test)]
mod tests {
    use super::super::super::config::Family;
    use super::super::super::energies::Energies;
    use super::super::super::house::{Flows, PvString};
    use super::*;

    /// Figures that can be followed by hand.
    fn moment() -> Moment {
        let string = |decivolts, deciamps, watts| PvString {
            decivolts,
            deciamps,
            watts,
        };
        Moment {
            clock: jiff::civil::date(2026, 6, 21).at(12, 0, 0, 0),
            flows: Flows {
                strings: vec![string(3500, 60, 2100), string(3400, 50, 1700)],
                pv: 3800,
                battery: 1280,
                battery_decivolts: 2560,
                inverter: [1000, 700, 700],
                load: [1500, 400, 300],
                back_up: [1, 1, 1],
                grid: [501, -299, -399],
                grid_decivolts: [2300, 2310, 2320],
                centihertz: 5001,
                heat_sink_decidegrees: 412,
            },
            energies: Energies {
                pv: 12.34 * 3_600_000.0,
                charge: 5.06 * 3_600_000.0,
                ..Energies::default()
            },
            at_midnight: Energies::default(),
            soc: 0.675,
            hours: 1000,
            kilowatt_hours_before: 1000,
        }
    }

    fn words(phases: u8) -> Block {
        let config = Config::with_phases(Family::KstarHybrid, phases, 1);
        blocks(&config, &moment()).remove(0)
    }

    #[test]
    #[rustfmt::skip]
    fn every_figure_stands_where_the_map_has_it_with_its_scale_and_sign() {
        let block = words(3);
        let minus = |number: u16| number.wrapping_neg();
        for (register, word) in [
            (3000, 3500), (3001, 3400), (3002, 0), (3012, 600), (3013, 500), (3024, 2100), (3025, 1700),
            // 12.3 kWh today; 1012 in all, 12 of this thousand; 10123 tenths in all.
            (3036, 123), (3037, 0), (3038, 12), (3039, 0), (3040, 1012), (3041, 0), (3042, 10_123),
            (3045, 32), (3046, 2), (3047, 2), (3048, 2), (3055, 412), (3057, 372),
            // Charging is negative: 1280 W at 256.0 V are 5.0 A.
            (3062, 6), (3063, 25_600), (3064, minus(50)), (3065, minus(1280)), (3066, 675), (3067, 231), (3075, 990),
            (3097, 2300), (3098, 5001), (3099, minus(2178)), (3100, minus(501)), (3104, 299), (3108, 399),
            (3123, 2300), (3124, 435), (3125, 5001), (3126, 1000), (3130, 700), (3134, 700),
            (3135, 2300), (3136, 0), (3137, 1), (3140, 1), (3143, 1), (3144, 1500), (3145, 400), (3146, 300),
            (3193, 1), (3299, 0), (3300, 3050), (3301, 50),
        ] {
            assert_eq!(block.get(register), Some(word), "{register}");
        }
    }

    #[test]
    fn the_other_phases_of_a_machine_with_one_are_nothing() {
        let config = Config::with_phases(Family::KstarHybrid, 1, 1);
        let mut one = moment();
        one.flows.grid_decivolts = [2300, 0, 0];
        one.flows.inverter = [2400, 0, 0];
        let block = blocks(&config, &one).remove(0);
        assert_eq!((block.get(3045), block.get(3126)), (Some(11), Some(2400)));
        for register in [3101, 3102, 3104, 3105, 3127, 3130, 3138, 3145] {
            assert_eq!(block.get(register), Some(0), "{register}");
        }
    }

    #[test]
    fn without_a_battery_and_without_a_meter_their_registers_are_nothing() {
        let mut config = Config::new(Family::KstarHybrid, 1);
        config.plant.battery = None;
        config.plant.meter = Meter::None;
        let block = blocks(&config, &moment()).remove(0);
        for register in (3062..=3079).chain([3099, 3100]).chain(3109..=3122) {
            assert_eq!(block.get(register), Some(0), "{register}");
        }
        assert_eq!(block.get(3097), Some(2300));
    }

    #[test]
    fn battery_totals_may_count_whole_kilowatt_hours() {
        let mut config = Config::new(Family::KstarHybrid, 1);
        config.plant.battery_totals_in_whole_kwh = true;
        let block = blocks(&config, &moment()).remove(0);
        assert_eq!((block.get(3300), block.get(3301)), (Some(305), Some(50)));
    }

    #[test]
    fn model_and_serial_number_are_text() {
        let config = Config::new(Family::KstarHybrid, 1);
        let [input, holding] = &blocks(&config, &moment())[..] else {
            panic!("two blocks");
        };
        let text = |words: &[u16]| -> String {
            let bytes = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            String::from_utf8(bytes).expect("text")
        };
        assert_eq!(
            text(holding.range(3200, 8).expect("model")),
            "E10KT           "
        );
        assert!(text(input.range(3228, 11).expect("serial")).starts_with(&config.serial));
        assert_eq!(holding.get(3216), Some(0x0D00));
    }

    #[test]
    fn only_a_machine_with_packs_has_their_registers() {
        let mut config = Config::new(Family::KstarHybrid, 1);
        assert_eq!(words(3).get(3450), None);
        config.plant.packs = 2;
        let block = blocks(&config, &moment()).remove(0);
        assert_eq!(
            [3450, 3494, 3538].map(|register| block.get(register)),
            [Some(68), Some(68), Some(0)]
        );
    }
}
