//! The gate and the meter with a whole collector: what becomes of each oddity that inverters are known for
//! (PROTOCOL 8), that sane days and captures pass, and what is remembered.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what helps a test may panic like the test itself"
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kstar_engine::collector::Collector;
use kstar_engine::pipeline::gate::rules::Rule;
use kstar_engine::pipeline::gate::{Baseline, Gate, GateSettings, Judgement};
use kstar_engine::pipeline::ledger::file::LedgerFile;
use kstar_engine::pipeline::ledger::keeper::Keeper;
use kstar_engine::pipeline::ledger::quarantine;
use kstar_engine::pipeline::stamp::WallClock;
use kstar_engine::unit::{InverterPlan, Metering};
use kstar_model::catalogue::{Group, Quantity, Values};
use kstar_model::reading::Reading;
use kstar_model::scalar::Scalar;
use kstar_model::time::UnixMillis;
use kstar_simulator::day::Household;
use kstar_simulator::encode::{Variant, running as encode};
use kstar_simulator::quirks::{Quirk, Quirks};
use kstar_simulator::{self, Config, Running};
use kstar_sink::event::Nameplate;
use kstar_source::source::{AnySource, Context};
use kstar_source_aa55::Aa55Config;
use kstar_source_aa55::wire::{ApAddress, Request, reply, running};

use common::{Memory, PATIENCE, Place, context, metering, start_when_free, until};

/// Time of day stands still unless a test says otherwise, so that what is read is known.
fn config(place: &Place) -> Config {
    Config {
        data: place.data(),
        discovery: None,
        speed: 0.0,
        begins: jiff::civil::date(2026, 6, 21).at(13, 0, 0, 0),
        variant: Variant::Gw140,
        ..Config::new(5)
    }
}

/// Longer than any reply takes here, so that none is asked for twice.
const TIMEOUT: Duration = Duration::from_secs(20);

/// For an inverter that does not answer each request, and by which no test counts.
const SHORT_TIMEOUT: Duration = Duration::from_millis(100);

/// What a collector made of an inverter.
struct Played {
    readings: Vec<Arc<Reading>>,
    taken: u64,
    refused: u64,
    struck: Vec<(Rule, u64)>,
    device_infos: u64,
}

async fn play(config: Config, place: &Place, metering: Metering, goal: u64) -> Played {
    let timeout = if config.quirks == Quirks::of(Quirk::Modbus, 0.2) {
        SHORT_TIMEOUT
    } else {
        TIMEOUT
    };
    let inverter: Running = start_when_free(config).await;
    let memory = Memory::default();
    let mut collector = Collector::new(WallClock::default(), metering);
    collector.start_sink(memory.sink("memory"));
    collector
        .start_inverter(InverterPlan {
            name: "roof".into(),
            nameplate: Nameplate::default(),
            source: AnySource::new(Aa55Config::default()),
            context: Context {
                interval: Duration::from_millis(5),
                ..context(place.data(), timeout)
            },
            gate: GateSettings::default(),
        })
        .await;
    let gate = collector.board().inverters().remove(0).gate.clone();
    let judged = || gate.taken.load(Ordering::Relaxed) + gate.refused.load(Ordering::Relaxed);
    until("readings", || (judged() >= goal).then_some(())).await;
    assert!(collector.stop(PATIENCE).await);
    let (counts, _) = inverter.stop().await;
    Played {
        readings: memory.readings(),
        taken: gate.taken.load(Ordering::Relaxed),
        refused: gate.refused.load(Ordering::Relaxed),
        struck: gate.struck().collect(),
        device_infos: counts.requests(kstar_simulator::encode::Request::DeviceInfo),
    }
}

async fn with(quirk: Quirk, probability: f64, change: impl FnOnce(&mut Config)) -> Played {
    let place = Place::free();
    let mut config = config(&place);
    config.quirks = Quirks::of(quirk, probability);
    change(&mut config);
    let played = play(config, &place, metering(), 60).await;
    assert!(played.readings.len() as u64 <= played.taken);
    played
}

fn raw(readings: &[Arc<Reading>], quantity: Quantity) -> Vec<Option<i64>> {
    let mut raws: Vec<_> = readings
        .iter()
        .map(|reading| reading.values.raw(quantity))
        .collect();
    raws.sort_unstable();
    raws.dedup();
    raws
}

