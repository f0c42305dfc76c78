//! The contract, with a real file: the server is away while another program holds the lock.

#![expect(
    clippy::unwrap_used,
    reason = "a test may end where its surroundings break"
)]

use std::path::Path;
use std::time::Duration;

use kstar_sink::async_trait;
use kstar_sink::delivery::{DeliverySettings, Policy};
use kstar_sink::sink::{Context, Sink, SinkConfig};
use kstar_sink::testing::{FarSide, Record, conformance};
use kstar_sink_sqlite::SqliteConfig;
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

struct File {
    folder: TempDir,
    config: SqliteConfig,
    /// The other program.
    locker: Option<Connection>,
    spool: Option<TempDir>,
}

impl File {
    fn new() -> Self {
        let delivery = DeliverySettings {
            timeout: Some(Duration::from_millis(500)),
            ..DeliverySettings::default()
        };
        Self {
            folder: TempDir::new().unwrap(),
            config: SqliteConfig {
                delivery,
                ..SqliteConfig::default()
            },
            locker: None,
            spool: None,
        }
    }

    fn connection(&self) -> Connection {
        Connection::open(self.folder.path().join("history.db")).unwrap()
    }
}

#[async_trait]
impl FarSide for File {
    fn sink(&mut self) -> Box<dyn Sink> {
        let context = Context {
            inverters: vec!["roof".into()],
            poll_interval: Duration::from_secs(5),
            state_dir: self.folder.path().to_owned(),
            zone: kstar_model::TimeZone::UTC,
            version: "0",
        };
        self.config.open(&context).unwrap()
    }

    async fn held(&mut self) -> Vec<Record> {
        let connection = self.connection();
        let mut query = connection
            .prepare("SELECT * FROM readings ORDER BY time")
            .unwrap();
        let names: Vec<String> = query.column_names().map(str::to_owned).collect();
        let records = query.query_map([], |row| {
            let mut record = Record::new();
            for name in names.iter().filter(|name| *name != "time_utc") {
                let text = match row.get(name.as_str())? {
                    Value::Null | Value::Blob(_) => continue,
                    Value::Integer(number) => number.to_string(),
                    Value::Real(number) => number.to_string(),
                    Value::Text(text) => text,
                };
                record.insert(name.clone(), text);
            }
            Ok(record)
        });
        records.unwrap().map(Result::unwrap).collect()
    }

    async fn go_away(&mut self) {
        let locker = self.connection();
        locker.execute_batch("BEGIN IMMEDIATE").unwrap();
        self.locker = Some(locker);
    }

    async fn come_back(&mut self) {
        self.locker = None;
    }

    fn policy(&self) -> Policy {
        self.config.policy()
    }

    fn spool_folder(&self) -> Option<&Path> {
        self.spool.as_ref().map(TempDir::path)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sqlite_sink_keeps_the_contract() {
    conformance(File::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sqlite_sink_keeps_the_contract_with_a_spool() {
    conformance(File {
        spool: Some(TempDir::new().unwrap()),
        ..File::new()
    })
    .await;
}
