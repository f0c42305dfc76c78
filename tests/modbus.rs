//! Everything goes wrong at once between the Modbus source and each simulated machine, and nothing wrong comes of it.
//!
//! The simulated time stands still, so it is known which registers are right: whatever a sample holds is held against what
//! the same machine says when nothing goes wrong. The simulator's log says what it received, to the byte, and which of its
//! replies were foreign, late or torn. `KSTAR_TEST_POLLS=20000` polls each family and way as often.
//!
//! Datagrams have no sequence number (PROTOCOL-GOODWE-MODBUS 2.1). The simulator's foreign datagram is another block, cut or
//! filled up to the right length, and the content tells it. What content cannot tell, the same block of another machine at
//! the same address or registers that mean nothing in particular, is not sent here: nothing could reject it.

#![cfg(feature = "modbus")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what helps a test may panic like the test itself"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kstar_model::catalogue::{Quantity, Values};
use kstar_simulator::modbus::config::{Config, Family, Via};
use kstar_simulator::modbus::faults::{Fault, Faults};
use kstar_simulator::modbus::framing::rtu_frame;
use kstar_simulator::modbus::record::{Counts as Simulated, Entry, Event, Read, Sent};
use kstar_simulator::modbus::{Running, start};
use kstar_source::counts::Counts;
use kstar_source::exchange::Patience;
use kstar_source::source::{AnySource, Context, Sample, Source, Target};
use kstar_source_modbus::{GoodweDtConfig, GoodweEtConfig, KstarHybridConfig, via};

/// How many polls there are of each family and way where nobody asks for more.
const POLLS: usize = 2_000;

/// So many machines of one kind share the polls, each with its own seed: most of the time goes by waiting.
const MACHINES: usize = 40;

/// Longer than the pieces of a torn reply take; the delays end on both sides of it.
const TIMEOUT: Duration = Duration::from_millis(120);
const ONCE: Patience = Patience {
    tries: 1,
    timeout: TIMEOUT,
};

/// Where nothing goes wrong, and forty machines make their weather at once.
const UNHURRIED: Duration = Duration::from_secs(20);
const FAULTS: &str = "all=0.05,delay=0.05:10ms..300ms";

/// One family by one way.
struct Scene {
    family: Family,
    via: Via,
    source: fn(Option<u32>) -> AnySource,
    /// Reasons to reject, and the faults that must be rejected for them.
    reasons: &'static [(&'static str, &'static [Fault])],
}

/// All that may ever be asked of a family: function, first register and count, once more from PROTOCOL-SOLARMAN 4 and
/// PROTOCOL-GOODWE-MODBUS 3.
type Reads = &'static [(u8, u16, u16)];

#[rustfmt::skip]
const KSTAR: Reads = &[
    (4, 3000, 125), (4, 3125, 29), (4, 3292, 10), (4, 3450, 1), (4, 3494, 1), (4, 3538, 1), (3, 3200, 18), (4, 3228, 11), (4, 3193, 1),
];

#[rustfmt::skip]
const ET: Reads = &[
    (3, 35100, 125), (3, 36000, 125), (3, 36000, 58), (3, 36000, 45), (3, 37000, 24), (3, 35262, 6), (3, 39000, 22), (3, 35000, 33),
];

const DT: Reads = &[
    (3, 30100, 73),
    (3, 30195, 15),
    (3, 30001, 40),
    (3, 40173, 8),
];

const V5_REASONS: &[(&str, &[Fault])] = &[
    ("heartbeat", &[Fault::Heartbeat, Fault::HeartbeatBefore]),
    ("other_request", &[Fault::Foreign, Fault::Glued]),
    ("text", &[Fault::Text]),
    ("no_frame", &[Fault::Noise]),
    ("crc", &[Fault::Crc]),
    ("checksum", &[Fault::Checksum]),
    ("truncated", &[]),
    ("other_length", &[]),
    ("push", &[]),
    ("other_logger", &[]),
];

const TCP_REASONS: &[(&str, &[Fault])] = &[("other_request", &[Fault::Foreign])];

const RTU_REASONS: &[(&str, &[Fault])] = &[("crc", &[]), ("no_frame", &[])];

const UDP_REASONS: &[(&str, &[Fault])] = &[
    ("crc", &[Fault::Crc]),
    ("truncated", &[]),
    ("no_frame", &[]),
    ("other_block", &[]),
];

impl Scene {
    fn config(&self, seed: u64) -> Config {
        let mut config = Config::new(self.family, seed);
        config.via = self.via;
        config.speed = 0.0;
        config.discovery = None;
        config
    }

