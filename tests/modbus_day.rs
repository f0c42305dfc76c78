//! A day of a three-phase KSTAR hybrid behind a Solarman stick, from its registers to the report.
//!
//! The whole collector runs, against the simulated machine: only time is the test's. Between two polls it is put forward, for
//! the collector, the machine and the wall clock alike, so that a day takes seconds. For two hours the machine is off the
//! network, and within these the collector is stopped and started again. What the simulator knows to have flowed since
//! midnight is what the report has to say.

#![cfg(all(
    feature = "modbus",
    feature = "history",
    feature = "sqlite",
    feature = "mqtt"
))]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what helps a test may panic like the test itself"
)]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use jiff::civil::date;
use kstar_engine::collector::Collector;
use kstar_engine::pipeline::gate::GateSettings;
use kstar_engine::pipeline::ledger::file::LedgerFile;
use kstar_engine::pipeline::ledger::keeper::Keeper;
use kstar_engine::pipeline::stamp::WallClock;
use kstar_engine::unit::{InverterPlan, Metering, SinkPlan};
use kstar_model::reading::Reading;
use kstar_simulator::modbus::config::{Config, Family};
use kstar_simulator::modbus::energies::{Energies, kilowatt_hours};
use kstar_simulator::modbus::{Running, start};
use kstar_sink::event::Nameplate;
use kstar_sink::sink::{Context, SinkConfig};
use kstar_sink_mqtt::home_assistant::{Discovery, HomeAssistantSettings, Topics};
use kstar_sink_sqlite::SqliteConfig;
use kstar_source::source::AnySource;
use kstar_source_modbus::KstarHybridConfig;
use serde_json::Value;
use tokio::time::Instant;

use common::{Memory, context, metering};

const NAME: &str = "roof";
const POLL: Duration = Duration::from_secs(20);

/// 2027-06-21T00:00:00Z: a midnight after this version was made.
const MIDNIGHT: Duration = Duration::from_secs(1_813_536_000);

/// Hours of the day: the machine goes, the collector is stopped and started again, the machine comes back.
const OUTAGE: [f64; 4] = [8.0, 8.75, 9.25, 10.0];

/// What Home Assistant's Energy asks for.
const ENERGY: [&str; 5] = [
    "pv_energy_total",
    "grid_import_energy_total",
    "grid_export_energy_total",
    "battery_charge_energy_total",
    "battery_discharge_energy_total",
];

/// When the test began.
static BEGAN: OnceLock<Instant> = OnceLock::new();

fn since_midnight() -> Duration {
    BEGAN.get_or_init(Instant::now).elapsed()
}

/// The wall clock of a day that goes as fast as the test wants.
fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + MIDNIGHT + since_midnight()
}

