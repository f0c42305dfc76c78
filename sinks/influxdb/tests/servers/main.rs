//! The sink against real servers, started by the tests, and one that misbehaves as it is told.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end where its surroundings break"
)]

mod buckets;
mod databases;
mod faults;
mod http;
mod trust;
mod victoria;
mod world;