    /// The same under every fault.
    fn harsh(&self, seed: u64) -> Config {
        let mut config = self.config(seed);
        config.log_capacity = 1_000_000;
        config.faults = Faults::parse(self.via, FAULTS).expect("faults");
        if self.via == Via::Solarman {
            config.stick.heartbeat_every = Some(Duration::from_millis(170));
            config.stick.push_every = Some(Duration::from_millis(310));
            config.stick.reset_every = Some(Duration::from_millis(2900));
        }
        config
    }

    fn open(
        &self,
        machine: &Running,
        logger_serial: Option<u32>,
        timeout: Duration,
    ) -> (Box<dyn Source>, Arc<Counts>) {
        let source = (self.source)(logger_serial);
        let counts = Arc::new(source.counts());
        let address = machine.data_address();
        let context = Context {
            target: Target::Host {
                host: address.ip().to_string(),
                port: address.port(),
            },
            patience: Patience { tries: 3, timeout },
            interval: Duration::from_secs(5),
            fast: true,
        };
        (source.open(&context, Arc::clone(&counts)), counts)
    }

    /// The registers of an accepted reply, as bytes.
    fn data<'a>(&self, reply: &'a [u8]) -> &'a [u8] {
        let unit = match self.via {
            Via::Udp => 2,
            Via::Solarman => 25,
            Via::ModbusTcp => 6,
            Via::RtuOverTcp => 0,
        };
        let length = usize::from(reply[unit + 2]);
        &reply[unit + 3..unit + 3 + length]
    }

    fn asked(&self) -> Reads {
        match self.family {
            Family::KstarHybrid => KSTAR,
            Family::GoodweEt => ET,
            Family::GoodweDt => DT,
        }
    }

    fn name(&self) -> String {
        format!("{:?} by {:?}", self.family, self.via)
    }
}

/// What the machine says while nothing goes wrong: values, and the registers of each block.
struct Right {
    values: Values,
    blocks: BTreeMap<&'static str, Vec<u8>>,
}

async fn right(scene: &Scene, seed: u64) -> Right {
    let machine = start(scene.config(seed)).await.expect("a machine");
    let (mut source, _) = scene.open(&machine, None, UNHURRIED);
    let sample = source.poll().await.expect("nothing goes wrong");
    let blocks = sample
        .raw
        .iter()
        .map(|(name, reply)| (*name, scene.data(reply).to_vec()))
        .collect();
    Right {
        values: sample.values,
        blocks,
    }
}

/// What a campaign against one kind of machine has brought.
#[derive(Debug, Default)]
struct Outcome {
    samples: usize,
    silences: usize,
    requests: u64,
    rejected: BTreeMap<&'static str, u64>,
    missing: BTreeMap<&'static str, u64>,
    sent: BTreeMap<Sent, u64>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.samples += other.samples;
        self.silences += other.silences;
        self.requests += other.requests;
        add(&mut self.rejected, other.rejected);
        add(&mut self.missing, other.missing);
        add(&mut self.sent, other.sent);
    }

    /// That every rejection has a reason which this way can have, and every such fault was rejected for it. A thread that
    /// stood still may have seen some of them too late.
    fn check_reasons(&self, scene: &Scene) {
        for (reason, count) in &self.rejected {
            let known = scene.reasons.iter().any(|(known, _)| known == reason);
            assert!(known || *count == 0, "{}: {count} {reason}", scene.name());
        }
        for (reason, faults) in scene.reasons {
            let sent = |fault: &Fault| self.sent.get(&Sent::Faulty(*fault)).copied();
            let struck: u64 = faults.iter().filter_map(sent).sum();
            let counted = self.rejected.get(reason).copied().unwrap_or(0);
            assert!(
                counted + 2 + struck / 10 >= struck,
                "{}: {counted} rejected as {reason}, {struck} sent: {self:?}",
                scene.name()
            );
        }
    }
}

fn add<K: Ord>(sum: &mut BTreeMap<K, u64>, other: BTreeMap<K, u64>) {
    for (key, count) in other {
        *sum.entry(key).or_default() += count;
    }
}

