//! The contract: what a sink is and what it promises.
//!
//! A sink has no loop, no clock, no channel and no retry. It opens, delivers batches, closes; the
//! [driver](crate::driver) does the rest, once for all sinks. The smallest example is `sinks/stdout`.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use kstar_common::finding::Finding;
use kstar_common::hold::Hold;
use kstar_common::key::KeyError;
use kstar_model::reading::{Reading, Undated};
use serde::de::DeserializeOwned;

use crate::delivery::Policy;
use crate::event::{CollectorStatus, InverterStatus, Price};

/// A sink's section of the configuration, and how a sink is made from it.
///
/// Implementations derive `Deserialize` with `deny_unknown_fields`; the doc comments of the fields are the
/// documentation that users read.
#[async_trait]
pub trait SinkConfig: DeserializeOwned + PartialEq + Send + Sync {
    /// The name of the section, of the cargo feature and of the folder.
    const NAME: &'static str;

    /// How the driver treats this sink.
    fn policy(&self) -> Policy;

    /// Where readings go, in one phrase for people: a path, an address. Never a secret.
    fn destination(&self, context: &Context) -> String;

    /// Whether the text of the section is right, where readings of so many inverters come: what no change around the
    /// program can make work. It reads and asks nothing.
    fn validate(&self, _inverters: usize) -> Result<(), KeyError> {
        Ok(())
    }

    /// Reads what the section names and the sink cannot be without: secrets and certificates. It is called outside the
    /// async runtime's own threads.
    fn resolve(&self) -> Result<(), KeyError> {
        Ok(())
    }

    /// Makes the sink of a section that is [valid](Self::validate). It may read and write files; it does not touch the
    /// network, so that a server which is away at the start is an ordinary outage. It is called outside the async
    /// runtime's own threads, and again after a failure.
    fn open(&self, context: &Context) -> Result<Box<dyn Sink>, Unavailable>;

    /// Whether a sink that is open must be opened anew because the program around it has changed from one to the other.
    /// A sink that heeds nothing of the context stays open.
    fn heeds(&self, before: &Context, after: &Context) -> bool {
        before != after
    }

    /// The files that are named in the section and read when the sink is opened: secrets, certificates. Where the
    /// content of one has changed, a reload opens the sink anew.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Carries over what is kept under an inverter's name to another one, while no collector runs; gives what that is, for
    /// people, if there is anything. Nothing has changed where it fails. It may block.
    fn rename(&self, _context: &Context, _old: &str, _new: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    /// Looks at the far side for somebody who waits: whether it is there, lets us in and would take readings, what is
    /// wrong and what mends it. It ends within some ten seconds, leaves nothing behind, and does not disturb a
    /// collector that runs. Far sides that cannot be missing have nothing to look at.
    async fn probe(&self, _context: &Context) -> Vec<Finding> {
        Vec::new()
    }
}

/// What a sink may need to know of the program around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    /// The names of the configured inverters.
    pub inverters: Vec<Arc<str>>,
    /// The time between two polls of an inverter.
    pub poll_interval: Duration,
    /// The folder for what must outlive the process.
    pub state_dir: PathBuf,
    /// The zone whose midnights part the days.
    pub zone: TimeZone,
    /// The program's version.
    pub version: &'static str,
}