/// Puts time forward to the next poll, for everybody.
async fn put_forward(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

fn sqlite(folder: &Path) -> SinkPlan {
    let config = SqliteConfig {
        path: Some(folder.join("history.db")),
        ..SqliteConfig::default()
    };
    let context = sink_context(folder);
    SinkPlan {
        name: SqliteConfig::NAME,
        policy: config.policy(),
        open: Arc::new(move || config.open(&context)),
        spool: None,
    }
}

fn sink_context(folder: &Path) -> Context {
    Context {
        inverters: vec![NAME.into()],
        poll_interval: POLL,
        state_dir: folder.to_owned(),
        zone: kstar_model::TimeZone::UTC,
        version: "0",
    }
}

/// A collector that goes on from what the folder remembers.
async fn collect(folder: &Path, machine: &Running, memory: &Memory) -> Collector {
    let ledger = LedgerFile::open(folder).expect("a ledger");
    let (keeper, closing) = Keeper::start(ledger).expect("a thread");
    let metering = Metering {
        keeper,
        closing,
        ..metering()
    };
    let mut collector = Collector::new(WallClock(wall), metering);
    collector.start_sink(sqlite(folder));
    collector.start_sink(memory.sink("memory"));
    let source = AnySource::new(KstarHybridConfig::default());
    let mut context = context(machine.data_address(), Duration::from_secs(2));
    context.interval = POLL;
    collector
        .start_inverter(InverterPlan {
            name: NAME.into(),
            nameplate: Nameplate::default(),
            gate: GateSettings {
                profile: source.profile(),
                off: Vec::new(),
            },
            source,
            context,
        })
        .await;
    collector
}

/// Polls until this hour of the day.
async fn poll_until(hour: f64, memory: &Memory, is_online: bool) {
    while since_midnight().as_secs_f64() < hour * 3600.0 {
        let before = memory.count(NAME);
        put_forward(POLL).await;
        // A reading comes at once; where none is to come, there is only the time-out to be passed.
        for _ in 0..if is_online { 2000 } else { 3 } {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if memory.count(NAME) > before {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_day_with_an_outage_and_a_restart_is_metered_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut config = Config::with_phases(Family::KstarHybrid, 3, 7);
    config.begins = date(2027, 6, 21).at(0, 0, 0, 0);
    config.plant.charges_at_night = true;
    let memory = Memory::default();
    let machine = start(config).await.expect("a machine");
    since_midnight();

    let [gone, stopped, started, back] = OUTAGE;
    let collector = collect(folder, &machine, &memory).await;
    poll_until(gone, &memory, true).await;
    machine.set_online(false);
    let before = machine.energies();
    poll_until(stopped, &memory, false).await;
    assert!(collector.stop(Duration::from_secs(60)).await, "it drains");
    poll_until(started, &memory, false).await;
    let collector = collect(folder, &machine, &memory).await;
    poll_until(back, &memory, false).await;
    let missed = machine.energies().since(&before);
    machine.set_online(true);
    poll_until(23.99, &memory, true).await;
    let truth = machine.energies();
    assert!(collector.stop(Duration::from_secs(60)).await, "it drains");
    let (counts, _) = machine.stop().await;
    assert_eq!((counts.most_open, counts.unexpected), (1, 0));

    let [.., import, export, charge, discharge] = five(&missed);
    let gap = [five(&missed)[0], import + export, charge + discharge];
    assert!(
        gap.iter().all(|kwh| *kwh > 0.1),
        "nothing to be bridged: {gap:?}"
    );
    let told = check_report(folder, &truth);
    check_plot(folder, told);
    let readings = memory.readings();
    assert!(readings.len() > 3500, "{} readings", readings.len());
    check_home_assistant(folder, readings.last().expect("a reading"));
}

/// The same as it was.
fn five(energies: &Energies) -> [f64; 5] {
    let Energies {
        pv,
        import,
        export,
        charge,
        discharge,
        ..
    } = *energies;
    [pv, import, export, charge, discharge].map(kilowatt_hours)
}

/// The output of a command that asks the history.
fn ask(folder: &Path, command: &[&str]) -> String {
    let config = folder.join("kstar.toml");
    let text = format!(
        "timezone = \"UTC\"\n[[inverter]]\nname = \"{NAME}\"\nhost = \"192.0.2.1\"\n[sinks.sqlite]\npath = \"{}/history.db\"\n",
        folder.display()
    );
    std::fs::write(&config, text).expect("written");
    let done = Command::new(env!("CARGO_BIN_EXE_kstar"))
        .args(command)
        .arg("--config")
        .arg(&config)
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {error}");
    String::from_utf8(done.stdout).expect("text")
}

/// That the report of the day has what has flowed, within one percent. Consumption is not among it: what the house used
/// while nobody looked is not bridged.
fn check_report(folder: &Path, truth: &Energies) -> [f64; 5] {
    let report = ask(folder, &["report", "day", "--date", "2027-06-21", "--json"]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let names = ["production", "import", "export", "charged", "discharged"];
    let told = names.map(|name| report["sum"][name].as_f64().expect("a number"));
    for ((name, told), expected) in names.into_iter().zip(told).zip(five(truth)) {
        let is_right = (told - expected).abs() < expected * 0.01;
        assert!(
            is_right,
            "{name}: {told} kWh, {expected:.3} kWh have flowed"
        );
    }
    assert_eq!(report["sum"]["balanced"], true);
    told
}

/// That the chart shows the day, with the report's energies.
fn check_plot(folder: &Path, told: [f64; 5]) {
    let plot = ask(folder, &["plot", "day", "--date", "2027-06-21"]);
    let plot = roxmltree::Document::parse(&plot).expect("a chart");
    let text: Vec<&str> = plot.descendants().filter_map(|node| node.text()).collect();
    let energies = text.iter().filter_map(|text| text.strip_suffix(" kWh"));
    let energies: Vec<f64> = energies.flat_map(str::parse).collect();
    for kwh in told {
        let is_it = |shown: &f64| (shown - kwh).abs() < 0.0501;
        assert!(energies.iter().any(is_it), "{kwh}: {energies:?}");
    }
    assert!(text.contains(&"Monday 21 June 2027"), "{text:?}");
    assert!(plot.descendants().any(|node| node.has_tag_name("path")));
}

/// That Home Assistant is told of what its Energy asks for.
fn check_home_assistant(folder: &Path, reading: &Reading) {
    let topics = Topics {
        prefix: "kstar".to_owned(),
        client_id: "kstar".to_owned(),
        per_quantity: false,
        qos: 1,
    };
    let settings = HomeAssistantSettings::default();
    let messages = Discovery::new(&settings, topics, &sink_context(folder)).observe(reading);
    let payload = &messages.first().expect("it is announced").payload;
    let device: Value = serde_json::from_str(payload).expect("JSON");
    for name in ENERGY {
        let component = &device["components"][name];
        assert_eq!(component["device_class"], "energy", "{name}");
        assert_eq!(component["state_class"], "total_increasing", "{name}");
        assert_eq!(component["unit_of_measurement"], "kWh", "{name}");
    }
}
