//! GoodWe string inverters: device info, running data, and with a meter its block and its version.
//!
//! There is no battery; PV power is not sent, but voltage and current of each string are. Meter power is positive
//! while exporting.

use super::{Block, HOLDING, TENTH_KILOWATT_HOUR, WATT_HOUR, current};
use crate::modbus::config::{Config, Meter};
use crate::modbus::energies::Counter;
use crate::modbus::house::Moment;

const ABSENT: u16 = 0xFFFF;

pub(super) fn blocks(config: &Config, moment: &Moment) -> Vec<Block> {
    let mut blocks = vec![device_info(config), running(config, moment), model(config)];
    if config.plant.meter != Meter::None {
        blocks.push(meter(moment));
        blocks.push(meter_version());
    }
    blocks
}

fn device_info(config: &Config) -> Block {
    let mut block = Block::new(HOLDING, 30001, 40);
    block.put(30001, 1);
    block.put_signed(30002, config.plant.rated_watts / 100);
    block.put(30003, u16::from(config.plant.phases));
    block.put_text(30004, 8, &config.serial);
    block.put_text(30012, 5, &config.model);
    block.put_all(30034, [5, 5, 16, 110, 15]);
    block
}

/// The model by name once more, for machines that leave it blank in the device info.
fn model(config: &Config) -> Block {
    let mut block = Block::new(HOLDING, 40173, 8);
    block.put_text(40173, 8, &config.model);
    block
}

fn running(config: &Config, moment: &Moment) -> Block {
    let (wait, normal) = (0, 1);
    let flows = &moment.flows;
    let out: i32 = flows.inverter.iter().sum();
    let mut block = Block::new(HOLDING, 30100, 73);
    block.put_clock(30100, moment.clock);
    for number in 0..6 {
        let first = 30103 + 2 * number;
        match flows.strings.get(usize::from(number)) {
            Some(string) => block.put_all(first, [string.decivolts, string.deciamps]),
            None => block.put_all(first, [ABSENT, ABSENT]),
        }
    }
    put_phases(&mut block, config, moment);
    block.put_signed_double(30127, out);
    block.put(30129, if out > 0 { normal } else { wait });
    block.put_signed_double(30133, out);
    block.put_signed_double(30135, 0);
    block.put_signed(30137, -1);
    let power_factor = if config.plant.phases == 1 { -1 } else { 998 };
    block.put_signed(30139, power_factor);
    block.put_signed(30141, i32::from(flows.heat_sink_decidegrees));
    block.put_signed(30142, i32::from(flows.heat_sink_decidegrees) + 15);
    let today = moment.today(Counter::InverterOut, TENTH_KILOWATT_HOUR);
    block.put(30144, u16::try_from(today).unwrap_or(u16::MAX));
    block.put_double(
        30145,
        moment.total(Counter::InverterOut, TENTH_KILOWATT_HOUR),
    );
    block.put_double(30147, moment.hours);
    block.put(30149, 73);
    block.put(30162, 2400);
    block.put(30163, 6100);
    block.put(30164, ABSENT);
    block.put(30172, 84);
    block
}

fn put_phases(block: &mut Block, config: &Config, moment: &Moment) {
    let flows = &moment.flows;
    let one = config.plant.phases == 1;
    // Between two phases there is the square root of three times what is on one.
    let between = |decivolts: u16| u16::try_from(u32::from(decivolts) * 1732 / 1000).unwrap_or(0);
    for (phase, (decivolts, out)) in (0..).zip(flows.grid_decivolts.into_iter().zip(flows.inverter))
    {
        let words = if one && phase > 0 {
            [ABSENT; 4]
        } else {
            let amps = current(out, decivolts, 10.0);
            [
                between(decivolts),
                decivolts,
                u16::try_from(amps).unwrap_or(0),
                flows.centihertz,
            ]
        };
        for (first, word) in [30115, 30118, 30121, 30124].into_iter().zip(words) {
            block.put(first + phase, word);
        }
    }
    if one {
        block.put(30115, ABSENT);
    }
}

fn meter(moment: &Moment) -> Block {
    let mut block = Block::new(HOLDING, 30195, 15);
    block.put_signed_double(30195, -moment.flows.grid.iter().sum::<i32>());
    block.put_double(30197, moment.total(Counter::Export, WATT_HOUR));
    block.put_double(30199, moment.total(Counter::Import, WATT_HOUR));
    block.put(30209, 1);
    block
}

