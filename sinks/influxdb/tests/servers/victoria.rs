//! VictoriaMetrics: it keeps numbers only, and every one that comes, so that a point too many would show.

use std::collections::BTreeMap;
use std::sync::Arc;

use kstar_model::catalogue::{Quantity, Value};
use kstar_model::reading::Reading;
use kstar_sink::async_trait;
use kstar_sink::delivery::Policy;
use kstar_sink::sink::{Sink, SinkConfig};
use kstar_sink::testing::{FarSide, Record, conformance, readings};
use kstar_sink_influxdb::InfluxdbConfig;

use super::world::{Running, Victoria, context};

fn is_number(name: &str) -> bool {
    let quantity = Quantity::from_name(name).unwrap();
    matches!(quantity.value(0), Value::Number(_))
}

fn samples(readings: &[Arc<Reading>]) -> Vec<(String, String, i64, f64)> {
    let mut samples = Vec::new();
    for reading in readings {
        for (quantity, value) in reading.values.present() {
            if let Value::Number(number) = value {
                samples.push((
                    format!("inverter_{quantity}"),
                    reading.inverter.name.to_string(),
                    reading.time.0,
                    number.to_f64(),
                ));
            }
        }
    }
    samples
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reading_is_there_once_with_its_own_time_also_after_a_restart_of_the_server() {
    let mut victoria = Victoria::start();
    let running = Running::start(&victoria.config("delivery.batch = 7"));
    let all = [readings("roof", 100), readings("barn", 100)].concat();
    running.send(all[..150].iter().cloned());
    running.delivered(150).await;
    // Killed, it would lose what it has only in memory; a stop in order keeps it.
    victoria.server.stop();
    running.send(all[150..].iter().cloned());
    running.down().await;
    victoria.server.start();
    running.delivered(200).await;
    running.end().await;
    let mut expected = samples(&all);
    let mut held = victoria.samples().await;
    held.retain(|(name, ..)| is_number(name.strip_prefix("inverter_").unwrap()));
    let order = |one: &(String, String, i64, f64), other: &(String, String, i64, f64)| {
        (&one.0, &one.1, one.2).cmp(&(&other.0, &other.1, other.2))
    };
    expected.sort_by(order);
    held.sort_by(order);
    assert_eq!(held.len(), expected.len());
    for (held, expected) in held.iter().zip(&expected) {
        assert_eq!(held, expected);
    }
}

/// Away is a process that is stopped.
struct Metrics {
    victoria: Victoria,
    config: InfluxdbConfig,
}

#[async_trait]
impl FarSide for Metrics {
    fn sink(&mut self) -> Box<dyn Sink> {
        self.config.open(&context()).unwrap()
    }

    async fn held(&mut self) -> Vec<Record> {
        let mut records: BTreeMap<i64, Record> = BTreeMap::new();
        for (name, inverter, time, value) in self.victoria.samples().await {
            let name = name.strip_prefix("inverter_").unwrap();
            if is_number(name) {
                let record = records.entry(time).or_default();
                record.insert("inverter".to_owned(), inverter);
                record.insert("time".to_owned(), time.to_string());
                record.insert(name.to_owned(), value.to_string());
            }
        }
        records.into_values().collect()
    }

    async fn go_away(&mut self) {
        self.victoria.server.signal("STOP");
    }

    async fn come_back(&mut self) {
        self.victoria.server.signal("CONT");
    }

    fn expected(&self, reading: &Reading) -> Record {
        let mut record = kstar_sink::testing::record(reading);
        record.retain(|key, _| matches!(&**key, "inverter" | "time") || is_number(key));
        record
    }

    fn policy(&self) -> Policy {
        self.config.policy()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sink_keeps_the_contract_with_victoria_metrics() {
    let victoria = Victoria::start();
    let config = victoria.config("delivery.timeout = '1s'");
    conformance(Metrics { victoria, config }).await;
}
