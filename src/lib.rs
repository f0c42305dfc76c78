//! kstar-collector reads KSTAR hybrid inverters over UDP and passes their readings on. It only ever reads.
//!
//! # The way of the data
//!
//! ```text
//! datagram -> frame -> values -> gate -> meter -> reading -> broadcast channel -> driver -> sink
//!   link      wire     wire      gate    meter    station     (kstar-sink)     (kstar-sink)  sinks/*
//! ```
//!
//! Nothing flows back. A sink that hangs delays nobody, and the end of the channel is the sinks' order to stop.
//!
//! # The map
//!
//! | where | what | what it must not know |
//! |---|---|---|
//! | [`wire`] | the protocol: bytes to values | sockets, clocks, logs, tokio |
//! | [`link`] | the only file that sends datagrams, and only those of [`wire::Outgoing`] | what values mean |
//! | [`discovery`] | who answers a greeting | configuration, sinks |
//! | `plot` | charts of a history, as SVG and PNG | the command line, the configuration |
//! | [`poll`] | one inverter: schedule, tries, silence, coming back | readings, sinks |
//! | [`gate`] | which readings and values are believed | files, clocks, logs, tokio |
//! | [`meter`] | power to energy | files, clocks, logs, tokio |
//! | [`identity`] | whether it is believed who an inverter says that it is | counters, files |
//! | [`ledger`] | what gate and meter must not forget, in a file | inverters, sinks |
//! | [`station`] | one inverter's way from poll to event, through the four before | configuration, sinks |
//! | `client` | asks the API of a running collector | what the answers mean |
//! | [`clock`] | the time of a reading, if the clock is set | everything else |
//! | [`lock`] | one poller per inverter, one collector per state folder | everything else |
//! | [`collector`] | inverters and sinks as units that start and stop by name | configuration, the command line |
//! | [`mod@unit`] | what those units are made from | who runs them |
//! | [`setup`] | a configuration as what is to run, and what changes between two | how that is done |
//! | [`supervisor`] | runs a setup to the end, and puts another in its place | the command line, where a configuration stands |
//! | [`serving`] | HTTP as a unit that starts, changes and stops with a setup | what is asked |
//! | [`service`] | what the service manager is told | who decides what runs |
//! | `vigil` | whether polling makes progress | who wants to know |
//! | [`board`] | how every inverter and sink is at this moment | who looks at it |
//! | [`config`] | the TOML file as types, and mistakes with their place | what is done with it |
//! | `backfill` | what of a history was pushed already | sinks, the history, clocks |
//! | `http` | metrics, health and the API over HTTP | the command line, the configuration |
//! | `old_history` | the database of kstar.sharp as readings, its local times as moments | where they go |
//! | [`overview`] | the board as data, for the HTTP API and the live page | where it goes |
//! | `period` | dates and spans of time as people write them | the clock, the configuration |
//! | `report` | what a day, month or year comes to: definitions, and a history's buckets made into figures | the command line, the configuration |
//! | `series` | rows of a history as files and the HTTP API have them | where they go |
//! | [`sinks`] | the registry: the only file that names every sink | what a sink does |
//! | [`check`] | how this machine and an inverter are, for somebody who waits | configuration, the command line, sinks |
//! | [`tariff`] | what electricity costs, and when | where energies come from |
//! | [`simulator`] | an inverter that is not there | [`wire`]: both sides must not share a mistake |
//! | `watch` | the live page in the terminal | the configuration; its drawing no terminal either |
//! | [`cli`] | one file per command | how anything is done |
//! | [`wrapping`] | text for people: lines of a width, nothing that does not show | where it is shown |
//!
//! The crates and what builds on what: `docs/architecture.md`. How to add a source, a sink, a quantity or a command:
//! `CONTRIBUTING.md`.

#[cfg(feature = "history")]
pub mod backfill;
pub mod board;
pub mod check;
pub mod cli;
#[cfg(any(feature = "http", feature = "watch"))]
pub mod client;
pub mod clock;
pub mod collector;
pub mod config;
pub mod gate;
#[cfg(feature = "http")]
pub mod http;
pub mod identity;
pub mod ledger;
pub mod meter;
#[cfg(feature = "history")]
pub mod old_history;
pub mod overview;
#[cfg(feature = "history")]
pub mod period;
#[cfg(feature = "history")]
pub mod plot;
pub mod registry;
#[cfg(feature = "history")]
pub mod report;
#[cfg(feature = "history")]
pub mod series;
pub mod service;
pub mod serving;
pub mod setup;
pub mod station;
pub mod supervisor;
pub mod tariff;
pub mod unit;
mod vigil;
#[cfg(feature = "watch")]
pub mod watch;
pub mod wrapping;
