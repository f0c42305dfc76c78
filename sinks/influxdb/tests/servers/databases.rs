//! InfluxDB 1: its parser takes every line, and its queries give back what went in.

use std::path::Path;
use std::sync::Arc;

use kstar_model::reading::Reading;
use kstar_sink::async_trait;
use kstar_sink::delivery::Policy;
use kstar_sink::health::State;
use kstar_sink::sink::{Batch, DeliveryError, Sink, SinkConfig};
use kstar_sink::testing::{FarSide, Record, conformance, full_reading, readings, record};
use kstar_sink_influxdb::InfluxdbConfig;
use tempfile::TempDir;

use super::world::{Influxdb, Running, context};

/// The records of readings, with tags of the user's.
pub(crate) fn expected(readings: &[Arc<Reading>], tags: &[(&str, &str)]) -> Vec<Record> {
    readings
        .iter()
        .map(|reading| {
            let mut record = record(reading);
            for (key, value) in tags {
                record.insert((*key).to_owned(), (*value).to_owned());
            }
            record
        })
        .collect()
}

async fn deliver(config: &InfluxdbConfig, readings: &[Arc<Reading>]) -> Result<(), DeliveryError> {
    let mut sink = config.open(&context()).unwrap();
    sink.deliver(&Batch::new(readings)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_in_comes_out_again() {
    let influxdb = Influxdb::start().await;
    let mut all = readings("roof", 300);
    // What is before 1970, and after.
    all.insert(0, full_reading("roof", -1));
    for gzip in [false, true] {
        let measurement = if gzip { "small" } else { "inverter" };
        let config = influxdb.config(&format!("measurement = '{measurement}'\ngzip = {gzip}"));
        deliver(&config, &all).await.unwrap();
        assert_eq!(influxdb.points(measurement).await, expected(&all, &[]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_may_hold_anything_that_the_configuration_takes() {
    let influxdb = Influxdb::start().await;
    let reading = [full_reading("roof", 1_795_305_600_000)];
    for name in [
        "two words",
        " spaces around ",
        "a,b",
        "a=b",
        ",= ,=",
        "say \"yes\"",
        "\"",
        "it's",
        "back\\slash",
        "\\n",
        "Dach Süd",
        "☀🔋",
        "#1",
        "a#b",
        "`$(x)`",
        "{a: 1}",
        "SELECT",
        "100%",
    ] {
        let quoted = serde_json::to_string(name).unwrap();
        let measurement = format!("m{name}");
        let config = influxdb.config(&format!(
            "measurement = {}\ntags = {{ {quoted} = {quoted}, site = {quoted} }}",
            serde_json::to_string(&measurement).unwrap(),
        ));
        deliver(&config, &reading).await.unwrap();
        assert_eq!(
            influxdb.points(&measurement).await,
            expected(&reading, &[(name, name), ("site", name)]),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_missing_is_said_once_and_filled_as_soon_as_it_is_there() {
    let influxdb = Influxdb::with("", |_| ());
    let config = influxdb.config("");
    let reading = full_reading("roof", 1_795_305_600_000);
    let refused = deliver(&config, &[Arc::clone(&reading)]).await;
    let Err(DeliveryError::Refused { reason, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("CREATE DATABASE \"solar\""), "{reason}");
    influxdb.query("CREATE DATABASE solar").await;
    deliver(&config, &[Arc::clone(&reading)]).await.unwrap();
    assert_eq!(influxdb.points("inverter").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retention_policy_is_written_to_and_one_that_is_missing_is_named() {
    let influxdb = Influxdb::start().await;
    let config = influxdb.config("retention_policy = 'years'");
    let reading = [full_reading("roof", 1_795_305_600_000)];
    let refused = deliver(&config, &reading).await;
    let Err(DeliveryError::Refused { reason, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("retention policy years"), "{reason}");
    influxdb
        .query("CREATE RETENTION POLICY years ON solar DURATION 5200w REPLICATION 1")
        .await;
    deliver(&config, &reading).await.unwrap();
    let answer = influxdb
        .query("SELECT count(pv_power) FROM years.inverter")
        .await;
    assert_eq!(answer["results"][0]["series"][0]["values"][0][1], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_and_password_are_needed_where_they_are_wanted_and_wrong_ones_are_said() {
    let influxdb = Influxdb::with("auth-enabled = true", |_| ());
    influxdb
        .query("CREATE USER admin WITH PASSWORD 'secret' WITH ALL PRIVILEGES")
        .await;
    let admin = [("u", "admin"), ("p", "secret")];
    for query in [
        "CREATE DATABASE solar",
        "CREATE USER kstar WITH PASSWORD 'hunter2'",
        "CREATE USER reader WITH PASSWORD 'hunter2'",
        "GRANT WRITE ON solar TO kstar",
        "GRANT READ ON solar TO reader",
    ] {
        influxdb.query_as(query, &admin).await;
    }
    let reading = [full_reading("roof", 1_795_305_600_000)];
    for (lines, part) in [
        ("", "set `username` and `password`"),
        (
            "username = 'kstar'\npassword = 'hunter3'",
            "does not know us",
        ),
        ("username = 'reader'\npassword = 'hunter2'", "that right"),
    ] {
        let refused = deliver(&influxdb.config(lines), &reading).await;
        let Err(DeliveryError::Refused { reason, .. }) = refused else {
            panic!("{lines}: {refused:?}");
        };
        assert!(reason.contains(part), "{lines}: {reason}");
        assert!(!reason.contains("hunter"), "{reason}");
    }
    let config = influxdb.config("username = 'kstar'\npassword = 'hunter2'");
    deliver(&config, &reading).await.unwrap();
    let answer = influxdb
        .query_as("SELECT count(pv_power) FROM inverter", &admin)
        .await;
    assert_eq!(answer["results"][0]["series"][0]["values"][0][1], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_of_another_type_is_named_with_what_to_do() {
    let influxdb = Influxdb::start().await;
    // Somebody has written a text where we have a number, on the same day.
    influxdb
        .write("inverter pv_power=\"much\" 1795305600000000000")
        .await;
    let reading = [full_reading("roof", 1_795_305_600_000)];
    let rejected = deliver(&influxdb.config(""), &reading).await;
    let Err(DeliveryError::Rejected { reason }) = rejected else {
        panic!("{rejected:?}");
    };
    assert!(
        reason.contains("pv_power") && reason.contains("`measurement`"),
        "{reason}"
    );
    deliver(&influxdb.config("measurement = 'kstar'"), &reading)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_the_server_keeps_is_dropped_and_the_rest_is_delivered() {
    let influxdb = Influxdb::start().await;
    influxdb
        .query("CREATE RETENTION POLICY day ON solar DURATION 1d REPLICATION 1 DEFAULT")
        .await;
    let running = Running::start(&influxdb.config(""));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    let old = (0..3).map(|number| full_reading("roof", now - 864_000_000 + number * 5000));
    let new: Vec<_> = (0..40)
        .map(|number| full_reading("roof", now - number * 5000))
        .collect();
    running.send(new[..20].iter().cloned());
    running.send(old);
    running.send(new[20..].iter().cloned());
    running
        .until("all is settled", |now| {
            now.counts.delivered + now.counts.rejected == 43
        })
        .await;
    let counts = running.end().await;
    assert_eq!((counts.rejected, counts.delivered), (3, 40));
    let mut expected = expected(&new, &[]);
    expected.sort_by_key(|record| record["time"].clone());
    assert_eq!(influxdb.points("inverter").await, expected);
}

/// Away is a process that is stopped.
struct Database {
    influxdb: Influxdb,
    config: InfluxdbConfig,
    spool: Option<TempDir>,
}

#[async_trait]
impl FarSide for Database {
    fn sink(&mut self) -> Box<dyn Sink> {
        self.config.open(&context()).unwrap()
    }

    async fn held(&mut self) -> Vec<Record> {
        self.influxdb.points("inverter").await
    }

    async fn go_away(&mut self) {
        self.influxdb.server.signal("STOP");
    }

    async fn come_back(&mut self) {
        self.influxdb.server.signal("CONT");
    }

    fn nonsense(&self) -> Option<Arc<Reading>> {
        // InfluxDB counts nanoseconds in 64 bits; that one is too far away.
        Some(full_reading("roof", i64::MAX / 1000))
    }

    fn policy(&self) -> Policy {
        self.config.policy()
    }

    fn spool_folder(&self) -> Option<&Path> {
        self.spool.as_ref().map(TempDir::path)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sink_keeps_the_contract_with_a_database_with_a_spool_and_without() {
    for spool in [None, Some(TempDir::new().unwrap())] {
        let influxdb = Influxdb::start().await;
        let config = influxdb.config("delivery.timeout = '1s'");
        conformance(Database {
            influxdb,
            config,
            spool,
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_has_every_reading_once() {
    let mut influxdb = Influxdb::start().await;
    let running = Running::start(&influxdb.config("delivery.timeout = '1s'"));
    let all = readings("roof", 60);
    running.send(all[..20].iter().cloned());
    running.delivered(20).await;
    influxdb.server.kill();
    running.send(all[20..40].iter().cloned());
    running
        .until("nobody listens", |now| {
            matches!(&now.state, State::Down { reason } if reason.contains("refuses the connection"))
        })
        .await;
    influxdb.server.start();
    running.send(all[40..].iter().cloned());
    running.delivered(60).await;
    running.end().await;
    assert_eq!(influxdb.points("inverter").await, expected(&all, &[]));
}