/// That a value is now and then absent and else always the same, by one rule alone.
#[track_caller]
fn check_absent(played: &Played, rule: Rule, quantity: Quantity) {
    assert_eq!(played.refused, 0);
    let [(found, _)] = played.struck[..] else {
        panic!("{:?}", played.struck);
    };
    assert_eq!(found, rule);
    let raws = raw(&played.readings, quantity);
    assert!(
        matches!(raws[..], [None, Some(value)] if value != 0),
        "{quantity}: {raws:?}"
    );
}

#[tokio::test]
async fn a_meter_that_says_nothing_for_a_moment_is_absent_for_that_moment() {
    let played = with(Quirk::ZeroMeter, 0.2, |_| {}).await;
    check_absent(&played, Rule::ZeroMeter, Quantity::load_power);
    check_absent(&played, Rule::ZeroMeter, Quantity::grid_power);
    assert_eq!(raw(&played.readings, Quantity::pv_power).len(), 1);
}

#[tokio::test]
async fn a_lifetime_counter_that_slips_is_absent_for_that_moment() {
    let played = with(Quirk::CounterFall, 0.2, |_| {}).await;
    check_absent(&played, Rule::CounterFall, Quantity::energy_total);
    let played = with(Quirk::CounterJump, 0.2, |_| {}).await;
    check_absent(&played, Rule::CounterJump, Quantity::energy_total);
}

#[tokio::test]
async fn a_wild_value_is_absent_with_what_follows_from_it() {
    let played = with(Quirk::WildValue, 0.2, |_| {}).await;
    check_absent(&played, Rule::Range, Quantity::battery_voltage);
    check_absent(&played, Rule::Range, Quantity::battery_power);
}

#[tokio::test]
async fn a_reading_of_wrong_offsets_is_refused_and_nobody_hears_of_it() {
    let played = with(Quirk::WrongOffsets, 0.2, |_| {}).await;
    assert!(played.refused > 0);
    for quantity in [
        Quantity::pv1_voltage,
        Quantity::grid_voltage,
        Quantity::energy_total,
        Quantity::load_power,
    ] {
        let raws = raw(&played.readings, quantity);
        assert!(matches!(raws[..], [Some(_)]), "{quantity}: {raws:?}");
    }
}

#[tokio::test]
async fn readings_of_wrong_offsets_are_never_believed_however_many_agree() {
    let played = with(Quirk::WrongOffsets, 1.0, |_| {}).await;
    assert_eq!((played.taken, played.readings.len()), (0, 0));
    assert!(played.refused >= 60, "{}", played.refused);
}

