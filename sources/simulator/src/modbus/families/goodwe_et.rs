//! GoodWe ET, EH, BT and BH: device info, running data, meter, battery, a second battery and strings.
//!
//! Battery power is positive while discharging and meter power while exporting. What the running data call export
//! and import is the inverter's AC port. A phase that is missing reads
//! as on a GW6000-EH: FFFF, and 7FFF FFFF for powers.

use super::{Block, HOLDING, TENTH_KILOWATT_HOUR, WATT_HOUR, current};
use crate::modbus::config::{Config, Meter};
use crate::modbus::energies::Counter;
use crate::modbus::house::Moment;
use crate::surroundings::rounded;

const ABSENT: u16 = 0xFFFF;
const ABSENT_POWER: [u16; 2] = [0x7FFF, 0xFFFF];
const HUNDREDTH_KILOWATT_HOUR: f64 = 36_000.0;

pub(super) fn blocks(config: &Config, moment: &Moment) -> Vec<Block> {
    let plant = &config.plant;
    let mut blocks = vec![
        device_info(config),
        running(config, moment),
        meter(config, moment),
    ];
    if plant.battery.is_some() {
        blocks.push(battery(37000, 24, moment));
        if plant.second_battery {
            blocks.push(battery(39000, 22, moment));
            blocks.push(second_battery_power(moment));
        }
    }
    if plant.strings_block {
        blocks.push(strings(moment));
    }
    blocks
}

fn device_info(config: &Config) -> Block {
    const UNKNOWN: u16 = 254;
    let mut block = Block::new(HOLDING, 35000, 33);
    block.put(35000, 1);
    block.put_signed(35001, config.plant.rated_watts);
    block.put(35002, UNKNOWN);
    block.put_text(35003, 8, &config.serial);
    block.put_text(35011, 5, &config.model);
    block.put_all(35016, [6, 6, 152, 17, 192]);
    block.put_text(35021, 6, "04029-06-S11");
    block.put_text(35027, 6, "02041-17-S00");
    block
}

fn running(config: &Config, moment: &Moment) -> Block {
    let mut block = Block::new(HOLDING, 35100, 125);
    block.put_clock(35100, moment.clock);
    put_strings(&mut block, config, moment);
    put_phases(&mut block, config, moment);
    put_balance(&mut block, config, moment);
    put_state(&mut block, config, moment);
    put_battery_power(&mut block, config, moment);
    put_counters(&mut block, moment);
    block
}

/// A string that is not there reads FFFF on machines with one phase, and 0 on the others.
fn put_strings(block: &mut Block, config: &Config, moment: &Moment) {
    let (no_power, producing) = (1, 2);
    let absent = match config.plant.phases {
        1 => ABSENT,
        _ => 0,
    };
    let mut modes = [0; 4];
    for (number, mode) in (0..4).zip(&mut modes) {
        let first = 35103 + 4 * number;
        let Some(string) = moment.flows.strings.get(usize::from(number)) else {
            block.fill(first..=first + 3, absent);
            continue;
        };
        block.put(first, string.decivolts);
        block.put(first + 1, string.deciamps);
        block.put_signed_double(first + 2, string.watts);
        *mode = match (string.decivolts, string.watts) {
            (0, _) => 0,
            (_, 0) => no_power,
            _ => producing,
        };
    }
    let [first, second, third, fourth] = modes;
    block.put(35119, fourth << 8 | third);
    block.put(35120, second << 8 | first);
}

fn put_phases(block: &mut Block, config: &Config, moment: &Moment) {
    let flows = &moment.flows;
    let phases = flows
        .grid_decivolts
        .into_iter()
        .zip(flows.inverter)
        .zip(flows.back_up.into_iter().zip(flows.load));
    for (phase, ((decivolts, out), (back_up, load))) in (0..).zip(phases) {
        let inverter = 35121 + 5 * phase;
        let output = 35145 + 6 * phase;
        let used = 35163 + 2 * phase;
        if phase > 0 && config.plant.phases == 1 {
            block.fill(inverter..=inverter + 2, ABSENT);
            block.put_all(inverter + 3, ABSENT_POWER);
            block.fill(output..=output + 5, ABSENT);
            block.put_all(used, ABSENT_POWER);
            continue;
        }
        block.put(inverter, decivolts);
        block.put_signed(inverter + 1, current(out.abs(), decivolts, 10.0));
        block.put(inverter + 2, flows.centihertz);
        block.put_signed_double(inverter + 3, out);
        block.put(output, decivolts);
        block.put_signed(output + 1, current(back_up, decivolts, 10.0));
        block.put(output + 2, flows.centihertz);
        block.put(output + 3, 1);
        block.put_signed_double(output + 4, back_up);
        block.put_signed_double(used, load);
    }
}

