//! The sink against real brokers: Mosquitto, started by the tests, and a few that misbehave.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may end where its surroundings break"
)]

mod announcements;
mod conformance;
mod faults;
mod interval;
mod limits;
mod outages;
mod probe;
mod published;
mod renewed;
mod returns;
mod trust;
mod unchanged;
mod world;
