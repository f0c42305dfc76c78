//! The contract: what a source is and what it promises.
//!
//! A source has no schedule, no back-off, no wall clock and no channel: the [poller](crate::poller) has them, once for all
//! sources. A source finds its inverter, asks, and decodes. It only ever reads: what it may send is a closed list.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kstar_common::finding::Finding;
use kstar_common::host::with_port;
use kstar_model::catalogue::{Quantity, Values};
use kstar_model::scalar::Scalar;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::counts::Counts;
use crate::error::NoAnswer;
use crate::exchange::Patience;
use crate::explain::{RecordedBlock, RecordedReply};
use crate::record::Record;
use crate::recording::{self, Anatomy};
use crate::rule::Rule;
use crate::way::{Key, Pace, Way};

/// A source's own part of a section `[[inverter]]`, and how a source is made from it.
///
/// Implementations derive `Deserialize` with `deny_unknown_fields`; the doc comments of the fields are the documentation
/// that users read. The keys that every inverter has (`name`, `host`, `poll_interval` and so on) are not among them.
#[async_trait]
pub trait SourceConfig:
    DeserializeOwned + Default + PartialEq + fmt::Debug + Send + Sync + 'static
{
    /// The name of the cargo feature and of the folder.
    const NAME: &'static str;

    /// The port where such an inverter answers, unless the configuration names another.
    const PORT: u16;

    /// The same where it depends on the source's own keys.
    fn port(&self) -> u16 {
        Self::PORT
    }

    /// The configurations that are worth trying at an inverter of which nothing is known, the most likely one first.
    fn ways() -> Vec<Way<Self>> {
        let config = Self::default();
        let port = config.port();
        vec![Way { config, port }]
    }

    /// The source's own keys with their values, as far as they say how the inverter is reached.
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }

    /// How often and how patiently such an inverter is asked where nothing is configured.
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// Every reason for which something that came is rejected, as counts and metrics name it.
    const REASONS: &'static [&'static str];

    /// What is asked of such an inverter: nothing else is ever sent to it.
    fn blocks(&self) -> Vec<Block>;

    /// What bytes are made of that came after a request for a block, for a recording. By default they are the reply, and
    /// nothing is known of them.
    fn anatomy(&self, _request: &[u8], bytes: &[u8]) -> Anatomy {
        Anatomy::of_payload(bytes)
    }

    /// What recorded replies mean, block by block; nothing where each reply explains itself.
    fn explain_recorded(&self, _replies: &[RecordedReply]) -> Vec<RecordedBlock> {
        Vec::new()
    }

    /// What a sample would hold of these replies, which belong to one poll: for a demonstration's past. The time that they
    /// took is left to the caller. Nothing if a block is missing that is needed, or where nobody plays the family.
    fn decode(&self, _replies: &[RecordedReply]) -> Option<Values> {
        None
    }

    /// How such an inverter is asked, in a few words for people, like `asked as 0xB0`.
    fn describe(&self) -> String;

    /// What such a machine can be.
    fn profile(&self) -> Profile;

    /// Makes the source. It does not touch the network, so that an inverter which is away at the start is an ordinary
    /// silence.
    fn open(&self, context: &Context, counts: Arc<Counts>) -> Box<dyn Source>;

    /// Looks at the inverter for somebody who waits, with so many polls: where it is, whether anybody else polls it, whether
    /// it answers, and how well. `force` asks it even while another process polls it.
    async fn probe(&self, context: &Context, polls: NonZeroU32, force: bool) -> Vec<Finding>;
}

/// Where an inverter is, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Where it is.
    pub target: Target,
    /// How often and how long a reply is waited for.
    pub patience: Patience,
    /// How long a poll may take: the time to the next one. Blocks that are not needed and not reached are missing.
    pub interval: Duration,
    /// Whether it can take requests without a pause, as a simulated one does.
    pub fast: bool,
}

/// Where an inverter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// At a name or address.
    Host {
        /// The name or address.
        host: String,
        /// The port where it answers.
        port: u16,
    },
    /// Wherever an answer to the greeting comes from.
    Discovered {
        /// Where the greeting is sent; everybody if empty.
        greeted: Vec<SocketAddr>,
    },
}

impl Target {
    /// For people; the port only where it is another than this.
    pub fn text(&self, usual_port: u16) -> String {
        match self {
            Self::Host { host, port } if *port == usual_port => host.clone(),
            Self::Host { host, port } => with_port(host, *port),
            Self::Discovered { .. } => "discovered by broadcast".to_owned(),
        }
    }
}

/// Where an inverter was found: what its lock is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The address where it answers.
    pub address: SocketAddr,
    /// Which of those that answer there it is, where there may be several.
    pub unit: Option<u8>,
}

impl Line {
    /// To an inverter that is alone at its address.
    pub fn to(address: SocketAddr) -> Self {
        Self {
            address,
            unit: None,
        }
    }
}

/// With the unit if there is one.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        self.unit.map_or(Ok(()), |unit| write!(f, " unit {unit}"))
    }
}

