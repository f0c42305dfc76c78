//! What tests of sources need: the conformance suite that every source passes.

#![expect(
    clippy::expect_used,
    reason = "what helps a test may panic like the test itself"
)]

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use kstar_common::finding::Verdict;

use played::{Behaviour, Played};

mod played;

use crate::counts::Counts;
use crate::error::NoAnswer;
use crate::exchange::Patience;
use crate::source::{Asked, Context, Source, SourceConfig, Target};

/// Long enough for a reply on loopback on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is not waited for in vain for long.
const SHORT: Duration = Duration::from_millis(100);

/// The link that a source uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// UDP.
    Datagrams,
    /// TCP.
    Stream,
}

/// A request that the played inverter got.
#[derive(Clone, Debug)]
pub struct Request {
    /// Without the framing: what stands in [`Block::request`](crate::source::Block::request).
    pub request: Vec<u8>,
    /// As it came.
    pub whole: Vec<u8>,
}

/// The inverter's side of a framing. A test writes it from the protocol's description, not with the source's own code.
pub trait Wire: Send {
    /// Takes a request out of the bytes that came, if there is a whole one. It panics on anything that must not be sent.
    fn take(&mut self, received: &mut Vec<u8>) -> Option<Request>;

    /// The reply that holds this answer.
    fn reply(&mut self, request: &Request, answer: &[u8]) -> Vec<u8>;

    /// What may come and is no reply to this request, though like it: another client's, an old one, a heartbeat.
    fn strangers(&mut self, _request: &Request, _answer: &[u8]) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// The answer of a machine that does not have what it is asked for, where the protocol has one.
    fn lacking(&self, _request: &Request) -> Option<Vec<u8>> {
        None
    }
}

/// No framing: a datagram is a request, and so is its reply.
struct Bare;

impl Wire for Bare {
    fn take(&mut self, received: &mut Vec<u8>) -> Option<Request> {
        let whole = std::mem::take(received);
        Some(Request {
            request: whole.clone(),
            whole,
        })
    }

    fn reply(&mut self, _request: &Request, answer: &[u8]) -> Vec<u8> {
        answer.to_vec()
    }
}

/// Holds a source that asks by bare datagrams to its contract. `reply` gives the right reply to each of its requests.
///
/// # Panics
///
/// Where the source breaks the contract, with what it did.
pub async fn conformance<C: SourceConfig>(
    config: &C,
    reply: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
) {
    conformance_over(config, Link::Datagrams, Bare, reply).await;
}

/// Holds a source to its contract, over its link and in its framing. `answer` gives the right answer to each of its requests,
/// both without the framing.
///
/// # Panics
///
/// Where the source breaks the contract, with what it did.
pub async fn conformance_over<C: SourceConfig>(
    config: &C,
    link: Link,
    wire: impl Wire + 'static,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
) {
    let blocks = config.blocks();
    assert!(
        blocks.iter().any(|block| block.asked == Asked::EachPoll),
        "nothing is asked at a poll"
    );
    let needed = blocks
        .iter()
        .filter(|block| block.asked == Asked::EachPoll)
        .map(|block| block.request.clone());
    let played = Played::start(link, Box::new(wire), needed.collect(), answer).await;
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
    let found = patient.locate().await.expect("it is there");
    assert_eq!(found.address, played.address);
    assert_eq!(patient.line(), Some(found));
    assert!(
        played.received().is_empty(),
        "a first look asks nothing of the inverter"
    );
    let stream = link == Link::Stream;
    for (behaviour, holds) in [
        (Behaviour::Answers, true),
        (Behaviour::Twice, true),
        (Behaviour::InPieces, stream),
        (Behaviour::StrangersFirst, true),
        (Behaviour::Answers, true),
    ] {
        if holds {
            played.behave(behaviour);
            polled(&mut *patient, config, behaviour).await;
        }
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

    lacking(config, &played, open(TIMEOUT, 1)).await;

    let mut hasty = open(SHORT, 2);
    silences(&mut *hasty, &played, link).await;
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
    // What is left of the noise may cost a stream one try.
    polled(&mut *open(TIMEOUT, 2), config, Behaviour::Noise).await;

    let listed: BTreeSet<Vec<u8>> = blocks.into_iter().map(|block| block.request).collect();
    let sent = played.received();
    let unlisted: Vec<_> = sent.difference(&listed).collect();
    assert!(unlisted.is_empty(), "sent and not listed: {unlisted:02x?}");
    assert_eq!(
        played.most_open(),
        usize::from(stream),
        "connections open at once"
    );
}

/// Whatever is no reply to us is a silence, and loses no address.
async fn silences(hasty: &mut dyn Source, played: &Played, link: Link) {
    let (datagrams, stream) = (link == Link::Datagrams, link == Link::Stream);
    for (behaviour, holds) in [
        (Behaviour::Silent, true),
        (Behaviour::Torn, true),
        (Behaviour::Echo, true),
        (Behaviour::FromElsewhere, datagrams),
        (Behaviour::Late, true),
        (Behaviour::Strangers, true),
        (Behaviour::Closes, stream),
    ] {
        if !holds {
            continue;
        }
        played.behave(behaviour);
        let outcome = hasty.poll().await;
        let is_silence = match &outcome {
            Err(NoAnswer::NoReply { .. }) => true,
            Err(NoAnswer::Disconnected { .. }) => stream,
            _ => false,
        };
        assert!(is_silence, "{behaviour:?}: {outcome:?}");
        assert!(hasty.line().is_some(), "a silence loses no address");
    }
}

/// A machine may lack each block that is not needed; it is then not asked for it again.
async fn lacking(config: &impl SourceConfig, played: &Played, mut source: Box<dyn Source>) {
    let optional: BTreeSet<Vec<u8>> = config
        .blocks()
        .into_iter()
        .filter(|block| matches!(block.asked, Asked::IfAvailable | Asked::EachMinute))
        .map(|block| block.request)
        .collect();
    if optional.is_empty() {
        return;
    }
    played.behave(Behaviour::Lacking);
    source.poll().await.expect("the needed blocks suffice");
    played.forget();
    source.poll().await.expect("the needed blocks suffice");
    let again: Vec<_> = played.received().intersection(&optional).cloned().collect();
    assert!(again.is_empty(), "asked for again: {again:02x?}");
}

/// A poll that is answered has values and the bytes of each block that it needs.
async fn polled(source: &mut dyn Source, config: &impl SourceConfig, behaviour: Behaviour) {
    let outcome = source.poll().await;
    assert!(outcome.is_ok(), "{behaviour:?}: it answers: {outcome:?}");
    let sample = outcome.expect("it answers");
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
