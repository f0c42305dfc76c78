//! The picture of power: the panels above, the house to the right, the battery below, the grid to the left. A line's
//! arrow says which way, and a word says it again.

use kstar_model::catalogue::{Quantity, Values};
use kstar_model::counted::Consumption;
use maud::{Markup, PreEscaped, html};

use super::language::MISSING;
use super::words::Words;

/// The radius of a place.
const RADIUS: f64 = 48.0;

/// Where the inverter is.
const HUB: (f64, f64) = (180.0, 178.0);

/// Half of the hub.
const HUB_RADIUS: f64 = 9.0;

/// A line of this power has its full width, in W.
const FULL_WIDTH: f64 = 6000.0;

/// How power flows at this moment, in W; missing where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Powers {
    pub(super) pv: Option<f64>,
    pub(super) house: Option<f64>,
    /// Positive while charging.
    pub(super) battery: Option<f64>,
    /// Positive while importing.
    pub(super) grid: Option<f64>,
    /// In %.
    pub(super) charge: Option<f64>,
}

impl Powers {
    pub(super) fn of(values: &Values) -> Self {
        let of = |quantity| values.number(quantity);
        Self {
            pv: of(Quantity::pv_power),
            house: Consumption::default().watts(values),
            battery: of(Quantity::battery_power),
            grid: of(Quantity::grid_power),
            charge: of(Quantity::battery_soc),
        }
    }

    /// Those of an inverter that sleeps: nothing flows.
    pub(super) const ASLEEP: Self = Self {
        pv: Some(0.0),
        house: Some(0.0),
        battery: Some(0.0),
        grid: Some(0.0),
        charge: None,
    };

    /// Those of these inverters together, whose sum this is. An inverter without a battery tells no charge.
    pub(super) fn together(sum: Option<&Values>, all: &[Self]) -> Self {
        let charges: Vec<f64> = all.iter().filter_map(|one| one.charge).collect();
        let count = u32::try_from(charges.len()).unwrap_or(u32::MAX).max(1);
        let has_battery = !charges.is_empty();
        let powers = sum.map(Self::of).unwrap_or_default();
        Self {
            battery: powers.battery.filter(|_| has_battery),
            charge: has_battery.then(|| charges.iter().sum::<f64>() / f64::from(count)),
            ..powers
        }
    }
}

/// One of the four places that power comes from or goes to.
pub(super) struct Spot {
    pub(super) class: &'static str,
    pub(super) name: &'static str,
    icon: &'static str,
    centre: (f64, f64),
    pub(super) watts: Option<f64>,
    /// Whether power comes from it; nothing where none flows.
    gives: Option<bool>,
    pub(super) word: &'static str,
}

/// Drawn around (0, 0), 24 wide.
const SUN: &str = r#"<circle r="5"/><path d="M0-11v3M0 8v3M-11 0h3M8 0h3M-7.8-7.8l2.1 2.1M5.7 5.7l2.1 2.1M7.8-7.8l-2.1 2.1M-5.7 5.7l-2.1 2.1"/>"#;
const HOME: &str = r#"<path d="M-10-1L0-10 10-1M-7-3V9H7V-3M-2 9V3H2V9"/>"#;
const CELL: &str =
    r#"<rect x="-10" y="-6" width="18" height="12" rx="2"/><path d="M10-2v4M-1-4l-3 4h4l-3 4"/>"#;
const PYLON: &str = r#"<path d="M-7 11L-2-10H2L7 11M-9-4H9M-7 2H7M-4 2L5 11M4 2L-5 11"/>"#;

