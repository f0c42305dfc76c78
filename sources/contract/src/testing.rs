//! What tests of sources need: the conformance suite that every source passes.

#![expect(
    clippy::expect_used,
    reason = "what helps a test may panic like the test itself"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kstar_common::finding::Verdict;
use tokio::net::UdpSocket;

use crate::counts::Counts;
use crate::error::NoAnswer;
use crate::exchange::Patience;
use crate::source::{Asked, Context, Source, SourceConfig, Target};

/// Long enough for a reply on loopback on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is not waited for in vain for long.
const SHORT: Duration = Duration::from_millis(100);

/// How the played inverter treats a request, of which the suite knows the right reply.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Answers,
    Twice,
    Silent,
    /// Half of each reply.
    Torn,
    /// The requests themselves.
    Echo,
    /// The right reply, from another port.
    FromElsewhere,
    /// The right reply, after the time for it is over.
    Late,
    /// Bytes of all kinds, some of them nearly a reply.
    Noise,
}

/// An inverter on a loopback port, which notes what it was sent.
struct Played {
    address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    received: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Played {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Played {
    async fn start(reply: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = UdpSocket::bind(any).await.expect("a port");
        let elsewhere = UdpSocket::bind(any).await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let behaviour = Arc::new(Mutex::new(Behaviour::Answers));
        let received = Arc::<Mutex<BTreeSet<Vec<u8>>>>::default();
        let (how, noted) = (behaviour.clone(), received.clone());
        let task = tokio::spawn(async move {
            let mut buffer = [0; 2048];
            let mut random = 1_u32;
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let request = buffer.get(..length).unwrap_or_default().to_vec();
                locked(&noted).insert(request.clone());
                let how = *locked(&how);
                let Some(right) = reply(&request) else {
                    continue;
                };
                let half = right.get(..right.len() / 2).unwrap_or_default().to_vec();
                let sent = match how {
                    Behaviour::Answers | Behaviour::FromElsewhere | Behaviour::Late => vec![right],
                    Behaviour::Twice => vec![right.clone(), right],
                    Behaviour::Silent => Vec::new(),
                    Behaviour::Torn => vec![half],
                    Behaviour::Echo => vec![request],
                    Behaviour::Noise => noise(&right, &mut random),
                };
                if matches!(how, Behaviour::Late) {
                    tokio::time::sleep(SHORT * 3).await;
                }
                let sender = match how {
                    Behaviour::FromElsewhere => &elsewhere,
                    _ => &socket,
                };
                for datagram in sent {
                    // Who asked may be gone.
                    let _ = sender.send_to(&datagram, from).await;
                }
            }
        });
        Self {
            address,
            behaviour,
            received,
            task,
        }
    }

    fn behave(&self, behaviour: Behaviour) {
        *locked(&self.behaviour) = behaviour;
    }
}

/// Nothing, one byte, the reply with each of some bits turned or bytes left out, and the reply with more behind it.
fn noise(right: &[u8], random: &mut u32) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new(), vec![0], vec![0xff; 1400]];
    for _ in 0..40 {
        *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = *random as usize % right.len().max(1);
        let mut turned = right.to_vec();
        if let Some(byte) = turned.get_mut(at) {
            *byte ^= 1 << (*random >> 29);
        }
        all.push(turned);
        all.push(right.get(..at).unwrap_or_default().to_vec());
    }
    all
}

/// Holds a source to its contract. `reply` gives the right reply to each of its requests.
///
/// # Panics
///
/// Where the source breaks the contract, with what it did.
pub async fn conformance<C: SourceConfig>(
    config: &C,
    reply: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) {
    let blocks = config.blocks();
    assert!(
        blocks.iter().any(|block| block.asked == Asked::EachPoll),
        "nothing is asked at a poll"
    );
    let played = Played::start(reply).await;
    let counts = Arc::new(Counts::new(C::REASONS));
    let context = |timeout, tries| Context {
        target: Target::Host {
            host: played.address.ip().to_string(),
            port: played.address.port(),
        },
        patience: Patience { tries, timeout },
        interval: TIMEOUT,
        fast: true,
    };
    let open = |timeout, tries| config.open(&context(timeout, tries), counts.clone());

    let mut patient = open(TIMEOUT, 1);
    assert_eq!(patient.line(), None, "it is nowhere before it was located");
    let line = patient.locate().await.expect("it is there");
    assert_eq!(line.address, played.address);
    assert_eq!(patient.line(), Some(line));
    assert!(
        locked(&played.received).is_empty(),
        "a first look asks nothing of the inverter"
    );
    for behaviour in [Behaviour::Answers, Behaviour::Twice, Behaviour::Answers] {
        played.behave(behaviour);
        polled(&mut *patient, config).await;
    }
    let identity = patient.identify(Patience {
        tries: 1,
        timeout: TIMEOUT,
    });
    identity.await.expect("it tells who it is");
    // Some families have no settings to tell.
    let _ = patient.settings().await;
    let findings = config
        .probe(&context(TIMEOUT, 1), NonZeroU32::MIN, true)
        .await;
    assert!(
        !findings.is_empty() && findings.iter().all(|one| one.verdict != Verdict::Wrong),
        "nothing is wrong with it: {findings:?}"
    );

    let mut hasty = open(SHORT, 2);
    for behaviour in [
        Behaviour::Silent,
        Behaviour::Torn,
        Behaviour::Echo,
        Behaviour::FromElsewhere,
        Behaviour::Late,
    ] {
        played.behave(behaviour);
        let outcome = hasty.poll().await;
        assert!(
            matches!(outcome, Err(NoAnswer::NoReply { .. })),
            "{behaviour:?}: {outcome:?}"
        );
        assert!(hasty.line().is_some(), "a silence loses no address");
    }
    played.behave(Behaviour::Silent);
    let findings = config
        .probe(&context(SHORT, 1), NonZeroU32::MIN, true)
        .await;
    assert!(
        findings.iter().any(|one| one.verdict == Verdict::Wrong),
        "it does not answer: {findings:?}"
    );
    played.behave(Behaviour::Noise);
    for _ in 0..5 {
        // It may hold a whole reply; what counts is that nothing breaks.
        let _ = hasty.poll().await;
    }
    for reason in counts.rejected().keys() {
        assert!(
            C::REASONS.contains(reason),
            "{reason} is not among the reasons"
        );
    }
    played.behave(Behaviour::Answers);
    polled(&mut *patient, config).await;

    let listed: BTreeSet<Vec<u8>> = blocks.into_iter().map(|block| block.request).collect();
    let sent = locked(&played.received).clone();
    let unlisted: Vec<_> = sent.difference(&listed).collect();
    assert!(unlisted.is_empty(), "sent and not listed: {unlisted:02x?}");
}

/// A poll that is answered has values and the bytes of each block that it needs.
async fn polled(source: &mut dyn Source, config: &impl SourceConfig) {
    let sample = source.poll().await.expect("it answers");
    assert!(sample.values.present().next().is_some(), "no values");
    assert!(sample.values.reply_time.is_some(), "no time of the reply");
    for block in config.blocks() {
        if block.asked == Asked::EachPoll {
            assert!(
                sample.raw.iter().any(|(name, _)| *name == block.name),
                "the bytes of {} are missing",
                block.name
            );
        }
    }
}
