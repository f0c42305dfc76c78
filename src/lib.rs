//! kstar-collector reads hybrid inverters over the network and passes their readings on. It only ever reads.
//!
//! # The house
//!
//! Sources and sinks face each other across one model; one engine stands between them; history and views stand to the side;
//! the program is on top. `docs/architecture.md` is the page with all crates and what each may build on.
//!
//! ```text
//! source -> poller -> stamp -> gate -> meter -> reading -> broadcast channel -> driver -> sink
//! sources/*  kstar-source       kstar-engine                                  kstar-sink  sinks/*
//! ```
//!
//! Nothing flows back. A sink that hangs delays nobody, and the end of the channel is the sinks' order to stop.
//!
//! # The program
//!
//! | where | what | what it must not know |
//! |---|---|---|
//! | [`config`] | the TOML file as types, and mistakes with their place | what is done with it |
//! | [`registry`] | the only file that names sources and sinks, and the only one with their features | what they do |
//! | [`run`] | a configuration as what is to run; starts it, changes it, stops it | the command line |
//! | [`cli`] | one file per command | how anything is done |
//!
//! How to add a source, a sink, a quantity or a command:
//! `CONTRIBUTING.md`.

pub mod cli;
pub mod config;
pub mod registry;
pub mod run;