/// Whatever the inverter does, by night and by day, and by however many bytes its frames are shifted: as many readings as
/// there are do not make it right.
#[test]
fn frames_that_are_shifted_by_a_few_bytes_are_all_rejected() {
    for variant in VARIANTS {
        for (month, shift) in [6, 12]
            .into_iter()
            .flat_map(|month| (1..=8).map(move |shift| (month, shift)))
        {
            let mut household = Household::new(7, variant, jiff::civil::date(2026, month, 21));
            let mut gate = Gate::new(&GateSettings::default(), Baseline::default());
            for second in (0..86_400_u32).step_by(300) {
                let mut payload = encode(&household.at(second.into()), variant.payload_len());
                if shift > 4 {
                    payload.rotate_left(shift - 4);
                } else {
                    payload.rotate_right(shift);
                }
                let mut values = running::decode(&payload).expect("running data");
                let at = Duration::from_secs(second.into());
                let judgement = gate.judge(at, Some(UnixMillis(0)), &mut values);
                assert!(
                    judgement.refused,
                    "{variant:?}, {shift}, {second} s: {judgement:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_absent_and_no_reason_to_doubt() {
    let played = with(Quirk::Missing, 1.0, |_| {}).await;
    assert_eq!((played.refused, &played.struck[..]), (0, &[][..]));
    for quantity in [
        Quantity::pv_power,
        Quantity::grid_voltage,
        Quantity::inverter_temperature,
    ] {
        assert_eq!(raw(&played.readings, quantity), [None], "{quantity}");
    }
}

#[tokio::test]
async fn a_modbus_exception_is_no_answer_and_the_next_one_is_taken() {
    let played = with(Quirk::Modbus, 0.2, |config| config.variant = Variant::Kse).await;
    assert_eq!((played.refused, &played.struck[..]), (0, &[][..]));
    assert_eq!(raw(&played.readings, Quantity::grid_voltage).len(), 1);
}

/// That an oddity is let through as it is.
async fn check_let_through(
    quirk: Quirk,
    probability: f64,
    begins: jiff::civil::Time,
    sign: impl Fn(&Values) -> bool,
) {
    let change = |config: &mut Config| config.begins = config.begins.date().to_datetime(begins);
    let played = with(quirk, probability, change).await;
    let doubts: Vec<_> = played
        .struck
        .iter()
        .filter(|(rule, _)| *rule != Rule::PowerBalance)
        .collect();
    assert_eq!(
        (played.refused, doubts.len()),
        (0, 0),
        "{quirk:?} {doubts:?}"
    );
    let odd = played
        .readings
        .iter()
        .filter(|reading| sign(&reading.values));
    assert!(odd.count() > 0, "{quirk:?} never struck");
}

#[tokio::test]
async fn what_is_odd_but_possible_is_let_through() {
    use jiff::civil::time;
    let noon = time(13, 0, 0, 0);
    let is = |quantity, raw| move |values: &Values| values.raw(quantity) == Some(raw);
    let low = |values: &Values| values.battery_soc.is_some_and(|soc| soc.raw() <= 10);
    check_let_through(Quirk::SocJump, 0.2, noon, low).await;
    let ghost = |values: &Values| {
        values.pv1_voltage.is_some_and(|volts| volts.raw() == 1200)
            && values.pv_power.is_some_and(|power| power.raw() == 0)
    };
    check_let_through(Quirk::PvGhost, 1.0, time(4, 30, 0, 0), ghost).await;
    let unproductive = |values: &Values| {
        values.pv1_mode.is_some_and(|mode| mode.raw() == 0)
            && values.pv_power.is_some_and(|power| power.raw() > 0)
    };
    check_let_through(Quirk::PvModeZero, 1.0, noon, unproductive).await;
    check_let_through(Quirk::Negative, 1.0, noon, is(Quantity::load_power, -278)).await;
    check_let_through(Quirk::ClockOff, 1.0, noon, |values| {
        values
            .inverter_clock
            .is_some_and(|clock| clock.raw() / 3600 % 24 == 22)
    })
    .await;
    check_let_through(
        Quirk::EarlyReset,
        1.0,
        time(23, 59, 20, 0),
        is(Quantity::energy_today, 0),
    )
    .await;
}

const VARIANTS: [Variant; 5] = [
    Variant::Kse,
    Variant::Kse81,
    Variant::Gw95,
    Variant::Gw133,
    Variant::Gw140,
];

#[test]
fn three_simulated_days_of_every_variant_pass_without_a_doubt() {
    for (seed, variant) in VARIANTS.into_iter().enumerate() {
        let mut household = Household::new(seed as u64, variant, jiff::civil::date(2026, 6, 21));
        let mut gate = Gate::new(&GateSettings::default(), Baseline::default());
        for second in (0..3 * 86_400_u32).step_by(30) {
            let payload = encode(&household.at(second.into()), variant.payload_len());
            let mut values = running::decode(&payload).expect("running data");
            let whole = values.clone();
            let time = UnixMillis(i64::from(second) * 1000);
            let judgement = gate.judge(Duration::from_secs(second.into()), Some(time), &mut values);
            assert_eq!(judgement, Judgement::default(), "{variant:?} at {second} s");
            assert_eq!(values, whole);
        }
    }
}

/// A reset of the day's counters at 23:59:20, as the inverter's clock is ahead, is no reason to doubt either.
#[test]
fn an_early_reset_of_the_days_counters_passes() {
    let mut household = Household::new(3, Variant::Kse, jiff::civil::date(2026, 6, 21));
    let mut gate = Gate::new(&GateSettings::default(), Baseline::default());
    for second in (80_000..93_000_u32).step_by(5) {
        let mut figures = household.at(second.into());
        if (86_360..86_400).contains(&second) {
            (figures.e_day, figures.e_load_day) = (0, 0);
        }
        let mut values = running::decode(&encode(&figures, 83)).expect("running data");
        let time = UnixMillis(i64::from(second) * 1000);
        let judgement = gate.judge(Duration::from_secs(second.into()), Some(time), &mut values);
        assert_eq!(judgement.faults, [], "at {second} s");
    }
}

/// The captures, if they are there.
fn captures() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/packets");
    if !folder.is_dir() {
        common::missing("the captures");
        return Vec::new();
    }
    let hex = |path: &Path| {
        let text = std::fs::read_to_string(path).expect("a capture");
        let digits: Vec<u8> = text.trim().bytes().collect();
        digits
            .chunks(2)
            .map(|pair| {
                let pair = std::str::from_utf8(pair).expect("digits");
                u8::from_str_radix(pair, 16).expect("digits")
            })
            .collect::<Vec<u8>>()
    };
    std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy();
            (name.into_owned(), hex(&path))
        })
        .collect()
}

#[test]
fn every_capture_of_running_data_passes() {
    let captures = captures();
    let mut passed = 0;
    for (name, bytes) in &captures {
        let values = [ApAddress::B0, ApAddress::C0].into_iter().find_map(|ap| {
            let payload = reply(bytes, Request::RunningData, ap).ok()?;
            running::decode(payload).ok()
        });
        let Some(whole) = values else { continue };
        let mut values = whole.clone();
        let mut gate = Gate::new(&GateSettings::default(), Baseline::default());
        for second in 0..20 {
            let at = Duration::from_secs(second * 5);
            let judgement = gate.judge(at, Some(UnixMillis(0)), &mut values);
            assert_eq!(judgement.faults, [], "{name}");
            assert_eq!(values, whole, "{name}");
        }
        passed += 1;
    }
    assert!(captures.is_empty() || passed >= 10, "{passed} captures");
}

/// A ledger in a folder.
fn kept(folder: &Path) -> Metering {
    let ledger = LedgerFile::open(folder).expect("a ledger");
    let (keeper, closing) = Keeper::start(ledger).expect("a thread");
    Metering {
        keeper,
        closing,
        ..metering()
    }
}

fn totals(reading: &Reading) -> Vec<i64> {
    Quantity::ALL
        .iter()
        .filter(|quantity| quantity.description().group == Group::Meter)
        .filter(|quantity| quantity.name().ends_with("_total"))
        .map(|quantity| reading.values.raw(*quantity).expect("it is metered"))
        .collect()
}

#[tokio::test]
async fn refused_readings_are_kept_with_their_bytes_and_counters_go_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut before = vec![0; 5];
    for _ in 0..3 {
        let place = Place::free();
        let mut config = config(&place);
        config.quirks = Quirks::of(Quirk::WrongOffsets, 0.2);
        let played = play(config, &place, kept(folder.path()), 60).await;
        for reading in &played.readings {
            let now = totals(reading);
            assert!(now.iter().zip(&before).all(|(now, before)| now >= before));
            before = now;
        }
        let ledger = LedgerFile::open(folder.path()).expect("a ledger");
        let machine = &ledger.accounts().get("roof").expect("an account").current;
        let mut shown = Values::default();
        machine.meter.show(true, &mut shown);
        let last = played.readings.last().expect("a reading");
        for flow in kstar_engine::pipeline::meter::counters::Flow::ALL {
            assert!(shown.raw(flow.total()) >= last.values.raw(flow.total()));
        }
        assert!(machine.baseline.level(Quantity::energy_total).is_some());
    }
    let quarantine = quarantine::read(folder.path()).expect("a list");
    assert!(!quarantine.is_empty());
    for refused in &quarantine {
        assert_eq!(refused.inverter, "roof");
        assert!(refused.reason.contains("can be"), "{refused:?}");
        assert!(
            refused.datagram.starts_with("aa557fb001868c"),
            "{refused:?}"
        );
        assert_eq!(refused.datagram.len(), 2 * 149);
    }
}