/// Polls one machine under every fault, and looks at each sample.
async fn campaign(scene: &'static Scene, seed: u64, polls: usize) -> Outcome {
    let right = right(scene, seed).await;
    let machine = start(scene.harsh(seed)).await.expect("a machine");
    // Known, learnt, and wrong so that the right one has to be learnt.
    let logger = match (scene.via, seed % 3) {
        (Via::Solarman, 0) => Some(machine.config().logger_serial),
        (Via::Solarman, 1) => Some(machine.config().logger_serial ^ 0x0101),
        _ => None,
    };
    let (mut source, counts) = scene.open(&machine, logger, TIMEOUT);
    let mut outcome = Outcome::default();
    let mut last = None;
    for number in 0..polls {
        let before = counts.missing();
        let accepted = counts.accepted.load(Ordering::Relaxed);
        match source.poll().await {
            Ok(sample) => {
                outcome.samples += 1;
                let replies = counts.accepted.load(Ordering::Relaxed) - accepted;
                assert!(
                    last < Some(sample.at) && replies >= sample.raw.len() as u64,
                    "no reading twice"
                );
                last = Some(sample.at);
                check_missing(scene, &sample, &before, &counts.missing());
                check_sample(scene, &sample, &right);
            }
            Err(_) => outcome.silences += 1,
        }
        if number % 10 == 0
            && let Ok(identity) = source.identify(ONCE).await
        {
            let of = machine.config();
            let is_wrong =
                |told: Option<String>, right: &str| told.is_some_and(|told| told != right);
            assert!(!is_wrong(identity.serial, &of.serial), "not {}", of.serial);
            assert!(!is_wrong(identity.model, &of.model), "not {}", of.model);
        }
    }
    let requests = counts.requests.load(Ordering::Relaxed);
    let connections = counts.connections.load(Ordering::Relaxed);
    drop(source);
    assert_eq!(machine.missed(), 0, "the log is whole");
    let (simulated, log) = machine.stop().await;
    let accepted = counts.accepted.load(Ordering::Relaxed);
    let unanswered = counts.unanswered.load(Ordering::Relaxed);
    assert!(
        (requests..=requests + 3).contains(&(accepted + unanswered)),
        "each request ends once"
    );
    check_received(scene, seed, &simulated, &log, connections);
    outcome.requests = requests;
    outcome.rejected = counts.rejected();
    outcome.missing = counts.missing();
    outcome.sent = simulated.sent;
    outcome
}

/// That a block which a sample lacks was counted, and none else.
fn check_missing(
    scene: &Scene,
    sample: &Sample,
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
) {
    let came: BTreeSet<&str> = sample.raw.iter().map(|(name, _)| *name).collect();
    for (name, count) in after {
        let more = count - before.get(name).copied().unwrap_or(0);
        let is_here = came.contains(name);
        assert!(
            more == 0 || (more == 1 && !is_here),
            "{}: {name}",
            scene.name()
        );
    }
}

/// That every register of a sample is right, and every value made of them.
fn check_sample(scene: &Scene, sample: &Sample, right: &Right) {
    for (name, reply) in &sample.raw {
        let expected = right.blocks.get(name).map(Vec::as_slice);
        assert_eq!(
            Some(scene.data(reply)),
            expected,
            "{}: {name}",
            scene.name()
        );
    }
    for (quantity, value) in sample.values.present() {
        let is_ours = quantity == Quantity::reply_time;
        let is_right = sample.values.raw(quantity) == right.values.raw(quantity);
        assert!(
            is_ours || is_right,
            "{}: {quantity} is {value}",
            scene.name()
        );
    }
}

/// That nothing came to the machine but reads of the closed list, each byte of which is as it must be.
fn check_received(
    scene: &Scene,
    seed: u64,
    simulated: &Simulated,
    log: &[Entry],
    connections: u64,
) {
    let logger = scene.config(seed).logger_serial;
    assert_eq!(simulated.opened, connections, "{}", scene.name());
    check_connections(scene, log);
    assert_eq!(
        (simulated.unexpected, simulated.greetings, simulated.aa55),
        (0, 0, 0)
    );
    for entry in log {
        match entry.event {
            Event::Asked { read, .. } => {
                let asked = (read.function, read.first, read.count);
                assert!(scene.asked().contains(&asked), "{read:?}");
                check_bytes(scene, &entry.bytes, read, logger);
            }
            Event::Opened | Event::Closed | Event::Sent { .. } | Event::Withheld { .. } => {}
            other => panic!("{}: {other:?}", scene.name()),
        }
    }
}

/// That one connection was open at a time. On a busy machine the end of one is noticed a moment after the next was opened.
fn check_connections(scene: &Scene, log: &[Entry]) {
    let mut open: Vec<&Entry> = Vec::new();
    for entry in log {
        match entry.event {
            Event::Opened => open.push(entry),
            Event::Closed => open.retain(|opened| opened.peer != entry.peer),
            _ => {}
        }
        if let [.., _, last] = open[..] {
            assert!(entry.at - last.at < TIMEOUT, "{}: {open:?}", scene.name());
        }
    }
}