fn meter_version() -> Block {
    let mut block = Block::new(HOLDING, 30063, 20);
    block.put(30063, 1);
    block
}

#[cfg(test)]
mod tests {
    use super::super::super::captures;
    use super::super::super::config::Family;
    use super::super::super::energies::Energies;
    use super::super::super::house::{Flows, PvString};
    use super::*;

    fn moment() -> Moment {
        let string = |decivolts, deciamps, watts| PvString {
            decivolts,
            deciamps,
            watts,
        };
        Moment {
            clock: jiff::civil::date(2021, 9, 6).at(6, 56, 1, 0),
            flows: Flows {
                strings: vec![string(2244, 50, 1122), string(2918, 40, 1167)],
                pv: 2289,
                inverter: [760, 700, 700],
                load: [300, 100, 60],
                grid: [-460, -600, -640],
                grid_decivolts: [2405, 2410, 2398],
                centihertz: 4997,
                heat_sink_decidegrees: 401,
                ..Flows::default()
            },
            energies: Energies {
                inverter_out: 7.3 * 3_600_000.0,
                export: 5.001 * 3_600_000.0,
                ..Energies::default()
            },
            at_midnight: Energies::default(),
            soc: 0.0,
            hours: 955,
            kilowatt_hours_before: 1000,
        }
    }

    #[test]
    #[rustfmt::skip]
    fn every_figure_of_the_running_data_has_its_scale() {
        let block = &blocks(&Config::new(Family::GoodweDt, 1), &moment())[1];
        for (register, word) in [
            (30100, 0x1509), (30101, 0x0606), (30102, 0x3801),
            (30103, 2244), (30104, 50), (30105, 2918), (30106, 40), (30107, 0xFFFF), (30114, 0xFFFF),
            (30115, 4165), (30118, 2405), (30119, 2410), (30120, 2398), (30121, 32), (30122, 29), (30124, 4997), (30126, 4997),
            (30127, 0), (30128, 2160), (30129, 1), (30141, 401), (30142, 416),
            // 950 kWh before.
            (30144, 73), (30145, 0), (30146, 9573), (30148, 955), (30172, 84),
        ] {
            assert_eq!(block.get(register), Some(word), "{register}");
        }
        assert_eq!(block.words.len(), 73);
    }

    #[test]
    fn what_a_machine_with_one_phase_lacks_reads_as_on_a_captured_one() {
        let Some(captured) = captures::modbus_words("gw5000d-ns-running-data") else {
            return;
        };
        let config = Config::with_phases(Family::GoodweDt, 1, 1);
        let block = &blocks(&config, &moment())[1];
        let same = (30100..=30103).chain([30105]).chain(30107..=30117);
        let more = [
            30119, 30120, 30122, 30123, 30125, 30126, 30139, 30147, 30148,
        ];
        for register in same.chain(more) {
            let at = usize::from(register - 30100_u16);
            assert_eq!(block.words[at], captured[at], "{register}");
        }
    }

    #[test]
    fn a_meter_tells_export_positive_and_watt_hours() {
        let mut config = Config::new(Family::GoodweDt, 1);
        assert_eq!(blocks(&config, &moment()).len(), 3);
        config.plant.meter = Meter::Registers45;
        let all = blocks(&config, &moment());
        let block = all.iter().find(|block| block.first == 30195).expect("one");
        // 500 kWh before and 5.001 since are 505001 Wh.
        assert_eq!(
            block.range(30195, 6),
            Some(&[0, 1700, 7, 46_249, 6, 6784][..])
        );
        assert_eq!((block.get(30209), block.words.len()), (Some(1), 15));
        assert!(all.iter().any(|block| block.range(30063, 20).is_some()));
    }

    #[test]
    fn device_info_says_who_it_is() {
        let config = Config::new(Family::GoodweDt, 1);
        let block = &blocks(&config, &moment())[0];
        assert_eq!(
            [30002, 30003, 30004, 30012, 30034].map(|register| block.get(register)),
            [100, 3, 0x3930, 0x4757, 5].map(Some)
        );
        assert_eq!(block.words.len(), 40);
    }
}
