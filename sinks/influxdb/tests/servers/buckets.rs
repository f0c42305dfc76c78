//! The way to a bucket: what a server of version 2 wants to see of a request, with the parser of a real one behind it.

use std::sync::Arc;

use kstar_sink::async_trait;
use kstar_sink::delivery::Policy;
use kstar_sink::sink::{Batch, DeliveryError, Sink, SinkConfig};
use kstar_sink::testing::{FarSide, Record, conformance, full_reading, readings};
use kstar_sink_influxdb::InfluxdbConfig;

use super::databases::expected;
use super::http::{Gate, Reaction, Request};
use super::world::{Influxdb, config, context};

/// Checks what InfluxDB 2 checks, in its order and with its words.
fn version_2(request: &Request) -> Reaction {
    let complain = |status, code: &str, message: &str| {
        Reaction::answer(
            status,
            &format!(r#"{{"code":"{code}","message":"{message}"}}"#),
        )
    };
    if !request.path.ends_with("/api/v2/write") {
        return complain(404, "not found", "path not found");
    }
    if request
        .headers
        .get("authorization")
        .is_none_or(|token| token != "Token hunter2")
    {
        return complain(401, "unauthorized", "unauthorized access");
    }
    let of = |key: &str| request.query.get(key).map_or("", String::as_str);
    if of("org") != "home & garden" {
        return complain(404, "not found", "organization name not found");
    }
    if of("bucket") != "solar" {
        return complain(404, "not found", "bucket not found");
    }
    assert_eq!(of("precision"), "ms");
    Reaction::Forward
}

fn bucket(gate: &Gate, path: &str, lines: &str) -> InfluxdbConfig {
    config(&format!(
        "url = '{}{path}'\norg = 'home & garden'\nbucket = 'solar'\ntoken = 'hunter2'\n{lines}",
        gate.url()
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_a_bucket_ends_in_the_same_points() {
    let influxdb = Influxdb::start().await;
    let gate = Gate::start(influxdb.server.port, version_2).await;
    let all = readings("roof", 100);
    for (number, path, lines) in [
        (1, "", ""),
        (2, "", "gzip = true"),
        (3, "/influx", ""),
        (4, "/a/b/", "gzip = true"),
    ] {
        let lines = format!("{lines}\nmeasurement = 'm{number}'\ntags = {{ site = 'Süd, \"1\"' }}");
        let config = bucket(&gate, path, &lines);
        let mut sink = config.open(&context()).unwrap();
        sink.deliver(&Batch::new(&all)).await.unwrap();
        let points = influxdb.points(&format!("m{number}")).await;
        assert_eq!(points, expected(&all, &[("site", "Süd, \"1\"")]), "{lines}");
    }
    let paths: Vec<_> = gate
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert_eq!(
        paths,
        [
            "/api/v2/write",
            "/api/v2/write",
            "/influx/api/v2/write",
            "/a/b/api/v2/write"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_organization_or_bucket_is_named_and_never_shown() {
    let influxdb = Influxdb::start().await;
    let gate = Gate::start(influxdb.server.port, version_2).await;
    let reading = [full_reading("roof", 1)];
    for (right, wrong, part) in [
        ("token = 'hunter2'", "token = 'hunter3'", "fix `token`"),
        ("token = 'hunter2'", "", "set `token`"),
        ("'home & garden'", "'house'", "fix `org` and `bucket`"),
        (
            "bucket = 'solar'",
            "bucket = 'lunar'",
            "bucket lunar of home & garden",
        ),
    ] {
        let text = format!(
            "url = '{}'\norg = 'home & garden'\nbucket = 'solar'\ntoken = 'hunter2'",
            gate.url()
        );
        let config = config(&text.replace(right, wrong));
        let mut sink = config.open(&context()).unwrap();
        // The second time on the other way.
        for _ in 0..2 {
            let refused = sink.deliver(&Batch::new(&reading)).await;
            let Err(DeliveryError::Refused { reason, .. }) = refused else {
                panic!("{wrong}: {refused:?}");
            };
            assert!(reason.contains(part), "{wrong}: {reason}");
            assert!(!reason.contains("hunter"), "{reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_mended_in_its_file_is_used_without_a_restart() {
    let influxdb = Influxdb::start().await;
    let gate = Gate::start(influxdb.server.port, version_2).await;
    let file = influxdb.server.path("token");
    std::fs::write(&file, "hunter3\n").unwrap();
    let token = format!("token = {{ file = '{}' }}", file.display());
    let config = config(&format!(
        "url = '{}'\norg = 'home & garden'\nbucket = 'solar'\n{token}",
        gate.url()
    ));
    let mut sink = config.open(&context()).unwrap();
    let reading = [full_reading("roof", 1)];
    let refused = sink.deliver(&Batch::new(&reading)).await;
    assert!(
        matches!(refused, Err(DeliveryError::Refused { .. })),
        "{refused:?}"
    );
    std::fs::write(&file, "hunter2\n").unwrap();
    sink.deliver(&Batch::new(&reading)).await.unwrap();
    assert_eq!(influxdb.points("inverter").await, expected(&reading, &[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_buckets_is_recognized() {
    // This one is too old for them.
    let influxdb = Influxdb::start().await;
    let config = config(&format!(
        "url = '{}'\norg = 'home'\nbucket = 'solar'",
        influxdb.url()
    ));
    let mut sink = config.open(&context()).unwrap();
    let refused = sink.deliver(&Batch::new(&[full_reading("roof", 1)])).await;
    let Err(DeliveryError::Refused { reason, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("set `database`"), "{reason}");
}

/// Away is a server that says nothing.
struct Bucket {
    influxdb: Influxdb,
    gate: Gate,
    config: InfluxdbConfig,
}

#[async_trait]
impl FarSide for Bucket {
    fn sink(&mut self) -> Box<dyn Sink> {
        self.config.open(&context()).unwrap()
    }

    async fn held(&mut self) -> Vec<Record> {
        self.influxdb.points("inverter").await
    }

    async fn go_away(&mut self) {
        self.gate.now(|_| Reaction::Hang);
    }

    async fn come_back(&mut self) {
        self.gate.now(version_2);
    }

    fn nonsense(&self) -> Option<Arc<kstar_model::reading::Reading>> {
        Some(full_reading("roof", i64::MAX / 1000))
    }

    fn policy(&self) -> Policy {
        self.config.policy()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sink_keeps_the_contract_with_a_bucket() {
    let influxdb = Influxdb::start().await;
    let gate = Gate::start(influxdb.server.port, version_2).await;
    let config = bucket(&gate, "", "delivery.timeout = '1s'");
    conformance(Bucket {
        influxdb,
        gate,
        config,
    })
    .await;
}