/// A part of what an inverter tells, with the request for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it holds.
    pub name: &'static str,
    /// The bytes that are sent for it, without what a framing puts around them and changes with each request.
    pub request: Vec<u8>,
    /// When it is asked for.
    pub asked: Asked,
}

/// When a block is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// At each poll; without it there is no sample.
    EachPoll,
    /// At each poll, if the machine has it; without it its values are missing.
    IfAvailable,
    /// Each minute; its values ride along with each sample until they are too old.
    EachMinute,
    /// To learn who the inverter is.
    ForIdentity,
    /// On demand of a person.
    OnDemand,
}

/// What a machine can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The most power on its AC side, in watts, unless the configuration says otherwise.
    pub max_power: u32,
    /// The most that the house takes or gives, in watts.
    pub house_power: u32,
    /// Where its values differ from the usual ranges. What holds for a quantity also holds for its phases, and what holds
    /// for PV string 1 or the battery for the others, unless they have bounds of their own.
    pub bounds: &'static [Bound],
    /// The rules that do not hold for it.
    pub off: &'static [Rule],
    /// Whether its `load_energy_total` counts all that the house uses, its back-up output included, so that gaps in the
    /// consumption are bridged by it.
    pub load_energy_is_consumption: bool,
    /// Whether it is silent by night, as a string inverter is, unless the configuration says otherwise.
    pub sleeps_at_night: bool,
}

impl Profile {
    /// A machine of this power on a single phase with a battery of 48 V, for which everything usual holds.
    pub const fn of(max_power: u32) -> Self {
        Self {
            max_power,
            house_power: 20_000,
            bounds: &[],
            off: &[],
            load_energy_is_consumption: false,
            sleeps_at_night: false,
        }
    }
}

/// The values of one quantity that such a machine can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Which.
    pub quantity: Quantity,
    /// The lowest, in the quantity's unit.
    pub lowest: i64,
    /// The highest, in the quantity's unit.
    pub highest: i64,
    /// Whether 0 is possible besides: nothing is connected.
    pub or_zero: bool,
}

impl Bound {
    /// From the lowest to the highest, in the quantity's unit.
    pub const fn new(quantity: Quantity, lowest: i64, highest: i64) -> Self {
        Self {
            quantity,
            lowest,
            highest,
            or_zero: false,
        }
    }
}

/// What one poll has brought.
#[derive(Debug)]
pub struct Sample {
    /// The values, among them the time that the reply took.
    pub values: Values,
    /// When its first block came.
    pub at: Instant,
    /// From the first request to the last reply.
    pub took: Duration,
    /// The bytes of each block that came, by the block's name: for the quarantine and bug reports.
    pub raw: Vec<(&'static str, Box<[u8]>)>,
}

impl Sample {
    /// A sample, whose values hold the time that the reply took from now on.
    pub fn new(
        mut values: Values,
        at: Instant,
        took: Duration,
        raw: Vec<(&'static str, Box<[u8]>)>,
    ) -> Self {
        values.reply_time = i64::try_from(took.as_millis())
            .ok()
            .and_then(Scalar::from_raw);
        Self {
            values,
            at,
            took,
            raw,
        }
    }
}

/// Who an inverter is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its serial number, if it tells one.
    pub serial: Option<String>,
    /// Its model, if it tells one.
    pub model: Option<String>,
    /// The versions of its firmware in one text, if it tells any.
    pub firmware: Option<String>,
    /// All that it tells of itself.
    pub record: Record,
}

/// What asks one inverter. The caller makes one request at a time, so a source needs no locks. Each call may be dropped at
/// any of its await points; what was under way is then lost.
#[async_trait]
pub trait Source: Send {
    /// Finds the inverter: resolves its name or searches for it; where it was found before, it is woken and looked for
    /// again. What was known before stays if nothing better is found.
    async fn locate(&mut self) -> Result<Line, NoAnswer>;

    /// Where it is, as far as that is known.
    fn line(&self) -> Option<Line>;

    /// How it is reached, where that has turned out to be another way than the configured one: the source's own keys as they
    /// should be.
    fn turned_out(&self) -> Option<Vec<Key>> {
        None
    }

    /// Asks for the values as they are now; locates it first where that was not done.
    async fn poll(&mut self) -> Result<Sample, NoAnswer>;

    /// Asks who it is.
    async fn identify(&mut self, patience: Patience) -> Result<Identity, NoAnswer>;

    /// Asks how it is set.
    async fn settings(&mut self) -> Result<Record, NoAnswer> {
        Err(NoAnswer::Unsupported(
            "the settings of this family cannot be read",
        ))
    }

