//! What the tests need around the sink: a broker that can be killed, one who listens, and a driver.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kstar_model::reading::{Inverter, Reading};
use kstar_sink::driver::{Driver, Ended};
use kstar_sink::event::{Event, InverterStatus, Reachability};
use kstar_sink::health::{Health, Snapshot, State};
use kstar_sink::sink::{Context, Sink, SinkConfig};
use kstar_sink_mqtt::{Broker, MqttConfig};
use rumqttc::{AsyncClient, MqttOptions, Packet, QoS};
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A Mosquitto of our own on a free port.
pub(crate) struct Mosquitto {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    child: Option<Child>,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0\n")
}

impl Mosquitto {
    /// One that lets everybody in and forgets everything at its end.
    pub(crate) fn open() -> Self {
        Self::with("allow_anonymous true")
    }

    /// One with these lines in its configuration, where `FOLDER` stands for its folder.
    pub(crate) fn with(lines: &str) -> Self {
        Self::prepared(lines, |_| ())
    }

    /// One whose folder is prepared before it starts.
    pub(crate) fn prepared(lines: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::new().unwrap();
        prepare(folder.path());
        let port = free_port();
        let user = if is_root() { "user root\n" } else { "" };
        let log = if lines.contains("log_type") {
            ""
        } else {
            "log_type all\n"
        };
        let lines = lines.replace("FOLDER", folder.path().to_str().unwrap());
        let config = format!(
            "{user}log_dest file {0}/log\n{log}listener {port} 127.0.0.1\n{lines}\n",
            folder.path().display()
        );
        fs::write(folder.path().join("conf"), config).unwrap();
        let mut broker = Self {
            folder,
            port,
            child: None,
        };
        broker.start();
        broker
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        // Debian keeps it where only root looks.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
        let child = Command::new("mosquitto")
            .env("PATH", path)
            .arg("-c")
            .arg(self.path("conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed; tests/all.sh does that");
        self.child = Some(child);
        for _ in 0..3000 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("mosquitto does not listen: {}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// A configuration for it, with these lines more.
    pub(crate) fn config(&self, lines: &str) -> MqttConfig {
        config(&format!("mqtt://127.0.0.1:{}", self.port), lines)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A configuration of a client that no other test has.
pub(crate) fn config(url: &str, lines: &str) -> MqttConfig {
    let id = if lines.contains("client_id") {
        ""
    } else {
        "client_id = 'kstar-test'\n"
    };
    toml::from_str(&format!("url = '{url}'\n{id}{lines}")).unwrap()
}

pub(crate) fn broker(port: u16) -> Broker {
    Broker::parse(&format!("mqtt://127.0.0.1:{port}")).unwrap()
}

pub(crate) fn context(inverters: &[&str], state_dir: &Path) -> Context {
    Context {
        inverters: inverters.iter().map(|name| (*name).into()).collect(),
        poll_interval: Duration::from_secs(5),
        state_dir: state_dir.to_owned(),
        zone: kstar_model::TimeZone::UTC,
        version: "0.0.0",
    }
}

/// A message that came to a subscriber.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) retained: bool,
    pub(crate) qos: QoS,
    pub(crate) at: Instant,
}

/// A subscriber to everything, who comes back when the broker does.
pub(crate) struct Listener {
    heard: Arc<Mutex<Vec<Heard>>>,
    subscriptions: Arc<Mutex<usize>>,
    client: AsyncClient,
    task: JoinHandle<()>,
}

impl Listener {
    pub(crate) async fn at(port: u16) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut options = MqttOptions::new(format!("listener-{number}"), "127.0.0.1", port);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, 10);
        let mut listener = Self {
            heard: Arc::default(),
            subscriptions: Arc::default(),
            client: client.clone(),
            // Until there is one.
            task: tokio::spawn(async {}),
        };
        let (heard, subscriptions) = (
            Arc::clone(&listener.heard),
            Arc::clone(&listener.subscriptions),
        );
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(rumqttc::Event::Incoming(Packet::ConnAck(_))) => {
                        client.subscribe("#", QoS::ExactlyOnce).await.unwrap();
                    }
                    Ok(rumqttc::Event::Incoming(Packet::SubAck(_))) => {
                        *subscriptions.lock().unwrap() += 1;
                    }
                    Ok(rumqttc::Event::Incoming(Packet::Publish(publish))) => {
                        heard.lock().unwrap().push(Heard {
                            topic: publish.topic,
                            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
                            retained: publish.retain,
                            qos: publish.qos,
                            at: Instant::now(),
                        });
                    }
                    Ok(_) => {}
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
        });
        listener.task = task;
        listener.subscribed(1).await;
        listener
    }