/// The one form that a request has, with the holes that it may have.
fn check_bytes(scene: &Scene, bytes: &[u8], read: Read, logger: u32) {
    let [first, count] = [read.first, read.count].map(u16::to_be_bytes);
    let modbus = [
        &[scene.family.usual_unit(), read.function][..],
        &first,
        &count,
    ]
    .concat();
    let rtu = rtu_frame(modbus[0], &modbus[1..]);
    match scene.via {
        Via::Udp | Via::RtuOverTcp => assert_eq!(bytes, rtu),
        Via::ModbusTcp => assert_eq!(bytes[2..], [&[0, 0, 0, 6][..], &modbus].concat()),
        Via::Solarman => {
            assert_eq!(bytes.len(), 36);
            assert_eq!(
                bytes[..5],
                [0xa5, 23, 0, 0x10, 0x45],
                "start, length, control"
            );
            assert_eq!(bytes[6], 0, "the stick's part of the sequence");
            let serial = u32::from_le_bytes([bytes[7], bytes[8], bytes[9], bytes[10]]);
            assert!([0, logger, logger ^ 0x0101].contains(&serial), "{serial}");
            assert_eq!(bytes[11..26], [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(bytes[26..34], rtu);
            let sum = bytes[1..34]
                .iter()
                .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            assert_eq!(bytes[34..], [sum, 0x15], "checksum and end");
        }
    }
}

async fn play(scene: &'static Scene) -> Outcome {
    let polls =
        std::env::var("KSTAR_TEST_POLLS").map_or(POLLS, |polls| polls.parse().expect("a number"));
    let mut tasks = tokio::task::JoinSet::new();
    for seed in 0..MACHINES {
        tasks.spawn(campaign(scene, seed as u64, polls.div_ceil(MACHINES)));
    }
    let mut sum = Outcome::default();
    while let Some(outcome) = tasks.join_next().await {
        sum.add(outcome.expect("a campaign that ends well"));
    }
    sum.check_reasons(scene);
    assert!(
        sum.samples * 4 > polls,
        "{}: only {} samples",
        scene.name(),
        sum.samples
    );
    sum
}

static SCENES: [Scene; 6] = [
    Scene {
        family: Family::KstarHybrid,
        via: Via::Solarman,
        source: |logger_serial| {
            let mut config = KstarHybridConfig::new(Some(via::Via::Solarman));
            config.logger_serial = logger_serial;
            AnySource::new(config)
        },
        reasons: V5_REASONS,
    },
    Scene {
        family: Family::KstarHybrid,
        via: Via::ModbusTcp,
        source: |_| AnySource::new(KstarHybridConfig::new(Some(via::Via::ModbusTcp))),
        reasons: TCP_REASONS,
    },
    Scene {
        family: Family::GoodweEt,
        via: Via::Udp,
        source: |_| AnySource::new(GoodweEtConfig::new(Some(via::Via::Udp))),
        reasons: UDP_REASONS,
    },
    Scene {
        family: Family::GoodweEt,
        via: Via::ModbusTcp,
        source: |_| AnySource::new(GoodweEtConfig::new(Some(via::Via::ModbusTcp))),
        reasons: TCP_REASONS,
    },
    Scene {
        family: Family::GoodweDt,
        via: Via::Udp,
        source: |_| AnySource::new(GoodweDtConfig::new(Some(via::Via::Udp))),
        reasons: UDP_REASONS,
    },
    Scene {
        family: Family::GoodweDt,
        via: Via::RtuOverTcp,
        source: |_| AnySource::new(GoodweDtConfig::new(Some(via::Via::RtuOverTcp))),
        reasons: RTU_REASONS,
    },
];

macro_rules! campaigns {
    ($($name:ident: $scene:literal;)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let outcome = play(&SCENES[$scene]).await;
            println!("{}: {outcome:?}", SCENES[$scene].name());
        }
    )+};
}

campaigns! {
    a_kstar_hybrid_behind_a_stick_is_read_right_under_every_fault: 0;
    a_kstar_hybrid_over_modbus_tcp_is_read_right_under_every_fault: 1;
    a_goodwe_et_in_datagrams_is_read_right_under_every_fault: 2;
    a_goodwe_et_over_modbus_tcp_is_read_right_under_every_fault: 3;
    a_goodwe_dt_in_datagrams_is_read_right_under_every_fault: 4;
    a_goodwe_dt_behind_a_gateway_is_read_right_under_every_fault: 5;
}