/// The places with what they are like, the battery only where there is one.
pub(super) fn spots(words: &Words, powers: &Powers) -> Vec<Spot> {
    // What rounds to nothing flows nowhere.
    let sign = |watts: Option<f64>| match watts {
        Some(watts) if watts >= 0.5 => Some(true),
        Some(watts) if watts <= -0.5 => Some(false),
        _ => None,
    };
    let word = |watts: Option<f64>, [positive, negative, idle]: [&'static str; 3]| match sign(watts)
    {
        _ if watts.is_none() => words.unknown,
        Some(true) => positive,
        Some(false) => negative,
        None => idle,
    };
    let mut spots = vec![
        Spot {
            class: "pv",
            name: words.pv,
            icon: SUN,
            centre: (180.0, 72.0),
            watts: powers.pv,
            gives: sign(powers.pv),
            word: word(powers.pv, [words.producing, words.no_power, words.no_power]),
        },
        Spot {
            class: "grid",
            name: words.grid,
            icon: PYLON,
            centre: (54.0, HUB.1),
            watts: powers.grid,
            gives: sign(powers.grid),
            word: word(powers.grid, [words.importing, words.exporting, words.idle]),
        },
        Spot {
            class: "house",
            name: words.house,
            icon: HOME,
            centre: (306.0, HUB.1),
            watts: powers.house,
            gives: sign(powers.house).map(|positive| !positive),
            word: word(powers.house, [words.using, words.giving, words.idle]),
        },
    ];
    if powers.battery.is_some() || powers.charge.is_some() {
        spots.push(Spot {
            class: "battery",
            name: words.battery,
            icon: CELL,
            centre: (180.0, 284.0),
            watts: powers.battery,
            gives: sign(powers.battery).map(|positive| !positive),
            word: word(
                powers.battery,
                [words.charging, words.discharging, words.idle],
            ),
        });
    }
    spots
}

/// The picture. What is no longer so is shown faintly and without arrows.
pub(super) fn picture(words: &Words, powers: &Powers, stale: bool) -> Markup {
    let spots = spots(words, powers);
    let height = if spots.len() > 3 { 356 } else { 252 };
    let heard: Vec<String> = spots
        .iter()
        .map(|spot| {
            let watts = words.power(spot.watts.map(f64::abs));
            format!("{}: {watts}, {}", spot.name, spot.word)
        })
        .collect();
    html! {
        svg.flow.stale[stale] viewBox={ "0 0 360 " (height) } role="img" aria-label={ (words.power_flow) ". " (heard.join("; ")) } {
            @for spot in &spots { (line(spot, stale)) }
            circle.hub cx=(HUB.0) cy=(HUB.1) r=(HUB_RADIUS) {}
            @for spot in &spots { (place(words, spot, powers.charge)) }
        }
    }
}

fn place(words: &Words, spot: &Spot, charge: Option<f64>) -> Markup {
    let (x, y) = spot.centre;
    let charge = charge.filter(|_| spot.class == "battery");
    let name_y = if spot.class == "pv" {
        y - RADIUS - 9.0
    } else {
        y + RADIUS + 18.0
    };
    let watts = words.power(spot.watts.map(f64::abs));
    let watts = if spot.watts.is_none() {
        MISSING
    } else {
        &watts
    };
    html! {
        g class=(spot.class) {
            circle.ring.track[charge.is_some()] cx=(x) cy=(y) r=(RADIUS) {}
            @if let Some(charge) = charge {
                circle.charge cx=(x) cy=(y) r=(RADIUS) pathLength="100"
                    stroke-dasharray={ (format!("{:.0}", charge.clamp(0.0, 100.0))) " 100" }
                    transform={ "rotate(-90 " (x) " " (y) ")" } {}
            }
            g.icon transform={ "translate(" (x) " " (y - 22.0) ")" } { (PreEscaped(spot.icon)) }
            text.watts.long[watts.chars().count() > 7] x=(x) y=(y + 9.0) { (watts) }
            text.word x=(x) y=(y + 26.0) { (spot.word) }
            text.name x=(x) y=(name_y) {
                (spot.name)
                @if let Some(charge) = charge { " · " (words.number(charge, 0)) " %" }
            }
        }
    }
}

/// The line between a place and the hub, with the arrow in its middle.
fn line(spot: &Spot, stale: bool) -> Markup {
    let (dx, dy) = (HUB.0 - spot.centre.0, HUB.1 - spot.centre.1);
    let length = dx.hypot(dy);
    let (ux, uy) = (dx / length, dy / length);
    let near = (spot.centre.0 + ux * RADIUS, spot.centre.1 + uy * RADIUS);
    let far = (HUB.0 - ux * HUB_RADIUS, HUB.1 - uy * HUB_RADIUS);
    let gives = spot.gives.filter(|_| !stale);
    let (from, to, sign) = if gives == Some(false) {
        (far, near, -1.0)
    } else {
        (near, far, 1.0)
    };
    let middle = (f64::midpoint(from.0, to.0), f64::midpoint(from.1, to.1));
    // The arrow's tip and its two ends, seen in the direction of the power.
    let (ux, uy) = (ux * sign, uy * sign);
    let tip = (middle.0 + ux * 9.0, middle.1 + uy * 9.0);
    let end = |side: f64| {
        let (x, y) = (middle.0 - ux * 5.0, middle.1 - uy * 5.0);
        (x - uy * 8.0 * side, y + ux * 8.0 * side)
    };
    let (one, other) = (end(1.0), end(-1.0));
    let watts = spot.watts.unwrap_or_default().abs();
    let width = 2.0 + 4.0 * (watts / FULL_WIDTH).min(1.0);
    let point = |(x, y): (f64, f64)| format!("{x:.1} {y:.1}");
    html! {
        g class=(spot.class) {
            path.line.idle[gives.is_none()] d={ "M" (point(from)) "L" (point(to)) } stroke-width=(format!("{width:.1}")) {}
            @if gives.is_some() {
                path.moving d={ "M" (point(from)) "L" (point(to)) } {}
                path.arrow d={ "M" (point(tip)) "L" (point(one)) "L" (point(other)) "Z" } {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kstar_model::units::{Amperes, Percent, Volts, Watts};

    use super::*;
    use crate::page::words::ENGLISH;

    fn of(watts: f64) -> Powers {
        Powers {
            pv: Some(watts),
            house: Some(watts),
            battery: Some(-watts),
            grid: Some(-watts),
            charge: Some(50.0),
        }
    }

    #[test]
    fn a_reading_says_how_power_flows() {
        let mut values = Values {
            pv1_power: Some(Watts::new(70_000)),
            pv2_power: Some(Watts::new(30_000)),
            battery_voltage: Some(Volts::new(500)),
            battery_current: Some(Amperes::new(-100)),
            battery_soc: Some(Percent::new(64)),
            grid_power: Some(Watts::new(-200)),
            load_power: Some(Watts::new(1300)),
            ..Values::default()
        };
        values.derive();
        let powers = Powers::of(&values);
        let told = [
            powers.pv,
            powers.battery,
            powers.grid,
            powers.house,
            powers.charge,
        ];
        assert_eq!(told, [1000.0, -500.0, -200.0, 1300.0, 64.0].map(Some));
        let text = picture(&ENGLISH, &powers, false).into_string();
        for words in [
            "PV: 1000 W, producing",
            "Battery: 500 W, discharging",
            "Grid: 200 W, exporting",
        ] {
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(text.matches("class=\"arrow\"").count(), 4);
        let stale = picture(&ENGLISH, &powers, true).into_string();
        assert_eq!(stale.matches("class=\"arrow\"").count(), 0);
    }

    #[test]
    fn a_house_shows_the_sum_and_how_full_its_batteries_are() {
        let sum = Values {
            pv_power: Some(Watts::new(15_000)),
            battery_power: Some(Watts::new(-10_000)),
            grid_power: Some(Watts::new(150)),
            load_power: Some(Watts::new(150)),
            ..Values::default()
        };
        let without_battery = Powers {
            charge: None,
            ..of(50.0)
        };
        let charges = [of(100.0), without_battery, Powers::ASLEEP];
        let expected = Powers {
            charge: of(100.0).charge,
            ..Powers::of(&sum)
        };
        assert_eq!(Powers::together(Some(&sum), &charges), expected);
        let without = Powers::together(Some(&sum), &[without_battery]);
        assert_eq!((without.battery, without.charge), (None, None));
        // What one does not tell, the house does not know.
        assert_eq!(Powers::together(None, &charges).pv, None);
    }
}