/// Inverter = meter + load + back-up. The load is what the machine computes from the other three and cuts off at 0.
fn put_balance(block: &mut Block, config: &Config, moment: &Moment) {
    let flows = &moment.flows;
    let inverter: i32 = flows.inverter.iter().sum();
    let back_up: i32 = flows.back_up.iter().sum();
    let export = match config.plant.meter {
        Meter::None => 0,
        _ => -flows.grid.iter().sum::<i32>(),
    };
    block.put(35136, 1);
    block.put_signed_double(35137, inverter);
    if config.plant.phases == 1 {
        // As on a GW6000-EH: the sign does not go through the high word.
        block.put_signed(35140, export);
    } else {
        block.put_signed_double(35139, export);
    }
    block.put_signed_double(35169, back_up);
    block.put_signed_double(35171, (inverter - export - back_up).max(0));
    let share = 100 * back_up / config.plant.rated_watts.max(1);
    block.put_signed(35173, share);
}

fn put_state(block: &mut Block, config: &Config, moment: &Moment) {
    let (normal, country) = (1, 32);
    let heat_sink = i32::from(moment.flows.heat_sink_decidegrees);
    block.put_signed(35174, heat_sink + 60);
    block.put(35175, 0);
    block.put_signed(35176, heat_sink);
    block.put(35177, 0x0100);
    block.put(35178, 7600);
    block.put(35179, 3800);
    block.put(35186, country);
    block.put(35187, normal);
    if config.plant.phases == 1 {
        block.put(35175, 0x7FFF);
        block.put(35179, ABSENT);
        block.put(35188, ABSENT);
    }
    block.put_double(35220, 0);
}

/// The share of the first of two batteries is three fifths.
fn halves(watts: i32) -> (i32, i32) {
    let second = watts * 2 / 5;
    (watts - second, second)
}

fn put_battery_power(block: &mut Block, config: &Config, moment: &Moment) {
    let plant = &config.plant;
    if plant.battery.is_none() {
        return;
    }
    let watts = if plant.second_battery {
        halves(moment.flows.battery).0
    } else {
        moment.flows.battery
    };
    put_battery(block, 35180, watts, moment);
    block.put(35184, battery_mode(watts));
}

fn put_battery(block: &mut Block, first: u16, watts: i32, moment: &Moment) {
    let decivolts = moment.flows.battery_decivolts;
    block.put(first, decivolts);
    block.put_signed(first + 1, -current(watts, decivolts, 10.0));
    block.put_signed_double(first + 2, -watts);
}

fn battery_mode(watts: i32) -> u16 {
    let (standby, discharging, charging) = (1, 2, 3);
    match watts {
        0 => standby,
        1.. => charging,
        _ => discharging,
    }
}

fn put_counters(block: &mut Block, moment: &Moment) {
    let total = |counter| moment.total(counter, TENTH_KILOWATT_HOUR);
    let today = |counter| moment.today(counter, TENTH_KILOWATT_HOUR);
    block.put_double(35191, total(Counter::Pv));
    block.put_double(35193, today(Counter::Pv));
    block.put_double(35197, moment.hours);
    for (all, day, counter) in [
        (35195, 35199, Counter::InverterOut),
        (35200, 35202, Counter::InverterIn),
        (35203, 35205, Counter::Load),
        (35206, 35208, Counter::Charge),
        (35209, 35211, Counter::Discharge),
    ] {
        block.put_double(all, total(counter));
        block.put(day, u16::try_from(today(counter)).unwrap_or(u16::MAX));
    }
}

