use super::*;

const SEEDS: [u64; 4] = [1, 2, 77, 0xFFFF_FFFF_FFFF];

fn household(seed: u64) -> Household {
    Household::new(seed, Variant::Kse, jiff::civil::date(2026, 6, 21))
}

fn pv_watts(figures: &Figures) -> f64 {
    (f64::from(figures.vpv1) * f64::from(figures.ipv1)
        + f64::from(figures.vpv2) * f64::from(figures.ipv2))
        / 100.0
}

/// Positive while charging.
fn battery_watts(figures: &Figures) -> f64 {
    let watts = f64::from(figures.vbattery1) * f64::from(figures.ibattery1) / 100.0;
    match figures.battery_mode {
        2 => -watts,
        _ => watts,
    }
}

/// Positive while importing; 0 inside the dead band, as a reader has it.
fn grid_watts(figures: &Figures) -> f64 {
    match figures.grid_in_out {
        1 => -f64::from(figures.pgrid),
        2 => f64::from(figures.pgrid),
        _ => 0.0,
    }
}

fn each_minute_of_two_days(seed: u64) -> impl Iterator<Item = (f64, Figures)> {
    let mut household = household(seed);
    (0..2880).map(move |minute| {
        let seconds = f64::from(minute) * 60.0 + 17.0;
        (seconds, household.at(seconds))
    })
}

#[test]
fn the_balance_closes_all_day() {
    for seed in SEEDS {
        for (seconds, figures) in each_minute_of_two_days(seed) {
            let context = format!("seed {seed}, second {seconds}: {figures:?}");
            let direct = pv_watts(&figures) - battery_watts(&figures);
            let inverter = f64::from(figures.total_power);
            let lost = direct - inverter;
            assert!(
                (-0.5..=STANDING_LOSS_WATTS + (1.0 - CONVERSION) * direct + 0.5).contains(&lost),
                "{lost} W lost of {direct} W; {context}"
            );
            let used = f64::from(figures.pload) + f64::from(figures.pback_up);
            let open = inverter + grid_watts(&figures) - used;
            let allowed = if figures.grid_in_out == 0 {
                f64::from(figures.pgrid)
            } else {
                0.0
            };
            assert!(
                (open.abs() - allowed).abs() < 1e-9,
                "{open} W open; {context}"
            );
            assert_eq!(figures.grid_in_out == 0, figures.pgrid < 30, "{context}");
            let by_current = f64::from(figures.vgrid) * f64::from(figures.igrid) / 100.0;
            assert!(
                (by_current - inverter).abs() <= 12.5,
                "{by_current} W; {context}"
            );
        }
    }
}

#[test]
fn every_figure_stays_within_what_a_kse_sends() {
    for seed in SEEDS {
        for (seconds, figures) in each_minute_of_two_days(seed) {
            let context = format!("seed {seed}, second {seconds}: {figures:?}");
            assert!(figures.vpv1 <= 2000 && figures.vpv2 <= 2000, "{context}");
            assert!(figures.ipv1 <= 300 && figures.ipv2 <= 300, "{context}");
            assert!((425..=589).contains(&figures.vbattery1), "{context}");
            assert!((19..=100).contains(&figures.battery_soc), "{context}");
            assert!((1800..=2700).contains(&figures.vgrid), "{context}");
            assert!((4900..=5100).contains(&figures.fgrid), "{context}");
            assert!((0..=4000).contains(&figures.total_power), "{context}");
            assert!((100..=8000).contains(&figures.pload), "{context}");
            assert!((150..=450).contains(&figures.temperature), "{context}");
        }
    }
}

#[test]
fn the_day_has_everything_a_collector_must_tell_apart() {
    let all: Vec<_> = SEEDS
        .into_iter()
        .flat_map(each_minute_of_two_days)
        .map(|(_, figures)| figures)
        .collect();
    for direction in 0..=2 {
        assert!(all.iter().any(|figures| figures.grid_in_out == direction));
    }
    for mode in 0..=2 {
        assert!(all.iter().any(|figures| figures.pv1_mode == mode));
    }
    assert!(
        all.iter()
            .any(|figures| figures.battery_mode == 2 && figures.ibattery1 > 0)
    );
    assert!(
        all.iter()
            .any(|figures| figures.battery_mode == 3 && figures.ibattery1 > 0)
    );
    assert!(all.iter().any(|figures| figures.ibattery1 == 0));
    assert!(all.iter().any(|figures| pv_watts(figures) > 2500.0));
    assert!(all.iter().any(|figures| figures.battery_soc >= 99));
}

#[test]
fn the_counters_are_the_integral_of_the_powers() {
    for seed in SEEDS {
        let mut household = household(seed);
        let first = household.at(0.0);
        let (mut made, mut used) = (0.0, 0.0);
        for step in 0..86_400 / 5 {
            let seconds = f64::from(step) * 5.0 + 2.5;
            let figures = household.at(seconds);
            made += f64::from(figures.total_power) * 5.0 / 360_000.0;
            used += f64::from(figures.pload) * 5.0 / 360_000.0;
        }
        let last = household.at(86_399.9);
        for (integral, day, total) in [
            (made, last.e_day, last.e_total - first.e_total),
            (
                used,
                last.e_load_day,
                last.e_load_total - first.e_load_total,
            ),
        ] {
            assert_eq!(u32::from(day), total, "seed {seed}");
            let wrong = integral - f64::from(day);
            assert!(
                (-0.5..1.5).contains(&wrong),
                "seed {seed}: {integral} tenths, {day} sent"
            );
            assert!(day > 30, "seed {seed}: {day}");
        }
    }
}