    /// Waits until it has subscribed so often.
    pub(crate) async fn subscribed(&self, times: usize) {
        let begin = Instant::now();
        while *self.subscriptions.lock().unwrap() < times {
            assert!(begin.elapsed() < PATIENCE, "nobody lets us subscribe");
            sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn publish(&self, topic: &str, payload: &str) {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload)
            .await
            .unwrap();
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until everything is heard that the broker had taken before.
    pub(crate) async fn catch_up(&self) {
        let before = self.on("mark").len();
        self.publish("mark", "that is all").await;
        self.until("the mark", |heard| {
            heard.iter().filter(|heard| heard.topic == "mark").count() > before
        })
        .await;
    }

    pub(crate) fn forget(&self) {
        self.heard.lock().unwrap().clear();
    }

    /// The payloads on a topic, in their order.
    pub(crate) fn on(&self, topic: &str) -> Vec<String> {
        self.heard()
            .into_iter()
            .filter(|heard| heard.topic == topic)
            .map(|heard| heard.payload)
            .collect()
    }

    /// When the first message on a topic came.
    pub(crate) async fn when(&self, topic: &str) -> Instant {
        self.until(topic, |heard| {
            heard.iter().any(|heard| heard.topic == topic)
        })
        .await;
        let heard = self.heard();
        let first = heard.iter().find(|heard| heard.topic == topic);
        first.expect("it has come").at
    }

    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&[Heard]) -> bool) {
        let begin = Instant::now();
        loop {
            if reached(&self.heard.lock().unwrap()) {
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "in vain: {what}; heard last: {:?}",
                self.heard().iter().rev().take(5).collect::<Vec<_>>()
            );
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the newest word on a topic is this.
    pub(crate) async fn until_last(&self, topic: &str, payload: &str) {
        self.until(&format!("{topic} = {payload}"), |heard| {
            heard
                .iter()
                .rfind(|heard| heard.topic == topic)
                .is_some_and(|heard| heard.payload == payload)
        })
        .await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a broker has retained, by topic.
pub(crate) async fn retained(port: u16) -> std::collections::BTreeMap<String, String> {
    let listener = Listener::at(port).await;
    // What is retained comes before what is published after the subscription.
    listener.catch_up().await;
    listener
        .heard()
        .into_iter()
        .filter(|heard| heard.retained)
        .map(|heard| (heard.topic.clone(), heard.payload.clone()))
        .collect()
}

/// A sink in its driver.
pub(crate) struct Running {
    events: broadcast::Sender<Event>,
    pub(crate) health: Arc<Health>,
    driver: JoinHandle<Ended>,
}

impl Running {
    pub(crate) fn start(config: &MqttConfig, context: &Context) -> Self {
        Self::of(config.open(context).unwrap(), config)
    }

    pub(crate) fn of(sink: Box<dyn Sink>, config: &MqttConfig) -> Self {
        let (events, receiver) = broadcast::channel(1024);
        let health = Arc::new(Health::new("mqtt"));
        let driver = Driver::new(sink, config.policy(), Arc::clone(&health));
        let driver = tokio::spawn(driver.run(receiver, std::future::pending()));
        Self {
            events,
            health,
            driver,
        }
    }

    pub(crate) fn send(&self, reading: Arc<Reading>) {
        self.events.send(Event::Reading(reading)).unwrap();
    }

    pub(crate) fn status(&self, inverter: &str, reachability: Reachability) {
        let inverter = Inverter::named(inverter);
        let status = InverterStatus::new(inverter, reachability);
        self.events.send(Event::Status(Arc::new(status))).unwrap();
    }

    /// Anything else that goes over the channel.
    pub(crate) fn event(&self, event: Event) {
        self.events.send(event).unwrap();
    }

    pub(crate) fn now(&self) -> Snapshot {
        self.health.snapshot()
    }

    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let begin = Instant::now();
        loop {
            let now = self.now();
            if reached(&now) {
                return now;
            }
            assert!(begin.elapsed() < PATIENCE, "in vain: {what}; {now:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until so many readings are delivered.
    pub(crate) async fn delivered(&self, count: u64) {
        self.until("readings are delivered", |now| {
            now.counts.delivered >= count && now.state == State::Up
        })
        .await;
    }

    /// The reason for which it is down, as soon as it is.
    pub(crate) async fn down(&self) -> String {
        let now = self
            .until("it is down", |now| matches!(now.state, State::Down { .. }))
            .await;
        match now.state {
            State::Down { reason } => reason,
            _ => unreachable!(),
        }
    }

    /// Every reason for which it is down in that time, in their order.
    pub(crate) async fn reasons(&self, during: Duration) -> Vec<String> {
        let mut reasons = vec![self.down().await];
        let begin = Instant::now();
        while begin.elapsed() < during {
            if let State::Down { reason } = self.now().state
                && reasons.last() != Some(&reason)
            {
                reasons.push(reason);
            }
            sleep(Duration::from_millis(2)).await;
        }
        reasons
    }

    /// Ends it in order.
    pub(crate) async fn end(self) {
        assert_eq!(self.ended().await, Ended::Drained);
    }

    /// Gives the order to stop, and how it came to its end.
    pub(crate) async fn ended(self) -> Ended {
        drop(self.events);
        let ended = timeout(PATIENCE, self.driver).await;
        ended.expect("it ends in time").unwrap()
    }

    /// Ends it as SIGKILL would.
    pub(crate) async fn kill(self) {
        self.driver.abort();
        let _ = self.driver.await;
    }
}