/// Why a sink cannot be opened now: what may pass while the program runs, like a disk that is not mounted or a file that
/// another program has locked. It is an outage: the sink is down for this reason, readings wait, and it is opened again
/// with a growing delay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Where readings go.
///
/// The driver calls one method at a time and none after [`close`](Self::close), so a sink needs no locks.
/// A delivery that takes longer than the sink's time-out is dropped at its next await point and its readings come
/// again: a sink must stand that.
#[async_trait]
pub trait Sink: Send {
    /// Delivers a batch, which is never empty.
    ///
    /// `Ok` means that the far side has all of it. Redelivery is ordinary, so the same reading twice must do no
    /// harm: its key is the inverter's name and the time.
    async fn deliver(&mut self, batch: &Batch<'_>) -> Result<(), DeliveryError>;

    /// Shows a reading that came before the clock was set, to a far side that wants to know how things are now. Only a sink
    /// that [keeps the newest](crate::delivery::Keep::NewestPerInverter) is given any; what stores readings gets them once
    /// they have a time.
    async fn show(&mut self, _undated: &Undated) -> Result<(), DeliveryError> {
        Ok(())
    }

    /// Tells the far side what changed about an inverter. Most far sides do not care.
    async fn status(&mut self, _status: &InverterStatus) -> Result<(), DeliveryError> {
        Ok(())
    }

    /// Tells how the collector is: its version, its page, and the health of each sink, this one among them. A failure makes
    /// this sink down, which is told in turn, at most once a second.
    async fn collector(&mut self, _status: &CollectorStatus) -> Result<(), DeliveryError> {
        Ok(())
    }

    /// Tells what electricity costs from now on.
    async fn price(&mut self, _price: &Price) -> Result<(), DeliveryError> {
        Ok(())
    }

    /// What somebody should know who looks at the collector's health, though deliveries arrive. Asked after each one.
    fn note(&self) -> Option<String> {
        None
    }

    /// Keeps this for as long as anything of the sink may be at work with its files, be it beyond its own end: a
    /// [`Worker`](kstar_common::worker::Worker) does. A sink that follows under the same name is opened when it is gone. Called
    /// once, before anything else.
    fn hold(&self, _hold: Hold) {}

    /// Ends in order, within a second where the far side allows it. An error is logged; nothing is retried.
    async fn close(self: Box<Self>) -> Result<(), DeliveryError>;

    /// Ends like [`close`](Self::close), for a sink of the same section that [follows](Self::follow): a far side that shows
    /// whether we are there need not notice. If none follows, what it leaves is dropped.
    async fn hand_over(self: Box<Self>) -> Result<Option<Legacy>, DeliveryError> {
        self.close().await.map(|()| None)
    }

    /// Goes on from what the sink before has [handed over](Self::hand_over). Called once, before anything else is told.
    fn follow(&mut self, _legacy: Legacy) {}
}

/// What a sink leaves to the one of the same section that follows; only that section knows what it is.
pub type Legacy = Box<dyn Any + Send>;

/// Why a delivery failed, named for what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The far side cannot be reached or cannot take anything now. The batch is kept and tried again with a
    /// growing delay, or after the time that the far side asked for.
    #[error("{reason}")]
    Unreachable {
        /// What happened, with the address, and what can be done.
        reason: String,
        /// How long the far side asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The far side is well and does not let us in: a wrong token, a missing bucket. The batch is kept, which is said
    /// loudly once, and tried again slowly, since only a person can mend it.
    #[error("{reason}")]
    Refused {
        /// What the far side said, and what can be done.
        reason: String,
        /// When to try again, if the sink knows; else in about a minute.
        retry_after: Option<Duration>,
    },
    /// The far side is well and will never take this. The driver halves the batch until the bad reading is
    /// alone, drops that one and counts it.
    #[error("{reason}")]
    Rejected {
        /// What the far side said.
        reason: String,
    },
    /// The batch is too large for the far side; the driver halves it.
    #[error("{reason}")]
    TooLarge {
        /// What the far side said.
        reason: String,
    },
    /// The far side ended in order and will take nothing more, like a closed pipe. The program ends.
    #[error("the other end has closed")]
    Closed,
}

impl DeliveryError {
    /// The far side cannot be reached, for this reason.
    pub fn unreachable(reason: impl Into<String>) -> Self {
        Self::Unreachable {
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// The far side lets nothing in until somebody acts, for this reason.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused {
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// The far side will never take this, for this reason.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected {
            reason: reason.into(),
        }
    }
}

/// The readings of one delivery, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a>(&'a [Arc<Reading>]);

impl<'a> Batch<'a> {
    /// A batch of these readings.
    pub fn new(readings: &'a [Arc<Reading>]) -> Self {
        Self(readings)
    }

    /// The readings, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a Reading> {
        self.0.iter().map(|reading| &**reading)
    }

    /// The readings, to be kept beyond the delivery (by a thread of the sink's own).
    pub fn to_vec(&self) -> Vec<Arc<Reading>> {
        self.0.to_vec()
    }
}
