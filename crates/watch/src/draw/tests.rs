//! Pages as text. Each was looked at before it was kept; `KSTAR_KEEP_PAGES=1 cargo test --lib watch` keeps those that are
//! drawn now, to be looked at again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Zoned;
use kstar_engine::overview::{InverterOverview, PollsOverview, SinkOverview};
use kstar_model::catalogue::Values;
use kstar_model::labels::{
    BackupMode, BatteryMode, BatteryWarnings, BmsErrors, Errors, GridDirection,
    InverterState as Runs, PvMode, WorkMode,
};
use kstar_model::reading::{Inverter, Reading};
use kstar_model::time::UnixMillis;
use kstar_model::units::{
    Amperes, Celsius, Hertz, Hours, KilowattHours, Milliseconds, Percent, Volts, Watts,
};
use kstar_sink::health::{Counts, State};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use super::*;
use crate::curve::Piece;

/// What a test changes of a page.
struct Setting {
    page: Page,
    view: View,
    log: Vec<Line>,
    look: Look,
    now: Instant,
    time: Zoned,
}

const UNICODE: Look = Look {
    unicode: true,
    colour: false,
};

impl Setting {
    /// So many inverters on a winter's noon, and three sinks.
    fn new(inverters: usize) -> Self {
        let now = Instant::now();
        let time: Zoned = "2026-11-28T12:14:07+01:00[Europe/Berlin]"
            .parse()
            .expect("a moment");
        let mut page = Page {
            origin: "http://127.0.0.1:8099".to_owned(),
            ..Page::default()
        };
        for (name, number) in ["roof", "barn", "garage"].into_iter().zip(0..inverters) {
            let age = 2000 + 1000 * u64::try_from(number).expect("a small number");
            page.set_inverter(overview(name, age), now);
            let moment = UnixMillis(time.timestamp().as_millisecond());
            let watched = page.inverter(name).expect("it was put there");
            watched.curve.fill(past(moment));
            watched.reading = Some(Arc::new(reading(name, moment).shown()));
        }
        page.sinks = vec![
            sink("influxdb", State::Up, 45_121, 0),
            sink("mqtt", State::Up, 45_121, 0),
            sink("sqlite", State::Up, 45_120, 1),
        ];
        Self {
            page,
            view: View::default(),
            log: Vec::new(),
            look: UNICODE,
            now,
            time,
        }
    }

    fn values(&mut self, name: &str) -> &mut Values {
        let watched = self.page.inverter(name).expect("an inverter");
        let reading = watched.reading.as_mut().expect("a reading");
        &mut Arc::make_mut(reading).values
    }

    fn drawn(&self, width: u16, height: u16) -> Buffer {
        let mut terminal =
            Terminal::new(TestBackend::new(width, height)).expect("memory is a terminal");
        let scene = Scene {
            page: &self.page,
            view: &self.view,
            log: &self.log,
            look: self.look,
            now: self.now,
            time: &self.time,
        };
        let frame = terminal
            .draw(|frame| draw(&scene, frame.buffer_mut()))
            .expect("memory is never full");
        frame.buffer.clone()
    }

    fn text(&self, width: u16, height: u16) -> String {
        text(&self.drawn(width, height))
    }

    /// The page is as it was kept.
    #[track_caller]
    fn assert_kept(&self, name: &str, width: u16, height: u16) {
        let drawn = self.text(width, height);
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("src/draw/pages/{name}.txt"));
        if std::env::var_os("KSTAR_KEEP_PAGES").is_some() {
            std::fs::write(&file, &drawn).expect("written");
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(kept == drawn, "{name} was\n{kept}\nand is\n{drawn}");
    }
}

fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let row: String = (0..buffer.area.width)
            .map(|x| buffer[(x, y)].symbol())
            .collect();
        text += row.trim_end();
        text.push('\n');
    }
    text
}

fn overview(name: &str, age: u64) -> InverterOverview {
    InverterOverview {
        title: None,
        firmware: None,
        name: name.to_owned(),
        host: "192.168.1.50:8899".to_owned(),
        serial: Some("KSE5000S71413795".to_owned()),
        model: Some("KSE5000".to_owned()),
        poll_interval_ms: 5000,
        state: InverterState::Online,
        state_age_ms: 7_260_000,
        asleep: false,
        no_answer: None,
        reading_age_ms: Some(age),
        polls: PollsOverview {
            answered: 1452,
            silent: 0,
            skipped: 0,
            requests: 1453,
            greetings: 0,
            unanswered: 0,
            refused: [].into(),
        },
        accepted: 1452,
        quarantined: 0,
        gate: [].into(),
    }
}

fn sink(name: &str, state: State, delivered: u64, queued: u64) -> SinkOverview {
    SinkOverview {
        name: name.to_owned(),
        state,
        counts: Counts {
            taken: delivered + queued,
            delivered,
            queued,
            ..Counts::default()
        },
    }
}

