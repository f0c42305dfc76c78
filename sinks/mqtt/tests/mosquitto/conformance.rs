//! The contract: the server is away while the broker's process is stopped.

use kstar_sink::async_trait;
use kstar_sink::delivery::{Keep, Policy};
use kstar_sink::sink::{Sink, SinkConfig};
use kstar_sink::testing::{FarSide, Record, conformance, record_of_line};
use kstar_sink_mqtt::MqttConfig;

use super::world::{Listener, Mosquitto, context};

struct Broker {
    mosquitto: Mosquitto,
    listener: Listener,
    config: MqttConfig,
    marks: u32,
}

#[async_trait]
impl FarSide for Broker {
    fn sink(&mut self) -> Box<dyn Sink> {
        let context = context(&["roof"], self.mosquitto.folder.path());
        self.config.open(&context).unwrap()
    }

    async fn held(&mut self) -> Vec<Record> {
        self.marks += 1;
        let mark = self.marks.to_string();
        self.listener.publish("mark", &mark).await;
        self.listener.until_last("mark", &mark).await;
        let mut held: Vec<Record> = Vec::new();
        for line in self.listener.on("kstar/roof/state") {
            let record = record_of_line(&line);
            // The same state again says nothing new.
            if !held.contains(&record) {
                held.push(record);
            }
        }
        held
    }

    async fn go_away(&mut self) {
        self.mosquitto.signal("STOP");
    }

    async fn come_back(&mut self) {
        self.mosquitto.signal("CONT");
    }

    fn policy(&self) -> Policy {
        Policy {
            keep: Keep::Every,
            ..self.config.policy()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mqtt_sink_keeps_the_contract() {
    let mosquitto = Mosquitto::open();
    let listener = Listener::at(mosquitto.port).await;
    let config = mosquitto.config("delivery.timeout = '500ms'");
    conformance(Broker {
        mosquitto,
        listener,
        config,
        marks: 0,
    })
    .await;
}
