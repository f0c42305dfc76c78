//! What commands share.

pub mod args;
#[cfg(feature = "history")]
pub mod background;
pub mod columns;
#[cfg(feature = "history")]
pub mod counting;
pub mod environment;
pub mod failure;
pub mod findings;
pub mod kstar_sharp;
pub mod load;
pub mod logging;
#[cfg(feature = "history")]
pub mod output;
#[cfg(feature = "history")]
pub mod progress;
pub mod recording;
#[cfg(any(feature = "http", feature = "watch"))]
pub mod remote;
pub mod serve;
pub mod signals;
#[cfg(feature = "history")]
pub mod stored;
