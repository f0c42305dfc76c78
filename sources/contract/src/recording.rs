//! For recordings: the bytes of each exchange as they went out and came in, and what a frame is made of, so that what tells
//! whose inverter it is can be replaced in it.

use std::ops::Range;

use tokio::time::Instant;

use crate::error::NoAnswer;
use crate::exchange::Patience;
use crate::source::Source;

/// Something that was sent or came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// What it was.
    pub what: What,
    /// All of it, as it was on the wire.
    pub bytes: Box<[u8]>,
}

/// What bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A request, or a greeting.
    Sent,
    /// The reply to it.
    Accepted,
    /// Something else, passed over for this reason.
    Rejected(&'static str),
}

/// So much is kept between two looks at it; a peer that floods does not fill the memory.
pub(crate) const MOST_HEARD: usize = 10_000;

/// What a frame is made of, as far as a recording must know.
#[derive(Debug, Default)]
pub struct Anatomy {
    /// The reply without its framing.
    pub payload: Option<Range<usize>>,
    /// Where a serial number stands as text.
    pub serials: Vec<Range<usize>>,
    /// Where the serial number of a logger stands: four bytes, the lowest first.
    pub loggers: Vec<Range<usize>>,
    /// What may tell of the network around it, and nothing of the inverter.
    pub blanks: Vec<Range<usize>>,
    /// The checksums that are right, the inner ones first.
    pub seals: Vec<Seal>,
}

impl Anatomy {
    /// Of bytes that are the reply, of which nothing else is known.
    pub fn of_payload(bytes: &[u8]) -> Self {
        Self {
            payload: Some(0..bytes.len()),
            ..Self::default()
        }
    }
}

/// Asks for everything that the contract has a call for.
pub(crate) async fn survey<S: Source + ?Sized>(
    source: &mut S,
    patience: Patience,
) -> Result<(), NoAnswer> {
    source.locate().await?;
    source.poll().await?;
    for outcome in [
        source.identify(patience).await.map(drop),
        source.settings().await.map(drop),
    ] {
        if let Err(reason) = outcome {
            tracing::debug!(%reason, "a block is not told");
        }
    }
    Ok(())
}

/// A checksum.
#[derive(Clone, Debug)]
pub struct Seal {
    /// What it is of.
    pub body: Range<usize>,
    /// How it is made; it stands right behind its body.
    pub make: fn(&[u8]) -> Vec<u8>,
}

impl Seal {
    /// Makes it anew.
    pub fn close(&self, frame: &mut [u8]) {
        let seal = (self.make)(frame.get(self.body.clone()).unwrap_or_default());
        let end = self.body.end + seal.len();
        if let Some(place) = frame.get_mut(self.body.end..end) {
            place.copy_from_slice(&seal);
        }
    }
}