#[tokio::test]
async fn another_inverter_under_the_name_has_counters_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = LedgerFile::open(folder.path()).expect("a ledger");
    let account = ledger.account_mut("roof");
    account.identify("SOMEBODY ELSE");
    let flow = kstar_engine::pipeline::meter::counters::Flow::GridImport;
    account.current.meter.set(flow, 5000);
    ledger.write();
    drop(ledger);
    let place = Place::free();
    let played = play(config(&place), &place, kept(folder.path()), 60).await;
    let last = played.readings.last().expect("a reading");
    assert!(last.values.raw(flow.total()).is_some_and(|raw| raw < 5000));
    let ledger = LedgerFile::open(folder.path()).expect("a ledger");
    let account = ledger.accounts().get("roof").expect("an account");
    assert_eq!(
        account.current.serial.as_deref(),
        last.inverter.serial.as_deref()
    );
    let former = account.former.first().expect("the one before");
    assert_eq!(former.meter.totals.of(flow).published(), 5000);

    // One that never says who it is goes on with what there is.
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = LedgerFile::open(folder.path()).expect("a ledger");
    let account = ledger.account_mut("roof");
    account.identify("KNOWN BEFORE");
    account.current.meter.set(flow, 5000);
    ledger.write();
    drop(ledger);
    let place = Place::free();
    let silent = Config {
        device_info: None,
        ..config(&place)
    };
    let played = play(silent, &place, kept(folder.path()), 30).await;
    let all = raw(&played.readings, flow.total());
    assert!(
        all.iter().all(|raw| raw.is_some_and(|raw| raw >= 5000)),
        "{all:?}"
    );
}