    /// Asks for each block once, also for those that the inverter may not have, for the sake of the bytes alone. It fails
    /// if there are no values.
    async fn survey(&mut self, patience: Patience) -> Result<(), NoAnswer> {
        recording::survey(self, patience).await
    }
}

/// The configuration of a source, whatever its type.
#[derive(Clone)]
pub struct AnySource(Arc<dyn Erased>);

#[async_trait]
trait Erased: fmt::Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn port(&self) -> u16;
    fn keys(&self) -> Vec<Key>;
    fn pace(&self) -> Pace;
    fn reasons(&self) -> &'static [&'static str];
    fn blocks(&self) -> Vec<Block>;
    fn anatomy(&self, request: &[u8], bytes: &[u8]) -> Anatomy;
    fn explain_recorded(&self, replies: &[RecordedReply]) -> Vec<RecordedBlock>;
    fn decode(&self, replies: &[RecordedReply]) -> Option<Values>;
    fn describe(&self) -> String;
    fn profile(&self) -> Profile;
    fn open(&self, context: &Context, counts: Arc<Counts>) -> Box<dyn Source>;
    async fn probe(&self, context: &Context, polls: NonZeroU32, force: bool) -> Vec<Finding>;
    fn equals(&self, other: &dyn Erased) -> bool;
    fn as_any(&self) -> &dyn Any;
}

#[async_trait]
impl<T: SourceConfig> Erased for T {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn port(&self) -> u16 {
        SourceConfig::port(self)
    }

    fn keys(&self) -> Vec<Key> {
        SourceConfig::keys(self)
    }

    fn pace(&self) -> Pace {
        SourceConfig::pace(self)
    }

    fn reasons(&self) -> &'static [&'static str] {
        T::REASONS
    }

    fn blocks(&self) -> Vec<Block> {
        SourceConfig::blocks(self)
    }

    fn anatomy(&self, request: &[u8], bytes: &[u8]) -> Anatomy {
        SourceConfig::anatomy(self, request, bytes)
    }

    fn explain_recorded(&self, replies: &[RecordedReply]) -> Vec<RecordedBlock> {
        SourceConfig::explain_recorded(self, replies)
    }

    fn decode(&self, replies: &[RecordedReply]) -> Option<Values> {
        SourceConfig::decode(self, replies)
    }

    fn describe(&self) -> String {
        SourceConfig::describe(self)
    }

    fn profile(&self) -> Profile {
        SourceConfig::profile(self)
    }

    fn open(&self, context: &Context, counts: Arc<Counts>) -> Box<dyn Source> {
        SourceConfig::open(self, context, counts)
    }

    async fn probe(&self, context: &Context, polls: NonZeroU32, force: bool) -> Vec<Finding> {
        SourceConfig::probe(self, context, polls, force).await
    }

    fn equals(&self, other: &dyn Erased) -> bool {
        other.as_any().downcast_ref::<T>() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl AnySource {
    /// Of this configuration.
    pub fn new(config: impl SourceConfig) -> Self {
        Self(Arc::new(config))
    }

    /// See [`SourceConfig::ways`].
    pub fn ways<T: SourceConfig>() -> Vec<Way<Self>> {
        let ways = T::ways().into_iter();
        let any = ways.map(|Way { config, port }| Way {
            config: Self::new(config),
            port,
        });
        any.collect()
    }

    /// The source's name.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// See [`SourceConfig::PORT`].
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// See [`SourceConfig::keys`].
    pub fn keys(&self) -> Vec<Key> {
        self.0.keys()
    }

    /// See [`SourceConfig::pace`].
    pub fn pace(&self) -> Pace {
        self.0.pace()
    }

    /// See [`SourceConfig::blocks`].
    pub fn blocks(&self) -> Vec<Block> {
        self.0.blocks()
    }

    /// See [`SourceConfig::anatomy`].
    pub fn anatomy(&self, request: &[u8], bytes: &[u8]) -> Anatomy {
        self.0.anatomy(request, bytes)
    }

    /// See [`SourceConfig::decode`].
    pub fn decode(&self, replies: &[RecordedReply]) -> Option<Values> {
        self.0.decode(replies)
    }

    /// See [`SourceConfig::explain_recorded`].
    pub fn explain_recorded(&self, replies: &[RecordedReply]) -> Vec<RecordedBlock> {
        self.0.explain_recorded(replies)
    }

    /// See [`SourceConfig::describe`].
    pub fn describe(&self) -> String {
        self.0.describe()
    }

    /// See [`SourceConfig::profile`].
    pub fn profile(&self) -> Profile {
        self.0.profile()
    }

    /// Counts that know the source's reasons to reject.
    pub fn counts(&self) -> Counts {
        Counts::new(self.0.reasons())
    }

    /// See [`SourceConfig::open`].
    pub fn open(&self, context: &Context, counts: Arc<Counts>) -> Box<dyn Source> {
        self.0.open(context, counts)
    }

    /// See [`SourceConfig::probe`].
    pub async fn probe(&self, context: &Context, polls: NonZeroU32, force: bool) -> Vec<Finding> {
        self.0.probe(context, polls, force).await
    }
}

impl PartialEq for AnySource {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&*other.0)
    }
}

impl fmt::Debug for AnySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
