use super::super::super::captures;
use super::super::super::config::Family;
use super::super::super::energies::Energies;
use super::super::super::house::{Flows, PvString};
use super::*;

const KILOWATT_HOUR: f64 = 3_600_000.0;

/// The powers of the captured GW10K-ET of 2021-08-22, with what follows from them.
fn moment() -> Moment {
    let string = |decivolts, deciamps, watts| PvString {
        decivolts,
        deciamps,
        watts,
    };
    Moment {
        clock: jiff::civil::date(2021, 8, 22).at(11, 11, 12, 0),
        flows: Flows {
            strings: vec![string(3326, 51, 1695), string(3326, 53, 1761)],
            pv: 3456,
            battery: 2512,
            battery_decivolts: 2542,
            inverter: [338, 287, 206],
            load: [212, 77, 233],
            back_up: [107, 189, 16],
            grid: [-19, -21, 43],
            grid_decivolts: [2393, 2415, 2411],
            centihertz: 4999,
            heat_sink_decidegrees: 587,
        },
        energies: Energies {
            pv: 12.5 * KILOWATT_HOUR,
            charge: 5.3 * KILOWATT_HOUR,
            export: 10.514 * KILOWATT_HOUR,
            ..Energies::default()
        },
        at_midnight: Energies::default(),
        soc: 0.68,
        hours: 9246,
        kilowatt_hours_before: 6000,
    }
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::new(Family::GoodweEt, 1);
    change(&mut config);
    config
}

fn block_at(first: u16, config: &Config) -> Option<Block> {
    let all = blocks(config, &moment());
    all.into_iter().find(|block| block.first == first)
}

#[test]
fn running_data_are_those_of_the_captured_machine_where_the_house_is_the_same() {
    let Some(captured) = captures::modbus_words("gw10k-et-running-data") else {
        return;
    };
    let block = block_at(35100, &config(|_| {})).expect("running data");
    let same = [35100..=35110, 35119..=35121, 35123..=35123, 35136..=35140];
    let more = [35111..=35118, 35169..=35172, 35182..=35187];
    let counters = [35193..=35194, 35197..=35198, 35208..=35208];
    for register in same.into_iter().chain(more).chain(counters).flatten() {
        let at = usize::from(register - 35100_u16);
        assert_eq!(block.words[at], captured[at], "{register}");
    }
}

#[test]
#[rustfmt::skip]
fn every_figure_of_the_running_data_has_its_scale_and_sign() {
    let block = block_at(35100, &config(|_| {})).expect("running data");
    let minus = |number: u16| number.wrapping_neg();
    for (register, word) in [
        (35100, 0x1508), (35101, 0x160B), (35102, 0x0B0C),
        (35103, 3326), (35104, 51), (35105, 0), (35106, 1695), (35110, 1761), (35111, 0), (35118, 0),
        (35119, 0), (35120, 0x0202), (35121, 2393), (35122, 14), (35123, 4999), (35125, 338), (35130, 287), (35135, 206),
        // The sign goes through the high word; 831 = -3 + 522 + 312.
        (35138, 831), (35139, 0xFFFF), (35140, minus(3)), (35170, 312), (35172, 522),
        (35145, 2393), (35146, 4), (35147, 4999), (35148, 1), (35150, 107), (35156, 189), (35162, 16),
        (35164, 212), (35166, 77), (35168, 233), (35173, 3), (35174, 647), (35175, 0), (35176, 587),
        // 2512 W at 254.2 V are 9.9 A, and charging is negative.
        (35180, 2542), (35181, minus(99)), (35182, 0xFFFF), (35183, minus(2512)), (35184, 3), (35187, 1), (35188, 0),
        (35192, 60_125), (35194, 125), (35208, 53), (35207, 18_053), (35198, 9246),
    ] {
        assert_eq!(block.get(register), Some(word), "{register}");
    }
}

#[test]
fn what_a_machine_with_one_phase_lacks_reads_as_on_a_captured_one() {
    let Some(captured) = captures::modbus_words("gw6000-eh-running-data") else {
        return;
    };
    let config = Config::with_phases(Family::GoodweEt, 1, 1);
    let block = blocks(&config, &moment()).remove(1);
    for register in (35111..=35118)
        .chain(35126..=35135)
        .chain(35151..=35162)
        .chain(35165..=35168)
        .chain([35175, 35179, 35188])
    {
        let at = usize::from(register - 35100_u16);
        assert_eq!(block.words[at], captured[at], "{register}");
    }
    // 3 W from the grid, and no sign in the high word; the captured one has 164 W.
    assert_eq!(block.range(35139, 2), Some(&[0, 65_533][..]));
    assert_eq!(captured[39..41], [0, 0xFF5C]);
}

#[test]
fn an_ac_port_that_takes_energy_and_a_load_below_nothing() {
    let mut moment = moment();
    moment.flows.inverter = [-1000, -1000, -1000];
    moment.flows.grid = [1000, 1000, 1100];
    moment.flows.back_up = [0, 0, 0];
    let config = config(|config| config.plant.meter = Meter::None);
    let block = &blocks(&config, &moment)[1];
    // Without a meter the load would be -3000 W.
    assert_eq!((block.get(35172), block.get(35140)), (Some(0), Some(0)));
    assert_eq!(
        (block.get(35137), block.get(35138)),
        (Some(0xFFFF), Some(62_536))
    );
    assert_eq!(block.get(35122), Some(42));
}