/// The checksum does not see two swapped bytes, so a serial number that differs is asked for again.
#[tokio::test]
async fn a_serial_number_with_two_swapped_bytes_makes_no_other_account() {
    let folder = tempfile::tempdir().expect("a folder");
    let flow = kstar_engine::pipeline::meter::counters::Flow::GridImport;
    let mut ledger = LedgerFile::open(folder.path()).expect("a ledger");
    ledger.account_mut("roof").current.meter.set(flow, 5000);
    ledger.write();
    drop(ledger);
    let serial = Config::new(5).serial;
    let mut swapped = 0;
    for seed in 0..8 {
        let place = Place::free();
        let odd = Config {
            quirks: Quirks::of(Quirk::SwappedSerial, 0.5),
            seed,
            serial: serial.clone(),
            ..config(&place)
        };
        let played = play(odd, &place, kept(folder.path()), 40).await;
        for reading in &played.readings {
            let total = reading.values.raw(flow.total());
            assert!(total.is_some_and(|raw| raw >= 5000), "{seed}: {total:?}");
        }
        let told = &played.readings.last().expect("a reading").inverter.serial;
        swapped += usize::from(played.device_infos > 1);
        assert_eq!(told.as_deref(), Some(&*serial), "{seed}");
        let ledger = LedgerFile::open(folder.path()).expect("a ledger");
        let account = ledger.accounts().get("roof").expect("an account");
        assert_eq!(account.current.serial.as_deref(), Some(&*serial), "{seed}");
        assert_eq!(account.former, [], "{seed}");
    }
    assert!(swapped > 2, "the first try was right each time");
}

fn unset() -> SystemTime {
    UNIX_EPOCH
}

#[tokio::test]
async fn while_the_clock_is_not_set_readings_are_judged_counted_and_shown_without_a_time() {
    let place = Place::free();
    let inverter = start_when_free(config(&place)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut collector = Collector::new(WallClock(unset), kept(folder.path()));
    collector
        .start_inverter(InverterPlan {
            name: "roof".into(),
            nameplate: Nameplate::default(),
            source: AnySource::new(Aa55Config::default()),
            context: Context {
                interval: Duration::from_millis(5),
                ..context(place.data(), TIMEOUT)
            },
            gate: GateSettings::default(),
        })
        .await;
    let entry = collector.board().inverters().remove(0);
    let answered = || entry.polls.answered.load(Ordering::Relaxed);
    until("answers", || (answered() >= 10).then_some(())).await;
    let newest = entry.present().newest.expect("a reading").1;
    assert_eq!(newest.time, None);
    let (today, total) = (
        Quantity::grid_import_energy_today,
        Quantity::grid_import_energy_total,
    );
    assert!(newest.values.raw(total).is_some() && newest.values.raw(today).is_none());
    assert!(entry.gate.taken.load(Ordering::Relaxed) >= 9);
    assert!(collector.stop(PATIENCE).await);
    inverter.stop().await;
    let ledger = LedgerFile::open(folder.path()).expect("a ledger");
    let account = &ledger.accounts()["roof"];
    assert!(account.sequence >= 9 && account.current.meter.day.is_none());
}