fn reading(name: &str, time: UnixMillis) -> Reading {
    let kwh = |thousandths| Some(KilowattHours::new(thousandths));
    let mut values = Values {
        pv1_voltage: Some(Volts::new(3582)),
        pv1_current: Some(Amperes::new(34)),
        pv1_mode: Some(PvMode::PRODUCING),
        pv2_voltage: Some(Volts::new(3401)),
        pv2_current: Some(Amperes::new(33)),
        pv2_mode: Some(PvMode::PRODUCING),
        battery_voltage: Some(Volts::new(527)),
        battery_current: Some(Amperes::new(99)),
        battery_soc: Some(Percent::new(76)),
        battery_mode: Some(BatteryMode::CHARGING),
        battery_temperature: Some(Celsius::new(241)),
        bms_errors: Some(BmsErrors(0)),
        battery_warnings: Some(BatteryWarnings(0)),
        grid_voltage: Some(Volts::new(2317)),
        grid_frequency: Some(Hertz::new(5001)),
        grid_power: Some(Watts::new(-1012)),
        grid_direction: Some(GridDirection::EXPORTING),
        load_power: Some(Watts::new(655)),
        backup_power: Some(Watts::new(41)),
        backup_mode: Some(BackupMode::CONNECTED),
        inverter_power: Some(Watts::new(1667)),
        inverter_temperature: Some(Celsius::new(413)),
        inverter_state: Some(Runs::ON),
        work_mode: Some(WorkMode::NORMAL_ON_GRID),
        errors: Some(Errors(0)),
        operating_hours: Some(Hours::new(11_269)),
        load_energy_today: Some(KilowattHours::new(57)),
        load_energy_total: Some(KilowattHours::new(98_765)),
        pv_energy_today: kwh(7312),
        pv_energy_total: kwh(1_234_567),
        grid_import_energy_today: kwh(1204),
        grid_import_energy_total: kwh(345_678),
        grid_export_energy_today: kwh(940),
        grid_export_energy_total: kwh(456_789),
        battery_charge_energy_today: kwh(3001),
        battery_charge_energy_total: kwh(567_890),
        battery_discharge_energy_today: kwh(1870),
        battery_discharge_energy_total: kwh(512_345),
        reply_time: Some(Milliseconds::new(41)),
        ..Values::default()
    };
    values.derive();
    Reading {
        time,
        inverter: Inverter::named(name),
        values,
        counted: None,
    }
}

/// Six hours that end now: a night that the battery carries, a morning that fills it again.
fn past(now: UnixMillis) -> Vec<Piece> {
    const PIECE: i64 = 300_000;
    (0..72_u16)
        .map(|index| {
            let hour = f32::from(index) / 12.0;
            let sun = (2500.0 * ((hour - 1.5) / 3.0).min(1.0)).max(0.0);
            let kettle = if index % 17 == 3 { 1900.0 } else { 0.0 };
            let house = 420.0 + kettle + 30.0 * f32::from(index % 5);
            let battery = (sun - house).clamp(-1500.0, 900.0);
            let grid = house + battery - sun;
            let end = now.0 - PIECE * (71 - i64::from(index));
            let means = [
                Some(sun),
                Some(house),
                Some(grid),
                Some(battery),
                Some(40.0 + hour * 6.0),
            ];
            Piece::of_means(&(UnixMillis(end - PIECE)..UnixMillis(end)), means)
        })
        .collect()
}

fn line(time: &str, gravity: Gravity, text: &str) -> Line {
    Line {
        time: time.to_owned(),
        gravity,
        text: text.to_owned(),
    }
}

fn with_faults(mut setting: Setting) -> Setting {
    let values = setting.values("roof");
    values.errors = Some(Errors(0x0002_0200));
    values.battery_warnings = Some(BatteryWarnings(0x41));
    values.work_mode = Some(WorkMode::FAULT);
    values.inverter_state = Some(Runs::ABNORMAL);
    setting.page.sinks[0].state = State::Down {
        reason: "http://localhost:8086 refuses the connection".to_owned(),
    };
    setting.page.sinks[0].counts.queued = 312;
    setting.page.sinks[0].counts.spooled = 312;
    setting.log = vec![
        line("12:03:11", Gravity::Note, "delivering sink=\"mqtt\""),
        line(
            "12:03:41",
            Gravity::Warning,
            "cannot deliver; readings are kept and it is tried again sink=\"influxdb\"",
        ),
        line("12:04:02", Gravity::Note, "identified inverter=\"roof\""),
    ];
    setting
}

fn with_a_silent_one(mut setting: Setting) -> Setting {
    let moment = setting.now;
    let mut silent = overview("barn", 754_000);
    silent.state = InverterState::Silent;
    silent.state_age_ms = 739_000;
    setting.page.set_inverter(silent, moment);
    setting.view.selected = Some("barn".to_owned());
    setting
}