#[test]
fn day_and_lifetime_step_together_and_the_day_starts_anew_at_midnight() {
    for seed in SEEDS {
        let mut before: Option<Figures> = None;
        for (seconds, figures) in each_minute_of_two_days(seed) {
            if let Some(before) = before {
                assert!(figures.e_total >= before.e_total);
                assert!(figures.e_load_total >= before.e_load_total);
                assert!(figures.h_total >= before.h_total);
                if seconds > 86_400.0 && seconds < 86_460.0 {
                    assert!(before.e_day > 0);
                    assert_eq!((figures.e_day, figures.e_load_day), (0, 0));
                    assert_eq!(figures.e_total, before.e_total);
                } else {
                    assert_eq!(
                        figures.e_total - u32::from(figures.e_day),
                        before.e_total - u32::from(before.e_day)
                    );
                }
            }
            before = Some(figures);
        }
    }
}

#[test]
fn a_moment_does_not_depend_on_what_was_asked_before() {
    let mut often = household(5);
    for second in 0..40_000 {
        often.at(f64::from(second) + 0.3);
    }
    assert_eq!(often.at(40_000.7), household(5).at(40_000.7));
}

#[test]
fn another_seed_is_another_household() {
    assert_ne!(household(1).at(43_200.0), household(2).at(43_200.0));
}

#[test]
fn time_never_runs_backwards() {
    let mut household = household(1);
    let late = household.at(50_000.0);
    for earlier in [49_000.0, -1.0, f64::NAN] {
        let figures = household.at(earlier);
        assert_eq!(figures.e_total, late.e_total);
        assert_eq!(figures.e_day, late.e_day);
    }
}

#[test]
fn a_managed_battery_says_more() {
    let day = jiff::civil::date(2026, 12, 31);
    let mut household = Household::new(1, Variant::Gw140, day);
    let figures = household.at(86_400.0 + 3661.0);
    assert_eq!(figures.clock, [27, 1, 1, 1, 1, 1]);
    assert_eq!(
        (
            figures.bms_error,
            figures.battery_soh,
            figures.battery_status
        ),
        (0, 99, 80)
    );
    assert!(figures.battery_temperature > 0);
    assert!(figures.e_battery_charge_total > figures.e_battery_discharge_total);
}

#[test]
fn with_seasons_winter_days_are_short_and_bring_little() {
    let day = |month, day| {
        let first = jiff::civil::date(2026, month, day);
        Household::new(1, Variant::Kse, first).with_seasons()
    };
    let shines = |month, date, hour: f64| pv_watts(&day(month, date).at(hour * 3600.0)) > 0.0;
    for (month, date) in [(6, 21), (12, 21)] {
        assert!(shines(month, date, 12.5), "noon in month {month}");
        assert!(!shines(month, date, 1.0), "night in month {month}");
    }
    for hour in [6.5, 19.5] {
        assert!(shines(6, 21, hour) && !shines(12, 21, hour), "{hour}");
    }
    let week = |month| {
        let mut household = day(month, 14);
        let begin = household.at(0.0).e_total;
        household.at(7.0 * 86_400.0).e_total - begin
    };
    let (summer, winter) = (week(6), week(12));
    assert!(
        summer > 2 * winter && winter > 100,
        "tenths of a kWh: {summer} {winter}"
    );
}

#[test]
fn coarse_steps_come_to_about_the_same_energies() {
    for seed in SEEDS {
        let grown = |step| {
            let mut household = household(seed).with_seasons();
            household.step_by(step);
            let before = household.at(0.0);
            let after = household.at(20.0 * 86_400.0);
            [
                after.e_total - before.e_total,
                after.e_load_total - before.e_load_total,
            ]
        };
        for (coarse, fine) in grown(900).into_iter().zip(grown(STEP_SECONDS)) {
            let off = f64::from(coarse.abs_diff(fine)) / f64::from(fine);
            assert!(off < 0.05, "seed {seed}: {coarse} {fine}");
        }
    }
}

#[test]
fn a_household_goes_on_finely_from_a_coarse_past() {
    let mut household = household(1);
    household.step_by(900);
    let moment = household.seconds_at(jiff::civil::date(2026, 7, 21).at(12, 0, 30, 0));
    assert!((moment - (30.0 * 86_400.0 + 43_230.0)).abs() < 1e-9);
    let past = household.at(moment);
    household.step_by(STEP_SECONDS);
    let now = household.at(moment);
    assert_eq!(
        (past.clock, now.clock),
        ([26, 7, 21, 12, 0, 30], past.clock)
    );
    assert!((past.e_total..=past.e_total + 1).contains(&now.e_total));
    assert!((past.e_day..=past.e_day + 1).contains(&now.e_day));
}

#[test]
fn a_starting_inverter_keeps_its_counters_and_measures_nothing() {
    let mut household = household(1);
    let running = household.at(50_000.0);
    let starting = household.starting_at(50_000.0);
    assert_eq!(
        (starting.work_mode, starting.grid_mode, starting.vgrid),
        (1, 0, 0)
    );
    assert_eq!(
        (starting.e_total, starting.e_day),
        (running.e_total, running.e_day)
    );
}