#[test]
fn the_meter_block_is_as_long_as_the_machine_has_it() {
    for (meter, length) in [
        (Meter::None, 45),
        (Meter::Registers45, 45),
        (Meter::Registers58, 58),
        (Meter::Registers125, 125),
    ] {
        let block = block_at(36000, &config(|config| config.plant.meter = meter));
        assert_eq!(block.expect("a meter").words.len(), length);
    }
}

#[test]
#[rustfmt::skip]
fn the_meter_tells_power_with_export_positive_and_energies_in_watt_hours() {
    let block = block_at(36000, &config(|config| config.plant.meter = Meter::Registers125)).expect("a meter");
    // 3000 kWh before and 10.514 since are 3010514 Wh, as a float 4A37BF48.
    for (register, word) in [
        (36000, 1), (36001, 35), (36002, 10), (36003, 0x111), (36004, 1), (36005, 19), (36006, 21), (36007, 43_u16.wrapping_neg()),
        (36008, 3_u16.wrapping_neg()), (36014, 4999), (36015, 0x4A37), (36016, 0xBF48), (36020, 19),
        (36025, 0xFFFF), (36026, 3_u16.wrapping_neg()), (36043, 2),
        // 301051 hundredths of a kWh.
        (36104, 0), (36105, 0), (36106, 4), (36107, 38_907),
        // 240000: nothing was imported since.
        (36120, 0), (36122, 3), (36123, 43_392),
    ] {
        assert_eq!(block.get(register), Some(word), "{register}");
    }
    let silent = block_at(36000, &config(|config| config.plant.meter = Meter::Registers58)).expect("a meter");
    assert_eq!(silent.range(36015, 4), Some(&[0, 0, 0, 0][..]));
    let none = block_at(36000, &config(|config| config.plant.meter = Meter::None)).expect("a block");
    assert_eq!((none.get(36004), none.get(36008)), (Some(0), Some(0)));
}

#[test]
#[rustfmt::skip]
fn the_battery_tells_what_the_captured_one_does() {
    let block = block_at(37000, &config(|_| {})).expect("a battery");
    for (register, word) in [
        (37000, 255), (37002, 1), (37003, 231), (37004, 25), (37005, 25), (37006, 0), (37007, 68), (37008, 99), (37009, 5),
        (37010, 0), (37011, 257), (37012, 0), (37013, 0), (37020, 246), (37021, 219), (37022, 3342), (37023, 3318),
    ] {
        assert_eq!(block.get(register), Some(word), "{register}");
    }
    assert_eq!(block.words.len(), 24);
    let Some(captured) = captures::modbus_words("gw10k-et-battery-info") else { return };
    for register in (37000..=37002).chain(37004..=37013) {
        let at = usize::from(register - 37000_u16);
        assert_eq!(block.words[at], captured[at], "{register}");
    }
}

#[test]
fn a_second_battery_has_the_rest_of_the_power() {
    let config = config(|config| config.plant.second_battery = true);
    let first = block_at(35100, &config).expect("running data");
    let second = block_at(35262, &config).expect("its power");
    let watts = |word: Option<u16>| word.expect("a register").cast_signed();
    assert_eq!(watts(first.get(35183)), -1508);
    assert_eq!(watts(second.get(35265)), -1004);
    assert_eq!(second.get(35266), Some(3));
    let battery = block_at(39000, &config).expect("a second battery");
    assert_eq!(battery.words.len(), 22);
    assert_eq!(
        [39000, 39001, 39002, 39005, 39006, 39007, 39009].map(|register| battery.get(register)),
        [1, 231, 25, 68, 99, 5, 257].map(Some)
    );
}

#[test]
fn a_machine_without_a_battery_has_no_block_for_it() {
    let config = config(|config| config.plant.battery = None);
    assert_eq!(block_at(37000, &config), None);
    let running = block_at(35100, &config).expect("running data");
    assert_eq!(running.range(35180, 5), Some(&[0; 5][..]));
}

#[test]
fn large_machines_have_a_block_of_strings() {
    assert_eq!(block_at(35301, &config(|_| {})), None);
    let config = config(|config| config.plant.strings_block = true);
    let block = block_at(35301, &config).expect("strings");
    assert_eq!(block.words.len(), 61);
    assert_eq!(
        [35302, 35303, 35337, 35338, 35345, 35346].map(|register| block.get(register)),
        [3456, 2, 1695, 1761, 51, 53].map(Some)
    );
}

#[test]
fn device_info_says_who_it_is() {
    let Some(captured) = captures::modbus_words("gw10k-et-device-info") else {
        return;
    };
    let config = config(|config| config.serial = "9010KETU000W0000".to_owned());
    let block = block_at(35000, &config).expect("device info");
    for register in (35000..=35002).chain(35011..=35020).chain(35027..=35032) {
        let at = usize::from(register - 35000_u16);
        assert_eq!(block.words[at], captured[at], "{register}");
    }
    assert_eq!(block.words.len(), 33);
}
