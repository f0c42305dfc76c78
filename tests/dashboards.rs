//! The dashboards for Grafana ask for what there is: every field and metric follows from the catalogue.
//!
//! That they are answered is tried against real servers by `deploy/grafana/check.py`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use kstar_model::catalogue::Quantity;
use serde_json::Value;

fn dashboard(name: &str) -> Value {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/grafana/{name}.json"));
    let text = fs::read_to_string(&path).expect("a dashboard");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn panels(dashboard: &Value) -> &[Value] {
    let panels = dashboard.get("panels").and_then(Value::as_array);
    panels.expect("panels")
}

/// The queries of all panels, as they stand under this key.
fn queries(dashboard: &Value, key: &str) -> Vec<String> {
    let queries: Vec<String> = panels(dashboard)
        .iter()
        .filter_map(|panel| panel.get("targets")?.as_array())
        .flatten()
        .filter_map(|target| target.get(key)?.as_str())
        .map(str::to_owned)
        .collect();
    assert!(queries.len() > 40, "only {} queries", queries.len());
    queries
}

fn is_quantity(name: &str) -> bool {
    Quantity::from_name(name).is_some()
}

#[test]
fn influxdb_is_asked_for_quantities() {
    // The measurement and tag, and what queries call their own results.
    let own = [
        "inverter", "value", "fed", "made", "bought", "load", "backup", "elapsed",
    ];
    let mut asked = BTreeSet::new();
    for query in queries(&dashboard("kstar-influxdb"), "query") {
        for name in query.split('"').skip(1).step_by(2) {
            assert!(
                own.contains(&name) || is_quantity(name),
                "{name} in {query}"
            );
            asked.insert(name.to_owned());
        }
    }
    assert!(asked.contains("pv_power"), "{asked:?}");
}

/// Whether a metric is that of a quantity: `kstar_`, its name, and the word of its unit.
fn is_metric_of_a_quantity(metric: &str) -> bool {
    let Some(stem) = metric.strip_prefix("kstar_") else {
        return false;
    };
    // Modes and flags have no unit.
    if is_quantity(stem) {
        return true;
    }
    let (stem, total) = match stem.strip_suffix("_total") {
        Some(stem) => (stem, "_total"),
        None => (stem, ""),
    };
    stem.rsplit_once('_').is_some_and(|(quantity, unit)| {
        let units = [
            "watts", "volts", "amperes", "hertz", "celsius", "ratio", "joules", "seconds",
        ];
        units.contains(&unit) && is_quantity(&format!("{quantity}{total}"))
    })
}

#[test]
fn prometheus_is_asked_for_quantities_and_how_the_collector_is() {
    let own = [
        "kstar_inverter_up",
        "kstar_reading_age_seconds",
        "kstar_polls_total",
        "kstar_datagrams_refused_total",
        "kstar_readings_total",
        "kstar_sink_up",
        "kstar_sink_queued_readings",
        "kstar_sink_readings_total",
    ];
    let mut asked = BTreeSet::new();
    for query in queries(&dashboard("kstar-prometheus"), "expr") {
        for metric in query
            .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .filter(|word| word.starts_with("kstar_"))
        {
            assert!(
                own.contains(&metric) || is_metric_of_a_quantity(metric),
                "{metric} in {query}"
            );
            asked.insert(metric.to_owned());
        }
    }
    for metric in own {
        assert!(asked.contains(metric), "{metric} is not asked for");
    }
    assert!(asked.contains("kstar_pv_energy_joules_total"), "{asked:?}");
}

#[test]
fn panels_have_ids_of_their_own_and_do_not_cover_each_other() {
    for name in ["kstar-influxdb", "kstar-prometheus"] {
        let dashboard = dashboard(name);
        let mut ids = BTreeSet::new();
        let mut covered = BTreeSet::new();
        for panel in panels(&dashboard) {
            let place = |key: &str| {
                let value = panel
                    .get("gridPos")
                    .and_then(|place| place.get(key)?.as_u64());
                value.unwrap_or_else(|| panic!("{name}: {key} of {panel}"))
            };
            assert!(
                ids.insert(panel.get("id").and_then(Value::as_u64)),
                "{panel}"
            );
            for y in place("y")..place("y") + place("h") {
                for x in place("x")..place("x") + place("w") {
                    assert!(x < 24 && covered.insert((x, y)), "{name}: {panel}");
                }
            }
        }
    }
}