fn meter(config: &Config, moment: &Moment) -> Block {
    const MAKER: u16 = 10;
    let length = match config.plant.meter {
        Meter::None | Meter::Registers45 => 45,
        Meter::Registers58 => 58,
        Meter::Registers125 => 125,
    };
    let mut block = Block::new(HOLDING, 36000, length);
    block.put(36002, MAKER);
    if config.plant.meter == Meter::None {
        return block;
    }
    let flows = &moment.flows;
    let export = flows.grid.map(|watts| -watts);
    let all: i32 = export.iter().sum();
    let [first, second, third] = export;
    block.put(36000, 1);
    block.put(36001, 35);
    block.put(36003, 0x0111);
    block.put(36004, 1);
    for (number, watts) in (0..).zip([first, second, third, all]) {
        block.put_signed(36005 + number, watts);
        block.put_signed_double(36019 + 2 * number, watts);
        block.put(36010 + number, 980);
    }
    block.put(36014, flows.centihertz);
    if config.plant.meter != Meter::Registers58 {
        block.put_float(36015, float(moment.total(Counter::Export, WATT_HOUR)));
        block.put_float(36017, float(moment.total(Counter::Import, WATT_HOUR)));
    }
    block.put(36043, if config.plant.phases == 1 { 0 } else { 2 });
    block.put(36044, 3);
    if config.plant.meter == Meter::Registers125 {
        put_phase_energies(&mut block, moment);
    }
    block
}

#[expect(
    clippy::cast_precision_loss,
    reason = "as the machine's own floats: a watt hour in some tens of kWh"
)]
fn float(watt_hours: u32) -> f32 {
    watt_hours as f32
}

fn put_phase_energies(block: &mut Block, moment: &Moment) {
    let phases = [0, 1, 2];
    let export = phases.map(Counter::PhaseExport).into_iter();
    let import = phases.map(Counter::PhaseImport).into_iter();
    for (first, counters) in [
        (36092, export.chain([Counter::Export])),
        (36108, import.chain([Counter::Import])),
    ] {
        for (number, counter) in (0..).zip(counters) {
            let total = moment.total(counter, HUNDREDTH_KILOWATT_HOUR);
            block.put_quadruple(first + 4 * number, u64::from(total));
        }
    }
}

/// The second battery's block is the first one's without its first two registers.
fn battery(first: u16, count: u16, moment: &Moment) -> Block {
    let mut block = Block::new(HOLDING, first, count);
    let is_first = first == 37000;
    let status = if is_first { first + 2 } else { first };
    if is_first {
        block.put(37000, 255);
        block.put(37001, 256);
    }
    block.put(status, 1);
    block.put_signed(status + 1, 231);
    block.put(status + 2, if moment.soc > 0.999 { 0 } else { 25 });
    block.put(status + 3, 25);
    block.put(status + 5, rounded(100.0 * moment.soc));
    block.put(status + 6, 99);
    block.put(status + 7, 5);
    block.put(status + 9, 257);
    if is_first {
        block.put_all(37014, [1, 1, 3, 61, 2, 62]);
        block.put_signed(37020, 246);
        block.put_signed(37021, 219);
        block.put(37022, 3342);
        block.put(37023, 3318);
    }
    block
}

fn second_battery_power(moment: &Moment) -> Block {
    let mut block = Block::new(HOLDING, 35262, 6);
    let (_, watts) = halves(moment.flows.battery);
    put_battery(&mut block, 35262, watts, moment);
    block.put(35266, battery_mode(watts));
    block
}

fn strings(moment: &Moment) -> Block {
    let mut block = Block::new(HOLDING, 35301, 61);
    let flows = &moment.flows;
    block.put_signed_double(35301, flows.pv);
    block.put(
        35303,
        u16::try_from(flows.strings.len()).unwrap_or(u16::MAX),
    );
    for (number, string) in (0..).zip(&flows.strings) {
        block.put_signed(35337 + number, string.watts);
        block.put(35345 + number, string.deciamps);
    }
    block
}

#[cfg(test)]
mod tests;