#[test]
fn an_inverter_stands_on_the_smallest_page_and_on_a_large_one() {
    let setting = Setting::new(1);
    setting.assert_kept("one-80x24", 80, 24);
    setting.assert_kept("one-200x60", 200, 60);
    setting.assert_kept("one-110x40", 110, 40);
}

#[test]
fn three_inverters_are_all_in_sight_and_one_is_shown() {
    let mut setting = Setting::new(3);
    setting.view.selected = Some("garage".to_owned());
    setting.assert_kept("three-80x24", 80, 24);
    setting.assert_kept("three-200x60", 200, 60);
}

#[test]
fn a_silent_inverter_is_not_shown_as_if_it_spoke() {
    let setting = with_a_silent_one(Setting::new(3));
    setting.assert_kept("silent-80x24", 80, 24);
    let text = setting.text(80, 24);
    assert!(text.contains("silent for 12 min"), "{text}");
    assert!(!text.contains("━▶"), "{text}");
}

#[test]
fn faults_and_sinks_that_are_down_say_what_is_wrong() {
    let setting = with_faults(Setting::new(1));
    setting.assert_kept("faults-80x24", 80, 24);
    setting.assert_kept("faults-200x60", 200, 60);
    // Also where there is least room.
    let mut setting = with_faults(Setting::new(3));
    setting.view.selected = Some("roof".to_owned());
    let text = setting.text(80, 24);
    for words in [
        "Errors: utility loss, ac voltage out of range",
        "Battery warnings: over temperature, soc low",
        "influxdb down, 312 waiting: http://localhost",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn what_is_not_known_is_not_made_up() {
    let mut setting = Setting::new(1);
    *setting.values("roof") = Values::default();
    setting.page.sinks.clear();
    setting.assert_kept("missing-80x24", 80, 24);
    assert!(!setting.text(200, 60).contains(" 0 W"));

    let mut setting = Setting::new(0);
    setting.page.set_inverter(
        InverterOverview {
            state: InverterState::Waiting,
            reading_age_ms: None,
            serial: None,
            model: None,
            ..overview("roof", 0)
        },
        setting.now,
    );
    setting.assert_kept("waiting-80x24", 80, 24);
}

#[test]
fn why_an_inverter_does_not_answer_is_shown_whole() {
    let mut setting = Setting::new(0);
    let reason = "no inverter answered the broadcast; if it is on another network (a container's, a guest WiFi), \
        set its address with `host` or `--host`";
    let silent = InverterOverview {
        state: InverterState::Silent,
        no_answer: Some(reason.to_owned()),
        ..overview("roof", 0)
    };
    let asleep = InverterOverview {
        asleep: true,
        ..silent.clone()
    };
    setting.page.set_inverter(asleep, setting.now);
    let text = setting.text(80, 24);
    assert!(text.contains("○ asleep for"), "{text}");
    assert!(!text.contains("broadcast"), "{text}");
    setting.page.set_inverter(silent, setting.now);
    for (width, height) in [(80, 24), (200, 60)] {
        let text = setting.text(width, height);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.join(" ").contains(reason), "{text}");
    }
}

#[test]
fn a_house_without_a_battery_has_no_chart_of_one() {
    let mut setting = Setting::new(1);
    let values = setting.values("roof");
    values.battery_mode = Some(BatteryMode::NO_BATTERY);
    values.battery_current = Some(Amperes::new(0));
    values.battery_soc = None;
    values.derive();
    let text = setting.text(80, 24);
    assert!(text.contains("no battery"), "{text}");
    assert!(!text.contains("discharge "), "{text}");
}

#[test]
fn a_collector_that_is_gone_is_said_and_nothing_is_shown_as_new() {
    let mut setting = Setting::new(1);
    setting.page.trouble =
        Some("trying again: cannot reach http://127.0.0.1:8099: connection refused".to_owned());
    assert!(!setting.text(80, 24).contains("━▶"));
    setting.now += Duration::from_secs(190);
    let text = setting.text(80, 24);
    for words in [
        "trying again",
        "was online · read 3 min ago",
        "was charging",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(!text.contains("━▶"), "{text}");
}

#[test]
fn a_page_that_counts_itself_says_since_when_until_midnight() {
    let mut setting = Setting::new(1);
    let began = setting.time.timestamp().as_millisecond() - 600_000;
    setting.page.counted_since = Some(UnixMillis(began));
    assert!(setting.text(80, 24).contains("Since 12:04"));
    setting.time = "2026-11-29T00:00:01+01:00[Europe/Berlin]"
        .parse()
        .expect("a moment");
    assert!(setting.text(80, 24).contains(" Today "));
}

#[test]
fn a_terminal_that_is_too_small_says_so_whatever_its_size() {
    let setting = Setting::new(3);
    assert_eq!(
        setting.text(30, 5),
        "This terminal is 30 by 5; the\npage needs 76 by 20. q quits.\n\n\n\n"
    );
    for width in 1..90 {
        for height in 1..30 {
            let drawn = setting.drawn(width, height);
            assert_eq!((drawn.area.width, drawn.area.height), (width, height));
        }
    }
    for (width, height) in [(1, 200), (500, 1), (76, 20), (131, 33), (400, 150)] {
        setting.drawn(width, height);
    }
}

#[test]
fn more_inverters_than_fit_are_reached_one_by_one() {
    let mut setting = Setting::new(1);
    for number in 10..40 {
        let name = format!("roof{number}");
        setting
            .page
            .set_inverter(overview(&name, 1000), setting.now);
    }
    for name in ["roof10", "roof25", "roof39"] {
        setting.view.selected = Some(name.to_owned());
        for (width, height) in [(80, 24), (200, 60)] {
            let text = setting.text(width, height);
            assert!(text.contains(&format!("▶ ● {name}")), "{text}");
            assert!(text.contains("of 31 shown"), "{text}");
        }
    }
}

#[test]
fn keys_and_log_lie_over_the_page() {
    let mut setting = with_faults(Setting::new(1));
    setting.view.over = Some(Over::Help);
    setting.assert_kept("keys-80x24", 80, 24);
    setting.view.over = Some(Over::Log);
    let text = setting.text(80, 24);
    assert!(text.contains("12:03:41 ▲ cannot deliver"), "{text}");
}

#[test]
fn where_only_ascii_can_be_shown_the_page_has_the_same_words_in_the_same_places() {
    let mut setting = with_faults(Setting::new(3));
    let unicode = setting.text(80, 24);
    setting.look.unicode = false;
    setting.assert_kept("ascii-80x24", 80, 24);
    let ascii = setting.text(80, 24);
    assert!(ascii.is_ascii());
    assert!(
        !ascii.contains('?') || ascii.matches('?').count() == 1,
        "only the key: {ascii}"
    );
    let words = |text: &str| -> Vec<String> {
        let letters = |word: &str| word.chars().filter(char::is_ascii_alphanumeric).count() > 1;
        let all = text.split(|letter: char| !letter.is_ascii_alphanumeric());
        all.filter(|word| letters(word))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(words(&unicode), words(&ascii));
}

#[test]
fn colours_only_repeat_what_is_there_without_them() {
    let mut setting = with_faults(Setting::new(3));
    for (width, height) in [(80, 24), (200, 60)] {
        setting.look.colour = false;
        let plain = setting.drawn(width, height);
        setting.look.colour = true;
        let coloured = setting.drawn(width, height);
        assert_eq!(text(&plain), text(&coloured));
        let mut seen = 0;
        for (plain, coloured) in plain.content.iter().zip(&coloured.content) {
            assert_eq!((plain.fg, plain.bg), (Color::Reset, Color::Reset));
            // The ground is the terminal's own, and text has its own colour.
            assert_eq!(coloured.bg, Color::Reset);
            let is_word = coloured.symbol().chars().all(char::is_alphanumeric);
            if coloured.fg != Color::Reset {
                seen += 1;
                assert!(
                    !is_word || coloured.modifier.contains(Modifier::BOLD),
                    "{coloured:?}"
                );
            }
        }
        assert!(seen > 100);
    }
}

#[test]
fn what_comes_from_outside_cannot_steer_the_terminal() {
    let mut setting = with_faults(Setting::new(1));
    let hostile = "\x1b[2J\x07\u{9b}31m日本\n";
    setting.page.origin = hostile.to_owned();
    setting.page.trouble = Some(hostile.to_owned());
    setting.log = vec![line("12:00:00", Gravity::Error, hostile)];
    setting.page.sinks[0].state = State::Down {
        reason: hostile.to_owned(),
    };
    let watched = setting.page.inverter("roof").expect("an inverter");
    watched.overview.serial = Some(hostile.to_owned());
    for look in [
        UNICODE,
        Look {
            unicode: false,
            ..UNICODE
        },
    ] {
        setting.look = look;
        for cell in &setting.drawn(80, 24).content {
            assert!(!cell.symbol().chars().any(char::is_control), "{cell:?}");
        }
    }
}

#[test]
fn how_the_height_is_shared() {
    for rows in 0..100 {
        for inverters in 0..12 {
            for sinks in 0..5 {
                let Heights {
                    inverters: list,
                    flow,
                    chart,
                    sinks: below,
                    log,
                } = Heights::new(rows, inverters, sinks);
                assert_eq!(list + flow + chart + below + log, rows);
            }
        }
    }
}
