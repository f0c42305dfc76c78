//! The program as a process: what its users, and whoever starts and stops it, see of it.
//!
//! One file per theme. Everything happens on loopback addresses, with ports that the system chooses, in folders that
//! vanish with their test.

#![cfg(all(unix, feature = "stdout", feature = "sqlite"))]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what helps a test may panic like the test itself"
)]

#[cfg(all(feature = "history", feature = "influxdb", feature = "mqtt"))]
mod backfill;
#[cfg(all(feature = "influxdb", feature = "mqtt"))]
mod check_connect;
#[cfg(feature = "mqtt")]
mod clock;
mod commands;
mod config;
#[cfg(all(feature = "history", feature = "mqtt"))]
mod counted;
#[cfg(all(feature = "history", feature = "aa55", feature = "modbus"))]
mod demo;
mod faraway;
#[cfg(all(feature = "aa55", feature = "modbus"))]
mod finding;
mod history;
#[cfg(feature = "history")]
mod history_commands;
#[cfg(all(feature = "http", feature = "history"))]
mod http;
#[cfg(all(feature = "influxdb", feature = "mqtt"))]
mod influxdb;
#[cfg(all(feature = "influxdb", feature = "mqtt"))]
mod init;
#[cfg(all(feature = "http", feature = "influxdb", feature = "mqtt"))]
mod kept;
mod kstar_sharp;
mod logs;
mod manual;
mod meter;
mod modules;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(all(feature = "http", feature = "history"))]
mod nights;
mod output;
#[cfg(all(feature = "http", feature = "history"))]
mod pages;
#[cfg(feature = "history")]
mod past;
mod plain_words;
mod process;
mod read;
#[cfg(all(feature = "aa55", feature = "modbus"))]
mod recordings;
#[cfg(feature = "mqtt")]
mod reload;
mod rename;
mod restore;
mod run;
#[cfg(all(feature = "http", feature = "history"))]
mod schema;
mod service;
#[cfg(all(feature = "http", feature = "history", feature = "mqtt"))]
mod site;
mod spool;
mod stop;
#[cfg(feature = "history")]
mod takeover;
#[cfg(feature = "watch")]
mod watch;
mod world;
